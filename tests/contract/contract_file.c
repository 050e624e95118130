/* The contract of file operations. */
#include <stdlib.h>
#include <string.h>

#include "tests/contract/contract_loop.h"

static struct io_file open_file(struct loop_fixture *f, const char *name, unsigned flags)
{
    int64_t id = CASE_RESULT(f, io_open(f->loop, op, case_path(f, name), flags));
    assert_true(id >= 0);
    return (struct io_file){(int)id};
}

static void close_file(struct loop_fixture *f, struct io_file file)
{
    assert_int_equal(CASE_RESULT(f, io_close(f->loop, op, file)), 0);
}

static int64_t write_at(struct loop_fixture *f, struct io_file file, const void *buf, size_t len, uint64_t offset)
{
    return CASE_RESULT(f, io_write(f->loop, op, file, buf, len, offset));
}

static int64_t read_at(struct loop_fixture *f, struct io_file file, void *buf, size_t len, uint64_t offset)
{
    return CASE_RESULT(f, io_read(f->loop, op, file, buf, len, offset));
}

/* Makes a file that holds `len` bytes of the pattern. */
static void make_file(struct loop_fixture *f, const char *name, size_t len)
{
    static uint8_t buf[65536];
    assert_true(len <= sizeof buf);
    case_fill(buf, len, 0);
    struct io_file file = open_file(f, name, IO_WRITE | IO_CREATE | IO_TRUNC);
    assert_int_equal(write_at(f, file, buf, len, 0), len);
    close_file(f, file);
}

static int64_t open_result(struct loop_fixture *f, const char *name, unsigned flags)
{
    return CASE_RESULT(f, io_open(f->loop, op, case_path(f, name), flags));
}

static void what_was_written_is_read_back(void **state)
{
    struct loop_fixture *f = *state;
    static uint8_t out[3 << 20], in[3 << 20];
    case_fill(out, sizeof out, 7);
    struct io_file file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);
    assert_int_equal(write_at(f, file, out, sizeof out, 12345), sizeof out);
    assert_int_equal(read_at(f, file, in, sizeof in, 12345), sizeof in);
    assert_memory_equal(in, out, sizeof in);
    assert_int_equal(read_at(f, file, in, 12345, 0), 12345); /* the hole */
    for (int i = 0; i < 12345; i++)
        assert_int_equal(in[i], 0);
    close_file(f, file);
}

static void a_read_is_short_only_at_the_end(void **state)
{
    struct loop_fixture *f = *state;
    static uint8_t in[10000];
    make_file(f, "a", 5000);
    struct io_file file = open_file(f, "a", IO_READ);
    assert_int_equal(read_at(f, file, in, sizeof in, 0), 5000);
    assert_true(case_filled(in, 5000, 0));
    assert_int_equal(read_at(f, file, in, 100, 4950), 50);
    assert_true(case_filled(in, 50, 4950));
    assert_int_equal(read_at(f, file, in, 100, 5000), 0);
    assert_int_equal(read_at(f, file, in, 100, 999999), 0);
    assert_int_equal(read_at(f, file, in, 0, 0), 0);
    close_file(f, file);
}

static void a_vector_is_written_in_order(void **state)
{
    struct loop_fixture *f = *state;
    static uint8_t out[64 * 1000], in[64 * 1000];
    case_fill(out, sizeof out, 0);
    struct iovec iov[64];
    size_t at = 0;
    for (int i = 0; i < 64; i++) {
        size_t len = i == 10 ? 0 : i % 2 ? 1500 : 490;
        iov[i] = (struct iovec){out + at, len};
        at += len;
    }
    struct io_file file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);
    assert_int_equal(CASE_RESULT(f, io_writev(f->loop, op, file, iov, 64, 100)), at);
    assert_int_equal(read_at(f, file, in, sizeof in, 100), at);
    assert_memory_equal(in, out, at);
    close_file(f, file);
}

static void appending_makes_the_file_longer(void **state)
{
    struct loop_fixture *f = *state;
    uint8_t buf[100];
    case_fill(buf, sizeof buf, 0);
    struct io_file file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);
    assert_int_equal(CASE_RESULT(f, io_size(f->loop, op, file)), 0);
    for (uint64_t at = 0; at < 1000; at += 100) {
        assert_int_equal(write_at(f, file, buf, 100, at), 100);
        assert_int_equal(CASE_RESULT(f, io_size(f->loop, op, file)), at + 100);
    }
    close_file(f, file);
}

