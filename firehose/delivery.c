/*
 * One delivery: records of a source's parts, each into exactly one object of a sink, crash or not.
 *
 *     parts ──▶ slots ──▶ format ──▶ pieces ──▶ compress ──▶ encrypt ──▶ write ──▶ stage ──▶ intent ──▶ publish ──▶ commit
 *     (delivery_parts)    (delivery_fill)       (delivery_flow)                    (delivery_object)
 *
 * Invariants
 *  D1. A record below its part's position in the journal lies in a committed object, or in the ranges of an open intent,
 *      or is counted as lost. One at or above it lies in no object that anybody can see.
 *  D2. Nothing becomes visible under a final name before the intent that names it, with its records, bytes and CRC, is
 *      durable. The intent is written when all bytes are staged; so an open intent can be finished from what is staged,
 *      or is found published already, or is built again from the same records under the same key.
 *  D3. Intents enter the journal in the order of their records (J1); they are published and committed in any order.
 *  D4. Whatever has no intent may be given up at any time and is filled again from the journal's positions. That is the
 *      answer to every failure before the intent: one reset for all.
 *  D5. Memory is bounded: slots, pieces, objects and compressors are fixed in number; running out pauses reading.
 *
 * Failure modes. The sink fails: the object is given up (D4) or, with an intent, inspected and published again, after a
 * growing, jittered pause, for ever; retention of the source is the only limit, and what it takes is counted. The
 * journal's disk fails: nothing is published or acknowledged until it works. The journal is damaged: the delivery is
 * FAILED and touches nothing. Killed: see D2.
 *
 * Thread: the loop's; compress, encrypt and format run in jobs that own what they work on.
 */
#include "firehose/delivery.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "firehose/delivery_internal.h"

#define RETRY_MS_MIN    250u
#define RETRY_MS_MAX    60000u
#define OBJECTS_DEFAULT 4u
#define JOBS_DEFAULT    3u /* one more than workers keeps them busy */

static void retry_fired(struct io_timer *t);
static void grace_fired(struct io_timer *t);

const char *delivery_state_name(enum delivery_state s)
{
    static const char *const names[DELIVERY_STATE_COUNT] = {"opening",  "running", "retrying",
                                                            "stopping", "stopped", "failed"};
    return names[s];
}

void delivery_error(struct delivery *d, int status, const char *fmt, ...)
{
    char what[192];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    snprintf(d->status.last_error, sizeof d->status.last_error, "%s: %.60s", what, status_text(status));
    d->status.last_error_time = loop_wall(d->loop);
}

