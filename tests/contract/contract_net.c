/* The contract of stream sockets. Both ends live on the one loop of the case. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/contract/contract_loop.h"

static uint8_t one_byte[1] = {1};

/* One end of a connection, with all that happened to it. */
struct end {
    struct net_conn conn;
    struct loop *loop;
    struct case_op send;
    uint64_t received; /* bytes; checked against the pattern from 0 */
    int chunks, ended, closed, opened;
    int end_status;
    bool pause_each; /* pause in each `data`, resumed by a timer */
    bool echo;       /* send back what came; one chunk at a time */
    bool close_on_data, close_on_end, paused;
    struct io_timer resume;
    uint8_t held[65536];
    struct iovec held_iov;
};

static void end_resume(struct io_timer *t)
{
    struct end *e = CONTAINER_OF(t, struct end, resume);
    e->paused = false;
    net_resume(&e->conn);
}

static void echo_sent(struct io_op *op)
{
    struct end *e = CONTAINER_OF(op, struct end, send.op);
    e->send.completions++;
    if (op->result >= 0)
        net_resume(&e->conn);
}

static void end_echo(struct end *e, struct slice data)
{
    assert_true(data.len <= sizeof e->held);
    memcpy(e->held, data.ptr, data.len);
    e->held_iov = (struct iovec){e->held, data.len};
    e->send.op.done = echo_sent;
    net_pause(&e->conn);
    net_send(&e->conn, &e->send.op, &e->held_iov, 1);
}

static void end_data(struct net_conn *conn, struct slice data)
{
    struct end *e = CONTAINER_OF(conn, struct end, conn);
    assert_true(data.len > 0);
    assert_int_equal(e->ended, 0);
    assert_int_equal(e->closed, 0);
    assert_true(case_filled(data.ptr, data.len, e->received));
    e->received += data.len;
    e->chunks++;
    if (e->echo)
        end_echo(e, data);
    if (e->pause_each && !e->paused) {
        e->paused = true;
        net_pause(conn);
        e->resume.fired = end_resume;
        timer_arm(e->loop, &e->resume, (struct mono_ns){loop_now(e->loop).ns + 50000});
    }
    if (e->close_on_data)
        net_close(conn);
}

static void end_ended(struct net_conn *conn, int status)
{
    struct end *e = CONTAINER_OF(conn, struct end, conn);
    e->ended++;
    e->end_status = status;
    if (e->close_on_end)
        net_close(conn);
}

static void end_closed(struct net_conn *conn)
{
    struct end *e = CONTAINER_OF(conn, struct end, conn);
    e->closed++;
    timer_disarm(e->loop, &e->resume);
}

static const struct net_conn_ops end_ops = {end_data, end_ended, end_closed};

/* A listener whose accepted sockets become the ends of `pool` in turn. */
struct server {
    struct net_listener listener;
    struct loop *loop;
    struct net_address at;
    struct end *pool;
    int count, accepted, closed, refused;
    bool refuse;
};

static void server_accepted(struct net_listener *l, int socket, const struct net_address *peer)
{
    struct server *s = CONTAINER_OF(l, struct server, listener);
    assert_string_equal(peer->text, "127.0.0.1");
    if (s->refuse || s->accepted == s->count) {
        s->refused++;
        net_refuse(s->loop, socket);
        return;
    }
    struct end *e = &s->pool[s->accepted++];
    e->loop = s->loop;
    e->conn.ops = &end_ops;
    net_adopt(s->loop, &e->conn, socket);
}

static void server_closed(struct net_listener *l)
{
    CONTAINER_OF(l, struct server, listener)->closed++;
}

static void server_start(struct loop_fixture *f, struct server *s, struct end *pool, int count)
{
    struct err e = {0};
    *s = (struct server){.listener.accepted = server_accepted, .loop = f->loop, .pool = pool, .count = count};
    s->at = (struct net_address){.text = "127.0.0.1"};
    int port = net_listen(f->loop, &s->listener, &s->at, &e);
    assert_true(port > 0);
    s->at.port = (uint16_t)port;
}

static void server_stop(struct loop_fixture *f, struct server *s)
{
    net_listener_close(&s->listener, server_closed);
    case_run_until(f, &s->closed, 1);
    assert_int_equal(s->closed, 1);
}

static void end_connect(struct loop_fixture *f, struct end *e, const struct server *s)
{
    e->loop = f->loop;
    e->conn.ops = &end_ops;
    assert_int_equal(CASE_RESULT(f, net_connect(f->loop, &e->conn, &s->at, op)), 0);
}

