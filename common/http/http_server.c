/*
 * The life of the HTTP server: listening, accepting, deadlines, memory, stopping. See http_server_internal.h for the
 * states and invariants.
 *
 * Happy path: http_server_start ─▶ accepted ─▶ http_conn_data (http_server_receive.c) ─▶ handler ─▶ http_respond ─▶
 * turn ─▶ http_conn_flush (http_server_answer.c) ─▶ idle again. http_server_stop ─▶ connections end ─▶ turn finds
 * nothing left ─▶ freed, stopped().
 * Failure modes: without memory a new connection is refused, a request answered 503 or its connection dropped.
 * Thread: the loop's.
 */
#include "common/http/http_server_internal.h"

#include <stdlib.h>

#include "common/base/check.h"

#define ARENA_CHUNK_BYTES   16384
#define OUT_HEAD_BYTES_MAX  65536
#define SPARE_BYTES_MAX     (32u << 20) /* kept for reuse, all requests together */
#define SPARE_BUF_BYTES_MAX (1u << 20)  /* of one request's buffer */
#define CONN_SLAB           32

/* ---- requests: memory -------------------------------------------------------------------------------------------- */

static uint64_t spare_size(const struct http_request *r)
{
    return sizeof *r + r->cap + ARENA_CHUNK_BYTES + r->out_head.cap;
}

static void request_release(struct http_request *r)
{
    arena_deinit(&r->arena);
    bytebuf_deinit(&r->out_head);
    free(r->buf);
    free(r);
}

static struct http_request *request_make(struct http_server *s)
{
    struct list *n = list_pop_front(&s->spare);
    if (n) {
        struct http_request *r = CONTAINER_OF(n, struct http_request, link);
        s->spare_bytes -= spare_size(r);
        return r;
    }
    struct http_request *r = calloc(1, sizeof *r + s->limits.headers_max * sizeof r->fields[0]);
    if (!r)
        return NULL;
    arena_init(&r->arena, ARENA_CHUNK_BYTES, 4 * s->limits.body_bytes_max + (1u << 20));
    bytebuf_init(&r->out_head, OUT_HEAD_BYTES_MAX);
    return r;
}

struct http_request *http_request_new(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct http_request *r = request_make(s);
    if (!r)
        return NULL;
    r->x = (struct http_exchange){.arena = &r->arena, .server = s, .private = r, .peer = r->peer};
    memcpy(r->peer, c->peer, sizeof r->peer);
    r->conn = c;
    r->stage = HTTP_HEAD;
    r->close_after = r->is_head = r->granted = r->continue_due = false;
    r->len = 0;
    r->charged = 0;
    r->out_body = SLICE_NULL;
    r->out_owned = (struct bytebuf){0};
    http1_request_init(&r->parser, &s->limits, r->fields);
    list_push_back(&c->queue, &r->link);
    c->queued++;
    s->live_requests++;
    http_request_charge(s, r);
    return r;
}

void http_request_free(struct http_server *s, struct http_request *r)
{
    CHECK(r->send_op.state == 0);
    list_remove(&r->link);
    if (r->conn)
        r->conn->queued--;
    if (r->granted)
        s->granted--;
    s->live_requests--;
    s->stats.memory_bytes -= r->charged;
    bytebuf_deinit(&r->out_owned);
    bytebuf_reset(&r->out_head);
    if (r->cap > SPARE_BUF_BYTES_MAX) {
        free(r->buf);
        r->buf = NULL;
        r->cap = 0;
    }
    if (r->arena.used_bytes > SPARE_BUF_BYTES_MAX)
        arena_deinit(&r->arena); /* its first chunk may be as large */
    else
        arena_reset(&r->arena);
    if (s->spare_bytes + spare_size(r) > SPARE_BYTES_MAX) {
        request_release(r);
    } else {
        s->spare_bytes += spare_size(r);
        list_push_front(&s->spare, &r->link);
    }
    if (!list_empty(&s->hungry) || s->stopping)
        http_server_wake(s);
}

void http_request_charge(struct http_server *s, struct http_request *r)
{
    uint64_t now = sizeof *r + r->cap + r->arena.used_bytes + r->out_owned.cap;
    s->stats.memory_bytes += now - r->charged;
    r->charged = now;
}

