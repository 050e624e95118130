/*
 * The JSON reader. The grammar is a small machine over `last` (a key wants a value), `first` (no comma yet) and one bit a
 * level (object or array): no recursion, so that hostile nesting costs nothing. A string is one vector scan to its
 * closing quote; whatever stops the scan earlier is an escape (checked at once, unescaped only if the text is wanted), a
 * character beyond ASCII (checked in a run) or an error. Invariant: r->at stands behind the last token.
 */
#include "common/wire/json_read.h"

#include "common/base/check.h"
#include "common/wire/json_scan.h"
#include "common/wire/utf8.h"

void json_reader_init(struct json_reader *r, struct slice input, struct arena *arena)
{
    static const uint8_t nothing[1];
    if (!input.ptr)
        input = slice_of(nothing, 0);
    *r = (struct json_reader){
        .begin = input.ptr,
        .at = input.ptr,
        .end = input.ptr + input.len,
        .token = input.ptr,
        .arena = arena,
        .last = JSON_END,
        .first = true,
    };
}

size_t json_reader_offset(const struct json_reader *r)
{
    return (size_t)(r->token - r->begin);
}

static enum json_token fail_as(struct json_reader *r, int status, const uint8_t *at, const char *what)
{
    r->status = status;
    r->what = what;
    r->token = at;
    r->text = SLICE_NULL;
    return r->last = JSON_ERROR;
}

static enum json_token fail(struct json_reader *r, const uint8_t *at, const char *what)
{
    return fail_as(r, ST_SYNTAX, at, what);
}

static inline const uint8_t *skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* ---- strings ---------------------------------------------------------------------------------------------------- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four hexadecimal digits at `p`, or -1. */
static int32_t hex4(const uint8_t *p, const uint8_t *end)
{
    int32_t v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int d = hex_digit(p[i]);
        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

/* One escape at `p` (at the backslash). Returns how long it is, 0 if it is none; writes its UTF-8 to `out`. */
static size_t escape_read(const uint8_t *p, const uint8_t *end, uint8_t out[4], size_t *out_len)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (end - p < 2)
        return 0;
    if (p[1] != 'u') {
        const char *hit = p[1] ? strchr(names, p[1]) : NULL;
        if (!hit)
            return 0;
        out[0] = (uint8_t)values[hit - names];
        *out_len = 1;
        return 2;
    }
    int32_t high = hex4(p + 2, end);
    if (high < 0 || (high >= 0xdc00 && high < 0xe000))
        return 0;
    if (high < 0xd800 || high >= 0xe000) {
        *out_len = utf8_encode((uint32_t)high, out);
        return 6;
    }
    int32_t low = end - p >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, end) : -1;
    if (low < 0xdc00 || low >= 0xe000)
        return 0;
    *out_len = utf8_encode(0x10000u + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00), out);
    return 12;
}

/* `raw` is the text between the quotes, found valid. Its unescaped form is never longer. */
static bool unescape(struct json_reader *r, struct slice raw)
{
    uint8_t *to = r->arena ? arena_alloc(r->arena, raw.len) : NULL;
    if (!to) {
        fail_as(r, -ENOMEM, raw.ptr, "no memory for a string");
        return false;
    }
    const uint8_t *p = raw.ptr, *end = raw.ptr + raw.len;
    size_t len = 0;
    while (p < end) {
        const uint8_t *stop = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((stop ? stop : end) - p), out_len = 0;
        memcpy(to + len, p, plain);
        len += plain;
        p += plain;
        if (p == end)
            break;
        uint8_t utf8[4];
        p += escape_read(p, end, utf8, &out_len);
        memcpy(to + len, utf8, out_len);
        len += out_len;
    }
    r->text = slice_of(to, len);
    return true;
}

