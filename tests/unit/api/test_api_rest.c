/* The REST ingestion: paths, methods, bodies, keys, who may, and answers that say what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/api/rest_body.h"
#include "tests/unit/api/api_fixture.h"

static const char *const key_list[] = {"sesame", "open"};
static struct config_route routes[] = {
    {.path = "/prod/logger", .stream = "events", .auth = CONFIG_AUTH_AUTO},
    {.path = "/stamped", .stream = "events", .auth = CONFIG_AUTH_NONE, .stamp = "at"},
    {.path = "/keyed", .stream = "events", .auth = CONFIG_AUTH_KEY, .keys = {key_list, 2}},
    {.path = "/lines",
     .stream = "events",
     .auth = CONFIG_AUTH_NONE,
     .content = CONFIG_CONTENT_LINES,
     .key_header = "x-user",
     .key_query = "user"},
    {.path = "/lost", .stream = "nowhere", .auth = CONFIG_AUTH_NONE},
};
static struct config_credential credentials[] = {{.access_key_id = "AKIDEXAMPLE", .secret_access_key = "secret"}};

static int setup(void **state)
{
    static struct fixture f;
    fixture_init(&f);
    f.config.routes = routes;
    f.config.route_count = ARRAY_COUNT(routes);
    fixture_start(&f);
    create_stream(&f, "events", 2);
    *state = &f;
    return f.start_status;
}

static int setup_credentials(void **state)
{
    static struct fixture f;
    fixture_init(&f);
    f.config.routes = routes;
    f.config.route_count = ARRAY_COUNT(routes);
    f.config.credentials = credentials;
    f.config.credential_count = 1;
    fixture_start(&f);
    *state = &f;
    return f.start_status;
}

static int teardown(void **state)
{
    fixture_deinit(*state);
    return 0;
}

static struct reply post(struct fixture *f, const char *target, const char *header, const char *body)
{
    const char *const headers[] = {header, NULL};
    return http(f, "POST", target, headers, slice_str(body));
}

/* All data of a stream's two shards, as base64 in JSON. */
static const char *stored(struct fixture *f)
{
    static char all[65536];
    all[0] = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct reply r = get_records(f, iterator_of(f, "events", i, "TRIM_HORIZON", ""), "");
        strncat(all, r.body, sizeof(all) - strlen(all) - 1);
    }
    return all;
}

static void a_body_is_one_record_and_the_answer_names_it(void **state)
{
    struct fixture *f = *state;
    const char *targets[] = {"/streams/events/records", "/prod/logger"};
    for (int i = 0; i < 2; i++) {
        struct reply r = post(f, targets[i], "Content-Type: application/x-www-form-urlencoded", "line one\nline two\n");
        assert_int_equal(r.status, 200);
        assert_string_equal(r.content_type, "application/json");
        assert_memory_equal(r.body, "{\"shardId\":\"shardId-00000000000", 31);
        assert_int_equal(strlen(field(&r, "sequenceNumber")), 56);
        assert_string_equal(r.body + r.len - 3, "\"}\n");
    }
    assert_non_null(strstr(stored(f), "\"bGluZSBvbmUKbGluZSB0d28K\"")); /* both lines, one record */
}

static void lines_are_records_and_blank_lines_are_passed_over(void **state)
{
    struct fixture *f = *state;
    struct reply r = post(f, "/streams/events/records?partition-key=k%C3%A9y",
                          "Content-Type: application/x-ndjson; charset=utf-8", "a\r\n\n  \nb\nc");
    assert_int_equal(r.status, 200);
    assert_memory_equal(r.body, "{\"failedRecordCount\":0,\"records\":[{\"shardId\":\"", 46);
    assert_non_null(strstr(r.body, "sequenceNumber"));
    const char *text = stored(f);
    assert_non_null(strstr(text, "\"Data\":\"YQ==\",\"PartitionKey\":\"k\xc3\xa9y\""));
    assert_non_null(strstr(text, "\"Data\":\"Yw==\",\"PartitionKey\":\"k\xc3\xa9y\""));
}

