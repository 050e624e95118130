/*
 * The rules up to the operation, in the order in which AWS applies them (kinesalite's tests recorded it): method, body
 * present, content type, JSON, operation, credentials, types, constraints. To parse only once, the body is decoded after
 * the credentials have been checked; only where an earlier error would hide malformed JSON is it checked separately.
 *
 *   not POST                                    403 XML AccessDeniedException
 *   no body                                     400 SerializationException or UnknownOperationException, without a text;
 *                                               as CBOR unless the content type is application/x-amz-json-1.1
 *   other content type, no or malformed target  403 XML AccessDeniedException
 *   other content type                          404 XML UnknownOperationException
 *   application/json                            wrapped in {"Output":...,"Version":"1.0"}: never gets any further
 *   malformed JSON                              400 SerializationException without a text
 *   unknown operation                           400 UnknownOperationException without a text
 */
#include "common/wire/dispatch.h"

#include <stdio.h>

#include "common/base/check.h"
#include "common/wire/base64.h"
#include "common/wire/json_read.h"
#include "common/wire/json_write.h"

#define ANSWER_BYTES_DEFAULT (32u << 20)
#define ID_2_BYTES           72

static const char content_json[] = "application/x-amz-json-1.1";
static const char content_plain_json[] = "application/json";
static const char content_cbor[] = "application/x-amz-cbor-1.1";

void dispatch_init(struct dispatch *d, const struct dispatch_options *options)
{
    CHECK(options->services && options->random && options->answered);
    *d = (struct dispatch){.options = *options};
    if (!d->options.answer_bytes_max)
        d->options.answer_bytes_max = ANSWER_BYTES_DEFAULT;
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

/* Random ids: a version 4 UUID, and base64 as AWS's x-amz-id-2 looks. */
static void ids_make(const struct dispatch *d, struct dispatch_answer *answer)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t bytes[16 + ID_2_BYTES];
    void (*fill)(void *ctx, void *out, size_t len) = d->options.random;
    fill(d->options.ctx, bytes, sizeof bytes);
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    char *to = answer->request_id;
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = hex[bytes[i] >> 4];
        *to++ = hex[bytes[i] & 15];
    }
    *to = 0;
    _Static_assert((ID_2_BYTES + 2) / 3 * 4 < DISPATCH_ID_2_MAX, "x-amz-id-2 fits");
    base64_encode(slice_of(bytes + 16, ID_2_BYTES), answer->id_2);
    answer->id_2[base64_encoded_len(ID_2_BYTES)] = 0;
}

/* `body` is freed here if the receiver has not moved it out. */
static void answer_send(const struct dispatch *d, void *exchange, const struct operation *operation, int http_status,
                        const char *content_type, const char *error_name, struct bytebuf *body)
{
    struct dispatch_answer answer = {
        .http_status = http_status,
        .content_type = content_type,
        .body = body,
        .error_name = error_name,
        .operation = operation,
    };
    ids_make(d, &answer);
    d->options.answered(d->options.ctx, exchange, &answer);
    bytebuf_deinit(body);
}

/* {"__type":"...","message":"..."}; a message with ptr NULL is left out. */
static void json_error(const struct dispatch *d, void *exchange, const struct operation *operation,
                       enum aws_error error, struct slice message)
{
    const struct aws_error_info *info = aws_error_info(error);
    struct bytebuf body;
    struct json_writer w;
    bytebuf_init(&body, d->options.answer_bytes_max);
    json_writer_init(&w, &body);
    json_write_object(&w);
    json_write_name(&w, "__type");
    json_write_str(&w, info->name);
    if (message.ptr) {
        json_write_name(&w, info->message_member);
        json_write_string(&w, message);
    }
    json_write_object_end(&w);
    if (bytebuf_failed(&body)) /* no memory: the status alone must do */
        bytebuf_reset(&body);
    answer_send(d, exchange, operation, info->http_status, content_json, info->name, &body);
}

/* What AWS answers to application/json. */
static void wrapped_error(const struct dispatch *d, void *exchange, enum aws_error error, int http_status)
{
    const char *name = aws_error_info(error)->name;
    struct bytebuf body;
    bytebuf_init(&body, d->options.answer_bytes_max);
    bytebuf_printf(&body, "{\"Output\":{\"__type\":\"com.amazon.coral.service#%s\"},\"Version\":\"1.0\"}", name);
    answer_send(d, exchange, NULL, http_status, content_plain_json, name, &body);
}

