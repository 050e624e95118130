/* The simulator itself: what its disk keeps and loses, its faults, its network, and that a seed replays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/hash.h"
#include "tests/sim/sim_internal.h"

struct waited {
    struct io_op op;
    bool over;
};

static void waited_done(struct io_op *op)
{
    CONTAINER_OF(op, struct waited, op)->over = true;
}

static bool waited_over(void *arg)
{
    return ((struct waited *)arg)->over;
}

static int64_t finish(struct sim_world *w, struct waited *a)
{
    assert_int_equal(sim_run(w, waited_over, a, 10000), SIM_DONE);
    return a->op.result;
}

#define DO(w, call, ...)                                           \
    ({                                                             \
        struct waited waited_ = {.op = {.done = waited_done}};     \
        call(the_loop(w), &waited_.op __VA_OPT__(, ) __VA_ARGS__); \
        finish(w, &waited_);                                       \
    })

static struct loop *the_loop(struct sim_world *w)
{
    return list_empty(&w->loops) ? sim_loop_create(w) : &CONTAINER_OF(w->loops.next, struct sim_loop, link)->loop;
}

static struct sim_world *world(uint64_t seed)
{
    return sim_create(&(struct sim_options){.seed = seed});
}

static struct io_file create_file(struct sim_world *w, const char *path, unsigned flags)
{
    int64_t id = DO(w, io_open, path, IO_READ | IO_WRITE | IO_CREATE | flags);
    assert_true(id >= 0);
    return (struct io_file){(int)id};
}

static void synced_bytes_survive_every_crash(void **state)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct sim_world *w = world(seed);
        struct io_file f = create_file(w, "/a", 0);
        char back[9] = "";
        assert_int_equal(DO(w, io_write, f, "durable!", 8, 3000), 8);
        assert_int_equal(DO(w, io_datasync, f), 0);
        assert_int_equal(DO(w, io_sync_dir, "/"), 0);
        assert_int_equal(DO(w, io_write, f, "unsynced", 8, 9000), 8);
        sim_crash(w);
        assert_int_equal(sim_disk_peek(w, "/a", 3000, back, 8), 8);
        assert_string_equal(back, "durable!");
        assert_true(sim_disk_size(w, "/a") >= 3008 && sim_disk_size(w, "/a") <= 9008);
        sim_destroy(w);
    }
}

static void unsynced_units_are_kept_dropped_or_torn_each_on_its_own(void **state)
{
    uint64_t kept = 0, dropped = 0, torn = 0, mixed = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct sim_world *w = world(seed);
        struct io_file f = create_file(w, "/a", 0);
        static uint8_t bytes[16384];
        memset(bytes, 'x', sizeof bytes);
        assert_int_equal(DO(w, io_allocate, f, 0, sizeof bytes), 0);
        assert_int_equal(DO(w, io_datasync, f), 0);
        assert_int_equal(DO(w, io_sync_dir, "/"), 0);
        assert_int_equal(DO(w, io_write, f, bytes, sizeof bytes, 0), sizeof bytes);
        sim_crash(w);
        const struct sim_counts *c = sim_counts(w);
        assert_int_equal(c->units_kept + c->units_dropped + c->units_torn, 32);
        kept += c->units_kept;
        dropped += c->units_dropped;
        torn += c->units_torn;
        mixed += c->units_kept && c->units_dropped;
        sim_destroy(w);
    }
    assert_true(kept > 500 && dropped > 500 && torn > 50 && mixed > 30);
}

static void a_file_whose_folder_was_not_synced_may_vanish(void **state)
{
    unsigned there = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct sim_world *w = world(seed);
        struct io_file f = create_file(w, "/a", 0);
        assert_int_equal(DO(w, io_write, f, "x", 1, 0), 1);
        assert_int_equal(DO(w, io_datasync, f), 0);
        sim_crash(w);
        there += sim_disk_size(w, "/a") == 1;
        sim_destroy(w);
    }
    assert_true(there > 20 && there < 80);
}

static void a_rename_that_was_not_synced_is_whole_or_not_at_all(void **state)
{
    unsigned moved = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct sim_world *w = world(seed);
        sim_disk_mkdirs(w, "/d/e");
        sim_disk_poke(w, "/d/old", 0, "1", 1);
        sim_disk_poke(w, "/d/e/new", 0, "22", 2);
        assert_int_equal(DO(w, io_rename_new, "/d/old", "/d/e/new"), -EEXIST);
        assert_int_equal(DO(w, io_rename, "/d/old", "/d/e/new"), 0);
        assert_int_equal(sim_disk_size(w, "/d/e/new"), 1);
        sim_crash(w);
        int64_t new_size = sim_disk_size(w, "/d/e/new"), old_size = sim_disk_size(w, "/d/old");
        assert_true((new_size == 1 && old_size == -ENOENT) || (new_size == 2 && old_size == 1));
        moved += new_size == 1;
        sim_destroy(w);
    }
    assert_true(moved > 20 && moved < 80);
}

static void syncing_the_folder_makes_names_durable(void **state)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct sim_world *w = world(seed);
        create_file(w, "/tmp", 0);
        assert_int_equal(DO(w, io_mkdir, "/d"), 0);
        assert_int_equal(DO(w, io_rename, "/tmp", "/d/final"), 0);
        assert_int_equal(DO(w, io_sync_dir, "/d"), 0);
        assert_int_equal(DO(w, io_sync_dir, "/"), 0);
        assert_int_equal(DO(w, io_unlink, "/d/final"), 0);
        assert_int_equal(DO(w, io_sync_dir, "/d"), 0);
        create_file(w, "/d/second", 0);
        assert_int_equal(DO(w, io_sync_dir, "/d"), 0);
        sim_crash(w);
        assert_int_equal(sim_disk_size(w, "/d/final"), -ENOENT);
        assert_int_equal(sim_disk_size(w, "/d/second"), 0);
        sim_destroy(w);
    }
}

static void a_write_after_the_sync_began_is_not_covered_by_it(void **state)
{
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct sim_world *w = world(seed);
        struct io_file f = create_file(w, "/a", 0);
        struct waited sync = {.op = {.done = waited_done}}, write = {.op = {.done = waited_done}};
        assert_int_equal(DO(w, io_write, f, "old", 3, 0), 3);
        assert_int_equal(DO(w, io_sync_dir, "/"), 0);
        io_datasync(the_loop(w), &sync.op, f);
        io_write(the_loop(w), &write.op, f, "new", 3, 0);
        assert_int_equal(finish(w, &write), 3);
        assert_int_equal(finish(w, &sync), 0);
        sim_crash(w);
        char back[4] = "";
        assert_int_equal(sim_disk_peek(w, "/a", 0, back, 3), 3);
        lost += strcmp(back, "old") == 0;
        sim_destroy(w);
    }
    assert_true(lost > 30);
}

static void a_failed_sync_loses_the_data_though_the_next_one_succeeds(void **state)
{
    unsigned lost = 0, seen = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct sim_world *w = world(seed);
        struct io_file f = create_file(w, "/a", 0);
        char back[4] = "";
        assert_int_equal(DO(w, io_sync_dir, "/"), 0);
        assert_int_equal(DO(w, io_write, f, "new", 3, 0), 3);
        sim_fail_nth(w, SIM_FAULT_SYNC, 1, 0);
        assert_int_equal(DO(w, io_datasync, f), -EIO);
        assert_int_equal(DO(w, io_datasync, f), 0);
        sim_disk_peek(w, "/a", 0, back, 3);
        seen += strcmp(back, "new") == 0;
        sim_crash(w);
        memset(back, 0, sizeof back);
        sim_disk_peek(w, "/a", 0, back, 3);
        lost += strcmp(back, "new") != 0;
        sim_destroy(w);
    }
    assert_true(lost > 20 && lost < 90 && seen > 50);
}

static void a_full_disk_refuses_and_takes_again_once_there_is_space(void **state)
{
    struct sim_world *w = sim_create(&(struct sim_options){.seed = 1, .disk_bytes = 16384});
    struct io_file f = create_file(w, "/a", 0), g = create_file(w, "/b", 0);
    static uint8_t bytes[16384];
    uint64_t total = 0;
    assert_int_equal(DO(w, io_write, f, bytes, 12288, 0), 12288);
    assert_int_equal(DO(w, io_write, g, bytes, 8192, 0), -ENOSPC);
    assert_int_equal(DO(w, io_disk_free, "/", &total), 0);
    assert_int_equal(total, 16384);
    assert_int_equal(DO(w, io_truncate, f, 0), 0);
    assert_int_equal(DO(w, io_write, g, bytes, 8192, 0), 8192);
    assert_int_equal(DO(w, io_disk_free, "/", &total), 8192);
    assert_int_equal(DO(w, io_close, g), 0);
    assert_int_equal(DO(w, io_unlink, "/b"), 0);
    assert_int_equal(DO(w, io_disk_free, "/", &total), 16384);
    sim_destroy(w);
}

static void faults_by_number_hit_exactly_the_operation_meant(void **state)
{
    struct sim_world *w = world(3);
    struct io_file f = create_file(w, "/a", 0);
    static uint8_t bytes[8192];
    sim_fail_nth(w, SIM_FAULT_EIO, 3, 0);
    assert_int_equal(DO(w, io_write, f, bytes, 8192, 0), 8192);
    assert_int_equal(DO(w, io_size, f), 8192);
    assert_int_equal(DO(w, io_read, f, bytes, 8192, 0), -EIO);
    assert_int_equal(DO(w, io_read, f, bytes, 8192, 0), 8192);
    sim_fail_nth(w, SIM_FAULT_SHORT, 1, 2);
    assert_int_equal(DO(w, io_read, f, bytes, 8192, 0), 8192); /* L5 */
    sim_fail_nth(w, SIM_FAULT_CANCEL, 1, 0);
    assert_int_equal(DO(w, io_write, f, bytes, 8192, 0), -ECANCELED);
    assert_true(sim_faults_hit(w) >= 3);
    sim_destroy(w);
}

