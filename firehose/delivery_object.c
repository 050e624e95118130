/*
 * A closed object on its way to being delivered, and what a failure makes of it.
 *
 *  CLOSED ── pieces written ──▶ STAGING ──▶ STAGED ── those before have their intents ──▶ INTENT
 *                                  │                                                        │ durable
 *    write or stage failed: reset ◀┘                                                        ▼
 *  (FILLING to STAGED are dropped and                  failed              ┌────────── PUBLISHING ◀────────┐
 *   filled again from the journal's                                        │                │ acknowledged │
 *   positions; a replay is REPLAY again)                                   ▼                ▼              │
 *                                        INSPECT_WAIT ── pause ──▶ INSPECTING          COMMITTING          │
 *                                             ▲                     │   │ └── staged, or ──────────────────┤
 *                                             └── failed ───────────┘   │     published already            │
 *  after a start: every intent without a commit ──▶ INSPECTING          │ nothing there, or foreign        │
 *                                                                       ▼                                  │
 *                                                                    REPLAY ── built again, a new intent ──┘
 *
 * An intent's records never change; a replay keeps its key, unless the key is somebody else's: then it gets a new number
 * and so a new key, and its new intent takes the old one's place in the journal.
 */
#include "common/base/check.h"
#include "firehose/delivery_internal.h"

#define INTENT_AGAIN_MS 1000

static void object_publish(struct delivery_object *o);

bool object_building(const struct delivery_object *o)
{
    return o->state == OBJECT_FILLING || o->state == OBJECT_CLOSED || o->state == OBJECT_STAGING ||
           o->state == OBJECT_STAGED;
}

static void start_staging(struct delivery_object *o, uint32_t attempt)
{
    char stage[SINK_STAGE_MAX + 1];
    name_stage(firehose_journal_state(o->d->journal)->incarnation, o->d->options.uid, o->intent.object, attempt, stage);
    sink_object_start(o->sink, o->intent.key, stage);
}

struct delivery_object *object_open(struct delivery *d)
{
    struct delivery_object *o = NULL;
    for (uint32_t i = 0; i < d->object_count && !o; i++)
        if (d->object[i].state == OBJECT_FREE)
            o = &d->object[i];
    if (!o)
        return NULL;
    o->state = OBJECT_FILLING;
    o->journaled = 0;
    o->version = d->current;
    o->close_wanted = o->begun = o->last = o->encrypting = o->writing = false;
    o->retry_ms = 0;
    struct journal_range *ranges = o->intent.ranges;
    uint32_t cap = o->intent.range_cap;
    o->intent = (struct journal_intent){.object = firehose_journal_take_object(d->journal),
                                        .settings = d->current->id,
                                        .ranges = ranges,
                                        .range_cap = cap};
    start_staging(o, o->intent.attempt + 1);
    list_push_back(&d->objects, &o->order);
    return o;
}

void object_free(struct delivery_object *o)
{
    struct delivery *d = o->d;
    CHECK(list_empty(&o->flows));
    timer_disarm(d->loop, &o->timer);
    list_remove(&o->order);
    o->state = OBJECT_FREE;
    fill_kick(d);
    objects_staged_step(d);
}

/* ---- stage ------------------------------------------------------------------------------------------------------------ */

void object_written(struct delivery_object *o)
{
    o->state = OBJECT_STAGING;
    o->sink->sink->ops->stage(o->sink);
}

void object_closed(struct delivery_object *o)
{
    o->state = OBJECT_CLOSED;
    if (list_empty(&o->flows))
        object_written(o);
}

static void building_failed(struct delivery_object *o, int status, const char *what)
{
    struct delivery *d = o->d;
    d->status.retries++;
    delivery_error(d, status, "%s", what);
    delivery_reset(d, true);
}

static void staged(struct delivery_object *o)
{
    struct delivery *d = o->d;
    o->state = OBJECT_STAGED;
    if (d->resetting)
        delivery_reset_step(d);
    else if (o->sink->status < 0)
        building_failed(o, o->sink->status, o->sink->what);
    else
        objects_staged_step(d);
}

/* ---- intent ----------------------------------------------------------------------------------------------------------- */

static void key_random(void *ctx, uint8_t *out, size_t len)
{
    loop_random(ctx, out, len);
}

