/*
 * A log-linear histogram of non-negative integers (16 sub-buckets a power of two: error below 6.25 %). Recording is a
 * few instructions and allocates nothing. One writer; a reader on another thread may see a sum slightly behind its
 * buckets.
 */
#ifndef SLUICE_BASE_HISTOGRAM_H
#define SLUICE_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB     16
#define HISTOGRAM_BUCKETS (HISTOGRAM_SUB * 61)

struct histogram {
    uint64_t count, sum, max;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *h, uint64_t value);
void histogram_add(struct histogram *h, const struct histogram *other);
/* The upper edge of the bucket that holds the quantile q (0..1); 0 if empty. */
uint64_t histogram_quantile(const struct histogram *h, double q);
/* How many recorded values are <= limit (to bucket accuracy): what a Prometheus `le` bucket wants. */
uint64_t histogram_count_le(const struct histogram *h, uint64_t limit);

#endif
