/* session/journal.h - what a session remembers on disk.
 *
 * One store a session and agent (session/store.h: SQLite), 0600 in a 0700
 * folder, locked while it is open (session/journal_place.h says where).
 *
 * Two kinds of content: facts (type, key -> value, the latest wins, few and
 * small, all in memory) and updates (appended to a document, replayed in
 * order).  What is in a row: session/journal_row.h.
 *
 * What is put and appended waits in memory and is brought to the disk within
 * 20 ms, in one transaction, on the loop's worker.  Then it is kept: it
 * survives a crash of the process and a loss of power.  When writing fails,
 * rows wait, writing is tried again every second, and nothing more counts as
 * kept until it works.  A journal that has grown to several times the state of
 * its documents is replaced by that state, in one transaction; what comes
 * meanwhile waits for its end. */
#ifndef CV_SESSION_JOURNAL_H
#define CV_SESSION_JOURNAL_H
#include "base/bytes.h"
#include "base/key.h"
#include "base/loop.h"
#include "base/time.h"

struct cv_journal;

#define CV_JOURNAL_SLOTS      8
#define CV_JOURNAL_FACTS      4096          /* facts in one journal */
#define CV_JOURNAL_FACT_KEY   64            /* bytes */
#define CV_JOURNAL_FACT_VALUE (16u * 1024u) /* bytes */
#define CV_JOURNAL_RECORD     (256u << 20)  /* bytes of one payload */
#define CV_JOURNAL_UNWRITTEN                                                   \
    (4u * 1024u * 1024u)                   /* waits in memory; beyond          \
                         it the whole state is written instead */
#define CV_JOURNAL_COMPACT (1024u * 1024u) /* not before it is this large */
#define CV_JOURNAL_GROUP   (20 * CV_MILLISECOND) /* between two commits */
/* Before a single one: the keystroke is on its way to the others by then. */
#define CV_JOURNAL_DELAY       (8 * CV_MILLISECOND)
#define CV_JOURNAL_RETRY_EVERY CV_SECOND

/* Types of facts; the values are their owners' to encode. */
enum cv_journal_fact {
    CV_FACT_SESSION = 1,  /* "" -> session key S (written by open) */
    CV_FACT_SECRET = 2,   /* "" -> seed of S, if it is ours */
    CV_FACT_GRANTS = 3,   /* identity -> its chain; "" -> our own */
    CV_FACT_DOCUMENT = 4, /* u32 id -> cv_put_meta() */
    CV_FACT_PEER = 5,     /* identity -> name and what else is known of it */
    CV_FACT_CLAIM = 6,    /* u32 document, u64 client id -> session/claim */
    CV_FACT_OTHER = 7,    /* name -> anything: settings of the session */
};

enum cv_journal_mode {
    CV_JOURNAL_CREATE, /* a new session */
    CV_JOURNAL_RESUME, /* one that is stored */
    CV_JOURNAL_EITHER, /* stored or new: joining */
};

struct cv_journal_config {
    const char *dir; /* DATA_DIR/sessions; made 0700 if missing */
    struct cv_key session;
    enum cv_journal_mode mode;
    struct cv_loop *loop; /* kept; its worker writes.  NULL: that is done in
                             cv_journal_step() itself */
    struct cv_log *log;   /* kept, may be NULL */
    /* More is kept, or something is due: call cv_journal_step() soon.  Must not
     * call the journal.  May be NULL. */
    void (*wake)(void *user);
    /* Writing failed (err < 0; said once) or works again (CV_OK).  `text` is a
     * sentence for the user.  As wake(). */
    void (*trouble)(void *user, int err, const char *text);
    void *user;
};

/* Open or make the journal and read it.  On failure `why` says what to do.
 * What other agents of this user left of the same session is taken over: the
 * facts of all slots, and the updates of those that are not open (their files
 * are deleted then).  So is a file of the older form.
 *
 *   CV_ERR_EXISTS    CREATE, but it is stored already
 *   CV_ERR_NOTFOUND  RESUME, but nothing is stored
 *   CV_ERR_BUSY      all that is stored is open in other agents (RESUME), or
 *                    all slots are (EITHER)
 *   CV_ERR_PERM      the file or folder is open to others, or not ours
 *   CV_ERR_VERSION   written by a newer covim
 *   CV_ERR_IO, CV_ERR_NOMEM
 * A damaged file is renamed to NAME.damaged-N and what is good of it taken
 * over; `why` then holds a sentence about it, with CV_OK.  It also says if the
 * session is open in another agent (else ""). */
CV_MUST_USE int cv_journal_open(struct cv_journal **out,
                                const struct cv_journal_config *config,
                                cv_time now, char *why, size_t why_len);
/* Writes what waits, and blocks for that. */
void cv_journal_close(struct cv_journal *j);
/* Close and delete it. */
void cv_journal_remove(struct cv_journal *j);

/* Set a fact; an empty value forgets it.  CV_ERR_IO: writing fails at present,
 * it waits in memory.
 * CV_ERR_LIMIT: too large or too many, nothing changed. */
CV_MUST_USE int cv_journal_put(struct cv_journal *j, enum cv_journal_fact type,
                               struct cv_bytes key, struct cv_bytes value);
/* Borrowed until the next put; empty if there is none. */
struct cv_bytes cv_journal_get(const struct cv_journal *j,
                               enum cv_journal_fact type, struct cv_bytes key);
void cv_journal_each(const struct cv_journal *j, enum cv_journal_fact type,
                     void (*fn)(void *user, struct cv_bytes key,
                                struct cv_bytes value),
                     void *user);

/* Append to a document.  CV_ERR_IO as above. */
CV_MUST_USE int cv_journal_append(struct cv_journal *j, uint32_t document,
                                  struct cv_bytes update);
/* How much was put and appended so far: to ask later whether it is kept. */
uint64_t cv_journal_mark(const struct cv_journal *j);
bool cv_journal_has_kept(const struct cv_journal *j, uint64_t mark);
/* Is everything kept? */
bool cv_journal_clean(const struct cv_journal *j);
/* Write what waits, and block for that.  CV_ERR_IO: it waits on. */
CV_MUST_USE int cv_journal_flush(struct cv_journal *j);
/* Read back the updates of a document, oldest first; stops and returns what
 * `fn` returns if that is not CV_OK.  CV_ERR_IO, CV_ERR_NOMEM. */
CV_MUST_USE int
cv_journal_updates(struct cv_journal *j, uint32_t document,
                   int (*fn)(void *user, struct cv_bytes update), void *user);
/* Who can tell the whole state of a document as one update: asked when the
 * file is compacted, or when too much waits in memory.  NULL: nobody. */
void cv_journal_set_source(struct cv_journal *j, uint32_t document,
                           int (*state)(void *user, struct cv_writer *out),
                           void *user);

/* Write, try again, compact: whatever is due.  Several may call it. */
cv_time cv_journal_deadline(const struct cv_journal *j);
void cv_journal_step(struct cv_journal *j, cv_time now);

/* Read the facts of every stored session, open or not, all slots of one
 * together: `fn` gets a journal for cv_journal_get() and cv_journal_each()
 * only, valid during the call. */
void cv_journal_scan(const char *dir,
                     void (*fn)(void *user, const struct cv_journal *j),
                     void *user);
#endif
