/* See server.h. */
#include "broker/server.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/api/api.h"
#include "broker/data_lock.h"
#include "broker/delivery_host.h"
#include "broker/loop_tour.h"
#include "broker/metrics.h"
#include "common/base/diag.h"

#define HTTP_GRACE_MS     5000
#define DELIVERY_GRACE_MS 30000
#define PATH_BYTES        4096

/* The end of one loop's HTTP server. */
struct http_down {
    struct server *s;
    uint32_t index;
    struct io_msg msg;
};

struct server {
    const struct config *config;
    struct err err; /* the first thing that went wrong */
    struct loop **loops;
    pthread_t *threads;
    uint32_t loop_count, threads_running;
    struct catalog *catalog;
    struct api *api;
    struct delivery_host *deliveries;
    struct http_server **servers;
    uint16_t port;
    struct metrics metrics;
    bool serving, told, going_down; /* told: by a signal */
    struct io_signal sigterm, sigint;
    char path_catalog[PATH_BYTES], path_deliveries[PATH_BYTES];
    /* steps */
    struct log_options log_options;
    struct api_options api_options;
    struct api_start api_start;
    struct api_stop api_stop;
    struct delivery_host_options host_options;
    struct delivery_host_start host_start;
    struct loop_tour tour;
    struct io_msg hop_msg;
    uint32_t hop_at;
    struct io_op disk_op;
    uint64_t disk_total;
    struct http_down *http_down; /* a loop each */
    uint32_t http_left;
    const struct service *services[2];
};

static void down_http(struct server *s);

/* Remembers the first error and goes down. */
static void failed(struct server *s, const struct err *why)
{
    if (s->err.code == 0)
        s->err = *why;
    down_http(s);
}

/* Runs `deliver` on loop `index`; it finds the server by hop_msg. */
static void hop(struct server *s, uint32_t index, void (*deliver)(struct io_msg *m))
{
    s->hop_at = index;
    s->hop_msg.deliver = deliver;
    loop_post(s->loops[index], &s->hop_msg);
}

/* ---- the way down -------------------------------------------------------------------------------------------------- */

static void down_loops(struct server *s)
{
    for (uint32_t i = 1; i < s->loop_count; i++)
        loop_stop(s->loops[i]);
    loop_stop(s->loops[0]);
}

static void down_api_done(struct api_stop *stop)
{
    struct server *s = CONTAINER_OF(stop, struct server, api_stop);
    if (stop->status < 0 && s->err.code == 0)
        err_set_status(&s->err, stop->status, "closing the log");
    s->api = NULL;
    down_loops(s);
}

static void down_api(struct server *s)
{
    if (!s->api) {
        down_loops(s);
        return;
    }
    s->api_stop = (struct api_stop){.done = down_api_done};
    api_stop(s->api, &s->api_stop);
}

static void down_deliveries_done(void *ctx)
{
    struct server *s = ctx;
    s->deliveries = s->metrics.deliveries = NULL;
    down_api(s);
}

static void down_deliveries(struct server *s)
{
    if (s->deliveries)
        delivery_host_stop(s->deliveries, DELIVERY_GRACE_MS, down_deliveries_done, s);
    else
        down_api(s);
}

static void down_http_home(struct io_msg *m)
{
    struct server *s = CONTAINER_OF(m, struct http_down, msg)->s;
    if (--s->http_left == 0)
        down_deliveries(s);
}

static void down_http_done(void *ctx)
{
    struct http_down *d = ctx;
    d->s->servers[d->index] = NULL;
    d->msg.deliver = down_http_home;
    loop_post(d->s->loops[0], &d->msg);
}

static void down_http_arrived(struct io_msg *m)
{
    struct http_down *d = CONTAINER_OF(m, struct http_down, msg);
    struct http_server *server = d->s->servers[d->index];
    if (server)
        http_server_stop(server, HTTP_GRACE_MS, down_http_done, d);
    else
        down_http_done(d);
}

/* All loops' servers at the same time, so that the grace is not a loop's but the daemon's. */
static void down_http(struct server *s)
{
    if (s->going_down)
        return;
    s->going_down = true;
    atomic_store(&s->metrics.draining, true);
    uint32_t loops = s->loop_count;
    s->http_left = loops;
    for (uint32_t i = 0; i < loops; i++) {
        s->http_down[i] = (struct http_down){.s = s, .index = i, .msg = {.deliver = down_http_arrived}};
        loop_post(s->loops[i], &s->http_down[i].msg);
    }
}

