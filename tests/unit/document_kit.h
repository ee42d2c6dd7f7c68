/* tests/unit/document_kit.h - documents linked in memory, for tests. */
#ifndef CV_TESTS_DOCUMENT_KIT_H
#define CV_TESTS_DOCUMENT_KIT_H
#include "tests/test.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session/document_impl.h"

#define KIT_NODES 8
#define KIT_WIRES 32

struct world;

/* One replica, and an editor that only believes what it is told. */
struct node {
    struct world *w;
    unsigned index;
    struct cv_document *d;
    struct cv_journal *journal;
    struct cv_keypair identity;
    struct cv_key key; /* of the process: another one each time */
    enum cv_role role;
    bool signs_not; /* it signs for nothing */
    char *shadow;   /* the text after all changes that were told */
    size_t shadow_len;
    uint64_t kept, shared;
    unsigned presences, in_steps, texts;
};

struct packet {
    struct packet *next;
    size_t len;
    uint8_t data[];
};

/* One direction of a connection. */
struct half {
    struct packet *first, **last;
    size_t bytes;
    bool blocked; /* takes nothing */
};

struct wire {
    struct world *w;
    bool up;
    unsigned a, b; /* nodes */
    struct end {
        struct wire *wire;
        struct cv_document_link *link;
        struct half out; /* to the other end */
        unsigned to;
        int error; /* of the input that closed it */
    } end[2];
};

struct world {
    struct cv_rng_seeded seeded;
    struct cv_rng rng;
    cv_time now;
    size_t window; /* bytes under way on a half */
    struct node nodes[KIT_NODES];
    unsigned n_nodes;
    struct wire wires[KIT_WIRES];
    unsigned n_wires;
    char dir[64];
    struct cv_key session;
};

static cv_time kit_now(void *user)
{
    return ((struct node *)user)->w->now;
}

static void kit_text(void *user, const struct cv_text_change *c)
{
    struct node *n = user;
    size_t tail;

    REQUIRE(c->at + c->deleted <= n->shadow_len);
    tail = n->shadow_len - c->at - c->deleted;
    n->shadow = realloc(n->shadow, n->shadow_len + c->inserted_len + 1);
    REQUIRE(n->shadow);
    memmove(n->shadow + c->at + c->inserted_len, n->shadow + c->at + c->deleted,
            tail);
    if (c->inserted_len)
        memcpy(n->shadow + c->at, c->inserted, c->inserted_len);
    n->shadow_len = c->at + c->inserted_len + tail;
}

static void kit_text_done(void *user)
{
    ((struct node *)user)->texts++;
}

static void kit_kept(void *user, uint64_t kept, uint64_t shared)
{
    struct node *n = user;

    REQUIRE(kept >= n->kept && shared >= n->shared);
    n->kept = kept;
    n->shared = shared;
}

static void kit_presence(void *user)
{
    ((struct node *)user)->presences++;
}

static void kit_in_step(void *user)
{
    ((struct node *)user)->in_steps++;
}

static char *kit_read(const struct node *n, size_t *len)
{
    const struct cv_doc *doc = cv_document_text(n->d);
    struct cv_writer w;
    size_t bytes = cv_doc_text_bytes(doc);

    cv_writer_init_heap(&w, bytes + 1);
    REQUIRE(cv_doc_read(doc, 0, bytes, &w) == CV_OK);
    REQUIRE(cv_put_u8(&w, 0) == CV_OK);
    *len = bytes;
    return (char *)cv_writer_take(&w, &bytes);
}

static void kit_open(struct node *n, bool journalled)
{
    static const struct cv_document_events events = {kit_text, kit_text_done,
                                                     kit_kept, kit_presence};
    struct cv_document_config c = {
        .id = 1,
        .meta = {.path = "a.c", .ft = "c", .ff = "unix", .fenc = "utf-8"},
        .session = n->w->session,
        .identity = n->signs_not ? NULL : &n->identity,
        .sharer = n->w->nodes[0].identity.pub,
        .node = n->key,
        .role = n->role,
        .name = "somebody",
        .rng = &n->w->rng,
        .now = kit_now,
        .in_step = kit_in_step,
        .user = n,
    };
    char dir[128], why[256];

    cv_random(&n->w->rng, n->key.b, sizeof(n->key.b));
    c.node = n->key;
    if (journalled) {
        const struct cv_journal_config jc = {
            .dir = dir, .session = n->w->session, .mode = CV_JOURNAL_EITHER};

        snprintf(dir, sizeof(dir), "%s/%u", n->w->dir, n->index);
        REQUIRE(cv_journal_open(&n->journal, &jc, n->w->now, why,
                                sizeof(why)) == CV_OK);
    }
    c.journal = n->journal;
    REQUIRE(cv_document_new(&n->d, &c) == CV_OK);
    cv_document_set_events(n->d, &events, n);
    free(n->shadow);
    n->shadow = kit_read(n, &n->shadow_len);
    n->kept = n->shared = 0;
}

