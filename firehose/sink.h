/*
 * The sink stage: where objects go. An object becomes visible under its final name at once and complete, or not at all,
 * and never replaces something that is not ours.
 *
 *      sink_object_write ...  bytes in order, one write at a time, invisible
 *      sink_object_stage      all bytes are on stable storage, still invisible; bytes and crc say what they are
 *           (the engine makes the intent durable: key, records, bytes, crc)
 *      sink_object_publish    visible under its key, durably: this is the acknowledgement that the commit follows
 *
 * After a crash an intent without a commit is looked into with sink_object_inspect:
 *      SINK_FOUND_PUBLISHED   the object is there under its key, with the bytes of the intent: only the commit is missing
 *      SINK_FOUND_STAGED      the staged bytes are there and complete: publish
 *      SINK_FOUND_NOTHING     build it again from the same records, stage it, a new intent (same key), publish
 *      SINK_FOUND_FOREIGN     something else has the key: build it under another key
 *
 * One operation at a time an object; `done` never comes inside the call. After a failed operation only publish (if it
 * was publish that failed), inspect and abort are allowed. One loop.
 */
#ifndef SLUICE_FIREHOSE_SINK_H
#define SLUICE_FIREHOSE_SINK_H

#include "common/io/loop.h"

/* A key as it stands behind the sink's base: at most this long (S3's limit is 1,024 too). */
#define SINK_KEY_MAX   1024u
#define SINK_STAGE_MAX 64u

struct sink;
struct sink_object;

enum sink_found { SINK_FOUND_NOTHING, SINK_FOUND_STAGED, SINK_FOUND_PUBLISHED, SINK_FOUND_FOREIGN };

struct sink_ops {
    /* Storage for one object at a time; NULL without memory. Made when a delivery starts. */
    struct sink_object *(*object_create)(struct sink *s);
    void (*object_destroy)(struct sink_object *o);
    void (*write)(struct sink_object *o, struct slice data); /* data lives until done */
    void (*stage)(struct sink_object *o);
    void (*publish)(struct sink_object *o);
    void (*inspect)(struct sink_object *o); /* against o->bytes and o->crc; answers in o->found */
    void (*abort)(struct sink_object *o);   /* drops what is staged; done with 0 always */
    /* Removes staged leftovers of our own (named by the same prefix) but those of `keep`. One at a time; done(s). */
    void (*clean)(struct sink *s, const char *prefix, const char (*keep)[SINK_STAGE_MAX + 1], uint32_t keep_count,
                  void (*done)(struct sink *s, int status));
    void (*destroy)(struct sink *s); /* nothing is in flight */
};

struct sink {
    const struct sink_ops *ops;
    void *owner;
};

struct sink_object {
    struct sink *sink;
    void (*done)(struct sink_object *o); /* the last operation has ended with o->status */
    int status;                          /* 0; -ENOSPC, -EIO, ...; publish: -EEXIST: something foreign has the key */
    const char *what;                    /* on failure: what was tried ("write", "sync the folder"); static */
    enum sink_found found;
    char key[SINK_KEY_MAX + 1];     /* final name, behind the sink's base */
    char stage[SINK_STAGE_MAX + 1]; /* names the staged bytes: another one for each attempt, so that bytes found under
                                        it are those that were synced before the intent of that attempt */
    uint64_t bytes;                 /* written so far; for inspect: what to expect */
    uint32_t crc;                   /* CRC32C of them */
    void *owner;
};

/* Begins an object: nothing happens at the destination yet. */
static inline void sink_object_start(struct sink_object *o, const char *key, const char *stage)
{
    memccpy(o->key, key, 0, sizeof o->key);
    memccpy(o->stage, stage, 0, sizeof o->stage);
    o->key[SINK_KEY_MAX] = o->stage[SINK_STAGE_MAX] = 0;
    o->bytes = 0;
    o->crc = 0;
    o->status = 0;
    o->what = "";
    o->found = SINK_FOUND_NOTHING;
}

/* Makes the sink for a base such as "file:///dir/". ST_INVALID: no sink has that scheme; -ENOMEM. Fills `e`. */
int sink_create(struct loop *loop, const char *base, struct sink **out, struct err *e) must_use;

#endif
