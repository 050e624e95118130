/*
 * The worker pool: for CPU-heavy or blocking work, and for the file operations that a backend cannot do itself. One a
 * process, shared by all loops, created with the first loop and ended with the last.
 *
 * Invariants
 *  W1. Each lane has at most `max` threads; a thread is started only when a job finds none idle.
 *  W2. Jobs of a lane start in the order in which they were submitted.
 *  W3. A lane in use has at least one thread (the first is started with the pool, where failure can be told).
 *
 * Failure modes: if no further thread can be started, the lane goes on with those that it has.
 * Threads: any; one mutex a lane. Workers take no signals.
 */
#include "common/io/worker_pool.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define JOB_THREADS_MAX  64
#define FILE_THREADS_MAX 4

struct lane {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct io_job *first, *last;
    uint32_t queued, idle, max, count;
    bool ending;
    pthread_t thread[JOB_THREADS_MAX];
};

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t pool_refs;
static struct lane lanes[WORKER_LANES] = {
    {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER},
    {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER},
};

static struct io_job *lane_take(struct lane *lane)
{
    while (!lane->first && !lane->ending) {
        lane->idle++;
        pthread_cond_wait(&lane->work, &lane->lock);
        lane->idle--;
    }
    struct io_job *j = lane->first;
    if (j) {
        lane->first = j->next;
        lane->queued--;
    }
    return j;
}

static void *worker_main(void *arg)
{
    struct lane *lane = arg;
    pthread_mutex_lock(&lane->lock);
    struct io_job *j;
    while ((j = lane_take(lane)) != NULL) {
        pthread_mutex_unlock(&lane->lock);
        j->work(j);
        loop_post(j->loop, &j->msg); /* j may be gone from here on */
        pthread_mutex_lock(&lane->lock);
    }
    pthread_mutex_unlock(&lane->lock);
    return NULL;
}

/* With the lane's lock held. */
static int lane_grow(struct lane *lane)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&lane->thread[lane->count], NULL, worker_main, lane);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return -r;
    pthread_setname_np(lane->thread[lane->count], "sluice-worker");
    lane->count++;
    return 0;
}

static int lane_open(struct lane *lane, uint32_t max)
{
    int r = 0;
    pthread_mutex_lock(&lane->lock);
    lane->ending = false;
    if (lane->max < max)
        lane->max = max;
    if (lane->count == 0)
        r = lane_grow(lane);
    pthread_mutex_unlock(&lane->lock);
    return r;
}

static void lane_close(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->ending = true;
    pthread_cond_broadcast(&lane->work);
    pthread_mutex_unlock(&lane->lock);
    for (uint32_t i = 0; i < lane->count; i++)
        pthread_join(lane->thread[i], NULL);
    lane->count = lane->max = 0;
}

int worker_pool_ref(uint32_t threads)
{
    if (threads == 0) {
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        threads = cpus > 0 ? (uint32_t)cpus : 1;
    }
    if (threads > JOB_THREADS_MAX)
        threads = JOB_THREADS_MAX;
    pthread_mutex_lock(&pool_lock);
    int r = lane_open(&lanes[WORKER_JOBS], threads);
    if (r == 0)
        r = lane_open(&lanes[WORKER_FILES], FILE_THREADS_MAX);
    if (r == 0)
        pool_refs++;
    else if (pool_refs == 0)
        lane_close(&lanes[WORKER_JOBS]);
    pthread_mutex_unlock(&pool_lock);
    return r;
}

void worker_pool_unref(void)
{
    pthread_mutex_lock(&pool_lock);
    if (--pool_refs == 0) {
        for (int i = 0; i < WORKER_LANES; i++)
            lane_close(&lanes[i]);
    }
    pthread_mutex_unlock(&pool_lock);
}

void worker_pool_submit(enum worker_lane which, struct io_job *j)
{
    struct lane *lane = &lanes[which];
    pthread_mutex_lock(&lane->lock);
    j->next = NULL;
    if (lane->first)
        lane->last->next = j;
    else
        lane->first = j;
    lane->last = j;
    lane->queued++;
    if (lane->queued > lane->idle && lane->count < lane->max)
        (void)lane_grow(lane); /* W3: one is there already */
    pthread_cond_signal(&lane->work);
    pthread_mutex_unlock(&lane->lock);
}
