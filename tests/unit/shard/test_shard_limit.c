#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/shard/shard_limit.h"

#define AT_MS(t) ((struct mono_ns){(int64_t)(t)*NS_PER_MS + 5})

static void a_shard_takes_a_thousand_records_and_then_one_every_millisecond(void **state)
{
    struct shard_limit l;
    shard_limit_init(&l, AT_MS(0));
    for (int i = 0; i < 1000; i++)
        assert_true(shard_limit_write(&l, 100, AT_MS(0)));
    assert_false(shard_limit_write(&l, 100, AT_MS(0)));
    for (int ms = 1; ms < 100; ms++) {
        assert_true(shard_limit_write(&l, 100, AT_MS(ms)));
        assert_false(shard_limit_write(&l, 100, AT_MS(ms)));
    }
}

static void a_shard_takes_a_mebibyte_a_second(void **state)
{
    struct shard_limit l;
    shard_limit_init(&l, AT_MS(0));
    for (int i = 0; i < 4; i++)
        assert_true(shard_limit_write(&l, 1 << 18, AT_MS(0)));
    assert_false(shard_limit_write(&l, 1, AT_MS(0)));
    assert_false(shard_limit_write(&l, 1 << 18, AT_MS(249)));
    assert_true(shard_limit_write(&l, 1 << 18, AT_MS(250)));
    /* what was refused took nothing of the records either */
    assert_int_equal(token_bucket_wait_ms(&l.write_records, 1000, AT_MS(250)), 1);
}

static void a_record_larger_than_the_rate_passes_and_leaves_a_debt(void **state)
{
    struct shard_limit l;
    shard_limit_init(&l, AT_MS(0));
    assert_true(shard_limit_write(&l, 3 << 20, AT_MS(0)));
    assert_false(shard_limit_write(&l, 1, AT_MS(2000)));
    assert_int_equal(token_bucket_wait_ms(&l.write_bytes, 1 << 20, AT_MS(2000)), 1000);
    assert_true(shard_limit_write(&l, 1 << 20, AT_MS(3000)));
}

static void five_reads_a_second_and_a_large_answer_blocks_the_next(void **state)
{
    struct shard_limit l;
    shard_limit_init(&l, AT_MS(0));
    for (int i = 0; i < 5; i++)
        assert_true(shard_limit_read(&l, AT_MS(0)));
    assert_false(shard_limit_read(&l, AT_MS(0)));
    assert_true(shard_limit_read(&l, AT_MS(200)));
    shard_limit_read_done(&l, 10 << 20, AT_MS(200)); /* 5 s worth, of which one was there */
    assert_false(shard_limit_read(&l, AT_MS(4199)));
    assert_true(shard_limit_read(&l, AT_MS(4200)));
}

static void many_small_steps_gain_as_much_as_one_large_one(void **state)
{
    struct token_bucket small, large;
    token_bucket_init(&small, 1000, (struct mono_ns){0});
    token_bucket_init(&large, 1000, (struct mono_ns){0});
    token_bucket_charge(&small, 2000, (struct mono_ns){0});
    token_bucket_charge(&large, 2000, (struct mono_ns){0});
    for (int64_t ns = 0; ns <= 700000000; ns += 777)
        token_bucket_charge(&small, 0, (struct mono_ns){ns});
    token_bucket_charge(&small, 0, (struct mono_ns){700000000});
    token_bucket_charge(&large, 0, (struct mono_ns){700000000});
    assert_int_equal(small.level_micro, large.level_micro);
    assert_int_equal(small.level_micro, -300 * 1000000ll);
}

static void a_bucket_never_holds_more_than_a_second_also_after_a_year(void **state)
{
    struct token_bucket b;
    token_bucket_init(&b, 2 << 20, (struct mono_ns){0});
    token_bucket_charge(&b, 1, (struct mono_ns){0});
    token_bucket_charge(&b, 0, (struct mono_ns){366ll * 86400 * NS_PER_S});
    assert_int_equal(b.level_micro, (2ll << 20) * 1000000);
    token_bucket_charge(&b, 0, (struct mono_ns){0}); /* time never runs back, but if it did: no harm */
    assert_int_equal(b.level_micro, (2ll << 20) * 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_takes_a_thousand_records_and_then_one_every_millisecond),
        cmocka_unit_test(a_shard_takes_a_mebibyte_a_second),
        cmocka_unit_test(a_record_larger_than_the_rate_passes_and_leaves_a_debt),
        cmocka_unit_test(five_reads_a_second_and_a_large_answer_blocks_the_next),
        cmocka_unit_test(many_small_steps_gain_as_much_as_one_large_one),
        cmocka_unit_test(a_bucket_never_holds_more_than_a_second_also_after_a_year),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
