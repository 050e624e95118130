/* Shards as DescribeStream and ListShards show them. */
#ifndef SLUICE_API_SHARD_LIST_H
#define SLUICE_API_SHARD_LIST_H

#include "broker/api/api_impl.h"
#include "broker/api/kinesis_shapes.h"

/* Which shards of a stream a list is about. */
struct shard_choice {
    int filter; /* enum kinesis_shard_filter */
    struct wall_ms at;
    uint32_t after_index; /* for KINESIS_AFTER_SHARD_ID */
    struct wall_ms now;
};

/* True if `i` (a position in s->shard) belongs to the list. */
bool shard_chosen(const struct registry_stream *s, uint32_t i, const struct shard_choice *c);
/* When a closed shard was closed: its children's creation. INT64_MAX: it is open. */
struct wall_ms shard_closed_at(const struct registry_stream *s, const struct registry_shard *shard);
/* Fills *out, texts in the arena. False: the arena is used up. */
bool shard_describe(const struct registry_stream *s, const struct registry_shard *shard, struct arena *arena,
                    struct shard_out *out) must_use;
/* Lists chosen shards whose index is greater than `after` (-1: all), at most `most`. Returns how many, or -1 without
 * memory; *out_more tells whether others follow, *out_items is in the arena. */
int shard_list(const struct registry_stream *s, const struct shard_choice *c, int64_t after, uint32_t most,
               struct arena *arena, struct shard_out **out_items, bool *out_more) must_use;

#endif
