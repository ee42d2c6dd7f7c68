/* What crdt/doc.h promises beyond the vectors: borders, limits, refusal,
 * observers, maps, positions. */
#include "crdt/any.h"
#include "crdt/codec.h"
#include "crdt/json.h"
#include "crdt/relpos.h"
#include "crdt/update.h"
#include "tests/unit/crdt_util.h"

#define EMOJI "\xF0\x9F\x98\x80"

static struct cv_bytes literal(const char *text)
{
    return (struct cv_bytes){(const uint8_t *)text, strlen(text)};
}

/* ---- hand-made updates ---- */

/* One struct: text of a client, with origin and right origin. */
static void put_text(struct cv_writer *w, uint64_t client, uint64_t clock,
                     const struct cv_id *origin, const struct cv_id *right,
                     const char *text)
{
    cv_put_varuint(w, 1);
    cv_put_varuint(w, 1);
    cv_put_varuint(w, client);
    cv_put_varuint(w, clock);
    put_struct(w, CV_KIND_STRING, origin, right, CV_DOC_TEXT, text, 0);
    cv_put_varuint(w, 0);
}

static void put_delete(struct cv_writer *w, uint64_t client, uint64_t clock,
                       uint64_t len)
{
    cv_put_varuint(w, 0);
    cv_put_varuint(w, 1);
    cv_put_varuint(w, client);
    cv_put_varuint(w, 1);
    cv_put_varuint(w, clock);
    cv_put_varuint(w, len);
}

static int apply(struct cv_doc *doc, const struct cv_writer *w)
{
    return cv_doc_apply(doc, cv_writer_bytes(w), NULL, NULL, NULL);
}

/* ---- local edits ---- */

TEST(edits_need_a_transaction_and_character_borders)
{
    struct cv_doc *doc = new_doc(1);
    struct cv_writer w = heap_writer();

    CHECK_EQ(cv_doc_insert(doc, 0, "x", 1), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_delete(doc, 0, 0), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_commit(doc, &w), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_begin(doc), CV_OK);
    CHECK_EQ(cv_doc_begin(doc), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_set_client(doc, 2), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_apply(doc, literal(""), NULL, NULL, NULL), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_insert(doc, 1, "x", 1), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_insert(doc, 0, "\xFF", 1), CV_ERR_FORMAT);
    CHECK_EQ(cv_doc_insert(doc, 0, "\xED\xA0\x80", 3), CV_ERR_FORMAT);
    CHECK_EQ(cv_doc_commit(doc, &w), CV_OK);
    CHECK_EQ(w.len, 0); /* nothing changed: nothing to send */

    CHECK_EQ(cv_doc_begin(doc), CV_OK);
    CHECK_EQ(cv_doc_insert(doc, 0, "a" EMOJI "b", 6), CV_OK);
    for (size_t at = 2; at < 5; at++) {
        CHECK_EQ(cv_doc_insert(doc, at, "x", 1), CV_ERR_INVALID);
        CHECK_EQ(cv_doc_delete(doc, at, 1), CV_ERR_INVALID);
        CHECK_EQ(cv_doc_delete(doc, 0, at), CV_ERR_INVALID);
    }
    CHECK_EQ(cv_doc_delete(doc, 0, 7), CV_ERR_INVALID);
    CHECK(text_is(doc, "a" EMOJI "b"));
    CHECK_EQ(cv_doc_delete(doc, 1, 4), CV_OK);
    CHECK_EQ(cv_doc_commit(doc, NULL), CV_OK);
    CHECK(text_is(doc, "ab"));
    CHECK_EQ(cv_doc_clock(doc, 1), 4);
    cv_writer_fini(&w);
    cv_doc_free(doc);
}

TEST(client_id_changes_only_to_an_unused_one)
{
    struct cv_doc *doc = new_doc(1);

    insert_at(doc, 0, "one", NULL);
    CHECK_EQ(cv_doc_set_client(doc, 1), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_set_client(doc, CV_VARUINT_MAX + 1), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_set_client(doc, 2), CV_OK);
    CHECK_EQ(cv_doc_client(doc), 2);
    insert_at(doc, 3, "two", NULL);
    CHECK(text_is(doc, "onetwo"));
    CHECK_EQ(cv_doc_clock(doc, 1), 3);
    CHECK_EQ(cv_doc_clock(doc, 2), 3);
    CHECK_EQ(cv_doc_clock(doc, 3), 0);
    cv_doc_free(doc);
}

