#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "session/journal_struct.h"

/* Opening: which slot, what is in it, and what others left. */

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
        if (error == ENOSPC || error == EDQUOT)
            snprintf(why, why_len, "cannot open %s: the disk is full", path);
        else
            snprintf(why, why_len, "cannot open %s: %s", path,
                     error ? strerror(error) : cv_strerror(err));
        break;
    }
}

/* ---- reading it ---- */

/* Facts go to memory, documents are noted. */
static int load_row(void *user, const struct cv_store_row *row)
{
    struct cv_journal *j = user;
    struct cv_bytes key, value;
    uint32_t document;
    uint8_t fact;
    int err = CV_OK;

    if (cv_journal_split_fact(row, &fact, &key, &value)) {
        err = cv_journal_set_fact(j, fact, key, value);
        if (err == CV_ERR_LIMIT)
            err = CV_OK;
    } else if (cv_journal_split_update(row, &document, &value)) {
        err = cv_journal_note_document(j, document);
    }
    return err;
}

/* ---- what other agents left ---- */

struct adopting {
    struct cv_journal *j;
    struct cv_journal *other; /* its facts only */
};

static int adopt_row(void *user, const struct cv_store_row *row)
{
    const struct adopting *a = user;
    struct cv_bytes update;
    uint32_t document;

    if (cv_journal_split_update(row, &document, &update))
        return cv_journal_append(a->j, document, update);
    return load_row(a->other, row);
}

/* What `other` knows and `j` does not; with `put` it is written, too. */
static int adopt_facts(struct cv_journal *j, const struct cv_journal *other,
                       bool put)
{
    int err = CV_OK;

    for (size_t i = 0; i < other->n_facts && err == CV_OK; i++) {
        const struct cv_journal_entry *f = &other->facts[i];
        struct cv_bytes key = CV_BYTES(f->bytes, f->key_len);
        struct cv_bytes value = CV_BYTES(f->bytes + f->key_len, f->value_len);

        if (!f->type || cv_journal_find_fact(j, f->type, key))
            continue;
        err = put ? cv_journal_put(j, (enum cv_journal_fact)f->type, key, value)
                  : cv_journal_set_fact(j, f->type, key, value);
    }
    return err;
}

/* Only what another agent knows, while it is running. */
static void read_facts(struct cv_journal *j, const char *db)
{
    struct cv_store_error e;
    struct cv_store *s = NULL;

    if (cv_store_open_to_read(&s, db, &e) == CV_OK &&
        cv_store_each(s, CV_JOURNAL_FACT, load_row, j, &e) != CV_OK)
        cv_debug(j->log, "journal: not read to the end, error=%d", e.err);
    cv_store_close(s, false);
}

/* Everything; then it is ours, and goes there. */
static void take_over(struct adopting *a, struct cv_journal_place *p, char *why,
                      size_t why_len)
{
    struct cv_store_error e;
    struct cv_store *s = NULL;
    bool taken = cv_journal_mend(p, &s, a->j->log, why, why_len, &e) == CV_OK &&
                 cv_store_each(s, 0, adopt_row, a, &e) == CV_OK &&
                 adopt_facts(a->j, a->other, true) == CV_OK &&
                 cv_journal_flush(a->j) == CV_OK;

    if (taken)
        cv_info(a->j->log, "journal: took over another agent's, bytes=%llu",
                (unsigned long long)cv_store_bytes(s));
    cv_store_close(s, false);
    if (taken)
        cv_journal_place_remove(p);
    else
        cv_journal_place_unlock(p);
}

/* Take over what another agent of ours left. */
static void adopt(struct cv_journal *j, struct cv_journal_place *p, char *why,
                  size_t why_len)
{
    struct adopting a = {j, NULL};
    int err;

    if (!cv_journal_place_is_used(p))
        return;
    a.other = cv_journal_alloc();
    if (!a.other)
        return;
    err = cv_journal_place_lock(p);
    if (err == CV_OK) {
        take_over(&a, p, why, why_len);
    } else if (err == CV_ERR_BUSY && cv_journal_place_check(p) == CV_OK) {
        read_facts(a.other, p->db);
        (void)adopt_facts(j, a.other, true);
    }
    cv_journal_free(a.other);
}

/* ---- opening ---- */

/* Find the slot to use, by mode; on success `place` is locked.  `*busy`:
 * another agent has this session. */
static int choose_slot(const struct cv_journal_config *config,
                       struct cv_journal_place *place, unsigned *slot,
                       bool *busy)
{
    bool found = false;
    int err;

    *busy = false;
    for (*slot = 0; *slot < CV_JOURNAL_SLOTS; ++*slot) {
        if (!cv_journal_place_init(place, config->dir, &config->session, *slot))
            return CV_ERR_IO;
        if (!cv_journal_place_is_used(place))
            continue;
        found = true;
        if (config->mode == CV_JOURNAL_CREATE)
            return CV_ERR_EXISTS;
        err = cv_journal_place_lock(place);
        if (err != CV_ERR_BUSY)
            return err;
        *busy = true;
    }
    if (config->mode == CV_JOURNAL_RESUME)
        return found ? CV_ERR_BUSY : CV_ERR_NOTFOUND;
    for (*slot = 0; *slot < CV_JOURNAL_SLOTS; ++*slot) {
        if (!cv_journal_place_init(place, config->dir, &config->session, *slot))
            return CV_ERR_IO;
        if (cv_journal_place_is_used(place))
            continue;
        err = cv_journal_place_lock(place);
        if (err != CV_ERR_BUSY)
            return err;
    }
    return CV_ERR_BUSY;
}