static void direct_files_read_back_also_across_an_unaligned_end(void **state)
{
    struct loop_fixture *f = *state;
    size_t len = 256 << 10;
    uint8_t *buf = io_buffer_alloc(len);
    assert_non_null(buf);
    case_fill(buf, len, 3);
    struct case_op o = {0};
    io_open(f->loop, case_begin(&o), case_path(f, "a"), IO_READ | IO_WRITE | IO_CREATE | IO_EXCL | IO_DIRECT);
    struct io_file file = {(int)case_end(f, &o)};
    assert_true(file.id >= 0);
    assert_int_equal(o.op.flags_out & ~IO_RESULT_BUFFERED, 0);
    assert_int_equal(write_at(f, file, buf, len, 0), len);
    assert_int_equal(CASE_RESULT(f, io_datasync(f->loop, op, file)), 0);
    memset(buf, 0, len);
    assert_int_equal(read_at(f, file, buf, len, 0), len);
    assert_true(case_filled(buf, len, 3));
    assert_int_equal(CASE_RESULT(f, io_truncate(f->loop, op, file, 5000)), 0);
    memset(buf, 0, len);
    assert_int_equal(read_at(f, file, buf, 8192, 0), 5000);
    assert_true(case_filled(buf, 5000, 3));
    assert_int_equal(read_at(f, file, buf, 8192, 4096), 904);
    assert_int_equal(read_at(f, file, buf, 8192, 8192), 0);
    close_file(f, file);
    io_buffer_free(buf);
}

static void opening_tells_what_is_wrong(void **state)
{
    struct loop_fixture *f = *state;
    make_file(f, "a", 10);
    assert_int_equal(open_result(f, "none", IO_READ), -ENOENT);
    assert_int_equal(open_result(f, "none/none", IO_WRITE | IO_CREATE), -ENOENT);
    assert_int_equal(open_result(f, "a", IO_WRITE | IO_CREATE | IO_EXCL), -EEXIST);
    assert_int_equal(open_result(f, "a", IO_WRITE | IO_CREATE | IO_EXCL | IO_DIRECT), -EEXIST);
    struct io_file file = open_file(f, "a", IO_READ | IO_WRITE | IO_TRUNC);
    assert_int_equal(CASE_RESULT(f, io_size(f->loop, op, file)), 0);
    close_file(f, file);
}

static void rename_replaces_and_rename_new_does_not(void **state)
{
    struct loop_fixture *f = *state;
    make_file(f, "a", 10);
    make_file(f, "b", 20);
    const char *a = case_path(f, "a"), *b = case_path(f, "b"), *c = case_path(f, "c");
    assert_int_equal(CASE_RESULT(f, io_rename_new(f->loop, op, a, b)), -EEXIST);
    struct io_file file = open_file(f, "b", IO_READ);
    assert_int_equal(CASE_RESULT(f, io_size(f->loop, op, file)), 20);
    close_file(f, file);
    assert_int_equal(CASE_RESULT(f, io_rename(f->loop, op, a, b)), 0);
    assert_int_equal(open_result(f, "a", IO_READ), -ENOENT);
    file = open_file(f, "b", IO_READ);
    assert_int_equal(CASE_RESULT(f, io_size(f->loop, op, file)), 10);
    close_file(f, file);
    assert_int_equal(CASE_RESULT(f, io_rename_new(f->loop, op, b, c)), 0);
    assert_int_equal(open_result(f, "b", IO_READ), -ENOENT);
    assert_int_equal(CASE_RESULT(f, io_rename(f->loop, op, a, b)), -ENOENT);
    assert_int_equal(CASE_RESULT(f, io_rename_new(f->loop, op, a, b)), -ENOENT);
}

static void a_folder_is_listed_in_order(void **state)
{
    struct loop_fixture *f = *state;
    struct io_names names = {0};
    assert_int_equal(CASE_RESULT(f, io_list(f->loop, op, f->dir, &names)), 0);
    assert_int_equal(names.count, 0);
    io_names_free(&names);
    const char *made[] = {"b", "a", "B", "10", "9", ".hidden", "a.b"};
    const char *sorted[] = {".hidden", "10", "9", "B", "a", "a.b", "b"};
    for (size_t i = 0; i < ARRAY_COUNT(made); i++)
        make_file(f, made[i], 1);
    assert_int_equal(CASE_RESULT(f, io_list(f->loop, op, f->dir, &names)), ARRAY_COUNT(sorted));
    assert_int_equal(names.count, ARRAY_COUNT(sorted));
    for (size_t i = 0; i < ARRAY_COUNT(sorted); i++)
        assert_string_equal(names.name[i], sorted[i]);
    io_names_free(&names);
    assert_int_equal(CASE_RESULT(f, io_list(f->loop, op, case_path(f, "none"), &names)), -ENOENT);
    assert_int_equal(names.count, 0);
}

