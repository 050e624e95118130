/*
 * What leaves the disk: retention by time and by size, removed shards, and the reserve that makes appends wait.
 *
 * Expiry goes by its own clock: min(wall, where the clock stood + monotonic time since), which follows a wall clock
 * that runs ahead by at most 10% of the time that passes. So a step of the wall clock expires nothing early.
 *
 * A pass every second (while there is anything to do) looks at each shard that has a retention: whole sealed segments
 * whose newest block has expired, or that are beyond keep_bytes, go, the oldest first. One file at a time:
 *
 *     first_counter moved ─▶ its entry durable in the journal ─▶ unlink ─▶ a pause ─▶ next
 *
 * so that no checkpoint ever promises what is gone. What a delivery still needs holds back retention by time only.
 * Removing a shard unlinks its files one by one in the same way. Thread: the loop's.
 */
#include "broker/log/log_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define RETAIN_EVERY_MS 1000
#define UNLINK_PAUSE_MS 20
#define FREE_EVERY_MS   1000

/* ---- the expiry clock -------------------------------------------------------------------------------------------- */

struct wall_ms expiry_now(struct log *log)
{
    struct expiry_clock *c = &log->expiry;
    struct wall_ms wall = loop_wall(log->loop);
    struct mono_ns now = loop_now(log->loop);
    if (!c->set) {
        *c = (struct expiry_clock){.set = true, .at = wall, .seen = now};
        return wall;
    }
    int64_t passed = mono_diff_ns(now, c->seen) / NS_PER_MS;
    if (passed > 0) {
        c->seen.ns += passed * NS_PER_MS;
        c->at.ms += passed;
        int64_t ahead = wall.ms - c->at.ms, step = (passed + 9) / 10;
        if (ahead > 0)
            c->at.ms += ahead < step ? ahead : step;
        else if (ahead < 0)
            c->at.ms -= -ahead < step ? -ahead : step;
    }
    return wall.ms < c->at.ms ? wall : c->at;
}

/* ---- the reserve ------------------------------------------------------------------------------------------------- */

static void free_known(struct io_op *op)
{
    struct log *log = CONTAINER_OF(op, struct log, free_op);
    log->free_busy = false;
    if (op->result >= 0) {
        log->stats.disk_free_bytes = (uint64_t)op->result;
        uint64_t reserve = log->options.disk_reserve_bytes, free_bytes = log->stats.disk_free_bytes;
        if (reserve == UINT64_MAX)
            reserve = log->free_total / 20;
        log->reserve_low = free_bytes < reserve;
        log->free_asked_at_bytes = log->stats.append_bytes;
        log->free_good_for_bytes = log->reserve_low ? UINT64_MAX : (free_bytes - reserve) / (8 * log->count);
        if (log->reserve_low)
            retain_soon(log);
    }
    log_task_ended(log);
}

/* Asks once a second, and sooner when much has come since: with 40 MiB left above the reserve and two loops after 2.5 MiB
 * on one of them. (Every loop may take as much meanwhile, and journal and segment may both hold it for a while.) */
void reserve_check(struct log *log)
{
    struct mono_ns now = loop_now(log->loop);
    if (log->free_busy || log->opening || log->closing)
        return;
    if (log->free_asked.ns && mono_diff_ns(now, log->free_asked) < FREE_EVERY_MS * NS_PER_MS &&
        log->stats.append_bytes - log->free_asked_at_bytes < log->free_good_for_bytes)
        return;
    log->free_asked = now;
    log->free_busy = true;
    log->free_op.done = free_known;
    log_task_started(log);
    io_disk_free(log->loop, &log->free_op, log->dir, &log->free_total);
}

/* ---- needs ------------------------------------------------------------------------------------------------------- */

uint64_t retain_floor(const struct log_shard *s)
{
    uint64_t floor = UINT64_MAX;
    LIST_FOREACH (it, &s->needs) {
        const struct log_need *n = CONTAINER_OF(it, struct log_need, link);
        if (n->counter < floor)
            floor = n->counter;
    }
    return floor;
}

void log_need_add(struct log_shard *s, struct log_need *n)
{
    n->shard = s;
    list_push_back(&s->needs, &n->link);
}

void log_need_moved(struct log_need *n)
{
    if (n->shard)
        retain_soon(n->shard->log);
}

void log_need_remove(struct log_need *n)
{
    list_remove(&n->link);
    n->shard = NULL;
}