static bool is_starved(const struct http_conn *c)
{
    return list_linked(&c->hungry) && c->receiving && c->receiving->granted;
}

/* Over the budget nothing goes on, except when no other request could: every one that holds memory waits for more.
 * Then waiting would be for ever, and one at a time is let through. */
bool http_memory_allows(const struct http_server *s, const struct http_request *r, uint64_t bytes)
{
    if (s->stats.memory_bytes + bytes <= s->options.memory_bytes_max)
        return true;
    bool counted = r && r->granted && !(r->conn && is_starved(r->conn));
    return s->granted - s->starved - counted == 0;
}

void http_conn_starve(struct http_conn *c, uint64_t bytes)
{
    http_conn_unstarve(c);
    c->hungry_bytes = bytes;
    list_push_back(&c->server->hungry, &c->hungry);
    c->server->starved += is_starved(c);
    http_server_wake(c->server); /* it may have been the last that was not waiting */
}

void http_conn_unstarve(struct http_conn *c)
{
    c->server->starved -= is_starved(c);
    list_remove(&c->hungry);
}

/* ---- deadlines --------------------------------------------------------------------------------------------------- */

static void timer_want(struct http_server *s, struct mono_ns when)
{
    if (!timer_armed(&s->timer) || when.ns < s->timer.when.ns)
        timer_arm(s->loop, &s->timer, when);
}

void http_conn_deadline(struct http_conn *c, struct list *list, uint32_t ms)
{
    list_remove(&c->timed);
    c->deadline = mono_add_ms(loop_now(c->server->loop), ms);
    list_push_back(list, &c->timed);
    timer_want(c->server, c->deadline);
}

void http_conn_answer_deadline(struct http_conn *c)
{
    list_remove(&c->timed_answer);
    c->answer_deadline = mono_add_ms(loop_now(c->server->loop), c->server->options.answer_ms);
    list_push_back(&c->server->answering, &c->timed_answer);
    timer_want(c->server, c->answer_deadline);
}

static struct http_conn *first_due(struct list *list, struct mono_ns now)
{
    if (list_empty(list))
        return NULL;
    struct http_conn *c = CONTAINER_OF(list->next, struct http_conn, timed);
    return c->deadline.ns <= now.ns ? c : NULL;
}

static struct http_conn *first_answer_due(struct list *list, struct mono_ns now)
{
    if (list_empty(list))
        return NULL;
    struct http_conn *c = CONTAINER_OF(list->next, struct http_conn, timed_answer);
    return c->answer_deadline.ns <= now.ns ? c : NULL;
}

static void timer_again(struct http_server *s)
{
    struct list *const lists[] = {&s->idle, &s->receiving, &s->lingering};
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        if (!list_empty(lists[i]))
            timer_want(s, CONTAINER_OF(lists[i]->next, struct http_conn, timed)->deadline);
    if (!list_empty(&s->answering))
        timer_want(s, CONTAINER_OF(s->answering.next, struct http_conn, timed_answer)->answer_deadline);
}

static void timer_fired(struct io_timer *t)
{
    struct http_server *s = CONTAINER_OF(t, struct http_server, timer);
    struct mono_ns now = loop_now(s->loop);
    struct http_conn *c;
    while ((c = first_due(&s->idle, now)))
        http_conn_drop(c);
    while ((c = first_due(&s->lingering, now)))
        http_conn_drop(c);
    while ((c = first_answer_due(&s->answering, now)))
        http_conn_drop(c);
    while ((c = first_due(&s->receiving, now))) {
        if (list_linked(&c->hungry))
            http_conn_refuse(c, 503, "the server is out of memory for requests");
        else
            http_conn_refuse(c, 408, "the request took too long to arrive");
    }
    timer_again(s);
}

/* ---- connections -------------------------------------------------------------------------------------------------- */

void http_conn_rest(struct http_conn *c)
{
    if (c->server->stopping || c->ended)
        http_conn_drop(c);
    else
        http_conn_deadline(c, &c->server->idle, c->server->options.idle_ms);
}

