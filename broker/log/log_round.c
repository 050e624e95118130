/*
 * Rounds: group commit to the journal. What arrived since the last round, of all shards, is written with one write and
 * one sync; then all of it is acknowledged and the next round takes what arrived meanwhile.
 *
 *          work, journal idle           in full                       ok
 *   idle ─────────────────────▶ writing ───────▶ syncing ──────────────────▶ told ──▶ idle
 *     │  round_build               │ error          │ error        round_complete
 *     │                            └────────┬───────┘
 *     │ no room                             ▼ round_failed: shards of the round fenced, their records dropped
 *     └──────▶ rolling ◀────────────────────┘
 *              journal_roll_start: a new file with a head; then the fence is lifted
 *
 * A round's write: a round frame (proofs of the round before, news about shards), then the shards' block frames. Small
 * blocks lie 64-aligned one after the other in the area, big ones are taken from where they were built.
 *
 * Invariants
 *   R1. At most one round, sync or roll is in flight.
 *   R2. Frames carry durable_to = journal->end as it was when the round was built.
 *   R3. In `interval` and `never` a round ends with its write; durable_next then means written, and synced_next follows
 *       with the next sync. If that fails, or a round before it does, the records between were acknowledged and lie only
 *       in a file that nothing more is written to: their shards are held (held_to) until they are safe in segments.
 * Thread: the loop's.
 */
#include "broker/log/log_internal.h"

#include "common/frame/crc32c.h"

#include <stdio.h>
#include <stdlib.h>

#define HEAD_BUF_BYTES (256u << 10)
#define ROUND_ENTRIES  2000u
#define RETRY_MS       200
static void round_written(struct io_op *op);
static void round_synced(struct io_op *op);

void round_frame_header(struct log *log, struct frame_header *h, uint8_t kind, uint64_t offset, uint64_t durable_to)
{
    *h = (struct frame_header){
        .kind = kind, .offset = offset, .open_epoch = log->epoch, .shard_epoch = 1, .durable_to = durable_to};
    memcpy(h->log_uid, log->uid, FRAME_UID_BYTES);
}

void shard_entry_fill(struct log_shard *s, struct log_entry *out)
{
    *out = (struct log_entry){
        .uid = s->uid,
        .shard_epoch = 1,
        .flags = (s->mark != MARK_NONE ? LOG_ENTRY_DIRECT : 0) |
                 (s->state == LOG_SHARD_QUARANTINED ? LOG_ENTRY_QUARANTINED : 0) |
                 (s->has_segment ? LOG_ENTRY_SEGMENT : 0) | (s->new_segment_wanted ? LOG_ENTRY_SEALED : 0),
        .not_before = s->not_before,
        .first_counter = s->first_counter,
        .segment_next = s->segment_next,
        .next = s->synced_next, /* an unsynced journal may lose the rest */
        .segment_base = s->segment_base,
        .segment_generation = s->segment_generation,
        .segment_end = s->segment_end,
        .segment_size = s->segment_size,
        .segment_crc = s->segment_crc,
        .last_arrival = s->durable_arrival,
        .disk_bytes = s->disk_bytes,
    };
}

void shard_changed(struct log_shard *s)
{
    if (!list_linked(&s->changed_link))
        list_push_back(&s->log->changed, &s->changed_link);
}

void round_want_entry(struct log_shard *s)
{
    if (!list_linked(&s->news_link))
        list_push_back(&s->log->news, &s->news_link);
    round_kick(s->log);
}

static void kick_deferred(struct io_defer *d)
{
    round_kick_now(CONTAINER_OF(d, struct log, kick));
}

void round_kick(struct log *log)
{
    loop_defer(log->loop, &log->kick);
}

/* ---- the calm --------------------------------------------------------------------------------------------------- */

static void mark_fired(struct io_timer *t)
{
    struct log *log = CONTAINER_OF(t, struct log, mark_timer);
    log->mark_due = true;
    round_kick(log);
}

void mark_later(struct log *log)
{
    if (!log->opening)
        timer_arm(log->loop, &log->mark_timer, mono_add_ms(loop_now(log->loop), log->options.mark_after_ms));
}

