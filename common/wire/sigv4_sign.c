/*
 * The signing side: chooses the headers to sign, runs the stages, lays out the headers to add. `text` holds what the
 * caller gets (its parts are found by offsets until the end, because it may move while it grows), `scratch` the
 * canonical request and the string to sign.
 */
#include <stdlib.h>

#include "common/wire/sigv4.h"

#define SIGNED_HEADERS_MAX 128
#define SCRATCH_BYTES_MAX  (1u << 20)

static struct slice string_add(char **at, struct slice s)
{
    char *p = *at;
    if (s.len)
        memcpy(p, s.ptr, s.len);
    *at += s.len;
    return s.ptr ? slice_of(p, s.len) : SLICE_NULL;
}

int sigv4_signer_init(struct sigv4_signer *s, const struct sigv4_credentials *credentials, struct slice region,
                      struct slice service, unsigned flags)
{
    if (credentials->secret_key.len > SIGV4_SECRET_BYTES_MAX)
        return ST_LIMIT;
    size_t len = credentials->access_key.len + credentials->secret_key.len + credentials->session_token.len +
                 region.len + service.len;
    char *strings = malloc(len + 1), *at = strings;
    if (!strings)
        return -ENOMEM;
    *s = (struct sigv4_signer){.strings = strings, .strings_bytes = len, .flags = flags};
    s->access_key = string_add(&at, credentials->access_key);
    s->secret_key = string_add(&at, credentials->secret_key);
    s->session_token = string_add(&at, credentials->session_token);
    s->region = string_add(&at, region);
    s->service = string_add(&at, service);
    bytebuf_init(&s->scratch, SCRATCH_BYTES_MAX);
    bytebuf_init(&s->text, SCRATCH_BYTES_MAX);
    return 0;
}

void sigv4_signer_deinit(struct sigv4_signer *s)
{
    if (!s || !s->strings)
        return;
    digest_wipe(s->strings, s->strings_bytes);
    digest_wipe(s->key, sizeof s->key);
    free(s->strings);
    bytebuf_deinit(&s->scratch);
    bytebuf_deinit(&s->text);
    s->strings = NULL;
}

