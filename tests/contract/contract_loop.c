/* The frame of the contract suite: see contract_loop.h. The cases are in contract_{file,net,time,thread}.c. */
#include "tests/contract/contract_loop.h"

#include <stdio.h>
#include <string.h>

static struct loop_fixture *the_fixture;

int contract_begin(void **state)
{
    the_fixture->begin(the_fixture);
    *state = the_fixture;
    return the_fixture->loop ? 0 : -1;
}

int contract_end(void **state)
{
    the_fixture->end(the_fixture);
    return 0;
}

int contract_loop_run(struct loop_fixture *f)
{
    static struct CMUnitTest all[200];
    size_t n = 0;
    const struct {
        const struct CMUnitTest *cases;
        size_t count;
        bool real;
    } part[] = {
        {contract_file_cases, contract_file_count, false},
        {contract_time_cases, contract_time_count, false},
        {contract_net_cases, contract_net_count, false},
        {contract_thread_cases, contract_thread_count, true},
    };
    for (size_t p = 0; p < ARRAY_COUNT(part); p++) {
        if (part[p].real && !f->real)
            continue;
        memcpy(all + n, part[p].cases, part[p].count * sizeof *all);
        n += part[p].count;
    }
    the_fixture = f;
    return _cmocka_run_group_tests(f->name, all, n, NULL, NULL);
}

struct count_wait {
    const int *count;
    int n;
};

static bool count_reached(void *arg)
{
    const struct count_wait *w = arg;
    return *w->count >= w->n;
}

static bool never(void *arg)
{
    return false;
}

void case_run_until(struct loop_fixture *f, const int *count, int n)
{
    struct count_wait w = {count, n};
    if (!f->run(f, count_reached, &w, CASE_LIMIT_MS))
        fail_msg("waited for %d, got %d", n, *count);
}

void case_run_for(struct loop_fixture *f, int64_t ms)
{
    f->run(f, never, NULL, ms);
}

static void case_op_done(struct io_op *op)
{
    struct case_op *o = CONTAINER_OF(op, struct case_op, op);
    assert_false(o->inside); /* L2 */
    o->completions++;
}

struct io_op *case_begin(struct case_op *o)
{
    o->op.done = case_op_done;
    o->completions = 0;
    o->inside = true;
    return &o->op;
}

int64_t case_end(struct loop_fixture *f, struct case_op *o)
{
    o->inside = false;
    case_run_until(f, &o->completions, 1);
    assert_int_equal(o->completions, 1);
    return o->op.result;
}

const char *case_path(struct loop_fixture *f, const char *name)
{
    static char buf[8][256];
    static unsigned next;
    char *out = buf[next++ % 8];
    snprintf(out, sizeof buf[0], "%.200s/%.50s", f->dir, name);
    return out;
}

uint8_t case_byte(uint64_t i)
{
    return (uint8_t)(i * 31 + i / 251 + i / 65521);
}

void case_fill(void *out, size_t len, uint64_t from)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = case_byte(from + i);
}

bool case_filled(const void *bytes, size_t len, uint64_t from)
{
    for (size_t i = 0; i < len; i++) {
        if (((const uint8_t *)bytes)[i] != case_byte(from + i))
            return false;
    }
    return true;
}