static void a_key_comes_from_the_header_the_query_or_chance(void **state)
{
    struct fixture *f = *state;
    post(f, "/streams/events/records", "x-partition-key: mine", "1");
    post(f, "/lines?user=a+b", "x-none: 0", "2");
    post(f, "/lines", "X-User: carol", "3");
    post(f, "/streams/events/records", "x-none: 0", "4");
    const char *text = stored(f);
    assert_non_null(strstr(text, "\"Data\":\"MQ==\",\"PartitionKey\":\"mine\""));
    assert_non_null(strstr(text, "\"Data\":\"Mg==\",\"PartitionKey\":\"a b\""));
    assert_non_null(strstr(text, "\"Data\":\"Mw==\",\"PartitionKey\":\"carol\""));
    const char *at = strstr(text, "\"Data\":\"NA==\",\"PartitionKey\":\"");
    assert_non_null(at);
    assert_int_equal(strspn(at + 30, "0123456789abcdef"), 32);
    struct reply r = post(f, "/streams/events/records", "x-explicit-hash-key: 0", "5");
    assert_string_equal(field(&r, "shardId"), "shardId-000000000000");
    r = post(f, "/streams/events/records?explicit-hash-key=340282366920938463463374607431768211455", "x-none: 0", "5");
    assert_string_equal(field(&r, "shardId"), "shardId-000000000001");
}

static void random_keys_of_a_batch_differ(void **state)
{
    struct fixture *f = *state;
    struct reply r = post(f, "/lines", "x-none: 0", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn\no\np\nq\nr\ns\nt\n");
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, "shardId-000000000000"));
    assert_non_null(strstr(r.body, "shardId-000000000001")); /* 2^-19: all 20 on one shard */
}

struct refused {
    const char *method, *target, *header, *body;
    int status;
    const char *error, *says;
};

static const struct refused refusals[] = {
    {"POST", "/streams/ghost/records", "x: y", "1", 404, "not_found",
     "Stream 'ghost' does not exist. Create it with: sluice stream create ghost, or aws kinesis create-stream "
     "--stream-name ghost --shard-count 1"},
    {"POST", "/lost", "x: y", "1", 404, "not_found", "Stream 'nowhere' does not exist."},
    {"POST", "/streams/a/b/records", "x: y", "1", 404, "not_found", "There is nothing at /streams/a/b/records."},
    {"GET", "/favicon.ico", "x: y", "", 404, "not_found", "There is nothing at /favicon.ico."},
    {"GET", "/streams/events/records", "x: y", "", 405, "method_not_allowed", "Records are sent with POST."},
    {"POST", "/streams/events/records", "Content-Type: multipart/form-data; boundary=x", "1", 415,
     "unsupported_media_type", "curl --data-binary @FILE"},
    {"POST", "/streams/events/records", "Content-Encoding: gzip", "1", 415, "unsupported_media_type",
     "Content-Encoding gzip is not taken"},
    {"POST", "/streams/events/records", "x: y", "", 400, "bad_request",
     "The body is empty: it should hold one record."},
    {"POST", "/lines", "x: y", "\n\n", 400, "bad_request", "The body is empty: it should hold a record a line."},
    {"POST", "/streams/events/records", "x-partition-key:", "1", 400, "bad_request", "1 to 256 characters"},
    {"POST", "/streams/events/records?partition-key=%FF", "x: y", "1", 400, "bad_request", "of UTF-8"},
    {"POST", "/streams/events/records?partition-key=%F", "x: y", "1", 400, "bad_request",
     "partition-key is not well-formed"},
    {"POST", "/streams/events/records", "x-explicit-hash-key: 340282366920938463463374607431768211456", "1", 400,
     "bad_request", "2^128 - 1"},
    {"POST", "/stamped", "x: y", "[1]", 400, "bad_request",
     "The body is not a JSON object (it is JSON, but not an object)"},
    {"POST", "/stamped", "x: y", "{\"a\":}", 400, "bad_request", "The body is not a JSON object ("},
    {"POST", "/stamped", "Content-Type: application/x-ndjson", "{}\nnope\n", 400, "bad_request",
     "Record 2 is not a JSON object ("},
    {"POST", "/keyed", "x: y", "1", 403, "forbidden", "x-api-key"},
    {"POST", "/keyed", "x-api-key: sesam", "1", 403, "forbidden", "x-api-key"},
    {"POST", "/keyed", "x-api-key: sesame!", "1", 403, "forbidden", "x-api-key"},
};