static void end_close(struct loop_fixture *f, struct end *e)
{
    if (!e->closed)
        net_close(&e->conn);
    case_run_until(f, &e->closed, 1);
    case_run_for(f, 1);
    assert_int_equal(e->closed, 1);
}

/* A connected pair: ends[0] connected, ends[1] accepted. */
struct pair {
    struct server server;
    struct end ends[2];
};

static struct pair *pair_open(struct loop_fixture *f)
{
    static struct pair p;
    memset(&p, 0, sizeof p);
    server_start(f, &p.server, &p.ends[1], 1);
    end_connect(f, &p.ends[0], &p.server);
    case_run_until(f, &p.server.accepted, 1);
    return &p;
}

static void pair_close(struct loop_fixture *f, struct pair *p)
{
    end_close(f, &p->ends[0]);
    end_close(f, &p->ends[1]);
    server_stop(f, &p->server);
}

static bool all_received(void *arg)
{
    const uint64_t *v = arg; /* have, want */
    return *(const uint64_t *)(uintptr_t)v[0] >= v[1];
}

static void run_until_received(struct loop_fixture *f, const struct end *e, uint64_t bytes)
{
    uint64_t v[2] = {(uintptr_t)&e->received, bytes};
    if (!f->run(f, all_received, v, CASE_LIMIT_MS))
        fail_msg("waited for %llu bytes, got %llu", (unsigned long long)bytes, (unsigned long long)e->received);
    assert_int_equal(e->received, bytes);
}

/* Fills in and sends `len` bytes of the pattern in `count` pieces. The memory is static: one such send at a time. */
static struct io_op *big_send(struct end *e, size_t len, uint32_t count)
{
    static uint8_t *big;
    static struct iovec iov[64];
    if (!big) {
        big = malloc(8 << 20);
        case_fill(big, 8 << 20, 0);
    }
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t piece = i + 1 == count ? len - at : len / count - i % 2;
        iov[i] = (struct iovec){big + at, piece};
        at += piece;
    }
    net_send(&e->conn, case_begin(&e->send), iov, count);
    e->send.inside = false;
    return &e->send.op;
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

static void several_mib_arrive_in_order(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    for (int i = 0; i < 2; i++) { /* either direction */
        big_send(&p->ends[i], 5 << 20, 64);
        run_until_received(f, &p->ends[1 - i], 5 << 20);
        assert_int_equal(case_end(f, &p->ends[i].send), 5 << 20);
    }
    pair_close(f, p);
}

static void a_paused_receiver_loses_nothing(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    p->ends[1].pause_each = true;
    big_send(&p->ends[0], 4 << 20, 3);
    run_until_received(f, &p->ends[1], 4 << 20);
    assert_int_equal(case_end(f, &p->ends[0].send), 4 << 20);
    assert_true(p->ends[1].chunks > 1);
    pair_close(f, p);
}

/* Back-pressure: neither data nor an unbounded amount of memory. */
static void while_paused_at_most_one_more_chunk_comes(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    big_send(&p->ends[0], 8 << 20, 1);
    case_run_until(f, &p->ends[1].chunks, 1);
    net_pause(&p->ends[1].conn);
    int chunks = p->ends[1].chunks;
    case_run_for(f, 30);
    assert_true(p->ends[1].chunks <= chunks + 1);
    net_resume(&p->ends[1].conn);
    net_pause(&p->ends[1].conn);
    case_run_for(f, 5);
    assert_true(p->ends[1].chunks <= chunks + 2);
    net_resume(&p->ends[1].conn);
    run_until_received(f, &p->ends[1], 8 << 20);
    assert_int_equal(case_end(f, &p->ends[0].send), 8 << 20);
    pair_close(f, p);
}

static void the_end_of_the_peer_is_told_once_after_its_data(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    big_send(&p->ends[0], 300000, 2);
    net_shutdown(&p->ends[0].conn); /* the send is in flight: the FIN comes after it */
    case_run_until(f, &p->ends[1].ended, 1);
    assert_int_equal(p->ends[1].end_status, 0);
    assert_int_equal(p->ends[1].received, 300000);
    assert_int_equal(case_end(f, &p->ends[0].send), 300000);
    case_run_for(f, 2);
    assert_int_equal(p->ends[1].ended, 1);
    assert_int_equal(p->ends[0].ended, 0);
    pair_close(f, p);
}

