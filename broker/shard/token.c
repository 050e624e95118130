/* Sealed tokens (see token.h): the only place of this folder that includes libsodium. */
#include "broker/shard/token.h"

#include <sodium.h>

#include "common/base/check.h"

#define HEAD_BYTES    8u
#define CONTENT_AT    (HEAD_BYTES + TOKEN_NONCE_BYTES)
#define TAG_BYTES     16u
#define FIXED_BYTES   16u /* of the content, before the payload */
#define CONTENT_MIN   104u
#define CONTENT_MAX   (FIXED_BYTES + TOKEN_PAYLOAD_MAX)
#define BYTES_MIN     (CONTENT_AT + CONTENT_MIN + TAG_BYTES) /* 152 */
#define BYTES_MAX     (CONTENT_AT + CONTENT_MAX + TAG_BYTES) /* 376 */
#define TOKEN_VERSION 1u

_Static_assert(BYTES_MIN == 152, "what known clients check");
_Static_assert((BYTES_MAX - BYTES_MIN) % 16 == 0, "what known clients check");
_Static_assert((BYTES_MAX + 2) / 3 * 4 <= 512, "an iterator's most characters");
_Static_assert((BYTES_MIN + 2) / 3 * 4 == ITERATOR_TEXT_LEN, "an iterator's length");
_Static_assert(TOKEN_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");
_Static_assert(TOKEN_NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(TAG_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");

static const uint8_t head[HEAD_BYTES] = {0, 0, 0, 0, 0, 0, 0, 1};

static void put_le(uint8_t *to, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++, v >>= 8)
        to[i] = (uint8_t)v;
}

static uint64_t get_le(const uint8_t *from, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = bytes; i-- > 0;)
        v = v << 8 | from[i];
    return v;
}

/* The content's length for a payload: 104, 120, 136, ... */
static uint32_t content_bytes(size_t payload)
{
    size_t need = FIXED_BYTES + payload;
    return (uint32_t)(need <= CONTENT_MIN ? CONTENT_MIN : CONTENT_MIN + (need - CONTENT_MIN + 15) / 16 * 16);
}

uint32_t token_seal(const struct token_key *key, enum token_kind kind, struct wall_ms now, struct slice payload,
                    const struct token_nonce *nonce, char out[TOKEN_TEXT_MAX])
{
    uint8_t content[CONTENT_MAX] = {0}, bytes[BYTES_MAX];
    CHECK(payload.len <= TOKEN_PAYLOAD_MAX);
    uint32_t len = content_bytes(payload.len);
    content[0] = TOKEN_VERSION;
    content[1] = (uint8_t)kind;
    put_le(content + 2, payload.len, 2);
    put_le(content + 8, (uint64_t)now.ms, 8);
    if (payload.len)
        memcpy(content + FIXED_BYTES, payload.ptr, payload.len);
    memcpy(bytes, head, HEAD_BYTES);
    memcpy(bytes + HEAD_BYTES, nonce->byte, TOKEN_NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + CONTENT_AT, NULL, content, len, head, HEAD_BYTES, NULL,
                                               nonce->byte, key->byte);
    size_t total = CONTENT_AT + len + TAG_BYTES;
    sodium_bin2base64(out, TOKEN_TEXT_MAX, bytes, total, sodium_base64_VARIANT_ORIGINAL);
    return (uint32_t)((total + 2) / 3 * 4);
}

/* libsodium 1.0.18 takes some bytes above 127 for base64 digits; a token has one spelling. */
static bool is_ascii(struct slice text)
{
    uint8_t all = 0;
    for (size_t i = 0; i < text.len; i++)
        all |= text.ptr[i];
    return all < 128;
}

/* From text to content, the box opened. */
static int token_unseal(const struct token_key *key, struct slice text, uint8_t content[CONTENT_MAX], size_t *out_len)
{
    uint8_t bytes[BYTES_MAX];
    size_t len;
    if (text.len >= TOKEN_TEXT_MAX || !is_ascii(text) ||
        sodium_base642bin(bytes, sizeof bytes, (const char *)text.ptr, text.len, NULL, &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0)
        return ST_SYNTAX;
    if (len < BYTES_MIN || (len - BYTES_MIN) % 16 != 0 || memcmp(bytes, head, HEAD_BYTES) != 0)
        return ST_SYNTAX;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(content, NULL, NULL, bytes + CONTENT_AT, len - CONTENT_AT, head,
                                                   HEAD_BYTES, bytes + HEAD_BYTES, key->byte) != 0)
        return ST_DENIED;
    *out_len = len - CONTENT_AT - TAG_BYTES;
    return ST_OK;
}

int token_open(const struct token_key *key, enum token_kind kind, struct wall_ms now, int64_t life_ms,
               struct slice text, uint8_t out[TOKEN_PAYLOAD_MAX], uint32_t *out_len, struct wall_ms *out_issued)
{
    uint8_t content[CONTENT_MAX];
    size_t len = 0;
    int status = token_unseal(key, text, content, &len);
    if (status < 0)
        return status;
    if (content[0] != TOKEN_VERSION)
        return ST_VERSION;
    uint64_t payload = get_le(content + 2, 2);
    if (content[1] != (uint8_t)kind || payload > len - FIXED_BYTES)
        return ST_DENIED;
    struct wall_ms issued = {(int64_t)get_le(content + 8, 8)};
    if (out_issued)
        *out_issued = issued;
    int64_t age_ms;
    if (!__builtin_sub_overflow(now.ms, issued.ms, &age_ms) && age_ms > life_ms)
        return ST_EXPIRED;
    memcpy(out, content + FIXED_BYTES, payload);
    *out_len = (uint32_t)payload;
    return ST_OK;
}

#define ITERATOR_PAYLOAD 24u

void iterator_seal(const struct token_key *key, const struct shard_iterator *it, struct wall_ms now,
                   const struct token_nonce *nonce, char out[ITERATOR_TEXT_LEN + 1])
{
    uint8_t payload[ITERATOR_PAYLOAD];
    char text[TOKEN_TEXT_MAX];
    put_le(payload, it->stream_uid, 8);
    put_le(payload + 8, it->shard_uid, 8);
    put_le(payload + 16, it->counter, 8);
    uint32_t len = token_seal(key, TOKEN_ITERATOR, now, slice_of(payload, sizeof payload), nonce, text);
    CHECK(len == ITERATOR_TEXT_LEN);
    memcpy(out, text, ITERATOR_TEXT_LEN + 1);
}

int iterator_open(const struct token_key *key, struct wall_ms now, int64_t life_ms, struct slice text,
                  struct shard_iterator *out)
{
    uint8_t payload[TOKEN_PAYLOAD_MAX];
    uint32_t len = 0;
    struct wall_ms issued = {0};
    int status = token_open(key, TOKEN_ITERATOR, now, life_ms, text, payload, &len, &issued);
    if (status == ST_EXPIRED)
        out->issued = issued;
    if (status < 0)
        return status;
    if (len != ITERATOR_PAYLOAD)
        return ST_DENIED;
    *out = (struct shard_iterator){get_le(payload, 8), get_le(payload + 8, 8), get_le(payload + 16, 8), issued};
    return ST_OK;
}
