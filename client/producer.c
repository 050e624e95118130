/*
 * The producer: batches by size and linger, several in flight, a bounded buffer.
 *
 *     put ──▶ open batch ──full, lingered or flushed──▶ ready list ──(fewer than in_flight_max)──▶ sent ──▶ done, freed
 *
 * Invariants
 *  P1. Everything below `lock` is touched with it held: by the putting threads and by the loop's thread.
 *  P2. buffered_bytes is the sum over accepted records that are not answered yet; a put that would pass buffer_bytes_max waits,
 *      unless nothing is buffered at all (a record larger than the buffer still goes).
 *  P3. Batches are started in the order in which they were closed, which is the order of their numbers; `live` holds
 *      those that are not answered yet, in that order. A flush waits until all up to the last one it closed are gone.
 *  P4. The linger timer belongs to the loop's thread; it is armed by a message when a batch is opened, and names the batch it is
 *      for by its number, so that a late one does no harm.
 */
#include <stdlib.h>

#include "client/put_batch.h"
#include "common/base/list.h"

struct producer_record {
    void *tag;
    size_t bytes;
};

struct producer_batch {
    struct put_batch put;
    struct sluice_producer *p;
    struct list link; /* in ready */
    struct list live_link;
    uint64_t number;
    struct producer_record *record;
};

struct sluice_producer {
    struct sluice *s;
    char *stream;
    struct sluice_producer_options o;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct producer_batch *open;
    struct list ready, live;
    uint32_t in_flight;
    size_t buffered_bytes;
    uint64_t batch_number;
    struct sluice_error first_error; /* since the last flush */
    struct sluice_producer_stats stats;
    bool closing;
    /* linger, the loop's thread */
    struct io_msg linger_msg;
    struct io_timer linger;
    bool linger_posted;    /* with the lock */
    uint64_t linger_batch; /* with the lock: the timer is for this one */
    bool linger_armed;
};

static void batch_free(struct producer_batch *b)
{
    if (!b)
        return;
    put_batch_deinit(&b->put);
    free(b->record);
    free(b);
}

/* Starts what may be started. With the lock. */
static void batches_start(struct sluice_producer *p)
{
    while (p->in_flight < p->o.in_flight_max && !list_empty(&p->ready)) {
        struct producer_batch *b = CONTAINER_OF(list_pop_front(&p->ready), struct producer_batch, link);
        p->in_flight++;
        put_batch_send(&b->put);
    }
}

/* With the lock. */
static void open_close(struct sluice_producer *p)
{
    if (!p->open)
        return;
    list_push_back(&p->ready, &p->open->link);
    p->open = NULL;
    batches_start(p);
}

/* Why record `i` failed: the batch tells of its first failure only. */
static struct sluice_error record_error(const struct put_batch *put, uint32_t i)
{
    struct sluice_error e = {0};
    int code = put->result[i].code;
    if (code < 0 && code == put->error.code)
        e = put->error;
    else if (code < 0)
        client_fail(&e, code, "%s", sluice_code_text(code));
    return e;
}

static void batch_tell(struct producer_batch *b)
{
    struct sluice_producer *p = b->p;
    for (uint32_t i = 0; p->o.done && i < b->put.count; i++) {
        struct sluice_error e = record_error(&b->put, i);
        p->o.done(p->o.ctx, b->record[i].tag, &b->put.result[i], &e);
    }
}

static void batch_count(struct sluice_producer *p, const struct producer_batch *b)
{
    for (uint32_t i = 0; i < b->put.count; i++) {
        bool stored = b->put.result[i].code == 0;
        p->stats.stored += stored;
        p->stats.failed += !stored;
        p->stats.stored_bytes += stored ? b->record[i].bytes : 0;
    }
    p->stats.requests += b->put.requests;
    p->stats.retries += b->put.retries;
    if (b->put.error.code < 0 && p->first_error.code == 0)
        p->first_error = b->put.error;
}

