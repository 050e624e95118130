/*
 * CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams. The first two go through
 * stream_change.c and are answered when every loop knows; the others read the loop's own registry. Each loop.
 */
#include "broker/api/kinesis_shapes.h"
#include "broker/api/shard_list.h"

#define ON_DEMAND_SHARDS     4u
#define LIST_DEFAULT         100u
#define RETENTION_MS_DEFAULT (24ll * 3600 * 1000)

#define NO_MEMORY_TEXT "The answer needs more memory than a request may have."

/* ---- what descriptions share ---------------------------------------------------------------------------------------- */

static int status_out(const struct registry_stream *s)
{
    switch (s->row.status) {
    case STREAM_CREATING:
        return KINESIS_CREATING;
    case STREAM_UPDATING:
        return KINESIS_UPDATING;
    case STREAM_DELETING:
        return KINESIS_DELETING;
    default:
        return KINESIS_ACTIVE;
    }
}

static struct mode_details *mode_out(const struct registry_stream *s)
{
    static struct mode_details provisioned = {KINESIS_PROVISIONED}, on_demand = {KINESIS_ON_DEMAND};
    return s->row.mode == STREAM_ON_DEMAND ? &on_demand : &provisioned;
}

static struct slice arn_out(struct call *call, const struct registry_stream *s)
{
    const struct api *api = ((struct api_loop *)call->ctx)->api;
    char text[STREAM_ARN_TEXT_MAX];
    uint32_t len = stream_arn_format(api->region, api->account, s->name, text);
    return arena_copy(call->arena, slice_of(text, len));
}

static struct opt_int hours_out(const struct registry_stream *s)
{
    int64_t hours = (s->row.retention_ms + 3599999) / 3600000;
    return OPT_INT(hours > INT32_MAX ? INT32_MAX : (int32_t)hours);
}

static struct enhanced_metrics_out no_monitoring = {{NULL, 0}};

/* ---- CreateStream --------------------------------------------------------------------------------------------------- */

static void create_done(struct api_change *c)
{
    struct call *call = c->private;
    struct api_loop *l = call->ctx;
    const struct api *api = l->api;
    if (c->status >= 0) {
        call_reply(call, NULL);
    } else if (c->status == ST_EXISTS) {
        call_fail(call, AWS_RESOURCE_IN_USE, "Stream %s under account %s already exists.", c->stream.name,
                  api->account);
    } else if (c->status == ST_LIMIT) {
        call_fail(call, AWS_LIMIT_EXCEEDED,
                  "This request would exceed the shard limit for the account %s in %s. Current shard count for the "
                  "account: %u. Limit: %u. Number of additional shards that would have resulted from this request: "
                  "%u. Refer to the AWS Service Limits page "
                  "(http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how "
                  "to request higher limits.",
                  api->account, api->region, l->registry.shard_count, api->options.shards_max, c->shard_count);
    } else {
        api_fail_status(call, c->status, c->err.text);
    }
}

void op_create_stream(struct call *call)
{
    const struct create_stream_input *in = call->input;
    struct api_loop *l = call->ctx;
    bool on_demand = in->mode_details && in->mode_details->mode == KINESIS_ON_DEMAND;
    if (!on_demand && !in->shard_count.set) {
        call_fail(call, AWS_VALIDATION,
                  "1 validation error detected: Value null at 'shardCount' failed to satisfy constraint: Member must "
                  "not be null");
        return;
    }
    struct api_change *c = arena_zalloc(call->arena, sizeof(*c));
    if (!c) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, NO_MEMORY_TEXT);
        return;
    }
    c->done = create_done;
    c->private = call;
    c->shard_count = on_demand ? ON_DEMAND_SHARDS : (uint32_t)in->shard_count.value;
    memcpy(c->stream.name, in->stream_name.ptr, in->stream_name.len); /* at most 128: validated */
    c->stream.mode = on_demand ? STREAM_ON_DEMAND : STREAM_PROVISIONED;
    c->stream.retention_ms = RETENTION_MS_DEFAULT;
    c->stream.retention_bytes = UINT64_MAX;
    c->stream.record_bytes_max =
        in->record_kib_max.set ? (uint32_t)in->record_kib_max.value * 1024 : API_RECORD_BYTES_DEFAULT;
    api_stream_create(l, c);
}

/* ---- DeleteStream --------------------------------------------------------------------------------------------------- */

static void delete_done(struct api_change *c)
{
    struct call *call = c->private;
    const struct api *api = ((struct api_loop *)call->ctx)->api;
    if (c->status >= 0)
        call_reply(call, NULL);
    else if (c->status == ST_NOT_FOUND)
        api_fail_no_stream(call, slice_str(c->stream.name));
    else if (c->status == ST_CONFLICT)
        call_fail(call, AWS_RESOURCE_IN_USE, "Stream %s under account %s not ACTIVE, instead in state DELETING",
                  c->stream.name, api->account);
    else
        api_fail_status(call, c->status, c->err.text);
}

void op_delete_stream(struct call *call)
{
    const struct delete_stream_input *in = call->input;
    struct registry_stream *s = api_named_stream(call, in->stream_name, in->stream_arn);
    if (!s)
        return;
    struct api_change *c = arena_zalloc(call->arena, sizeof(*c));
    if (!c) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, NO_MEMORY_TEXT);
        return;
    }
    c->done = delete_done;
    c->private = call;
    memcpy(c->stream.name, s->row.name, sizeof(c->stream.name));
    api_stream_delete(call->ctx, c);
}

/* ---- DescribeStream, DescribeStreamSummary -------------------------------------------------------------------------- */

