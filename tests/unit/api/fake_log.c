/*
 * broker/log/log.h in memory, for the tests of broker/api: an append becomes a block at the end of the iteration, and
 * what a real log can answer can be asked for by fake_log_fail_*. One thread (all loops of the simulator run on it).
 */
#include "tests/unit/api/fake_log.h"

#include "tests/sim/sim.h"

#include <stdlib.h>

#include "common/base/check.h"

#define BLOCKS_MAX 20000
#define SHARDS_MAX 64

struct fake_block {
    struct block_header header;
    uint8_t *payload;
};

struct log_shard {
    uint64_t uid;
    struct log *log;
    bool gone;
    uint64_t next, first;
    struct log_retention retention;
    struct fake_block *block;
    uint32_t count;
    struct list watches;
};

struct log {
    struct loop *loop;
    struct io_defer defer;
    struct list appends, reads, seeks, removes;
    struct log_shard *shard[SHARDS_MAX];
    uint32_t shard_count;
    struct log_close *close;
};

struct fake_log_control fake_log;
static struct log_stats stats;

void fake_log_reset(void)
{
    fake_log = (struct fake_log_control){0};
}

/* ---- blocks ---- */

static void shard_store(struct log_shard *s, const struct block_record *records, uint32_t count, struct log_append *a)
{
    CHECK(s->count < BLOCKS_MAX);
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += block_record_bytes(records[i].key, records[i].data);
    struct fake_block *b = &s->block[s->count++];
    b->payload = sim_heap_keep(bytes);
    CHECK(b->payload);
    uint8_t *to = b->payload;
    for (uint32_t i = 0; i < count; i++)
        to += block_record_write(to, records[i].key, records[i].data);
    b->header = (struct block_header){.record_count = count,
                                      .payload_bytes = (uint32_t)bytes,
                                      .raw_bytes = (uint32_t)bytes,
                                      .base_counter = s->next,
                                      .arrival = loop_wall(s->log->loop)};
    a->base_counter = s->next;
    a->arrival = b->header.arrival;
    s->next += count;
}

void fake_log_trim(struct log_shard *s, uint64_t first)
{
    s->first = first;
}

static void log_run(struct io_defer *d);

static void kick(struct log *log)
{
    log->defer.run = log_run;
    loop_defer(log->loop, &log->defer);
}

/* ---- life ---- */

void log_open(struct log_open *o)
{
    o->status = fake_log.open_status;
    if (o->status < 0)
        err_set(&o->err, o->status, "journal 3: bad checksum");
    for (uint32_t i = 0; i < o->loop_count && o->status >= 0; i++) {
        struct log *log = sim_heap_keep(sizeof(*log));
        CHECK(log);
        log->loop = o->loops[i];
        list_init(&log->appends);
        list_init(&log->reads);
        list_init(&log->seeks);
        list_init(&log->removes);
        o->logs[i] = log;
        fake_log.log[i] = log;
    }
    fake_log.live_count = o->live_count;
    for (size_t i = 0; i < o->live_count && o->status >= 0; i++) {
        struct log_shard *s;
        fake_log.deleting_count += o->live[i].deleting;
        if (!o->live[i].deleting)
            CHECK(log_shard_create(o->logs[o->live[i].loop_index], o->live[i].uid, &s) == 0);
    }
    o->done(o);
}

void log_close(struct log *log, struct log_close *c)
{
    log->close = c;
    kick(log);
}

static void log_free(struct log *log)
{
    for (uint32_t i = 0; i < log->shard_count; i++) {
        struct log_shard *s = log->shard[i];
        for (uint32_t k = 0; k < s->count; k++)
            sim_heap_keep_free(s->block[k].payload);
        sim_heap_keep_free(s->block);
        sim_heap_keep_free(s);
    }
    sim_heap_keep_free(log);
}

int log_shard_create(struct log *log, uint64_t uid, struct log_shard **out)
{
    if (fake_log.create_failures) {
        fake_log.create_failures--;
        return -ENOMEM;
    }
    if (log_shard_find(log, uid))
        return ST_EXISTS;
    CHECK(log->shard_count < SHARDS_MAX);
    struct log_shard *s = sim_heap_keep(sizeof(*s));
    CHECK(s);
    s->block = sim_heap_keep(BLOCKS_MAX * sizeof(*s->block));
    CHECK(s->block);
    s->uid = uid;
    s->log = log;
    list_init(&s->watches);
    log->shard[log->shard_count++] = s;
    *out = s;
    return 0;
}

struct log_shard *log_shard_find(struct log *log, uint64_t uid)
{
    for (uint32_t i = 0; i < log->shard_count; i++)
        if (log->shard[i]->uid == uid && !log->shard[i]->gone)
            return log->shard[i];
    return NULL;
}

void log_shard_remove(struct log_shard *s, struct log_remove *r)
{
    s->gone = true;
    fake_log.removed++;
    for (struct list *it; (it = list_pop_front(&s->watches));) {
        struct log_watch *w = CONTAINER_OF(it, struct log_watch, link);
        w->woken(w);
    }
    r->private = NULL;
    r->status = 0;
    /* the struct has no link: remember it in a small table */
    for (uint32_t i = 0; i < SHARDS_MAX; i++)
        if (!fake_log.removing[i]) {
            fake_log.removing[i] = r;
            break;
        }
    fake_log.removing_log = s->log;
    kick(s->log);
}

