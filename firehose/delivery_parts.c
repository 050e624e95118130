/*
 * The source stage of a delivery: which part is read next, up to three reads ahead, and waiting without polling.
 *
 *            read comes back with blocks
 *        ┌──────────────────────────────────┐
 *        ▼                                  │                  nothing there
 *      READY ─────── read ──────────▶ READING ────────────────────────────▶ WAITING
 *        ▲                              │  │ part_ended, no blocks              │ woken
 *        │ pause over                   │  ▼                                    ▼
 *      FAILED ◀──── error ──────────────┘ ENDED                              PACED ── pace over ──▶ READY
 *
 * A part is read once everything of its parents is in objects. After a read that brought little the part waits for the
 * source to wake it, and then for the pace (a tenth of the interval, at most 100 ms): what trickles in is read in few
 * reads; only the interval and the size decide when an object closes.
 *
 * A replay (an object that is built again from its intent) reads its ranges one after the other through the same slots;
 * the parts rest meanwhile.
 */
#include <stdlib.h>

#include "common/base/check.h"
#include "firehose/delivery_internal.h"

#define AGAIN_MS 1000

static void slot_done(struct source_read *r);
static void part_woken(struct source_wake *w);

static struct delivery_part *part_find(const struct delivery *d, uint64_t uid)
{
    for (uint32_t i = 0; i < d->part_count; i++)
        if (d->parts[i]->uid == uid)
            return d->parts[i];
    return NULL;
}

/* ---- the list of parts --------------------------------------------------------------------------------------------- */

static int part_add(struct delivery *d, const struct source_part *from, bool first)
{
    if (d->part_count == d->part_cap) {
        uint32_t cap = d->part_cap ? d->part_cap * 2 : 8;
        struct delivery_part **p = realloc(d->parts, cap * sizeof *p);
        if (!p)
            return -ENOMEM;
        d->parts = p;
        d->part_cap = cap;
    }
    struct delivery_part *part = calloc(1, sizeof *part);
    if (!part)
        return -ENOMEM;
    const struct journal_part *known = journal_state_part(firehose_journal_state(d->journal), from->uid);
    bool latest = first && d->current->settings.start == DELIVERY_START_LATEST;
    part->d = d;
    part->uid = from->uid;
    memcpy(part->parents, from->parents, sizeof part->parents);
    part->first = latest ? from->next_counter : from->first_counter;
    part->read_to = known ? known->position : part->first;
    part->wake.woken = part_woken;
    d->parts[d->part_count++] = part;
    return 0;
}

static int list_parts(struct delivery *d, uint32_t *out_count)
{
    for (;;) {
        uint32_t n = d->source->ops->parts(d->source, d->listing, d->listing_cap);
        if (n <= d->listing_cap) {
            *out_count = n;
            return 0;
        }
        struct source_part *more = realloc(d->listing, n * sizeof *more);
        if (!more)
            return -ENOMEM;
        d->listing = more;
        d->listing_cap = n;
    }
}

int parts_refresh(struct delivery *d, bool first)
{
    uint32_t n;
    int rc = list_parts(d, &n);
    for (uint32_t i = 0; i < d->part_count; i++)
        d->parts[i]->listed = false;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        struct delivery_part *part = part_find(d, d->listing[i].uid);
        if (!part) {
            rc = part_add(d, &d->listing[i], first);
            part = rc == 0 ? d->parts[d->part_count - 1] : NULL;
        }
        if (part)
            part->listed = true;
    }
    d->parts_stale = rc < 0;
    return rc;
}

void parts_free(struct delivery *d)
{
    for (uint32_t i = 0; i < d->part_count; i++)
        free(d->parts[i]);
    free(d->parts);
    free(d->listing);
    d->parts = NULL;
    d->listing = NULL;
    d->part_count = d->part_cap = d->listing_cap = 0;
}

