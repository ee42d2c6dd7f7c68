/* The mirror between a document and an editor that obeys docs/editor.md, with
 * messages of both on the way at the same time. */
#include "tests/test.h"

#include "base/crypto.h"
#include "cli/mirror.h"
#include "cli/textbuf.h"

#define QUEUE 4096

struct message { /* on its way to the editor */
    bool is_eol, eol, joined;
    uint64_t erev;
    struct cv_mirror_range range;
    char *text;
    size_t len;
};

/* The editor: its text is `lines` joined by LF, without the last one. */
struct editor {
    struct cv_textbuf text;
    bool eol;
    uint64_t rev, erev;
};

struct change { /* on its way to the mirror */
    struct cv_mirror_change c;
    struct cv_bytes lines[8];
    char *storage;
};

struct world {
    struct cv_textbuf document;
    struct cv_mirror *mirror;
    struct editor editor;
    struct message down[QUEUE];
    size_t down_first, down_n;
    struct change up[QUEUE];
    size_t up_first, up_n;
    unsigned dropped, applied;
    size_t last_at; /* of the last splice of the document */
};

static struct cv_rng_seeded state;
static struct cv_rng rng;

static size_t below(size_t n)
{
    return n ? (size_t)(cv_random_u64(&rng) % n) : 0;
}

static int on_splice(void *user, size_t at, size_t deleted,
                     struct cv_bytes inserted)
{
    struct world *w = user;

    w->last_at = at;
    return cv_textbuf_splice(&w->document, at, deleted, inserted);
}

static struct message *queue_down(struct world *w)
{
    REQUIRE(w->down_first + w->down_n < QUEUE);
    return &w->down[w->down_first + w->down_n++];
}

static void on_edit(void *user, const struct cv_mirror_edit *edit)
{
    struct message *m = queue_down(user);

    *m = (struct message){
        .erev = edit->erev, .range = edit->range, .joined = edit->joined};
    m->text = malloc(edit->text.len + 1);
    m->len = edit->text.len;
    if (m->len)
        memcpy(m->text, edit->text.data, m->len);
}

static void on_eol(void *user, bool eol)
{
    *queue_down(user) = (struct message){.is_eol = true, .eol = eol};
}

static const struct cv_mirror_events events = {on_splice, on_edit, on_eol};

static void open_world(struct world *w, const char *text, bool eol)
{
    size_t len = strlen(text);

    memset(w, 0, sizeof(*w));
    cv_textbuf_init(&w->document);
    cv_textbuf_init(&w->editor.text);
    REQUIRE(cv_textbuf_splice(&w->document, 0, 0, CV_BYTES(text, len)) ==
            CV_OK);
    w->editor.eol = len ? text[len - 1] == '\n' : eol;
    if (len && text[len - 1] == '\n')
        len--;
    REQUIRE(cv_textbuf_splice(&w->editor.text, 0, 0, CV_BYTES(text, len)) ==
            CV_OK);
    REQUIRE(cv_mirror_new(&w->mirror,
                          CV_BYTES(w->document.data, w->document.len), eol,
                          &events, w) == CV_OK);
}

static void close_world(struct world *w)
{
    cv_mirror_free(w->mirror);
    cv_textbuf_fini(&w->document);
    cv_textbuf_fini(&w->editor.text);
}

/* Deliver one message to the editor. */
static void step_down(struct world *w)
{
    struct message m;
    size_t start, end;

    if (!w->down_n)
        return;
    m = w->down[w->down_first++];
    if (!--w->down_n)
        w->down_first = 0;
    if (m.is_eol) {
        w->editor.eol = m.eol;
        return;
    }
    if (m.erev != w->editor.erev) {
        w->dropped++;
    } else {
        struct cv_textbuf *t = &w->editor.text;

        start = cv_textbuf_line_start(t, m.range.line - 1) + m.range.column;
        end =
            cv_textbuf_line_start(t, m.range.end_line - 1) + m.range.end_column;
        REQUIRE(start <= end && end <= t->len);
        REQUIRE(cv_textbuf_splice(t, start, end - start,
                                  CV_BYTES(m.text, m.len)) == CV_OK);
        w->editor.rev++;
        w->applied++;
    }
    free(m.text);
}

