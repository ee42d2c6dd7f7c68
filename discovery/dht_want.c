/* What the caller asked for: puts, gets, listeners. */
#include "discovery/dht_struct.h"

#include "base/crypto.h"
#include "discovery/location.h"
#include "discovery/quicksend.h"

#include <stdlib.h>
#include <string.h>

#define WANTS_MAX 256u /* operations of the caller at once */

#define GET_TIMEOUT   (15 * CV_SECOND)
#define PUT_TIMEOUT   (30 * CV_SECOND) /* "done" may take 25 s or never come */
#define PUT_LIFE      (10 * CV_MINUTE)
#define PUT_RETRY     (5 * CV_SECOND)
#define PUT_RETRY_MAX CV_MINUTE

static struct want *want_find(struct dht *d, cv_dht_token token)
{
    for (struct want *w = d->wants; w != NULL; w = w->next) {
        if (w->token == token)
            return w;
    }
    return NULL;
}

static struct want *want_new(struct dht *d, enum kind kind,
                             const struct cv_loc *loc)
{
    struct want *w;

    if (d->n_wants >= WANTS_MAX)
        return NULL;
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return NULL;
    w->token = ++d->last_token;
    w->kind = kind;
    w->loc = *loc;
    w->since = cv_loop_now(d->loop);
    w->retry_at = CV_NEVER;
    w->backoff = PUT_RETRY;
    w->next = d->wants;
    d->wants = w;
    d->n_wants++;
    return w;
}

static void want_free(struct dht *d, struct want *w)
{
    struct want **link = &d->wants;

    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    d->n_wants--;
    free(w->data);
    free(w);
}

/* Ask the library.  Without a runner it is done when there is one. */
static void want_start(struct dht *d, struct want *w)
{
    struct call *c = cv_dht_call_start(d, w->kind, w->token, &w->loc,
                                       CV_BYTES(w->data, w->len));

    if (c == NULL)
        return;
    w->call = c;
    w->call_since = cv_loop_now(d->loop);
    w->retry_at = CV_NEVER;
}

void cv_dht_wants_resume(struct dht *d)
{
    for (struct want *w = d->wants; w != NULL; w = w->next) {
        if (w->call == NULL && !w->confirmed)
            want_start(d, w);
    }
}

void cv_dht_wants_again(struct dht *d)
{
    for (struct want *w = d->wants; w != NULL; w = w->next) {
        w->call = NULL;
        w->confirmed = false;
        want_start(d, w);
    }
}

void cv_dht_wants_free(struct dht *d)
{
    while (d->wants != NULL)
        want_free(d, d->wants);
}

/* --- what is asked for ---------------------------------------------------- */

static cv_dht_token put(struct cv_dht *base, const struct cv_loc *loc,
                        struct cv_bytes value, cv_dht_done_fn done, void *user)
{
    struct dht *d = (struct dht *)base;
    struct want *w;

    if (value.len == 0 || value.len > CV_DHT_VALUE_MAX)
        return 0;
    w = want_new(d, PUT, loc);
    if (w == NULL)
        return 0;
    w->data = malloc(value.len);
    if (w->data == NULL) {
        want_free(d, w);
        return 0;
    }
    memcpy(w->data, value.data, value.len);
    w->len = value.len;
    w->done = done;
    w->user = user;
    want_start(d, w);
    cv_quicksend_put(d->quick, loc, value);
    cv_dht_schedule(d);
    return w->token;
}

static cv_dht_token get(struct cv_dht *base, const struct cv_loc *loc,
                        cv_dht_value_fn value, cv_dht_done_fn done, void *user)
{
    struct dht *d = (struct dht *)base;
    struct want *w = want_new(d, GET, loc);

    if (w == NULL)
        return 0;
    w->value = value;
    w->done = done;
    w->user = user;
    want_start(d, w);
    cv_quicksend_get(d->quick, loc, w->token);
    cv_dht_schedule(d);
    return w->token;
}

static cv_dht_token listen_at(struct cv_dht *base, const struct cv_loc *loc,
                              cv_dht_value_fn value, void *user)
{
    struct dht *d = (struct dht *)base;
    struct want *w = want_new(d, LISTEN, loc);

    if (w == NULL)
        return 0;
    w->value = value;
    w->user = user;
    want_start(d, w);
    cv_quicksend_listen(d->quick, loc, w->token);
    return w->token;
}

static void cancel(struct cv_dht *base, cv_dht_token token)
{
    struct dht *d = (struct dht *)base;
    struct want *w = want_find(d, token);

    if (w == NULL)
        return;
    if (w->call != NULL)
        cv_dht_call_stop(d, w->call);
    if (w->kind != PUT)
        cv_quicksend_end(d->quick, token);
    want_free(d, w);
}

const struct cv_dht_ops cv_dht_want_ops = {put, get, listen_at, cancel};

/* --- what comes ----------------------------------------------------------- */

