/* Find, knock, answer and leave, over three real OpenDHT nodes on loopback. */
#include "tests/unit/discovery_live.h"

static struct live host, guest;

TEST(a_sharer_is_found_through_real_nodes)
{
    struct cv_keypair session;
    struct cv_loop *loop;
    struct cv_dht_config config = {0};
    struct cv_dht *boot;
    struct cv_contact contact;
    const struct cv_candidates own = kit_candidates(3);
    cv_time began;

    CHECK_EQ(cv_keypair_generate(&session, &cv_rng_system), CV_OK);
    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    config.loop = loop;
    CHECK_EQ(cv_dht_open(&boot, &config), CV_OK);
    live_open(&host, loop, &session, 10, cv_dht_port(boot), false);
    CHECK(live_wait_state(loop, host.dht, CV_DHT_CONNECTED, 5 * CV_SECOND));
    live_share(&host, &session);
    CHECK(live_wait(loop, &host.stages[CV_RV_PUBLISHED], 1, 10 * CV_SECOND));
    CHECK_EQ(host.stages[CV_RV_UNPUBLISHED], 0);

    /* A cold start: the node and the search at once. */
    began = cv_loop_now(loop);
    live_open(&guest, loop, &session, 20, cv_dht_port(boot), false);
    cv_rendezvous_search(guest.rv, true);
    live_step(&guest);
    CHECK(live_wait(loop, &guest.n_pointers, 1, 10 * CV_SECOND));
    print_message("cold start to pointer %.0f ms\n", live_ms(loop, began));
    CHECK(cv_key_equal(&guest.pointer.node, &host.person.node.pub));

    began = cv_loop_now(loop);
    CHECK_EQ(cv_rendezvous_knock(guest.rv, &host.person.node.pub, "Ada", NULL,
                                 &own, &contact),
             CV_OK);
    live_step(&guest);
    CHECK(live_wait(loop, &host.n_knocks, 1, 10 * CV_SECOND));
    print_message("knock arrived after %.0f ms\n", live_ms(loop, began));
    CHECK(live_wait(loop, &guest.n_answers, 1, 10 * CV_SECOND));
    print_message("answered after %.0f ms\n", live_ms(loop, began));
    CHECK_EQ(guest.answer.verdict, CV_VERDICT_OK);
    CHECK_MEM(host.knock.contact.shared, contact.shared, 32);
    CHECK_MEM(host.knock.contact.attempt, contact.attempt, 8);

    cv_rendezvous_withdraw(host.rv, live_on_left, &host);
    live_step(&host);
    CHECK(live_wait(loop, &host.n_left, 1, 3 * CV_SECOND));
    CHECK(live_wait(loop, &guest.n_gone, 1, 5 * CV_SECOND));
    live_close(&guest);
    live_close(&host);
    cv_dht_close(boot, 300);
    cv_loop_free(loop);
}

TEST(a_sharer_that_was_there_before_the_network_is_found)
{
    struct cv_keypair session;
    struct cv_loop *loop;

    CHECK_EQ(cv_keypair_generate(&session, &cv_rng_system), CV_OK);
    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    live_open(&host, loop, &session, 10, 0, false);
    live_share(&host, &session);
    live_wait(loop, &host.stages[CV_RV_PUBLISHED], 1, 3 * CV_SECOND);
    CHECK_EQ(host.stages[CV_RV_PUBLISHED], 0); /* nobody holds it but us */
    live_open(&guest, loop, &session, 20, cv_dht_port(host.dht), false);
    cv_rendezvous_search(guest.rv, true);
    live_step(&guest);
    CHECK(live_wait(loop, &guest.n_pointers, 1, 15 * CV_SECOND));
    CHECK(live_wait(loop, &host.stages[CV_RV_PUBLISHED], 1, 30 * CV_SECOND));
    live_close(&guest);
    live_close(&host);
    cv_loop_free(loop);
}

RUN_TESTS(T(a_sharer_is_found_through_real_nodes),
          T(a_sharer_that_was_there_before_the_network_is_found))
