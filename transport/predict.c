#include "transport/predict.h"
#include <stdlib.h>
#include <string.h>

#define LOWEST 1024

void cv_ports_seen_add(struct cv_ports_seen *s, uint16_t port)
{
    if (s->n == CV_PREDICT_SAMPLES) {
        memmove(s->port, s->port + 1, sizeof s->port - sizeof s->port[0]);
        s->n--;
    }
    s->port[s->n++] = port;
}

static int common_divisor(int a, int b)
{
    while (b != 0) {
        int rest = a % b;

        a = b;
        b = rest;
    }
    return abs(a);
}

int cv_predict_way(uint16_t from, uint16_t to)
{
    const int n = 65536 - LOWEST;
    int d = (int)to - (int)from;

    return d > n / 2 ? d - n : d < -n / 2 ? d + n : d;
}

/* Inserts it, in ascending order, if it is not there. */
static unsigned insert(int *list, unsigned n, int v)
{
    unsigned at = 0;

    while (at < n && list[at] < v)
        at++;
    if (at < n && list[at] == v)
        return n; /* one mapping for two ports of one server */
    memmove(list + at + 1, list + at, (n - at) * sizeof *list);
    list[at] = v;
    return n + 1;
}

/* Sorted, each gap is the step times one more than the number of others' ports
 * between; requests that overtook each other do not matter then.  The order
 * only says whether it counts up or down. */
uint16_t cv_ports_seen_kind(const struct cv_ports_seen *s, int *step)
{
    int sorted[CV_PREDICT_SAMPLES] = {0}, divisor = 0, up = 0;
    unsigned n = 1;

    *step = 0;
    if (s->n < 2)
        return CV_NAT_MAPPING_UNKNOWN;
    for (unsigned i = 1; i < s->n; i++) {
        int d = cv_predict_way(s->port[i - 1], s->port[i]);

        up += (d > 0) - (d < 0);
        n = insert(sorted, n, cv_predict_way(s->port[0], s->port[i]));
    }
    if (n == 1)
        return CV_NAT_MAPPING_EIM;
    for (unsigned i = 1; i < n; i++) {
        int gap = sorted[i] - sorted[i - 1];

        if (gap > CV_PREDICT_NEAR)
            return CV_NAT_MAPPING_RANDOM;
        divisor = common_divisor(divisor, gap);
    }
    if (divisor > CV_PREDICT_STEP)
        return CV_NAT_MAPPING_RANDOM;
    *step = up >= 0 ? divisor : -divisor;
    return CV_NAT_MAPPING_SEQ;
}

uint16_t cv_predict_port(uint16_t last, int step, unsigned d)
{
    const long n = 65536 - LOWEST;
    long port = (long)last - LOWEST + (long)step * (long)d;

    port %= n;
    return (uint16_t)(LOWEST + (port < 0 ? port + n : port));
}

bool cv_predict_from(const struct cv_candidates *peer, struct cv_addr *last,
                     int *step)
{
    const struct cv_addr *newest = cv_plan_outside(peer);

    if (!newest)
        return false;
    *last = *newest;
    for (unsigned i = 0; i < peer->n; i++) {
        const struct cv_candidate *c = &peer->c[i];

        if (c->type != CV_CANDIDATE_SRFLX || &c->addr == newest ||
            !cv_addr_same_ip(&c->addr, newest))
            continue;
        *step = (int)newest->port - (int)c->addr.port;
        return *step != 0 && abs(*step) <= CV_PREDICT_STEP;
    }
    return false;
}

void cv_predict_start(struct cv_predict *p, bool hard, const struct cv_addr *to,
                      int step, cv_time now)
{
    *p = (struct cv_predict){.on = true,
                             .hard = hard,
                             .to = *to,
                             .step = step,
                             .started = now,
                             .next = now};
}

void cv_predict_start_duel(struct cv_predict *p, bool joiner,
                           const struct cv_addr *to, int step, cv_time now)
{
    cv_predict_start(p, joiner, to, step, now);
    p->duel = true;
}

/* The port that the k-th twenty is sent to, as the guess that meets it. */
static unsigned duel_guess(unsigned k)
{
    return CV_PREDICT_DUEL * (2 * k + 1);
}

static cv_time duel_due(const struct cv_predict *p)
{
    unsigned guess = p->sent;

    if (p->sent >= (p->hard ? CV_PREDICT_DUEL * CV_PREDICT_DUELS
                            : duel_guess(CV_PREDICT_DUELS - 1)))
        return CV_NEVER;
    if (!p->hard)
        return p->started + (cv_time)guess * CV_PREDICT_GAP;
    guess = duel_guess(p->sent / CV_PREDICT_DUEL);
    return p->started + CV_PREDICT_AHEAD + (cv_time)guess * CV_PREDICT_GAP;
}

static bool duel_shot(struct cv_predict *p, cv_time now, struct cv_shot *out)
{
    unsigned guess = p->sent + 1;

    if (duel_due(p) > now)
        return false;
    *out = (struct cv_shot){.to = p->to};
    if (p->hard) {
        guess = duel_guess(p->sent / CV_PREDICT_DUEL);
        out->socket = 1 + p->sent;
    }
    out->to.port = cv_predict_port(p->to.port, p->step, guess);
    p->sent++;
    return true;
}

static unsigned first_round(const struct cv_predict *p)
{
    return p->hard ? CV_PREDICT_SOCKETS : CV_PREDICT_FIRST;
}

static unsigned both_rounds(const struct cv_predict *p)
{
    return first_round(p) + (p->hard ? CV_PREDICT_SOCKETS : CV_PREDICT_WINDOW);
}

cv_time cv_predict_deadline(const struct cv_predict *p)
{
    if (!p->on)
        return CV_NEVER;
    if (p->duel)
        return duel_due(p);
    return p->sent < both_rounds(p) ? p->next : CV_NEVER;
}

bool cv_predict_shot(struct cv_predict *p, cv_time now, struct cv_shot *out)
{
    unsigned i = p->sent, first = first_round(p);
    bool again = i >= first;

    if (p->on && p->duel)
        return duel_shot(p, now, out);
    if (cv_predict_deadline(p) > now)
        return false;
    if (again)
        i -= first;
    *out = (struct cv_shot){.to = p->to};
    if (p->hard) {
        out->socket = 1 + i;
        out->ttl = again ? 0 : CV_PREDICT_TTL;
    } else {
        out->to.port = cv_predict_port(p->to.port, p->step, i + 1);
    }
    p->sent++;
    if (p->sent == first)
        p->next = p->started + CV_PREDICT_AGAIN;
    else if (!p->hard)
        p->next += CV_PREDICT_GAP;
    return true;
}
