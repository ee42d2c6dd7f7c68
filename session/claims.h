/* session/claims.h - who signed for which client id.
 *
 * Before its first edit a replica states that it, run by identity I on node N,
 * writes under a client id of a document:
 *
 *   sig_I("covim client 1" || S || u32 document || u64 client || N)
 *
 * N is S itself for the text that a session began with, and then I is who
 * shared it.  The first valid claim for a client id stays.  That I is a member
 * is for the session to know; a claim says nothing of text that an editor
 * forwards, only that I once said "this is mine". */
#ifndef CV_SESSION_CLAIMS_H
#define CV_SESSION_CLAIMS_H
#include "base/key.h"

#define CV_CLAIM_BYTES (8u + CV_KEY_LEN + CV_KEY_LEN + CV_SIG_LEN)
#define CV_CLAIMS_MAX  2048u /* of a document: starts of replicas */

struct cv_claim {
    uint64_t client;
    struct cv_key identity;
    struct cv_key node;
    uint8_t sig[CV_SIG_LEN];
};

struct cv_claims;

CV_MUST_USE int cv_claims_new(struct cv_claims **out,
                              const struct cv_key *session, uint32_t document);
void cv_claims_free(struct cv_claims *claims);

CV_MUST_USE int cv_claims_sign(const struct cv_claims *claims,
                               struct cv_claim *out,
                               const struct cv_keypair *identity,
                               const struct cv_key *node, uint64_t client);
/* CV_OK: it is new and valid.  CV_ERR_EXISTS: that client id is claimed (one
 * look-up, no signature is checked); CV_ERR_AUTH; CV_ERR_LIMIT;
 * CV_ERR_NOMEM. */
CV_MUST_USE int cv_claims_add(struct cv_claims *claims,
                              const struct cv_claim *claim);
/* NULL if nobody claimed it. */
const struct cv_claim *cv_claims_find(const struct cv_claims *claims,
                                      uint64_t client);
/* In ascending order of client ids; `i` from 0, NULL at the end. */
const struct cv_claim *cv_claims_at(const struct cv_claims *claims, size_t i);

/* u64 client, I, N, signature. */
int cv_put_claim(struct cv_writer *w, const struct cv_claim *claim);
struct cv_claim cv_get_claim(struct cv_reader *r);
#endif
