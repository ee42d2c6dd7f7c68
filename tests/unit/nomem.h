/* tests/unit/nomem.h - the nth allocation fails.  Linked with --wrap for
 * malloc, calloc and realloc: of our own code, the libraries keep theirs. */
#ifndef CV_TESTS_NOMEM_H
#define CV_TESTS_NOMEM_H
#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static unsigned long countdown; /* 0: none fails */
static bool one_failed;         /* it has come to that */

static bool fails(void)
{
    if (!countdown || --countdown)
        return false;
    one_failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

/* The nth from now on. */
static inline void arm(unsigned long nth)
{
    one_failed = false;
    countdown = nth;
}

/* No more; has one failed? */
static inline bool disarm(void)
{
    countdown = 0;
    return one_failed;
}
#endif
