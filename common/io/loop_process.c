/*
 * Children and signals for the real backends, built on poll_arm and net_adopt so that no backend knows of them.
 *
 * Child: a pair of stream sockets stands for each pipe (a socket has a half-close and needs no second code path); the
 * child gets a process group of its own; its end is noticed by a pidfd.
 *
 * Signal: a handler adds to an eventfd that the loop watches. A handler rather than a signalfd, because a signalfd
 * needs the signal blocked in every thread of the process, also in those that a library starts. The eventfd of a signal
 * is never closed again, so that a handler that runs late on another thread cannot hit somebody else's descriptor.
 *
 * Failure modes: nothing is left behind by a spawn that fails. Several signals of a kind may arrive as one.
 * Thread: the loop's own; the handler any.
 */
#include "common/io/loop_system.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/check.h"

/* ---- children ---------------------------------------------------------------------------------------------------- */

struct child_ends {
    int ours[2], theirs[2]; /* [0] its stdin, [1] its stdout; -1: none */
};

static void ends_close(int fd[2])
{
    for (int i = 0; i < 2; i++) {
        if (fd[i] >= 0)
            close(fd[i]);
        fd[i] = -1;
    }
}

static int ends_open(struct child_ends *ends, const struct io_child *c)
{
    const struct net_conn *conn[2] = {c->to_stdin, c->from_stdout};
    *ends = (struct child_ends){{-1, -1}, {-1, -1}};
    for (int i = 0; i < 2; i++) {
        int pair[2];
        if (!conn[i])
            continue;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
            int r = -errno;
            ends_close(ends->ours);
            ends_close(ends->theirs);
            return r;
        }
        ends->ours[i] = pair[0];
        ends->theirs[i] = pair[1];
    }
    return 0;
}

static int spawn_prepare(posix_spawn_file_actions_t *fa, posix_spawnattr_t *attr, const struct child_ends *ends)
{
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    const int reset[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < ARRAY_COUNT(reset); i++)
        sigaddset(&defaults, reset[i]);
    int r = 0;
    for (int i = 0; i < 2 && r == 0; i++) {
        if (ends->theirs[i] >= 0)
            r = posix_spawn_file_actions_adddup2(fa, ends->theirs[i], i);
        else
            r = posix_spawn_file_actions_addopen(fa, i, "/dev/null", i == 0 ? O_RDONLY : O_WRONLY, 0);
    }
    r = r ? r : posix_spawnattr_setpgroup(attr, 0);
    r = r ? r : posix_spawnattr_setsigmask(attr, &none);
    r = r ? r : posix_spawnattr_setsigdefault(attr, &defaults);
    r = r ? r : posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return -r;
}

static int spawn_run(const char *const *argv, const struct child_ends *ends, pid_t *out_pid)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    int r = -posix_spawn_file_actions_init(&fa);
    if (r < 0)
        return r;
    r = -posix_spawnattr_init(&attr);
    if (r == 0) {
        r = spawn_prepare(&fa, &attr, ends);
        if (r == 0)
            r = -posix_spawnp(out_pid, argv[0], &fa, &attr, (char *const *)(uintptr_t)argv, environ);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&fa);
    return r;
}

static void child_ready(struct io_poll *p, unsigned events)
{
    struct io_child *c = CONTAINER_OF(p, struct io_child, watch);
    int status = 0;
    pid_t r;
    do {
        r = waitpid(c->pid, &status, WNOHANG);
    } while (r < 0 && errno == EINTR);
    if (r == 0) {
        poll_arm(c->loop, p, p->fd, IO_POLL_IN);
        return;
    }
    close(p->fd);
    c->pid = -1;
    c->exited(c, r < 0 ? 0 : status);
}

int process_spawn(struct loop *loop, struct io_child *c, const char *const *argv, struct err *e)
{
    struct child_ends ends;
    pid_t pid = -1;
    int r = ends_open(&ends, c);
    if (r < 0)
        return err_set_status(e, r, "start '%s'", argv[0]);
    r = spawn_run(argv, &ends, &pid);
    ends_close(ends.theirs);
    int watch = r < 0 ? r : pidfd_open(pid, 0);
    if (r == 0 && watch < 0) {
        r = -errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    if (r < 0) {
        ends_close(ends.ours);
        return err_set_status(e, r, "start '%s'", argv[0]);
    }
    c->pid = pid;
    c->watch = (struct io_poll){.ready = child_ready};
    poll_arm(loop, &c->watch, watch, IO_POLL_IN);
    if (c->to_stdin)
        net_adopt(loop, c->to_stdin, ends.ours[0]);
    if (c->from_stdout)
        net_adopt(loop, c->from_stdout, ends.ours[1]);
    return 0;
}

void process_kill(struct io_child *c, int signal)
{
    if (c->pid > 0)
        kill(-c->pid, signal);
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

#define SIGNAL_MAX 64

struct signal_slot {
    atomic_int fd_plus_1; /* 0: none yet */
    bool watched;
    struct sigaction before;
};
static struct signal_slot slots[SIGNAL_MAX + 1];

static void signal_handler(int signal)
{
    int saved = errno;
    uint64_t one = 1;
    ssize_t n = write(atomic_load(&slots[signal].fd_plus_1) - 1, &one, sizeof one);
    (void)n; /* the counter is full: the loop has been told already */
    errno = saved;
}

static void signal_ready(struct io_poll *p, unsigned events)
{
    struct io_signal *s = CONTAINER_OF(p, struct io_signal, watch);
    uint64_t count;
    ssize_t n = read(s->fd, &count, sizeof count);
    poll_arm(s->loop, p, s->fd, IO_POLL_IN);
    if (n == sizeof count)
        s->received(s, s->signal);
}

int process_signal_watch(struct io_signal *s)
{
    if (s->signal < 1 || s->signal > SIGNAL_MAX)
        return -EINVAL;
    struct signal_slot *slot = &slots[s->signal];
    if (slot->watched)
        return -EBUSY;
    if (atomic_load(&slot->fd_plus_1) == 0) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            return -errno;
        atomic_store(&slot->fd_plus_1, fd + 1);
    }
    s->fd = atomic_load(&slot->fd_plus_1) - 1;
    uint64_t stale;
    ssize_t n = read(s->fd, &stale, sizeof stale);
    (void)n; /* what came after a former watch ended */
    struct sigaction sa = {.sa_handler = signal_handler, .sa_flags = SA_RESTART};
    sigfillset(&sa.sa_mask);
    if (sigaction(s->signal, &sa, &slot->before) < 0)
        return -errno;
    slot->watched = true;
    s->watch.ready = signal_ready;
    poll_arm(s->loop, &s->watch, s->fd, IO_POLL_IN);
    return 0;
}

void process_signal_unwatch(struct io_signal *s)
{
    struct signal_slot *slot = &slots[s->signal];
    sigaction(s->signal, &slot->before, NULL);
    slot->watched = false;
    poll_disarm(&s->watch);
}