static void direct_io_that_is_not_aligned_is_refused(void **state)
{
    struct sim_world *w = world(4);
    struct io_file f = create_file(w, "/a", IO_DIRECT);
    uint8_t *buf = io_buffer_alloc(8192);
    memset(buf, 7, 8192);
    assert_int_equal(DO(w, io_write, f, buf, 4096, 0), 4096);
    assert_int_equal(DO(w, io_write, f, buf, 4096, 512), -EINVAL);
    assert_int_equal(DO(w, io_write, f, buf, 1000, 0), -EINVAL);
    assert_int_equal(DO(w, io_read, f, buf + 1, 4096, 0), -EINVAL);
    sim_fail_nth(w, SIM_FAULT_SHORT, 1, 3);
    assert_int_equal(DO(w, io_read, f, buf, 8192, 0), 4096);
    io_buffer_free(buf);
    sim_destroy(w);
}

static void where_direct_io_is_refused_it_goes_on_buffered(void **state)
{
    struct sim_world *w = sim_create(&(struct sim_options){.seed = 5, .refuse_direct = true});
    struct waited a = {.op = {.done = waited_done}};
    io_open(the_loop(w), &a.op, "/a", IO_READ | IO_WRITE | IO_CREATE | IO_EXCL | IO_DIRECT);
    assert_true(finish(w, &a) >= 0);
    assert_int_equal(a.op.flags_out, IO_RESULT_BUFFERED);
    sim_destroy(w);
}

