/* The catalog's calls, forwarded to the backend that was opened (catalog_backend.h). */
#include "broker/catalog/catalog_backend.h"

void catalog_close(struct catalog *c)
{
    if (c)
        c->ops->close(c);
}

int catalog_each_stream(struct catalog *c, int (*visit)(void *ctx, const struct catalog_stream *s), void *ctx)
{
    return c->ops->each_stream(c, visit, ctx);
}

int catalog_each_shard(struct catalog *c, int (*visit)(void *ctx, const struct catalog_shard *s), void *ctx)
{
    return c->ops->each_shard(c, visit, ctx);
}

int catalog_each_delivery(struct catalog *c, int (*visit)(void *ctx, const struct catalog_delivery *d), void *ctx)
{
    return c->ops->each_delivery(c, visit, ctx);
}

int catalog_stream_add(struct catalog *c, struct catalog_stream *s, struct catalog_shard *shards, uint32_t shard_count)
{
    return c->ops->stream_add(c, s, shards, shard_count);
}

int catalog_stream_update(struct catalog *c, const struct catalog_stream *s)
{
    return c->ops->stream_update(c, s);
}

int catalog_stream_mark_deleting(struct catalog *c, uint64_t stream_uid)
{
    return c->ops->stream_mark_deleting(c, stream_uid);
}

int catalog_stream_remove(struct catalog *c, uint64_t stream_uid)
{
    return c->ops->stream_remove(c, stream_uid);
}

int catalog_reshard(struct catalog *c, const struct catalog_stream *s, const struct catalog_shard *changed,
                    uint32_t changed_count, struct catalog_shard *added, uint32_t added_count)
{
    return c->ops->reshard(c, s, changed, changed_count, added, added_count);
}

int catalog_shard_remove(struct catalog *c, uint64_t shard_uid)
{
    return c->ops->shard_remove(c, shard_uid);
}

int catalog_delivery_add(struct catalog *c, struct catalog_delivery *d)
{
    return c->ops->delivery_add(c, d);
}

int catalog_delivery_update(struct catalog *c, const struct catalog_delivery *d)
{
    return c->ops->delivery_update(c, d);
}

int catalog_delivery_remove(struct catalog *c, uint64_t uid)
{
    return c->ops->delivery_remove(c, uid);
}

int catalog_value_get(struct catalog *c, const char *key, void *out, size_t cap, size_t *out_len)
{
    return c->ops->value_get(c, key, out, cap, out_len);
}

int catalog_value_put(struct catalog *c, const char *key, struct slice value)
{
    return c->ops->value_put(c, key, value);
}
