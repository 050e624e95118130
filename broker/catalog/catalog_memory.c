/*
 * The catalog's twin in memory, for the simulator and unit tests: the same contract without a disk. A change happens
 * wholly or not at all: every call first makes sure that it can succeed (rows found, names free, room reserved), then
 * changes without a step that may fail.
 *
 * Any thread; the handle's mutex lets in one call at a time.
 */
#include <pthread.h>
#include <stdlib.h>

#include "broker/catalog/catalog_backend.h"

struct memory_value {
    char *key;
    uint8_t *bytes;
    size_t len;
};

/* Growable arrays, in the order that the visitors promise: streams and deliveries by uid (they are added in that
 * order), shards by stream and index (found by sorting at insertion). */
struct catalog_memory {
    struct catalog base;
    pthread_mutex_t lock;
    uint64_t next_uid;
    struct catalog_stream *streams;
    struct catalog_shard *shards;
    struct catalog_delivery *deliveries; /* settings_json is ours */
    struct memory_value *values;
    size_t stream_count, stream_cap, shard_count, shard_cap, delivery_count, delivery_cap, value_count, value_cap;
};

static struct catalog_memory *memory_of(struct catalog *c)
{
    return CONTAINER_OF(c, struct catalog_memory, base);
}

static struct catalog_memory *enter(struct catalog *c)
{
    struct catalog_memory *m = memory_of(c);
    pthread_mutex_lock(&m->lock);
    return m;
}

static int leave(struct catalog_memory *m, int status)
{
    pthread_mutex_unlock(&m->lock);
    return status;
}

/* Room for `more` elements behind `count`. */
static int reserve(void **array, size_t *cap, size_t count, size_t more, size_t size)
{
    if (*cap - count >= more)
        return ST_OK;
    size_t want = (count + more) * 2;
    void *p = realloc(*array, want * size);
    if (!p)
        return -ENOMEM;
    *array = p;
    *cap = want;
    return ST_OK;
}
#define RESERVE(m, array, name, more) \
    reserve((void **)&(m)->array, &(m)->name##_cap, (m)->name##_count, (more), sizeof *(m)->array)

static void remove_at(void *array, size_t *count, size_t at, size_t size)
{
    char *p = array;
    memmove(p + at * size, p + (at + 1) * size, (*count - at - 1) * size);
    (*count)--;
}

static struct catalog_stream *find_stream(struct catalog_memory *m, uint64_t uid)
{
    for (size_t i = 0; i < m->stream_count; i++)
        if (m->streams[i].uid == uid)
            return &m->streams[i];
    return NULL;
}

static struct catalog_shard *find_shard(struct catalog_memory *m, uint64_t uid)
{
    for (size_t i = 0; i < m->shard_count; i++)
        if (m->shards[i].uid == uid)
            return &m->shards[i];
    return NULL;
}

static struct catalog_delivery *find_delivery(struct catalog_memory *m, uint64_t uid)
{
    for (size_t i = 0; i < m->delivery_count; i++)
        if (m->deliveries[i].uid == uid)
            return &m->deliveries[i];
    return NULL;
}

static bool index_taken(const struct catalog_memory *m, uint64_t stream_uid, uint32_t index)
{
    for (size_t i = 0; i < m->shard_count; i++)
        if (m->shards[i].stream_uid == stream_uid && m->shards[i].index == index)
            return true;
    return false;
}

/* Each index is free in the stream and occurs once among the new ones. */
static bool indexes_free(const struct catalog_memory *m, uint64_t stream_uid, const struct catalog_shard *s,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (index_taken(m, stream_uid, s[i].index))
            return false;
        for (uint32_t k = 0; k < i; k++)
            if (s[k].index == s[i].index)
                return false;
    }
    return true;
}

/* Keeps the order: by stream, then index. Room is reserved. */
static void insert_shard_row(struct catalog_memory *m, const struct catalog_shard *s)
{
    size_t at = m->shard_count;
    while (at > 0 && (m->shards[at - 1].stream_uid > s->stream_uid ||
                      (m->shards[at - 1].stream_uid == s->stream_uid && m->shards[at - 1].index > s->index)))
        at--;
    memmove(&m->shards[at + 1], &m->shards[at], (m->shard_count - at) * sizeof *s);
    m->shards[at] = *s;
    m->shard_count++;
}

static void add_shards(struct catalog_memory *m, uint64_t stream_uid, struct catalog_shard *shards, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        shards[i].uid = m->next_uid++;
        shards[i].stream_uid = stream_uid;
        insert_shard_row(m, &shards[i]);
    }
}

