/* Streams: made, described, listed, deleted; taken up after a crash; AWS's texts for what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/api/api_fixture.h"

static int setup(void **state)
{
    static struct fixture f;
    fixture_init(&f);
    *state = &f;
    return 0;
}

static int setup_started(void **state)
{
    setup(state);
    fixture_start(*state);
    return ((struct fixture *)*state)->start_status;
}

static int teardown(void **state)
{
    fixture_deinit(*state);
    return 0;
}

/* ---- texts ---- */

struct refusal_case {
    const char *operation, *json, *type, *message;
};

#define NAME_130                                                                                                       \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "a"                                                                                                                \
    "aaaaaaaaaaaaaaaaa"
#define NO_STREAM "Stream ghost under account 000000000000 not found."

/* Mostly as kinesalite recorded them from AWS (its test folder). */
static const struct refusal_case refusals[] = {
    {"CreateStream", "{\"StreamName\":\"\",\"ShardCount\":0}", "ValidationException",
     "3 validation errors detected: Value '0' at 'shardCount' failed to satisfy constraint: Member must have value "
     "greater than or equal to 1; Value '' at 'streamName' failed to satisfy constraint: Member must satisfy regular "
     "expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'streamName' failed to satisfy constraint: Member must have "
     "length greater than or equal to 1"},
    {"CreateStream", "{\"StreamName\":\"x\"}", "ValidationException",
     "1 validation error detected: Value null at 'shardCount' failed to satisfy constraint: Member must not be null"},
    {"CreateStream", "{\"StreamName\":\"one\",\"ShardCount\":1}", "ResourceInUseException",
     "Stream one under account 000000000000 already exists."},
    {"CreateStream", "{\"StreamName\":\"huge\",\"ShardCount\":1000000}", "LimitExceededException",
     "This request would exceed the shard limit for the account 000000000000 in us-east-1. Current shard count for the "
     "account: 3. Limit: 10000. Number of additional shards that would have resulted from this request: 1000000. Refer "
     "to the AWS Service Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for "
     "current limits and how to request higher limits."},
    {"CreateStream", "{\"StreamName\":\"x\",\"ShardCount\":1,\"StreamModeDetails\":{\"StreamMode\":\"FAST\"}}",
     "ValidationException",
     "1 validation error detected: Value 'FAST' at 'streamModeDetails.streamMode' failed to satisfy constraint: Member "
     "must satisfy enum value set: [PROVISIONED, ON_DEMAND]"},
    {"DeleteStream", "{\"StreamName\":\"ghost\"}", "ResourceNotFoundException", NO_STREAM},
    {"DescribeStream", "{\"StreamName\":\"ghost\"}", "ResourceNotFoundException", NO_STREAM},
    {"DescribeStream", "{}", "InvalidArgumentException", "Either StreamName or StreamARN should be provided."},
    {"DescribeStream", "{\"StreamName\":\"\",\"Limit\":0,\"ExclusiveStartShardId\":\"\"}", "ValidationException",
     "5 validation errors detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater "
     "than or equal to 1; Value '' at 'exclusiveStartShardId' failed to satisfy constraint: Member must satisfy "
     "regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'exclusiveStartShardId' failed to satisfy constraint: "
     "Member must have length greater than or equal to 1; Value '' at 'streamName' failed to satisfy constraint: "
     "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'streamName' failed to satisfy "
     "constraint: Member must have length greater than or equal to 1"},
    {"DescribeStream", "{\"StreamName\":\"" NAME_130 "\",\"Limit\":100000}", "ValidationException",
     "2 validation errors detected: Value '100000' at 'limit' failed to satisfy constraint: Member must have value "
     "less than or equal to 10000; Value '" NAME_130 "' at 'streamName' failed to satisfy constraint: Member must have "
     "length less than or equal to 128"},
    {"DescribeStream", "{\"StreamARN\":\"arn:aws:kinesis:us-east-1:000000000000:stream/ghost\"}",
     "ResourceNotFoundException", NO_STREAM},
    {"DescribeStream", "{\"StreamARN\":\"arn:aws:kinesis:us-east-1:111111111111:stream/one\"}",
     "ResourceNotFoundException", "Stream one under account 111111111111 not found."},
    {"DescribeStreamSummary", "{\"StreamName\":\"ghost\"}", "ResourceNotFoundException", NO_STREAM},
    {"ListStreams", "{\"ExclusiveStartStreamName\":\"\",\"Limit\":0}", "ValidationException",
     "3 validation errors detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater "
     "than or equal to 1; Value '' at 'exclusiveStartStreamName' failed to satisfy constraint: Member must satisfy "
     "regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'exclusiveStartStreamName' failed to satisfy "
     "constraint: Member must have length greater than or equal to 1"},
    {"ListStreams", "{\"NextToken\":\"abcd\"}", "InvalidArgumentException", "Invalid NextToken."},
    {"ListShards", "{}", "InvalidArgumentException", "Either NextToken or StreamName should be provided."},
    {"ListShards", "{\"StreamName\":\"one\",\"NextToken\":\"abcd\"}", "InvalidArgumentException",
     "NextToken and StreamName cannot be provided together."},
    {"ListShards", "{\"NextToken\":\"abcd\"}", "InvalidArgumentException", "Invalid NextToken."},
    {"ListShards", "{\"StreamName\":\"ghost\"}", "ResourceNotFoundException", NO_STREAM},
    {"ListShards", "{\"StreamName\":\"one\",\"StreamCreationTimestamp\":5}", "ResourceNotFoundException",
     "Stream one under account 000000000000 not found."},
    {"ListShards", "{\"StreamName\":\"one\",\"ShardFilter\":{\"Type\":\"AFTER_SHARD_ID\"}}", "InvalidArgumentException",
     "ShardId must be supplied in a ShardFilter with a Type of AFTER_SHARD_ID"},
    {"ListShards", "{\"StreamName\":\"one\",\"ShardFilter\":{\"Type\":\"AT_TIMESTAMP\"}}", "InvalidArgumentException",
     "Timestamp must be supplied in a ShardFilter with a Type of FROM_TIMESTAMP or AT_TIMESTAMP"},
};

