#include "transport/tcpmap.h"
#include <stdlib.h>
#include <string.h>

/* Ports that follow each other this closely are given out in sequence. */
#define SEQUENTIAL 16

void cv_tcpmap_init(struct cv_tcpmap *m, const struct cv_rng *rng,
                    struct cv_log *log, const struct cv_tcpmap_ops *ops,
                    void *user)
{
    memset(m, 0, sizeof *m);
    m->rng = rng;
    m->log = log;
    m->ops = ops;
    m->user = user;
    for (unsigned i = 0; i < CV_TCPMAP_SERVERS; i++)
        m->source[i][0].next = m->source[i][1].next = CV_NEVER;
}

static void close_source(struct cv_tcpmap *m, struct cv_tcpmap_source *s)
{
    if (s->state != CV_TCPMAP_IDLE)
        m->ops->close(m->user, s->channel);
    s->state = CV_TCPMAP_IDLE;
}

void cv_tcpmap_server(struct cv_tcpmap *m, unsigned server,
                      const struct cv_addr *addrs, unsigned n, cv_time now)
{
    if (server >= CV_TCPMAP_SERVERS)
        return;
    for (unsigned k = 0; k < 2; k++) {
        struct cv_tcpmap_source *s = &m->source[server][k];
        uint8_t family = k == 0 ? CV_FAMILY_IPV4 : CV_FAMILY_IPV6;

        for (unsigned i = 0; i < n; i++) {
            if (addrs[i].family != family)
                continue;
            if (cv_addr_equal(&s->addr, &addrs[i]))
                break;
            close_source(m, s);
            *s = (struct cv_tcpmap_source){.addr = addrs[i], .next = now};
            break;
        }
    }
}

void cv_tcpmap_network_changed(struct cv_tcpmap *m, cv_time now)
{
    for (unsigned i = 0; i < CV_TCPMAP_SERVERS; i++)
        for (unsigned k = 0; k < 2; k++) {
            struct cv_tcpmap_source *s = &m->source[i][k];

            if (s->addr.family == CV_FAMILY_NONE)
                continue;
            close_source(m, s);
            s->mapped = (struct cv_addr){0};
            s->failed = 0;
            s->next = now;
        }
    m->ops->changed(m->user);
}

static struct cv_tcpmap_source *by_channel(struct cv_tcpmap *m,
                                           uint32_t channel)
{
    for (unsigned i = 0; i < CV_TCPMAP_SERVERS; i++)
        for (unsigned k = 0; k < 2; k++) {
            struct cv_tcpmap_source *s = &m->source[i][k];

            if (s->state != CV_TCPMAP_IDLE && s->channel == channel)
                return s;
        }
    return NULL;
}

static void ask(struct cv_tcpmap *m, struct cv_tcpmap_source *s, cv_time now)
{
    uint8_t buf[64];
    struct cv_writer w;

    cv_random(m->rng, s->txid, sizeof s->txid);
    cv_writer_init(&w, buf, sizeof buf);
    cv_stun_begin(&w, CV_STUN_REQUEST, s->txid);
    s->state = CV_TCPMAP_ASKED;
    s->asked = now;
    s->next = now + CV_TCPMAP_TIMEOUT;
    if (cv_stun_put_fingerprint(&w) == CV_OK)
        m->ops->send(m->user, s->channel, buf, w.len);
}

void cv_tcpmap_up(struct cv_tcpmap *m, uint32_t channel, cv_time now)
{
    struct cv_tcpmap_source *s = by_channel(m, channel);

    if (s && s->state == CV_TCPMAP_CONNECTING)
        ask(m, s, now);
}

static void note_failure(struct cv_tcpmap *m, struct cv_tcpmap_source *s,
                         cv_time now)
{
    bool told = s->mapped.family != CV_FAMILY_NONE;

    s->state = CV_TCPMAP_IDLE;
    s->mapped = (struct cv_addr){0};
    s->next = now + (CV_TCPMAP_AGAIN
                     << (s->failed < CV_TCPMAP_DOUBLE ? s->failed
                                                      : CV_TCPMAP_DOUBLE));
    s->failed++;
    if (told)
        m->ops->changed(m->user);
}

void cv_tcpmap_down(struct cv_tcpmap *m, uint32_t channel, cv_time now)
{
    struct cv_tcpmap_source *s = by_channel(m, channel);

    if (!s)
        return;
    if (s->state == CV_TCPMAP_OPEN) { /* idle too long for this server */
        s->state = CV_TCPMAP_IDLE;
        s->next = s->asked + CV_TCPMAP_PAUSE;
        if (s->next < now)
            s->next = now;
        return;
    }
    note_failure(m, s, now);
}

