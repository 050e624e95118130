/*
 * The dispatcher: what is answered before an operation is reached, in AWS's words (after kinesalite's
 * test/connection.js), and the life of a call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/wire/base64.h"
#include "common/wire/dispatch.h"
#include "wire_shapes.h"

#define JSON "application/x-amz-json-1.1"
#define CBOR "application/x-amz-cbor-1.1"

struct world {
    struct arena arena;
    struct dispatch dispatch;
    unsigned answers;
    int status;
    const char *content_type, *error_name;
    const struct operation *operation;
    char body[2048], request_id[DISPATCH_REQUEST_ID_MAX], id_2[DISPATCH_ID_2_MAX];
    size_t body_len;
    struct call *pending; /* of the operation "Later" */
    bool deny;
    uint8_t seed;
};

/* ---- a small service -------------------------------------------------------------------------------------------- */

/* Echoes the limit, and who called. */
static void get_records_run(struct call *call)
{
    const struct get_records_in *in = call->input;
    if (slice_eq_str(in->shard_iterator, "expired")) {
        call_fail(call, AWS_EXPIRED_ITERATOR, "Iterator %.*s has expired.", SLICE_FMT(in->shard_iterator));
        return;
    }
    if (slice_eq_str(in->shard_iterator, "bug")) {
        call_fail_text(call, AWS_INTERNAL_FAILURE, SLICE_NULL);
        return;
    }
    struct get_records_in out = {.limit = in->limit, .shard_iterator = call->access_key};
    call_reply(call, &out);
}

static void put_records_run(struct call *call)
{
    call_reply(call, NULL);
}

static void later_run(struct call *call)
{
    struct world *w = call->ctx;
    w->pending = call;
}

static const struct operation operations[] = {
    {"GetRecords", &get_records_in, &get_records_in, get_records_run},
    {"PutRecords", &put_records_in, NULL, put_records_run},
    {"Later", &nothing_shape, &everything, later_run},
};
static const struct service kinesis = {"Kinesis_20131202", "kinesis", operations, ARRAY_COUNT(operations)};
static const struct operation firehose_operations[] = {{"GetRecords", &nothing_shape, NULL, put_records_run}};
static const struct service firehose = {"Firehose_20150804", "firehose", firehose_operations, 1};
static const struct service *const services[] = {&kinesis, &firehose, NULL};

static void random_fill(void *ctx, void *out, size_t len)
{
    struct world *w = ctx;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = w->seed++;
}

static bool authenticate(void *ctx, void *exchange, const struct service *service, struct slice *out_access_key,
                         struct dispatch_denial *out_denial)
{
    struct world *w = ctx;
    assert_ptr_equal(exchange, w);
    if (w->deny) {
        *out_denial =
            (struct dispatch_denial){AWS_MISSING_AUTHENTICATION_TOKEN, SLICE_LIT("Missing Authentication Token")};
        return false;
    }
    *out_access_key = slice_str(service->signing_name);
    return true;
}

static void answered(void *ctx, void *exchange, struct dispatch_answer *answer)
{
    struct world *w = ctx;
    assert_ptr_equal(exchange, w);
    w->answers++;
    w->status = answer->http_status;
    w->content_type = answer->content_type;
    w->error_name = answer->error_name;
    w->operation = answer->operation;
    memcpy(w->request_id, answer->request_id, sizeof w->request_id);
    memcpy(w->id_2, answer->id_2, sizeof w->id_2);
    struct bytebuf body = *answer->body; /* taken over, as the HTTP side does */
    *answer->body = (struct bytebuf){.limit = 0};
    assert_true(body.len < sizeof w->body);
    if (body.len)
        memcpy(w->body, body.ptr, body.len);
    w->body[w->body_len = body.len] = 0;
    bytebuf_deinit(&body);
}

static void world_init(struct world *w, size_t arena_limit)
{
    memset(w, 0, sizeof *w);
    arena_init(&w->arena, 4096, arena_limit);
    const struct dispatch_options options = {
        .services = services, .ctx = w, .random = random_fill, .authenticate = authenticate, .answered = answered};
    dispatch_init(&w->dispatch, &options);
}

