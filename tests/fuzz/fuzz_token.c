/* Tokens, sequence numbers, hash keys, shard ids and ARNs: everything of broker/shard that reads a stranger's text. The
 * input is used as text as it is; with a first byte of 0 the rest is sealed, changed at one place and opened. */
#include <stdlib.h>

#include "broker/shard/hash_range.h"
#include "broker/shard/seqnum.h"
#include "broker/shard/shard_name.h"
#include "broker/shard/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct token_key key = {{1}};
static const struct token_nonce nonce = {{2}};

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void open_changed(const uint8_t *data, size_t size)
{
    char text[TOKEN_TEXT_MAX];
    uint8_t out[TOKEN_PAYLOAD_MAX];
    uint32_t len = 0;
    struct wall_ms now = {1000}, issued;
    if (size < 3 || size - 3 > TOKEN_PAYLOAD_MAX)
        return;
    struct slice payload = slice_of(data + 3, size - 3);
    uint32_t n = token_seal(&key, TOKEN_LIST_SHARDS, now, payload, &nonce, text);
    must(token_open(&key, TOKEN_LIST_SHARDS, now, 0, slice_of(text, n), out, &len, &issued) == 0);
    must(slice_eq(slice_of(out, len), payload));
    char *at = &text[(data[0] | data[1] << 8) % n];
    if ((uint8_t)*at != data[2]) {
        *at = (char)data[2];
        must(token_open(&key, TOKEN_LIST_SHARDS, now, 0, slice_of(text, n), out, &len, &issued) < 0);
    }
}

static void read_numbers(struct slice text)
{
    struct seqnum n;
    struct hash_key k;
    uint32_t version, index;
    if (seqnum_parse(text, &n, &version) == 0 && version == 2) {
        char back[SEQNUM_TEXT_MAX];
        seqnum_format(&n, back);
        must(n.arrival.ms < n.shard.created.ms || slice_eq_str(text, back));
    }
    if (hash_key_parse(text, &k) == 0) {
        char back[HASH_KEY_TEXT_MAX];
        hash_key_format(&k, back);
        must(slice_eq_str(text, back));
    }
    if (shard_id_parse(text, &index) == 0)
        must(index <= SHARD_INDEX_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size && data[0] == 0) {
        open_changed(data + 1, size - 1);
        return 0;
    }
    struct slice text = slice_of(data, size);
    struct shard_iterator it;
    struct stream_arn arn;
    struct consumer_arn consumer;
    must(iterator_open(&key, (struct wall_ms){0}, 300000, text, &it) < 0 || it.issued.ms <= 0 || size == 204);
    if (stream_arn_parse(text, &arn) == 0)
        must(stream_name_valid(arn.name));
    if (consumer_arn_parse(text, &consumer) == 0)
        must(stream_name_valid(consumer.consumer));
    read_numbers(text);
    return 0;
}
