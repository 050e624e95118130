/*
 * sim_inspect [--seed N] [--seeds COUNT] [--verbose]: the offline verification over what random lives of a log leave
 * behind. After each life (a power cut, a kill, a clean close; with failing operations in some) it must find no damage
 * and change nothing. Then a bit is flipped in a file: whatever makes the next opening quarantine a shard, it must have
 * called damage. The first violation of a seed is printed with the command that repeats it, and the exit status is 1.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log/log_inspect.h"
#include "tests/sim/log_driver.h"

struct check {
    struct log_inspect inspect;
    bool done, verbose;
    char first[1400]; /* the first damage */
};

static void found(struct log_inspect *i, const struct log_finding *f)
{
    struct check *c = i->private;
    if (c->verbose)
        fprintf(stderr, "  %d %s: byte %" PRIu64 ": %s\n", f->severity, f->file, f->offset, f->what);
    if (f->severity == LOG_DAMAGE && !c->first[0])
        snprintf(c->first, sizeof c->first, "%.1000s: byte %" PRIu64 ": %s", f->file, f->offset, f->what);
}

static void shard_told(struct log_inspect *i, const struct log_shard_report *s)
{
}

static void inspected(struct log_inspect *i)
{
    ((struct check *)i->private)->done = true;
}

static bool is_done(void *arg)
{
    return ((struct check *)arg)->done;
}

/* Inspects the world's disk; no loop runs, and none is left. False: trouble. */
static bool inspect(struct driver *d, struct check *c)
{
    struct sim_world *w = d->w;
    uint64_t hash = sim_disk_hash(w);
    *c = (struct check){
        .verbose = d->verbose,
        .inspect = {.done = inspected, .finding = found, .shard = shard_told, .dir = "/data", .private = c}};
    sim_set_faults(w, &(struct sim_faults){.short_io = 20000});
    struct loop *loop = sim_loop_create(w);
    sim_enter(w);
    int rc = log_inspect_start(loop, &c->inspect);
    sim_leave(w);
    if (rc < 0 || sim_run(w, is_done, c, 600000) != SIM_DONE)
        return model_fail(&d->model, NULL, "the inspection does not end (%d)", rc);
    if (c->inspect.status < 0 && c->inspect.status != -ENOENT)
        return model_fail(&d->model, NULL, "the inspection fails: %s", c->inspect.err.text);
    sim_kill(w);
    if (sim_heap_live())
        return model_fail(&d->model, NULL, "the inspection has left %zu bytes", sim_heap_live());
    return hash == sim_disk_hash(w) || model_fail(&d->model, NULL, "the inspection has changed the disk");
}

/* ---- lives -------------------------------------------------------------------------------------------------------- */

static void use(struct driver *d, uint32_t shards)
{
    struct sim_world *w = d->w;
    if (sim_chance(w, 300000))
        sim_cut_at(w, sim_between(w, 1, 600));
    for (uint64_t acts = sim_between(w, 1, 80); acts && driver_ok(d); acts--) {
        uint32_t shard = (uint32_t)sim_below(w, shards);
        if (sim_chance(w, 150000)) /* the direct path */
            driver_append(d, shard, (uint32_t)sim_between(w, 1, 8), (uint32_t)sim_between(w, 8 << 10, 60 << 10));
        else
            driver_append(d, shard, (uint32_t)sim_between(w, 1, 8), (uint32_t)sim_between(w, 16, 4000));
        if (d->shard[shard] && sim_chance(w, 20000)) {
            struct log_retention r = {.keep_ms = INT64_MAX, .keep_bytes = sim_between(w, 100000, 1000000)};
            d->model.shard[shard].keep_bytes = true;
            sim_enter(w);
            log_shard_retain(d->shard[shard], &r);
            sim_leave(w);
        }
        if (!driver_run_us(d, sim_chance(w, 100000) ? sim_between(w, 50000, 400000) : sim_below(w, 1500)))
            return;
    }
}

static void end(struct driver *d)
{
    uint64_t how = sim_below(d->w, 3);
    if (how == 2 && driver_close(d) && !d->loop_count)
        return;
    driver_crash(d, how == 1 ? MODEL_KILL : MODEL_POWER);
}

static uint64_t quarantined(struct driver *d)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < d->shard_count; i++) {
        struct log_shard_info info;
        if (!d->shard[i])
            continue;
        log_shard_info(d->shard[i], &info);
        n += info.state == LOG_SHARD_QUARANTINED;
        if (d->verbose && info.state == LOG_SHARD_QUARANTINED)
            fprintf(stderr, "  quarantined: %s\n", info.trouble);
    }
    return n;
}

struct pick {
    struct driver *d;
    uint64_t files, wanted;
};

static void pick_count(void *arg, const char *path, uint64_t size)
{
    ((struct pick *)arg)->files += size > 0;
}

