/* Who wrote what, and taking back everything of one: random histories against
 * what the characters themselves tell.
 *
 * Every character that is typed is another one, so a text tells who typed it.
 * AUTHORS_SEED=n repeats one history, AUTHORS_RUNS=n does more of them. */
#include "crdt/authors.h"
#include "crdt/revert.h"
#include "crdt/undo.h"
#include "crdt/update.h"
#include "tests/unit/crdt_util.h"

#define SIDES 4
#define CHARS 3000 /* of one history */
#define MIB   ((size_t)1 << 20)

/* ---- characters that tell who typed them ---- */

static struct {
    unsigned n;
    unsigned author[CHARS];
} typed;

/* Every fifth takes four bytes and two units. */
static uint32_t codepoint(unsigned i)
{
    return i % 5 == 4 ? 0x20000u + i : 0x4E00u + i;
}

static size_t put_char(uint8_t *out, uint32_t c)
{
    if (c >= 0x10000) {
        out[0] = (uint8_t)(0xF0 | c >> 18);
        out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
        out[2] = (uint8_t)(0x80 | (c >> 6 & 63));
        out[3] = (uint8_t)(0x80 | (c & 63));
        return 4;
    }
    out[0] = (uint8_t)(0xE0 | c >> 12);
    out[1] = (uint8_t)(0x80 | (c >> 6 & 63));
    out[2] = (uint8_t)(0x80 | (c & 63));
    return 3;
}

static size_t char_len(const uint8_t *at)
{
    return *at >= 0xF0 ? 4 : 3;
}

static unsigned char_index(const uint8_t *p)
{
    return *p >= 0xF0
               ? ((p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 |
                  (p[3] & 63u)) -
                     0x20000u
               : ((p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u)) -
                     0x4E00u;
}

/* The characters of a text, as indexes into `typed`. */
struct chars {
    unsigned n;
    unsigned at[CHARS];
    size_t offset[CHARS + 1];
};

static void read_chars(const struct cv_doc *doc, struct chars *out)
{
    struct cv_writer w = read_all(doc);
    size_t at = 0;

    out->n = 0;
    while (at < w.len) {
        out->offset[out->n] = at;
        out->at[out->n++] = char_index(w.data + at);
        at += char_len(w.data + at);
    }
    out->offset[out->n] = at;
    cv_writer_fini(&w);
}

static bool has(const struct chars *c, unsigned index)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->at[i] == index)
            return true;
    return false;
}

/* ---- a history ---- */

/* Side 0 is the one that looks on, and takes back. */
struct side {
    struct cv_doc *doc;
    struct cv_undo *undo;
    struct mirror mirror;
};

struct world {
    uint64_t random;
    struct side side[SIDES];
    struct cv_revert *revert;
    bool deleted_by[SIDES][CHARS]; /* text of others, as side 0 saw it */
};

static uint64_t client_of(unsigned side)
{
    return 100 + side * 7;
}

static bool is_theirs(void *user, uint64_t client)
{
    return client == client_of(*(unsigned *)user);
}

static void world_init(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->random = seed;
    typed.n = 0;
    for (unsigned i = 0; i < SIDES; i++) {
        w->side[i].doc = new_doc(client_of(i));
        REQUIRE(cv_undo_new(&w->side[i].undo, w->side[i].doc, MIB) == CV_OK);
    }
    REQUIRE(cv_revert_new(&w->revert, w->side[0].doc, MIB) == CV_OK);
}

static void world_fini(struct world *w)
{
    cv_revert_free(w->revert);
    for (unsigned i = 0; i < SIDES; i++) {
        cv_undo_free(w->side[i].undo);
        cv_doc_free(w->side[i].doc);
        free(w->side[i].mirror.text);
    }
}

static void deliver(struct world *w, unsigned from, unsigned to,
                    struct cv_bytes update)
{
    struct side *s = &w->side[to];
    const struct cv_doc_observer observer = {mirror_change, NULL, &s->mirror};
    static struct chars before, after;

