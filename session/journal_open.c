#include "session/journal_struct.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Opening: which slot, what is in it, and what others left. */

#define ASIDE_MAX 100 /* damaged files; the last is overwritten */

/* ---- finding the file ---- */

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
                       char path[CV_JOURNAL_PATH])
{
    bool busy = false, found = false;
    unsigned slot;
    int err;

    for (slot = 0; slot < CV_JOURNAL_SLOTS; slot++) {
        if (!cv_journal_slot_path(path, config->dir, &config->session, slot))
            return CV_ERR_IO;
        err = cv_journal_open_locked(fd, path);
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
        if (!cv_journal_slot_path(path, config->dir, &config->session, slot))
            return CV_ERR_IO;
        err = cv_journal_create_locked(fd, path);
        if (err != CV_ERR_EXISTS)
            return err;
    }
    return CV_ERR_BUSY;
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
            strncmp(entry->d_name + len, CV_JOURNAL_TMP,
                    sizeof(CV_JOURNAL_TMP) - 1) == 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

/* ---- reading it ---- */

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

    if (type == CV_JOURNAL_FACT &&
        cv_journal_split_fact(payload, &fact, &key, &value)) {
        if (l->only_new_facts && cv_journal_find_fact(l->j, fact, key))
            return CV_OK;
        l->err = cv_journal_set_fact(l->j, fact, key, value);
        if (l->err == CV_ERR_LIMIT)
            l->err = CV_OK;
    } else if (type == CV_JOURNAL_UPDATE && !l->only_new_facts &&
               cv_journal_split_update(payload, &document, &value)) {
        l->err = cv_journal_note_document(l->j, document);
    }
    return l->err;
}

/* The damaged file gets another name, and what was good of it a new file under
 * the old one. */
static int set_aside(struct cv_journal *j, struct cv_bytes good, char *why,
                     size_t why_len)
{
    char aside[CV_JOURNAL_PATH + 32];
    int fd = -1;
    int err;

    for (unsigned i = 1; i <= ASIDE_MAX; i++) {
        snprintf(aside, sizeof(aside), "%s.damaged-%u", j->path, i);
        if (access(aside, F_OK) < 0)
            break;
    }
    if (rename(j->path, aside) < 0)
        return CV_ERR_IO;
    err = cv_journal_create_locked(&fd, j->path);
    if (err != CV_OK)
        return CV_ERR_IO;
    if (good.len < CV_JOURNAL_HEADER)
        good = CV_BYTES(cv_journal_magic, sizeof(cv_journal_magic));
    if (cv_journal_write_at(fd, 0, good.data, good.len) != 0) {
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
    int err = cv_journal_read_file(j->fd, &data, &len);

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
            if (cv_journal_write_at(j->fd, 0, cv_journal_magic,
                                    sizeof(cv_journal_magic)) != 0)
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

/* ---- what other agents left ---- */

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
        cv_journal_split_update(payload, &document, &value))
        a->err = cv_journal_append(a->j, document, value);
    else if (type == CV_JOURNAL_FACT &&
             cv_journal_split_fact(payload, &fact, &key, &value) && fact &&
             !cv_journal_find_fact(a->j, fact, key))
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
    int err = cv_journal_open_locked(&fd, path);

    if (err != CV_OK && err != CV_ERR_BUSY)
        return;
    a.updates = err == CV_OK;
    if (cv_journal_read_file(fd, &data, &len) == CV_OK) {
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
    j = cv_journal_alloc();
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
        cv_journal_free(j);
        return err;
    }
    if (config->mode != CV_JOURNAL_CREATE)
        for (unsigned slot = 0; slot < CV_JOURNAL_SLOTS; slot++) {
            char path[CV_JOURNAL_PATH];

            if (cv_journal_slot_path(path, config->dir, &config->session,
                                     slot) &&
                strcmp(path, j->path) != 0)
                adopt(j, path);
        }
    known = CV_BYTES(config->session.b, CV_KEY_LEN);
    err = cv_journal_put(j, CV_FACT_SESSION, CV_BYTES(NULL, 0), known);
    if (err != CV_OK) {
        explain_open(why, why_len, err, j->path, errno);
        cv_journal_free(j);
        return err;
    }
    /* From here on trouble is told as it comes. */
    j->trouble = config->trouble;
    j->user = config->user;
    *out = j;
    return CV_OK;
}

/* ---- what is stored ---- */

static bool is_slot_name(const char *name)
{
    return strlen(name) == CV_JOURNAL_HASH_TEXT + 2 &&
           name[CV_JOURNAL_HASH_TEXT] == '.' &&
           name[CV_JOURNAL_HASH_TEXT + 1] >= '0' &&
           name[CV_JOURNAL_HASH_TEXT + 1] < '0' + (int)CV_JOURNAL_SLOTS &&
           strspn(name, "0123456789abcdef") == CV_JOURNAL_HASH_TEXT;
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
    char expect[CV_JOURNAL_HASH_TEXT + 1];
    uint8_t *data = NULL;
    size_t len = 0, good;
    int fd =
        openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return;
    if (cv_journal_is_private(fd) &&
        cv_journal_read_file(fd, &data, &len) == CV_OK) {
        (void)cv_journal_parse(CV_BYTES(data, len), &good, load_record, &l);
        cv_wipe(data, len);
        free(data);
    }
    close(fd);
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
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent **names = NULL;
    struct cv_journal *j = NULL;
    int n;

    if (dir_fd < 0)
        return;
    n = scandirat(dir_fd, ".", &names, only_slots, alphasort);
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        bool last = i + 1 == n || memcmp(name, names[i + 1]->d_name,
                                         CV_JOURNAL_HASH_TEXT) != 0;

        if (!j)
            j = cv_journal_alloc();
        if (j)
            scan_file(j, dir_fd, name);
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
    close(dir_fd);
}
