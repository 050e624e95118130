/* The Firehose operations through the dispatcher, as bytes in and bytes out, on an intake of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/io/loop.h"
#include "firehose/api/firehose_api.h"
#include "firehose/api/firehose_shapes.h"

struct world {
    struct loop *loop;
    struct arena arena;
    struct dispatch dispatch;
    struct delivery_settings settings[4];
    uint32_t count;
    struct intake intake;
    struct intake_append *waiting;
    int append_rc;
    uint32_t records;
    char last[64];
    int status;
    char error[64];
    char body[1 << 20];
    bool answered;
};

static bool hook_find(const struct call *call, struct slice name, struct firehose_api_delivery *out)
{
    struct world *w = call->ctx;
    for (uint32_t i = 0; i < w->count; i++) {
        if (!slice_eq_str(name, w->settings[i].name))
            continue;
        *out = (struct firehose_api_delivery){.settings = &w->settings[i],
                                              .created = {1500000000123},
                                              .intake = w->settings[i].source[0] ? NULL : &w->intake,
                                              .active = true};
        return true;
    }
    return false;
}

static bool hook_next(const struct call *call, struct slice after, struct firehose_api_delivery *out)
{
    struct world *w = call->ctx;
    for (uint32_t i = 0; i < w->count; i++) /* they are sorted */
        if (!after.ptr || strncmp(w->settings[i].name, (const char *)after.ptr, after.len) > 0)
            return hook_find(call, slice_str(w->settings[i].name), out);
    return false;
}

static struct loop *hook_loop(const struct call *call)
{
    return ((struct world *)call->ctx)->loop;
}

static const struct firehose_api_hooks hooks = {hook_find, hook_next, "000000000000", "us-east-1", hook_loop};

static int intake_append(struct intake *i, const struct block_record *records, uint32_t count, struct intake_append *a)
{
    struct world *w = i->owner;
    if (w->append_rc < 0)
        return w->append_rc;
    w->records += count;
    snprintf(w->last, sizeof w->last, "%.*s", SLICE_FMT(records[count - 1].data));
    w->waiting = a;
    return 0;
}

static void answered(void *ctx, void *exchange, struct dispatch_answer *answer)
{
    struct world *w = ctx;
    assert_false(w->answered);
    w->answered = true;
    w->status = answer->http_status;
    snprintf(w->error, sizeof w->error, "%s", answer->error_name ? answer->error_name : "");
    assert_true(answer->body->len < sizeof w->body);
    memcpy(w->body, answer->body->ptr, answer->body->len);
    w->body[answer->body->len] = 0;
    bytebuf_deinit(answer->body);
}

static void random_bytes(void *ctx, void *out, size_t len)
{
    loop_random(((struct world *)ctx)->loop, out, len);
}

static int world_make(void **state)
{
    static const struct service *const services[] = {&firehose_service, NULL};
    struct world *w = calloc(1, sizeof *w);
    struct loop_options lo = {.workers = 1};
    struct dispatch_options o = {.services = services, .ctx = w, .random = random_bytes, .answered = answered};
    assert_int_equal(loop_create(&lo, &w->loop, NULL), 0);
    arena_init(&w->arena, 65536, 64 << 20);
    dispatch_init(&w->dispatch, &o);
    firehose_api_setup(&hooks);
    w->intake = (struct intake){intake_append, w};
    static const char *const names[] = {"alpha", "beta", "gamma"};
    for (w->count = 0; w->count < 3; w->count++) {
        struct delivery_settings *s = &w->settings[w->count];
        delivery_settings_init(s);
        strcpy(s->name, names[w->count]);
        strcpy(s->sink, "file:///var/out/");
    }
    strcpy(w->settings[1].source, "events");
    strcpy(w->settings[1].prefix, "!{timestamp:yyyy}/");
    w->settings[2].compression = COMPRESSION_NONE;
    strcpy(w->settings[2].bucket_arn, "arn:aws:s3:::bucket");
    *state = w;
    return 0;
}

static int world_free(void **state)
{
    struct world *w = *state;
    arena_deinit(&w->arena);
    loop_destroy(w->loop);
    free(w);
    return 0;
}

static void request(struct world *w, const char *operation, struct slice body)
{
    char target[64];
    arena_reset(&w->arena);
    snprintf(target, sizeof target, "Firehose_20150804.%s", operation);
    w->answered = false;
    struct dispatch_request rq = {.method = SLICE_LIT("POST"),
                                  .content_type = SLICE_LIT("application/x-amz-json-1.1"),
                                  .amz_target = slice_str(target),
                                  .body = body,
                                  .arena = &w->arena};
    dispatch_run(&w->dispatch, &rq);
}

static void call(struct world *w, const char *operation, const char *body)
{
    request(w, operation, slice_str(body));
}

static void finish(struct world *w, int status)
{
    assert_false(w->answered);
    assert_non_null(w->waiting);
    w->waiting->status = status;
    w->waiting->done(w->waiting);
    w->waiting = NULL;
    assert_true(w->answered);
}

