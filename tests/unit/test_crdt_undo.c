/* Undo of own edits: small cases, and random histories of several replicas.
 *
 * Every character that is typed in a random history is another one, so a text
 * tells who typed what.  UNDO_SEED=n repeats one history, UNDO_RUNS=n does
 * more of them. */
#include "crdt/undo.h"
#include "tests/unit/crdt_util.h"

#define MIB ((size_t)1 << 20)

struct side {
    struct cv_doc *doc;
    struct cv_undo *undo;
    struct mirror mirror;
};

static void side_init(struct side *s, uint64_t client, size_t bound)
{
    memset(s, 0, sizeof(*s));
    s->doc = new_doc(client);
    REQUIRE(cv_undo_new(&s->undo, s->doc, bound) == CV_OK);
}

static void side_fini(struct side *s)
{
    cv_undo_free(s->undo);
    cv_doc_free(s->doc);
    free(s->mirror.text);
}

static void mirror_splice(struct side *s, size_t at, size_t deleted,
                          const void *text, size_t len)
{
    struct cv_text_change c = {at, deleted, text, len};

    if (deleted + len > 0)
        mirror_change(&s->mirror, &c);
}

static void type(struct side *s, uint64_t group, size_t at, const char *text)
{
    cv_undo_group(s->undo, group);
    REQUIRE(cv_doc_begin(s->doc) == CV_OK);
    REQUIRE(cv_undo_insert(s->undo, at, text, strlen(text)) == CV_OK);
    REQUIRE(cv_doc_commit(s->doc, NULL) == CV_OK);
    mirror_splice(s, at, 0, text, strlen(text));
}

static void erase(struct side *s, uint64_t group, size_t at, size_t len)
{
    cv_undo_group(s->undo, group);
    REQUIRE(cv_doc_begin(s->doc) == CV_OK);
    REQUIRE(cv_undo_delete(s->undo, at, len) == CV_OK);
    REQUIRE(cv_doc_commit(s->doc, NULL) == CV_OK);
    mirror_splice(s, at, len, NULL, 0);
}

static int step(struct side *s, enum cv_undo_way way, size_t *at)
{
    struct cv_undone undone = {0, 0};
    int err;

    REQUIRE(cv_doc_begin(s->doc) == CV_OK);
    err = cv_undo_step(s->undo, way, mirror_change, &s->mirror, &undone);
    REQUIRE(cv_doc_commit(s->doc, NULL) == CV_OK);
    REQUIRE(mirror_equals(&s->mirror, s->doc));
    check_store(s->doc);
    if (at != NULL)
        *at = undone.at;
    return err;
}

static bool back(struct side *s)
{
    int err = step(s, CV_UNDO_BACK, NULL);

    REQUIRE(err == CV_OK || err == CV_ERR_NOTFOUND);
    return err == CV_OK;
}

static bool again(struct side *s)
{
    int err = step(s, CV_UNDO_AGAIN, NULL);

    REQUIRE(err == CV_OK || err == CV_ERR_NOTFOUND);
    return err == CV_OK;
}

/* What `to` lacks of `from`. */
static void send(const struct side *from, struct side *to)
{
    struct cv_writer sv = heap_writer(), w = heap_writer();
    struct cv_doc_observer observer = {mirror_change, NULL, &to->mirror};

    REQUIRE(cv_doc_state_vector(to->doc, &sv) == CV_OK);
    REQUIRE(cv_doc_encode(from->doc, cv_writer_bytes(&sv), &w) == CV_OK);
    REQUIRE(cv_doc_apply(to->doc, cv_writer_bytes(&w), &observer, NULL, NULL) ==
            CV_OK);
    cv_writer_fini(&sv);
    cv_writer_fini(&w);
}

static void sync(struct side *a, struct side *b)
{
    send(a, b);
    send(b, a);
}

/* ---- small cases ---- */

