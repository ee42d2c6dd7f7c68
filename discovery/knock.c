/* knock   u8 1 | eph[32] | u64 pow | sealed inner, zero padded | tag[16]
 * inner   req_id[16] | u64 ptr_seq | ptr_digest[8] | N_J[32] | I_J[32] |
 *         u64 cert_not_after | cert_sig[64] |
 *         u8 proof { 1: grant[186]; 2: id[8] | mac[16] } |
 *         u8 length, name | u16 flags | { first_eph[32] if flags & 0x8000 } |
 *         candidates | gates | sig[64]
 *
 * answer  u8 1 | u32 counter | sealed body, sig, zero padded | tag[16]
 * body    req_id[16] | u8 verdict | u16 flags | candidates | gates |
 *         u16 rtt_ms | u8 plan | u16 t0_ms */
#include "discovery/knock.h"

#include <string.h>

#define VERSION     1u
#define FLAG_AGAIN  0x8000u
#define FLAG_STRICT 0x4000u /* CV_NAT_STRICT, whose own bit AGAIN has */
#define KNOCK_HEAD  (1 + 32 + 8)
#define KNOCK_INNER (CV_KNOCK_BYTES - KNOCK_HEAD - CV_SEAL_TAG)
#define POW_AT      33

#define ANSWER_HEAD  (1 + 4)
#define ANSWER_INNER (CV_ANSWER_BYTES - ANSWER_HEAD - CV_SEAL_TAG)

static const uint8_t nonce_zero[CV_NONCE_LEN];

/* A fresh eph for every envelope makes the key unique, so the nonce need not
 * be. */
static void knock_key(uint8_t key[CV_SEAL_KEY], const uint8_t shared[32],
                      const uint8_t eph[32], const uint8_t box[32])
{
    const struct cv_bytes none = {NULL, 0};
    const struct cv_bytes info[] = {
        CV_LITERAL("covim join"),
        CV_BYTES(eph, 32),
        CV_BYTES(box, 32),
    };

    cv_hkdf(key, CV_SEAL_KEY, none, CV_BYTES(shared, 32), info, 3);
}

struct knock_aad {
    uint8_t b[CV_LOC_LEN + 1 + 32]; /* inbox || ver || eph */
};

static struct knock_aad knock_aad_of(const struct cv_loc *inbox,
                                     const uint8_t eph[32])
{
    struct knock_aad aad;

    memcpy(aad.b, inbox->b, CV_LOC_LEN);
    aad.b[CV_LOC_LEN] = VERSION;
    memcpy(aad.b + CV_LOC_LEN + 1, eph, 32);
    return aad;
}

/* SHA-256(inbox || eph || tag || pow) begins with so many zero bits? */
static bool worked(const uint8_t *value, const struct cv_loc *inbox,
                   unsigned bits)
{
    const struct cv_bytes parts[] = {
        CV_BYTES(inbox->b, CV_LOC_LEN),
        CV_BYTES(value + 1, 32),
        CV_BYTES(value + CV_KNOCK_BYTES - CV_SEAL_TAG, CV_SEAL_TAG),
        CV_BYTES(value + POW_AT, 8),
    };
    uint8_t hash[CV_HASH_LEN];

    if (bits == 0)
        return true;
    cv_sha256(hash, parts, 4);
    for (unsigned i = 0; i < bits && i < 8 * CV_HASH_LEN; i++) {
        if (hash[i / 8] & (0x80u >> (i % 8)))
            return false;
    }
    return true;
}

static void put_u64_at(uint8_t *out, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}

static void work(uint8_t *value, const struct cv_loc *inbox, unsigned bits)
{
    for (uint64_t pow = 0; !worked(value, inbox, bits);)
        put_u64_at(value + POW_AT, ++pow);
}

static int knock_sign(uint8_t sig[CV_SIG_LEN], const struct cv_keypair *node,
                      const struct cv_loc *inbox, const uint8_t eph[32],
                      const uint8_t box[32], struct cv_bytes inner)
{
    const struct cv_bytes parts[] = {
        CV_LITERAL("covim join 1"),
        CV_BYTES(inbox->b, CV_LOC_LEN),
        CV_BYTES(eph, 32),
        CV_BYTES(box, 32),
        inner,
    };

    return cv_sign(sig, node, parts, 5);
}

static void put_proof(struct cv_writer *w, const struct cv_knock *k)
{
    switch (k->proof) {
    case CV_PROOF_NONE:
        cv_put_u8(w, CV_PROOF_NONE);
        return;
    case CV_PROOF_GRANT: {
        /* One grant is a chain of one: its count is the proof's number. */
        const struct cv_grants one = {.n = 1, .chain = {k->grant}};

        cv_put_grants(w, &one);
        return;
    }
    case CV_PROOF_INVITE:
        cv_put_u8(w, CV_PROOF_INVITE);
        cv_put_raw(w, k->invite_id, sizeof(k->invite_id));
        cv_put_raw(w, k->invite_mac, sizeof(k->invite_mac));
        return;
    }
}

