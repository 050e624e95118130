/*
 * Timers: an intrusive pairing heap, so that arming allocates nothing and cannot fail. Ordered by (when, order of
 * arming): two timers due at the same time fire in the order in which they were armed.
 *
 *   node->child   first of its children       node->next   next sibling
 *   node->prev    previous sibling, or the parent if it is the first child; NULL at the root
 *
 * Arming is O(1); taking the first and disarming are O(log n) amortised.
 * Thread: the loop's own.
 */
#include "common/io/loop_backend.h"

#include "common/base/check.h"

static bool timer_before(const struct io_timer *a, const struct io_timer *b)
{
    return a->when.ns != b->when.ns ? a->when.ns < b->when.ns : a->order < b->order;
}

/* Joins two heaps (roots without siblings); either may be NULL. */
static struct io_timer *heap_meld(struct io_timer *a, struct io_timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (timer_before(b, a)) {
        struct io_timer *swap = a;
        a = b;
        b = swap;
    }
    b->prev = a;
    b->next = a->child;
    if (b->next)
        b->next->prev = b;
    a->child = b;
    return a;
}

/* Joins a list of siblings into one heap: in pairs from the left, then the pairs from the right. */
static struct io_timer *heap_meld_siblings(struct io_timer *first)
{
    struct io_timer *pairs = NULL;
    while (first) {
        struct io_timer *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        a = heap_meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    struct io_timer *root = NULL;
    while (pairs) {
        struct io_timer *next = pairs->next;
        pairs->next = NULL;
        root = heap_meld(root, pairs);
        pairs = next;
    }
    return root;
}

static void heap_remove(struct loop *loop, struct io_timer *t)
{
    struct io_timer *rest = heap_meld_siblings(t->child);
    if (t == loop->timers) {
        loop->timers = rest;
    } else {
        if (t->prev->child == t)
            t->prev->child = t->next;
        else
            t->prev->next = t->next;
        if (t->next)
            t->next->prev = t->prev;
        loop->timers = heap_meld(loop->timers, rest);
    }
    t->child = t->next = t->prev = NULL;
    t->order = 0;
}

void timer_arm(struct loop *loop, struct io_timer *t, struct mono_ns when)
{
    timer_disarm(loop, t);
    /* Armed by a timer that fires now: not before those that are due already, or it would starve them. */
    if (loop->firing && when.ns < loop_now(loop).ns)
        when = loop_now(loop);
    t->when = when;
    t->order = ++loop->timer_order;
    t->child = t->next = t->prev = NULL;
    loop->timers = heap_meld(loop->timers, t);
}

void timer_disarm(struct loop *loop, struct io_timer *t)
{
    if (timer_armed(t))
        heap_remove(loop, t);
}

struct mono_ns loop_next_timer(const struct loop *loop)
{
    return loop->timers ? loop->timers->when : (struct mono_ns){INT64_MAX};
}

void loop_timers_fire(struct loop *loop)
{
    uint64_t armed_before = loop->timer_order;
    if (!loop->timers)
        return;
    int64_t now = loop_now(loop).ns;
    loop->firing = true;
    while (loop->timers && loop->timers->when.ns <= now && loop->timers->order <= armed_before) {
        struct io_timer *t = loop->timers;
        heap_remove(loop, t);
        t->fired(t);
    }
    loop->firing = false;
}
