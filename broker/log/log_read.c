/*
 * Reading: blocks by counter, positions by time, and waking who waits.
 *
 * A read that the cache can answer is answered at the end of the iteration, by reference into the chunks. Everything
 * else goes to the shard's reader: one task a shard that serves the queue of reads and seeks from the segments, through
 * a window of the file that it keeps between reads, so that a sequential reader finds the next blocks there.
 *
 *   log_read ─▶ reads ─▶ (deferred) cache? ──yes─▶ done
 *                                  └──no─▶ reader: segments listed? ─▶ index known? ─▶ file open? ─▶ window ─▶ done
 *
 * Blocks of the window are lent by reference too (read_buf); a read that needs a new window while the old one is lent
 * takes another buffer, within read_bytes_max; when that is used up, parked readers give up their windows, and else it
 * waits for a release.
 *
 * Invariants
 *   D1. Nothing beyond the visible counter is returned; every frame is checked (header, place, body CRC) first.
 *   D2. What fails its check below the synced end quarantines the shard, and is never returned.
 *   D3. Records that have expired are not returned: the read ends with ST_TRIMMED and first_counter is moved on.
 * Thread: the loop's.
 */
#include "broker/log/log_internal.h"

#include "common/frame/crc32c.h"

#include <stdio.h>
#include <stdlib.h>

#define WINDOW_BYTES     (1u << 20)
#define WINDOW_BYTES_MIN (64u << 10)

struct read_buf {
    struct log *log;
    uint32_t refs; /* blocks lent, and the reader whose window it is */
    size_t bytes;
    uint8_t *mem;
};

/* log_block.hold: a chunk, or a read_buf with the low bit set. */
static void *hold_buf(struct read_buf *b)
{
    return (void *)((uintptr_t)b | 1);
}

struct reader {
    struct task task, sub;
    struct log_shard *shard;
    struct log_read *read; /* being served; one of the two is set */
    struct log_seek *seek;
    struct wall_ms cutoff; /* looking for the first block that has not expired */
    bool trimming;
    uint32_t at; /* position in shard->segments */
    struct io_names names;
    struct index_load *load;
    /* the window: bytes [start, start + len) of the segment with base window_base */
    struct read_buf *buf;
    uint64_t window_base, start;
    size_t len;
    uint64_t offset;   /* of the next frame to look at */
    uint64_t good_end; /* behind the last good frame, if chained */
    uint64_t segment_end, generation;
    size_t want_bytes;
    struct io_file file;
    uint64_t file_base;
    uint64_t next_counter;           /* behind what was served last: a read from there goes on in the window */
    uint32_t previous_crc, next_crc; /* next: of the frame that look has found */
    bool chained;                    /* previous_crc is that of the frame before r->offset */
    bool idle, stop;
    int status;
    struct list link; /* log->readers_waiting */
    char path[LOG_PATH_MAX];
};

static void reader_run(struct task *t);
static void seek_dispatch(struct log_shard *s, struct log_seek *k);

/* ---- lending ---------------------------------------------------------------------------------------------------- */

static void buf_unref(struct read_buf *b)
{
    if (!b || --b->refs)
        return;
    struct log *log = b->log;
    log->read_bytes_lent -= b->bytes;
    io_buffer_free(b->mem);
    free(b);
    if (list_empty(&log->readers_waiting))
        return;
    struct reader *r = CONTAINER_OF(list_pop_front(&log->readers_waiting), struct reader, link);
    task_wake(&r->task);
}

static struct read_buf *buf_new(struct log *log, size_t bytes)
{
    if (log->read_bytes_lent && log->read_bytes_lent + bytes > log->read_bytes_max)
        return NULL;
    struct read_buf *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->mem = io_buffer_alloc(bytes);
    if (!b->mem) {
        free(b);
        return NULL;
    }
    b->log = log;
    b->refs = 1;
    b->bytes = bytes;
    log->read_bytes_lent += bytes;
    return b;
}

