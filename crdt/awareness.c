#include "crdt/awareness.h"

#include "crdt/json.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t client;
    uint64_t clock;
    uint8_t *state; /* JSON; NULL: gone, only the clock is known */
    size_t len;
    cv_time heard;
};

struct cv_awareness {
    struct cv_awareness_limits limits;
    uint64_t self;
    struct entry *entry;
    uint32_t n, cap;
};

const struct cv_awareness_limits cv_awareness_limits_default = {
    .clients = 1024,
    .state_bytes = (size_t)16 << 10,
    .update_bytes = (size_t)1 << 20,
};

int cv_awareness_new(struct cv_awareness **out, uint64_t self,
                     const struct cv_awareness_limits *limits)
{
    struct cv_awareness *aw = calloc(1, sizeof(*aw));

    if (aw == NULL)
        return CV_ERR_NOMEM;
    aw->limits = limits == NULL ? cv_awareness_limits_default : *limits;
    aw->self = self;
    *out = aw;
    return CV_OK;
}

void cv_awareness_free(struct cv_awareness *aw)
{
    if (aw == NULL)
        return;
    for (uint32_t i = 0; i < aw->n; i++)
        free(aw->entry[i].state);
    free(aw->entry);
    free(aw);
}

static struct entry *find(const struct cv_awareness *aw, uint64_t client)
{
    for (uint32_t i = 0; i < aw->n; i++) {
        if (aw->entry[i].client == client)
            return &aw->entry[i];
    }
    return NULL;
}

static struct cv_bytes state_of(const struct entry *e)
{
    return (struct cv_bytes){e->state, e->state == NULL ? 0 : e->len};
}

struct received {
    uint64_t client, clock;
    uint8_t *state; /* NULL: gone */
    size_t len;
};

static bool is_named(const struct received *in, uint32_t n, uint64_t client)
{
    for (uint32_t i = 0; i < n; i++)
        if (in[i].client == client)
            return true;
    return false;
}

/* Of those who left only the clock is known.  All may go when room is needed,
 * but not who is named in in[n], which is being applied. */
static bool may_go(const struct cv_awareness *aw, const struct entry *e,
                   const struct received *in, uint32_t n)
{
    return e->state == NULL && e->client != aw->self &&
           !is_named(in, n, e->client);
}

static int grow(struct cv_awareness *aw, uint32_t cap)
{
    struct entry *grown;

    if (cap <= aw->cap)
        return CV_OK;
    cap += cap / 2;
    grown = realloc(aw->entry, cap * sizeof(*grown));
    if (grown == NULL)
        return CV_ERR_NOMEM;
    aw->entry = grown;
    aw->cap = cap;
    return CV_OK;
}

/* Room for `more` clients that are not known yet, of the n in `in`. */
static int make_room(struct cv_awareness *aw, uint32_t more,
                     const struct received *in, uint32_t n)
{
    uint32_t kept = 0, stay = 0;

    if (more == 0 || aw->n + more <= aw->limits.clients)
        return grow(aw, aw->n + more);
    for (uint32_t i = 0; i < aw->n; i++)
        stay += !may_go(aw, &aw->entry[i], in, n);
    if (stay + more > aw->limits.clients)
        return CV_ERR_LIMIT;
    for (uint32_t i = 0; i < aw->n; i++)
        if (!may_go(aw, &aw->entry[i], in, n))
            aw->entry[kept++] = aw->entry[i];
    aw->n = kept;
    return grow(aw, kept + more);
}

static int copy_state(struct cv_bytes state, uint8_t **copy)
{
    *copy = malloc(state.len + 1);
    if (*copy == NULL)
        return CV_ERR_NOMEM;
    memcpy(*copy, state.data, state.len);
    (*copy)[state.len] = 0;
    return CV_OK;
}

static bool is_object(struct cv_bytes state)
{
    return cv_utf8_valid(state.data, state.len) &&
           cv_json_valid(state.data, state.len) &&
           cv_json_kind(state.data, state.len) == '{';
}

