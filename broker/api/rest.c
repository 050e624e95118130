/*
 * The REST ingestion; see rest.h.
 *
 *   rest_request ─▶ path known? ─▶ method ─▶ who may ─▶ stream there? ─▶ body to records (rest_body.c) ─▶ sizes ─▶ keys
 *   ─▶ put.h ─▶ put_done ─▶ JSON
 *
 * Failure modes: everything up to put.h refuses the whole request with nothing stored. After it a record fails alone:
 * one record gives 429, 500; several give 200 with a result each, or 429 if none was stored and throttling was why.
 */
#include "broker/api/rest.h"

#include <stdlib.h>

#include "broker/api/put.h"
#include "broker/api/rest_body.h"
#include "common/wire/json_write.h"
#include "common/wire/uri.h"
#include "common/wire/utf8.h"

#define STREAMS_PREFIX   "/streams/"
#define RECORDS_SUFFIX   "/records"
#define KEY_CHARS_MAX    256
#define RANDOM_KEY_CHARS 32
#define RETRY_AFTER_S    "1"

/* What a path means. */
struct rest_route {
    struct slice path; /* empty: /streams/NAME/records */
    struct slice stream;
    enum config_auth auth;
    struct config_texts keys;
    const char *stamp;
    enum config_content content;
    const char *key_header, *key_query;
};

struct rest {
    struct rest_route builtin;
    struct rest_route *route;
    uint32_t count;
};

/* A request under way; in its arena. */
struct rest_call {
    struct api_loop *loop;
    struct http_exchange *x;
    const struct rest_route *route;
    struct slice stream;
    bool lines;
    struct rest_records records;
    struct put_batch batch;
};

int rest_create(const struct api *api, struct rest **out)
{
    const struct config *config = api->options.config;
    struct rest *rest = calloc(1, sizeof(*rest));
    if (!rest)
        return -ENOMEM;
    rest->route = calloc(config->route_count ? config->route_count : 1, sizeof(*rest->route));
    if (!rest->route) {
        free(rest);
        return -ENOMEM;
    }
    enum config_auth by_default = config->credential_count ? CONFIG_AUTH_SIGV4 : CONFIG_AUTH_NONE;
    rest->builtin.auth = by_default;
    for (uint32_t i = 0; i < config->route_count; i++) {
        const struct config_route *c = &config->routes[i];
        rest->route[rest->count++] = (struct rest_route){.path = slice_str(c->path),
                                                         .stream = slice_str(c->stream),
                                                         .auth = c->auth == CONFIG_AUTH_AUTO ? by_default : c->auth,
                                                         .keys = c->keys,
                                                         .stamp = c->stamp,
                                                         .content = c->content,
                                                         .key_header = c->key_header,
                                                         .key_query = c->key_query};
    }
    *out = rest;
    return 0;
}

void rest_destroy(struct rest *rest)
{
    if (!rest)
        return;
    free(rest->route);
    free(rest);
}

/* ---- answers -------------------------------------------------------------------------------------------------------- */

static void respond(struct api_loop *l, struct http_exchange *x, int status, const char *extra_name,
                    const char *extra_value, struct bytebuf *body)
{
    struct http_header headers[2] = {{SLICE_LIT("Content-Type"), SLICE_LIT("application/json")}};
    uint32_t n = 1;
    if (extra_name)
        headers[n++] = (struct http_header){slice_str(extra_name), slice_str(extra_value)};
    enum api_result result = status == 429   ? API_RESULT_THROTTLED
                             : status >= 500 ? API_RESULT_SERVER
                             : status >= 400 ? API_RESULT_CLIENT
                                             : API_RESULT_OK;
    if (status >= 400 && status < (int)ARRAY_COUNT(l->stats.errors_rest))
        l->stats.errors_rest[status]++;
    api_count(l, l->api->rest_operation, result, x->received);
    http_respond_buf(x, status, headers, n, body);
}

struct refusal {
    int status;
    const char *error; /* "not_found" */
    const char *header_name, *header_value;
};

