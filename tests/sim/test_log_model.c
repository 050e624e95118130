/* The log's model itself: each rule of it catches its violation, and lets pass what is allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/frame/crc32c.h"
#include "tests/sim/log_model.h"

static struct model m;
static struct model_shard *s;
static uint8_t payload[65536];
static struct wall_ms now = {1000000};

static int setup(void **state)
{
    model_init(&m, LOG_SYNC_BATCH, 1, 9);
    s = &m.shard[0];
    return 0;
}

static int teardown(void **state)
{
    model_deinit(&m);
    return 0;
}

static uint64_t submit(uint32_t count)
{
    uint64_t id = s->count;
    for (uint32_t i = 0; i < count; i++)
        model_submit(s, 50, 1000000);
    return id;
}

/* A block of the records id..id+count-1 with the first at counter `base`. */
static struct log_block block(uint64_t id, uint32_t count, uint64_t base)
{
    uint8_t key[MODEL_KEY_MAX], data[64];
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct block_record r = model_record_make(s, id + i, key, data);
        len += block_record_write(payload + len, r.key, r.data);
    }
    return (struct log_block){.header = {.record_count = count, .base_counter = base, .arrival = now},
                              .payload = slice_of(payload, len)};
}

static bool found(uint64_t id, uint32_t count, uint64_t base)
{
    struct log_block b = block(id, count, base);
    return model_scan_block(&m, s, &b);
}

static void expect(const char *rule)
{
    if (!strstr(m.trouble, rule))
        fail_msg("expected '%s', got '%s'", rule, m.trouble);
}

static void what_was_acknowledged_and_is_there_is_right(void **state)
{
    uint64_t a = submit(3), b = submit(2), c = submit(1);
    assert_true(model_acked(&m, s, a, 3, 0, now) && model_acked(&m, s, b, 2, 3, now));
    model_scan_start(s);
    assert_true(found(a, 3, 0) && found(b, 2, 3));
    assert_true(model_scan_end(&m, s, 5, MODEL_POWER, false)); /* c was pending: it may be missing */
    assert_int_equal(s->record[c].state, MODEL_GONE);
    uint64_t d = submit(1);
    assert_true(model_acked(&m, s, d, 1, 5, now));
}

/* Batch: a read error does not excuse a loss. Interval: after a power cut nobody can tell. */
static void after_a_scan_cut_short_only_what_may_be_lost_is_forgotten(void **state)
{
    uint64_t a = submit(2), b = submit(2);
    assert_true(model_acked(&m, s, a, 2, 0, now));
    model_scan_start(s);
    model_scan_abandon(&m, s, MODEL_POWER);
    assert_int_equal(s->record[a].state, MODEL_ACKED);
    assert_int_equal(s->record[b].state, MODEL_FAILED);
    m.sync = LOG_SYNC_INTERVAL;
    uint64_t c = submit(1), e = submit(1);
    assert_true(model_acked(&m, s, c, 1, 2, now));
    model_scan_start(s);
    model_scan_abandon(&m, s, MODEL_KILL);
    assert_int_equal(s->record[c].state, MODEL_ACKED);
    model_scan_abandon(&m, s, MODEL_POWER);
    assert_int_equal(s->record[c].state, MODEL_FAILED);
    model_scan_start(s);
    assert_true(found(a, 2, 0) && found(e, 1, 1ull << 33)); /* without c: no gap */
    assert_int_equal(s->record[c].state, MODEL_GONE);
}

static void a_pending_one_may_have_survived(void **state)
{
    uint64_t a = submit(1), b = submit(1);
    assert_true(model_acked(&m, s, a, 1, 0, now));
    model_scan_start(s);
    assert_true(found(a, 1, 0) && found(b, 1, 1) && model_scan_end(&m, s, 2, MODEL_POWER, false));
}

static void an_acknowledged_record_that_is_missing_is_lost(void **state)
{
    uint64_t a = submit(1), b = submit(1);
    assert_true(model_acked(&m, s, a, 1, 0, now) && model_acked(&m, s, b, 1, 1, now));
    model_scan_start(s);
    assert_true(found(a, 1, 0));
    assert_false(model_scan_end(&m, s, 1, MODEL_POWER, false));
    expect("lost");
}

static void one_missing_at_the_front_is_lost(void **state)
{
    uint64_t a = submit(1), b = submit(1);
    assert_true(model_acked(&m, s, a, 1, 0, now) && model_acked(&m, s, b, 1, 1, now));
    model_scan_start(s);
    assert_false(found(b, 1, 1));
    expect("lost");
}

static void one_that_a_reader_saw_is_lost_too(void **state)
{
    uint64_t a = submit(1);
    struct log_block b = block(a, 1, 0);
    assert_true(model_block(&m, s, &b, true));
    model_scan_start(s);
    assert_false(model_scan_end(&m, s, 0, MODEL_POWER, false));
    expect("lost");
}

static void a_pending_one_missing_before_one_that_is_there_is_a_gap(void **state)
{
    uint64_t a = submit(1), b = submit(1);
    (void)a;
    model_scan_start(s);
    assert_false(found(b, 1, 0));
    expect("gap");
}

static void a_failed_one_may_be_missing_before_one_that_is_there(void **state)
{
    uint64_t a = submit(1);
    model_append_failed(s, a, 1, -ENOSPC);
    uint64_t b = submit(1);
    assert_true(model_acked(&m, s, b, 1, 0, now));
    model_scan_start(s);
    assert_true(found(b, 1, 0) && model_scan_end(&m, s, 1, MODEL_POWER, false));
}

