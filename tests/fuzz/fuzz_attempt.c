/* An attempt under a peer that may say anything, and a network that may bring
 * anything: budgets, credit and deadlines must hold.
 *
 * Input: u8 number of candidates and role, u8 the two NATs and what is
 * allowed, then operations of u8 kind | u8
 * argument and what the kind needs. */
#include "transport/attempt.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ADDRS 16 /* the first eight can be candidates */

static struct {
    uint64_t in, out;
    unsigned checks; /* STUN requests before anything was proved */
    bool proved;
} seen[ADDRS + 1];
static struct cv_attempt *at;
static unsigned opened;    /* sockets, ever */
static bool closed[65536]; /* by number */
static unsigned bursts;    /* begun */
static uint64_t total;     /* bytes before anybody was heard */
static bool authentic;     /* the peer has shown that it knows the keys */

static void check(bool ok)
{
    if (!ok)
        abort();
}

static struct cv_addr address(unsigned i)
{
    return cv_addr_ipv4(0x05010000 + i, (uint16_t)(2000 + i));
}

static int on_send(void *user, const struct cv_path_addr *to, unsigned ttl,
                   const uint8_t *data, size_t len, size_t segment)
{
    unsigned i = to->remote.port - 2000u;

    (void)user;
    (void)data;
    (void)segment;
    check(ttl <= 8);
    check(to->socket <= opened && !closed[to->socket]);
    if (bursts > 0)
        return CV_OK; /* with leave: as much as it takes */
    total += at->phase == CV_ATTEMPT_LOOKING && !authentic ? len : 0;
    check(total <= 18000);
    if (i >= ADDRS)
        return CV_OK; /* a guess */
    seen[i].out += len;
    if (!seen[i].proved && !authentic)
        seen[i].checks++;
    /* Nobody is sent more than was agreed on: 22 checks of 100 bytes to a
     * candidate, three bytes for one to anybody. */
    if (!seen[i].proved && !authentic)
        check(seen[i].checks <= CV_ATTEMPT_BUDGET && i < CV_CANDIDATES_MAX);
    if (!seen[i].proved && i >= CV_CANDIDATES_MAX)
        check(seen[i].out <= 3 * seen[i].in);
    return CV_OK;
}

static int on_open(void *user)
{
    (void)user;
    return opened == 65535 ? CV_ERR_LIMIT : (int)++opened;
}

static void on_close(void *user, uint16_t socket)
{
    (void)user;
    check(socket > 0 && socket <= opened && !closed[socket]);
    closed[socket] = true;
}

static bool leave;

static bool may_burst(void *user, bool *gentle)
{
    (void)user;
    *gentle = true;
    bursts += leave;
    return leave;
}

static const struct cv_attempt_events events = {
    .open = on_open, .close = on_close, .may_burst = may_burst};

/* What the fuzzer has not read yet. */
struct input {
    const uint8_t *data;
    size_t size;
};

