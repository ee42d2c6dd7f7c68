#include "crdt/sort.h"

#include <stdbool.h>

/* So few are moved one by one. */
#define SORT_FEW 24
#define BYTES    4 /* of a clock */
#define VALUES   256

static void sort_few(uint64_t *at, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        uint64_t x = at[i];
        uint32_t k = i;

        for (; k > 0 && at[k - 1] > x; k--)
            at[k] = at[k - 1];
        at[k] = x;
    }
}

static uint32_t byte_of(uint64_t key, unsigned byte)
{
    return key >> (32 + 8 * byte) & 0xff;
}

/* By one byte of the clock, stable; `place`: how often each value is there. */
static void sort_byte(uint64_t *to, const uint64_t *from, uint32_t n,
                      unsigned byte, uint32_t place[VALUES])
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < VALUES; i++) {
        uint32_t here = place[i];

        place[i] = sum;
        sum += here;
    }
    for (uint32_t i = 0; i < n; i++)
        to[place[byte_of(from[i], byte)]++] = from[i];
}

/* Byte by byte, where `used` has bits: the others are the same in all. */
static uint64_t *sort_many(uint64_t *at, uint64_t *spare, uint32_t n,
                           uint64_t used)
{
    uint32_t count[BYTES][VALUES] = {{0}};

    for (uint32_t i = 0; i < n; i++) {
        for (unsigned b = 0; b < BYTES; b++)
            count[b][byte_of(at[i], b)]++;
    }
    for (unsigned b = 0; b < BYTES; b++) {
        uint64_t *former = at;

        if (byte_of(used, b) == 0)
            continue;
        sort_byte(spare, at, n, b, count[b]);
        at = spare;
        spare = former;
    }
    return at;
}

uint64_t *cv_sort_ranges(uint64_t *at, uint64_t *spare, uint32_t n)
{
    uint64_t used = 0;
    bool sorted = true;

    for (uint32_t i = 1; i < n; i++) {
        used |= at[i] ^ at[0];
        sorted = sorted && at[i] > at[i - 1];
    }
    if (sorted)
        return at;
    if (n > SORT_FEW)
        return sort_many(at, spare, n, used);
    sort_few(at, n);
    return at;
}

uint32_t cv_join_ranges(uint64_t *at, uint32_t n)
{
    uint32_t kept = 0;

    for (uint32_t i = 1; i < n; i++) {
        if ((uint32_t)(at[kept] >> 32) + (uint32_t)at[kept] == at[i] >> 32)
            at[kept] += (uint32_t)at[i];
        else
            at[++kept] = at[i];
    }
    return kept + 1;
}
