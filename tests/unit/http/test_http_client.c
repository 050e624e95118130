/* The HTTP client against the HTTP server, and against scripted servers that misbehave, on a real loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/http/http_client.h"
#include "http_bench.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- calls -------------------------------------------------------------------------------------------------------- */

struct call {
    struct http_call call;
    struct bench *b;
    int done;
    int error, status;
    char body[200];
    size_t body_len;
    void (*then)(struct call *c);
};

static void call_done(struct http_call *h)
{
    struct call *c = CONTAINER_OF(h, struct call, call);
    c->done++;
    c->error = h->error;
    c->status = h->status;
    c->body_len = h->answer_body.len;
    snprintf(c->body, sizeof c->body, "%.*s", SLICE_FMT(h->answer_body));
    if (c->then)
        c->then(c);
    bench_wake(c->b);
}

static void call_start(struct call *c, struct bench *b, struct http_client *k, const char *method, const char *target,
                       struct slice body)
{
    void (*then)(struct call * c) = c->then;
    uint32_t timeout_ms = c->call.timeout_ms;
    memset(c, 0, sizeof *c);
    c->b = b;
    c->then = then;
    c->call.method = method;
    c->call.target = target;
    c->call.body = body;
    c->call.done = call_done;
    c->call.timeout_ms = timeout_ms;
    http_client_call(k, &c->call);
    assert_int_equal(c->done, 0);
}

static bool is_done(void *arg)
{
    return ((struct call *)arg)->done > 0;
}

static void call_wait(struct call *c)
{
    bench_until(c->b, is_done, c);
    assert_int_equal(c->done, 1);
}

static struct http_client *client_make(struct bench *b, struct http_client_options o)
{
    struct http_client *k;
    struct err e = {0};
    if (!o.host)
        o.host = "127.0.0.1";
    if (!o.port)
        o.port = b->port;
    if (http_client_create(b->loop, &o, &k, &e) < 0)
        fail_msg("%s", e.text);
    return k;
}

static bool flag_is_set(void *arg)
{
    return *(bool *)arg;
}

struct ending {
    struct bench *b;
    bool over;
};

static void client_destroyed(void *ctx)
{
    struct ending *e = ctx;
    e->over = true;
    bench_wake(e->b);
}

static void client_end(struct bench *b, struct http_client *k)
{
    struct ending e = {.b = b};
    http_client_destroy(k, client_destroyed, &e);
    assert_false(e.over);
    bench_until(b, flag_is_set, &e.over);
}

/* ---- against our server ------------------------------------------------------------------------------------------- */

static void calls_one_after_another_share_a_connection(void **state)
{
    struct bench b;
    struct call c = {0};
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    struct http_client *k = client_make(&b, (struct http_client_options){0});
    for (int i = 0; i < 5; i++) {
        call_start(&c, &b, k, "POST", "/echo?x=y", SLICE_LIT("hello"));
        call_wait(&c);
        assert_int_equal(c.error, 0);
        assert_int_equal(c.status, 200);
        assert_string_equal(c.body, "hello");
        assert_true(c.call.sent && c.call.reused == (i > 0));
    }
    call_start(&c, &b, k, "GET", "/plain", SLICE_NULL);
    call_wait(&c);
    assert_string_equal(c.body, "GET /plain 0");
    call_start(&c, &b, k, "HEAD", "/plain", SLICE_NULL);
    call_wait(&c);
    assert_true(c.error == 0 && c.body_len == 0);
    assert_int_equal(http_client_stats(k)->connects, 1);
    client_end(&b, k);
    bench_deinit(&b);
}

static void more_calls_than_connections_wait_their_turn(void **state)
{
    enum { COUNT = 100 };
    static struct call c[COUNT];
    static char body[COUNT][8];
    struct bench b;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    struct http_client *k = client_make(&b, (struct http_client_options){.connections_max = 3});
    for (int i = 0; i < COUNT; i++) {
        snprintf(body[i], sizeof body[i], "%d", i);
        call_start(&c[i], &b, k, "POST", "/echo", slice_str(body[i]));
    }
    for (int i = 0; i < COUNT; i++) {
        call_wait(&c[i]);
        assert_int_equal(c[i].error, 0);
        assert_string_equal(c[i].body, body[i]);
    }
    assert_int_equal(http_client_stats(k)->connects, 3);
    assert_int_equal(http_server_stats(b.server)->accepted, 3);
    client_end(&b, k);
    bench_deinit(&b);
}