TEST(structs_under_our_own_id_are_noticed)
{
    struct cv_doc *a = new_doc(5), *b = new_doc(5);
    struct cv_writer w = heap_writer();
    struct cv_doc_applied applied;

    insert_at(a, 0, "mine", &w);
    CHECK_EQ(cv_doc_apply(a, cv_writer_bytes(&w), NULL, NULL, &applied), CV_OK);
    CHECK(!applied.own_id && !applied.news);
    CHECK_EQ(cv_doc_apply(b, cv_writer_bytes(&w), NULL, NULL, &applied), CV_OK);
    CHECK(applied.own_id && applied.news);
    CHECK_EQ(cv_doc_set_client(b, 6), CV_OK);
    insert_at(b, 4, "!", NULL);
    CHECK(text_is(b, "mine!"));
    cv_writer_fini(&w);
    cv_doc_free(a);
    cv_doc_free(b);
}

TEST(long_text_keeps_one_struct_on_the_wire)
{
    enum { LEN = 300000 };
    struct cv_doc *doc = new_doc(1), *copy = new_doc(2);
    struct cv_writer w = heap_writer(), text;
    struct cv_update_reader u;
    struct cv_wire s;
    char *long_text = malloc(LEN + 1);

    CHECK(long_text != NULL);
    for (size_t i = 0; i < LEN; i++)
        long_text[i] = (char)(i % 71 == 0 ? '\n' : 'a' + i % 26);
    long_text[LEN] = 0;
    insert_at(doc, 0, long_text, &w);
    cv_update_open(&u, cv_writer_bytes(&w), 1);
    CHECK(cv_update_struct(&u, &s));
    CHECK_EQ(s.len, LEN);
    CHECK(!cv_update_struct(&u, &s));
    CHECK_EQ(apply(copy, &w), CV_OK);
    text = read_all(copy);
    CHECK(cv_bytes_equal(cv_writer_bytes(&text), literal(long_text)));
    check_store(copy);
    cv_writer_fini(&text);
    delete_at(copy, 0, LEN, NULL);
    CHECK_EQ(cv_doc_text_bytes(copy), 0);
    check_store(copy);
    cv_writer_fini(&w);
    free(long_text);
    cv_doc_free(doc);
    cv_doc_free(copy);
}

/* ---- positions ---- */

TEST(bytes_units_and_lines_agree_with_counting)
{
    static const char *const pieces[] = {
        "a", "\n", EMOJI, "\xC3\xA9", "word\n", "\n\n", "\xE2\x82\xAC"};
    struct cv_doc *doc = new_doc(1);
    uint64_t seed = 42;
    struct cv_writer text;
    size_t units = 0, lines = 0, got;

    for (int i = 0; i < 600; i++) {
        size_t total = cv_doc_text_bytes(doc), at = below(&seed, total + 1);

        while (cv_doc_bytes_to_units(doc, at, &got) != CV_OK)
            at--;
        insert_at(doc, at, pieces[below(&seed, 7)], NULL);
    }
    text = read_all(doc);
    CHECK_EQ(cv_doc_line_offset(doc, 0, &got), CV_OK);
    CHECK_EQ(got, 0);
    for (size_t at = 0; at <= text.len; at++) {
        bool border = at == text.len || (text.data[at] & 0xC0) != 0x80;

        CHECK_EQ(cv_doc_bytes_to_units(doc, at, &got),
                 border ? CV_OK : CV_ERR_INVALID);
        if (border) {
            CHECK_EQ(got, units);
            CHECK_EQ(cv_doc_units_to_bytes(doc, units, &got), CV_OK);
            CHECK_EQ(got, at);
        }
        CHECK_EQ(cv_doc_offset_line(doc, at, &got), CV_OK);
        CHECK_EQ(got, lines);
        if (at == text.len)
            break;
        if (border && text.data[at] >= 0xF0)
            CHECK_EQ(cv_doc_units_to_bytes(doc, units + 1, &got),
                     CV_ERR_INVALID);
        if (border)
            units += text.data[at] >= 0xF0 ? 2 : 1;
        if (text.data[at] == '\n') {
            lines++;
            CHECK_EQ(cv_doc_line_offset(doc, lines, &got), CV_OK);
            CHECK_EQ(got, at + 1);
        }
    }
    CHECK_EQ(cv_doc_text_units(doc), units);
    CHECK_EQ(cv_doc_text_newlines(doc), lines);
    CHECK_EQ(cv_doc_line_offset(doc, lines + 1, &got), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_offset_line(doc, text.len + 1, &got), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_units_to_bytes(doc, units + 1, &got), CV_ERR_INVALID);
    cv_writer_fini(&text);
    cv_doc_free(doc);
}

