#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/config.h"
#include "broker/config_keys.h"

#define AGE1 "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

static const struct config_args no_args;
static const char *const home_only[] = {"HOME=/home/me", NULL};
static const struct config_world me = {.environ = (char *const *)home_only};

static struct config loaded;

static void load_with(const struct config_args *args, const struct config_world *world, const char *yaml)
{
    struct err e = {0};
    if (config_load_text(args, world, "sluice.yaml", slice_str(yaml), &loaded, &e) < 0)
        fail_msg("%s", e.text);
}

static void load(const char *yaml)
{
    load_with(&no_args, &me, yaml);
}

static void assert_error(const struct config_args *args, const struct config_world *world, const char *yaml,
                         const char *text)
{
    struct err e = {0};
    struct config untouched = {.loops = 77}, c = untouched;
    int status = config_load_text(args, world, "sluice.yaml", slice_str(yaml), &c, &e);
    assert_string_equal(e.text, text);
    assert_true(status < 0 && e.code == status);
    assert_memory_equal(&c, &untouched, sizeof c);
}

/* ---- what is right ----------------------------------------------------------------------------------------------- */

static void nothing_at_all_gives_the_defaults(void **state)
{
    load("");
    assert_string_equal(loaded.data, "/home/me/.local/state/sluice");
    assert_string_equal(loaded.listen.host, "127.0.0.1");
    assert_int_equal(loaded.listen.port, 4567);
    assert_true(loaded.listen.loopback && !loaded.allow_unsigned);
    assert_int_equal(loaded.sync.mode, CONFIG_SYNC_BATCH);
    assert_int_equal(loaded.loops, 0);
    assert_string_equal(loaded.account_id, "000000000000");
    assert_string_equal(loaded.region, "us-east-1");
    assert_int_equal(loaded.iterator_life_ms, 300000);
    assert_int_equal(loaded.limits, CONFIG_LIMITS_NONE);
    assert_int_equal(loaded.disk_reserve.percent, 5);
    assert_int_equal(loaded.log.level, DIAG_INFO);
    assert_int_equal(loaded.stream_count + loaded.route_count + loaded.delivery_count + loaded.credential_count, 0);
    config_free(&loaded);
    load("# only a comment\n");
    config_free(&loaded);
    load("streams:\nroutes: ~\n");
    config_free(&loaded);
}

static void the_example_of_the_documentation_is_understood(void **state)
{
    load("data: /var/lib/sluice\n"
         "listen: 127.0.0.1:4567\n"
         "sync: batch\n"
         "credentials:            # none: loopback only, any signature accepted\n"
         "  - {access_key_id: AKIDEXAMPLE, secret_access_key: wJalr}\n"
         "streams:\n"
         "  - {name: events, shards: 4, retention: 24h}\n"
         "  - {name: bulk, record_size: 2MiB, retention: {time: 7d, size: 50GiB}}\n"
         "routes:\n"
         "  - {path: /prod/logger, stream: events}\n"
         "deliveries:\n"
         "  - name: events-archive\n"
         "    source: events\n"
         "    buffer: {size: 1MiB, interval: 60s}\n"
         "    compression: zstd\n"
         "    encryption: {age: [" AGE1 "]}\n"
         "    sink: file:///var/lib/sluice/out/!{timestamp:yyyy/MM/dd/HH}/\n"
         "  - {name: put, source: direct, compression: 'zstd:19', delimiter: none, start: latest, extension: .log,\n"
         "     sink: 'file:///out'}\n");
    assert_string_equal(loaded.data, "/var/lib/sluice");
    assert_string_equal(loaded.credentials[0].secret_access_key, "wJalr");
    assert_int_equal(loaded.stream_count, 2);
    assert_string_equal(loaded.streams[0].name, "events");
    assert_int_equal(loaded.streams[0].shards, 4);
    assert_int_equal(loaded.streams[0].retention.time_ms, 86400000);
    assert_true(loaded.streams[0].retention.size_bytes == UINT64_MAX);
    assert_int_equal(loaded.streams[1].shards, 1);
    assert_int_equal(loaded.streams[0].record_bytes_max, 1 << 20);
    assert_int_equal(loaded.streams[1].record_bytes_max, 2 << 20);
    assert_int_equal(loaded.streams[1].retention.time_ms, 7 * 86400000);
    assert_true(loaded.streams[1].retention.size_bytes == 50ull << 30);
    assert_string_equal(loaded.routes[0].stream, "events");
    assert_int_equal(loaded.routes[0].auth, CONFIG_AUTH_SIGV4);
    const struct config_delivery *d = loaded.deliveries;
    assert_int_equal(loaded.delivery_count, 2);
    assert_true(strcmp(d[0].source, "events") == 0 && !d[1].source);
    assert_int_equal(d[0].buffer.size_bytes, 1 << 20);
    assert_int_equal(d[0].buffer.interval_ms, 60000);
    assert_int_equal(d[0].compression.codec, CONFIG_COMPRESS_ZSTD);
    assert_int_equal(d[0].compression.level, 1);
    assert_int_equal(d[0].encryption.age.count, 1);
    assert_string_equal(d[0].encryption.age.item[0], AGE1);
    assert_string_equal(d[0].sink, "file:///var/lib/sluice/out/!{timestamp:yyyy/MM/dd/HH}/");
    assert_int_equal(d[0].mark.line, 12);
    assert_int_equal(d[0].sink_mark.line, 17);
    assert_int_equal(d[0].sink_mark.column, 11);
    assert_int_equal(d[1].compression.level, 19);
    assert_int_equal(d[1].delimiter, CONFIG_DELIMITER_NONE);
    assert_int_equal(d[1].start, CONFIG_START_LATEST);
    assert_string_equal(d[1].extension, ".log");
    assert_int_equal(d[1].buffer.size_bytes, 5 << 20);
    config_free(&loaded);
}

