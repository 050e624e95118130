/* The pure stages: recipients, age, compression, format, date patterns, prefixes, names, settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "firehose/age.h"
#include "firehose/compress.h"
#include "firehose/date_pattern.h"
#include "firehose/delivery_settings.h"
#include "firehose/format.h"
#include "firehose/name.h"
#include "tests/unit/firehose/record_source.h"

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static void fill_random(uint8_t *p, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (uint8_t)(seed >> 24);
    }
}

static void run(const char *fmt, ...) printf_like(1);
static void run(const char *fmt, ...)
{
    char cmd[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    if (system(cmd) != 0)
        fail_msg("failed: %s", cmd);
}

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static char folder[64];

static int make_folder(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/sluice-test-stages-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    run("rm -rf '%s'", folder);
    return 0;
}

/* Makes a key with age-keygen; its recipient. */
static void make_key(const char *name, char recipient[AGE_RECIPIENT_TEXT_MAX + 1])
{
    run("age-keygen -o '%s/%s' 2>/dev/null && age-keygen -y '%s/%s' > '%s/%s.pub'", folder, name, folder, name, folder,
        name);
    char path[128];
    snprintf(path, sizeof path, "%s/%s.pub", folder, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fread(recipient, 1, AGE_RECIPIENT_TEXT_MAX, f), AGE_RECIPIENT_TEXT_MAX);
    recipient[AGE_RECIPIENT_TEXT_MAX] = 0;
    fclose(f);
}

/* ---- age --------------------------------------------------------------------------------------------------------- */

static void a_recipient_reads_back_as_it_was_written(void **state)
{
    char text[AGE_RECIPIENT_TEXT_MAX + 1], again[AGE_RECIPIENT_TEXT_MAX + 1];
    struct age_recipient r;
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "key%d", i);
        make_key(name, text);
        assert_int_equal(age_recipient_parse(slice_str(text), &r, NULL), 0);
        age_recipient_print(&r, again);
        assert_string_equal(again, text);
    }
}

static void a_recipient_with_any_one_character_changed_is_refused(void **state)
{
    char text[AGE_RECIPIENT_TEXT_MAX + 1];
    struct age_recipient r;
    struct err e;
    make_key("typo", text);
    for (size_t i = 0; i < AGE_RECIPIENT_TEXT_MAX; i++) {
        char typo[AGE_RECIPIENT_TEXT_MAX + 1];
        memcpy(typo, text, sizeof typo);
        typo[i] = typo[i] == 'q' ? 'p' : 'q';
        assert_int_equal(age_recipient_parse(slice_str(typo), &r, &e), ST_SYNTAX);
    }
    text[AGE_RECIPIENT_TEXT_MAX - 1] ^= 1;
    assert_int_equal(age_recipient_parse(slice_str("age1"), &r, &e), ST_SYNTAX);
    assert_string_equal(e.text, "an age recipient is \"age1\" and 58 characters");
}

/* Encrypts in steps of `step` bytes into a file of that name. */
static void encrypt(const char *name, struct slice plain, size_t step, const struct age_recipient *r, uint32_t count)
{
    struct age_random random;
    struct age_stream *s = malloc(sizeof *s);
    uint8_t *out = malloc(AGE_OUTPUT_MAX(plain.len) + AGE_CHUNK_BYTES);
    size_t n = 0;
    char path[256];
    fill_random((uint8_t *)&random, sizeof random, (uint32_t)(plain.len * 31 + count));
    assert_int_equal(age_begin(s, r, count, &random, out, &n), 0);
    assert_true(n <= AGE_HEADER_BYTES_MAX);
    for (size_t at = 0; at < plain.len; at += step) {
        struct slice part = slice_first(slice_from(plain, at), step);
        size_t put = age_update(s, part, out + n);
        assert_true(put <= AGE_OUTPUT_MAX(part.len));
        n += put;
    }
    n += age_finish(s, out + n);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    write_file(path, out, n);
    free(out);
    free(s);
}

