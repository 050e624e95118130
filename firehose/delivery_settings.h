/*
 * What a delivery is told to do: the settings of one version of a delivery stream, as the configuration file or the API
 * made them. Immutable while in use; a change is a new version. The same JSON text goes into the catalog and into the
 * delivery's journal, which keeps every version that an open intent still names.
 *
 * Pure; any thread.
 */
#ifndef SLUICE_FIREHOSE_DELIVERY_SETTINGS_H
#define SLUICE_FIREHOSE_DELIVERY_SETTINGS_H

#include "common/base/bytebuf.h"
#include "common/base/slice.h"
#include "common/base/status.h"
#include "firehose/age_recipient.h"
#include "firehose/compress.h"
#include "firehose/format.h"

#define DELIVERY_NAME_MAX         64
#define DELIVERY_SOURCE_MAX       128
#define DELIVERY_SINK_MAX         1024
#define DELIVERY_PREFIX_MAX       1024
#define DELIVERY_ARN_MAX          512
#define DELIVERY_RECIPIENTS_MAX   16
#define DELIVERY_EXTENSION_MAX    128
#define DELIVERY_JSON_MAX         16384
#define DELIVERY_BUFFER_BYTES_MIN 1024u         /* the file may go below AWS's 1 MiB */
#define DELIVERY_BUFFER_BYTES_MAX (1024u << 20) /* and above its 128 MiB */
#define DELIVERY_INTERVAL_MS_MAX  (24 * 3600000u)

enum delivery_start {
    DELIVERY_START_OLDEST, /* everything that the source still has */
    DELIVERY_START_LATEST, /* what comes after the delivery was made */
};

struct delivery_settings {
    char name[DELIVERY_NAME_MAX + 1];
    char source[DELIVERY_SOURCE_MAX + 1]; /* a stream's name; "": DirectPut */
    uint32_t version;                     /* 1.., in object names and as VersionId */
    uint64_t buffer_bytes;                /* of records and delimiters, before compression: most that an object holds
                                             (a larger single record gets an object of its own) */
    uint32_t interval_ms;                 /* an object closes when its oldest record has waited so long */
    enum delivery_start start;
    enum format_delimiter delimiter;
    enum compression compression;
    int compression_level;
    uint32_t recipient_count; /* age recipients; 0: not encrypted */
    char recipient[DELIVERY_RECIPIENTS_MAX][AGE_RECIPIENT_TEXT_MAX + 1];
    char sink[DELIVERY_SINK_MAX + 1];           /* "file:///dir/": up to a '/'; holds no expression */
    char prefix[DELIVERY_PREFIX_MAX + 1];       /* with expressions, prefix_expression.h */
    char error_prefix[DELIVERY_PREFIX_MAX + 1]; /* the API's ErrorOutputPrefix, echoed */
    char extension[DELIVERY_EXTENSION_MAX + 1]; /* instead of that of compression and encryption; "": theirs */
    bool time_default; /* append yyyy/MM/dd/HH/ if the prefix has no timestamp expression, as AWS does */
    char bucket_arn[DELIVERY_ARN_MAX + 1]; /* what the API was told, echoed; "": made by the file */
    char role_arn[DELIVERY_ARN_MAX + 1];
};

/* Everything at its default: 5 MiB, 300 s, a newline, zstd level 1, no encryption, version 1. Name and sink are empty. */
void delivery_settings_init(struct delivery_settings *s);
/* Takes a sink as the configuration file has it, "file:///dir/prefix-with-!{expressions}": splits it into sink and
 * prefix at the last '/' before the first expression. Without an expression in the last component that is a folder:
 * "file:///dir" is "file:///dir/". ST_INVALID; fills `e`. */
int delivery_settings_set_sink(struct delivery_settings *s, struct slice url, struct err *e) must_use;
/* Adds an age recipient ("age1..."). ST_INVALID, ST_LIMIT; fills `e`. */
int delivery_settings_add_recipient(struct delivery_settings *s, struct slice text, struct err *e) must_use;
/* "none", "zstd", "zstd:LEVEL" (1..19). ST_INVALID; fills `e`. */
int delivery_settings_set_compression(struct delivery_settings *s, struct slice text, struct err *e) must_use;
/* Checks everything: names, ranges, the sink's scheme, the prefix's expressions. ST_INVALID; `e` names the member. */
int delivery_settings_check(const struct delivery_settings *s, struct err *e) must_use;

/* The canonical JSON: equal settings give equal text. Ask bytebuf_failed. */
void delivery_settings_print(const struct delivery_settings *s, struct bytebuf *out);
/* The inverse; checks too. Unknown members are an error: they belong to a newer sluice. ST_SYNTAX, ST_INVALID; fills
 * `e`. */
int delivery_settings_parse(struct slice json, struct delivery_settings *out, struct err *e) must_use;

#endif
