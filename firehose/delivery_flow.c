/*
 * Pieces on their way: compressed by up to jobs_max workers at once, then encrypted and written in their order.
 *
 *     FILLING ─▶ SEALED ─▶ COMPRESSING ─▶ COMPRESSED ─▶ ENCRYPTING ─▶ READY ─▶ WRITING ─▶ (free)
 *                (without compression)──────▲    (without encryption)────▲
 *
 * A piece has two buffers; each stage reads one and writes the other. Encryption is one job at a time an object, since
 * its chunks do not end where pieces end; so is writing. While piece k is compressed, k + 1 is read and copied, and k - 1
 * is written.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "firehose/delivery_internal.h"

#define PIECE_AGAIN_MS 1000

static void compress_start(struct delivery *d);
static void flow_pump(struct delivery_object *o);

_Static_assert(AGE_OUTPUT_MAX(PIECE_RAW_BYTES + (32u << 10)) <= PIECE_BUFFER_BYTES, "a piece fits, at worst");
_Static_assert(AGE_RECIPIENTS_MAX == DELIVERY_RECIPIENTS_MAX, "every recipient of the settings fits a header");

struct delivery_flow *flow_get(struct delivery *d, struct delivery_object *o)
{
    struct delivery_flow *f = NULL;
    for (uint32_t i = 0; i < DELIVERY_FLOWS && !f; i++)
        if (d->flows[i].state == FLOW_FREE)
            f = &d->flows[i];
    if (!f)
        return NULL; /* one that becomes free kicks */
    struct piece *piece = piece_get(d->options.pieces, &d->waiter);
    if (!piece) { /* no memory at all may mean that nobody ever gives one back */
        if (!timer_armed(&d->again_timer))
            timer_arm(d->loop, &d->again_timer, mono_add_ms(loop_now(d->loop), PIECE_AGAIN_MS));
        return NULL;
    }
    f->d = d;
    f->object = o;
    f->piece = piece;
    f->state = FLOW_FILLING;
    f->first = f->last = false;
    f->status = 0;
    list_push_back(&o->flows, &f->link);
    return f;
}

static void flow_free(struct delivery_flow *f)
{
    struct delivery *d = f->d;
    list_remove(&f->link);
    list_remove(&f->sealed);
    f->state = FLOW_FREE;
    piece_put(d->options.pieces, f->piece);
    f->piece = NULL;
    fill_kick(d);
}

/* The stage has put its output into the piece's other buffer. */
static void flow_turn(struct delivery_flow *f, size_t len)
{
    f->piece->at ^= 1;
    f->piece->len = len;
}

static void flow_failed(struct delivery_flow *f, const char *what)
{
    struct delivery *d = f->d;
    d->status.retries++;
    delivery_error(d, f->status, "%s", what);
    delivery_reset(d, true);
}

/* ---- compress ------------------------------------------------------------------------------------------------------- */

void flow_seal(struct delivery_flow *f, bool last)
{
    struct delivery_object *o = f->object;
    f->first = !o->begun;
    f->last = last;
    o->begun = true;
    if (o->version->settings.compression == COMPRESSION_NONE) {
        f->state = FLOW_COMPRESSED;
        flow_pump(o);
        return;
    }
    f->state = FLOW_SEALED;
    list_push_back(&f->d->sealed, &f->sealed);
    compress_start(f->d);
}

static void compress_work(struct io_job *j)
{
    struct delivery_flow *f = CONTAINER_OF(j, struct delivery_flow, job);
    struct piece *p = f->piece;
    size_t len = 0;
    f->status =
        compress_piece(f->compressor->compressor, f->object->version->settings.compression_level,
                       slice_of(p->buffer[p->at], p->len), f->first, p->buffer[p->at ^ 1], PIECE_BUFFER_BYTES, &len);
    flow_turn(f, len);
}

static void compress_done(struct io_job *j)
{
    struct delivery_flow *f = CONTAINER_OF(j, struct delivery_flow, job);
    struct delivery *d = f->d;
    f->compressor->busy = false;
    f->state = FLOW_COMPRESSED;
    if (d->resetting) {
        delivery_reset_step(d);
        return;
    }
    if (f->status < 0)
        flow_failed(f, "compress");
    else
        flow_pump(f->object);
    compress_start(d);
}

/* A free compressor of that kind; NULL: all are busy, or there is no memory for one. */
static struct compressor_slot *compressor_for(struct delivery *d, enum compression kind)
{
    for (uint32_t i = 0; i < d->options.jobs_max; i++) {
        struct compressor_slot *c = &d->compressor[i];
        if (c->busy)
            continue;
        if (c->compressor && c->kind != kind) {
            compressor_destroy(c->compressor);
            c->compressor = NULL;
        }
        c->kind = kind;
        if (c->compressor || compressor_create(kind, &c->compressor) == 0)
            return c;
    }
    return NULL;
}

