/*
 * GetRecords. The call travels to the shard's owner (a message if that is another loop), which reads blocks and writes
 * the JSON of the records right there, so that no block leaves its loop; the way back carries finished bytes, to which
 * the home loop adds the next iterator.
 *
 *   op_get_records ─▶ [owner] get_run ─▶ log_read ─▶ get_read_done ─▶ record_write_block ... ─▶ log_read ... ─▶
 *   [home] get_back ─▶ iterator sealed, answered
 *
 * Memory: answers that are being built share a budget (the HTTP server's, which counts them once they are answered):
 * when little is left answers become smaller, and when next to nothing is left the call is throttled.
 *
 * Failure modes: a position that retention has taken goes on at the oldest record, as AWS does; damage and disk errors
 * are InternalFailure unless records before them were read: these are answered, and the next call meets the error.
 */
#include "broker/api/kinesis_shapes.h"
#include "broker/api/record_write.h"
#include "broker/api/shard_call.h"
#include "broker/api/shard_list.h"
#include "common/base/check.h"
#include "common/wire/json_write.h"

#define RECORDS_DEFAULT  10000u
#define READ_BYTES       (1u << 20) /* of one log_read */
#define BUDGET_DEFAULT   (256ull << 20)
#define GRANT_MAX        (16u << 20)  /* 10 MiB in base64, and room for the rest of 10,000 records */
#define GRANT_MIN        (128u << 10) /* less is not worth an answer */
#define ANSWER_BYTES_MAX (96u << 20)  /* 10 MiB of keys, each byte escaped, and 10,000 times the fixed part, fit */

struct get {
    struct call *call;
    struct api_loop *home, *owner;
    struct registry_stream *stream; /* home's, referenced */
    const struct registry_shard *shard;
    uint64_t shard_uid; /* constant while it travels */
    uint64_t grant;     /* home: its share of the budget */
    struct io_msg msg;
    /* owner, until the way back: */
    struct record_writer writer;
    struct bytebuf body;
    struct log_read read;
    int status;
    uint64_t visible_counter;
    struct wall_ms now;
};

/* ---- home: the answer ------------------------------------------------------------------------------------------------ */

static bool at_end(const struct get *g)
{
    return g->shard->row.end_counter != UINT64_MAX && g->writer.next_counter >= g->shard->row.end_counter;
}