static void a_large_answer_comes_whole_and_can_be_taken(void **state)
{
    struct bench b;
    struct call c = {0};
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    struct http_client *k = client_make(&b, (struct http_client_options){0});
    call_start(&c, &b, k, "GET", "/big", SLICE_NULL);
    call_wait(&c);
    assert_true(c.error == 0 && c.body_len == 4u << 20);
    client_end(&b, k);
    k = client_make(&b, (struct http_client_options){.response_bytes_max = 100000});
    call_start(&c, &b, k, "GET", "/big", SLICE_NULL);
    call_wait(&c);
    assert_int_equal(c.error, ST_LIMIT);
    client_end(&b, k);
    bench_deinit(&b);
}

static struct bytebuf taken;
static size_t taken_at;

static void take(struct call *c)
{
    http_call_take_body(&c->call, &taken, &taken_at);
}

static void a_body_that_was_taken_outlives_its_call(void **state)
{
    struct bench b;
    struct call c = {.then = take};
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    struct http_client *k = client_make(&b, (struct http_client_options){0});
    call_start(&c, &b, k, "POST", "/echo", SLICE_LIT("keep me"));
    call_wait(&c);
    c.then = NULL;
    call_start(&c, &b, k, "POST", "/echo", SLICE_LIT("another"));
    call_wait(&c);
    assert_string_equal(c.body, "another");
    client_end(&b, k);
    assert_true(slice_eq_str(slice_from(bytebuf_view(&taken), taken_at), "keep me"));
    bytebuf_deinit(&taken);
    bench_deinit(&b);
}

static void a_name_is_resolved_and_an_unknown_one_is_reported(void **state)
{
    struct bench b;
    struct call c = {0};
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.require_local_host = true});
    struct http_client *k = client_make(&b, (struct http_client_options){.host = "localhost"});
    call_start(&c, &b, k, "GET", "/x", SLICE_NULL);
    call_wait(&c);
    assert_int_equal(c.error, 0);
    assert_int_equal(c.status, 200);
    client_end(&b, k);
    k = client_make(&b, (struct http_client_options){.host = "no such name"});
    call_start(&c, &b, k, "GET", "/x", SLICE_NULL);
    call_wait(&c);
    assert_true(c.error == -ENOENT || c.error == -EAGAIN);
    assert_false(c.call.sent);
    client_end(&b, k);
    bench_deinit(&b);
}

static void a_port_where_nobody_listens_is_refused(void **state)
{
    struct bench b;
    struct call c = {0};
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    uint16_t port = b.port;
    bench_stop(&b, 0);
    while (!b.server_stopped)
        assert_int_equal(loop_run(b.loop), 0);
    struct http_client *k = client_make(&b, (struct http_client_options){.port = port});
    for (int i = 0; i < 3; i++) {
        call_start(&c, &b, k, "GET", "/x", SLICE_NULL);
        call_wait(&c);
        assert_int_equal(c.error, -ECONNREFUSED);
        assert_false(c.call.sent);
    }
    client_end(&b, k);
    bench_deinit(&b);
}

static void an_answer_that_does_not_come_times_out_also_while_waiting(void **state)
{
    struct bench b;
    struct call c[2] = {{.call.timeout_ms = 40}, {.call.timeout_ms = 20}};
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    struct http_client *k = client_make(&b, (struct http_client_options){.connections_max = 1});
    call_start(&c[0], &b, k, "GET", "/later", SLICE_NULL);
    call_start(&c[1], &b, k, "GET", "/later", SLICE_NULL);
    call_wait(&c[1]);
    assert_true(c[1].error == -ETIMEDOUT && !c[1].call.sent && !c[0].done);
    call_wait(&c[0]);
    assert_true(c[0].error == -ETIMEDOUT && c[0].call.sent && c[0].status == 0);
    bench_answer_later(&b, 0);
    client_end(&b, k);
    bench_deinit(&b);
}

