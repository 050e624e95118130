/* The contract of timers, deferred functions, messages, jobs, clocks and randomness. */
#include <stdlib.h>
#include <string.h>

#include "tests/contract/contract_loop.h"

/* ---- timers ------------------------------------------------------------------------------------------------------ */

struct fired {
    struct io_timer timer;
    struct loop *loop;
    int *count, *order; /* all timers of a case share them */
    int number;
    int64_t when, period_ns;
    int left;
    struct io_timer *disarms;
};

static void timer_fired(struct io_timer *t)
{
    struct fired *x = CONTAINER_OF(t, struct fired, timer);
    assert_false(timer_armed(t));
    assert_true(loop_now(x->loop).ns >= x->when);
    if (x->order)
        x->order[*x->count] = x->number;
    (*x->count)++;
    if (x->disarms)
        timer_disarm(x->loop, x->disarms);
    if (x->left-- > 0) {
        x->when = loop_now(x->loop).ns + x->period_ns;
        timer_arm(x->loop, t, (struct mono_ns){x->when});
    }
}

static void fired_arm(struct fired *x, int64_t when)
{
    x->timer.fired = timer_fired;
    x->when = when;
    timer_arm(x->loop, &x->timer, (struct mono_ns){when});
    assert_true(timer_armed(&x->timer));
}

static void timers_fire_in_order_of_time_then_of_arming(void **state)
{
    struct loop_fixture *f = *state;
    const int64_t ms[] = {5, 1, 3, 3, 1, 4, 2, 5, 3};
    const int expected[] = {1, 4, 6, 2, 3, 8, 5, 0, 7};
    enum { N = ARRAY_COUNT(ms) };
    struct fired x[N] = {0};
    int count = 0, order[N];
    int64_t now = loop_now(f->loop).ns;
    for (int i = 0; i < N; i++) {
        x[i] = (struct fired){.loop = f->loop, .count = &count, .order = order, .number = i};
        fired_arm(&x[i], now + ms[i] * NS_PER_MS);
    }
    case_run_until(f, &count, N);
    assert_memory_equal(order, expected, sizeof expected);
}

static void thousands_of_timers_fire_in_order(void **state)
{
    struct loop_fixture *f = *state;
    enum { N = 5000 };
    static struct fired x[N];
    static int order[N];
    memset(x, 0, sizeof x);
    int count = 0, armed = 0;
    uint32_t r = 1;
    int64_t now = loop_now(f->loop).ns;
    for (int i = 0; i < N; i++) {
        r = r * 1103515245u + 12345u;
        x[i] = (struct fired){.loop = f->loop, .count = &count, .order = order, .number = i};
        fired_arm(&x[i], now + (int64_t)(r >> 16) * 1000); /* up to 65 ms */
    }
    for (int i = 0; i < N; i++) {
        if (i % 3 == 0)
            timer_disarm(f->loop, &x[i].timer);
        else if (i % 3 == 1)
            fired_arm(&x[i], x[i].when + 1);
        armed += i % 3 != 0;
    }
    case_run_until(f, &count, armed);
    case_run_for(f, 5);
    assert_int_equal(count, armed);
    for (int i = 1; i < armed; i++)
        assert_true(x[order[i - 1]].when <= x[order[i]].when);
}

static void arming_an_armed_timer_moves_it(void **state)
{
    struct loop_fixture *f = *state;
    int count = 0, order[2];
    struct fired a = {.loop = f->loop, .count = &count, .order = order, .number = 0};
    struct fired b = {.loop = f->loop, .count = &count, .order = order, .number = 1};
    int64_t now = loop_now(f->loop).ns;
    fired_arm(&a, now + 1 * NS_PER_MS);
    fired_arm(&b, now + 3 * NS_PER_MS);
    fired_arm(&a, now + 5 * NS_PER_MS);
    case_run_until(f, &count, 2);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 0);
    case_run_for(f, 10);
    assert_int_equal(count, 2);
}

static void a_disarmed_timer_does_not_fire(void **state)
{
    struct loop_fixture *f = *state;
    int count = 0;
    struct fired a = {.loop = f->loop, .count = &count}, b = {.loop = f->loop, .count = &count, .timer = {0}};
    int64_t now = loop_now(f->loop).ns;
    fired_arm(&a, now + 1 * NS_PER_MS);
    timer_disarm(f->loop, &a.timer);
    assert_false(timer_armed(&a.timer));
    timer_disarm(f->loop, &a.timer);
    case_run_for(f, 5);
    assert_int_equal(count, 0);
    /* Also when both are due at once and the first disarms the second. */
    now = loop_now(f->loop).ns;
    a.disarms = &b.timer;
    fired_arm(&a, now - 2);
    fired_arm(&b, now - 1);
    case_run_for(f, 5);
    assert_int_equal(count, 1);
}

