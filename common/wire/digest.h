/*
 * SHA-256, HMAC-SHA-256 and MD5 over libcrypto, with the CPU's own instructions where it has them. The block functions
 * are called directly: they cannot fail, allocate nothing, and for 16 bytes are 1.7 times as fast as a fetched EVP
 * digest (limits.md), which in OpenSSL 3.0 allocates at each init. Pure; any thread.
 */
#ifndef SLUICE_WIRE_DIGEST_H
#define SLUICE_WIRE_DIGEST_H

#include "common/base/slice.h"

#define SHA256_BYTES    32
#define SHA256_HEX_SIZE 65 /* with a terminating NUL */
#define MD5_BYTES       16

void digest_sha256(struct slice data, uint8_t out[SHA256_BYTES]);
/* The same in lower-case hexadecimal, NUL-terminated. */
void digest_sha256_hex(struct slice data, char out[SHA256_HEX_SIZE]);
void digest_hmac_sha256(struct slice key, struct slice data, uint8_t out[SHA256_BYTES]);
void digest_md5(struct slice data, uint8_t out[MD5_BYTES]);

/* Lower-case hexadecimal of `bytes`, NUL-terminated: 2 * bytes.len + 1 chars of `out` are written. */
void digest_hex(struct slice bytes, char *out);
/* Whether two secrets are equal; its time depends on their lengths only. */
bool digest_equal(struct slice a, struct slice b);
/* Overwrites a secret so that the compiler cannot leave it out. */
void digest_wipe(void *p, size_t len);

#endif
