/*
 * A bump allocator for what lives as long as one request: allocate freely, free all at once. It grows by chunks up to a
 * limit; past the limit it returns NULL, which the caller answers as a designed refusal. arena_reset keeps the first
 * chunk, so that a reused arena does not touch malloc. One thread.
 */
#ifndef SLUICE_BASE_ARENA_H
#define SLUICE_BASE_ARENA_H

#include "common/base/slice.h"
#include "common/base/status.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *first, *current;
    size_t used_bytes;  /* handed out since the last reset, over all chunks */
    size_t limit_bytes; /* most that may be handed out */
    size_t chunk_bytes;
};

/* `chunk_bytes` is the size of an ordinary chunk; nothing is allocated yet. */
void arena_init(struct arena *a, size_t chunk_bytes, size_t limit_bytes);
/* Frees everything. */
void arena_deinit(struct arena *a);
/* Forgets all allocations; keeps the first chunk. */
void arena_reset(struct arena *a);
/* Uninitialised memory aligned to 16 bytes, living until reset; NULL past the limit or without memory. */
void *arena_alloc(struct arena *a, size_t len) must_use;
/* The same, zeroed. */
void *arena_zalloc(struct arena *a, size_t len) must_use;
/* A copy with a terminating NUL behind it (not counted in the slice). Its ptr is NULL past the limit. */
struct slice arena_copy(struct arena *a, struct slice s) must_use;
/* Formatted text, NUL-terminated; ptr NULL past the limit. */
struct slice arena_printf(struct arena *a, const char *fmt, ...) printf_like(2) must_use;

#endif