static void the_age_tool_opens_files_of_every_length(void **state)
{
    static const size_t lengths[] = {0,      1,      15,     65535,           65536,      65537,
                                     131071, 131072, 131073, 3 * 1048576 + 7, 4 * 1048576};
    static const size_t steps[] = {1u << 20, 65536, 1000, 70000};
    char text[AGE_RECIPIENT_TEXT_MAX + 1];
    struct age_recipient r;
    make_key("one", text);
    assert_int_equal(age_recipient_parse(slice_str(text), &r, NULL), 0);
    uint8_t *plain = malloc(4 * 1048576);
    fill_random(plain, 4 * 1048576, 7);
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/plain", folder);
        write_file(path, plain, lengths[i]);
        encrypt("cipher", slice_of(plain, lengths[i]), steps[i % ARRAY_COUNT(steps)], &r, 1);
        run("age -d -i '%s/one' '%s/cipher' | cmp - '%s/plain'", folder, folder, folder);
    }
    free(plain);
}

static void each_of_several_recipients_opens_the_file_and_nobody_else(void **state)
{
    struct age_recipient r[AGE_RECIPIENTS_MAX];
    char text[AGE_RECIPIENT_TEXT_MAX + 1], name[16];
    for (uint32_t i = 0; i < AGE_RECIPIENTS_MAX; i++) {
        snprintf(name, sizeof name, "of%u", i);
        make_key(name, text);
        assert_int_equal(age_recipient_parse(slice_str(text), &r[i], NULL), 0);
    }
    make_key("stranger", text);
    uint8_t plain[100000];
    fill_random(plain, sizeof plain, 3);
    char path[128];
    snprintf(path, sizeof path, "%s/plain16", folder);
    write_file(path, plain, sizeof plain);
    encrypt("cipher16", slice_of(plain, sizeof plain), 4096, r, AGE_RECIPIENTS_MAX);
    for (uint32_t i = 0; i < AGE_RECIPIENTS_MAX; i += 5)
        run("age -d -i '%s/of%u' '%s/cipher16' | cmp - '%s/plain16'", folder, i, folder, folder);
    run("! age -d -i '%s/stranger' '%s/cipher16' >/dev/null 2>&1", folder, folder);
}

static void a_point_of_low_order_is_no_recipient(void **state)
{
    struct age_recipient r = {{0}};
    struct age_random random = {{1}, {2}, {{3}}};
    struct age_stream *s = malloc(sizeof *s);
    uint8_t out[AGE_HEADER_BYTES_MAX];
    size_t n;
    assert_int_equal(age_begin(s, &r, 1, &random, out, &n), ST_INVALID);
    assert_int_equal(age_begin(s, &r, 0, &random, out, &n), ST_INVALID);
    free(s);
}

/* ---- compression --------------------------------------------------------------------------------------------------- */

static void pieces_compressed_apart_decompress_as_one_file(void **state)
{
    struct compressor *c;
    assert_int_equal(compressor_create(COMPRESSION_ZSTD, &c), 0);
    size_t cap = compress_bound(COMPRESSION_ZSTD, 300000), n = 0, len;
    uint8_t *raw = malloc(300000), *out = malloc(4 * cap);
    for (size_t i = 0; i < 300000; i++)
        raw[i] = (uint8_t)(i % 251 ^ i / 1000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(compress_piece(c, 1 + i * 9, slice_of(raw + i * 100000, 100000), i == 0, out + n, cap, &len),
                         0);
        n += len;
    }
    assert_int_equal(compress_piece(c, 1, slice_of(raw, 0), false, out + n, cap, &len), 0);
    assert_int_equal(len, 0);
    char path[128];
    snprintf(path, sizeof path, "%s/pieces.zst", folder);
    write_file(path, out, n);
    snprintf(path, sizeof path, "%s/pieces", folder);
    write_file(path, raw, 300000);
    run("zstd -dc '%s/pieces.zst' | cmp - '%s/pieces'", folder, folder);
    free(raw);
    free(out);
    compressor_destroy(c);
}