/* Takes the connection out of every list but server->conns. */
static void conn_unlist(struct http_conn *c)
{
    list_remove(&c->timed);
    list_remove(&c->timed_answer);
    list_remove(&c->dirty);
    http_conn_unstarve(c);
}

void http_conn_drop(struct http_conn *c)
{
    if (c->phase == HTTP_GONE)
        return;
    c->phase = HTTP_GONE;
    conn_unlist(c);
    net_close(&c->net);
}

static void conn_ended(struct net_conn *net, int status)
{
    struct http_conn *c = CONTAINER_OF(net, struct http_conn, net);
    c->ended = true;
    if (status < 0 || c->phase == HTTP_LINGERING) {
        http_conn_drop(c);
        return;
    }
    /* a half-closed client still gets the answers to what it has sent in full */
    if (c->blocked)
        return;                                       /* http_conn_unblock comes back here */
    if (c->receiving && c->receiving == c->sending) { /* its "100 Continue" is on its way, nothing is before it */
        http_conn_drop(c);
        return;
    }
    if (c->receiving) {
        list_remove(&c->timed);
        http_request_free(c->server, c->receiving);
        c->receiving = NULL;
    }
    if (list_empty(&c->queue))
        http_conn_drop(c);
    else if (c->phase == HTTP_READING)
        list_remove(&c->timed);
}

/* Handlers that have not answered yet keep their requests; all others end here. */
static void conn_closed(struct net_conn *net)
{
    struct http_conn *c = CONTAINER_OF(net, struct http_conn, net);
    struct http_server *s = c->server;
    c->phase = HTTP_GONE;
    conn_unlist(c);
    LIST_FOREACH_SAFE (n, &c->queue) {
        struct http_request *r = CONTAINER_OF(n, struct http_request, link);
        if (r->stage != HTTP_HANDLING) {
            http_request_free(s, r);
            continue;
        }
        list_remove(&r->link);
        r->conn = NULL;
        list_push_back(&s->orphans, &r->link);
    }
    free(c->stash);
    list_remove(&c->link);
    pool_put(&s->conn_pool, c);
    s->stats.connections--;
    if (s->stopping)
        http_server_wake(s);
}

static const struct net_conn_ops conn_ops = {.data = http_conn_data, .ended = conn_ended, .closed = conn_closed};

static void accepted(struct net_listener *l, int socket, const struct net_address *peer)
{
    struct http_server *s = CONTAINER_OF(l, struct http_server, listener);
    struct http_conn *c = s->stopping ? NULL : pool_get(&s->conn_pool);
    if (!c) {
        s->stats.refused++;
        net_refuse(s->loop, socket);
        return;
    }
    c->server = s;
    c->net.ops = &conn_ops;
    list_init(&c->queue);
    memcpy(c->peer, peer->text, sizeof c->peer);
    list_push_back(&s->conns, &c->link);
    s->stats.accepted++;
    s->stats.connections++;
    http_conn_deadline(c, &s->idle, s->options.idle_ms);
    net_adopt(s->loop, &c->net, socket);
}

/* ---- the end of the iteration ------------------------------------------------------------------------------------- */

static void server_free(struct http_server *s)
{
    void (*stopped)(void *ctx) = s->stopped;
    void *ctx = s->stopped_ctx;
    struct list *n;
    timer_disarm(s->loop, &s->timer);
    timer_disarm(s->loop, &s->grace);
    loop_defer_cancel(&s->turn);
    while ((n = list_pop_front(&s->spare)))
        request_release(CONTAINER_OF(n, struct http_request, link));
    pool_deinit(&s->conn_pool);
    free(s);
    if (stopped)
        stopped(ctx);
}

