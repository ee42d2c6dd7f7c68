/* Timers: the next check of a plan that runs; the start of the birthday; and,
 * once there is a path, the next look for sockets that have none, and what is
 * done when it falls silent. */
#include "transport/attempt_impl.h"

void cv_attempt_hard_news(struct cv_attempt *at,
                          const struct cv_candidates *peer)
{
    const struct cv_addr *outside = cv_plan_outside(peer);

    if (!outside)
        return;
    at->peer_outside = *outside;
    if (!cv_predict_from(peer, &at->peer_last, &at->peer_step))
        at->peer_last = (struct cv_addr){0};
}

static struct cv_plan plan_of(const struct cv_attempt *at)
{
    struct cv_plan plan = cv_plan_for(at->local->nat, at->peer_nat);

    if (at->phase != CV_ATTEMPT_LOOKING ||
        at->peer_outside.family == CV_FAMILY_NONE || !at->local->ipv4 ||
        (plan.hard && !at->events->open) ||
        !cv_local_may_send(at->local, &at->peer_outside, false))
        return (struct cv_plan){0};
    return plan;
}

/* One public address for both: they are of one LAN, which is found by itself,
 * or of two behind one carrier, whose NAT has to let them meet (hairpin). */
static bool is_neighbour(const struct cv_attempt *at)
{
    return cv_addr_same_ip(&at->peer_outside, &at->local->reflexive);
}

/* No more of it; what it did not need is for others. */
static void end_birthday(struct cv_attempt *at)
{
    at->birthday.on = false;
    if (at->leave > 0 && at->events->spared)
        at->events->spared(at->user, at->leave);
    at->leave = 0;
}

static bool may_burst(struct cv_attempt *at, bool *gentle)
{
    end_birthday(at);
    if (!at->events->may_burst(at->user, gentle))
        return false;
    at->leave = CV_BIRTHDAY_GUESSES;
    return true;
}

/* By hand, until the peer is heard of: the half of a birthday that we keep. */
static bool wants_hold(const struct cv_attempt *at, struct cv_addr *to)
{
    struct cv_plan plan = cv_plan_for(at->local->nat, at->peer_nat);

    *to = at->peer_outside;
    /* Nobody translates the other side: its address is open to us. */
    for (unsigned i = 0; i < at->n && to->family == CV_FAMILY_NONE; i++)
        if (plan.hard && at->target[i].open &&
            at->target[i].path->kind == CV_PATH_IPV4)
            *to = at->target[i].path->addr.remote;
    if (!at->holds || !plan.birthday || !at->trusted ||
        !at->events->may_burst || !at->local->ipv4 ||
        (plan.hard && !at->events->open))
        return false;
    return cv_local_may_send(at->local, to, false);
}

static void start_hold(struct cv_attempt *at, const struct cv_addr *to,
                       cv_time now)
{
    bool hard = cv_plan_for(at->local->nat, at->peer_nat).hard, gentle = false;
    bool counts = !hard && at->peer_last.family != CV_FAMILY_NONE;
    char text[CV_ADDR_TEXT];

    if (!may_burst(at, &gentle)) {
        cv_debug(at->log, "attempt: no leave to hold ports yet");
        at->hold_at = now + CV_HOLD_EVERY;
        return;
    }
    cv_debug(at->log, "attempt: hold, side=%s gentle=%d addr=%s",
             hard ? "hard" : "easy", gentle, cv_addr_log(at->log, to, text));
    at->hold_at = CV_NEVER;
    cv_hold_start(&at->hold, hard, gentle, counts ? &at->peer_last : to,
                  counts ? at->peer_step : 0, cv_random_u64(at->checks.rng),
                  now);
    at->hold.every = cv_keep_within(CV_HOLD_EVERY, at->local->udp_life);
}

/* ---- when they begin ---------------------------------------------------- */

static cv_time predict_at(const struct cv_attempt *at, struct cv_plan plan)
{
    /* By hand the hard side's mappings are not what they were: the joiner holds
     * the next ones, and the sharer meets what is held. */
    if (!plan.predict || at->predict.on || (at->by_hand && plan.hard))
        return CV_NEVER;
    /* A record may be minutes old: of the sharer's ports only the answer
     * counts. */
    if (plan.duel)
        return at->peer_last.family == CV_FAMILY_NONE ||
                       (at->joiner && !at->answered)
                   ? CV_NEVER
                   : at->peer_at;
    /* Our own sockets can be open before the other side begins, if that is
     * soon. */
    if (plan.hard)
        return is_neighbour(at) ? at->peer_at : at->started;
    if (at->peer_last.family == CV_FAMILY_NONE)
        return CV_NEVER;
    return is_neighbour(at) ? at->peer_at
                            : cv_time_min(at->peer_at, at->handed_at);
}

