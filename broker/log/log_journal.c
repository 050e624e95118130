/*
 * The loop's commit journal: files of a fixed size that are written from the front, rolled when full, and used again
 * once everything in them lies in segments.
 *
 *              journal_roll: head written and synced             rolled              no entries left, and a later
 *   spare ───────────────────────────────────────────▶ current ─────────▶ live ─────────────────────────────────▶ spare
 *     ▲ created, allocated, folder synced, zeroed in steps           (migrating)      head that does not list it
 *
 * The head of a new file holds everything about the loop's shards, twice, and lists the older files that are still
 * needed with their ends: nothing beyond such an end counts (a round that failed may have left frames there).
 *
 * Invariants
 *   J1. A file is written only after its name is durable (folder synced).
 *   J2. A file is used again only once a durable head does not list it.
 *   J3. Zeros are never written where a round is writing, or below journal_at (journal_zero_conflict).
 *   J4. A failed write or sync ends a file: it is rolled, and listed with the end that was synced; in the modes that
 *       acknowledge before a sync with the end of what was acknowledged, marked soft: damage before it is no corruption.
 *
 * Failure: no space for a new file, or JOURNALS_MAX full ones that cannot be emptied, fails the appends that wait for
 * it (-ENOSPC), and it is tried again in 200 ms.
 * Thread: the loop's.
 */
#include "broker/log/log_internal.h"

#include "common/frame/crc32c.h"

#include <stdio.h>
#include <stdlib.h>

#define ZERO_STEP  (1u << 20)
#define ZERO_AHEAD (8u << 20)
#define SPARES_MAX 2u

struct journal_roll {
    struct task task;
    struct log *log;
    struct journal_file *file;
    uint8_t *head;
    size_t head_bytes;
    uint64_t end, oldest;
    uint32_t crc;
    int status;
    struct journal_spare *maker;
};

struct journal_spare { /* makes a file ready: created, allocated, its name durable */
    struct task task;
    struct log *log;
    struct journal_file *file;
    int status;
    char path[LOG_PATH_MAX];
};

struct journal_zero {
    struct io_op op;
    struct log *log;
    struct journal_file *file; /* NULL: idle */
    uint64_t from, to;
    bool syncing;
    uint8_t *zeros;
};

void journal_release(struct log *log, struct block_entry *e)
{
    if (!e->journal)
        return;
    CHECK(e->journal->entries > 0);
    e->journal->entries--;
    e->journal = NULL;
}

static struct journal_file *file_new(struct log *log)
{
    struct journal_file *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->sequence = ++log->journal_sequence;
    f->size = log->options.journal_bytes;
    f->file = IO_FILE_NONE;
    return f;
}

static void file_free(struct log *log, struct journal_file *f)
{
    if (!f)
        return;
    list_remove(&f->link);
    segment_close(log, &f->file);
    free(f);
}

/* ---- making a file ready ---------------------------------------------------------------------------------------- */

static void spare_run(struct task *t)
{
    struct journal_spare *m = CONTAINER_OF(t, struct journal_spare, task);
    struct journal_file *f = m->file;
    TASK_BEGIN(t);
    log_path_journal(m->path, m->log->dir, m->log->index, f->sequence);
    TASK_AWAIT(t, io_open(t->loop, &t->op, m->path, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNC | IO_DIRECT));
    m->status = t->op.result < 0 ? (int)t->op.result : 0;
    if (m->status < 0)
        TASK_EXIT(t, m->status);
    f->file = (struct io_file){(int)t->op.result};
    TASK_AWAIT(t, io_allocate(t->loop, &t->op, f->file, 0, f->size));
    /* a full disk must not keep the log from opening: the head alone may still fit */
    if (t->op.result < 0 && t->op.result != -EOPNOTSUPP && !(t->op.result == -ENOSPC && m->log->opening))
        m->status = (int)t->op.result;
    if (m->status == 0) {
        log_path_journal_dir(m->path, m->log->dir, m->log->index);
        TASK_AWAIT(t, io_sync_dir(t->loop, &t->op, m->path));
        m->status = t->op.result < 0 ? (int)t->op.result : 0;
    }
    if (m->status < 0) {
        log_path_journal(m->path, m->log->dir, m->log->index, f->sequence);
        TASK_AWAIT(t, io_unlink(t->loop, &t->op, m->path));
    }
    TASK_END(t, m->status);
}

