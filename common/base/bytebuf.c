/* Doubling growth up to the limit; a failure sticks until the next reset. See bytebuf.h. */
#include "common/base/bytebuf.h"

#include <stdio.h>
#include <stdlib.h>

void bytebuf_init(struct bytebuf *b, size_t limit_bytes)
{
    *b = (struct bytebuf){.limit = limit_bytes};
}

void bytebuf_deinit(struct bytebuf *b)
{
    free(b->ptr);
    b->ptr = NULL;
    b->len = b->cap = 0;
}

void bytebuf_reset(struct bytebuf *b)
{
    b->len = 0;
    b->failed = false;
}

uint8_t *bytebuf_reserve(struct bytebuf *b, size_t len)
{
    if (b->failed || len > b->limit - b->len) {
        b->failed = true;
        return NULL;
    }
    if (b->cap - b->len < len) {
        size_t cap = b->cap < 128 ? 256 : b->cap * 2;
        if (cap < b->len + len)
            cap = b->len + len;
        if (cap > b->limit)
            cap = b->limit;
        uint8_t *p = realloc(b->ptr, cap);
        if (!p) {
            b->failed = true;
            return NULL;
        }
        b->ptr = p;
        b->cap = cap;
    }
    return b->ptr + b->len;
}

void bytebuf_append(struct bytebuf *b, const void *p, size_t len)
{
    if (len == 0)
        return;
    uint8_t *to = bytebuf_reserve(b, len);
    if (to) {
        memcpy(to, p, len);
        b->len += len;
    }
}

void bytebuf_printf(struct bytebuf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    uint8_t *to = n < 0 ? NULL : bytebuf_reserve(b, (size_t)n + 1);
    if (to) {
        vsnprintf((char *)to, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}
