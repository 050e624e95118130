/*
 * Sockets on io_uring. Accept and receive are multishot: armed once, they complete again and again without another
 * SQE, and an idle connection holds no memory but its own struct: receive buffers come from one ring a loop
 * (IORING_REGISTER_PBUF_RING) at the moment that bytes arrive, and go back when `data` returns.
 *
 * Pausing is lazy: most pauses end before another byte arrives, and then they cost nothing. Bytes that do arrive while
 * paused are held, and the first ones cancel the multishot receive: the connection keeps the chunk, and the ring gets a
 * spare one in its place, so that a paused connection never takes buffers from the others. What one can hold is what
 * the kernel delivers before the cancel takes effect (at most 32 buffers at a time). Once a quarter of RECV_HELD_MAX is
 * held, pausing cancels at once. recv_start first delivers what is held (uring_resumed_run), then arms again.
 *
 * A connection here:
 *     armed ──bytes while paused──▶ armed, cancel_sent ──CQE without MORE──▶ not armed ──resume──▶ armed
 *     closing: cancel if armed ──CQE without MORE──▶ close op ──CQE──▶ loop_conn_closed
 *
 * Failure modes
 *  - No buffer in the ring (-ENOBUFS): armed again in the next enter, when this iteration's buffers are back.
 *  - Too many held chunks (RECV_HELD_MAX) or no memory for a spare: the connection is ended with -ENOBUFS.
 *  - Out of descriptors in accept: a pause of 100 ms, then again.
 * Thread: the loop's own.
 */
#include "common/io/loop_uring.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/io/loop_system.h"

#define RECV_GROUP      0
#define RECV_HELD_MAX   4096u
#define ACCEPT_RETRY_MS 100

/* ---- receive buffers --------------------------------------------------------------------------------------------- */

static struct recv_chunk *chunk_get(struct uring_recv *r)
{
    struct recv_chunk *c = r->spare;
    if (!c)
        return malloc(sizeof *c + r->bytes);
    r->spare = c->next;
    r->spares--;
    return c;
}

static void chunk_put(struct uring_recv *r, struct recv_chunk *c)
{
    if (r->spares >= r->count) {
        free(c);
        return;
    }
    c->next = r->spare;
    r->spare = c;
    r->spares++;
}

/* Gives slot `bid` (back) to the kernel. */
static void ring_put(struct uring_recv *r, uint16_t bid)
{
    io_uring_buf_ring_add(r->ring, r->slot[bid]->bytes, r->bytes, bid, io_uring_buf_ring_mask(r->count), 0);
    io_uring_buf_ring_advance(r->ring, 1);
}

static uint32_t power_of_two(uint32_t n)
{
    uint32_t p = 1;
    while (p < n && p < 32768)
        p *= 2;
    return p;
}

int uring_recv_init(struct uring_loop *u, uint32_t count, uint32_t bytes)
{
    struct uring_recv *r = &u->recv;
    r->count = power_of_two(count);
    r->bytes = bytes;
    r->ring = io_buffer_alloc(r->count * sizeof(struct io_uring_buf));
    r->slot = calloc(r->count, sizeof *r->slot);
    if (!r->ring || !r->slot)
        return -ENOMEM;
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)r->ring, .ring_entries = r->count, .bgid = RECV_GROUP};
    io_uring_buf_ring_init(r->ring);
    int e = io_uring_register_buf_ring(&u->ring, &reg, 0);
    if (e < 0)
        return e;
    for (uint32_t i = 0; i < r->count; i++) {
        r->slot[i] = chunk_get(r);
        if (!r->slot[i])
            return -ENOMEM;
        ring_put(r, (uint16_t)i);
    }
    return 0;
}

