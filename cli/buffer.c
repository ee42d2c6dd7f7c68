#include "cli/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "cli/mirror.h"
#include "cli/wholetext.h"
#include "session/textdiff.h"

/* Where everybody is who may be here, in JSON: twice what that can take. */
#define PRESENCE_MAX (128u * 1024u)

/* A change of the editor, and the commit of the document that holds it. */
struct unshared {
    uint64_t erev;
    uint64_t seq;
};

struct cv_buffer {
    struct cv_rpc *rpc;
    struct cv_log *log;
    struct cv_document *document;
    struct cv_mirror *mirror;
    uint64_t number;
    uint64_t epoch;
    bool in_transaction;
    const char *kind; /* of the edits that the editor is sent */
    uint64_t alone;   /* changes without a group, so far */
    bool lost; /* the mirror missed a change; resync when the batch ends */
    unsigned changes;                /* of the text in this batch */
    uint64_t seq;                    /* of the last commit */
    uint64_t kept, shared;           /* commits, as the document said */
    uint64_t kept_erev, shared_erev; /* changes, as the editor was told */
    struct unshared *queue;          /* changes not yet shared, in order */
    size_t first, n, cap;
    struct cv_writer presence; /* the others, as the editor was told… */
    uint64_t presence_epoch;   /* …in this epoch */
};

/* --- lines of messages --- */

int cv_buffer_text(const struct cv_json *params, struct cv_writer *out)
{
    const struct cv_json *lines = cv_json_get(params, "lines");
    size_t n = cv_json_count(lines);
    bool eol = true;

    cv_json_get_bool(params, "eol", &eol);
    if (!n)
        return CV_ERR_FORMAT;
    for (size_t i = 0; i < n; i++) {
        struct cv_bytes line;

        if (!cv_json_string(cv_json_at(lines, i), &line) ||
            memchr(line.data, '\n', line.len) ||
            memchr(line.data, '\0', line.len) ||
            !cv_utf8_valid(line.data, line.len))
            return CV_ERR_FORMAT;
        if (n == 1 && !line.len)
            break;
        cv_put_raw(out, line.data, line.len);
        if (i + 1 < n || eol)
            cv_put_u8(out, '\n');
        if (out->len > CV_DOCUMENT_MAX)
            return CV_ERR_LIMIT;
    }
    return out->err;
}

void cv_buffer_meta(const struct cv_json *params, struct cv_document_meta *meta)
{
    memset(meta, 0, sizeof(*meta));
    cv_json_copy(params, "path", meta->path, sizeof(meta->path));
    cv_json_copy(params, "ft", meta->ft, sizeof(meta->ft));
    cv_json_copy(params, "ff", meta->ff, sizeof(meta->ff));
    cv_json_copy(params, "fenc", meta->fenc, sizeof(meta->fenc));
    cv_json_get_bool(params, "bomb", &meta->bomb);
}

void cv_buffer_put_lines(struct cv_json_out *o, struct cv_bytes text)
{
    bool eol = !text.len || text.data[text.len - 1] == '\n';
    size_t at = 0;

    cv_json_begin(o, "lines", '[');
    do {
        const uint8_t *end =
            text.len > at ? memchr(text.data + at, '\n', text.len - at) : NULL;
        size_t len = end ? (size_t)(end - text.data) - at : text.len - at;

        cv_json_put_string(o, NULL, CV_BYTES(text.data + at, len));
        at += len + 1;
    } while (at < text.len);
    cv_json_end(o, ']');
    cv_json_put_bool(o, "eol", eol);
}

/* --- the mirror's events --- */

static int on_splice(void *user, size_t at, size_t deleted,
                     struct cv_bytes inserted)
{
    struct cv_buffer *b = user;
    int err = CV_OK;

    if (!b->in_transaction) {
        err = cv_document_begin(b->document);
        if (err != CV_OK)
            return err;
        b->in_transaction = true;
    }
    if (deleted)
        err = cv_document_delete(b->document, at, deleted);
    if (err == CV_OK && inserted.len)
        err = cv_document_insert(b->document, at, inserted.data, inserted.len);
    return err;
}

