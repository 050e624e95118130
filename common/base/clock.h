/*
 * Clock types: wall time and monotonic time must not mix, so each is a struct of its own. This header reads no clock:
 * the only readers are the backends of common/io (loop_now, loop_wall).
 */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970-01-01 UTC. */
struct wall_ms {
    int64_t ms;
};

/* Nanoseconds since an arbitrary start; never goes back. */
struct mono_ns {
    int64_t ns;
};

#define NS_PER_MS 1000000ll
#define NS_PER_S  1000000000ll

static inline struct mono_ns mono_add_ms(struct mono_ns t, int64_t ms)
{
    return (struct mono_ns){t.ns + ms * NS_PER_MS};
}

static inline int64_t mono_diff_ns(struct mono_ns later, struct mono_ns earlier)
{
    return later.ns - earlier.ns;
}

#define CLOCK_TEXT_MAX 32
/* Writes "2026-11-22T21:03:04.567Z" (UTC, ISO 8601). Returns its length. Any thread. */
int wall_format_iso(struct wall_ms t, char out[CLOCK_TEXT_MAX]);
/* Calendar fields of `t` in UTC. Any thread. */
struct wall_parts {
    int year, month, day, hour, minute, second, ms, weekday; /* month 1..12, weekday 0 = Sunday */
};
struct wall_parts wall_split(struct wall_ms t);
/* The inverse of wall_split (weekday ignored; no range check). Any thread. */
struct wall_ms wall_join(const struct wall_parts *p);

#endif