static void kit_close(struct node *n)
{
    cv_document_free(n->d);
    n->d = NULL;
    cv_journal_close(n->journal);
    n->journal = NULL;
}

static struct node *kit_add(struct world *w, enum cv_role role, bool journalled)
{
    struct node *n = &w->nodes[w->n_nodes];
    const uint8_t seed[CV_KEY_LEN] = {(uint8_t)(w->n_nodes + 1)};

    REQUIRE(w->n_nodes < KIT_NODES);
    *n = (struct node){.w = w, .index = w->n_nodes++, .role = role};
    REQUIRE(cv_keypair_from_seed(&n->identity, seed) == CV_OK);
    kit_open(n, journalled);
    return n;
}

static void kit_init(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->rng = cv_rng_from_seed(&w->seeded, seed);
    w->now = CV_SECOND;
    w->window = 1u << 20;
    w->session.b[0] = 7;
    memcpy(w->dir, "/tmp/covim-doc-XXXXXX", sizeof("/tmp/covim-doc-XXXXXX"));
    REQUIRE(mkdtemp(w->dir));
}

/* ---- wires ---- */

static int kit_send(void *user, struct cv_bytes message)
{
    struct end *e = user;
    struct packet *p;

    REQUIRE(message.len && message.len <= CV_DOCUMENT_MESSAGE_MAX);
    if (e->out.blocked ||
        (e->out.bytes && e->out.bytes + message.len > e->wire->w->window))
        return CV_ERR_AGAIN;
    p = malloc(sizeof(*p) + message.len);
    REQUIRE(p);
    p->next = NULL;
    p->len = message.len;
    memcpy(p->data, message.data, message.len);
    *e->out.last = p;
    e->out.last = &p->next;
    e->out.bytes += p->len;
    return CV_OK;
}

static struct wire *kit_wire(struct world *w, unsigned a, unsigned b)
{
    struct wire *x = &w->wires[w->n_wires];

    REQUIRE(w->n_wires < KIT_WIRES);
    w->n_wires++;
    *x = (struct wire){.w = w, .a = a, .b = b};
    for (int i = 0; i < 2; i++) {
        x->end[i].wire = x;
        x->end[i].out.last = &x->end[i].out.first;
        x->end[i].to = i ? a : b;
    }
    return x;
}

static void kit_up(struct wire *x)
{
    struct world *w = x->w;

    if (x->up)
        return;
    x->up = true;
    for (int i = 0; i < 2; i++) {
        struct node *self = &w->nodes[i ? x->b : x->a];
        const struct node *other = &w->nodes[i ? x->a : x->b];
        const struct cv_document_link_config c = {
            .member = other->index + 1,
            .identity = other->identity.pub,
            .node = other->key,
            .role = other->role,
            .send = kit_send,
            .user = &x->end[i],
        };

        x->end[i].error = CV_OK;
        REQUIRE(cv_document_link_new(&x->end[i].link, self->d, &c) == CV_OK);
    }
}

static void kit_down(struct wire *x)
{
    if (!x->up)
        return;
    x->up = false;
    for (int i = 0; i < 2; i++) {
        struct half *h = &x->end[i].out;

        cv_document_link_free(x->end[i].link);
        x->end[i].link = NULL;
        while (h->first) {
            struct packet *p = h->first;

            h->first = p->next;
            free(p);
        }
        h->last = &h->first;
        h->bytes = 0;
        h->blocked = false;
    }
}

/* Deliver one message that `e` sent; false if there is none. */
static bool kit_deliver(struct end *e)
{
    struct end *to =
        e == &e->wire->end[0] ? &e->wire->end[1] : &e->wire->end[0];
    struct packet *p = e->out.first;
    int err;

    if (!e->wire->up || !p || e->out.blocked)
        return false;
    e->out.first = p->next;
    if (!p->next)
        e->out.last = &e->out.first;
    e->out.bytes -= p->len;
    err = cv_document_link_input(to->link, CV_BYTES(p->data, p->len));
    free(p);
    if (err != CV_OK) {
        kit_down(e->wire);
        to->error = err;
        return true;
    }
    cv_document_link_writable(e->link);
    return true;
}

