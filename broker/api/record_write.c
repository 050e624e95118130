/* The Records of a GetRecords answer; see record_write.h. */
#include "broker/api/record_write.h"

#include <stdio.h>

#include "common/wire/base64.h"
#include "common/wire/json_write.h"

static const char number_name[] = "{\"SequenceNumber\":\"";
static const char data_name[] = ",\"Data\":\"";
static const char key_name[] = "\",\"PartitionKey\":";

/* Fixed parts of a record: the names above, the number, `","` and `}` around them. */
#define RECORD_FIXED_BYTES 192u

static uint8_t *put(uint8_t *to, const void *from, size_t len)
{
    memcpy(to, from, len);
    return to + len;
}

/* Keys are written as they are if they need no escape: nearly always. */
static bool key_is_plain(struct slice key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.ptr[i] < 0x20 || key.ptr[i] == '"' || key.ptr[i] == '\\')
            return false;
    return true;
}

static void write_record(struct record_writer *w, const char *number, struct slice arrival,
                         const struct block_record *r)
{
    size_t base64_len = base64_encoded_len(r->data.len);
    bool plain = key_is_plain(r->key);
    uint8_t *begin = bytebuf_reserve(w->out, RECORD_FIXED_BYTES + arrival.len + base64_len + r->key.len);
    if (!begin)
        return;
    uint8_t *to = begin;
    if (w->records)
        *to++ = ',';
    to = put(to, number_name, sizeof(number_name) - 1);
    to = put(to, number, SEQNUM_DIGITS);
    *to++ = '"';
    to = put(to, arrival.ptr, arrival.len);
    to = put(to, data_name, sizeof(data_name) - 1);
    base64_encode(r->data, (char *)to);
    to += base64_len;
    to = put(to, key_name, sizeof(key_name) - 1);
    if (plain) {
        *to++ = '"';
        to = put(to, r->key.ptr, r->key.len);
        *to++ = '"';
    }
    bytebuf_advance(w->out, (size_t)(to - begin));
    if (!plain) {
        struct json_writer json;
        json_writer_init(&json, w->out);
        json_write_string(&json, r->key);
    }
    bytebuf_byte(w->out, '}');
}

/* `,"ApproximateArrivalTimestamp":1763845384.567`, the same for all records of a block. */
static struct slice arrival_text(struct wall_ms arrival, char out[80])
{
    int n = snprintf(out, 80, ",\"ApproximateArrivalTimestamp\":%lld.%03d", (long long)(arrival.ms / 1000),
                     (int)(arrival.ms % 1000));
    return slice_of(out, (size_t)n);
}

int record_write_block(struct record_writer *w, const struct block_header *h, struct slice payload)
{
    struct block_iter it = block_iter_start(h, payload);
    struct block_record r;
    struct seqnum_run run;
    char text[80];
    struct slice arrival = arrival_text(h->arrival, text);
    uint64_t counter = h->base_counter;
    bool running = false;
    int more;
    for (; (more = block_iter_next(&it, &r)) > 0; counter++) {
        if (counter < w->next_counter)
            continue;
        uint64_t bytes = r.key.len + r.data.len;
        if (!w->records_left || (w->records && bytes > w->bytes_left)) {
            w->full = true;
            return 0;
        }
        if (running) {
            seqnum_run_next(&run);
        } else {
            const struct seqnum first = {w->shard, counter, h->arrival};
            seqnum_run_start(&run, &first);
            running = true;
        }
        write_record(w, run.text, arrival, &r);
        w->next_counter = counter + 1;
        w->last_arrival = h->arrival;
        w->records++;
        w->records_left--;
        w->bytes += bytes;
        w->bytes_left -= bytes < w->bytes_left ? bytes : w->bytes_left;
    }
    w->full = !w->records_left || !w->bytes_left;
    return more;
}