static void a_timer_that_is_always_due_starves_nothing(void **state)
{
    struct loop_fixture *f = *state;
    int always = 0, later = 0;
    struct case_op o = {0};
    struct fired a = {.loop = f->loop, .count = &always, .left = 1000000, .period_ns = -NS_PER_S};
    struct fired b = {.loop = f->loop, .count = &later};
    fired_arm(&a, loop_now(f->loop).ns - NS_PER_S);
    fired_arm(&b, loop_now(f->loop).ns + 2 * NS_PER_MS);
    case_run_until(f, &later, 1);
    io_mkdir(f->loop, case_begin(&o), case_path(f, "d"));
    assert_int_equal(case_end(f, &o), 0);
    assert_true(always > 1);
    timer_disarm(f->loop, &a.timer);
}

static void a_timer_that_rearms_itself_keeps_its_pace(void **state)
{
    struct loop_fixture *f = *state;
    int count = 0;
    struct fired a = {.loop = f->loop, .count = &count, .left = 9, .period_ns = NS_PER_MS};
    int64_t start = loop_now(f->loop).ns;
    fired_arm(&a, start + NS_PER_MS);
    case_run_until(f, &count, 10);
    assert_true(loop_now(f->loop).ns - start >= 10 * NS_PER_MS);
}

/* ---- deferred functions ------------------------------------------------------------------------------------------ */

struct journal {
    char text[64];
    int len;
};

static void journal_add(struct journal *j, char c)
{
    assert_true(j->len < (int)sizeof j->text - 1);
    j->text[j->len++] = c;
}

struct deferred {
    struct io_defer defer;
    struct loop *loop;
    struct journal *journal;
    char letter;
    struct deferred *defers, *cancels;
    int times;
};

static void deferred_run(struct io_defer *d)
{
    struct deferred *x = CONTAINER_OF(d, struct deferred, defer);
    journal_add(x->journal, x->letter);
    x->times++;
    if (x->cancels)
        loop_defer_cancel(&x->cancels->defer);
    if (x->defers && x->times == 1)
        loop_defer(x->loop, &x->defers->defer);
}

struct message {
    struct io_msg msg;
    struct journal *journal;
    char letter;
    struct deferred *defers;
};

static void message_deliver(struct io_msg *m)
{
    struct message *x = CONTAINER_OF(m, struct message, msg);
    journal_add(x->journal, x->letter);
    loop_defer(x->defers->loop, &x->defers->defer);
}

static void a_deferred_function_runs_once_after_all_that_was_ready(void **state)
{
    struct loop_fixture *f = *state;
    struct journal j = {0};
    struct deferred d = {.defer.run = deferred_run, .loop = f->loop, .journal = &j, .letter = 'D'};
    struct message m[5];
    for (int i = 0; i < 5; i++) {
        m[i] = (struct message){{message_deliver, NULL}, &j, (char)('a' + i), &d};
        loop_post(f->loop, &m[i].msg);
    }
    case_run_until(f, &j.len, 6);
    case_run_for(f, 2);
    assert_string_equal(j.text, "abcdeD");
}

