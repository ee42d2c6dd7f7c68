/* Any bytes as an update whose structs are kept or left out by client id, and
 * whose deletes are listed: the result is an update, with all of its deletes
 * and what was to be kept. */
#include "crdt/authors.h"
#include "crdt/update.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EXPECT(cond)                                                           \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

/* A sum over what is told, in its order. */
struct sum {
    uint64_t odd, all;
};

static bool keep_odd(void *user, uint64_t client)
{
    (void)user;
    return client % 2 == 1;
}

static void add_units(void *user, uint64_t client, uint64_t clock, uint64_t end)
{
    struct sum *s = user;

    EXPECT(end > clock);
    s->all = s->all * 31 + client * 7 + clock * 3 + end;
    if (client % 2 == 1)
        s->odd = s->odd * 31 + client * 7 + clock * 3 + end;
}

static void add_range(void *user, const struct cv_range *r)
{
    struct sum *s = user;

    EXPECT(r->len > 0);
    s->all = s->all * 31 + r->client * 7 + r->clock * 3 + r->len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv_bytes update = {data, size};
    struct sum before = {0}, after = {0}, gone = {0}, still = {0};
    struct cv_writer w, again;
    int err = cv_update_validate(update);

    cv_writer_init_heap(&w, size + 16);
    cv_writer_init_heap(&again, size + 16);
    EXPECT(cv_update_filter(update, keep_odd, NULL, &w) == err);
    EXPECT(cv_update_deletes(update, add_range, &gone) == err);
    if (err == CV_OK) {
        EXPECT(w.len <= size);
        EXPECT(cv_update_clients(update, add_units, &before) == CV_OK);
        EXPECT(cv_update_clients(cv_writer_bytes(&w), add_units, &after) ==
               CV_OK);
        EXPECT(after.all == after.odd);
        EXPECT(cv_update_deletes(cv_writer_bytes(&w), add_range, &still) ==
               CV_OK);
        EXPECT(still.all == gone.all);
        EXPECT(cv_update_filter(cv_writer_bytes(&w), keep_odd, NULL, &again) ==
               CV_OK);
        EXPECT(again.len == w.len && memcmp(again.data, w.data, w.len) == 0);
    } else {
        EXPECT(w.len == 0);
    }
    cv_writer_fini(&w);
    cv_writer_fini(&again);
    return 0;
}
