/* The head of a request: request line, Host, Content-Length, the caller's headers, the signature's. */
#include "common/http/http_client_internal.h"

static void header_add(struct bytebuf *b, struct slice name, struct slice value)
{
    bytebuf_slice(b, name);
    bytebuf_append(b, ": ", 2);
    bytebuf_slice(b, value);
    bytebuf_append(b, "\r\n", 2);
}

/* Signs what will be sent: Host and the caller's headers. */
static int sign(struct http_client *k, const struct http_call *call, struct sigv4_added *out)
{
    struct http_header all[HTTP_CLIENT_HEADERS_MAX];
    struct slice target = slice_str(call->target);
    size_t question = slice_find(target, '?');
    struct sigv4_request r = {.method = slice_str(call->method),
                              .path = slice_first(target, question),
                              .query = slice_from(target, question + 1),
                              .headers = all,
                              .header_count = call->header_count + 1,
                              .body = call->body};
    if (call->header_count >= HTTP_CLIENT_HEADERS_MAX)
        return ST_LIMIT;
    all[0] = (struct http_header){SLICE_LIT("Host"), slice_str(k->host_header)};
    if (call->header_count)
        memcpy(all + 1, call->headers, call->header_count * sizeof all[0]);
    return sigv4_sign(&k->signer, &r, loop_wall(k->loop), out);
}

int http_client_head(struct http_client_conn *c, const struct http_call *call)
{
    struct http_client *k = c->client;
    struct sigv4_added added = {.count = 0};
    struct bytebuf *b = &c->out;
    int rc = k->signs ? sign(k, call, &added) : 0;
    if (rc < 0)
        return rc;
    bytebuf_reset(b);
    bytebuf_printf(b, "%s %s HTTP/1.1\r\nHost: %s\r\n", call->method, call->target, k->host_header);
    for (uint32_t i = 0; i < call->header_count; i++)
        header_add(b, call->headers[i].name, call->headers[i].value);
    for (uint32_t i = 0; i < added.count; i++)
        header_add(b, added.headers[i].name, added.headers[i].value);
    if (call->body.len || strcmp(call->method, "POST") == 0 || strcmp(call->method, "PUT") == 0)
        bytebuf_printf(b, "Content-Length: %zu\r\n", call->body.len);
    bytebuf_append(b, "\r\n", 2);
    return bytebuf_failed(b) ? -ENOMEM : 0;
}
