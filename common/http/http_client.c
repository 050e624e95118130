/*
 * The client's calls, its pool of connections, deadlines, the end. See http_client_internal.h for states and invariants.
 *
 * `pump`, deferred to the end of the iteration, does everything that calls ask for: it ends cancelled calls, gives
 * waiting ones to connections, and frees the client when it is being destroyed and nothing is left.
 * One timer serves all deadlines: it fires at the earliest; then all calls and connections are looked at (there are
 * few).
 */
#include "common/http/http_client_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"

void http_client_wake(struct http_client *k)
{
    loop_defer(k->loop, &k->pump);
}

void http_client_want_timer(struct http_client *k, struct mono_ns when)
{
    if (!timer_armed(&k->timer) || when.ns < k->timer.when.ns)
        timer_arm(k->loop, &k->timer, when);
}

void http_client_finish(struct http_client *k, struct http_call *call, int error)
{
    call->error = error;
    call->active = false;
    call->conn = NULL;
    if (error)
        k->stats.errors++;
    call->done(call);
}

/* ---- calls --------------------------------------------------------------------------------------------------------- */

void http_client_call(struct http_client *k, struct http_call *call)
{
    CHECK(!call->active && !k->destroying);
    call->client = k;
    call->conn = NULL;
    call->active = true;
    call->cancelled = call->sent = call->reused = false;
    call->error = call->status = 0;
    call->answer_headers = NULL;
    call->answer_header_count = 0;
    call->answer_body = SLICE_NULL;
    call->deadline = mono_add_ms(loop_now(k->loop), call->timeout_ms ? call->timeout_ms : k->options.request_ms);
    list_push_back(&k->waiting, &call->link);
    k->stats.calls++;
    k->stats.waiting++;
    http_client_want_timer(k, call->deadline);
    http_client_wake(k);
}

void http_call_cancel(struct http_call *call)
{
    if (!call->active)
        return;
    call->cancelled = true;
    http_client_wake(call->client);
}

struct slice http_call_header(const struct http_call *call, const char *name)
{
    return http_header_find(call->answer_headers, call->answer_header_count, name);
}

void http_call_take_body(struct http_call *call, struct bytebuf *out, size_t *out_at)
{
    struct http_client_conn *c = call->conn;
    CHECK(c && call->status);
    *out_at = call->answer_body.ptr ? (size_t)(call->answer_body.ptr - c->in.ptr) : c->in.len;
    *out = c->in;
    c->in = (struct bytebuf){.limit = out->limit};
}

static void waiting_finish(struct http_client *k, struct http_call *call, int error)
{
    list_remove(&call->link);
    k->stats.waiting--;
    http_client_finish(k, call, error);
}

/* ---- the pump ------------------------------------------------------------------------------------------------------ */

/* Because `done` may start and cancel anything, each pass begins at the front again. */
static struct http_call *waiting_cancelled(struct http_client *k)
{
    LIST_FOREACH (n, &k->waiting) {
        struct http_call *call = CONTAINER_OF(n, struct http_call, link);
        if (call->cancelled || k->destroying)
            return call;
    }
    return NULL;
}

static struct http_client_conn *conn_to_end(struct http_client *k)
{
    LIST_FOREACH (n, &k->conns) {
        struct http_client_conn *c = CONTAINER_OF(n, struct http_client_conn, link);
        if (c->state != CLIENT_CLOSING && (k->destroying || (c->call && c->call->cancelled)))
            return c;
    }
    return NULL;
}

static void end_cancelled(struct http_client *k)
{
    struct http_call *call;
    struct http_client_conn *c;
    while ((call = waiting_cancelled(k)))
        waiting_finish(k, call, -ECANCELED);
    while ((c = conn_to_end(k)))
        http_client_conn_fail(c, -ECANCELED);
}

/* False: nothing can be given out now. */
static bool give_one(struct http_client *k)
{
    struct http_call *call = CONTAINER_OF(k->waiting.next, struct http_call, link);
    struct list *idle = list_pop_front(&k->idle);
    if (!idle && k->stats.connections >= k->options.connections_max)
        return false;
    if (!idle && k->resolved != RESOLVE_DONE) {
        if (k->resolved == RESOLVE_NONE)
            http_client_resolve(k);
        return false;
    }
    if (!idle && k->resolve_error) {
        int error = k->resolve_error;
        k->resolved = RESOLVE_NONE; /* the next call asks again */
        while (!list_empty(&k->waiting))
            waiting_finish(k, CONTAINER_OF(k->waiting.next, struct http_call, link), error);
        return false;
    }
    list_remove(&call->link);
    k->stats.waiting--;
    if (idle) {
        http_client_conn_start(CONTAINER_OF(idle, struct http_client_conn, idle), call);
        return true;
    }
    int rc = http_client_conn_open(k, call);
    if (rc < 0)
        http_client_finish(k, call, rc);
    return true;
}

