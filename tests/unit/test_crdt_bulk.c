/* A whole state at once (crdt/bulk.h) does what its structs do one by one. */
#include "crdt/codec.h"
#include "tests/unit/crdt_util.h"

#define EMOJI "\xF0\x9F\x98\x80"
#define NONE  NULL

/* ---- hand-made updates ---- */

static void begin(struct cv_writer *w, uint64_t blocks)
{
    *w = heap_writer();
    cv_put_varuint(w, blocks);
}

static void block(struct cv_writer *w, uint64_t structs, uint64_t client,
                  uint64_t clock)
{
    cv_put_varuint(w, structs);
    cv_put_varuint(w, client);
    cv_put_varuint(w, clock);
}

#define ID(client, clock)                                                      \
    &(struct cv_id)                                                            \
    {                                                                          \
        client, clock                                                          \
    }

static void put_text(struct cv_writer *w, const struct cv_id *origin,
                     const struct cv_id *right, const char *text)
{
    put_struct(w, CV_KIND_STRING, origin, right, CV_DOC_TEXT, text, 0);
}

static void put_gone(struct cv_writer *w, const struct cv_id *origin,
                     uint64_t len)
{
    put_struct(w, CV_KIND_DELETED, origin, NONE, CV_DOC_TEXT, "", len);
}

static void end(struct cv_writer *w)
{
    cv_put_varuint(w, 0);
}

/* ---- both ways ---- */

/* A document that is not empty cannot be built at once. */
static struct cv_doc *used_doc(void)
{
    struct cv_doc *doc = new_doc(1000);
    static const uint8_t yes[] = {120};

    REQUIRE(cv_doc_begin(doc) == CV_OK);
    REQUIRE(cv_doc_map_set(doc, "used", CV_LITERAL("key"),
                           CV_BYTES(yes, sizeof(yes))) == CV_OK);
    REQUIRE(cv_doc_commit(doc, NULL) == CV_OK);
    return doc;
}

static bool same_text(const struct cv_doc *a, const struct cv_doc *b)
{
    struct cv_writer x = read_all(a), y = read_all(b);
    bool same = cv_bytes_equal(cv_writer_bytes(&x), cv_writer_bytes(&y));

    if (!same)
        print_error("\"%.*s\", not \"%.*s\"\n", (int)x.len, (char *)x.data,
                    (int)y.len, (char *)y.data);
    cv_writer_fini(&x);
    cv_writer_fini(&y);
    return same;
}

static bool apply(struct cv_doc *doc, const struct cv_writer *w)
{
    return cv_doc_apply(doc, cv_writer_bytes(w), NULL, NULL, NULL) == CV_OK;
}

static bool same_state(const struct cv_doc *a, const struct cv_doc *b)
{
    for (uint64_t client = 1; client < 100; client++) {
        if (cv_doc_clock(a, client) != cv_doc_clock(b, client))
            return false;
    }
    return cv_doc_waiting(a) == cv_doc_waiting(b);
}

/* Does it become the same both ways?  The text is `want`, NULL: whatever it is
 * struct by struct.  Ends `w`. */
static bool both_ways(struct cv_writer *w, const char *want)
{
    struct cv_doc *fast = new_doc(1001), *slow = used_doc(), *copy = used_doc();
    bool same = apply(slow, w) && apply(fast, w) && same_text(fast, slow) &&
                same_state(fast, slow) && (want == NULL || text_is(fast, want));
    struct cv_writer state;

    check_store(fast);
    check_store(slow);

    /* It can be edited and passed on. */
    insert_at(fast, 0, "more ", NULL);
    state = encode_all(fast);
    same = same && apply(copy, &state) && same_text(copy, fast);
    cv_writer_fini(&state);
    cv_writer_fini(w);
    cv_doc_free(fast);
    cv_doc_free(slow);
    cv_doc_free(copy);
    return same;
}

TEST(others_point_into_an_item)
{
    struct cv_writer w;

    begin(&w, 2);
    block(&w, 3, 1, 0);
    put_text(&w, NONE, NONE, "one \xC3\xA4nd three");
    put_gone(&w, ID(1, 12), 5);
    put_text(&w, ID(1, 17), NONE, "!");
    block(&w, 2, 2, 0);
    put_text(&w, ID(1, 7), ID(1, 8), "two, ");
    put_text(&w, ID(1, 14), ID(1, 15), "?");
    end(&w);
    CHECK(both_ways(&w, "one \xC3\xA4nd two, three?!"));
}

