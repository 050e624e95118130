/*
 * sim_delivery --seed N [--seeds COUNT] [--steps] [--verbose] [--trace]: deliveries to a folder of the simulated disk,
 * with the power failing, or the process dying, at any operation. Each record of the source must end up in exactly one
 * object, and never in two on the way; what the delivery says is delivered must be so for good.
 *
 * A seed draws parts, records, sizes and faults; a life ends by a cut at a random operation, a crash, a kill or a stop.
 * --steps: one fixed small scenario instead, cut at its 1st, 2nd, ... last operation, N drawing the rest.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firehose/delivery.h"
#include "tests/sim/memory_source.h"

#define PATIENCE_MS 3600000

struct arguments {
    uint64_t seed, seeds;
    bool steps, verbose, trace;
};

struct scene {
    struct sim_world *w;
    struct memory_source source;
    struct delivery_settings settings;
    struct piece_pool pieces;
    struct loop *loop;
    struct delivery *delivery;
    bool faults, stopped, opened, verbose;
    int open_status;
    uint64_t appends, objects;
    uint8_t *seen[MEMORY_PARTS_MAX]; /* by counter: times delivered */
    char trouble[500];
};

static bool scene_fail(struct scene *s, const char *fmt, ...) printf_like(2);
static bool scene_fail(struct scene *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (!s->trouble[0])
        vsnprintf(s->trouble, sizeof s->trouble, fmt, args);
    va_end(args);
    return false;
}

static bool scene_ok(struct scene *s)
{
    if (s->source.trouble[0] && !s->trouble[0])
        scene_fail(s, "%s", s->source.trouble);
    return !s->trouble[0];
}

/* ---- what lies in the folder ------------------------------------------------------------------------------------- */

static bool hidden(const char *path)
{
    const char *name = strrchr(path, '/');
    return name && name[1] == '.';
}

static void object_line(struct scene *s, const char *path, struct slice line, uint64_t last[MEMORY_PARTS_MAX])
{
    uint32_t part;
    uint64_t counter;
    if (!memory_source_parse(&s->source, line, &part, &counter)) {
        scene_fail(s, "%s holds a line that is no record: '%.*s'", path, line.len < 60 ? (int)line.len : 60,
                   (const char *)line.ptr);
        return;
    }
    if (s->seen[part][counter]++)
        scene_fail(s, "record %" PRIu64 " of part %" PRIu64 " is delivered twice, again in %s", counter,
                   s->source.part[part].uid, path);
    if (last[part] != UINT64_MAX && counter <= last[part])
        scene_fail(s, "record %" PRIu64 " stands behind %" PRIu64 " in %s", counter, last[part], path);
    last[part] = counter;
}

static void object_check(void *arg, const char *path, uint64_t size)
{
    struct scene *s = arg;
    uint64_t last[MEMORY_PARTS_MAX];
    memset(last, 0xff, sizeof last);
    if (hidden(path) || !scene_ok(s))
        return;
    s->objects++;
    uint8_t *bytes = sim_heap_keep(size + 1);
    if (sim_disk_peek(s->w, path, 0, bytes, size) != (int64_t)size || size == 0 || bytes[size - 1] != '\n')
        scene_fail(s, "%s is not whole: %" PRIu64 " bytes", path, size);
    for (struct slice rest = slice_of(bytes, size); rest.len && scene_ok(s);) {
        size_t end = slice_find(rest, '\n');
        object_line(s, path, slice_first(rest, end), last);
        rest = slice_from(rest, end + 1);
    }
    sim_heap_keep_free(bytes);
}

