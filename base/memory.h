/* base/memory.h - what the allocator of a program does with large pieces. */
#ifndef CV_BASE_MEMORY_H
#define CV_BASE_MEMORY_H
#include <malloc.h>

/* The arrays of a text grow as it does.  glibc fetches pieces of 128 KiB and
 * more from the kernel, each time anew, which clears the pages one by one: an
 * eighth of the time that a long history takes.  Pieces up to this size, and as
 * much at the end of the heap, are kept and used again instead. */
#define CV_MEMORY_KEPT (8 << 20) /* bytes */

/* For the beginning of main(). */
static inline void cv_memory_keep(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, CV_MEMORY_KEPT);
    (void)mallopt(M_TRIM_THRESHOLD, CV_MEMORY_KEPT);
#endif
}
#endif
