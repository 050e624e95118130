/* Encoding of the log's frame bodies and file names (log_format.h). Pure; bytes from disk are checked, never trusted. */
#include "broker/log/log_format.h"

#include "common/frame/little_endian.h"

#include <stdio.h>

void log_entry_write(uint8_t *to, const struct log_entry *e)
{
    put_le64(to, e->uid);
    put_le32(to + 8, e->flags);
    put_le32(to + 12, e->shard_epoch);
    put_le64(to + 16, e->first_counter);
    put_le64(to + 24, e->segment_next);
    put_le64(to + 32, e->next);
    put_le64(to + 40, e->segment_base);
    put_le64(to + 48, e->segment_generation);
    put_le64(to + 56, e->segment_end);
    put_le64(to + 64, e->segment_size);
    put_le32(to + 72, e->segment_crc);
    put_le32(to + 76, 0);
    put_le64(to + 80, (uint64_t)e->last_arrival.ms);
    put_le64(to + 88, e->disk_bytes);
    put_le64(to + 96, e->not_before);
}

void log_entry_read(const uint8_t *from, struct log_entry *out)
{
    *out = (struct log_entry){
        .uid = get_le64(from),
        .flags = get_le32(from + 8),
        .shard_epoch = get_le32(from + 12),
        .first_counter = get_le64(from + 16),
        .segment_next = get_le64(from + 24),
        .next = get_le64(from + 32),
        .segment_base = get_le64(from + 40),
        .segment_generation = get_le64(from + 48),
        .segment_end = get_le64(from + 56),
        .segment_size = get_le64(from + 64),
        .segment_crc = get_le32(from + 72),
        .last_arrival = {(int64_t)get_le64(from + 80)},
        .disk_bytes = get_le64(from + 88),
        .not_before = get_le64(from + 96),
    };
}

void log_proof_write(uint8_t *to, struct log_proof p)
{
    put_le64(to, p.uid);
    put_le64(to + 8, p.next);
}

struct log_proof log_proof_read(const uint8_t *from)
{
    return (struct log_proof){get_le64(from), get_le64(from + 8)};
}

void log_head_write(uint8_t *to, const struct log_head *h)
{
    put_le64(to, h->round);
    put_le32(to + 8, h->loop_index);
    put_le32(to + 12, h->loop_count);
    put_le32(to + 16, h->sync);
    put_le32(to + 20, h->copy);
    put_le32(to + 24, h->journals);
    put_le32(to + 28, h->entries);
}

int log_head_read(struct slice body, struct log_head *out, const uint8_t **out_journals, const uint8_t **out_entries)
{
    if (body.len < LOG_HEAD_BYTES)
        return ST_CORRUPT;
    struct log_head h = {
        .round = get_le64(body.ptr),
        .loop_index = get_le32(body.ptr + 8),
        .loop_count = get_le32(body.ptr + 12),
        .sync = get_le32(body.ptr + 16),
        .copy = get_le32(body.ptr + 20),
        .journals = get_le32(body.ptr + 24),
        .entries = get_le32(body.ptr + 28),
    };
    uint64_t want = LOG_HEAD_BYTES + (uint64_t)h.journals * LOG_PROOF_BYTES + (uint64_t)h.entries * LOG_ENTRY_BYTES;
    if (body.len != want || h.loop_index >= h.loop_count || h.sync > LOG_SYNC_NEVER)
        return ST_CORRUPT;
    *out = h;
    *out_journals = body.ptr + LOG_HEAD_BYTES;
    *out_entries = *out_journals + (size_t)h.journals * LOG_PROOF_BYTES;
    return 0;
}

void log_round_head_write(uint8_t *to, const struct log_round_head *h)
{
    put_le64(to, h->round);
    put_le64(to + 8, h->oldest_generation);
    put_le32(to + 16, h->flags);
    put_le32(to + 20, h->proofs);
    put_le32(to + 24, h->entries);
    put_le32(to + 28, 0);
}

