/*
 * Checking, printing and parsing settings. The JSON text has a fixed order of members and leaves out what is empty, so
 * that equal settings give equal bytes: the journal compares them.
 */
#include "firehose/delivery_settings.h"

#include "common/wire/json_read.h"
#include "common/wire/json_write.h"
#include "firehose/prefix_expression.h"

#define MIB (1024u * 1024u)

static const char *const starts[] = {[DELIVERY_START_OLDEST] = "oldest", [DELIVERY_START_LATEST] = "latest"};

void delivery_settings_init(struct delivery_settings *s)
{
    *s = (struct delivery_settings){
        .version = 1,
        .buffer_bytes = 5 * MIB,
        .interval_ms = 300000,
        .start = DELIVERY_START_OLDEST,
        .delimiter = FORMAT_DELIMITER_NEWLINE,
        .compression = COMPRESSION_ZSTD,
        .compression_level = COMPRESS_ZSTD_LEVEL_DEFAULT,
    };
}

static int set_text(char *to, size_t max, struct slice text, const char *what, struct err *e)
{
    if (text.len > max)
        return err_set(e, ST_INVALID, "%s: longer than %zu characters", what, max);
    if (text.len && memchr(text.ptr, 0, text.len))
        return err_set(e, ST_INVALID, "%s: holds a NUL character", what);
    if (text.len)
        memcpy(to, text.ptr, text.len);
    to[text.len] = 0;
    return 0;
}

/* Where the first expression begins, or the length. */
static size_t first_expression(struct slice s)
{
    for (size_t i = 0; i + 1 < s.len; i++)
        if (s.ptr[i] == '!' && s.ptr[i + 1] == '{')
            return i;
    return s.len;
}

int delivery_settings_set_sink(struct delivery_settings *s, struct slice url, struct err *e)
{
    size_t expression = first_expression(url);
    size_t scheme = sizeof "file://" - 1;
    if (!slice_starts(url, SLICE_LIT("file://")))
        return err_set(e, ST_INVALID, "sink: '%.*s' is no sink; known is file:///folder/",
                       url.len > 60 ? 60 : (int)url.len, (const char *)url.ptr);
    size_t base = expression;
    while (base > scheme && url.ptr[base - 1] != '/')
        base--;
    char sink[DELIVERY_SINK_MAX + 1], prefix[DELIVERY_PREFIX_MAX + 1];
    struct slice behind = slice_from(url, base);
    bool folder = expression == url.len && behind.len; /* "file:///dir" */
    struct slice head = folder ? url : slice_first(url, base);
    int rc = set_text(sink, DELIVERY_SINK_MAX - 1, head, "sink", e);
    if (rc == 0)
        rc = set_text(prefix, DELIVERY_PREFIX_MAX, folder ? SLICE_NULL : behind, "sink", e);
    if (rc < 0)
        return rc;
    if (folder)
        memcpy(sink + head.len, "/", 2);
    memcpy(s->sink, sink, sizeof sink);
    memcpy(s->prefix, prefix, sizeof prefix);
    return 0;
}

int delivery_settings_add_recipient(struct delivery_settings *s, struct slice text, struct err *e)
{
    struct age_recipient r;
    if (s->recipient_count == DELIVERY_RECIPIENTS_MAX)
        return err_set(e, ST_LIMIT, "encryption: more than %d age recipients", DELIVERY_RECIPIENTS_MAX);
    int rc = age_recipient_parse(text, &r, e);
    if (rc < 0)
        return e ? (err_wrap(e, "encryption"), ST_INVALID) : ST_INVALID;
    age_recipient_print(&r, s->recipient[s->recipient_count++]);
    return 0;
}

int delivery_settings_set_compression(struct delivery_settings *s, struct slice text, struct err *e)
{
    size_t colon = slice_find(text, ':');
    enum compression c;
    uint64_t level = COMPRESS_ZSTD_LEVEL_DEFAULT;
    bool known = compression_find(slice_first(text, colon), &c);
    if (known && colon < text.len)
        known = c == COMPRESSION_ZSTD && slice_parse_u64(slice_from(text, colon + 1), &level) && level >= 1 &&
                level <= COMPRESS_ZSTD_LEVEL_MAX;
    if (!known)
        return err_set(e, ST_INVALID, "compression: '%.*s' is not one of none, zstd, zstd:LEVEL (1..%d)",
                       text.len > 40 ? 40 : (int)text.len, (const char *)text.ptr, COMPRESS_ZSTD_LEVEL_MAX);
    s->compression = c;
    s->compression_level = c == COMPRESSION_ZSTD ? (int)level : 0;
    return 0;
}

/* ---- check ------------------------------------------------------------------------------------------------------ */

static bool is_name(const char *s)
{
    return *s && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] == 0;
}

