/*
 * The simulated network: pairs of sockets between the loops of a world. Bytes that are sent go into the peer's inbox (a
 * bounded one: back-pressure is real) and come out of it in random portions after random delays. A delivery may reset
 * the connection instead (sim_faults.reset).
 *
 * A pair lives until both ends are gone. An end is gone once its connection was closed or its socket refused; what its
 * peer sends then gives -EPIPE, after what was under way has been read, as a FIN does. Thread: the world's.
 */
#include "tests/sim/sim_internal.h"
#include <arpa/inet.h>

#define INBOX_BYTES   (192u << 10)
#define PORTION_BYTES 16384u

struct sim_socket {
    struct sim_world *world;
    struct sim_socket *peer;
    struct sim_loop *loop; /* NULL before it was adopted */
    struct net_conn *conn;
    int id;
    bool receiving, gone, reset;
    bool fin;             /* the peer has ended its direction */
    bool told;            /* the end was told */
    struct io_op *parked; /* a send that waits for room */
    struct sim_event *send_event, *deliver_event;
    uint32_t inbox_bytes;
    uint8_t inbox[INBOX_BYTES];
    struct list link;
};

/* A port that somebody listens on, one for each listener. Kept while connections to it are on their way. */
struct sim_port {
    struct net_listener *listener; /* NULL: closed */
    struct sim_loop *loop;
    uint16_t port;
    struct list link;
};

static struct sim_socket *socket_of(struct net_conn *conn)
{
    return conn->backend[0];
}

static int64_t latency(struct sim_world *w)
{
    return (int64_t)sim_between(w, 5 * US, sim_chance(w, 50000) ? 20000 * US : 100 * US);
}

/* ---- delivering -------------------------------------------------------------------------------------------------- */

static void deliver(struct sim_event *e);

static void deliver_soon(struct sim_socket *s)
{
    bool news = s->inbox_bytes || ((s->fin || s->reset) && !s->told);
    if (!s->conn || !s->receiving || s->deliver_event || !news)
        return;
    s->deliver_event = sim_event_add(s->loop, deliver, latency(s->world));
    s->deliver_event->socket = s;
}

static void send_do(struct sim_event *e);

/* A parked send goes on: there is room, or there never will be. */
static void unpark(struct sim_socket *s)
{
    if (!s->parked)
        return;
    s->send_event = sim_event_add(s->loop, send_do, latency(s->world));
    s->send_event->socket = s;
    s->send_event->op = s->parked;
    s->parked = NULL;
}

static void reset_both(struct sim_socket *s)
{
    struct sim_socket *both[2] = {s, s->peer};
    for (int i = 0; i < 2; i++) {
        both[i]->reset = true;
        both[i]->inbox_bytes = 0;
        unpark(both[i]);
        deliver_soon(both[i]);
    }
}

static void end_tell(struct sim_socket *s)
{
    if (s->told)
        return;
    s->told = true;
    loop_conn_ended(s->conn, s->reset ? -ECONNRESET : 0);
}

