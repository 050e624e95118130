/*
 * io_uring's receive buffers where they run out for good: so many paused connections that RECV_HELD_MAX chunks are
 * held. Whoever comes too late is ended with -ENOBUFS, and the connections that are not paused go on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/resource.h>

#include "common/io/loop_backend.h"

enum { CONNS = 400, BYTES = 32768 };

struct peer {
    struct net_conn conn;
    struct io_op send;
    int sent, ended, end_status, closed;
    uint64_t received;
};

static struct loop *loop;
static struct peer client[CONNS + 1], server[CONNS + 1];
static int accepted, connected;
static uint8_t bytes[BYTES];
static struct iovec iov = {bytes, BYTES};

static void data(struct net_conn *conn, struct slice d)
{
    CONTAINER_OF(conn, struct peer, conn)->received += d.len;
}

static void ended(struct net_conn *conn, int status)
{
    struct peer *p = CONTAINER_OF(conn, struct peer, conn);
    p->ended++;
    p->end_status = status;
}

static void closed(struct net_conn *conn)
{
    CONTAINER_OF(conn, struct peer, conn)->closed++;
}

static const struct net_conn_ops ops = {data, ended, closed};

static void accept_done(struct net_listener *l, int socket, const struct net_address *from)
{
    struct peer *p = &server[accepted++];
    p->conn.ops = &ops;
    net_adopt(loop, &p->conn, socket);
}

static void connect_done(struct io_op *op)
{
    assert_int_equal(op->result, 0);
    connected++;
}

static void send_done(struct io_op *op)
{
    CONTAINER_OF(op, struct peer, send)->sent++;
}

static void step_until(const int *count, int n)
{
    while (*count < n)
        assert_int_equal(loop_core_step(loop, true), 0);
}

static void connect_all(struct net_listener *l)
{
    struct err e = {0};
    struct net_address at = {.text = "127.0.0.1"};
    l->accepted = accept_done;
    int port = net_listen(loop, l, &at, &e);
    assert_true(port > 0);
    at.port = (uint16_t)port;
    for (int i = 0; i <= CONNS; i++) {
        client[i].conn.ops = &ops;
        client[i].send.done = connect_done;
        net_connect(loop, &client[i].conn, &at, &client[i].send);
        step_until(&connected, i + 1);
        step_until(&accepted, i + 1);
        client[i].send.done = send_done;
    }
}

static void too_many_held_bytes_end_the_connection_not_the_loop(void **state)
{
    static struct net_listener l;
    connect_all(&l);
    for (int i = 0; i < CONNS; i++)
        net_pause(&server[i].conn);
    for (int i = 0; i < CONNS; i++) { /* one after the other: each finds all buffers in the ring */
        net_send(&client[i].conn, &client[i].send, &iov, 1);
        for (int k = 0; k < 5; k++)
            assert_int_equal(loop_core_step(loop, false), 0);
    }
    for (int i = 0; i < CONNS; i++)
        assert_int_equal(server[i].received, 0);
    /* One that is not paused still receives. */
    net_send(&client[CONNS].conn, &client[CONNS].send, &iov, 1);
    while (server[CONNS].received < BYTES)
        assert_int_equal(loop_core_step(loop, true), 0);
    for (int i = 0; i < CONNS; i++)
        net_resume(&server[i].conn);
    int complete = 0, refused = 0;
    while (complete + refused < CONNS) {
        assert_int_equal(loop_core_step(loop, true), 0);
        complete = refused = 0;
        for (int i = 0; i < CONNS; i++) {
            complete += server[i].received == BYTES;
            refused += server[i].ended == 1 && server[i].end_status == -ENOBUFS;
        }
    }
    assert_true(complete > 0);
    assert_true(refused > 0);
}

static int begin(void **state)
{
    struct rlimit files;
    struct err e = {0};
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_max < 2 * CONNS + 100)
        return -1;
    files.rlim_cur = files.rlim_max;
    struct loop_options o = {.kind = LOOP_URING, .recv_buffers = 64, .recv_buf_bytes = 64};
    return setrlimit(RLIMIT_NOFILE, &files) < 0 || loop_create(&o, &loop, &e) < 0 ? -1 : 0;
}

static int end(void **state)
{
    loop_destroy(loop);
    for (int i = 0; i <= CONNS; i++) {
        assert_int_equal(client[i].closed, 1);
        assert_int_equal(server[i].closed, 1);
    }
    return 0;
}

int main(void)
{
    struct loop *probe = NULL;
    struct err e = {0};
    if (loop_create(&(struct loop_options){.kind = LOOP_URING}, &probe, &e) < 0) {
        fprintf(stderr, "skipped: %s\n", e.text);
        return 77;
    }
    loop_destroy(probe);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(too_many_held_bytes_end_the_connection_not_the_loop, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
