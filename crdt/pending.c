#include "crdt/pending.h"

#include "crdt/run.h"
#include <stdlib.h>

struct cv_wait_node *cv_pending_first(const struct cv_doc *doc, uint32_t client)
{
    struct cv_wait_node *n;

    if (doc->clients[client].waiting_structs == 0)
        return NULL;
    n = cv_wait_from(&doc->waiting.structs, client, 0, 0);
    return n != NULL && n->key[0] == client ? n : NULL;
}

void cv_pending_take(struct cv_doc *doc, struct cv_wait_node *node)
{
    cv_wait_take(&doc->waiting.structs, node);
    doc->waiting.bytes -= node->bytes;
    doc->clients[node->key[0]].waiting_structs--;
}

void cv_pending_return(struct cv_doc *doc, struct cv_wait_node *node)
{
    cv_wait_insert(&doc->waiting.structs, node);
    doc->waiting.bytes += node->bytes;
    doc->clients[node->key[0]].waiting_structs++;
}

/* The last one of those with that client and clock; they grow in length. */
static struct cv_wait_node *last_at(const struct cv_doc *doc, uint32_t client,
                                    uint32_t clock)
{
    struct cv_wait_node *n =
        cv_wait_upto(&doc->waiting.structs, client, clock, UINT32_MAX);

    return n != NULL && n->key[0] == client && n->key[1] == clock ? n : NULL;
}

bool cv_pending_has(const struct cv_doc *doc, const struct cv_struct *s)
{
    const struct cv_wait_node *n = last_at(doc, s->client, s->clock);

    return n != NULL && n->len >= s->len;
}

size_t cv_pending_size(const struct cv_struct *s)
{
    return sizeof(struct cv_pending) + cv_struct_root_len(s) + s->key_len +
           s->content_len;
}

static uint32_t copy_part(struct cv_pending *p, uint32_t *len,
                          const uint8_t *base, uint32_t off, uint32_t n)
{
    uint32_t at = *len;

    if (n > 0)
        memcpy(p->bytes + at, base + off, n);
    *len += n;
    return at;
}

int cv_pending_add(struct cv_doc *doc, const struct cv_struct *s,
                   const uint8_t *base)
{
    const struct cv_wait_node *twin = last_at(doc, s->client, s->clock);
    size_t size = cv_pending_size(s);
    struct cv_pending *p = malloc(size);
    struct cv_wait_node *n =
        cv_wait_node_new(&doc->waiting.seed, s->client, s->clock,
                         twin == NULL ? 0 : twin->key[2] + 1);
    uint32_t len = 0;

    if (p == NULL || n == NULL) {
        free(p);
        cv_wait_node_free(n);
        return CV_ERR_NOMEM;
    }
    p->s = *s;
    if (s->parent == CV_PARENT_ROOT)
        p->s.name = copy_part(p, &len, base, s->name, s->name_len);
    p->s.key = copy_part(p, &len, base, s->key, s->key_len);
    p->s.content = copy_part(p, &len, base, s->content, s->content_len);
    n->data = p;
    n->bytes = size;
    n->len = s->len;
    cv_pending_return(doc, n);
    return CV_OK;
}

/* ---- who is blocked by whom ---- */

uint32_t cv_pending_unblock(struct cv_doc *doc, uint32_t on, uint32_t state)
{
    struct cv_wait_node *n = cv_wait_from(&doc->waiting.blocked, on, 0, 0);
    uint32_t client;

    if (n == NULL || n->key[0] != on || n->key[1] >= state)
        return CV_NONE;
    client = n->key[2];
    doc->clients[client].blocked_on = CV_NONE;
    cv_wait_take(&doc->waiting.blocked, n);
    cv_wait_node_free(n);
    return client;
}

