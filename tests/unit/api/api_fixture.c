/* A broker/api on the simulator; see api_fixture.h. */
#include "tests/unit/api/api_fixture.h"

#include "common/wire/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ARENA_BYTES (64u << 20)

struct pending_request {
    struct http_exchange x;
    struct arena arena;
    struct http_header header[12];
    char *text;
    struct reply reply;
    struct api_loop *loop;
    struct io_msg msg;
};

static struct pending_request *last;

/* ---- the HTTP server's side ---- */

struct slice http_exchange_header(const struct http_exchange *x, const char *name)
{
    return http_header_find(x->headers, x->header_count, name);
}

const struct http_server_stats *http_server_stats(const struct http_server *server)
{
    (void)server;
    fail_msg("requests of the fixture have no server");
    return NULL;
}

static void copy_header(char *to, size_t cap, const struct http_header *h, const char *name)
{
    if (slice_eq_nocase(h->name, slice_str(name)))
        snprintf(to, cap, "%.*s", SLICE_FMT(h->value));
}

void http_respond(struct http_exchange *x, int status, const struct http_header *headers, uint32_t count,
                  struct slice body)
{
    struct pending_request *p = CONTAINER_OF(x, struct pending_request, x);
    assert_false(p->reply.answered);
    p->reply.answered = true;
    p->reply.status = status;
    p->reply.body = sim_heap_keep(body.len + 1);
    if (body.len)
        memcpy(p->reply.body, body.ptr, body.len);
    p->reply.len = body.len;
    for (uint32_t i = 0; i < count; i++) {
        copy_header(p->reply.retry_after, sizeof(p->reply.retry_after), &headers[i], "Retry-After");
        copy_header(p->reply.allow, sizeof(p->reply.allow), &headers[i], "Allow");
        copy_header(p->reply.content_type, sizeof(p->reply.content_type), &headers[i], "Content-Type");
    }
}

void http_respond_buf(struct http_exchange *x, int status, const struct http_header *headers, uint32_t count,
                      struct bytebuf *body)
{
    http_respond(x, status, headers, count, bytebuf_view(body));
    bytebuf_deinit(body);
}

/* ---- requests ---- */

static bool is_answered(void *arg)
{
    return ((struct pending_request *)arg)->reply.answered;
}

static void pending_free(struct pending_request *p)
{
    if (!p)
        return;
    arena_deinit(&p->arena);
    sim_heap_keep_free(p->reply.body);
    sim_heap_keep_free(p->text);
    sim_heap_keep_free(p);
}

/* The request reaches its loop in an iteration of that loop, as bytes from a socket do. */
static void arrived(struct io_msg *m)
{
    struct pending_request *p = CONTAINER_OF(m, struct pending_request, msg);
    p->x.received = loop_now(api_loop_io(p->loop));
    api_request(p->loop, &p->x);
}

/* Everything a request borrows lies in one copy of its own, so that a use after its life shows under ASan. */
static struct pending_request *begin(struct fixture *f, uint32_t loop, const char *method, const char *target,
                                     const char *const *headers, struct slice body)
{
    struct pending_request *p = sim_heap_keep(sizeof(*p));
    p->text = sim_heap_keep(body.len + 1);
    if (body.len)
        memcpy(p->text, body.ptr, body.len);
    arena_init(&p->arena, 65536, ARENA_BYTES);
    struct slice all = slice_str(target);
    size_t mark = slice_find(all, '?');
    p->x = (struct http_exchange){.method = slice_str(method),
                                  .target = all,
                                  .path = slice_first(all, mark),
                                  .query = slice_from(all, mark + 1),
                                  .headers = p->header,
                                  .body = slice_of(p->text, body.len),
                                  .peer = "127.0.0.1",
                                  .arena = &p->arena};
    for (uint32_t i = 0; headers && headers[i]; i++) {
        struct slice h = slice_str(headers[i]);
        size_t colon = slice_find(h, ':');
        p->header[p->x.header_count++] =
            (struct http_header){slice_first(h, colon), slice_trim(slice_from(h, colon + 1))};
    }
    p->loop = api_loop_at(f->api, loop);
    p->msg.deliver = arrived;
    loop_post(f->loop[loop], &p->msg);
    return p;
}

static struct reply end(struct fixture *f, struct pending_request *p)
{
    fixture_run(f, is_answered, p);
    assert_true(p->reply.answered);
    pending_free(last);
    last = p;
    return p->reply;
}

static uint32_t next_loop(struct fixture *f)
{
    return f->next_loop++ % FIXTURE_LOOPS;
}

struct reply http(struct fixture *f, const char *method, const char *target, const char *const *headers,
                  struct slice body)
{
    return end(f, begin(f, next_loop(f), method, target, headers, body));
}

struct pending_request *aws_begin(struct fixture *f, uint32_t loop, const char *operation, const char *json)
{
    static char targets[16][96]; /* more requests than this are never under way at once */
    static unsigned turn;
    char *mine = targets[turn++ % 16];
    snprintf(mine, sizeof(targets[0]), "X-Amz-Target: Kinesis_20131202.%s", operation);
    const char *const headers[] = {mine, "Content-Type: application/x-amz-json-1.1", NULL};
    return begin(f, loop, "POST", "/", headers, slice_str(json));
}

