/* What one loop knows of streams and shards; see registry.h. One thread. */
#include "broker/api/registry.h"

#include <stdlib.h>

#include "common/base/check.h"

void registry_init(struct registry *r, uint64_t seed)
{
    memset(r, 0, sizeof(*r));
    hashmap_init(&r->by_uid, seed);
    hashmap_init(&r->names, hash_u64(seed + 1));
}

void registry_deinit(struct registry *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        registry_unref(r->by_name[i]);
    free(r->by_name);
    hashmap_deinit(&r->by_uid);
    hashmap_deinit(&r->names);
    memset(r, 0, sizeof(*r));
}

struct registry_stream *registry_ref(struct registry_stream *s)
{
    s->refs++;
    return s;
}

void registry_unref(struct registry_stream *s)
{
    if (!s || --s->refs)
        return;
    hash_route_deinit(&s->route);
    free(s);
}

static int shard_order(const void *a, const void *b)
{
    const struct registry_shard *x = a, *y = b;
    return (x->row.index > y->row.index) - (x->row.index < y->row.index);
}

/* The routing table over the open shards; none is open while a stream is being made or deleted. */
static int build_route(struct registry_stream *s)
{
    if (!s->open_count)
        return 0;
    struct hash_route_entry *entries = calloc(s->open_count, sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        if (s->shard[i].row.state != SHARD_OPEN)
            continue;
        entries[n].range = (struct hash_range){s->shard[i].row.first_hash, s->shard[i].row.last_hash};
        entries[n++].target = &s->shard[i];
    }
    int status = hash_route_init(&s->route, entries, n);
    free(entries);
    return status;
}

static int entry_create(const struct catalog_stream *row, const struct catalog_shard *shards, uint32_t shard_count,
                        struct registry_stream **out)
{
    struct registry_stream *s = calloc(1, sizeof(*s) + shard_count * sizeof(s->shard[0]));
    if (!s)
        return -ENOMEM;
    s->refs = 1;
    s->row = *row;
    s->name = slice_str(s->row.name);
    s->shard_count = shard_count;
    for (uint32_t i = 0; i < shard_count; i++) {
        s->shard[i].row = shards[i];
        shard_id_format(shards[i].index, s->shard[i].id);
        s->open_count += shards[i].state == SHARD_OPEN;
    }
    qsort(s->shard, shard_count, sizeof(s->shard[0]), shard_order);
    int status = build_route(s);
    if (status < 0) {
        registry_unref(s);
        return status;
    }
    *out = s;
    return 0;
}

static struct slice uid_key(const struct registry_stream *s)
{
    return slice_of(&s->row.uid, sizeof(s->row.uid));
}

static int name_order(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

uint32_t registry_after(const struct registry *r, struct slice name)
{
    uint32_t lo = 0, hi = r->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (name_order(r->by_name[mid]->name, name) > 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static void take_out(struct registry *r, struct registry_stream *s)
{
    hashmap_remove(&r->by_uid, uid_key(s));
    hashmap_remove(&r->names, s->name);
    uint32_t at = registry_after(r, s->name) - 1;
    CHECK(r->by_name[at] == s);
    r->count--;
    memmove(&r->by_name[at], &r->by_name[at + 1], (r->count - at) * sizeof(r->by_name[0]));
    if (!s->row.internal)
        r->shard_count -= s->open_count;
    registry_unref(s);
}

static int make_room(struct registry *r)
{
    if (r->count < r->cap)
        return 0;
    uint32_t cap = r->cap ? 2 * r->cap : 16;
    struct registry_stream **grown = realloc(r->by_name, cap * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    r->by_name = grown;
    r->cap = cap;
    return 0;
}

int registry_put(struct registry *r, const struct catalog_stream *row, const struct catalog_shard *shards,
                 uint32_t shard_count)
{
    struct registry_stream *s;
    int status = entry_create(row, shards, shard_count, &s);
    if (status < 0)
        return status;
    status = make_room(r);
    if (status < 0) {
        registry_unref(s);
        return status;
    }
    struct registry_stream *old = registry_find_uid(r, row->uid);
    if (old)
        take_out(r, old); /* its slots are free now: the two puts below need no memory */
    if (hashmap_put(&r->by_uid, uid_key(s), s) < 0 || hashmap_put(&r->names, s->name, s) < 0) {
        hashmap_remove(&r->by_uid, uid_key(s));
        registry_unref(s);
        return -ENOMEM;
    }
    uint32_t at = registry_after(r, s->name);
    memmove(&r->by_name[at + 1], &r->by_name[at], (r->count - at) * sizeof(r->by_name[0]));
    r->by_name[at] = s;
    r->count++;
    if (!s->row.internal)
        r->shard_count += s->open_count;
    return 0;
}

void registry_remove(struct registry *r, uint64_t stream_uid)
{
    struct registry_stream *s = registry_find_uid(r, stream_uid);
    if (s)
        take_out(r, s);
}

struct registry_stream *registry_find(const struct registry *r, struct slice name)
{
    return hashmap_get(&r->names, name);
}

struct registry_stream *registry_find_uid(const struct registry *r, uint64_t stream_uid)
{
    return hashmap_get(&r->by_uid, slice_of(&stream_uid, sizeof(stream_uid)));
}

const struct registry_shard *registry_shard_find(const struct registry_stream *s, uint32_t index)
{
    uint32_t lo = 0, hi = s->shard_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->shard[mid].row.index < index)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->shard_count && s->shard[lo].row.index == index ? &s->shard[lo] : NULL;
}

const struct registry_shard *registry_shard_by_uid(const struct registry_stream *s, uint64_t uid)
{
    for (uint32_t i = 0; i < s->shard_count; i++)
        if (s->shard[i].row.uid == uid)
            return &s->shard[i];
    return NULL;
}

const struct registry_shard *registry_route(const struct registry_stream *s, const struct hash_key *key)
{
    return hash_route_find(&s->route, key);
}
