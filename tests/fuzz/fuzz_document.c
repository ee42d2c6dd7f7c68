/* Messages on the link of a document, as the network drives it.
 *
 *   input := u8 flags, (u16 length, message)*
 *
 * flags: 1 the neighbour may not write, 2 we may not, 4 the stream is full at
 * times, 8 a friend is connected too, who has signed for client id 99 and
 * written "friend\n".  Whatever comes, an honest neighbour has the same text
 * afterwards, and no other text shows as the friend's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "session/claims.h"
#include "session/document_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static cv_time now;
static unsigned sends;

static cv_time get_now(void *user)
{
    (void)user;
    return now;
}

static int send_nowhere(void *user, struct cv_bytes message)
{
    const uint8_t *flags = user;

    if (message.len > CV_DOCUMENT_MESSAGE_MAX)
        abort();
    return (*flags & 4) && ++sends % 3 == 0 ? CV_ERR_AGAIN : CV_OK;
}

static uint8_t no_flags;

/* A pipe between the document under test and an honest one. */
struct pipe {
    struct cv_writer w;
};

static int send_pipe(void *user, struct cv_bytes message)
{
    struct pipe *p = user;

    cv_put_u32(&p->w, (uint32_t)message.len);
    return cv_put_raw(&p->w, message.data, message.len) == CV_OK
               ? CV_OK
               : CV_ERR_CLOSED;
}

static void deliver(struct pipe *p, struct cv_document_link *to)
{
    struct cv_writer w = p->w;
    struct cv_reader r;

    cv_writer_init_heap(&p->w, 64u << 20);
    cv_reader_init(&r, w.data, w.len);
    while (cv_reader_left(&r)) {
        uint32_t len = cv_get_u32(&r);
        int err = cv_document_link_input(to, cv_get_bytes(&r, len));

        if (err != CV_OK && err != CV_ERR_NOMEM)
            abort();
    }
    cv_writer_fini(&w);
}

static void on_presence(void *user, const struct cv_presence *p)
{
    const struct cv_document *d = user;
    size_t size = cv_doc_text_bytes(cv_document_text(d));

    if (strlen(p->name) >= CV_NAME_MAX_TEXT || p->colour < 1 || p->colour > 8)
        abort();
    for (unsigned i = 0; i < p->n_ranges; i++)
        if (p->ranges[i].anchor > size || p->ranges[i].head > size)
            abort();
}

/* ---- the friend ---- */

static const struct cv_key friend_node = {{7}};
static const char friend_text[] = "friend\n";

static void put_message(struct cv_document_link *link, uint64_t kind,
                        struct cv_bytes body)
{
    struct cv_writer w;

    cv_writer_init_heap(&w, 4096);
    cv_put_varuint(&w, kind);
    cv_put_raw(&w, body.data, body.len);
    if (cv_document_link_input(link, cv_writer_bytes(&w)) != CV_OK)
        abort();
    cv_writer_fini(&w);
}

/* The claim and the text of the friend come over a link of its own. */
static struct cv_document_link *meet_friend(struct cv_document *d,
                                            struct cv_keypair *identity)
{
    const uint8_t seed[CV_KEY_LEN] = {9};
    const struct cv_key session = {{0}};
    struct cv_document_link *link;
    struct cv_claims *claims;
    struct cv_claim claim;
    struct cv_writer w, update;
    struct cv_doc *doc;

    cv_writer_init_heap(&w, 4096);
    cv_writer_init_heap(&update, 4096);
    if (cv_keypair_from_seed(identity, seed) != CV_OK ||
        cv_claims_new(&claims, &session, 1) != CV_OK ||
        cv_claims_sign(claims, &claim, identity, &friend_node, 99) != CV_OK ||
        cv_put_claim(&w, &claim) != CV_OK ||
        cv_doc_new(&doc, 99, NULL) != CV_OK)
        abort();
    const struct cv_document_link_config config = {.member = 9,
                                                   .identity = identity->pub,
                                                   .node = friend_node,
                                                   .role = CV_ROLE_EDITOR,
                                                   .send = send_nowhere,
                                                   .user = &no_flags};

    if (cv_document_link_new(&link, d, &config) != CV_OK)
        abort();
    put_message(link, 68, cv_writer_bytes(&w));
    if (cv_doc_begin(doc) != CV_OK ||
        cv_doc_insert(doc, 0, friend_text, sizeof(friend_text) - 1) != CV_OK ||
        cv_doc_commit(doc, &update) != CV_OK)
        abort();
    cv_writer_reset(&w);
    cv_put_varuint(&w, 2);
    if (cv_put_varbytes(&w, update.data, update.len) != CV_OK)
        abort();
    put_message(link, 0, cv_writer_bytes(&w));
    cv_claims_free(claims);
    cv_doc_free(doc);
    cv_writer_fini(&w);
    cv_writer_fini(&update);
    return link;
}

struct attributed {
    const struct cv_document *d;
    const struct cv_key *friend;
    size_t at, from; /* in the text, and in what the friend wrote */
};

