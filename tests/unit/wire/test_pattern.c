/* The matcher of AWS's regular expressions, on the expressions of the Kinesis and Firehose models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/wire/shape_pattern.h"

static void model_patterns_accept_and_refuse_what_java_does(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"[a-zA-Z0-9_.-]+", "my-stream_1.x", true},
        {"[a-zA-Z0-9_.-]+", "", false},
        {"[a-zA-Z0-9_.-]+", "a b", false},
        {"[a-zA-Z0-9_.-]+", "a\xc3\xa9", false},
        {"[a-zA-Z0-9_.-]+", "a/b", false},
        {"0|([1-9]\\d{0,38})", "0", true},
        {"0|([1-9]\\d{0,38})", "00", false},
        {"0|([1-9]\\d{0,38})", "340282366920938463463374607431768211455", true},
        {"0|([1-9]\\d{0,38})", "3402823669209384634633746074317682114550", false},
        {"0|([1-9]\\d{0,38})", "-1", false},
        {"0|([1-9]\\d{0,38})", "", false},
        {"^(0|([1-9]\\d{0,38}))$", "0", true},
        {"^(0|([1-9]\\d{0,38}))$", "18", true},
        {"^(0|([1-9]\\d{0,38}))$", "01", false},
        {"arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+", "arn:aws:kinesis:us-east-1:000000000000:stream/s", true},
        {"arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+", "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/a:b", true},
        {"arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+", "arn:aws:kinesis:us-east-1:00000000000:stream/s", false},
        {"arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+", "arn:aws:kinesis:us-east-1:000000000000:stream/", false},
        {"arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+", "arn:aws:kinesis:us-east-1:000000000000:stream/a b", false},
        {"arn:aws.*:kinesis:.*:\\d{12}:.*(stream|channel|queue)/\\S+", "arn:aws:kinesis:r:000000000000:channel/c",
         true},
        {"arn:aws.*:kinesis:.*:\\d{12}:.*(stream|channel|queue)/\\S+", "arn:aws:kinesis:r:000000000000:topic/c", false},
        {"^(arn):aws.*:kinesis:.*:\\d{12}:.*stream\\/[a-zA-Z0-9_.-]+\\/consumer\\/[a-zA-Z0-9_.-]+:[0-9]+",
         "arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1700000000", true},
        {"^(arn):aws.*:kinesis:.*:\\d{12}:.*stream\\/[a-zA-Z0-9_.-]+\\/consumer\\/[a-zA-Z0-9_.-]+:[0-9]+",
         "arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:", false},
        {"arn:.*:s3:::[\\w\\.\\-]{1,255}", "arn:aws:s3:::bucket_1.x-y", true},
        {"arn:.*:s3:::[\\w\\.\\-]{1,255}", "arn:aws:s3:::", false},
        {"arn:.*:iam::\\d{12}:role/[a-zA-Z_0-9+=,.@\\-_/]+", "arn:aws:iam::123456789012:role/path/r@x,y=z", true},
        {"arn:.*:iam::\\d{12}:role/[a-zA-Z_0-9+=,.@\\-_/]+", "arn:aws:iam::123456789012:role/", false},
        {"arn:.*:es:[a-zA-Z0-9\\-]+:\\d{12}:domain/[a-z][-0-9a-z]{2,27}",
         "arn:aws:es:us-east-1:123456789012:domain/a-b", true},
        {"arn:.*:es:[a-zA-Z0-9\\-]+:\\d{12}:domain/[a-z][-0-9a-z]{2,27}", "arn:aws:es:us-east-1:123456789012:domain/ab",
         false},
        {"arn:.*:glue:.*:\\d{12}:catalog(?:(/[a-z0-9_-]+){1,2})?", "arn:aws:glue:r:123456789012:catalog", true},
        {"arn:.*:glue:.*:\\d{12}:catalog(?:(/[a-z0-9_-]+){1,2})?", "arn:aws:glue:r:123456789012:catalog/a/b", true},
        {"arn:.*:glue:.*:\\d{12}:catalog(?:(/[a-z0-9_-]+){1,2})?", "arn:aws:glue:r:123456789012:catalog/a/b/c", false},
        {"^(?!\\s*$).+", "a", true},
        {"^(?!\\s*$).+", "  a", true},
        {"^(?!\\s*$).+", "  ", false},
        {"^(?!\\s*$).+", "", false},
        {"^(?!\\s*$).+", "a\nb", false},
        {"^(?!aws:)[\\p{L}\\p{Z}\\p{N}_.:\\/=+\\-@%]*$", "Na\xc3\xafve key 1_./:=+-@%", true},
        {"^(?!aws:)[\\p{L}\\p{Z}\\p{N}_.:\\/=+\\-@%]*$", "aws:x", false},
        {"^(?!aws:)[\\p{L}\\p{Z}\\p{N}_.:\\/=+\\-@%]*$", "awsx", true},
        {"^(?!aws:)[\\p{L}\\p{Z}\\p{N}_.:\\/=+\\-@%]*$", "a#b", false},
        {"^(?!aws:)[\\p{L}\\p{Z}\\p{N}_.:\\/=+\\-@%]*$", "", true},
        {"^$|\\.[0-9a-z!\\-_.*'()]+", "", true},
        {"^$|\\.[0-9a-z!\\-_.*'()]+", ".json.zst", true},
        {"^$|\\.[0-9a-z!\\-_.*'()]+", "json", false},
        {"^$|[a-zA-Z/_]+", "Europe/Berlin", true},
        {"^$|[a-zA-Z/_]+", "UTC+1", false},
        {"[^:*]*", "a/b", true},
        {"[^:*]*", "a:b", false},
        {"[^:*]*", "\xe2\x82\xac", true},
        {"[\\u0001-\\uFFFF]*", "a\xe2\x82\xac", true},
        {"[\\u0001-\\uFFFF]*", "a\xf0\x9f\x98\x80", false},
        {"^\\S+$", "abc", true},
        {"^\\S+$", "a c", false},
        {"https:.*", "https://x", true},
        {"https://.*", "http://x", false},
        {".+?\\.snowflakecomputing\\.com", "abc.snowflakecomputing.com", true},
        {".+?\\.snowflakecomputing\\.com", ".snowflakecomputing.com", false},
        {"jdbc:(redshift|postgresql)://((?!-)[A-Za-z0-9-]{1,63}(?<!-)\\.)+redshift\\.([a-zA-Z0-9\\.]+):\\d{1,5}/"
         "[a-zA-Z0-9_$-]+",
         "jdbc:redshift://c1.abc.us-east-1.redshift.amazonaws.com:5439/dev", true},
        {"jdbc:(redshift|postgresql)://((?!-)[A-Za-z0-9-]{1,63}(?<!-)\\.)+redshift\\.([a-zA-Z0-9\\.]+):\\d{1,5}/"
         "[a-zA-Z0-9_$-]+",
         "jdbc:redshift://c1-.abc.us-east-1.redshift.amazonaws.com:5439/dev", false},
        {"jdbc:(redshift|postgresql)://((?!-)[A-Za-z0-9-]{1,63}(?<!-)\\.)+redshift\\.([a-zA-Z0-9\\.]+):\\d{1,5}/"
         "[a-zA-Z0-9_$-]+",
         "jdbc:redshift://-c1.abc.us-east-1.redshift.amazonaws.com:5439/dev", false},
        {"^(?:[A-Za-z0-9+\\/]{4})*(?:[A-Za-z0-9+\\/]{2}==|[A-Za-z0-9+\\/]{3}=)?$", "QUJDRA==", true},
        {"^(?:[A-Za-z0-9+\\/]{4})*(?:[A-Za-z0-9+\\/]{2}==|[A-Za-z0-9+\\/]{3}=)?$", "QUJDR===", false},
        {"[a-z0-9]{20}-[a-z0-9]{3}", "abcdefghij0123456789-abc", true},
        {"s3:\\/\\/.*", "s3://x/y", true},
        {"[a-zA-Z0-9\\\\._\\\\-]+", "a\\b-c", true},
        {"(a|ab)(c|bcd)(d*)", "abcd", true},
        {"(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false}, /* exponential where steps are not counted */
        {"(a*)*b", "aaab", true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_true(pattern_supported(cases[i].pattern));
        if (pattern_match(cases[i].pattern, slice_str(cases[i].text)) != cases[i].matches)
            fail_msg("%s on '%s': should be %s", cases[i].pattern, cases[i].text, cases[i].matches ? "true" : "false");
    }
}