TEST(author_is_who_inserted_the_character)
{
    struct cv_doc *a = new_doc(1), *b = new_doc(2);
    struct cv_writer w = heap_writer();
    struct cv_id id;

    insert_at(a, 0, "x" EMOJI "y", &w);
    CHECK_EQ(apply(b, &w), CV_OK);
    insert_at(b, 5, "!!", NULL);
    CHECK_EQ(cv_doc_author(b, 1, &id), CV_OK);
    CHECK(id.client == 1 && id.clock == 1);
    CHECK_EQ(cv_doc_author(b, 2, &id), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_author(b, 6, &id), CV_OK);
    CHECK(id.client == 2 && id.clock == 1);
    CHECK_EQ(cv_doc_author(b, 7, &id), CV_OK);
    CHECK(id.client == 1 && id.clock == 3);
    CHECK_EQ(cv_doc_author(b, 8, &id), CV_ERR_INVALID);
    cv_writer_fini(&w);
    cv_doc_free(a);
    cv_doc_free(b);
}

TEST(relative_positions_stay_with_their_neighbour)
{
    struct cv_doc *doc = new_doc(1), *empty = new_doc(2);
    struct cv_relpos before, after, end;
    size_t at;

    insert_at(doc, 0, "a" EMOJI "bc", NULL);
    CHECK_EQ(cv_relpos_from_offset(doc, 5, -1, &before), CV_OK);
    CHECK_EQ(cv_relpos_from_offset(doc, 5, 0, &after), CV_OK);
    CHECK_EQ(cv_relpos_from_offset(doc, 7, 0, &end), CV_OK);
    CHECK(before.item.clock == 2 && after.item.clock == 3 && !end.has_item);
    CHECK_EQ(cv_relpos_from_offset(doc, 3, 0, &end), CV_ERR_INVALID);
    insert_at(doc, 5, "new", NULL);
    CHECK_EQ(cv_relpos_to_offset(doc, &before, &at), CV_OK);
    CHECK_EQ(at, 5);
    CHECK_EQ(cv_relpos_to_offset(doc, &after, &at), CV_OK);
    CHECK_EQ(at, 8);
    delete_at(doc, 0, 9, NULL); /* all but "c" */
    CHECK_EQ(cv_relpos_to_offset(doc, &before, &at), CV_OK);
    CHECK_EQ(at, 0);
    CHECK_EQ(cv_relpos_to_offset(doc, &after, &at), CV_OK);
    CHECK_EQ(at, 0);
    CHECK_EQ(cv_relpos_to_offset(empty, &after, &at), CV_ERR_NOTFOUND);
    strcpy(end.tname, "other");
    CHECK_EQ(cv_relpos_to_offset(doc, &end, &at), CV_ERR_NOTFOUND);
    cv_doc_free(doc);
    cv_doc_free(empty);
}

/* ---- observers ---- */

struct heard {
    size_t n;
    struct cv_text_change last;
    char text[64];
};

static void hear(void *user, const struct cv_text_change *c)
{
    struct heard *h = user;

    h->n++;
    h->last = *c;
    REQUIRE(c->inserted_len < sizeof(h->text));
    if (c->inserted_len > 0)
        memcpy(h->text, c->inserted, c->inserted_len);
    h->text[c->inserted_len] = 0;
}

TEST(changes_that_touch_are_told_as_one)
{
    struct cv_doc *a = new_doc(1), *b = new_doc(2);
    struct cv_writer w = heap_writer();
    struct heard h = {0};
    const struct cv_doc_observer observer = {hear, NULL, &h};

    insert_at(a, 0, "one two three", &w);
    CHECK_EQ(apply(b, &w), CV_OK);
    cv_writer_reset(&w);
    CHECK_EQ(cv_doc_begin(a), CV_OK);
    CHECK_EQ(cv_doc_delete(a, 4, 3), CV_OK);
    CHECK_EQ(cv_doc_insert(a, 4, "2", 1), CV_OK);
    CHECK_EQ(cv_doc_insert(a, 5, "x", 1), CV_OK);
    CHECK_EQ(cv_doc_delete(a, 5, 1), CV_OK); /* never told */
    CHECK_EQ(cv_doc_commit(a, &w), CV_OK);
    CHECK_EQ(cv_doc_apply(b, cv_writer_bytes(&w), &observer, NULL, NULL),
             CV_OK);
    CHECK_EQ(h.n, 1);
    CHECK_EQ(h.last.at, 4);
    CHECK_EQ(h.last.deleted, 3);
    CHECK_STR(h.text, "2");
    CHECK(text_is(b, "one 2 three"));
    cv_writer_fini(&w);
    cv_doc_free(a);
    cv_doc_free(b);
}

