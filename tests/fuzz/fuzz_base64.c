/* Base64: bytes survive both ways; a text that decodes is the text that its bytes encode to. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/wire/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode_and_encode(struct slice text)
{
    uint8_t *bytes = malloc(base64_decoded_max(text.len));
    size_t len = 0, at = 0;
    CHECK(bytes);
    enum base64_fault fault = base64_decode(text, bytes, &len, &at);
    if (fault == BASE64_OK) {
        char *again = malloc(base64_encoded_len(len) + 1);
        CHECK(again && base64_encoded_len(len) == text.len);
        base64_encode(slice_of(bytes, len), again);
        CHECK(memcmp(again, text.ptr, text.len) == 0);
        free(again);
    } else {
        CHECK(at <= text.len && (fault == BASE64_LENGTH) == (text.len % 4 != 0));
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len = base64_encoded_len(size), back_len = 0;
    char *text = malloc(len ? len : 1);
    uint8_t *back = malloc(base64_decoded_max(len));
    CHECK(text && back);
    base64_encode(slice_of(data, size), text);
    CHECK(base64_decode(slice_of(text, len), back, &back_len, NULL) == BASE64_OK);
    CHECK(back_len == size && (size == 0 || memcmp(back, data, size) == 0));
    free(back);
    free(text);
    decode_and_encode(slice_of(data, size));
    return 0;
}
