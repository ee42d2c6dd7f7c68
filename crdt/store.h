/* crdt/store.h - how a document lies in memory.  For crdt/ only.
 *
 * A document is a set of runs (items): units of one client with consecutive
 * clocks that were inserted one behind the other.  Items live in one arena and
 * are named by 32-bit indexes.  Each is found in two ways: by id, through the
 * marks of its client and along the chain of its items (crdt/chain.h), and by
 * position, through the tree over its list (crdt/tree.h).  A type has one list,
 * and one more for each map key.
 *
 * Content lies in a log of its client, in clock order; deleting a unit drops
 * its content, and the log is rewritten when too much of it is lost. */
#ifndef CV_CRDT_STORE_H
#define CV_CRDT_STORE_H
#include "crdt/codec.h"
#include "crdt/doc.h"
#include "crdt/utf8.h"
#include "crdt/waiting.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CV_NONE UINT32_MAX

/* The long way of something that mostly goes a short one: apart, so that the
 * short one saves no registers for it. */
#define CV_APART __attribute__((noinline))

/* The sizes below are small in one build of the tests, so that short histories
 * split and join nodes. */

/* Bytes of content in one item at most: what one step over text may cost. */
#ifndef CV_RUN_BYTES
#define CV_RUN_BYTES 4096
#endif

#define CV_CLIENT_BITS 20
#define CV_CLIENT_MASK ((1u << CV_CLIENT_BITS) - 1)

struct cv_plan;

/* Text of so many newlines or more is counted when that is asked for. */
#define CV_LINES_UNKNOWN 63u

struct cv_item {
    uint32_t client : CV_CLIENT_BITS; /* index into clients */
    uint32_t kind : 4;                /* GC and DELETED have no content */
    uint32_t fresh : 1;  /* U+FFFD that this transaction made of a pair */
    uint32_t marked : 1; /* there is a mark for it */
    uint32_t lines : 6;  /* newlines in text, CV_LINES_UNKNOWN */
    uint32_t clock;
    uint32_t len;     /* units */
    uint32_t oclient; /* origin; CV_NONE: none */
    uint32_t oclock;
    uint32_t rclient; /* right origin; CV_NONE: none */
    uint32_t rclock;
    uint32_t off;   /* content in the client's log */
    uint32_t bytes; /* its length; TYPE: without the list in front of it */
    uint32_t leaf;  /* CV_NONE for GC; next free one in the free list */
    uint32_t succ;  /* the next item of its client; CV_NONE */
};

/* A piece of the clock-ordered marks of one client. */
#ifndef CV_CHUNK_MARKS
#define CV_CHUNK_MARKS 256
#endif
struct cv_mark {
    uint32_t item;
    uint32_t clock; /* of the item once; borders between neighbours move */
};
struct cv_chunk {
    uint32_t first; /* clock of the first mark */
    uint16_t n, cap;
    struct cv_mark *mark;
};

struct cv_client {
    uint64_t id;
    uint8_t id_wire[8]; /* as a varuint */
    uint8_t id_len;
    uint32_t next;        /* state: the next clock */
    uint32_t first, last; /* its items; CV_NONE */
    uint32_t unmarked;    /* how many are behind the last mark */
    uint32_t found; /* what was searched last, perhaps freed since; CV_NONE */
    uint32_t chunks_n, chunks_cap;
    struct cv_chunk *chunks;
    uint8_t *log;
    uint32_t log_len, log_cap;
    uint32_t log_lost; /* bytes that no item refers to any more */
    /* The running transaction; valid if `mark` is its number. */
    uint32_t mark;
    uint32_t before; /* `next` when it began */
    uint32_t newest; /* the last item then, perhaps freed since; CV_NONE */
    /* Planning of one update (crdt/plan.c); valid if `plan` is its number. */
    uint32_t plan;
    uint32_t sim;    /* `next` once the plan is carried out */
    uint32_t source; /* first block of the update, CV_NONE */
    bool queued;
    /* Pending structs of this client and ranges that wait for it. */
    uint32_t waiting_structs, waiting_ranges;
    uint32_t blocked_on;    /* client that the first pending one needs */
    uint32_t blocked_clock; /* … up to this clock; CV_NONE above: nothing */
};

enum cv_weight {
    CV_BYTES,
    CV_UNITS,
    CV_NEWLINES,
    CV_WEIGHTS,
};

