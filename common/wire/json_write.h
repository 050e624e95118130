/*
 * The JSON writer of the project, onto a struct bytebuf. It sets the commas and colons; the caller keeps begin and end
 * in balance (checked: depth). Writers return nothing: the bytebuf remembers a failure (bytebuf_failed). Strings must
 * be UTF-8; '"', '\' and control characters are escaped, all else is written as it is. One thread.
 */
#ifndef SLUICE_WIRE_JSON_WRITE_H
#define SLUICE_WIRE_JSON_WRITE_H

#include "common/base/bytebuf.h"
#include "common/base/clock.h"

struct json_writer {
    struct bytebuf *out;
    bool comma; /* the next value or key needs one before it */
    uint32_t depth;
};

void json_writer_init(struct json_writer *w, struct bytebuf *out);

void json_write_object(struct json_writer *w);
void json_write_object_end(struct json_writer *w);
void json_write_array(struct json_writer *w);
void json_write_array_end(struct json_writer *w);
/* A key; the next call writes its value. */
void json_write_key(struct json_writer *w, struct slice key);
/* A key that is known to need no escapes: a C string. */
void json_write_name(struct json_writer *w, const char *name);

void json_write_string(struct json_writer *w, struct slice s);
void json_write_str(struct json_writer *w, const char *s);
void json_write_i64(struct json_writer *w, int64_t v);
void json_write_u64(struct json_writer *w, uint64_t v);
/* The shortest text that reads back the same; a NaN or an infinity is written as null. */
void json_write_double(struct json_writer *w, double v);
void json_write_bool(struct json_writer *w, bool v);
void json_write_null(struct json_writer *w);
/* Seconds with three digits of fraction, trailing zeros cut: 1763845384.567, 1763845384.5, 1763845384. */
void json_write_seconds(struct json_writer *w, struct wall_ms t);
/* A string: the bytes in base64. */
void json_write_base64(struct json_writer *w, struct slice bytes);
/* A value that is JSON already. */
void json_write_raw(struct json_writer *w, struct slice json);

#endif
