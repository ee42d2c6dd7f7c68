#include "transport/birthday.h"
#include "transport/predict.h"

void cv_birthday_start(struct cv_birthday *b, bool hard, bool gentle,
                       const struct cv_addr *to, int step, uint64_t seed,
                       cv_time now)
{
    *b = (struct cv_birthday){.on = true,
                              .hard = hard,
                              .to = *to,
                              .step = step,
                              .seed = seed,
                              .started = now,
                              .again = now + CV_BIRTHDAY_AGAIN};
    if (hard)
        b->total = gentle ? CV_BIRTHDAY_GENTLE_SOCKETS : CV_BIRTHDAY_SOCKETS;
    else
        b->total = gentle ? CV_BIRTHDAY_GENTLE_GUESSES : CV_BIRTHDAY_GUESSES;
}

void cv_birthday_start_rounds(struct cv_birthday *b, bool gentle,
                              const struct cv_addr *to, cv_time now)
{
    cv_birthday_start(b, true, gentle, to, 0, 0, now);
    b->rounds = true;
}

void cv_birthday_hurry(struct cv_birthday *b, bool drops)
{
    b->hurry = true;
    b->again = b->started +
               (drops ? CV_BIRTHDAY_HURRY_STRAIGHT : CV_BIRTHDAY_HURRY_AGAIN);
}

/* One round of a Feistel network over 16 bits. */
static uint16_t mix(uint64_t seed, unsigned round, uint16_t v)
{
    uint8_t left = (uint8_t)(v >> 8), right = (uint8_t)v;
    uint64_t h =
        (seed ^ right ^ (uint64_t)round << 8) * UINT64_C(0x9e3779b97f4a7c15);

    h ^= h >> 29;
    h *= UINT64_C(0xbf58476d1ce4e5b9);
    return (uint16_t)((unsigned)right << 8 | (left ^ (uint8_t)(h >> 56)));
}

/* A permutation of 0..65535, walked along until it falls into the range that
 * is wanted: still a permutation. */
uint16_t cv_birthday_port(uint64_t seed, unsigned i)
{
    uint16_t v = (uint16_t)i;

    do
        for (unsigned round = 0; round < 6; round++)
            v = mix(seed, round, v);
    while (v >= CV_BIRTHDAY_PORTS);
    return (uint16_t)(CV_BIRTHDAY_LOWEST + v);
}

/* The i-th of those near by, in an order of no pattern: an odd factor permutes
 * what is counted modulo a power of two. */
static uint16_t near_port(const struct cv_birthday *b, unsigned i)
{
    const unsigned place =
        (i * 421u + (unsigned)(b->seed & 0xffff)) % CV_BIRTHDAY_NEAR;

    if (b->step != 0)
        return cv_predict_port(b->to.port, b->step, place + 1);
    return (uint16_t)(b->to.port - b->to.port % CV_BIRTHDAY_NEAR + place);
}

static bool is_near(const struct cv_birthday *b, uint16_t port)
{
    int ahead;

    if (b->step == 0)
        return port / CV_BIRTHDAY_NEAR == b->to.port / CV_BIRTHDAY_NEAR;
    ahead = cv_predict_way(b->to.port, port);
    return ahead % b->step == 0 && ahead / b->step >= 1 &&
           ahead / b->step <= CV_BIRTHDAY_NEAR;
}

/* In turn one near by and one far off; none twice. */
static uint16_t next_guess(struct cv_birthday *b)
{
    uint16_t port;

    if (b->sent % 2 == 0 && b->near < CV_BIRTHDAY_NEAR &&
        b->to.port >= CV_BIRTHDAY_LOWEST)
        return near_port(b, b->near++);
    do
        port = cv_birthday_port(b->seed, b->far++);
    while (b->to.port >= CV_BIRTHDAY_LOWEST && is_near(b, port));
    return port;
}

static cv_time due(const struct cv_birthday *b)
{
    cv_time at = b->sent < b->total ? b->started : b->again;
    cv_time gap = b->hurry ? CV_BIRTHDAY_HURRY_GAP : CV_BIRTHDAY_GUESS_GAP;

    if (!b->hard)
        return b->started + (cv_time)b->sent * gap;
    if (b->hurry && b->sent > b->total)
        at += (b->sent / b->total - 1) * CV_BIRTHDAY_HURRY_ROUND;
    if (b->rounds)
        at = b->started + b->sent / b->total * CV_BIRTHDAY_ROUND;
    if (at == CV_NEVER)
        return at;
    return at +
           (cv_time)(b->sent % b->total) * CV_BIRTHDAY_OPEN / (cv_time)b->total;
}

static unsigned shots(const struct cv_birthday *b)
{
    if (!b->hard)
        return b->total;
    if (b->hurry)
        return CV_BIRTHDAY_HURRY_ROUNDS * b->total;
    return b->rounds ? CV_BIRTHDAY_ROUNDS * b->total : 2 * b->total;
}

cv_time cv_birthday_deadline(const struct cv_birthday *b)
{
    if (!b->on || b->sent >= shots(b))
        return CV_NEVER;
    return due(b);
}

bool cv_birthday_shot(struct cv_birthday *b, cv_time now, struct cv_shot *out)
{
    if (cv_birthday_deadline(b) > now)
        return false;
    *out = (struct cv_shot){.to = b->to};
    if (b->hard) {
        out->socket = 1 + b->sent % b->total;
        out->ttl = !b->rounds && b->sent < b->total ? CV_BIRTHDAY_TTL : 0;
        out->anew = b->rounds;
    } else {
        out->to.port = next_guess(b);
    }
    b->sent++;
    return true;
}
