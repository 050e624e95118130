/*
 * The expressions in a delivery's prefix: "logs/!{timestamp:yyyy/MM/dd}/!{firehose:random-string}-". Parsed once when
 * settings are checked, evaluated for each object. The namespaces and their rules: firehose.md.
 *
 *     !{timestamp:PATTERN}          PATTERN is a Java DateTimeFormatter pattern, in UTC. Known letters: see
 *                                   prefix_expression.c; others are refused, as Java refuses unknown ones
 *     !{firehose:random-string}     11 characters of [A-Za-z0-9], new at each place and for each object
 *
 * Error prefixes know !{firehose:error-output-type} besides. Everything else is literal. Pure; any thread.
 */
#ifndef SLUICE_FIREHOSE_PREFIX_EXPRESSION_H
#define SLUICE_FIREHOSE_PREFIX_EXPRESSION_H

#include "common/base/bytebuf.h"
#include "common/base/clock.h"

#define PREFIX_RANDOM_CHARS 11u

enum prefix_kind { PREFIX_OF_OBJECTS, PREFIX_OF_ERRORS };

/* What a prefix is evaluated with. */
struct prefix_values {
    struct wall_ms time;
    /* Fills `out` with unpredictable bytes. */
    void (*random_bytes)(void *ctx, uint8_t *out, size_t len);
    void *ctx;
    const char *error_type; /* for PREFIX_OF_ERRORS */
};

/* What a prefix contains. */
struct prefix_facts {
    bool has_timestamp, has_expression, has_error_type;
};

/* ST_SYNTAX: an expression is not closed, unknown, or its date pattern is wrong; `e` says which and where. */
int prefix_check(struct slice prefix, enum prefix_kind kind, struct prefix_facts *out, struct err *e) must_use;
/* Appends the evaluated prefix. ST_SYNTAX as above (never after prefix_check was content). */
int prefix_evaluate(struct slice prefix, enum prefix_kind kind, const struct prefix_values *values,
                    struct bytebuf *out) must_use;

#endif
