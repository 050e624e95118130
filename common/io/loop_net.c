/*
 * Connections and listeners, as far as they are the same for every backend: the states of a connection (drawn at enum
 * conn_state), one send at a time, `ended` at most once, FIN after the send in flight, closing only after the send in
 * flight has completed.
 *
 * Happy path: net_adopt or net_connect ─▶ OPEN, receiving; data ─▶ ops->data; net_send ─▶ done; peer's FIN ─▶
 * ops->ended; net_close ─▶ the backend lets go ─▶ ops->closed.
 *
 * Failure modes: a broken connection shows as ops->ended with -errno and as the result of the send; the owner closes it.
 * Thread: the loop's own.
 */
#include "common/io/loop_backend.h"

#include "common/base/check.h"

#define SEND_IOV_MAX 64

/* ---- listeners --------------------------------------------------------------------------------------------------- */

int net_listen(struct loop *loop, struct net_listener *l, const struct net_address *at, struct err *e)
{
    *l = (struct net_listener){.accepted = l->accepted, .loop = loop, .fd = -1};
    int port = loop->backend->listen(loop, l, at, e);
    if (port < 0)
        return err_wrap(e, "listen on %s port %u", at->text, at->port);
    list_push_back(&loop->listeners, &l->link);
    return port;
}

void net_listener_close(struct net_listener *l, void (*closed)(struct net_listener *l))
{
    bool already = l->closing;
    l->closed = closed;
    l->closing = true;
    if (!already)
        l->loop->backend->listener_close(l);
}

void loop_listener_accepted(struct net_listener *l, int socket, const struct net_address *peer)
{
    if (l->closing)
        l->loop->backend->refuse(l->loop, socket);
    else
        l->accepted(l, socket, peer);
}

void loop_listener_closed(struct net_listener *l)
{
    list_remove(&l->link);
    if (l->closed)
        l->closed(l);
}

void net_refuse(struct loop *loop, int socket)
{
    loop->backend->refuse(loop, socket);
}

/* ---- connections: begin ------------------------------------------------------------------------------------------ */

static void conn_init(struct loop *loop, struct net_conn *conn, enum conn_state state)
{
    *conn = (struct net_conn){.ops = conn->ops, .loop = loop, .fd = -1, .state = (uint8_t)state};
}

static void conn_open(struct net_conn *conn)
{
    conn->state = CONN_OPEN;
    list_push_back(&conn->loop->conns, &conn->link);
    if (conn->loop->closing)
        net_close(conn);
    else
        conn->loop->backend->recv_start(conn);
}

void net_adopt(struct loop *loop, struct net_conn *conn, int socket)
{
    conn_init(loop, conn, CONN_OPEN);
    conn->fd = socket;
    loop->backend->adopt(loop, conn, socket);
    conn_open(conn);
}

void net_connect(struct loop *loop, struct net_conn *conn, const struct net_address *to, struct io_op *op)
{
    conn_init(loop, conn, CONN_CONNECTING);
    loop_op_start(loop, op, IO_KIND_CONNECT);
    op->conn = conn;
    conn->connecting = op;
    if (loop->closing)
        loop_op_finish_soon(loop, op, -ECANCELED);
    else
        loop->backend->connect(loop, conn, to, op);
}

static void connect_finished(struct net_conn *conn, struct io_op *op)
{
    conn->connecting = NULL;
    if (op->result < 0)
        conn->state = CONN_FREE;
    else
        conn_open(conn);
    op->done(op);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

void net_send(struct net_conn *conn, struct io_op *op, const struct iovec *iov, uint32_t count)
{
    CHECK(count <= SEND_IOV_MAX);
    CHECK(!conn->sending);
    loop_op_start(conn->loop, op, IO_KIND_SEND);
    op->conn = conn;
    op->vec = op->iov = iov;
    op->vec_count = op->iov_count = count;
    op->moved = 0;
    op->again = 0;
    op->length = 0;
    for (uint32_t i = 0; i < count; i++)
        op->length += iov[i].iov_len;
    if (conn->state != CONN_OPEN) { /* conn may be gone when this completes */
        op->conn = NULL;
        loop_op_finish_soon(conn->loop, op, -ECANCELED);
        return;
    }
    conn->sending = op;
    if (conn->shut)
        loop_op_finish_soon(conn->loop, op, -EPIPE);
    else if (op->length == 0)
        loop_op_finish_soon(conn->loop, op, 0);
    else
        conn->loop->backend->send(conn, op);
}

static void send_finished(struct net_conn *conn, struct io_op *op)
{
    if (!conn) {
        op->done(op);
        return;
    }
    conn->sending = NULL;
    bool closing = conn->state == CONN_CLOSING;
    if (conn->shut && !closing && op->result != -EPIPE)
        conn->loop->backend->shutdown(conn);
    op->done(op);
    if (closing) /* `closed` has not been called, so conn is still there */
        conn->loop->backend->close(conn);
}

void conn_op_finished(struct loop *loop, struct io_op *op)
{
    if (op->kind == IO_KIND_SEND)
        send_finished(op->conn, op);
    else
        connect_finished(op->conn, op);
}

void net_shutdown(struct net_conn *conn)
{
    if (conn->state != CONN_OPEN || conn->shut)
        return;
    conn->shut = true;
    if (!conn->sending)
        conn->loop->backend->shutdown(conn);
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

void net_pause(struct net_conn *conn)
{
    if (conn->state != CONN_OPEN || conn->paused)
        return;
    conn->paused = true;
    conn->loop->stats.recv_pauses++;
    conn->loop->backend->recv_stop(conn);
}

void net_resume(struct net_conn *conn)
{
    if (conn->state != CONN_OPEN || !conn->paused)
        return;
    conn->paused = false;
    conn->loop->backend->recv_start(conn);
}

void loop_conn_data(struct net_conn *conn, struct slice data)
{
    CHECK(conn->state == CONN_OPEN && !conn->paused);
    conn->ops->data(conn, data);
}

void loop_conn_ended(struct net_conn *conn, int status)
{
    if (conn->state != CONN_OPEN || conn->end_told)
        return;
    conn->end_told = true;
    conn->ops->ended(conn, status);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

void net_close(struct net_conn *conn)
{
    if (conn->state == CONN_CONNECTING)
        io_cancel(conn->loop, conn->connecting);
    if (conn->state != CONN_OPEN)
        return;
    conn->state = CONN_CLOSING;
    if (conn->sending)
        io_cancel(conn->loop, conn->sending);
    else
        conn->loop->backend->close(conn);
}

void loop_conn_closed(struct net_conn *conn)
{
    CHECK(conn->state == CONN_CLOSING && !conn->sending);
    list_remove(&conn->link);
    conn->state = CONN_FREE;
    conn->ops->closed(conn);
}
