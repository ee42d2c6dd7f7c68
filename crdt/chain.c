#include "crdt/chain.h"

#include <assert.h>
#include <stdlib.h>

/* Steps from what was found last. */
#define NEAR 4
/* How chunks grow. */
#define CHUNK_FIRST 2
#define CHUNK_SMALL 32
#define CHUNK_STEP  32
/* Room of both when one is divided. */
#define CHUNK_HALF (CV_CHUNK_MARKS / 2 + CV_CHUNK_MARKS / 8 + 1)

/* ---- chunks ---- */

struct slot { /* a mark */
    uint32_t chunk, pos;
};

static uint32_t item_at(const struct cv_client *c, struct slot s)
{
    return c->chunks[s.chunk].mark[s.pos].item;
}

/* A chunk at `at`, empty, with room for `cap` marks. */
static bool new_chunk(struct cv_client *c, uint32_t at, uint16_t cap)
{
    struct cv_mark *mark;

    if (c->chunks_n == c->chunks_cap &&
        !cv_vec_grow((void **)&c->chunks, &c->chunks_cap, c->chunks_n, 1,
                     sizeof(*c->chunks)))
        return false;
    mark = malloc(cap * sizeof(*mark));
    if (mark == NULL)
        return false;
    memmove(&c->chunks[at + 1], &c->chunks[at],
            (c->chunks_n - at) * sizeof(*c->chunks));
    c->chunks_n++;
    c->chunks[at] = (struct cv_chunk){.cap = cap, .mark = mark};
    return true;
}

static bool grow_chunk(struct cv_chunk *k)
{
    uint32_t cap = k->cap + (k->cap < CHUNK_SMALL ? k->cap : CHUNK_STEP);
    struct cv_mark *mark;

    if (cap > CV_CHUNK_MARKS)
        cap = CV_CHUNK_MARKS;
    mark = realloc(k->mark, cap * sizeof(*mark));
    if (mark == NULL)
        return false;
    k->mark = mark;
    k->cap = (uint16_t)cap;
    return true;
}

/* Half of it has gone. */
static void shrink_chunk(struct cv_chunk *k)
{
    struct cv_mark *mark = realloc(k->mark, CHUNK_HALF * sizeof(*mark));

    if (mark == NULL)
        return;
    k->mark = mark;
    k->cap = CHUNK_HALF;
}

/* Move half of a full chunk into a new one behind it; *s: goes along. */
static bool divide_chunk(struct cv_client *c, struct slot *s)
{
    uint16_t half = CV_CHUNK_MARKS / 2;
    struct cv_chunk *k;

    if (!new_chunk(c, s->chunk + 1, CHUNK_HALF))
        return false;
    k = &c->chunks[s->chunk];
    memcpy(k[1].mark, k->mark + half, (size_t)(k->n - half) * sizeof(*k->mark));
    k[1].n = (uint16_t)(k->n - half);
    k[1].first = k[1].mark[0].clock;
    k->n = half;
    shrink_chunk(k);
    if (s->pos >= half) {
        s->pos -= half;
        s->chunk++;
    }
    return true;
}

/* ---- marks ---- */

CV_APART void cv_chain_mark(struct cv_doc *doc, uint32_t item)
{
    struct cv_item *x = &doc->items[item];
    struct cv_client *c = &doc->clients[x->client];
    struct cv_chunk *k;

    if ((c->chunks_n == 0 || c->chunks[c->chunks_n - 1].n == CV_CHUNK_MARKS) &&
        !new_chunk(c, c->chunks_n, CHUNK_FIRST))
        return;
    k = &c->chunks[c->chunks_n - 1];
    if (k->n == k->cap && !grow_chunk(k))
        return;
    if (k->n == 0)
        k->first = x->clock;
    k->mark[k->n++] = (struct cv_mark){item, x->clock};
    x->marked = 1;
    c->unmarked = 0;
}

/* Mark an item behind *s, which moves there. */
static void mark_behind(struct cv_doc *doc, struct cv_client *c, struct slot *s,
                        uint32_t item)
{
    struct cv_chunk *k = &c->chunks[s->chunk];
    struct cv_mark *m;

    if (k->n == CV_CHUNK_MARKS && !divide_chunk(c, s))
        return;
    k = &c->chunks[s->chunk];
    if (k->n == k->cap && !grow_chunk(k))
        return;
    m = &k->mark[s->pos++];
    /* Its item may have had another clock when it was marked. */
    m->clock = doc->items[m->item].clock;
    k->first = k->mark[0].clock;
    memmove(m + 2, m + 1, (size_t)(k->n - s->pos) * sizeof(*m));
    m[1] = (struct cv_mark){item, doc->items[item].clock};
    k->n++;
    doc->items[item].marked = 1;
}

static void unmark(struct cv_client *c, struct slot s)
{
    struct cv_chunk *k = &c->chunks[s.chunk];

    k->n--;
    memmove(&k->mark[s.pos], &k->mark[s.pos + 1],
            (k->n - s.pos) * sizeof(*k->mark));
    if (k->n == 0) {
        free(k->mark);
        c->chunks_n--;
        memmove(k, k + 1, (c->chunks_n - s.chunk) * sizeof(*k));
    } else {
        k->first = k->mark[0].clock;
    }
}

/* ---- searching ---- */

