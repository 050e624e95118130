#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/shard/hash_range.h"

static struct hash_key key(const char *decimal)
{
    struct hash_key k;
    assert_int_equal(hash_key_parse(slice_str(decimal), &k), 0);
    return k;
}

static void assert_key(const struct hash_key *k, const char *decimal)
{
    char text[HASH_KEY_TEXT_MAX];
    assert_int_equal(hash_key_format(k, text), strlen(decimal));
    assert_string_equal(text, decimal);
}

static void a_partition_key_hashes_to_its_md5_as_a_number(void **state)
{
    struct slice keys[] = {SLICE_LIT("a"), SLICE_LIT("ü€😀"), SLICE_NULL};
    static const char *const want[] = {"16955237001963240173058271559858726497",
                                       "51168296756305697494304829021164107287",
                                       "281949768489412648962353822266799178366"};
    struct hash_key got[3];
    hash_keys_of(keys, 3, got);
    for (int i = 0; i < 3; i++) {
        struct hash_key one = hash_key_of(keys[i]);
        assert_key(&got[i], want[i]);
        assert_int_equal(hash_key_compare(&one, &got[i]), 0);
    }
}

static void an_explicit_hash_key_is_a_decimal_below_2_to_the_128(void **state)
{
    struct hash_key k = key("0");
    assert_key(&k, "0");
    k = key("340282366920938463463374607431768211455");
    assert_key(&k, "340282366920938463463374607431768211455");
    assert_int_equal(k.byte[0] & k.byte[15], 0xff);
    k = key("1");
    assert_int_equal(k.byte[15], 1);
    struct hash_key same = k;
    assert_int_equal(hash_key_parse(SLICE_LIT("340282366920938463463374607431768211456"), &k), ST_LIMIT);
    assert_int_equal(hash_key_parse(SLICE_LIT("999999999999999999999999999999999999999"), &k), ST_LIMIT);
    assert_int_equal(hash_key_parse(SLICE_LIT("1000000000000000000000000000000000000000"), &k), ST_LIMIT);
    static const char *const bad[] = {"", "00", "01", "-1", "+1", "1 ", "0x1", "1e3", "12a"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(hash_key_parse(slice_str(bad[i]), &k), ST_SYNTAX);
    assert_memory_equal(&k, &same, sizeof k);
}

static void a_split_gives_equal_ranges_and_the_last_takes_the_rest(void **state)
{
    struct hash_range r = hash_range_split(0, 1);
    assert_key(&r.first, "0");
    assert_key(&r.last, "340282366920938463463374607431768211455");
    r = hash_range_split(0, 3);
    assert_key(&r.last, "113427455640312821154458202477256070484");
    r = hash_range_split(2, 3);
    assert_key(&r.first, "226854911280625642308916404954512140970");
    assert_key(&r.last, "340282366920938463463374607431768211455");
    r = hash_range_split(1, 5);
    assert_key(&r.first, "68056473384187692692674921486353642291");
    r = hash_range_split(3, 7);
    assert_key(&r.first, "145835300108973627198589117470757804908");
    r = hash_range_split(1, 4); /* a power of two divides 2^128 */
    assert_key(&r.first, "85070591730234615865843651857942052864");
    assert_key(&r.last, "170141183460469231731687303715884105727");
}

static void every_split_covers_everything_without_gap_or_overlap(void **state)
{
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 6, 7, 16, 100, 257, 1000};
    static struct hash_route_entry e[1000];
    for (size_t c = 0; c < ARRAY_COUNT(counts); c++) {
        struct hash_route t;
        for (uint32_t i = 0; i < counts[c]; i++)
            e[i] = (struct hash_route_entry){hash_range_split(i, counts[c]), &e[i]};
        assert_int_equal(hash_route_init(&t, e, counts[c]), 0);
        hash_route_deinit(&t);
    }
}