static void begin_about(struct cv_buffer *b, struct cv_json_out *o)
{
    cv_json_put_uint(o, "doc", b->number);
    cv_json_put_uint(o, "epoch", b->epoch);
}

static void on_edit(void *user, const struct cv_mirror_edit *edit)
{
    struct cv_buffer *b = user;
    struct cv_json_out *o = cv_rpc_notify(b->rpc, "edit");

    begin_about(b, o);
    cv_json_put_uint(o, "erev", edit->erev);
    cv_json_begin(o, "range", '[');
    cv_json_put_uint(o, NULL, edit->range.line);
    cv_json_put_uint(o, NULL, edit->range.column);
    cv_json_put_uint(o, NULL, edit->range.end_line);
    cv_json_put_uint(o, NULL, edit->range.end_column);
    cv_json_end(o, ']');
    cv_json_put_string(o, "text", edit->text);
    cv_json_put_uint(o, "peer", 0);
    cv_json_put_text(o, "kind", b->kind);
    if (edit->joined)
        cv_json_put_bool(o, "joined", true);
    cv_rpc_send(b->rpc);
}

static void on_eol(void *user, bool eol)
{
    struct cv_buffer *b = user;
    struct cv_json_out *o = cv_rpc_notify(b->rpc, "eol");

    begin_about(b, o);
    cv_json_put_bool(o, "eol", eol);
    cv_rpc_send(b->rpc);
}

static const struct cv_mirror_events mirror_events = {on_splice, on_edit,
                                                      on_eol};

/* --- the document's events --- */

/* More changes in one go than this come to the editor as one. */
#define BATCH_EDITS 200u

static void on_text(void *user, const struct cv_text_change *change)
{
    struct cv_buffer *b = user;

    if (++b->changes > BATCH_EDITS)
        return;
    if (!b->lost && cv_mirror_remote(b->mirror, change->at, change->deleted,
                                     CV_BYTES(change->inserted,
                                              change->inserted_len)) != CV_OK)
        b->lost = true;
}

/* What was not told one by one. */
static int tell_rest(struct cv_buffer *b)
{
    struct cv_writer text;
    int err = cv_wholetext_read(b->document, &text);

    if (err == CV_OK)
        err = cv_mirror_join(b->mirror, cv_writer_bytes(&text));
    cv_writer_fini(&text);
    return err;
}

static void on_text_done(void *user)
{
    struct cv_buffer *b = user;

    if (b->changes > BATCH_EDITS && !b->lost)
        b->lost = tell_rest(b) != CV_OK;
    b->changes = 0;
    if (b->lost)
        cv_buffer_resync(b, "too much changed while the editor was busy");
}

/* Tell the editor which of its changes are safe, if that is news. */
static void tell_kept(struct cv_buffer *b)
{
    uint64_t kept = b->kept_erev, shared = b->shared_erev;
    struct cv_json_out *o;

    for (size_t i = b->n; i-- > 0;) { /* the newest is most likely kept */
        const struct unshared *u = &b->queue[b->first + i];

        if (u->seq <= b->kept) {
            kept = u->erev > kept ? u->erev : kept;
            break;
        }
    }
    while (b->n && b->queue[b->first].seq <= b->shared) {
        shared = b->queue[b->first++].erev;
        b->n--;
    }
    if (!b->n)
        b->first = 0;
    if (kept == b->kept_erev && shared == b->shared_erev)
        return;
    b->kept_erev = kept;
    b->shared_erev = shared;
    o = cv_rpc_notify(b->rpc, "kept");
    begin_about(b, o);
    cv_json_put_uint(o, "erev", kept);
    cv_json_put_uint(o, "shared", shared);
    cv_rpc_send(b->rpc);
}

static void on_kept(void *user, uint64_t kept, uint64_t shared)
{
    struct cv_buffer *b = user;

    b->kept = kept;
    b->shared = shared;
    tell_kept(b);
}

