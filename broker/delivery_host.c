/* See delivery_host.h. */
#include "broker/delivery_host.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/diag.h"
#include "firehose/prefix_expression.h"

#define DIRECT_STREAM_PREFIX "sluice.direct."
#define DIRECT_RETENTION_MS  1 /* it is trimmed by what is delivered: the source's hold keeps the rest */

/* A hidden stream that no delivery takes from: a source, never read, holds its records back from retention. */
struct held_stream {
    struct delivery_host *host;
    uint64_t uid;
    char name[CATALOG_NAME_MAX + 1];
    struct delivery_source *source;
    struct delivery_source_open opening;
};

/* The way down of one loop. */
struct host_down {
    struct delivery_host *host;
    uint32_t index;
    struct io_msg msg;
};

struct delivery_host {
    struct delivery_host_options o;
    struct firehose **firehoses; /* a loop each */
    struct hosted_delivery *delivery;
    uint32_t count;
    struct held_stream *held;
    uint32_t held_count;
    struct delivery_host_start *start;
    struct io_msg hop_msg;
    uint32_t at;            /* the loop that the hop is on */
    uint32_t starting;      /* index of the delivery, then of the held stream, that is being started */
    struct host_down *down; /* a loop each */
    uint32_t down_left;
    uint32_t grace_ms;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

static struct loop *loop_home(const struct delivery_host *h)
{
    return h->o.loops[0];
}

/* ---- settings ----------------------------------------------------------------------------------------------------- */

static int settings_make(struct hosted_delivery *d, struct err *e)
{
    const struct config *c = d->host->o.config;
    const struct config_delivery *w = d->wanted;
    struct delivery_settings *s = &d->settings;
    delivery_settings_init(s);
    snprintf(s->name, sizeof s->name, "%s", w->name);
    snprintf(s->source, sizeof s->source, "%s", w->source ? w->source : "");
    s->buffer_bytes = w->buffer.size_bytes;
    s->interval_ms = (uint32_t)w->buffer.interval_ms;
    s->delimiter = w->delimiter == CONFIG_DELIMITER_NEWLINE ? FORMAT_DELIMITER_NEWLINE : FORMAT_DELIMITER_NONE;
    s->compression = w->compression.codec == CONFIG_COMPRESS_ZSTD ? COMPRESSION_ZSTD : COMPRESSION_NONE;
    s->compression_level = w->compression.level;
    s->start = w->start == CONFIG_START_LATEST ? DELIVERY_START_LATEST : DELIVERY_START_OLDEST;
    snprintf(s->extension, sizeof s->extension, "%s", w->extension ? w->extension : "");
    struct prefix_facts facts;
    if (delivery_settings_set_sink(s, slice_str(w->sink), e) < 0 ||
        prefix_check(slice_str(s->prefix), PREFIX_OF_OBJECTS, &facts, e) < 0)
        return config_wrap_delivery(c, w, w->sink_mark, "sink", e);
    for (uint32_t i = 0; i < w->encryption.age.count; i++)
        if (delivery_settings_add_recipient(s, slice_str(w->encryption.age.item[i]), e) < 0)
            return config_wrap_delivery(c, w, w->encryption_mark, "encryption", e);
    if (delivery_settings_check(s, e) < 0)
        return config_wrap_delivery(c, w, w->mark, "name", e);
    return 0;
}

struct row_search {
    const char *name;
    struct catalog_delivery row;
    char *settings_json;
};

static int row_visit(void *ctx, const struct catalog_delivery *d)
{
    struct row_search *s = ctx;
    if (strcmp(d->name, s->name) != 0)
        return 0;
    s->row = *d;
    s->settings_json = strdup(d->settings_json);
    return s->settings_json ? 1 : -ENOMEM;
}

/* Adds the row, or updates it if the settings have changed (a new version). */
static int row_put(struct hosted_delivery *d, uint64_t stream_uid, struct err *e)
{
    struct row_search s = {.name = d->settings.name};
    struct catalog *catalog = d->host->o.catalog;
    struct wall_ms now = loop_wall(loop_home(d->host));
    struct bytebuf json;
    bytebuf_init(&json, DELIVERY_JSON_MAX * 2);
    int rc = catalog_each_delivery(catalog, row_visit, &s);
    if (rc == 1) {
        d->settings.version = s.row.version;
        delivery_settings_print(&d->settings, &json);
        if (!slice_eq_str(bytebuf_view(&json), s.settings_json)) {
            d->settings.version++;
            bytebuf_reset(&json);
            delivery_settings_print(&d->settings, &json);
        }
    } else if (rc == 0) {
        s.row = (struct catalog_delivery){.created = now};
        snprintf(s.row.name, sizeof s.row.name, "%s", d->settings.name);
        d->settings.version = 1;
        delivery_settings_print(&d->settings, &json);
    }
    bytebuf_byte(&json, 0);
    bool same = rc == 1 && s.row.version == d->settings.version && s.row.source_stream_uid == stream_uid;
    if (rc >= 0 && bytebuf_failed(&json))
        rc = -ENOMEM;
    if (rc >= 0) {
        bool known = rc == 1;
        if (known && s.row.source_stream_uid != stream_uid)
            diag(DIAG_WARN, "delivery_source_changed",
                 "delivery=%s what it has not delivered of the stream that it had before stays undelivered",
                 d->settings.name);
        s.row.source_stream_uid = stream_uid;
        s.row.direct_put = !d->wanted->source;
        s.row.from_config = true;
        s.row.version = d->settings.version;
        s.row.settings_json = (const char *)json.ptr;
        if (!same)
            s.row.updated = now;
        rc = same ? 0 : known ? catalog_delivery_update(catalog, &s.row) : catalog_delivery_add(catalog, &s.row);
    }
    d->row = s.row;
    d->row.settings_json = NULL;
    free(s.settings_json);
    bytebuf_deinit(&json);
    return rc < 0 ? err_set_status(e, rc, "catalog: delivery '%s'", d->settings.name) : 0;
}

/* ---- starting one after the other --------------------------------------------------------------------------------- */

static void start_next(struct delivery_host *h);
static void hold_begin(struct delivery_host *h);

static void start_over(struct delivery_host *h, int status, const struct err *why)
{
    struct delivery_host_start *s = h->start;
    s->status = status;
    if (status < 0)
        s->err = *why;
    s->done(s);
}

/* Back on the home loop. */
static void started_home(struct io_msg *m)
{
    struct hosted_delivery *d = CONTAINER_OF(m, struct hosted_delivery, msg);
    if (d->err.code < 0) {
        start_over(d->host, d->err.code, &d->err);
        return;
    }
    d->host->starting++;
    start_next(d->host);
}

static void start_go_home(struct hosted_delivery *d)
{
    d->msg.deliver = started_home;
    loop_post(loop_home(d->host), &d->msg);
}

static void source_opened(struct delivery_source_open *o)
{
    struct hosted_delivery *d = CONTAINER_OF(o, struct hosted_delivery, opening);
    d->source = o->source;
    if (o->status < 0)
        err_set_status(&d->err, o->status, "delivery '%s'", d->settings.name);
    else if (firehose_add(d->host->firehoses[d->loop_index], d->row.uid, &d->settings, delivery_source_of(d->source),
                          &d->delivery, &d->err) < 0)
        err_wrap(&d->err, "delivery '%s'", d->settings.name);
    start_go_home(d);
}

/* On the delivery's own loop. */
static void start_arrived(struct io_msg *m)
{
    struct hosted_delivery *d = CONTAINER_OF(m, struct hosted_delivery, msg);
    struct api_loop *l = api_loop_at(d->host->o.api, d->loop_index);
    d->opening =
        (struct delivery_source_open){.opened = source_opened, .name = d->settings.name, .stream = d->wanted->source};
    int rc = delivery_source_open(l, d->row.source_stream_uid, &d->opening);
    if (rc < 0) {
        err_set_status(&d->err, rc, "delivery '%s'", d->settings.name);
        start_go_home(d);
    }
}

static int intakes_make(struct hosted_delivery *d)
{
    uint32_t n = d->host->o.loop_count;
    d->intakes = calloc(n, sizeof(struct delivery_intake *));
    int rc = d->intakes ? 0 : -ENOMEM;
    for (uint32_t i = 0; rc == 0 && i < n; i++)
        rc = delivery_intake_create(api_loop_at(d->host->o.api, i), d->row.source_stream_uid, d->wanted->capacity_bytes,
                                    &d->intakes[i]);
    return rc;
}

static void start_with_stream(struct hosted_delivery *d, uint64_t stream_uid)
{
    struct delivery_host *h = d->host;
    int rc = row_put(d, stream_uid, &d->err);
    if (rc == 0 && !d->wanted->source)
        rc = err_set_status(&d->err, intakes_make(d), "delivery '%s'", d->settings.name);
    if (rc < 0) {
        start_over(h, rc, &d->err);
        return;
    }
    d->err = (struct err){0};
    d->loop_index = (uint32_t)(d->row.uid % h->o.loop_count);
    d->msg.deliver = start_arrived;
    loop_post(h->o.loops[d->loop_index], &d->msg);
}

static void direct_stream_made(struct api_change *c)
{
    struct hosted_delivery *d = CONTAINER_OF(c, struct hosted_delivery, change);
    if (c->status < 0)
        start_over(d->host, c->status, &c->err);
    else
        start_with_stream(d, c->stream.uid);
}

static void direct_stream_make(struct hosted_delivery *d)
{
    struct api_loop *l = api_loop_at(d->host->o.api, 0);
    d->change =
        (struct api_change){.done = direct_stream_made, .shard_count = d->host->o.loop_count, .wait_active = true};
    struct catalog_stream *s = &d->change.stream;
    *s = (struct catalog_stream){.internal = true,
                                 .mode = STREAM_PROVISIONED,
                                 .retention_ms = DIRECT_RETENTION_MS,
                                 .retention_bytes = UINT64_MAX,
                                 .record_bytes_max = 1 << 20};
    snprintf(s->name, sizeof s->name, DIRECT_STREAM_PREFIX "%.64s", d->settings.name);
    uint64_t uid = api_stream_find(l, slice_str(s->name), NULL);
    if (uid)
        start_with_stream(d, uid);
    else
        api_stream_create(l, &d->change);
}

static void start_next(struct delivery_host *h)
{
    if (h->starting == h->count) {
        hold_begin(h);
        return;
    }
    struct hosted_delivery *d = &h->delivery[h->starting];
    int rc = settings_make(d, &d->err);
    if (rc < 0) {
        start_over(h, rc, &d->err);
        return;
    }
    if (!d->wanted->source) {
        direct_stream_make(d);
        return;
    }
    uint64_t uid = api_stream_find(api_loop_at(h->o.api, 0), slice_str(d->wanted->source), NULL);
    if (uid == 0) {
        err_set(&d->err, ST_NOT_FOUND, "there is no stream '%s'", d->wanted->source);
        config_wrap_delivery(h->o.config, d->wanted, d->wanted->source_mark, "source", &d->err);
        start_over(h, ST_NOT_FOUND, &d->err);
        return;
    }
    start_with_stream(d, uid);
}

/* ---- what the configuration has left behind -------------------------------------------------------------------------- */

static int gone_visit(void *ctx, const struct catalog_delivery *row)
{
    const struct delivery_host *h = ctx;
    for (uint32_t i = 0; i < h->count; i++)
        if (h->delivery[i].row.uid == row->uid)
            return 0;
    diag(DIAG_WARN, "delivery_not_configured", "delivery=%s it is not in the configuration and does not run: %s",
         row->name, row->direct_put ? "its records are kept" : "what it has not delivered is not kept for it");
    return 0;
}

static int held_visit(void *ctx, const struct catalog_stream *row)
{
    struct delivery_host *h = ctx;
    for (uint32_t i = 0; i < h->count; i++)
        if (h->delivery[i].row.source_stream_uid == row->uid)
            return 0;
    if (!row->internal)
        return 0;
    struct held_stream *more = realloc(h->held, (h->held_count + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    h->held = more;
    h->held[h->held_count] = (struct held_stream){.host = h, .uid = row->uid};
    memcpy(h->held[h->held_count++].name, row->name, sizeof row->name);
    return 0;
}

static void hold_next(struct delivery_host *h);

static void held_opened(struct delivery_source_open *o)
{
    struct held_stream *x = CONTAINER_OF(o, struct held_stream, opening);
    struct delivery_host *h = x->host;
    struct err why;
    x->source = o->source;
    if (o->status < 0) {
        start_over(h, err_set_status(&why, o->status, "hold the stream '%s'", x->name), &why);
        return;
    }
    uint64_t records = delivery_source_records(x->source);
    if (records)
        diag(DIAG_WARN, "records_without_delivery", "stream=%s records=%" PRIu64, x->name, records);
    h->starting++;
    hold_next(h);
}

static void hold_next(struct delivery_host *h)
{
    if (h->starting == h->held_count) {
        start_over(h, 0, NULL);
        return;
    }
    struct held_stream *x = &h->held[h->starting];
    struct err why;
    x->opening = (struct delivery_source_open){.opened = held_opened, .name = x->name};
    int rc = delivery_source_open(api_loop_at(h->o.api, 0), x->uid, &x->opening);
    if (rc < 0)
        start_over(h, err_set_status(&why, rc, "hold the stream '%s'", x->name), &why);
}

static void hold_begin(struct delivery_host *h)
{
    struct err why;
    int rc = catalog_each_delivery(h->o.catalog, gone_visit, h);
    if (rc >= 0)
        rc = catalog_each_stream(h->o.catalog, held_visit, h);
    if (rc < 0) {
        start_over(h, err_set_status(&why, rc, "catalog"), &why);
        return;
    }
    h->starting = 0;
    hold_next(h);
}

/* ---- the loops' firehoses, one loop after the other ---------------------------------------------------------------- */

static void hop(struct delivery_host *h, uint32_t index, void (*deliver)(struct io_msg *m))
{
    h->at = index;
    h->hop_msg.deliver = deliver;
    loop_post(h->o.loops[index], &h->hop_msg);
}

static void firehoses_opened(struct io_msg *m)
{
    struct delivery_host *h = CONTAINER_OF(m, struct delivery_host, hop_msg);
    if (h->start->err.code < 0)
        start_over(h, h->start->err.code, &h->start->err);
    else
        start_next(h);
}

static void firehose_open_arrived(struct io_msg *m);

static void firehose_opened(struct firehose *f, int status, void *ctx)
{
    struct delivery_host *h = ctx;
    if (status < 0)
        err_set_status(&h->start->err, status, "%s", h->o.journal_folder);
    if (status == 0 && h->at + 1 < h->o.loop_count)
        hop(h, h->at + 1, firehose_open_arrived);
    else
        hop(h, 0, firehoses_opened);
}

static void firehose_open_arrived(struct io_msg *m)
{
    struct delivery_host *h = CONTAINER_OF(m, struct delivery_host, hop_msg);
    struct firehose_options o = {.loop = h->o.loops[h->at], .journal_folder = h->o.journal_folder};
    memcpy(o.log_uid, h->o.log_uid, sizeof o.log_uid);
    if (firehose_create(&o, &h->firehoses[h->at], &h->start->err) < 0)
        hop(h, 0, firehoses_opened);
    else
        firehose_open(h->firehoses[h->at], firehose_opened, h);
}

static int by_name(const void *a, const void *b)
{
    const struct hosted_delivery *x = a, *y = b;
    return strcmp(x->wanted->name, y->wanted->name);
}

static void host_free(struct delivery_host *h)
{
    for (uint32_t i = 0; i < h->count && h->delivery; i++) {
        for (uint32_t n = 0; h->delivery[i].intakes && n < h->o.loop_count; n++)
            delivery_intake_destroy(h->delivery[i].intakes[n]);
        free(h->delivery[i].intakes);
    }
    free(h->delivery);
    free(h->held);
    free(h->firehoses);
    free(h->down);
    free(h);
}

void delivery_host_start(const struct delivery_host_options *options, struct delivery_host_start *s)
{
    struct delivery_host *h = calloc(1, sizeof *h);
    uint32_t count = options->config->delivery_count, loops = options->loop_count;
    s->host = NULL;
    s->err = (struct err){0};
    if (h) {
        h->o = *options;
        h->start = s;
        h->delivery = calloc(count + 1, sizeof *h->delivery);
        h->firehoses = calloc(loops, sizeof(struct firehose *));
        h->down = calloc(loops, sizeof *h->down);
    }
    if (!h || !h->delivery || !h->firehoses || !h->down) {
        if (h)
            host_free(h);
        s->status = err_set_status(&s->err, -ENOMEM, "deliveries");
        s->done(s);
        return;
    }
    h->count = count;
    for (uint32_t i = 0; i < count; i++)
        h->delivery[i] = (struct hosted_delivery){.host = h, .wanted = &options->config->deliveries[i]};
    qsort(h->delivery, h->count, sizeof *h->delivery, by_name);
    s->host = h;
    hop(h, 0, firehose_open_arrived);
}

/* ---- stopping ------------------------------------------------------------------------------------------------------ */

static void down_home(struct io_msg *m)
{
    struct delivery_host *h = CONTAINER_OF(m, struct host_down, msg)->host;
    if (--h->down_left)
        return;
    void (*stopped)(void *ctx) = h->stopped;
    void *ctx = h->stopped_ctx;
    host_free(h);
    stopped(ctx);
}

/* One of the loop's sources that is still open, taken out; NULL: none. */
static struct delivery_source *source_take(struct delivery_host *h, uint32_t index)
{
    struct delivery_source **at = NULL;
    for (uint32_t i = 0; i < h->count && !at; i++)
        if (h->delivery[i].loop_index == index && h->delivery[i].source)
            at = &h->delivery[i].source;
    for (uint32_t i = 0; i < h->held_count && index == 0 && !at; i++)
        if (h->held[i].source)
            at = &h->held[i].source;
    struct delivery_source *source = at ? *at : NULL;
    if (at)
        *at = NULL;
    return source;
}

static void sources_close(void *ctx)
{
    struct host_down *x = ctx;
    struct delivery_source *source = source_take(x->host, x->index);
    if (source) {
        delivery_source_close(source, sources_close, x);
        return;
    }
    x->msg.deliver = down_home;
    loop_post(loop_home(x->host), &x->msg);
}

static void firehose_stopped(struct firehose *f, void *ctx)
{
    struct host_down *x = ctx;
    x->host->firehoses[x->index] = NULL;
    firehose_destroy(f);
    sources_close(x);
}

static void down_arrived(struct io_msg *m)
{
    struct host_down *x = CONTAINER_OF(m, struct host_down, msg);
    struct firehose *f = x->host->firehoses[x->index];
    if (f)
        firehose_stop(f, x->host->grace_ms, firehose_stopped, x);
    else
        sources_close(x);
}

void delivery_host_stop(struct delivery_host *h, uint32_t grace_ms, void (*stopped)(void *ctx), void *ctx)
{
    uint32_t loops = h->o.loop_count;
    h->grace_ms = grace_ms;
    h->stopped = stopped;
    h->stopped_ctx = ctx;
    h->down_left = loops;
    for (uint32_t i = 0; i < loops; i++) { /* the last one's way home may end all, but not before it is posted */
        h->down[i] = (struct host_down){.host = h, .index = i, .msg = {.deliver = down_arrived}};
        loop_post(h->o.loops[i], &h->down[i].msg);
    }
}

/* ---- asking -------------------------------------------------------------------------------------------------------- */

const struct hosted_delivery *delivery_host_at(const struct delivery_host *h, uint32_t index)
{
    return index < h->count ? &h->delivery[index] : NULL;
}

uint32_t delivery_host_count(const struct delivery_host *h)
{
    return h->count;
}

struct hosted_delivery *delivery_host_find(struct delivery_host *h, struct slice name)
{
    for (uint32_t i = 0; i < h->count; i++)
        if (slice_eq_str(name, h->delivery[i].settings.name))
            return &h->delivery[i];
    return NULL;
}

struct firehose *delivery_host_firehose(struct delivery_host *h, uint32_t loop_index)
{
    return h->firehoses[loop_index];
}

static void view_fill(const struct call *call, const struct hosted_delivery *d, struct firehose_api_delivery *out)
{
    uint32_t index = api_loop_index(call->ctx);
    *out = (struct firehose_api_delivery){.settings = &d->settings,
                                          .created = d->row.created,
                                          .updated = d->row.updated,
                                          .intake = d->intakes ? delivery_intake_of(d->intakes[index]) : NULL,
                                          .active = true};
}

static bool hook_find(const struct call *call, struct slice name, struct firehose_api_delivery *out)
{
    struct delivery_host *h = api_loop_user(call->ctx);
    struct hosted_delivery *d = h ? delivery_host_find(h, name) : NULL;
    if (d)
        view_fill(call, d, out);
    return d != NULL;
}

static bool hook_next(const struct call *call, struct slice after, struct firehose_api_delivery *out)
{
    struct delivery_host *h = api_loop_user(call->ctx);
    for (uint32_t i = 0; h && i < h->count; i++) {
        const char *name = h->delivery[i].settings.name;
        size_t n = strlen(name), common = n < after.len ? n : after.len;
        int order = common ? memcmp(name, after.ptr, common) : 0;
        if (order > 0 || (order == 0 && n > after.len)) {
            view_fill(call, &h->delivery[i], out);
            return true;
        }
    }
    return false;
}

static struct loop *hook_loop(const struct call *call)
{
    return api_loop_io(call->ctx);
}

struct firehose_api_hooks delivery_host_hooks = {.find = hook_find, .next = hook_next, .loop = hook_loop};