/* When the hard side opens its ports. */
static cv_time ports_at(const struct cv_attempt *at)
{
    cv_time when = at->peer_at, wait = 0;

    if (when != CV_NEVER) {
        if (!(at->peer_nat & CV_NAT_STRICT))
            wait = at->joiner ? CV_ATTEMPT_BIRTHDAY_OPEN
                              : CV_ATTEMPT_BIRTHDAY_KNOCK;
        when += wait;
    }
    return at->joiner && !at->holds && !is_neighbour(at)
               ? cv_time_min(when, at->started + CV_ATTEMPT_BIRTHDAY_EARLY)
               : when;
}

/* When the easy side begins to guess. */
static cv_time guesses_at(const struct cv_attempt *at)
{
    cv_time wait =
        at->joiner ? CV_ATTEMPT_BIRTHDAY_ANSWER : CV_ATTEMPT_BIRTHDAY_KNOCK;

    if (at->peer_at == CV_NEVER)
        return CV_NEVER;
    /* The other side needs what is left for its 256 ports. */
    if (at->local->nat & CV_NAT_STRICT)
        wait -= CV_ATTEMPT_BIRTHDAY_OPEN;
    return at->peer_at + wait;
}

static cv_time birthday_at(const struct cv_attempt *at, struct cv_plan plan)
{
    cv_time when;

    if (!plan.birthday || at->birthday.on || at->birthday_refused ||
        !at->events->may_burst || at->hold.total > 0)
        return CV_NEVER;
    /* Whom we do not know may have named somebody else's address. */
    if (!at->trusted && !cv_addr_same_ip(&at->heard_from, &at->peer_outside))
        return CV_NEVER;
    when = plan.hard ? ports_at(at) : guesses_at(at);
    return plan.predict && !(at->by_hand && plan.hard) && when != CV_NEVER
               ? when + CV_PREDICT_TIME
               : when;
}

static void start_birthday(struct cv_attempt *at, bool hard, cv_time now)
{
    bool gentle = false;
    char text[CV_ADDR_TEXT];

    if (!may_burst(at, &gentle)) {
        cv_debug(at->log, "attempt: no leave for a birthday");
        at->birthday_refused = true;
        return;
    }
    cv_debug(at->log, "attempt: birthday, side=%s gentle=%d addr=%s",
             hard ? "hard" : "easy", gentle,
             cv_addr_log(at->log, &at->peer_outside, text));
    if (hard && at->by_hand)
        cv_birthday_start_rounds(&at->birthday, gentle, &at->peer_outside, now);
    else
        cv_birthday_start(&at->birthday, hard, gentle, &at->peer_outside,
                          at->peer_last.family != CV_FAMILY_NONE ? at->peer_step
                                                                 : 0,
                          cv_random_u64(at->checks.rng), now);
    /* At full TTL only what the other side expects. */
    if (at->peer_at == CV_NEVER)
        at->birthday.again = CV_NEVER;
}

void cv_attempt_hard_there(struct cv_attempt *at, cv_time now)
{
    if (at->birthday.again == CV_NEVER)
        at->birthday.again = now + CV_BIRTHDAY_AGAIN;
}

static void start(struct cv_attempt *at, cv_time now)
{
    struct cv_plan plan = plan_of(at);
    char text[CV_ADDR_TEXT];

    if (predict_at(at, plan) <= now) {
        if (plan.duel)
            cv_predict_start_duel(&at->predict, at->joiner, &at->peer_last,
                                  at->peer_step, now);
        else
            cv_predict_start(&at->predict, plan.hard,
                             plan.hard ? &at->peer_outside : &at->peer_last,
                             at->peer_step, now);
        cv_debug(at->log, "attempt: predict, side=%s step=%d addr=%s",
                 plan.duel   ? "both"
                 : plan.hard ? "hard"
                             : "easy",
                 at->peer_step, cv_addr_log(at->log, &at->predict.to, text));
    }
    if (birthday_at(at, plan) <= now)
        start_birthday(at, plan.hard, now);
}

/* What is aimed at. */
struct aim {
    struct cv_addr to;
    int step; /* of a NAT that counts, or 0 */
};