struct presence_out {
    struct cv_buffer *b;
    struct cv_json_out *o;
};

static void put_place(struct presence_out *p, size_t at)
{
    size_t line, column;

    cv_mirror_place(p->b->mirror, at, &line, &column);
    cv_json_put_uint(p->o, NULL, line);
    cv_json_put_uint(p->o, NULL, column);
}

static void put_presence(void *user, const struct cv_presence *who)
{
    struct presence_out *p = user;

    cv_json_begin(p->o, NULL, '{');
    cv_json_put_uint(p->o, "peer", who->member);
    cv_json_put_text(p->o, "name", who->name);
    cv_json_put_uint(p->o, "colour", who->colour);
    cv_json_put_text(p->o, "mode", who->mode);
    cv_json_begin(p->o, "ranges", '[');
    for (unsigned i = 0; i < who->n_ranges; i++) {
        cv_json_begin(p->o, NULL, '[');
        put_place(p, who->ranges[i].anchor);
        put_place(p, who->ranges[i].head);
        cv_json_end(p->o, ']');
    }
    cv_json_end(p->o, ']');
    cv_json_end(p->o, '}');
}

/* Note where the others are, as the editor is to read it.  False: it was told
 * that already. */
static bool note_presence(struct cv_buffer *b)
{
    struct cv_writer now;
    struct cv_json_out o;
    struct presence_out p = {b, &o};

    cv_writer_init_heap(&now, PRESENCE_MAX);
    cv_json_out_init(&o, &now);
    cv_document_presence(b->document, put_presence, &p);
    if (now.err != CV_OK ||
        (b->presence_epoch == b->epoch && now.len == b->presence.len &&
         (now.len == 0 || memcmp(now.data, b->presence.data, now.len) == 0))) {
        cv_writer_fini(&now);
        return false;
    }
    cv_writer_fini(&b->presence);
    b->presence = now;
    b->presence_epoch = b->epoch;
    return true;
}

static void on_presence(void *user)
{
    struct cv_buffer *b = user;
    struct cv_json_out *o;

    if (!note_presence(b))
        return;
    o = cv_rpc_notify(b->rpc, "presence");
    begin_about(b, o);
    cv_json_put_uint(o, "erev", cv_mirror_erev(b->mirror));
    cv_json_begin(o, "peers", '[');
    cv_put_raw(o->w, b->presence.data, b->presence.len);
    cv_json_end(o, ']');
    cv_rpc_send(b->rpc);
}

static const struct cv_document_events document_events = {on_text, on_text_done,
                                                          on_kept, on_presence};

/* --- life --- */

static int new_mirror(struct cv_buffer *b, bool eol)
{
    struct cv_writer text;
    struct cv_mirror *mirror = NULL;
    int err = cv_wholetext_read(b->document, &text);

    if (err == CV_OK)
        err = cv_mirror_new(&mirror, cv_writer_bytes(&text), eol,
                            &mirror_events, b);
    cv_writer_fini(&text);
    if (err != CV_OK)
        return err;
    cv_mirror_free(b->mirror);
    b->mirror = mirror;
    return CV_OK;
}

int cv_buffer_new(struct cv_buffer **out, struct cv_rpc *rpc,
                  struct cv_log *log, struct cv_document *d, uint64_t number,
                  uint64_t epoch, bool eol)
{
    struct cv_buffer *b = calloc(1, sizeof(*b));
    int err;

    if (!b)
        return CV_ERR_NOMEM;
    b->rpc = rpc;
    b->log = log;
    b->document = d;
    b->number = number;
    b->epoch = epoch;
    b->kind = "remote";
    err = new_mirror(b, eol);
    if (err != CV_OK) {
        free(b);
        return err;
    }
    cv_document_set_events(d, &document_events, b);
    *out = b;
    return CV_OK;
}

void cv_buffer_free(struct cv_buffer *b)
{
    static const struct cv_document_events none;

    if (!b)
        return;
    if (b->document)
        cv_document_set_events(b->document, &none, NULL);
    cv_mirror_free(b->mirror);
    cv_writer_fini(&b->presence);
    free(b->queue);
    free(b);
}

