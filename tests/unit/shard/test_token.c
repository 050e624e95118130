#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sodium.h>

#include "broker/shard/token.h"

static const struct token_key key = {{1, 2, 3}}, other_key = {{1, 2, 4}};
static const struct token_nonce nonce = {{9, 8, 7}};
static const struct wall_ms now = {1763845384567};
static const struct shard_iterator sample = {11, 0xfffffffffffffff0, 1234567890123};

static void seal(char out[ITERATOR_TEXT_LEN + 1])
{
    iterator_seal(&key, &sample, now, &nonce, out);
}

static void an_iterator_opens_to_what_was_sealed(void **state)
{
    char text[ITERATOR_TEXT_LEN + 1];
    struct shard_iterator got = {0};
    seal(text);
    assert_int_equal(iterator_open(&key, (struct wall_ms){now.ms + 300000}, 300000, slice_str(text), &got), 0);
    assert_true(got.stream_uid == sample.stream_uid && got.shard_uid == sample.shard_uid);
    assert_true(got.counter == sample.counter && got.issued.ms == now.ms);
}

static void an_iterator_looks_as_known_clients_expect(void **state)
{
    char text[ITERATOR_TEXT_LEN + 1];
    uint8_t bytes[512];
    size_t len = 0;
    static const uint8_t head[8] = {0, 0, 0, 0, 0, 0, 0, 1};
    seal(text);
    assert_int_equal(strlen(text), ITERATOR_TEXT_LEN);
    assert_int_equal(
        sodium_base642bin(bytes, sizeof bytes, text, strlen(text), NULL, &len, NULL, sodium_base64_VARIANT_ORIGINAL),
        0);
    assert_memory_equal(bytes, head, 8);
    assert_true(len >= 152 && (len - 152) % 16 == 0);
}

static void an_expired_iterator_tells_when_it_was_issued(void **state)
{
    char text[ITERATOR_TEXT_LEN + 1];
    struct shard_iterator got = {5, 5, 5, {5}};
    seal(text);
    assert_int_equal(iterator_open(&key, (struct wall_ms){now.ms + 300001}, 300000, slice_str(text), &got), ST_EXPIRED);
    assert_true(got.issued.ms == now.ms);
    assert_true(got.counter == 5);
}

static void an_iterator_from_the_future_is_good_after_the_clock_was_set_back(void **state)
{
    char text[ITERATOR_TEXT_LEN + 1];
    struct shard_iterator got;
    seal(text);
    assert_int_equal(iterator_open(&key, (struct wall_ms){now.ms - 3600000}, 300000, slice_str(text), &got), 0);
}

static void a_changed_character_anywhere_is_refused(void **state)
{
    char text[ITERATOR_TEXT_LEN + 1];
    struct shard_iterator got = {7, 7, 7, {7}};
    for (uint32_t i = 0; i < ITERATOR_TEXT_LEN; i++) {
        seal(text);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        int status = iterator_open(&key, now, 300000, slice_str(text), &got);
        assert_true(status == ST_DENIED || status == ST_SYNTAX);
    }
    seal(text);
    assert_int_equal(iterator_open(&other_key, now, 300000, slice_str(text), &got), ST_DENIED);
    assert_true(got.counter == 7 && got.issued.ms == 7);
}

static void what_is_no_token_is_a_syntax_error(void **state)
{
    char text[ITERATOR_TEXT_LEN + 1], padded[600];
    struct shard_iterator got;
    seal(text);
    assert_int_equal(iterator_open(&key, now, 300000, SLICE_NULL, &got), ST_SYNTAX);
    assert_int_equal(iterator_open(&key, now, 300000, SLICE_LIT("hello"), &got), ST_SYNTAX);
    assert_int_equal(iterator_open(&key, now, 300000, slice_of(text, ITERATOR_TEXT_LEN - 4), &got), ST_SYNTAX);
    assert_int_equal(iterator_open(&key, now, 300000, slice_of(text, ITERATOR_TEXT_LEN - 1), &got), ST_SYNTAX);
    memset(padded, 'A', sizeof padded);
    assert_int_equal(iterator_open(&key, now, 300000, slice_of(padded, 600), &got), ST_SYNTAX);
    assert_int_equal(iterator_open(&key, now, 300000, slice_of(padded, 204), &got), ST_SYNTAX);
    for (int c = 128; c < 256; c++) {
        seal(text);
        text[141] = (char)c;
        assert_int_equal(iterator_open(&key, now, 300000, slice_str(text), &got), ST_SYNTAX);
    }
    text[141] = 'A';
    text[5] = '\n';
    assert_int_equal(iterator_open(&key, now, 300000, slice_str(text), &got), ST_SYNTAX);
}