static void spare_made(struct task *t)
{
    struct journal_spare *m = CONTAINER_OF(t, struct journal_spare, task);
    struct log *log = m->log;
    if (m->status < 0)
        file_free(log, m->file);
    else
        list_push_back(&log->spares, &m->file->link);
    log->spare_maker = NULL;
    if (m->status < 0)
        log_retry_later(log);
    free(m);
    log_task_ended(log);
}

static struct journal_spare *spare_new(struct log *log)
{
    struct journal_spare *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->log = log;
    m->file = file_new(log);
    if (!m->file) {
        free(m);
        return NULL;
    }
    return m;
}

static void spare_start(struct log *log)
{
    struct journal_spare *m = spare_new(log);
    if (!m)
        return;
    log->spare_maker = m;
    m->task.finished = spare_made;
    log_task_started(log);
    task_start(&m->task, log->loop, spare_run, NULL);
}

/* ---- zeros ahead ------------------------------------------------------------------------------------------------ */

static void zero_done(struct io_op *op)
{
    struct journal_zero *z = CONTAINER_OF(op, struct journal_zero, op);
    struct log *log = z->log;
    struct journal_file *f = z->file;
    if (op->result >= 0 && !z->syncing) {
        f->zeroed_to = z->to;
        if (f->zeroed_to >= f->size && f != log->journal) {
            z->syncing = true; /* the file system turns the space into written space now, not at the first commit */
            io_datasync(log->loop, op, f->file);
            return;
        }
    } else if (op->result < 0) {
        f->zeroed_to = f->size; /* zeros only make it faster: a failing disk shows in the writes that count */
    }
    z->file = NULL;
    z->syncing = false;
    log_task_ended(log);
    round_kick(log);
}

static void zero_step(struct log *log, struct journal_file *f, uint64_t from)
{
    struct journal_zero *z = log->zeroer;
    z->file = f;
    z->from = from;
    z->to = from + ZERO_STEP < f->size ? from + ZERO_STEP : f->size;
    z->op.done = zero_done;
    log_task_started(log);
    io_write(log->loop, &z->op, f->file, z->zeros, z->to - z->from, z->from);
}

static void zero_next(struct log *log)
{
    struct journal_file *f = log->journal;
    if (f->zeroed_to < log->journal_at)
        f->zeroed_to = log->journal_at;
    /* behind what the round in flight and the next one are likely to write */
    uint64_t margin = log->journal_at + (log->round.busy ? 2 * log->round_bytes_max : log->round_bytes_max / 4);
    if (f->zeroed_to < f->size && f->zeroed_to < log->journal_at + ZERO_AHEAD) {
        uint64_t from = f->zeroed_to > margin ? f->zeroed_to : margin;
        if (from < f->size)
            zero_step(log, f, from);
        return;
    }
    LIST_FOREACH (it, &log->spares) {
        f = CONTAINER_OF(it, struct journal_file, link);
        if (f->zeroed_to < f->size) {
            zero_step(log, f, f->zeroed_to);
            return;
        }
    }
}

bool journal_zero_conflict(struct log *log, uint64_t offset, uint64_t bytes)
{
    struct journal_zero *z = log->zeroer;
    return z && z->file == log->journal && !z->syncing && offset < z->to && offset + bytes > z->from;
}

void journal_prepare(struct log *log)
{
    if (log->closing || !log->journal || log->journal_failed)
        return;
    if (!log->zeroer) {
        log->zeroer = calloc(1, sizeof *log->zeroer);
        uint8_t *zeros = log->zeroer ? io_buffer_alloc(ZERO_STEP) : NULL;
        if (!zeros) {
            free(log->zeroer);
            log->zeroer = NULL;
            return;
        }
        memset(zeros, 0, ZERO_STEP);
        log->zeroer->zeros = zeros;
        log->zeroer->log = log;
    }
    if (!log->spare_maker && list_empty(&log->spares) && !timer_armed(&log->retry_timer) &&
        log->journal_at > log->journal->size / 4)
        spare_start(log);
    if (!log->zeroer->file)
        zero_next(log);
}

