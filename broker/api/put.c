/* Records into a stream; see put.h. */
#include "broker/api/put.h"

#include "common/base/check.h"

/* The keys whose hash is not explicit, hashed together (several MD5 lanes at once). */
static int hash_items(struct put_batch *b)
{
    struct slice *keys = arena_alloc(b->arena, b->count * sizeof(*keys));
    struct hash_key *hashes = arena_alloc(b->arena, b->count * sizeof(*hashes));
    if (!keys || !hashes)
        return -ENOMEM;
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->count; i++)
        if (!b->item[i].explicit_hash)
            keys[n++] = b->item[i].key;
    hash_keys_of(keys, n, hashes);
    n = 0;
    for (uint32_t i = 0; i < b->count; i++)
        if (!b->item[i].explicit_hash)
            b->item[i].hash = hashes[n++];
    return 0;
}

/* Routes each record and counts the records of each shard. append_of[shard] is 1 + the index of its append. */
static uint32_t route_items(struct put_batch *b, uint32_t *append_of, struct shard_append *appends)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        struct put_item *item = &b->item[i];
        item->shard = registry_route(b->stream, &item->hash);
        uint32_t at = (uint32_t)(item->shard - b->stream->shard);
        if (!append_of[at]) {
            appends[n] = (struct shard_append){
                .shard_uid = item->shard->row.uid, .limited = !b->stream->row.internal, .status = 0};
            append_of[at] = ++n;
        }
        item->append = append_of[at] - 1;
        item->position = appends[item->append].count++;
    }
    return n;
}

/* Lays the records of each shard side by side, in the order of the request. */
static void group_items(struct put_batch *b, struct shard_append *appends, uint32_t n, struct block_record *records)
{
    const struct block_record *next = records;
    for (uint32_t k = 0; k < n; k++) {
        appends[k].records = next;
        next += appends[k].count;
    }
    for (uint32_t i = 0; i < b->count; i++) {
        const struct put_item *item = &b->item[i];
        records[appends[item->append].records - records + item->position] =
            (struct block_record){.key = item->key, .data = item->data};
    }
}

static void appended(struct shard_append_all *all)
{
    struct put_batch *b = CONTAINER_OF(all, struct put_batch, all);
    b->done(b);
}

int put_start(struct put_batch *b)
{
    CHECK(b->count > 0 && b->stream->open_count > 0);
    uint32_t shards = b->stream->shard_count;
    uint32_t most = b->count < shards ? b->count : shards;
    uint32_t *append_of = arena_zalloc(b->arena, shards * sizeof(*append_of));
    struct shard_append *appends = arena_alloc(b->arena, most * sizeof(*appends));
    struct block_record *records = arena_alloc(b->arena, b->count * sizeof(*records));
    b->run = arena_alloc(b->arena, most * sizeof(*b->run));
    b->run_at = arena_alloc(b->arena, most * sizeof(*b->run_at));
    if (!append_of || !appends || !records || !b->run || !b->run_at)
        return -ENOMEM;
    int status = hash_items(b);
    if (status < 0)
        return status;
    uint32_t n = route_items(b, append_of, appends);
    group_items(b, appends, n, records);
    for (uint32_t k = 0; k < n; k++)
        b->run_at[k] = UINT32_MAX;
    b->all = (struct shard_append_all){.done = appended, .item = appends, .count = n};
    registry_ref(b->stream);
    status = shard_append_all(b->loop, &b->all, b->arena);
    if (status < 0)
        registry_unref(b->stream);
    return status;
}

int put_result(struct put_batch *b, uint32_t i, struct slice *out)
{
    const struct put_item *item = &b->item[i];
    const struct shard_append *a = &b->all.item[item->append];
    if (a->status < 0)
        return a->status;
    if (item->position >= a->taken)
        return ST_THROTTLED;
    struct seqnum_run *run = &b->run[item->append];
    uint32_t *at = &b->run_at[item->append];
    if (*at != UINT32_MAX && *at + 1 == item->position) {
        seqnum_run_next(run);
    } else if (*at != item->position) {
        const struct seqnum first = {.shard = {.created = item->shard->row.created, .index = item->shard->row.index},
                                     .counter = a->base_counter + item->position,
                                     .arrival = a->arrival};
        seqnum_run_start(run, &first);
    }
    *at = item->position;
    *out = slice_of(run->text, SEQNUM_DIGITS);
    return 0;
}

void put_end(struct put_batch *b)
{
    struct api_stats *stats = &b->loop->stats;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct put_item *item = &b->item[i];
        const struct shard_append *a = &b->all.item[item->append];
        if (a->status < 0 || item->position >= a->taken) {
            stats->records_failed++;
            continue;
        }
        stats->records_in++;
        stats->bytes_in += item->key.len + item->data.len;
    }
    registry_unref(b->stream);
}