static void get_proof(struct cv_reader *r, struct cv_knock *k)
{
    const uint8_t kind = cv_reader_left(r) > 0 ? *r->at : 0;

    if (kind == CV_PROOF_GRANT) {
        const struct cv_grants one = cv_get_grants(r);

        k->proof = CV_PROOF_GRANT;
        k->grant = one.chain[0];
        return;
    }
    cv_get_u8(r);
    if (kind == CV_PROOF_INVITE) {
        k->proof = CV_PROOF_INVITE;
        cv_get_raw(r, k->invite_id, sizeof(k->invite_id));
        cv_get_raw(r, k->invite_mac, sizeof(k->invite_mac));
    } else if (kind != CV_PROOF_NONE) {
        cv_reader_fail(r);
    }
}

/* Everything that the signature covers; sticky error in `w`. */
static void put_knock_inner(struct cv_writer *w, const struct cv_knock *k,
                            const struct cv_candidates *candidates)
{
    const size_t name_len = strlen(k->name);
    unsigned flags = candidates->nat & CV_RECORD_NAT_MASK & ~CV_NAT_STRICT;
    struct cv_gate_refs gates = k->gates;

    if (gates.n > CV_KNOCK_GATES)
        gates.n = CV_KNOCK_GATES;
    cv_put_raw(w, k->req_id, sizeof(k->req_id));
    cv_put_u64(w, k->ptr_seq);
    cv_put_raw(w, k->ptr_digest, sizeof(k->ptr_digest));
    cv_put_raw(w, k->node.b, CV_KEY_LEN);
    cv_put_cert(w, &k->cert);
    put_proof(w, k);
    cv_put_u8(w, (uint8_t)name_len);
    cv_put_raw(w, k->name, name_len);
    flags |= candidates->nat & CV_NAT_STRICT ? FLAG_STRICT : 0u;
    flags |= k->again ? FLAG_AGAIN : 0u;
    cv_put_u16(w, (uint16_t)flags);
    if (k->again)
        cv_put_raw(w, k->first_eph, sizeof(k->first_eph));
    cv_put_candidates(w, candidates);
    cv_put_gates(w, &gates);
}

int cv_knock_seal(uint8_t out[CV_KNOCK_BYTES], const struct cv_knock *k,
                  const struct cv_loc *inbox, const uint8_t eph_secret[32],
                  const uint8_t box[32], const struct cv_keypair *node,
                  unsigned pow_bits)
{
    struct cv_candidates candidates;
    uint8_t inner[KNOCK_INNER], sig[CV_SIG_LEN], shared[32], key[CV_SEAL_KEY];
    struct knock_aad aad;
    struct cv_writer w;
    int err;

    if (pow_bits > CV_KNOCK_POW_MAX ||
        memchr(k->name, 0, sizeof(k->name)) == NULL ||
        !cv_utf8_valid(k->name, strlen(k->name)))
        return CV_ERR_INVALID;
    out[0] = VERSION;
    cv_x25519_public(out + 1, eph_secret);
    memset(out + POW_AT, 0, 8);

    cv_candidates_sorted(&candidates, &k->candidates, CV_KNOCK_CANDIDATES);
    for (;;) {
        cv_writer_init(&w, inner, sizeof(inner));
        put_knock_inner(&w, k, &candidates);
        if (w.err == CV_OK && w.len + CV_SIG_LEN <= sizeof(inner))
            break;
        if (candidates.n == 0)
            return CV_ERR_NOBUF;
        candidates.n--;
    }
    err = knock_sign(sig, node, inbox, out + 1, box, cv_writer_bytes(&w));
    if (err != CV_OK)
        return CV_ERR_INTERNAL;
    cv_put_raw(&w, sig, sizeof(sig));
    cv_put_zeros(&w, sizeof(inner) - w.len);

    err = cv_x25519(shared, eph_secret, box);
    if (err != CV_OK)
        return err;
    knock_key(key, shared, out + 1, box);
    aad = knock_aad_of(inbox, out + 1);
    cv_seal(out + KNOCK_HEAD, key, nonce_zero, CV_BYTES(aad.b, sizeof(aad.b)),
            inner, sizeof(inner));
    cv_wipe(shared, sizeof(shared));
    cv_wipe(key, sizeof(key));
    work(out, inbox, pow_bits);
    return CV_OK;
}

