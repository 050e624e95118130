/*
 * The verifying side. One request passes the checks of `checks` in AWS's order: method of signing, header, date, scope,
 * key, signature. The first that fails writes its message into v->scratch, from where it is copied into the arena.
 * Derived keys are kept only for requests whose signature was right, so that strangers cannot push out good ones.
 */
#include <stdio.h>

#include "common/wire/sigv4.h"
#include "common/wire/uri.h"

#define CANONICAL_BYTES_MAX (1u << 20)

struct check {
    struct sigv4_verifier *v;
    const struct sigv4_request *r;
    struct wall_ms now;
    struct sigv4_authorization a;
    struct slice date_header;
    char time_text[SIGV4_TIME_SIZE];
    char body_hash[SHA256_HEX_SIZE];
    struct bytebuf *message;
};

void sigv4_verifier_init(struct sigv4_verifier *v)
{
    *v = (struct sigv4_verifier){0};
    bytebuf_init(&v->canonical, CANONICAL_BYTES_MAX);
    bytebuf_init(&v->scratch, 2 * CANONICAL_BYTES_MAX);
}

void sigv4_verifier_deinit(struct sigv4_verifier *v)
{
    if (!v)
        return;
    sigv4_verifier_forget(v);
    bytebuf_deinit(&v->canonical);
    bytebuf_deinit(&v->scratch);
}

void sigv4_verifier_forget(struct sigv4_verifier *v)
{
    digest_wipe(v->cache, sizeof v->cache);
    v->uses = 0;
}

static struct slice header(const struct check *c, const char *name)
{
    return http_header_find(c->r->headers, c->r->header_count, name);
}

/* ---- the checks, in order ---------------------------------------------------------------------------------------- */

static enum sigv4_error check_method(struct check *c)
{
    struct slice query = c->r->query;
    struct uri_param p;
    bool in_query = false;
    uint32_t headers = 0;
    while (uri_param_next(&query, &p))
        in_query |= slice_eq_str(p.name, "X-Amz-Algorithm");
    for (uint32_t i = 0; i < c->r->header_count; i++)
        headers += slice_eq_nocase(c->r->headers[i].name, SLICE_LIT("authorization"));

    if (headers && in_query) {
        bytebuf_str(c->message,
                    "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.");
        return SIGV4_TWO_METHODS;
    }
    if (in_query) {
        bytebuf_str(c->message, "Signatures in the query string are not supported: use the 'Authorization' header.");
        return SIGV4_PRESIGNED;
    }
    if (!headers) {
        bytebuf_str(c->message, "Missing Authentication Token");
        return SIGV4_MISSING;
    }
    if (headers > 1) {
        bytebuf_str(c->message, "There is more than one 'Authorization' header.");
        return SIGV4_INCOMPLETE;
    }
    return SIGV4_OK;
}

static enum sigv4_error check_header(struct check *c)
{
    c->date_header = header(c, "x-amz-date");
    if (!c->date_header.ptr)
        c->date_header = header(c, "date");
    return sigv4_authorization_parse(header(c, "authorization"), c->date_header.ptr != NULL, &c->a, c->message);
}

static enum sigv4_error check_date(struct check *c)
{
    struct wall_ms t;
    char now[SIGV4_TIME_SIZE], bound[SIGV4_TIME_SIZE];
    if (sigv4_time_parse(c->date_header, &t) < 0) {
        bytebuf_printf(c->message,
                       "Date must be in ISO-8601 'basic format'. Got '%.*s'. See http://en.wikipedia.org/wiki/ISO_8601",
                       SLICE_FMT(c->date_header));
        return SIGV4_INCOMPLETE;
    }
    sigv4_time_text(t, c->time_text);
    sigv4_time_text(c->now, now);
    /* seconds count: the request's time has no fraction */
    int64_t now_ms = c->now.ms - c->now.ms % 1000;
    if (t.ms < now_ms - SIGV4_SKEW_MS) {
        sigv4_time_text((struct wall_ms){now_ms - SIGV4_SKEW_MS}, bound);
        bytebuf_printf(c->message, "Signature expired: %s is now earlier than %s (%s - 5 min.)", c->time_text, bound,
                       now);
        return SIGV4_EXPIRED;
    }
    if (t.ms > now_ms + SIGV4_SKEW_MS) {
        sigv4_time_text((struct wall_ms){now_ms + SIGV4_SKEW_MS}, bound);
        bytebuf_printf(c->message, "Signature not yet current: %s is still later than %s (%s + 5 min.)", c->time_text,
                       bound, now);
        return SIGV4_EXPIRED;
    }
    return SIGV4_OK;
}

