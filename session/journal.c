#include "session/journal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"

/* Timers: `sync_due` a second after the last sync, while something is not
 * synced; `retry_due` a second after writing failed; compaction as soon as the
 * file has grown too large.  Syncing and compacting run as jobs on the loop's
 * worker, at most one of each; a job outlives its journal. */

#define MAGIC         "covimjl"
#define VERSION       '1'
#define HEAD_LEN      8u /* u32 length, u8 type, u24 check */
#define CRC_LEN       4u
#define HASH_TEXT     32u /* hex digits of a file name */
#define PATH_BYTES    4096u
#define SOURCES_MAX   1024u
#define DOCUMENTS_MAX 4096u
/* Copied by the loop itself when a compaction ends; more goes to the worker. */
#define TAIL_MAX    (64 * 1024)
#define TAIL_ROUNDS 8
#define TMP_SUFFIX  ".tmp-"

struct fact {
    uint8_t type;
    uint8_t key_len;
    uint16_t value_len;
    uint8_t *bytes; /* key, then value */
};

struct source {
    uint32_t document;
    int (*state)(void *user, struct cv_writer *out);
    void *user;
};

struct job {
    struct cv_journal *j; /* NULL once that is closed */
    int fd;               /* our own duplicate of the journal's */
    int dir_fd;           /* synced too, or -1 */
    int err;
    /* of a compaction */
    int new_fd;
    uint8_t *snapshot;
    size_t snapshot_len;
    off_t from;     /* what follows in the old file is not in the snapshot */
    off_t upto;     /* copy [from, upto) after the snapshot */
    off_t new_size; /* written so far */
    unsigned rounds;
    char tmp[PATH_BYTES];
};

struct cv_journal {
    struct cv_loop *loop;
    struct cv_log *log;
    void (*trouble)(void *user, int err, const char *text);
    void *user;
    struct cv_key session;
    char path[PATH_BYTES];
    char dir[PATH_BYTES];

    int fd;
    off_t size; /* whole records end here */

    struct fact *facts;
    size_t n_facts;
    size_t facts_cap;
    struct source *sources;
    size_t n_sources;
    uint32_t *documents; /* that have records in the file */
    size_t n_documents;

    struct cv_writer frame;     /* scratch */
    struct cv_writer unwritten; /* frames that wait */
    bool overflow;              /* too many did: write the state instead */
    bool failing;
    cv_time retry_due;

    bool unsynced;
    bool dir_unsynced;
    bool rewrite; /* what the disk holds is in doubt: write it all anew */
    cv_time sync_due;
    struct job *sync;

    size_t state_bytes; /* size of the last snapshot */
    struct job *compaction;
    cv_time compact_after;
};

static uint32_t head_check(const uint8_t *head)
{
    return cv_crc32(head, 5) & 0xffffffu;
}

/* Append one record to `w`. */
static int put_record(struct cv_writer *w, uint8_t type, struct cv_bytes a,
                      struct cv_bytes b, struct cv_bytes c)
{
    size_t start = w->len;
    size_t len = a.len + b.len + c.len;
    uint32_t check;

    if (len > CV_JOURNAL_RECORD)
        return CV_ERR_LIMIT;
    cv_put_u32(w, (uint32_t)len);
    if (cv_put_u8(w, type) != CV_OK)
        return w->err;
    check = head_check(w->data + start);
    cv_put_u8(w, (uint8_t)(check >> 16));
    cv_put_u16(w, (uint16_t)check);
    cv_put_raw(w, a.data, a.len);
    cv_put_raw(w, b.data, b.len);
    if (cv_put_raw(w, c.data, c.len) != CV_OK)
        return w->err;
    return cv_put_u32(w, cv_crc32(w->data + start, w->len - start));
}

static bool all_zero(const uint8_t *p, const uint8_t *end)
{
    while (p < end)
        if (*p++)
            return false;
    return true;
}

