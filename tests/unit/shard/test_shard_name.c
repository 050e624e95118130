#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/shard/shard_name.h"

static void a_shard_id_has_twelve_digits(void **state)
{
    char text[SHARD_ID_TEXT_MAX];
    shard_id_format(0, text);
    assert_string_equal(text, "shardId-000000000000");
    shard_id_format(2147483647, text);
    assert_string_equal(text, "shardId-002147483647");
}

static void a_shard_id_is_read_as_generously_as_the_cloud_service_does(void **state)
{
    uint32_t index = 99;
    assert_int_equal(shard_id_parse(SLICE_LIT("shardId-000000000003"), &index), 0);
    assert_int_equal(index, 3);
    assert_int_equal(shard_id_parse(SLICE_LIT("shard-12"), &index), 0);
    assert_int_equal(index, 12);
    assert_int_equal(shard_id_parse(SLICE_LIT("5"), &index), 0);
    assert_int_equal(index, 5);
    static const char *const bad[] = {"", "shardId-", "shardId", "shardId-2147483648", "shardId-x", "shardId--1", "3 "};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(shard_id_parse(slice_str(bad[i]), &index), ST_SYNTAX);
    assert_int_equal(index, 5);
}

static void a_stream_name_has_1_to_128_allowed_characters(void **state)
{
    char longest[129];
    memset(longest, 'a', sizeof longest);
    assert_true(stream_name_valid(SLICE_LIT("aZ09_.-")));
    assert_true(stream_name_valid(slice_of(longest, 128)));
    assert_false(stream_name_valid(slice_of(longest, 129)));
    assert_false(stream_name_valid(SLICE_LIT("")));
    assert_false(stream_name_valid(SLICE_LIT("a b")));
    assert_false(stream_name_valid(SLICE_LIT("a/b")));
    assert_false(stream_name_valid(SLICE_LIT("ä")));
}

static void an_arn_is_built_and_taken_apart(void **state)
{
    char text[STREAM_ARN_TEXT_MAX];
    uint32_t len = stream_arn_format("eu-central-1", "123456789012", SLICE_LIT("events"), text);
    assert_string_equal(text, "arn:aws:kinesis:eu-central-1:123456789012:stream/events");
    assert_int_equal(len, strlen(text));
    struct stream_arn got;
    assert_int_equal(stream_arn_parse(slice_str(text), &got), 0);
    assert_true(slice_eq_str(got.region, "eu-central-1"));
    assert_true(slice_eq_str(got.account, "123456789012"));
    assert_true(slice_eq_str(got.name, "events"));
    assert_int_equal(stream_arn_parse(SLICE_LIT("arn:aws-cn:kinesis:cn-north-1:000000000000:stream/e"), &got), 0);
    static const char *const bad[] = {
        "",
        "arn",
        "arn:aws:kinesis:us-east-1:123456789012:stream/",
        "arn:aws:kinesis:us-east-1:12345678901:stream/e",
        "arn:aws:kinesis:us-east-1:12345678901x:stream/e",
        "arn:aws:kinesis::123456789012:stream/e",
        "arn:aws:firehose:us-east-1:123456789012:stream/e",
        "arn:aws:kinesis:us-east-1:123456789012:table/e",
        "arn:aws:kinesis:us-east-1:123456789012:stream/e/consumer/c:1",
        "xrn:aws:kinesis:us-east-1:123456789012:stream/e",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(stream_arn_parse(slice_str(bad[i]), &got), ST_SYNTAX);
}

static void a_consumer_arn_names_stream_consumer_and_creation(void **state)
{
    struct consumer_arn got;
    assert_int_equal(
        consumer_arn_parse(SLICE_LIT("arn:aws:kinesis:us-east-1:123456789012:stream/e/consumer/c:17"), &got), 0);
    assert_true(slice_eq_str(got.stream.name, "e"));
    assert_true(slice_eq_str(got.consumer, "c"));
    assert_int_equal(got.created_s, 17);
    static const char *const bad[] = {
        "arn:aws:kinesis:us-east-1:123456789012:stream/e",
        "arn:aws:kinesis:us-east-1:123456789012:stream/e/consumer/c",
        "arn:aws:kinesis:us-east-1:123456789012:stream/e/consumer/:1",
        "arn:aws:kinesis:us-east-1:123456789012:stream/e/consumer/c:x",
        "arn:aws:kinesis:us-east-1:123456789012:stream//consumer/c:1",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(consumer_arn_parse(slice_str(bad[i]), &got), ST_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_id_has_twelve_digits),
        cmocka_unit_test(a_shard_id_is_read_as_generously_as_the_cloud_service_does),
        cmocka_unit_test(a_stream_name_has_1_to_128_allowed_characters),
        cmocka_unit_test(an_arn_is_built_and_taken_apart),
        cmocka_unit_test(a_consumer_arn_names_stream_consumer_and_creation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
