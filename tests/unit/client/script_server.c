/* See script_server.h. */
#include "tests/unit/client/script_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX (1u << 20)

struct conn {
    struct script_server *s;
    int fd;
};

static const char *header_find(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at ? at + strlen(name) : NULL;
}

/* Reads one request into buf (NUL-terminated); *out_body is where its body begins. False: the peer has gone. */
static bool request_read(int fd, char *buf, size_t *out_body)
{
    size_t len = 0, want = 0;
    char *end = NULL;
    while (!end || len < want) {
        ssize_t n = recv(fd, buf + len, REQUEST_MAX - len - 1, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        buf[len] = 0;
        if (!end && (end = strstr(buf, "\r\n\r\n"))) {
            const char *length = header_find(buf, "Content-Length: ");
            *out_body = (size_t)(end - buf) + 4;
            want = *out_body + (length ? strtoul(length, NULL, 10) : 0);
        }
    }
    buf[*out_body - 2] = 0;
    return true;
}

/* In one piece, so that no acknowledgement is waited for. */
static bool answer_send(int fd, const struct script_answer *a)
{
    char head[128];
    size_t len = strlen(a->body);
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d Script\r\nContent-Length: %zu\r\n\r\n", a->status, len);
    struct iovec iov[2] = {{head, (size_t)n}, {(void *)(uintptr_t)a->body, len}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    return sendmsg(fd, &msg, MSG_NOSIGNAL) == (ssize_t)(len + (size_t)n);
}

static void *conn_run(void *arg)
{
    struct conn *c = arg;
    struct script_server *s = c->s;
    char *buf = malloc(REQUEST_MAX);
    struct script_answer *a = malloc(sizeof *a);
    size_t body;
    assert(buf && a);
    for (bool more = true; more && request_read(c->fd, buf, &body);) {
        char operation[64] = "";
        const char *target = header_find(buf, "X-Amz-Target: ");
        if (target && (target = strchr(target, '.')))
            sscanf(target + 1, "%63[A-Za-z]", operation);
        a->status = 200;
        a->body = "{}";
        pthread_mutex_lock(&s->lock);
        struct script_request r = {.head = buf, .operation = operation, .body = buf + body, .number = s->requests++};
        s->script(s, &r, a);
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        more = a->status != 0 && answer_send(c->fd, a);
    }
    shutdown(c->fd, SHUT_RDWR);
    free(buf);
    free(a);
    free(c);
    return NULL;
}

static void *accept_run(void *arg)
{
    struct script_server *s = arg;
    int fd;
    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        struct conn *c = malloc(sizeof *c);
        assert(c);
        *c = (struct conn){s, fd};
        pthread_mutex_lock(&s->lock);
        assert(s->connections < 64);
        s->conn_fds[s->connections] = fd;
        int rc = pthread_create(&s->conns[s->connections++], NULL, conn_run, c);
        assert(rc == 0);
        (void)rc;
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

void script_start(struct script_server *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->requests = s->connections = 0;
    s->over = false;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = bind(s->fd, (struct sockaddr *)&at, sizeof at);
    rc |= listen(s->fd, 64);
    rc |= getsockname(s->fd, (struct sockaddr *)&at, &len);
    rc |= pthread_create(&s->thread, NULL, accept_run, s);
    assert(rc == 0);
    (void)rc;
    snprintf(s->endpoint, sizeof s->endpoint, "http://127.0.0.1:%u", ntohs(at.sin_port));
}

void script_stop(struct script_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->over = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    for (uint32_t i = 0; i < s->connections; i++) {
        shutdown(s->conn_fds[i], SHUT_RDWR);
        pthread_join(s->conns[i], NULL);
        close(s->conn_fds[i]);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
}

bool script_wait(struct script_server *s, const bool *flag)
{
    while (!*flag && !s->over)
        pthread_cond_wait(&s->changed, &s->lock);
    return *flag;
}
