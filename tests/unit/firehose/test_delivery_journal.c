/*
 * The delivery's journal: its state, its bytes (against the golden file), the damage rules, and its I/O on a real loop.
 * Crashes and failing disks at every operation: tests/sim (sim_delivery).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/io/loop_backend.h"
#include "firehose/firehose_journal.h"
#include "firehose/journal_file.h"

static const char *golden_path;

/* ---- a state and its file ------------------------------------------------------------------------------------------ */

static const uint8_t uid[FRAME_UID_BYTES] = "sluice data dir";

static struct journal_intent intent_of(uint64_t object, const char *key)
{
    struct journal_intent i = {.object = object,
                               .settings = 1,
                               .attempt = 1,
                               .oldest = {1795381384567},
                               .records = 30,
                               .raw_bytes = 3000,
                               .stored_bytes = 456,
                               .stored_crc = 0xdeadbeef};
    snprintf(i.key, sizeof i.key, "%s", key);
    return i;
}

static void add(struct journal_state *s, struct journal_intent *i, uint64_t part, uint64_t from, uint64_t to)
{
    assert_int_equal(journal_intent_add_range(i, part, from, to), 0);
}

/* A journal's life, as the bytes of its file: a checkpoint, settings, intents, a commit, positions, a mark. */
static void make_file(struct bytebuf *out)
{
    struct journal_tail tail = {.generation = 5, .delivery_uid = 42, .open_epoch = 3};
    struct journal_state s;
    struct bytebuf body;
    memcpy(tail.log_uid, uid, sizeof uid);
    journal_state_init(&s);
    s.delivery_uid = 42;
    s.incarnation = 0x1f0c9a3e;
    s.open_epoch = 3;
    s.next_object = 7;
    assert_int_equal(journal_state_set_position(&s, 101, 10), 0);
    assert_int_equal(journal_state_set_position(&s, 102, 0), 0);
    bytebuf_init(&body, 65536);
    journal_write_checkpoint(&s, &body);
    journal_frame_add(&tail, JOURNAL_CHECKPOINT, bytebuf_view(&body), out);
    journal_write_pad(out);
    tail.durable = tail.frames_end;

    bytebuf_reset(&body);
    journal_write_settings(&(struct journal_settings){1, 2, SLICE_LIT("{\"name\":\"archive\"}")}, &body);
    journal_frame_add(&tail, JOURNAL_SETTINGS, bytebuf_view(&body), out);
    struct journal_intent a = intent_of(7, "2026/11/archive-7.zst"), b = intent_of(8, "2026/11/archive-8.zst");
    add(&s, &a, 101, 10, 30);
    add(&s, &a, 102, 0, 10);
    add(&s, &b, 101, 30, 40);
    bytebuf_reset(&body);
    journal_write_intent(&a, &body);
    journal_frame_add(&tail, JOURNAL_INTENT, bytebuf_view(&body), out);
    journal_write_pad(out);
    tail.durable = tail.frames_end;

    bytebuf_reset(&body);
    journal_write_intent(&b, &body);
    journal_frame_add(&tail, JOURNAL_INTENT, bytebuf_view(&body), out);
    bytebuf_reset(&body);
    journal_write_commit(7, &body);
    journal_frame_add(&tail, JOURNAL_COMMIT, bytebuf_view(&body), out);
    bytebuf_reset(&body);
    journal_write_positions(&(struct journal_part){102, 15}, 1, &body);
    journal_frame_add(&tail, JOURNAL_POSITIONS, bytebuf_view(&body), out);
    journal_write_pad(out);
    tail.durable = tail.frames_end;
    journal_frame_add(&tail, FRAME_KIND_MARK, SLICE_NULL, out);
    journal_write_pad(out);
    assert_false(bytebuf_failed(out));
    bytebuf_deinit(&body);
    free(a.ranges);
    free(b.ranges);
    journal_state_deinit(&s);
}

static int read_file(struct slice bytes, struct journal_state *s, struct err *e)
{
    journal_state_init(s);
    return journal_file_read(bytes, uid, 5, 42, s, e);
}

static void the_format_is_that_of_the_golden_file(void **state)
{
    struct bytebuf out;
    uint8_t golden[32768];
    bytebuf_init(&out, 1 << 20);
    make_file(&out);
    if (getenv("WRITE_GOLDEN")) {
        FILE *w = fopen(golden_path, "wb");
        assert_non_null(w);
        assert_int_equal(fwrite(out.ptr, 1, out.len, w), out.len);
        fclose(w);
    }
    FILE *f = fopen(golden_path, "rb");
    assert_non_null(f);
    size_t n = fread(golden, 1, sizeof golden, f);
    fclose(f);
    assert_int_equal(n, out.len);
    assert_memory_equal(golden, out.ptr, n);
    bytebuf_deinit(&out);
}