static void refusals_say_what_to_do_and_store_nothing(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        const char *const headers[] = {refusals[i].header, NULL};
        struct reply r = http(f, refusals[i].method, refusals[i].target, headers, slice_str(refusals[i].body));
        if (r.status != refusals[i].status || !strstr(r.body, refusals[i].says) ||
            strcmp(field(&r, "error"), refusals[i].error) != 0)
            fail_msg("case %zu: %d %s", i, r.status, r.body);
        if (r.status == 405)
            assert_string_equal(r.allow, "POST, OPTIONS");
    }
    assert_null(strstr(stored(f), "\"Data\""));
}

static void options_names_the_method(void **state)
{
    struct fixture *f = *state;
    struct reply r = http(f, "OPTIONS", "/prod/logger", NULL, SLICE_NULL);
    assert_int_equal(r.status, 204);
    assert_string_equal(r.allow, "POST, OPTIONS");
}

static void an_api_key_opens_its_route(void **state)
{
    struct fixture *f = *state;
    struct reply r = post(f, "/keyed", "X-Api-Key: open", "1");
    assert_int_equal(r.status, 200);
}

static void throttling_is_429_with_retry_after(void **state)
{
    struct fixture *f = *state;
    fake_log.refuse_uid = UINT64_MAX;
    fake_log.refuse_status = ST_RESERVE;
    struct reply r = post(f, "/prod/logger", "x: y", "1");
    assert_int_equal(r.status, 429);
    assert_string_equal(r.retry_after, "1");
    assert_string_equal(field(&r, "error"), "throttled");
    r = post(f, "/lines", "x: y", "1\n2\n");
    assert_int_equal(r.status, 429);
    assert_non_null(strstr(r.body, "{\"failedRecordCount\":2,\"records\":[{\"error\":\"throttled\","));
    struct catalog_shard shards[2];
    struct api_loop *l = api_loop_at(f->api, 0);
    api_stream_shards(l, api_stream_find(l, SLICE_LIT("events"), NULL), shards, 2);
    fake_log.refuse_uid = shards[0].uid;
    r = post(f, "/lines", "x: y", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn\no\np\nq\nr\ns\nt\n");
    assert_int_equal(r.status, 200); /* some were stored */
    assert_non_null(strstr(r.body, "\"error\":\"throttled\""));
}

static void a_record_over_the_streams_size_is_413(void **state)
{
    struct fixture *f = *state;
    char *big = fixture_alloc((1 << 20) + 2);
    memset(big, 'x', (1 << 20) + 1);
    big[(1 << 20) + 1] = 0;
    struct reply r = post(f, "/prod/logger", "x: y", big);
    free(big);
    assert_int_equal(r.status, 413);
    assert_non_null(strstr(r.body, "stream 'events' takes up to 1048576"));
}

static void too_many_lines_are_413(void **state)
{
    struct fixture *f = *state;
    char *lines = fixture_alloc(20003);
    for (int i = 0; i < 10001; i++)
        memcpy(lines + 2 * i, "x\n", 3);
    struct reply r = post(f, "/lines", "x: y", lines);
    assert_int_equal(r.status, 413);
    assert_non_null(strstr(r.body, "more than 10000 records"));
    lines[20000] = 0;
    r = post(f, "/lines", "x: y", lines);
    assert_int_equal(r.status, 200);
    free(lines);
}

static void with_credentials_unsigned_requests_are_refused(void **state)
{
    struct fixture *f = *state;
    struct reply r = post(f, "/prod/logger", "x: y", "1");
    assert_int_equal(r.status, 403);
    assert_string_equal(field(&r, "error"), "MissingAuthenticationTokenException");
    assert_non_null(strstr(r.body, "curl signs with --aws-sigv4 aws:amz:us-east-1:kinesis"));
    r = aws(f, "ListStreams", "{}");
    assert_error(&r, 400, "MissingAuthenticationTokenException", "Missing Authentication Token");
    r = post(f, "/keyed", "X-Api-Key: open", "1"); /* the route's own rule; the stream is missing */
    assert_int_equal(r.status, 404);
}

static void main_gets_what_is_nobodys(void **state)
{
    struct fixture *f = *state;
    struct reply r = http(f, "GET", "/", NULL, SLICE_NULL);
    assert_int_equal(r.status, 403); /* AWS's own */
    assert_memory_equal(r.body, "<AccessDeniedException>", 23);
}

static void counters_are_written_for_prometheus(void **state)
{
    struct fixture *f = *state;
    post(f, "/prod/logger", "x-partition-key: abcd", "123456");
    aws(f, "DescribeStream", "{\"StreamName\":\"ghost\"}");
    http(f, "GET", "/prod/logger", NULL, SLICE_NULL);
    struct api_stats *sum = fixture_alloc(sizeof(*sum));
    for (uint32_t i = 0; i < FIXTURE_LOOPS; i++)
        api_stats_add(sum, api_stats(api_loop_at(f->api, i)));
    struct bytebuf out;
    bytebuf_init(&out, 1 << 20);
    api_stats_write(f->api, sum, &out);
    bytebuf_byte(&out, 0);
    const char *text = (const char *)out.ptr;
    assert_non_null(strstr(text, "sluice_records_in_total 1\n"));
    assert_non_null(strstr(text, "sluice_bytes_in_total 10\n"));
    assert_non_null(strstr(text, "sluice_requests_total{service=\"rest\",operation=\"PutRecords\",result=\"ok\"} 1\n"));
    assert_non_null(strstr(
        text, "sluice_requests_total{service=\"kinesis\",operation=\"DescribeStream\",result=\"client_error\"} 1\n"));
    assert_non_null(strstr(text, "sluice_errors_total{error=\"ResourceNotFoundException\"} 1\n"));
    assert_non_null(strstr(text, "sluice_errors_total{error=\"rest_405\"} 1\n"));
    assert_non_null(
        strstr(text, "sluice_request_seconds_bucket{service=\"rest\",operation=\"PutRecords\",le=\"+Inf\"} 2\n"));
    bytebuf_deinit(&out);
    free(sum);
}

/* ---- stamping alone ---- */

static void stamping_puts_the_time_first_and_replaces_a_member_of_that_name(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{}", "{\"at\":\"2026-11-22T21:03:04.567Z\"}"},
        {" { \"a\" : [1, {\"at\":2}] , \"b\":null } ",
         "{\"at\":\"2026-11-22T21:03:04.567Z\",\"a\" : [1, {\"at\":2}],\"b\":null}"},
        {"{\"at\":\"x\",\"b\":1.50}", "{\"at\":\"2026-11-22T21:03:04.567Z\",\"b\":1.50}"},
        {"{\"b\":\"\\u00e9\\n\",\"at\":{}}", "{\"at\":\"2026-11-22T21:03:04.567Z\",\"b\":\"\\u00e9\\n\"}"},
    };
    struct arena arena;
    arena_init(&arena, 4096, 1 << 20);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct slice out;
        const char *why;
        assert_int_equal(rest_stamp(slice_str(cases[i].in), "at", (struct wall_ms){1795381384567}, &arena, &out, &why),
                         0);
        assert_int_equal(out.len, strlen(cases[i].out));
        assert_memory_equal(out.ptr, cases[i].out, out.len);
    }
    static const char *const wrong[] = {"", "1", "{", "{}{}", "{\"a\":1,}", "nul", "\"x\"", "{\"a\" 1}"};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        struct slice out;
        const char *why = NULL;
        assert_int_equal(rest_stamp(slice_str(wrong[i]), "at", (struct wall_ms){0}, &arena, &out, &why), ST_SYNTAX);
        assert_non_null(why);
    }
    arena_deinit(&arena);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_body_is_one_record_and_the_answer_names_it),
        T(lines_are_records_and_blank_lines_are_passed_over),
        T(a_key_comes_from_the_header_the_query_or_chance),
        T(random_keys_of_a_batch_differ),
        T(refusals_say_what_to_do_and_store_nothing),
        T(options_names_the_method),
        T(an_api_key_opens_its_route),
        T(throttling_is_429_with_retry_after),
        T(a_record_over_the_streams_size_is_413),
        T(too_many_lines_are_413),
        cmocka_unit_test_setup_teardown(with_credentials_unsigned_requests_are_refused, setup_credentials, teardown),
        T(main_gets_what_is_nobodys),
        T(counters_are_written_for_prometheus),
        cmocka_unit_test(stamping_puts_the_time_first_and_replaces_a_member_of_that_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
