/*
 * The part of a loop that is the same for every backend: its iteration, completing each op exactly once, deferred
 * functions, the mailbox, jobs, foreign descriptors, the end. File operations are in loop_file.c, connections in
 * loop_net.c, timers in loop_timer.c.
 *
 * An iteration (loop_core_step):
 *   1. wait        the backend submits what is queued and gathers completions: each op's `done`, connections' data
 *   2. ready       ops whose result was known when they were submitted
 *   3. mail        messages of other threads, among them finished jobs
 *   4. timers      those that are due
 *   5. deferred    after all of the above (L7)
 *
 * Invariants
 *  C1. An op is in `ops` or in `ready` exactly while its state is not IO_IDLE; in_flight counts them.
 *  C2. `sleeping` is true only around a wait that may block, and is set before the mailbox is looked at for the last
 *      time: whoever posts either is seen by that look or sees `sleeping` and wakes.
 *  C3. A thread inside loop_post or loop_stop is counted in `posting`, so that loop_destroy does not free under it.
 *
 * Failure modes: if the backend breaks (wait returns < 0), loop_run returns that error; nothing is completed falsely.
 * Thread: the loop's own, but loop_post and loop_stop.
 */
#include "common/io/loop_backend.h"

#include <sched.h>
#include <string.h>

#include "common/base/check.h"

void loop_core_init(struct loop *loop, const struct loop_backend *backend)
{
    loop->backend = backend;
    list_init(&loop->deferred);
    list_init(&loop->ops);
    list_init(&loop->ready);
    list_init(&loop->conns);
    list_init(&loop->listeners);
    list_init(&loop->signals);
}

/* ---- clocks ----------------------------------------------------------------------------------------------------- */

struct mono_ns loop_now(struct loop *loop)
{
    if (!loop->now_fresh) {
        loop->now = loop->backend->mono(loop);
        loop->now_fresh = true;
    }
    return loop->now;
}

struct mono_ns loop_now_precise(struct loop *loop)
{
    return loop->backend->mono(loop);
}

struct wall_ms loop_wall(struct loop *loop)
{
    if (!loop->wall_fresh) {
        loop->wall = loop->backend->wall(loop);
        loop->wall_fresh = true;
    }
    return loop->wall;
}

void loop_random(struct loop *loop, void *out, size_t len)
{
    loop->backend->random(loop, out, len);
}

static void clocks_expire(struct loop *loop)
{
    loop->now_fresh = false;
    loop->wall_fresh = false;
}

/* ---- ops -------------------------------------------------------------------------------------------------------- */

void loop_op_start(struct loop *loop, struct io_op *op, enum io_kind kind)
{
    CHECK(op->state == IO_IDLE);
    op->kind = (uint8_t)kind;
    op->state = IO_IN_FLIGHT;
    op->flags_out = 0;
    op->loop = loop;
    list_push_back(&loop->ops, &op->link);
    loop->in_flight++;
    loop->stats.ops++;
}

void loop_op_finish_soon(struct loop *loop, struct io_op *op, int64_t raw_result)
{
    CHECK(op->state != IO_IDLE);
    op->result = raw_result;
    op->state = op->state == IO_CANCELLING ? IO_READY_CANCELLING : IO_READY;
    list_remove(&op->link);
    list_push_back(&loop->ready, &op->link);
}

void loop_op_finish(struct loop *loop, struct io_op *op, int64_t raw_result)
{
    CHECK(op->state != IO_IDLE);
    if (file_op_goes_on(loop, op, &raw_result))
        return;
    list_remove(&op->link);
    op->state = IO_IDLE;
    op->result = raw_result;
    loop->in_flight--;
    switch (op->kind) {
    case IO_KIND_SEND:
    case IO_KIND_CONNECT:
        conn_op_finished(loop, op);
        break;
    case IO_KIND_POLL:
        poll_op_finished(loop, op);
        break;
    default:
        op->done(op);
    }
}

void io_cancel(struct loop *loop, struct io_op *op)
{
    if (op->state == IO_READY)
        op->state = IO_READY_CANCELLING; /* it may be the first part of a transfer: no more follows */
    if (op->state != IO_IN_FLIGHT)
        return;
    op->state = IO_CANCELLING;
    loop->backend->cancel(loop, op);
}

