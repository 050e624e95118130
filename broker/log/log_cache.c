/*
 * Chunks and block entries: the write buffers and the tail cache are the same memory.
 *
 * Chunks are filled one after the other (log->filling) and stand in log->chunks by age. Frames are built in them, go to
 * disk straight from them, and stay readable in them until the budget wants the memory back: then the oldest chunk is
 * given up, and with it its entries, which are the oldest of their shards. A chunk is
 *
 *     free ──cache_take──▶ filling ──full──▶ held (pins > 0) ──last pin──▶ cached ──give_up──▶ free
 *                                                                            └─ lent ─▶ dropped ─last return─▶ free
 *
 * Invariants
 *   C1. memory_bytes (all chunks, dropped ones included) <= memory_max.
 *   C2. An entry from its shard's segment_pos on pins its chunk; so what is not in a segment is always in memory.
 *   C3. Chunks are given up in age order only, so each shard's cached entries are its newest, without a gap.
 *
 * When the oldest chunk is pinned, the shards that pin it are told to move to their segments; until they have, taking
 * memory fails with ST_THROTTLED. Thread: the loop's.
 */
#include "broker/log/log_internal.h"

#include <stdlib.h>

#define CHUNK_BYTES_MAX (4u << 20)
#define CHUNK_BYTES_MIN (64u << 10)

int cache_init(struct log *log)
{
    size_t budget = log->options.cache_bytes;
    size_t chunk = CHUNK_BYTES_MAX;
    while (chunk > CHUNK_BYTES_MIN && chunk * 16 > budget)
        chunk /= 2;
    log->chunk_bytes = chunk;
    log->memory_max = budget;
    log->stage_bytes = chunk < (1u << 20) ? chunk : 1u << 20;
    log->stage = io_buffer_alloc(log->stage_bytes);
    if (!log->stage)
        return -ENOMEM;
    list_init(&log->chunks);
    list_init(&log->free_chunks);
    list_init(&log->free_staging);
    size_t entries_max = budget / 512;
    pool_init(&log->entries, sizeof(struct block_entry), 256,
              entries_max > UINT32_MAX ? UINT32_MAX : (uint32_t)entries_max);
    pool_init(&log->flush_pool, sizeof(struct flush), 4, FLUSHES_MAX);
    return 0;
}

static void chunk_free(struct log *log, struct chunk *c)
{
    list_remove(&c->link);
    log->memory_bytes -= c->bytes;
    io_buffer_free(c->mem);
    free(c);
}

void cache_deinit(struct log *log)
{
    struct list *lists[] = {&log->chunks, &log->free_chunks};
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        LIST_FOREACH_SAFE (it, lists[i])
            chunk_free(log, CONTAINER_OF(it, struct chunk, link));
    for (struct list *n; (n = list_pop_front(&log->free_staging));)
        io_buffer_free(n);
    io_buffer_free(log->stage);
    log->stage = NULL;
    pool_deinit(&log->entries);
    pool_deinit(&log->flush_pool);
}

static void entry_free(struct log *log, struct block_entry *e)
{
    list_remove(&e->chunk_link);
    journal_release(log, e);
    if (e->pinned)
        cache_unpin(log, e->chunk);
    pool_put(&log->entries, e);
}

/* A chunk that nobody needs: back to the free list, or to the system if it was made for one huge record. */
static void chunk_release(struct log *log, struct chunk *c)
{
    list_remove(&c->link);
    c->dropped = false;
    c->used = 0;
    if (c->bytes == log->chunk_bytes)
        list_push_front(&log->free_chunks, &c->link);
    else
        chunk_free(log, c);
}

static void chunk_give_up(struct log *log, struct chunk *c)
{
    if (log->filling == c)
        log->filling = NULL;
    while (!list_empty(&c->entries)) {
        struct block_entry *e = CONTAINER_OF(c->entries.next, struct block_entry, chunk_link);
        struct log_shard *s = e->shard;
        CHECK(s->ring_head < s->segment_pos && shard_entry(s, s->ring_head) == e); /* C2, C3 */
        s->ring_head++;
        entry_free(log, e);
    }
    if (c->lends == 0) {
        chunk_release(log, c);
        return;
    }
    list_remove(&c->link);
    c->dropped = true;
}

static struct chunk *chunk_create(struct log *log, size_t bytes)
{
    if (log->memory_bytes + bytes > log->memory_max)
        return NULL;
    struct chunk *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->mem = io_buffer_alloc(bytes);
    if (!c->mem) {
        free(c);
        return NULL;
    }
    c->bytes = bytes;
    list_init(&c->link);
    list_init(&c->entries);
    log->memory_bytes += bytes;
    return c;
}

/* Shards that pin an old chunk move to their segments, so that it can be given up soon. */
static void relieve(struct log *log)
{
    size_t old_bytes = 0;
    LIST_FOREACH (it, &log->chunks) {
        struct chunk *c = CONTAINER_OF(it, struct chunk, link);
        old_bytes += c->bytes;
        if (c->pins) {
            struct log_shard *last = NULL;
            LIST_FOREACH (en, &c->entries) {
                struct log_shard *s = CONTAINER_OF(en, struct block_entry, chunk_link)->shard;
                if (s != last)
                    flush_start(s, false);
                last = s;
            }
        }
        if (old_bytes >= log->memory_max / 4)
            break;
    }
}

