#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "broker/shard/seqnum.h"

#define S(sec) ((struct wall_ms){(int64_t)(sec)*1000})

/* Computed with Python from the layout's hexadecimal. */
static const struct {
    struct seqnum number;
    const char *text;
} known[] = {
    {{{S(1400000000), 0}, 0, S(1400000000)}, "49539394000155529425837504958117217269740880658675269634"},
    {{{S(1763845384), 3}, 12345, S(1763845400)}, "49669218371426360154436158438700054649330516609837563954"},
    {{{S(1763845384), 2147483647}, INT64_MAX, S((1ll << 36) - 1)},
     "49669218371705119469417791213043857559932359241824731122"},
    {{{S(0), 0}, 0, S(0)}, "49039857307708443467467104868809893875799651909875269634"},
    {{{S(1700000000), 17}, 1000000000000000, S(1700000001)},
     "49646437577130778371041226643596639850034078106500727058"},
};

static void a_number_has_the_layout_that_the_cloud_service_gives_it(void **state)
{
    char text[SEQNUM_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        seqnum_format(&known[i].number, text);
        assert_string_equal(text, known[i].text);
    }
}

static void a_number_parses_back_to_its_parts(void **state)
{
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        struct seqnum got;
        uint32_t version = 0;
        assert_int_equal(seqnum_parse(slice_str(known[i].text), &got, &version), 0);
        assert_int_equal(version, 2);
        assert_int_equal(seqnum_compare(&got, &known[i].number), 0);
        assert_int_equal(got.counter, known[i].number.counter);
        assert_int_equal(got.shard.index, known[i].number.shard.index);
        assert_int_equal(got.shard.created.ms, known[i].number.shard.created.ms);
        assert_int_equal(got.arrival.ms, known[i].number.arrival.ms);
    }
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* Schoolbook: the hexadecimal digits multiplied into decimal digits one by one. */
static void slow_format(const struct seqnum *n, char out[SEQNUM_TEXT_MAX])
{
    char hex[64];
    uint8_t dec[SEQNUM_DIGITS] = {0};
    snprintf(hex, sizeof hex, "2%09llx%x%016llx00%09llx%08x2", (unsigned long long)(n->shard.created.ms / 1000),
             n->shard.index & 15, (unsigned long long)n->counter, (unsigned long long)(n->arrival.ms / 1000),
             n->shard.index);
    for (const char *p = hex; *p; p++) {
        unsigned carry = (unsigned)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
        for (int i = SEQNUM_DIGITS - 1; i >= 0; i--) {
            carry += dec[i] * 16u;
            dec[i] = (uint8_t)(carry % 10);
            carry /= 10;
        }
    }
    for (unsigned i = 0; i < SEQNUM_DIGITS; i++)
        out[i] = (char)('0' + dec[i]);
    out[SEQNUM_DIGITS] = 0;
}

static void any_number_equals_schoolbook_arithmetic(void **state)
{
    uint64_t x = 88172645463325252ull;
    for (int i = 0; i < 5000; i++) {
        int64_t created = (int64_t)(next_random(&x) % (1ull << 35));
        struct seqnum n = {.shard = {S(created), (uint32_t)(next_random(&x) >> 33)},
                           .counter = next_random(&x) >> (1 + next_random(&x) % 62),
                           .arrival = S(created + (int64_t)(next_random(&x) % 1000000))};
        char fast[SEQNUM_TEXT_MAX], slow[SEQNUM_TEXT_MAX];
        struct seqnum back;
        uint32_t version = 0;
        seqnum_format(&n, fast);
        slow_format(&n, slow);
        assert_string_equal(fast, slow);
        assert_int_equal(seqnum_parse(slice_str(fast), &back, &version), 0);
        assert_int_equal(seqnum_compare(&n, &back), 0);
    }
}

static void a_run_gives_the_same_texts_as_single_numbers(void **state)
{
    uint64_t x = 99;
    for (int i = 0; i < 50; i++) {
        struct seqnum n = {
            .shard = {S(1763845384), (uint32_t)i}, .counter = next_random(&x) >> (2 + i), .arrival = S(1763845384 + i)};
        struct seqnum_run run;
        seqnum_run_start(&run, &n);
        for (int k = 0; k < 600; k++, n.counter++, seqnum_run_next(&run)) {
            char text[SEQNUM_TEXT_MAX];
            seqnum_format(&n, text);
            assert_string_equal(run.text, text);
        }
    }
}

/* The lowest limb overflows every 1.7 counters, the middle one every 8.3e13: this run crosses the latter. */
static void a_run_carries_into_its_top_digits(void **state)
{
    struct seqnum n = {.shard = {S(1763845384), 5}, .arrival = S(1763845384)};
    uint64_t low = 0, high = 90000000000000ull;
    char first[SEQNUM_TEXT_MAX], text[SEQNUM_TEXT_MAX];
    seqnum_format(&n, first);
    n.counter = high;
    seqnum_format(&n, text);
    assert_memory_not_equal(first, text, 18);
    while (high - low > 1) { /* the first counter with other top digits */
        n.counter = low + (high - low) / 2;
        seqnum_format(&n, text);
        if (memcmp(first, text, 18) == 0)
            low = n.counter;
        else
            high = n.counter;
    }
    struct seqnum_run run;
    n.counter = low;
    seqnum_run_start(&run, &n);
    seqnum_run_next(&run);
    n.counter = high;
    seqnum_format(&n, text);
    assert_string_equal(run.text, text);
    assert_memory_not_equal(first, run.text, 18);
}

