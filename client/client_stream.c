/* Streams and shards: create, delete, describe, list. Each is a request or a few, read with the pull reader. */
#include <stdio.h>
#include <stdlib.h>

#include "client/client.h"
#include "client/client_wait.h"
#include "common/wire/json_read.h"
#include "common/wire/json_write.h"

#define ANSWER_ARENA_MAX (64u << 20)
#define POLL_FIRST_MS    10
#define POLL_MOST_MS     500
#define POLL_TIMES_MAX   200

int client_answer_bad(struct sluice_error *e, const char *operation)
{
    return client_fail(e, SLUICE_E_PROTOCOL, "the answer to %s is not what the protocol says", operation);
}

/* ---- create, delete, describe -------------------------------------------------------------------------------------- */

static void body_with_name(struct bytebuf *b, struct json_writer *w, const char *name)
{
    bytebuf_init(b, 1 << 20);
    json_writer_init(w, b);
    json_write_object(w);
    json_write_name(w, "StreamName");
    json_write_str(w, name);
}

static enum sluice_stream_status status_of(struct slice text)
{
    if (slice_eq_str(text, "CREATING"))
        return SLUICE_CREATING;
    if (slice_eq_str(text, "DELETING"))
        return SLUICE_DELETING;
    return slice_eq_str(text, "UPDATING") ? SLUICE_UPDATING : SLUICE_ACTIVE;
}

static bool summary_read(struct json_reader *r, struct sluice_stream *out)
{
    struct slice key;
    int token;
    while (answer_member(r, &key, &token)) {
        if (slice_eq_str(key, "StreamName") && token == JSON_STRING)
            answer_text(out->name, sizeof out->name, r->text);
        else if (slice_eq_str(key, "StreamARN") && token == JSON_STRING)
            answer_text(out->arn, sizeof out->arn, r->text);
        else if (slice_eq_str(key, "StreamStatus") && token == JSON_STRING)
            out->status = status_of(r->text);
        else if (slice_eq_str(key, "OpenShardCount") && token == JSON_NUMBER)
            out->open_shards = (uint32_t)json_number_i64(r->text);
        else if (slice_eq_str(key, "RetentionPeriodHours") && token == JSON_NUMBER)
            out->retention_hours = (uint32_t)json_number_i64(r->text);
        else if (slice_eq_str(key, "StreamCreationTimestamp") && token == JSON_NUMBER)
            out->created = json_number_double(r->text);
        else if (!json_skip(r))
            return false;
    }
    return r->last == JSON_OBJECT_END;
}

int sluice_stream_describe(struct sluice *s, const char *name, struct sluice_stream *out, struct sluice_error *e)
{
    struct bytebuf body;
    struct json_writer w;
    struct client_answer answer;
    struct sluice_stream got = {0};
    body_with_name(&body, &w, name);
    json_write_object_end(&w);
    int rc = client_ask(s, CLIENT_KINESIS, "DescribeStreamSummary", &body, &answer, e);
    if (rc < 0)
        return rc;
    struct arena arena;
    struct json_reader r;
    struct slice key;
    int token;
    arena_init(&arena, 4096, ANSWER_ARENA_MAX);
    json_reader_init(&r, answer.json, &arena);
    bool good = answer_object(&r);
    while (good && answer_member(&r, &key, &token)) {
        if (slice_eq_str(key, "StreamDescriptionSummary") && token == JSON_OBJECT)
            good = summary_read(&r, &got);
        else
            good = json_skip(&r);
    }
    good = good && r.last == JSON_OBJECT_END && got.name[0];
    arena_deinit(&arena);
    client_answer_free(&answer);
    if (!good)
        return client_answer_bad(e, "DescribeStreamSummary");
    *out = got;
    return 0;
}

/* Asks until the stream is ACTIVE, or until it is gone. */
static int stream_await(struct sluice *s, const char *name, bool gone, struct sluice_error *e)
{
    uint32_t wait_ms = POLL_FIRST_MS;
    for (int i = 0; i < POLL_TIMES_MAX; i++) {
        struct sluice_stream now;
        struct sluice_error why;
        int rc = sluice_stream_describe(s, name, &now, &why);
        if (gone && rc == SLUICE_E_NOT_FOUND)
            return 0;
        if (rc < 0) {
            if (e)
                *e = why;
            return rc;
        }
        if (!gone && now.status == SLUICE_ACTIVE)
            return 0;
        client_wait_ms(s, wait_ms);
        wait_ms = wait_ms * 2 < POLL_MOST_MS ? wait_ms * 2 : POLL_MOST_MS;
    }
    return client_fail(e, SLUICE_E_TIMEOUT, "stream '%s' is still being %s", name, gone ? "deleted" : "created");
}

