/* Any bytes as updates: one after the other into one document, by pieces of
 * (u16 length, update).  Refused or not, the document stays sound; what it
 * writes is an update that gives the same document.  Another one takes each in
 * the long way (crdt/quick.h), because it waits for somebody who does not come,
 * and is the same. */
#include "crdt/doc.h"
#include "crdt/store.h"
#include "crdt/update.h"
#include "tests/crdt_check.h"
#include <stdlib.h>

#define EXPECT(cond)                                                           \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

static uint8_t mirror[1 << 20];
static size_t mirror_len;

static void on_change(void *user, const struct cv_text_change *c)
{
    (void)user;
    EXPECT(c->at + c->deleted <= mirror_len);
    EXPECT(mirror_len + c->inserted_len <= sizeof(mirror));
    memmove(mirror + c->at + c->inserted_len, mirror + c->at + c->deleted,
            mirror_len - c->at - c->deleted);
    if (c->inserted_len > 0)
        memcpy(mirror + c->at, c->inserted, c->inserted_len);
    mirror_len += c->inserted_len;
    mirror_len -= c->deleted;
}

static void on_key(void *user, struct cv_bytes root, struct cv_bytes key)
{
    EXPECT(root.data != NULL && key.data != NULL);
    (void)user;
}

static struct cv_writer heap(void)
{
    struct cv_writer w;

    cv_writer_init_heap(&w, (size_t)1 << 28);
    return w;
}

static struct cv_writer state(const struct cv_doc *doc)
{
    struct cv_writer w = heap();

    EXPECT(cv_doc_encode(doc, (struct cv_bytes){NULL, 0}, &w) == CV_OK);
    return w;
}