/* first_counter moves over records that deliveries still needed: counted, and told once. */
static void force_over_needs(struct log_shard *s, uint64_t to)
{
    uint64_t lost_from = UINT64_MAX;
    LIST_FOREACH_SAFE (it, &s->needs) {
        struct log_need *n = CONTAINER_OF(it, struct log_need, link);
        if (n->counter >= to)
            continue;
        uint64_t from = n->counter > s->first_counter ? n->counter : s->first_counter;
        if (from < lost_from)
            lost_from = from;
        n->counter = to;
        if (n->lost && from < to)
            n->lost(n, from, to);
    }
    if (lost_from < to)
        s->log->stats.forced_loss_records += to - lost_from;
}

/* ---- one shard's expired segments -------------------------------------------------------------------------------- */

struct retain {
    struct task task;
    struct log_shard *shard;
    struct list link; /* log->retains */
    struct io_names names;
    struct index_load *load;
    struct io_timer pause;
    uint64_t gone; /* base of the segment whose files go */
    uint64_t to;   /* first_counter once the oldest segment is gone */
    bool forced;
    char path[LOG_PATH_MAX];
};

static void pause_over(struct io_timer *t)
{
    task_wake(&CONTAINER_OF(t, struct retain, pause)->task);
}

/* Whether the oldest segment goes now; r->to says where the shard then begins. */
static bool oldest_goes(struct retain *r)
{
    struct log_shard *s = r->shard;
    if (s->segments.count < 2)
        return false;
    const struct segment_info *oldest = &s->segments.at[0];
    r->to = s->segments.at[1].base;
    r->forced = s->disk_bytes > s->retention.keep_bytes || (s->log->reserve_low && retain_floor(s) < r->to);
    if (s->disk_bytes > s->retention.keep_bytes)
        return true;
    if (!oldest->known || oldest->last_arrival.ms >= retain_cutoff(s).ms)
        return false;
    return r->forced || retain_floor(s) >= r->to;
}

static void forget_oldest(struct log_shard *s)
{
    struct segment_list *l = &s->segments;
    index_free(&l->at[0].index);
    memmove(l->at, l->at + 1, (l->count - 1) * sizeof *l->at);
    l->count--;
}

static void retain_run(struct task *t)
{
    struct retain *r = CONTAINER_OF(t, struct retain, task);
    struct log_shard *s = r->shard;
    struct log *log = s->log;
    TASK_BEGIN(t);
    if (!s->segments_loaded) {
        log_path_shard_dir(r->path, log->dir, s->uid);
        TASK_AWAIT(t, io_list(t->loop, &t->op, r->path, &r->names));
        if (t->op.result < 0)
            TASK_EXIT(t, (int)t->op.result);
        if (!s->segments_loaded)
            t->status = segment_list_from_names(s, &r->names);
        io_names_free(&r->names);
        if (t->status < 0)
            TASK_EXIT(t, t->status);
    }
    while (s->segments.count >= 2 && !s->removing && !log->closing) {
        if (!s->segments.at[0].known) {
            r->load = calloc(1, sizeof *r->load);
            if (!r->load)
                TASK_EXIT(t, -ENOMEM);
            r->load->found.base = s->segments.at[0].base;
            r->load->limit = UINT64_MAX;
            r->load->next_base = s->segments.at[1].base;
            TASK_CALL(t, index_load_start(r->load, s, t));
            t->status = r->load->task.status;
            if (t->status == 0 && s->segments_loaded && s->segments.at[0].base == r->load->found.base &&
                !s->segments.at[0].known) {
                s->segments.at[0] = r->load->found;
                s->segments.at[0].known = true;
                r->load->found.index = (struct segment_index){0};
            }
            index_load_deinit(r->load);
            index_free(&r->load->found.index);
            free(r->load);
            if (t->status < 0)
                TASK_EXIT(t, t->status);
        }
        if (!oldest_goes(r))
            break;
        force_over_needs(s, r->to);
        if (r->to > s->first_counter)
            s->first_counter = r->to;
        while (s->entry_waiter) /* its flush waits for an entry too */
            TASK_EXIT(t, -EAGAIN);
        s->entry_waiter = t;
        s->entry_state = MARK_WANTED;
        round_want_entry(s);
        TASK_PARK(t);
        s->entry_waiter = NULL;
        while (read_busy(s) && !log->closing && !s->removing) { /* it knows segments by their place in the list */
            timer_arm(t->loop, &r->pause, mono_add_ms(loop_now(t->loop), UNLINK_PAUSE_MS));
            TASK_PARK(t);
        }
        if (log->closing || s->removing)
            TASK_EXIT(t, 0);
        r->gone = s->segments.at[0].base;
        uint64_t freed = page_up(s->segments.at[0].end);
        s->disk_bytes -= freed < s->disk_bytes ? freed : s->disk_bytes;
        forget_oldest(s);
        shard_changed(s);
        log->stats.expired_segments++;
        log_path_index(r->path, log->dir, s->uid, r->gone);
        TASK_AWAIT(t, io_unlink(t->loop, &t->op, r->path));
        log_path_segment(r->path, log->dir, s->uid, r->gone);
        TASK_AWAIT(t, io_unlink(t->loop, &t->op, r->path));
        if (t->op.result < 0 && t->op.result != -ENOENT)
            TASK_EXIT(t, (int)t->op.result);
        timer_arm(t->loop, &r->pause, mono_add_ms(loop_now(t->loop), UNLINK_PAUSE_MS));
        TASK_PARK(t);
    }
    TASK_END(t, 0);
}