void op_describe_stream(struct call *call)
{
    const struct describe_stream_input *in = call->input;
    struct api_loop *l = call->ctx;
    struct registry_stream *s = api_named_stream(call, in->stream_name, in->stream_arn);
    if (!s)
        return;
    uint32_t after = 0;
    if (in->exclusive_start_shard_id.ptr && shard_id_parse(in->exclusive_start_shard_id, &after) < 0) {
        call_fail(call, AWS_RESOURCE_NOT_FOUND, "Could not find shard %.*s in stream %s under account %s.",
                  SLICE_FMT(in->exclusive_start_shard_id), s->row.name, l->api->account);
        return;
    }
    uint32_t most = in->limit.set && in->limit.value < (int32_t)LIST_DEFAULT ? (uint32_t)in->limit.value : LIST_DEFAULT;
    struct shard_choice all = {.filter = KINESIS_FROM_TRIM_HORIZON, .now = loop_wall(l->io)};
    struct stream_description d = {.name = s->name, .arn = arn_out(call, s), .status = status_out(s)};
    int count = shard_list(s, &all, in->exclusive_start_shard_id.ptr ? (int64_t)after : -1, most, call->arena,
                           &d.shards.items, &d.more_shards.value);
    if (count < 0 || !d.arn.ptr) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, NO_MEMORY_TEXT);
        return;
    }
    d.shards.count = (uint32_t)count;
    d.more_shards.set = true;
    d.mode_details = mode_out(s);
    d.retention_hours = hours_out(s);
    d.created = OPT_TIME(s->row.created);
    d.monitoring.items = &no_monitoring;
    d.monitoring.count = 1;
    d.encryption = KINESIS_ENCRYPTION_NONE;
    const struct describe_stream_output out = {&d};
    call_reply(call, &out);
}

void op_describe_stream_summary(struct call *call)
{
    const struct describe_stream_summary_input *in = call->input;
    struct registry_stream *s = api_named_stream(call, in->stream_name, in->stream_arn);
    if (!s)
        return;
    struct stream_description_summary d = {
        .name = s->name,
        .arn = arn_out(call, s),
        .status = status_out(s),
        .mode_details = mode_out(s),
        .retention_hours = hours_out(s),
        .created = OPT_TIME(s->row.created),
        .monitoring = {&no_monitoring, 1},
        .encryption = KINESIS_ENCRYPTION_NONE,
        .open_shards = OPT_INT((int32_t)s->open_count),
        .consumers = OPT_INT(0),
        .record_kib_max = OPT_INT((int32_t)(s->row.record_bytes_max / 1024)),
    };
    if (!d.arn.ptr) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, NO_MEMORY_TEXT);
        return;
    }
    const struct describe_stream_summary_output out = {&d};
    call_reply(call, &out);
}

/* ---- ListStreams ---------------------------------------------------------------------------------------------------- */

/* The name after which the page starts; false: the call has been failed. */
static bool list_start(struct call *call, uint8_t room[TOKEN_PAYLOAD_MAX], struct slice *out)
{
    const struct list_streams_input *in = call->input;
    struct api_loop *l = call->ctx;
    uint32_t len;
    *out = in->exclusive_start_stream_name;
    if (!in->next_token.ptr)
        return true;
    int status = token_open(&l->api->key, TOKEN_LIST_STREAMS, loop_wall(l->io), l->api->iterator_life_ms,
                            in->next_token, room, &len, NULL);
    if (status == ST_EXPIRED)
        call_fail(call, AWS_EXPIRED_NEXT_TOKEN, "The pagination token passed to the operation is expired.");
    else if (status < 0)
        call_fail(call, AWS_INVALID_ARGUMENT, "Invalid NextToken.");
    if (status < 0)
        return false;
    *out = slice_of(room, len);
    return true;
}

static bool list_fill(struct call *call, uint32_t from, uint32_t most, struct list_streams_output *out)
{
    const struct registry *r = &((struct api_loop *)call->ctx)->registry;
    out->names.items = arena_zalloc(call->arena, most * sizeof(out->names.items[0]));
    out->summaries.items = arena_zalloc(call->arena, most * sizeof(out->summaries.items[0]));
    if (!out->names.items || !out->summaries.items)
        return false;
    out->more = OPT_BOOL(false);
    for (uint32_t i = from; i < r->count; i++) {
        struct registry_stream *s = r->by_name[i];
        if (s->row.internal)
            continue;
        if (out->names.count == most) {
            out->more.value = true;
            break;
        }
        out->summaries.items[out->summaries.count++] = (struct stream_summary){.name = s->name,
                                                                               .arn = arn_out(call, s),
                                                                               .status = status_out(s),
                                                                               .mode_details = mode_out(s),
                                                                               .created = OPT_TIME(s->row.created)};
        out->names.items[out->names.count++] = s->name;
    }
    return true;
}

void op_list_streams(struct call *call)
{
    const struct list_streams_input *in = call->input;
    struct api_loop *l = call->ctx;
    uint8_t room[TOKEN_PAYLOAD_MAX];
    char token[TOKEN_TEXT_MAX];
    struct slice after;
    if (!list_start(call, room, &after))
        return;
    uint32_t most = in->limit.set && in->limit.value < (int32_t)LIST_DEFAULT ? (uint32_t)in->limit.value : LIST_DEFAULT;
    struct list_streams_output out = {.next_token = SLICE_NULL};
    if (!list_fill(call, after.ptr ? registry_after(&l->registry, after) : 0, most, &out)) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, NO_MEMORY_TEXT);
        return;
    }
    if (out.more.value) {
        struct token_nonce nonce = api_nonce(l);
        uint32_t len = token_seal(&l->api->key, TOKEN_LIST_STREAMS, loop_wall(l->io),
                                  out.names.items[out.names.count - 1], &nonce, token);
        out.next_token = slice_of(token, len);
    }
    call_reply(call, &out);
}
