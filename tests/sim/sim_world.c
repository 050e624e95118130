/*
 * The world: its generator, its time, its loops. What happens is an event in the heap of the loop that it happens to;
 * sim_run takes the loops that have something to do now, steps one of them chosen at random, and when none has, moves
 * time on to the next event or timer of any. The rules: sim.h. One thread.
 */
#include "common/base/hash.h"
#include "tests/sim/sim_internal.h"

/* ---- the generator: xoshiro256** --------------------------------------------------------------------------------- */

static uint64_t rotl(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

uint64_t sim_u64(struct sim_world *w)
{
    uint64_t *s = w->rng, out = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

static void rng_seed(struct sim_world *w, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15ull;
        w->rng[i] = hash_u64(seed) | (i == 0);
    }
}

uint64_t sim_below(struct sim_world *w, uint64_t below)
{
    return (uint64_t)(((__uint128_t)sim_u64(w) * below) >> 64);
}

uint64_t sim_between(struct sim_world *w, uint64_t from, uint64_t to)
{
    return from + sim_below(w, to - from + 1);
}

bool sim_chance(struct sim_world *w, uint32_t per_million)
{
    return per_million && sim_below(w, 1000000) < per_million;
}

void sim_fill(struct sim_world *w, void *out, size_t len)
{
    uint8_t *to = out;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t x = sim_u64(w);
        memcpy(to + i, &x, len - i < 8 ? len - i : 8);
    }
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_set(struct sim_heap *h, uint32_t i, struct sim_event *e)
{
    h->at[i] = e;
    e->heap_index = i;
}

static void heap_fix(struct sim_heap *h, uint32_t i)
{
    struct sim_event *e = h->at[i];
    while (i > 0 && event_before(e, h->at[(i - 1) / 2])) {
        heap_set(h, i, h->at[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (uint32_t child; (child = 2 * i + 1) < h->count; i = child) {
        if (child + 1 < h->count && event_before(h->at[child + 1], h->at[child]))
            child++;
        if (!event_before(h->at[child], e))
            break;
        heap_set(h, i, h->at[child]);
    }
    heap_set(h, i, e);
}

static void heap_remove(struct sim_heap *h, struct sim_event *e)
{
    uint32_t i = e->heap_index;
    CHECK(h->at[i] == e);
    struct sim_event *last = h->at[--h->count];
    if (last != e) {
        heap_set(h, i, last);
        heap_fix(h, i);
    }
}

struct sim_event *sim_event_add(struct sim_loop *l, sim_event_fn *run, int64_t delay_ns)
{
    struct sim_event *e = sim_heap_keep(sizeof *e);
    struct sim_heap *h = &l->events;
    e->loop = l;
    e->run = run;
    e->at_ns = l->world->now_ns + delay_ns;
    e->order = ++l->world->order;
    if (h->count == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 64;
        h->at = sim_heap_keep_again(h->at, h->cap * sizeof(*h->at));
    }
    heap_set(h, h->count++, e);
    heap_fix(h, e->heap_index);
    return e;
}

void sim_event_move(struct sim_event *e, int64_t delay_ns)
{
    e->at_ns = e->loop->world->now_ns + delay_ns;
    heap_fix(&e->loop->events, e->heap_index);
}

void sim_event_drop(struct sim_event *e)
{
    heap_remove(&e->loop->events, e);
    sim_heap_keep_free(e);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static bool loop_ready(struct sim_loop *l)
{
    return (l->events.count && l->events.at[0]->at_ns <= l->world->now_ns) || loop_has_work(&l->loop) ||
           loop_next_timer(&l->loop).ns <= l->world->now_ns;
}

/* When something happens next in any loop but by `wait`'s own clock; INT64_MAX: never. */
static int64_t world_next(struct sim_world *w)
{
    int64_t next = INT64_MAX;
    LIST_FOREACH (it, &w->loops) {
        struct sim_loop *l = CONTAINER_OF(it, struct sim_loop, link);
        int64_t timer = loop_next_timer(&l->loop).ns;
        if (l->events.count && l->events.at[0]->at_ns < next)
            next = l->events.at[0]->at_ns;
        if (timer < next)
            next = timer;
    }
    return next;
}

/* One of the loops that have something to do, but not `but`; NULL if none has. */
static struct sim_loop *world_pick(struct sim_world *w, const struct sim_loop *but)
{
    struct sim_loop *pick = NULL;
    uint32_t ready = 0;
    LIST_FOREACH (it, &w->loops) {
        struct sim_loop *l = CONTAINER_OF(it, struct sim_loop, link);
        if (l != but && loop_ready(l) && sim_below(w, ++ready) == 0)
            pick = l;
    }
    return pick;
}

static void step(struct sim_loop *l)
{
    struct sim_world *w = l->world;
    w->counts.iterations++;
    w->now_ns += (int64_t)sim_between(w, 200, 5 * US); /* an iteration takes time; more completions gather meanwhile */
    sim_enter(w);
    int rc = loop_core_step(&l->loop, false);
    sim_leave(w);
    CHECK(rc == 0);
}

enum sim_end sim_run(struct sim_world *w, bool (*until)(void *arg), void *arg, int64_t for_ms)
{
    return sim_run_ns(w, until, arg, for_ms * NS_PER_MS);
}

enum sim_end sim_run_ns(struct sim_world *w, bool (*until)(void *arg), void *arg, int64_t for_ns)
{
    int64_t deadline = w->now_ns + for_ns;
    for (;;) {
        if (w->cut)
            return SIM_CUT;
        if (until && until(arg))
            return SIM_DONE;
        struct sim_loop *l = w->now_ns < deadline ? world_pick(w, NULL) : NULL;
        if (l) {
            step(l);
            continue;
        }
        if (w->now_ns >= deadline)
            return SIM_DEADLINE;
        int64_t next = world_next(w);
        if (next == INT64_MAX)
            return SIM_IDLE;
        if (next > deadline) {
            w->now_ns = deadline;
            return SIM_DEADLINE;
        }
        w->now_ns = next;
    }
}

int64_t sim_now_ns(const struct sim_world *w)
{
    return w->now_ns;
}

struct wall_ms sim_wall(const struct sim_world *w)
{
    return (struct wall_ms){w->wall_base_ms + w->now_ns / NS_PER_MS};
}

void sim_wall_step(struct sim_world *w, int64_t by_ms)
{
    w->wall_base_ms += by_ms;
}

/* ---- the backend ------------------------------------------------------------------------------------------------- */

/* Only a loop_run of the test's own gets here with time to wait; the other loops run meanwhile. */
static void wait_blocking(struct sim_loop *l, int64_t until)
{
    struct sim_world *w = l->world;
    while (!loop_ready(l) && w->now_ns < until) {
        struct sim_loop *other = world_pick(w, l);
        if (other) {
            step(other);
            continue;
        }
        int64_t next = world_next(w);
        if (next > until)
            next = until;
        CHECK(next != INT64_MAX); /* nothing will ever happen: the test waits for ever */
        w->now_ns = next;
    }
}

static int backend_wait(struct loop *loop, struct mono_ns until)
{
    struct sim_loop *l = sim_loop_of(loop);
    wait_blocking(l, until.ns);
    int64_t now = l->world->now_ns;
    while (l->events.count && l->events.at[0]->at_ns <= now) {
        struct sim_event *e = l->events.at[0];
        heap_remove(&l->events, e);
        e->run(e);
        sim_heap_keep_free(e);
    }
    return 0;
}

static void backend_wake(struct loop *loop)
{
    /* sim_run looks at every mailbox; there is no sleeper. */
}

static struct mono_ns backend_mono(struct loop *loop)
{
    return (struct mono_ns){sim_loop_of(loop)->world->now_ns};
}

static struct wall_ms backend_wall(struct loop *loop)
{
    return sim_wall(sim_loop_of(loop)->world);
}

static void backend_random(struct loop *loop, void *out, size_t len)
{
    sim_fill(sim_loop_of(loop)->world, out, len);
}

static void backend_submit(struct loop *loop, struct io_op *op)
{
    if (sim_loop_of(loop)->world->cut)
        return; /* the power is off; sim_crash follows */
    sim_disk_submit(loop, op);
}

static void backend_cancel(struct loop *loop, struct io_op *op)
{
    if (sim_loop_of(loop)->world->cut)
        return;
    if (op->kind == IO_KIND_SEND || op->kind == IO_KIND_CONNECT)
        sim_net_cancel(loop, op);
    else
        sim_disk_cancel(loop, op);
}

static void job_done(struct sim_event *e)
{
    loop_job_finish(e->job);
}

static void job_work(struct sim_event *e)
{
    e->job->work(e->job);
    struct sim_event *done = sim_event_add(e->loop, job_done, (int64_t)sim_between(e->loop->world, US, 200 * US));
    done->job = e->job;
}

static void backend_job(struct loop *loop, struct io_job *j)
{
    struct sim_loop *l = sim_loop_of(loop);
    int64_t most = sim_chance(l->world, 100000) ? 20000 * US : 500 * US;
    sim_event_add(l, job_work, (int64_t)sim_between(l->world, 5 * US, (uint64_t)most))->job = j;
}

static int backend_poll_arm(struct io_poll *p)
{
    return -ENOSYS;
}

static void backend_poll_disarm(struct io_poll *p)
{
}

static int backend_spawn(struct loop *loop, struct io_child *c, const char *const *argv, struct err *e)
{
    return err_set(e, -ENOSYS, "the simulator has no child processes");
}

static void backend_child_kill(struct io_child *c, int signal)
{
}

static int backend_signal_watch(struct io_signal *s)
{
    return -ENOSYS;
}

static void backend_signal_unwatch(struct io_signal *s)
{
}

static void backend_destroy(struct loop *loop)
{
    struct sim_loop *l = sim_loop_of(loop);
    CHECK(l->events.count == 0);
    list_remove(&l->link);
    sim_heap_keep_free(l->events.at);
    sim_heap_keep_free(l);
}

static const struct loop_backend sim_backend = {
    .name = "sim",
    .destroy = backend_destroy,
    .submit = backend_submit,
    .cancel = backend_cancel,
    .wait = backend_wait,
    .wake = backend_wake,
    .mono = backend_mono,
    .wall = backend_wall,
    .random = backend_random,
    .listen = sim_net_listen,
    .listener_close = sim_net_listener_close,
    .adopt = sim_net_adopt,
    .refuse = sim_net_refuse,
    .connect = sim_net_connect,
    .send = sim_net_send,
    .recv_start = sim_net_recv_start,
    .recv_stop = sim_net_recv_stop,
    .shutdown = sim_net_shutdown,
    .close = sim_net_close,
    .job = backend_job,
    .poll_arm = backend_poll_arm,
    .poll_disarm = backend_poll_disarm,
    .spawn = backend_spawn,
    .child_kill = backend_child_kill,
    .signal_watch = backend_signal_watch,
    .signal_unwatch = backend_signal_unwatch,
};

struct loop *sim_loop_create(struct sim_world *w)
{
    struct sim_loop *l = sim_heap_keep(sizeof *l);
    l->world = w;
    loop_core_init(&l->loop, &sim_backend);
    list_push_back(&w->loops, &l->link);
    return &l->loop;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

struct sim_world *sim_create(const struct sim_options *options)
{
    struct sim_world *w = sim_heap_keep(sizeof *w);
    w->options = *options;
    rng_seed(w, options->seed);
    w->now_ns = (int64_t)sim_between(w, 1, 1000) * NS_PER_S;
    w->wall_base_ms = 1767225600000 + (int64_t)sim_below(w, 86400000); /* 2026 */
    list_init(&w->loops);
    list_init(&w->sockets);
    list_init(&w->ports);
    store_init(&w->store, w, options->disk_bytes ? options->disk_bytes : 1ull << 40, &w->counts);
    return w;
}

/* Ends every loop without a word to its users. */
static void loops_drop(struct sim_world *w)
{
    while (!list_empty(&w->loops)) {
        struct sim_loop *l = CONTAINER_OF(w->loops.next, struct sim_loop, link);
        for (uint32_t i = 0; i < l->events.count; i++) {
            if (sim_event_is_disk(l->events.at[i]))
                sim_disk_abandon(l->events.at[i]);
            sim_heap_keep_free(l->events.at[i]);
        }
        list_remove(&l->link);
        sim_heap_keep_free(l->events.at);
        sim_heap_keep_free(l);
    }
    sim_net_drop_all(w);
    sim_disk_close_all(w);
    sim_heap_drop();
    w->fail = SIM_FAULT_NONE;
    w->cut_in = 0;
    w->cut = false;
}

void sim_crash(struct sim_world *w)
{
    loops_drop(w);
    store_crash(&w->store);
    w->counts.crashes++;
    /* The machine starts again: its monotonic clock, too. */
    int64_t wall = sim_wall(w).ms + (int64_t)sim_between(w, 1, 10000);
    w->now_ns = (int64_t)sim_between(w, 1, 1000) * NS_PER_S;
    w->wall_base_ms = wall - w->now_ns / NS_PER_MS;
}

void sim_kill(struct sim_world *w)
{
    loops_drop(w);
    w->now_ns += (int64_t)sim_between(w, 1, 1000) * NS_PER_MS;
}

void sim_destroy(struct sim_world *w)
{
    if (!w)
        return;
    loops_drop(w);
    store_deinit(&w->store);
    sim_heap_keep_free(w->files);
    sim_heap_keep_free(w);
}

void sim_set_faults(struct sim_world *w, const struct sim_faults *faults)
{
    w->options.faults = *faults;
}

const struct sim_counts *sim_counts(const struct sim_world *w)
{
    return &w->counts;
}

void sim_trace(struct sim_world *w, bool on)
{
    w->trace = on;
}