static void after_a_half_close_the_other_direction_goes_on(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    net_shutdown(&p->ends[0].conn);
    case_run_until(f, &p->ends[1].ended, 1);
    big_send(&p->ends[1], 3 << 20, 1);
    run_until_received(f, &p->ends[0], 3 << 20);
    assert_int_equal(case_end(f, &p->ends[1].send), 3 << 20);
    struct iovec one = {one_byte, 1};
    assert_int_equal(CASE_RESULT(f, net_send(&p->ends[0].conn, op, &one, 1)), -EPIPE);
    net_close(&p->ends[1].conn);
    case_run_until(f, &p->ends[0].ended, 1);
    pair_close(f, p);
}

static void an_end_while_paused_is_told_after_resuming(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    net_pause(&p->ends[1].conn);
    case_run_for(f, 2);
    big_send(&p->ends[0], 100000, 1);
    assert_int_equal(case_end(f, &p->ends[0].send), 100000);
    net_close(&p->ends[0].conn);
    case_run_for(f, 5);
    assert_int_equal(p->ends[1].ended, 0);
    net_resume(&p->ends[1].conn);
    case_run_until(f, &p->ends[1].ended, 1);
    assert_int_equal(p->ends[1].received, 100000);
    assert_int_equal(p->ends[1].end_status, 0);
    pair_close(f, p);
}

static void closing_is_told_once(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    net_close(&p->ends[0].conn);
    net_close(&p->ends[0].conn);
    assert_int_equal(p->ends[0].closed, 0); /* L2 */
    case_run_until(f, &p->ends[0].closed, 1);
    case_run_until(f, &p->ends[1].ended, 1);
    case_run_for(f, 2);
    assert_int_equal(p->ends[0].closed, 1);
    assert_int_equal(p->ends[0].ended, 0);
    pair_close(f, p);
}

static void sending_to_a_peer_that_is_gone_fails(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    end_close(f, &p->ends[1]);
    int64_t r = 0;
    for (int i = 0; i < 100 && r >= 0; i++) { /* the first sends may still be taken by the system */
        big_send(&p->ends[0], 1 << 20, 1);
        r = case_end(f, &p->ends[0].send);
    }
    assert_true(r == -EPIPE || r == -ECONNRESET);
    pair_close(f, p);
}

static void closing_during_a_send_completes_it_first(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    net_pause(&p->ends[1].conn);
    case_run_for(f, 1);
    big_send(&p->ends[0], 8 << 20, 8); /* more than the system buffers */
    case_run_for(f, 5);
    assert_int_equal(p->ends[0].send.completions, 0);
    net_close(&p->ends[0].conn);
    case_run_until(f, &p->ends[0].send.completions, 1);
    assert_int_equal(p->ends[0].send.op.result, -ECANCELED);
    case_run_until(f, &p->ends[0].closed, 1);
    assert_int_equal(p->ends[0].send.completions, 1);
    net_resume(&p->ends[1].conn);
    case_run_until(f, &p->ends[1].ended, 1);
    pair_close(f, p);
}

static void a_send_on_a_closing_connection_is_cancelled(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    struct iovec one = {one_byte, 1};
    net_close(&p->ends[0].conn);
    assert_int_equal(CASE_RESULT(f, net_send(&p->ends[0].conn, op, &one, 1)), -ECANCELED);
    pair_close(f, p);
}

static void closing_inside_data_stops_it_at_once(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    p->ends[1].close_on_data = true;
    big_send(&p->ends[0], 4 << 20, 1);
    case_run_until(f, &p->ends[1].closed, 1);
    assert_int_equal(p->ends[1].chunks, 1);
    assert_int_equal(p->ends[1].ended, 0);
    case_run_until(f, &p->ends[0].send.completions, 1);
    pair_close(f, p);
}

static void an_empty_send_succeeds(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    struct iovec none = {one_byte, 0};
    assert_int_equal(CASE_RESULT(f, net_send(&p->ends[0].conn, op, &none, 1)), 0);
    pair_close(f, p);
}

static void connecting_to_nobody_is_refused(void **state)
{
    struct loop_fixture *f = *state;
    static struct end e;
    struct server s;
    memset(&e, 0, sizeof e);
    server_start(f, &s, NULL, 0);
    server_stop(f, &s); /* its port is free now */
    e.conn.ops = &end_ops;
    assert_int_equal(CASE_RESULT(f, net_connect(f->loop, &e.conn, &s.at, op)), -ECONNREFUSED);
    case_run_for(f, 2);
    assert_int_equal(e.closed, 0);
}

