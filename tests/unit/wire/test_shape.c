/*
 * The shape engine against the texts of AWS. Most cases are those that kinesalite's tests recorded from the service
 * (test/helpers.js, test/<operation>.js there); tables of them below: a body, and what it gives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire_shapes.h"

static struct arena arena;

static int setup(void **state)
{
    arena_init(&arena, 4096, 4 << 20);
    return 0;
}

static int teardown(void **state)
{
    arena_deinit(&arena);
    return 0;
}

/* Decodes an exact copy (so that a sanitizer sees over-reads); validates if that succeeded. */
static int feed(const struct shape *shape, struct slice body, void **out, struct slice *message)
{
    struct shape_decoder d = {.arena = &arena};
    uint8_t *copy = arena_alloc(&arena, body.len);
    assert_non_null(copy);
    memcpy(copy, body.ptr, body.len);
    *out = NULL;
    int status = shape_decode_json(&d, shape, slice_of(copy, body.len), out);
    if (status == 0)
        status = shape_validate(&d, shape, *out) == 0 ? 0 : 1;
    *message = d.message;
    return status;
}

/* 1 stands for "decoded, but not valid". */
static void expect(const struct shape *shape, const char *body, int status, const char *text)
{
    void *out;
    struct slice message;
    int got = feed(shape, slice_str(body), &out, &message);
    if (got != status)
        fail_msg("%s: %d instead of %d: %.*s", body, got, status, SLICE_FMT(message));
    if (text && !slice_eq_str(message, text))
        fail_msg("%s:\n  %.*s\ninstead of\n  %s", body, SLICE_FMT(message), text);
    if (!text)
        assert_null(message.ptr);
    arena_reset(&arena);
}

static void *decode(const struct shape *shape, const char *body)
{
    void *out;
    struct slice message;
    int status = feed(shape, slice_str(body), &out, &message);
    if (status != 0)
        fail_msg("%s: %d: %.*s", body, status, SLICE_FMT(message));
    return out;
}

/* Ends a text built in a buffer. */
static const char *text_of(struct bytebuf *b)
{
    bytebuf_byte(b, 0);
    assert_false(bytebuf_failed(b));
    return (const char *)b->ptr;
}

static void repeat(struct bytebuf *b, char c, size_t count)
{
    uint8_t *to = bytebuf_reserve(b, count);
    if (!to)
        abort();
    memset(to, c, count);
    bytebuf_advance(b, count);
}

#define assert_slice(s, text)                                        \
    do {                                                             \
        struct slice s_ = (s);                                       \
        if (!slice_eq_str(s_, text))                                 \
            fail_msg("'%.*s' instead of '%s'", SLICE_FMT(s_), text); \
    } while (0)

/* ---- decoding --------------------------------------------------------------------------------------------------- */

static void values_of_every_type_land_in_their_fields(void **state)
{
    const struct everything *e =
        decode(&everything, "{\"Text\":\"a\\u00e9\\ud83d\\ude00\\n\",\"Bytes\":\"AAEC/w==\",\"Kind\":\"LATEST\","
                            "\"Small\":-7,\"Big\":9007199254740993,\"Ratio\":0.25,\"Flag\":true,"
                            "\"When\":1763845384.567,\"Names\":[\"x\",\"\"],\"Kinds\":[\"TRIM_HORIZON\"],"
                            "\"Numbers\":[3,4],\"Tags\":{\"a\":\"1\",\"b\":\"\"},"
                            "\"Inner\":{\"Name\":\"n\",\"Items\":[{\"N\":1,\"Kinds\":[\"LATEST\"]},{}]}}");
    assert_slice(e->text, "a\xc3\xa9\xf0\x9f\x98\x80\n");
    assert_int_equal(e->bytes.len, 4);
    assert_memory_equal(e->bytes.ptr, "\0\1\2\xff", 4);
    assert_int_equal(e->kind, LATEST);
    assert_int_equal(e->small.value, -7);
    assert_true(e->big.value == 9007199254740993);
    assert_true(e->ratio.value == 0.25);
    assert_true(e->flag.set && e->flag.value);
    assert_true(e->when.value.ms == 1763845384567);
    assert_int_equal(e->names.count, 2);
    assert_slice(e->names.items[0], "x");
    assert_non_null(e->names.items[1].ptr);
    assert_int_equal(e->kinds.items[0], TRIM_HORIZON);
    assert_int_equal(e->numbers.items[1].value, 4);
    assert_int_equal(e->tags.count, 2);
    assert_slice(e->tags.items[0].value, "1");
    assert_slice(e->inner->name, "n");
    assert_null(e->inner->note.ptr);
    assert_int_equal(e->inner->items.count, 2);
    assert_true(e->inner->items.items[0].n.value == 1);
    assert_int_equal(e->inner->items.items[0].kinds.items[0], LATEST);
    assert_false(e->inner->items.items[1].n.set);
}

