/*
 * Bech32 as BIP 173 has it, lower case only (age refuses the upper-case form for recipients). The five-bit groups of 32
 * bytes are 52 (260 bits): the last four bits are padding and must be zero.
 */
#include "firehose/age_recipient.h"

#define GROUPS          52u
#define CHECKSUM_GROUPS 6u

static const char charset[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static uint32_t polymod_step(uint32_t sum, uint8_t group)
{
    static const uint32_t generator[5] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
    uint8_t top = (uint8_t)(sum >> 25);
    sum = ((sum & 0x1ffffff) << 5) ^ group;
    for (int i = 0; i < 5; i++)
        if (top >> i & 1)
            sum ^= generator[i];
    return sum;
}

/* The state after the human-readable part "age": its high bits, a zero, its low bits. */
static uint32_t polymod_age(void)
{
    uint32_t sum = 1;
    for (const char *c = "age"; *c; c++)
        sum = polymod_step(sum, (uint8_t)*c >> 5);
    sum = polymod_step(sum, 0);
    for (const char *c = "age"; *c; c++)
        sum = polymod_step(sum, *c & 31);
    return sum;
}

static void groups_to_bytes(const uint8_t groups[GROUPS], uint8_t out[AGE_KEY_BYTES])
{
    uint32_t bits = 0, have = 0;
    size_t n = 0;
    for (size_t i = 0; i < GROUPS; i++) {
        bits = bits << 5 | groups[i];
        have += 5;
        if (have >= 8) {
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
}

int age_recipient_parse(struct slice text, struct age_recipient *out, struct err *e)
{
    if (text.len != AGE_RECIPIENT_TEXT_MAX || memcmp(text.ptr, "age1", 4) != 0)
        return err_set(e, ST_SYNTAX, "an age recipient is \"age1\" and %u characters", GROUPS + CHECKSUM_GROUPS);
    uint8_t groups[GROUPS + CHECKSUM_GROUPS];
    uint32_t sum = polymod_age();
    for (size_t i = 0; i < sizeof groups; i++) {
        const char *at = memchr(charset, text.ptr[4 + i], sizeof charset - 1);
        if (!at)
            return err_set(e, ST_SYNTAX, "an age recipient has no character 0x%02x", text.ptr[4 + i]);
        groups[i] = (uint8_t)(at - charset);
        sum = polymod_step(sum, groups[i]);
    }
    if (sum != 1)
        return err_set(e, ST_SYNTAX, "the age recipient's checksum is wrong: a typing error?");
    if (groups[GROUPS - 1] & 0xf)
        return err_set(e, ST_SYNTAX, "the age recipient has padding that is not zero");
    groups_to_bytes(groups, out->public_key);
    return 0;
}

void age_recipient_print(const struct age_recipient *r, char out[AGE_RECIPIENT_TEXT_MAX + 1])
{
    uint32_t sum = polymod_age();
    memcpy(out, "age1", 4);
    for (size_t i = 0; i < GROUPS; i++) {
        size_t bit = i * 5, byte = bit / 8;
        uint32_t two = (uint32_t)r->public_key[byte] << 8 | (byte + 1 < AGE_KEY_BYTES ? r->public_key[byte + 1] : 0);
        uint8_t group = two >> (11 - bit % 8) & 31;
        sum = polymod_step(sum, group);
        out[4 + i] = charset[group];
    }
    for (size_t i = 0; i < CHECKSUM_GROUPS; i++)
        sum = polymod_step(sum, 0);
    sum ^= 1;
    for (size_t i = 0; i < CHECKSUM_GROUPS; i++)
        out[4 + GROUPS + i] = charset[sum >> (5 * (CHECKSUM_GROUPS - 1 - i)) & 31];
    out[AGE_RECIPIENT_TEXT_MAX] = 0;
}