/* A value of ours that no other node is known to hold. */
static bool only_ours(const struct dht *d, const struct cv_loc *loc,
                      struct cv_bytes value)
{
    for (const struct want *w = d->wants; w != NULL; w = w->next) {
        if (w->kind == PUT && !w->confirmed && w->len == value.len &&
            cv_loc_equal(&w->loc, loc) &&
            memcmp(w->data, value.data, value.len) == 0)
            return true;
    }
    return false;
}

static void get_ended(struct dht *d, struct want *w, bool ok)
{
    const cv_dht_done_fn done = w->done;
    void *user = w->user;

    want_free(d, w);
    if (done != NULL)
        done(user, ok);
}

static void put_ended(struct dht *d, struct want *w, bool ok)
{
    const cv_dht_done_fn done = w->done;

    w->call = NULL;
    w->confirmed = ok;
    if (!ok) {
        w->retry_at = cv_loop_now(d->loop) + w->backoff;
        w->backoff =
            w->backoff * 2 < PUT_RETRY_MAX ? w->backoff * 2 : PUT_RETRY_MAX;
        return;
    }
    w->done = NULL; /* once */
    if (done != NULL)
        done(w->user, true);
}

/* Hand a value on, if it was not: the library finds it at several nodes, and
 * the quick way finds it once more. */
static void deliver(struct want *w, struct cv_bytes value)
{
    uint8_t hash[CV_HASH_LEN];
    uint64_t part;

    cv_sha256(hash, &value, 1);
    memcpy(&part, hash, sizeof(part));
    for (unsigned i = 0; i < w->n_seen && i < SEEN_MAX; i++)
        if (w->seen[i] == part)
            return;
    if (w->kind == GET && (w->values >= CV_DHT_GET_VALUES ||
                           w->bytes + value.len > CV_DHT_GET_BYTES))
        return;
    w->values++;
    w->bytes += value.len;
    w->seen[w->n_seen++ % SEEN_MAX] = part;
    if (w->n_seen == 2 * SEEN_MAX)
        w->n_seen = SEEN_MAX; /* the same place of the ring */
    w->value(w->user, value);
}

void cv_dht_want_value(struct dht *d, const struct call *c,
                       struct cv_bytes value)
{
    struct want *w = want_find(d, c->id);

    if (w != NULL && w->call == c && w->value != NULL &&
        !only_ours(d, &w->loc, value))
        deliver(w, value);
}

void cv_dht_want_done(struct dht *d, const struct call *c, bool ok)
{
    struct want *w = want_find(d, c->id);

    if (w == NULL || w->call != c)
        return;
    if (ok && w->kind == PUT)
        cv_dht_somebody_answered(d);
    if (w->kind == PUT)
        put_ended(d, w, ok);
    else if (w->kind == GET && !ok && d->state != CV_DHT_CONNECTED)
        w->call = NULL; /* again as soon as somebody is there */
    else if (w->kind == GET)
        get_ended(d, w, ok);
}

void cv_dht_want_quick(void *user, uint64_t get_token, struct cv_bytes value)
{
    struct want *w = want_find(user, get_token);

    if (w != NULL && w->value != NULL && value.len <= CV_DHT_VALUE_MAX)
        deliver(w, value);
}

/* --- time ----------------------------------------------------------------- */

void cv_dht_wants_step(struct dht *d, cv_time now)
{
    struct want *next;

    for (struct want *w = d->wants; w != NULL; w = next) {
        next = w->next;
        switch (w->kind) {
        case PUT:
            if (now - w->since >= PUT_LIFE) {
                if (w->call != NULL)
                    cv_dht_call_stop(d, w->call);
                want_free(d, w);
            } else if (w->call != NULL && now - w->call_since >= PUT_TIMEOUT) {
                cv_dht_call_stop(d, w->call);
                put_ended(d, w, false);
            } else if (w->call == NULL && now >= w->retry_at) {
                want_start(d, w);
            }
            break;
        case LISTEN:
            if (w->call == NULL)
                want_start(d, w);
            break;
        case GET:
            if (w->call == NULL && now >= w->retry_at)
                want_start(d, w);
            break;
        case PING:
        case PROBE:
            break;
        }
    }
}

bool cv_dht_want_expire(struct dht *d, cv_time now)
{
    for (struct want *w = d->wants; w != NULL; w = w->next) {
        if (w->kind != GET || now - w->since < GET_TIMEOUT)
            continue;
        if (w->call != NULL)
            cv_dht_call_stop(d, w->call);
        get_ended(d, w, false);
        return true;
    }
    return false;
}

cv_time cv_dht_wants_deadline(const struct dht *d)
{
    cv_time t = CV_NEVER;

    for (const struct want *w = d->wants; w != NULL; w = w->next) {
        if (w->kind == GET) {
            t = cv_time_min(t, w->since + GET_TIMEOUT);
            if (w->call == NULL)
                t = cv_time_min(t, w->retry_at);
        } else if (w->kind == PUT) {
            t = cv_time_min(t, w->since + PUT_LIFE);
            t = cv_time_min(t, w->call != NULL ? w->call_since + PUT_TIMEOUT
                                               : w->retry_at);
        }
    }
    return t;
}
