/* Records: put, routed to two loops, read back by all iterator types; limits and failures; AWS's texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/api/shard_call.h"
#include "common/wire/base64.h"
#include "tests/unit/api/api_fixture.h"

static int setup(void **state)
{
    static struct fixture f;
    fixture_init(&f);
    fixture_start(&f);
    *state = &f;
    return f.start_status;
}

static int teardown(void **state)
{
    fixture_deinit(*state);
    return 0;
}

static struct reply put(struct fixture *f, const char *stream, const char *key, const char *data)
{
    char json[512], base64[256] = "";
    base64_encode(slice_str(data), base64);
    snprintf(json, sizeof(json), "{\"StreamName\":\"%s\",\"PartitionKey\":\"%s\",\"Data\":\"%s\"}", stream, key,
             base64);
    struct reply r = aws(f, "PutRecord", json);
    assert_int_equal(r.status, 200);
    return r;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

/* ---- texts ---- */

struct refusal_case {
    const char *operation, *json, *type, *message;
};

#define HASH_2_128 "340282366920938463463374607431768211456"
#define PUT(more)  "{\"StreamName\":\"one\",\"PartitionKey\":\"a\",\"Data\":\"\"" more "}"
#define ITERATOR(id, type, more) \
    "{\"StreamName\":\"one\",\"ShardId\":\"" id "\",\"ShardIteratorType\":\"" type "\"" more "}"
#define EITHER_TEXT                                                                                          \
    "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) " \
    "TRIM_HORIZON or LATEST and no StartingSequenceNumber. "