/* ---- rolling ---------------------------------------------------------------------------------------------------- */

/* Everything but shards of which nothing is known that a fresh one would not have. */
static bool has_entry(const struct log_shard *s)
{
    return (s->durable_next > 0 || s->has_segment || s->mark != MARK_NONE || s->entry_state != MARK_NONE ||
            s->state == LOG_SHARD_QUARANTINED) &&
           !s->removing && !s->deleting;
}

static uint32_t count_shards(struct log *log)
{
    uint32_t n = 0;
    LIST_FOREACH (it, &log->shards) {
        struct log_shard *s = CONTAINER_OF(it, struct log_shard, link);
        n += has_entry(s);
    }
    return n;
}

static uint8_t *put_entries(struct log *log, uint8_t *to)
{
    LIST_FOREACH (it, &log->shards) {
        struct log_shard *s = CONTAINER_OF(it, struct log_shard, link);
        if (has_entry(s)) {
            struct log_entry e;
            shard_entry_fill(s, &e);
            log_entry_write(to, &e);
            to += LOG_ENTRY_BYTES;
        }
    }
    return to;
}

static uint64_t listed_end(const struct journal_file *f)
{
    return f->written > f->end ? f->written | LOG_END_SOFT : f->end;
}

uint8_t *journal_head_build(struct log *log, uint64_t generation, size_t *out_bytes, uint64_t *out_end,
                            uint32_t *out_crc)
{
    struct log_head head = {.round = log->round_number,
                            .loop_index = log->index,
                            .loop_count = log->count,
                            .sync = log->options.sync,
                            .entries = count_shards(log)};
    LIST_FOREACH (it, &log->journals)
        head.journals += CONTAINER_OF(it, struct journal_file, link)->entries > 0;
    size_t body = LOG_HEAD_BYTES + (size_t)head.journals * LOG_PROOF_BYTES + (size_t)head.entries * LOG_ENTRY_BYTES;
    uint64_t space = frame_space((uint32_t)body);
    *out_bytes = page_up(2 * space);
    uint8_t *buf = io_buffer_alloc(*out_bytes);
    if (!buf)
        return NULL;
    memset(buf, 0, *out_bytes);
    *out_crc = 0;
    for (head.copy = 0; head.copy < 2; head.copy++) {
        uint8_t *frame = buf + head.copy * space, *to = frame + FRAME_HEADER_BYTES;
        log_head_write(to, &head);
        to += LOG_HEAD_BYTES;
        LIST_FOREACH (it, &log->journals) {
            struct journal_file *f = CONTAINER_OF(it, struct journal_file, link);
            if (f->entries > 0) {
                log_proof_write(to, (struct log_proof){f->generation, listed_end(f)});
                to += LOG_PROOF_BYTES;
            }
        }
        put_entries(log, to);
        struct frame_header h;
        round_frame_header(log, &h, LOG_KIND_HEAD, head.copy * space, 0);
        h.generation = generation;
        h.stored_bytes = (uint32_t)body;
        h.previous_crc = *out_crc;
        h.body_crc = crc32c(0, frame + FRAME_HEADER_BYTES, body);
        *out_crc = frame_header_write(frame, &h);
    }
    *out_end = 2 * space;
    return buf;
}

uint64_t journal_oldest_needed(struct log *log)
{
    LIST_FOREACH (it, &log->journals) {
        struct journal_file *f = CONTAINER_OF(it, struct journal_file, link);
        if (f->entries > 0)
            return f->generation;
    }
    return UINT64_MAX;
}

static void unlink_file(struct log *log, struct journal_file *f);

