/* The table of keys (see config_keys.h). docs/CONFIG.md explains each one; a test compares the two. */
#include "broker/config_keys.h"

#define AT(type, member) .offset = offsetof(type, member)
#define MAP(table, type)                                                  \
    {                                                                     \
        .keys = table, .count = ARRAY_COUNT(table), .bytes = sizeof(type) \
    }
#define ELEMENT(table, type)                                                                                    \
    {                                                                                                           \
        .keys = table, .count = ARRAY_COUNT(table), .bytes = sizeof(type), .mark_offset = offsetof(type, mark), \
        .has_mark = true                                                                                        \
    }
#define RANGE(least, most) .min = (least), .max = (most)

#define KIB    (1ll << 10)
#define MIB    (1ll << 20)
#define GIB    (1ll << 30)
#define TIB    (1ll << 40)
#define SECOND 1000ll
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

static const char a_size[] = "a size (like 1MiB)";
static const char a_duration[] = "a duration (like 500ms, 60s, 24h, 7d)";
static const char a_number[] = "a number";
static const char a_file[] = "a path";
static const char a_name[] = "a stream's name (1 to 128 of a-z A-Z 0-9 _ . -)";

static const char *const io_choices[] = {"auto", "io_uring", "libuv", NULL};
static const char *const limits_choices[] = {"none", "aws", NULL};
static const char *const level_choices[] = {"debug", "info", "warn", "error", NULL};
static const char *const auth_choices[] = {"auto", "sigv4", "key", "none", NULL};
static const char *const content_choices[] = {"auto", "record", "lines", NULL};
static const char *const start_choices[] = {"oldest", "latest", NULL};
static const char *const delimiter_choices[] = {"newline", "none", NULL};

static const struct config_key retention_keys[] = {
    {"time", KEY_DURATION, AT(struct config_retention, time_ms), "24h", a_duration, RANGE(SECOND, 365 * DAY)},
    {"size", KEY_SIZE_NONE, AT(struct config_retention, size_bytes), "none", "a size (like 50GiB) or none",
     RANGE(MIB, 1024 * TIB)},
};
static const struct config_map retention_map = {.keys = retention_keys,
                                                .count = ARRAY_COUNT(retention_keys),
                                                .bytes = sizeof(struct config_retention),
                                                .shorthand = "time"};

static const struct config_key credential_keys[] = {
    {"access_key_id", KEY_TEXT, AT(struct config_credential, access_key_id), NULL, "a text", .required = true},
    {"secret_access_key", KEY_SECRET, AT(struct config_credential, secret_access_key), NULL, "a text",
     .printed_below = offsetof(struct config_credential, secret_access_key_file)},
    {"secret_access_key_file", KEY_FILE, AT(struct config_credential, secret_access_key_file), NULL, a_file},
};
static const struct config_map credential_map = ELEMENT(credential_keys, struct config_credential);

static const struct config_key stream_keys[] = {
    {"name", KEY_NAME, AT(struct config_stream, name), NULL, a_name, .required = true},
    {"shards", KEY_NUMBER, AT(struct config_stream, shards), "1", a_number, RANGE(1, 10000)},
    {"retention", KEY_MAP, AT(struct config_stream, retention), .map = &retention_map},
    {"record_size", KEY_SIZE, AT(struct config_stream, record_bytes_max), "1MiB", a_size, RANGE(MIB, 10 * MIB)},
};
static const struct config_map stream_map = ELEMENT(stream_keys, struct config_stream);

static const struct config_key route_keys[] = {
    {"path", KEY_ROUTE_PATH, AT(struct config_route, path), NULL,
     "a path (like /prod/logger; not /, /metrics, /healthz or below /streams/)",
     .mark_offset = offsetof(struct config_route, path_mark), .required = true},
    {"stream", KEY_NAME, AT(struct config_route, stream), NULL, a_name,
     .mark_offset = offsetof(struct config_route, stream_mark), .required = true},
    {"auth", KEY_CHOICE, AT(struct config_route, auth), "auto", "a way to sign", .choices = auth_choices,
     .mark_offset = offsetof(struct config_route, auth_mark)},
    {"keys_file", KEY_FILE, AT(struct config_route, keys_file), NULL, a_file,
     .mark_offset = offsetof(struct config_route, keys_file_mark)},
    {"stamp", KEY_TEXT, AT(struct config_route, stamp), NULL, "the name of a JSON field"},
    {"content", KEY_CHOICE, AT(struct config_route, content), "auto", "a way to read the body",
     .choices = content_choices},
    {"key_header", KEY_TEXT, AT(struct config_route, key_header), "x-partition-key", "the name of a header"},
    {"key_query", KEY_TEXT, AT(struct config_route, key_query), "partition-key", "the name of a query parameter"},
};
static const struct config_map route_map = ELEMENT(route_keys, struct config_route);

