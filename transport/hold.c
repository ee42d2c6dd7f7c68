#include "transport/hold.h"
#include "transport/predict.h"

void cv_hold_start(struct cv_hold *h, bool hard, bool gentle,
                   const struct cv_addr *to, int step, uint64_t seed,
                   cv_time now)
{
    *h = (struct cv_hold){.on = true,
                          .hard = hard,
                          .to = *to,
                          .step = step,
                          .seed = seed,
                          .every = CV_HOLD_EVERY,
                          .next = now};
    if (hard)
        h->total = gentle ? CV_BIRTHDAY_GENTLE_SOCKETS : CV_BIRTHDAY_SOCKETS;
    else
        h->total = gentle ? CV_HOLD_GENTLE_PORTS : CV_HOLD_PORTS;
}

cv_time cv_hold_deadline(const struct cv_hold *h)
{
    return h->on ? h->next : CV_NEVER;
}

/* The first half may follow what was seen; what is in both is held twice. */
static uint16_t port_of(const struct cv_hold *h, unsigned i)
{
    return h->step != 0 && i < h->total / 2
               ? cv_predict_port(h->to.port, h->step, i + 1)
               : cv_birthday_port(h->seed, i);
}

bool cv_hold_shot(struct cv_hold *h, cv_time now, struct cv_shot *out)
{
    unsigned i;

    if (cv_hold_deadline(h) > now)
        return false;
    i = h->i % h->total;
    *out = (struct cv_shot){.to = h->to, .ttl = CV_HOLD_TTL};
    if (h->hard)
        out->socket = 1 + i;
    else
        out->to.port = port_of(h, i);
    h->i++;
    h->next += h->i < h->total ? CV_HOLD_FIRST : h->every / h->total;
    if (h->next <= now && h->i > h->total)
        h->next = now + CV_HOLD_FIRST; /* after a pause, no burst */
    return true;
}