static void sizes_durations_and_modes_are_read_in_all_their_forms(void **state)
{
    load("cache: {size: 16777216}\njournal: {size: 8 MiB}\niterator_life: 500ms\nhttp: {body: 1MB, idle: 2m}\n"
         "sync: interval:250\ndisk_reserve: 10GiB\nlimits: aws\nlog: {level: debug}\nio: libuv\nlisten: '[::1]:0'\n"
         "allow_unsigned: yes\n");
    assert_int_equal(loaded.cache.size_bytes, 16 << 20);
    assert_int_equal(loaded.journal.size_bytes, 8 << 20);
    assert_int_equal(loaded.iterator_life_ms, 500);
    assert_int_equal(loaded.http.body_bytes, 1000000);
    assert_int_equal(loaded.http.idle_ms, 120000);
    assert_int_equal(loaded.sync.mode, CONFIG_SYNC_INTERVAL);
    assert_int_equal(loaded.sync.interval_ms, 250);
    assert_true(loaded.disk_reserve.percent == 0 && loaded.disk_reserve.bytes == 10ull << 30);
    assert_int_equal(loaded.limits, CONFIG_LIMITS_AWS);
    assert_int_equal(loaded.log.level, DIAG_DEBUG);
    assert_int_equal(loaded.io, CONFIG_IO_LIBUV);
    assert_string_equal(loaded.listen.host, "::1");
    assert_true(loaded.listen.loopback && loaded.listen.port == 0);
    assert_true(loaded.allow_unsigned);
    config_free(&loaded);
    load("sync: interval:2s\nlisten: localhost:1\nlimits: none\n");
    assert_int_equal(loaded.sync.interval_ms, 2000);
    assert_string_equal(loaded.listen.host, "127.0.0.1");
    config_free(&loaded);
}

static void yaml_aliases_stand_for_what_they_name(void **state)
{
    load("streams:\n- {name: a, retention: &r {time: 2h, size: 1GiB}}\n- {name: b, retention: *r}\n");
    assert_int_equal(loaded.streams[1].retention.time_ms, 7200000);
    config_free(&loaded);
}

/* ---- what is wrong ----------------------------------------------------------------------------------------------- */