static void told_to_stop(struct io_signal *signal, int number)
{
    struct server *s = signal->signal == SIGINT ? CONTAINER_OF(signal, struct server, sigint)
                                                : CONTAINER_OF(signal, struct server, sigterm);
    diag(DIAG_INFO, "stopping", "signal=%d", number);
    s->told = true;
    if (s->serving)
        down_http(s);
    /* else the step of the start that is under way goes down when it is done (up_goes_on) */
}

/* ---- the way up ----------------------------------------------------------------------------------------------------- */

/* After each step of the start, on loops[0]: false if it ends here. */
static bool up_goes_on(struct server *s, int status, const struct err *why)
{
    if (status < 0) {
        failed(s, why);
        return false;
    }
    if (s->told)
        down_http(s);
    return !s->told;
}

static bool other_request(void *ctx, struct api_loop *l, struct http_exchange *x)
{
    struct server *s = ctx;
    return metrics_request(&s->metrics, l, x);
}

static void up_serving(struct io_msg *m)
{
    struct server *s = CONTAINER_OF(m, struct server, hop_msg);
    const struct config *c = s->config;
    static const char *const modes[] = {"batch", "interval", "never"};
    if (!up_goes_on(s, s->err.code, &s->err))
        return;
    s->serving = true;
    bool v6 = strchr(c->listen.host, ':') != NULL;
    printf("sluiced %s listening on http://%s%s%s:%u (data %s, sync %s, %u loop%s, %s)\n", SLUICE_VERSION,
           v6 ? "[" : "", c->listen.host, v6 ? "]" : "", s->port, c->data, modes[c->sync.mode], s->loop_count,
           s->loop_count == 1 ? "" : "s", loop_backend_name(s->loops[0]));
    fflush(stdout);
    diag(DIAG_INFO, "serving", "port=%u loops=%u io=%s", s->port, s->loop_count, loop_backend_name(s->loops[0]));
}

static void up_http_arrived(struct io_msg *m)
{
    struct server *s = CONTAINER_OF(m, struct server, hop_msg);
    const struct config *c = s->config;
    struct http_server_options o = {.connections_max = c->http.connections,
                                    .body_bytes_max = c->http.body_bytes,
                                    .memory_bytes_max = c->http.memory_bytes / s->loop_count,
                                    .idle_ms = (uint32_t)c->http.idle_ms,
                                    .request_ms = (uint32_t)c->http.request_ms,
                                    .require_local_host = c->credential_count == 0 && !c->allow_unsigned,
                                    .origins = c->origins.count ? c->origins.item : NULL,
                                    .request = api_request,
                                    .ctx = api_loop_at(s->api, s->hop_at)};
    struct err why = {0};
    snprintf(o.listen.text, sizeof o.listen.text, "%s", c->listen.host);
    o.listen.port = s->hop_at == 0 ? c->listen.port : s->port;
    o.listen.shared = s->hop_at > 0;
    uint16_t port;
    if (http_server_start(s->loops[s->hop_at], &o, &s->servers[s->hop_at], &port, &why) < 0) {
        if (s->err.code == 0)
            s->err = why;
        hop(s, 0, up_serving);
        return;
    }
    s->port = port;
    if (s->hop_at + 1 < s->loop_count)
        hop(s, s->hop_at + 1, up_http_arrived);
    else
        hop(s, 0, up_serving);
}

static void retention_visit(struct loop_tour *t, uint32_t index)
{
    struct server *s = CONTAINER_OF(t, struct server, tour);
    log_retention_start(api_loop_log(api_loop_at(s->api, index)));
    api_loop_set_user(api_loop_at(s->api, index), s->deliveries);
}

static void retention_started(struct loop_tour *t)
{
    hop(CONTAINER_OF(t, struct server, tour), 0, up_http_arrived);
}

static void deliveries_started(struct delivery_host_start *start)
{
    struct server *s = CONTAINER_OF(start, struct server, host_start);
    s->deliveries = s->metrics.deliveries = start->host;
    if (!up_goes_on(s, start->status, &start->err))
        return;
    s->tour = (struct loop_tour){
        .loops = s->loops, .loop_count = s->loop_count, .visit = retention_visit, .done = retention_started};
    loop_tour_start(&s->tour);
}

