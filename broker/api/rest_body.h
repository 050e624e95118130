/*
 * From the body of a REST request to records: one, or one a line; with a field stamped into each if the route says so.
 * Pure but for the arena.
 */
#ifndef SLUICE_API_REST_BODY_H
#define SLUICE_API_REST_BODY_H

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/status.h"

struct rest_records {
    struct slice *data; /* in the arena, or borrowed from the body */
    uint32_t count;
};

/* Splits at line feeds (a carriage return before one goes with it), passing over blank lines. ST_LIMIT: more than
 * lines_max records; -ENOMEM: the arena is used up. */
int rest_split_lines(struct slice body, uint32_t lines_max, struct arena *arena, struct rest_records *out) must_use;

/* Writes the JSON object `record` anew with "field":"2026-11-22T21:03:04.567Z" as its first member, in place of a
 * member of that name. ST_SYNTAX: `record` is not one JSON object; *out_why says why (static). -ENOMEM. */
int rest_stamp(struct slice record, const char *field, struct wall_ms at, struct arena *arena, struct slice *out,
               const char **out_why) must_use;

#endif
