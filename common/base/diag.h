/*
 * The diagnostics log: one structured line an event, on stderr:
 *     2026-11-22T21:03:04.567Z warn  io_uring_unavailable errno=EPERM fallback=libuv
 * Only the daemon's boundary logs; library code returns errors instead. The clock is lent by whoever owns the seam.
 * Any thread (a line is one write).
 */
#ifndef SLUICE_BASE_DIAG_H
#define SLUICE_BASE_DIAG_H

#include "common/base/clock.h"
#include "common/base/status.h"

enum diag_level { DIAG_DEBUG, DIAG_INFO, DIAG_WARN, DIAG_ERROR };

/* `now` may be NULL: lines then carry no time. `min` is the least level that is printed. Call before threads start. */
void diag_setup(enum diag_level min, struct wall_ms (*now)(void));
/* `event` is a snake_case name; the rest are key=value pairs, values with spaces quoted by the caller. */
void diag(enum diag_level level, const char *event, const char *fmt, ...) printf_like(3);

#endif