/* The hard side aims at a port, the easy one at an address, or at the ports
 * that a NAT which counts takes next. */
static struct aim aim_of(const struct cv_attempt *at, bool hard)
{
    if (!hard && at->peer_last.family != CV_FAMILY_NONE)
        return (struct aim){at->peer_last, at->peer_step};
    return (struct aim){at->peer_outside, 0};
}

/* Is the peer elsewhere than at `was`, and is it allowed to aim there? */
static bool is_elsewhere(const struct cv_attempt *at, bool hard,
                         const struct aim *was)
{
    struct aim now = aim_of(at, hard);
    /* With every mapping the port of a NAT that counts is another one; only
     * for a living connection that says where it begins anew. */
    bool ports = hard || (at->phase == CV_ATTEMPT_REACHED && now.step != 0);

    return (ports ? !cv_addr_equal(&now.to, &was->to)
                  : !cv_addr_same_ip(&now.to, &was->to)) &&
           (at->trusted || cv_addr_same_ip(&at->heard_from, &now.to)) &&
           cv_local_may_send(at->local, &now.to, false);
}

/* Of a connection that has fallen silent. */
static void begin_rescue(struct cv_attempt *at, const struct aim *aim,
                         bool hard, bool gentle, cv_time now)
{
    cv_birthday_start(&at->birthday, hard, gentle, &aim->to, aim->step,
                      cv_random_u64(at->checks.rng), now);
    cv_birthday_hurry(&at->birthday, at->peer_nat & CV_NAT_DROPS_STRAYS);
    at->hits = 0;
}

void cv_attempt_hard_hit(struct cv_attempt *at, const struct cv_path_addr *from)
{
    const struct cv_path *p = cv_pathset_find(&at->paths, from);

    if (!at->birthday.on || !at->birthday.hurry ||
        from->carrier != CV_CARRIER_UDP || (p && p->heard > 0))
        return;
    if (++at->hits == CV_HARD_HITS)
        end_birthday(at);
}

/* What was guessed from an older port was in vain. */
static void aim_predict(struct cv_attempt *at, cv_time now)
{
    struct cv_predict *p = &at->predict;

    if (p->on && !p->hard && !p->duel &&
        at->peer_last.family != CV_FAMILY_NONE &&
        !cv_addr_equal(&at->peer_last, &p->to))
        cv_predict_start(p, false, &at->peer_last, at->peer_step, now);
}

void cv_attempt_hard_aim(struct cv_attempt *at, cv_time now)
{
    struct cv_birthday *b = &at->birthday;
    struct aim was = {b->to, b->step}, aim = aim_of(at, b->hard);
    bool gentle = b->total == CV_BIRTHDAY_GENTLE_SOCKETS ||
                  b->total == CV_BIRTHDAY_GENTLE_GUESSES;

    at->moved = true;
    aim_predict(at, now);
    if (!b->on || at->aimed >= CV_HARD_AIMS || !is_elsewhere(at, b->hard, &was))
        return;
    cv_debug(at->log, "attempt: birthday, the peer is elsewhere");
    at->aimed++;
    if (b->hurry)
        begin_rescue(at, &aim, b->hard, gentle, now);
    else
        cv_birthday_start(b, b->hard, gentle, &aim.to, b->step, b->seed, now);
}

static void keep_holding(struct cv_attempt *at, cv_time now)
{
    struct cv_addr to;

    if (!at->holds) {
        at->hold.on = false;
        at->hold_at = CV_NEVER;
    } else if (now >= at->hold_at) {
        at->hold_at = CV_NEVER;
        if (wants_hold(at, &to))
            start_hold(at, &to, now);
    }
}

/* ---- what they send ----------------------------------------------------- */

/* Counts for the target at that address, if there is one: what it may be sent
 * in all. */
static bool within_budget(struct cv_attempt *at, const struct cv_addr *to)
{
    for (unsigned i = 0; i < at->n; i++) {
        struct cv_attempt_target *t = &at->target[i];

        if (!cv_addr_equal(&t->path->addr.remote, to))
            continue;
        if (t->sent >= CV_ATTEMPT_BUDGET)
            return false;
        t->sent++;
    }
    return cv_attempt_spend(at, CV_CHECK_MAX);
}

static bool is_on(const struct cv_path *p, uint16_t number)
{
    return p->used && p->addr.carrier == CV_CARRIER_UDP &&
           p->addr.socket == number;
}

