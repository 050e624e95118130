/*
 * A growable byte buffer with a limit, for building output. A failed append (limit, memory) is remembered: the writers
 * below return nothing, and the caller asks bytebuf_failed() once at the end. One thread.
 */
#ifndef SLUICE_BASE_BYTEBUF_H
#define SLUICE_BASE_BYTEBUF_H

#include "common/base/slice.h"
#include "common/base/status.h"

struct bytebuf {
    uint8_t *ptr;
    size_t len, cap, limit;
    bool failed;
};

void bytebuf_init(struct bytebuf *b, size_t limit_bytes);
void bytebuf_deinit(struct bytebuf *b);
/* Empties it and clears the failure; keeps the memory. */
void bytebuf_reset(struct bytebuf *b);
/* Makes room for `len` more bytes: a pointer to them, or NULL (and failed). Add them with bytebuf_advance. */
uint8_t *bytebuf_reserve(struct bytebuf *b, size_t len) must_use;
static inline void bytebuf_advance(struct bytebuf *b, size_t len)
{
    b->len += len;
}
void bytebuf_append(struct bytebuf *b, const void *p, size_t len);
void bytebuf_printf(struct bytebuf *b, const char *fmt, ...) printf_like(2);
static inline void bytebuf_slice(struct bytebuf *b, struct slice s)
{
    bytebuf_append(b, s.ptr, s.len);
}
static inline void bytebuf_str(struct bytebuf *b, const char *s)
{
    bytebuf_append(b, s, strlen(s));
}
static inline void bytebuf_byte(struct bytebuf *b, uint8_t c)
{
    bytebuf_append(b, &c, 1);
}
static inline bool bytebuf_failed(const struct bytebuf *b)
{
    return b->failed;
}
/* Valid until the next append. */
static inline struct slice bytebuf_view(const struct bytebuf *b)
{
    return slice_of(b->ptr, b->len);
}

#endif
