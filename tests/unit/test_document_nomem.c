/* Every allocation of a small session of two documents fails once.  Nothing
 * crashes or leaks, and when there is memory again the two have the same text,
 * with every edit in it that was accepted. */
#include "tests/test.h"
#include "tests/unit/nomem.h"

#include "session/document_impl.h"
#include "session/textdiff.h"

/* ---- two documents and a wire that allocates nothing ---- */

#define BOX 64

struct side {
    struct cv_document *d;
    struct cv_document_link *link;
    struct cv_keypair identity;
    unsigned head, tail; /* of what it sent */
    struct {
        size_t len;
        uint8_t data[CV_DOCUMENT_MESSAGE_MAX];
    } box[BOX];
};

static struct side sides[2];
static cv_time now;
static struct cv_rng_seeded seeded;
static struct cv_rng rng;

static cv_time get_now(void *user)
{
    (void)user;
    return now;
}

static int send_box(void *user, struct cv_bytes message)
{
    struct side *s = user;

    if (s->tail - s->head == BOX)
        return CV_ERR_AGAIN;
    s->box[s->tail % BOX].len = message.len;
    memcpy(s->box[s->tail % BOX].data, message.data, message.len);
    s->tail++;
    return CV_OK;
}

/* Only what may be said of a lack of memory. */
static int allowed(int err)
{
    if (err != CV_OK && err != CV_ERR_NOMEM && err != CV_ERR_NOBUF)
        print_error("error %d\n", err);
    REQUIRE(err == CV_OK || err == CV_ERR_NOMEM || err == CV_ERR_NOBUF);
    return err;
}

static int open_side(struct side *s)
{
    const struct cv_document_config c = {
        .id = 1,
        .meta = {.path = "f", .ff = "unix", .fenc = "utf-8"},
        .identity = &s->identity,
        .role = CV_ROLE_EDITOR,
        .name = "n",
        .rng = &rng,
        .now = get_now,
    };

    return cv_document_new(&s->d, &c);
}

static void unlink_both(void)
{
    for (int i = 0; i < 2; i++) {
        cv_document_link_free(sides[i].link);
        sides[i].link = NULL;
        sides[i].head = sides[i].tail = 0;
    }
}

static int link_both(void)
{
    int err = CV_OK;

    for (int i = 0; i < 2 && err == CV_OK; i++) {
        const struct cv_document_link_config c = {.member = 1,
                                                  .role = CV_ROLE_EDITOR,
                                                  .send = send_box,
                                                  .user = &sides[i]};

        err = cv_document_link_new(&sides[i].link, sides[i].d, &c);
    }
    if (err != CV_OK)
        unlink_both();
    return err;
}

/* An error ends the connection, as the session would. */
static int deliver(void)
{
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 2; i++) {
            struct side *from = &sides[i], *to = &sides[1 - i];

            while (from->link && to->link && from->head != from->tail) {
                const unsigned at = from->head++ % BOX;
                int err = cv_document_link_input(
                    to->link, CV_BYTES(from->box[at].data, from->box[at].len));

                if (err != CV_OK) {
                    unlink_both();
                    return err;
                }
                cv_document_link_writable(from->link);
            }
        }
        now += 500 * CV_MILLISECOND;
        for (int i = 0; i < 2; i++)
            if (sides[i].d)
                cv_document_step(sides[i].d, now);
    }
    return CV_OK;
}

/* Type `len` bytes in the middle; true if all of it is in. */
static bool type(struct side *s, const char *text, size_t len)
{
    const size_t size = cv_doc_text_bytes(cv_document_text(s->d));
    const struct cv_presence_range r = {size / 2, 0};
    uint64_t seq;
    bool in;

    if (allowed(cv_document_begin(s->d)) != CV_OK)
        return false;
    in = allowed(cv_document_insert(s->d, size / 2, text, len)) == CV_OK;
    (void)allowed(cv_document_commit(s->d, &seq));
    cv_document_set_cursor(s->d, 1, &r, "i");
    return in;
}