/* Peers that cut pairs damage text for ever; the observer hears it all. */
TEST(cut_pairs_are_told_exactly)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t state = seed;
        struct cv_doc *doc = new_doc(1), *copy = new_doc(9);
        struct mirror mirror = {0};
        const struct cv_doc_observer observer = {mirror_change, NULL, &mirror};
        struct cv_writer w = heap_writer(), all;
        uint32_t clock = 0;

        put_text(&w, 7, 0, NULL, NULL,
                 EMOJI "a" EMOJI EMOJI "bc" EMOJI "\n" EMOJI EMOJI);
        CHECK_EQ(cv_doc_apply(doc, cv_writer_bytes(&w), &observer, NULL, NULL),
                 CV_OK);
        for (int i = 0; i < 12; i++) {
            struct cv_id origin = {7, below(&state, 15)};
            struct cv_id right = {7, origin.clock + 1};

            cv_writer_reset(&w);
            if (below(&state, 2)) {
                put_delete(&w, 7, below(&state, 16), 1 + below(&state, 3));
            } else {
                put_text(&w, 8, clock, &origin, &right, "x" EMOJI);
                clock += 3;
            }
            CHECK_EQ(
                cv_doc_apply(doc, cv_writer_bytes(&w), &observer, NULL, NULL),
                CV_OK);
            CHECK(mirror_equals(&mirror, doc));
            check_store(doc);
        }
        all = encode_all(doc);
        CHECK_EQ(apply(copy, &all), CV_OK);
        CHECK(mirror_equals(&mirror, copy));
        cv_writer_fini(&all);
        cv_writer_fini(&w);
        free(mirror.text);
        cv_doc_free(doc);
        cv_doc_free(copy);
    }
}

/* ---- hostile input ---- */

/* A document with something of everything, and an update for it. */
static void rich_updates(struct cv_doc *doc, struct cv_writer *w)
{
    struct cv_doc *peer = new_doc(300);
    struct cv_writer base = encode_all(doc), value = heap_writer();

    REQUIRE(apply(peer, &base) == CV_OK);
    cv_put_any_string(&value, "v", 1);
    REQUIRE(cv_doc_begin(peer) == CV_OK);
    REQUIRE(cv_doc_insert(peer, 2, EMOJI "new\n", 8) == CV_OK);
    REQUIRE(cv_doc_delete(peer, 0, 1) == CV_OK);
    REQUIRE(cv_doc_map_set(peer, "meta", literal("key"),
                           cv_writer_bytes(&value)) == CV_OK);
    REQUIRE(cv_doc_insert(peer, 1, "\xC3\xA9", 2) == CV_OK);
    REQUIRE(cv_doc_commit(peer, w) == CV_OK);
    cv_writer_fini(&base);
    cv_writer_fini(&value);
    cv_doc_free(peer);
}

TEST(every_truncation_and_extension_is_refused_whole)
{
    struct cv_doc *doc = new_doc(1);
    struct cv_writer w = heap_writer(), before, after;

    insert_at(doc, 0, "some text", NULL);
    rich_updates(doc, &w);
    before = encode_all(doc);
    for (size_t len = 0; len < w.len; len++) {
        /* A copy of exactly that size, so that reading on is seen. */
        uint8_t *cut = malloc(len + 1);

        CHECK(cut != NULL);
        memcpy(cut, w.data, len);
        CHECK_EQ(
            cv_doc_apply(doc, (struct cv_bytes){cut, len}, NULL, NULL, NULL),
            CV_ERR_FORMAT);
        free(cut);
    }
    cv_put_u8(&w, 0);
    CHECK_EQ(apply(doc, &w), CV_ERR_FORMAT);
    w.len--;
    after = encode_all(doc);
    CHECK(cv_bytes_equal(cv_writer_bytes(&before), cv_writer_bytes(&after)));
    CHECK(!cv_doc_waiting(doc));
    CHECK_EQ(doc->clients_n, 1);
    CHECK_EQ(apply(doc, &w), CV_OK);
    cv_writer_fini(&before);
    cv_writer_fini(&after);
    cv_writer_fini(&w);
    cv_doc_free(doc);
}

TEST(claimed_lengths_cost_no_memory)
{
    struct cv_doc *doc = new_doc(1);
    struct cv_writer w = heap_writer();
    size_t held = cv_doc_held_bytes(doc);

    /* A GC of 2^31 units: a legal hole in somebody's history. */
    for (uint64_t n = UINT64_C(1) << 31; n != 0;
         n = n > UINT32_MAX ? 0 : n * 512) {
        static const uint8_t head[] = {1, 1, 9, 0, CV_KIND_GC};

        cv_writer_reset(&w);
        cv_put_raw(&w, head, sizeof(head));
        cv_put_varuint(&w, n);
        cv_put_varuint(&w, 0);
        CHECK_EQ(apply(doc, &w), n <= CV_DOC_CLOCK_MAX ? CV_OK : CV_ERR_LIMIT);
    }
    CHECK_EQ(cv_doc_clock(doc, 9), INT64_C(1) << 31);
    cv_writer_reset(&w);
    put_delete(&w, 9, 5, 1000000000);
    CHECK_EQ(apply(doc, &w), CV_OK);
    cv_writer_reset(&w);
    put_delete(&w, 10, 5, 1000000000);
    CHECK_EQ(apply(doc, &w), CV_OK);
    CHECK(cv_doc_waiting(doc));
    CHECK(cv_doc_held_bytes(doc) < held + 65536);
    cv_writer_fini(&w);
    cv_doc_free(doc);
}

