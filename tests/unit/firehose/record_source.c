#include "tests/unit/firehose/record_source.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/frame/crc32c.h"

static struct record_source *of(struct source *s)
{
    return CONTAINER_OF(s, struct record_source, source);
}

/* Requests wait in lists whose nodes lie in their `state`. */
static struct list *read_node(struct source_read *r)
{
    return (struct list *)(void *)r->state;
}
static struct list *wake_node(struct source_wake *w)
{
    return (struct list *)(void *)w->state;
}
static struct source_read *node_read(struct list *n)
{
    return CONTAINER_OF((void **)n, struct source_read, state);
}
static struct source_wake *node_wake(struct list *n)
{
    return CONTAINER_OF((void **)n, struct source_wake, state);
}

struct record_part *record_source_part(struct record_source *s, uint64_t uid)
{
    for (uint32_t i = 0; i < s->part_count; i++)
        if (s->part[i].info.uid == uid)
            return &s->part[i];
    return NULL;
}

static uint32_t source_parts(struct source *source, struct source_part *out, uint32_t cap)
{
    struct record_source *s = of(source);
    for (uint32_t i = 0; i < s->part_count && i < cap; i++)
        out[i] = s->part[i].info;
    return s->part_count;
}

static void source_do_read(struct source *source, struct source_read *r)
{
    struct record_source *s = of(source);
    list_push_back(&s->reads, read_node(r));
    s->reads_made++;
    loop_defer(s->loop, &s->answer);
}

static void source_release(struct source *source, struct source_block *b)
{
    CHECK(of(source)->lent > 0);
    of(source)->lent--;
}

static void source_do_wake(struct source *source, struct source_wake *w)
{
    struct record_source *s = of(source);
    list_push_back(&s->wakes, wake_node(w));
    loop_defer(s->loop, &s->answer);
}

static void source_wake_cancel(struct source *source, struct source_wake *w)
{
    list_remove(wake_node(w));
}

static void source_delivered(struct source *source, uint64_t part, uint64_t counter)
{
    struct record_part *p = record_source_part(of(source), part);
    if (p && counter > p->delivered)
        p->delivered = counter;
}

static const struct source_ops ops = {
    .parts = source_parts,
    .read = source_do_read,
    .release = source_release,
    .wake = source_do_wake,
    .wake_cancel = source_wake_cancel,
    .delivered = source_delivered,
};

static void fill_blocks(struct record_source *s, struct record_part *p, struct source_read *r)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->block_count && r->block_count < SOURCE_BLOCKS_MAX; i++) {
        const struct record_block *b = &p->blocks[i];
        if (b->header.base_counter + b->header.record_count <= r->from_counter)
            continue;
        if (r->block_count && bytes + b->header.raw_bytes > r->bytes_max)
            break;
        r->block[r->block_count++] =
            (struct source_block){.header = b->header, .payload = slice_of(b->payload, b->header.raw_bytes)};
        bytes += b->header.raw_bytes;
        s->lent++;
    }
}

static void answer_read(struct record_source *s, struct source_read *r)
{
    struct record_part *p = record_source_part(s, r->part);
    r->status = 0;
    r->block_count = 0;
    r->part_ended = false;
    if (!p) {
        r->status = ST_NOT_FOUND;
    } else if (s->fail_reads > 0) {
        s->fail_reads--;
        r->status = -EIO;
    } else if (r->from_counter < p->info.first_counter) {
        r->status = ST_TRIMMED;
        r->next_counter = p->info.first_counter;
    } else if (r->from_counter >= p->info.next_counter) {
        r->part_ended = r->from_counter >= p->info.end_counter;
    } else {
        fill_blocks(s, p, r);
    }
    r->done(r);
}

static void answer_run(struct io_defer *d)
{
    struct record_source *s = CONTAINER_OF(d, struct record_source, answer);
    struct list now;
    list_init(&now);
    list_splice_back(&now, &s->reads);
    for (struct list *n; (n = list_pop_front(&now));)
        answer_read(s, node_read(n));
    list_splice_back(&now, &s->wakes);
    for (struct list *n; (n = list_pop_front(&now));) {
        struct source_wake *w = node_wake(n);
        struct record_part *p = record_source_part(s, w->part);
        if (!p || p->info.next_counter > w->counter || p->info.end_counter <= w->counter)
            w->woken(w);
        else
            list_push_back(&s->wakes, wake_node(w));
    }
}

