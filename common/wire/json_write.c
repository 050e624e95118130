/*
 * The JSON writer. One flag, `comma`, is all its state: set behind a value, cleared behind an opening bracket and behind
 * a key. Text goes out in runs between the characters that need an escape; blobs are encoded right into the buffer.
 */
#include "common/wire/json_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/wire/base64.h"
#include "common/wire/json_scan.h"

void json_writer_init(struct json_writer *w, struct bytebuf *out)
{
    *w = (struct json_writer){.out = out};
}

/* Before each value, and before each key. */
static void separate(struct json_writer *w)
{
    if (w->comma)
        bytebuf_byte(w->out, ',');
}

static void open_with(struct json_writer *w, uint8_t c)
{
    separate(w);
    bytebuf_byte(w->out, c);
    w->comma = false;
    w->depth++;
}

static void close_with(struct json_writer *w, uint8_t c)
{
    CHECK(w->depth > 0);
    w->depth--;
    bytebuf_byte(w->out, c);
    w->comma = true;
}

void json_write_object(struct json_writer *w)
{
    open_with(w, '{');
}

void json_write_object_end(struct json_writer *w)
{
    close_with(w, '}');
}

void json_write_array(struct json_writer *w)
{
    open_with(w, '[');
}

void json_write_array_end(struct json_writer *w)
{
    close_with(w, ']');
}

/* ---- strings ---------------------------------------------------------------------------------------------------- */

static void escape_write(struct bytebuf *out, uint8_t c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *hit = c ? strchr(from, c) : NULL;
    if (hit) {
        bytebuf_byte(out, '\\');
        bytebuf_byte(out, (uint8_t)to[hit - from]);
    } else {
        bytebuf_printf(out, "\\u%04x", c);
    }
}

static void quoted(struct json_writer *w, struct slice s)
{
    const uint8_t *p = s.ptr, *end = s.ptr + s.len;
    bytebuf_byte(w->out, '"');
    while (p < end) {
        const uint8_t *stop = json_scan_unescaped(p, end);
        bytebuf_append(w->out, p, (size_t)(stop - p));
        p = stop;
        if (p < end)
            escape_write(w->out, *p++);
    }
    bytebuf_byte(w->out, '"');
}

void json_write_key(struct json_writer *w, struct slice key)
{
    separate(w);
    quoted(w, key);
    bytebuf_byte(w->out, ':');
    w->comma = false;
}

void json_write_name(struct json_writer *w, const char *name)
{
    size_t len = strlen(name), n = 0;
    uint8_t *to = bytebuf_reserve(w->out, len + 4);
    if (!to)
        return;
    if (w->comma)
        to[n++] = ',';
    to[n++] = '"';
    memcpy(to + n, name, len);
    n += len;
    to[n++] = '"';
    to[n++] = ':';
    bytebuf_advance(w->out, n);
    w->comma = false;
}

void json_write_string(struct json_writer *w, struct slice s)
{
    separate(w);
    quoted(w, s);
    w->comma = true;
}

void json_write_str(struct json_writer *w, const char *s)
{
    json_write_string(w, slice_str(s));
}

void json_write_base64(struct json_writer *w, struct slice bytes)
{
    size_t len = base64_encoded_len(bytes.len);
    separate(w);
    w->comma = true;
    uint8_t *to = bytebuf_reserve(w->out, len + 2);
    if (!to)
        return;
    to[0] = '"';
    base64_encode(bytes, (char *)to + 1);
    to[len + 1] = '"';
    bytebuf_advance(w->out, len + 2);
}

/* ---- numbers and words ------------------------------------------------------------------------------------------ */

void json_write_raw(struct json_writer *w, struct slice json)
{
    separate(w);
    bytebuf_slice(w->out, json);
    w->comma = true;
}

static void unsigned_write(struct json_writer *w, bool negative, uint64_t v)
{
    char buf[24], *p = buf + sizeof buf;
    do {
        *--p = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    if (negative)
        *--p = '-';
    json_write_raw(w, slice_of(p, (size_t)(buf + sizeof buf - p)));
}

void json_write_u64(struct json_writer *w, uint64_t v)
{
    unsigned_write(w, false, v);
}

void json_write_i64(struct json_writer *w, int64_t v)
{
    unsigned_write(w, v < 0, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void json_write_bool(struct json_writer *w, bool v)
{
    json_write_raw(w, v ? SLICE_LIT("true") : SLICE_LIT("false"));
}

void json_write_null(struct json_writer *w)
{
    json_write_raw(w, SLICE_LIT("null"));
}

void json_write_double(struct json_writer *w, double v)
{
    char buf[40];
    if (!isfinite(v)) {
        json_write_null(w);
        return;
    }
    int len = 0;
    for (int precision = 15; precision <= 17; precision++) { /* 17 digits always read back the same */
        len = snprintf(buf, sizeof buf, "%.*g", precision, v);
        if (strtod(buf, NULL) == v)
            break;
    }
    for (int i = 0; i < len; i++)
        if (buf[i] == ',') /* a locale's decimal separator: libsluice runs in other people's processes */
            buf[i] = '.';
    json_write_raw(w, slice_of(buf, (size_t)len));
}

void json_write_seconds(struct json_writer *w, struct wall_ms t)
{
    char buf[32];
    bool negative = t.ms < 0;
    uint64_t ms = negative ? 0 - (uint64_t)t.ms : (uint64_t)t.ms;
    unsigned fraction = (unsigned)(ms % 1000);
    int len = snprintf(buf, sizeof buf, "%s%llu", negative ? "-" : "", (unsigned long long)(ms / 1000));
    if (fraction) {
        len += snprintf(buf + len, sizeof buf - (size_t)len, ".%03u", fraction);
        while (buf[len - 1] == '0')
            len--;
    }
    json_write_raw(w, slice_of(buf, (size_t)len));
}
