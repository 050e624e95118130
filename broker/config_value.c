/*
 * Text to value and back, for one scalar key (see config_keys.h): sizes, durations, addresses, choices. What is wrong is
 * said as "'12 parsecs' is not a size (like 1MiB)"; where, the caller adds. Pure but for the arena.
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "broker/config_keys.h"
#include "broker/shard/shard_name.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"KiB", 1ull << 10},
    {"MiB", 1ull << 20},
    {"GiB", 1ull << 30},
    {"TiB", 1ull << 40},
    {"KB", 1000ull},
    {"MB", 1000000ull},
    {"GB", 1000000000ull},
    {"TB", 1000000000000ull},
};
static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};

/* "<digits> <unit>", a space between allowed. False if it is not that, or too large. */
static bool parse_units(struct slice text, const struct unit *units, size_t count, uint64_t *out)
{
    size_t digits = 0;
    uint64_t v;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
        digits++;
    if (!slice_parse_u64(slice_first(text, digits), &v))
        return false;
    struct slice unit = slice_trim(slice_from(text, digits));
    for (size_t i = 0; i < count; i++)
        if (slice_eq_str(unit, units[i].name))
            return !__builtin_mul_overflow(v, units[i].factor, out);
    return false;
}

/* The largest unit that divides it. */
static const char *print_units(uint64_t v, const struct unit *units, size_t count, struct arena *arena)
{
    const struct unit *best = &units[0];
    for (size_t i = 0; i < count; i++)
        if (v % units[i].factor == 0 && units[i].factor > best->factor && v != 0)
            best = &units[i];
    struct slice s = arena_printf(arena, "%llu%s", (unsigned long long)(v / best->factor), best->name);
    return (const char *)s.ptr;
}

static const char *print_size(uint64_t v, struct arena *arena)
{
    return print_units(v, size_units, 6, arena); /* binary units only */
}

static const char *print_duration(int64_t ms, struct arena *arena)
{
    if (ms == 0)
        return "0s";
    return print_units((uint64_t)ms, duration_units, ARRAY_COUNT(duration_units), arena);
}

/* ---- near misses ------------------------------------------------------------------------------------------------- */

#define WORD_MAX 40

/* Insertions, deletions, replacements and swaps of neighbours that make a of b. */
static unsigned distance(struct slice a, struct slice b)
{
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    if (a.len > WORD_MAX || b.len > WORD_MAX)
        return WORD_MAX;
    for (unsigned i = 0; i <= a.len; i++) {
        for (unsigned k = 0; k <= b.len; k++) {
            if (i == 0 || k == 0) {
                d[i][k] = i + k;
                continue;
            }
            unsigned best = d[i - 1][k - 1] + (a.ptr[i - 1] != b.ptr[k - 1]);
            if (d[i - 1][k] + 1 < best)
                best = d[i - 1][k] + 1;
            if (d[i][k - 1] + 1 < best)
                best = d[i][k - 1] + 1;
            if (i > 1 && k > 1 && a.ptr[i - 1] == b.ptr[k - 2] && a.ptr[i - 2] == b.ptr[k - 1] &&
                d[i - 2][k - 2] + 1 < best)
                best = d[i - 2][k - 2] + 1;
            d[i][k] = best;
        }
    }
    return d[a.len][b.len];
}

const char *config_nearest(struct slice word, const char *const *candidates, uint32_t count)
{
    const char *nearest = NULL;
    unsigned least = 3;
    for (uint32_t i = 0; i < count; i++) {
        unsigned d = distance(word, slice_str(candidates[i]));
        if (d < least && d < word.len && d < strlen(candidates[i])) {
            least = d;
            nearest = candidates[i];
        }
    }
    return nearest;
}

/* ---- one function a type ----------------------------------------------------------------------------------------- */

static int not_allowed(const struct config_key *k, struct slice text, struct err *e)
{
    return err_set(e, ST_INVALID, "'%.*s' is not %s", (int)(text.len < 100 ? text.len : 100), (const char *)text.ptr,
                   k->allowed);
}

static int out_of_range(struct slice text, const char *least, const char *most, struct err *e)
{
    return err_set(e, ST_INVALID, "'%.*s' is out of range: %s to %s", SLICE_FMT(slice_first(text, 100)), least, most);
}

static bool in_range(const struct config_key *k, uint64_t v)
{
    return (k->min == 0 && k->max == 0) || (v <= INT64_MAX && (int64_t)v >= k->min && (int64_t)v <= k->max);
}

