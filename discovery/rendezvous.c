/* The search: listens at the places of e, and after a second of e - 1 and
 * e + 1 (clocks differ); while nobody is connected it also gets at 10, 20, 60 s
 * and then every minute, later every five minutes, for a listen can be lost.  A
 * shelf tells nobody of what is laid there later, so it is asked more often.
 * That something was found proves nothing: it may be what is left of somebody
 * who fell out of the world. */
#include "discovery/rendezvous_struct.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NEIGHBOURS_AFTER CV_SECOND
#define REFRESH          (5 * CV_MINUTE)
#define GET_SOON         (10 * CV_SECOND)

/* Of the shelf, while nobody is connected: a joiner is often a little earlier
 * than the pointer.  A gate lets 5 a second pass from one address. */
#define LOOK_SOON  (2 * CV_SECOND)
#define LOOKS_SOON 10u
#define LOOK_LATER (10 * CV_SECOND)

static void release(struct cv_rendezvous *rv);

void cv_rv_enter(struct cv_rendezvous *rv)
{
    rv->depth++;
}

void cv_rv_leave(struct cv_rendezvous *rv)
{
    if (--rv->depth == 0 && rv->freed)
        release(rv);
}

uint64_t cv_rv_unix_s(const struct cv_rendezvous *rv)
{
    return rv->unix_now / 1000;
}

uint64_t cv_rv_epoch(const struct cv_rendezvous *rv)
{
    return cv_epoch_at(rv->unix_now);
}

cv_dht_token cv_rv_put(struct cv_rendezvous *rv, const struct cv_loc *loc,
                       struct cv_bytes value, cv_dht_done_fn done, void *user)
{
    return rv->config.dht->ops->put(rv->config.dht, loc, value, done, user);
}

cv_dht_token cv_rv_get(struct cv_rendezvous *rv, const struct cv_loc *loc,
                       cv_dht_value_fn value, cv_dht_done_fn done, void *user)
{
    return rv->config.dht->ops->get(rv->config.dht, loc, value, done, user);
}

cv_dht_token cv_rv_listen(struct cv_rendezvous *rv, const struct cv_loc *loc,
                          cv_dht_value_fn value, void *user)
{
    return rv->config.dht->ops->listen(rv->config.dht, loc, value, user);
}

void cv_rv_cancel(struct cv_rendezvous *rv, cv_dht_token *token)
{
    const cv_dht_token t = *token;

    *token = 0;
    if (t != 0)
        rv->config.dht->ops->cancel(rv->config.dht, t);
}

void cv_rv_emit(struct cv_rendezvous *rv, enum cv_rendezvous_stage stage)
{
    if (!rv->freed && rv->events.stage != NULL)
        rv->events.stage(rv->user, stage);
}

void cv_rv_report_pointer(struct cv_rendezvous *rv,
                          const struct cv_book_entry *e)
{
    struct cv_pointer_info info = {
        .node = e->p.node,
        .identity = e->p.cert.identity,
        .role = e->role,
        .admits = e->admits,
        .gone = e->p.flags & CV_RECORD_GONE,
        .seq = e->p.seq,
        .not_after = e->p.not_after,
        .candidates = e->p.candidates,
    };
    char who[9];

    info.candidates.gates = e->p.gates;
    cv_debug(rv->config.log, "rendezvous: pointer, node=%s %s candidates=%u",
             cv_key_short(&e->p.node, who), info.gone ? "gone" : "living",
             info.candidates.n);
    info.knock_again = cv_rv_knock_pointer(rv, e);
    if (!rv->freed && rv->events.pointer != NULL)
        rv->events.pointer(rv->user, &info);
    if (!info.gone && !rv->found) {
        rv->found = true;
        cv_rv_emit(rv, CV_RV_FOUND);
    }
}

