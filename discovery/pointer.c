/* value  u8 1 | nonce[12] | sealed inner, zero padded | tag[16]
 * inner  u8 1 | u64 seq | u32 not_after | N[32] | I[32] | u64 cert_not_after |
 *        cert_sig[64] | u8 n, n * grant[186] | box[32] | salt[16] | u16 flags |
 *        candidates | gates | sig[64] */
#include "discovery/pointer.h"

#include <string.h>

#define VERSION    1u
#define OUTER_HEAD (1 + CV_NONCE_LEN)
#define OVERHEAD   (OUTER_HEAD + CV_SEAL_TAG)

/* Everything of `inner` but the lists, their counts included. */
#define INNER_FIXED                                                            \
    (1 + 8 + 4 + CV_KEY_LEN + CV_CERT_BYTES + 1 + 32 + CV_INBOX_SALT + 2 + 1 + \
     CV_SIG_LEN)

static const size_t sizes[] = {512, 600, CV_POINTER_MAX};
#define SIZE_ONE_PACKET 1 /* index of the largest that is one DHT packet */
#define SIZE_LAST       2

static size_t candidates_size(const struct cv_candidates *c, unsigned n)
{
    size_t size = 0;

    for (unsigned i = 0; i < n; i++)
        size += cv_candidate_size(&c->c[i]);
    return size;
}

/* How many of the candidates fit into a record of this size beside `rest`. */
static unsigned fitting(const struct cv_candidates *c, size_t rest, size_t size)
{
    unsigned n = c->n;

    while (n > 0 && rest + candidates_size(c, n) > size)
        n--;
    return n;
}

/* The size of the record; drops candidates.  0 when nothing fits. */
static size_t choose_size(struct cv_candidates *c, size_t rest)
{
    for (unsigned i = 0; i <= SIZE_LAST; i++) {
        const unsigned n = fitting(c, rest, sizes[i]);

        if (rest > sizes[i])
            continue;
        if (n == c->n || i == SIZE_LAST ||
            (i == SIZE_ONE_PACKET && n >= CV_POINTER_KEEP)) {
            c->n = n;
            return sizes[i];
        }
    }
    return 0;
}

static int sign(uint8_t sig[CV_SIG_LEN], const struct cv_place *place,
                const struct cv_keypair *node, struct cv_bytes inner)
{
    const struct cv_bytes parts[] = {
        CV_LITERAL("covim ptr 1"),
        CV_BYTES(place->loc.b, CV_LOC_LEN),
        inner,
    };

    return cv_sign(sig, node, parts, 3);
}

struct aad {
    uint8_t b[9 + CV_LOC_LEN]; /* "covim ptr" || loc */
};

static struct aad aad_of(const struct cv_place *place)
{
    struct aad aad;

    memcpy(aad.b, "covim ptr", 9);
    memcpy(aad.b + 9, place->loc.b, CV_LOC_LEN);
    return aad;
}

int cv_pointer_seal(uint8_t out[CV_POINTER_MAX], size_t *len,
                    const struct cv_pointer *p, const struct cv_place *place,
                    const struct cv_keypair *node, const struct cv_rng *rng)
{
    const struct aad aad = aad_of(place);
    struct cv_candidates candidates;
    uint8_t inner[CV_POINTER_MAX];
    uint8_t sig[CV_SIG_LEN];
    struct cv_writer w;
    size_t size, inner_len;
    uint16_t flags;
    int err;

    cv_candidates_sorted(&candidates, &p->candidates, CV_CANDIDATES_MAX);
    size = choose_size(&candidates, OVERHEAD + INNER_FIXED +
                                        p->grants.n * CV_GRANT_BYTES +
                                        cv_gates_size(&p->gates));
    if (size == 0)
        return CV_ERR_NOBUF;
    inner_len = size - OVERHEAD;
    flags = (uint16_t)((p->flags & ~CV_RECORD_NAT_MASK) |
                       (candidates.nat & CV_RECORD_NAT_MASK));

    cv_writer_init(&w, inner, inner_len);
    cv_put_u8(&w, VERSION);
    cv_put_u64(&w, p->seq);
    cv_put_u32(&w, p->not_after);
    cv_put_raw(&w, p->node.b, CV_KEY_LEN);
    cv_put_cert(&w, &p->cert);
    cv_put_grants(&w, &p->grants);
    cv_put_raw(&w, p->box, sizeof(p->box));
    cv_put_raw(&w, p->salt, sizeof(p->salt));
    cv_put_u16(&w, flags);
    cv_put_candidates(&w, &candidates);
    cv_put_gates(&w, &p->gates);
    if (w.err != CV_OK)
        return w.err;
    err = sign(sig, place, node, cv_writer_bytes(&w));
    if (err != CV_OK)
        return CV_ERR_INTERNAL;
    cv_put_raw(&w, sig, sizeof(sig));
    cv_put_zeros(&w, inner_len - w.len);
    if (w.err != CV_OK)
        return w.err;

    out[0] = VERSION;
    cv_random(rng, out + 1, CV_NONCE_LEN);
    cv_seal(out + OUTER_HEAD, place->key, out + 1,
            CV_BYTES(aad.b, sizeof(aad.b)), inner, inner_len);
    *len = size;
    return CV_OK;
}

