/*
 * Fail-the-nth-allocation. A sweep runs a scenario for k = 1, 2, ... with the k-th allocation of the code under test
 * failing, until it asks for fewer than k; then all of that again with the k-th and 49 more failing. A scenario
 * prepares, calls alloc_fail_begin, runs the code under test, calls alloc_fail_end, and checks: success or a clean error,
 * and that the object can still be used or closed. Leaks are ASan's to find.
 *
 * Where allocations are seen: programs that link alloc_fail_dep have malloc and its family wrapped by the linker
 * (alloc_fail_wrap.c); those on the simulator have the simulator's heap ask here for what is allocated inside of the code
 * under test (sim_heap.c). Libraries' own allocations are theirs. Only the thread that has begun is hit.
 */
#ifndef SLUICE_TESTS_ALLOC_FAIL_H
#define SLUICE_TESTS_ALLOC_FAIL_H

#include <stdbool.h>
#include <stdint.h>

/* Returns the number of allocations that a run without failures makes. */
uint64_t alloc_sweep(void (*scenario)(void *ctx), void *ctx);
/* The sweep's failures begin, and end. Returns whether an allocation has failed. */
void alloc_fail_begin(void);
bool alloc_fail_end(void);
/* For what allocates: counts one; true: it is to fail. */
bool alloc_fail_now(void);

#endif
