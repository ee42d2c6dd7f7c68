/* crdt/doc.h - the shared text: one document, wire-compatible with Yjs.
 *
 * Bytes in and out are Yjs update v1 (docs/protocol.md).  The document holds
 * every kind of content; what a text does not show is kept and passed on
 * unharmed.  Who may write is a matter for the session layer.
 *
 * Positions are UTF-8 byte offsets into one root text, "content" unless
 * cv_doc_use_text() says otherwise.  A root without text is empty, not an
 * error.  Updates may come in any order, twice or late: replicas that saw the
 * same set of updates have the same text.
 *
 * Errors that every function that changes something can return, besides its
 * own: CV_ERR_NOMEM.  The document is then consistent but may hold only a part
 * of the change; what was done is in the update of the transaction, and
 * applying a remote update again completes it.
 *
 * Its arrays grow by realloc(): a program that keeps large texts calls
 * cv_memory_keep() (base/memory.h) first. */
#ifndef CV_CRDT_DOC_H
#define CV_CRDT_DOC_H
#include "base/bytes.h"
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cv_doc;

/* The text root that the programs of this tree share. */
#define CV_DOC_TEXT "content"

/* Clocks above this are refused with CV_ERR_LIMIT: one client would have typed
 * four thousand million characters. */
#define CV_DOC_CLOCK_MAX (UINT32_MAX - 1)

/* Everything that grows from input, bounded.  An update that would exceed one
 * of them is refused whole with CV_ERR_LIMIT. */
struct cv_doc_limits {
    size_t update_bytes;  /* one update */
    size_t log_bytes;     /* content held, dropped tombstones not counted */
    uint32_t items;       /* runs in the store, tombstones included */
    uint32_t clients;     /* distinct client ids */
    uint32_t lists;       /* types and map keys */
    uint32_t waiting;     /* pending structs and delete ranges */
    size_t waiting_bytes; /* bytes of pending content */
    unsigned nesting;     /* depth of one `any` value */
    /* Steps of conflict scans in one cv_doc_apply(), 0: the default.  With the
     * struct that goes beyond it stops; the rest of the update waits, and the
     * next update, be it an empty one, goes on.  A scan is no longer than the
     * text has items, so this bounds the time of each call. */
    uint32_t scan;
};
/* 256 MiB, 1 GiB, 64 Mi, 256 Ki, 1 Mi, 1,000,000, 64 MiB, 64, 16 Mi.  Larger
 * values than 1 GiB, 2^30 items and 2^20 clients are cut down to these. */
extern const struct cv_doc_limits cv_doc_limits_default;

/* An id of one unit (UTF-16 code unit of text, or one opaque element). */
struct cv_id {
    uint64_t client;
    uint64_t clock;
};

/* `client_id`: fresh and random for each start of a replica, 32 bits, never 0
 * (docs/protocol.md).  `limits` NULL: the defaults; it is copied. */
CV_MUST_USE int cv_doc_new(struct cv_doc **out, uint64_t client_id,
                           const struct cv_doc_limits *limits);
void cv_doc_free(struct cv_doc *doc);

/* The id of further local edits.  CV_ERR_INVALID inside a transaction, above
 * 2^53 - 1, or when the document already has structs of the new id. */
uint64_t cv_doc_client(const struct cv_doc *doc);
CV_MUST_USE int cv_doc_set_client(struct cv_doc *doc, uint64_t client_id);
/* Next clock of a client: how many of its units are integrated. */
uint64_t cv_doc_clock(const struct cv_doc *doc, uint64_t client_id);

/* Choose the root that the text functions and the observer speak of. */
CV_MUST_USE int cv_doc_use_text(struct cv_doc *doc, const char *name);

/* --- reading the text; all O(log n) plus what is copied --- */

size_t cv_doc_text_bytes(const struct cv_doc *doc);
size_t cv_doc_text_units(const struct cv_doc *doc); /* UTF-16, embeds count */
size_t cv_doc_text_newlines(const struct cv_doc *doc); /* '\n' characters */
/* Append text [at, at + len) to `out`.  CV_ERR_INVALID outside the text, else
 * the error of the writer. */
CV_MUST_USE int cv_doc_read(const struct cv_doc *doc, size_t at, size_t len,
                            struct cv_writer *out);
/* Offset of the first byte of line `line` (from 0); CV_ERR_INVALID if there
 * are fewer newlines than that. */
CV_MUST_USE int cv_doc_line_offset(const struct cv_doc *doc, size_t line,
                                   size_t *at);
/* Newlines before `at` (the line it is in); CV_ERR_INVALID outside. */
CV_MUST_USE int cv_doc_offset_line(const struct cv_doc *doc, size_t at,
                                   size_t *line);
/* UTF-8 byte offset <-> UTF-16 position.  CV_ERR_INVALID outside the text or
 * inside a character.  Embeds count one unit and no byte. */
CV_MUST_USE int cv_doc_bytes_to_units(const struct cv_doc *doc, size_t at,
                                      size_t *units);
CV_MUST_USE int cv_doc_units_to_bytes(const struct cv_doc *doc, size_t units,
                                      size_t *at);