static bool check_author(void *user, const struct cv_author *who, size_t bytes)
{
    struct attributed *x = user;
    uint8_t text[sizeof(friend_text)];
    struct cv_writer w;

    if (who->known && cv_key_equal(&who->identity, x->friend)) {
        if (bytes >= sizeof(friend_text))
            abort();
        cv_writer_init(&w, text, sizeof(text));
        if (cv_doc_read(cv_document_text(x->d), x->at, bytes, &w) != CV_OK)
            abort();
        /* What others left of it, in its order. */
        for (size_t i = 0; i < bytes; i++)
            while (friend_text[x->from++] != (char)text[i])
                if (x->from + 1 >= sizeof(friend_text))
                    abort();
    }
    x->at += bytes;
    return true;
}

static void check_friend(const struct cv_document *d,
                         const struct cv_key *identity)
{
    struct attributed x = {.d = d, .friend = identity};

    if (cv_document_authors(d, 0, cv_doc_text_bytes(cv_document_text(d)),
                            check_author, &x) != CV_OK)
        abort();
}

static void revert_friend(struct cv_document *d, const struct cv_key *identity)
{
    struct cv_reverted out;
    uint64_t seq;
    int err = cv_document_revert(d, identity, 1, false, &out, &seq);

    if (err != CV_OK && err != CV_ERR_NOTFOUND && err != CV_ERR_DENIED)
        abort();
}

static struct cv_document *make(enum cv_role role, const struct cv_rng *rng)
{
    const struct cv_document_config c = {
        .id = 1,
        .meta = {.path = "f", .ff = "unix", .fenc = "utf-8"},
        .role = role,
        .name = "n",
        .rng = rng,
        .now = get_now,
    };
    struct cv_document *d;

    if (cv_document_new(&d, &c) != CV_OK)
        abort();
    return d;
}

static void read_text(const struct cv_document *d, struct cv_writer *w)
{
    const struct cv_doc *doc = cv_document_text(d);

    cv_writer_init_heap(w, 64u << 20);
    if (cv_doc_read(doc, 0, cv_doc_text_bytes(doc), w) != CV_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv_rng_seeded seeded;
    const struct cv_rng rng = cv_rng_from_seed(&seeded, 1);
    struct cv_document *d, *other;
    struct cv_document_link *link = NULL, *ours, *theirs, *friend = NULL;
    struct cv_keypair identity = {.pub = {{0}}};
    struct pipe there, back;
    struct cv_writer a, b;
    struct cv_reader r;
    uint8_t flags;

    if (size < 1)
        return 0;
    now = CV_SECOND;
    sends = 0;
    flags = data[0];
    d = make(flags & 2 ? CV_ROLE_VIEWER : CV_ROLE_HOST, &rng);
    if (cv_document_seed(d, CV_LITERAL("some text\nand more\n")) != CV_OK)
        abort();
    const struct cv_document_link_config hostile = {
        .member = 1,
        .identity = {{66}},
        .node = {{67}},
        .role = flags & 1 ? CV_ROLE_VIEWER : CV_ROLE_EDITOR,
        .send = send_nowhere,
        .user = &flags};

    if (cv_document_link_new(&link, d, &hostile) != CV_OK)
        abort();
    if (flags & 8)
        friend = meet_friend(d, &identity);
    cv_reader_init(&r, data + 1, size - 1);
    while (cv_reader_left(&r) >= 2) {
        size_t len = cv_get_u16(&r);

        if (len > cv_reader_left(&r))
            len = cv_reader_left(&r);
        if (cv_document_link_input(link, cv_get_bytes(&r, len)) != CV_OK)
            break;
        now += 20 * CV_MILLISECOND;
        cv_document_link_writable(link);
        cv_document_step(d, now);
    }
    cv_document_presence(d, on_presence, d);
    if (flags & 8) {
        check_friend(d, &identity.pub);
        revert_friend(d, &identity.pub);
        check_friend(d, &identity.pub);
    }
    cv_document_link_free(link);
    cv_document_link_free(friend);

    /* An honest neighbour gets the same text of it. */
    other = make(CV_ROLE_EDITOR, &rng);
    cv_writer_init_heap(&there.w, 64u << 20);
    cv_writer_init_heap(&back.w, 64u << 20);
    const struct cv_document_link_config c1 = {
        .member = 2, .role = CV_ROLE_EDITOR, .send = send_pipe, .user = &there};
    const struct cv_document_link_config c2 = {
        .member = 1, .role = CV_ROLE_HOST, .send = send_pipe, .user = &back};

    if (cv_document_link_new(&ours, d, &c1) != CV_OK ||
        cv_document_link_new(&theirs, other, &c2) != CV_OK)
        abort();
    for (int i = 0; i < 3; i++) {
        deliver(&there, theirs);
        deliver(&back, ours);
        now += CV_SECOND;
        cv_document_step(d, now);
        cv_document_step(other, now);
    }
    if (!(flags & 2)) {
        read_text(d, &a);
        read_text(other, &b);
        if (a.len != b.len || (a.len && memcmp(a.data, b.data, a.len) != 0))
            abort();
        cv_writer_fini(&a);
        cv_writer_fini(&b);
    }
    cv_document_link_free(ours);
    cv_document_link_free(theirs);
    cv_writer_fini(&there.w);
    cv_writer_fini(&back.w);
    cv_document_free(d);
    cv_document_free(other);
    return 0;
}
