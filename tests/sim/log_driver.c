#include "tests/sim/log_driver.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/check.h"

#define PATIENCE_MS 120000 /* virtual: longer than any retry */

void driver_init(struct driver *d, struct sim_world *w, const struct log_options *options, uint32_t shards)
{
    *d = (struct driver){.w = w, .options = *options, .shard_count = shards, .cut = MODEL_CLEAN};
    CHECK(shards <= DRIVER_SHARDS_MAX);
    model_init(&d->model, options->sync, shards, DRIVER_UID);
    d->scratch = sim_heap_keep(DRIVER_SCRATCH_BYTES);
    sim_disk_mkdirs(w, options->dir);
}

void driver_deinit(struct driver *d)
{
    model_deinit(&d->model);
    sim_heap_keep_free(d->scratch);
}

static struct model_shard *model_of(struct driver *d, uint32_t shard)
{
    return &d->model.shard[shard];
}

int64_t driver_true_ms(const struct driver *d)
{
    return sim_wall(d->w).ms - d->model.steps_ms;
}

void driver_step_wall(struct driver *d, int64_t by_ms)
{
    sim_wall_step(d->w, by_ms);
    d->model.steps_ms += by_ms;
}

static bool trouble(void *arg)
{
    return !driver_ok(arg);
}

bool driver_run_us(struct driver *d, uint64_t us)
{
    sim_run_ns(d->w, trouble, d, (int64_t)us * 1000);
    return driver_ok(d);
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

static void opened(struct log_open *o)
{
    struct driver *d = o->private;
    d->opened = true;
}

static bool opened_or_trouble(void *arg)
{
    struct driver *d = arg;
    return d->opened || !driver_ok(d);
}

static void forget_handles(struct driver *d)
{
    memset(d->shard, 0, sizeof d->shard);
    memset(d->log, 0, sizeof d->log);
    memset(d->loop, 0, sizeof d->loop);
    memset(d->append, 0, sizeof d->append);
    memset(d->reader, 0, sizeof d->reader);
    memset(&d->seek, 0, sizeof d->seek);
    d->loop_count = 0;
}

static void live_fill(struct driver *d, uint32_t *out_count)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->shard_count; i++)
        if (d->created[i])
            d->live[n++] = (struct log_live_shard){.uid = model_of(d, i)->uid, .loop_index = i % d->loop_count};
    *out_count = n;
}

int driver_open(struct driver *d, uint32_t loops)
{
    uint32_t live;
    forget_handles(d);
    d->loop_count = loops;
    for (uint32_t i = 0; i < loops; i++)
        d->loop[i] = sim_loop_create(d->w);
    live_fill(d, &live);
    d->opened = false;
    d->open = (struct log_open){.done = opened,
                                .logs = d->log,
                                .loops = d->loop,
                                .loop_count = loops,
                                .options = &d->options,
                                .live = d->live,
                                .live_count = live,
                                .private = d};
    sim_enter(d->w);
    log_open(&d->open);
    sim_leave(d->w);
    enum sim_end end = sim_run(d->w, opened_or_trouble, d, PATIENCE_MS);
    if (end == SIM_CUT)
        return -EINTR;
    if (end != SIM_DONE) {
        model_fail(&d->model, NULL, "opening does not end (%d)", end);
        return ST_FAILED;
    }
    if (d->open.status < 0) {
        if (d->verbose)
            fprintf(stderr, "  open: %s\n", d->open.err.text);
        if (!d->faults && !d->rot)
            model_fail(&d->model, NULL, "opening failed without cause: %s: %s", status_name(d->open.status),
                       d->open.err.text);
        return d->open.status;
    }
    for (uint32_t i = 0; i < d->shard_count; i++) {
        d->shard[i] = d->created[i] ? log_shard_find(d->log[i % loops], model_of(d, i)->uid) : NULL;
        if (d->created[i] && !d->shard[i])
            model_fail(&d->model, model_of(d, i), "lost: the shard is gone");
    }
    return driver_ok(d) ? 0 : ST_FAILED;
}