#ifndef CV_LEAF_ITEMS
#define CV_LEAF_ITEMS 64
#endif
struct cv_entry {
    uint32_t item;
    uint32_t vis; /* visible bytes of it */
};
struct cv_leaf {
    uint32_t parent; /* inner node; CV_NONE: this is the root */
    uint32_t slot;   /* its place there */
    uint32_t list;
    uint32_t prev, next;
    uint32_t n;
    uint32_t near; /* place looked for or filled last: it is asked for again */
    uint32_t sum[CV_WEIGHTS];
    struct cv_entry at[CV_LEAF_ITEMS];
};

#ifndef CV_INNER_NODES
#define CV_INNER_NODES 16
#endif
struct cv_inner {
    uint32_t parent, slot;
    uint32_t n;
    uint32_t level; /* 1: children are leaves */
    uint32_t child[CV_INNER_NODES];
    uint32_t w[CV_WEIGHTS][CV_INNER_NODES];
};

struct cv_list {
    uint32_t root;   /* CV_NONE while empty */
    uint32_t height; /* 0: the root is a leaf */
    uint32_t sum[CV_WEIGHTS];
    uint32_t type_item; /* item of a nested type; CV_NONE */
    uint32_t owner;     /* of a key: the list of its type; CV_NONE */
    uint32_t keys;      /* first key of this type */
    uint32_t next_key;  /* of the same type; next in the free list */
    uint32_t prev_key;
    uint8_t *name; /* root name or key; NULL for nested types */
    uint32_t name_len;
    uint32_t changed; /* transaction that last touched this key */
    bool used;
};

struct cv_deleted { /* a piece deleted in this transaction */
    uint32_t client, clock, len;
};

/* What the observer will be told, by id: found again at the end. */
enum cv_note_kind {
    CV_NOTE_GONE, /* `bytes` of old text at this unit */
    CV_NOTE_HALF, /* a U+FFFD that replaces half of an old pair */
};
struct cv_note {
    uint32_t client, clock, bytes;
    enum cv_note_kind kind;
};

#define CV_VEC(type)                                                           \
    struct {                                                                   \
        type *at;                                                              \
        uint32_t n, cap;                                                       \
    }

struct cv_txn {
    bool open;     /* a local one */
    bool notes_on; /* somebody observes */
    uint32_t serial;
    CV_VEC(uint32_t) touched; /* clients that got structs */
    CV_VEC(struct cv_deleted) deleted;
    CV_VEC(struct cv_note) notes;
    CV_VEC(uint32_t) keys; /* key lists */
};

/* Where local edits were before they were somewhere else (crdt/hot.h).  Nothing
 * has changed there since. */
struct cv_former {
    uint32_t leaf, start, pos, at; /* as in struct cv_hot */
    uint32_t total;                /* bytes of the text then */
    bool behind;                   /* the edits since are before it */
};

/* Where the last local edit was, and what was typed or taken back there
 * (crdt/hot.h). */
struct cv_hot {
    uint32_t leaf;  /* of the text list; CV_NONE: unknown */
    uint32_t start; /* byte offset of the leaf */
    uint32_t pos;   /* an item in it */
    uint32_t at;    /* byte offset of that item */
    bool typing;    /* it is our last one, and what follows it is visible */
    uint32_t room;  /* bytes that can be typed in place; 0 unless `typing` */
    uint32_t back;  /* or taken back: a tombstone of the same run is beside it,
                     * behind, or before with `forward` */
    bool forward;
    uint32_t gap; /* text for `end` goes before the item at this place, which is
                   * visible; 0: unknown */
    size_t end;   /* where the item ends (with `forward`: begins) */
    uint8_t *to;  /* the same in the log of its client */
    /* Typed, or taken back, but not settled yet; of these `begun` bytes when
     * the transaction that is open began. */
    uint32_t typed, gone, newlines, begun;
    struct cv_former former;
};

/* What the updates of keystrokes begin with that go on with one run
 * (crdt/stamp.h). */
struct cv_stamp {
    uint8_t bytes[48]; /* `len` of them count */
    uint8_t len;
    uint8_t clock_at, origin_at;   /* where the two numbers are in them */
    uint8_t clock_low, origin_low; /* the first byte of each */
    uint32_t from; /* what the caller counts units by, at that clock */
    uint32_t left; /* it holds for so many units from there; 0: none */
};