static void deferring_while_deferred_functions_run_waits_for_the_next_iteration(void **state)
{
    struct loop_fixture *f = *state;
    struct journal j = {0};
    struct deferred c = {.defer.run = deferred_run, .loop = f->loop, .journal = &j, .letter = 'C'};
    struct deferred b = {.defer.run = deferred_run, .loop = f->loop, .journal = &j, .letter = 'B', .cancels = &c};
    struct deferred a = {.defer.run = deferred_run, .loop = f->loop, .journal = &j, .letter = 'A', .defers = &a};
    loop_defer(f->loop, &a.defer);
    loop_defer(f->loop, &b.defer);
    loop_defer(f->loop, &a.defer);
    loop_defer(f->loop, &c.defer);
    case_run_until(f, &j.len, 3);
    case_run_for(f, 2);
    assert_string_equal(j.text, "ABA");
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

struct worked {
    struct io_job job;
    int *count;
    uint64_t in, out;
    int stage;
};

static void worked_work(struct io_job *j)
{
    struct worked *w = CONTAINER_OF(j, struct worked, job);
    w->stage = w->stage == 0 ? 1 : -1;
    w->out = w->in * w->in;
}

static void worked_done(struct io_job *j)
{
    struct worked *w = CONTAINER_OF(j, struct worked, job);
    w->stage = w->stage == 1 ? 2 : -1;
    (*w->count)++;
}

static void jobs_work_and_come_back(void **state)
{
    struct loop_fixture *f = *state;
    enum { N = 300 };
    static struct worked w[N];
    int count = 0;
    for (int i = 0; i < N; i++) {
        w[i] = (struct worked){.job = {.work = worked_work, .done = worked_done}, .count = &count, .in = (uint64_t)i};
        job_submit(f->loop, &w[i].job);
    }
    assert_int_equal(count, 0);
    case_run_until(f, &count, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(w[i].stage, 2);
        assert_int_equal(w[i].out, i * i);
    }
}

static void destroying_the_loop_finishes_its_jobs(void **state)
{
    struct loop_fixture *f = *state;
    enum { N = 50 };
    static struct worked w[N];
    int count = 0;
    for (int i = 0; i < N; i++) {
        w[i] = (struct worked){.job = {.work = worked_work, .done = worked_done}, .count = &count};
        job_submit(f->loop, &w[i].job);
    }
    loop_destroy(f->loop);
    f->loop = NULL;
    assert_int_equal(count, N);
}

/* ---- clocks and randomness --------------------------------------------------------------------------------------- */

struct clocks {
    struct io_timer timer;
    struct loop *loop;
    int64_t last;
    int64_t wall;
    int count;
};

static void clocks_look(struct io_timer *t)
{
    struct clocks *c = CONTAINER_OF(t, struct clocks, timer);
    struct mono_ns now = loop_now(c->loop);
    assert_true(now.ns >= c->last);
    assert_int_equal(loop_now(c->loop).ns, now.ns); /* one value an iteration */
    assert_true(loop_now_precise(c->loop).ns >= now.ns);
    c->last = now.ns;
    assert_true(loop_wall(c->loop).ms >= c->wall);
    c->wall = loop_wall(c->loop).ms;
    c->count++;
    timer_arm(c->loop, t, (struct mono_ns){now.ns + 100000});
}

static void the_clocks_move_on(void **state)
{
    struct loop_fixture *f = *state;
    struct clocks c = {.timer.fired = clocks_look, .loop = f->loop, .last = loop_now(f->loop).ns};
    int64_t mono = c.last, wall = loop_wall(f->loop).ms;
    c.wall = wall;
    timer_arm(f->loop, &c.timer, (struct mono_ns){c.last});
    case_run_until(f, &c.count, 50);
    timer_disarm(f->loop, &c.timer);
    assert_true(c.last - mono >= 49 * 100000);
    assert_true(c.wall - wall >= 4);
    assert_true(wall > 1577836800000ll); /* 2020 */
}

static void random_bytes_differ(void **state)
{
    struct loop_fixture *f = *state;
    uint8_t a[1000] = {0}, b[1000] = {0};
    unsigned ones = 0;
    loop_random(f->loop, a, sizeof a);
    loop_random(f->loop, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    for (size_t i = 0; i < sizeof a; i++)
        ones += (unsigned)__builtin_popcount(a[i]);
    assert_in_range(ones, 3600, 4400); /* 8,000 fair bits: 9 standard deviations */
}

const struct CMUnitTest contract_time_cases[] = {
    CONTRACT_CASE(timers_fire_in_order_of_time_then_of_arming),
    CONTRACT_CASE(thousands_of_timers_fire_in_order),
    CONTRACT_CASE(arming_an_armed_timer_moves_it),
    CONTRACT_CASE(a_disarmed_timer_does_not_fire),
    CONTRACT_CASE(a_timer_that_is_always_due_starves_nothing),
    CONTRACT_CASE(a_timer_that_rearms_itself_keeps_its_pace),
    CONTRACT_CASE(a_deferred_function_runs_once_after_all_that_was_ready),
    CONTRACT_CASE(deferring_while_deferred_functions_run_waits_for_the_next_iteration),
    CONTRACT_CASE(jobs_work_and_come_back),
    CONTRACT_CASE(destroying_the_loop_finishes_its_jobs),
    CONTRACT_CASE(the_clocks_move_on),
    CONTRACT_CASE(random_bytes_differ),
};
const size_t contract_time_count = ARRAY_COUNT(contract_time_cases);