static bool is_signed(const struct check *c, const char *name)
{
    for (struct slice left = c->a.signed_headers; left.len;) {
        size_t n = slice_find(left, ';');
        if (slice_eq_nocase(slice_first(left, n), slice_str(name)))
            return true;
        left = slice_from(left, n + 1);
    }
    return false;
}

static enum sigv4_error check_signed_headers(struct check *c)
{
    const char *missing = NULL;
    if (!is_signed(c, "host") && !is_signed(c, ":authority"))
        missing = "'Host' or ':authority'";
    else if (header(c, "x-amz-target").ptr && !is_signed(c, "x-amz-target"))
        missing = "'X-Amz-Target'"; /* unsigned, anybody on the way could change the operation */
    if (!missing)
        return SIGV4_OK;
    bytebuf_printf(c->message, "%s must be a 'SignedHeader' in the AWS Authorization.", missing);
    return SIGV4_NOT_SIGNED;
}

static enum sigv4_error check_algorithm(struct check *c)
{
    if (slice_eq_str(c->a.algorithm, "AWS4-HMAC-SHA256"))
        return sigv4_credential_split(&c->a, c->message);
    bytebuf_printf(c->message, "Unsupported AWS 'algorithm': '%.*s' (only AWS4-HMAC-SHA256 for now). ",
                   SLICE_FMT(c->a.algorithm));
    return SIGV4_INCOMPLETE;
}

static bool is_service(const struct sigv4_verifier *v, struct slice service)
{
    if (!v->services)
        return true;
    for (const char *const *s = v->services; *s; s++)
        if (slice_eq_str(service, *s))
            return true;
    return false;
}

/* All that is wrong with the scope goes into one message. */
static enum sigv4_error check_scope(struct check *c)
{
    size_t before = c->message->len;
    if (c->v->region && !slice_eq_str(c->a.region, c->v->region))
        bytebuf_printf(c->message, "Credential should be scoped to a valid region, not '%.*s'. ",
                       SLICE_FMT(c->a.region));
    if (!is_service(c->v, c->a.service))
        bytebuf_printf(c->message, "Credential should be scoped to correct service: '%s'. ", c->v->services[0]);
    if (!slice_eq_str(c->a.terminator, "aws4_request"))
        bytebuf_printf(c->message, "Credential should be scoped with a valid terminator: 'aws4_request', not '%.*s'. ",
                       SLICE_FMT(c->a.terminator));
    if (!slice_eq(c->a.date, slice_of(c->time_text, 8)))
        bytebuf_printf(c->message,
                       "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                       "'%.*s' != '%.8s', from '%s'. ",
                       SLICE_FMT(c->a.date), c->time_text, c->time_text);
    if (c->message->len == before && !bytebuf_failed(c->message))
        return SIGV4_OK;
    if (c->message->len)
        c->message->len--; /* the space after the last sentence */
    return SIGV4_SCOPE;
}

static enum sigv4_error check_body(struct check *c)
{
    digest_sha256_hex(c->r->body, c->body_hash);
    struct slice claimed = header(c, "x-amz-content-sha256");
    if (!claimed.ptr || slice_eq_nocase(claimed, slice_str(c->body_hash)))
        return SIGV4_OK;
    bytebuf_str(c->message, "The provided 'x-amz-content-sha256' header does not match what was computed.");
    return SIGV4_BODY_HASH;
}

/* ---- derived keys ------------------------------------------------------------------------------------------------ */

/* The part of the credential that names a derived key: all but the terminator. */
static struct slice key_name(const struct check *c)
{
    return slice_of(c->a.access_key.ptr, (size_t)(c->a.service.ptr + c->a.service.len - c->a.access_key.ptr));
}

static struct sigv4_cached_key *cache_find(struct sigv4_verifier *v, struct slice name)
{
    if (name.len >= sizeof v->cache[0].name)
        return NULL;
    for (size_t i = 0; i < SIGV4_CACHED_KEYS; i++)
        if (v->cache[i].used && slice_eq_str(name, v->cache[i].name))
            return &v->cache[i];
    return NULL;
}

