/* Presence on a made-up clock. */
#include "crdt/awareness.h"
#include "tests/test.h"

#define HELLO "{\"user\":{\"name\":\"Ann\"}}"

struct heard {
    unsigned added, updated, removed;
};

static void hear(void *user, enum cv_awareness_event event, uint64_t client,
                 struct cv_bytes state)
{
    struct heard *h = user;

    (void)client;
    (void)state;
    h->added += event == CV_AWARENESS_ADDED;
    h->updated += event == CV_AWARENESS_UPDATED;
    h->removed += event == CV_AWARENESS_REMOVED;
}

static struct cv_bytes literal(const char *text)
{
    return (struct cv_bytes){(const uint8_t *)text, strlen(text)};
}

static struct cv_writer entry(uint64_t client, uint64_t clock,
                              const char *state)
{
    struct cv_writer w;

    cv_writer_init_heap(&w, 1 << 20);
    cv_put_varuint(&w, 1);
    cv_put_varuint(&w, client);
    cv_put_varuint(&w, clock);
    cv_put_varbytes(&w, state, strlen(state));
    return w;
}

static int apply(struct cv_awareness *aw, uint64_t client, uint64_t clock,
                 const char *state, cv_time now, struct heard *h)
{
    struct cv_writer w = entry(client, clock, state);
    int err = cv_awareness_apply(aw, cv_writer_bytes(&w), now, hear, h, NULL);

    cv_writer_fini(&w);
    return err;
}

static struct cv_awareness *new_awareness(uint64_t self)
{
    struct cv_awareness *aw = NULL;

    REQUIRE(cv_awareness_new(&aw, self, NULL) == CV_OK);
    return aw;
}

TEST(own_state_is_renewed_and_silent_ones_are_dropped)
{
    struct cv_awareness *aw = new_awareness(1);
    struct heard h = {0};
    struct cv_writer out;
    uint64_t clock;

    cv_writer_init_heap(&out, 1 << 20);
    CHECK(cv_awareness_deadline(aw) == CV_NEVER);
    CHECK_EQ(cv_awareness_set(aw, literal(HELLO), 0), CV_OK);
    CHECK_EQ(apply(aw, 2, 1, "{}", CV_SECOND, &h), CV_OK);
    CHECK_EQ(h.added, 1);
    CHECK(cv_awareness_deadline(aw) == CV_AWARENESS_RENEW);

    CHECK_EQ(cv_awareness_step(aw, CV_AWARENESS_RENEW - 1, hear, &h, &out),
             CV_OK);
    CHECK_EQ(out.len, 0);
    CHECK_EQ(cv_awareness_step(aw, CV_AWARENESS_RENEW, hear, &h, &out), CV_OK);
    CHECK(out.len > 0);
    cv_awareness_get(aw, 1, &clock);
    CHECK_EQ(clock, 2);
    cv_writer_reset(&out);
    CHECK_EQ(
        cv_awareness_step(aw, CV_SECOND + CV_AWARENESS_DROP, hear, &h, &out),
        CV_OK);
    CHECK_EQ(h.removed, 1);
    CHECK_EQ(cv_awareness_get(aw, 2, &clock).len, 0);
    CHECK_EQ(clock, 1); /* it stays known: the old state cannot come back */
    CHECK_EQ(apply(aw, 2, 1, "{}", 40 * CV_SECOND, &h), CV_OK);
    CHECK_EQ(h.added, 1);
    CHECK_EQ(apply(aw, 2, 2, "{}", 40 * CV_SECOND, &h), CV_OK);
    CHECK_EQ(h.added, 2);
    cv_writer_fini(&out);
    cv_awareness_free(aw);
}

TEST(others_cannot_change_or_remove_us)
{
    struct cv_awareness *aw = new_awareness(1);
    struct heard h = {0};
    struct cv_writer w = entry(1, 7, "null"), news;
    struct cv_bytes state;
    uint64_t clock;

    cv_writer_init_heap(&news, 1 << 20);
    CHECK_EQ(cv_awareness_set(aw, literal(HELLO), 0), CV_OK);
    CHECK_EQ(cv_awareness_apply(aw, cv_writer_bytes(&w), 0, hear, &h, &news),
             CV_OK);
    state = cv_awareness_get(aw, 1, &clock);
    CHECK_EQ(clock, 8);
    CHECK(state.len == strlen(HELLO) &&
          memcmp(state.data, HELLO, state.len) == 0);
    CHECK(news.len > 0); /* and we say so */
    CHECK_EQ(apply(aw, 1, 20, "{\"user\":{\"name\":\"Eve\"}}", 0, &h), CV_OK);
    state = cv_awareness_get(aw, 1, &clock);
    CHECK(memcmp(state.data, HELLO, state.len) == 0);
    CHECK_EQ(clock, 21);
    CHECK_EQ(h.added + h.updated + h.removed, 0);
    /* Leaving is our own decision. */
    CHECK_EQ(cv_awareness_set(aw, (struct cv_bytes){NULL, 0}, 0), CV_OK);
    CHECK_EQ(cv_awareness_get(aw, 1, &clock).len, 0);
    CHECK_EQ(clock, 22);
    cv_writer_fini(&w);
    cv_writer_fini(&news);
    cv_awareness_free(aw);
}

