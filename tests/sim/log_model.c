#include "tests/sim/log_model.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/check.h"
#include "common/base/hash.h"

#define HEAD_BYTES 16u /* id and shard, at the front of each record's data that has room */

void model_init(struct model *m, enum log_sync sync, uint32_t shards, uint64_t first_uid)
{
    *m = (struct model){.sync = sync, .shard_count = shards};
    m->shard = sim_heap_keep(shards * sizeof *m->shard);
    for (uint32_t i = 0; i < shards; i++) {
        m->shard[i].uid = first_uid + i;
        m->shard[i].keep_ms = INT64_MAX;
    }
}

void model_deinit(struct model *m)
{
    for (uint32_t i = 0; i < m->shard_count; i++)
        sim_heap_keep_free(m->shard[i].record);
    sim_heap_keep_free(m->shard);
}

bool model_fail(struct model *m, const struct model_shard *s, const char *fmt, ...)
{
    if (m->trouble[0])
        return false;
    int at = s ? snprintf(m->trouble, sizeof m->trouble, "shard %" PRIu64 ": ", s->uid) : 0;
    va_list args;
    va_start(args, fmt);
    vsnprintf(m->trouble + at, sizeof m->trouble - (size_t)at, fmt, args);
    va_end(args);
    return false;
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

uint64_t model_submit(struct model_shard *s, uint32_t bytes, int64_t true_ms)
{
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 256;
        s->record = sim_heap_keep_again(s->record, s->cap * sizeof *s->record);
    }
    s->record[s->count] = (struct model_record){.counter = NO_COUNTER, .true_ms = true_ms, .bytes = bytes};
    return s->count++;
}

void model_take_back(struct model_shard *s, uint32_t count)
{
    CHECK(s->count >= count);
    s->count -= count;
}

static uint64_t record_seed(const struct model_shard *s, uint64_t id)
{
    return hash_u64(s->uid * 0x9e3779b97f4a7c15ull + id + 1);
}

static size_t record_key(uint64_t seed, uint8_t key[MODEL_KEY_MAX])
{
    size_t len = 1 + seed % (MODEL_KEY_MAX - 1);
    for (size_t i = 0; i < len; i++)
        key[i] = (uint8_t)('a' + (seed >> (i % 56)) % 26);
    return len;
}

/* Eight bytes of the filling; record data is id, shard, filling, cut off at its length. */
static uint64_t record_word(const struct model_shard *s, uint64_t id, uint64_t seed, uint64_t word)
{
    return word == 0 ? id : word == 1 ? s->uid : seed * (2 * word + 1) ^ word;
}

struct block_record model_record_make(const struct model_shard *s, uint64_t id, uint8_t key[MODEL_KEY_MAX],
                                      uint8_t *data)
{
    uint64_t seed = record_seed(s, id);
    uint32_t bytes = s->record[id].bytes;
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t word = record_word(s, id, seed, i / 8);
        memcpy(data + i, &word, bytes - i < 8 ? bytes - i : 8);
    }
    return (struct block_record){slice_of(key, record_key(seed, key)), slice_of(data, bytes)};
}

static bool record_right(const struct model_shard *s, uint64_t id, const struct block_record *r)
{
    uint8_t key[MODEL_KEY_MAX];
    uint64_t seed = record_seed(s, id), word;
    if (r->data.len != s->record[id].bytes || !slice_eq(r->key, slice_of(key, record_key(seed, key))))
        return false;
    size_t i = 0;
    for (; i + 8 <= r->data.len; i += 8) {
        memcpy(&word, r->data.ptr + i, 8);
        if (word != record_word(s, id, seed, i / 8))
            return false;
    }
    word = record_word(s, id, seed, i / 8);
    return memcmp(r->data.ptr + i, &word, r->data.len - i) == 0;
}

/* The id that a record found says it has. */
static bool record_id(const struct block_record *r, uint64_t *out)
{
    if (r->data.len < HEAD_BYTES)
        return false;
    memcpy(out, r->data.ptr, 8);
    return true;
}

/* ---- what happens to them ---------------------------------------------------------------------------------------- */

/* The counters that were ever told rise with the ids, also over records that are gone: so the nearest ones tell. */
static bool counter_fits(const struct model_shard *s, uint64_t id, uint64_t counter)
{
    uint64_t before = id, after = id + 1;
    while (before > 0 && !s->record[before - 1].exposed)
        before--;
    while (after < s->count && !s->record[after].exposed)
        after++;
    return (before == 0 || s->record[before - 1].counter < counter) &&
           (after == s->count || s->record[after].counter > counter);
}