static void xml_access_denied(const struct dispatch *d, void *exchange)
{
    struct bytebuf body;
    bytebuf_init(&body, d->options.answer_bytes_max);
    bytebuf_str(&body, "<AccessDeniedException>\n"
                       "  <Message>Unable to determine service/operation name to be authorized</Message>\n"
                       "</AccessDeniedException>\n");
    answer_send(d, exchange, NULL, 403, NULL, aws_error_info(AWS_ACCESS_DENIED)->name, &body);
}

static void xml_unknown_operation(const struct dispatch *d, void *exchange)
{
    struct bytebuf body;
    bytebuf_init(&body, d->options.answer_bytes_max);
    bytebuf_str(&body, "<UnknownOperationException/>\n");
    answer_send(d, exchange, NULL, 404, NULL, aws_error_info(AWS_UNKNOWN_OPERATION)->name, &body);
}

/* {"__type": name} as CBOR: a map of indefinite length, as AWS writes them, with two texts. */
static void cbor_error(const struct dispatch *d, void *exchange, enum aws_error error)
{
    const char *name = aws_error_info(error)->name;
    size_t len = strlen(name);
    struct bytebuf body;
    bytebuf_init(&body, d->options.answer_bytes_max);
    bytebuf_str(&body, "\xbf\x66__type");
    if (len < 24) {
        bytebuf_byte(&body, (uint8_t)(0x60 | len));
    } else {
        bytebuf_byte(&body, 0x78);
        bytebuf_byte(&body, (uint8_t)len);
    }
    bytebuf_str(&body, name);
    bytebuf_byte(&body, 0xff);
    answer_send(d, exchange, NULL, 400, content_cbor, name, &body);
}

void call_reply(struct call *call, const void *output)
{
    const struct dispatch *d = call->dispatch;
    struct bytebuf body;
    bytebuf_init(&body, d->options.answer_bytes_max);
    if (call->operation->output)
        shape_encode_json(call->operation->output, output, &body);
    call_reply_body(call, &body);
}

void call_reply_body(struct call *call, struct bytebuf *body)
{
    if (bytebuf_failed(body)) {
        bytebuf_deinit(body);
        call_fail_text(call, AWS_INTERNAL_FAILURE, SLICE_NULL);
        return;
    }
    answer_send(call->dispatch, call->exchange, call->operation, 200, content_json, NULL, body);
}

void call_fail_text(struct call *call, enum aws_error error, struct slice message)
{
    json_error(call->dispatch, call->exchange, call->operation, error, message);
}

void call_fail(struct call *call, enum aws_error error, const char *fmt, ...)
{
    struct bytebuf text;
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    bytebuf_init(&text, call->dispatch->options.answer_bytes_max);
    uint8_t *to = n < 0 ? NULL : bytebuf_reserve(&text, (size_t)n + 1);
    if (to) {
        vsnprintf((char *)to, (size_t)n + 1, fmt, again);
        bytebuf_advance(&text, (size_t)n);
    }
    va_end(again);
    call_fail_text(call, error, bytebuf_view(&text));
    bytebuf_deinit(&text);
}

/* ---- from a request to a call ----------------------------------------------------------------------------------- */

/* The media type without parameters: "application/json; charset=utf-8" -> "application/json". */
static struct slice media_type(struct slice content_type)
{
    return slice_trim(slice_first(content_type, slice_find(content_type, ';')));
}

/* "Kinesis_20131202.PutRecord"; what follows a second dot is ignored, as AWS does. */
static void target_split(struct slice target, struct slice *out_service, struct slice *out_operation)
{
    size_t dot = slice_find(target, '.');
    *out_service = slice_first(target, dot);
    *out_operation = slice_from(target, dot + 1);
    out_operation->len = slice_find(*out_operation, '.');
}

static const struct operation *operation_find(const struct dispatch *d, struct slice service_name,
                                              struct slice operation_name, const struct service **out_service)
{
    for (const struct service *const *s = d->options.services; *s; s++) {
        if (!slice_eq_str(service_name, (*s)->target_prefix))
            continue;
        *out_service = *s;
        for (uint32_t i = 0; i < (*s)->operation_count; i++)
            if (slice_eq_str(operation_name, (*s)->operations[i].name))
                return &(*s)->operations[i];
    }
    return NULL;
}

