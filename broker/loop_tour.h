/*
 * A visit to every loop: one message that hops from loop to loop and comes home. For what is rare and needs each loop's own data
 * (metrics, starting, stopping); the data path never does this.
 */
#ifndef SLUICE_BROKER_LOOP_TOUR_H
#define SLUICE_BROKER_LOOP_TOUR_H

#include "common/io/loop.h"

struct loop_tour {
    struct loop **loops;
    uint32_t loop_count;
    uint32_t home; /* where done is called */
    /* Called on each loop's thread, in order. */
    void (*visit)(struct loop_tour *t, uint32_t index);
    void (*done)(struct loop_tour *t);
    /* private */
    uint32_t at;
    struct io_msg msg;
};

/* Starts from the home loop's thread; `t` until done. visit and done never come inside this call. */
void loop_tour_start(struct loop_tour *t);

#endif