static int data_uid(struct server *s, uint8_t out[16])
{
    size_t len = 0;
    int rc = catalog_value_get(s->catalog, "deliveries_uid", out, 16, &len);
    if (rc == ST_NOT_FOUND) {
        loop_random(s->loops[0], out, 16);
        rc = catalog_value_put(s->catalog, "deliveries_uid", slice_of(out, 16));
    }
    return rc;
}

static bool stream_exists(void *ctx, const char *name)
{
    struct server *s = ctx;
    return api_stream_find(api_loop_at(s->api, 0), slice_str(name), NULL) != 0;
}

static void api_started(struct api_start *start)
{
    struct server *s = CONTAINER_OF(start, struct server, api_start);
    struct err why = start->err;
    int rc = start->status;
    s->api = s->metrics.api = start->api;
    if (rc == 0)
        rc = config_check_streams(s->config, stream_exists, s, &why);
    s->host_options = (struct delivery_host_options){.api = s->api,
                                                     .loops = s->loops,
                                                     .loop_count = s->loop_count,
                                                     .catalog = s->catalog,
                                                     .config = s->config,
                                                     .journal_folder = s->path_deliveries};
    if (rc == 0) {
        rc = data_uid(s, s->host_options.log_uid);
        if (rc < 0)
            err_set_status(&why, rc, "catalog");
    }
    if (!up_goes_on(s, rc, &why))
        return;
    s->host_start = (struct delivery_host_start){.done = deliveries_started};
    delivery_host_start(&s->host_options, &s->host_start);
}

/* ---- the configuration as the api wants it --------------------------------------------------------------------------- */

static void api_options_make(struct server *s)
{
    const struct config *c = s->config;
    static const enum log_sync modes[] = {[CONFIG_SYNC_BATCH] = LOG_SYNC_BATCH,
                                          [CONFIG_SYNC_INTERVAL] = LOG_SYNC_INTERVAL,
                                          [CONFIG_SYNC_NEVER] = LOG_SYNC_NEVER};
    s->log_options = (struct log_options){.dir = c->data,
                                          .sync = modes[c->sync.mode],
                                          .sync_interval_ms = c->sync.interval_ms,
                                          .journal_bytes = c->journal.size_bytes,
                                          .segment_bytes_min = c->segments.min_bytes,
                                          .segment_bytes_max = c->segments.max_bytes,
                                          .cache_bytes = c->cache.size_bytes / s->loop_count,
                                          .disk_reserve_bytes = c->disk_reserve.bytes};
    s->services[0] = &firehose_service;
    s->api_options = (struct api_options){.loops = s->loops,
                                          .loop_count = s->loop_count,
                                          .catalog = s->catalog,
                                          .log = &s->log_options,
                                          .config = c,
                                          .create_delay_ms = (uint32_t)c->create_delay_ms,
                                          .delete_delay_ms = (uint32_t)c->delete_delay_ms,
                                          .shards_max = c->shards_max,
                                          .services = s->services,
                                          .other = other_request,
                                          .ctx = s};
}

static void up_begin(struct server *s)
{
    s->api_start = (struct api_start){.done = api_started};
    api_start(&s->api_options, &s->api_start);
}

/* The reserve may be a share of the file system. */
static void disk_known(struct io_op *op)
{
    struct server *s = CONTAINER_OF(op, struct server, disk_op);
    struct err why;
    int rc = op->result < 0 ? err_set_status(&why, (int)op->result, "%s", s->config->data) : 0;
    if (!up_goes_on(s, rc, &why))
        return;
    if (s->config->disk_reserve.percent)
        s->log_options.disk_reserve_bytes = s->disk_total / 100 * s->config->disk_reserve.percent;
    up_begin(s);
}

/* ---- loops and threads ------------------------------------------------------------------------------------------------ */

/* Runs a loop until it is stopped. What is under way on a loop that broke can be neither completed nor undone, and the
 * other loops would wait for it for ever: to the data it is a crash, and the next start recovers. */
static void loop_work(struct loop *loop)
{
    int rc = loop_run(loop);
    if (rc == 0)
        return;
    diag(DIAG_ERROR, "loop_broke", "backend=%s error=%s", loop_backend_name(loop), status_name(rc));
    _exit(1);
}

