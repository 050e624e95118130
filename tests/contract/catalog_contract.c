/*
 * The catalog's contract, run on SQLite and on the twin in memory: what either does, the other does. Each case gets a
 * fresh catalog; cases named "..._again" close and open the SQLite one in between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/catalog/catalog.h"

struct fixture {
    bool sqlite;
    char dir[64], path[96];
    struct catalog *c;
};

static void open_it(struct fixture *f)
{
    struct err e = {0};
    int status = f->sqlite ? catalog_open_sqlite(f->path, &f->c, &e) : catalog_open_memory(&f->c);
    if (status < 0)
        fail_msg("%s", e.text);
}

/* The next start: the twin has nothing to come back from. */
static void open_again(struct fixture *f)
{
    if (!f->sqlite)
        return;
    catalog_close(f->c);
    open_it(f);
}

static int set_up(void **state, bool sqlite)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->sqlite = sqlite;
    snprintf(f->dir, sizeof f->dir, "/tmp/sluice-catalog-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/catalog.db", f->dir);
    open_it(f);
    *state = f;
    return 0;
}

static int set_up_sqlite(void **state)
{
    return set_up(state, true);
}

static int set_up_memory(void **state)
{
    return set_up(state, false);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    catalog_close(f->c);
    unlink(f->path);
    assert_int_equal(rmdir(f->dir), 0); /* SQLite left no file behind */
    free(f);
    return 0;
}

/* ---- what is in it ----------------------------------------------------------------------------------------------- */

struct content {
    struct catalog_stream streams[16];
    struct catalog_shard shards[64];
    struct catalog_delivery deliveries[16];
    char settings[16][256];
    uint32_t stream_count, shard_count, delivery_count;
};

static int see_stream(void *ctx, const struct catalog_stream *s)
{
    struct content *k = ctx;
    k->streams[k->stream_count++] = *s;
    return 0;
}

static int see_shard(void *ctx, const struct catalog_shard *s)
{
    struct content *k = ctx;
    k->shards[k->shard_count++] = *s;
    return 0;
}

static int see_delivery(void *ctx, const struct catalog_delivery *d)
{
    struct content *k = ctx;
    snprintf(k->settings[k->delivery_count], sizeof k->settings[0], "%s", d->settings_json);
    k->deliveries[k->delivery_count] = *d;
    k->deliveries[k->delivery_count].settings_json = k->settings[k->delivery_count];
    k->delivery_count++;
    return 0;
}

static struct content *content(struct fixture *f)
{
    static struct content k;
    memset(&k, 0, sizeof k);
    assert_int_equal(catalog_each_stream(f->c, see_stream, &k), 0);
    assert_int_equal(catalog_each_shard(f->c, see_shard, &k), 0);
    assert_int_equal(catalog_each_delivery(f->c, see_delivery, &k), 0);
    return &k;
}

static struct catalog_stream sample_stream(const char *name)
{
    struct catalog_stream s = {.status = STREAM_CREATING,
                               .mode = STREAM_ON_DEMAND,
                               .created = {1763845384567},
                               .retention_ms = 86400000,
                               .retention_bytes = UINT64_MAX,
                               .record_bytes_max = 1 << 20,
                               .next_shard_index = 3};
    snprintf(s.name, sizeof s.name, "%s", name);
    return s;
}

static struct catalog_shard sample_shard(uint32_t index)
{
    struct catalog_shard s = {.index = index,
                              .state = SHARD_OPEN,
                              .parent = -1,
                              .adjacent_parent = -1,
                              .created = {1763845384000},
                              .first_counter = index * 7,
                              .end_counter = UINT64_MAX};
    memset(&s.first_hash, (int)index, 16);
    memset(&s.last_hash, 0xff, 16);
    return s;
}

static struct catalog_stream add_stream(struct fixture *f, const char *name, uint32_t shard_count)
{
    struct catalog_stream s = sample_stream(name);
    struct catalog_shard shards[8];
    for (uint32_t i = 0; i < shard_count; i++)
        shards[i] = sample_shard(i);
    assert_int_equal(catalog_stream_add(f->c, &s, shards, shard_count), 0);
    for (uint32_t i = 0; i < shard_count; i++)
        assert_true(shards[i].uid != 0 && shards[i].stream_uid == s.uid);
    return s;
}

static void assert_same_stream(const struct catalog_stream *a, const struct catalog_stream *b)
{
    assert_string_equal(a->name, b->name);
    assert_true(a->uid == b->uid && a->status == b->status && a->mode == b->mode && a->internal == b->internal);
    assert_true(a->created.ms == b->created.ms && a->retention_ms == b->retention_ms);
    assert_true(a->retention_bytes == b->retention_bytes && a->record_bytes_max == b->record_bytes_max);
    assert_true(a->next_shard_index == b->next_shard_index);
}

