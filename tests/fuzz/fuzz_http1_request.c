/*
 * The request parser and the body decoder. Besides not crashing: the outcome must not depend on how the input is split,
 * and every span must lie inside the head.
 */
#include <stdint.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/wire/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http1_limits limits = {
    .head_bytes_max = 4096, .headers_max = 32, .target_bytes_max = 512, .body_bytes_max = 10000};

static void span_check(const struct http1_parser *p, struct http1_span s)
{
    CHECK(s.at <= p->head_bytes && s.len <= p->head_bytes - s.at);
}

static void results_check(const struct http1_parser *p, const uint8_t *data)
{
    struct http_header headers[32];
    struct http1_target target;
    CHECK(p->body != HTTP1_BODY_UNTIL_CLOSE && p->field_count <= limits.headers_max);
    span_check(p, p->method);
    span_check(p, p->target);
    span_check(p, p->host);
    for (uint32_t i = 0; i < p->field_count; i++) {
        span_check(p, p->fields[i].name);
        span_check(p, p->fields[i].value);
    }
    http1_headers(p, data, headers);
    CHECK(http1_target_split(http1_view(data, p->target), &target) == HTTP1_OK);
}

/* The body in steps; returns a digest of what came out. */
static uint64_t chunks_run(struct slice in, size_t step)
{
    struct http1_chunks c;
    enum http1_progress progress = HTTP1_MORE;
    uint64_t sum = 0;
    http1_chunks_init(&c, limits.body_bytes_max);
    while (in.len && progress == HTTP1_MORE) {
        size_t used;
        struct slice body;
        progress = http1_chunks_next(&c, slice_first(in, step), &used, &body);
        CHECK(used <= in.len && (used > 0 || progress != HTTP1_MORE));
        for (size_t i = 0; i < body.len; i++)
            sum = sum * 31 + body.ptr[i] + 1;
        in = slice_from(in, used);
    }
    return sum * 31 + c.error * 2 + (progress == HTTP1_DONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http1_field fields[32];
    struct http1_parser whole, split;
    http1_request_init(&whole, &limits, fields);
    enum http1_progress all = http1_parse(&whole, data, size), some = HTTP1_MORE;
    if (all == HTTP1_DONE)
        results_check(&whole, data);
    http1_request_init(&split, &limits, fields);
    for (size_t n = 1; n <= size && some == HTTP1_MORE; n++)
        some = http1_parse(&split, data, n);
    if (size > 0 && all == HTTP1_DONE)
        CHECK(some == all && whole.head_bytes == split.head_bytes && whole.body == split.body);
    if (all == HTTP1_FAILED)
        CHECK(some == HTTP1_FAILED);
    if (all == HTTP1_DONE && whole.body == HTTP1_BODY_CHUNKED) {
        struct slice body = slice_of(data + whole.head_bytes, size - whole.head_bytes);
        CHECK(chunks_run(body, SIZE_MAX) == chunks_run(body, 1));
    }
    return 0;
}