static void a_file_says_what_was_written_to_it(void **state)
{
    struct bytebuf out;
    struct journal_state s;
    struct err e = {0};
    bytebuf_init(&out, 1 << 20);
    make_file(&out);
    assert_int_equal(read_file(bytebuf_view(&out), &s, &e), 1);
    assert_int_equal(s.incarnation, 0x1f0c9a3e);
    assert_int_equal(s.next_object, 9);
    assert_int_equal(journal_state_part(&s, 101)->position, 40);
    assert_int_equal(journal_state_part(&s, 102)->position, 15);
    assert_int_equal(s.intent_count, 1);
    const struct journal_intent *i = journal_state_intent(&s, 8);
    assert_non_null(i);
    assert_string_equal(i->key, "2026/11/archive-8.zst");
    assert_int_equal(i->range_count, 1);
    assert_int_equal(i->stored_crc, 0xdeadbeef);
    assert_true(slice_eq_str(journal_state_settings(&s, 1)->json, "{\"name\":\"archive\"}"));
    /* what is committed ends where the open intent begins */
    assert_int_equal(journal_state_committed(&s, 101), 30);
    assert_int_equal(journal_state_committed(&s, 102), 15);
    journal_state_deinit(&s);
    bytebuf_deinit(&out);
}

static void a_state_survives_a_checkpoint_of_its_own(void **state)
{
    struct bytebuf out, a, b;
    struct journal_state s, again;
    struct err e;
    bytebuf_init(&out, 1 << 20);
    bytebuf_init(&a, 1 << 20);
    bytebuf_init(&b, 1 << 20);
    make_file(&out);
    assert_int_equal(read_file(bytebuf_view(&out), &s, &e), 1);
    journal_write_checkpoint(&s, &a);
    journal_state_init(&again);
    assert_int_equal(journal_state_apply(&again, JOURNAL_CHECKPOINT, bytebuf_view(&a)), 0);
    journal_write_checkpoint(&again, &b);
    assert_true(slice_eq(bytebuf_view(&a), bytebuf_view(&b)));
    assert_int_equal(journal_state_apply(&again, JOURNAL_CHECKPOINT, bytebuf_view(&a)), ST_CORRUPT);
    for (size_t cut = 0; cut < a.len; cut++) { /* a checkpoint with any bytes missing is no checkpoint */
        struct journal_state part;
        journal_state_init(&part);
        assert_int_equal(journal_state_apply(&part, JOURNAL_CHECKPOINT, slice_of(a.ptr, cut)), ST_CORRUPT);
        journal_state_deinit(&part);
    }
    journal_state_deinit(&s);
    journal_state_deinit(&again);
    bytebuf_deinit(&out);
    bytebuf_deinit(&a);
    bytebuf_deinit(&b);
}

static void a_torn_end_is_cut_off_and_everything_before_it_stays(void **state)
{
    static const uint32_t open_intents[] = {0, 0, 1, 2, 1, 1, 1}; /* after each frame: checkpoint, settings, ... */
    struct bytebuf out;
    size_t ends[7], at = 0;
    bytebuf_init(&out, 1 << 20);
    make_file(&out);
    for (int i = 0; i < 7; i++) {
        struct frame_header h;
        uint32_t crc;
        while (frame_header_read(slice_from(bytebuf_view(&out), at), &h, &crc) < 0)
            at += 64; /* padding */
        ends[i] = at + FRAME_HEADER_BYTES + h.stored_bytes;
        at += frame_space(h.stored_bytes);
    }
    for (size_t cut = 0; cut <= out.len; cut += 8) { /* the file ends anywhere: as if the rest was never written */
        struct journal_state s;
        struct err e = {0};
        int frames = 0;
        while (frames < 7 && ends[frames] <= cut)
            frames++;
        assert_int_equal(read_file(slice_of(out.ptr, cut), &s, &e), frames > 0);
        assert_int_equal(s.intent_count, frames ? open_intents[frames - 1] : 0);
        journal_state_deinit(&s);
    }
    bytebuf_deinit(&out);
}