static void retain_finished(struct task *t)
{
    struct retain *r = CONTAINER_OF(t, struct retain, task);
    struct log_shard *s = r->shard;
    struct log *log = s->log;
    s->retain = NULL;
    list_remove(&r->link);
    free(r);
    removal_go_on(s);
    log_task_ended(log);
}

/* Without looking at the disk: may the shard have a segment to give? */
static bool may_expire(struct log_shard *s)
{
    if (!s->has_retention || s->retain || s->removing || !s->has_segment)
        return false;
    if (s->disk_bytes > s->retention.keep_bytes)
        return s->first_counter < s->segment_base;
    struct wall_ms cutoff = retain_cutoff(s);
    if (cutoff.ms == INT64_MIN || s->first_counter >= s->segment_base)
        return false;
    if (s->segments_loaded && s->segments.count >= 2 && s->segments.at[0].known)
        return s->segments.at[0].last_arrival.ms < cutoff.ms;
    return s->expiry_hint.ms < cutoff.ms;
}

static void retain_pass(struct io_timer *t)
{
    struct log *log = CONTAINER_OF(t, struct log, retain_timer);
    bool more = false;
    reserve_check(log);
    LIST_FOREACH_SAFE (it, &log->shards) {
        struct log_shard *s = CONTAINER_OF(it, struct log_shard, link);
        more |= s->has_retention && s->has_segment;
        if (!may_expire(s) || !list_empty(&log->retains))
            continue;
        struct retain *r = calloc(1, sizeof *r);
        if (!r)
            break;
        r->shard = s;
        r->pause.fired = pause_over;
        s->retain = r;
        s->expiry_hint = expiry_now(log); /* not again before something that arrived by now may have expired */
        list_push_back(&log->retains, &r->link);
        r->task.finished = retain_finished;
        log_task_started(log);
        task_start(&r->task, log->loop, retain_run, NULL);
    }
    if ((more || log->reserve_low) && !log->closing)
        timer_arm(log->loop, &log->retain_timer, mono_add_ms(loop_now(log->loop), RETAIN_EVERY_MS));
}

void retain_soon(struct log *log)
{
    if (log->retention_started && !log->closing && !timer_armed(&log->retain_timer))
        timer_arm(log->loop, &log->retain_timer, mono_add_ms(loop_now(log->loop), RETAIN_EVERY_MS));
}

void log_retention_start(struct log *log)
{
    log->retention_started = true;
    retain_soon(log);
}

void log_shard_retain(struct log_shard *s, const struct log_retention *retention)
{
    s->retention = *retention;
    s->has_retention = retention->keep_ms != INT64_MAX || retention->keep_bytes != UINT64_MAX;
    s->expiry_hint = (struct wall_ms){INT64_MIN};
    retain_soon(s->log);
}

void retain_stop(struct log_shard *s)
{
    struct retain *r = s->retain;
    if (timer_armed(&r->pause)) {
        timer_disarm(s->log->loop, &r->pause);
        task_wake(&r->task);
    } else if (s->entry_waiter == &r->task) {
        s->entry_waiter = NULL;
        task_wake(&r->task);
    }
}

void retain_init(struct log *log)
{
    list_init(&log->retains);
    log->retain_timer.fired = retain_pass;
}

/* ---- removing a shard -------------------------------------------------------------------------------------------- */

struct removal {
    struct task task;
    struct log_shard *shard;
    struct io_names names;
    struct io_timer pause;
    uint32_t at;
    char path[LOG_PATH_MAX];
};

