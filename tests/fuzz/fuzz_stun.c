/* The STUN codec; the Binding server's answer, never longer than the request,
 * always parsable; and what is kept of a request until its knock is there. */
#include "transport/early.h"
#include "transport/stunserver.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* What is kept is what came. */
static void keep(const struct cv_stun *m)
{
    static struct cv_early early;
    struct cv_path_addr from = {.remote = cv_addr_ipv4(0x05060708, 4242)};
    struct cv_early_check c;

    if (!cv_early_hold(&early, &from, m, CV_SECOND))
        return;
    check(cv_early_take(&early, m->username.data, CV_SECOND, &c));
    check(c.len == m->raw.len && memcmp(c.data, m->raw.data, c.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[32] = {1, 2, 3};
    struct cv_addr from = cv_addr_ipv4(0x05060708, 4242), six = from;
    uint8_t out[CV_STUN_MAX];
    struct cv_writer w;
    struct cv_stun m, n;

    if (cv_stun_parse(&m, data, size) != CV_OK)
        return 0;
    (void)cv_stun_verify(&m, key, sizeof key);
    keep(&m);
    check(m.mac.len == 0 ||
          (m.mac.len >= CV_STUN_MAC_SHORT && m.mac.len <= CV_STUN_MAC_FULL));
    six.family = CV_FAMILY_IPV6;
    for (int i = 0; i < 2; i++) {
        const struct cv_addr *a = i ? &six : &from;

        cv_writer_init(&w, out, sizeof out);
        if (cv_stun_answer(&m, a, a, a, size, &w) != CV_OK)
            continue;
        check(w.len <= size);
        check(cv_stun_parse(&n, out, w.len) == CV_OK);
        check(n.type == CV_STUN_ERROR || cv_addr_equal(&n.mapped, a));
    }
    return 0;
}
