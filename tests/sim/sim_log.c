/*
 * sim_log --seed N [--seeds COUNT] [--canary] [--verbose] [--trace] [--dump FOLDER]
 *         [--sync batch|interval|never]: random lives of a log, a small one a seed.
 *
 * A seed draws a configuration (shards, loops, sizes so small that journals recycle and segments roll all the time, sync
 * mode, faults) and then lives several times: open, check everything against the model, use, end by a crash, a kill, a
 * cut at some operation or a clean close. The first violation of a seed ends it; the seed's command is printed and the
 * exit status is 1. With --canary the log acknowledges without syncing, and the exit status is 0 only if a seed saw a
 * loss. With --sync every seed takes that mode; without it one in five draws one that is not batch.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/log_driver.h"

struct arguments {
    uint64_t seed, seeds;
    bool canary, verbose, trace;
    int sync;         /* enum log_sync for every seed; -1: drawn */
    const char *dump; /* a folder of the real disk: the log's files before each life, and at the end, go there */
};

static const char *const sync_names[] = {"batch", "interval", "never"}; /* enum log_sync */

/* What a seed draws for all its lives. */
struct plan {
    uint32_t shards, lives;
    uint32_t fault_chance; /* a life has faults */
    uint32_t rot_chance;   /* bits rot between two lives */
    bool wall_steps, retention, small_disk;
    uint32_t bytes_typical;
};

static uint64_t pick(struct sim_world *w, const uint64_t *from, size_t count)
{
    return from[sim_below(w, count)];
}

static void options_draw(struct sim_world *w, struct log_options *o, bool canary)
{
    static const uint64_t journals[] = {128 << 10, 256 << 10, 256 << 10, 512 << 10};
    static const uint64_t segments[] = {64 << 10, 64 << 10, 128 << 10};
    static const uint64_t caches[] = {1 << 20, 2 << 20, 8 << 20};
    static const uint64_t directs[] = {32 << 10, 64 << 10, 256 << 10};
    *o = (struct log_options){.dir = "/data", .sync = LOG_SYNC_BATCH, .skip_sync_canary = canary};
    o->journal_bytes = pick(w, journals, 4);
    o->segment_bytes_min = pick(w, segments, 3);
    o->segment_bytes_max = o->segment_bytes_min << sim_below(w, 3);
    o->cache_bytes = pick(w, caches, 3);
    o->direct_bytes = (uint32_t)pick(w, directs, 3);
    if (!canary && sim_chance(w, 200000)) {
        o->sync = sim_chance(w, 500000) ? LOG_SYNC_INTERVAL : LOG_SYNC_NEVER;
        o->sync_interval_ms = (uint32_t)sim_between(w, 1, 50);
    }
}

static void plan_draw(struct sim_world *w, struct plan *p, bool canary)
{
    *p = (struct plan){.shards = (uint32_t)sim_between(w, 1, 6), .lives = (uint32_t)sim_between(w, 2, 5)};
    p->bytes_typical = (uint32_t)sim_between(w, 20, sim_chance(w, 300000) ? 20000 : 1000);
    if (canary)
        return;
    p->fault_chance = sim_chance(w, 300000) ? 500000 : 0;
    p->rot_chance = sim_chance(w, 100000) ? 500000 : 0;
    p->wall_steps = sim_chance(w, 150000);
    p->retention = sim_chance(w, 300000);
    p->small_disk = sim_chance(w, 50000);
}

/* ---- one life ---------------------------------------------------------------------------------------------------- */

static void act_append(struct driver *d, const struct plan *p)
{
    struct sim_world *w = d->w;
    uint32_t shard = (uint32_t)sim_below(w, p->shards), count = (uint32_t)sim_between(w, 1, 8);
    uint32_t bytes = (uint32_t)sim_between(w, 16, 16 + 2 * p->bytes_typical);
    switch (sim_below(w, 100)) {
    case 0: /* a single record beyond a block's usual limit */
        bytes = (uint32_t)sim_between(w, 1 << 20, (1 << 20) + 200000);
        count = 1;
        break;
    case 1:
    case 2: /* the direct path */
        bytes = (uint32_t)sim_between(w, 8 << 10, 80 << 10);
        count = (uint32_t)sim_between(w, 1, 8);
        break;
    case 3:
    case 4:
    case 5:
        bytes = (uint32_t)sim_between(w, 4000, 40000);
        count = 1;
        break;
    default:
        break;
    }
    driver_append(d, shard, count, bytes);
}