static void on_pointer_value(void *user, struct cv_bytes value)
{
    struct watch *w = user;
    struct cv_rendezvous *rv = w->rv;
    struct cv_rendezvous_counters *n = &rv->counters;
    struct cv_book_entry *e;
    int err;

    err = cv_book_take(&rv->book, &w->place, value, rv->now, cv_rv_unix_s(rv),
                       &e);
    switch (err) {
    case CV_OK:
        n->pointers_ok++;
        cv_rv_enter(rv);
        cv_rv_report_pointer(rv, e);
        cv_rv_leave(rv);
        return;
    case CV_ERR_EXISTS:
    case CV_ERR_LIMIT: /* it comes again with the next get */
        return;
    case CV_ERR_FORMAT:
        n->pointers_garbage++;
        break;
    case CV_ERR_EXPIRED:
        n->pointers_expired++;
        break;
    case CV_ERR_REPLAY:
        n->pointers_replayed++;
        break;
    default:
        n->pointers_forged++;
        break;
    }
    cv_debug(rv->config.log, "rendezvous: pointer dropped, why=\"%s\"",
             cv_strerror(err));
}

void cv_rendezvous_found(struct cv_rendezvous *rv, const uint8_t loc[20],
                         struct cv_bytes sealed)
{
    for (unsigned i = 0; i < WATCHES; i++)
        if (rv->watches[i].used &&
            memcmp(rv->watches[i].place.loc.b, loc, 20) == 0) {
            on_pointer_value(&rv->watches[i], sealed);
            return;
        }
}

static void on_pointer_get_done(void *user, bool ok)
{
    struct watch *w = user;

    (void)ok;
    w->get = 0;
}

static void watch_close(struct watch *w)
{
    cv_rv_cancel(w->rv, &w->listen);
    cv_rv_cancel(w->rv, &w->get);
    w->used = false;
}

static struct watch *watch_at(struct cv_rendezvous *rv, uint64_t epoch)
{
    for (unsigned i = 0; i < WATCHES; i++) {
        if (rv->watches[i].used && rv->watches[i].place.epoch == epoch)
            return &rv->watches[i];
    }
    return NULL;
}

static void watch_open(struct cv_rendezvous *rv, uint64_t epoch)
{
    for (unsigned i = 0; i < WATCHES; i++) {
        struct watch *w = &rv->watches[i];

        if (w->used)
            continue;
        *w = (struct watch){
            .rv = rv, .used = true, .next_get = rv->now, .next_look = rv->now};
        cv_place_at(&w->place, &rv->root, epoch);
        return;
    }
    assert(false); /* three watches, three epochs */
}

static cv_time get_interval(const struct cv_rendezvous *rv, unsigned gets)
{
    static const cv_time searching[] = {GET_SOON, GET_SOON, 40 * CV_SECOND};

    if (rv->connected)
        return REFRESH;
    return gets < 3 ? searching[gets] : CV_MINUTE;
}

static void look_at_shelf(struct watch *w)
{
    struct cv_rendezvous *rv = w->rv;
    const cv_time soon = w->looks < LOOKS_SOON ? LOOK_SOON : LOOK_LATER;

    if (rv->config.shelf == NULL || rv->now < w->next_look)
        return;
    w->looks++;
    w->next_look = rv->now + (rv->connected ? REFRESH : soon);
    rv->config.shelf->look(rv->user, w->place.loc.b);
}

static void watch_step(struct watch *w)
{
    struct cv_rendezvous *rv = w->rv;

    if (w->listen == 0)
        w->listen = cv_rv_listen(rv, &w->place.loc, on_pointer_value, w);
    if (w->used && !rv->freed)
        look_at_shelf(w);
    if (!w->used || rv->freed || rv->now < w->next_get)
        return;
    cv_rv_cancel(rv, &w->get);
    w->get =
        cv_rv_get(rv, &w->place.loc, on_pointer_value, on_pointer_get_done, w);
    w->next_get = rv->now + get_interval(rv, w->gets++);
}

static void cv_rv_search_step(struct cv_rendezvous *rv)
{
    const uint64_t e = cv_rv_epoch(rv);

    for (unsigned i = 0; i < WATCHES; i++) {
        struct watch *w = &rv->watches[i];

        if (w->used && (!rv->searching || w->place.epoch + 1 < e ||
                        w->place.epoch > e + 1))
            watch_close(w);
    }
    if (!rv->searching)
        return;
    if (watch_at(rv, e) == NULL)
        watch_open(rv, e);
    if (rv->now - rv->search_began >= NEIGHBOURS_AFTER) {
        if (e > 0 && watch_at(rv, e - 1) == NULL)
            watch_open(rv, e - 1);
        if (watch_at(rv, e + 1) == NULL)
            watch_open(rv, e + 1);
    }
    for (unsigned i = 0; i < WATCHES && !rv->freed; i++) {
        if (rv->watches[i].used)
            watch_step(&rv->watches[i]);
    }
}