int sluice_stream_create(struct sluice *s, const char *name, uint32_t shards, struct sluice_error *e)
{
    struct bytebuf body;
    struct json_writer w;
    body_with_name(&body, &w, name);
    json_write_name(&w, "ShardCount");
    json_write_u64(&w, shards ? shards : 1);
    json_write_object_end(&w);
    int rc = client_ask(s, CLIENT_KINESIS, "CreateStream", &body, NULL, e);
    return rc < 0 ? rc : stream_await(s, name, false, e);
}

int sluice_stream_delete(struct sluice *s, const char *name, struct sluice_error *e)
{
    struct bytebuf body;
    struct json_writer w;
    body_with_name(&body, &w, name);
    json_write_object_end(&w);
    int rc = client_ask(s, CLIENT_KINESIS, "DeleteStream", &body, NULL, e);
    return rc < 0 ? rc : stream_await(s, name, true, e);
}

/* ---- lists --------------------------------------------------------------------------------------------------------- */

int name_list_add(struct name_list *l, struct slice name)
{
    char **more = realloc(l->name, (l->count + 2) * sizeof(char *));
    if (!more)
        return -ENOMEM;
    l->name = more;
    l->name[l->count] = client_text(name);
    if (!l->name[l->count])
        return -ENOMEM;
    l->name[++l->count] = NULL;
    return 0;
}

void name_list_free(struct name_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->name[i]);
    free(l->name);
    *l = (struct name_list){0};
}

/* One block that a single free() frees: the pointers, then the texts. */
int name_list_pack(struct name_list *l, char ***out_names, size_t *out_count)
{
    size_t bytes = (l->count + 1) * sizeof(char *);
    for (size_t i = 0; i < l->count; i++)
        bytes += strlen(l->name[i]) + 1;
    char **block = malloc(bytes);
    if (block) {
        char *text = (char *)(block + l->count + 1);
        for (size_t i = 0; i < l->count; i++) {
            size_t len = strlen(l->name[i]) + 1;
            memcpy(text, l->name[i], len);
            block[i] = text;
            text += len;
        }
        block[l->count] = NULL;
        *out_names = block;
        *out_count = l->count;
    }
    name_list_free(l);
    return block ? 0 : -ENOMEM;
}

int client_list_names(struct sluice *s, enum client_service service, const char *operation, const char *names_key,
                      const char *more_key, const char *start_key, char ***out_names, size_t *out_count,
                      struct sluice_error *e)
{
    struct name_list names = {0};
    for (bool more = true; more;) {
        struct bytebuf body;
        struct json_writer w;
        struct client_answer answer;
        bytebuf_init(&body, 1 << 16);
        json_writer_init(&w, &body);
        json_write_object(&w);
        if (names.count) {
            json_write_name(&w, start_key);
            json_write_str(&w, names.name[names.count - 1]);
        }
        json_write_object_end(&w);
        int rc = client_ask(s, service, operation, &body, &answer, e);
        if (rc < 0) {
            name_list_free(&names);
            return rc;
        }
        struct arena arena;
        struct json_reader r;
        struct slice key;
        int token, status = 0;
        size_t before = names.count;
        more = false;
        arena_init(&arena, 4096, ANSWER_ARENA_MAX);
        json_reader_init(&r, answer.json, &arena);
        bool good = answer_object(&r);
        while (good && answer_member(&r, &key, &token)) {
            if (slice_eq_str(key, names_key) && token == JSON_ARRAY) {
                while (json_next(&r) == JSON_STRING && status == 0)
                    status = name_list_add(&names, r.text);
            } else if (slice_eq_str(key, more_key)) {
                more = token == JSON_TRUE;
            } else {
                good = json_skip(&r);
            }
        }
        good = good && r.last == JSON_OBJECT_END;
        arena_deinit(&arena);
        client_answer_free(&answer);
        if (!good || status < 0 || (more && names.count == before)) {
            name_list_free(&names);
            return status < 0 ? client_fail(e, SLUICE_E_MEMORY, "no memory") : client_answer_bad(e, operation);
        }
    }
    return name_list_pack(&names, out_names, out_count) < 0 ? client_fail(e, SLUICE_E_MEMORY, "no memory") : 0;
}