/* Its parents' records are all in objects, so the order per key holds. A parent that the source has forgotten is. */
static bool parents_over(const struct delivery *d, const struct delivery_part *part)
{
    for (int i = 0; i < 2; i++) {
        const struct delivery_part *parent = part->parents[i] ? part_find(d, part->parents[i]) : NULL;
        if (parent && parent->listed && !parent->over)
            return false;
    }
    return true;
}

/* ---- reading -------------------------------------------------------------------------------------------------------- */

void slot_release(struct delivery *d, struct delivery_slot *slot)
{
    for (uint32_t i = 0; i < slot->read.block_count; i++)
        d->source->ops->release(d->source, &slot->read.block[i]);
    slot->read.block_count = 0;
    list_remove(&slot->link);
    slot->state = SLOT_FREE;
}

bool slots_in_flight(const struct delivery *d)
{
    for (uint32_t i = 0; i < DELIVERY_READS; i++)
        if (d->slot[i].state == SLOT_IN_FLIGHT)
            return true;
    return false;
}

static struct delivery_slot *slot_free(struct delivery *d)
{
    for (uint32_t i = 0; i < DELIVERY_READS; i++)
        if (d->slot[i].state == SLOT_FREE)
            return &d->slot[i];
    return NULL;
}

static void slot_read(struct delivery *d, struct delivery_slot *slot, struct delivery_part *part, uint64_t uid,
                      uint64_t from, uint64_t to)
{
    slot->d = d;
    slot->part = part;
    slot->to = to;
    slot->state = SLOT_IN_FLIGHT;
    slot->read.done = slot_done;
    slot->read.part = uid;
    slot->read.from_counter = from;
    slot->read.bytes_max = DELIVERY_READ_BYTES;
    slot->read.status = 0;
    slot->read.part_ended = false;
    slot->read.block_count = 0;
    d->source->ops->read(d->source, &slot->read);
}

/* The next part in turn that may have something, or NULL. */
static struct delivery_part *part_pick(struct delivery *d)
{
    for (uint32_t i = 0; i < d->part_count; i++) {
        struct delivery_part *part = d->parts[(d->part_next + i) % d->part_count];
        if (part->state == PART_READY && part->listed && parents_over(d, part)) {
            d->part_next = (d->part_next + i + 1) % d->part_count;
            return part;
        }
    }
    return NULL;
}

static void read_replay(struct delivery *d)
{
    const struct journal_intent *in = &d->filling->intent;
    struct delivery_slot *slot = slot_free(d);
    if (!slot || slots_in_flight(d) || d->replay_paused || d->replay_range >= in->range_count)
        return;
    const struct journal_range *r = &in->ranges[d->replay_range];
    slot_read(d, slot, NULL, r->part, d->replay_read_to, r->to);
}

void parts_read_ahead(struct delivery *d)
{
    if (d->filling && d->filling->journaled) {
        read_replay(d);
        return;
    }
    struct delivery_slot *slot;
    struct delivery_part *part;
    while ((slot = slot_free(d)) && (part = part_pick(d))) {
        part->state = PART_READING;
        part->read_at = loop_now(d->loop);
        slot_read(d, slot, part, part->uid, part->read_to, UINT64_MAX);
    }
}

static uint64_t slot_end(const struct delivery_slot *slot)
{
    const struct block_header *last = &slot->read.block[slot->read.block_count - 1].header;
    return last->base_counter + last->record_count;
}

static uint64_t slot_bytes(const struct delivery_slot *slot)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < slot->read.block_count; i++)
        sum += slot->read.block[i].payload.len;
    return sum;
}

static void lost(struct delivery *d, uint64_t part, uint64_t from, uint64_t to, const char *why)
{
    if (to <= from)
        return;
    d->status.lost_records += to - from;
    delivery_error(d, ST_TRIMMED, "part %llu: records %llu to %llu are lost: %s", (unsigned long long)part,
                   (unsigned long long)from, (unsigned long long)to - 1, why);
}

