/* The vectors of docs/protocol.md are what the code makes: each "vector NAME"
 * there, with its hex lines, is made again from the keys named in the text and
 * compared.  `unit_vectors print` prints them in that form; with a folder as
 * further argument it writes the records there as seeds for the fuzzers. */
#include "tests/unit/discovery_kit.h"
#include "tests/unit/vectors_kit.h"

#include "base/keytext.h"
#include "discovery/token.h"

static const char *corpus;

/* A vector that is text: the lines under its name, joined. */
static void text_vector(const char *name, const char *have)
{
    char line[128];
    const char *at, *want = have;

    snprintf(line, sizeof(line), "\nvector %s\n", name);
    at = strstr(doc, line);
    checked++;
    if (printing) {
        printf("vector %s\n", name);
        for (size_t i = 0; i < strlen(have); i += 72)
            printf("%.72s\n", have + i);
        printf("\n");
        return;
    }
    for (at = at ? at + strlen(line) : ""; *at && *want; at++)
        if (*at == *want)
            want++;
        else if (*at != '\n' || at[1] == '\n')
            break;
    if (*want == '\0' && at[0] == '\n' && (at[1] == '\n' || at[1] == '`'))
        return;
    print_error("vector %s is %s\n", name, have);
    wrong++;
}

static void seed(const char *fuzzer, const char *name, const void *data,
                 size_t len)
{
    char path[512];
    FILE *f;

    if (corpus == NULL)
        return;
    snprintf(path, sizeof(path), "%s/%s/%s", corpus, fuzzer, name);
    f = fopen(path, "wb");
    REQUIRE(f != NULL && fwrite(data, 1, len, f) == len);
    fclose(f);
}

/* 00 01 02 … */
static void count_up(void *user, void *out, size_t len)
{
    uint8_t *next = user, *b = out;

    for (size_t i = 0; i < len; i++)
        b[i] = (*next)++;
}

/* What the vectors are made of; each section adds to it. */
static struct cv_keypair session;
static struct kit_person host, guest; /* identity 02…, node 03…; 04… */
static struct cv_root root;
static struct cv_place place;
static uint8_t box_secret[32], box[32], salt[CV_INBOX_SALT];
static uint8_t eph_secret[32], eph[32], shared[32];
static struct cv_pointer p;
static struct cv_knock k;
static struct cv_token token;
static uint8_t next_byte;
static const struct cv_rng rng = {count_up, &next_byte};
static uint8_t buf[VECTOR_MAX];

/* 1 Keys */
static void keys(void)
{
    const struct cv_keytext key = {CV_KEYTEXT_SESSION, .key = session.pub};
    char text[CV_TOKEN_TEXT];
    struct cv_writer w;

    vector("session.public", session.pub.b, CV_KEY_LEN);
    text_vector("session.text", cv_keytext_format(&key, text));
    vector("identity.public", host.identity.pub.b, CV_KEY_LEN);
    text_vector("identity.fingerprint",
                cv_fingerprint(&host.identity.pub, text));
    vector("node.public", host.node.pub.b, CV_KEY_LEN);
    cv_writer_init(&w, buf, sizeof(buf));
    cv_put_cert(&w, &host.cert);
    vector("certificate", buf, w.len);
    REQUIRE(cv_grants_issue(&host.grants, NULL, &session.pub, &session,
                            &host.identity.pub, CV_ROLE_HOST, CV_GRANT_ADMIT,
                            KIT_UNIX_S + CV_GRANT_LIFETIME_S, &rng) == CV_OK);
    cv_writer_init(&w, buf, sizeof(buf));
    cv_put_grants(&w, &host.grants);
    vector("grants", buf, w.len);
    REQUIRE(cv_grants_issue(&guest.grants, &host.grants, &session.pub,
                            &host.identity, &guest.identity.pub, CV_ROLE_EDITOR,
                            0, KIT_UNIX_S + CV_GRANT_LIFETIME_S,
                            &rng) == CV_OK);
    cv_writer_init(&w, buf, sizeof(buf));
    cv_put_grants(&w, &guest.grants);
    vector("grants.child", buf, w.len);
}

/* 2 Locations */
static void locations(void)
{
    struct cv_loc loc;

    cv_root_of(&root, &session.pub);
    vector("root", root.b, sizeof(root.b));
    cv_place_at(&place, &root, cv_epoch_at(KIT_UNIX_MS));
    vector("pointer.location", place.loc.b, CV_LOC_LEN);
    vector("pointer.key", place.key, sizeof(place.key));
    memset(salt, 0x5a, sizeof(salt));
    for (unsigned s = 0; s < CV_INBOX_SLOTS; s++) {
        char name[32];

        snprintf(name, sizeof(name), "inbox.%u", s);
        cv_inbox_loc(&loc, &root, place.epoch, &host.node.pub, salt, s);
        vector(name, loc.b, CV_LOC_LEN);
    }
}

