/*
 * From bytes to requests. A head is gathered in steps of HEAD_STEP bytes, so that little of a following pipelined
 * request is copied in vain; once it is complete the buffer grows in one go to what Content-Length says, and the body is
 * copied there as it comes. Bytes of the next request are never taken: they stay in the loop's receive buffer until
 * this call comes to them.
 *
 * Blocking: when the pipeline is full, or memory for the next step is not to be had, the connection is paused and what
 * has already arrived goes into `stash`; http_conn_unblock feeds it again.
 *
 * Failure: http_conn_refuse makes the request being received its connection's last, with an error as its answer.
 */
#include <stdlib.h>

#include "common/base/check.h"
#include "common/http/http_server_internal.h"

#define HEAD_STEP       2048
#define BUF_BYTES_FIRST 4096

/* ---- blocking ------------------------------------------------------------------------------------------------------ */

static void conn_block(struct http_conn *c)
{
    c->blocked = true;
    net_pause(&c->net);
}

/* Waits in the queue for memory. */
static void conn_starve(struct http_conn *c, uint64_t bytes)
{
    conn_block(c);
    http_conn_starve(c, bytes);
}

static void stash_add(struct http_conn *c, struct slice data)
{
    uint8_t *p = realloc(c->stash, c->stash_len + data.len);
    if (!p) {
        http_conn_drop(c);
        return;
    }
    memcpy(p + c->stash_len, data.ptr, data.len);
    c->stash = p;
    c->stash_len += data.len;
}

/* ---- buffers ------------------------------------------------------------------------------------------------------- */

/* Makes room for `need` bytes in all and the padding. False: the connection waits for memory (or was refused). */
static bool buf_grow(struct http_conn *c, struct http_request *r, uint64_t need)
{
    need += HTTP_BODY_PADDING;
    if (need <= r->cap)
        return true;
    if (!http_memory_allows(c->server, r, need - r->cap)) {
        conn_starve(c, need - r->cap);
        return false;
    }
    uint8_t *p = realloc(r->buf, need);
    if (!p) {
        http_conn_refuse(c, 503, "the server is out of memory for requests");
        return false;
    }
    r->buf = p;
    r->cap = need;
    http_request_charge(c->server, r);
    return true;
}

static uint64_t grown(uint64_t cap, uint64_t need, uint64_t most)
{
    uint64_t want = cap * 2 > need ? cap * 2 : need;
    return want < most ? want : need > most ? need : most;
}

/* ---- a complete request --------------------------------------------------------------------------------------------- */

static struct slice field_find(const struct http_request *r, const char *name)
{
    for (uint32_t i = 0; i < r->parser.field_count; i++)
        if (slice_eq_nocase(http1_view(r->buf, r->fields[i].name), slice_str(name)))
            return http1_view(r->buf, r->fields[i].value);
    return SLICE_NULL;
}

/* Fills what the handler sees. False: no memory. */
static bool exchange_fill(struct http_request *r)
{
    struct http1_parser *p = &r->parser;
    struct http_header *headers = arena_alloc(&r->arena, (p->field_count + 1) * sizeof *headers);
    struct http1_target target;
    if (!headers)
        return false;
    http1_headers(p, r->buf, headers);
    r->x.headers = headers;
    r->x.header_count = p->field_count;
    r->x.method = http1_view(r->buf, p->method);
    r->x.target = http1_view(r->buf, p->target);
    CHECK(http1_target_split(r->x.target, &target) == HTTP1_OK);
    r->x.path = target.path;
    r->x.query = target.query;
    r->x.body = slice_of(r->buf + p->head_bytes, r->len - p->head_bytes);
    memset(r->buf + r->len, 0, HTTP_BODY_PADDING);
    return true;
}

static void request_complete(struct http_conn *c, struct http_request *r)
{
    struct http_server *s = c->server;
    if (!exchange_fill(r)) {
        http_conn_refuse(c, 503, "the server is out of memory for requests");
        return;
    }
    c->receiving = NULL;
    list_remove(&c->timed);
    r->stage = HTTP_HANDLING;
    r->is_head = slice_eq_str(r->x.method, "HEAD");
    r->x.received = loop_now(s->loop);
    if (!r->parser.keep_alive) {
        r->close_after = true;
        c->phase = HTTP_DRAINING;
    }
    s->stats.requests++;
    s->options.request(s->options.ctx, &r->x);
    http_request_charge(s, r); /* H3: still there, answered or not */
}

/* ---- the body ------------------------------------------------------------------------------------------------------ */

static void feed_length(struct http_conn *c, struct http_request *r, struct slice *data)
{
    size_t end = r->parser.head_bytes + (size_t)r->parser.content_length;
    struct slice part = slice_first(*data, end - r->len);
    memcpy(r->buf + r->len, part.ptr, part.len);
    r->len += part.len;
    *data = slice_from(*data, part.len);
    if (r->len == end)
        request_complete(c, r);
}

static void feed_chunked(struct http_conn *c, struct http_request *r, struct slice *data)
{
    /* what is decoded is never longer than what came */
    uint64_t need = r->len + data->len, most = r->parser.head_bytes + c->server->limits.body_bytes_max;
    if (need + HTTP_BODY_PADDING > r->cap && !buf_grow(c, r, grown(r->cap, need, most)))
        return;
    enum http1_progress progress = HTTP1_MORE;
    while (data->len && progress == HTTP1_MORE) {
        size_t used;
        struct slice part;
        progress = http1_chunks_next(&r->chunks, *data, &used, &part);
        if (part.len)
            memcpy(r->buf + r->len, part.ptr, part.len);
        r->len += part.len;
        *data = slice_from(*data, used);
    }
    if (progress == HTTP1_FAILED)
        http_conn_refuse(c, http1_error_status(r->chunks.error), http1_error_text(r->chunks.error));
    else if (progress == HTTP1_DONE)
        request_complete(c, r);
}