static void a_cancelled_call_ends_and_the_next_one_gets_a_new_connection(void **state)
{
    struct bench b;
    struct call c[3] = {0};
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    struct http_client *k = client_make(&b, (struct http_client_options){.connections_max = 1});
    call_start(&c[0], &b, k, "GET", "/later", SLICE_NULL);
    call_start(&c[1], &b, k, "GET", "/later", SLICE_NULL);
    call_start(&c[2], &b, k, "GET", "/plain", SLICE_NULL);
    while (b.later_count < 1)
        assert_int_equal(loop_run(b.loop), 0);
    http_call_cancel(&c[1].call);
    http_call_cancel(&c[0].call);
    assert_int_equal(c[0].done + c[1].done, 0);
    for (int i = 0; i < 3; i++)
        call_wait(&c[i]);
    assert_true(c[0].error == -ECANCELED && c[1].error == -ECANCELED && c[2].error == 0);
    assert_int_equal(http_client_stats(k)->connects, 2);
    http_call_cancel(&c[0].call);
    bench_answer_later(&b, 0);
    client_end(&b, k);
    bench_deinit(&b);
}

static void destroying_ends_every_call_first(void **state)
{
    struct bench b;
    struct call c[6] = {0};
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    struct http_client *k = client_make(&b, (struct http_client_options){.connections_max = 2});
    for (int i = 0; i < 3; i++)
        call_start(&c[i], &b, k, "GET", "/later", SLICE_NULL);
    while (b.later_count < 2)
        assert_int_equal(loop_run(b.loop), 0);
    for (int i = 3; i < 6; i++)
        call_start(&c[i], &b, k, "GET", "/later", SLICE_NULL);
    client_end(&b, k);
    for (int i = 0; i < 6; i++)
        assert_true(c[i].done == 1 && c[i].error == -ECANCELED);
    bench_answer_later(&b, 0);
    bench_answer_later(&b, 1);
    bench_deinit(&b);
}

static bool has_no_connections(void *arg)
{
    return http_client_stats(arg)->connections == 0;
}

static void an_idle_connection_that_the_server_closed_is_replaced(void **state)
{
    struct bench b;
    struct call c = {0};
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.idle_ms = 20});
    struct http_client *k = client_make(&b, (struct http_client_options){0});
    for (int i = 0; i < 3; i++) {
        call_start(&c, &b, k, "GET", "/plain", SLICE_NULL);
        call_wait(&c);
        assert_int_equal(c.error, 0);
        bench_poll(&b, has_no_connections, k);
    }
    assert_int_equal(http_client_stats(k)->connects, 3);
    client_end(&b, k);
    bench_deinit(&b);
}

static void idle_connections_are_closed_in_time(void **state)
{
    struct bench b;
    struct call c = {0};
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    struct http_client *k = client_make(&b, (struct http_client_options){.idle_ms = 20});
    call_start(&c, &b, k, "GET", "/plain", SLICE_NULL);
    call_wait(&c);
    bench_poll(&b, has_no_connections, k);
    client_end(&b, k);
    bench_deinit(&b);
}

/* ---- signatures --------------------------------------------------------------------------------------------------- */

static struct slice secret_of(void *ctx, struct slice access_key)
{
    return slice_eq_str(access_key, "AKID") ? SLICE_LIT("secret") : SLICE_NULL;
}

static void handle_signed(struct bench *b, struct http_exchange *x)
{
    static struct sigv4_verifier v;
    struct sigv4_request r = {.method = x->method,
                              .path = x->path,
                              .query = x->query,
                              .headers = x->headers,
                              .header_count = x->header_count,
                              .body = x->body};
    struct sigv4_result result;
    sigv4_verifier_init(&v);
    v.secret = secret_of;
    v.region = "eu-west-1";
    enum sigv4_error error = sigv4_verify(&v, &r, loop_wall(b->loop), x->arena, &result);
    http_respond(x, error ? 403 : 200, NULL, 0, error ? result.message : SLICE_LIT("good"));
    sigv4_verifier_deinit(&v);
}

