/* The response parser, whole and split at every byte, and the bodies that its framing leads to. */
#include <stdint.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/wire/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http1_limits limits = {
    .head_bytes_max = 4096, .headers_max = 32, .target_bytes_max = 512, .body_bytes_max = 10000};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http1_field fields[32];
    struct http1_parser whole, split;
    bool no_body = size > 0 && (data[0] & 1);
    http1_response_init(&whole, &limits, fields, no_body);
    enum http1_progress all = http1_parse(&whole, data, size), some = HTTP1_MORE;
    http1_response_init(&split, &limits, fields, no_body);
    for (size_t n = 1; n <= size && some == HTTP1_MORE; n++)
        some = http1_parse(&split, data, n);
    CHECK(size == 0 || some == all || some == HTTP1_FAILED);
    if (all != HTTP1_DONE)
        return 0;
    CHECK(whole.head_bytes == split.head_bytes && whole.status >= 100 && whole.status <= 999);
    CHECK(whole.body != HTTP1_BODY_LENGTH || whole.content_length <= limits.body_bytes_max);
    if (whole.body == HTTP1_BODY_CHUNKED) {
        struct http1_chunks c;
        struct slice in = slice_of(data + whole.head_bytes, size - whole.head_bytes), body;
        enum http1_progress progress = HTTP1_MORE;
        size_t used;
        http1_chunks_init(&c, limits.body_bytes_max);
        for (; in.len && progress == HTTP1_MORE; in = slice_from(in, used))
            progress = http1_chunks_next(&c, in, &used, &body);
    }
    return 0;
}