    if (to == 0) {
        read_chars(s->doc, &before);
        cv_revert_note(w->revert, from, update, is_theirs, &from);
    }
    REQUIRE(cv_doc_apply(s->doc, update, &observer, NULL, NULL) == CV_OK);
    if (to != 0)
        return;
    read_chars(s->doc, &after);
    for (unsigned i = 0; i < before.n; i++)
        if (!has(&after, before.at[i]) && typed.author[before.at[i]] != from)
            w->deleted_by[from][before.at[i]] = true;
}

/* All that `from` has and `to` has not, as one update of `from`. */
static void catch_up(struct world *w, unsigned from, unsigned to)
{
    struct cv_writer sv = heap_writer(), u = heap_writer();

    REQUIRE(cv_doc_state_vector(w->side[to].doc, &sv) == CV_OK);
    REQUIRE(cv_doc_encode(w->side[from].doc, cv_writer_bytes(&sv), &u) ==
            CV_OK);
    deliver(w, from, to, cv_writer_bytes(&u));
    cv_writer_fini(&sv);
    cv_writer_fini(&u);
}

static void edit(struct world *w, unsigned side, struct cv_writer *update)
{
    struct side *s = &w->side[side];
    static struct chars c;
    uint8_t text[64];
    size_t len = 0, at, end;
    unsigned i, n;

    read_chars(s->doc, &c);
    i = below(&w->random, c.n + 1);
    at = c.offset[i];
    REQUIRE(cv_doc_begin(s->doc) == CV_OK);
    if (c.n == 0 || below(&w->random, 5) < 3) {
        n = 1 + below(&w->random, 6);
        for (unsigned k = 0; k < n && typed.n < CHARS; k++) {
            typed.author[typed.n] = side;
            len += put_char(text + len, codepoint(typed.n++));
        }
        REQUIRE(cv_undo_insert(s->undo, at, text, len) == CV_OK);
        if (len > 0)
            mirror_change(&s->mirror,
                          &(struct cv_text_change){at, 0, text, len});
    } else {
        n = 1 + below(&w->random, 8);
        end = c.offset[i + n < c.n ? i + n : c.n];
        REQUIRE(cv_undo_delete(s->undo, at, end - at) == CV_OK);
        if (end > at)
            mirror_change(&s->mirror,
                          &(struct cv_text_change){at, end - at, NULL, 0});
    }
    REQUIRE(cv_doc_commit(s->doc, update) == CV_OK);
}

/* Edits of everybody; side 0 sees each of them as it is made or, when `late`,
 * some while after. */
static void play(struct world *w, unsigned steps)
{
    while (steps-- > 0 && typed.n + 8 < CHARS) {
        unsigned side = below(&w->random, SIDES);
        struct cv_writer update = heap_writer();

        edit(w, side, &update);
        for (unsigned to = 0; to < SIDES && update.len; to++)
            if (to != side && (to == 0 || below(&w->random, 3)))
                deliver(w, side, to, cv_writer_bytes(&update));
        cv_writer_fini(&update);
        if (below(&w->random, 8) == 0)
            catch_up(w, 0, 1 + below(&w->random, SIDES - 1));
    }
}

static uint64_t runs(void)
{
    const char *text = getenv("AUTHORS_RUNS");

    return text ? strtoull(text, NULL, 10) : 60;
}

static uint64_t first_seed(void)
{
    const char *text = getenv("AUTHORS_SEED");

    return text ? strtoull(text, NULL, 10) : 1;
}

/* ---- the authors of a range ---- */

struct seen {
    size_t at, stop;
    uint64_t last;
    unsigned calls;
    const struct chars *c;
    unsigned i; /* character at `at` */
};

static bool see(void *user, uint64_t client, size_t bytes)
{
    struct seen *s = user;
    size_t end = s->at + bytes;

    REQUIRE(bytes > 0 && client != s->last);
    s->last = client;
    s->calls++;
    while (s->c->offset[s->i] < end) {
        REQUIRE(client == client_of(typed.author[s->c->at[s->i]]));
        s->i++;
    }
    REQUIRE(s->c->offset[s->i] == end);
    s->at = end;
    return s->calls != s->stop;
}

