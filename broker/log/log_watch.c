/*
 * Waking who waits for records, without polling: a watch is in its shard's list until a commit covers its counter, then
 * in the log's list of those to be woken at the end of the iteration (never inside log_watch or inside a commit's own
 * bookkeeping). One-shot. Thread: the loop's.
 */
#include "broker/log/log_internal.h"

static bool due(const struct log_shard *s, const struct log_watch *w)
{
    return s->removing || s->log->closing || s->state != LOG_SHARD_OK || visible_next(s, w->visibility) > w->counter;
}

static void wake_later(struct log *log, struct log_watch *w)
{
    list_remove(&w->link);
    list_push_back(&log->watch_ready, &w->link);
    loop_defer(log->loop, &log->watch_defer);
}

static void woken_deferred(struct io_defer *d)
{
    struct log *log = CONTAINER_OF(d, struct log, watch_defer);
    struct list ready;
    list_init(&ready);
    list_splice_back(&ready, &log->watch_ready);
    for (struct list *n; (n = list_pop_front(&ready));) {
        struct log_watch *w = CONTAINER_OF(n, struct log_watch, link);
        w->shard = NULL;
        w->woken(w);
    }
}

void watch_init(struct log *log)
{
    list_init(&log->watch_ready);
    log->watch_defer.run = woken_deferred;
}

void watch_check(struct log_shard *s)
{
    LIST_FOREACH_SAFE (it, &s->watches) {
        struct log_watch *w = CONTAINER_OF(it, struct log_watch, link);
        if (due(s, w))
            wake_later(s->log, w);
    }
}

void watch_wake_all(struct log_shard *s)
{
    LIST_FOREACH_SAFE (it, &s->watches)
        wake_later(s->log, CONTAINER_OF(it, struct log_watch, link));
}

void log_watch(struct log_shard *s, struct log_watch *w)
{
    w->shard = s;
    list_init(&w->link);
    if (due(s, w))
        wake_later(s->log, w);
    else
        list_push_back(&s->watches, &w->link);
}

void log_unwatch(struct log_watch *w)
{
    list_remove(&w->link);
    w->shard = NULL;
}
