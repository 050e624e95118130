/*
 * The format stays: golden files under tests/vectors/log (docs/FORMAT.md), in two directories.
 *
 *   made/     put together here, by the encoders, from fixed inputs: their bytes must not change, and a log opens them
 *   written/  left by an engine of format version 1 at a clean stop: a log must open it and read every record
 *
 * With WRITE_GOLDEN=1 both are written anew: for a new version of the format only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/log/log_inspect.h"
#include "broker/log/log_internal.h"
#include "common/frame/crc32c.h"
#include "tests/unit/log/log_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *vectors; /* tests/vectors/log */

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *fmt, ...)
{
    char cmd[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    assert_int_equal(system(cmd), 0);
}

/* ---- the scenario: two segments of shard 5, and a journal with more of it and of shard 6 -------------------------- */

#define EPOCH   3u
#define TIME_MS 1795381384567

static const uint8_t log_uid[FRAME_UID_BYTES] = "golden log uid 1";
static const uint64_t gen_sealed = (uint64_t)EPOCH << 32 | 1, gen_active = (uint64_t)EPOCH << 32 | 2,
                      gen_journal = (uint64_t)EPOCH << 32 | 3;

struct made { /* a file in the making */
    uint8_t bytes[32768];
    size_t len;   /* with padding */
    uint64_t end; /* behind the last frame */
    uint64_t durable_to;
    uint64_t generation;
    uint32_t crc;
};

/* The text that read_all of the fixture expects. */
static void text_of(char *to, size_t bytes, uint64_t uid, uint64_t counter)
{
    memset(to, (int)('a' + (uid + counter) % 26), bytes);
    char head[64];
    int len = snprintf(head, sizeof head, "%llu/%llu ", (unsigned long long)uid, (unsigned long long)counter);
    memcpy(to, head, (size_t)len < bytes ? (size_t)len : bytes);
}

static size_t make_block(uint8_t *to, uint64_t uid, uint64_t base, uint32_t count)
{
    uint8_t *p = to + BLOCK_HEADER_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        char text[100];
        text_of(text, sizeof text, uid, base + i);
        p += block_record_write(p, SLICE_LIT("k"), slice_of(text, sizeof text));
    }
    uint32_t len = (uint32_t)(p - to) - BLOCK_HEADER_BYTES;
    struct block_header h = {.record_count = count,
                             .payload_bytes = len,
                             .raw_bytes = len,
                             .payload_crc = crc32c(0, to + BLOCK_HEADER_BYTES, len),
                             .base_counter = base,
                             .arrival = {TIME_MS + (int64_t)base}};
    block_header_write(to, &h);
    return BLOCK_HEADER_BYTES + len;
}

static uint64_t add_frame(struct made *f, uint8_t kind, uint64_t shard_uid, const uint8_t *body, size_t len)
{
    struct frame_header h = {.kind = kind,
                             .generation = f->generation,
                             .offset = f->len,
                             .shard_uid = shard_uid,
                             .shard_epoch = 1,
                             .open_epoch = EPOCH,
                             .stored_bytes = (uint32_t)len,
                             .durable_to = f->durable_to,
                             .previous_crc = f->crc,
                             .body_crc = crc32c(0, body, len)};
    memcpy(h.log_uid, log_uid, FRAME_UID_BYTES);
    f->crc = frame_header_write(f->bytes + f->len, &h);
    memcpy(f->bytes + f->len + FRAME_HEADER_BYTES, body, len);
    f->len += frame_space((uint32_t)len);
    f->end = f->len;
    assert_true(f->len <= sizeof f->bytes);
    return h.offset;
}

static uint64_t add_block(struct made *f, uint64_t uid, uint64_t base, uint32_t count)
{
    uint8_t body[4096];
    size_t len = make_block(body, uid, base, count);
    return add_frame(f, LOG_KIND_BLOCK, uid, body, len);
}

