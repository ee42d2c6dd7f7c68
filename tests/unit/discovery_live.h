/* tests/unit/discovery_live.h - a meeting place over a real OpenDHT node, as
 * an agent drives it. */
#ifndef CV_TESTS_DISCOVERY_LIVE_H
#define CV_TESTS_DISCOVERY_LIVE_H
#include "tests/unit/dht_wait.h"
#include "tests/unit/discovery_kit.h"

struct live {
    struct cv_loop *loop;
    struct cv_dht *dht;
    struct cv_rendezvous *rv;
    struct cv_timer *timer;
    struct kit_person person;
    unsigned n_pointers, n_gone, n_knocks, n_answers, n_left;
    unsigned stages[4];
    struct cv_pointer_info pointer;
    struct cv_knock_info knock;
    struct cv_answer_info answer;
};

static inline void live_step(void *user)
{
    struct live *l = user;

    cv_rendezvous_step(l->rv, cv_loop_now(l->loop), cv_unix_now());
    cv_timer_set(l->timer, cv_rendezvous_deadline(l->rv));
}

static inline void live_on_stage(void *user, enum cv_rendezvous_stage stage)
{
    ((struct live *)user)->stages[stage]++;
}

static inline void live_on_pointer(void *user, const struct cv_pointer_info *p)
{
    struct live *l = user;

    l->n_pointers += !p->gone;
    l->n_gone += p->gone;
    l->pointer = *p;
}

static inline void live_on_knock(void *user, const struct cv_knock_info *k)
{
    struct live *l = user;
    const struct cv_candidates own = kit_candidates(2);

    l->n_knocks++;
    l->knock = *k;
    REQUIRE(cv_rendezvous_answer(l->rv, k->contact.attempt, CV_VERDICT_OK,
                                 &own) == CV_OK);
}

static inline void live_on_answer(void *user, const struct cv_answer_info *a)
{
    struct live *l = user;

    l->n_answers++;
    l->answer = *a;
}

static inline void live_on_left(void *user)
{
    ((struct live *)user)->n_left++;
}

/* Certificates of now, not of the kit's day. */
static inline struct kit_person live_person(uint8_t fill)
{
    struct kit_person p = kit_person(fill);

    REQUIRE(cv_cert_make(&p.cert, &p.identity, &p.node.pub,
                         cv_unix_now() / 1000 + CV_CERT_LIFETIME_S) == CV_OK);
    return p;
}

/* `bootstrap` is a port on this machine, 0 for none; `persist` may be NULL. */
static inline void live_open_with(struct live *l, struct cv_loop *loop,
                                  const struct cv_keypair *session,
                                  uint8_t fill, uint16_t bootstrap, bool lan,
                                  const char *persist)
{
    static const struct cv_rendezvous_events events = {
        live_on_stage, live_on_pointer, live_on_knock, live_on_answer};
    char where[32];
    const char *list[] = {where};
    struct cv_dht_config dht = {
        .loop = loop, .lan = lan, .persist_path = persist};
    struct cv_rendezvous_config config = {.rng = &cv_rng_system,
                                          .session = session->pub};

    memset(l, 0, sizeof(*l));
    l->loop = loop;
    snprintf(where, sizeof(where), "127.0.0.1:%u", bootstrap);
    if (bootstrap != 0) {
        dht.bootstrap = list;
        dht.n_bootstrap = 1;
    }
    REQUIRE(cv_dht_open(&l->dht, &dht) == CV_OK);
    l->person = live_person(fill);
    config.dht = l->dht;
    config.node = &l->person.node;
    config.cert = l->person.cert;
    REQUIRE(cv_rendezvous_new(&l->rv, &config, &events, l) == CV_OK);
    REQUIRE(cv_timer_new(&l->timer, loop, live_step, l) == CV_OK);
    live_step(l);
}

static inline void live_open(struct live *l, struct cv_loop *loop,
                             const struct cv_keypair *session, uint8_t fill,
                             uint16_t bootstrap, bool lan)
{
    live_open_with(l, loop, session, fill, bootstrap, lan, NULL);
}

static inline void live_close(struct live *l)
{
    cv_rendezvous_free(l->rv);
    cv_timer_free(l->timer);
    cv_dht_close(l->dht, 300);
}

static inline void live_share(struct live *l, const struct cv_keypair *session)
{
    const struct cv_candidates own = kit_candidates(3);

    REQUIRE(cv_grants_issue(&l->person.grants, NULL, &session->pub, session,
                            &l->person.identity.pub, CV_ROLE_HOST,
                            CV_GRANT_ADMIT,
                            cv_unix_now() / 1000 + CV_GRANT_LIFETIME_S,
                            &cv_rng_system) == CV_OK);
    REQUIRE(cv_rendezvous_publish(l->rv, &l->person.grants, &own) == CV_OK);
    live_step(l);
}

static inline double live_ms(struct cv_loop *loop, cv_time since)
{
    return (double)(cv_loop_now(loop) - since) / CV_MILLISECOND;
}
#endif
