/*
 * From answers to bytes. An answer is laid into its request (head text in out_head, body a view or an owned buffer);
 * http_conn_flush sends all answers at the front of the queue that are ready, with one net_send. The send op and the
 * vector belong to the first request of that batch, which lives until the send is done.
 *
 * After the last answer of a connection (Connection: close, an error, HTTP/1.0): FIN, then LINGERING, because closing
 * a socket with unread input sends a reset, which may overtake the answer.
 */
#include <stdio.h>

#include "common/base/check.h"
#include "common/http/http_server_internal.h"

#define LINGER_MS 2000

static void date_refresh(struct http_server *s)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct wall_ms now = loop_wall(s->loop);
    if (now.ms / 1000 == s->date_second)
        return;
    char text[96];
    struct wall_parts p = wall_split(now);
    snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[p.weekday], p.day, months[p.month - 1],
             p.year, p.hour, p.minute, p.second);
    snprintf(s->date, sizeof s->date, "%.31s", text);
    s->date_second = now.ms / 1000;
}

static void head_write(struct http_request *r, int status, const struct http_header *headers, uint32_t count)
{
    struct bytebuf *b = &r->out_head;
    struct http_server *s = r->x.server;
    date_refresh(s);
    bytebuf_printf(b, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http1_reason(status), s->date);
    for (uint32_t i = 0; i < count; i++) {
        bytebuf_slice(b, headers[i].name);
        bytebuf_append(b, ": ", 2);
        bytebuf_slice(b, headers[i].value);
        bytebuf_append(b, "\r\n", 2);
    }
    if (status != 204 && status != 304)
        bytebuf_printf(b, "Content-Length: %zu\r\n", r->out_body.len);
    if (r->close_after || s->stopping)
        bytebuf_str(b, "Connection: close\r\n");
    bytebuf_append(b, "\r\n", 2);
    r->close_after |= s->stopping;
    if (r->is_head || status == 204 || status == 304)
        r->out_body = SLICE_NULL;
}

/* The answer is complete: it goes out with the turn. */
static void answered(struct http_request *r)
{
    struct http_conn *c = r->conn;
    r->stage = HTTP_ANSWERED;
    http_request_charge(r->x.server, r);
    if (c && c->phase != HTTP_GONE) {
        if (r->close_after && c->phase == HTTP_READING && !c->receiving)
            c->phase = HTTP_DRAINING;
        list_remove(&c->dirty);
        list_push_back(&c->server->dirty, &c->dirty);
    }
    http_server_wake(r->x.server);
}

void http_respond(struct http_exchange *x, int status, const struct http_header *headers, uint32_t header_count,
                  struct slice body)
{
    struct http_request *r = x->private;
    CHECK(r->stage == HTTP_HANDLING && status >= 200);
    r->out_body = body;
    head_write(r, status, headers, header_count);
    answered(r);
}

void http_respond_buf(struct http_exchange *x, int status, const struct http_header *headers, uint32_t header_count,
                      struct bytebuf *body)
{
    struct http_request *r = x->private;
    r->out_owned = *body;
    *body = (struct bytebuf){.limit = body->limit};
    http_respond(x, status, headers, header_count, bytebuf_view(&r->out_owned));
}

void http_exchange_close_after(struct http_exchange *x)
{
    struct http_request *r = x->private;
    r->close_after = true;
}

struct slice http_exchange_header(const struct http_exchange *x, const char *name)
{
    return http_header_find(x->headers, x->header_count, name);
}

/* HTTP/2 with prior knowledge gets an answer that it understands: SETTINGS, then GOAWAY with HTTP_1_1_REQUIRED. */
static const uint8_t h2_refusal[] = {
    0,   0,   0,   4,   0,   0,   0,   0,   0,                                          /* SETTINGS, empty */
    0,   0,   40,  7,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   13, /* GOAWAY, last stream 0, error 13 */
    'H', 'T', 'T', 'P', '/', '2', ' ', 'i', 's', ' ', 'n', 'o', 't', ' ', 's', 'u', 'p', 'p',
    'o', 'r', 't', 'e', 'd', ',', ' ', 'u', 's', 'e', ' ', '1', '.', '1',
};
_Static_assert(sizeof h2_refusal == 9 + 9 + 40, "the length in the GOAWAY frame");

