/*
 * One connection of the client: connecting, one request and its answer at a time.
 *
 * Happy path: http_client_conn_open ─▶ connect_done ─▶ request_send ─▶ send_done; meanwhile or afterwards conn_data
 * gathers head and body in `in` ─▶ answered ─▶ call_end ─▶ IDLE, or CLOSING if the answer said so.
 * Failure: http_client_conn_fail notes the error and closes; the call ends once no op is in flight (its body may be
 * what is being sent). An answer that is complete before the request was sent in full (413, say) is handed on, and the
 * connection closed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/http/http_client_internal.h"

#define IN_BYTES_KEPT (1u << 20) /* a larger answer's buffer is not kept */

/* ---- the end of a call ---------------------------------------------------------------------------------------------- */

static void call_results(struct http_client_conn *c, struct http_call *call)
{
    struct http1_parser *p = &c->parser;
    if (c->error && !c->answered)
        return;
    http1_headers(p, c->in.ptr, c->headers);
    call->status = p->status;
    call->answer_headers = c->headers;
    call->answer_header_count = p->field_count;
    call->answer_body = slice_of(c->in.ptr + p->head_bytes, c->in.len - p->head_bytes);
}

static void conn_idle(struct http_client_conn *c)
{
    struct http_client *k = c->client;
    c->state = CLIENT_IDLE;
    c->deadline = mono_add_ms(loop_now(k->loop), k->options.idle_ms);
    list_push_front(&k->idle, &c->idle);
    http_client_want_timer(k, c->deadline);
    http_client_wake(k);
}

/* Ends the call once it is decided and nothing of its memory is in flight. */
static void call_end(struct http_client_conn *c)
{
    struct http_call *call = c->call;
    struct http_client *k = c->client;
    if (!call || c->op_busy || (!c->answered && !c->error))
        return;
    call_results(c, call);
    call->error = c->answered ? 0 : c->error;
    call->active = false;
    k->stats.errors += call->error != 0;
    call->done(call); /* call->conn stays for http_call_take_body; the call may be gone or started again now */
    c->call = NULL;
    c->used = true;
    if (c->in.cap > IN_BYTES_KEPT)
        bytebuf_deinit(&c->in);
    if (c->state == CLIENT_BUSY)
        conn_idle(c);
}

static void conn_free(struct http_client_conn *c)
{
    struct http_client *k = c->client;
    list_remove(&c->link);
    list_remove(&c->idle);
    bytebuf_deinit(&c->in);
    bytebuf_deinit(&c->out);
    free(c);
    k->stats.connections--;
    http_client_wake(k);
}

static void conn_close(struct http_client_conn *c)
{
    if (c->state == CLIENT_CLOSING)
        return;
    c->state = CLIENT_CLOSING;
    list_remove(&c->idle);
    net_close(&c->net); /* while connecting: cancels, and connect_done comes */
}

void http_client_conn_fail(struct http_client_conn *c, int error)
{
    if (!c->error)
        c->error = error;
    conn_close(c);
    call_end(c);
}

/* ---- the answer ------------------------------------------------------------------------------------------------------ */

static void answer_complete(struct http_client_conn *c, bool more_came)
{
    c->answered = true;
    if (c->op_busy || more_came || !c->parser.keep_alive || c->parser.body == HTTP1_BODY_UNTIL_CLOSE)
        conn_close(c);
    call_end(c);
}

/* Appends to the answer; false: failed. */
static bool in_add(struct http_client_conn *c, struct slice data)
{
    bytebuf_slice(&c->in, data);
    if (!bytebuf_failed(&c->in))
        return true;
    http_client_conn_fail(c, -ENOMEM);
    return false;
}

static void parser_begin(struct http_client_conn *c)
{
    bool no_body = strcmp(c->call->method, "HEAD") == 0;
    bytebuf_reset(&c->in);
    http1_response_init(&c->parser, &c->client->limits, c->fields, no_body);
}

/* True: the head is complete and `data` is what is behind it. */
static bool take_head(struct http_client_conn *c, struct slice *data)
{
    size_t before = c->in.len;
    if (!in_add(c, *data))
        return false;
    switch (http1_parse(&c->parser, c->in.ptr, c->in.len)) {
    case HTTP1_MORE:
        return false;
    case HTTP1_FAILED:
        http_client_conn_fail(c, c->parser.error == HTTP1_BODY_TOO_LARGE ? ST_LIMIT : ST_SYNTAX);
        return false;
    case HTTP1_DONE:
        break;
    }
    *data = slice_from(*data, c->parser.head_bytes - before);
    c->in.len = c->parser.head_bytes;
    if (c->parser.status < 200) {
        parser_begin(c); /* 100 Continue: the answer proper follows */
        return data->len > 0 && take_head(c, data);
    }
    if (c->parser.body == HTTP1_BODY_CHUNKED)
        http1_chunks_init(&c->chunks, c->client->limits.body_bytes_max);
    if (c->parser.body == HTTP1_BODY_LENGTH && !bytebuf_reserve(&c->in, (size_t)c->parser.content_length)) {
        http_client_conn_fail(c, -ENOMEM);
        return false;
    }
    return true;
}

static void take_chunked(struct http_client_conn *c, struct slice data)
{
    enum http1_progress progress = HTTP1_MORE;
    while (data.len && progress == HTTP1_MORE) {
        size_t used;
        struct slice part;
        progress = http1_chunks_next(&c->chunks, data, &used, &part);
        if (!in_add(c, part))
            return;
        data = slice_from(data, used);
    }
    if (progress == HTTP1_FAILED)
        http_client_conn_fail(c, c->chunks.error == HTTP1_BODY_TOO_LARGE ? ST_LIMIT : ST_SYNTAX);
    else if (progress == HTTP1_DONE)
        answer_complete(c, data.len > 0);
}