static void folders_are_made_once_and_removed_when_empty(void **state)
{
    struct loop_fixture *f = *state;
    const char *d = case_path(f, "d");
    assert_int_equal(CASE_RESULT(f, io_rmdir(f->loop, op, d)), -ENOENT);
    assert_int_equal(CASE_RESULT(f, io_mkdir(f->loop, op, d)), 0);
    assert_int_equal(CASE_RESULT(f, io_mkdir(f->loop, op, d)), -EEXIST);
    make_file(f, "d/x", 1);
    assert_int_equal(CASE_RESULT(f, io_sync_dir(f->loop, op, d)), 0);
    assert_int_equal(CASE_RESULT(f, io_rmdir(f->loop, op, d)), -ENOTEMPTY);
    assert_int_equal(CASE_RESULT(f, io_unlink(f->loop, op, case_path(f, "d/x"))), 0);
    assert_int_equal(CASE_RESULT(f, io_unlink(f->loop, op, case_path(f, "d/x"))), -ENOENT);
    assert_int_equal(CASE_RESULT(f, io_rmdir(f->loop, op, d)), 0);
    assert_int_equal(CASE_RESULT(f, io_sync_dir(f->loop, op, d)), -ENOENT);
}

static void an_unlinked_file_stays_until_it_is_closed(void **state)
{
    struct loop_fixture *f = *state;
    uint8_t buf[10];
    make_file(f, "a", 10);
    struct io_file file = open_file(f, "a", IO_READ);
    assert_int_equal(CASE_RESULT(f, io_unlink(f->loop, op, case_path(f, "a"))), 0);
    assert_int_equal(read_at(f, file, buf, 10, 0), 10);
    assert_true(case_filled(buf, 10, 0));
    close_file(f, file);
    assert_int_equal(open_result(f, "a", IO_READ), -ENOENT);
}

static void allocated_space_reads_as_zeros(void **state)
{
    struct loop_fixture *f = *state;
    static uint8_t buf[8192];
    struct io_file file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);
    int64_t r = CASE_RESULT(f, io_allocate(f->loop, op, file, 0, 100000));
    if (r != -EOPNOTSUPP) {
        assert_int_equal(r, 0);
        assert_int_equal(CASE_RESULT(f, io_size(f->loop, op, file)), 100000);
        memset(buf, 1, sizeof buf);
        assert_int_equal(read_at(f, file, buf, sizeof buf, 50000), sizeof buf);
        for (size_t i = 0; i < sizeof buf; i++)
            assert_int_equal(buf[i], 0);
    }
    close_file(f, file);
}

static void truncating_cuts_and_extends_with_zeros(void **state)
{
    struct loop_fixture *f = *state;
    uint8_t buf[1000];
    make_file(f, "a", 1000);
    struct io_file file = open_file(f, "a", IO_READ | IO_WRITE);
    assert_int_equal(CASE_RESULT(f, io_truncate(f->loop, op, file, 300)), 0);
    assert_int_equal(CASE_RESULT(f, io_size(f->loop, op, file)), 300);
    assert_int_equal(CASE_RESULT(f, io_truncate(f->loop, op, file, 600)), 0);
    assert_int_equal(read_at(f, file, buf, sizeof buf, 0), 600);
    assert_true(case_filled(buf, 300, 0));
    for (int i = 300; i < 600; i++)
        assert_int_equal(buf[i], 0);
    close_file(f, file);
}

static void free_space_is_told_with_the_total(void **state)
{
    struct loop_fixture *f = *state;
    uint64_t total = 0;
    int64_t left = CASE_RESULT(f, io_disk_free(f->loop, op, f->dir, &total));
    assert_true(left > 0);
    assert_true(total >= (uint64_t)left);
}

static void a_cancelled_op_completes_exactly_once(void **state)
{
    struct loop_fixture *f = *state;
    static uint8_t buf[1 << 20];
    struct io_file file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);
    for (int i = 0; i < 20; i++) {
        struct case_op o = {0};
        io_write(f->loop, case_begin(&o), file, buf, sizeof buf, 0);
        io_cancel(f->loop, &o.op);
        io_cancel(f->loop, &o.op);
        int64_t r = case_end(f, &o);
        assert_true(r == -ECANCELED || r == (int64_t)sizeof buf);
        io_cancel(f->loop, &o.op); /* not in flight any more: harmless */
        case_run_for(f, 1);
        assert_int_equal(o.completions, 1);
    }
    close_file(f, file);
}