static int check_sink(const struct delivery_settings *s, struct err *e)
{
    size_t n = strlen(s->sink);
    if (strncmp(s->sink, "file:///", 8) != 0 || s->sink[n - 1] != '/')
        return err_set(e, ST_INVALID, "sink: '%.60s' is no sink; known is file:///folder/", s->sink);
    if (strstr(s->sink, "/../") || strstr(s->sink, "!{"))
        return err_set(e, ST_INVALID, "sink: the folder must not hold \"..\" or expressions");
    struct prefix_facts facts;
    if (prefix_check(slice_str(s->prefix), PREFIX_OF_OBJECTS, &facts, e) < 0)
        return e ? (err_wrap(e, "prefix"), ST_INVALID) : ST_INVALID;
    if (prefix_check(slice_str(s->error_prefix), PREFIX_OF_ERRORS, &facts, e) < 0)
        return e ? (err_wrap(e, "error prefix"), ST_INVALID) : ST_INVALID;
    return 0;
}

static int check_stages(const struct delivery_settings *s, struct err *e)
{
    if (s->buffer_bytes < DELIVERY_BUFFER_BYTES_MIN || s->buffer_bytes > DELIVERY_BUFFER_BYTES_MAX)
        return err_set(e, ST_INVALID, "buffer size: %llu bytes; allowed are %u to %u",
                       (unsigned long long)s->buffer_bytes, DELIVERY_BUFFER_BYTES_MIN, DELIVERY_BUFFER_BYTES_MAX);
    if (s->interval_ms > DELIVERY_INTERVAL_MS_MAX)
        return err_set(e, ST_INVALID, "buffer interval: %u ms; allowed are 0 to %u", s->interval_ms,
                       DELIVERY_INTERVAL_MS_MAX);
    if (s->compression == COMPRESSION_ZSTD &&
        (s->compression_level < 1 || s->compression_level > COMPRESS_ZSTD_LEVEL_MAX))
        return err_set(e, ST_INVALID, "compression level: %d; allowed are 1 to %d", s->compression_level,
                       COMPRESS_ZSTD_LEVEL_MAX);
    struct age_recipient r;
    for (uint32_t i = 0; i < s->recipient_count; i++)
        if (age_recipient_parse(slice_str(s->recipient[i]), &r, e) < 0)
            return e ? (err_wrap(e, "encryption"), ST_INVALID) : ST_INVALID;
    return 0;
}

