/* What the simulator's files share. A test includes sim.h only. */
#ifndef SLUICE_SIM_INTERNAL_H
#define SLUICE_SIM_INTERNAL_H

#include "common/base/check.h"
#include "common/io/loop_backend.h"
#include "tests/sim/sim_store.h"

#define US 1000ll

struct sim_event;
typedef void sim_event_fn(struct sim_event *e);

/* Something that will happen in a loop's wait. */
struct sim_event {
    int64_t at_ns;
    uint64_t order; /* of creation: ties are broken by it */
    struct sim_loop *loop;
    sim_event_fn *run;
    uint32_t heap_index;
    struct io_op *op;
    struct io_job *job;
    /* disk: */
    struct store_node *node; /* held */
    struct store_sync sync;
    enum sim_fault fault;
    uint64_t seal;   /* hash of what must not change in flight */
    uint64_t change; /* sync_dir: the newest change of names it covers */
    bool cancelled;
    /* network: */
    struct sim_socket *socket;
    struct net_listener *listener;
    struct sim_port *port;
    uint16_t to_port;
};

struct sim_heap {
    struct sim_event **at;
    uint32_t count, cap;
};

struct sim_loop {
    struct loop loop; /* first */
    struct sim_world *world;
    struct sim_heap events;
    struct list link;
};

struct sim_file {
    struct store_node *node; /* NULL: closed */
    unsigned flags;
};

struct sim_world {
    struct sim_options options;
    uint64_t rng[4];
    int64_t now_ns;
    int64_t wall_base_ms; /* wall = this + now */
    uint64_t order;
    struct list loops;
    struct store store;
    struct sim_counts counts;
    struct sim_file *files;
    uint32_t file_count, file_cap;
    /* faults by number */
    enum sim_fault fail;
    uint64_t fail_in, fail_more, fault_ops[SIM_FAULT_KINDS], faults_hit;
    uint64_t cut_in;
    bool cut;
    bool trace;
    /* network */
    struct list sockets, ports;
    int next_socket;
    uint16_t next_port;
};

static inline struct sim_loop *sim_loop_of(struct loop *loop)
{
    return CONTAINER_OF(loop, struct sim_loop, loop);
}

/* sim_world.c */
struct sim_event *sim_event_add(struct sim_loop *l, sim_event_fn *run, int64_t delay_ns);
/* Moves it to now + delay_ns. */
void sim_event_move(struct sim_event *e, int64_t delay_ns);
/* Takes it out of the heap and frees it. */
void sim_event_drop(struct sim_event *e);

/* sim_disk.c */
void sim_disk_submit(struct loop *loop, struct io_op *op);
void sim_disk_cancel(struct loop *loop, struct io_op *op);
/* The end of an operation in flight at a crash (or kill): a part of it may have happened. */
void sim_disk_abandon(struct sim_event *e);
bool sim_event_is_disk(const struct sim_event *e);
void sim_disk_close_all(struct sim_world *w);

/* sim_net.c */
int sim_net_listen(struct loop *loop, struct net_listener *l, const struct net_address *at, struct err *e);
void sim_net_listener_close(struct net_listener *l);
void sim_net_adopt(struct loop *loop, struct net_conn *conn, int socket);
void sim_net_refuse(struct loop *loop, int socket);
void sim_net_connect(struct loop *loop, struct net_conn *conn, const struct net_address *to, struct io_op *op);
void sim_net_send(struct net_conn *conn, struct io_op *op);
void sim_net_recv_start(struct net_conn *conn);
void sim_net_recv_stop(struct net_conn *conn);
void sim_net_shutdown(struct net_conn *conn);
void sim_net_close(struct net_conn *conn);
void sim_net_cancel(struct loop *loop, struct io_op *op);
/* Forgets all sockets of the world. */
void sim_net_drop_all(struct sim_world *w);

/* sim_heap.c: frees what the code under test holds. */
void sim_heap_drop(void);

#endif
