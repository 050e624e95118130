/*
 * Opening a data directory: from what a stop, a crash or a former number of loops has left to running logs.
 *
 *   1 list journals, read their heads        which opening (epoch) is the last complete one: every loop's head is there
 *   2 walk the newest journal of each loop   entries and proofs: what each shard must have
 *   3 walk the segments of direct shards     beyond their checkpointed ends; sync what is accepted
 *   4 walk the needed journals again         frames that are in no segment become unmigrated entries, in order
 *   5 migrate all of them, synced
 *   6 head of a new journal for every loop   from here on the new opening is the complete one
 *   7 remove the old journals, hand the logs over to their loops
 *
 * A crash at any step finds the same old journals again: nothing of them is changed before 6 is durable for all loops,
 * and what 5 wrote lies beyond the ends that they know.
 *
 * Damage. Torn ends are cut off. Behind damage in a journal the walk resumes; a shard is quarantined if a head, an
 * entry or a proof says that it must have more than was found, if its frames show a gap, or if the proofs of the damaged
 * rounds are lost too and nothing later confirms it. Damage in a segment quarantines its shard. Journals with damage
 * are kept, renamed to *.damaged. Only a journal whose head cannot be told from a head that was never written, although
 * later frames exist, fails the opening (ST_CORRUPT).
 *
 * All logs run on the calling loop until they are handed over. Thread: the calling loop's.
 */
#include "broker/log/log_recover.h"

#include <stdio.h>
#include <stdlib.h>

#define COUNTER_SKIP (1ull << 32)

int recover_fail(struct recover *r, int status, const char *what)
{
    return err_set_status(&r->o->err, status, "%s", what);
}

/* ---- shards ----------------------------------------------------------------------------------------------------- */

struct log_shard *recover_shard(struct recover *r, uint64_t uid)
{
    for (uint32_t i = 0; i < r->loops; i++) {
        struct log_shard *s = log_shard_find(r->o->logs[i], uid);
        if (s)
            return s;
    }
    /* on disk, but not in `live`: kept, by the first loop, and reported */
    struct log_shard *s = shard_new(r->o->logs[0], uid);
    if (s) {
        s->unknown = true;
        r->o->unknown_count++;
    }
    return s;
}

static int make_live_shards(struct recover *r)
{
    for (size_t i = 0; i < r->o->live_count; i++) {
        const struct log_live_shard *l = &r->o->live[i];
        struct log_shard *s = shard_new(r->o->logs[l->loop_index % r->loops], l->uid);
        if (!s)
            return -ENOMEM;
        s->deleting = l->deleting;
    }
    return 0;
}

int recover_entry(struct recover *r, const struct log_entry *e)
{
    struct log_shard *s = recover_shard(r, e->uid);
    if (!s)
        return -ENOMEM;
    if (s->deleting)
        return 0;
    if (e->next > s->proven)
        s->proven = e->next;
    s->confirmed = true;
    if (e->segment_next < s->segment_next)
        return 0;
    s->has_segment = e->flags & LOG_ENTRY_SEGMENT;
    s->mark = e->flags & LOG_ENTRY_DIRECT ? MARK_DURABLE : MARK_NONE;
    s->segment_next = e->segment_next;
    s->segment_base = e->segment_base;
    s->segment_generation = e->segment_generation;
    s->segment_end = e->segment_end;
    s->segment_size = e->segment_size;
    s->segment_crc = e->segment_crc;
    s->index_from = e->segment_end;
    s->disk_bytes = e->disk_bytes;
    s->new_segment_wanted = e->flags & LOG_ENTRY_SEALED;
    s->not_before = e->not_before;
    if (e->first_counter > s->first_counter)
        s->first_counter = e->first_counter;
    if (e->last_arrival.ms > s->last_arrival.ms)
        s->last_arrival = e->last_arrival;
    if (e->flags & LOG_ENTRY_QUARANTINED)
        shard_quarantine(s, "journal checkpoint", 0, "quarantined at an earlier start; sluice inspect tells where");
    return 0;
}

bool recover_grow_buf(struct recover *r, size_t bytes)
{
    if (r->buf_bytes >= bytes)
        return true;
    io_buffer_free(r->buf);
    bytes = page_up(bytes);
    r->buf = io_buffer_alloc(bytes);
    r->buf_bytes = r->buf ? bytes : 0;
    return r->buf != NULL;
}