/* The last edits that came from others (crdt/quick.h). */
struct cv_quick {
    uint32_t client; /* who was the last to edit */
    uint32_t typist; /* whose run was typed last, and its right origin */
    uint32_t rclient, rclock;
    struct cv_stamp stamp; /* what begins like it goes on with the run */
};

/* Items with the same origins, by client id (crdt/siblings.h). */
struct cv_group {
    uint32_t list, oclient, oclock, rclient, rclock;
    struct cv_wait_set members; /* (id high, id low, clock) -> client */
};
struct cv_siblings {
    struct cv_group **slot; /* hash of 2^n */
    uint32_t mask, n;
};

struct cv_doc {
    struct cv_doc_limits limits;
    uint32_t self; /* our client */
    uint32_t text; /* list that the text functions speak of */

    struct cv_item *items;
    uint32_t items_n, items_cap, items_free, items_used;
    struct cv_leaf *leaves;
    uint32_t leaves_n, leaves_cap, leaves_free, leaves_spare;
    struct cv_inner *inners;
    uint32_t inners_n, inners_cap, inners_free, inners_spare;
    uint32_t height_max; /* of any list, ever */
    uint32_t lazy;       /* leaf whose sums its parents do not know yet */

    struct cv_client *clients;
    uint32_t clients_n, clients_cap;
    uint32_t *client_hash; /* of 2^n slots; CV_NONE: free */
    uint32_t client_mask;

    struct cv_list *lists;
    uint32_t lists_n, lists_cap, lists_free, lists_used;
    uint32_t *list_hash; /* roots and keys */
    uint32_t list_mask, list_named;

    size_t log_total;  /* bytes of logs and names, the lost ones not */
    bool log_wasteful; /* some log has lost much */
    uint32_t plan_serial;
    struct cv_quick quick;
    struct cv_hot hot;
    struct cv_stamp stamp;
    struct cv_txn txn;
    struct cv_siblings siblings;
    struct cv_waiting waiting;
    bool
        unsettled; /* memory ran out: the next update looks at all that waits */
    bool put_off;  /* so it does: the limit of scans was met */
    uint64_t scanned;     /* steps of conflict scans, ever */
    struct cv_plan *plan; /* scratch of cv_doc_apply() */
};

/* Grow `vec` so that `more` further elements fit; false without memory. */
#define cv_vec_reserve(vec, more)                                              \
    ((vec)->cap - (vec)->n >= (uint32_t)(more) ||                              \
     cv_vec_grow((void **)&(vec)->at, &(vec)->cap, (vec)->n, (more),           \
                 sizeof(*(vec)->at)))
bool cv_vec_grow(void **at, uint32_t *cap, uint32_t n, size_t more,
                 size_t size);

/* ---- clients ---- */

/* CV_NONE if unknown. */
uint32_t cv_store_client(const struct cv_doc *doc, uint64_t id);
/* Find or add. */
int cv_store_client_add(struct cv_doc *doc, uint64_t id, uint32_t *index);
/* Take back the clients added since there were `n`, newest first. */
void cv_store_client_undo(struct cv_doc *doc, uint32_t n);
/* Fill order[clients_n] with those of next > 0, highest id first. */
uint32_t cv_store_clients_sorted(const struct cv_doc *doc, uint32_t *order);

/* ---- memory, taken before anything is changed ---- */

/* Items and leaves that one step may need: a split makes three items at most.
 */
#define CV_SPARE 4
/* Inner nodes: two of each level, and of two more. */
#define CV_SPARE_INNERS(doc) (2 * ((doc)->height_max + 2))
int cv_store_grow(struct cv_doc *doc);
/* Room for a few items and for the tree nodes they may need, so that what
 * follows cannot fail half way. */
static inline int cv_store_reserve(struct cv_doc *doc)
{
    if (doc->items_cap - doc->items_used >= CV_SPARE &&
        doc->leaves_cap - doc->leaves_n + doc->leaves_spare >= CV_SPARE &&
        doc->inners_cap - doc->inners_n + doc->inners_spare >=
            CV_SPARE_INNERS(doc))
        return CV_OK;
    return cv_store_grow(doc);
}
static inline uint32_t cv_store_item_new(struct cv_doc *doc) /* after reserve */
{
    uint32_t item = doc->items_free;

    doc->items_used++;
    if (item != CV_NONE) {
        doc->items_free = doc->items[item].leaf;
        return item;
    }
    assert(doc->items_n < doc->items_cap);
    return doc->items_n++;
}
void cv_store_item_free(struct cv_doc *doc, uint32_t item);
/* ---- logs ---- */

