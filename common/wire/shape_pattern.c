/*
 * The matcher of AWS's regular expressions. sequence() matches what is left of an alternative: a group() or a run() of
 * one set, each of which tries its possibilities, longest first, and calls sequence() for what follows; `struct rest`, on
 * the stack, says what follows a group. Nothing is compiled and nothing allocated. The pattern is trusted (a table of
 * ours, seen by pattern_supported); the text is not: each step is counted, and so is the depth.
 */
#include "common/wire/shape_pattern.h"

#include "common/wire/utf8.h"

/* What stands for one character: a set of ASCII characters, and what holds beyond ASCII. */
struct set {
    uint64_t ascii[2];
    bool beyond;       /* every code point from 0x80 on ... */
    uint32_t from, to; /* ... or this range of them (to = 0: none) */
};

struct matcher {
    const uint8_t *begin, *end; /* the text */
    uint32_t steps, depth;
};

/* What is left to match after the piece of the pattern at hand: the rest of the enclosing groups. */
struct rest {
    const char *at, *end; /* pattern behind the group */
    const char *group;    /* not NULL: the group may repeat; its inside is [group, group_end) */
    const char *group_end;
    uint32_t min, max;     /* further repetitions */
    const uint8_t *origin; /* where the last repetition began: an empty one is not repeated */
    const struct rest *next;
    bool accept; /* a lookahead: reaching it is success, wherever in the text */
};

static bool sequence(struct matcher *m, const char *p, const char *end, const uint8_t *s, const struct rest *rest);

/* ---- sets of characters ----------------------------------------------------------------------------------------- */

static void set_range(struct set *set, uint32_t from, uint32_t to)
{
    for (uint32_t word = 0; word < 2; word++) { /* bits first..last of each half, without a loop over characters */
        uint32_t low = word * 64, first = from > low ? from - low : 0, last = to < low + 63 ? to - low : 63;
        if (first < 64 && to >= low)
            set->ascii[word] |= ~0ull << first & ~0ull >> (63 - last);
    }
    if (to >= 0x80) {
        set->from = from < 0x80 ? 0x80 : from;
        set->to = to;
    }
}

static void set_join(struct set *set, const struct set *other)
{
    set->ascii[0] |= other->ascii[0];
    set->ascii[1] |= other->ascii[1];
    set->beyond |= other->beyond;
}

static void set_invert(struct set *set)
{
    set->ascii[0] = ~set->ascii[0];
    set->ascii[1] = ~set->ascii[1];
    set->beyond = !set->beyond;
}

static bool set_has(const struct set *set, uint32_t c)
{
    if (c < 0x80)
        return set->ascii[c >> 6] >> (c & 63) & 1;
    return set->beyond || (c >= set->from && c <= set->to);
}

static uint32_t hex_value(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return v;
}

/* The escape at `p` (behind the backslash) as a set; if it is one character, *out_char is that, else -1. */
static const char *escape_set(const char *p, struct set *set, int32_t *out_char)
{
    *set = (struct set){0};
    *out_char = -1;
    switch (*p) {
    case 'd':
        set_range(set, '0', '9');
        return p + 1;
    case 'w':
        set_range(set, '0', '9');
        set_range(set, 'a', 'z');
        set_range(set, 'A', 'Z');
        set_range(set, '_', '_');
        return p + 1;
    case 's':
    case 'S':
        set_range(set, '\t', '\r');
        set_range(set, ' ', ' ');
        if (*p == 'S')
            set_invert(set);
        return p + 1;
    case 'p': /* \p{L} */
        set->beyond = true;
        if (p[2] == 'L') {
            set_range(set, 'a', 'z');
            set_range(set, 'A', 'Z');
        } else if (p[2] == 'N') {
            set_range(set, '0', '9');
        } else {
            set_range(set, ' ', ' ');
        }
        return p + 4;
    case 'u':
        *out_char = (int32_t)hex_value(p + 1);
        set_range(set, (uint32_t)*out_char, (uint32_t)*out_char);
        return p + 5;
    default:
        *out_char = (uint8_t)*p;
        set_range(set, (uint8_t)*p, (uint8_t)*p);
        return p + 1;
    }
}

/* One member of a class, or the end of a range. */
static const char *class_item(const char *p, struct set *set, int32_t *out_char)
{
    if (*p == '\\')
        return escape_set(p + 1, set, out_char);
    *set = (struct set){0};
    *out_char = (uint8_t)*p;
    set_range(set, (uint8_t)*p, (uint8_t)*p);
    return p + 1;
}