static void closed(struct log_close *c)
{
    ((struct driver *)c->private)->closes--;
}

static bool all_closed(void *arg)
{
    struct driver *d = arg;
    return d->closes == 0 || !driver_ok(d);
}

bool driver_close(struct driver *d)
{
    d->closes = 0;
    for (uint32_t i = 0; i < d->loop_count; i++) {
        if (!d->log[i])
            continue;
        d->closes++;
        d->close[i] = (struct log_close){.done = closed, .private = d};
        sim_enter(d->w);
        log_close(d->log[i], &d->close[i]);
        sim_leave(d->w);
    }
    enum sim_end end = sim_run(d->w, all_closed, d, PATIENCE_MS);
    if (end == SIM_CUT) {
        d->cut = MODEL_POWER;
        return driver_ok(d);
    }
    if (end != SIM_DONE)
        return model_fail(&d->model, NULL, "closing does not end (%d)", end);
    d->cut = MODEL_CLEAN;
    for (uint32_t i = 0; i < d->loop_count; i++)
        if (d->close[i].status < 0)
            d->cut = MODEL_POWER; /* it says that not all is on disk: only what was acknowledged binds */
    for (uint32_t i = 0; i < DRIVER_APPENDS_MAX; i++)
        if (d->append[i].busy)
            return model_fail(&d->model, model_of(d, d->append[i].shard), "an append was never completed");
    for (uint32_t i = 0; i < DRIVER_READERS_MAX; i++)
        if (d->reader[i].busy)
            return model_fail(&d->model, model_of(d, d->reader[i].shard), "a read was never completed");
    for (uint32_t i = 0; i < d->loop_count; i++)
        loop_destroy(d->loop[i]);
    if (sim_chance(d->w, 500000))
        sim_crash(d->w); /* a power cut after a clean close takes nothing */
    else
        sim_kill(d->w);
    forget_handles(d);
    return driver_ok(d);
}

void driver_crash(struct driver *d, enum model_cut cut)
{
    if (cut == MODEL_KILL)
        sim_kill(d->w);
    else
        sim_crash(d->w);
    d->cut = cut;
    forget_handles(d);
}

bool driver_shard_want(struct driver *d, uint32_t shard)
{
    if (d->shard[shard])
        return true;
    sim_enter(d->w);
    int rc = log_shard_create(d->log[shard % d->loop_count], model_of(d, shard)->uid, &d->shard[shard]);
    sim_leave(d->w);
    if (rc < 0)
        return model_fail(&d->model, model_of(d, shard), "creating it: %s", status_name(rc));
    d->created[shard] = true;
    return true;
}

/* ---- verifying --------------------------------------------------------------------------------------------------- */

static void verify_read_done(struct log_read *r)
{
    struct driver_reader *v = CONTAINER_OF(r, struct driver_reader, r);
    v->busy = false;
}

static bool verify_read_over(void *arg)
{
    return !((struct driver_reader *)arg)->busy;
}

/* One read, waited for. */
static bool verify_read(struct driver *d, struct driver_reader *v)
{
    v->busy = true;
    v->r = (struct log_read){.done = verify_read_done,
                             .from_counter = v->position,
                             .bytes_max = 1u << 20,
                             .blocks_max = LOG_READ_BLOCKS_MAX,
                             .visibility = LOG_VISIBLE};
    sim_enter(d->w);
    log_read(d->shard[v->shard], &v->r);
    sim_leave(d->w);
    enum sim_end end = sim_run(d->w, verify_read_over, v, PATIENCE_MS);
    return end == SIM_DONE || end == SIM_CUT || model_fail(&d->model, model_of(d, v->shard), "a read does not end");
}

