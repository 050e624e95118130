/*
 * What is SQLite's alone: opening, older and newer and foreign databases, damage, a second owner, failing writes, and
 * kill -9. The kill test drives the same deterministic operations through a child's database and through the twin in
 * memory: after each kill the database must equal the twin after all acknowledged operations, or after one more (whose
 * acknowledgement the kill cut off), and nothing in between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/catalog/catalog.h"
#include "broker/catalog/catalog_schema.h"

static char dir[64], path[128];

static int set_up(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/sluice-catalog-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/catalog.db", dir);
    return 0;
}

static int tear_down(void **state)
{
    char wal[160];
    snprintf(wal, sizeof wal, "%s-wal", path);
    unlink(wal);
    unlink(path);
    return rmdir(dir);
}

static struct catalog *open_now(void)
{
    struct catalog *c = NULL;
    struct err e = {0};
    if (catalog_open_sqlite(path, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

static void assert_refused(int status, const char *text)
{
    struct catalog *c = NULL;
    struct err e = {0};
    assert_int_equal(catalog_open_sqlite(path, &c, &e), status);
    assert_null(c);
    char want[512];
    snprintf(want, sizeof want, "catalog '%s': %s", path, text);
    assert_string_equal(e.text, want);
}

/* Runs SQL as another program would. */
static void raw(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void run_file(const char *name)
{
    static char sql[65536];
    char file[512];
    snprintf(file, sizeof file, "%s/tests/vectors/catalog/%s", SOURCE_DIR, name);
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    size_t n = fread(sql, 1, sizeof sql - 1, f);
    sql[n] = 0;
    fclose(f);
    raw(sql);
}

static int dump_stream(void *ctx, const struct catalog_stream *s)
{
    fprintf(ctx, "stream %llu %s %d %d %d %lld %lld %llu %u %u\n", (unsigned long long)s->uid, s->name, s->status,
            s->mode, s->internal, (long long)s->created.ms, (long long)s->retention_ms,
            (unsigned long long)s->retention_bytes, s->record_bytes_max, s->next_shard_index);
    return 0;
}

static int dump_shard(void *ctx, const struct catalog_shard *s)
{
    fprintf(ctx, "shard %llu %llu %u %d %02x %02x %lld %lld %lld %llu %llu\n", (unsigned long long)s->uid,
            (unsigned long long)s->stream_uid, s->index, s->state, s->first_hash.byte[0], s->last_hash.byte[0],
            (long long)s->parent, (long long)s->adjacent_parent, (long long)s->created.ms,
            (unsigned long long)s->first_counter, (unsigned long long)s->end_counter);
    return 0;
}

static int dump_delivery(void *ctx, const struct catalog_delivery *d)
{
    fprintf(ctx, "delivery %llu %s %llu %d %d %u %lld %lld %d %s\n", (unsigned long long)d->uid, d->name,
            (unsigned long long)d->source_stream_uid, d->direct_put, d->from_config, d->version,
            (long long)d->created.ms, (long long)d->updated.ms, d->deleting, d->settings_json);
    return 0;
}

/* Everything as text; free it. */
static char *dump(struct catalog *c)
{
    char *text = NULL, value[64];
    size_t size = 0, len = 0;
    FILE *f = open_memstream(&text, &size);
    assert_int_equal(catalog_each_stream(c, dump_stream, f), 0);
    assert_int_equal(catalog_each_shard(c, dump_shard, f), 0);
    assert_int_equal(catalog_each_delivery(c, dump_delivery, f), 0);
    if (catalog_value_get(c, "op", value, sizeof value, &len) == 0)
        fprintf(f, "op %.*s\n", (int)len, value);
    fclose(f);
    return text;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static void a_new_database_is_ours_alone_and_private(void **state)
{
    struct stat st;
    struct catalog *c = open_now();
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    catalog_close(c);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 0);
}

static void a_second_owner_is_refused(void **state)
{
    struct catalog *c = open_now();
    assert_int_equal(catalog_value_put(c, "a", SLICE_LIT("b")), 0);
    pid_t child = fork(); /* SQLite's locks are per process */
    if (child == 0) {
        struct catalog *d = NULL;
        struct err e = {0};
        _exit(catalog_open_sqlite(path, &d, &e) == -EBUSY && strstr(e.text, "another process has it open") ? 0 : 1);
    }
    int how = -1;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    catalog_close(c);
}

static void a_database_of_version_1_opens_with_everything_in_it(void **state)
{
    run_file("version-1.sql");
    struct catalog *c = open_now();
    char *text = dump(c);
    assert_string_equal(text, "stream 1 orders 1 0 0 1763845384567 86400000 18446744073709551615 1048576 2\n"
                              "shard 2 1 0 1 00 7f -1 -1 1763845384000 0 18446744073709551615\n"
                              "shard 3 1 1 1 80 ff -1 -1 1763845384000 0 18446744073709551615\n"
                              "delivery 4 archive 1 0 1 1 1763845384567 1763845384567 0 {\"sink\":\"file:///out/\"}\n");
    free(text);
    struct catalog_delivery d = {.name = "next"};
    assert_int_equal(catalog_delivery_add(c, &d), 0);
    assert_int_equal(d.uid, 5);
    catalog_close(c);
}

static void an_older_version_is_brought_up_step_by_step(void **state)
{
    const char *const steps[] = {catalog_steps[0], "ALTER TABLE stream ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",
                                 "UPDATE stream SET note = name || '!'"};
    sqlite3 *db;
    sqlite3_stmt *st;
    struct err e = {0};
    run_file("version-1.sql");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(catalog_migrate(db, steps, 3, &e), 0);
    assert_int_equal(catalog_migrate(db, steps, 3, &e), 0); /* nothing left to do */
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT note FROM stream", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "orders!");
    sqlite3_finalize(st);
    sqlite3_close(db);
    assert_refused(ST_VERSION, "it has schema version 3, made by a newer sluice; this one knows up to 1");
}

static void a_step_that_fails_leaves_the_version_before_it(void **state)
{
    const char *const bad[] = {catalog_steps[0], "CREATE TABLE half (a); INSERT INTO nowhere VALUES (1)"};
    sqlite3 *db;
    struct err e = {0};
    run_file("version-1.sql");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_true(catalog_migrate(db, bad, 2, &e) < 0);
    assert_string_equal(e.text, "change to schema version 2: SQLite: no such table: nowhere");
    assert_int_equal(sqlite3_exec(db, "SELECT * FROM half", NULL, NULL, NULL), SQLITE_ERROR);
    sqlite3_close(db);
    catalog_close(open_now());
}

static void a_newer_database_is_refused_and_left_as_it_is(void **state)
{
    struct stat before, after;
    run_file("version-1.sql");
    raw("PRAGMA user_version = 7");
    assert_int_equal(stat(path, &before), 0);
    assert_refused(ST_VERSION, "it has schema version 7, made by a newer sluice; this one knows up to 1");
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}

static void a_foreign_database_is_refused(void **state)
{
    raw("CREATE TABLE somebody_elses (a)");
    assert_refused(ST_CORRUPT, "it is an SQLite database, but not a catalog of sluice");
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("not a database ", f);
    fclose(f);
    struct catalog *c = NULL;
    struct err e = {0};
    assert_int_equal(catalog_open_sqlite(path, &c, &e), ST_CORRUPT);
    assert_non_null(strstr(e.text, "file is not a database"));
}

static void damage_in_any_page_is_found_at_the_start(void **state)
{
    run_file("version-1.sql");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    int fd = open(path, O_RDWR);
    uint8_t garbage[64];
    memset(garbage, 0xa5, sizeof garbage);
    assert_int_equal(pwrite(fd, garbage, sizeof garbage, st.st_size - 4096), sizeof garbage);
    close(fd);
    struct catalog *c = NULL;
    struct err e = {0};
    assert_int_equal(catalog_open_sqlite(path, &c, &e), ST_CORRUPT);
}

static void a_folder_that_does_not_exist_is_an_error_with_the_path(void **state)
{
    struct catalog *c = NULL;
    struct err e = {0};
    assert_int_equal(catalog_open_sqlite("/nowhere/at/all.db", &c, &e), -ENOENT);
    assert_string_equal(e.text, "catalog '/nowhere/at/all.db': open: No such file or directory");
}

/* ---- the same operations for a database and its model ------------------------------------------------------------- */

struct pick {
    bool deleting;
    struct catalog_stream stream;
    struct catalog_shard shard;
    struct catalog_delivery delivery;
};

static int pick_last_stream(void *ctx, const struct catalog_stream *s)
{
    struct pick *p = ctx;
    if (s->status != STREAM_DELETING)
        p->stream = *s;
    return 0;
}

static int pick_first_stream(void *ctx, const struct catalog_stream *s)
{
    struct pick *p = ctx;
    if ((s->status == STREAM_DELETING) == p->deleting) {
        p->stream = *s;
        return 1;
    }
    return 0;
}

static int pick_open_shard(void *ctx, const struct catalog_shard *s)
{
    struct pick *p = ctx;
    if (s->stream_uid == p->stream.uid && s->state == SHARD_OPEN)
        p->shard = *s;
    return 0;
}

static int pick_delivery(void *ctx, const struct catalog_delivery *d)
{
    struct pick *p = ctx;
    p->delivery = *d;
    return 1;
}

static int op_add(struct catalog *c, unsigned n)
{
    struct catalog_stream s = {.created = {n}, .next_shard_index = 1 + n % 5};
    struct catalog_shard shards[5] = {0};
    snprintf(s.name, sizeof s.name, "s%u", n);
    for (unsigned i = 0; i < 5; i++)
        shards[i] = (struct catalog_shard){.index = i, .state = SHARD_OPEN, .parent = -1};
    return catalog_stream_add(c, &s, shards, 1 + n % 5);
}

static int op_split(struct catalog *c, unsigned n)
{
    struct pick p = {0};
    if (catalog_each_stream(c, pick_last_stream, &p) < 0 || catalog_each_shard(c, pick_open_shard, &p) < 0)
        return ST_FAILED;
    struct catalog_shard children[2] = {
        {.index = p.stream.next_shard_index, .state = SHARD_OPEN, .parent = p.shard.index},
        {.index = p.stream.next_shard_index + 1, .state = SHARD_OPEN}};
    p.shard.state = SHARD_CLOSED;
    p.shard.end_counter = n;
    p.stream.next_shard_index += 2;
    return catalog_reshard(c, &p.stream, &p.shard, 1, children, 2);
}

static int op_delivery(struct catalog *c, unsigned n)
{
    struct catalog_delivery d = {.version = n, .settings_json = "{\"a\": 1}"};
    snprintf(d.name, sizeof d.name, "d%u", n);
    return catalog_delivery_add(c, &d);
}

static int op_drop_delivery(struct catalog *c, unsigned n)
{
    struct pick p = {0};
    return catalog_each_delivery(c, pick_delivery, &p) < 0 ? ST_FAILED : catalog_delivery_remove(c, p.delivery.uid);
}

static int op_delete(struct catalog *c, unsigned n)
{
    struct pick p = {.deleting = n % 12 > 6};
    if (catalog_each_stream(c, pick_first_stream, &p) < 0)
        return ST_FAILED;
    return p.deleting ? catalog_stream_remove(c, p.stream.uid) : catalog_stream_mark_deleting(c, p.stream.uid);
}

static int op_value(struct catalog *c, unsigned n)
{
    char text[16];
    snprintf(text, sizeof text, "%u", n);
    return catalog_value_put(c, "op", slice_str(text));
}

static int operate(struct catalog *c, unsigned n)
{
    static int (*const ops[])(struct catalog *, unsigned) = {op_add,   op_split,         op_delivery,
                                                             op_value, op_drop_delivery, op_delete};
    return ops[n % 6](c, n);
}

/* The child: operation after operation from `n` on, a byte into the pipe after each; until it is killed. */
static void operate_until_killed(unsigned n, int acks)
{
    struct catalog *c = NULL;
    if (catalog_open_sqlite(path, &c, NULL) < 0)
        _exit(2);
    for (;; n++)
        if (operate(c, n) < 0 || write(acks, "", 1) != 1)
            _exit(3);
}

/* Starts a child, kills it some moment after `patience` acknowledgements; how many it gave in all. */
static unsigned kill_in_the_middle(unsigned n, unsigned patience, unsigned spin)
{
    int fds[2], how;
    unsigned acks = 0;
    char byte;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(fds[0]);
        operate_until_killed(n, fds[1]);
    }
    close(fds[1]);
    while (acks < patience && read(fds[0], &byte, 1) == 1)
        acks++;
    for (volatile unsigned i = 0; i < spin; i++)
        ;
    kill(child, SIGKILL);
    while (read(fds[0], &byte, 1) == 1)
        acks++;
    close(fds[0]);
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    return acks;
}

