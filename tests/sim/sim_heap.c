/*
 * The heap of the code under test. The simulator's programs are linked with --wrap for malloc and its family; what is
 * allocated between sim_enter and sim_leave (a loop's callbacks are) is remembered and freed at a crash, as the memory
 * of a process that dies. So thousands of crashes leak nothing, and a use of it after the crash is one that ASan sees.
 *
 * The simulator and the tests' models allocate by sim_heap_keep, which a crash does not touch. Memory that libraries
 * allocate for themselves (they are not wrapped) is theirs.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "tests/lib/alloc_fail.h"
#include "tests/sim/sim_internal.h"

void *__real_malloc(size_t len);
void *__real_calloc(size_t count, size_t len);
void *__real_realloc(void *p, size_t len);
void __real_free(void *p);
void *__real_aligned_alloc(size_t align, size_t len);
int __real_posix_memalign(void **out, size_t align, size_t len);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t count, size_t len);
void *__wrap_realloc(void *p, size_t len);
void __wrap_free(void *p);
void *__wrap_aligned_alloc(size_t align, size_t len);
int __wrap_posix_memalign(void **out, size_t align, size_t len);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t len);

/* A set of pointers with their lengths: open addressing, linear probing, deletion by moving back. */
static struct held {
    void *ptr;
    size_t len;
} * held;
static size_t held_cap, held_count, held_bytes;
static unsigned inside;

static size_t held_home(const void *p)
{
    return (size_t)hash_u64((uint64_t)(uintptr_t)p >> 4) & (held_cap - 1);
}

static void held_put(void *p, size_t len)
{
    size_t i = held_home(p);
    while (held[i].ptr)
        i = (i + 1) & (held_cap - 1);
    held[i] = (struct held){p, len};
}

static void held_grow(void)
{
    struct held *old = held;
    size_t old_cap = held_cap;
    held_cap = old_cap ? old_cap * 2 : 4096;
    held = __real_calloc(held_cap, sizeof *held);
    CHECK(held);
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].ptr)
            held_put(old[i].ptr, old[i].len);
    __real_free(old);
}

static void *remember(void *p, size_t len)
{
    if (!p || !inside)
        return p;
    if ((held_count + 1) * 2 > held_cap)
        held_grow();
    held_put(p, len);
    held_count++;
    held_bytes += len;
    return p;
}

static bool forget(void *p)
{
    if (!p || !held_count)
        return false;
    size_t i = held_home(p);
    while (held[i].ptr != p) {
        if (!held[i].ptr)
            return false;
        i = (i + 1) & (held_cap - 1);
    }
    held_count--;
    held_bytes -= held[i].len;
    for (size_t j = (i + 1) & (held_cap - 1); held[j].ptr; j = (j + 1) & (held_cap - 1)) {
        size_t home = held_home(held[j].ptr);
        if (((j - home) & (held_cap - 1)) >= ((j - i) & (held_cap - 1))) {
            held[i] = held[j];
            i = j;
        }
    }
    held[i].ptr = NULL;
    return true;
}

/* Only what the code under test asks for may fail (alloc_fail.h). */
static bool fails(void)
{
    return inside && alloc_fail_now();
}

void *__wrap_malloc(size_t len)
{
    return fails() ? NULL : remember(__real_malloc(len), len);
}

void *__wrap_calloc(size_t count, size_t len)
{
    return fails() ? NULL : remember(__real_calloc(count, len), count * len);
}

void *__wrap_realloc(void *p, size_t len)
{
    if (fails())
        return NULL;
    bool was = forget(p);
    void *q = __real_realloc(p, len);
    if (was && !inside) {
        inside++;
        remember(q, len);
        inside--;
    } else {
        remember(q, len);
    }
    return q;
}

void __wrap_free(void *p)
{
    forget(p);
    __real_free(p);
}

void *__wrap_aligned_alloc(size_t align, size_t len)
{
    return fails() ? NULL : remember(__real_aligned_alloc(align, len), len);
}

int __wrap_posix_memalign(void **out, size_t align, size_t len)
{
    int rc = fails() ? ENOMEM : __real_posix_memalign(out, align, len);
    if (rc == 0)
        remember(*out, len);
    return rc;
}

char *__wrap_strndup(const char *s, size_t len)
{
    size_t n = strnlen(s, len);
    char *p = __wrap_malloc(n + 1);
    if (p) {
        memcpy(p, s, n);
        p[n] = 0;
    }
    return p;
}

char *__wrap_strdup(const char *s)
{
    return __wrap_strndup(s, strlen(s));
}

void sim_enter(struct sim_world *w)
{
    inside++;
}

void sim_leave(struct sim_world *w)
{
    CHECK(inside);
    inside--;
}

void *sim_heap_keep(size_t bytes)
{
    void *p = __real_calloc(1, bytes ? bytes : 1);
    CHECK(p);
    return p;
}

void *sim_heap_keep_again(void *ptr, size_t bytes)
{
    void *p = __real_realloc(ptr, bytes);
    CHECK(p);
    return p;
}

void sim_heap_keep_free(void *ptr)
{
    __real_free(ptr);
}

size_t sim_heap_live(void)
{
    return held_bytes;
}

void sim_heap_drop(void)
{
    for (size_t i = 0; i < held_cap; i++) {
        __real_free(held[i].ptr);
        held[i].ptr = NULL;
    }
    held_count = held_bytes = 0;
}
