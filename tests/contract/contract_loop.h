/*
 * The contract suite of common/io/loop.h: one set of cases, run against every backend. The cases see a loop only
 * through loop.h and advance it only through the fixture's `run`, so that the simulator can run them in virtual time.
 *
 * A backend's main makes a fixture and calls contract_loop_run.
 */
#ifndef SLUICE_CONTRACT_LOOP_H
#define SLUICE_CONTRACT_LOOP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/io/loop.h"

struct loop_fixture {
    const char *name;
    bool real; /* threads, children, signals and foreign descriptors exist */
    /* Makes a new loop and a new, empty folder, and sets the two fields below. Called before each case. */
    void (*begin)(struct loop_fixture *f);
    /* Runs the loop until `until(arg)` is true, asked between iterations, or `for_ms` have passed on its clock. Returns
     * whether `until` became true. */
    bool (*run)(struct loop_fixture *f, bool (*until)(void *arg), void *arg, int64_t for_ms);
    /* Destroys the loop unless the case has (then it is NULL), and what else `begin` made. */
    void (*end)(struct loop_fixture *f);
    struct loop *loop;
    const char *dir; /* at most 200 bytes */
    void *context;   /* the fixture's own */
};

/* Runs all cases that the fixture can; returns the number that failed. */
int contract_loop_run(struct loop_fixture *f);

/* ---- for the cases ----------------------------------------------------------------------------------------------- */

/* An op that remembers how often it was completed. */
struct case_op {
    struct io_op op;
    int completions;
    bool inside; /* its submitting call is running: a completion now breaks L2 */
};

#define CASE_LIMIT_MS 20000

/* Runs until `*count` is at least `n`; fails the case otherwise. */
void case_run_until(struct loop_fixture *f, const int *count, int n);
/* Runs for `ms`. */
void case_run_for(struct loop_fixture *f, int64_t ms);
/* Readies `o` for one submission; returns its op. The submission must stand between case_begin and case_end. */
struct io_op *case_begin(struct case_op *o);
/* Runs until `o` is completed, exactly once; returns its result. */
int64_t case_end(struct loop_fixture *f, struct case_op *o);
/* The same in one: the value of the submission `call` with `op` in it. */
#define CASE_RESULT(f, call)                      \
    __extension__({                               \
        struct case_op case_op_ = {0};            \
        struct io_op *op = case_begin(&case_op_); \
        call;                                     \
        case_end(f, &case_op_);                   \
    })
/* dir/name in one of 8 static buffers. */
const char *case_path(struct loop_fixture *f, const char *name);
/* Byte `i` of an endless pattern. */
uint8_t case_byte(uint64_t i);
void case_fill(void *out, size_t len, uint64_t from);
bool case_filled(const void *bytes, size_t len, uint64_t from);

extern const struct CMUnitTest contract_file_cases[], contract_net_cases[], contract_time_cases[],
    contract_thread_cases[];
extern const size_t contract_file_count, contract_net_count, contract_time_count, contract_thread_count;

/* Each case runs between the fixture's begin and end. */
int contract_begin(void **state);
int contract_end(void **state);
#define CONTRACT_CASE(name) cmocka_unit_test_setup_teardown(name, contract_begin, contract_end)

#endif