static void an_empty_object_is_a_valid_file_and_damage_is_seen(void **state)
{
    struct compressor *c;
    uint8_t out[1024];
    size_t n;
    char path[128];
    assert_int_equal(compressor_create(COMPRESSION_ZSTD, &c), 0);
    assert_int_equal(compress_piece(c, 1, slice_of("", 0), true, out, sizeof out, &n), 0);
    assert_true(n > 0);
    snprintf(path, sizeof path, "%s/empty.zst", folder);
    write_file(path, out, n);
    run("test -z \"$(zstd -dc '%s/empty.zst')\"", folder);
    assert_int_equal(compress_piece(c, 1, SLICE_LIT("a short text, a short text"), true, out, sizeof out, &n), 0);
    out[n - 1] ^= 1; /* the content checksum */
    write_file(path, out, n);
    run("! zstd -dc '%s/empty.zst' >/dev/null 2>&1", folder);
    assert_int_equal(compress_piece(c, 1, slice_of(path, 100), true, out, 3, &n), ST_FAILED);
    compressor_destroy(c);
}

/* ---- format ---------------------------------------------------------------------------------------------------------- */

struct blocks {
    struct record_source s;
    struct source_block block[8];
    uint32_t count;
};

static void blocks_of(struct blocks *b, const char *const *texts, uint32_t per_block)
{
    record_source_init(&b->s);
    struct record_part *p = record_source_add(&b->s, 1, 100, 0);
    while (*texts) {
        struct slice data[8];
        uint32_t n = 0;
        while (n < per_block && *texts)
            data[n++] = slice_str(*texts++);
        record_source_append(&b->s, 1, data, n, (struct wall_ms){1000 + (int64_t)p->block_count});
    }
    b->count = p->block_count;
    for (uint32_t i = 0; i < b->count; i++)
        b->block[i] = (struct source_block){.header = p->blocks[i].header,
                                            .payload = slice_of(p->blocks[i].payload, p->blocks[i].header.raw_bytes)};
}

static void records_are_joined_with_the_delimiter_that_was_asked_for(void **state)
{
    static const char *const texts[] = {"a", "b\n", "", "c", NULL};
    static const struct {
        enum format_delimiter delimiter;
        const char *expect;
    } cases[] = {{FORMAT_DELIMITER_NONE, "ab\nc"},
                 {FORMAT_DELIMITER_NEWLINE, "a\nb\n\nc\n"},
                 {FORMAT_DELIMITER_ALWAYS, "a\nb\n\n\nc\n"}};
    struct blocks b;
    blocks_of(&b, texts, 2);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        /* room for all, then byte by byte */
        for (size_t cap = 64; cap; cap = cap == 64 ? 1 : 0) {
            uint8_t out[64];
            char all[64] = "";
            struct format_run run = {.blocks = b.block,
                                     .block_count = b.count,
                                     .to = UINT64_MAX,
                                     .delimiter = cases[i].delimiter,
                                     .object_bytes_max = UINT64_MAX,
                                     .out = out,
                                     .out_cap = cap};
            uint64_t records = 0;
            do {
                run.out_len = 0;
                format_records(&run);
                records += run.records;
                strncat(all, (char *)out, run.out_len);
            } while (run.end == FORMAT_FULL);
            assert_int_equal(run.end, FORMAT_USED_UP);
            assert_int_equal(records, 4);
            assert_string_equal(all, cases[i].expect);
        }
    }
    record_source_deinit(&b.s);
}

static void an_object_ends_before_the_record_that_would_make_it_too_large(void **state)
{
    static const char *const texts[] = {"1111", "2222", "3333", "a record larger than any object may be", "4", NULL};
    struct blocks b;
    uint8_t out[256];
    blocks_of(&b, texts, 8);
    struct format_run run = {.blocks = b.block,
                             .block_count = 1,
                             .to = UINT64_MAX,
                             .delimiter = FORMAT_DELIMITER_NEWLINE,
                             .object_bytes_max = 10,
                             .out = out,
                             .out_cap = sizeof out};
    static const uint64_t ends[] = {102, 103, 104};
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
        format_records(&run);
        assert_int_equal(run.end, FORMAT_CUT);
        assert_int_equal(run.next_counter, ends[i]);
    }
    format_records(&run);
    assert_int_equal(run.end, FORMAT_USED_UP);
    assert_int_equal(run.next_counter, 105);
    assert_int_equal(out[run.out_len - 1], '\n');
    record_source_deinit(&b.s);
}

