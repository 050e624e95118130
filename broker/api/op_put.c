/*
 * PutRecord and PutRecords. Checks come in AWS's order: the stream, explicit hash keys, sizes, the sequence number for
 * ordering; what is left goes through put.h. Each loop.
 */
#include "broker/api/kinesis_shapes.h"
#include "broker/api/put.h"

#define RATE_TEXT "Rate exceeded for shard %s in stream %s under account %s."

/* The stream, if it takes records now. */
static struct registry_stream *writable(struct call *call, struct slice name, struct slice arn)
{
    struct registry_stream *s = api_named_stream(call, name, arn);
    if (s && s->row.status != STREAM_ACTIVE && s->row.status != STREAM_UPDATING) {
        api_fail_no_stream(call, s->name);
        return NULL;
    }
    return s;
}

/* Fails the call unless the text is a hash key below 2^128. */
static bool explicit_hash(struct call *call, struct slice text, struct put_item *item)
{
    if (!text.ptr)
        return true;
    item->explicit_hash = true;
    if (hash_key_parse(text, &item->hash) >= 0)
        return true;
    call_fail(call, AWS_INVALID_ARGUMENT,
              "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was %.*s",
              SLICE_FMT(text));
    return false;
}

/* Data and partition key together stay within the stream's record size. `i` < 0: the one record of PutRecord. */
static bool size_allowed(struct call *call, const struct registry_stream *s, const struct put_item *item, int i)
{
    if (item->data.len + item->key.len <= s->row.record_bytes_max)
        return true;
    char at[48] = "data";
    if (i >= 0)
        snprintf(at, sizeof(at), "records.%d.member.data", i + 1);
    call_fail(call, AWS_VALIDATION,
              "1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less "
              "than or equal to %u",
              at, s->row.record_bytes_max);
    return false;
}

static bool ordering_allowed(struct call *call, const struct registry_stream *s, struct slice text)
{
    struct api_loop *l = call->ctx;
    struct seqnum n;
    uint32_t version;
    if (!text.ptr)
        return true;
    if (seqnum_parse(text, &n, &version) >= 0 && (version != 2 || n.arrival.ms <= loop_wall(l->io).ms))
        return true;
    call_fail(call, AWS_INVALID_ARGUMENT,
              "ExclusiveMinimumSequenceNumber %.*s used in PutRecord on stream %s under account %s is invalid.",
              SLICE_FMT(text), s->row.name, l->api->account);
    return false;
}

static void start(struct call *call, struct put_batch *b)
{
    if (put_start(b) < 0)
        call_fail(call, AWS_SERVICE_UNAVAILABLE, "The request needs more memory than a request may have.");
}

/* ---- PutRecord ------------------------------------------------------------------------------------------------------ */

static void put_record_done(struct put_batch *b)
{
    struct call *call = b->user;
    struct slice number;
    int status = put_result(b, 0, &number);
    const struct registry_shard *shard = b->item[0].shard;
    if (status >= 0) {
        const struct put_record_output out = {.shard_id = slice_str(shard->id), .sequence_number = number};
        call_reply(call, &out);
    } else if (put_throttled(status)) {
        call_fail(call, AWS_PROVISIONED_THROUGHPUT_EXCEEDED, RATE_TEXT, shard->id, b->stream->row.name,
                  b->loop->api->account);
    } else {
        api_fail_status(call, status, "put");
    }
    put_end(b);
}

void op_put_record(struct call *call)
{
    const struct put_record_input *in = call->input;
    struct registry_stream *s = writable(call, in->stream_name, in->stream_arn);
    if (!s)
        return;
    struct put_batch *b = arena_zalloc(call->arena, sizeof(*b));
    struct put_item *item = arena_zalloc(call->arena, sizeof(*item));
    if (!b || !item) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, "The request needs more memory than a request may have.");
        return;
    }
    item->key = in->partition_key;
    item->data = in->data;
    if (!explicit_hash(call, in->explicit_hash_key, item) ||
        !ordering_allowed(call, s, in->sequence_number_for_ordering) || !size_allowed(call, s, item, -1))
        return;
    *b = (struct put_batch){.done = put_record_done,
                            .loop = call->ctx,
                            .stream = s,
                            .arena = call->arena,
                            .item = item,
                            .count = 1,
                            .user = call};
    start(call, b);
}

/* ---- PutRecords ----------------------------------------------------------------------------------------------------- */

static void fill_failure(struct put_batch *b, const struct put_item *item, int status, struct put_records_result *out)
{
    if (!put_throttled(status)) {
        out->error_code = SLICE_LIT("InternalFailure");
        out->error_message = SLICE_LIT("Internal service failure.");
        return;
    }
    out->error_code = SLICE_LIT("ProvisionedThroughputExceededException");
    out->error_message = arena_printf(b->arena, RATE_TEXT, item->shard->id, b->stream->row.name, b->loop->api->account);
}

static void put_records_done(struct put_batch *b)
{
    struct call *call = b->user;
    struct put_records_output out = {.failed = OPT_INT(0)};
    out.records.items = arena_zalloc(b->arena, b->count * sizeof(out.records.items[0]));
    char(*numbers)[SEQNUM_DIGITS] = arena_alloc(b->arena, b->count * sizeof(*numbers));
    if (!out.records.items || !numbers) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, "The request needs more memory than a request may have.");
        put_end(b);
        return;
    }
    out.records.count = b->count;
    for (uint32_t i = 0; i < b->count; i++) {
        struct put_records_result *r = &out.records.items[i];
        struct slice number;
        int status = put_result(b, i, &number);
        if (status < 0) {
            fill_failure(b, &b->item[i], status, r);
            out.failed.value++;
            continue;
        }
        memcpy(numbers[i], number.ptr, SEQNUM_DIGITS);
        r->sequence_number = slice_of(numbers[i], SEQNUM_DIGITS);
        r->shard_id = slice_of(b->item[i].shard->id, SHARD_ID_LEN);
    }
    call_reply(call, &out);
    put_end(b);
}

static bool fill_items(struct call *call, const struct registry_stream *s, const struct put_records_input *in,
                       struct put_item *items)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < in->records.count; i++) {
        const struct put_records_entry *e = &in->records.items[i];
        items[i].key = e->partition_key;
        items[i].data = e->data;
        total += e->partition_key.len + e->data.len;
        if (!explicit_hash(call, e->explicit_hash_key, &items[i]) || !size_allowed(call, s, &items[i], (int)i))
            return false;
    }
    if (total <= API_REQUEST_BYTES_MAX)
        return true;
    call_fail(call, AWS_INVALID_ARGUMENT, "Records size exceeds 10 MB limit");
    return false;
}

void op_put_records(struct call *call)
{
    const struct put_records_input *in = call->input;
    struct registry_stream *s = writable(call, in->stream_name, in->stream_arn);
    if (!s)
        return;
    struct put_batch *b = arena_zalloc(call->arena, sizeof(*b));
    struct put_item *items = arena_zalloc(call->arena, in->records.count * sizeof(*items));
    if (!b || !items) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, "The request needs more memory than a request may have.");
        return;
    }
    if (!fill_items(call, s, in, items))
        return;
    *b = (struct put_batch){.done = put_records_done,
                            .loop = call->ctx,
                            .stream = s,
                            .arena = call->arena,
                            .item = items,
                            .count = in->records.count,
                            .user = call};
    start(call, b);
}