TEST(the_authors_of_a_range_are_those_who_typed_it)
{
    static struct world w;
    static struct chars c;

    for (uint64_t seed = first_seed(), n = 0; n < runs(); seed++, n++) {
        world_init(&w, seed);
        for (int k = 0; k < 12; k++) {
            play(&w, 15);
            read_chars(w.side[0].doc, &c);
            for (int i = 0; i < 10; i++) {
                unsigned a = below(&w.random, c.n + 1),
                         b = a + below(&w.random, c.n - a + 1);
                struct seen s = {.at = c.offset[a], .c = &c, .i = a};

                s.stop = i % 3 == 0 ? 1 + below(&w.random, 3) : 0;
                REQUIRE(cv_doc_authors(w.side[0].doc, c.offset[a],
                                       c.offset[b] - c.offset[a], see,
                                       &s) == CV_OK);
                CHECK(s.at == c.offset[b] || s.calls == s.stop);
            }
        }
        world_fini(&w);
        if (getenv("AUTHORS_SEED"))
            break;
    }
}

TEST(what_is_no_range_of_the_text_has_no_authors)
{
    struct cv_doc *doc = new_doc(1);
    struct seen s = {0};

    insert_at(doc, 0, "a\xc3\xa9z", NULL);
    CHECK_EQ(cv_doc_authors(doc, 0, 5, see, &s), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_authors(doc, 5, 0, see, &s), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_authors(doc, 2, 1, see, &s), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_authors(doc, 0, 2, see, &s), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_authors(doc, 1, SIZE_MAX, see, &s), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_authors(doc, 4, 0, see, &s), CV_OK);
    CHECK_EQ(s.calls, 0);
    cv_doc_free(doc);
}

/* ---- everything of one, taken back ---- */

/* Are the characters of `some`, less those of `author`, in `all`, in order? */
static void require_in_order(const struct chars *some, unsigned author,
                             const struct chars *all)
{
    unsigned k = 0;

    for (unsigned i = 0; i < some->n; i++) {
        if (typed.author[some->at[i]] == author)
            continue;
        while (k < all->n && all->at[k] != some->at[i])
            k++;
        REQUIRE(k++ < all->n);
    }
}

static void require_same_chars(const struct chars *a, const struct chars *b)
{
    REQUIRE(a->n == b->n && memcmp(a->at, b->at, a->n * sizeof(a->at[0])) == 0);
}

static int take_back(struct world *w, unsigned who, struct cv_taken *out)
{
    struct side *s = &w->side[0];
    struct cv_change change = {0};
    struct cv_taken measured;
    uint64_t client = client_of(who);
    int err;

    REQUIRE(cv_revert_change(w->revert, who, &client, 1, &change) == CV_OK);
    REQUIRE(cv_change_measure(s->doc, &change, &measured) == CV_OK);
    REQUIRE(cv_doc_begin(s->doc) == CV_OK);
    err = cv_undo_revert(s->undo, &change, 1u << 30, mirror_change, &s->mirror,
                         out);
    REQUIRE(cv_doc_commit(s->doc, NULL) == CV_OK);
    cv_change_fini(&change);
    REQUIRE(mirror_equals(&s->mirror, s->doc));
    check_store(s->doc);
    if (err == CV_OK) {
        REQUIRE(measured.removed == out->removed);
        REQUIRE(measured.removed_bytes == out->removed_bytes);
        REQUIRE(measured.restored_bytes == out->restored_bytes);
        cv_revert_forget(w->revert, who);
    }
    return err;
}

static int step(struct side *s, enum cv_undo_way way)
{
    struct cv_undone undone;
    int err;

    REQUIRE(cv_doc_begin(s->doc) == CV_OK);
    err = cv_undo_step(s->undo, way, mirror_change, &s->mirror, &undone);
    REQUIRE(cv_doc_commit(s->doc, NULL) == CV_OK);
    REQUIRE(mirror_equals(&s->mirror, s->doc));
    return err;
}

static void check_taken_back(struct world *w, unsigned who,
                             const struct chars *before,
                             const struct chars *after)
{
    for (unsigned i = 0; i < after->n; i++)
        REQUIRE(typed.author[after->at[i]] != who);
    require_in_order(before, who, after);
    for (unsigned i = 0; i < typed.n; i++) {
        bool want =
            typed.author[i] != who && (has(before, i) || w->deleted_by[who][i]);

        REQUIRE(has(after, i) == want);
    }
}