static bool record_numbered(struct model *m, struct model_shard *s, uint64_t id, uint64_t counter, int64_t arrival)
{
    struct model_record *r = &s->record[id];
    if (!r->exposed && !counter_fits(s, id, counter))
        return model_fail(m, s, "twice: record %" PRIu64 " got counter %" PRIu64 ", given before", id, counter);
    if (r->state == MODEL_GONE)
        return model_fail(m, s, "raised: record %" PRIu64 " is back at counter %" PRIu64, id, counter);
    if (r->counter != NO_COUNTER && r->counter != counter && r->exposed)
        return model_fail(m, s, "renumbered: record %" PRIu64 " was at counter %" PRIu64 " and is at %" PRIu64, id,
                          r->counter, counter);
    if (r->arrival && r->arrival != arrival && r->exposed)
        return model_fail(m, s, "altered: record %" PRIu64 " arrived at %" PRId64 " and now at %" PRId64, id,
                          r->arrival, arrival);
    r->counter = counter;
    r->arrival = arrival;
    return true;
}

bool model_acked(struct model *m, struct model_shard *s, uint64_t id, uint32_t count, uint64_t base,
                 struct wall_ms arrival)
{
    if (id < s->failed_below)
        return model_fail(m, s, "record %" PRIu64 " was acknowledged after one before it had failed (G2)", id);
    for (uint32_t i = 0; i < count; i++) {
        struct model_record *r = &s->record[id + i];
        if (r->state != MODEL_PENDING)
            return model_fail(m, s, "record %" PRIu64 " was acknowledged in state %d", id + i, r->state);
        if (id + i > 0 && s->record[id + i - 1].state == MODEL_PENDING)
            return model_fail(m, s, "record %" PRIu64 " was acknowledged before the one before it", id + i);
        if (!record_numbered(m, s, id + i, base + i, arrival.ms))
            return false;
        r->state = MODEL_ACKED;
        r->exposed = true;
        r->kept |= m->sync == LOG_SYNC_BATCH;
        if (base + i >= s->next_exposed)
            s->next_exposed = base + i + 1;
    }
    return true;
}

void model_append_failed(struct model_shard *s, uint64_t id, uint32_t count, int status)
{
    for (uint32_t i = 0; i < count; i++)
        s->record[id + i].state = MODEL_FAILED;
    if (status != ST_CLOSED)
        s->failed_below = s->count;
}

/* One record of a block: the common part of reading and scanning. */
static bool record_found(struct model *m, struct model_shard *s, const struct block_record *r, uint64_t counter,
                         const struct block_header *h, uint64_t *out_id)
{
    uint64_t id;
    if (!record_id(r, &id) || id >= s->count)
        return model_fail(m, s, "altered: counter %" PRIu64 " holds no record of ours", counter);
    if (!record_right(s, id, r))
        return model_fail(m, s, "altered: record %" PRIu64 " at counter %" PRIu64, id, counter);
    *out_id = id;
    return record_numbered(m, s, id, counter, h->arrival.ms);
}

bool model_block(struct model *m, struct model_shard *s, const struct log_block *b, bool durable)
{
    struct block_iter it = block_iter_start(&b->header, b->payload);
    struct block_record r;
    uint64_t counter = b->header.base_counter, id, last = NO_COUNTER;
    int more;
    for (; (more = block_iter_next(&it, &r)) == 1; counter++, last = id) {
        if (!record_found(m, s, &r, counter, &b->header, &id))
            return false;
        if (last != NO_COUNTER && id <= last)
            return model_fail(m, s, "reordered: record %" PRIu64 " stands behind %" PRIu64, id, last);
        s->record[id].exposed = true;
        s->record[id].kept |= durable;
        if (counter >= s->next_exposed)
            s->next_exposed = counter + 1;
    }
    return more == 0 ||
           model_fail(m, s, "altered: the block at counter %" PRIu64 " cannot be walked", b->header.base_counter);
}

bool model_first(struct model *m, struct model_shard *s, uint64_t first, int64_t true_ms)
{
    if (first < s->first_counter)
        return model_fail(m, s, "the first counter went back from %" PRIu64 " to %" PRIu64, s->first_counter, first);
    for (uint64_t id = 0; id < s->count && first > s->first_counter; id++) {
        struct model_record *r = &s->record[id];
        if (r->counter == NO_COUNTER || r->counter < s->first_counter || r->counter >= first || r->state == MODEL_GONE)
            continue;
        bool old = s->keep_ms != INT64_MAX && r->true_ms + s->keep_ms <= true_ms;
        if (!old && !s->keep_bytes && !s->rotten)
            return model_fail(m, s, "early: record %" PRIu64 " at counter %" PRIu64 " expired after %" PRId64 " ms", id,
                              r->counter, true_ms - r->true_ms);
    }
    s->first_counter = first;
    return true;
}