void uring_recv_deinit(struct uring_loop *u)
{
    struct uring_recv *r = &u->recv;
    for (uint32_t i = 0; r->slot && i < r->count; i++)
        free(r->slot[i]);
    while (r->spare) {
        struct recv_chunk *next = r->spare->next;
        free(r->spare);
        r->spare = next;
    }
    free(r->slot);
    io_buffer_free(r->ring);
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

struct uring_conn { /* in net_conn.backend */
    struct recv_chunk *held_first, *held_last;
    struct net_conn *resumed_next;
    int end_status;
    bool end_pending; /* `ended` is due once what is held has been delivered */
    bool cancel_sent, in_resumed;
    bool closing, close_sent; /* the core wants it closed; the close op is in flight */
};
_Static_assert(sizeof(struct uring_conn) <= sizeof(((struct net_conn *)0)->backend), "it has to fit");

static struct uring_conn *state_of(struct net_conn *conn)
{
    return (struct uring_conn *)(void *)conn->backend;
}

static void recv_cqe(struct uring_loop *u, struct io_op *op, int res, unsigned flags);
static void close_go_on(struct uring_loop *u, struct net_conn *conn);

static void recv_arm(struct uring_loop *u, struct net_conn *conn)
{
    struct io_uring_sqe *sqe = uring_sqe(u, NULL);
    io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = RECV_GROUP;
    uring_internal(sqe, &conn->recv_op, recv_cqe);
    conn->recv_armed = true;
    state_of(conn)->cancel_sent = false;
}

static void recv_disarm(struct uring_loop *u, struct net_conn *conn)
{
    if (!conn->recv_armed || state_of(conn)->cancel_sent)
        return;
    state_of(conn)->cancel_sent = true;
    uring_cancel_op(u, &conn->recv_op);
}

static void recv_end(struct uring_loop *u, struct net_conn *conn, int status)
{
    struct uring_conn *c = state_of(conn);
    if (conn->paused || c->held_first || c->in_resumed) {
        c->end_pending = true;
        c->end_status = status;
    } else {
        loop_conn_ended(conn, status);
    }
}

/* Keeps the bytes of slot `bid` for later; the ring gets another chunk. */
static void recv_hold(struct uring_loop *u, struct net_conn *conn, uint16_t bid, uint32_t len)
{
    struct uring_recv *r = &u->recv;
    struct uring_conn *c = state_of(conn);
    struct recv_chunk *fresh = r->held < RECV_HELD_MAX ? chunk_get(r) : NULL;
    if (!fresh || c->end_pending) {
        if (fresh)
            chunk_put(r, fresh);
        if (!c->end_pending) {
            recv_disarm(u, conn);
            recv_end(u, conn, -ENOBUFS);
        }
        return;
    }
    struct recv_chunk *full = r->slot[bid];
    r->slot[bid] = fresh;
    full->len = len;
    full->next = NULL;
    if (c->held_first)
        c->held_last->next = full;
    else
        c->held_first = full;
    c->held_last = full;
    r->held++;
    recv_disarm(u, conn);
}

static struct recv_chunk *held_take(struct uring_loop *u, struct uring_conn *c)
{
    struct recv_chunk *chunk = c->held_first;
    if (chunk) {
        c->held_first = chunk->next;
        u->recv.held--;
    }
    return chunk;
}

static void recv_buffer(struct uring_loop *u, struct net_conn *conn, uint16_t bid, int res)
{
    struct uring_conn *c = state_of(conn);
    if (res > 0 && conn->state == CONN_OPEN && !c->end_pending) {
        if (conn->paused || c->held_first || c->in_resumed)
            recv_hold(u, conn, bid, (uint32_t)res);
        else
            loop_conn_data(conn, slice_of(u->recv.slot[bid]->bytes, (size_t)res));
    }
    ring_put(&u->recv, bid);
}

/* The multishot receive has ended: why, and what now? */
static void recv_stopped(struct uring_loop *u, struct net_conn *conn, int res)
{
    struct uring_conn *c = state_of(conn);
    if (conn->state == CONN_CLOSING) {
        close_go_on(u, conn);
        return;
    }
    if (c->end_pending || conn->end_told)
        return;
    switch (res) {
    case -ENOBUFS:
        u->loop.stats.recv_pauses++;
        break;
    case -ECANCELED:
    case -EINTR:
    case -EAGAIN:
        break;
    default:
        if (res <= 0) {
            recv_end(u, conn, res);
            return;
        }
    }
    if (!conn->paused && !c->in_resumed)
        recv_arm(u, conn);
}

static void recv_cqe(struct uring_loop *u, struct io_op *op, int res, unsigned flags)
{
    struct net_conn *conn = CONTAINER_OF(op, struct net_conn, recv_op);
    bool more = flags & IORING_CQE_F_MORE;
    if (flags & IORING_CQE_F_BUFFER)
        recv_buffer(u, conn, (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT), res);
    if (more)
        return;
    conn->recv_armed = false;
    recv_stopped(u, conn, res);
}

void uring_recv_start(struct net_conn *conn)
{
    struct uring_loop *u = uring_of(conn->loop);
    struct uring_conn *c = state_of(conn);
    if (c->held_first || c->end_pending) {
        if (!c->in_resumed) {
            c->in_resumed = true;
            c->resumed_next = u->resumed;
            u->resumed = conn;
        }
    } else if (!conn->recv_armed && !conn->end_told) {
        recv_arm(u, conn);
    }
    /* else a cancel is on its way; recv_stopped arms again */
}

void uring_recv_stop(struct net_conn *conn)
{
    struct uring_loop *u = uring_of(conn->loop);
    if (u->recv.held > RECV_HELD_MAX / 4)
        recv_disarm(u, conn);
}

static void resumed_deliver(struct uring_loop *u, struct net_conn *conn)
{
    struct uring_conn *c = state_of(conn);
    while (conn->state == CONN_OPEN && !conn->paused && c->held_first) {
        struct recv_chunk *chunk = held_take(u, c);
        loop_conn_data(conn, slice_of(chunk->bytes, chunk->len));
        chunk_put(&u->recv, chunk);
    }
    if (conn->state != CONN_OPEN || conn->paused)
        return;
    if (c->end_pending) {
        c->end_pending = false;
        loop_conn_ended(conn, c->end_status);
    } else if (!conn->recv_armed && !conn->end_told) {
        recv_arm(u, conn);
    }
}

void uring_resumed_run(struct uring_loop *u)
{
    struct net_conn *conn = u->resumed;
    u->resumed = NULL;
    while (conn) {
        struct net_conn *next = state_of(conn)->resumed_next;
        state_of(conn)->in_resumed = false;
        resumed_deliver(u, conn);
        conn = next;
    }
}

/* ---- begin and end of a connection ------------------------------------------------------------------------------- */

void uring_adopt(struct loop *loop, struct net_conn *conn, int socket)
{
}

void uring_refuse(struct loop *loop, int socket)
{
    close(socket);
}

void uring_connect(struct loop *loop, struct net_conn *conn, const struct net_address *to, struct io_op *op)
{
    struct sockaddr_storage sa;
    socklen_t len = 0;
    int r = socket_address(to, &sa, &len);
    if (r == 0)
        r = socket_create(&sa, 0);
    if (r < 0) {
        loop_op_finish_soon(loop, op, r);
        return;
    }
    conn->fd = r;
    union uring_aux *aux;
    struct io_uring_sqe *sqe = uring_sqe(uring_of(loop), &aux);
    memcpy(&aux->address, &sa, len);
    io_uring_prep_connect(sqe, conn->fd, (struct sockaddr *)&aux->address, len);
    io_uring_sqe_set_data(sqe, op);
}

void uring_connect_finished(struct io_op *op, int res)
{
    if (res < 0 && op->conn->fd >= 0) {
        close(op->conn->fd);
        op->conn->fd = -1;
    }
}

static void close_cqe(struct uring_loop *u, struct io_op *op, int res, unsigned flags)
{
    struct net_conn *conn = CONTAINER_OF(op, struct net_conn, close_op);
    conn->fd = -1;
    loop_conn_closed(conn);
}

static void close_go_on(struct uring_loop *u, struct net_conn *conn)
{
    struct uring_conn *c = state_of(conn);
    if (!c->closing || conn->recv_armed || c->close_sent || uring_abandoned(u))
        return;
    c->close_sent = true;
    struct recv_chunk *chunk;
    while ((chunk = held_take(u, c)) != NULL)
        chunk_put(&u->recv, chunk);
    struct io_uring_sqe *sqe = uring_sqe(u, NULL);
    io_uring_prep_close(sqe, conn->fd);
    uring_internal(sqe, &conn->close_op, close_cqe);
}

void uring_close(struct net_conn *conn)
{
    struct uring_loop *u = uring_of(conn->loop);
    state_of(conn)->closing = true;
    if (conn->recv_armed)
        recv_disarm(u, conn);
    else
        close_go_on(u, conn);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

void uring_send(struct net_conn *conn, struct io_op *op)
{
    union uring_aux *aux;
    struct io_uring_sqe *sqe = uring_sqe(uring_of(conn->loop), &aux);
    aux->msg = (struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)op->iov, .msg_iovlen = op->iov_count};
    io_uring_prep_sendmsg(sqe, conn->fd, &aux->msg, MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data(sqe, op);
}

void uring_shutdown(struct net_conn *conn)
{
    shutdown(conn->fd, SHUT_WR); /* does not block; the ring would hand it to a kernel thread */
}

/* ---- listeners --------------------------------------------------------------------------------------------------- */

struct uring_listener { /* net_listener.backend[0]; owned */
    struct io_timer retry;
    struct net_listener *l;
    bool armed, close_sent;
};

static struct uring_listener *listener_of(struct net_listener *l)
{
    return l->backend[0];
}

static void accept_arm(struct net_listener *l);

static void listener_close_cqe(struct uring_loop *u, struct io_op *op, int res, unsigned flags)
{
    struct net_listener *l = CONTAINER_OF(op, struct net_listener, op);
    free(listener_of(l));
    loop_listener_closed(l);
}

static void listener_close_go_on(struct net_listener *l)
{
    if (listener_of(l)->close_sent || uring_abandoned(uring_of(l->loop)))
        return;
    listener_of(l)->close_sent = true;
    timer_disarm(l->loop, &listener_of(l)->retry);
    struct io_uring_sqe *sqe = uring_sqe(uring_of(l->loop), NULL);
    io_uring_prep_close(sqe, l->fd);
    uring_internal(sqe, &l->op, listener_close_cqe);
}

static void accept_cqe(struct uring_loop *u, struct io_op *op, int res, unsigned flags)
{
    struct net_listener *l = CONTAINER_OF(op, struct net_listener, op);
    bool more = flags & IORING_CQE_F_MORE;
    if (!more)
        listener_of(l)->armed = false;
    if (res >= 0) {
        struct net_address peer;
        socket_peer(res, &peer);
        loop_listener_accepted(l, res, &peer);
    }
    if (more || listener_of(l)->armed)
        return;
    if (l->closing)
        listener_close_go_on(l);
    else if (res == -EMFILE || res == -ENFILE || res == -ENOBUFS || res == -ENOMEM)
        timer_arm(&u->loop, &listener_of(l)->retry, mono_add_ms(loop_now(&u->loop), ACCEPT_RETRY_MS));
    else
        accept_arm(l);
}

static void accept_arm(struct net_listener *l)
{
    struct io_uring_sqe *sqe = uring_sqe(uring_of(l->loop), NULL);
    io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
    uring_internal(sqe, &l->op, accept_cqe);
    listener_of(l)->armed = true;
}

static void accept_retry(struct io_timer *t)
{
    accept_arm(CONTAINER_OF(t, struct uring_listener, retry)->l);
}

int uring_listen(struct loop *loop, struct net_listener *l, const struct net_address *at, struct err *e)
{
    struct uring_listener *own = calloc(1, sizeof *own);
    if (!own)
        return err_set_status(e, -ENOMEM, "memory");
    int fd = socket_listen(at, 0, e);
    int port = fd < 0 ? fd : socket_port(fd);
    if (port < 0) {
        if (fd >= 0)
            close(fd);
        free(own);
        return port;
    }
    own->retry.fired = accept_retry;
    own->l = l;
    l->backend[0] = own;
    l->fd = fd;
    accept_arm(l);
    return port;
}

void uring_listener_close(struct net_listener *l)
{
    if (listener_of(l)->armed)
        uring_cancel_op(uring_of(l->loop), &l->op);
    else
        listener_close_go_on(l);
}

/* ---- after the owner --------------------------------------------------------------------------------------------- */

void uring_net_abandon(struct uring_loop *u)
{
    LIST_FOREACH_SAFE (n, &u->loop.conns) {
        struct net_conn *conn = CONTAINER_OF(n, struct net_conn, link);
        struct recv_chunk *chunk;
        if (!state_of(conn)->closing) /* a send is about to be completed first */
            continue;
        while ((chunk = held_take(u, state_of(conn))) != NULL)
            chunk_put(&u->recv, chunk);
        close(conn->fd);
        loop_conn_closed(conn);
    }
    LIST_FOREACH_SAFE (n, &u->loop.listeners) {
        struct net_listener *l = CONTAINER_OF(n, struct net_listener, link);
        close(l->fd);
        free(listener_of(l));
        loop_listener_closed(l);
    }
}