/* The write ends: padded, and synced. */
static void end_write(struct made *f)
{
    f->len = page_up(f->len);
    f->durable_to = f->end;
}

static void add_segment_head(struct made *f, const struct log_segment_head *head)
{
    uint8_t body[LOG_SEGMENT_BYTES];
    log_segment_head_write(body, head);
    add_frame(f, LOG_KIND_SEGMENT, 5, body, sizeof body);
}

static void make_segments(struct made *sealed, struct made *active, struct segment_info *out_sealed)
{
    static struct index_entry places[1];
    sealed->generation = gen_sealed;
    add_segment_head(sealed, &(struct log_segment_head){.base = 0, .previous_base = UINT64_MAX, .size = 65536});
    places[0] = (struct index_entry){0, add_block(sealed, 5, 0, 3), {TIME_MS}};
    end_write(sealed);
    add_block(sealed, 5, 3, 2);
    end_write(sealed);
    *out_sealed = (struct segment_info){.base = 0,
                                        .generation = gen_sealed,
                                        .end = sealed->end,
                                        .next = 5,
                                        .crc = sealed->crc,
                                        .first_arrival = {TIME_MS},
                                        .last_arrival = {TIME_MS + 3},
                                        .index = {1, 1, places}};
    active->generation = gen_active;
    add_segment_head(active, &(struct log_segment_head){.base = 5,
                                                        .previous_base = 0,
                                                        .previous_generation = gen_sealed,
                                                        .previous_end = sealed->end,
                                                        .previous_crc = sealed->crc,
                                                        .last_arrival = {TIME_MS + 3},
                                                        .size = 131072});
    add_block(active, 5, 5, 2);
    end_write(active);
}

static struct log_entry entry_of_5(const struct made *active, uint64_t next)
{
    return (struct log_entry){.uid = 5,
                              .flags = LOG_ENTRY_SEGMENT,
                              .shard_epoch = 1,
                              .segment_next = 7,
                              .next = next,
                              .segment_base = 5,
                              .segment_generation = gen_active,
                              .segment_end = active->end,
                              .segment_size = 131072,
                              .segment_crc = active->crc,
                              .last_arrival = {TIME_MS + (int64_t)next - 2},
                              .disk_bytes = 12288};
}

static void make_journal(struct made *f, const struct made *active)
{
    uint8_t body[1024];
    struct log_entry five = entry_of_5(active, 7), six = {.uid = 6, .shard_epoch = 1, .next = 1};
    f->generation = gen_journal;
    for (uint32_t copy = 0; copy < 2; copy++) {
        log_head_write(body, &(struct log_head){.round = 17, .loop_count = 1, .copy = copy, .entries = 1});
        log_entry_write(body + LOG_HEAD_BYTES, &five);
        add_frame(f, LOG_KIND_HEAD, 0, body, LOG_HEAD_BYTES + LOG_ENTRY_BYTES);
    }
    end_write(f);
    log_round_head_write(body, &(struct log_round_head){.round = 17, .oldest_generation = gen_journal});
    add_frame(f, LOG_KIND_ROUND, 0, body, LOG_ROUND_BYTES);
    add_block(f, 5, 7, 2);
    add_block(f, 6, 0, 1);
    end_write(f);
    five = entry_of_5(active, 9);
    six.last_arrival.ms = TIME_MS;
    log_round_head_write(
        body, &(struct log_round_head){
                  .round = 18, .oldest_generation = gen_journal, .flags = LOG_ROUND_CLEAN, .proofs = 2, .entries = 2});
    log_proof_write(body + LOG_ROUND_BYTES, (struct log_proof){5, 9});
    log_proof_write(body + LOG_ROUND_BYTES + LOG_PROOF_BYTES, (struct log_proof){6, 1});
    log_entry_write(body + LOG_ROUND_BYTES + 2 * LOG_PROOF_BYTES, &five);
    log_entry_write(body + LOG_ROUND_BYTES + 2 * LOG_PROOF_BYTES + LOG_ENTRY_BYTES, &six);
    add_frame(f, LOG_KIND_ROUND, 0, body, LOG_ROUND_BYTES + 2 * LOG_PROOF_BYTES + 2 * LOG_ENTRY_BYTES);
    end_write(f);
}