static void assert_same_shard(const struct catalog_shard *a, const struct catalog_shard *b)
{
    assert_true(a->uid == b->uid && a->stream_uid == b->stream_uid && a->index == b->index && a->state == b->state);
    assert_memory_equal(&a->first_hash, &b->first_hash, 16);
    assert_memory_equal(&a->last_hash, &b->last_hash, 16);
    assert_true(a->parent == b->parent && a->adjacent_parent == b->adjacent_parent && a->created.ms == b->created.ms);
    assert_true(a->first_counter == b->first_counter && a->end_counter == b->end_counter);
}

/* ---- the cases --------------------------------------------------------------------------------------------------- */

static void a_new_catalog_is_empty(void **state)
{
    struct content *k = content(*state);
    assert_int_equal(k->stream_count + k->shard_count + k->delivery_count, 0);
}

static void a_stream_and_its_shards_are_found_again(void **state)
{
    struct fixture *f = *state;
    struct catalog_stream s = sample_stream("orders");
    struct catalog_shard shards[3] = {sample_shard(2), sample_shard(0), sample_shard(1)};
    shards[0].parent = INT64_C(7);
    shards[0].end_counter = UINT64_MAX - 1;
    s.internal = true;
    assert_int_equal(catalog_stream_add(f->c, &s, shards, 3), 0);
    open_again(f);
    struct content *k = content(f);
    assert_int_equal(k->stream_count, 1);
    assert_int_equal(k->shard_count, 3);
    assert_same_stream(&k->streams[0], &s);
    assert_same_shard(&k->shards[0], &shards[1]);
    assert_same_shard(&k->shards[1], &shards[2]);
    assert_same_shard(&k->shards[2], &shards[0]);
}

static void the_longest_name_fits(void **state)
{
    struct fixture *f = *state;
    char name[CATALOG_NAME_MAX + 1];
    memset(name, 'n', CATALOG_NAME_MAX);
    name[CATALOG_NAME_MAX] = 0;
    add_stream(f, name, 1);
    assert_string_equal(content(f)->streams[0].name, name);
}

static void a_name_is_taken_until_its_stream_is_removed(void **state)
{
    struct fixture *f = *state;
    struct catalog_stream s = add_stream(f, "orders", 2), again = sample_stream("orders");
    struct catalog_shard shard = sample_shard(0);
    assert_int_equal(catalog_stream_add(f->c, &again, &shard, 1), ST_EXISTS);
    assert_true(again.uid == 0 && shard.uid == 0);
    assert_int_equal(catalog_stream_mark_deleting(f->c, s.uid), 0);
    assert_int_equal(catalog_stream_add(f->c, &again, &shard, 1), ST_EXISTS);
    assert_int_equal(catalog_stream_remove(f->c, s.uid), 0);
    assert_int_equal(catalog_stream_add(f->c, &again, &shard, 1), 0);
    assert_int_equal(content(f)->shard_count, 1);
}

static void a_stream_whose_shards_collide_is_not_added_at_all(void **state)
{
    struct fixture *f = *state;
    struct catalog_stream s = sample_stream("orders");
    struct catalog_shard shards[2] = {sample_shard(4), sample_shard(4)};
    assert_int_equal(catalog_stream_add(f->c, &s, shards, 2), ST_EXISTS);
    assert_true(s.uid == 0 && shards[0].uid == 0);
    struct content *k = content(f);
    assert_int_equal(k->stream_count + k->shard_count, 0);
}

static void uids_are_never_used_again(void **state)
{
    struct fixture *f = *state;
    uint64_t highest = 0;
    for (int i = 0; i < 5; i++) {
        struct catalog_stream s = add_stream(f, "orders", 3);
        assert_true(s.uid > highest);
        struct content *k = content(f);
        for (uint32_t n = 0; n < k->shard_count; n++) {
            assert_true(k->shards[n].uid > s.uid);
            if (k->shards[n].uid > highest)
                highest = k->shards[n].uid;
        }
        struct catalog_delivery d = {.name = "archive"};
        assert_int_equal(catalog_delivery_add(f->c, &d), 0);
        assert_true(d.uid > highest);
        highest = d.uid;
        assert_int_equal(catalog_delivery_remove(f->c, d.uid), 0);
        assert_int_equal(catalog_stream_mark_deleting(f->c, s.uid), 0);
        assert_int_equal(catalog_stream_remove(f->c, s.uid), 0);
        open_again(f);
    }
}