void log_block_release(struct log *log, struct log_block *block)
{
    uintptr_t hold = (uintptr_t)block->hold;
    block->hold = NULL;
    if (hold & 1)
        buf_unref((struct read_buf *)(hold & ~(uintptr_t)1));
    else if (hold)
        cache_return(log, (struct chunk *)hold);
}

/* ---- the cache -------------------------------------------------------------------------------------------------- */

uint64_t visible_next(const struct log_shard *s, enum log_visibility v)
{
    bool synced = v == LOG_SYNCED && s->log->options.sync != LOG_SYNC_NEVER;
    uint64_t next = synced ? s->synced_next : s->durable_next;
    return next == s->skip_to ? s->skip_from : next;
}

/* Lends the ring's blocks from position `pos` on. */
static void read_ring(struct log_shard *s, struct log_read *r, uint64_t pos)
{
    uint64_t visible = visible_next(s, r->visibility);
    uint32_t bytes = 0;
    for (; pos < s->ring_tail; pos++) {
        struct block_entry *e = shard_entry(s, pos);
        if (entry_end(e) > visible || r->block_count == r->blocks_max || bytes >= r->bytes_max)
            break;
        struct log_block *b = &r->block[r->block_count++];
        int status = block_header_read(slice_of(e->frame + FRAME_HEADER_BYTES, BLOCK_HEADER_BYTES), &b->header);
        CHECK(status == 0);
        b->payload = slice_of(e->frame + FRAME_HEADER_BYTES + BLOCK_HEADER_BYTES, b->header.payload_bytes);
        b->hold = e->chunk;
        cache_lend(e->chunk);
        bytes += b->header.payload_bytes;
    }
}

/* Fills the read from the ring. False: the first wanted block is not there. */
static bool read_from_cache(struct log_shard *s, struct log_read *r)
{
    if (s->ring_head == s->ring_tail || r->from_counter < shard_entry(s, s->ring_head)->base)
        return false;
    read_ring(s, r, cache_find(s, r->from_counter));
    return true;
}

/* ---- expiry ----------------------------------------------------------------------------------------------------- */

/* Blocks that arrived before this have expired; INT64_MIN: none do. */
struct wall_ms retain_cutoff(struct log_shard *s)
{
    if (!s->has_retention || s->retention.keep_ms == INT64_MAX || !s->log->retention_started)
        return (struct wall_ms){INT64_MIN};
    return (struct wall_ms){expiry_now(s->log).ms - s->retention.keep_ms};
}

/* Whether a block may not be served any more. */
static bool expired(struct log_shard *s, uint64_t end_counter, struct wall_ms arrival)
{
    return arrival.ms < retain_cutoff(s).ms && end_counter <= retain_floor(s);
}

/* ---- starting reads --------------------------------------------------------------------------------------------- */

static void read_end(struct log_read *r, int status)
{
    struct log_shard *s = r->shard;
    struct log *log = s->log;
    if (status < 0)
        for (; r->block_count; r->block_count--)
            log_block_release(log, &r->block[r->block_count - 1]);
    for (uint32_t i = 0; i < r->block_count; i++)
        log->stats.read_bytes += r->block[i].payload.len;
    r->status = status;
    r->shard = NULL;
    r->done(r);
}

static void reader_wake(struct log_shard *s)
{
    if (s->reader) {
        if (s->reader->idle) {
            s->reader->idle = false;
            task_wake(&s->reader->task);
        }
        return;
    }
    struct reader *r = calloc(1, sizeof *r);
    if (!r) {
        read_shard_gone(s, -ENOMEM);
        return;
    }
    r->shard = s;
    r->file = IO_FILE_NONE;
    list_init(&r->link);
    s->reader = r;
    log_task_started(s->log);
    task_start(&r->task, s->log->loop, reader_run, NULL);
}

