/* session/journal.h - what a session remembers on disk.
 *
 * One append-only file a session and agent, DATA_DIR/sessions/HASH.SLOT, 0600
 * in a 0700 folder, locked while it is open.  HASH is of the session key, so
 * that a listing does not give the key away; the slot lets a second agent of
 * the same user take part in the same session.
 *
 *   file   := "covimjl1", record*
 *   record := u32 length, u8 type, u24 head check, payload[length], u32 crc
 *     type 1, an update: u32 document, bytes
 *     type 2, a fact:    u8 fact, varbytes key, varbytes value
 *
 * The head check is the low 24 bits of CRC-32 over length and type, so that a
 * record cut short by a crash can be told from one whose length is damaged;
 * crc is CRC-32 over all before it.
 *
 * Two kinds of content, so that another store can stand behind the interface:
 * facts (type, key -> value, the latest wins, few and small, all in memory)
 * and updates (appended to a document, replayed in order).  Records of other
 * types are skipped, and lost when the file is compacted.
 *
 * A record is handed to the kernel before the function that takes it returns:
 * it survives any crash of the process.  At most once a second the file is
 * synced to the disk by the loop's worker.  When writing fails the records
 * wait in memory, writing is tried again every second, and nothing counts as
 * kept until all of it is written. */
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
    (4u * 1024u * 1024u)                       /* waits in memory; beyond      \
                             it the whole state is written instead */
#define CV_JOURNAL_COMPACT     (1024u * 1024u) /* not before it is this large */
#define CV_JOURNAL_SYNC_EVERY  CV_SECOND
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
    struct cv_loop *loop; /* kept; its worker syncs.  NULL: synced and
                             compacted in cv_journal_step() itself */
    struct cv_log *log;   /* kept, may be NULL */
    /* Writing failed (err < 0; said once) or works again (CV_OK).  `text` is a
     * sentence for the user.  Must not call the journal.  May be NULL. */
    void (*trouble)(void *user, int err, const char *text);
    void *user;
};

/* Open or make the journal and read it.  On failure `why` says what to do.
 * What other agents of this user left of the same session is taken over: the
 * facts of all slots, and the updates of those that are not open (their files
 * are deleted then).
 *
 *   CV_ERR_EXISTS    CREATE, but it is stored already
 *   CV_ERR_NOTFOUND  RESUME, but nothing is stored
 *   CV_ERR_BUSY      all that is stored is open in other agents (RESUME), or
 *                    all slots are (EITHER)
 *   CV_ERR_PERM      the file or folder is open to others, or not ours
 *   CV_ERR_VERSION   written by a newer covim
 *   CV_ERR_IO, CV_ERR_NOMEM
 * A damaged file is renamed to NAME.damaged-N and what is good of it taken
 * over; `why` then holds a sentence about it, with CV_OK (else ""). */
CV_MUST_USE int cv_journal_open(struct cv_journal **out,
                                const struct cv_journal_config *config,
                                cv_time now, char *why, size_t why_len);
/* Syncs in the background if there is a loop. */
void cv_journal_close(struct cv_journal *j);
/* Close and delete the file. */
void cv_journal_remove(struct cv_journal *j);

/* Set a fact; an empty value forgets it.  CV_ERR_IO: it waits in memory.
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

/* Append to a document.  CV_ERR_IO: it waits in memory. */
CV_MUST_USE int cv_journal_append(struct cv_journal *j, uint32_t document,
                                  struct cv_bytes update);
/* Is everything that was put and appended handed to the kernel? */
bool cv_journal_clean(const struct cv_journal *j);
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

/* Sync, try again, compact: whatever is due.  Several may call it. */
cv_time cv_journal_deadline(const struct cv_journal *j);
void cv_journal_step(struct cv_journal *j, cv_time now);

/* Read the facts of every stored session, open or not, all slots of one
 * together: `fn` gets a journal for cv_journal_get() and cv_journal_each()
 * only, valid during the call. */
void cv_journal_scan(const char *dir,
                     void (*fn)(void *user, const struct cv_journal *j),
                     void *user);

/* What is in the bytes of a file, up to the end or the first record that is
 * not whole; that is the part of the reading that fuzzers drive. */
enum cv_journal_end {
    CV_JOURNAL_END_WHOLE,   /* nothing is wrong */
    CV_JOURNAL_END_TORN,    /* a write was cut short; the rest is no loss */
    CV_JOURNAL_END_DAMAGED, /* what follows cannot be trusted */
    CV_JOURNAL_END_ALIEN,   /* not a journal */
    CV_JOURNAL_END_NEWER,   /* of a later version */
    CV_JOURNAL_END_STOPPED, /* by `fn` */
};
#define CV_JOURNAL_HEADER 8u
#define CV_JOURNAL_UPDATE 1u
#define CV_JOURNAL_FACT   2u
/* `good` is where the whole records end.  `fn` returns CV_OK to go on. */
enum cv_journal_end cv_journal_parse(struct cv_bytes file, size_t *good,
                                     int (*fn)(void *user, uint8_t type,
                                               struct cv_bytes payload),
                                     void *user);
#endif