void cv_rendezvous_search(struct cv_rendezvous *rv, bool on)
{
    if (on == rv->searching)
        return;
    rv->searching = on;
    rv->found = false;
    rv->search_began = rv->now;
    cv_rv_enter(rv);
    if (on)
        cv_rv_emit(rv, CV_RV_SEARCHING);
    else
        cv_rv_search_step(rv);
    cv_rv_leave(rv);
}

void cv_rendezvous_connected(struct cv_rendezvous *rv, bool connected)
{
    if (connected == rv->connected)
        return;
    rv->connected = connected;
    for (unsigned i = 0; i < WATCHES && !connected; i++) {
        struct watch *w = &rv->watches[i];

        w->gets = w->looks = 0;
        w->next_get = cv_time_min(w->next_get, rv->now + GET_SOON);
        w->next_look = cv_time_min(w->next_look, rv->now + LOOK_SOON);
    }
}

int cv_rendezvous_new(struct cv_rendezvous **out,
                      const struct cv_rendezvous_config *config,
                      const struct cv_rendezvous_events *events, void *user)
{
    struct cv_rendezvous *rv = calloc(1, sizeof(*rv));

    if (rv == NULL)
        return CV_ERR_NOMEM;
    rv->config = *config;
    rv->events = *events;
    rv->user = user;
    cv_root_of(&rv->root, &config->session);
    cv_book_init(&rv->book, &config->session, &config->node->pub);
    cv_inbox_init(&rv->inbox, &rv->root, &config->node->pub);
    rv->pub.publish_at = CV_NEVER;
    rv->pub.verify_at = CV_NEVER;
    for (unsigned i = 0; i < CV_OFFICES; i++) {
        for (unsigned s = 0; s < CV_INBOX_SLOTS; s++)
            rv->desks[i][s] = (struct desk){.rv = rv, .office = i, .slot = s};
    }
    *out = rv;
    return CV_OK;
}

static void release(struct cv_rendezvous *rv)
{
    for (unsigned i = 0; i < WATCHES; i++) {
        if (rv->watches[i].used)
            watch_close(&rv->watches[i]);
    }
    cv_rv_inbox_close(rv);
    cv_rv_publish_close(rv);
    cv_rv_knocks_close(rv);
    cv_rv_invitations_close(rv);
    cv_inbox_fini(&rv->inbox);
    cv_wipe(rv, sizeof(*rv));
    free(rv);
}

void cv_rendezvous_free(struct cv_rendezvous *rv)
{
    if (rv == NULL)
        return;
    rv->freed = true;
    if (rv->depth == 0)
        release(rv);
}

cv_time cv_rendezvous_deadline(const struct cv_rendezvous *rv)
{
    const cv_time publish = cv_rv_publish_deadline(rv);
    const cv_time knocks = cv_rv_knocks_deadline(rv);
    cv_time d = cv_time_min(publish, knocks);

    if (!rv->stepped)
        return 0;
    if (rv->searching)
        d = cv_time_min(d, rv->now + TICK);
    return d;
}

void cv_rendezvous_step(struct cv_rendezvous *rv, cv_time now,
                        cv_unix_ms unix_now)
{
    cv_rv_enter(rv);
    if (!rv->stepped) {
        rv->stepped = true;
        rv->search_began = now;
        if (rv->pub.state == PUBLISH_DUE)
            rv->pub.publish_at = now;
    }
    rv->now = now;
    rv->unix_now = unix_now;
    cv_book_expire(&rv->book, cv_rv_unix_s(rv));
    cv_rv_search_step(rv);
    if (!rv->freed)
        cv_rv_publish_step(rv);
    if (!rv->freed)
        cv_rv_inbox_step(rv);
    cv_rv_invitations_step(rv);
    if (!rv->freed)
        cv_rv_knocks_step(rv);
    cv_rv_leave(rv);
}

void cv_rendezvous_counters(const struct cv_rendezvous *rv,
                            struct cv_rendezvous_counters *out)
{
    *out = rv->counters;
}