/* 3 Pointer */
static void pointers(void)
{
    struct cv_pointer_raw praw;
    char text[CV_TOKEN_TEXT];
    size_t len;

    memset(box_secret, 0x42, sizeof(box_secret));
    cv_x25519_public(box, box_secret);
    vector("box.public", box, sizeof(box));
    p.seq = KIT_UNIX_MS;
    p.not_after = (uint32_t)(KIT_UNIX_S + CV_POINTER_LIFETIME_S);
    p.node = host.node.pub;
    p.cert = host.cert;
    p.grants = host.grants;
    memcpy(p.box, box, sizeof(box));
    memcpy(p.salt, salt, sizeof(salt));
    p.flags = CV_RECORD_ADMITS;
    p.candidates = kit_candidates(3);
    next_byte = 0;
    REQUIRE(cv_pointer_seal(buf, &len, &p, &place, &host.node, &rng) == CV_OK);
    vector("pointer", buf, len);
    seed("pointer", "pointer", buf, len);
    token.kind = CV_TOKEN_HOST;
    token.session = session.pub;
    token.epoch = place.epoch;
    token.len = len;
    memcpy(token.value, buf, len);
    text_vector("token.host", cv_token_format(&token, text));
    seed("token", "host", text, strlen(text));
    cv_pointer_digest(k.ptr_digest, CV_BYTES(buf, len));
    REQUIRE(cv_pointer_open(&p, &praw, &place, CV_BYTES(buf, len)) == CV_OK);
    vector("pointer.inner", praw.data, praw.signed_len + CV_SIG_LEN);
    seed("pointer_inner", "pointer", praw.data, praw.len);
    seed("pointer", "inner", praw.data, praw.len);
    vector("pointer.digest", k.ptr_digest, CV_DIGEST_LEN);
}

/* One that says goodbye; and for the parser, one with two grants and gates. */
static void other_pointers(void)
{
    struct cv_pointer_raw praw;
    size_t len;

    p.flags |= CV_RECORD_GONE;
    p.seq++;
    p.candidates.n = 0;
    REQUIRE(cv_pointer_seal(buf, &len, &p, &place, &host.node, &rng) == CV_OK);
    vector("pointer.gone", buf, len);
    seed("pointer", "gone", buf, len);
    p.grants = guest.grants;
    p.gates.n = 2;
    for (unsigned i = 0; i < 2; i++)
        p.gates.g[i] = (struct cv_gate_ref){
            .key = session.pub,
            .transports = 3,
            .addr = i ? kit_candidates(3).c[2].addr : cv_addr_ipv4(1, 0),
            .udp = 443,
            .tcp = 443};
    REQUIRE(cv_pointer_seal(buf, &len, &p, &place, &host.node, &rng) == CV_OK);
    REQUIRE(cv_pointer_open(&p, &praw, &place, CV_BYTES(buf, len)) == CV_OK);
    seed("pointer_inner", "gates", praw.data, praw.len);
}

