/*
 * The buffer stage: what goes into which object, and when an object closes. One object is filled at a time; records are
 * copied from the blocks of the ready slots into pieces (format.h), by a worker if there are many.
 *
 * An object closes
 *   - by size: the next record would take it over buffer_bytes;
 *   - by time: at `soft`, when its oldest record is interval_ms old, if everything that is there has been read; else at
 *     `hard`, interval_ms (at least a second) after it was opened. So a backlog makes full objects, not one object a
 *     read, though its records are old already;
 *   - at a flush or a stop;
 *   - a replay: when all records of its intent are in.
 *
 * Never inside of a record. Everything starts from fill_run, which runs once an iteration when something has changed.
 */
#include "common/base/check.h"
#include "firehose/delivery_internal.h"

#define PIECE_AGAIN_MS 1000

static void fill_run(struct delivery *d);

void fill_kick(struct delivery *d)
{
    loop_defer(d->loop, &d->kick);
}

/* ---- closing --------------------------------------------------------------------------------------------------------- */

bool fill_mid_record(const struct delivery *d)
{
    return d->run.cursor.begun;
}

/* An object that no record came into: opened, and then asked to close; or a replay whose records are all lost. */
static void close_empty(struct delivery *d)
{
    struct delivery_object *o = d->filling;
    d->filling = NULL;
    d->flow = NULL;
    timer_disarm(d->loop, &d->due_timer);
    flow_drop_all(o);
    if (o->journaled)
        object_commit(o);
    else
        object_free(o);
}

/* True once the object is closed; else fill_run comes back to it (no piece for its end, or a record is half out). */
static bool fill_close(struct delivery *d)
{
    struct delivery_object *o = d->filling;
    o->close_wanted = true;
    if (d->formatting || fill_mid_record(d))
        return false;
    if (!o->intent.records) {
        close_empty(d);
        return true;
    }
    bool needs_end = !o->begun || o->version->settings.recipient_count;
    if (!d->flow && needs_end && !(d->flow = flow_get(d, o)))
        return false;
    struct delivery_flow *f = d->flow;
    d->flow = NULL;
    d->filling = NULL;
    timer_disarm(d->loop, &d->due_timer);
    if (f)
        flow_seal(f, true);
    o->last = true;
    object_closed(o);
    return true;
}

void fill_close_wanted(struct delivery *d)
{
    if (d->filling && !d->filling->journaled)
        d->filling->close_wanted = true;
    fill_kick(d);
}

/* Sets the deadlines when the object's first record is in. */
static void set_deadlines(struct delivery *d, struct delivery_object *o)
{
    int64_t interval = o->version->settings.interval_ms;
    int64_t age = loop_wall(d->loop).ms - o->intent.oldest.ms;
    age = age < 0 ? 0 : age > interval ? interval : age;
    struct mono_ns now = loop_now(d->loop);
    o->soft = mono_add_ms(now, interval - age);
    o->hard = mono_add_ms(now, interval > HARD_MS_MIN ? interval : HARD_MS_MIN);
    timer_arm(d->loop, &d->due_timer, o->soft);
}

/* Is it time? */
static void check_due(struct delivery *d)
{
    struct delivery_object *o = d->filling;
    if (!o || o->journaled || !o->intent.records || o->close_wanted)
        return;
    int64_t now = loop_now(d->loop).ns;
    if (now >= o->hard.ns || (now >= o->soft.ns && parts_caught_up(d)))
        o->close_wanted = true;
    else if (now >= o->soft.ns)
        timer_arm(d->loop, &d->due_timer, o->hard);
}

static void due_fired(struct io_timer *t)
{
    struct delivery *d = CONTAINER_OF(t, struct delivery, due_timer);
    parts_hurry(d);
    fill_run(d);
}

/* ---- copying --------------------------------------------------------------------------------------------------------- */

