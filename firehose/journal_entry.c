/*
 * State and bytes of a delivery's journal. Decoding goes through a bounded cursor that remembers when it ran out, so
 * that every read is checked once, at the end; a count is checked against the bytes that it needs before anything is
 * allocated for it.
 */
#include "firehose/journal_entry.h"

#include <stdlib.h>

#include "common/frame/little_endian.h"

#define PART_BYTES          16u
#define RANGE_BYTES         24u
#define INTENT_HEAD_BYTES   72u
#define SETTINGS_HEAD_BYTES 12u

void journal_state_init(struct journal_state *s)
{
    *s = (struct journal_state){.next_object = 1};
}

void journal_state_deinit(struct journal_state *s)
{
    for (uint32_t i = 0; i < s->intent_count; i++)
        journal_intent_destroy(s->intents[i]);
    for (uint32_t i = 0; i < s->settings_count; i++)
        free((void *)s->settings[i].json.ptr);
    free(s->parts);
    journal_state_init(s);
}

void journal_intent_destroy(struct journal_intent *i)
{
    if (!i)
        return;
    free(i->ranges);
    free(i);
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

struct journal_part *journal_state_part(const struct journal_state *s, uint64_t uid)
{
    for (uint32_t i = 0; i < s->part_count; i++)
        if (s->parts[i].uid == uid)
            return &s->parts[i];
    return NULL;
}

struct journal_intent *journal_state_intent(const struct journal_state *s, uint64_t object)
{
    for (uint32_t i = 0; i < s->intent_count; i++)
        if (s->intents[i]->object == object)
            return s->intents[i];
    return NULL;
}

const struct journal_settings *journal_state_settings(const struct journal_state *s, uint32_t id)
{
    for (uint32_t i = 0; i < s->settings_count; i++)
        if (s->settings[i].id == id)
            return &s->settings[i];
    return NULL;
}

uint64_t journal_state_committed(const struct journal_state *s, uint64_t part)
{
    const struct journal_part *p = journal_state_part(s, part);
    uint64_t low = p ? p->position : 0;
    for (uint32_t i = 0; i < s->intent_count; i++) {
        const struct journal_intent *in = s->intents[i];
        for (uint32_t k = 0; k < in->range_count; k++)
            if (in->ranges[k].part == part && in->ranges[k].from < low)
                low = in->ranges[k].from;
    }
    return low;
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

static int reserve_parts(struct journal_state *s, uint32_t more)
{
    if (more > JOURNAL_PARTS_MAX - s->part_count)
        return ST_LIMIT;
    if (s->part_count + more <= s->part_cap)
        return 0;
    uint32_t cap = s->part_cap ? s->part_cap * 2 : 8;
    if (cap < s->part_count + more)
        cap = s->part_count + more;
    struct journal_part *p = realloc(s->parts, cap * sizeof *p);
    if (!p)
        return -ENOMEM;
    s->parts = p;
    s->part_cap = cap;
    return 0;
}

int journal_state_set_position(struct journal_state *s, uint64_t part, uint64_t position)
{
    struct journal_part *p = journal_state_part(s, part);
    if (p) {
        if (position < p->position)
            return ST_CONFLICT;
        p->position = position;
        return 0;
    }
    int rc = reserve_parts(s, 1);
    if (rc < 0)
        return rc;
    s->parts[s->part_count++] = (struct journal_part){part, position};
    return 0;
}

void journal_state_forget_part(struct journal_state *s, uint64_t uid)
{
    struct journal_part *p = journal_state_part(s, uid);
    if (p)
        *p = s->parts[--s->part_count];
}

int journal_state_add_settings(struct journal_state *s, uint32_t id, uint32_t version, struct slice json)
{
    if (s->settings_count && id <= s->settings[s->settings_count - 1].id)
        return ST_CONFLICT;
    if (s->settings_count == JOURNAL_SETTINGS_MAX)
        journal_state_forget_settings(s);
    if (s->settings_count == JOURNAL_SETTINGS_MAX)
        return ST_LIMIT;
    uint8_t *copy = malloc(json.len ? json.len : 1);
    if (!copy)
        return -ENOMEM;
    if (json.len)
        memcpy(copy, json.ptr, json.len);
    s->settings[s->settings_count++] = (struct journal_settings){id, version, slice_of(copy, json.len)};
    return 0;
}

void journal_state_forget_settings(struct journal_state *s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->settings_count; i++) {
        bool named = i + 1 == s->settings_count;
        for (uint32_t k = 0; k < s->intent_count && !named; k++)
            named = s->intents[k]->settings == s->settings[i].id;
        if (named)
            s->settings[kept++] = s->settings[i];
        else
            free((void *)s->settings[i].json.ptr);
    }
    s->settings_count = kept;
}

int journal_intent_add_range(struct journal_intent *i, uint64_t part, uint64_t from, uint64_t to)
{
    for (uint32_t k = i->range_count; k-- > 0;) {
        if (i->ranges[k].part != part)
            continue;
        if (i->ranges[k].to == from) {
            i->ranges[k].to = to;
            return 0;
        }
        break;
    }
    if (i->range_count == JOURNAL_RANGES_MAX)
        return ST_LIMIT;
    if (i->range_count == i->range_cap) {
        uint32_t cap = i->range_cap ? i->range_cap * 2 : 4;
        struct journal_range *r = realloc(i->ranges, cap * sizeof *r);
        if (!r)
            return -ENOMEM;
        i->ranges = r;
        i->range_cap = cap;
    }
    i->ranges[i->range_count++] = (struct journal_range){part, from, to};
    return 0;
}

static struct journal_intent *intent_copy(const struct journal_intent *from)
{
    struct journal_intent *i = malloc(sizeof *i);
    if (!i)
        return NULL;
    *i = *from;
    i->range_cap = i->range_count;
    i->ranges = malloc((i->range_count ? i->range_count : 1) * sizeof *i->ranges);
    if (!i->ranges) {
        free(i);
        return NULL;
    }
    if (from->range_count)
        memcpy(i->ranges, from->ranges, from->range_count * sizeof *i->ranges);
    return i;
}

/* Invariant J1, for an intent of a new object: each range begins where its part stands or later. *out_new: parts that
 * the state does not know yet, at most. */
static int check_ranges(const struct journal_state *s, const struct journal_intent *in, uint32_t *out_new)
{
    *out_new = 0;
    for (uint32_t k = 0; k < in->range_count; k++) {
        const struct journal_range *r = &in->ranges[k];
        const struct journal_part *p = journal_state_part(s, r->part);
        uint64_t low = p ? p->position : 0;
        for (uint32_t m = 0; m < k; m++)
            if (in->ranges[m].part == r->part && in->ranges[m].to > low)
                low = in->ranges[m].to;
        if (r->from >= r->to || r->from < low)
            return ST_CONFLICT;
        *out_new += !p;
    }
    return 0;
}

/* The index of the open intent whose place `in` takes. */
#define PLACE_NEW      (-1)
#define PLACE_CONFLICT (-2)
static int place_of(const struct journal_state *s, const struct journal_intent *in)
{
    uint64_t old = in->replaces ? in->replaces : in->object;
    int place = PLACE_NEW;
    for (uint32_t i = 0; i < s->intent_count; i++) {
        if (s->intents[i]->object == old)
            place = (int)i;
        else if (s->intents[i]->object == in->object)
            return PLACE_CONFLICT;
    }
    return place == PLACE_NEW && in->replaces ? PLACE_CONFLICT : place;
}

/* A second attempt covers the records of the first. */
static bool same_ranges(const struct journal_intent *a, const struct journal_intent *b)
{
    return a->range_count == b->range_count &&
           (a->range_count == 0 || memcmp(a->ranges, b->ranges, a->range_count * sizeof *a->ranges) == 0);
}

int journal_state_add_intent(struct journal_state *s, const struct journal_intent *intent)
{
    int place = place_of(s, intent);
    if (place == PLACE_CONFLICT || !intent->object || !journal_state_settings(s, intent->settings))
        return ST_CONFLICT;
    uint32_t new_parts = 0;
    if (place >= 0) {
        if (!same_ranges(intent, s->intents[place]))
            return ST_CONFLICT;
    } else {
        int rc = s->intent_count == JOURNAL_INTENTS_MAX ? ST_LIMIT : check_ranges(s, intent, &new_parts);
        if (rc == 0 && new_parts)
            rc = reserve_parts(s, new_parts);
        if (rc < 0)
            return rc;
    }
    struct journal_intent *copy = intent_copy(intent);
    if (!copy)
        return -ENOMEM;
    if (copy->object >= s->next_object)
        s->next_object = copy->object + 1;
    if (place >= 0) {
        journal_intent_destroy(s->intents[place]);
        s->intents[place] = copy;
        return 0;
    }
    s->intents[s->intent_count++] = copy;
    for (uint32_t k = 0; k < copy->range_count; k++) {
        struct journal_part *p = journal_state_part(s, copy->ranges[k].part);
        if (!p) {
            p = &s->parts[s->part_count++];
            p->uid = copy->ranges[k].part;
        }
        p->position = copy->ranges[k].to;
    }
    return 0;
}

int journal_state_commit(struct journal_state *s, uint64_t object)
{
    for (uint32_t i = 0; i < s->intent_count; i++) {
        if (s->intents[i]->object != object)
            continue;
        journal_intent_destroy(s->intents[i]);
        memmove(&s->intents[i], &s->intents[i + 1], (s->intent_count - i - 1) * sizeof s->intents[0]);
        s->intent_count--;
        return 0;
    }
    return ST_CONFLICT;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void put16(struct bytebuf *out, uint16_t v)
{
    uint8_t b[2];
    put_le16(b, v);
    bytebuf_append(out, b, sizeof b);
}

static void put32(struct bytebuf *out, uint32_t v)
{
    uint8_t b[4];
    put_le32(b, v);
    bytebuf_append(out, b, sizeof b);
}

static void put64(struct bytebuf *out, uint64_t v)
{
    uint8_t b[8];
    put_le64(b, v);
    bytebuf_append(out, b, sizeof b);
}

void journal_write_settings(const struct journal_settings *settings, struct bytebuf *out)
{
    put32(out, settings->id);
    put32(out, settings->version);
    put32(out, (uint32_t)settings->json.len);
    bytebuf_slice(out, settings->json);
}

void journal_write_intent(const struct journal_intent *i, struct bytebuf *out)
{
    struct slice key = slice_str(i->key);
    put64(out, i->object);
    put64(out, i->replaces);
    put32(out, i->settings);
    put32(out, i->attempt);
    put64(out, (uint64_t)i->oldest.ms);
    put64(out, i->records);
    put64(out, i->raw_bytes);
    put64(out, i->stored_bytes);
    put32(out, i->stored_crc);
    put16(out, (uint16_t)key.len);
    put16(out, 0);
    put32(out, i->range_count);
    put32(out, 0);
    for (uint32_t k = 0; k < i->range_count; k++) {
        put64(out, i->ranges[k].part);
        put64(out, i->ranges[k].from);
        put64(out, i->ranges[k].to);
    }
    bytebuf_slice(out, key);
}

void journal_write_commit(uint64_t object, struct bytebuf *out)
{
    put64(out, object);
}

void journal_write_positions(const struct journal_part *parts, uint32_t count, struct bytebuf *out)
{
    put32(out, count);
    put32(out, 0);
    for (uint32_t i = 0; i < count; i++) {
        put64(out, parts[i].uid);
        put64(out, parts[i].position);
    }
}

void journal_write_checkpoint(const struct journal_state *s, struct bytebuf *out)
{
    put64(out, s->delivery_uid);
    put32(out, s->incarnation);
    put32(out, s->open_epoch);
    put64(out, s->next_object);
    put32(out, s->settings_count);
    put32(out, s->intent_count);
    for (uint32_t i = 0; i < s->settings_count; i++)
        journal_write_settings(&s->settings[i], out);
    for (uint32_t i = 0; i < s->intent_count; i++)
        journal_write_intent(s->intents[i], out);
    journal_write_positions(s->parts, s->part_count, out);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct reading {
    struct slice rest;
    bool bad;
};

static const uint8_t *take(struct reading *r, size_t n)
{
    if (r->bad || r->rest.len < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->rest.ptr;
    r->rest = slice_from(r->rest, n);
    return p;
}

static uint16_t take16(struct reading *r)
{
    const uint8_t *p = take(r, 2);
    return p ? get_le16(p) : 0;
}

static uint32_t take32(struct reading *r)
{
    const uint8_t *p = take(r, 4);
    return p ? get_le32(p) : 0;
}

static uint64_t take64(struct reading *r)
{
    const uint8_t *p = take(r, 8);
    return p ? get_le64(p) : 0;
}

static int read_settings(struct journal_state *s, struct reading *r)
{
    uint32_t id = take32(r), version = take32(r), len = take32(r);
    const uint8_t *json = take(r, len);
    if (r->bad || !id)
        return ST_CORRUPT;
    return journal_state_add_settings(s, id, version, slice_of(json, len));
}

/* Fills in all but the ranges' memory, which is `ranges` (of `*out_count`, as the bytes say). */
static int read_intent_head(struct reading *r, struct journal_intent *out, uint16_t *out_key_len)
{
    out->object = take64(r);
    out->replaces = take64(r);
    out->settings = take32(r);
    out->attempt = take32(r);
    out->oldest.ms = (int64_t)take64(r);
    out->records = take64(r);
    out->raw_bytes = take64(r);
    out->stored_bytes = take64(r);
    out->stored_crc = take32(r);
    *out_key_len = take16(r);
    take16(r);
    out->range_count = take32(r);
    take32(r);
    bool good = !r->bad && out->object && out->attempt && *out_key_len >= 1 && *out_key_len <= SINK_KEY_MAX &&
                out->range_count <= JOURNAL_RANGES_MAX && r->rest.len / RANGE_BYTES >= out->range_count;
    return good ? 0 : ST_CORRUPT;
}

static int read_intent(struct reading *r, struct journal_intent *out)
{
    uint16_t key_len;
    int rc = read_intent_head(r, out, &key_len);
    if (rc < 0)
        return rc;
    out->ranges = malloc((out->range_count ? out->range_count : 1) * sizeof *out->ranges);
    if (!out->ranges)
        return -ENOMEM;
    out->range_cap = out->range_count;
    for (uint32_t k = 0; k < out->range_count; k++) {
        out->ranges[k].part = take64(r);
        out->ranges[k].from = take64(r);
        out->ranges[k].to = take64(r);
    }
    const uint8_t *key = take(r, key_len);
    if (r->bad || memchr(key, 0, key_len)) {
        free(out->ranges);
        return ST_CORRUPT;
    }
    memcpy(out->key, key, key_len);
    out->key[key_len] = 0;
    return 0;
}

/* As an entry of the journal: against the invariants. */
static int apply_intent(struct journal_state *s, struct reading *r)
{
    struct journal_intent in;
    int rc = read_intent(r, &in);
    if (rc < 0)
        return rc;
    rc = journal_state_add_intent(s, &in);
    free(in.ranges);
    return rc;
}

/* As a part of a checkpoint: the positions follow, and count it in already. */
static int restore_intent(struct journal_state *s, struct reading *r)
{
    struct journal_intent in;
    int rc = read_intent(r, &in);
    if (rc < 0)
        return rc;
    struct journal_intent *copy = NULL;
    if (s->intent_count == JOURNAL_INTENTS_MAX || journal_state_intent(s, in.object) || in.object >= s->next_object ||
        !journal_state_settings(s, in.settings))
        rc = ST_CORRUPT;
    else if (!(copy = intent_copy(&in)))
        rc = -ENOMEM;
    else
        s->intents[s->intent_count++] = copy;
    free(in.ranges);
    return rc;
}

static int read_positions(struct journal_state *s, struct reading *r)
{
    uint32_t count = take32(r);
    take32(r);
    if (r->bad || r->rest.len / PART_BYTES < count || count > JOURNAL_PARTS_MAX)
        return ST_CORRUPT;
    int rc = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        uint64_t uid = take64(r), position = take64(r);
        rc = journal_state_set_position(s, uid, position);
    }
    return rc;
}

static int read_checkpoint(struct journal_state *s, struct reading *r)
{
    if (s->incarnation || s->part_count || s->intent_count || s->settings_count)
        return ST_CORRUPT;
    uint64_t uid = take64(r);
    if (s->delivery_uid && uid != s->delivery_uid)
        return ST_CORRUPT;
    s->delivery_uid = uid;
    s->incarnation = take32(r);
    s->open_epoch = take32(r);
    s->next_object = take64(r);
    uint32_t settings = take32(r), intents = take32(r);
    if (r->bad || !s->incarnation || !s->next_object)
        return ST_CORRUPT;
    int rc = 0;
    for (uint32_t i = 0; i < settings && rc == 0; i++)
        rc = s->settings_count < JOURNAL_SETTINGS_MAX ? read_settings(s, r) : ST_CORRUPT;
    for (uint32_t i = 0; i < intents && rc == 0; i++)
        rc = restore_intent(s, r);
    return rc == 0 ? read_positions(s, r) : rc;
}

int journal_state_apply(struct journal_state *s, uint8_t kind, struct slice body)
{
    struct reading r = {body, false};
    int rc;
    switch (kind) {
    case JOURNAL_CHECKPOINT:
        rc = read_checkpoint(s, &r);
        break;
    case JOURNAL_SETTINGS:
        rc = read_settings(s, &r);
        break;
    case JOURNAL_INTENT:
        rc = apply_intent(s, &r);
        break;
    case JOURNAL_COMMIT: {
        uint64_t object = take64(&r);
        rc = r.bad ? ST_CORRUPT : journal_state_commit(s, object);
        break;
    }
    case JOURNAL_POSITIONS:
        rc = read_positions(s, &r);
        break;
    default:
        return ST_VERSION;
    }
    if (rc == ST_CONFLICT || rc == ST_LIMIT || (rc == 0 && (r.bad || r.rest.len)))
        rc = ST_CORRUPT;
    return rc;
}
