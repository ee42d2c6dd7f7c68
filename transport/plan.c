#include "transport/plan.h"
#include <stddef.h>

bool cv_plan_is_hard(uint16_t nat)
{
    uint16_t mapping = nat & CV_NAT_MAPPING_MASK;

    return mapping == CV_NAT_MAPPING_SEQ || mapping == CV_NAT_MAPPING_RANDOM;
}

static bool counts(uint16_t nat)
{
    return (nat & CV_NAT_MAPPING_MASK) == CV_NAT_MAPPING_SEQ;
}

struct cv_plan cv_plan_for(uint16_t own, uint16_t peer)
{
    bool we = cv_plan_is_hard(own), they = cv_plan_is_hard(peer);
    uint16_t hard = we ? own : peer;
    struct cv_plan plan = {.hard = we, .hopeless = we && they};

    plan.duel = plan.hopeless && counts(own) && counts(peer);
    plan.predict = plan.duel;
    if (we == they)
        return plan;
    plan.predict = counts(hard);
    plan.birthday = true;
    return plan;
}

const struct cv_addr *cv_plan_outside(const struct cv_candidates *peer)
{
    const struct cv_candidate *best = NULL;

    for (unsigned i = 0; i < peer->n; i++) {
        const struct cv_candidate *c = &peer->c[i];

        if (c->type == CV_CANDIDATE_SRFLX && c->addr.family == CV_FAMILY_IPV4 &&
            (!best || c->pref > best->pref))
            best = c;
    }
    return best ? &best->addr : NULL;
}

const char *cv_plan_nat_words(uint16_t nat)
{
    if (nat & CV_NAT_UDP_BLOCKED)
        return "a network that blocks UDP";
    switch (nat & CV_NAT_MAPPING_MASK) {
    case CV_NAT_MAPPING_EIM:
        return "a NAT that keeps one port for all destinations, or none";
    case CV_NAT_MAPPING_SEQ:
        return "a NAT that counts up its ports, one for every destination";
    case CV_NAT_MAPPING_RANDOM:
        return "a NAT that takes a random port for every destination";
    default:
        return "a NAT of unknown kind";
    }
}
