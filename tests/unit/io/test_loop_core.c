/*
 * The loop's core against a scripted backend that gives each op exactly the raw results that the case wants: short
 * transfers, interruptions, file systems without O_DIRECT, cancels at awkward moments.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/io/loop_backend.h"

/* ---- the scripted backend ---------------------------------------------------------------------------------------- */

struct script {
    struct loop loop;
    int64_t raw[16]; /* the results to give, in order */
    int raws, given;
    struct io_op *pending; /* submitted, its result not given yet */
    /* What was asked for, a line each. */
    struct {
        uint64_t at, bytes;
        unsigned iovs, open_flags;
    } asked[16];
    int asks, cancels, waits;
    bool last_wait_blocked;
    bool hold; /* give no results */
    int64_t now;
};

static struct script *script_of(struct loop *loop)
{
    return CONTAINER_OF(loop, struct script, loop);
}

static void script_submit(struct loop *loop, struct io_op *op)
{
    struct script *s = script_of(loop);
    assert_null(s->pending);
    s->pending = op;
    s->asked[s->asks].at = op->offset + op->moved;
    for (uint32_t i = 0; i < op->iov_count; i++)
        s->asked[s->asks].bytes += op->iov[i].iov_len;
    s->asked[s->asks].iovs = op->iov_count;
    s->asked[s->asks].open_flags = op->open_flags;
    s->asks++;
}

static void script_cancel(struct loop *loop, struct io_op *op)
{
    script_of(loop)->cancels++;
}

static int script_wait(struct loop *loop, struct mono_ns until)
{
    struct script *s = script_of(loop);
    s->waits++;
    s->last_wait_blocked = until.ns > s->now;
    struct io_op *op = s->pending;
    if (!op || s->hold)
        return 0;
    assert_true(s->given < s->raws);
    s->pending = NULL;
    loop_op_finish(loop, op, s->raw[s->given++]);
    return 0;
}

static void script_wake(struct loop *loop)
{
}

static void script_destroy(struct loop *loop)
{
}

static struct mono_ns script_mono(struct loop *loop)
{
    return (struct mono_ns){script_of(loop)->now};
}

static void script_send(struct net_conn *conn, struct io_op *op)
{
    script_submit(conn->loop, op);
}

static void script_conn(struct net_conn *conn)
{
}

static void script_close(struct net_conn *conn)
{
    script_of(conn->loop)->cancels += 100; /* told apart from cancels */
}

static void script_adopt(struct loop *loop, struct net_conn *conn, int socket)
{
}

static const struct loop_backend script_backend = {
    .name = "script",
    .destroy = script_destroy,
    .submit = script_submit,
    .cancel = script_cancel,
    .wait = script_wait,
    .wake = script_wake,
    .mono = script_mono,
    .adopt = script_adopt,
    .send = script_send,
    .recv_start = script_conn,
    .recv_stop = script_conn,
    .shutdown = script_conn,
    .close = script_close,
};

static struct script s;
static struct io_op op;
static int completions;

static void op_done(struct io_op *o)
{
    completions++;
}

static int begin(void **state)
{
    s = (struct script){.now = 1000};
    loop_core_init(&s.loop, &script_backend);
    op = (struct io_op){.done = op_done};
    completions = 0;
    return 0;
}

#define RAW(...)                              \
    do {                                      \
        const int64_t raw_[] = {__VA_ARGS__}; \
        memcpy(s.raw, raw_, sizeof raw_);     \
        s.raws = (int)ARRAY_COUNT(raw_);      \
    } while (0)

/* Steps until the op is completed; it must use up the whole script. */
static int64_t run(void)
{
    for (int i = 0; i < 20 && completions == 0; i++)
        assert_int_equal(loop_core_step(&s.loop, true), 0);
    assert_int_equal(completions, 1);
    assert_int_equal(s.given, s.raws);
    assert_int_equal(s.loop.in_flight, 0);
    return op.result;
}

static uint8_t buf[65536];
static const struct io_file file = {3};

/* ---- short transfers --------------------------------------------------------------------------------------------- */

static void a_short_write_is_continued_where_it_stopped(void **state)
{
    RAW(10, 50, 41);
    io_write(&s.loop, &op, file, buf, 101, 7);
    assert_int_equal(run(), 101);
    assert_int_equal(s.asked[1].at, 17);
    assert_int_equal(s.asked[1].bytes, 91);
    assert_int_equal(s.asked[2].at, 67);
    assert_int_equal(s.asked[2].bytes, 41);
}

