#include "transport/route.h"
#include <stdlib.h>
#include <string.h>

struct cv_route {
    struct cv_route *next;
    struct cv_quic_cid cid;
    void *value;
};

void cv_routes_init(struct cv_routes *r, const struct cv_rng *rng)
{
    memset(r, 0, sizeof *r);
    r->seed = cv_random_u64(rng);
}

void cv_routes_fini(struct cv_routes *r)
{
    for (unsigned i = 0; i < 256; i++)
        while (r->bucket[i]) {
            struct cv_route *next = r->bucket[i]->next;

            free(r->bucket[i]);
            r->bucket[i] = next;
        }
    r->last = NULL;
    r->n = 0;
}

/* FNV-1a from a secret start. */
static unsigned hash(const struct cv_routes *r, const struct cv_quic_cid *cid)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ r->seed;

    for (unsigned i = 0; i < cid->len && i < CV_QUIC_CID_MAX; i++) {
        h ^= cid->b[i];
        h *= UINT64_C(0x100000001b3);
    }
    return (unsigned)(h >> 56);
}

static bool same(const struct cv_quic_cid *a, const struct cv_quic_cid *b)
{
    return a->len == b->len && memcmp(a->b, b->b, sizeof a->b) == 0;
}

int cv_routes_add(struct cv_routes *r, const struct cv_quic_cid *cid,
                  void *value)
{
    struct cv_route **at = &r->bucket[hash(r, cid)];
    struct cv_route *e;

    for (e = *at; e; e = e->next)
        if (same(&e->cid, cid)) {
            e->value = value;
            return CV_OK;
        }
    if (r->n >= CV_ROUTES_MAX)
        return CV_ERR_LIMIT;
    e = malloc(sizeof *e);
    if (!e)
        return CV_ERR_NOMEM;
    *e = (struct cv_route){.next = *at, .cid = *cid, .value = value};
    *at = e;
    r->n++;
    return CV_OK;
}

void cv_routes_remove(struct cv_routes *r, const struct cv_quic_cid *cid,
                      const void *value)
{
    for (struct cv_route **at = &r->bucket[hash(r, cid)]; *at;
         at = &(*at)->next) {
        struct cv_route *e = *at;

        if (!same(&e->cid, cid) || e->value != value)
            continue;
        *at = e->next;
        if (r->last == e)
            r->last = NULL;
        free(e);
        r->n--;
        return;
    }
}

void *cv_routes_find(struct cv_routes *r, const struct cv_quic_cid *cid)
{
    if (r->last && same(&r->last->cid, cid))
        return r->last->value;
    for (struct cv_route *e = r->bucket[hash(r, cid)]; e; e = e->next)
        if (same(&e->cid, cid)) {
            r->last = e;
            return e->value;
        }
    return NULL;
}
