/*
 * The log's life: creating and freeing it and its shards, the background sweep, closing; the questions of log.h that
 * need no I/O. Opening a directory: log_recover.c.
 *
 *   log_create ─▶ opening (on the opening loop: rounds are off) ─▶ log_started (on its own loop) ─▶ log_close
 *
 * Closing: no more appends; what is pending is committed; background work ends; a last round carries the mark, all
 * entries that have changed, and "clean"; then the files are closed. If the disk refuses that, the close ends with the
 * error, and the next opening finds an unclean stop. Thread: the loop's.
 */
#include "broker/log/log_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define SWEEP_MS 2000
#define IDLE_MS  10000

/* ---- shards ------------------------------------------------------------------------------------------------------ */

static struct slice uid_key(const uint64_t *uid)
{
    return slice_of(uid, sizeof *uid);
}

struct log_shard *shard_new(struct log *log, uint64_t uid)
{
    struct log_shard *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->log = log;
    s->uid = uid;
    s->segment_file = IO_FILE_NONE;
    s->fragments_tail = &s->fragments;
    list_init(&s->waiting);
    list_init(&s->watches);
    list_init(&s->needs);
    list_init(&s->reads);
    list_init(&s->seeks);
    if (hashmap_put(&log->map, uid_key(&s->uid), s) < 0) {
        free(s);
        return NULL;
    }
    list_push_back(&log->shards, &s->link);
    return s;
}

void shard_hide(struct log_shard *s)
{
    hashmap_remove(&s->log->map, uid_key(&s->uid));
}

void shard_free(struct log_shard *s)
{
    struct log *log = s->log;
    struct list *links[] = {&s->link,         &s->dirty_link, &s->unmigrated_link, &s->news_link,     &s->marks_link,
                            &s->changed_link, &s->round_link, &s->flush_link,      &s->unsynced_link, &s->held_link};
    for (size_t i = 0; i < ARRAY_COUNT(links); i++)
        list_remove(links[i]);
    shard_hide(s);
    pool_put(&log->entries, s->fragment_entry);
    cache_shard_clear(s);
    segment_list_free(s);
    index_free(&s->index);
    free(s);
}

int log_shard_create(struct log *log, uint64_t uid, struct log_shard **out)
{
    if (log_shard_find(log, uid))
        return ST_EXISTS;
    struct log_shard *s = shard_new(log, uid);
    if (!s)
        return -ENOMEM;
    *out = s;
    return 0;
}

struct log_shard *log_shard_find(struct log *log, uint64_t uid)
{
    return hashmap_get(&log->map, uid_key(&uid));
}

void log_shard_info(const struct log_shard *s, struct log_shard_info *out)
{
    *out = (struct log_shard_info){
        .state = s->state,
        .first_counter = s->first_counter < s->durable_next ? s->first_counter : s->durable_next,
        .next_counter = s->next_counter,
        .visible_counter = visible_next(s, LOG_VISIBLE),
        .synced_counter = visible_next(s, LOG_SYNCED),
        .last_arrival = s->durable_arrival,
        .needed_counter = retain_floor(s),
        .disk_bytes = s->disk_bytes,
    };
    snprintf(out->trouble, sizeof out->trouble, "%s", s->trouble);
}

const struct log_stats *log_stats(const struct log *log)
{
    return &log->stats;
}

/* ---- the sweep: idle shards give everything back ---------------------------------------------------------------- */

/* True while the shard still holds something. */
static bool sweep_shard(struct log_shard *s, struct mono_ns before)
{
    bool holds = s->segment_file.id >= 0 || s->reader || list_linked(&s->unmigrated_link) || s->flush;
    if (!holds || s->last_append.ns > before.ns)
        return holds;
    if (list_linked(&s->unmigrated_link))
        flush_start(s, false);
    if (!s->flush)
        segment_close(s->log, &s->segment_file);
    read_idle_close(s);
    return holds;
}

static void sweep_fired(struct io_timer *t)
{
    struct log *log = CONTAINER_OF(t, struct log, sweep_timer);
    struct mono_ns before = mono_add_ms(loop_now(log->loop), -IDLE_MS);
    bool more = false;
    LIST_FOREACH_SAFE (it, &log->shards)
        more |= sweep_shard(CONTAINER_OF(it, struct log_shard, link), before);
    if (more)
        sweep_arm(log);
}

