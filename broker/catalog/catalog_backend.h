/*
 * What stands behind catalog.h: one table of functions for SQLite and one for the twin in memory. catalog.c forwards to
 * it. Private to broker/catalog; the contracts are in catalog.h.
 */
#ifndef SLUICE_CATALOG_CATALOG_BACKEND_H
#define SLUICE_CATALOG_CATALOG_BACKEND_H

#include "broker/catalog/catalog.h"

struct catalog_ops {
    void (*close)(struct catalog *c);
    int (*each_stream)(struct catalog *c, int (*visit)(void *ctx, const struct catalog_stream *s), void *ctx);
    int (*each_shard)(struct catalog *c, int (*visit)(void *ctx, const struct catalog_shard *s), void *ctx);
    int (*each_delivery)(struct catalog *c, int (*visit)(void *ctx, const struct catalog_delivery *d), void *ctx);
    int (*stream_add)(struct catalog *c, struct catalog_stream *s, struct catalog_shard *shards, uint32_t count);
    int (*stream_update)(struct catalog *c, const struct catalog_stream *s);
    int (*stream_mark_deleting)(struct catalog *c, uint64_t uid);
    int (*stream_remove)(struct catalog *c, uint64_t uid);
    int (*reshard)(struct catalog *c, const struct catalog_stream *s, const struct catalog_shard *changed,
                   uint32_t changed_count, struct catalog_shard *added, uint32_t added_count);
    int (*shard_remove)(struct catalog *c, uint64_t uid);
    int (*delivery_add)(struct catalog *c, struct catalog_delivery *d);
    int (*delivery_update)(struct catalog *c, const struct catalog_delivery *d);
    int (*delivery_remove)(struct catalog *c, uint64_t uid);
    int (*value_get)(struct catalog *c, const char *key, void *out, size_t cap, size_t *out_len);
    int (*value_put)(struct catalog *c, const char *key, struct slice value);
};

struct catalog {
    const struct catalog_ops *ops;
};

#endif
