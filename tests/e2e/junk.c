/* tests/e2e/junk.c - somebody who was given the session key, and abuses it.
 *
 *   junk spray    KEY IDENTITY BOOTSTRAP
 *     Puts garbage, forged, expired and replayed pointers and knocks at the
 *     real places of the session in a real DHT, and again what others put
 *     there, until it is stopped.
 *   junk flood    KEY IDENTITY BOOTSTRAP
 *     Puts a value of garbage at the member's inbox, a hundred a second and
 *     wherever the inbox goes, until it is stopped.
 *   junk fill     KEY IDENTITY BOOTSTRAP
 *     The same, four hundred a second, and where the session's pointers lie as
 *     well: nodes of OpenDHT keep 1,024 values at a key and refuse the rest.
 *   junk impostor KEY IDENTITY BOOTSTRAP
 *     Publishes a valid pointer of a node whose QUIC connections are answered
 *     with another key.
 *
 * IDENTITY is the identity file of a member: what a pointer of that member
 * proves is taken over from the DHT.  Says on standard output what it does;
 * "connected" is what must never be read there. */
#include "base/bytes.h"
#include "base/keytext.h"
#include "discovery/dht.h"
#include "discovery/knock.h"
#include "discovery/location.h"
#include "discovery/pointer.h"
#include "discovery/rendezvous.h"
#include "transport/net.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Other nodes of the DHT take so many requests a second from one address. */
#define TICK     CV_SECOND
#define FLOOD    100 /* values in one */
#define FILL     400 /* the same, of who fills up what the nodes keep */
#define CAPTURED 8
#define PUTS     128 /* that are looked after at a time */

struct junk;

/* A slot of the member's inbox. */
struct slot {
    struct junk *junk;
    struct cv_loc loc;
    cv_dht_token listen;
};

struct value {
    size_t len;
    uint8_t data[CV_DHT_VALUE_MAX];
};

enum what { SPRAY, FLOOD_INBOX, FILL_ALL, IMPOSTOR };

struct junk {
    enum what what;
    struct cv_key session;
    struct cv_keypair identity; /* of a member */
    struct cv_keypair node;     /* certified by it */
    struct cv_keypair other;    /* certified by nobody */
    struct cv_cert cert;
    struct cv_loop *loop;
    struct cv_signal *stop;
    struct cv_timer *timer;
    struct cv_dht *dht;
    struct cv_root root;
    struct cv_place place;

    bool found; /* a pointer of the member… */
    struct cv_pointer pointer;
    struct value pointer_value;
    uint8_t digest[CV_DIGEST_LEN];
    unsigned n_old; /* …and its older ones */
    struct value old[CAPTURED];
    struct slot slots[CV_INBOX_SLOTS];
    unsigned n_knocks; /* recorded at its inbox */
    struct value knocks[CAPTURED];
    struct cv_loc knock_loc[CAPTURED];
    unsigned ticks, puts, stored;
    cv_dht_token tokens[PUTS];
    uint8_t own[PUTS][CV_DIGEST_LEN];
    uint64_t seq;

    struct cv_rendezvous *rv; /* the impostor's */
    struct cv_net *net;
};

static _Noreturn void die(const char *what, int err)
{
    fprintf(stderr, "junk: %s: %s\n", what, cv_strerror(err));
    exit(1);
}

static void must(int err, const char *what)
{
    if (err != CV_OK)
        die(what, err);
}

static void on_stop(void *user)
{
    struct junk *j = user;

    cv_loop_stop(j->loop);
}

static uint64_t unix_s(void)
{
    return cv_unix_now() / 1000;
}

static void on_stored(void *user, bool ok)
{
    struct junk *j = user;

    j->stored += ok;
}

static void put(struct junk *j, const struct cv_loc *loc, const void *data,
                size_t len)
{
    cv_dht_token *token = &j->tokens[j->puts % PUTS];

    cv_pointer_digest(j->own[j->puts % PUTS], CV_BYTES(data, len));

    /* What was put stays there without us, for minutes. */
    j->dht->ops->cancel(j->dht, *token);
    *token = j->dht->ops->put(j->dht, loc, CV_BYTES(data, len), on_stored, j);
    j->puts += *token != 0;
}

/* --- spray: pointers --- */

static void put_pointer(struct junk *j, struct cv_pointer p,
                        const struct cv_keypair *signer)
{
    uint8_t value[CV_POINTER_MAX];
    size_t len;

    must(cv_pointer_seal(value, &len, &p, &j->place, signer, &cv_rng_system),
         "seal a pointer");
    put(j, &j->place.loc, value, len);
}