/* ---- files -------------------------------------------------------------------------------------------------------- */

static void write_file(const char *path, const struct made *f)
{
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    assert_int_equal(fwrite(f->bytes, 1, f->len, to), f->len);
    assert_int_equal(fclose(to), 0);
}

/* The log's own writer of sidecars, for a log that holds only names. */
static void write_sidecar(struct fixture *f, const struct segment_info *info)
{
    struct log *log = calloc(1, sizeof *log);
    struct log_shard *s = calloc(1, sizeof *s);
    assert_true(log && s);
    s->log = log;
    s->uid = 5;
    log->loop = f->loop;
    snprintf(log->dir, sizeof log->dir, "%s", f->dir);
    memcpy(log->uid, log_uid, FRAME_UID_BYTES);
    index_write_info(s, info);
    while (log->tasks)
        fixture_pause_ms(f, 1);
    free(s);
    free(log);
}

/* Makes the directory of the scenario in f->dir. */
static void make_directory(struct fixture *f)
{
    static struct made sealed, active, journal;
    struct segment_info info;
    char path[LOG_PATH_MAX];
    memset(&sealed, 0, sizeof sealed);
    memset(&active, 0, sizeof active);
    memset(&journal, 0, sizeof journal);
    make_segments(&sealed, &active, &info);
    make_journal(&journal, &active);
    log_path_journal_dir(path, f->dir, 0);
    shell("mkdir -p %s", path);
    log_path_shard_dir(path, f->dir, 5);
    shell("mkdir -p %s", path);
    log_path_journal(path, f->dir, 0, 1);
    write_file(path, &journal);
    log_path_segment(path, f->dir, 5, 0);
    write_file(path, &sealed);
    log_path_segment(path, f->dir, 5, 5);
    write_file(path, &active);
    write_sidecar(f, &info);
}

/* Cuts off the pages of zeros at the ends of all files. */
static void cut_zeros(const char *dir)
{
    char cmd[256], path[LOG_PATH_MAX];
    snprintf(cmd, sizeof cmd, "find %s -type f", dir);
    FILE *names = popen(cmd, "r");
    assert_non_null(names);
    while (fgets(path, sizeof path, names)) {
        path[strcspn(path, "\n")] = 0;
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        long used = 0;
        for (int c, at = 1; (c = fgetc(f)) != EOF; at++)
            used = c ? at : used;
        long size = ftell(f);
        fclose(f);
        if ((long)page_up((uint64_t)used) < size)
            assert_int_equal(truncate(path, (long)page_up((uint64_t)used)), 0);
    }
    pclose(names);
}

/* A life of an engine, as it left its files at a clean stop, without the zeros at their ends. */
static void write_directory(struct fixture *f)
{
    f->options.segment_bytes_min = 64u << 10;
    f->options.segment_bytes_max = 64u << 10;
    f->options.direct_bytes = 32u << 10;
    assert_int_equal(fixture_open(f), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(put(f, 1, 3, 100), 0);
        assert_int_equal(put(f, 2, 2, 20000), 0);
        assert_int_equal(put(f, 2, 4, 50), 0);
    }
    fixture_close(f);
    cut_zeros(f->dir);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    fixture_init(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->log)
        fixture_close(f);
    fixture_deinit(f);
    free(f);
    return 0;
}

static void take_vectors(struct fixture *f, const char *name)
{
    if (getenv("WRITE_GOLDEN")) {
        if (strcmp(name, "made") == 0)
            make_directory(f);
        else
            write_directory(f);
        shell("rm -rf %s/%s && mkdir -p %s && cp -r %s %s/%s", vectors, name, vectors, f->dir, vectors, name);
    }
    shell("rm -rf %s && cp -r %s/%s %s && chmod -R u+rwX %s", f->dir, vectors, name, f->dir, f->dir);
}

