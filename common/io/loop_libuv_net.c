/*
 * Sockets on libuv: plain non-blocking sockets watched by uv_poll. A send is tried at once and waits for writability
 * only when the socket is full; received bytes go through one buffer a loop, lent to `data` for the call. A connection
 * holds its uv_poll_t in its own memory: it is free again when the close callback has run, and only then is the
 * connection told to be closed, or a failed connect told to have failed.
 *
 * Failure modes
 *  - libuv refuses to watch a socket (epoll's limits): the connection is "broken", ended with that error in the next
 *    wait (libuv_broken_run).
 *  - Out of descriptors in accept: a pause of 100 ms, then again.
 * Thread: the loop's own.
 */
#include "common/io/loop_libuv.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/io/loop_system.h"

#define ACCEPT_RETRY_MS 100
#define ACCEPT_BATCH    64

struct libuv_conn { /* in net_conn.backend */
    uv_poll_t handle;
    int watched;          /* UV_READABLE, UV_WRITABLE */
    int16_t broken;       /* the errno for which there is no handle */
    int16_t connect_fail; /* what the connect's op will get once the handle is closed */
};
_Static_assert(sizeof(struct libuv_conn) <= sizeof(((struct net_conn *)0)->backend), "it has to fit");

static struct libuv_conn *state_of(struct net_conn *conn)
{
    return (struct libuv_conn *)(void *)conn->backend;
}

/* ---- watching ---------------------------------------------------------------------------------------------------- */

static void conn_event(uv_poll_t *handle, int status, int events);

static void watch(struct net_conn *conn, int events)
{
    struct libuv_conn *c = state_of(conn);
    if (c->broken || c->watched == events)
        return;
    c->watched = events;
    if (events)
        uv_poll_start(&c->handle, events, conn_event);
    else
        uv_poll_stop(&c->handle);
}

static int watch_open(struct net_conn *conn)
{
    struct libuv_conn *c = state_of(conn);
    int r = uv_poll_init(&libuv_of(conn->loop)->uv, &c->handle, conn->fd); /* makes it non-blocking */
    c->handle.data = conn;
    return r;
}

void libuv_broken_run(struct libuv_loop *u)
{
    LIST_FOREACH_SAFE (n, &u->loop.conns) {
        struct net_conn *conn = CONTAINER_OF(n, struct net_conn, link);
        if (!state_of(conn)->broken)
            continue;
        loop_conn_ended(conn, -state_of(conn)->broken);
        if (conn->state != CONN_CLOSING || conn->sending)
            continue;
        u->broken--;
        close(conn->fd);
        loop_conn_closed(conn);
    }
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* Bytes sent, -EAGAIN if the socket is full, or -errno. */
static int64_t send_try(struct net_conn *conn, const struct io_op *op)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)op->iov, .msg_iovlen = op->iov_count};
    ssize_t n;
    do {
        n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

void libuv_send(struct net_conn *conn, struct io_op *op)
{
    int64_t n = state_of(conn)->broken ? -state_of(conn)->broken : send_try(conn, op);
    if (n == -EAGAIN)
        watch(conn, state_of(conn)->watched | UV_WRITABLE);
    else
        loop_op_finish_soon(conn->loop, op, n);
}

static void conn_writable(struct net_conn *conn)
{
    struct io_op *op = conn->sending;
    if (!op || op->state != IO_IN_FLIGHT)
        return;
    int64_t n = send_try(conn, op);
    if (n == -EAGAIN) {
        watch(conn, state_of(conn)->watched | UV_WRITABLE);
        return;
    }
    watch(conn, state_of(conn)->watched & ~UV_WRITABLE);
    loop_op_finish(conn->loop, op, n);
}

void libuv_shutdown(struct net_conn *conn)
{
    shutdown(conn->fd, SHUT_WR);
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

void libuv_recv_start(struct net_conn *conn)
{
    if (!conn->end_told)
        watch(conn, state_of(conn)->watched | UV_READABLE);
}

void libuv_recv_stop(struct net_conn *conn)
{
    watch(conn, state_of(conn)->watched & ~UV_READABLE);
}

static void conn_readable(struct net_conn *conn)
{
    uint8_t *buf = libuv_of(conn->loop)->recv_buf;
    ssize_t n = recv(conn->fd, buf, LIBUV_RECV_BYTES, MSG_DONTWAIT);
    if (n > 0) {
        watch(conn, state_of(conn)->watched | UV_READABLE);
        loop_conn_data(conn, slice_of(buf, (size_t)n));
    } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        watch(conn, state_of(conn)->watched | UV_READABLE);
    } else {
        int status = n < 0 ? -errno : 0;
        watch(conn, state_of(conn)->watched & ~UV_READABLE);
        loop_conn_ended(conn, status);
    }
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

static void connect_failed(uv_handle_t *handle)
{
    struct net_conn *conn = handle->data;
    loop_op_finish(conn->loop, conn->connecting, -state_of(conn)->connect_fail);
}

static void connect_fail(struct net_conn *conn, int r)
{
    struct libuv_conn *c = state_of(conn);
    if (c->connect_fail)
        return;
    c->connect_fail = (int16_t)-r;
    uv_close((uv_handle_t *)&c->handle, connect_failed);
    close(conn->fd);
    conn->fd = -1;
}

static void connect_event(struct net_conn *conn)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error) {
        connect_fail(conn, -error);
        return;
    }
    watch(conn, 0);
    loop_op_finish(conn->loop, conn->connecting, 0);
}

