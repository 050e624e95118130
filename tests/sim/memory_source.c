#include "tests/sim/memory_source.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/check.h"
#include "common/base/hash.h"
#include "common/frame/crc32c.h"

static struct memory_source *source_of(struct source *s)
{
    return s->owner;
}

static struct memory_part *part_find(struct memory_source *m, uint64_t uid)
{
    for (uint32_t i = 0; i < m->part_count; i++)
        if (m->part[i].uid == uid)
            return &m->part[i];
    return NULL;
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

#define RECORD_BYTES_MAX 300000u

static uint32_t record_bytes(uint64_t uid, uint64_t counter, uint32_t typical)
{
    return 24 + (uint32_t)(hash_u64(uid << 40 ^ counter) % (2ull * typical + 1));
}

/* Writes the record; the length is part of its text, so that a cut one is seen. */
static void record_write(uint8_t *to, uint32_t len, uint64_t uid, uint64_t counter)
{
    char head[64];
    int n = snprintf(head, sizeof head, "%" PRIu64 ":%" PRIu64 ":%u:", uid, counter, len);
    for (uint32_t i = 0; i < len; i++)
        to[i] = i < (uint32_t)n ? (uint8_t)head[i] : (uint8_t)('a' + (counter + i) % 26);
}

bool memory_source_parse(const struct memory_source *m, struct slice line, uint32_t *out_part, uint64_t *out_counter)
{
    static uint8_t expect[RECORD_BYTES_MAX];
    uint64_t uid, counter;
    size_t a = slice_find(line, ':');
    struct slice rest = slice_from(line, a + 1);
    size_t b = slice_find(rest, ':');
    if (!slice_parse_u64(slice_first(line, a), &uid) || !slice_parse_u64(slice_first(rest, b), &counter) ||
        line.len > RECORD_BYTES_MAX)
        return false;
    record_write(expect, (uint32_t)line.len, uid, counter);
    if (!slice_eq(line, slice_of(expect, line.len)))
        return false;
    for (uint32_t i = 0; i < m->part_count; i++) {
        if (m->part[i].uid != uid || counter >= m->part[i].next_counter)
            continue;
        *out_part = i;
        *out_counter = counter;
        return true;
    }
    return false;
}

/* ---- what happens later ------------------------------------------------------------------------------------------ */

static struct memory_pending *pending_free(struct memory_source *m)
{
    for (uint32_t i = 0; i < MEMORY_READS_MAX; i++)
        if (!m->pending[i].read && !m->pending[i].wake)
            return &m->pending[i];
    CHECK(!"few reads and wake-ups are in flight");
    return NULL;
}

static void later(struct memory_pending *p, void (*fired)(struct io_timer *t))
{
    p->timer.fired = fired;
    timer_arm(p->m->loop, &p->timer,
              (struct mono_ns){sim_now_ns(p->m->w) + (int64_t)sim_between(p->m->w, 1000, 300000)});
}

static bool wake_due(struct memory_source *m, const struct source_wake *w)
{
    struct memory_part *p = part_find(m, w->part);
    return !p || p->closed || p->next_counter > w->counter;
}

static void wake_fired(struct io_timer *t)
{
    struct memory_pending *p = CONTAINER_OF(t, struct memory_pending, timer);
    struct source_wake *w = p->wake;
    p->wake = NULL;
    w->woken(w);
}

static void wake_those_due(struct memory_source *m)
{
    for (uint32_t i = 0; i < MEMORY_READS_MAX; i++) {
        struct memory_pending *p = &m->pending[i];
        if (p->wake && !timer_armed(&p->timer) && wake_due(m, p->wake))
            later(p, wake_fired);
    }
}

static void source_wake(struct source *s, struct source_wake *w)
{
    struct memory_source *m = source_of(s);
    struct memory_pending *p = pending_free(m);
    *p = (struct memory_pending){.m = m, .wake = w};
    if (wake_due(m, w))
        later(p, wake_fired);
}

static void source_wake_cancel(struct source *s, struct source_wake *w)
{
    struct memory_source *m = source_of(s);
    for (uint32_t i = 0; i < MEMORY_READS_MAX; i++) {
        if (m->pending[i].wake != w)
            continue;
        timer_disarm(m->loop, &m->pending[i].timer);
        m->pending[i].wake = NULL;
    }
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void read_blocks(struct memory_source *m, struct memory_part *p, struct source_read *r)
{
    uint64_t bytes = 0;
    uint32_t most = (uint32_t)sim_between(m->w, 1, SOURCE_BLOCKS_MAX);
    for (uint32_t i = 0; i < p->block_count && r->block_count < most && bytes < r->bytes_max; i++) {
        struct memory_block *b = &p->block[i];
        if (b->header.base_counter + b->header.record_count <= r->from_counter)
            continue;
        struct source_block *out = &r->block[r->block_count++];
        out->header = b->header;
        out->payload = slice_of(b->payload, b->header.payload_bytes);
        out->hold[0] = p;
        bytes += b->header.payload_bytes;
    }
}

static void read_fired(struct io_timer *t)
{
    struct memory_pending *pending = CONTAINER_OF(t, struct memory_pending, timer);
    struct memory_source *m = pending->m;
    struct source_read *r = pending->read;
    struct memory_part *p = part_find(m, r->part);
    pending->read = NULL;
    r->status = 0;
    r->block_count = 0;
    r->part_ended = false;
    if (!p) {
        r->status = ST_CLOSED;
    } else if (sim_chance(m->w, m->read_eio)) {
        r->status = -EIO;
    } else if (r->from_counter < p->first_counter) {
        r->status = ST_TRIMMED;
        r->next_counter = p->first_counter;
        snprintf(m->trouble, sizeof m->trouble,
                 "part %" PRIu64 " is read at %" PRIu64 ", delivered up to %" PRIu64 " as was said", p->uid,
                 r->from_counter, p->first_counter);
    } else {
        read_blocks(m, p, r);
        r->part_ended = p->closed && r->block_count == 0 && r->from_counter >= p->next_counter;
    }
    r->done(r);
}

static void source_read(struct source *s, struct source_read *r)
{
    struct memory_source *m = source_of(s);
    struct memory_pending *p = pending_free(m);
    *p = (struct memory_pending){.m = m, .read = r};
    later(p, read_fired);
}

static void source_release(struct source *s, struct source_block *b)
{
    b->hold[0] = NULL;
}

static uint32_t source_parts(struct source *s, struct source_part *out, uint32_t cap)
{
    struct memory_source *m = source_of(s);
    for (uint32_t i = 0; i < m->part_count && i < cap; i++) {
        const struct memory_part *p = &m->part[i];
        out[i] = (struct source_part){.uid = p->uid,
                                      .index = i,
                                      .first_counter = p->first_counter,
                                      .next_counter = p->next_counter,
                                      .end_counter = p->closed ? p->next_counter : UINT64_MAX,
                                      .parents = {p->parents[0], p->parents[1]}};
    }
    return m->part_count;
}

static void source_delivered(struct source *s, uint64_t part, uint64_t counter)
{
    struct memory_source *m = source_of(s);
    struct memory_part *p = part_find(m, part);
    if (!p || counter > p->next_counter) {
        snprintf(m->trouble, sizeof m->trouble, "delivered: part %" PRIu64 " up to %" PRIu64, part, counter);
        return;
    }
    if (counter > p->delivered)
        p->delivered = counter;
    if (sim_chance(m->w, 300000) && p->delivered > p->first_counter)
        p->first_counter = p->delivered;
}

static const struct source_ops memory_ops = {.parts = source_parts,
                                             .read = source_read,
                                             .release = source_release,
                                             .wake = source_wake,
                                             .wake_cancel = source_wake_cancel,
                                             .delivered = source_delivered};

/* ---- life -------------------------------------------------------------------------------------------------------- */

void memory_source_init(struct memory_source *m, struct sim_world *w)
{
    *m = (struct memory_source){.w = w, .source = {.ops = &memory_ops}};
    m->source.owner = m;
}

void memory_source_deinit(struct memory_source *m)
{
    for (uint32_t i = 0; i < m->part_count; i++) {
        for (uint32_t b = 0; b < m->part[i].block_count; b++)
            sim_heap_keep_free(m->part[i].block[b].payload);
        sim_heap_keep_free(m->part[i].block);
    }
}

void memory_source_restart(struct memory_source *m, struct loop *loop)
{
    memset(m->pending, 0, sizeof m->pending);
    m->loop = loop;
    m->source.parts_changed = NULL;
}

struct memory_part *memory_source_add_part(struct memory_source *m, uint64_t parent, uint64_t other_parent)
{
    CHECK(m->part_count < MEMORY_PARTS_MAX);
    struct memory_part *p = &m->part[m->part_count++];
    *p = (struct memory_part){.uid = 50 + m->part_count, .parents = {parent, other_parent}};
    if (m->source.parts_changed)
        m->source.parts_changed(&m->source);
    return p;
}

void memory_source_close_part(struct memory_source *m, struct memory_part *p)
{
    p->closed = true;
    wake_those_due(m);
    if (m->source.parts_changed)
        m->source.parts_changed(&m->source);
}

void memory_source_append(struct memory_source *m, struct memory_part *p, uint32_t count, uint32_t bytes)
{
    uint32_t payload = 0;
    for (uint32_t i = 0; i < count; i++)
        payload += BLOCK_RECORD_BYTES + 1 + record_bytes(p->uid, p->next_counter + i, bytes);
    if (p->block_count == p->block_cap) {
        p->block_cap = p->block_cap ? p->block_cap * 2 : 32;
        p->block = sim_heap_keep_again(p->block, p->block_cap * sizeof *p->block);
    }
    struct memory_block *b = &p->block[p->block_count++];
    *b = (struct memory_block){.payload = sim_heap_keep(payload)};
    uint8_t *record = sim_heap_keep(RECORD_BYTES_MAX), *to = b->payload;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len = record_bytes(p->uid, p->next_counter + i, bytes);
        CHECK(len <= RECORD_BYTES_MAX);
        record_write(record, len, p->uid, p->next_counter + i);
        to += block_record_write(to, SLICE_LIT("k"), slice_of(record, len));
    }
    sim_heap_keep_free(record);
    b->header = (struct block_header){.record_count = count,
                                      .payload_bytes = payload,
                                      .raw_bytes = payload,
                                      .payload_crc = crc32c(0, b->payload, payload),
                                      .base_counter = p->next_counter,
                                      .arrival = sim_wall(m->w)};
    p->next_counter += count;
    wake_those_due(m);
}
