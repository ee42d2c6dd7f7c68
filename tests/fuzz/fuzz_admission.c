/* A stranger says anything to a host, to a newcomer and to a member: nobody
 * is let in by it, whatever comes. */
#include "session/admission.h"
#include "session/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define UNIX UINT64_C(1700000000)

static struct cv_admitting a;
static struct cv_writer out;
static cv_time now;

static int one(void *user, struct cv_bytes m)
{
    (void)user;
    now += CV_SECOND;
    if (a.state == CV_ADMISSION_MEMBER)
        abort(); /* no grant of the session was ever made for them */
    if (a.state == CV_ADMISSION_CLOSED)
        return CV_ERR_CLOSED;
    cv_writer_reset(&out);
    if (cv_admission_message(&a, m, now, UNIX, &out) != CV_OK)
        abort();
    if (out.len > CV_CONTROL_PRE_MAX)
        abort();
    if (cv_admission_step(&a, now, &out) != CV_OK)
        abort();
    return CV_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cv_keypair session, identity, node;
    static struct cv_grants grants, none;
    static bool made;
    struct cv_rng_seeded seed;
    struct cv_rng rng = cv_rng_from_seed(&seed, 1);
    struct cv_admission_config c;
    struct cv_frames f;

    if (size < 1)
        return 0;
    if (!made) {
        if (cv_keypair_generate(&session, &rng) != CV_OK ||
            cv_keypair_generate(&identity, &rng) != CV_OK ||
            cv_keypair_generate(&node, &rng) != CV_OK ||
            cv_grants_issue(&grants, NULL, &session.pub, &session,
                            &identity.pub, CV_ROLE_HOST, CV_GRANT_ADMIT,
                            UNIX + 1000, &rng) != CV_OK)
            abort();
        cv_writer_init_heap(&out, CV_CONTROL_MAX);
        made = true;
    }
    memset(&c, 0, sizeof c);
    c.rng = &rng;
    c.identity = &identity;
    c.grants = data[0] & 1 ? &grants : &none;
    c.open = data[0] & 2;
    c.full = data[0] & 4;
    c.session = session.pub;
    c.node = node.pub;
    c.offer = c.wants = CV_ROLE_EDITOR;
    cv_writer_reset(&out);
    now = CV_HOUR;
    if (cv_admission_init(&a, &c, now, &out) != CV_OK)
        abort();
    cv_frames_init(&f, CV_CONTROL_PRE_MAX, CV_CONTROL_PRE_MAX);
    (void)!cv_frames_feed(&f, (struct cv_bytes){data + 1, size - 1}, one, NULL);
    cv_frames_fini(&f);
    return 0;
}
