#include "tests/unit/log/log_fixture.h"

#include "common/base/check.h"
#include "common/io/loop_backend.h"

#include <stdio.h>
#include <stdlib.h>

static void shell(const char *fmt, const char *a, const char *b)
{
    char cmd[512];
    snprintf(cmd, sizeof cmd, fmt, a, b);
    CHECK(system(cmd) == 0);
}

void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/sluice-log-XXXXXX");
    CHECK(mkdtemp(f->dir) != NULL);
    struct err e = {0};
    CHECK(loop_create(&(struct loop_options){.kind = LOOP_AUTO, .workers = 1}, &f->loop, &e) == 0);
    f->options = (struct log_options){.dir = f->dir,
                                      .journal_bytes = 1u << 20,
                                      .segment_bytes_min = 128u << 10,
                                      .segment_bytes_max = 512u << 10,
                                      .cache_bytes = 4u << 20,
                                      .direct_bytes = 64u << 10,
                                      .mark_after_ms = 20};
}

void fixture_deinit(struct fixture *f)
{
    loop_destroy(f->loop);
    shell("rm -rf %s%s", f->dir, "");
}

void fixture_run(struct fixture *f, bool *until)
{
    while (!*until)
        CHECK(loop_core_step(f->loop, true) == 0);
}

struct pause {
    struct io_timer timer;
    bool over;
};

static void pause_fired(struct io_timer *t)
{
    CONTAINER_OF(t, struct pause, timer)->over = true;
}

void fixture_pause_ms(struct fixture *f, int64_t ms)
{
    struct pause p = {.timer = {.fired = pause_fired}};
    timer_arm(f->loop, &p.timer, mono_add_ms(loop_now_precise(f->loop), ms));
    fixture_run(f, &p.over);
}

static void opened(struct log_open *o)
{
    *(bool *)o->private = true;
}

int fixture_open(struct fixture *f)
{
    bool done = false;
    f->open = (struct log_open){.done = opened,
                                .logs = &f->log,
                                .loops = &f->loop,
                                .loop_count = 1,
                                .options = &f->options,
                                .live = f->live,
                                .live_count = f->live_count,
                                .private = &done};
    log_open(&f->open);
    fixture_run(f, &done);
    return f->open.status;
}

static void closed(struct log_close *c)
{
    *(bool *)c->private = true;
}

void fixture_close(struct fixture *f)
{
    bool done = false;
    struct log_close c = {.done = closed, .private = &done};
    log_close(f->log, &c);
    fixture_run(f, &done);
    CHECK(c.status == 0);
    f->log = NULL;
}

void fixture_crash(struct fixture *f)
{
    shell("cp -r %s %s.copy", f->dir, f->dir);
    fixture_close(f);
    char cmd[256];
    snprintf(cmd, sizeof cmd, "rm -rf %s && mv %s.copy %s", f->dir, f->dir, f->dir);
    CHECK(system(cmd) == 0);
}

struct log_shard *fixture_shard(struct fixture *f, uint64_t uid)
{
    struct log_shard *s = log_shard_find(f->log, uid);
    if (s)
        return s;
    CHECK(log_shard_create(f->log, uid, &s) == 0);
    for (size_t i = 0; i < f->live_count; i++)
        if (f->live[i].uid == uid)
            return s;
    f->live[f->live_count++] = (struct log_live_shard){.uid = uid};
    return s;
}

static void appended(struct log_append *a)
{
    CONTAINER_OF(a, struct put, a)->done = true;
}

static void record_text(char *to, size_t bytes, uint64_t uid, uint64_t counter)
{
    memset(to, (int)('a' + (uid + counter) % 26), bytes);
    char head[64];
    int len = snprintf(head, sizeof head, "%llu/%llu ", (unsigned long long)uid, (unsigned long long)counter);
    memcpy(to, head, (size_t)len < bytes ? (size_t)len : bytes);
}

