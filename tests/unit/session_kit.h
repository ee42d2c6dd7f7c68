/* tests/unit/session_kit.h - keys, certificates and grants of made-up people.
 */
#ifndef CV_TESTS_SESSION_KIT_H
#define CV_TESTS_SESSION_KIT_H
#include "session/admission.h"

#include "tests/test.h"

#define KIT_UNIX UINT64_C(1700000000)

struct someone {
    struct cv_keypair identity, node;
    struct cv_cert cert;
    struct cv_grants grants;
    const char *name;
};

struct kit {
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    struct cv_keypair session, other_session;
    struct someone host, editor, viewer, guest, twin; /* twin: of the host */
};

static void kit_person(struct kit *k, struct someone *s, const char *name)
{
    REQUIRE(cv_keypair_generate(&s->identity, &k->rng) == CV_OK);
    REQUIRE(cv_keypair_generate(&s->node, &k->rng) == CV_OK);
    REQUIRE(cv_cert_make(&s->cert, &s->identity, &s->node.pub,
                         KIT_UNIX + 3600) == CV_OK);
    s->name = name;
}

static void kit_grant(struct kit *k, struct someone *s, enum cv_role role)
{
    REQUIRE(cv_grants_issue(&s->grants, &k->host.grants, &k->session.pub,
                            &k->host.identity, &s->identity.pub, role,
                            role == CV_ROLE_HOST ? CV_GRANT_ADMIT : 0,
                            KIT_UNIX + 7200, &k->rng) == CV_OK);
}

static void kit_init(struct kit *k)
{
    memset(k, 0, sizeof *k);
    k->rng = cv_rng_from_seed(&k->seed, 7);
    REQUIRE(cv_keypair_generate(&k->session, &k->rng) == CV_OK);
    REQUIRE(cv_keypair_generate(&k->other_session, &k->rng) == CV_OK);
    kit_person(k, &k->host, "Ann");
    kit_person(k, &k->editor, "Bob");
    kit_person(k, &k->viewer, "Vic");
    kit_person(k, &k->guest, "Gus");
    k->twin = k->host;
    REQUIRE(cv_keypair_generate(&k->twin.node, &k->rng) == CV_OK);
    REQUIRE(cv_cert_make(&k->twin.cert, &k->twin.identity, &k->twin.node.pub,
                         KIT_UNIX + 3600) == CV_OK);
    REQUIRE(cv_grants_issue(&k->host.grants, NULL, &k->session.pub, &k->session,
                            &k->host.identity.pub, CV_ROLE_HOST, CV_GRANT_ADMIT,
                            KIT_UNIX + 7200, &k->rng) == CV_OK);
    kit_grant(k, &k->editor, CV_ROLE_EDITOR);
    kit_grant(k, &k->viewer, CV_ROLE_VIEWER);
}

/* What `me` brings to a connection with `peer`. */
static void kit_config(struct kit *k, struct cv_admission_config *c,
                       const struct someone *me, const struct someone *peer)
{
    memset(c, 0, sizeof *c);
    c->rng = &k->rng;
    c->identity = &me->identity;
    c->grants = &me->grants;
    c->session = k->session.pub;
    c->node = me->node.pub;
    c->peer = peer->node.pub;
    c->cert = me->cert;
    memset(c->exporter, 0x5a, sizeof c->exporter);
    c->capabilities = CV_CONTROL_DOCUMENTS;
    c->offer = CV_ROLE_EDITOR;
    c->wants = CV_ROLE_EDITOR;
    strcpy(c->name, me->name);
    c->colour = 1;
}
#endif