/* Every record at most once; `complete`: exactly once; what was said to be delivered for good is there in any case. */
static bool objects_check(struct scene *s, bool complete)
{
    for (uint32_t i = 0; i < s->source.part_count; i++)
        s->seen[i] = sim_heap_keep(s->source.part[i].next_counter + 1);
    s->objects = 0;
    sim_disk_walk(s->w, "/out", object_check, s);
    for (uint32_t i = 0; i < s->source.part_count; i++) {
        const struct memory_part *p = &s->source.part[i];
        uint64_t must = complete ? p->next_counter : p->delivered;
        for (uint64_t c = 0; c < must && scene_ok(s); c++)
            if (!s->seen[i][c])
                scene_fail(s, "record %" PRIu64 " of part %" PRIu64 " is missing%s", c, p->uid,
                           c < p->delivered ? ", though it was said to be delivered" : "");
        sim_heap_keep_free(s->seen[i]);
        s->seen[i] = NULL;
    }
    return scene_ok(s);
}

/* ---- lives ------------------------------------------------------------------------------------------------------- */

static void delivery_opened(struct delivery *d, int status)
{
    struct scene *s = delivery_owner(d);
    s->opened = true;
    s->open_status = status;
}

static bool life_start(struct scene *s)
{
    struct err e = {0};
    struct delivery_options options = {.journal_folder = "/journal",
                                       .uid = 7,
                                       .log_uid = {1, 2, 3},
                                       .pieces = &s->pieces,
                                       .source = &s->source.source};
    s->loop = options.loop = sim_loop_create(s->w);
    memory_source_restart(&s->source, s->loop);
    s->opened = s->stopped = false;
    sim_enter(s->w);
    piece_pool_init(&s->pieces, 8u << 20);
    int rc = delivery_create(&options, &s->settings, &s->delivery, &e);
    if (rc == 0)
        delivery_start(s->delivery, delivery_opened, s);
    sim_leave(s->w);
    return rc == 0 || scene_fail(s, "creating the delivery: %s", e.text);
}

static void life_crash(struct scene *s, bool kill)
{
    if (kill)
        sim_kill(s->w);
    else
        sim_crash(s->w);
    s->delivery = NULL;
}

static void delivery_stopped(struct delivery *d)
{
    ((struct scene *)delivery_owner(d))->stopped = true;
}

static bool is_stopped(void *arg)
{
    struct scene *s = arg;
    return s->stopped || !scene_ok(s);
}

/* Stops it properly. True if it got so far (false: the power failed meanwhile, or trouble). */
static bool life_stop(struct scene *s, uint32_t grace_ms)
{
    sim_enter(s->w);
    delivery_stop(s->delivery, grace_ms, delivery_stopped);
    sim_leave(s->w);
    enum sim_end end = sim_run(s->w, is_stopped, s, PATIENCE_MS);
    if (end == SIM_CUT || !scene_ok(s))
        return false;
    if (end != SIM_DONE)
        return scene_fail(s, "stopping does not end (%d)", end);
    sim_enter(s->w);
    delivery_destroy(s->delivery);
    piece_pool_deinit(&s->pieces);
    loop_destroy(s->loop);
    sim_leave(s->w);
    if (sim_heap_live() != 0)
        scene_fail(s, "%zu bytes are never freed", sim_heap_live());
    return scene_ok(s);
}

static bool all_delivered(void *arg)
{
    struct scene *s = arg;
    struct delivery_status st;
    if (!scene_ok(s))
        return true;
    for (uint32_t i = 0; i < s->source.part_count; i++)
        if (s->source.part[i].delivered < s->source.part[i].next_counter)
            return false;
    delivery_status(s->delivery, &st);
    return st.lag_records == 0;
}

static bool life_finish(struct scene *s)
{
    enum sim_end end = sim_run(s->w, all_delivered, s, PATIENCE_MS);
    if (end == SIM_CUT || !scene_ok(s))
        return false;
    if (end != SIM_DONE) {
        struct delivery_status st;
        delivery_status(s->delivery, &st);
        return scene_fail(s, "it never catches up: %s, %" PRIu64 " records behind, %s", delivery_state_name(st.state),
                          st.lag_records, st.last_error);
    }
    return true;
}

