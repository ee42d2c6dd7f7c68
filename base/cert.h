/* base/cert.h - who is who and who may do what: node certificates and grants.
 *
 * A certificate says that identity I runs node N until a time:
 *   sig_I("covim node 1" || N || u64 not_after)
 * A grant says that in session S identity I has a role:
 *   sig_issuer("covim grant 1" || S || issuer || parent || I || u8 role ||
 *              u8 flags || u64 not_after || serial[16])
 * where `parent` is SHA-256 of the encoded grant above it, or zeros when the
 * issuer is S itself.  Times are Unix seconds.  Rules: docs/protocol.md. */
#ifndef CV_BASE_CERT_H
#define CV_BASE_CERT_H
#include "base/bytes.h"
#include "base/key.h"
#include "base/time.h"

#define CV_CERT_LIFETIME_S  (24 * 3600) /* renewed at half */
#define CV_CLOCK_SLACK_S    120         /* how far clocks may be apart */
#define CV_GRANT_CHAIN_MAX  4
#define CV_CERT_BYTES       (32 + 8 + 64) /* I, not_after, sig; N is known */
#define CV_GRANT_BYTES      (32 + 32 + 32 + 1 + 1 + 8 + 16 + 64)
#define CV_GRANT_LIFETIME_S (365 * 24 * 3600)

/* Ordered: a child's role is at most its parent's. */
enum cv_role {
    CV_ROLE_NONE = 0,
    CV_ROLE_VIEWER = 1,
    CV_ROLE_EDITOR = 2,
    CV_ROLE_HOST = 3,
};
const char *cv_role_name(enum cv_role role); /* "host", "editor", … */

#define CV_GRANT_ADMIT 0x01 /* may let others in */

struct cv_cert {
    struct cv_key identity;
    uint64_t not_after;
    uint8_t sig[CV_SIG_LEN];
};

CV_MUST_USE int cv_cert_make(struct cv_cert *out,
                             const struct cv_keypair *identity,
                             const struct cv_key *node, uint64_t not_after);
/* CV_ERR_AUTH, or CV_ERR_EXPIRED when `now` is past it by more than the
 * slack. */
CV_MUST_USE int cv_cert_verify(const struct cv_cert *cert,
                               const struct cv_key *node, uint64_t now);
int cv_put_cert(struct cv_writer *w, const struct cv_cert *cert);
struct cv_cert cv_get_cert(struct cv_reader *r);

struct cv_grant {
    struct cv_key issuer;
    uint8_t parent[CV_HASH_LEN];
    struct cv_key subject; /* the identity I */
    uint8_t role;          /* enum cv_role */
    uint8_t flags;
    uint64_t not_after;
    uint8_t serial[16];
    uint8_t sig[CV_SIG_LEN];
};

/* From the session key (first) to the holder (last). */
struct cv_grants {
    unsigned n; /* 0: none */
    struct cv_grant chain[CV_GRANT_CHAIN_MAX];
};

/* Append a grant for `subject` to a copy of `parent` (NULL or empty when
 * `issuer` is the session key itself).  `not_after` is cut to the parent's.
 * Returns CV_OK, CV_ERR_LIMIT (chain too long), CV_ERR_DENIED (the parent does
 * not let its holder admit, or the role is above its own). */
CV_MUST_USE int
cv_grants_issue(struct cv_grants *out, const struct cv_grants *parent,
                const struct cv_key *session, const struct cv_keypair *issuer,
                const struct cv_key *subject, enum cv_role role, uint8_t flags,
                uint64_t not_after, const struct cv_rng *rng);
/* Of its last grant, whether it holds or not; NONE without any. */
enum cv_role cv_grants_role(const struct cv_grants *g);
/* Does the chain end with this identity, whether it holds or not? */
bool cv_grants_are_for(const struct cv_grants *g,
                       const struct cv_key *identity);
/* Does the chain give `subject` a role in `session` at `now`?  On CV_OK the
 * role and flags are of the last grant.  CV_ERR_AUTH, CV_ERR_EXPIRED,
 * CV_ERR_DENIED as the rule that failed. */
CV_MUST_USE int cv_grants_verify(const struct cv_grants *grants,
                                 const struct cv_key *session,
                                 const struct cv_key *subject, uint64_t now,
                                 enum cv_role *role, uint8_t *flags);
/* u8 n, n × grant (CV_GRANT_BYTES). */
int cv_put_grants(struct cv_writer *w, const struct cv_grants *grants);
struct cv_grants cv_get_grants(struct cv_reader *r);
#endif