/* Mostly as kinesalite recorded them from AWS (its test folder). */
static const struct refusal_case refusals[] = {
    {"PutRecord", "{}", "ValidationException",
     "2 validation errors detected: Value null at 'partitionKey' failed to satisfy constraint: Member must not be "
     "null; "
     "Value null at 'data' failed to satisfy constraint: Member must not be null"},
    {"PutRecord",
     "{\"StreamName\":\"\",\"PartitionKey\":\"\",\"Data\":\"\",\"ExplicitHashKey\":\"\",\"SequenceNumberForOrdering\":"
     "\"\"}",
     "ValidationException",
     "5 validation errors detected: Value '' at 'sequenceNumberForOrdering' failed to satisfy constraint: Member must "
     "satisfy regular expression pattern: 0|([1-9]\\\\d{0,128}); Value '' at 'partitionKey' failed to satisfy "
     "constraint: Member must have length greater than or equal to 1; Value '' at 'explicitHashKey' failed to satisfy "
     "constraint: Member must satisfy regular expression pattern: 0|([1-9]\\\\d{0,38}); Value '' at 'streamName' "
     "failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at "
     "'streamName' failed to satisfy constraint: Member must have length greater than or equal to 1"},
    {"PutRecord", "{\"StreamName\":\"ghost\",\"PartitionKey\":\"a\",\"Data\":\"\"}", "ResourceNotFoundException",
     "Stream ghost under account 000000000000 not found."},
    {"PutRecord", PUT(",\"ExplicitHashKey\":\"" HASH_2_128 "\""), "InvalidArgumentException",
     "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was " HASH_2_128},
    /* hex 2000...04: no known version */
    {"PutRecord", PUT(",\"SequenceNumberForOrdering\":\"44601490397061246283071436545296723011960836\""),
     "InvalidArgumentException",
     "ExclusiveMinimumSequenceNumber 44601490397061246283071436545296723011960836 used in PutRecord on stream one "
     "under "
     "account 000000000000 is invalid."},
    {"PutRecords", "{\"StreamName\":\"one\",\"Records\":[]}", "ValidationException",
     "1 validation error detected: Value '[]' at 'records' failed to satisfy constraint: Member must have length "
     "greater than or equal to 1"},
    {"PutRecords", "{\"StreamName\":\"one\",\"Records\":[{\"PartitionKey\":\"\",\"Data\":\"\"}]}",
     "ValidationException",
     "1 validation error detected: Value '' at 'records.1.member.partitionKey' failed to satisfy constraint: Member "
     "must have length greater than or equal to 1"},
    {"PutRecords", "{\"StreamName\":\"ghost\",\"Records\":[{\"PartitionKey\":\"a\",\"Data\":\"\"}]}",
     "ResourceNotFoundException", "Stream ghost under account 000000000000 not found."},
    {"GetShardIterator", "{\"StreamName\":\"one\"}", "ValidationException",
     "2 validation errors detected: Value null at 'shardId' failed to satisfy constraint: Member must not be null; "
     "Value null at 'shardIteratorType' failed to satisfy constraint: Member must not be null"},
    {"GetShardIterator", ITERATOR("shardId-0", "SIDEWAYS", ""), "ValidationException",
     "1 validation error detected: Value 'SIDEWAYS' at 'shardIteratorType' failed to satisfy constraint: Member must "
     "satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]"},
    {"GetShardIterator", "{\"StreamName\":\"ghost\",\"ShardId\":\"a-00002147483647\",\"ShardIteratorType\":\"LATEST\"}",
     "ResourceNotFoundException",
     "Shard shardId-002147483647 in stream ghost under account 000000000000 does not exist"},
    {"GetShardIterator", "{\"StreamName\":\"ghost\",\"ShardId\":\"2147483648\",\"ShardIteratorType\":\"LATEST\"}",
     "ResourceNotFoundException", "Could not find shard 2147483648 in stream ghost under account 000000000000."},
    {"GetShardIterator", "{\"StreamName\":\"ghost\",\"ShardId\":\"ABKLFD8\",\"ShardIteratorType\":\"LATEST\"}",
     "ResourceNotFoundException", "Could not find shard ABKLFD8 in stream ghost under account 000000000000."},
    {"GetShardIterator", ITERATOR("shardId-5", "AT_SEQUENCE_NUMBER", ",\"StartingSequenceNumber\":\"5\""),
     "ResourceNotFoundException", "Shard shardId-000000000005 in stream one under account 000000000000 does not exist"},
    {"GetShardIterator", ITERATOR("shardId-0", "AT_SEQUENCE_NUMBER", ""), "InvalidArgumentException",
     EITHER_TEXT "Request specified AT_SEQUENCE_NUMBER and no StartingSequenceNumber."},
    {"GetShardIterator", ITERATOR("shardId-0", "LATEST", ",\"StartingSequenceNumber\":\"5\""),
     "InvalidArgumentException", EITHER_TEXT "Request specified LATEST and also a StartingSequenceNumber."},
    {"GetShardIterator", ITERATOR("shardId-0", "AT_SEQUENCE_NUMBER", ",\"StartingSequenceNumber\":\"5\""),
     "InvalidArgumentException",
     "Invalid StartingSequenceNumber. It encodes shardId-000000000005, while it was used in a call to a shard with "
     "shardId-000000000000"},
    {"GetShardIterator",
     /* hex 2000...02, of another stream's shard 0 */
     ITERATOR("shardId-0", "AT_SEQUENCE_NUMBER",
              ",\"StartingSequenceNumber\":\"49039857307708443467467104868809893875799651909875269634\""),
     "InvalidArgumentException",
     "StartingSequenceNumber 49039857307708443467467104868809893875799651909875269634 used in GetShardIterator on "
     "shard "
     "shardId-000000000000 in stream one under account 000000000000 is invalid because it did not come from this "
     "stream."},
    {"GetShardIterator", ITERATOR("shardId-0", "AT_TIMESTAMP", ""), "InvalidArgumentException",
     "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp "
     "parameter."},
    {"GetRecords", "{}", "ValidationException",
     "1 validation error detected: Value null at 'shardIterator' failed to satisfy constraint: Member must not be "
     "null"},
    {"GetRecords", "{\"ShardIterator\":\"\",\"Limit\":0}", "ValidationException",
     "2 validation errors detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater "
     "than or equal to 1; Value '' at 'shardIterator' failed to satisfy constraint: Member must have length greater "
     "than or equal to 1"},
    {"GetRecords", "{\"ShardIterator\":\"__kinesalite_test_1\"}", "InvalidArgumentException", "Invalid ShardIterator."},
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

static void a_timestamp_in_the_future_is_refused(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    struct reply r = aws(f, "GetShardIterator", ITERATOR("shardId-0", "AT_TIMESTAMP", ",\"Timestamp\":99999999999"));
    assert_string_equal(field(&r, "__type"), "InvalidArgumentException");
    assert_non_null(strstr(r.body, "The timestampInMillis parameter cannot be greater than the "
                                   "currentTimestampInMillis. timestampInMillis: 99999999999000, "));
}

/* ---- puts ---- */

static void a_record_comes_back_as_it_went_in(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    struct reply r = put(f, "one", "schl\\u00fcssel \\\" \\n", "hello");
    assert_string_equal(field(&r, "ShardId"), "shardId-000000000000");
    char number[64];
    snprintf(number, sizeof(number), "%s", field(&r, "SequenceNumber"));
    assert_int_equal(strlen(number), 56);
    for (int i = 0; i < FIXTURE_LOOPS; i++) { /* by way of each loop */
        r = get_records(f, iterator_of(f, "one", 0, "TRIM_HORIZON", ""), "");
        assert_string_equal(field(&r, "SequenceNumber"), number);
        assert_non_null(strstr(r.body, "\"Data\":\"aGVsbG8=\",\"PartitionKey\":\"schl\xc3\xbcssel \\\" \\n\"}],"));
        assert_non_null(strstr(r.body, "\"ApproximateArrivalTimestamp\":17"));
        assert_non_null(strstr(r.body, ",\"MillisBehindLatest\":0}"));
        assert_int_equal(strlen(field(&r, "NextShardIterator")), 204);
        assert_null(strstr(r.body, "EncryptionType"));
    }
}

static void explicit_hash_keys_decide_the_shard(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 3);
    static const struct {
        const char *hash, *shard;
    } cases[] = {{"0", "shardId-000000000000"},
                 {"226854911280625642308916404954512140969", "shardId-000000000001"},
                 {"226854911280625642308916404954512140970", "shardId-000000000002"},
                 {"340282366920938463463374607431768211455", "shardId-000000000002"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char json[256];
        snprintf(json, sizeof(json), PUT(",\"ExplicitHashKey\":\"%s\""), cases[i].hash);
        struct reply r = aws(f, "PutRecord", json);
        assert_string_equal(field(&r, "ShardId"), cases[i].shard);
    }
}

static void ordering_by_an_earlier_number_is_accepted(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    struct reply r = put(f, "one", "a", "1");
    char json[256], first[64];
    snprintf(first, sizeof(first), "%s", field(&r, "SequenceNumber"));
    snprintf(json, sizeof(json), PUT(",\"SequenceNumberForOrdering\":\"%s\""), first);
    r = aws(f, "PutRecord", json);
    assert_int_equal(r.status, 200);
    assert_true(strcmp(field(&r, "SequenceNumber"), first) > 0);
}

static char *batch_json(unsigned records)
{
    size_t cap = 64 + records * 96, n = 0;
    char *json = fixture_alloc(cap);
    n += (size_t)snprintf(json, cap, "{\"StreamName\":\"one\",\"Records\":[");
    for (unsigned i = 0; i < records; i++)
        n += (size_t)snprintf(json + n, cap - n, "%s{\"PartitionKey\":\"key-%u\",\"Data\":\"MTIz\"}", i ? "," : "", i);
    snprintf(json + n, cap - n, "]}");
    return json;
}

static void a_batch_costs_one_message_to_each_other_loop(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 6);
    uint64_t before = api_stats(api_loop_at(f->api, 0))->remote_calls + api_stats(api_loop_at(f->api, 1))->remote_calls;
    char *json = batch_json(500);
    struct reply r = aws(f, "PutRecords", json);
    free(json);
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, "{\"FailedRecordCount\":0,\"Records\":[{\"SequenceNumber\":\"4"));
    assert_int_equal(count(r.body, "\"SequenceNumber\":\""), 500);
    uint64_t after = api_stats(api_loop_at(f->api, 0))->remote_calls + api_stats(api_loop_at(f->api, 1))->remote_calls;
    assert_int_equal(after - before, 2); /* there and back */
    assert_int_equal(fake_log.append_calls, 6);
    unsigned seen = 0;
    for (unsigned shard = 0; shard < 6; shard++) {
        r = get_records(f, iterator_of(f, "one", shard, "TRIM_HORIZON", ""), "");
        seen += count(r.body, "\"Data\":\"MTIz\"");
    }
    assert_int_equal(seen, 500);
}

