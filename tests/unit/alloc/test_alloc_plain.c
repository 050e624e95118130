/* The k-th allocation fails: decoding of shapes, the configuration, the catalog, a loop's registry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/api/kinesis_shapes.h"
#include "broker/api/registry.h"
#include "broker/catalog/catalog.h"
#include "broker/config.h"
#include "common/wire/shape.h"
#include "tests/lib/alloc_fail.h"

#define RECORDS 200

/* ---- PutRecords --------------------------------------------------------------------------------------------------- */

static char *put_records_body(void)
{
    size_t cap = RECORDS * 800 + 100, at = 0;
    char *body = malloc(cap);
    assert_non_null(body);
    at += (size_t)snprintf(body + at, cap - at, "{\"StreamName\":\"events\",\"Records\":[");
    for (int i = 0; i < RECORDS; i++) {
        char data[601];
        memset(data, 'A', 600);
        data[600] = 0;
        at += (size_t)snprintf(body + at, cap - at, "%s{\"Data\":\"%s\",\"PartitionKey\":\"k\\u00e9%d\"}", i ? "," : "",
                               data, i);
    }
    snprintf(body + at, cap - at, "]}");
    return body;
}

static void decode_scenario(void *ctx)
{
    struct arena arena;
    arena_init(&arena, 4096, 1 << 24);
    struct shape_decoder d = {.arena = &arena};
    struct put_records_input *in = NULL;
    void *out = NULL;
    alloc_fail_begin();
    int rc = shape_decode_json(&d, &put_records_in, slice_str(ctx), &out);
    if (rc >= 0)
        rc = shape_validate(&d, &put_records_in, out);
    bool hit = alloc_fail_end();
    assert_int_equal(rc, hit ? -ENOMEM : 0);
    in = out;
    if (!hit)
        assert_int_equal(in->records.count, RECORDS);
    arena_deinit(&arena);
}

static void a_put_records_is_decoded_or_refused_whichever_allocation_fails(void **state)
{
    char *body = put_records_body();
    assert_true(alloc_sweep(decode_scenario, body) > 5);
    free(body);
}

/* ---- the configuration --------------------------------------------------------------------------------------------- */

static const char yaml[] =
    "data: /tmp/nowhere\n"
    "credentials:\n  - {access_key_id: AKIDEXAMPLE, secret_access_key: wJalr}\n  - {access_key_id: AKID2, "
    "secret_access_key: x}\n"
    "streams:\n  - {name: events, shards: 4, retention: 24h}\n  - {name: bulk, record_size: 2MiB}\n"
    "routes:\n  - {path: /prod/logger, stream: events}\n"
    "deliveries:\n  - name: archive\n    source: events\n    buffer: {size: 1MiB, interval: 60s}\n"
    "    encryption: {age: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]}\n"
    "    sink: file:///tmp/out/!{timestamp:yyyy}/\n";

static void config_scenario(void *ctx)
{
    static const char *const environ_[] = {"HOME=/home/me", "SLUICE_REGION=eu-west-1", NULL};
    const struct config_world world = {.environ = (char *const *)environ_};
    const struct config_args args = {.action = CONFIG_RUN};
    struct config c;
    struct err e = {0};
    memset(&c, 0x5a, sizeof c);
    struct config untouched = c;
    alloc_fail_begin();
    int rc = config_load_text(&args, &world, "folder/sluice.yaml", slice_str(ctx), &c, &e);
    bool hit = alloc_fail_end();
    if (rc < 0) {
        assert_true(hit);
        assert_true(e.text[0] != 0 && e.code == rc);
        assert_memory_equal(&c, &untouched, sizeof c);
        return;
    }
    assert_int_equal(c.stream_count, 2);
    assert_int_equal(c.delivery_count, 1);
    assert_string_equal(c.region, "eu-west-1");
    config_free(&c);
}

static void a_configuration_is_loaded_or_refused_whichever_allocation_fails(void **state)
{
    assert_true(alloc_sweep(config_scenario, (void *)yaml) > 0);
}

/* ---- the catalog in memory -------------------------------------------------------------------------------------------- */

static int count_stream(void *ctx, const struct catalog_stream *s)
{
    ++*(int *)ctx;
    return 0;
}

/* A change that fails has not happened, and the catalog goes on. */
static void catalog_scenario(void *ctx)
{
    struct catalog *c;
    struct catalog_shard shards[3] = {{.index = 0}, {.index = 1}, {.index = 2}};
    struct catalog_stream s = {.name = "events", .retention_ms = 1};
    struct catalog_delivery d = {.name = "archive", .settings_json = "{}"};
    int streams = 0;
    alloc_fail_begin();
    int rc = catalog_open_memory(&c);
    if (rc < 0) {
        assert_true(alloc_fail_end());
        assert_int_equal(rc, -ENOMEM);
        return;
    }
    int added = catalog_stream_add(c, &s, shards, 3);
    int put = catalog_value_put(c, "key", SLICE_LIT("value"));
    int delivery = catalog_delivery_add(c, &d);
    alloc_fail_end();
    assert_true(added == 0 || added == -ENOMEM);
    assert_true(put == 0 || put == -ENOMEM);
    assert_true(delivery == 0 || delivery == -ENOMEM);
    assert_int_equal(catalog_each_stream(c, count_stream, &streams), 0);
    assert_int_equal(streams, added == 0);
    if (added < 0)
        assert_int_equal(catalog_stream_add(c, &s, shards, 3), 0);
    catalog_close(c);
}

static void a_change_of_the_catalog_happens_or_not_whichever_allocation_fails(void **state)
{
    assert_true(alloc_sweep(catalog_scenario, NULL) > 3);
}

/* ---- the registry ------------------------------------------------------------------------------------------------------ */

static void registry_scenario(void *ctx)
{
    struct registry r;
    registry_init(&r, 1);
    struct catalog_shard shard = {.uid = 2, .stream_uid = 1, .state = SHARD_OPEN};
    memset(&shard.last_hash, 0xff, sizeof shard.last_hash);
    unsigned known = 0;
    alloc_fail_begin();
    for (uint64_t uid = 1; uid <= 40; uid++) {
        struct catalog_stream row = {.uid = uid};
        snprintf(row.name, sizeof row.name, "s%u", (unsigned)uid);
        int rc = registry_put(&r, &row, &shard, 1);
        assert_true(rc == 0 || rc == -ENOMEM);
        known += rc == 0;
        assert_ptr_equal(registry_find_uid(&r, uid), registry_find(&r, slice_str(row.name)));
        assert_int_equal(registry_find_uid(&r, uid) != NULL, rc == 0);
        if (rc == 0 && uid % 2) { /* replaced: the old one stays if the new one fails */
            row.retention_ms = 7;
            rc = registry_put(&r, &row, &shard, 1);
            assert_non_null(registry_find_uid(&r, uid));
            assert_int_equal(registry_find_uid(&r, uid)->row.retention_ms, rc == 0 ? 7 : 0);
        }
    }
    alloc_fail_end();
    assert_int_equal(r.count, known);
    assert_int_equal(r.shard_count, known);
    registry_deinit(&r);
}

static void the_registry_stays_whole_whichever_allocation_fails(void **state)
{
    assert_true(alloc_sweep(registry_scenario, NULL) > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_records_is_decoded_or_refused_whichever_allocation_fails),
        cmocka_unit_test(a_configuration_is_loaded_or_refused_whichever_allocation_fails),
        cmocka_unit_test(a_change_of_the_catalog_happens_or_not_whichever_allocation_fails),
        cmocka_unit_test(the_registry_stays_whole_whichever_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
