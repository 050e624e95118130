/* Shard iterators and reading. A batch is one block of memory: the records, then their decoded bytes. */
#include <stdio.h>
#include <stdlib.h>

#include "client/client_wait.h"
#include "common/wire/base64.h"
#include "common/wire/json_read.h"
#include "common/wire/json_write.h"

#define READ_ARENA_MAX (256u << 20)

struct batch_block {
    struct sluice_batch batch; /* first: what the caller holds */
    struct arena arena;        /* owns the records and their bytes */
};

static void write_position(struct json_writer *w, const struct sluice_position *position)
{
    static const char *const types[] = {"TRIM_HORIZON", "LATEST", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER",
                                        "AT_TIMESTAMP"};
    json_write_name(w, "ShardIteratorType");
    json_write_str(w, types[position->from]);
    if (position->from == SLUICE_FROM_SEQUENCE_NUMBER || position->from == SLUICE_FROM_AFTER_SEQUENCE_NUMBER) {
        json_write_name(w, "StartingSequenceNumber");
        json_write_str(w, position->sequence_number);
    }
    if (position->from == SLUICE_FROM_TIMESTAMP) {
        json_write_name(w, "Timestamp");
        json_write_double(w, position->timestamp);
    }
}

/* Into `out` (untouched if the answer is none). */
static bool iterator_read(struct slice json, char out[SLUICE_ITERATOR_MAX])
{
    struct json_reader r;
    struct slice key, found = SLICE_NULL;
    int token;
    json_reader_init(&r, json, NULL); /* an iterator is base64: no escapes */
    if (!answer_object(&r))
        return false;
    while (answer_member(&r, &key, &token)) {
        if (slice_eq_str(key, "ShardIterator") && token == JSON_STRING)
            found = r.text;
        else if (!json_skip(&r))
            return false;
    }
    if (r.last != JSON_OBJECT_END || !found.len || found.len >= SLUICE_ITERATOR_MAX)
        return false;
    answer_text(out, SLUICE_ITERATOR_MAX, found);
    return true;
}