/* Memory for the body, as far as it is known; then the stage is BODY. */
static void body_reserve(struct http_conn *c, struct http_request *r)
{
    uint64_t length = r->parser.body == HTTP1_BODY_LENGTH ? r->parser.content_length : 0;
    r->stage = HTTP_RESERVING;
    if (!http_memory_allows(c->server, r, length)) {
        conn_starve(c, length);
        return;
    }
    if (!buf_grow(c, r, r->parser.head_bytes + length))
        return;
    r->granted = true;
    c->server->granted++;
    r->stage = HTTP_BODY;
    if (r->parser.expect_continue) {
        r->continue_due = true;
        list_remove(&c->dirty);
        list_push_back(&c->server->dirty, &c->dirty);
        http_server_wake(c->server);
    }
    if (r->parser.body == HTTP1_BODY_NONE)
        request_complete(c, r);
}

/* ---- the head ------------------------------------------------------------------------------------------------------ */

static void head_complete(struct http_conn *c, struct http_request *r)
{
    struct slice host = field_find(r, "host"), origin = field_find(r, "origin");
    const char *why = http_guard_check(&c->server->options, host, origin);
    if (why) {
        http_conn_refuse(c, 403, why);
        return;
    }
    if (r->parser.body == HTTP1_BODY_CHUNKED)
        http1_chunks_init(&r->chunks, c->server->limits.body_bytes_max);
    body_reserve(c, r);
}

static void feed_head(struct http_conn *c, struct http_request *r, struct slice *data)
{
    struct slice step = slice_first(*data, HEAD_STEP);
    uint64_t need = r->len + step.len, most = c->server->limits.head_bytes_max + HEAD_STEP;
    uint64_t room = need < BUF_BYTES_FIRST ? BUF_BYTES_FIRST : grown(r->cap, need, most);
    if (need + HTTP_BODY_PADDING > r->cap && !buf_grow(c, r, room))
        return;
    memcpy(r->buf + r->len, step.ptr, step.len);
    r->len += step.len;
    *data = slice_from(*data, step.len);
    switch (http1_parse(&r->parser, r->buf, r->len)) {
    case HTTP1_MORE:
        break;
    case HTTP1_FAILED:
        http_conn_refuse(c, http1_error_status(r->parser.error), http1_error_text(r->parser.error));
        break;
    case HTTP1_DONE: {
        /* what is behind the head was part of this step: it is read again from where it came */
        size_t excess = r->len - r->parser.head_bytes;
        *data = slice_of(data->ptr - excess, data->len + excess);
        r->len = r->parser.head_bytes;
        head_complete(c, r);
        break;
    }
    }
}

/* ---- the machine ---------------------------------------------------------------------------------------------------- */

/* False: blocked, or no memory for another request. */
static bool begin(struct http_conn *c)
{
    struct http_server *s = c->server;
    if (c->queued >= s->options.pipeline_max) {
        conn_block(c);
        return false;
    }
    if (!http_memory_allows(s, NULL, BUF_BYTES_FIRST)) {
        conn_starve(c, BUF_BYTES_FIRST);
        return false;
    }
    c->receiving = http_request_new(c);
    if (!c->receiving) {
        http_conn_drop(c);
        return false;
    }
    http_conn_deadline(c, &s->receiving, s->options.request_ms);
    return true;
}

static void feed(struct http_conn *c, struct slice *data)
{
    while (c->phase == HTTP_READING && !c->blocked &&
           (data->len || (c->receiving && c->receiving->stage == HTTP_RESERVING))) {
        if (!c->receiving && !begin(c))
            break;
        struct http_request *r = c->receiving;
        if (r->stage == HTTP_HEAD)
            feed_head(c, r, data);
        else if (r->stage == HTTP_RESERVING)
            body_reserve(c, r);
        else if (r->parser.body == HTTP1_BODY_CHUNKED)
            feed_chunked(c, r, data);
        else
            feed_length(c, r, data);
    }
}

void http_conn_data(struct net_conn *net, struct slice data)
{
    struct http_conn *c = CONTAINER_OF(net, struct http_conn, net);
    c->server->stats.bytes_in += data.len;
    if (c->phase != HTTP_READING)
        return;
    if (!c->blocked)
        feed(c, &data);
    if (c->phase == HTTP_READING && data.len)
        stash_add(c, data);
}

void http_conn_unblock(struct http_conn *c)
{
    if (!c->blocked || c->phase != HTTP_READING || list_linked(&c->hungry))
        return;
    uint8_t *stash = c->stash;
    struct slice data = slice_of(stash, c->stash_len);
    c->blocked = false;
    c->stash = NULL;
    c->stash_len = 0;
    feed(c, &data);
    if (c->phase == HTTP_READING && data.len)
        stash_add(c, data);
    free(stash);
    if (c->phase == HTTP_GONE || c->blocked)
        return;
    net_resume(&c->net);
    if (c->ended) /* nothing more will come: a request that is not complete now never will be */
        c->net.ops->ended(&c->net, 0);
}

void http_conn_refuse(struct http_conn *c, int status, const char *text)
{
    struct http_request *r = c->receiving;
    CHECK(r);
    c->server->stats.bad_requests++;
    list_remove(&c->timed);
    http_conn_unstarve(c);
    c->receiving = NULL;
    c->phase = HTTP_DRAINING;
    c->blocked = false;
    net_resume(&c->net); /* what still comes is thrown away */
    r->close_after = true;
    http_answer_error(r, status, text);
}
