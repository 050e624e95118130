/*
 * Moving a shard's frames to its segment: migration of journaled frames in the background, and the direct path for
 * large commits. Both are the same loop; a direct flush also takes pending frames, and appends wait for it.
 *
 *           no segment, or full: segment_create      file closed: segment_open
 *                    ┌──────────┐                       ┌───────┐
 *   start ──────────▶ prepare ──┴─▶ gather ─▶ allocate ─▶ write ─▶ sync ─▶ applied ─▶ (direct: mark durable?) ─▶ told
 *                       ▲                     (hot)        │        │                                            │
 *                       └──────────────────────────────────│────────│──── more ◀─────────────────────────────────┘
 *                                                          └────┬───┘
 *                                                               ▼ failed: a new segment file is started; journaled
 *                                                          frames stay in the journal, pending ones are dropped and
 *                                                          the shard is fenced until a durable entry says so
 *
 * Frames that have pages of their own are written from where they lie, with a new header; packed ones are copied into
 * the staging buffer. The body's CRC goes along, so no payload is read again.
 *
 * Invariants
 *   F1. One flush a shard; its writes are sequential, each synced before the next one starts.
 *   F2. segment_end moves only after a sync that covers it.
 *   F3. Appends of a direct flush are told after its sync AND after a durable entry says that the shard is direct.
 *   F4. A segment file is created only while a durable entry says "direct": so an opening knows of each shard that may
 *       have a file that never counted, and removes it.
 * Thread: the loop's.
 */
#include "broker/log/log_internal.h"

#include "common/frame/crc32c.h"

#include <stdlib.h>

#define FLUSH_BYTES_MAX (4u << 20)
#define ALLOCATE_STEP   (8u << 20)

static void flush_run(struct task *t);

/* ---- starting --------------------------------------------------------------------------------------------------- */

static void flush_finished(struct task *t);

void flush_start(struct log_shard *s, bool direct)
{
    struct log *log = s->log;
    if (s->flush || (s->removing && !direct))
        return;
    if (!direct && s->segment_pos == s->journal_pos)
        return;
    if (timer_armed(&log->retry_timer) && s->flush_failed)
        return;
    struct flush *f = !direct && log->migrations >= MIGRATIONS_MAX ? NULL : pool_get(&log->flush_pool);
    if (!f) {
        if (!list_linked(&s->flush_link))
            list_push_back(&log->flushes_waiting, &s->flush_link);
        return;
    }
    list_remove(&s->flush_link);
    f->shard = s;
    f->direct = direct;
    f->limit_pos = s->journal_pos;
    f->new_file = IO_FILE_NONE;
    s->flush = f;
    log->migrations += !direct;
    f->task.finished = flush_finished;
    log_task_started(log);
    task_start(&f->task, log->loop, flush_run, NULL);
}

static void start_waiting(struct log *log)
{
    for (struct list *n; log->flush_pool.in_use < FLUSHES_MAX && (n = list_pop_front(&log->flushes_waiting));) {
        struct log_shard *s = CONTAINER_OF(n, struct log_shard, flush_link);
        bool direct = flush_wanted(s) && s->journal_sent == s->journal_pos;
        flush_start(s, direct);
        if (list_linked(&s->flush_link))
            return;
    }
}

void flush_migrate_oldest(struct log *log, uint64_t generation_below)
{
    LIST_FOREACH_SAFE (it, &log->unmigrated) {
        struct log_shard *s = CONTAINER_OF(it, struct log_shard, unmigrated_link);
        struct journal_file *f = shard_entry(s, s->segment_pos)->journal;
        if (f && f->generation < generation_below)
            flush_start(s, false);
    }
}

static void flush_finished(struct task *t)
{
    struct flush *f = CONTAINER_OF(t, struct flush, task);
    struct log_shard *s = f->shard;
    struct log *log = s->log;
    log->migrations -= !f->counted_direct;
    s->flush = NULL;
    staging_give(log, f->staging);
    segment_close(log, &f->new_file);
    pool_put(&log->flush_pool, f);
    start_waiting(log);
    if (s->segment_pos < s->held_to || (s->segment_pos < s->journal_pos && !log->closing && s->flush_failed))
        log_retry_later(log);
    round_kick(log);
    log_task_ended(log);
}

/* ---- gathering -------------------------------------------------------------------------------------------------- */

