/*
 * What the parts of the shape engine share: sizes of values, their presence, and the texts noted for enums. Only for
 * common/wire/shape_*.c. Pure; one thread.
 */
#ifndef SLUICE_WIRE_SHAPE_VALUE_H
#define SLUICE_WIRE_SHAPE_VALUE_H

#include "common/wire/shape.h"

/* A text that an enum does not know. The n-th stands in its field as -n. */
struct shape_note {
    struct shape_note *next;
    struct slice text;
    int value;
};

/* The notes end here: later unknown texts share the last one. At most ten errors are shown anyway. */
#define SHAPE_NOTES_MAX 64

/* Bytes that a value takes: as a member (a structure is a pointer there), and as an element of a list. */
size_t shape_member_size(const struct shape *shape);
size_t shape_element_size(const struct shape *shape);

/* The pointer to the structure that a member holds. */
static inline void *shape_pointer_at(const void *at)
{
    void *p;
    memcpy(&p, at, sizeof p);
    return p;
}

/* True if the value at `at` (of a member) is given. */
bool shape_given(const struct shape *shape, const void *at);

#endif
