/* The HTTP server on a real loop: order, splitting, limits, deadlines, memory, the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_bench.h"

#include <stdio.h>
#include <stdlib.h>

#define HOST "Host: localhost\r\n"

static void one_answer(struct raw *r, int status, const char *body)
{
    struct raw_answer a[2];
    assert_int_equal(raw_answers(r, a, 2), 1);
    if (a[0].status != status || (body && !slice_eq_str(a[0].body, body)))
        fail_msg("answered %d %.*s", a[0].status, SLICE_FMT(a[0].body));
}

static void a_connection_serves_one_request_after_another(void **state)
{
    struct bench b;
    struct raw r;
    struct raw_answer a[4];
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    raw_open(&r, &b, SLICE_LIT("GET /a?x=y HTTP/1.1\r\n" HOST "\r\n"), 0);
    raw_wait_answers(&r, 1);
    raw_send(&r, SLICE_LIT("POST /b HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nxyz"));
    raw_wait_answers(&r, 2);
    assert_int_equal(raw_answers(&r, a, 4), 2);
    assert_true(slice_eq_str(a[0].body, "GET /a 0") && slice_eq_str(a[1].body, "POST /b 3"));
    assert_false(a[1].close);
    assert_int_equal(http_server_stats(b.server)->accepted, 1);
    assert_int_equal(http_server_stats(b.server)->requests, 2);
    assert_int_equal(http_server_stats(b.server)->memory_bytes, 0);
    raw_close(&r);
    bench_deinit(&b);
}

static void pipelined_answers_leave_in_request_order(void **state)
{
    struct bench b;
    struct raw r;
    struct raw_answer a[8];
    char text[400] = "";
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    for (int i = 0; i < 5; i++)
        strcat(text, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    raw_open(&r, &b, slice_str(text), 0);
    while (b.later_count < 5)
        assert_int_equal(loop_run(b.loop), 0);
    for (uint32_t i = 5; i-- > 0;)
        bench_answer_later(&b, i);
    raw_wait_answers(&r, 5);
    assert_int_equal(raw_answers(&r, a, 8), 5);
    for (int i = 0; i < 5; i++) {
        char want[16];
        snprintf(want, sizeof want, "later %d", i);
        assert_true(slice_eq_str(a[i].body, want));
    }
    raw_close(&r);
    bench_deinit(&b);
}

static void a_deep_pipeline_is_paused_and_goes_on(void **state)
{
    enum { COUNT = 300 };
    static const char one[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\n";
    struct bench b;
    struct raw r;
    static struct raw_answer a[COUNT + 1];
    struct bytebuf text;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.pipeline_max = 3});
    bytebuf_init(&text, 1 << 20);
    for (int i = 0; i < COUNT; i++)
        bytebuf_printf(&text, "%s%04d", one, i);
    raw_open(&r, &b, bytebuf_view(&text), 1000);
    raw_wait_answers(&r, COUNT);
    assert_int_equal(raw_answers(&r, a, COUNT + 1), COUNT);
    for (int i = 0; i < COUNT; i++) {
        char want[8];
        snprintf(want, sizeof want, "%04d", i);
        assert_true(slice_eq_str(a[i].body, want));
    }
    raw_close(&r);
    bytebuf_deinit(&text);
    bench_deinit(&b);
}

static void a_request_in_single_bytes_is_the_same_request(void **state)
{
    static const char *const texts[] = {
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\nhello world",
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x\r\n world\r\n0\r\nT: t\r\n\r\n",
        "\r\nPOST http://localhost/echo HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\nhello world",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        for (size_t step = 1; step <= 16; step += 5) {
            struct bench b;
            struct raw r;
            bench_init(&b);
            bench_serve(&b, (struct http_server_options){0});
            raw_open(&r, &b, slice_str(texts[i]), step);
            raw_wait_answers(&r, 1);
            one_answer(&r, 200, "hello world");
            raw_close(&r);
            bench_deinit(&b);
        }
    }
}

static void a_large_body_arrives_whole_with_its_padding(void **state)
{
    enum { LEN = 3000000 };
    static char text[LEN + 100];
    struct bench b;
    struct raw r;
    struct raw_answer a[1];
    int head = snprintf(text, 100, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", LEN);
    for (int i = 0; i < LEN; i++)
        text[head + i] = (char)('a' + i % 26);
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    raw_open(&r, &b, slice_of(text, (size_t)head + LEN), 0);
    raw_wait_answers(&r, 1);
    assert_int_equal(raw_answers(&r, a, 1), 1);
    assert_true(slice_eq(a[0].body, slice_of(text + head, LEN)));
    raw_close(&r);
    bench_deinit(&b);
}

static const struct {
    int status;
    const char *text;
} bad[] = {
    {400, "GET /\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n"},
    {400, "GET / HTTP/1.1\n" HOST "\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"},
    {400, "GET http://other/ HTTP/1.1\r\n" HOST "\r\n"},
    {400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
    {413, "POST / HTTP/1.1\r\n" HOST "Content-Length: 100001\r\n\r\n"},
    {413, "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 100001\r\n\r\n"},
    {413, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nfffff\r\n"},
    {417, "POST / HTTP/1.1\r\n" HOST "Expect: more\r\nContent-Length: 1\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n"},
    {501, "CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n"},
    {505, "GET / HTTP/3.0\r\n" HOST "\r\n"},
};

static void each_bad_request_gets_its_status_and_the_end(void **state)
{
    struct bench b;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.body_bytes_max = 100000});
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct raw r;
        raw_open(&r, &b, slice_str(bad[i].text), 0);
        raw_wait_end(&r);
        struct raw_answer a[2];
        if (raw_answers(&r, a, 2) != 1 || a[0].status != bad[i].status || !a[0].close)
            fail_msg("case %zu: %.*s", i, SLICE_FMT(bytebuf_view(&r.got)));
        assert_true(slice_starts(a[0].body, SLICE_LIT("{\"message\":\"")));
        assert_int_equal(r.error, 0);
        raw_close(&r);
    }
    assert_int_equal(b.requests, 0);
    assert_int_equal(http_server_stats(b.server)->bad_requests, ARRAY_COUNT(bad));
    bench_deinit(&b);
}

static void what_came_before_a_bad_request_is_still_answered_first(void **state)
{
    struct bench b;
    struct raw r;
    struct raw_answer a[3];
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    raw_open(&r, &b,
             SLICE_LIT("GET /later HTTP/1.1\r\n" HOST "\r\nGET / HTTP/9.9\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), 0);
    while (b.later_count < 1)
        assert_int_equal(loop_run(b.loop), 0);
    bench_answer_later(&b, 0);
    raw_wait_end(&r);
    assert_int_equal(raw_answers(&r, a, 3), 2);
    assert_true(a[0].status == 200 && !a[0].close && a[1].status == 505 && a[1].close);
    raw_close(&r);
    bench_deinit(&b);
}

static void a_head_or_target_over_its_limit_is_refused(void **state)
{
    static char text[70000];
    struct bench b;
    struct raw r;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    memset(text, 'a', sizeof text);
    memcpy(text, "GET / HTTP/1.1\r\nX: ", 19);
    raw_open(&r, &b, slice_of(text, sizeof text), 0);
    raw_wait_end(&r);
    one_answer(&r, 431, NULL);
    raw_close(&r);
    memcpy(text, "GET /aaaaaaaaaaaaaaaaa", 20);
    raw_open(&r, &b, slice_of(text, 20000), 0);
    raw_wait_end(&r);
    one_answer(&r, 414, NULL);
    raw_close(&r);
    bench_deinit(&b);
}

static void a_client_that_sends_on_still_reads_why_it_was_refused(void **state)
{
    static char text[8 << 20];
    struct bench b;
    struct raw r;
    memset(text, 'a', sizeof text);
    int head = snprintf(text, 200, "POST / HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n", sizeof text);
    text[head] = 'a';
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.body_bytes_max = 1000});
    raw_open(&r, &b, slice_of(text, sizeof text), 0);
    bench_until(&b, raw_is_sent, &r);
    raw_wait_end(&r);
    one_answer(&r, 413, "{\"message\":\"the body is too large\"}");
    assert_int_equal(r.error, 0);
    raw_close(&r);
    bench_deinit(&b);
}

static void a_slow_request_gets_408_and_an_idle_connection_just_ends(void **state)
{
    struct bench b;
    struct raw slow, idle, used;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.request_ms = 40, .idle_ms = 60});
    raw_open(&slow, &b, SLICE_LIT("POST / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nx"), 0);
    raw_open(&idle, &b, SLICE_NULL, 0);
    raw_open(&used, &b, SLICE_LIT("GET / HTTP/1.1\r\n" HOST "\r\n"), 0);
    raw_wait_end(&slow);
    one_answer(&slow, 408, "{\"message\":\"the request took too long to arrive\"}");
    raw_wait_end(&idle);
    assert_int_equal(idle.got_bytes, 0);
    raw_wait_end(&used);
    one_answer(&used, 200, "GET / 0");
    raw_close(&slow);
    raw_close(&idle);
    raw_close(&used);
    bench_deinit(&b);
}

static bool all_dropped(void *arg)
{
    struct bench *b = arg;
    return b->requests == 3 && http_server_stats(b->server)->connections == 0;
}

static void a_client_that_does_not_read_is_dropped(void **state)
{
    struct bench b;
    struct raw r;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.answer_ms = 50});
    raw_open(&r, &b,
             SLICE_LIT("GET /big HTTP/1.1\r\n" HOST "\r\nGET /big HTTP/1.1\r\n" HOST "\r\nGET /big HTTP/1.1\r\n" HOST
                       "\r\n"),
             0);
    r.drop_input = true;
    bench_until(&b, raw_is_sent, &r);
    net_pause(&r.conn);
    bench_poll(&b, all_dropped, &b);
    assert_int_equal(http_server_stats(b.server)->memory_bytes, 0);
    raw_close(&r);
    bench_deinit(&b);
}

static void continue_is_said_when_the_body_is_wanted(void **state)
{
    struct bench b;
    struct raw r;
    struct raw_answer a[3];
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    raw_open(&r, &b, SLICE_LIT("POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"), 0);
    raw_wait_answers(&r, 1);
    raw_send(&r, SLICE_LIT("ok"));
    raw_wait_answers(&r, 2);
    assert_int_equal(raw_answers(&r, a, 3), 2);
    assert_true(a[0].status == 100 && a[1].status == 200 && slice_eq_str(a[1].body, "ok"));
    raw_close(&r);
    bench_deinit(&b);
}

static void a_client_that_goes_while_it_was_told_to_continue_is_forgotten(void **state)
{
    struct bench b;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    for (int i = 0; i < 20; i++) {
        struct raw r;
        raw_open(&r, &b, SLICE_LIT("POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
                 0);
        bench_until(&b, raw_is_sent, &r);
        if (i % 2)
            net_shutdown(&r.conn);
        else
            raw_wait_answers(&r, 1);
        raw_close(&r);
    }
    bench_deinit(&b);
}

static void old_and_closing_clients_get_one_answer(void **state)
{
    static const char *const texts[] = {
        "GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
    };
    struct bench b;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct raw r;
        raw_open(&r, &b, slice_str(texts[i]), 0);
        raw_wait_end(&r);
        one_answer(&r, 200, "GET / 0");
        raw_close(&r);
    }
    assert_int_equal(b.requests, 2);
    bench_deinit(&b);
}

static void head_answers_have_a_length_and_no_body(void **state)
{
    struct bench b;
    struct raw r;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    raw_open(&r, &b, SLICE_LIT("HEAD /x HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"), 0);
    raw_wait_end(&r);
    bytebuf_byte(&r.got, 0);
    assert_non_null(strstr((char *)r.got.ptr, "Content-Length: 9\r\n"));
    assert_string_equal(strstr((char *)r.got.ptr, "\r\n\r\n"), "\r\n\r\n");
    raw_close(&r);
    bench_deinit(&b);
}

static void http2_is_refused_in_its_own_words(void **state)
{
    static const uint8_t goaway[] = {0, 0, 40, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13};
    struct bench b;
    struct raw r;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    raw_open(&r, &b, SLICE_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 0);
    raw_wait_end(&r);
    assert_int_equal(r.got.len, 9 + sizeof goaway + 32);
    assert_memory_equal(r.got.ptr + 9, goaway, sizeof goaway);
    raw_close(&r);
    bench_deinit(&b);
}

static void hosts_and_origins_of_strangers_are_refused(void **state)
{
    static const char *const origins[] = {"https://console.example", NULL};
    static const struct {
        const char *headers;
        bool local_only, listed;
        int status;
    } cases[] = {
        {"Host: localhost:4567\r\n", true, false, 200},
        {"Host: 127.0.0.1\r\n", true, false, 200},
        {"Host: [::1]:4567\r\n", true, false, 200},
        {"Host: evil.example\r\n", true, false, 403},
        {"Host: evil.example\r\n", false, false, 200},
        {"Host: localhost:1\r\nOrigin: http://localhost:1\r\n", true, false, 200},
        {"Host: localhost:1\r\nOrigin: http://localhost:2\r\n", true, false, 403},
        {"Host: localhost:1\r\nOrigin: https://evil.example\r\n", false, false, 403},
        {"Host: evil.example\r\nOrigin: http://evil.example\r\n", false, false, 403},
        {"Host: localhost\r\nOrigin: null\r\n", false, false, 403},
        {"Host: localhost\r\nOrigin:\r\n", false, false, 403},
        {"Host: h\r\nOrigin: https://console.example\r\n", false, true, 200},
        {"Host: h\r\nOrigin: https://console.example.evil\r\n", false, true, 403},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bench b;
        struct raw r;
        char text[300];
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nConnection: close\r\n%s\r\n", cases[i].headers);
        bench_init(&b);
        bench_serve(&b, (struct http_server_options){.require_local_host = cases[i].local_only,
                                                     .origins = cases[i].listed ? origins : NULL});
        raw_open(&r, &b, slice_str(text), 0);
        raw_wait_end(&r);
        struct raw_answer a[1];
        if (raw_answers(&r, a, 1) != 1 || a[0].status != cases[i].status)
            fail_msg("case %zu: %.*s", i, SLICE_FMT(bytebuf_view(&r.got)));
        raw_close(&r);
        bench_deinit(&b);
    }
}

static void a_half_closed_client_gets_its_answer(void **state)
{
    struct bench b;
    struct raw r;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    raw_open(&r, &b, SLICE_LIT("GET /later HTTP/1.1\r\n" HOST "\r\nGET /half HTT"), 0);
    bench_until(&b, raw_is_sent, &r);
    net_shutdown(&r.conn);
    while (b.later_count < 1)
        assert_int_equal(loop_run(b.loop), 0);
    bench_answer_later(&b, 0);
    raw_wait_end(&r);
    one_answer(&r, 200, "later 0");
    raw_close(&r);
    bench_deinit(&b);
}

static bool no_connections(void *arg)
{
    return http_server_stats(((struct bench *)arg)->server)->connections == 0;
}

static void an_answer_for_a_client_that_has_gone_is_dropped(void **state)
{
    struct bench b;
    struct raw r;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.answer_ms = 100});
    raw_open(&r, &b, SLICE_LIT("GET /later HTTP/1.1\r\n" HOST "\r\nGET /later HTTP/1.1\r\n" HOST "\r\n"), 0);
    while (b.later_count < 2)
        assert_int_equal(loop_run(b.loop), 0);
    bench_answer_later(&b, 1);
    raw_close(&r);
    /* a close is a FIN, so the server keeps the connection until an answer fails to be sent */
    bench_answer_later(&b, 0);
    bench_poll(&b, no_connections, &b);
    assert_int_equal(http_server_stats(b.server)->memory_bytes, 0);
    bench_deinit(&b);
}