static void expect_limit(struct cv_doc *doc, const struct cv_writer *w)
{
    struct cv_writer before = encode_all(doc), after;
    bool waiting = cv_doc_waiting(doc);
    uint32_t clients = doc->clients_n;

    REQUIRE(apply(doc, w) == CV_ERR_LIMIT);
    after = encode_all(doc);
    REQUIRE(cv_bytes_equal(cv_writer_bytes(&before), cv_writer_bytes(&after)));
    REQUIRE(cv_doc_waiting(doc) == waiting && doc->clients_n == clients);
    cv_writer_fini(&before);
    cv_writer_fini(&after);
}

TEST(limits_refuse_whole_updates)
{
    struct cv_doc_limits limits = cv_doc_limits_default;
    struct cv_doc *doc = NULL;
    struct cv_writer w = heap_writer();

    limits.update_bytes = 200;
    limits.log_bytes = 100;
    limits.clients = 3;
    limits.items = 30;
    limits.waiting = 2;
    CHECK_EQ(cv_doc_new(&doc, 1, &limits), CV_OK);

    put_text(&w, 2, 0, NULL, NULL, "known");
    CHECK_EQ(apply(doc, &w), CV_OK);
    /* waiting: three structs with a hole before them */
    for (uint64_t clock = 10; clock < 16; clock += 2) {
        const struct cv_id origin = {2, clock - 1};

        cv_writer_reset(&w);
        put_text(&w, 2, clock, &origin, NULL, "x");
        if (clock < 14)
            CHECK_EQ(apply(doc, &w), CV_OK);
        else
            expect_limit(doc, &w);
    }
    cv_writer_reset(&w);
    put_delete(&w, 2, 20, 1);
    expect_limit(doc, &w);
    put_delete(&w, 2, 3, 20);
    /* What is known still comes in: nothing more would wait. */
    cv_writer_reset(&w);
    put_delete(&w, 2, 0, 1);
    CHECK_EQ(apply(doc, &w), CV_OK);
    CHECK(text_is(doc, "nown"));

    /* log_bytes */
    cv_writer_reset(&w);
    put_text(&w, 3, 0, NULL, NULL,
             "0123456789012345678901234567890123456789012345678901234567890123"
             "4567890123456789012345678901234567890123456789");
    expect_limit(doc, &w);
    /* clients: a fourth one */
    cv_writer_reset(&w);
    put_text(&w, 3, 0, NULL, NULL, "three");
    CHECK_EQ(apply(doc, &w), CV_OK);
    cv_writer_reset(&w);
    put_text(&w, 4, 0, NULL, NULL, "four");
    expect_limit(doc, &w);
    /* update_bytes */
    cv_put_zeros(&w, 200);
    expect_limit(doc, &w);
    /* Local text is bounded, too. */
    CHECK_EQ(cv_doc_begin(doc), CV_OK);
    CHECK_EQ(cv_doc_insert(doc, 0, w.data, w.len), CV_ERR_LIMIT);
    CHECK_EQ(cv_doc_commit(doc, NULL), CV_OK);
    /* items: scatter single letters */
    for (int i = 0;; i++) {
        int err;

        CHECK(i < 60);
        CHECK_EQ(cv_doc_begin(doc), CV_OK);
        err = cv_doc_insert(doc, i % 2 ? 1 : 0, "i", 1);
        CHECK_EQ(cv_doc_commit(doc, NULL), CV_OK);
        if (err == CV_ERR_LIMIT)
            break;
        CHECK_EQ(err, CV_OK);
    }
    CHECK(doc->items_used <= limits.items);
    check_store(doc);
    cv_writer_fini(&w);
    cv_doc_free(doc);
}

/* An update that waits is taken once, however often it comes. */
TEST(repeated_pending_updates_do_not_pile_up)
{
    struct cv_doc *doc = new_doc(1);
    struct cv_writer w = heap_writer();
    const struct cv_id origin = {2, 4};
    size_t held = 0;

    for (int i = 0; i < 1000; i++) {
        cv_writer_reset(&w);
        put_text(&w, 2, 5, &origin, NULL, "later");
        CHECK_EQ(apply(doc, &w), CV_OK);
        cv_writer_reset(&w);
        put_delete(&w, 2, 1, 7);
        CHECK_EQ(apply(doc, &w), CV_OK);
        if (i == 1) /* scratch memory has its size */
            held = cv_doc_held_bytes(doc);
    }
    CHECK_EQ(cv_doc_held_bytes(doc), held);
    cv_writer_reset(&w);
    put_text(&w, 2, 0, NULL, NULL, "first");
    CHECK_EQ(apply(doc, &w), CV_OK);
    CHECK(!cv_doc_waiting(doc));
    CHECK(text_is(doc, "fer"));
    cv_writer_fini(&w);
    cv_doc_free(doc);
}