bool recover_flushes_pending(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++)
        if (!list_empty(&r->o->logs[i]->unmigrated))
            return true;
    return false;
}

void recover_start_flushes(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++)
        LIST_FOREACH_SAFE (it, &r->o->logs[i]->unmigrated) {
            struct log_shard *s = CONTAINER_OF(it, struct log_shard, unmigrated_link);
            flush_start(s, false);
        }
}

/* ---- verdicts ---------------------------------------------------------------------------------------------------- */

static void for_each_shard(struct recover *r, void (*f)(struct recover *r, struct log_shard *s))
{
    for (uint32_t i = 0; i < r->loops; i++)
        LIST_FOREACH_SAFE (it, &r->o->logs[i]->shards)
            f(r, CONTAINER_OF(it, struct log_shard, link));
}

/* Before the frames are loaded: what lies in segments is what there is. */
static void stand_at_segment(struct recover *r, struct log_shard *s)
{
    s->durable_next = s->segment_next;
    s->durable_arrival = s->segment_last_arrival = s->last_arrival;
}

static void judge(struct recover *r, struct log_shard *s)
{
    if (s->deleting)
        return;
    if (s->durable_next < s->proven)
        shard_quarantine(s, "commit journal", 0, "acknowledged records are missing");
    else if (r->unproven && !s->confirmed && s->proven)
        shard_quarantine(s, "commit journal", 0, "damage may have taken records of this shard");
}

static void settle_counters(struct recover *r, struct log_shard *s)
{
    if (r->skip && s->state == LOG_SHARD_OK && !s->deleting) {
        s->skip_from = s->durable_next;
        s->skip_to = s->segment_next = s->durable_next = s->durable_next + COUNTER_SKIP;
    }
    s->next_counter = s->synced_next = s->durable_next;
    s->mark = MARK_NONE;
    s->reopening = s->flush_failed = s->fenced_by_journal = false;
    segment_close(s->log, &s->segment_file);
}

/* Whether a loop that did not sync every commit has stopped without saying so. */
static bool must_skip(const struct recover *r)
{
    for (uint32_t i = 0; i < r->old_count; i++)
        if (r->old[i].newest && r->old[i].head.sync != LOG_SYNC_BATCH && !r->old[i].clean)
            return true;
    return false;
}

/* ---- 6 and 7 ------------------------------------------------------------------------------------------------------ */

static void rolled(struct log_journal_waiter *w, int status)
{
    struct recover *r = CONTAINER_OF(w, struct recover, waiter);
    r->status = status;
    r->rolled = true;
    task_wake(&r->sub);
}

/* The folder and the first journal of r->log. */
static void journal_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    TASK_BEGIN(t);
    log_path_journal_dir(r->path, r->log->dir, r->log->index);
    TASK_AWAIT(t, io_mkdir(t->loop, &t->op, r->path));
    if (t->op.result < 0 && t->op.result != -EEXIST)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    for (uint32_t i = 0; i < r->old_count; i++)
        if (r->old[i].folder == r->log->index && r->old[i].sequence > r->log->journal_sequence)
            r->log->journal_sequence = r->old[i].sequence;
    r->waiter.rolled = rolled;
    r->rolled = false;
    r->log->journal_waiter = &r->waiter;
    journal_roll_start(r->log);
    while (!r->rolled)
        TASK_PARK(t);
    TASK_END(t, r->status < 0 ? recover_fail(r, r->status, "create the commit journal") : 0);
}

/* Old journals go; damaged ones are kept under another name. */
static void remove_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, sub);
    TASK_BEGIN(t);
    for (r->at = 0; r->at < r->old_count; r->at++) {
        log_path_journal(r->path, r->o->options->dir, r->old[r->at].folder, r->old[r->at].sequence);
        if (r->old[r->at].damaged) {
            snprintf(r->path2, sizeof r->path2, "%s.damaged", r->path);
            TASK_AWAIT(t, io_rename(t->loop, &t->op, r->path, r->path2));
        } else {
            TASK_AWAIT(t, io_unlink(t->loop, &t->op, r->path));
        }
    }
    TASK_END(t, 0);
}

