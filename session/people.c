#include <stdlib.h>
#include <string.h>

#include "session/control.h"
#include "session/sync_struct.h"

/* Timers: `cursor_due` is when our cursor may be told again; renewing ours and
 * forgetting the silent are in crdt/awareness.c. */

/* Those that are gone are remembered a while: more than are shown. */
static const struct cv_awareness_limits limits = {
    .clients = 4 * CV_PRESENCE_CLIENTS,
    .state_bytes = CV_PRESENCE_BYTES,
    .update_bytes = CV_DOCUMENT_OTHER_MAX,
};

static struct cv_person *find(const struct cv_document *d, uint64_t client)
{
    for (size_t i = 0; i < d->n_people; i++)
        if (d->people[i].client == client)
            return &d->people[i];
    return NULL;
}

static void forget(struct cv_document *d, uint64_t client)
{
    struct cv_person *p = find(d, client);

    if (!p)
        return;
    *p = d->people[--d->n_people];
    d->people_changed = true;
}

static void on_awareness(void *user, enum cv_awareness_event event,
                         uint64_t client, struct cv_bytes state)
{
    struct cv_document *d = user;
    struct cv_person *p = find(d, client);
    uint32_t crc;

    if (client == cv_doc_client(d->doc))
        return;
    if (event == CV_AWARENESS_REMOVED) {
        forget(d, client);
        return;
    }
    crc = cv_crc32(state.data, state.len);
    if (p && p->crc == crc)
        return; /* a renewal */
    if (!p) {
        if (d->n_people == CV_PRESENCE_CLIENTS)
            return;
        p = &d->people[d->n_people++];
        p->client = client;
    }
    p->crc = crc;
    d->people_changed = true;
    if (cv_presence_decode(&p->state, state) != CV_OK)
        forget(d, client);
}

/* ---- telling the others ---- */

/* Wrap an awareness update as a message and send it. */
static void send_update(struct cv_document *d, struct cv_bytes update,
                        const struct cv_document_link *from)
{
    struct cv_writer w;

    if (!update.len || !d->n_links)
        return;
    cv_writer_init_heap(&w, CV_DOCUMENT_OTHER_MAX + 16);
    cv_put_varuint(&w, CV_MESSAGE_AWARENESS);
    if (cv_put_varbytes(&w, update.data, update.len) == CV_OK)
        cv_links_send(d, cv_writer_bytes(&w), from, true);
    cv_writer_fini(&w);
}

static void send_self(struct cv_document *d)
{
    struct cv_writer w;

    cv_writer_init_heap(&w, CV_DOCUMENT_OTHER_MAX);
    if (cv_awareness_encode_self(d->awareness, &w) == CV_OK)
        send_update(d, cv_writer_bytes(&w), NULL);
    cv_writer_fini(&w);
}

/* Our state, with a higher clock. */
static int set_self(struct cv_document *d)
{
    struct cv_writer json;
    int err;

    if (d->gone)
        return CV_OK;
    memcpy(d->self.name, d->name, sizeof(d->self.name));
    cv_writer_init_heap(&json, CV_PRESENCE_BYTES);
    err = cv_presence_encode(&json, &d->self);
    if (err == CV_OK)
        err = cv_awareness_set(d->awareness, cv_writer_bytes(&json),
                               cv_document_now(d));
    cv_writer_fini(&json);
    return err;
}

static void tell_self(struct cv_document *d, cv_time now)
{
    int err = set_self(d);

    d->cursor_due = CV_NEVER;
    d->cursor_sent = now;
    if (err == CV_OK)
        send_self(d);
    else
        cv_debug(d->config.log, "people: own state not set, error=%s",
                 cv_strerror(err));
}

static void tell_self_soon(struct cv_document *d)
{
    cv_time now = cv_document_now(d);

    if (now - d->cursor_sent >= CV_DOCUMENT_CURSOR) {
        tell_self(d, now);
    } else if (d->cursor_due == CV_NEVER) {
        d->cursor_due = d->cursor_sent + CV_DOCUMENT_CURSOR;
    }
    cv_document_wake(d);
}

void cv_document_set_cursor(struct cv_document *d, unsigned n,
                            const struct cv_presence_range *ranges,
                            const char *mode)
{
    struct cv_presence_state state;

    memset(&state, 0, sizeof(state));
    state.colour = d->self.colour;
    memcpy(state.name, d->self.name, sizeof(state.name));
    for (unsigned i = 0; i < n && i < CV_PRESENCE_RANGES; i++) {
        struct cv_presence_position *p = &state.ranges[state.n_ranges];

        if (cv_relpos_from_offset(d->doc, ranges[i].anchor, 0, &p->anchor) ==
                CV_OK &&
            cv_relpos_from_offset(d->doc, ranges[i].head, 0, &p->head) == CV_OK)
            state.n_ranges++;
        else
            memset(p, 0, sizeof(*p));
    }
    if (mode && strlen(mode) < sizeof(state.mode))
        memcpy(state.mode, mode, strlen(mode) + 1);
    if (memcmp(&state, &d->self, sizeof(state)) == 0)
        return;
    d->self = state;
    tell_self_soon(d);
}