static void pick_flip(void *arg, const char *path, uint64_t size)
{
    struct pick *p = arg;
    if (!size || p->wanted--)
        return;
    uint64_t at =
        sim_chance(p->d->w, 500000) ? sim_below(p->d->w, size < 65536 ? size : 65536) : sim_below(p->d->w, size);
    sim_disk_flip(p->d->w, path, at, (uint8_t)(1u << sim_below(p->d->w, 8)));
    if (p->d->verbose)
        fprintf(stderr, "  flipped: %s at %" PRIu64 "\n", path, at);
}

/* Damage, as the inspection and as an opening see it. */
static void rot(struct driver *d, struct check *c)
{
    struct pick p = {.d = d};
    sim_disk_walk(d->w, "/data", pick_count, &p);
    if (!p.files)
        return;
    p.wanted = sim_below(d->w, p.files);
    sim_disk_walk(d->w, "/data", pick_flip, &p);
    d->rot = true;
    for (uint32_t i = 0; i < d->shard_count; i++)
        d->model.shard[i].rotten = true;
    if (!inspect(d, c))
        return;
    int rc = driver_open(d, 1);
    uint64_t damaged = rc == 0 ? quarantined(d) : rc == ST_CORRUPT;
    if (damaged && !c->inspect.damages)
        model_fail(&d->model, NULL, "the opening finds damage that the inspection has not: %s",
                   rc < 0 ? d->open.err.text : "a quarantine");
    driver_crash(d, MODEL_KILL);
}

/* Damage where none should be: the inspection is wrong, or the log has left its files so. */
static void wolf(struct driver *d, const struct check *c)
{
    int rc = driver_open(d, 1);
    bool agrees = rc < 0 || quarantined(d) || !driver_verify(d);
    d->model.trouble[0] = 0;
    model_fail(&d->model, NULL, "damage where none is (%s): %s",
               agrees ? "and the next opening suffers from it" : "the next opening does not see it", c->first);
}

static bool run_seed(uint64_t seed, bool verbose, uint64_t *out_found)
{
    struct sim_world *w = sim_create(&(struct sim_options){.seed = seed, .refuse_direct = seed % 8 == 7});
    struct log_options o = {.dir = "/data",
                            .journal_bytes = (uint64_t)128 << (10 + sim_below(w, 3)),
                            .segment_bytes_min = 64u << 10,
                            .segment_bytes_max = (uint64_t)64 << (10 + sim_below(w, 4)),
                            .cache_bytes = 2u << 20,
                            .direct_bytes = 32u << 10};
    uint32_t shards = (uint32_t)sim_between(w, 1, 5);
    struct driver d;
    struct check c;
    if (sim_chance(w, 250000)) {
        o.sync = sim_chance(w, 500000) ? LOG_SYNC_INTERVAL : LOG_SYNC_NEVER;
        o.sync_interval_ms = (uint32_t)sim_between(w, 1, 50);
    }
    driver_init(&d, w, &o, shards);
    d.verbose = verbose;
    bool failing = sim_chance(w, 200000);
    for (uint64_t lives = sim_between(w, 1, 5); lives && driver_ok(&d); lives--) {
        sim_set_faults(w, &(struct sim_faults){
                              .short_io = 20000, .write_eio = failing ? 5000 : 0, .sync_eio = failing ? 5000 : 0});
        d.faults = failing;
        int rc = driver_open(&d, (uint32_t)sim_between(w, 1, DRIVER_LOOPS_MAX));
        if (rc == 0) {
            if (driver_verify(&d)) /* the model must know what a cut has taken */
                use(&d, shards);
            if (driver_ok(&d))
                end(&d);
        } else if (driver_ok(&d)) {
            driver_crash(&d, MODEL_POWER);
        }
        if (driver_ok(&d) && inspect(&d, &c) && c.inspect.damages)
            wolf(&d, &c);
    }
    if (driver_ok(&d)) {
        rot(&d, &c);
        *out_found += driver_ok(&d) && c.inspect.damages > 0;
    }
    bool ok = driver_ok(&d);
    if (!ok)
        printf("seed %" PRIu64 ": %s\n  sim_inspect --seed %" PRIu64 " --verbose\n", seed, d.model.trouble, seed);
    driver_deinit(&d);
    sim_destroy(w);
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, seeds = 1, failed = 0, told = 0;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            seeds = strtoull(argv[++i], NULL, 10);
        else
            return 2;
    }
    for (uint64_t s = seed; s < seed + seeds && failed < 10; s++)
        failed += !run_seed(s, verbose, &told);
    printf("%" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " failed, a flipped bit was damage in %" PRIu64 "\n", seeds,
           seed, failed, told);
    return failed ? 1 : 0;
}