static void results_of_a_batch_stand_in_its_order(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 3);
    struct reply r = aws(f, "PutRecords",
                         "{\"StreamName\":\"one\",\"Records\":["
                         "{\"PartitionKey\":\"a\",\"Data\":\"MQ==\",\"ExplicitHashKey\":\"0\"},"
                         "{\"PartitionKey\":\"a\",\"Data\":\"Mg==\",\"ExplicitHashKey\":"
                         "\"340282366920938463463374607431768211455\"},"
                         "{\"PartitionKey\":\"a\",\"Data\":\"Mw==\",\"ExplicitHashKey\":\"1\"}]}");
    const char *a = strstr(r.body, "shardId-000000000000"), *b = strstr(r.body, "shardId-000000000002");
    assert_true(a && b && a < b && strstr(b, "shardId-000000000000"));
    struct reply got = get_records(f, iterator_of(f, "one", 0, "TRIM_HORIZON", ""), "");
    const char *one = strstr(got.body, "MQ=="), *three = strstr(got.body, "Mw==");
    assert_true(one && three && one < three);
}

static void one_more_than_500_records_is_refused(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    char *json = batch_json(501);
    struct reply r = aws(f, "PutRecords", json);
    free(json);
    assert_string_equal(field(&r, "__type"), "ValidationException");
    assert_non_null(strstr(r.body, "at 'records' failed to satisfy constraint: Member must have length less than or "
                                   "equal to 500"));
}

