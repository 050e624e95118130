#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/frame/block.h"
#include "common/frame/crc32c.h"
#include "common/frame/frame.h"

#include <stdlib.h>

/* ---- CRC ------------------------------------------------------------------------------------------------------- */

static void crc32c_gives_the_published_check_value(void **state)
{
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c_portable(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
}

static void crc32c_by_instruction_equals_crc32c_by_table_at_every_length_and_alignment(void **state)
{
    static uint8_t bytes[3 * 8192 * 2 + 999];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t len = 0; len < 1200; len++)
        for (size_t at = 0; at < 9; at += 4)
            assert_int_equal(crc32c(7, bytes + at, len), crc32c_portable(7, bytes + at, len));
    assert_int_equal(crc32c(0, bytes, sizeof bytes), crc32c_portable(0, bytes, sizeof bytes));
}

static void crc32c_combine_joins_two_parts(void **state)
{
    const char *text = "the quick brown fox jumps over the lazy dog";
    size_t len = strlen(text);
    for (size_t cut = 0; cut <= len; cut++)
        assert_int_equal(crc32c_combine(crc32c(0, text, cut), crc32c(0, text + cut, len - cut), len - cut),
                         crc32c(0, text, len));
}

/* ---- blocks ---------------------------------------------------------------------------------------------------- */

static size_t make_block(uint8_t *to)
{
    uint8_t *p = to + BLOCK_HEADER_BYTES;
    p += block_record_write(p, SLICE_LIT("key"), SLICE_LIT("data one"));
    p += block_record_write(p, SLICE_LIT("k2"), SLICE_LIT(""));
    uint32_t len = (uint32_t)(p - to) - BLOCK_HEADER_BYTES;
    struct block_header h = {.record_count = 2,
                             .payload_bytes = len,
                             .raw_bytes = len,
                             .payload_crc = crc32c(0, to + BLOCK_HEADER_BYTES, len),
                             .base_counter = 41,
                             .arrival = {1234567}};
    block_header_write(to, &h);
    return len + BLOCK_HEADER_BYTES;
}

static void a_block_reads_back_as_it_was_written(void **state)
{
    uint8_t bytes[256];
    size_t len = make_block(bytes);
    struct block_header h;
    struct slice payload;
    assert_int_equal(block_read(slice_of(bytes, len), &h, &payload), 0);
    assert_int_equal(h.base_counter, 41);
    assert_int_equal(h.arrival.ms, 1234567);
    struct block_iter it = block_iter_start(&h, payload);
    struct block_record r;
    assert_int_equal(block_iter_next(&it, &r), 1);
    assert_true(slice_eq_str(r.key, "key") && slice_eq_str(r.data, "data one"));
    assert_int_equal(block_iter_next(&it, &r), 1);
    assert_true(slice_eq_str(r.key, "k2") && r.data.len == 0);
    assert_int_equal(block_iter_next(&it, &r), 0);
}

