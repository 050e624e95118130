/*
 * PutRecords and GetRecords over HTTP, against a sluiced that this program starts with credentials on: what the daemon spends a
 * record, and what a client sees. The client side is as light as possible: requests are built and signed once and sent again and
 * again over blocking sockets, a thread a connection; answers are only measured for their length and status.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "common/base/bytebuf.h"
#include "common/wire/base64.h"
#include "common/wire/sigv4.h"

#define REQUESTS_KEPT 8
#define ANSWER_BYTES  (32u << 20)

struct bench_daemon {
    int pid, out;
    uint16_t port;
    char config[600];
};

struct bench_request {
    struct bytebuf bytes; /* head and body */
};

struct http_worker {
    const struct bench_params *p;
    uint16_t port;
    double until;
    const struct bench_request *requests;
    uint32_t request_count, first;
    struct histogram latency_ns;
    uint64_t operations, records, bytes;
    char *iterator; /* get: the shard's first iterator */
    pthread_t thread;
};

/* ---- the daemon ---------------------------------------------------------------------------------------------------- */

static const char *daemon_path(const struct bench_params *p)
{
    static char path[4200];
    if (p->daemon)
        return p->daemon;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
    if (n < 0)
        bench_die("readlink: %m");
    path[n] = 0;
    char *slash = strrchr(path, '/');
    snprintf(slash + 1, 64, "sluiced");
    if (access(path, X_OK) != 0) /* run from the build folder itself */
        snprintf(slash + 1, 64, "../broker/sluiced");
    return path;
}

