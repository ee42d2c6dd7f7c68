#include "transport/tcpplan.h"
#include <string.h>

static const unsigned knock_ttl[] = {3, 5, 8};
#define TTLS (sizeof knock_ttl / sizeof knock_ttl[0])

/* How long a SYN may stay unanswered. */
static const cv_time hold[] = {CV_TCPPLAN_HOLD, CV_SECOND, CV_TCPPLAN_LAST};
#define SILENT (sizeof hold / sizeof hold[0])

/* One more try each, after the window, for a rendezvous that is late. */
static const cv_time late[] = {3 * CV_SECOND, 7 * CV_SECOND};
static const cv_time round_gap[CV_TCPPLAN_ROUNDS] = {
    5 * CV_SECOND, 15 * CV_SECOND, 60 * CV_SECOND, 300 * CV_SECOND,
    300 * CV_SECOND};

void cv_tcpplan_init(struct cv_tcpplan *p,
                     const struct cv_tcpplan_config *config, struct cv_log *log,
                     const struct cv_tcpplan_ops *ops, void *user, cv_time now)
{
    memset(p, 0, sizeof *p);
    p->joiner = config->joiner;
    p->holds = config->joiner && config->holds;
    p->log = log;
    p->ops = ops;
    p->user = user;
    p->paced_until = now;
    p->round_at = CV_NEVER;
    p->wait = config->blocked ? 0 : CV_TCPPLAN_WAIT;
    p->start = now + p->wait;
    p->full_after = config->by_destination ? CV_TCPPLAN_EARLY : CV_TCPPLAN_FULL;
}

static bool knocks_first(const struct cv_tcpplan *p,
                         const struct cv_tcpplan_target *t)
{
    return p->rounds > 0 || (p->joiner && (p->holds || !t->dial));
}

/* When a target of this round begins, and until when it only knocks. */
static void set_times(const struct cv_tcpplan *p, struct cv_tcpplan_target *t,
                      cv_time now)
{
    cv_time from = p->start > now ? p->start : now;

    t->until = CV_NEVER;
    t->next = t->full_at = from;
    if (!knocks_first(p, t))
        return;
    t->full_at = from + (p->rounds > 0 ? CV_TCPPLAN_EARLY : p->full_after);
    if (p->rounds > 0)
        return;
    if (p->answered)
        t->full_at = cv_time_min(t->full_at, from + CV_TCPPLAN_ANSWER);
    else if (p->holds && !t->dial)
        t->full_at = CV_NEVER;
    /* The sharer connects CV_TCPPLAN_WAIT after it was told: be first. */
    t->next -= CV_TCPPLAN_LEAD;
    if (t->next < now)
        t->next = now;
}

bool cv_tcpplan_add(struct cv_tcpplan *p, const struct cv_addr *addr, bool dial,
                    cv_time now)
{
    struct cv_tcpplan_target *t = NULL;

    for (unsigned i = 0; i < p->n; i++)
        if (cv_addr_equal(&p->target[i].addr, addr)) {
            p->target[i].dial |= dial;
            return false;
        }
    if (p->n < CV_CANDIDATES_MAX)
        t = &p->target[p->n++];
    for (unsigned i = 0; i < p->n && !t; i++) /* one that came to nothing */
        if (p->target[i].state == CV_TCPPLAN_WAITING &&
            p->target[i].next == CV_NEVER)
            t = &p->target[i];
    if (!t)
        return false;
    *t = (struct cv_tcpplan_target){
        .addr = *addr, .dial = dial, .next = CV_NEVER};
    if (!p->stopped)
        set_times(p, t, now);
    return true;
}

void cv_tcpplan_hurry(struct cv_tcpplan *p, cv_time now)
{
    cv_time early = p->start - now;

    if (p->stopped || early <= 0)
        return;
    p->start = now;
    p->wait = 0;
    for (unsigned i = 0; i < p->n; i++) {
        struct cv_tcpplan_target *t = &p->target[i];

        if (t->tries > 0)
            continue;
        if (t->full_at != CV_NEVER)
            t->full_at -= early;
        if (t->knocks == 0)
            t->next = now;
    }
}

void cv_tcpplan_full(struct cv_tcpplan *p, cv_time now)
{
    cv_time when = now + p->wait + CV_TCPPLAN_ANSWER;

    p->answered = true;
    p->holds = false;
    if (p->stopped || p->rounds > 0)
        return;
    for (unsigned i = 0; i < p->n; i++) {
        struct cv_tcpplan_target *t = &p->target[i];

        if (t->tries > 0 || when >= t->full_at)
            continue;
        t->full_at = when;
        t->next = cv_time_min(t->next, when);
    }
}

void cv_tcpplan_lead(struct cv_tcpplan *p, cv_time now)
{
    if (p->stopped || p->rounds > 0 || p->start > now)
        return;
    for (unsigned i = 0; i < p->n; i++) {
        struct cv_tcpplan_target *t = &p->target[i];

        if (t->tries > 0 || t->state == CV_TCPPLAN_OPEN)
            continue;
        t->full_at = p->joiner ? now : now + CV_TCPPLAN_LED;
        t->next = now;
    }
}

