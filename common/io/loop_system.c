/*
 * What the two real backends share: clocks and randomness, file operations by blocking system calls on a worker,
 * sockets. The only file (with loop_process.c) that asks the kernel for time or random bytes.
 *
 * Failure modes: every function returns -errno as the system call gave it; randomness cannot fail once the kernel has
 * booted, so its failure is a bug.
 * Thread: as said in loop_system.h.
 */
#include "common/io/loop_system.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/io/worker_pool.h"

/* ---- clocks and randomness --------------------------------------------------------------------------------------- */

struct mono_ns system_mono(struct loop *loop)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (struct mono_ns){ts.tv_sec * NS_PER_S + ts.tv_nsec};
}

struct wall_ms loop_wall_process(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (struct wall_ms){ts.tv_sec * 1000ll + ts.tv_nsec / NS_PER_MS};
}

struct wall_ms system_wall(struct loop *loop)
{
    return loop_wall_process();
}

void system_random(struct loop *loop, void *out, size_t len)
{
    uint8_t *at = out;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        CHECK(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

/* ---- blocking file operations ------------------------------------------------------------------------------------ */

int open_flags_system(unsigned flags)
{
    int f = O_CLOEXEC;
    if ((flags & IO_READ) && (flags & IO_WRITE))
        f |= O_RDWR;
    else
        f |= flags & IO_WRITE ? O_WRONLY : O_RDONLY;
    f |= flags & IO_CREATE ? O_CREAT : 0;
    f |= flags & IO_EXCL ? O_EXCL : 0;
    f |= flags & IO_TRUNC ? O_TRUNC : 0;
    f |= flags & IO_DIRECT ? O_DIRECT : 0;
    return f;
}

unsigned open_mode_system(unsigned flags)
{
    return flags & IO_PUBLIC ? 0644 : 0600;
}

static int64_t checked(int64_t r)
{
    return r < 0 ? -errno : r;
}

static int64_t file_size(int fd)
{
    struct stat st;
    return fstat(fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

static int64_t rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    if (link(from, to) < 0)
        return -errno;
    return checked(unlink(from));
}

static int64_t dir_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int64_t r = checked(fsync(fd));
    close(fd);
    return r;
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_add(struct io_names *names, uint32_t *cap, const char *name)
{
    if (names->count == *cap) {
        uint32_t bigger = *cap ? *cap * 2 : 64;
        char **grown = realloc(names->name, bigger * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        names->name = grown;
        *cap = bigger;
    }
    char *copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    names->name[names->count++] = copy;
    return 0;
}

static int64_t dir_list(const char *path, struct io_names *out)
{
    DIR *dir = opendir(path);
    if (!dir)
        return -errno;
    struct io_names names = {0};
    uint32_t cap = 0;
    int r = 0;
    struct dirent *entry;
    while (r == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = names_add(&names, &cap, entry->d_name);
    }
    if (r == 0)
        r = -errno;
    closedir(dir);
    if (r < 0) {
        io_names_free(&names);
        return r;
    }
    if (names.count)
        qsort(names.name, names.count, sizeof *names.name, name_compare);
    *out = names;
    return names.count;
}

static int64_t disk_free(const char *path, uint64_t *out_total)
{
    struct statvfs v;
    if (statvfs(path, &v) < 0)
        return -errno;
    *out_total = (uint64_t)v.f_blocks * v.f_frsize;
    return (int64_t)((uint64_t)v.f_bavail * v.f_frsize);
}

int64_t file_op_execute(struct io_op *op)
{
    off_t at = (off_t)(op->offset + op->moved);
    switch (op->kind) {
    case IO_KIND_OPEN:
        return checked(open(op->path, open_flags_system(op->open_flags), open_mode_system(op->open_flags)));
    case IO_KIND_CLOSE:
        return checked(close(op->fd));
    case IO_KIND_READ:
        return checked(preadv(op->fd, op->iov, (int)op->iov_count, at));
    case IO_KIND_WRITE:
        return checked(pwritev(op->fd, op->iov, (int)op->iov_count, at));
    case IO_KIND_DATASYNC:
        return checked(fdatasync(op->fd));
    case IO_KIND_ALLOCATE:
        return checked(fallocate(op->fd, 0, (off_t)op->offset, (off_t)op->length));
    case IO_KIND_TRUNCATE:
        return checked(ftruncate(op->fd, (off_t)op->length));
    case IO_KIND_SIZE:
        return file_size(op->fd);
    case IO_KIND_RENAME:
        return checked(rename(op->path, op->path2));
    case IO_KIND_RENAME_NEW:
        return rename_new(op->path, op->path2);
    case IO_KIND_UNLINK:
        return checked(unlink(op->path));
    case IO_KIND_MKDIR:
        return checked(mkdir(op->path, 0700));
    case IO_KIND_RMDIR:
        return checked(rmdir(op->path));
    case IO_KIND_SYNC_DIR:
        return dir_sync(op->path);
    case IO_KIND_LIST:
        return dir_list(op->path, op->names);
    case IO_KIND_DISK_FREE:
        return disk_free(op->path, (uint64_t *)(void *)op->names);
    default:
        check_failed("a file operation", __FILE__, __LINE__);
    }
}

/* ---- on a worker ------------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct io_job) <= sizeof(((struct io_op *)0)->backend), "an op on a worker holds its job");

static struct io_op *job_op(struct io_job *j)
{
    return CONTAINER_OF((void *)j, struct io_op, backend);
}

static void file_job_work(struct io_job *j)
{
    job_op(j)->result = file_op_execute(job_op(j));
}

static void file_job_deliver(struct io_msg *m)
{
    struct io_op *op = job_op(CONTAINER_OF(m, struct io_job, msg));
    op->on_worker = false;
    loop_op_finish(op->loop, op, op->result);
}

void file_op_on_worker(struct loop *loop, struct io_op *op)
{
    struct io_job *j = (struct io_job *)(void *)op->backend;
    *j = (struct io_job){.work = file_job_work, .loop = loop, .msg = {.deliver = file_job_deliver}};
    op->on_worker = true;
    worker_pool_submit(WORKER_FILES, j);
}

static void job_deliver(struct io_msg *m)
{
    loop_job_finish(CONTAINER_OF(m, struct io_job, msg));
}

void system_job(struct loop *loop, struct io_job *j)
{
    j->msg.deliver = job_deliver;
    worker_pool_submit(WORKER_JOBS, j);
}

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

int socket_address(const struct net_address *at, struct sockaddr_storage *out, socklen_t *out_len)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(at->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(at->port)};
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, at->text, &v4.sin_addr) == 1) {
        memcpy(out, &v4, sizeof v4);
        *out_len = sizeof v4;
        return 0;
    }
    if (inet_pton(AF_INET6, at->text, &v6.sin6_addr) == 1) {
        memcpy(out, &v6, sizeof v6);
        *out_len = sizeof v6;
        return 0;
    }
    return -EINVAL;
}

int socket_create(const struct sockaddr_storage *to, int type_flags)
{
    int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0);
    if (fd < 0)
        return -errno;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    return fd;
}

static int port_share(int fd)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0 ? -errno : 0;
}

/* SO_REUSEPORT makes sharing silent: any process of the same user could take half of our connections, or we of its. So
 * the port's first listener binds and listens without it, which fails if anybody listens there, and allows it only
 * afterwards, to those who ask for a shared port. (Between bind and listen would be too early: two that start at the
 * same time may both have bound, thanks to SO_REUSEADDR; then listen decides.) */
static int socket_bind(int fd, const struct sockaddr_storage *at, socklen_t len, bool shared)
{
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return -errno;
    int r = shared ? port_share(fd) : 0;
    if (r < 0)
        return r;
    if (bind(fd, (const struct sockaddr *)at, len) < 0 || listen(fd, SOMAXCONN) < 0)
        return -errno;
    return shared ? 0 : port_share(fd);
}

int socket_listen(const struct net_address *at, int type_flags, struct err *e)
{
    struct sockaddr_storage sa;
    socklen_t len;
    int r = socket_address(at, &sa, &len);
    if (r < 0)
        return err_set(e, r, "it is not a numeric address");
    int fd = socket_create(&sa, type_flags);
    if (fd < 0)
        return err_set_status(e, fd, "socket");
    r = socket_bind(fd, &sa, len, at->shared);
    if (r < 0) {
        close(fd);
        return err_set_status(e, r, "bind");
    }
    return fd;
}

static int address_format(const struct sockaddr_storage *sa, struct net_address *out)
{
    memset(out, 0, sizeof *out);
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)sa;
        inet_ntop(AF_INET, &v4->sin_addr, out->text, sizeof out->text);
        out->port = ntohs(v4->sin_port);
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sa;
        inet_ntop(AF_INET6, &v6->sin6_addr, out->text, sizeof out->text);
        out->port = ntohs(v6->sin6_port);
    }
    return out->port;
}

int socket_port(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    struct net_address a;
    return getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ? -errno : address_format(&sa, &a);
}

void socket_peer(int fd, struct net_address *out)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    if (getpeername(fd, (struct sockaddr *)&sa, &len) < 0)
        memset(out, 0, sizeof *out); /* it is gone already; the first receive will tell */
    else
        address_format(&sa, out);
}
