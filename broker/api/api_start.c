/*
 * Starting and stopping; see api.h.
 *
 *   api_start ─▶ read_work (worker: rows of the catalog, token key) ─▶ log_open ─▶ boot each loop (registry, shards'
 *   retention) ─▶ what a crash left half-made is taken up ─▶ streams of the configuration, one after the other ─▶ done
 *   api_stop ─▶ changes drained ─▶ each loop: log_close, freed ─▶ done
 *
 * Failure modes: whatever fails before `done` closes the logs that are open, frees everything and tells why.
 * Thread: loops[0], but for read_work (a worker) and the functions that end in _here (each loop).
 */
#include <stdlib.h>

#include "broker/api/api_impl.h"
#include "broker/api/rest.h"
#include "common/base/check.h"
#include "common/base/diag.h"

#define TOKEN_KEY_NAME     "token_key"
#define RETENTION_MS       (24ll * 3600 * 1000)
#define SHARDS_MAX_DEFAULT 10000u

/* A stream of the catalog with its shards. */
struct boot_stream {
    struct catalog_stream row;
    struct catalog_shard *shards;
    uint32_t count, cap;
};

struct boot_msg {
    struct io_msg msg;
    struct start *start;
    struct api_loop *loop;
    int status;
};

struct start {
    struct api *api;
    struct api_start *request;
    struct io_job job;
    int status;
    struct err err;
    struct boot_stream *streams;
    uint32_t stream_count, stream_cap;
    struct log_live_shard *live;
    size_t live_count;
    struct log_open open;
    struct log **logs;
    bool logs_open;
    struct boot_msg *boot; /* of loop_count */
    uint32_t boot_left;
    struct api_change change;
    uint32_t wanted; /* index of the configuration's stream that is being made */
};

/* ---- the catalog (worker) ------------------------------------------------------------------------------------------ */

