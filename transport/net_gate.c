/* Each link rings at two of the gates that its peer names, as soon as it is
 * begun; the one that was knocked at claims the channels of the same attempt.
 * When a channel is lost, who knocked opens another one, there or at the next
 * gate: at once when it was the only one, else when that gate is seen to be
 * there again. */
#include "transport/net_struct.h"
#include <stdio.h>
#include <string.h>

#define OPEN_AGAIN (500 * CV_MILLISECOND)
#define OPEN_SPARE (2 * CV_SECOND)  /* while another channel works */
#define OPEN_MOST  (60 * CV_SECOND) /* while it goes without it */

/* ---- names -------------------------------------------------------------- */

static bool name_of(struct cv_gate_name *out, const struct cv_gate_ref *ref)
{
    struct cv_addr at = ref->addr;
    char text[CV_ADDR_TEXT];

    memset(out, 0, sizeof *out);
    out->key = ref->key;
    out->port = ref->tcp;
    at.port = 1;
    cv_addr_format(&at, text);
    /* "1.2.3.4:1" or "[::1]:1" */
    *strrchr(text, ':') = '\0';
    if (text[0] == '[')
        snprintf(out->host, sizeof out->host, "%.*s", (int)strlen(text) - 2,
                 text + 1);
    else
        snprintf(out->host, sizeof out->host, "%s", text);
    return ref->tcp != 0;
}

/* False: it is none that we know. */
static bool find_gate(const struct cv_net *net, const struct cv_key *key,
                      struct cv_gates_info *out)
{
    struct cv_gates_info info[CV_GATES_MAX];
    unsigned n = cv_gates_list(net->gates, info, CV_GATES_MAX);

    for (unsigned i = 0; i < n && i < CV_GATES_MAX; i++)
        if (cv_key_equal(&info[i].name.key, key)) {
            *out = info[i];
            return true;
        }
    return false;
}

static bool is_ours(const struct cv_net *net, const struct cv_key *key)
{
    struct cv_gates_info info;

    return find_gate(net, key, &info) && info.own;
}

/* Is there a link to it, that does not work just now? */
static bool is_down(const struct cv_net *net, const struct cv_key *key)
{
    struct cv_gates_info info;

    return find_gate(net, key, &info) && info.state != CV_GATELINK_UP;
}

/* Whoever may write a record must not make us dial into our own network. */
static bool may_dial(const struct cv_net *net, const struct cv_gate_ref *ref)
{
    return ((ref->transports & CV_GATE_BY_TLS) &&
            cv_addr_kind(&ref->addr) == CV_ADDR_GLOBAL) ||
           is_ours(net, &ref->key);
}

/* ---- channels of links -------------------------------------------------- */

static bool add_channel(struct cv_net_link *l, const struct cv_path_addr *path)
{
    cv_time now = cv_loop_now(l->net->loop);
    cv_time rtt = 2 * cv_gates_rtt(l->net->gates, path);

    for (unsigned i = 0; i < CV_NET_CHANNELS; i++) {
        if (l->channel[i].channel != 0)
            continue;
        l->channel[i] = *path;
        if (!l->attempt->carried) {
            struct cv_net_link *old = cv_net_connected(l->net, &l->contact);

            l->connect_at = old && old != l ? now + CV_NET_YIELD : now;
            l->handshake_by = now + CV_NET_HANDSHAKE;
        }
        cv_attempt_relay_up(l->attempt, path,
                            rtt > 0 ? rtt : 100 * CV_MILLISECOND, now);
        return true;
    }
    return false;
}

/* The token may be minutes on its way, and the other side may not be at its
 * gate just now: until it has spoken on a channel there is none. */
static bool waits_by_hand(const struct cv_net_link *l)
{
    return l->contact.knocked && l->contact.by_hand &&
           l->contact.ring_len > 0 && !l->conn && !l->attempt->carried &&
           !l->reached;
}

static void keep_by_hand(struct cv_net_link *l, const struct cv_path_addr *path)
{
    for (unsigned i = 0; i < CV_NET_CHANNELS; i++)
        if (l->hand[i].channel == 0) {
            l->hand[i] = *path;
            return;
        }
    cv_gates_close(l->net->gates, path);
}

static void ring_at(struct cv_net_link *l, const struct cv_gate_ref *ref,
                    struct cv_bytes ring)
{
    struct cv_gate_name name;
    struct cv_path_addr path;
    int err;

    if (!may_dial(l->net, ref) || !name_of(&name, ref))
        return;
    err = cv_gates_ring(l->net->gates, &name, &l->contact.node,
                        l->contact.room_key, l->contact.attempt, ring, &path);
    if (err != CV_OK)
        return;
    /* With the knock goes the first packet; later a channel is a path only
     * when it is there, and by hand when the other side uses it. */
    if (waits_by_hand(l))
        keep_by_hand(l, &path);
    else if (ring.len == 0 && l->reopening.channel == 0)
        l->reopening = path;
    else if (ring.len == 0 || !add_channel(l, &path))
        cv_gates_close(l->net->gates, &path);
}