struct reply aws_end(struct fixture *f, struct pending_request *p)
{
    return end(f, p);
}

struct reply aws(struct fixture *f, const char *operation, const char *json)
{
    return aws_end(f, aws_begin(f, next_loop(f), operation, json));
}

/* ---- life ---- */

static bool is_set(void *arg)
{
    return *(bool *)arg;
}

static struct fixture *starting;
static bool start_done, stop_done;

static void started(struct api_start *s)
{
    starting->api = s->api;
    starting->start_status = s->status;
    starting->start_err = s->err;
    start_done = true;
}

static void stopped(struct api_stop *s)
{
    assert_int_equal(s->status, 0);
    stop_done = true;
}

void fixture_run(struct fixture *f, bool (*until)(void *arg), void *arg)
{
    sim_run(f->world, until, arg, 60000);
}

void fixture_init(struct fixture *f)
{
    *f = (struct fixture){0};
    fake_log_reset();
    fake_log.refuse_uid = 0;
    const struct sim_options options = {.seed = 7};
    f->world = sim_create(&options);
    for (uint32_t i = 0; i < FIXTURE_LOOPS; i++)
        f->loop[i] = sim_loop_create(f->world);
    assert_int_equal(catalog_open_memory(&f->catalog), 0);
    f->options = (struct api_options){.loops = f->loop,
                                      .loop_count = FIXTURE_LOOPS,
                                      .catalog = f->catalog,
                                      .log = &f->log_options,
                                      .config = &f->config};
}

void fixture_start(struct fixture *f)
{
    static struct api_start s;
    starting = f;
    start_done = false;
    s = (struct api_start){.done = started};
    sim_enter(f->world);
    api_start(&f->options, &s);
    sim_leave(f->world);
    fixture_run(f, is_set, &start_done);
    assert_true(start_done);
}

void fixture_stop(struct fixture *f)
{
    static struct api_stop s;
    if (!f->api)
        return;
    stop_done = false;
    s = (struct api_stop){.done = stopped};
    sim_enter(f->world);
    api_stop(f->api, &s);
    sim_leave(f->world);
    fixture_run(f, is_set, &stop_done);
    assert_true(stop_done);
    assert_int_equal(fake_log.lent, 0);
    f->api = NULL;
}

void fixture_deinit(struct fixture *f)
{
    fixture_stop(f);
    pending_free(last);
    last = NULL;
    catalog_close(f->catalog);
    sim_destroy(f->world);
}

/* ---- reading answers ---- */

void *fixture_alloc(size_t len)
{
    void *p = calloc(1, len);
    if (!p)
        abort();
    return p;
}

const char *field(const struct reply *r, const char *name)
{
    static char values[8][2048];
    static unsigned turn;
    char *out = values[turn++ % 8], key[64];
    out[0] = 0;
    snprintf(key, sizeof(key), "\"%s\":\"", name);
    const char *at = strstr(r->body, key);
    if (!at)
        return out;
    at += strlen(key);
    size_t n = strcspn(at, "\"");
    if (n >= sizeof(values[0]))
        n = sizeof(values[0]) - 1;
    memcpy(out, at, n);
    out[n] = 0;
    return out;
}

void assert_error(const struct reply *r, int status, const char *type, const char *message)
{
    char expected[4096];
    if (message)
        snprintf(expected, sizeof(expected), "{\"__type\":\"%s\",\"message\":\"%s\"}", type, message);
    else
        snprintf(expected, sizeof(expected), "{\"__type\":\"%s\"}", type);
    assert_string_equal(r->body, expected);
    assert_int_equal(r->status, status);
}

void create_stream(struct fixture *f, const char *name, unsigned shards)
{
    char json[256];
    snprintf(json, sizeof(json), "{\"StreamName\":\"%s\",\"ShardCount\":%u}", name, shards);
    struct reply r = aws(f, "CreateStream", json);
    assert_string_equal(r.body, "");
    assert_int_equal(r.status, 200);
    snprintf(json, sizeof(json), "{\"StreamName\":\"%s\"}", name);
    for (int i = 0; i < 100; i++) {
        r = aws(f, "DescribeStreamSummary", json);
        if (strstr(r.body, "\"ACTIVE\""))
            return;
        sim_run(f->world, NULL, NULL, 10);
    }
    fail_msg("stream %s did not become ACTIVE", name);
}

const char *iterator_of(struct fixture *f, const char *stream, unsigned shard, const char *type, const char *more)
{
    char json[512];
    snprintf(json, sizeof(json), "{\"StreamName\":\"%s\",\"ShardId\":\"shardId-%012u\",\"ShardIteratorType\":\"%s\"%s}",
             stream, shard, type, more);
    struct reply r = aws(f, "GetShardIterator", json);
    if (r.status != 200)
        fail_msg("%s", r.body);
    return field(&r, "ShardIterator");
}

struct reply get_records(struct fixture *f, const char *iterator, const char *more)
{
    char json[1024];
    snprintf(json, sizeof(json), "{\"ShardIterator\":\"%s\"%s}", iterator, more);
    return aws(f, "GetRecords", json);
}