bool cv_knock_plausible(struct cv_bytes value, const struct cv_loc *inbox,
                        unsigned pow_bits)
{
    return value.len == CV_KNOCK_BYTES && value.data[0] == VERSION &&
           worked(value.data, inbox, pow_bits);
}

int cv_knock_parse(struct cv_knock *out, struct cv_knock_raw *raw)
{
    struct cv_reader r;
    struct cv_bytes name;
    uint16_t flags;

    memset(out, 0, sizeof(*out));
    raw->signed_len = 0;
    cv_reader_init(&r, raw->data, raw->len);
    cv_get_raw(&r, out->req_id, sizeof(out->req_id));
    out->ptr_seq = cv_get_u64(&r);
    cv_get_raw(&r, out->ptr_digest, sizeof(out->ptr_digest));
    cv_get_raw(&r, out->node.b, CV_KEY_LEN);
    out->cert = cv_get_cert(&r);
    get_proof(&r, out);
    name = cv_get_bytes(&r, cv_get_u8(&r));
    if (name.len > CV_KNOCK_NAME || !cv_utf8_valid(name.data, name.len))
        cv_reader_fail(&r);
    else if (name.len > 0)
        memcpy(out->name, name.data, name.len);
    flags = cv_get_u16(&r);
    out->again = flags & FLAG_AGAIN;
    if (out->again)
        cv_get_raw(&r, out->first_eph, sizeof(out->first_eph));
    cv_get_candidates(&r, &out->candidates, CV_KNOCK_CANDIDATES);
    out->candidates.nat = flags & CV_RECORD_NAT_MASK & ~CV_NAT_STRICT;
    if (flags & FLAG_STRICT)
        out->candidates.nat |= CV_NAT_STRICT;
    cv_get_gates(&r, &out->gates, CV_KNOCK_GATES);
    return cv_get_signed_end(&r, raw->len, &raw->signed_len);
}

int cv_knock_open(struct cv_knock *out, struct cv_knock_raw *raw,
                  const struct cv_loc *inbox, const uint8_t box_secret[32],
                  const uint8_t box[32], struct cv_bytes value)
{
    uint8_t key[CV_SEAL_KEY];
    struct knock_aad aad;
    int err;

    memset(raw, 0, sizeof(*raw));
    if (value.len != CV_KNOCK_BYTES || value.data[0] != VERSION)
        return CV_ERR_FORMAT;
    memcpy(raw->eph, value.data + 1, sizeof(raw->eph));
    memcpy(raw->first_eph, raw->eph, sizeof(raw->eph));
    err = cv_x25519(raw->shared, box_secret, raw->eph);
    if (err != CV_OK)
        return CV_ERR_AUTH;
    knock_key(key, raw->shared, raw->eph, box);
    aad = knock_aad_of(inbox, raw->eph);
    raw->len = KNOCK_INNER;
    err = cv_open(raw->data, key, nonce_zero, CV_BYTES(aad.b, sizeof(aad.b)),
                  value.data + KNOCK_HEAD, value.len - KNOCK_HEAD);
    cv_wipe(key, sizeof(key));
    if (err != CV_OK)
        return CV_ERR_AUTH;
    err = cv_knock_parse(out, raw);
    if (err != CV_OK)
        return err;
    if (!out->again)
        return CV_OK;
    memcpy(raw->first_eph, out->first_eph, sizeof(raw->first_eph));
    return cv_x25519(raw->shared, box_secret, raw->first_eph);
}

int cv_knock_verify(const struct cv_knock *k, const struct cv_knock_raw *raw,
                    const struct cv_loc *inbox, const uint8_t box[32],
                    uint64_t now)
{
    const struct cv_bytes parts[] = {
        CV_LITERAL("covim join 1"),
        CV_BYTES(inbox->b, CV_LOC_LEN),
        CV_BYTES(raw->eph, 32),
        CV_BYTES(box, 32),
        CV_BYTES(raw->data, raw->signed_len),
    };
    int err;

    err = cv_verify(&k->node, raw->data + raw->signed_len, parts, 5);
    if (err != CV_OK)
        return CV_ERR_AUTH;
    return cv_cert_verify(&k->cert, &k->node, now);
}

static void answer_nonce(uint8_t nonce[CV_NONCE_LEN], const uint8_t *counter)
{
    memset(nonce, 0, CV_NONCE_LEN);
    memcpy(nonce + CV_NONCE_LEN - 4, counter, 4);
}

