#include "session/finding.h"

#include <stdio.h>
#include <string.h>

const char *cv_session_state_name(enum cv_session_state state)
{
    switch (state) {
    case CV_SESSION_FINDING:
        return "finding";
    case CV_SESSION_CONTACTING:
        return "contacting";
    case CV_SESSION_PUNCHING:
        return "punching";
    case CV_SESSION_WAITING:
        return "waiting";
    case CV_SESSION_DIRECT:
        return "direct";
    case CV_SESSION_ALONE:
        return "alone";
    case CV_SESSION_OFFLINE:
        return "offline";
    case CV_SESSION_ENDED:
        return "ended";
    }
    return "unknown";
}

enum cv_session_state cv_finding_state(const struct cv_facts *f)
{
    if (f->ended)
        return CV_SESSION_ENDED;
    if (f->members > 0 && f->in_step)
        return CV_SESSION_DIRECT;
    /* Who has the text can work on, whatever is being tried. */
    if (f->member && f->have_text && f->members == 0)
        return f->had_members && !f->all_left ? CV_SESSION_OFFLINE
                                              : CV_SESSION_ALONE;
    switch (f->reach) {
    case CV_REACH_NONE:
        return f->had_members && !f->all_left ? CV_SESSION_OFFLINE
                                              : CV_SESSION_FINDING;
    case CV_REACH_KNOCKED:
        return CV_SESSION_CONTACTING;
    case CV_REACH_PUNCHING:
    case CV_REACH_PROVED:
    case CV_REACH_HELLO:
    case CV_REACH_MEMBER:
        return CV_SESSION_PUNCHING;
    case CV_REACH_WAITING:
        return CV_SESSION_WAITING;
    }
    return CV_SESSION_FINDING;
}

static const char *name_or(const char *name, const char *other)
{
    return name[0] != '\0' ? name : other;
}

static bool dht_works(const struct cv_facts *f)
{
    return strcmp(f->dht, "connected") == 0;
}

#define SAY(out, size, ...) ((void)snprintf((out), (size), __VA_ARGS__))

/* There is no sign of the peer. */
static void tell_nobody(const struct cv_facts *f, char *hint)
{
    const char *still = f->elapsed < CV_FINDING_NOBODY_STILL
                            ? ""
                            : "nothing for a minute and more: ";

    if (f->elapsed < CV_FINDING_NOBODY)
        return;
    if (f->elapsed < CV_FINDING_NOBODY_ADVICE)
        SAY(hint, CV_HINT_TEXT,
            "no pointer found yet; is the other side sharing? DHT: %s; here is "
            "%s",
            f->dht, name_or(f->here, "a NAT of unknown kind"));
    else if (!dht_works(f))
        SAY(hint, CV_HINT_TEXT,
            "%sthe DHT is %s: check the network, that UDP is allowed out, and "
            "the bootstrap nodes; it is tried until you leave",
            still, f->dht);
    else
        SAY(hint, CV_HINT_TEXT,
            "%sno pointer found; check that the other side is sharing now, "
            "that the key is whole, that both use the same bootstrap nodes, "
            "and that the clocks are right; it is tried until you leave",
            still);
}

/* Whom we need, when those who were found are not it; or NULL. */
static const char *whom_we_miss(const struct cv_facts *f)
{
    if (f->pointers == 0)
        return NULL;
    if (f->member)
        return f->serving == 0 ? "may write" : NULL;
    return f->admitting == 0 ? "may let you in" : NULL;
}

static void tell_finding(const struct cv_facts *f, char *stage, char *hint)
{
    const char *missing = whom_we_miss(f);
    bool nobody = f->pointers == 0;

    if (missing != NULL)
        SAY(stage, CV_STAGE_TEXT,
            "Found %u member%s of the session, but nobody who %s", f->pointers,
            f->pointers == 1 ? "" : "s", missing);
    else if (!nobody)
        SAY(stage, CV_STAGE_TEXT, "Found the session; trying to reach it%s%s",
            f->failure[0] != '\0' ? " again: " : "", f->failure);
    else
        SAY(stage, CV_STAGE_TEXT, "Looking for the session");

    if (f->elapsed < CV_FINDING_HINT)
        return;
    if (missing != NULL && f->member) {
        SAY(hint, CV_HINT_TEXT,
            "who may only read cannot pass the text on: ask an editor or a "
            "host to come back");
        return;
    }
    if (missing != NULL) {
        SAY(hint, CV_HINT_TEXT, "%s%sask a host of the session to come back",
            f->host, f->host[0] != '\0' ? " can let you in: " : "");
        return;
    }
    if (!nobody) {
        SAY(hint, CV_HINT_TEXT, "%s",
            f->failure[0] != '\0'
                ? "it is tried until you leave"
                : "the other side was found but not reached; one of the "
                  "networks may not allow direct connections");
        return;
    }
    tell_nobody(f, hint);
}