static struct reply put_large(struct fixture *f, size_t bytes)
{
    size_t base64 = base64_encoded_len(bytes);
    char *data = fixture_alloc(bytes), *json = fixture_alloc(base64 + 128);
    int n = snprintf(json, 128, "{\"StreamName\":\"one\",\"PartitionKey\":\"abcd\",\"Data\":\"");
    base64_encode(slice_of(data, bytes), json + n);
    memcpy(json + (size_t)n + base64, "\"}", 3);
    struct reply r = aws(f, "PutRecord", json);
    free(data);
    free(json);
    return r;
}

static void data_and_key_together_stay_within_the_record_size(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    struct reply r = put_large(f, (1 << 20) - 4);
    assert_int_equal(r.status, 200);
    r = put_large(f, (1 << 20) - 3);
    assert_error(&r, 400, "ValidationException",
                 "1 validation error detected: Value at 'data' failed to satisfy constraint: Member must have length "
                 "less than or equal to 1048576");
    r = get_records(f, iterator_of(f, "one", 0, "TRIM_HORIZON", ""), "");
    assert_true(r.len > base64_encoded_len((1 << 20) - 4));
}

static void a_throttled_shard_fails_its_records_alone(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 2);
    struct catalog_shard shards[2];
    api_stream_shards(api_loop_at(f->api, 0), api_stream_find(api_loop_at(f->api, 0), SLICE_LIT("one"), NULL), shards,
                      2);
    fake_log.refuse_uid = shards[1].uid;
    fake_log.refuse_status = ST_THROTTLED;
    struct reply r = aws(f, "PutRecords",
                         "{\"StreamName\":\"one\",\"Records\":["
                         "{\"PartitionKey\":\"a\",\"Data\":\"\",\"ExplicitHashKey\":\"0\"},"
                         "{\"PartitionKey\":\"a\",\"Data\":\"\",\"ExplicitHashKey\":"
                         "\"340282366920938463463374607431768211455\"}]}");
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, "{\"FailedRecordCount\":1,\"Records\":[{\"SequenceNumber\":"));
    assert_non_null(strstr(r.body, ",{\"ErrorCode\":\"ProvisionedThroughputExceededException\",\"ErrorMessage\":\"Rate "
                                   "exceeded for shard shardId-000000000001 in stream one under account "
                                   "000000000000.\"}]}"));
    r = aws(f, "PutRecord", PUT(",\"ExplicitHashKey\":\"340282366920938463463374607431768211455\""));
    assert_error(&r, 400, "ProvisionedThroughputExceededException",
                 "Rate exceeded for shard shardId-000000000001 in stream one under account 000000000000.");
}