static uint8_t take(struct input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

static void begin(struct input *in, struct cv_checks *peer,
                  struct cv_local *local, const struct cv_rng *rng, cv_time now)
{
    struct cv_contact contact = {.attempt = {1, 2, 3, 4, 5, 6, 7, 8},
                                 .shared = {9}};
    uint8_t head = take(in), nats = take(in);

    memset(seen, 0, sizeof seen);
    authentic = false;
    opened = bursts = 0;
    total = 0;
    memset(closed, 0, sizeof closed);
    local->nat = nats & CV_NAT_MAPPING_MASK;
    contact.peer.nat = nats >> 2 & CV_NAT_MAPPING_MASK;
    contact.trusted = nats & 0x10;
    leave = nats & 0x20;
    local->net[0].addr = cv_addr_ipv4(0x0a000001, 0);
    local->net[0].bits = 24;
    contact.knocked = head & 0x80;
    contact.peer.n = head & 7;
    for (unsigned i = 0; i < contact.peer.n; i++)
        contact.peer.c[i] = (struct cv_candidate){.type = (uint8_t)(1 + i % 3),
                                                  .addr = address(i)};
    cv_checks_init(peer, rng, contact.attempt, contact.shared,
                   !contact.knocked);
    cv_attempt_init(at, &contact, local, rng, NULL, on_send, &events, NULL,
                    now);
}

/* Anything that calls itself STUN. */
static void bring_junk(struct input *in, const struct cv_path_addr *from,
                       size_t len, cv_time now)
{
    size_t n = len < in->size ? len : in->size;
    struct cv_stun m;

    if (cv_stun_parse(&m, in->data, n) == CV_OK)
        (void)cv_attempt_input(at, from, &m, now);
    in->data += n;
    in->size -= n;
}

static void bring_request(struct cv_checks *peer,
                          const struct cv_path_addr *from, uint8_t arg,
                          cv_time now)
{
    uint8_t buf[CV_CHECK_MAX];
    struct cv_writer w;
    struct cv_stun m;

    cv_writer_init(&w, buf, sizeof buf);
    check(cv_checks_request(peer, now, from, arg, &w) == CV_OK);
    check(cv_stun_parse(&m, buf, w.len) == CV_OK);
    seen[arg % ADDRS].in += w.len;
    authentic = true;
    (void)cv_attempt_input(at, from, &m, now);
}

/* A good answer to one of its open checks. */
static void bring_answer(const struct cv_check_sent *s, cv_time now)
{
    struct cv_path_addr from = s->to;
    unsigned who = from.remote.port - 2000u;
    uint8_t buf[CV_CHECK_MAX];
    struct cv_writer w;
    struct cv_stun m;

    if (!s->open || closed[from.socket])
        return;
    if (who >= ADDRS)
        who = ADDRS; /* a guess that hit */
    cv_writer_init(&w, buf, sizeof buf);
    cv_stun_begin(&w, CV_STUN_SUCCESS, s->txid);
    cv_stun_put_xor_addr(&w, &from.remote);
    cv_stun_put_integrity(
        &w, s->old_key ? at->checks.old.ours : at->checks.now.ours,
        CV_CHECK_KEY, CV_STUN_MAC_SHORT);
    check(cv_stun_parse(&m, buf, w.len) == CV_OK);
    seen[who].proved = authentic = true;
    (void)cv_attempt_input(at, &from, &m, now);
}

/* The connection sends a train. */
static void send_train(uint8_t arg, cv_time now)
{
    static const uint8_t train[3600];

    (void)cv_pathset_send(&at->paths, now, train, sizeof train / (1 + arg % 3),
                          1200);
    cv_pathset_in_flight(&at->paths, arg & 0x80, now);
}

static void tell_news(uint8_t arg, cv_time now)
{
    struct cv_candidates c = {.n = 1, .nat = arg >> 4 & 3};
    uint8_t exported[64] = {arg};

    c.c[0] = (struct cv_candidate){.type = CV_CANDIDATE_SRFLX,
                                   .addr = address(arg % 8)};
    if (arg & 1)
        cv_attempt_rekey(at, exported, now);
    else
        cv_attempt_candidates(at, &c, now);
}

/* One operation; returns the time after it. */
static cv_time operate(struct input *in, struct cv_checks *peer, cv_time now)
{
    uint8_t kind = take(in), arg = take(in);
    struct cv_path_addr from = {.remote = address(arg % ADDRS)};

    switch (kind % 8) {
    case 0:
        bring_junk(in, &from, arg, now);
        break;
    case 1:
        bring_request(peer, &from, arg, now);
        break;
    case 2:
        bring_answer(&at->checks.sent[take(in) % CV_CHECK_OPEN], now);
        break;
    case 3: /* a packet of the connection */
        seen[arg % ADDRS].in += 1200;
        if (at->phase == CV_ATTEMPT_REACHED)
            cv_pathset_packet(&at->paths, &from, 1200, now);
        break;
    case 4:
        send_train(arg, now);
        break;
    case 5:
        if (arg & 1)
            cv_attempt_handed(at, now);
        else
            cv_attempt_network_changed(at, now);
        break;
    case 6:
        tell_news(arg, now);
        break;
    case 7:
        now += (cv_time)arg * arg * CV_MILLISECOND;
        break;
    }
    return now;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct cv_rng_seeded seed;
    struct cv_rng rng = cv_rng_from_seed(&seed, 1);
    struct cv_local local = {.n = 1, .port = 9999, .ipv4 = true};
    struct cv_checks *peer = calloc(1, sizeof *peer);
    cv_time now = CV_SECOND;

    at = calloc(1, sizeof *at);
    if (!at || !peer)
        abort();
    begin(&in, peer, &local, &rng, now);
    while (in.size > 0 && at->phase != CV_ATTEMPT_LOST) {
        now = operate(&in, peer, now);
        if (cv_attempt_deadline(at) <= now)
            cv_attempt_step(at, now);
        check(at->phase == CV_ATTEMPT_LOST || cv_attempt_deadline(at) > now);
    }
    cv_attempt_fini(at);
    for (unsigned i = 1; i <= opened; i++)
        check(closed[i]);
    free(at);
    free(peer);
    return 0;
}