/* Many structs that come in the worst order: no step over all of them. */
TEST(a_long_history_backwards_is_not_quadratic)
{
    enum { N = 20000 };
    struct cv_doc *from = new_doc(1), *to = new_doc(2);
    struct cv_writer w = heap_writer();
    size_t *start = calloc(N + 1, sizeof(*start));

    CHECK(start != NULL);
    for (size_t i = 0; i < N; i++) {
        insert_at(from, 0, "x", &w); /* every one an item of its own */
        start[i + 1] = w.len;
    }
    for (size_t i = N; i-- > 0;)
        CHECK_EQ(cv_doc_apply(to,
                              (struct cv_bytes){w.data + start[i],
                                                start[i + 1] - start[i]},
                              NULL, NULL, NULL),
                 CV_OK);
    CHECK(!cv_doc_waiting(to));
    CHECK_EQ(cv_doc_text_bytes(to), N);
    free(start);
    cv_writer_fini(&w);
    cv_doc_free(from);
    cv_doc_free(to);
}

TEST(text_stays_when_logs_are_rewritten)
{
    struct cv_doc *doc = new_doc(1);

    for (int i = 0; i < 200; i++) {
        insert_at(doc, 0, "0123456789abcdef+", NULL);
        insert_at(doc, 0, "ab", NULL);
    }
    delete_at(doc, (size_t)19 * 100, (size_t)19 * 98, NULL);
    CHECK_EQ(cv_doc_compact(doc), CV_OK);
    delete_at(doc, 0, (size_t)19 * 100, NULL);
    CHECK_EQ(cv_doc_compact(doc), CV_OK);
    CHECK(text_is(doc, "ab0123456789abcdef+ab0123456789abcdef+"));
    delete_at(doc, 1, 36, NULL);
    CHECK_EQ(cv_doc_compact(doc), CV_OK);
    CHECK(text_is(doc, "a+"));
    delete_at(doc, 0, 2, NULL);
    CHECK_EQ(cv_doc_compact(doc), CV_OK);
    CHECK(text_is(doc, ""));
    insert_at(doc, 0, "xyz", NULL);
    insert_at(doc, 0, "w", NULL);
    delete_at(doc, 1, 1, NULL);
    CHECK_EQ(cv_doc_compact(doc), CV_OK);
    CHECK(text_is(doc, "wyz"));
    cv_doc_free(doc);
}

/* ---- news ---- */

TEST(news_hold_what_is_new_and_nothing_else)
{
    struct cv_doc *a = new_doc(1), *relay = new_doc(2), *b = new_doc(3);
    struct cv_writer first = heap_writer(), second = heap_writer();
    struct cv_writer news = heap_writer();
    struct cv_doc_applied applied;

    insert_at(a, 0, "one", &first);
    insert_at(a, 3, " two", &second);
    /* The second waits; it is no news until the first is there. */
    CHECK_EQ(
        cv_doc_apply(relay, cv_writer_bytes(&second), NULL, &news, &applied),
        CV_OK);
    CHECK(!applied.news && applied.waiting);
    CHECK_EQ(news.len, 0);
    CHECK_EQ(
        cv_doc_apply(relay, cv_writer_bytes(&first), NULL, &news, &applied),
        CV_OK);
    CHECK(applied.news && !applied.waiting);
    CHECK_EQ(apply(b, &news), CV_OK);
    CHECK(text_is(b, "one two"));
    cv_writer_reset(&news);
    CHECK_EQ(
        cv_doc_apply(relay, cv_writer_bytes(&first), NULL, &news, &applied),
        CV_OK);
    CHECK(!applied.news && news.len == 0);
    cv_writer_fini(&first);
    cv_writer_fini(&second);
    cv_writer_fini(&news);
    cv_doc_free(a);
    cv_doc_free(relay);
    cv_doc_free(b);
}

