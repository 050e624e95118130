/*
 * The copying loop. Records are counted and added to the object's size when they begin, so that the decision to cut is
 * made once per record, before its first byte. `cursor.record_done` tells how much of the record (data, then delimiter)
 * is out, for one that did not fit.
 */
#include "firehose/format.h"

static const char *const names[FORMAT_DELIMITER_COUNT] = {
    [FORMAT_DELIMITER_NONE] = "none",
    [FORMAT_DELIMITER_NEWLINE] = "newline",
    [FORMAT_DELIMITER_ALWAYS] = "newline-always",
};

const char *format_delimiter_name(enum format_delimiter d)
{
    return names[d];
}

bool format_delimiter_find(struct slice name, enum format_delimiter *out)
{
    for (int i = 0; i < FORMAT_DELIMITER_COUNT; i++) {
        if (slice_eq_str(name, names[i])) {
            *out = (enum format_delimiter)i;
            return true;
        }
    }
    return false;
}

/* 0 or 1 bytes of delimiter behind this record. */
static size_t delimiter_bytes(enum format_delimiter d, struct slice data)
{
    switch (d) {
    case FORMAT_DELIMITER_ALWAYS:
        return 1;
    case FORMAT_DELIMITER_NEWLINE:
        return !(data.len && data.ptr[data.len - 1] == '\n');
    default:
        return 0;
    }
}

/* The next record in [from, to) into the cursor: 1, 0 at the end, ST_CORRUPT. */
static int next_record(struct format_run *run)
{
    struct format_cursor *c = &run->cursor;
    for (;;) {
        if (!c->entered) {
            if (c->block == run->block_count)
                return 0;
            const struct source_block *b = &run->blocks[c->block];
            c->iter = block_iter_start(&b->header, b->payload);
            c->counter = b->header.base_counter;
            c->entered = true;
        }
        if (c->counter >= run->to)
            return 0;
        int rc = block_iter_next(&c->iter, &c->record);
        if (rc < 0)
            return rc;
        if (rc == 0) {
            c->entered = false;
            c->block++;
        } else if (c->counter++ >= run->from) {
            c->have_record = true;
            c->record_done = 0;
            return 1;
        }
    }
}

/* Counts a record in as it begins. */
static void begin_record(struct format_run *run, size_t bytes)
{
    struct format_cursor *c = &run->cursor;
    if (!run->records) {
        run->first_counter = c->counter - 1;
        run->oldest = run->blocks[c->block].header.arrival;
    }
    run->records++;
    run->bytes += bytes;
    run->next_counter = c->counter;
}

/* Copies as much of the record as fits; true once all of it is out. */
static bool copy_record(struct format_run *run, size_t delimiter)
{
    struct format_cursor *c = &run->cursor;
    struct slice data = c->record.data;
    if (c->record_done < data.len) {
        size_t room = run->out_cap - run->out_len, left = data.len - c->record_done;
        size_t n = left < room ? left : room;
        memcpy(run->out + run->out_len, data.ptr + c->record_done, n);
        run->out_len += n;
        c->record_done += n;
    }
    if (c->record_done == data.len && delimiter && run->out_len < run->out_cap) {
        run->out[run->out_len++] = '\n';
        c->record_done++;
    }
    return c->record_done == data.len + delimiter;
}

void format_records(struct format_run *run)
{
    struct format_cursor *c = &run->cursor;
    run->records = run->bytes = 0;
    run->first_counter = run->next_counter = 0;
    for (;;) {
        if (!c->have_record) {
            int rc = next_record(run);
            if (rc <= 0) {
                run->end = rc < 0 ? FORMAT_CORRUPT : FORMAT_USED_UP;
                return;
            }
        }
        size_t delimiter = delimiter_bytes(run->delimiter, c->record.data);
        size_t whole = c->record.data.len + delimiter;
        if (!c->begun) {
            uint64_t object = run->object_bytes + run->bytes;
            if (run->stop || (object && object + whole > run->object_bytes_max)) {
                run->end = FORMAT_CUT;
                return;
            }
            begin_record(run, whole);
            c->begun = true;
        }
        if (!copy_record(run, delimiter)) {
            run->end = FORMAT_FULL;
            return;
        }
        c->have_record = c->begun = false;
    }
}