static void a_route_finds_the_owner_of_every_edge(void **state)
{
    struct hash_route_entry e[7];
    struct hash_route t;
    for (uint32_t i = 0; i < 7; i++) /* given in an order of their own: 0 3 6 2 5 1 4 */
        e[i] = (struct hash_route_entry){hash_range_split(i * 3 % 7, 7), &e[i]};
    assert_int_equal(hash_route_init(&t, e, 7), 0);
    for (uint32_t i = 0; i < 7; i++) {
        struct hash_key middle;
        assert_int_equal(hash_range_middle(&e[i].range, &middle), 0);
        assert_ptr_equal(hash_route_find(&t, &e[i].range.first), &e[i]);
        assert_ptr_equal(hash_route_find(&t, &e[i].range.last), &e[i]);
        assert_ptr_equal(hash_route_find(&t, &middle), &e[i]);
        assert_true(hash_range_holds(&e[i].range, &middle));
        assert_false(hash_range_holds(&e[(i + 1) % 7].range, &middle));
    }
    hash_route_deinit(&t);
}

static void a_route_with_a_gap_or_an_overlap_is_refused(void **state)
{
    struct hash_route_entry e[3];
    struct hash_route t;
    for (uint32_t i = 0; i < 3; i++)
        e[i] = (struct hash_route_entry){hash_range_split(i, 3), &e[i]};
    assert_int_equal(hash_route_init(&t, e, 0), ST_INVALID);
    assert_int_equal(hash_route_init(&t, e, 2), ST_INVALID);
    assert_int_equal(hash_route_init(&t, e + 1, 2), ST_INVALID);
    e[1].range.first.byte[15]++;
    assert_int_equal(hash_route_init(&t, e, 3), ST_INVALID);
    e[1].range.first.byte[15] -= 2;
    assert_int_equal(hash_route_init(&t, e, 3), ST_INVALID);
}

static void a_cut_range_joins_again(void **state)
{
    struct hash_range whole = {key("100"), key("200")}, left, right, joined;
    struct hash_key at = key("101");
    assert_int_equal(hash_range_cut(&whole, &at, &left, &right), 0);
    assert_key(&left.last, "100");
    assert_key(&right.first, "101");
    assert_int_equal(hash_range_join(&right, &left, &joined), 0);
    assert_memory_equal(&joined, &whole, sizeof whole);
    at = key("200");
    assert_int_equal(hash_range_cut(&whole, &at, &left, &right), 0);
    assert_key(&right.first, "200");
    at = key("100");
    assert_int_equal(hash_range_cut(&whole, &at, &left, &right), ST_INVALID);
    at = key("201");
    assert_int_equal(hash_range_cut(&whole, &at, &left, &right), ST_INVALID);
    assert_int_equal(hash_range_join(&left, &left, &joined), ST_INVALID);
    struct hash_range end = {key("9"), key("340282366920938463463374607431768211455")}, start = {key("0"), key("8")};
    assert_int_equal(hash_range_join(&end, &start, &joined), 0); /* adjacent at 8|9; never across the wrap */
    assert_key(&joined.first, "0");
}

static void a_single_key_has_no_middle(void **state)
{
    struct hash_range one = {key("7"), key("7")}, two = {key("7"), key("8")};
    struct hash_key m;
    assert_int_equal(hash_range_middle(&one, &m), ST_INVALID);
    assert_int_equal(hash_range_middle(&two, &m), 0);
    assert_key(&m, "8");
    struct hash_range whole = hash_range_split(0, 1);
    assert_int_equal(hash_range_middle(&whole, &m), 0);
    assert_key(&m, "170141183460469231731687303715884105728");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_partition_key_hashes_to_its_md5_as_a_number),
        cmocka_unit_test(an_explicit_hash_key_is_a_decimal_below_2_to_the_128),
        cmocka_unit_test(a_split_gives_equal_ranges_and_the_last_takes_the_rest),
        cmocka_unit_test(every_split_covers_everything_without_gap_or_overlap),
        cmocka_unit_test(a_route_finds_the_owner_of_every_edge),
        cmocka_unit_test(a_route_with_a_gap_or_an_overlap_is_refused),
        cmocka_unit_test(a_cut_range_joins_again),
        cmocka_unit_test(a_single_key_has_no_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