uint64_t cv_buffer_number(const struct cv_buffer *b)
{
    return b->number;
}

uint64_t cv_buffer_epoch(const struct cv_buffer *b)
{
    return b->epoch;
}

struct cv_document *cv_buffer_document(const struct cv_buffer *b)
{
    return b->document;
}

uint64_t cv_buffer_erev(const struct cv_buffer *b)
{
    return cv_mirror_erev(b->mirror);
}

bool cv_buffer_is_current(const struct cv_buffer *b,
                          const struct cv_json *params)
{
    uint64_t epoch;

    return cv_json_get_uint(params, "epoch", &epoch) && epoch == b->epoch;
}

uint64_t cv_buffer_unsynced(const struct cv_buffer *b)
{
    return cv_mirror_erev(b->mirror) - b->shared_erev;
}

struct taker {
    struct cv_document *d;
    size_t inserted, deleted; /* by the splices so far */
    int err;
};

static void take_splice(void *user, size_t at, size_t deleted,
                        struct cv_bytes inserted)
{
    struct taker *t = user;
    size_t now = at + t->inserted - t->deleted;

    if (t->err == CV_OK && deleted)
        t->err = cv_document_delete(t->d, now, deleted);
    if (t->err == CV_OK && inserted.len)
        t->err = cv_document_insert(t->d, now, inserted.data, inserted.len);
    t->inserted += inserted.len;
    t->deleted += deleted;
}

int cv_buffer_take(struct cv_document *d, struct cv_bytes text)
{
    struct taker t = {.d = d};
    struct cv_writer old;
    uint64_t seq;
    int err = cv_wholetext_read(d, &old);

    if (err == CV_OK && !cv_bytes_equal(cv_writer_bytes(&old), text)) {
        err = cv_document_begin(d);
        if (err == CV_OK) {
            err = cv_textdiff(cv_writer_bytes(&old), text, take_splice, &t);
            if (err == CV_OK)
                err = t.err;
            if (err == CV_OK)
                err = cv_document_commit(d, &seq);
            else
                (void)!cv_document_commit(d, &seq);
        }
    }
    cv_writer_fini(&old);
    return err;
}

void cv_buffer_resync(struct cv_buffer *b, const char *reason)
{
    struct cv_json_out *o;

    b->epoch++;
    if (new_mirror(b, true) != CV_OK) {
        cv_error(b->log, "buffer: no memory for a resync");
        return;
    }
    b->lost = false;
    b->kept_erev = b->shared_erev = 0;
    b->n = b->first = 0;
    cv_warn(b->log, "buffer: resync, doc=%llu reason=%s",
            (unsigned long long)b->number, reason);
    o = cv_rpc_notify(b->rpc, "resync");
    begin_about(b, o);
    cv_buffer_put_lines(o, cv_mirror_text(b->mirror));
    cv_json_put_text(o, "reason", reason);
    cv_rpc_send(b->rpc);
}

/* --- messages of the editor --- */

/* Fill `c`; its lines are to be freed. */
static int read_change(const struct cv_json *params, struct cv_mirror_change *c)
{
    const struct cv_json *lines = cv_json_get(params, "lines");
    const struct cv_json *cursor = cv_json_get(params, "cursor");
    uint64_t lo, tail, line, column;
    struct cv_bytes *list;

    memset(c, 0, sizeof(*c));
    if (!lines || !cv_json_get_uint(params, "rev", &c->rev) ||
        !cv_json_get_uint(params, "lo", &lo) ||
        !cv_json_get_uint(params, "tail", &tail))
        return CV_ERR_INVALID;
    c->lo = lo;
    c->tail = tail;
    c->n_lines = cv_json_count(lines);
    c->has_eol = cv_json_get_bool(params, "eol", &c->eol);
    if (cv_json_uint(cv_json_at(cursor, 0), &line) &&
        cv_json_uint(cv_json_at(cursor, 1), &column)) {
        c->has_cursor = true;
        c->cursor_line = line;
        c->cursor_column = column;
    }
    list = calloc(c->n_lines + 1, sizeof(*list));
    if (!list)
        return CV_ERR_NOMEM;
    c->lines = list;
    for (size_t i = 0; i < c->n_lines; i++)
        if (!cv_json_string(cv_json_at(lines, i), &list[i])) {
            free(list);
            c->lines = NULL;
            return CV_ERR_INVALID;
        }
    return CV_OK;
}

