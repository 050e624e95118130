/*
 * Systematic lives of a log, where sim_log makes random ones: the k-th operation fails, for every k; each bit of its
 * frames' headers flips, and sampled bits of its payloads; index files are lost; the disk is full and then is not; the
 * wall clock is stepped. What must hold is the model's (log_model.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/frame/frame.h"
#include "tests/sim/log_driver.h"

static struct driver d;

static const struct log_options small = {
    .dir = "/data",
    .sync = LOG_SYNC_BATCH,
    .journal_bytes = 128 << 10,
    .segment_bytes_min = 64 << 10,
    .segment_bytes_max = 64 << 10,
    .cache_bytes = 2 << 20,
    .direct_bytes = 48 << 10,
};

static enum log_sync sync_mode = LOG_SYNC_BATCH; /* of the lives that begin now */

static struct sim_world *begin(uint64_t seed)
{
    struct sim_world *w = sim_create(&(struct sim_options){.seed = seed});
    struct log_options o = small;
    o.sync = sync_mode;
    o.sync_interval_ms = 1;
    driver_init(&d, w, &o, 3);
    return w;
}

static void finish(struct sim_world *w, const char *what, uint64_t k)
{
    if (!driver_ok(&d))
        fail_msg("%s %llu: %s", what, (unsigned long long)k, d.model.trouble);
    driver_deinit(&d);
    sim_destroy(w);
}

/* Small appends of all shards, the direct path, a large record, readers at the tip, pauses in which marks are written
 * and frames migrate. */
static void use(struct sim_world *w)
{
    for (uint32_t i = 0; i < 24 && driver_ok(&d); i++) {
        driver_append(&d, i % 3, 1 + i % 4, 40 + 97 * (i % 5));
        if (i == 4 && d.shard[1])
            driver_reader_start(&d, &d.reader[0], 1, 0, LOG_VISIBLE, true);
        if (i == 8)
            driver_append(&d, 0, 4, 15000);
        if (i == 12)
            driver_append(&d, 2, 1, (1 << 20) + 5);
        if (i % 6 == 5)
            driver_settle(&d);
        if (i == 15)
            driver_run_us(&d, 250000);
        driver_run_us(&d, i % 3 * 150);
        driver_look(&d);
    }
    driver_settle(&d);
}

/* ---- the k-th operation fails ------------------------------------------------------------------------------------ */

/* A run of use, close, open, verify, use, power cut, with the nth operation failing and `more` after it; then all is
 * well again: it must open, hold what it must, and take records. Returns how many operations could have failed. */
static uint64_t run_with_fault(enum sim_fault fault, uint64_t nth, uint64_t more)
{
    struct sim_world *w = begin(4711);
    uint64_t before = sim_fault_ops(w, fault), able = 0;
    d.faults = nth > 0;
    if (nth)
        sim_fail_nth(w, fault, nth, more);
    enum model_cut cut = MODEL_CLEAN;
    if (driver_open(&d, 2) == 0) {
        use(w);
        if (driver_ok(&d) && driver_close(&d) && d.loop_count == 0 && driver_open(&d, 1) == 0) {
            if (driver_verify(&d))
                use(w);
            able = sim_fault_ops(w, fault) - before;
        }
    }
    if (d.loop_count)
        cut = MODEL_POWER;
    if (driver_ok(&d)) {
        driver_crash(&d, cut);
        d.faults = false;
        if (driver_open(&d, 2) == 0 && driver_verify(&d)) {
            for (uint32_t i = 0; i < 3 && driver_ok(&d); i++)
                if (!driver_append(&d, i, 1, 100))
                    model_fail(&d.model, NULL, "it takes no records any more");
            driver_settle(&d);
            driver_close(&d);
        }
    }
    char what[80];
    snprintf(what, sizeof what, "fault %d, %llu more, at operation", fault, (unsigned long long)more);
    finish(w, what, nth);
    return able;
}

static void sweep(enum sim_fault fault, uint64_t more)
{
    uint64_t able = run_with_fault(fault, 0, 0);
    assert_true(able > 20);
    for (uint64_t k = 1; k <= able; k++)
        run_with_fault(fault, k, more);
}

static void eio_at_each_operation_never_acknowledges_falsely(void **state)
{
    sweep(SIM_FAULT_EIO, 0);
    sweep(SIM_FAULT_EIO, 2);
}

static void enospc_at_each_operation_never_acknowledges_falsely(void **state)
{
    sweep(SIM_FAULT_ENOSPC, 0);
    sweep(SIM_FAULT_ENOSPC, 3);
}

