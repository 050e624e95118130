/* From the body of a REST request to records; see rest_body.h. */
#include "broker/api/rest_body.h"

#include "common/wire/json_read.h"

/* The line that begins `*rest`, without its end; *rest is what follows. */
static struct slice line_next(struct slice *rest)
{
    size_t end = slice_find(*rest, '\n');
    struct slice line = slice_first(*rest, end);
    *rest = slice_from(*rest, end + 1);
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    return line;
}

static bool line_is_blank(struct slice line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] != ' ' && line.ptr[i] != '\t')
            return false;
    return true;
}

int rest_split_lines(struct slice body, uint32_t lines_max, struct arena *arena, struct rest_records *out)
{
    uint32_t n = 0;
    for (struct slice rest = body; rest.len;) {
        n += !line_is_blank(line_next(&rest));
        if (n > lines_max)
            return ST_LIMIT;
    }
    struct slice *data = arena_alloc(arena, (n ? n : 1) * sizeof(*data));
    if (!data)
        return -ENOMEM;
    n = 0;
    for (struct slice rest = body; rest.len;) {
        struct slice line = line_next(&rest);
        if (!line_is_blank(line))
            data[n++] = line;
    }
    out->data = data;
    out->count = n;
    return 0;
}

/* Text being built in a piece of arena that is large enough. */
struct text {
    uint8_t *at;
};

static void text_add(struct text *t, const void *p, size_t len)
{
    memcpy(t->at, p, len);
    t->at += len;
}

static size_t stamp_member(uint8_t *to, const char *field, struct wall_ms at)
{
    struct text t = {to};
    char time[CLOCK_TEXT_MAX];
    int len = wall_format_iso(at, time);
    text_add(&t, "\"", 1);
    text_add(&t, field, strlen(field));
    text_add(&t, "\":\"", 3);
    text_add(&t, time, (size_t)len);
    text_add(&t, "\"", 1);
    return (size_t)(t.at - to);
}

int rest_stamp(struct slice record, const char *field, struct wall_ms at, struct arena *arena, struct slice *out,
               const char **out_why)
{
    struct json_reader r;
    /* The members as they are, plus `"field":"time",` */
    uint8_t *begin = arena_alloc(arena, record.len + strlen(field) + CLOCK_TEXT_MAX + 8);
    if (!begin)
        return -ENOMEM;
    struct text t = {begin};
    json_reader_init(&r, record, arena);
    if (json_next(&r) != JSON_OBJECT) {
        *out_why = r.last == JSON_ERROR && r.what ? r.what : "it is JSON, but not an object";
        return r.status == -ENOMEM ? r.status : ST_SYNTAX;
    }
    text_add(&t, "{", 1);
    t.at += stamp_member(t.at, field, at);
    while (json_next(&r) == JSON_KEY) {
        const uint8_t *member = r.token;
        bool ours = slice_eq_str(r.text, field);
        if (!json_skip(&r))
            break;
        if (ours)
            continue;
        text_add(&t, ",", 1);
        text_add(&t, member, (size_t)(r.at - member));
    }
    if (r.last != JSON_OBJECT_END || json_next(&r) != JSON_END) {
        *out_why = r.what ? r.what : "it is not one JSON object";
        return r.status == -ENOMEM ? r.status : ST_SYNTAX;
    }
    text_add(&t, "}", 1);
    *out = slice_of(begin, (size_t)(t.at - begin));
    return 0;
}