static void removal_pause_over(struct io_timer *t)
{
    task_wake(&CONTAINER_OF(t, struct removal, pause)->task);
}

static void removal_run(struct task *t)
{
    struct removal *m = CONTAINER_OF(t, struct removal, task);
    struct log_shard *s = m->shard;
    TASK_BEGIN(t);
    log_path_shard_dir(m->path, s->log->dir, s->uid);
    TASK_AWAIT(t, io_list(t->loop, &t->op, m->path, &m->names));
    if (t->op.result == -ENOENT)
        TASK_EXIT(t, 0);
    if (t->op.result < 0)
        TASK_EXIT(t, (int)t->op.result);
    for (m->at = 0; m->at < m->names.count && !s->log->closing; m->at++) {
        snprintf(m->path, sizeof m->path, "%s/shards/%016llx/%s", s->log->dir, (unsigned long long)s->uid,
                 m->names.name[m->at]);
        TASK_AWAIT(t, io_unlink(t->loop, &t->op, m->path));
        if (m->at + 1 < m->names.count) {
            timer_arm(t->loop, &m->pause, mono_add_ms(loop_now(t->loop), UNLINK_PAUSE_MS));
            TASK_PARK(t);
        }
    }
    log_path_shard_dir(m->path, s->log->dir, s->uid);
    TASK_AWAIT(t, io_rmdir(t->loop, &t->op, m->path));
    if (t->op.result < 0 && t->op.result != -ENOENT)
        TASK_EXIT(t, (int)t->op.result);
    snprintf(m->path, sizeof m->path, "%s/shards", s->log->dir);
    TASK_AWAIT(t, io_sync_dir(t->loop, &t->op, m->path));
    TASK_END(t, t->op.result < 0 ? (int)t->op.result : 0);
}

static void removal_finished(struct task *t)
{
    struct removal *m = CONTAINER_OF(t, struct removal, task);
    struct log_shard *s = m->shard;
    struct log *log = s->log;
    struct log_remove *r = s->remove;
    int status = t->status;
    io_names_free(&m->names);
    free(m);
    shard_hide(s); /* what is answered now must not come back to it */
    read_shard_forget(s);
    LIST_FOREACH_SAFE (it, &s->needs) /* added while it was being removed */
        log_need_remove(CONTAINER_OF(it, struct log_need, link));
    shard_free(s);
    if (r) {
        r->status = status;
        r->done(r);
    }
    log_task_ended(log);
}

/* The next step of a removal, whenever something that used the shard has ended. */
void removal_go_on(struct log_shard *s)
{
    if (!s->removing || s->removal_started || s->flush || s->retain || s->reader || !list_empty(&s->waiting) ||
        list_linked(&s->round_link) || list_linked(&s->marks_link))
        return;
    struct removal *m = calloc(1, sizeof *m);
    if (!m) { /* no appends, no reads any more; the files go when the removal is asked for again */
        struct log_remove *r = s->remove;
        s->remove = NULL;
        if (r) {
            r->status = -ENOMEM;
            r->done(r);
        }
        return;
    }
    s->removal_started = true;
    m->shard = s;
    m->pause.fired = removal_pause_over;
    list_remove(&s->dirty_link);
    list_remove(&s->unmigrated_link);
    list_remove(&s->changed_link);
    list_remove(&s->news_link);
    list_remove(&s->flush_link);
    segment_close(s->log, &s->segment_file);
    cache_shard_clear(s);
    log_task_started(s->log);
    m->task.finished = removal_finished;
    task_start(&m->task, s->log->loop, removal_run, NULL);
}

static void removal_deferred(struct io_defer *d)
{
    struct log *log = CONTAINER_OF(d, struct log, removal_defer);
    LIST_FOREACH_SAFE (it, &log->shards) {
        struct log_shard *s = CONTAINER_OF(it, struct log_shard, link);
        if (s->removing)
            removal_go_on(s);
    }
}

void removal_init(struct log *log)
{
    log->removal_defer.run = removal_deferred;
}

void removal_start(struct log_shard *s, struct log_remove *r)
{
    s->removing = true;
    s->remove = r;
    watch_wake_all(s);
    read_shard_gone(s, ST_CLOSED);
    read_idle_close(s);
    LIST_FOREACH_SAFE (it, &s->needs)
        log_need_remove(CONTAINER_OF(it, struct log_need, link));
    loop_defer(s->log->loop, &s->log->removal_defer);
}

void log_shard_remove(struct log_shard *s, struct log_remove *r)
{
    r->status = 0;
    removal_start(s, r);
}
