/*
 * Both directions run 24 bytes (32 characters) a step with AVX2 after Muła and Lemire, "Faster Base64 Encoding and
 * Decoding Using AVX2 Instructions" (2018), and finish, or run altogether, with plain code. The vector decoder stops at
 * the first step that holds anything but the alphabet; the plain code then judges it. Whoever has no AVX2 pays one
 * predictable branch.
 */
#include "common/wire/base64.h"

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Of each character 0x80 + its value; 0: not of the alphabet. */
#define GOOD 0x80
static const uint8_t values[256] = {
    ['A'] = 128, ['B'] = 129, ['C'] = 130, ['D'] = 131, ['E'] = 132, ['F'] = 133, ['G'] = 134, ['H'] = 135,
    ['I'] = 136, ['J'] = 137, ['K'] = 138, ['L'] = 139, ['M'] = 140, ['N'] = 141, ['O'] = 142, ['P'] = 143,
    ['Q'] = 144, ['R'] = 145, ['S'] = 146, ['T'] = 147, ['U'] = 148, ['V'] = 149, ['W'] = 150, ['X'] = 151,
    ['Y'] = 152, ['Z'] = 153, ['a'] = 154, ['b'] = 155, ['c'] = 156, ['d'] = 157, ['e'] = 158, ['f'] = 159,
    ['g'] = 160, ['h'] = 161, ['i'] = 162, ['j'] = 163, ['k'] = 164, ['l'] = 165, ['m'] = 166, ['n'] = 167,
    ['o'] = 168, ['p'] = 169, ['q'] = 170, ['r'] = 171, ['s'] = 172, ['t'] = 173, ['u'] = 174, ['v'] = 175,
    ['w'] = 176, ['x'] = 177, ['y'] = 178, ['z'] = 179, ['0'] = 180, ['1'] = 181, ['2'] = 182, ['3'] = 183,
    ['4'] = 184, ['5'] = 185, ['6'] = 186, ['7'] = 187, ['8'] = 188, ['9'] = 189, ['+'] = 190, ['/'] = 191,
};

#ifdef __x86_64__
#include <immintrin.h>

/* Encodes while 28 bytes can be read (24 are used a step). Returns the bytes consumed. */
__attribute__((target("avx2"))) static size_t encode_avx2(const uint8_t *in, size_t len, char *out)
{
    const __m256i spread = _mm256_set_epi8(10, 11, 9, 10, 7, 8, 6, 7, 4, 5, 3, 4, 1, 2, 0, 1, /* a half: 12 bytes */
                                           10, 11, 9, 10, 7, 8, 6, 7, 4, 5, 3, 4, 1, 2, 0, 1);
    const __m256i shift = _mm256_setr_epi8(65, 71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 0, 0, /* */
                                           65, 71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 0, 0);
    size_t at = 0;
    for (; len - at >= 28; at += 24, out += 32) {
        __m128i low = _mm_loadu_si128((const __m128i *)(in + at));
        __m128i high = _mm_loadu_si128((const __m128i *)(in + at + 12));
        __m256i v = _mm256_shuffle_epi8(_mm256_set_m128i(high, low), spread);
        /* four 6-bit values out of three bytes, by multiplication as a shift per 16-bit lane */
        __m256i ac =
            _mm256_mulhi_epu16(_mm256_and_si256(v, _mm256_set1_epi32(0x0fc0fc00)), _mm256_set1_epi32(0x04000040));
        __m256i bd =
            _mm256_mullo_epi16(_mm256_and_si256(v, _mm256_set1_epi32(0x003f03f0)), _mm256_set1_epi32(0x01000010));
        v = _mm256_or_si256(ac, bd);
        /* the distance from a value to its character, looked up by range */
        __m256i range = _mm256_subs_epu8(v, _mm256_set1_epi8(51));
        range = _mm256_sub_epi8(range, _mm256_cmpgt_epi8(v, _mm256_set1_epi8(25)));
        v = _mm256_add_epi8(v, _mm256_shuffle_epi8(shift, range));
        _mm256_storeu_si256((__m256i *)out, v);
    }
    return at;
}

/* Decodes steps of 32 characters while they are of the alphabet. A step stores 32 bytes, of which 24 count: it is taken
 * only while 45 characters (33 bytes of room) are left. Returns the characters consumed. */
