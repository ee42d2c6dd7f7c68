/* Who wrote what in a shared document: what is taken from whom, what may be
 * claimed, and taking back everything that one of them did. */
#include "crdt/sync.h"
#include "session/claims.h"
#include "tests/unit/document_kit.h"

static struct world w;

/* A message of kind sync with one update. */
static struct cv_writer sync_message(struct cv_bytes update)
{
    struct cv_writer m;

    cv_writer_init_heap(&m, 1u << 20);
    cv_put_varuint(&m, 0);
    REQUIRE(cv_sync_put_update(&m, update) == CV_OK);
    return m;
}

/* Give `link` what somebody who goes on under `client` where `n` is would
 * write: `text` at the end. */
static int forge(const struct node *n, struct cv_document_link *link,
                 uint64_t client, const char *text)
{
    struct cv_writer state, update, m;
    struct cv_doc *doc;
    int err;

    cv_writer_init_heap(&state, 1u << 20);
    cv_writer_init_heap(&update, 1u << 20);
    REQUIRE(cv_doc_encode(cv_document_text(n->d), CV_BYTES(NULL, 0), &state) ==
            CV_OK);
    REQUIRE(cv_doc_new(&doc, client, NULL) == CV_OK);
    REQUIRE(cv_doc_apply(doc, cv_writer_bytes(&state), NULL, NULL, NULL) ==
            CV_OK);
    REQUIRE(cv_doc_begin(doc) == CV_OK);
    REQUIRE(cv_doc_insert(doc, cv_doc_text_bytes(doc), text, strlen(text)) ==
            CV_OK);
    REQUIRE(cv_doc_commit(doc, &update) == CV_OK);
    m = sync_message(cv_writer_bytes(&update));
    err = cv_document_link_input(link, cv_writer_bytes(&m));
    cv_doc_free(doc);
    cv_writer_fini(&state);
    cv_writer_fini(&update);
    cv_writer_fini(&m);
    return err;
}

static int revert(struct node *n, const struct node *who,
                  struct cv_reverted *out)
{
    struct cv_reverted dry;
    uint64_t seq, before, kept, shared;
    int err, would = cv_document_revert(n->d, &who->identity.pub, 1, true, &dry,
                                        &seq);

    cv_document_counts(n->d, &before, &kept, &shared);
    err = cv_document_revert(n->d, &who->identity.pub, 77, false, out, &seq);
    REQUIRE(err == would);
    REQUIRE(seq == before + (err == CV_OK));
    if (err == CV_OK)
        REQUIRE(dry.removed == out->removed &&
                dry.removed_bytes == out->removed_bytes &&
                dry.restored == out->restored &&
                dry.restored_bytes == out->restored_bytes &&
                dry.whole == out->whole);
    return err;
}

static void undo(struct node *n)
{
    struct cv_undone undone;
    uint64_t seq;

    REQUIRE(cv_document_undo(n->d, CV_UNDO_BACK, &undone, &seq) == CV_OK);
}

/* A host and two guests; without `mesh` the guests only know the host. */
static void three(struct node *n[3], bool mesh)
{
    kit_init(&w, 21);
    for (int i = 0; i < 3; i++)
        n[i] = kit_add(&w, i ? CV_ROLE_EDITOR : CV_ROLE_HOST, true);
    REQUIRE(cv_document_seed(n[0]->d, CV_LITERAL("one two three\n")) == CV_OK);
    free(n[0]->shadow);
    n[0]->shadow = kit_read(n[0], &n[0]->shadow_len);
    kit_up(kit_wire(&w, 0, 1));
    kit_up(kit_wire(&w, 0, 2));
    if (mesh)
        kit_up(kit_wire(&w, 1, 2));
    kit_run(&w, CV_SECOND);
    kit_require_same(&w);
}

/* ---- who wrote it ---- */

struct stretches {
    const struct node *n;
    char text[256]; /* a letter for each byte: the node, or ? */
};