static void write_children(struct get *g, struct json_writer *w)
{
    int64_t index = g->shard->row.index;
    json_write_name(w, "ChildShards");
    json_write_array(w);
    for (uint32_t i = 0; i < g->stream->shard_count; i++) {
        const struct registry_shard *child = &g->stream->shard[i];
        char hash[HASH_KEY_TEXT_MAX], parent[SHARD_ID_TEXT_MAX];
        if (child->row.parent != index && child->row.adjacent_parent != index)
            continue;
        json_write_object(w);
        json_write_name(w, "ShardId");
        json_write_str(w, child->id);
        json_write_name(w, "ParentShards");
        json_write_array(w);
        const int64_t parents[2] = {child->row.parent, child->row.adjacent_parent};
        for (int k = 0; k < 2; k++) {
            if (parents[k] < 0)
                continue;
            shard_id_format((uint32_t)parents[k], parent);
            json_write_str(w, parent);
        }
        json_write_array_end(w);
        json_write_name(w, "HashKeyRange");
        json_write_object(w);
        json_write_name(w, "StartingHashKey");
        hash_key_format(&child->row.first_hash, hash);
        json_write_str(w, hash);
        json_write_name(w, "EndingHashKey");
        hash_key_format(&child->row.last_hash, hash);
        json_write_str(w, hash);
        json_write_object_end(w);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

/* 0 at the tip; else how old the last record of the answer is. */
static int64_t millis_behind(const struct get *g)
{
    if (g->writer.next_counter >= g->visible_counter || !g->writer.records)
        return 0;
    int64_t behind = g->now.ms - g->writer.last_arrival.ms;
    return behind > 0 ? behind : 0;
}

static void answer(struct get *g)
{
    struct api_loop *l = g->home;
    struct json_writer w;
    char text[ITERATOR_TEXT_LEN + 1];
    bytebuf_str(&g->body, "],");
    json_writer_init(&w, &g->body);
    w.depth = 1; /* inside the object that get_run began */
    if (!at_end(g)) {
        const struct shard_iterator it = {
            .stream_uid = g->stream->row.uid, .shard_uid = g->shard_uid, .counter = g->writer.next_counter};
        struct token_nonce nonce = api_nonce(l);
        iterator_seal(&l->api->key, &it, loop_wall(l->io), &nonce, text);
        json_write_name(&w, "NextShardIterator");
        json_write_str(&w, text);
    }
    json_write_name(&w, "MillisBehindLatest");
    json_write_i64(&w, millis_behind(g));
    if (at_end(g))
        write_children(g, &w);
    json_write_object_end(&w);
    l->stats.records_out += g->writer.records;
    l->stats.bytes_out += g->writer.bytes;
    call_reply_body(g->call, &g->body);
}

static void fail(struct get *g)
{
    const struct api *api = g->home->api;
    bytebuf_deinit(&g->body);
    if (g->status == ST_NOT_FOUND)
        call_fail(g->call, AWS_RESOURCE_NOT_FOUND, "Shard %s in stream %s under account %s does not exist",
                  g->shard->id, g->stream->row.name, api->account);
    else if (g->status == ST_THROTTLED)
        call_fail(g->call, AWS_PROVISIONED_THROUGHPUT_EXCEEDED,
                  "Rate exceeded for shard %s in stream %s under account %s.", g->shard->id, g->stream->row.name,
                  api->account);
    else
        api_fail_status(g->call, g->status, "read");
}

static void get_back(struct io_msg *m)
{
    struct get *g = CONTAINER_OF(m, struct get, msg);
    struct registry_stream *stream = g->stream;
    g->home->answer_bytes -= g->grant;
    if (g->status < 0 && !g->writer.records)
        fail(g);
    else
        answer(g);
    registry_unref(stream);
}

/* ---- owner: reading and writing -------------------------------------------------------------------------------------- */

static void get_finish(struct get *g, int status)
{
    struct log_shard *shard = log_shard_find(g->owner->log, g->shard_uid);
    g->status = shard ? status : ST_NOT_FOUND;
    g->now = loop_wall(g->owner->io);
    if (shard) {
        struct log_shard_info info;
        log_shard_info(shard, &info);
        g->visible_counter = info.visible_counter;
    }
    if (shard)
        shard_read_charge(g->owner, g->shard_uid, g->writer.bytes);
    api_send(g->owner, g->home, &g->msg, get_back);
}

static void get_read(struct get *g, struct log_shard *shard);

/* Retention took the position: on to the oldest record, unless that is where we are. */
static int skip_trimmed(struct get *g, const struct log_shard *shard)
{
    struct log_shard_info info;
    log_shard_info(shard, &info);
    if (info.first_counter <= g->writer.next_counter)
        return ST_TRIMMED;
    g->writer.next_counter = info.first_counter;
    return 0;
}

/* Writes the blocks that were read and gives them back. True: there may be more to read. */
static bool write_blocks(struct get *g, int *out_status)
{
    *out_status = 0;
    for (uint32_t i = 0; i < g->read.block_count; i++) {
        struct log_block *b = &g->read.block[i];
        if (*out_status >= 0 && !g->writer.full)
            *out_status = record_write_block(&g->writer, &b->header, b->payload);
        log_block_release(g->owner->log, b);
    }
    if (bytebuf_failed(&g->body))
        *out_status = -ENOMEM;
    return *out_status >= 0 && !g->writer.full && g->read.block_count;
}

static void get_read_done(struct log_read *read)
{
    struct get *g = CONTAINER_OF(read, struct get, read);
    struct log_shard *shard = log_shard_find(g->owner->log, g->shard_uid);
    int status = read->status;
    if (status >= 0) {
        if (!write_blocks(g, &status) || !shard) {
            get_finish(g, status);
            return;
        }
    } else if (status == ST_TRIMMED && shard) {
        status = skip_trimmed(g, shard);
    }
    if (status < 0 || !shard)
        get_finish(g, status);
    else
        get_read(g, shard);
}

static void get_read(struct get *g, struct log_shard *shard)
{
    uint64_t bytes = g->writer.bytes_left < READ_BYTES ? g->writer.bytes_left : READ_BYTES;
    g->read.done = get_read_done;
    g->read.from_counter = g->writer.next_counter;
    g->read.bytes_max = bytes ? (uint32_t)bytes : 1;
    g->read.blocks_max = g->writer.records_left < LOG_READ_BLOCKS_MAX ? g->writer.records_left : LOG_READ_BLOCKS_MAX;
    g->read.visibility = LOG_VISIBLE;
    g->read.block_count = 0;
    log_read(shard, &g->read);
}

static void get_run(struct io_msg *m)
{
    struct get *g = CONTAINER_OF(m, struct get, msg);
    struct log_shard *shard = log_shard_find(g->owner->log, g->shard_uid);
    bytebuf_init(&g->body, ANSWER_BYTES_MAX);
    bytebuf_str(&g->body, "{\"Records\":[");
    g->writer.out = &g->body;
    if (!shard)
        get_finish(g, ST_NOT_FOUND);
    else if (!shard_read_allowed(g->owner, g->shard_uid))
        get_finish(g, ST_THROTTLED);
    else
        get_read(g, shard);
}

/* ---- home: the request ----------------------------------------------------------------------------------------------- */

static bool iterator_read(struct call *call, struct shard_iterator *out)
{
    const struct get_records_input *in = call->input;
    struct api_loop *l = call->ctx;
    struct wall_ms now = loop_wall(l->io);
    int status = iterator_open(&l->api->key, now, l->api->iterator_life_ms, in->shard_iterator, out);
    if (status == ST_EXPIRED) {
        char created[API_TIME_TEXT_MAX], current[API_TIME_TEXT_MAX];
        api_time_text(out->issued, created);
        api_time_text(now, current);
        call_fail(call, AWS_EXPIRED_ITERATOR,
                  "Iterator expired. The iterator was created at time %s while right now it is %s which is further in "
                  "the future than the tolerated delay of %lld milliseconds.",
                  created, current, (long long)l->api->iterator_life_ms);
    } else if (status < 0) {
        call_fail(call, AWS_INVALID_ARGUMENT, "Invalid ShardIterator.");
    }
    return status >= 0;
}

/* The stream and shard of an iterator; NULL: the call has been failed. */
static struct registry_stream *iterator_stream(struct call *call, const struct shard_iterator *it,
                                               const struct registry_shard **out_shard)
{
    const struct get_records_input *in = call->input;
    struct api_loop *l = call->ctx;
    struct registry_stream *s = registry_find_uid(&l->registry, it->stream_uid);
    *out_shard = s ? registry_shard_by_uid(s, it->shard_uid) : NULL;
    if (!*out_shard || s->row.internal) {
        call_fail(call, AWS_RESOURCE_NOT_FOUND, "The shard of this iterator under account %s does not exist",
                  l->api->account);
        return NULL;
    }
    if (s->row.status == STREAM_DELETING || s->row.status == STREAM_CREATING) {
        call_fail(call, AWS_RESOURCE_NOT_FOUND, "Shard %s in stream %s under account %s does not exist",
                  (*out_shard)->id, s->row.name, l->api->account);
        return NULL;
    }
    if (!in->stream_arn.ptr)
        return s;
    struct slice name = api_named(call, SLICE_NULL, in->stream_arn);
    if (!name.len)
        return NULL;
    if (!slice_eq(name, s->name)) {
        call_fail(call, AWS_INVALID_ARGUMENT, "The ShardIterator is not of the stream %.*s.",
                  SLICE_FMT(in->stream_arn));
        return NULL;
    }
    return s;
}

/* A share of the loop's budget for one answer; 0: the call has been throttled. */
static uint64_t grant_take(struct call *call, const struct registry_stream *s, const struct registry_shard *shard)
{
    struct api_loop *l = call->ctx;
    const struct http_exchange *x = call->exchange;
    uint64_t budget = l->api->options.config->http.memory_bytes;
    uint64_t used = l->answer_bytes + (x->server ? http_server_stats(x->server)->memory_bytes : 0);
    budget = (budget ? budget : BUDGET_DEFAULT) / l->api->loop_count;
    uint64_t grant = budget > used ? budget - used : 0;
    if (grant > GRANT_MAX)
        grant = GRANT_MAX;
    if (grant < GRANT_MIN) {
        call_fail(call, AWS_PROVISIONED_THROUGHPUT_EXCEEDED,
                  "Rate exceeded for shard %s in stream %s under account %s.", shard->id, s->row.name, l->api->account);
        return 0;
    }
    l->answer_bytes += grant;
    return grant;
}

void op_get_records(struct call *call)
{
    const struct get_records_input *in = call->input;
    struct api_loop *l = call->ctx;
    struct shard_iterator it;
    const struct registry_shard *shard;
    if (!iterator_read(call, &it))
        return;
    struct registry_stream *s = iterator_stream(call, &it, &shard);
    if (!s)
        return;
    struct get *g = arena_zalloc(call->arena, sizeof(*g));
    if (!g) {
        call_fail(call, AWS_SERVICE_UNAVAILABLE, "The request needs more memory than a request may have.");
        return;
    }
    g->grant = grant_take(call, s, shard);
    if (!g->grant)
        return;
    g->call = call;
    g->home = l;
    g->owner = &l->api->loop[api_shard_owner(l->api, it.shard_uid)];
    g->stream = registry_ref(s);
    g->shard = shard;
    g->shard_uid = it.shard_uid;
    g->writer = (struct record_writer){.shard = {shard->row.created, shard->row.index},
                                       .next_counter = it.counter,
                                       .records_left = in->limit.set ? (uint32_t)in->limit.value : RECORDS_DEFAULT,
                                       .bytes_left = g->grant == GRANT_MAX ? API_REQUEST_BYTES_MAX : g->grant / 2};
    api_send(l, g->owner, &g->msg, get_run);
}