/* Answers at once what can be; gives the rest to the shard's reader. */
static void read_dispatch(struct log_shard *s, struct log_read *r)
{
    if (s->removing || s->log->closing) {
        read_end(r, ST_CLOSED);
        return;
    }
    uint64_t visible = visible_next(s, r->visibility);
    if (r->from_counter >= visible) {
        read_end(r, 0);
        return;
    }
    if (r->from_counter < s->first_counter) {
        read_end(r, ST_TRIMMED);
        return;
    }
    if (read_from_cache(s, r)) {
        if (r->block_count &&
            expired(s, r->block[0].header.base_counter + r->block[0].header.record_count, r->block[0].header.arrival)) {
            for (; r->block_count; r->block_count--)
                log_block_release(s->log, &r->block[r->block_count - 1]);
        } else {
            s->log->stats.cache_hits++;
            r->from_cache = true;
            read_end(r, 0);
            return;
        }
    }
    s->log->stats.cache_misses++;
    list_push_back(&s->reads, &r->link);
    reader_wake(s);
}

static void reads_deferred(struct io_defer *d)
{
    struct log *log = CONTAINER_OF(d, struct log, read_defer);
    struct list ready;
    list_init(&ready);
    list_splice_back(&ready, &log->reads_ready);
    for (struct list *n; (n = list_pop_front(&ready));) {
        struct log_read *r = CONTAINER_OF(n, struct log_read, link);
        r->state = NULL;
        if (r->cancelled)
            read_end(r, -ECANCELED);
        else
            read_dispatch(r->shard, r);
    }
    list_splice_back(&ready, &log->seeks_ready);
    for (struct list *n; (n = list_pop_front(&ready));) {
        struct log_seek *k = CONTAINER_OF(n, struct log_seek, link);
        seek_dispatch(k->shard, k);
    }
}

void log_read(struct log_shard *s, struct log_read *r)
{
    CHECK(r->blocks_max >= 1 && r->blocks_max <= LOG_READ_BLOCKS_MAX);
    r->shard = s;
    r->status = 0;
    r->block_count = 0;
    r->from_cache = r->cancelled = false;
    list_push_back(&s->log->reads_ready, &r->link);
    loop_defer(s->log->loop, &s->log->read_defer);
}

/* A read that is being served from the disk ends when its operation does. */
void log_read_cancel(struct log_read *r)
{
    if (!r->shard)
        return;
    struct log_shard *s = r->shard;
    r->cancelled = true;
    if (s->reader && s->reader->read == r)
        return;
    list_remove(&r->link);
    list_push_back(&s->log->reads_ready, &r->link);
    loop_defer(s->log->loop, &s->log->read_defer);
}

void read_shard_gone(struct log_shard *s, int status)
{
    for (struct list *n; (n = list_pop_front(&s->reads));)
        read_end(CONTAINER_OF(n, struct log_read, link), status);
    for (struct list *n; (n = list_pop_front(&s->seeks));) {
        struct log_seek *k = CONTAINER_OF(n, struct log_seek, link);
        k->status = status;
        k->done(k);
    }
}

void read_shard_forget(struct log_shard *s)
{
    struct log *log = s->log;
    LIST_FOREACH_SAFE (it, &log->reads_ready)
        if (CONTAINER_OF(it, struct log_read, link)->shard == s) {
            list_remove(it);
            list_push_back(&s->reads, it);
        }
    LIST_FOREACH_SAFE (it, &log->seeks_ready)
        if (CONTAINER_OF(it, struct log_seek, link)->shard == s) {
            list_remove(it);
            list_push_back(&s->seeks, it);
        }
    read_shard_gone(s, ST_CLOSED);
}

/* ---- the reader: finding the place ------------------------------------------------------------------------------ */

static bool is_active(const struct reader *r)
{
    return r->at + 1 == r->shard->segments.count;
}

static struct segment_info *segment_at(const struct reader *r)
{
    return &r->shard->segments.at[r->at];
}