static void step_up(struct world *w)
{
    struct change *c;

    if (!w->up_n)
        return;
    c = &w->up[w->up_first++];
    w->up_n--;
    c->c.lines = c->lines;
    REQUIRE(cv_mirror_change(w->mirror, &c->c) == CV_OK);
    free(c->storage);
    if (!w->up_n)
        w->up_first = 0;
}

/* Replace `gone` lines from line `lo` (from 1) by lines[n]. */
static void edit_lines(struct world *w, size_t lo, size_t gone,
                       const char *const *lines, size_t n, size_t cursor_line,
                       size_t cursor_column)
{
    struct cv_textbuf *t = &w->editor.text;
    size_t count = t->newlines + 1, used = 0;
    struct change *c = &w->up[w->up_first + w->up_n];
    struct cv_writer now;

    REQUIRE(w->up_first + w->up_n < QUEUE && n <= 8);
    w->up_n++;
    memset(c, 0, sizeof(*c));
    c->storage = malloc(256);
    cv_writer_init_heap(&now, 1 << 20);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(lines[i]);

        memcpy(c->storage + used, lines[i], len);
        c->lines[i] = CV_BYTES(c->storage + used, len);
        used += len;
    }
    /* The new buffer, as an editor would hold it. */
    for (size_t i = 1; i <= count + 1; i++) {
        if (i == lo)
            for (size_t k = 0; k < n; k++) {
                cv_put_raw(&now, lines[k], strlen(lines[k]));
                cv_put_u8(&now, '\n');
            }
        if (i <= count && (i < lo || i >= lo + gone)) {
            size_t at = cv_textbuf_line_start(t, i - 1);
            size_t end = cv_textbuf_line_start(t, i) - 1;

            cv_put_raw(&now, t->data + at, end - at);
            cv_put_u8(&now, '\n');
        }
    }
    if (!now.len) { /* everything was deleted: one empty line is left */
        cv_put_u8(&now, '\n');
        c->c.n_lines = 1;
    }
    REQUIRE(now.err == CV_OK);
    c->c.rev = w->editor.rev;
    c->c.lo = lo;
    c->c.tail = count + 1 - lo - gone;
    if (n)
        c->c.n_lines = n;
    if (cursor_line) {
        c->c.has_cursor = true;
        c->c.cursor_line = cursor_line;
        c->c.cursor_column = cursor_column;
    }
    REQUIRE(cv_textbuf_splice(t, 0, t->len, CV_BYTES(now.data, now.len - 1)) ==
            CV_OK);
    cv_writer_fini(&now);
    w->editor.erev++;
}

static void settle(struct world *w)
{
    while (w->up_n || w->down_n) {
        step_up(w);
        step_down(w);
    }
    REQUIRE(cv_mirror_ack(w->mirror, w->editor.rev) == CV_OK);
}

/* What the editor's buffer stands for is the document. */
static bool same(const struct world *w)
{
    const struct cv_textbuf *d = &w->document, *e = &w->editor.text;
    struct cv_bytes m = cv_mirror_text(w->mirror);
    size_t shown = d->len - (d->len && d->data[d->len - 1] == '\n' ? 1 : 0);

    return m.len == d->len && (!m.len || !memcmp(m.data, d->data, m.len)) &&
           e->len == shown && (!shown || !memcmp(e->data, d->data, shown)) &&
           (!d->len || w->editor.eol == (d->data[d->len - 1] == '\n'));
}

static const char *const words[] = {"",          "a",  "b",  "ab",
                                    "aaa",       "é",  "日", "\xF0\x9F\x98\x80",
                                    "two words", "  ", "éé"};
#define WORDS (sizeof(words) / sizeof(words[0]))

static void random_local(struct world *w)
{
    size_t count = w->editor.text.newlines + 1;
    size_t lo = 1 + below(count + 1), gone, n = below(4);
    const char *lines[4];

    gone = below(4);
    if (gone > count + 1 - lo)
        gone = count + 1 - lo;
    for (size_t i = 0; i < n; i++)
        lines[i] = words[below(WORDS)];
    if (!n && !gone)
        return;
    edit_lines(w, lo, gone, lines, n, below(2) ? lo : 0, below(3));
}

