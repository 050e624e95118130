/*
 * From an HTTP request to whoever answers it:
 *
 *   X-Amz-Target                           the dispatcher, whatever the path is, as AWS does
 *   a REST path (rest.c)                   the REST ingestion
 *   what main knows (/metrics, /healthz)   main
 *   the path /                             the dispatcher, for AWS's own errors
 *   anything else                          404
 *
 * Each loop.
 */
#include <stdlib.h>

#include "broker/api/api_impl.h"
#include "broker/api/kinesis_shapes.h"
#include "broker/api/rest.h"

static const struct operation operations[] = {
    {"CreateStream", &create_stream_in, NULL, op_create_stream},
    {"DeleteStream", &delete_stream_in, NULL, op_delete_stream},
    {"DescribeStream", &describe_stream_in, &describe_stream_out, op_describe_stream},
    {"DescribeStreamSummary", &describe_stream_summary_in, &describe_stream_summary_out, op_describe_stream_summary},
    {"GetRecords", &get_records_in, NULL, op_get_records}, /* writes its own body */
    {"GetShardIterator", &get_shard_iterator_in, &get_shard_iterator_out, op_get_shard_iterator},
    {"ListShards", &list_shards_in, &list_shards_out, op_list_shards},
    {"ListStreams", &list_streams_in, &list_streams_out, op_list_streams},
    {"PutRecord", &put_record_in, &put_record_out, op_put_record},
    {"PutRecords", &put_records_in, &put_records_out, op_put_records},
};

const struct service kinesis_service = {
    .target_prefix = "Kinesis_20131202",
    .signing_name = "kinesis",
    .operations = operations,
    .operation_count = ARRAY_COUNT(operations),
};

/* ---- services ------------------------------------------------------------------------------------------------------- */

static int name_operations(struct api *api, const struct service *service)
{
    for (uint32_t i = 0; i < service->operation_count; i++) {
        if (api->operation_count == API_OPERATIONS_MAX)
            return ST_LIMIT;
        api->operation_service[api->operation_count] = service->signing_name;
        api->operation_name[api->operation_count++] = service->operations[i].name;
    }
    return 0;
}

int api_register_services(struct api *api)
{
    const struct service *const *more = api->options.services;
    uint32_t n = 1;
    while (more && more[n - 1])
        n++;
    api->services = calloc(n + 1, sizeof(*api->services));
    api->signing_names = calloc(n + 1, sizeof(*api->signing_names));
    if (!api->services || !api->signing_names)
        return -ENOMEM;
    int status = 0;
    for (uint32_t i = 0; i < n && status >= 0; i++) {
        api->services[i] = i ? more[i - 1] : &kinesis_service;
        api->signing_names[i] = api->services[i]->signing_name;
        status = name_operations(api, api->services[i]);
    }
    if (status >= 0 && api->operation_count == API_OPERATIONS_MAX)
        status = ST_LIMIT;
    if (status < 0)
        return status;
    api->rest_operation = api->operation_count;
    api->operation_service[api->operation_count] = "rest";
    api->operation_name[api->operation_count++] = "PutRecords";
    return 0;
}

/* The index of an operation in the statistics. */
static uint32_t operation_index(const struct api *api, const struct operation *op)
{
    uint32_t base = 0;
    for (uint32_t i = 0; api->services[i]; i++) {
        const struct service *s = api->services[i];
        if (op >= s->operations && op < s->operations + s->operation_count)
            return base + (uint32_t)(op - s->operations);
        base += s->operation_count;
    }
    return UINT32_MAX;
}

/* ---- counting ------------------------------------------------------------------------------------------------------- */

void api_count(struct api_loop *l, uint32_t operation, enum api_result result, struct mono_ns received)
{
    struct api_operation_stats *s = &l->stats.operation[operation];
    int64_t us = mono_diff_ns(loop_now_precise(l->io), received) / 1000;
    s->requests[result]++;
    histogram_record(&s->latency_us, us > 0 ? (uint64_t)us : 0);
}

static enum api_result result_of(const struct dispatch_answer *answer, enum aws_error error)
{
    if (!answer->error_name)
        return API_RESULT_OK;
    if (error == AWS_PROVISIONED_THROUGHPUT_EXCEEDED || error == AWS_LIMIT_EXCEEDED || error == AWS_THROTTLING)
        return API_RESULT_THROTTLED;
    return answer->http_status >= 500 ? API_RESULT_SERVER : API_RESULT_CLIENT;
}

static void count_answer(struct api_loop *l, const struct http_exchange *x, const struct dispatch_answer *answer)
{
    enum aws_error error = AWS_ERROR_COUNT;
    if (answer->error_name) {
        error = aws_error_find(slice_str(answer->error_name));
        if (error < AWS_ERROR_COUNT)
            l->stats.errors[error]++;
    }
    uint32_t index = answer->operation ? operation_index(l->api, answer->operation) : UINT32_MAX;
    if (index < API_OPERATIONS_MAX)
        api_count(l, index, result_of(answer, error), x->received);
}

/* ---- the dispatcher's transport ------------------------------------------------------------------------------------- */

static void answered(void *ctx, void *exchange, struct dispatch_answer *answer)
{
    struct api_loop *l = ctx;
    struct http_exchange *x = exchange;
    struct http_header headers[3] = {
        {SLICE_LIT("x-amzn-RequestId"), slice_str(answer->request_id)},
        {SLICE_LIT("x-amz-id-2"), slice_str(answer->id_2)},
    };
    uint32_t n = 2;
    if (answer->content_type)
        headers[n++] = (struct http_header){SLICE_LIT("Content-Type"), slice_str(answer->content_type)};
    count_answer(l, x, answer);
    struct bytebuf body = *answer->body; /* moved: the server frees it */
    bytebuf_init(answer->body, 0);
    http_respond_buf(x, answer->http_status, headers, n, &body);
}

static void random_bytes(void *ctx, void *out, size_t len)
{
    loop_random(((struct api_loop *)ctx)->io, out, len);
}

void api_loop_init_requests(struct api_loop *l)
{
    const struct dispatch_options options = {.services = l->api->services,
                                             .ctx = l,
                                             .random = random_bytes,
                                             .authenticate = api_authenticate,
                                             .answered = answered};
    api_auth_init(l);
    dispatch_init(&l->dispatch, &options);
}

static void dispatch(struct api_loop *l, struct http_exchange *x, struct slice target)
{
    const struct dispatch_request rq = {.method = x->method,
                                        .content_type = http_exchange_header(x, "content-type"),
                                        .amz_target = target,
                                        .body = x->body,
                                        .arena = x->arena,
                                        .exchange = x};
    dispatch_run(&l->dispatch, &rq);
}

void api_request(void *api_loop, struct http_exchange *x)
{
    struct api_loop *l = api_loop;
    struct slice target = http_exchange_header(x, "x-amz-target");
    if (target.ptr) {
        dispatch(l, x, target);
        return;
    }
    if (rest_request(l, x))
        return;
    if (l->api->options.other && l->api->options.other(l->api->options.ctx, l, x))
        return;
    if (slice_eq_str(x->path, "/"))
        dispatch(l, x, target);
    else
        rest_not_found(l, x);
}
