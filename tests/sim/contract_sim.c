/* The contract suite of common/io/loop.h on the simulator: every case, under several seeds. */
#include "tests/contract/contract_loop.h"

#include "tests/sim/sim.h"

static uint64_t seed;

static void sim_begin(struct loop_fixture *f)
{
    struct sim_world *w = sim_create(&(struct sim_options){.seed = ++seed, .faults = {.short_io = 50000}});
    sim_disk_mkdirs(w, "/case");
    f->context = w;
    f->dir = "/case";
    f->loop = sim_loop_create(w);
}

static bool sim_fixture_run(struct loop_fixture *f, bool (*until)(void *arg), void *arg, int64_t for_ms)
{
    return sim_run(f->context, until, arg, for_ms) == SIM_DONE;
}

static void sim_end(struct loop_fixture *f)
{
    loop_destroy(f->loop);
    f->loop = NULL;
    sim_destroy(f->context);
}

int main(void)
{
    int failed = 0;
    for (int round = 0; round < 5 && !failed; round++) {
        struct loop_fixture f = {
            .name = "contract/loop-sim", .begin = sim_begin, .run = sim_fixture_run, .end = sim_end};
        seed = 1000u * (unsigned)round;
        failed = contract_loop_run(&f);
    }
    return failed;
}