void cv_document_set_name(struct cv_document *d, const char *name)
{
    cv_text_clean(d->name, sizeof(d->name), name, strlen(name));
    tell_self_soon(d);
}

void cv_document_goodbye(struct cv_document *d)
{
    if (d->gone)
        return;
    d->gone = true;
    d->cursor_due = CV_NEVER;
    if (cv_awareness_set(d->awareness, CV_BYTES(NULL, 0), cv_document_now(d)) ==
        CV_OK)
        send_self(d);
}

int cv_people_greet(struct cv_document *d)
{
    int err = set_self(d);

    if (err == CV_OK)
        send_self(d);
    return err;
}

int cv_people_put_all(const struct cv_document *d, struct cv_writer *w)
{
    struct cv_writer all;
    int err;

    cv_writer_init_heap(&all, CV_DOCUMENT_OTHER_MAX);
    err = cv_awareness_encode(d->awareness, &all);
    if (err == CV_OK && all.len) {
        cv_put_varuint(w, CV_MESSAGE_AWARENESS);
        err = cv_put_varbytes(w, all.data, all.len);
    }
    cv_writer_fini(&all);
    return err;
}

/* ---- what the others tell ---- */

/* Copy an update without the entries that `from` has no say in: those of our
 * other neighbours, who tell us themselves. */
static int filter(const struct cv_document *d, struct cv_bytes update,
                  const struct cv_document_link *from, struct cv_writer *out)
{
    struct cv_writer kept;
    struct cv_reader r;
    uint64_t n, n_kept = 0;
    int err;

    cv_reader_init(&r, update.data, update.len);
    n = cv_get_varuint(&r);
    cv_writer_init_heap(&kept, CV_DOCUMENT_OTHER_MAX);
    for (uint64_t i = 0; i < n && r.err == CV_OK; i++) {
        const uint8_t *start = r.at;
        uint64_t client = cv_get_varuint(&r);
        const struct cv_document_link *owner = cv_links_owner(d, client);

        (void)cv_get_varuint(&r);
        (void)cv_get_varbytes(&r, CV_DOCUMENT_OTHER_MAX);
        if (r.err == CV_OK &&
            (!owner || owner->config.member == from->config.member)) {
            cv_put_raw(&kept, start, (size_t)(r.at - start));
            n_kept++;
        }
    }
    if (cv_reader_end(&r) != CV_OK) {
        cv_writer_fini(&kept);
        return CV_ERR_PEER;
    }
    cv_put_varuint(out, n_kept);
    err = cv_put_raw(out, kept.data, kept.len);
    if (kept.err != CV_OK)
        err = kept.err;
    cv_writer_fini(&kept);
    return err;
}

int cv_people_input(struct cv_document *d, struct cv_bytes body,
                    const struct cv_document_link *from)
{
    struct cv_writer update, news;
    struct cv_reader r;
    uint64_t before, after;
    int err;

    cv_reader_init(&r, body.data, body.len);
    body = cv_get_varbytes(&r, CV_DOCUMENT_OTHER_MAX);
    if (cv_reader_end(&r) != CV_OK)
        return CV_ERR_PEER;
    cv_writer_init_heap(&update, CV_DOCUMENT_OTHER_MAX);
    cv_writer_init_heap(&news, CV_DOCUMENT_OTHER_MAX);
    (void)cv_awareness_get(d->awareness, cv_doc_client(d->doc), &before);
    err = filter(d, body, from, &update);
    if (err == CV_OK)
        err = cv_awareness_apply(d->awareness, cv_writer_bytes(&update),
                                 cv_document_now(d), on_awareness, d, &news);
    (void)cv_awareness_get(d->awareness, cv_doc_client(d->doc), &after);
    if (err == CV_OK)
        send_update(d, cv_writer_bytes(&news), from);
    if (before != after)
        send_self(d); /* somebody had said that we are gone */
    cv_writer_fini(&update);
    cv_writer_fini(&news);
    cv_document_wake(d);
    switch (err) {
    case CV_OK:
        return CV_OK;
    case CV_ERR_FORMAT:
    case CV_ERR_PEER:
        return CV_ERR_PEER;
    case CV_ERR_LIMIT: /* a full house is nobody's fault */
        cv_debug(d->config.log, "people: too many or too large, dropped");
        return CV_OK;
    default:
        return err;
    }
}

void cv_people_left(struct cv_document *d, uint64_t client)
{
    struct cv_writer out;

    cv_writer_init_heap(&out, CV_DOCUMENT_OTHER_MAX);
    if (cv_awareness_remove(d->awareness, client, on_awareness, d, &out) ==
        CV_OK)
        send_update(d, cv_writer_bytes(&out), NULL);
    cv_writer_fini(&out);
    d->people_changed = true; /* the member is not connected any more */
}