static void a_failed_sync_is_an_internal_failure(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    fake_log.append_status = -EIO;
    struct reply r = aws(f, "PutRecord", PUT(""));
    assert_error(&r, 500, "InternalFailure", NULL);
    r = aws(f, "PutRecords", "{\"StreamName\":\"one\",\"Records\":[{\"PartitionKey\":\"a\",\"Data\":\"\"}]}");
    assert_string_equal(r.body, "{\"FailedRecordCount\":1,\"Records\":[{\"ErrorCode\":\"InternalFailure\","
                                "\"ErrorMessage\":\"Internal service failure.\"}]}");
}

static void awss_limits_let_1000_records_a_second_through(void **state)
{
    struct fixture *f = *state;
    f->config.limits = CONFIG_LIMITS_AWS;
    create_stream(f, "one", 1);
    unsigned failed = 0;
    char *json = batch_json(500);
    for (int i = 0; i < 3; i++) {
        struct reply r = aws(f, "PutRecords", json);
        failed += (unsigned)strtoul(strstr(r.body, "FailedRecordCount\":") + 19, NULL, 10);
    }
    free(json);
    assert_in_range(failed, 400, 500); /* a little refills while the simulator's clock goes on */
    unsigned throttled = 0;
    for (int i = 0; i < 8; i++) {
        struct reply r = get_records(f, iterator_of(f, "one", 0, "LATEST", ""), "");
        throttled += strstr(r.body, "ProvisionedThroughputExceededException") != NULL;
    }
    assert_in_range(throttled, 1, 3); /* five calls a second */
}

/* ---- iterators ---- */

static void iterators_of_all_types_begin_where_they_say(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    char numbers[3][64], more[128];
    for (int i = 0; i < 3; i++) {
        struct reply r = put(f, "one", "k", i == 0 ? "a" : i == 1 ? "b" : "c");
        snprintf(numbers[i], sizeof(numbers[i]), "%s", field(&r, "SequenceNumber"));
        sim_wall_step(f->world, 1000);
    }
    struct reply r = get_records(f, iterator_of(f, "one", 0, "TRIM_HORIZON", ""), "");
    assert_int_equal(count(r.body, "\"Data\""), 3);
    double second = strtod(strstr(strstr(r.body, numbers[1]), "Timestamp\":") + 11, NULL);

    snprintf(more, sizeof(more), ",\"StartingSequenceNumber\":\"%s\"", numbers[1]);
    r = get_records(f, iterator_of(f, "one", 0, "AT_SEQUENCE_NUMBER", more), "");
    assert_int_equal(count(r.body, "\"Data\""), 2);
    assert_string_equal(field(&r, "SequenceNumber"), numbers[1]);
    r = get_records(f, iterator_of(f, "one", 0, "AFTER_SEQUENCE_NUMBER", more), "");
    assert_string_equal(field(&r, "SequenceNumber"), numbers[2]);

    snprintf(more, sizeof(more), ",\"Timestamp\":%.3f", second);
    r = get_records(f, iterator_of(f, "one", 0, "AT_TIMESTAMP", more), "");
    assert_string_equal(field(&r, "SequenceNumber"), numbers[1]);
    snprintf(more, sizeof(more), ",\"Timestamp\":%.3f", second + 0.001);
    r = get_records(f, iterator_of(f, "one", 0, "AT_TIMESTAMP", more), "");
    assert_string_equal(field(&r, "SequenceNumber"), numbers[2]);

    const char *latest = iterator_of(f, "one", 0, "LATEST", "");
    r = get_records(f, latest, "");
    assert_non_null(strstr(r.body, "{\"Records\":[],\"NextShardIterator\":"));
    char next[256];
    snprintf(next, sizeof(next), "%s", field(&r, "NextShardIterator"));
    put(f, "one", "k", "d");
    r = get_records(f, next, "");
    assert_int_equal(count(r.body, "\"Data\":\"ZA==\""), 1);
}

