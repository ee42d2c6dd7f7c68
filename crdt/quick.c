#include "crdt/quick.h"

#include "crdt/chain.h"
#include "crdt/gap.h"
#include "crdt/integrate.h"
#include "crdt/run.h"
#include "crdt/stamp.h"
#include "crdt/tree.h"
#include "crdt/txn.h"
#include "crdt/utf8.h"
#include <endian.h>

/* An edit is at most this long on the wire, and at least that. */
#define QUICK_MAX 1024
#define QUICK_MIN 6

/* The next number that fits a clock; false at the end. */
static inline bool get(const uint8_t **at, const uint8_t *end, uint32_t *v)
{
    const uint8_t *p = *at;
    uint64_t n = 0;

    for (unsigned shift = 0; p < end && shift < 35; shift += 7) {
        n |= (uint64_t)(*p & 0x7f) << shift;
        if (*p++ >= 0x80)
            continue;
        *at = p;
        *v = (uint32_t)n;
        return n <= CV_DOC_CLOCK_MAX;
    }
    return false;
}

/* Does the id of this client come next? */
static inline bool skip_id(const uint8_t **at, const uint8_t *end,
                           const struct cv_client *c)
{
    const uint8_t *p = *at;

    if (end - p < c->id_len)
        return false;
    for (uint32_t i = 0; i < c->id_len; i++) {
        if (p[i] != c->id_wire[i])
            return false;
    }
    *at += c->id_len;
    return true;
}

/* The client whose id comes next, probably `likely`. */
static inline uint32_t get_client(const struct cv_doc *doc, const uint8_t **at,
                                  const uint8_t *end, uint32_t likely)
{
    struct cv_reader r;
    uint32_t client;

    if (likely < doc->clients_n && skip_id(at, end, &doc->clients[likely]))
        return likely;
    cv_reader_init(&r, *at, (size_t)(end - *at));
    client = cv_store_client(doc, cv_get_varuint(&r));
    if (r.err != CV_OK || client == CV_NONE ||
        !skip_id(at, end, &doc->clients[client]))
        return CV_NONE;
    return client;
}

/* The id of a unit that is known comes next. */
static inline bool get_unit(const struct cv_doc *doc, const uint8_t **at,
                            const uint8_t *end, uint32_t likely,
                            uint32_t *client, uint32_t *clock)
{
    *client = get_client(doc, at, end, likely);
    return *client != CV_NONE && get(at, end, clock) &&
           *clock < doc->clients[*client].next;
}

/* No deletes, or 1 client with 1 range, all of which is known; then the end. */
static inline bool get_deleted(const struct cv_doc *doc, const uint8_t *at,
                               const uint8_t *end, struct cv_deleted *d)
{
    d->len = 0;
    if (at == end || *at > 1)
        return false;
    if (*at++ == 0)
        return at == end;
    d->client = get_client(doc, &at, end, doc->quick.client);
    return d->client != CV_NONE && at < end && *at++ == 1 &&
           get(&at, end, &d->clock) && get(&at, end, &d->len) && at == end &&
           d->len > 0 && d->clock <= doc->clients[d->client].next &&
           d->len <= doc->clients[d->client].next - d->clock;
}

/* Text, the next units of its client. */
struct typed {
    struct cv_text text;
    uint32_t client, clock;
    uint32_t oclient, oclock; /* CV_NONE: no origin */
    uint32_t rclient, rclock;
};

/* 1 struct of text with one or two origins, all of which is known. */
static bool get_typed(struct cv_doc *doc, const uint8_t **at,
                      const uint8_t *end, struct typed *t)
{
    const struct cv_client *c;
    uint32_t n, likely;
    uint8_t info;

    *t = (struct typed){.oclient = CV_NONE, .rclient = CV_NONE};
    t->client = get_client(doc, at, end, doc->quick.client);
    if (t->client == CV_NONE || t->client == doc->self)
        return false;
    doc->quick.client = t->client;
    c = &doc->clients[t->client];
    if (!get(at, end, &t->clock) || t->clock != c->next || *at == end)
        return false;
    info = *(*at)++;
    if ((info & ~(CV_INFO_ORIGIN | CV_INFO_RIGHT)) != CV_KIND_STRING ||
        info == CV_KIND_STRING)
        return false;
    if ((info & CV_INFO_ORIGIN) &&
        !get_unit(doc, at, end, t->client, &t->oclient, &t->oclock))
        return false;
    likely = c->last != CV_NONE ? doc->items[c->last].rclient : t->client;
    if ((info & CV_INFO_RIGHT) &&
        !get_unit(doc, at, end, likely, &t->rclient, &t->rclock))
        return false;
    if (!get(at, end, &n) || n == 0 || n > end - *at || n > CV_RUN_BYTES)
        return false;
    t->text.data = *at;
    t->text.len = n;
    *at += n;
    return cv_text_measure(&t->text) &&
           t->text.units <= CV_DOC_CLOCK_MAX - c->next &&
           n <= doc->limits.log_bytes - doc->log_total;
}

/* Does it go on with that item, whose last unit is its origin? */
static bool carry_on(struct cv_doc *doc, const struct typed *t, uint32_t item,
                     uint32_t pos)
{
    const struct cv_item *x = &doc->items[item];

    return x->client == t->client && cv_gap_grows(doc, x, t->text.len) &&
           x->rclient == t->rclient &&
           (t->rclient == CV_NONE || x->rclock == t->rclock) &&
           cv_gap_grow(doc, item, pos, &t->text) == CV_OK;
}