/* The last segment whose base is <= counter (the first, if none is). */
static uint32_t find_segment(const struct log_shard *s, uint64_t counter)
{
    uint32_t low = 0, high = s->segments.count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (s->segments.at[mid].base <= counter)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? low - 1 : 0;
}

/* A freshly loaded index goes where it belongs. */
static void take_index(struct reader *r)
{
    struct log_shard *s = r->shard;
    struct index_load *l = r->load;
    if (l->active && (l->found.base != s->segment_base || l->found.generation != s->segment_generation))
        return;      /* the shard went on in another file meanwhile, and s->index is of that one */
    if (l->active) { /* what was appended since the scan began is in the shard's index from index_from on */
        struct segment_index merged = l->found.index;
        l->found.index = (struct segment_index){0};
        for (uint32_t i = 0; i < s->index.count; i++)
            if (s->index.at[i].offset >= l->limit &&
                index_add(&merged, s->index.at[i].counter, s->index.at[i].offset, s->index.at[i].arrival) < 0)
                break;
        index_free(&s->index);
        s->index = merged;
        s->index_from = 0;
        s->segment_first_arrival = l->found.first_arrival;
        return;
    }
    struct segment_info *i = segment_at(r);
    if (i->base == l->found.base && !i->known) {
        *i = l->found;
        i->known = true;
        l->found.index = (struct segment_index){0};
        if (l->rebuilt)
            index_write_info(s, i);
    }
}

static bool index_ready(const struct reader *r)
{
    return is_active(r) ? r->shard->index_from == 0 : segment_at(r)->known;
}

/* Behind the last frame; UINT64_MAX: not known before the index is. */
static uint64_t current_end(const struct reader *r)
{
    if (is_active(r))
        return r->shard->segment_end;
    return segment_at(r)->known ? segment_at(r)->end : UINT64_MAX;
}

static bool load_begin(struct reader *r)
{
    struct log_shard *s = r->shard;
    r->load = calloc(1, sizeof *r->load);
    if (!r->load)
        return false;
    r->load->active = is_active(r);
    r->load->found.base = segment_at(r)->base;
    r->load->next_base = r->load->active ? 0 : segment_at(r)[1].base;
    r->load->limit = r->load->active ? s->segment_end : UINT64_MAX;
    return true;
}

/* What the index says about where to start looking. */
static void place(struct reader *r, bool by_time, uint64_t counter, struct wall_ms at)
{
    struct log_shard *s = r->shard;
    const struct segment_info *i = segment_at(r);
    const struct segment_index *ix = is_active(r) ? &s->index : &i->index;
    r->generation = is_active(r) ? s->segment_generation : i->generation;
    uint32_t k = by_time ? index_find_time(ix, at) : index_find(ix, counter);
    r->offset = ix->count ? ix->at[k].offset : 0;
}

static bool in_window(const struct reader *r, size_t bytes)
{
    return r->buf && r->window_base == segment_at(r)->base && r->offset >= r->start &&
           r->offset + bytes <= r->start + r->len;
}

static void window_drop(struct reader *r)
{
    struct read_buf *b = r->buf;
    r->buf = NULL;
    buf_unref(b); /* may wake a reader that waits */
}

/* A parked reader keeps its window only as long as nobody else needs the memory: what it holds is for a next read that
 * may never come, or come only once the one that waits has been answered. */
static void windows_of_idle_drop(struct log *log)
{
    LIST_FOREACH (it, &log->shards) {
        struct reader *idle = CONTAINER_OF(it, struct log_shard, link)->reader;
        if (idle && idle->idle && idle->buf)
            window_drop(idle);
    }
}