static uint32_t search_chunk(const struct cv_client *c, uint32_t clock)
{
    uint32_t low = 0, high = c->chunks_n;

    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;

        if (c->chunks[mid].first <= clock)
            low = mid;
        else
            high = mid;
    }
    return low;
}

static bool step_back(const struct cv_client *c, struct slot *s)
{
    if (s->pos == 0) {
        if (s->chunk == 0)
            return false;
        s->chunk--;
        s->pos = c->chunks[s->chunk].n;
    }
    s->pos--;
    return true;
}

static void step_on(const struct cv_client *c, struct slot *s)
{
    if (++s->pos < c->chunks[s->chunk].n)
        return;
    s->chunk++;
    s->pos = 0;
}

/* The last mark whose item does not begin behind that unit, or one before it.
 * The clocks of marks are those that the items had: what they lead to can be
 * off by a place or two. */
static struct slot search_marks(const struct cv_doc *doc,
                                const struct cv_client *c, uint32_t clock)
{
    struct slot s = {search_chunk(c, clock), 0};
    const struct cv_mark *mark = c->chunks[s.chunk].mark, *base = mark;

    for (uint32_t n = c->chunks[s.chunk].n; n > 1;) {
        uint32_t half = n / 2;

        base += base[half].clock <= clock ? half : 0;
        n -= half;
    }
    s.pos = (uint32_t)(base - mark);
    while (doc->items[item_at(c, s)].clock > clock && step_back(c, &s))
        ;
    return s;
}

/* The item with that unit, if it is a few places behind the one found last, as
 * when a list of ranges is gone through.  CV_NONE: it has to be searched. */
static uint32_t search_near(const struct cv_doc *doc, uint32_t client,
                            uint32_t clock)
{
    uint32_t item = doc->clients[client].found;

    if (!cv_chain_leads(doc, item, client, clock))
        return CV_NONE;
    for (uint32_t i = 0; i < NEAR; i++) {
        if (clock < cv_item_end(&doc->items[item]))
            return item;
        item = doc->items[item].succ;
    }
    return CV_NONE;
}

static uint32_t search(struct cv_doc *doc, uint32_t client, uint32_t clock)
{
    struct cv_client *c = &doc->clients[client];
    uint32_t item = c->first, walked = 0;
    struct slot s = {0, 0};
    bool marks = c->chunks_n > 0;

    if (marks) {
        s = search_marks(doc, c, clock);
        item = item_at(c, s);
    }
    while (clock >= cv_item_end(&doc->items[item])) {
        item = doc->items[item].succ;
        if (doc->items[item].marked) {
            step_on(c, &s);
            walked = 0;
        } else if (++walked == CV_MARK_WALK && marks) {
            mark_behind(doc, c, &s, item);
            walked = 0;
        }
    }
    return item;
}

uint32_t cv_chain_search(struct cv_doc *doc, uint32_t client, uint32_t clock)
{
    uint32_t item;

    assert(clock < doc->clients[client].next);
    item = search_near(doc, client, clock);
    if (item == CV_NONE)
        item = search(doc, client, clock);
    doc->clients[client].found = item;
    return item;
}

/* ---- items ---- */

void cv_chain_join(struct cv_doc *doc, uint32_t former, uint32_t item)
{
    struct cv_item *x = &doc->items[former], *y = &doc->items[item];
    struct cv_client *c = &doc->clients[x->client];
    struct slot s;

    assert(x->succ == item);
    x->succ = y->succ;
    if (c->last == item)
        c->last = former;
    if (!y->marked)
        return;
    s = search_marks(doc, c, y->clock);
    while (item_at(c, s) != item)
        step_on(c, &s);
    if (x->marked) {
        unmark(c, s);
        return;
    }
    c->chunks[s.chunk].mark[s.pos] = (struct cv_mark){former, x->clock};
    c->chunks[s.chunk].first = c->chunks[s.chunk].mark[0].clock;
    x->marked = 1;
}

/* ---- all of them ---- */

void cv_chain_clear(struct cv_client *c)
{
    for (uint32_t k = 0; k < c->chunks_n; k++)
        free(c->chunks[k].mark);
    free(c->chunks);
    c->chunks = NULL;
    c->chunks_n = c->chunks_cap = c->unmarked = 0;
    c->first = c->last = c->found = CV_NONE;
}

size_t cv_chain_size(const struct cv_client *c)
{
    size_t n = c->chunks_cap * sizeof(*c->chunks);

    for (uint32_t k = 0; k < c->chunks_n; k++)
        n += c->chunks[k].cap * sizeof(struct cv_mark);
    return n;
}

void cv_chain_check(const struct cv_doc *doc, uint32_t client)
{
    const struct cv_client *c = &doc->clients[client];
    uint32_t clock = 0, last = CV_NONE;
    struct slot s = {0, 0};

    for (uint32_t i = c->first; i != CV_NONE; i = doc->items[i].succ) {
        const struct cv_item *x = &doc->items[i];

        cv_expect(x->client == client && x->clock == clock && x->len > 0);
        if (x->marked) {
            cv_expect(s.chunk < c->chunks_n && item_at(c, s) == i);
            step_on(c, &s);
        }
        clock = cv_item_end(x);
        last = i;
    }
    cv_expect(clock == c->next && last == c->last);
    cv_expect(s.chunk == c->chunks_n && s.pos == 0);
}