static void sync_fired(struct io_timer *t)
{
    struct log *log = CONTAINER_OF(t, struct log, sync_timer);
    if (!log->unsynced || !log->journal)
        return;
    if (log->round.busy) { /* right after it */
        timer_arm(log->loop, &log->sync_timer, mono_add_ms(loop_now(log->loop), 1));
        return;
    }
    log->round.busy = true;
    log->round.only_sync = true;
    log->round.op.done = round_synced;
    log->stats.syncs++;
    io_datasync(log->loop, &log->round.op, log->journal->file);
}

static void retry_fired(struct io_timer *t)
{
    struct log *log = CONTAINER_OF(t, struct log, retry_timer);
    LIST_FOREACH (it, &log->unmigrated)
        flush_start(CONTAINER_OF(it, struct log_shard, unmigrated_link), false);
    round_kick(log);
}

void log_retry_later(struct log *log)
{
    if (!timer_armed(&log->retry_timer))
        timer_arm(log->loop, &log->retry_timer, mono_add_ms(loop_now(log->loop), RETRY_MS));
}

int round_init(struct log *log)
{
    log->round.head = io_buffer_alloc(HEAD_BUF_BYTES);
    log->proofs = calloc(ROUND_SHARDS_MAX, sizeof *log->proofs);
    if (!log->round.head || !log->proofs)
        return -ENOMEM;
    list_init(&log->round.shards);
    list_init(&log->round.marks);
    log->kick.run = kick_deferred;
    log->mark_timer.fired = mark_fired;
    log->sync_timer.fired = sync_fired;
    log->retry_timer.fired = retry_fired;
    return 0;
}

void round_deinit(struct log *log)
{
    io_buffer_free(log->round.head);
    free(log->proofs);
    log->round.head = NULL;
    log->proofs = NULL;
}

/* ---- choosing --------------------------------------------------------------------------------------------------- */

bool flush_wanted(const struct log_shard *s)
{
    return s->pending_bytes >= s->log->options.direct_bytes && s->state == LOG_SHARD_OK;
}

/* Shards with much pending go straight to their segments. */
static void dispatch_direct(struct log *log)
{
    LIST_FOREACH_SAFE (it, &log->dirty) {
        struct log_shard *s = CONTAINER_OF(it, struct log_shard, dirty_link);
        if (flush_wanted(s) && s->journal_sent == s->journal_pos && !s->flush)
            flush_start(s, true);
    }
}

/* Of a shard that a direct flush has, or will have, a round takes nothing. */
static bool round_takes(const struct log_shard *s)
{
    return !(s->flush && s->flush->direct) && !flush_wanted(s) && s->state == LOG_SHARD_OK && !s->held_to &&
           (s->fragments || s->journal_sent < s->ring_tail);
}

static bool round_has_work(struct log *log)
{
    if (!list_empty(&log->news))
        return true;
    LIST_FOREACH (it, &log->dirty)
        if (round_takes(CONTAINER_OF(it, struct log_shard, dirty_link)))
            return true;
    if (log->final_done)
        return false;
    if (log->final_wanted)
        return !round_held(log);
    return log->mark_due && (log->proof_count || !list_empty(&log->changed) || log->unsynced);
}

bool round_held(const struct log *log)
{
    LIST_FOREACH (it, &log->held) {
        const struct log_shard *s = CONTAINER_OF(it, struct log_shard, held_link);
        if (s->state != LOG_SHARD_QUARANTINED && !s->removing)
            return true;
    }
    return false;
}

struct plan { /* what a round will hold */
    uint32_t shards, iov, entries;
    size_t head_bytes, area_bytes, big_bytes;
    bool area; /* fragments are gathered */
};

/* How much of one shard fits into the round; s->take_entries and s->take_fragments say it. False: nothing does. */
static bool plan_shard(struct log *log, struct plan *p, struct log_shard *s, bool fragments_too)
{
    size_t bytes = p->area_bytes + p->big_bytes;
    s->take_entries = 0;
    s->take_fragments = false;
    for (uint64_t pos = s->journal_sent; pos < s->ring_tail; pos++) {
        size_t space = page_up(entry_space(shard_entry(s, pos)));
        if (p->iov + 4 > ROUND_IOV_MAX || (bytes && bytes + space + PAGE > log->round_bytes_max))
            return s->take_entries > 0;
        s->take_entries++;
        p->iov += 2;
        p->area_bytes += PAGE;
        p->big_bytes += space;
        bytes += space + PAGE;
    }
    size_t small = s->fragments && fragments_too ? frame_space(BLOCK_HEADER_BYTES + s->fragment_bytes) : 0;
    if (small && (!bytes || bytes + small <= log->round_bytes_max)) {
        s->take_fragments = p->area = true;
        p->area_bytes += small;
    }
    return s->take_entries > 0 || s->take_fragments;
}

