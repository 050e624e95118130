/* See metrics.h. A gathering is allocated from the request's arena, which lives until the answer is sent. */
#include "broker/metrics.h"

#include <inttypes.h>
#include <stdlib.h>

#include "broker/loop_tour.h"

#define METRICS_BYTES_MAX (4u << 20)

struct gathering {
    struct loop_tour tour;
    struct metrics *m;
    struct http_exchange *x;
    struct bytebuf out;     /* /deliveries/NAME: the answer */
    struct bytebuf samples; /* /metrics: struct firehose_sample, of all loops */
    struct api_stats api;
    struct log_stats log;
    struct histogram commit_us, commit_sizes;
    struct http_server_stats http;
    const char *backend;
    int fallback_errno;
    struct slice name; /* of /deliveries/NAME */
    uint32_t loop_index;
};

static void respond_text(struct http_exchange *x, int status, const char *type, struct slice body)
{
    struct http_header header = {SLICE_LIT("Content-Type"), slice_str(type)};
    http_respond(x, status, &header, 1, body);
}

/* ---- Prometheus text ---------------------------------------------------------------------------------------------- */

static void metric_u64(struct bytebuf *b, const char *name, const char *type, const char *help, uint64_t value)
{
    bytebuf_printf(b, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", name, help, name, type, name, value);
}

static void metric_histogram(struct bytebuf *b, const char *name, const char *help, const struct histogram *h,
                             double unit)
{
    bytebuf_printf(b, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    for (uint64_t le = 64; le <= 1ull << 28; le *= 4)
        bytebuf_printf(b, "%s_bucket{le=\"%.15g\"} %" PRIu64 "\n", name, (double)le * unit, histogram_count_le(h, le));
    bytebuf_printf(b, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.15g\n%s_count %" PRIu64 "\n", name, h->count, name,
                   (double)h->sum * unit, name, h->count);
}

static void log_write(struct bytebuf *b, const struct gathering *g)
{
    static const char *const modes[] = {"batch", "interval", "never"};
    const struct log_stats *s = &g->log;
    bytebuf_printf(b,
                   "# HELP sluice_sync_mode The durability mode in use.\n# TYPE sluice_sync_mode "
                   "gauge\nsluice_sync_mode{mode=\"%s\"} 1\n",
                   modes[s->sync]);
    metric_u64(b, "sluice_log_append_records_total", "counter", "Records acknowledged by the log.", s->append_records);
    metric_u64(b, "sluice_log_append_bytes_total", "counter", "Bytes acknowledged by the log.", s->append_bytes);
    metric_u64(b, "sluice_log_commits_total", "counter", "Rounds made durable.", s->commits);
    metric_u64(b, "sluice_log_direct_commits_total", "counter", "Commits written straight to a segment.",
               s->direct_commits);
    metric_u64(b, "sluice_log_commit_bytes_total", "counter", "Bytes written by commits.", s->commit_bytes);
    metric_u64(b, "sluice_log_syncs_total", "counter", "Syncs of files.", s->syncs);
    metric_u64(b, "sluice_log_failed_syncs_total", "counter", "Syncs that failed; the shards were fenced.",
               s->failed_syncs);
    metric_u64(b, "sluice_log_migrated_bytes_total", "counter", "Bytes moved from journals to segments.",
               s->migrated_bytes);
    metric_u64(b, "sluice_log_checkpoints_total", "counter", "Checkpoints written.", s->checkpoints);
    metric_u64(b, "sluice_log_cache_hits_total", "counter", "Reads answered from the tail cache.", s->cache_hits);
    metric_u64(b, "sluice_log_cache_misses_total", "counter", "Reads that went to the disk.", s->cache_misses);
    metric_u64(b, "sluice_log_read_bytes_total", "counter", "Bytes read by consumers and deliveries.", s->read_bytes);
    metric_u64(b, "sluice_log_disk_read_bytes_total", "counter", "Bytes read from the disk.", s->disk_read_bytes);
    metric_u64(b, "sluice_log_throttled_total", "counter", "Appends refused for want of memory.", s->throttled);
    metric_u64(b, "sluice_log_reserve_refused_total", "counter",
               "Appends refused because the disk is down to its reserve.", s->reserve_refused);
    metric_u64(b, "sluice_log_quarantined_shards", "gauge", "Shards with damage.", s->quarantined_shards);
    metric_u64(b, "sluice_log_forced_loss_records_total", "counter",
               "Records that retention by size took before they were delivered.", s->forced_loss_records);
    metric_u64(b, "sluice_log_expired_segments_total", "counter", "Segments removed by retention.",
               s->expired_segments);
    metric_u64(b, "sluice_disk_free_bytes", "gauge", "Free space of the data directory's file system.",
               s->disk_free_bytes);
    metric_histogram(b, "sluice_log_commit_seconds", "From the start of a round until it is durable.", &g->commit_us,
                     1e-6);
    metric_histogram(b, "sluice_log_commit_size_bytes", "Bytes of a commit.", &g->commit_sizes, 1);
}

static void http_write(struct bytebuf *b, const struct http_server_stats *s)
{
    metric_u64(b, "sluice_http_connections", "gauge", "Open connections.", s->connections);
    metric_u64(b, "sluice_http_accepted_total", "counter", "Connections accepted.", s->accepted);
    metric_u64(b, "sluice_http_refused_total", "counter", "Connections refused at the limit.", s->refused);
    metric_u64(b, "sluice_http_requests_total", "counter", "Requests.", s->requests);
    metric_u64(b, "sluice_http_bad_requests_total", "counter", "Requests that HTTP or a limit refused.",
               s->bad_requests);
    metric_u64(b, "sluice_http_received_bytes_total", "counter", "Bytes received.", s->bytes_in);
    metric_u64(b, "sluice_http_sent_bytes_total", "counter", "Bytes sent.", s->bytes_out);
    metric_u64(b, "sluice_http_memory_bytes", "gauge", "Memory of requests in flight.", s->memory_bytes);
}

/* ---- gathering ---------------------------------------------------------------------------------------------------- */

static void log_add(struct gathering *g, const struct log_stats *s)
{
    uint64_t *to = &g->log.append_records;
    const uint64_t *from = &s->append_records;
    /* The counters of struct log_stats are one run of u64, from append_records to expired_segments. */
    _Static_assert(offsetof(struct log_stats, append_records) == 0 &&
                       offsetof(struct log_stats, disk_free_bytes) ==
                           offsetof(struct log_stats, expired_segments) + sizeof(uint64_t),
                   "a new counter of the log stands between them");
    size_t n =
        (offsetof(struct log_stats, expired_segments) - offsetof(struct log_stats, append_records)) / sizeof *to + 1;
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
    g->log.disk_free_bytes = s->disk_free_bytes;
    g->log.sync = s->sync;
    if (s->commit_us)
        histogram_add(&g->commit_us, s->commit_us);
    if (s->commit_bytes_sizes)
        histogram_add(&g->commit_sizes, s->commit_bytes_sizes);
}

static void http_add(struct http_server_stats *to, const struct http_server_stats *s)
{
    to->accepted += s->accepted;
    to->refused += s->refused;
    to->requests += s->requests;
    to->bad_requests += s->bad_requests;
    to->bytes_in += s->bytes_in;
    to->bytes_out += s->bytes_out;
    to->connections += s->connections;
    to->memory_bytes += s->memory_bytes;
}

static void gather_visit(struct loop_tour *t, uint32_t index)
{
    struct gathering *g = CONTAINER_OF(t, struct gathering, tour);
    struct metrics *m = g->m;
    api_stats_add(&g->api, api_stats(api_loop_at(m->api, index)));
    log_add(g, log_stats(api_loop_log(api_loop_at(m->api, index))));
    if (m->servers[index])
        http_add(&g->http, http_server_stats(m->servers[index]));
    if (m->deliveries && delivery_host_firehose(m->deliveries, index))
        firehose_sample(delivery_host_firehose(m->deliveries, index), &g->samples);
    g->backend = loop_backend_name(m->loops[index]);
    g->fallback_errno = loop_fallback_errno(m->loops[index]);
}

static void gather_done(struct loop_tour *t)
{
    struct gathering *g = CONTAINER_OF(t, struct gathering, tour);
    struct bytebuf b;
    bytebuf_init(&b, METRICS_BYTES_MAX);
    bytebuf_printf(&b,
                   "# HELP sluice_info This daemon.\n# TYPE sluice_info "
                   "gauge\nsluice_info{version=\"%s\",io=\"%s\",loops=\"%u\"} 1\n",
                   SLUICE_VERSION, g->backend, g->m->loop_count);
    metric_u64(&b, "sluice_io_fallback", "gauge", "1 if io_uring is blocked here and libuv serves in its place.",
               g->fallback_errno != 0);
    api_stats_write(g->m->api, &g->api, &b);
    log_write(&b, g);
    http_write(&b, &g->http);
    firehose_metrics_write((const struct firehose_sample *)g->samples.ptr,
                           (uint32_t)(g->samples.len / sizeof(struct firehose_sample)), &b);
    static const struct http_header type = {{(const uint8_t *)"Content-Type", 12},
                                            {(const uint8_t *)"text/plain; version=0.0.4; charset=utf-8", 40}};
    struct http_exchange *x = g->x;
    bool failed = bytebuf_failed(&b) || bytebuf_failed(&g->samples);
    bytebuf_deinit(&g->samples);
    free(g);
    if (failed) {
        bytebuf_deinit(&b);
        respond_text(x, 503, "text/plain", SLICE_LIT("no memory\n"));
        return;
    }
    http_respond_buf(x, 200, &type, 1, &b);
}

static void gather(struct metrics *m, struct api_loop *l, struct http_exchange *x)
{
    struct gathering *g = calloc(1, sizeof *g);
    if (!g) {
        respond_text(x, 503, "text/plain", SLICE_LIT("no memory\n"));
        return;
    }
    g->m = m;
    g->x = x;
    bytebuf_init(&g->samples, METRICS_BYTES_MAX);
    g->tour = (struct loop_tour){.loops = m->loops,
                                 .loop_count = m->loop_count,
                                 .home = api_loop_index(l),
                                 .visit = gather_visit,
                                 .done = gather_done};
    loop_tour_start(&g->tour);
}

/* ---- one delivery ------------------------------------------------------------------------------------------------- */

static void delivery_visit(struct loop_tour *t, uint32_t index)
{
    struct gathering *g = CONTAINER_OF(t, struct gathering, tour);
    struct firehose *f = index == g->loop_index ? delivery_host_firehose(g->m->deliveries, index) : NULL;
    struct delivery *d = f ? firehose_find(f, g->name) : NULL;
    if (d)
        delivery_status_print(d, &g->out);
}

static void delivery_done(struct loop_tour *t)
{
    struct gathering *g = CONTAINER_OF(t, struct gathering, tour);
    static const struct http_header type = {{(const uint8_t *)"Content-Type", 12},
                                            {(const uint8_t *)"application/json", 16}};
    struct http_exchange *x = g->x;
    struct bytebuf out = g->out;
    free(g);
    if (out.len && !bytebuf_failed(&out)) {
        http_respond_buf(x, 200, &type, 1, &out);
        return;
    }
    bytebuf_deinit(&out);
    respond_text(x, 503, "text/plain", SLICE_LIT("no memory\n"));
}

static bool delivery_request(struct metrics *m, struct api_loop *l, struct http_exchange *x, struct slice name)
{
    struct hosted_delivery *d = m->deliveries ? delivery_host_find(m->deliveries, name) : NULL;
    struct gathering *g = d ? calloc(1, sizeof *g) : NULL;
    if (!d)
        return false;
    if (!g) {
        respond_text(x, 503, "text/plain", SLICE_LIT("no memory\n"));
        return true;
    }
    g->m = m;
    g->x = x;
    g->name = name;
    g->loop_index = d->loop_index;
    bytebuf_init(&g->out, METRICS_BYTES_MAX);
    g->tour = (struct loop_tour){.loops = m->loops,
                                 .loop_count = m->loop_count,
                                 .home = api_loop_index(l),
                                 .visit = delivery_visit,
                                 .done = delivery_done};
    loop_tour_start(&g->tour);
    return true;
}

bool metrics_request(struct metrics *m, struct api_loop *l, struct http_exchange *x)
{
    static const struct slice deliveries = {(const uint8_t *)"/deliveries/", 12};
    if (!slice_eq_str(x->method, "GET") && !slice_eq_str(x->method, "HEAD"))
        return false;
    if (slice_eq_str(x->path, "/healthz")) {
        bool serving = m->api && !m->draining;
        respond_text(x, serving ? 200 : 503, "text/plain", serving ? SLICE_LIT("ok\n") : SLICE_LIT("draining\n"));
        return true;
    }
    if (slice_eq_str(x->path, "/metrics")) {
        gather(m, l, x);
        return true;
    }
    if (slice_starts(x->path, deliveries))
        return delivery_request(m, l, x, slice_from(x->path, deliveries.len));
    return false;
}