TEST(covered_by_tells_who_lacks_structs)
{
    struct cv_doc *a = new_doc(1), *b = new_doc(2);
    struct cv_writer w = heap_writer(), sv = heap_writer();

    CHECK_EQ(cv_doc_state_vector(b, &sv), CV_OK);
    CHECK(cv_doc_covered_by(a, cv_writer_bytes(&sv)));
    insert_at(a, 0, "x", &w);
    CHECK(!cv_doc_covered_by(a, cv_writer_bytes(&sv)));
    CHECK_EQ(apply(b, &w), CV_OK);
    cv_writer_reset(&sv);
    CHECK_EQ(cv_doc_state_vector(b, &sv), CV_OK);
    CHECK(cv_doc_covered_by(a, cv_writer_bytes(&sv)));
    CHECK(!cv_doc_covered_by(a, literal("\x05")));
    cv_writer_fini(&w);
    cv_writer_fini(&sv);
    cv_doc_free(a);
    cv_doc_free(b);
}

static void add_run(void *user, uint64_t client, uint64_t clock, uint64_t end)
{
    struct cv_writer *w = user;

    cv_put_u8(w, (uint8_t)client);
    cv_put_u8(w, (uint8_t)clock);
    cv_put_u8(w, (uint8_t)end);
}

TEST(an_update_tells_whose_units_it_brings)
{
    static const uint8_t want[] = {2, 0, 2, 1, 0, 3, 1, 5, 6};
    struct cv_writer one = heap_writer(), two = heap_writer();
    struct cv_writer three = heap_writer(), all = heap_writer();
    struct cv_writer runs = heap_writer();
    const struct cv_id origin = {1, 4};
    struct cv_bytes parts[3];

    put_text(&one, 1, 0, NULL, NULL, "abc");
    put_text(&two, 2, 0, NULL, NULL, EMOJI);
    put_text(&three, 1, 5, &origin, NULL, "x");
    parts[0] = cv_writer_bytes(&one);
    parts[1] = cv_writer_bytes(&two);
    parts[2] = cv_writer_bytes(&three);
    CHECK_EQ(cv_update_merge(parts, 3, &all), CV_OK);
    CHECK_EQ(cv_update_clients(cv_writer_bytes(&all), add_run, &runs), CV_OK);
    CHECK_EQ(runs.len, sizeof(want));
    CHECK_MEM(runs.data, want, sizeof(want));
    all.len--;
    CHECK_EQ(cv_update_clients(cv_writer_bytes(&all), add_run, &runs),
             CV_ERR_FORMAT);
    CHECK_EQ(runs.len, sizeof(want));
    cv_writer_fini(&one);
    cv_writer_fini(&two);
    cv_writer_fini(&three);
    cv_writer_fini(&all);
    cv_writer_fini(&runs);
}

/* ---- maps ---- */

static unsigned keys_heard;

static void hear_key(void *user, struct cv_bytes root, struct cv_bytes key)
{
    (void)user;
    REQUIRE(cv_bytes_equal(root, literal("files")));
    REQUIRE(cv_bytes_equal(key, literal("a.c")));
    keys_heard++;
}

static void count_key(void *user, struct cv_bytes key, struct cv_bytes value)
{
    unsigned *n = user;

    REQUIRE(key.len == 3 && value.len > 0);
    ++*n;
}

static void set_key(struct cv_doc *doc, const char *key, int32_t value,
                    struct cv_writer *out)
{
    struct cv_writer any = heap_writer();

    cv_put_any_integer(&any, value);
    REQUIRE(cv_doc_begin(doc) == CV_OK);
    REQUIRE(cv_doc_map_set(doc, "files", literal(key), cv_writer_bytes(&any)) ==
            CV_OK);
    REQUIRE(cv_doc_commit(doc, out) == CV_OK);
    cv_writer_fini(&any);
}