static void signed_calls_verify(void **state)
{
    static const struct http_header headers[] = {
        {SLICE_LIT("X-Amz-Target"), SLICE_LIT("Kinesis_20131202.ListStreams")}};
    static const struct sigv4_credentials good = {SLICE_LIT("AKID"), SLICE_LIT("secret"), SLICE_LIT("token")};
    static const struct sigv4_credentials bad = {SLICE_LIT("AKID"), SLICE_LIT("guess"), {NULL, 0}};
    struct http_client_options o = {.credentials = &good, .region = "eu-west-1", .service = "kinesis"};
    struct bench b;
    struct call c = {0};
    bench_init(&b);
    b.handler = handle_signed;
    bench_serve(&b, (struct http_server_options){0});
    struct http_client *k = client_make(&b, o);
    for (int i = 0; i < 2; i++) {
        memset(&c, 0, sizeof c);
        c.b = &b;
        c.call = (struct http_call){.method = "POST",
                                    .target = "/a%20b?z=1&a=2",
                                    .headers = headers,
                                    .header_count = 1,
                                    .body = SLICE_LIT("{}"),
                                    .done = call_done};
        http_client_call(k, &c.call);
        call_wait(&c);
        assert_int_equal(c.error, 0);
        if (i == 0) {
            assert_string_equal(c.body, "good");
            client_end(&b, k);
            o.credentials = &bad;
            k = client_make(&b, o);
        }
    }
    assert_int_equal(c.status, 403);
    client_end(&b, k);
    bench_deinit(&b);
}

/* ---- scripted servers: one connection at a time, a fixed answer, then perhaps the end ------------------------------ */

struct script {
    struct net_listener listener;
    struct net_conn conn;
    struct io_op op;
    struct iovec iov;
    struct bench *b;
    const char *answer;
    bool close_after, busy, closed, listener_closed, answered;
};

static void script_sent(struct io_op *op)
{
    struct script *s = CONTAINER_OF(op, struct script, op);
    if (s->close_after)
        net_shutdown(&s->conn);
}

static void script_data(struct net_conn *conn, struct slice data)
{
    struct script *s = CONTAINER_OF(conn, struct script, conn);
    if (s->answered)
        return;
    s->answered = true;
    s->op.done = script_sent;
    s->iov = (struct iovec){.iov_base = (void *)(uintptr_t)s->answer, .iov_len = strlen(s->answer)};
    net_send(conn, &s->op, &s->iov, 1);
}

static void script_ended(struct net_conn *conn, int status)
{
    net_close(conn);
}

static void script_closed(struct net_conn *conn)
{
    struct script *s = CONTAINER_OF(conn, struct script, conn);
    s->busy = false;
    bench_wake(s->b);
}

static void script_accepted(struct net_listener *l, int socket, const struct net_address *peer)
{
    static const struct net_conn_ops ops = {.data = script_data, .ended = script_ended, .closed = script_closed};
    struct script *s = CONTAINER_OF(l, struct script, listener);
    assert_false(s->busy);
    s->busy = true;
    s->answered = false;
    s->conn.ops = &ops;
    net_adopt(s->b->loop, &s->conn, socket);
}

static void script_listener_closed(struct net_listener *l)
{
    struct script *s = CONTAINER_OF(l, struct script, listener);
    s->listener_closed = true;
    bench_wake(s->b);
}

static bool script_over(void *arg)
{
    struct script *s = arg;
    return s->listener_closed && !s->busy;
}

