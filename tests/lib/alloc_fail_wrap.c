/* malloc and its family, wrapped by the linker; see alloc_fail.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/alloc_fail.h"

void *__real_malloc(size_t len);
void *__real_calloc(size_t count, size_t len);
void *__real_realloc(void *p, size_t len);
void *__real_aligned_alloc(size_t align, size_t len);
int __real_posix_memalign(void **out, size_t align, size_t len);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t count, size_t len);
void *__wrap_realloc(void *p, size_t len);
void *__wrap_aligned_alloc(size_t align, size_t len);
int __wrap_posix_memalign(void **out, size_t align, size_t len);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t len);

static bool fails(void)
{
    if (!alloc_fail_now())
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t len)
{
    return fails() ? NULL : __real_malloc(len);
}

void *__wrap_calloc(size_t count, size_t len)
{
    return fails() ? NULL : __real_calloc(count, len);
}

void *__wrap_realloc(void *p, size_t len)
{
    return fails() ? NULL : __real_realloc(p, len);
}

void *__wrap_aligned_alloc(size_t align, size_t len)
{
    return fails() ? NULL : __real_aligned_alloc(align, len);
}

int __wrap_posix_memalign(void **out, size_t align, size_t len)
{
    return fails() ? ENOMEM : __real_posix_memalign(out, align, len);
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