static void scene_init(struct scene *s, const struct arguments *a, uint64_t seed)
{
    *s = (struct scene){.verbose = a->verbose};
    s->w = sim_create(&(struct sim_options){.seed = seed});
    sim_trace(s->w, a->trace);
    sim_disk_mkdirs(s->w, "/journal");
    sim_disk_mkdirs(s->w, "/out");
    memory_source_init(&s->source, s->w);
    delivery_settings_init(&s->settings);
    memcpy(s->settings.name, "archive", 8);
    memcpy(s->settings.sink, "file:///out/", 13);
    s->settings.compression = COMPRESSION_NONE;
    s->settings.interval_ms = 200;
    s->settings.buffer_bytes = 4096;
}

static bool scene_end(struct scene *s, uint64_t seed)
{
    bool good = scene_ok(s);
    if (s->verbose || !good)
        fprintf(stderr, "seed %" PRIu64 ": %" PRIu64 " objects, %" PRIu64 " ops, %" PRIu64 " crashes: %s\n", seed,
                s->objects, sim_counts(s->w)->ops, sim_counts(s->w)->crashes, good ? "good" : s->trouble);
    memory_source_deinit(&s->source);
    sim_destroy(s->w);
    return good;
}

/* ---- random lives ------------------------------------------------------------------------------------------------ */

static void act(struct scene *s)
{
    struct sim_world *w = s->w;
    struct memory_source *m = &s->source;
    uint64_t what = sim_below(w, 100);
    struct memory_part *p = &m->part[sim_below(w, m->part_count)];
    sim_enter(w);
    if (what < 85 && !p->closed) {
        uint32_t bytes = sim_chance(w, 50000) ? (uint32_t)sim_between(w, 3000, 60000) : 60;
        memory_source_append(m, p, (uint32_t)sim_between(w, 1, bytes > 3000 ? 3 : 20), bytes);
        s->appends++;
    } else if (what < 88 && !p->closed && m->part_count + 2 <= MEMORY_PARTS_MAX) {
        memory_source_close_part(m, p); /* a split: two children */
        uint64_t parent = p->uid;
        memory_source_add_part(m, parent, 0);
        memory_source_add_part(m, parent, 0);
    } else if (what < 90) {
        delivery_flush(s->delivery);
    }
    sim_leave(w);
    uint64_t us = sim_chance(w, 100000) ? sim_between(w, 1000, 400000) : sim_between(w, 1, 2000);
    (void)sim_run_ns(w, NULL, NULL, (int64_t)us * 1000);
}

static void faults_draw(struct scene *s, bool any)
{
    struct sim_world *w = s->w;
    struct sim_faults f = {.short_io = 20000};
    s->source.read_eio = 0;
    s->faults = any && sim_chance(w, 300000);
    if (s->faults) {
        uint32_t *kinds[] = {&f.read_eio, &f.write_eio, &f.sync_eio, &f.meta_eio, &f.write_enospc};
        for (int i = 0; i < 2; i++)
            *kinds[sim_below(w, 5)] = (uint32_t)sim_between(w, 1000, 50000);
        s->source.read_eio = 20000;
    }
    sim_set_faults(w, &f);
}

static void settings_draw(struct scene *s)
{
    static const uint64_t sizes[] = {1024, 2048, 4096, 20000};
    s->settings.buffer_bytes = sizes[sim_below(s->w, 4)];
    s->settings.interval_ms = (uint32_t)sim_between(s->w, 20, 400);
    s->settings.version++;
}

/* One life that ends somehow. */
static void life(struct scene *s)
{
    struct sim_world *w = s->w;
    faults_draw(s, true);
    if (sim_chance(w, 300000))
        settings_draw(s);
    if (sim_chance(w, 700000))
        sim_cut_at(w, sim_between(w, 1, sim_chance(w, 500000) ? 40 : 400));
    if (!life_start(s))
        return;
    uint64_t acts = sim_between(w, 0, 40);
    for (uint64_t i = 0; i < acts && scene_ok(s); i++)
        act(s);
    bool over = sim_chance(w, 300000) && life_stop(s, (uint32_t)sim_below(w, 2) * 1000);
    if (!over && scene_ok(s))
        life_crash(s, sim_chance(w, 300000));
    if (over)
        life_crash(s, false);
    if (scene_ok(s))
        objects_check(s, false);
}

