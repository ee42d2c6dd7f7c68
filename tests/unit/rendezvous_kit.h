/* tests/unit/rendezvous_kit.h - a host and a guest at one meeting place, over
 * a DHT on a virtual clock (discovery_kit.h). */
#ifndef CV_TESTS_RENDEZVOUS_KIT_H
#define CV_TESTS_RENDEZVOUS_KIT_H
#include "tests/unit/discovery_kit.h"

static struct kit_world world;
static struct kit_world *const w = &world;
static struct kit_peer *const host = &world.peers[0];
static struct kit_peer *const guest = &world.peers[1];

static inline struct cv_place place_now(uint64_t plus)
{
    struct cv_root root;
    struct cv_place place;

    cv_root_of(&root, &w->session.pub);
    cv_place_at(&place, &root, cv_epoch_at(kit_unix(w, host)) + plus);
    return place;
}

/* The value that lies at `loc` now; the newest if several. */
static inline struct kit_value *stored(const struct cv_loc *loc)
{
    for (unsigned i = w->net.n_values; i-- > 0;) {
        if (cv_loc_equal(&w->net.values[i]->loc, loc))
            return w->net.values[i];
    }
    return NULL;
}

/* The newest value that is a knock by its size. */
static inline struct kit_value *stored_knock(void)
{
    for (unsigned i = w->net.n_values; i-- > 0;) {
        const struct cv_place p = place_now(0);

        if (w->net.values[i]->len == CV_KNOCK_BYTES &&
            !cv_loc_equal(&w->net.values[i]->loc, &p.loc))
            return w->net.values[i];
    }
    return NULL;
}

static inline void found(void **test_state_)
{
    kit_world_init(w, 2, 1);
    kit_publish(w, host, 3);
    kit_search(w, guest);
    kit_run(w, 5 * CV_SECOND);
    CHECK_EQ(guest->n_pointers, 1);
}
#endif
