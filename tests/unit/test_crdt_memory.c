/* Every allocation of crdt/ is made to fail once: the call says so, the
 * document stays sound, and the same update applied again completes it. */
#include "crdt/any.h"
#include "crdt/awareness.h"
#include "crdt/codec.h"
#include "crdt/update.h"
#include "tests/unit/crdt_util.h"
#include "tests/unit/nomem.h"

static bool fine(int err)
{
    return err == CV_OK || err == CV_ERR_NOMEM;
}

/* Updates with text, cuts, deletes, maps, waiting structs and cut pairs. */
#define UPDATES 24
static struct cv_writer updates[UPDATES];
static struct cv_writer want;

static void edit_some(struct cv_doc *doc, unsigned i, struct cv_writer *out)
{
    struct cv_writer any = heap_writer();
    size_t total = cv_doc_text_bytes(doc), unit;
    size_t at = total / 2;

    while (cv_doc_bytes_to_units(doc, at, &unit) != CV_OK)
        at--;
    cv_put_any_string(&any, "value", 5);
    REQUIRE(cv_doc_begin(doc) == CV_OK);
    REQUIRE(cv_doc_insert(doc, at, "\xF0\x9F\x98\x80 text\n", 10) == CV_OK);
    REQUIRE(cv_doc_insert(doc, 0, "x", 1) == CV_OK);
    if (i % 3 == 2)
        REQUIRE(cv_doc_delete(doc, at + 5, 3) == CV_OK);
    if (i % 4 == 1)
        REQUIRE(cv_doc_map_set(doc, "meta", (struct cv_bytes){any.data + 1, 2},
                               cv_writer_bytes(&any)) == CV_OK);
    REQUIRE(cv_doc_commit(doc, out) == CV_OK);
    cv_writer_fini(&any);
}

static int make_updates(void **state)
{
    struct cv_doc *a = new_doc(10), *b = new_doc(20), *all = new_doc(30);
    uint64_t seed = 7;

    (void)state;
    for (unsigned i = 0; i < UPDATES; i++) {
        updates[i] = heap_writer();
        if (i % 8 == 5) {
            static const uint8_t cut_pair[] = {0, 1, 10, 1, 1, 1};

            cv_put_raw(&updates[i], cut_pair, sizeof(cut_pair));
            REQUIRE(cv_doc_apply(a, cv_writer_bytes(&updates[i]), NULL, NULL,
                                 NULL) == CV_OK);
            continue;
        }
        edit_some(i % 2 ? a : b, i, &updates[i]);
        if (i % 3 == 0)
            REQUIRE(cv_doc_apply(i % 2 ? b : a, cv_writer_bytes(&updates[i]),
                                 NULL, NULL, NULL) == CV_OK);
    }
    /* Out of order, so that some wait. */
    for (unsigned i = UPDATES - 1; i > 0; i--) {
        unsigned k = below(&seed, i + 1);
        struct cv_writer w = updates[i];

        updates[i] = updates[k];
        updates[k] = w;
    }
    for (unsigned i = 0; i < UPDATES; i++)
        REQUIRE(cv_doc_apply(all, cv_writer_bytes(&updates[i]), NULL, NULL,
                             NULL) == CV_OK);
    want = encode_all(all);
    cv_doc_free(a);
    cv_doc_free(b);
    cv_doc_free(all);
    return 0;
}

static int free_updates(void **state)
{
    (void)state;
    for (unsigned i = 0; i < UPDATES; i++)
        cv_writer_fini(&updates[i]);
    cv_writer_fini(&want);
    return 0;
}

static void apply_all(struct cv_doc *doc, struct mirror *mirror, bool *failed)
{
    const struct cv_doc_observer observer = {mirror_change, NULL, mirror};

    for (unsigned i = 0; i < UPDATES; i++) {
        struct cv_writer news = heap_writer();
        int err = cv_doc_apply(doc, cv_writer_bytes(&updates[i]), &observer,
                               &news, NULL);

        REQUIRE(fine(err));
        cv_writer_fini(&news);
        if (err == CV_OK)
            continue;
        /* The observer may not have been told. */
        *failed = true;
        news = read_all(doc);
        REQUIRE(news.len <= mirror->cap);
        if (news.len > 0)
            memcpy(mirror->text, news.data, news.len);
        mirror->len = news.len;
        cv_writer_fini(&news);
    }
}