/* Makes ready a buffer for a window at the page of r->offset. False: none is to be had now. */
static bool window_begin(struct reader *r)
{
    struct log *log = r->shard->log;
    uint64_t start = r->offset & ~(PAGE - 1);
    size_t bytes = log->read_window_bytes;
    while (bytes < r->want_bytes + PAGE && bytes < WINDOW_BYTES)
        bytes *= 2;
    if (bytes < r->want_bytes + PAGE) /* a large record: no more than it needs */
        bytes = page_up(r->want_bytes + PAGE);
    if (r->buf && (r->buf->refs > 1 || r->buf->bytes < bytes))
        window_drop(r);
    if (!r->buf)
        r->buf = buf_new(log, bytes);
    if (!r->buf) {
        windows_of_idle_drop(log);
        r->buf = buf_new(log, bytes);
    }
    r->start = start;
    r->len = 0;
    r->window_base = segment_at(r)->base;
    return r->buf != NULL;
}

/* ---- the reader: walking the window ----------------------------------------------------------------------------- */

enum look { LOOK_BLOCK, LOOK_WINDOW, LOOK_END, LOOK_DAMAGE };

static void step_over(struct reader *r, uint64_t space)
{
    r->offset += space;
    r->good_end = r->offset;
    r->previous_crc = r->next_crc;
    r->chained = true;
}

/* No good frame lies at r->offset: padding or a torn tail that an opening has cut off may lie there, and the frame that
 * follows at the next page. Only the chain tells that from damage, so without one it is damage. */
static bool pass_over(struct reader *r)
{
    if (!r->chained || r->offset % PAGE == 0)
        return false;
    r->offset = page_up(r->offset);
    return true;
}

/* The block frame at r->offset, or the next one behind it. */
static enum look look(struct reader *r, struct block_header *out_block, struct slice *out_body, uint64_t *out_space)
{
    struct log_shard *s = r->shard;
    for (;;) {
        if (r->offset + FRAME_HEADER_BYTES > r->segment_end) {
            if (!r->chained || r->good_end == r->segment_end)
                return LOOK_END;
            r->offset = r->good_end; /* the last frames are not what they were */
            return LOOK_DAMAGE;
        }
        r->want_bytes = FRAME_HEADER_BYTES;
        if (!in_window(r, FRAME_HEADER_BYTES))
            return LOOK_WINDOW;
        const uint8_t *at = r->buf->mem + (r->offset - r->start);
        struct frame_header h;
        uint32_t crc;
        int status = frame_header_read(slice_of(at, FRAME_HEADER_BYTES), &h, &crc);
        bool ours = status == 0 && memcmp(h.log_uid, s->log->uid, FRAME_UID_BYTES) == 0 &&
                    h.generation == r->generation && h.offset == r->offset && h.shard_uid == s->uid &&
                    (!r->chained || h.previous_crc == r->previous_crc) &&
                    r->offset + FRAME_HEADER_BYTES + h.stored_bytes <= r->segment_end;
        if (ours) {
            r->want_bytes = FRAME_HEADER_BYTES + h.stored_bytes;
            if (!in_window(r, r->want_bytes))
                return LOOK_WINDOW;
            *out_body = slice_of(at + FRAME_HEADER_BYTES, h.stored_bytes);
            *out_space = frame_space(h.stored_bytes);
        }
        if (!ours || crc32c(0, out_body->ptr, out_body->len) != h.body_crc) {
            if (!pass_over(r))
                return LOOK_DAMAGE;
            continue;
        }
        if (h.kind == LOG_KIND_BLOCK && block_header_read(*out_body, out_block) < 0)
            return LOOK_DAMAGE;
        r->next_crc = crc;
        if (h.kind == LOG_KIND_BLOCK)
            return LOOK_BLOCK;
        step_over(r, *out_space);
    }
}

