/* tests/unit/crdt_util.h - what the tests of crdt/ share. */
#ifndef CV_TESTS_CRDT_UTIL_H
#define CV_TESTS_CRDT_UTIL_H
#include "crdt/doc.h"
#include "crdt/store.h"
#include "tests/crdt_check.h"
#include "tests/test.h"

/* splitmix64 */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint32_t below(uint64_t *state, size_t n)
{
    return (uint32_t)(next_random(state) % n);
}

static inline struct cv_writer heap_writer(void)
{
    struct cv_writer w;

    cv_writer_init_heap(&w, (size_t)1 << 30);
    return w;
}

/* The tests speak of short-lived documents: nothing here runs out. */
static inline struct cv_doc *new_doc(uint64_t client)
{
    struct cv_doc *doc = NULL;

    REQUIRE(cv_doc_new(&doc, client, NULL) == CV_OK);
    return doc;
}

/* One struct of an update made by hand, in a root where it has no origin;
 * `text` is its content, `len` its units if it has none. */
static inline void put_struct(struct cv_writer *w, enum cv_kind kind,
                              const struct cv_id *origin,
                              const struct cv_id *right, const char *root,
                              const char *text, uint64_t len)
{
    struct cv_wire s = {.info = (uint8_t)kind, .kind = (uint8_t)kind};

    if (origin != NULL) {
        s.info |= CV_INFO_ORIGIN;
        s.origin = *origin;
    }
    if (right != NULL) {
        s.info |= CV_INFO_RIGHT;
        s.right = *right;
    }
    s.parent = CV_PARENT_ROOT;
    s.root = CV_BYTES(root, strlen(root));
    s.len = len;
    s.content = CV_BYTES(text, strlen(text));
    cv_wire_put(w, &s, false);
}

static inline struct cv_writer read_all(const struct cv_doc *doc)
{
    struct cv_writer w = heap_writer();

    REQUIRE(cv_doc_read(doc, 0, cv_doc_text_bytes(doc), &w) == CV_OK);
    return w;
}

static inline struct cv_writer encode_all(const struct cv_doc *doc)
{
    struct cv_writer w = heap_writer();

    REQUIRE(cv_doc_encode(doc, (struct cv_bytes){NULL, 0}, &w) == CV_OK);
    return w;
}

static inline bool text_is(const struct cv_doc *doc, const char *want)
{
    struct cv_writer w = read_all(doc);
    bool same =
        cv_bytes_equal(cv_writer_bytes(&w), CV_BYTES(want, strlen(want)));

    if (!same)
        print_error("\"%.*s\", not \"%s\"\n", (int)w.len, (char *)w.data, want);
    cv_writer_fini(&w);
    return same;
}

/* One edit, one transaction; the update goes to `out` if that is not NULL. */
static inline void insert_at(struct cv_doc *doc, size_t at, const char *text,
                             struct cv_writer *out)
{
    REQUIRE(cv_doc_begin(doc) == CV_OK);
    REQUIRE(cv_doc_insert(doc, at, text, strlen(text)) == CV_OK);
    REQUIRE(cv_doc_commit(doc, out) == CV_OK);
}

static inline void delete_at(struct cv_doc *doc, size_t at, size_t len,
                             struct cv_writer *out)
{
    REQUIRE(cv_doc_begin(doc) == CV_OK);
    REQUIRE(cv_doc_delete(doc, at, len) == CV_OK);
    REQUIRE(cv_doc_commit(doc, out) == CV_OK);
}

/* A string that is kept in step by what an observer hears. */
struct mirror {
    uint8_t *text;
    size_t len, cap;
    size_t changes;
};

static inline void mirror_change(void *user, const struct cv_text_change *c)
{
    struct mirror *m = user;
    size_t need = m->len + c->inserted_len;

    REQUIRE(c->at + c->deleted <= m->len);
    REQUIRE(c->deleted + c->inserted_len > 0);
    if (need > m->cap) {
        m->cap = need * 2;
        m->text = realloc(m->text, m->cap);
        REQUIRE(m->text != NULL);
    }
    if (m->text != NULL)
        memmove(m->text + c->at + c->inserted_len, m->text + c->at + c->deleted,
                m->len - c->at - c->deleted);
    if (c->inserted_len > 0)
        memcpy(m->text + c->at, c->inserted, c->inserted_len);
    m->len = need - c->deleted;
    m->changes++;
}

static inline bool mirror_equals(const struct mirror *m,
                                 const struct cv_doc *doc)
{
    struct cv_writer w = read_all(doc);
    bool same =
        cv_bytes_equal(cv_writer_bytes(&w), (struct cv_bytes){m->text, m->len});

    cv_writer_fini(&w);
    return same;
}
#endif
