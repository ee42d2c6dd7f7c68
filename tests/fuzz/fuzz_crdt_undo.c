/* Undo, redo and revert among three replicas, by pairs of bytes (what, where):
 * nobody's undo takes a character of somebody else, a revert leaves none of its
 * victim and all of the others, and in the end all have the same text. */
#include "crdt/authors.h"
#include "crdt/revert.h"
#include "crdt/undo.h"
#include "tests/crdt_check.h"
#include <stdlib.h>

#define EXPECT(cond)                                                           \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

#define SIDES    3
#define TEXT_MAX 600

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct side {
    struct cv_doc *doc;
    struct cv_undo *undo;
    struct cv_revert *revert;
    uint8_t mirror[8 * TEXT_MAX];
    size_t mirror_len;
} sides[SIDES];

static uint64_t client_of(unsigned side)
{
    return 1 + side;
}

static void on_change(void *user, const struct cv_text_change *c)
{
    struct side *s = user;

    EXPECT(c->at + c->deleted <= s->mirror_len);
    EXPECT(s->mirror_len - c->deleted + c->inserted_len <= sizeof(s->mirror));
    memmove(s->mirror + c->at + c->inserted_len, s->mirror + c->at + c->deleted,
            s->mirror_len - c->at - c->deleted);
    if (c->inserted_len > 0)
        memcpy(s->mirror + c->at, c->inserted, c->inserted_len);
    s->mirror_len += c->inserted_len;
    s->mirror_len -= c->deleted;
}

static struct cv_writer heap(void)
{
    struct cv_writer w;

    cv_writer_init_heap(&w, (size_t)1 << 26);
    return w;
}

static void check(const struct side *s)
{
    struct cv_writer text = heap();

    EXPECT(cv_doc_read(s->doc, 0, cv_doc_text_bytes(s->doc), &text) == CV_OK);
    EXPECT(text.len == s->mirror_len);
    EXPECT(text.len == 0 || memcmp(text.data, s->mirror, text.len) == 0);
    check_store(s->doc);
    cv_writer_fini(&text);
}

/* Bytes of each one's in the text. */
static bool add(void *user, uint64_t client, size_t bytes)
{
    size_t *n = user;

    EXPECT(bytes > 0 && client >= 1 && client <= SIDES);
    n[client - 1] += bytes;
    return true;
}

static void count(const struct side *s, size_t n[SIDES])
{
    memset(n, 0, SIDES * sizeof(n[0]));
    EXPECT(cv_doc_authors(s->doc, 0, cv_doc_text_bytes(s->doc), add, n) ==
           CV_OK);
}

static bool is_theirs(void *user, uint64_t client)
{
    return client == client_of(*(unsigned *)user);
}

/* All that `from` has, as one update of it. */
static void send(unsigned from, unsigned to)
{
    struct side *s = &sides[to];
    const struct cv_doc_observer observer = {on_change, NULL, s};
    struct cv_writer sv = heap(), u = heap();

    EXPECT(cv_doc_state_vector(s->doc, &sv) == CV_OK);
    EXPECT(cv_doc_encode(sides[from].doc, cv_writer_bytes(&sv), &u) == CV_OK);
    cv_revert_note(s->revert, from, cv_writer_bytes(&u), is_theirs, &from);
    EXPECT(cv_doc_apply(s->doc, cv_writer_bytes(&u), &observer, NULL, NULL) ==
           CV_OK);
    cv_writer_fini(&sv);
    cv_writer_fini(&u);
}

/* A border of characters at or before `at`. */
static size_t border(const struct side *s, size_t at)
{
    while (at > 0 && at < s->mirror_len && (s->mirror[at] & 0xC0) == 0x80)
        at--;
    return at;
}

static void edit(unsigned side, unsigned what, unsigned where)
{
    static const char *const words[] = {"a", "\xc3\xa9", "\xf0\x9f\x98\x80!",
                                        "line\n", "a longer text "};
    struct side *s = &sides[side];
    size_t at = border(s, where * s->mirror_len / 255);
    const char *word = words[what % 5];

    cv_undo_group(s->undo, what / 5);
    if (what < 25 && s->mirror_len + strlen(word) < TEXT_MAX) {
        EXPECT(cv_undo_insert(s->undo, at, word, strlen(word)) == CV_OK);
        on_change(s, &(struct cv_text_change){at, 0, (const uint8_t *)word,
                                              strlen(word)});
    } else {
        size_t end =
            border(s, at + what > s->mirror_len ? s->mirror_len : at + what);

        EXPECT(cv_undo_delete(s->undo, at, end - at) == CV_OK);
        if (end > at)
            on_change(s, &(struct cv_text_change){at, end - at, NULL, 0});
    }
}

