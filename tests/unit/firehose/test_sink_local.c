/* The local sink on a real folder, and the pool of pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/io/loop_backend.h"
#include "firehose/piece.h"
#include "firehose/sink_local.h"

struct world {
    struct loop *loop;
    struct sink *sink;
    struct sink_object *o;
    char folder[64], out[96];
    bool done;
    int status;
};

static void object_done(struct sink_object *o)
{
    ((struct world *)o->owner)->done = true;
}

static void clean_done(struct sink *s, int status)
{
    struct world *w = s->owner;
    w->done = true;
    w->status = status;
}

static void wait_done(struct world *w)
{
    assert_false(w->done); /* never inside the call */
    while (!w->done)
        assert_int_equal(loop_core_step(w->loop, true), 0);
    w->done = false;
}

static int do_op(struct world *w, void (*op)(struct sink_object *o))
{
    op(w->o);
    wait_done(w);
    return w->o->status;
}

static int do_write(struct world *w, struct slice data)
{
    w->sink->ops->write(w->o, data);
    wait_done(w);
    return w->o->status;
}

static bool shell(const char *fmt, ...) printf_like(1);
static bool shell(const char *fmt, ...)
{
    char cmd[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    return system(cmd) == 0;
}

static int world_make(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct loop_options lo = {.workers = 1};
    char base[128];
    strcpy(w->folder, "/tmp/sluice-test-sink-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->out, sizeof w->out, "%s/a/b/", w->folder);
    snprintf(base, sizeof base, "file://%s", w->out);
    assert_int_equal(loop_create(&lo, &w->loop, NULL), 0);
    assert_int_equal(sink_create(w->loop, base, &w->sink, NULL), 0);
    w->sink->owner = w;
    w->o = w->sink->ops->object_create(w->sink);
    assert_non_null(w->o);
    w->o->owner = w;
    w->o->done = object_done;
    *state = w;
    return 0;
}

static int world_free(void **state)
{
    struct world *w = *state;
    w->sink->ops->object_destroy(w->o);
    w->sink->ops->destroy(w->sink);
    loop_destroy(w->loop);
    shell("rm -rf '%s'", w->folder);
    free(w);
    return 0;
}

static void stage(struct world *w, const char *key, const char *name, const char *text)
{
    sink_object_start(w->o, key, name);
    if (*text)
        assert_int_equal(do_write(w, slice_str(text)), 0);
    assert_int_equal(do_op(w, w->sink->ops->stage), 0);
}

static enum sink_found inspect(struct world *w)
{
    assert_int_equal(do_op(w, w->sink->ops->inspect), 0);
    return w->o->found;
}

static void an_object_is_invisible_until_it_is_published_and_then_whole(void **state)
{
    struct world *w = *state;
    sink_object_start(w->o, "2026/11/key", "s.1");
    assert_int_equal(do_write(w, SLICE_LIT("hello ")), 0);
    assert_int_equal(do_write(w, SLICE_LIT("world")), 0);
    assert_int_equal(w->o->bytes, 11);
    assert_int_equal(w->o->crc, 0xc99465aa);
    assert_int_equal(do_op(w, w->sink->ops->stage), 0);
    assert_true(shell("test ! -e '%s2026' && test -e '%s.sluice-s.1.tmp'", w->out, w->out));
    assert_int_equal(inspect(w), SINK_FOUND_STAGED);
    assert_int_equal(do_op(w, w->sink->ops->publish), 0);
    assert_true(shell("test \"$(cat '%s2026/11/key')\" = 'hello world'", w->out));
    assert_true(shell("test ! -e '%s.sluice-s.1.tmp'", w->out));
    assert_int_equal(inspect(w), SINK_FOUND_PUBLISHED);
    assert_int_equal(do_op(w, w->sink->ops->publish), 0); /* again: only the folders are synced */
}

static void an_empty_object_is_an_empty_file(void **state)
{
    struct world *w = *state;
    stage(w, "empty", "s.2", "");
    assert_int_equal(do_op(w, w->sink->ops->publish), 0);
    assert_true(shell("test -f '%sempty' && test ! -s '%sempty'", w->out, w->out));
}

static void a_foreign_file_is_told_of_and_stays(void **state)
{
    struct world *w = *state;
    stage(w, "key", "s.3", "ours");
    assert_true(shell("printf them > '%skey'", w->out)); /* of the same length */
    assert_int_equal(do_op(w, w->sink->ops->publish), -EEXIST);
    assert_int_equal(inspect(w), SINK_FOUND_FOREIGN);
    assert_int_equal(do_op(w, w->sink->ops->abort), 0);
    assert_true(shell("test \"$(cat '%skey')\" = them && test -z \"$(ls -A '%s' | grep sluice)\"", w->out, w->out));
}

static void what_was_staged_and_lost_is_not_found(void **state)
{
    struct world *w = *state;
    stage(w, "key", "s.4", "text");
    assert_true(shell("rm '%s.sluice-s.4.tmp'", w->out));
    assert_int_equal(do_op(w, w->sink->ops->publish), -ENOENT);
    assert_int_equal(inspect(w), SINK_FOUND_NOTHING);
    stage(w, "key", "s.5", "text");
    assert_true(shell("printf x >> '%s.sluice-s.5.tmp'", w->out)); /* not what the intent says */
    assert_int_equal(inspect(w), SINK_FOUND_NOTHING);
    assert_int_equal(do_op(w, w->sink->ops->abort), 0);
}

static void a_folder_that_somebody_removes_is_made_again(void **state)
{
    struct world *w = *state;
    stage(w, "x/one", "s.6", "1");
    assert_int_equal(do_op(w, w->sink->ops->publish), 0);
    assert_true(shell("rm -r '%sx'", w->out));
    stage(w, "x/two", "s.7", "2");
    assert_int_equal(do_op(w, w->sink->ops->publish), 0);
    assert_true(shell("rm -r '%s/a'", w->folder));
    stage(w, "x/three", "s.8", "3");
    assert_int_equal(do_op(w, w->sink->ops->publish), 0);
    assert_true(shell("test -f '%sx/three'", w->out));
}

static void cleaning_takes_our_leftovers_only(void **state)
{
    struct world *w = *state;
    static const char keep[2][SINK_STAGE_MAX + 1] = {"ours-2.1", "ours-3.1"};
    w->sink->ops->clean(w->sink, "ours-", keep, 2, clean_done); /* the folder is not there yet */
    wait_done(w);
    assert_int_equal(w->status, 0);
    assert_true(
        shell("mkdir -p '%s' && cd '%s' && touch .sluice-ours-1.1.tmp .sluice-ours-2.1.tmp .sluice-ours-2.2.tmp "
              ".sluice-theirs-1.1.tmp file .sluice-ours-1.1 .other",
              w->out, w->out));
    w->sink->ops->clean(w->sink, "ours-", keep, 2, clean_done);
    wait_done(w);
    assert_int_equal(w->status, 0);
    assert_true(shell("cd '%s' && test \"$(ls -A | tr '\\n' ' ')\" = "
                      "'.other .sluice-ours-1.1 .sluice-ours-2.1.tmp .sluice-theirs-1.1.tmp file '",
                      w->out));
}

static void bases_that_are_no_sink_are_refused(void **state)
{
    static const char *const bad[] = {"s3://bucket/", "file://relative/", "file:///no-slash", "file:///a/../b/"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct sink *s;
        struct err e = {0};
        assert_int_equal(sink_create(NULL, bad[i], &s, &e), ST_INVALID);
        assert_memory_equal(e.text, "sink '", 6);
    }
}

/* ---- pieces ---------------------------------------------------------------------------------------------------------- */

struct waiting {
    struct piece_waiter w;
    unsigned got;
};

static void got(struct piece_waiter *w)
{
    CONTAINER_OF(w, struct waiting, w)->got++;
}

static unsigned pressed;
static void press(struct piece_holder *h)
{
    pressed++;
}

static void pieces_are_bounded_and_who_waits_is_served_in_turn(void **state)
{
    struct piece_pool p;
    struct piece *piece[4];
    struct waiting a = {{.got = got}, 0}, b = {{.got = got}, 0};
    struct piece_holder h = {.press = press};
    piece_pool_init(&p, 1);
    piece_hold(&p, &h);
    for (int i = 0; i < 4; i++) {
        piece[i] = piece_get(&p, NULL);
        assert_non_null(piece[i]);
        memset(piece[i]->buffer[1], i, PIECE_BUFFER_BYTES);
    }
    assert_int_equal(pressed, 0);
    assert_null(piece_get(&p, &a.w));
    assert_null(piece_get(&p, &a.w)); /* waits once */
    assert_null(piece_get(&p, &b.w));
    assert_int_equal(pressed, 3);
    piece_put(&p, piece[0]);
    assert_int_equal(a.got, 1);
    assert_int_equal(b.got, 0);
    piece_wait_cancel(&b.w);
    piece_put(&p, piece[1]);
    assert_int_equal(b.got, 0);
    piece_put(&p, piece[2]);
    piece_put(&p, piece[3]);
    piece_hold_end(&h);
    piece_pool_deinit(&p);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_make, world_free)
    const struct CMUnitTest tests[] = {
        IN_WORLD(an_object_is_invisible_until_it_is_published_and_then_whole),
        IN_WORLD(an_empty_object_is_an_empty_file),
        IN_WORLD(a_foreign_file_is_told_of_and_stays),
        IN_WORLD(what_was_staged_and_lost_is_not_found),
        IN_WORLD(a_folder_that_somebody_removes_is_made_again),
        IN_WORLD(cleaning_takes_our_leftovers_only),
        cmocka_unit_test(bases_that_are_no_sink_are_refused),
        cmocka_unit_test(pieces_are_bounded_and_who_waits_is_served_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