static void a_client_that_closes_in_the_middle_of_an_answer_hurts_nobody(void **state)
{
    struct bench b;
    struct raw r, other;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    for (int i = 0; i < 5; i++) {
        raw_open(&r, &b, SLICE_LIT("GET /big HTTP/1.1\r\n" HOST "\r\n"), 0);
        while (r.got_bytes == 0)
            assert_int_equal(loop_run(b.loop), 0);
        raw_close(&r);
    }
    raw_open(&other, &b, SLICE_LIT("GET / HTTP/1.1\r\n" HOST "\r\n"), 0);
    raw_wait_answers(&other, 1);
    raw_close(&other);
    bench_deinit(&b);
}

static void connections_over_the_limit_are_closed(void **state)
{
    struct bench b;
    struct raw r[3];
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.connections_max = 2});
    for (int i = 0; i < 2; i++) {
        raw_open(&r[i], &b, SLICE_LIT("GET / HTTP/1.1\r\n" HOST "\r\n"), 0);
        raw_wait_answers(&r[i], 1);
    }
    raw_open(&r[2], &b, SLICE_NULL, 0);
    raw_wait_end(&r[2]);
    assert_int_equal(r[2].got_bytes, 0);
    assert_int_equal(http_server_stats(b.server)->refused, 1);
    for (int i = 0; i < 3; i++)
        raw_close(&r[i]);
    bench_deinit(&b);
}