static void refuse(struct api_loop *l, struct http_exchange *x, struct refusal r, const char *fmt, ...) printf_like(4);
static void refuse(struct api_loop *l, struct http_exchange *x, struct refusal r, const char *fmt, ...)
{
    char message[1024];
    struct bytebuf body;
    struct json_writer w;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    bytebuf_init(&body, 16384);
    json_writer_init(&w, &body);
    json_write_object(&w);
    json_write_name(&w, "error");
    json_write_str(&w, r.error);
    json_write_name(&w, "message");
    json_write_string(&w, utf8_valid(slice_str(message)) ? slice_str(message) : SLICE_LIT("(not printable)"));
    json_write_object_end(&w);
    bytebuf_byte(&body, '\n');
    respond(l, x, r.status, r.header_name, r.header_value, &body);
}

#define BAD_REQUEST ((struct refusal){400, "bad_request", NULL, NULL})
#define TOO_LARGE   ((struct refusal){413, "too_large", NULL, NULL})
#define THROTTLED   ((struct refusal){429, "throttled", "Retry-After", RETRY_AFTER_S})

void rest_not_found(struct api_loop *l, struct http_exchange *x)
{
    refuse(l, x, (struct refusal){404, "not_found", NULL, NULL},
           "There is nothing at %.*s. Records are posted to /streams/NAME/records, or to a route of the configuration; "
           "AWS clients use / with X-Amz-Target.",
           (int)(x->path.len < 200 ? x->path.len : 200), (const char *)x->path.ptr);
}

/* ---- who may -------------------------------------------------------------------------------------------------------- */

/* Constant time in what the caller sent: every key is compared in full. */
static bool key_known(const struct config_texts *keys, struct slice given)
{
    bool known = false;
    for (uint32_t i = 0; i < keys->count; i++) {
        struct slice key = slice_str(keys->item[i]);
        uint8_t differs = key.len != given.len;
        for (size_t k = 0; k < given.len; k++)
            differs |= (uint8_t)(given.ptr[k] ^ (key.len ? key.ptr[k % key.len] : 1));
        known |= !differs;
    }
    return known;
}

static bool allowed(struct rest_call *c)
{
    struct dispatch_denial denial = {.error = AWS_ACCESS_DENIED};
    struct slice access_key;
    switch (c->route->auth) {
    case CONFIG_AUTH_NONE:
        return true;
    case CONFIG_AUTH_KEY:
        if (key_known(&c->route->keys, http_exchange_header(c->x, "x-api-key")))
            return true;
        refuse(c->loop, c->x, (struct refusal){403, "forbidden", NULL, NULL},
               "The header x-api-key must hold one of the keys of this route.");
        return false;
    default:
        if (api_verify(c->loop, c->x, &access_key, &denial))
            return true;
        refuse(c->loop, c->x, (struct refusal){403, aws_error_info(denial.error)->name, NULL, NULL},
               "%.*s (curl signs with --aws-sigv4 aws:amz:%s:kinesis --user KEY_ID:SECRET)", SLICE_FMT(denial.message),
               c->loop->api->region);
        return false;
    }
}

/* ---- the records ---------------------------------------------------------------------------------------------------- */

static bool media_is(struct slice type, const char *name)
{
    struct slice media = slice_trim(slice_first(type, slice_find(type, ';')));
    return slice_eq_nocase(media, slice_str(name));
}

/* One record, or one a line; false: refused. */
static bool content_known(struct rest_call *c)
{
    struct slice type = http_exchange_header(c->x, "content-type");
    struct slice encoding = http_exchange_header(c->x, "content-encoding");
    if (encoding.len && !slice_eq_nocase(encoding, SLICE_LIT("identity"))) {
        refuse(c->loop, c->x, (struct refusal){415, "unsupported_media_type", "Accept-Encoding", "identity"},
               "Content-Encoding %.*s is not taken: send the body as it is.", SLICE_FMT(slice_first(encoding, 64)));
        return false;
    }
    if (type.len > 10 && slice_eq_nocase(slice_first(type, 10), SLICE_LIT("multipart/"))) {
        refuse(c->loop, c->x, (struct refusal){415, "unsupported_media_type", NULL, NULL},
               "Content-Type %.*s is not taken: send the record itself as the body (curl --data-binary @FILE), or "
               "records as lines with Content-Type application/x-ndjson.",
               SLICE_FMT(slice_first(type, 64)));
        return false;
    }
    c->lines = c->route->content == CONFIG_CONTENT_LINES ||
               (c->route->content == CONFIG_CONTENT_AUTO &&
                (media_is(type, "application/x-ndjson") || media_is(type, "application/ndjson") ||
                 media_is(type, "application/jsonl") || media_is(type, "application/jsonlines")));
    return true;
}

