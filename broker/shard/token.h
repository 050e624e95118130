/*
 * Sealed tokens: shard iterators and pagination tokens. What the daemon hands out and gets back is an AEAD box
 * (XChaCha20-Poly1305 by libsodium): nobody else can make, change or read one. The text is base64 (standard alphabet,
 * padded). Its bytes:
 *
 *   offset size  what
 *        0    8  00 00 00 00 00 00 00 01, as the cloud service's iterators begin; also the additional data
 *        8   24  nonce
 *       32  n+16 the sealed content and its tag; n is at least 104 and such that (whole length - 152) % 16 = 0: what
 *                known clients check of an iterator, which here is always 152 bytes, 204 characters
 *
 * Sealed content, little-endian, the rest zeros:
 *
 *        0    1  format version, 1
 *        1    1  kind
 *        2    2  payload length
 *        4    4  0
 *        8    8  issue time, ms since 1970
 *       16       payload; of an iterator: stream uid, shard uid, next counter (8 bytes each)
 *
 * The key (32 bytes) is made once and lies in the data directory, so that tokens outlive a restart; the nonce comes from
 * the caller, who owns the randomness. Pure: no I/O, no clock, no allocation. Any thread.
 */
#ifndef SLUICE_SHARD_TOKEN_H
#define SLUICE_SHARD_TOKEN_H

#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/base/status.h"

#define TOKEN_KEY_BYTES   32u
#define TOKEN_NONCE_BYTES 24u
#define TOKEN_PAYLOAD_MAX 312u /* makes 512 characters: (32 + 16 + 312 + 16 = 376 bytes) */
#define TOKEN_TEXT_MAX    513u /* with a NUL */
#define ITERATOR_TEXT_LEN 204u

struct token_key {
    uint8_t byte[TOKEN_KEY_BYTES];
};

/* Random bytes (24), never the same twice under one key: from loop_random. */
struct token_nonce {
    uint8_t byte[TOKEN_NONCE_BYTES];
};

/* What a token is for; one kind is never taken for another. The numbers are part of the format. */
enum token_kind {
    TOKEN_ITERATOR = 1,
    TOKEN_LIST_STREAMS = 2,
    TOKEN_LIST_SHARDS = 3,
    TOKEN_LIST_CONSUMERS = 4,
};

/* Seals a payload of at most TOKEN_PAYLOAD_MAX bytes (a longer one is a bug: asserted). Writes text and NUL; returns the
 * text's length. */
uint32_t token_seal(const struct token_key *key, enum token_kind kind, struct wall_ms now, struct slice payload,
                    const struct token_nonce *nonce, char out[TOKEN_TEXT_MAX]);

/* Opens one: writes the payload to `out` and its length to *out_len.
 *   ST_SYNTAX   not base64, or no token's length or beginning
 *   ST_DENIED   not sealed by this key (forged, damaged, another data directory's), or of another kind
 *   ST_VERSION  sealed by this key, by a newer sluice
 *   ST_EXPIRED  issued more than life_ms before `now`
 * *out_issued (NULL is allowed) is filled in on success and on ST_EXPIRED. A token from the future (the clock was set
 * back since) is good. */
int token_open(const struct token_key *key, enum token_kind kind, struct wall_ms now, int64_t life_ms,
               struct slice text, uint8_t out[TOKEN_PAYLOAD_MAX], uint32_t *out_len,
               struct wall_ms *out_issued) must_use;

/* A shard iterator: where the next read of a shard starts. */
struct shard_iterator {
    uint64_t stream_uid, shard_uid;
    uint64_t counter;      /* the next record to be read */
    struct wall_ms issued; /* out of iterator_open */
};

/* Writes ITERATOR_TEXT_LEN characters and a NUL; it->issued is not looked at, `now` is. */
void iterator_seal(const struct token_key *key, const struct shard_iterator *it, struct wall_ms now,
                   const struct token_nonce *nonce, char out[ITERATOR_TEXT_LEN + 1]);
/* The errors of token_open. On ST_EXPIRED only out->issued is filled in (the message names it). */
int iterator_open(const struct token_key *key, struct wall_ms now, int64_t life_ms, struct slice text,
                  struct shard_iterator *out) must_use;

#endif
