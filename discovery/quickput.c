/* Timers: of every node that was asked, again after 250 ms and given up after
 * 700; of every value, its end; of every place that is listened at, the next
 * round. */
#include "discovery/quickput.h"

#include <string.h>

#include "discovery/dhtwire.h"

void cv_quickput_init(struct cv_quickput *q, const struct cv_rng *rng,
                      void (*send)(void *user, const struct cv_addr *to,
                                   const uint8_t *data, size_t len),
                      void (*value)(void *user, uint64_t get,
                                    struct cv_bytes value),
                      void *user)
{
    memset(q, 0, sizeof(*q));
    q->rng = rng;
    q->send = send;
    q->value = value;
    q->user = user;
    cv_random(rng, q->id.b, CV_LOC_LEN);
    cv_random(rng, &q->last_tid, sizeof(q->last_tid));
}

/* Is a nearer to `loc` than b? */
static bool nearer(const struct cv_loc *loc, const struct cv_loc *a,
                   const struct cv_loc *b)
{
    for (unsigned i = 0; i < CV_LOC_LEN; i++) {
        const uint8_t x = a->b[i] ^ loc->b[i], y = b->b[i] ^ loc->b[i];

        if (x != y)
            return x < y;
    }
    return false;
}

/* --- the nodes that are known -------------------------------------------- */

static void remember(struct cv_quickput *q, const struct cv_quickput_ask *a,
                     bool replied, cv_time now)
{
    const struct cv_addr *addr = &a->addr;
    struct cv_quickput_node *place = NULL;

    for (unsigned i = 0; i < CV_QUICKPUT_NODES; i++) {
        struct cv_quickput_node *n = &q->node[i];

        if (cv_addr_equal(&n->addr, addr)) {
            place = n;
            break;
        }
        /* A free one, else a silent one, else who replied longest ago. */
        if (place == NULL ||
            (place->addr.family != CV_FAMILY_NONE &&
             (n->addr.family == CV_FAMILY_NONE ||
              (n->silent && !place->silent) ||
              (n->silent == place->silent && n->replied < place->replied))))
            place = n;
    }
    if (!cv_addr_equal(&place->addr, addr) && !replied)
        return; /* only who answers is worth a place */
    place->id = a->id;
    place->addr = *addr;
    place->silent = !replied;
    if (!replied)
        return;
    place->replied = now;
    place->token_len = a->token_len;
    memcpy(place->token, a->token, a->token_len);
}

/* --- one value ----------------------------------------------------------- */

static bool usable(const struct cv_addr *a)
{
    return a->family == CV_FAMILY_IPV4 && a->port >= 1024 &&
           cv_addr_kind(a) != CV_ADDR_UNUSABLE;
}

static struct cv_quickput_ask *consider(struct cv_quickput_job *j,
                                        const struct cv_loc *id,
                                        const struct cv_addr *addr)
{
    struct cv_quickput_ask *a = NULL;

    if (!usable(addr))
        return NULL;
    for (unsigned i = 0; i < j->n; i++)
        if (cv_addr_equal(&j->ask[i].addr, addr))
            return NULL;
    if (j->n < CV_QUICKPUT_ASKED) {
        a = &j->ask[j->n++];
    } else {
        /* In place of the farthest that was not asked. */
        for (unsigned i = 0; i < j->n; i++)
            if (j->ask[i].state == CV_QUICKPUT_NEW && j->ask[i].has_id &&
                (a == NULL || nearer(&j->loc, &a->id, &j->ask[i].id)))
                a = &j->ask[i];
        if (a == NULL || id == NULL || !nearer(&j->loc, id, &a->id))
            return NULL;
    }
    memset(a, 0, sizeof(*a));
    a->addr = *addr;
    a->has_id = id != NULL;
    if (id != NULL)
        a->id = *id;
    return a;
}