static bool stamp_records(struct rest_call *c)
{
    struct wall_ms now = loop_wall(c->loop->io);
    for (uint32_t i = 0; i < c->records.count; i++) {
        const char *why = "";
        int status = rest_stamp(c->records.data[i], c->route->stamp, now, c->x->arena, &c->records.data[i], &why);
        if (status == -ENOMEM) {
            refuse(c->loop, c->x, TOO_LARGE, "The request needs more memory than a request may have.");
            return false;
        }
        if (status < 0 && c->lines)
            refuse(c->loop, c->x, BAD_REQUEST,
                   "Record %u is not a JSON object (%s); this route stamps the arrival time into the field \"%s\". "
                   "Nothing was stored.",
                   i + 1, why, c->route->stamp);
        else if (status < 0)
            refuse(c->loop, c->x, BAD_REQUEST,
                   "The body is not a JSON object (%s); this route stamps the arrival time into the field \"%s\".", why,
                   c->route->stamp);
        if (status < 0)
            return false;
    }
    return true;
}

static bool read_records(struct rest_call *c)
{
    int status = 0;
    if (c->lines) {
        status = rest_split_lines(c->x->body, REST_LINES_MAX, c->x->arena, &c->records);
    } else {
        c->records.data = arena_alloc(c->x->arena, sizeof(*c->records.data));
        c->records.count = c->x->body.len ? 1 : 0;
        if (c->records.data)
            c->records.data[0] = c->x->body;
        else
            status = -ENOMEM;
    }
    if (status == ST_LIMIT)
        refuse(c->loop, c->x, TOO_LARGE, "The body has more than %u records: send it in parts.", REST_LINES_MAX);
    else if (status < 0)
        refuse(c->loop, c->x, TOO_LARGE, "The request needs more memory than a request may have.");
    else if (!c->records.count)
        refuse(c->loop, c->x, BAD_REQUEST, "The body is empty: it should hold %s.",
               c->lines ? "a record a line" : "one record");
    else if (!c->route->stamp || stamp_records(c))
        return true;
    return false;
}

/* ---- partition keys ------------------------------------------------------------------------------------------------- */

/* The value of a header, or else of a query parameter (decoded); ptr NULL: neither is there. False: refused. */
static bool parameter(struct rest_call *c, const char *header, const char *query, struct slice *out)
{
    *out = http_exchange_header(c->x, header);
    if (out->ptr)
        return true;
    struct slice raw = uri_param_find(c->x->query, query);
    if (!raw.ptr)
        return true;
    uint8_t *decoded = arena_alloc(c->x->arena, raw.len ? raw.len : 1);
    int len = decoded ? uri_decode_form(raw, decoded) : -ENOMEM;
    if (len < 0) {
        refuse(c->loop, c->x, BAD_REQUEST, "The query parameter %s is not well-formed.", query);
        return false;
    }
    *out = slice_of(decoded, (size_t)len);
    return true;
}

static bool random_keys(struct rest_call *c, struct put_item *items)
{
    static const char hex[] = "0123456789abcdef";
    size_t bytes = (size_t)c->records.count * RANDOM_KEY_CHARS;
    uint8_t *text = arena_alloc(c->x->arena, bytes);
    if (!text)
        return false;
    loop_random(c->loop->io, text + bytes / 2, bytes / 2);
    for (size_t i = 0; i < bytes / 2; i++) {
        uint8_t b = text[bytes / 2 + i]; /* read before text[2i + 1], which lies behind it only at the end */
        text[2 * i] = (uint8_t)hex[b >> 4];
        text[2 * i + 1] = (uint8_t)hex[b & 15];
    }
    for (uint32_t i = 0; i < c->records.count; i++)
        items[i].key = slice_of(text + (size_t)i * RANDOM_KEY_CHARS, RANDOM_KEY_CHARS);
    return true;
}

