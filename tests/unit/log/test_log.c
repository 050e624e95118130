#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/log/log_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    fixture_init(f);
    *state = f;
    return fixture_open(f);
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

static void an_appended_record_is_read_back(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, 7, 3, 100), 0);
    assert_int_equal(put(f, 7, 2, 100), 0);
    assert_int_equal(read_all(f, 7, 0, NULL), 5);
    assert_int_equal(read_all(f, 7, 4, NULL), 1);
    assert_int_equal(info(f, 7).next_counter, 5);
    assert_int_equal(info(f, 7).synced_counter, 5);
}

static void records_survive_a_clean_stop(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 10; i++)
        assert_int_equal(put(f, 1 + i % 3, 5, 1000), 0);
    fixture_close(f);
    assert_int_equal(fixture_open(f), 0);
    assert_int_equal(read_all(f, 1, 0, NULL), 20);
    assert_int_equal(read_all(f, 2, 0, NULL), 15);
    assert_int_equal(put(f, 1, 1, 10), 0);
    assert_int_equal(read_all(f, 1, 0, NULL), 21);
}

static void acknowledged_records_survive_a_crash_again_and_again(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 10; i++) {
            assert_int_equal(put(f, 1 + i % 3, 5, 1000), 0);
            assert_int_equal(put(f, 9, 100, 1000), 0);
        }
        fixture_crash(f);
        assert_int_equal(fixture_open(f), 0);
        assert_int_equal(read_all(f, 1, 0, NULL), 20 * (round + 1));
        assert_int_equal(read_all(f, 9, 0, NULL), 1000 * (round + 1));
        assert_int_equal(info(f, 9).state, LOG_SHARD_OK);
    }
}

static void large_appends_go_straight_to_segments_and_come_back_from_disk(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 30; i++)
        assert_int_equal(put(f, 5, 200, 1000), 0);
    assert_true(log_stats(f->log)->direct_commits >= 29);
    bool from_disk = false;
    assert_int_equal(read_all(f, 5, 0, &from_disk), 6000);
    assert_true(from_disk);
}

static void the_journal_rolls_and_its_frames_move_to_segments(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 300; i++)
        for (uint64_t uid = 1; uid <= 3; uid++)
            assert_int_equal(put(f, uid, 10, 1000), 0);
    assert_true(log_stats(f->log)->migrated_bytes > 4u << 20);
    assert_true(log_stats(f->log)->checkpoints > 4);
    for (uint64_t uid = 1; uid <= 3; uid++)
        assert_int_equal(read_all(f, uid, 0, NULL), 3000);
    fixture_crash(f);
    assert_int_equal(fixture_open(f), 0);
    for (uint64_t uid = 1; uid <= 3; uid++)
        assert_int_equal(read_all(f, uid, 0, NULL), 3000);
}

static void small_and_large_appends_keep_their_order(void **state)
{
    struct fixture *f = *state;
    struct put p[40];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 40; i++)
            assert_int_equal(put_start(f, &p[i], 3, i % 4 == 3 ? 40 : 1, i % 5 == 4 ? 2000 : 50), 0);
        for (int i = 0; i < 40; i++)
            assert_int_equal(put_wait(f, &p[i]), 0);
    }
    uint64_t next = info(f, 3).next_counter;
    assert_int_equal(read_all(f, 3, 0, NULL), next);
    fixture_crash(f);
    assert_int_equal(fixture_open(f), 0);
    assert_int_equal(read_all(f, 3, 0, NULL), next);
}

static void a_record_larger_than_a_block_is_kept_whole(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, 3, 1, 1500000), 0);
    assert_int_equal(put(f, 3, 1, 10), 0);
    assert_int_equal(read_all(f, 3, 0, NULL), 2);
    fixture_crash(f);
    assert_int_equal(fixture_open(f), 0);
    assert_int_equal(read_all(f, 3, 0, NULL), 2);
}

int main(void)
{
#define CASE(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(an_appended_record_is_read_back),
        CASE(records_survive_a_clean_stop),
        CASE(acknowledged_records_survive_a_crash_again_and_again),
        CASE(large_appends_go_straight_to_segments_and_come_back_from_disk),
        CASE(the_journal_rolls_and_its_frames_move_to_segments),
        CASE(small_and_large_appends_keep_their_order),
        CASE(a_record_larger_than_a_block_is_kept_whole),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