static bool verify_shard(struct driver *d, uint32_t shard)
{
    struct model_shard *s = model_of(d, shard);
    struct driver_reader *v = &d->reader[0];
    struct log_shard_info info;
    bool unreadable = false;
    memset(v, 0, sizeof *v);
    v->shard = shard;
    v->d = d;
    log_shard_info(d->shard[shard], &info);
    if (info.state == LOG_SHARD_QUARANTINED) {
        d->quarantines++;
        unreadable = true;
        if (!s->rotten)
            return model_fail(&d->model, s, "quarantined without damage: %s", info.trouble);
    }
    if (!model_first(&d->model, s, info.first_counter, driver_true_ms(d)))
        return false;
    model_scan_start(s);
    for (v->position = info.first_counter; v->position < info.visible_counter;) {
        if (!verify_read(d, v))
            return false;
        if (v->busy)
            return true; /* the power went */
        if (v->r.status == ST_QUARANTINED && s->rotten) {
            unreadable = true;
            break;
        }
        if (v->r.status < 0 && d->faults) { /* EIO: nothing can be said this time; nothing wrong was said either */
            model_scan_abandon(&d->model, s, d->cut);
            return true;
        }
        if (v->r.status == 0 && v->r.block_count == 0 && d->model.sync != LOG_SYNC_BATCH)
            break; /* the counters that were skipped */
        if (v->r.status < 0 || v->r.block_count == 0)
            return model_fail(&d->model, s, "reading at %" PRIu64 " of %" PRIu64 ": %s, %u blocks", v->position,
                              info.visible_counter, status_name(v->r.status), v->r.block_count);
        for (uint32_t i = 0; i < v->r.block_count; i++) {
            struct log_block *b = &v->r.block[i];
            bool good = model_scan_block(&d->model, s, b);
            v->position = b->header.base_counter + b->header.record_count;
            d->blocks_read++;
            sim_enter(d->w);
            log_block_release(d->log[shard % d->loop_count], b);
            sim_leave(d->w);
            if (!good)
                return false;
        }
    }
    return model_scan_end(&d->model, s, info.next_counter, d->cut, unreadable);
}

bool driver_verify(struct driver *d)
{
    for (uint32_t i = 0; i < d->shard_count; i++)
        if (d->shard[i] && !verify_shard(d, i))
            return false;
    memset(d->reader, 0, sizeof d->reader);
    return driver_ok(d);
}

/* ---- appending --------------------------------------------------------------------------------------------------- */

static void append_done(struct log_append *a)
{
    struct driver_append *x = CONTAINER_OF(a, struct driver_append, a);
    struct driver *d = x->d;
    struct model_shard *s = model_of(d, x->shard);
    x->busy = false;
    if (a->status == 0) {
        struct log_shard_info info;
        d->acks++;
        log_shard_info(d->shard[x->shard], &info);
        if (info.state != LOG_SHARD_OK)
            model_fail(&d->model, s, "record %" PRIu64 " was acknowledged while the shard was not trusted: %s", x->id,
                       info.trouble);
        model_acked(&d->model, s, x->id, x->count, a->base_counter, a->arrival);
    } else {
        d->failures++;
        model_append_failed(s, x->id, x->count, a->status);
        if (!d->faults && a->status != ST_CLOSED)
            model_fail(&d->model, s, "append failed without cause: %s", status_name(a->status));
    }
}

static struct driver_append *append_free(struct driver *d)
{
    for (uint32_t i = 0; i < DRIVER_APPENDS_MAX; i++)
        if (!d->append[i].busy)
            return &d->append[i];
    return NULL;
}

bool driver_append(struct driver *d, uint32_t shard, uint32_t count, uint32_t bytes)
{
    struct driver_append *x = append_free(d);
    struct model_shard *s = model_of(d, shard);
    struct block_record record[32];
    uint8_t key[32][MODEL_KEY_MAX];
    if (!x || count > 32 || (uint64_t)count * bytes > DRIVER_SCRATCH_BYTES || !driver_shard_want(d, shard))
        return false;
    *x = (struct driver_append){.a = {.done = append_done}, .d = d, .shard = shard, .count = count, .id = s->count};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t id = model_submit(s, bytes, driver_true_ms(d));
        record[i] = model_record_make(s, id, key[i], d->scratch + (size_t)i * bytes);
    }
    x->busy = true;
    sim_enter(d->w);
    int rc = log_append(d->shard[shard], record, count, &x->a);
    sim_leave(d->w);
    if (rc == 0)
        return true;
    x->busy = false;
    model_take_back(s, count);
    d->refusals++;
    bool allowed = rc == ST_THROTTLED || rc == ST_CLOSED || (rc == ST_QUARANTINED && s->rotten) ||
                   ((rc == ST_FENCED || rc == ST_RESERVE) && d->faults);
    if (!allowed)
        model_fail(&d->model, s, "append refused without cause: %s", status_name(rc));
    return false;
}

