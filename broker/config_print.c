/*
 * --print-config: the configuration in effect as YAML that can be read back, by the table of keys and libyaml's emitter.
 * Secrets are shown as ***, and not at all where a file holds them.
 */
#include <stdio.h>
#include <yaml.h>

#include "broker/config_keys.h"

struct printer {
    yaml_emitter_t emitter;
    struct arena arena; /* texts of one run */
    bool failed;
};

/* Takes the event over. */
static void emit(struct printer *p, yaml_event_t *event, int made)
{
    if (!made || !yaml_emitter_emit(&p->emitter, event))
        p->failed = true;
}

/* What YAML programs would read as a number, a truth value or nothing if it stood there plain. */
static bool needs_quotes(const char *text)
{
    static const char *const words[] = {"null", "~", "true", "false", "yes", "no", "on", "off", "y", "n"};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (slice_eq_nocase(slice_str(text), slice_str(words[i])))
            return true;
    return text[0] == 0 || strchr("0123456789+-.", text[0]);
}

static void emit_styled(struct printer *p, const char *text, yaml_scalar_style_t style)
{
    yaml_event_t event;
    bool plain = style == YAML_ANY_SCALAR_STYLE;
    emit(p, &event,
         yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), plain, 1,
                                      style));
}

/* Names of keys, sizes, choices, ... */
static void emit_plain(struct printer *p, const char *text)
{
    emit_styled(p, text, YAML_ANY_SCALAR_STYLE);
}

/* Texts of the user's. */
static void emit_text(struct printer *p, const char *text)
{
    emit_styled(p, text, needs_quotes(text) ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_ANY_SCALAR_STYLE);
}

static void map_begin(struct printer *p)
{
    yaml_event_t event;
    emit(p, &event, yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
}

static void map_end(struct printer *p)
{
    yaml_event_t event;
    emit(p, &event, yaml_mapping_end_event_initialize(&event));
}

static void list_begin(struct printer *p, uint32_t count)
{
    yaml_event_t event;
    emit(p, &event,
         yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                              count ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE));
}

static void list_end(struct printer *p)
{
    yaml_event_t event;
    emit(p, &event, yaml_sequence_end_event_initialize(&event));
}

static void print_map(struct printer *p, const struct config_map *map, const void *base);

static void print_texts(struct printer *p, const char *name, const struct config_texts *texts)
{
    emit_plain(p, name);
    list_begin(p, texts->count);
    for (uint32_t i = 0; i < texts->count; i++)
        emit_text(p, texts->item[i]);
    list_end(p);
}

static void print_list(struct printer *p, const struct config_key *k, const void *base)
{
    const char *elements = *(const char *const *)((const char *)base + k->offset);
    uint32_t count = *(const uint32_t *)((const char *)base + k->count_offset);
    emit_plain(p, k->name);
    list_begin(p, count);
    for (uint32_t i = 0; i < count; i++)
        print_map(p, k->map, elements + (size_t)i * k->map->bytes);
    list_end(p);
}

static void print_scalar(struct printer *p, const struct config_key *k, const void *base)
{
    const char *text = config_value_text(k, base, &p->arena);
    if (!text)
        return;
    emit_plain(p, k->name);
    if (k->type <= KEY_SINK) /* the types whose value is a text */
        emit_text(p, text);
    else
        emit_plain(p, text);
}

static void print_key(struct printer *p, const struct config_key *k, const void *base)
{
    if (k->printed_below && *(const char *const *)((const char *)base + k->printed_below))
        return;
    switch (k->type) {
    case KEY_MAP:
        emit_plain(p, k->name);
        print_map(p, k->map, (const char *)base + k->offset);
        break;
    case KEY_LIST:
        print_list(p, k, base);
        break;
    case KEY_TEXTS:
        print_texts(p, k->name, (const struct config_texts *)((const char *)base + k->offset));
        break;
    default:
        print_scalar(p, k, base);
    }
}

static void print_map(struct printer *p, const struct config_map *map, const void *base)
{
    map_begin(p);
    for (uint32_t i = 0; i < map->count && !p->failed; i++)
        print_key(p, &map->keys[i], base);
    map_end(p);
}

static void print_document(struct printer *p, const struct config *c)
{
    yaml_event_t event;
    emit(p, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    emit(p, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    print_map(p, &config_root, c);
    emit(p, &event, yaml_document_end_event_initialize(&event, 1));
    emit(p, &event, yaml_stream_end_event_initialize(&event));
}

int config_print(const struct config *c, FILE *out)
{
    struct printer p = {.failed = false};
    if (!yaml_emitter_initialize(&p.emitter))
        return -ENOMEM;
    arena_init(&p.arena, 16384, 64 << 20);
    yaml_emitter_set_output_file(&p.emitter, out);
    yaml_emitter_set_unicode(&p.emitter, 1);
    yaml_emitter_set_width(&p.emitter, -1);
    print_document(&p, c);
    yaml_emitter_delete(&p.emitter);
    arena_deinit(&p.arena);
    return p.failed || fflush(out) != 0 ? -EIO : ST_OK;
}
