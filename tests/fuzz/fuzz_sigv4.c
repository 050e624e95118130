/*
 * The verifier on a request whose parts are the input's lines: method, path, query, then headers "name:value", an empty
 * line, the body. Besides not crashing: nothing signed by a stranger verifies, and what our signer signs does.
 */
#include <stdint.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/wire/sigv4.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADERS_MAX 24
#define NOW_MS      1763845384000 /* 20251122T210304Z */

static struct slice secret_of(void *ctx, struct slice access_key)
{
    return slice_eq_str(access_key, "AKID") ? slice_str(ctx) : SLICE_NULL;
}

static struct slice line_next(struct slice *in)
{
    struct slice line = slice_first(*in, slice_find(*in, '\n'));
    *in = slice_from(*in, line.len + 1);
    return line;
}

static void request_read(struct slice in, struct sigv4_request *r, struct http_header *headers)
{
    *r = (struct sigv4_request){.headers = headers};
    r->method = line_next(&in);
    r->path = line_next(&in);
    r->query = line_next(&in);
    while (r->header_count < HEADERS_MAX) {
        struct slice line = line_next(&in);
        if (line.len == 0)
            break;
        size_t colon = slice_find(line, ':');
        headers[r->header_count++] = (struct http_header){slice_first(line, colon), slice_from(line, colon + 1)};
    }
    r->body = in;
}

/* Whatever was read, signed by us, verifies, unless it brings headers of its own that the signature uses. */
static void round_trip(struct sigv4_verifier *v, struct sigv4_request *r, struct http_header *headers,
                       struct arena *arena)
{
    static const char *const own[] = {"authorization", "x-amz-date", "date", "x-amz-content-sha256"};
    struct sigv4_credentials c = {SLICE_LIT("AKID"), SLICE_LIT("secret"), SLICE_NULL};
    struct sigv4_signer signer;
    struct sigv4_added added;
    struct sigv4_result result;
    for (size_t i = 0; i < ARRAY_COUNT(own); i++)
        if (http_header_find(headers, r->header_count, own[i]).ptr)
            return;
    for (uint32_t i = 0; i < r->header_count; i++)
        for (size_t k = 0; k < headers[i].name.len; k++)
            if (headers[i].name.ptr[k] <= ' ' || strchr(";,=/", headers[i].name.ptr[k]))
                return;
    headers[r->header_count++] = (struct http_header){SLICE_LIT("Host"), SLICE_LIT("h")};
    CHECK(sigv4_signer_init(&signer, &c, SLICE_LIT("r"), SLICE_LIT("s"), 0) == 0);
    if (sigv4_sign(&signer, r, (struct wall_ms){NOW_MS}, &added) == 0) {
        memcpy(headers + r->header_count, added.headers, added.count * sizeof *headers);
        r->header_count += added.count;
        enum sigv4_error error = sigv4_verify(v, r, (struct wall_ms){NOW_MS}, arena, &result);
        CHECK(error == SIGV4_OK || error == SIGV4_PRESIGNED || error == SIGV4_TWO_METHODS ||
              error == SIGV4_OUT_OF_MEMORY);
    }
    sigv4_signer_deinit(&signer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sigv4_verifier v;
    static char secret[] = "secret";
    struct http_header headers[HEADERS_MAX + 1 + SIGV4_ADDED_MAX];
    struct sigv4_request r;
    struct sigv4_result result;
    struct arena arena;
    if (size > 16384)
        return 0;
    sigv4_verifier_init(&v);
    v.secret = secret_of;
    v.ctx = secret;
    arena_init(&arena, 65536, 1 << 20);
    request_read(slice_of(data, size), &r, headers);
    CHECK(sigv4_verify(&v, &r, (struct wall_ms){NOW_MS}, &arena, &result) != SIGV4_OK);
    CHECK(result.message.ptr || result.error == SIGV4_OUT_OF_MEMORY);
    round_trip(&v, &r, headers, &arena);
    arena_deinit(&arena);
    sigv4_verifier_deinit(&v);
    return 0;
}