static int remember_change(struct cv_buffer *b)
{
    if (b->n == CV_BUFFER_UNSHARED_MAX) { /* all of them share one fate */
        b->queue[b->first + b->n - 1] =
            (struct unshared){cv_mirror_erev(b->mirror), b->seq};
        return CV_OK;
    }
    if (b->first + b->n == b->cap && b->first) {
        memmove(b->queue, b->queue + b->first, b->n * sizeof(*b->queue));
        b->first = 0;
    } else if (b->n == b->cap) {
        size_t cap = b->cap ? 2 * b->cap : 64;
        struct unshared *grown = realloc(b->queue, cap * sizeof(*grown));

        if (!grown)
            return CV_ERR_NOMEM;
        b->queue = grown;
        b->cap = cap;
    }
    b->queue[b->first + b->n++] =
        (struct unshared){cv_mirror_erev(b->mirror), b->seq};
    return CV_OK;
}

static void tell_problem(struct cv_buffer *b, const char *text, const char *tag)
{
    struct cv_json_out *o = cv_rpc_notify(b->rpc, "notice");

    cv_json_put_text(o, "level", "error");
    cv_json_put_text(o, "text", text);
    cv_json_put_text(o, "tag", tag);
    cv_rpc_send(b->rpc);
}

/* Groups of the document above this are changes that have none. */
#define ALONE (UINT64_C(1) << 63)

static void set_group(struct cv_buffer *b, const struct cv_json *params)
{
    uint64_t group;

    if (!cv_json_get_uint(params, "group", &group) || group >= ALONE)
        group = ALONE | ++b->alone;
    cv_document_set_group(b->document, group);
}

void cv_buffer_change(struct cv_buffer *b, const struct cv_json *params)
{
    struct cv_mirror_change c;
    uint64_t seq;
    int err, committed = CV_OK;

    if (!cv_buffer_is_current(b, params))
        return;
    set_group(b, params);
    err = read_change(params, &c);
    if (err == CV_OK)
        err = cv_mirror_change(b->mirror, &c);
    free((void *)(uintptr_t)c.lines);
    if (b->in_transaction) {
        b->in_transaction = false;
        committed = cv_document_commit(b->document, &seq);
        if (committed == CV_OK || committed == CV_ERR_IO)
            b->seq = seq;
    }
    if (committed != CV_OK && committed != CV_ERR_IO && err == CV_OK)
        err = committed;
    if (err == CV_OK)
        err = remember_change(b);
    if (err == CV_OK) {
        tell_kept(b);
        return;
    }
    if (err == CV_ERR_FORMAT)
        tell_problem(b,
                     "This text has a NUL or is not UTF-8; it cannot be "
                     "shared. Your text was kept in a scratch buffer.",
                     "bad-text");
    cv_buffer_resync(
        b, err == CV_ERR_DENIED   ? "you may read this text, not change it"
           : err == CV_ERR_FORMAT ? "that text cannot be shared"
           : err == CV_ERR_LIMIT  ? "the text would grow beyond 64 MiB"
                                 : "editor and agent disagreed about the text");
}

int cv_buffer_undo(struct cv_buffer *b, const struct cv_json *params,
                   enum cv_undo_way way, struct cv_buffer_undone *out)
{
    struct cv_undone last = {0, 0};
    uint64_t count = 1, seq;
    int err = CV_OK;

