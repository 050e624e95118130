/* Ranges of hash keys and the routing table (see hash_range.h). */
#include "broker/shard/hash_range.h"

#include <stdlib.h>

#include "common/base/check.h"

typedef unsigned __int128 u128;
#define U128_MAX (~(u128)0)

static u128 key_number(const struct hash_key *k)
{
    u128 v = 0;
    for (int i = 0; i < 16; i++)
        v = v << 8 | k->byte[i];
    return v;
}

static struct hash_key key_from_number(u128 v)
{
    struct hash_key k;
    for (int i = 15; i >= 0; i--, v >>= 8)
        k.byte[i] = (uint8_t)v;
    return k;
}

int hash_key_parse(struct slice text, struct hash_key *out)
{
    u128 v = 0;
    if (text.len == 0 || (text.ptr[0] == '0' && text.len > 1))
        return ST_SYNTAX;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return ST_SYNTAX;
    if (text.len > HASH_KEY_DIGITS_MAX)
        return ST_LIMIT;
    for (size_t i = 0; i < text.len; i++) {
        if (__builtin_mul_overflow(v, (u128)10, &v) || __builtin_add_overflow(v, (u128)(text.ptr[i] - '0'), &v))
            return ST_LIMIT;
    }
    *out = key_from_number(v);
    return ST_OK;
}

uint32_t hash_key_format(const struct hash_key *k, char out[HASH_KEY_TEXT_MAX])
{
    char digits[HASH_KEY_DIGITS_MAX];
    uint32_t n = 0;
    u128 v = key_number(k);
    do {
        digits[n++] = (char)('0' + (int)(v % 10));
        v /= 10;
    } while (v);
    for (uint32_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    out[n] = 0;
    return n;
}

struct hash_range hash_range_split(uint32_t index, uint32_t count)
{
    CHECK(index < count);
    /* floor(2^128 / count) without 2^128: (2^128 - 1) / count is the same unless count divides 2^128, where it is one
     * less. E.g. 4 shards: (2^128-1)/4 = 2^126-1, remainder 3 = count-1, so one more. */
    u128 size = U128_MAX / count;
    if (count > 1 && U128_MAX % count == count - 1)
        size++;
    u128 first = size * index;
    u128 last = index == count - 1 ? U128_MAX : first + size - 1;
    return (struct hash_range){key_from_number(first), key_from_number(last)};
}

bool hash_range_holds(const struct hash_range *r, const struct hash_key *k)
{
    return hash_key_compare(&r->first, k) <= 0 && hash_key_compare(k, &r->last) <= 0;
}

int hash_range_cut(const struct hash_range *r, const struct hash_key *at, struct hash_range *out_left,
                   struct hash_range *out_right)
{
    struct hash_range whole = *r;
    if (hash_key_compare(at, &whole.first) <= 0 || hash_key_compare(at, &whole.last) > 0)
        return ST_INVALID;
    struct hash_key cut = *at;
    *out_left = (struct hash_range){whole.first, key_from_number(key_number(&cut) - 1)};
    *out_right = (struct hash_range){cut, whole.last};
    return ST_OK;
}

/* True if b begins where a ends. */
static bool follows(const struct hash_range *a, const struct hash_range *b)
{
    u128 end = key_number(&a->last);
    return end != U128_MAX && end + 1 == key_number(&b->first);
}

int hash_range_join(const struct hash_range *a, const struct hash_range *b, struct hash_range *out)
{
    if (follows(a, b))
        *out = (struct hash_range){a->first, b->last};
    else if (follows(b, a))
        *out = (struct hash_range){b->first, a->last};
    else
        return ST_INVALID;
    return ST_OK;
}

int hash_range_middle(const struct hash_range *r, struct hash_key *out)
{
    u128 first = key_number(&r->first), last = key_number(&r->last);
    if (last <= first)
        return ST_INVALID;
    *out = key_from_number(first + (last - first) / 2 + 1);
    return ST_OK;
}

static int entry_order(const void *a, const void *b)
{
    const struct hash_route_entry *x = a, *y = b;
    return hash_key_compare(&x->range.first, &y->range.first);
}

/* Sorted entries: from 0 to 2^128 - 1 without gap or overlap. */
static bool covers_everything(const struct hash_route_entry *e, uint32_t count)
{
    if (key_number(&e[0].range.first) != 0 || key_number(&e[count - 1].range.last) != U128_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (hash_key_compare(&e[i].range.first, &e[i].range.last) > 0)
            return false;
    for (uint32_t i = 1; i < count; i++)
        if (!follows(&e[i - 1].range, &e[i].range))
            return false;
    return true;
}

int hash_route_init(struct hash_route *t, const struct hash_route_entry *entries, uint32_t count)
{
    if (count == 0)
        return ST_INVALID;
    struct hash_route_entry *sorted = malloc(count * sizeof *sorted);
    struct hash_key *last = malloc(count * sizeof *last);
    void **target = malloc(count * sizeof *target);
    int status = -ENOMEM;
    if (!sorted || !last || !target)
        goto out;
    memcpy(sorted, entries, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, entry_order);
    status = ST_INVALID;
    if (!covers_everything(sorted, count))
        goto out;
    for (uint32_t i = 0; i < count; i++) {
        last[i] = sorted[i].range.last;
        target[i] = sorted[i].target;
    }
    *t = (struct hash_route){.count = count, .last = last, .target = target};
    free(sorted);
    return ST_OK;
out:
    free(sorted);
    free(last);
    free(target);
    return status;
}

void hash_route_deinit(struct hash_route *t)
{
    free(t->last);
    free(t->target);
    *t = (struct hash_route){0};
}

void *hash_route_find(const struct hash_route *t, const struct hash_key *k)
{
    uint32_t low = 0, high = t->count - 1; /* the first range whose last key is >= k lies in low..high */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (hash_key_compare(&t->last[middle], k) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return t->target[low];
}
