#include "broker/loop_tour.h"

static void tour_home(struct io_msg *m)
{
    struct loop_tour *t = CONTAINER_OF(m, struct loop_tour, msg);
    t->done(t);
}

static void tour_arrived(struct io_msg *m)
{
    struct loop_tour *t = CONTAINER_OF(m, struct loop_tour, msg);
    t->visit(t, t->at);
    if (++t->at < t->loop_count) {
        loop_post(t->loops[t->at], m);
        return;
    }
    t->msg.deliver = tour_home;
    loop_post(t->loops[t->home], m);
}

void loop_tour_start(struct loop_tour *t)
{
    t->at = 0;
    t->msg.deliver = tour_arrived;
    loop_post(t->loops[0], &t->msg);
}
