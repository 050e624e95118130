/*
 * A server for tests of HTTP clients: a thread a connection, plain blocking sockets, one request at a time; a script
 * answers. Loopback, a free port.
 */
#ifndef SLUICE_TEST_SCRIPT_SERVER_H
#define SLUICE_TEST_SCRIPT_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct script_request {
    const char *head;      /* NUL-terminated: request line and headers */
    const char *operation; /* behind the dot of X-Amz-Target, or "" */
    const char *body;      /* NUL-terminated */
    uint32_t number;       /* of the request, from 0 */
};

struct script_answer {
    int status;       /* 0: the connection is closed without a word */
    const char *body; /* copied into room by the script if it is not static */
    char room[65536];
};

struct script_server {
    /* On a connection's thread, one at a time (with the lock); may wait with script_wait. */
    void (*script)(struct script_server *s, const struct script_request *r, struct script_answer *a);
    void *user;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t requests, connections;
    char endpoint[64];
    /* private */
    int fd;
    bool over;
    pthread_t thread;
    pthread_t conns[64];
    int conn_fds[64];
};

void script_start(struct script_server *s);
void script_stop(struct script_server *s);
/* In a script: lets others run until `*flag` (set with the lock, then broadcast). False: the server is being stopped. */
bool script_wait(struct script_server *s, const bool *flag);

#endif