TEST(remote_updates_survive_every_failed_allocation)
{
    bool reached = true;
    unsigned long n, survived = 0;

    for (n = 1; reached; n++) {
        struct cv_doc *doc = new_doc(30);
        struct mirror mirror = {0};
        struct cv_writer got;
        bool failed = false;

        mirror.text = malloc(mirror.cap = 4096);
        CHECK(mirror.text != NULL);
        arm(n);
        apply_all(doc, &mirror, &failed);
        reached = disarm();
        check_store(doc);
        CHECK(mirror_equals(&mirror, doc));
        if (reached && !failed)
            survived++;
        free(mirror.text);
        mirror = (struct mirror){0};
        for (unsigned i = 0; i < UPDATES; i++)
            CHECK_EQ(cv_doc_apply(doc, cv_writer_bytes(&updates[i]), NULL, NULL,
                                  NULL),
                     CV_OK);
        check_store(doc);
        got = encode_all(doc);
        CHECK(cv_bytes_equal(cv_writer_bytes(&got), cv_writer_bytes(&want)));
        CHECK(!cv_doc_waiting(doc));
        cv_writer_fini(&got);
        cv_doc_free(doc);
    }
    /* Those that only made something smaller or later. */
    print_message("%lu allocations failed, %lu of them unnoticed\n", n - 2,
                  survived);
    CHECK(n > 50);
}

TEST(local_edits_survive_every_failed_allocation)
{
    bool reached = true;
    unsigned long n;

    for (n = 1; reached; n++) {
        struct cv_doc *doc = NULL, *copy = new_doc(2);
        struct cv_writer w = heap_writer(), any = heap_writer(), a, b;
        char text[600];
        int err;

        memset(text, 'z', sizeof(text));
        cv_put_any_null(&any);
        arm(n);
        err = cv_doc_new(&doc, 1, NULL);
        CHECK(fine(err) && (err == CV_OK) == (doc != NULL));
        for (int i = 0; i < 40 && doc != NULL; i++) {
            size_t total = cv_doc_text_bytes(doc);

            CHECK_EQ(cv_doc_begin(doc), CV_OK);
            CHECK(fine(cv_doc_insert(doc, total / 2, text,
                                     i % 10 == 0 ? sizeof(text) : 1)));
            CHECK(fine(cv_doc_insert(doc, 0, "y", 1)));
            if (i % 5 == 4 && total > 20)
                CHECK(fine(cv_doc_delete(doc, total / 3, 7)));
            if (i % 7 == 3)
                CHECK(fine(cv_doc_map_set(
                    doc, "m", (struct cv_bytes){(const uint8_t *)text, 1},
                    cv_writer_bytes(&any))));
            cv_writer_reset(&w);
            CHECK(fine(cv_doc_commit(doc, &w)));
        }
        if (doc != NULL)
            CHECK(fine(cv_doc_compact(doc)));
        reached = disarm();
        if (doc != NULL) {
            check_store(doc);
            a = encode_all(doc);
            CHECK_EQ(cv_doc_apply(copy, cv_writer_bytes(&a), NULL, NULL, NULL),
                     CV_OK);
            b = encode_all(copy);
            CHECK(cv_bytes_equal(cv_writer_bytes(&a), cv_writer_bytes(&b)));
            cv_writer_fini(&a);
            cv_writer_fini(&b);
        }
        cv_writer_fini(&w);
        cv_writer_fini(&any);
        cv_doc_free(doc);
        cv_doc_free(copy);
    }
    CHECK(n > 30);
}

TEST(merging_and_awareness_survive_every_failed_allocation)
{
    static const uint8_t hello[] = "\x01\x05\x01\x07{\"a\":1}";
    struct cv_bytes update = {hello, sizeof(hello) - 1};
    bool reached = true;

    for (unsigned long n = 1; reached; n++) {
        struct cv_bytes parts[UPDATES];
        struct cv_writer w = heap_writer();
        struct cv_awareness *aw = NULL;

        for (unsigned i = 0; i < UPDATES; i++)
            parts[i] = cv_writer_bytes(&updates[i]);
        arm(n);
        CHECK(fine(cv_update_merge(parts, UPDATES, &w)));
        if (cv_awareness_new(&aw, 1, NULL) == CV_OK) {
            CHECK(fine(cv_awareness_set(
                aw, (struct cv_bytes){(const uint8_t *)"{}", 2}, 0)));
            cv_writer_reset(&w);
            CHECK(fine(cv_awareness_apply(aw, update, 0, NULL, NULL, &w)));
        }
        reached = disarm();
        cv_awareness_free(aw);
        cv_writer_fini(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(remote_updates_survive_every_failed_allocation),
        T(local_edits_survive_every_failed_allocation),
        T(merging_and_awareness_survive_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, make_updates, free_updates);
}
