/*
 * One log in a simulated world, driven by straight code: open it, use it, end it somehow, and check all of it against
 * the model after each opening. sim_log.c makes random lives of it, sim_log_sweep.c systematic ones.
 */
#ifndef SLUICE_LOG_DRIVER_H
#define SLUICE_LOG_DRIVER_H

#include "broker/log/log.h"
#include "tests/sim/log_model.h"
#include "tests/sim/sim.h"

#define DRIVER_SHARDS_MAX  8
#define DRIVER_LOOPS_MAX   3
#define DRIVER_APPENDS_MAX 64
#define DRIVER_READERS_MAX 6
#define DRIVER_UID         100

struct driver;

struct driver_append {
    struct log_append a;
    struct driver *d;
    uint32_t shard, count;
    uint64_t id;
    bool busy;
};

struct driver_reader {
    struct log_read r;
    struct log_watch watch;
    struct driver *d;
    uint32_t shard;
    uint64_t position;
    uint32_t bytes_max, blocks_max;
    enum log_visibility visibility;
    bool busy, watching, cancelled, follow; /* follow: reads on by itself, and watches at the tip */
};

struct driver_seek {
    struct log_seek s;
    struct driver *d;
    uint32_t shard;
    uint64_t visible; /* when it was started */
    bool busy;
};

struct driver {
    struct sim_world *w;
    struct log_options options;
    struct model model;
    uint32_t shard_count, loop_count;
    struct loop *loop[DRIVER_LOOPS_MAX];
    struct log *log[DRIVER_LOOPS_MAX];
    struct log_shard *shard[DRIVER_SHARDS_MAX]; /* NULL: not created yet, or no log is open */
    bool created[DRIVER_SHARDS_MAX];
    struct log_live_shard live[DRIVER_SHARDS_MAX];
    struct driver_append append[DRIVER_APPENDS_MAX];
    struct driver_reader reader[DRIVER_READERS_MAX];
    struct driver_seek seek;
    struct log_open open;
    struct log_close close[DRIVER_LOOPS_MAX];
    uint32_t closes;
    bool opened, verbose;
    bool faults;             /* errors may show: operations were failed on purpose since the last opening */
    bool rot;                /* bits were flipped since the beginning */
    bool allow_loss_of_last; /* rot may cut the last commit before its mark */
    enum model_cut cut;      /* how the last life ended */
    uint8_t *scratch;        /* record data on their way into log_append */
    uint64_t acks, refusals, failures, blocks_read, seeks, watches_woken, quarantines;
};

#define DRIVER_SCRATCH_BYTES (4u << 20)

void driver_init(struct driver *d, struct sim_world *w, const struct log_options *options, uint32_t shards);
void driver_deinit(struct driver *d);
static inline bool driver_ok(const struct driver *d)
{
    return model_ok(&d->model);
}

/* Makes loops and opens the log. 0; or the log's status (allowed only with faults or rot); ST_FAILED with the model's
 * trouble set. */
int driver_open(struct driver *d, uint32_t loops);
/* Reads every shard from its first record to its end and settles what became of each record. */
bool driver_verify(struct driver *d);
/* Closes all logs and destroys the loops. False: trouble. */
bool driver_close(struct driver *d);
/* The power fails, or the process is killed. */
void driver_crash(struct driver *d, enum model_cut cut);
void driver_step_wall(struct driver *d, int64_t by_ms);
/* The wall clock as if it had never been stepped. */
int64_t driver_true_ms(const struct driver *d);

/* Makes the shard if it is not there. */
bool driver_shard_want(struct driver *d, uint32_t shard);
/* Appends `count` records of `bytes` data each (16 or more, together at most the scratch). True: taken. */
bool driver_append(struct driver *d, uint32_t shard, uint32_t count, uint32_t bytes);
uint32_t driver_appends_busy(const struct driver *d);
/* Runs until no append is in flight. */
bool driver_settle(struct driver *d);
void driver_reader_start(struct driver *d, struct driver_reader *r, uint32_t shard, uint64_t from,
                         enum log_visibility visibility, bool follow);
void driver_seek_start(struct driver *d, uint32_t shard, struct wall_ms at);
/* Looks at each shard's info; model_first. */
bool driver_look(struct driver *d);
/* Virtual time passes. */
bool driver_run_us(struct driver *d, uint64_t us);

#endif
