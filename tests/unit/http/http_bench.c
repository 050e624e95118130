#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_bench.h"

#include <stdio.h>
#include <stdlib.h>

#define BIG_BYTES (4u << 20)

static const struct net_address loopback = {.text = "127.0.0.1"};

/* ---- the bench ---------------------------------------------------------------------------------------------------- */

static enum loop_kind kind_wanted(void)
{
    const char *name = getenv("SLUICE_TEST_LOOP");
    if (name && strcmp(name, "uring") == 0)
        return LOOP_URING;
    return name && strcmp(name, "libuv") == 0 ? LOOP_LIBUV : LOOP_AUTO;
}

void bench_wake(struct bench *b)
{
    loop_stop(b->loop);
}

static void watchdog_fired(struct io_timer *t)
{
    struct bench *b = CONTAINER_OF(t, struct bench, watchdog);
    b->too_late = true;
    bench_wake(b);
}

void bench_init(struct bench *b)
{
    struct err e = {0};
    memset(b, 0, sizeof *b);
    b->watchdog.fired = watchdog_fired;
    if (loop_create(&(struct loop_options){.kind = kind_wanted()}, &b->loop, &e) < 0)
        fail_msg("%s", e.text);
}

static void handle(void *ctx, struct http_exchange *x)
{
    struct bench *b = ctx;
    b->requests++;
    (b->handler ? b->handler : bench_handle)(b, x);
    bench_wake(b);
}

void bench_serve(struct bench *b, struct http_server_options o)
{
    struct err e = {0};
    o.listen = loopback;
    o.request = handle;
    o.ctx = b;
    if (http_server_start(b->loop, &o, &b->server, &b->port, &e) < 0)
        fail_msg("%s", e.text);
}

static void bench_stopped(void *ctx)
{
    struct bench *b = ctx;
    b->server_stopped = true;
    b->server = NULL;
    bench_wake(b);
}

void bench_stop(struct bench *b, uint32_t grace_ms)
{
    b->server_stopping = true;
    http_server_stop(b->server, grace_ms, bench_stopped, b);
}

static bool is_stopped(void *arg)
{
    return ((struct bench *)arg)->server_stopped;
}

void bench_deinit(struct bench *b)
{
    if (b->server && !b->server_stopping)
        bench_stop(b, 0);
    if (b->server_stopping)
        bench_until(b, is_stopped, b);
    timer_disarm(b->loop, &b->watchdog);
    timer_disarm(b->loop, &b->tick);
    loop_destroy(b->loop);
}

void bench_until(struct bench *b, bool (*condition)(void *arg), void *arg)
{
    timer_arm(b->loop, &b->watchdog, mono_add_ms(loop_now_precise(b->loop), 10000));
    while (!condition(arg)) {
        if (b->too_late)
            fail_msg("ten seconds have passed");
        assert_int_equal(loop_run(b->loop), 0);
    }
    timer_disarm(b->loop, &b->watchdog);
}

static void tick_fired(struct io_timer *t)
{
    struct bench *b = CONTAINER_OF(t, struct bench, tick);
    timer_arm(b->loop, t, mono_add_ms(loop_now(b->loop), 3));
    bench_wake(b);
}

void bench_poll(struct bench *b, bool (*condition)(void *arg), void *arg)
{
    b->tick.fired = tick_fired;
    timer_arm(b->loop, &b->tick, mono_add_ms(loop_now_precise(b->loop), 3));
    bench_until(b, condition, arg);
    timer_disarm(b->loop, &b->tick);
}

/* ---- the handler -------------------------------------------------------------------------------------------------- */

static const struct http_header plain = {SLICE_LIT("Content-Type"), SLICE_LIT("text/plain")};

void bench_handle(struct bench *b, struct http_exchange *x)
{
    if (slice_eq_str(x->path, "/later")) {
        assert_true(b->later_count < BENCH_LATER_MAX);
        x->user = (void *)(uintptr_t)b->later_count;
        b->later[b->later_count++] = x;
    } else if (slice_eq_str(x->path, "/echo")) {
        http_respond(x, 200, &plain, 1, x->body);
    } else if (slice_eq_str(x->path, "/big")) {
        struct bytebuf big;
        bytebuf_init(&big, BIG_BYTES);
        uint8_t *p = bytebuf_reserve(&big, BIG_BYTES);
        assert_non_null(p);
        memset(p, 'b', BIG_BYTES);
        bytebuf_advance(&big, BIG_BYTES);
        http_respond_buf(x, 200, &plain, 1, &big);
    } else {
        struct slice text =
            arena_printf(x->arena, "%.*s %.*s %zu", SLICE_FMT(x->method), SLICE_FMT(x->path), x->body.len);
        http_respond(x, 200, &plain, 1, text);
    }
}

void bench_answer_later(struct bench *b, uint32_t i)
{
    struct http_exchange *x = b->later[i];
    assert_non_null(x);
    b->later[i] = NULL;
    http_respond(x, 200, &plain, 1, arena_printf(x->arena, "later %u", (unsigned)(uintptr_t)x->user));
}

/* ---- raw connections ---------------------------------------------------------------------------------------------- */

