/*
 * ListShards: its six filters, and pages by a sealed NextToken that carries the stream, the filter and the last shard,
 * so that a page needs nothing else. Each loop.
 *
 * The token's payload, little-endian: stream uid (8), last index (8), filter (4), shard index of the filter (4), time
 * of the filter, ms (8).
 */
#include "broker/api/kinesis_shapes.h"
#include "broker/api/shard_list.h"

#define PAGE_MAX       1000u
#define NO_MEMORY_TEXT "The answer needs more memory than a request may have."

struct page {
    uint64_t stream_uid;
    int64_t after;
    struct shard_choice choice;
};

struct page_token {
    uint64_t stream_uid;
    int64_t after;
    int32_t filter;
    uint32_t after_index;
    int64_t at_ms;
};
_Static_assert(sizeof(struct page_token) == 32, "the payload that the comment above draws");

/* NextToken stands alone. */
static bool token_alone(struct call *call)
{
    const struct list_shards_input *in = call->input;
    const char *other = in->stream_name.ptr                 ? "StreamName"
                        : in->stream_arn.ptr                ? "StreamARN"
                        : in->exclusive_start_shard_id.ptr  ? "ExclusiveStartShardId"
                        : in->stream_creation_timestamp.set ? "StreamCreationTimestamp"
                        : in->filter                        ? "ShardFilter"
                                                            : NULL;
    if (!other)
        return true;
    call_fail(call, AWS_INVALID_ARGUMENT, "NextToken and %s cannot be provided together.", other);
    return false;
}

static bool page_of_token(struct call *call, struct page *out)
{
    const struct list_shards_input *in = call->input;
    struct api_loop *l = call->ctx;
    uint8_t room[TOKEN_PAYLOAD_MAX];
    uint32_t len = 0;
    struct page_token t;
    if (!token_alone(call))
        return false;
    int status = token_open(&l->api->key, TOKEN_LIST_SHARDS, loop_wall(l->io), l->api->iterator_life_ms, in->next_token,
                            room, &len, NULL);
    if (status == ST_EXPIRED) {
        call_fail(call, AWS_EXPIRED_NEXT_TOKEN, "The pagination token passed to the operation is expired.");
        return false;
    }
    if (status < 0 || len != sizeof(t)) {
        call_fail(call, AWS_INVALID_ARGUMENT, "Invalid NextToken.");
        return false;
    }
    memcpy(&t, room, sizeof(t));
    *out = (struct page){.stream_uid = t.stream_uid,
                         .after = t.after,
                         .choice = {.filter = t.filter, .at = {t.at_ms}, .after_index = t.after_index}};
    return true;
}

static bool filter_read(struct call *call, struct page *out)
{
    const struct list_shards_input *in = call->input;
    const struct shard_filter *f = in->filter;
    out->choice.filter = f ? f->type : KINESIS_FROM_TRIM_HORIZON;
    if (!f)
        return true;
    if (f->type == KINESIS_AFTER_SHARD_ID) {
        if (!f->shard_id.ptr) {
            call_fail(call, AWS_INVALID_ARGUMENT,
                      "ShardId must be supplied in a ShardFilter with a Type of AFTER_SHARD_ID");
            return false;
        }
        if (shard_id_parse(f->shard_id, &out->choice.after_index) < 0) {
            call_fail(call, AWS_INVALID_ARGUMENT, "ShardId %.*s in ShardFilter is invalid.", SLICE_FMT(f->shard_id));
            return false;
        }
    }
    if (f->type == KINESIS_AT_TIMESTAMP_FILTER || f->type == KINESIS_FROM_TIMESTAMP) {
        if (!f->timestamp.set) {
            call_fail(call, AWS_INVALID_ARGUMENT,
                      "Timestamp must be supplied in a ShardFilter with a Type of FROM_TIMESTAMP or AT_TIMESTAMP");
            return false;
        }
        out->choice.at = f->timestamp.value;
    }
    return true;
}

static bool page_of_request(struct call *call, struct page *out)
{
    const struct list_shards_input *in = call->input;
    uint32_t after = 0;
    *out = (struct page){.after = -1};
    if (!in->stream_name.ptr && !in->stream_arn.ptr) {
        call_fail(call, AWS_INVALID_ARGUMENT, "Either NextToken or StreamName should be provided.");
        return false;
    }
    const struct registry_stream *s = api_named_stream(call, in->stream_name, in->stream_arn);
    if (!s)
        return false;
    if (in->stream_creation_timestamp.set &&
        in->stream_creation_timestamp.value.ms / 1000 != s->row.created.ms / 1000) {
        api_fail_no_stream(call, s->name);
        return false;
    }
    if (in->exclusive_start_shard_id.ptr) {
        if (shard_id_parse(in->exclusive_start_shard_id, &after) < 0) {
            call_fail(call, AWS_INVALID_ARGUMENT, "ExclusiveStartShardId %.*s is invalid.",
                      SLICE_FMT(in->exclusive_start_shard_id));
            return false;
        }
        out->after = (int64_t)after;
    }
    out->stream_uid = s->row.uid;
    return filter_read(call, out);
}

static struct slice next_token(struct api_loop *l, const struct page *p, int64_t last, char out[TOKEN_TEXT_MAX])
{
    const struct page_token t = {.stream_uid = p->stream_uid,
                                 .after = last,
                                 .filter = p->choice.filter,
                                 .after_index = p->choice.after_index,
                                 .at_ms = p->choice.at.ms};
    struct token_nonce nonce = api_nonce(l);
    uint32_t len = token_seal(&l->api->key, TOKEN_LIST_SHARDS, loop_wall(l->io), slice_of(&t, sizeof(t)), &nonce, out);
    return slice_of(out, len);
}

void op_list_shards(struct call *call)
{
    const struct list_shards_input *in = call->input;
    struct api_loop *l = call->ctx;
    struct page page;
    if (!(in->next_token.ptr ? page_of_token(call, &page) : page_of_request(call, &page)))
        return;
    const struct registry_stream *s = registry_find_uid(&l->registry, page.stream_uid);
    if (!s) {
        call_fail(call, AWS_RESOURCE_NOT_FOUND, "The stream of this NextToken does not exist any more.");
        return;
    }
    if (s->row.status != STREAM_ACTIVE && s->row.status != STREAM_UPDATING) {
        call_fail(call, AWS_RESOURCE_IN_USE, "Stream %s under account %s not ACTIVE, instead in state %s", s->row.name,
                  l->api->account, s->row.status == STREAM_CREATING ? "CREATING" : "DELETING");
        return;
    }
    page.choice.now = loop_wall(l->io);
    uint32_t most =
        in->max_results.set && in->max_results.value < (int32_t)PAGE_MAX ? (uint32_t)in->max_results.value : PAGE_MAX;
    struct list_shards_output out = {.next_token = SLICE_NULL};
    bool more;
    int count = shard_list(s, &page.choice, page.after, most, call->arena, &out.shards.items, &more);
    if (count < 0) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, NO_MEMORY_TEXT);
        return;
    }
    out.shards.count = (uint32_t)count;
    char text[TOKEN_TEXT_MAX];
    if (more) {
        uint32_t last = 0;
        int known = shard_id_parse(out.shards.items[count - 1].shard_id, &last);
        out.next_token = next_token(l, &page, known < 0 ? -1 : (int64_t)last, text);
    }
    call_reply(call, &out);
}