static bool is_border(const struct cv_textbuf *t, size_t at)
{
    return at == t->len || ((uint8_t)t->data[at] & 0xc0) != 0x80;
}

/* A change of the document, which the mirror is not told. */
static bool change_document(struct world *w, size_t *from, size_t *gone,
                            const char **text)
{
    static const char *const more[] = {"",     "\n",         "x",
                                       "日\n", "one\ntwo\n", "\n\n"};
    struct cv_textbuf *d = &w->document;
    size_t at = below(d->len + 1), end;

    *text = more[below(6)];
    while (!is_border(d, at))
        at--;
    end = at + below(d->len - at < 8 ? d->len - at + 1 : 8);
    while (!is_border(d, end))
        end++;
    if (below(20) == 0) /* all of it */
        at = 0, end = d->len;
    *from = at;
    *gone = end - at;
    if (at == end && !**text)
        return false;
    REQUIRE(cv_textbuf_splice(d, at, *gone, CV_BYTES(*text, strlen(*text))) ==
            CV_OK);
    return true;
}

static void random_remote(struct world *w)
{
    size_t at, gone;
    const char *text;

    if (change_document(w, &at, &gone, &text))
        REQUIRE(cv_mirror_remote(w->mirror, at, gone,
                                 CV_BYTES(text, strlen(text))) == CV_OK);
}

static int join(struct world *w)
{
    return cv_mirror_join(w->mirror,
                          CV_BYTES(w->document.data, w->document.len));
}

/* Several at once, told as one. */
static void random_join(struct world *w)
{
    size_t at, gone;
    const char *text;

    for (size_t n = below(4); n > 0; n--)
        (void)change_document(w, &at, &gone, &text);
    REQUIRE(join(w) == CV_OK);
}

TEST(editor_and_document_meet_whatever_crosses)
{
    uint64_t seed = cv_random_u64(&cv_rng_system);
    static struct world w;
    unsigned dropped = 0, applied = 0;

    rng = cv_rng_from_seed(&state, seed);
    for (int round = 0; round < 2000; round++) {
        static const char *const starts[] = {
            "", "\n", "a", "a\n", "a\nb\nc\n", "a\n\nb", "日\né\n"};

        open_world(&w, starts[below(7)], below(2));
        for (int i = 0; i < 60; i++) {
            switch (below(6)) {
            case 0:
                random_local(&w);
                break;
            case 1:
                if (below(3))
                    random_remote(&w);
                else
                    random_join(&w);
                break;
            case 2:
            case 3:
                step_up(&w);
                break;
            default:
                step_down(&w);
            }
        }
        settle(&w);
        if (!same(&w))
            print_error("seed %llu, round %d\n  document \"%.*s\"\n  editor "
                        "\"%.*s\" eol %d\n",
                        (unsigned long long)seed, round, (int)w.document.len,
                        w.document.data, (int)w.editor.text.len,
                        w.editor.text.data, w.editor.eol);
        CHECK(same(&w));
        CHECK(cv_mirror_in_step(w.mirror));
        dropped += w.dropped;
        applied += w.applied;
        close_world(&w);
    }
    CHECK(dropped > 1000 && applied > 1000); /* both paths were walked */
}

TEST(the_cursor_says_where_a_repeated_letter_was_typed)
{
    static struct world w;

    open_world(&w, "aaa\n", true);
    /* Typed at column 1: the cursor is then at 2. */
    edit_lines(&w, 1, 1, (const char *const[]){"aaaa"}, 1, 1, 2);
    step_up(&w);
    CHECK(same(&w));
    CHECK_EQ(w.last_at, 1);
    /* `x` on the third letter: the cursor stays on it. */
    edit_lines(&w, 1, 1, (const char *const[]){"aaa"}, 1, 1, 2);
    step_up(&w);
    CHECK(same(&w));
    CHECK_EQ(w.last_at, 2);
    close_world(&w);
}

