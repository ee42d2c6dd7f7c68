#include "base/cert.h"

#include <assert.h>
#include <string.h>

const char *cv_role_name(enum cv_role role)
{
    switch (role) {
    case CV_ROLE_NONE:
        return "none";
    case CV_ROLE_VIEWER:
        return "viewer";
    case CV_ROLE_EDITOR:
        return "editor";
    case CV_ROLE_HOST:
        return "host";
    }
    return "unknown";
}

static bool expired(uint64_t not_after, uint64_t now)
{
    return now > not_after && now - not_after > CV_CLOCK_SLACK_S;
}

static void put_u64(uint8_t out[8], uint64_t v)
{
    for (int i = 8; i-- > 0; v >>= 8)
        out[i] = (uint8_t)v;
}

/* ---- node certificates ---- */

#define CERT_PARTS 3

static void cert_parts(struct cv_bytes parts[CERT_PARTS], uint8_t time[8],
                       const struct cv_cert *cert, const struct cv_key *node)
{
    put_u64(time, cert->not_after);
    parts[0] = CV_LITERAL("covim node 1");
    parts[1] = CV_BYTES(node->b, CV_KEY_LEN);
    parts[2] = CV_BYTES(time, 8);
}

int cv_cert_make(struct cv_cert *out, const struct cv_keypair *identity,
                 const struct cv_key *node, uint64_t not_after)
{
    struct cv_cert cert = {.identity = identity->pub, .not_after = not_after};
    struct cv_bytes parts[CERT_PARTS];
    uint8_t time[8];
    int err;

    cert_parts(parts, time, &cert, node);
    err = cv_sign(cert.sig, identity, parts, CERT_PARTS);
    if (err == CV_OK)
        *out = cert;
    return err;
}

int cv_cert_verify(const struct cv_cert *cert, const struct cv_key *node,
                   uint64_t now)
{
    struct cv_bytes parts[CERT_PARTS];
    uint8_t time[8];
    int err;

    cert_parts(parts, time, cert, node);
    err = cv_verify(&cert->identity, cert->sig, parts, CERT_PARTS);
    if (err == CV_OK && expired(cert->not_after, now))
        err = CV_ERR_EXPIRED;
    return err;
}

int cv_put_cert(struct cv_writer *w, const struct cv_cert *cert)
{
    cv_put_raw(w, cert->identity.b, CV_KEY_LEN);
    cv_put_u64(w, cert->not_after);
    return cv_put_raw(w, cert->sig, CV_SIG_LEN);
}

struct cv_cert cv_get_cert(struct cv_reader *r)
{
    struct cv_cert cert = {0};

    cv_get_raw(r, cert.identity.b, CV_KEY_LEN);
    cert.not_after = cv_get_u64(r);
    cv_get_raw(r, cert.sig, CV_SIG_LEN);
    return r->err == CV_OK ? cert : (struct cv_cert){0};
}

/* ---- grants ----
 *
 *     issuer[32] | parent[32] | I[32] | u8 role | u8 flags | u64 not_after |
 *     serial[16] | sig[64]
 *
 * What is signed is these bytes without the signature, after the label and
 * the session key. */

#define GRANT_SIGNED (CV_GRANT_BYTES - CV_SIG_LEN)
#define GRANT_PARTS  3
#define GRANT_FLAGS  CV_GRANT_ADMIT /* all that this version knows */

static void put_grant(struct cv_writer *w, const struct cv_grant *g)
{
    cv_put_raw(w, g->issuer.b, CV_KEY_LEN);
    cv_put_raw(w, g->parent, CV_HASH_LEN);
    cv_put_raw(w, g->subject.b, CV_KEY_LEN);
    cv_put_u8(w, g->role);
    cv_put_u8(w, g->flags);
    cv_put_u64(w, g->not_after);
    cv_put_raw(w, g->serial, sizeof(g->serial));
    cv_put_raw(w, g->sig, CV_SIG_LEN);
}

static void encode_grant(uint8_t out[CV_GRANT_BYTES], const struct cv_grant *g)
{
    struct cv_writer w;

    cv_writer_init(&w, out, CV_GRANT_BYTES);
    put_grant(&w, g);
    assert(w.err == CV_OK && w.len == CV_GRANT_BYTES);
}

static void grant_parts(struct cv_bytes parts[GRANT_PARTS],
                        uint8_t encoded[CV_GRANT_BYTES],
                        const struct cv_grant *g, const struct cv_key *session)
{
    encode_grant(encoded, g);
    parts[0] = CV_LITERAL("covim grant 1");
    parts[1] = CV_BYTES(session->b, CV_KEY_LEN);
    parts[2] = CV_BYTES(encoded, GRANT_SIGNED);
}

static void hash_grant(uint8_t out[CV_HASH_LEN], const struct cv_grant *g)
{
    uint8_t encoded[CV_GRANT_BYTES];

    encode_grant(encoded, g);
    cv_sha256(out, &CV_BYTES(encoded, CV_GRANT_BYTES), 1);
}

