/* The count, the decision and the sweep; see alloc_fail.h. */
#include "tests/lib/alloc_fail.h"

#include <stdio.h>
#include <stdlib.h>

#define MANY            50     /* not all: what is tried again until there is memory must end */
#define ALLOCATIONS_MAX 100000 /* a scenario that asks for more never ends */

static uint64_t fail_from;
static uint64_t fail_count;
static _Thread_local bool begun;
static _Thread_local uint64_t count;

void alloc_fail_begin(void)
{
    begun = true;
}

bool alloc_fail_end(void)
{
    begun = false;
    return count >= fail_from;
}

bool alloc_fail_now(void)
{
    if (!begun)
        return false;
    count++;
    return count >= fail_from && count < fail_from + fail_count;
}

uint64_t alloc_sweep(void (*scenario)(void *ctx), void *ctx)
{
    uint64_t needs = 0;
    for (int way = 0; way < 2; way++) {
        fail_count = way ? MANY : 1;
        for (fail_from = 1;; fail_from++) {
            count = 0;
            scenario(ctx);
            if (count < fail_from)
                break;
            if (fail_from == ALLOCATIONS_MAX) {
                fprintf(stderr, "a scenario of %d allocations\n", ALLOCATIONS_MAX);
                abort();
            }
        }
        needs = count;
    }
    return needs;
}
