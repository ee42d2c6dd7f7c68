/* A gate's core under several clients, one of them not yet let in: the input is
 * a list of steps {what, who, length, bytes}.  Proofs that would stop a fuzzer
 * (signatures, MACs, cookies, ids) are put right for it. */
#include "gate/core_struct.h"
#include <stdlib.h>
#include <string.h>

#define CLIENTS 4
#define ENDS    32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct cv_gate_core *core;
    struct cv_gate_core_config config;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    struct cv_keypair key;
    cv_time now;
    struct link {
        struct cv_gate_client *client;
        bool full;
        size_t taken;
        uint64_t counter;
        struct cv_gate_ask ticket; /* its id and last cookie */
        uint8_t ticket_key[CV_GATE_TICKET_KEY];
    } link[CLIENTS];
    struct cv_gate_bind end[ENDS]; /* ids and last cookies */
    uint8_t end_key[ENDS][CV_GATE_CHANNEL];
    unsigned n_ends;
    size_t answers; /* bytes over UDP since the last step */
};

static void check(bool ok)
{
    if (!ok)
        abort();
}

static struct cv_addr addr_of(unsigned who)
{
    return cv_addr_ipv4(0x0a000001u + who % CLIENTS / 2,
                        (uint16_t)(1000 + who));
}

/* ---- out of the core ---------------------------------------------------- */

static void learn(struct world *w, const struct cv_gate_frame *f)
{
    struct cv_gate_bind *end = &w->end[w->n_ends % ENDS];

    if (f->type != CV_GATE_OPENED)
        return;
    memset(end, 0, sizeof *end);
    end->channel = f->u.opened.channel;
    memcpy(w->end_key[w->n_ends % ENDS], f->u.opened.key, CV_GATE_CHANNEL);
    w->n_ends++;
}

static int on_send(void *user, void *link, const uint8_t *data, size_t len)
{
    struct link *l = link;
    struct cv_gate_frame f;
    size_t used;

    if (l->full)
        return CV_ERR_AGAIN;
    l->taken += len;
    check(cv_gate_get(&f, data, len, &used) == CV_OK && used == len);
    learn(user, &f);
    return CV_OK;
}

static void on_close(void *user, void *link)
{
    struct link *l = link;

    (void)user;
    l->client = NULL;
}

/* Cookies are learned as their owners would. */
static void on_udp(void *user, const struct cv_addr *to, const uint8_t *data,
                   size_t len)
{
    struct world *w = user;
    struct cv_gate_bind bound;
    struct cv_gate_ask answer;

    check(len > 0 && to->family != CV_FAMILY_NONE);
    w->answers += len;
    for (unsigned i = 0; i < ENDS; i++)
        if (cv_gate_bound_read(&bound, data, len, w->end_key[i]) == CV_OK &&
            bound.channel == w->end[i].channel)
            memcpy(w->end[i].cookie, bound.cookie, CV_GATE_COOKIE);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (cv_gate_ask_read(&answer, true, data, len, w->link[i].ticket_key) ==
            CV_OK)
            memcpy(w->link[i].ticket.cookie, answer.cookie, CV_GATE_COOKIE);
}

static const struct cv_gate_out out_calls = {on_send, on_close, on_udp};

/* ---- steps -------------------------------------------------------------- */

static void join(struct world *w, unsigned who, bool proved)
{
    static const uint8_t exporter[32];
    struct link *l = &w->link[who];
    struct cv_addr from = addr_of(who);

    if (l->client)
        return;
    l->full = false;
    l->client = cv_gate_link_open(w->core, l, &from, exporter, w->now);
    if (!l->client || !proved)
        return;
    /* As authenticate() leaves it. */
    memset(&l->client->key, (int)who + 1, sizeof l->client->key);
    l->client->authenticated = l->client->may_register = true;
    l->client->ticket_until = w->now + CV_GATE_TICKET_TIME;
    free(l->client->handshake);
    l->client->handshake = NULL;
    memcpy(l->ticket.ticket, l->client->ticket, CV_GATE_TICKET_ID);
    memcpy(l->ticket_key, l->client->ticket_key, CV_GATE_TICKET_KEY);
    l->counter = 0;
}