/* Takes the blocks of the window that the read wants. True: the read is complete. */
static bool serve(struct reader *r, enum look *out_look)
{
    struct log_shard *s = r->shard;
    struct log_read *q = r->read;
    uint64_t visible = visible_next(s, q->visibility);
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < q->block_count; i++)
        bytes += (uint32_t)q->block[i].payload.len;
    while (q->block_count < q->blocks_max && bytes < q->bytes_max) {
        struct block_header h;
        struct slice body;
        uint64_t space;
        *out_look = look(r, &h, &body, &space);
        if (*out_look != LOOK_BLOCK)
            return q->block_count > 0;
        uint64_t end = h.base_counter + h.record_count;
        if (end > visible)
            return true;
        step_over(r, space);
        if (end <= q->from_counter)
            continue;
        if (q->block_count == 0 && expired(s, end, h.arrival)) {
            r->status = ST_TRIMMED;
            return true;
        }
        if (h.codec != BLOCK_CODEC_NONE) {
            r->status = ST_VERSION;
            return true;
        }
        q->block[q->block_count++] = (struct log_block){
            .header = h, .payload = slice_of(body.ptr + BLOCK_HEADER_BYTES, h.payload_bytes), .hold = hold_buf(r->buf)};
        r->buf->refs++;
        bytes += h.payload_bytes;
    }
    return true;
}

/* Looks for the first block that arrived at or after r->cutoff. True: found, *out_counter is its base. */
static bool seek_in_window(struct reader *r, uint64_t *out_counter, enum look *out_look)
{
    for (;;) {
        struct block_header h;
        struct slice body;
        uint64_t space;
        *out_look = look(r, &h, &body, &space);
        if (*out_look != LOOK_BLOCK)
            return false;
        if (h.arrival.ms >= r->cutoff.ms) {
            *out_counter = h.base_counter;
            return true;
        }
        step_over(r, space);
    }
}

/* ---- the reader: the flow --------------------------------------------------------------------------------------- */

static void damage_found(struct reader *r)
{
    log_path_segment(r->path, r->shard->log->dir, r->shard->uid, segment_at(r)->base);
    shard_quarantine(r->shard, r->path, r->offset, "bad checksum or broken chain");
    watch_wake_all(r->shard);
    r->status = ST_QUARANTINED;
}

/* The request is answered; it may be followed by another one from inside its callback. */
static void answer(struct reader *r, uint64_t counter)
{
    struct log_shard *s = r->shard;
    r->next_counter = UINT64_MAX;
    if (r->trimming) {
        r->trimming = false;
        if (r->status == 0 && counter > s->first_counter) {
            uint64_t floor = retain_floor(s);
            s->first_counter = counter < floor ? counter : floor;
            shard_changed(s);
        }
        r->status = ST_TRIMMED;
    }
    if (r->read) {
        struct log_read *q = r->read;
        r->read = NULL;
        if (r->status == 0 && q->block_count == 0 && q->from_counter < s->durable_next) {
            s->skip_from = q->from_counter; /* counters that an unclean stop has skipped, and nothing behind them yet */
            s->skip_to = s->durable_next;
        }
        if (r->status == 0 && q->block_count) {
            const struct block_header *last = &q->block[q->block_count - 1].header;
            r->next_counter = last->base_counter + last->record_count;
        }
        read_end(q, q->cancelled ? -ECANCELED : r->status);
    } else if (r->seek) {
        struct log_seek *k = r->seek;
        r->seek = NULL;
        k->status = r->status;
        k->counter = counter;
        k->done(k);
    }
}

static bool next_request(struct reader *r)
{
    struct log_shard *s = r->shard;
    struct list *n = list_pop_front(&s->reads);
    r->status = 0;
    r->read = NULL;
    r->seek = NULL;
    if (n) {
        r->read = CONTAINER_OF(n, struct log_read, link);
        return true;
    }
    n = list_pop_front(&s->seeks);
    if (!n)
        return false;
    r->seek = CONTAINER_OF(n, struct log_seek, link);
    r->cutoff = r->seek->at;
    return true;
}

/* First of the cached blocks, which follow the segments, that arrived at or after `at`. */
static uint64_t seek_cached(const struct log_shard *s, struct wall_ms at)
{
    uint64_t low = s->ring_head, high = s->ring_tail;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (shard_entry(s, mid)->arrival.ms < at.ms)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < s->ring_tail && shard_entry(s, low)->base < s->durable_next)
        return shard_entry(s, low)->base;
    return s->durable_next;
}

