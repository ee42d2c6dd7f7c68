#include "transport/natlife.h"
#include <string.h>

/* A little less than what NATs are set to: 10, 20, 30, 60, 120 s. */
static const cv_time idle[CV_NATLIFE_PROBES] = {
    5 * CV_SECOND,  9 * CV_SECOND,  19 * CV_SECOND,
    29 * CV_SECOND, 58 * CV_SECOND, 115 * CV_SECOND};

static void end_probe(struct cv_natlife *l, struct cv_natlife_probe *p)
{
    p->step = CV_NATLIFE_STEP_NONE;
    p->next = CV_NEVER;
    if (p->socket != 0)
        l->close(l->user, p->socket);
    p->socket = 0;
}

/* The only place that changes a probe's step. */
static void go_to(struct cv_natlife_probe *p, enum cv_natlife_step step,
                  cv_time when)
{
    p->step = step;
    p->tries = 0;
    p->next = when;
}

static void begin_probe(struct cv_natlife *l, struct cv_natlife_probe *p,
                        cv_time now)
{
    int socket = l->open(l->user);

    if (socket <= 0)
        return; /* the others will do */
    p->socket = (uint16_t)socket;
    go_to(p, CV_NATLIFE_STEP_MAP, now);
}

static void end_all(struct cv_natlife *l, enum cv_natlife_state state)
{
    for (unsigned i = 0; i < CV_NATLIFE_PROBES; i++)
        end_probe(l, &l->probe[i]);
    l->state = state;
}

void cv_natlife_end(struct cv_natlife *l)
{
    end_all(l, CV_NATLIFE_OFF);
    l->kept = 0;
    l->lost = false;
}

void cv_natlife_start(struct cv_natlife *l, const struct cv_addr *server,
                      cv_socket_open_fn open, cv_socket_close_fn close,
                      void *user, cv_time now)
{
    cv_natlife_end(l);
    l->server = *server;
    l->open = open;
    l->close = close;
    l->user = user;
    l->state = CV_NATLIFE_RUNS;
    begin_probe(l, &l->probe[0], now);
    if (l->probe[0].socket == 0)
        l->state = CV_NATLIFE_UNABLE;
}

cv_time cv_natlife_deadline(const struct cv_natlife *l)
{
    cv_time at = CV_NEVER;

    if (l->state != CV_NATLIFE_RUNS)
        return CV_NEVER;
    for (unsigned i = 0; i < CV_NATLIFE_PROBES; i++)
        if (l->probe[i].step != CV_NATLIFE_STEP_NONE)
            at = cv_time_min(at, l->probe[i].next);
    return at;
}

static void end_if_over(struct cv_natlife *l)
{
    for (unsigned i = 0; i < CV_NATLIFE_PROBES; i++)
        if (l->probe[i].step != CV_NATLIFE_STEP_NONE)
            return;
    l->state = l->kept > 0 || l->lost ? CV_NATLIFE_DONE : CV_NATLIFE_UNABLE;
}

/* A verdict on the idle time of `p`. */
static void found(struct cv_natlife *l, struct cv_natlife_probe *p, bool alive)
{
    unsigned n = (unsigned)(p - l->probe);

    if (alive && idle[n] > l->kept)
        l->kept = idle[n];
    l->lost |= !alive;
    end_probe(l, p);
    for (unsigned i = n + 1; !alive && i < CV_NATLIFE_PROBES; i++)
        end_probe(l, &l->probe[i]);
    end_if_over(l);
}

static bool is_test(const struct cv_natlife_probe *p)
{
    return p->step == CV_NATLIFE_STEP_ABLE || p->step == CV_NATLIFE_STEP_TEST;
}

/* All requests of this step were in vain. */
static void in_vain(struct cv_natlife *l, struct cv_natlife_probe *p,
                    cv_time now)
{
    switch (p->step) {
    case CV_NATLIFE_STEP_TEST:
        go_to(p, CV_NATLIFE_STEP_AFTER, now);
        return;
    case CV_NATLIFE_STEP_ABLE:
        end_all(l, CV_NATLIFE_UNABLE);
        return;
    case CV_NATLIFE_STEP_MAP:
    case CV_NATLIFE_STEP_WARM:
    case CV_NATLIFE_STEP_AFTER:
        end_probe(l, p); /* the server is not there just now */
        end_if_over(l);
        return;
    case CV_NATLIFE_STEP_NONE:
        return;
    }
}

static bool write_request(const struct cv_natlife *l,
                          const struct cv_natlife_probe *p,
                          struct cv_path_addr *to, struct cv_writer *out)
{
    static const uint8_t fill[24];