static void bad_pointers(struct junk *j)
{
    struct cv_pointer p = j->pointer;
    uint8_t noise[600];

    cv_random(&cv_rng_system, noise, sizeof(noise));
    noise[0] = j->pointer_value.data[0];
    put(j, &j->place.loc, noise, sizeof(noise));
    put(j, &j->place.loc, noise, 1 + noise[1] % 64);

    /* Damaged, forged, expired; the member's own, of before. */
    memcpy(noise, j->pointer_value.data, 100);
    put(j, &j->place.loc, noise, sizeof(noise));
    p.seq = cv_unix_now() + 60000;
    p.flags |= CV_RECORD_GONE; /* "the host has left" */
    put_pointer(j, p, &j->other);
    p.node = j->other.pub;
    put_pointer(j, p, &j->other);
    p = j->pointer;
    p.seq = cv_unix_now();
    p.not_after = (uint32_t)(unix_s() - CV_CLOCK_SLACK_S - 1);
    put_pointer(j, p, &j->other);
    for (unsigned i = 0; i < j->n_old; i++)
        put(j, &j->place.loc, j->old[i].data, j->old[i].len);

    /* A node that a member certified, and that nobody will find: each pointer
     * of it is followed by an older one. */
    p = j->pointer;
    p.node = j->node.pub;
    p.cert = j->cert;
    p.flags = (uint16_t)(p.flags & ~CV_RECORD_GONE);
    p.not_after = (uint32_t)(unix_s() + CV_POINTER_LIFETIME_S);
    p.candidates.n = 1;
    p.candidates.c[0] = (struct cv_candidate){
        .type = CV_CANDIDATE_HOST, .addr = cv_addr_ipv4(0x140000feu, 9)};
    if (j->ticks % 8 == 0) {
        j->seq = cv_unix_now();
        p.seq = j->seq;
        put_pointer(j, p, &j->node);
    } else if (j->ticks % 8 == 4) {
        p.seq = j->seq - 1;
        put_pointer(j, p, &j->node);
    }
}

/* --- spray: knocks --- */

static void put_knock(struct junk *j, struct cv_knock *k, unsigned slot,
                      const struct cv_keypair *signer)
{
    uint8_t value[CV_KNOCK_BYTES], secret[32];
    struct cv_loc loc;

    cv_inbox_loc(&loc, &j->root, j->place.epoch, &j->pointer.node,
                 j->pointer.salt, slot);
    cv_random(&cv_rng_system, secret, sizeof(secret));
    must(cv_knock_seal(value, k, &loc, secret, j->pointer.box, signer, 0),
         "seal a knock");
    put(j, &loc, value, sizeof(value));
}

static void bad_knocks(struct junk *j)
{
    struct cv_knock k = {.ptr_seq = j->pointer.seq,
                         .node = j->node.pub,
                         .cert = j->cert,
                         .name = "junk"};
    unsigned slot = j->ticks % CV_INBOX_SLOTS;
    uint8_t noise[CV_KNOCK_BYTES];
    struct cv_loc loc;

    cv_inbox_loc(&loc, &j->root, j->place.epoch, &j->pointer.node,
                 j->pointer.salt, slot);
    cv_random(&cv_rng_system, noise, sizeof(noise));
    put(j, &loc, noise, sizeof(noise));
    noise[0] = 1;
    put(j, &loc, noise, sizeof(noise));

    /* Signed by another node; at a pointer that never was; of a certificate
     * that is over; and, byte for byte, what others knocked. */
    memcpy(k.ptr_digest, j->digest, sizeof(k.ptr_digest));
    cv_random(&cv_rng_system, k.req_id, sizeof(k.req_id));
    put_knock(j, &k, slot, &j->other);
    k.ptr_digest[0] ^= 1;
    put_knock(j, &k, slot, &j->node);
    k.ptr_digest[0] ^= 1;
    must(cv_cert_make(&k.cert, &j->identity, &j->node.pub,
                      unix_s() - CV_CLOCK_SLACK_S - 1),
         "certificate");
    put_knock(j, &k, slot, &j->node);
    k.cert = j->cert;
    if (j->ticks % 8 == 0) { /* a good one, and twice: within the limits */
        put_knock(j, &k, slot, &j->node);
        put_knock(j, &k, slot, &j->node);
    }
    for (unsigned i = 0; i < j->n_knocks; i++)
        put(j, &j->knock_loc[i], j->knocks[i].data, j->knocks[i].len);
}