int delivery_settings_check(const struct delivery_settings *s, struct err *e)
{
    if (!is_name(s->name))
        return err_set(e, ST_INVALID, "name: '%s'; allowed are 1 to %d of a-z A-Z 0-9 _ . -", s->name,
                       DELIVERY_NAME_MAX);
    if (s->source[0] && !is_name(s->source))
        return err_set(e, ST_INVALID, "source: '%s' is no stream name", s->source);
    if (s->version < 1)
        return err_set(e, ST_INVALID, "version: it begins at 1");
    if (strchr(s->extension, '/'))
        return err_set(e, ST_INVALID, "extension: it must not hold '/'");
    int rc = check_stages(s, e);
    return rc < 0 ? rc : check_sink(s, e);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

/* Members that are plain text. */
static const struct text_member {
    const char *name;
    size_t offset, max;
} text_members[] = {
    {"name", offsetof(struct delivery_settings, name), DELIVERY_NAME_MAX},
    {"source", offsetof(struct delivery_settings, source), DELIVERY_SOURCE_MAX},
    {"sink", offsetof(struct delivery_settings, sink), DELIVERY_SINK_MAX},
    {"prefix", offsetof(struct delivery_settings, prefix), DELIVERY_PREFIX_MAX},
    {"error_prefix", offsetof(struct delivery_settings, error_prefix), DELIVERY_PREFIX_MAX},
    {"extension", offsetof(struct delivery_settings, extension), DELIVERY_EXTENSION_MAX},
    {"bucket_arn", offsetof(struct delivery_settings, bucket_arn), DELIVERY_ARN_MAX},
    {"role_arn", offsetof(struct delivery_settings, role_arn), DELIVERY_ARN_MAX},
};

void delivery_settings_print(const struct delivery_settings *s, struct bytebuf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object(&w);
    for (size_t i = 0; i < ARRAY_COUNT(text_members); i++) {
        const char *text = (const char *)s + text_members[i].offset;
        if (!*text)
            continue;
        json_write_name(&w, text_members[i].name);
        json_write_str(&w, text);
    }
    json_write_name(&w, "version");
    json_write_u64(&w, s->version);
    json_write_name(&w, "buffer_bytes");
    json_write_u64(&w, s->buffer_bytes);
    json_write_name(&w, "interval_ms");
    json_write_u64(&w, s->interval_ms);
    json_write_name(&w, "start");
    json_write_str(&w, starts[s->start]);
    json_write_name(&w, "delimiter");
    json_write_str(&w, format_delimiter_name(s->delimiter));
    json_write_name(&w, "compression");
    json_write_str(&w, compression_name(s->compression));
    json_write_name(&w, "level");
    json_write_i64(&w, s->compression_level);
    json_write_name(&w, "time_default");
    json_write_bool(&w, s->time_default);
    json_write_name(&w, "recipients");
    json_write_array(&w);
    for (uint32_t i = 0; i < s->recipient_count; i++)
        json_write_str(&w, s->recipient[i]);
    json_write_array_end(&w);
    json_write_object_end(&w);
}

static int parse_recipients(struct json_reader *r, struct delivery_settings *s, struct err *e)
{
    enum json_token t;
    while ((t = json_next(r)) == JSON_STRING) {
        int rc = delivery_settings_add_recipient(s, r->text, e);
        if (rc < 0)
            return rc;
    }
    return t == JSON_ARRAY_END ? 0 : err_set(e, ST_SYNTAX, "recipients: not a list of strings");
}

static int parse_number(struct slice key, int64_t v, struct delivery_settings *s)
{
    if (slice_eq_str(key, "version") && v >= 0 && v <= UINT32_MAX)
        s->version = (uint32_t)v;
    else if (slice_eq_str(key, "buffer_bytes") && v >= 0)
        s->buffer_bytes = (uint64_t)v;
    else if (slice_eq_str(key, "interval_ms") && v >= 0 && v <= UINT32_MAX)
        s->interval_ms = (uint32_t)v;
    else if (slice_eq_str(key, "level") && v >= 0 && v <= 100)
        s->compression_level = (int)v;
    else
        return ST_INVALID;
    return 0;
}

static int parse_text(struct slice key, struct slice text, struct delivery_settings *s, struct err *e)
{
    for (size_t i = 0; i < ARRAY_COUNT(text_members); i++)
        if (slice_eq_str(key, text_members[i].name))
            return set_text((char *)s + text_members[i].offset, text_members[i].max, text, text_members[i].name, e);
    bool known = false;
    if (slice_eq_str(key, "start")) {
        for (int i = 0; i < 2; i++) {
            if (slice_eq_str(text, starts[i])) {
                s->start = (enum delivery_start)i;
                known = true;
            }
        }
    } else if (slice_eq_str(key, "delimiter")) {
        known = format_delimiter_find(text, &s->delimiter);
    } else if (slice_eq_str(key, "compression")) {
        known = compression_find(text, &s->compression);
    }
    return known ? 0 : ST_INVALID;
}

static int parse_member(struct json_reader *r, struct slice key, struct delivery_settings *s, struct err *e)
{
    int rc = ST_INVALID;
    enum json_token t = json_next(r);
    if (t == JSON_ERROR)
        return err_set(e, ST_SYNTAX, "not JSON: %s", r->what);
    if (e)
        e->text[0] = 0;
    if (t == JSON_STRING)
        rc = parse_text(key, r->text, s, e);
    else if (t == JSON_NUMBER)
        rc = parse_number(key, json_number_i64(r->text), s);
    else if ((t == JSON_TRUE || t == JSON_FALSE) && slice_eq_str(key, "time_default"))
        rc = (s->time_default = t == JSON_TRUE, 0);
    else if (t == JSON_ARRAY && slice_eq_str(key, "recipients"))
        rc = parse_recipients(r, s, e);
    if (rc < 0 && e && !e->text[0])
        err_set(e, rc, "%.*s: unknown, or not a value that it may have", key.len > 60 ? 60 : (int)key.len,
                (const char *)key.ptr);
    return rc;
}

int delivery_settings_parse(struct slice json, struct delivery_settings *out, struct err *e)
{
    struct delivery_settings s;
    struct arena arena;
    struct json_reader r;
    delivery_settings_init(&s);
    arena_init(&arena, 4096, 2 * DELIVERY_JSON_MAX);
    json_reader_init(&r, json, &arena);
    int rc = json_next(&r) == JSON_OBJECT ? 0 : err_set(e, ST_SYNTAX, "the settings are not a JSON object");
    enum json_token t = JSON_OBJECT_END;
    while (rc == 0 && (t = json_next(&r)) == JSON_KEY)
        rc = parse_member(&r, r.text, &s, e);
    if (rc == 0 && (t != JSON_OBJECT_END || json_next(&r) != JSON_END))
        rc = err_set(e, ST_SYNTAX, "the settings are not JSON: %s", r.what ? r.what : "more follows");
    arena_deinit(&arena);
    if (rc == 0)
        rc = delivery_settings_check(&s, e);
    if (rc == 0)
        *out = s;
    return rc;
}