int cv_answer_seal(uint8_t out[CV_ANSWER_BYTES], const struct cv_answer *a,
                   const struct cv_reply *reply, const uint8_t eph[32],
                   const uint8_t box[32], const struct cv_keypair *node)
{
    struct cv_candidates candidates;
    uint8_t inner[ANSWER_INNER], sig[CV_SIG_LEN], nonce[CV_NONCE_LEN];
    struct cv_writer w;
    int err;

    cv_writer_init(&w, out, ANSWER_HEAD);
    cv_put_u8(&w, VERSION);
    cv_put_u32(&w, a->counter);
    answer_nonce(nonce, out + 1);

    cv_candidates_sorted(&candidates, &a->candidates, CV_CANDIDATES_MAX);
    for (;;) {
        cv_writer_init(&w, inner, sizeof(inner));
        cv_put_raw(&w, a->req_id, sizeof(a->req_id));
        cv_put_u8(&w, a->verdict);
        cv_put_u16(&w, candidates.nat & CV_RECORD_NAT_MASK);
        cv_put_candidates(&w, &candidates);
        cv_put_gates(&w, &a->gates);
        cv_put_u16(&w, a->rtt_ms);
        cv_put_u8(&w, a->plan);
        cv_put_u16(&w, a->t0_ms);
        if (w.err == CV_OK && w.len + CV_SIG_LEN <= sizeof(inner))
            break;
        if (candidates.n == 0)
            return CV_ERR_NOBUF;
        candidates.n--;
    }
    err = cv_sign(
        sig, node,
        (const struct cv_bytes[]){CV_LITERAL("covim answer 1"),
                                  CV_BYTES(a->req_id, sizeof(a->req_id)),
                                  CV_BYTES(eph, 32), CV_BYTES(box, 32),
                                  CV_BYTES(out + 1, 4), cv_writer_bytes(&w)},
        6);
    if (err != CV_OK)
        return CV_ERR_INTERNAL;
    cv_put_raw(&w, sig, sizeof(sig));
    cv_put_zeros(&w, sizeof(inner) - w.len);
    cv_seal(out + ANSWER_HEAD, reply->key, nonce,
            CV_BYTES(reply->loc.b, CV_LOC_LEN), inner, sizeof(inner));
    return CV_OK;
}

int cv_answer_parse(struct cv_answer *out, struct cv_answer_raw *raw)
{
    const uint32_t counter = out->counter;
    struct cv_reader r;
    uint16_t flags;

    memset(out, 0, sizeof(*out));
    out->counter = counter;
    raw->signed_len = 0;
    cv_reader_init(&r, raw->data, raw->len);
    cv_get_raw(&r, out->req_id, sizeof(out->req_id));
    out->verdict = cv_get_u8(&r);
    if (out->verdict >= CV_ANSWER_VERDICTS)
        cv_reader_fail(&r);
    flags = cv_get_u16(&r);
    cv_get_candidates(&r, &out->candidates, CV_CANDIDATES_MAX);
    out->candidates.nat = flags & CV_RECORD_NAT_MASK;
    cv_get_gates(&r, &out->gates, CV_GATE_REFS_MAX);
    out->rtt_ms = cv_get_u16(&r);
    out->plan = cv_get_u8(&r);
    out->t0_ms = cv_get_u16(&r);
    return cv_get_signed_end(&r, raw->len, &raw->signed_len);
}

int cv_answer_open(struct cv_answer *out, struct cv_answer_raw *raw,
                   const struct cv_reply *reply, struct cv_bytes value)
{
    uint8_t nonce[CV_NONCE_LEN];
    struct cv_reader r;
    int err;

    if (value.len != CV_ANSWER_BYTES || value.data[0] != VERSION)
        return CV_ERR_FORMAT;
    cv_reader_init(&r, value.data + 1, 4);
    out->counter = cv_get_u32(&r);
    answer_nonce(nonce, value.data + 1);
    raw->len = ANSWER_INNER;
    err = cv_open(raw->data, reply->key, nonce,
                  CV_BYTES(reply->loc.b, CV_LOC_LEN), value.data + ANSWER_HEAD,
                  value.len - ANSWER_HEAD);
    if (err != CV_OK)
        return CV_ERR_AUTH;
    return cv_answer_parse(out, raw);
}

int cv_answer_verify(const struct cv_answer *a, const struct cv_answer_raw *raw,
                     const uint8_t eph[32], const uint8_t box[32],
                     const struct cv_key *node)
{
    struct cv_writer w;
    uint8_t counter[4];

    cv_writer_init(&w, counter, sizeof(counter));
    cv_put_u32(&w, a->counter);
    return cv_verify(
        node, raw->data + raw->signed_len,
        (const struct cv_bytes[]){CV_LITERAL("covim answer 1"),
                                  CV_BYTES(a->req_id, sizeof(a->req_id)),
                                  CV_BYTES(eph, 32), CV_BYTES(box, 32),
                                  CV_BYTES(counter, 4),
                                  CV_BYTES(raw->data, raw->signed_len)},
        6);
}