static void memory_over_the_budget_makes_requests_wait_not_fail(void **state)
{
    enum { CLIENTS = 12, LEN = 40000 };
    static char text[LEN + 200];
    static struct raw r[CLIENTS];
    struct bench b;
    memset(text, 'm', sizeof text);
    int head = snprintf(text, 200, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", LEN);
    text[head] = 'm';
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.memory_bytes_max = 100000});
    for (int i = 0; i < CLIENTS; i++)
        raw_open(&r[i], &b, slice_of(text, (size_t)head + LEN), 7000);
    for (int i = 0; i < CLIENTS; i++) {
        raw_wait_answers(&r[i], 1);
        struct raw_answer a[1];
        assert_true(raw_answers(&r[i], a, 1) == 1 && a[0].status == 200 && a[0].body.len == LEN);
    }
    for (int i = 0; i < CLIENTS; i++)
        raw_close(&r[i]);
    assert_int_equal(http_server_stats(b.server)->memory_bytes, 0);
    bench_deinit(&b);
}

static void a_request_larger_than_the_whole_budget_passes_alone(void **state)
{
    enum { LEN = 60000 };
    static char text[LEN + 200];
    struct bench b;
    struct raw r[3];
    memset(text, 'm', sizeof text);
    int head = snprintf(text, 200, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n%x\r\n", LEN);
    text[head] = 'm';
    memcpy(text + head + LEN, "\r\n0\r\n\r\n", 7);
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){.memory_bytes_max = 20000});
    for (int i = 0; i < 3; i++)
        raw_open(&r[i], &b, slice_of(text, (size_t)head + LEN + 7), 5000);
    for (int i = 0; i < 3; i++) {
        raw_wait_answers(&r[i], 1);
        one_answer(&r[i], 200, "POST / 60000");
        raw_close(&r[i]);
    }
    bench_deinit(&b);
}

