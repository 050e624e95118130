/*
 * A step looks at 16 bytes (SSE2, which every x86-64 has) or 32 (AVX2, asked of the CPU each time: one predictable
 * branch). Elsewhere, and for the last few bytes, byte by byte: strings there are short or machines are not x86.
 */
#include "common/wire/json_scan.h"

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c != '"' && c != '\\';
}

#ifdef __x86_64__
#include <immintrin.h>

/* Signed comparison: control characters and bytes from 0x80 on are both "less than a space". */
static inline unsigned special16(const uint8_t *p, bool ascii)
{
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    __m128i control =
        ascii ? _mm_cmplt_epi8(v, _mm_set1_epi8(0x20)) : _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(hit, control));
}

__attribute__((target("avx2"))) static inline unsigned special32(const uint8_t *p, bool ascii)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)p);
    __m256i hit =
        _mm256_or_si256(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('"')), _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\')));
    __m256i control = ascii ? _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), v)
                            : _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v);
    return (unsigned)_mm256_movemask_epi8(_mm256_or_si256(hit, control));
}

__attribute__((target("avx2"))) static const uint8_t *scan_avx2(const uint8_t *p, const uint8_t *end, bool ascii)
{
    for (; end - p >= 32; p += 32) {
        unsigned mask = special32(p, ascii);
        if (mask)
            return p + __builtin_ctz(mask);
    }
    return p;
}

static inline const uint8_t *scan(const uint8_t *p, const uint8_t *end, bool ascii)
{
    if (end - p >= 64 && __builtin_cpu_supports("avx2")) {
        const uint8_t *at = scan_avx2(p, end, ascii);
        if (end - at >= 32) /* it stopped at a hit */
            return at;
        p = at;
    }
    for (; end - p >= 16; p += 16) {
        unsigned mask = special16(p, ascii);
        if (mask)
            return p + __builtin_ctz(mask);
    }
    while (p < end && is_plain(*p) && !(ascii && *p >= 0x80))
        p++;
    return p;
}
#else
static inline const uint8_t *scan(const uint8_t *p, const uint8_t *end, bool ascii)
{
    while (p < end && is_plain(*p) && !(ascii && *p >= 0x80))
        p++;
    return p;
}
#endif

const uint8_t *json_scan_ascii(const uint8_t *p, const uint8_t *end)
{
    return scan(p, end, true);
}

const uint8_t *json_scan_unescaped(const uint8_t *p, const uint8_t *end)
{
    return scan(p, end, false);
}
