/* Base64: the vectors of RFC 4648, the vector code against the plain code, every way to be malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/wire/base64.h"

/* Decodes an exact heap copy into exactly the promised room. */
static enum base64_fault decode(struct slice in, uint8_t **out, size_t *len, size_t *at)
{
    uint8_t *copy = malloc(in.len ? in.len : 1);
    *out = malloc(base64_decoded_max(in.len));
    assert_non_null(copy);
    assert_non_null(*out);
    memcpy(copy, in.ptr, in.len);
    enum base64_fault fault = base64_decode(slice_of(copy, in.len), *out, len, at);
    free(copy);
    return fault;
}

static void the_rfc_vectors_hold(void **state)
{
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        char text[16] = {0};
        uint8_t *bytes;
        size_t len;
        base64_encode(slice_str(vectors[i][0]), text);
        assert_string_equal(text, vectors[i][1]);
        assert_int_equal(decode(slice_str(text), &bytes, &len, NULL), BASE64_OK);
        assert_int_equal(len, strlen(vectors[i][0]));
        assert_memory_equal(bytes, vectors[i][0], len);
        free(bytes);
    }
}

static void every_length_survives_both_ways(void **state)
{
    uint8_t bytes[300];
    uint32_t seed = 1;
    for (size_t len = 0; len <= sizeof bytes; len++) {
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
        char *text = malloc(base64_encoded_len(len) + 1);
        uint8_t *copy = malloc(len ? len : 1), *back;
        size_t back_len;
        assert_non_null(text);
        assert_non_null(copy);
        memcpy(copy, bytes, len);
        base64_encode(slice_of(copy, len), text);
        /* the plain code on each group of three must give the same as the vector code */
        for (size_t i = 0; i + 3 <= len; i += 3) {
            char group[4];
            base64_encode(slice_of(bytes + i, 3), group);
            assert_memory_equal(text + i / 3 * 4, group, 4);
        }
        assert_int_equal(decode(slice_of(text, base64_encoded_len(len)), &back, &back_len, NULL), BASE64_OK);
        assert_int_equal(back_len, len);
        assert_memory_equal(back, bytes, len);
        free(back);
        free(copy);
        free(text);
    }
}

static void a_wrong_character_is_found_wherever_it_stands(void **state)
{
    static const uint8_t wrong[] = {0,   ' ', '\n', '-', '_', '=',  '@',  '[',  '`',
                                    '{', '*', ',',  '.', ':', 0x7f, 0x80, 0xaf, 0xff};
    char text[129];
    for (size_t len = 4; len <= 128; len += 4) {
        for (size_t at = 0; at < len; at++) {
            for (size_t k = 0; k < sizeof wrong; k++) {
                uint8_t *out;
                size_t out_len, fault_at = 0;
                if (wrong[k] == '=' && at == len - 1)
                    continue; /* padding is right there */
                memset(text, 'A', len);
                text[at] = (char)wrong[k];
                assert_int_equal(decode(slice_of(text, len), &out, &out_len, &fault_at), BASE64_CHARACTER);
                assert_int_equal(fault_at, at);
                free(out);
            }
        }
    }
}

static void all_of_the_alphabet_and_nothing_else_is_taken(void **state)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int c = 0; c < 256; c++) {
        char text[64];
        uint8_t *out;
        size_t len;
        bool valid = c && strchr(alphabet, c);
        memset(text, 'A', sizeof text);
        text[5] = (char)c;
        assert_int_equal(decode(slice_of(text, 64), &out, &len, NULL), valid ? BASE64_OK : BASE64_CHARACTER);
        if (valid) { /* the character's value, from the second byte's middle bits on */
            unsigned value = (unsigned)(strchr(alphabet, c) - alphabet);
            assert_int_equal(out[3] << 8 | out[4], value << 4);
        }
        free(out);
    }
}

static void malformed_ends_are_refused(void **state)
{
    static const struct {
        const char *text;
        enum base64_fault fault;
        size_t at;
    } cases[] = {
        {"A", BASE64_LENGTH, 1},           {"AAAAA", BASE64_LENGTH, 5},       {"AA=", BASE64_LENGTH, 3},
        {"====", BASE64_CHARACTER, 0},     {"A===", BASE64_CHARACTER, 1},     {"AA=A", BASE64_CHARACTER, 2},
        {"AA==AAAA", BASE64_CHARACTER, 2}, {"AAA=AAAA", BASE64_CHARACTER, 3}, {"=+/=", BASE64_CHARACTER, 0},
        {"+/+=", BASE64_LAST, 2},          {"AB==", BASE64_LAST, 1},          {"AAAAAAB=", BASE64_LAST, 6},
        {"AAA ", BASE64_CHARACTER, 3},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint8_t *out;
        size_t len, at = 99;
        assert_int_equal(decode(slice_str(cases[i].text), &out, &len, &at), cases[i].fault);
        assert_int_equal(at, cases[i].at);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfc_vectors_hold),
        cmocka_unit_test(every_length_survives_both_ways),
        cmocka_unit_test(a_wrong_character_is_found_wherever_it_stands),
        cmocka_unit_test(all_of_the_alphabet_and_nothing_else_is_taken),
        cmocka_unit_test(malformed_ends_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
