/*
 * PutRecord and PutRecordBatch: onto the delivery's intake; answered once the records are on disk. A batch is taken or
 * refused as a whole: the intake has one answer for it, so FailedPutCount is 0 or the batch's size.
 *
 * A RecordId is 56 characters: 40 random bytes of the request and the record's place in it, in base64; nothing reads it.
 */
#include "firehose/api/firehose_impl.h"

#include "common/io/loop.h"
#include "common/wire/base64.h"

#define RECORD_ID_BYTES 42u
#define RECORD_ID_CHARS 56u /* without padding: 42 is a multiple of 3 */

struct firehose_put {
    struct intake_append append;
    struct call *call;
    bool batch;
    uint32_t count;
    uint8_t random[RECORD_ID_BYTES - 2];
};

/* The delivery's intake of this loop; NULL: the call has failed. */
static struct intake *put_target(struct call *call, struct slice name)
{
    struct firehose_api_delivery d;
    if (!firehose_hooks->find(call, name, &d) || d.deleting) {
        call_fail(call, AWS_RESOURCE_NOT_FOUND, "Stream %.*s under account %s not found.", SLICE_FMT(name),
                  firehose_hooks->account);
        return NULL;
    }
    if (d.settings->source[0]) {
        call_fail(call, AWS_INVALID_ARGUMENT,
                  "This operation is not permitted on KinesisStreamAsSource delivery stream type.");
        return NULL;
    }
    if (!d.intake) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, "Slow down.");
        return NULL;
    }
    return d.intake;
}

static struct slice record_id(struct firehose_put *p, uint32_t i)
{
    uint8_t bytes[RECORD_ID_BYTES];
    char *text = arena_alloc(p->call->arena, RECORD_ID_CHARS);
    if (!text)
        return SLICE_NULL;
    memcpy(bytes, p->random, sizeof p->random);
    bytes[RECORD_ID_BYTES - 2] = (uint8_t)(i >> 8);
    bytes[RECORD_ID_BYTES - 1] = (uint8_t)i;
    base64_encode(slice_of(bytes, sizeof bytes), text);
    return slice_of(text, RECORD_ID_CHARS);
}

static void reply_batch(struct firehose_put *p)
{
    struct firehose_put_batch_output out = {.failed_put_count = OPT_INT(0), .encrypted = OPT_BOOL(false)};
    out.request_responses.items = arena_zalloc(p->call->arena, p->count * sizeof *out.request_responses.items);
    out.request_responses.count = p->count;
    for (uint32_t i = 0; i < p->count && out.request_responses.items; i++)
        out.request_responses.items[i].record_id = record_id(p, i);
    if (!out.request_responses.items || !out.request_responses.items[p->count - 1].record_id.ptr)
        call_fail(p->call, AWS_SERVICE_UNAVAILABLE, "Slow down."); /* taken, but the answer finds no memory */
    else
        call_reply(p->call, &out);
}

static void put_done(struct intake_append *a)
{
    struct firehose_put *p = CONTAINER_OF(a, struct firehose_put, append);
    if (a->status < 0) {
        call_fail(p->call, AWS_SERVICE_UNAVAILABLE, "Slow down.");
        return;
    }
    loop_random(firehose_hooks->loop(p->call), p->random, sizeof p->random);
    if (p->batch) {
        reply_batch(p);
        return;
    }
    struct firehose_put_record_output out = {.record_id = record_id(p, 0), .encrypted = OPT_BOOL(false)};
    call_reply(p->call, &out);
}

static void put_records(struct call *call, struct intake *intake, const struct firehose_record *records, uint32_t count,
                        bool batch)
{
    struct firehose_put *p = arena_zalloc(call->arena, sizeof *p);
    struct block_record *r = arena_alloc(call->arena, count * sizeof *r);
    if (!p || !r) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, "Slow down.");
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        r[i] = (struct block_record){SLICE_NULL, records[i].data};
    p->call = call;
    p->batch = batch;
    p->count = count;
    p->append.done = put_done;
    if (intake->append(intake, r, count, &p->append) < 0)
        call_fail(call, AWS_SERVICE_UNAVAILABLE, "Slow down.");
}

void op_firehose_put_record(struct call *call)
{
    const struct firehose_put_record_input *in = call->input;
    struct intake *intake = put_target(call, in->delivery_stream_name);
    if (intake)
        put_records(call, intake, in->record, 1, false);
}

void op_firehose_put_batch(struct call *call)
{
    const struct firehose_put_batch_input *in = call->input;
    uint64_t bytes = 0;
    struct intake *intake = put_target(call, in->delivery_stream_name);
    if (!intake)
        return;
    for (uint32_t i = 0; i < in->records.count; i++)
        bytes += in->records.items[i].data.len;
    if (bytes > FIREHOSE_BATCH_BYTES_MAX)
        call_fail(call, AWS_INVALID_ARGUMENT, "Records size exceeds 4 MB limit");
    else
        put_records(call, intake, in->records.items, in->records.count, true);
}
