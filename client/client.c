/*
 * The handle: options, the background thread with its loop, opening and closing. See client.h for the invariants.
 * Opening starts the thread, which makes the loop and the HTTP clients and says so; closing posts a message that ends
 * the HTTP clients and then the loop.
 */
#include "client/client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/wire/uri.h"

int client_fail(struct sluice_error *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    *e = (struct sluice_error){.code = code};
    vsnprintf(e->message, sizeof e->message, fmt, ap);
    va_end(ap);
    return code;
}

const char *sluice_code_text(int code)
{
    switch (code) {
    case SLUICE_OK:
        return "success";
    case SLUICE_E_ARGUMENT:
        return "an argument is wrong";
    case SLUICE_E_MEMORY:
        return "no memory";
    case SLUICE_E_CONNECT:
        return "no connection to the server";
    case SLUICE_E_TIMEOUT:
        return "the server did not answer in time";
    case SLUICE_E_PROTOCOL:
        return "the answer is not what the protocol says";
    case SLUICE_E_NOT_FOUND:
        return "it does not exist";
    case SLUICE_E_EXISTS:
        return "it exists already, or is in use";
    case SLUICE_E_INVALID:
        return "the server finds a value invalid";
    case SLUICE_E_DENIED:
        return "access is denied";
    case SLUICE_E_THROTTLED:
        return "the server is at a limit";
    case SLUICE_E_EXPIRED:
        return "the iterator has expired";
    case SLUICE_E_SERVER:
        return "the server failed";
    case SLUICE_E_CLOSED:
        return "the handle is closed";
    default:
        return "unknown code";
    }
}

const char *sluice_version(void)
{
    return SLUICE_VERSION;
}

void sluice_free(void *p)
{
    free(p);
}

char *client_text(struct slice text)
{
    char *copy = malloc(text.len + 1);
    if (copy) {
        if (text.len)
            memcpy(copy, text.ptr, text.len);
        copy[text.len] = 0;
    }
    return copy;
}

