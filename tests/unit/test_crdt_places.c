/* The places of local edits (crdt/hot.h): one who edits in several places of a
 * text, with nothing from others, which would have them forgotten. */
#include "crdt/hot.h"
#include "tests/unit/crdt_util.h"
#include <stdlib.h>

#define PLACES 3
#define MOST   65536

/* A document, the same text beside it, a peer, and where edits go on. */
struct scene {
    struct cv_doc *doc, *peer;
    struct mirror text;
    size_t place[PLACES];
    uint64_t seed;
};

static void setup(struct scene *s, uint64_t seed)
{
    *s = (struct scene){.doc = new_doc(1), .peer = new_doc(2), .seed = seed};
}

static void teardown(struct scene *s)
{
    cv_doc_free(s->doc);
    cv_doc_free(s->peer);
    free(s->text.text);
}

static void compare(struct scene *s)
{
    REQUIRE(mirror_equals(&s->text, s->doc));
    REQUIRE(mirror_equals(&s->text, s->peer));
    check_store(s->doc);
}

/* One transaction; the other places stay where they are in the text. */
static void edit(struct scene *s, size_t at, size_t deleted, const char *text)
{
    struct cv_writer update = heap_writer();
    size_t len = strlen(text);
    struct cv_text_change c = {.at = at,
                               .deleted = deleted,
                               .inserted = (const uint8_t *)text,
                               .inserted_len = len};

    REQUIRE(cv_doc_begin(s->doc) == CV_OK);
    if (deleted > 0)
        REQUIRE(cv_doc_delete(s->doc, at, deleted) == CV_OK);
    if (len > 0)
        REQUIRE(cv_doc_insert(s->doc, at, text, len) == CV_OK);
    REQUIRE(cv_doc_commit(s->doc, &update) == CV_OK);
    if (deleted + len > 0) {
        mirror_change(&s->text, &c);
        REQUIRE(cv_doc_apply(s->peer, cv_writer_bytes(&update), NULL, NULL,
                             NULL) == CV_OK);
    }
    cv_writer_fini(&update);
    for (unsigned i = 0; i < PLACES; i++) {
        if (s->place[i] >= at + deleted)
            s->place[i] += len - deleted;
        else if (s->place[i] > at)
            s->place[i] = at;
    }
}

/* Letters that are no run with one another, so that each is an item. */
static void scatter(struct scene *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        edit(s, i % 2 ? i / 2 : i, 0, "o");
}

/* Behind some of the first letters, what counts but is no text. */
static void embed(struct scene *s, unsigned letters)
{
    enum { CLIENT = 3, EACH = 5 };
    struct cv_writer w = heap_writer();

    cv_put_varuint(&w, 1);
    cv_put_varuint(&w, letters / EACH);
    cv_put_varuint(&w, CLIENT);
    cv_put_varuint(&w, 0);
    for (unsigned i = 0; i < letters / EACH; i++)
        put_struct(&w, CV_KIND_EMBED, &(struct cv_id){1, i * EACH}, NULL, "",
                   "\x02{}", 1);
    cv_put_varuint(&w, 0); /* deletes */
    REQUIRE(cv_doc_apply(s->doc, cv_writer_bytes(&w), NULL, NULL, NULL) ==
            CV_OK);
    REQUIRE(cv_doc_apply(s->peer, cv_writer_bytes(&w), NULL, NULL, NULL) ==
            CV_OK);
    cv_writer_fini(&w);
    compare(s);
}

/* Delete what is behind a place, up to so much. */
static void cut(struct scene *s, size_t at, size_t most, const char *text)
{
    size_t there = s->text.len - at;

    edit(s, at, there < most ? there : most, text);
}

/* One key at a place. */
static void press(struct scene *s, size_t at)
{
    static const char *const texts[] = {"a", "\n", "word", "a longer piece\n"};
    uint32_t key = below(&s->seed, 48);

    if (key == 0 || s->text.len > MOST)
        cut(s, at, 20 * below(&s->seed, 40), ""); /* perhaps over others */
    else if (key < 8)
        cut(s, at, 1 + below(&s->seed, 5), key < 4 ? "new" : "");
    else if (key < 20 && at > 0)
        edit(s, at - 1, 1, "");
    else
        edit(s, at, 0, texts[key < 40 ? 0 : below(&s->seed, 4)]);
}

static void run(uint64_t seed)
{
    enum { ROUNDS = 600, KEYS = 4, LETTERS = 300 };
    struct scene s;
    size_t *place;

    setup(&s, seed);
    scatter(&s, LETTERS);
    if (seed % 2)
        embed(&s, LETTERS);
    for (unsigned round = 0; round < ROUNDS; round++) {
        /* Mostly two of them in turn. */
        place = &s.place[below(&s.seed, 8) ? round % 2 : PLACES - 1];
        if (below(&s.seed, 16) == 0)
            *place = below(&s.seed, s.text.len + 1);
        for (unsigned n = 1 + below(&s.seed, KEYS); n > 0; n--)
            press(&s, *place);
        /* Not each time: looking ends what is typed. */
        if (below(&s.seed, 4) == 0)
            compare(&s);
    }
    compare(&s);
    teardown(&s);
}

TEST(edits_in_several_places_come_out_right)
{
    (void)test_state_;
    for (uint64_t seed = 1; seed <= 60; seed++)
        run(seed);
}

TEST(the_place_before_is_found_again)
{
    enum { FAR = 3000 };
    struct cv_writer all;
    struct scene s;
    uint32_t leaf[2];

    (void)test_state_;
    setup(&s, 1);
    scatter(&s, FAR);
    s.place[0] = FAR / 4;
    s.place[1] = FAR / 4 * 3;
    for (unsigned i = 0; i < 20; i++) {
        edit(&s, s.place[i % 2], 0, "x");
        leaf[i % 2] = s.doc->hot.leaf;
        REQUIRE(i == 0 || s.doc->hot.former.leaf == leaf[(i + 1) % 2]);
        compare(&s);
    }
    /* Not when somebody else may have changed the text. */
    all = encode_all(s.peer);
    REQUIRE(cv_doc_apply(s.doc, cv_writer_bytes(&all), NULL, NULL, NULL) ==
            CV_OK);
    REQUIRE(s.doc->hot.leaf == CV_NONE && s.doc->hot.former.leaf == CV_NONE);
    cv_writer_fini(&all);
    teardown(&s);
}

RUN_TESTS(T(edits_in_several_places_come_out_right),
          T(the_place_before_is_found_again))
