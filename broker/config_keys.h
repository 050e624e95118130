/*
 * The table of keys: each key of the configuration stands once, with its type, place in struct config, default and what
 * is allowed. Reading the file, the environment and defaults, --print-config and the test that docs/CONFIG.md is
 * complete all run off it. Private to broker/config*.c and its tests.
 *
 * A map is a struct with keys; a list is an array of such structs, its count beside it.
 */
#ifndef SLUICE_BROKER_CONFIG_KEYS_H
#define SLUICE_BROKER_CONFIG_KEYS_H

#include "broker/config.h"

enum key_type {
    KEY_TEXT,        /* const char *; not empty */
    KEY_SECRET,      /* the same, never printed */
    KEY_FILE,        /* const char *; relative to the file that names it */
    KEY_NAME,        /* const char *: a stream's name */
    KEY_SOURCE,      /* the same, or "direct": NULL */
    KEY_ACCOUNT,     /* const char *: 12 digits */
    KEY_REGION,      /* const char * */
    KEY_ROUTE_PATH,  /* const char * */
    KEY_SINK,        /* const char * */
    KEY_BOOL,        /* bool */
    KEY_NUMBER,      /* uint32_t, min..max */
    KEY_SIZE,        /* uint64_t, min..max */
    KEY_SIZE_NONE,   /* the same, or "none": UINT64_MAX */
    KEY_DURATION,    /* int64_t ms, min..max */
    KEY_CHOICE,      /* an enum: the index into choices */
    KEY_ADDRESS,     /* struct config_address */
    KEY_SYNC,        /* struct config_sync */
    KEY_RESERVE,     /* struct config_reserve */
    KEY_COMPRESSION, /* struct config_zip */
    KEY_TEXTS,       /* struct config_texts */
    KEY_MAP,         /* a struct, `map` tells which */
    KEY_LIST,        /* pointer to structs of `map`; their count at count_offset */
};

struct config_map;

struct config_key {
    const char *name;
    enum key_type type;
    uint32_t offset;
    const char *standard; /* the default, as one would write it; NULL: none */
    const char *allowed;  /* "a size (like 1MiB)": completes "'x' is not ..." */
    int64_t min, max;     /* both 0: any */
    const char *const *choices;
    const struct config_map *map;
    uint32_t count_offset;
    uint32_t mark_offset;   /* where the value's place goes; 0: nowhere */
    uint32_t printed_below; /* not printed if the pointer there is set (its content came from that file); 0: printed */
    bool required;
};

struct config_map {
    const struct config_key *keys;
    uint32_t count;
    uint32_t bytes;       /* of the struct */
    uint32_t mark_offset; /* of an element of a list: where its place goes */
    bool has_mark;
    const char *shorthand; /* the key that a plain value in the map's place stands for; NULL: none */
};

extern const struct config_map config_root;

/* ---- config_value.c: text to value and back ---------------------------------------------------------------------- */

/* Sets the value of a scalar key in the struct at `base`. Texts are copied to `arena`; a relative KEY_FILE is put below
 * `folder` (NULL: left as it is). ST_INVALID; `e` says "'x' is not ..." without where. */
int config_value_set(const struct config_key *k, void *base, struct slice text, struct arena *arena, const char *folder,
                     struct err *e) must_use;
/* The value as config_value_set reads it, NUL-terminated in the arena; NULL if it is not set. */
const char *config_value_text(const struct config_key *k, const void *base, struct arena *arena);
/* Sets every key of the map that has a default, nested maps too. */
int config_value_defaults(const struct config_map *map, void *base, struct arena *arena, struct err *e) must_use;
/* The candidate that `word` probably means (at most two slips of the pen), or NULL. */
const char *config_nearest(struct slice word, const char *const *candidates, uint32_t count);
/* True for a list, map or list of texts. */
bool config_key_is_nested(const struct config_key *k);

/* ---- the other files --------------------------------------------------------------------------------------------- */

/* Sets what the YAML text says. ST_SYNTAX, ST_INVALID, -ENOMEM. */
int config_yaml_read(struct config *c, const char *name, struct slice text, struct err *e) must_use;
/* What must fit together, once everything is set and files are read. ST_INVALID. */
int config_check(struct config *c, struct err *e) must_use;
/* Reads secrets, recipients and keys from the files that the configuration names. */
int config_files_read(struct config *c, struct err *e) must_use;

/* "FILE:LINE:COLUMN: key 'KEY': TEXT" (without a file or mark: "configuration: key ..."). Returns ST_INVALID. */
int config_fail(const struct config *c, struct config_mark mark, struct err *e, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Reads a whole file of at most `limit` bytes into the arena. -ENOENT, -EACCES, ST_LIMIT, ...; `e` says "'path': why". */
int config_read_file(struct arena *arena, const char *path, size_t limit, struct slice *out, struct err *e) must_use;

#endif