int cv_grants_issue(struct cv_grants *out, const struct cv_grants *parent,
                    const struct cv_key *session,
                    const struct cv_keypair *issuer,
                    const struct cv_key *subject, enum cv_role role,
                    uint8_t flags, uint64_t not_after, const struct cv_rng *rng)
{
    struct cv_grants chain = {0};
    struct cv_bytes parts[GRANT_PARTS];
    uint8_t encoded[CV_GRANT_BYTES];
    struct cv_grant *g;
    int err;

    assert(role >= CV_ROLE_VIEWER && role <= CV_ROLE_HOST);
    assert((flags & ~GRANT_FLAGS) == 0);
    if (parent)
        chain = *parent;
    if (chain.n >= CV_GRANT_CHAIN_MAX)
        return CV_ERR_LIMIT;
    g = &chain.chain[chain.n];
    *g = (struct cv_grant){.issuer = issuer->pub,
                           .subject = *subject,
                           .role = (uint8_t)role,
                           .flags = flags,
                           .not_after = not_after};
    if (chain.n == 0) {
        if (!cv_key_equal(&issuer->pub, session))
            return CV_ERR_DENIED;
    } else {
        const struct cv_grant *above = g - 1;

        if (!cv_key_equal(&issuer->pub, &above->subject) ||
            !(above->flags & CV_GRANT_ADMIT) || role > above->role)
            return CV_ERR_DENIED;
        if (g->not_after > above->not_after)
            g->not_after = above->not_after;
        hash_grant(g->parent, above);
    }
    cv_random(rng, g->serial, sizeof(g->serial));
    grant_parts(parts, encoded, g, session);
    err = cv_sign(g->sig, issuer, parts, GRANT_PARTS);
    if (err != CV_OK)
        return err;
    chain.n++;
    *out = chain;
    return CV_OK;
}

/* Does each grant hang on the one above it, from the session key down? */
static bool is_linked(const struct cv_grants *grants,
                      const struct cv_key *session)
{
    uint8_t parent[CV_HASH_LEN] = {0};
    const struct cv_key *issuer = session;

    for (unsigned i = 0; i < grants->n; i++) {
        const struct cv_grant *g = &grants->chain[i];

        if (!cv_key_equal(&g->issuer, issuer) ||
            memcmp(g->parent, parent, CV_HASH_LEN) != 0)
            return false;
        hash_grant(parent, g);
        issuer = &g->subject;
    }
    return true;
}

/* Is what this grant gives `above`'s to give?  `above` is NULL for the first.
 */
static bool is_within(const struct cv_grant *g, const struct cv_grant *above)
{
    if (g->role < CV_ROLE_VIEWER || g->role > CV_ROLE_HOST ||
        (g->flags & ~GRANT_FLAGS) != 0)
        return false;
    return !above ||
           ((above->flags & CV_GRANT_ADMIT) && g->role <= above->role &&
            g->not_after <= above->not_after);
}

enum cv_role cv_grants_role(const struct cv_grants *g)
{
    return g->n > 0 ? (enum cv_role)g->chain[g->n - 1].role : CV_ROLE_NONE;
}

bool cv_grants_are_for(const struct cv_grants *g, const struct cv_key *identity)
{
    return g->n > 0 && cv_key_equal(&g->chain[g->n - 1].subject, identity);
}

int cv_grants_verify(const struct cv_grants *grants,
                     const struct cv_key *session, const struct cv_key *subject,
                     uint64_t now, enum cv_role *role, uint8_t *flags)
{
    const struct cv_grant *last;

    if (grants->n == 0 || grants->n > CV_GRANT_CHAIN_MAX)
        return CV_ERR_DENIED;
    last = &grants->chain[grants->n - 1];
    if (!cv_key_equal(&last->subject, subject) || !is_linked(grants, session))
        return CV_ERR_AUTH;
    for (unsigned i = 0; i < grants->n; i++) {
        const struct cv_grant *g = &grants->chain[i];
        struct cv_bytes parts[GRANT_PARTS];
        uint8_t encoded[CV_GRANT_BYTES];
        int err;

        grant_parts(parts, encoded, g, session);
        err = cv_verify(&g->issuer, g->sig, parts, GRANT_PARTS);
        if (err != CV_OK)
            return err;
    }
    for (unsigned i = 0; i < grants->n; i++)
        if (!is_within(&grants->chain[i], i ? &grants->chain[i - 1] : NULL))
            return CV_ERR_DENIED;
    /* No grant outlives the one above it. */
    if (expired(last->not_after, now))
        return CV_ERR_EXPIRED;
    *role = (enum cv_role)last->role;
    *flags = last->flags;
    return CV_OK;
}

int cv_put_grants(struct cv_writer *w, const struct cv_grants *grants)
{
    assert(grants->n <= CV_GRANT_CHAIN_MAX);
    cv_put_u8(w, (uint8_t)grants->n);
    for (unsigned i = 0; i < grants->n; i++)
        put_grant(w, &grants->chain[i]);
    return w->err;
}

static struct cv_grant get_grant(struct cv_reader *r)
{
    struct cv_grant g = {0};

    cv_get_raw(r, g.issuer.b, CV_KEY_LEN);
    cv_get_raw(r, g.parent, CV_HASH_LEN);
    cv_get_raw(r, g.subject.b, CV_KEY_LEN);
    g.role = cv_get_u8(r);
    g.flags = cv_get_u8(r);
    g.not_after = cv_get_u64(r);
    cv_get_raw(r, g.serial, sizeof(g.serial));
    cv_get_raw(r, g.sig, CV_SIG_LEN);
    return g;
}

struct cv_grants cv_get_grants(struct cv_reader *r)
{
    struct cv_grants grants = {.n = cv_get_u8(r)};

    if (grants.n > CV_GRANT_CHAIN_MAX) {
        cv_reader_fail(r);
        return (struct cv_grants){0};
    }
    for (unsigned i = 0; i < grants.n; i++)
        grants.chain[i] = get_grant(r);
    return r->err == CV_OK ? grants : (struct cv_grants){0};
}
