/*
 * The four stages of Signature Version 4, shared by signer (sigv4_sign.c) and verifier (sigv4_verify.c).
 *
 * Canonical forms: the path is normalised and percent-encoded once more as it was sent (S3: left as sent); each query
 * parameter is decoded and encoded again, so that clients may have escaped more or less than they had to, and sorted
 * by its encoded name, then value; header values are trimmed, inner white space is one space, repeated headers are
 * joined with commas in the order sent.
 */
#include "common/wire/sigv4.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/wire/uri.h"

/* ---- time ------------------------------------------------------------------------------------------------------- */

void sigv4_time_text(struct wall_ms t, char out[SIGV4_TIME_SIZE])
{
    struct wall_parts p = wall_split(t);
    char text[64];
    snprintf(text, sizeof text, "%04d%02d%02dT%02d%02d%02dZ", p.year, p.month, p.day, p.hour, p.minute, p.second);
    memcpy(out, text, SIGV4_TIME_SIZE - 1);
    out[SIGV4_TIME_SIZE - 1] = 0;
}

/* `len` digits at `at`; -1 if they are not. */
static int digits(struct slice s, size_t at, size_t len)
{
    uint64_t v;
    return slice_parse_u64(slice_of(s.ptr + at, len), &v) ? (int)v : -1;
}

static int parts_check(const struct wall_parts *p, struct wall_ms *out)
{
    if (p->year < 1 || p->month < 1 || p->month > 12 || p->day < 1 || p->hour < 0 || p->hour > 23 || p->minute < 0 ||
        p->minute > 59 || p->second < 0 || p->second > 59)
        return ST_SYNTAX;
    struct wall_ms t = wall_join(p);
    struct wall_parts again = wall_split(t);
    if (again.day != p->day || again.month != p->month)
        return ST_SYNTAX;
    *out = t;
    return 0;
}

static int parse_rfc1123(struct slice s, struct wall_ms *out)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (s.len != 29 || memcmp(s.ptr + 3, ", ", 2) != 0 || s.ptr[7] != ' ' || s.ptr[11] != ' ' || s.ptr[16] != ' ' ||
        s.ptr[19] != ':' || s.ptr[22] != ':' || memcmp(s.ptr + 25, " GMT", 4) != 0)
        return ST_SYNTAX;
    int month = 0;
    for (int m = 0; m < 12; m++)
        if (memcmp(months + 3 * m, s.ptr + 8, 3) == 0)
            month = m + 1;
    struct wall_parts p = {.year = digits(s, 12, 4),
                           .month = month,
                           .day = digits(s, 5, 2),
                           .hour = digits(s, 17, 2),
                           .minute = digits(s, 20, 2),
                           .second = digits(s, 23, 2)};
    return parts_check(&p, out);
}

int sigv4_time_parse(struct slice s, struct wall_ms *out)
{
    if (s.len != SIGV4_TIME_SIZE - 1)
        return parse_rfc1123(s, out);
    if (s.ptr[8] != 'T' || s.ptr[15] != 'Z')
        return ST_SYNTAX;
    struct wall_parts p = {.year = digits(s, 0, 4),
                           .month = digits(s, 4, 2),
                           .day = digits(s, 6, 2),
                           .hour = digits(s, 9, 2),
                           .minute = digits(s, 11, 2),
                           .second = digits(s, 13, 2)};
    return parts_check(&p, out);
}

/* ---- stage 1: path ---------------------------------------------------------------------------------------------- */

/* Most paths are canonical as they are: "/" and "/streams/orders/records". */
static bool path_is_plain(struct slice path)
{
    uint8_t before = 0;
    for (size_t i = 0; i < path.len; i++) {
        uint8_t c = path.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (c == '/' ? before == '/' : !plain)
            return false;
        before = c;
    }
    return path.len > 0 && path.ptr[0] == '/';
}

static void canonical_path(const struct sigv4_request *r, struct bytebuf *out)
{
    if (r->path.len == 0) {
        bytebuf_byte(out, '/');
    } else if (r->s3_path || path_is_plain(r->path)) {
        bytebuf_slice(out, r->path);
    } else {
        struct bytebuf normal;
        bytebuf_init(&normal, r->path.len + 1);
        uri_normalize_path(r->path, &normal);
        out->failed |= bytebuf_failed(&normal);
        uri_encode(bytebuf_view(&normal), URI_KEEP_SLASH, out);
        bytebuf_deinit(&normal);
    }
}

/* ---- stage 1: query --------------------------------------------------------------------------------------------- */

/* More parameters than any client sends; beyond, the canonical request fails. */
#define QUERY_PARAMS_MAX 512

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes one byte off `*s`, decoding an escape; a broken escape is taken literally. `s->len` > 0. */
static uint8_t next_decoded(struct slice *s)
{
    uint8_t c = s->ptr[0];
    int hi = s->len >= 3 ? hex_value(s->ptr[1]) : -1, lo = s->len >= 3 ? hex_value(s->ptr[2]) : -1;
    bool escape = c == '%' && hi >= 0 && lo >= 0;
    *s = slice_from(*s, escape ? 3 : 1);
    return escape ? (uint8_t)(hi << 4 | lo) : c;
}

/* The bytes of `s` in canonical coding. */
static void encode_again(struct slice s, struct bytebuf *out)
{
    while (s.len) {
        uint8_t c = next_decoded(&s);
        uri_encode(slice_of(&c, 1), 0, out);
    }
}

/* Orders by canonical coding without writing it out: a byte that is escaped starts with '%', which sorts before every
 * byte that is not, and two escaped ones sort by value. */
