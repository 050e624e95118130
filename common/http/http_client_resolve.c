/*
 * The endpoint's addresses: a numeric host is its own, at once; a name is looked up by getaddrinfo on a worker. The job
 * writes into the client's fields, which nobody reads while it runs.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/http/http_client_internal.h"

void http_client_host(struct http_client *k)
{
    struct in6_addr a;
    if (inet_pton(AF_INET, k->host, &a) != 1 && inet_pton(AF_INET6, k->host, &a) != 1) {
        k->is_name = true;
        return;
    }
    snprintf(k->addresses[0].text, sizeof k->addresses[0].text, "%s", k->host);
    k->addresses[0].port = k->options.port;
    k->address_count = 1;
    k->resolved = RESOLVE_DONE;
}

static int error_of(int rc)
{
    return rc == EAI_MEMORY ? -ENOMEM : rc == EAI_AGAIN ? -EAGAIN : -ENOENT;
}

static void resolve_work(struct io_job *j)
{
    struct http_client *k = CONTAINER_OF(j, struct http_client, resolve);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found = NULL;
    int rc = getaddrinfo(k->host, NULL, &hints, &found);
    k->address_count = 0;
    for (struct addrinfo *a = found; rc == 0 && a && k->address_count < HTTP_CLIENT_ADDRESSES_MAX; a = a->ai_next) {
        struct net_address *to = &k->addresses[k->address_count];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, to->text, sizeof to->text, NULL, 0, NI_NUMERICHOST) != 0)
            continue;
        to->port = k->options.port;
        k->address_count++;
    }
    if (found)
        freeaddrinfo(found);
    k->resolve_error = k->address_count > 0 ? 0 : error_of(rc);
}

static void resolve_done(struct io_job *j)
{
    struct http_client *k = CONTAINER_OF(j, struct http_client, resolve);
    k->resolved = RESOLVE_DONE;
    http_client_wake(k);
}

void http_client_resolve(struct http_client *k)
{
    k->resolved = RESOLVE_RUNNING;
    k->resolve.work = resolve_work;
    k->resolve.done = resolve_done;
    job_submit(k->loop, &k->resolve);
}