static void a_cancelled_connect_completes_once(void **state)
{
    struct loop_fixture *f = *state;
    static struct end peer, e;
    struct server s;
    struct case_op o = {0};
    memset(&peer, 0, sizeof peer);
    memset(&e, 0, sizeof e);
    server_start(f, &s, &peer, 1);
    e.loop = f->loop;
    e.conn.ops = &end_ops;
    net_connect(f->loop, &e.conn, &s.at, case_begin(&o));
    net_close(&e.conn);
    int64_t r = case_end(f, &o);
    assert_true(r == 0 || r == -ECANCELED);
    case_run_for(f, 2);
    assert_int_equal(o.completions, 1);
    if (r == 0)
        end_close(f, &e);
    else
        assert_int_equal(e.closed, 0);
    if (s.accepted)
        end_close(f, &peer);
    server_stop(f, &s);
}

static void listening_needs_a_numeric_address(void **state)
{
    struct loop_fixture *f = *state;
    struct net_listener l = {.accepted = server_accepted};
    struct net_address at = {.text = "localhost", .port = 1};
    struct err e = {0};
    assert_int_equal(net_listen(f->loop, &l, &at, &e), -EINVAL);
    assert_string_equal(e.text, "listen on localhost port 1: it is not a numeric address");
}

static void a_port_is_refused_while_somebody_listens_there_unless_it_is_shared(void **state)
{
    struct loop_fixture *f = *state;
    static struct end pool[1];
    static struct server first, second;
    struct err e = {0};
    char text[128];
    server_start(f, &first, pool, 1);
    second = (struct server){.listener.accepted = server_accepted, .loop = f->loop, .pool = pool, .count = 1};
    second.at = first.at;
    assert_int_equal(net_listen(f->loop, &second.listener, &second.at, &e), -EADDRINUSE);
    snprintf(text, sizeof text, "listen on 127.0.0.1 port %u: bind: %s", first.at.port, status_text(-EADDRINUSE));
    assert_string_equal(e.text, text);
    second.at.shared = true;
    assert_int_equal(net_listen(f->loop, &second.listener, &second.at, &e), first.at.port);
    server_stop(f, &second);
    server_stop(f, &first);
}

static void a_refused_socket_ends_for_the_peer(void **state)
{
    struct loop_fixture *f = *state;
    static struct end e;
    struct server s;
    memset(&e, 0, sizeof e);
    server_start(f, &s, NULL, 0);
    s.refuse = true;
    end_connect(f, &e, &s);
    case_run_until(f, &e.ended, 1);
    assert_int_equal(s.refused, 1);
    end_close(f, &e);
    server_stop(f, &s);
}

/* Two hundred clients, each sending several times and getting it back. */
static void two_hundred_connections_echo(void **state)
{
    struct loop_fixture *f = *state;
    enum { N = 200, ROUNDS = 5, BYTES = 1000 };
    static struct end client[N], peer[N];
    static uint8_t out[ROUNDS * BYTES];
    struct server s;
    memset(client, 0, sizeof client);
    memset(peer, 0, sizeof peer);
    case_fill(out, sizeof out, 0);
    server_start(f, &s, peer, N);
    for (int i = 0; i < N; i++) {
        peer[i].echo = true;
        peer[i].close_on_end = true;
        end_connect(f, &client[i], &s);
    }
    for (int r = 0; r < ROUNDS; r++) {
        static struct iovec iov;
        iov = (struct iovec){out + r * BYTES, BYTES};
        for (int i = 0; i < N; i++) {
            net_send(&client[i].conn, case_begin(&client[i].send), &iov, 1);
            client[i].send.inside = false;
        }
        for (int i = 0; i < N; i++) {
            assert_int_equal(case_end(f, &client[i].send), BYTES);
            run_until_received(f, &client[i], (uint64_t)(r + 1) * BYTES);
        }
    }
    for (int i = 0; i < N; i++)
        net_close(&client[i].conn);
    for (int i = 0; i < N; i++) {
        case_run_until(f, &client[i].closed, 1);
        case_run_until(f, &peer[i].closed, 1);
    }
    server_stop(f, &s);
}