static void *default_alloc(size_t n)
{
    return calloc(1, n);
}

void record_source_init(struct record_source *s)
{
    *s = (struct record_source){.source.ops = &ops, .alloc = default_alloc, .free = free};
    list_init(&s->reads);
    list_init(&s->wakes);
    s->answer.run = answer_run;
}

void record_source_attach(struct record_source *s, struct loop *loop)
{
    s->loop = loop;
    s->source.parts_changed = NULL;
    s->source.delivery = NULL;
    s->lent = 0;
    list_init(&s->reads);
    list_init(&s->wakes);
    s->answer = (struct io_defer){.run = answer_run};
}

void record_source_deinit(struct record_source *s)
{
    for (uint32_t i = 0; i < s->part_count; i++) {
        for (uint32_t k = 0; k < s->part[i].block_count; k++)
            s->free(s->part[i].blocks[k].payload);
        s->free(s->part[i].blocks);
    }
    s->part_count = 0;
}

static void tell(struct record_source *s)
{
    if (s->loop)
        loop_defer(s->loop, &s->answer);
}

struct record_part *record_source_add(struct record_source *s, uint64_t uid, uint64_t first, uint64_t parent)
{
    CHECK(s->part_count < RECORD_PARTS_MAX);
    struct record_part *p = &s->part[s->part_count];
    *p = (struct record_part){.info = {.uid = uid,
                                       .index = s->part_count,
                                       .first_counter = first,
                                       .next_counter = first,
                                       .end_counter = UINT64_MAX,
                                       .parents = {parent}}};
    s->part_count++;
    if (s->source.parts_changed)
        s->source.parts_changed(&s->source);
    return p;
}

static struct record_block *new_block(struct record_source *s, struct record_part *p)
{
    if (p->block_count == p->block_cap) {
        uint32_t cap = p->block_cap ? p->block_cap * 2 : 16;
        struct record_block *more = s->alloc(cap * sizeof *more);
        CHECK(more);
        if (p->block_count)
            memcpy(more, p->blocks, p->block_count * sizeof *more);
        s->free(p->blocks);
        p->blocks = more;
        p->block_cap = cap;
    }
    return &p->blocks[p->block_count++];
}

void record_source_append(struct record_source *s, uint64_t part, const struct slice *data, uint32_t count,
                          struct wall_ms arrival)
{
    struct record_part *p = record_source_part(s, part);
    struct slice key = SLICE_LIT("key");
    size_t bytes = 0;
    CHECK(p && count);
    for (uint32_t i = 0; i < count; i++)
        bytes += block_record_bytes(key, data[i]);
    struct record_block *b = new_block(s, p);
    b->payload = s->alloc(bytes);
    CHECK(b->payload);
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++)
        at += block_record_write(b->payload + at, key, data[i]);
    b->header = (struct block_header){.record_count = count,
                                      .payload_bytes = (uint32_t)bytes,
                                      .raw_bytes = (uint32_t)bytes,
                                      .payload_crc = crc32c(0, b->payload, bytes),
                                      .base_counter = p->info.next_counter,
                                      .arrival = arrival};
    p->info.next_counter += count;
    tell(s);
}

void record_source_append_numbered(struct record_source *s, uint64_t part, uint32_t count, uint32_t bytes,
                                   struct wall_ms arrival)
{
    struct record_part *p = record_source_part(s, part);
    struct slice *data = s->alloc(count * sizeof *data);
    char *text = s->alloc((size_t)count * bytes + 64);
    CHECK(p && data && text && bytes >= 24);
    for (uint32_t i = 0; i < count; i++) {
        char *to = text + (size_t)i * bytes;
        int n = snprintf(to, 64, "%llu:%llu:", (unsigned long long)part, (unsigned long long)p->info.next_counter + i);
        memset(to + n, 'x', bytes - (size_t)n);
        data[i] = slice_of(to, bytes);
    }
    record_source_append(s, part, data, count, arrival);
    s->free(data);
    s->free(text);
}

void record_source_close(struct record_source *s, uint64_t part)
{
    struct record_part *p = record_source_part(s, part);
    p->info.end_counter = p->info.next_counter;
    tell(s);
}

void record_source_trim(struct record_source *s, uint64_t part, uint64_t counter)
{
    struct record_part *p = record_source_part(s, part);
    if (counter > p->info.first_counter)
        p->info.first_counter = counter;
}