static void a_short_vector_is_continued_inside_the_right_entry(void **state)
{
    struct iovec iov[4] = {{buf, 10}, {buf + 10, 0}, {buf + 10, 20}, {buf + 30, 5}};
    RAW(10, 7, 13, 5);
    io_writev(&s.loop, &op, file, iov, 4, 0);
    assert_int_equal(run(), 35);
    assert_int_equal(s.asked[0].iovs, 4);
    assert_int_equal(s.asked[1].at, 10); /* at the start of an entry: all the rest at once */
    assert_int_equal(s.asked[1].bytes, 25);
    assert_int_equal(s.asked[2].at, 17); /* inside one: this entry alone */
    assert_int_equal(s.asked[2].bytes, 13);
    assert_int_equal(s.asked[3].at, 30);
    assert_int_equal(s.asked[3].bytes, 5);
    assert_int_equal(iov[2].iov_len, 20); /* the caller's vector is untouched */
}

static void an_error_after_a_short_write_is_the_result(void **state)
{
    RAW(10, -ENOSPC);
    io_write(&s.loop, &op, file, buf, 100, 0);
    assert_int_equal(run(), -ENOSPC);
}

static void a_write_without_progress_is_an_error(void **state)
{
    RAW(10, 0);
    io_write(&s.loop, &op, file, buf, 100, 0);
    assert_int_equal(run(), -EIO);
}

static void an_interrupted_transfer_is_tried_again(void **state)
{
    RAW(-EINTR, 10, -EAGAIN, 90);
    io_write(&s.loop, &op, file, buf, 100, 0);
    assert_int_equal(run(), 100);
    assert_int_equal(s.asked[3].at, 10);
}

static void a_read_ends_at_the_end_of_the_file(void **state)
{
    RAW(60, 0);
    io_read(&s.loop, &op, file, buf, 100, 5);
    assert_int_equal(run(), 60);
    assert_int_equal(s.asked[1].at, 65);
}

static void an_aligned_read_steps_back_to_an_aligned_place(void **state)
{
    RAW(5000, 904);
    io_read(&s.loop, &op, file, buf, 8192, 4096);
    assert_int_equal(run(), 5000);
    assert_int_equal(s.asked[1].at, 4096 + 4096);
    assert_int_equal(s.asked[1].bytes, 4096);
}

static void an_aligned_read_that_stopped_early_goes_on_to_its_end(void **state)
{
    RAW(512, 8192);
    io_read(&s.loop, &op, file, buf, 8192, 0);
    assert_int_equal(run(), 8192);
    assert_int_equal(s.asked[1].at, 0);
    assert_int_equal(s.asked[1].bytes, 8192);
}