static void again_later(struct delivery *d)
{
    if (!timer_armed(&d->again_timer))
        timer_arm(d->loop, &d->again_timer, mono_add_ms(loop_now(d->loop), AGAIN_MS));
}

static void part_wait(struct delivery_part *part)
{
    struct delivery *d = part->d;
    part->state = PART_WAITING;
    part->wake.part = part->uid;
    part->wake.counter = part->read_to;
    d->source->ops->wake(d->source, &part->wake);
}

/* What a part's read has brought. The slot is free or ready afterwards. */
static void part_read_done(struct delivery *d, struct delivery_slot *slot, struct delivery_part *part)
{
    struct source_read *r = &slot->read;
    if (r->status == ST_TRIMMED && r->next_counter > part->read_to) {
        uint64_t from = part->lost_to > part->read_to ? part->lost_to : part->read_to; /* once, also after a reset */
        lost(d, part->uid, from, r->next_counter, "retention took them before they were delivered");
        part->lost_to = r->next_counter;
        part->read_to = r->next_counter;
        part->state = PART_READY;
        slot->state = SLOT_FREE;
    } else if (r->status == ST_NOT_FOUND) {
        part->state = PART_ENDED;
        slot->state = SLOT_READY; /* in its turn it says that the part is over */
        list_push_back(&d->ready, &slot->link);
    } else if (r->status < 0) {
        delivery_error(d, r->status, "read part %llu at %llu", (unsigned long long)part->uid,
                       (unsigned long long)part->read_to);
        part->state = PART_FAILED;
        slot->state = SLOT_FREE;
        again_later(d);
    } else if (r->block_count) {
        part->read_to = slot_end(slot);
        slot->state = SLOT_READY;
        list_push_back(&d->ready, &slot->link);
        if (slot_bytes(slot) >= DELIVERY_READ_BYTES / 4 || d->stop)
            part->state = PART_READY;
        else
            part_wait(part);
    } else if (r->part_ended) {
        part->state = PART_ENDED;
        slot->state = SLOT_READY;
        list_push_back(&d->ready, &slot->link);
    } else {
        slot->state = SLOT_FREE;
        if (d->stop)
            part->state = PART_DRAINED;
        else
            part_wait(part);
    }
}

static void replay_move(struct delivery *d, uint64_t to)
{
    const struct journal_intent *in = &d->filling->intent;
    d->replay_read_to = to;
    if (to >= in->ranges[d->replay_range].to && ++d->replay_range < in->range_count)
        d->replay_read_to = in->ranges[d->replay_range].from;
}

static void replay_read_done(struct delivery *d, struct delivery_slot *slot)
{
    struct source_read *r = &slot->read;
    if (r->status == 0 && r->block_count) {
        slot->state = SLOT_READY;
        list_push_back(&d->ready, &slot->link);
        replay_move(d, slot_end(slot));
        return;
    }
    slot->state = SLOT_FREE;
    bool gone = r->status == ST_NOT_FOUND || (r->status == 0 && r->part_ended);
    if (gone || (r->status == ST_TRIMMED && r->next_counter > d->replay_read_to)) {
        uint64_t to = gone || r->next_counter > slot->to ? slot->to : r->next_counter;
        lost(d, r->part, d->replay_read_to, to, "an open object's records are no longer there");
        replay_move(d, to);
        return;
    }
    delivery_error(d, r->status ? r->status : ST_FAILED, "read part %llu again at %llu", (unsigned long long)r->part,
                   (unsigned long long)d->replay_read_to);
    d->replay_paused = true;
    again_later(d);
}

static void slot_done(struct source_read *r)
{
    struct delivery_slot *slot = CONTAINER_OF(r, struct delivery_slot, read);
    struct delivery *d = slot->d;
    if (d->resetting || d->stop >= STOP_DROP) {
        if (slot->part)
            slot->part->state = PART_READY;
        slot_release(d, slot);
        delivery_reset_step(d);
        return;
    }
    if (slot->part)
        part_read_done(d, slot, slot->part);
    else
        replay_read_done(d, slot);
    fill_kick(d);
}

