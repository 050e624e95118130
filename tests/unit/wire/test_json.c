/* The JSON reader and writer. Inputs are fed as exact heap copies, so that a sanitizer sees every over-read. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/wire/json_read.h"
#include "common/wire/json_write.h"
#include "common/wire/utf8.h"

/* Reads everything: "{k:'s',k:[1,t,f,n]}" in a notation of one letter a token; returns the status. */
static int trace(const char *json, size_t len, char *out, size_t cap, size_t *offset, const char **what)
{
    struct arena arena;
    struct json_reader r;
    enum json_token t;
    size_t n = 0;
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, json, len);
    arena_init(&arena, 1024, 1 << 20);
    json_reader_init(&r, slice_of(copy, len), &arena);
    while ((t = json_next(&r)) != JSON_END && t != JSON_ERROR) {
        static const char letters[] = "??{}[]ks#tf0";
        n += (size_t)snprintf(out + n, cap - n, "%c", letters[t]);
        if (t == JSON_KEY || t == JSON_STRING || t == JSON_NUMBER)
            n += (size_t)snprintf(out + n, cap - n, "(%.*s)", SLICE_FMT(r.text));
    }
    out[n] = 0;
    *offset = json_reader_offset(&r);
    *what = r.what;
    int status = r.status;
    if (t == JSON_ERROR)
        assert_int_equal(json_next(&r), JSON_ERROR); /* again and again */
    arena_deinit(&arena);
    free(copy);
    return status;
}