TEST(bad_entries_are_refused_whole)
{
    static const struct {
        const char *state;
        uint64_t clock;
        int err;
    } cases[] = {
        {"{", 1, CV_ERR_FORMAT},
        {"[]", 1, CV_ERR_FORMAT},
        {"\"x\"", 1, CV_ERR_FORMAT},
        {"{\"a\":\"\xFF\"}", 1, CV_ERR_FORMAT},
        {"{}", CV_AWARENESS_CLOCK_MAX + 1, CV_ERR_LIMIT},
    };
    struct cv_awareness *aw = new_awareness(1);
    struct heard h = {0};
    struct cv_writer w;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CHECK_EQ(apply(aw, 2, cases[i].clock, cases[i].state, 0, &h),
                 cases[i].err);
        CHECK_EQ(cv_awareness_set(aw, literal(cases[i].state), 0),
                 i == 4 ? CV_OK : CV_ERR_FORMAT);
    }
    CHECK_EQ(cv_awareness_clients(aw, NULL, 0), 1);
    w = entry(2, 1, "{\"a\":[1,{}]}");
    for (size_t len = 0; len < w.len; len++)
        CHECK_EQ(cv_awareness_apply(aw, (struct cv_bytes){w.data, len}, 0, hear,
                                    &h, NULL),
                 CV_ERR_FORMAT);
    CHECK_EQ(h.added, 0);
    cv_writer_fini(&w);
    cv_awareness_free(aw);
}

TEST(the_number_of_clients_is_bounded_and_the_gone_make_room)
{
    const struct cv_awareness_limits limits = {4, 100, 1000};
    struct cv_awareness *aw = NULL;
    struct heard h = {0};

    CHECK_EQ(cv_awareness_new(&aw, 1, &limits), CV_OK);
    CHECK_EQ(cv_awareness_set(aw, literal("{}"), 0), CV_OK);
    for (uint64_t c = 2; c <= 4; c++)
        CHECK_EQ(apply(aw, c, 1, "{}", 0, &h), CV_OK);
    CHECK_EQ(apply(aw, 5, 1, "{}", 0, &h), CV_ERR_LIMIT);
    CHECK_EQ(apply(aw, 3, 2, "null", 0, &h), CV_OK);
    CHECK_EQ(apply(aw, 5, 1, "{}", 0, &h), CV_OK);
    CHECK_EQ(cv_awareness_clients(aw, NULL, 0), 4);
    cv_awareness_free(aw);
}

TEST(who_comes_back_is_not_forgotten_for_those_who_come_along)
{
    const struct cv_awareness_limits limits = {4, 100, 1000};
    struct cv_awareness *aw = NULL;
    struct heard h = {0};

    CHECK_EQ(cv_awareness_new(&aw, 1, &limits), CV_OK);
    CHECK_EQ(cv_awareness_set(aw, literal("{}"), 0), CV_OK);
    for (uint64_t c = 2; c <= 4; c++)
        CHECK_EQ(apply(aw, c, 1, "{}", 0, &h), CV_OK);
    for (uint64_t c = 2; c <= 4; c++)
        CHECK_EQ(apply(aw, c, 2, "null", 0, &h), CV_OK);
    for (uint64_t new = 0; new <= 3; new ++) {
        const uint64_t clients[] = {2, 3, 4, 5 + new};
        struct cv_writer w;

        /* Three who are back, and somebody: one too many. */
        cv_writer_init_heap(&w, 1000);
        cv_put_varuint(&w, 4);
        for (unsigned i = 0; i < 4; i++) {
            cv_put_varuint(&w, clients[i]);
            cv_put_varuint(&w, 3);
            cv_put_varbytes(&w, "{}", 2);
        }
        CHECK_EQ(cv_awareness_apply(aw, cv_writer_bytes(&w), 0, hear, &h, NULL),
                 CV_ERR_LIMIT);
        CHECK_EQ(cv_awareness_clients(aw, NULL, 0), 1);
        cv_writer_fini(&w);
    }
    /* What is old is known to be. */
    CHECK_EQ(apply(aw, 2, 2, "{}", 0, &h), CV_OK);
    CHECK_EQ(cv_awareness_clients(aw, NULL, 0), 1);
    CHECK_EQ(apply(aw, 2, 3, "{}", 0, &h), CV_OK);
    CHECK_EQ(cv_awareness_clients(aw, NULL, 0), 2);
    cv_awareness_free(aw);
}

TEST(a_client_lost_with_its_link_is_told_on)
{
    struct cv_awareness *aw = new_awareness(1), *other = new_awareness(9);
    struct heard h = {0};
    struct cv_writer out;

    cv_writer_init_heap(&out, 1 << 20);
    CHECK_EQ(cv_awareness_set(aw, literal(HELLO), 0), CV_OK);
    CHECK_EQ(apply(aw, 2, 5, "{}", 0, &h), CV_OK);
    CHECK_EQ(cv_awareness_encode(aw, &out), CV_OK);
    CHECK_EQ(
        cv_awareness_apply(other, cv_writer_bytes(&out), 0, hear, &h, NULL),
        CV_OK);
    CHECK_EQ(cv_awareness_clients(other, NULL, 0), 2);
    cv_writer_reset(&out);
    CHECK_EQ(cv_awareness_remove(aw, 2, hear, &h, &out), CV_OK);
    CHECK_EQ(cv_awareness_remove(aw, 1, hear, &h, &out), CV_OK); /* not us */
    CHECK_EQ(h.removed, 1);
    CHECK_EQ(
        cv_awareness_apply(other, cv_writer_bytes(&out), 0, hear, &h, NULL),
        CV_OK);
    CHECK_EQ(cv_awareness_clients(other, NULL, 0), 1);
    CHECK_EQ(h.removed, 2);
    cv_writer_fini(&out);
    cv_awareness_free(aw);
    cv_awareness_free(other);
}

RUN_TESTS(T(own_state_is_renewed_and_silent_ones_are_dropped),
          T(others_cannot_change_or_remove_us),
          T(bad_entries_are_refused_whole),
          T(the_number_of_clients_is_bounded_and_the_gone_make_room),
          T(who_comes_back_is_not_forgotten_for_those_who_come_along),
          T(a_client_lost_with_its_link_is_told_on))
