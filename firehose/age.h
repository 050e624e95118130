/*
 * The age v1 format (age-encryption.org/v1), encryption only, to X25519 recipients: what `age -d` opens. The caller
 * gives the random bytes; a stream is one file.
 *
 *     "age-encryption.org/v1\n"
 *     for each recipient: "-> X25519 <ephemeral share>\n<file key, wrapped>\n"
 *     "--- <HMAC of all above>\n"
 *     16 bytes of nonce
 *     chunks: 64 KiB of plaintext each, ChaCha20-Poly1305, nonce = 11 bytes of counter (big end first) and 1 in the last
 *     byte for the last chunk. The last one may be short; it is empty only if the whole plaintext is.
 *
 * So the end of the plaintext must be known before a full chunk is sealed: the stream holds up to 64 KiB back. One
 * thread at a time.
 */
#ifndef SLUICE_FIREHOSE_AGE_H
#define SLUICE_FIREHOSE_AGE_H

#include "firehose/age_recipient.h"

#define AGE_CHUNK_BYTES    65536u
#define AGE_TAG_BYTES      16u
#define AGE_RECIPIENTS_MAX 16u
/* Of the header and the nonce, at most. */
#define AGE_HEADER_BYTES_MAX (22u + AGE_RECIPIENTS_MAX * (54u + 44u) + 4u + 44u + 16u)
/* Most output that `len` bytes of input can cause, header and held back bytes included. */
#define AGE_OUTPUT_MAX(len) \
    ((len) + AGE_CHUNK_BYTES + ((len) / AGE_CHUNK_BYTES + 2) * AGE_TAG_BYTES + AGE_HEADER_BYTES_MAX)

/* Secret and fresh for each file. */
struct age_random {
    uint8_t file_key[16];
    uint8_t nonce[16];
    uint8_t ephemeral[AGE_RECIPIENTS_MAX][AGE_KEY_BYTES];
};

struct age_stream {
    uint8_t key[32];
    uint64_t counter;
    uint32_t held_bytes;
    uint8_t held[AGE_CHUNK_BYTES];
};

/* Starts a file: writes the header to `out` (AGE_HEADER_BYTES_MAX of room). ST_INVALID: a recipient is not a point that
 * can be encrypted to, or there are none or too many. */
int age_begin(struct age_stream *s, const struct age_recipient *recipients, uint32_t count,
              const struct age_random *random, uint8_t *out, size_t *out_len) must_use;
/* Adds plaintext; writes the chunks that are complete and known not to be the last (AGE_OUTPUT_MAX of room). Returns the
 * bytes written. `out` and `plain` must not overlap. */
size_t age_update(struct age_stream *s, struct slice plain, uint8_t *out);
/* The last chunk (up to AGE_CHUNK_BYTES + AGE_TAG_BYTES). Wipes the key. */
size_t age_finish(struct age_stream *s, uint8_t *out);
/* Wipes keys of a file that is given up. */
void age_wipe(struct age_stream *s);

#endif