/* How many that have not failed are nearer than this one? */
static unsigned rank(const struct cv_quickput_job *j,
                     const struct cv_quickput_ask *a)
{
    unsigned n = 0;

    for (unsigned i = 0; i < j->n; i++) {
        const struct cv_quickput_ask *o = &j->ask[i];

        n += o != a && o->has_id && o->state != CV_QUICKPUT_FAILED &&
             nearer(&j->loc, &o->id, &a->id);
    }
    return n;
}

static void ask(struct cv_quickput *q, struct cv_quickput_job *j,
                struct cv_quickput_ask *a, cv_time now)
{
    uint8_t buf[CV_QUICKPUT_PACKET];
    struct cv_writer w;

    if (a->state == CV_QUICKPUT_NEW) {
        a->tid = ++q->last_tid | 0x80000000u;
        a->at = now;
        a->state = CV_QUICKPUT_ASKED_ONCE;
    } else {
        a->state = CV_QUICKPUT_ASKED_TWICE;
    }
    cv_writer_init(&w, buf, sizeof(buf));
    if ((j->get != 0 ? cv_dhtwire_get(&w, a->tid, &q->id, &j->loc)
                     : cv_dhtwire_find(&w, a->tid, &q->id, &j->loc)) == CV_OK)
        q->send(q->user, &a->addr, buf, w.len);
}

static struct cv_quickput_listen *listen_of(struct cv_quickput *q, uint32_t sid)
{
    for (unsigned i = 0; i < CV_QUICKPUT_LISTENS; i++)
        if (q->listen[i].get != 0 && q->listen[i].sid == sid)
            return &q->listen[i];
    return NULL;
}

static bool listens_at(const struct cv_quickput_listen *l,
                       const struct cv_addr *addr)
{
    for (unsigned i = 0; i < l->n && i < 2 * CV_QUICKPUT_NEAR; i++)
        if (cv_addr_equal(&l->node[i], addr))
            return true;
    return false;
}

/* The value, or the wish to be told of some. */
static void give(struct cv_quickput *q, struct cv_quickput_job *j,
                 struct cv_quickput_ask *a)
{
    const struct cv_bytes token = CV_BYTES(a->token, a->token_len);
    struct cv_quickput_listen *l = j->sid != 0 ? listen_of(q, j->sid) : NULL;
    const uint32_t tid = ++q->last_tid | 0x80000000u;
    uint8_t buf[CV_QUICKPUT_PACKET];
    struct cv_writer w;
    int err;

    if (a->given || a->token_len == 0 || (j->len == 0 && l == NULL) ||
        j->puts >= CV_QUICKPUT_PUTS)
        return;
    a->given = true;
    j->puts++;
    cv_writer_init(&w, buf, sizeof(buf));
    if (l != NULL) {
        if (!listens_at(l, &a->addr))
            l->node[l->n++ % (2 * CV_QUICKPUT_NEAR)] = a->addr;
        err = cv_dhtwire_listen(&w, tid, &q->id, &j->loc, j->sid, token);
    } else {
        err = cv_dhtwire_put(&w, tid, &q->id, &j->loc, j->id,
                             CV_BYTES(j->value, j->len), token);
    }
    if (err == CV_OK)
        q->send(q->user, &a->addr, buf, w.len);
}

/* Nobody is waited for.  Values may come in parts after a reply. */
static bool is_done(const struct cv_quickput_job *j)
{
    for (unsigned i = 0; i < j->n; i++)
        if (j->ask[i].state == CV_QUICKPUT_ASKED_ONCE ||
            j->ask[i].state == CV_QUICKPUT_ASKED_TWICE)
            return false;
    return j->get == 0 || j->sid != 0;
}