/* A log on its way to its own loop: first it opens its journal there; then, once all could, it is started (or closed
 * again, if one could not). */
struct opening_hand {
    struct io_msg msg;
    struct task task;
    struct recover *r;
    struct log *log;
    bool second, start;
    int status;
    char path[LOG_PATH_MAX];
};

static void hand_back(struct io_msg *m)
{
    struct opening_hand *h = CONTAINER_OF(m, struct opening_hand, msg);
    h->r->handed++;
    if (h->status < 0)
        h->r->status = h->status;
    task_wake(&h->r->task);
}

static void hand_run(struct task *t)
{
    struct opening_hand *h = CONTAINER_OF(t, struct opening_hand, task);
    struct journal_file *j = h->log->journal;
    TASK_BEGIN(t);
    if (!h->second) {
        log_path_journal(h->path, h->log->dir, h->log->index, j->sequence);
        TASK_AWAIT(t, io_open(t->loop, &t->op, h->path, IO_READ | IO_WRITE | IO_DIRECT));
        if (t->op.result >= 0)
            j->file = (struct io_file){(int)t->op.result};
        else
            h->status = (int)t->op.result;
    } else if (h->start) {
        log_started(h->log);
    } else if (j->file.id >= 0) {
        TASK_AWAIT(t, io_close(t->loop, &t->op, j->file));
        j->file = IO_FILE_NONE;
    }
    TASK_END(t, 0);
}

static void hand_finished(struct task *t)
{
    struct opening_hand *h = CONTAINER_OF(t, struct opening_hand, task);
    h->msg.deliver = hand_back;
    loop_post(h->r->loop, &h->msg);
}

/* On the log's own loop. */
static void hand_over(struct io_msg *m)
{
    struct opening_hand *h = CONTAINER_OF(m, struct opening_hand, msg);
    h->task.finished = hand_finished;
    task_start(&h->task, h->log->loop, hand_run, NULL);
}

static void hand_all(struct recover *r, bool second)
{
    r->handed = 0;
    for (uint32_t i = 0; i < r->loops; i++) {
        struct opening_hand *h = &r->hands[i];
        struct log *log = r->o->logs[i];
        h->r = r;
        h->log = log;
        h->second = second;
        h->start = r->status == 0;
        log->loop = r->o->loops[i];
        log->opening_hook = NULL;
        h->msg.deliver = hand_over;
        loop_post(log->loop, &h->msg);
    }
}

static uint32_t tasks_left(struct recover *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->loops; i++)
        n += r->o->logs[i] ? r->o->logs[i]->tasks : 0;
    return n;
}

static void stop_all(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++)
        if (r->o->logs[i])
            r->o->logs[i]->closing = true; /* flushes end after their current write */
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int create_logs(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++) {
        int status = log_create(r->loop, r->o->options, r->uid, r->epoch, i, r->loops, &r->o->logs[i]);
        if (status < 0)
            return status;
        r->o->logs[i]->opening = true;
        r->o->logs[i]->opening_hook = &r->hook;
    }
    return make_live_shards(r);
}

/* The next shard, over all logs, that `wanted` says yes to; NULL at the end. */
static struct log_shard *next_shard(struct recover *r, bool (*wanted)(const struct log_shard *s))
{
    for (;;) {
        if (!r->shard_it)
            r->shard_it = r->o->logs[r->at]->shards.next;
        else
            r->shard_it = r->shard_it->next;
        while (r->shard_it == &r->o->logs[r->at]->shards) {
            if (++r->at == r->loops)
                return NULL;
            r->shard_it = r->o->logs[r->at]->shards.next;
        }
        struct log_shard *s = CONTAINER_OF(r->shard_it, struct log_shard, link);
        if (wanted(s))
            return s;
    }
}

static bool is_direct(const struct log_shard *s)
{
    return s->mark != MARK_NONE && !s->deleting && s->state == LOG_SHARD_OK;
}

static bool is_replacing(const struct log_shard *s)
{
    return s->replacing;
}

static bool has_strays(const struct log_shard *s)
{
    return (s->mark != MARK_NONE || s->loaded) && s->state == LOG_SHARD_OK;
}