static void expect_error(struct world *w, int status, const char *error, const char *text)
{
    char expect[512];
    snprintf(expect, sizeof expect, "\"message\":\"%s\"", text);
    assert_true(w->answered);
    assert_int_equal(w->status, status);
    assert_string_equal(w->error, error);
    if (!strstr(w->body, expect))
        fail_msg("%s does not hold %s", w->body, expect);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void every_table_of_shapes_is_sound(void **state)
{
    for (uint32_t i = 0; i < firehose_service.operation_count; i++) {
        const char *in = shape_check(firehose_service.operations[i].input);
        const char *out = shape_check(firehose_service.operations[i].output);
        if (in || out)
            fail_msg("%s: %s", firehose_service.operations[i].name, in ? in : out);
    }
}

static void a_record_is_answered_once_it_is_on_disk(void **state)
{
    struct world *w = *state;
    call(w, "PutRecord", "{\"DeliveryStreamName\":\"alpha\",\"Record\":{\"Data\":\"aGVsbG8=\"}}");
    assert_string_equal(w->last, "hello");
    finish(w, 0);
    assert_int_equal(w->status, 200);
    assert_memory_equal(w->body, "{\"RecordId\":\"", 13);
    assert_string_equal(w->body + 13 + 56, "\",\"Encrypted\":false}");
}

static void a_batch_gets_an_id_for_each_record(void **state)
{
    struct world *w = *state;
    w->records = 0;
    call(w, "PutRecordBatch",
         "{\"DeliveryStreamName\":\"alpha\",\"Records\":[{\"Data\":\"YQ==\"},{\"Data\":\"\"},{\"Data\":\"Yg==\"}]}");
    assert_int_equal(w->records, 3);
    assert_string_equal(w->last, "b");
    finish(w, 0);
    static const char start[] = "{\"FailedPutCount\":0,\"Encrypted\":false,\"RequestResponses\":[{\"RecordId\":\"";
    assert_memory_equal(w->body, start, sizeof start - 1);
    unsigned ids = 0;
    for (const char *p = w->body; (p = strstr(p, "RecordId")); p++)
        ids++;
    assert_int_equal(ids, 3);
}

static void a_delivery_that_reads_a_stream_takes_no_records(void **state)
{
    struct world *w = *state;
    const char *text = "This operation is not permitted on KinesisStreamAsSource delivery stream type.";
    call(w, "PutRecord", "{\"DeliveryStreamName\":\"beta\",\"Record\":{\"Data\":\"YQ==\"}}");
    expect_error(w, 400, "InvalidArgumentException", text);
    call(w, "PutRecordBatch", "{\"DeliveryStreamName\":\"beta\",\"Records\":[{\"Data\":\"YQ==\"}]}");
    expect_error(w, 400, "InvalidArgumentException", text);
}

static void a_delivery_stream_that_is_not_there_is_not_found(void **state)
{
    struct world *w = *state;
    call(w, "PutRecord", "{\"DeliveryStreamName\":\"omega\",\"Record\":{\"Data\":\"YQ==\"}}");
    expect_error(w, 400, "ResourceNotFoundException", "Stream omega under account 000000000000 not found.");
    call(w, "DescribeDeliveryStream", "{\"DeliveryStreamName\":\"omega\"}");
    expect_error(w, 400, "ResourceNotFoundException", "Firehose omega under account 000000000000 not found.");
}

static void a_full_intake_and_a_failed_sync_are_service_unavailable(void **state)
{
    struct world *w = *state;
    const char *put = "{\"DeliveryStreamName\":\"alpha\",\"Record\":{\"Data\":\"YQ==\"}}";
    w->append_rc = ST_THROTTLED;
    call(w, "PutRecord", put);
    expect_error(w, 503, "ServiceUnavailableException", "Slow down.");
    w->append_rc = 0;
    call(w, "PutRecord", put);
    finish(w, -EIO);
    expect_error(w, 503, "ServiceUnavailableException", "Slow down.");
}

static void limits_of_a_batch_are_those_of_the_service(void **state)
{
    struct world *w = *state;
    struct bytebuf b;
    bytebuf_init(&b, 16 << 20);
    bytebuf_str(&b, "{\"DeliveryStreamName\":\"alpha\",\"Records\":[");
    for (int i = 0; i < 501; i++)
        bytebuf_str(&b, i ? ",{\"Data\":\"YQ==\"}" : "{\"Data\":\"YQ==\"}");
    bytebuf_str(&b, "]}");
    request(w, "PutRecordBatch", bytebuf_view(&b));
    assert_int_equal(w->status, 400);
    assert_string_equal(w->error, "ValidationException");
    assert_non_null(strstr(w->body, "at 'records' failed to satisfy constraint: Member must have length less than or "
                                    "equal to 500"));
    bytebuf_reset(&b);
    bytebuf_str(&b, "{\"DeliveryStreamName\":\"alpha\",\"Records\":[");
    for (int i = 0; i < 5; i++) {
        bytebuf_str(&b, i ? ",{\"Data\":\"" : "{\"Data\":\"");
        for (int k = 0; k < 900000 / 3; k++)
            bytebuf_str(&b, "YWFh");
        bytebuf_str(&b, "\"}");
    }
    bytebuf_str(&b, "]}");
    assert_false(bytebuf_failed(&b));
    request(w, "PutRecordBatch", bytebuf_view(&b));
    expect_error(w, 400, "InvalidArgumentException", "Records size exceeds 4 MB limit");
    bytebuf_deinit(&b);
}

static void lists_come_in_pages_and_by_type(void **state)
{
    struct world *w = *state;
    call(w, "ListDeliveryStreams", "{}");
    assert_string_equal(w->body,
                        "{\"DeliveryStreamNames\":[\"alpha\",\"beta\",\"gamma\"],\"HasMoreDeliveryStreams\":false}");
    call(w, "ListDeliveryStreams", "{\"Limit\":2}");
    assert_string_equal(w->body, "{\"DeliveryStreamNames\":[\"alpha\",\"beta\"],\"HasMoreDeliveryStreams\":true}");
    call(w, "ListDeliveryStreams", "{\"Limit\":2,\"ExclusiveStartDeliveryStreamName\":\"beta\"}");
    assert_string_equal(w->body, "{\"DeliveryStreamNames\":[\"gamma\"],\"HasMoreDeliveryStreams\":false}");
    call(w, "ListDeliveryStreams", "{\"DeliveryStreamType\":\"KinesisStreamAsSource\"}");
    assert_string_equal(w->body, "{\"DeliveryStreamNames\":[\"beta\"],\"HasMoreDeliveryStreams\":false}");
    call(w, "ListDeliveryStreams", "{\"DeliveryStreamType\":\"DirectPut\",\"Limit\":1}");
    assert_string_equal(w->body, "{\"DeliveryStreamNames\":[\"alpha\"],\"HasMoreDeliveryStreams\":true}");
}

static void a_description_says_what_it_is_and_where_it_goes(void **state)
{
    struct world *w = *state;
    call(w, "DescribeDeliveryStream", "{\"DeliveryStreamName\":\"beta\"}");
    assert_int_equal(w->status, 200);
    static const char *const parts[] = {
        "{\"DeliveryStreamDescription\":{\"DeliveryStreamName\":\"beta\",",
        "\"DeliveryStreamARN\":\"arn:aws:firehose:us-east-1:000000000000:deliverystream/beta\"",
        "\"DeliveryStreamStatus\":\"ACTIVE\"",
        "\"DeliveryStreamType\":\"KinesisStreamAsSource\"",
        "\"VersionId\":\"1\"",
        "\"CreateTimestamp\":1500000000.123",
        "\"KinesisStreamARN\":\"arn:aws:kinesis:us-east-1:000000000000:stream/events\"",
        "\"DestinationId\":\"destinationId-000000000001\"",
        "\"BucketARN\":\"arn:aws:s3:::var/out\",\"Prefix\":\"!{timestamp:yyyy}/\"",
        "\"BufferingHints\":{\"SizeInMBs\":5,\"IntervalInSeconds\":300}",
        "\"CompressionFormat\":\"ZSTD\"",
        "\"EncryptionConfiguration\":{\"NoEncryptionConfig\":\"NoEncryption\"}",
        "\"S3BackupMode\":\"Disabled\"",
        "\"HasMoreDestinations\":false",
    };
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        if (!strstr(w->body, parts[i]))
            fail_msg("%s does not hold %s", w->body, parts[i]);
    call(w, "DescribeDeliveryStream", "{\"DeliveryStreamName\":\"gamma\"}");
    assert_non_null(strstr(w->body, "\"BucketARN\":\"arn:aws:s3:::bucket\""));
    assert_non_null(strstr(w->body, "\"CompressionFormat\":\"UNCOMPRESSED\""));
    assert_non_null(strstr(w->body, "\"DeliveryStreamEncryptionConfiguration\":{\"Status\":\"DISABLED\"}"));
    assert_null(strstr(w->body, "\"Source\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_of_shapes_is_sound),
        cmocka_unit_test(a_record_is_answered_once_it_is_on_disk),
        cmocka_unit_test(a_batch_gets_an_id_for_each_record),
        cmocka_unit_test(a_delivery_that_reads_a_stream_takes_no_records),
        cmocka_unit_test(a_delivery_stream_that_is_not_there_is_not_found),
        cmocka_unit_test(a_full_intake_and_a_failed_sync_are_service_unavailable),
        cmocka_unit_test(limits_of_a_batch_are_those_of_the_service),
        cmocka_unit_test(lists_come_in_pages_and_by_type),
        cmocka_unit_test(a_description_says_what_it_is_and_where_it_goes),
    };
    return cmocka_run_group_tests(tests, world_make, world_free);
}
