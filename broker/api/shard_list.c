/* Shards as DescribeStream and ListShards show them; see shard_list.h. Pure but for the arena. */
#include "broker/api/shard_list.h"

static bool is_child_of(const struct catalog_shard *child, const struct catalog_shard *parent)
{
    return child->parent == (int64_t)parent->index || child->adjacent_parent == (int64_t)parent->index;
}

struct wall_ms shard_closed_at(const struct registry_stream *s, const struct registry_shard *shard)
{
    struct wall_ms at = {INT64_MAX};
    if (shard->row.end_counter == UINT64_MAX)
        return at;
    for (uint32_t i = 0; i < s->shard_count; i++)
        if (is_child_of(&s->shard[i].row, &shard->row) && s->shard[i].row.created.ms < at.ms)
            at = s->shard[i].row.created;
    return at;
}

/* Nothing is listed of shards that are still being made, or already taken away. */
static bool listed(const struct registry_stream *s, const struct registry_shard *shard)
{
    if (s->row.status != STREAM_ACTIVE && s->row.status != STREAM_UPDATING)
        return false;
    return shard->row.state == SHARD_OPEN || shard->row.state == SHARD_CLOSING || shard->row.state == SHARD_CLOSED;
}

bool shard_chosen(const struct registry_stream *s, uint32_t i, const struct shard_choice *c)
{
    const struct registry_shard *shard = &s->shard[i];
    if (!listed(s, shard))
        return false;
    int64_t created = shard->row.created.ms, closed = shard_closed_at(s, shard).ms;
    int64_t horizon = c->now.ms - s->row.retention_ms;
    if (horizon < s->row.created.ms)
        horizon = s->row.created.ms;
    switch (c->filter) {
    case KINESIS_AFTER_SHARD_ID:
        return shard->row.index > c->after_index;
    case KINESIS_AT_TRIM_HORIZON:
        return created <= horizon && closed > horizon;
    case KINESIS_AT_LATEST:
        return closed == INT64_MAX;
    case KINESIS_AT_TIMESTAMP_FILTER: /* creation times are whole seconds, rounded down */
        return created <= c->at.ms && closed > c->at.ms;
    case KINESIS_FROM_TIMESTAMP:
        return closed > c->at.ms;
    default: /* KINESIS_FROM_TRIM_HORIZON */
        return closed > horizon;
    }
}

static struct slice hash_text(struct arena *arena, const struct hash_key *k)
{
    char text[HASH_KEY_TEXT_MAX];
    uint32_t len = hash_key_format(k, text);
    return arena_copy(arena, slice_of(text, len));
}

static struct slice number_text(struct arena *arena, const struct registry_shard *shard, uint64_t counter,
                                struct wall_ms arrival)
{
    char text[SEQNUM_TEXT_MAX];
    const struct seqnum n = {{shard->row.created, shard->row.index}, counter, arrival};
    seqnum_format(&n, text);
    return arena_copy(arena, slice_of(text, SEQNUM_DIGITS));
}

static struct slice parent_text(struct arena *arena, int64_t index)
{
    char text[SHARD_ID_TEXT_MAX];
    if (index < 0)
        return SLICE_NULL;
    shard_id_format((uint32_t)index, text);
    return arena_copy(arena, slice_of(text, SHARD_ID_LEN));
}

bool shard_describe(const struct registry_stream *s, const struct registry_shard *shard, struct arena *arena,
                    struct shard_out *out)
{
    struct hash_key_range_out *hash = arena_zalloc(arena, sizeof(*hash));
    struct sequence_range_out *range = arena_zalloc(arena, sizeof(*range));
    if (!hash || !range)
        return false;
    const struct catalog_shard *row = &shard->row;
    hash->first = hash_text(arena, &row->first_hash);
    hash->last = hash_text(arena, &row->last_hash);
    range->first = number_text(arena, shard, row->first_counter, row->created);
    if (row->end_counter != UINT64_MAX)
        range->last = number_text(arena, shard, row->end_counter, shard_closed_at(s, shard));
    *out = (struct shard_out){.shard_id = arena_copy(arena, slice_of(shard->id, SHARD_ID_LEN)),
                              .parent = parent_text(arena, row->parent),
                              .adjacent_parent = parent_text(arena, row->adjacent_parent),
                              .hash_range = hash,
                              .sequence_range = range};
    return hash->first.ptr && hash->last.ptr && range->first.ptr && out->shard_id.ptr;
}

int shard_list(const struct registry_stream *s, const struct shard_choice *c, int64_t after, uint32_t most,
               struct arena *arena, struct shard_out **out_items, bool *out_more)
{
    uint32_t cap = s->shard_count < most ? s->shard_count : most, n = 0;
    struct shard_out *items = arena_zalloc(arena, (cap ? cap : 1) * sizeof(*items));
    if (!items)
        return -1;
    *out_more = false;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        if ((int64_t)s->shard[i].row.index <= after || !shard_chosen(s, i, c))
            continue;
        if (n == most) {
            *out_more = true;
            break;
        }
        if (!shard_describe(s, &s->shard[i], arena, &items[n++]))
            return -1;
    }
    *out_items = items;
    return (int)n;
}