/* ---- waiting --------------------------------------------------------------------------------------------------------- */

static uint32_t pace_ms(const struct delivery *d)
{
    uint32_t ms = d->current->settings.interval_ms / 10;
    return ms < PACE_MS_MAX ? ms : PACE_MS_MAX;
}

static void part_woken(struct source_wake *w)
{
    struct delivery_part *part = CONTAINER_OF(w, struct delivery_part, wake);
    struct delivery *d = part->d;
    if (part->state != PART_WAITING)
        return;
    struct mono_ns then = mono_add_ms(part->read_at, pace_ms(d));
    if (then.ns <= loop_now(d->loop).ns) {
        part->state = PART_READY;
        fill_kick(d);
        return;
    }
    part->state = PART_PACED;
    if (!timer_armed(&d->pace_timer) || d->pace_timer.when.ns > then.ns)
        timer_arm(d->loop, &d->pace_timer, then);
}

void parts_hurry(struct delivery *d)
{
    for (uint32_t i = 0; i < d->part_count; i++)
        if (d->parts[i]->state == PART_PACED)
            d->parts[i]->state = PART_READY;
}

void parts_retry_failed(struct delivery *d)
{
    d->replay_paused = false;
    for (uint32_t i = 0; i < d->part_count; i++)
        if (d->parts[i]->state == PART_FAILED)
            d->parts[i]->state = PART_READY;
}

bool parts_caught_up(const struct delivery *d)
{
    if (slots_in_flight(d) || !list_empty(&d->ready))
        return false;
    for (uint32_t i = 0; i < d->part_count; i++) {
        const struct delivery_part *part = d->parts[i];
        if ((part->state == PART_READY || part->state == PART_PACED) && part->listed && parents_over(d, part))
            return false;
    }
    return true;
}

static void part_unwait(struct delivery_part *part)
{
    if (part->state == PART_WAITING)
        part->d->source->ops->wake_cancel(part->d->source, &part->wake);
}

/* What waits may have something by now that nobody has told of yet: only an empty read says that nothing is left. */
void parts_drain(struct delivery *d)
{
    for (uint32_t i = 0; i < d->part_count; i++) {
        struct delivery_part *part = d->parts[i];
        part_unwait(part);
        if (part->state == PART_WAITING || part->state == PART_PACED)
            part->state = PART_READY;
    }
}

bool parts_drained(const struct delivery *d)
{
    if (slots_in_flight(d) || !list_empty(&d->ready))
        return false;
    for (uint32_t i = 0; i < d->part_count; i++) {
        const struct delivery_part *part = d->parts[i];
        if (part->state == PART_READY && part->listed && parents_over(d, part))
            return false;
    }
    return true;
}

/* Back to what the journal covers; nothing is in flight, no slot is ready. */
void parts_rewind(struct delivery *d)
{
    for (uint32_t i = 0; i < d->part_count; i++) {
        struct delivery_part *part = d->parts[i];
        const struct journal_part *known = journal_state_part(firehose_journal_state(d->journal), part->uid);
        CHECK(part->state != PART_READING);
        uint64_t at = known ? known->position : part->first;
        bool ended_untold = part->state == PART_ENDED && !part->over; /* the slot that told of the end is gone */
        if (at == part->read_to && part->state != PART_FAILED && part->state != PART_DRAINED && !ended_untold)
            continue; /* nothing was read past it: what it waits for stays the same */
        part_unwait(part);
        part->read_to = at;
        part->state = PART_READY;
        part->over = false;
    }
}

void parts_stop(struct delivery *d)
{
    for (uint32_t i = 0; i < d->part_count; i++) {
        part_unwait(d->parts[i]);
        if (d->parts[i]->state != PART_READING)
            d->parts[i]->state = PART_FAILED; /* nobody reads it any more */
    }
}