static void damage_below_what_was_synced_is_told_of_and_never_skipped(void **state)
{
    struct bytebuf out;
    bytebuf_init(&out, 1 << 20);
    make_file(&out);
    static const size_t bodies[] = {128, 4096 + 10, 4096 + 150, 8192 + 5, 8192 + 140, 8192 + 330};
    for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct journal_state s;
            struct err e = {0};
            out.ptr[bodies[i]] ^= (uint8_t)(1u << bit);
            assert_int_equal(read_file(bytebuf_view(&out), &s, &e), ST_CORRUPT);
            assert_non_null(strstr(e.text, "damaged at byte "));
            journal_state_deinit(&s);
            out.ptr[bodies[i]] ^= (uint8_t)(1u << bit);
        }
    }
    struct journal_state s;
    struct err e = {0};
    journal_state_init(&s);
    assert_int_equal(journal_file_read(bytebuf_view(&out), (const uint8_t *)"another data dir", 5, 42, &s, &e),
                     ST_CORRUPT);
    assert_string_equal(e.text, "it belongs to another data directory");
    journal_state_deinit(&s);
    /* another generation: a stale file says nothing */
    journal_state_init(&s);
    assert_int_equal(journal_file_read(bytebuf_view(&out), uid, 6, 42, &s, &e), 0);
    journal_state_deinit(&s);
    bytebuf_deinit(&out);
}

/* ---- invariants ------------------------------------------------------------------------------------------------------ */

static void intents_that_break_the_rules_are_refused(void **state)
{
    struct journal_state s;
    journal_state_init(&s);
    s.delivery_uid = 42;
    assert_int_equal(journal_state_add_settings(&s, 1, 1, SLICE_LIT("{}")), 0);
    assert_int_equal(journal_state_add_settings(&s, 1, 1, SLICE_LIT("{}")), ST_CONFLICT);
    struct journal_intent a = intent_of(1, "a"), b = intent_of(2, "b");
    add(&s, &a, 7, 0, 10);
    assert_int_equal(journal_state_add_intent(&s, &a), 0);
    add(&s, &b, 7, 5, 15); /* records of another intent */
    assert_int_equal(journal_state_add_intent(&s, &b), ST_CONFLICT);
    b.ranges[0] = (struct journal_range){7, 20, 20};
    assert_int_equal(journal_state_add_intent(&s, &b), ST_CONFLICT);
    b.ranges[0] = (struct journal_range){7, 12, 20}; /* a gap is allowed: those records are lost */
    b.settings = 9;
    assert_int_equal(journal_state_add_intent(&s, &b), ST_CONFLICT);
    b.settings = 1;
    assert_int_equal(journal_state_add_intent(&s, &b), 0);
    assert_int_equal(journal_state_part(&s, 7)->position, 20);
    a.attempt = 2; /* a second attempt of the same records */
    a.stored_bytes = 1;
    assert_int_equal(journal_state_add_intent(&s, &a), 0);
    assert_int_equal(s.intent_count, 2);
    assert_int_equal(s.intents[0]->stored_bytes, 1);
    a.ranges[0].to = 11; /* of other records */
    assert_int_equal(journal_state_add_intent(&s, &a), ST_CONFLICT);
    a.ranges[0].to = 10;
    a.object = 3; /* under another name */
    a.replaces = 1;
    assert_int_equal(journal_state_add_intent(&s, &a), 0);
    assert_null(journal_state_intent(&s, 1));
    assert_int_equal(journal_state_commit(&s, 1), ST_CONFLICT);
    assert_int_equal(journal_state_commit(&s, 2), 0);
    assert_int_equal(journal_state_committed(&s, 7), 0);
    assert_int_equal(journal_state_commit(&s, 3), 0);
    assert_int_equal(journal_state_committed(&s, 7), 20);
    assert_int_equal(journal_state_set_position(&s, 7, 19), ST_CONFLICT);
    free(a.ranges);
    free(b.ranges);
    journal_state_deinit(&s);
}

static void ranges_that_follow_one_another_become_one(void **state)
{
    struct journal_intent a = intent_of(1, "a");
    add(NULL, &a, 1, 0, 10);
    add(NULL, &a, 2, 0, 5);
    add(NULL, &a, 1, 10, 20);
    add(NULL, &a, 1, 30, 40);
    add(NULL, &a, 2, 5, 6);
    assert_int_equal(a.range_count, 3);
    assert_int_equal(a.ranges[0].to, 20);
    assert_int_equal(a.ranges[1].to, 6);
    free(a.ranges);
}

