/*
 * Numbers of JSON as C numbers. The text is a valid JSON number (the reader has seen to it); it may be arbitrarily long
 * and its exponent arbitrarily large, so that all arithmetic here saturates. No locale is involved.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/wire/json_read.h"

/* value = 0.d0 d1 d2 ... x 10^point, without leading zeros. */
struct decimal {
    bool negative;
    struct slice text; /* digits, and perhaps a '.' among them */
    int64_t point;
};

#define EXPONENT_MAX 1000000000

static struct decimal decimal_of(struct slice number)
{
    struct decimal d = {.text = number};
    int64_t exponent = 0;
    if (d.text.len && d.text.ptr[0] == '-') {
        d.negative = true;
        d.text = slice_from(d.text, 1);
    }
    for (size_t i = 0; i < d.text.len; i++) {
        if ((d.text.ptr[i] | 0x20) != 'e')
            continue;
        size_t at = i + 1;
        bool negative = d.text.ptr[at] == '-';
        for (at += negative || d.text.ptr[at] == '+'; at < d.text.len; at++)
            if (exponent < EXPONENT_MAX)
                exponent = exponent * 10 + (d.text.ptr[at] - '0');
        if (negative)
            exponent = -exponent;
        d.text.len = i;
        break;
    }
    size_t dot = slice_find(d.text, '.');
    d.point = exponent + (int64_t)dot;
    size_t zeros = 0; /* digits, not counting the dot */
    while (d.text.len && (d.text.ptr[0] == '0' || d.text.ptr[0] == '.')) {
        zeros += d.text.ptr[0] == '0';
        d.text = slice_from(d.text, 1);
    }
    d.point -= (int64_t)zeros;
    return d;
}

/* The next digit, or -1 behind the last. */
static int digit_take(struct slice *text)
{
    if (text->len && text->ptr[0] == '.')
        *text = slice_from(*text, 1);
    if (!text->len)
        return -1;
    int digit = text->ptr[0] - '0';
    *text = slice_from(*text, 1);
    return digit;
}

/* The number x 10^shift, cut off or rounded half up (away from zero). */
static int64_t scaled(struct slice number, int shift, bool round)
{
    struct decimal d = decimal_of(number);
    int64_t places = d.point + shift;
    uint64_t v = 0, limit = (uint64_t)INT64_MAX + d.negative;
    if (d.text.len == 0 || places < 0)
        return 0;
    for (int64_t i = 0; i < places; i++) {
        int digit = digit_take(&d.text);
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(digit > 0 ? digit : 0), &v) || v > limit) {
            v = limit;
            round = false;
            break;
        }
    }
    if (round && digit_take(&d.text) >= 5 && v < limit)
        v++;
    return d.negative ? (int64_t)(0 - v) : (int64_t)v;
}

int64_t json_number_i64(struct slice number)
{
    return scaled(number, 0, false);
}

int64_t json_number_seconds_ms(struct slice number)
{
    return scaled(number, 3, true);
}

/* 768 significant digits decide every double; what follows them only matters as "more than nothing". */
#define DIGITS_MAX 800

double json_number_double(struct slice number)
{
    struct decimal d = decimal_of(number);
    char buf[DIGITS_MAX + 32];
    size_t n = 0;
    int digit;
    buf[n++] = d.negative ? '-' : '+';
    buf[n++] = '0';
    buf[n++] = '.';
    while (n < DIGITS_MAX && (digit = digit_take(&d.text)) >= 0)
        buf[n++] = (char)('0' + digit);
    if (n == 3)
        buf[n++] = '0';
    snprintf(buf + n, sizeof buf - n, "e%lld", (long long)d.point);
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* the static one: allocates nothing */
    double v = strtod_l(buf, NULL, c);
    freelocale(c);
    return v;
}