static void a_greater_counter_makes_a_greater_number_although_the_clock_went_back(void **state)
{
    struct seqnum_shard shard = {S(1763845384), 9};
    struct seqnum early = {shard, 41, S(1763850000)}, late = {shard, 42, S(1763845390)};
    char a[SEQNUM_TEXT_MAX], b[SEQNUM_TEXT_MAX];
    seqnum_format(&early, a);
    seqnum_format(&late, b);
    assert_true(strcmp(a, b) < 0);
    assert_true(seqnum_compare(&early, &late) < 0);
    assert_true(seqnum_compare(&late, &early) > 0);
}

static void no_number_lies_before_the_shards_starting_number(void **state)
{
    struct seqnum_shard shard = {S(1763845384), 9};
    struct seqnum start = {shard, 0, S(1763845384)}, first = {shard, 0, S(1763840000)};
    char a[SEQNUM_TEXT_MAX], b[SEQNUM_TEXT_MAX];
    seqnum_format(&start, a);
    seqnum_format(&first, b);
    assert_string_equal(a, b);
}

static int find(const char *text, const struct seqnum_shard *shard, uint64_t *counter, struct seqnum *parsed)
{
    return seqnum_find(slice_str(text), shard, counter, parsed);
}

static void finding_a_counter_tells_each_kind_of_wrong_number_apart(void **state)
{
    struct seqnum_shard shard = {S(1763845384), 3}, other = {S(1763845384), 4}, younger = {S(1763845385), 3};
    struct seqnum parsed = {0};
    uint64_t counter = 7;
    assert_int_equal(find(known[1].text, &shard, &counter, &parsed), 0);
    assert_int_equal(counter, 12345);
    counter = 7;
    assert_int_equal(find(known[1].text, &other, &counter, &parsed), ST_CONFLICT);
    assert_int_equal(parsed.shard.index, 3);
    assert_int_equal(find(known[1].text, &younger, &counter, &parsed), ST_NOT_FOUND);
    static const char *const garbage[] = {
        "",
        "x",
        "-1",
        "00",
        "0123",
        " 1",
        "4966921837142636015443615843870005464933051660983756395x",
        "49669218371426360154436158438700054649330516609837563953",  /* its last hexadecimal digit: 1 less, version 1 */
        "496692183714263601544361584387000546493305166098375639540", /* a digit too many */
        "99999999999999999999999999999999999999999999999999999999",  /* beyond the layout */
        "4966921837142636015443615843870005464933051660983756395",   /* a digit too few: no known layout */
    };
    for (size_t i = 0; i < ARRAY_COUNT(garbage); i++)
        assert_true(find(garbage[i], &shard, &counter, &parsed) < 0);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(find(garbage[i], &shard, &counter, &parsed), ST_SYNTAX);
    assert_int_equal(counter, 7);
}

static void zero_is_a_number_of_the_first_shard_of_another_stream(void **state)
{
    struct seqnum_shard first = {S(1763845384), 0}, second = {S(1763845384), 1};
    struct seqnum parsed;
    uint64_t counter;
    assert_int_equal(find("0", &first, &counter, &parsed), ST_NOT_FOUND);
    assert_int_equal(find("0", &second, &counter, &parsed), ST_CONFLICT);
    assert_int_equal(parsed.shard.index, 0);
    assert_int_equal(find("123", &first, &counter, &parsed), ST_CONFLICT); /* its last 16 bits are a shard's index */
    assert_int_equal(parsed.shard.index, 123);
}

static void a_counter_or_index_larger_than_possible_is_a_limit(void **state)
{
    struct seqnum_shard shard = {S(1763845384), 0};
    struct seqnum n = {shard, 1ull << 63, S(1763845384)}, parsed;
    uint64_t counter;
    char text[SEQNUM_TEXT_MAX];
    seqnum_format(&n, text);
    assert_int_equal(find(text, &shard, &counter, &parsed), ST_LIMIT);
    n.counter = 1;
    n.shard.index = 1u << 31;
    seqnum_format(&n, text);
    assert_int_equal(find(text, &shard, &counter, &parsed), ST_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_has_the_layout_that_the_cloud_service_gives_it),
        cmocka_unit_test(a_number_parses_back_to_its_parts),
        cmocka_unit_test(any_number_equals_schoolbook_arithmetic),
        cmocka_unit_test(a_run_gives_the_same_texts_as_single_numbers),
        cmocka_unit_test(a_run_carries_into_its_top_digits),
        cmocka_unit_test(a_greater_counter_makes_a_greater_number_although_the_clock_went_back),
        cmocka_unit_test(no_number_lies_before_the_shards_starting_number),
        cmocka_unit_test(finding_a_counter_tells_each_kind_of_wrong_number_apart),
        cmocka_unit_test(zero_is_a_number_of_the_first_shard_of_another_stream),
        cmocka_unit_test(a_counter_or_index_larger_than_possible_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
