/*
 * Appending: from the caller's records to pending blocks, and from a durable round back to the callers.
 *
 * Large appends (BIG_APPEND_BYTES) are encoded at once as frames of their own pages in chunk memory: one copy, and disk
 * writes take them from there wherever they go. Small ones are encoded into the stage; the next round gathers a shard's
 * fragments into one block (a second copy, of little data). Counters and arrival times are given here, in the order of
 * the calls; a shard whose write fails loses all that is pending and goes back to its durable counter.
 *
 * Failure: nothing is taken unless everything is (entries and memory are reserved first).
 * Thread: the loop's.
 */
#include "broker/log/log_internal.h"

#include "common/frame/crc32c.h"

#define FRAGMENT_ALIGN 16u

/* A block's time: max(the previous block's, the wall clock). */
static struct wall_ms block_time(struct log_shard *s)
{
    struct wall_ms now = loop_wall(s->log->loop);
    if (now.ms > s->last_arrival.ms)
        s->last_arrival = now;
    return s->last_arrival;
}

/* Completes a block whose payload lies behind the room for its headers at entry->frame. */
static void block_finish(struct log_shard *s, struct block_entry *e, uint32_t payload_bytes, uint32_t records,
                         uint64_t base, struct wall_ms arrival)
{
    uint8_t *block = e->frame + FRAME_HEADER_BYTES, *payload = block + BLOCK_HEADER_BYTES;
    struct block_header h = {
        .codec = BLOCK_CODEC_NONE,
        .record_count = records,
        .payload_bytes = payload_bytes,
        .raw_bytes = payload_bytes,
        .payload_crc = crc32c(0, payload, payload_bytes),
        .base_counter = base,
        .arrival = arrival,
    };
    block_header_write(block, &h);
    e->stored_bytes = BLOCK_HEADER_BYTES + payload_bytes;
    e->record_count = records;
    e->base = base;
    e->arrival = arrival;
    e->body_crc = crc32c_combine(crc32c(0, block, BLOCK_HEADER_BYTES), h.payload_crc, payload_bytes);
    size_t behind = frame_space(e->stored_bytes) - FRAME_HEADER_BYTES - e->stored_bytes;
    memset(payload + payload_bytes, 0, behind);
}

/* Zeros to the end of the page, for a frame that has its own pages. */
static void pad_page(struct block_entry *e)
{
    uint64_t space = entry_space(e);
    memset(e->frame + space, 0, page_up(space) - space);
}

void stage_gather(struct log_shard *s, struct chunk *chunk, uint8_t *to, bool packed)
{
    struct block_entry *e = s->fragment_entry;
    s->fragment_entry = NULL;
    cache_entry_append(s, e, chunk, to);
    uint8_t *p = to + FRAME_HEADER_BYTES + BLOCK_HEADER_BYTES;
    for (struct fragment *f = s->fragments; f; f = f->next) {
        memcpy(p, f->data, f->bytes);
        p += f->bytes;
    }
    e->packed = packed;
    block_finish(s, e, s->fragment_bytes, s->fragment_records, s->block_base, s->last_arrival);
    s->pending_bytes += entry_space(e) - s->fragment_bytes;
    s->fragments = NULL;
    s->fragments_tail = &s->fragments;
    s->fragment_bytes = s->fragment_records = 0;
}

int stage_gather_own(struct log_shard *s)
{
    if (!s->fragments)
        return 0;
    struct chunk *chunk;
    uint8_t *mem;
    int status = cache_take(s->log, frame_space(BLOCK_HEADER_BYTES + s->fragment_bytes), &chunk, &mem);
    if (status < 0)
        return status;
    stage_gather(s, chunk, mem, false);
    pad_page(shard_entry(s, s->ring_tail - 1));
    cache_unpin(s->log, chunk);
    return 0;
}

/* Encodes a small append into the stage. ST_THROTTLED if there is no room. */
static int append_staged(struct log_shard *s, const struct block_record *records, uint32_t count, size_t bytes)
{
    struct log *log = s->log;
    size_t need = (sizeof(struct fragment) + bytes + FRAGMENT_ALIGN - 1) & ~(size_t)(FRAGMENT_ALIGN - 1);
    if (log->stage_bytes - log->stage_used < need || s->fragment_bytes + bytes > BLOCK_PAYLOAD_BYTES_MAX)
        return ST_THROTTLED;
    if (!s->fragments) {
        s->fragment_entry = cache_entry_reserve(s);
        if (!s->fragment_entry)
            return ST_THROTTLED;
        s->block_base = s->next_counter;
        s->fragments_tail = &s->fragments;
        block_time(s);
    }
    struct fragment *f = (struct fragment *)(void *)(log->stage + log->stage_used);
    log->stage_used += need;
    f->next = NULL;
    f->bytes = (uint32_t)bytes;
    uint8_t *p = f->data;
    for (uint32_t i = 0; i < count; i++)
        p += block_record_write(p, records[i].key, records[i].data);
    *s->fragments_tail = f;
    s->fragments_tail = &f->next;
    s->fragment_bytes += (uint32_t)bytes;
    s->fragment_records += count;
    s->pending_bytes += bytes;
    return 0;
}