int cv_awareness_set(struct cv_awareness *aw, struct cv_bytes state,
                     cv_time now)
{
    struct entry *e = find(aw, aw->self);
    uint8_t *copy = NULL;
    int err;

    if (state.data != NULL) {
        if (state.len > aw->limits.state_bytes)
            return CV_ERR_LIMIT;
        if (!is_object(state))
            return CV_ERR_FORMAT;
        err = copy_state(state, &copy);
        if (err != CV_OK)
            return err;
    }
    if (e == NULL) {
        err = make_room(aw, 1, NULL, 0);
        if (err != CV_OK) {
            free(copy);
            return err;
        }
        e = &aw->entry[aw->n++];
        *e = (struct entry){.client = aw->self};
    }
    free(e->state);
    e->state = copy;
    e->len = state.len;
    e->clock++;
    e->heard = now;
    return CV_OK;
}

/* ---- writing ---- */

static void put_entry(struct cv_writer *w, const struct entry *e)
{
    static const char gone[] = "null";

    cv_put_varuint(w, e->client);
    cv_put_varuint(w, e->clock);
    if (e->state == NULL)
        cv_put_varbytes(w, gone, sizeof(gone) - 1);
    else
        cv_put_varbytes(w, e->state, e->len);
}

int cv_awareness_encode(const struct cv_awareness *aw, struct cv_writer *out)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < aw->n; i++)
        n += aw->entry[i].state != NULL;
    if (n == 0)
        return out->err;
    cv_put_varuint(out, n);
    for (uint32_t i = 0; i < aw->n; i++) {
        if (aw->entry[i].state != NULL)
            put_entry(out, &aw->entry[i]);
    }
    return out->err;
}

int cv_awareness_encode_self(const struct cv_awareness *aw,
                             struct cv_writer *out)
{
    const struct entry *e = find(aw, aw->self);

    if (e == NULL)
        return out->err;
    cv_put_varuint(out, 1);
    put_entry(out, e);
    return out->err;
}

/* ---- applying ---- */

static void free_received(struct received *r, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        free(r[i].state);
    free(r);
}

/* Decode all of it into *list; checks everything. */
static int decode(const struct cv_awareness *aw, struct cv_bytes update,
                  struct received **list, uint32_t *count)
{
    struct cv_reader r;
    struct received *in;
    uint64_t n;
    int err = CV_OK;

    if (update.len > aw->limits.update_bytes)
        return CV_ERR_LIMIT;
    cv_reader_init(&r, update.data, update.len);
    n = cv_get_varuint(&r);
    if (r.err != CV_OK || n > cv_reader_left(&r) / 3)
        return CV_ERR_FORMAT;
    if (n > aw->limits.clients)
        return CV_ERR_LIMIT;
    in = calloc((size_t)n + 1, sizeof(*in));
    if (in == NULL)
        return CV_ERR_NOMEM;
    for (uint32_t i = 0; i < n && err == CV_OK; i++) {
        struct cv_bytes state;

        in[i].client = cv_get_varuint(&r);
        in[i].clock = cv_get_varuint(&r);
        state = cv_get_varstring(&r, SIZE_MAX);
        if (r.err != CV_OK || !cv_json_valid(state.data, state.len))
            err = CV_ERR_FORMAT;
        else if (in[i].clock > CV_AWARENESS_CLOCK_MAX ||
                 state.len > aw->limits.state_bytes)
            err = CV_ERR_LIMIT;
        else if (cv_json_kind(state.data, state.len) == '{')
            err = copy_state(state, &in[i].state);
        else if (cv_json_kind(state.data, state.len) != 'n')
            err = CV_ERR_FORMAT;
        in[i].len = state.len;
    }
    if (err == CV_OK)
        err = cv_reader_end(&r);
    if (err != CV_OK) {
        free_received(in, (uint32_t)n);
        return err;
    }
    *list = in;
    *count = (uint32_t)n;
    return CV_OK;
}

/* Clients in the list that are not known yet; one that is there twice counts
 * twice. */
static uint32_t count_new(const struct cv_awareness *aw,
                          const struct received *in, uint32_t n)
{
    uint32_t new = 0;

    for (uint32_t i = 0; i < n; i++)
        new += in[i].clock > 0 && find(aw, in[i].client) == NULL;
    return new;
}