static int make_private_dir(const char *dir, char *why, size_t why_len)
{
    int err = cv_private_dir(dir);

    if (err == CV_ERR_PERM)
        snprintf(why, why_len,
                 "the folder %s must belong to you and be closed to "
                 "others: chmod 700",
                 dir);
    else if (err != CV_OK)
        snprintf(why, why_len, "cannot make the folder %s: %s", dir,
                 cv_strerror(err));
    return err;
}

/* Everything but the choice of the slot. */
static int load(struct cv_journal *j, const struct cv_journal_config *config,
                unsigned slot, char *why, size_t why_len,
                struct cv_store_error *e)
{
    struct cv_journal_place *other;

    if (cv_journal_mend(&j->place, &j->store, j->log, why, why_len, e) !=
            CV_OK ||
        cv_store_each(j->store, 0, load_row, j, e) != CV_OK)
        return e->err;
    j->log_bytes = cv_store_bytes(j->store);
    other = config->mode == CV_JOURNAL_CREATE ? NULL : malloc(sizeof(*other));
    for (unsigned i = 0; other && i < CV_JOURNAL_SLOTS; i++)
        if (i != slot &&
            cv_journal_place_init(other, config->dir, &config->session, i))
            adopt(j, other, why, why_len);
    free(other);
    e->err = cv_journal_put(j, CV_FACT_SESSION, CV_BYTES(NULL, 0),
                            CV_BYTES(config->session.b, CV_KEY_LEN));
    return e->err;
}

int cv_journal_open(struct cv_journal **out,
                    const struct cv_journal_config *config, cv_time now,
                    char *why, size_t why_len)
{
    struct cv_store_error e = {CV_OK, 0};
    struct cv_journal *j;
    unsigned slot = 0;
    bool busy;

    if (why_len)
        why[0] = '\0';
    e.err = make_private_dir(config->dir, why, why_len);
    if (e.err != CV_OK)
        return e.err;
    j = cv_journal_alloc();
    if (!j)
        return CV_ERR_NOMEM;
    j->log = config->log;
    j->session = config->session;
    j->commit_after = j->compact_after = now;
    snprintf(j->dir, sizeof(j->dir), "%s", config->dir);

    errno = 0;
    e.err = choose_slot(config, &j->place, &slot, &busy);
    e.error = errno;
    if (e.err == CV_OK)
        load(j, config, slot, why, why_len, &e);
    if (e.err != CV_OK) {
        explain_open(why, why_len, e.err, j->place.db, e.error);
        j->place.db[0] = '\0';
        cv_journal_free(j);
        return e.err;
    }
    if (busy && why_len && !why[0])
        snprintf(why, why_len,
                 "another editor of yours has this session open, too: this "
                 "one takes part beside it, with a record of its own");
    /* From here on trouble is told as it comes, and the worker writes. */
    j->loop = config->loop;
    j->trouble = config->trouble;
    j->wake = config->wake;
    j->user = config->user;
    *out = j;
    return CV_OK;
}

/* ---- what is stored ---- */

/* HASH.SLOT of the older form, or HASH.SLOT.db. */
static int only_slots(const struct dirent *entry)
{
    const char *name = entry->d_name, *slot = name + CV_JOURNAL_HASH_TEXT + 1;

    return strspn(name, "0123456789abcdef") == CV_JOURNAL_HASH_TEXT &&
           slot[-1] == '.' && *slot >= '0' &&
           *slot < '0' + (int)CV_JOURNAL_SLOTS &&
           (!slot[1] || strcmp(slot + 1, ".db") == 0);
}

static void read_old_facts(struct cv_journal *j, const char *path)
{
    struct cv_writer rows;
    bool damaged;

    cv_writer_init_heap(&rows, SIZE_MAX);
    if (cv_journal_read_old(path, &rows, &damaged) == CV_OK)
        (void)cv_journal_each_row(cv_writer_bytes(&rows), load_row, j);
    if (rows.len)
        cv_wipe(rows.data, rows.len);
    cv_writer_fini(&rows);
}

/* Add the facts of one file that are not known yet. */
static void scan_file(struct cv_journal *j, const char *dir, const char *name)
{
    char expect[CV_JOURNAL_HASH_TEXT + 1], path[CV_JOURNAL_PATH];
    struct cv_journal *other = cv_journal_alloc();
    struct cv_bytes key;

    if (!other)
        return;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (name[CV_JOURNAL_HASH_TEXT + 2])
        read_facts(other, path);
    else
        read_old_facts(other, path);
    (void)adopt_facts(j, other, false);
    cv_journal_free(other);

    key = cv_journal_get(j, CV_FACT_SESSION, CV_BYTES(NULL, 0));
    if (key.len != CV_KEY_LEN)
        return;
    memcpy(j->session.b, key.data, CV_KEY_LEN);
    cv_journal_hash_name(&j->session, expect);
    if (memcmp(expect, name, CV_JOURNAL_HASH_TEXT) != 0)
        (void)cv_journal_set_fact(j, CV_FACT_SESSION, CV_BYTES(NULL, 0),
                                  CV_BYTES(NULL, 0));
}

void cv_journal_scan(const char *dir,
                     void (*fn)(void *user, const struct cv_journal *j),
                     void *user)
{
    struct dirent **names = NULL;
    struct cv_journal *j = NULL;
    int n = scandir(dir, &names, only_slots, alphasort);

    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        bool last = i + 1 == n || memcmp(name, names[i + 1]->d_name,
                                         CV_JOURNAL_HASH_TEXT) != 0;

        if (!j)
            j = cv_journal_alloc();
        if (j)
            scan_file(j, dir, name);
        if (j && last) {
            if (cv_journal_get(j, CV_FACT_SESSION, CV_BYTES(NULL, 0)).len)
                fn(user, j);
            cv_journal_free(j);
            j = NULL;
        }
    }
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
}