static void tell_alone(const struct cv_facts *f, char *stage, char *hint)
{
    const char *left = f->had_members ? "Everybody has left" : "Shared";

    if (f->published && f->had_members)
        SAY(stage, CV_STAGE_TEXT, "Everybody has left; others can join");
    else if (f->published)
        SAY(stage, CV_STAGE_TEXT, "Shared; waiting for others to join");
    else if (f->unpublished)
        SAY(stage, CV_STAGE_TEXT,
            "%s; others cannot find the session yet, trying again", left);
    else
        SAY(stage, CV_STAGE_TEXT, "%s; making the session known", left);
    if (f->published || f->elapsed < CV_FINDING_HINT)
        return;
    if (dht_works(f))
        SAY(hint, CV_HINT_TEXT,
            "the DHT is connected, but the pointer could "
            "not be read back from it yet");
    else
        SAY(hint, CV_HINT_TEXT,
            "the DHT is %s: others cannot find this session; check the "
            "network and the bootstrap nodes",
            f->dht);
}

static void tell_offline(const struct cv_facts *f, char *stage, char *hint)
{
    SAY(stage, CV_STAGE_TEXT, "Lost the others; looking for them%s%s",
        f->failure[0] != '\0' ? ": " : "", f->failure);
    if (f->elapsed >= CV_FINDING_HINT)
        SAY(hint, CV_HINT_TEXT, "%s; DHT: %s",
            f->have_text ? "you can go on editing: it is merged when they are "
                           "back"
                         : "it is tried until you leave",
            f->dht);
}

static void tell_punching(const struct cv_facts *f, char *stage, char *hint)
{
    const char *who = name_or(f->who, "the other side");

    if (f->reach == CV_REACH_MEMBER)
        SAY(stage, CV_STAGE_TEXT, "Getting the text from %s", who);
    else if (f->reach == CV_REACH_HELLO)
        SAY(stage, CV_STAGE_TEXT, "Connected; checking who is who");
    else if (f->reach == CV_REACH_PROVED)
        SAY(stage, CV_STAGE_TEXT, "A path is open; connecting");
    else
        SAY(stage, CV_STAGE_TEXT, "Opening a path to %s", who);
    if (f->elapsed < CV_FINDING_HINT)
        return;
    if (f->reach == CV_REACH_MEMBER)
        SAY(hint, CV_HINT_TEXT,
            "%s has not sent the text yet; a viewer "
            "cannot, an editor or host must be there",
            who);
    else if (f->failure[0] != '\0')
        SAY(hint, CV_HINT_TEXT, "the last try failed: %s", f->failure);
    else
        SAY(hint, CV_HINT_TEXT,
            "still no path: one of the two networks may not allow direct "
            "connections");
}

/* Our token is on its way to the host. */
static void tell_by_hand(const struct cv_facts *f, char *stage, char *hint)
{
    const char *here = name_or(f->here, "a NAT of unknown kind");

    SAY(stage, CV_STAGE_TEXT, "Waiting for the host to add your token");
    if (f->failure[0] != '\0')
        SAY(hint, CV_HINT_TEXT, "%s", f->failure);
    else if (f->elapsed >= CV_FINDING_NOBODY_STILL)
        SAY(hint, CV_HINT_TEXT,
            "nothing for a minute and more: if the host has added the token, "
            "both begin again with a new one, for this one serves once; here "
            "is %s",
            here);
    else if (f->elapsed >= CV_FINDING_NOBODY_ADVICE)
        SAY(hint, CV_HINT_TEXT,
            "no sign of the host yet; give the token to the host, for :CoVim "
            "add; it is good for 15 minutes");
    else if (f->elapsed >= CV_FINDING_NOBODY)
        SAY(hint, CV_HINT_TEXT,
            "no sign of the host yet; give the token to the host, for :CoVim "
            "add; here is %s",
            here);
}