/* More than any queue holds, each exactly once, each with its own bytes. */
static void thousands_of_ops_in_flight_all_complete(void **state)
{
    struct loop_fixture *f = *state;
    enum { N = 3000 };
    static struct case_op o[N];
    static uint8_t buf[N][16];
    memset(o, 0, sizeof o);
    struct io_file file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);
    for (int i = 0; i < N; i++) {
        case_fill(buf[i], 16, (uint64_t)i * 16);
        io_write(f->loop, case_begin(&o[i]), file, buf[i], 16, (uint64_t)i * 16);
    }
    for (int i = 0; i < N; i++)
        o[i].inside = false;
    for (int i = 0; i < N; i++)
        assert_int_equal(case_end(f, &o[i]), 16);
    static uint8_t in[N * 16];
    assert_int_equal(read_at(f, file, in, sizeof in, 0), sizeof in);
    assert_true(case_filled(in, sizeof in, 0));
    close_file(f, file);
}

struct chain {
    struct io_op op;
    struct loop *loop;
    struct io_file file;
    uint8_t buf[512];
    uint64_t at;
    int done;
};

static void chain_next(struct io_op *op)
{
    struct chain *c = CONTAINER_OF(op, struct chain, op);
    assert_int_equal(op->result, 512);
    c->at += 512;
    if (++c->done < 100)
        io_write(c->loop, op, c->file, c->buf, 512, c->at);
}

static void an_op_may_be_submitted_again_from_its_done(void **state)
{
    struct loop_fixture *f = *state;
    struct chain c = {.op.done = chain_next, .loop = f->loop};
    c.file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);
    io_write(f->loop, &c.op, c.file, c.buf, 512, 0);
    case_run_until(f, &c.done, 100);
    assert_int_equal(CASE_RESULT(f, io_size(f->loop, op, c.file)), 51200);
    close_file(f, c.file);
}

static void destroying_the_loop_completes_what_is_in_flight(void **state)
{
    struct loop_fixture *f = *state;
    static struct case_op o[50];
    static struct io_names names;
    static uint8_t buf[50][4096];
    memset(o, 0, sizeof o);
    struct io_file file = open_file(f, "a", IO_READ | IO_WRITE | IO_CREATE);
    for (int i = 0; i < 48; i++)
        io_write(f->loop, case_begin(&o[i]), file, buf[i], 4096, (uint64_t)i * 4096);
    io_list(f->loop, case_begin(&o[48]), f->dir, &names);
    io_close(f->loop, case_begin(&o[49]), file);
    for (int i = 0; i < 50; i++)
        o[i].inside = false;
    loop_destroy(f->loop);
    f->loop = NULL;
    for (int i = 0; i < 50; i++)
        assert_int_equal(o[i].completions, 1);
    io_names_free(&names);
}

const struct CMUnitTest contract_file_cases[] = {
    CONTRACT_CASE(what_was_written_is_read_back),
    CONTRACT_CASE(a_read_is_short_only_at_the_end),
    CONTRACT_CASE(a_vector_is_written_in_order),
    CONTRACT_CASE(appending_makes_the_file_longer),
    CONTRACT_CASE(direct_files_read_back_also_across_an_unaligned_end),
    CONTRACT_CASE(opening_tells_what_is_wrong),
    CONTRACT_CASE(rename_replaces_and_rename_new_does_not),
    CONTRACT_CASE(a_folder_is_listed_in_order),
    CONTRACT_CASE(folders_are_made_once_and_removed_when_empty),
    CONTRACT_CASE(an_unlinked_file_stays_until_it_is_closed),
    CONTRACT_CASE(allocated_space_reads_as_zeros),
    CONTRACT_CASE(truncating_cuts_and_extends_with_zeros),
    CONTRACT_CASE(free_space_is_told_with_the_total),
    CONTRACT_CASE(a_cancelled_op_completes_exactly_once),
    CONTRACT_CASE(thousands_of_ops_in_flight_all_complete),
    CONTRACT_CASE(an_op_may_be_submitted_again_from_its_done),
    CONTRACT_CASE(destroying_the_loop_completes_what_is_in_flight),
};
const size_t contract_file_count = ARRAY_COUNT(contract_file_cases);