/* Take over one entry; false if it is old. */
static bool apply_one(struct cv_awareness *aw, struct received *in, cv_time now,
                      cv_awareness_fn fn, void *user)
{
    struct entry *e = find(aw, in->client);
    enum cv_awareness_event event;
    bool known = e != NULL, was_here;

    if (in->clock < (known ? e->clock : 0) ||
        (in->clock == (known ? e->clock : 0) &&
         (in->state != NULL || !known || e->state == NULL)))
        return false;
    if (in->client == aw->self && known && e->state != NULL) {
        /* Only we say how we are, and that we are here. */
        e->clock = in->clock + 1;
        return true;
    }
    if (!known) {
        assert(aw->n < aw->cap); /* make_room() counted it */
        e = &aw->entry[aw->n++];
        *e = (struct entry){.client = in->client};
    }
    was_here = e->state != NULL;
    free(e->state);
    e->state = in->state;
    e->len = in->len;
    e->clock = in->clock;
    e->heard = now;
    in->state = NULL;
    if (e->state == NULL && !was_here)
        return true;
    event = e->state == NULL ? CV_AWARENESS_REMOVED
            : was_here       ? CV_AWARENESS_UPDATED
                             : CV_AWARENESS_ADDED;
    if (fn != NULL)
        fn(user, event, e->client, state_of(e));
    return true;
}

int cv_awareness_apply(struct cv_awareness *aw, struct cv_bytes update,
                       cv_time now, cv_awareness_fn fn, void *user,
                       struct cv_writer *news)
{
    struct received *in;
    uint32_t n, kept = 0;
    int err = decode(aw, update, &in, &n);

    if (err != CV_OK)
        return err;
    err = make_room(aw, count_new(aw, in, n), in, n);
    if (err != CV_OK) {
        free_received(in, n);
        return err;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (apply_one(aw, &in[i], now, fn, user)) {
            struct received r = in[kept];

            in[kept++] = in[i];
            in[i] = r;
        }
    }
    if (news != NULL && kept > 0) {
        cv_put_varuint(news, kept);
        for (uint32_t i = 0; i < kept; i++) {
            const struct entry *e = find(aw, in[i].client);

            assert(e != NULL); /* it was just applied */
            put_entry(news, e);
        }
        err = news->err;
    }
    free_received(in, n);
    return err;
}

/* ---- time and links ---- */

/* Forget the state, keep the clock. */
static void remove_entry(struct entry *e, cv_awareness_fn fn, void *user)
{
    free(e->state);
    e->state = NULL;
    if (fn != NULL)
        fn(user, CV_AWARENESS_REMOVED, e->client, state_of(e));
}

int cv_awareness_step(struct cv_awareness *aw, cv_time now, cv_awareness_fn fn,
                      void *user, struct cv_writer *out)
{
    for (uint32_t i = 0; i < aw->n; i++) {
        struct entry *e = &aw->entry[i];

        if (e->state == NULL)
            continue;
        if (e->client == aw->self) {
            if (now - e->heard < CV_AWARENESS_RENEW)
                continue;
            e->clock++;
            e->heard = now;
            cv_put_varuint(out, 1);
            put_entry(out, e);
        } else if (now - e->heard >= CV_AWARENESS_DROP) {
            remove_entry(e, fn, user);
        }
    }
    return out->err;
}

cv_time cv_awareness_deadline(const struct cv_awareness *aw)
{
    cv_time at = CV_NEVER;

    for (uint32_t i = 0; i < aw->n; i++) {
        const struct entry *e = &aw->entry[i];

        if (e->state != NULL)
            at = cv_time_min(at, e->heard + (e->client == aw->self
                                                 ? CV_AWARENESS_RENEW
                                                 : CV_AWARENESS_DROP));
    }
    return at;
}

int cv_awareness_remove(struct cv_awareness *aw, uint64_t client,
                        cv_awareness_fn fn, void *user, struct cv_writer *out)
{
    struct entry *e = find(aw, client);

    if (e == NULL || e->state == NULL || client == aw->self)
        return CV_OK;
    remove_entry(e, fn, user);
    if (out == NULL)
        return CV_OK;
    cv_put_varuint(out, 1);
    put_entry(out, e);
    return out->err;
}

struct cv_bytes cv_awareness_get(const struct cv_awareness *aw, uint64_t client,
                                 uint64_t *clock)
{
    const struct entry *e = find(aw, client);

    if (clock != NULL)
        *clock = e == NULL ? 0 : e->clock;
    return e == NULL ? (struct cv_bytes){NULL, 0} : state_of(e);
}

size_t cv_awareness_clients(const struct cv_awareness *aw, uint64_t *clients,
                            size_t max)
{
    size_t n = 0;

    for (uint32_t i = 0; i < aw->n; i++) {
        if (aw->entry[i].state == NULL)
            continue;
        if (n < max)
            clients[n] = aw->entry[i].client;
        n++;
    }
    return n;
}
