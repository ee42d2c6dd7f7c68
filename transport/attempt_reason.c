#include "transport/attempt_impl.h"
#include <stdio.h>

static void explain_nats(const struct cv_attempt *at, struct cv_plan plan,
                         char *out, size_t len)
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

    snprintf(out, len, "here is %s, on the other side %s; %s", own, peer, todo);
}

void cv_attempt_explain(const struct cv_attempt *at, char *out, size_t len)
{
    struct cv_plan plan = cv_plan_for(at->local->nat, at->peer_nat);
    bool gate = at->no_gate[0] != '\0';
    size_t done = (size_t)snprintf(out, len, "no direct path%s%s%s: ",
                                   gate ? ", and none over a gate (" : "",
                                   at->no_gate, gate ? ")" : "");

    if (done >= len)
        return;
    out += done;
    len -= done;
    if (at->n + at->tcp.n == 0)
        snprintf(out, len,
                 "the other side (%s) named no address that "
                 "can be reached from here (%s; %u skipped); give both sides a "
                 "STUN server (--stun HOST:PORT) or put them in one network",
                 cv_plan_nat_words(at->peer_nat),
                 cv_plan_nat_words(at->local->nat), at->skipped);
    else if (at->heard)
        snprintf(out, len,
                 "the other side's packets arrive here, but "
                 "ours do not get back; look for a firewall here that drops "
                 "outgoing UDP, or one there that drops incoming UDP (here: "
                 "%s; there: %s)",
                 cv_plan_nat_words(at->local->nat),
                 cv_plan_nat_words(at->peer_nat));
    else
        explain_nats(at, plan, out, len);
}