/* The class at `p` (behind '['); returns behind ']'. */
static const char *class_set(const char *p, struct set *set)
{
    bool inverted = *p == '^';
    struct set item;
    int32_t from, to;
    *set = (struct set){0};
    for (p += inverted; *p && *p != ']';) {
        p = class_item(p, &item, &from);
        if (from >= 0 && p[0] == '-' && p[1] != ']') {
            p = class_item(p + 1, &item, &to);
            set_range(set, (uint32_t)from, (uint32_t)to);
        } else {
            set_join(set, &item);
        }
    }
    if (inverted)
        set_invert(set);
    return *p ? p + 1 : p;
}

/* The single-character atom at `p` as a set; returns behind it. */
static const char *atom_set(const char *p, struct set *set)
{
    int32_t c;
    if (*p == '[')
        return class_set(p + 1, set);
    if (*p == '.') { /* all but a line's end */
        *set = (struct set){.ascii = {~(1ull << '\n' | 1ull << '\r'), ~0ull}, .beyond = true};
        return p + 1;
    }
    return class_item(p, set, &c);
}

/* ---- the pattern's structure ------------------------------------------------------------------------------------ */

/* Behind the escape, class or other character at `p`, without a look at what it means. */
static const char *piece_end(const char *p)
{
    if (*p == '\\')
        return p + (p[1] == 'p' ? 5 : p[1] == 'u' ? 6 : 2);
    if (*p != '[')
        return p + 1;
    for (p++; *p && *p != ']';)
        p += *p == '\\' ? 2 : 1;
    return *p ? p + 1 : p;
}

/* Behind the atom at `p`: a group with all that is in it, or a piece. */
static const char *atom_end(const char *p, const char *end)
{
    if (*p != '(')
        return piece_end(p);
    int depth = 0;
    while (p < end) {
        depth += *p == '(' ? 1 : *p == ')' ? -1 : 0;
        p = piece_end(p);
        if (depth == 0)
            break;
    }
    return p;
}

static const char *number_at(const char *p, uint32_t *out)
{
    for (*out = 0; *p >= '0' && *p <= '9'; p++)
        *out = *out * 10 + (uint32_t)(*p - '0');
    return p;
}

/* The quantifier at `p`, if there is one; a lazy mark is passed over. */
static const char *quantifier(const char *p, const char *end, uint32_t *min, uint32_t *max)
{
    *min = *max = 1;
    if (p == end)
        return p;
    if (*p == '*' || *p == '+' || *p == '?') {
        *min = *p == '+';
        *max = *p == '?' ? 1 : UINT32_MAX;
        p++;
    } else if (*p == '{') {
        p = number_at(p + 1, min);
        *max = *min;
        if (*p == ',') {
            const char *digits = ++p;
            p = number_at(p, max);
            if (p == digits)
                *max = UINT32_MAX;
        }
        p++; /* } */
    } else {
        return p;
    }
    return p < end && *p == '?' ? p + 1 : p;
}

/* The end of the alternative that begins at `p`: a '|' outside of groups, or `end`. */
static const char *alternative_end(const char *p, const char *end)
{
    while (p < end && *p != '|')
        p = atom_end(p, end);
    return p;
}

/* ---- matching --------------------------------------------------------------------------------------------------- */

static bool alternatives(struct matcher *m, const char *p, const char *end, const uint8_t *s, const struct rest *rest)
{
    for (;;) {
        const char *stop = alternative_end(p, end);
        if (sequence(m, p, stop, s, rest))
            return true;
        if (stop == end)
            return false;
        p = stop + 1;
    }
}

/* A group's inside has matched up to `s`, or has to be matched for the first time: once more, or go on behind it. */
static bool group_repeat(struct matcher *m, const uint8_t *s, const struct rest *r)
{
    bool empty = r->origin == s; /* once more would match nothing again */
    if (r->max > 0 && !empty) {
        struct rest again = *r;
        again.origin = s;
        again.min = r->min ? r->min - 1 : 0;
        again.max = r->max == UINT32_MAX ? UINT32_MAX : r->max - 1;
        if (alternatives(m, r->group, r->group_end, s, &again))
            return true;
    }
    return (r->min == 0 || empty) && sequence(m, r->at, r->end, s, r->next);
}

static bool rest_match(struct matcher *m, const uint8_t *s, const struct rest *r)
{
    if (!r)
        return s == m->end;
    if (r->accept)
        return true;
    return group_repeat(m, s, r);
}