static void a_limit_ends_inside_a_block_and_the_next_iterator_goes_on(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    char *json = batch_json(10), iterator[256];
    aws(f, "PutRecords", json);
    free(json);
    snprintf(iterator, sizeof(iterator), "%s", iterator_of(f, "one", 0, "TRIM_HORIZON", ""));
    const unsigned expected[] = {4, 4, 2, 0};
    sim_wall_step(f->world, 5000);
    for (int i = 0; i < 4; i++) {
        struct reply r = get_records(f, iterator, ",\"Limit\":4");
        assert_int_equal(count(r.body, "\"Data\""), expected[i]);
        char key[32];
        snprintf(key, sizeof(key), "\"key-%d\"", i * 4);
        assert_true(i == 3 || strstr(r.body, key));
        unsigned long behind = strtoul(strstr(r.body, "MillisBehindLatest\":") + 20, NULL, 10);
        if (i < 2)
            assert_true(behind >= 5000);
        else
            assert_int_equal(behind, 0);
        snprintf(iterator, sizeof(iterator), "%s", field(&r, "NextShardIterator"));
    }
}

static void more_blocks_than_one_read_takes_come_in_one_answer(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    for (int i = 0; i < 150; i++)
        put(f, "one", "k", "x");
    struct reply r = get_records(f, iterator_of(f, "one", 0, "TRIM_HORIZON", ""), "");
    assert_int_equal(count(r.body, "\"Data\""), 150);
    r = get_records(f, iterator_of(f, "one", 0, "TRIM_HORIZON", ""), ",\"Limit\":100");
    assert_int_equal(count(r.body, "\"Data\""), 100);
}

static void an_answer_stops_at_10_mib(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    for (int i = 0; i < 12; i++)
        put_large(f, (1 << 20) - 4);
    struct reply r = get_records(f, iterator_of(f, "one", 0, "TRIM_HORIZON", ""), "");
    assert_int_equal(count(r.body, "\"SequenceNumber\""), 10);
    r = get_records(f, field(&r, "NextShardIterator"), "");
    assert_int_equal(count(r.body, "\"SequenceNumber\""), 2);
}

static void answers_share_a_budget_and_shrink_before_calls_are_throttled(void **state)
{
    struct fixture *f = *state;
    f->config.http.memory_bytes = FIXTURE_LOOPS * (3ull << 20);
    create_stream(f, "one", 1);
    for (int i = 0; i < 4; i++)
        put_large(f, 1000000);
    char get[512];
    snprintf(get, sizeof(get), "{\"ShardIterator\":\"%s\"}", iterator_of(f, "one", 0, "TRIM_HORIZON", ""));
    struct pending_request *first = aws_begin(f, 0, "GetRecords", get), *second = aws_begin(f, 0, "GetRecords", get);
    struct reply r = aws_end(f, first);
    assert_int_equal(count(r.body, "\"SequenceNumber\""), 1); /* half of 3 MiB: the second does not fit */
    r = aws_end(f, second);
    assert_error(&r, 400, "ProvisionedThroughputExceededException",
                 "Rate exceeded for shard shardId-000000000000 in stream one under account 000000000000.");
    r = aws_end(f, aws_begin(f, 0, "GetRecords", get)); /* what was granted has been given back */
    assert_int_equal(r.status, 200);
}