/* What a run of format has brought, into the object. */
static void count_run(struct delivery *d, struct delivery_object *o, struct delivery_slot *slot)
{
    const struct format_run *run = &d->run;
    if (!run->records)
        return;
    if (!o->intent.records || run->oldest.ms < o->intent.oldest.ms)
        o->intent.oldest = run->oldest;
    bool first = o->intent.records == 0;
    o->intent.records += run->records;
    o->intent.raw_bytes += run->bytes;
    if (o->journaled)
        return; /* its ranges are fixed */
    if (first)
        set_deadlines(d, o);
    /* a gap in the counters (records lost) begins a new range */
    if (journal_intent_add_range(&o->intent, slot->part->uid, run->first_counter, run->next_counter) < 0)
        delivery_reset(d, true);
}

/* All of the slot is in objects (or it told of an end). */
static void slot_over(struct delivery *d, struct delivery_slot *slot)
{
    if (slot->part && slot->part->state == PART_ENDED && !slot->read.block_count)
        slot->part->over = true;
    slot_release(d, slot);
    d->run.cursor = (struct format_cursor){0};
}

/* A block whose records contradict its header cannot be read any further: its rest is lost, and told of. */
static void skip_block(struct delivery *d, struct delivery_slot *slot)
{
    struct format_cursor *c = &d->run.cursor;
    const struct block_header *h = &slot->read.block[c->block].header;
    d->status.lost_records += h->base_counter + h->record_count - c->counter;
    delivery_error(d, ST_CORRUPT, "part %llu: the block at %llu contradicts itself",
                   (unsigned long long)slot->read.part, (unsigned long long)h->base_counter);
    c->block++;
    c->entered = c->have_record = c->begun = false;
}

/* After a run: true to go on at once. */
static bool after_run(struct delivery *d)
{
    struct delivery_slot *slot = CONTAINER_OF(d->ready.next, struct delivery_slot, link);
    struct delivery_object *o = d->filling;
    d->flow->piece->len = d->run.out_len;
    count_run(d, o, slot);
    if (d->resetting)
        return false;
    switch (d->run.end) {
    case FORMAT_FULL:
        flow_seal(d->flow, false);
        d->flow = NULL;
        return true;
    case FORMAT_CUT:
        return fill_close(d);
    case FORMAT_CORRUPT:
        skip_block(d, slot);
        return true;
    default:
        slot_over(d, slot);
        return true;
    }
}

static void format_work(struct io_job *j)
{
    format_records(&CONTAINER_OF(j, struct delivery, format_job)->run);
}

static void format_done(struct io_job *j)
{
    struct delivery *d = CONTAINER_OF(j, struct delivery, format_job);
    d->formatting = false;
    if (d->resetting) {
        delivery_reset_step(d);
        return;
    }
    after_run(d);
    fill_run(d);
}

/* Copies from the first ready slot into the current piece: true if it is done, false if a worker does it. */
static bool start_run(struct delivery *d, struct delivery_slot *slot)
{
    struct delivery_object *o = d->filling;
    struct format_run *run = &d->run;
    struct piece *piece = d->flow->piece;
    run->blocks = slot->read.block;
    run->block_count = slot->read.block_count;
    run->from = slot->read.from_counter;
    run->to = slot->to;
    run->delimiter = o->version->settings.delimiter;
    run->object_bytes = o->intent.raw_bytes;
    run->object_bytes_max = o->journaled ? UINT64_MAX : o->version->settings.buffer_bytes;
    run->stop = o->close_wanted;
    run->out = piece->buffer[piece->at];
    run->out_cap = PIECE_RAW_BYTES;
    run->out_len = piece->len;
    uint64_t bytes = 0;
    for (uint32_t i = run->cursor.block; i < run->block_count && bytes < FORMAT_INLINE_BYTES; i++)
        bytes += run->blocks[i].payload.len;
    if (bytes < FORMAT_INLINE_BYTES) {
        format_records(run);
        return true;
    }
    d->formatting = true;
    job_submit(d->loop, &d->format_job);
    return false;
}

/* ---- the stage -------------------------------------------------------------------------------------------------------- */

/* The object to fill: a replay before anything new. NULL: none now. */
static struct delivery_object *fill_object(struct delivery *d)
{
    if (d->filling)
        return d->filling;
    LIST_FOREACH (it, &d->objects) {
        struct delivery_object *o = CONTAINER_OF(it, struct delivery_object, order);
        if (o->state == OBJECT_REPLAY) {
            o->state = OBJECT_FILLING;
            d->replay_range = 0;
            d->replay_read_to = o->intent.range_count ? o->intent.ranges[0].from : 0;
            return d->filling = o;
        }
    }
    return NULL;
}