static void a_cut_stops_the_world_at_the_operation(void **state)
{
    struct sim_world *w = world(6);
    struct waited a = {.op = {.done = waited_done}};
    struct io_file f = create_file(w, "/a", 0);
    assert_int_equal(DO(w, io_sync_dir, "/"), 0);
    sim_cut_at(w, 1);
    io_write(the_loop(w), &a.op, f, "x", 1, 0);
    assert_int_equal(sim_run(w, waited_over, &a, 1000), SIM_CUT);
    sim_crash(w);
    assert_int_equal(sim_disk_size(w, "/a"), 0);
    assert_false(a.over);
    sim_destroy(w);
}

static void bit_rot_shows_to_readers_and_outlives_the_crash(void **state)
{
    struct sim_world *w = world(7);
    char back[2] = "";
    sim_disk_poke(w, "/a", 5000, "A", 1);
    assert_true(sim_disk_flip(w, "/a", 5000, 2));
    assert_false(sim_disk_flip(w, "/a", 9000, 2));
    sim_crash(w);
    assert_int_equal(sim_disk_peek(w, "/a", 5000, back, 1), 1);
    assert_string_equal(back, "C");
    struct sim_world *copy = world(8);
    sim_disk_copy(copy, w);
    assert_true(sim_disk_hash(copy) == sim_disk_hash(w));
    sim_destroy(copy);
    sim_destroy(w);
}

