/*
 * Base64 (RFC 4648, the standard alphabet, padded), strict: the length must be a multiple of four, padding stands only
 * at the end, the unused bits of the last character are zero. AVX2 where the CPU has it. Pure; any thread.
 */
#ifndef SLUICE_WIRE_BASE64_H
#define SLUICE_WIRE_BASE64_H

#include "common/base/slice.h"
#include "common/base/status.h"

/* Exact size of `len` bytes in base64. */
static inline size_t base64_encoded_len(size_t len)
{
    return (len + 2) / 3 * 4;
}

/* Writes base64_encoded_len(in.len) characters to `out`, no terminator. */
void base64_encode(struct slice in, char *out);

/* Room that base64_decode needs for `len` characters. */
static inline size_t base64_decoded_max(size_t len)
{
    return len / 4 * 3 + 3;
}

enum base64_fault {
    BASE64_OK,
    BASE64_LENGTH,    /* not a multiple of four */
    BASE64_CHARACTER, /* outside of the alphabet, or padding before the end */
    BASE64_LAST,      /* the last character carries bits that belong to no byte */
};

/* Decodes into `out` (base64_decoded_max(in.len) bytes; may not overlap `in`). *out_len is the number of bytes.
 * On a fault *out_at (may be NULL) is the offset of the offending character; what stands in `out` is undefined. */
enum base64_fault base64_decode(struct slice in, uint8_t *out, size_t *out_len, size_t *out_at) must_use;

#endif
