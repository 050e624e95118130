/*
 * One request: sent on the loop's thread, tried again where that may help, its error understood. See client.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/client.h"
#include "common/wire/json_read.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MOST_MS  5000

int client_code_of(const char *name, int http_status)
{
    static const struct {
        const char *name;
        int code;
    } codes[] = {
        {"ResourceNotFoundException", SLUICE_E_NOT_FOUND},
        {"ResourceInUseException", SLUICE_E_EXISTS},
        {"ValidationException", SLUICE_E_INVALID},
        {"InvalidArgumentException", SLUICE_E_INVALID},
        {"SerializationException", SLUICE_E_INVALID},
        {"LimitExceededException", SLUICE_E_INVALID},
        {"ExpiredIteratorException", SLUICE_E_EXPIRED},
        {"ExpiredNextTokenException", SLUICE_E_EXPIRED},
        {"ProvisionedThroughputExceededException", SLUICE_E_THROTTLED},
        {"ThrottlingException", SLUICE_E_THROTTLED},
        {"KMSThrottlingException", SLUICE_E_THROTTLED},
        {"ServiceUnavailableException", SLUICE_E_THROTTLED},
        {"AccessDeniedException", SLUICE_E_DENIED},
        {"UnrecognizedClientException", SLUICE_E_DENIED},
        {"InvalidSignatureException", SLUICE_E_DENIED},
        {"IncompleteSignatureException", SLUICE_E_DENIED},
        {"MissingAuthenticationTokenException", SLUICE_E_DENIED},
        {"ExpiredTokenException", SLUICE_E_DENIED},
    };
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++)
        if (strcmp(name, codes[i].name) == 0)
            return codes[i].code;
    if (http_status == 429 || http_status == 503)
        return SLUICE_E_THROTTLED;
    if (http_status == 401 || http_status == 403)
        return SLUICE_E_DENIED;
    if (http_status == 404 && !name[0])
        return SLUICE_E_NOT_FOUND;
    if (http_status == 408 || http_status == 504)
        return SLUICE_E_TIMEOUT;
    return http_status >= 400 && http_status < 500 ? SLUICE_E_INVALID : SLUICE_E_SERVER;
}

bool client_code_retryable(int code)
{
    return code == SLUICE_E_THROTTLED || code == SLUICE_E_SERVER || code == SLUICE_E_CONNECT ||
           code == SLUICE_E_TIMEOUT;
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

bool answer_object(struct json_reader *r)
{
    return json_next(r) == JSON_OBJECT;
}

bool answer_member(struct json_reader *r, struct slice *key, int *value_token)
{
    if (json_next(r) != JSON_KEY)
        return false;
    *key = r->text;
    *value_token = json_next(r);
    return *value_token != JSON_ERROR;
}

void answer_text(char *to, size_t size, struct slice text)
{
    size_t n = text.len < size - 1 ? text.len : size - 1;
    while (n < text.len && n > 0 && (text.ptr[n] & 0xc0) == 0x80)
        n--;
    if (n)
        memcpy(to, text.ptr, n);
    to[n] = 0;
}

/* {"__type":"...","message":"..."}; anything else keeps a general text. */
static void error_read(struct client_request *r)
{
    struct arena arena;
    struct json_reader json;
    struct slice key;
    int token;
    arena_init(&arena, 4096, 1 << 20);
    json_reader_init(&json, r->call.answer_body, &arena);
    if (answer_object(&json)) {
        while (answer_member(&json, &key, &token)) {
            if (token == JSON_STRING && slice_eq_str(key, "__type")) {
                size_t hash = slice_find(json.text, '#');
                answer_text(r->error.name, sizeof r->error.name,
                            hash < json.text.len ? slice_from(json.text, hash + 1) : json.text);
            } else if (token == JSON_STRING && slice_eq_nocase(key, SLICE_LIT("message"))) {
                answer_text(r->error.message, sizeof r->error.message, json.text);
            } else if (!json_skip(&json)) {
                break;
            }
        }
    }
    arena_deinit(&arena);
}

static void error_from_status(struct client_request *r)
{
    r->error = (struct sluice_error){.http_status = r->call.status};
    error_read(r);
    r->error.code = client_code_of(r->error.name, r->call.status);
    if (!r->error.message[0])
        snprintf(r->error.message, sizeof r->error.message, "%s (HTTP status %d%s%s)", sluice_code_text(r->error.code),
                 r->call.status, r->error.name[0] ? ", " : "", r->error.name);
}