/* Walks the dirty shards and decides how many fit. */
static struct plan round_plan(struct log *log, bool fragments_too)
{
    struct plan p = {.iov = 2};
    LIST_FOREACH (it, &log->news)
        p.entries += p.entries < ROUND_ENTRIES;
    if (log->round.mark)
        LIST_FOREACH (it, &log->changed)
            p.entries += p.entries < ROUND_ENTRIES;
    p.head_bytes = frame_space(LOG_ROUND_BYTES + log->proof_count * LOG_PROOF_BYTES + p.entries * LOG_ENTRY_BYTES);
    LIST_FOREACH (it, &log->dirty) {
        struct log_shard *s = CONTAINER_OF(it, struct log_shard, dirty_link);
        s->take_entries = 0;
        s->take_fragments = false;
        if (p.shards < ROUND_SHARDS_MAX && round_takes(s) && plan_shard(log, &p, s, fragments_too))
            p.shards++;
    }
    return p;
}

/* ---- building --------------------------------------------------------------------------------------------------- */

static void push_iov(struct round *r, uint8_t *at, size_t len)
{
    struct iovec *last = r->iov_count ? &r->iov[r->iov_count - 1] : NULL;
    if (last && (uint8_t *)last->iov_base + last->iov_len == at)
        last->iov_len += len;
    else
        r->iov[r->iov_count++] = (struct iovec){at, len};
    CHECK(r->iov_count <= ROUND_IOV_MAX);
}

/* Ends the stretch of the area that is being filled at a page boundary and hands it to the write. */
static void area_flush(struct round *r)
{
    uint64_t end = page_up(r->area_used);
    memset(r->area + r->area_used, 0, end - r->area_used);
    if (end > r->area_flushed)
        push_iov(r, r->area + r->area_flushed, end - r->area_flushed);
    r->bytes += end - r->area_used;
    r->area_used = r->area_flushed = end;
    CHECK(end <= r->area_cap);
}

static void entry_to_journal(struct log *log, struct block_entry *e)
{
    struct round *r = &log->round;
    struct frame_header h;
    round_frame_header(log, &h, LOG_KIND_BLOCK, r->offset + r->bytes, log->journal->end);
    h.generation = log->journal->generation;
    h.shard_uid = e->shard->uid;
    h.stored_bytes = e->stored_bytes;
    h.previous_crc = r->crc;
    h.body_crc = e->body_crc;
    r->crc = frame_header_write(e->frame, &h);
    r->end = h.offset + entry_space(e);
    r->block_bytes += entry_space(e);
    r->records += e->record_count;
    e->shard->pending_bytes -= entry_space(e);
}

static void shard_to_journal(struct log *log, struct log_shard *s)
{
    struct round *r = &log->round;
    for (; s->take_entries; s->take_entries--) {
        struct block_entry *e = shard_entry(s, s->journal_sent++);
        area_flush(r);
        entry_to_journal(log, e);
        push_iov(r, e->frame, page_up(entry_space(e)));
        r->bytes += page_up(entry_space(e));
    }
    if (s->take_fragments) {
        stage_gather(s, r->area_chunk, r->area + r->area_used, true);
        struct block_entry *e = shard_entry(s, s->journal_sent++);
        entry_to_journal(log, e);
        r->area_used += entry_space(e);
        r->bytes += entry_space(e);
    }
    list_push_back(&r->shards, &s->round_link);
}

/* The shard's entry of now goes into a checkpoint that is being built. */
void round_takes_entry(struct log_shard *s)
{
    list_remove(&s->news_link);
    list_remove(&s->changed_link);
    list_push_back(&s->log->round.marks, &s->marks_link);
    if (s->mark == MARK_WANTED)
        s->mark = MARK_SENT;
    if (s->entry_state == MARK_WANTED)
        s->entry_state = MARK_SENT;
    s->sent_pos = s->segment_pos;
    s->sent_next = s->segment_next;
}