/* A chunk with room for `bytes`, put at the young end of the age list. */
static struct chunk *chunk_obtain(struct log *log, size_t bytes)
{
    struct chunk *c = NULL;
    size_t want = bytes > log->chunk_bytes ? bytes : log->chunk_bytes;
    for (;;) {
        struct list *n = want == log->chunk_bytes ? list_pop_front(&log->free_chunks) : NULL;
        if (n)
            c = CONTAINER_OF(n, struct chunk, link);
        else
            c = chunk_create(log, want);
        if (c)
            break;
        if (want > log->chunk_bytes && !list_empty(&log->free_chunks)) {
            chunk_free(log, CONTAINER_OF(log->free_chunks.next, struct chunk, link));
            continue;
        }
        if (list_empty(&log->chunks))
            return NULL;
        struct chunk *oldest = CONTAINER_OF(log->chunks.next, struct chunk, link);
        if (oldest->pins) {
            relieve(log);
            return NULL;
        }
        chunk_give_up(log, oldest);
    }
    list_push_back(&log->chunks, &c->link);
    if (log->memory_bytes + log->chunk_bytes > log->memory_max && list_empty(&log->free_chunks))
        relieve(log);
    return c;
}

int cache_take(struct log *log, size_t bytes, struct chunk **out_chunk, uint8_t **out_mem)
{
    bytes = page_up(bytes);
    struct chunk *c = log->filling;
    if (!c || c->bytes - c->used < bytes) {
        c = chunk_obtain(log, bytes);
        if (!c) {
            log->stats.throttled++;
            return ST_THROTTLED;
        }
        log->filling = c;
    }
    *out_mem = c->mem + c->used;
    *out_chunk = c;
    c->used += bytes;
    c->pins++;
    return 0;
}

void cache_unpin(struct log *log, struct chunk *chunk)
{
    CHECK(chunk->pins > 0);
    chunk->pins--;
}

static int ring_grow(struct log_shard *s)
{
    uint64_t used = s->ring_tail - s->ring_head;
    if (used < s->ring_cap)
        return 0;
    uint32_t cap = s->ring_cap ? 2 * s->ring_cap : 8;
    struct block_entry **ring = calloc(cap, sizeof *ring);
    if (!ring)
        return ST_THROTTLED;
    for (uint64_t p = s->ring_head; p < s->ring_tail; p++)
        ring[p & (cap - 1)] = shard_entry(s, p);
    free(s->ring);
    s->ring = ring;
    s->ring_cap = cap;
    return 0;
}

struct block_entry *cache_entry_reserve(struct log_shard *s)
{
    struct log *log = s->log;
    if (ring_grow(s) < 0)
        return NULL;
    if (log->entries.in_use == log->entries.limit_objects && !list_empty(&log->chunks)) {
        struct chunk *oldest = CONTAINER_OF(log->chunks.next, struct chunk, link);
        if (oldest->pins == 0)
            chunk_give_up(log, oldest);
        else
            relieve(log);
    }
    return pool_get(&log->entries);
}

void cache_entry_append(struct log_shard *s, struct block_entry *e, struct chunk *chunk, uint8_t *frame)
{
    CHECK(s->ring_tail - s->ring_head < s->ring_cap);
    e->shard = s;
    e->chunk = chunk;
    e->frame = frame;
    e->pinned = true;
    chunk->pins++;
    list_push_back(&chunk->entries, &e->chunk_link);
    s->ring[s->ring_tail++ & (s->ring_cap - 1)] = e;
}

struct block_entry *cache_entry_add(struct log_shard *s, struct chunk *chunk, uint8_t *frame)
{
    struct block_entry *e = cache_entry_reserve(s);
    if (e)
        cache_entry_append(s, e, chunk, frame);
    return e;
}

void cache_entries_drop_tail(struct log_shard *s, uint64_t from)
{
    while (s->ring_tail > from)
        entry_free(s->log, shard_entry(s, --s->ring_tail));
}

void cache_entry_settled(struct log_shard *s, struct block_entry *e)
{
    journal_release(s->log, e);
    CHECK(e->pinned);
    e->pinned = false;
    cache_unpin(s->log, e->chunk);
}

void cache_shard_clear(struct log_shard *s)
{
    for (; s->ring_head < s->ring_tail; s->ring_head++)
        entry_free(s->log, shard_entry(s, s->ring_head));
    s->segment_pos = s->journal_pos = s->journal_sent = s->ring_head;
    free(s->ring);
    s->ring = NULL;
    s->ring_cap = 0;
}

void cache_lend(struct chunk *chunk)
{
    chunk->lends++;
}

void cache_return(struct log *log, struct chunk *chunk)
{
    CHECK(chunk->lends > 0);
    if (--chunk->lends == 0 && chunk->dropped)
        chunk_release(log, chunk);
}

uint64_t cache_find(const struct log_shard *s, uint64_t counter)
{
    uint64_t low = s->ring_head, high = s->ring_tail;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (entry_end(shard_entry(s, mid)) <= counter)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

uint8_t *staging_take(struct log *log)
{
    struct list *n = list_pop_front(&log->free_staging);
    return n ? (uint8_t *)n : io_buffer_alloc(STAGING_BYTES);
}

void staging_give(struct log *log, uint8_t *buf)
{
    if (buf)
        list_push_front(&log->free_staging, (struct list *)(void *)buf);
}
