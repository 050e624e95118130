/* HTTP/1.1 heads and chunked bodies: tables of good and bad messages, each fed whole and split at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/wire/http1.h"

#include <stdio.h>
#include <stdlib.h>

#define FIELDS_MAX 8

static const struct http1_limits limits = {
    .head_bytes_max = 512, .headers_max = FIELDS_MAX, .target_bytes_max = 64, .body_bytes_max = 1000};

struct parsed {
    struct http1_parser p;
    struct http1_field fields[FIELDS_MAX];
};

static void parsed_init(struct parsed *r, bool request)
{
    if (request)
        http1_request_init(&r->p, &limits, r->fields);
    else
        http1_response_init(&r->p, &limits, r->fields, false);
}

/* Parses `text` in steps of `step` bytes, each time in a fresh exact-size copy, so that an over-read or a pointer kept
 * across a move of the buffer is seen by the sanitizer. */
static enum http1_progress parse_stepwise(struct parsed *r, bool request, struct slice text, size_t step)
{
    enum http1_progress progress = HTTP1_MORE;
    parsed_init(r, request);
    for (size_t n = 0; n < text.len && progress == HTTP1_MORE;) {
        n = n + step < text.len ? n + step : text.len;
        uint8_t *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, text.ptr, n);
        progress = http1_parse(&r->p, copy, n);
        free(copy);
    }
    return progress;
}

struct bad {
    enum http1_error error;
    const char *text;
};

#define H "Host: a\r\n"

