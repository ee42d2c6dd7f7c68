#include "tests/unit/discovery_kit.h"

#include "discovery/book.h"

static struct cv_book book;
static struct cv_keypair session;
static struct cv_place place;
static struct cv_rng_seeded rng_state;
static struct cv_rng rng;

static void prepare(void)
{
    const struct cv_key own = {{0}};
    struct cv_root root;

    session = kit_keypair(1);
    cv_root_of(&root, &session.pub);
    cv_place_at(&place, &root, cv_epoch_at(KIT_UNIX_MS));
    rng = cv_rng_from_seed(&rng_state, 5);
    cv_book_init(&book, &session.pub, &own);
}

/* A pointer of node `n` of identity `i`, taken at `now`. */
static int take(unsigned i, unsigned n, uint64_t seq, cv_time now,
                struct cv_key *node)
{
    uint8_t seed[CV_KEY_LEN] = {1, (uint8_t)i}, value[CV_POINTER_MAX];
    struct cv_keypair identity, key;
    struct cv_pointer p = {.seq = seq,
                           .not_after = (uint32_t)(KIT_UNIX_S + 900)};
    struct cv_book_entry *e;
    size_t len;

    REQUIRE(cv_keypair_from_seed(&identity, seed) == CV_OK);
    seed[0] = 2;
    seed[2] = (uint8_t)n;
    REQUIRE(cv_keypair_from_seed(&key, seed) == CV_OK);
    REQUIRE(cv_cert_make(&p.cert, &identity, &key.pub, KIT_UNIX_S + 900) ==
            CV_OK);
    p.grants = kit_grant(NULL, &session, &identity.pub, CV_ROLE_EDITOR, 0);
    p.node = key.pub;
    if (node != NULL)
        *node = key.pub;
    REQUIRE(cv_pointer_seal(value, &len, &p, &place, &key, &rng) == CV_OK);
    return cv_book_take(&book, &place, CV_BYTES(value, len), now, KIT_UNIX_S,
                        &e);
}

TEST(one_identity_keeps_its_eight_newest_nodes)
{
    struct cv_key node[12];

    prepare();
    for (unsigned n = 0; n < 12; n++)
        CHECK_EQ(take(0, n, 1000 + n, n * CV_SECOND, &node[n]), CV_OK);
    for (unsigned n = 0; n < 12; n++)
        CHECK((cv_book_living(&book, &node[n], KIT_UNIX_S) != NULL) ==
              (n >= 12 - CV_BOOK_PER_IDENTITY));
}

TEST(a_full_book_takes_nobody_new_but_news_of_the_known)
{
    struct cv_key first, late;

    prepare();
    CHECK_EQ(take(0, 0, 1000, 0, &first), CV_OK);
    for (unsigned i = 1; i < CV_BOOK_NODES; i++)
        CHECK_EQ(take(i, 0, 1000, i * CV_SECOND, NULL), CV_OK);
    CHECK_EQ(take(200, 0, 1000, 100 * CV_SECOND, &late), CV_ERR_LIMIT);
    CHECK(cv_book_living(&book, &late, KIT_UNIX_S) == NULL);
    CHECK_EQ(take(0, 0, 1001, 101 * CV_SECOND, NULL), CV_OK);
    CHECK_EQ(cv_book_living(&book, &first, KIT_UNIX_S)->p.seq, 1001);
    /* What expired makes room. */
    cv_book_expire(&book, KIT_UNIX_S + 900 + CV_CLOCK_SLACK_S);
    CHECK(cv_book_living(&book, &first, KIT_UNIX_S) == NULL);
    CHECK_EQ(take(200, 0, 1002, 102 * CV_SECOND, NULL), CV_OK);
}

TEST(records_are_opened_at_a_limited_rate)
{
    unsigned opened = 0;

    prepare();
    for (unsigned i = 0; i < 2 * CV_BOOK_BURST; i++)
        opened += take(0, 0, 1000 + i, 0, NULL) == CV_OK;
    CHECK_EQ(opened, CV_BOOK_BURST);
    CHECK_EQ(take(0, 0, 5000, CV_SECOND, NULL), CV_OK);
}

TEST(a_value_is_taken_once)
{
    uint8_t junk[600] = {1};
    struct cv_book_entry *e;

    prepare();
    CHECK_EQ(
        cv_book_take(&book, &place, CV_BYTES(junk, 600), 0, KIT_UNIX_S, &e),
        CV_ERR_FORMAT);
    CHECK_EQ(
        cv_book_take(&book, &place, CV_BYTES(junk, 600), 0, KIT_UNIX_S, &e),
        CV_ERR_EXISTS);
}

RUN_TESTS(T(one_identity_keeps_its_eight_newest_nodes),
          T(a_full_book_takes_nobody_new_but_news_of_the_known),
          T(records_are_opened_at_a_limited_rate), T(a_value_is_taken_once))