static void an_aligned_write_steps_back_too_and_needs_progress(void **state)
{
    RAW(4608, 512);
    io_write(&s.loop, &op, file, buf, 16384, 0);
    assert_int_equal(run(), -EIO);
    assert_int_equal(s.asked[1].at, 4096);
    assert_int_equal(s.asked[1].bytes, 12288);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static void where_o_direct_is_refused_the_open_goes_on_buffered(void **state)
{
    RAW(-EINVAL, 9);
    io_open(&s.loop, &op, "x", IO_WRITE | IO_CREATE | IO_EXCL | IO_DIRECT);
    assert_int_equal(run(), 9);
    assert_int_equal(op.flags_out, IO_RESULT_BUFFERED);
    assert_int_equal(s.asked[1].open_flags, IO_WRITE | IO_CREATE); /* the first attempt may have created it */
}

static void a_buffered_open_is_tried_once(void **state)
{
    RAW(-EINVAL);
    io_open(&s.loop, &op, "x", IO_WRITE);
    assert_int_equal(run(), -EINVAL);
    assert_int_equal(op.flags_out, 0);
}

/* ---- cancelling -------------------------------------------------------------------------------------------------- */

static void a_cancelled_transfer_is_not_continued(void **state)
{
    RAW(10);
    io_write(&s.loop, &op, file, buf, 100, 0);
    io_cancel(&s.loop, &op);
    io_cancel(&s.loop, &op);
    assert_int_equal(run(), -ECANCELED);
    assert_int_equal(s.cancels, 1);
    assert_int_equal(s.asks, 1);
}

static void a_cancel_that_comes_too_late_changes_nothing(void **state)
{
    RAW(100);
    io_write(&s.loop, &op, file, buf, 100, 0);
    io_cancel(&s.loop, &op);
    assert_int_equal(run(), 100);
    io_cancel(&s.loop, &op);
    assert_int_equal(s.cancels, 1);
}

static void a_cancel_after_a_known_part_stops_the_rest(void **state)
{
    s.hold = true;
    io_write(&s.loop, &op, file, buf, 100, 0);
    s.pending = NULL;
    loop_op_finish_soon(&s.loop, &op, 10);
    io_cancel(&s.loop, &op);
    assert_int_equal(s.cancels, 0); /* the backend has to do with it no more */
    assert_int_equal(run(), -ECANCELED);
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static int conn_closed_count;

static void conn_data(struct net_conn *conn, struct slice data)
{
}

static void conn_ended(struct net_conn *conn, int status)
{
}

static void conn_closed(struct net_conn *conn)
{
    conn_closed_count++;
}

static const struct net_conn_ops conn_ops = {conn_data, conn_ended, conn_closed};

static void a_connection_is_closed_only_after_its_send_has_completed(void **state)
{
    struct net_conn conn = {.ops = &conn_ops};
    struct iovec iov = {buf, 100};
    conn_closed_count = 0;
    net_adopt(&s.loop, &conn, 5);
    net_send(&conn, &op, &iov, 1);
    net_close(&conn);
    net_close(&conn);
    assert_int_equal(s.cancels, 1); /* the send's; no close yet */
    RAW(60);
    assert_int_equal(run(), -ECANCELED);
    assert_int_equal(s.cancels, 101);
    loop_conn_closed(&conn);
    assert_int_equal(conn_closed_count, 1);
    assert_int_equal(conn.state, CONN_FREE);
}

static void a_short_send_is_continued(void **state)
{
    struct net_conn conn = {.ops = &conn_ops};
    struct iovec iov[2] = {{buf, 4096}, {buf, 4096}};
    net_adopt(&s.loop, &conn, 5);
    net_send(&conn, &op, iov, 2);
    RAW(100, -EINTR, 3996, 4096);
    assert_int_equal(run(), 8192);
    assert_int_equal(s.asked[1].bytes, 3996); /* never steps back as a file does */
    assert_int_equal(s.asked[3].bytes, 4096);
}

/* ---- the iteration ----------------------------------------------------------------------------------------------- */

static void deferred_nothing(struct io_defer *d)
{
}

static void a_step_blocks_only_with_nothing_to_do(void **state)
{
    struct io_defer d = {.run = deferred_nothing};
    struct io_timer t = {.fired = NULL};
    assert_int_equal(loop_core_step(&s.loop, true), 0);
    assert_true(s.last_wait_blocked);
    assert_int_equal(loop_core_step(&s.loop, false), 0);
    assert_false(s.last_wait_blocked);
    loop_defer(&s.loop, &d);
    assert_int_equal(loop_core_step(&s.loop, true), 0);
    assert_false(s.last_wait_blocked);
    assert_int_equal(loop_core_step(&s.loop, true), 0);
    assert_true(s.last_wait_blocked);
    loop_stop(&s.loop);
    assert_int_equal(loop_core_step(&s.loop, true), 0);
    assert_false(s.last_wait_blocked);
    atomic_store(&s.loop.stopping, false);
    timer_arm(&s.loop, &t, (struct mono_ns){s.now + 5});
    assert_int_equal(loop_next_timer(&s.loop).ns, s.now + 5);
    timer_disarm(&s.loop, &t);
    assert_true(loop_next_timer(&s.loop).ns == INT64_MAX);
}

static void buffers_for_direct_io_are_aligned(void **state)
{
    for (size_t len = 0; len < 20000; len += 1999) {
        void *b = io_buffer_alloc(len);
        assert_non_null(b);
        assert_int_equal((uintptr_t)b % IO_ALIGN, 0);
        io_buffer_free(b);
    }
    assert_null(io_buffer_alloc(SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_short_write_is_continued_where_it_stopped, begin),
        cmocka_unit_test_setup(a_short_vector_is_continued_inside_the_right_entry, begin),
        cmocka_unit_test_setup(an_error_after_a_short_write_is_the_result, begin),
        cmocka_unit_test_setup(a_write_without_progress_is_an_error, begin),
        cmocka_unit_test_setup(an_interrupted_transfer_is_tried_again, begin),
        cmocka_unit_test_setup(a_read_ends_at_the_end_of_the_file, begin),
        cmocka_unit_test_setup(an_aligned_read_steps_back_to_an_aligned_place, begin),
        cmocka_unit_test_setup(an_aligned_read_that_stopped_early_goes_on_to_its_end, begin),
        cmocka_unit_test_setup(an_aligned_write_steps_back_too_and_needs_progress, begin),
        cmocka_unit_test_setup(where_o_direct_is_refused_the_open_goes_on_buffered, begin),
        cmocka_unit_test_setup(a_buffered_open_is_tried_once, begin),
        cmocka_unit_test_setup(a_cancelled_transfer_is_not_continued, begin),
        cmocka_unit_test_setup(a_cancel_that_comes_too_late_changes_nothing, begin),
        cmocka_unit_test_setup(a_cancel_after_a_known_part_stops_the_rest, begin),
        cmocka_unit_test_setup(a_connection_is_closed_only_after_its_send_has_completed, begin),
        cmocka_unit_test_setup(a_short_send_is_continued, begin),
        cmocka_unit_test_setup(a_step_blocks_only_with_nothing_to_do, begin),
        cmocka_unit_test_setup(buffers_for_direct_io_are_aligned, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
