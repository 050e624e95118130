/*
 * Sequence numbers (see seqnum.h). A number has 188 bits; here it is three 64-bit words (lowest first), or three limbs
 * in base 10^19, of which the decimal digits are read: 18 + 19 + 19.
 */
#include "broker/shard/seqnum.h"

typedef unsigned __int128 u128;

#define LIMB_BASE   10000000000000000000ull /* 10^19 */
#define LIMB_DIGITS 19u
#define TOP_DIGITS  (SEQNUM_DIGITS - 2 * LIMB_DIGITS)
#define MASK_36     ((1ull << 36) - 1)
/* One counter is 2^80 = 120892 * 10^19 + 5819614629174706176. */
#define STEP_HIGH 120892ull
#define STEP_LOW  5819614629174706176ull

static uint64_t seconds(struct wall_ms t)
{
    return t.ms < 0 ? 0 : (uint64_t)(t.ms / 1000) & MASK_36;
}

static void number_words(const struct seqnum *n, uint64_t word[3])
{
    uint64_t created = seconds(n->shard.created), arrival = seconds(n->arrival);
    if (arrival < created)
        arrival = created; /* S2 */
    u128 low = (u128)n->counter << 80 | (u128)arrival << 36 | (uint64_t)n->shard.index << 4 | 2;
    word[0] = (uint64_t)low;
    word[1] = (uint64_t)(low >> 64);
    word[2] = n->counter >> 48 | (uint64_t)(n->shard.index & 15) << 16 | created << 20 | 2ull << 56;
}

/* *rem : word divided by 10^19 (*rem below it, so the quotient fits); leaves the remainder in *rem. */
static uint64_t divide_limb(uint64_t *rem, uint64_t word)
{
    u128 v = (u128)*rem << 64 | word;
    uint64_t q = (uint64_t)(v / LIMB_BASE);
    *rem = word - q * LIMB_BASE;
    return q;
}

static void number_limbs(const uint64_t word[3], uint64_t limb[3])
{
    uint64_t rem = word[2]; /* below 2^60, so below 10^19 */
    uint64_t high = divide_limb(&rem, word[1]);
    uint64_t low = divide_limb(&rem, word[0]);
    limb[0] = rem;
    rem = high; /* below 2^61 */
    limb[2] = divide_limb(&rem, low);
    limb[1] = rem;
}

static void put_8_digits(char *to, uint32_t v)
{
    static const char pairs[201] = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940"
                                   "4142434445464748495051525354555657585960616263646566676869707172737475767778798081"
                                   "828384858687888990919293949596979899";
    uint32_t high = v / 10000, low = v % 10000;
    memcpy(to, pairs + high / 100 * 2, 2);
    memcpy(to + 2, pairs + high % 100 * 2, 2);
    memcpy(to + 4, pairs + low / 100 * 2, 2);
    memcpy(to + 6, pairs + low % 100 * 2, 2);
}

/* The lowest `digits` (17..19) digits of v. */
static void put_digits(char *to, uint64_t v, uint32_t digits)
{
    uint32_t lead = digits - 16, high = (uint32_t)(v / 10000000000000000ull);
    uint64_t low = v % 10000000000000000ull;
    for (uint32_t i = lead; i-- > 0; high /= 10)
        to[i] = (char)('0' + high % 10);
    put_8_digits(to + lead, (uint32_t)(low / 100000000));
    put_8_digits(to + lead + 8, (uint32_t)(low % 100000000));
}

void seqnum_run_start(struct seqnum_run *run, const struct seqnum *first)
{
    uint64_t word[3];
    number_words(first, word);
    number_limbs(word, run->limb);
    put_digits(run->text, run->limb[2], TOP_DIGITS);
    put_digits(run->text + TOP_DIGITS, run->limb[1], LIMB_DIGITS);
    put_digits(run->text + TOP_DIGITS + LIMB_DIGITS, run->limb[0], LIMB_DIGITS);
    run->text[SEQNUM_DIGITS] = 0;
}

void seqnum_run_next(struct seqnum_run *run)
{
    run->limb[0] += STEP_LOW; /* below 1.6e19: fits */
    run->limb[1] += STEP_HIGH;
    if (run->limb[0] >= LIMB_BASE) {
        run->limb[0] -= LIMB_BASE;
        run->limb[1]++;
    }
    if (run->limb[1] >= LIMB_BASE) {
        run->limb[1] -= LIMB_BASE;
        run->limb[2]++;
        put_digits(run->text, run->limb[2], TOP_DIGITS);
    }
    put_digits(run->text + TOP_DIGITS, run->limb[1], LIMB_DIGITS);
    put_digits(run->text + TOP_DIGITS + LIMB_DIGITS, run->limb[0], LIMB_DIGITS);
}