static bool add_stretch(void *user, const struct cv_author *who, size_t bytes)
{
    struct stretches *s = user;
    size_t at = strlen(s->text);
    char letter = '?';

    for (unsigned i = 0; who->known && i < w.n_nodes; i++)
        if (cv_key_equal(&who->identity, &w.nodes[i].identity.pub))
            letter = (char)('a' + i);
    REQUIRE(at == 0 || s->text[at - 1] != letter);
    REQUIRE(who->you == (letter == (char)('a' + s->n->index)));
    memset(s->text + at, letter, bytes);
    return true;
}

static bool authors_are(const struct node *n, const char *want)
{
    struct stretches s = {.n = n};

    REQUIRE(cv_document_authors(n->d, 0,
                                cv_doc_text_bytes(cv_document_text(n->d)),
                                add_stretch, &s) == CV_OK);
    if (strcmp(s.text, want) != 0)
        print_error("node %u: %s, not %s\n", n->index, s.text, want);
    return strcmp(s.text, want) == 0;
}

TEST(everybody_sees_the_same_authors)
{
    struct node *n[3];

    three(n, false);
    CHECK_EQ(kit_edit(n[1], 3, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(kit_edit(n[2], 0, 0, "CC", 2), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(kit_edit(n[0], 5, 0, "A", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(n[1], "CConeAB two three\n"));
    for (int i = 0; i < 3; i++)
        CHECK(authors_are(n[i], "ccaaaabaaaaaaaaaaa"));
    /* An author who starts again is the same one. */
    kit_down(&w.wires[0]);
    kit_close(n[1]);
    kit_open(n[1], true);
    CHECK(authors_are(n[1], "ccaaaabaaaaaaaaaaa"));
    kit_up(&w.wires[0]);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(kit_edit(n[1], 7, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    for (int i = 0; i < 3; i++)
        CHECK(authors_are(n[i], "ccaaaabbaaaaaaaaaaa"));
    kit_fini(&w);
}

TEST(text_that_nobody_signed_for_is_of_nobody)
{
    struct node *n[3];

    three(n, false);
    kit_down(&w.wires[0]);
    kit_close(n[1]);
    n[1]->signs_not = true;
    kit_open(n[1], true);
    kit_up(&w.wires[0]);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(kit_edit(n[1], 0, 0, "??", 2), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(authors_are(n[2], "??aaaaaaaaaaaaaa"));
    kit_fini(&w);
}

/* ---- what is taken from whom ---- */

TEST(text_of_one_who_is_connected_is_not_taken_from_another)
{
    struct node *n[3];
    uint64_t client;

    three(n, true);
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    client = cv_document_client(n[1]->d);
    /* The host hears from the second guest what the first has not said. */
    CHECK_EQ(forge(n[0], w.wires[1].end[0].link, client, "forged"), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(n[0], "Bone two three\n"));
    CHECK(kit_is(n[1], "Bone two three\n"));
    /* Nor does the first guest itself believe it. */
    CHECK_EQ(forge(n[1], w.wires[2].end[0].link, client, "forged"), CV_OK);
    CHECK(kit_is(n[1], "Bone two three\n"));
    CHECK(cv_document_client(n[1]->d) != client);
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(n[0], "BBone two three\n"));
    kit_require_same(&w);
    CHECK(authors_are(n[0], "bbaaaaaaaaaaaaaa"));
    kit_fini(&w);
}

TEST(the_rest_of_an_update_is_taken)
{
    struct node *n[3];

    three(n, true);
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    CHECK_EQ(kit_edit(n[2], 0, 0, "C", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    /* What the first guest writes does not reach the host from it for now;
     * the second has it, and passes it on together with its own. */
    w.wires[0].end[1].out.blocked = true;
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(kit_edit(n[2], 0, 0, "C", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(cv_doc_text_bytes(cv_document_text(n[2]->d)), 18);
    CHECK(cv_doc_text_bytes(cv_document_text(n[0]->d)) < 18);
    kit_unblock(&w.wires[0].end[1]);
    kit_run(&w, 2 * CV_SECOND);
    kit_require_same(&w);
    CHECK_EQ(cv_doc_text_bytes(cv_document_text(n[0]->d)), 18);
    kit_fini(&w);
}

TEST(what_was_left_for_somebody_is_asked_for_when_that_one_is_gone)
{
    struct node *n[3];

    three(n, true);
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    w.wires[0].end[1].out.blocked = true;
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(n[2], "BBone two three\n"));
    CHECK(kit_is(n[0], "Bone two three\n"));
    kit_down(&w.wires[0]);
    kit_run(&w, 3 * CV_SECOND);
    CHECK(kit_is(n[0], "BBone two three\n"));
    CHECK(authors_are(n[0], "bbaaaaaaaaaaaaaa"));
    kit_fini(&w);
}

TEST(text_of_one_who_is_not_connected_is_taken_as_passed_on)
{
    struct node *n[3];

    three(n, false);
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(n[2], "Bone two three\n"));
    /* Its author may be here as somebody who only reads: then, too. */
    kit_down(&w.wires[0]);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(
        forge(n[0], w.wires[1].end[0].link, cv_document_client(n[1]->d), "!"),
        CV_OK);
    CHECK(kit_is(n[0], "Bone two three\n!"));
    kit_fini(&w);
}

/* ---- claims ---- */

static struct cv_writer claim_message(const struct node *by, uint64_t client,
                                      const struct cv_key *node)
{
    struct cv_claims *claims;
    struct cv_claim claim;
    struct cv_writer m;

    REQUIRE(cv_claims_new(&claims, &w.session, 1) == CV_OK);
    REQUIRE(cv_claims_sign(claims, &claim, &by->identity, node, client) ==
            CV_OK);
    cv_claims_free(claims);
    cv_writer_init_heap(&m, 4096);
    cv_put_varuint(&m, 68);
    REQUIRE(cv_put_claim(&m, &claim) == CV_OK);
    return m;
}

TEST(nobody_can_sign_for_the_replica_of_another)
{
    struct node *n[3];
    struct cv_writer m;
    uint64_t client;

    three(n, true);
    /* The second guest signs for what the first has not written yet. */
    client = cv_document_client(n[1]->d);
    m = claim_message(n[2], client, &n[2]->key);
    CHECK_EQ(
        cv_document_link_input(w.wires[1].end[0].link, cv_writer_bytes(&m)),
        CV_OK);
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(authors_are(n[0], "baaaaaaaaaaaaaa"));
    cv_writer_fini(&m);
    /* Or as if its node were that of the first. */
    m = claim_message(n[2], 12345, &n[1]->key);
    CHECK_EQ(
        cv_document_link_input(w.wires[1].end[0].link, cv_writer_bytes(&m)),
        CV_OK);
    CHECK_EQ(forge(n[0], w.wires[1].end[0].link, 12345, "?"), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(authors_are(n[0], "baaaaaaaaaaaaaa?"));
    cv_writer_fini(&m);
    kit_fini(&w);
}

TEST(who_hears_that_another_signed_for_its_client_id_takes_a_new_one)
{
    struct node *n[3];
    struct cv_writer m;
    uint64_t client;

    three(n, true);
    client = cv_document_client(n[1]->d);
    m = claim_message(n[2], client, &n[2]->key);
    CHECK_EQ(
        cv_document_link_input(w.wires[2].end[0].link, cv_writer_bytes(&m)),
        CV_OK);
    CHECK(cv_document_client(n[1]->d) != client);
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    for (int i = 0; i < 3; i++)
        CHECK(authors_are(n[i], "baaaaaaaaaaaaaa"));
    cv_writer_fini(&m);
    kit_fini(&w);
}

/* ---- what waits ---- */

TEST(an_update_that_waits_for_ever_holds_back_only_its_sender)
{
    /* One character of client 99 behind unit 5 of client 98, twice: the unit
     * is never sent; then a delete of it. */
    static const uint8_t waits[] = {1, 1, 99, 0, 0x84, 98, 5, 1, 'x', 0};
    static const uint8_t deletes[] = {0, 1, 98, 1, 7, 2};
    struct node *n[3];
    struct cv_writer m;

    three(n, false);
    for (int k = 0; k < 2; k++) {
        m = sync_message(k ? CV_BYTES(deletes, sizeof(deletes))
                           : CV_BYTES(waits, sizeof(waits)));
        CHECK_EQ(
            cv_document_link_input(w.wires[1].end[0].link, cv_writer_bytes(&m)),
            CV_OK);
        cv_writer_fini(&m);
    }
    CHECK(cv_doc_waiting(cv_document_text(n[0]->d)));
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    CHECK_EQ(kit_edit(n[2], 0, 0, "C", 1), CV_OK);
    kit_run(&w, 3 * CV_SECOND);
    kit_require_same(&w);
    CHECK_EQ(n[1]->shared, 1);
    CHECK_EQ(n[2]->shared, 0);
    kit_fini(&w);
}

/* ---- taking back ---- */

TEST(a_revert_takes_back_what_one_did_and_nothing_else)
{
    struct node *n[3];
    struct cv_reverted r;

    three(n, false);
    CHECK_EQ(kit_edit(n[1], 3, 0, "BBB", 3), CV_OK); /* oneBBB two three */
    kit_run(&w, CV_SECOND);
    CHECK_EQ(kit_edit(n[2], 4, 0, "C", 1), CV_OK); /* oneBCBB two three */
    kit_run(&w, CV_SECOND);
    CHECK_EQ(kit_edit(n[1], 8, 3, NULL, 0), CV_OK); /* two */
    CHECK_EQ(kit_edit(n[1], 6, 1, NULL, 0), CV_OK); /* its own B */
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(n[2], "oneBCB  three\n"));

    /* The second guest heard all of it from the host only. */
    CHECK_EQ(revert(n[2], n[1], &r), CV_OK);
    CHECK(kit_is(n[2], "oneC two three\n"));
    CHECK_EQ(r.removed, 2);
    CHECK_EQ(r.removed_bytes, 2);
    CHECK_EQ(r.restored, 1);
    CHECK_EQ(r.restored_bytes, 3);
    CHECK(!r.whole && r.undoable);
    kit_run(&w, CV_SECOND);
    kit_require_same(&w);
    CHECK_EQ(n[2]->shared, 2);
    undo(n[2]);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(n[0], "oneBCB  three\n"));
    kit_require_same(&w);

    /* The text counts as of the one who brought it back. */
    CHECK_EQ(revert(n[0], n[1], &r), CV_OK);
    CHECK(kit_is(n[0], "oneBCB two three\n"));
    CHECK(r.whole);
    CHECK_EQ(revert(n[0], n[1], &r), CV_ERR_NOTFOUND);
    kit_fini(&w);
}

TEST(what_the_session_began_with_stays_when_its_sharer_is_reverted)
{
    struct node *n[3];
    struct cv_reverted r;

    three(n, false);
    CHECK_EQ(revert(n[1], n[0], &r), CV_ERR_NOTFOUND);
    CHECK_EQ(kit_edit(n[0], 3, 0, "AAA", 3), CV_OK);
    CHECK_EQ(kit_edit(n[0], 7, 3, NULL, 0), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(n[1], "oneAAA  three\n"));
    CHECK_EQ(revert(n[1], n[0], &r), CV_OK);
    CHECK(kit_is(n[1], "one two three\n"));
    CHECK(authors_are(n[1], "aaaabbbaaaaaaa"));
    kit_fini(&w);
}

TEST(who_may_not_write_may_not_revert_and_nobody_reverts_himself)
{
    struct node *n[3];
    struct cv_reverted r;

    three(n, true);
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    cv_document_set_role(n[2]->d, CV_ROLE_VIEWER);
    CHECK_EQ(revert(n[2], n[1], &r), CV_ERR_DENIED);
    CHECK_EQ(revert(n[1], n[1], &r), CV_ERR_INVALID);
    CHECK(kit_is(n[2], "Bone two three\n"));
    kit_fini(&w);
}

TEST(deletions_that_nobody_saw_are_said_to_be_unknown)
{
    struct node *n[3];
    struct cv_reverted r;

    three(n, false);
    CHECK_EQ(kit_edit(n[1], 0, 0, "B", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(cv_document_revert(n[0]->d, &n[1]->identity.pub, 1, true, &r,
                                &(uint64_t){0}),
             CV_OK);
    CHECK(r.whole);
    /* What happens while they are apart comes as one state. */
    kit_down(&w.wires[0]);
    CHECK_EQ(kit_edit(n[1], 1, 3, NULL, 0), CV_OK);
    kit_up(&w.wires[0]);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(n[0], "B two three\n"));
    CHECK_EQ(revert(n[0], n[1], &r), CV_OK);
    CHECK(!r.whole);
    CHECK(kit_is(n[0], " two three\n"));
    kit_fini(&w);
}

TEST(random_meshes_converge_whoever_brings_the_text)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct node *n[4];
        uint64_t random;

        kit_init(&w, seed);
        for (int i = 0; i < 4; i++)
            n[i] = kit_add(&w, i ? CV_ROLE_EDITOR : CV_ROLE_HOST, true);
        for (unsigned i = 0; i < 4; i++)
            for (unsigned k = i + 1; k < 4; k++)
                kit_up(kit_wire(&w, i, k));
        kit_run(&w, CV_SECOND);
        for (int step = 0; step < 150; step++) {
            struct node *x;
            struct wire *wire;
            size_t len;

            random = cv_random_u64(&w.rng);
            x = n[random % 4];
            wire = &w.wires[random / 4 % 6];
            len = x->shadow_len;
            if (random / 64 % 8 == 0)
                wire->up ? kit_down(wire) : kit_up(wire);
            else if (random / 64 % 8 == 1)
                wire->end[0].out.blocked = wire->up;
            else if (random / 64 % 8 == 2 && wire->up)
                kit_unblock(&wire->end[0]);
            else if (random / 64 % 8 == 3 && len > 4)
                REQUIRE(kit_edit(x, random / 4096 % (len - 2), 2, NULL, 0) ==
                        CV_OK);
            else
                REQUIRE(kit_edit(x, random / 4096 % (len + 1), 0, "ab", 2) ==
                        CV_OK);
            if (random / 512 % 3)
                kit_run(&w, 50 * CV_MILLISECOND);
        }
        for (unsigned i = 0; i < 6; i++) {
            kit_up(&w.wires[i]);
            kit_unblock(&w.wires[i].end[0]);
        }
        kit_run(&w, 65 * CV_SECOND);
        kit_require_same(&w);
        for (int i = 0; i < 4; i++) {
            uint64_t commits, kept, shared;

            cv_document_counts(n[i]->d, &commits, &kept, &shared);
            CHECK_EQ(shared, commits);
        }
        kit_fini(&w);
    }
}

RUN_TESTS(T(everybody_sees_the_same_authors),
          T(text_that_nobody_signed_for_is_of_nobody),
          T(text_of_one_who_is_connected_is_not_taken_from_another),
          T(the_rest_of_an_update_is_taken),
          T(what_was_left_for_somebody_is_asked_for_when_that_one_is_gone),
          T(text_of_one_who_is_not_connected_is_taken_as_passed_on),
          T(nobody_can_sign_for_the_replica_of_another),
          T(who_hears_that_another_signed_for_its_client_id_takes_a_new_one),
          T(an_update_that_waits_for_ever_holds_back_only_its_sender),
          T(a_revert_takes_back_what_one_did_and_nothing_else),
          T(what_the_session_began_with_stays_when_its_sharer_is_reverted),
          T(who_may_not_write_may_not_revert_and_nobody_reverts_himself),
          T(deletions_that_nobody_saw_are_said_to_be_unknown),
          T(random_meshes_converge_whoever_brings_the_text))