static void what_is_not_given_is_absent_and_so_is_null(void **state)
{
    static const char *const bodies[] = {
        "{}",
        " { } ",
        "{\"Unknown\":{\"a\":[1,{}]},\"text\":5}",
        "{\"Text\":null,\"Bytes\":null,\"Kind\":null,\"Small\":null,\"Flag\":null,\"When\":null,\"Names\":null,"
        "\"Tags\":null,\"Inner\":null}",
        "{\"Text\":\"a\",\"Small\":1,\"Names\":[\"a\"],\"Inner\":{\"Name\":\"\"},"
        "\"Text\":null,\"Small\":null,\"Names\":null,\"Inner\":null}",
    };
    struct everything zero;
    memset(&zero, 0, sizeof zero);
    for (size_t i = 0; i < ARRAY_COUNT(bodies); i++)
        assert_memory_equal(decode(&everything, bodies[i]), &zero, sizeof zero);
}

static void empty_values_are_given(void **state)
{
    const struct everything *e =
        decode(&everything, "{\"Text\":\"\",\"Bytes\":\"\",\"Names\":[],\"Tags\":{},\"Inner\":{\"Name\":\"\"}}");
    assert_non_null(e->text.ptr);
    assert_non_null(e->bytes.ptr);
    assert_int_equal(e->bytes.len, 0);
    assert_non_null(e->names.items);
    assert_int_equal(e->names.count, 0);
    assert_non_null(e->tags.items);
    assert_non_null(e->inner);
}

static void the_last_of_duplicate_members_counts(void **state)
{
    const struct everything *e =
        decode(&everything, "{\"Small\":1,\"Text\":\"a\",\"Small\":2,\"Tags\":{\"k\":\"1\",\"l\":\"2\",\"k\":\"3\"}}");
    assert_int_equal(e->small.value, 2);
    assert_int_equal(e->tags.count, 2);
    assert_slice(e->tags.items[0].value, "3");
}

static void numbers_are_cut_to_integers_and_saturate(void **state)
{
    static const struct {
        const char *body;
        int32_t small;
        int64_t big;
    } cases[] = {
        {"{\"Small\":34.56,\"Big\":34.56}", 34, 34},
        {"{\"Small\":1e2,\"Big\":1.5E+1}", 100, 15},
        {"{\"Small\":2147483648,\"Big\":9223372036854775808}", INT32_MAX, INT64_MAX},
        {"{\"Small\":-1e99,\"Big\":-1e99}", INT32_MIN, INT64_MIN},
        {"{\"Small\":0e999999999999999999999,\"Big\":0.0001e5}", 0, 10},
        {"{\"Small\":1e-999999999999999999999,\"Big\":-0}", 0, 0},
        {"{\"Small\":-34.56,\"Big\":-9223372036854775808}", -34, INT64_MIN},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct everything *e = decode(&everything, cases[i].body);
        assert_int_equal(e->small.value, cases[i].small);
        assert_true(e->big.value == cases[i].big);
    }
}