/* Opens and connects; on failure nothing is left open. */
static int connect_start(struct net_conn *conn, const struct net_address *to)
{
    struct sockaddr_storage sa;
    socklen_t len = 0;
    int r = socket_address(to, &sa, &len);
    if (r < 0)
        return r;
    conn->fd = socket_create(&sa, SOCK_NONBLOCK);
    if (conn->fd < 0)
        return conn->fd;
    r = connect(conn->fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS ? -errno : 0;
    if (r == 0)
        r = watch_open(conn);
    if (r < 0) {
        close(conn->fd);
        conn->fd = -1;
    }
    return r;
}

void libuv_connect(struct loop *loop, struct net_conn *conn, const struct net_address *to, struct io_op *op)
{
    int r = connect_start(conn, to);
    if (r < 0)
        loop_op_finish_soon(loop, op, r);
    else
        watch(conn, UV_WRITABLE);
}

void libuv_net_cancel(struct loop *loop, struct io_op *op)
{
    struct net_conn *conn = op->conn;
    if (op->kind == IO_KIND_CONNECT) {
        connect_fail(conn, -ECANCELED);
    } else {
        watch(conn, state_of(conn)->watched & ~UV_WRITABLE);
        loop_op_finish_soon(loop, op, -ECANCELED);
    }
}

/* ---- events and life of a connection ----------------------------------------------------------------------------- */

static void conn_event(uv_poll_t *handle, int status, int events)
{
    struct net_conn *conn = handle->data;
    struct libuv_conn *c = state_of(conn);
    if (status < 0) { /* libuv has stopped the watch: let the calls themselves say what is wrong */
        events = c->watched;
        c->watched = 0;
    }
    if (conn->state == CONN_CONNECTING) {
        connect_event(conn);
        return;
    }
    bool read = events & UV_READABLE;
    if (events & UV_WRITABLE)
        conn_writable(conn);
    if (read && conn->state == CONN_OPEN && !conn->paused && !conn->end_told)
        conn_readable(conn);
}

void libuv_adopt(struct loop *loop, struct net_conn *conn, int socket)
{
    int r = watch_open(conn);
    if (r < 0) {
        state_of(conn)->broken = (int16_t)-r;
        libuv_of(loop)->broken++;
    }
}

void libuv_refuse(struct loop *loop, int socket)
{
    close(socket);
}

static void conn_closed(uv_handle_t *handle)
{
    loop_conn_closed(handle->data);
}

void libuv_close(struct net_conn *conn)
{
    if (state_of(conn)->broken)
        return; /* libuv_broken_run */
    uv_close((uv_handle_t *)&state_of(conn)->handle, conn_closed);
    close(conn->fd);
    conn->fd = -1;
}

/* ---- listeners --------------------------------------------------------------------------------------------------- */

struct libuv_listener { /* net_listener.backend[0]; owned */
    uv_poll_t handle;
    struct io_timer retry;
    struct net_listener *l;
};

static struct libuv_listener *listener_of(struct net_listener *l)
{
    return l->backend[0];
}

static void listener_event(uv_poll_t *handle, int status, int events)
{
    struct net_listener *l = ((struct libuv_listener *)handle->data)->l;
    for (int i = 0; i < ACCEPT_BATCH && !l->closing; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            struct net_address peer;
            socket_peer(fd, &peer);
            loop_listener_accepted(l, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            uv_poll_stop(handle);
            timer_arm(l->loop, &listener_of(l)->retry, mono_add_ms(loop_now(l->loop), ACCEPT_RETRY_MS));
            return;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

static void accept_retry(struct io_timer *t)
{
    struct libuv_listener *own = CONTAINER_OF(t, struct libuv_listener, retry);
    uv_poll_start(&own->handle, UV_READABLE, listener_event);
}

int libuv_listen(struct loop *loop, struct net_listener *l, const struct net_address *at, struct err *e)
{
    struct libuv_listener *own = calloc(1, sizeof *own);
    if (!own)
        return err_set_status(e, -ENOMEM, "memory");
    int fd = socket_listen(at, SOCK_NONBLOCK, e);
    int port = fd < 0 ? fd : socket_port(fd);
    int r = port < 0 ? port : uv_poll_init(&libuv_of(loop)->uv, &own->handle, fd);
    if (r < 0) {
        if (fd >= 0) {
            close(fd);
            err_set_status(e, r, "watch");
        }
        free(own);
        return r;
    }
    own->handle.data = own;
    own->retry.fired = accept_retry;
    own->l = l;
    l->backend[0] = own;
    l->fd = fd;
    uv_poll_start(&own->handle, UV_READABLE, listener_event);
    return port;
}

static void listener_closed(uv_handle_t *handle)
{
    struct libuv_listener *own = handle->data;
    struct net_listener *l = own->l;
    free(own);
    loop_listener_closed(l);
}

void libuv_listener_close(struct net_listener *l)
{
    timer_disarm(l->loop, &listener_of(l)->retry);
    uv_close((uv_handle_t *)&listener_of(l)->handle, listener_closed);
    close(l->fd);
    l->fd = -1;
}