/* The final key; a replay has one already, unless it was somebody else's. */
static int make_key(struct delivery_object *o)
{
    struct prefix_values values = {.time = o->intent.oldest, .random_bytes = key_random, .ctx = o->d->loop};
    char unique[NAME_UNIQUE_CHARS + 1];
    if (o->intent.key[0])
        return 0;
    name_unique(firehose_journal_state(o->d->journal)->incarnation, o->d->options.uid, o->intent.object, unique);
    return name_object_key(&o->version->settings, unique, &values, o->intent.key);
}

static void intent_durable(struct firehose_append *a)
{
    struct delivery_object *o = CONTAINER_OF(a, struct delivery_object, append);
    struct delivery *d = o->d;
    if (d->stop >= STOP_DROP) {
        o->state = OBJECT_LEFT;
        delivery_stop_step(d);
    } else {
        object_publish(o);
    }
}

static void intent_append(struct delivery_object *o)
{
    struct delivery *d = o->d;
    int rc = make_key(o);
    o->intent.stored_bytes = o->sink->bytes;
    o->intent.stored_crc = o->sink->crc;
    o->intent.replaces = o->journaled && o->journaled != o->intent.object ? o->journaled : 0;
    o->append.done = intent_durable;
    o->intent.attempt++;
    if (rc == 0)
        rc = firehose_journal_intent(d->journal, &o->intent, &o->append);
    if (rc < 0) { /* memory, or too many open intents: a little later */
        o->intent.attempt--;
        delivery_error(d, rc, "write the intent of object %llu", (unsigned long long)o->intent.object);
        timer_arm(d->loop, &o->timer, mono_add_ms(loop_now(d->loop), INTENT_AGAIN_MS));
        return;
    }
    o->state = OBJECT_INTENT;
    o->journaled = o->intent.object;
}

/* Intents enter the journal in the order in which objects were opened: their ranges follow one another (J1). */
void objects_staged_step(struct delivery *d)
{
    if (d->resetting || d->stop >= STOP_DROP)
        return;
    LIST_FOREACH_SAFE (it, &d->objects) {
        struct delivery_object *o = CONTAINER_OF(it, struct delivery_object, order);
        if (o->state == OBJECT_STAGED && !timer_armed(&o->timer))
            intent_append(o);
        if (!o->journaled)
            return; /* the first that has no intent yet: the others wait for it */
    }
}

/* ---- publish, commit -------------------------------------------------------------------------------------------------- */

static void object_publish(struct delivery_object *o)
{
    o->state = OBJECT_PUBLISHING;
    memcpy(o->sink->key, o->intent.key, sizeof o->sink->key);
    o->sink->sink->ops->publish(o->sink);
}

static void tell_delivered(struct delivery *d, const struct journal_intent *in)
{
    const struct journal_state *s = firehose_journal_state(d->journal);
    if (!d->source->ops->delivered)
        return;
    for (uint32_t i = 0; i < in->range_count; i++)
        d->source->ops->delivered(d->source, in->ranges[i].part, journal_state_committed(s, in->ranges[i].part));
}

static void committed(struct firehose_append *a)
{
    struct delivery_object *o = CONTAINER_OF(a, struct delivery_object, append);
    struct delivery *d = o->d;
    d->status.objects += o->intent.records != 0; /* none: retention took a replay's records */
    d->status.records += o->intent.records;
    d->status.raw_bytes += o->intent.raw_bytes;
    d->status.stored_bytes += o->intent.stored_bytes;
    d->status.last_object = loop_wall(d->loop);
    memcpy(d->status.last_key, o->intent.key, sizeof d->status.last_key);
    d->trouble = false;
    d->retry_ms = 0;
    tell_delivered(d, &o->intent);
    object_free(o);
    if (d->stop)
        delivery_stop_step(d);
}

void object_commit(struct delivery_object *o)
{
    struct delivery *d = o->d;
    o->append.done = committed;
    o->state = OBJECT_COMMITTING;
    int rc = firehose_journal_commit(d->journal, o->journaled, &o->append);
    if (rc < 0) { /* memory only: an object of ours that is open can be committed */
        delivery_error(d, rc, "write the commit of object %llu", (unsigned long long)o->journaled);
        timer_arm(d->loop, &o->timer, mono_add_ms(loop_now(d->loop), INTENT_AGAIN_MS));
    }
}

