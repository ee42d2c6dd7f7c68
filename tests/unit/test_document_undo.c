/* Undo of a shared document: what the neighbours and the editor get of it. */
#include "tests/unit/document_kit.h"

static struct world w;

static int step(struct node *n, enum cv_undo_way way)
{
    uint64_t before, kept, shared, seq;
    struct cv_undone at;
    int err;

    cv_document_counts(n->d, &before, &kept, &shared);
    err = cv_document_undo(n->d, way, &at, &seq);
    REQUIRE(seq == before + (err == CV_OK));
    return err;
}

TEST(an_undo_is_told_kept_and_shared_like_an_edit)
{
    struct node *a, *b;
    unsigned texts;

    kit_init(&w, 1);
    a = kit_add(&w, CV_ROLE_HOST, true);
    b = kit_add(&w, CV_ROLE_EDITOR, true);
    kit_up(kit_wire(&w, 0, 1));
    kit_run(&w, CV_SECOND);
    CHECK_EQ(step(a, CV_UNDO_BACK), CV_ERR_NOTFOUND);
    cv_document_set_group(a->d, 1);
    CHECK_EQ(kit_type(a, "one"), CV_OK);
    cv_document_set_group(a->d, 2);
    CHECK_EQ(kit_type(a, " two"), CV_OK);
    cv_document_set_group(a->d, 2);
    CHECK_EQ(kit_type(a, " three"), CV_OK);
    kit_run(&w, CV_SECOND);
    cv_document_set_group(b->d, 1);
    CHECK_EQ(kit_edit(b, 5, 0, "-", 1), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(a, "one t-wo three"));

    texts = a->texts;
    CHECK_EQ(step(a, CV_UNDO_BACK), CV_OK);
    CHECK_EQ(a->texts, texts + 1);
    CHECK(kit_is(a, "one-"));
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(b, "one-"));
    CHECK_EQ(a->kept, 4);
    CHECK_EQ(a->shared, 4);
    CHECK_EQ(step(b, CV_UNDO_BACK), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(a, "one"));
    CHECK_EQ(step(a, CV_UNDO_AGAIN), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(b, "one two three"));
    /* It waits for a slow neighbour like any edit. */
    w.wires[0].end[1].out.blocked = true;
    CHECK_EQ(step(b, CV_UNDO_AGAIN), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(a, "one two three"));
    kit_unblock(&w.wires[0].end[1]);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(a, "one t-wo three"));
    kit_require_same(&w);
    CHECK_EQ(step(a, CV_UNDO_AGAIN), CV_ERR_NOTFOUND);

    /* What the journal has is the text after the undo. */
    CHECK_EQ(step(a, CV_UNDO_BACK), CV_OK);
    CHECK_EQ(step(a, CV_UNDO_BACK), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(a, "-"));
    kit_down(&w.wires[0]);
    kit_close(a);
    kit_open(a, true);
    CHECK(kit_is(a, "-"));
    CHECK_EQ(step(a, CV_UNDO_BACK), CV_ERR_NOTFOUND);
    kit_fini(&w);
}

TEST(who_may_not_write_may_not_undo)
{
    struct node *a;
    struct cv_undone at;
    uint64_t seq;

    kit_init(&w, 1);
    a = kit_add(&w, CV_ROLE_EDITOR, true);
    cv_document_set_group(a->d, 1);
    CHECK_EQ(kit_type(a, "mine"), CV_OK);
    cv_document_set_role(a->d, CV_ROLE_VIEWER);
    CHECK_EQ(cv_document_undo(a->d, CV_UNDO_BACK, &at, &seq), CV_ERR_DENIED);
    CHECK(kit_is(a, "mine"));
    cv_document_set_role(a->d, CV_ROLE_EDITOR);
    CHECK_EQ(step(a, CV_UNDO_BACK), CV_OK);
    CHECK(kit_is(a, ""));
    kit_fini(&w);
}

RUN_TESTS(T(an_undo_is_told_kept_and_shared_like_an_edit),
          T(who_may_not_write_may_not_undo))