/* Files that the durable head does not list are free. */
void journal_recycle(struct log *log, uint64_t oldest_generation)
{
    uint32_t spares = 0;
    LIST_FOREACH (it, &log->spares)
        spares++;
    LIST_FOREACH_SAFE (it, &log->journals) {
        struct journal_file *f = CONTAINER_OF(it, struct journal_file, link);
        if (f == log->journal || f->entries > 0)
            continue;
        list_remove(&f->link);
        if (spares < SPARES_MAX && !f->failed && !log->closing) {
            list_push_back(&log->spares, &f->link);
            spares++;
        } else {
            unlink_file(log, f);
        }
    }
    log->oldest_generation = oldest_generation;
}

struct journal_unlink {
    struct task task;
    struct log *log;
    char path[LOG_PATH_MAX];
};

static void unlink_run(struct task *t)
{
    struct journal_unlink *u = CONTAINER_OF(t, struct journal_unlink, task);
    TASK_BEGIN(t);
    TASK_AWAIT(t, io_unlink(t->loop, &t->op, u->path));
    TASK_END(t, 0);
}

static void unlink_finished(struct task *t)
{
    struct journal_unlink *u = CONTAINER_OF(t, struct journal_unlink, task);
    struct log *log = u->log;
    free(u);
    log_task_ended(log);
}

static void unlink_file(struct log *log, struct journal_file *f)
{
    struct journal_unlink *u = calloc(1, sizeof *u);
    if (u) {
        u->log = log;
        u->task.finished = unlink_finished;
        log_path_journal(u->path, log->dir, log->index, f->sequence);
        log_task_started(log);
        task_start(&u->task, log->loop, unlink_run, NULL);
    }
    file_free(log, f);
}

/* Everything that waits for its entry is in the head. */
static void head_takes_news(struct log *log)
{
    while (!list_empty(&log->news))
        round_takes_entry(CONTAINER_OF(log->news.next, struct log_shard, news_link));
    while (!list_empty(&log->changed))
        round_takes_entry(CONTAINER_OF(log->changed.next, struct log_shard, changed_link));
}

static void lift_fences(struct log *log)
{
    LIST_FOREACH (it, &log->shards) {
        struct log_shard *s = CONTAINER_OF(it, struct log_shard, link);
        if (!s->fenced_by_journal)
            continue;
        s->fenced_by_journal = false;
        if (s->state == LOG_SHARD_FENCED && !s->reopening) {
            s->state = LOG_SHARD_OK;
            s->trouble[0] = 0;
        }
    }
}

static struct journal_file *spare_pop(struct log *log)
{
    LIST_FOREACH (it, &log->spares) {
        struct journal_file *f = CONTAINER_OF(it, struct journal_file, link);
        if (!log->zeroer || log->zeroer->file != f) {
            list_remove(it);
            return f;
        }
    }
    return NULL;
}

static uint32_t count_needed(struct log *log)
{
    uint32_t n = 0;
    LIST_FOREACH (it, &log->journals)
        n += CONTAINER_OF(it, struct journal_file, link)->entries > 0;
    return n;
}

static void roll_run(struct task *t)
{
    struct journal_roll *r = CONTAINER_OF(t, struct journal_roll, task);
    struct log *log = r->log;
    TASK_BEGIN(t);
    if (log->journal && log->unsynced && !log->journal_failed) { /* interval, never: fixes its end */
        TASK_AWAIT(t, io_datasync(t->loop, &t->op, log->journal->file));
        log->stats.syncs++;
        if (t->op.result < 0) {
            log->stats.failed_syncs++;
            log->journal->failed = true;
            round_hold_unsynced(log);
        } else {
            round_all_synced(log);
        }
    }
    r->file = spare_pop(log);
    if (!r->file) {
        struct journal_spare *m = spare_new(log);
        if (!m)
            TASK_EXIT(t, -ENOMEM);
        r->maker = m;
        TASK_CALL(t, task_start(&r->maker->task, t->loop, spare_run, t));
        r->file = r->maker->file;
        r->status = r->maker->status;
        free(r->maker);
        if (r->status < 0)
            TASK_EXIT(t, r->status);
    }
    r->file->generation = log_generation_next(log);
    r->oldest = journal_oldest_needed(log);
    r->head = journal_head_build(log, r->file->generation, &r->head_bytes, &r->end, &r->crc);
    if (!r->head)
        TASK_EXIT(t, -ENOMEM);
    if (r->file->size < 4 * r->head_bytes)
        r->file->size = 4 * r->head_bytes;
    head_takes_news(log);
    TASK_AWAIT(t, io_write(t->loop, &t->op, r->file->file, r->head, r->head_bytes, 0));
    if (t->op.result >= 0)
        TASK_AWAIT(t, io_datasync(t->loop, &t->op, r->file->file));
    TASK_END(t, t->op.result < 0 ? (int)t->op.result : 0);
}