TEST(one_group_is_one_undo)
{
    struct side a;

    side_init(&a, 1, MIB);
    type(&a, 1, 0, "one");
    type(&a, 2, 3, " tw");
    type(&a, 2, 6, "i");
    erase(&a, 2, 6, 1);
    type(&a, 2, 6, "o");
    CHECK_EQ(cv_undo_count(a.undo, CV_UNDO_BACK), 2);
    CHECK(back(&a));
    CHECK(text_is(a.doc, "one"));
    CHECK(back(&a));
    CHECK(text_is(a.doc, ""));
    CHECK(!back(&a));
    CHECK(again(&a));
    CHECK(text_is(a.doc, "one"));
    CHECK(again(&a));
    CHECK(text_is(a.doc, "one two"));
    CHECK(!again(&a));
    side_fini(&a);
}

TEST(an_edit_ends_what_could_be_redone_and_undo_ends_a_group)
{
    struct side a;

    side_init(&a, 1, MIB);
    type(&a, 1, 0, "a");
    type(&a, 2, 1, "b");
    CHECK(back(&a));
    type(&a, 1, 1, "c");
    CHECK(!again(&a));
    CHECK(back(&a));
    CHECK(text_is(a.doc, "a"));
    CHECK(back(&a));
    CHECK(text_is(a.doc, ""));
    side_fini(&a);
}

TEST(text_of_others_inside_mine_stays)
{
    struct side a, b;

    side_init(&a, 1, MIB);
    side_init(&b, 2, MIB);
    type(&a, 1, 0, "mine");
    sync(&a, &b);
    type(&b, 1, 2, "XY");
    sync(&a, &b);
    CHECK(text_is(a.doc, "miXYne"));
    CHECK(back(&a));
    CHECK(text_is(a.doc, "XY"));
    CHECK(again(&a));
    CHECK(text_is(a.doc, "miXYne"));
    sync(&a, &b);
    CHECK(text_is(b.doc, "miXYne"));
    CHECK(back(&b));
    CHECK(text_is(b.doc, "mine"));
    side_fini(&a);
    side_fini(&b);
}

TEST(redo_outlives_edits_of_others)
{
    struct side a, b;

    side_init(&a, 1, MIB);
    side_init(&b, 2, MIB);
    type(&a, 1, 0, "mine\n");
    CHECK(back(&a));
    sync(&a, &b);
    type(&b, 1, 0, "theirs\n");
    sync(&a, &b);
    CHECK(again(&a));
    sync(&a, &b);
    CHECK_EQ(cv_doc_text_bytes(a.doc), 12);
    CHECK(back(&a));
    CHECK(text_is(a.doc, "theirs\n"));
    side_fini(&a);
    side_fini(&b);
}

TEST(deleted_text_of_others_comes_back_around_what_came_into_it)
{
    struct side a, b;

    side_init(&a, 1, MIB);
    side_init(&b, 2, MIB);
    type(&b, 1, 0, "theirs");
    sync(&a, &b);
    erase(&a, 1, 0, 6);
    type(&b, 2, 3, "--");
    sync(&a, &b);
    CHECK(text_is(a.doc, "--"));
    CHECK(back(&a));
    CHECK(text_is(a.doc, "the--irs"));
    CHECK(again(&a));
    CHECK(text_is(a.doc, "--"));
    side_fini(&a);
    side_fini(&b);
}

TEST(what_two_deleted_comes_back_once)
{
    struct side a, b;

    side_init(&a, 1, MIB);
    side_init(&b, 2, MIB);
    type(&a, 1, 0, "one\ntwo\nsix\n");
    sync(&a, &b);
    erase(&a, 2, 4, 4);
    erase(&b, 2, 2, 8);
    sync(&a, &b);
    CHECK(text_is(a.doc, "onx\n"));
    CHECK(back(&a));
    sync(&a, &b);
    CHECK(text_is(b.doc, "ontwo\nx\n"));
    CHECK(back(&b));
    CHECK(text_is(b.doc, "one\ntwo\nsix\n"));
    sync(&a, &b);
    CHECK(text_is(a.doc, "one\ntwo\nsix\n"));
    side_fini(&a);
    side_fini(&b);
}

