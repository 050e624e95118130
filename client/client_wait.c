/* Waiting is a timer on the handle's loop: no clock and no sleep outside the seam. */
#include "client/client_wait.h"

struct pause {
    struct sluice *s;
    struct io_msg msg;
    struct io_timer timer;
    uint32_t ms;
    bool over;
};

static void pause_over(struct io_timer *t)
{
    struct pause *p = CONTAINER_OF(t, struct pause, timer);
    struct sluice *s = p->s;
    pthread_mutex_lock(&s->lock);
    p->over = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void pause_begin(struct io_msg *m)
{
    struct pause *p = CONTAINER_OF(m, struct pause, msg);
    p->timer.fired = pause_over;
    timer_arm(p->s->loop, &p->timer, mono_add_ms(loop_now(p->s->loop), p->ms));
}

void client_wait_ms(struct sluice *s, uint32_t ms)
{
    struct pause p = {.s = s, .msg = {.deliver = pause_begin}, .ms = ms};
    loop_post(s->loop, &p.msg);
    pthread_mutex_lock(&s->lock);
    while (!p.over)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}