static int memory_stream_add(struct catalog *base, struct catalog_stream *s, struct catalog_shard *shards,
                             uint32_t shard_count)
{
    struct catalog_memory *m = enter(base);
    for (size_t i = 0; i < m->stream_count; i++)
        if (strcmp(m->streams[i].name, s->name) == 0)
            return leave(m, ST_EXISTS);
    if (!indexes_free(m, m->next_uid, shards, shard_count))
        return leave(m, ST_EXISTS);
    if (RESERVE(m, streams, stream, 1) < 0 || RESERVE(m, shards, shard, shard_count) < 0)
        return leave(m, -ENOMEM);
    s->uid = m->next_uid++;
    m->streams[m->stream_count++] = *s;
    add_shards(m, s->uid, shards, shard_count);
    return leave(m, ST_OK);
}

/* Everything but uid and name. */
static void rewrite_stream(struct catalog_stream *row, const struct catalog_stream *s)
{
    struct catalog_stream before = *row;
    *row = *s;
    memcpy(row->name, before.name, sizeof row->name);
}

static int memory_stream_update(struct catalog *base, const struct catalog_stream *s)
{
    struct catalog_memory *m = enter(base);
    struct catalog_stream *row = find_stream(m, s->uid);
    if (!row)
        return leave(m, ST_NOT_FOUND);
    rewrite_stream(row, s);
    return leave(m, ST_OK);
}

static int memory_stream_mark_deleting(struct catalog *base, uint64_t uid)
{
    struct catalog_memory *m = enter(base);
    struct catalog_stream *row = find_stream(m, uid);
    if (!row)
        return leave(m, ST_NOT_FOUND);
    row->status = STREAM_DELETING;
    for (size_t i = 0; i < m->shard_count; i++)
        if (m->shards[i].stream_uid == uid)
            m->shards[i].state = SHARD_DELETING;
    return leave(m, ST_OK);
}

static int memory_stream_remove(struct catalog *base, uint64_t uid)
{
    struct catalog_memory *m = enter(base);
    struct catalog_stream *row = find_stream(m, uid);
    if (!row)
        return leave(m, ST_NOT_FOUND);
    if (row->status != STREAM_DELETING)
        return leave(m, ST_CONFLICT);
    for (size_t i = m->shard_count; i-- > 0;)
        if (m->shards[i].stream_uid == uid)
            remove_at(m->shards, &m->shard_count, i, sizeof *m->shards);
    remove_at(m->streams, &m->stream_count, (size_t)(row - m->streams), sizeof *row);
    return leave(m, ST_OK);
}

static int memory_reshard(struct catalog *base, const struct catalog_stream *s, const struct catalog_shard *changed,
                          uint32_t changed_count, struct catalog_shard *added, uint32_t added_count)
{
    struct catalog_memory *m = enter(base);
    struct catalog_stream *row = find_stream(m, s->uid);
    if (!row)
        return leave(m, ST_NOT_FOUND);
    for (uint32_t i = 0; i < changed_count; i++) {
        struct catalog_shard *old = find_shard(m, changed[i].uid);
        if (!old || old->stream_uid != s->uid || changed[i].stream_uid != s->uid)
            return leave(m, ST_NOT_FOUND);
    }
    if (!indexes_free(m, s->uid, added, added_count))
        return leave(m, ST_EXISTS);
    if (RESERVE(m, shards, shard, added_count) < 0)
        return leave(m, -ENOMEM);
    rewrite_stream(row, s);
    for (uint32_t i = 0; i < changed_count; i++) {
        struct catalog_shard *old = find_shard(m, changed[i].uid);
        uint32_t index = old->index;
        *old = changed[i];
        old->index = index;
    }
    add_shards(m, s->uid, added, added_count);
    return leave(m, ST_OK);
}

static int memory_shard_remove(struct catalog *base, uint64_t uid)
{
    struct catalog_memory *m = enter(base);
    struct catalog_shard *row = find_shard(m, uid);
    if (!row)
        return leave(m, ST_NOT_FOUND);
    remove_at(m->shards, &m->shard_count, (size_t)(row - m->shards), sizeof *row);
    return leave(m, ST_OK);
}

/* ---- deliveries and values --------------------------------------------------------------------------------------- */

static int memory_delivery_add(struct catalog *base, struct catalog_delivery *d)
{
    struct catalog_memory *m = enter(base);
    for (size_t i = 0; i < m->delivery_count; i++)
        if (strcmp(m->deliveries[i].name, d->name) == 0)
            return leave(m, ST_EXISTS);
    char *settings = strdup(d->settings_json ? d->settings_json : "");
    if (!settings || RESERVE(m, deliveries, delivery, 1) < 0) {
        free(settings);
        return leave(m, -ENOMEM);
    }
    d->uid = m->next_uid++;
    m->deliveries[m->delivery_count] = *d;
    m->deliveries[m->delivery_count++].settings_json = settings;
    return leave(m, ST_OK);
}

