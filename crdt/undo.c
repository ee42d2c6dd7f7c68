#include "crdt/undo.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crdt/change.h"

struct group {
    uint64_t number;
    uint64_t client; /* ours, when it was made */
    struct cv_change did;
};

/* The oldest first; those before `first` are dropped. */
struct stack {
    struct group *at;
    size_t first, n, cap;
};

struct cv_undo {
    struct cv_doc *doc;
    size_t max_bytes;
    size_t max_text;
    size_t held;
    uint64_t number; /* of the edits that follow */
    bool open;       /* the newest group may grow */
    struct stack stack[2];
};

/* ---- what is held ---- */

static size_t group_bytes(const struct group *g)
{
    return sizeof(*g) + cv_change_bytes(&g->did);
}

static struct group *top(struct cv_undo *u, enum cv_undo_way way)
{
    struct stack *s = &u->stack[way];

    return s->n ? &s->at[s->first + s->n - 1] : NULL;
}

/* Moves the group in, on success only. */
static bool push(struct cv_undo *u, enum cv_undo_way way, struct group *g)
{
    struct stack *s = &u->stack[way];

    if (s->first > 0 && s->first + s->n == s->cap) {
        memmove(s->at, s->at + s->first, s->n * sizeof(*s->at));
        s->first = 0;
    }
    if (!cv_change_grow((void **)&s->at, &s->cap, s->first + s->n, 1,
                        sizeof(*s->at)))
        return false;
    s->at[s->first + s->n++] = *g;
    u->held += group_bytes(g);
    return true;
}

/* Moves the newest group out. */
static struct group pop(struct cv_undo *u, enum cv_undo_way way)
{
    struct group g = *top(u, way);

    u->stack[way].n--;
    u->held -= group_bytes(&g);
    return g;
}

static void drop_oldest(struct cv_undo *u, enum cv_undo_way way)
{
    struct stack *s = &u->stack[way];
    struct group *g = &s->at[s->first];

    u->held -= group_bytes(g);
    cv_change_fini(&g->did);
    s->first++;
    s->n--;
}

static void forget(struct cv_undo *u, enum cv_undo_way way)
{
    while (u->stack[way].n)
        drop_oldest(u, way);
    u->stack[way].first = 0;
}

void cv_undo_forget(struct cv_undo *u)
{
    forget(u, CV_UNDO_BACK);
    forget(u, CV_UNDO_AGAIN);
    u->open = false;
}

static void bound(struct cv_undo *u)
{
    while (u->held > u->max_bytes && u->stack[CV_UNDO_BACK].n)
        drop_oldest(u, CV_UNDO_BACK);
    while (u->held > u->max_bytes && u->stack[CV_UNDO_AGAIN].n)
        drop_oldest(u, CV_UNDO_AGAIN);
    if (!u->stack[CV_UNDO_BACK].n)
        u->open = false;
}

int cv_undo_new(struct cv_undo **out, struct cv_doc *doc, size_t max_bytes)
{
    struct cv_undo *u = calloc(1, sizeof(*u));

    if (u == NULL)
        return CV_ERR_NOMEM;
    u->doc = doc;
    u->max_bytes = max_bytes;
    u->max_text = SIZE_MAX;
    *out = u;
    return CV_OK;
}

void cv_undo_free(struct cv_undo *u)
{
    if (u == NULL)
        return;
    cv_undo_forget(u);
    free(u->stack[CV_UNDO_BACK].at);
    free(u->stack[CV_UNDO_AGAIN].at);
    free(u);
}

void cv_undo_limit_text(struct cv_undo *u, size_t max_text)
{
    u->max_text = max_text;
}

size_t cv_undo_count(const struct cv_undo *u, enum cv_undo_way way)
{
    return u->stack[way].n;
}

size_t cv_undo_held(const struct cv_undo *u)
{
    return u->held;
}

/* ---- remembering ---- */

void cv_undo_group(struct cv_undo *u, uint64_t group)
{
    if (u->number != group)
        u->open = false;
    u->number = group;
}

/* The group that local edits go to; NULL without memory.  It is not counted
 * in `held` until close_group(). */
static struct group *open_group(struct cv_undo *u)
{
    struct group *g = top(u, CV_UNDO_BACK);
    struct group new = {.number = u->number, .client = cv_doc_client(u->doc)};

    forget(u, CV_UNDO_AGAIN);
    if (g == NULL || !u->open || g->client != new.client) {
        if (!push(u, CV_UNDO_BACK, &new))
            return NULL;
        u->open = true;
        g = top(u, CV_UNDO_BACK);
        assert(g != NULL);
    }
    u->held -= group_bytes(g);
    return g;
}

/* `kept`: everything could be remembered. */
static void close_group(struct cv_undo *u, struct group *g, bool kept)
{
    if (g != NULL)
        u->held += group_bytes(g);
    if (g == NULL || !kept)
        cv_undo_forget(u);
    bound(u);
}

int cv_undo_insert(struct cv_undo *u, size_t at, const void *text, size_t len)
{
    uint64_t client = cv_doc_client(u->doc);
    uint64_t before = cv_doc_clock(u->doc, client);
    int err = cv_doc_insert(u->doc, at, text, len);
    uint64_t n = cv_doc_clock(u->doc, client) - before;
    struct group *g;

    if (n == 0)
        return err;
    g = open_group(u);
    close_group(
        u, g,
        g != NULL &&
            cv_change_add_ours(&g->did, (struct cv_units){client, before, n}));
    return err;
}

/* How many units from `id` on, at most `n`, did the open group insert, or, if
 * not *ours, did it not?  Its own ranges ascend. */