static void step(unsigned side, enum cv_undo_way way)
{
    struct side *s = &sides[side];
    size_t before[SIDES], after[SIDES];
    struct cv_undone out;
    int err;

    count(s, before);
    err = cv_undo_step(s->undo, way, on_change, s, &out);
    EXPECT(err == CV_OK || err == CV_ERR_NOTFOUND || err == CV_ERR_LIMIT);
    count(s, after);
    for (unsigned i = 0; i < SIDES; i++)
        EXPECT(i == side || after[i] == before[i]);
}

static void revert(unsigned side, unsigned who)
{
    struct side *s = &sides[side];
    struct cv_change change = {0};
    struct cv_taken would, taken;
    size_t before[SIDES], after[SIDES];
    uint64_t client = client_of(who);
    int err;

    count(s, before);
    EXPECT(cv_revert_change(s->revert, who, &client, 1, &change) == CV_OK);
    EXPECT(cv_change_measure(s->doc, &change, &would) == CV_OK);
    err = cv_undo_revert(s->undo, &change, 999, on_change, s, &taken);
    EXPECT(err == CV_OK || (err == CV_ERR_LIMIT && !taken.changed));
    cv_change_fini(&change);
    if (err != CV_OK)
        return;
    cv_revert_forget(s->revert, who);
    count(s, after);
    EXPECT(taken.removed_bytes == before[who]);
    EXPECT(would.removed_bytes == taken.removed_bytes);
    for (unsigned i = 0; i < SIDES; i++) {
        size_t want = i == who ? 0 : before[i];

        if (i == side)
            want += taken.restored_bytes;
        EXPECT(after[i] == want);
    }
}

static void act(uint8_t what, uint8_t where)
{
    unsigned side = what % SIDES, other = (side + 1 + where % 2) % SIDES;
    struct side *s = &sides[side];

    what /= SIDES;
    if (what >= 70) {
        send(side, other);
        check(&sides[other]);
        return;
    }
    EXPECT(cv_doc_begin(s->doc) == CV_OK);
    if (what < 45)
        edit(side, what, where);
    else if (what < 55)
        step(side, CV_UNDO_BACK);
    else if (what < 62)
        step(side, CV_UNDO_AGAIN);
    else
        revert(side, other);
    EXPECT(cv_doc_commit(s->doc, NULL) == CV_OK);
    check(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (unsigned i = 0; i < SIDES; i++) {
        struct side *s = &sides[i];

        memset(s, 0, sizeof(*s));
        EXPECT(cv_doc_new(&s->doc, client_of(i), NULL) == CV_OK);
        EXPECT(cv_undo_new(&s->undo, s->doc, 4096) == CV_OK);
        EXPECT(cv_revert_new(&s->revert, s->doc, 2048) == CV_OK);
        cv_undo_limit_text(s->undo, 4 * TEXT_MAX);
    }
    for (; size >= 2 && size < 2000; data += 2, size -= 2)
        act(data[0], data[1]);
    for (unsigned i = 0; i < 2 * SIDES; i++) {
        if (cv_doc_text_bytes(sides[i % SIDES].doc) +
                cv_doc_text_bytes(sides[(i + 1) % SIDES].doc) >
            4 * TEXT_MAX)
            break;
        send(i % SIDES, (i + 1) % SIDES);
        if (i + 1 == 2 * SIDES) {
            check(&sides[0]);
            for (unsigned k = 1; k < SIDES; k++)
                EXPECT(sides[k].mirror_len == sides[0].mirror_len &&
                       memcmp(sides[k].mirror, sides[0].mirror,
                              sides[0].mirror_len) == 0);
        }
    }
    for (unsigned i = 0; i < SIDES; i++) {
        cv_revert_free(sides[i].revert);
        cv_undo_free(sides[i].undo);
        cv_doc_free(sides[i].doc);
    }
    return 0;
}