static bool seed_random(const struct arguments *a, uint64_t seed)
{
    static struct scene s;
    scene_init(&s, a, seed);
    uint64_t parts = sim_between(s.w, 1, 3), count = sim_between(s.w, 1, 5);
    for (uint64_t i = 0; i < parts; i++)
        memory_source_add_part(&s.source, 0, 0);
    for (uint64_t i = 0; i < count && scene_ok(&s); i++)
        life(&s);
    faults_draw(&s, false);
    if (scene_ok(&s) && life_start(&s) && life_finish(&s) && life_stop(&s, 1000)) {
        life_crash(&s, false);
        objects_check(&s, true);
    }
    return scene_end(&s, seed);
}

/* ---- each step --------------------------------------------------------------------------------------------------- */

/* Two parts, a few records, a small buffer: cut at operation `k`, then all is delivered. Returns whether the cut came. */
static bool step_run(const struct arguments *a, uint64_t seed, uint64_t k, bool kill, bool *out_good)
{
    static struct scene s;
    scene_init(&s, a, seed);
    s.settings.buffer_bytes = 1024;
    for (int i = 0; i < 2; i++)
        memory_source_append(&s.source, memory_source_add_part(&s.source, 0, 0), 12, 60);
    sim_cut_at(s.w, k);
    bool cut = false;
    if (life_start(&s)) {
        cut = !(life_finish(&s) && life_stop(&s, 1000)) && scene_ok(&s);
        sim_cut_at(s.w, 0);
        life_crash(&s, kill);
    }
    if (scene_ok(&s) && objects_check(&s, !cut) && cut && life_start(&s) && life_finish(&s) && life_stop(&s, 1000)) {
        life_crash(&s, false);
        objects_check(&s, true);
    }
    *out_good = scene_ok(&s);
    if (!*out_good)
        fprintf(stderr, "step %" PRIu64 " (%s):\n", k, kill ? "kill" : "power cut");
    scene_end(&s, seed);
    return cut;
}

static bool seed_steps(const struct arguments *a, uint64_t seed)
{
    bool good = true;
    uint64_t k = 1;
    for (; good && step_run(a, seed, k, false, &good); k++) {
        bool killed_good = true;
        step_run(a, seed, k, true, &killed_good);
        good &= killed_good;
    }
    printf("%" PRIu64 " steps\n", k - 1);
    return good && k > 10;
}

static bool arguments_read(int argc, char **argv, struct arguments *a)
{
    *a = (struct arguments){.seed = 1, .seeds = 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--steps") == 0)
            a->steps = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            a->verbose = true;
        else if (strcmp(argv[i], "--trace") == 0)
            a->trace = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0 && slice_parse_u64(slice_str(argv[i + 1]), &a->seed))
            i++;
        else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0 && slice_parse_u64(slice_str(argv[i + 1]), &a->seeds))
            i++;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct arguments a;
    uint64_t bad = 0;
    if (!arguments_read(argc, argv, &a)) {
        fprintf(stderr, "usage: sim_delivery --seed N [--seeds COUNT] [--steps] [--verbose] [--trace]\n");
        return 2;
    }
    for (uint64_t seed = a.seed; seed < a.seed + a.seeds; seed++) {
        if (a.steps ? seed_steps(&a, seed) : seed_random(&a, seed))
            continue;
        bad++;
        fprintf(stderr, "replay: %s --seed %" PRIu64 "%s --verbose\n", argv[0], seed, a.steps ? " --steps" : "");
    }
    printf("%" PRIu64 " seeds: %" PRIu64 " bad\n", a.seeds, bad);
    return bad != 0;
}
