/*
 * The vector scans under the JSON reader and writer: how far does text run on that needs no thought? Only for
 * json_scan.c's two users. Nothing is read at or behind `end`. Pure; any thread.
 */
#ifndef SLUICE_WIRE_JSON_SCAN_H
#define SLUICE_WIRE_JSON_SCAN_H

#include "common/base/slice.h"

/* The first byte in [p, end) that is '"', '\', a control character or not ASCII; `end` if there is none. */
const uint8_t *json_scan_ascii(const uint8_t *p, const uint8_t *end);
/* The first byte in [p, end) that is '"', '\' or a control character; `end` if there is none. */
const uint8_t *json_scan_unescaped(const uint8_t *p, const uint8_t *end);

#endif
