/* See the header. Everything is a single pass over its input; the path normaliser cuts its own output back for "..". */
#include "common/wire/uri.h"

static bool is_unreserved(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

void uri_encode(struct slice s, unsigned flags, struct bytebuf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t *to = bytebuf_reserve(out, s.len * 3);
    if (!to)
        return;
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (is_unreserved(c) || (c == '/' && (flags & URI_KEEP_SLASH))) {
            to[n++] = c;
        } else {
            to[n++] = '%';
            to[n++] = (uint8_t)digits[c >> 4];
            to[n++] = (uint8_t)digits[c & 15];
        }
    }
    bytebuf_advance(out, n);
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int decode(struct slice s, uint8_t *out, bool form)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (c == '%') {
            if (s.len - i < 3)
                return ST_SYNTAX;
            int hi = hex_digit(s.ptr[i + 1]), lo = hex_digit(s.ptr[i + 2]);
            if (hi < 0 || lo < 0)
                return ST_SYNTAX;
            c = (uint8_t)(hi << 4 | lo);
            i += 2;
        } else if (form && c == '+') {
            c = ' ';
        }
        out[n++] = c;
    }
    return (int)n;
}

int uri_decode(struct slice s, uint8_t *out)
{
    return decode(s, out, false);
}

int uri_decode_form(struct slice s, uint8_t *out)
{
    return decode(s, out, true);
}

/* Cuts the last segment off the path that starts at `start`: "/a/b/" becomes "/a/". */
static void segment_drop(struct bytebuf *out, size_t start)
{
    if (out->len == start + 1)
        return;
    out->len--;
    while (out->ptr[out->len - 1] != '/')
        out->len--;
}

void uri_normalize_path(struct slice s, struct bytebuf *out)
{
    size_t start = out->len;
    bytebuf_byte(out, '/');
    while (s.len && !bytebuf_failed(out)) {
        size_t n = slice_find(s, '/');
        struct slice segment = slice_first(s, n);
        bool last = n == s.len;
        s = slice_from(s, last ? n : n + 1);
        if (segment.len == 0 || slice_eq_str(segment, "."))
            continue;
        if (slice_eq_str(segment, "..")) {
            segment_drop(out, start);
            continue;
        }
        bytebuf_slice(out, segment);
        if (!last)
            bytebuf_byte(out, '/');
    }
}

bool uri_param_next(struct slice *query, struct uri_param *out)
{
    while (query->len) {
        size_t n = slice_find(*query, '&');
        struct slice pair = slice_first(*query, n);
        *query = slice_from(*query, n + 1);
        if (pair.len == 0)
            continue;
        size_t eq = slice_find(pair, '=');
        out->name = slice_first(pair, eq);
        out->value = slice_from(pair, eq + 1);
        out->has_equals = eq < pair.len;
        return true;
    }
    return false;
}

struct slice uri_param_find(struct slice query, const char *name)
{
    struct uri_param p;
    while (uri_param_next(&query, &p))
        if (slice_eq_str(p.name, name))
            return p.value;
    return SLICE_NULL;
}

static bool is_host_char(uint8_t c, bool ipv6)
{
    if (ipv6)
        return hex_digit(c) >= 0 || c == ':' || c == '.';
    return is_unreserved(c);
}

int uri_authority_parse(struct slice s, struct uri_authority *out)
{
    struct uri_authority a = {0};
    struct slice rest;
    if (s.len && s.ptr[0] == '[') {
        size_t close = slice_find(s, ']');
        if (close == s.len)
            return ST_SYNTAX;
        a.is_ipv6 = true;
        a.host = slice_of(s.ptr + 1, close - 1);
        rest = slice_from(s, close + 1);
    } else {
        size_t colon = slice_find(s, ':');
        a.host = slice_first(s, colon);
        rest = slice_from(s, colon);
    }
    if (a.host.len == 0 || a.host.len > 255)
        return ST_SYNTAX;
    for (size_t i = 0; i < a.host.len; i++)
        if (!is_host_char(a.host.ptr[i], a.is_ipv6))
            return ST_SYNTAX;
    if (rest.len) {
        uint64_t port;
        if (rest.ptr[0] != ':' || rest.len > 6 || !slice_parse_u64(slice_from(rest, 1), &port) || port == 0 ||
            port > 65535)
            return ST_SYNTAX;
        a.port = (uint16_t)port;
    }
    *out = a;
    return 0;
}

/* Four decimal parts, the first 127. */
static bool is_loopback_v4(struct slice host)
{
    for (int part = 0; part < 4; part++) {
        size_t n = slice_find(host, '.');
        uint64_t v;
        if (n > 3 || !slice_parse_u64(slice_first(host, n), &v) || v > 255 || (part == 0 && v != 127) ||
            (n == host.len) != (part == 3))
            return false;
        host = slice_from(host, n + 1);
    }
    return true;
}

bool uri_host_is_loopback(const struct uri_authority *a)
{
    if (a->is_ipv6)
        return slice_eq_str(a->host, "::1");
    return slice_eq_nocase(a->host, SLICE_LIT("localhost")) || is_loopback_v4(a->host);
}

int uri_parse(struct slice s, struct uri *out)
{
    struct uri u = {0};
    size_t scheme = slice_find(s, ':');
    u.https = slice_eq_nocase(slice_first(s, scheme), SLICE_LIT("https"));
    if (!u.https && !slice_eq_nocase(slice_first(s, scheme), SLICE_LIT("http")))
        return ST_SYNTAX;
    s = slice_from(s, scheme);
    if (!slice_starts(s, SLICE_LIT("://")) || slice_find(s, '#') != s.len)
        return ST_SYNTAX;
    s = slice_from(s, 3);
    size_t question = slice_find(s, '?');
    u.query = slice_from(s, question + 1);
    s = slice_first(s, question);
    size_t slash = slice_find(s, '/');
    u.authority = slice_first(s, slash);
    u.path = slash < s.len ? slice_from(s, slash) : SLICE_LIT("/");
    if (uri_authority_parse(u.authority, &u.at) < 0)
        return ST_SYNTAX;
    *out = u;
    return 0;
}