    memset(out, 0, sizeof(*out));
    if (!cv_buffer_is_current(b, params))
        return CV_ERR_INVALID;
    cv_json_get_uint(params, "count", &count);
    b->kind = way == CV_UNDO_BACK ? "undo" : "redo";
    while (out->count < count) {
        struct cv_undone one;

        err = cv_document_undo(b->document, way, &one, &seq);
        if (err != CV_OK && err != CV_ERR_IO)
            break;
        b->seq = seq;
        last = one;
        out->count++;
    }
    b->kind = "remote";
    cv_mirror_place(b->mirror, last.at, &out->line, &out->column);
    out->group = last.group;
    out->grouped = out->count && last.group < ALONE;
    return err == CV_ERR_NOTFOUND || err == CV_ERR_IO ? CV_OK : err;
}

int cv_buffer_revert(struct cv_buffer *b, const struct cv_key *who, bool dry,
                     struct cv_reverted *out, size_t *line, size_t *column)
{
    uint64_t seq;
    int err;

    b->kind = "undo";
    err = cv_document_revert(b->document, who, dry ? 0 : ALONE | ++b->alone,
                             dry, out, &seq);
    b->kind = "remote";
    if (!dry && (err == CV_OK || err == CV_ERR_IO))
        b->seq = seq;
    cv_mirror_place(b->mirror, out->at, line, column);
    return err == CV_ERR_IO ? CV_OK : err;
}

void cv_buffer_ack(struct cv_buffer *b, const struct cv_json *params)
{
    uint64_t rev;

    if (!cv_buffer_is_current(b, params) ||
        !cv_json_get_uint(params, "rev", &rev))
        return;
    if (cv_mirror_ack(b->mirror, rev) != CV_OK)
        cv_buffer_resync(b, "editor and agent disagreed about the text");
}

void cv_buffer_cursor(struct cv_buffer *b, const struct cv_json *params)
{
    const struct cv_json *list = cv_json_get(params, "ranges");
    struct cv_presence_range ranges[CV_PRESENCE_RANGES];
    unsigned n = 0;
    uint64_t rev;
    char mode[8];

    if (!cv_buffer_is_current(b, params) ||
        !cv_json_get_uint(params, "rev", &rev))
        return;
    cv_json_copy(params, "mode", mode, sizeof(mode));
    for (size_t i = 0; i < cv_json_count(list) && n < CV_PRESENCE_RANGES; i++) {
        const struct cv_json *r = cv_json_at(list, i);
        uint64_t v[4];

        for (size_t k = 0; k < 4; k++)
            if (!cv_json_uint(cv_json_at(r, k), &v[k]))
                return;
        if (cv_mirror_offset(b->mirror, rev, v[0], v[1], &ranges[n].anchor) !=
                CV_OK ||
            cv_mirror_offset(b->mirror, rev, v[2], v[3], &ranges[n].head) !=
                CV_OK)
            return;
        n++;
    }
    cv_document_set_cursor(b->document, n, ranges, mode);
}

void cv_buffer_verify(struct cv_buffer *b, const struct cv_json *params)
{
    struct cv_bytes text = cv_mirror_text(b->mirror), wanted;
    uint8_t hash[CV_HASH_LEN];
    char hex[2 * CV_HASH_LEN + 1];
    uint64_t rev, erev;

    if (!cv_buffer_is_current(b, params) ||
        !cv_json_get_uint(params, "rev", &rev) ||
        !cv_json_get_uint(params, "erev", &erev) ||
        !cv_json_get_string(params, "sha256", &wanted))
        return;
    /* What is on its way will differ; the next one will tell. */
    if (cv_mirror_ack(b->mirror, rev) != CV_OK ||
        !cv_mirror_in_step(b->mirror) || erev != cv_mirror_erev(b->mirror))
        return;
    if (text.len && text.data[text.len - 1] == '\n')
        text.len--;
    cv_sha256(hash, &text, 1);
    cv_hex(hex, hash, sizeof(hash));
    if (wanted.len != strlen(hex) || memcmp(wanted.data, hex, wanted.len) != 0)
        cv_buffer_resync(b, "the editor's text was not the shared one");
}