static void what_retention_took_is_passed_over(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    for (int i = 0; i < 5; i++)
        put(f, "one", "k", "x");
    struct catalog_shard shard;
    struct api_loop *l = api_loop_at(f->api, 0);
    api_stream_shards(l, api_stream_find(l, SLICE_LIT("one"), NULL), &shard, 1);
    const char *iterator = iterator_of(f, "one", 0, "TRIM_HORIZON", "");
    fake_log_trim(log_shard_find(fake_log.log[api_shard_owner(f->api, shard.uid)], shard.uid), 3);
    struct reply r = get_records(f, iterator, "");
    assert_int_equal(count(r.body, "\"Data\""), 2);
}

static void a_damaged_block_is_an_internal_failure(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    put(f, "one", "k", "x");
    fake_log.read_status = ST_QUARANTINED;
    struct reply r = get_records(f, iterator_of(f, "one", 0, "TRIM_HORIZON", ""), "");
    assert_error(&r, 500, "InternalFailure", NULL);
}

static void an_old_iterator_has_expired_in_awss_words(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    const char *iterator = iterator_of(f, "one", 0, "LATEST", "");
    sim_wall_step(f->world, 300001);
    struct reply r = get_records(f, iterator, "");
    assert_string_equal(field(&r, "__type"), "ExpiredIteratorException");
    assert_non_null(strstr(r.body, "\"Iterator expired. The iterator was created at time "));
    assert_non_null(strstr(r.body, " which is further in the future than the tolerated delay of 300000 "
                                   "milliseconds.\""));
    assert_non_null(strstr(r.body, " UTC 20"));
}

static void an_iterator_outlives_a_restart(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 1);
    char iterator[256];
    snprintf(iterator, sizeof(iterator), "%s", iterator_of(f, "one", 0, "LATEST", ""));
    fixture_stop(f);
    fixture_start(f);
    struct reply r = get_records(f, iterator, "");
    assert_int_equal(r.status, 200);
}

static void iterators_of_a_deleted_stream_lead_nowhere(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 2);
    const char *iterator = iterator_of(f, "one", 1, "LATEST", "");
    aws(f, "DeleteStream", "{\"StreamName\":\"one\"}");
    sim_run(f->world, NULL, NULL, 100);
    create_stream(f, "one", 2); /* another stream, though of that name */
    struct reply r = get_records(f, iterator, "");
    assert_string_equal(field(&r, "__type"), "ResourceNotFoundException");
}

static void a_delete_under_way_does_not_disturb_puts_and_gets(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 4);
    char *json = batch_json(50), get[512];
    snprintf(get, sizeof(get), "{\"ShardIterator\":\"%s\"}", iterator_of(f, "one", 1, "LATEST", ""));
    struct pending_request *p[4];
    p[0] = aws_begin(f, 0, "PutRecords", json);
    p[1] = aws_begin(f, 1, "GetRecords", get);
    p[2] = aws_begin(f, 1, "DeleteStream", "{\"StreamName\":\"one\"}");
    p[3] = aws_begin(f, 0, "GetRecords", get);
    for (int i = 0; i < 4; i++) {
        struct reply r = aws_end(f, p[i]);
        assert_true(r.answered);
    }
    free(json);
}

/* ---- calls on shards, as deliveries make them ---- */

struct seen {
    int woken, status, released, removed;
    struct shard_read read;
};
static struct seen seen;

static void woken(struct shard_watch *w)
{
    seen.woken++;
    seen.status = w->status;
}
static void read_done(struct shard_read *r)
{
    seen.status = r->log.status;
}
static void released(struct shard_read *r)
{
    seen.released++;
}
static void removed(struct shard_need *n)
{
    seen.removed++;
}

