/* See put_batch.h. */
#include "client/put_batch.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/wire/json_read.h"
#include "common/wire/json_write.h"
#include "common/wire/utf8.h"

#define RANDOM_KEY_BYTES 16

size_t put_record_bytes(const struct sluice_record *record)
{
    return record->data_bytes + (record->partition_key ? strlen(record->partition_key) : RANDOM_KEY_BYTES);
}

int put_batch_init(struct put_batch *b, struct sluice *s, enum client_service service, const char *name,
                   uint32_t records_max)
{
    *b = (struct put_batch){.s = s, .service = service, .cap = records_max};
    bytebuf_init(&b->fragments, 32u << 20);
    struct bytebuf prefix;
    struct json_writer w;
    bytebuf_init(&prefix, 4096);
    json_writer_init(&w, &prefix);
    json_write_object(&w);
    json_write_name(&w, service == CLIENT_KINESIS ? "StreamName" : "DeliveryStreamName");
    json_write_str(&w, name);
    bytebuf_append(&prefix, ",\"Records\":[", sizeof ",\"Records\":["); /* with its NUL */
    b->end = malloc(records_max * sizeof *b->end);
    b->sending = malloc(records_max * sizeof *b->sending);
    b->result = calloc(records_max, sizeof *b->result);
    b->prefix = (char *)prefix.ptr;
    if (bytebuf_failed(&prefix) || !b->end || !b->sending || !b->result) {
        put_batch_deinit(b);
        return -ENOMEM;
    }
    return 0;
}

void put_batch_deinit(struct put_batch *b)
{
    bytebuf_deinit(&b->fragments);
    bytebuf_deinit(&b->request.body);
    free(b->end);
    free(b->sending);
    free(b->result);
    free(b->prefix);
    b->end = b->sending = NULL;
    b->result = NULL;
    b->prefix = NULL;
}

/* 1 to 256 characters of UTF-8: anything else would make the server refuse the whole request. */
static int key_check(const char *key, struct sluice_error *e)
{
    struct slice text = slice_str(key);
    if (!utf8_valid(text))
        return client_fail(e, SLUICE_E_ARGUMENT, "the partition key is not UTF-8");
    if (text.len == 0 || utf8_length(text) > PUT_KEY_CHARS_MAX)
        return client_fail(e, SLUICE_E_ARGUMENT, "a partition key has 1 to %d characters", PUT_KEY_CHARS_MAX);
    return 0;
}

/* A decimal from 0 to 2^128 - 1, without leading zeros. */
static int hash_check(const char *key, struct sluice_error *e)
{
    static const char most[] = "340282366920938463463374607431768211455";
    size_t len = strspn(key, "0123456789");
    if (len == 0 || key[len] || (key[0] == '0' && len > 1) || len > sizeof most - 1 ||
        (len == sizeof most - 1 && strcmp(key, most) > 0))
        return client_fail(e, SLUICE_E_ARGUMENT, "an explicit hash key is a decimal from 0 to 2^128 - 1");
    return 0;
}

int put_record_check(const struct sluice_record *record, struct sluice_error *e)
{
    if (record->data_bytes && !record->data)
        return client_fail(e, SLUICE_E_ARGUMENT, "the record has no data pointer");
    if (record->data_bytes > PUT_RECORD_BYTES_MAX || put_record_bytes(record) > PUT_RECORD_BYTES_MAX)
        return client_fail(e, SLUICE_E_ARGUMENT, "a record of %zu bytes is over the limit of %u, key included",
                           record->data_bytes, PUT_RECORD_BYTES_MAX);
    int rc = record->partition_key ? key_check(record->partition_key, e) : 0;
    return rc == 0 && record->explicit_hash_key ? hash_check(record->explicit_hash_key, e) : rc;
}

