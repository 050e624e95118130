/* The k-th allocation fails in the API, on the simulator: starting it, puts, reads, streams that come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/lib/alloc_fail.h"
#include "tests/unit/api/api_fixture.h"

/* Of an answer under the sweep: what was asked for, or an error that the client may try again. */
static void assert_fair(const struct reply *r, bool hit)
{
    if (r->status == 200)
        return;
    assert_true(hit);
    if (r->status != 500 && r->status != 503 && !strstr(r->body, "ProvisionedThroughputExceeded"))
        fail_msg("%d %s", r->status, r->body);
}

static void start_scenario(void *ctx)
{
    struct fixture f;
    fixture_init(&f);
    alloc_fail_begin();
    fixture_start(&f);
    bool hit = alloc_fail_end();
    if (!f.api) {
        assert_true(hit);
        assert_true(f.start_status < 0 && f.start_err.text[0]);
        fixture_start(&f); /* it starts once there is memory */
    }
    assert_non_null(f.api);
    create_stream(&f, "s", 2);
    fixture_deinit(&f);
}

/* A start with streams in the catalog, and one of the configuration that is new. */
static void restart_scenario(void *ctx)
{
    static struct config_stream wanted = {.name = "wanted", .shards = 2};
    struct fixture f;
    fixture_init(&f);
    fixture_start(&f);
    create_stream(&f, "s", 2);
    create_stream(&f, "t", 1);
    fixture_stop(&f);
    f.config.streams = &wanted;
    f.config.stream_count = 1;
    alloc_fail_begin();
    fixture_start(&f);
    bool hit = alloc_fail_end();
    if (!f.api) {
        assert_true(hit);
        assert_true(f.start_status < 0 && f.start_err.text[0]);
        fixture_start(&f);
    }
    assert_non_null(f.api);
    struct reply r = aws(&f, "ListStreams", "{}");
    assert_non_null(strstr(r.body, "[\"s\",\"t\",\"wanted\"]"));
    fixture_deinit(&f);
}

/* The end must come, whatever memory there is. */
static void stop_scenario(void *ctx)
{
    struct fixture f;
    fixture_init(&f);
    fixture_start(&f);
    create_stream(&f, "s", 2);
    alloc_fail_begin();
    fixture_stop(&f);
    alloc_fail_end();
    fixture_deinit(&f);
}

static void a_restart_and_a_stop_bear_any_failing_allocation(void **state)
{
    assert_true(alloc_sweep(restart_scenario, NULL) > 10);
    alloc_sweep(stop_scenario, NULL);
}

static void a_start_succeeds_or_tells_whichever_allocation_fails(void **state)
{
    assert_true(alloc_sweep(start_scenario, NULL) > 5);
}

/* One request under failures, then the same one again, which must succeed. */
static void request_scenario(void *ctx)
{
    const char *const *rq = ctx; /* operation, body */
    struct fixture f;
    fixture_init(&f);
    fixture_start(&f);
    create_stream(&f, "s", 3);
    alloc_fail_begin();
    struct reply r = aws(&f, rq[0], rq[1]);
    bool hit = alloc_fail_end();
    assert_fair(&r, hit);
    r = aws(&f, rq[0], rq[1]);
    assert_int_equal(r.status, 200);
    fixture_deinit(&f);
}

static void requests_are_answered_whichever_allocation_fails(void **state)
{
    static const char *const requests[][2] = {
        {"PutRecord", "{\"StreamName\":\"s\",\"Data\":\"YQ==\",\"PartitionKey\":\"k\"}"},
        {"PutRecords", "{\"StreamName\":\"s\",\"Records\":[{\"Data\":\"YQ==\",\"PartitionKey\":\"k\"},"
                       "{\"Data\":\"Yg==\",\"PartitionKey\":\"l\"},{\"Data\":\"Yw==\",\"PartitionKey\":\"mn\"}]}"},
        {"ListShards", "{\"StreamName\":\"s\",\"MaxResults\":2}"},
        {"ListStreams", "{}"},
        {"DescribeStream", "{\"StreamName\":\"s\"}"},
        {"GetShardIterator",
         "{\"StreamName\":\"s\",\"ShardId\":\"shardId-000000000001\",\"ShardIteratorType\":\"TRIM_HORIZON\"}"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(requests); i++)
        alloc_sweep(request_scenario, (void *)requests[i]);
}

static void get_scenario(void *ctx)
{
    struct fixture f;
    fixture_init(&f);
    fixture_start(&f);
    create_stream(&f, "s", 1);
    aws(&f, "PutRecord", "{\"StreamName\":\"s\",\"Data\":\"YQ==\",\"PartitionKey\":\"k\"}");
    char iterator[2048];
    snprintf(iterator, sizeof iterator, "%s", iterator_of(&f, "s", 0, "TRIM_HORIZON", ""));
    alloc_fail_begin();
    struct reply r = get_records(&f, iterator, "");
    bool hit = alloc_fail_end();
    assert_fair(&r, hit);
    r = get_records(&f, iterator, "");
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, "YQ=="));
    fixture_deinit(&f);
}

static void a_read_is_answered_whichever_allocation_fails(void **state)
{
    assert_true(alloc_sweep(get_scenario, NULL) > 0);
}

/* The request's memory fails for half a second at most. */
static struct reply change(struct fixture *f, const char *operation, const char *json)
{
    alloc_fail_begin();
    struct pending_request *p = aws_begin(f, 1, operation, json);
    sim_run(f->world, NULL, NULL, 500);
    bool hit = alloc_fail_end();
    struct reply r = aws_end(f, p);
    assert_fair(&r, hit);
    if (r.status != 200)
        r = aws(f, operation, json);
    assert_int_equal(r.status, 200);
    sim_run(f->world, NULL, NULL, 5000);
    return aws(f, "DescribeStreamSummary", "{\"StreamName\":\"s\"}");
}

/* A stream is made and deleted while memory fails; what has begun ends once there is memory again. */
static void change_scenario(void *ctx)
{
    struct fixture f;
    fixture_init(&f);
    fixture_start(&f);
    struct reply r = change(&f, "CreateStream", "{\"StreamName\":\"s\",\"ShardCount\":3}");
    assert_non_null(strstr(r.body, "\"ACTIVE\""));
    r = change(&f, "DeleteStream", "{\"StreamName\":\"s\"}");
    assert_non_null(strstr(r.body, "ResourceNotFoundException"));
    fixture_deinit(&f);
}

static void streams_come_and_go_whichever_allocation_fails(void **state)
{
    assert_true(alloc_sweep(change_scenario, NULL) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_succeeds_or_tells_whichever_allocation_fails),
        cmocka_unit_test(a_restart_and_a_stop_bear_any_failing_allocation),
        cmocka_unit_test(requests_are_answered_whichever_allocation_fails),
        cmocka_unit_test(a_read_is_answered_whichever_allocation_fails),
        cmocka_unit_test(streams_come_and_go_whichever_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