int log_round_head_read(struct slice body, struct log_round_head *out, const uint8_t **out_proofs,
                        const uint8_t **out_entries)
{
    if (body.len < LOG_ROUND_BYTES)
        return ST_CORRUPT;
    struct log_round_head h = {
        .round = get_le64(body.ptr),
        .oldest_generation = get_le64(body.ptr + 8),
        .flags = get_le32(body.ptr + 16),
        .proofs = get_le32(body.ptr + 20),
        .entries = get_le32(body.ptr + 24),
    };
    uint64_t want = LOG_ROUND_BYTES + (uint64_t)h.proofs * LOG_PROOF_BYTES + (uint64_t)h.entries * LOG_ENTRY_BYTES;
    if (body.len != want)
        return ST_CORRUPT;
    *out = h;
    *out_proofs = body.ptr + LOG_ROUND_BYTES;
    *out_entries = *out_proofs + (size_t)h.proofs * LOG_PROOF_BYTES;
    return 0;
}

void log_segment_head_write(uint8_t *to, const struct log_segment_head *h)
{
    put_le64(to, h->base);
    put_le64(to + 8, h->previous_base);
    put_le64(to + 16, h->previous_generation);
    put_le64(to + 24, h->previous_end);
    put_le64(to + 32, (uint64_t)h->last_arrival.ms);
    put_le64(to + 40, h->size);
    put_le32(to + 48, 0);
    put_le32(to + 52, h->previous_crc);
    put_le32(to + 56, h->flags);
    put_le32(to + 60, 0);
}

int log_segment_head_read(struct slice body, struct log_segment_head *out)
{
    if (body.len < LOG_SEGMENT_BYTES)
        return ST_CORRUPT;
    *out = (struct log_segment_head){
        .base = get_le64(body.ptr),
        .previous_base = get_le64(body.ptr + 8),
        .previous_generation = get_le64(body.ptr + 16),
        .previous_end = get_le64(body.ptr + 24),
        .last_arrival = {(int64_t)get_le64(body.ptr + 32)},
        .size = get_le64(body.ptr + 40),
        .previous_crc = get_le32(body.ptr + 52),
        .flags = get_le32(body.ptr + 56),
    };
    return 0;
}

void log_path_journal_dir(char out[LOG_PATH_MAX], const char *dir, uint32_t loop_index)
{
    snprintf(out, LOG_PATH_MAX, "%s/journal/%u", dir, loop_index);
}

void log_path_journal(char out[LOG_PATH_MAX], const char *dir, uint32_t loop_index, uint64_t sequence)
{
    snprintf(out, LOG_PATH_MAX, "%s/journal/%u/%016llx.jnl", dir, loop_index, (unsigned long long)sequence);
}

void log_path_shard_dir(char out[LOG_PATH_MAX], const char *dir, uint64_t uid)
{
    snprintf(out, LOG_PATH_MAX, "%s/shards/%016llx", dir, (unsigned long long)uid);
}

void log_path_segment(char out[LOG_PATH_MAX], const char *dir, uint64_t uid, uint64_t base)
{
    snprintf(out, LOG_PATH_MAX, "%s/shards/%016llx/%016llx.seg", dir, (unsigned long long)uid,
             (unsigned long long)base);
}

void log_path_index(char out[LOG_PATH_MAX], const char *dir, uint64_t uid, uint64_t base)
{
    snprintf(out, LOG_PATH_MAX, "%s/shards/%016llx/%016llx.idx", dir, (unsigned long long)uid,
             (unsigned long long)base);
}

void log_path_replacing(char path[LOG_PATH_MAX])
{
    size_t len = strlen(path);
    snprintf(path + len, LOG_PATH_MAX - len, ".new");
}

bool log_name_parse(const char *name, const char *suffix, uint64_t *out)
{
    uint64_t v = 0;
    for (int i = 0; i < 16; i++) {
        char c = name[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                                                : 16;
        if (digit == 16)
            return false;
        v = v << 4 | digit;
    }
    if (strcmp(name + 16, suffix) != 0)
        return false;
    *out = v;
    return true;
}