/* (?!...) at `p`, its inside ending at `end`. */
static bool looks_ahead_to_nothing(struct matcher *m, const char *p, const char *end, const uint8_t *s)
{
    struct rest accept = {.accept = true};
    return !alternatives(m, p + 3, end, s, &accept);
}

/* (?<!c): the character before is not one of the set. */
static bool looks_back_to_none(struct matcher *m, const char *p, const uint8_t *s)
{
    struct set set;
    uint32_t c;
    atom_set(p + 4, &set);
    if (s == m->begin)
        return true;
    do
        s--;
    while (s > m->begin && (*s & 0xc0) == 0x80);
    utf8_decode(s, &c);
    return !set_has(&set, c);
}

static bool group(struct matcher *m, const char *p, const char *end, const uint8_t *s, const struct rest *rest)
{
    const char *close = atom_end(p, end), *inside_end = close - 1;
    if (p[1] == '?' && p[2] == '!')
        return looks_ahead_to_nothing(m, p, inside_end, s) && sequence(m, close, end, s, rest);
    if (p[1] == '?' && p[2] == '<')
        return looks_back_to_none(m, p, s) && sequence(m, close, end, s, rest);
    struct rest r = {.group = p + (p[1] == '?' ? 3 : 1), .group_end = inside_end, .end = end, .next = rest};
    r.at = quantifier(close, end, &r.min, &r.max);
    return group_repeat(m, s, &r);
}

/* A run of one set: as long as it goes, then shorter. */
static bool run(struct matcher *m, const char *p, const char *end, const uint8_t *s, const struct rest *rest)
{
    struct set set;
    uint32_t min, max, count = 0, c;
    const uint8_t *begin = s;
    p = quantifier(atom_set(p, &set), end, &min, &max);
    for (; count < max && s < m->end; count++) {
        size_t len = 1;
        c = *s;
        if (c >= 0x80)
            len = utf8_decode(s, &c);
        if (!set_has(&set, c))
            break;
        s += len;
    }
    for (;; count--) {
        if (count < min)
            return false;
        if (sequence(m, p, end, s, rest))
            return true;
        if (s == begin || m->steps > PATTERN_STEPS_MAX)
            return false;
        do
            s--;
        while ((*s & 0xc0) == 0x80);
    }
}

static bool sequence(struct matcher *m, const char *p, const char *end, const uint8_t *s, const struct rest *rest)
{
    if (++m->steps > PATTERN_STEPS_MAX || m->depth > PATTERN_DEPTH_MAX)
        return false;
    for (; p < end && (*p == '^' || *p == '$'); p++)
        if (s != (*p == '^' ? m->begin : m->end))
            return false;
    if (p == end)
        return rest_match(m, s, rest);
    m->depth++;
    bool matches = *p == '(' ? group(m, p, end, s, rest) : run(m, p, end, s, rest);
    m->depth--;
    return matches;
}

bool pattern_match(const char *pattern, struct slice text)
{
    struct matcher m = {.begin = text.ptr, .end = text.ptr + text.len};
    return alternatives(&m, pattern, pattern + strlen(pattern), text.ptr, NULL);
}

/* ---- the check of tables ---------------------------------------------------------------------------------------- */

static bool escape_supported(const char *p)
{
    if (*p == 'p')
        return p[1] == '{' && (p[2] == 'L' || p[2] == 'N' || p[2] == 'Z') && p[3] == '}';
    if (*p == 'u')
        return strspn(p + 1, "0123456789abcdefABCDEF") >= 4;
    bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');
    return *p && (!letter || strchr("dwsS", *p)) && !(*p >= '0' && *p <= '9');
}

bool pattern_supported(const char *pattern)
{
    int depth = 0;
    bool in_class = false;
    for (const char *p = pattern; *p; p++) {
        if ((uint8_t)*p >= 0x80)
            return false;
        if (*p == '\\') {
            if (!escape_supported(p + 1))
                return false;
            p++;
        } else if (in_class) {
            in_class = *p != ']';
        } else if (*p == '[') {
            in_class = true;
        } else if (*p == '(') {
            depth++;
            if (p[1] == '?' && p[2] != '!' && p[2] != ':' && !(p[2] == '<' && p[3] == '!'))
                return false;
        } else if (*p == ')' && --depth < 0) {
            return false;
        }
    }
    return depth == 0 && !in_class;
}
