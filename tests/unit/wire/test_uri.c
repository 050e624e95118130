/* Percent coding, path normalisation, authorities, digests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/wire/digest.h"
#include "common/wire/uri.h"

static void percent_coding_goes_both_ways(void **state)
{
    struct bytebuf b;
    uint8_t out[64];
    bytebuf_init(&b, 1000);
    uri_encode(SLICE_LIT("a/b c\xe1~%"), 0, &b);
    assert_true(slice_eq_str(bytebuf_view(&b), "a%2Fb%20c%E1~%25"));
    int n = uri_decode(bytebuf_view(&b), out);
    assert_true(slice_eq_str(slice_of(out, (size_t)n), "a/b c\xe1~%"));
    bytebuf_reset(&b);
    uri_encode(SLICE_LIT("a/b"), URI_KEEP_SLASH, &b);
    assert_true(slice_eq_str(bytebuf_view(&b), "a/b"));
    bytebuf_deinit(&b);
    assert_int_equal(uri_decode(SLICE_LIT("a%2"), out), ST_SYNTAX);
    assert_int_equal(uri_decode(SLICE_LIT("%zz"), out), ST_SYNTAX);
    assert_int_equal(uri_decode(SLICE_LIT("a+b"), out), 3);
    assert_int_equal(out[1], '+');
    assert_int_equal(uri_decode_form(SLICE_LIT("a+b"), out), 3);
    assert_int_equal(out[1], ' ');
}

static void paths_lose_dots_and_empty_segments(void **state)
{
    static const char *const cases[][2] = {
        {"", "/"},       {"/", "/"},         {"//", "/"},           {"/a", "/a"},       {"/a/", "/a/"},
        {"/./", "/"},    {"/a/..", "/"},     {"/a/b/../..", "/"},   {"/../a", "/a"},    {"//a//", "/a/"},
        {"/./a", "/a"},  {"/a/./b", "/a/b"}, {"/a/../../b", "/b"},  {"/a/b/..", "/a/"}, {"/..a/.b", "/..a/.b"},
        {"a/b", "/a/b"}, {"/a/.", "/a/"},    {"/a/b/../c", "/a/c"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bytebuf b;
        bytebuf_init(&b, 100);
        bytebuf_str(&b, "x/y");
        uri_normalize_path(slice_str(cases[i][0]), &b);
        assert_true(slice_starts(bytebuf_view(&b), SLICE_LIT("x/y")));
        if (!slice_eq_str(slice_from(bytebuf_view(&b), 3), cases[i][1]))
            fail_msg("%s gives %.*s", cases[i][0], SLICE_FMT(bytebuf_view(&b)));
        bytebuf_deinit(&b);
    }
}

static void query_parameters_come_in_order(void **state)
{
    struct slice q = SLICE_LIT("&a=1&b&&c==&d=");
    struct uri_param p;
    assert_true(uri_param_next(&q, &p) && slice_eq_str(p.name, "a") && slice_eq_str(p.value, "1"));
    assert_true(uri_param_next(&q, &p) && slice_eq_str(p.name, "b") && !p.has_equals && p.value.len == 0);
    assert_true(uri_param_next(&q, &p) && slice_eq_str(p.name, "c") && slice_eq_str(p.value, "="));
    assert_true(uri_param_next(&q, &p) && slice_eq_str(p.name, "d") && p.has_equals && p.value.len == 0);
    assert_false(uri_param_next(&q, &p));
    assert_true(slice_eq_str(uri_param_find(SLICE_LIT("x=1&y=2"), "y"), "2"));
    assert_null(uri_param_find(SLICE_LIT("x=1&yy=2"), "y").ptr);
    assert_null(uri_param_find(SLICE_NULL, "y").ptr);
}

static void loopback_hosts_are_told_from_others(void **state)
{
    static const struct {
        const char *text;
        int port;
        bool loopback;
    } cases[] = {
        {"localhost", 0, true},    {"LocalHost:4567", 4567, true},   {"127.0.0.1:1", 1, true},
        {"127.255.0.9", 0, true},  {"[::1]:80", 80, true},           {"[::2]", 0, false},
        {"example.com", 0, false}, {"127.0.0.1.evil.com", 0, false}, {"localhost.evil", 0, false},
        {"127.0.0", 0, false},     {"128.0.0.1", 0, false},          {"127.0.0.256", 0, false},
        {"1127.0.0.1", 0, false},  {"127.0.0.1.", 0, false},         {"0127.0.0.1", 0, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct uri_authority a;
        assert_int_equal(uri_authority_parse(slice_str(cases[i].text), &a), 0);
        assert_int_equal(a.port, cases[i].port);
        if (uri_host_is_loopback(&a) != cases[i].loopback)
            fail_msg("%s", cases[i].text);
    }
    static const char *const bad[] = {"",   ":80",    "a:",  "a:x", "a:0", "a:65536", "a:000080", "[::1",
                                      "[]", "[::1]x", "[g]", "a@b", "a/b", "a b",     "a:1:2"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct uri_authority a;
        if (uri_authority_parse(slice_str(bad[i]), &a) != ST_SYNTAX)
            fail_msg("%s", bad[i]);
    }
}

static void urls_are_taken_apart(void **state)
{
    struct uri u;
    assert_int_equal(uri_parse(SLICE_LIT("https://h:9/a?b=c"), &u), 0);
    assert_true(u.https && u.at.port == 9 && slice_eq_str(u.path, "/a") && slice_eq_str(u.query, "b=c"));
    assert_int_equal(uri_parse(SLICE_LIT("http://h"), &u), 0);
    assert_true(!u.https && slice_eq_str(u.path, "/") && u.query.len == 0);
    assert_int_equal(uri_parse(SLICE_LIT("http:/h"), &u), ST_SYNTAX);
    assert_int_equal(uri_parse(SLICE_LIT("file:///h"), &u), ST_SYNTAX);
    assert_int_equal(uri_parse(SLICE_LIT("http://h/#f"), &u), ST_SYNTAX);
}

static void digests_match_their_published_vectors(void **state)
{
    char hex[SHA256_HEX_SIZE];
    uint8_t raw[SHA256_BYTES], key[131];
    digest_sha256_hex(SLICE_LIT("abc"), hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); /* FIPS 180-4 */
    digest_sha256_hex(SLICE_NULL, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_hmac_sha256(SLICE_LIT("Jefe"), SLICE_LIT("what do ya want for nothing?"), raw); /* RFC 4231, case 2 */
    digest_hex(slice_of(raw, sizeof raw), hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key); /* case 6 */
    digest_hmac_sha256(slice_of(key, sizeof key), SLICE_LIT("Test Using Larger Than Block-Size Key - Hash Key First"),
                       raw);
    digest_hex(slice_of(raw, sizeof raw), hex);
    assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    digest_md5(SLICE_LIT("abc"), raw); /* RFC 1321 */
    digest_hex(slice_of(raw, MD5_BYTES), hex);
    assert_string_equal(hex, "900150983cd24fb0d6963f7d28e17f72");
    assert_true(digest_equal(SLICE_LIT("ab"), SLICE_LIT("ab")) && !digest_equal(SLICE_LIT("ab"), SLICE_LIT("ac")));
    assert_true(digest_equal(SLICE_NULL, SLICE_LIT("")) && !digest_equal(SLICE_LIT("a"), SLICE_LIT("ab")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percent_coding_goes_both_ways),  cmocka_unit_test(paths_lose_dots_and_empty_segments),
        cmocka_unit_test(query_parameters_come_in_order), cmocka_unit_test(loopback_hosts_are_told_from_others),
        cmocka_unit_test(urls_are_taken_apart),           cmocka_unit_test(digests_match_their_published_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