static void only_records_of_the_range_are_taken(void **state)
{
    static const char *const texts[] = {"0", "1", "2", "3", "4", "5", NULL};
    struct blocks b;
    uint8_t out[256];
    blocks_of(&b, texts, 2);
    struct format_run run = {.blocks = b.block,
                             .block_count = b.count,
                             .from = 101,
                             .to = 104,
                             .delimiter = FORMAT_DELIMITER_NONE,
                             .object_bytes_max = UINT64_MAX,
                             .out = out,
                             .out_cap = sizeof out};
    format_records(&run);
    assert_int_equal(run.end, FORMAT_USED_UP);
    assert_memory_equal(out, "123", 3);
    assert_int_equal(run.out_len, 3);
    assert_int_equal(run.first_counter, 101);
    assert_int_equal(run.next_counter, 104);
    assert_int_equal(run.oldest.ms, 1000);
    record_source_deinit(&b.s);
}

static void a_run_that_is_to_stop_finishes_its_record_and_begins_no_other(void **state)
{
    static const char *const texts[] = {"0123456789", "next", NULL};
    struct blocks b;
    uint8_t out[6];
    blocks_of(&b, texts, 2);
    struct format_run run = {.blocks = b.block,
                             .block_count = b.count,
                             .to = UINT64_MAX,
                             .delimiter = FORMAT_DELIMITER_NEWLINE,
                             .object_bytes_max = UINT64_MAX,
                             .out = out,
                             .out_cap = sizeof out};
    format_records(&run);
    assert_int_equal(run.end, FORMAT_FULL);
    assert_true(run.cursor.begun);
    run.stop = true;
    run.out_len = 0;
    format_records(&run);
    assert_int_equal(run.end, FORMAT_CUT);
    assert_memory_equal(out, "6789\n", 5);
    assert_false(run.cursor.begun);
    assert_int_equal(run.records, 0);
    record_source_deinit(&b.s);
}

static void a_block_that_contradicts_itself_is_told_of(void **state)
{
    static const char *const texts[] = {"one", "two", NULL};
    struct blocks b;
    uint8_t out[64];
    blocks_of(&b, texts, 2);
    b.block[0].header.record_count = 3;
    struct format_run run = {.blocks = b.block,
                             .block_count = 1,
                             .to = UINT64_MAX,
                             .object_bytes_max = UINT64_MAX,
                             .out = out,
                             .out_cap = sizeof out};
    format_records(&run);
    assert_int_equal(run.end, FORMAT_CORRUPT);
    assert_int_equal(run.records, 2);
    record_source_deinit(&b.s);
}

/* ---- dates, prefixes, names ----------------------------------------------------------------------------------------- */

static const struct wall_ms sunday = {1795381384567}; /* 2026-11-22T21:03:04.567Z */