static void wrong_requests_get_the_texts_of_aws(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 3);
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        struct reply r = aws(f, refusals[i].operation, refusals[i].json);
        assert_error(&r, 400, refusals[i].type, refusals[i].message);
    }
}

static void wrong_types_are_serialization_exceptions(void **state)
{
    struct fixture *f = *state;
    struct reply r = aws(f, "CreateStream", "{\"StreamName\":23,\"ShardCount\":1}");
    assert_string_equal(r.body,
                        "{\"__type\":\"SerializationException\",\"Message\":\"class "
                        "com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String\"}");
    r = aws(f, "ListStreams", "{\"Limit\":\"23\"}");
    assert_string_equal(r.body, "{\"__type\":\"SerializationException\",\"Message\":\"class java.lang.String can not "
                                "be converted to an Integer\"}");
    r = aws(f, "ListShards", "{\"ShardFilter\":[]}");
    assert_string_equal(
        r.body, "{\"__type\":\"SerializationException\",\"Message\":\"Start of list found where not expected\"}");
}

/* ---- life of a stream ---- */

static void a_new_stream_becomes_active_on_all_loops(void **state)
{
    struct fixture *f = *state;
    f->options.create_delay_ms = 500;
    fixture_start(f);
    struct reply r = aws(f, "CreateStream", "{\"StreamName\":\"orders\",\"ShardCount\":3}");
    assert_int_equal(r.status, 200);
    for (int i = 0; i < FIXTURE_LOOPS; i++) { /* the next loop each time */
        r = aws(f, "DescribeStream", "{\"StreamName\":\"orders\"}");
        assert_string_equal(field(&r, "StreamStatus"), "CREATING");
        assert_non_null(strstr(r.body, "\"Shards\":[],\"HasMoreShards\":false"));
    }
    r = aws(f, "PutRecord", "{\"StreamName\":\"orders\",\"PartitionKey\":\"k\",\"Data\":\"\"}");
    assert_error(&r, 400, "ResourceNotFoundException", "Stream orders under account 000000000000 not found.");
    sim_run(f->world, NULL, NULL, 600);
    for (int i = 0; i < FIXTURE_LOOPS; i++) {
        r = aws(f, "DescribeStream", "{\"StreamName\":\"orders\"}");
        assert_string_equal(field(&r, "StreamStatus"), "ACTIVE");
    }
    assert_non_null(strstr(r.body, "{\"StreamDescription\":{\"StreamName\":\"orders\",\"StreamARN\":\"arn:aws:kinesis:"
                                   "us-east-1:000000000000:stream/orders\",\"StreamStatus\":\"ACTIVE\","
                                   "\"StreamModeDetails\":{\"StreamMode\":\"PROVISIONED\"},\"Shards\":["));
    assert_non_null(strstr(r.body, "{\"ShardId\":\"shardId-000000000000\",\"HashKeyRange\":{\"StartingHashKey\":\"0\","
                                   "\"EndingHashKey\":\"113427455640312821154458202477256070484\"},"));
    assert_non_null(strstr(r.body, "{\"StartingHashKey\":\"226854911280625642308916404954512140970\",\"EndingHashKey\":"
                                   "\"340282366920938463463374607431768211455\"}"));
    assert_non_null(
        strstr(r.body, "],\"HasMoreShards\":false,\"RetentionPeriodHours\":24,\"StreamCreationTimestamp\":"));
    assert_non_null(
        strstr(r.body, "\"EnhancedMonitoring\":[{\"ShardLevelMetrics\":[]}],\"EncryptionType\":\"NONE\"}}"));
    assert_int_equal(strlen(field(&r, "StartingSequenceNumber")), 56);
}