static void a_short_transfer_at_each_operation_goes_unnoticed(void **state)
{
    sweep(SIM_FAULT_SHORT, 0);
    sweep(SIM_FAULT_SHORT, 2);
}

static void each_failed_sync_loses_nothing_acknowledged(void **state)
{
    sweep(SIM_FAULT_SYNC, 0);
    sweep(SIM_FAULT_SYNC, 1);
}

static void a_cancelled_transfer_at_each_operation_never_acknowledges_falsely(void **state)
{
    sweep(SIM_FAULT_CANCEL, 0);
}

/* Acknowledged before a sync: what a fault makes of that is the hardest to get right. */
static void faults_in_the_other_sync_modes_lose_only_what_they_may(void **state)
{
    for (int mode = LOG_SYNC_INTERVAL; mode <= LOG_SYNC_NEVER; mode++) {
        sync_mode = (enum log_sync)mode;
        sweep(SIM_FAULT_EIO, 0);
        sweep(SIM_FAULT_SYNC, 1);
        sweep(SIM_FAULT_ENOSPC, 3);
    }
    sync_mode = LOG_SYNC_BATCH;
}

/* The power fails as the kth operation is submitted. Returns false once k is beyond the end. */
static bool run_with_cut(uint64_t k)
{
    struct sim_world *w = begin(4712);
    sim_cut_at(w, k);
    int rc = driver_open(&d, 2);
    bool cut = rc == -EINTR;
    if (rc == 0) {
        use(w);
        cut = sim_run(w, NULL, NULL, 0) == SIM_CUT;
    }
    if (driver_ok(&d)) {
        driver_crash(&d, MODEL_POWER);
        if (driver_open(&d, 1) == 0)
            driver_verify(&d);
    }
    finish(w, "power cut at operation", k);
    return cut;
}

static void a_power_cut_at_each_operation_loses_nothing_that_was_promised(void **state)
{
    for (int mode = LOG_SYNC_BATCH; mode <= LOG_SYNC_NEVER; mode++) {
        uint64_t k = 1;
        sync_mode = (enum log_sync)mode;
        while (run_with_cut(k))
            k++;
        assert_true(k > 50);
    }
    sync_mode = LOG_SYNC_BATCH;
}

/* ---- damage at rest ---------------------------------------------------------------------------------------------- */

#define FILES_MAX 64

static struct file_list {
    uint32_t count;
    struct {
        char path[128];
        uint64_t size;
    } at[FILES_MAX];
} files;

static void file_add(void *arg, const char *path, uint64_t size)
{
    if (files.count < FILES_MAX) {
        snprintf(files.at[files.count].path, sizeof files.at[0].path, "%s", path);
        files.at[files.count++].size = size;
    }
}

/* The shard that a file belongs to; -1: journals and the rest, which concern all. */
static int file_shard(const char *path)
{
    char name[32];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "/%016llx/", (unsigned long long)(DRIVER_UID + i));
        if (strstr(path, name))
            return i;
    }
    return -1;
}

/* A log at rest: closed, with frames in journals and in sealed and active segments. `models` keeps what it holds. */
static struct sim_world *rest_make(void)
{
    struct sim_world *w = begin(4713);
    assert_int_equal(driver_open(&d, 1), 0);
    for (uint32_t i = 0; i < 6; i++) {
        driver_append(&d, i % 3, 2, 300);
        driver_settle(&d);
    }
    driver_append(&d, 0, 4, 15000);
    driver_append(&d, 0, 4, 15000);
    driver_settle(&d);
    for (uint32_t i = 0; i < 6; i++) {
        driver_append(&d, i % 3, 2, 300);
        driver_settle(&d);
    }
    driver_run_us(&d, 300000);
    assert_true(driver_close(&d));
    files.count = 0;
    sim_disk_walk(w, "/data", file_add, NULL);
    return w;
}

struct tally {
    uint64_t tried, quarantined, refused;
};