int put_start(struct fixture *f, struct put *p, uint64_t uid, uint32_t count, size_t bytes)
{
    struct log_shard *s = fixture_shard(f, uid);
    struct log_shard_info i;
    log_shard_info(s, &i);
    *p = (struct put){.a = {.done = appended}};
    p->records = calloc(count, sizeof *p->records);
    p->text = malloc(count * bytes);
    CHECK(p->records && p->text);
    for (uint32_t k = 0; k < count; k++) {
        record_text((char *)p->text + k * bytes, bytes, uid, i.next_counter + k);
        p->records[k] = (struct block_record){SLICE_LIT("k"), slice_of(p->text + k * bytes, bytes)};
    }
    int status = log_append(s, p->records, count, &p->a);
    free(p->records);
    free(p->text);
    p->records = NULL;
    if (status == 0)
        CHECK(p->a.base_counter == i.next_counter);
    return status;
}

int put_wait(struct fixture *f, struct put *p)
{
    fixture_run(f, &p->done);
    return p->a.status;
}

int put(struct fixture *f, uint64_t uid, uint32_t count, size_t bytes)
{
    struct put p;
    int status = put_start(f, &p, uid, count, bytes);
    return status < 0 ? status : put_wait(f, &p);
}

struct reading {
    struct log_read r;
    bool done;
};

static void read_done(struct log_read *r)
{
    CONTAINER_OF(r, struct reading, r)->done = true;
}

static int read_some(struct fixture *f, struct reading *g, uint64_t uid, uint64_t from)
{
    memset(g, 0, sizeof *g);
    g->r.done = read_done;
    g->r.from_counter = from;
    g->r.bytes_max = 256u << 10;
    g->r.blocks_max = LOG_READ_BLOCKS_MAX;
    log_read(fixture_shard(f, uid), &g->r);
    fixture_run(f, &g->done);
    return g->r.status;
}

uint64_t read_all(struct fixture *f, uint64_t uid, uint64_t from, bool *out_from_disk)
{
    static struct reading g;
    uint64_t next = from, seen = 0;
    for (;;) {
        int status = read_some(f, &g, uid, next);
        CHECK(status == 0);
        if (g.r.block_count == 0)
            return seen;
        if (out_from_disk && !g.r.from_cache)
            *out_from_disk = true;
        for (uint32_t i = 0; i < g.r.block_count; i++) {
            struct log_block *b = &g.r.block[i];
            struct block_iter it = block_iter_start(&b->header, b->payload);
            struct block_record rec;
            uint64_t counter = b->header.base_counter;
            while (block_iter_next(&it, &rec) == 1) {
                if (counter >= next) {
                    char *want = malloc(rec.data.len);
                    record_text(want, rec.data.len, uid, counter);
                    CHECK(memcmp(want, rec.data.ptr, rec.data.len) == 0);
                    free(want);
                    seen++;
                    next = counter + 1;
                }
                counter++;
            }
            log_block_release(f->log, b);
        }
    }
}

int read_one(struct fixture *f, uint64_t uid, uint64_t from, uint64_t *out_first, uint32_t *out_count)
{
    static struct reading g;
    int status = read_some(f, &g, uid, from);
    *out_count = g.r.block_count;
    *out_first = g.r.block_count ? g.r.block[0].header.base_counter : 0;
    for (uint32_t i = 0; i < g.r.block_count; i++)
        log_block_release(f->log, &g.r.block[i]);
    return status;
}

struct seeking {
    struct log_seek s;
    bool done;
};

static void seek_done(struct log_seek *s)
{
    CONTAINER_OF(s, struct seeking, s)->done = true;
}

uint64_t seek_time(struct fixture *f, uint64_t uid, int64_t ms)
{
    struct seeking k = {.s = {.done = seek_done, .at = {ms}}};
    log_seek(fixture_shard(f, uid), &k.s);
    fixture_run(f, &k.done);
    CHECK(k.s.status == 0);
    return k.s.counter;
}

struct log_shard_info info(struct fixture *f, uint64_t uid)
{
    struct log_shard_info i;
    log_shard_info(fixture_shard(f, uid), &i);
    return i;
}