static void the_summary_counts_shards_and_tells_the_mode(void **state)
{
    struct fixture *f = *state;
    struct reply r = aws(f, "CreateStream",
                         "{\"StreamName\":\"auto\",\"StreamModeDetails\":{\"StreamMode\":\"ON_DEMAND\"},"
                         "\"MaxRecordSizeInKiB\":2048,\"Tags\":{\"team\":\"a\"},\"WarmThroughputMiBps\":5}");
    assert_int_equal(r.status, 200);
    sim_run(f->world, NULL, NULL, 50);
    r = aws(f, "DescribeStreamSummary", "{\"StreamARN\":\"arn:aws:kinesis:us-east-1:000000000000:stream/auto\"}");
    assert_non_null(strstr(r.body, "\"StreamModeDetails\":{\"StreamMode\":\"ON_DEMAND\"}"));
    assert_non_null(strstr(r.body, "\"OpenShardCount\":4,\"ConsumerCount\":0,\"MaxRecordSizeInKiB\":2048}}"));
}

static void describe_stream_pages_through_shards(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "wide", 5);
    struct reply r = aws(f, "DescribeStream", "{\"StreamName\":\"wide\",\"Limit\":2}");
    assert_non_null(strstr(r.body, "\"HasMoreShards\":true"));
    assert_non_null(strstr(r.body, "shardId-000000000001"));
    assert_null(strstr(r.body, "shardId-000000000002"));
    r = aws(f, "DescribeStream", "{\"StreamName\":\"wide\",\"ExclusiveStartShardId\":\"shardId-000000000002\"}");
    assert_null(strstr(r.body, "shardId-000000000002"));
    assert_non_null(strstr(r.body, "shardId-000000000003"));
    assert_non_null(strstr(r.body, "shardId-000000000004"));
    assert_non_null(strstr(r.body, "\"HasMoreShards\":false"));
}

static void list_streams_pages_by_name_and_by_token(void **state)
{
    struct fixture *f = *state;
    const char *names[] = {"c", "a", "d", "b"};
    struct reply r = aws(f, "ListStreams", "{}");
    assert_string_equal(r.body, "{\"StreamNames\":[],\"HasMoreStreams\":false,\"StreamSummaries\":[]}");
    for (int i = 0; i < 4; i++)
        create_stream(f, names[i], 1);
    r = aws(f, "ListStreams", "{}");
    assert_non_null(strstr(r.body, "{\"StreamNames\":[\"a\",\"b\",\"c\",\"d\"],\"HasMoreStreams\":false,"));
    r = aws(f, "ListStreams", "{\"Limit\":2,\"ExclusiveStartStreamName\":\"a\"}");
    assert_non_null(strstr(r.body, "{\"StreamNames\":[\"b\",\"c\"],\"HasMoreStreams\":true,\"NextToken\":\""));
    char json[1024];
    snprintf(json, sizeof(json), "{\"NextToken\":\"%s\"}", field(&r, "NextToken"));
    r = aws(f, "ListStreams", json);
    assert_non_null(strstr(r.body, "{\"StreamNames\":[\"d\"],\"HasMoreStreams\":false,"));
    assert_non_null(strstr(r.body, "\"StreamStatus\":\"ACTIVE\",\"StreamModeDetails\":{\"StreamMode\":\"PROVISIONED\"},"
                                   "\"StreamCreationTimestamp\":"));
    sim_wall_step(f->world, 301000);
    r = aws(f, "ListStreams", json);
    assert_error(&r, 400, "ExpiredNextTokenException", "The pagination token passed to the operation is expired.");
}