static void a_thousand_connections_are_served(void **state)
{
    enum { COUNT = 1000 };
    static struct raw r[COUNT];
    struct bench b;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    for (int i = 0; i < COUNT; i++)
        raw_open(&r[i], &b, SLICE_LIT("GET /later HTTP/1.1\r\n" HOST "\r\n"), 0);
    while (b.later_count < COUNT)
        assert_int_equal(loop_run(b.loop), 0);
    for (uint32_t i = 0; i < COUNT; i++)
        bench_answer_later(&b, i);
    for (int i = 0; i < COUNT; i++)
        raw_wait_answers(&r[i], 1);
    assert_int_equal(http_server_stats(b.server)->connections, COUNT);
    assert_int_equal(http_server_stats(b.server)->memory_bytes, 0);
    for (int i = 0; i < COUNT; i++)
        raw_close(&r[i]);
    bench_deinit(&b);
}

static void stopping_waits_for_requests_in_flight_and_ends_the_others(void **state)
{
    struct bench b;
    struct raw busy, idle, late;
    struct raw_answer a[2];
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    raw_open(&busy, &b, SLICE_LIT("GET /later HTTP/1.1\r\n" HOST "\r\n"), 0);
    raw_open(&idle, &b, SLICE_LIT("GET / HTTP/1.1\r\n" HOST "\r\n"), 0);
    raw_wait_answers(&idle, 1);
    while (b.later_count < 1)
        assert_int_equal(loop_run(b.loop), 0);
    bench_stop(&b, 5000);
    raw_wait_end(&idle);
    assert_false(b.server_stopped);
    raw_open(&late, &b, SLICE_NULL, 0);
    raw_wait_end(&late);
    bench_answer_later(&b, 0);
    raw_wait_end(&busy);
    assert_int_equal(raw_answers(&busy, a, 2), 1);
    assert_true(a[0].close && slice_eq_str(a[0].body, "later 0"));
    raw_close(&busy);
    raw_close(&idle);
    raw_close(&late);
    bench_deinit(&b);
}