/* A shard whose segment is damaged or missing cannot take its frames; another trouble ends the opening. */
static int flush_trouble(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++)
        LIST_FOREACH_SAFE (it, &r->o->logs[i]->unmigrated) {
            struct log_shard *s = CONTAINER_OF(it, struct log_shard, unmigrated_link);
            if (s->flush)
                continue;
            if (s->state == LOG_SHARD_QUARANTINED && s->flush_failed) {
                s->durable_next = s->segment_next;
                list_remove(&s->unmigrated_link);
                cache_shard_clear(s);
            } else if (s->flush_failed) {
                return s->flush_status;
            }
        }
    return 0;
}

static uint64_t quarantined_shards(struct recover *r)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < r->loops; i++)
        n += r->o->logs[i]->stats.quarantined_shards;
    return n;
}

/* Fresh damage: the journals that were read stay as evidence. */
static void keep_evidence(struct recover *r)
{
    if (quarantined_shards(r) > r->quarantined)
        for (uint32_t i = 0; i < r->old_count; i++)
            r->old[i].damaged |= r->old[i].needed;
}

/* Descriptors, timers and deferred calls belong to this loop; the logs will run on others. */
static void let_go(struct recover *r)
{
    for (uint32_t i = 0; i < r->loops; i++) {
        struct log *log = r->o->logs[i];
        if (!log)
            continue;
        LIST_FOREACH (it, &log->shards)
            segment_close(log, &CONTAINER_OF(it, struct log_shard, link)->segment_file);
        if (log->journal)
            segment_close(log, &log->journal->file);
        timer_disarm(log->loop, &log->retry_timer);
        loop_defer_cancel(&log->kick);
    }
}