TEST(after_a_revert_nothing_of_one_is_left_and_all_of_the_others)
{
    static struct world w;
    static struct chars before, after, again;

    for (uint64_t seed = first_seed(), n = 0; n < runs(); seed++, n++) {
        unsigned who = 1 + (unsigned)(seed % (SIDES - 1));
        struct cv_taken taken;

        world_init(&w, seed);
        play(&w, 40 + (unsigned)(seed % 7) * 30);
        read_chars(w.side[0].doc, &before);
        CHECK_EQ(take_back(&w, who, &taken), CV_OK);
        read_chars(w.side[0].doc, &after);
        check_taken_back(&w, who, &before, &after);

        /* It is one step of ours, both ways. */
        if (taken.changed) {
            REQUIRE(step(&w.side[0], CV_UNDO_BACK) == CV_OK);
            read_chars(w.side[0].doc, &again);
            require_same_chars(&before, &again);
            REQUIRE(step(&w.side[0], CV_UNDO_AGAIN) == CV_OK);
            read_chars(w.side[0].doc, &again);
            require_same_chars(&after, &again);
        }
        /* Everybody gets the same of it. */
        for (unsigned i = 1; i < SIDES; i++)
            catch_up(&w, i, 0);
        for (unsigned i = 1; i < SIDES; i++)
            catch_up(&w, 0, i);
        read_chars(w.side[0].doc, &after);
        for (unsigned i = 1; i < SIDES; i++) {
            read_chars(w.side[i].doc, &again);
            require_same_chars(&after, &again);
        }
        world_fini(&w);
        if (getenv("AUTHORS_SEED"))
            break;
    }
}

TEST(own_steps_around_a_revert_can_still_be_taken_back)
{
    static struct world w;
    static struct chars c;
    struct cv_taken taken;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        world_init(&w, seed);
        play(&w, 60);
        REQUIRE(take_back(&w, 1, &taken) == CV_OK);
        while (step(&w.side[0], CV_UNDO_BACK) == CV_OK)
            continue;
        read_chars(w.side[0].doc, &c);
        for (unsigned i = 0; i < c.n; i++)
            CHECK(typed.author[c.at[i]] != 0);
        world_fini(&w);
    }
}

static void type(struct world *w, unsigned side, size_t at, const char *text)
{
    struct cv_writer update = heap_writer();

    REQUIRE(cv_doc_begin(w->side[side].doc) == CV_OK);
    REQUIRE(cv_undo_insert(w->side[side].undo, at, text, strlen(text)) ==
            CV_OK);
    REQUIRE(cv_doc_commit(w->side[side].doc, &update) == CV_OK);
    for (unsigned i = 0; i < SIDES; i++)
        if (i != side)
            REQUIRE(cv_doc_apply(w->side[i].doc, cv_writer_bytes(&update), NULL,
                                 NULL, NULL) == CV_OK);
    cv_writer_fini(&update);
}

static void erase(struct world *w, unsigned side, size_t at, size_t len)
{
    struct cv_writer update = heap_writer();

    delete_at(w->side[side].doc, at, len, &update);
    cv_revert_note(w->revert, side, cv_writer_bytes(&update), is_theirs, &side);
    for (unsigned i = 0; i < SIDES; i++)
        if (i != side)
            REQUIRE(cv_doc_apply(w->side[i].doc, cv_writer_bytes(&update), NULL,
                                 NULL, NULL) == CV_OK);
    cv_writer_fini(&update);
}

static int revert_of(struct world *w, unsigned who, struct cv_taken *out)
{
    struct cv_change change = {0};
    uint64_t client = client_of(who);
    int err;

    REQUIRE(cv_revert_change(w->revert, who, &client, 1, &change) == CV_OK);
    REQUIRE(cv_doc_begin(w->side[0].doc) == CV_OK);
    err = cv_undo_revert(w->side[0].undo, &change, 9, NULL, NULL, out);
    REQUIRE(cv_doc_commit(w->side[0].doc, NULL) == CV_OK);
    cv_change_fini(&change);
    return err;
}