static void list_shards_pages_by_token(void **state)
{
    struct fixture *f = *state;
    char json[1024];
    create_stream(f, "wide", 5);
    struct reply r = aws(f, "ListShards", "{\"StreamName\":\"wide\",\"MaxResults\":3}");
    assert_null(strstr(r.body, "shardId-000000000003"));
    assert_non_null(strstr(r.body, "shardId-000000000002"));
    snprintf(json, sizeof(json), "{\"MaxResults\":3,\"NextToken\":\"%s\"}", field(&r, "NextToken"));
    r = aws(f, "ListShards", json);
    assert_null(strstr(r.body, "shardId-000000000002"));
    assert_non_null(strstr(r.body, "shardId-000000000003"));
    assert_non_null(strstr(r.body, "shardId-000000000004"));
    assert_null(strstr(r.body, "NextToken"));
}

static void list_shards_knows_six_filters(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "wide", 3);
    char json[512];
    const char *all[] = {"\"AT_TRIM_HORIZON\"", "\"FROM_TRIM_HORIZON\"", "\"AT_LATEST\"",
                         "\"FROM_TIMESTAMP\",\"Timestamp\":1"};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        snprintf(json, sizeof(json), "{\"StreamName\":\"wide\",\"ShardFilter\":{\"Type\":%s}}", all[i]);
        struct reply r = aws(f, "ListShards", json);
        assert_int_equal(r.status, 200);
        assert_non_null(strstr(r.body, "shardId-000000000000"));
        assert_non_null(strstr(r.body, "shardId-000000000002"));
    }
    struct reply r = aws(f, "ListShards",
                         "{\"StreamName\":\"wide\",\"ShardFilter\":{\"Type\":\"AFTER_SHARD_ID\",\"ShardId\":"
                         "\"shardId-000000000001\"}}");
    assert_null(strstr(r.body, "shardId-000000000001"));
    assert_non_null(strstr(r.body, "shardId-000000000002"));
    /* before the stream was made, none of its shards was open */
    r = aws(f, "ListShards", "{\"StreamName\":\"wide\",\"ShardFilter\":{\"Type\":\"AT_TIMESTAMP\",\"Timestamp\":1}}");
    assert_string_equal(r.body, "{\"Shards\":[]}");
}

static void a_deleted_stream_goes_from_all_loops_with_its_logs(void **state)
{
    struct fixture *f = *state;
    f->options.delete_delay_ms = 500;
    fixture_start(f);
    create_stream(f, "gone", 4);
    struct reply r = aws(f, "DeleteStream", "{\"StreamName\":\"gone\"}");
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "");
    r = aws(f, "DescribeStream", "{\"StreamName\":\"gone\"}");
    assert_string_equal(field(&r, "StreamStatus"), "DELETING");
    r = aws(f, "DeleteStream", "{\"StreamName\":\"gone\"}");
    assert_error(&r, 400, "ResourceInUseException",
                 "Stream gone under account 000000000000 not ACTIVE, instead in state DELETING");
    sim_run(f->world, NULL, NULL, 700);
    assert_int_equal(fake_log.removed, 4);
    for (int i = 0; i < FIXTURE_LOOPS; i++) {
        r = aws(f, "DescribeStream", "{\"StreamName\":\"gone\"}");
        assert_error(&r, 400, "ResourceNotFoundException", "Stream gone under account 000000000000 not found.");
    }
    create_stream(f, "gone", 1); /* the name is free again */
}