/* `bytes` of the staging buffer at the end of the write; NULL if they do not fit. */
static uint8_t *put_staged(struct flush *f, size_t bytes)
{
    struct iovec *last = f->iov_count ? &f->iov[f->iov_count - 1] : NULL;
    if (STAGING_BYTES - f->staged < bytes)
        return NULL;
    uint8_t *at = f->staging + f->staged;
    if (last && (uint8_t *)last->iov_base + last->iov_len == at) {
        last->iov_len += bytes;
    } else {
        if (f->iov_count == FLUSH_IOV_MAX)
            return NULL;
        f->iov[f->iov_count++] = (struct iovec){at, bytes};
    }
    f->staged += bytes;
    f->bytes += bytes;
    return at;
}

/* Ends the staged stretch at a page boundary, so that a frame with pages of its own can follow. */
static void pad_staged(struct flush *f)
{
    size_t pad = page_up(f->staged) - f->staged;
    if (pad) {
        uint8_t *at = put_staged(f, pad);
        CHECK(at != NULL);
        memset(at, 0, pad);
    }
}

static void put_header(struct flush *f, uint8_t *frame, uint8_t kind, uint32_t stored_bytes, uint32_t body_crc)
{
    struct log_shard *s = f->shard;
    struct frame_header h;
    round_frame_header(s->log, &h, kind, f->offset + f->bytes, f->starts_segment ? 0 : s->segment_end);
    h.generation = f->starts_segment ? f->new_generation : s->segment_generation;
    h.shard_uid = s->uid;
    h.stored_bytes = stored_bytes;
    h.previous_crc = f->crc;
    h.body_crc = body_crc;
    f->crc = frame_header_write(frame, &h);
    f->end = h.offset + frame_space(stored_bytes);
}

static void put_segment_head(struct flush *f)
{
    struct log_shard *s = f->shard;
    uint64_t space = frame_space(LOG_SEGMENT_BYTES);
    struct log_segment_head head = {.base = f->new_base,
                                    .previous_base = s->has_segment ? s->segment_base : UINT64_MAX,
                                    .previous_generation = s->has_segment ? s->segment_generation : 0,
                                    .previous_end = s->has_segment ? s->segment_end : 0,
                                    .previous_crc = s->has_segment ? s->segment_crc : 0,
                                    .last_arrival = s->segment_last_arrival,
                                    .size = f->new_size,
                                    .flags = s->replacing ? LOG_SEGMENT_REPLACES : 0};
    uint8_t frame[256] = {0};
    CHECK(space <= sizeof frame);
    log_segment_head_write(frame + FRAME_HEADER_BYTES, &head);
    put_header(f, frame, LOG_KIND_SEGMENT, LOG_SEGMENT_BYTES, crc32c(0, frame + FRAME_HEADER_BYTES, LOG_SEGMENT_BYTES));
    uint8_t *at = put_staged(f, space);
    CHECK(at != NULL);
    memcpy(at, frame, space);
}

static bool put_entry(struct flush *f, struct block_entry *e)
{
    size_t space = entry_space(e), pages = page_up(space);
    if (e->packed && space <= STAGING_BYTES / 2) {
        struct iovec *last = f->iov_count ? &f->iov[f->iov_count - 1] : NULL;
        bool joins = last && (uint8_t *)last->iov_base + last->iov_len == f->staging + f->staged;
        if (STAGING_BYTES - f->staged < space + PAGE || (!joins && f->iov_count == FLUSH_IOV_MAX))
            return false;
        uint64_t offset_end = f->bytes;
        put_header(f, e->frame, LOG_KIND_BLOCK, e->stored_bytes, e->body_crc);
        uint8_t *at = put_staged(f, space);
        CHECK(at != NULL && f->bytes == offset_end + space);
        memcpy(at, e->frame, space);
        return true;
    }
    if (f->iov_count + 2 > FLUSH_IOV_MAX)
        return false;
    pad_staged(f);
    put_header(f, e->frame, LOG_KIND_BLOCK, e->stored_bytes, e->body_crc);
    f->iov[f->iov_count++] = (struct iovec){e->frame, pages};
    f->bytes += pages;
    return true;
}

/* Room of this write: what the segment still holds; an empty one takes at least one frame of any size. */
static uint64_t gather_room(const struct flush *f)
{
    uint64_t size = f->starts_segment ? f->new_size : f->shard->segment_size;
    return size > f->offset ? size - f->offset : 0;
}