static const struct {
    const char *yaml, *error;
} wrong[] = {
    {"deliveries:\n  - {name: a, source: b, sink: 'file:///x', buffer: {size: 12 parsecs}}\n",
     "sluice.yaml:2:60: key 'deliveries[0].buffer.size': '12 parsecs' is not a size (like 1MiB)"},
    {"cache: {size: 1KiB}\n", "sluice.yaml:1:15: key 'cache.size': '1KiB' is out of range: 16MiB to 1TiB"},
    {"cache: {size: 99999999999999999999}\n",
     "sluice.yaml:1:15: key 'cache.size': '99999999999999999999' is not a size (like 1MiB)"},
    {"cache: {size: 99999999999TiB}\n",
     "sluice.yaml:1:15: key 'cache.size': '99999999999TiB' is not a size (like 1MiB)"},
    {"cache: {size: -1}\n", "sluice.yaml:1:15: key 'cache.size': '-1' is not a size (like 1MiB)"},
    {"iterator_life: 5 minutes\n",
     "sluice.yaml:1:16: key 'iterator_life': '5 minutes' is not a duration (like 500ms, 60s, 24h, 7d)"},
    {"iterator_life: 30d\n", "sluice.yaml:1:16: key 'iterator_life': '30d' is out of range: 1ms to 7d"},
    {"streams: [{name: a, retention: 1ms}]\n",
     "sluice.yaml:1:32: key 'streams[0].retention': '1ms' is out of range: 1s to 365d"},
    {"streams: [{name: a, retention: {size: lots}}]\n",
     "sluice.yaml:1:39: key 'streams[0].retention.size': 'lots' is not a size (like 50GiB) or none"},
    {"loops: many\n", "sluice.yaml:1:8: key 'loops': 'many' is not a number"},
    {"loops: 2000\n", "sluice.yaml:1:8: key 'loops': '2000' is out of range: 0 to 1024"},
    {"sync: sometimes\n",
     "sluice.yaml:1:7: key 'sync': 'sometimes' is not a sync mode (batch, interval:<ms> or never)"},
    {"sync: interval:0\n",
     "sluice.yaml:1:7: key 'sync': 'interval:0' is not a sync interval (interval:1 to interval:60000, in ms)"},
    {"limits: awss\n", "sluice.yaml:1:9: key 'limits': 'awss' is not a set of limits (none, aws); did you mean 'aws'?"},
    {"io: epoll\n", "sluice.yaml:1:5: key 'io': 'epoll' is not a way of I/O (auto, io_uring, libuv)"},
    {"allow_unsigned: perhaps\n", "sluice.yaml:1:17: key 'allow_unsigned': 'perhaps' is not true or false"},
    {"account_id: 12\n", "sluice.yaml:1:13: key 'account_id': '12' is not an account id (12 digits; quote it: "
                         "\"000000000000\")"},
    {"region: Europe\n", "sluice.yaml:1:9: key 'region': 'Europe' is not a region (like eu-central-1)"},
    {"disk_reserve: 100%\n",
     "sluice.yaml:1:15: key 'disk_reserve': '100%' is not a share or a size (like 5% or 10GiB)"},
    {"listen: 4567\n", "sluice.yaml:1:9: key 'listen': '4567' is not an address (like 127.0.0.1:4567 or [::1]:4567)"},
    {"listen: example.com:80\n",
     "sluice.yaml:1:9: key 'listen': 'example.com:80' is not an address (like 127.0.0.1:4567 or [::1]:4567)"},
    {"listen: '::1:80'\n",
     "sluice.yaml:1:9: key 'listen': '::1:80' is not an address (like 127.0.0.1:4567 or [::1]:4567)"},
    {"listen: 127.0.0.1:65536\n",
     "sluice.yaml:1:9: key 'listen': '127.0.0.1:65536' is not an address (like 127.0.0.1:4567 or [::1]:4567)"},
    {"lisen: 127.0.0.1:1\n", "sluice.yaml:1:1: key 'lisen': there is no such key; did you mean 'listen'?"},
    {"cache: {colour: red}\n", "sluice.yaml:1:9: key 'cache.colour': there is no such key; there are: size"},
    {"sync: batch\nsync: never\n", "sluice.yaml:2:1: key 'sync': is given twice"},
    {"sync:\n", "sluice.yaml:1:6: key 'sync': a value is missing: a sync mode (batch, interval:<ms> or never)"},
    {"data: ''\n", "sluice.yaml:1:7: key 'data': a value is missing: a path"},
    {"data: \"a\\0b\"\n", "sluice.yaml:1:7: key 'data': holds a NUL byte"},
    {"sync: [batch]\n", "sluice.yaml:1:7: key 'sync': is a list, where a sync mode (batch, interval:<ms> or never) is "
                        "allowed"},
    {"cache: 1GiB\n", "sluice.yaml:1:8: key 'cache': is a plain value, where a mapping is allowed"},
    {"streams: {name: a}\n", "sluice.yaml:1:10: key 'streams': is a mapping, where a list is allowed"},
    {"streams: [a]\n", "sluice.yaml:1:11: key 'streams[0]': is a plain value, where a mapping is allowed"},
    {"streams: [{shards: 2}]\n",
     "sluice.yaml:1:11: key 'streams[0].name': is missing: a stream's name (1 to 128 of a-z "
     "A-Z 0-9 _ . -)"},
    {"streams: [{name: a b}]\n", "sluice.yaml:1:18: key 'streams[0].name': 'a b' is not a stream's name (1 to 128 of "
                                 "a-z A-Z 0-9 _ . -)"},
    {"streams:\n- {name: a}\n- {name: b}\n- {name: a}\n", "sluice.yaml:4:3: key 'streams[2].name': 'a' is given twice"},
    {"streams: [{name: a, shards: 0}]\n", "sluice.yaml:1:29: key 'streams[0].shards': '0' is out of range: 1 to 10000"},
    {"? [a, b]\n: c\n", "sluice.yaml:1:3: a key is a list, where a name is allowed"},
    {"- a\n", "sluice.yaml:1:1: is a list, where a mapping is allowed"},
    {"a: b\n--- \nc: d\n", "sluice.yaml:1:1: key 'a': there is no such key; there are: data, listen, allow_unsigned, "
                           "sync, loops, workers, io, account_id, region, iterator_life, limits, shards_max, "
                           "create_delay, delete_delay, disk_reserve, cache, journal, segments, http, log, origins, "
                           "credentials, streams, routes, deliveries"},
    {"sync: batch\n---\nsync: never\n", "sluice.yaml:3:1: a second document; there may be only one"},
    {"sync: [batch\n", "sluice.yaml:2:1: not YAML: did not find expected ',' or ']', while parsing a flow sequence"},
    {"\tsync: batch\n",
     "sluice.yaml:1:1: not YAML: found character that cannot start any token, while scanning for the next token"},
    {"sync: \xff\xfe\n", "sluice.yaml: byte 6: not YAML: invalid leading UTF-8 octet"},
    {"routes: [{path: logger, stream: a}]\n",
     "sluice.yaml:1:17: key 'routes[0].path': 'logger' is not a path (like /prod/logger; not /, /metrics, /healthz or "
     "below /streams/)"},
    {"routes: [{path: /streams/x, stream: a}]\n",
     "sluice.yaml:1:17: key 'routes[0].path': '/streams/x' is not a path (like /prod/logger; not /, /metrics, /healthz "
     "or below /streams/)"},
    {"routes: [{path: /a, stream: a, auth: sigv4}]\n",
     "sluice.yaml:1:38: key 'routes[0].auth': 'sigv4' needs `credentials`"},
    {"routes: [{path: /a, stream: a, auth: key}]\n", "sluice.yaml:1:38: key 'routes[0].auth': 'key' needs `keys_file`"},
    {"routes: [{path: /a, stream: a, keys_file: /nowhere/keys}]\n",
     "sluice.yaml:1:43: key 'routes[0].keys_file': '/nowhere/keys': No such file or directory"},
    {"credentials: [{access_key_id: A}]\n",
     "sluice.yaml:1:15: key 'credentials[0].secret_access_key': is missing: it or "
     "secret_access_key_file is needed"},
    {"credentials: [{access_key_id: A, secret_access_key: b, secret_access_key_file: c}]\n",
     "sluice.yaml:1:15: key 'credentials[0].secret_access_key': is given besides secret_access_key_file; one of the "
     "two "
     "is allowed"},
    {"credentials: [{access_key_id: A, secret_access_key_file: nowhere}]\n",
     "sluice.yaml:1:15: key 'credentials[0].secret_access_key_file': 'nowhere': No such file or directory"},
    {"deliveries: [{name: a, source: b, sink: 's3://bucket/'}]\n",
     "sluice.yaml:1:41: key 'deliveries[0].sink': 's3://bucket/' is not a sink (like file:///var/lib/sluice/out/)"},
    {"deliveries: [{name: a, source: b, sink: 'file:///a', compression: 'zstd:20'}]\n",
     "sluice.yaml:1:67: key 'deliveries[0].compression': 'zstd:20' is not a compression (none, zstd, or zstd:LEVEL "
     "with "
     "a level from 1 to 19)"},
    {"deliveries: [{name: a, source: b, sink: 'file:///a', encryption: {age: [age1abc]}}]\n",
     "sluice.yaml:1:66: key 'deliveries[0].encryption.age': 'age1abc' is not an age recipient (age1 and 58 "
     "characters)"},
    {"deliveries: [{name: a, source: b, sink: 'file:///a', encryption: {age: [AGE-SECRET-KEY-1QQ]}}]\n",
     "sluice.yaml:1:66: key 'deliveries[0].encryption.age': holds a secret key; the daemon must only know public ones "
     "(age-keygen -y turns it into age1...)"},
    {"deliveries: [{name: a, source: b, sink: 'file:///a', encryption: {age: " AGE1 "}}]\n",
     "sluice.yaml:1:72: key 'deliveries[0].encryption.age': is a plain value, where a list of age recipients (age1...) "
     "is allowed"},
    {"origins: [example.com]\n",
     "sluice.yaml: key 'origins': 'example.com' is not an origin (like https://console.example.com)"},
    {"segments: {min: 64MiB, max: 1MiB}\n", "sluice.yaml: key 'segments.min': is above segments.max"},
    {"listen: 0.0.0.0:80\n", "sluice.yaml:1:9: key 'listen': '0.0.0.0' is not a loopback address, and without "
                             "`credentials` anybody who reaches "
                             "it could read and write; configure credentials, or say --allow-unsigned"},
};