static void read_text(const struct side *s, struct cv_writer *w)
{
    const struct cv_doc *doc = cv_document_text(s->d);

    cv_writer_init_heap(w, 1u << 20);
    REQUIRE(cv_doc_read(doc, 0, cv_doc_text_bytes(doc), w) == CV_OK);
}

static size_t count(const struct cv_writer *w, uint8_t what)
{
    size_t n = 0;

    for (size_t i = 0; i < w->len; i++)
        n += w->data[i] == what;
    return n;
}

/* Returns false when the scenario has fewer allocations than `nth`. */
static bool scenario(unsigned long nth)
{
    static char long_text[3000];
    size_t typed[2] = {0, 0};
    struct cv_writer a, b;
    uint64_t commits, kept, shared;

    memset(long_text, 'a', sizeof(long_text));
    memset(sides, 0, sizeof(sides));
    rng = cv_rng_from_seed(&seeded, 5);
    now = CV_SECOND;
    for (int i = 0; i < 2; i++) {
        const uint8_t seed[CV_KEY_LEN] = {(uint8_t)(i + 1)};

        REQUIRE(cv_keypair_from_seed(&sides[i].identity, seed) == CV_OK);
    }
    arm(nth);
    for (int i = 0; i < 2; i++)
        if (allowed(open_side(&sides[i])) != CV_OK)
            goto done;
    if (allowed(cv_document_seed(sides[0].d, CV_LITERAL("seed\n"))) == CV_OK)
        (void)type(&sides[0], "", 0);
    if (allowed(link_both()) == CV_OK)
        (void)allowed(deliver());
    typed[0] +=
        type(&sides[0], long_text, sizeof(long_text)) ? sizeof(long_text) : 0;
    (void)allowed(deliver());
    typed[1] += type(&sides[1], "b", 1);
    typed[0] += type(&sides[0], "a", 1);
    (void)allowed(deliver());
    typed[1] += type(&sides[1], "bb", 2) ? 2 : 0;
    (void)allowed(deliver());

done:
    (void)disarm();
    if (sides[0].d && sides[1].d) {
        if (sides[0].link) /* it may have to help itself */
            REQUIRE(deliver() == CV_OK);
        else
            REQUIRE(link_both() == CV_OK && deliver() == CV_OK);
        read_text(&sides[0], &a);
        read_text(&sides[1], &b);
        if (a.len != b.len)
            print_error("allocation %ld: %zu and %zu bytes\n", nth, a.len,
                        b.len);
        REQUIRE(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
        REQUIRE(count(&a, 'a') >= typed[0] && count(&a, 'b') >= typed[1]);
        cv_writer_fini(&a);
        cv_writer_fini(&b);
        for (int i = 0; i < 2; i++) {
            cv_document_counts(sides[i].d, &commits, &kept, &shared);
            REQUIRE(kept == commits && shared == commits);
        }
    }
    unlink_both();
    for (int i = 0; i < 2; i++)
        cv_document_free(sides[i].d);
    return one_failed;
}

TEST(every_allocation_of_two_documents_fails_once)
{
    unsigned long n = 1;

    while (scenario(n))
        n++;
    print_message("%lu allocations\n", n - 1);
    CHECK(n > 50);
}

static void ignore(void *user, size_t at, size_t deleted, struct cv_bytes ins)
{
    (void)user, (void)at, (void)deleted, (void)ins;
}

TEST(a_difference_without_memory_is_an_error)
{
    const struct cv_bytes a = CV_LITERAL("one\ntwo\nthree\nfour\n");
    const struct cv_bytes b = CV_LITERAL("one\n2two\nthre\nfour\nfive");
    unsigned long n = 1;
    int err;

    do {
        arm(n);
        err = cv_textdiff(a, b, ignore, NULL);
        CHECK_EQ(err, disarm() ? CV_ERR_NOMEM : CV_OK);
        n++;
    } while (one_failed);
    CHECK(n > 10);
}

RUN_TESTS(T(every_allocation_of_two_documents_fails_once),
          T(a_difference_without_memory_is_an_error))