static bool replay_complete(const struct delivery *d)
{
    const struct delivery_object *o = d->filling;
    return o && o->journaled && d->replay_range >= o->intent.range_count && list_empty(&d->ready) &&
           !slots_in_flight(d);
}

/* The first slot that has records; those that only tell of an end are done with. */
static struct delivery_slot *first_slot(struct delivery *d)
{
    while (!list_empty(&d->ready)) {
        struct delivery_slot *slot = CONTAINER_OF(d->ready.next, struct delivery_slot, link);
        if (slot->read.block_count)
            return slot;
        slot_over(d, slot);
    }
    return NULL;
}

/* Copies until there is nothing to copy, or nothing to copy it into. */
static void fill_copy(struct delivery *d)
{
    struct delivery_slot *slot;
    while (!d->resetting && !d->formatting && (slot = first_slot(d))) {
        if (d->filling && d->filling->close_wanted && !fill_mid_record(d))
            return;
        if (!fill_object(d) && !(d->filling = object_open(d)))
            return; /* one that becomes free kicks */
        if (!d->flow && !(d->flow = flow_get(d, d->filling)))
            return;
        if (!start_run(d, slot))
            return;
        if (!after_run(d))
            return;
    }
}

static bool fill_allowed(const struct delivery *d)
{
    return d->state != DELIVERY_OPENING && d->state != DELIVERY_FAILED && !d->resetting && !d->pausing &&
           d->stop < STOP_DROP;
}

static void fill_run(struct delivery *d)
{
    if (!fill_allowed(d))
        return;
    if (d->parts_stale && parts_refresh(d, false) < 0 && !timer_armed(&d->again_timer))
        timer_arm(d->loop, &d->again_timer, mono_add_ms(loop_now(d->loop), PIECE_AGAIN_MS));
    bool more;
    do {
        more = false;
        fill_object(d);
        parts_read_ahead(d);
        check_due(d); /* also while there is always more to copy */
        fill_copy(d);
        if (d->resetting)
            return;
        parts_read_ahead(d); /* slots are free again, and a child's parents may be over */
        if (d->formatting)
            return;
        check_due(d);
        if (replay_complete(d))
            d->filling->close_wanted = true;
        if (d->filling && d->filling->close_wanted)
            more = fill_close(d);
    } while (more);
    if (d->pressed && d->flow && d->flow->piece->len) { /* others wait for memory */
        flow_seal(d->flow, false);
        d->flow = NULL;
    }
    d->pressed = false;
}

static void kick_run(struct io_defer *k)
{
    struct delivery *d = CONTAINER_OF(k, struct delivery, kick);
    if (d->resetting)
        delivery_reset_step(d);
    else
        fill_run(d);
    if (d->stop)
        delivery_stop_step(d);
}

static void pace_fired(struct io_timer *t)
{
    struct delivery *d = CONTAINER_OF(t, struct delivery, pace_timer);
    parts_hurry(d);
    fill_run(d);
}

static void again_fired(struct io_timer *t)
{
    struct delivery *d = CONTAINER_OF(t, struct delivery, again_timer);
    parts_retry_failed(d);
    fill_run(d);
}

static void piece_got(struct piece_waiter *w)
{
    fill_kick(CONTAINER_OF(w, struct delivery, waiter));
}

static void piece_press(struct piece_holder *h)
{
    struct delivery *d = CONTAINER_OF(h, struct delivery, holder);
    d->pressed = true;
    fill_kick(d);
}

void fill_init(struct delivery *d)
{
    d->kick.run = kick_run;
    d->due_timer.fired = due_fired;
    d->pace_timer.fired = pace_fired;
    d->again_timer.fired = again_fired;
    d->waiter.got = piece_got;
    d->holder.press = piece_press;
    d->format_job.work = format_work;
    d->format_job.done = format_done;
    list_init(&d->ready);
    list_init(&d->objects);
    list_init(&d->sealed);
}
