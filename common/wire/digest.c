/*
 * The only file that knows libcrypto. SHA256_* and MD5_* are deprecated in OpenSSL 3.0 in favour of EVP; they are used
 * on purpose (see the header): infallible and without allocation, which the data path needs for a digest a record.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "common/wire/digest.h"

#include <openssl/crypto.h>
#include <openssl/md5.h>
#include <openssl/sha.h>

#define SHA256_BLOCK 64

void digest_sha256(struct slice data, uint8_t out[SHA256_BYTES])
{
    SHA256_CTX ctx;
    SHA256_Init(&ctx);
    SHA256_Update(&ctx, data.ptr, data.len);
    SHA256_Final(out, &ctx);
}

void digest_sha256_hex(struct slice data, char out[SHA256_HEX_SIZE])
{
    uint8_t raw[SHA256_BYTES];
    digest_sha256(data, raw);
    digest_hex(slice_of(raw, sizeof raw), out);
}

/* RFC 2104. */
void digest_hmac_sha256(struct slice key, struct slice data, uint8_t out[SHA256_BYTES])
{
    uint8_t block[SHA256_BLOCK] = {0}, inner[SHA256_BYTES];
    SHA256_CTX ctx;

    if (key.len > sizeof block)
        digest_sha256(key, block);
    else if (key.len > 0)
        memcpy(block, key.ptr, key.len);

    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36;
    SHA256_Init(&ctx);
    SHA256_Update(&ctx, block, sizeof block);
    SHA256_Update(&ctx, data.ptr, data.len);
    SHA256_Final(inner, &ctx);

    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36 ^ 0x5c;
    SHA256_Init(&ctx);
    SHA256_Update(&ctx, block, sizeof block);
    SHA256_Update(&ctx, inner, sizeof inner);
    SHA256_Final(out, &ctx);
    OPENSSL_cleanse(block, sizeof block);
    OPENSSL_cleanse(&ctx, sizeof ctx);
}

void digest_md5(struct slice data, uint8_t out[MD5_BYTES])
{
    MD5_CTX ctx;
    MD5_Init(&ctx);
    MD5_Update(&ctx, data.ptr, data.len);
    MD5_Final(out, &ctx);
}

void digest_hex(struct slice bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        out[2 * i] = digits[bytes.ptr[i] >> 4];
        out[2 * i + 1] = digits[bytes.ptr[i] & 15];
    }
    out[2 * bytes.len] = 0;
}

bool digest_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
}

void digest_wipe(void *p, size_t len)
{
    OPENSSL_cleanse(p, len);
}