TEST(what_cannot_be_is_refused_and_changes_nothing)
{
    static struct world w;
    struct cv_bytes bad = CV_LITERAL("a\nb"), good = CV_LITERAL("x");
    struct cv_mirror_change c = {.lo = 1, .lines = &bad, .n_lines = 1};

    open_world(&w, "one\ntwo\n", true);
    c.tail = 1;
    CHECK_EQ(cv_mirror_change(w.mirror, &c), CV_ERR_FORMAT);
    bad = CV_LITERAL("\xff");
    CHECK_EQ(cv_mirror_change(w.mirror, &c), CV_ERR_FORMAT);
    c.lines = &good;
    c.lo = 0;
    CHECK_EQ(cv_mirror_change(w.mirror, &c), CV_ERR_INVALID);
    c.lo = 4;
    c.tail = 0;
    CHECK_EQ(cv_mirror_change(w.mirror, &c), CV_ERR_INVALID);
    c.lo = 2;
    c.tail = 2;
    CHECK_EQ(cv_mirror_change(w.mirror, &c), CV_ERR_INVALID);
    c.tail = SIZE_MAX;
    CHECK_EQ(cv_mirror_change(w.mirror, &c), CV_ERR_INVALID);
    c.tail = 1;
    c.rev = 1;
    CHECK_EQ(cv_mirror_change(w.mirror, &c), CV_ERR_INVALID);
    CHECK_EQ(cv_mirror_erev(w.mirror), 0);
    CHECK(same(&w));
    c.rev = 0;
    CHECK_EQ(cv_mirror_change(w.mirror, &c), CV_OK);
    /* lo 2, tail 1 of two lines: inserted between them. */
    CHECK_EQ(w.document.len, strlen("one\nx\ntwo\n"));
    CHECK_MEM(w.document.data, "one\nx\ntwo\n", w.document.len);
    close_world(&w);
}

TEST(places_follow_unconfirmed_edits)
{
    static struct world w;
    size_t at, line, column;

    open_world(&w, "one\ntwo\n", true);
    REQUIRE(cv_textbuf_splice(&w.document, 0, 0, CV_LITERAL("zero\n")) ==
            CV_OK);
    CHECK_EQ(cv_mirror_remote(w.mirror, 0, 0, CV_LITERAL("zero\n")), CV_OK);
    /* The editor, which has not seen it, is on "two", column 1. */
    CHECK_EQ(cv_mirror_offset(w.mirror, 0, 2, 1, &at), CV_OK);
    CHECK_EQ(at, 10);
    cv_mirror_place(w.mirror, at, &line, &column);
    CHECK_EQ(line, 3);
    CHECK_EQ(column, 1);
    CHECK_EQ(cv_mirror_offset(w.mirror, 0, 99, 99, &at), CV_OK);
    CHECK_EQ(at, 12);
    settle(&w);
    close_world(&w);
}

TEST(what_is_typed_between_joined_changes_stays_there)
{
    static struct world w;
    const char *want = "ONE\ntwo, typed\nTHREE\n";
    size_t at;

    open_world(&w, "one\ntwo\nthree\n", true);
    REQUIRE(cv_textbuf_splice(&w.document, 0, 3, CV_LITERAL("ONE")) == CV_OK);
    REQUIRE(cv_textbuf_splice(&w.document, 8, 5, CV_LITERAL("THREE")) == CV_OK);
    CHECK_EQ(join(&w), CV_OK);
    CHECK_EQ(w.down_n, 1);
    CHECK_EQ(w.down[0].joined, 1);
    /* So does a place there. */
    CHECK_EQ(cv_mirror_offset(w.mirror, 0, 2, 2, &at), CV_OK);
    CHECK_EQ(at, 6);
    edit_lines(&w, 2, 1, (const char *const[]){"two, typed"}, 1, 0, 0);
    step_up(&w); /* the edit is on its way again */
    CHECK_EQ(w.down_n, 2);
    CHECK_EQ(w.down[1].joined, 1);
    settle(&w);
    CHECK(same(&w));
    CHECK_EQ(w.document.len, strlen(want));
    CHECK(!memcmp(w.document.data, want, strlen(want)));
    /* Nothing differs: nothing is sent. */
    CHECK_EQ(join(&w), CV_OK);
    CHECK_EQ(w.down_n, 0);
    close_world(&w);
}

RUN_TESTS(T(editor_and_document_meet_whatever_crosses),
          T(the_cursor_says_where_a_repeated_letter_was_typed),
          T(what_cannot_be_is_refused_and_changes_nothing),
          T(places_follow_unconfirmed_edits),
          T(what_is_typed_between_joined_changes_stays_there))