/* Headers that proxies change or that say nothing about the request. */
static bool is_left_unsigned(struct slice name)
{
    static const char *const names[] = {"connection", "expect",          "transfer-encoding",
                                        "user-agent", "x-amzn-trace-id", "authorization"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (slice_eq_nocase(name, slice_str(names[i])))
            return true;
    return false;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static int compare_names(const void *pa, const void *pb)
{
    const struct slice *a = pa, *b = pb;
    for (size_t i = 0; i < a->len && i < b->len; i++) {
        uint8_t ca = lower(a->ptr[i]), cb = lower(b->ptr[i]);
        if (ca != cb)
            return ca < cb ? -1 : 1;
    }
    return (a->len > b->len) - (a->len < b->len);
}

/* Appends "host;x-amz-date" to `out`. False: more headers than SIGNED_HEADERS_MAX. */
static bool signed_headers(const struct http_header *headers, uint32_t count, struct bytebuf *out)
{
    struct slice names[SIGNED_HEADERS_MAX];
    size_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (is_left_unsigned(headers[i].name))
            continue;
        if (n == SIGNED_HEADERS_MAX)
            return false;
        names[n++] = headers[i].name;
    }
    qsort(names, n, sizeof names[0], compare_names);
    for (size_t i = 0; i < n; i++) {
        if (i && compare_names(&names[i], &names[i - 1]) == 0)
            continue;
        if (i)
            bytebuf_byte(out, ';');
        for (size_t k = 0; k < names[i].len; k++)
            bytebuf_byte(out, lower(names[i].ptr[k]));
    }
    return true;
}

/* The request's headers and those that the signature adds. */
static uint32_t gather(struct sigv4_signer *s, const struct sigv4_request *r, const char *time_text,
                       const char *payload_hash, struct http_header *all, struct sigv4_added *added)
{
    *added = (struct sigv4_added){0};
    added->headers[added->count++] = (struct http_header){SLICE_LIT("X-Amz-Date"), slice_str(time_text)};
    if (s->session_token.ptr)
        added->headers[added->count++] = (struct http_header){SLICE_LIT("X-Amz-Security-Token"), s->session_token};
    if (s->flags & SIGV4_S3)
        added->headers[added->count++] =
            (struct http_header){SLICE_LIT("X-Amz-Content-Sha256"), slice_str(payload_hash)};
    if (r->header_count)
        memcpy(all, r->headers, r->header_count * sizeof *all);
    memcpy(all + r->header_count, added->headers, added->count * sizeof *all);
    return r->header_count + added->count;
}

static int key_for(struct sigv4_signer *s, struct slice date)
{
    if (slice_eq_str(date, s->key_date))
        return 0;
    int rc = sigv4_derive_key(s->secret_key, date, s->region, s->service, s->key);
    if (rc < 0)
        return rc;
    memcpy(s->key_date, date.ptr, 8);
    s->key_date[8] = 0;
    return 0;
}

int sigv4_sign(struct sigv4_signer *s, const struct sigv4_request *r, struct wall_ms now, struct sigv4_added *out)
{
    struct http_header all[SIGNED_HEADERS_MAX + SIGV4_ADDED_MAX];
    struct bytebuf *b = &s->scratch;
    char signature[SHA256_HEX_SIZE];
    struct sigv4_added added;

    if (r->header_count > SIGNED_HEADERS_MAX)
        return ST_LIMIT;
    sigv4_time_text(now, s->time_text);
    if (s->flags & SIGV4_UNSIGNED_PAYLOAD)
        memcpy(s->payload_hash, "UNSIGNED-PAYLOAD", sizeof "UNSIGNED-PAYLOAD");
    else
        digest_sha256_hex(r->body, s->payload_hash);
    struct slice time_text = slice_str(s->time_text);
    struct sigv4_request full = *r;
    full.s3_path = s->flags & SIGV4_S3;
    full.headers = all;
    full.header_count = gather(s, r, s->time_text, s->payload_hash, all, &added);
    int rc = key_for(s, slice_first(time_text, 8));
    if (rc < 0)
        return rc;

    /* text: the Authorization header, whose tail is written once the signature is known */
    bytebuf_reset(&s->text);
    bytebuf_printf(&s->text, "AWS4-HMAC-SHA256 Credential=%.*s/", SLICE_FMT(s->access_key));
    size_t scope_at = s->text.len;
    bytebuf_printf(&s->text, "%.8s/%.*s/%.*s/aws4_request", s->time_text, SLICE_FMT(s->region), SLICE_FMT(s->service));
    size_t scope_len = s->text.len - scope_at;
    bytebuf_str(&s->text, ", SignedHeaders=");
    size_t names_at = s->text.len;
    if (!signed_headers(full.headers, full.header_count, &s->text))
        return ST_LIMIT;
    if (bytebuf_failed(&s->text))
        return -ENOMEM;

    bytebuf_reset(b);
    sigv4_canonical_request(&full, slice_from(bytebuf_view(&s->text), names_at), slice_str(s->payload_hash), b);
    if (bytebuf_failed(b))
        return -ENOMEM;
    size_t canonical_len = b->len;
    if (!bytebuf_reserve(b, 256 + scope_len)) /* so that the view below does not move */
        return -ENOMEM;
    sigv4_string_to_sign(time_text, slice_of(s->text.ptr + scope_at, scope_len), slice_of(b->ptr, canonical_len), b);
    sigv4_signature(s->key, slice_from(bytebuf_view(b), canonical_len), signature);
    bytebuf_printf(&s->text, ", Signature=%s", signature);
    if (bytebuf_failed(&s->text) || bytebuf_failed(b))
        return -ENOMEM;
    added.headers[added.count++] = (struct http_header){SLICE_LIT("Authorization"), bytebuf_view(&s->text)};
    *out = added;
    return 0;
}
