/* Every allocation of an undo manager is made to fail once: the call says so or
 * the history is forgotten, the document stays sound, and what is still
 * remembered is right. */
#include "crdt/revert.h"
#include "crdt/undo.h"
#include "tests/unit/crdt_util.h"
#include "tests/unit/nomem.h"

/* Characters of the other one that are visible. */
static size_t theirs(const struct cv_doc *doc)
{
    size_t n = 0;

    for (size_t at = 0; at < cv_doc_text_bytes(doc); at++) {
        struct cv_id id;

        REQUIRE(cv_doc_author(doc, at, &id) == CV_OK);
        n += id.client == 2;
    }
    return n;
}

static void may_fail(int err)
{
    REQUIRE(err == CV_OK || err == CV_ERR_NOMEM || err == CV_ERR_NOTFOUND);
}

/* Edits and steps back and forth, all of them pieces of several runs. */
static void work(struct cv_doc *doc, struct cv_undo *undo)
{
    struct cv_undone at;
    size_t before;

    for (uint64_t i = 0; i < 6; i++) {
        size_t total = cv_doc_text_bytes(doc);

        cv_undo_group(undo, i / 2);
        may_fail(cv_undo_insert(undo, total / 2, "some text of mine", 17));
        may_fail(cv_undo_delete(undo, total / 3, total / 4));
    }
    before = theirs(doc);
    for (unsigned i = 0; i < 9; i++) {
        may_fail(cv_undo_step(undo, i % 3 == 2 ? CV_UNDO_AGAIN : CV_UNDO_BACK,
                              NULL, NULL, &at));
        REQUIRE(theirs(doc) == before);
    }
}

static bool nobodys(void *user, uint64_t client)
{
    (void)user;
    (void)client;
    return false;
}

/* The other one's text, some of it deleted by a third.  What is left of `n`
 * allocations until one fails is there then. */
static struct cv_revert *note_deletes(struct cv_doc *doc, unsigned long *n)
{
    static const uint8_t deletes[] = {0, 1, 2, 3, 3, 9, 20, 6, 40, 20};
    struct cv_revert *r = NULL;

    countdown = *n;
    if (cv_revert_new(&r, doc, 1 << 20) == CV_OK)
        cv_revert_note(r, 1, CV_BYTES(deletes, sizeof(deletes)), nobodys, NULL);
    *n = countdown;
    countdown = 0;
    REQUIRE(cv_doc_apply(doc, CV_BYTES(deletes, sizeof(deletes)), NULL, NULL,
                         NULL) == CV_OK);
    return r;
}

/* All of the other one is taken back, and what the third deleted. */
static void work_on_theirs(struct cv_doc *doc, struct cv_undo *undo,
                           struct cv_revert *r)
{
    const uint64_t two = 2;
    struct cv_change change = {0};
    struct cv_taken taken;
    size_t before = theirs(doc);
    int err;

    if (r == NULL)
        return;
    err = cv_revert_change(r, 1, &two, 1, &change);
    if (err == CV_OK)
        err = cv_change_measure(doc, &change, &taken);
    if (err == CV_OK)
        err = cv_undo_revert(undo, &change, 99, NULL, NULL, &taken);
    may_fail(err);
    REQUIRE(theirs(doc) <= before);
    REQUIRE(err != CV_OK || theirs(doc) == 0);
    REQUIRE(err != CV_OK || taken.restored_bytes == 35 ||
            cv_revert_forgot(r, 1));
    cv_change_fini(&change);
}

/* Returns whether the allocation to fail was reached. */
static bool run(unsigned long n)
{
    struct cv_doc *doc = new_doc(1), *other = new_doc(2);
    struct cv_writer w = heap_writer(), last = heap_writer();
    struct cv_revert *revert;
    struct cv_undo *undo;
    struct cv_undone at;
    bool reached;

    for (unsigned i = 0; i < 12; i++)
        insert_at(other, i * 5, i % 2 ? "theirs " : "line\n", NULL);
    REQUIRE(cv_doc_encode(other, CV_BYTES(NULL, 0), &w) == CV_OK);
    REQUIRE(cv_doc_apply(doc, cv_writer_bytes(&w), NULL, NULL, NULL) == CV_OK);
    REQUIRE(cv_undo_new(&undo, doc, 1 << 20) == CV_OK);
    one_failed = false;
    revert = note_deletes(doc, &n);

    REQUIRE(cv_doc_begin(doc) == CV_OK);
    countdown = n;
    work(doc, undo);
    work_on_theirs(doc, undo, revert);
    reached = disarm();
    check_store(doc);

    /* What is still remembered leads back and forth to the same text. */
    while (cv_undo_step(undo, CV_UNDO_AGAIN, NULL, NULL, &at) == CV_OK)
        ;
    w.len = 0;
    REQUIRE(cv_doc_read(doc, 0, cv_doc_text_bytes(doc), &w) == CV_OK);
    while (cv_undo_step(undo, CV_UNDO_BACK, NULL, NULL, &at) == CV_OK)
        ;
    while (cv_undo_step(undo, CV_UNDO_AGAIN, NULL, NULL, &at) == CV_OK)
        ;
    REQUIRE(cv_doc_read(doc, 0, cv_doc_text_bytes(doc), &last) == CV_OK);
    REQUIRE(cv_bytes_equal(cv_writer_bytes(&w), cv_writer_bytes(&last)));
    w.len = 0;
    REQUIRE(cv_doc_commit(doc, &w) == CV_OK);
    w.len = 0;
    REQUIRE(cv_doc_encode(doc, CV_BYTES(NULL, 0), &w) == CV_OK);
    REQUIRE(cv_doc_apply(other, cv_writer_bytes(&w), NULL, NULL, NULL) ==
            CV_OK);
    w.len = 0;
    REQUIRE(cv_doc_read(other, 0, cv_doc_text_bytes(other), &w) == CV_OK);
    REQUIRE(cv_bytes_equal(cv_writer_bytes(&w), cv_writer_bytes(&last)));
    check_store(doc);
    cv_revert_free(revert);
    cv_undo_free(undo);
    cv_doc_free(doc);
    cv_doc_free(other);
    cv_writer_fini(&w);
    cv_writer_fini(&last);
    return reached;
}

TEST(any_allocation_may_fail)
{
    unsigned long n = 1;

    while (run(n))
        n++;
    print_message("%lu allocations\n", n - 1);
    CHECK(n > 50);
}

RUN_TESTS(T(any_allocation_may_fail))