/* Knocks of others are worth keeping. */
static void on_knock_value(void *user, struct cv_bytes value)
{
    const struct slot *s = user;
    struct junk *j = s->junk;
    uint8_t digest[CV_DIGEST_LEN];

    cv_pointer_digest(digest, value);
    if (value.len != CV_KNOCK_BYTES || j->n_knocks == CAPTURED)
        return;
    for (unsigned i = 0; i < PUTS; i++)
        if (memcmp(j->own[i], digest, sizeof(digest)) == 0)
            return;
    for (unsigned i = 0; i < j->n_knocks; i++)
        if (memcmp(j->knocks[i].data, value.data, value.len) == 0)
            return;
    memcpy(j->knocks[j->n_knocks].data, value.data, value.len);
    j->knocks[j->n_knocks].len = value.len;
    j->knock_loc[j->n_knocks] = s->loc;
    j->n_knocks++;
    printf("recorded a knock\n");
    fflush(stdout);
}

/* The inbox moves when it is flooded; its salt says where it is. */
static void listen_to_knocks(struct junk *j)
{
    for (unsigned i = 0; i < CV_INBOX_SLOTS; i++) {
        struct slot *s = &j->slots[i];

        j->dht->ops->cancel(j->dht, s->listen);
        s->junk = j;
        cv_inbox_loc(&s->loc, &j->root, j->place.epoch, &j->pointer.node,
                     j->pointer.salt, i);
        s->listen = j->dht->ops->listen(j->dht, &s->loc, on_knock_value, s);
    }
}

/* --- flood --- */

/* Each value is another one, of the size of a knock, and all of them are where
 * knocks are looked for. */
static void flood(struct junk *j)
{
    unsigned every = j->what == FILL_ALL ? FILL : FLOOD;
    unsigned keys = CV_INBOX_SLOTS + (j->what == FILL_ALL);
    unsigned slot = j->ticks % keys;
    uint8_t noise[CV_KNOCK_BYTES];
    struct cv_loc loc = j->place.loc;

    cv_random(&cv_rng_system, noise, sizeof(noise));
    if (slot < CV_INBOX_SLOTS)
        cv_inbox_loc(&loc, &j->root, j->place.epoch, &j->pointer.node,
                     j->pointer.salt, slot);
    put(j, &loc, noise, sizeof(noise));
    if (++j->ticks % every == 0) {
        printf("%u values of %u are in the %s\n", j->stored, j->puts,
               j->what == FILL_ALL ? "DHT" : "inbox");
        fflush(stdout);
    }
    cv_timer_set(j->timer, cv_loop_now(j->loop) + TICK / every);
}

static void on_tick(void *user)
{
    struct junk *j = user;

    if (j->what == FLOOD_INBOX || j->what == FILL_ALL) {
        flood(j);
        return;
    }
    bad_pointers(j);
    if (!(j->pointer.flags & CV_RECORD_GONE))
        bad_knocks(j);
    j->ticks++;
    if (j->ticks % 2 == 0) {
        printf("%u records put\n", j->puts);
        fflush(stdout);
    }
    cv_timer_set(j->timer, cv_loop_now(j->loop) + TICK);
}

/* --- impostor --- */

static void rv_step(void *user)
{
    struct junk *j = user;

    cv_rendezvous_step(j->rv, cv_loop_now(j->loop), cv_unix_now());
    cv_timer_set(j->timer, cv_rendezvous_deadline(j->rv));
}

static void on_candidates(void *user, const struct cv_candidates *own)
{
    struct junk *j = user;
    struct cv_grants grants = j->pointer.grants;

    must(cv_rendezvous_publish(j->rv, &grants, own), "publish");
    rv_step(j);
}

static void on_attempt(void *user, const uint8_t attempt[8],
                       enum cv_attempt_state state, const char *reason)
{
    static const char *const name[] = {"punching", "direct", "failed"};

    (void)user, (void)attempt;
    printf("attempt %s %s\n", name[state], reason ? reason : "");
    fflush(stdout);
}

static void on_conn(void *user, struct cv_conn *conn)
{
    (void)user, (void)conn;
    printf("connected\n");
    fflush(stdout);
}

static void on_stage(void *user, enum cv_rendezvous_stage stage)
{
    (void)user;
    if (stage == CV_RV_PUBLISHED) {
        printf("published\n");
        fflush(stdout);
    }
}

static void on_knock(void *user, const struct cv_knock_info *k)
{
    struct junk *j = user;
    struct cv_candidates own;

    printf("knocked at\n");
    fflush(stdout);
    cv_net_candidates(j->net, &own);
    if (cv_rendezvous_answer(j->rv, k->contact.attempt, CV_VERDICT_OK, &own) ==
        CV_OK)
        must(cv_net_connect(j->net, &k->contact), "connect");
    rv_step(j);
}

static const struct cv_net_events net_events = {
    .candidates = on_candidates, .attempt = on_attempt, .conn = on_conn};
