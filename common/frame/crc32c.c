/*
 * CRC32C three ways: a table (any CPU), the crc32 instruction (SSE4.2), and the instruction on three streams at once,
 * which hides its latency of three cycles: 7.6 GB/s serial, 20 GB/s interleaved (limits.md).
 *
 * The CRC register is a polynomial over GF(2) in reflected order. Running `n` zero bytes through it multiplies it by
 * x^(8n) mod P. So the CRC of a|b is crc(a) * x^(8 len b) + crc(b): that is crc32c_combine, and it is how the three
 * streams of a stride are joined. For the strides' two fixed lengths the product comes from 4 x 256-entry tables.
 *
 * The tables are built once, before main, by a constructor. Any thread.
 */
#include "common/frame/crc32c.h"

#include <stdbool.h>
#include <string.h>

#define POLY         0x82f63b78u /* x^32 + x^28 + ... reflected */
#define STRIDE_LONG  8192u
#define STRIDE_SHORT 256u

static uint32_t byte_table[8][256];
static uint32_t power_table[64]; /* x^(2^k) mod P */
static uint32_t shift_long[4][256], shift_short[4][256];
static bool have_instruction;

/* a * b mod P, both reflected: bit 31 is x^0. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b & 1 ? (b >> 1) ^ POLY : b >> 1;
    }
    return product;
}

/* x^(8n) mod P. */
static uint32_t power_of_bytes(uint64_t n)
{
    uint32_t p = 1u << 31;
    for (unsigned k = 3; n; n >>= 1, k++)
        if (n & 1)
            p = multiply(power_table[k], p);
    return p;
}

static void build_shift(uint32_t table[4][256], uint64_t bytes)
{
    uint32_t factor = power_of_bytes(bytes);
    for (unsigned i = 0; i < 4; i++)
        for (uint32_t v = 0; v < 256; v++)
            table[i][v] = multiply(factor, v << (8 * i));
}

__attribute__((constructor)) static void build_tables(void)
{
    for (uint32_t v = 0; v < 256; v++) {
        uint32_t c = v;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? (c >> 1) ^ POLY : c >> 1;
        byte_table[0][v] = c;
    }
    for (uint32_t v = 0; v < 256; v++)
        for (int i = 1; i < 8; i++)
            byte_table[i][v] = byte_table[0][byte_table[i - 1][v] & 0xff] ^ (byte_table[i - 1][v] >> 8);
    power_table[0] = 1u << 30; /* x^1 */
    for (int k = 1; k < 64; k++)
        power_table[k] = multiply(power_table[k - 1], power_table[k - 1]);
    build_shift(shift_long, STRIDE_LONG);
    build_shift(shift_short, STRIDE_SHORT);
#if defined(__x86_64__)
    __builtin_cpu_init();
    have_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t c = ~crc;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        w ^= c;
        c = byte_table[7][w & 0xff] ^ byte_table[6][(w >> 8) & 0xff] ^ byte_table[5][(w >> 16) & 0xff] ^
            byte_table[4][(w >> 24) & 0xff] ^ byte_table[3][(w >> 32) & 0xff] ^ byte_table[2][(w >> 40) & 0xff] ^
            byte_table[1][(w >> 48) & 0xff] ^ byte_table[0][w >> 56];
    }
    for (; len; len--)
        c = byte_table[0][(c ^ *p++) & 0xff] ^ (c >> 8);
    return ~c;
}

#if defined(__x86_64__)
static inline uint32_t shift(uint32_t table[4][256], uint32_t c)
{
    return table[0][c & 0xff] ^ table[1][(c >> 8) & 0xff] ^ table[2][(c >> 16) & 0xff] ^ table[3][c >> 24];
}

__attribute__((target("sse4.2"))) static inline uint64_t word(uint64_t c, const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, 8);
    return __builtin_ia32_crc32di(c, w);
}

/* Three neighbouring stretches of `stride` bytes at once, joined at the end. */
__attribute__((target("sse4.2"))) static const uint8_t *strides(uint64_t *crc, const uint8_t *p, size_t *len,
                                                                size_t stride, uint32_t table[4][256])
{
    uint64_t c = *crc;
    while (*len >= 3 * stride) {
        uint64_t c1 = 0, c2 = 0;
        for (const uint8_t *end = p + stride; p < end; p += 8) {
            c = word(c, p);
            c1 = word(c1, p + stride);
            c2 = word(c2, p + 2 * stride);
        }
        c = shift(table, (uint32_t)c) ^ c1;
        c = shift(table, (uint32_t)c) ^ c2;
        p += 2 * stride;
        *len -= 3 * stride;
    }
    *crc = c;
    return p;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_instruction(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t c = ~crc;
    for (; len && ((uintptr_t)p & 7); len--)
        c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
    p = strides(&c, p, &len, STRIDE_LONG, shift_long);
    p = strides(&c, p, &len, STRIDE_SHORT, shift_short);
    for (; len >= 8; len -= 8, p += 8)
        c = word(c, p);
    for (; len; len--)
        c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
    return ~(uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
    if (have_instruction)
        return crc32c_instruction(crc, data, len);
#endif
    return crc32c_portable(crc, data, len);
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, size_t len_b)
{
    return multiply(power_of_bytes(len_b), crc_a) ^ crc_b;
}