static void job_step(struct cv_quickput *q, struct cv_quickput_job *j,
                     cv_time now)
{
    const unsigned width = j->sid != 0 ? CV_QUICKPUT_NEAR : CV_QUICKPUT_WIDTH;

    for (unsigned i = 0; i < j->n; i++) {
        struct cv_quickput_ask *a = &j->ask[i];
        const bool near = !a->has_id || rank(j, a) < width;

        switch (a->state) {
        case CV_QUICKPUT_NEW:
            if (!near)
                break;
            give(q, j, a); /* if there is a token of before */
            ask(q, j, a, now);
            break;
        case CV_QUICKPUT_ASKED_ONCE:
            if (now - a->at >= CV_QUICKPUT_AGAIN)
                ask(q, j, a, now);
            break;
        case CV_QUICKPUT_ASKED_TWICE:
            if (now - a->at < CV_QUICKPUT_SILENT)
                break;
            a->state = CV_QUICKPUT_FAILED;
            if (a->has_id)
                remember(q, a, false, now);
            break;
        case CV_QUICKPUT_REPLIED:
            if (!near)
                break;
            give(q, j, a);
            a->state = CV_QUICKPUT_DONE;
            break;
        case CV_QUICKPUT_DONE:
        case CV_QUICKPUT_FAILED:
            break;
        }
    }
    if (now - j->started >= CV_QUICKPUT_TIME || is_done(j))
        memset(j, 0, sizeof(*j));
}

static cv_time job_deadline(const struct cv_quickput_job *j)
{
    cv_time at = j->started + CV_QUICKPUT_TIME;

    for (unsigned i = 0; i < j->n; i++) {
        const struct cv_quickput_ask *a = &j->ask[i];

        if (a->state == CV_QUICKPUT_ASKED_ONCE)
            at = cv_time_min(at, a->at + CV_QUICKPUT_AGAIN);
        if (a->state == CV_QUICKPUT_ASKED_TWICE)
            at = cv_time_min(at, a->at + CV_QUICKPUT_SILENT);
    }
    return at;
}

static struct cv_quickput_job *begin(struct cv_quickput *q,
                                     const struct cv_loc *loc, cv_time now)
{
    struct cv_quickput_job *j = NULL;

    for (unsigned i = 0; i < CV_QUICKPUT_JOBS; i++)
        if (!q->job[i].used)
            j = &q->job[i];
    if (j == NULL)
        return NULL;
    memset(j, 0, sizeof(*j));
    j->used = true;
    j->loc = *loc;
    j->started = now;
    cv_random(q->rng, &j->id, sizeof(j->id));
    for (unsigned i = 0; i < CV_QUICKPUT_NODES; i++) {
        const struct cv_quickput_node *n = &q->node[i];
        struct cv_quickput_ask *a;

        if (n->addr.family == CV_FAMILY_NONE || n->silent)
            continue;
        a = consider(j, &n->id, &n->addr);
        if (a == NULL || now - n->replied > CV_QUICKPUT_TOKEN_LIFE)
            continue;
        memcpy(a->token, n->token, n->token_len);
        a->token_len = n->token_len;
    }
    for (unsigned i = 0; i < q->n_boots && j->n < CV_QUICKPUT_WIDTH; i++)
        (void)consider(j, NULL, &q->boot[i]);
    return j;
}

int cv_quickput_put(struct cv_quickput *q, const struct cv_loc *loc,
                    struct cv_bytes value, cv_time now)
{
    struct cv_quickput_job *j;

    if (value.len == 0 || value.len > CV_QUICKPUT_VALUE)
        return CV_ERR_NOBUF;
    j = begin(q, loc, now);
    if (j == NULL)
        return CV_ERR_LIMIT;
    memcpy(j->value, value.data, value.len);
    j->len = value.len;
    job_step(q, j, now);
    return CV_OK;
}

void cv_quickput_get(struct cv_quickput *q, const struct cv_loc *loc,
                     uint64_t get, cv_time now)
{
    struct cv_quickput_job *oldest = NULL, *j;
    unsigned n = 0;

    for (unsigned i = 0; i < CV_QUICKPUT_JOBS; i++) {
        j = &q->job[i];
        if (!j->used || j->get == 0 || j->sid != 0 ||
            memcmp(j->loc.b, loc->b, CV_LOC_LEN) != 0)
            continue;
        n++;
        if (oldest == NULL || j->started < oldest->started)
            oldest = j;
    }
    if (n >= CV_QUICKPUT_POLLS)
        memset(oldest, 0, sizeof(*oldest));
    j = begin(q, loc, now);
    if (j == NULL)
        return;
    j->get = get;
    job_step(q, j, now);
}