static int compare_encoded(struct slice a, struct slice b)
{
    static const char plain[] = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    while (a.len && b.len) {
        uint8_t ca = next_decoded(&a), cb = next_decoded(&b);
        bool pa = ca && strchr(plain, ca), pb = cb && strchr(plain, cb);
        if (pa != pb)
            return pa ? 1 : -1;
        if (ca != cb)
            return ca < cb ? -1 : 1;
    }
    return (a.len > 0) - (b.len > 0);
}

static int compare_params(const void *pa, const void *pb)
{
    const struct uri_param *a = pa, *b = pb;
    int order = compare_encoded(a->name, b->name);
    return order ? order : compare_encoded(a->value, b->value);
}

static void canonical_query(struct slice query, struct bytebuf *out)
{
    struct uri_param params[QUERY_PARAMS_MAX];
    size_t count = 0;
    if (query.len == 0)
        return;
    while (count < QUERY_PARAMS_MAX && uri_param_next(&query, &params[count]))
        count++;
    out->failed |= count == QUERY_PARAMS_MAX && query.len > 0;
    qsort(params, count, sizeof params[0], compare_params);
    for (size_t i = 0; i < count; i++) {
        if (i)
            bytebuf_byte(out, '&');
        encode_again(params[i].name, out);
        bytebuf_byte(out, '=');
        encode_again(params[i].value, out);
    }
}

/* ---- stage 1: headers ------------------------------------------------------------------------------------------- */

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Trimmed, each run of white space one space. */
static void canonical_value(struct slice v, struct bytebuf *out)
{
    uint8_t *to = bytebuf_reserve(out, v.len);
    size_t n = 0;
    bool gap = false;
    for (size_t i = 0; to && i < v.len; i++) {
        if (is_space(v.ptr[i])) {
            gap = n > 0;
            continue;
        }
        if (gap)
            to[n++] = ' ';
        gap = false;
        to[n++] = v.ptr[i];
    }
    bytebuf_advance(out, n);
}

static void append_lower(struct slice s, struct bytebuf *out)
{
    uint8_t *to = bytebuf_reserve(out, s.len);
    if (!to)
        return;
    for (size_t i = 0; i < s.len; i++)
        to[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (uint8_t)(s.ptr[i] + 32) : s.ptr[i];
    bytebuf_advance(out, s.len);
}

static void canonical_header(const struct sigv4_request *r, struct slice name, struct bytebuf *out)
{
    bool first = true;
    append_lower(name, out);
    bytebuf_byte(out, ':');
    for (uint32_t i = 0; i < r->header_count; i++) {
        if (!slice_eq_nocase(r->headers[i].name, name))
            continue;
        if (!first)
            bytebuf_byte(out, ',');
        first = false;
        canonical_value(r->headers[i].value, out);
    }
    bytebuf_byte(out, '\n');
}

void sigv4_canonical_request(const struct sigv4_request *r, struct slice signed_headers, struct slice payload_hash,
                             struct bytebuf *out)
{
    bytebuf_slice(out, r->method);
    bytebuf_byte(out, '\n');
    canonical_path(r, out);
    bytebuf_byte(out, '\n');
    canonical_query(r->query, out);
    bytebuf_byte(out, '\n');
    for (struct slice left = signed_headers; left.len;) {
        size_t n = slice_find(left, ';');
        canonical_header(r, slice_first(left, n), out);
        left = slice_from(left, n + 1);
    }
    bytebuf_byte(out, '\n');
    append_lower(signed_headers, out);
    bytebuf_byte(out, '\n');
    bytebuf_slice(out, payload_hash);
}

/* ---- stages 2 to 4 ---------------------------------------------------------------------------------------------- */

void sigv4_string_to_sign(struct slice time_text, struct slice scope, struct slice canonical_request,
                          struct bytebuf *out)
{
    char hash[SHA256_HEX_SIZE];
    digest_sha256_hex(canonical_request, hash);
    bytebuf_str(out, "AWS4-HMAC-SHA256\n");
    bytebuf_slice(out, time_text);
    bytebuf_byte(out, '\n');
    bytebuf_slice(out, scope);
    bytebuf_byte(out, '\n');
    bytebuf_str(out, hash);
}

int sigv4_derive_key(struct slice secret, struct slice date, struct slice region, struct slice service,
                     uint8_t out[SHA256_BYTES])
{
    uint8_t start[4 + SIGV4_SECRET_BYTES_MAX] = "AWS4", key[SHA256_BYTES], next[SHA256_BYTES];
    if (secret.len > SIGV4_SECRET_BYTES_MAX)
        return ST_LIMIT;
    if (secret.len)
        memcpy(start + 4, secret.ptr, secret.len);
    digest_hmac_sha256(slice_of(start, 4 + secret.len), date, key);
    digest_hmac_sha256(slice_of(key, sizeof key), region, next);
    digest_hmac_sha256(slice_of(next, sizeof next), service, key);
    digest_hmac_sha256(slice_of(key, sizeof key), SLICE_LIT("aws4_request"), out);
    digest_wipe(start, sizeof start);
    digest_wipe(key, sizeof key);
    digest_wipe(next, sizeof next);
    return 0;
}

void sigv4_signature(const uint8_t key[SHA256_BYTES], struct slice string_to_sign, char out_hex[SHA256_HEX_SIZE])
{
    uint8_t raw[SHA256_BYTES];
    digest_hmac_sha256(slice_of(key, SHA256_BYTES), string_to_sign, raw);
    digest_hex(slice_of(raw, sizeof raw), out_hex);
}