static void after_a_disk_error_nothing_is_acknowledged(void **state)
{
    uint64_t a = submit(1), b = submit(1);
    model_append_failed(s, a, 1, -EIO);
    assert_false(model_acked(&m, s, b, 1, 0, now));
    expect("G2");
}

static void another_counter_is_renumbered(void **state)
{
    uint64_t a = submit(2);
    assert_true(model_acked(&m, s, a, 2, 0, now));
    model_scan_start(s);
    assert_false(found(a, 2, 1));
    expect("renumbered");
}

static void skipped_counters_are_a_gap(void **state)
{
    uint64_t a = submit(1), b = submit(1);
    assert_true(model_acked(&m, s, a, 1, 0, now));
    model_scan_start(s);
    assert_true(found(a, 1, 0));
    assert_false(found(b, 1, 2));
    expect("gap");
}

static void the_wrong_order_is_reordered(void **state)
{
    uint64_t a = submit(1), b = submit(1);
    model_scan_start(s);
    model_append_failed(s, a, 1, -ENOSPC);
    assert_true(found(b, 1, 0));
    s->record[a].state = MODEL_FAILED;
    assert_false(found(a, 1, 1)); /* a higher counter, a lower id */
    expect("twice");
}

static void changed_bytes_are_altered(void **state)
{
    uint64_t a = submit(1);
    struct log_block b = block(a, 1, 0);
    payload[b.payload.len - 1] ^= 1;
    assert_false(model_block(&m, s, &b, true));
    expect("altered");
}

static void a_counter_given_again_is_twice(void **state)
{
    uint64_t a = submit(1);
    m.sync = LOG_SYNC_NEVER;
    assert_true(model_acked(&m, s, a, 1, 0, now));
    model_scan_start(s);
    assert_false(model_scan_end(&m, s, 0, MODEL_POWER, false));
    expect("twice");
}

static void a_counter_of_a_lost_record_is_not_given_again(void **state)
{
    uint64_t a = submit(1);
    m.sync = LOG_SYNC_NEVER;
    assert_true(model_acked(&m, s, a, 1, 0, now));
    model_scan_start(s);
    assert_true(model_scan_end(&m, s, 1ull << 32, MODEL_POWER, false));
    uint64_t b = submit(1);
    assert_false(model_acked(&m, s, b, 1, 0, now));
    expect("twice");
}

static void a_later_record_may_be_seen_before_an_earlier_one_is_acknowledged(void **state)
{
    uint64_t a = submit(1), b = submit(1);
    struct log_block later = block(b, 1, 1);
    assert_true(model_block(&m, s, &later, true));
    assert_true(model_acked(&m, s, a, 1, 0, now) && model_acked(&m, s, b, 1, 1, now));
}

static void one_that_was_missing_and_comes_back_is_raised(void **state)
{
    uint64_t a = submit(1);
    model_scan_start(s);
    assert_true(model_scan_end(&m, s, 0, MODEL_POWER, false));
    model_scan_start(s);
    assert_false(found(a, 1, 0));
    expect("raised");
}

static void a_kill_loses_no_acknowledged_record_in_any_mode(void **state)
{
    uint64_t a = submit(1);
    m.sync = LOG_SYNC_NEVER;
    assert_true(model_acked(&m, s, a, 1, 0, now));
    model_scan_start(s);
    assert_false(model_scan_end(&m, s, 1ull << 33, MODEL_KILL, false));
    expect("lost");
}

static void expiry_before_its_time_is_early(void **state)
{
    uint64_t a = submit(2);
    assert_true(model_acked(&m, s, a, 2, 0, now));
    s->keep_ms = 5000;
    assert_true(model_first(&m, s, 1, 1000000 + 5000));
    assert_false(model_first(&m, s, 2, 1000000 + 4999));
    expect("early");
}

#define MODEL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MODEL_TEST(what_was_acknowledged_and_is_there_is_right),
        MODEL_TEST(after_a_scan_cut_short_only_what_may_be_lost_is_forgotten),
        MODEL_TEST(a_pending_one_may_have_survived),
        MODEL_TEST(an_acknowledged_record_that_is_missing_is_lost),
        MODEL_TEST(one_missing_at_the_front_is_lost),
        MODEL_TEST(one_that_a_reader_saw_is_lost_too),
        MODEL_TEST(a_pending_one_missing_before_one_that_is_there_is_a_gap),
        MODEL_TEST(a_failed_one_may_be_missing_before_one_that_is_there),
        MODEL_TEST(after_a_disk_error_nothing_is_acknowledged),
        MODEL_TEST(another_counter_is_renumbered),
        MODEL_TEST(skipped_counters_are_a_gap),
        MODEL_TEST(the_wrong_order_is_reordered),
        MODEL_TEST(changed_bytes_are_altered),
        MODEL_TEST(a_counter_given_again_is_twice),
        MODEL_TEST(a_counter_of_a_lost_record_is_not_given_again),
        MODEL_TEST(a_later_record_may_be_seen_before_an_earlier_one_is_acknowledged),
        MODEL_TEST(one_that_was_missing_and_comes_back_is_raised),
        MODEL_TEST(a_kill_loses_no_acknowledged_record_in_any_mode),
        MODEL_TEST(expiry_before_its_time_is_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