/* Well-formed, and an object (or an array: AWS sees later that it is none). */
static bool body_is_json(struct slice body)
{
    struct json_reader r;
    json_reader_init(&r, body, NULL);
    enum json_token token = json_next(&r);
    return (token == JSON_OBJECT || token == JSON_ARRAY) && json_check(body) == 0;
}

/* Everything before the content type counts. True: answered. */
static bool refuse_without_body(const struct dispatch *d, const struct dispatch_request *rq, bool known)
{
    if (!slice_eq_str(rq->method, "POST")) {
        xml_access_denied(d, rq->exchange);
        return true;
    }
    if (rq->body.len)
        return false;
    enum aws_error error = known ? AWS_SERIALIZATION : AWS_UNKNOWN_OPERATION;
    if (slice_eq_nocase(media_type(rq->content_type), SLICE_LIT("application/x-amz-json-1.1")))
        json_error(d, rq->exchange, NULL, error, SLICE_NULL);
    else
        cbor_error(d, rq->exchange, error);
    return true;
}

/* True: answered. */
static bool refuse_content_type(const struct dispatch *d, const struct dispatch_request *rq, bool has_target)
{
    struct slice type = media_type(rq->content_type);
    if (slice_eq_nocase(type, SLICE_LIT("application/x-amz-json-1.1")))
        return false;
    if (slice_eq_nocase(type, SLICE_LIT("application/json"))) {
        bool json = body_is_json(rq->body);
        wrapped_error(d, rq->exchange, json ? AWS_UNKNOWN_OPERATION : AWS_SERIALIZATION, json ? 404 : 400);
    } else if (has_target) {
        xml_unknown_operation(d, rq->exchange);
    } else {
        xml_access_denied(d, rq->exchange);
    }
    return true;
}

/* Decodes and validates call->input. False: answered. */
static bool input_read(struct call *call, struct slice body)
{
    struct shape_decoder decoder = {.arena = call->arena};
    const struct shape *shape = call->operation->input;
    int status = shape_decode_json(&decoder, shape, body, &call->input);
    if (status == ST_SYNTAX || status == ST_LIMIT || status == ST_INVALID) {
        call_fail_text(call, AWS_SERIALIZATION, decoder.message);
        return false;
    }
    if (status == 0)
        status = shape_validate(&decoder, shape, call->input);
    if (status == ST_INVALID)
        call_fail_text(call, AWS_VALIDATION, decoder.message);
    else if (status < 0)
        call_fail(call, AWS_REQUEST_TOO_LARGE, "The request needs more memory than one request may use.");
    return status == 0;
}

void dispatch_run(const struct dispatch *d, const struct dispatch_request *rq)
{
    struct slice service_name, operation_name, access_key = SLICE_NULL;
    const struct service *service = NULL;
    target_split(rq->amz_target, &service_name, &operation_name);
    const struct operation *operation = operation_find(d, service_name, operation_name, &service);
    if (refuse_without_body(d, rq, operation != NULL) ||
        refuse_content_type(d, rq, service_name.len && operation_name.len))
        return;
    if (!operation) {
        enum aws_error error = body_is_json(rq->body) ? AWS_UNKNOWN_OPERATION : AWS_SERIALIZATION;
        json_error(d, rq->exchange, NULL, error, SLICE_NULL);
        return;
    }
    struct dispatch_denial denial = {.error = AWS_ACCESS_DENIED};
    if (d->options.authenticate &&
        !d->options.authenticate(d->options.ctx, rq->exchange, service, &access_key, &denial)) {
        if (body_is_json(rq->body))
            json_error(d, rq->exchange, operation, denial.error, denial.message);
        else
            json_error(d, rq->exchange, operation, AWS_SERIALIZATION, SLICE_NULL);
        return;
    }
    struct call *call = arena_alloc(rq->arena, sizeof *call);
    if (!call) {
        json_error(d, rq->exchange, operation, AWS_SERVICE_UNAVAILABLE, SLICE_NULL);
        return;
    }
    *call = (struct call){
        .service = service,
        .operation = operation,
        .encoding = DISPATCH_JSON,
        .arena = rq->arena,
        .ctx = d->options.ctx,
        .access_key = access_key,
        .dispatch = d,
        .exchange = rq->exchange,
    };
    if (input_read(call, rq->body))
        operation->run(call);
}