/* The round frame: at the start of the area, or of the round's own buffer. */
static void put_round_head(struct log *log, const struct plan *p)
{
    struct round *r = &log->round;
    uint8_t *frame = r->area + r->area_used, *body = frame + FRAME_HEADER_BYTES, *to = body + LOG_ROUND_BYTES;
    struct log_round_head head = {.round = log->round_number,
                                  .oldest_generation = log->oldest_generation,
                                  .proofs = log->proof_count,
                                  .flags = r->final ? LOG_ROUND_CLEAN : 0};
    for (uint32_t i = 0; i < log->proof_count; i++, to += LOG_PROOF_BYTES)
        log_proof_write(to, log->proofs[i]);
    while (head.entries < p->entries) {
        struct log_shard *s;
        if (!list_empty(&log->news)) {
            s = CONTAINER_OF(log->news.next, struct log_shard, news_link);
        } else if (r->mark && !list_empty(&log->changed)) {
            s = CONTAINER_OF(log->changed.next, struct log_shard, changed_link);
            if (!s->flush && !s->stray && s->mark == MARK_DURABLE)
                s->mark = MARK_NONE;
        } else {
            break;
        }
        round_takes_entry(s);
        struct log_entry e;
        shard_entry_fill(s, &e);
        log_entry_write(to, &e);
        to += LOG_ENTRY_BYTES;
        head.entries++;
    }
    log_round_head_write(body, &head);
    struct frame_header h;
    round_frame_header(log, &h, LOG_KIND_ROUND, r->offset, log->journal->end);
    h.generation = log->journal->generation;
    h.stored_bytes = (uint32_t)(to - body);
    h.previous_crc = r->crc;
    h.body_crc = crc32c(0, body, h.stored_bytes);
    uint64_t space = frame_space(h.stored_bytes);
    memset(to, 0, space - FRAME_HEADER_BYTES - h.stored_bytes);
    r->crc = frame_header_write(frame, &h);
    r->end = r->offset + space;
    r->area_used += space;
    r->bytes = space;
}

static bool take_area(struct log *log, struct plan *p)
{
    struct round *r = &log->round;
    r->area_chunk = NULL;
    r->area_used = r->area_flushed = 0;
    size_t bytes = page_up(p->head_bytes + p->area_bytes) + PAGE;
    if (p->area && cache_take(log, bytes, &r->area_chunk, &r->area) == 0) {
        r->area_cap = bytes;
        return true;
    }
    if (p->area)
        *p = round_plan(log, false);
    r->area = r->head;
    r->area_cap = HEAD_BUF_BYTES;
    return p->shards || p->entries || r->mark;
}

/* Once no fragment is left anywhere, the stage starts over. */
static void empty_stage(struct log *log)
{
    bool left = false;
    LIST_FOREACH (it, &log->dirty)
        left |= stage_gather_own(CONTAINER_OF(it, struct log_shard, dirty_link)) < 0;
    if (!left)
        log->stage_used = 0;
}

static void collect_shards(struct log *log)
{
    LIST_FOREACH_SAFE (it, &log->dirty) {
        struct log_shard *s = CONTAINER_OF(it, struct log_shard, dirty_link);
        if (!s->take_entries && !s->take_fragments)
            continue;
        shard_to_journal(log, s);
        s->take_fragments = false;
        if (!s->fragments && s->journal_sent == s->ring_tail)
            list_remove(&s->dirty_link);
    }
}

static void round_build(struct log *log)
{
    struct round *r = &log->round;
    r->mark = log->mark_due || log->final_wanted;
    r->final = false;
    struct plan p = round_plan(log, true);
    size_t most = page_up(p.head_bytes + p.area_bytes) + 2 * PAGE + p.big_bytes;
    if (log->journal_failed || log->journal_at + most > log->journal->size) {
        if (!timer_armed(&log->retry_timer))
            journal_roll_start(log);
        return;
    }
    if (journal_zero_conflict(log, log->journal_at, most))
        return; /* the zeroer kicks when its step is done */
    r->iov_count = 0;
    r->block_bytes = r->records = 0;
    r->offset = log->journal_at;
    r->crc = log->journal_crc;
    if (!take_area(log, &p)) {
        journal_fail_stuck(log);
        return;
    }
    r->final = log->final_wanted && list_empty(&log->dirty) && p.entries < ROUND_ENTRIES && !round_held(log);
    r->started = loop_now_precise(log->loop);
    r->busy = true;
    put_round_head(log, &p);
    collect_shards(log);
    empty_stage(log);
    area_flush(r);
    r->sync = log->options.sync == LOG_SYNC_BATCH || r->mark || p.entries > 0;
    log->mark_due = false;
    r->op.done = round_written;
    io_writev(log->loop, &r->op, log->journal->file, r->iov, r->iov_count, r->offset);
}

