#include "session/claims.h"

#include <stdlib.h>
#include <string.h>

struct cv_claims {
    struct cv_key session;
    uint32_t document;
    struct cv_claim *claims; /* by client */
    size_t n;
    size_t cap;
};

int cv_claims_new(struct cv_claims **out, const struct cv_key *session,
                  uint32_t document)
{
    struct cv_claims *c = calloc(1, sizeof(*c));

    if (!c)
        return CV_ERR_NOMEM;
    c->session = *session;
    c->document = document;
    *out = c;
    return CV_OK;
}

void cv_claims_free(struct cv_claims *claims)
{
    if (!claims)
        return;
    free(claims->claims);
    free(claims);
}

/* Where the claim of `client` is, or belongs. */
static size_t position(const struct cv_claims *c, uint64_t client)
{
    size_t low = 0, high = c->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (c->claims[middle].client < client)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct cv_claim *cv_claims_find(const struct cv_claims *c,
                                      uint64_t client)
{
    size_t at = position(c, client);

    return at < c->n && c->claims[at].client == client ? &c->claims[at] : NULL;
}

const struct cv_claim *cv_claims_at(const struct cv_claims *c, size_t i)
{
    return i < c->n ? &c->claims[i] : NULL;
}

/* What is signed: u32 document, u64 client. */
static void numbers(uint8_t out[12], uint32_t document, uint64_t client)
{
    struct cv_writer w;

    cv_writer_init(&w, out, 12);
    cv_put_u32(&w, document);
    cv_put_u64(&w, client);
}

int cv_claims_sign(const struct cv_claims *c, struct cv_claim *out,
                   const struct cv_keypair *identity, const struct cv_key *node,
                   uint64_t client)
{
    uint8_t n[12];
    const struct cv_bytes parts[] = {CV_LITERAL("covim client 1"),
                                     {c->session.b, CV_KEY_LEN},
                                     {n, sizeof(n)},
                                     {node->b, CV_KEY_LEN}};

    numbers(n, c->document, client);
    out->client = client;
    out->identity = identity->pub;
    out->node = *node;
    return cv_sign(out->sig, identity, parts, 4);
}

int cv_claims_add(struct cv_claims *c, const struct cv_claim *claim)
{
    uint8_t n[12];
    const struct cv_bytes parts[] = {CV_LITERAL("covim client 1"),
                                     {c->session.b, CV_KEY_LEN},
                                     {n, sizeof(n)},
                                     {claim->node.b, CV_KEY_LEN}};
    size_t at = position(c, claim->client);
    int err;

    if (at < c->n && c->claims[at].client == claim->client)
        return CV_ERR_EXISTS;
    if (c->n == CV_CLAIMS_MAX)
        return CV_ERR_LIMIT;
    numbers(n, c->document, claim->client);
    err = cv_verify(&claim->identity, claim->sig, parts, 4);
    if (err != CV_OK)
        return err;
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 8;
        struct cv_claim *claims = realloc(c->claims, cap * sizeof(*claims));

        if (!claims)
            return CV_ERR_NOMEM;
        c->claims = claims;
        c->cap = cap;
    }
    memmove(&c->claims[at + 1], &c->claims[at],
            (c->n - at) * sizeof(*c->claims));
    c->claims[at] = *claim;
    c->n++;
    return CV_OK;
}

int cv_put_claim(struct cv_writer *w, const struct cv_claim *claim)
{
    cv_put_u64(w, claim->client);
    cv_put_raw(w, claim->identity.b, CV_KEY_LEN);
    cv_put_raw(w, claim->node.b, CV_KEY_LEN);
    return cv_put_raw(w, claim->sig, CV_SIG_LEN);
}

struct cv_claim cv_get_claim(struct cv_reader *r)
{
    struct cv_claim claim;

    claim.client = cv_get_u64(r);
    cv_get_raw(r, claim.identity.b, CV_KEY_LEN);
    cv_get_raw(r, claim.node.b, CV_KEY_LEN);
    cv_get_raw(r, claim.sig, CV_SIG_LEN);
    return claim;
}