int cv_store_log_grow(struct cv_doc *doc, uint32_t client, size_t len);
/* A log has so many bytes more than it says: text in it may be read and written
 * in blocks. */
#define CV_LOG_SLACK CV_UTF8_PAD
/* Room at the end of a client's log, which may move it. */
static inline int cv_store_log_reserve(struct cv_doc *doc, uint32_t client,
                                       size_t len)
{
    const struct cv_client *c = &doc->clients[client];

    if (len <= c->log_cap - c->log_len)
        return CV_OK;
    return cv_store_log_grow(doc, client, len);
}
/* What was reserved is used for text that the caller puts there; its offset. */
static inline uint32_t cv_store_log_extend(struct cv_doc *doc, uint32_t client,
                                           size_t len)
{
    struct cv_client *c = &doc->clients[client];
    uint32_t off = c->log_len;

    c->log_len += (uint32_t)len;
    doc->log_total += len;
    return off;
}
/* Append what was reserved; the offset of it. */
static inline uint32_t cv_store_log_append(struct cv_doc *doc, uint32_t client,
                                           const void *data, size_t len)
{
    uint32_t off = cv_store_log_extend(doc, client, len);

    if (len > 0)
        cv_utf8_copy_padded(doc->clients[client].log + off, data, len);
    return off;
}
/* The same of what is mostly a keystroke. */
static inline uint32_t cv_store_log_type(struct cv_doc *doc, uint32_t client,
                                         const void *data, size_t len)
{
    struct cv_client *c = &doc->clients[client];

    if (len != 1)
        return cv_store_log_append(doc, client, data, len);
    c->log[c->log_len] = *(const uint8_t *)data;
    doc->log_total++;
    return c->log_len++;
}
/* Rewrite a log once this much of it, and half of it, is lost: all items of its
 * client are visited, so it should be worth it. */
#ifndef CV_LOG_COMPACT
#define CV_LOG_COMPACT 262144
#endif
static inline bool cv_log_wasteful(const struct cv_client *c)
{
    return c->log_lost >= CV_LOG_COMPACT && c->log_lost >= c->log_len / 2;
}
/* Content bytes at [off, off + len) of a client's log are no longer used. */
static inline void cv_store_log_lose(struct cv_doc *doc, uint32_t client,
                                     uint32_t off, uint32_t len)
{
    struct cv_client *c = &doc->clients[client];

    doc->log_total -= len;
    if (off + len == c->log_len) {
        c->log_len -= len;
        return;
    }
    c->log_lost += len;
    if (cv_log_wasteful(c))
        doc->log_wasteful = true;
}
static inline const uint8_t *cv_item_content(const struct cv_doc *doc,
                                             const struct cv_item *x)
{
    static const uint8_t nothing[CV_LOG_SLACK];
    const uint8_t *log = doc->clients[x->client].log;

    return log == NULL ? nothing : log + x->off;
}
/* UTF-16 units that the first `bytes` bytes of an item of text hold. */
static inline uint32_t cv_item_units_before(const struct cv_doc *doc,
                                            const struct cv_item *x,
                                            size_t bytes)
{
    if (x->bytes == x->len)
        return (uint32_t)bytes;
    return (uint32_t)cv_utf8_units(cv_item_content(doc, x), bytes);
}
uint32_t cv_item_count_newlines(const struct cv_doc *doc,
                                const struct cv_item *x);
/* Newlines in an item that is visible text, else 0. */
static inline uint32_t cv_item_newlines(const struct cv_doc *doc,
                                        const struct cv_item *x)
{
    if (x->kind != CV_KIND_STRING)
        return 0;
    if (x->lines != CV_LINES_UNKNOWN)
        return x->lines;
    return cv_item_count_newlines(doc, x);
}
/* Mostly none have changed, and then nothing is written: a few bits are a store
 * of one byte, and whoever reads all four next waits for it. */
