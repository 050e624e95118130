/*
 * GetShardIterator: from one of five ways of naming a place in a shard to a counter, sealed. TRIM_HORIZON and sequence
 * numbers need nothing but the shard's row; LATEST and AT_TIMESTAMP ask the shard's log. The order of checks and the
 * texts are AWS's. Each loop.
 */
#include "broker/api/api_impl.h"
#include "broker/api/kinesis_shapes.h"

struct iterator_call {
    struct call *call;
    struct registry_stream *stream; /* referenced while the log is asked */
    const struct registry_shard *shard;
    struct shard_ask ask;
};

static const char *const type_names[] = {
    "", "AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"};

static void reply(struct call *call, const struct registry_stream *s, const struct registry_shard *shard,
                  uint64_t counter)
{
    struct api_loop *l = call->ctx;
    char text[ITERATOR_TEXT_LEN + 1];
    const struct shard_iterator it = {.stream_uid = s->row.uid, .shard_uid = shard->row.uid, .counter = counter};
    struct token_nonce nonce = api_nonce(l);
    iterator_seal(&l->api->key, &it, loop_wall(l->io), &nonce, text);
    const struct get_shard_iterator_output out = {slice_of(text, ITERATOR_TEXT_LEN)};
    call_reply(call, &out);
}

/* Type, sequence number and timestamp fit together. */
static bool arguments_fit(struct call *call)
{
    const struct get_shard_iterator_input *in = call->input;
    bool wants_number = in->type == KINESIS_AT_SEQUENCE_NUMBER || in->type == KINESIS_AFTER_SEQUENCE_NUMBER;
    if (wants_number != (in->starting_sequence_number.ptr != NULL)) {
        call_fail(call, AWS_INVALID_ARGUMENT,
                  "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "
                  "(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified %s and %s "
                  "StartingSequenceNumber.",
                  type_names[in->type], wants_number ? "no" : "also a");
        return false;
    }
    if (in->type != KINESIS_AT_TIMESTAMP)
        return true;
    int64_t now = loop_wall(((struct api_loop *)call->ctx)->io).ms;
    if (!in->timestamp.set) {
        call_fail(call, AWS_INVALID_ARGUMENT,
                  "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no "
                  "timestamp parameter.");
        return false;
    }
    if (in->timestamp.value.ms > now) {
        call_fail(call, AWS_INVALID_ARGUMENT,
                  "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "
                  "timestampInMillis: %lld, currentTimestampInMillis: %lld",
                  (long long)in->timestamp.value.ms, (long long)now);
        return false;
    }
    return true;
}

/* From a caller's sequence number. */
static void from_number(struct call *call, const struct registry_stream *s, const struct registry_shard *shard)
{
    const struct get_shard_iterator_input *in = call->input;
    const struct api *api = ((struct api_loop *)call->ctx)->api;
    const struct seqnum_shard at = {shard->row.created, shard->row.index};
    struct seqnum parsed;
    uint64_t counter;
    int status = seqnum_find(in->starting_sequence_number, &at, &counter, &parsed);
    if (status == ST_CONFLICT) {
        char other[SHARD_ID_TEXT_MAX];
        shard_id_format(parsed.shard.index, other);
        call_fail(call, AWS_INVALID_ARGUMENT,
                  "Invalid StartingSequenceNumber. It encodes %s, while it was used in a call to a shard with %s",
                  other, shard->id);
    } else if (status < 0) {
        call_fail(call, AWS_INVALID_ARGUMENT,
                  "StartingSequenceNumber %.*s used in GetShardIterator on shard %s in stream %s under account %s is "
                  "invalid%s.",
                  SLICE_FMT(in->starting_sequence_number), shard->id, s->row.name, api->account,
                  status == ST_NOT_FOUND ? " because it did not come from this stream" : "");
    } else {
        reply(call, s, shard, counter + (in->type == KINESIS_AFTER_SEQUENCE_NUMBER));
    }
}

static void asked(struct shard_ask *ask)
{
    struct iterator_call *ic = CONTAINER_OF(ask, struct iterator_call, ask);
    struct call *call = ic->call;
    if (ask->status >= 0)
        reply(call, ic->stream, ic->shard, ask->seek ? ask->counter : ask->info.visible_counter);
    else if (ask->status == ST_NOT_FOUND)
        call_fail(call, AWS_RESOURCE_NOT_FOUND, "Shard %s in stream %s under account %s does not exist", ic->shard->id,
                  ic->stream->row.name, ((struct api_loop *)call->ctx)->api->account);
    else
        api_fail_status(call, ask->status, "seek");
    registry_unref(ic->stream);
}

static void from_log(struct call *call, struct registry_stream *s, const struct registry_shard *shard)
{
    const struct get_shard_iterator_input *in = call->input;
    struct iterator_call *ic = arena_zalloc(call->arena, sizeof(*ic));
    if (!ic) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, "The request needs more memory than a request may have.");
        return;
    }
    ic->call = call;
    ic->stream = registry_ref(s);
    ic->shard = shard;
    ic->ask.done = asked;
    ic->ask.shard_uid = shard->row.uid;
    ic->ask.seek = in->type == KINESIS_AT_TIMESTAMP;
    ic->ask.at = in->timestamp.value;
    shard_ask(call->ctx, &ic->ask);
}

static bool readable(const struct registry_stream *s, const struct registry_shard *shard)
{
    return shard && s->row.status != STREAM_CREATING && s->row.status != STREAM_DELETING &&
           shard->row.state != SHARD_CREATING && shard->row.state != SHARD_DELETING;
}

void op_get_shard_iterator(struct call *call)
{
    const struct get_shard_iterator_input *in = call->input;
    struct api_loop *l = call->ctx;
    struct slice name = api_named(call, in->stream_name, in->stream_arn);
    uint32_t index;
    if (!name.len)
        return;
    if (shard_id_parse(in->shard_id, &index) < 0) {
        call_fail(call, AWS_RESOURCE_NOT_FOUND, "Could not find shard %.*s in stream %.*s under account %s.",
                  SLICE_FMT(in->shard_id), SLICE_FMT(name), l->api->account);
        return;
    }
    struct registry_stream *s = api_visible_stream(l, name);
    const struct registry_shard *shard = s ? registry_shard_find(s, index) : NULL;
    if (!s || !readable(s, shard)) {
        char id[SHARD_ID_TEXT_MAX];
        shard_id_format(index, id);
        call_fail(call, AWS_RESOURCE_NOT_FOUND, "Shard %s in stream %.*s under account %s does not exist", id,
                  SLICE_FMT(name), l->api->account);
        return;
    }
    if (!arguments_fit(call))
        return;
    if (in->type == KINESIS_TRIM_HORIZON)
        reply(call, s, shard, shard->row.first_counter);
    else if (in->starting_sequence_number.ptr)
        from_number(call, s, shard);
    else
        from_log(call, s, shard);
}