static void error_from_call(struct client_request *r)
{
    int why = r->call.error;
    int code = why == -ETIMEDOUT                     ? SLUICE_E_TIMEOUT
               : why == -ECANCELED                   ? SLUICE_E_CLOSED
               : why == -ENOMEM                      ? SLUICE_E_MEMORY
               : why == ST_SYNTAX || why == ST_LIMIT ? SLUICE_E_PROTOCOL
                                                     : SLUICE_E_CONNECT;
    client_fail(&r->error, code, "%s:%u: %s", r->s->host, r->s->port,
                why == -ENOENT ? "there is no such host" : status_text(why));
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static void request_send(struct client_request *r)
{
    r->call.method = r->page ? "GET" : "POST";
    r->call.target = r->page ? r->page : "/";
    r->call.headers = r->headers;
    r->call.header_count = r->page ? 0 : 2;
    r->call.body = bytebuf_view(&r->body);
    r->attempts++;
    http_client_call(r->s->http[r->service], &r->call);
}

static void request_again(struct io_timer *t)
{
    request_send(CONTAINER_OF(t, struct client_request, timer));
}

static bool request_retry(struct client_request *r)
{
    if (!client_code_retryable(r->error.code) || r->attempts > r->s->retries_max)
        return false;
    uint64_t most = (uint64_t)BACKOFF_FIRST_MS << (r->attempts < 8 ? r->attempts - 1 : 7);
    if (most > BACKOFF_MOST_MS)
        most = BACKOFF_MOST_MS;
    uint64_t wait = most / 2 + client_random(r->s) % (most / 2 + 1);
    if (r->call.error < 0 && r->call.reused && r->attempts == 1)
        wait = 0; /* the server had closed an idle connection: not its trouble, only ours */
    r->timer.fired = request_again;
    timer_arm(r->s->loop, &r->timer, mono_add_ms(loop_now(r->s->loop), (int64_t)wait));
    return true;
}

static void request_done(struct http_call *call)
{
    struct client_request *r = CONTAINER_OF(call, struct client_request, call);
    if (call->error == 0 && call->status == 200) {
        r->error = (struct sluice_error){.http_status = 200};
        r->answer = call->answer_body;
        if (r->keep) {
            size_t at = 0;
            http_call_take_body(call, &r->keep->buf, &at);
            r->keep->json = slice_from(bytebuf_view(&r->keep->buf), at);
        }
        r->done(r);
        return;
    }
    if (call->error < 0)
        error_from_call(r);
    else
        error_from_status(r);
    if (!request_retry(r))
        r->done(r);
}

static void request_arrived(struct io_msg *m)
{
    request_send(CONTAINER_OF(m, struct client_request, msg));
}

void client_request_start(struct client_request *r)
{
    static const char *const prefixes[CLIENT_SERVICE_COUNT] = {"Kinesis_20131202", "Firehose_20150804"};
    if (r->operation)
        snprintf(r->target, sizeof r->target, "%s.%s", prefixes[r->service], r->operation);
    r->headers[0] = (struct http_header){SLICE_LIT("Content-Type"), SLICE_LIT("application/x-amz-json-1.1")};
    r->headers[1] = (struct http_header){SLICE_LIT("X-Amz-Target"), slice_str(r->target)};
    r->call.done = request_done;
    r->msg.deliver = request_arrived;
    loop_post(r->s->loop, &r->msg);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------ */

struct waiting {
    struct client_request request;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool over;
};

static void waiting_done(struct client_request *r)
{
    struct waiting *w = CONTAINER_OF(r, struct waiting, request);
    pthread_mutex_lock(&w->lock);
    w->over = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void client_answer_free(struct client_answer *a)
{
    bytebuf_deinit(&a->buf);
}

/* Sends w->request and waits; frees its body. Without `out` the answer is dropped. */
static int wait_for(struct waiting *w, struct client_answer *out, struct sluice_error *e)
{
    struct client_answer unwanted = {0};
    w->request.keep = out ? out : &unwanted;
    w->request.done = waiting_done;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    client_request_start(&w->request);
    pthread_mutex_lock(&w->lock);
    while (!w->over)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    bytebuf_deinit(&w->request.body);
    client_answer_free(&unwanted);
    if (e && w->request.error.code < 0)
        *e = w->request.error;
    return w->request.error.code;
}

int client_ask(struct sluice *s, enum client_service service, const char *operation, struct bytebuf *body,
               struct client_answer *out, struct sluice_error *e)
{
    if (bytebuf_failed(body)) {
        bytebuf_deinit(body);
        return client_fail(e, SLUICE_E_MEMORY, "no memory for the request");
    }
    if (out)
        *out = (struct client_answer){0};
    struct waiting w = {.request = {.s = s, .service = service, .operation = operation, .body = *body}};
    return wait_for(&w, out, e);
}

int client_get(struct sluice *s, const char *page, struct client_answer *out, struct sluice_error *e)
{
    *out = (struct client_answer){0};
    struct waiting w = {.request = {.s = s, .service = CLIENT_KINESIS, .page = page}};
    return wait_for(&w, out, e);
}