void cv_finding_tell(const struct cv_facts *f, char stage[CV_STAGE_TEXT],
                     char hint[CV_HINT_TEXT])
{
    stage[0] = hint[0] = '\0';
    if (f->ended) {
        SAY(stage, CV_STAGE_TEXT, "%s",
            name_or(f->failure, "The session "
                                "was left"));
        return;
    }
    switch (cv_finding_state(f)) {
    case CV_SESSION_FINDING:
        tell_finding(f, stage, hint);
        break;
    case CV_SESSION_CONTACTING:
        if (f->by_hand) {
            tell_by_hand(f, stage, hint);
            break;
        }
        SAY(stage, CV_STAGE_TEXT, "Knocking at %s",
            name_or(f->who, "the other side"));
        if (f->elapsed >= CV_FINDING_HINT)
            SAY(hint, CV_HINT_TEXT,
                "found, but no answer yet; it may have gone without saying so, "
                "or only one side reaches the DHT (here: %s)",
                f->dht);
        break;
    case CV_SESSION_PUNCHING:
        tell_punching(f, stage, hint);
        break;
    case CV_SESSION_WAITING:
        SAY(stage, CV_STAGE_TEXT, "Waiting for %s to let you in",
            name_or(f->who, "the host"));
        if (f->elapsed >= CV_FINDING_ADVICE)
            SAY(hint, CV_HINT_TEXT,
                "they have to accept; it is asked again every minute");
        break;
    case CV_SESSION_DIRECT:
        SAY(stage, CV_STAGE_TEXT, "In step with %u other%s", f->members,
            f->members == 1 ? "" : "s");
        break;
    case CV_SESSION_ALONE:
        tell_alone(f, stage, hint);
        break;
    case CV_SESSION_OFFLINE:
        tell_offline(f, stage, hint);
        break;
    case CV_SESSION_ENDED:
        break;
    }
    if (!f->network)
        SAY(hint, CV_HINT_TEXT,
            "no usable network: no socket could be opened; "
            "it is tried again every few seconds");
}

cv_time cv_finding_next(cv_time elapsed)
{
    static const cv_time at[] = {CV_FINDING_HINT, CV_FINDING_NOBODY,
                                 CV_FINDING_ADVICE, CV_FINDING_NOBODY_ADVICE,
                                 CV_FINDING_NOBODY_STILL};

    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
        if (elapsed < at[i])
            return at[i];
    return CV_NEVER;
}

bool cv_finding_update(struct cv_finding_told *t, struct cv_facts *f,
                       cv_time now)
{
    char stage[CV_STAGE_TEXT], hint[CV_HINT_TEXT];
    enum cv_session_state state = cv_finding_state(f);

    if (!t->told || state != t->state)
        t->since = now;
    f->elapsed = now - t->since;
    cv_finding_tell(f, stage, hint);
    if (t->told && state == t->state && strcmp(stage, t->stage) == 0 &&
        strcmp(hint, t->hint) == 0)
        return false;
    t->told = true;
    t->state = state;
    memcpy(t->stage, stage, sizeof stage);
    memcpy(t->hint, hint, sizeof hint);
    return true;
}

cv_time cv_finding_due(const struct cv_finding_told *t, cv_time now)
{
    cv_time next = cv_finding_next(now - t->since);

    return next == CV_NEVER ? CV_NEVER : t->since + next;
}

cv_time cv_finding_backoff(unsigned tries, const struct cv_rng *rng)
{
    static const cv_time wait[] = {200 * CV_MILLISECOND, 1 * CV_SECOND,
                                   2 * CV_SECOND,        5 * CV_SECOND,
                                   10 * CV_SECOND,       30 * CV_SECOND};
    const unsigned last = sizeof wait / sizeof wait[0] - 1;
    cv_time base = wait[tries < last ? tries : last];
    cv_time spread = base / 2;

    return base - base / 4 +
           (cv_time)(cv_random_u64(rng) % (uint64_t)(spread + 1));
}