TEST(maps_hold_the_last_value_of_each_key)
{
    struct cv_doc *a = new_doc(1), *b = new_doc(2);
    const struct cv_doc_observer observer = {NULL, hear_key, NULL};
    struct cv_writer wa = heap_writer(), wb = heap_writer();
    struct cv_bytes value;
    int64_t number;
    unsigned n = 0;

    CHECK_EQ(cv_doc_map_get(a, "files", literal("a.c"), &value),
             CV_ERR_NOTFOUND);
    set_key(a, "a.c", 1, &wa);
    CHECK_EQ(cv_doc_apply(b, cv_writer_bytes(&wa), &observer, NULL, NULL),
             CV_OK);
    CHECK_EQ(keys_heard, 1);
    /* Both set it: of concurrent values the one of the higher id stays. */
    cv_writer_reset(&wa);
    set_key(a, "a.c", 10, &wa);
    set_key(b, "a.c", 20, &wb);
    CHECK_EQ(apply(a, &wb), CV_OK);
    CHECK_EQ(apply(b, &wa), CV_OK);
    CHECK_EQ(cv_doc_map_get(a, "files", literal("a.c"), &value), CV_OK);
    CHECK(cv_any_integer(value, &number) && number == 20);
    CHECK_EQ(cv_doc_map_get(b, "files", literal("a.c"), &value), CV_OK);
    CHECK(cv_any_integer(value, &number) && number == 20);
    set_key(a, "b.c", 3, NULL);
    cv_doc_map_each(a, "files", count_key, &n);
    CHECK_EQ(n, 2);

    cv_writer_reset(&wa);
    CHECK_EQ(cv_doc_begin(a), CV_OK);
    CHECK_EQ(cv_doc_map_delete(a, "files", literal("a.c")), CV_OK);
    CHECK_EQ(cv_doc_map_delete(a, "files", literal("none")), CV_ERR_NOTFOUND);
    CHECK_EQ(cv_doc_map_set(a, "files", literal("x"), literal("\x01")),
             CV_ERR_FORMAT);
    CHECK_EQ(cv_doc_map_set(a, "files", literal("x"), literal("~~")),
             CV_ERR_FORMAT);
    CHECK_EQ(cv_doc_commit(a, &wa), CV_OK);
    CHECK_EQ(cv_doc_apply(b, cv_writer_bytes(&wa), &observer, NULL, NULL),
             CV_OK);
    CHECK_EQ(keys_heard, 2);
    CHECK_EQ(cv_doc_map_get(b, "files", literal("a.c"), &value),
             CV_ERR_NOTFOUND);
    cv_writer_fini(&wa);
    cv_writer_fini(&wb);
    cv_doc_free(a);
    cv_doc_free(b);
}

TEST(another_root_can_be_the_text)
{
    struct cv_doc *a = new_doc(1), *b = new_doc(2);
    struct cv_writer w = heap_writer();

    insert_at(a, 0, "main", &w);
    CHECK_EQ(cv_doc_use_text(a, "notes"), CV_OK);
    CHECK_EQ(cv_doc_text_bytes(a), 0);
    cv_writer_reset(&w);
    insert_at(a, 0, "aside", NULL);
    cv_writer_fini(&w);
    w = encode_all(a);
    CHECK_EQ(apply(b, &w), CV_OK);
    CHECK(text_is(b, "main"));
    CHECK_EQ(cv_doc_use_text(b, "notes"), CV_OK);
    CHECK(text_is(b, "aside"));
    cv_writer_fini(&w);
    cv_doc_free(a);
    cv_doc_free(b);
}

/* ---- values ---- */

TEST(json_is_checked_strictly)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"{}", true},
        {" [1, -2.5e+3, \"\\u00e9\\n\", true, false, null] ", true},
        {"{\"a\":{\"b\":[{}]}}", true},
        {"0", true},
        {"-0.1E-2", true},
        {"", false},
        {" ", false},
        {"{", false},
        {"[1,]", false},
        {"{\"a\"}", false},
        {"{a:1}", false},
        {"01", false},
        {"1.", false},
        {"-", false},
        {"+1", false},
        {"nul", false},
        {"\"\\x\"", false},
        {"\"\\u12g4\"", false},
        {"\"\n\"", false},
        {"{} {}", false},
        {"'a'", false},
    };
    char deep[3 * CV_JSON_DEPTH_MAX];

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        bool got = cv_json_valid((const uint8_t *)cases[i].text,
                                 strlen(cases[i].text));

        if (got != cases[i].valid)
            print_error("%s\n", cases[i].text);
        CHECK(got == cases[i].valid);
    }
    for (size_t n = CV_JSON_DEPTH_MAX - 1; n <= CV_JSON_DEPTH_MAX + 1; n++) {
        memset(deep, '[', n);
        memset(deep + n, ']', n);
        CHECK(cv_json_valid((const uint8_t *)deep, 2 * n) ==
              (n <= CV_JSON_DEPTH_MAX));
    }
}

RUN_TESTS(T(edits_need_a_transaction_and_character_borders),
          T(client_id_changes_only_to_an_unused_one),
          T(structs_under_our_own_id_are_noticed),
          T(long_text_keeps_one_struct_on_the_wire),
          T(bytes_units_and_lines_agree_with_counting),
          T(author_is_who_inserted_the_character),
          T(relative_positions_stay_with_their_neighbour),
          T(changes_that_touch_are_told_as_one), T(cut_pairs_are_told_exactly),
          T(every_truncation_and_extension_is_refused_whole),
          T(claimed_lengths_cost_no_memory), T(limits_refuse_whole_updates),
          T(repeated_pending_updates_do_not_pile_up),
          T(a_long_history_backwards_is_not_quadratic),
          T(text_stays_when_logs_are_rewritten),
          T(news_hold_what_is_new_and_nothing_else),
          T(covered_by_tells_who_lacks_structs),
          T(an_update_tells_whose_units_it_brings),
          T(maps_hold_the_last_value_of_each_key),
          T(another_root_can_be_the_text), T(json_is_checked_strictly))