/* Opens a copy of the disk with one byte changed and checks all that is served. */
static void damage_try(struct sim_world *rest, const char *path, uint64_t at, uint8_t mask, struct tally *t)
{
    struct sim_world *kept_world = d.w;
    struct model_shard kept[3];
    struct sim_world *w = sim_create(&(struct sim_options){.seed = at * 8 + mask});
    int shard = file_shard(path);
    sim_disk_copy(w, rest);
    assert_true(sim_disk_flip(w, path, at, mask));
    d.w = w;
    d.rot = true;
    d.cut = MODEL_CLEAN;
    d.quarantines = 0;
    for (int i = 0; i < 3; i++) {
        struct model_shard *s = &d.model.shard[i];
        struct model_record *copy = sim_heap_keep(s->cap * sizeof *copy);
        memcpy(copy, s->record, s->count * sizeof *copy);
        kept[i] = *s;
        s->record = copy;
        s->rotten = shard < 0 || shard == i;
    }
    int rc = driver_open(&d, 1);
    if (rc == 0 && driver_verify(&d)) {
        for (uint32_t i = 0; i < 3; i++)
            if (!d.model.shard[i].rotten && !driver_append(&d, i, 1, 50))
                model_fail(&d.model, &d.model.shard[i], "the other shards do not serve");
        driver_settle(&d);
    }
    t->tried++;
    t->quarantined += d.quarantines > 0;
    t->refused += rc < 0;
    if (!driver_ok(&d))
        fail_msg("%s: byte %llu mask %u: %s", path, (unsigned long long)at, mask, d.model.trouble);
    if (rc < 0 && shard >= 0)
        fail_msg("%s: byte %llu mask %u: damage in one shard's file fails the opening: %s", path,
                 (unsigned long long)at, mask, d.open.err.text);
    sim_destroy(w);
    for (int i = 0; i < 3; i++) {
        sim_heap_keep_free(d.model.shard[i].record);
        d.model.shard[i] = kept[i];
    }
    d.w = kept_world;
    memset(d.append, 0, sizeof d.append);
    d.model.trouble[0] = 0;
}

/* Calls damage_try for bits of the frame at `at`: every bit of its header if `every`, else one in 61; and samples of its
 * body. */
static void frame_damage(struct sim_world *rest, const char *path, uint64_t at, const struct frame_header *h,
                         bool every, struct tally *t)
{
    uint64_t step = every ? 1 : 61;
    for (uint64_t bit = 0; bit < FRAME_HEADER_BYTES * 8; bit += step)
        damage_try(rest, path, at + bit / 8, (uint8_t)(1u << bit % 8), t);
    for (uint64_t bit = 0; bit < h->stored_bytes * 8ull; bit += 1 + h->stored_bytes * 8ull / (every ? 200 : 20))
        damage_try(rest, path, at + FRAME_HEADER_BYTES + bit / 8, (uint8_t)(1u << bit % 8), t);
}

static void file_damage(struct sim_world *rest, const char *path, uint64_t size, struct tally *t)
{
    bool seen[8] = {false};
    for (uint64_t at = 0; at + FRAME_HEADER_BYTES <= size; at += FRAME_ALIGN) {
        uint8_t bytes[FRAME_HEADER_BYTES];
        struct frame_header h;
        uint32_t crc;
        sim_disk_peek(rest, path, at, bytes, sizeof bytes);
        if (frame_header_read(slice_of(bytes, sizeof bytes), &h, &crc) < 0)
            continue;
        bool first = !seen[h.kind & 7];
        seen[h.kind & 7] = true;
        frame_damage(rest, path, at, &h, first, t);
    }
}

static void flipped_bits_are_detected_and_nothing_wrong_is_served(void **state)
{
    struct sim_world *rest = rest_make();
    struct tally t = {0};
    assert_true(files.count >= 4);
    for (uint32_t i = 0; i < files.count; i++)
        file_damage(rest, files.at[i].path, files.at[i].size, &t);
    print_message("%llu bits flipped: %llu quarantined a shard, %llu refused the opening\n",
                  (unsigned long long)t.tried, (unsigned long long)t.quarantined, (unsigned long long)t.refused);
    assert_true(t.tried > 2000 && t.quarantined > 100);
    finish(rest, "damage", 0);
}

static bool ends_with(const char *s, const char *end)
{
    size_t a = strlen(s), b = strlen(end);
    return a >= b && strcmp(s + a - b, end) == 0;
}

/* Index files are removed, filled with rubbish, or replaced by another's: all is still there, nothing is quarantined. */
static void indexes_are_rebuilt_from_the_log(void **state)
{
    for (int how = 0; how < 4; how++) {
        struct sim_world *w = rest_make();
        uint64_t hit = 0;
        for (uint32_t i = 0; i < files.count; i++) {
            const char *path = files.at[i].path;
            uint8_t rubbish[4096];
            if (!ends_with(path, ".idx"))
                continue;
            hit++;
            sim_fill(w, rubbish, sizeof rubbish);
            if (how == 0)
                assert_true(sim_disk_remove(w, path));
            else if (how == 1)
                sim_disk_poke(w, path, 0, rubbish, sizeof rubbish);
            else if (how == 2)
                assert_true(sim_disk_flip(w, path, files.at[i].size / 2, 16));
            else
                assert_true(sim_disk_flip(w, path, files.at[i].size - 1, 1));
        }
        assert_true(hit > 0);
        assert_int_equal(driver_open(&d, 1), 0);
        driver_verify(&d);
        driver_seek_start(&d, 0, (struct wall_ms){sim_wall(w).ms - 100});
        driver_run_us(&d, 100000);
        if (driver_ok(&d))
            driver_close(&d);
        finish(w, "index damage", (uint64_t)how);
    }
}