int cv_pointer_parse(struct cv_pointer *out, struct cv_pointer_raw *raw)
{
    struct cv_reader r;
    uint16_t flags;

    memset(out, 0, sizeof(*out));
    raw->signed_len = 0;
    cv_reader_init(&r, raw->data, raw->len);
    if (cv_get_u8(&r) != VERSION)
        cv_reader_fail(&r);
    out->seq = cv_get_u64(&r);
    out->not_after = cv_get_u32(&r);
    cv_get_raw(&r, out->node.b, CV_KEY_LEN);
    out->cert = cv_get_cert(&r);
    out->grants = cv_get_grants(&r);
    if (out->grants.n == 0)
        cv_reader_fail(&r);
    cv_get_raw(&r, out->box, sizeof(out->box));
    cv_get_raw(&r, out->salt, sizeof(out->salt));
    flags = cv_get_u16(&r);
    cv_get_candidates(&r, &out->candidates, CV_CANDIDATES_MAX);
    out->candidates.nat = flags & CV_RECORD_NAT_MASK;
    out->flags = (uint16_t)(flags & ~CV_RECORD_NAT_MASK);
    cv_get_gates(&r, &out->gates, CV_GATE_REFS_MAX);
    return cv_get_signed_end(&r, raw->len, &raw->signed_len);
}

static bool is_size(size_t len)
{
    for (unsigned i = 0; i <= SIZE_LAST; i++) {
        if (len == sizes[i])
            return true;
    }
    return false;
}

int cv_pointer_open(struct cv_pointer *out, struct cv_pointer_raw *raw,
                    const struct cv_place *place, struct cv_bytes value)
{
    const struct aad aad = aad_of(place);
    int err;

    if (!is_size(value.len) || value.data[0] != VERSION)
        return CV_ERR_FORMAT;
    raw->len = value.len - OVERHEAD;
    err = cv_open(raw->data, place->key, value.data + 1,
                  CV_BYTES(aad.b, sizeof(aad.b)), value.data + OUTER_HEAD,
                  value.len - OUTER_HEAD);
    if (err != CV_OK)
        return CV_ERR_AUTH;
    return cv_pointer_parse(out, raw);
}

int cv_pointer_verify(const struct cv_pointer *p,
                      const struct cv_pointer_raw *raw,
                      const struct cv_place *place,
                      const struct cv_key *session, uint64_t now,
                      enum cv_role *role, uint8_t *grant_flags)
{
    const struct cv_bytes parts[] = {
        CV_LITERAL("covim ptr 1"),
        CV_BYTES(place->loc.b, CV_LOC_LEN),
        CV_BYTES(raw->data, raw->signed_len),
    };
    int err;

    if ((uint64_t)p->not_after + CV_CLOCK_SLACK_S <= now)
        return CV_ERR_EXPIRED;
    /* Nobody honest outlives the epoch of the place by more than a lifetime,
     * whatever our own clock says. */
    if (p->not_after > (place->epoch + 1) * CV_EPOCH_S + CV_POINTER_LIFETIME_S)
        return CV_ERR_AUTH;
    err = cv_verify(&p->node, raw->data + raw->signed_len, parts, 3);
    if (err != CV_OK)
        return CV_ERR_AUTH;
    err = cv_cert_verify(&p->cert, &p->node, now);
    if (err != CV_OK)
        return err;
    return cv_grants_verify(&p->grants, session, &p->cert.identity, now, role,
                            grant_flags);
}

void cv_pointer_digest(uint8_t out[CV_DIGEST_LEN], struct cv_bytes value)
{
    uint8_t hash[CV_HASH_LEN];

    cv_sha256(hash, &value, 1);
    memcpy(out, hash, CV_DIGEST_LEN);
}

bool cv_digest_is_in(const uint8_t *ring, unsigned n,
                     const uint8_t digest[CV_DIGEST_LEN])
{
    for (unsigned i = 0; i < n; i++)
        if (memcmp(ring + (size_t)i * CV_DIGEST_LEN, digest, CV_DIGEST_LEN) ==
            0)
            return true;
    return false;
}

void cv_digest_note(uint8_t *ring, unsigned n, unsigned *at,
                    const uint8_t digest[CV_DIGEST_LEN])
{
    memcpy(ring + (size_t)*at * CV_DIGEST_LEN, digest, CV_DIGEST_LEN);
    *at = (*at + 1) % n;
}