/* At the peer's gates: first those that we are linked to already. */
static void ring_all(struct cv_net_link *l, struct cv_bytes ring)
{
    const struct cv_gate_refs *refs = &l->contact.peer.gates;
    unsigned n = 0;

    for (unsigned ours = 2; ours-- > 0;)
        for (unsigned i = 0; i < refs->n && i < CV_GATE_REFS_MAX; i++)
            if (is_ours(l->net, &refs->g[i].key) == (ours == 1) &&
                n++ < CV_NET_CHANNELS)
                ring_at(l, &refs->g[i], ring);
}

/* One more channel, at a gate that has none of ours; the knock is used up, the
 * tag says which attempt it is.  A gate that is down may be so for long: its
 * link looks for it. */
static void open_again(struct cv_net_link *l)
{
    const struct cv_gate_refs *refs = &l->contact.peer.gates;

    for (unsigned i = 0; i < refs->n && i < CV_GATE_REFS_MAX; i++)
        if (l->reopening.channel == 0 && !is_down(l->net, &refs->g[i].key))
            ring_at(l, &refs->g[i], (struct cv_bytes){0});
}

/* ---- by hand ------------------------------------------------------------ */

static void close_by_hand(struct cv_net_link *l)
{
    for (unsigned i = 0; i < CV_NET_CHANNELS; i++) {
        if (l->hand[i].channel != 0)
            cv_gates_close(l->net->gates, &l->hand[i]);
        l->hand[i] = (struct cv_path_addr){0};
    }
}

static void ring_by_hand(struct cv_net_link *l, cv_time now)
{
    close_by_hand(l);
    l->hand_at = CV_NEVER;
    if (!waits_by_hand(l))
        return;
    ring_all(l, CV_BYTES(l->contact.ring, l->contact.ring_len));
    l->hand_at = now + CV_NET_HAND;
}

/* Has the other side said something on a channel of this kind, that was proved
 * to be its own?  Then it is one like any other. */
static void take_by_hand(struct cv_net *net, const struct cv_path_addr *via)
{
    for (struct cv_net_link *l = net->links; l; l = l->next)
        for (unsigned i = 0; i < CV_NET_CHANNELS; i++) {
            const struct cv_path *p;

            if (l->hand[i].channel != via->channel || via->channel == 0)
                continue;
            p = cv_pathset_find(&l->attempt->paths, via);
            if (!p || p->heard == 0)
                return;
            l->hand[i] = (struct cv_path_addr){0};
            if (!add_channel(l, via))
                cv_gates_close(net->gates, via);
            return;
        }
}

void cv_net_gate_begin(struct cv_net_link *l)
{
    struct cv_path_addr path;

    if (!l->net->gates)
        return;
    if (waits_by_hand(l))
        ring_by_hand(l, cv_loop_now(l->net->loop));
    else if (l->contact.knocked && l->contact.ring_len > 0)
        ring_all(l, CV_BYTES(l->contact.ring, l->contact.ring_len));
    else if (!l->contact.knocked &&
             cv_gates_claim(l->net->gates, l->contact.attempt, &path) ==
                 CV_OK &&
             add_channel(l, &path))
        cv_gates_deliver(l->net->gates, &path);
}

static unsigned n_channels(const struct cv_net_link *l)
{
    unsigned n = 0;

    for (unsigned i = 0; i < CV_NET_CHANNELS; i++)
        n += l->channel[i].channel != 0;
    return n;
}

/* As many as at the beginning, if the peer names so many gates. */
static bool wants_channel(const struct cv_net_link *l)
{
    unsigned gates = l->contact.peer.gates.n;

    return n_channels(l) < (gates < CV_NET_CHANNELS ? gates : CV_NET_CHANNELS);
}

/* The other may have left the gate for long: as long as the connection has a
 * way that works, the gate is asked less and less. */
static cv_time reopening_pause(struct cv_net_link *l)
{
    cv_time pause = n_channels(l) > 0 ? OPEN_SPARE : OPEN_AGAIN;

    if (l->silent || !cv_pathset_best(&l->attempt->paths)) {
        l->reopenings = 0;
        return pause;
    }
    pause = cv_time_min(pause << l->reopenings, OPEN_MOST);
    if (pause < OPEN_MOST)
        l->reopenings++;
    return pause;
}

static void plan_reopening(struct cv_net_link *l, cv_time now)
{
    if (l->contact.knocked && l->conn && wants_channel(l))
        l->reopen_at = now + reopening_pause(l);
}