static void timestamps_are_rounded_to_milliseconds(void **state)
{
    static const struct {
        const char *body;
        int64_t ms;
    } cases[] = {
        {"{\"When\":1}", 1000},
        {"{\"When\":1.0004}", 1000},
        {"{\"When\":1.0005}", 1001},
        {"{\"When\":-0.25}", -250},
        {"{\"When\":1.763845384567E9}", 1763845384567},
        {"{\"When\":0}", 0},
        {"{\"When\":1e99}", INT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct everything *e = decode(&everything, cases[i].body);
        assert_true(e->when.set);
        assert_true(e->when.value.ms == cases[i].ms);
    }
}

static void words_for_booleans_are_taken(void **state)
{
    static const struct {
        const char *body;
        bool value;
    } cases[] = {
        {"{\"Flag\":\"true\"}", true}, {"{\"Flag\":\"FALSE\"}", false}, {"{\"Flag\":\"1\"}", true},
        {"{\"Flag\":\"0\"}", false},   {"{\"Flag\":\"yes\"}", true},    {"{\"Flag\":\"no\"}", false},
        {"{\"Flag\":false}", false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct everything *e = decode(&everything, cases[i].body);
        assert_true(e->flag.set);
        assert_int_equal(e->flag.value, cases[i].value);
    }
}

static void a_null_structure_in_a_list_is_an_empty_one(void **state)
{
    expect(&put_records_in, "{\"StreamName\":\"s\",\"Records\":[null]}", 1,
           "2 validation errors detected: "
           "Value null at 'records.1.member.partitionKey' failed to satisfy constraint: Member must not be null; "
           "Value null at 'records.1.member.data' failed to satisfy constraint: Member must not be null");
}

static void malformed_json_has_no_text(void **state)
{
    static const char *const bodies[] = {
        "",
        "hello",
        "5",
        "\"a\"",
        "null",
        "{",
        "{\"Text\":",
        "{\"Text\":\"a\"",
        "{} {}",
        "{\"Text\":\"a\",}",
        "{\"Small\":01}",
        "{\"Text\":\"\\ud800\"}",
        "{\"Text\":\"\xff\"}",
        "{\"Text\":5,", /* the wrong type comes first, but it is no JSON at all */
    };
    for (size_t i = 0; i < ARRAY_COUNT(bodies); i++)
        expect(&everything, bodies[i], ST_SYNTAX, NULL);
}

static void too_deep_a_body_is_refused(void **state)
{
    char body[2048] = "{\"Unknown\":";
    size_t n = strlen(body);
    memset(body + n, '[', 500);
    memset(body + n + 500, ']', 500);
    strcpy(body + n + 1000, "}");
    expect(&everything, body, ST_LIMIT, NULL);
}

#define BIG_NUMBER "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to "
#define LIST_START "Start of list found where not expected"
#define MAP_START  "Start of structure or map found where not expected."

static void wrong_types_are_reported_as_aws_does(void **state)
{
    static const struct {
        const char *member;
        const char *value, *text;
    } cases[] = {
        {"Flag", "\"23\"", "'23' can not be converted to an Boolean"},
        {"Flag", "\"hellowtf\"", "'HELLOWTF' can not be converted to an Boolean"},
        {"Flag", "23", BIG_NUMBER "an Boolean"},
        {"Flag", "-2147483648", BIG_NUMBER "an Boolean"},
        {"Flag", "[]", LIST_START},
        {"Flag", "{}", MAP_START},
        {"Text", "true", "class java.lang.Boolean can not be converted to an String"},
        {"Text", "23", BIG_NUMBER "an String"},
        {"Text", "34.56", BIG_NUMBER "an String"},
        {"Text", "[]", LIST_START},
        {"Text", "{}", MAP_START},
        {"Kind", "true", "class java.lang.Boolean can not be converted to an String"},
        {"Small", "\"23\"", "class java.lang.String can not be converted to an Integer"},
        {"Small", "true", "class java.lang.Boolean can not be converted to an Integer"},
        {"Small", "[]", LIST_START},
        {"Small", "{}", MAP_START},
        {"Big", "\"23\"", "class java.lang.String can not be converted to an Long"},
        {"Big", "false", "class java.lang.Boolean can not be converted to an Long"},
        {"Ratio", "\"1\"", "class java.lang.String can not be converted to an Double"},
        {"When", "\"23\"", "class java.lang.String can not be converted to milliseconds since epoch"},
        {"When", "true", "class java.lang.Boolean can not be converted to milliseconds since epoch"},
        {"When", "[]", LIST_START},
        {"Bytes", "true", "class java.lang.Boolean can not be converted to a Blob"},
        {"Bytes", "23", BIG_NUMBER "a Blob"},
        {"Bytes", "34.56", BIG_NUMBER "a Blob"},
        {"Bytes", "[]", LIST_START},
        {"Bytes", "{}", MAP_START},
        {"Bytes", "\"23456\"",
         "'23456' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: "
         "5"},
        {"Bytes", "\"=+/=\"", "'=+/=' can not be converted to a Blob: Invalid Base64 character: '='"},
        {"Bytes", "\"+/+=\"", "'+/+=' can not be converted to a Blob: Invalid last non-pad Base64 character dectected"},
        {"Bytes",
         "\"ab\xc3\xa9"
         "d\"",
         "'ab\xc3\xa9"
         "d' can not be converted to a Blob: Invalid Base64 character: '\xc3\xa9'"},
        {"Names", "\"23\"", "Expected list or null"},
        {"Names", "true", "Expected list or null"},
        {"Names", "23", "Expected list or null"},
        {"Names", "{}", MAP_START},
        {"Names", "[5]", BIG_NUMBER "an String"},
        {"Tags", "\"23\"", "Expected map or null"},
        {"Tags", "34.56", "Expected map or null"},
        {"Tags", "[]", LIST_START},
        {"Tags", "{\"a\":5}", BIG_NUMBER "an String"},
        {"Inner", "\"23\"", "Expected null"},
        {"Inner", "true", "Expected null"},
        {"Inner", "23", "Expected null"},
        {"Inner", "[]", LIST_START},
        {"Inner", "{\"Items\":[5]}", "Expected null"},
        {"Inner", "{\"Items\":[[]]}", LIST_START},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"%s\":%s}", cases[i].member, cases[i].value);
        expect(&everything, body, ST_INVALID, cases[i].text);
    }
    expect(&everything, "[]", ST_INVALID, LIST_START);
}

static void running_out_of_the_arena_is_an_error_at_every_size(void **state)
{
    static const char body[] = "{\"Text\":\"a\\n\",\"Bytes\":\"AAEC\",\"Names\":[\"x\",\"y\"],\"Tags\":{\"a\":\"1\"},"
                               "\"Kind\":\"BAD\",\"Inner\":{\"Items\":[{\"N\":0}]}}";
    int status = -ENOMEM;
    for (size_t limit = 0; status == -ENOMEM; limit += 16) {
        struct arena small;
        arena_init(&small, 256, limit);
        struct shape_decoder d = {.arena = &small};
        void *out = NULL;
        status = shape_decode_json(&d, &everything, slice_str(body), &out);
        if (status == 0)
            status = shape_validate(&d, &everything, out);
        assert_true(status == -ENOMEM || status == ST_INVALID);
        assert_true(limit < 4096);
        arena_deinit(&small);
    }
}

/* ---- validation ------------------------------------------------------------------------------------------------- */

#define FAILS        "' failed to satisfy constraint: Member must "
#define NAME_PATTERN "satisfy regular expression pattern: [a-zA-Z0-9_.-]+"

static void constraints_are_reported_in_aws_words_and_order(void **state)
{
    expect(&put_records_in, "{}", 1,
           "2 validation errors detected: Value null at 'records" FAILS "not be null; "
           "Value null at 'streamName" FAILS "not be null");
    expect(&put_records_in, "{\"StreamName\":\"\",\"Records\":[]}", 1,
           "3 validation errors detected: Value '[]' at 'records" FAILS "have length greater than or equal to 1; "
           "Value '' at 'streamName" FAILS NAME_PATTERN "; "
           "Value '' at 'streamName" FAILS "have length greater than or equal to 1");
    expect(&get_shard_iterator_in, "{}", 1,
           "3 validation errors detected: Value null at 'shardId" FAILS "not be null; "
           "Value null at 'shardIteratorType" FAILS "not be null; "
           "Value null at 'streamName" FAILS "not be null");
    expect(&get_shard_iterator_in,
           "{\"StreamName\":\"\",\"ShardIteratorType\":\"\",\"ShardId\":\"\",\"StartingSequenceNumber\":\"\"}", 1,
           "6 validation errors detected: Value '' at 'shardId" FAILS NAME_PATTERN "; "
           "Value '' at 'shardId" FAILS "have length greater than or equal to 1; "
           "Value '' at 'shardIteratorType" FAILS "satisfy enum value set: "
           "[AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]; "
           "Value '' at 'startingSequenceNumber" FAILS "satisfy regular expression pattern: 0|([1-9]\\d{0,128}); "
           "Value '' at 'streamName" FAILS NAME_PATTERN "; "
           "Value '' at 'streamName" FAILS "have length greater than or equal to 1");
    expect(&get_shard_iterator_in, "{\"StreamName\":\"s\",\"ShardIteratorType\":\"NEWEST\",\"ShardId\":\"a\"}", 1,
           "1 validation error detected: Value 'NEWEST' at 'shardIteratorType" FAILS "satisfy enum value set: "
           "[AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]");
    expect(&get_records_in, "{\"ShardIterator\":\"a\",\"Limit\":0}", 1,
           "1 validation error detected: Value '0' at 'limit" FAILS "have value greater than or equal to 1");
    expect(&get_records_in, "{\"ShardIterator\":\"a\",\"Limit\":100000}", 1,
           "1 validation error detected: Value '100000' at 'limit" FAILS "have value less than or equal to 10000");
    expect(&everything, "{\"Ratio\":1.5}", 1,
           "1 validation error detected: Value '1.5' at 'ratio" FAILS "have value less than or equal to 1");
    expect(&everything, "{\"ARN\":\"x\"}", 1,
           "1 validation error detected: Value 'x' at 'aRN" FAILS
           "satisfy regular expression pattern: arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+");
    expect(&everything, "{\"Inner\":{\"Items\":[{},{\"N\":0}]}}", 1,
           "2 validation errors detected: Value null at 'inner.name" FAILS "not be null; "
           "Value '0' at 'inner.items.2.member.n" FAILS "have value greater than or equal to 1");
}

static void a_long_name_is_shown_whole(void **state)
{
    char body[400], text[600], name[130];
    memset(name, 'a', 129);
    name[129] = 0;
    snprintf(body, sizeof body, "{\"StreamName\":\"%s\",\"Records\":[{\"PartitionKey\":\"a\",\"Data\":\"\"}]}", name);
    snprintf(text, sizeof text,
             "1 validation error detected: Value '%s' at 'streamName" FAILS "have length less than or equal to 128",
             name);
    expect(&put_records_in, body, 1, text);
}

static void lengths_are_characters_not_bytes(void **state)
{
    char body[1600];
    struct slice message;
    void *out;
    for (int extra = 0; extra < 2; extra++) {
        size_t n = (size_t)snprintf(body, sizeof body,
                                    "{\"StreamName\":\"s\",\"Records\":[{\"Data\":\"\",\"PartitionKey\":\"");
        for (int i = 0; i < 256 + extra; i++, n += 4)
            memcpy(body + n, "\xf0\x9f\x98\x80", 4);
        strcpy(body + n, "\"}]}");
        assert_int_equal(feed(&put_records_in, slice_str(body), &out, &message), extra);
    }
}

static void the_tenth_error_is_the_last(void **state)
{
    char body[1000] = "{\"StreamName\":\"s\",\"Records\":[";
    for (int i = 0; i < 7; i++)
        strcat(body, i ? ",{}" : "{}");
    strcat(body, "]}");
    void *out;
    struct slice message;
    assert_int_equal(feed(&put_records_in, slice_str(body), &out, &message), 1);
    assert_true(slice_starts(message, SLICE_LIT("10 validation errors detected: Value null at 'records.1.member.")));
    static const char end[] = "Value null at 'records.5.member.data" FAILS "not be null";
    assert_slice(slice_from(message, message.len - (sizeof end - 1)), end);
}

static void too_many_records_are_listed_by_their_class(void **state)
{
    struct bytebuf body, text;
    bytebuf_init(&body, 1 << 20);
    bytebuf_init(&text, 1 << 20);
    bytebuf_str(&body, "{\"StreamName\":\"s\",\"Records\":[");
    bytebuf_str(&text, "1 validation error detected: Value '[");
    for (int i = 0; i < 501; i++) {
        bytebuf_printf(&body, "%s{\"PartitionKey\":\"a\",\"Data\":\"\"}", i ? "," : "");
        bytebuf_printf(&text, "%scom.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@c965e310", i ? ", " : "");
    }
    bytebuf_str(&body, "]}");
    bytebuf_str(&text, "]' at 'records" FAILS "have length less than or equal to 500");
    expect(&put_records_in, text_of(&body), 1, text_of(&text));
    bytebuf_deinit(&body);
    bytebuf_deinit(&text);
}

static void a_long_blob_is_shown_as_a_java_buffer(void **state)
{
    struct bytebuf body;
    bytebuf_init(&body, 4 << 20);
    bytebuf_str(&body, "{\"StreamName\":\"s\",\"Records\":[{\"PartitionKey\":\"a\",\"Data\":\"");
    repeat(&body, 'A', 1398104); /* of 1048578 bytes */
    bytebuf_str(&body, "\"}]}");
    expect(&put_records_in, text_of(&body), 1,
           "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1048578 cap=1048578]' at "
           "'records.1.member.data" FAILS "have length less than or equal to 1048576");
    bytebuf_deinit(&body);
}

#define TAG_LENGTHS \
    "[Member must have length less than or equal to 128, Member must have length greater than or equal to 1]"

static void scalars_in_lists_and_maps_are_reported_at_once(void **state)
{
    expect(&remove_tags_in, "{\"StreamName\":\"s\",\"TagKeys\":[\"a\",\"\",\"\"]}", 1,
           "1 validation error detected: Value '[a, , ]' at 'tagKeys" FAILS "satisfy constraint: " TAG_LENGTHS);
    expect(&remove_tags_in, "{\"StreamName\":\"s\",\"TagKeys\":[null]}", 1,
           "1 validation error detected: Value '[null]' at 'tagKeys" FAILS "satisfy constraint: " TAG_LENGTHS);
    expect(&add_tags_in, "{\"StreamName\":\"s\",\"Tags\":{\"\":\"a\"}}", 1,
           "1 validation error detected: Value '{=a}' at 'tags' failed to satisfy constraint: "
           "Map keys must satisfy constraint: " TAG_LENGTHS);
    expect(&add_tags_in, "{\"StreamName\":\"s\",\"Tags\":{}}", 1,
           "1 validation error detected: Value '{}' at 'tags" FAILS "have length greater than or equal to 1");
    expect(&add_tags_in, "{\"StreamName\":\"s\",\"Tags\":{\"a\":null,\"b\":\"1\"}}", 1,
           "1 validation error detected: Value '{a=null, b=1}' at 'tags' failed to satisfy constraint: "
           "Map value must satisfy constraint: [Member must have length less than or equal to 256, "
           "Member must have length greater than or equal to 0]");
    expect(&everything, "{\"Kinds\":[\"LATEST\",\"X\"]}", 1,
           "1 validation error detected: Value '[LATEST, X]' at 'kinds" FAILS
           "satisfy constraint: [Member must satisfy enum value set: "
           "[AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]]");
    expect(&everything, "{\"Numbers\":[1,0]}", 1,
           "1 validation error detected: Value '[1, 0]' at 'numbers" FAILS
           "satisfy constraint: [Member must have value less than or equal to 10000, "
           "Member must have value greater than or equal to 1]");
    expect(&everything, "{\"Names\":[\"a\",null]}", 1,
           "1 validation error detected: Value '[a, null]' at 'names" FAILS
           "satisfy constraint: [Member must not be null]");
}

static void very_many_unknown_enum_texts_are_still_errors(void **state)
{
    char body[8192] = "{\"Inner\":{\"Name\":\"\",\"Items\":[";
    for (int i = 0; i < 200; i++)
        strcat(body, i ? ",{\"Kinds\":[\"X\"]}" : "{\"Kinds\":[\"X\"]}");
    strcat(body, "]}}");
    void *out;
    struct slice message;
    assert_int_equal(feed(&everything, slice_str(body), &out, &message), 1);
    assert_true(
        slice_starts(message, SLICE_LIT("10 validation errors detected: Value '[X]' at 'inner.items.1.member.")));
}

static void an_enormous_value_is_cut_in_the_message(void **state)
{
    struct bytebuf body;
    void *out;
    struct slice message;
    bytebuf_init(&body, 1 << 20);
    bytebuf_str(&body, "{\"ShardIterator\":\"");
    repeat(&body, 'x', 200000);
    bytebuf_str(&body, "\"}");
    assert_int_equal(feed(&get_records_in, bytebuf_view(&body), &out, &message), 1);
    assert_in_range(message.len, 64 * 1024, 66 * 1024);
    bytebuf_deinit(&body);
}

/* ---- encoding --------------------------------------------------------------------------------------------------- */

static void structs_are_written_without_what_is_not_given(void **state)
{
    struct slice names[] = {SLICE_LIT("x"), SLICE_LIT("")};
    int kinds[] = {TRIM_HORIZON, LATEST};
    struct shape_pair tags[] = {{SLICE_LIT("k\""), SLICE_LIT("v\n")}};
    struct inner_item items[] = {{.n = OPT_LONG(-5)}, {.n = {false, 0}}};
    struct inner in = {.name = SLICE_LIT("n"), .items = {items, 2}};
    struct everything e = {
        .text = SLICE_LIT("a\\\x01\xc3\xa9"),
        .bytes = SLICE_LIT("hello"),
        .kind = AT_TIMESTAMP,
        .small = OPT_INT(0),
        .flag = OPT_BOOL(false),
        .when = OPT_TIME(((struct wall_ms){1763845384500})),
        .ratio = OPT_DOUBLE(0.1),
        .names = {names, 2},
        .kinds = {kinds, 2},
        .tags = {tags, 1},
        .inner = &in,
    };
    struct bytebuf out;
    bytebuf_init(&out, 4096);
    shape_encode_json(&everything, &e, &out);
    assert_false(bytebuf_failed(&out));
    assert_slice(bytebuf_view(&out),
                 "{\"Text\":\"a\\\\\\u0001\xc3\xa9\",\"Bytes\":\"aGVsbG8=\",\"Kind\":\"AT_TIMESTAMP\",\"Small\":0,"
                 "\"Ratio\":0.1,\"Flag\":false,\"When\":1763845384.5,\"Names\":[\"x\",\"\"],"
                 "\"Kinds\":[\"TRIM_HORIZON\",\"LATEST\"],\"Tags\":{\"k\\\"\":\"v\\n\"},"
                 "\"Inner\":{\"Name\":\"n\",\"Items\":[{\"N\":-5},{}]}}");
    bytebuf_reset(&out);
    struct nothing none = {0};
    shape_encode_json(&nothing_shape, &none, &out);
    assert_slice(bytebuf_view(&out), "{}");
    bytebuf_deinit(&out);
}

static void a_required_list_or_map_is_written_even_if_empty(void **state)
{
    struct bytebuf out;
    bytebuf_init(&out, 4096);
    struct put_records_in p = {.stream_name = SLICE_NULL};
    shape_encode_json(&put_records_in, &p, &out);
    assert_slice(bytebuf_view(&out), "{\"Records\":[]}");
    bytebuf_reset(&out);
    struct add_tags_in t = {.stream_name = SLICE_NULL};
    shape_encode_json(&add_tags_in, &t, &out);
    assert_slice(bytebuf_view(&out), "{\"Tags\":{}}");
    bytebuf_deinit(&out);
}

static void what_is_written_reads_back_the_same(void **state)
{
    static const char body[] = "{\"Text\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u001f\xe2\x82\xac\",\"Small\":-2147483648,"
                               "\"Big\":-9223372036854775808,\"Ratio\":0.30000000000000004,\"When\":-0.001}";
    struct bytebuf one, two;
    bytebuf_init(&one, 4096);
    bytebuf_init(&two, 4096);
    shape_encode_json(&everything, decode(&everything, body), &one);
    bytebuf_byte(&one, 0);
    shape_encode_json(&everything, decode(&everything, (const char *)one.ptr), &two);
    bytebuf_byte(&two, 0);
    assert_string_equal((const char *)one.ptr, (const char *)two.ptr);
    assert_string_equal((const char *)one.ptr,
                        "{\"Text\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u001f\xe2\x82\xac\",\"Small\":-2147483648,"
                        "\"Big\":-9223372036854775808,\"Ratio\":0.30000000000000004,\"When\":-0.001}");
    bytebuf_deinit(&one);
    bytebuf_deinit(&two);
}

/* ---- tables ----------------------------------------------------------------------------------------------------- */

static void tables_are_checked(void **state)
{
    static const struct shape *const good[] = {&put_records_in, &get_shard_iterator_in, &get_records_in,
                                               &add_tags_in,    &remove_tags_in,        &everything,
                                               &nothing_shape};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        assert_null(shape_check(good[i]));

    static const struct shape lookahead = {SHAPE_STRING, .pattern = "(?=a)b"};
    static const struct shape reversed = {SHAPE_INTEGER, SHAPE_RANGE(5, 1)};
    static const struct shape no_element = {SHAPE_LIST};
    struct two {
        struct slice a, b;
    };
    static const struct member twice[] = {MEMBER_STRING(struct two, a, "A", &shape_string, OPTIONAL),
                                          MEMBER_STRING(struct two, b, "A", &shape_string, OPTIONAL)};
    static const struct shape same_name = SHAPE_OF(struct two, twice, NULL);
    static const struct member over[] = {MEMBER_STRING(struct two, a, "A", &shape_string, OPTIONAL),
                                         MEMBER_STRING(struct two, a, "B", &shape_string, OPTIONAL)};
    static const struct shape overlapping = SHAPE_OF(struct two, over, NULL);
    assert_string_equal(shape_check(&lookahead), "a pattern is not supported");
    assert_string_equal(shape_check(&reversed), "a minimum is above its maximum");
    assert_string_equal(shape_check(&no_element), "a list has no element");
    assert_string_equal(shape_check(&same_name), "two members have the same name");
    assert_string_equal(shape_check(&overlapping), "two members lie over each other");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_of_every_type_land_in_their_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_given_is_absent_and_so_is_null, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_values_are_given, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_of_duplicate_members_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_are_cut_to_integers_and_saturate, setup, teardown),
        cmocka_unit_test_setup_teardown(timestamps_are_rounded_to_milliseconds, setup, teardown),
        cmocka_unit_test_setup_teardown(words_for_booleans_are_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(a_null_structure_in_a_list_is_an_empty_one, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_json_has_no_text, setup, teardown),
        cmocka_unit_test_setup_teardown(too_deep_a_body_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_types_are_reported_as_aws_does, setup, teardown),
        cmocka_unit_test_setup_teardown(running_out_of_the_arena_is_an_error_at_every_size, setup, teardown),
        cmocka_unit_test_setup_teardown(constraints_are_reported_in_aws_words_and_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_name_is_shown_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(lengths_are_characters_not_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(the_tenth_error_is_the_last, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_records_are_listed_by_their_class, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_blob_is_shown_as_a_java_buffer, setup, teardown),
        cmocka_unit_test_setup_teardown(scalars_in_lists_and_maps_are_reported_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(very_many_unknown_enum_texts_are_still_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(an_enormous_value_is_cut_in_the_message, setup, teardown),
        cmocka_unit_test_setup_teardown(structs_are_written_without_what_is_not_given, setup, teardown),
        cmocka_unit_test_setup_teardown(a_required_list_or_map_is_written_even_if_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_written_reads_back_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_are_checked, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