int sluice_stream_list(struct sluice *s, char ***out_names, size_t *out_count, struct sluice_error *e)
{
    return client_list_names(s, CLIENT_KINESIS, "ListStreams", "StreamNames", "HasMoreStreams",
                             "ExclusiveStartStreamName", out_names, out_count, e);
}

/* ---- shards -------------------------------------------------------------------------------------------------------- */

static bool shard_range_read(struct json_reader *r, char *first, size_t first_size, const char *first_key, char *last,
                             size_t last_size, const char *last_key)
{
    struct slice key;
    int token;
    while (answer_member(r, &key, &token)) {
        if (slice_eq_str(key, first_key) && token == JSON_STRING)
            answer_text(first, first_size, r->text);
        else if (slice_eq_str(key, last_key) && token == JSON_STRING)
            answer_text(last, last_size, r->text);
        else if (!json_skip(r))
            return false;
    }
    return r->last == JSON_OBJECT_END;
}

static bool shard_read_json(struct json_reader *r, struct sluice_shard *out)
{
    struct slice key;
    int token;
    char begin[64], end[64] = "";
    while (answer_member(r, &key, &token)) {
        bool good = true;
        if (slice_eq_str(key, "ShardId") && token == JSON_STRING)
            answer_text(out->id, sizeof out->id, r->text);
        else if (slice_eq_str(key, "ParentShardId") && token == JSON_STRING)
            answer_text(out->parent, sizeof out->parent, r->text);
        else if (slice_eq_str(key, "AdjacentParentShardId") && token == JSON_STRING)
            answer_text(out->adjacent_parent, sizeof out->adjacent_parent, r->text);
        else if (slice_eq_str(key, "HashKeyRange") && token == JSON_OBJECT)
            good = shard_range_read(r, out->first_hash, sizeof out->first_hash, "StartingHashKey", out->last_hash,
                                    sizeof out->last_hash, "EndingHashKey");
        else if (slice_eq_str(key, "SequenceNumberRange") && token == JSON_OBJECT)
            good = shard_range_read(r, begin, sizeof begin, "StartingSequenceNumber", end, sizeof end,
                                    "EndingSequenceNumber");
        else
            good = json_skip(r);
        if (!good)
            return false;
    }
    out->closed = end[0] != 0;
    return r->last == JSON_OBJECT_END && out->id[0];
}

struct shard_page {
    struct sluice_shard *shard;
    size_t count;
    char *next;
};

static bool shard_page_read(struct slice json, struct shard_page *p)
{
    struct arena arena;
    struct json_reader r;
    struct slice key;
    int token;
    bool good;
    free(p->next);
    p->next = NULL;
    arena_init(&arena, 4096, ANSWER_ARENA_MAX);
    json_reader_init(&r, json, &arena);
    good = answer_object(&r);
    while (good && answer_member(&r, &key, &token)) {
        if (slice_eq_str(key, "NextToken") && token == JSON_STRING) {
            p->next = client_text(r.text);
            good = p->next != NULL;
        } else if (slice_eq_str(key, "Shards") && token == JSON_ARRAY) {
            while (good && json_next(&r) == JSON_OBJECT) {
                struct sluice_shard *more = realloc(p->shard, (p->count + 1) * sizeof *more);
                if (more) {
                    p->shard = more;
                    more[p->count] = (struct sluice_shard){0};
                }
                good = more && shard_read_json(&r, &more[p->count]);
                p->count += good;
            }
        } else {
            good = json_skip(&r);
        }
    }
    good = good && r.last == JSON_OBJECT_END;
    arena_deinit(&arena);
    return good;
}

int sluice_shard_list(struct sluice *s, const char *stream, struct sluice_shard **out, size_t *out_count,
                      struct sluice_error *e)
{
    struct shard_page page = {0};
    do {
        struct bytebuf body;
        struct json_writer w;
        struct client_answer answer;
        bytebuf_init(&body, 1 << 20);
        json_writer_init(&w, &body);
        json_write_object(&w);
        json_write_name(&w, page.next ? "NextToken" : "StreamName");
        json_write_str(&w, page.next ? page.next : stream);
        json_write_object_end(&w);
        int rc = client_ask(s, CLIENT_KINESIS, "ListShards", &body, &answer, e);
        if (rc == 0) {
            if (!shard_page_read(answer.json, &page))
                rc = client_answer_bad(e, "ListShards");
            client_answer_free(&answer);
        }
        if (rc < 0) {
            free(page.next);
            free(page.shard);
            return rc;
        }
    } while (page.next);
    *out = page.shard;
    *out_count = page.count;
    return 0;
}
