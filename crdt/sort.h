/* crdt/sort.h - deleted ranges of one client in the order of their clocks.  For
 * crdt/ only. */
#ifndef CV_CRDT_SORT_H
#define CV_CRDT_SORT_H
#include <stdint.h>

/* A range as one number: clock and length. */
static inline uint64_t cv_range_key(uint32_t clock, uint32_t len)
{
    return (uint64_t)clock << 32 | len;
}

/* The lowest clock first, n > 0: those in `at`, or in `spare`, which has as
 * much room. */
uint64_t *cv_sort_ranges(uint64_t *at, uint64_t *spare, uint32_t n);
/* Join sorted ranges that touch, n > 0; how many there are then. */
uint32_t cv_join_ranges(uint64_t *at, uint32_t n);
#endif