static void a_stream_may_be_deleted_while_it_is_created(void **state)
{
    struct fixture *f = *state;
    f->options.create_delay_ms = 60000;
    fixture_start(f);
    struct reply r = aws(f, "CreateStream", "{\"StreamName\":\"brief\",\"ShardCount\":1}");
    assert_int_equal(r.status, 200);
    r = aws(f, "DeleteStream", "{\"StreamName\":\"brief\"}");
    assert_int_equal(r.status, 200);
    sim_run(f->world, NULL, NULL, 100);
    r = aws(f, "DescribeStream", "{\"StreamName\":\"brief\"}");
    assert_error(&r, 400, "ResourceNotFoundException", "Stream brief under account 000000000000 not found.");
}

static void two_creations_of_one_name_make_one_stream(void **state)
{
    struct fixture *f = *state;
    const char *json = "{\"StreamName\":\"same\",\"ShardCount\":1}";
    struct pending_request *a = aws_begin(f, 0, "CreateStream", json), *b = aws_begin(f, 1, "CreateStream", json);
    struct reply first = aws_end(f, a);
    int ok = first.status == 200;
    struct reply second = aws_end(f, b);
    ok += second.status == 200;
    assert_int_equal(ok, 1);
}

static void a_loop_without_memory_delays_a_creation(void **state)
{
    struct fixture *f = *state;
    fake_log.create_failures = 1;
    create_stream(f, "late", 2); /* tried again after a second */
}

/* ---- restarts ---- */

static void streams_survive_a_restart(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "kept", 3);
    fixture_stop(f);
    fixture_start(f);
    assert_int_equal(f->start_status, 0);
    assert_int_equal(fake_log.live_count, 3);
    struct reply r = aws(f, "DescribeStreamSummary", "{\"StreamName\":\"kept\"}");
    assert_non_null(strstr(r.body, "\"OpenShardCount\":3"));
}

static void a_start_takes_up_what_a_crash_left_half_made(void **state)
{
    struct fixture *f = *state;
    struct catalog_stream making = {.name = "making", .status = STREAM_CREATING, .record_bytes_max = 1 << 20};
    struct catalog_stream going = {.name = "going", .status = STREAM_ACTIVE, .record_bytes_max = 1 << 20};
    struct catalog_shard shard = {
        .state = SHARD_CREATING, .parent = -1, .adjacent_parent = -1, .end_counter = UINT64_MAX};
    memset(shard.last_hash.byte, 255, 16);
    struct catalog_shard other = shard;
    assert_int_equal(catalog_stream_add(f->catalog, &making, &shard, 1), 0);
    assert_int_equal(catalog_stream_add(f->catalog, &going, &other, 1), 0);
    assert_int_equal(catalog_stream_mark_deleting(f->catalog, going.uid), 0);
    fixture_start(f);
    assert_int_equal(fake_log.deleting_count, 1);
    sim_run(f->world, NULL, NULL, 100);
    struct reply r = aws(f, "DescribeStreamSummary", "{\"StreamName\":\"making\"}");
    assert_string_equal(field(&r, "StreamStatus"), "ACTIVE");
    r = aws(f, "DescribeStreamSummary", "{\"StreamName\":\"going\"}");
    assert_error(&r, 400, "ResourceNotFoundException", "Stream going under account 000000000000 not found.");
}

static void the_configurations_streams_exist_after_the_start(void **state)
{
    struct fixture *f = *state;
    struct config_stream wanted[] = {
        {.name = "events", .shards = 4, .retention = {3600000, UINT64_MAX}},
        {.name = "audit", .shards = 1, .retention = {7200000, 1 << 20}},
    };
    f->config.streams = wanted;
    f->config.stream_count = 2;
    fixture_start(f);
    assert_int_equal(f->start_status, 0);
    struct reply r = aws(f, "DescribeStreamSummary", "{\"StreamName\":\"events\"}");
    assert_non_null(strstr(r.body, "\"RetentionPeriodHours\":1,"));
    assert_non_null(strstr(r.body, "\"OpenShardCount\":4"));
    fixture_stop(f);
    wanted[0].retention.time_ms = 48 * 3600000ll; /* changed; the shards stay as they are */
    wanted[0].shards = 9;
    fixture_start(f);
    r = aws(f, "DescribeStreamSummary", "{\"StreamName\":\"events\"}");
    assert_non_null(strstr(r.body, "\"RetentionPeriodHours\":48,"));
    assert_non_null(strstr(r.body, "\"OpenShardCount\":4"));
    r = aws(f, "DescribeStreamSummary", "{\"StreamName\":\"audit\"}");
    assert_non_null(strstr(r.body, "\"RetentionPeriodHours\":2,"));
}