int put_batch_add(struct put_batch *b, const struct sluice_record *record, struct sluice_error *e)
{
    int rc = put_record_check(record, e);
    if (rc < 0)
        return rc;
    if (b->count == b->cap)
        return client_fail(e, SLUICE_E_ARGUMENT, "a batch holds at most %u records", b->cap);
    if (b->bytes + put_record_bytes(record) > PUT_BYTES_MAX)
        return client_fail(e, SLUICE_E_ARGUMENT, "a batch holds at most %u bytes", PUT_BYTES_MAX);
    size_t before = b->fragments.len;
    struct json_writer w;
    json_writer_init(&w, &b->fragments);
    json_write_object(&w);
    json_write_name(&w, "Data");
    json_write_base64(&w, slice_of(record->data, record->data_bytes));
    if (b->service == CLIENT_KINESIS) {
        char random_key[RANDOM_KEY_BYTES + 1];
        json_write_name(&w, "PartitionKey");
        if (!record->partition_key)
            snprintf(random_key, sizeof random_key, "%016llx", (unsigned long long)client_random(b->s));
        json_write_str(&w, record->partition_key ? record->partition_key : random_key);
        if (record->explicit_hash_key) {
            json_write_name(&w, "ExplicitHashKey");
            json_write_str(&w, record->explicit_hash_key);
        }
    }
    json_write_object_end(&w);
    if (bytebuf_failed(&b->fragments)) {
        b->fragments.failed = false;
        b->fragments.len = before;
        return client_fail(e, SLUICE_E_MEMORY, "no memory for the record");
    }
    b->end[b->count] = (uint32_t)b->fragments.len;
    b->sending[b->count] = b->count;
    b->count++;
    b->bytes += put_record_bytes(record);
    return 0;
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static void batch_fail_rest(struct put_batch *b, const struct sluice_error *why)
{
    if (b->error.code == 0)
        b->error = *why;
    for (uint32_t i = 0; i < b->sending_count; i++)
        b->result[b->sending[i]].code = why->code;
}

static bool body_build(struct put_batch *b)
{
    struct bytebuf *body = &b->request.body;
    bytebuf_reset(body);
    body->limit = 64u << 20;
    bytebuf_str(body, b->prefix);
    for (uint32_t i = 0; i < b->sending_count; i++) {
        uint32_t n = b->sending[i], from = n ? b->end[n - 1] : 0;
        if (i)
            bytebuf_byte(body, ',');
        bytebuf_append(body, b->fragments.ptr + from, b->end[n] - from);
    }
    bytebuf_str(body, "]}");
    return !bytebuf_failed(body);
}

static void batch_request_done(struct client_request *r);

static void batch_request(struct put_batch *b)
{
    b->request.s = b->s;
    b->request.service = b->service;
    b->request.operation = b->service == CLIENT_KINESIS ? "PutRecords" : "PutRecordBatch";
    b->request.done = batch_request_done;
    b->request.attempts = 0;
    b->requests++;
    client_request_start(&b->request);
}

static void batch_no_memory(struct io_msg *m)
{
    struct put_batch *b = CONTAINER_OF(m, struct put_batch, request.msg);
    struct sluice_error why;
    client_fail(&why, SLUICE_E_MEMORY, "no memory for the request");
    batch_fail_rest(b, &why);
    b->done(b);
}

static void batch_again(struct io_timer *t)
{
    struct put_batch *b = CONTAINER_OF(t, struct put_batch, timer);
    if (body_build(b))
        batch_request(b);
    else
        batch_no_memory(&b->request.msg);
}

/* One element of the answer's list; what it says goes to result `n`. */
static bool element_read(struct json_reader *r, struct put_batch *b, uint32_t n, struct sluice_error *why)
{
    struct sluice_put_result *out = &b->result[n];
    struct slice key;
    int token;
    *why = (struct sluice_error){.http_status = 200};
    while (answer_member(r, &key, &token)) {
        if (token != JSON_STRING) {
            if (!json_skip(r))
                return false;
        } else if (slice_eq_str(key, "SequenceNumber") || slice_eq_str(key, "RecordId")) {
            answer_text(out->sequence_number, sizeof out->sequence_number, r->text);
        } else if (slice_eq_str(key, "ShardId")) {
            answer_text(out->shard_id, sizeof out->shard_id, r->text);
        } else if (slice_eq_str(key, "ErrorCode")) {
            answer_text(why->name, sizeof why->name, r->text);
        } else if (slice_eq_str(key, "ErrorMessage")) {
            answer_text(why->message, sizeof why->message, r->text);
        }
    }
    if (why->name[0])
        why->code = strcmp(why->name, "InternalFailure") == 0 ? SLUICE_E_SERVER : client_code_of(why->name, 400);
    out->code = why->code;
    return r->last == JSON_OBJECT_END && (why->code < 0 || out->sequence_number[0]);
}

/* Reads the answer; the records to be sent again are left in `sending`. False: not what the protocol says. */
static bool batch_answer_read(struct put_batch *b, struct slice json)
{
    struct arena arena;
    struct json_reader r;
    struct slice key;
    int token;
    uint32_t seen = 0, again = 0;
    arena_init(&arena, 4096, 16u << 20);
    json_reader_init(&r, json, &arena);
    bool good = answer_object(&r), last_try = b->attempts >= b->s->retries_max;
    while (good && answer_member(&r, &key, &token)) {
        if (token != JSON_ARRAY || !(slice_eq_str(key, "Records") || slice_eq_str(key, "RequestResponses"))) {
            good = json_skip(&r);
            continue;
        }
        while (good && json_next(&r) == JSON_OBJECT) {
            struct sluice_error why;
            good = seen < b->sending_count && element_read(&r, b, b->sending[seen], &why);
            if (good && why.code < 0 && client_code_retryable(why.code) && !last_try)
                b->sending[again++] = b->sending[seen];
            else if (good && why.code < 0 && b->error.code == 0)
                b->error = why;
            seen++;
        }
    }
    good = good && r.last == JSON_OBJECT_END && seen == b->sending_count;
    arena_deinit(&arena);
    if (good)
        b->sending_count = again;
    return good;
}

static void batch_request_done(struct client_request *r)
{
    struct put_batch *b = CONTAINER_OF(r, struct put_batch, request);
    b->retries += r->attempts ? r->attempts - 1 : 0;
    if (r->error.code < 0) {
        batch_fail_rest(b, &r->error);
        b->done(b);
        return;
    }
    if (!batch_answer_read(b, r->answer)) {
        struct sluice_error why;
        client_fail(&why, SLUICE_E_PROTOCOL, "the answer to %s is not what the protocol says", r->operation);
        batch_fail_rest(b, &why);
        b->sending_count = 0;
    }
    if (b->sending_count == 0) {
        b->done(b);
        return;
    }
    uint64_t most = 50ull << (b->attempts < 6 ? b->attempts : 6);
    b->attempts++;
    b->retries++;
    b->timer.fired = batch_again;
    timer_arm(b->s->loop, &b->timer,
              mono_add_ms(loop_now(b->s->loop), (int64_t)(most / 2 + client_random(b->s) % (most / 2 + 1))));
}

void put_batch_send(struct put_batch *b)
{
    b->sending_count = b->count;
    bytebuf_init(&b->request.body, 64u << 20);
    b->timer.fired = batch_again;
    if (body_build(b)) {
        batch_request(b);
        return;
    }
    /* Told from the loop's thread, as every answer is. */
    b->request.msg.deliver = batch_no_memory;
    loop_post(b->s->loop, &b->request.msg);
}