static uint64_t whose(const struct group *g, struct cv_id id, uint64_t n,
                      bool *ours)
{
    size_t low = 0, high = g->did.n_ours;
    const struct cv_units *r;

    *ours = false;
    if (id.client != g->client)
        return n;
    while (low < high) { /* the first that ends behind `id` */
        size_t mid = low + (high - low) / 2;

        r = &g->did.ours[mid];
        if (r->clock + r->len <= id.clock)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == g->did.n_ours)
        return n;
    r = &g->did.ours[low];
    *ours = r->clock <= id.clock;
    if (*ours)
        return r->clock + r->len - id.clock < n ? r->clock + r->len - id.clock
                                                : n;
    return r->clock - id.clock < n ? r->clock - id.clock : n;
}

/* A span that is about to be deleted: what the group itself inserted is not
 * worth remembering. */
static bool note_span(struct cv_undo *u, struct group *g, struct cv_span span)
{
    struct cv_id id = span.id;
    uint64_t left = span.units;

    while (left > 0) {
        bool ours;
        uint64_t n = whose(g, id, left, &ours);
        struct cv_span part;

        /* Whole characters: what another client cut stays one piece. */
        if (!ours && cv_span_live(u->doc, id, n, &part) &&
            !cv_change_add_gone(&g->did, u->doc, &part))
            return false;
        id.clock += n;
        left -= n;
    }
    return true;
}

int cv_undo_delete(struct cv_undo *u, size_t at, size_t len)
{
    size_t total = cv_doc_text_bytes(u->doc), done = 0, units;
    struct group *g;
    bool kept;
    int err;

    if (at > total || len > total - at ||
        cv_doc_bytes_to_units(u->doc, at, &units) != CV_OK ||
        cv_doc_bytes_to_units(u->doc, at + len, &units) != CV_OK)
        return CV_ERR_INVALID;
    if (len == 0)
        return cv_doc_delete(u->doc, at, len);
    g = open_group(u);
    kept = g != NULL;
    while (kept && done < len) {
        struct cv_span span;

        cv_span_at(u->doc, at + done, len - done, &span);
        kept = note_span(u, g, span);
        done += span.bytes;
    }
    close_group(u, g, kept);
    err = cv_doc_delete(u->doc, at, len);
    if (err != CV_OK)
        cv_undo_forget(u); /* of a text that is partly still there */
    return err;
}

/* ---- taking back ---- */

/* Who hears of a taking back, and what it did. */
struct taker {
    void (*text)(void *user, const struct cv_text_change *change);
    void *user;
    struct cv_taken out;
};

/* All groups follow the units that have moved. */
static int follow(struct cv_undo *u, const struct cv_moves *moves)
{
    for (int way = 0; way < 2 && moves->n; way++) {
        struct stack *k = &u->stack[way];

        for (size_t i = 0; i < k->n; i++) {
            struct group *g = &k->at[k->first + i];
            int err;

            u->held -= group_bytes(g);
            err = cv_change_follow(&g->did, moves);
            u->held += group_bytes(g);
            if (err != CV_OK)
                return err;
        }
    }
    return CV_OK;
}

/* Take `from` back and remember, in `other`, how that is taken back itself.
 * With any error but a text that would be too long all is forgotten. */
static int take_back(struct cv_undo *u, struct cv_change *from, uint64_t number,
                     enum cv_undo_way other, struct taker *t)
{
    struct group to = {.number = number, .client = cv_doc_client(u->doc)};
    struct cv_moves moves = {0};
    int err = cv_change_take_back(u->doc, from, u->max_text, t->text, t->user,
                                  &to.did, &moves, &t->out);
    bool refused = err == CV_ERR_LIMIT && !t->out.changed;

    if (err == CV_OK)
        err = follow(u, &moves);
    if (err != CV_OK || !t->out.changed || !push(u, other, &to)) {
        cv_change_fini(&to.did);
        if (t->out.changed || (err != CV_OK && !refused))
            cv_undo_forget(u); /* done, but not to be taken back */
    }
    free(moves.at);
    return err;
}

/* Is there a transaction? */
static int check_open(const struct cv_undo *u)
{
    return cv_doc_delete(u->doc, 0, 0);
}

int cv_undo_step(struct cv_undo *u, enum cv_undo_way way,
                 void (*text)(void *user, const struct cv_text_change *change),
                 void *user, struct cv_undone *out)
{
    enum cv_undo_way other = way == CV_UNDO_BACK ? CV_UNDO_AGAIN : CV_UNDO_BACK;
    struct taker t = {.text = text, .user = user};
    int err = check_open(u);

    if (err != CV_OK)
        return err;
    u->open = false;
    while (err == CV_OK && !t.out.changed && u->stack[way].n) {
        struct group from = pop(u, way);

        err = take_back(u, &from.did, from.number, other, &t);
        *out = (struct cv_undone){from.number, t.out.first};
        /* A text that would be too long: the group waits for its turn. */
        if (err != CV_ERR_LIMIT || t.out.changed || !push(u, way, &from))
            cv_change_fini(&from.did);
    }
    bound(u);
    return err == CV_OK && !t.out.changed ? CV_ERR_NOTFOUND : err;
}

int cv_undo_revert(struct cv_undo *u, struct cv_change *change, uint64_t group,
                   void (*text)(void *user,
                                const struct cv_text_change *change),
                   void *user, struct cv_taken *out)
{
    struct taker t = {.text = text, .user = user};
    int err = check_open(u);

    if (err != CV_OK)
        return err;
    err = take_back(u, change, group, CV_UNDO_BACK, &t);
    *out = t.out;
    if (t.out.changed) {
        u->open = false;
        forget(u, CV_UNDO_AGAIN);
    }
    bound(u);
    return err;
}
