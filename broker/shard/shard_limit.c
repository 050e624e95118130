/* AWS's limits of a shard as token buckets (see shard_limit.h). */
#include "broker/shard/shard_limit.h"

#define MICRO 1000000ll

static int64_t bucket_capacity(const struct token_bucket *b)
{
    return (int64_t)b->rate_per_s * MICRO;
}

/* Adds what has flowed in since the last call. The clock advances only by what was counted, so that many short steps
 * gain as much as one long one. */
static void bucket_fill(struct token_bucket *b, struct mono_ns now)
{
    int64_t capacity = bucket_capacity(b), missing = capacity - b->level_micro;
    int64_t elapsed = mono_diff_ns(now, b->filled);
    if (elapsed <= 0)
        return;
    /* rate r: r micro-units every 1,000 ns. The time that fills it, rounded up, +1 step */
    int64_t full_after_ns = (missing / (int64_t)b->rate_per_s + 1) * 1000;
    if (missing <= 0 || elapsed >= full_after_ns) {
        if (missing > 0)
            b->level_micro = capacity;
        b->filled = now;
        return;
    }
    b->level_micro += elapsed / 1000 * (int64_t)b->rate_per_s;
    b->filled.ns += elapsed / 1000 * 1000;
}

void token_bucket_init(struct token_bucket *b, uint64_t rate_per_s, struct mono_ns now)
{
    *b = (struct token_bucket){.rate_per_s = rate_per_s, .filled = now};
    b->level_micro = bucket_capacity(b);
}

/* The level at which `amount` may be taken: all of it, or a full bucket if it is more than that. */
static int64_t level_needed(const struct token_bucket *b, uint64_t amount)
{
    return amount >= b->rate_per_s ? bucket_capacity(b) : (int64_t)amount * MICRO;
}

bool token_bucket_take(struct token_bucket *b, uint64_t amount, struct mono_ns now)
{
    bucket_fill(b, now);
    if (b->level_micro < level_needed(b, amount))
        return false;
    b->level_micro -= (int64_t)amount * MICRO;
    return true;
}

void token_bucket_charge(struct token_bucket *b, uint64_t amount, struct mono_ns now)
{
    bucket_fill(b, now);
    b->level_micro -= (int64_t)amount * MICRO;
}

int64_t token_bucket_wait_ms(struct token_bucket *b, uint64_t amount, struct mono_ns now)
{
    bucket_fill(b, now);
    int64_t missing = level_needed(b, amount) - b->level_micro;
    if (missing <= 0)
        return 0;
    /* r micro-units a µs: ceil to µs, then to ms */
    int64_t us = (missing + (int64_t)b->rate_per_s - 1) / (int64_t)b->rate_per_s;
    return (us + 999) / 1000;
}

void shard_limit_init(struct shard_limit *l, struct mono_ns now)
{
    token_bucket_init(&l->write_records, SHARD_WRITE_RECORDS_PER_S, now);
    token_bucket_init(&l->write_bytes, SHARD_WRITE_BYTES_PER_S, now);
    token_bucket_init(&l->read_calls, SHARD_READ_CALLS_PER_S, now);
    token_bucket_init(&l->read_bytes, SHARD_READ_BYTES_PER_S, now);
}

bool shard_limit_write(struct shard_limit *l, uint64_t bytes, struct mono_ns now)
{
    if (token_bucket_wait_ms(&l->write_bytes, bytes, now) > 0 || !token_bucket_take(&l->write_records, 1, now))
        return false;
    return token_bucket_take(&l->write_bytes, bytes, now);
}

bool shard_limit_read(struct shard_limit *l, struct mono_ns now)
{
    if (token_bucket_wait_ms(&l->read_bytes, 0, now) > 0)
        return false;
    return token_bucket_take(&l->read_calls, 1, now);
}

void shard_limit_read_done(struct shard_limit *l, uint64_t bytes, struct mono_ns now)
{
    token_bucket_charge(&l->read_bytes, bytes, now);
}