void cv_net_gate_hurry(struct cv_net_link *l, cv_time at)
{
    l->reopenings = 0;
    if (l->reopen_at != CV_NEVER)
        l->reopen_at = cv_time_min(l->reopen_at, at);
}

void cv_net_gate_news(struct cv_net_link *l, const struct cv_contact *contact)
{
    if (contact->peer.gates.n == 0)
        return;
    l->contact.peer.gates = contact->peer.gates;
    if (contact->ring_len > 0) {
        l->contact.ring_len = contact->ring_len;
        memcpy(l->contact.ring, contact->ring, contact->ring_len);
        memcpy(l->contact.room_key, contact->room_key, CV_ROOM_KEY);
    }
    if (n_channels(l) == 0)
        cv_net_gate_begin(l);
}

void cv_net_gate_end(struct cv_net_link *l)
{
    for (unsigned i = 0; i < CV_NET_CHANNELS; i++)
        if (l->channel[i].channel != 0 && l->net->gates)
            cv_gates_close(l->net->gates, &l->channel[i]);
    if (l->reopening.channel != 0)
        cv_gates_close(l->net->gates, &l->reopening);
    if (l->net->gates)
        close_by_hand(l);
}

void cv_net_gate_step(struct cv_net_link *l, cv_time now)
{
    if (now >= l->hand_at)
        ring_by_hand(l, now);
    if (now < l->reopen_at)
        return;
    l->reopen_at = CV_NEVER;
    if (!wants_channel(l) || l->reopening.channel != 0)
        return;
    open_again(l);
    if (l->reopening.channel == 0)
        plan_reopening(l, now);
}

/* ---- events of the gates ------------------------------------------------ */

static void on_rung(void *user, const uint8_t room[CV_GATE_ROOM],
                    const uint8_t tag[CV_GATE_TAG], struct cv_bytes knock)
{
    struct cv_net *net = user;

    (void)tag;
    for (unsigned i = 0; i < net->n_rooms; i++) {
        uint8_t name[CV_GATE_ROOM];

        cv_gate_room(name, &net->node->pub, net->rooms[i]);
        if (memcmp(name, room, sizeof name) == 0 && net->events->rung) {
            net->events->rung(net->user, net->rooms[i], knock);
            return;
        }
    }
}

static void on_opened(void *user, const uint8_t tag[CV_GATE_TAG])
{
    struct cv_net *net = user;
    struct cv_net_link *l = cv_net_find_link(net, tag);

    struct cv_path_addr path;

    if (l && !l->contact.knocked)
        cv_net_gate_begin(l);
    if (!l || !l->contact.knocked || l->reopening.channel == 0)
        return;
    path = l->reopening;
    l->reopening = (struct cv_path_addr){0};
    l->reopenings = 0;
    if (!add_channel(l, &path))
        cv_gates_close(net->gates, &path);
    plan_reopening(l, cv_loop_now(net->loop)); /* if two were lost */
    cv_timer_set(net->timer, 0);
}

static void on_reached(void *user, const uint8_t tag[CV_GATE_TAG])
{
    struct cv_net *net = user;
    struct cv_net_link *l = cv_net_find_link(net, tag);

    if (!l)
        return;
    cv_attempt_handed(l->attempt, cv_loop_now(net->loop));
    cv_timer_set(net->timer, 0);
}

static void on_packet(void *user, const struct cv_path_addr *via,
                      const uint8_t *data, size_t len)
{
    cv_net_input(user, via, data, len, len);
    take_by_hand(user, via);
}

static void on_gone(void *user, const uint8_t tag[CV_GATE_TAG],
                    const struct cv_path_addr *path, const char *why)
{
    struct cv_net *net = user;
    struct cv_net_link *l = cv_net_find_link(net, tag);
    cv_time now = cv_loop_now(net->loop);

    if (!l)
        return;
    cv_debug(net->log, "net: channel gone: %s", why);
    for (unsigned i = 0; i < CV_NET_CHANNELS; i++)
        if (l->channel[i].channel == path->channel)
            l->channel[i] = (struct cv_path_addr){0};
    for (unsigned i = 0; i < CV_NET_CHANNELS; i++)
        if (l->hand[i].channel == path->channel)
            l->hand[i] = (struct cv_path_addr){0};
    if (l->reopening.channel == path->channel)
        l->reopening = (struct cv_path_addr){0};
    else
        cv_attempt_relay_down(l->attempt, path, why, now);
    plan_reopening(l, now);
    cv_timer_set(net->timer, now);
}

static void on_batch(void *user)
{
    cv_net_service(user);
}