static void a_stop_whose_grace_is_over_drops_connections_and_waits_for_handlers(void **state)
{
    struct bench b;
    struct raw r;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    raw_open(&r, &b, SLICE_LIT("GET /later HTTP/1.1\r\n" HOST "\r\n"), 0);
    while (b.later_count < 1)
        assert_int_equal(loop_run(b.loop), 0);
    bench_stop(&b, 20);
    raw_wait_end(&r);
    assert_int_equal(r.got_bytes, 0);
    assert_false(b.server_stopped);
    bench_answer_later(&b, 0);
    raw_close(&r);
    bench_deinit(&b);
}

/* ---- allocations: the test is linked with --wrap ------------------------------------------------------------------- */

static uint64_t allocations;
static uint64_t fail_at; /* this allocation fails; 0: none */
static bool refuse(void)
{
    return ++allocations == fail_at;
}
void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__wrap_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
    return refuse() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t m)
{
    return refuse() ? NULL : __real_calloc(n, m);
}

void *__wrap_realloc(void *p, size_t n)
{
    return refuse() ? NULL : __real_realloc(p, n);
}

static void the_steady_state_does_not_allocate(void **state)
{
    static const char text[] = "POST /x HTTP/1.1\r\n" HOST "X-Amz-Target: T\r\nContent-Length: 5\r\n\r\nhello";
    struct bench b;
    struct raw r;
    uint64_t before = 0;
    bench_init(&b);
    bench_serve(&b, (struct http_server_options){0});
    raw_open(&r, &b, SLICE_NULL, 0);
    assert_non_null(bytebuf_reserve(&r.got, 1 << 20)); /* the client's own */
    while (!r.connected)
        assert_int_equal(loop_run(b.loop), 0);
    for (uint32_t i = 1; i <= 200; i++) {
        if (i == 100)
            before = allocations;
        raw_send(&r, slice_of(text, sizeof text - 1));
        raw_wait_answers(&r, i);
    }
    assert_int_equal(allocations - before, 0);
    raw_close(&r);
    bench_deinit(&b);
}

