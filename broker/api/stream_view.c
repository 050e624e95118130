/* A loop's streams as a delivery sees them: their shards, and word when these change; the last part of api.h. */
#include "broker/api/api_impl.h"

uint64_t api_stream_find(struct api_loop *l, struct slice name, enum stream_status *out_status)
{
    const struct registry_stream *s = registry_find(&l->registry, name);
    if (!s)
        return 0;
    if (out_status)
        *out_status = s->row.status;
    return s->row.uid;
}

uint32_t api_stream_shards(struct api_loop *l, uint64_t stream_uid, struct catalog_shard *out, uint32_t cap)
{
    const struct registry_stream *s = registry_find_uid(&l->registry, stream_uid);
    if (!s)
        return 0;
    for (uint32_t i = 0; i < s->shard_count && i < cap; i++)
        out[i] = s->shard[i].row;
    return s->shard_count;
}

/* A watch's `changed` may add and remove watches: one that is due is looked up anew each time. */
static void tell_watches(struct io_defer *d)
{
    struct api_loop *l = CONTAINER_OF(d, struct api_loop, tell);
    bool more = true;
    while (more) {
        more = false;
        LIST_FOREACH (it, &l->watches) {
            struct api_stream_watch *w = CONTAINER_OF(it, struct api_stream_watch, link);
            if (!w->due)
                continue;
            w->due = false;
            w->changed(w);
            more = true;
            break;
        }
    }
}

void stream_changed(struct api_loop *l, uint64_t stream_uid)
{
    bool due = false;
    LIST_FOREACH (it, &l->watches) {
        struct api_stream_watch *w = CONTAINER_OF(it, struct api_stream_watch, link);
        if (w->stream_uid == stream_uid)
            w->due = due = true;
    }
    if (!due)
        return;
    l->tell.run = tell_watches;
    loop_defer(l->io, &l->tell);
}

void api_stream_watch(struct api_loop *l, struct api_stream_watch *w)
{
    w->due = false;
    list_push_back(&l->watches, &w->link);
}

void api_stream_unwatch(struct api_stream_watch *w)
{
    list_remove(&w->link);
}