/* A dead path is one only while there is no better. */
static bool has_path(const struct cv_attempt *at, uint16_t number)
{
    for (unsigned i = 0; i < CV_PATHS_MAX; i++)
        if (is_on(&at->paths.path[i], number) &&
            (at->paths.path[i].state != CV_PATH_DEAD ||
             !cv_pathset_any(&at->paths)))
            return true;
    return false;
}

static void forget_paths(struct cv_attempt *at, uint16_t number)
{
    for (unsigned i = 0; i < CV_PATHS_MAX; i++)
        if (is_on(&at->paths.path[i], number))
            (void)cv_pathset_forget(&at->paths, &at->paths.path[i]);
}

/* Another mapping: the socket before it found nothing. */
static void renew_socket(struct cv_attempt *at, uint16_t *number)
{
    if (*number == 0 || has_path(at, *number))
        return;
    at->events->close(at->user, *number);
    forget_paths(at, *number);
    *number = 0;
    at->n_sockets--;
}

/* `first`: where the plan's sockets begin in at->socket. */
static void fire(struct cv_attempt *at, const struct cv_shot *shot,
                 unsigned first, cv_time now)
{
    struct cv_path_addr to = {.carrier = CV_CARRIER_UDP, .remote = shot->to};
    uint8_t buf[CV_CHECK_MAX];
    struct cv_writer w;

    if (shot->socket > 0) {
        uint16_t *number = &at->socket[first + shot->socket - 1];

        if (shot->anew)
            renew_socket(at, number);
        if (*number == 0) {
            int got = at->events->open(at->user);

            if (got <= 0)
                return; /* fewer will have to do */
            *number = (uint16_t)got;
            at->n_sockets++;
        }
        to.socket = *number;
    }
    cv_writer_init(&w, buf, sizeof buf);
    if (cv_checks_request(&at->checks, now, &to, 0, &w) == CV_OK)
        (void)at->send(at->user, &to, at->low_ttl ? shot->ttl : 0, buf, w.len,
                       w.len);
}

cv_time cv_attempt_hard_deadline(const struct cv_attempt *at)
{
    struct cv_plan plan = plan_of(at);
    cv_time due = at->prune_at;

    due = cv_time_min(due, at->rescue_at);
    due = cv_time_min(due, cv_predict_deadline(&at->predict));
    due = cv_time_min(due, cv_birthday_deadline(&at->birthday));
    if (at->phase != CV_ATTEMPT_LOOKING)
        return due;
    due = cv_time_min(due, predict_at(at, plan));
    due = cv_time_min(due, birthday_at(at, plan));
    due = cv_time_min(due, at->hold_at);
    return cv_time_min(due, cv_hold_deadline(&at->hold));
}

static void prune(struct cv_attempt *at, cv_time now);

/* Can a birthday find again where `p` leads? */
static bool may_be_found(const struct cv_attempt *at, const struct cv_path *p)
{
    struct cv_plan plan = cv_plan_for(at->local->nat, at->peer_nat);

    return at->phase == CV_ATTEMPT_REACHED && plan.birthday && p &&
           p->kind == CV_PATH_IPV4 && p->proved && at->events->may_burst &&
           (!plan.hard || at->events->open);
}

void cv_attempt_hard_silent(struct cv_attempt *at, bool silent, cv_time now)
{
    const struct cv_path *p = cv_pathset_best(&at->paths);
    cv_time wait = CV_ATTEMPT_RESCUE;

    at->rescue_at = CV_NEVER;
    if (!silent && at->phase == CV_ATTEMPT_REACHED) {
        at->predict.on = false;
        end_birthday(at);
        if (at->n_sockets > 0)
            at->prune_at = cv_time_min(at->prune_at, now + CV_ATTEMPT_PRUNE);
    }
    if (!silent || !may_be_found(at, p))
        return;
    at->lost_end = p->addr.remote;
    at->moved = false;
    at->aimed = at->rescues = 0;
    if (wait < 2 * p->srtt)
        wait = 2 * p->srtt;
    at->rescue_at = now + wait;
}