/* Lays out the next write. False: there is nothing (more) to write. */
static bool gather(struct flush *f)
{
    struct log_shard *s = f->shard;
    if (f->direct && stage_gather_own(s) < 0 && s->segment_pos == s->ring_tail)
        return false;
    uint64_t limit = f->direct ? s->ring_tail : f->limit_pos, room = gather_room(f);
    f->iov_count = 0;
    f->staged = f->bytes = 0;
    f->end_pos = s->segment_pos;
    if (s->segment_pos >= limit)
        return false;
    if (f->starts_segment)
        put_segment_head(f);
    for (; f->end_pos < limit; f->end_pos++) {
        struct block_entry *e = shard_entry(s, f->end_pos);
        uint64_t want = f->bytes + entry_space(e) + 2 * PAGE;
        bool first = f->end_pos == s->segment_pos;
        if (!first && (want > FLUSH_BYTES_MAX || want > room))
            break;
        if (!put_entry(f, e)) {
            CHECK(!first);
            break;
        }
        if (f->end_pos >= s->journal_pos)
            s->pending_bytes -= entry_space(e);
    }
    pad_staged(f);
    f->bytes = page_up(f->bytes);
    if (f->end_pos == s->ring_tail && !s->fragments)
        list_remove(&s->dirty_link);
    return true;
}

/* Whether the next frame still fits into the active segment. */
static bool segment_full(const struct flush *f)
{
    const struct log_shard *s = f->shard;
    if (!s->has_segment || s->new_segment_wanted)
        return true;
    if (s->segment_pos == s->ring_tail)
        return false; /* fragments only: they are small */
    return page_up(s->segment_end) + entry_space(shard_entry(s, s->segment_pos)) + 2 * PAGE > s->segment_size;
}

