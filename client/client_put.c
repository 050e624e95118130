/* Putting one record or one batch, and waiting for it. */
#include "client/put_batch.h"

struct put_wait {
    struct put_batch batch;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool over;
};

static void put_wait_done(struct put_batch *b)
{
    struct put_wait *w = CONTAINER_OF(b, struct put_wait, batch);
    pthread_mutex_lock(&w->lock);
    w->over = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static int put_all(struct sluice *s, enum client_service service, const char *name, const struct sluice_record *records,
                   size_t count, struct sluice_put_result *out, struct sluice_error *e)
{
    if (count == 0 || count > PUT_RECORDS_MAX)
        return client_fail(e, SLUICE_E_ARGUMENT, "a batch has 1 to %d records, not %zu", PUT_RECORDS_MAX, count);
    struct put_wait w = {0};
    if (put_batch_init(&w.batch, s, service, name, (uint32_t)count) < 0)
        return client_fail(e, SLUICE_E_MEMORY, "no memory");
    for (size_t i = 0; i < count; i++) {
        int rc = put_batch_add(&w.batch, &records[i], e);
        if (rc < 0) {
            put_batch_deinit(&w.batch);
            return rc;
        }
    }
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.changed, NULL);
    w.batch.done = put_wait_done;
    put_batch_send(&w.batch);
    pthread_mutex_lock(&w.lock);
    while (!w.over)
        pthread_cond_wait(&w.changed, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.changed);
    int rc = w.batch.error.code;
    if (out)
        memcpy(out, w.batch.result, count * sizeof *out);
    if (rc < 0 && e)
        *e = w.batch.error;
    put_batch_deinit(&w.batch);
    return rc;
}

int sluice_put(struct sluice *s, const char *stream, const struct sluice_record *record, struct sluice_put_result *out,
               struct sluice_error *e)
{
    struct sluice_put_result result;
    int rc = put_all(s, CLIENT_KINESIS, stream, record, 1, &result, e);
    if (rc == 0 && out)
        *out = result;
    return rc;
}

int sluice_put_batch(struct sluice *s, const char *stream, const struct sluice_record *records, size_t count,
                     struct sluice_put_result *out, struct sluice_error *e)
{
    return put_all(s, CLIENT_KINESIS, stream, records, count, out, e);
}

int sluice_delivery_put_batch(struct sluice *s, const char *delivery, const struct sluice_record *records, size_t count,
                              struct sluice_put_result *out, struct sluice_error *e)
{
    return put_all(s, CLIENT_FIREHOSE, delivery, records, count, out, e);
}
