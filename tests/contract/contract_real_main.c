/* The contract suite against a real backend: contract_real {uring|libuv}. Exits 77 (skipped) where it is blocked. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/io/loop_backend.h"
#include "tests/contract/contract_loop.h"

struct real {
    enum loop_kind kind;
    char dir[128];
};

static void real_begin(struct loop_fixture *f)
{
    struct real *r = f->context;
    const char *base = getenv("TMPDIR");
    struct loop_options o = {.kind = r->kind, .ops_max = 64, .recv_buffers = 16}; /* few, so that they run out */
    struct err e = {0};
    snprintf(r->dir, sizeof r->dir, "%.80s/sluice-contract-XXXXXX", base ? base : "/tmp");
    f->dir = mkdtemp(r->dir);
    f->loop = NULL;
    if (!f->dir || loop_create(&o, &f->loop, &e) < 0)
        fprintf(stderr, "cannot begin: %s\n", e.text);
}

struct deadline {
    struct io_timer timer;
    bool reached;
};

static void deadline_fired(struct io_timer *t)
{
    CONTAINER_OF(t, struct deadline, timer)->reached = true;
}

static bool real_run(struct loop_fixture *f, bool (*until)(void *arg), void *arg, int64_t for_ms)
{
    struct deadline d = {.timer.fired = deadline_fired};
    timer_arm(f->loop, &d.timer, mono_add_ms(loop_now(f->loop), for_ms));
    while (!until(arg) && !d.reached) {
        if (loop_core_step(f->loop, true) < 0)
            break;
    }
    timer_disarm(f->loop, &d.timer);
    return until(arg);
}

static void real_end(struct loop_fixture *f)
{
    char command[256];
    loop_destroy(f->loop);
    snprintf(command, sizeof command, "rm -rf '%.128s'", f->dir);
    if (system(command) != 0)
        fprintf(stderr, "cannot remove %s\n", f->dir);
}

static int descriptors_open(void)
{
    int count = 0;
    for (int fd = 0; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

int main(int argc, char **argv)
{
    bool uring = argc == 2 && strcmp(argv[1], "uring") == 0;
    struct real r = {.kind = uring ? LOOP_URING : LOOP_LIBUV};
    struct loop_fixture f = {
        .name = uring ? "contract/loop-uring" : "contract/loop-libuv",
        .real = true,
        .begin = real_begin,
        .run = real_run,
        .end = real_end,
        .context = &r,
    };
    struct loop *probe = NULL;
    struct err e = {0};
    if (loop_create(&(struct loop_options){.kind = r.kind}, &probe, &e) < 0) {
        fprintf(stderr, "skipped: %s\n", e.text);
        return 77;
    }
    loop_destroy(probe);
    int before = descriptors_open();
    int failed = contract_loop_run(&f);
    int leaked = descriptors_open() - before - 1; /* a watched signal keeps its eventfd (loop_process.c) */
    if (failed == 0 && leaked > 0) {
        fprintf(stderr, "%d descriptors were left open\n", leaked);
        return 1;
    }
    return failed;
}
