/* Grants and certificates from the network: what decodes encodes to the same
 * bytes, and nothing that was made up is ever good for a role. */
#include "base/cert.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)                                                          \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

#define NOW UINT64_C(1700000000)

/* A session and a right chain in it, of two grants; its bits are what the
 * input changes. */
static struct cv_keypair session, ann, bob;
static uint8_t right[1 + 2 * CV_GRANT_BYTES];

static void prepare(void)
{
    static const uint8_t seeds[3][CV_KEY_LEN] = {{1}, {2}, {3}};
    struct cv_rng_seeded state;
    struct cv_rng rng = cv_rng_from_seed(&state, 1);
    struct cv_grants g;
    struct cv_writer w;

    REQUIRE(cv_keypair_from_seed(&session, seeds[0]) == CV_OK);
    REQUIRE(cv_keypair_from_seed(&ann, seeds[1]) == CV_OK);
    REQUIRE(cv_keypair_from_seed(&bob, seeds[2]) == CV_OK);
    REQUIRE(cv_grants_issue(&g, NULL, &session.pub, &session, &ann.pub,
                            CV_ROLE_HOST, CV_GRANT_ADMIT, NOW, &rng) == CV_OK);
    REQUIRE(cv_grants_issue(&g, &g, &session.pub, &ann, &bob.pub,
                            CV_ROLE_EDITOR, 0, NOW, &rng) == CV_OK);
    cv_writer_init(&w, right, sizeof(right));
    REQUIRE(cv_put_grants(&w, &g) == CV_OK && w.len == sizeof(right));
}

static int decode_and_verify(const uint8_t *data, size_t size)
{
    uint8_t buf[1 + CV_GRANT_CHAIN_MAX * CV_GRANT_BYTES];
    enum cv_role role = CV_ROLE_NONE;
    uint8_t flags;
    struct cv_grants g;
    struct cv_reader r;
    struct cv_writer w;

    cv_reader_init(&r, data, size);
    g = cv_get_grants(&r);
    if (r.err != CV_OK) {
        REQUIRE(g.n == 0);
        return r.err;
    }
    cv_writer_init(&w, buf, sizeof(buf));
    REQUIRE(cv_put_grants(&w, &g) == CV_OK);
    REQUIRE(w.len <= size && memcmp(buf, data, w.len) == 0);
    return cv_grants_verify(&g, &session.pub, &bob.pub, NOW, &role, &flags);
}

/* u16 place, u8 bits: as often as they come. */
static void check_changed(const uint8_t *data, size_t size)
{
    uint8_t changed[sizeof(right)];

    memcpy(changed, right, sizeof(right));
    for (; size >= 3; data += 3, size -= 3)
        changed[(data[0] << 8 | data[1]) % (int)sizeof(right)] ^= data[2];
    if (memcmp(changed, right, sizeof(right)) == 0)
        REQUIRE(decode_and_verify(changed, sizeof(changed)) == CV_OK);
    else
        REQUIRE(decode_and_verify(changed, sizeof(changed)) != CV_OK);
}

static void check_cert(const uint8_t *data, size_t size)
{
    uint8_t buf[CV_CERT_BYTES];
    struct cv_cert cert;
    struct cv_reader r;
    struct cv_writer w;

    cv_reader_init(&r, data, size);
    cert = cv_get_cert(&r);
    if (r.err != CV_OK)
        return;
    cv_writer_init(&w, buf, sizeof(buf));
    REQUIRE(cv_put_cert(&w, &cert) == CV_OK);
    REQUIRE(memcmp(buf, data, sizeof(buf)) == 0);
    cert.identity = ann.pub; /* who signed nothing of this kind */
    REQUIRE(cv_cert_verify(&cert, &bob.pub, NOW) != CV_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool prepared;

    if (!prepared)
        prepare();
    prepared = true;
    if (size == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        check_changed(data + 1, size - 1);
        break;
    case 1:
        if (decode_and_verify(data + 1, size - 1) == CV_OK)
            REQUIRE(size > sizeof(right) &&
                    memcmp(data + 1, right, sizeof(right)) == 0);
        break;
    case 2:
        check_cert(data + 1, size - 1);
        break;
    }
    return 0;
}