static void turn(struct io_defer *d)
{
    struct http_server *s = CONTAINER_OF(d, struct http_server, turn);
    struct list *n;
    while ((n = list_pop_front(&s->dirty)))
        http_conn_flush(CONTAINER_OF(n, struct http_conn, dirty));
    LIST_FOREACH_SAFE (o, &s->orphans) {
        struct http_request *r = CONTAINER_OF(o, struct http_request, link);
        if (r->stage == HTTP_ANSWERED)
            http_request_free(s, r);
    }
    /* each connection at most once a turn: one that still does not fit queues at the end */
    for (uint64_t left = s->stats.connections; left > 0 && !list_empty(&s->hungry); left--) {
        struct http_conn *c = CONTAINER_OF(s->hungry.next, struct http_conn, hungry);
        if (!http_memory_allows(s, c->receiving, c->hungry_bytes))
            break;
        http_conn_unstarve(c);
        http_conn_unblock(c);
    }
    if (s->stopping && !s->listening && list_empty(&s->conns) && s->live_requests == 0)
        server_free(s);
}

void http_server_wake(struct http_server *s)
{
    loop_defer(s->loop, &s->turn);
}

/* ---- start and stop ----------------------------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

static void options_fill(struct http_server *s, const struct http_server_options *given)
{
    struct http_server_options *o = &s->options;
    *o = *given;
    o->connections_max = or_default(o->connections_max, 16384);
    o->head_bytes_max = or_default(o->head_bytes_max, 64u << 10);
    o->headers_max = or_default(o->headers_max, 100);
    o->target_bytes_max = or_default(o->target_bytes_max, 8192);
    o->pipeline_max = or_default(o->pipeline_max, 16);
    o->idle_ms = or_default(o->idle_ms, 120000);
    o->request_ms = or_default(o->request_ms, 60000);
    o->answer_ms = or_default(o->answer_ms, 120000);
    o->body_bytes_max = o->body_bytes_max ? o->body_bytes_max : 16u << 20;
    o->memory_bytes_max = o->memory_bytes_max ? o->memory_bytes_max : 256u << 20;
    s->limits = (struct http1_limits){.head_bytes_max = o->head_bytes_max,
                                      .headers_max = o->headers_max,
                                      .target_bytes_max = o->target_bytes_max,
                                      .body_bytes_max = o->body_bytes_max};
}

int http_server_start(struct loop *loop, const struct http_server_options *options, struct http_server **out,
                      uint16_t *out_port, struct err *e)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return err_set_status(e, -ENOMEM, "start the HTTP server");
    s->loop = loop;
    options_fill(s, options);
    pool_init(&s->conn_pool, sizeof(struct http_conn), CONN_SLAB, s->options.connections_max);
    struct list *const lists[] = {&s->conns,  &s->idle,  &s->receiving, &s->answering, &s->lingering,
                                  &s->hungry, &s->dirty, &s->orphans,   &s->spare};
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        list_init(lists[i]);
    s->timer.fired = timer_fired;
    s->turn.run = turn;
    s->date_second = -1;
    s->listener.accepted = accepted;
    int port = net_listen(loop, &s->listener, &options->listen, e);
    if (port < 0) {
        free(s);
        return port;
    }
    s->listening = true;
    *out = s;
    *out_port = (uint16_t)port;
    return 0;
}

static void listener_closed(struct net_listener *l)
{
    struct http_server *s = CONTAINER_OF(l, struct http_server, listener);
    s->listening = false;
    http_server_wake(s);
}

static void grace_over(struct io_timer *t)
{
    struct http_server *s = CONTAINER_OF(t, struct http_server, grace);
    LIST_FOREACH_SAFE (n, &s->conns)
        http_conn_drop(CONTAINER_OF(n, struct http_conn, link));
}

void http_server_stop(struct http_server *s, uint32_t grace_ms, void (*stopped)(void *ctx), void *ctx)
{
    CHECK(!s->stopping);
    s->stopping = true;
    s->stopped = stopped;
    s->stopped_ctx = ctx;
    s->grace.fired = grace_over;
    timer_arm(s->loop, &s->grace, mono_add_ms(loop_now(s->loop), grace_ms));
    net_listener_close(&s->listener, listener_closed);
    LIST_FOREACH_SAFE (n, &s->conns) {
        struct http_conn *c = CONTAINER_OF(n, struct http_conn, link);
        if (list_empty(&c->queue) && c->phase == HTTP_READING)
            http_conn_drop(c);
    }
    http_server_wake(s);
}

const struct http_server_stats *http_server_stats(const struct http_server *server)
{
    return &server->stats;
}