static const struct config_key buffer_keys[] = {
    {"size", KEY_SIZE, AT(struct config_delivery, buffer.size_bytes), "5MiB", a_size, RANGE(KIB, GIB)},
    {"interval", KEY_DURATION, AT(struct config_delivery, buffer.interval_ms), "300s", a_duration, RANGE(1, DAY)},
};
static const struct config_map buffer_map = MAP(buffer_keys, struct config_delivery);

static const struct config_key encryption_keys[] = {
    {"age", KEY_TEXTS, AT(struct config_delivery, encryption.age), NULL, "a list of age recipients (age1...)",
     .printed_below = offsetof(struct config_delivery, encryption.age_file)},
    {"age_file", KEY_FILE, AT(struct config_delivery, encryption.age_file), NULL, a_file},
};
static const struct config_map encryption_map = MAP(encryption_keys, struct config_delivery);

/* The keys of buffer and encryption have offsets of the delivery itself, so their maps lie at offset 0. */
static const struct config_key delivery_keys[] = {
    {"name", KEY_NAME, AT(struct config_delivery, name), NULL, "a name (1 to 64 of a-z A-Z 0-9 _ . -)", RANGE(1, 64),
     .required = true},
    {"source", KEY_SOURCE, AT(struct config_delivery, source), NULL, "a stream's name, or direct",
     .mark_offset = offsetof(struct config_delivery, source_mark), .required = true},
    {"start", KEY_CHOICE, AT(struct config_delivery, start), "oldest", "a start", .choices = start_choices},
    {"buffer", KEY_MAP, .map = &buffer_map},
    {"compression", KEY_COMPRESSION, AT(struct config_delivery, compression), "zstd",
     "a compression (none, zstd, or zstd:LEVEL with a level from 1 to 19)"},
    {"encryption", KEY_MAP, .map = &encryption_map, .mark_offset = offsetof(struct config_delivery, encryption_mark)},
    {"delimiter", KEY_CHOICE, AT(struct config_delivery, delimiter), "newline", "a delimiter",
     .choices = delimiter_choices},
    {"extension", KEY_TEXT, AT(struct config_delivery, extension), NULL, "a file extension (like .log)"},
    {"sink", KEY_SINK, AT(struct config_delivery, sink), NULL, "a sink (like file:///var/lib/sluice/out/)",
     .mark_offset = offsetof(struct config_delivery, sink_mark), .required = true},
    {"capacity", KEY_SIZE, AT(struct config_delivery, capacity_bytes), "10GiB", a_size, RANGE(MIB, 1024 * TIB)},
};
static const struct config_map delivery_map = ELEMENT(delivery_keys, struct config_delivery);

static const struct config_key cache_keys[] = {
    {"size", KEY_SIZE, AT(struct config, cache.size_bytes), "256MiB", a_size, RANGE(16 * MIB, TIB)},
};
static const struct config_map cache_map = MAP(cache_keys, struct config);

static const struct config_key journal_keys[] = {
    {"size", KEY_SIZE, AT(struct config, journal.size_bytes), "64MiB", a_size, RANGE(4 * MIB, 4 * GIB)},
};
static const struct config_map journal_map = MAP(journal_keys, struct config);

static const struct config_key segments_keys[] = {
    {"min", KEY_SIZE, AT(struct config, segments.min_bytes), "1MiB", a_size, RANGE(64 * KIB, 4 * GIB)},
    {"max", KEY_SIZE, AT(struct config, segments.max_bytes), "64MiB", a_size, RANGE(64 * KIB, 4 * GIB)},
};
static const struct config_map segments_map = MAP(segments_keys, struct config);

