/* Chooses the backend. Owns nothing. Thread: the creating one. */
#include "common/io/loop_backend.h"

int loop_create(const struct loop_options *options, struct loop **out, struct err *e)
{
    if (options->kind == LOOP_LIBUV)
        return err_set_status(e, -ENOSYS, "libuv");
    return loop_uring_create(options, out, e);
}
