/* Values at a place of the session, as the DHT delivers them: first the input
 * as it is, then sealed by one who holds the session key. */
#include "discovery/book.h"

#include <string.h>

#define NOW UINT64_C(1749989400)

static struct cv_book book;

static void take(const struct cv_place *place, const uint8_t *data, size_t len)
{
    struct cv_book_entry *e = NULL;
    const int err = cv_book_take(&book, place, CV_BYTES(data, len), 0, NOW, &e);

    if (err == CV_OK && (e->p.candidates.n > CV_CANDIDATES_MAX ||
                         e->p.gates.n > CV_GATE_REFS_MAX))
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t sizes[] = {512, 600, 1200};
    static const uint8_t seed[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                     1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                     1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static struct cv_keypair session;
    static struct cv_place place;
    uint8_t value[1200] = {1}, inner[1200] = {0}, aad[9 + CV_LOC_LEN];
    struct cv_key none = {{0}};

    if (session.seed[0] == 0) {
        struct cv_root root;

        if (cv_keypair_from_seed(&session, seed) != CV_OK)
            return 0;
        cv_root_of(&root, &session.pub);
        cv_place_at(&place, &root, NOW / CV_EPOCH_S);
    }
    cv_book_init(&book, &session.pub, &none);
    take(&place, data, size);
    if (size < 1)
        return 0;
    memcpy(aad, "covim ptr", 9);
    memcpy(aad + 9, place.loc.b, CV_LOC_LEN);
    {
        const size_t len = sizes[data[0] % 3];
        const size_t room = len - 1 - CV_NONCE_LEN - CV_SEAL_TAG;

        memcpy(inner, data, size < room ? size : room);
        cv_seal(value + 1 + CV_NONCE_LEN, place.key, value + 1,
                CV_BYTES(aad, sizeof(aad)), inner, room);
        take(&place, value, len);
    }
    return 0;
}