TEST(long_text_is_cut_into_runs)
{
    struct cv_writer w;

    begin(&w, 1);
    block(&w, 2, 7, 0);
    put_text(&w, NONE, NONE,
             "fifteen of them\xE2\x82\xAC and " EMOJI EMOJI
             " that is longer than "
             "one run, wherever \xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC it is cut "
             "0123456789012345678901234567890123456789012345678901234567890");
    put_text(&w, ID(7, 9), ID(7, 10), "<>");
    end(&w);
    CHECK(both_ways(&w, NULL));
}

TEST(a_pair_is_cut)
{
    struct cv_writer w;

    begin(&w, 2);
    block(&w, 1, 1, 0);
    put_text(&w, NONE, NONE, "a" EMOJI "b");
    block(&w, 1, 2, 0);
    put_text(&w, ID(1, 1), ID(1, 2), "-");
    end(&w);
    CHECK(both_ways(&w, "a\xEF\xBF\xBD-\xEF\xBF\xBD"
                        "b"));
}

TEST(blocks_come_in_any_order)
{
    struct cv_writer w;

    /* Not ready in the order they come. */
    begin(&w, 2);
    block(&w, 2, 9, 0);
    put_text(&w, ID(1, 1), ID(1, 2), "x");
    put_text(&w, ID(1, 3), NONE, "y");
    block(&w, 2, 1, 0);
    put_text(&w, NONE, NONE, "abc");
    put_text(&w, ID(9, 0), ID(1, 2), "d");
    end(&w);
    CHECK(both_ways(&w, "abxdyc"));
}

TEST(a_client_has_two_blocks)
{
    struct cv_writer w;

    begin(&w, 3);
    block(&w, 1, 1, 0);
    put_text(&w, NONE, NONE, "ab");
    block(&w, 1, 2, 0);
    put_text(&w, ID(1, 0), ID(1, 1), "-");
    block(&w, 2, 1, 2);
    put_text(&w, ID(1, 1), NONE, "c");
    put_text(&w, ID(1, 2), NONE, "d");
    end(&w);
    CHECK(both_ways(&w, "a-bcd"));

    /* The same units twice. */
    begin(&w, 2);
    for (int i = 0; i < 2; i++) {
        block(&w, 1, 1, 0);
        put_text(&w, NONE, NONE, "ab");
    }
    end(&w);
    CHECK(both_ways(&w, "ab"));
}

TEST(the_same_units_say_two_things)
{
    struct cv_writer w;

    begin(&w, 3);
    block(&w, 1, 1, 0);
    put_text(&w, NONE, NONE, "ab");
    block(&w, 1, 1, 0);
    put_text(&w, NONE, NONE, "xy");
    block(&w, 1, 1, 1);
    put_text(&w, ID(27, 1), NONE, "z");
    end(&w);
    CHECK(both_ways(&w, NULL));
}

TEST(something_is_missing)
{
    struct cv_writer w;

    begin(&w, 2);
    block(&w, 2, 1, 0);
    put_text(&w, NONE, NONE, "ab");
    put_text(&w, ID(3, 4), NONE, "waits");
    block(&w, 1, 2, 5);
    put_text(&w, NONE, NONE, "waits, too");
    end(&w);
    CHECK(both_ways(&w, "ab"));
}

TEST(it_is_not_only_text)
{
    struct cv_writer w;

    begin(&w, 1);
    block(&w, 3, 1, 0);
    put_text(&w, NONE, NONE, "ab");
    put_struct(&w, CV_KIND_EMBED, ID(1, 0), NONE, "", "\x02{}", 1);
    put_text(&w, ID(1, 2), NONE, "c");
    end(&w);
    CHECK(both_ways(&w, NULL));

    /* Two roots. */
    begin(&w, 1);
    block(&w, 2, 1, 0);
    put_text(&w, NONE, NONE, "ab");
    put_struct(&w, CV_KIND_STRING, NONE, NONE, "other", "text", 0);
    end(&w);
    CHECK(both_ways(&w, "ab"));
}

TEST(tombstones_are_of_any_length)
{
    struct cv_writer w;

    begin(&w, 1);
    block(&w, 3, 1, 0);
    put_text(&w, NONE, NONE, "ab");
    put_gone(&w, ID(1, 0), UINT64_C(1) << 30);
    put_text(&w, ID(1, (1 << 30) + 1), NONE, "c");
    end(&w);
    CHECK(both_ways(&w, "acb"));
}