static void scripted_answers_are_understood_or_refused(void **state)
{
    static const struct {
        const char *answer;
        bool close;
        int error, status;
        const char *body;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, 0, 200, "ok"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok", false, 0, 201, "ok"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", false, 0, 200, "ok"},
        {"HTTP/1.1 200 OK\r\n\r\nok", true, 0, 200, "ok"},
        {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", true, 0, 200, "ok"},
        {"HTTP/1.1 204 No Content\r\n\r\n", false, 0, 204, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", true, -ECONNRESET, 0, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n", true, -ECONNRESET, 0, ""},
        {"HTTP/1.1 200 OK\r\nContent-Le", true, -ECONNRESET, 0, ""},
        {"", true, -ECONNRESET, 0, ""},
        {"SSH-2.0-OpenSSH\r\n", false, ST_SYNTAX, 0, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", false, ST_SYNTAX, 0, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", false, ST_LIMIT, 0, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n", false, ST_LIMIT, 0, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", false, 0,
         200, "ok"},
    };
    struct bench b;
    struct script s = {0};
    struct err e = {0};
    bench_init(&b);
    s.b = &b;
    s.listener.accepted = script_accepted;
    int port = net_listen(b.loop, &s.listener, &(struct net_address){.text = "127.0.0.1"}, &e);
    assert_true(port > 0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct call c = {0};
        s.answer = cases[i].answer;
        s.close_after = cases[i].close;
        struct http_client *k = client_make(
            &b, (struct http_client_options){.port = (uint16_t)port, .response_bytes_max = 1000, .connections_max = 1});
        call_start(&c, &b, k, "POST", "/", SLICE_LIT("x"));
        call_wait(&c);
        if (c.error != cases[i].error || c.status != cases[i].status || strcmp(c.body, cases[i].body) != 0)
            fail_msg("case %zu: %d (%s), %d, %s", i, c.error, status_text(c.error), c.status, c.body);
        client_end(&b, k);
        while (s.busy)
            assert_int_equal(loop_run(b.loop), 0);
    }
    net_listener_close(&s.listener, script_listener_closed);
    bench_until(&b, script_over, &s);
    bench_deinit(&b);
}

static void an_answer_before_the_request_was_sent_is_handed_on(void **state)
{
    static char body[8 << 20];
    struct bench b;
    struct call c = {0};
    memset(body, 'x', sizeof body);
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.body_bytes_max = 1000});
    struct http_client *k = client_make(&b, (struct http_client_options){0});
    call_start(&c, &b, k, "POST", "/", slice_of(body, sizeof body));
    call_wait(&c);
    assert_int_equal(c.error, 0);
    assert_int_equal(c.status, 413);
    call_start(&c, &b, k, "GET", "/plain", SLICE_NULL);
    call_wait(&c);
    assert_int_equal(c.status, 200);
    client_end(&b, k);
    bench_deinit(&b);
}

static void bad_options_are_refused_with_a_text(void **state)
{
    struct bench b;
    struct http_client *k;
    struct err e = {0};
    bench_init(&b);
    assert_int_equal(http_client_create(b.loop, &(struct http_client_options){.host = "h"}, &k, &e), -EINVAL);
    assert_string_equal(e.text, "HTTP client: a host and a port are needed");
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_one_after_another_share_a_connection),
        cmocka_unit_test(more_calls_than_connections_wait_their_turn),
        cmocka_unit_test(a_large_answer_comes_whole_and_can_be_taken),
        cmocka_unit_test(a_body_that_was_taken_outlives_its_call),
        cmocka_unit_test(a_name_is_resolved_and_an_unknown_one_is_reported),
        cmocka_unit_test(a_port_where_nobody_listens_is_refused),
        cmocka_unit_test(an_answer_that_does_not_come_times_out_also_while_waiting),
        cmocka_unit_test(a_cancelled_call_ends_and_the_next_one_gets_a_new_connection),
        cmocka_unit_test(destroying_ends_every_call_first),
        cmocka_unit_test(an_idle_connection_that_the_server_closed_is_replaced),
        cmocka_unit_test(idle_connections_are_closed_in_time),
        cmocka_unit_test(signed_calls_verify),
        cmocka_unit_test(scripted_answers_are_understood_or_refused),
        cmocka_unit_test(an_answer_before_the_request_was_sent_is_handed_on),
        cmocka_unit_test(bad_options_are_refused_with_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
