/*
 * age v1 with libsodium's primitives. HKDF-SHA256 is built from crypto_auth_hmacsha256 (libsodium has one of its own
 * only since 1.0.19). Every key derived here is 32 bytes, so one round of HKDF-Expand gives it.
 */
#include "firehose/age.h"

#include <sodium.h>

static void hmac_sha256(struct slice key, struct slice a, struct slice b, struct slice c, uint8_t out[32])
{
    crypto_auth_hmacsha256_state st;
    crypto_auth_hmacsha256_init(&st, key.ptr, key.len);
    crypto_auth_hmacsha256_update(&st, a.ptr, a.len);
    crypto_auth_hmacsha256_update(&st, b.ptr, b.len);
    crypto_auth_hmacsha256_update(&st, c.ptr, c.len);
    crypto_auth_hmacsha256_final(&st, out);
    sodium_memzero(&st, sizeof st);
}

/* RFC 5869, 32 bytes of output. An empty salt stands for 32 zero bytes; to HMAC both are the same. */
static void hkdf_sha256(struct slice secret, struct slice salt, struct slice info, uint8_t out[32])
{
    uint8_t prk[32], one = 1;
    static const uint8_t zeros[32];
    if (!salt.len)
        salt = slice_of(zeros, sizeof zeros);
    hmac_sha256(salt, secret, slice_of(zeros, 0), slice_of(zeros, 0), prk);
    hmac_sha256(slice_of(prk, sizeof prk), info, slice_of(&one, 1), slice_of(zeros, 0), out);
    sodium_memzero(prk, sizeof prk);
}

static size_t put_text(uint8_t *to, const char *text)
{
    size_t n = strlen(text);
    memcpy(to, text, n);
    return n;
}

/* Base64 without padding, and a newline. 32 bytes give 43 characters: below the 64 at which age would wrap. */
static size_t put_base64_line(uint8_t *to, const uint8_t bytes[32])
{
    char text[sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL_NO_PADDING)];
    sodium_bin2base64(text, sizeof text, bytes, 32, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    size_t n = put_text(to, text);
    to[n] = '\n';
    return n + 1;
}

/* One stanza: the file key wrapped for one recipient. */
static int put_stanza(uint8_t *to, const struct age_recipient *r, const uint8_t ephemeral[32],
                      const uint8_t file_key[16], size_t *out_len)
{
    uint8_t salt[64], shared[32], wrap_key[32], body[16 + AGE_TAG_BYTES];
    static const uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    if (crypto_scalarmult_base(salt, ephemeral) != 0 || crypto_scalarmult(shared, ephemeral, r->public_key) != 0)
        return ST_INVALID;
    memcpy(salt + 32, r->public_key, 32);
    hkdf_sha256(slice_of(shared, 32), slice_of(salt, 64), SLICE_LIT("age-encryption.org/v1/X25519"), wrap_key);
    crypto_aead_chacha20poly1305_ietf_encrypt(body, NULL, file_key, 16, NULL, 0, NULL, nonce, wrap_key);
    sodium_memzero(shared, sizeof shared);
    sodium_memzero(wrap_key, sizeof wrap_key);
    size_t n = put_text(to, "-> X25519 ");
    n += put_base64_line(to + n, salt);
    n += put_base64_line(to + n, body);
    *out_len = n;
    return 0;
}

int age_begin(struct age_stream *s, const struct age_recipient *recipients, uint32_t count,
              const struct age_random *random, uint8_t *out, size_t *out_len)
{
    if (count < 1 || count > AGE_RECIPIENTS_MAX)
        return ST_INVALID;
    size_t n = put_text(out, "age-encryption.org/v1\n");
    for (uint32_t i = 0; i < count; i++) {
        size_t len;
        int rc = put_stanza(out + n, &recipients[i], random->ephemeral[i], random->file_key, &len);
        if (rc < 0)
            return rc;
        n += len;
    }
    n += put_text(out + n, "---");
    struct slice file_key = slice_of(random->file_key, sizeof random->file_key);
    uint8_t mac_key[32], mac[32];
    hkdf_sha256(file_key, SLICE_NULL, SLICE_LIT("header"), mac_key);
    crypto_auth_hmacsha256_state st;
    crypto_auth_hmacsha256_init(&st, mac_key, sizeof mac_key);
    crypto_auth_hmacsha256_update(&st, out, n);
    crypto_auth_hmacsha256_final(&st, mac);
    sodium_memzero(mac_key, sizeof mac_key);
    out[n++] = ' ';
    n += put_base64_line(out + n, mac);
    memcpy(out + n, random->nonce, sizeof random->nonce);
    n += sizeof random->nonce;
    hkdf_sha256(file_key, slice_of(random->nonce, sizeof random->nonce), SLICE_LIT("payload"), s->key);
    s->counter = 0;
    s->held_bytes = 0;
    *out_len = n;
    return 0;
}

static size_t seal_chunk(struct age_stream *s, const uint8_t *plain, size_t len, bool last, uint8_t *out)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES] = {0};
    for (int i = 0; i < 8; i++)
        nonce[10 - i] = (uint8_t)(s->counter >> (8 * i));
    nonce[11] = last;
    s->counter++;
    unsigned long long n;
    crypto_aead_chacha20poly1305_ietf_encrypt(out, &n, plain, len, NULL, 0, NULL, nonce, s->key);
    return (size_t)n;
}

size_t age_update(struct age_stream *s, struct slice plain, uint8_t *out)
{
    size_t done = 0;
    while (plain.len) {
        if (s->held_bytes == AGE_CHUNK_BYTES) { /* there is more: what is held is not the last */
            done += seal_chunk(s, s->held, AGE_CHUNK_BYTES, false, out + done);
            s->held_bytes = 0;
        }
        if (!s->held_bytes && plain.len > AGE_CHUNK_BYTES) { /* straight from the input */
            done += seal_chunk(s, plain.ptr, AGE_CHUNK_BYTES, false, out + done);
            plain = slice_from(plain, AGE_CHUNK_BYTES);
            continue;
        }
        struct slice take = slice_first(plain, AGE_CHUNK_BYTES - s->held_bytes);
        memcpy(s->held + s->held_bytes, take.ptr, take.len);
        s->held_bytes += (uint32_t)take.len;
        plain = slice_from(plain, take.len);
    }
    return done;
}

size_t age_finish(struct age_stream *s, uint8_t *out)
{
    size_t n = seal_chunk(s, s->held, s->held_bytes, true, out);
    age_wipe(s);
    return n;
}

void age_wipe(struct age_stream *s)
{
    sodium_memzero(s->key, sizeof s->key);
    sodium_memzero(s->held, s->held_bytes);
    s->held_bytes = 0;
}