/* Ops that finish_soon'ed before this step; those that come while they run wait for the next one. */
static void ready_run(struct loop *loop)
{
    struct list batch;
    list_init(&batch);
    list_splice_back(&batch, &loop->ready);
    struct list *n;
    while ((n = list_pop_front(&batch)) != NULL) {
        struct io_op *op = CONTAINER_OF(n, struct io_op, link);
        list_push_back(&loop->ops, n);
        op->state = op->state == IO_READY ? IO_IN_FLIGHT : IO_CANCELLING;
        loop_op_finish(loop, op, op->result);
    }
}

/* ---- deferred functions ------------------------------------------------------------------------------------------ */

void loop_defer(struct loop *loop, struct io_defer *d)
{
    if (!list_linked(&d->link))
        list_push_back(&loop->deferred, &d->link);
}

void loop_defer_cancel(struct io_defer *d)
{
    list_remove(&d->link);
}

static void deferred_run(struct loop *loop)
{
    struct list batch;
    list_init(&batch);
    list_splice_back(&batch, &loop->deferred);
    struct list *n;
    while ((n = list_pop_front(&batch)) != NULL) {
        struct io_defer *d = CONTAINER_OF(n, struct io_defer, link);
        d->run(d);
    }
}

/* ---- other threads ----------------------------------------------------------------------------------------------- */

static void wake_if_sleeping(struct loop *loop)
{
    if (atomic_load(&loop->sleeping) && atomic_exchange(&loop->sleeping, false))
        loop->backend->wake(loop);
}

void loop_post(struct loop *to, struct io_msg *m)
{
    atomic_fetch_add_explicit(&to->posting, 1, memory_order_relaxed);
    m->next = atomic_load_explicit(&to->mail, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&to->mail, &m->next, m)) {
    }
    wake_if_sleeping(to);
    atomic_fetch_sub_explicit(&to->posting, 1, memory_order_release);
}

void loop_stop(struct loop *loop)
{
    atomic_fetch_add_explicit(&loop->posting, 1, memory_order_relaxed);
    atomic_store(&loop->stopping, true);
    wake_if_sleeping(loop);
    atomic_fetch_sub_explicit(&loop->posting, 1, memory_order_release);
}

static void mail_deliver(struct loop *loop)
{
    if (!atomic_load_explicit(&loop->mail, memory_order_relaxed))
        return;
    struct io_msg *m = atomic_exchange(&loop->mail, NULL), *in_order = NULL;
    while (m) {
        struct io_msg *next = m->next;
        m->next = in_order;
        in_order = m;
        m = next;
    }
    while (in_order) {
        struct io_msg *next = in_order->next; /* deliver may free or post it again */
        loop->stats.posts++;
        in_order->deliver(in_order);
        in_order = next;
    }
}

void job_submit(struct loop *loop, struct io_job *j)
{
    j->loop = loop;
    loop->jobs++;
    loop->backend->job(loop, j);
}

void loop_job_finish(struct io_job *j)
{
    CHECK(j->loop->jobs > 0);
    j->loop->jobs--;
    j->done(j);
}

/* ---- foreign descriptors ----------------------------------------------------------------------------------------- */

/* In op.flags_out: the watch that is being cancelled is followed by another when it ends. */
#define POLL_AGAIN 1u

/* Starts the watch that p asks for; a refusal comes as IO_POLL_ERR. */
static void poll_start(struct io_poll *p)
{
    loop_op_start(p->loop, &p->op, IO_KIND_POLL);
    if (p->loop->closing || p->loop->backend->poll_arm(p) < 0)
        loop_op_finish_soon(p->loop, &p->op, IO_POLL_ERR);
}

void poll_arm(struct loop *loop, struct io_poll *p, int fd, unsigned events)
{
    poll_disarm(p);
    p->loop = loop;
    p->fd = fd;
    p->events = events;
    p->armed = true;
    if (p->op.state == IO_IDLE)
        poll_start(p);
    else
        p->op.flags_out = POLL_AGAIN;
}

void poll_disarm(struct io_poll *p)
{
    p->armed = false;
    if (p->op.state != IO_IN_FLIGHT)
        return;
    p->op.state = IO_CANCELLING;
    p->loop->backend->poll_disarm(p);
}

bool poll_idle(const struct io_poll *p)
{
    return p->op.state == IO_IDLE;
}