static void on_writable(void *user)
{
    struct cv_net *net = user;

    for (struct cv_net_link *l = net->links; l; l = l->next) {
        const struct cv_path *best = cv_pathset_best(&l->attempt->paths);

        if (l->blocked && best && cv_path_is_relay(&best->addr))
            cv_net_unblock(l);
    }
    cv_timer_set(net->timer, 0);
}

static void on_changed(void *user)
{
    struct cv_net *net = user;
    cv_time soon = cv_loop_now(net->loop) + OPEN_AGAIN;
    struct cv_candidates own;

    /* The other comes back when we do. */
    for (struct cv_net_link *l = net->links; l; l = l->next)
        cv_net_gate_hurry(l, soon);
    cv_timer_set(net->timer, 0);
    cv_net_candidates(net, &own);
    net->events->candidates(net->user, &own);
}

static void on_found(void *user, const uint8_t loc[20], struct cv_bytes sealed)
{
    struct cv_net *net = user;

    if (net->events->found)
        net->events->found(net->user, loc, sealed);
}

static int on_udp(void *user, const struct cv_addr *to, const uint8_t *data,
                  size_t len, size_t segment)
{
    struct cv_net *net = user;

    return cv_udp_send(net->udp, to, NULL, 0, data, len, segment);
}

static const struct cv_gates_events gates_events = {
    .rung = on_rung,
    .opened = on_opened,
    .reached = on_reached,
    .packet = on_packet,
    .gone = on_gone,
    .batch = on_batch,
    .writable = on_writable,
    .changed = on_changed,
    .found = on_found,
    .udp = on_udp,
};

/* ---- life --------------------------------------------------------------- */

int cv_net_gates_open(struct cv_net *net, const struct cv_net_config *config)
{
    struct cv_gates_config gates = {.loop = net->loop,
                                    .log = net->log,
                                    .rng = net->rng,
                                    .node = net->node,
                                    .cert = config->cert};
    int err = cv_gates_new(&net->gates, &gates, &gates_events, net);

    for (unsigned i = 0; i < config->n_gates && err == CV_OK; i++) {
        err = cv_gates_add(net->gates, &config->gates[i].name,
                           config->gates[i].token);
        if (err == CV_ERR_EXISTS)
            err = CV_OK;
    }
    return err;
}

void cv_net_gate_refs(const struct cv_net *net, struct cv_gate_refs *out)
{
    struct cv_gates_info info[CV_GATES_MAX];
    unsigned n = cv_gates_list(net->gates, info, CV_GATES_MAX);

    out->n = 0;
    for (unsigned i = 0; i < n && out->n < CV_GATE_REFS_MAX; i++) {
        struct cv_gate_ref *ref = &out->g[out->n];

        if (!info[i].own || info[i].state != CV_GATELINK_UP)
            continue;
        *ref = (struct cv_gate_ref){.key = info[i].name.key,
                                    .transports = CV_GATE_BY_WS,
                                    .addr = info[i].remote,
                                    .udp = info[i].udp_port,
                                    .tcp = info[i].name.port};
        if (ref->addr.family == CV_FAMILY_NONE)
            ref->addr = cv_addr_ipv4(0, 0);
        else if (info[i].name.path[0] == '\0')
            ref->transports |= CV_GATE_BY_TLS;
        if (ref->udp != 0)
            ref->transports |= CV_GATE_BY_UDP;
        ref->addr.port = 0;
        out->n++;
    }
}

void cv_net_set_rooms(struct cv_net *net, const uint8_t (*keys)[CV_ROOM_KEY],
                      unsigned n)
{
    if (n > CV_NET_ROOMS)
        n = CV_NET_ROOMS;
    if (n == net->n_rooms && memcmp(keys, net->rooms, n * CV_ROOM_KEY) == 0)
        return;
    memcpy(net->rooms, keys, n * CV_ROOM_KEY);
    net->n_rooms = n;
    cv_gates_set_rooms(net->gates, keys, n);
}

void cv_net_store(struct cv_net *net, const uint8_t loc[20], unsigned ttl_s,
                  struct cv_bytes sealed)
{
    cv_gates_store(net->gates, loc, (uint16_t)ttl_s, sealed);
}

void cv_net_look(struct cv_net *net, const uint8_t loc[20])
{
    cv_gates_look(net->gates, loc);
}

bool cv_net_gates_settled(const struct cv_net *net)
{
    struct cv_gates_info info[CV_GATES_MAX];
    unsigned n = cv_gates_list(net->gates, info, CV_GATES_MAX);

    for (unsigned i = 0; i < n; i++)
        if (info[i].own && info[i].state != CV_GATELINK_UP &&
            info[i].trouble[0] == '\0')
            return false;
    return true;
}

bool cv_net_has_gate(const struct cv_net *net)
{
    struct cv_gate_refs refs;

    cv_net_gate_refs(net, &refs);
    return refs.n > 0;
}