static void take_length(struct http_client_conn *c, struct slice data)
{
    size_t end = c->parser.head_bytes + (size_t)c->parser.content_length;
    struct slice part = slice_first(data, end - c->in.len);
    if (in_add(c, part) && c->in.len == end)
        answer_complete(c, data.len > part.len);
}

static void take_body(struct http_client_conn *c, struct slice data)
{
    switch (c->parser.body) {
    case HTTP1_BODY_NONE:
        answer_complete(c, data.len > 0);
        break;
    case HTTP1_BODY_LENGTH:
        take_length(c, data);
        break;
    case HTTP1_BODY_CHUNKED:
        take_chunked(c, data);
        break;
    case HTTP1_BODY_UNTIL_CLOSE:
        if (c->in.len - c->parser.head_bytes + data.len > c->client->limits.body_bytes_max)
            http_client_conn_fail(c, ST_LIMIT);
        else
            (void)in_add(c, data);
        break;
    }
}

static void conn_data(struct net_conn *net, struct slice data)
{
    struct http_client_conn *c = CONTAINER_OF(net, struct http_client_conn, net);
    if (c->state == CLIENT_CLOSING)
        return;
    if (c->state != CLIENT_BUSY || c->answered) { /* nobody asked */
        http_client_conn_fail(c, ST_SYNTAX);
        return;
    }
    if (c->parser.head_bytes == 0 && !take_head(c, &data))
        return;
    take_body(c, data);
}

static void conn_ended(struct net_conn *net, int status)
{
    struct http_client_conn *c = CONTAINER_OF(net, struct http_client_conn, net);
    if (c->state == CLIENT_CLOSING)
        return;
    if (status == 0 && c->call && c->parser.head_bytes && c->parser.body == HTTP1_BODY_UNTIL_CLOSE)
        answer_complete(c, false);
    else
        http_client_conn_fail(c, status < 0 ? status : -ECONNRESET);
}

static void conn_closed(struct net_conn *net)
{
    struct http_client_conn *c = CONTAINER_OF(net, struct http_client_conn, net);
    if (!c->error)
        c->error = -ECANCELED; /* the loop is being destroyed */
    c->state = CLIENT_CLOSING;
    call_end(c);
    conn_free(c);
}

/* ---- the request ------------------------------------------------------------------------------------------------------ */

static void send_done(struct io_op *op)
{
    struct http_client_conn *c = CONTAINER_OF(op, struct http_client_conn, op);
    c->op_busy = false;
    /* a server that answers early closes its side: its answer, if any, is still to be read */
    if (op->result < 0 && op->result != -EPIPE && op->result != -ECONNRESET)
        http_client_conn_fail(c, (int)op->result);
    else
        call_end(c);
}

static void request_send(struct http_client_conn *c)
{
    struct http_call *call = c->call;
    c->state = CLIENT_BUSY;
    c->answered = false;
    int rc = http_client_head(c, call);
    if (rc < 0) {
        http_client_conn_fail(c, rc);
        return;
    }
    parser_begin(c);
    call->sent = true;
    call->reused = c->used;
    c->iov[0] = (struct iovec){.iov_base = c->out.ptr, .iov_len = c->out.len};
    c->iov[1] = (struct iovec){.iov_base = (void *)(uintptr_t)call->body.ptr, .iov_len = call->body.len};
    c->op.done = send_done;
    c->op_busy = true;
    net_send(&c->net, &c->op, c->iov, call->body.len ? 2 : 1);
}

void http_client_conn_start(struct http_client_conn *c, struct http_call *call)
{
    c->call = call;
    call->conn = c;
    request_send(c);
}

/* ---- connecting -------------------------------------------------------------------------------------------------------- */

static void connect_start(struct http_client_conn *c);

static void connect_done(struct io_op *op)
{
    struct http_client_conn *c = CONTAINER_OF(op, struct http_client_conn, op);
    struct http_client *k = c->client;
    c->op_busy = false;
    if (op->result == 0) {
        c->connected = true;
        if (c->state == CLIENT_CONNECTING) {
            request_send(c);
        } else { /* given up while it connected */
            net_close(&c->net);
            call_end(c);
        }
        return;
    }
    if (c->state == CLIENT_CONNECTING && ++c->tried < k->address_count && k->resolved == RESOLVE_DONE) {
        c->address = (c->address + 1) % k->address_count;
        connect_start(c);
        return;
    }
    if (k->is_name && k->resolved == RESOLVE_DONE)
        k->resolved = RESOLVE_NONE; /* all addresses failed: look the name up again next time */
    if (!c->error)
        c->error = (int)op->result;
    c->state = CLIENT_CLOSING;
    call_end(c);
    conn_free(c); /* a conn that never was connected has no `closed` */
}

static void connect_start(struct http_client_conn *c)
{
    c->op.done = connect_done;
    c->op_busy = true;
    net_connect(c->client->loop, &c->net, &c->client->addresses[c->address], &c->op);
}

int http_client_conn_open(struct http_client *k, struct http_call *call)
{
    static const struct net_conn_ops ops = {.data = conn_data, .ended = conn_ended, .closed = conn_closed};
    struct http_client_conn *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->client = k;
    c->call = call;
    c->net.ops = &ops;
    call->conn = c;
    bytebuf_init(&c->out, 1u << 20);
    bytebuf_init(&c->in, k->limits.body_bytes_max + k->limits.head_bytes_max + (1u << 20));
    c->deadline = mono_add_ms(loop_now(k->loop), k->options.connect_ms);
    list_push_back(&k->conns, &c->link);
    k->stats.connections++;
    k->stats.connects++;
    http_client_want_timer(k, c->deadline);
    connect_start(c);
    return 0;
}
