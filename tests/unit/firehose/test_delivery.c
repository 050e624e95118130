/* The engine on a real loop, with a source in memory, into a real folder; objects are opened with age and zstd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/frame/frame.h"
#include "common/io/loop_backend.h"
#include "firehose/delivery.h"
#include "firehose/firehose.h"
#include "firehose/name.h"
#include "tests/unit/firehose/record_source.h"

#define WAIT_MS   20000
#define PARTS     4u
#define COUNT_MAX 200000u

struct world {
    struct loop *loop;
    struct record_source source;
    struct firehose *f;
    struct delivery *d;
    struct delivery_settings settings;
    char folder[64], out[80], journals[80];
    bool opened, stopped, timed_out;
    struct io_timer deadline;
    uint8_t *seen[PARTS + 1]; /* how often each record was found */
    uint32_t files;
};

static void run(const char *fmt, ...) printf_like(1);
static void run(const char *fmt, ...)
{
    char cmd[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    if (system(cmd) != 0)
        fail_msg("failed: %s", cmd);
}

static void deadline_fired(struct io_timer *t)
{
    CONTAINER_OF(t, struct world, deadline)->timed_out = true;
}

/* Runs the loop until `until` holds. */
static void wait_for(struct world *w, bool (*until)(struct world *w), const char *what)
{
    w->timed_out = false;
    w->deadline.fired = deadline_fired;
    timer_arm(w->loop, &w->deadline, mono_add_ms(loop_now_precise(w->loop), WAIT_MS));
    while (!until(w) && !w->timed_out)
        assert_int_equal(loop_core_step(w->loop, true), 0);
    timer_disarm(w->loop, &w->deadline);
    if (w->timed_out) {
        struct delivery_status s;
        if (w->d)
            delivery_status(w->d, &s);
        fail_msg("waited in vain: %s (last error: %s)", what, w->d ? s.last_error : "");
    }
}
#define WAIT_FOR(w, until) wait_for((w), (until), #until)

static bool is_opened(struct world *w)
{
    return w->opened;
}
static bool is_stopped(struct world *w)
{
    return w->stopped;
}
static bool all_delivered(struct world *w)
{
    struct delivery_status s;
    delivery_status(w->d, &s);
    return s.state == DELIVERY_RUNNING && s.lag_records == 0 && s.objects_open == 0;
}
static bool is_failed(struct world *w)
{
    struct delivery_status s;
    delivery_status(w->d, &s);
    return s.state == DELIVERY_FAILED;
}
static bool is_retrying(struct world *w)
{
    struct delivery_status s;
    delivery_status(w->d, &s);
    return s.retries >= 2;
}

static void opened(struct firehose *f, int status, void *ctx)
{
    assert_int_equal(status, 0);
    ((struct world *)ctx)->opened = true;
}

static void stopped(struct firehose *f, void *ctx)
{
    ((struct world *)ctx)->stopped = true;
}

static struct wall_ms now(struct world *w)
{
    return loop_wall(w->loop);
}

static void start(struct world *w)
{
    struct loop_options lo = {.kind = LOOP_AUTO, .workers = 2};
    struct err e = {0};
    if (loop_create(&lo, &w->loop, &e) < 0)
        fail_msg("%s", e.text);
    record_source_attach(&w->source, w->loop);
    struct firehose_options fo = {.loop = w->loop, .journal_folder = w->journals, .log_uid = {1, 2, 3}};
    if (firehose_create(&fo, &w->f, &e) < 0)
        fail_msg("%s", e.text);
    w->opened = false;
    firehose_open(w->f, opened, w);
    WAIT_FOR(w, is_opened);
    if (firehose_add(w->f, 7, &w->settings, &w->source.source, &w->d, &e) < 0)
        fail_msg("%s", e.text);
}

static void stop(struct world *w, uint32_t grace_ms)
{
    w->stopped = false;
    firehose_stop(w->f, grace_ms, stopped, w);
    WAIT_FOR(w, is_stopped);
    assert_int_equal(w->source.lent, 0);
    firehose_destroy(w->f);
    w->d = NULL;
    loop_destroy(w->loop);
    w->loop = w->source.loop = NULL;
}

static struct world *world_make(void)
{
    struct world *w = calloc(1, sizeof *w);
    struct err e;
    strcpy(w->folder, "/tmp/sluice-test-delivery-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->out, sizeof w->out, "%s/deep/out", w->folder);
    snprintf(w->journals, sizeof w->journals, "%s/journals", w->folder);
    record_source_init(&w->source);
    for (uint32_t i = 1; i <= PARTS; i++)
        w->seen[i] = calloc(COUNT_MAX, 1);
    delivery_settings_init(&w->settings);
    strcpy(w->settings.name, "archive");
    char url[160];
    snprintf(url, sizeof url, "file://%s/!{timestamp:yyyy/MM}/", w->out);
    assert_int_equal(delivery_settings_set_sink(&w->settings, slice_str(url), &e), 0);
    w->settings.interval_ms = 50;
    w->settings.buffer_bytes = 1 << 20;
    return w;
}

static void world_free(struct world *w)
{
    run("rm -rf '%s'", w->folder);
    record_source_deinit(&w->source);
    for (uint32_t i = 1; i <= PARTS; i++)
        free(w->seen[i]);
    free(w);
}

static void make_key(struct world *w, const char *name)
{
    char text[AGE_RECIPIENT_TEXT_MAX + 1] = "", path[128];
    struct err e;
    run("age-keygen -o '%s/%s' 2>/dev/null && age-keygen -y '%s/%s' > '%s/%s.pub'", w->folder, name, w->folder, name,
        w->folder, name);
    snprintf(path, sizeof path, "%s/%s.pub", w->folder, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fread(text, 1, AGE_RECIPIENT_TEXT_MAX, f), AGE_RECIPIENT_TEXT_MAX);
    fclose(f);
    assert_int_equal(delivery_settings_add_recipient(&w->settings, slice_str(text), &e), 0);
}

/* Counts the records of one file, decoded by the real tools according to its name. */
static void read_object(struct world *w, const char *path)
{
    char cmd[1024];
    const char *open = strstr(path, ".zst.age") ? "age -d -i '%s/key' '%s' | zstd -dc"
                       : strstr(path, ".age")   ? "age -d -i '%s/key' '%s'"
                       : strstr(path, ".zst")   ? ": '%s'; zstd -dc '%s'"
                                                : ": '%s'; cat '%s'";
    snprintf(cmd, sizeof cmd, open, w->folder, path);
    FILE *p = popen(cmd, "r");
    char *line = NULL;
    size_t cap = 0;
    assert_non_null(p);
    while (getline(&line, &cap, p) > 0) {
        unsigned long long part, counter;
        assert_int_equal(sscanf(line, "%llu:%llu:", &part, &counter), 2);
        assert_true(part >= 1 && part <= PARTS && counter < COUNT_MAX);
        w->seen[part][counter]++;
    }
    free(line);
    assert_int_equal(pclose(p), 0);
    w->files++;
}

static void read_folder(struct world *w, const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        char sub[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
        if (e->d_type == DT_DIR)
            read_folder(w, sub);
        else if (e->d_name[0] == '.')
            fail_msg("left behind: %s", sub);
        else
            read_object(w, sub);
    }
    closedir(d);
}

/* Each record of each part in exactly one object; of `files` objects if that is not 0. */
static void each_exactly_once(struct world *w, uint32_t files)
{
    for (uint32_t i = 1; i <= PARTS; i++)
        memset(w->seen[i], 0, COUNT_MAX);
    w->files = 0;
    read_folder(w, w->out);
    for (uint32_t i = 0; i < w->source.part_count; i++) {
        const struct record_part *p = &w->source.part[i];
        for (uint64_t c = 0; c < p->info.next_counter; c++)
            if (w->seen[p->info.uid][c] != 1)
                fail_msg("part %u record %u is in %u objects", (unsigned)p->info.uid, (unsigned)c,
                         w->seen[p->info.uid][c]);
    }
    if (files)
        assert_int_equal(w->files, files);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void records_of_several_parts_arrive_compressed_and_encrypted_each_once(void **state)
{
    struct world *w = world_make();
    make_key(w, "key");
    for (uint64_t p = 1; p <= 3; p++)
        record_source_add(&w->source, p, 0, 0);
    start(w);
    for (int round = 0; round < 30; round++)
        for (uint64_t p = 1; p <= 3; p++)
            record_source_append_numbered(&w->source, p, 500, 200, now(w));
    WAIT_FOR(w, all_delivered);
    struct delivery_status s;
    delivery_status(w->d, &s);
    assert_int_equal(s.records, 45000);
    assert_int_equal(s.raw_bytes, 45000 * 201);
    assert_int_equal(s.retries, 0);
    assert_string_equal(s.last_error, "");
    assert_true(s.objects >= 9);
    assert_true(s.stored_bytes < s.raw_bytes / 4);
    for (uint64_t p = 1; p <= 3; p++)
        assert_int_equal(record_source_part(&w->source, p)->delivered, 15000);
    stop(w, 1000);
    each_exactly_once(w, (uint32_t)s.objects);
    world_free(w);
}

static void every_combination_of_stages_can_be_opened(void **state)
{
    for (int i = 0; i < 4; i++) {
        struct world *w = world_make();
        struct err e;
        if (i & 1)
            make_key(w, "key");
        assert_int_equal(
            delivery_settings_set_compression(&w->settings, i & 2 ? SLICE_LIT("none") : SLICE_LIT("zstd:3"), &e), 0);
        record_source_add(&w->source, 1, 0, 0);
        start(w);
        record_source_append_numbered(&w->source, 1, 100, 100, now(w));
        WAIT_FOR(w, all_delivered);
        for (int k = 0; k < 20; k++)
            record_source_append_numbered(&w->source, 1, 1000, 1000, now(w));
        WAIT_FOR(w, all_delivered);
        stop(w, 1000);
        each_exactly_once(w, 0);
        world_free(w);
    }
}

static bool twelve_objects(struct world *w)
{
    struct delivery_status s;
    delivery_status(w->d, &s);
    return s.objects == 12;
}

static void objects_hold_at_most_the_buffer_size_except_single_large_records(void **state)
{
    struct world *w = world_make();
    struct err e;
    w->settings.buffer_bytes = 10000;
    w->settings.interval_ms = 600000;
    assert_int_equal(delivery_settings_set_compression(&w->settings, SLICE_LIT("none"), &e), 0);
    record_source_add(&w->source, 1, 0, 0);
    start(w);
    record_source_append_numbered(&w->source, 1, 100, 999, now(w)); /* 10 of 1,000 bytes an object */
    record_source_append_numbered(&w->source, 1, 1, 3000000, now(w));
    record_source_append_numbered(&w->source, 1, 15, 999, now(w));
    WAIT_FOR(w, twelve_objects);
    stop(w, 10000); /* delivers the five records that are left */
    run("test $(find '%s' -type f -size +10000c | wc -l) -eq 1", w->out);
    each_exactly_once(w, 13);
    world_free(w);
}

static bool one_object(struct world *w)
{
    struct delivery_status s;
    delivery_status(w->d, &s);
    return s.objects >= 1;
}

static bool something_read(struct world *w)
{
    struct delivery_status s;
    delivery_status(w->d, &s);
    return s.objects_open == 1 && s.lag_bytes > 0;
}

static void an_object_waits_for_its_interval_and_a_flush_ends_the_wait(void **state)
{
    struct world *w = world_make();
    w->settings.interval_ms = 3600000;
    record_source_add(&w->source, 1, 0, 0);
    start(w);
    record_source_append_numbered(&w->source, 1, 10, 100, now(w));
    WAIT_FOR(w, something_read);
    assert_false(one_object(w));
    delivery_flush(w->d);
    WAIT_FOR(w, one_object);
    record_source_append_numbered(&w->source, 1, 10, 100, now(w));
    stop(w, 0); /* leaves the second */
    w->settings.interval_ms = 0;
    w->settings.version = 2;
    start(w); /* interval 0: at once */
    WAIT_FOR(w, all_delivered);
    stop(w, 1000);
    each_exactly_once(w, 2);
    world_free(w);
}

static void old_records_make_full_objects_not_many_small_ones(void **state)
{
    struct world *w = world_make();
    struct delivery_status s;
    w->settings.interval_ms = 2000;
    record_source_add(&w->source, 1, 0, 0);
    for (int i = 0; i < 3000; i++) /* 3 MB, an hour old, in small blocks */
        record_source_append_numbered(&w->source, 1, 10, 100, (struct wall_ms){1000});
    start(w);
    WAIT_FOR(w, all_delivered);
    delivery_status(w->d, &s);
    assert_int_equal(s.objects, 3);
    stop(w, 1000);
    each_exactly_once(w, 3);
    world_free(w);
}

static void stopping_and_starting_goes_on_where_it_was(void **state)
{
    struct world *w = world_make();
    record_source_add(&w->source, 1, 1000, 0);
    record_source_part(&w->source, 1)->info.first_counter = 0;
    record_source_part(&w->source, 1)->info.next_counter = 0;
    for (int i = 0; i < 6; i++) {
        start(w);
        record_source_append_numbered(&w->source, 1, 3000, 300, now(w));
        if (i % 2)
            WAIT_FOR(w, one_object);
        stop(w, i % 3 ? 5000 : 0);
    }
    start(w);
    WAIT_FOR(w, all_delivered);
    stop(w, 1000);
    each_exactly_once(w, 0);
    world_free(w);
}

static void a_child_part_is_read_after_its_parent(void **state)
{
    struct world *w = world_make();
    struct err e;
    assert_int_equal(delivery_settings_set_compression(&w->settings, SLICE_LIT("none"), &e), 0);
    w->settings.interval_ms = 100;
    record_source_add(&w->source, 1, 0, 0);
    start(w);
    record_source_append_numbered(&w->source, 1, 2000, 100, now(w));
    record_source_add(&w->source, 2, 0, 1);
    record_source_append_numbered(&w->source, 2, 1000, 100, now(w));
    for (int i = 0; i < 3; i++)
        assert_int_equal(loop_core_step(w->loop, true), 0);
    record_source_append_numbered(&w->source, 1, 1000, 100, now(w));
    record_source_close(&w->source, 1);
    WAIT_FOR(w, all_delivered);
    stop(w, 1000);
    each_exactly_once(w, 0);
    /* in the order of the objects no record of the parent follows one of the child */
    run("cat $(find '%s' -type f | sort) | cut -d: -f1 | uniq | tr -d '\\n' | grep -qx 12", w->out);
    world_free(w);
}

static void a_sink_that_refuses_is_tried_again_and_nothing_is_lost(void **state)
{
    struct world *w = world_make();
    struct delivery_status s;
    record_source_add(&w->source, 1, 0, 0);
    run("mkdir -p '%s/deep' && touch '%s'", w->folder, w->out); /* a file where the folder should be */
    start(w);
    record_source_append_numbered(&w->source, 1, 5000, 300, now(w));
    WAIT_FOR(w, is_retrying);
    delivery_status(w->d, &s);
    assert_int_equal(s.state, DELIVERY_RETRYING);
    assert_int_equal(s.objects, 0);
    assert_non_null(strstr(s.last_error, "Not a directory"));
    run("rm '%s'", w->out);
    WAIT_FOR(w, all_delivered);
    stop(w, 1000);
    each_exactly_once(w, 0);
    world_free(w);
}

static void failing_reads_are_tried_again(void **state)
{
    struct world *w = world_make();
    record_source_add(&w->source, 1, 0, 0);
    record_source_append_numbered(&w->source, 1, 500, 300, (struct wall_ms){1});
    w->source.fail_reads = 1;
    start(w);
    WAIT_FOR(w, all_delivered);
    stop(w, 1000);
    each_exactly_once(w, 0);
    world_free(w);
}

static void what_retention_took_is_skipped_counted_and_reported(void **state)
{
    struct world *w = world_make();
    struct delivery_status s;
    record_source_add(&w->source, 1, 0, 0);
    record_source_append_numbered(&w->source, 1, 100, 100, (struct wall_ms){1});
    start(w);
    WAIT_FOR(w, all_delivered);
    stop(w, 1000);
    record_source_append_numbered(&w->source, 1, 50, 100, (struct wall_ms){1});
    record_source_append_numbered(&w->source, 1, 50, 100, (struct wall_ms){1});
    record_source_trim(&w->source, 1, 150);
    start(w);
    WAIT_FOR(w, all_delivered);
    delivery_status(w->d, &s);
    assert_int_equal(s.lost_records, 50);
    assert_string_equal(s.last_error,
                        "part 1: records 100 to 149 are lost: retention took them before they were delivered: "
                        "the position has expired by retention");
    stop(w, 1000);
    for (uint32_t i = 1; i <= PARTS; i++)
        memset(w->seen[i], 0, COUNT_MAX);
    read_folder(w, w->out);
    for (uint32_t c = 0; c < 200; c++)
        assert_int_equal(w->seen[1][c], c < 100 || c >= 150);
    world_free(w);
}

static void a_delivery_that_starts_at_the_latest_record_skips_older_ones_once(void **state)
{
    struct world *w = world_make();
    w->settings.start = DELIVERY_START_LATEST;
    record_source_add(&w->source, 1, 0, 0);
    record_source_append_numbered(&w->source, 1, 100, 100, (struct wall_ms){1});
    start(w);
    WAIT_FOR(w, all_delivered);
    stop(w, 0);
    record_source_append_numbered(&w->source, 1, 100, 100, (struct wall_ms){1}); /* while it is down */
    record_source_add(&w->source, 2, 0, 0);                                      /* and a new part */
    record_source_append_numbered(&w->source, 2, 100, 100, (struct wall_ms){1});
    start(w);
    WAIT_FOR(w, all_delivered);
    stop(w, 1000);
    read_folder(w, w->out);
    for (uint32_t c = 0; c < 200; c++)
        assert_int_equal(w->seen[1][c], c >= 100);
    for (uint32_t c = 0; c < 100; c++)
        assert_int_equal(w->seen[2][c], 1);
    world_free(w);
}

static void a_damaged_journal_stops_the_delivery_and_touches_nothing(void **state)
{
    struct world *w = world_make();
    struct delivery_status s;
    record_source_add(&w->source, 1, 0, 0);
    start(w);
    record_source_append_numbered(&w->source, 1, 100, 100, now(w));
    WAIT_FOR(w, all_delivered);
    stop(w, 1000);
    run("printf X | dd of=$(ls %s/*.journal) bs=1 seek=140 conv=notrunc 2>/dev/null", w->journals);
    record_source_append_numbered(&w->source, 1, 100, 100, (struct wall_ms){1});
    start(w);
    WAIT_FOR(w, is_failed);
    delivery_status(w->d, &s);
    assert_non_null(strstr(s.last_error, "delivery journal '"));
    assert_non_null(strstr(s.last_error, "': damaged at byte 0"));
    stop(w, 1000);
    run("test $(find '%s' -type f | wc -l) -eq 1", w->out);
    world_free(w);
}

static void metrics_and_status_tell_what_was_delivered(void **state)
{
    struct world *w = world_make();
    struct bytebuf b;
    record_source_add(&w->source, 1, 0, 0);
    start(w);
    record_source_append_numbered(&w->source, 1, 100, 100, now(w));
    WAIT_FOR(w, all_delivered);
    bytebuf_init(&b, 1 << 20);
    struct bytebuf samples;
    bytebuf_init(&samples, 1 << 20);
    firehose_sample(w->f, &samples);
    assert_int_equal(samples.len, sizeof(struct firehose_sample));
    firehose_metrics_write((const struct firehose_sample *)samples.ptr, 1, &b);
    bytebuf_deinit(&samples);
    bytebuf_byte(&b, 0);
    assert_non_null(strstr((char *)b.ptr, "# TYPE sluice_delivery_records_total counter\n"
                                          "sluice_delivery_records_total{delivery=\"archive\"} 100\n"));
    assert_non_null(strstr((char *)b.ptr, "sluice_delivery_lag_records{delivery=\"archive\"} 0\n"));
    bytebuf_reset(&b);
    delivery_status_print(w->d, &b);
    bytebuf_byte(&b, 0);
    assert_non_null(strstr((char *)b.ptr, "\"state\":\"running\""));
    assert_non_null(strstr((char *)b.ptr, "\"records\":100,"));
    bytebuf_deinit(&b);
    assert_ptr_equal(firehose_find(w->f, SLICE_LIT("archive")), w->d);
    assert_null(firehose_find(w->f, SLICE_LIT("archiv")));
    assert_ptr_equal(firehose_next(w->f, NULL), w->d);
    assert_null(firehose_next(w->f, w->d));
    stop(w, 1000);
    world_free(w);
}

/* The key that the engine will give to an object, from the incarnation in its journal. */
static void key_path(struct world *w, uint64_t object, struct wall_ms oldest, char *out, size_t cap)
{
    uint32_t incarnation = 0;
    char journal[160], unique[NAME_UNIQUE_CHARS + 1], key[SINK_KEY_MAX + 1];
    struct prefix_values v = {.time = oldest};
    snprintf(journal, sizeof journal, "%s/delivery-0000000000000007-0000000000000001.journal", w->journals);
    FILE *f = fopen(journal, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, FRAME_HEADER_BYTES + 8, SEEK_SET), 0);
    assert_int_equal(fread(&incarnation, 4, 1, f), 1);
    fclose(f);
    name_unique(incarnation, 7, object, unique);
    assert_int_equal(name_object_key(&w->settings, unique, &v, key), 0);
    snprintf(out, cap, "%s/%s", w->out, key);
}

static void a_foreign_file_under_the_key_is_never_replaced_and_the_object_gets_another_key(void **state)
{
    struct world *w = world_make();
    struct wall_ms then = {1795381384567};
    struct delivery_status s;
    char first[1200], second[1200];
    record_source_add(&w->source, 1, 0, 0);
    start(w);
    WAIT_FOR(w, all_delivered);
    key_path(w, 1, then, first, sizeof first);
    key_path(w, 2, then, second, sizeof second);
    run("mkdir -p \"$(dirname '%s')\" && echo foreign > '%s'", first, first);
    record_source_append_numbered(&w->source, 1, 100, 100, then);
    WAIT_FOR(w, all_delivered);
    delivery_status(w->d, &s);
    assert_non_null(strstr(s.last_error, "is there already and is not ours"));
    stop(w, 1000);
    run("grep -qx foreign '%s' && test -f '%s' && rm '%s'", first, second, first);
    each_exactly_once(w, 1);
    start(w); /* and the journal is content with it */
    WAIT_FOR(w, all_delivered);
    stop(w, 1000);
    each_exactly_once(w, 1);
    world_free(w);
}

static void changed(struct firehose *f, uint64_t uid, void *ctx)
{
    struct world *w = ctx;
    assert_int_equal(uid, 7);
    w->stopped = true;
    w->d = firehose_find_uid(f, uid);
}

static void new_settings_are_taken_over_without_losing_or_doubling_a_record(void **state)
{
    struct world *w = world_make();
    struct err e = {0};
    struct delivery_status s;
    w->settings.interval_ms = 3600000;
    record_source_add(&w->source, 1, 0, 0);
    start(w);
    record_source_append_numbered(&w->source, 1, 100, 100, now(w));
    WAIT_FOR(w, something_read);
    struct delivery_settings next = w->settings;
    next.version = 2;
    next.interval_ms = 0;
    w->stopped = false;
    assert_int_equal(firehose_update(w->f, 7, &next, changed, w, &e), 0);
    assert_int_equal(firehose_update(w->f, 7, &next, changed, w, &e), ST_CONFLICT);
    WAIT_FOR(w, is_stopped);
    record_source_append_numbered(&w->source, 1, 100, 100, now(w));
    WAIT_FOR(w, all_delivered);
    delivery_status(w->d, &s);
    assert_non_null(strstr(s.last_key, "archive-2-"));
    stop(w, 1000);
    each_exactly_once(w, 2);
    world_free(w);
}

static void a_removed_delivery_takes_its_journal_along(void **state)
{
    struct world *w = world_make();
    record_source_add(&w->source, 1, 0, 0);
    start(w);
    record_source_append_numbered(&w->source, 1, 100, 100, now(w));
    WAIT_FOR(w, all_delivered);
    run("test -n \"$(ls '%s')\"", w->journals);
    w->stopped = false;
    assert_int_equal(firehose_remove(w->f, 7, 1000, true, changed, w), 0);
    WAIT_FOR(w, is_stopped);
    assert_null(w->d);
    run("test -z \"$(ls '%s')\"", w->journals);
    stop(w, 1000);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_several_parts_arrive_compressed_and_encrypted_each_once),
        cmocka_unit_test(every_combination_of_stages_can_be_opened),
        cmocka_unit_test(objects_hold_at_most_the_buffer_size_except_single_large_records),
        cmocka_unit_test(an_object_waits_for_its_interval_and_a_flush_ends_the_wait),
        cmocka_unit_test(old_records_make_full_objects_not_many_small_ones),
        cmocka_unit_test(stopping_and_starting_goes_on_where_it_was),
        cmocka_unit_test(a_child_part_is_read_after_its_parent),
        cmocka_unit_test(a_sink_that_refuses_is_tried_again_and_nothing_is_lost),
        cmocka_unit_test(failing_reads_are_tried_again),
        cmocka_unit_test(what_retention_took_is_skipped_counted_and_reported),
        cmocka_unit_test(a_delivery_that_starts_at_the_latest_record_skips_older_ones_once),
        cmocka_unit_test(a_damaged_journal_stops_the_delivery_and_touches_nothing),
        cmocka_unit_test(metrics_and_status_tell_what_was_delivered),
        cmocka_unit_test(a_foreign_file_under_the_key_is_never_replaced_and_the_object_gets_another_key),
        cmocka_unit_test(new_settings_are_taken_over_without_losing_or_doubling_a_record),
        cmocka_unit_test(a_removed_delivery_takes_its_journal_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