void round_kick_now(struct log *log)
{
    if (log->opening)
        return;
    dispatch_direct(log);
    if (!log->round.busy && log->journal && round_has_work(log))
        round_build(log);
    journal_prepare(log);
    log_close_step(log);
}

/* ---- completing ------------------------------------------------------------------------------------------------- */

void shard_durable(struct log_shard *s, uint64_t next, struct wall_ms arrival, bool synced)
{
    if (next > s->durable_next) {
        s->durable_next = next;
        s->durable_arrival = arrival;
    }
    if (synced && next > s->synced_next)
        s->synced_next = next;
}

/* Appends that are durable now are told, and readers woken; callbacks may append. */
void shard_tell(struct log_shard *s)
{
    append_complete(s);
    watch_check(s);
}

static void round_release(struct log *log)
{
    struct round *r = &log->round;
    if (r->area_chunk)
        cache_unpin(log, r->area_chunk);
    r->area_chunk = NULL;
    r->busy = r->only_sync = false;
}

/* The shard's frames of this round are in the journal now. */
static void shard_journaled(struct log *log, struct log_shard *s, bool synced)
{
    struct block_entry *last = NULL;
    for (; s->journal_pos < s->journal_sent; s->journal_pos++) {
        last = shard_entry(s, s->journal_pos);
        last->journal = log->journal;
        log->journal->entries++;
    }
    shard_durable(s, entry_end(last), last->arrival, synced);
    if (!synced && !list_linked(&s->unsynced_link))
        list_push_back(&log->unsynced_shards, &s->unsynced_link);
    shard_changed(s);
    if (!list_linked(&s->unmigrated_link))
        list_push_back(&log->unmigrated, &s->unmigrated_link);
    log->proofs[log->proof_count++] = (struct log_proof){s->uid, s->durable_next};
}

/* An entry of the shard is durable: what it says of the segments stands. */
static void shard_checkpointed(struct log_shard *s)
{
    if (s->held_to && s->sent_pos >= s->held_to) {
        s->held_to = 0;
        list_remove(&s->held_link);
        round_kick(s->log);
    }
    if (s->sent_next > s->synced_next) {
        s->synced_next = s->sent_next;
        watch_check(s);
    }
}

static void lift_fence(struct log_shard *s)
{
    s->reopening = false;
    if (s->state == LOG_SHARD_FENCED && !s->fenced_by_journal) {
        s->state = LOG_SHARD_OK;
        s->trouble[0] = 0;
    }
}

/* The checkpoint that holds round.marks is durable, or has failed. */
void round_marks_end(struct log *log, bool durable)
{
    for (struct list *n; (n = list_pop_front(&log->round.marks));) {
        struct log_shard *s = CONTAINER_OF(n, struct log_shard, marks_link);
        bool mark = s->mark == MARK_SENT, entry = s->entry_state == MARK_SENT;
        if (mark)
            s->mark = durable ? MARK_DURABLE : MARK_WANTED;
        if (entry)
            s->entry_state = durable ? MARK_NONE : MARK_WANTED;
        if (!durable) {
            shard_changed(s);
            if (mark || entry || (s->held_to && s->segment_pos >= s->held_to))
                round_want_entry(s);
            continue;
        }
        shard_checkpointed(s);
        if (mark)
            flush_mark_durable(s);
        if (entry && s->reopening)
            lift_fence(s);
        if (entry && s->entry_waiter)
            task_wake(s->entry_waiter);
    }
}