/* ---- what our user sees ---- */

void cv_document_presence(const struct cv_document *d,
                          void (*fn)(void *user, const struct cv_presence *p),
                          void *user)
{
    for (size_t i = 0; i < d->n_people; i++) {
        const struct cv_person *person = &d->people[i];
        const struct cv_presence_state *s = &person->state;
        const struct cv_document_link *owner =
            cv_links_owner(d, person->client);
        struct cv_presence p;

        memset(&p, 0, sizeof(p));
        p.member = owner ? owner->config.member : 0;
        p.client = person->client;
        memcpy(p.name, s->name, sizeof(p.name));
        memcpy(p.mode, s->mode, sizeof(p.mode));
        p.colour = s->colour
                       ? s->colour
                       : 1 + (unsigned)(person->client % CV_PRESENCE_COLOURS);
        for (unsigned k = 0; k < s->n_ranges; k++) {
            struct cv_presence_range *range = &p.ranges[p.n_ranges];

            if (cv_relpos_to_offset(d->doc, &s->ranges[k].anchor,
                                    &range->anchor) == CV_OK &&
                cv_relpos_to_offset(d->doc, &s->ranges[k].head, &range->head) ==
                    CV_OK)
                p.n_ranges++;
        }
        fn(user, &p);
    }
}

/* Is a cursor where we have no text yet? */
static bool has_unresolved(const struct cv_document *d)
{
    size_t at;

    for (size_t i = 0; i < d->n_people; i++)
        for (unsigned k = 0; k < d->people[i].state.n_ranges; k++)
            if (cv_relpos_to_offset(d->doc, &d->people[i].state.ranges[k].head,
                                    &at) != CV_OK)
                return true;
    return false;
}

void cv_people_moved(struct cv_document *d)
{
    if (d->n_people == 0)
        return;
    if (d->unresolved)
        d->people_changed = true;
    if (d->moved_due == CV_NEVER)
        d->moved_due = d->people_told + CV_DOCUMENT_CURSOR;
    cv_document_wake(d);
}

void cv_people_notify(struct cv_document *d)
{
    cv_time now = cv_document_now(d);

    if (!d->people_changed && now < d->moved_due)
        return;
    d->people_changed = false;
    d->moved_due = CV_NEVER;
    d->people_told = now;
    d->unresolved = has_unresolved(d);
    if (d->events.presence)
        d->events.presence(d->user);
}

/* ---- making, timers ---- */

int cv_people_new(struct cv_document *d)
{
    int err;

    d->people = calloc(CV_PRESENCE_CLIENTS, sizeof(*d->people));
    if (!d->people)
        return CV_ERR_NOMEM;
    err = cv_awareness_new(&d->awareness, cv_doc_client(d->doc), &limits);
    if (err != CV_OK)
        return err;
    d->self.colour =
        d->config.identity
            ? cv_presence_colour(&d->config.identity->pub)
            : 1 + (unsigned)(cv_doc_client(d->doc) % CV_PRESENCE_COLOURS);
    d->cursor_sent = d->people_told = cv_document_now(d) - CV_DOCUMENT_CURSOR;
    memcpy(d->self.name, d->name, sizeof(d->self.name));
    return set_self(d);
}

void cv_people_free(struct cv_document *d)
{
    cv_awareness_free(d->awareness);
    free(d->people);
}

void cv_people_client_changed(struct cv_document *d)
{
    struct cv_awareness *fresh;
    struct cv_writer all;

    /* The old entry ends; those of the others move over. */
    if (cv_awareness_set(d->awareness, CV_BYTES(NULL, 0), cv_document_now(d)) ==
        CV_OK)
        send_self(d);
    if (cv_awareness_new(&fresh, cv_doc_client(d->doc), &limits) != CV_OK)
        return;
    cv_writer_init_heap(&all, CV_DOCUMENT_OTHER_MAX);
    if (cv_awareness_encode(d->awareness, &all) == CV_OK && all.len &&
        cv_awareness_apply(fresh, cv_writer_bytes(&all), cv_document_now(d),
                           NULL, NULL, NULL) != CV_OK)
        cv_debug(d->config.log, "people: start again");
    cv_writer_fini(&all);
    cv_awareness_free(d->awareness);
    d->awareness = fresh;
    tell_self(d, cv_document_now(d));
}

cv_time cv_people_deadline(const struct cv_document *d)
{
    return cv_time_min(cv_time_min(d->cursor_due, d->moved_due),
                       cv_awareness_deadline(d->awareness));
}

void cv_people_step(struct cv_document *d, cv_time now)
{
    struct cv_writer out;

    if (now >= d->cursor_due)
        tell_self(d, now);
    cv_writer_init_heap(&out, CV_DOCUMENT_OTHER_MAX);
    if (cv_awareness_step(d->awareness, now, on_awareness, d, &out) == CV_OK)
        send_update(d, cv_writer_bytes(&out), NULL);
    cv_writer_fini(&out);
}