void http_answer_error(struct http_request *r, int status, const char *text)
{
    static const struct http_header type[] = {
        {SLICE_LIT("Content-Type"), SLICE_LIT("application/json")},
        {SLICE_LIT("Retry-After"), SLICE_LIT("1")},
    };
    if (r->parser.error == HTTP1_H2_PREFACE) {
        bytebuf_append(&r->out_head, h2_refusal, sizeof h2_refusal);
    } else {
        r->out_body = arena_printf(&r->arena, "{\"message\":\"%s\"}", text);
        head_write(r, status, type, status == 503 ? 2 : 1);
    }
    answered(r);
}

/* ---- sending ------------------------------------------------------------------------------------------------------- */

static void send_done(struct io_op *op);

static void send_start(struct http_conn *c, struct http_request *first, uint32_t iov_count, uint32_t batch)
{
    c->sending = first;
    c->batch = batch;
    first->send_op.done = send_done;
    http_conn_answer_deadline(c);
    net_send(&c->net, &first->send_op, first->iov, iov_count);
}

static uint32_t iov_add(struct iovec *iov, uint32_t n, struct slice s)
{
    if (s.len)
        iov[n++] = (struct iovec){.iov_base = (void *)(uintptr_t)s.ptr, .iov_len = s.len};
    return n;
}

/* "100 Continue" goes out when it is the turn of the request that waits for it. */
static void continue_send(struct http_conn *c, struct http_request *r)
{
    r->continue_due = false;
    send_start(c, r, iov_add(r->iov, 0, SLICE_LIT("HTTP/1.1 100 Continue\r\n\r\n")), 0);
}

void http_conn_flush(struct http_conn *c)
{
    uint32_t n = 0, batch = 0;
    if (c->phase >= HTTP_LINGERING || c->sending || list_empty(&c->queue))
        return;
    struct http_request *first = CONTAINER_OF(c->queue.next, struct http_request, link);
    if (first->stage == HTTP_BODY && first->continue_due) {
        continue_send(c, first);
        return;
    }
    LIST_FOREACH (it, &c->queue) {
        struct http_request *r = CONTAINER_OF(it, struct http_request, link);
        if (r->stage != HTTP_ANSWERED || n + 2 > HTTP_IOV_MAX)
            break;
        if (bytebuf_failed(&r->out_head)) { /* no memory for the head: there is nothing honest to send */
            http_conn_drop(c);
            return;
        }
        n = iov_add(first->iov, n, bytebuf_view(&r->out_head));
        n = iov_add(first->iov, n, r->out_body);
        batch++;
        if (r->close_after)
            break;
    }
    if (batch)
        send_start(c, first, n, batch);
}

static void conn_linger(struct http_conn *c)
{
    if (c->ended) {
        http_conn_drop(c);
        return;
    }
    c->phase = HTTP_LINGERING;
    http_conn_unstarve(c);
    net_shutdown(&c->net);
    net_resume(&c->net);
    http_conn_deadline(c, &c->server->lingering, LINGER_MS);
}

/* Frees what has been sent; true: it was the connection's last answer. */
static bool batch_free(struct http_conn *c)
{
    bool last = false;
    for (; c->batch > 0; c->batch--) {
        struct http_request *r = CONTAINER_OF(c->queue.next, struct http_request, link);
        last |= r->close_after;
        http_request_free(c->server, r);
    }
    return last;
}

static void send_done(struct io_op *op)
{
    struct http_request *first = CONTAINER_OF(op, struct http_request, send_op);
    struct http_conn *c = first->conn;
    c->sending = NULL;
    list_remove(&c->timed_answer);
    if (c->phase == HTTP_GONE) /* the requests are freed when it is closed */
        return;
    if (op->result < 0) {
        http_conn_drop(c);
        return;
    }
    c->server->stats.bytes_out += (uint64_t)op->result;
    if (batch_free(c)) {
        conn_linger(c);
        return;
    }
    http_conn_unblock(c);
    if (c->phase == HTTP_GONE)
        return;
    if (list_empty(&c->queue) && c->phase == HTTP_READING)
        http_conn_rest(c);
    else
        http_conn_flush(c);
}