static bool may_listen(const struct cv_quickput *q)
{
    unsigned free_jobs = 0;

    for (unsigned i = 0; i < CV_QUICKPUT_JOBS; i++)
        free_jobs += !q->job[i].used;
    return free_jobs > CV_QUICKPUT_SPARE;
}

/* One round: who is near now?  It takes the place of one that still runs: that
 * one was answered where we were before. */
static void listen_round(struct cv_quickput *q, struct cv_quickput_listen *l,
                         cv_time now)
{
    struct cv_quickput_job *j;

    for (unsigned i = 0; i < CV_QUICKPUT_JOBS; i++)
        if (q->job[i].used && q->job[i].sid == l->sid)
            memset(&q->job[i], 0, sizeof(q->job[i]));
    j = begin(q, &l->loc, now);
    if (j == NULL)
        return;
    j->get = l->get;
    j->sid = l->sid;
    job_step(q, j, now);
    l->next = now + (l->n > 0 ? CV_QUICKPUT_RENEW : CV_QUICKPUT_TIME);
}

static void listen_step(struct cv_quickput *q, cv_time now)
{
    for (unsigned i = 0; i < CV_QUICKPUT_LISTENS && may_listen(q); i++) {
        struct cv_quickput_listen *l = &q->listen[i];

        if (l->get != 0 && l->next <= now)
            listen_round(q, l, now);
    }
}

void cv_quickput_listen(struct cv_quickput *q, const struct cv_loc *loc,
                        uint64_t get, cv_time now)
{
    for (unsigned i = 0; i < CV_QUICKPUT_LISTENS; i++) {
        struct cv_quickput_listen *l = &q->listen[i];

        if (l->get != 0)
            continue;
        memset(l, 0, sizeof(*l));
        l->get = get;
        l->loc = *loc;
        l->sid = ++q->last_tid | 0x80000000u;
        l->next = now;
        break;
    }
    listen_step(q, now);
}

void cv_quickput_moved(struct cv_quickput *q, cv_time now)
{
    for (unsigned i = 0; i < CV_QUICKPUT_LISTENS; i++)
        q->listen[i].next = now;
    listen_step(q, now);
}

void cv_quickput_end(struct cv_quickput *q, uint64_t get)
{
    for (unsigned i = 0; i < CV_QUICKPUT_LISTENS; i++)
        if (q->listen[i].get == get)
            memset(&q->listen[i], 0, sizeof(q->listen[i]));
    for (unsigned i = 0; i < CV_QUICKPUT_JOBS; i++)
        if (q->job[i].used && q->job[i].get == get)
            memset(&q->job[i], 0, sizeof(q->job[i]));
}

void cv_quickput_look(struct cv_quickput *q, const struct cv_loc *loc,
                      cv_time now)
{
    struct cv_quickput_job *j = begin(q, loc, now);

    if (j != NULL)
        job_step(q, j, now);
}

void cv_quickput_boot(struct cv_quickput *q, const struct cv_addr *addr,
                      cv_time now)
{
    struct cv_loc loc;

    if (!usable(addr) || q->n_boots == CV_QUICKPUT_BOOTS)
        return;
    for (unsigned i = 0; i < q->n_boots; i++)
        if (cv_addr_equal(&q->boot[i], addr))
            return;
    q->boot[q->n_boots++] = *addr;
    if (q->n_boots > 1)
        return;
    for (unsigned i = 0; i < CV_QUICKPUT_LISTENS; i++)
        q->listen[i].next = now;
    /* Two opposite places. */
    cv_random(q->rng, loc.b, CV_LOC_LEN);
    cv_quickput_look(q, &loc, now);
    for (unsigned i = 0; i < CV_LOC_LEN; i++)
        loc.b[i] ^= 0xff;
    cv_quickput_look(q, &loc, now);
}

