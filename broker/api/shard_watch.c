/*
 * Waiting for a shard's records, and holding back its retention, from any loop; the second half of shard_call.h.
 *
 * A struct that waits has two sides. The home loop decides (cancel, raise, remove), the owner acts; each message is at
 * one side at a time, and the flags below say which side may touch what:
 *   watch: msg is out from the call to the wake-up; cancel_msg from the cancel to its way back, which, as messages
 *          keep their order, comes behind msg's. `woken` is called when the last of the two is home.
 *   need:  msg is out while `busy`; lost_msg is the owner's until it is sent, and back there before the next one.
 */
#include "broker/api/api_impl.h"
#include "broker/api/shard_call.h"

static struct api_loop *owner_of(struct api_loop *l, uint64_t shard_uid)
{
    return &l->api->loop[api_shard_owner(l->api, shard_uid)];
}

/* ---- watch -------------------------------------------------------------------------------------------------------- */

static void watch_back(struct io_msg *m)
{
    struct shard_watch *w = CONTAINER_OF(m, struct shard_watch, msg);
    if (w->cancelling)
        return; /* watch_cancel_back follows */
    w->active = false;
    w->woken(w);
}

static void watch_fire(struct shard_watch *w, int status)
{
    w->armed = false;
    w->status = status;
    api_send(owner_of(w->home, w->shard_uid), w->home, &w->msg, watch_back);
}

static void watch_woken(struct log_watch *log)
{
    struct shard_watch *w = CONTAINER_OF(log, struct shard_watch, log);
    struct api_loop *owner = owner_of(w->home, w->shard_uid);
    watch_fire(w, log_shard_find(owner->log, w->shard_uid) ? 0 : ST_NOT_FOUND);
}

static void watch_run(struct io_msg *m)
{
    struct shard_watch *w = CONTAINER_OF(m, struct shard_watch, msg);
    struct log_shard *shard = log_shard_find(owner_of(w->home, w->shard_uid)->log, w->shard_uid);
    if (!shard) {
        watch_fire(w, ST_NOT_FOUND);
        return;
    }
    w->armed = true;
    w->log.woken = watch_woken;
    w->log.counter = w->counter;
    w->log.visibility = w->visibility;
    log_watch(shard, &w->log);
}

void shard_watch(struct api_loop *l, struct shard_watch *w)
{
    w->home = l;
    w->active = true;
    w->cancelling = w->armed = false;
    api_send(l, owner_of(l, w->shard_uid), &w->msg, watch_run);
}

static void watch_cancel_back(struct io_msg *m)
{
    struct shard_watch *w = CONTAINER_OF(m, struct shard_watch, cancel_msg);
    w->cancelling = w->active = false;
    w->woken(w);
}

static void watch_cancel_run(struct io_msg *m)
{
    struct shard_watch *w = CONTAINER_OF(m, struct shard_watch, cancel_msg);
    if (w->armed) {
        log_unwatch(&w->log);
        watch_fire(w, -ECANCELED);
    }
    api_send(owner_of(w->home, w->shard_uid), w->home, m, watch_cancel_back);
}

void shard_watch_cancel(struct shard_watch *w)
{
    if (!w->active || w->cancelling)
        return;
    w->cancelling = true;
    api_send(w->home, owner_of(w->home, w->shard_uid), &w->cancel_msg, watch_cancel_run);
}

/* ---- need --------------------------------------------------------------------------------------------------------- */

static void lost_send(struct shard_need *n);

/* The end of a removal: both messages are at home, and the log has forgotten the need. */
static void need_removed(struct io_msg *m)
{
    struct shard_need *n = CONTAINER_OF(m, struct shard_need, msg);
    n->removed(n);
}

static void lost_returned(struct io_msg *m)
{
    struct shard_need *n = CONTAINER_OF(m, struct shard_need, lost_msg);
    n->lost_out = false;
    if (n->gone)
        api_send(owner_of(n->home, n->shard_uid), n->home, &n->msg, need_removed);
    else if (n->lost_from != n->lost_to)
        lost_send(n);
}

static void lost_arrived(struct io_msg *m)
{
    struct shard_need *n = CONTAINER_OF(m, struct shard_need, lost_msg);
    if (n->lost && !n->removed)
        n->lost(n, n->told_from, n->told_to);
    api_send(n->home, owner_of(n->home, n->shard_uid), m, lost_returned);
}

static void lost_send(struct shard_need *n)
{
    n->told_from = n->lost_from;
    n->told_to = n->lost_to;
    n->lost_from = n->lost_to = 0;
    n->lost_out = true;
    api_send(owner_of(n->home, n->shard_uid), n->home, &n->lost_msg, lost_arrived);
}

static void need_lost(struct log_need *log, uint64_t from, uint64_t to)
{
    struct shard_need *n = CONTAINER_OF(log, struct shard_need, log);
    if (n->lost_from == n->lost_to)
        n->lost_from = from;
    n->lost_to = to;
    if (!n->lost_out)
        lost_send(n);
}

static void need_back(struct io_msg *m)
{
    struct shard_need *n = CONTAINER_OF(m, struct shard_need, msg);
    n->busy = false;
    if (n->again)
        shard_need_moved(n);
}

static void need_remove_run(struct shard_need *n)
{
    if (n->held)
        log_need_remove(&n->log);
    n->held = false;
    n->gone = true;
    if (!n->lost_out)
        api_send(owner_of(n->home, n->shard_uid), n->home, &n->msg, need_removed);
}

static void need_run(struct io_msg *m)
{
    struct shard_need *n = CONTAINER_OF(m, struct shard_need, msg);
    struct api_loop *owner = owner_of(n->home, n->shard_uid);
    struct log_shard *shard = log_shard_find(owner->log, n->shard_uid);
    if (n->sent_remove) {
        need_remove_run(n);
        return;
    }
    n->log.counter = n->sent_counter;
    if (!shard) {
        n->held = false; /* its log went with it */
    } else if (n->held) {
        log_need_moved(&n->log);
    } else {
        n->held = true;
        n->log.lost = need_lost;
        log_need_add(shard, &n->log);
    }
    api_send(owner, n->home, m, need_back);
}

void shard_need_moved(struct shard_need *n)
{
    if (n->busy) {
        n->again = true;
        return;
    }
    n->again = false;
    n->busy = true;
    n->sent_counter = n->counter;
    n->sent_remove = n->removed != NULL;
    api_send(n->home, owner_of(n->home, n->shard_uid), &n->msg, need_run);
}

void shard_need_add(struct api_loop *l, struct shard_need *n)
{
    n->home = l;
    n->busy = n->again = n->held = n->gone = n->lost_out = n->sent_remove = false;
    n->removed = NULL;
    n->lost_from = n->lost_to = 0;
    shard_need_moved(n);
}

void shard_need_remove(struct shard_need *n, void (*removed)(struct shard_need *n))
{
    n->removed = removed;
    shard_need_moved(n);
}