static void deliver(struct sim_event *e)
{
    struct sim_socket *s = e->socket;
    struct sim_world *w = s->world;
    s->deliver_event = NULL;
    if (!s->reset && s->inbox_bytes && sim_chance(w, w->options.faults.reset)) {
        w->faults_hit++;
        reset_both(s);
    }
    if (!s->inbox_bytes) {
        if (s->reset || s->fin)
            end_tell(s);
        return;
    }
    uint32_t most = s->inbox_bytes < PORTION_BYTES ? s->inbox_bytes : PORTION_BYTES;
    uint32_t len = sim_chance(w, 500000) ? most : (uint32_t)sim_between(w, 1, most);
    uint8_t *portion = sim_heap_keep(len); /* exactly as long as lent: reading past it is seen by ASan */
    memcpy(portion, s->inbox, len);
    memmove(s->inbox, s->inbox + len, s->inbox_bytes - len);
    s->inbox_bytes -= len;
    if (s->peer)
        unpark(s->peer);
    deliver_soon(s);
    loop_conn_data(s->conn, slice_of(portion, len));
    sim_heap_keep_free(portion);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* Moves a part of the vector into the peer's inbox; 0: no room. */
static uint64_t send_some(struct sim_socket *s, const struct io_op *op)
{
    struct sim_world *w = s->world;
    uint64_t sum = 0, room = INBOX_BYTES - s->peer->inbox_bytes, moved = 0;
    for (uint32_t i = 0; i < op->iov_count; i++)
        sum += op->iov[i].iov_len;
    uint64_t most = sum < room ? sum : room;
    if (most > 1 && sim_chance(w, 300000))
        most = sim_between(w, 1, most);
    for (uint32_t i = 0; i < op->iov_count && moved < most; i++) {
        size_t part = op->iov[i].iov_len < most - moved ? op->iov[i].iov_len : (size_t)(most - moved);
        if (part)
            memcpy(s->peer->inbox + s->peer->inbox_bytes, op->iov[i].iov_base, part);
        s->peer->inbox_bytes += (uint32_t)part;
        moved += part;
    }
    return moved;
}

static void send_do(struct sim_event *e)
{
    struct sim_socket *s = e->socket;
    struct io_op *op = e->op;
    struct loop *loop = &s->loop->loop;
    s->send_event = NULL;
    if (e->cancelled) {
        loop_op_finish(loop, op, -ECANCELED);
        return;
    }
    if (s->reset || s->peer->gone) {
        loop_op_finish(loop, op, s->reset ? -ECONNRESET : -EPIPE);
        return;
    }
    uint64_t moved = send_some(s, op);
    if (moved == 0) {
        s->parked = op;
        return;
    }
    deliver_soon(s->peer);
    loop_op_finish(loop, op, (int64_t)moved);
}

void sim_net_send(struct net_conn *conn, struct io_op *op)
{
    struct sim_socket *s = socket_of(conn);
    s->parked = op;
    unpark(s);
}

void sim_net_cancel(struct loop *loop, struct io_op *op)
{
    if (op->kind == IO_KIND_CONNECT) {
        struct sim_event *e = op->backend[0];
        e->cancelled = true;
        return;
    }
    struct sim_socket *s = socket_of(op->conn);
    if (s->parked == op)
        unpark(s);
    CHECK(s->send_event && s->send_event->op == op);
    s->send_event->cancelled = true;
}

/* ---- receiving and closing --------------------------------------------------------------------------------------- */

void sim_net_recv_start(struct net_conn *conn)
{
    socket_of(conn)->receiving = true;
    deliver_soon(socket_of(conn));
}

void sim_net_recv_stop(struct net_conn *conn)
{
    struct sim_socket *s = socket_of(conn);
    s->receiving = false;
    if (s->deliver_event) {
        sim_event_drop(s->deliver_event);
        s->deliver_event = NULL;
    }
}

void sim_net_shutdown(struct net_conn *conn)
{
    struct sim_socket *s = socket_of(conn);
    s->peer->fin = true;
    deliver_soon(s->peer);
}

static void socket_gone(struct sim_socket *s)
{
    struct sim_socket *peer = s->peer;
    s->gone = true;
    s->conn = NULL;
    if (!peer->gone) {
        peer->fin = true;
        if (s->inbox_bytes)
            reset_both(s); /* unread bytes at a close: the peer sees a reset */
        unpark(peer);
        deliver_soon(peer);
        return;
    }
    list_remove(&s->link);
    list_remove(&peer->link);
    sim_heap_keep_free(peer);
    sim_heap_keep_free(s);
}

static void closed_do(struct sim_event *e)
{
    struct net_conn *conn = e->socket->conn;
    socket_gone(e->socket);
    loop_conn_closed(conn);
}

void sim_net_close(struct net_conn *conn)
{
    struct sim_socket *s = socket_of(conn);
    sim_net_recv_stop(conn);
    sim_event_add(s->loop, closed_do, latency(s->world))->socket = s;
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

static struct sim_socket *socket_create(struct sim_world *w)
{
    struct sim_socket *s = sim_heap_keep(sizeof *s);
    s->world = w;
    s->id = ++w->next_socket;
    list_push_back(&w->sockets, &s->link);
    return s;
}

static void accept_do(struct sim_event *e)
{
    struct sim_port *p = e->port;
    struct net_address peer = {.text = "127.0.0.1", .port = (uint16_t)(40000 + e->socket->id % 20000)};
    if (p->listener)
        loop_listener_accepted(p->listener, e->socket->id, &peer);
    else
        socket_gone(e->socket);
}

/* One of the listeners on the port, at random; NULL if there is none. */
static struct sim_port *port_pick(struct sim_world *w, uint16_t port)
{
    struct sim_port *pick = NULL;
    uint32_t seen = 0;
    LIST_FOREACH (it, &w->ports) {
        struct sim_port *p = CONTAINER_OF(it, struct sim_port, link);
        if (p->port == port && p->listener && sim_below(w, ++seen) == 0)
            pick = p;
    }
    return pick;
}

static void connect_do(struct sim_event *e)
{
    struct sim_world *w = e->loop->world;
    struct net_conn *conn = e->op->conn;
    struct sim_port *p = port_pick(w, e->to_port);
    if (e->cancelled || !p) {
        loop_op_finish(&e->loop->loop, e->op, e->cancelled ? -ECANCELED : -ECONNREFUSED);
        return;
    }
    struct sim_socket *ours = socket_create(w), *theirs = socket_create(w);
    ours->peer = theirs;
    theirs->peer = ours;
    ours->loop = e->loop;
    ours->conn = conn;
    conn->fd = ours->id;
    conn->backend[0] = ours;
    struct sim_event *accept = sim_event_add(p->loop, accept_do, latency(w));
    accept->socket = theirs;
    accept->port = p;
    loop_op_finish(&e->loop->loop, e->op, 0);
}

void sim_net_connect(struct loop *loop, struct net_conn *conn, const struct net_address *to, struct io_op *op)
{
    struct sim_loop *l = sim_loop_of(loop);
    struct sim_event *e = sim_event_add(l, connect_do, latency(l->world));
    e->op = op;
    e->to_port = to->port;
    op->backend[0] = e;
}

void sim_net_adopt(struct loop *loop, struct net_conn *conn, int socket)
{
    struct sim_world *w = sim_loop_of(loop)->world;
    LIST_FOREACH (it, &w->sockets) {
        struct sim_socket *s = CONTAINER_OF(it, struct sim_socket, link);
        if (s->id != socket)
            continue;
        CHECK(!s->loop && !s->gone);
        s->loop = sim_loop_of(loop);
        s->conn = conn;
        conn->backend[0] = s;
        return;
    }
    CHECK(!"the socket that is adopted exists");
}

void sim_net_refuse(struct loop *loop, int socket)
{
    struct sim_world *w = sim_loop_of(loop)->world;
    LIST_FOREACH (it, &w->sockets) {
        struct sim_socket *s = CONTAINER_OF(it, struct sim_socket, link);
        if (s->id == socket) {
            socket_gone(s);
            return;
        }
    }
}

/* ---- listening --------------------------------------------------------------------------------------------------- */

int sim_net_listen(struct loop *loop, struct net_listener *l, const struct net_address *at, struct err *e)
{
    struct sim_world *w = sim_loop_of(loop)->world;
    uint8_t address[16];
    if (inet_pton(AF_INET, at->text, address) != 1 && inet_pton(AF_INET6, at->text, address) != 1)
        return err_set(e, -EINVAL, "it is not a numeric address");
    if (at->port && !at->shared && port_pick(w, at->port))
        return err_set_status(e, -EADDRINUSE, "bind");
    struct sim_port *p = sim_heap_keep(sizeof *p);
    *p = (struct sim_port){l, sim_loop_of(loop), at->port ? at->port : (uint16_t)(20000 + w->next_port++), {0}};
    list_push_back(&w->ports, &p->link);
    l->backend[0] = p;
    return p->port;
}

static void listener_closed_do(struct sim_event *e)
{
    loop_listener_closed(e->listener);
}

void sim_net_listener_close(struct net_listener *l)
{
    struct sim_port *p = l->backend[0];
    p->listener = NULL;
    sim_event_add(p->loop, listener_closed_do, latency(p->loop->world))->listener = l;
}

void sim_net_drop_all(struct sim_world *w)
{
    struct list *it;
    while ((it = list_pop_front(&w->sockets)) != NULL)
        sim_heap_keep_free(CONTAINER_OF(it, struct sim_socket, link));
    while ((it = list_pop_front(&w->ports)) != NULL)
        sim_heap_keep_free(CONTAINER_OF(it, struct sim_port, link));
}
