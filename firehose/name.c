/* See name.h for the layout. */
#include "firehose/name.h"

#include <inttypes.h>
#include <stdio.h>

void name_unique(uint32_t incarnation, uint64_t delivery_uid, uint64_t object, char out[NAME_UNIQUE_CHARS + 1])
{
    snprintf(out, NAME_UNIQUE_CHARS + 1, "%08x-%04x-%04x-%04x-%012" PRIx64, incarnation,
             (unsigned)(delivery_uid >> 32 & 0xffff), (unsigned)(delivery_uid >> 16 & 0xffff),
             (unsigned)(delivery_uid & 0xffff), object & ((UINT64_C(1) << 48) - 1));
}

void name_stage(uint32_t incarnation, uint64_t delivery_uid, uint64_t object, uint32_t attempt,
                char out[SINK_STAGE_MAX + 1])
{
    char unique[NAME_UNIQUE_CHARS + 1];
    name_unique(incarnation, delivery_uid, object, unique);
    snprintf(out, SINK_STAGE_MAX + 1, "%s.%u", unique, attempt);
}

static int put_prefix(const struct delivery_settings *s, const struct prefix_values *values, struct bytebuf *out)
{
    struct slice prefix = slice_str(s->prefix);
    int rc = prefix_evaluate(prefix, PREFIX_OF_OBJECTS, values, out);
    struct prefix_facts facts;
    if (rc == 0 && s->time_default && prefix_check(prefix, PREFIX_OF_OBJECTS, &facts, NULL) == 0 &&
        !facts.has_timestamp)
        rc = prefix_evaluate(SLICE_LIT("!{timestamp:yyyy/MM/dd/HH/}"), PREFIX_OF_OBJECTS, values, out);
    return rc;
}

/* A prefix may come from other people's data: it must not lead out of the base. */
static bool stays_inside(struct slice key)
{
    if (memchr(key.ptr, 0, key.len))
        return false;
    while (key.len) {
        size_t n = slice_find(key, '/');
        if (slice_eq_str(slice_first(key, n), ".."))
            return false;
        key = slice_from(key, n + 1);
    }
    return true;
}

static void put_extension(const struct delivery_settings *s, struct bytebuf *out)
{
    if (s->extension[0]) {
        bytebuf_str(out, s->extension);
        return;
    }
    bytebuf_str(out, compression_extension(s->compression));
    if (s->recipient_count)
        bytebuf_str(out, ".age");
}

int name_object_key(const struct delivery_settings *settings, const char *unique, const struct prefix_values *values,
                    char out[SINK_KEY_MAX + 1])
{
    struct bytebuf b;
    bytebuf_init(&b, SINK_KEY_MAX + 1);
    int rc = put_prefix(settings, values, &b);
    if (rc == 0) {
        struct wall_parts p = wall_split(values->time);
        bytebuf_printf(&b, "%s-%u-%04d-%02d-%02d-%02d-%02d-%02d-%s", settings->name, settings->version, p.year, p.month,
                       p.day, p.hour, p.minute, p.second, unique);
        put_extension(settings, &b);
        if (bytebuf_failed(&b) || b.len > SINK_KEY_MAX)
            rc = ST_LIMIT;
        else if (!stays_inside(bytebuf_view(&b)))
            rc = ST_INVALID;
    }
    if (rc == 0) {
        memcpy(out, b.ptr, b.len);
        out[b.len] = 0;
    }
    bytebuf_deinit(&b);
    return rc;
}