void poll_op_finished(struct loop *loop, struct io_op *op)
{
    struct io_poll *p = CONTAINER_OF(op, struct io_poll, op);
    if (loop->closing || !p->armed)
        return;
    if (p->op.flags_out == POLL_AGAIN) {
        poll_start(p);
        return;
    }
    p->armed = false;
    p->ready(p, op->result < 0 ? IO_POLL_ERR : (unsigned)op->result);
}

/* ---- children and signals: the backend's ------------------------------------------------------------------------- */

int child_spawn(struct loop *loop, struct io_child *c, const char *const *argv, struct err *e)
{
    c->loop = loop;
    return loop->backend->spawn(loop, c, argv, e);
}

void child_kill(struct io_child *c, int signal)
{
    c->loop->backend->child_kill(c, signal);
}

int signal_watch(struct loop *loop, struct io_signal *s, int signal)
{
    s->loop = loop;
    s->signal = signal;
    int r = loop->backend->signal_watch(s);
    if (r < 0)
        return r;
    list_push_back(&loop->signals, &s->link);
    return 0;
}

void signal_unwatch(struct io_signal *s)
{
    if (!list_linked(&s->link))
        return;
    list_remove(&s->link);
    s->loop->backend->signal_unwatch(s);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

bool loop_has_work(const struct loop *loop)
{
    return !list_empty(&loop->ready) || (!list_empty(&loop->deferred) && !loop->closing) ||
           (atomic_load(&loop->stopping) && !loop->closing) || atomic_load(&loop->mail) != NULL;
}

int loop_core_step(struct loop *loop, bool may_block)
{
    struct mono_ns until = {INT64_MIN};
    if (may_block && !loop_has_work(loop)) {
        atomic_store(&loop->sleeping, true);
        if (!loop_has_work(loop)) /* C2 */
            until = loop->closing ? (struct mono_ns){INT64_MAX} : loop_next_timer(loop);
    }
    clocks_expire(loop);
    int r = loop->backend->wait(loop, until);
    /* Whoever posts from here on need not wake. If the flag is down already somebody has woken us. */
    if (until.ns != INT64_MIN && !atomic_load_explicit(&loop->sleeping, memory_order_relaxed))
        loop->stats.wakeups++;
    atomic_store_explicit(&loop->sleeping, false, memory_order_relaxed);
    if (r < 0)
        return r;
    loop->stats.iterations++;
    ready_run(loop);
    mail_deliver(loop);
    if (!loop->closing) {
        loop_timers_fire(loop);
        deferred_run(loop);
    }
    clocks_expire(loop);
    return 0;
}

int loop_run(struct loop *loop)
{
    int r = 0;
    do {
        r = loop_core_step(loop, true);
    } while (r == 0 && !atomic_load(&loop->stopping));
    atomic_store(&loop->stopping, false);
    return r;
}

static void everything_cancel(struct loop *loop)
{
    LIST_FOREACH_SAFE (n, &loop->signals)
        signal_unwatch(CONTAINER_OF(n, struct io_signal, link));
    LIST_FOREACH_SAFE (n, &loop->listeners) {
        struct net_listener *l = CONTAINER_OF(n, struct net_listener, link);
        net_listener_close(l, l->closed);
    }
    LIST_FOREACH_SAFE (n, &loop->conns)
        net_close(CONTAINER_OF(n, struct net_conn, link));
    /* A cancelled op may go to `ready`, and so out of this list, at once. */
    LIST_FOREACH_SAFE (n, &loop->ops) {
        struct io_op *op = CONTAINER_OF(n, struct io_op, link);
        if (op->kind == IO_KIND_POLL)
            poll_disarm(CONTAINER_OF(op, struct io_poll, op));
        else
            io_cancel(loop, op);
    }
}

void loop_destroy(struct loop *loop)
{
    if (!loop)
        return;
    loop->closing = true;
    atomic_store(&loop->stopping, false);
    everything_cancel(loop);
    while (loop->in_flight || loop->jobs || !list_empty(&loop->conns) || !list_empty(&loop->listeners)) {
        if (loop_core_step(loop, true) < 0)
            break;
    }
    while (atomic_load_explicit(&loop->posting, memory_order_acquire) != 0) /* C3: a few instructions long */
        sched_yield();
    loop->backend->destroy(loop);
}

const char *loop_backend_name(const struct loop *loop)
{
    return loop->backend->name;
}

int loop_fallback_errno(const struct loop *loop)
{
    return loop->fallback_errno;
}

const struct loop_stats *loop_stats(const struct loop *loop)
{
    return &loop->stats;
}
