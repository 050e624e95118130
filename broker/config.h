/*
 * The daemon's configuration: one YAML file, SLUICE_* environment variables, the command line; everything has a
 * default. Later wins: default < file < environment < command line. Every key: docs/CONFIG.md.
 *
 * An error is one line that names where, which key, and what is allowed:
 *     sluice.yaml:14:21: key 'deliveries[0].buffer.size': '12 parsecs' is not a size (like 1MiB)
 *     environment: SLUICE_SYNC: 'foo' is not a sync mode (batch, interval:<ms> or never)
 *     command line: --listen: '4567' is not an address (like 127.0.0.1:4567)
 *
 * A struct config is read-only once loaded; all of its memory is its own arena. The main thread loads it before any
 * loop runs: this is the only part of the daemon that reads files directly.
 *
 * Files: config_keys.c (the table of keys: names, types, defaults), config_value.c (text to value), config_yaml.c (the
 * file), config_check.c (what must fit together), config_args.c (command line, help), config_print.c (--print-config),
 * config.c (the order of it all).
 */
#ifndef SLUICE_BROKER_CONFIG_H
#define SLUICE_BROKER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/diag.h"
#include "common/base/slice.h"
#include "common/base/status.h"

/* Where in the file something stands, from 1; line 0: not from the file. */
struct config_mark {
    uint32_t line, column;
};

enum config_sync_mode { CONFIG_SYNC_BATCH, CONFIG_SYNC_INTERVAL, CONFIG_SYNC_NEVER };
enum config_compression { CONFIG_COMPRESS_NONE, CONFIG_COMPRESS_ZSTD };
enum config_delimiter { CONFIG_DELIMITER_NEWLINE, CONFIG_DELIMITER_NONE };
enum config_start { CONFIG_START_OLDEST, CONFIG_START_LATEST };
/* AUTO: sigv4 once credentials exist, else none; resolved by config_load, so never seen afterwards. */
enum config_auth { CONFIG_AUTH_AUTO, CONFIG_AUTH_SIGV4, CONFIG_AUTH_KEY, CONFIG_AUTH_NONE };
/* AUTO: `application/x-ndjson` is a record a line, anything else one record. */
enum config_content { CONFIG_CONTENT_AUTO, CONFIG_CONTENT_RECORD, CONFIG_CONTENT_LINES };
enum config_limits { CONFIG_LIMITS_NONE, CONFIG_LIMITS_AWS };
enum config_io { CONFIG_IO_AUTO, CONFIG_IO_URING, CONFIG_IO_LIBUV };

struct config_address {
    char host[64]; /* numeric, without brackets: what struct net_address takes */
    uint16_t port; /* 0: any */
    bool loopback;
};

struct config_sync {
    enum config_sync_mode mode;
    uint32_t interval_ms; /* for INTERVAL */
};

/* A size, or a share of the file system. */
struct config_reserve {
    uint64_t bytes;   /* if percent is 0 */
    uint32_t percent; /* 1..99 */
};

struct config_zip {
    enum config_compression codec;
    int32_t level; /* of zstd */
};

struct config_retention {
    int64_t time_ms;
    uint64_t size_bytes; /* a shard; UINT64_MAX: no limit */
};

struct config_credential {
    struct config_mark mark;
    const char *access_key_id;
    const char *secret_access_key; /* the file's content if it came from one */
    const char *secret_access_key_file;
};

struct config_stream {
    struct config_mark mark;
    const char *name;
    uint32_t shards;
    struct config_retention retention;
    uint64_t record_bytes_max;
};

struct config_texts {
    const char *const *item;
    uint32_t count;
};

struct config_route {
    struct config_mark mark, path_mark, stream_mark, auth_mark, keys_file_mark;
    const char *path;   /* "/prod/logger" */
    const char *stream; /* its name */
    enum config_auth auth;
    const char *keys_file;    /* for auth: key */
    struct config_texts keys; /* its content: the accepted x-api-key values */
    const char *stamp;        /* the JSON field that gets the arrival time; NULL: none */
    enum config_content content;
    const char *key_header; /* the request header that holds the partition key */
    const char *key_query;  /* the query parameter that holds it */
};

struct config_delivery {
    struct config_mark mark, source_mark, encryption_mark, sink_mark;
    const char *name;
    const char *source; /* a stream's name; NULL: direct, by the Firehose PutRecord operations */
    enum config_start start;
    struct {
        uint64_t size_bytes; /* before compression */
        int64_t interval_ms;
    } buffer;
    struct config_zip compression;
    struct {
        struct config_texts age; /* recipients, from `age` or age_file; count 0: not encrypted */
        const char *age_file;
    } encryption;
    enum config_delimiter delimiter;
    const char *extension;   /* instead of that of compression and encryption; NULL: theirs */
    const char *sink;        /* file:///absolute/prefix, with expressions */
    uint64_t capacity_bytes; /* of a direct delivery's internal stream */
};

