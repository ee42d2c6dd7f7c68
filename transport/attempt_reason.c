#include "transport/attempt_impl.h"
#include <stdio.h>

/* "no direct path", and why there is none over a gate, if one was asked. */
static void explain_no_path(const struct cv_attempt *at,
                            char out[CV_ATTEMPT_GATE + 64])
{
    if (at->no_gate[0] == '\0')
        snprintf(out, CV_ATTEMPT_GATE + 64, "no direct path");
    else
        snprintf(out, CV_ATTEMPT_GATE + 64,
                 "no direct path, and none over a gate (%s)", at->no_gate);
}

static void explain_nats(const struct cv_attempt *at, struct cv_plan plan,
                         const char *no_path, char *out, size_t len)
{
    const char *own = cv_plan_nat_words(at->local->nat);
    const char *peer = cv_plan_nat_words(at->peer_nat);
    const char *todo =
        plan.hopeless
            ? plan.duel
                  ? "two that count are joined directly only while nobody else "
                    "uses them much: try again, try another network on one "
                    "side, forward a UDP port there, or use IPv6"
                  : "two of this kind cannot be joined directly: try another "
                    "network "
                    "on one side, forward a UDP port there, or use IPv6"
        : plan.birthday && at->birthday_refused
            ? "the way to join these two may be tried once a minute, and not "
              "where birthdays are off: wait, or forward a UDP port on one side"
        : plan.birthday && !at->trusted
            ? "the way to join these two is not tried with strangers: share "
              "the session open, or forward a UDP port on one side"
            : "check that no firewall blocks UDP; try another network on one "
              "side, forward a UDP port there, or use IPv6";

    snprintf(out, len, "%s: here is %s, on the other side %s; %s", no_path, own,
             peer, todo);
}

void cv_attempt_explain(const struct cv_attempt *at, char *out, size_t len)
{
    struct cv_plan plan = cv_plan_for(at->local->nat, at->peer_nat);
    char no_path[CV_ATTEMPT_GATE + 64];

    explain_no_path(at, no_path);
    if (at->n + at->tcp.n == 0)
        snprintf(out, len,
                 "%s: the other side (%s) named no address that "
                 "can be reached from here (%s; %u skipped); give both sides a "
                 "STUN server (--stun HOST:PORT) or put them in one network",
                 no_path, cv_plan_nat_words(at->peer_nat),
                 cv_plan_nat_words(at->local->nat), at->skipped);
    else if (at->heard)
        snprintf(out, len,
                 "%s: the other side's packets arrive here, but "
                 "ours do not get back; look for a firewall here that drops "
                 "outgoing UDP, or one there that drops incoming UDP (here: "
                 "%s; there: %s)",
                 no_path, cv_plan_nat_words(at->local->nat),
                 cv_plan_nat_words(at->peer_nat));
    else
        explain_nats(at, plan, no_path, out, len);
}