static void act_read(struct driver *d, const struct plan *p)
{
    struct sim_world *w = d->w;
    struct driver_reader *v = &d->reader[sim_below(w, DRIVER_READERS_MAX)];
    uint32_t shard = (uint32_t)sim_below(w, p->shards);
    struct log_shard_info info;
    if (!d->shard[shard])
        return;
    if (v->busy) {
        if (sim_chance(w, 100000)) {
            v->cancelled = true;
            sim_enter(w);
            log_read_cancel(&v->r);
            sim_leave(w);
        }
        return;
    }
    log_shard_info(d->shard[shard], &info);
    bool durable_mode = sim_chance(w, 500000);
    uint64_t from = sim_chance(w, 500000) ? info.first_counter : info.visible_counter;
    if (sim_chance(w, 300000) && d->model.sync == LOG_SYNC_BATCH) /* other modes have gaps in their counters */
        from = sim_between(w, info.first_counter, info.visible_counter);
    driver_reader_start(d, v, shard, from, durable_mode ? LOG_SYNCED : LOG_VISIBLE, sim_chance(w, 700000));
}

static void act_seek(struct driver *d, const struct plan *p)
{
    struct sim_world *w = d->w;
    uint32_t shard = (uint32_t)sim_below(w, p->shards);
    driver_seek_start(d, shard, (struct wall_ms){sim_wall(w).ms + 50 - (int64_t)sim_below(w, 500)});
}

static void act_retain(struct driver *d, const struct plan *p)
{
    struct sim_world *w = d->w;
    uint32_t shard = (uint32_t)sim_below(w, p->shards);
    struct model_shard *s = &d->model.shard[shard];
    struct log_retention r = {.keep_ms = INT64_MAX, .keep_bytes = UINT64_MAX};
    if (!d->shard[shard])
        return;
    if (sim_chance(w, 500000)) {
        r.keep_bytes = sim_between(w, 100000, 1000000);
        s->keep_bytes = true;
    } else if (!p->wall_steps) {
        r.keep_ms = (int64_t)sim_between(w, 100, 3000);
        if (r.keep_ms < s->keep_ms)
            s->keep_ms = r.keep_ms;
    }
    sim_enter(w);
    log_shard_retain(d->shard[shard], &r);
    sim_leave(w);
}

static void act_wall_step(struct driver *d)
{
    static const int64_t steps[] = {3600000, -3600000, 1500, -1500};
    driver_step_wall(d, steps[sim_below(d->w, 4)]);
}

static uint64_t pause_draw_us(struct sim_world *w)
{
    switch (sim_below(w, 20)) {
    case 0:
        return sim_between(w, 100000, 400000); /* idle: marks, closing of files */
    case 1:
    case 2:
        return sim_between(w, 2000, 30000);
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
        return 0;
    default:
        return sim_between(w, 5, 1500);
    }
}

static bool act(struct driver *d, const struct plan *p)
{
    uint64_t what = sim_below(d->w, 100);
    if (what < 80)
        act_append(d, p);
    else if (what < 92)
        act_read(d, p);
    else if (what < 95)
        act_seek(d, p);
    else if (what < 97 && p->retention)
        act_retain(d, p);
    else if (what == 97 && p->wall_steps)
        act_wall_step(d);
    return driver_run_us(d, pause_draw_us(d->w)) && driver_look(d);
}

/* Every watch whose counter is visible must have been woken once things are quiet. (In the other modes counters are
 * skipped: there may be no record.) */
static bool watches_right(struct driver *d)
{
    for (uint32_t i = 0; d->model.sync == LOG_SYNC_BATCH && i < DRIVER_READERS_MAX; i++) {
        struct driver_reader *v = &d->reader[i];
        struct log_shard_info info;
        if (!v->watching || !d->shard[v->shard])
            continue;
        log_shard_info(d->shard[v->shard], &info);
        uint64_t there = v->visibility == LOG_SYNCED ? info.synced_counter : info.visible_counter;
        if (v->watch.counter < there)
            return model_fail(&d->model, &d->model.shard[v->shard],
                              "a watch at %" PRIu64 " sleeps, %" PRIu64 " is visible", v->watch.counter, there);
    }
    return true;
}

static bool life_use(struct driver *d, const struct plan *p)
{
    struct sim_world *w = d->w;
    uint64_t acts = sim_between(w, 5, 80);
    if (sim_chance(w, 200000))
        sim_cut_at(w, sim_between(w, 1, 600));
    for (uint64_t i = 0; i < acts; i++)
        if (!act(d, p))
            return false;
    if (!sim_chance(w, 300000))
        return true;
    if (!driver_settle(d) || !driver_run_us(d, 10000))
        return false;
    return d->faults || watches_right(d);
}