static void every_flipped_bit_of_a_block_is_found(void **state)
{
    uint8_t bytes[256];
    size_t len = make_block(bytes);
    for (size_t bit = 0; bit < len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct block_header h;
        struct slice payload;
        assert_true(block_read(slice_of(bytes, len), &h, &payload) < 0);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_cut_block_is_torn(void **state)
{
    uint8_t bytes[256];
    size_t len = make_block(bytes);
    for (size_t cut = 0; cut < len; cut++) {
        struct block_header h;
        struct slice payload;
        assert_int_equal(block_read(slice_of(bytes, cut), &h, &payload), ST_TORN);
    }
}

static void a_record_that_runs_over_the_payload_is_corrupt(void **state)
{
    uint8_t bytes[64];
    size_t len = block_record_write(bytes, SLICE_LIT("key"), SLICE_LIT("data"));
    struct block_record r;
    struct block_iter it = {slice_of(bytes, len - 1), 1};
    assert_int_equal(block_iter_next(&it, &r), ST_CORRUPT);
    it = (struct block_iter){slice_of(bytes, len + 1), 1};
    assert_int_equal(block_iter_next(&it, &r), 1);
    assert_int_equal(block_iter_next(&it, &r), ST_CORRUPT);
}

/* ---- frames: a file in memory, and its scan -------------------------------------------------------------------- */

struct file {
    uint8_t bytes[65536];
    uint64_t at, durable_to, generation;
    uint32_t previous_crc, epoch;
};

static const uint8_t uid[FRAME_UID_BYTES] = "a log's own uid";

static void file_init(struct file *f)
{
    memset(f, 0, sizeof *f);
    f->generation = 3;
    f->epoch = 1;
}

static uint64_t put(struct file *f, const char *body)
{
    struct frame_header h = {.kind = 1,
                             .generation = f->generation,
                             .offset = f->at,
                             .shard_uid = 9,
                             .shard_epoch = 1,
                             .open_epoch = f->epoch,
                             .stored_bytes = (uint32_t)strlen(body),
                             .durable_to = f->durable_to,
                             .previous_crc = f->previous_crc,
                             .body_crc = crc32c(0, body, strlen(body))};
    memcpy(h.log_uid, uid, sizeof uid);
    uint64_t at = f->at;
    f->previous_crc = frame_header_write(f->bytes + at, &h);
    memcpy(f->bytes + at + FRAME_HEADER_BYTES, body, strlen(body));
    f->at += frame_space(h.stored_bytes);
    return at;
}

/* The end of a write that was synced. */
static void synced(struct file *f)
{
    f->durable_to = f->at;
    f->at = (f->at + FRAME_WRITE_ALIGN - 1) & ~(uint64_t)(FRAME_WRITE_ALIGN - 1);
}

struct seen {
    unsigned count;
    char text[64];
    struct frame_scan scan;
    enum frame_verdict verdict;
};

/* Feeds windows of at most `step` bytes more than are asked for; runs from where the scan stands to its verdict. */
static void run(struct file *f, struct seen *s, size_t step)
{
    size_t need = FRAME_HEADER_BYTES;
    for (;;) {
        struct frame_header h;
        struct slice body;
        uint64_t offset, at = s->scan.position < sizeof f->bytes ? s->scan.position : sizeof f->bytes;
        size_t len = need + step;
        bool last = len >= sizeof f->bytes - at;
        /* an own copy, so that the sanitizer sees a read beyond it */
        len = last ? sizeof f->bytes - at : len;
        uint8_t *copy = malloc(len ? len : 1);
        memcpy(copy, f->bytes + at, len);
        enum frame_step st = frame_scan_step(&s->scan, slice_of(copy, len), last, &h, &body, &offset, &need);
        if (st == FRAME_STEP_FRAME) {
            s->text[s->count++] = (char)body.ptr[0];
            need = FRAME_HEADER_BYTES;
        }
        free(copy);
        if (st == FRAME_STEP_DONE)
            break;
    }
    s->text[s->count] = 0;
    s->verdict = frame_scan_verdict(&s->scan);
}

static struct seen scan_stepping(struct file *f, uint64_t known_durable_to, size_t step)
{
    struct seen s = {0};
    struct frame_context c = {.generation = 3, .known_durable_to = known_durable_to};
    memcpy(c.log_uid, uid, sizeof uid);
    frame_scan_init(&s.scan, &c, 0, 0);
    run(f, &s, step);
    return s;
}

static struct seen scan(struct file *f)
{
    struct seen a = scan_stepping(f, 0, 0), b = scan_stepping(f, 0, 65536);
    assert_string_equal(a.text, b.text);
    assert_int_equal(a.verdict, b.verdict);
    assert_int_equal(a.scan.end, b.scan.end);
    assert_int_equal(a.scan.resume_at, b.scan.resume_at);
    return a;
}

/* Three writes: "a b", "c", "d e"; the first two synced. */
static void three_writes(struct file *f, uint64_t at[5])
{
    file_init(f);
    at[0] = put(f, "a...");
    at[1] = put(f, "b...............................................................................");
    synced(f);
    at[2] = put(f, "c");
    synced(f);
    at[3] = put(f, "d");
    at[4] = put(f, "e");
}

static void a_whole_file_is_read_to_its_clean_end(void **state)
{
    struct file f;
    uint64_t at[5];
    three_writes(&f, at);
    struct seen s = scan(&f);
    assert_string_equal(s.text, "abcde");
    assert_int_equal(s.verdict, FRAME_END_CLEAN);
    assert_int_equal(s.scan.end, at[4] + frame_space(1));
    assert_int_equal(s.scan.durable_to, at[2] + frame_space(1));
}

static void damage_past_the_last_sync_is_torn(void **state)
{
    struct file f;
    uint64_t at[5];
    for (unsigned byte = 0; byte < FRAME_HEADER_BYTES + 1; byte++) {
        three_writes(&f, at);
        f.bytes[at[3] + byte] ^= 0x10;
        struct seen s = scan(&f);
        assert_string_equal(s.text, "abc");
        assert_int_equal(s.scan.end, at[2] + frame_space(1));
        if (s.verdict != FRAME_END_TORN)
            assert_int_equal(s.verdict, FRAME_END_CORRUPT + 99);
    }
}

static void damage_below_a_later_durable_to_is_corrupt_and_the_scan_can_resume_behind_it(void **state)
{
    struct file f;
    uint64_t at[5];
    for (unsigned byte = 0; byte < FRAME_HEADER_BYTES + 4; byte++) {
        three_writes(&f, at);
        f.bytes[at[0] + byte] ^= 1;
        struct seen s = scan(&f);
        assert_string_equal(s.text, "");
        assert_int_equal(s.verdict, FRAME_END_CORRUPT);
        assert_int_equal(s.scan.resume_at, at[1]);
        frame_scan_resume(&s.scan);
        run(&f, &s, 0);
        assert_string_equal(s.text, "bcde");
        assert_int_equal(s.verdict, FRAME_END_CLEAN);
    }
    three_writes(&f, at);
    f.bytes[at[1] + 200] ^= 1; /* in b's body, inside a page: the next page does not follow */
    struct seen s = scan(&f);
    assert_string_equal(s.text, "a");
    assert_int_equal(s.verdict, FRAME_END_CORRUPT);
    assert_int_equal(s.scan.resume_at, at[2]);
}

static void damage_below_a_checkpoints_end_is_corrupt(void **state)
{
    struct file f;
    uint64_t at[5];
    three_writes(&f, at);
    f.bytes[at[4] + 5] ^= 1;
    assert_int_equal(scan_stepping(&f, 0, 0).verdict, FRAME_END_TORN);
    assert_int_equal(scan_stepping(&f, at[4] + frame_space(1), 0).verdict, FRAME_END_CORRUPT);
}

static void a_lost_write_that_reads_as_zeros_below_a_sync_is_corrupt(void **state)
{
    struct file f;
    uint64_t at[5];
    three_writes(&f, at);
    memset(f.bytes + at[0], 0, 4096);
    struct seen s = scan(&f);
    assert_int_equal(s.verdict, FRAME_END_CORRUPT);
    assert_int_equal(s.scan.end, 0);
}

static void frames_of_another_generation_uid_or_an_older_epoch_are_stale(void **state)
{
    struct file f;
    uint64_t at[5];
    three_writes(&f, at);
    f.generation = 2; /* what a former use left behind */
    put(&f, "x");
    assert_string_equal(scan(&f).text, "abcde");
    three_writes(&f, at);
    synced(&f);
    f.epoch = 0;
    put(&f, "x");
    struct seen s = scan(&f);
    assert_string_equal(s.text, "abcde");
    assert_int_equal(s.verdict, FRAME_END_CLEAN);
    three_writes(&f, at);
    synced(&f);
    f.previous_crc++;
    put(&f, "x");
    s = scan(&f);
    assert_string_equal(s.text, "abcde");
    assert_int_equal(s.verdict, FRAME_END_CLEAN);
}

static void writing_goes_on_at_the_next_page_behind_a_torn_tail(void **state)
{
    struct file f;
    uint64_t at[5];
    three_writes(&f, at);
    memset(f.bytes + at[4], 0xee, 500); /* e was torn; an opening has cut it off and wrote f in the next page */
    struct frame_header h;
    uint32_t crc;
    assert_int_equal(frame_header_read(slice_of(f.bytes + at[3], FRAME_HEADER_BYTES), &h, &crc), 0);
    f.previous_crc = crc;
    f.epoch = 2;
    f.durable_to = at[4];
    f.at = (at[4] + 4095) / 4096 * 4096;
    put(&f, "f");
    struct seen s = scan(&f);
    assert_string_equal(s.text, "abcdf");
    assert_int_equal(s.verdict, FRAME_END_CLEAN);
}

static void a_frame_with_unknown_incompatible_flags_stops_the_scan(void **state)
{
    struct file f;
    file_init(&f);
    put(&f, "a");
    struct frame_header h = {.kind = 1, .incompat_flags = 2, .generation = 3, .offset = f.at, .open_epoch = 1};
    memcpy(h.log_uid, uid, sizeof uid);
    frame_header_write(f.bytes + f.at, &h);
    struct seen s = scan(&f);
    assert_string_equal(s.text, "a");
    assert_int_equal(s.verdict, FRAME_END_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_published_check_value),
        cmocka_unit_test(crc32c_by_instruction_equals_crc32c_by_table_at_every_length_and_alignment),
        cmocka_unit_test(crc32c_combine_joins_two_parts),
        cmocka_unit_test(a_block_reads_back_as_it_was_written),
        cmocka_unit_test(every_flipped_bit_of_a_block_is_found),
        cmocka_unit_test(a_cut_block_is_torn),
        cmocka_unit_test(a_record_that_runs_over_the_payload_is_corrupt),
        cmocka_unit_test(a_whole_file_is_read_to_its_clean_end),
        cmocka_unit_test(damage_past_the_last_sync_is_torn),
        cmocka_unit_test(damage_below_a_later_durable_to_is_corrupt_and_the_scan_can_resume_behind_it),
        cmocka_unit_test(damage_below_a_checkpoints_end_is_corrupt),
        cmocka_unit_test(a_lost_write_that_reads_as_zeros_below_a_sync_is_corrupt),
        cmocka_unit_test(frames_of_another_generation_uid_or_an_older_epoch_are_stale),
        cmocka_unit_test(writing_goes_on_at_the_next_page_behind_a_torn_tail),
        cmocka_unit_test(a_frame_with_unknown_incompatible_flags_stops_the_scan),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
