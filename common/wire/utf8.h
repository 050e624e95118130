/* UTF-8: validation (no overlong forms, no surrogates, nothing over U+10FFFF), lengths, encoding. Pure; any thread. */
#ifndef SLUICE_WIRE_UTF8_H
#define SLUICE_WIRE_UTF8_H

#include "common/base/slice.h"

/* Length (1..4) of the valid sequence at `p`, 0 if there is none. `p` < `end`. */
size_t utf8_sequence(const uint8_t *p, const uint8_t *end);
bool utf8_valid(struct slice s);
/* Code points in valid UTF-8. */
size_t utf8_length(struct slice s);
/* Decodes the sequence at `p` of valid UTF-8; returns its length. */
size_t utf8_decode(const uint8_t *p, uint32_t *out_code_point);
/* Writes 1..4 bytes; returns how many. `code_point` is a scalar value. */
size_t utf8_encode(uint32_t code_point, uint8_t out[4]);

#endif