/* When to connect again after a try that came to nothing. */
static cv_time next_try(const struct cv_tcpplan *p,
                        const struct cv_tcpplan_target *t, cv_time wait,
                        cv_time now)
{
    if (p->holds) /* only what is dialled is tried at all */
        return now + CV_TCPPLAN_EVERY;
    if (now + wait < t->until)
        return now + wait;
    for (unsigned i = 0; i < sizeof late / sizeof late[0]; i++)
        if (t->until + late[i] > now)
            return t->until + late[i];
    return CV_NEVER;
}

/* Connect at `when`; who knocks first does so until then. */
static void plan_try(const struct cv_tcpplan *p, struct cv_tcpplan_target *t,
                     cv_time when, cv_time now)
{
    t->state = CV_TCPPLAN_WAITING;
    t->full_at = t->next = when;
    if (when != CV_NEVER && knocks_first(p, t))
        t->next = now;
}

static bool may_knock(const struct cv_tcpplan *p,
                      const struct cv_tcpplan_target *t)
{
    /* By hand: the user has named this node, and none of it gets there. */
    return p->rounds > 0 || p->holds ||
           t->syns + CV_TCPPLAN_SPARE < CV_TCPPLAN_BUDGET;
}

static void knock(struct cv_tcpplan *p, struct cv_tcpplan_target *t,
                  cv_time now)
{
    unsigned ttl = knock_ttl[t->knocks % TTLS];

    t->knocks++;
    t->syns += !p->holds;
    t->since = now;
    t->next = cv_time_min(now + CV_TCPPLAN_RETRY, t->full_at);
    if (p->ops->connect(p->user, &t->addr, ttl, &t->channel) != CV_OK)
        return; /* as after a refusal */
    t->state = CV_TCPPLAN_KNOCKING;
    if (t->knocks >= TTLS)
        t->next = t->full_at; /* as long as the kernel keeps it */
}

static void connect_to(struct cv_tcpplan *p, struct cv_tcpplan_target *t,
                       cv_time now)
{
    char text[CV_ADDR_TEXT];
    int err;

    if (t->until == CV_NEVER)
        t->until = now + CV_TCPPLAN_WINDOW;
    t->tries++;
    t->syns++;
    t->since = now;
    err = p->ops->connect(p->user, &t->addr, 0, &t->channel);
    if (err == CV_OK) {
        t->state = CV_TCPPLAN_CONNECTING;
        t->next = now + hold[t->silent < SILENT ? t->silent : SILENT - 1];
        return;
    }
    cv_debug(p->log, "tcpplan: not connecting to %s: %s",
             cv_addr_log(p->log, &t->addr, text), cv_strerror(err));
    /* The peer's own connection has our place: its checks decide. */
    t->state = CV_TCPPLAN_WAITING;
    t->full_at = t->next = next_try(p, t, 2 * CV_TCPPLAN_RETRY, now);
}

static struct cv_tcpplan_target *by_channel(struct cv_tcpplan *p,
                                            uint32_t channel)
{
    for (unsigned i = 0; i < p->n; i++)
        if (p->target[i].state != CV_TCPPLAN_WAITING &&
            p->target[i].channel == channel)
            return &p->target[i];
    return NULL;
}

bool cv_tcpplan_up(struct cv_tcpplan *p, uint32_t channel)
{
    struct cv_tcpplan_target *t = by_channel(p, channel);
    char text[CV_ADDR_TEXT];

    if (!t)
        return false;
    cv_debug(p->log, "tcpplan: connected, addr=%s knocks=%u tries=%u",
             cv_addr_log(p->log, &t->addr, text), t->knocks, t->tries);
    t->state = CV_TCPPLAN_OPEN;
    t->answered = true;
    t->syns = 0;
    t->next = CV_NEVER;
    return true;
}

/* What the kernel repeats counts, too: once a second at first. */
static void count_repeats(const struct cv_tcpplan *p,
                          struct cv_tcpplan_target *t, cv_time now)
{
    unsigned n = (unsigned)((now - t->since) / CV_SECOND);

    if (t->state == CV_TCPPLAN_CONNECTING)
        t->syns += n > 1 ? 1 : n; /* cv_tcp_connect() */
    if (t->state == CV_TCPPLAN_KNOCKING && !p->holds)
        t->syns += n;
}