/* How a life ends. */
static bool life_end(struct driver *d)
{
    struct sim_world *w = d->w;
    uint64_t how = sim_below(w, 100);
    if (how < 55) {
        driver_crash(d, MODEL_POWER);
        return true;
    }
    if (how < 70) {
        driver_crash(d, MODEL_KILL);
        return true;
    }
    if (sim_chance(w, 100000))
        sim_cut_at(w, sim_between(w, 1, 30)); /* the power fails while it closes */
    if (!driver_close(d))
        return false;
    if (d->loop_count) /* the cut came, or closing said that it failed */
        driver_crash(d, MODEL_POWER);
    return true;
}

/* ---- damage at rest ---------------------------------------------------------------------------------------------- */

struct damage {
    struct driver *d;
    uint64_t files, wanted, seen;
};

static void damage_count(void *arg, const char *path, uint64_t size)
{
    ((struct damage *)arg)->files += size > 0;
}

static void damage_do(void *arg, const char *path, uint64_t size)
{
    struct damage *x = arg;
    struct driver *d = x->d;
    if (size == 0 || x->seen++ != x->wanted)
        return;
    uint64_t at = sim_chance(d->w, 300000) ? sim_below(d->w, size < 8192 ? size : 8192) : sim_below(d->w, size);
    uint8_t mask = (uint8_t)(1u << sim_below(d->w, 8));
    sim_disk_flip(d->w, path, at, mask);
    if (d->verbose)
        fprintf(stderr, "  rot: %s at %" PRIu64 " mask %u\n", path, at, mask);
}

/* Flips a bit somewhere in the log's files; any shard may be hit, as journals are shared. */
static void damage(struct driver *d)
{
    struct damage x = {.d = d};
    sim_disk_walk(d->w, "/data", damage_count, &x);
    if (!x.files)
        return;
    x.wanted = sim_below(d->w, x.files);
    sim_disk_walk(d->w, "/data", damage_do, &x);
    d->rot = true;
    for (uint32_t i = 0; i < d->shard_count; i++)
        d->model.shard[i].rotten = true;
}

/* ---- a seed ------------------------------------------------------------------------------------------------------ */

static void faults_draw(struct driver *d, const struct plan *p)
{
    struct sim_world *w = d->w;
    struct sim_faults f = {.short_io = 20000, .slow = (uint32_t)sim_below(w, 2) * 5000};
    d->faults = p->small_disk; /* it gets full */
    if (sim_chance(w, p->fault_chance)) {
        uint32_t *kinds[] = {&f.read_eio, &f.write_eio, &f.sync_eio, &f.meta_eio, &f.write_enospc};
        d->faults = true;
        *kinds[sim_below(w, 5)] = (uint32_t)sim_between(w, 500, 30000);
        if (sim_chance(w, 300000))
            *kinds[sim_below(w, 5)] = (uint32_t)sim_between(w, 500, 30000);
    }
    sim_set_faults(w, &f);
}

/* Opens; with faults it may take several attempts, each a life of its own. False: trouble or given up. */
static bool life_open(struct driver *d)
{
    for (int attempt = 0; attempt < 6; attempt++) {
        int rc = driver_open(d, (uint32_t)sim_between(d->w, 1, DRIVER_LOOPS_MAX));
        if (rc == 0)
            return true;
        if (!driver_ok(d))
            return false;
        enum model_cut before = d->cut;
        driver_crash(d, sim_chance(d->w, 500000) ? MODEL_POWER : MODEL_KILL);
        if (d->cut < before) /* what the crash before it took is still unknown */
            d->cut = before;
        if (attempt >= 2) {
            sim_set_faults(d->w, &(struct sim_faults){.short_io = 20000});
            sim_disk_set_capacity(d->w, 1ull << 40);
            d->faults = false;
        }
    }
    return false;
}

struct dump {
    struct sim_world *w;
    const char *to;
    uint32_t life;
};

/* Copies a file out, its path with '_' for '/'. */
static void dump_file(void *arg, const char *path, uint64_t size)
{
    struct dump *x = arg;
    char name[1200];
    int at = snprintf(name, sizeof name, "%s/%u", x->to, x->life);
    for (const char *p = path; *p && at < 1190; p++)
        name[at++] = *p == '/' ? '_' : *p;
    name[at] = 0;
    FILE *f = fopen(name, "wb");
    uint8_t *bytes = sim_heap_keep(size + 1);
    if (f && sim_disk_peek(x->w, path, 0, bytes, size) == (int64_t)size)
        fwrite(bytes, 1, size, f);
    if (f)
        fclose(f);
    sim_heap_keep_free(bytes);
}