void seqnum_format(const struct seqnum *n, char out[SEQNUM_TEXT_MAX])
{
    struct seqnum_run run;
    seqnum_run_start(&run, n);
    memcpy(out, run.text, SEQNUM_TEXT_MAX);
}

/* word = word * 10 + digit; at most 57 digits, so that it stays below 10^57 < 2^190. */
static void push_digit(uint64_t word[3], uint64_t digit)
{
    u128 carry = digit;
    for (int i = 0; i < 3; i++) {
        carry += (u128)word[i] * 10;
        word[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

/* `width` (at most 64) bits of the number from bit `at`. */
static uint64_t bits(const uint64_t word[3], unsigned at, unsigned width)
{
    unsigned w = at / 64, shift = at % 64;
    uint64_t v = word[w] >> shift;
    if (shift && w < 2)
        v |= word[w + 1] << (64 - shift);
    return width == 64 ? v : v & ((1ull << width) - 1);
}

static struct wall_ms from_seconds(uint64_t s)
{
    return (struct wall_ms){(int64_t)s * 1000};
}

/* AWS's first layout, 32 hexadecimal digits: 1, 9 creation seconds, 2, 16, 4 shard index; the leading 1 may be missing.
 * "0" is one of these. */
static int parse_version_0(const uint64_t word[3], struct seqnum *out)
{
    uint64_t created = bits(word, 88, 36);
    if (created >= 16025175000ull) /* the year 2477: AWS calls it invalid */
        return ST_SYNTAX;
    *out = (struct seqnum){.shard = {from_seconds(created), (uint32_t)bits(word, 0, 16)}};
    return ST_OK;
}

static int parse_version_2(const uint64_t word[3], struct seqnum *out)
{
    uint64_t index = bits(word, 4, 32), counter = bits(word, 80, 64);
    if (index > SEQNUM_INDEX_MAX || counter > SEQNUM_COUNTER_MAX)
        return ST_LIMIT;
    if (bits(word, 144, 4) != (index & 15) || bits(word, 72, 8) != 0)
        return ST_SYNTAX;
    *out = (struct seqnum){.shard = {from_seconds(bits(word, 148, 36)), (uint32_t)index},
                           .counter = counter,
                           .arrival = from_seconds(bits(word, 36, 36))};
    return ST_OK;
}

int seqnum_parse(struct slice text, struct seqnum *out, uint32_t *out_version)
{
    uint64_t word[3] = {0};
    struct seqnum got;
    uint32_t version = 0;
    int status;
    if (text.len == 0 || text.len > SEQNUM_DIGITS || (text.ptr[0] == '0' && text.len > 1))
        return ST_SYNTAX;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return ST_SYNTAX;
        push_digit(word, (uint64_t)(text.ptr[i] - '0'));
    }
    if (word[2] == 0 && word[1] >> 61 == 0) {
        status = parse_version_0(word, &got);
    } else if (bits(word, 184, 8) != 2) {
        status = ST_SYNTAX;
    } else {
        version = (uint32_t)bits(word, 0, 4);
        status = version == 2 ? parse_version_2(word, &got) : version == 1 ? ST_OK : ST_SYNTAX;
        if (version == 1)
            got = (struct seqnum){.shard = {from_seconds(bits(word, 148, 36)), (uint32_t)bits(word, 4, 31)}};
    }
    if (status < 0)
        return status;
    *out = got;
    *out_version = version;
    return ST_OK;
}

int seqnum_find(struct slice text, const struct seqnum_shard *shard, uint64_t *out_counter, struct seqnum *out_parsed)
{
    struct seqnum got;
    uint32_t version = 0;
    int status = seqnum_parse(text, &got, &version);
    if (status < 0)
        return status;
    *out_parsed = got;
    if (got.shard.index != shard->index)
        return ST_CONFLICT;
    if (version != 2 || got.shard.created.ms / 1000 != shard->created.ms / 1000)
        return ST_NOT_FOUND;
    *out_counter = got.counter;
    return ST_OK;
}

int seqnum_compare(const struct seqnum *a, const struct seqnum *b)
{
    uint64_t x[3], y[3];
    number_words(a, x);
    number_words(b, y);
    for (int i = 2; i >= 0; i--)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}