static const struct bad bad_requests[] = {
    {HTTP1_BAD_REQUEST_LINE, "GET\r\n\r\n"},
    {HTTP1_BAD_REQUEST_LINE, "GET /\r\n\r\n"},
    {HTTP1_BAD_TARGET, "GET  / HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_REQUEST_LINE, "GET /  HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_REQUEST_LINE, "GET / HTTP/1.1 \r\n" H "\r\n"},
    {HTTP1_BAD_REQUEST_LINE, " GET / HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_REQUEST_LINE, "G@T / HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_REQUEST_LINE, "GET\t/\tHTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_REQUEST_LINE, "GET / http/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_REQUEST_LINE, "GET / HTTP/1\r\n" H "\r\n"},
    {HTTP1_BAD_REQUEST_LINE, "GET / HTTP/1.1x\r\n" H "\r\n"},
    {HTTP1_BAD_REQUEST_LINE, "\x80GET / HTTP/1.1\r\n"},
    {HTTP1_BAD_REQUEST_LINE, "{}\r\n\r\n"},
    {HTTP1_BAD_VERSION, "GET / HTTP/2.0\r\n" H "\r\n"},
    {HTTP1_BAD_VERSION, "GET / HTTP/1.2\r\n" H "\r\n"},
    {HTTP1_BAD_VERSION, "GET / HTTP/0.9\r\n" H "\r\n"},
    {HTTP1_H2_PREFACE, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    {HTTP1_TLS, "\x16\x03\x01\x02\x01\x01"},
    {HTTP1_CONNECT, "CONNECT a:443 HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_TARGET, "GET * HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_TARGET, "GET a HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_TARGET, "GET /a#b HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_TARGET, "GET /\x80 HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_TARGET, "GET /\x01 HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_TARGET, "GET ftp://a/ HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_TARGET, "GET http:/// HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_TARGET, "GET http://u@a/ HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_HOST_MISMATCH, "GET http://b/ HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_LINE_END, "GET / HTTP/1.1\n" H "\r\n"},
    {HTTP1_BAD_LINE_END, "GET / HTTP/1.1\r\nHost: a\n\r\n"},
    {HTTP1_BAD_LINE_END, "GET / HTTP/1.1\r\n" H "\n"},
    {HTTP1_BAD_LINE_END, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"},
    {HTTP1_BAD_LINE_END, "GET / HTTP/1.1\r\r\n" H "\r\n"},
    {HTTP1_BAD_REQUEST_LINE, "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"},
    {HTTP1_BAD_HEADER_NAME, "GET / HTTP/1.1\r\n: a\r\n\r\n"},
    {HTTP1_BAD_HEADER_NAME, "GET / HTTP/1.1\r\nHost\r\n\r\n"},
    {HTTP1_BAD_HEADER_NAME, "GET / HTTP/1.1\r\nHo st: a\r\n\r\n"},
    {HTTP1_BAD_HEADER_NAME, "GET / HTTP/1.1\r\nX(y): a\r\n\r\n"},
    {HTTP1_SPACE_BEFORE_COLON, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
    {HTTP1_SPACE_BEFORE_COLON, "GET / HTTP/1.1\r\nContent-Length\t: 3\r\n\r\n"},
    {HTTP1_FOLDED_HEADER, "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n"},
    {HTTP1_FOLDED_HEADER, "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"},
    {HTTP1_BAD_HEADER_VALUE, "GET / HTTP/1.1\r\n" H "X: a\x01\r\n\r\n"},
    {HTTP1_BAD_HEADER_VALUE, "GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n"},
    {HTTP1_NO_HOST, "GET / HTTP/1.1\r\n\r\n"},
    {HTTP1_NO_HOST, "GET http://a/ HTTP/1.1\r\n\r\n"},
    {HTTP1_REPEATED_HOST, "GET / HTTP/1.1\r\n" H H "\r\n"},
    {HTTP1_BAD_HOST, "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
    {HTTP1_BAD_HOST, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
    {HTTP1_BAD_HOST, "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"},
    {HTTP1_BAD_HOST, "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"},
    {HTTP1_BAD_HOST, "GET / HTTP/1.1\r\nHost: a:0\r\n\r\n"},
    {HTTP1_BAD_HOST, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"},
    {HTTP1_BAD_HOST, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"},
    {HTTP1_BAD_HOST, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"},
    {HTTP1_BAD_CONTENT_LENGTH, "POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\n"},
    {HTTP1_BAD_CONTENT_LENGTH, "POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\n"},
    {HTTP1_BAD_CONTENT_LENGTH, "POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\n"},
    {HTTP1_BAD_CONTENT_LENGTH, "POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\n"},
    {HTTP1_BAD_CONTENT_LENGTH, "POST / HTTP/1.1\r\n" H "Content-Length: 3 3\r\n\r\n"},
    {HTTP1_BAD_CONTENT_LENGTH, "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"},
    {HTTP1_REPEATED_CONTENT_LENGTH, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"},
    {HTTP1_REPEATED_CONTENT_LENGTH, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\ncontent-length: 3\r\n\r\n"},
    {HTTP1_BODY_TOO_LARGE, "POST / HTTP/1.1\r\n" H "Content-Length: 1001\r\n\r\n"},
    {HTTP1_BODY_TOO_LARGE, "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551616\r\n\r\n"},
    {HTTP1_LENGTH_AND_CODING, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {HTTP1_LENGTH_AND_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"},
    {HTTP1_CODING_IN_1_0, "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"},
    {HTTP1_UNKNOWN_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n"},
    {HTTP1_UNKNOWN_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n"},
    {HTTP1_UNKNOWN_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n"},
    {HTTP1_UNKNOWN_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n"},
    {HTTP1_UNKNOWN_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;x=1\r\n\r\n"},
    {HTTP1_UNKNOWN_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n"},
    {HTTP1_UNKNOWN_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n"},
    {HTTP1_REPEATED_CODING, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {HTTP1_UNKNOWN_EXPECTATION, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nExpect: tea\r\n\r\n"},
    {HTTP1_TOO_MANY_HEADERS, "GET / HTTP/1.1\r\n" H "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n"},
    {HTTP1_TARGET_TOO_LONG, "GET /2345678901234567890123456789012345678901234567890123456789012345 HTTP/1.1\r\n"},
};

static void each_bad_request_is_refused_for_its_reason_however_it_is_split(void **state)
{
    for (size_t i = 0; i < ARRAY_COUNT(bad_requests); i++) {
        const struct bad *b = &bad_requests[i];
        struct parsed r;
        for (size_t step = 1; step <= 512; step += step == 1 ? 6 : 505) {
            enum http1_progress got = parse_stepwise(&r, true, slice_str(b->text), step);
            if (got != HTTP1_FAILED || r.p.error != b->error)
                fail_msg("case %zu (step %zu): %d \"%s\" for %s", i, step, got, http1_error_text(r.p.error), b->text);
            assert_in_range(http1_error_status(b->error), 400, 505);
            assert_int_equal(http1_parse(&r.p, (const uint8_t *)"", 0), HTTP1_FAILED);
        }
    }
}

static void a_nul_byte_is_refused_in_names_values_and_targets(void **state)
{
    static const char value[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n";
    static const char name[] = "GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n";
    static const char target[] = "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n";
    struct parsed r;
    assert_int_equal(parse_stepwise(&r, true, slice_of(value, sizeof value - 1), 1), HTTP1_FAILED);
    assert_int_equal(r.p.error, HTTP1_BAD_HEADER_VALUE);
    assert_int_equal(parse_stepwise(&r, true, slice_of(name, sizeof name - 1), 1), HTTP1_FAILED);
    assert_int_equal(r.p.error, HTTP1_BAD_HEADER_NAME);
    assert_int_equal(parse_stepwise(&r, true, slice_of(target, sizeof target - 1), 1), HTTP1_FAILED);
    assert_int_equal(r.p.error, HTTP1_BAD_TARGET);
}

struct good {
    const char *text, *method, *target, *host;
    uint32_t fields;
    enum http1_body body;
    uint64_t length;
    bool keep_alive, expect;
};

static const struct good good_requests[] = {
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", "a", 1, HTTP1_BODY_NONE, 0, true, false},
    {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", "a", 1, HTTP1_BODY_NONE, 0, true, false},
    {"GET / HTTP/1.0\r\n\r\n", "GET", "/", "", 0, HTTP1_BODY_NONE, 0, false, false},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET", "/", "", 1, HTTP1_BODY_NONE, 0, false, false},
    {"POST /a?b=c|d HTTP/1.1\r\nHost:[::1]:80\r\nContent-Length:3\r\n\r\n", "POST", "/a?b=c|d", "[::1]:80", 2,
     HTTP1_BODY_LENGTH, 3, true, false},
    {"POST / HTTP/1.1\r\nHost:a\r\nContent-Length: \t0 \r\n\r\n", "POST", "/", "a", 2, HTTP1_BODY_NONE, 0, true, false},
    {"POST / HTTP/1.1\r\nHost:a\r\nTRANSFER-encoding: Chunked\r\n\r\n", "POST", "/", "a", 2, HTTP1_BODY_CHUNKED, 0,
     true, false},
    {"POST / HTTP/1.1\r\nHost:a\r\nContent-Length: 1000\r\nExpect: 100-Continue\r\n\r\n", "POST", "/", "a", 3,
     HTTP1_BODY_LENGTH, 1000, true, true},
    {"POST / HTTP/1.0\r\nHost:a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", "POST", "/", "a", 3,
     HTTP1_BODY_LENGTH, 9, false, false},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: TE , Close\r\n\r\n", "GET", "/", "a", 2, HTTP1_BODY_NONE, 0, false,
     false},
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", "GET", "/", "a", 2, HTTP1_BODY_NONE, 0, true, false},
    {"GET http://A:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET", "http://A:80/x", "a:80", 1, HTTP1_BODY_NONE, 0, true,
     false},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "*", "a", 1, HTTP1_BODY_NONE, 0, true, false},
    {"GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \xff z\t \r\n\r\n", "GET", "/", "a", 3, HTTP1_BODY_NONE, 0, true, false},
};

static void each_good_request_is_understood_however_it_is_split(void **state)
{
    for (size_t i = 0; i < ARRAY_COUNT(good_requests); i++) {
        const struct good *g = &good_requests[i];
        const uint8_t *buf = (const uint8_t *)g->text;
        struct parsed r;
        for (size_t step = 1; step <= 512; step++) {
            assert_int_equal(parse_stepwise(&r, true, slice_str(g->text), step), HTTP1_DONE);
            assert_true(slice_eq_str(http1_view(buf, r.p.method), g->method));
            assert_true(slice_eq_str(http1_view(buf, r.p.target), g->target));
            assert_true(slice_eq_str(http1_view(buf, r.p.host), g->host));
            assert_int_equal(r.p.head_bytes, strlen(g->text));
            assert_int_equal(r.p.field_count, g->fields);
            assert_int_equal(r.p.body, g->body);
            assert_int_equal(r.p.content_length, g->length);
            assert_int_equal(r.p.keep_alive, g->keep_alive);
            assert_int_equal(r.p.expect_continue, g->expect);
        }
    }
}

static void headers_are_trimmed_and_found_in_any_case(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Val: \t b c \t\r\n\r\nbody";
    struct parsed r;
    struct http_header h[FIELDS_MAX];
    parsed_init(&r, true);
    assert_int_equal(http1_parse(&r.p, (const uint8_t *)text, sizeof text - 1), HTTP1_DONE);
    assert_string_equal(text + r.p.head_bytes, "body");
    http1_headers(&r.p, (const uint8_t *)text, h);
    assert_true(slice_eq_str(http_header_find(h, r.p.field_count, "x-VAL"), "b c"));
    struct slice empty = http_header_find(h, r.p.field_count, "x-empty");
    assert_true(empty.ptr && empty.len == 0);
    assert_null(http_header_find(h, r.p.field_count, "x-va").ptr);
}

static void a_head_over_its_limit_is_refused_with_and_without_line_ends(void **state)
{
    struct parsed r;
    char text[700];
    memset(text, 'a', sizeof text);
    memcpy(text, "GET / HTTP/1.1\r\nX:", 18);
    assert_int_equal(parse_stepwise(&r, true, slice_of(text, 512), 7), HTTP1_MORE);
    assert_int_equal(parse_stepwise(&r, true, slice_of(text, 513), 7), HTTP1_FAILED);
    assert_int_equal(r.p.error, HTTP1_HEAD_TOO_LARGE);
    /* exactly the limit is a good head; one byte more is not, also if it comes at once */
    memcpy(text, "GET / HTTP/1.1\r\nHost:a\r\nX:", 26);
    memcpy(text + 508, "\r\n\r\n", 4);
    assert_int_equal(parse_stepwise(&r, true, slice_of(text, 512), 512), HTTP1_DONE);
    memset(text + 508, 'a', 4);
    memcpy(text + 509, "\r\n\r\n", 4);
    assert_int_equal(parse_stepwise(&r, true, slice_of(text, 513), 513), HTTP1_FAILED);
    assert_int_equal(r.p.error, HTTP1_HEAD_TOO_LARGE);
}

static void an_endless_request_line_is_refused_early(void **state)
{
    struct parsed r;
    char text[300];
    memset(text, 'a', sizeof text);
    memcpy(text, "GET /", 5);
    assert_int_equal(parse_stepwise(&r, true, slice_of(text, sizeof text), 1), HTTP1_FAILED);
    assert_int_equal(r.p.error, HTTP1_TARGET_TOO_LONG);
}

static void targets_are_split_into_their_parts(void **state)
{
    struct http1_target t;
    assert_int_equal(http1_target_split(SLICE_LIT("/a/b?c=d?e"), &t), HTTP1_OK);
    assert_true(slice_eq_str(t.path, "/a/b") && slice_eq_str(t.query, "c=d?e") && !t.authority.ptr);
    assert_int_equal(http1_target_split(SLICE_LIT("HTTP://h:1?q"), &t), HTTP1_OK);
    assert_true(slice_eq_str(t.path, "/") && slice_eq_str(t.query, "q") && slice_eq_str(t.authority, "h:1"));
    assert_int_equal(http1_target_split(SLICE_LIT("//h/p"), &t), HTTP1_OK);
    assert_true(slice_eq_str(t.path, "//h/p"));
    assert_int_equal(http1_target_split(SLICE_LIT(""), &t), HTTP1_BAD_TARGET);
}

static const struct bad bad_responses[] = {
    {HTTP1_BAD_STATUS_LINE, "HTTP/1.1\r\n\r\n"},
    {HTTP1_BAD_STATUS_LINE, "HTTP/1.1 20\r\n\r\n"},
    {HTTP1_BAD_STATUS_LINE, "HTTP/1.1 099 x\r\n\r\n"},
    {HTTP1_BAD_STATUS_LINE, "HTTP/1.1 2000\r\n\r\n"},
    {HTTP1_BAD_STATUS_LINE, "HTTP/1.1  200 OK\r\n\r\n"},
    {HTTP1_BAD_STATUS_LINE, "ICY 200 OK\r\n\r\n"},
    {HTTP1_BAD_VERSION, "HTTP/2.0 200 OK\r\n\r\n"},
    {HTTP1_LENGTH_AND_CODING, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {HTTP1_REPEATED_CONTENT_LENGTH, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"},
};

static void each_bad_response_is_refused_for_its_reason(void **state)
{
    for (size_t i = 0; i < ARRAY_COUNT(bad_responses); i++) {
        struct parsed r;
        assert_int_equal(parse_stepwise(&r, false, slice_str(bad_responses[i].text), 1), HTTP1_FAILED);
        assert_int_equal(r.p.error, bad_responses[i].error);
    }
}

static void responses_tell_how_their_body_ends(void **state)
{
    struct parsed r;
    assert_int_equal(parse_stepwise(&r, false, SLICE_LIT("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"), 1),
                     HTTP1_DONE);
    assert_true(r.p.status == 200 && r.p.body == HTTP1_BODY_LENGTH && r.p.content_length == 7 && r.p.keep_alive);
    assert_int_equal(parse_stepwise(&r, false, SLICE_LIT("HTTP/1.1 200\r\n\r\n"), 1), HTTP1_DONE);
    assert_true(r.p.body == HTTP1_BODY_UNTIL_CLOSE && !r.p.keep_alive);
    assert_int_equal(parse_stepwise(&r, false, SLICE_LIT("HTTP/1.1 204 \r\nContent-Length: 7\r\n\r\n"), 1), HTTP1_DONE);
    assert_int_equal(r.p.body, HTTP1_BODY_NONE);
    assert_int_equal(parse_stepwise(&r, false, SLICE_LIT("HTTP/1.1 100 Continue\r\n\r\n"), 1), HTTP1_DONE);
    assert_true(r.p.status == 100 && r.p.body == HTTP1_BODY_NONE && r.p.keep_alive);
    http1_response_init(&r.p, &limits, r.fields, true);
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
    assert_int_equal(http1_parse(&r.p, (const uint8_t *)head, sizeof head - 1), HTTP1_DONE);
    assert_int_equal(r.p.body, HTTP1_BODY_NONE);
}

/* ---- chunked bodies ---------------------------------------------------------------------------------------------- */

struct chunked {
    char body[64];
    size_t body_len, used;
    enum http1_error error;
};

static enum http1_progress decode_stepwise(struct chunked *r, struct slice text, size_t step)
{
    struct http1_chunks c;
    enum http1_progress progress = HTTP1_MORE;
    http1_chunks_init(&c, 20);
    *r = (struct chunked){0};
    while (r->used < text.len && progress == HTTP1_MORE) {
        size_t used;
        struct slice data;
        progress = http1_chunks_next(&c, slice_first(slice_from(text, r->used), step), &used, &data);
        assert_true(used > 0 || progress != HTTP1_MORE);
        assert_true(r->body_len + data.len <= sizeof r->body);
        if (data.len)
            memcpy(r->body + r->body_len, data.ptr, data.len);
        r->body_len += data.len;
        r->used += used;
    }
    r->error = c.error;
    return progress;
}

static void a_chunked_body_is_put_together_and_its_end_is_found(void **state)
{
    static const char *const texts[] = {
        "5\r\nhello\r\n006\r\n world\r\n0\r\n\r\nGET",
        "5;a=\"b\"\r\nhello\r\n6;;\r\n world\r\n0;x\r\nTrailer: x y\r\nU:\r\n\r\nGET",
        "B\r\nhello world\r\n0000000000000000\r\n\r\nGET",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        for (size_t step = 1; step <= 80; step++) {
            struct chunked r;
            assert_int_equal(decode_stepwise(&r, slice_str(texts[i]), step), HTTP1_DONE);
            assert_true(slice_eq_str(slice_of(r.body, r.body_len), "hello world"));
            assert_int_equal(r.used, strlen(texts[i]) - 3);
        }
    }
}

static void each_bad_chunk_is_refused_for_its_reason(void **state)
{
    static const struct bad cases[] = {
        {HTTP1_BAD_CHUNK, "\r\n"},
        {HTTP1_BAD_CHUNK, ";x\r\n"},
        {HTTP1_BAD_CHUNK, " 5\r\nhello\r\n"},
        {HTTP1_BAD_CHUNK, "5 \r\nhello\r\n"},
        {HTTP1_BAD_CHUNK, "0x5\r\nhello\r\n"},
        {HTTP1_BAD_CHUNK, "-1\r\n"},
        {HTTP1_BAD_CHUNK, "5\nhello\r\n"},
        {HTTP1_BAD_CHUNK, "5\r\nhelloX\r\n"},
        {HTTP1_BAD_CHUNK, "5\r\nhello\n"},
        {HTTP1_BAD_CHUNK, "5;a\nb\r\nhello\r\n"},
        {HTTP1_BAD_CHUNK, "00000000000000005\r\nhello\r\n"},
        {HTTP1_BAD_CHUNK, "0\r\n\n"},
        {HTTP1_BAD_CHUNK, "0\r\n folded: x\r\n\r\n"},
        {HTTP1_BAD_CHUNK, "0\r\nno colon\r\n\r\n"},
        {HTTP1_BAD_CHUNK, "0\r\na: b\n\r\n"},
        {HTTP1_BODY_TOO_LARGE, "15\r\n"},
        {HTTP1_BODY_TOO_LARGE, "14\r\n01234567890123456789\r\n1\r\n"},
        {HTTP1_BODY_TOO_LARGE, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct chunked r;
        for (size_t step = 1; step <= 40; step += 13) {
            enum http1_progress got = decode_stepwise(&r, slice_str(cases[i].text), step);
            if (got != HTTP1_FAILED || r.error != cases[i].error)
                fail_msg("case %zu: %d \"%s\"", i, got, http1_error_text(r.error));
        }
    }
}

static void extensions_and_trailers_are_bounded(void **state)
{
    static char text[9000];
    struct chunked r;
    memset(text, 'a', sizeof text);
    memcpy(text, "5;", 2);
    assert_int_equal(decode_stepwise(&r, slice_of(text, 300), 300), HTTP1_FAILED);
    assert_int_equal(r.error, HTTP1_BAD_CHUNK);
    memcpy(text, "0\r\na:", 5);
    assert_int_equal(decode_stepwise(&r, slice_of(text, sizeof text), 1000), HTTP1_FAILED);
    assert_int_equal(r.error, HTTP1_TRAILER_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bad_request_is_refused_for_its_reason_however_it_is_split),
        cmocka_unit_test(a_nul_byte_is_refused_in_names_values_and_targets),
        cmocka_unit_test(each_good_request_is_understood_however_it_is_split),
        cmocka_unit_test(headers_are_trimmed_and_found_in_any_case),
        cmocka_unit_test(a_head_over_its_limit_is_refused_with_and_without_line_ends),
        cmocka_unit_test(an_endless_request_line_is_refused_early),
        cmocka_unit_test(targets_are_split_into_their_parts),
        cmocka_unit_test(each_bad_response_is_refused_for_its_reason),
        cmocka_unit_test(responses_tell_how_their_body_ends),
        cmocka_unit_test(a_chunked_body_is_put_together_and_its_end_is_found),
        cmocka_unit_test(each_bad_chunk_is_refused_for_its_reason),
        cmocka_unit_test(extensions_and_trailers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