static void batch_done(struct put_batch *put)
{
    struct producer_batch *b = CONTAINER_OF(put, struct producer_batch, put);
    struct sluice_producer *p = b->p;
    batch_tell(b);
    pthread_mutex_lock(&p->lock);
    batch_count(p, b);
    p->buffered_bytes -= put->bytes;
    p->in_flight--;
    list_remove(&b->live_link);
    batches_start(p);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    batch_free(b);
}

/* ---- linger ------------------------------------------------------------------------------------------------------- */

static void linger_fired(struct io_timer *t)
{
    struct sluice_producer *p = CONTAINER_OF(t, struct sluice_producer, linger);
    pthread_mutex_lock(&p->lock);
    p->linger_armed = false;
    if (p->open && p->open->number == p->linger_batch) {
        open_close(p);
    } else if (p->open) { /* a younger batch: it gets a whole linger of its own */
        p->linger_batch = p->open->number;
        p->linger_armed = true;
        timer_arm(p->s->loop, t, mono_add_ms(loop_now(p->s->loop), p->o.linger_ms));
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void linger_arrived(struct io_msg *m)
{
    struct sluice_producer *p = CONTAINER_OF(m, struct sluice_producer, linger_msg);
    pthread_mutex_lock(&p->lock);
    p->linger_posted = false;
    if (p->open && !p->linger_armed) {
        p->linger_batch = p->open->number;
        p->linger_armed = true;
        p->linger.fired = linger_fired;
        timer_arm(p->s->loop, &p->linger, mono_add_ms(loop_now(p->s->loop), p->o.linger_ms));
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* ---- putting ------------------------------------------------------------------------------------------------------ */

static int batch_open(struct sluice_producer *p, struct sluice_error *e)
{
    struct producer_batch *b = calloc(1, sizeof *b);
    if (b)
        b->record = malloc(p->o.batch_records * sizeof *b->record);
    if (!b || !b->record || put_batch_init(&b->put, p->s, CLIENT_KINESIS, p->stream, p->o.batch_records) < 0) {
        if (b)
            free(b->record);
        free(b);
        return client_fail(e, SLUICE_E_MEMORY, "no memory for a batch");
    }
    b->p = p;
    b->number = ++p->batch_number;
    b->put.done = batch_done;
    p->open = b;
    list_push_back(&p->live, &b->live_link);
    if (!p->linger_posted && !p->linger_armed) {
        p->linger_posted = true;
        p->linger_msg.deliver = linger_arrived;
        loop_post(p->s->loop, &p->linger_msg);
    }
    return 0;
}

/* Waits until `bytes` more fit. With the lock. */
static int room_wait(struct sluice_producer *p, size_t bytes, struct sluice_error *e)
{
    while (p->buffered_bytes && p->buffered_bytes + bytes > p->o.buffer_bytes_max) {
        if (p->o.nonblocking)
            return client_fail(e, SLUICE_E_MEMORY, "the producer's buffer of %zu bytes is full", p->o.buffer_bytes_max);
        open_close(p); /* nothing else may be under way that would free the buffer */
        pthread_cond_wait(&p->changed, &p->lock);
    }
    return 0;
}

/* Takes the record into the open batch. With the lock. */
static int record_take(struct sluice_producer *p, const struct sluice_record *record, void *tag, struct sluice_error *e)
{
    size_t bytes = put_record_bytes(record);
    if (p->open && p->open->put.count && p->open->put.bytes + bytes > p->o.batch_bytes)
        open_close(p);
    int rc = p->open ? 0 : batch_open(p, e);
    if (rc < 0)
        return rc;
    struct producer_batch *b = p->open;
    rc = put_batch_add(&b->put, record, e);
    if (rc < 0 && b->put.count == 0) {
        p->open = NULL;
        list_remove(&b->live_link);
        batch_free(b);
    }
    if (rc < 0)
        return rc;
    b->record[b->put.count - 1] = (struct producer_record){.tag = tag, .bytes = bytes};
    p->buffered_bytes += bytes;
    p->stats.accepted++;
    if (b->put.count == p->o.batch_records || b->put.bytes >= p->o.batch_bytes)
        open_close(p);
    return 0;
}

int sluice_producer_put(struct sluice_producer *p, const struct sluice_record *record, void *tag,
                        struct sluice_error *e)
{
    int rc = put_record_check(record, e);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&p->lock);
    rc = p->closing ? client_fail(e, SLUICE_E_CLOSED, "the producer is being closed")
                    : room_wait(p, put_record_bytes(record), e);
    if (rc == 0)
        rc = record_take(p, record, tag, e);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

/* True while a batch up to `number` is not answered. With the lock. */
static bool is_live(const struct sluice_producer *p, uint64_t number)
{
    return !list_empty(&p->live) && CONTAINER_OF(p->live.next, struct producer_batch, live_link)->number <= number;
}

int sluice_producer_flush(struct sluice_producer *p, struct sluice_error *e)
{
    pthread_mutex_lock(&p->lock);
    open_close(p);
    uint64_t last = p->batch_number;
    while (is_live(p, last))
        pthread_cond_wait(&p->changed, &p->lock);
    int rc = p->first_error.code;
    if (rc < 0 && e)
        *e = p->first_error;
    p->first_error = (struct sluice_error){0};
    pthread_mutex_unlock(&p->lock);
    return rc;
}

void sluice_producer_stats(struct sluice_producer *p, struct sluice_producer_stats *out)
{
    pthread_mutex_lock(&p->lock);
    *out = p->stats;
    pthread_mutex_unlock(&p->lock);
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

int sluice_producer_open(struct sluice *s, const char *stream, const struct sluice_producer_options *options,
                         struct sluice_producer **out, struct sluice_error *e)
{
    struct sluice_producer_options o = options ? *options : (struct sluice_producer_options){0};
    o.batch_records = o.batch_records ? o.batch_records : PUT_RECORDS_MAX;
    o.batch_bytes = o.batch_bytes ? o.batch_bytes : 1 << 20;
    o.linger_ms = o.linger_ms ? o.linger_ms : 5;
    o.in_flight_max = o.in_flight_max ? o.in_flight_max : 4;
    o.buffer_bytes_max = o.buffer_bytes_max ? o.buffer_bytes_max : 64u << 20;
    if (o.batch_records > PUT_RECORDS_MAX || o.batch_bytes > PUT_BYTES_MAX)
        return client_fail(e, SLUICE_E_ARGUMENT, "a batch is at most %d records and %u bytes", PUT_RECORDS_MAX,
                           PUT_BYTES_MAX);
    struct sluice_producer *p = calloc(1, sizeof *p);
    char *name = strdup(stream);
    if (!p || !name) {
        free(p);
        free(name);
        return client_fail(e, SLUICE_E_MEMORY, "no memory");
    }
    p->s = s;
    p->stream = name;
    p->o = o;
    list_init(&p->ready);
    list_init(&p->live);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    *out = p;
    return 0;
}

struct producer_end {
    struct io_msg msg;
    struct sluice_producer *p;
    bool over;
};

static void end_arrived(struct io_msg *m)
{
    struct producer_end *end = CONTAINER_OF(m, struct producer_end, msg);
    struct sluice_producer *p = end->p;
    timer_disarm(p->s->loop, &p->linger);
    pthread_mutex_lock(&p->lock);
    end->over = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

int sluice_producer_close(struct sluice_producer *p, struct sluice_error *e)
{
    if (!p)
        return 0;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_mutex_unlock(&p->lock);
    int rc = sluice_producer_flush(p, e);
    /* The message comes after a linger message that may be on its way: then nothing on the loop knows p any more. */
    struct producer_end end = {.msg = {.deliver = end_arrived}, .p = p};
    loop_post(p->s->loop, &end.msg);
    pthread_mutex_lock(&p->lock);
    while (!end.over)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p->stream);
    free(p);
    return rc;
}