static bool give_keys(struct rest_call *c, struct put_item *items)
{
    const struct rest_route *r = c->route;
    struct slice key, explicit;
    struct hash_key hash;
    if (!parameter(c, r->key_header ? r->key_header : "x-partition-key", r->key_query ? r->key_query : "partition-key",
                   &key) ||
        !parameter(c, "x-explicit-hash-key", "explicit-hash-key", &explicit))
        return false;
    if (key.ptr && (!key.len || !utf8_valid(key) || utf8_length(key) > KEY_CHARS_MAX)) {
        refuse(c->loop, c->x, BAD_REQUEST, "A partition key is 1 to 256 characters of UTF-8.");
        return false;
    }
    if (explicit.ptr && hash_key_parse(explicit, &hash) < 0) {
        refuse(c->loop, c->x, BAD_REQUEST, "An explicit hash key is a decimal from 0 to 2^128 - 1.");
        return false;
    }
    for (uint32_t i = 0; i < c->records.count; i++) {
        items[i].key = key;
        items[i].explicit_hash = explicit.ptr != NULL;
        if (explicit.ptr)
            items[i].hash = hash;
    }
    if (key.ptr || random_keys(c, items))
        return true;
    refuse(c->loop, c->x, TOO_LARGE, "The request needs more memory than a request may have.");
    return false;
}

/* ---- put and answer ------------------------------------------------------------------------------------------------- */

static void write_result(struct put_batch *b, uint32_t i, struct json_writer *w)
{
    struct slice number;
    int status = put_result(b, i, &number);
    json_write_object(w);
    if (status >= 0) {
        json_write_name(w, "shardId");
        json_write_str(w, b->item[i].shard->id);
        json_write_name(w, "sequenceNumber");
        json_write_string(w, number);
    } else {
        json_write_name(w, "error");
        json_write_str(w, put_throttled(status) ? "throttled" : "internal_failure");
        json_write_name(w, "message");
        json_write_str(w, status_text(status));
    }
    json_write_object_end(w);
}

/* How many records were not stored, and whether throttling was why for one of them. */
static uint32_t failures(struct put_batch *b, bool *out_throttled)
{
    uint32_t n = 0;
    struct slice number;
    *out_throttled = false;
    for (uint32_t i = 0; i < b->count; i++) {
        int status = put_result(b, i, &number);
        n += status < 0;
        *out_throttled |= status < 0 && put_throttled(status);
    }
    return n;
}

static void put_done(struct put_batch *b)
{
    struct rest_call *c = b->user;
    struct bytebuf body;
    struct json_writer w;
    bool throttled;
    uint32_t failed = failures(b, &throttled);
    bytebuf_init(&body, 64u << 20);
    json_writer_init(&w, &body);
    if (c->lines) {
        json_write_object(&w);
        json_write_name(&w, "failedRecordCount");
        json_write_u64(&w, failed);
        json_write_name(&w, "records");
        json_write_array(&w);
        for (uint32_t i = 0; i < b->count; i++)
            write_result(b, i, &w);
        json_write_array_end(&w);
        json_write_object_end(&w);
    } else {
        write_result(b, 0, &w);
    }
    bytebuf_byte(&body, '\n');
    int status = failed < b->count ? 200 : throttled ? 429 : 500;
    put_end(b);
    if (bytebuf_failed(&body)) {
        bytebuf_reset(&body);
        status = 500;
    }
    respond(c->loop, c->x, status, status == 429 ? "Retry-After" : NULL, RETRY_AFTER_S, &body);
}

static bool sizes_fit(struct rest_call *c, const struct registry_stream *s, const struct put_item *items)
{
    for (uint32_t i = 0; i < c->records.count; i++) {
        if (items[i].data.len + items[i].key.len <= s->row.record_bytes_max)
            continue;
        refuse(c->loop, c->x, TOO_LARGE,
               "Record %u has %zu bytes with its partition key; stream '%s' takes up to %u. Nothing was stored.", i + 1,
               items[i].data.len + items[i].key.len, s->row.name, s->row.record_bytes_max);
        return false;
    }
    return true;
}