static bool cache_knows_time(const struct log_shard *s, struct wall_ms at)
{
    return s->segment_next == 0 || !s->has_segment ||
           (s->ring_head < s->ring_tail && shard_entry(s, s->ring_head)->arrival.ms < at.ms) ||
           s->durable_arrival.ms < at.ms;
}

static void seek_dispatch(struct log_shard *s, struct log_seek *k)
{
    k->status = 0;
    if (s->removing || s->log->closing) {
        k->status = ST_CLOSED;
    } else if (cache_knows_time(s, k->at)) {
        k->counter = seek_cached(s, k->at);
        if (k->counter < s->first_counter)
            k->counter = s->first_counter;
    } else {
        list_push_back(&s->seeks, &k->link);
        reader_wake(s);
        return;
    }
    k->done(k);
}

void log_seek(struct log_shard *s, struct log_seek *k)
{
    k->shard = s;
    list_push_back(&s->log->seeks_ready, &k->link);
    loop_defer(s->log->loop, &s->log->read_defer);
}

/* Whether the window stands where this read goes on: then no index is needed. */
static bool goes_on(const struct reader *r)
{
    return r->read && !r->trimming && r->buf && r->read->from_counter == r->next_counter &&
           r->at < r->shard->segments.count && r->window_base == segment_at(r)->base &&
           r->generation == (is_active(r) ? r->shard->segment_generation : segment_at(r)->generation);
}