TEST(a_revert_counts_pieces_as_a_reader_sees_them)
{
    static struct world w;
    struct cv_taken taken;

    world_init(&w, 1);
    type(&w, 0, 0, "one two three");
    type(&w, 1, 3, "XY");
    type(&w, 1, 5, "Z");
    type(&w, 2, 4, "-");
    type(&w, 1, 0, "!");
    CHECK(text_is(w.side[0].doc, "!oneX-YZ two three"));
    erase(&w, 1, 9, 4);
    erase(&w, 1, 0, 1);
    CHECK(text_is(w.side[0].doc, "oneX-YZ three"));
    CHECK_EQ(revert_of(&w, 1, &taken), CV_OK);
    CHECK(text_is(w.side[0].doc, "one- two three"));
    CHECK_EQ(taken.removed, 2);
    CHECK_EQ(taken.removed_bytes, 3);
    CHECK_EQ(taken.restored, 1);
    CHECK_EQ(taken.restored_bytes, 4);
    cv_revert_forget(w.revert, 1);
    CHECK_EQ(revert_of(&w, 1, &taken), CV_OK);
    CHECK(!taken.changed);
    world_fini(&w);
}

TEST(text_that_is_still_there_does_not_come_twice)
{
    static const uint8_t deletes[] = {0, 1, 100, 1, 0, 3}; /* client 100 */
    static struct world w;
    struct cv_taken taken;
    unsigned who = 1;

    world_init(&w, 1);
    type(&w, 0, 0, "one");
    /* The update was noted, and then refused. */
    cv_revert_note(w.revert, who, CV_BYTES(deletes, sizeof(deletes)), is_theirs,
                   &who);
    CHECK(cv_revert_would_delete(w.side[0].doc,
                                 CV_BYTES(deletes, sizeof(deletes))));
    CHECK_EQ(revert_of(&w, who, &taken), CV_OK);
    CHECK(!taken.changed);
    CHECK(text_is(w.side[0].doc, "one"));
    world_fini(&w);
}

TEST(without_room_the_oldest_deletions_are_forgotten_and_that_is_said)
{
    static struct world w;
    struct cv_taken taken;
    char text[2] = "a";

    world_init(&w, 1);
    cv_revert_free(w.revert);
    REQUIRE(cv_revert_new(&w.revert, w.side[0].doc, 2000) == CV_OK);
    for (int i = 0; i < 100; i++) {
        text[0] = (char)('a' + i % 26);
        type(&w, 0, 0, text);
    }
    erase(&w, 2, 0, 1);
    CHECK(!cv_revert_forgot(w.revert, 2));
    for (int i = 0; i < 60; i++) {
        erase(&w, 1, (size_t)(i % 3), 1);
        REQUIRE(cv_revert_held(w.revert) <= 2000);
    }
    CHECK(cv_revert_forgot(w.revert, 1) && cv_revert_forgot(w.revert, 2));
    CHECK(!cv_revert_forgot(w.revert, 3));
    CHECK_EQ(revert_of(&w, 1, &taken), CV_OK);
    CHECK(taken.restored_bytes < 60);
    world_fini(&w);
}

TEST(a_text_that_would_be_too_long_is_refused_whole)
{
    static struct world w;
    struct cv_undone undone;
    struct cv_taken taken;

    world_init(&w, 1);
    cv_undo_limit_text(w.side[0].undo, 12);
    type(&w, 0, 0, "0123456789");
    erase(&w, 1, 2, 6);
    type(&w, 2, 0, "abcdef");
    CHECK_EQ(revert_of(&w, 1, &taken), CV_ERR_LIMIT);
    CHECK(text_is(w.side[0].doc, "abcdef0189"));
    /* So is an undo, and it waits for its turn. */
    cv_undo_group(w.side[0].undo, 2);
    REQUIRE(cv_doc_begin(w.side[0].doc) == CV_OK);
    REQUIRE(cv_undo_delete(w.side[0].undo, 6, 4) == CV_OK);
    REQUIRE(cv_doc_commit(w.side[0].doc, NULL) == CV_OK);
    type(&w, 2, 0, "ghijkl");
    REQUIRE(cv_doc_begin(w.side[0].doc) == CV_OK);
    CHECK_EQ(cv_undo_step(w.side[0].undo, CV_UNDO_BACK, NULL, NULL, &undone),
             CV_ERR_LIMIT);
    CHECK(text_is(w.side[0].doc, "ghijklabcdef"));
    cv_undo_limit_text(w.side[0].undo, 16);
    CHECK_EQ(cv_undo_step(w.side[0].undo, CV_UNDO_BACK, NULL, NULL, &undone),
             CV_OK);
    CHECK(text_is(w.side[0].doc, "ghijklabcdef0189"));
    REQUIRE(cv_doc_commit(w.side[0].doc, NULL) == CV_OK);
    world_fini(&w);
}