/* Reads the string whose opening quote is at `p`; r->text is its value, r->at stands behind the closing quote. */
static bool string_read(struct json_reader *r, const uint8_t *p)
{
    const uint8_t *begin = ++p;
    bool escapes = false;
    for (;;) {
        p = json_scan_ascii(p, r->end);
        if (p == r->end)
            return fail(r, p, "a string does not end"), false;
        if (*p == '"')
            break;
        if (*p == '\\') {
            uint8_t utf8[4];
            size_t len, n = escape_read(p, r->end, utf8, &len);
            if (n == 0)
                return fail(r, p, "an escape is malformed"), false;
            escapes = true;
            p += n;
            continue;
        }
        if (*p < 0x20)
            return fail(r, p, "a control character stands in a string"), false;
        do {
            size_t n = utf8_sequence(p, r->end);
            if (n == 0)
                return fail(r, p, "a string is not UTF-8"), false;
            p += n;
        } while (p < r->end && *p >= 0x80);
    }
    r->text = slice_of(begin, (size_t)(p - begin));
    r->at = p + 1;
    return !escapes || r->skipping || unescape(r, r->text);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static const uint8_t *digits(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

static enum json_token number_read(struct json_reader *r, const uint8_t *begin)
{
    const uint8_t *p = begin, *end = r->end;
    if (*p == '-')
        p++;
    const uint8_t *integer = p;
    p = digits(p, end);
    if (p == integer || (*integer == '0' && p - integer > 1))
        return fail(r, begin, "a number is malformed");
    if (p < end && *p == '.') {
        const uint8_t *fraction = p + 1;
        p = digits(fraction, end);
        if (p == fraction)
            return fail(r, begin, "a number is malformed");
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        const uint8_t *exponent = p;
        p = digits(p, end);
        if (p == exponent)
            return fail(r, begin, "a number is malformed");
    }
    r->text = slice_of(begin, (size_t)(p - begin));
    r->at = p;
    return JSON_NUMBER;
}

static enum json_token word_read(struct json_reader *r, const uint8_t *p, struct slice word, enum json_token token)
{
    if (!slice_starts(slice_of(p, (size_t)(r->end - p)), word))
        return fail(r, p, "a value is malformed");
    r->at = p + word.len;
    return token;
}

static enum json_token container_open(struct json_reader *r, const uint8_t *p, bool object)
{
    if (r->depth == JSON_DEPTH_MAX)
        return fail_as(r, ST_LIMIT, p, "nested too deeply");
    uint64_t bit = 1ull << r->depth++;
    r->objects = object ? r->objects | bit : r->objects & ~bit;
    r->first = true;
    r->at = p + 1;
    return r->last = object ? JSON_OBJECT : JSON_ARRAY;
}

static enum json_token container_close(struct json_reader *r, const uint8_t *p, enum json_token token)
{
    r->depth--;
    r->first = false;
    r->at = p + 1;
    return r->last = token;
}

static enum json_token value_read(struct json_reader *r, const uint8_t *p)
{
    enum json_token token;
    if (p == r->end)
        return fail(r, p, "the input ends too early");
    r->token = p;
    r->text = SLICE_NULL;
    switch (*p) {
    case '{':
        return container_open(r, p, true);
    case '[':
        return container_open(r, p, false);
    case '"':
        if (!string_read(r, p))
            return JSON_ERROR;
        token = JSON_STRING;
        break;
    case 't':
        token = word_read(r, p, SLICE_LIT("true"), JSON_TRUE);
        break;
    case 'f':
        token = word_read(r, p, SLICE_LIT("false"), JSON_FALSE);
        break;
    case 'n':
        token = word_read(r, p, SLICE_LIT("null"), JSON_NULL);
        break;
    default:
        token = number_read(r, p);
        break;
    }
    r->first = false;
    return r->last = token;
}

/* ---- the grammar ------------------------------------------------------------------------------------------------ */

static enum json_token member_read(struct json_reader *r, const uint8_t *p)
{
    if (p < r->end && *p == '}')
        return container_close(r, p, JSON_OBJECT_END);
    if (!r->first) {
        if (p == r->end || *p != ',')
            return fail(r, p, "a comma or } is missing");
        p = skip_space(p + 1, r->end);
    }
    if (p == r->end || *p != '"')
        return fail(r, p, "a key is missing");
    r->token = p;
    if (!string_read(r, p))
        return JSON_ERROR;
    p = skip_space(r->at, r->end);
    if (p == r->end || *p != ':')
        return fail(r, p, "a colon is missing");
    r->at = p + 1;
    r->first = false;
    return r->last = JSON_KEY;
}

static enum json_token element_read(struct json_reader *r, const uint8_t *p)
{
    if (p < r->end && *p == ']')
        return container_close(r, p, JSON_ARRAY_END);
    if (!r->first) {
        if (p == r->end || *p != ',')
            return fail(r, p, "a comma or ] is missing");
        p = skip_space(p + 1, r->end);
    }
    return value_read(r, p);
}

enum json_token json_next(struct json_reader *r)
{
    if (r->status != 0)
        return JSON_ERROR;
    const uint8_t *p = skip_space(r->at, r->end);
    r->token = p;
    if (r->depth == 0) {
        if (r->first)
            return value_read(r, p);
        return p == r->end ? (r->last = JSON_END) : fail(r, p, "something stands behind the value");
    }
    if (r->last == JSON_KEY)
        return value_read(r, skip_space(p, r->end));
    bool object = r->objects >> (r->depth - 1) & 1;
    return object ? member_read(r, p) : element_read(r, p);
}

bool json_skip(struct json_reader *r)
{
    r->skipping = true;
    enum json_token t = r->last == JSON_KEY ? json_next(r) : r->last;
    if (t == JSON_OBJECT || t == JSON_ARRAY) {
        uint32_t outside = r->depth - 1;
        while (r->depth > outside && json_next(r) != JSON_ERROR)
            ;
    }
    r->skipping = false;
    return r->status == 0;
}

int json_check(struct slice input)
{
    struct json_reader r;
    json_reader_init(&r, input, NULL);
    r.skipping = true; /* a string alone must not ask for an arena either */
    if (json_next(&r) != JSON_ERROR && json_skip(&r))
        json_next(&r);
    return r.status;
}
