/*
 * Uniform resource identifiers as HTTP and SigV4 need them: percent coding, path normalisation, query parameters,
 * authorities. Nothing here allocates; views borrow from the input. Pure; any thread.
 */
#ifndef SLUICE_WIRE_URI_H
#define SLUICE_WIRE_URI_H

#include "common/base/bytebuf.h"
#include "common/base/slice.h"

enum uri_encode_flags { URI_KEEP_SLASH = 1 };

/* Appends `s` with every byte but A-Z a-z 0-9 - . _ ~ (and '/' with URI_KEEP_SLASH) as %XX. */
void uri_encode(struct slice s, unsigned flags, struct bytebuf *out);
/* Decodes %XX into `out` (room for s.len bytes; may be s.ptr itself) and returns its length, or ST_SYNTAX on a broken
 * escape. '+' stays '+'. */
int uri_decode(struct slice s, uint8_t *out) must_use;
/* The same as HTML forms encode: '+' is a space. */
int uri_decode_form(struct slice s, uint8_t *out) must_use;

/* Appends the absolute path `s` without empty, "." and ".." segments (RFC 3986, 5.2.4); a trailing slash stays. ".."
 * at the root is dropped. */
void uri_normalize_path(struct slice s, struct bytebuf *out);

/* One parameter of a query, not decoded. */
struct uri_param {
    struct slice name, value;
    bool has_equals;
};
/* Takes the next non-empty parameter off `*query`; false at the end. */
bool uri_param_next(struct slice *query, struct uri_param *out);
/* The value (not decoded) of the first parameter of that exact name; ptr NULL if there is none. */
struct slice uri_param_find(struct slice query, const char *name);

/* host[:port] of a Host header or an authority. */
struct uri_authority {
    struct slice host; /* without the brackets of an IPv6 address */
    uint16_t port;     /* 0: none given */
    bool is_ipv6;      /* was in brackets */
};
/* ST_SYNTAX: user information, an empty host, characters no host has, a port outside 1..65535. */
int uri_authority_parse(struct slice s, struct uri_authority *out) must_use;
/* "localhost", 127.0.0.0/8 or ::1. */
bool uri_host_is_loopback(const struct uri_authority *a);

/* An http(s) URL. */
struct uri {
    bool https;
    struct slice authority; /* as written */
    struct uri_authority at;
    struct slice path;  /* "/" if there was none */
    struct slice query; /* without '?' */
};
/* ST_SYNTAX: another scheme, a bad authority, a fragment. */
int uri_parse(struct slice s, struct uri *out) must_use;

#endif
