#include "session/session_struct.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FACT_USED CV_LITERAL("used") /* u64 unix milliseconds */

void cv_session_note_use(struct cv_session *s)
{
    struct cv_writer w;
    uint8_t value[8];

    cv_writer_init(&w, value, sizeof value);
    cv_put_u64(&w, cv_unix_now());
    cv_session_remember(s, CV_FACT_OTHER, FACT_USED, cv_writer_bytes(&w));
}

struct found_document {
    uint32_t id;
    struct cv_document_meta *meta;
};

static void on_document(void *user, struct cv_bytes key, struct cv_bytes value)
{
    struct found_document *d = user;
    struct cv_reader r;
    uint32_t id;

    cv_reader_init(&r, key.data, key.len);
    id = cv_get_u32(&r);
    if (cv_reader_end(&r) != CV_OK || d->id != 0)
        return;
    cv_reader_init(&r, value.data, value.len);
    cv_get_meta(&r, d->meta);
    if (r.err == CV_OK)
        d->id = id;
}

uint32_t cv_session_stored_document(const struct cv_journal *j,
                                    struct cv_document_meta *meta)
{
    struct found_document d = {.meta = meta};

    cv_journal_each(j, CV_FACT_DOCUMENT, on_document, &d);
    return d.id;
}

/* --- the list --- */

struct list {
    unsigned n;
    struct cv_stored at[CV_STORED_MAX];
};

/* When it was taken up last; 0: by a covim that did not note it. */
static cv_unix_ms when_used(const struct cv_journal *j)
{
    struct cv_bytes b = cv_journal_get(j, CV_FACT_OTHER, FACT_USED);
    struct cv_reader r;
    cv_unix_ms used;

    cv_reader_init(&r, b.data, b.len);
    used = cv_get_u64(&r);
    return cv_reader_end(&r) == CV_OK ? used : 0;
}

/* A place for one more, instead of the oldest if there are too many. */
static struct cv_stored *place_for(struct list *l, cv_unix_ms used)
{
    struct cv_stored *oldest = &l->at[0];

    if (l->n < CV_STORED_MAX)
        return &l->at[l->n++];
    for (unsigned i = 1; i < l->n; i++)
        if (l->at[i].used < oldest->used)
            oldest = &l->at[i];
    return oldest->used < used ? oldest : NULL;
}

static void on_scan(void *user, const struct cv_journal *j)
{
    const struct cv_bytes none = CV_BYTES("", 0);
    struct list *l = user;
    struct cv_bytes b = cv_journal_get(j, CV_FACT_SESSION, none);
    cv_unix_ms used = when_used(j);
    struct cv_document_meta meta;
    struct cv_grants grants;
    struct cv_stored *s;
    struct cv_reader r;

    if (b.len != CV_KEY_LEN || cv_session_stored_document(j, &meta) == 0 ||
        cv_journal_get(j, CV_FACT_OTHER, CV_SESSION_FACT_TEXT).len == 0)
        return;
    s = place_for(l, used);
    if (s == NULL)
        return;
    memcpy(s->session.b, b.data, CV_KEY_LEN);
    memcpy(s->path, meta.path, sizeof s->path);
    b = cv_journal_get(j, CV_FACT_GRANTS, none);
    cv_reader_init(&r, b.data, b.len);
    grants = cv_get_grants(&r);
    s->role = cv_grants_role(&grants);
    s->mine = cv_journal_get(j, CV_FACT_SECRET, none).len > 0;
    s->used = used;
}

static int newest_first(const void *a, const void *b)
{
    const struct cv_stored *x = a, *y = b;

    return x->used != y->used ? (x->used < y->used) - (x->used > y->used)
                              : cv_key_compare(&x->session, &y->session);
}

void cv_node_stored(struct cv_node *node,
                    void (*fn)(void *user, const struct cv_stored *stored),
                    void *user)
{
    char dir[sizeof node->data_dir + 16];
    struct list *l = calloc(1, sizeof *l);

    if (l == NULL)
        return;
    (void)snprintf(dir, sizeof dir, "%s/sessions", node->data_dir);
    cv_journal_scan(dir, on_scan, l);
    qsort(l->at, l->n, sizeof l->at[0], newest_first);
    for (unsigned i = 0; i < l->n; i++)
        fn(user, &l->at[i]);
    free(l);
}