static bool same(const struct cv_writer *a, const struct cv_writer *b)
{
    return a->len == b->len &&
           (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void check(const struct cv_doc *doc)
{
    struct cv_writer text = heap();

    check_store(doc);
    EXPECT(cv_doc_read(doc, 0, cv_doc_text_bytes(doc), &text) == CV_OK);
    EXPECT(text.len == mirror_len);
    EXPECT(text.len == 0 || memcmp(text.data, mirror, mirror_len) == 0);
    cv_writer_fini(&text);
}

/* The state is a valid update that brings another document to the same clocks
 * and, loaded again, to the same bytes. */
static void check_state(const struct cv_doc *doc)
{
    struct cv_writer a = state(doc), b, va = heap(), vb = heap(), c;
    struct cv_doc *copy, *again;

    EXPECT(cv_update_validate(cv_writer_bytes(&a)) == CV_OK);
    EXPECT(cv_doc_new(&copy, 7, NULL) == CV_OK);
    EXPECT(cv_doc_apply(copy, cv_writer_bytes(&a), NULL, NULL, NULL) == CV_OK);
    EXPECT(cv_doc_state_vector(doc, &va) == CV_OK);
    EXPECT(cv_doc_state_vector(copy, &vb) == CV_OK);
    EXPECT(same(&va, &vb));
    b = state(copy);
    EXPECT(cv_doc_new(&again, 7, NULL) == CV_OK);
    EXPECT(cv_doc_apply(again, cv_writer_bytes(&b), NULL, NULL, NULL) == CV_OK);
    c = state(again);
    EXPECT(same(&b, &c));
    cv_doc_free(copy);
    cv_doc_free(again);
    cv_writer_fini(&a);
    cv_writer_fini(&b);
    cv_writer_fini(&c);
    cv_writer_fini(&va);
    cv_writer_fini(&vb);
}

static struct cv_writer text_of(const struct cv_doc *doc)
{
    struct cv_writer w = heap();

    EXPECT(cv_doc_read(doc, 0, cv_doc_text_bytes(doc), &w) == CV_OK);
    return w;
}

/* A state that is loaded into an empty document, all at once, gives the same
 * text as one that comes to a document with something in another root. */
static void check_load(const struct cv_doc *doc)
{
    struct cv_writer all = state(doc), a, b;
    struct cv_doc *empty, *used;

    EXPECT(cv_doc_new(&empty, 7, NULL) == CV_OK);
    EXPECT(cv_doc_apply(empty, cv_writer_bytes(&all), NULL, NULL, NULL) ==
           CV_OK);
    EXPECT(cv_doc_new(&used, CV_VARUINT_MAX, NULL) == CV_OK);
    EXPECT(cv_doc_use_text(used, "elsewhere") == CV_OK);
    EXPECT(cv_doc_begin(used) == CV_OK);
    EXPECT(cv_doc_insert(used, 0, "x", 1) == CV_OK);
    EXPECT(cv_doc_commit(used, NULL) == CV_OK);
    EXPECT(cv_doc_use_text(used, CV_DOC_TEXT) == CV_OK);
    EXPECT(cv_doc_apply(used, cv_writer_bytes(&all), NULL, NULL, NULL) ==
           CV_OK);
    a = text_of(empty);
    b = text_of(used);
    EXPECT(cv_doc_clock(doc, CV_VARUINT_MAX) > 0 || same(&a, &b));
    check_store(empty);
    cv_doc_free(empty);
    cv_doc_free(used);
    cv_writer_fini(&all);
    cv_writer_fini(&a);
    cv_writer_fini(&b);
}

static struct cv_doc *new_slow(struct cv_doc_limits limits)
{
    struct cv_doc *doc;

    limits.waiting++;
    EXPECT(cv_doc_new(&doc, 1, &limits) == CV_OK);
    EXPECT(make_wait(doc, CV_VARUINT_MAX - 1) == CV_OK);
    EXPECT(cv_doc_waiting(doc));
    return doc;
}

static void check_slow(const struct cv_doc *doc, const struct cv_doc *slow)
{
    struct cv_writer a, b;

    if (cv_doc_clock(slow, CV_VARUINT_MAX - 1) > 0)
        return;
    a = state(doc);
    b = state(slow);
    EXPECT(same(&a, &b));
    cv_writer_fini(&a);
    cv_writer_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct cv_doc_observer observer = {on_change, on_key, NULL};
    struct cv_doc_limits limits = cv_doc_limits_default;
    struct cv_doc *doc, *follower, *slow;

    limits.waiting = 64;
    limits.lists = 64;
    limits.scan = 64;
    mirror_len = 0;
    EXPECT(cv_doc_new(&doc, 1, &limits) == CV_OK);
    EXPECT(cv_doc_new(&follower, 2, NULL) == CV_OK);
    slow = new_slow(limits);
    while (size >= 2) {
        size_t len = (size_t)data[0] << 8 | data[1];
        struct cv_writer before = state(doc), after, news = heap();
        struct cv_doc_applied applied;
        int err;

        data += 2;
        size -= 2;
        if (len > size)
            len = size;
        err = cv_doc_apply(doc, (struct cv_bytes){data, len}, &observer, &news,
                           &applied);
        EXPECT(err == CV_OK || err == CV_ERR_FORMAT || err == CV_ERR_LIMIT);
        if (err != CV_ERR_LIMIT)
            EXPECT(cv_update_validate((struct cv_bytes){data, len}) == err);
        EXPECT(cv_doc_apply(slow, (struct cv_bytes){data, len}, NULL, NULL,
                            NULL) == err);
        check(doc);
        check_slow(doc, slow);
        after = state(doc);
        if (err != CV_OK || !applied.news)
            EXPECT(same(&before, &after) && news.len == 0);
        if (news.len > 0) {
            EXPECT(cv_doc_apply(follower, cv_writer_bytes(&news), NULL, NULL,
                                NULL) == CV_OK);
            EXPECT(!cv_doc_waiting(follower));
        }
        cv_writer_fini(&before);
        cv_writer_fini(&after);
        cv_writer_fini(&news);
        data += len;
        size -= len;
    }
    check_state(doc);
    check_load(doc);
    EXPECT(cv_doc_compact(doc) == CV_OK);
    check(doc);
    /* It can still be edited. */
    EXPECT(cv_doc_begin(doc) == CV_OK);
    EXPECT(cv_doc_delete(doc, 0, cv_doc_text_bytes(doc)) == CV_OK);
    (void)!cv_doc_insert(doc, 0, "x\n", 2);
    EXPECT(cv_doc_commit(doc, NULL) == CV_OK);
    cv_doc_free(doc);
    cv_doc_free(follower);
    cv_doc_free(slow);
    return 0;
}