static void every_mistake_is_named_with_file_line_key_and_what_is_allowed(void **state)
{
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++)
        assert_error(&no_args, &me, wrong[i].yaml, wrong[i].error);
}

/* ---- who wins ---------------------------------------------------------------------------------------------------- */

static void the_command_line_wins_over_the_environment_and_that_over_the_file(void **state)
{
    const char *const env[] = {"HOME=/h",
                               "SLUICE_SYNC=never",
                               "SLUICE_LISTEN=127.0.0.1:2",
                               "SLUICE_CACHE_SIZE=32MiB",
                               "SLUICE_",
                               "SLUICE",
                               "SLUICE_HTTP_IDLE=3h",
                               NULL};
    struct config_world world = {.environ = (char *const *)env};
    struct config_args args = {.listen = "127.0.0.1:3", .loops = "7", .data = "d"};
    const char *yaml = "sync: batch\nlisten: 127.0.0.1:1\nloops: 1\ncache: {size: 16MiB}\ndata: from-file\n";
    load_with(&no_args, &world, yaml);
    assert_int_equal(loaded.sync.mode, CONFIG_SYNC_NEVER);
    assert_int_equal(loaded.listen.port, 2);
    assert_int_equal(loaded.loops, 1);
    assert_int_equal(loaded.cache.size_bytes, 32 << 20);
    assert_int_equal(loaded.http.idle_ms, 3 * 3600000);
    config_free(&loaded);
    load_with(&args, &world, yaml);
    assert_int_equal(loaded.listen.port, 3);
    assert_int_equal(loaded.loops, 7);
    assert_string_equal(loaded.data, "d");
    config_free(&loaded);
}