/* Appends that cannot be committed for lack of space are told so instead of waiting. */
static void fail_waiting(struct log *log, int status)
{
    struct list failing;
    list_init(&failing);
    list_splice_back(&failing, &log->dirty);
    for (struct list *n; (n = list_pop_front(&failing));) {
        struct log_shard *s = CONTAINER_OF(n, struct log_shard, dirty_link);
        if (s->flush && s->flush->direct)
            list_push_back(&log->dirty, n);
        else
            append_fail(s, status);
    }
}

void journal_fail_stuck(struct log *log)
{
    LIST_FOREACH (it, &log->unmigrated) {
        const struct log_shard *s = CONTAINER_OF(it, struct log_shard, unmigrated_link);
        if (!s->flush_failed)
            continue;
        fail_waiting(log, s->flush_status);
        log_retry_later(log);
        return;
    }
}

static void roll_failed(struct log *log, struct journal_roll *r, int status)
{
    round_marks_end(log, false);
    if (r->file)
        unlink_file(log, r->file);
    log->round.busy = false;
    fail_waiting(log, status);
    log_retry_later(log);
}

static void roll_succeeded(struct log *log, struct journal_roll *r)
{
    struct journal_file *f = r->file;
    f->end = f->written = r->end;
    f->entries = 0;
    list_push_back(&log->journals, &f->link);
    log->journal = f;
    log->journal_at = r->head_bytes;
    log->journal_crc = r->crc;
    log->journal_failed = log->unsynced = false;
    log->proof_count = 0;
    log->stats.checkpoints++;
    journal_recycle(log, r->oldest == UINT64_MAX ? f->generation : r->oldest);
    log->round.busy = false;
    round_marks_end(log, true);
    lift_fences(log);
    flush_migrate_oldest(log, f->generation);
}

static void roll_finished(struct task *t)
{
    struct journal_roll *r = CONTAINER_OF(t, struct journal_roll, task);
    struct log *log = r->log;
    int status = t->status;
    log->roll = NULL;
    if (status < 0)
        roll_failed(log, r, status);
    else
        roll_succeeded(log, r);
    struct log_journal_waiter *w = log->journal_waiter;
    io_buffer_free(r->head);
    free(r);
    round_kick(log);
    if (w) {
        log->journal_waiter = NULL;
        w->rolled(w, status);
    }
    log_task_ended(log);
}

void journal_roll_start(struct log *log)
{
    if (log->roll)
        return;
    /* migration must free one first; but it may itself be waiting for an entry that only a new head can carry */
    if (list_empty(&log->spares) && count_needed(log) >= JOURNALS_MAX && list_empty(&log->news)) {
        flush_migrate_oldest(log, UINT64_MAX);
        journal_fail_stuck(log);
        return;
    }
    struct journal_roll *r = calloc(1, sizeof *r);
    if (!r) {
        log_retry_later(log);
        return;
    }
    r->log = log;
    log->roll = r;
    log->round.busy = true;
    r->task.finished = roll_finished;
    log_task_started(log);
    task_start(&r->task, log->loop, roll_run, NULL);
}

void journal_init(struct log *log)
{
    list_init(&log->journals);
    list_init(&log->spares);
}

void journal_free_all(struct log *log)
{
    struct list *lists[] = {&log->journals, &log->spares};
    for (int i = 0; i < 2; i++)
        LIST_FOREACH_SAFE (it, lists[i])
            file_free(log, CONTAINER_OF(it, struct journal_file, link));
    if (log->zeroer)
        io_buffer_free(log->zeroer->zeros);
    free(log->zeroer);
    log->zeroer = NULL;
    log->journal = NULL;
}