static int read_stream(void *ctx, const struct catalog_stream *row)
{
    struct start *s = ctx;
    if (s->stream_count == s->stream_cap) {
        uint32_t cap = s->stream_cap ? 2 * s->stream_cap : 16;
        struct boot_stream *grown = realloc(s->streams, cap * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        s->streams = grown;
        s->stream_cap = cap;
    }
    s->streams[s->stream_count++] = (struct boot_stream){.row = *row};
    return 0;
}

static int stream_order(const void *a, const void *b)
{
    const struct boot_stream *x = a, *y = b;
    return (x->row.uid > y->row.uid) - (x->row.uid < y->row.uid);
}

static int read_shard(void *ctx, const struct catalog_shard *row)
{
    struct start *s = ctx;
    struct boot_stream key = {.row = {.uid = row->stream_uid}};
    struct boot_stream *b =
        s->stream_count ? bsearch(&key, s->streams, s->stream_count, sizeof(key), stream_order) : NULL;
    if (!b)
        return ST_CORRUPT;
    if (b->count == b->cap) {
        uint32_t cap = b->cap ? 2 * b->cap : 4;
        struct catalog_shard *grown = realloc(b->shards, cap * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        b->shards = grown;
        b->cap = cap;
    }
    b->shards[b->count++] = *row;
    s->live_count++;
    return 0;
}

/* The key that seals iterators and tokens: made once, kept in the catalog, so that they outlive a restart. */
static int read_token_key(struct start *s)
{
    struct api *api = s->api;
    struct token_key key;
    size_t len = 0;
    int status = catalog_value_get(api->options.catalog, TOKEN_KEY_NAME, key.byte, sizeof(key.byte), &len);
    if (status >= 0 && len == sizeof(key.byte)) {
        api->key = key;
        return 0;
    }
    if (status < 0 && status != ST_NOT_FOUND)
        return status;
    return catalog_value_put(api->options.catalog, TOKEN_KEY_NAME, slice_of(api->key.byte, sizeof(api->key.byte)));
}

static void read_work(struct io_job *j)
{
    struct start *s = CONTAINER_OF(j, struct start, job);
    struct catalog *catalog = s->api->options.catalog;
    s->status = catalog_each_stream(catalog, read_stream, s);
    if (s->status >= 0) {
        if (s->stream_count)
            qsort(s->streams, s->stream_count, sizeof(*s->streams), stream_order);
        s->status = catalog_each_shard(catalog, read_shard, s);
    }
    if (s->status >= 0)
        s->status = read_token_key(s);
    if (s->status < 0)
        err_set_status(&s->err, s->status, "read the catalog");
}

/* ---- freeing ---------------------------------------------------------------------------------------------------------- */

static void api_free(struct api *api)
{
    if (!api)
        return;
    for (uint32_t i = 0; api->loop && i < api->loop_count; i++) {
        struct api_loop *l = &api->loop[i];
        registry_deinit(&l->registry);
        sigv4_verifier_deinit(&l->verifier);
        size_t pos = 0;
        for (void *e; (e = hashmap_next(&l->limits, &pos));)
            free(e);
        hashmap_deinit(&l->limits);
    }
    rest_destroy(api->rest);
    changes_destroy(api);
    free(api->stop);
    free(api->services);
    free(api->signing_names);
    free(api->loop);
    free(api);
}

static void start_free(struct start *s)
{
    for (uint32_t i = 0; i < s->stream_count; i++)
        free(s->streams[i].shards);
    free(s->streams);
    free(s->live);
    free(s->logs);
    free(s->boot);
    free(s);
}

struct log_closing {
    struct log_close close;
    struct io_msg msg;
    struct stop *stop;
    struct api_loop *loop;
};

/* Made with the api, so that the end needs no memory. */
struct stop {
    struct api *api;
    int status;
    uint32_t left;
    void (*done)(struct stop *s);
    void *ctx;
    struct log_closing closing[]; /* of loop_count */
};

static void close_back(struct io_msg *m)
{
    struct log_closing *c = CONTAINER_OF(m, struct log_closing, msg);
    struct stop *s = c->stop;
    if (c->close.status < 0)
        s->status = c->close.status;
    if (--s->left == 0)
        s->done(s);
}

static void close_done_here(struct log_close *close)
{
    struct log_closing *c = CONTAINER_OF(close, struct log_closing, close);
    c->loop->log = NULL;
    api_send(c->loop, &c->stop->api->loop[0], &c->msg, close_back);
}

static void close_here(struct io_msg *m)
{
    struct log_closing *c = CONTAINER_OF(m, struct log_closing, msg);
    c->close.done = close_done_here;
    loop_defer_cancel(&c->loop->tell);
    log_close(c->loop->log, &c->close);
}

/* Closes the logs of all loops; then `done`. */
static void close_logs(struct stop *s)
{
    struct api *api = s->api;
    uint32_t loops = api->loop_count;
    s->left = loops;
    for (uint32_t i = 0; i < loops; i++) {
        s->closing[i] = (struct log_closing){.stop = s, .loop = &api->loop[i]};
        api_send(&api->loop[0], &api->loop[i], &s->closing[i].msg, close_here);
    }
}

/* ---- the end of the start ------------------------------------------------------------------------------------------- */

static void start_answer(struct start *s)
{
    struct api_start *request = s->request;
    request->status = s->status;
    request->err = s->err;
    request->api = s->status < 0 ? NULL : s->api;
    if (s->status < 0)
        api_free(s->api);
    start_free(s);
    request->done(request);
}

static void start_undone(struct stop *stop)
{
    start_answer(stop->ctx);
}

static void undo_idle(struct api *api)
{
    struct stop *stop = api->stop;
    close_logs(stop);
}

static void start_failed(struct start *s)
{
    if (!s->logs_open) {
        start_answer(s);
        return;
    }
    struct stop *stop = s->api->stop;
    stop->ctx = s;
    stop->done = start_undone;
    changes_drain(s->api, undo_idle);
}

/* ---- streams of the configuration ----------------------------------------------------------------------------------- */

static void wanted_next(struct start *s);

static void wanted_done(struct api_change *c)
{
    struct start *s = c->private;
    if (c->status < 0) {
        s->status = c->status;
        s->err = c->err;
        err_wrap(&s->err, "stream of the configuration");
        start_failed(s);
        return;
    }
    s->wanted++;
    wanted_next(s);
}

/* Makes (or changes) one stream; false: it is as it should be. */
static bool wanted_change(struct start *s, const struct config_stream *w)
{
    struct api_loop *l = &s->api->loop[0];
    struct api_change *c = &s->change;
    const struct registry_stream *have = registry_find(&l->registry, slice_str(w->name));
    *c = (struct api_change){.done = wanted_done, .private = s, .wait_active = true, .shard_count = w->shards};
    if (have)
        c->stream = have->row;
    memcpy(c->stream.name, w->name, strnlen(w->name, CATALOG_NAME_MAX));
    c->stream.retention_ms = w->retention.time_ms ? w->retention.time_ms : RETENTION_MS;
    c->stream.retention_bytes = w->retention.size_bytes ? w->retention.size_bytes : UINT64_MAX;
    c->stream.record_bytes_max = w->record_bytes_max ? (uint32_t)w->record_bytes_max : API_RECORD_BYTES_DEFAULT;
    if (!have) {
        api_stream_create(l, c);
        return true;
    }
    if (have->row.status != STREAM_ACTIVE ||
        (have->row.retention_ms == c->stream.retention_ms && have->row.retention_bytes == c->stream.retention_bytes &&
         have->row.record_bytes_max == c->stream.record_bytes_max))
        return false;
    api_stream_update(l, c);
    return true;
}

static void wanted_next(struct start *s)
{
    const struct config *config = s->api->options.config;
    for (; s->wanted < config->stream_count; s->wanted++)
        if (wanted_change(s, &config->streams[s->wanted]))
            return;
    start_answer(s);
}

/* ---- the loops -------------------------------------------------------------------------------------------------------- */

static void boot_back(struct io_msg *m)
{
    struct boot_msg *b = CONTAINER_OF(m, struct boot_msg, msg);
    struct start *s = b->start;
    if (b->status < 0)
        s->status = b->status;
    if (--s->boot_left)
        return;
    if (s->status >= 0)
        s->status = changes_resume(s->api);
    if (s->status < 0) {
        err_set_status(&s->err, s->status, "take up the streams");
        start_failed(s);
        return;
    }
    wanted_next(s);
}

static int boot_loop(struct start *s, struct api_loop *l)
{
    for (uint32_t i = 0; i < s->stream_count; i++) {
        const struct boot_stream *b = &s->streams[i];
        int status = stream_apply(l, &b->row, b->shards, b->count);
        if (status >= 0)
            status = registry_put(&l->registry, &b->row, b->shards, b->count);
        if (status < 0)
            return status;
    }
    return 0;
}

static void boot_here(struct io_msg *m)
{
    struct boot_msg *b = CONTAINER_OF(m, struct boot_msg, msg);
    b->status = boot_loop(b->start, b->loop);
    api_send(b->loop, &b->start->api->loop[0], m, boot_back);
}

static void logs_opened(struct log_open *o)
{
    struct start *s = CONTAINER_OF(o, struct start, open);
    struct api *api = s->api;
    if (o->status < 0) {
        s->status = o->status;
        s->err = o->err;
        start_failed(s);
        return;
    }
    s->logs_open = true;
    uint32_t loops = api->loop_count;
    s->boot_left = loops;
    for (uint32_t i = 0; i < loops; i++)
        api->loop[i].log = s->logs[i];
    for (uint32_t i = 0; i < loops; i++) {
        s->boot[i] = (struct boot_msg){.start = s, .loop = &api->loop[i]};
        api_send(&api->loop[0], &api->loop[i], &s->boot[i].msg, boot_here);
    }
}

static void read_done(struct io_job *j)
{
    struct start *s = CONTAINER_OF(j, struct start, job);
    struct api *api = s->api;
    s->logs = calloc(api->loop_count, sizeof(*s->logs));
    s->boot = calloc(api->loop_count, sizeof(*s->boot));
    s->live = calloc(s->live_count ? s->live_count : 1, sizeof(*s->live));
    if (s->status >= 0 && (!s->logs || !s->boot || !s->live))
        s->status = err_set_status(&s->err, -ENOMEM, "start");
    if (s->status < 0) {
        start_failed(s);
        return;
    }
    size_t n = 0;
    for (uint32_t i = 0; i < s->stream_count; i++)
        for (uint32_t k = 0; k < s->streams[i].count; k++) {
            const struct catalog_shard *row = &s->streams[i].shards[k];
            s->live[n++] = (struct log_live_shard){.uid = row->uid,
                                                   .loop_index = api_shard_owner(api, row->uid),
                                                   .deleting = row->state == SHARD_DELETING ||
                                                               s->streams[i].row.status == STREAM_DELETING};
        }
    s->open = (struct log_open){.done = logs_opened,
                                .logs = s->logs,
                                .loops = api->options.loops,
                                .loop_count = api->loop_count,
                                .options = &api->log_options,
                                .live = s->live,
                                .live_count = n};
    log_open(&s->open);
}

/* ---- the beginning ------------------------------------------------------------------------------------------------------ */

/* Fills in each loop's part. */
static int api_init_loops(struct api *api)
{
    api->loop = calloc(api->loop_count, sizeof(*api->loop));
    if (!api->loop)
        return -ENOMEM;
    for (uint32_t i = 0; i < api->loop_count; i++) {
        struct api_loop *l = &api->loop[i];
        uint64_t seed;
        loop_random(api->options.loops[0], &seed, sizeof(seed));
        l->api = api;
        l->index = i;
        l->io = api->options.loops[i];
        registry_init(&l->registry, seed);
        hashmap_init(&l->limits, seed);
        list_init(&l->watches);
        api_loop_init_requests(l);
    }
    return 0;
}

static int api_create(const struct api_options *options, struct api **out, struct err *e)
{
    struct api *api = calloc(1, sizeof(*api));
    if (!api)
        return err_set_status(e, -ENOMEM, "start");
    const struct config *config = options->config;
    api->options = *options;
    api->log_options = *options->log;
    api->options.log = &api->log_options;
    if (!api->options.shards_max)
        api->options.shards_max = SHARDS_MAX_DEFAULT;
    api->loop_count = options->loop_count;
    api->iterator_life_ms = config->iterator_life_ms ? config->iterator_life_ms : 300000;
    const char *account = config->account_id ? config->account_id : "000000000000";
    const char *region = config->region ? config->region : "us-east-1";
    memcpy(api->account, account, strnlen(account, STREAM_ACCOUNT_LEN));
    memcpy(api->region, region, strnlen(region, STREAM_REGION_MAX));
    loop_random(options->loops[0], api->key.byte, sizeof(api->key.byte)); /* used if the catalog has none */
    api->stop = calloc(1, sizeof(*api->stop) + api->loop_count * sizeof(api->stop->closing[0]));
    int status = api->stop ? changes_create(api) : -ENOMEM;
    if (api->stop)
        api->stop->api = api;
    if (status >= 0)
        status = api_register_services(api);
    if (status >= 0)
        status = rest_create(api, &api->rest);
    if (status >= 0)
        status = api_init_loops(api);
    if (status < 0) {
        api_free(api);
        return err_set_status(e, status, "start");
    }
    *out = api;
    return 0;
}

void api_start(const struct api_options *options, struct api_start *request)
{
    struct start *s = calloc(1, sizeof(*s));
    request->api = NULL;
    request->err.code = 0;
    if (!s) {
        request->status = err_set_status(&request->err, -ENOMEM, "start");
        request->done(request);
        return;
    }
    s->request = request;
    s->status = api_create(options, &s->api, &s->err);
    if (s->status < 0) {
        start_answer(s);
        return;
    }
    s->job.work = read_work;
    s->job.done = read_done;
    job_submit(options->loops[0], &s->job);
}

/* ---- stopping ------------------------------------------------------------------------------------------------------------ */

static void stopped(struct stop *s)
{
    struct api_stop *request = s->ctx;
    request->status = s->status;
    api_free(s->api);
    request->done(request);
}

void api_stop(struct api *api, struct api_stop *request)
{
    struct stop *s = api->stop;
    s->ctx = request;
    s->done = stopped;
    changes_drain(api, undo_idle);
}

/* ---- small views ------------------------------------------------------------------------------------------------------- */

struct api_loop *api_loop_at(struct api *api, uint32_t index)
{
    CHECK(index < api->loop_count);
    return &api->loop[index];
}

struct api *api_of(struct api_loop *l)
{
    return l->api;
}

uint32_t api_loop_index(const struct api_loop *l)
{
    return l->index;
}

struct loop *api_loop_io(struct api_loop *l)
{
    return l->io;
}

struct log *api_loop_log(struct api_loop *l)
{
    return l->log;
}

uint32_t api_loop_count(const struct api *api)
{
    return api->loop_count;
}

const char *api_account(const struct api *api)
{
    return api->account;
}

const char *api_region(const struct api *api)
{
    return api->region;
}

void api_loop_set_user(struct api_loop *l, void *user)
{
    l->user = user;
}

void *api_loop_user(const struct api_loop *l)
{
    return l->user;
}

uint32_t api_shard_owner(const struct api *api, uint64_t shard_uid)
{
    return (uint32_t)(shard_uid % api->loop_count);
}