/* ---- jobs, memory, time ------------------------------------------------------------------------------------------ */

struct counted_job {
    struct io_job job;
    int *next, order;
    void *memory;
};

static void job_work(struct io_job *j)
{
    struct counted_job *c = CONTAINER_OF(j, struct counted_job, job);
    c->order = ++*c->next;
    c->memory = malloc(100);
}

static void job_done(struct io_job *j)
{
}

static void jobs_run_in_an_order_of_the_seed_and_a_crash_frees_their_memory(void **state)
{
    bool swapped = false, straight = false;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim_world *w = world(seed);
        int next = 0;
        struct counted_job a = {.job = {job_work, job_done}, .next = &next}, b = a;
        job_submit(the_loop(w), &a.job);
        job_submit(the_loop(w), &b.job);
        assert_int_equal(sim_run(w, NULL, NULL, 1000), SIM_IDLE);
        assert_int_equal(next, 2);
        swapped |= a.order == 2;
        straight |= a.order == 1;
        assert_int_equal(sim_heap_live(), 200);
        sim_crash(w);
        assert_int_equal(sim_heap_live(), 0);
        sim_destroy(w);
    }
    assert_true(swapped && straight);
}

static void wall_clock_steps_leave_the_monotonic_clock_alone(void **state)
{
    struct sim_world *w = world(9);
    int64_t wall = sim_wall(w).ms, mono = sim_now_ns(w);
    sim_wall_step(w, -3600000);
    assert_int_equal(sim_wall(w).ms, wall - 3600000);
    assert_int_equal(sim_now_ns(w), mono);
    sim_destroy(w);
}

static uint64_t scenario(uint64_t seed)
{
    struct sim_world *w =
        sim_create(&(struct sim_options){.seed = seed, .faults = {.short_io = 100000, .slow = 10000}});
    static uint8_t bytes[20000];
    sim_fill(w, bytes, sizeof bytes);
    struct io_file f = create_file(w, "/a", 0);
    struct waited many[20];
    for (int i = 0; i < 20; i++) {
        many[i] = (struct waited){.op = {.done = waited_done}};
        io_write(the_loop(w), &many[i].op, f, bytes, sizeof bytes, (uint64_t)i * 5000);
    }
    for (int i = 0; i < 20; i++)
        assert_int_equal(finish(w, &many[i]), sizeof bytes);
    assert_int_equal(DO(w, io_sync_dir, "/"), 0);
    uint64_t now = (uint64_t)sim_now_ns(w);
    sim_crash(w);
    uint64_t h = hash_u64(sim_disk_hash(w) ^ now);
    sim_destroy(w);
    return h;
}

static void a_seed_replays_exactly(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++)
        assert_true(scenario(seed) == scenario(seed));
    assert_true(scenario(1) != scenario(2));
}

/* ---- network ----------------------------------------------------------------------------------------------------- */

struct echo {
    struct net_conn conn;
    struct io_op op;
    struct iovec iov;
    uint8_t out[300000], in[300000];
    size_t got;
    int ended;
    bool closed, connected, sent;
    struct sim_world *w;
};

static struct echo client, server;

static void echo_data(struct net_conn *c, struct slice data)
{
    struct echo *e = CONTAINER_OF(c, struct echo, conn);
    assert_true(e->got + data.len <= sizeof e->in);
    memcpy(e->in + e->got, data.ptr, data.len);
    e->got += data.len;
}