uint32_t delivery_backoff(struct delivery *d, uint32_t *ms)
{
    uint32_t most = d->options.retry_ms_max;
    *ms = *ms == 0 ? d->options.retry_ms_min : *ms > most / 2 ? most : *ms * 2;
    uint16_t r;
    loop_random(d->loop, &r, sizeof r);
    return *ms - *ms * 15 / 100 + (uint32_t)((uint64_t)*ms * 30 * r / (100u * 65536u)); /* +-15% */
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

static int versions_add(struct delivery *d, uint32_t id, const struct delivery_settings *settings,
                        struct delivery_version **out)
{
    if (d->version_count == JOURNAL_SETTINGS_MAX)
        return ST_LIMIT;
    struct delivery_version *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    v->id = id;
    v->settings = *settings;
    for (uint32_t i = 0; i < settings->recipient_count; i++) {
        int rc = age_recipient_parse(slice_str(settings->recipient[i]), &v->recipients[i], NULL);
        CHECK(rc == 0); /* the settings were checked */
    }
    d->versions[d->version_count++] = v;
    *out = v;
    return 0;
}

static int options_take(struct delivery *d, const struct delivery_options *options)
{
    struct delivery_options *o = &d->options;
    *o = *options;
    if (!o->jobs_max)
        o->jobs_max = JOBS_DEFAULT;
    if (o->jobs_max > DELIVERY_JOBS_MAX)
        o->jobs_max = DELIVERY_JOBS_MAX;
    if (!o->objects_max)
        o->objects_max = OBJECTS_DEFAULT;
    if (o->objects_max > JOURNAL_INTENTS_MAX)
        o->objects_max = JOURNAL_INTENTS_MAX;
    if (!o->retry_ms_min)
        o->retry_ms_min = RETRY_MS_MIN;
    if (!o->retry_ms_max)
        o->retry_ms_max = RETRY_MS_MAX;
    d->journal_folder = strdup(options->journal_folder);
    return d->journal_folder ? 0 : -ENOMEM;
}

static int objects_make(struct delivery *d, uint32_t count)
{
    d->object = calloc(count, sizeof *d->object);
    if (!d->object)
        return -ENOMEM;
    for (d->object_count = 0; d->object_count < count; d->object_count++) {
        struct delivery_object *o = &d->object[d->object_count];
        o->d = d;
        o->timer.fired = object_retry_fired;
        list_init(&o->flows);
        o->sink = d->sink->ops->object_create(d->sink);
        if (!o->sink) {
            d->object_count++;
            return -ENOMEM;
        }
        o->sink->owner = o;
        o->sink->done = object_sink_done;
    }
    return 0;
}

static int make_parts_of_it(struct delivery *d, const struct delivery_settings *settings, struct err *e)
{
    struct firehose_journal_options jo = {.folder = d->journal_folder, .delivery_uid = d->options.uid};
    memcpy(jo.log_uid, d->options.log_uid, sizeof jo.log_uid);
    int rc = firehose_journal_create(d->loop, &jo, &d->journal);
    if (rc < 0)
        return err_set_status(e, rc, "journal");
    rc = sink_create(d->loop, settings->sink, &d->sink, e);
    if (rc < 0)
        return rc;
    d->sink->owner = d;
    rc = versions_add(d, 0, settings, &d->current);
    return rc < 0 ? err_set_status(e, rc, "settings") : 0;
}

int delivery_create(const struct delivery_options *options, const struct delivery_settings *settings,
                    struct delivery **out, struct err *e)
{
    int rc = delivery_settings_check(settings, e);
    if (rc < 0)
        return rc;
    struct delivery *d = calloc(1, sizeof *d);
    if (!d)
        return err_set_status(e, -ENOMEM, "delivery '%s'", settings->name);
    d->loop = options->loop;
    d->source = options->source;
    d->state = DELIVERY_STOPPED;
    d->retry_timer.fired = retry_fired;
    d->grace_timer.fired = grace_fired;
    fill_init(d);
    rc = options_take(d, options);
    if (rc < 0)
        err_set_status(e, rc, "memory");
    else
        rc = make_parts_of_it(d, settings, e);
    if (rc < 0) {
        delivery_destroy(d);
        err_wrap(e, "delivery '%s'", settings->name);
        return rc;
    }
    *out = d;
    return 0;
}

void delivery_destroy(struct delivery *d)
{
    if (!d)
        return;
    CHECK(d->state == DELIVERY_STOPPED);
    for (uint32_t i = 0; i < d->object_count; i++) {
        if (d->object[i].sink)
            d->sink->ops->object_destroy(d->object[i].sink);
        free(d->object[i].age);
        free(d->object[i].intent.ranges);
    }
    free(d->object);
    for (uint32_t i = 0; i < DELIVERY_JOBS_MAX; i++)
        compressor_destroy(d->compressor[i].compressor);
    for (uint32_t i = 0; i < d->version_count; i++)
        free(d->versions[i]);
    if (d->sink)
        d->sink->ops->destroy(d->sink);
    firehose_journal_destroy(d->journal);
    parts_free(d);
    free(d->clean_keep);
    free(d->journal_folder);
    free(d);
}

void *delivery_owner(const struct delivery *d)
{
    return d->owner;
}

const struct delivery_settings *delivery_settings_of(const struct delivery *d)
{
    return &d->current->settings;
}

uint64_t delivery_uid(const struct delivery *d)
{
    return d->options.uid;
}

static void stop_begin(struct delivery *d);
static void stop_unopened(struct delivery *d);

/* ---- opening, recovery ------------------------------------------------------------------------------------------------- */

const struct delivery_version *delivery_version_of(struct delivery *d, uint32_t id)
{
    for (uint32_t i = 0; i < d->version_count; i++)
        if (d->versions[i]->id == id)
            return d->versions[i];
    return NULL;
}

static void open_failed(struct delivery *d, int status)
{
    d->state = DELIVERY_FAILED;
    if (d->stop_waits)
        stop_unopened(d);
    else if (d->stop)
        delivery_stop_step(d);
    else if (d->opened)
        d->opened(d, status);
}

/* The settings that the open intents were made with. */
static int restore_versions(struct delivery *d, struct err *e)
{
    const struct journal_state *s = firehose_journal_state(d->journal);
    for (uint32_t i = 0; i < s->intent_count; i++) {
        uint32_t id = s->intents[i]->settings;
        const struct journal_settings *js = journal_state_settings(s, id);
        struct delivery_settings settings;
        struct delivery_version *v;
        if (delivery_version_of(d, id))
            continue;
        int rc = js ? delivery_settings_parse(js->json, &settings, e) : err_set(e, ST_CORRUPT, "they are missing");
        if (rc == 0)
            rc = versions_add(d, id, &settings, &v);
        if (rc < 0) {
            err_wrap(e, "the journal's settings %u", id);
            return rc;
        }
    }
    return 0;
}

static int restore_objects(struct delivery *d)
{
    const struct journal_state *s = firehose_journal_state(d->journal);
    uint32_t count = s->intent_count > d->options.objects_max ? s->intent_count : d->options.objects_max;
    int rc = objects_make(d, count);
    for (uint32_t i = 0; i < s->intent_count && rc == 0; i++) {
        struct delivery_object *o = &d->object[i];
        const struct journal_intent *in = s->intents[i];
        o->intent = *in;
        o->intent.ranges = NULL;
        o->intent.range_count = o->intent.range_cap = 0;
        for (uint32_t k = 0; k < in->range_count && rc == 0; k++) {
            const struct journal_range *r = &in->ranges[k];
            rc = journal_intent_add_range(&o->intent, r->part, r->from, r->to);
        }
        o->journaled = in->object;
        o->version = delivery_version_of(d, in->settings);
        o->state = OBJECT_INSPECT_WAIT;
        list_push_back(&d->objects, &o->order);
    }
    return rc;
}

static void run(struct delivery *d)
{
    d->state = DELIVERY_RUNNING;
    const struct journal_state *s = firehose_journal_state(d->journal);
    for (uint32_t i = 0; i < s->part_count && d->source->ops->delivered; i++)
        d->source->ops->delivered(d->source, s->parts[i].uid, journal_state_committed(s, s->parts[i].uid));
    LIST_FOREACH_SAFE (it, &d->objects) {
        struct delivery_object *o = CONTAINER_OF(it, struct delivery_object, order);
        object_inspect(o);
    }
    if (d->opened)
        d->opened(d, 0);
    if (d->stop_waits)
        stop_begin(d);
    fill_kick(d);
}

/* What a former start has left at the destination, and no intent names, goes. */
static void cleaned(struct sink *sink, int status)
{
    struct delivery *d = sink->owner;
    d->cleaning = false;
    free(d->clean_keep);
    d->clean_keep = NULL;
    if (status < 0)
        delivery_error(d, status, "clean up temporary files");
    if (d->stop)
        delivery_stop_step(d);
    else
        run(d);
}

static void clean(struct delivery *d)
{
    const struct journal_state *s = firehose_journal_state(d->journal);
    name_unique(s->incarnation, d->options.uid, 0, d->clean_prefix);
    d->clean_prefix[NAME_UNIQUE_PREFIX_CHARS] = 0;
    d->clean_keep = calloc(s->intent_count + 1, sizeof *d->clean_keep);
    if (!d->clean_keep) {
        run(d);
        return;
    }
    for (uint32_t i = 0; i < s->intent_count; i++)
        name_stage(s->incarnation, d->options.uid, s->intents[i]->object, s->intents[i]->attempt, d->clean_keep[i]);
    d->cleaning = true;
    d->sink->ops->clean(d->sink, d->clean_prefix, (const char(*)[SINK_STAGE_MAX + 1]) d->clean_keep, s->intent_count,
                        cleaned);
}

static void settings_durable(struct firehose_append *a)
{
    struct delivery *d = CONTAINER_OF(a, struct delivery, settings_append);
    if (!d->stop)
        clean(d);
}

/* The first positions, so that "latest" stays what it was, and the settings if they are not the journal's newest. */
static int journal_begin(struct delivery *d, bool *out_wait)
{
    const struct journal_state *s = firehose_journal_state(d->journal);
    struct bytebuf json;
    bytebuf_init(&json, DELIVERY_JSON_MAX);
    delivery_settings_print(&d->current->settings, &json);
    int rc = bytebuf_failed(&json) ? -ENOMEM : parts_refresh(d, s->settings_count == 0);
    *out_wait = false;
    if (rc == 0 && s->settings_count == 0 && d->part_count) {
        struct journal_part *first = calloc(d->part_count, sizeof *first);
        rc = first ? 0 : -ENOMEM;
        for (uint32_t i = 0; i < d->part_count && first; i++)
            first[i] = (struct journal_part){d->parts[i]->uid, d->parts[i]->read_to};
        if (rc == 0)
            rc = firehose_journal_positions(d->journal, first, d->part_count, NULL);
        free(first);
    }
    const struct journal_settings *newest = s->settings_count ? &s->settings[s->settings_count - 1] : NULL;
    if (rc == 0 && newest && slice_eq(newest->json, bytebuf_view(&json))) {
        d->current->id = newest->id;
    } else if (rc == 0) {
        d->settings_append.done = settings_durable;
        rc = firehose_journal_settings(d->journal, d->current->settings.version, bytebuf_view(&json), &d->current->id,
                                       &d->settings_append);
        *out_wait = true;
    }
    bytebuf_deinit(&json);
    return rc;
}

static void journal_opened(struct firehose_journal *j, int status, const struct err *e)
{
    struct delivery *d = firehose_journal_owner(j);
    struct err why = {0};
    bool wait = false;
    if (d->stop) {
        delivery_stop_step(d);
        return;
    }
    if (status < 0) {
        why = *e;
    } else if ((status = journal_begin(d, &wait)) < 0) {
        err_set_status(&why, status, "begin the journal");
    } else if ((status = restore_versions(d, &why)) == 0 && (status = restore_objects(d)) < 0) {
        err_set_status(&why, status, "restore the open objects");
    }
    if (status < 0) {
        snprintf(d->status.last_error, sizeof d->status.last_error, "%.255s", why.text);
        d->status.last_error_time = loop_wall(d->loop);
        open_failed(d, status);
    } else if (!wait) {
        clean(d);
    }
}

static void source_changed(struct source *s)
{
    struct delivery *d = s->delivery;
    d->parts_stale = true;
    fill_kick(d);
}

void delivery_start(struct delivery *d, void (*opened)(struct delivery *d, int status), void *owner)
{
    CHECK(d->state == DELIVERY_STOPPED && !d->stop);
    d->opened = opened;
    d->owner = owner;
    d->state = DELIVERY_OPENING;
    d->source->delivery = d;
    d->source->parts_changed = source_changed;
    piece_hold(d->options.pieces, &d->holder);
    firehose_journal_open(d->journal, journal_opened, d);
}

/* ---- trouble ------------------------------------------------------------------------------------------------------------ */

void delivery_reset(struct delivery *d, bool pause)
{
    if (pause) {
        d->trouble = true;
        d->pausing = true;
    }
    d->resetting = true;
    fill_kick(d);
}

/* Objects that can go now are on their way out; true once none is left that is being built. */
static bool drop_building(struct delivery *d)
{
    bool none = true;
    LIST_FOREACH_SAFE (it, &d->objects) {
        struct delivery_object *o = CONTAINER_OF(it, struct delivery_object, order);
        if (object_building(o)) {
            flow_drop_all(o);
            o->again = o->journaled != 0;
            none = false;
            object_drop(o);
        } else if (o->state == OBJECT_DROPPING) {
            none = false;
        }
    }
    return none;
}

void delivery_reset_step(struct delivery *d)
{
    if (!d->resetting)
        return;
    if (d->formatting || slots_in_flight(d))
        return;
    LIST_FOREACH (it, &d->objects) {
        struct delivery_object *o = CONTAINER_OF(it, struct delivery_object, order);
        if (flow_in_flight(o) || o->state == OBJECT_STAGING)
            return;
    }
    while (!list_empty(&d->ready))
        slot_release(d, CONTAINER_OF(d->ready.next, struct delivery_slot, link));
    d->filling = NULL;
    d->flow = NULL;
    d->run.cursor = (struct format_cursor){0};
    timer_disarm(d->loop, &d->due_timer);
    if (!drop_building(d))
        return;
    d->resetting = false;
    if (d->stop >= STOP_DROP) {
        d->stop = STOP_SETTLE;
        delivery_stop_step(d);
        return;
    }
    parts_rewind(d);
    if (d->pausing)
        timer_arm(d->loop, &d->retry_timer, mono_add_ms(loop_now(d->loop), delivery_backoff(d, &d->retry_ms)));
    fill_kick(d);
}

static void retry_fired(struct io_timer *t)
{
    struct delivery *d = CONTAINER_OF(t, struct delivery, retry_timer);
    d->pausing = false;
    fill_kick(d);
}

/* ---- stopping ------------------------------------------------------------------------------------------------------------ */

static void stop_done(struct delivery *d)
{
    loop_defer_cancel(&d->kick); /* what the journal's last appends have set off */
    for (uint32_t i = 0; i < d->object_count; i++)
        timer_disarm(d->loop, &d->object[i].timer);
    d->stop = STOP_DONE;
    d->state = DELIVERY_STOPPED;
    d->stopped(d);
}

static void journal_closed(struct firehose_journal *j)
{
    stop_done(firehose_journal_owner(j));
}

static void stop_close(struct delivery *d)
{
    d->stop = STOP_CLOSE;
    if (d->state == DELIVERY_STOPPED) { /* it was never started */
        stop_done(d);
        return;
    }
    parts_stop(d);
    piece_wait_cancel(&d->waiter);
    piece_hold_end(&d->holder);
    loop_defer_cancel(&d->kick);
    timer_disarm(d->loop, &d->due_timer);
    timer_disarm(d->loop, &d->pace_timer);
    timer_disarm(d->loop, &d->again_timer);
    timer_disarm(d->loop, &d->retry_timer);
    timer_disarm(d->loop, &d->grace_timer);
    for (uint32_t i = 0; i < d->object_count; i++)
        timer_disarm(d->loop, &d->object[i].timer);
    d->source->parts_changed = NULL;
    d->source->delivery = NULL;
    firehose_journal_close(d->journal, journal_closed);
}

/* Objects with a sink operation in flight; appends to the journal are not waited for here: its close does. */
static bool sinks_busy(const struct delivery *d)
{
    LIST_FOREACH (it, &d->objects) {
        const struct delivery_object *o = CONTAINER_OF(it, struct delivery_object, order);
        if (o->state == OBJECT_PUBLISHING || o->state == OBJECT_INSPECTING || o->state == OBJECT_DROPPING)
            return true;
    }
    return d->cleaning;
}

static void stop_drop(struct delivery *d)
{
    d->stop = STOP_DROP;
    delivery_reset(d, false);
}

/* Reads what is there, closes the object, waits for all of them. */
static void stop_drain(struct delivery *d)
{
    if (d->resetting || d->formatting || !parts_drained(d))
        return;
    if (d->filling && !d->filling->journaled && !d->filling->close_wanted)
        fill_close_wanted(d);
    else if (list_empty(&d->objects))
        stop_drop(d);
}

/* DRAIN ── every record delivered, or the grace is over ──▶ DROP ── reset ──▶ SETTLE ── sinks idle ──▶ CLOSE ──▶ DONE */
void delivery_stop_step(struct delivery *d)
{
    if (d->stop == STOP_DRAIN)
        stop_drain(d);
    else if (d->stop == STOP_SETTLE && !sinks_busy(d))
        stop_close(d);
}

/* All that is there is delivered first. */
static void stop_begin(struct delivery *d)
{
    d->stop_waits = false;
    d->stop = STOP_DRAIN;
    d->state = DELIVERY_STOPPING;
    parts_drain(d);
    fill_kick(d);
}

/* Nothing was begun. */
static void stop_unopened(struct delivery *d)
{
    d->stop_waits = false;
    d->stop = STOP_SETTLE;
    fill_kick(d);
}

static void grace_fired(struct io_timer *t)
{
    struct delivery *d = CONTAINER_OF(t, struct delivery, grace_timer);
    if (d->stop_waits)
        stop_unopened(d);
    else if (d->stop == STOP_DRAIN)
        stop_drop(d);
}

void delivery_stop(struct delivery *d, uint32_t grace_ms, void (*stopped)(struct delivery *d))
{
    CHECK((d->stop == STOP_NO || d->stop == STOP_DONE) && !d->stop_waits);
    d->stopped = stopped;
    d->stop_waits = d->state == DELIVERY_OPENING && grace_ms;
    if (d->state != DELIVERY_RUNNING && !d->stop_waits) {
        stop_unopened(d);
        return;
    }
    timer_arm(d->loop, &d->grace_timer, mono_add_ms(loop_now(d->loop), grace_ms));
    if (!d->stop_waits) /* else once it has opened */
        stop_begin(d);
}

void delivery_flush(struct delivery *d)
{
    if (d->state == DELIVERY_RUNNING)
        fill_close_wanted(d);
}

/* ---- status --------------------------------------------------------------------------------------------------------------- */

/* What is there and not in a committed object. */
static uint64_t count_lag(struct delivery *d)
{
    uint64_t lag = 0;
    if (d->state == DELIVERY_OPENING || d->state == DELIVERY_FAILED || d->stop >= STOP_CLOSE)
        return 0;
    uint32_t n = d->source->ops->parts(d->source, d->listing, d->listing_cap);
    for (uint32_t i = 0; i < n && i < d->listing_cap; i++) {
        const struct source_part *p = &d->listing[i];
        const struct journal_state *s = firehose_journal_state(d->journal);
        uint64_t from = journal_state_part(s, p->uid) ? journal_state_committed(s, p->uid) : p->first_counter;
        if (from < p->first_counter)
            from = p->first_counter;
        lag += p->next_counter > from ? p->next_counter - from : 0;
    }
    return lag;
}

void delivery_status(struct delivery *d, struct delivery_status *out)
{
    *out = d->status;
    out->state = d->state == DELIVERY_RUNNING && d->trouble ? DELIVERY_RETRYING : d->state;
    out->lag_records = count_lag(d);
    uint64_t open_records = 0, open_bytes = 0;
    int64_t oldest = INT64_MAX;
    LIST_FOREACH (it, &d->objects) {
        const struct delivery_object *o = CONTAINER_OF(it, struct delivery_object, order);
        out->objects_open++;
        open_records += o->intent.records;
        open_bytes += o->intent.raw_bytes;
        if (o->intent.records && o->intent.oldest.ms < oldest)
            oldest = o->intent.oldest.ms;
    }
    int64_t age = loop_wall(d->loop).ms - oldest;
    out->lag_ms = oldest != INT64_MAX && age > 0 ? age : 0;
    uint64_t seen = out->records + open_records, seen_bytes = out->raw_bytes + open_bytes;
    uint64_t unread = out->lag_records > open_records ? out->lag_records - open_records : 0;
    out->lag_bytes = open_bytes + (seen ? unread * (seen_bytes / seen) : 0);
    const struct firehose_journal_stats *js = firehose_journal_stats(d->journal);
    out->journal_writes = js->writes;
    out->journal_failures = js->failures;
    if (js->last_error < 0 && !out->last_error[0])
        snprintf(out->last_error, sizeof out->last_error, "journal: %.200s", status_text(js->last_error));
}