static void a_token_of_one_kind_is_not_taken_for_another(void **state)
{
    char text[TOKEN_TEXT_MAX];
    uint8_t out[TOKEN_PAYLOAD_MAX];
    uint32_t len = 77;
    struct wall_ms issued;
    token_seal(&key, TOKEN_LIST_STREAMS, now, SLICE_LIT("events"), &nonce, text);
    assert_int_equal(token_open(&key, TOKEN_LIST_SHARDS, now, 300000, slice_str(text), out, &len, &issued), ST_DENIED);
    assert_int_equal(len, 77);
    assert_int_equal(token_open(&key, TOKEN_LIST_STREAMS, now, 300000, slice_str(text), out, &len, &issued), 0);
    assert_true(slice_eq_str(slice_of(out, len), "events"));
    struct shard_iterator it;
    assert_int_equal(iterator_open(&key, now, 300000, slice_str(text), &it), ST_DENIED);
}

static void payloads_of_every_length_come_back_and_stay_within_512_characters(void **state)
{
    uint8_t payload[TOKEN_PAYLOAD_MAX], out[TOKEN_PAYLOAD_MAX];
    char text[TOKEN_TEXT_MAX];
    for (uint32_t n = 0; n <= TOKEN_PAYLOAD_MAX; n++) {
        uint32_t len = 0;
        memset(payload, (int)n, sizeof payload);
        uint32_t chars = token_seal(&key, TOKEN_LIST_SHARDS, now, slice_of(payload, n), &nonce, text);
        assert_int_equal(chars, strlen(text));
        assert_true(chars <= 512);
        assert_int_equal(token_open(&key, TOKEN_LIST_SHARDS, now, 1, slice_of(text, chars), out, &len, NULL), 0);
        assert_int_equal(len, n);
        assert_memory_equal(out, payload, n);
    }
}

/* The format is a promise: a token made by the first version opens for ever. */
static void a_token_made_by_the_first_version_opens(void **state)
{
    static const char golden[] =
        "AAAAAAAAAAEJCAcAAAAAAAAAAAAAAAAAAAAAAAAAAABo+WXG+Yz8czbuiVd76RhgAdo9sn6KsKmh7u/FnZ35Ehamh5j171sa9DDtKU"
        "WBBmdhvxC6ALG0aWir40ak7212E2v1bjUsuW1zTrfCoLmajSf7r8hjbw3QnCsThtVLIEq3vN9UO6+vzAfTILvzp/rbzAkGDIfpV7M=";
    struct shard_iterator got = {0};
    char text[ITERATOR_TEXT_LEN + 1];
    seal(text);
    assert_string_equal(text, golden);
    assert_int_equal(iterator_open(&key, now, 300000, slice_str(golden), &got), 0);
    assert_true(got.counter == sample.counter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_iterator_opens_to_what_was_sealed),
        cmocka_unit_test(an_iterator_looks_as_known_clients_expect),
        cmocka_unit_test(an_expired_iterator_tells_when_it_was_issued),
        cmocka_unit_test(an_iterator_from_the_future_is_good_after_the_clock_was_set_back),
        cmocka_unit_test(a_changed_character_anywhere_is_refused),
        cmocka_unit_test(what_is_no_token_is_a_syntax_error),
        cmocka_unit_test(a_token_of_one_kind_is_not_taken_for_another),
        cmocka_unit_test(payloads_of_every_length_come_back_and_stay_within_512_characters),
        cmocka_unit_test(a_token_made_by_the_first_version_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