void cv_tcpplan_down(struct cv_tcpplan *p, uint32_t channel, int err,
                     cv_time now)
{
    struct cv_tcpplan_target *t = by_channel(p, channel);
    cv_time gap = CV_TCPPLAN_RETRY;
    char text[CV_ADDR_TEXT];

    if (!t)
        return;
    cv_debug(p->log, "tcpplan: %s, addr=%s: %s",
             t->state == CV_TCPPLAN_OPEN ? "closed" : "not connected",
             cv_addr_log(p->log, &t->addr, text), cv_strerror(err));
    count_repeats(p, t, now);
    if (p->stopped) {
        t->state = CV_TCPPLAN_WAITING;
        t->next = CV_NEVER;
        return;
    }
    switch (t->state) {
    case CV_TCPPLAN_WAITING:
        break;
    case CV_TCPPLAN_KNOCKING:
        /* By hand it has no end: what the kernel took for an error (over IPv6
         * the expiry of a SYN) is not repeated as it comes. */
        if (p->holds && err != CV_ERR_TIMEOUT)
            gap = CV_TCPPLAN_EVERY;
        t->state = CV_TCPPLAN_WAITING;
        t->next = cv_time_min(now + gap, t->full_at);
        break;
    case CV_TCPPLAN_CONNECTING:
        if (t->tries >= 8)
            gap *= 2;
        plan_try(p, t, next_try(p, t, gap, now), now);
        break;
    case CV_TCPPLAN_OPEN: /* whoever that was */
        t->until = now;
        plan_try(p, t, next_try(p, t, CV_SECOND, now), now);
        break;
    }
}

void cv_tcpplan_stop(struct cv_tcpplan *p)
{
    p->stopped = true;
    p->rounds = 0;
    p->round_at = CV_NEVER;
    for (unsigned i = 0; i < p->n; i++) {
        struct cv_tcpplan_target *t = &p->target[i];

        if (t->state == CV_TCPPLAN_CONNECTING ||
            t->state == CV_TCPPLAN_KNOCKING) {
            t->state = CV_TCPPLAN_WAITING;
            p->ops->close(p->user, t->channel);
        }
        t->next = CV_NEVER;
    }
}

static void begin_round(struct cv_tcpplan *p, cv_time now)
{
    unsigned i =
        p->rounds < CV_TCPPLAN_ROUNDS ? p->rounds : CV_TCPPLAN_ROUNDS - 1;

    p->stopped = false;
    /* The first time UDP may yet come back. */
    p->start = p->rounds == 0 ? now + CV_TCPPLAN_WAIT : now;
    p->rounds++;
    p->round_at = now + round_gap[i];
    for (i = 0; i < p->n; i++) {
        struct cv_tcpplan_target *t = &p->target[i];

        if (t->state != CV_TCPPLAN_WAITING)
            continue;
        t->knocks = t->tries = t->silent = 0;
        if (t->answered)
            t->syns = 0;
        set_times(p, t, now);
    }
}

void cv_tcpplan_again(struct cv_tcpplan *p, cv_time now)
{
    if (p->stopped)
        begin_round(p, now);
}

static bool is_spent(const struct cv_tcpplan *p,
                     const struct cv_tcpplan_target *t)
{
    if (p->rounds > 0 && t->knocks + t->tries >= CV_TCPPLAN_ROUND_SYNS)
        return true;
    return t->syns + 2 > CV_TCPPLAN_BUDGET; /* one, and the kernel's repeat */
}

cv_time cv_tcpplan_deadline(const struct cv_tcpplan *p)
{
    cv_time due = CV_NEVER;

    if (p->stopped || p->n == 0)
        return CV_NEVER;
    for (unsigned i = 0; i < p->n; i++)
        due = cv_time_min(due, p->target[i].next);
    if (due != CV_NEVER && due < p->paced_until)
        due = p->paced_until;
    return cv_time_min(due, p->round_at);
}

/* Its time has come: what is out is given up, the next thing done. */
static void step_target(struct cv_tcpplan *p, struct cv_tcpplan_target *t,
                        cv_time now)
{
    if ((t->state == CV_TCPPLAN_KNOCKING ||
         t->state == CV_TCPPLAN_CONNECTING) &&
        p->ops->is_met(p->user, t->channel)) {
        t->next = now + CV_TCPPLAN_MET;
        return;
    }
    switch (t->state) {
    case CV_TCPPLAN_OPEN:
        t->next = CV_NEVER;
        return;
    case CV_TCPPLAN_CONNECTING: /* silence */
        p->ops->close(p->user, t->channel);
        count_repeats(p, t, now);
        t->silent++;
        plan_try(p, t, next_try(p, t, 0, now), now);
        if (t->next > now)
            return;
        break;
    case CV_TCPPLAN_KNOCKING:
        p->ops->close(p->user, t->channel);
        count_repeats(p, t, now);
        t->state = CV_TCPPLAN_WAITING;
        break;
    case CV_TCPPLAN_WAITING:
        break;
    }
    if (is_spent(p, t)) {
        t->next = CV_NEVER;
        return;
    }
    if (now < t->full_at && !may_knock(p, t)) {
        t->next = t->full_at;
        return;
    }
    p->paced_until = now + CV_TCPPLAN_PACE;
    if (now < t->full_at)
        knock(p, t, now);
    else
        connect_to(p, t, now);
}

void cv_tcpplan_step(struct cv_tcpplan *p, cv_time now)
{
    if (!p->stopped && p->n > 0 && now >= p->round_at)
        begin_round(p, now);
    while (!p->stopped && now >= p->paced_until) {
        struct cv_tcpplan_target *first = NULL;

        for (unsigned i = 0; i < p->n; i++) {
            struct cv_tcpplan_target *t = &p->target[i];

            if (t->next <= now && (!first || t->next < first->next))
                first = t;
        }
        if (!first)
            return;
        step_target(p, first, now);
    }
}
