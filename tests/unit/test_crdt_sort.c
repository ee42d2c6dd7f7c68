#include "crdt/sort.h"

#include "tests/unit/crdt_util.h"
#include <stdlib.h>

#define MOST 3000

static int by_key(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Ranges that do not overlap, some of which touch, in any order; `step`: how
 * far apart they are. */
static void make(uint64_t *at, uint32_t n, uint32_t first, uint32_t step,
                 uint64_t *seed)
{
    uint32_t clock = first;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t len = 1 + below(seed, step);

        at[i] = cv_range_key(clock, len);
        clock += len + below(seed, 2) * below(seed, step + 1);
    }
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = below(seed, i);
        uint64_t x = at[i - 1];

        at[i - 1] = at[k];
        at[k] = x;
    }
}

/* Every unit of `all`, which is sorted, is in `joined`, and no other; none of
 * those touch. */
static void check_joined(const uint64_t *all, uint32_t n,
                         const uint64_t *joined, uint32_t kept)
{
    uint32_t k = 0;

    for (uint32_t i = 0; i < kept; i++) {
        uint32_t clock = (uint32_t)(joined[i] >> 32);
        uint32_t end = clock + (uint32_t)joined[i];

        REQUIRE(i == 0 || clock > (uint32_t)(joined[i - 1] >> 32) +
                                      (uint32_t)joined[i - 1]);
        while (clock < end) {
            REQUIRE(k < n && all[k] >> 32 == clock);
            clock += (uint32_t)all[k++];
        }
        REQUIRE(clock == end);
    }
    REQUIRE(k == n);
}

TEST(ranges_are_sorted_and_joined)
{
    static const uint32_t firsts[] = {0, 1, 0x7ffffff0, 0xff000000};
    static uint64_t at[MOST], spare[MOST], want[MOST];
    uint64_t seed = 1;

    for (uint32_t run = 0; run < 400; run++) {
        uint32_t n = 1 + below(&seed, run % 8 == 0 ? MOST : 40);
        uint32_t step = run % 3 == 0 ? 1 : run % 3 == 1 ? 30 : 300, kept;
        uint64_t *sorted;

        make(at, n, firsts[run % 4], step, &seed);
        memcpy(want, at, n * sizeof(*at));
        qsort(want, n, sizeof(*want), by_key);
        sorted = cv_sort_ranges(at, spare, n);
        REQUIRE(sorted == at || sorted == spare);
        CHECK(memcmp(sorted, want, n * sizeof(*want)) == 0);
        kept = cv_join_ranges(sorted, n);
        check_joined(want, n, sorted, kept);
    }
}

TEST(what_is_in_order_stays_where_it_is)
{
    uint64_t at[] = {cv_range_key(1, 2), cv_range_key(3, 1),
                     cv_range_key(9, 1)},
             spare[3];

    CHECK(cv_sort_ranges(at, spare, 3) == at);
    CHECK_EQ(cv_join_ranges(at, 3), 2);
    CHECK(at[0] == cv_range_key(1, 3) && at[1] == cv_range_key(9, 1));
}

RUN_TESTS(T(ranges_are_sorted_and_joined),
          T(what_is_in_order_stays_where_it_is))