static void recover_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, task);
    TASK_BEGIN(t);
    TASK_CALL(t, task_start(&r->sub, t->loop, recover_list_run, t));
    if (r->sub.status < 0)
        TASK_EXIT(t, r->sub.status);
    for (r->at = 0; r->at < r->old_count; r->at++) {
        TASK_CALL(t, task_start(&r->sub, t->loop, recover_head_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    recover_choose(r);
    if (recover_check_headless(r) < 0)
        TASK_EXIT(t, r->o->err.code);
    recover_keep_headless(r);
    if (!r->uid_known)
        loop_random(t->loop, r->uid, sizeof r->uid);
    if (r->old_count)
        qsort(r->old, r->old_count, sizeof *r->old, recover_compare);
    if (create_logs(r) < 0)
        TASK_EXIT(t, recover_fail(r, -ENOMEM, "start the log"));
    for (r->at = 0; r->at < r->old_count; r->at++) { /* 2 */
        if (!r->old[r->at].newest)
            continue;
        r->walking = &r->old[r->at];
        TASK_CALL(t, task_start(&r->sub, t->loop, recover_walk_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    if (!recover_grow_buf(r, HEAD_WINDOW_BYTES))
        TASK_EXIT(t, -ENOMEM);
    r->quarantined = quarantined_shards(r);
    for_each_shard(r, stand_at_segment);
    for (r->at = 0, r->shard_it = NULL; (r->shard = next_shard(r, is_direct));) { /* 3 */
        TASK_CALL(t, task_start(&r->sub, t->loop, recover_direct_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    r->loading = true;
    for (r->old_at = 0; r->old_at < r->old_count; r->old_at++) { /* 4 */
        if (!r->old[r->old_at].needed)
            continue;
        r->walking = &r->old[r->old_at];
        TASK_CALL(t, task_start(&r->sub, t->loop, recover_walk_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    for_each_shard(r, judge);
    for (r->at = 0, r->shard_it = NULL; (r->shard = next_shard(r, has_strays));) {
        TASK_CALL(t, task_start(&r->sub, t->loop, recover_strays_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    recover_start_flushes(r); /* 5 */
    while (recover_flushes_pending(r)) {
        r->flush_progress = false;
        TASK_PARK(t);
        if (flush_trouble(r) < 0)
            TASK_EXIT(t, recover_fail(r, flush_trouble(r), "move journaled records to their segments"));
        recover_start_flushes(r);
    }
    keep_evidence(r);
    for (r->at = 0, r->shard_it = NULL; (r->shard = next_shard(r, is_replacing));) {
        TASK_CALL(t, task_start(&r->sub, t->loop, recover_replace_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    r->skip = must_skip(r);
    for_each_shard(r, settle_counters);
    for (r->at = 0; r->at < r->loops; r->at++) { /* 6 */
        r->log = r->o->logs[r->at];
        TASK_CALL(t, task_start(&r->sub, t->loop, journal_run, t));
        if (r->sub.status < 0)
            TASK_EXIT(t, r->sub.status);
    }
    snprintf(r->path, sizeof r->path, "%s/journal", r->o->options->dir);
    TASK_AWAIT(t, io_sync_dir(t->loop, &t->op, r->path));
    if (t->op.result < 0)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->path));
    TASK_AWAIT(t, io_sync_dir(t->loop, &t->op, r->o->options->dir));
    if (t->op.result < 0)
        TASK_EXIT(t, recover_fail(r, (int)t->op.result, r->o->options->dir));
    TASK_CALL(t, task_start(&r->sub, t->loop, remove_run, t)); /* 7 */
    let_go(r);
    while (tasks_left(r))
        TASK_PARK(t);
    r->status = 0;
    hand_all(r, false);
    while (r->handed < r->loops)
        TASK_PARK(t);
    hand_all(r, true);
    while (r->handed < r->loops)
        TASK_PARK(t);
    TASK_END(t, r->status);
}

/* ---- around it --------------------------------------------------------------------------------------------------- */

static void outer_run(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, outer);
    TASK_BEGIN(t);
    TASK_CALL(t, task_start(&r->task, t->loop, recover_run, t));
    r->status = r->task.status;
    if (r->status < 0) {
        stop_all(r);
        while (tasks_left(r))
            TASK_PARK(t);
        let_go(r);
        while (tasks_left(r))
            TASK_PARK(t);
    }
    TASK_END(t, r->status);
}

static void outer_finished(struct task *t)
{
    struct recover *r = CONTAINER_OF(t, struct recover, outer);
    struct log_open *o = r->o;
    o->status = r->status;
    if (o->status < 0) {
        if (!o->err.code)
            err_set_status(&o->err, o->status, "open the log in %s", o->options->dir);
        for (uint32_t i = 0; i < r->loops; i++) {
            log_free(o->logs[i]);
            o->logs[i] = NULL;
        }
    }
    for (uint32_t i = 0; i < r->old_count; i++)
        free(r->old[i].older);
    free(r->old);
    free(r->hands);
    free(r->followers);
    io_names_free(&r->folders);
    io_buffer_free(r->buf);
    file_scan_deinit(&r->scan);
    free(r);
    o->done(o);
}

/* Some background work of a log has ended. */
static void progress(struct log_opening_hook *h)
{
    struct recover *r = CONTAINER_OF(h, struct recover, hook);
    r->flush_progress = true;
    if (r->outer.parked)
        task_wake(&r->outer);
    else if (r->task.parked)
        task_wake(&r->task);
    else if (r->sub.parked)
        task_wake(&r->sub);
    else
        task_wake(&r->sub3);
}

struct opening_start {
    struct io_msg msg;
    struct recover *r;
};

static void start_deferred(struct io_msg *m)
{
    struct opening_start *b = CONTAINER_OF(m, struct opening_start, msg);
    struct recover *r = b->r;
    free(b);
    r->outer.finished = outer_finished;
    task_start(&r->outer, r->loop, outer_run, NULL);
}

void log_open(struct log_open *o)
{
    struct recover *r = calloc(1, sizeof *r);
    struct opening_start *b = calloc(1, sizeof *b);
    o->status = 0;
    o->err = (struct err){0};
    o->unknown_count = 0;
    CHECK(o->loop_count > 0 && r && b);
    for (uint32_t i = 0; i < o->loop_count; i++)
        o->logs[i] = NULL;
    r->hands = calloc(o->loop_count, sizeof *r->hands);
    CHECK(r->hands);
    r->o = o;
    r->loop = o->loops[0];
    r->loops = o->loop_count;
    r->hook.progress = progress;
    b->r = r;
    b->msg.deliver = start_deferred;
    loop_post(r->loop, &b->msg); /* done never comes inside the call */
}