static void errors_of_environment_and_command_line_say_so(void **state)
{
    const char *const sync[] = {"HOME=/h", "SLUICE_SYNC=foo", NULL}, *const nested[] = {"HOME=/h",
                                                                                        "SLUICE_CACHE_SIZE=x", NULL};
    const char *const region[] = {"HOME=/h", "AWS_REGION=Mars!", NULL}, *const any[] = {
                                                                            "HOME=/h", "SLUICE_LISTEN=0.0.0.0:1", NULL};
    const char *const empty[] = {"HOME=/h", "SLUICE_SYNC=", NULL};
    assert_error(&no_args, &(struct config_world){.environ = (char *const *)sync}, "",
                 "environment: SLUICE_SYNC: 'foo' is not a sync mode (batch, interval:<ms> or never)");
    assert_error(&no_args, &(struct config_world){.environ = (char *const *)empty}, "",
                 "environment: SLUICE_SYNC: '' is not a sync mode (batch, interval:<ms> or never)");
    assert_error(&no_args, &(struct config_world){.environ = (char *const *)nested}, "",
                 "environment: SLUICE_CACHE_SIZE: 'x' is not a size (like 1MiB)");
    assert_error(&no_args, &(struct config_world){.environ = (char *const *)region}, "",
                 "environment: AWS_REGION: 'Mars!' is not a region (like eu-central-1)");
    assert_error(
        &no_args, &(struct config_world){.environ = (char *const *)any}, "",
        "environment: SLUICE_LISTEN: '0.0.0.0' is not a loopback address, and without `credentials` anybody who "
        "reaches it could read and write; configure credentials, or say --allow-unsigned");
    assert_error(&(struct config_args){.listen = "4567"}, &me, "",
                 "command line: --listen: '4567' is not an address (like 127.0.0.1:4567 or [::1]:4567)");
    assert_error(
        &(struct config_args){.listen = "[::]:1"}, &me, "",
        "command line: --listen: '::' is not a loopback address, and without `credentials` anybody who reaches "
        "it could read and write; configure credentials, or say --allow-unsigned");
    assert_error(&(struct config_args){.loops = "-1"}, &me, "", "command line: --loops: '-1' is not a number");
}

static void other_addresses_need_credentials_or_an_explicit_word(void **state)
{
    struct config_args any = {.listen = "0.0.0.0:1"}, unsigned_ok = {.listen = "0.0.0.0:1", .allow_unsigned = true};
    load_with(&unsigned_ok, &me, "");
    assert_false(loaded.listen.loopback);
    config_free(&loaded);
    load_with(&any, &me, "credentials: [{access_key_id: A, secret_access_key: b}]\n");
    config_free(&loaded);
    load_with(&any, &me, "allow_unsigned: true\n");
    config_free(&loaded);
    load_with(&(struct config_args){.listen = "127.9.9.9:1"}, &me, "");
    assert_true(loaded.listen.loopback);
    config_free(&loaded);
    load_with(&(struct config_args){.listen = "[::ffff:127.0.0.1]:1"}, &me, "");
    config_free(&loaded);
}

static void the_data_directory_follows_the_user(void **state)
{
    const char *const xdg[] = {"HOME=/h", "XDG_STATE_HOME=/state", NULL}, *const relative[] = {
                                                                              "HOME=/h", "XDG_STATE_HOME=x", NULL};
    load_with(&no_args, &(struct config_world){.root = true}, "");
    assert_string_equal(loaded.data, "/var/lib/sluice");
    config_free(&loaded);
    load_with(&no_args, &(struct config_world){.environ = (char *const *)xdg}, "");
    assert_string_equal(loaded.data, "/state/sluice");
    config_free(&loaded);
    load_with(&no_args, &(struct config_world){.environ = (char *const *)relative}, "");
    assert_string_equal(loaded.data, "/h/.local/state/sluice");
    config_free(&loaded);
    assert_error(&no_args, &(struct config_world){0}, "",
                 "data: no data directory: neither HOME nor XDG_STATE_HOME is set; say --data DIR");
}

static void the_region_comes_from_aws_region_unless_the_file_says_otherwise(void **state)
{
    const char *const env[] = {"HOME=/h", "AWS_REGION=eu-north-1", NULL};
    struct config_world world = {.environ = (char *const *)env};
    load_with(&no_args, &world, "");
    assert_string_equal(loaded.region, "eu-north-1");
    config_free(&loaded);
    load_with(&no_args, &world, "region: eu-west-1\n");
    assert_string_equal(loaded.region, "eu-west-1");
    config_free(&loaded);
}