enum cv_journal_end cv_journal_parse(struct cv_bytes file, size_t *good,
                                     int (*fn)(void *user, uint8_t type,
                                               struct cv_bytes payload),
                                     void *user)
{
    static const uint8_t magic[CV_JOURNAL_HEADER] = MAGIC "1";
    size_t at = CV_JOURNAL_HEADER;

    *good = 0;
    if (file.len < CV_JOURNAL_HEADER) {
        if (file.len && memcmp(file.data, magic, file.len) != 0)
            return CV_JOURNAL_END_ALIEN;
        return CV_JOURNAL_END_TORN;
    }
    if (memcmp(file.data, magic, sizeof(MAGIC) - 1) != 0)
        return all_zero(file.data, file.data + file.len) ? CV_JOURNAL_END_TORN
                                                         : CV_JOURNAL_END_ALIEN;
    if (file.data[sizeof(MAGIC) - 1] != VERSION)
        return CV_JOURNAL_END_NEWER;

    for (*good = at; at < file.len; *good = at) {
        const uint8_t *p = file.data + at;
        size_t left = file.len - at;
        size_t len;

        if (left < HEAD_LEN)
            return CV_JOURNAL_END_TORN;
        len =
            (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (((uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7]) !=
                head_check(p) ||
            len > CV_JOURNAL_RECORD)
            /* Files grow before their content reaches the disk: after a loss
             * of power the end may be zeros. */
            return all_zero(p, p + left) ? CV_JOURNAL_END_TORN
                                         : CV_JOURNAL_END_DAMAGED;
        if (left - HEAD_LEN < len + CRC_LEN)
            return CV_JOURNAL_END_TORN;
        if (cv_crc32(p, HEAD_LEN + len) !=
            ((uint32_t)p[HEAD_LEN + len] << 24 |
             (uint32_t)p[HEAD_LEN + len + 1] << 16 |
             (uint32_t)p[HEAD_LEN + len + 2] << 8 |
             (uint32_t)p[HEAD_LEN + len + 3]))
            return CV_JOURNAL_END_DAMAGED;
        if (fn(user, p[4], CV_BYTES(p + HEAD_LEN, len)) != CV_OK)
            return CV_JOURNAL_END_STOPPED;
        at += HEAD_LEN + len + CRC_LEN;
    }
    return CV_JOURNAL_END_WHOLE;
}

/* ---- facts in memory ---- */

static struct cv_bytes fact_key(const struct fact *f)
{
    return CV_BYTES(f->bytes, f->key_len);
}

static struct cv_bytes fact_value(const struct fact *f)
{
    return CV_BYTES(f->bytes + f->key_len, f->value_len);
}

static bool bytes_equal(struct cv_bytes a, struct cv_bytes b)
{
    return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

static struct fact *find_fact(const struct cv_journal *j, uint8_t type,
                              struct cv_bytes key)
{
    for (size_t i = 0; i < j->n_facts; i++)
        if (j->facts[i].type == type &&
            bytes_equal(fact_key(&j->facts[i]), key))
            return &j->facts[i];
    return NULL;
}

static void drop_fact_bytes(struct fact *f)
{
    /* One of them is the secret of the session. */
    cv_wipe(f->bytes, (size_t)f->key_len + f->value_len);
    free(f->bytes);
}

static int set_fact(struct cv_journal *j, uint8_t type, struct cv_bytes key,
                    struct cv_bytes value)
{
    struct fact *f = find_fact(j, type, key);
    uint8_t *bytes;

    if (!value.len) {
        if (f) {
            drop_fact_bytes(f);
            memmove(f, f + 1,
                    (size_t)(j->facts + j->n_facts - (f + 1)) * sizeof(*f));
            j->n_facts--;
        }
        return CV_OK;
    }
    if (key.len > CV_JOURNAL_FACT_KEY || value.len > CV_JOURNAL_FACT_VALUE ||
        (!f && j->n_facts == CV_JOURNAL_FACTS))
        return CV_ERR_LIMIT;
    bytes = malloc(key.len + value.len);
    if (!bytes)
        return CV_ERR_NOMEM;
    if (key.len)
        memcpy(bytes, key.data, key.len);
    memcpy(bytes + key.len, value.data, value.len);
    if (f) {
        drop_fact_bytes(f);
    } else {
        if (j->n_facts == j->facts_cap) {
            size_t cap = j->facts_cap ? 2 * j->facts_cap : 16;
            struct fact *facts = realloc(j->facts, cap * sizeof(*facts));

            if (!facts) {
                free(bytes);
                return CV_ERR_NOMEM;
            }
            j->facts = facts;
            j->facts_cap = cap;
        }
        f = &j->facts[j->n_facts++];
    }
    f->type = type;
    f->key_len = (uint8_t)key.len;
    f->value_len = (uint16_t)value.len;
    f->bytes = bytes;
    return CV_OK;
}

static int put_fact_record(struct cv_writer *w, uint8_t type,
                           struct cv_bytes key, struct cv_bytes value)
{
    uint8_t head[1 + 8 + CV_JOURNAL_FACT_KEY + 8];
    struct cv_writer h;

    cv_writer_init(&h, head, sizeof(head));
    cv_put_u8(&h, type);
    cv_put_varbytes(&h, key.data, key.len);
    cv_put_varuint(&h, value.len);
    return put_record(w, CV_JOURNAL_FACT, cv_writer_bytes(&h), value,
                      CV_BYTES(NULL, 0));
}

static int put_update_record(struct cv_writer *w, uint32_t document,
                             struct cv_bytes update)
{
    const uint8_t head[4] = {(uint8_t)(document >> 24),
                             (uint8_t)(document >> 16),
                             (uint8_t)(document >> 8), (uint8_t)document};

    return put_record(w, CV_JOURNAL_UPDATE, CV_BYTES(head, sizeof(head)),
                      update, CV_BYTES(NULL, 0));
}

static int note_document(struct cv_journal *j, uint32_t document)
{
    uint32_t *documents;

    for (size_t i = 0; i < j->n_documents; i++)
        if (j->documents[i] == document)
            return CV_OK;
    if (j->n_documents == DOCUMENTS_MAX)
        return CV_ERR_LIMIT;
    documents =
        realloc(j->documents, (j->n_documents + 1) * sizeof(*documents));
    if (!documents)
        return CV_ERR_NOMEM;
    j->documents = documents;
    documents[j->n_documents++] = document;
    return CV_OK;
}

/* ---- writing ---- */

static int write_at(int fd, off_t at, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = pwrite(fd, data, len, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : ENOSPC;
        data += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static void say_trouble(struct cv_journal *j, int error)
{
    char text[PATH_BYTES + 128];

    if (error == ENOSPC || error == EDQUOT)
        snprintf(text, sizeof(text),
                 "the disk is full: changes are kept in memory only until "
                 "there is room in %s",
                 j->dir);
    else
        snprintf(text, sizeof(text),
                 "changes are kept in memory only: writing to %s failed (%s)",
                 j->dir, strerror(error));
    cv_error(j->log, "journal: cannot write, errno=%d", error);
    if (j->trouble)
        j->trouble(j->user, CV_ERR_IO, text);
}

static void note_failure(struct cv_journal *j, int error)
{
    bool first = !j->failing;

    j->failing = true;
    if (first)
        say_trouble(j, error);
}

static void note_success(struct cv_journal *j)
{
    if (!j->failing)
        return;
    j->failing = false;
    cv_info(j->log, "journal: writing works again");
    if (j->trouble)
        j->trouble(j->user, CV_OK, "changes are written to the disk again");
}

/* Whole frames go to the end of the file, or nothing does.  Returns errno. */
static int write_frames(struct cv_journal *j, struct cv_bytes frames)
{
    int error = write_at(j->fd, j->size, frames.data, frames.len);

    if (error) {
        /* What got there is a torn record, which the next write covers and
         * opening cuts. */
        if (ftruncate(j->fd, j->size) < 0)
            cv_debug(j->log, "journal: cannot cut, errno=%d", errno);
        return error;
    }
    j->size += (off_t)frames.len;
    j->unsynced = true;
    return 0;
}

/* Keep frames for later. */
static void hold(struct cv_journal *j, struct cv_bytes frames)
{
    if (j->overflow)
        return;
    if (cv_put_raw(&j->unwritten, frames.data, frames.len) == CV_OK)
        return;
    /* Facts are in memory, and documents can tell their state. */
    cv_warn(j->log, "journal: too much waits, the state will be written");
    cv_writer_fini(&j->unwritten);
    cv_writer_init_heap(&j->unwritten, CV_JOURNAL_UNWRITTEN);
    j->overflow = true;
}

static int emit(struct cv_journal *j, struct cv_bytes frames)
{
    int error;

    if (!cv_journal_clean(j)) {
        hold(j, frames);
        return CV_ERR_IO;
    }
    error = write_frames(j, frames);
    if (error) {
        hold(j, frames);
        note_failure(j, error);
        return CV_ERR_IO;
    }
    return CV_OK;
}

/* Everything as it is now: the facts and the state of the documents. */
static int put_snapshot(const struct cv_journal *j, struct cv_writer *w)
{
    struct cv_writer state;
    int err = CV_OK;

    for (size_t i = 0; i < j->n_facts && err == CV_OK; i++)
        err = put_fact_record(w, j->facts[i].type, fact_key(&j->facts[i]),
                              fact_value(&j->facts[i]));
    cv_writer_init_heap(&state, CV_JOURNAL_RECORD - 4);
    for (size_t i = 0; i < j->n_sources && err == CV_OK; i++) {
        const struct source *s = &j->sources[i];

        cv_writer_reset(&state);
        err = s->state(s->user, &state);
        if (err == CV_OK)
            err = put_update_record(w, s->document, cv_writer_bytes(&state));
    }
    cv_writer_fini(&state);
    return err;
}

bool cv_journal_clean(const struct cv_journal *j)
{
    return !j->unwritten.len && !j->overflow;
}

static void try_again(struct cv_journal *j)
{
    struct cv_writer all;
    int error;

    if (cv_journal_clean(j))
        return;
    if (!j->overflow) {
        error = write_frames(j, cv_writer_bytes(&j->unwritten));
    } else {
        cv_writer_init_heap(&all, SIZE_MAX);
        error = put_snapshot(j, &all) == CV_OK
                    ? write_frames(j, cv_writer_bytes(&all))
                    : ENOMEM;
        cv_writer_fini(&all);
    }
    if (error)
        return;
    j->overflow = false;
    cv_writer_fini(&j->unwritten);
    cv_writer_init_heap(&j->unwritten, CV_JOURNAL_UNWRITTEN);
    note_success(j);
}

int cv_journal_put(struct cv_journal *j, enum cv_journal_fact type,
                   struct cv_bytes key, struct cv_bytes value)
{
    int err;

    if (key.len > CV_JOURNAL_FACT_KEY)
        return CV_ERR_LIMIT;
    if (bytes_equal(cv_journal_get(j, type, key), value))
        return cv_journal_clean(j) ? CV_OK : CV_ERR_IO;
    err = set_fact(j, (uint8_t)type, key, value);
    if (err != CV_OK)
        return err;
    cv_writer_reset(&j->frame);
    err = put_fact_record(&j->frame, (uint8_t)type, key, value);
    if (err == CV_OK)
        err = emit(j, cv_writer_bytes(&j->frame));
    cv_wipe(j->frame.data, j->frame.len);
    return err;
}

struct cv_bytes cv_journal_get(const struct cv_journal *j,
                               enum cv_journal_fact type, struct cv_bytes key)
{
    const struct fact *f = find_fact(j, (uint8_t)type, key);

    return f ? fact_value(f) : CV_BYTES(NULL, 0);
}

void cv_journal_each(const struct cv_journal *j, enum cv_journal_fact type,
                     void (*fn)(void *user, struct cv_bytes key,
                                struct cv_bytes value),
                     void *user)
{
    for (size_t i = 0; i < j->n_facts; i++)
        if (j->facts[i].type == type)
            fn(user, fact_key(&j->facts[i]), fact_value(&j->facts[i]));
}

int cv_journal_append(struct cv_journal *j, uint32_t document,
                      struct cv_bytes update)
{
    int err = note_document(j, document);

    if (err != CV_OK)
        return err;
    cv_writer_reset(&j->frame);
    err = put_update_record(&j->frame, document, update);
    if (err != CV_OK)
        return err;
    err = emit(j, cv_writer_bytes(&j->frame));
    if (j->frame.cap > CV_JOURNAL_COMPACT) {
        cv_writer_fini(&j->frame);
        cv_writer_init_heap(&j->frame, CV_JOURNAL_RECORD + 64);
    }
    return err;
}

void cv_journal_set_source(struct cv_journal *j, uint32_t document,
                           int (*state)(void *user, struct cv_writer *out),
                           void *user)
{
    struct source *sources;
    size_t i;

    for (i = 0; i < j->n_sources && j->sources[i].document != document; i++)
        ;
    if (!state) {
        if (i < j->n_sources)
            j->sources[i] = j->sources[--j->n_sources];
        return;
    }
    if (i == j->n_sources) {
        /* Without a source the file just is not compacted. */
        if (j->n_sources == SOURCES_MAX)
            return;
        sources = realloc(j->sources, (j->n_sources + 1) * sizeof(*sources));
        if (!sources)
            return;
        j->sources = sources;
        j->n_sources++;
    }
    j->sources[i] = (struct source){document, state, user};
}

/* ---- reading ---- */

/* The whole file; CV_ERR_IO, CV_ERR_NOMEM. */
static int read_file(int fd, uint8_t **out, size_t *out_len)
{
    struct stat st;
    uint8_t *data;
    size_t len = 0;

    if (fstat(fd, &st) < 0 || st.st_size < 0)
        return CV_ERR_IO;
    data = malloc((size_t)st.st_size + 1);
    if (!data)
        return CV_ERR_NOMEM;
    while (len < (size_t)st.st_size) {
        ssize_t n = pread(fd, data + len, (size_t)st.st_size - len, (off_t)len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(data);
            return CV_ERR_IO;
        }
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *out = data;
    *out_len = len;
    return CV_OK;
}

static bool split_fact(struct cv_bytes payload, uint8_t *type,
                       struct cv_bytes *key, struct cv_bytes *value)
{
    struct cv_reader r;

    cv_reader_init(&r, payload.data, payload.len);
    *type = cv_get_u8(&r);
    *key = cv_get_varbytes(&r, CV_JOURNAL_FACT_KEY);
    *value = cv_get_varbytes(&r, CV_JOURNAL_FACT_VALUE);
    return cv_reader_end(&r) == CV_OK;
}

static bool split_update(struct cv_bytes payload, uint32_t *document,
                         struct cv_bytes *update)
{
    struct cv_reader r;

    cv_reader_init(&r, payload.data, payload.len);
    *document = cv_get_u32(&r);
    *update = cv_get_bytes(&r, cv_reader_left(&r));
    return r.err == CV_OK;
}

struct loading {
    struct cv_journal *j;
    int err;
    bool only_new_facts;
};

static int load_record(void *user, uint8_t type, struct cv_bytes payload)
{
    struct loading *l = user;
    struct cv_bytes key, value;
    uint32_t document;
    uint8_t fact;

    if (type == CV_JOURNAL_FACT && split_fact(payload, &fact, &key, &value)) {
        if (l->only_new_facts && find_fact(l->j, fact, key))
            return CV_OK;
        l->err = set_fact(l->j, fact, key, value);
        if (l->err == CV_ERR_LIMIT)
            l->err = CV_OK;
    } else if (type == CV_JOURNAL_UPDATE && !l->only_new_facts &&
               split_update(payload, &document, &value)) {
        l->err = note_document(l->j, document);
    }
    return l->err;
}

struct replaying {
    uint32_t document;
    int (*fn)(void *user, struct cv_bytes update);
    void *user;
    int err;
};

static int replay_record(void *user, uint8_t type, struct cv_bytes payload)
{
    struct replaying *r = user;
    struct cv_bytes update;
    uint32_t document;

    if (type == CV_JOURNAL_UPDATE &&
        split_update(payload, &document, &update) && document == r->document)
        r->err = r->fn(r->user, update);
    return r->err;
}

int cv_journal_updates(struct cv_journal *j, uint32_t document,
                       int (*fn)(void *user, struct cv_bytes update),
                       void *user)
{
    struct replaying r = {document, fn, user, CV_OK};
    uint8_t *data = NULL;
    size_t len = 0, good;
    int err = read_file(j->fd, &data, &len);

    if (err != CV_OK)
        return err;
    if (len > (size_t)j->size)
        len = (size_t)j->size;
    (void)cv_journal_parse(CV_BYTES(data, len), &good, replay_record, &r);
    if (good != len && r.err == CV_OK)
        r.err = CV_ERR_IO; /* it was whole when it was opened */
    free(data);
    return r.err;
}

/* ---- files ---- */

static void hash_name(const struct cv_key *session, char out[HASH_TEXT + 1])
{
    const struct cv_bytes parts[] = {CV_LITERAL("covim journal 1"),
                                     {session->b, CV_KEY_LEN}};
    uint8_t hash[CV_HASH_LEN];

    cv_sha256(hash, parts, 2);
    cv_hex(out, hash, HASH_TEXT / 2);
}

static bool slot_path(char out[PATH_BYTES], const char *dir,
                      const struct cv_key *session, unsigned slot)
{
    char name[HASH_TEXT + 1];
    int n;

    hash_name(session, name);
    n = snprintf(out, PATH_BYTES, "%s/%s.%u", dir, name, slot);
    return n > 0 && (size_t)n < PATH_BYTES - 16;
}

/* Is the file one that only we can have written? */
static bool is_private(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

/* Open an existing file and lock it.  CV_ERR_NOTFOUND, CV_ERR_BUSY (`*out` is
 * then open for reading all the same), CV_ERR_PERM, CV_ERR_IO. */
static int open_locked(int *out, const char *path)
{
    for (;;) {
        struct stat a, b;
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

        *out = -1;
        if (fd < 0)
            return errno == ENOENT ? CV_ERR_NOTFOUND
                   : errno == EACCES || errno == ELOOP || errno == EPERM ||
                           errno == EROFS
                       ? CV_ERR_PERM
                       : CV_ERR_IO;
        if (!is_private(fd)) {
            close(fd);
            return CV_ERR_PERM;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            *out = fd;
            return CV_ERR_BUSY;
        }
        /* It may have been replaced by a compaction meanwhile. */
        if (fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
            a.st_dev == b.st_dev) {
            *out = fd;
            return CV_OK;
        }
        close(fd);
    }
}

/* Make a new file, locked, with its header. */
static int create_locked(int *out, const char *path)
{
    static const uint8_t magic[CV_JOURNAL_HEADER] = MAGIC "1";
    int fd =
        open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return errno == EEXIST                     ? CV_ERR_EXISTS
               : errno == EACCES || errno == EPERM ? CV_ERR_PERM
                                                   : CV_ERR_IO;
    if (fchmod(fd, 0600) < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ||
        write_at(fd, 0, magic, sizeof(magic)) != 0) {
        int error = errno;

        unlink(path);
        close(fd);
        errno = error;
        return CV_ERR_IO;
    }
    *out = fd;
    return CV_OK;
}

static void explain_open(char *why, size_t why_len, int err, const char *path,
                         int error)
{
    switch (err) {
    case CV_ERR_EXISTS:
        snprintf(why, why_len, "this session is stored already in %s", path);
        break;
    case CV_ERR_NOTFOUND:
        snprintf(why, why_len, "nothing is stored of this session; join it");
        break;
    case CV_ERR_BUSY:
        snprintf(why, why_len,
                 "another editor of yours has this session open; leave it "
                 "there first, or join it here as a second participant");
        break;
    case CV_ERR_PERM:
        snprintf(why, why_len,
                 "%s must belong to you and be closed to others: chmod 600",
                 path);
        break;
    case CV_ERR_VERSION:
        snprintf(why, why_len, "%s was written by a newer covim; use that one",
                 path);
        break;
    default:
        snprintf(why, why_len, "cannot open %s: %s", path,
                 error ? strerror(error) : cv_strerror(err));
        break;
    }
}

/* Find the slot to use, by mode; on success `fd` is locked and `path` set. */
static int choose_slot(const struct cv_journal_config *config, int *fd,
                       char path[PATH_BYTES])
{
    bool busy = false, found = false;
    unsigned slot;
    int err;

    for (slot = 0; slot < CV_JOURNAL_SLOTS; slot++) {
        if (!slot_path(path, config->dir, &config->session, slot))
            return CV_ERR_IO;
        err = open_locked(fd, path);
        if (err == CV_ERR_NOTFOUND)
            continue;
        found = true;
        if (config->mode == CV_JOURNAL_CREATE) {
            if (*fd >= 0)
                close(*fd);
            return CV_ERR_EXISTS;
        }
        if (err != CV_ERR_BUSY)
            return err;
        close(*fd);
        busy = true;
    }
    if (config->mode == CV_JOURNAL_RESUME)
        return busy ? CV_ERR_BUSY : CV_ERR_NOTFOUND;
    assert(config->mode == CV_JOURNAL_EITHER || !found);
    for (slot = 0; slot < CV_JOURNAL_SLOTS; slot++) {
        if (!slot_path(path, config->dir, &config->session, slot))
            return CV_ERR_IO;
        err = create_locked(fd, path);
        if (err != CV_ERR_EXISTS)
            return err;
    }
    return CV_ERR_BUSY;
}

/* The damaged file gets another name, and what was good of it a new file under
 * the old one. */
static int set_aside(struct cv_journal *j, struct cv_bytes good, char *why,
                     size_t why_len)
{
    static const uint8_t magic[CV_JOURNAL_HEADER] = MAGIC "1";
    char aside[PATH_BYTES + 32];
    int fd = -1;
    int err;

    for (unsigned i = 1;; i++) {
        snprintf(aside, sizeof(aside), "%s.damaged-%u", j->path, i);
        if (link(j->path, aside) == 0)
            break;
        if (errno != EEXIST || i == 1000)
            return CV_ERR_IO;
    }
    if (unlink(j->path) < 0)
        return CV_ERR_IO;
    err = create_locked(&fd, j->path);
    if (err != CV_OK)
        return CV_ERR_IO;
    if (good.len < CV_JOURNAL_HEADER)
        good = CV_BYTES(magic, sizeof(magic));
    if (write_at(fd, 0, good.data, good.len) != 0) {
        close(fd);
        return CV_ERR_IO;
    }
    close(j->fd);
    j->fd = fd;
    j->size = (off_t)good.len;
    j->unsynced = true;
    snprintf(why, why_len,
             "the record of this session was damaged; what could be read is "
             "taken over, and the damaged file is kept as %s",
             aside);
    cv_warn(j->log, "journal: damaged, kept=%zu", good.len);
    return CV_OK;
}

/* Read what the file holds, and bring it into order. */
static int load(struct cv_journal *j, char *why, size_t why_len)
{
    struct loading l = {.j = j};
    enum cv_journal_end end;
    uint8_t *data = NULL;
    size_t len = 0, good;
    int err = read_file(j->fd, &data, &len);

    if (err != CV_OK)
        return err;
    end = cv_journal_parse(CV_BYTES(data, len), &good, load_record, &l);
    j->size = (off_t)good;
    switch (end) {
    case CV_JOURNAL_END_WHOLE:
        break;
    case CV_JOURNAL_END_TORN:
        cv_info(j->log, "journal: torn end cut, bytes=%zu", len - good);
        if (good < CV_JOURNAL_HEADER) {
            static const uint8_t magic[CV_JOURNAL_HEADER] = MAGIC "1";

            if (write_at(j->fd, 0, magic, sizeof(magic)) != 0)
                err = CV_ERR_IO;
            j->size = CV_JOURNAL_HEADER;
        }
        if (err == CV_OK && ftruncate(j->fd, j->size) < 0)
            err = CV_ERR_IO;
        break;
    case CV_JOURNAL_END_DAMAGED:
    case CV_JOURNAL_END_ALIEN:
        err = set_aside(j, CV_BYTES(data, good), why, why_len);
        break;
    case CV_JOURNAL_END_NEWER:
        err = CV_ERR_VERSION;
        break;
    case CV_JOURNAL_END_STOPPED:
        err = l.err;
        break;
    }
    free(data);
    return err;
}

struct adopting {
    struct cv_journal *j;
    bool updates;
    int err;
};

static int adopt_record(void *user, uint8_t type, struct cv_bytes payload)
{
    struct adopting *a = user;
    struct cv_bytes key, value;
    uint32_t document;
    uint8_t fact;

    if (type == CV_JOURNAL_UPDATE && a->updates &&
        split_update(payload, &document, &value))
        a->err = cv_journal_append(a->j, document, value);
    else if (type == CV_JOURNAL_FACT &&
             split_fact(payload, &fact, &key, &value) && fact &&
             !find_fact(a->j, fact, key))
        a->err = cv_journal_put(a->j, fact, key, value);
    return a->err;
}

/* Take over what another agent of ours left, or (while that is running) only
 * what it knows. */
static void adopt(struct cv_journal *j, const char *path)
{
    struct adopting a = {.j = j};
    enum cv_journal_end end;
    uint8_t *data = NULL;
    size_t len = 0, good;
    int fd = -1;
    int err = open_locked(&fd, path);

    if (err != CV_OK && err != CV_ERR_BUSY)
        return;
    a.updates = err == CV_OK;
    if (read_file(fd, &data, &len) == CV_OK) {
        end = cv_journal_parse(CV_BYTES(data, len), &good, adopt_record, &a);
        /* A damaged one stays for when it is opened itself. */
        if (a.updates && a.err == CV_OK &&
            (end == CV_JOURNAL_END_WHOLE || end == CV_JOURNAL_END_TORN)) {
            /* The copy has to be as safe as the original was. */
            if (fdatasync(j->fd) == 0 && unlink(path) == 0)
                cv_info(j->log, "journal: took over another agent's, bytes=%zu",
                        good);
        }
        cv_wipe(data, len);
        free(data);
    }
    close(fd);
}

/* Unfinished compactions of a process that was killed.  We hold the lock. */
static void remove_leftovers(const struct cv_journal *j)
{
    const char *name = strrchr(j->path, '/') + 1;
    size_t len = strlen(name);
    DIR *dir = opendir(j->dir);
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir)))
        if (strncmp(entry->d_name, name, len) == 0 &&
            strncmp(entry->d_name + len, TMP_SUFFIX, sizeof(TMP_SUFFIX) - 1) ==
                0)
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

static void free_journal(struct cv_journal *j)
{
    for (size_t i = 0; i < j->n_facts; i++)
        drop_fact_bytes(&j->facts[i]);
    free(j->facts);
    free(j->sources);
    free(j->documents);
    cv_writer_fini(&j->frame);
    if (j->unwritten.len)
        cv_wipe(j->unwritten.data, j->unwritten.len);
    cv_writer_fini(&j->unwritten);
    if (j->fd >= 0) {
        /* A job may still hold a duplicate; the lock is of all of them. */
        flock(j->fd, LOCK_UN);
        close(j->fd);
    }
    free(j);
}

static struct cv_journal *alloc_journal(void)
{
    struct cv_journal *j = calloc(1, sizeof(*j));

    if (!j)
        return NULL;
    j->fd = -1;
    j->retry_due = CV_NEVER;
    cv_writer_init_heap(&j->frame, CV_JOURNAL_RECORD + 64);
    cv_writer_init_heap(&j->unwritten, CV_JOURNAL_UNWRITTEN);
    return j;
}

int cv_journal_open(struct cv_journal **out,
                    const struct cv_journal_config *config, cv_time now,
                    char *why, size_t why_len)
{
    struct cv_journal *j;
    struct cv_bytes known;
    int err;

    if (why_len)
        why[0] = '\0';
    err = cv_private_dir(config->dir);
    if (err != CV_OK) {
        if (err == CV_ERR_PERM)
            snprintf(why, why_len,
                     "the folder %s must belong to you and be closed to "
                     "others: chmod 700",
                     config->dir);
        else
            snprintf(why, why_len, "cannot make the folder %s: %s", config->dir,
                     cv_strerror(err));
        return err;
    }
    j = alloc_journal();
    if (!j)
        return CV_ERR_NOMEM;
    j->loop = config->loop;
    j->log = config->log;
    j->session = config->session;
    j->sync_due = now;
    j->compact_after = now;
    snprintf(j->dir, sizeof(j->dir), "%s", config->dir);

    errno = 0;
    err = choose_slot(config, &j->fd, j->path);
    if (err == CV_OK) {
        j->dir_unsynced = true;
        remove_leftovers(j);
        err = load(j, why, why_len);
    }
    if (err != CV_OK) {
        explain_open(why, why_len, err, j->path, errno);
        free_journal(j);
        return err;
    }
    if (config->mode != CV_JOURNAL_CREATE)
        for (unsigned slot = 0; slot < CV_JOURNAL_SLOTS; slot++) {
            char path[PATH_BYTES];

            if (slot_path(path, config->dir, &config->session, slot) &&
                strcmp(path, j->path) != 0)
                adopt(j, path);
        }
    known = CV_BYTES(config->session.b, CV_KEY_LEN);
    err = cv_journal_put(j, CV_FACT_SESSION, CV_BYTES(NULL, 0), known);
    if (err != CV_OK) {
        explain_open(why, why_len, err, j->path, errno);
        free_journal(j);
        return err;
    }
    /* From here on trouble is told as it comes. */
    j->trouble = config->trouble;
    j->user = config->user;
    *out = j;
    return CV_OK;
}

/* ---- jobs: what blocks, on the worker ---- */

static void free_job(struct job *job)
{
    if (job->fd >= 0)
        close(job->fd);
    if (job->dir_fd >= 0)
        close(job->dir_fd);
    if (job->new_fd >= 0)
        close(job->new_fd);
    free(job->snapshot);
    free(job);
}

static struct job *new_job(struct cv_journal *j)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    job->j = j;
    job->dir_fd = job->new_fd = -1;
    job->fd = fcntl(j->fd, F_DUPFD_CLOEXEC, 0);
    if (job->fd < 0) {
        free(job);
        return NULL;
    }
    if (j->dir_unsynced)
        job->dir_fd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return job;
}

static void run_job(struct cv_journal *j, void (*work)(void *user),
                    void (*done)(void *user), struct job *job)
{
    if (j->loop && cv_loop_work(j->loop, work, done, job) == CV_OK)
        return;
    work(job);
    done(job);
}

static void sync_work(void *user)
{
    struct job *job = user;

    if (fdatasync(job->fd) < 0)
        job->err = errno;
    if (job->dir_fd >= 0 && fsync(job->dir_fd) < 0 && errno != EINVAL)
        job->err = errno;
}

static void sync_done(void *user)
{
    struct job *job = user;
    struct cv_journal *j = job->j;

    if (j) {
        j->sync = NULL;
        if (job->err) {
            /* The kernel may have dropped the pages: what is on the disk is
             * unknown, only a new file helps. */
            j->rewrite = true;
            j->unsynced = true;
            note_failure(j, job->err);
        } else if (!j->rewrite && cv_journal_clean(j)) {
            note_success(j);
        }
    }
    free_job(job);
}

static void start_sync(struct cv_journal *j, cv_time now)
{
    struct job *job = new_job(j);

    j->sync_due = now + CV_JOURNAL_SYNC_EVERY;
    if (!job)
        return;
    j->unsynced = false;
    j->dir_unsynced = false;
    j->sync = job;
    run_job(j, sync_work, sync_done, job);
}

/* Copy [from, upto) of the old file to the end of the new one.  errno. */
static int copy_tail(struct job *job)
{
    uint8_t buf[16384];

    while (job->from < job->upto) {
        size_t want = (size_t)(job->upto - job->from);
        ssize_t n;
        int error;

        n = pread(job->fd, buf, want < sizeof(buf) ? want : sizeof(buf),
                  job->from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        error = write_at(job->new_fd, job->new_size, buf, (size_t)n);
        if (error)
            return error;
        job->from += n;
        job->new_size += n;
    }
    return 0;
}

static void compact_work(void *user)
{
    struct job *job = user;

    if (job->snapshot) {
        job->err = write_at(job->new_fd, job->new_size, job->snapshot,
                            job->snapshot_len);
        job->new_size += (off_t)job->snapshot_len;
        cv_wipe(job->snapshot, job->snapshot_len);
        free(job->snapshot);
        job->snapshot = NULL;
    }
    if (!job->err)
        job->err = copy_tail(job);
    if (!job->err && fdatasync(job->new_fd) < 0)
        job->err = errno;
}

/* The new file takes the place of the old one. */
static int swap_files(struct cv_journal *j, struct job *job)
{
    int error;

    job->upto = j->size;
    error = copy_tail(job);
    if (error)
        return error;
    if (rename(job->tmp, j->path) < 0)
        return errno;
    cv_debug(j->log, "journal: compacted, before=%lld, after=%lld",
             (long long)j->size, (long long)job->new_size);
    flock(j->fd, LOCK_UN);
    close(j->fd);
    j->fd = job->new_fd;
    job->new_fd = -1;
    j->size = job->new_size;
    j->state_bytes = (size_t)job->new_size;
    j->rewrite = false;
    j->unsynced = true;
    j->dir_unsynced = true;
    j->sync_due = INT64_MIN; /* the tail was not synced in the new file */
    return 0;
}

static void compact_done(void *user)
{
    struct job *job = user;
    struct cv_journal *j = job->j;

    if (j && !job->err && j->size - job->from > TAIL_MAX &&
        ++job->rounds < TAIL_ROUNDS) {
        job->upto = j->size;
        run_job(j, compact_work, compact_done, job);
        return;
    }
    if (j) {
        j->compaction = NULL;
        if (!job->err)
            job->err = swap_files(j, job);
        if (job->err) {
            cv_warn(j->log, "journal: not compacted, errno=%d", job->err);
            unlink(job->tmp);
        } else if (cv_journal_clean(j)) {
            note_success(j);
        }
    } else {
        unlink(job->tmp);
    }
    free_job(job);
}

static bool all_documents_have_sources(const struct cv_journal *j)
{
    for (size_t i = 0; i < j->n_documents; i++) {
        size_t k;

        for (k = 0; k < j->n_sources; k++)
            if (j->sources[k].document == j->documents[i])
                break;
        if (k == j->n_sources)
            return false;
    }
    return true;
}

static bool too_large(const struct cv_journal *j)
{
    return j->rewrite || ((size_t)j->size > CV_JOURNAL_COMPACT &&
                          (size_t)j->size / 4 > j->state_bytes);
}

static void start_compaction(struct cv_journal *j, cv_time now)
{
    static unsigned serial;
    struct cv_writer w;
    struct job *job;

    j->compact_after = now + CV_SECOND;
    if (!all_documents_have_sources(j)) {
        j->compact_after = now + CV_MINUTE;
        return;
    }
    cv_writer_init_heap(&w, SIZE_MAX);
    if (put_snapshot(j, &w) != CV_OK) {
        cv_writer_fini(&w);
        return;
    }
    j->state_bytes = w.len;
    if (!too_large(j)) {
        cv_writer_fini(&w);
        return;
    }
    job = new_job(j);
    if (!job) {
        cv_writer_fini(&w);
        return;
    }
    /* A job of an earlier life of this journal may still be at work. */
    snprintf(job->tmp, sizeof(job->tmp), "%.*s" TMP_SUFFIX "%u",
             (int)(PATH_BYTES - 32), j->path, serial++);
    if (create_locked(&job->new_fd, job->tmp) != CV_OK) {
        cv_warn(j->log, "journal: not compacted, errno=%d", errno);
        cv_writer_fini(&w);
        free_job(job);
        return;
    }
    job->new_size = CV_JOURNAL_HEADER;
    job->snapshot = cv_writer_take(&w, &job->snapshot_len);
    job->from = job->upto = j->size;
    j->compaction = job;
    run_job(j, compact_work, compact_done, job);
}

cv_time cv_journal_deadline(const struct cv_journal *j)
{
    cv_time due = CV_NEVER;

    if (j->unsynced && !j->sync && !j->rewrite)
        due = cv_time_min(due, j->sync_due);
    if (!cv_journal_clean(j)) /* the first step sets the time */
        due = cv_time_min(due, j->retry_due == CV_NEVER ? 0 : j->retry_due);
    if (!j->compaction && too_large(j))
        due = cv_time_min(due, j->compact_after);
    return due;
}

void cv_journal_step(struct cv_journal *j, cv_time now)
{
    if (!cv_journal_clean(j)) {
        if (j->retry_due == CV_NEVER)
            j->retry_due = now + CV_JOURNAL_RETRY_EVERY;
        if (now >= j->retry_due) {
            try_again(j);
            j->retry_due =
                cv_journal_clean(j) ? CV_NEVER : now + CV_JOURNAL_RETRY_EVERY;
        }
    }
    if (!j->compaction && too_large(j) && now >= j->compact_after)
        start_compaction(j, now);
    if (j->unsynced && !j->sync && !j->rewrite && now >= j->sync_due)
        start_sync(j, now);
}

void cv_journal_close(struct cv_journal *j)
{
    struct job *job;

    if (!j)
        return;
    try_again(j);
    if (j->sync)
        j->sync->j = NULL;
    if (j->compaction)
        j->compaction->j = NULL;
    if (j->unsynced) {
        job = new_job(j);
        if (job) {
            job->j = NULL;
            run_job(j, sync_work, sync_done, job);
        }
    }
    free_journal(j);
}

void cv_journal_remove(struct cv_journal *j)
{
    if (!j)
        return;
    if (unlink(j->path) < 0)
        cv_warn(j->log, "journal: cannot delete, errno=%d", errno);
    j->unsynced = false;
    cv_writer_reset(&j->unwritten);
    j->overflow = false;
    cv_journal_close(j);
}

/* ---- what is stored ---- */

static bool is_slot_name(const char *name)
{
    return strlen(name) == HASH_TEXT + 2 && name[HASH_TEXT] == '.' &&
           name[HASH_TEXT + 1] >= '0' &&
           name[HASH_TEXT + 1] < '0' + (int)CV_JOURNAL_SLOTS &&
           strspn(name, "0123456789abcdef") == HASH_TEXT;
}

static int only_slots(const struct dirent *entry)
{
    return is_slot_name(entry->d_name);
}

/* Add the facts of one file that are not known yet. */
static void scan_file(struct cv_journal *j, int dir_fd, const char *name)
{
    struct loading l = {.j = j, .only_new_facts = true};
    struct cv_bytes key;
    char expect[HASH_TEXT + 1];
    uint8_t *data = NULL;
    size_t len = 0, good;
    int fd =
        openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return;
    if (is_private(fd) && read_file(fd, &data, &len) == CV_OK) {
        (void)cv_journal_parse(CV_BYTES(data, len), &good, load_record, &l);
        cv_wipe(data, len);
        free(data);
    }
    close(fd);
    key = cv_journal_get(j, CV_FACT_SESSION, CV_BYTES(NULL, 0));
    if (key.len != CV_KEY_LEN)
        return;
    memcpy(j->session.b, key.data, CV_KEY_LEN);
    hash_name(&j->session, expect);
    if (memcmp(expect, name, HASH_TEXT) != 0)
        (void)set_fact(j, CV_FACT_SESSION, CV_BYTES(NULL, 0),
                       CV_BYTES(NULL, 0));
}

void cv_journal_scan(const char *dir,
                     void (*fn)(void *user, const struct cv_journal *j),
                     void *user)
{
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent **names = NULL;
    struct cv_journal *j = NULL;
    int n;

    if (dir_fd < 0)
        return;
    n = scandirat(dir_fd, ".", &names, only_slots, alphasort);
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        bool last =
            i + 1 == n || memcmp(name, names[i + 1]->d_name, HASH_TEXT) != 0;

        if (!j)
            j = alloc_journal();
        if (j)
            scan_file(j, dir_fd, name);
        if (j && last) {
            if (cv_journal_get(j, CV_FACT_SESSION, CV_BYTES(NULL, 0)).len)
                fn(user, j);
            free_journal(j);
            j = NULL;
        }
    }
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    close(dir_fd);
}