/* ---- updates ---- */

static bool keep_odd(void *user, uint64_t client)
{
    (void)user;
    return client % 2 == 1;
}

struct list {
    unsigned n;
    uint64_t at[4000];
};

static void add_clients(void *user, uint64_t client, uint64_t clock,
                        uint64_t end)
{
    struct list *l = user;

    if (client % 2 == 1) {
        l->at[l->n++] = client;
        l->at[l->n++] = clock;
        l->at[l->n++] = end;
    }
}

static void require_odd(void *user, uint64_t client, uint64_t clock,
                        uint64_t end)
{
    REQUIRE(client % 2 == 1);
    add_clients(user, client, clock, end);
}

static void add_range(void *user, const struct cv_range *r)
{
    struct list *l = user;

    l->at[l->n++] = r->client;
    l->at[l->n++] = r->clock;
    l->at[l->n++] = r->len;
}

static void check_filter(struct cv_bytes update)
{
    static struct list a, b, c, d;
    struct cv_writer w = heap_writer();

    a.n = b.n = c.n = d.n = 0;
    REQUIRE(cv_update_filter(update, keep_odd, NULL, &w) == CV_OK);
    REQUIRE(cv_update_clients(update, add_clients, &a) == CV_OK);
    REQUIRE(cv_update_clients(cv_writer_bytes(&w), require_odd, &b) == CV_OK);
    REQUIRE(a.n == b.n && memcmp(a.at, b.at, a.n * sizeof(a.at[0])) == 0);
    REQUIRE(cv_update_deletes(update, add_range, &c) == CV_OK);
    REQUIRE(cv_update_deletes(cv_writer_bytes(&w), add_range, &d) == CV_OK);
    REQUIRE(c.n == d.n && memcmp(c.at, d.at, c.n * sizeof(c.at[0])) == 0);
    cv_writer_fini(&w);
}

TEST(a_filtered_update_has_what_is_kept_and_all_deletes)
{
    /* Blocks without structs are odd, and allowed. */
    static const uint8_t empty_blocks[] = {3, 0, 2, 0, 0, 3, 0, 0,
                                           4, 0, 1, 9, 1, 2, 3};
    static struct world w;

    check_filter(CV_BYTES(empty_blocks, sizeof(empty_blocks)));
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct cv_writer all;

        world_init(&w, seed);
        play(&w, 60);
        all = encode_all(w.side[0].doc);
        check_filter(cv_writer_bytes(&all));
        for (size_t n = 0; n < all.len && n < 300; n++) {
            struct cv_writer none = heap_writer();

            REQUIRE(cv_update_filter(CV_BYTES(all.data, n), keep_odd, NULL,
                                     &none) == CV_ERR_FORMAT);
            CHECK_EQ(none.len, 0);
        }
        cv_writer_fini(&all);
        world_fini(&w);
    }
}

RUN_TESTS(T(the_authors_of_a_range_are_those_who_typed_it),
          T(what_is_no_range_of_the_text_has_no_authors),
          T(after_a_revert_nothing_of_one_is_left_and_all_of_the_others),
          T(own_steps_around_a_revert_can_still_be_taken_back),
          T(a_revert_counts_pieces_as_a_reader_sees_them),
          T(text_that_is_still_there_does_not_come_twice),
          T(without_room_the_oldest_deletions_are_forgotten_and_that_is_said),
          T(a_text_that_would_be_too_long_is_refused_whole),
          T(a_filtered_update_has_what_is_kept_and_all_deletes))