void cv_pending_recheck(struct cv_doc *doc, uint32_t client)
{
    struct cv_client *c = &doc->clients[client];
    struct cv_wait_node *n = NULL, *first;
    const struct cv_struct *s;

    if (c->blocked_on != CV_NONE) {
        n = cv_wait_from(&doc->waiting.blocked, c->blocked_on, c->blocked_clock,
                         client);
        cv_wait_take(&doc->waiting.blocked, n);
        c->blocked_on = CV_NONE;
    }
    first = cv_pending_first(doc, client);
    if (first != NULL) {
        s = &((struct cv_pending *)first->data)->s;
        for (unsigned i = 0; i < 3; i++) {
            uint32_t on, clock;

            if (!cv_struct_needs(s, &on, &clock, i) ||
                doc->clients[on].next > clock)
                continue;
            if (n == NULL)
                n = cv_wait_node_new(&doc->waiting.seed, 0, 0, 0);
            if (n == NULL) {
                doc->unsettled = true;
                return;
            }
            n->key[0] = c->blocked_on = on;
            n->key[1] = c->blocked_clock = clock;
            n->key[2] = client;
            cv_wait_insert(&doc->waiting.blocked, n);
            return;
        }
    }
    cv_wait_node_free(n);
}

/* ---- delete ranges ---- */

bool cv_pending_has_range(const struct cv_doc *doc, uint32_t client,
                          uint32_t clock, uint32_t len)
{
    const struct cv_wait_node *n =
        cv_wait_upto(&doc->waiting.ranges, client, clock, UINT32_MAX);

    return n != NULL && n->key[0] == client &&
           n->key[1] + n->len >= clock + len;
}

int cv_pending_range(struct cv_doc *doc, uint32_t client, uint32_t clock,
                     uint32_t len)
{
    struct cv_wait_set *set = &doc->waiting.ranges;
    uint32_t end = clock + len;
    struct cv_wait_node *n = cv_wait_upto(set, client, clock, UINT32_MAX);
    struct cv_wait_node *fresh =
        cv_wait_node_new(&doc->waiting.seed, client, 0, 0);

    if (fresh == NULL)
        return CV_ERR_NOMEM;
    if (n == NULL || n->key[0] != client || n->key[1] + n->len < clock)
        n = cv_wait_from(set, client, clock, 0);
    while (n != NULL && n->key[0] == client && n->key[1] <= end) {
        if (n->key[1] < clock)
            clock = n->key[1];
        if (n->key[1] + n->len > end)
            end = n->key[1] + n->len;
        cv_wait_take(set, n);
        cv_wait_node_free(n);
        doc->clients[client].waiting_ranges--;
        n = cv_wait_from(set, client, clock, 0);
    }
    fresh->key[1] = clock;
    fresh->len = end - clock;
    cv_wait_insert(set, fresh);
    doc->clients[client].waiting_ranges++;
    return CV_OK;
}

int cv_pending_delete(struct cv_doc *doc, uint32_t client)
{
    struct cv_client *c = &doc->clients[client];

    while (c->waiting_ranges > 0) {
        struct cv_wait_node *n =
            cv_wait_from(&doc->waiting.ranges, client, 0, 0);
        uint32_t end = n->key[1] + n->len, known;
        int err;

        if (n->key[1] >= c->next)
            return CV_OK;
        known = end < c->next ? end : c->next;
        err = cv_run_delete_range(doc, client, n->key[1], known - n->key[1]);
        if (err != CV_OK)
            return err;
        cv_wait_take(&doc->waiting.ranges, n);
        if (known == end) {
            cv_wait_node_free(n);
            c->waiting_ranges--;
            continue;
        }
        n->key[1] = known;
        n->len = end - known;
        cv_wait_insert(&doc->waiting.ranges, n);
    }
    return CV_OK;
}

void cv_pending_fini(struct cv_doc *doc)
{
    cv_wait_clear(&doc->waiting.structs);
    cv_wait_clear(&doc->waiting.ranges);
    cv_wait_clear(&doc->waiting.blocked);
}
