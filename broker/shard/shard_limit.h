/*
 * AWS's limits of a shard, for `limits: aws`: 1,000 records/s and 1 MiB/s written, 5 reads/s and 2 MiB/s read. Token
 * buckets of one second; time is passed in. Pure; the shard's loop.
 *
 * A bucket holds micro-units, so that refilling is exact integer arithmetic: after t ns a bucket of rate r has gained
 * r * t / 1000 micro-units, and the remainder stays in its clock. 1 MiB/s over 1 h is 3.8e15 micro-units: no overflow,
 * and a longer pause is cut to the time that fills the bucket.
 */
#ifndef SLUICE_SHARD_SHARD_LIMIT_H
#define SLUICE_SHARD_SHARD_LIMIT_H

#include "common/base/clock.h"
#include "common/base/slice.h"

#define SHARD_WRITE_RECORDS_PER_S 1000u
#define SHARD_WRITE_BYTES_PER_S   (1u << 20)
#define SHARD_READ_CALLS_PER_S    5u
#define SHARD_READ_BYTES_PER_S    (2u << 20)

struct token_bucket {
    uint64_t rate_per_s;
    int64_t level_micro; /* negative: in debt, after token_bucket_charge */
    struct mono_ns filled;
};

/* Starts full: one second's worth. */
void token_bucket_init(struct token_bucket *b, uint64_t rate_per_s, struct mono_ns now);
/* Takes `amount` if it is there: true. Otherwise false, nothing taken. An amount above one second's worth is let through
 * when the bucket is full (and leaves a debt), so that a record larger than the rate is slow, not impossible. */
bool token_bucket_take(struct token_bucket *b, uint64_t amount, struct mono_ns now);
/* Takes it in any case; what is missing is a debt that must be refilled first (a GetRecords of 10 MiB blocks the next
 * reads for 5 s). */
void token_bucket_charge(struct token_bucket *b, uint64_t amount, struct mono_ns now);
/* Ms until token_bucket_take(amount) will succeed; 0: now. */
int64_t token_bucket_wait_ms(struct token_bucket *b, uint64_t amount, struct mono_ns now);

struct shard_limit {
    struct token_bucket write_records, write_bytes, read_calls, read_bytes;
};
void shard_limit_init(struct shard_limit *l, struct mono_ns now);
/* One record of `bytes` (data and partition key). False: the shard's rate is exceeded, nothing is taken; put fails with
 * the throttling error. */
bool shard_limit_write(struct shard_limit *l, uint64_t bytes, struct mono_ns now);
/* One read call. False: too many calls, or an earlier answer's bytes are not worked off. */
bool shard_limit_read(struct shard_limit *l, struct mono_ns now);
/* What that call returned. */
void shard_limit_read_done(struct shard_limit *l, uint64_t bytes, struct mono_ns now);

#endif
