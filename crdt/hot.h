/* crdt/hot.h - the place of the last local edit.  For crdt/ only.
 *
 * The next edit is probably there, or in a leaf beside it.  While somebody
 * types, what the keystrokes add to the run that was typed last is noted here
 * alone: its item, leaf, list, client and log hear of it when something else
 * is asked of the document.  So it is with deleting on, backwards or forwards,
 * which moves the border between a run and the tombstone beside it.  Every
 * function of crdt/ that others call and that looks at one of these begins with
 * cv_hot_settle().
 *
 * Who edits in two places goes back and forth between them, so the place before
 * this one is remembered, too.  It holds as long as edits stay on one side of
 * its leaf. */
#ifndef CV_CRDT_HOT_H
#define CV_CRDT_HOT_H
#include "crdt/store.h"
#include "crdt/tree.h"

/* Keystrokes are ASCII and at most this long. */
#define CV_KEYSTROKE CV_LOG_SLACK

void cv_hot_settle_now(struct cv_doc *doc);
static inline void cv_hot_settle(const struct cv_doc *doc)
{
    if ((doc->hot.typed | doc->hot.gone) > 0)
        cv_hot_settle_now(cv_doc_mutable(doc));
}

/* Forget the place, and the one before it.  Settled before. */
static inline void cv_hot_forget(struct cv_doc *doc)
{
    doc->hot = (struct cv_hot){.leaf = CV_NONE, .former = {.leaf = CV_NONE}};
}
/* Forget the place before it: it may have changed, or the place has crossed
 * it. */
static inline void cv_hot_forget_former(struct cv_doc *doc)
{
    doc->hot.former.leaf = CV_NONE;
}
/* Keep the place, but what is inserted next is a new item. */
static inline void cv_hot_stop(struct cv_doc *doc)
{
    doc->hot.typing = false;
    doc->hot.room = doc->hot.back = doc->hot.gap = 0;
}

/* cv_tree_find() in the text by bytes, beginning where the last edit was, or
 * where edits were before; it is there.  The leaf it leads to is the hot one
 * then, and typing ends. */
struct cv_place cv_hot_find(struct cv_doc *doc, uint32_t at, bool ending);
/* Abort if the places are not where they should be; for tests. */
void cv_hot_check(const struct cv_doc *doc);
/* Make this item in a leaf the hot one; `at` is the offset of it. */
void cv_hot_set(struct cv_doc *doc, uint32_t leaf, uint32_t pos, uint32_t at);
/* The hot item is our last one and ends the log; text follows it.  Inside a
 * transaction that has room. */
static inline void cv_hot_type(struct cv_doc *doc)
{
    struct cv_hot *hot = &doc->hot;
    const struct cv_client *c = &doc->clients[doc->self];
    uint32_t item = doc->leaves[hot->leaf].at[hot->pos].item;
    size_t room = CV_RUN_BYTES - doc->items[item].bytes, most;

    most = c->log_cap - c->log_len;
    room = most < room ? most : room;
    most = CV_DOC_CLOCK_MAX - c->next;
    room = most < room ? most : room;
    most = doc->limits.log_bytes - doc->log_total;
    room = most < room ? most : room;
    hot->typing = true;
    hot->back = hot->gap = 0;
    hot->end = (size_t)hot->at + doc->items[item].bytes;
    hot->room = (uint32_t)room;
    hot->to = c->log + c->log_len;
    doc->stamp.left = 0;
}
/* The item at `pos` of the hot leaf, where it begins at `at`, has a tombstone
 * of the same run behind it, or before it (`forward`).  Inside a transaction.
 */
void cv_hot_back(struct cv_doc *doc, uint32_t pos, uint32_t at, bool forward);

/* Type on where the run that was typed last ends; false if this has to go the
 * long way.  Inside a transaction. */
static inline bool cv_hot_key(struct cv_hot *hot, size_t at,
                              const uint8_t *text, size_t len)
{
    uint8_t all = 0;
    uint32_t newlines = 0;

    if (at != hot->end || len > hot->room)
        return false;
    if (len == 1) {
        all = *text;
        newlines = all == '\n';
        if (all >= 0x80)
            return false;
        *hot->to = all;
    } else {
        if (len - 1 >= CV_KEYSTROKE)
            return false;
        for (size_t i = 0; i < len; i++) {
            all |= text[i];
            newlines += text[i] == '\n';
            hot->to[i] = text[i];
        }
        if (all >= 0x80)
            return false;
    }
    hot->to += len;
    hot->end += len;
    hot->room -= (uint32_t)len;
    hot->typed += (uint32_t)len;
    hot->newlines += newlines;
    return true;
}

/* Take back what ends where the hot run ends, or begins where it begins; false
 * if this has to go the long way.  Inside a transaction. */
static inline bool cv_hot_erase(struct cv_hot *hot, size_t at, size_t len)
{
    size_t moved = hot->forward ? 0 : len;
    const uint8_t *text;
    uint32_t newlines = 0;

    if (len > hot->back || at + moved != hot->end || len - 1 >= CV_KEYSTROKE)
        return false;
    text = hot->to - moved;
    for (size_t i = 0; i < len; i++)
        newlines += text[i] == '\n';
    hot->to += hot->forward ? (ptrdiff_t)len : -(ptrdiff_t)len;
    hot->end = at;
    hot->back -= (uint32_t)len;
    hot->gone += (uint32_t)len;
    hot->newlines += newlines;
    return true;
}
#endif