static void send_next(struct raw *r);

static void raw_sent(struct io_op *op)
{
    struct raw *r = CONTAINER_OF(op, struct raw, op);
    r->sending = false;
    if (op->result < 0)
        r->left = SLICE_NULL;
    else
        send_next(r);
    bench_wake(r->b);
}

static void send_next(struct raw *r)
{
    if (r->left.len == 0 || r->sending || r->closed)
        return;
    struct slice piece = slice_first(r->left, r->step ? r->step : r->left.len);
    r->left = slice_from(r->left, piece.len);
    r->iov = (struct iovec){.iov_base = (void *)(uintptr_t)piece.ptr, .iov_len = piece.len};
    r->op.done = raw_sent;
    r->sending = true;
    net_send(&r->conn, &r->op, &r->iov, 1);
}

static void raw_connected(struct io_op *op)
{
    struct raw *r = CONTAINER_OF(op, struct raw, op);
    if (op->result < 0) {
        r->error = (int)op->result;
        r->ended = r->closed = true;
    } else {
        r->connected = true;
        send_next(r);
    }
    bench_wake(r->b);
}

static void raw_data(struct net_conn *conn, struct slice data)
{
    struct raw *r = CONTAINER_OF(conn, struct raw, conn);
    r->got_bytes += data.len;
    if (!r->drop_input)
        bytebuf_slice(&r->got, data);
    bench_wake(r->b);
}

static void raw_ended(struct net_conn *conn, int status)
{
    struct raw *r = CONTAINER_OF(conn, struct raw, conn);
    r->ended = true;
    r->error = status;
    bench_wake(r->b);
}

static void raw_closed(struct net_conn *conn)
{
    struct raw *r = CONTAINER_OF(conn, struct raw, conn);
    r->closed = true;
    bench_wake(r->b);
}

void raw_open(struct raw *r, struct bench *b, struct slice text, size_t step)
{
    static const struct net_conn_ops ops = {.data = raw_data, .ended = raw_ended, .closed = raw_closed};
    struct net_address to = loopback;
    to.port = b->port;
    memset(r, 0, sizeof *r);
    r->b = b;
    r->left = text;
    r->step = step;
    r->conn.ops = &ops;
    r->op.done = raw_connected;
    bytebuf_init(&r->got, 64u << 20);
    net_connect(b->loop, &r->conn, &to, &r->op);
}

void raw_send(struct raw *r, struct slice text)
{
    assert_int_equal(r->left.len, 0);
    r->left = text;
    if (r->connected)
        send_next(r);
}

bool raw_is_sent(void *arg)
{
    struct raw *r = arg;
    return r->connected && r->left.len == 0 && !r->sending;
}

bool raw_has_ended(void *arg)
{
    return ((struct raw *)arg)->ended;
}

bool raw_is_closed(void *arg)
{
    struct raw *r = arg;
    return r->closed && !r->sending;
}

void raw_wait_end(struct raw *r)
{
    bench_until(r->b, raw_has_ended, r);
}

void raw_close(struct raw *r)
{
    if (!r->closed) {
        net_close(&r->conn);
        bench_until(r->b, raw_is_closed, r);
    }
    bytebuf_deinit(&r->got);
}

/* ---- their answers -------------------------------------------------------------------------------------------------- */

static const struct http1_limits limits = {
    .head_bytes_max = 65536, .headers_max = 32, .target_bytes_max = 100, .body_bytes_max = 64u << 20};

uint32_t raw_answers(const struct raw *r, struct raw_answer *out, uint32_t max)
{
    struct slice left = bytebuf_view(&r->got);
    uint32_t n = 0;
    while (left.len && n < max) {
        struct http1_parser p;
        struct http1_field fields[32];
        http1_response_init(&p, &limits, fields, false);
        enum http1_progress progress = http1_parse(&p, left.ptr, left.len);
        if (progress == HTTP1_FAILED)
            fail_msg("not HTTP: %.*s", (int)(left.len < 200 ? left.len : 200), (const char *)left.ptr);
        size_t body = p.body == HTTP1_BODY_LENGTH ? (size_t)p.content_length : 0;
        if (progress == HTTP1_MORE || left.len - p.head_bytes < body)
            break;
        out[n++] = (struct raw_answer){.status = p.status,
                                       .head = slice_first(left, p.head_bytes),
                                       .body = slice_of(left.ptr + p.head_bytes, body),
                                       .close = !p.keep_alive};
        left = slice_from(left, p.head_bytes + body);
    }
    return n;
}

struct wanted {
    struct raw *r;
    uint32_t count;
};

static bool has_answers(void *arg)
{
    struct wanted *w = arg;
    static struct raw_answer answers[4096];
    return raw_answers(w->r, answers, 4096) >= w->count || w->r->ended;
}

void raw_wait_answers(struct raw *r, uint32_t count)
{
    static struct raw_answer answers[4096];
    struct wanted w = {r, count};
    bench_until(r->b, has_answers, &w);
    if (raw_answers(r, answers, 4096) < count)
        fail_msg("the connection ended early, after: %.*s", SLICE_FMT(bytebuf_view(&r->got)));
}