void sweep_arm(struct log *log)
{
    if (!log->opening && !log->closing && !timer_armed(&log->sweep_timer))
        timer_arm(log->loop, &log->sweep_timer, mono_add_ms(loop_now(log->loop), SWEEP_MS));
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void set_defaults(struct log_options *o)
{
    if (!o->journal_bytes)
        o->journal_bytes = 64u << 20;
    if (!o->segment_bytes_min)
        o->segment_bytes_min = 1u << 20;
    if (!o->segment_bytes_max)
        o->segment_bytes_max = 64u << 20;
    if (!o->cache_bytes)
        o->cache_bytes = 128u << 20;
    if (!o->direct_bytes)
        o->direct_bytes = 256u << 10;
    if (!o->mark_after_ms)
        o->mark_after_ms = 100;
    if (!o->sync_interval_ms)
        o->sync_interval_ms = 100;
    o->journal_bytes = page_up(o->journal_bytes < (256u << 10) ? 256u << 10 : o->journal_bytes);
    o->segment_bytes_min = page_up(o->segment_bytes_min < (64u << 10) ? 64u << 10 : o->segment_bytes_min);
    o->segment_bytes_max = page_up(o->segment_bytes_max);
    if (o->segment_bytes_max < o->segment_bytes_min)
        o->segment_bytes_max = o->segment_bytes_min;
    if (o->cache_bytes < (1u << 20))
        o->cache_bytes = 1u << 20;
    if (o->direct_bytes > o->journal_bytes / 8)
        o->direct_bytes = (uint32_t)(o->journal_bytes / 8);
}

int log_create(struct loop *loop, const struct log_options *options, const uint8_t uid[FRAME_UID_BYTES], uint32_t epoch,
               uint32_t index, uint32_t count, struct log **out)
{
    if (strlen(options->dir) >= LOG_DIR_MAX)
        return -ENAMETOOLONG;
    struct log *log = calloc(1, sizeof *log);
    if (!log)
        return -ENOMEM;
    log->loop = loop;
    log->options = *options;
    set_defaults(&log->options);
    snprintf(log->dir, sizeof log->dir, "%s", options->dir);
    log->options.dir = log->dir;
    memcpy(log->uid, uid, FRAME_UID_BYTES);
    log->epoch = epoch;
    log->index = index;
    log->count = count;
    uint64_t round = log->options.journal_bytes / 8;
    log->round_bytes_max = round < ROUND_BYTES_MAX ? (size_t)round : ROUND_BYTES_MAX;
    log->stats.sync = log->options.sync;
    log->stats.commit_us = &log->commit_us;
    log->stats.commit_bytes_sizes = &log->commit_sizes;
    hashmap_init(&log->map, epoch);
    struct list *lists[] = {&log->shards,  &log->dirty,           &log->unmigrated,      &log->news,
                            &log->changed, &log->flushes_waiting, &log->unsynced_shards, &log->held};
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        list_init(lists[i]);
    log->sweep_timer.fired = sweep_fired;
    journal_init(log);
    watch_init(log);
    retain_init(log);
    removal_init(log);
    *out = log;
    int status = cache_init(log);
    if (status == 0)
        status = round_init(log);
    read_init(log);
    return status;
}

void log_free(struct log *log)
{
    if (!log)
        return;
    LIST_FOREACH_SAFE (it, &log->shards)
        shard_free(CONTAINER_OF(it, struct log_shard, link));
    journal_free_all(log);
    round_deinit(log);
    cache_deinit(log);
    hashmap_deinit(&log->map);
    free(log);
}

void log_started(struct log *log)
{
    log->opening = false;
    LIST_FOREACH_SAFE (it, &log->shards) {
        struct log_shard *s = CONTAINER_OF(it, struct log_shard, link);
        if (s->deleting)
            removal_start(s, NULL);
    }
    expiry_now(log);
    sweep_arm(log);
    round_kick(log);
}

void log_task_started(struct log *log)
{
    log->tasks++;
}

void log_task_ended(struct log *log)
{
    CHECK(log->tasks > 0);
    log->tasks--;
    if (log->opening_hook)
        log->opening_hook->progress(log->opening_hook);
    else if (log->closing)
        round_kick(log);
}

/* ---- closing ----------------------------------------------------------------------------------------------------- */

static bool work_left(struct log *log)
{
    return log->tasks || log->round.busy || log->roll || !list_empty(&log->dirty);
}

static void close_end(struct log *log)
{
    struct log_close *c = log->close;
    struct io_timer *timers[] = {&log->mark_timer, &log->sweep_timer, &log->retry_timer, &log->sync_timer,
                                 &log->retain_timer};
    for (size_t i = 0; i < ARRAY_COUNT(timers); i++)
        timer_disarm(log->loop, timers[i]);
    struct io_defer *defers[] = {&log->kick, &log->read_defer, &log->watch_defer, &log->removal_defer};
    for (size_t i = 0; i < ARRAY_COUNT(defers); i++)
        loop_defer_cancel(defers[i]);
    c->status = log->final_done ? 0 : -EIO;
    log_free(log);
    c->done(c);
}

void log_close_step(struct log *log)
{
    if (!log->close || log->opening)
        return;
    bool stuck = timer_armed(&log->retry_timer); /* the disk refuses: do not wait for it */
    if (stuck && !log->round.busy && !log->roll)
        LIST_FOREACH_SAFE (it, &log->shards) {
            struct log_shard *s = CONTAINER_OF(it, struct log_shard, link);
            if (!s->flush)
                append_fail(s, ST_CLOSED);
        }
    if (work_left(log))
        return;
    if (!stuck && round_held(log)) {
        LIST_FOREACH_SAFE (it, &log->held)
            flush_start(CONTAINER_OF(it, struct log_shard, held_link), false);
        return;
    }
    if (!log->final_done && !stuck && log->journal && !log->files_closed) {
        if (!log->final_wanted) {
            log->final_wanted = true;
            round_kick(log);
        }
        return;
    }
    if (!log->files_closed) {
        log->files_closed = true;
        LIST_FOREACH (it, &log->shards)
            segment_close(log, &CONTAINER_OF(it, struct log_shard, link)->segment_file);
        struct list *lists[] = {&log->journals, &log->spares};
        for (int i = 0; i < 2; i++)
            LIST_FOREACH (it, lists[i])
                segment_close(log, &CONTAINER_OF(it, struct journal_file, link)->file);
        log->journal = NULL;
    }
    if (!log->tasks)
        close_end(log);
}

void log_close(struct log *log, struct log_close *c)
{
    CHECK(!log->close);
    log->close = c;
    log->closing = true;
    LIST_FOREACH_SAFE (it, &log->shards) {
        struct log_shard *s = CONTAINER_OF(it, struct log_shard, link);
        watch_wake_all(s);
        read_shard_gone(s, ST_CLOSED);
        read_idle_close(s);
        if (s->retain)
            retain_stop(s);
    }
    round_kick(log);
}