struct finish {
    struct raw *r;
    uint32_t count;
};

static bool answered_or_ended(void *arg)
{
    struct finish *f = arg;
    static struct raw_answer a[8];
    return f->r->ended || raw_answers(f->r, a, 8) >= f->count;
}

/* Three requests, the n-th allocation failing; returns whether there was one. */
static bool scenario_with_failing_allocation(struct bench *b, struct slice text, uint64_t n)
{
    struct raw r;
    struct finish f = {&r, 3};
    raw_open(&r, b, SLICE_NULL, 0);
    assert_non_null(bytebuf_reserve(&r.got, 1 << 20)); /* the client's own memory is not meant */
    while (!r.connected)
        assert_int_equal(loop_run(b->loop), 0);
    allocations = 0;
    fail_at = n;
    raw_send(&r, text);
    bench_until(b, answered_or_ended, &f);
    bool hit = allocations >= n;
    fail_at = 0;
    raw_close(&r);
    bench_poll(b, no_connections, b);
    return hit;
}

static void each_allocation_may_fail(void **state)
{
    enum { LEN = 100000 };
    static char text[LEN + 500];
    int len = snprintf(text, sizeof text,
                       "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                       "GET /x HTTP/1.1\r\n" HOST "\r\nPOST /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n",
                       LEN);
    memset(text + len, 'f', LEN);
    uint64_t n = 1;
    for (bool hit = true; hit; n++) {
        struct bench b;
        struct raw good;
        bench_init(&b);
        bench_serve(&b, (struct http_server_options){0});
        hit = scenario_with_failing_allocation(&b, slice_of(text, (size_t)len + LEN), n);
        assert_int_equal(http_server_stats(b.server)->memory_bytes, 0);
        raw_open(&good, &b, SLICE_LIT("GET / HTTP/1.1\r\n" HOST "\r\n"), 0);
        raw_wait_answers(&good, 1);
        one_answer(&good, 200, "GET / 0");
        raw_close(&good);
        bench_deinit(&b);
    }
    assert_true(n > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_serves_one_request_after_another),
        cmocka_unit_test(pipelined_answers_leave_in_request_order),
        cmocka_unit_test(a_deep_pipeline_is_paused_and_goes_on),
        cmocka_unit_test(a_request_in_single_bytes_is_the_same_request),
        cmocka_unit_test(a_large_body_arrives_whole_with_its_padding),
        cmocka_unit_test(each_bad_request_gets_its_status_and_the_end),
        cmocka_unit_test(what_came_before_a_bad_request_is_still_answered_first),
        cmocka_unit_test(a_head_or_target_over_its_limit_is_refused),
        cmocka_unit_test(a_client_that_sends_on_still_reads_why_it_was_refused),
        cmocka_unit_test(a_slow_request_gets_408_and_an_idle_connection_just_ends),
        cmocka_unit_test(a_client_that_does_not_read_is_dropped),
        cmocka_unit_test(continue_is_said_when_the_body_is_wanted),
        cmocka_unit_test(a_client_that_goes_while_it_was_told_to_continue_is_forgotten),
        cmocka_unit_test(old_and_closing_clients_get_one_answer),
        cmocka_unit_test(head_answers_have_a_length_and_no_body),
        cmocka_unit_test(http2_is_refused_in_its_own_words),
        cmocka_unit_test(hosts_and_origins_of_strangers_are_refused),
        cmocka_unit_test(a_half_closed_client_gets_its_answer),
        cmocka_unit_test(an_answer_for_a_client_that_has_gone_is_dropped),
        cmocka_unit_test(a_client_that_closes_in_the_middle_of_an_answer_hurts_nobody),
        cmocka_unit_test(connections_over_the_limit_are_closed),
        cmocka_unit_test(memory_over_the_budget_makes_requests_wait_not_fail),
        cmocka_unit_test(a_request_larger_than_the_whole_budget_passes_alone),
        cmocka_unit_test(a_thousand_connections_are_served),
        cmocka_unit_test(stopping_waits_for_requests_in_flight_and_ends_the_others),
        cmocka_unit_test(a_stop_whose_grace_is_over_drops_connections_and_waits_for_handlers),
        cmocka_unit_test(the_steady_state_does_not_allocate),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