static void *loop_thread(void *loop)
{
    loop_work(loop);
    return NULL;
}

static int loops_create(struct server *s, struct err *e)
{
    const struct config *c = s->config;
    static const enum loop_kind kinds[] = {
        [CONFIG_IO_AUTO] = LOOP_AUTO, [CONFIG_IO_URING] = LOOP_URING, [CONFIG_IO_LIBUV] = LOOP_LIBUV};
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t count = c->loops ? c->loops : cpus >= 4 ? (uint32_t)cpus / 2 : 1;
    s->loops = calloc(count, sizeof(struct loop *));
    s->threads = calloc(count, sizeof *s->threads);
    s->servers = calloc(count, sizeof(struct http_server *));
    s->http_down = calloc(count, sizeof *s->http_down);
    if (!s->loops || !s->threads || !s->servers || !s->http_down)
        return err_set_status(e, -ENOMEM, "loops");
    struct loop_options o = {.kind = kinds[c->io], .workers = c->workers};
    for (uint32_t i = 0; i < count; i++) {
        int rc = loop_create(&o, &s->loops[i], e);
        if (rc < 0)
            return rc;
        s->loop_count = i + 1;
    }
    int why = loop_fallback_errno(s->loops[0]);
    if (why)
        diag(DIAG_WARN, "io_uring_unavailable", "errno=%s fallback=libuv", status_name(-(why < 0 ? -why : why)));
    return 0;
}

static int threads_start(struct server *s, struct err *e)
{
    for (uint32_t i = 1; i < s->loop_count; i++) {
        int rc = pthread_create(&s->threads[i], NULL, loop_thread, s->loops[i]);
        if (rc != 0)
            return err_set_status(e, -rc, "thread of loop %u", i);
        s->threads_running = i;
    }
    return 0;
}

static int signals_take(struct server *s, struct err *e)
{
    s->sigterm.received = s->sigint.received = told_to_stop;
    int rc = signal_watch(s->loops[0], &s->sigterm, SIGTERM);
    if (rc == 0)
        rc = signal_watch(s->loops[0], &s->sigint, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    return rc < 0 ? err_set_status(e, rc, "signals") : 0;
}

static int run(struct server *s, struct err *e)
{
    int rc = loops_create(s, e);
    if (rc < 0)
        return rc;
    s->metrics =
        (struct metrics){.servers = s->servers, .loops = s->loops, .loop_count = s->loop_count, .config = s->config};
    rc = signals_take(s, e);
    if (rc < 0)
        return rc;
    rc = catalog_open_sqlite(s->path_catalog, &s->catalog, e);
    if (rc < 0)
        return rc;
    api_options_make(s);
    rc = threads_start(s, e);
    if (rc < 0) {
        down_loops(s);
        return rc;
    }
    s->disk_op.done = disk_known;
    io_disk_free(s->loops[0], &s->disk_op, s->config->data, &s->disk_total);
    loop_work(s->loops[0]);
    if (s->err.code < 0) {
        *e = s->err;
        return s->err.code;
    }
    return 0;
}

int server_run(const struct config *config, struct err *e)
{
    static struct server server; /* one daemon a process */
    struct server *s = &server;
    s->config = config;
    if (snprintf(s->path_catalog, PATH_BYTES, "%s/catalog.db", config->data) >= PATH_BYTES ||
        snprintf(s->path_deliveries, PATH_BYTES, "%s/deliveries", config->data) >= PATH_BYTES)
        return err_set(e, -ENAMETOOLONG, "data directory '%.64s...': the name is too long", config->data);
    int lock = data_lock(config->data, e);
    if (lock < 0)
        return lock;
    firehose_api_setup(&delivery_host_hooks);
    delivery_host_hooks.account = config->account_id;
    delivery_host_hooks.region = config->region;
    int rc = run(s, e);
    for (uint32_t i = 1; i <= s->threads_running && s->loop_count > 1; i++)
        pthread_join(s->threads[i], NULL);
    signal_unwatch(&s->sigterm);
    signal_unwatch(&s->sigint);
    for (uint32_t i = s->loop_count; i-- > 0;)
        loop_destroy(s->loops[i]);
    catalog_close(s->catalog);
    free(s->loops);
    free(s->threads);
    free(s->servers);
    free(s->http_down);
    close(lock);
    return rc;
}