static void want_mark(struct log_shard *s)
{
    if (s->mark != MARK_NONE)
        return;
    s->mark = MARK_WANTED;
    round_want_entry(s);
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

/* The write is synced: its entries are in the segment. */
static void applied(struct flush *f)
{
    struct log_shard *s = f->shard;
    struct log *log = s->log;
    if (f->starts_segment)
        segment_switched(f);
    uint64_t direct_bytes = 0;
    struct block_entry *last = NULL;
    for (; s->segment_pos < f->end_pos; s->segment_pos++) {
        struct block_entry *e = last = shard_entry(s, s->segment_pos);
        struct frame_header h;
        uint32_t crc;
        int status = frame_header_read(slice_of(e->frame, FRAME_HEADER_BYTES), &h, &crc);
        CHECK(status == 0);
        index_note(s, e->base, h.offset, e->arrival);
        if (s->segment_pos >= s->journal_pos)
            direct_bytes += entry_space(e);
        else
            log->stats.migrated_bytes += entry_space(e);
        cache_entry_settled(s, e);
    }
    s->segment_end = f->end;
    s->segment_crc = f->crc;
    s->disk_bytes += f->bytes;
    if (last) {
        s->segment_next = entry_end(last);
        s->segment_last_arrival = last->arrival;
    }
    if (s->segment_pos > s->journal_pos) {
        s->journal_pos = s->journal_sent = s->segment_pos;
        log->stats.commits++;
        log->stats.direct_commits++;
        log->stats.commit_bytes += direct_bytes;
        log->stats.append_bytes += direct_bytes;
        histogram_record(&log->commit_sizes, direct_bytes);
        histogram_record(&log->commit_us, (uint64_t)mono_diff_ns(loop_now_precise(log->loop), f->started) / 1000);
    }
    /* synced_next does not rise yet: what lies beyond the checkpointed end is found again only through the journal, or
     * once an entry says so (F3) */
    if (s->held_to && s->segment_pos >= s->held_to)
        round_want_entry(s);
    if (s->segment_pos == s->journal_pos)
        list_remove(&s->unmigrated_link);
    shard_changed(s);
    mark_later(log);
    sweep_arm(log);
}

/* What the write left behind must never be taken for data: the shard goes on in a new file. Journaled frames are safe
 * in the journal; pending ones are dropped, and nothing is acknowledged until the new file is known to the journal. */
static void flush_failed(struct flush *f, int status)
{
    struct log_shard *s = f->shard;
    s->flush_failed = true;
    s->flush_status = status;
    segment_close(s->log, &f->new_file);
    bool wrote = f->wrote;
    if (wrote) {
        s->log->stats.failed_syncs++;
        s->new_segment_wanted = true;
        s->not_before = f->starts_segment ? f->new_generation : s->segment_generation;
        segment_close(s->log, &s->segment_file);
    }
    /* what is too much for the journal would wait for the segment for ever */
    if (f->direct || (flush_wanted(s) && s->journal_sent == s->journal_pos)) {
        if (f->direct && wrote) { /* until a durable entry says that nothing behind segment_end counts */
            shard_fence(s, status, f->path);
            s->reopening = true;
            s->entry_state = MARK_WANTED;
            round_want_entry(s);
        }
        append_fail(s, status);
        watch_wake_all(s);
    }
    log_retry_later(s->log);
}

void flush_mark_durable(struct log_shard *s)
{
    if (s->flush)
        task_wake(&s->flush->task);
}

/* Whether the flush has more to write: a migration turns direct when much is pending. */
static bool flush_goes_on(struct flush *f)
{
    struct log_shard *s = f->shard;
    if ((s->state == LOG_SHARD_QUARANTINED && !s->log->opening) ||
        (s->log->closing && list_empty(&s->waiting) && !s->held_to))
        return false;
    if (s->held_to > f->limit_pos)
        f->limit_pos = s->held_to;
    f->direct = flush_wanted(s) && s->journal_sent == s->journal_pos;
    if (f->direct)
        return true;
    return s->segment_pos < f->limit_pos;
}

/* Space for this write and some more, so that a full disk shows before anything is written. */
static void flush_allocate(struct flush *f)
{
    struct log_shard *s = f->shard;
    uint64_t from = f->starts_segment ? 0 : s->segment_allocated, need = f->offset + f->bytes;
    uint64_t size = f->starts_segment ? f->new_size : s->segment_size, to = from + ALLOCATE_STEP;
    if (to > size)
        to = size;
    f->allocate_to = page_up(to < need ? need : to);
    io_allocate(s->log->loop, &f->task.op, f->starts_segment ? f->new_file : s->segment_file, from,
                f->allocate_to - from);
}

static void flush_run(struct task *t)
{
    struct flush *f = CONTAINER_OF(t, struct flush, task);
    struct log_shard *s = f->shard;
    struct log *log = s->log;
    TASK_BEGIN(t);
    f->counted_direct = f->direct;
    if (!(f->staging = staging_take(log)))
        TASK_EXIT(t, -ENOMEM);
    do {
        f->wrote = false;
        f->allocate_to = 0;
        f->starts_segment = segment_full(f);
        if (f->starts_segment && !log->opening) { /* F4 */
            want_mark(s);
            while (s->mark != MARK_DURABLE)
                TASK_PARK(t);
        }
        if (f->starts_segment)
            TASK_CALL(t, task_start(&f->sub, t->loop, segment_create_run, t));
        else if (s->segment_file.id < 0)
            TASK_CALL(t, task_start(&f->sub, t->loop, segment_open_run, t));
        else
            f->sub.status = 0;
        if (f->sub.status < 0)
            goto failed;
        f->started = loop_now_precise(log->loop);
        f->offset = f->starts_segment ? 0 : page_up(s->segment_end);
        f->crc = f->starts_segment ? 0 : s->segment_crc;
        if (!gather(f))
            break;
        if (f->direct && f->end_pos > s->journal_pos)
            want_mark(s);
        if (f->direct && f->offset + f->bytes > (f->starts_segment ? 0 : s->segment_allocated)) {
            TASK_AWAIT(t, flush_allocate(f));
            if (t->op.result < 0 && t->op.result != -EOPNOTSUPP) {
                f->sub.status = (int)t->op.result;
                goto failed;
            }
            if (!f->starts_segment)
                s->segment_allocated = f->allocate_to;
        }
        f->wrote = true;
        TASK_AWAIT(t, io_writev(t->loop, &t->op, f->starts_segment ? f->new_file : s->segment_file, f->iov,
                                f->iov_count, f->offset));
        if (t->op.result >= 0 && !log->options.skip_sync_canary) {
            log->stats.syncs++;
            TASK_AWAIT(t, io_datasync(t->loop, &t->op, f->starts_segment ? f->new_file : s->segment_file));
        }
        if (t->op.result < 0) {
            f->sub.status = (int)t->op.result;
            goto failed;
        }
        applied(f);
        s->flush_failed = false;
        while (s->segment_next > s->durable_next && s->mark != MARK_DURABLE)
            TASK_PARK(t);
        if (s->segment_next > s->durable_next) {
            shard_durable(s, s->segment_next, s->segment_last_arrival, true);
            shard_tell(s);
        }
    } while (flush_goes_on(f));
    TASK_EXIT(t, 0);
failed:
    flush_failed(f, f->sub.status);
    TASK_END(t, f->sub.status);
}