static void a_log_that_does_not_open_fails_the_start_with_its_story(void **state)
{
    struct fixture *f = *state;
    fake_log.open_status = ST_CORRUPT;
    fixture_start(f);
    assert_int_equal(f->start_status, ST_CORRUPT);
    assert_null(f->api);
    assert_string_equal(f->start_err.text, "journal 3: bad checksum");
}

/* ---- deliveries' view ---- */

static uint32_t told;
static void told_changed(struct api_stream_watch *w)
{
    told++;
    api_stream_unwatch(w);
}

static struct api_change internal;
static bool internal_done;
static void made(struct api_change *c)
{
    assert_int_equal(c->status, 0);
    internal_done = true;
}

static bool is_made(void *arg)
{
    return internal_done;
}

static void an_internal_stream_is_hidden_but_found_by_deliveries(void **state)
{
    struct fixture *f = *state;
    struct api_loop *l = api_loop_at(f->api, 1);
    internal_done = false;
    internal = (struct api_change){.done = made, .shard_count = FIXTURE_LOOPS, .wait_active = true};
    internal.stream = (struct catalog_stream){
        .name = "direct-put:x", .internal = true, .retention_ms = 1, .retention_bytes = 5, .record_bytes_max = 1 << 20};
    api_stream_create(l, &internal);
    fixture_run(f, is_made, NULL);
    enum stream_status status;
    uint64_t uid = api_stream_find(l, SLICE_LIT("direct-put:x"), &status);
    assert_int_equal(uid, internal.stream.uid);
    assert_int_equal(status, STREAM_ACTIVE);
    struct catalog_shard shards[4];
    assert_int_equal(api_stream_shards(l, uid, shards, 4), FIXTURE_LOOPS);
    assert_int_not_equal(api_shard_owner(f->api, shards[0].uid), api_shard_owner(f->api, shards[1].uid));
    struct reply r = aws(f, "ListStreams", "{}");
    assert_non_null(strstr(r.body, "\"StreamNames\":[],"));
    uint32_t owner = api_shard_owner(f->api, shards[0].uid);
    struct log_shard *log = log_shard_find(fake_log.log[owner], shards[0].uid);
    assert_int_equal(fake_log_retention(log).keep_bytes, 5);

    struct api_stream_watch w = {.changed = told_changed, .stream_uid = uid};
    told = 0;
    api_stream_watch(l, &w);
    internal_done = false;
    api_stream_delete(l, &internal);
    fixture_run(f, is_made, NULL);
    sim_run(f->world, NULL, NULL, 10);
    assert_int_equal(told, 1);
    assert_int_equal(api_stream_find(l, SLICE_LIT("direct-put:x"), NULL), 0);
}

int main(void)
{
#define T(name)         cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T_STARTED(name) cmocka_unit_test_setup_teardown(name, setup_started, teardown)
    const struct CMUnitTest tests[] = {
        T_STARTED(wrong_requests_get_the_texts_of_aws),
        T_STARTED(wrong_types_are_serialization_exceptions),
        T(a_new_stream_becomes_active_on_all_loops),
        T_STARTED(the_summary_counts_shards_and_tells_the_mode),
        T_STARTED(describe_stream_pages_through_shards),
        T_STARTED(list_streams_pages_by_name_and_by_token),
        T_STARTED(list_shards_pages_by_token),
        T_STARTED(list_shards_knows_six_filters),
        T(a_deleted_stream_goes_from_all_loops_with_its_logs),
        T(a_stream_may_be_deleted_while_it_is_created),
        T_STARTED(two_creations_of_one_name_make_one_stream),
        T_STARTED(a_loop_without_memory_delays_a_creation),
        T_STARTED(streams_survive_a_restart),
        T(a_start_takes_up_what_a_crash_left_half_made),
        T(the_configurations_streams_exist_after_the_start),
        T(a_log_that_does_not_open_fails_the_start_with_its_story),
        T_STARTED(an_internal_stream_is_hidden_but_found_by_deliveries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