/* ---- after an opening -------------------------------------------------------------------------------------------- */

void model_scan_start(struct model_shard *s)
{
    s->scan_id = s->scan_first_id = NO_COUNTER;
    s->scan_counter = NO_COUNTER;
}

void model_scan_abandon(struct model *m, struct model_shard *s, enum model_cut cut)
{
    bool may_lose = m->sync != LOG_SYNC_BATCH && cut == MODEL_POWER;
    for (uint64_t id = 0; id < s->count; id++) {
        struct model_record *r = &s->record[id];
        if (r->state == MODEL_PENDING || (r->state == MODEL_ACKED && !r->kept && may_lose))
            r->state = MODEL_FAILED;
    }
}

/* Records between two that were found: none of them may be there, and each must be allowed to be missing. */
static bool missing_allowed(struct model *m, struct model_shard *s, uint64_t from, uint64_t to)
{
    for (uint64_t id = from; id < to; id++) {
        struct model_record *r = &s->record[id];
        if (r->kept && r->counter >= s->first_counter)
            return model_fail(m, s, "lost: record %" PRIu64 " (counter %" PRIu64 ") before record %" PRIu64, id,
                              r->counter, to);
        bool was_there = r->state == MODEL_ACKED || r->state == MODEL_PENDING;
        if (was_there && !(r->counter != NO_COUNTER && r->counter < s->first_counter))
            return model_fail(m, s, "gap: record %" PRIu64 " is missing, %" PRIu64 " is there", id, to);
        if (r->state == MODEL_FAILED)
            r->state = MODEL_GONE;
    }
    return true;
}

bool model_scan_block(struct model *m, struct model_shard *s, const struct log_block *b)
{
    struct block_iter it = block_iter_start(&b->header, b->payload);
    struct block_record r;
    uint64_t counter = b->header.base_counter, id;
    int more;
    for (; (more = block_iter_next(&it, &r)) == 1; counter++) {
        if (counter < s->first_counter)
            continue; /* the first block may begin below */
        if (!record_found(m, s, &r, counter, &b->header, &id))
            return false;
        if (s->scan_counter != NO_COUNTER && counter != s->scan_counter + 1 &&
            (m->sync == LOG_SYNC_BATCH || counter < s->scan_counter + (1ull << 32)))
            return model_fail(m, s, "gap: counter %" PRIu64 " follows %" PRIu64, counter, s->scan_counter);
        if (s->scan_id == NO_COUNTER) {
            s->scan_first_id = id;
            if (!missing_allowed(m, s, 0, id))
                return false;
        } else if (id <= s->scan_id) {
            return model_fail(m, s, "reordered: record %" PRIu64 " stands behind %" PRIu64, id, s->scan_id);
        } else if (!missing_allowed(m, s, s->scan_id + 1, id)) {
            return false;
        }
        s->scan_id = id;
        s->scan_counter = counter;
        s->record[id].exposed = true;
        s->record[id].state = MODEL_ACKED; /* found: from now on it stays (every accepted tail is synced first) */
        s->record[id].kept = true;
        if (counter >= s->next_exposed)
            s->next_exposed = counter + 1;
    }
    return more == 0 ||
           model_fail(m, s, "altered: the block at counter %" PRIu64 " cannot be walked", b->header.base_counter);
}

bool model_scan_end(struct model *m, struct model_shard *s, uint64_t next_counter, enum model_cut cut, bool unreadable)
{
    if (unreadable)
        return true; /* nothing can be told about the rest */
    uint64_t from = s->scan_id == NO_COUNTER ? 0 : s->scan_id + 1;
    for (uint64_t id = from; id < s->count; id++) {
        struct model_record *r = &s->record[id];
        bool expired = r->counter != NO_COUNTER && r->counter < s->first_counter && r->state != MODEL_PENDING;
        bool must = r->kept || (r->state == MODEL_ACKED && cut != MODEL_POWER);
        if (must && !expired)
            return model_fail(m, s, "lost: record %" PRIu64 " (counter %" PRIu64 ", state %d) at the end", id,
                              r->counter, r->state);
        if (!expired)
            r->state = MODEL_GONE;
    }
    if (s->scan_counter != NO_COUNTER && next_counter != s->scan_counter + 1 &&
        (m->sync == LOG_SYNC_BATCH || next_counter < s->scan_counter + (1ull << 32)))
        return model_fail(m, s, "gap: next counter %" PRIu64 " after %" PRIu64, next_counter, s->scan_counter);
    if (next_counter < s->next_exposed)
        return model_fail(m, s, "twice: next counter %" PRIu64 ", though %" PRIu64 " was given", next_counter,
                          s->next_exposed - 1);
    return true;
}
