/* A borrowed view of bytes, passed by value. Whoever returns one says how long it lives. */
#ifndef SLUICE_BASE_SLICE_H
#define SLUICE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *ptr;
    size_t len;
};

#define SLICE_NULL     ((struct slice){NULL, 0})
#define SLICE_LIT(s)   ((struct slice){(const uint8_t *)("" s), sizeof(s) - 1})
#define SLICE_FMT(s)   (int)(s).len, (const char *)(s).ptr
#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline struct slice slice_of(const void *ptr, size_t len)
{
    return (struct slice){(const uint8_t *)ptr, len};
}

/* The bytes of a C string, without its terminator; NULL gives an empty slice. */
static inline struct slice slice_str(const char *s)
{
    return s ? slice_of(s, strlen(s)) : SLICE_NULL;
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_eq_str(struct slice a, const char *s)
{
    return slice_eq(a, slice_str(s));
}

static inline bool slice_starts(struct slice a, struct slice prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.ptr, prefix.ptr, prefix.len) == 0);
}

/* ASCII case-insensitive equality, as HTTP header names need it. */
bool slice_eq_nocase(struct slice a, struct slice b);

/* The part of `s` from `from` (clamped) on. */
static inline struct slice slice_from(struct slice s, size_t from)
{
    if (from > s.len)
        from = s.len;
    return slice_of(s.ptr + from, s.len - from);
}

/* The first `len` (clamped) bytes of `s`. */
static inline struct slice slice_first(struct slice s, size_t len)
{
    return slice_of(s.ptr, len < s.len ? len : s.len);
}

/* Position of the first byte `c` in `s`, or s.len. */
static inline size_t slice_find(struct slice s, uint8_t c)
{
    const uint8_t *hit = s.len ? (const uint8_t *)memchr(s.ptr, c, s.len) : NULL;
    return hit ? (size_t)(hit - s.ptr) : s.len;
}

/* Without leading and trailing spaces and tabs. */
struct slice slice_trim(struct slice s);

/* Parses all of `s` as an unsigned decimal (1..20 digits, no sign, no space). False on anything else, *out untouched.
 */
bool slice_parse_u64(struct slice s, uint64_t *out);

#endif