static void kit_unblock(struct end *e)
{
    e->out.blocked = false;
    if (e->wire->up)
        cv_document_link_writable(e->link);
}

static void kit_step(struct world *w, cv_time by)
{
    w->now += by;
    for (unsigned i = 0; i < w->n_nodes; i++)
        if (w->nodes[i].d && cv_document_deadline(w->nodes[i].d) <= w->now)
            cv_document_step(w->nodes[i].d, w->now);
}

/* Deliver everything, with some time for the timers. */
static void kit_run(struct world *w, cv_time time)
{
    for (cv_time end = w->now + time; w->now < end;) {
        bool some;

        do {
            some = false;
            for (unsigned i = 0; i < w->n_wires; i++)
                for (int k = 0; k < 2; k++)
                    while (kit_deliver(&w->wires[i].end[k]))
                        some = true;
        } while (some);
        kit_step(w, 5 * CV_MILLISECOND);
    }
}

static int kit_remove(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void kit_fini(struct world *w)
{
    for (unsigned i = 0; i < w->n_wires; i++)
        kit_down(&w->wires[i]);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        kit_close(&w->nodes[i]);
        free(w->nodes[i].shadow);
    }
    REQUIRE(nftw(w->dir, kit_remove, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

/* ---- edits ---- */

/* As an editor does: its own edits are in its buffer at once. */
static int kit_edit(struct node *n, size_t at, size_t del, const char *text,
                    size_t len)
{
    const struct cv_text_change c = {at, del, (const uint8_t *)text, len};
    uint64_t seq, before, kept, shared;
    int err = cv_document_begin(n->d);

    if (err != CV_OK)
        return err;
    cv_document_counts(n->d, &before, &kept, &shared);
    if (del)
        REQUIRE(cv_document_delete(n->d, at, del) == CV_OK);
    if (len)
        REQUIRE(cv_document_insert(n->d, at, text, len) == CV_OK);
    err = cv_document_commit(n->d, &seq);
    REQUIRE(seq == before + (del || len));
    kit_text(n, &c);
    return err;
}

static inline int kit_type(struct node *n, const char *text)
{
    return kit_edit(n, cv_doc_text_bytes(cv_document_text(n->d)), 0, text,
                    strlen(text));
}

static bool kit_is(const struct node *n, const char *text)
{
    size_t len;
    char *got = kit_read(n, &len);
    bool same = strcmp(got, text) == 0 && len == n->shadow_len &&
                memcmp(got, n->shadow, len) == 0;

    if (!same)
        print_error("node %u has \"%.200s\" (%zu), not \"%.200s\"\n", n->index,
                    got, len, text);
    free(got);
    return same;
}

/* Who wrote the byte at `at`, as `n` sees it; NULL: nobody knows. */
static inline bool kit_first_author(void *user, const struct cv_author *who,
                                    size_t bytes)
{
    (void)bytes;
    *(struct cv_author *)user = *who;
    return false;
}

static inline const struct node *kit_author(const struct node *n, size_t at)
{
    const struct cv_doc *doc = cv_document_text(n->d);
    struct cv_author who = {0};

    REQUIRE(cv_document_authors(n->d, at, cv_doc_text_bytes(doc) - at,
                                kit_first_author, &who) == CV_OK);
    for (unsigned i = 0; who.known && i < n->w->n_nodes; i++)
        if (cv_key_equal(&who.identity, &n->w->nodes[i].identity.pub)) {
            REQUIRE(who.you == (n == &n->w->nodes[i]));
            return &n->w->nodes[i];
        }
    REQUIRE(!who.known);
    return NULL;
}

/* All nodes have the same text, and their editors too. */
static void kit_require_same(struct world *w)
{
    size_t len0, len;
    char *first = kit_read(&w->nodes[0], &len0);

    for (unsigned i = 0; i < w->n_nodes; i++) {
        char *text = kit_read(&w->nodes[i], &len);

        REQUIRE(len == len0 && memcmp(text, first, len) == 0);
        REQUIRE(w->nodes[i].shadow_len == len &&
                memcmp(w->nodes[i].shadow, text, len) == 0);
        free(text);
    }
    free(first);
}
#endif