static void cache_add(struct sigv4_verifier *v, struct slice name, const uint8_t key[SHA256_BYTES])
{
    struct sigv4_cached_key *oldest = &v->cache[0];
    if (name.len >= sizeof oldest->name || memchr(name.ptr, 0, name.len))
        return;
    for (size_t i = 1; i < SIGV4_CACHED_KEYS; i++)
        if (v->cache[i].used < oldest->used)
            oldest = &v->cache[i];
    memcpy(oldest->name, name.ptr, name.len);
    oldest->name[name.len] = 0;
    memcpy(oldest->key, key, SHA256_BYTES);
    oldest->used = ++v->uses;
}

/* ---- the signature ----------------------------------------------------------------------------------------------- */

static void mismatch_message(const struct check *c, struct slice canonical, struct slice string_to_sign)
{
    bytebuf_str(c->message, "The request signature we calculated does not match the signature you provided. Check your "
                            "AWS Secret Access Key and signing method. Consult the service documentation for details."
                            "\n\nThe Canonical String for this request should have been\n'");
    bytebuf_slice(c->message, canonical);
    bytebuf_str(c->message, "'\n\nThe String-to-Sign should have been\n'");
    bytebuf_slice(c->message, string_to_sign);
    bytebuf_str(c->message, "'\n");
}

static enum sigv4_error check_signature(struct check *c)
{
    struct slice name = key_name(c);
    struct sigv4_cached_key *cached = cache_find(c->v, name);
    uint8_t key[SHA256_BYTES];
    struct slice secret = c->v->secret(c->v->ctx, c->a.access_key);
    if (!secret.ptr || (!cached && sigv4_derive_key(secret, c->a.date, c->a.region, c->a.service, key) < 0)) {
        bytebuf_str(c->message, "The security token included in the request is invalid.");
        return SIGV4_UNKNOWN_KEY;
    }
    enum sigv4_error error = check_body(c);
    if (error)
        return error;

    struct bytebuf *b = &c->v->canonical;
    bytebuf_reset(b);
    sigv4_canonical_request(c->r, c->a.signed_headers, slice_str(c->body_hash), b);
    size_t canonical_len = b->len;
    struct slice scope = slice_from(c->a.credential, c->a.access_key.len + 1);
    scope.len = (size_t)(c->a.terminator.ptr + c->a.terminator.len - scope.ptr);
    if (!bytebuf_reserve(b, 256 + scope.len)) /* so that the view below does not move */
        return SIGV4_OUT_OF_MEMORY;
    sigv4_string_to_sign(slice_str(c->time_text), scope, slice_of(b->ptr, canonical_len), b);
    struct slice string_to_sign = slice_from(bytebuf_view(b), canonical_len);

    char signature[SHA256_HEX_SIZE];
    sigv4_signature(cached ? cached->key : key, string_to_sign, signature);
    if (!digest_equal(c->a.signature, slice_str(signature))) {
        mismatch_message(c, slice_of(b->ptr, canonical_len), string_to_sign);
        return SIGV4_MISMATCH;
    }
    if (cached)
        cached->used = ++c->v->uses;
    else
        cache_add(c->v, name, key);
    return SIGV4_OK;
}

enum sigv4_error sigv4_verify(struct sigv4_verifier *v, const struct sigv4_request *r, struct wall_ms now,
                              struct arena *arena, struct sigv4_result *out)
{
    static enum sigv4_error (*const checks[])(struct check *) = {
        check_method, check_header, check_date, check_signed_headers, check_algorithm, check_scope, check_signature};
    struct check c = {.v = v, .r = r, .now = now, .message = &v->scratch};
    enum sigv4_error error = SIGV4_OK;
    bytebuf_reset(&v->scratch);
    for (size_t i = 0; i < ARRAY_COUNT(checks) && !error; i++)
        error = checks[i](&c);

    *out = (struct sigv4_result){.error = error,
                                 .access_key = c.a.access_key,
                                 .region = c.a.region,
                                 .service = c.a.service,
                                 .session_token = header(&c, "x-amz-security-token")};
    if (error) {
        out->message = arena_copy(arena, bytebuf_view(&v->scratch));
        if (!out->message.ptr || bytebuf_failed(&v->scratch))
            out->error = SIGV4_OUT_OF_MEMORY;
    }
    return out->error;
}