static void values_are_read_token_by_token(void **state)
{
    static const struct {
        const char *json, *tokens;
    } cases[] = {
        {"{}", "{}"},
        {"[]", "[]"},
        {" \t\r\n[ 1 , 2 ] ", "[#(1)#(2)]"},
        {"{\"a\":1,\"b\":[true,false,null,{\"c\":\"d\"}],\"a\":2}", "{k(a)#(1)k(b)[tf0{k(c)s(d)}]k(a)#(2)}"},
        {"\"\"", "s()"},
        {"-0.5e+10", "#(-0.5e+10)"},
        {"[0,-1,1.5,1e5,1E-5]", "[#(0)#(-1)#(1.5)#(1e5)#(1E-5)]"},
        {"\"\\\"\\\\\\/\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"", "s(\"\\/A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80)"},
        {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "s(\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80)"},
        {"{\"\\u006bey\" : \"v\"}", "{k(key)s(v)}"},
        {"[[],{},[[]]]", "[[]{}[[]]]"},
        {"\"\x7f\"", "s(\x7f)"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char out[256];
        size_t offset;
        const char *what;
        assert_int_equal(trace(cases[i].json, strlen(cases[i].json), out, sizeof out, &offset, &what), 0);
        assert_string_equal(out, cases[i].tokens);
        assert_int_equal(json_check(slice_str(cases[i].json)), 0);
    }
}

static void errors_say_what_and_where(void **state)
{
    static const struct {
        const char *json, *what;
        size_t offset;
    } cases[] = {
        {"", "the input ends too early", 0},
        {"  ", "the input ends too early", 2},
        {"{", "a key is missing", 1},
        {"{\"a\"", "a colon is missing", 4},
        {"{\"a\":", "the input ends too early", 5},
        {"{\"a\":1", "a comma or } is missing", 6},
        {"{\"a\":1,}", "a key is missing", 7},
        {"{,}", "a key is missing", 1},
        {"{a:1}", "a key is missing", 1},
        {"{\"a\" 1}", "a colon is missing", 5},
        {"[1 2]", "a comma or ] is missing", 3},
        {"[1,]", "a number is malformed", 3},
        {"[,1]", "a number is malformed", 1},
        {"[", "the input ends too early", 1},
        {"[1}", "a comma or ] is missing", 2},
        {"{\"a\":1]", "a comma or } is missing", 6},
        {"]", "a number is malformed", 0},
        {"tru", "a value is malformed", 0},
        {"nul1", "a value is malformed", 0},
        {"truex", "something stands behind the value", 4},
        {"1 1", "something stands behind the value", 2},
        {"{}{}", "something stands behind the value", 2},
        {"01", "a number is malformed", 0},
        {"-", "a number is malformed", 0},
        {"1.", "a number is malformed", 0},
        {".5", "a number is malformed", 0},
        {"+1", "a number is malformed", 0},
        {"1e", "a number is malformed", 0},
        {"1e+", "a number is malformed", 0},
        {"0x10", "something stands behind the value", 1},
        {"NaN", "a number is malformed", 0},
        {"\"a", "a string does not end", 2},
        {"\"a\\", "an escape is malformed", 2},
        {"\"\\x\"", "an escape is malformed", 1},
        {"\"\\u12\"", "an escape is malformed", 1},
        {"\"\\u12g4\"", "an escape is malformed", 1},
        {"\"\\ud800\"", "an escape is malformed", 1},
        {"\"\\ud800\\u0041\"", "an escape is malformed", 1},
        {"\"\\udc00\"", "an escape is malformed", 1},
        {"\"a\nb\"", "a control character stands in a string", 2},
        {"\"a\tb\"", "a control character stands in a string", 2},
        {"\"\xff\"", "a string is not UTF-8", 1},
        {"\"\xc0\x80\"", "a string is not UTF-8", 1},         /* overlong */
        {"\"a\xed\xa0\x80\"", "a string is not UTF-8", 2},    /* a surrogate */
        {"\"\xf4\x90\x80\x80\"", "a string is not UTF-8", 1}, /* over U+10FFFF */
        {"\"\xe2\x82\"", "a string is not UTF-8", 1},         /* cut off */
        {"\"\xc3", "a string is not UTF-8", 1},
        {"\xef\xbb\xbf{}", "a number is malformed", 0}, /* a byte order mark */
        {"// x\n1", "a number is malformed", 0},
        {"'a'", "a number is malformed", 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char out[256];
        size_t offset;
        const char *what;
        int status = trace(cases[i].json, strlen(cases[i].json), out, sizeof out, &offset, &what);
        if (status != ST_SYNTAX || strcmp(what, cases[i].what) != 0 || offset != cases[i].offset)
            fail_msg("%s: %d %s at %zu", cases[i].json, status, what ? what : "-", offset);
        assert_int_equal(json_check(slice_str(cases[i].json)), ST_SYNTAX);
    }
    static const char zero[] = {'"', 0, '"'};
    assert_int_equal(json_check(slice_of(zero, 3)), ST_SYNTAX);
    assert_int_equal(json_check(SLICE_NULL), ST_SYNTAX);
}

/* Every special byte at every distance from the vector loops' edges. */
static void strings_of_every_length_end_where_they_should(void **state)
{
    static const char *const inserts[] = {"", "\\n", "\xc3\xa9", "\xf0\x9f\x98\x80", "\\u00e9", "\x01", "\xff"};
    char json[400], out[400];
    for (size_t k = 0; k < ARRAY_COUNT(inserts); k++) {
        for (size_t before = 0; before < 140; before++) {
            size_t n = 0, offset;
            const char *what;
            json[n++] = '"';
            memset(json + n, 'x', before);
            n += before;
            memcpy(json + n, inserts[k], strlen(inserts[k]));
            n += strlen(inserts[k]);
            memset(json + n, 'y', 70);
            n += 70;
            json[n++] = '"';
            int status = trace(json, n, out, sizeof out, &offset, &what);
            assert_int_equal(status, k >= 5 ? ST_SYNTAX : 0);
            if (k >= 5)
                assert_int_equal(offset, 1 + before);
            assert_int_equal(trace(json, n - 1, out, sizeof out, &offset, &what), ST_SYNTAX);
        }
    }
}

static void depth_is_limited(void **state)
{
    char json[3 * JSON_DEPTH_MAX];
    for (size_t depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(json, '[', depth);
        memset(json + depth, ']', depth);
        assert_int_equal(json_check(slice_of(json, 2 * depth)), depth > JSON_DEPTH_MAX ? ST_LIMIT : 0);
    }
}

static void skip_passes_over_whole_values(void **state)
{
    static const char json[] = "{\"a\":{\"b\":[1,{\"c\":\"\\n\"}]},\"d\":[[]],\"e\":5,\"f\":\"g\"}";
    struct json_reader r;
    json_reader_init(&r, slice_str(json), NULL); /* skipping needs no arena, in spite of the escape */
    assert_int_equal(json_next(&r), JSON_OBJECT);
    for (const char *key = "adef"; *key; key++) {
        assert_int_equal(json_next(&r), JSON_KEY);
        assert_int_equal(r.text.ptr[0], *key);
        if (*key == 'd')
            assert_int_equal(json_next(&r), JSON_ARRAY); /* from within, too */
        assert_true(json_skip(&r));
    }
    assert_int_equal(json_next(&r), JSON_OBJECT_END);
    assert_int_equal(json_next(&r), JSON_END);

    static const char bad[] = "{\"a\":[1,{\"c\":\"\\x\"}]}";
    json_reader_init(&r, slice_str(bad), NULL);
    json_next(&r);
    json_next(&r);
    assert_false(json_skip(&r));
    assert_int_equal(r.status, ST_SYNTAX);
}

static void unescaping_without_memory_is_an_error(void **state)
{
    struct json_reader r;
    json_reader_init(&r, SLICE_LIT("\"\\n\""), NULL);
    assert_int_equal(json_next(&r), JSON_ERROR);
    assert_int_equal(r.status, -ENOMEM);
}

static void doubles_are_exact(void **state)
{
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"0", 0.0},
        {"-0", -0.0},
        {"0.1", 0.1},
        {"1e308", 1e308},
        {"4.9e-324", 4.9e-324},
        {"1e-400", 0.0},
        {"1e400", HUGE_VAL},
        {"0.30000000000000004", 0.30000000000000004},
        {"123456789012345678", 123456789012345678.0},
        {"0.000123e3", 0.123},
        {"12.5e-1", 1.25},
        {"-7", -7.0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_true(json_number_double(slice_str(cases[i].text)) == cases[i].value);
    char text[2000] = "0.";
    memset(text + 2, '0', 1500);
    strcpy(text + 1502, "25e1501");
    assert_true(json_number_double(slice_str(text)) == 2.5);
}

#define assert_written(text)                                                     \
    do {                                                                         \
        assert_false(bytebuf_failed(&out));                                      \
        if (!slice_eq_str(bytebuf_view(&out), text))                             \
            fail_msg("%.*s instead of %s", SLICE_FMT(bytebuf_view(&out)), text); \
        assert_int_equal(json_check(bytebuf_view(&out)), 0);                     \
    } while (0)

static void the_writer_sets_commas_and_escapes(void **state)
{
    struct bytebuf out;
    struct json_writer w;
    bytebuf_init(&out, 4096);
    json_writer_init(&w, &out);
    json_write_object(&w);
    json_write_name(&w, "a");
    json_write_array(&w);
    json_write_i64(&w, INT64_MIN);
    json_write_u64(&w, UINT64_MAX);
    json_write_bool(&w, true);
    json_write_null(&w);
    json_write_object(&w);
    json_write_object_end(&w);
    json_write_array(&w);
    json_write_array_end(&w);
    json_write_array_end(&w);
    json_write_key(&w, SLICE_LIT("k\"\n"));
    json_write_string(&w, SLICE_LIT("\x01\b\f\r\t\x1f\\/\x7f\xc3\xa9"));
    json_write_name(&w, "b");
    json_write_base64(&w, SLICE_LIT("\xff\xfe"));
    json_write_name(&w, "r");
    json_write_raw(&w, SLICE_LIT("[1]"));
    json_write_object_end(&w);
    assert_written("{\"a\":[-9223372036854775808,18446744073709551615,true,null,{},[]],\"k\\\"\\n\":"
                   "\"\\u0001\\b\\f\\r\\t\\u001f\\\\/\x7f\xc3\xa9\",\"b\":\"//4=\",\"r\":[1]}");
    bytebuf_deinit(&out);
}

static void numbers_and_times_are_written_shortly(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } times[] = {{1763845384567, "1763845384.567"},
                 {1763845384500, "1763845384.5"},
                 {1763845384000, "1763845384"},
                 {1763845384050, "1763845384.05"},
                 {0, "0"},
                 {-1, "-0.001"},
                 {-1500, "-1.5"}};
    static const struct {
        double value;
        const char *text;
    } doubles[] = {{0.1, "0.1"},      {1.0, "1"},     {0.30000000000000004, "0.30000000000000004"},
                   {1e300, "1e+300"}, {-2.5, "-2.5"}, {HUGE_VAL, "null"}};
    struct bytebuf out;
    bytebuf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_COUNT(times); i++) {
        struct json_writer w;
        bytebuf_reset(&out);
        json_writer_init(&w, &out);
        json_write_seconds(&w, (struct wall_ms){times[i].ms});
        assert_written(times[i].text);
        assert_true(json_number_seconds_ms(bytebuf_view(&out)) == times[i].ms);
    }
    for (size_t i = 0; i < ARRAY_COUNT(doubles); i++) {
        struct json_writer w;
        bytebuf_reset(&out);
        json_writer_init(&w, &out);
        json_write_double(&w, doubles[i].value);
        assert_written(doubles[i].text);
    }
    bytebuf_deinit(&out);
}

static void every_string_survives_writing_and_reading(void **state)
{
    struct bytebuf out;
    struct arena arena;
    arena_init(&arena, 4096, 1 << 20);
    bytebuf_init(&out, 1 << 20);
    for (uint32_t cp = 0; cp < 0x110000; cp += cp < 0x3000 ? 1 : 997) {
        uint8_t text[8] = "ab";
        if (cp >= 0xd800 && cp < 0xe000)
            continue;
        size_t len = 2 + utf8_encode(cp, text + 2);
        struct json_writer w;
        struct json_reader r;
        arena_reset(&arena);
        bytebuf_reset(&out);
        json_writer_init(&w, &out);
        json_write_string(&w, slice_of(text, len));
        json_reader_init(&r, bytebuf_view(&out), &arena);
        assert_int_equal(json_next(&r), JSON_STRING);
        assert_true(slice_eq(r.text, slice_of(text, len)));
        assert_int_equal(utf8_length(r.text), 3);
        assert_true(utf8_valid(r.text));
    }
    bytebuf_deinit(&out);
    arena_deinit(&arena);
}

static void a_full_buffer_is_remembered(void **state)
{
    static const char whole[] = "{\"a\":\"bcd\",\"e\":\"AAAA\"}";
    for (size_t limit = 0; limit <= sizeof whole + 8; limit++) {
        struct bytebuf out;
        struct json_writer w;
        bytebuf_init(&out, limit);
        json_writer_init(&w, &out);
        json_write_object(&w);
        json_write_name(&w, "a");
        json_write_str(&w, "bcd");
        json_write_name(&w, "e");
        json_write_base64(&w, SLICE_LIT("\0\0\0"));
        json_write_object_end(&w);
        if (limit < sizeof whole - 1)
            assert_true(bytebuf_failed(&out));
        if (!bytebuf_failed(&out))
            assert_true(slice_eq_str(bytebuf_view(&out), whole));
        bytebuf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read_token_by_token),
        cmocka_unit_test(errors_say_what_and_where),
        cmocka_unit_test(strings_of_every_length_end_where_they_should),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(skip_passes_over_whole_values),
        cmocka_unit_test(unescaping_without_memory_is_an_error),
        cmocka_unit_test(doubles_are_exact),
        cmocka_unit_test(the_writer_sets_commas_and_escapes),
        cmocka_unit_test(numbers_and_times_are_written_shortly),
        cmocka_unit_test(every_string_survives_writing_and_reading),
        cmocka_unit_test(a_full_buffer_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