/* A long value that a reply announced. */
static void part(struct cv_quickput *q, const struct cv_addr *from,
                 const struct cv_dhtwire_reply *r)
{
    for (unsigned i = 0; i < CV_QUICKPUT_JOBS; i++) {
        const struct cv_quickput_job *j = &q->job[i];

        for (unsigned k = 0; j->used && j->get != 0 && k < j->n; k++) {
            const uint64_t get = j->get;

            if (j->ask[k].tid != r->tid || j->ask[k].state == CV_QUICKPUT_NEW ||
                !cv_addr_equal(&j->ask[k].addr, from))
                continue;
            for (unsigned m = 0; m < r->n_values; m++)
                q->value(q->user, get, r->value[m]);
            return;
        }
    }
}

/* What a node tells us because we listen. */
static bool told(struct cv_quickput *q, const struct cv_addr *from,
                 const struct cv_dhtwire_reply *r)
{
    const struct cv_quickput_listen *l = listen_of(q, r->tid);
    uint64_t get;

    if (l == NULL)
        return false;
    get = listens_at(l, from) ? l->get : 0;
    for (unsigned m = 0; get != 0 && m < r->n_values; m++)
        q->value(q->user, get, r->value[m]);
    return true;
}

void cv_quickput_input(struct cv_quickput *q, const struct cv_addr *from,
                       const uint8_t *data, size_t len, cv_time now)
{
    struct cv_dhtwire_reply r;
    uint64_t get;

    if (cv_dhtwire_reply(&r, data, len) != CV_OK || told(q, from, &r))
        return;
    if (r.part) {
        part(q, from, &r);
        return;
    }
    for (unsigned i = 0; i < CV_QUICKPUT_JOBS; i++) {
        struct cv_quickput_job *j = &q->job[i];

        for (unsigned k = 0; j->used && k < j->n; k++) {
            struct cv_quickput_ask *a = &j->ask[k];

            if ((a->state != CV_QUICKPUT_ASKED_ONCE &&
                 a->state != CV_QUICKPUT_ASKED_TWICE) ||
                a->tid != r.tid || !cv_addr_equal(&a->addr, from))
                continue;
            a->id = r.id;
            a->has_id = true;
            a->state =
                r.token_len > 0 ? CV_QUICKPUT_REPLIED : CV_QUICKPUT_FAILED;
            /* An old token may have been refused. */
            a->given &= a->token_len == r.token_len &&
                        memcmp(a->token, r.token, r.token_len) == 0;
            memcpy(a->token, r.token, r.token_len);
            a->token_len = r.token_len;
            remember(q, a, true, now);
            for (unsigned m = 0; m < r.n; m++)
                (void)consider(j, &r.node[m].id, &r.node[m].addr);
            get = j->get;
            job_step(q, j, now);
            for (unsigned m = 0; get != 0 && m < r.n_values; m++)
                q->value(q->user, get, r.value[m]);
            return;
        }
    }
}

cv_time cv_quickput_deadline(const struct cv_quickput *q)
{
    cv_time at = CV_NEVER;

    for (unsigned i = 0; i < CV_QUICKPUT_JOBS; i++)
        if (q->job[i].used)
            at = cv_time_min(at, job_deadline(&q->job[i]));
    for (unsigned i = 0; i < CV_QUICKPUT_LISTENS && may_listen(q); i++)
        if (q->listen[i].get != 0)
            at = cv_time_min(at, q->listen[i].next);
    return at;
}

void cv_quickput_step(struct cv_quickput *q, cv_time now)
{
    for (unsigned i = 0; i < CV_QUICKPUT_JOBS; i++)
        if (q->job[i].used && job_deadline(&q->job[i]) <= now)
            job_step(q, &q->job[i], now);
    listen_step(q, now);
}