static void daemon_start(const struct bench_params *p, const char *folder, struct bench_daemon *d)
{
    int pipes[2];
    snprintf(d->config, sizeof d->config, "%s/sluice.yaml", folder);
    FILE *f = fopen(d->config, "w");
    if (!f || pipe(pipes) < 0)
        bench_die("%s: %m", d->config);
    fprintf(f,
            "data: %s/data\nlisten: 127.0.0.1:0\nsync: %s\ncredentials:\n  - {access_key_id: BENCH, secret_access_key: "
            "bench-secret}\n"
            "streams:\n  - {name: bench, shards: %u}\n",
            folder, p->sync, p->shards);
    fclose(f);
    const char *path = daemon_path(p);
    d->pid = fork();
    if (d->pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        execl(path, path, "--config", d->config, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    d->out = pipes[0];
    char line[512];
    ssize_t n = read(d->out, line, sizeof line - 1);
    line[n > 0 ? n : 0] = 0;
    const char *url = strstr(line, "http://127.0.0.1:");
    if (!url)
        bench_die("%s did not start: %s", path, line);
    d->port = (uint16_t)strtoul(url + 17, NULL, 10);
}

static void daemon_stop(struct bench_daemon *d)
{
    int status;
    kill(d->pid, SIGTERM);
    waitpid(d->pid, &status, 0);
    close(d->out);
}

/* ---- requests ------------------------------------------------------------------------------------------------------ */

static void request_make(struct bench_request *r, uint16_t port, const char *operation, struct slice body)
{
    static struct sigv4_signer signer;
    static bool ready;
    struct sigv4_credentials credentials = {SLICE_LIT("BENCH"), SLICE_LIT("bench-secret"), SLICE_NULL};
    if (!ready && sigv4_signer_init(&signer, &credentials, SLICE_LIT("us-east-1"), SLICE_LIT("kinesis"), 0) < 0)
        bench_die("no memory");
    ready = true;
    char host[32], target[64];
    snprintf(host, sizeof host, "127.0.0.1:%u", port);
    snprintf(target, sizeof target, "Kinesis_20131202.%s", operation);
    struct http_header headers[] = {{SLICE_LIT("Host"), slice_str(host)},
                                    {SLICE_LIT("Content-Type"), SLICE_LIT("application/x-amz-json-1.1")},
                                    {SLICE_LIT("X-Amz-Target"), slice_str(target)}};
    struct sigv4_request sr = {
        .method = SLICE_LIT("POST"), .path = SLICE_LIT("/"), .headers = headers, .header_count = 3, .body = body};
    struct sigv4_added added;
    if (sigv4_sign(&signer, &sr, (struct wall_ms){(int64_t)time(NULL) * 1000}, &added) < 0)
        bench_die("no memory");
    bytebuf_init(&r->bytes, 64u << 20);
    bytebuf_str(&r->bytes, "POST / HTTP/1.1\r\n");
    for (uint32_t i = 0; i < 3; i++)
        bytebuf_printf(&r->bytes, "%.*s: %.*s\r\n", SLICE_FMT(headers[i].name), SLICE_FMT(headers[i].value));
    for (uint32_t i = 0; i < added.count; i++)
        bytebuf_printf(&r->bytes, "%.*s: %.*s\r\n", SLICE_FMT(added.headers[i].name),
                       SLICE_FMT(added.headers[i].value));
    bytebuf_printf(&r->bytes, "Content-Length: %zu\r\n\r\n", body.len);
    bytebuf_slice(&r->bytes, body);
    if (bytebuf_failed(&r->bytes))
        bench_die("no memory");
}

static void put_request_make(const struct bench_params *p, uint16_t port, uint32_t number, struct bench_request *r)
{
    struct bytebuf b;
    char *text = malloc(p->record_bytes + 64), *encoded = malloc(base64_encoded_len(p->record_bytes) + 1);
    if (!text || !encoded)
        bench_die("no memory");
    bytebuf_init(&b, 64u << 20);
    bytebuf_str(&b, "{\"StreamName\":\"bench\",\"Records\":[");
    for (uint32_t i = 0; i < p->batch_records; i++) {
        int n = snprintf(text, p->record_bytes, "{\"request\":%u,\"n\":%u,\"level\":\"info\",\"text\":\"", number, i);
        for (uint32_t c = (uint32_t)n; c < p->record_bytes - 2; c++)
            text[c] = (char)('a' + (c * 7 + i * 13 + number) % 26);
        memcpy(text + p->record_bytes - 2, "\"}", 2);
        base64_encode(slice_of(text, p->record_bytes), encoded);
        encoded[base64_encoded_len(p->record_bytes)] = 0;
        bytebuf_printf(&b, "%s{\"Data\":\"%s\",\"PartitionKey\":\"key-%u-%u\"}", i ? "," : "", encoded, number, i);
    }
    bytebuf_str(&b, "]}");
    if (bytebuf_failed(&b))
        bench_die("no memory");
    request_make(r, port, "PutRecords", bytebuf_view(&b));
    bytebuf_deinit(&b);
    free(text);
    free(encoded);
}

/* ---- a connection -------------------------------------------------------------------------------------------------- */

static int connection_open(uint16_t port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        bench_die("connect: %m");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Sends and reads the whole answer into `answer`; the body. */
static struct slice exchange(int fd, struct slice request, char *answer)
{
    for (size_t sent = 0; sent < request.len;) {
        ssize_t n = send(fd, request.ptr + sent, request.len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            bench_die("send: %m");
        sent += (size_t)n;
    }
    size_t have = 0, head = 0, want = SIZE_MAX;
    while (have < want) {
        ssize_t n = recv(fd, answer + have, ANSWER_BYTES - have - 1, 0);
        if (n <= 0)
            bench_die("the daemon closed the connection");
        have += (size_t)n;
        answer[have] = 0;
        char *end = head ? NULL : strstr(answer, "\r\n\r\n");
        if (end) {
            const char *length = strcasestr(answer, "\r\ncontent-length:");
            head = (size_t)(end - answer) + 4;
            want = head + (length ? strtoul(length + 17, NULL, 10) : 0);
        }
    }
    if (strncmp(answer + 9, "200", 3) != 0)
        bench_die("the daemon answered: %.600s", answer);
    return slice_of(answer + head, want - head);
}

static void *put_worker(void *arg)
{
    struct http_worker *w = arg;
    int fd = connection_open(w->port);
    char *answer = malloc(ANSWER_BYTES);
    if (!answer)
        bench_die("no memory");
    for (uint32_t n = w->first; bench_now() < w->until; n++) {
        const struct bench_request *r = &w->requests[n % w->request_count];
        uint64_t start = bench_now_ns();
        struct slice body = exchange(fd, bytebuf_view(&r->bytes), answer);
        histogram_record(&w->latency_ns, bench_now_ns() - start);
        if (!memmem(body.ptr, body.len, "\"FailedRecordCount\":0", 21))
            bench_die("records failed: %.300s", (const char *)body.ptr);
        w->operations++;
        w->records += w->p->batch_records;
        w->bytes += (uint64_t)w->p->batch_records * w->p->record_bytes;
    }
    free(answer);
    close(fd);
    return NULL;
}

static bool text_member(struct slice body, const char *name, char *out, size_t size)
{
    char key[64];
    int n = snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *at = memmem(body.ptr, body.len, key, (size_t)n);
    if (!at)
        return false;
    at += n;
    size_t len = strcspn(at, "\"");
    if (len >= size)
        return false;
    memcpy(out, at, len);
    out[len] = 0;
    return true;
}

static void *get_worker(void *arg)
{
    struct http_worker *w = arg;
    int fd = connection_open(w->port);
    char *answer = malloc(ANSWER_BYTES), iterator[1024];
    if (!answer)
        bench_die("no memory");
    snprintf(iterator, sizeof iterator, "%s", w->iterator);
    while (bench_now() < w->until) {
        char text[1200];
        struct bench_request r;
        int n = snprintf(text, sizeof text, "{\"ShardIterator\":\"%s\"}", iterator);
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        pthread_mutex_lock(&lock); /* one signer */
        request_make(&r, w->port, "GetRecords", slice_of(text, (size_t)n));
        pthread_mutex_unlock(&lock);
        uint64_t start = bench_now_ns();
        struct slice body = exchange(fd, bytebuf_view(&r.bytes), answer);
        histogram_record(&w->latency_ns, bench_now_ns() - start);
        bytebuf_deinit(&r.bytes);
        uint64_t records = 0;
        for (const char *at = (const char *)body.ptr;
             (at = memmem(at, body.len - (size_t)(at - (const char *)body.ptr), "\"SequenceNumber\"", 16)); at += 16)
            records++;
        w->operations++;
        w->records += records;
        w->bytes += records * w->p->record_bytes;
        if (records == 0)
            snprintf(iterator, sizeof iterator, "%s", w->iterator); /* from the start again */
        else if (!text_member(body, "NextShardIterator", iterator, sizeof iterator))
            bench_die("no NextShardIterator");
    }
    free(answer);
    close(fd);
    return NULL;
}

/* ---- the benchmarks ------------------------------------------------------------------------------------------------ */

static void workers_run(const struct bench_params *p, const struct bench_daemon *d,
                        const struct bench_request *requests, uint32_t request_count, char *iterator,
                        void *(*work)(void *), struct bench_result *r)
{
    struct http_worker *workers = calloc(p->connections, sizeof *workers);
    if (!workers)
        bench_die("no memory");
    double start = bench_now(), cpu = bench_cpu(d->pid);
    for (uint32_t i = 0; i < p->connections; i++) {
        workers[i] = (struct http_worker){.p = p,
                                          .port = d->port,
                                          .until = start + p->seconds,
                                          .requests = requests,
                                          .request_count = request_count,
                                          .first = i,
                                          .iterator = iterator};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            bench_die("no thread");
    }
    for (uint32_t i = 0; i < p->connections; i++) {
        pthread_join(workers[i].thread, NULL);
        histogram_add(&r->latency_ns, &workers[i].latency_ns);
        r->operations += workers[i].operations;
        r->records += workers[i].records;
        r->bytes += workers[i].bytes;
    }
    r->seconds = bench_now() - start;
    r->cpu_seconds = bench_cpu(d->pid) - cpu;
    free(workers);
}

static void put_run(const struct bench_params *p, const struct bench_daemon *d, struct bench_result *r)
{
    struct bench_request requests[REQUESTS_KEPT];
    for (uint32_t i = 0; i < REQUESTS_KEPT; i++)
        put_request_make(p, d->port, i, &requests[i]);
    workers_run(p, d, requests, REQUESTS_KEPT, NULL, put_worker, r);
    for (uint32_t i = 0; i < REQUESTS_KEPT; i++)
        bytebuf_deinit(&requests[i].bytes);
}

void bench_put(const struct bench_params *p)
{
    static struct bench_result r = {.name = "put"};
    struct bench_daemon d = {0};
    const char *folder = bench_folder(p);
    daemon_start(p, folder, &d);
    put_run(p, &d, &r);
    daemon_stop(&d);
    bench_print(p, &r);
    bench_folder_remove(folder);
}

void bench_get(const struct bench_params *p)
{
    static struct bench_result filled, r = {.name = "get"};
    struct bench_daemon d = {0};
    const char *folder = bench_folder(p);
    daemon_start(p, folder, &d);
    struct bench_params fill = *p;
    fill.seconds = 1;
    put_run(&fill, &d, &filled);
    static const char body[] =
        "{\"StreamName\":\"bench\",\"ShardId\":\"shardId-000000000000\",\"ShardIteratorType\":\"TRIM_HORIZON\"}";
    struct bench_request request;
    char iterator[1024], *answer = malloc(ANSWER_BYTES);
    request_make(&request, d.port, "GetShardIterator", slice_str(body));
    int fd = connection_open(d.port);
    if (!answer ||
        !text_member(exchange(fd, bytebuf_view(&request.bytes), answer), "ShardIterator", iterator, sizeof iterator))
        bench_die("no iterator");
    close(fd);
    free(answer);
    bytebuf_deinit(&request.bytes);
    workers_run(p, &d, NULL, 0, iterator, get_worker, &r);
    daemon_stop(&d);
    bench_print(p, &r);
    bench_folder_remove(folder);
}