static const struct cv_rendezvous_events rv_events = {.stage = on_stage,
                                                      .knock = on_knock};

static void start_impostor(struct junk *j)
{
    struct cv_rendezvous_config rv = {.dht = j->dht,
                                      .rng = &cv_rng_system,
                                      .session = j->session,
                                      .node = &j->node,
                                      .cert = j->cert};
    struct cv_net_config net = {
        .loop = j->loop, .rng = &cv_rng_system, .node = &j->other};
    struct cv_candidates own;

    must(cv_rendezvous_new(&j->rv, &rv, &rv_events, j), "rendezvous");
    cv_rendezvous_step(j->rv, cv_loop_now(j->loop), cv_unix_now());
    must(cv_net_new(&j->net, &net, &net_events, j), "network");
    cv_net_candidates(j->net, &own);
    on_candidates(j, &own);
}

/* --- both --- */

static void keep(struct junk *j, const struct cv_pointer *p,
                 struct cv_bytes value)
{
    if (j->found && j->n_old < CAPTURED)
        j->old[j->n_old++] = j->pointer_value;
    j->pointer = *p;
    j->pointer_value.len = value.len;
    memcpy(j->pointer_value.data, value.data, value.len);
    cv_pointer_digest(j->digest, value);
}

static void on_pointer_value(void *user, struct cv_bytes value)
{
    struct junk *j = user;
    struct cv_pointer_raw raw;
    struct cv_pointer p;
    enum cv_role role;
    uint8_t flags;
    bool moved;

    if (cv_pointer_open(&p, &raw, &j->place, value) != CV_OK ||
        cv_pointer_verify(&p, &raw, &j->place, &j->session, unix_s(), &role,
                          &flags) != CV_OK ||
        !cv_key_equal(&p.cert.identity, &j->identity.pub) ||
        cv_key_equal(&p.node, &j->node.pub) ||
        (j->found && p.seq <= j->pointer.seq))
        return;
    moved = memcmp(p.salt, j->pointer.salt, CV_INBOX_SALT) != 0;
    keep(j, &p, value);
    if (moved && j->what == SPRAY)
        listen_to_knocks(j);
    if (j->found)
        return;
    j->found = true;
    printf("found the member\n");
    fflush(stdout);
    if (j->what == IMPOSTOR)
        start_impostor(j);
    else /* its listening comes first */
        cv_timer_set(j->timer, cv_loop_now(j->loop) + 2 * TICK);
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = {"spray", "flood", "fill", "impostor"};
    static struct junk junk;
    struct junk *j = &junk;
    struct cv_keytext key;
    struct cv_dht_config dht = {.n_bootstrap = 1};
    const char *bootstrap[1];
    char why[512];

    while (argc == 5 && j->what <= IMPOSTOR &&
           strcmp(argv[1], kinds[j->what]) != 0)
        j->what++;
    if (argc != 5 || j->what > IMPOSTOR) {
        fprintf(stderr, "usage: junk spray|flood|fill|impostor KEY IDENTITY "
                        "BOOTSTRAP\n");
        return 2;
    }
    must(cv_keytext_parse(&key, CV_KEYTEXT_SESSION, argv[2], why, sizeof(why)),
         "key");
    j->session = key.key;
    must(cv_identity_load(&j->identity, argv[3], why, sizeof(why)), why);
    must(cv_keypair_generate(&j->node, &cv_rng_system), "node key");
    must(cv_keypair_generate(&j->other, &cv_rng_system), "other key");
    must(cv_cert_make(&j->cert, &j->identity, &j->node.pub,
                      unix_s() + CV_CERT_LIFETIME_S),
         "certificate");
    must(cv_loop_new(&j->loop), "loop");
    must(cv_signal_new(&j->stop, j->loop, SIGTERM, on_stop, j), "signal");
    must(cv_timer_new(&j->timer, j->loop,
                      j->what == IMPOSTOR ? rv_step : on_tick, j),
         "timer");
    bootstrap[0] = argv[4];
    dht.loop = j->loop;
    dht.bootstrap = bootstrap;
    must(cv_dht_open(&j->dht, &dht), "dht");
    cv_root_of(&j->root, &j->session);
    cv_place_at(&j->place, &j->root, cv_epoch_at(cv_unix_now()));
    j->dht->ops->listen(j->dht, &j->place.loc, on_pointer_value, j);
    cv_loop_run(j->loop);

    cv_rendezvous_free(j->rv);
    cv_net_free(j->net);
    cv_dht_close(j->dht, 300);
    cv_timer_free(j->timer);
    cv_signal_free(j->stop);
    cv_loop_free(j->loop);
    printf("%u records put in all\n", j->puts);
    return 0;
}