TEST(the_same_line_of_somebody_else_is_not_taken_for_mine)
{
    struct side a, b;

    side_init(&a, 1, MIB);
    side_init(&b, 2, MIB);
    type(&a, 1, 0, "x\n");
    sync(&a, &b);
    type(&b, 1, 0, "x\n");
    sync(&a, &b);
    erase(&a, 2, 2, 2);
    CHECK(text_is(a.doc, "x\n"));
    CHECK(back(&a));
    CHECK(text_is(a.doc, "x\nx\n"));
    side_fini(&a);
    side_fini(&b);
}

TEST(the_topmost_change_is_told)
{
    struct side a;
    size_t at = 99;

    side_init(&a, 1, MIB);
    type(&a, 1, 0, "one\ntwo\nsix\n");
    cv_undo_group(a.undo, 2);
    erase(&a, 2, 8, 1);
    type(&a, 2, 8, "S");
    erase(&a, 2, 4, 1);
    type(&a, 2, 4, "T");
    CHECK_EQ(step(&a, CV_UNDO_BACK, &at), CV_OK);
    CHECK(text_is(a.doc, "one\ntwo\nsix\n"));
    CHECK_EQ(at, 4);
    side_fini(&a);
}

TEST(the_oldest_groups_go_when_memory_is_full)
{
    struct side a;
    size_t most = 4096;

    side_init(&a, 1, most);
    for (uint64_t i = 0; i < 1000; i++) {
        type(&a, i, 0, "line\n");
        CHECK(cv_undo_held(a.undo) <= most);
    }
    CHECK(cv_undo_count(a.undo, CV_UNDO_BACK) > 5);
    CHECK(cv_undo_count(a.undo, CV_UNDO_BACK) < 1000);
    while (back(&a))
        CHECK(cv_undo_held(a.undo) <= most);
    CHECK(cv_doc_text_bytes(a.doc) > 0);
    /* One that is too large alone. */
    erase(&a, 5000, 0, cv_doc_text_bytes(a.doc));
    CHECK(text_is(a.doc, ""));
    CHECK_EQ(cv_undo_count(a.undo, CV_UNDO_BACK), 0);
    CHECK_EQ(cv_undo_held(a.undo), 0);
    CHECK(!back(&a));
    side_fini(&a);
}

TEST(bad_calls_change_nothing)
{
    struct side a;
    struct cv_undone at;

    side_init(&a, 1, MIB);
    CHECK_EQ(cv_undo_step(a.undo, CV_UNDO_BACK, NULL, NULL, &at),
             CV_ERR_INVALID);
    type(&a, 1, 0, "\xE2\x82\xAC");
    CHECK_EQ(cv_undo_insert(a.undo, 0, "x", 1), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_begin(a.doc), CV_OK);
    CHECK_EQ(cv_undo_delete(a.undo, 1, 2), CV_ERR_INVALID);
    CHECK_EQ(cv_undo_delete(a.undo, 0, 4), CV_ERR_INVALID);
    CHECK_EQ(cv_undo_insert(a.undo, 9, "x", 1), CV_ERR_INVALID);
    CHECK_EQ(cv_doc_commit(a.doc, NULL), CV_OK);
    CHECK(text_is(a.doc, "\xE2\x82\xAC"));
    CHECK(back(&a));
    CHECK(text_is(a.doc, ""));
    side_fini(&a);
}

/* ---- random histories ---- */

#define SIDES_MAX 4
#define CHARS_MAX 6000

static uint32_t chars; /* typed so far; character i is i-th of its kind */
static struct {
    unsigned typed_by;
    bool deleted_by[SIDES_MAX]; /* by an edit, not by undo */
} known[CHARS_MAX];

