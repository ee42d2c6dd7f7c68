#include "crdt/revert.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crdt/authors.h"

/* What is dropped at a time: bytes of one note, about. */
#define NOTE_BYTES 65536
/* So many are looked at for one that may grow. */
#define NOTE_LOOK 16

struct note {
    unsigned who;
    struct cv_change gone;
};

struct cv_revert {
    struct cv_doc *doc;
    size_t max_bytes;
    size_t held;
    uint64_t forgot;    /* a bit for each person */
    struct note *notes; /* the oldest first; those before `first` are dropped */
    size_t first, n, cap;
};

static size_t note_bytes(const struct note *x)
{
    return sizeof(*x) + cv_change_bytes(&x->gone);
}

int cv_revert_new(struct cv_revert **out, struct cv_doc *doc, size_t max_bytes)
{
    struct cv_revert *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return CV_ERR_NOMEM;
    r->doc = doc;
    r->max_bytes = max_bytes;
    *out = r;
    return CV_OK;
}

void cv_revert_free(struct cv_revert *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->n; i++)
        cv_change_fini(&r->notes[r->first + i].gone);
    free(r->notes);
    free(r);
}

bool cv_revert_forgot(const struct cv_revert *r, unsigned who)
{
    return who < CV_REVERT_PEOPLE && (r->forgot >> who & 1) != 0;
}

size_t cv_revert_held(const struct cv_revert *r)
{
    return r->held;
}

/* ---- noting ---- */

/* A note of `who` that has room; NULL without memory. */
static struct note *open_note(struct cv_revert *r, unsigned who)
{
    struct note *x;

    for (size_t i = 0; i < r->n && i < NOTE_LOOK; i++) {
        x = &r->notes[r->first + r->n - 1 - i];
        if (x->who == who)
            if (cv_change_bytes(&x->gone) < NOTE_BYTES)
                return x;
    }
    if (r->first > 0 && r->first + r->n == r->cap) {
        memmove(r->notes, r->notes + r->first, r->n * sizeof(*r->notes));
        r->first = 0;
    }
    if (!cv_change_grow((void **)&r->notes, &r->cap, r->first + r->n, 1,
                        sizeof(*r->notes)))
        return NULL;
    x = &r->notes[r->first + r->n++];
    *x = (struct note){.who = who};
    r->held += note_bytes(x);
    return x;
}

static void drop_oldest(struct cv_revert *r)
{
    struct note *x = &r->notes[r->first];

    r->held -= note_bytes(x);
    r->forgot |= UINT64_C(1) << x->who;
    cv_change_fini(&x->gone);
    r->first++;
    r->n--;
}

struct noting {
    struct cv_revert *r;
    unsigned who;
    bool (*theirs)(void *user, uint64_t client);
    void *user;
};

static void note_span(struct cv_revert *r, unsigned who,
                      const struct cv_span *span)
{
    struct note *x;
    bool noted = false;

    if (span->bytes <= r->max_bytes) {
        x = open_note(r, who);
        if (x != NULL) {
            r->held -= note_bytes(x);
            noted = cv_change_add_gone(&x->gone, r->doc, span);
            r->held += note_bytes(x);
        }
    }
    if (!noted)
        r->forgot |= UINT64_C(1) << who;
    while (r->held > r->max_bytes && r->n)
        drop_oldest(r);
}

static void note_range(void *user, const struct cv_range *range)
{
    struct noting *n = user;
    struct cv_id id = {range->client, range->clock};
    uint64_t left = range->len;
    struct cv_span span;

    if (n->theirs(n->user, range->client))
        return;
    while (left > 0 && cv_span_live(n->r->doc, id, left, &span)) {
        note_span(n->r, n->who, &span);
        left -= span.id.clock + span.units - id.clock;
        id.clock = span.id.clock + span.units;
    }
}

void cv_revert_note(struct cv_revert *r, unsigned who, struct cv_bytes update,
                    bool (*theirs)(void *user, uint64_t client), void *user)
{
    struct noting n = {r, who, theirs, user};

    assert(who < CV_REVERT_PEOPLE);
    (void)!cv_update_deletes(update, note_range, &n);
}

struct asking {
    const struct cv_doc *doc;
    bool found;
};

static void ask_range(void *user, const struct cv_range *range)
{
    struct asking *a = user;
    struct cv_span span;

    a->found = a->found ||
               cv_span_live(a->doc, (struct cv_id){range->client, range->clock},
                            range->len, &span);
}

bool cv_revert_would_delete(const struct cv_doc *doc, struct cv_bytes update)
{
    struct asking a = {doc, false};

    (void)!cv_update_deletes(update, ask_range, &a);
    return a.found;
}

/* ---- using ---- */

int cv_revert_change(const struct cv_revert *r, unsigned who,
                     const uint64_t *clients, size_t n, struct cv_change *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t clock = cv_doc_clock(r->doc, clients[i]);

        if (clock > 0 &&
            !cv_change_add_ours(out, (struct cv_units){clients[i], 0, clock}))
            return CV_ERR_NOMEM;
    }
    for (size_t i = 0; i < r->n; i++) {
        const struct note *x = &r->notes[r->first + i];

        if (x->who == who && !cv_change_add_all_gone(out, r->doc, &x->gone))
            return CV_ERR_NOMEM;
    }
    return CV_OK;
}

void cv_revert_forget(struct cv_revert *r, unsigned who)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->n; i++) {
        struct note *x = &r->notes[r->first + i];

        if (x->who == who) {
            r->held -= note_bytes(x);
            cv_change_fini(&x->gone);
        } else {
            r->notes[r->first + kept++] = *x;
        }
    }
    r->n = kept;
    if (who < CV_REVERT_PEOPLE)
        r->forgot &= ~(UINT64_C(1) << who);
}