void cv_tcpmap_input(struct cv_tcpmap *m, uint32_t channel,
                     const struct cv_stun *msg, cv_time now)
{
    struct cv_tcpmap_source *s = by_channel(m, channel);
    char text[CV_ADDR_TEXT];

    if (!s || s->state != CV_TCPMAP_ASKED || msg->type != CV_STUN_SUCCESS ||
        memcmp(msg->txid, s->txid, sizeof s->txid) != 0 || msg->n_unknown > 0 ||
        msg->mapped.family != s->addr.family || msg->mapped.port == 0)
        return;
    s->state = CV_TCPMAP_OPEN;
    s->failed = 0;
    s->next = now + CV_TCPMAP_REFRESH;
    if (cv_addr_equal(&s->mapped, &msg->mapped))
        return;
    cv_debug(m->log, "tcpmap: server sees us at %s",
             cv_addr_log(m->log, &msg->mapped, text));
    s->mapped = msg->mapped;
    m->ops->changed(m->user);
}

struct cv_tcpmap_verdict cv_tcpmap_verdict(const struct cv_tcpmap *m,
                                           enum cv_family family)
{
    struct cv_tcpmap_verdict v = {.mapping = CV_NAT_MAPPING_UNKNOWN};
    const struct cv_tcpmap_source *s[CV_TCPMAP_SERVERS];
    bool differ = false, near = true, two = false;
    unsigned n = 0;

    for (unsigned i = 0; i < CV_TCPMAP_SERVERS; i++) {
        s[n] = &m->source[i][family == CV_FAMILY_IPV4 ? 0 : 1];
        n += s[n]->mapped.family == family;
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned votes = 0;

        for (unsigned k = 0; k < n; k++)
            votes += cv_addr_same_ip(&s[i]->mapped, &s[k]->mapped);
        if (votes > v.votes) {
            v.votes = votes;
            v.mapped = s[i]->mapped;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        int apart = abs((int)s[i]->mapped.port - (int)v.mapped.port);

        if (!cv_addr_same_ip(&s[i]->mapped, &v.mapped))
            continue;
        two |= !cv_addr_same_ip(&s[i]->addr, &s[0]->addr);
        differ |= apart != 0;
        near &= apart <= SEQUENTIAL;
    }
    if (differ)
        v.mapping = near ? CV_NAT_MAPPING_SEQ : CV_NAT_MAPPING_RANDOM;
    else if (two) /* only another address can tell */
        v.mapping = CV_NAT_MAPPING_EIM;
    return v;
}

/* The next one to do something, in the order of the configuration; those that
 * would connect wait while three of their family are busy.  False: none. */
static bool next_source(const struct cv_tcpmap *m, unsigned *which,
                        unsigned *of)
{
    cv_time first = CV_NEVER;

    for (unsigned k = 0; k < 2; k++) {
        unsigned busy = 0;

        for (unsigned i = 0; i < CV_TCPMAP_SERVERS; i++)
            busy += m->source[i][k].state != CV_TCPMAP_IDLE;
        for (unsigned i = 0; i < CV_TCPMAP_SERVERS; i++) {
            const struct cv_tcpmap_source *s = &m->source[i][k];

            if (s->next >= first ||
                (s->state == CV_TCPMAP_IDLE && busy >= CV_TCPMAP_AT_ONCE))
                continue;
            first = s->next;
            *which = i;
            *of = k;
        }
    }
    return first != CV_NEVER;
}

bool cv_tcpmap_settled(const struct cv_tcpmap *m)
{
    for (unsigned s = 0; s < CV_TCPMAP_SERVERS; s++)
        for (unsigned k = 0; k < 2; k++) {
            const struct cv_tcpmap_source *src = &m->source[s][k];

            if (src->addr.family != CV_FAMILY_NONE && src->failed == 0 &&
                src->mapped.family == CV_FAMILY_NONE)
                return false;
        }
    return true;
}

cv_time cv_tcpmap_deadline(const struct cv_tcpmap *m)
{
    unsigned i, k;

    return next_source(m, &i, &k) ? m->source[i][k].next : CV_NEVER;
}

static void step_source(struct cv_tcpmap *m, struct cv_tcpmap_source *s,
                        cv_time now)
{
    switch (s->state) {
    case CV_TCPMAP_IDLE:
        if (m->ops->connect(m->user, &s->addr, &s->channel) != CV_OK) {
            note_failure(m, s, now);
            return;
        }
        s->state = CV_TCPMAP_CONNECTING;
        s->next = now + CV_TCPMAP_TIMEOUT;
        return;
    case CV_TCPMAP_CONNECTING:
    case CV_TCPMAP_ASKED:
        m->ops->close(m->user, s->channel);
        note_failure(m, s, now);
        return;
    case CV_TCPMAP_OPEN:
        ask(m, s, now);
        return;
    }
}

void cv_tcpmap_step(struct cv_tcpmap *m, cv_time now)
{
    unsigned i, k;

    for (unsigned n = 0; n < 2 * CV_TCPMAP_SERVERS; n++) {
        if (!next_source(m, &i, &k) || m->source[i][k].next > now)
            return;
        step_source(m, &m->source[i][k], now);
    }
}
