/*
 * The deterministic simulator: a world made from one 64-bit seed. It holds virtual time, one generator of randomness, a
 * disk and a network, and any number of loops, all run on the calling thread. A loop of it is a `struct loop` like any
 * other (common/io/loop.h), so the code under test runs unmodified; the same seed gives the same run, event for event.
 *
 * Invariants
 *  S1. Everything random comes from the world's generator, drawn on the one thread: a run is a function of the seed
 *      (and of the test's own calls).
 *  S2. Time moves only in sim_run (and in a blocking loop_run): to the next event, and by a few microseconds an
 *      iteration. Ops complete in the order of randomly jittered times, so ops in flight together complete in any
 *      order, as do jobs; what L6 orders is ordered.
 *  S3. A buffer in flight belongs to the loop: the sim fills a read's buffer with rubbish when it is submitted, and
 *      aborts if a write's bytes or an op's path change before its completion.
 *  S4. sim_crash is a power cut: no callback of the old loops is ever called again, the heap that the code under test
 *      had allocated is freed, the disk decides what it has kept (sim_disk.c), and the test makes new loops.
 *
 * A test drives it so: sim_create; sim_loop_create; start something; sim_run until it is done; sim_crash; again.
 */
#ifndef SLUICE_SIM_H
#define SLUICE_SIM_H

#include "common/io/loop.h"

struct sim_world;

/* Chances per million, each for an operation that it can hit. */
struct sim_faults {
    uint32_t read_eio, write_eio, sync_eio, meta_eio, write_enospc;
    uint32_t short_io; /* a transfer moves only a part; the core must do the rest */
    uint32_t slow;     /* it takes up to half a second longer */
    uint32_t reset;    /* a network delivery resets the connection instead */
};

struct sim_options {
    uint64_t seed;
    uint64_t disk_bytes; /* capacity; 0 = 1 TiB */
    bool refuse_direct;  /* IO_DIRECT opens go on buffered */
    struct sim_faults faults;
};

struct sim_world *sim_create(const struct sim_options *options);
void sim_destroy(struct sim_world *w);
void sim_set_faults(struct sim_world *w, const struct sim_faults *faults);

/* ---- randomness -------------------------------------------------------------------------------------------------- */

uint64_t sim_u64(struct sim_world *w);
/* 0 .. below - 1; below > 0. */
uint64_t sim_below(struct sim_world *w, uint64_t below);
/* from .. to, both included. */
uint64_t sim_between(struct sim_world *w, uint64_t from, uint64_t to);
/* True `per_million` times in a million. */
bool sim_chance(struct sim_world *w, uint32_t per_million);
void sim_fill(struct sim_world *w, void *out, size_t len);

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* Makes a loop of the world. It belongs to the world, which destroys what is left of it; loop_destroy may be called. */
struct loop *sim_loop_create(struct sim_world *w);

enum sim_end {
    SIM_DONE,     /* `until` said so */
    SIM_DEADLINE, /* the virtual deadline came */
    SIM_IDLE,     /* nothing is in flight, no timer is armed: nothing will ever happen by itself */
    SIM_CUT       /* the operation given to sim_cut_at was reached */
};
/* Runs the loops until `until(arg)` is true (asked between iterations; NULL: never) or `for_ms` have passed. */
enum sim_end sim_run(struct sim_world *w, bool (*until)(void *arg), void *arg, int64_t for_ms);
enum sim_end sim_run_ns(struct sim_world *w, bool (*until)(void *arg), void *arg, int64_t for_ns);
int64_t sim_now_ns(const struct sim_world *w);
struct wall_ms sim_wall(const struct sim_world *w);
/* Sets the wall clock on or back; the monotonic clock is not touched. */
void sim_wall_step(struct sim_world *w, int64_t by_ms);

/* S4. Faults by sim_fail_nth and sim_cut_at are forgotten. */
void sim_crash(struct sim_world *w);
/* As kill -9: the loops and the heap go, what the operating system has taken stays; nothing becomes durable by it. */
void sim_kill(struct sim_world *w);