static void a_delivery_waits_for_reads_and_holds_shards_of_any_loop(void **state)
{
    struct fixture *f = *state;
    create_stream(f, "one", 2);
    struct catalog_shard shards[2];
    struct api_loop *l = api_loop_at(f->api, 0);
    api_stream_shards(l, api_stream_find(l, SLICE_LIT("one"), NULL), shards, 2);
    for (int i = 0; i < 2; i++) {
        struct shard_watch w = {.woken = woken, .shard_uid = shards[i].uid};
        struct shard_need n = {.shard_uid = shards[i].uid};
        memset(&seen, 0, sizeof(seen));
        shard_watch(l, &w);
        shard_need_add(l, &n);
        sim_run(f->world, NULL, NULL, 10);
        assert_int_equal(seen.woken, 0);
        assert_non_null(fake_log.need);
        char json[256];
        snprintf(json, sizeof(json), PUT(",\"ExplicitHashKey\":\"%s\""),
                 i ? "340282366920938463463374607431768211455" : "0");
        aws(f, "PutRecord", json);
        sim_run(f->world, NULL, NULL, 10);
        assert_int_equal(seen.woken, 1);
        assert_int_equal(seen.status, 0);

        seen.read = (struct shard_read){.done = read_done,
                                        .shard_uid = shards[i].uid,
                                        .bytes_max = 1000,
                                        .blocks_max = 8,
                                        .visibility = LOG_SYNCED};
        seen.status = 1;
        shard_read(l, &seen.read);
        sim_run(f->world, NULL, NULL, 10);
        assert_int_equal(seen.status, 0);
        assert_int_equal(seen.read.log.block_count, 1);
        assert_int_equal(seen.read.next_counter, 1);
        assert_int_equal(fake_log.lent, 1);
        shard_read_release(&seen.read, released);
        sim_run(f->world, NULL, NULL, 10);
        assert_int_equal(fake_log.lent, 0);
        assert_int_equal(seen.released, 1);

        n.counter = 1;
        shard_need_moved(&n);
        n.counter = 2;
        shard_need_moved(&n); /* while the first is on its way */
        sim_run(f->world, NULL, NULL, 10);
        assert_int_equal(fake_log.need->counter, 2);
        shard_need_remove(&n, removed);
        sim_run(f->world, NULL, NULL, 10);
        assert_int_equal(seen.removed, 1);
        assert_null(fake_log.need);

        w = (struct shard_watch){.woken = woken, .shard_uid = shards[i].uid, .counter = 99};
        shard_watch(l, &w);
        shard_watch_cancel(&w);
        sim_run(f->world, NULL, NULL, 10);
        assert_int_equal(seen.woken, 2);
        assert_int_equal(seen.status, -ECANCELED);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(wrong_requests_get_the_texts_of_aws),
        T(a_timestamp_in_the_future_is_refused),
        T(a_record_comes_back_as_it_went_in),
        T(explicit_hash_keys_decide_the_shard),
        T(ordering_by_an_earlier_number_is_accepted),
        T(a_batch_costs_one_message_to_each_other_loop),
        T(results_of_a_batch_stand_in_its_order),
        T(one_more_than_500_records_is_refused),
        T(data_and_key_together_stay_within_the_record_size),
        T(a_throttled_shard_fails_its_records_alone),
        T(a_failed_sync_is_an_internal_failure),
        T(awss_limits_let_1000_records_a_second_through),
        T(iterators_of_all_types_begin_where_they_say),
        T(a_limit_ends_inside_a_block_and_the_next_iterator_goes_on),
        T(more_blocks_than_one_read_takes_come_in_one_answer),
        T(an_answer_stops_at_10_mib),
        T(answers_share_a_budget_and_shrink_before_calls_are_throttled),
        T(what_retention_took_is_passed_over),
        T(a_damaged_block_is_an_internal_failure),
        T(an_old_iterator_has_expired_in_awss_words),
        T(an_iterator_outlives_a_restart),
        T(iterators_of_a_deleted_stream_lead_nowhere),
        T(a_delete_under_way_does_not_disturb_puts_and_gets),
        T(a_delivery_waits_for_reads_and_holds_shards_of_any_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