static void link_bytes(struct world *w, struct link *l, const uint8_t *data,
                       size_t len)
{
    ptrdiff_t used;

    if (!l->client)
        return;
    used = cv_gate_link_input(l->client, data, len, w->now);
    check(used < 0 ? l->client == NULL : (size_t)used <= len);
}

/* One frame of that type, its length put right; rooms and channels that exist
 * take the place of the first bytes. */
static void link_frame(struct world *w, struct link *l, const uint8_t *data,
                       size_t len)
{
    uint8_t frame[CV_GATE_FRAME_MAX + 2];
    struct cv_key owner;

    if (len == 0 || len > CV_GATE_FRAME_MAX)
        return;
    frame[0] = (uint8_t)(len >> 8);
    frame[1] = (uint8_t)len;
    memcpy(frame + 2, data, len);
    if (len > 21 && (data[0] == CV_GATE_RING || data[0] == CV_GATE_OPEN ||
                     data[0] == CV_GATE_UNREGISTER)) {
        uint8_t r[CV_GATE_ROOM_KEY];

        memset(&owner, data[1] % CLIENTS + 1, sizeof owner);
        memset(r, data[2], sizeof r);
        cv_gate_room(frame + 3, &owner, r);
    }
    if (data[0] == CV_GATE_REGISTER && len == 1 + CV_GATE_ROOM_KEY)
        memset(frame + 3, data[2], CV_GATE_ROOM_KEY);
    if (len >= 5 && (data[0] == CV_GATE_DATA || data[0] == CV_GATE_CLOSE ||
                     data[0] == CV_GATE_VOUCH || data[0] == CV_GATE_UNBIND)) {
        uint32_t id = w->end[data[1] % ENDS].channel;

        for (unsigned i = 0; i < 4; i++)
            frame[3 + i] = (uint8_t)(id >> (24 - 8 * i));
    }
    link_bytes(w, l, frame, len + 2);
}

static void udp_bytes(struct world *w, unsigned who, const uint8_t *data,
                      size_t len)
{
    struct cv_addr from = addr_of(who);
    const struct cv_addr *to;
    uint8_t copy[2048];
    size_t segment = len, run;

    if (len == 0 || len > sizeof copy)
        return;
    memcpy(copy, data, len);
    w->answers = 0;
    /* Of what does not say how long it is, some come together. */
    if (data[0] == CV_GATE_UDP_DATA && len > 8 && data[len - 1] % 4 == 0)
        segment = 1 + data[len - 2] % (len - 1);
    for (size_t at = 0; at < len; at += run) {
        size_t left = len - at, one = segment < left ? segment : left;

        run = cv_gate_udp_input(w->core, &from, copy + at, left, segment,
                                w->now, &to);
        check(run >= one && run <= left && (run == left || run % one == 0));
        if (to)
            check(to->family != CV_FAMILY_NONE && data[at] == CV_GATE_UDP_DATA);
    }
    /* An answer is no longer than the question. */
    if (data[0] == CV_GATE_UDP_BIND)
        check(w->answers <= len);
}

static void udp_bind(struct world *w, unsigned who, uint8_t which)
{
    struct cv_gate_bind *end = &w->end[which % ENDS];
    uint8_t out[CV_GATE_UDP_BIND_LEN];

    end->counter++;
    cv_gate_bind_write(out, end, w->end_key[which % ENDS]);
    udp_bytes(w, who, out, sizeof out);
}