static void send(struct world *w, const char *method, const char *content_type, const char *target, const char *body)
{
    w->answers = 0;
    const struct dispatch_request rq = {
        .method = slice_str(method),
        .content_type = slice_str(content_type),
        .amz_target = slice_str(target),
        .body = slice_str(body),
        .arena = &w->arena,
        .exchange = w,
    };
    dispatch_run(&w->dispatch, &rq);
}

static void expect(struct world *w, int status, const char *content_type, const char *error_name, const char *body)
{
    assert_int_equal(w->answers, 1);
    assert_string_equal(w->body, body);
    assert_int_equal(w->status, status);
    if (content_type)
        assert_string_equal(w->content_type, content_type);
    else
        assert_null(w->content_type);
    if (error_name)
        assert_string_equal(w->error_name, error_name);
    else
        assert_null(w->error_name);
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

#define GET "Kinesis_20131202.GetRecords"
#define XML_DENIED                                                                       \
    "<AccessDeniedException>\n"                                                          \
    "  <Message>Unable to determine service/operation name to be authorized</Message>\n" \
    "</AccessDeniedException>\n"
#define XML_UNKNOWN  "<UnknownOperationException/>\n"
#define UNKNOWN      "{\"__type\":\"UnknownOperationException\"}"
#define SERIAL       "{\"__type\":\"SerializationException\"}"
#define CBOR_UNKNOWN "\xbf\x66__type\x78\x19UnknownOperationException\xff"
#define CBOR_SERIAL  "\xbf\x66__type\x76SerializationException\xff"

static void protocol_errors_are_those_of_aws(void **state)
{
    static const struct {
        const char *method, *content_type, *target, *body;
        int status;
        const char *answer_type, *error, *answer;
    } cases[] = {
        {"GET", JSON, GET, "{}", 403, NULL, "AccessDeniedException", XML_DENIED},
        {"PUT", NULL, NULL, "", 403, NULL, "AccessDeniedException", XML_DENIED},
        {"POST", NULL, NULL, "{}", 403, NULL, "AccessDeniedException", XML_DENIED},
        {"POST", "application/x-amz-json-1.0", NULL, "{}", 403, NULL, "AccessDeniedException", XML_DENIED},
        {"POST", NULL, "Kinesis_20131202", "{}", 403, NULL, "AccessDeniedException", XML_DENIED},
        {"POST", NULL, GET, "{}", 404, NULL, "UnknownOperationException", XML_UNKNOWN},
        {"POST", "text/plain", "a.b", "{}", 404, NULL, "UnknownOperationException", XML_UNKNOWN},
        {"POST", CBOR, GET, "\xbf\xff", 404, NULL, "UnknownOperationException", XML_UNKNOWN},
        {"POST", JSON, NULL, "", 400, JSON, "UnknownOperationException", UNKNOWN},
        {"POST", JSON, GET, "", 400, JSON, "SerializationException", SERIAL},
        {"POST", NULL, NULL, "", 400, CBOR, "UnknownOperationException", CBOR_UNKNOWN},
        {"POST", CBOR, GET, "", 400, CBOR, "SerializationException", CBOR_SERIAL},
        {"POST", JSON, GET, "hello", 400, JSON, "SerializationException", SERIAL},
        {"POST", JSON, GET, "5", 400, JSON, "SerializationException", SERIAL},
        {"POST", JSON, GET, "{", 400, JSON, "SerializationException", SERIAL},
        {"POST", JSON, NULL, "hello", 400, JSON, "SerializationException", SERIAL},
        {"POST", JSON, NULL, "{}", 400, JSON, "UnknownOperationException", UNKNOWN},
        {"POST", JSON, "Kinesis_20131202.GetRecord", "{}", 400, JSON, "UnknownOperationException", UNKNOWN},
        {"POST", JSON, "Kinesis_20131202.getRecords", "{}", 400, JSON, "UnknownOperationException", UNKNOWN},
        {"POST", JSON, "Kinesis.GetRecords", "{}", 400, JSON, "UnknownOperationException", UNKNOWN},
        {"POST", JSON, "Firehose_20150804.PutRecords", "{}", 400, JSON, "UnknownOperationException", UNKNOWN},
        {"POST", "application/json", GET, "{}", 404, "application/json", "UnknownOperationException",
         "{\"Output\":{\"__type\":\"com.amazon.coral.service#UnknownOperationException\"},\"Version\":\"1.0\"}"},
        {"POST", "application/json", GET, "hello", 400, "application/json", "SerializationException",
         "{\"Output\":{\"__type\":\"com.amazon.coral.service#SerializationException\"},\"Version\":\"1.0\"}"},
        {"POST", JSON, GET, "{\"Limit\":\"5\"}", 400, JSON, "SerializationException",
         "{\"__type\":\"SerializationException\",\"Message\":\"class java.lang.String can not be converted to an "
         "Integer\"}"},
        {"POST", JSON, GET, "{}", 400, JSON, "ValidationException",
         "{\"__type\":\"ValidationException\",\"message\":\"1 validation error detected: Value null at 'shardIterator' "
         "failed to satisfy constraint: Member must not be null\"}"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct world w;
        world_init(&w, 1 << 20);
        send(&w, cases[i].method, cases[i].content_type, cases[i].target, cases[i].body);
        expect(&w, cases[i].status, cases[i].answer_type, cases[i].error, cases[i].answer);
        assert_null(w.pending);
        arena_deinit(&w.arena);
    }
}

static void an_operation_gets_its_input_and_answers(void **state)
{
    struct world w;
    world_init(&w, 1 << 20);
    send(&w, "POST", JSON, GET, "{\"ShardIterator\":\"a\",\"Limit\":7}");
    expect(&w, 200, JSON, NULL, "{\"Limit\":7,\"ShardIterator\":\"kinesis\"}");
    assert_ptr_equal(w.operation, &operations[0]);
    send(&w, "POST", "application/x-amz-json-1.1 ; charset=utf-8", GET, "{\"ShardIterator\":\"a\"}");
    expect(&w, 200, JSON, NULL, "{\"ShardIterator\":\"kinesis\"}");
    send(&w, "POST", JSON, "Firehose_20150804.GetRecords", "{}");
    expect(&w, 200, JSON, NULL, ""); /* no output: an empty body */
    arena_deinit(&w.arena);
}

static void handlers_fail_with_the_table_s_status_and_member(void **state)
{
    struct world w;
    world_init(&w, 1 << 20);
    send(&w, "POST", JSON, GET, "{\"ShardIterator\":\"expired\"}");
    expect(&w, 400, JSON, "ExpiredIteratorException",
           "{\"__type\":\"ExpiredIteratorException\",\"message\":\"Iterator expired has expired.\"}");
    assert_ptr_equal(w.operation, &operations[0]);
    send(&w, "POST", JSON, GET, "{\"ShardIterator\":\"bug\"}");
    expect(&w, 500, JSON, "InternalFailure", "{\"__type\":\"InternalFailure\"}");
    arena_deinit(&w.arena);
}

static void a_call_may_be_answered_later(void **state)
{
    struct world w;
    world_init(&w, 1 << 20);
    send(&w, "POST", JSON, "Kinesis_20131202.Later", "{}");
    assert_int_equal(w.answers, 0);
    struct everything out = {.text = SLICE_LIT("done")};
    call_reply(w.pending, &out);
    expect(&w, 200, JSON, NULL, "{\"Text\":\"done\"}");
    arena_deinit(&w.arena);
}

static void credentials_are_refused_before_types_but_after_syntax(void **state)
{
    struct world w;
    world_init(&w, 1 << 20);
    w.deny = true;
    send(&w, "POST", JSON, GET, "{\"Limit\":\"5\"}");
    expect(&w, 400, JSON, "MissingAuthenticationTokenException",
           "{\"__type\":\"MissingAuthenticationTokenException\",\"message\":\"Missing Authentication Token\"}");
    send(&w, "POST", JSON, GET, "{");
    expect(&w, 400, JSON, "SerializationException", SERIAL);
    send(&w, "POST", JSON, "Kinesis_20131202.Nothing", "{}");
    expect(&w, 400, JSON, "UnknownOperationException", UNKNOWN);
    arena_deinit(&w.arena);
}

static void an_answer_over_the_limit_is_an_internal_failure(void **state)
{
    struct world w;
    world_init(&w, 1 << 20);
    w.dispatch.options.answer_bytes_max = 60;
    send(&w, "POST", JSON, "Kinesis_20131202.Later", "{}");
    struct everything out = {.text = SLICE_LIT("a text that has no room within sixty bytes of answer, not at all")};
    call_reply(w.pending, &out);
    expect(&w, 500, JSON, "InternalFailure", "{\"__type\":\"InternalFailure\"}");
    arena_deinit(&w.arena);
}

static void a_request_over_its_memory_is_too_large(void **state)
{
    struct world w;
    world_init(&w, 512);
    send(&w, "POST", JSON, "Kinesis_20131202.PutRecords",
         "{\"Records\":[{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]}");
    assert_int_equal(w.status, 413);
    assert_string_equal(w.error_name, "RequestEntityTooLargeException");
    arena_deinit(&w.arena);
    world_init(&w, 16);
    send(&w, "POST", JSON, GET, "{}");
    assert_int_equal(w.status, 503);
    arena_deinit(&w.arena);
}

static void ids_look_like_those_of_aws(void **state)
{
    struct world w;
    uint8_t bytes[128];
    size_t len;
    char first[DISPATCH_REQUEST_ID_MAX];
    world_init(&w, 1 << 20);
    send(&w, "POST", JSON, GET, "{}");
    assert_string_equal(w.request_id, "00010203-0405-4607-8809-0a0b0c0d0e0f");
    assert_int_equal(base64_decode(slice_str(w.id_2), bytes, &len, NULL), BASE64_OK);
    assert_in_range(len, 64, 80);
    memcpy(first, w.request_id, sizeof first);
    send(&w, "GET", JSON, GET, "{}");
    assert_string_not_equal(w.request_id, first);
    arena_deinit(&w.arena);
}

static void errors_are_found_by_name(void **state)
{
    assert_int_equal(aws_error_find(SLICE_LIT("ResourceInUseException")), AWS_RESOURCE_IN_USE);
    assert_int_equal(aws_error_find(SLICE_LIT("com.amazonaws.kinesis.v20131202#ExpiredIteratorException")),
                     AWS_EXPIRED_ITERATOR);
    assert_int_equal(aws_error_find(SLICE_LIT("Nothing")), AWS_ERROR_COUNT);
    assert_string_equal(aws_error_info(AWS_SERIALIZATION)->message_member, "Message");
    assert_int_equal(aws_error_info(AWS_SERVICE_UNAVAILABLE)->http_status, 503);
    for (unsigned i = 0; i < AWS_ERROR_COUNT; i++)
        assert_int_equal(aws_error_find(slice_str(aws_error_info((enum aws_error)i)->name)), i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protocol_errors_are_those_of_aws),
        cmocka_unit_test(an_operation_gets_its_input_and_answers),
        cmocka_unit_test(handlers_fail_with_the_table_s_status_and_member),
        cmocka_unit_test(a_call_may_be_answered_later),
        cmocka_unit_test(credentials_are_refused_before_types_but_after_syntax),
        cmocka_unit_test(an_answer_over_the_limit_is_an_internal_failure),
        cmocka_unit_test(a_request_over_its_memory_is_too_large),
        cmocka_unit_test(ids_look_like_those_of_aws),
        cmocka_unit_test(errors_are_found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