static int memory_delivery_update(struct catalog *base, const struct catalog_delivery *d)
{
    struct catalog_memory *m = enter(base);
    struct catalog_delivery *row = find_delivery(m, d->uid);
    if (!row)
        return leave(m, ST_NOT_FOUND);
    char *settings = strdup(d->settings_json ? d->settings_json : "");
    if (!settings)
        return leave(m, -ENOMEM);
    struct catalog_delivery before = *row;
    *row = *d;
    memcpy(row->name, before.name, sizeof row->name);
    row->settings_json = settings;
    free((char *)before.settings_json);
    return leave(m, ST_OK);
}

static int memory_delivery_remove(struct catalog *base, uint64_t uid)
{
    struct catalog_memory *m = enter(base);
    struct catalog_delivery *row = find_delivery(m, uid);
    if (!row)
        return leave(m, ST_NOT_FOUND);
    free((char *)row->settings_json);
    remove_at(m->deliveries, &m->delivery_count, (size_t)(row - m->deliveries), sizeof *row);
    return leave(m, ST_OK);
}

static struct memory_value *find_value(struct catalog_memory *m, const char *key)
{
    for (size_t i = 0; i < m->value_count; i++)
        if (strcmp(m->values[i].key, key) == 0)
            return &m->values[i];
    return NULL;
}

static int memory_value_get(struct catalog *base, const char *key, void *out, size_t cap, size_t *out_len)
{
    struct catalog_memory *m = enter(base);
    const struct memory_value *v = find_value(m, key);
    if (!v)
        return leave(m, ST_NOT_FOUND);
    if (v->len && cap)
        memcpy(out, v->bytes, v->len < cap ? v->len : cap);
    *out_len = v->len;
    return leave(m, ST_OK);
}

static int memory_value_put(struct catalog *base, const char *key, struct slice value)
{
    struct catalog_memory *m = enter(base);
    struct memory_value *v = find_value(m, key);
    uint8_t *bytes = malloc(value.len ? value.len : 1);
    char *name = v ? NULL : strdup(key);
    if (!bytes || (!v && (!name || RESERVE(m, values, value, 1) < 0))) {
        free(bytes);
        free(name);
        return leave(m, -ENOMEM);
    }
    if (value.len)
        memcpy(bytes, value.ptr, value.len);
    if (v)
        free(v->bytes);
    else
        (v = &m->values[m->value_count++])->key = name;
    v->bytes = bytes;
    v->len = value.len;
    return leave(m, ST_OK);
}

/* ---- reading everything ------------------------------------------------------------------------------------------ */

static int memory_each_stream(struct catalog *base, int (*visit)(void *, const struct catalog_stream *), void *ctx)
{
    struct catalog_memory *m = enter(base);
    int status = 0;
    for (size_t i = 0; i < m->stream_count && status == 0; i++)
        status = visit(ctx, &m->streams[i]);
    return leave(m, status);
}

static int memory_each_shard(struct catalog *base, int (*visit)(void *, const struct catalog_shard *), void *ctx)
{
    struct catalog_memory *m = enter(base);
    int status = 0;
    for (size_t i = 0; i < m->shard_count && status == 0; i++)
        status = visit(ctx, &m->shards[i]);
    return leave(m, status);
}

static int memory_each_delivery(struct catalog *base, int (*visit)(void *, const struct catalog_delivery *), void *ctx)
{
    struct catalog_memory *m = enter(base);
    int status = 0;
    for (size_t i = 0; i < m->delivery_count && status == 0; i++)
        status = visit(ctx, &m->deliveries[i]);
    return leave(m, status);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static void memory_close(struct catalog *base)
{
    struct catalog_memory *m = memory_of(base);
    for (size_t i = 0; i < m->delivery_count; i++)
        free((char *)m->deliveries[i].settings_json);
    for (size_t i = 0; i < m->value_count; i++) {
        free(m->values[i].key);
        free(m->values[i].bytes);
    }
    free(m->streams);
    free(m->shards);
    free(m->deliveries);
    free(m->values);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static const struct catalog_ops memory_ops = {
    .close = memory_close,
    .each_stream = memory_each_stream,
    .each_shard = memory_each_shard,
    .each_delivery = memory_each_delivery,
    .stream_add = memory_stream_add,
    .stream_update = memory_stream_update,
    .stream_mark_deleting = memory_stream_mark_deleting,
    .stream_remove = memory_stream_remove,
    .reshard = memory_reshard,
    .shard_remove = memory_shard_remove,
    .delivery_add = memory_delivery_add,
    .delivery_update = memory_delivery_update,
    .delivery_remove = memory_delivery_remove,
    .value_get = memory_value_get,
    .value_put = memory_value_put,
};

int catalog_open_memory(struct catalog **out)
{
    struct catalog_memory *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->base.ops = &memory_ops;
    m->next_uid = 1;
    pthread_mutex_init(&m->lock, NULL);
    *out = &m->base;
    return ST_OK;
}