static void put(struct rest_call *c, struct registry_stream *s)
{
    struct put_item *items = arena_zalloc(c->x->arena, c->records.count * sizeof(*items));
    if (!items) {
        refuse(c->loop, c->x, TOO_LARGE, "The request needs more memory than a request may have.");
        return;
    }
    if (!give_keys(c, items))
        return;
    for (uint32_t i = 0; i < c->records.count; i++)
        items[i].data = c->records.data[i];
    if (!sizes_fit(c, s, items))
        return;
    c->batch = (struct put_batch){.done = put_done,
                                  .loop = c->loop,
                                  .stream = s,
                                  .arena = c->x->arena,
                                  .item = items,
                                  .count = c->records.count,
                                  .user = c};
    if (put_start(&c->batch) < 0)
        refuse(c->loop, c->x, TOO_LARGE, "The request needs more memory than a request may have.");
}

/* ---- paths and methods ---------------------------------------------------------------------------------------------- */

static const struct rest_route *route_of(const struct rest *rest, struct slice path, struct slice *out_stream)
{
    for (uint32_t i = 0; i < rest->count; i++) {
        if (slice_eq(path, rest->route[i].path)) {
            *out_stream = rest->route[i].stream;
            return &rest->route[i];
        }
    }
    struct slice prefix = SLICE_LIT(STREAMS_PREFIX), suffix = SLICE_LIT(RECORDS_SUFFIX);
    if (path.len <= prefix.len + suffix.len || !slice_starts(path, prefix) ||
        !slice_eq(slice_from(path, path.len - suffix.len), suffix))
        return NULL;
    *out_stream = slice_of(path.ptr + prefix.len, path.len - prefix.len - suffix.len);
    return slice_find(*out_stream, '/') == out_stream->len ? &rest->builtin : NULL;
}

/* The stream, if it takes records now; NULL: refused. */
static struct registry_stream *stream_of(struct rest_call *c)
{
    struct registry_stream *s = api_visible_stream(c->loop, c->stream);
    if (s && (s->row.status == STREAM_ACTIVE || s->row.status == STREAM_UPDATING))
        return s;
    if (s && s->row.status == STREAM_CREATING)
        refuse(c->loop, c->x, (struct refusal){503, "not_ready", "Retry-After", RETRY_AFTER_S},
               "Stream '%s' is still being created: try again.", s->row.name);
    else
        refuse(c->loop, c->x, (struct refusal){404, "not_found", NULL, NULL},
               "Stream '%.*s' does not exist. Create it with: sluice stream create %.*s, or aws kinesis create-stream "
               "--stream-name %.*s --shard-count 1",
               SLICE_FMT(slice_first(c->stream, STREAM_NAME_LEN_MAX)),
               SLICE_FMT(slice_first(c->stream, STREAM_NAME_LEN_MAX)),
               SLICE_FMT(slice_first(c->stream, STREAM_NAME_LEN_MAX)));
    return NULL;
}

static void answer_options(struct api_loop *l, struct http_exchange *x)
{
    const struct http_header allow = {SLICE_LIT("Allow"), SLICE_LIT("POST, OPTIONS")};
    api_count(l, l->api->rest_operation, API_RESULT_OK, x->received);
    http_respond(x, 204, &allow, 1, SLICE_NULL);
}

bool rest_request(struct api_loop *l, struct http_exchange *x)
{
    struct slice stream;
    const struct rest_route *route = route_of(l->api->rest, x->path, &stream);
    if (!route)
        return false;
    if (slice_eq_str(x->method, "OPTIONS")) {
        answer_options(l, x);
        return true;
    }
    if (!slice_eq_str(x->method, "POST")) {
        refuse(l, x, (struct refusal){405, "method_not_allowed", "Allow", "POST, OPTIONS"},
               "Records are sent with POST. They are read with GetRecords (sluice tail, aws kinesis get-records).");
        return true;
    }
    struct rest_call *c = arena_zalloc(x->arena, sizeof(*c));
    if (!c) {
        refuse(l, x, TOO_LARGE, "The request needs more memory than a request may have.");
        return true;
    }
    *c = (struct rest_call){.loop = l, .x = x, .route = route, .stream = stream};
    if (!allowed(c))
        return true;
    struct registry_stream *s = stream_of(c);
    if (s && content_known(c) && read_records(c))
        put(c, s);
    return true;
}