/* Somebody else's object has the key: another number, another key, the same records. */
static void rekey(struct delivery_object *o)
{
    struct delivery *d = o->d;
    delivery_error(d, -EEXIST, "'%s' is there already and is not ours", o->intent.key);
    o->intent.key[0] = 0;
    o->again = true;
    object_drop(o);
}

static void inspect_later(struct delivery_object *o)
{
    struct delivery *d = o->d;
    d->status.retries++;
    delivery_error(d, o->sink->status, "%s", o->sink->what);
    d->trouble = true;
    o->state = OBJECT_INSPECT_WAIT;
    timer_arm(d->loop, &o->timer, mono_add_ms(loop_now(d->loop), delivery_backoff(d, &o->retry_ms)));
}

static void published(struct delivery_object *o)
{
    if (o->sink->status == 0)
        object_commit(o);
    else if (o->d->stop >= STOP_DROP)
        o->state = OBJECT_LEFT;
    else if (o->sink->status == -EEXIST)
        rekey(o);
    else
        inspect_later(o);
    if (o->d->stop)
        delivery_stop_step(o->d);
}

/* ---- inspect, replay --------------------------------------------------------------------------------------------------- */

void object_inspect(struct delivery_object *o)
{
    start_staging(o, o->intent.attempt);
    o->sink->bytes = o->intent.stored_bytes;
    o->sink->crc = o->intent.stored_crc;
    o->state = OBJECT_INSPECTING;
    o->sink->sink->ops->inspect(o->sink);
}

/* Its records are to be read again: everything that is being built makes room for it, since replays come first. */
static void replay(struct delivery_object *o)
{
    struct delivery *d = o->d;
    if (!o->intent.key[0])
        o->intent.object = firehose_journal_take_object(d->journal);
    start_staging(o, o->intent.attempt + 1);
    o->intent.records = o->intent.raw_bytes = 0;
    o->close_wanted = o->begun = o->last = false;
    o->state = OBJECT_REPLAY;
    d->status.objects_redone++;
    delivery_reset(d, false);
}

static void inspected(struct delivery_object *o)
{
    struct delivery *d = o->d;
    if (d->stop >= STOP_DROP) {
        o->state = OBJECT_LEFT;
        delivery_stop_step(d);
        return;
    }
    if (o->sink->status < 0) {
        inspect_later(o);
        return;
    }
    switch (o->sink->found) {
    case SINK_FOUND_PUBLISHED: /* its folder may not be synced: publish does that */
    case SINK_FOUND_STAGED:
        d->status.objects_found++;
        object_publish(o);
        return;
    case SINK_FOUND_FOREIGN:
        rekey(o);
        return;
    default:
        replay(o);
        return;
    }
}

void object_retry_fired(struct io_timer *t)
{
    struct delivery_object *o = CONTAINER_OF(t, struct delivery_object, timer);
    if (o->d->stop >= STOP_DROP)
        return;
    if (o->state == OBJECT_INSPECT_WAIT)
        object_inspect(o);
    else if (o->state == OBJECT_COMMITTING)
        object_commit(o);
    else
        objects_staged_step(o->d);
}

/* ---- drop --------------------------------------------------------------------------------------------------------------- */

void object_drop(struct delivery_object *o)
{
    timer_disarm(o->d->loop, &o->timer);
    o->state = OBJECT_DROPPING;
    o->sink->sink->ops->abort(o->sink);
}

static void dropped(struct delivery_object *o)
{
    struct delivery *d = o->d;
    if (!o->again)
        object_free(o);
    else if (d->stop >= STOP_DROP)
        o->state = OBJECT_LEFT;
    else
        replay(o);
    o->again = false;
    if (d->resetting)
        delivery_reset_step(d);
    else if (d->stop)
        delivery_stop_step(d);
}

void object_sink_done(struct sink_object *sink)
{
    struct delivery_object *o = sink->owner;
    switch (o->state) {
    case OBJECT_FILLING:
    case OBJECT_CLOSED:
        flow_written(o);
        break;
    case OBJECT_STAGING:
        staged(o);
        break;
    case OBJECT_PUBLISHING:
        published(o);
        break;
    case OBJECT_INSPECTING:
        inspected(o);
        break;
    case OBJECT_DROPPING:
        dropped(o);
        break;
    default:
        CHECK(!"a sink answers to nothing");
    }
}