/* 4 Knock and answer */
static void knocks(void)
{
    struct cv_knock_raw kraw;
    char text[CV_TOKEN_TEXT];
    struct cv_loc loc;

    memset(eph_secret, 0x24, sizeof(eph_secret));
    cv_x25519_public(eph, eph_secret);
    vector("eph.public", eph, sizeof(eph));
    REQUIRE(cv_x25519(shared, eph_secret, box) == CV_OK);
    vector("shared", shared, sizeof(shared));
    memset(k.req_id, 0x77, sizeof(k.req_id));
    k.ptr_seq = KIT_UNIX_MS;
    k.node = guest.node.pub;
    k.cert = guest.cert;
    k.proof = CV_PROOF_GRANT;
    k.grant = guest.grants.chain[1];
    snprintf(k.name, sizeof(k.name), "Ada");
    k.candidates = kit_candidates(2);
    cv_inbox_loc(&loc, &root, place.epoch, &host.node.pub, salt,
                 cv_inbox_slot(&guest.node.pub));
    buf[0] = (uint8_t)cv_inbox_slot(&guest.node.pub);
    vector("knock.slot", buf, 1);
    REQUIRE(cv_knock_seal(buf, &k, &loc, eph_secret, box, &guest.node, 0) ==
            CV_OK);
    vector("knock", buf, CV_KNOCK_BYTES);
    token.kind = CV_TOKEN_GUEST;
    token.slot = (uint8_t)cv_inbox_slot(&guest.node.pub);
    memcpy(token.digest, k.ptr_digest, sizeof(token.digest));
    token.len = CV_KNOCK_BYTES;
    memcpy(token.value, buf, CV_KNOCK_BYTES);
    text_vector("token.guest", cv_token_format(&token, text));
    seed("token", "guest", text, strlen(text));
    seed("knock", "knock", buf, CV_KNOCK_BYTES);
    REQUIRE(cv_knock_open(&k, &kraw, &loc, box_secret, box,
                          CV_BYTES(buf, CV_KNOCK_BYTES)) == CV_OK);
    vector("knock.inner", kraw.data, kraw.signed_len + CV_SIG_LEN);
    seed("knock_inner", "knock", kraw.data, kraw.len);
    seed("knock", "inner", kraw.data, kraw.len);
    REQUIRE(cv_knock_seal(buf, &k, &loc, eph_secret, box, &guest.node, 12) ==
            CV_OK);
    vector("knock.pow12", buf + 33, 8);
}

static void other_knocks(void)
{
    struct cv_knock_raw kraw;
    uint8_t again_secret[32];
    struct cv_loc loc;

    k.again = true;
    memcpy(k.first_eph, eph, sizeof(eph));
    k.proof = CV_PROOF_NONE;
    memset(again_secret, 0x25, sizeof(again_secret));
    cv_inbox_loc(&loc, &root, place.epoch, &host.node.pub, salt,
                 cv_inbox_slot(&guest.node.pub) + 1);
    REQUIRE(cv_knock_seal(buf, &k, &loc, again_secret, box, &guest.node, 0) ==
            CV_OK);
    vector("knock.again", buf, CV_KNOCK_BYTES);
    seed("knock", "again", buf, CV_KNOCK_BYTES);
    REQUIRE(cv_knock_open(&k, &kraw, &loc, box_secret, box,
                          CV_BYTES(buf, CV_KNOCK_BYTES)) == CV_OK);
    seed("knock_inner", "again", kraw.data, kraw.len);
    k.proof = CV_PROOF_INVITE;
    k.gates = (struct cv_gate_refs){.n = 1, .g = {p.gates.g[0]}};
    REQUIRE(cv_knock_seal(buf, &k, &loc, again_secret, box, &guest.node, 0) ==
            CV_OK);
    REQUIRE(cv_knock_open(&k, &kraw, &loc, box_secret, box,
                          CV_BYTES(buf, CV_KNOCK_BYTES)) == CV_OK);
    seed("knock_inner", "invite", kraw.data, kraw.len);
}

static void answers(void)
{
    struct cv_answer a = {0};
    struct cv_answer_raw araw;
    struct cv_reply reply;

    cv_reply_of(&reply, shared);
    vector("answer.location", reply.loc.b, CV_LOC_LEN);
    vector("answer.key", reply.key, sizeof(reply.key));
    memcpy(a.req_id, k.req_id, sizeof(a.req_id));
    a.counter = 1;
    a.verdict = CV_VERDICT_ASK;
    a.candidates = kit_candidates(1);
    a.rtt_ms = 80;
    a.plan = 1;
    a.t0_ms = 140;
    REQUIRE(cv_answer_seal(buf, &a, &reply, eph, box, &host.node) == CV_OK);
    vector("answer", buf, CV_ANSWER_BYTES);
    seed("answer", "answer", buf, CV_ANSWER_BYTES);
    REQUIRE(cv_answer_open(&a, &araw, &reply, CV_BYTES(buf, CV_ANSWER_BYTES)) ==
            CV_OK);
    vector("answer.inner", araw.data, araw.signed_len + CV_SIG_LEN);
    seed("answer", "inner", araw.data, araw.len);
}

static void vectors(void)
{
    session = kit_keypair(0x01);
    host = kit_person(0x02);
    guest = kit_person(0x04);
    keys();
    locations();
    pointers();
    other_pointers();
    knocks();
    other_knocks();
    answers();
}

TEST(the_document_has_the_vectors_that_the_code_makes)
{
    read_document();
    vectors();
    CHECK(checked >= 27);
    CHECK_EQ(wrong, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(the_document_has_the_vectors_that_the_code_makes)};

    corpus = argc > 2 ? argv[2] : NULL;
    return compare_or_print(argc, vectors, tests);
}