TEST(an_origin_has_gone)
{
    struct cv_writer w;

    begin(&w, 2);
    block(&w, 2, 1, 0);
    put_struct(&w, CV_KIND_GC, NONE, NONE, "", "", 3);
    put_text(&w, NONE, NONE, "ab");
    block(&w, 2, 2, 0);
    put_text(&w, ID(1, 1), NONE, "lost");
    put_text(&w, ID(1, 3), ID(1, 4), "-");
    end(&w);
    CHECK(both_ways(&w, "a-b"));
}

TEST(many_begin_at_one_place)
{
    enum { CLIENTS = 60 };
    struct cv_writer w;

    for (int turn = 0; turn < 2; turn++) {
        begin(&w, CLIENTS);
        for (unsigned i = 0; i < CLIENTS; i++) {
            unsigned client = turn == 0 ? 1 + i : CLIENTS - i;
            char text[8];

            snprintf(text, sizeof(text), "%u,", client);
            block(&w, 1, client, 0);
            put_text(&w, NONE, NONE, text);
        }
        end(&w);
        CHECK(both_ways(&w, NULL));
    }
}

TEST(ranges_are_deleted_wherever_they_lie)
{
    static const uint8_t ranges[][2] = {
        {0, 1}, {2, 1}, {3, 4}, {6, 3}, {12, 5}, {30, 2},
    };
    struct cv_writer w;

    begin(&w, 1);
    block(&w, 4, 1, 0);
    put_text(&w, NONE, NONE, "abcd");
    put_gone(&w, ID(1, 3), 3);
    put_gone(&w, ID(1, 1), 2);
    put_text(&w, ID(1, 6), NONE, "efgh");
    cv_put_varuint(&w, 2);
    cv_put_varuint(&w, 1);
    cv_put_varuint(&w, sizeof(ranges) / sizeof(ranges[0]));
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        cv_put_varuint(&w, ranges[i][0]);
        cv_put_varuint(&w, ranges[i][1]);
    }
    cv_put_varuint(&w, 5);
    cv_put_varuint(&w, 1);
    cv_put_varuint(&w, 0);
    cv_put_varuint(&w, 9);
    CHECK(both_ways(&w, "befg"));
}

TEST(what_is_refused_leaves_nothing)
{
    struct cv_doc *doc = new_doc(1001);
    struct cv_writer w, state, before = encode_all(doc);

    begin(&w, 2);
    block(&w, 2, 1, 0);
    put_text(&w, NONE, NONE, "abcdefghijklmnopqrstuvwxyz");
    put_gone(&w, ID(1, 3), 3);
    block(&w, 1, 2, 0);
    put_text(&w, ID(1, 7), ID(1, 8), "-");
    end(&w);
    for (size_t len = 0; len < w.len; len++) {
        CHECK_EQ(cv_doc_apply(doc, CV_BYTES(w.data, len), NULL, NULL, NULL),
                 CV_ERR_FORMAT);
        CHECK_EQ(cv_doc_clock(doc, 1), 0);
        CHECK_EQ(doc->clients_n, 1);
        CHECK_EQ(doc->log_total, strlen(CV_DOC_TEXT));
        check_store(doc);
    }
    state = encode_all(doc);
    CHECK(cv_bytes_equal(cv_writer_bytes(&state), cv_writer_bytes(&before)));
    CHECK_EQ(cv_doc_apply(doc, cv_writer_bytes(&w), NULL, NULL, NULL), CV_OK);
    CHECK(text_is(doc, "abcdefgh-ijklmnopqrstuvwxyz"));
    cv_writer_fini(&state);
    cv_writer_fini(&before);
    cv_writer_fini(&w);
    cv_doc_free(doc);
}

RUN_TESTS(T(others_point_into_an_item), T(long_text_is_cut_into_runs),
          T(a_pair_is_cut), T(blocks_come_in_any_order),
          T(a_client_has_two_blocks), T(the_same_units_say_two_things),
          T(something_is_missing), T(it_is_not_only_text),
          T(tombstones_are_of_any_length), T(an_origin_has_gone),
          T(many_begin_at_one_place), T(ranges_are_deleted_wherever_they_lie),
          T(what_is_refused_leaves_nothing))