static const struct config_key http_keys[] = {
    {"connections", KEY_NUMBER, AT(struct config, http.connections), "16384", a_number, RANGE(1, 1000000)},
    {"body", KEY_SIZE, AT(struct config, http.body_bytes), "16MiB", a_size, RANGE(64 * KIB, GIB)},
    {"memory", KEY_SIZE, AT(struct config, http.memory_bytes), "256MiB", a_size, RANGE(16 * MIB, TIB)},
    {"idle", KEY_DURATION, AT(struct config, http.idle_ms), "120s", a_duration, RANGE(SECOND, DAY)},
    {"request", KEY_DURATION, AT(struct config, http.request_ms), "60s", a_duration, RANGE(SECOND, HOUR)},
};
static const struct config_map http_map = MAP(http_keys, struct config);

static const struct config_key log_keys[] = {
    {"level", KEY_CHOICE, AT(struct config, log.level), "info", "a level", .choices = level_choices},
};
static const struct config_map log_map = MAP(log_keys, struct config);

/* The default of `data` depends on the user (config.c); that of `region` on AWS_REGION. */
static const struct config_key root_keys[] = {
    {"data", KEY_FILE, AT(struct config, data), NULL, a_file},
    {"listen", KEY_ADDRESS, AT(struct config, listen), "127.0.0.1:4567",
     "an address (like 127.0.0.1:4567 or [::1]:4567)"},
    {"allow_unsigned", KEY_BOOL, AT(struct config, allow_unsigned), "false", "true or false"},
    {"sync", KEY_SYNC, AT(struct config, sync), "batch", "a sync mode (batch, interval:<ms> or never)"},
    {"loops", KEY_NUMBER, AT(struct config, loops), "0", a_number, RANGE(0, 1024)},
    {"workers", KEY_NUMBER, AT(struct config, workers), "0", a_number, RANGE(0, 1024)},
    {"io", KEY_CHOICE, AT(struct config, io), "auto", "a way of I/O", .choices = io_choices},
    {"account_id", KEY_ACCOUNT, AT(struct config, account_id), "000000000000",
     "an account id (12 digits; quote it: \"000000000000\")"},
    {"region", KEY_REGION, AT(struct config, region), "us-east-1", "a region (like eu-central-1)"},
    {"iterator_life", KEY_DURATION, AT(struct config, iterator_life_ms), "300s", a_duration, RANGE(1, 7 * DAY)},
    {"limits", KEY_CHOICE, AT(struct config, limits), "none", "a set of limits", .choices = limits_choices},
    {"shards_max", KEY_NUMBER, AT(struct config, shards_max), "10000", a_number, RANGE(1, 1000000)},
    {"create_delay", KEY_DURATION, AT(struct config, create_delay_ms), "0s", a_duration, RANGE(0, HOUR)},
    {"delete_delay", KEY_DURATION, AT(struct config, delete_delay_ms), "0s", a_duration, RANGE(0, HOUR)},
    {"disk_reserve", KEY_RESERVE, AT(struct config, disk_reserve), "5%", "a share or a size (like 5% or 10GiB)"},
    {"cache", KEY_MAP, .map = &cache_map},
    {"journal", KEY_MAP, .map = &journal_map},
    {"segments", KEY_MAP, .map = &segments_map},
    {"http", KEY_MAP, .map = &http_map},
    {"log", KEY_MAP, .map = &log_map},
    {"origins", KEY_TEXTS, AT(struct config, origins), NULL, "a list of origins (like https://console.example.com)"},
    {"credentials", KEY_LIST, AT(struct config, credentials), .map = &credential_map,
     .count_offset = offsetof(struct config, credential_count)},
    {"streams", KEY_LIST, AT(struct config, streams), .map = &stream_map,
     .count_offset = offsetof(struct config, stream_count)},
    {"routes", KEY_LIST, AT(struct config, routes), .map = &route_map,
     .count_offset = offsetof(struct config, route_count)},
    {"deliveries", KEY_LIST, AT(struct config, deliveries), .map = &delivery_map,
     .count_offset = offsetof(struct config, delivery_count)},
};
const struct config_map config_root = MAP(root_keys, struct config);