static int set_number(const struct config_key *k, void *at, struct slice text, struct arena *arena, struct err *e)
{
    uint64_t v;
    if (!slice_parse_u64(text, &v))
        return not_allowed(k, text, e);
    if (!in_range(k, v)) {
        struct slice least = arena_printf(arena, "%lld", (long long)k->min);
        struct slice most = arena_printf(arena, "%lld", (long long)k->max);
        return out_of_range(text, (const char *)least.ptr, (const char *)most.ptr, e);
    }
    *(uint32_t *)at = (uint32_t)v;
    return ST_OK;
}

static int set_size(const struct config_key *k, void *at, struct slice text, struct arena *arena, struct err *e)
{
    uint64_t v;
    if (k->type == KEY_SIZE_NONE && slice_eq_str(text, "none")) {
        *(uint64_t *)at = UINT64_MAX;
        return ST_OK;
    }
    if (!parse_units(text, size_units, ARRAY_COUNT(size_units), &v))
        return not_allowed(k, text, e);
    if (!in_range(k, v))
        return out_of_range(text, print_size((uint64_t)k->min, arena), print_size((uint64_t)k->max, arena), e);
    *(uint64_t *)at = v;
    return ST_OK;
}

static int set_duration(const struct config_key *k, void *at, struct slice text, struct arena *arena, struct err *e)
{
    uint64_t v;
    if (slice_eq_str(text, "0"))
        v = 0;
    else if (!parse_units(text, duration_units, ARRAY_COUNT(duration_units), &v))
        return not_allowed(k, text, e);
    if (!in_range(k, v))
        return out_of_range(text, print_duration(k->min, arena), print_duration(k->max, arena), e);
    *(int64_t *)at = (int64_t)v;
    return ST_OK;
}

static int set_bool(const struct config_key *k, void *at, struct slice text, struct err *e)
{
    bool yes = slice_eq_str(text, "true") || slice_eq_str(text, "yes") || slice_eq_str(text, "1");
    if (!yes && !slice_eq_str(text, "false") && !slice_eq_str(text, "no") && !slice_eq_str(text, "0"))
        return not_allowed(k, text, e);
    *(bool *)at = yes;
    return ST_OK;
}

static int set_choice(const struct config_key *k, void *at, struct slice text, struct err *e)
{
    char all[200];
    size_t used = 0;
    uint32_t count = 0;
    for (; k->choices[count]; count++) {
        if (slice_eq_str(text, k->choices[count])) {
            *(unsigned *)at = count;
            return ST_OK;
        }
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", count ? ", " : "", k->choices[count]);
    }
    const char *near = config_nearest(text, k->choices, count);
    if (near)
        return err_set(e, ST_INVALID, "'%.*s' is not %s (%s); did you mean '%s'?", SLICE_FMT(slice_first(text, 100)),
                       k->allowed, all, near);
    return err_set(e, ST_INVALID, "'%.*s' is not %s (%s)", SLICE_FMT(slice_first(text, 100)), k->allowed, all);
}

/* Numeric addresses only, and localhost: a name could mean another machine tomorrow. */
static bool parse_host(struct slice host, struct config_address *out)
{
    struct in_addr v4;
    struct in6_addr v6;
    char text[64];
    if (slice_eq_str(host, "localhost"))
        host = SLICE_LIT("127.0.0.1");
    if (host.len == 0 || host.len >= sizeof text)
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = 0;
    if (inet_pton(AF_INET, text, &v4) == 1)
        out->loopback = ntohl(v4.s_addr) >> 24 == 127;
    else if (inet_pton(AF_INET6, text, &v6) == 1)
        out->loopback = IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    else
        return false;
    memcpy(out->host, text, host.len + 1);
    return true;
}