static void round_complete(struct log *log, bool synced)
{
    struct round *r = &log->round;
    struct list told;
    list_init(&told);
    log->journal_at = r->offset + r->bytes;
    log->journal_crc = r->crc;
    log->journal->written = r->end;
    log->round_number++;
    log->proof_count = 0;
    if (synced)
        round_all_synced(log);
    log->unsynced = !synced;
    for (struct list *n; (n = list_pop_front(&r->shards));) {
        shard_journaled(log, CONTAINER_OF(n, struct log_shard, round_link), synced);
        list_push_back(&told, n);
    }
    if (r->records) {
        log->stats.commits++;
        log->stats.commit_bytes += r->block_bytes;
        histogram_record(&log->commit_us, (uint64_t)mono_diff_ns(loop_now_precise(log->loop), r->started) / 1000);
        histogram_record(&log->commit_sizes, r->block_bytes);
        mark_later(log);
    } else if (r->mark) {
        log->stats.marks++;
    }
    log->stats.append_bytes += r->block_bytes;
    bool final = r->final;
    round_release(log);
    round_marks_end(log, true);
    for (struct list *n; (n = list_pop_front(&told));)
        shard_tell(CONTAINER_OF(n, struct log_shard, round_link));
    if (!synced && log->options.sync == LOG_SYNC_INTERVAL && !timer_armed(&log->sync_timer))
        timer_arm(log->loop, &log->sync_timer, mono_add_ms(loop_now(log->loop), log->options.sync_interval_ms));
    if (final)
        log->final_done = true;
    sweep_arm(log);
    round_kick(log);
}

/* The journal cannot be trusted behind its synced end: the log goes on in a new file. */
static void round_failed(struct log *log, int status)
{
    struct round *r = &log->round;
    log->journal_failed = true;
    log->stats.failed_syncs++;
    log->journal->failed = true;
    round_marks_end(log, false);
    for (struct list *n; (n = list_pop_front(&r->shards));) {
        struct log_shard *s = CONTAINER_OF(n, struct log_shard, round_link);
        shard_fence(s, status, "the commit journal");
        append_fail(s, status);
        s->fenced_by_journal = true;
        watch_wake_all(s);
    }
    round_hold_unsynced(log);
    round_release(log);
    journal_roll_start(log);
}

static void round_written(struct io_op *op)
{
    struct log *log = CONTAINER_OF(op, struct log, round.op);
    if (op->result < 0) {
        round_failed(log, (int)op->result);
        return;
    }
    if (!log->round.sync || log->options.skip_sync_canary) {
        round_complete(log, log->round.sync);
        return;
    }
    op->done = round_synced;
    log->stats.syncs++;
    io_datasync(log->loop, op, log->journal->file);
}

/* Everything that was written to the journal is synced now (rounds and syncs are one at a time). */
void round_all_synced(struct log *log)
{
    log->journal->end = log->journal->written;
    log->unsynced = false;
    for (struct list *n; (n = list_pop_front(&log->unsynced_shards));) {
        struct log_shard *s = CONTAINER_OF(n, struct log_shard, unsynced_link);
        s->synced_next = s->durable_next;
        watch_check(s);
    }
}

void round_hold_unsynced(struct log *log)
{
    log->unsynced = false;
    for (struct list *n; (n = list_pop_front(&log->unsynced_shards));) {
        struct log_shard *s = CONTAINER_OF(n, struct log_shard, unsynced_link);
        if (s->segment_pos == s->journal_pos)
            continue; /* all is in segments, and the new journal's head will say so */
        s->held_to = s->journal_pos;
        if (!list_linked(&s->held_link))
            list_push_back(&log->held, &s->held_link);
        flush_start(s, false);
    }
}

static void interval_synced(struct log *log)
{
    round_all_synced(log);
    round_release(log);
    round_kick(log);
}

static void round_synced(struct io_op *op)
{
    struct log *log = CONTAINER_OF(op, struct log, round.op);
    if (op->result < 0)
        round_failed(log, (int)op->result);
    else if (log->round.only_sync)
        interval_synced(log);
    else
        round_complete(log, true);
}

/* ---- lost trust ------------------------------------------------------------------------------------------------- */

void shard_fence(struct log_shard *s, int status, const char *what)
{
    if (s->state == LOG_SHARD_QUARANTINED)
        return;
    s->state = LOG_SHARD_FENCED;
    snprintf(s->trouble, sizeof s->trouble, "a write or sync of %s failed: %s", what, status_text(status));
}

void shard_quarantine(struct log_shard *s, const char *file, uint64_t offset, const char *cause)
{
    if (s->state == LOG_SHARD_QUARANTINED)
        return;
    s->state = LOG_SHARD_QUARANTINED;
    s->log->stats.quarantined_shards++;
    snprintf(s->trouble, sizeof s->trouble, "%s: byte %llu: %s", file, (unsigned long long)offset, cause);
    shard_changed(s);
}