static size_t put_char(char *out, uint32_t i)
{
    uint32_t c = (i % 7 == 0 ? 0x20000 : 0x4E00) + i;
    uint8_t *o = (uint8_t *)out;

    if (c < 0x10000) {
        o[0] = (uint8_t)(0xE0 | c >> 12);
        o[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        o[2] = (uint8_t)(0x80 | (c & 0x3F));
        return 3;
    }
    o[0] = (uint8_t)(0xF0 | c >> 18);
    o[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
    o[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
    o[3] = (uint8_t)(0x80 | (c & 0x3F));
    return 4;
}

/* Number of the character at data[*at], which moves on. */
static uint32_t get_char(const uint8_t *data, size_t *at)
{
    const uint8_t *o = data + *at;

    if (o[0] < 0xF0) {
        *at += 3;
        return ((o[0] & 0x0Fu) << 12 | (o[1] & 0x3Fu) << 6 | (o[2] & 0x3Fu)) -
               0x4E00;
    }
    *at += 4;
    return ((o[0] & 7u) << 18 | (o[1] & 0x3Fu) << 12 | (o[2] & 0x3Fu) << 6 |
            (o[3] & 0x3Fu)) -
           0x20000;
}

static size_t border(const struct cv_doc *doc, size_t at)
{
    size_t units;

    while (cv_doc_bytes_to_units(doc, at, &units) != CV_OK)
        at--;
    return at;
}

static void random_edit(struct side *all, unsigned i, uint64_t group,
                        uint64_t *seed)
{
    struct side *s = &all[i];
    size_t total = cv_doc_text_bytes(s->doc);
    size_t at = border(s->doc, below(seed, total + 1));

    if (total > 0 && below(seed, 10) < 4) {
        size_t end = at + 1 + below(seed, below(seed, 5) == 0 ? 200 : 20);
        struct cv_writer w = heap_writer();

        end = border(s->doc, end > total ? total : end);
        if (end <= at)
            return;
        REQUIRE(cv_doc_read(s->doc, at, end - at, &w) == CV_OK);
        for (size_t k = 0; k < w.len;)
            known[get_char(w.data, &k)].deleted_by[i] = true;
        cv_writer_fini(&w);
        erase(s, group, at, end - at);
    } else {
        char text[64];
        size_t len = 0;

        for (unsigned n = 1 + below(seed, 8); n > 0 && chars < CHARS_MAX; n--) {
            known[chars].typed_by = i;
            len += put_char(text + len, chars++);
        }
        text[len] = 0;
        if (len > 0)
            type(s, group, at, text);
    }
}

/* The ids of visible characters that another client inserted. */
struct ids {
    struct cv_id *at;
    size_t n;
};

static struct ids ids_of_others(const struct side *s)
{
    struct cv_writer w = read_all(s->doc);
    struct ids out = {calloc(w.len + 1, sizeof(*out.at)), 0};

    REQUIRE(out.at != NULL);
    for (size_t at = 0; at < w.len;) {
        struct cv_id id;

        REQUIRE(cv_doc_author(s->doc, at, &id) == CV_OK);
        if (id.client != cv_doc_client(s->doc))
            out.at[out.n++] = id;
        (void)get_char(w.data, &at);
    }
    cv_writer_fini(&w);
    return out;
}

static void random_step(struct side *all, unsigned i, uint64_t *seed)
{
    struct side *s = &all[i];
    struct ids before = ids_of_others(s), after;
    struct cv_writer old = read_all(s->doc), new;
    bool *was = calloc(CHARS_MAX, sizeof(*was));

    REQUIRE(was != NULL);
    if (below(seed, 2))
        back(s);
    else
        again(s);
    /* Nothing of others went, came or moved. */
    after = ids_of_others(s);
    REQUIRE(before.n == after.n);
    for (size_t k = 0; k < before.n; k++)
        REQUIRE(before.at[k].client == after.at[k].client &&
                before.at[k].clock == after.at[k].clock);
    /* What came was ours, or deleted by us. */
    for (size_t k = 0; k < old.len;)
        was[get_char(old.data, &k)] = true;
    new = read_all(s->doc);
    for (size_t k = 0; k < new.len;) {
        uint32_t c = get_char(new.data, &k);

        REQUIRE(was[c] || known[c].typed_by == i || known[c].deleted_by[i]);
    }
    free(was);
    free(before.at);
    free(after.at);
    cv_writer_fini(&old);
    cv_writer_fini(&new);
}

static bool others_deleted(uint32_t c, unsigned i)
{
    for (unsigned k = 0; k < SIDES_MAX; k++)
        if (k != i && known[c].deleted_by[k])
            return true;
    return false;
}

static void sync_all(struct side *all, unsigned n)
{
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < n; i++)
            for (unsigned k = 0; k < n; k++)
                if (i != k)
                    send(&all[i], &all[k]);
}

/* Is no character there twice? */
static bool all_once(const struct side *s)
{
    struct cv_writer w = read_all(s->doc);
    bool *was = calloc(CHARS_MAX, sizeof(*was)), once = true;

    REQUIRE(was != NULL);
    for (size_t k = 0; k < w.len;) {
        uint32_t c = get_char(w.data, &k);

        once = once && !was[c];
        was[c] = true;
    }
    free(was);
    cv_writer_fini(&w);
    return once;
}

static void run_history(uint64_t seed)
{
    static struct side all[SIDES_MAX];
    uint64_t state = seed, group[SIDES_MAX] = {0};
    unsigned n = 2 + below(&state, SIDES_MAX - 1);
    unsigned steps = 20 + below(&state, 100);
    bool lockstep = below(&state, 4) == 0;

    chars = 0;
    memset(known, 0, sizeof(known));
    for (unsigned i = 0; i < n; i++)
        side_init(&all[i], 1 + next_random(&state) % UINT32_MAX, MIB);
    while (steps-- > 0) {
        unsigned i = below(&state, n), k = below(&state, n);

        switch (below(&state, 8)) {
        case 0:
        case 1:
        case 2:
            group[i] += below(&state, 3) == 0;
            random_edit(all, i, group[i], &state);
            break;
        case 3:
        case 4:
            random_step(all, i, &state);
            break;
        default:
            if (i != k)
                send(&all[i], &all[k]);
        }
        if (lockstep) {
            sync_all(all, n);
            /* With each knowing of the others nothing comes twice. */
            REQUIRE(all_once(&all[i]));
        }
    }
    sync_all(all, n);
    for (unsigned i = 0; i < n; i++) {
        struct cv_writer w;

        while (back(&all[i]))
            ;
        w = read_all(all[i].doc);
        for (size_t at = 0; at < w.len;) {
            struct cv_id id;
            uint32_t c;

            REQUIRE(cv_doc_author(all[i].doc, at, &id) == CV_OK);
            c = get_char(w.data, &at);
            /* Others put back what they deleted, as theirs; if we deleted
             * that in turn, it was not text of ours that came back. */
            REQUIRE(id.client != cv_doc_client(all[i].doc) ||
                    known[c].typed_by != i || others_deleted(c, i));
        }
        cv_writer_fini(&w);
    }
    sync_all(all, n);
    for (unsigned i = 0; i < n; i++) {
        struct cv_writer x = read_all(all[0].doc), y = read_all(all[i].doc);

        REQUIRE(cv_bytes_equal(cv_writer_bytes(&x), cv_writer_bytes(&y)));
        cv_writer_fini(&x);
        cv_writer_fini(&y);
    }
    for (unsigned i = 0; i < n; i++)
        side_fini(&all[i]);
}

static void each_seed(void (*run)(uint64_t seed), uint64_t n)
{
    const char *one = getenv("UNDO_SEED"), *runs = getenv("UNDO_RUNS");
    uint64_t seed = one ? strtoull(one, NULL, 10) : 1;

    if (runs != NULL)
        n = strtoull(runs, NULL, 10);
    if (one != NULL)
        n = 1;
    for (uint64_t i = 0; i < n; i++) {
        /* A failure aborts the test: the last line names its seed. */
        if (i % 100 == 0 || one != NULL || n < 500)
            print_message("seed %llu\n", (unsigned long long)(seed + i));
        run(seed + i);
    }
}

TEST(undo_touches_nothing_of_others_in_any_history)
{
    (void)test_state_;
    each_seed(run_history, 400);
}

/* One who is alone walks back and forth through the very same texts; what
 * somebody else writes below it stays. */
static void run_alone(uint64_t seed)
{
    enum { GROUPS = 24 };
    static struct side all[2];
    struct side *a = &all[0], *b = &all[1];
    struct cv_writer text[GROUPS + 1];
    uint64_t state = seed;
    bool company = below(&state, 2) == 0;
    unsigned now, n = 1 + below(&state, GROUPS), walk = 3 * n;

    chars = 0;
    memset(known, 0, sizeof(known));
    side_init(a, 1 + next_random(&state) % UINT32_MAX, MIB);
    side_init(b, 1 + next_random(&state) % UINT32_MAX, MIB);
    if (below(&state, 2) == 0) {
        for (unsigned i = 0; i < 8; i++)
            random_edit(all, 1, 1, &state);
        sync(a, b);
    }
    text[0] = read_all(a->doc);
    for (unsigned i = 1; i <= n; i++) {
        bool changed = false;

        while (!changed) {
            for (unsigned k = 1 + below(&state, 5); k > 0; k--)
                random_edit(all, 0, i, &state);
            text[i] = read_all(a->doc);
            changed = !cv_bytes_equal(cv_writer_bytes(&text[i]),
                                      cv_writer_bytes(&text[i - 1])) &&
                      cv_undo_count(a->undo, CV_UNDO_BACK) == i;
            if (!changed)
                cv_writer_fini(&text[i]);
        }
    }
    for (now = n; walk > 0; walk--) {
        bool down = walk > 2 * n || (walk <= n && below(&state, 2) == 0);
        struct cv_writer w;

        if (down ? now == 0 : now == n)
            continue;
        REQUIRE(down ? back(a) : again(a));
        now = down ? now - 1 : now + 1;
        w = read_all(a->doc);
        REQUIRE(
            cv_bytes_equal(cv_writer_bytes(&w), cv_writer_bytes(&text[now])));
        cv_writer_fini(&w);
        if (company) { /* whoever hears of it has the same */
            sync(a, b);
            REQUIRE(mirror_equals(&b->mirror, a->doc));
        }
    }
    for (unsigned i = 0; i <= n; i++)
        cv_writer_fini(&text[i]);
    side_fini(a);
    side_fini(b);
}

TEST(one_who_is_alone_gets_the_very_same_texts_again)
{
    (void)test_state_;
    each_seed(run_alone, 1000);
}

RUN_TESTS(T(one_group_is_one_undo),
          T(an_edit_ends_what_could_be_redone_and_undo_ends_a_group),
          T(text_of_others_inside_mine_stays), T(redo_outlives_edits_of_others),
          T(deleted_text_of_others_comes_back_around_what_came_into_it),
          T(what_two_deleted_comes_back_once),
          T(the_same_line_of_somebody_else_is_not_taken_for_mine),
          T(the_topmost_change_is_told),
          T(the_oldest_groups_go_when_memory_is_full),
          T(bad_calls_change_nothing),
          T(undo_touches_nothing_of_others_in_any_history),
          T(one_who_is_alone_gets_the_very_same_texts_again))