static void a_long_valid_private_key_still_matches(void **state)
{
    static char key[4097];
    memset(key, 'A', 4096);
    assert_true(
        pattern_match("^(?:[A-Za-z0-9+\\/]{4})*(?:[A-Za-z0-9+\\/]{2}==|[A-Za-z0-9+\\/]{3}=)?$", slice_str(key)));
}

/* Would overflow the stack or run for hours if it were not bounded. */
static void hostile_texts_end_soon(void **state)
{
    size_t len = 4 << 20;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'a', len);
    assert_false(pattern_match("(?:a)*b", slice_of(text, len)));
    assert_false(pattern_match("(a|aa)+b", slice_of(text, 5000)));
    memset(text, ':', len);
    memcpy(text, "arn:aws", 7);
    assert_false(pattern_match("arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+", slice_of(text, len)));
    free(text);
}

static void what_is_not_implemented_is_not_supported(void **state)
{
    static const char *const patterns[] = {"(?=a)b", "\\bword", "\\p{Lu}",    "(a",      "a)",
                                           "[a",     "\\1",     "(?<name>a)", "\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_COUNT(patterns); i++)
        if (pattern_supported(patterns[i]))
            fail_msg("%s", patterns[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_patterns_accept_and_refuse_what_java_does),
        cmocka_unit_test(a_long_valid_private_key_still_matches),
        cmocka_unit_test(hostile_texts_end_soon),
        cmocka_unit_test(what_is_not_implemented_is_not_supported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