/* What goes on with this item is known by its first bytes. */
static void expect(struct cv_doc *doc, const struct cv_item *x)
{
    struct cv_quick *q = &doc->quick;
    uint32_t next = doc->clients[x->client].next;

    q->typist = x->client;
    q->rclient = x->rclient;
    q->rclock = x->rclock;
    cv_stamp_cut(&q->stamp, doc, x, next, next);
}

/* Is the right origin what follows the origin?  Then nothing is in the way.
 * False: nothing was changed, it has to go the long way. */
static bool put_between(struct cv_doc *doc, const struct typed *t)
{
    const struct cv_item *x;
    struct cv_gap gap = {.right = CV_NONE};
    uint32_t pos, at;
    bool inside = false;

    if (t->oclient == CV_NONE)
        return false;
    gap.left = cv_chain_find(doc, t->oclient, t->oclock);
    x = &doc->items[gap.left];
    if (x->kind == CV_KIND_GC ||
        cv_list_is_key(&doc->lists[cv_tree_list(doc, gap.left)]))
        return false;
    if (cv_item_end(x) == t->oclock + 1) {
        if (!cv_tree_followed(doc, gap.left, t->rclient, t->rclock, &pos,
                              &gap.right))
            return false;
        if (carry_on(doc, t, gap.left, pos)) {
            expect(doc, x);
            return true;
        }
    } else {
        if (x->kind != CV_KIND_STRING || t->rclient != t->oclient ||
            t->rclock != t->oclock + 1)
            return false;
        at = t->rclock - x->clock;
        if (x->bytes != x->len)
            at = (uint32_t)cv_utf8_offset(cv_item_content(doc, x), x->bytes, at,
                                          &inside);
        if (inside)
            return false;
        gap.rest = x->bytes - at;
        pos = cv_tree_pos(doc, gap.left);
    }
    gap.leaf = x->leaf;
    gap.pos = pos + 1;
    if (!cv_gap_fill(doc, &gap, t->client, &t->text))
        return false;
    expect(doc, &doc->items[doc->clients[t->client].last]);
    return true;
}

static int apply_typed(struct cv_doc *doc, const struct typed *t)
{
    struct cv_struct s = {.client = t->client,
                          .clock = t->clock,
                          .len = t->text.units,
                          .oclient = t->oclient,
                          .oclock = t->oclock,
                          .rclient = t->rclient,
                          .rclock = t->rclock,
                          .content_len = (uint32_t)t->text.len,
                          .kind = CV_KIND_STRING,
                          .parent = CV_PARENT_NONE};

    if (put_between(doc, t))
        return CV_OK;
    return cv_integrate(doc, &s, t->text.data);
}

/* The run that was typed last is typed on: length, text, no deletes.  What the
 * stamp says is compared with what there is now, so it is never too old. */
static bool apply_stamped(struct cv_doc *doc, struct cv_bytes update)
{
    struct cv_quick *q = &doc->quick;
    const struct cv_client *c = &doc->clients[q->typist];
    const uint8_t *at;
    uint32_t units = c->next - q->stamp.from, n, pos, right;
    struct typed t = {.client = q->typist,
                      .clock = c->next,
                      .oclient = q->typist,
                      .oclock = c->next - 1,
                      .rclient = q->rclient,
                      .rclock = q->rclock};

    if (units >= q->stamp.left || update.len < q->stamp.len + 3u)
        return false;
    at = update.data + q->stamp.len;
    n = at[0];
    if (n == 0 || n > CV_KEYSTROKE || update.len != q->stamp.len + n + 2u ||
        at[n + 1] != 0 || !cv_stamp_matches(&q->stamp, update.data, units) ||
        n > CV_DOC_CLOCK_MAX - c->next ||
        n > doc->limits.log_bytes - doc->log_total)
        return false;
    t.text.data = at + 1;
    t.text.len = n;
    return cv_text_measure(&t.text) &&
           doc->items[c->last].kind == CV_KIND_STRING &&
           !cv_list_is_key(&doc->lists[cv_tree_list(doc, c->last)]) &&
           cv_tree_followed(doc, c->last, t.rclient, t.rclock, &pos, &right) &&
           carry_on(doc, &t, c->last, pos);
}

/* An edit may make so many items: a cut on both sides of what it inserts, and
 * of what it deletes. */
#define QUICK_ITEMS 5

bool cv_quick_apply(struct cv_doc *doc, struct cv_bytes update, int *err)
{
    const uint8_t *at = update.data, *end = at + update.len;
    struct cv_deleted gone;
    struct typed typed;
    bool types;

    if (update.len < QUICK_MIN || update.len > QUICK_MAX || at[0] > 1 ||
        cv_doc_waiting(doc) || doc->unsettled)
        return false;
    if (apply_stamped(doc, update)) {
        *err = CV_OK;
        return true;
    }
    if (doc->items_used + QUICK_ITEMS > doc->limits.items)
        return false;
    types = *at++ == 1; /* blocks */
    if ((types && (*at++ != 1 || !get_typed(doc, &at, end, &typed))) ||
        !get_deleted(doc, at, end, &gone))
        return false;
    *err = types ? apply_typed(doc, &typed) : CV_OK;
    if (*err == CV_OK && gone.len > 0)
        *err = cv_run_delete_range(doc, gone.client, gone.clock, gone.len);
    return true;
}
