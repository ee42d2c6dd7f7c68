#include "transport/natkind.h"
#include <string.h>

static void set_state(struct cv_natkind *k, enum cv_natkind_state to,
                      cv_time now)
{
    k->state = to;
    k->tries = 0;
    k->next = cv_natkind_runs(k) ? now : CV_NEVER;
}

void cv_natkind_start(struct cv_natkind *k, uint16_t socket,
                      const struct cv_addr *server, const struct cv_addr *other,
                      cv_time now)
{
    *k = (struct cv_natkind){
        .all = other->family == server->family,
        .socket = socket,
        .server = *server,
        .other = *other,
    };
    set_state(k, CV_NATKIND_PLAIN, now);
}

bool cv_natkind_runs(const struct cv_natkind *k)
{
    return k->state != CV_NATKIND_IDLE && k->state != CV_NATKIND_DONE &&
           k->state != CV_NATKIND_FAILED;
}

cv_time cv_natkind_deadline(const struct cv_natkind *k)
{
    return cv_natkind_runs(k) ? k->next : CV_NEVER;
}

static bool other_ip(const struct cv_natkind *k)
{
    return !cv_addr_same_ip(&k->server, &k->other);
}

static bool other_port(const struct cv_natkind *k)
{
    return k->server.port != k->other.port;
}

/* What follows once the answer to this one is there, or is not. */
static void go_on(struct cv_natkind *k, bool answered, cv_time now)
{
    switch (k->state) {
    case CV_NATKIND_PLAIN:
        if (!answered)
            set_state(k, CV_NATKIND_FAILED, now);
        else if (!k->all)
            set_state(k, CV_NATKIND_DONE, now);
        else
            set_state(k, other_ip(k) ? CV_NATKIND_BOTH : CV_NATKIND_PORT, now);
        return;
    case CV_NATKIND_BOTH:
        if (answered) {
            k->filter = CV_FILTER_OPEN;
            set_state(k, CV_NATKIND_DONE, now);
        } else if (other_port(k)) {
            set_state(k, CV_NATKIND_PORT, now);
        } else { /* its server has no other port to tell the two apart */
            set_state(k, CV_NATKIND_AFTER, now);
        }
        return;
    case CV_NATKIND_PORT:
        k->filter = answered ? CV_FILTER_ADDRESS : CV_FILTER_PORT;
        set_state(k, CV_NATKIND_AFTER, now);
        return;
    case CV_NATKIND_AFTER:
        set_state(k, CV_NATKIND_DONE, now);
        return;
    case CV_NATKIND_IDLE:
    case CV_NATKIND_DONE:
    case CV_NATKIND_FAILED:
        return;
    }
}

static uint32_t change(const struct cv_natkind *k)
{
    switch (k->state) {
    case CV_NATKIND_BOTH:
        return CV_STUN_CHANGE_IP | (other_port(k) ? CV_STUN_CHANGE_PORT : 0);
    case CV_NATKIND_PORT:
        return CV_STUN_CHANGE_PORT;
    case CV_NATKIND_IDLE:
    case CV_NATKIND_PLAIN:
    case CV_NATKIND_AFTER:
    case CV_NATKIND_DONE:
    case CV_NATKIND_FAILED:
        break;
    }
    return 0;
}

bool cv_natkind_step(struct cv_natkind *k, const struct cv_rng *rng,
                     cv_time now, struct cv_path_addr *to,
                     struct cv_writer *out)
{
    static const cv_time wait[CV_NATKIND_TRIES] = {
        250 * CV_MILLISECOND, 250 * CV_MILLISECOND, 500 * CV_MILLISECOND};
    static const uint8_t fill[24];
    uint32_t bits;

    if (cv_natkind_deadline(k) > now)
        return false;
    if (k->tries == CV_NATKIND_TRIES) {
        go_on(k, false, now);
        if (cv_natkind_deadline(k) > now)
            return false;
    }
    if (k->tries == 0)
        cv_random(rng, k->txid, sizeof k->txid);
    k->next = now + wait[k->tries++];
    *to = (struct cv_path_addr){
        .carrier = CV_CARRIER_UDP,
        .socket = k->socket,
        .remote = k->state == CV_NATKIND_AFTER ? k->other : k->server};
    bits = change(k);
    cv_stun_begin(out, CV_STUN_REQUEST, k->txid);
    if (bits != 0)
        cv_stun_put_u32(out, CV_STUN_CHANGE_REQUEST, bits);
    cv_stun_put(out, CV_STUN_FILL, fill, sizeof fill);
    return cv_stun_put_fingerprint(out) == CV_OK;
}

/* Where the answer must come from. */
static struct cv_addr source(const struct cv_natkind *k)
{
    struct cv_addr a = k->server;

    if (k->state == CV_NATKIND_BOTH || k->state == CV_NATKIND_AFTER)
        return k->other;
    if (k->state == CV_NATKIND_PORT)
        a.port = k->other.port;
    return a;
}

bool cv_natkind_input(struct cv_natkind *k, const struct cv_path_addr *from,
                      const struct cv_stun *m, cv_time now)
{
    struct cv_addr want = source(k);

    if (!cv_natkind_runs(k) || k->tries == 0 ||
        memcmp(m->txid, k->txid, sizeof k->txid) != 0 ||
        from->socket != k->socket)
        return false;
    if (m->type == CV_STUN_ERROR && cv_addr_equal(&from->remote, &k->server)) {
        /* It cannot answer from elsewhere: nothing is learnt. */
        set_state(k,
                  k->state == CV_NATKIND_PLAIN ? CV_NATKIND_FAILED
                                               : CV_NATKIND_DONE,
                  now);
        return true;
    }
    if (m->type != CV_STUN_SUCCESS || !cv_addr_equal(&from->remote, &want) ||
        m->n_unknown > 0 || m->mapped.family != k->server.family)
        return true;
    if (k->state == CV_NATKIND_PLAIN)
        k->mapped = m->mapped;
    if (k->state == CV_NATKIND_AFTER)
        k->strays = cv_addr_equal(&m->mapped, &k->mapped) ? CV_STRAYS_DROPPED
                                                          : CV_STRAYS_TRACED;
    go_on(k, true, now);
    return true;
}