static void reader_run(struct task *t)
{
    struct reader *r = CONTAINER_OF(t, struct reader, task);
    struct log_shard *s = r->shard;
    struct log *log = s->log;
    enum look seen = LOOK_END;
    uint64_t counter = 0;
    TASK_BEGIN(t);
    for (;;) {
        while (!next_request(r)) {
            if (s->removing || log->closing || r->stop)
                goto out;
            r->idle = true;
            if (r->buf && !list_empty(&log->readers_waiting))
                window_drop(r);
            log_task_ended(log); /* an idle reader holds nothing up */
            TASK_PARK(t);
            log_task_started(log);
        }
        if (s->has_segment && !s->segments_loaded) {
            log_path_shard_dir(r->path, log->dir, s->uid);
            TASK_AWAIT(t, io_list(t->loop, &t->op, r->path, &r->names));
            r->status = t->op.result < 0 ? (int)t->op.result : segment_list_from_names(s, &r->names);
            if (t->op.result >= 0)
                io_names_free(&r->names);
            if (r->status < 0) {
                answer(r, 0);
                continue;
            }
        }
    again:
        if (s->segments.count == 0) {
            if (r->read && !r->trimming)
                read_ring(s, r->read, cache_find(s, r->read->from_counter));
            answer(r, seek_cached(s, r->cutoff));
            continue;
        }
        if (!goes_on(r)) {
            r->at = r->read && !r->trimming ? find_segment(s, r->read->from_counter) : 0;
            if (r->read && !r->trimming && segment_at(r)->base > r->read->from_counter &&
                s->first_counter > r->read->from_counter) {
                r->status = ST_TRIMMED;
                answer(r, 0);
                continue;
            }
            r->offset = UINT64_MAX;
            r->chained = false;
        }
        for (;;) { /* segment by segment */
            if (!index_ready(r)) {
                if (!load_begin(r)) {
                    r->status = -ENOMEM;
                    break;
                }
                TASK_CALL(t, index_load_start(r->load, s, t));
                r->status = r->load->task.status;
                if (r->status == 0)
                    take_index(r);
                index_load_deinit(r->load);
                index_free(&r->load->found.index);
                free(r->load);
                r->load = NULL;
                if (r->status == -ENOENT || r->status == ST_CORRUPT) {
                    r->offset = 0;
                    damage_found(r);
                }
                if (r->status < 0)
                    break;
                if (!index_ready(r))
                    continue; /* sealed while it was loaded: again, as what it is now */
            }
            /* by time: a segment that ends before the time is passed over without reading it */
            if ((!r->read || r->trimming) && !is_active(r) && segment_at(r)->last_arrival.ms < r->cutoff.ms) {
                r->at++;
                continue;
            }
            r->segment_end = current_end(r);
            if (r->offset == UINT64_MAX)
                place(r, !r->read || r->trimming, r->read ? r->read->from_counter : 0, r->cutoff);
            if (r->file.id < 0 || r->file_base != segment_at(r)->base) {
                segment_close(log, &r->file);
                log_path_segment(r->path, log->dir, s->uid, segment_at(r)->base);
                TASK_AWAIT(t, io_open(t->loop, &t->op, r->path, IO_READ | IO_DIRECT));
                if (t->op.result == -ENOENT)
                    damage_found(r);
                else if (t->op.result < 0)
                    r->status = (int)t->op.result;
                if (r->status < 0)
                    break;
                r->file = (struct io_file){(int)t->op.result};
                r->file_base = segment_at(r)->base;
            }
            for (;;) { /* window by window */
                if (r->read && !r->trimming ? serve(r, &seen) : seek_in_window(r, &counter, &seen))
                    goto served;
                if (seen != LOOK_WINDOW)
                    break;
                while (!window_begin(r)) {
                    list_push_back(&log->readers_waiting, &r->link);
                    TASK_PARK(t);
                }
                TASK_AWAIT(t, io_read(t->loop, &t->op, r->file, r->buf->mem, r->buf->bytes, r->start));
                if (t->op.result < 0) {
                    r->status = (int)t->op.result;
                    goto served;
                }
                r->len = (size_t)t->op.result;
                if (r->start + r->len > r->segment_end) /* what lies behind may be written any time */
                    r->len = (size_t)(r->segment_end - r->start);
                log->stats.disk_read_bytes += r->len;
                if (!in_window(r, r->want_bytes)) { /* the file is shorter than its synced end */
                    seen = LOOK_DAMAGE;
                    break;
                }
            }
            if (seen == LOOK_DAMAGE) {
                damage_found(r);
                break;
            }
            if (current_end(r) != r->segment_end)
                continue;       /* it has grown, or was sealed, meanwhile */
            if (is_active(r)) { /* beyond the segments: the rest is cached */
                counter = seek_cached(s, r->cutoff);
                if (r->read && !r->trimming && r->read->block_count == 0)
                    read_ring(s, r->read, cache_find(s, r->read->from_counter));
                break;
            }
            r->at++;
            r->offset = UINT64_MAX;
            r->chained = false;
        }
    served:
        if (r->read && r->status == ST_TRIMMED && !r->trimming) { /* find out where the data starts now */
            r->trimming = true;
            r->status = 0;
            r->cutoff = retain_cutoff(s);
            goto again;
        }
        answer(r, counter);
    }
out:
    segment_close(log, &r->file);
    buf_unref(r->buf);
    s->reader = NULL;
    free(r);
    log_task_ended(log);
    return;
    TASK_END(t, 0);
}

bool read_busy(const struct log_shard *s)
{
    return s->reader && !s->reader->idle;
}

/* A parked reader gives its window and file back; it is made again when needed. */
void read_idle_close(struct log_shard *s)
{
    if (s->reader && s->reader->idle) {
        s->reader->stop = true;
        s->reader->idle = false;
        task_wake(&s->reader->task);
    }
}

void read_init(struct log *log)
{
    list_init(&log->reads_ready);
    list_init(&log->seeks_ready);
    list_init(&log->readers_waiting);
    log->read_defer.run = reads_deferred;
    log->read_bytes_max = log->memory_max / 4;
    log->read_window_bytes = WINDOW_BYTES;
    while (log->read_window_bytes > WINDOW_BYTES_MIN && log->read_window_bytes * 8 > log->read_bytes_max)
        log->read_window_bytes /= 2;
}
