/* The mailbox between the threads of the library and the loop. */
#include "discovery/dht_struct.h"

#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX 512u /* values waiting for the loop; more are dropped */

struct message {
    struct message *next;
    enum message_kind kind;
    struct call *call;
    bool ok;
    size_t len;
    uint8_t data[];
};

static void drain(void *user);

struct mailbox *cv_dht_box_new(struct cv_loop *loop, struct dht *dht)
{
    struct mailbox *box = calloc(1, sizeof(*box));

    if (box == NULL)
        return NULL;
    pthread_mutex_init(&box->lock, NULL);
    box->last = &box->first;
    box->loop = loop;
    box->dht = dht;
    box->refs = 1;
    return box;
}

/* With the lock held; releases it, and the box with its last reference. */
static void unref_unlock(struct mailbox *box)
{
    const bool last = --box->refs == 0;

    pthread_mutex_unlock(&box->lock);
    if (!last)
        return;
    while (box->first != NULL) {
        struct message *m = box->first;

        box->first = m->next;
        free(m);
    }
    pthread_mutex_destroy(&box->lock);
    free(box);
}

/* With the lock held: let the loop empty it. */
static void post(struct mailbox *box)
{
    if (!box->posted && cv_loop_post(box->loop, drain, box) == CV_OK) {
        box->posted = true;
        box->refs++;
    }
}

void cv_dht_box_hold(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    box->refs++;
    if (box->first != NULL)
        post(box);
    pthread_mutex_unlock(&box->lock);
}

void cv_dht_box_leave(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    unref_unlock(box);
}

void cv_dht_box_close(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    box->dht = NULL;
    unref_unlock(box);
}

void cv_dht_box_put(struct mailbox *box, struct call *call,
                    enum message_kind kind, bool ok, struct cv_bytes data)
{
    struct message *m;

    if (kind == VALUE && box->n >= QUEUE_MAX)
        return;
    m = malloc(sizeof(*m) + data.len);
    if (m == NULL)
        return;
    *m =
        (struct message){.kind = kind, .call = call, .ok = ok, .len = data.len};
    if (data.len > 0)
        memcpy(m->data, data.data, data.len);
    *box->last = m;
    box->last = &m->next;
    box->n += kind == VALUE;
    post(box);
}

/* --- the loop's side ------------------------------------------------------ */

static void on_done_message(struct dht *d, struct call *c, bool ok)
{
    c->finished_at = cv_loop_now(d->loop);
    switch (c->kind) {
    case PROBE:
        cv_dht_probe_done(d, c, ok);
        return;
    case PING:
        cv_dht_ping_done(d, c, ok);
        return;
    case GET:
    case PUT:
    case LISTEN:
        cv_dht_want_done(d, c, ok);
        return;
    }
}

static void on_message(struct dht *d, const struct message *m)
{
    switch (m->kind) {
    case VALUE:
        cv_dht_want_value(d, m->call, CV_BYTES(m->data, m->len));
        return;
    case DONE:
        on_done_message(d, m->call, m->ok);
        return;
    case ENDED:
        m->call->finished_at = cv_loop_now(d->loop);
        return;
    case SWAPPED:
        cv_dht_swap_end(d);
        return;
    }
}

static void drain(void *user)
{
    struct mailbox *box = user;
    struct message *list;

    pthread_mutex_lock(&box->lock);
    box->posted = false; /* its reference is now ours */
    list = box->first;
    box->first = NULL;
    box->last = &box->first;
    box->n = 0;
    pthread_mutex_unlock(&box->lock);
    while (list != NULL) {
        struct message *m = list;

        list = m->next;
        if (box->dht != NULL)
            on_message(box->dht, m);
        free(m);
    }
    if (box->dht != NULL)
        cv_dht_tell(box->dht);
    cv_dht_box_leave(box);
}