/* More paused connections than there are receive buffers; the others must go on. */
static void paused_connections_take_no_buffers_from_the_others(void **state)
{
    struct loop_fixture *f = *state;
    enum { N = 40, BYTES = 1 << 20 };
    static struct end client[N], peer[N];
    struct server s;
    memset(client, 0, sizeof client);
    memset(peer, 0, sizeof peer);
    server_start(f, &s, peer, N);
    for (int i = 0; i < N; i++) {
        end_connect(f, &client[i], &s);
        case_run_until(f, &s.accepted, i + 1);
        if (i + 1 < N) { /* paused as soon as something has arrived */
            big_send(&client[i], BYTES, 1);
            case_run_until(f, &peer[i].chunks, 1);
            net_pause(&peer[i].conn);
            case_run_for(f, 1);
        }
    }
    big_send(&client[N - 1], BYTES, 1);
    run_until_received(f, &peer[N - 1], BYTES);
    for (int i = 0; i + 1 < N; i++) {
        net_resume(&peer[i].conn);
        run_until_received(f, &peer[i], BYTES);
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(case_end(f, &client[i].send), BYTES);
        end_close(f, &client[i]);
        end_close(f, &peer[i]);
    }
    server_stop(f, &s);
}

static void destroying_the_loop_closes_connections_and_listeners(void **state)
{
    struct loop_fixture *f = *state;
    struct pair *p = pair_open(f);
    net_pause(&p->ends[1].conn);
    case_run_for(f, 1);
    big_send(&p->ends[0], 8 << 20, 1);
    case_run_for(f, 2);
    p->server.listener.closed = server_closed;
    loop_destroy(f->loop);
    f->loop = NULL;
    assert_int_equal(p->ends[0].closed, 1);
    assert_int_equal(p->ends[1].closed, 1);
    assert_int_equal(p->ends[0].send.completions, 1);
}

/* More than the submission queue holds, before anything can be submitted. */
static void what_is_started_before_the_first_run_is_done(void **state)
{
    struct loop_fixture *f = *state;
    enum { N = 1500 };
    static struct case_op o[N], c;
    static struct end e, peer;
    struct server s;
    memset(o, 0, sizeof o);
    memset(&c, 0, sizeof c);
    memset(&e, 0, sizeof e);
    memset(&peer, 0, sizeof peer);
    const char *none = case_path(f, "none");
    for (int i = 0; i < N; i++)
        io_unlink(f->loop, case_begin(&o[i]), none);
    server_start(f, &s, &peer, 1);
    e.loop = f->loop;
    e.conn.ops = &end_ops;
    net_connect(f->loop, &e.conn, &s.at, case_begin(&c));
    for (int i = 0; i < N; i++)
        o[i].inside = false;
    assert_int_equal(case_end(f, &c), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(case_end(f, &o[i]), -ENOENT);
    case_run_until(f, &s.accepted, 1);
    end_close(f, &e);
    end_close(f, &peer);
    server_stop(f, &s);
}

const struct CMUnitTest contract_net_cases[] = {
    CONTRACT_CASE(what_is_started_before_the_first_run_is_done),
    CONTRACT_CASE(several_mib_arrive_in_order),
    CONTRACT_CASE(a_paused_receiver_loses_nothing),
    CONTRACT_CASE(while_paused_at_most_one_more_chunk_comes),
    CONTRACT_CASE(the_end_of_the_peer_is_told_once_after_its_data),
    CONTRACT_CASE(after_a_half_close_the_other_direction_goes_on),
    CONTRACT_CASE(an_end_while_paused_is_told_after_resuming),
    CONTRACT_CASE(closing_is_told_once),
    CONTRACT_CASE(sending_to_a_peer_that_is_gone_fails),
    CONTRACT_CASE(closing_during_a_send_completes_it_first),
    CONTRACT_CASE(a_send_on_a_closing_connection_is_cancelled),
    CONTRACT_CASE(closing_inside_data_stops_it_at_once),
    CONTRACT_CASE(an_empty_send_succeeds),
    CONTRACT_CASE(connecting_to_nobody_is_refused),
    CONTRACT_CASE(a_cancelled_connect_completes_once),
    CONTRACT_CASE(listening_needs_a_numeric_address),
    CONTRACT_CASE(a_port_is_refused_while_somebody_listens_there_unless_it_is_shared),
    CONTRACT_CASE(a_refused_socket_ends_for_the_peer),
    CONTRACT_CASE(two_hundred_connections_echo),
    CONTRACT_CASE(paused_connections_take_no_buffers_from_the_others),
    CONTRACT_CASE(destroying_the_loop_closes_connections_and_listeners),
};
const size_t contract_net_count = ARRAY_COUNT(contract_net_cases);