static void a_kill_at_any_moment_leaves_whole_changes_and_loses_none(void **state)
{
    struct catalog *twin;
    unsigned n = 0, one_more = 0;
    uint32_t x = 2463534242u;
    assert_int_equal(catalog_open_memory(&twin), 0);
    for (int round = 0; round < 80; round++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        unsigned acks = kill_in_the_middle(n, x % 9, x % 300000);
        for (unsigned i = 0; i < acks; i++)
            assert_int_equal(operate(twin, n++), 0);
        struct catalog *c = open_now();
        char *got = dump(c), *want = dump(twin);
        if (strcmp(got, want) != 0) {
            free(want);
            assert_int_equal(operate(twin, n++), 0);
            want = dump(twin);
            one_more++;
        }
        assert_string_equal(got, want);
        free(got);
        free(want);
        catalog_close(c);
    }
    catalog_close(twin);
    assert_true(n > 200);
    print_message("%u operations, %u kills between a commit and its acknowledgement\n", n, one_more);
}

static void after_a_failed_write_nothing_changes_until_the_next_start(void **state)
{
    struct catalog *c = open_now();
    struct rlimit before, small = {0, 0};
    struct catalog_delivery d = {.name = "kept"};
    assert_int_equal(catalog_delivery_add(c, &d), 0);
    char *want = dump(c);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct catalog_delivery lost = {.name = "lost"};
    int failed = catalog_delivery_add(c, &lost), fenced = catalog_delivery_add(c, &lost);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(failed, -EIO);
    assert_int_equal(fenced, ST_FENCED);
    assert_int_equal(catalog_delivery_add(c, &lost), ST_FENCED); /* also once the disk is well again */
    assert_true(lost.uid == 0);
    catalog_close(c);
    c = open_now();
    char *got = dump(c);
    assert_string_equal(got, want);
    assert_int_equal(catalog_delivery_add(c, &lost), 0);
    free(got);
    free(want);
    catalog_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        CASE(a_new_database_is_ours_alone_and_private),
        CASE(a_second_owner_is_refused),
        CASE(a_database_of_version_1_opens_with_everything_in_it),
        CASE(an_older_version_is_brought_up_step_by_step),
        CASE(a_step_that_fails_leaves_the_version_before_it),
        CASE(a_newer_database_is_refused_and_left_as_it_is),
        CASE(a_foreign_database_is_refused),
        CASE(a_file_that_is_no_database_is_refused),
        CASE(damage_in_any_page_is_found_at_the_start),
        CASE(a_folder_that_does_not_exist_is_an_error_with_the_path),
        CASE(a_kill_at_any_moment_leaves_whole_changes_and_loses_none),
        CASE(after_a_failed_write_nothing_changes_until_the_next_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
