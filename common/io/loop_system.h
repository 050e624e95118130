/* What the two real backends share: clocks, randomness, blocking file operations, sockets. Private to common/io. */
#ifndef SLUICE_IO_LOOP_SYSTEM_H
#define SLUICE_IO_LOOP_SYSTEM_H

#include <sys/socket.h>

#include "common/io/loop_backend.h"

struct mono_ns system_mono(struct loop *loop);
struct wall_ms system_wall(struct loop *loop);
void system_random(struct loop *loop, void *out, size_t len);

/* Does a file operation by blocking system calls; returns its raw result. Any thread. */
int64_t file_op_execute(struct io_op *op);
/* Has a worker do it; loop_op_finish follows. */
void file_op_on_worker(struct loop *loop, struct io_op *op);
/* The backends' `job`. */
void system_job(struct loop *loop, struct io_job *j);
/* O_* flags for op->open_flags, and the mode. */
int open_flags_system(unsigned flags);
unsigned open_mode_system(unsigned flags);
/* More than this in one system call is never asked for (a raw result has to fit the ring's 32 bits). */
#define TRANSFER_MAX (1u << 30)

/* -EINVAL: not a numeric address. */
int socket_address(const struct net_address *at, struct sockaddr_storage *out, socklen_t *out_len) must_use;
/* A listening socket (`type_flags`: SOCK_NONBLOCK or 0). -errno. Closes what it opened on failure. */
int socket_listen(const struct net_address *at, int type_flags, struct err *e) must_use;
/* The port a socket is bound to; -errno. */
int socket_port(int fd) must_use;
/* A stream socket that can connect to `to`. -errno. */
int socket_create(const struct sockaddr_storage *to, int type_flags) must_use;
void socket_peer(int fd, struct net_address *out);

/* Children and signals, on top of poll_arm and net_adopt. */
int process_spawn(struct loop *loop, struct io_child *c, const char *const *argv, struct err *e) must_use;
void process_kill(struct io_child *c, int signal);
int process_signal_watch(struct io_signal *s) must_use;
void process_signal_unwatch(struct io_signal *s);

#endif
