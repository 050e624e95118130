#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/bytebuf.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/histogram.h"
#include "common/base/list.h"
#include "common/base/pool.h"

#include <stdio.h>

static void an_error_is_wrapped_outward(void **state)
{
    struct err e = {0};
    assert_int_equal(err_set(&e, ST_CORRUPT, "bad checksum at byte %d", 8192), ST_CORRUPT);
    err_wrap(&e, "segment %d", 17);
    assert_int_equal(err_wrap(&e, "open stream '%s'", "orders"), ST_CORRUPT);
    assert_string_equal(e.text, "open stream 'orders': segment 17: bad checksum at byte 8192");
    assert_string_equal(status_name(-EIO), "EIO");
    assert_string_equal(status_name(ST_TORN), "ST_TORN");
}

static void a_decimal_is_parsed_only_if_it_is_one(void **state)
{
    uint64_t v = 7;
    assert_true(slice_parse_u64(SLICE_LIT("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    assert_false(slice_parse_u64(SLICE_LIT("18446744073709551616"), &v));
    assert_false(slice_parse_u64(SLICE_LIT(""), &v));
    assert_false(slice_parse_u64(SLICE_LIT("1 "), &v));
    assert_false(slice_parse_u64(SLICE_LIT("-1"), &v));
    assert_true(v == UINT64_MAX);
}

static void an_arena_refuses_past_its_limit_and_starts_over_after_reset(void **state)
{
    struct arena a;
    arena_init(&a, 256, 1024);
    for (int i = 0; i < 4; i++)
        assert_non_null(arena_alloc(&a, 250));
    assert_null(arena_alloc(&a, 1));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 1024));
    assert_null(arena_alloc(&a, SIZE_MAX));
    arena_deinit(&a);
}

static void a_buffer_remembers_that_it_overflowed(void **state)
{
    struct bytebuf b;
    bytebuf_init(&b, 10);
    bytebuf_str(&b, "12345");
    assert_false(bytebuf_failed(&b));
    bytebuf_str(&b, "678901");
    assert_true(bytebuf_failed(&b));
    assert_int_equal(b.len, 5);
    bytebuf_reset(&b);
    bytebuf_printf(&b, "%d", 42);
    assert_true(slice_eq_str(bytebuf_view(&b), "42"));
    bytebuf_deinit(&b);
}

static void a_pool_gives_out_its_limit_and_no_more(void **state)
{
    struct pool p;
    void *got[5];
    pool_init(&p, 24, 2, 5);
    for (int i = 0; i < 5; i++) {
        got[i] = pool_get(&p);
        assert_non_null(got[i]);
    }
    assert_null(pool_get(&p));
    pool_put(&p, got[3]);
    assert_ptr_equal(pool_get(&p), got[3]);
    pool_deinit(&p);
}

static void a_map_finds_what_was_put_also_after_removals_and_growth(void **state)
{
    struct hashmap m;
    static char keys[1000][8];
    hashmap_init(&m, 99);
    for (int i = 0; i < 1000; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        assert_int_equal(hashmap_put(&m, slice_str(keys[i]), keys[i]), 0);
        if (i % 3 == 0)
            assert_ptr_equal(hashmap_remove(&m, slice_str(keys[i])), keys[i]);
    }
    for (int i = 0; i < 1000; i++)
        assert_ptr_equal(hashmap_get(&m, slice_str(keys[i])), i % 3 == 0 ? NULL : keys[i]);
    size_t pos = 0, n = 0;
    while (hashmap_next(&m, &pos))
        n++;
    assert_int_equal(n, 666);
    hashmap_deinit(&m);
}

static void quantiles_are_right_to_a_sixteenth(void **state)
{
    static struct histogram h;
    for (uint64_t v = 1; v <= 10000; v++)
        histogram_record(&h, v);
    uint64_t p50 = histogram_quantile(&h, 0.5), p99 = histogram_quantile(&h, 0.99);
    assert_in_range(p50, 5000, 5000 + 5000 / 16 + 1);
    assert_in_range(p99, 9900, 10000);
    assert_int_equal(histogram_quantile(&h, 1.0), 10000);
    assert_int_equal(histogram_count_le(&h, 15), 15);
    histogram_record(&h, UINT64_MAX);
    assert_true(histogram_quantile(&h, 1.0) == UINT64_MAX);
}

static void calendar_fields_round_trip(void **state)
{
    struct wall_ms t = {1763845384567}; /* 2025-11-22T21:03:04.567Z, a Saturday */
    char text[CLOCK_TEXT_MAX];
    wall_format_iso(t, text);
    assert_string_equal(text, "2025-11-22T21:03:04.567Z");
    assert_int_equal(wall_split(t).weekday, 6);
    for (int64_t ms = -100000000000000; ms < 100000000000000; ms += 86399999777) {
        struct wall_parts p = wall_split((struct wall_ms){ms});
        assert_true(wall_join(&p).ms == ms);
    }
}

struct node {
    int value;
    struct list link;
};

static void lists_keep_order_and_splice(void **state)
{
    struct list a, b;
    struct node n[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    list_init(&a);
    list_init(&b);
    list_push_back(&a, &n[0].link);
    list_push_back(&b, &n[1].link);
    list_push_back(&b, &n[2].link);
    list_push_front(&b, &n[3].link);
    list_splice_back(&a, &b);
    assert_true(list_empty(&b));
    static const int want[] = {0, 3, 1, 2};
    size_t i = 0;
    LIST_FOREACH (it, &a)
        assert_int_equal(CONTAINER_OF(it, struct node, link)->value, want[i++]);
    assert_int_equal(i, 4);
    list_remove(&n[3].link);
    assert_false(list_linked(&n[3].link));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_wrapped_outward),
        cmocka_unit_test(a_decimal_is_parsed_only_if_it_is_one),
        cmocka_unit_test(an_arena_refuses_past_its_limit_and_starts_over_after_reset),
        cmocka_unit_test(a_buffer_remembers_that_it_overflowed),
        cmocka_unit_test(a_pool_gives_out_its_limit_and_no_more),
        cmocka_unit_test(a_map_finds_what_was_put_also_after_removals_and_growth),
        cmocka_unit_test(quantiles_are_right_to_a_sixteenth),
        cmocka_unit_test(calendar_fields_round_trip),
        cmocka_unit_test(lists_keep_order_and_splice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