static void settings_are_kept_as_long_as_an_intent_names_them(void **state)
{
    struct journal_state s;
    journal_state_init(&s);
    for (uint32_t id = 1; id <= 3; id++)
        assert_int_equal(journal_state_add_settings(&s, id, id, SLICE_LIT("{}")), 0);
    struct journal_intent a = intent_of(1, "a");
    a.settings = 2;
    add(&s, &a, 7, 0, 10);
    assert_int_equal(journal_state_add_intent(&s, &a), 0);
    journal_state_forget_settings(&s);
    assert_null(journal_state_settings(&s, 1));
    assert_non_null(journal_state_settings(&s, 2));
    assert_int_equal(journal_state_commit(&s, 1), 0);
    journal_state_forget_settings(&s);
    assert_int_equal(s.settings_count, 1);
    assert_non_null(journal_state_settings(&s, 3));
    free(a.ranges);
    journal_state_deinit(&s);
}

/* ---- I/O --------------------------------------------------------------------------------------------------------------- */

struct world {
    struct loop *loop;
    char folder[64];
    struct firehose_journal *j;
    bool opened, closed;
    int status;
    char error[ERR_TEXT_MAX];
    uint32_t done;
};

struct counted {
    struct firehose_append a;
    struct world *w;
};

static void opened(struct firehose_journal *j, int status, const struct err *e)
{
    struct world *w = firehose_journal_owner(j);
    w->opened = true;
    w->status = status;
    snprintf(w->error, sizeof w->error, "%s", e ? e->text : "");
}

static struct world *closing;
static void closed(struct firehose_journal *j)
{
    closing->closed = true;
}

static void appended(struct firehose_append *a)
{
    CONTAINER_OF(a, struct counted, a)->w->done++;
}

static void run_until(struct world *w, bool *flag, uint32_t done)
{
    for (int i = 0; i < 100000 && (flag ? !*flag : w->done < done); i++)
        assert_int_equal(loop_core_step(w->loop, true), 0);
    assert_true(flag ? *flag : w->done >= done);
}

static void journal_open(struct world *w, uint64_t roll_bytes)
{
    struct firehose_journal_options o = {.folder = w->folder, .delivery_uid = 42, .roll_bytes = roll_bytes};
    memcpy(o.log_uid, uid, sizeof uid);
    assert_int_equal(firehose_journal_create(w->loop, &o, &w->j), 0);
    w->opened = false;
    firehose_journal_open(w->j, opened, w);
    run_until(w, &w->opened, 0);
}

static void journal_close(struct world *w)
{
    w->closed = false;
    closing = w;
    firehose_journal_close(w->j, closed);
    run_until(w, &w->closed, 0);
    firehose_journal_destroy(w->j);
}

static int world_make(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct loop_options lo = {.workers = 1};
    strcpy(w->folder, "/tmp/sluice-test-journal-XXXXXX");
    *state = w;
    return mkdtemp(w->folder) ? loop_create(&lo, &w->loop, NULL) : -1;
}

static int world_free(void **state)
{
    struct world *w = *state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", w->folder);
    int rc = system(cmd);
    loop_destroy(w->loop);
    free(w);
    return rc;
}

static void what_was_appended_is_there_after_opening_again_however_often_it_rolls(void **state)
{
    struct world *w = *state;
    struct counted c[300];
    uint32_t id;
    journal_open(w, 8192);
    assert_int_equal(w->status, 0);
    assert_false(firehose_journal_found(w->j));
    uint32_t incarnation = firehose_journal_state(w->j)->incarnation;
    assert_true(incarnation != 0);
    assert_int_equal(firehose_journal_settings(w->j, 1, SLICE_LIT("{\"a\":1}"), &id, NULL), 0);
    for (uint32_t i = 0; i < 150; i++) { /* in batches of one, two, three... appends a write */
        struct journal_intent in = intent_of(firehose_journal_take_object(w->j), "key");
        in.settings = id;
        add(NULL, &in, 7, i * 10, i * 10 + 10);
        c[2 * i] = (struct counted){{.done = appended}, w};
        c[2 * i + 1] = (struct counted){{.done = appended}, w};
        assert_int_equal(firehose_journal_intent(w->j, &in, &c[2 * i].a), 0);
        if (i != 149)
            assert_int_equal(firehose_journal_commit(w->j, in.object, &c[2 * i + 1].a), 0);
        free(in.ranges);
        if (i % 7 == 0)
            run_until(w, NULL, 2 * i + 1);
    }
    run_until(w, NULL, 299);
    assert_true(firehose_journal_stats(w->j)->rolls > 5);
    assert_int_equal(firehose_journal_stats(w->j)->failures, 0);
    journal_close(w);
    for (int i = 0; i < 3; i++) {
        journal_open(w, 8192);
        assert_int_equal(w->status, 0);
        assert_true(firehose_journal_found(w->j));
        const struct journal_state *s = firehose_journal_state(w->j);
        assert_int_equal(s->incarnation, incarnation);
        assert_int_equal(s->open_epoch, 2 + i);
        assert_int_equal(journal_state_part(s, 7)->position, 1500);
        assert_int_equal(s->intent_count, 1);
        assert_int_equal(s->next_object, 151);
        assert_int_equal(firehose_journal_take_object(w->j), 151);
        journal_close(w);
    }
    char cmd[128];
    snprintf(cmd, sizeof cmd, "test $(ls '%s' | wc -l) -eq 1", w->folder);
    assert_int_equal(system(cmd), 0); /* older files are gone */
}