static inline void cv_item_set_newlines(struct cv_item *x, uint32_t n)
{
    if (n > CV_LINES_UNKNOWN)
        n = CV_LINES_UNKNOWN;
    if (x->lines != n)
        x->lines = n & CV_LINES_UNKNOWN;
}
/* So many have come, or gone. */
static inline void cv_item_add_newlines(struct cv_item *x, int32_t n)
{
    if (n != 0 && x->lines != CV_LINES_UNKNOWN)
        cv_item_set_newlines(x, x->lines + (uint32_t)n);
}
/* Newlines in text at [off, off + bytes) of the log, all of the item x. */
uint32_t cv_item_part_newlines(const struct cv_doc *doc,
                               const struct cv_item *x, uint32_t off,
                               uint32_t bytes);
/* Two items have what is left of one that had `n` newlines, or
 * CV_LINES_UNKNOWN. */
void cv_item_share_newlines(const struct cv_doc *doc, struct cv_item *x,
                            struct cv_item *y, uint32_t n);
/* Bytes of the log that an item occupies. */
uint32_t cv_item_stored(const struct cv_item *x);
/* Rewrite the logs that have lost much (`force`: anything). */
int cv_store_compact(struct cv_doc *doc, bool force);
/* The same at the end of a transaction.  Without memory the logs stay. */
static inline void cv_store_tidy(struct cv_doc *doc)
{
    if (doc->log_wasteful)
        (void)!cv_store_compact(doc, false);
}

/* ---- lists ---- */

/* A root by name, or a key of a type; CV_NONE if there is none. */
uint32_t cv_store_list(const struct cv_doc *doc, uint32_t owner,
                       struct cv_bytes name);
int cv_store_list_add(struct cv_doc *doc, uint32_t owner, struct cv_bytes name,
                      uint32_t *list);
/* A nested type without items. */
int cv_store_list_new(struct cv_doc *doc, uint32_t *list);
/* Free a list; its tree must be gone. */
void cv_store_list_free(struct cv_doc *doc, uint32_t list);
/* The list of a TYPE item. */
static inline uint32_t cv_item_list(const struct cv_doc *doc,
                                    const struct cv_item *x)
{
    uint32_t list;

    memcpy(&list, cv_item_content(doc, x), sizeof(list));
    return list;
}
/* Is it the list of a map key? */
static inline bool cv_list_is_key(const struct cv_list *l)
{
    return l->owner != CV_NONE;
}

/* *to = *from, in pieces for which compilers use registers, not a string
 * instruction that takes longer to begin than to do this.  No piece overlaps
 * another, nor should any of *from have been written just before: a read waits
 * for what was written in other pieces. */
static inline void cv_item_copy(struct cv_item *to, const struct cv_item *from)
{
    enum { MOST = 32 };
    uint8_t *a = (uint8_t *)to;
    const uint8_t *b = (const uint8_t *)from;

    memcpy(a, b, MOST);
    memcpy(a + MOST, b + MOST, sizeof(*to) - MOST);
}
static inline uint32_t cv_item_end(const struct cv_item *x)
{
    return x->clock + x->len;
}
static inline uint32_t cv_item_visible(const struct cv_item *x)
{
    return x->bytes & -(uint32_t)(x->kind == CV_KIND_STRING);
}
static inline uint32_t cv_item_units(const struct cv_item *x)
{
    return x->len & -(uint32_t)cv_kind_countable(x->kind);
}
static inline bool cv_item_deleted(const struct cv_item *x)
{
    return x->kind <= CV_KIND_DELETED;
}
/* Does b, which follows a in clock and list, carry the run of a on? */
static inline bool cv_item_joins(const struct cv_item *a,
                                 const struct cv_item *b)
{
    /* The first question tells most of them apart. */
    return cv_item_end(a) == b->clock && a->kind == b->kind &&
           cv_kind_joins(a->kind) && a->client == b->client &&
           b->oclient == a->client && b->oclock == b->clock - 1 &&
           a->rclient == b->rclient && a->rclock == b->rclock;
}

/* What tests have checked of how a document lies in memory. */
static inline void cv_expect(bool holds)
{
    if (!holds)
        abort();
}

/* The caches of lookups are not part of the value of a document. */
static inline struct cv_doc *cv_doc_mutable(const struct cv_doc *doc)
{
    return (struct cv_doc *)(uintptr_t)doc;
}
#endif