static void a_misspelt_variable_is_a_warning_and_a_strange_one_is_nothing(void **state)
{
    const char *const env[] = {
        "HOME=/h", "SLUICE_SNYC=never", "SLUICE_SERVICE_HOST=10.0.0.1", "SLUICE_PORT=tcp://1:2", "SLUICE_SYNC=batch",
        NULL};
    load_with(&no_args, &(struct config_world){.environ = (char *const *)env}, "");
    assert_int_equal(loaded.warnings.count, 1);
    assert_string_equal(loaded.warnings.item[0], "variable SLUICE_SNYC is not known; did you mean SLUICE_SYNC?");
    config_free(&loaded);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static char folder[64];

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_folder(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/sluice-config-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"sluice.yaml", "secret", "keys", "recipients", "big"};
    char path[128];
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void files_are_found_beside_the_configuration_that_names_them(void **state)
{
    struct err e = {0};
    write_file("secret", "  s3cret \r\nignored\n");
    write_file("keys", "# keys\n\nk1\n");
    write_file("recipients", "# who reads\n" AGE1 "\n\n");
    write_file("sluice.yaml",
               "credentials: [{access_key_id: A, secret_access_key_file: secret}]\n"
               "routes: [{path: /a, stream: s, keys_file: keys}]\n"
               "deliveries: [{name: d, source: s, sink: 'file:///o', encryption: {age_file: recipients}}]\n"
               "data: here\n");
    struct config_args args = {.config = in_folder("sluice.yaml")};
    assert_int_equal(config_load(&args, &me, &loaded, &e), 0);
    assert_string_equal(loaded.credentials[0].secret_access_key, "s3cret");
    assert_string_equal(loaded.routes[0].keys_file, in_folder("keys"));
    assert_int_equal(loaded.routes[0].keys.count, 1);
    assert_string_equal(loaded.routes[0].keys.item[0], "k1");
    assert_int_equal(loaded.routes[0].auth, CONFIG_AUTH_KEY);
    assert_int_equal(loaded.deliveries[0].encryption.age.count, 1);
    assert_string_equal(loaded.deliveries[0].encryption.age.item[0], AGE1);
    assert_string_equal(loaded.data, in_folder("here"));
    config_free(&loaded);
}

static void the_file_comes_from_the_option_the_variable_or_the_usual_place(void **state)
{
    struct err e = {0};
    char variable[160];
    const char *env[] = {"HOME=/h", variable, NULL};
    write_file("sluice.yaml", "loops: 5\n");
    snprintf(variable, sizeof variable, "SLUICE_CONFIG=%s", in_folder("sluice.yaml"));
    assert_int_equal(config_load(&no_args, &(struct config_world){.environ = (char *const *)env}, &loaded, &e), 0);
    assert_int_equal(loaded.loops, 5);
    config_free(&loaded);
    struct config_world usual = {.environ = (char *const *)home_only, .default_file = in_folder("sluice.yaml")};
    assert_int_equal(config_load(&no_args, &usual, &loaded, &e), 0);
    assert_int_equal(loaded.loops, 5);
    config_free(&loaded);
    usual.default_file = "/nowhere/sluice.yaml";
    assert_int_equal(config_load(&no_args, &usual, &loaded, &e), 0);
    assert_null(loaded.file);
    config_free(&loaded);
    struct config_args args = {.config = "/nowhere/sluice.yaml"};
    assert_int_equal(config_load(&args, &usual, &loaded, &e), -ENOENT);
    assert_string_equal(e.text, "configuration: '/nowhere/sluice.yaml': No such file or directory");
    args.config = folder;
    assert_int_equal(config_load(&args, &usual, &loaded, &e), -EISDIR);
}

static void a_file_that_is_too_large_or_empty_of_sense_is_refused(void **state)
{
    struct err e = {0};
    char yaml[256], text[400], *big = malloc((1 << 20) + 2);
    memset(big, '#', (1 << 20) + 1);
    big[(1 << 20) + 1] = 0;
    write_file("big", big);
    free(big);
    struct config_args args = {.config = in_folder("big")};
    assert_int_equal(config_load(&args, &me, &loaded, &e), ST_LIMIT);
    write_file("secret", "\nlate\n");
    write_file("keys", "# nothing\n");
    write_file("recipients", "\n");
    snprintf(yaml, sizeof yaml, "credentials: [{access_key_id: A, secret_access_key_file: %s}]", in_folder("secret"));
    snprintf(text, sizeof text,
             "sluice.yaml:1:15: key 'credentials[0].secret_access_key_file': '%s': its first line is empty; it is the "
             "secret",
             in_folder("secret"));
    assert_error(&no_args, &me, yaml, text);
    snprintf(yaml, sizeof yaml, "routes: [{path: /a, stream: s, keys_file: %s}]", in_folder("keys"));
    snprintf(text, sizeof text, "sluice.yaml:1:43: key 'routes[0].keys_file': '%s': holds no key (a key a line)",
             in_folder("keys"));
    assert_error(&no_args, &me, yaml, text);
    snprintf(yaml, sizeof yaml, "deliveries: [{name: d, source: s, sink: 'file:///o', encryption: {age_file: %s}}]",
             in_folder("recipients"));
    snprintf(text, sizeof text, "sluice.yaml:1:66: key 'deliveries[0].encryption.age_file': '%s': holds no recipient",
             in_folder("recipients"));
    assert_error(&no_args, &me, yaml, text);
}

/* ---- against what exists ----------------------------------------------------------------------------------------- */

static bool only_old(void *ctx, const char *name)
{
    return strcmp(name, "old") == 0;
}

static void streams_of_routes_and_deliveries_must_be_there_or_be_made(void **state)
{
    struct err e = {0};
    load("streams: [{name: events}]\nroutes: [{path: /a, stream: events}, {path: /b, stream: old}]\n"
         "deliveries: [{name: d, source: direct, sink: 'file:///a'}, {name: e, source: old, sink: 'file:///a'}]\n");
    assert_int_equal(config_check_streams(&loaded, only_old, NULL, &e), 0);
    config_free(&loaded);
    load("streams: [{name: events}]\nroutes:\n- {path: /a, stream: evnets}\n");
    assert_int_equal(config_check_streams(&loaded, only_old, NULL, &e), ST_INVALID);
    assert_string_equal(e.text, "sluice.yaml:3:22: key 'routes[0].stream': there is no stream 'evnets'; did you mean "
                                "'events'?");
    config_free(&loaded);
    load("deliveries:\n- name: d\n  sink: file:///a\n  source: orders\n");
    assert_int_equal(config_check_streams(&loaded, only_old, NULL, &e), ST_INVALID);
    assert_string_equal(e.text, "sluice.yaml:4:11: key 'deliveries[0].source': there is no stream 'orders'; name it "
                                "under `streams` and it is made");
    config_free(&loaded);
}

static void a_later_error_is_given_its_place_in_the_file(void **state)
{
    struct err e = {0};
    load("deliveries:\n- {name: c, source: direct, sink: 'file:///a'}\n- {name: d, source: direct, sink: "
         "'file:///a'}\n");
    err_set(&e, ST_SYNTAX, "the checksum is wrong");
    const struct config_delivery *d = &loaded.deliveries[1];
    assert_int_equal(config_wrap_delivery(&loaded, d, d->sink_mark, "sink", &e), ST_SYNTAX);
    assert_string_equal(e.text, "sluice.yaml:3:35: key 'deliveries[1].sink': the checksum is wrong");
    config_free(&loaded);
}

/* ---- printing ---------------------------------------------------------------------------------------------------- */

static char *printed(const struct config *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    assert_int_equal(config_print(c, f), 0);
    fclose(f);
    return text;
}

static void what_is_printed_reads_back_to_the_same(void **state)
{
    static const char *const files[] = {
        "",
        "sync: interval:5\nlisten: '[::1]:7'\ndisk_reserve: 1000001\naccount_id: '000000000012'\norigins: "
        "['https://a.b']\n"
        "create_delay: 90s\nloops: 3\nlimits: aws\n"
        "credentials: [{access_key_id: \"A: #\", secret_access_key: b}]\n"
        "streams: [{name: '123', shards: 3}, {name: 'null', retention: {time: 25h, size: none}}]\n"
        "routes: [{path: /a, stream: '123', stamp: '@time'}]\n"
        "deliveries: [{name: x, source: direct, sink: 'file:///o/!{timestamp:yyyy}/', compression: none, encryption: "
        "{age: [" AGE1 "]}}]\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        load(files[i]);
        char *first = printed(&loaded);
        config_free(&loaded);
        load(first);
        char *second = printed(&loaded);
        config_free(&loaded);
        assert_string_equal(first, second);
        free(first);
        free(second);
    }
}

static void secrets_are_not_printed(void **state)
{
    load("credentials: [{access_key_id: A, secret_access_key: hush}]\n");
    char *text = printed(&loaded);
    assert_null(strstr(text, "hush"));
    assert_non_null(strstr(text, "secret_access_key: '***'"));
    free(text);
    config_free(&loaded);
}

/* ---- command line ------------------------------------------------------------------------------------------------ */

static int read_args(struct config_args *out, struct err *e, const char *const *words)
{
    char *argv[12] = {(char *)"sluiced"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    return config_args_read(argc, argv, out, e);
}
#define ARGS(out, e, ...) read_args(out, e, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void the_command_line_is_read(void **state)
{
    struct config_args a;
    struct err e = {0};
    assert_int_equal(ARGS(&a, &e), 0);
    assert_true(a.action == CONFIG_RUN && !a.config && !a.data && !a.listen && !a.loops && !a.allow_unsigned);
    assert_int_equal(
        ARGS(&a, &e, "--config", "f", "--data=d", "--listen", "1.2.3.4:5", "--loops", "2", "--allow-unsigned"), 0);
    assert_string_equal(a.config, "f");
    assert_string_equal(a.data, "d");
    assert_string_equal(a.listen, "1.2.3.4:5");
    assert_string_equal(a.loops, "2");
    assert_true(a.allow_unsigned);
    assert_int_equal(ARGS(&a, &e, "--check"), 0);
    assert_int_equal(a.action, CONFIG_CHECK);
    assert_int_equal(ARGS(&a, &e, "--check", "-h", "--print-config"), 0);
    assert_int_equal(a.action, CONFIG_HELP);
}

static void a_wrong_command_line_is_explained(void **state)
{
    struct config_args a = {.loops = "untouched"};
    struct err e = {0};
    assert_int_equal(ARGS(&a, &e, "--lisen", "x"), ST_INVALID);
    assert_string_equal(e.text, "command line: there is no option '--lisen'; did you mean --listen?");
    assert_int_equal(ARGS(&a, &e, "--frobnicate=3"), ST_INVALID);
    assert_string_equal(e.text, "command line: there is no option '--frobnicate=3'; --help lists them");
    assert_int_equal(ARGS(&a, &e, "-x"), ST_INVALID);
    assert_string_equal(e.text, "command line: there is no option '-x'; --help lists them");
    assert_int_equal(ARGS(&a, &e, "--data"), ST_INVALID);
    assert_string_equal(e.text, "command line: --data needs a value; --help tells which");
    assert_int_equal(ARGS(&a, &e, "--check=yes"), ST_INVALID);
    assert_string_equal(e.text, "command line: --check takes no value");
    assert_int_equal(ARGS(&a, &e, "start"), ST_INVALID);
    assert_string_equal(e.text, "command line: 'start' is not an option; --help lists them");
    assert_string_equal(a.loops, "untouched");
}

/* ---- the documentation ------------------------------------------------------------------------------------------- */

static void assert_documented(const char *doc, const struct config_map *map, const char *prefix)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const struct config_key *k = &map->keys[i];
        char path[128], row[256];
        snprintf(path, sizeof path, "%s%s%s", prefix, k->name,
                 k->type == KEY_LIST  ? "[]."
                 : k->type == KEY_MAP ? "."
                                      : "");
        if (k->type == KEY_MAP || k->type == KEY_LIST) {
            assert_documented(doc, k->map, path);
            continue;
        }
        snprintf(row, sizeof row, "| `%s` |", path);
        const char *at = strstr(doc, row);
        if (!at)
            fail_msg("docs/CONFIG.md lacks a row that begins %s", row);
        snprintf(row, sizeof row, "| `%s` |", k->standard ? k->standard : "");
        const char *end = strchr(at, '\n'), *found = k->standard ? strstr(at, row) : at;
        if (!found || found > end)
            fail_msg("docs/CONFIG.md: the row of %s lacks its default %s", path, row);
        for (uint32_t c = 0; k->choices && k->choices[c]; c++) {
            snprintf(row, sizeof row, "`%s`", k->choices[c]);
            found = strstr(at, row);
            if (!found || found > end)
                fail_msg("docs/CONFIG.md: the row of %s lacks the choice %s", path, row);
        }
    }
}