/* Which client inserted the character that begins at `at`? */
CV_MUST_USE int cv_doc_author(const struct cv_doc *doc, size_t at,
                              struct cv_id *id);

/* --- local edits: begin, any number of edits, commit --- */

/* CV_ERR_INVALID if a transaction is open. */
CV_MUST_USE int cv_doc_begin(struct cv_doc *doc);
/* Close the transaction and append its update to `update` (NULL: nobody wants
 * it); nothing is appended if nothing changed.  An error is the writer's: the
 * transaction is closed all the same and cv_doc_encode() can still tell it. */
CV_MUST_USE int cv_doc_commit(struct cv_doc *doc, struct cv_writer *update);

/* Both: CV_ERR_INVALID without a transaction, outside the text or not on
 * character borders (nothing changed), CV_ERR_FORMAT if text[len] is not
 * UTF-8, CV_ERR_LIMIT. */
CV_MUST_USE int cv_doc_insert(struct cv_doc *doc, size_t at, const void *text,
                              size_t len);
CV_MUST_USE int cv_doc_delete(struct cv_doc *doc, size_t at, size_t len);

/* --- remote updates --- */

/* One change of the text: at byte `at`, `deleted` bytes go and
 * inserted[inserted_len] come.  Changes arrive in ascending order and each is
 * in the coordinates that hold after those before it; none is empty, and text
 * that an update both brings and deletes is not mentioned. */
struct cv_text_change {
    size_t at;
    size_t deleted;
    const uint8_t *inserted;
    size_t inserted_len;
};

/* Called after the update is integrated; they may read the document, not
 * change or free it.  Either may be NULL. */
struct cv_doc_observer {
    void (*text)(void *user, const struct cv_text_change *change);
    /* The value of `key` in a root map may have changed. */
    void (*key)(void *user, struct cv_bytes root, struct cv_bytes key);
    void *user;
};

struct cv_doc_applied {
    bool news;    /* something was integrated that was not known */
    bool waiting; /* something waits for what has not come yet */
    /* Structs came under our own client id that we did not make: somebody has
     * the same id.  Draw a new one (cv_doc_set_client) before the next edit. */
    bool own_id;
};

/* Apply a remote update.  `observer`, `news` and `applied` may be NULL.
 *
 * `news` gets one update with exactly what is new to this document, what had
 * been waiting before and could now be integrated included; nothing if nothing
 * is new.  A relay passes it on: it is never ahead of what it depends on.
 *
 * Returns CV_OK, or, with the document unchanged,
 *   CV_ERR_FORMAT   not an update
 *   CV_ERR_LIMIT    beyond a limit
 *   CV_ERR_INVALID  inside a transaction
 * or, with the update applied and observed, the error of `news`.  After
 * CV_ERR_NOMEM the observer may not have been told: read the text anew. */
CV_MUST_USE int cv_doc_apply(struct cv_doc *doc, struct cv_bytes update,
                             const struct cv_doc_observer *observer,
                             struct cv_writer *news,
                             struct cv_doc_applied *applied);
bool cv_doc_waiting(const struct cv_doc *doc);

/* --- state --- */

CV_MUST_USE int cv_doc_state_vector(const struct cv_doc *doc,
                                    struct cv_writer *out);
/* Append the update that a peer with `state_vector` (empty bytes: nothing)
 * needs.  CV_ERR_FORMAT for a bad state vector, else the writer's error. */
CV_MUST_USE int cv_doc_encode(const struct cv_doc *doc,
                              struct cv_bytes state_vector,
                              struct cv_writer *out);
/* Does the peer with this state vector have all structs we have?  (Deletes are
 * not in a state vector.)  False for malformed bytes. */
bool cv_doc_covered_by(const struct cv_doc *doc, struct cv_bytes state_vector);
/* Give back what deleted text still occupies.  Cheap when little is lost. */
CV_MUST_USE int cv_doc_compact(struct cv_doc *doc);
/* Heap bytes held, for figures and limits. */
size_t cv_doc_held_bytes(const struct cv_doc *doc);

/* --- root maps; values are one encoded `any` (crdt/any.h) --- */

/* Inside a transaction.  CV_ERR_FORMAT if `value` is not exactly one `any` or
 * `key` not UTF-8. */
CV_MUST_USE int cv_doc_map_set(struct cv_doc *doc, const char *root,
                               struct cv_bytes key, struct cv_bytes value);
/* CV_ERR_NOTFOUND without that key. */
CV_MUST_USE int cv_doc_map_delete(struct cv_doc *doc, const char *root,
                                  struct cv_bytes key);
/* Borrowed until the document changes.  CV_ERR_NOTFOUND; CV_ERR_UNSUPPORTED
 * when the value is a nested type or another kind of content. */
CV_MUST_USE int cv_doc_map_get(const struct cv_doc *doc, const char *root,
                               struct cv_bytes key, struct cv_bytes *value);
/* Every present key, in no order; `value` has no data where map_get would say
 * CV_ERR_UNSUPPORTED. */
void cv_doc_map_each(const struct cv_doc *doc, const char *root,
                     void (*fn)(void *user, struct cv_bytes key,
                                struct cv_bytes value),
                     void *user);
#endif