void log_shard_info(const struct log_shard *s, struct log_shard_info *out)
{
    *out = (struct log_shard_info){.first_counter = s->first,
                                   .next_counter = s->next,
                                   .visible_counter = s->next,
                                   .synced_counter = s->next,
                                   .needed_counter = UINT64_MAX};
    if (s->count)
        out->last_arrival = s->block[s->count - 1].header.arrival;
}

/* ---- appending and reading ---- */

struct pending {
    struct list link;
    struct log_append *a;
    struct log_shard *s;
    struct block_record *records;
};

int log_append(struct log_shard *s, const struct block_record *records, uint32_t count, struct log_append *a)
{
    fake_log.append_calls++;
    if (fake_log.refuse_uid == s->uid || fake_log.refuse_uid == UINT64_MAX)
        return fake_log.refuse_status;
    a->status = fake_log.append_status;
    if (a->status >= 0)
        shard_store(s, records, count, a);
    list_push_back(&s->log->appends, &a->link);
    kick(s->log);
    return 0;
}

void log_read(struct log_shard *s, struct log_read *r)
{
    r->shard = s;
    list_push_back(&s->log->reads, &r->link);
    kick(s->log);
}

void log_read_cancel(struct log_read *r)
{
    (void)r;
}

void log_seek(struct log_shard *s, struct log_seek *k)
{
    k->shard = s;
    list_push_back(&s->log->seeks, &k->link);
    kick(s->log);
}

void log_block_release(struct log *log, struct log_block *b)
{
    (void)log;
    CHECK(b->hold);
    b->hold = NULL;
    fake_log.lent--;
}

static void read_fill(struct log_read *r)
{
    struct log_shard *s = r->shard;
    uint64_t bytes = 0;
    r->status = fake_log.read_status;
    r->block_count = 0;
    if (r->status >= 0 && s->gone)
        r->status = ST_CLOSED;
    if (r->status >= 0 && r->from_counter < s->first)
        r->status = ST_TRIMMED;
    for (uint32_t i = 0; i < s->count && r->status >= 0; i++) {
        struct fake_block *b = &s->block[i];
        if (b->header.base_counter + b->header.record_count <= r->from_counter)
            continue;
        if (r->block_count == r->blocks_max || bytes >= r->bytes_max)
            break;
        r->block[r->block_count++] = (struct log_block){b->header, slice_of(b->payload, b->header.payload_bytes), b};
        bytes += b->header.payload_bytes;
        fake_log.lent++;
    }
}

static void seek_fill(struct log_seek *k)
{
    k->status = 0;
    k->counter = k->shard->next;
    for (uint32_t i = 0; i < k->shard->count; i++)
        if (k->shard->block[i].header.arrival.ms >= k->at.ms) {
            k->counter = k->shard->block[i].header.base_counter;
            break;
        }
}

static void wake(struct log *log)
{
    for (uint32_t i = 0; i < log->shard_count; i++)
        LIST_FOREACH_SAFE (it, &log->shard[i]->watches) {
            struct log_watch *w = CONTAINER_OF(it, struct log_watch, link);
            if (log->shard[i]->next <= w->counter)
                continue;
            list_remove(&w->link);
            w->woken(w);
        }
}

static void log_run(struct io_defer *d)
{
    struct log *log = CONTAINER_OF(d, struct log, defer);
    struct list appends, reads, seeks;
    list_init(&appends);
    list_init(&reads);
    list_init(&seeks);
    list_splice_back(&appends, &log->appends);
    list_splice_back(&reads, &log->reads);
    list_splice_back(&seeks, &log->seeks);
    for (struct list *it; (it = list_pop_front(&appends));) {
        struct log_append *a = CONTAINER_OF(it, struct log_append, link);
        a->done(a);
    }
    for (struct list *it; (it = list_pop_front(&reads));) {
        struct log_read *r = CONTAINER_OF(it, struct log_read, link);
        read_fill(r);
        r->done(r);
    }
    for (struct list *it; (it = list_pop_front(&seeks));) {
        struct log_seek *k = CONTAINER_OF(it, struct log_seek, link);
        seek_fill(k);
        k->done(k);
    }
    for (uint32_t i = 0; i < SHARDS_MAX; i++) {
        struct log_remove *r = fake_log.removing[i];
        fake_log.removing[i] = NULL;
        if (r)
            r->done(r);
    }
    wake(log);
    if (log->close) {
        struct log_close *c = log->close;
        log_free(log);
        c->status = 0;
        c->done(c);
    }
}

/* ---- waiting, retention ---- */

void log_watch(struct log_shard *s, struct log_watch *w)
{
    w->shard = s;
    list_push_back(&s->watches, &w->link);
    kick(s->log);
}

void log_unwatch(struct log_watch *w)
{
    list_remove(&w->link);
}

void log_shard_retain(struct log_shard *s, const struct log_retention *r)
{
    s->retention = *r;
}

struct log_retention fake_log_retention(const struct log_shard *s)
{
    return s->retention;
}

void log_need_add(struct log_shard *s, struct log_need *n)
{
    n->shard = s;
    fake_log.need = n;
}

void log_need_moved(struct log_need *n)
{
    CHECK(fake_log.need == n);
}

void log_need_remove(struct log_need *n)
{
    CHECK(fake_log.need == n);
    fake_log.need = NULL;
}

const struct log_stats *log_stats(const struct log *log)
{
    (void)log;
    return &stats;
}