static void echo_ended(struct net_conn *c, int status)
{
    CONTAINER_OF(c, struct echo, conn)->ended = status ? status : 1;
    net_close(c);
}

static void echo_closed(struct net_conn *c)
{
    CONTAINER_OF(c, struct echo, conn)->closed = true;
}

static const struct net_conn_ops echo_ops = {echo_data, echo_ended, echo_closed};

static void echo_sent(struct io_op *op)
{
    struct echo *e = CONTAINER_OF(op, struct echo, op);
    e->sent = true;
    net_shutdown(&e->conn);
}

static void echo_connected(struct io_op *op)
{
    struct echo *e = CONTAINER_OF(op, struct echo, op);
    assert_int_equal(op->result, 0);
    e->connected = true;
    e->op.done = echo_sent;
    e->iov = (struct iovec){e->out, sizeof e->out};
    net_send(&e->conn, &e->op, &e->iov, 1);
}

static void echo_accepted(struct net_listener *l, int socket, const struct net_address *peer)
{
    server.conn.ops = &echo_ops;
    net_adopt(l->loop, &server.conn, socket);
    net_pause(&server.conn);
}

static bool both_closed(void *arg)
{
    return client.closed && server.closed;
}

static void a_stream_arrives_whole_and_a_paused_reader_holds_it_back(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim_world *w = world(seed);
        struct loop *a = sim_loop_create(w), *b = sim_loop_create(w);
        struct net_listener l = {.accepted = echo_accepted};
        struct net_address at = {.text = "127.0.0.1"};
        struct err e = {0};
        memset(&client, 0, sizeof client);
        memset(&server, 0, sizeof server);
        sim_fill(w, client.out, sizeof client.out);
        int port = net_listen(a, &l, &at, &e);
        assert_true(port > 0);
        at.port = (uint16_t)port;
        client.conn.ops = &echo_ops;
        client.op.done = echo_connected;
        net_connect(b, &client.conn, &at, &client.op);
        assert_int_equal(sim_run(w, NULL, NULL, 10000), SIM_IDLE);
        assert_true(client.connected && !client.sent && server.got == 0); /* the inbox is full */
        net_resume(&server.conn);
        assert_int_equal(sim_run(w, both_closed, NULL, 10000), SIM_DONE);
        assert_int_equal(server.got, sizeof server.in);
        assert_memory_equal(server.in, client.out, sizeof server.in);
        assert_int_equal(server.ended, 1);
        loop_destroy(a);
        loop_destroy(b);
        sim_destroy(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synced_bytes_survive_every_crash),
        cmocka_unit_test(unsynced_units_are_kept_dropped_or_torn_each_on_its_own),
        cmocka_unit_test(a_file_whose_folder_was_not_synced_may_vanish),
        cmocka_unit_test(a_rename_that_was_not_synced_is_whole_or_not_at_all),
        cmocka_unit_test(syncing_the_folder_makes_names_durable),
        cmocka_unit_test(a_write_after_the_sync_began_is_not_covered_by_it),
        cmocka_unit_test(a_failed_sync_loses_the_data_though_the_next_one_succeeds),
        cmocka_unit_test(a_full_disk_refuses_and_takes_again_once_there_is_space),
        cmocka_unit_test(faults_by_number_hit_exactly_the_operation_meant),
        cmocka_unit_test(direct_io_that_is_not_aligned_is_refused),
        cmocka_unit_test(where_direct_io_is_refused_it_goes_on_buffered),
        cmocka_unit_test(a_cut_stops_the_world_at_the_operation),
        cmocka_unit_test(bit_rot_shows_to_readers_and_outlives_the_crash),
        cmocka_unit_test(jobs_run_in_an_order_of_the_seed_and_a_crash_frees_their_memory),
        cmocka_unit_test(wall_clock_steps_leave_the_monotonic_clock_alone),
        cmocka_unit_test(a_seed_replays_exactly),
        cmocka_unit_test(a_stream_arrives_whole_and_a_paused_reader_holds_it_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