/* ---- space and time ---------------------------------------------------------------------------------------------- */

static void a_full_disk_recovers_without_restart_once_space_is_back(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim_world *w = begin(seed);
        assert_int_equal(driver_open(&d, 1), 0);
        driver_append(&d, 0, 1, 100);
        driver_settle(&d);
        sim_disk_set_capacity(w, sim_disk_used(w) + sim_between(w, 0, 300000));
        d.faults = true;
        uint64_t refused = 0, failed = d.failures;
        for (int i = 0; i < 200 && driver_ok(&d); i++) {
            refused += !driver_append(&d, (uint32_t)i % 3, 1, 20000);
            driver_run_us(&d, 20000);
            driver_look(&d);
        }
        if (refused + d.failures - failed == 0)
            model_fail(&d.model, NULL, "the disk never got full");
        sim_disk_set_capacity(w, 1ull << 40);
        driver_run_us(&d, 5000000);
        uint64_t acks = d.acks;
        for (uint32_t i = 0; i < 3 && driver_ok(&d); i++)
            if (!driver_append(&d, i, 1, 100))
                model_fail(&d.model, &d.model.shard[i], "it takes no records though there is space again");
        driver_settle(&d);
        if (driver_ok(&d) && d.acks != acks + 3)
            model_fail(&d.model, NULL, "it stores no records though there is space again");
        driver_crash(&d, MODEL_POWER);
        d.faults = false;
        if (driver_ok(&d) && driver_open(&d, 1) == 0 && driver_verify(&d))
            driver_close(&d);
        finish(w, "full disk, seed", seed);
    }
}

static void retain_all(struct sim_world *w, int64_t keep_ms)
{
    for (uint32_t i = 0; i < 3; i++) {
        struct log_retention r = {.keep_ms = keep_ms, .keep_bytes = UINT64_MAX};
        d.model.shard[i].keep_ms = keep_ms;
        if (!d.shard[i])
            continue;
        sim_enter(w);
        log_shard_retain(d.shard[i], &r);
        sim_leave(w);
    }
}

static void steps_of_the_wall_clock_expire_nothing_early_and_lose_nothing(void **state)
{
    static const int64_t steps[] = {3600000, -3600000, 3600000, 3600000, -3600000, -3600000, -3600000, 3600000};
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct sim_world *w = begin(seed);
        assert_int_equal(driver_open(&d, 2), 0);
        for (uint32_t i = 0; i < 3; i++)
            driver_shard_want(&d, i);
        retain_all(w, 1800000);
        for (uint32_t i = 0; i < 8 && driver_ok(&d); i++) {
            for (uint32_t n = 0; n < 4; n++) {
                driver_append(&d, n % 3, 2, 9000);
                driver_settle(&d);
            }
            driver_step_wall(&d, steps[i]);
            driver_run_us(&d, 60000000);
            driver_look(&d);
        }
        driver_crash(&d, MODEL_POWER);
        if (driver_ok(&d) && driver_open(&d, 1) == 0 && driver_verify(&d)) {
            retain_all(w, 1800000);
            driver_run_us(&d, 60000000);
            driver_look(&d);
            driver_close(&d);
        }
        finish(w, "clock steps, seed", seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eio_at_each_operation_never_acknowledges_falsely),
        cmocka_unit_test(enospc_at_each_operation_never_acknowledges_falsely),
        cmocka_unit_test(a_short_transfer_at_each_operation_goes_unnoticed),
        cmocka_unit_test(each_failed_sync_loses_nothing_acknowledged),
        cmocka_unit_test(a_cancelled_transfer_at_each_operation_never_acknowledges_falsely),
        cmocka_unit_test(faults_in_the_other_sync_modes_lose_only_what_they_may),
        cmocka_unit_test(a_power_cut_at_each_operation_loses_nothing_that_was_promised),
        cmocka_unit_test(flipped_bits_are_detected_and_nothing_wrong_is_served),
        cmocka_unit_test(indexes_are_rebuilt_from_the_log),
        cmocka_unit_test(a_full_disk_recovers_without_restart_once_space_is_back),
        cmocka_unit_test(steps_of_the_wall_clock_expire_nothing_early_and_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