static void an_update_changes_everything_but_uid_and_name(void **state)
{
    struct fixture *f = *state;
    struct catalog_stream other = add_stream(f, "other", 1), s = add_stream(f, "orders", 1);
    s.status = STREAM_UPDATING;
    s.mode = STREAM_PROVISIONED;
    s.retention_ms = 1;
    s.retention_bytes = 50;
    s.record_bytes_max = 10 << 20;
    s.next_shard_index = 9;
    snprintf(s.name, sizeof s.name, "renamed");
    assert_int_equal(catalog_stream_update(f->c, &s), 0);
    snprintf(s.name, sizeof s.name, "orders");
    open_again(f);
    struct content *k = content(f);
    assert_same_stream(&k->streams[0], &other);
    assert_same_stream(&k->streams[1], &s);
}

static void what_is_not_there_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct catalog_stream s = sample_stream("orders");
    struct catalog_delivery d = {.name = "archive", .uid = 5};
    size_t len;
    s.uid = 99;
    assert_int_equal(catalog_stream_update(f->c, &s), ST_NOT_FOUND);
    assert_int_equal(catalog_stream_mark_deleting(f->c, 99), ST_NOT_FOUND);
    assert_int_equal(catalog_stream_remove(f->c, 99), ST_NOT_FOUND);
    assert_int_equal(catalog_reshard(f->c, &s, NULL, 0, NULL, 0), ST_NOT_FOUND);
    assert_int_equal(catalog_shard_remove(f->c, 99), ST_NOT_FOUND);
    assert_int_equal(catalog_delivery_update(f->c, &d), ST_NOT_FOUND);
    assert_int_equal(catalog_delivery_remove(f->c, 99), ST_NOT_FOUND);
    assert_int_equal(catalog_value_get(f->c, "none", NULL, 0, &len), ST_NOT_FOUND);
}

static void only_a_deleting_stream_is_removed(void **state)
{
    struct fixture *f = *state;
    struct catalog_stream keep = add_stream(f, "keep", 2), s = add_stream(f, "orders", 3);
    assert_int_equal(catalog_stream_remove(f->c, s.uid), ST_CONFLICT);
    assert_int_equal(content(f)->shard_count, 5);
    assert_int_equal(catalog_stream_mark_deleting(f->c, s.uid), 0);
    open_again(f);
    struct content *k = content(f);
    assert_int_equal(k->streams[1].status, STREAM_DELETING);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(k->shards[i].state, k->shards[i].stream_uid == s.uid ? SHARD_DELETING : SHARD_OPEN);
    assert_int_equal(catalog_stream_remove(f->c, s.uid), 0);
    k = content(f);
    assert_int_equal(k->stream_count, 1);
    assert_int_equal(k->shard_count, 2);
    assert_same_stream(&k->streams[0], &keep);
}

static void a_reshard_changes_stream_parents_and_children_together(void **state)
{
    struct fixture *f = *state;
    struct catalog_stream s = add_stream(f, "orders", 2);
    struct catalog_shard parent = content(f)->shards[0], children[2] = {sample_shard(3), sample_shard(2)};
    parent.state = SHARD_CLOSED;
    parent.end_counter = 1000;
    children[0].parent = children[1].parent = 0;
    s.next_shard_index = 4;
    s.status = STREAM_ACTIVE;
    assert_int_equal(catalog_reshard(f->c, &s, &parent, 1, children, 2), 0);
    open_again(f);
    struct content *k = content(f);
    assert_same_stream(&k->streams[0], &s);
    assert_int_equal(k->shard_count, 4);
    assert_same_shard(&k->shards[0], &parent);
    assert_same_shard(&k->shards[2], &children[1]);
    assert_same_shard(&k->shards[3], &children[0]);
    assert_int_equal(catalog_shard_remove(f->c, parent.uid), 0);
    assert_int_equal(content(f)->shard_count, 3);
}

static void a_reshard_that_fails_in_the_middle_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct catalog_stream s = add_stream(f, "orders", 2), before = s, other = add_stream(f, "other", 1);
    struct catalog_shard changed[2] = {content(f)->shards[0], content(f)->shards[2]}, taken = sample_shard(1);
    struct catalog_shard first = changed[0];
    changed[0].state = SHARD_CLOSED;
    s.next_shard_index = 50;
    assert_true(changed[1].stream_uid == other.uid);
    assert_int_equal(catalog_reshard(f->c, &s, changed, 2, NULL, 0), ST_NOT_FOUND); /* another stream's shard */
    assert_int_equal(catalog_reshard(f->c, &s, changed, 1, &taken, 1), ST_EXISTS);
    assert_true(taken.uid == 0);
    struct content *k = content(f);
    assert_same_stream(&k->streams[0], &before);
    assert_same_shard(&k->shards[0], &first);
    assert_int_equal(k->shard_count, 3);
}

