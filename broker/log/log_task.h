/*
 * Tasks: sequential flows of asynchronous operations, written top to bottom. A task is a stackless coroutine: its `run`
 * function is a switch over the line where it last stopped, so locals do not survive an await: what must survive lies
 * in the struct around the task. One operation in flight a task.
 *
 *      static void thing_run(struct task *t)
 *      {
 *          struct thing *x = CONTAINER_OF(t, struct thing, task);
 *          TASK_BEGIN(t);
 *          TASK_AWAIT(t, io_open(t->loop, &t->op, x->path, IO_READ));   // t->op.result
 *          TASK_CALL(t, other_start(&x->other, t));                     // other.task.status
 *          TASK_PARK(t);                                                // until somebody calls task_wake(t)
 *          TASK_END(t, status);
 *      }
 *
 * TASK_END (and TASK_EXIT anywhere) finishes: the parent, if any, goes on inside the call; nothing of the task may be
 * touched afterwards. A task may finish without having awaited anything: its parent then goes on at once, so a loop
 * that calls tasks which never wait grows the stack; loops over many such items check first whether there is work.
 * No `switch` and no block-scope variable may span an await. Thread: the loop's.
 */
#ifndef SLUICE_LOG_TASK_H
#define SLUICE_LOG_TASK_H

#include "common/base/check.h"
#include "common/io/loop.h"

struct task {
    void (*run)(struct task *t);
    struct task *parent; /* resumed when this one finishes; NULL: `finished` is called, if set */
    void (*finished)(struct task *t);
    struct loop *loop;
    int line; /* 0: not started; -1: finished */
    int status;
    bool parked;
    struct io_op op;
};

static inline void task_op_done(struct io_op *op)
{
    struct task *t = CONTAINER_OF(op, struct task, op);
    t->run(t);
}

/* Sets up and runs to the first await. */
static inline void task_start(struct task *t, struct loop *loop, void (*run)(struct task *t), struct task *parent)
{
    t->run = run;
    t->parent = parent;
    t->loop = loop;
    t->line = 0;
    t->status = 0;
    t->parked = false;
    t->op.done = task_op_done;
    run(t);
}

static inline void task_finish(struct task *t, int status)
{
    t->line = -1;
    t->status = status;
    if (t->parent)
        t->parent->run(t->parent);
    else if (t->finished)
        t->finished(t);
}

/* Goes on with a parked task; harmless on one that is not. */
static inline void task_wake(struct task *t)
{
    if (t->parked) {
        t->parked = false;
        t->run(t);
    }
}

#define TASK_BEGIN(t)                          \
    switch ((t)->line) {                       \
    default:                                   \
        CHECK(!"a finished task was resumed"); \
        return;                                \
    case 0:
#define TASK_END(t, st) \
    }                   \
    task_finish((t), (st))
#define TASK_STOP(t, act)     \
    do {                      \
        (t)->line = __LINE__; \
        act;                  \
        return;               \
    case __LINE__:;           \
    } while (0)
#define TASK_AWAIT(t, submit) TASK_STOP(t, submit)
#define TASK_CALL(t, start)   TASK_STOP(t, start)
#define TASK_PARK(t)          TASK_STOP(t, (t)->parked = true)
#define TASK_EXIT(t, st)        \
    do {                        \
        task_finish((t), (st)); \
        return;                 \
    } while (0)

#endif
