/* Chooses the backend. Owns nothing. Thread: the creating one. */
#include "common/io/loop_backend.h"

/* io_uring is blocked (Docker's seccomp profile, a sysctl, SELinux) or not there (an old kernel). */
static bool uring_is_blocked(int r)
{
    return r == -EPERM || r == -ENOSYS || r == -EACCES;
}

int loop_create(const struct loop_options *options, struct loop **out, struct err *e)
{
    if (options->kind == LOOP_LIBUV)
        return loop_libuv_create(options, out, e);
    int r = loop_uring_create(options, out, e);
    if (options->kind == LOOP_URING || !uring_is_blocked(r))
        return r;
    int blocked = -r;
    r = loop_libuv_create(options, out, e);
    if (r == 0)
        (*out)->fallback_errno = blocked;
    return r;
}