    *to = (struct cv_path_addr){.carrier = CV_CARRIER_UDP,
                                .socket = is_test(p) ? 0 : p->socket,
                                .remote = l->server};
    cv_stun_begin(out, CV_STUN_REQUEST, p->txid);
    if (is_test(p))
        cv_stun_put_u32(out, CV_STUN_RESPONSE_PORT, (uint32_t)p->port << 16);
    cv_stun_put(out, CV_STUN_FILL, fill, sizeof fill);
    return cv_stun_put_fingerprint(out) == CV_OK;
}

bool cv_natlife_step(struct cv_natlife *l, const struct cv_rng *rng,
                     cv_time now, struct cv_path_addr *to,
                     struct cv_writer *out)
{
    for (unsigned i = 0; i < CV_NATLIFE_PROBES; i++) {
        struct cv_natlife_probe *p = &l->probe[i];

        if (l->state != CV_NATLIFE_RUNS || p->step == CV_NATLIFE_STEP_NONE ||
            now < p->next)
            continue;
        if (p->tries == (is_test(p) ? CV_NATLIFE_TESTS : CV_NATLIFE_TRIES)) {
            in_vain(l, p, now);
            i--; /* maybe it goes on at once */
            continue;
        }
        if (p->tries++ == 0)
            cv_random(rng, p->txid, sizeof p->txid);
        p->next = now + CV_NATLIFE_RTO;
        return write_request(l, p, to, out);
    }
    return false;
}

static void answered(struct cv_natlife *l, struct cv_natlife_probe *p,
                     uint16_t port, cv_time now)
{
    switch (p->step) {
    case CV_NATLIFE_STEP_MAP:
        p->port = port;
        if (p == &l->probe[0])
            go_to(p, CV_NATLIFE_STEP_ABLE, now);
        else
            go_to(p, CV_NATLIFE_STEP_WARM, now + CV_NATLIFE_WARM);
        return;
    case CV_NATLIFE_STEP_ABLE:
        go_to(p, CV_NATLIFE_STEP_WARM, now + CV_NATLIFE_WARM);
        for (unsigned i = 1; i < CV_NATLIFE_PROBES; i++)
            begin_probe(l, &l->probe[i], now);
        return;
    case CV_NATLIFE_STEP_WARM:
        p->port = port;
        go_to(p, CV_NATLIFE_STEP_TEST, now + idle[p - l->probe]);
        return;
    case CV_NATLIFE_STEP_TEST:
        found(l, p, true);
        return;
    case CV_NATLIFE_STEP_AFTER:
        found(l, p, false);
        return;
    case CV_NATLIFE_STEP_NONE:
        return;
    }
}

bool cv_natlife_input(struct cv_natlife *l, const struct cv_path_addr *from,
                      const struct cv_stun *m, cv_time now)
{
    for (unsigned i = 0; i < CV_NATLIFE_PROBES; i++) {
        struct cv_natlife_probe *p = &l->probe[i];

        if (p->step == CV_NATLIFE_STEP_NONE || p->tries == 0 ||
            memcmp(m->txid, p->txid, sizeof p->txid) != 0)
            continue;
        if (!cv_addr_equal(&from->remote, &l->server))
            return false;
        /* Answered where it was asked: this server cannot do it. */
        if (is_test(p) && from->socket == 0) {
            end_all(l, CV_NATLIFE_UNABLE);
            return true;
        }
        if (from->socket != p->socket)
            return false;
        if (m->type == CV_STUN_SUCCESS && m->n_unknown == 0 &&
            m->mapped.family == l->server.family)
            answered(l, p, m->mapped.port, now);
        return true;
    }
    return false;
}

cv_time cv_natlife_hoped(const struct cv_natlife *l)
{
    if (l->lost)
        return l->kept > 0 ? l->kept : CV_NATLIFE_LEAST;
    return l->kept > CV_NATLIFE_ASSUMED ? l->kept : CV_NATLIFE_ASSUMED;
}

/* ---- keep-alives -------------------------------------------------------- */

static cv_time clamp(cv_time t, cv_time max)
{
    return t < CV_KEEP_LEAST ? CV_KEEP_LEAST : t > max ? max : t;
}

cv_time cv_keep_used(cv_time life)
{
    return clamp((life > 0 ? life : CV_NATLIFE_ASSUMED) / 2, CV_KEEP_USED);
}

cv_time cv_keep_standby(cv_time life)
{
    return clamp((life > 0 ? life : CV_NATLIFE_ASSUMED) / 6 * 5,
                 CV_KEEP_STANDBY);
}

cv_time cv_keep_within(cv_time often, cv_time life)
{
    return cv_time_min(often, cv_keep_used(life));
}