uint32_t driver_appends_busy(const struct driver *d)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < DRIVER_APPENDS_MAX; i++)
        n += d->append[i].busy;
    return n;
}

static bool settled(void *arg)
{
    return driver_appends_busy(arg) == 0 || !driver_ok(arg);
}

bool driver_settle(struct driver *d)
{
    enum sim_end end = sim_run(d->w, settled, d, PATIENCE_MS);
    if (end != SIM_DONE && end != SIM_CUT)
        return model_fail(&d->model, NULL, "%u appends do not end", driver_appends_busy(d));
    return driver_ok(d);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void reader_go(struct driver_reader *v);

static void reader_woken(struct log_watch *watch)
{
    struct driver_reader *v = CONTAINER_OF(watch, struct driver_reader, watch);
    v->watching = false;
    v->d->watches_woken++;
    reader_go(v);
}

static void reader_watch(struct driver_reader *v)
{
    v->watch = (struct log_watch){.woken = reader_woken, .counter = v->position, .visibility = v->visibility};
    v->watching = true;
    log_watch(v->d->shard[v->shard], &v->watch);
}

static bool reader_status_allowed(struct driver_reader *v)
{
    int status = v->r.status;
    const struct model_shard *s = model_of(v->d, v->shard);
    return status == ST_TRIMMED || status == ST_CLOSED || (status == -ECANCELED && v->cancelled) ||
           (status == ST_QUARANTINED && s->rotten) || (status == ST_THROTTLED) || (v->d->faults && status == -EIO) ||
           (v->d->faults && status == ST_FENCED);
}

static bool reader_block(struct driver_reader *v, const struct log_block *b, bool first)
{
    struct driver *d = v->d;
    struct model_shard *s = model_of(d, v->shard);
    uint64_t base = b->header.base_counter, end = base + b->header.record_count;
    bool in_place = first ? base <= v->position && end > v->position : base == v->position;
    if (!in_place && (d->model.sync == LOG_SYNC_BATCH || base < v->position + (1ull << 31)))
        return model_fail(&d->model, s, "gap: a read at %" PRIu64 " gives the block %" PRIu64 "..%" PRIu64, v->position,
                          base, end);
    bool durable =
        d->model.sync == LOG_SYNC_BATCH || (d->model.sync == LOG_SYNC_INTERVAL && v->visibility == LOG_SYNCED);
    v->position = end;
    d->blocks_read++;
    return model_block(&d->model, s, b, durable);
}

static void reader_done(struct log_read *r)
{
    struct driver_reader *v = CONTAINER_OF(r, struct driver_reader, r);
    struct driver *d = v->d;
    v->busy = false;
    if (r->status < 0) {
        if (!reader_status_allowed(v))
            model_fail(&d->model, model_of(d, v->shard), "a read at %" PRIu64 " gives %s", r->from_counter,
                       status_name(r->status));
        return;
    }
    for (uint32_t i = 0; i < r->block_count; i++) {
        bool good = reader_block(v, &r->block[i], i == 0);
        log_block_release(d->log[v->shard % d->loop_count], &r->block[i]);
        if (!good)
            return;
    }
    if (!v->follow)
        return;
    if (r->block_count)
        reader_go(v);
    else
        reader_watch(v);
}

static void reader_go(struct driver_reader *v)
{
    v->r = (struct log_read){.done = reader_done,
                             .from_counter = v->position,
                             .bytes_max = v->bytes_max,
                             .blocks_max = v->blocks_max,
                             .visibility = v->visibility};
    v->busy = true;
    log_read(v->d->shard[v->shard], &v->r);
}

void driver_reader_start(struct driver *d, struct driver_reader *v, uint32_t shard, uint64_t from,
                         enum log_visibility visibility, bool follow)
{
    CHECK(!v->busy && d->shard[shard]);
    sim_enter(d->w);
    if (v->watching)
        log_unwatch(&v->watch);
    *v = (struct driver_reader){.d = d, .shard = shard, .position = from, .visibility = visibility, .follow = follow};
    v->bytes_max = (uint32_t)sim_between(d->w, 1, sim_chance(d->w, 500000) ? 4096 : 1u << 20);
    v->blocks_max = (uint32_t)sim_between(d->w, 1, LOG_READ_BLOCKS_MAX);
    reader_go(v);
    sim_leave(d->w);
}

static void seek_done(struct log_seek *k)
{
    struct driver_seek *x = CONTAINER_OF(k, struct driver_seek, s);
    struct driver *d = x->d;
    struct model_shard *s = model_of(d, x->shard);
    x->busy = false;
    d->seeks++;
    if (k->status < 0) {
        bool allowed = k->status == ST_CLOSED || (d->faults && (k->status == -EIO || k->status == ST_FENCED)) ||
                       (k->status == ST_QUARANTINED && s->rotten) || k->status == ST_THROTTLED;
        if (!allowed)
            model_fail(&d->model, s, "a seek gives %s", status_name(k->status));
        return;
    }
    for (uint64_t id = 0; id < s->count; id++) {
        const struct model_record *r = &s->record[id];
        if (r->counter == NO_COUNTER || r->state != MODEL_ACKED || r->counter < s->first_counter || !r->arrival)
            continue;
        if (r->counter < k->counter && r->arrival >= k->at.ms)
            model_fail(&d->model, s, "a seek to %" PRId64 " gives %" PRIu64 ", but %" PRIu64 " arrived at %" PRId64,
                       k->at.ms, k->counter, r->counter, r->arrival);
        /* (A record that was on its way as the seek began, "none there yet", may have come meanwhile.) */
        if (r->counter == k->counter && r->counter < x->visible && r->arrival < k->at.ms)
            model_fail(&d->model, s, "a seek to %" PRId64 " gives %" PRIu64 ", which arrived at %" PRId64, k->at.ms,
                       k->counter, r->arrival);
    }
}

void driver_seek_start(struct driver *d, uint32_t shard, struct wall_ms at)
{
    if (d->seek.busy || !d->shard[shard])
        return;
    struct log_shard_info info;
    log_shard_info(d->shard[shard], &info);
    d->seek = (struct driver_seek){
        .s = {.done = seek_done, .at = at}, .d = d, .shard = shard, .visible = info.visible_counter, .busy = true};
    sim_enter(d->w);
    log_seek(d->shard[shard], &d->seek.s);
    sim_leave(d->w);
}

bool driver_look(struct driver *d)
{
    for (uint32_t i = 0; i < d->shard_count; i++) {
        struct model_shard *s = model_of(d, i);
        struct log_shard_info info;
        if (!d->shard[i])
            continue;
        log_shard_info(d->shard[i], &info);
        if (!model_first(&d->model, s, info.first_counter, driver_true_ms(d)))
            return false;
        if (info.state == LOG_SHARD_QUARANTINED && !s->rotten)
            return model_fail(&d->model, s, "quarantined without damage: %s", info.trouble);
        if (info.state == LOG_SHARD_FENCED && !d->faults)
            return model_fail(&d->model, s, "fenced without a failure: %s", info.trouble);
        if (info.first_counter > info.visible_counter || info.visible_counter > info.next_counter ||
            info.synced_counter > info.next_counter)
            return model_fail(&d->model, s,
                              "counters first %" PRIu64 " visible %" PRIu64 " synced %" PRIu64 " next %" PRIu64,
                              info.first_counter, info.visible_counter, info.synced_counter, info.next_counter);
        if (d->model.sync == LOG_SYNC_BATCH && info.visible_counter > info.synced_counter)
            return model_fail(&d->model, s, "visible before it was synced");
    }
    return true;
}