/* One block of records[*at..], of at most about `target` bytes, on its own pages. */
static int append_block(struct log_shard *s, const struct block_record *records, uint32_t count, uint32_t *at,
                        size_t target, uint64_t base, struct wall_ms arrival)
{
    size_t bytes = 0;
    uint32_t end = *at;
    do {
        bytes += block_record_bytes(records[end].key, records[end].data);
        end++;
    } while (end < count && bytes + block_record_bytes(records[end].key, records[end].data) <= target);
    struct chunk *chunk;
    uint8_t *mem;
    int status = cache_take(s->log, frame_space((uint32_t)(BLOCK_HEADER_BYTES + bytes)), &chunk, &mem);
    if (status < 0)
        return status;
    struct block_entry *e = cache_entry_add(s, chunk, mem);
    cache_unpin(s->log, chunk);
    if (!e)
        return ST_THROTTLED;
    uint8_t *p = mem + FRAME_HEADER_BYTES + BLOCK_HEADER_BYTES;
    for (uint32_t i = *at; i < end; i++)
        p += block_record_write(p, records[i].key, records[i].data);
    block_finish(s, e, (uint32_t)bytes, end - *at, base + *at, arrival);
    pad_page(e);
    s->pending_bytes += entry_space(e);
    *at = end;
    return 0;
}

/* Encodes a large append as blocks of its own. Nothing is kept on failure. */
static int append_blocks(struct log_shard *s, const struct block_record *records, uint32_t count, size_t bytes)
{
    size_t block_max = s->log->chunk_bytes - 2 * PAGE;
    if (block_max > BLOCK_PAYLOAD_BYTES_MAX)
        block_max = BLOCK_PAYLOAD_BYTES_MAX;
    size_t blocks = (bytes + block_max - 1) / block_max, target = (bytes + blocks - 1) / blocks;
    target += target / 16 < block_max - target ? target / 16 : block_max - target; /* records do not divide evenly */
    int status = stage_gather_own(s);
    if (status < 0)
        return status;
    uint64_t tail = s->ring_tail, pending = s->pending_bytes;
    struct wall_ms arrival = block_time(s);
    for (uint32_t at = 0; at < count;) {
        status = append_block(s, records, count, &at, target, s->next_counter, arrival);
        if (status < 0) {
            cache_entries_drop_tail(s, tail);
            s->pending_bytes = pending;
            return status;
        }
    }
    return 0;
}

static int append_allowed(const struct log_shard *s)
{
    if (s->log->closing || s->removing)
        return ST_CLOSED;
    if (s->state == LOG_SHARD_QUARANTINED)
        return ST_QUARANTINED;
    if (s->state == LOG_SHARD_FENCED)
        return ST_FENCED;
    return s->log->reserve_low ? ST_RESERVE : 0;
}

int log_append(struct log_shard *s, const struct block_record *records, uint32_t count, struct log_append *a)
{
    struct log *log = s->log;
    CHECK(count > 0);
    int status = append_allowed(s);
    if (status < 0) {
        log->stats.reserve_refused += status == ST_RESERVE;
        return status;
    }
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += block_record_bytes(records[i].key, records[i].data);
    if (bytes > FRAME_BODY_MAX / 2)
        return ST_THROTTLED;
    status = bytes < BIG_APPEND_BYTES ? append_staged(s, records, count, bytes) : ST_THROTTLED;
    if (status < 0)
        status = append_blocks(s, records, count, bytes);
    if (status < 0)
        return status;
    a->shard = s;
    a->status = 0;
    a->base_counter = s->next_counter;
    a->arrival = s->last_arrival;
    a->record_count = count;
    s->next_counter += count;
    a->end_counter = s->next_counter;
    s->last_append = loop_now(log->loop);
    list_push_back(&s->waiting, &a->link);
    if (!list_linked(&s->dirty_link))
        list_push_back(&log->dirty, &s->dirty_link);
    round_kick(log);
    reserve_check(log);
    return 0;
}

void append_complete(struct log_shard *s)
{
    while (!list_empty(&s->waiting)) {
        struct log_append *a = CONTAINER_OF(s->waiting.next, struct log_append, link);
        if (a->end_counter > s->durable_next)
            return;
        list_remove(&a->link);
        s->log->stats.append_records += a->record_count;
        a->status = 0;
        a->done(a);
    }
}

/* Only what is in no write may be forgotten: the caller sees to it that none is in flight for this shard. */
void append_fail(struct log_shard *s, int status)
{
    pool_put(&s->log->entries, s->fragment_entry);
    s->fragment_entry = NULL;
    s->fragments = NULL;
    s->fragments_tail = &s->fragments;
    s->fragment_bytes = s->fragment_records = 0;
    s->pending_bytes = 0;
    s->journal_sent = s->journal_pos;
    cache_entries_drop_tail(s, s->journal_pos);
    list_remove(&s->dirty_link);
    s->next_counter = s->durable_next;
    s->last_arrival = s->durable_arrival;
    struct list failed;
    list_init(&failed);
    list_splice_back(&failed, &s->waiting);
    for (struct list *n; (n = list_pop_front(&failed));) {
        struct log_append *a = CONTAINER_OF(n, struct log_append, link);
        a->status = status;
        a->done(a);
    }
}