static void a_new_file_that_was_never_completed_is_passed_over(void **state)
{
    struct world *w = *state;
    char cmd[256];
    uint32_t id;
    journal_open(w, 0);
    assert_int_equal(firehose_journal_settings(w->j, 1, SLICE_LIT("{}"), &id, NULL), 0);
    journal_close(w);
    snprintf(cmd, sizeof cmd,
             "cd '%s' && head -c 100 $(ls | head -1) > delivery-000000000000002a-00000000000000ff.journal", w->folder);
    assert_int_equal(system(cmd), 0);
    journal_open(w, 0);
    assert_int_equal(w->status, 0);
    assert_int_equal(firehose_journal_state(w->j)->settings_count, 1);
    journal_close(w);
    snprintf(cmd, sizeof cmd, "test \"$(ls '%s')\" = delivery-000000000000002a-0000000000000100.journal", w->folder);
    assert_int_equal(system(cmd), 0);
}

static void a_damaged_file_is_named_with_its_byte_and_left_alone(void **state)
{
    struct world *w = *state;
    char cmd[256];
    uint32_t id;
    journal_open(w, 0);
    assert_int_equal(firehose_journal_settings(w->j, 1, SLICE_LIT("{}"), &id, NULL), 0);
    journal_close(w);
    snprintf(cmd, sizeof cmd, "cd '%s' && printf X | dd of=$(ls) bs=1 seek=4100 conv=notrunc 2>/dev/null", w->folder);
    assert_int_equal(system(cmd), 0);
    journal_open(w, 0);
    assert_int_equal(w->status, ST_CORRUPT);
    char expect[256];
    snprintf(expect, sizeof expect,
             "delivery journal '%s/delivery-000000000000002a-0000000000000001.journal': damaged at byte 192",
             w->folder);
    assert_string_equal(w->error, expect);
    journal_close(w);
    snprintf(cmd, sizeof cmd, "test $(ls '%s' | wc -l) -eq 1", w->folder);
    assert_int_equal(system(cmd), 0);
}

static void names_of_files_are_recognised_and_others_are_not(void **state)
{
    static const char *const others[] = {"", "delivery-", "delivery-000000000000002a-00000000000000ff.journal2",
                                         "delivery-000000000000002A-00000000000000ff.journal",
                                         "delivery-000000000000002a_00000000000000ff.journal"};
    char name[JOURNAL_NAME_CHARS + 1];
    uint64_t a, b;
    journal_file_name(42, 255, name);
    assert_string_equal(name, "delivery-000000000000002a-00000000000000ff.journal");
    assert_true(journal_file_name_parse(name, &a, &b));
    assert_int_equal(a, 42);
    assert_int_equal(b, 255);
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        assert_false(journal_file_name_parse(others[i], &a, &b));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_format_is_that_of_the_golden_file),
        cmocka_unit_test(a_file_says_what_was_written_to_it),
        cmocka_unit_test(a_state_survives_a_checkpoint_of_its_own),
        cmocka_unit_test(a_torn_end_is_cut_off_and_everything_before_it_stays),
        cmocka_unit_test(damage_below_what_was_synced_is_told_of_and_never_skipped),
        cmocka_unit_test(intents_that_break_the_rules_are_refused),
        cmocka_unit_test(ranges_that_follow_one_another_become_one),
        cmocka_unit_test(settings_are_kept_as_long_as_an_intent_names_them),
        cmocka_unit_test(names_of_files_are_recognised_and_others_are_not),
        cmocka_unit_test_setup_teardown(what_was_appended_is_there_after_opening_again_however_often_it_rolls,
                                        world_make, world_free),
        cmocka_unit_test_setup_teardown(a_new_file_that_was_never_completed_is_passed_over, world_make, world_free),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_named_with_its_byte_and_left_alone, world_make, world_free),
    };
    if (argc < 2) {
        fprintf(stderr, "usage: test_delivery_journal GOLDEN_FILE\n");
        return 2;
    }
    golden_path = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