uint64_t client_random(struct sluice *s)
{
    uint64_t x = atomic_fetch_add(&s->random, 0x9e3779b97f4a7c15ull);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* ---- options ------------------------------------------------------------------------------------------------------ */

static const char *first_set(const char *given, const char *name1, const char *name2, const char *otherwise)
{
    if (given)
        return given;
    const char *v = name1 ? getenv(name1) : NULL;
    if (!v || !*v)
        v = name2 ? getenv(name2) : NULL;
    return v && *v ? v : otherwise;
}

static int endpoint_parse(struct sluice *s, const char *text, struct sluice_error *e)
{
    struct slice rest = slice_str(text);
    struct uri_authority a;
    if (slice_starts(rest, SLICE_LIT("https://")))
        return client_fail(e, SLUICE_E_ARGUMENT, "endpoint '%s': this version speaks http:// only", text);
    if (!slice_starts(rest, SLICE_LIT("http://")))
        return client_fail(e, SLUICE_E_ARGUMENT, "endpoint '%s' does not begin with http://", text);
    rest = slice_from(rest, 7);
    if (rest.len && rest.ptr[rest.len - 1] == '/')
        rest.len--;
    if (uri_authority_parse(rest, &a) < 0)
        return client_fail(e, SLUICE_E_ARGUMENT, "endpoint '%s' is not http://HOST:PORT", text);
    s->host = client_text(a.host);
    s->port = a.port ? a.port : 80;
    return s->host ? 0 : client_fail(e, SLUICE_E_MEMORY, "no memory");
}

static int options_read(struct sluice *s, const struct sluice_options *o, struct sluice_error *e)
{
    int rc = endpoint_parse(s, first_set(o->endpoint, "SLUICE_ENDPOINT", NULL, "http://127.0.0.1:4567"), e);
    if (rc < 0)
        return rc;
    const char *key = first_set(o->access_key_id, "AWS_ACCESS_KEY_ID", NULL, NULL);
    const char *secret = first_set(o->secret_access_key, "AWS_SECRET_ACCESS_KEY", NULL, NULL);
    bool given = o->access_key_id || o->secret_access_key;
    const char *token = first_set(o->session_token, given ? NULL : "AWS_SESSION_TOKEN", NULL, NULL);
    if (!key != !secret)
        return client_fail(e, SLUICE_E_ARGUMENT, "%s is given without %s",
                           key ? "an access key id" : "a secret access key",
                           key ? "its secret access key" : "its access key id");
    s->region = strdup(first_set(o->region, "AWS_REGION", "AWS_DEFAULT_REGION", "us-east-1"));
    s->access_key = key ? strdup(key) : NULL;
    s->secret_key = key ? strdup(secret) : NULL;
    s->session_token = key && token ? strdup(token) : NULL;
    s->timeout_ms = o->timeout_ms ? o->timeout_ms : 60000;
    s->retries_max = o->retries_max == UINT32_MAX ? 0 : o->retries_max ? o->retries_max : 8;
    s->connections_max = o->connections_max ? o->connections_max : 8;
    if (!s->region || (key && (!s->access_key || !s->secret_key || (token && !s->session_token))))
        return client_fail(e, SLUICE_E_MEMORY, "no memory");
    return 0;
}

/* ---- the thread --------------------------------------------------------------------------------------------------- */

static int http_clients_create(struct sluice *s)
{
    static const char *const services[CLIENT_SERVICE_COUNT] = {"kinesis", "firehose"};
    struct sigv4_credentials credentials = {slice_str(s->access_key), slice_str(s->secret_key),
                                            s->session_token ? slice_str(s->session_token) : SLICE_NULL};
    for (int i = 0; i < CLIENT_SERVICE_COUNT; i++) {
        struct err err = {0};
        struct http_client_options o = {.host = s->host,
                                        .port = s->port,
                                        .connections_max = s->connections_max,
                                        .request_ms = s->timeout_ms,
                                        .credentials = s->access_key ? &credentials : NULL,
                                        .region = s->region,
                                        .service = services[i]};
        if (http_client_create(s->loop, &o, &s->http[i], &err) < 0)
            return client_fail(&s->start_error, SLUICE_E_MEMORY, "%s", err.text);
        s->clients_alive++;
    }
    return 0;
}

static void http_client_gone(void *ctx)
{
    struct sluice *s = ctx;
    if (--s->clients_alive == 0)
        loop_stop(s->loop);
}

/* Ends the HTTP clients that there are (none, or not all, if opening failed); the last one stops the loop. */
static void http_clients_destroy(struct sluice *s)
{
    for (int i = 0; i < CLIENT_SERVICE_COUNT; i++)
        if (s->http[i])
            http_client_destroy(s->http[i], http_client_gone, s);
}

static void thread_close(struct io_msg *m)
{
    http_clients_destroy(CONTAINER_OF(m, struct sluice, close_msg));
}

static int thread_start(struct sluice *s)
{
    struct err err = {0};
    uint64_t seed;
    if (loop_create(&(struct loop_options){.recv_buffers = 64}, &s->loop, &err) < 0)
        return client_fail(&s->start_error, SLUICE_E_MEMORY, "%s", err.text);
    loop_random(s->loop, &seed, sizeof seed);
    atomic_store(&s->random, seed);
    return http_clients_create(s);
}

static void *thread_run(void *arg)
{
    struct sluice *s = arg;
    int rc = thread_start(s);
    if (rc < 0)
        http_clients_destroy(s);
    bool run = rc == 0 || s->clients_alive; /* of what was made before a failure, the loop has to see the end */
    pthread_mutex_lock(&s->lock);
    s->ready = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (run)
        CHECK(loop_run(s->loop) == 0); /* without its loop the process would wait for answers for ever */
    loop_destroy(s->loop);
    return NULL;
}

/* Signals are the application's: its threads take them, never ours. */
static int thread_create(struct sluice *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&s->thread, NULL, thread_run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static void handle_free(struct sluice *s)
{
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s->host);
    free(s->region);
    free(s->access_key);
    free(s->secret_key);
    free(s->session_token);
    free(s);
}

int sluice_open(const struct sluice_options *options, struct sluice **out, struct sluice_error *e)
{
    struct sluice *s = calloc(1, sizeof *s);
    if (!s)
        return client_fail(e, SLUICE_E_MEMORY, "no memory");
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    int rc = options_read(s, options ? options : &(struct sluice_options){0}, e);
    if (rc == 0 && thread_create(s) != 0)
        rc = client_fail(e, SLUICE_E_MEMORY, "no thread");
    if (rc < 0) {
        handle_free(s);
        return rc;
    }
    pthread_mutex_lock(&s->lock);
    while (!s->ready)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    if (s->start_error.code < 0) {
        if (e)
            *e = s->start_error;
        rc = s->start_error.code;
        pthread_join(s->thread, NULL);
        handle_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void sluice_close(struct sluice *s)
{
    if (!s)
        return;
    s->close_msg.deliver = thread_close;
    loop_post(s->loop, &s->close_msg);
    pthread_join(s->thread, NULL);
    handle_free(s);
}
