/*
 * The libuv backend: for machines where io_uring is blocked (Docker's default seccomp profile, RHEL 9). libuv brings
 * the readiness loop: epoll, the wake, the timeout. Sockets are in loop_libuv_net.c.
 *
 * File operations run as blocking system calls on the files' lane of our own worker pool rather than through uv_fs_*:
 * a uv_fs_t would have to be allocated for each, its pool is sized by an environment variable, and rename_new,
 * fallocate and disk_free have no uv_fs_* at all. The op itself is the queue entry, so nothing is allocated.
 *
 * An io_poll holds its uv_poll_t in its own memory. It is one-shot: an event stops and closes the handle, and only the
 * close callback finishes the op, so that the memory is free for the next watch.
 *
 * Invariant: callbacks of libuv run only inside uv_run, that is inside wait (L2).
 * Failure modes: what libuv refuses is the raw result of the op (-errno: libuv's codes are the system's).
 * Thread: the loop's own, but wake.
 */
#include "common/io/loop_libuv.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/io/loop_system.h"
#include "common/io/worker_pool.h"

/* ---- polls ------------------------------------------------------------------------------------------------------- */

struct libuv_poll { /* in io_poll.backend */
    uv_poll_t handle;
    int result;
};
_Static_assert(sizeof(struct libuv_poll) <= sizeof(((struct io_poll *)0)->backend), "it has to fit");

static struct libuv_poll *watch_of(struct io_poll *p)
{
    return (struct libuv_poll *)(void *)p->backend;
}

static void poll_closed(uv_handle_t *handle)
{
    struct io_poll *p = handle->data;
    loop_op_finish(p->loop, &p->op, watch_of(p)->result);
}

static void poll_event(uv_poll_t *handle, int status, int events)
{
    struct io_poll *p = handle->data;
    watch_of(p)->result = status < 0 ? IO_POLL_ERR
                                     : (events & (UV_READABLE | UV_DISCONNECT) ? IO_POLL_IN : 0) |
                                           (events & UV_WRITABLE ? IO_POLL_OUT : 0);
    uv_poll_stop(handle);
    uv_close((uv_handle_t *)handle, poll_closed);
}

static int libuv_poll_arm(struct io_poll *p)
{
    struct libuv_poll *w = watch_of(p);
    int mask = (p->events & IO_POLL_IN ? UV_READABLE | UV_DISCONNECT : 0) | (p->events & IO_POLL_OUT ? UV_WRITABLE : 0);
    int r = uv_poll_init(&libuv_of(p->loop)->uv, &w->handle, p->fd);
    if (r < 0)
        return r;
    w->handle.data = p;
    w->result = -ECANCELED;
    r = uv_poll_start(&w->handle, mask ? mask : UV_PRIORITIZED, poll_event);
    if (r < 0) {
        w->result = r;
        uv_close((uv_handle_t *)&w->handle, poll_closed);
    }
    return 0;
}

static void libuv_poll_disarm(struct io_poll *p)
{
    uv_handle_t *handle = (uv_handle_t *)&watch_of(p)->handle;
    if (uv_is_closing(handle))
        return;
    uv_poll_stop(&watch_of(p)->handle);
    uv_close(handle, poll_closed);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

/* uv_run looks at its timers before it polls: one that is due already must keep that poll from blocking. */
static void timer_due(uv_timer_t *t)
{
    uv_stop(t->loop);
}

static void async_ignore(uv_async_t *a)
{
}

/* libuv counts in milliseconds: rounded up, so that a timer is due when the wait is over. */
static uint64_t ms_until(struct libuv_loop *u, struct mono_ns until)
{
    int64_t left = until.ns - system_mono(&u->loop).ns;
    return left <= 0 ? 0 : (uint64_t)((left + NS_PER_MS - 1) / NS_PER_MS);
}

static int libuv_wait(struct loop *loop, struct mono_ns until)
{
    struct libuv_loop *u = libuv_of(loop);
    uint64_t ms = until.ns == INT64_MIN || u->broken ? 0 : until.ns == INT64_MAX ? UINT64_MAX : ms_until(u, until);
    if (u->broken)
        libuv_broken_run(u);
    if (ms != 0 && ms != UINT64_MAX) {
        uv_update_time(&u->uv);
        uv_timer_start(&u->timer, timer_due, ms, 0);
    }
    uv_run(&u->uv, ms == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    uv_timer_stop(&u->timer);
    return 0;
}

static void libuv_wake(struct loop *loop)
{
    uv_async_send(&libuv_of(loop)->async);
}

static void libuv_cancel(struct loop *loop, struct io_op *op)
{
    if (!op->on_worker) /* a worker's result is soon there */
        libuv_net_cancel(loop, op);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void libuv_free(struct libuv_loop *u)
{
    uv_run(&u->uv, UV_RUN_NOWAIT); /* the close callbacks */
    CHECK(uv_loop_close(&u->uv) == 0);
    free(u->recv_buf);
    free(u);
}

static void libuv_destroy(struct loop *loop)
{
    struct libuv_loop *u = libuv_of(loop);
    uv_close((uv_handle_t *)&u->async, NULL);
    uv_close((uv_handle_t *)&u->timer, NULL);
    libuv_free(u);
    worker_pool_unref();
}

static const struct loop_backend libuv_backend = {
    .name = "libuv",
    .destroy = libuv_destroy,
    .submit = file_op_on_worker,
    .cancel = libuv_cancel,
    .wait = libuv_wait,
    .wake = libuv_wake,
    .mono = system_mono,
    .wall = system_wall,
    .random = system_random,
    .listen = libuv_listen,
    .listener_close = libuv_listener_close,
    .adopt = libuv_adopt,
    .refuse = libuv_refuse,
    .connect = libuv_connect,
    .send = libuv_send,
    .recv_start = libuv_recv_start,
    .recv_stop = libuv_recv_stop,
    .shutdown = libuv_shutdown,
    .close = libuv_close,
    .job = system_job,
    .poll_arm = libuv_poll_arm,
    .poll_disarm = libuv_poll_disarm,
    .spawn = process_spawn,
    .child_kill = process_kill,
    .signal_watch = process_signal_watch,
    .signal_unwatch = process_signal_unwatch,
};

/* Fills in what follows uv_loop_init; on failure the caller frees. */
static int loop_init(struct libuv_loop *u, uint32_t workers)
{
    int r = uv_async_init(&u->uv, &u->async, async_ignore);
    if (r < 0)
        return r;
    uv_timer_init(&u->uv, &u->timer);
    r = worker_pool_ref(workers);
    if (r < 0) {
        uv_close((uv_handle_t *)&u->async, NULL);
        uv_close((uv_handle_t *)&u->timer, NULL);
    }
    return r;
}

int loop_libuv_create(const struct loop_options *options, struct loop **out, struct err *e)
{
    struct libuv_loop *u = calloc(1, sizeof *u);
    uint8_t *recv_buf = malloc(LIBUV_RECV_BYTES);
    int r = u && recv_buf ? uv_loop_init(&u->uv) : -ENOMEM;
    if (r < 0) {
        free(u);
        free(recv_buf);
        return err_set_status(e, r, "libuv");
    }
    u->recv_buf = recv_buf;
    loop_core_init(&u->loop, &libuv_backend);
    r = loop_init(u, options->workers);
    if (r < 0) {
        libuv_free(u);
        return err_set_status(e, r, "libuv");
    }
    *out = &u->loop;
    return 0;
}
