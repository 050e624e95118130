/* One walk over the prefix does both: with `values` it evaluates, without it only checks. */
#include "firehose/prefix_expression.h"

#include "firehose/date_pattern.h"

#define EVALUATED_BYTES_MAX 4096u

static void put_random(const struct prefix_values *values, struct bytebuf *out)
{
    static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t bytes[PREFIX_RANDOM_CHARS * 2];
    values->random_bytes(values->ctx, bytes, sizeof bytes);
    for (uint32_t i = 0; i < PREFIX_RANDOM_CHARS; i++) /* 65,536 % 62 leaves a bias of 1e-3 at most: no secret */
        bytebuf_byte(out, (uint8_t)chars[(bytes[2 * i] << 8 | bytes[2 * i + 1]) % 62u]);
}

static int check_date(struct slice pattern, struct err *e)
{
    struct bytebuf scratch;
    bytebuf_init(&scratch, EVALUATED_BYTES_MAX);
    int rc = date_pattern_format(pattern, (struct wall_ms){0}, &scratch, e);
    if (rc == 0 && bytebuf_failed(&scratch))
        rc = err_set(e, ST_SYNTAX, "the date pattern makes too long a text");
    bytebuf_deinit(&scratch);
    return rc;
}

/* One expression, without "!{" and "}". */
static int do_expression(struct slice x, enum prefix_kind kind, struct prefix_facts *facts,
                         const struct prefix_values *values, struct bytebuf *out, struct err *e)
{
    static const char timestamp[] = "timestamp:";
    facts->has_expression = true;
    if (slice_starts(x, slice_str(timestamp))) {
        facts->has_timestamp = true;
        struct slice pattern = slice_from(x, sizeof timestamp - 1);
        return values ? date_pattern_format(pattern, values->time, out, e) : check_date(pattern, e);
    }
    if (slice_eq_str(x, "firehose:random-string")) {
        if (values)
            put_random(values, out);
        return 0;
    }
    if (kind == PREFIX_OF_ERRORS && slice_eq_str(x, "firehose:error-output-type")) {
        facts->has_error_type = true;
        if (values)
            bytebuf_str(out, values->error_type);
        return 0;
    }
    return err_set(e, ST_SYNTAX,
                   "there is no expression !{%.*s}; known are !{timestamp:PATTERN}, "
                   "!{firehose:random-string}%s",
                   x.len > 80 ? 80 : (int)x.len, (const char *)x.ptr,
                   kind == PREFIX_OF_ERRORS ? ", !{firehose:error-output-type}" : "");
}

static int walk(struct slice prefix, enum prefix_kind kind, struct prefix_facts *facts,
                const struct prefix_values *values, struct bytebuf *out, struct err *e)
{
    for (size_t i = 0; i < prefix.len;) {
        if (prefix.ptr[i] != '!' || i + 1 == prefix.len || prefix.ptr[i + 1] != '{') {
            if (values)
                bytebuf_byte(out, prefix.ptr[i]);
            i++;
            continue;
        }
        struct slice rest = slice_from(prefix, i + 2);
        size_t end = slice_find(rest, '}');
        if (end == rest.len)
            return err_set(e, ST_SYNTAX, "the expression at %zu is not closed by '}'", i + 1);
        int rc = do_expression(slice_first(rest, end), kind, facts, values, out, e);
        if (rc < 0)
            return rc;
        i += 2 + end + 1;
    }
    return 0;
}

int prefix_check(struct slice prefix, enum prefix_kind kind, struct prefix_facts *out, struct err *e)
{
    struct prefix_facts facts = {0};
    int rc = walk(prefix, kind, &facts, NULL, NULL, e);
    if (rc == 0)
        *out = facts;
    return rc;
}

int prefix_evaluate(struct slice prefix, enum prefix_kind kind, const struct prefix_values *values, struct bytebuf *out)
{
    struct prefix_facts facts;
    return walk(prefix, kind, &facts, values, out, NULL);
}