static void compress_start(struct delivery *d)
{
    while (!d->resetting && !list_empty(&d->sealed)) {
        struct delivery_flow *f = CONTAINER_OF(d->sealed.next, struct delivery_flow, sealed);
        bool any_busy = false;
        for (uint32_t i = 0; i < d->options.jobs_max; i++)
            any_busy |= d->compressor[i].busy;
        struct compressor_slot *c = compressor_for(d, f->object->version->settings.compression);
        if (!c && any_busy)
            return;
        if (!c) {
            f->status = -ENOMEM;
            flow_failed(f, "compress");
            return;
        }
        list_remove(&f->sealed);
        c->busy = true;
        f->compressor = c;
        f->state = FLOW_COMPRESSING;
        f->job.work = compress_work;
        f->job.done = compress_done;
        job_submit(d->loop, &f->job);
    }
}

/* ---- encrypt --------------------------------------------------------------------------------------------------------- */

static void encrypt_work(struct io_job *j)
{
    struct delivery_flow *f = CONTAINER_OF(j, struct delivery_flow, job);
    struct delivery_object *o = f->object;
    struct piece *p = f->piece;
    uint8_t *out = p->buffer[p->at ^ 1];
    size_t len = 0;
    if (f->first)
        f->status =
            age_begin(o->age, o->version->recipients, o->version->settings.recipient_count, &o->random, out, &len);
    if (f->status < 0)
        return;
    len += age_update(o->age, slice_of(p->buffer[p->at], p->len), out + len);
    if (f->last)
        len += age_finish(o->age, out + len);
    flow_turn(f, len);
}

static void encrypt_done(struct io_job *j)
{
    struct delivery_flow *f = CONTAINER_OF(j, struct delivery_flow, job);
    struct delivery *d = f->d;
    f->object->encrypting = false;
    f->state = FLOW_READY;
    if (f->first)
        explicit_bzero(&f->object->random, sizeof f->object->random);
    if (d->resetting)
        delivery_reset_step(d);
    else if (f->status < 0)
        flow_failed(f, "encrypt");
    else
        flow_pump(f->object);
}

static void encrypt_start(struct delivery_flow *f)
{
    struct delivery_object *o = f->object;
    if (!o->age && !(o->age = calloc(1, sizeof *o->age))) {
        f->status = -ENOMEM;
        flow_failed(f, "encrypt");
        return;
    }
    o->encrypting = true;
    if (f->first)
        loop_random(f->d->loop, &o->random, sizeof o->random);
    f->state = FLOW_ENCRYPTING;
    f->job.work = encrypt_work;
    f->job.done = encrypt_done;
    job_submit(f->d->loop, &f->job);
}

/* ---- write ------------------------------------------------------------------------------------------------------------ */

/* The oldest piece that is not through yet. */
static struct delivery_flow *flow_first(const struct delivery_object *o)
{
    return list_empty(&o->flows) ? NULL : CONTAINER_OF(o->flows.next, struct delivery_flow, link);
}

void flow_written(struct delivery_object *o)
{
    struct delivery_flow *f = flow_first(o);
    struct delivery *d = o->d;
    o->writing = false;
    CHECK(f && f->state == FLOW_WRITING);
    if (d->resetting) {
        f->state = FLOW_READY;
        delivery_reset_step(d);
        return;
    }
    if (o->sink->status < 0) {
        f->state = FLOW_READY;
        f->status = o->sink->status;
        flow_failed(f, o->sink->what);
        return;
    }
    flow_free(f);
    flow_pump(o);
}

static void write_start(struct delivery_object *o)
{
    struct delivery_flow *f;
    while (!o->writing && (f = flow_first(o)) && f->state == FLOW_READY) {
        if (!f->piece->len) { /* all of it is held back by the encryption */
            flow_free(f);
            continue;
        }
        o->writing = true;
        f->state = FLOW_WRITING;
        o->sink->sink->ops->write(o->sink, slice_of(f->piece->buffer[f->piece->at], f->piece->len));
    }
}

/* Moves the object's pieces on as far as they can go. */
static void flow_pump(struct delivery_object *o)
{
    if (o->d->resetting)
        return;
    LIST_FOREACH (it, &o->flows) {
        struct delivery_flow *f = CONTAINER_OF(it, struct delivery_flow, link);
        if (f->state == FLOW_READY || f->state == FLOW_WRITING)
            continue;
        if (f->state != FLOW_COMPRESSED || o->encrypting)
            break;
        if (o->version->settings.recipient_count) {
            encrypt_start(f);
            break;
        }
        f->state = FLOW_READY;
    }
    write_start(o);
    if (o->state == OBJECT_CLOSED && list_empty(&o->flows))
        object_written(o);
}

/* ---- giving up --------------------------------------------------------------------------------------------------------- */

bool flow_in_flight(const struct delivery_object *o)
{
    LIST_FOREACH (it, &o->flows) {
        const struct delivery_flow *f = CONTAINER_OF(it, struct delivery_flow, link);
        if (f->state == FLOW_COMPRESSING || f->state == FLOW_ENCRYPTING || f->state == FLOW_WRITING)
            return true;
    }
    return false;
}

void flow_drop_all(struct delivery_object *o)
{
    while (!list_empty(&o->flows))
        flow_free(CONTAINER_OF(o->flows.next, struct delivery_flow, link));
    o->begun = o->last = o->encrypting = o->writing = false;
    if (o->age)
        age_wipe(o->age);
}