int sluice_iterator(struct sluice *s, const char *stream, const char *shard_id, const struct sluice_position *position,
                    char out[SLUICE_ITERATOR_MAX], struct sluice_error *e)
{
    if ((unsigned)position->from > SLUICE_FROM_TIMESTAMP)
        return client_fail(e, SLUICE_E_ARGUMENT, "there is no such kind of position");
    if ((position->from == SLUICE_FROM_SEQUENCE_NUMBER || position->from == SLUICE_FROM_AFTER_SEQUENCE_NUMBER) &&
        !position->sequence_number)
        return client_fail(e, SLUICE_E_ARGUMENT, "this kind of position needs a sequence number");
    struct bytebuf body;
    struct json_writer w;
    struct client_answer answer;
    bytebuf_init(&body, 1 << 16);
    json_writer_init(&w, &body);
    json_write_object(&w);
    json_write_name(&w, "StreamName");
    json_write_str(&w, stream);
    json_write_name(&w, "ShardId");
    json_write_str(&w, shard_id);
    write_position(&w, position);
    json_write_object_end(&w);
    int rc = client_ask(s, CLIENT_KINESIS, "GetShardIterator", &body, &answer, e);
    if (rc < 0)
        return rc;
    bool good = iterator_read(answer.json, out);
    client_answer_free(&answer);
    return good ? 0 : client_answer_bad(e, "GetShardIterator");
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static bool record_read(struct json_reader *r, struct arena *arena, struct sluice_read_record *out)
{
    struct slice key;
    int token;
    while (answer_member(r, &key, &token)) {
        if (slice_eq_str(key, "Data") && token == JSON_STRING) {
            uint8_t *data = arena_alloc(arena, base64_decoded_max(r->text.len));
            if (!data || base64_decode(r->text, data, &out->data_bytes, NULL) != BASE64_OK)
                return false;
            out->data = data;
        } else if (slice_eq_str(key, "PartitionKey") && token == JSON_STRING) {
            out->partition_key = (const char *)arena_copy(arena, r->text).ptr;
        } else if (slice_eq_str(key, "SequenceNumber") && token == JSON_STRING) {
            out->sequence_number = (const char *)arena_copy(arena, r->text).ptr;
        } else if (slice_eq_str(key, "ApproximateArrivalTimestamp") && token == JSON_NUMBER) {
            out->arrival = json_number_double(r->text);
        } else if (!json_skip(r)) {
            return false;
        }
    }
    return r->last == JSON_OBJECT_END && out->data && out->partition_key && out->sequence_number;
}

/* The records, doubling the array in the arena. */
static bool records_read(struct json_reader *r, struct batch_block *b)
{
    struct sluice_read_record *records = NULL;
    size_t cap = 0, count = 0;
    while (json_next(r) == JSON_OBJECT) {
        if (count == cap) {
            size_t more = cap ? cap * 2 : 64;
            struct sluice_read_record *bigger = arena_alloc(&b->arena, more * sizeof *bigger);
            if (!bigger)
                return false;
            if (count)
                memcpy(bigger, records, count * sizeof *bigger);
            records = bigger;
            cap = more;
        }
        records[count] = (struct sluice_read_record){0};
        if (!record_read(r, &b->arena, &records[count]))
            return false;
        count++;
    }
    b->batch.records = records;
    b->batch.count = count;
    return r->last == JSON_ARRAY_END;
}

/* One that does not fit must not pass for the end of the shard. */
static bool next_read(struct slice text, char next[SLUICE_ITERATOR_MAX])
{
    answer_text(next, SLUICE_ITERATOR_MAX, text);
    return text.len > 0 && text.len < SLUICE_ITERATOR_MAX;
}

static bool answer_read(struct slice json, struct batch_block *b, char next[SLUICE_ITERATOR_MAX])
{
    struct json_reader r;
    struct slice key;
    int token;
    next[0] = 0;
    json_reader_init(&r, json, &b->arena);
    if (!answer_object(&r))
        return false;
    while (answer_member(&r, &key, &token)) {
        bool good = true;
        if (slice_eq_str(key, "Records") && token == JSON_ARRAY)
            good = records_read(&r, b);
        else if (slice_eq_str(key, "NextShardIterator") && token == JSON_STRING)
            good = next_read(r.text, next);
        else if (slice_eq_str(key, "MillisBehindLatest") && token == JSON_NUMBER)
            b->batch.behind_ms = json_number_i64(r.text);
        else
            good = json_skip(&r);
        if (!good)
            return false;
    }
    b->batch.shard_ended = next[0] == 0;
    return r.last == JSON_OBJECT_END;
}

int sluice_read(struct sluice *s, char iterator[SLUICE_ITERATOR_MAX], uint32_t limit, struct sluice_batch **out,
                struct sluice_error *e)
{
    struct bytebuf body;
    struct json_writer w;
    struct client_answer answer;
    bytebuf_init(&body, 1 << 16);
    json_writer_init(&w, &body);
    json_write_object(&w);
    json_write_name(&w, "ShardIterator");
    json_write_str(&w, iterator);
    if (limit) {
        json_write_name(&w, "Limit");
        json_write_u64(&w, limit);
    }
    json_write_object_end(&w);
    int rc = client_ask(s, CLIENT_KINESIS, "GetRecords", &body, &answer, e);
    if (rc < 0)
        return rc;
    struct batch_block *b = calloc(1, sizeof *b);
    char next[SLUICE_ITERATOR_MAX];
    if (!b) {
        client_answer_free(&answer);
        return client_fail(e, SLUICE_E_MEMORY, "no memory");
    }
    arena_init(&b->arena, 1 << 16, READ_ARENA_MAX);
    bool good = answer_read(answer.json, b, next);
    client_answer_free(&answer);
    if (!good) {
        sluice_batch_free(&b->batch);
        return client_answer_bad(e, "GetRecords");
    }
    memcpy(iterator, next, SLUICE_ITERATOR_MAX);
    *out = &b->batch;
    return 0;
}

void sluice_batch_free(struct sluice_batch *batch)
{
    if (!batch)
        return;
    struct batch_block *b = CONTAINER_OF(batch, struct batch_block, batch);
    arena_deinit(&b->arena);
    free(b);
}
