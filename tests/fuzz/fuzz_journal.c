/* Any file in the place of a journal's store: no crash, and what was recovered
 * is the same when it is opened again, without complaint. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64];
static char path[256];

static struct cv_journal *open_it(enum cv_journal_mode mode, char why[256])
{
    const struct cv_journal_config c = {
        .dir = dir, .session = {{1}}, .mode = mode};
    struct cv_journal *j = NULL;
    int err = cv_journal_open(&j, &c, 0, why, 256);

    if (err != CV_OK && err != CV_ERR_VERSION)
        abort();
    return j;
}

static void remove_dir(void)
{
    rmdir(dir);
}

static void find_path(void)
{
    char why[256];
    struct cv_journal *j;
    struct dirent *e;
    DIR *d;

    snprintf(dir, sizeof(dir), "%s/covim-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(dir))
        abort();
    atexit(remove_dir);
    j = open_it(CV_JOURNAL_CREATE, why);
    d = opendir(dir);
    while ((e = readdir(d)))
        if (strlen(e->d_name) > 3 &&
            strcmp(e->d_name + strlen(e->d_name) - 3, ".db") == 0)
            snprintf(path, sizeof(path), "%s/%.60s", dir, e->d_name);
    closedir(d);
    cv_journal_remove(j);
}

static int digest(void *user, struct cv_bytes update)
{
    uint32_t *sum = user;

    *sum = *sum * 31 + cv_crc32(update.data, update.len) + 1;
    return CV_OK;
}

static void digest_fact(void *user, struct cv_bytes key, struct cv_bytes value)
{
    (void)digest(user, key);
    (void)digest(user, value);
}

static uint32_t sum_of(struct cv_journal *j)
{
    uint32_t sum = 0;

    for (uint32_t id = 0; id < 4; id++)
        if (cv_journal_updates(j, id, digest, &sum) != CV_OK)
            abort();
    for (int type = 1; type <= CV_FACT_OTHER; type++)
        cv_journal_each(j, (enum cv_journal_fact)type, digest_fact, &sum);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[256], aside[300];
    struct cv_journal *j;
    uint32_t sum;
    int fd;

    if (!path[0])
        find_path();
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    close(fd);
    j = open_it(CV_JOURNAL_RESUME, why);
    if (!j) { /* of a later version */
        unlink(path);
        return 0;
    }
    sum = sum_of(j);
    cv_journal_close(j);
    snprintf(aside, sizeof(aside), "%s.damaged-1", path);
    unlink(aside);
    j = open_it(CV_JOURNAL_RESUME, why);
    if (!j || why[0] || sum_of(j) != sum)
        abort();
    cv_journal_remove(j);
    return 0;
}
