/* Buckets by leading bit and the four bits behind it. See histogram.h. */
#include "common/base/histogram.h"

#include <stddef.h>

/* Values below 16 have a bucket each; above, bucket = 16 * (exponent - 3) + the four bits behind the leading one. */
static size_t bucket_of(uint64_t v)
{
    if (v < HISTOGRAM_SUB)
        return (size_t)v;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(v);
    return (size_t)HISTOGRAM_SUB * (exponent - 3) + (size_t)((v >> (exponent - 4)) & 15);
}

/* The largest value in bucket i. */
static uint64_t bucket_top(size_t i)
{
    if (i < HISTOGRAM_SUB)
        return i;
    unsigned exponent = (unsigned)(i / HISTOGRAM_SUB) + 3;
    uint64_t low = (1ull << exponent) | ((uint64_t)(i % HISTOGRAM_SUB) << (exponent - 4));
    return low + (1ull << (exponent - 4)) - 1;
}

void histogram_record(struct histogram *h, uint64_t value)
{
    h->count++;
    h->sum += value;
    if (value > h->max)
        h->max = value;
    h->bucket[bucket_of(value)]++;
}

void histogram_add(struct histogram *h, const struct histogram *other)
{
    h->count += other->count;
    h->sum += other->sum;
    if (other->max > h->max)
        h->max = other->max;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        h->bucket[i] += other->bucket[i];
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    if (h->count == 0)
        return 0;
    uint64_t want = (uint64_t)(q * (double)h->count);
    if (want >= h->count)
        return h->max;
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen > want)
            return bucket_top(i) < h->max ? bucket_top(i) : h->max;
    }
    return h->max;
}

uint64_t histogram_count_le(const struct histogram *h, uint64_t limit)
{
    uint64_t n = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS && bucket_top(i) <= limit; i++)
        n += h->bucket[i];
    return n;
}
