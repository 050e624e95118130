/*
 * The JSON reader of the project (RFC 8259, strict): a pull reader over bytes in memory. json_next gives one token
 * after another; the grammar, UTF-8 and the depth are checked on the way, so that a caller only asks for what it wants
 * and calls json_skip for the rest. Duplicate keys are the caller's business. A byte order mark, comments, trailing
 * commas, lone surrogates and anything behind the value are errors.
 *
 * Nothing is allocated except the text of strings with escapes, which goes into the arena. Strings without escapes
 * borrow from the input.
 *
 *     struct json_reader r;
 *     json_reader_init(&r, body, arena);
 *     if (json_next(&r) != JSON_OBJECT) ...
 *     while ((t = json_next(&r)) == JSON_KEY) {
 *         struct slice key = r.text;
 *         json_next(&r) ...
 *     }
 *     t is JSON_OBJECT_END or JSON_ERROR
 *
 * Happy path: keys and strings are found with one vector scan. Failure: JSON_ERROR, again and again; r.status is
 * ST_SYNTAX, ST_LIMIT (depth) or -ENOMEM (arena), r.what says what was wrong and json_reader_offset where. One thread.
 */
#ifndef SLUICE_WIRE_JSON_READ_H
#define SLUICE_WIRE_JSON_READ_H

#include "common/base/arena.h"
#include "common/base/slice.h"
#include "common/base/status.h"

#define JSON_DEPTH_MAX 64 /* nested objects and arrays */

enum json_token {
    JSON_ERROR,
    JSON_END, /* behind the one value of the input */
    JSON_OBJECT,
    JSON_OBJECT_END,
    JSON_ARRAY,
    JSON_ARRAY_END,
    JSON_KEY,    /* text: the key, unescaped; the next token begins its value */
    JSON_STRING, /* text: unescaped UTF-8; ptr is never NULL */
    JSON_NUMBER, /* text: as written; a valid JSON number */
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

struct json_reader {
    const uint8_t *begin, *at, *end;
    const uint8_t *token; /* where the last token begins */
    struct arena *arena;
    enum json_token last;
    struct slice text;
    uint32_t depth;
    uint64_t objects; /* bit depth-1: that level is an object, not an array */
    bool first;       /* nothing stands yet in the innermost object or array */
    bool skipping;    /* private: strings stay escaped */
    int status;
    const char *what;
};

/* `arena` may be NULL: then a string with escapes is an error (-ENOMEM). The input must outlive the reader and what it
 * hands out. */
void json_reader_init(struct json_reader *r, struct slice input, struct arena *arena);
/* The next token; its text is in r->text. */
enum json_token json_next(struct json_reader *r);
/* Skips the rest of the value that the last token began: after JSON_KEY its value, after JSON_OBJECT and JSON_ARRAY up
 * to their end; nothing after a scalar. Escapes are checked, not unescaped. False on error. */
bool json_skip(struct json_reader *r);
/* Byte offset of the error, or of the last token. */
size_t json_reader_offset(const struct json_reader *r);
/* Reads all of `input` and drops it. 0, or the reader's status. For syntax checks without an arena. */
int json_check(struct slice input) must_use;

/* A number's text as an integer: a fraction is cut off, values outside of the type saturate (1e99 is INT64_MAX). */
int64_t json_number_i64(struct slice number);
/* ... as a double; overflow gives an infinity. */
double json_number_double(struct slice number);
/* Seconds with a fraction as milliseconds, rounded to the nearest; saturates. */
int64_t json_number_seconds_ms(struct slice number);

#endif