/* Code under test called straight by the test stands between these two, so that what it allocates dies at a crash. The
 * callbacks of a loop do so already; a test's own callback that allocates for itself uses sim_heap_keep. */
void sim_enter(struct sim_world *w);
void sim_leave(struct sim_world *w);
/* calloc and free for the test: a crash does not touch it. */
void *sim_heap_keep(size_t bytes);
void *sim_heap_keep_again(void *ptr, size_t bytes);
void sim_heap_keep_free(void *ptr);
/* Bytes that the code under test holds now. */
size_t sim_heap_live(void);

/* ---- faults by number -------------------------------------------------------------------------------------------- */

enum sim_fault {
    SIM_FAULT_NONE,
    SIM_FAULT_EIO,    /* any operation on the disk but close */
    SIM_FAULT_ENOSPC, /* operations that take space: open with IO_CREATE, write, allocate, rename, mkdir, datasync */
    SIM_FAULT_SHORT,  /* reads and writes */
    SIM_FAULT_SYNC,   /* datasync and sync_dir, with the loss of what it should have made durable */
    SIM_FAULT_CANCEL  /* reads and writes: -ECANCELED */
};
#define SIM_FAULT_KINDS 6
/* The `nth` operation (1: the next) from now that `fault` can hit fails; and the `more` such operations after it. */
void sim_fail_nth(struct sim_world *w, enum sim_fault fault, uint64_t nth, uint64_t more);
/* How many operations there were so far that `fault` can hit: what a sweep counts first. */
uint64_t sim_fault_ops(const struct sim_world *w, enum sim_fault fault);
/* How many faults were injected so far, of any kind. */
uint64_t sim_faults_hit(const struct sim_world *w);
/* Ends sim_run with SIM_CUT as the `nth` disk operation from now is submitted (it and what follows is not done any
 * more): the place for sim_crash. 0 takes it back. */
void sim_cut_at(struct sim_world *w, uint64_t nth);

/* ---- the disk, seen by the test ---------------------------------------------------------------------------------- */

/* Makes a folder (and those above it), durably. */
void sim_disk_mkdirs(struct sim_world *w, const char *path);
/* -ENOENT, or the length as the operating system shows it. */
int64_t sim_disk_size(struct sim_world *w, const char *path);
/* Copies out what a read would see; returns the bytes copied, -ENOENT. */
int64_t sim_disk_peek(struct sim_world *w, const char *path, uint64_t offset, void *out, size_t len);
/* Overwrites bytes durably: damage or a prepared file (created if absent, durably). */
void sim_disk_poke(struct sim_world *w, const char *path, uint64_t offset, const void *bytes, size_t len);
/* Bit rot: flips the bits of `mask` in one byte, on the medium and in what reads see. False if the file has no such
 * byte. */
bool sim_disk_flip(struct sim_world *w, const char *path, uint64_t offset, uint8_t mask);
/* Takes a file away, durably: damage. False if there is none. */
bool sim_disk_remove(struct sim_world *w, const char *path);
/* Calls `each` for every file below `path`, in order of their names. */
void sim_disk_walk(struct sim_world *w, const char *path, void (*each)(void *arg, const char *path, uint64_t size),
                   void *arg);
/* Replaces the disk of `to` by a copy of what `from` shows now, all durable. `to` has no file open. */
void sim_disk_copy(struct sim_world *to, struct sim_world *from);
void sim_disk_set_capacity(struct sim_world *w, uint64_t bytes);
uint64_t sim_disk_used(const struct sim_world *w);
/* A hash of all that the disk shows: two runs of one seed must agree. */
uint64_t sim_disk_hash(struct sim_world *w);

struct sim_counts {
    uint64_t ops, reads, writes, syncs, dir_syncs, write_bytes, crashes, iterations;
    uint64_t units_kept, units_dropped, units_torn, names_lost; /* what crashes did */
};
const struct sim_counts *sim_counts(const struct sim_world *w);

/* Prints each disk operation to stderr as it is submitted and as it completes. */
void sim_trace(struct sim_world *w, bool on);

#endif