static void every_key_its_default_and_its_choices_are_documented(void **state)
{
    static char doc[65536];
    FILE *f = fopen(SOURCE_DIR "/docs/CONFIG.md", "r");
    assert_non_null(f);
    doc[fread(doc, 1, sizeof doc - 1, f)] = 0;
    fclose(f);
    assert_documented(doc, &config_root, "");
}

static void a_near_miss_is_at_most_two_slips_away(void **state)
{
    static const char *const words[] = {"listen", "sync", "data", "io"};
    assert_string_equal(config_nearest(SLICE_LIT("lsiten"), words, 4), "listen");
    assert_string_equal(config_nearest(SLICE_LIT("sink"), words, 4), "sync");
    assert_string_equal(config_nearest(SLICE_LIT("datta"), words, 4), "data");
    assert_null(config_nearest(SLICE_LIT("colour"), words, 4));
    assert_null(config_nearest(SLICE_LIT("xy"), words, 4));
    assert_null(config_nearest(SLICE_LIT(""), words, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_at_all_gives_the_defaults),
        cmocka_unit_test(the_example_of_the_documentation_is_understood),
        cmocka_unit_test(sizes_durations_and_modes_are_read_in_all_their_forms),
        cmocka_unit_test(yaml_aliases_stand_for_what_they_name),
        cmocka_unit_test(every_mistake_is_named_with_file_line_key_and_what_is_allowed),
        cmocka_unit_test(the_command_line_wins_over_the_environment_and_that_over_the_file),
        cmocka_unit_test(errors_of_environment_and_command_line_say_so),
        cmocka_unit_test(other_addresses_need_credentials_or_an_explicit_word),
        cmocka_unit_test(the_data_directory_follows_the_user),
        cmocka_unit_test(the_region_comes_from_aws_region_unless_the_file_says_otherwise),
        cmocka_unit_test(a_misspelt_variable_is_a_warning_and_a_strange_one_is_nothing),
        cmocka_unit_test_setup_teardown(files_are_found_beside_the_configuration_that_names_them, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(the_file_comes_from_the_option_the_variable_or_the_usual_place, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_file_that_is_too_large_or_empty_of_sense_is_refused, make_folder,
                                        remove_folder),
        cmocka_unit_test(streams_of_routes_and_deliveries_must_be_there_or_be_made),
        cmocka_unit_test(a_later_error_is_given_its_place_in_the_file),
        cmocka_unit_test(what_is_printed_reads_back_to_the_same),
        cmocka_unit_test(secrets_are_not_printed),
        cmocka_unit_test(the_command_line_is_read),
        cmocka_unit_test(a_wrong_command_line_is_explained),
        cmocka_unit_test(every_key_its_default_and_its_choices_are_documented),
        cmocka_unit_test(a_near_miss_is_at_most_two_slips_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