static void date_patterns_format_as_java_does(void **state)
{
    static const struct {
        const char *pattern, *expect;
    } cases[] = {
        {"yyyy/MM/dd/HH/", "2026/11/22/21/"},
        {"yy-M-d H:m:s", "26-11-22 21:3:4"},
        {"uuuu-MM-dd'T'HH:mm:ss.SSSX", "2026-11-22T21:03:04.567Z"},
        {"'year='yyyy/'month='MM", "year=2026/month=11"},
        {"yyyy''MM", "2026'11"},
        {"MMM MMMM MMMMM", "Nov November N"},
        {"EEE EEEE e", "Sun Sunday 1"},
        {"hh:mm a KK kk", "09:03 PM 09 21"},
        {"DDD", "326"},
        {"Q QQ QQQ QQQQ", "4 04 Q4 4th quarter"},
        {"YYYY-'W'ww", "2026-W47"},
        {"S SS SSSSSS", "5 56 567000"},
        {"A", "75784567"},
        {"xxx Z ZZZZZ O z VV", "+00:00 +0000 Z GMT UTC UTC"},
        {"G", "AD"},
        {"yyyyMMdd_HHmmss", "20261122_210304"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bytebuf b;
        bytebuf_init(&b, 256);
        assert_int_equal(date_pattern_format(slice_str(cases[i].pattern), sunday, &b, NULL), 0);
        bytebuf_byte(&b, 0);
        assert_string_equal((char *)b.ptr, cases[i].expect);
        bytebuf_deinit(&b);
    }
}

static void weeks_belong_to_the_year_of_their_thursday(void **state)
{
    static const struct {
        int year, month, day;
        const char *expect;
    } cases[] = {{2021, 1, 3, "2020-53"}, {2021, 1, 4, "2021-01"}, {2024, 12, 30, "2025-01"}, {2026, 12, 31, "2026-53"},
                 {2027, 1, 1, "2026-53"}, {2023, 1, 1, "2022-52"}, {2020, 2, 29, "2020-09"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct wall_parts p = {.year = cases[i].year, .month = cases[i].month, .day = cases[i].day};
        struct bytebuf b;
        bytebuf_init(&b, 64);
        assert_int_equal(date_pattern_format(SLICE_LIT("YYYY-ww"), wall_join(&p), &b, NULL), 0);
        bytebuf_byte(&b, 0);
        assert_string_equal((char *)b.ptr, cases[i].expect);
        bytebuf_deinit(&b);
    }
}

static void date_patterns_that_java_refuses_are_refused(void **state)
{
    static const char *const bad[] = {"",   "yyyy'open", "b",  "MMMMMM",     "HHH", "{",
                                      "y#", "[yyyy]",    "aa", "SSSSSSSSSS", "V",   "T"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct bytebuf b;
        struct err e = {0};
        bytebuf_init(&b, 256);
        assert_int_equal(date_pattern_format(slice_str(bad[i]), sunday, &b, &e), ST_SYNTAX);
        assert_true(e.text[0]);
        bytebuf_deinit(&b);
    }
}

static void counting_random(void *ctx, uint8_t *out, size_t len)
{
    uint8_t *next = ctx;
    for (size_t i = 0; i < len; i++)
        out[i] = (*next)++;
}

static void a_prefix_is_checked_once_and_evaluated_for_each_object(void **state)
{
    struct prefix_facts facts;
    struct err e;
    assert_int_equal(prefix_check(SLICE_LIT("a/b/"), PREFIX_OF_OBJECTS, &facts, &e), 0);
    assert_false(facts.has_expression);
    struct slice p = SLICE_LIT("logs/!{timestamp:yyyy/MM}/x-!{firehose:random-string}/!{firehose:random-string}!");
    assert_int_equal(prefix_check(p, PREFIX_OF_OBJECTS, &facts, &e), 0);
    assert_true(facts.has_timestamp && facts.has_expression);
    uint8_t next = 1;
    struct prefix_values v = {.time = sunday, .random_bytes = counting_random, .ctx = &next};
    struct bytebuf b;
    bytebuf_init(&b, 256);
    assert_int_equal(prefix_evaluate(p, PREFIX_OF_OBJECTS, &v, &b), 0);
    bytebuf_byte(&b, 0);
    assert_memory_equal(b.ptr, "logs/2026/11/x-", 15);
    assert_int_equal(b.len, 15 + 11 + 1 + 11 + 1 + 1);
    assert_memory_not_equal(b.ptr + 15, b.ptr + 27, 11);
    bytebuf_deinit(&b);
    assert_int_equal(prefix_check(SLICE_LIT("x!{timestamp:yyyy"), PREFIX_OF_OBJECTS, &facts, &e), ST_SYNTAX);
    assert_string_equal(e.text, "the expression at 2 is not closed by '}'");
    assert_int_equal(prefix_check(SLICE_LIT("!{nonsense:x}"), PREFIX_OF_OBJECTS, &facts, &e), ST_SYNTAX);
    assert_string_equal(e.text, "there is no expression !{nonsense:x}; known are !{timestamp:PATTERN}, "
                                "!{firehose:random-string}");
    assert_int_equal(prefix_check(SLICE_LIT("!{firehose:error-output-type}"), PREFIX_OF_OBJECTS, &facts, &e),
                     ST_SYNTAX);
    assert_int_equal(prefix_check(SLICE_LIT("!{firehose:error-output-type}"), PREFIX_OF_ERRORS, &facts, &e), 0);
    assert_true(facts.has_error_type);
}

static void settings_for_names(struct delivery_settings *s)
{
    delivery_settings_init(s);
    strcpy(s->name, "events-archive");
    strcpy(s->sink, "file:///out/");
    s->version = 3;
}

static void an_object_is_named_as_firehose_names_it(void **state)
{
    struct delivery_settings s;
    char unique[NAME_UNIQUE_CHARS + 1], key[SINK_KEY_MAX + 1];
    uint8_t next = 0;
    struct prefix_values v = {.time = sunday, .random_bytes = counting_random, .ctx = &next};
    settings_for_names(&s);
    name_unique(0x1f0c9a3e, 42, 77, unique);
    assert_string_equal(unique, "1f0c9a3e-0000-0000-002a-00000000004d");
    assert_int_equal(strlen(unique), NAME_UNIQUE_CHARS);
    assert_int_equal(name_object_key(&s, unique, &v, key), 0);
    assert_string_equal(key, "events-archive-3-2026-11-22-21-03-04-1f0c9a3e-0000-0000-002a-00000000004d.zst");
    s.time_default = true;
    strcpy(s.prefix, "in/");
    s.recipient_count = 1;
    assert_int_equal(name_object_key(&s, unique, &v, key), 0);
    assert_string_equal(
        key, "in/2026/11/22/21/events-archive-3-2026-11-22-21-03-04-1f0c9a3e-0000-0000-002a-00000000004d.zst.age");
    strcpy(s.prefix, "!{timestamp:yyyy}/");
    strcpy(s.extension, ".json");
    assert_int_equal(name_object_key(&s, unique, &v, key), 0);
    assert_string_equal(key, "2026/events-archive-3-2026-11-22-21-03-04-1f0c9a3e-0000-0000-002a-00000000004d.json");
}

static void a_key_never_leads_out_of_the_sink_and_is_never_too_long(void **state)
{
    struct delivery_settings s;
    char key[SINK_KEY_MAX + 1];
    uint8_t next = 0;
    struct prefix_values v = {.time = sunday, .random_bytes = counting_random, .ctx = &next};
    settings_for_names(&s);
    strcpy(s.prefix, "a/!{timestamp:'..'}/");
    assert_int_equal(name_object_key(&s, "u", &v, key), ST_INVALID);
    memset(s.prefix, 'x', DELIVERY_PREFIX_MAX);
    s.prefix[DELIVERY_PREFIX_MAX] = 0;
    assert_int_equal(name_object_key(&s, "u", &v, key), ST_LIMIT);
}

/* ---- settings --------------------------------------------------------------------------------------------------------- */

static void a_sink_is_split_into_its_folder_and_its_prefix(void **state)
{
    static const struct {
        const char *url, *sink, *prefix;
    } cases[] = {
        {"file:///var/out/!{timestamp:yyyy/MM/dd/HH}/", "file:///var/out/", "!{timestamp:yyyy/MM/dd/HH}/"},
        {"file:///var/out", "file:///var/out/", ""},
        {"file:///var/out/", "file:///var/out/", ""},
        {"file:///var/out/x-!{timestamp:yyyy}-", "file:///var/out/", "x-!{timestamp:yyyy}-"},
    };
    struct delivery_settings s;
    struct err e;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        delivery_settings_init(&s);
        strcpy(s.name, "n");
        assert_int_equal(delivery_settings_set_sink(&s, slice_str(cases[i].url), &e), 0);
        assert_string_equal(s.sink, cases[i].sink);
        assert_string_equal(s.prefix, cases[i].prefix);
        assert_int_equal(delivery_settings_check(&s, &e), 0);
    }
    assert_int_equal(delivery_settings_set_sink(&s, SLICE_LIT("s4://bucket/"), &e), ST_INVALID);
    assert_string_equal(e.text, "sink: 's4://bucket/' is no sink; known is file:///folder/");
}

static void settings_survive_printing_and_parsing(void **state)
{
    struct delivery_settings s, again;
    struct err e = {0};
    char text[AGE_RECIPIENT_TEXT_MAX + 1];
    struct bytebuf a, b;
    make_key("settings", text);
    settings_for_names(&s);
    strcpy(s.source, "events");
    strcpy(s.prefix, "a \"quoted\" !{timestamp:yyyy}/");
    strcpy(s.role_arn, "arn:aws:iam::000000000000:role/r");
    s.time_default = true;
    s.start = DELIVERY_START_LATEST;
    s.delimiter = FORMAT_DELIMITER_ALWAYS;
    assert_int_equal(delivery_settings_set_compression(&s, SLICE_LIT("zstd:7"), &e), 0);
    assert_int_equal(delivery_settings_add_recipient(&s, slice_str(text), &e), 0);
    bytebuf_init(&a, DELIVERY_JSON_MAX);
    bytebuf_init(&b, DELIVERY_JSON_MAX);
    delivery_settings_print(&s, &a);
    assert_int_equal(delivery_settings_parse(bytebuf_view(&a), &again, &e), 0);
    delivery_settings_print(&again, &b);
    assert_true(slice_eq(bytebuf_view(&a), bytebuf_view(&b)));
    assert_int_equal(again.compression_level, 7);
    assert_string_equal(again.recipient[0], text);
    assert_string_equal(again.prefix, s.prefix);
    bytebuf_deinit(&a);
    bytebuf_deinit(&b);
}

static void wrong_settings_are_named(void **state)
{
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"[]", "the settings are not a JSON object"},
        {"{\"name\":\"x\",\"sink\":\"file:///o/\",\"level\":0}", "compression level: 0; allowed are 1 to 19"},
        {"{\"name\":\"x y\",\"sink\":\"file:///o/\"}", "name: 'x y'; allowed are 1 to 64 of a-z A-Z 0-9 _ . -"},
        {"{\"name\":\"x\",\"sink\":\"file:///o/../\"}", "sink: the folder must not hold \"..\" or expressions"},
        {"{\"name\":\"x\",\"sink\":\"/o\"}", "sink: '/o' is no sink; known is file:///folder/"},
        {"{\"name\":\"x\",\"new\":1}", "new: unknown, or not a value that it may have"},
        {"{\"name\":\"x\",\"sink\":\"file:///o/\",\"buffer_bytes\":10}",
         "buffer size: 10 bytes; allowed are 1024 to 1073741824"},
        {"{\"name\":\"x\",\"sink\":\"file:///o/\",\"prefix\":\"!{timestamp:Hb}\"}",
         "prefix: the date pattern has no field 'b'"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct delivery_settings s;
        struct err e = {0};
        assert_true(delivery_settings_parse(slice_str(cases[i].json), &s, &e) < 0);
        assert_string_equal(e.text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recipient_reads_back_as_it_was_written),
        cmocka_unit_test(a_recipient_with_any_one_character_changed_is_refused),
        cmocka_unit_test(the_age_tool_opens_files_of_every_length),
        cmocka_unit_test(each_of_several_recipients_opens_the_file_and_nobody_else),
        cmocka_unit_test(a_point_of_low_order_is_no_recipient),
        cmocka_unit_test(pieces_compressed_apart_decompress_as_one_file),
        cmocka_unit_test(an_empty_object_is_a_valid_file_and_damage_is_seen),
        cmocka_unit_test(records_are_joined_with_the_delimiter_that_was_asked_for),
        cmocka_unit_test(an_object_ends_before_the_record_that_would_make_it_too_large),
        cmocka_unit_test(only_records_of_the_range_are_taken),
        cmocka_unit_test(a_run_that_is_to_stop_finishes_its_record_and_begins_no_other),
        cmocka_unit_test(a_block_that_contradicts_itself_is_told_of),
        cmocka_unit_test(date_patterns_format_as_java_does),
        cmocka_unit_test(weeks_belong_to_the_year_of_their_thursday),
        cmocka_unit_test(date_patterns_that_java_refuses_are_refused),
        cmocka_unit_test(a_prefix_is_checked_once_and_evaluated_for_each_object),
        cmocka_unit_test(an_object_is_named_as_firehose_names_it),
        cmocka_unit_test(a_key_never_leads_out_of_the_sink_and_is_never_too_long),
        cmocka_unit_test(a_sink_is_split_into_its_folder_and_its_prefix),
        cmocka_unit_test(settings_survive_printing_and_parsing),
        cmocka_unit_test(wrong_settings_are_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