static void lives(struct driver *d, const struct plan *p, const char *dump)
{
    enum model_cut harshest = MODEL_CLEAN;
    for (uint32_t life = 0; life < p->lives; life++) {
        bool last = life + 1 == p->lives;
        faults_draw(d, last ? &(struct plan){0} : p);
        if (last)
            sim_disk_set_capacity(d->w, 1ull << 40);
        if (dump)
            sim_disk_walk(d->w, "/data", dump_file, &(struct dump){d->w, dump, life});
        if (!life_open(d))
            return;
        if (d->cut > harshest)
            harshest = d->cut;
        d->cut = harshest;
        if (d->verbose)
            fprintf(stderr, " life %u: %u loops, faults %d, after %s\n", life, d->loop_count, d->faults,
                    harshest == MODEL_POWER  ? "a power cut"
                    : harshest == MODEL_KILL ? "a kill"
                                             : "a close");
        if (!driver_verify(d))
            return;
        if (!d->faults)
            harshest = MODEL_CLEAN; /* all is settled */
        if (!life_use(d, p) || !life_end(d))
            return;
        if (!last && d->cut == MODEL_CLEAN && sim_chance(d->w, p->rot_chance))
            damage(d);
    }
    sim_set_faults(d->w, &(struct sim_faults){0});
    d->faults = false;
    if (d->cut < harshest)
        d->cut = harshest;
    if (life_open(d) && driver_verify(d))
        driver_close(d);
}

static bool run_seed(const struct arguments *a, uint64_t seed, struct driver *out)
{
    struct sim_world *w = sim_create(&(struct sim_options){.seed = seed, .refuse_direct = seed % 8 == 7});
    struct log_options options;
    struct plan plan;
    options_draw(w, &options, a->canary);
    if (a->sync >= 0) {
        options.sync = (enum log_sync)a->sync;
        options.sync_interval_ms = 1 + (uint32_t)(seed % 50);
    }
    plan_draw(w, &plan, a->canary);
    sim_trace(w, a->trace);
    if (plan.small_disk)
        sim_disk_set_capacity(w, 16u << 20);
    driver_init(out, w, &options, plan.shards);
    out->verbose = a->verbose;
    lives(out, &plan, a->dump);
    bool good = driver_ok(out);
    if (a->verbose || (!good && !a->canary)) {
        const struct sim_counts *c = sim_counts(w);
        fprintf(stderr,
                "seed %" PRIu64 ": sync %d, %u shards, %" PRIu64 " acks, %" PRIu64 " refused, %" PRIu64
                " failed, %" PRIu64 " blocks read, %" PRIu64 " ops, %" PRIu64 " crashes, %" PRIu64 " faults: %s\n",
                seed, options.sync, plan.shards, out->acks, out->refusals, out->failures, out->blocks_read, c->ops,
                c->crashes, sim_faults_hit(w), good ? "good" : out->model.trouble);
    }
    if (!good && a->dump)
        sim_disk_walk(w, "/data", dump_file, &(struct dump){w, a->dump, 99});
    driver_deinit(out);
    sim_destroy(w);
    return good;
}

static bool arguments_read(int argc, char **argv, struct arguments *a)
{
    *a = (struct arguments){.seed = 1, .seeds = 1, .sync = -1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--canary") == 0)
            a->canary = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            a->verbose = true;
        else if (strcmp(argv[i], "--trace") == 0)
            a->trace = true;
        else if (i + 1 < argc && strcmp(argv[i], "--dump") == 0)
            a->dump = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0 && slice_parse_u64(slice_str(argv[i + 1]), &a->seed))
            i++;
        else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0 && slice_parse_u64(slice_str(argv[i + 1]), &a->seeds))
            i++;
        else if (i + 1 < argc && strcmp(argv[i], "--sync") == 0) {
            for (int m = 0; m < 3; m++)
                if (strcmp(argv[i + 1], sync_names[m]) == 0)
                    a->sync = m;
            if (a->sync < 0)
                return false;
            i++;
        } else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct driver d;
    struct arguments a;
    uint64_t bad = 0, acks = 0, blocks = 0;
    if (!arguments_read(argc, argv, &a)) {
        fprintf(stderr, "usage: sim_log --seed N [--seeds COUNT] [--canary] [--verbose] [--trace] [--dump FOLDER] "
                        "[--sync batch|interval|never]\n");
        return 2;
    }
    for (uint64_t seed = a.seed; seed < a.seed + a.seeds; seed++) {
        bool good = run_seed(&a, seed, &d);
        acks += d.acks;
        blocks += d.blocks_read;
        if (good)
            continue;
        bad++;
        if (a.canary)
            break;
        fprintf(stderr, "replay: %s --seed %" PRIu64 "%s%s --verbose\n", argv[0], seed, a.sync < 0 ? "" : " --sync ",
                a.sync < 0 ? "" : sync_names[a.sync]);
    }
    printf("%" PRIu64 " seeds: %" PRIu64 " bad, %" PRIu64 " appends acknowledged, %" PRIu64 " blocks read\n", a.seeds,
           bad, acks, blocks);
    return a.canary ? bad == 0 : bad != 0;
}
