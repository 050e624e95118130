/*
 * Pieces: the bounded memory of the pipeline. A piece is about a MiB of records on its way through format, compress and
 * encrypt; two buffers, used in turn. All deliveries of a loop share one pool. Who gets none waits in line; who holds a
 * half-filled piece while others wait is asked to send it on. Memory is kept for reuse until the pool goes. One loop
 * (the buffers of a piece in a job belong to the job).
 */
#ifndef SLUICE_FIREHOSE_PIECE_H
#define SLUICE_FIREHOSE_PIECE_H

#include "common/base/list.h"
#include "common/base/slice.h"
#include "common/base/status.h"

#define PIECE_RAW_BYTES (1u << 20)
/* A buffer holds a raw piece, or what becomes of it at worst: compression's bound, what the encryption carried over from
 * the piece before (64 KiB), its header and its tags. */
#define PIECE_BUFFER_BYTES (PIECE_RAW_BYTES + (160u << 10))

struct piece {
    struct list link; /* the owner's */
    uint8_t *buffer[2];
    uint8_t at; /* which of them holds the bytes */
    size_t len;
};

struct piece_pool {
    uint32_t limit, made;
    struct list free, waiters, holders;
};

struct piece_waiter {
    void (*got)(struct piece_waiter *w); /* ask again; from piece_put, so only schedule something there */
    struct list link;                    /* private */
};

/* Who may hold half-filled pieces: asked to send them on when somebody goes without. From piece_get, so only schedule
 * something there. */
struct piece_holder {
    void (*press)(struct piece_holder *h);
    struct list link; /* private */
};

/* `bytes_max` is rounded down to pieces, at least 4. */
void piece_pool_init(struct piece_pool *p, uint64_t bytes_max);
/* All pieces are back. */
void piece_pool_deinit(struct piece_pool *p);
/* NULL: the limit is reached or there is no memory; with `w` not NULL, then w waits in line. */
struct piece *piece_get(struct piece_pool *p, struct piece_waiter *w) must_use;
void piece_put(struct piece_pool *p, struct piece *piece);
/* Out of the line; harmless if not in it. */
void piece_wait_cancel(struct piece_waiter *w);
void piece_hold(struct piece_pool *p, struct piece_holder *h);
void piece_hold_end(struct piece_holder *h);

#endif