struct config {
    const char *file; /* NULL: none */
    const char *data;
    struct config_address listen;
    bool allow_unsigned;
    struct config_sync sync;
    uint32_t loops;   /* 0: max(1, CPUs / 2) */
    uint32_t workers; /* 0: CPUs */
    enum config_io io;
    const char *account_id, *region;
    int64_t iterator_life_ms;
    enum config_limits limits;
    uint32_t shards_max; /* of all streams */
    int64_t create_delay_ms, delete_delay_ms;
    struct config_reserve disk_reserve;
    struct {
        uint64_t size_bytes; /* of the whole daemon: each loop gets its share */
    } cache;
    struct {
        uint64_t size_bytes;
    } journal;
    struct {
        uint64_t min_bytes, max_bytes;
    } segments;
    struct {
        uint32_t connections;
        uint64_t body_bytes, memory_bytes;
        int64_t idle_ms, request_ms;
    } http;
    struct {
        enum diag_level level;
    } log;
    struct config_texts origins; /* Origin headers that may post */
    struct config_credential *credentials;
    uint32_t credential_count;
    struct config_stream *streams;
    uint32_t stream_count;
    struct config_route *routes;
    uint32_t route_count;
    struct config_delivery *deliveries;
    uint32_t delivery_count;
    struct config_texts warnings; /* for the daemon to log, such as a misspelt SLUICE_ variable */
    const char *listen_origin;    /* private: where `listen` was said, for messages */
    struct arena arena;           /* private: owns everything above */
};

/* What sluiced was asked to do. */
enum config_action { CONFIG_RUN, CONFIG_CHECK, CONFIG_PRINT, CONFIG_VERSION, CONFIG_HELP };

struct config_args {
    enum config_action action;
    const char *config, *data, *listen, *loops; /* NULL: not given; borrowed from argv */
    bool allow_unsigned;
};

/* Reads sluiced's command line. ST_INVALID: unknown option, missing or surplus argument. Fills `e`. */
int config_args_read(int argc, char **argv, struct config_args *out, struct err *e) must_use;
/* The text of --help. */
void config_help(FILE *out);

#define CONFIG_DEFAULT_FILE "/etc/sluice/sluice.yaml"

/* Where the user's values come from, besides the command line; lent for the call. */
struct config_world {
    const char *default_file; /* read if it is there and no other file is named; NULL: none */
    char *const *environ;     /* as environ(7); NULL: none */
    bool root;                /* decides the default data directory */
};

/* Loads and checks everything: defaults, the file (args->config, else SLUICE_CONFIG, else
 * world->default_file if it exists), the environment, the
 * command line, the files that it names (secrets, keys, recipients), what must fit together. On success *out is to be
 * freed by config_free; on failure it is untouched and `e` holds the line to print. ST_INVALID, ST_SYNTAX (not YAML),
 * -ENOENT, -EACCES, -ENOMEM, ... */
int config_load(const struct config_args *args, const struct config_world *world, struct config *out,
                struct err *e) must_use;
/* The same with the file's text in memory (`name` for messages, and what relative paths are relative to). For tests
 * and the fuzz target. */
int config_load_text(const struct config_args *args, const struct config_world *world, const char *name,
                     struct slice text, struct config *out, struct err *e) must_use;
void config_free(struct config *c);

/* Every route's stream and every delivery's source is in `streams` or exists already. `exists` is asked for the
 * latter (from the catalog); the error names file, line and key, and a near miss. ST_INVALID. */
int config_check_streams(const struct config *c, bool (*exists)(void *ctx, const char *name), void *ctx,
                         struct err *e) must_use;
/* Puts "FILE:LINE:COLUMN: key 'deliveries[1].sink': " before the text of `e`, for errors that are found later (an age
 * recipient that is none, a folder that can't be written). `key` is below the delivery ("sink", "encryption"), `mark`
 * one of its marks. Returns e's code. */
int config_wrap_delivery(const struct config *c, const struct config_delivery *d, struct config_mark mark,
                         const char *key, struct err *e);

/* Writes the effective configuration as YAML that config_load reads back; secrets that stand in the file itself are
 * shown as ***. -EIO, -ENOMEM. */
int config_print(const struct config *c, FILE *out) must_use;

#endif