static void client_free(struct http_client *k)
{
    void (*destroyed)(void *ctx) = k->destroyed;
    void *ctx = k->destroyed_ctx;
    timer_disarm(k->loop, &k->timer);
    loop_defer_cancel(&k->pump);
    if (k->signs)
        sigv4_signer_deinit(&k->signer);
    free(k->host);
    free(k->host_header);
    free(k);
    if (destroyed)
        destroyed(ctx);
}

static void pump(struct io_defer *d)
{
    struct http_client *k = CONTAINER_OF(d, struct http_client, pump);
    end_cancelled(k);
    while (!k->destroying && !list_empty(&k->waiting) && give_one(k))
        ;
    if (k->destroying && list_empty(&k->waiting) && list_empty(&k->conns) && k->resolved != RESOLVE_RUNNING)
        client_free(k);
}

/* ---- deadlines ----------------------------------------------------------------------------------------------------- */

static struct http_call *waiting_due(struct http_client *k, struct mono_ns now)
{
    LIST_FOREACH (n, &k->waiting) {
        struct http_call *call = CONTAINER_OF(n, struct http_call, link);
        if (call->deadline.ns <= now.ns)
            return call;
        http_client_want_timer(k, call->deadline);
    }
    return NULL;
}

static struct mono_ns conn_due_at(const struct http_client_conn *c)
{
    if (c->state == CLIENT_IDLE)
        return c->deadline;
    if (c->state == CLIENT_CONNECTING && c->deadline.ns < c->call->deadline.ns)
        return c->deadline;
    return c->call->deadline;
}

static struct http_client_conn *conn_due(struct http_client *k, struct mono_ns now)
{
    LIST_FOREACH (n, &k->conns) {
        struct http_client_conn *c = CONTAINER_OF(n, struct http_client_conn, link);
        if (c->state == CLIENT_CLOSING)
            continue;
        if (conn_due_at(c).ns <= now.ns)
            return c;
        http_client_want_timer(k, conn_due_at(c));
    }
    return NULL;
}

static void timer_fired(struct io_timer *t)
{
    struct http_client *k = CONTAINER_OF(t, struct http_client, timer);
    struct mono_ns now = loop_now(k->loop);
    struct http_call *call;
    struct http_client_conn *c;
    while ((call = waiting_due(k, now)))
        waiting_finish(k, call, -ETIMEDOUT);
    while ((c = conn_due(k, now)))
        http_client_conn_fail(c, -ETIMEDOUT);
}

/* ---- create and destroy --------------------------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

static int strings_make(struct http_client *k, const struct http_client_options *o)
{
    const char *form = strchr(o->host, ':') ? "[%s]:%u" : "%s:%u";
    size_t len = strlen(o->host) + 16;
    k->host = strdup(o->host);
    k->host_header = malloc(len);
    if (!k->host || !k->host_header)
        return -ENOMEM;
    snprintf(k->host_header, len, form, o->host, o->port);
    if (!o->credentials)
        return 0;
    int rc = sigv4_signer_init(&k->signer, o->credentials, slice_str(o->region), slice_str(o->service), o->sign_flags);
    k->signs = rc == 0;
    return rc;
}

int http_client_create(struct loop *loop, const struct http_client_options *options, struct http_client **out,
                       struct err *e)
{
    if (!options->host || !*options->host || !options->port)
        return err_set(e, -EINVAL, "HTTP client: a host and a port are needed");
    struct http_client *k = calloc(1, sizeof *k);
    int rc = k ? strings_make(k, options) : -ENOMEM;
    if (rc < 0) {
        if (k) {
            free(k->host);
            free(k->host_header);
        }
        free(k);
        return err_set_status(e, rc, "HTTP client for %s", options->host);
    }
    k->loop = loop;
    k->options = *options;
    k->options.host = k->host;
    k->options.credentials = NULL;
    k->options.connections_max = or_default(options->connections_max, 4);
    k->options.connect_ms = or_default(options->connect_ms, 5000);
    k->options.request_ms = or_default(options->request_ms, 60000);
    k->options.idle_ms = or_default(options->idle_ms, 60000);
    k->options.response_bytes_max = options->response_bytes_max ? options->response_bytes_max : 64u << 20;
    k->limits = (struct http1_limits){.head_bytes_max = 64u << 10,
                                      .headers_max = HTTP_CLIENT_HEADERS_MAX,
                                      .body_bytes_max = k->options.response_bytes_max};
    list_init(&k->conns);
    list_init(&k->idle);
    list_init(&k->waiting);
    k->pump.run = pump;
    k->timer.fired = timer_fired;
    http_client_host(k);
    *out = k;
    return 0;
}

void http_client_destroy(struct http_client *k, void (*destroyed)(void *ctx), void *ctx)
{
    CHECK(!k->destroying);
    k->destroying = true;
    k->destroyed = destroyed;
    k->destroyed_ctx = ctx;
    http_client_wake(k);
}

const struct http_client_stats *http_client_stats(const struct http_client *k)
{
    return &k->stats;
}