static void a_delivery_is_added_changed_and_removed(void **state)
{
    struct fixture *f = *state;
    struct catalog_delivery d = {.name = "archive",
                                 .source_stream_uid = 77,
                                 .direct_put = true,
                                 .from_config = true,
                                 .version = 1,
                                 .created = {5},
                                 .updated = {6},
                                 .settings_json = "{\"a\":\"\xc3\xbc\"}"};
    assert_int_equal(catalog_delivery_add(f->c, &d), 0);
    struct catalog_delivery again = {.name = "archive"};
    assert_int_equal(catalog_delivery_add(f->c, &again), ST_EXISTS);
    assert_true(again.uid == 0);
    open_again(f);
    struct content *k = content(f);
    assert_int_equal(k->delivery_count, 1);
    assert_true(k->deliveries[0].uid == d.uid && k->deliveries[0].source_stream_uid == 77);
    assert_true(k->deliveries[0].direct_put && k->deliveries[0].from_config && !k->deliveries[0].deleting);
    assert_true(k->deliveries[0].version == 1 && k->deliveries[0].created.ms == 5 && k->deliveries[0].updated.ms == 6);
    assert_string_equal(k->deliveries[0].name, "archive");
    assert_string_equal(k->settings[0], "{\"a\":\"\xc3\xbc\"}");
    d.version = 2;
    d.deleting = true;
    d.direct_put = false;
    d.settings_json = NULL;
    assert_int_equal(catalog_delivery_update(f->c, &d), 0);
    k = content(f);
    assert_true(k->deliveries[0].version == 2 && k->deliveries[0].deleting && !k->deliveries[0].direct_put);
    assert_string_equal(k->settings[0], "");
    assert_int_equal(catalog_delivery_remove(f->c, d.uid), 0);
    assert_int_equal(content(f)->delivery_count, 0);
}

static void values_are_kept_replaced_and_cut_to_the_callers_room(void **state)
{
    struct fixture *f = *state;
    uint8_t out[8] = {0};
    size_t len = 0;
    assert_int_equal(catalog_value_put(f->c, "uid", SLICE_LIT("\0\1\2")), 0);
    assert_int_equal(catalog_value_put(f->c, "empty", SLICE_NULL), 0);
    open_again(f);
    assert_int_equal(catalog_value_get(f->c, "uid", out, sizeof out, &len), 0);
    assert_int_equal(len, 3);
    assert_memory_equal(out, "\0\1\2", 3);
    assert_int_equal(catalog_value_put(f->c, "uid", SLICE_LIT("abcdefghijkl")), 0);
    assert_int_equal(catalog_value_get(f->c, "uid", out, 4, &len), 0);
    assert_int_equal(len, 12);
    assert_memory_equal(out, "abcd\0\0\0\0", 8);
    assert_int_equal(catalog_value_get(f->c, "empty", out, 4, &len), 0);
    assert_int_equal(len, 0);
}

static int stop_at_the_second(void *ctx, const struct catalog_shard *s)
{
    uint32_t *seen = ctx;
    return ++*seen == 2 ? 42 : 0;
}

static void a_visitor_stops_the_walk_with_its_own_value(void **state)
{
    struct fixture *f = *state;
    uint32_t seen = 0;
    add_stream(f, "orders", 5);
    assert_int_equal(catalog_each_shard(f->c, stop_at_the_second, &seen), 42);
    assert_int_equal(seen, 2);
    add_stream(f, "and it still works", 1);
}

#define CASE(f)                                                   \
    cmocka_unit_test_setup_teardown(f, set_up_sqlite, tear_down), \
        cmocka_unit_test_setup_teardown(f, set_up_memory, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_new_catalog_is_empty),
        CASE(a_stream_and_its_shards_are_found_again),
        CASE(the_longest_name_fits),
        CASE(a_name_is_taken_until_its_stream_is_removed),
        CASE(a_stream_whose_shards_collide_is_not_added_at_all),
        CASE(uids_are_never_used_again),
        CASE(an_update_changes_everything_but_uid_and_name),
        CASE(what_is_not_there_is_not_found),
        CASE(only_a_deleting_stream_is_removed),
        CASE(a_reshard_changes_stream_parents_and_children_together),
        CASE(a_reshard_that_fails_in_the_middle_changes_nothing),
        CASE(a_delivery_is_added_changed_and_removed),
        CASE(values_are_kept_replaced_and_cut_to_the_callers_room),
        CASE(a_visitor_stops_the_walk_with_its_own_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
