/* The buffers of a piece come from one allocation; the list of free pieces is last in, first out: warm memory first. */
#include "firehose/piece.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/io/loop.h"

void piece_pool_init(struct piece_pool *p, uint64_t bytes_max)
{
    uint64_t n = bytes_max / (2ull * PIECE_BUFFER_BYTES);
    *p = (struct piece_pool){.limit = n < 4 ? 4 : n > 65536 ? 65536 : (uint32_t)n};
    list_init(&p->free);
    list_init(&p->waiters);
    list_init(&p->holders);
}

void piece_pool_deinit(struct piece_pool *p)
{
    for (struct list *n; (n = list_pop_front(&p->free)); p->made--) {
        struct piece *piece = CONTAINER_OF(n, struct piece, link);
        io_buffer_free(piece->buffer[0]);
        free(piece);
    }
    CHECK(p->made == 0);
}

static struct piece *piece_make(void)
{
    struct piece *piece = calloc(1, sizeof *piece);
    if (!piece)
        return NULL;
    piece->buffer[0] = io_buffer_alloc(2 * (size_t)PIECE_BUFFER_BYTES);
    if (!piece->buffer[0]) {
        free(piece);
        return NULL;
    }
    piece->buffer[1] = piece->buffer[0] + PIECE_BUFFER_BYTES;
    return piece;
}

struct piece *piece_get(struct piece_pool *p, struct piece_waiter *w)
{
    struct list *n = list_pop_front(&p->free);
    struct piece *piece = n ? CONTAINER_OF(n, struct piece, link) : NULL;
    if (!piece && p->made < p->limit && (piece = piece_make()))
        p->made++;
    if (piece) {
        piece->at = 0;
        piece->len = 0;
        list_init(&piece->link);
        return piece;
    }
    if (w && !list_linked(&w->link))
        list_push_back(&p->waiters, &w->link);
    LIST_FOREACH_SAFE (it, &p->holders) {
        struct piece_holder *h = CONTAINER_OF(it, struct piece_holder, link);
        h->press(h);
    }
    return NULL;
}

void piece_hold(struct piece_pool *p, struct piece_holder *h)
{
    list_push_back(&p->holders, &h->link);
}

void piece_hold_end(struct piece_holder *h)
{
    list_remove(&h->link);
}

void piece_put(struct piece_pool *p, struct piece *piece)
{
    list_push_front(&p->free, &piece->link);
    struct list *n = list_pop_front(&p->waiters);
    if (n) {
        struct piece_waiter *w = CONTAINER_OF(n, struct piece_waiter, link);
        w->got(w);
    }
}

void piece_wait_cancel(struct piece_waiter *w)
{
    list_remove(&w->link);
}
