#include "tests/unit/quic_world.h"
#include "tests/test.h"
#include <malloc.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
/* As in <sanitizer/allocator_interface.h>, which gcc 12 lacks here. */
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

struct world_packet {
    cv_time at;
    uint64_t serial;
    unsigned to;
    size_t len;
    uint8_t data[];
};

size_t world_heap(void)
{
#ifdef WITH_ASAN
    return __sanitizer_get_current_allocated_bytes();
#else
    return mallinfo2().uordblks;
#endif
}

uint64_t world_random(struct world *w)
{
    uint64_t z = w->rng += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool chance(struct world *w, unsigned of_1000)
{
    return of_1000 > 0 && world_random(w) % 1000 < of_1000;
}

/* ---- packets under way ------------------------------------------------- */

static bool earlier(const struct world_packet *a, const struct world_packet *b)
{
    return a->at != b->at ? a->at < b->at : a->serial < b->serial;
}

static void swap(struct world *w, unsigned a, unsigned b)
{
    struct world_packet *p = w->heap[a];

    w->heap[a] = w->heap[b];
    w->heap[b] = p;
}

static void push(struct world *w, struct world_packet *p)
{
    unsigned i = w->n++;

    REQUIRE(w->n <= sizeof(w->heap) / sizeof(w->heap[0]));
    for (w->heap[i] = p; i > 0 && earlier(p, w->heap[(i - 1) / 2]);
         i = (i - 1) / 2)
        swap(w, i, (i - 1) / 2);
}

static struct world_packet *pop(struct world *w)
{
    struct world_packet *p = w->heap[0];
    unsigned i = 0, least;

    w->heap[0] = w->heap[--w->n];
    for (;;) {
        least = i;
        for (unsigned k = 2 * i + 1; k <= 2 * i + 2 && k < w->n; k++)
            if (earlier(w->heap[k], w->heap[least]))
                least = k;
        if (least == i)
            return p;
        swap(w, i, least);
        i = least;
    }
}

static void carry(struct world *w, unsigned to, const uint8_t *data, size_t len)
{
    const struct world_link *l = &w->link;
    struct world_packet *p;
    cv_time at = w->now;

    if (l->rate > 0) {
        cv_time wait, *busy = &w->busy_until[to];

        if (*busy < w->now)
            *busy = w->now;
        wait = *busy - w->now;
        if (l->queue > 0 &&
            (double)wait / CV_SECOND * (double)l->rate > (double)l->queue)
            return;
        *busy += (cv_time)(len * (uint64_t)CV_SECOND / l->rate);
        at = *busy;
    }
    if (chance(w, l->loss))
        return;
    p = malloc(sizeof(*p) + len);
    REQUIRE(p != NULL);
    p->at = at + l->delay;
    if (l->jitter > 0)
        p->at += (cv_time)(world_random(w) % (uint64_t)l->jitter);
    p->serial = w->serial++;
    p->to = to;
    p->len = len;
    memcpy(p->data, data, len);
    if (chance(w, l->corrupt))
        p->data[world_random(w) % len] ^= (uint8_t)(1 + world_random(w) % 255);
    push(w, p);
}

/* ---- the owner --------------------------------------------------------- */

static void on_output(void *user, struct cv_conn *conn, const uint8_t *data,
                      size_t len, size_t segment)
{
    struct world_end *end = user;
    unsigned segments = 0;

    (void)conn;
    REQUIRE(segment > 0 && segment <= CV_QUIC_PAYLOAD);
    end->calls++;
    while (len > 0) {
        size_t n = len < segment ? len : segment;

        /* RFC 9443: else it would be taken for STUN. */
        REQUIRE(data[0] & 0x40);
        segments++;
        end->packets++;
        end->bytes += (unsigned)n;
        if (!end->mute) {
            carry(end->world, !end->index, data, n);
            if (chance(end->world, end->world->link.dup))
                carry(end->world, !end->index, data, n);
        }
        data += n;
        len -= n;
    }
    REQUIRE(segments <= CV_QUIC_TRAIN);
    if (segments > end->max_segments)
        end->max_segments = segments;
}

static void on_wake(void *user, struct cv_conn *conn)
{
    struct world_end *end = user;

    (void)conn;
    end->awake = true;
}

static void on_confirmed(void *user, struct cv_conn *conn)
{
    struct world_end *end = user;

    REQUIRE(end->confirmed_at == CV_NEVER);
    end->confirmed_at = end->world->now;
    cv_conn_set_events(conn, end->events, end->user);
    if (end->on_confirmed)
        end->on_confirmed(end);
}

static void on_closed(void *user, struct cv_conn *conn, int err, uint64_t code,
                      const char *reason, bool local)
{
    struct world_end *end = user;

    (void)conn;
    REQUIRE(!end->closed);
    end->closed = true;
    end->err = err;
    end->code = code;
    end->local = local;
    snprintf(end->reason, sizeof(end->reason), "%s", reason);
    if (end->on_closed)
        end->on_closed(end);
}

static void on_dead(void *user, struct cv_conn *conn)
{
    struct world_end *end = user;

    REQUIRE(end->closed && !end->dead);
    end->dead = true;
    end->conn = NULL;
    cv_quic_free(conn);
}

static void on_cid_add(void *user, struct cv_conn *conn,
                       const struct cv_quic_cid *cid)
{
    struct world_end *end = user;

    (void)conn;
    REQUIRE(cid->len > 0 && cid->len <= CV_QUIC_CID_MAX);
    end->cids++;
}

static void on_cid_remove(void *user, struct cv_conn *conn,
                          const struct cv_quic_cid *cid)
{
    struct world_end *end = user;

    (void)conn;
    (void)cid;
    end->cids--;
    REQUIRE(end->cids >= 0);
}

static const struct cv_quic_owner owner = {
    .output = on_output,
    .wake = on_wake,
    .confirmed = on_confirmed,
    .closed = on_closed,
    .dead = on_dead,
    .cid_add = on_cid_add,
    .cid_remove = on_cid_remove,
};

static struct cv_quic_config config_of(struct world_end *end)
{
    struct cv_quic_config config = {
        .peer = end->world->end[!end->index].key.pub,
        .attempt = {1, 2, 3, 4, 5, 6, 7, 8},
        .initial_rtt = end->initial_rtt,
        .held = end->held,
        .log = end->log,
        .owner = &owner,
        .user = end,
    };

    return config;
}

/* ---- running ----------------------------------------------------------- */

struct world *world_new(uint64_t seed, const struct world_link *link)
{
    struct world *w = calloc(1, sizeof(*w));

    REQUIRE(w != NULL);
    w->rng = seed;
    w->now = 5 * CV_SECOND;
    w->rng_of_ends = cv_rng_from_seed(&w->rng_state, seed + 1);
    w->link = *link;
    for (unsigned i = 0; i < 2; i++) {
        struct world_end *end = &w->end[i];

        end->world = w;
        end->index = i;
        end->confirmed_at = CV_NEVER;
        end->addr = cv_addr_ipv4(0xc0000201 + i, 4000);
        end->initial_rtt = 2 * link->delay;
        REQUIRE(cv_keypair_generate(&end->key, &w->rng_of_ends) == CV_OK);
        REQUIRE(cv_quic_ctx_new(&end->ctx, &end->key, &w->rng_of_ends) ==
                CV_OK);
    }
    return w;
}

void world_free(struct world *w)
{
    while (w->n > 0)
        free(pop(w));
    for (unsigned i = 0; i < 2; i++) {
        cv_quic_free(w->end[i].conn);
        REQUIRE(w->end[i].cids == 0);
        cv_quic_ctx_free(w->end[i].ctx);
    }
    free(w);
}

bool world_try_connect(struct world *w)
{
    struct cv_quic_config config = config_of(&w->end[0]);

    if (cv_quic_connect(&w->end[0].conn, w->end[0].ctx, &config, w->now) !=
        CV_OK)
        return false;
    w->end[0].awake = true;
    return true;
}

void world_connect(struct world *w)
{
    REQUIRE(world_try_connect(w));
}

static void accept_packet(struct world_end *end, const uint8_t *data,
                          size_t len)
{
    struct world *w = end->world;
    struct world_end *peer = &w->end[!end->index];
    struct cv_quic_config config = config_of(end);
    uint8_t answer[256];
    size_t n;

    if (end->index == 0 || !cv_quic_packet_is_initial(data, len))
        return;
    end->accept_err = cv_quic_accept(&end->conn, end->ctx, &config, data, len,
                                     &peer->addr, end->require_token, w->now);
    if (end->accept_err == CV_OK) {
        end->awake = true;
    } else if (end->accept_err == CV_ERR_AGAIN) {
        n = cv_quic_write_retry(end->ctx, answer, sizeof(answer), data, len,
                                &peer->addr, w->now);
        REQUIRE(n > 0 && n <= len);
        end->retries++;
        carry(w, !end->index, answer, n);
    }
}

static void deliver_train(struct world *w, unsigned to, const uint8_t *data,
                          size_t len, size_t segment)
{
    struct world_end *end = &w->end[to];

    if (end->deaf)
        return;
    if (!end->conn) {
        REQUIRE(segment == len);
        accept_packet(end, data, len);
        return;
    }
    if (!cv_quic_input(end->conn, data, len, segment, w->now))
        end->conn = NULL;
    end->awake = true;
}

void world_deliver(struct world *w, unsigned to, const uint8_t *data,
                   size_t len)
{
    deliver_train(w, to, data, len, len);
}

/* `first`, and what comes with it as UDP_GRO would put it together. */
static void deliver_together(struct world *w, const struct world_packet *first)
{
    static uint8_t train[65536];
    size_t len = first->len, last = len, segment = len, run;

    memcpy(train, first->data, len);
    while (w->link.trains && last == segment && w->n > 0 &&
           w->heap[0]->at <= w->now && w->heap[0]->to == first->to &&
           w->heap[0]->len <= segment && len + segment <= sizeof train) {
        struct world_packet *p = pop(w);

        last = p->len;
        memcpy(train + len, p->data, last);
        len += last;
        free(p);
    }
    for (size_t at = 0; at < len; at += run) {
        size_t one = len - at < segment ? len - at : segment;

        run = w->end[first->to].conn
                  ? cv_quic_packet_run(train + at, len - at, one)
                  : one;
        deliver_train(w, first->to, train + at, run, one);
        if (run > w->end[first->to].longest_run)
            w->end[first->to].longest_run = run;
    }
}

static cv_time next_event(const struct world *w)
{
    cv_time at = w->n > 0 ? w->heap[0]->at : CV_NEVER;

    for (unsigned i = 0; i < 2; i++) {
        const struct world_end *end = &w->end[i];

        if (!end->conn)
            continue;
        at = cv_time_min(at, end->awake ? w->now : cv_quic_deadline(end->conn));
    }
    return at > w->now ? at : w->now;
}

static void serve(struct world_end *end)
{
    cv_time now = end->world->now;

    if (end->conn && cv_quic_deadline(end->conn) <= now && !end->awake) {
        if (!cv_quic_on_deadline(end->conn, now))
            end->conn = NULL;
    }
    while (end->conn && end->awake) {
        end->awake = false;
        if (!cv_quic_flush(end->conn, now))
            end->conn = NULL;
    }
}

bool world_run(struct world *w, cv_time until, bool (*done)(void *user),
               void *user)
{
    unsigned idle = 0;
    cv_time at;

    while (!done || !done(user)) {
        at = next_event(w);
        if (at > until) {
            w->now = until;
            return false;
        }
        /* Nothing may go in circles without time passing. */
        idle = at == w->now ? idle + 1 : 0;
        REQUIRE(idle < 100000);
        w->now = at;
        while (w->n > 0 && w->heap[0]->at <= w->now) {
            struct world_packet *p = pop(w);
            struct world_end *end = &w->end[p->to];
            size_t len = p->len;

            if (end->on_packet)
                end->on_packet(end, p->data, &len);
            if (len == p->len)
                deliver_together(w, p);
            else if (len > 0)
                world_deliver(w, p->to, p->data, len);
            free(p);
        }
        serve(&w->end[0]);
        serve(&w->end[1]);
    }
    return true;
}

static bool both_confirmed(void *user)
{
    struct world *w = user;

    return w->end[0].confirmed_at != CV_NEVER &&
           w->end[1].confirmed_at != CV_NEVER;
}

void world_join(struct world *w)
{
    world_connect(w);
    REQUIRE(world_run(w, w->now + 20 * CV_SECOND, both_confirmed, w));
}