static void udp_data(struct world *w, unsigned who, const uint8_t *data,
                     size_t len)
{
    uint8_t out[2048];
    uint32_t id = w->end[data[0] % ENDS].channel;

    if (len > 1500)
        return;
    memcpy(out + 4, data, len);
    out[0] = CV_GATE_UDP_DATA;
    for (unsigned i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(id >> (24 - 8 * i));
    udp_bytes(w, who, out, len + 4);
}

/* A request with a ticket: the frame is the input's, the MAC is right. */
static void udp_ask(struct world *w, unsigned who, const uint8_t *data,
                    size_t len)
{
    struct link *l = &w->link[who % CLIENTS];
    uint8_t out[2048], mac[32];
    struct cv_writer wr;
    struct cv_bytes part;

    if (len > 1800)
        return;
    cv_writer_init(&wr, out, sizeof out);
    cv_put_u8(&wr, CV_GATE_UDP_ASK);
    cv_put_raw(&wr, l->ticket.ticket, CV_GATE_TICKET_ID);
    cv_put_u64(&wr, ++l->counter);
    cv_put_raw(&wr, l->ticket.cookie, CV_GATE_COOKIE);
    cv_put_raw(&wr, data, len);
    part = CV_BYTES(out, wr.len);
    cv_hmac_sha256(mac, l->ticket_key, sizeof l->ticket_key, &part, 1);
    cv_put_raw(&wr, mac, CV_GATE_MAC);
    udp_bytes(w, who, out, wr.len);
}

static void pass(struct world *w, cv_time time)
{
    w->now += time;
    cv_gate_core_step(w->core, w->now, (cv_unix_ms)(w->now / CV_MILLISECOND));
}

static void step(struct world *w, uint8_t what, uint8_t who,
                 const uint8_t *data, size_t len)
{
    struct link *l = &w->link[who % CLIENTS];

    switch (what % 11) {
    case 0:
        link_bytes(w, l, data, len);
        return;
    case 1:
    case 2:
    case 3:
        link_frame(w, l, data, len);
        return;
    case 4:
        udp_bytes(w, who, data, len);
        return;
    case 5:
        if (len > 0)
            udp_bind(w, who, data[0]);
        return;
    case 6:
        if (len > 0)
            udp_data(w, who, data, len);
        return;
    case 7:
        udp_ask(w, who, data, len);
        return;
    case 8:
        pass(w, len > 0 ? data[0] * CV_SECOND : CV_MILLISECOND);
        return;
    case 9:
        l->full = len & 1;
        return;
    case 10:
        if (l->client)
            cv_gate_link_closed(l->client, w->now);
        l->client = NULL;
        join(w, who % CLIENTS, len & 1);
        return;
    default:
        return;
    }
}

/* Every bound holds, whatever came. */
static void check_bounds(struct world *w)
{
    const struct cv_gate_limits *lim = &w->config.limits;
    struct cv_gate_gauges g = cv_gate_core_gauges(w->core);

    check(g.links <= CLIENTS && g.clients <= lim->clients);
    check(g.rooms <= lim->rooms_per_client * g.clients + lim->mails);
    check(g.mails <= lim->mails && g.pointers <= lim->pointers);
    check(g.mail_bytes <= g.mails * CV_GATE_KNOCK_MAX);
    check(g.pointer_bytes <= g.pointers * CV_GATE_STORED_MAX);
    check(g.sources <= 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;

    memset(&w, 0, sizeof w);
    w.rng = cv_rng_from_seed(&w.seed, 1);
    w.now = 1000 * CV_SECOND;
    w.config = (struct cv_gate_core_config){.key = &w.key,
                                            .rng = &w.rng,
                                            .udp_port = 443,
                                            .limits = cv_gate_limits_default()};
    w.config.limits.clients = 16;
    w.config.limits.rooms_per_client = 4;
    w.config.limits.mails = w.config.limits.pointers = 8;
    if (cv_gate_core_new(&w.core, &w.config, &out_calls, &w, w.now) != CV_OK)
        return 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        join(&w, i, i > 0);
    while (size >= 4) {
        size_t len = (size_t)data[2] << 8 | data[3];
        uint8_t what = data[0], who = data[1];

        data += 4;
        size -= 4;
        if (len > size)
            len = size;
        step(&w, what, who, data, len);
        data += len;
        size -= len;
    }
    check_bounds(&w);
    cv_gate_core_free(w.core);
    for (unsigned i = 0; i < CLIENTS; i++)
        check(w.link[i].client == NULL);
    return 0;
}