static void rescue(struct cv_attempt *at, cv_time now)
{
    bool hard = cv_plan_for(at->local->nat, at->peer_nat).hard, gentle = false;
    struct aim aim = {at->lost_end, hard ? 0 : at->peer_step};
    char text[CV_ADDR_TEXT];

    at->rescue_at = CV_NEVER;
    if (at->rescues >= CV_HARD_RESCUES)
        return;
    if (!may_burst(at, &gentle)) {
        at->rescue_at = now + CV_HARD_WAIT;
        return;
    }
    if (++at->rescues < CV_HARD_RESCUES) /* it can miss */
        at->rescue_at = now + CV_HARD_RESCUE;
    if (at->moved && is_elsewhere(at, hard, &aim))
        aim = aim_of(at, hard);
    cv_debug(at->log, "attempt: rescue, side=%s gentle=%d addr=%s",
             hard ? "hard" : "easy", gentle,
             cv_addr_log(at->log, &aim.to, text));
    begin_rescue(at, &aim, hard, gentle, now);
    at->prune_at = now + CV_BIRTHDAY_TIME;
}

void cv_attempt_hard_step(struct cv_attempt *at, cv_time now)
{
    struct cv_shot shot;

    if (now >= at->prune_at)
        prune(at, now);
    if (now >= at->rescue_at)
        rescue(at, now);
    if (at->phase == CV_ATTEMPT_LOOKING) {
        keep_holding(at, now);
        start(at, now);
    }
    while (cv_hold_shot(&at->hold, now, &shot))
        fire(at, &shot, CV_PREDICT_SOCKETS, now);
    while (cv_predict_shot(&at->predict, now, &shot))
        if (within_budget(at, &shot.to))
            fire(at, &shot, 0, now);
    while (cv_birthday_shot(&at->birthday, now, &shot)) {
        fire(at, &shot, CV_PREDICT_SOCKETS, now);
        at->leave -= at->leave > 0;
    }
}

/* ---- their sockets ------------------------------------------------------ */

static void close_unused(struct cv_attempt *at, bool all)
{
    for (unsigned i = 0; i < CV_ATTEMPT_SOCKETS && at->n_sockets > 0; i++) {
        if (at->socket[i] == 0 || (!all && has_path(at, at->socket[i])))
            continue;
        at->events->close(at->user, at->socket[i]);
        forget_paths(at, at->socket[i]);
        at->socket[i] = 0;
        at->n_sockets--;
    }
}

static void prune(struct cv_attempt *at, cv_time now)
{
    close_unused(at, false);
    at->prune_at = at->n_sockets > 0 ? now + CV_ATTEMPT_PRUNE : CV_NEVER;
}

void cv_attempt_hard_reached(struct cv_attempt *at, cv_time now)
{
    at->predict.on = at->hold.on = false;
    end_birthday(at);
    prune(at, now);
}

/* A place for a socket that this attempt did not open; NULL: there is none, or
 * it has that one. */
static uint16_t *place_for(struct cv_attempt *at, uint16_t number)
{
    uint16_t *place = NULL;

    for (unsigned i = 0; i < CV_ATTEMPT_SOCKETS; i++) {
        if (at->socket[i] == number)
            return NULL;
        if (at->socket[i] == 0 && !place)
            place = &at->socket[i];
    }
    return place;
}

static void take_socket(struct cv_attempt *at, uint16_t *place, uint16_t number)
{
    *place = number;
    at->n_sockets++;
}

bool cv_attempt_adopt(struct cv_attempt *at, const struct cv_path *proved,
                      cv_time now)
{
    uint16_t number = proved->addr.socket, *place = NULL;

    if (cv_path_is_relay(&proved->addr))
        return false;
    if (number != 0) {
        place = place_for(at, number);
        if (!place && at->n_sockets == CV_ATTEMPT_SOCKETS)
            return false;
    }
    if (place) {
        take_socket(at, place, number);
        at->prune_at = cv_time_min(at->prune_at, now + CV_ATTEMPT_PRUNE);
    }
    cv_pathset_adopt(&at->paths, proved, now);
    return place != NULL;
}

void cv_attempt_hard_share(struct cv_attempt *at,
                           const struct cv_path_addr *addr, cv_time now)
{
    uint16_t *place;

    if (addr->carrier != CV_CARRIER_UDP || addr->socket == 0 ||
        !at->events->share)
        return;
    place = place_for(at, addr->socket);
    if (!place)
        return;
    at->events->share(at->user, addr->socket);
    take_socket(at, place, addr->socket);
    if (at->prune_at == CV_NEVER) /* else our own are needed until then */
        at->prune_at = now + CV_ATTEMPT_PRUNE;
}

void cv_attempt_hard_end(struct cv_attempt *at)
{
    end_birthday(at);
    close_unused(at, true);
}