/* ---- inspecting --------------------------------------------------------------------------------------------------- */

static void found(struct log_inspect *i, const struct log_finding *f)
{
    print_message("%s: byte %llu: %s\n", f->file, (unsigned long long)f->offset, f->what);
}

static void shard_told(struct log_inspect *i, const struct log_shard_report *s)
{
}

static void inspected(struct log_inspect *i)
{
    *(bool *)i->private = true;
}

static struct log_inspect inspect(struct fixture *f)
{
    bool done = false;
    struct log_inspect i = {.done = inspected, .finding = found, .shard = shard_told, .dir = f->dir, .private = &done};
    assert_int_equal(log_inspect_start(f->loop, &i), 0);
    fixture_run(f, &done);
    assert_int_equal(i.status, 0);
    assert_int_equal(i.notes + i.torn + i.damages, 0);
    return i;
}

/* ---- tests -------------------------------------------------------------------------------------------------------- */

static void the_encoders_still_make_the_golden_files(void **state)
{
    struct fixture *f = *state;
    take_vectors(f, "made");
    shell("rm -rf %s/*", f->dir);
    make_directory(f);
    shell("diff -r %s %s/made", f->dir, vectors);
}

static void the_golden_files_are_well_sidecar_included(void **state)
{
    struct fixture *f = *state;
    take_vectors(f, "made");
    struct log_inspect i = inspect(f);
    assert_int_equal(i.records, 10);
    assert_int_equal(i.shards, 2);
    assert_int_equal(i.segments, 2);
    assert_int_equal(i.sidecars, 1);
    assert_int_equal(i.journals, 1);
}

static void a_log_opens_the_golden_files_and_goes_on(void **state)
{
    struct fixture *f = *state;
    take_vectors(f, "made");
    f->live[f->live_count++] = (struct log_live_shard){.uid = 5};
    f->live[f->live_count++] = (struct log_live_shard){.uid = 6};
    assert_int_equal(fixture_open(f), 0);
    assert_int_equal(f->open.unknown_count, 0);
    bool from_disk = false;
    assert_int_equal(read_all(f, 5, 0, &from_disk), 9);
    assert_true(from_disk);
    assert_int_equal(read_all(f, 6, 0, NULL), 1);
    assert_int_equal(info(f, 5).next_counter, 9);
    assert_int_equal(info(f, 5).first_counter, 0);
    assert_int_equal(seek_time(f, 5, TIME_MS + 3), 3);
    assert_int_equal(put(f, 5, 1, 100), 0);
    assert_int_equal(read_all(f, 5, 0, NULL), 10);
    fixture_close(f);
    assert_int_equal(inspect(f).records, 11);
}

static void a_log_opens_what_an_engine_has_written_and_reads_every_record(void **state)
{
    struct fixture *f = *state;
    take_vectors(f, "written");
    struct log_inspect i = inspect(f);
    assert_int_equal(i.records, 15 + 30);
    assert_true(i.segments > 2 && i.sidecars > 0);
    f->live[f->live_count++] = (struct log_live_shard){.uid = 1};
    f->live[f->live_count++] = (struct log_live_shard){.uid = 2};
    assert_int_equal(fixture_open(f), 0);
    assert_int_equal(read_all(f, 1, 0, NULL), 15);
    assert_int_equal(read_all(f, 2, 0, NULL), 30);
    assert_int_equal(info(f, 1).state, LOG_SHARD_OK);
    assert_int_equal(info(f, 2).state, LOG_SHARD_OK);
}

int main(int argc, char **argv)
{
    vectors = argc > 1 ? argv[1] : "tests/vectors/log";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_encoders_still_make_the_golden_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_golden_files_are_well_sidecar_included, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_opens_the_golden_files_and_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_opens_what_an_engine_has_written_and_reads_every_record, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