static int set_address(const struct config_key *k, void *at, struct slice text, struct err *e)
{
    struct config_address a = {0};
    struct slice host, port;
    uint64_t number;
    size_t colon = text.len;
    while (colon > 0 && text.ptr[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return not_allowed(k, text, e);
    host = slice_first(text, colon - 1);
    port = slice_from(text, colon);
    bool bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (bracketed)
        host = slice_of(host.ptr + 1, host.len - 2);
    bool v6 = slice_find(host, ':') < host.len;
    if (v6 != bracketed || !parse_host(host, &a) || port.len > 5 || !slice_parse_u64(port, &number) || number > 65535)
        return not_allowed(k, text, e);
    a.port = (uint16_t)number;
    *(struct config_address *)at = a;
    return ST_OK;
}

static int set_sync(const struct config_key *k, void *at, struct slice text, struct err *e)
{
    struct config_sync s = {.mode = CONFIG_SYNC_BATCH};
    struct slice interval = SLICE_LIT("interval:");
    uint64_t ms = 0;
    if (slice_eq_str(text, "never")) {
        s.mode = CONFIG_SYNC_NEVER;
    } else if (slice_starts(text, interval)) {
        struct slice rest = slice_from(text, interval.len);
        if ((!slice_parse_u64(rest, &ms) && !parse_units(rest, duration_units, ARRAY_COUNT(duration_units), &ms)) ||
            ms < 1 || ms > 60000)
            return err_set(e, ST_INVALID, "'%.*s' is not a sync interval (interval:1 to interval:60000, in ms)",
                           SLICE_FMT(slice_first(text, 100)));
        s = (struct config_sync){CONFIG_SYNC_INTERVAL, (uint32_t)ms};
    } else if (!slice_eq_str(text, "batch")) {
        return not_allowed(k, text, e);
    }
    *(struct config_sync *)at = s;
    return ST_OK;
}

static int set_reserve(const struct config_key *k, void *at, struct slice text, struct err *e)
{
    struct config_reserve r = {0};
    uint64_t v;
    if (text.len && text.ptr[text.len - 1] == '%') {
        if (!slice_parse_u64(slice_first(text, text.len - 1), &v) || v > 99)
            return not_allowed(k, text, e);
        r.percent = (uint32_t)v;
    } else if (parse_units(text, size_units, ARRAY_COUNT(size_units), &v) && v <= INT64_MAX) {
        r.bytes = v;
    } else {
        return not_allowed(k, text, e);
    }
    *(struct config_reserve *)at = r;
    return ST_OK;
}

static int set_compression(const struct config_key *k, void *at, struct slice text, struct err *e)
{
    struct config_zip z = {CONFIG_COMPRESS_ZSTD, 1};
    struct slice zstd = SLICE_LIT("zstd:");
    uint64_t level;
    if (slice_eq_str(text, "none"))
        z = (struct config_zip){CONFIG_COMPRESS_NONE, 0};
    else if (slice_starts(text, zstd)) {
        if (!slice_parse_u64(slice_from(text, zstd.len), &level) || level < 1 || level > 19)
            return not_allowed(k, text, e);
        z.level = (int32_t)level;
    } else if (!slice_eq_str(text, "zstd"))
        return not_allowed(k, text, e);
    *(struct config_zip *)at = z;
    return ST_OK;
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static bool all_of(struct slice s, const char *set)
{
    for (size_t i = 0; i < s.len; i++)
        if (!strchr(set, s.ptr[i]) || s.ptr[i] == 0)
            return false;
    return s.len > 0;
}

/* Visible ASCII without what a request line cuts off, and none of the daemon's own places. */
static bool route_path_valid(struct slice s)
{
    if (s.len < 2 || s.len > 1024 || s.ptr[0] != '/')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 127 || s.ptr[i] == '?' || s.ptr[i] == '#' || s.ptr[i] == '%')
            return false;
    return !slice_eq_str(s, "/metrics") && !slice_eq_str(s, "/healthz") && !slice_starts(s, SLICE_LIT("/streams/"));
}

static bool text_valid(const struct config_key *k, struct slice s)
{
    if (s.len == 0 || memchr(s.ptr, 0, s.len))
        return false;
    switch (k->type) {
    case KEY_NAME:
    case KEY_SOURCE:
        return stream_name_valid(s) && (k->max == 0 || s.len <= (size_t)k->max);
    case KEY_ACCOUNT:
        return s.len == STREAM_ACCOUNT_LEN && all_of(s, "0123456789");
    case KEY_REGION:
        return s.len <= STREAM_REGION_MAX && all_of(s, "abcdefghijklmnopqrstuvwxyz0123456789-");
    case KEY_ROUTE_PATH:
        return route_path_valid(s);
    case KEY_SINK:
        return slice_starts(s, SLICE_LIT("file:///"));
    default:
        return true;
    }
}

static int set_text(const struct config_key *k, void *at, struct slice text, struct arena *arena, const char *folder,
                    struct err *e)
{
    if (text.len == 0)
        return err_set(e, ST_INVALID, "a value is missing: %s", k->allowed);
    if (!text_valid(k, text))
        return not_allowed(k, text, e);
    if (k->type == KEY_SOURCE && slice_eq_str(text, "direct")) {
        *(const char **)at = NULL;
        return ST_OK;
    }
    struct slice copy = k->type == KEY_FILE && folder && text.ptr[0] != '/'
                            ? arena_printf(arena, "%s/%.*s", folder, SLICE_FMT(text))
                            : arena_copy(arena, text);
    if (!copy.ptr)
        return err_set_status(e, -ENOMEM, "configuration");
    *(const char **)at = (const char *)copy.ptr;
    return ST_OK;
}

bool config_key_is_nested(const struct config_key *k)
{
    return k->type == KEY_MAP || k->type == KEY_LIST || k->type == KEY_TEXTS;
}

int config_value_set(const struct config_key *k, void *base, struct slice text, struct arena *arena, const char *folder,
                     struct err *e)
{
    void *at = (char *)base + k->offset;
    switch (k->type) {
    case KEY_BOOL:
        return set_bool(k, at, text, e);
    case KEY_NUMBER:
        return set_number(k, at, text, arena, e);
    case KEY_SIZE:
    case KEY_SIZE_NONE:
        return set_size(k, at, text, arena, e);
    case KEY_DURATION:
        return set_duration(k, at, text, arena, e);
    case KEY_CHOICE:
        return set_choice(k, at, text, e);
    case KEY_ADDRESS:
        return set_address(k, at, text, e);
    case KEY_SYNC:
        return set_sync(k, at, text, e);
    case KEY_RESERVE:
        return set_reserve(k, at, text, e);
    case KEY_COMPRESSION:
        return set_compression(k, at, text, e);
    default:
        return set_text(k, at, text, arena, folder, e);
    }
}

static const char *print_sync(const struct config_sync *s, struct arena *arena)
{
    if (s->mode != CONFIG_SYNC_INTERVAL)
        return s->mode == CONFIG_SYNC_BATCH ? "batch" : "never";
    return (const char *)arena_printf(arena, "interval:%u", s->interval_ms).ptr;
}

static const char *print_address(const struct config_address *a, struct arena *arena)
{
    bool v6 = strchr(a->host, ':') != NULL;
    return (const char *)arena_printf(arena, "%s%s%s:%u", v6 ? "[" : "", a->host, v6 ? "]" : "", a->port).ptr;
}

static const char *print_zip(const struct config_zip *z, struct arena *arena)
{
    return z->codec == CONFIG_COMPRESS_NONE ? "none" : (const char *)arena_printf(arena, "zstd:%d", z->level).ptr;
}

const char *config_value_text(const struct config_key *k, const void *base, struct arena *arena)
{
    const void *at = (const char *)base + k->offset;
    switch (k->type) {
    case KEY_BOOL:
        return *(const bool *)at ? "true" : "false";
    case KEY_NUMBER:
        return (const char *)arena_printf(arena, "%u", *(const uint32_t *)at).ptr;
    case KEY_SIZE_NONE:
        if (*(const uint64_t *)at == UINT64_MAX)
            return "none";
        return print_size(*(const uint64_t *)at, arena);
    case KEY_SIZE:
        return print_size(*(const uint64_t *)at, arena);
    case KEY_DURATION:
        return print_duration(*(const int64_t *)at, arena);
    case KEY_CHOICE:
        return k->choices[*(const unsigned *)at];
    case KEY_ADDRESS:
        return print_address(at, arena);
    case KEY_SYNC:
        return print_sync(at, arena);
    case KEY_RESERVE: {
        const struct config_reserve *r = at;
        return r->percent ? (const char *)arena_printf(arena, "%u%%", r->percent).ptr : print_size(r->bytes, arena);
    }
    case KEY_COMPRESSION:
        return print_zip(at, arena);
    case KEY_SOURCE:
        return *(const char *const *)at ? *(const char *const *)at : "direct";
    case KEY_SECRET:
        return *(const char *const *)at ? "***" : NULL;
    default:
        return *(const char *const *)at;
    }
}

int config_value_defaults(const struct config_map *map, void *base, struct arena *arena, struct err *e)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const struct config_key *k = &map->keys[i];
        int status = ST_OK;
        if (k->type == KEY_MAP)
            status = config_value_defaults(k->map, (char *)base + k->offset, arena, e);
        else if (k->standard)
            status = config_value_set(k, base, slice_str(k->standard), arena, NULL, e);
        if (status < 0)
            return status;
    }
    return ST_OK;
}