__attribute__((target("avx2"))) static size_t decode_avx2(const uint8_t *in, size_t len, uint8_t *out)
{
    /* a bit per class of low nibbles that does not go with a class of high nibbles */
    const __m256i low_classes = _mm256_setr_epi8(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a,
                                                 0x1b, 0x1b, 0x1b, 0x1a, 0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
                                                 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a);
    const __m256i high_classes = _mm256_setr_epi8(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10,
                                                  0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x01, 0x02, 0x04, 0x08,
                                                  0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10);
    const __m256i rolls = _mm256_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0, /* */
                                           0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i pack = _mm256_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1, /* */
                                          2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m256i join = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, -1, -1), mask = _mm256_set1_epi8(0x2f);
    size_t at = 0;
    for (; len - at >= 45; at += 32, out += 24) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(in + at));
        __m256i high = _mm256_and_si256(_mm256_srli_epi32(v, 4), mask);
        __m256i low_class = _mm256_shuffle_epi8(low_classes, _mm256_and_si256(v, mask));
        if (!_mm256_testz_si256(low_class, _mm256_shuffle_epi8(high_classes, high)))
            break;
        __m256i slash = _mm256_cmpeq_epi8(v, mask); /* '/' is 0x2f: the one that shares its row with '+' */
        v = _mm256_add_epi8(v, _mm256_shuffle_epi8(rolls, _mm256_add_epi8(slash, high)));
        v = _mm256_maddubs_epi16(v, _mm256_set1_epi32(0x01400140));
        v = _mm256_madd_epi16(v, _mm256_set1_epi32(0x00011000));
        v = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(v, pack), join);
        _mm256_storeu_si256((__m256i *)out, v);
    }
    return at;
}

static size_t encode_fast(const uint8_t *in, size_t len, char *out)
{
    return len >= 28 && __builtin_cpu_supports("avx2") ? encode_avx2(in, len, out) : 0;
}

static size_t decode_fast(const uint8_t *in, size_t len, uint8_t *out)
{
    return len >= 45 && __builtin_cpu_supports("avx2") ? decode_avx2(in, len, out) : 0;
}
#else
static size_t encode_fast(const uint8_t *in, size_t len, char *out)
{
    return 0;
}

static size_t decode_fast(const uint8_t *in, size_t len, uint8_t *out)
{
    return 0;
}
#endif

void base64_encode(struct slice in, char *out)
{
    size_t at = encode_fast(in.ptr, in.len, out);
    out += at / 3 * 4;
    for (; in.len - at >= 3; at += 3, out += 4) {
        uint32_t v = (uint32_t)in.ptr[at] << 16 | (uint32_t)in.ptr[at + 1] << 8 | in.ptr[at + 2];
        out[0] = alphabet[v >> 18];
        out[1] = alphabet[v >> 12 & 63];
        out[2] = alphabet[v >> 6 & 63];
        out[3] = alphabet[v & 63];
    }
    size_t left = in.len - at;
    if (left == 0)
        return;
    uint32_t v = (uint32_t)in.ptr[at] << 16 | (left == 2 ? (uint32_t)in.ptr[at + 1] << 8 : 0);
    out[0] = alphabet[v >> 18];
    out[1] = alphabet[v >> 12 & 63];
    out[2] = left == 2 ? alphabet[v >> 6 & 63] : '=';
    out[3] = '=';
}

static enum base64_fault fault_at(const uint8_t *p, size_t at, size_t *out_at)
{
    if (out_at) {
        while (values[p[at]] & GOOD)
            at++;
        *out_at = at;
    }
    return BASE64_CHARACTER;
}

/* The last four characters: one to three bytes. */
static enum base64_fault last_decode(struct slice in, uint8_t *out, size_t *out_len, size_t *out_at)
{
    size_t at = in.len - 4;
    const uint8_t *p = in.ptr + at;
    unsigned padding = p[3] == '=' ? (p[2] == '=' ? 2 : 1) : 0;
    uint32_t v = 0;
    for (unsigned i = 0; i < 4 - padding; i++) {
        if (!(values[p[i]] & GOOD))
            return fault_at(in.ptr, at, out_at);
        v |= (uint32_t)(values[p[i]] & 63) << (18 - 6 * i);
    }
    if (v & ((1u << (8 * padding)) - 1)) {
        if (out_at)
            *out_at = at + 3 - padding;
        return BASE64_LAST;
    }
    out[0] = (uint8_t)(v >> 16);
    if (padding < 2)
        out[1] = (uint8_t)(v >> 8);
    if (padding < 1)
        out[2] = (uint8_t)v;
    *out_len = in.len / 4 * 3 - padding;
    return BASE64_OK;
}

enum base64_fault base64_decode(struct slice in, uint8_t *out, size_t *out_len, size_t *out_at)
{
    if (in.len % 4) {
        if (out_at)
            *out_at = in.len;
        return BASE64_LENGTH;
    }
    if (in.len == 0) {
        *out_len = 0;
        return BASE64_OK;
    }
    size_t at = decode_fast(in.ptr, in.len, out);
    out += at / 4 * 3;
    for (; in.len - at > 4; at += 4, out += 3) {
        const uint8_t *p = in.ptr + at;
        uint8_t a = values[p[0]], b = values[p[1]], c = values[p[2]], d = values[p[3]];
        if (!(a & b & c & d & GOOD))
            return fault_at(in.ptr, at, out_at);
        uint32_t v = (uint32_t)(a & 63) << 18 | (uint32_t)(b & 63) << 12 | (uint32_t)(c & 63) << 6 | (d & 63);
        out[0] = (uint8_t)(v >> 16);
        out[1] = (uint8_t)(v >> 8);
        out[2] = (uint8_t)v;
    }
    return last_decode(in, out, out_len, out_at);
}
