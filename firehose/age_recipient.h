/*
 * The text form of an age X25519 recipient: Bech32 (BIP 173) with the human-readable part "age", 32 bytes.
 * "age1" + 52 characters + 6 of checksum. Pure; any thread.
 */
#ifndef SLUICE_FIREHOSE_AGE_RECIPIENT_H
#define SLUICE_FIREHOSE_AGE_RECIPIENT_H

#include "common/base/slice.h"
#include "common/base/status.h"

#define AGE_RECIPIENT_TEXT_MAX 62u
#define AGE_KEY_BYTES          32u

struct age_recipient {
    uint8_t public_key[AGE_KEY_BYTES];
};

/* ST_SYNTAX: not an age recipient, or its checksum is wrong; `e` (may be NULL) says which. */
int age_recipient_parse(struct slice text, struct age_recipient *out, struct err *e) must_use;
/* The inverse: 62 characters and a NUL. */
void age_recipient_print(const struct age_recipient *r, char out[AGE_RECIPIENT_TEXT_MAX + 1]);

#endif
