#include "discovery/neighbours.h"

#include "base/key.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct cv_neighbours {
    uint16_t port;
    int folder; /* of the folder */
    int file;   /* ours, locked; -1: none yet */
};

/* A lister may have taken our new file for a leftover: is it still there? */
static bool still_named(const struct cv_neighbours *n, const char *name)
{
    struct stat a, b;

    return fstat(n->file, &a) == 0 &&
           fstatat(n->folder, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
           a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static int announce(struct cv_neighbours *n)
{
    char name[8];

    snprintf(name, sizeof(name), "%u", n->port);
    for (unsigned tries = 0; tries < 8; tries++) {
        n->file = openat(n->folder, name,
                         O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (n->file < 0)
            return CV_ERR_IO;
        if (flock(n->file, LOCK_EX | LOCK_NB) == 0 && still_named(n, name))
            return CV_OK;
        close(n->file);
        n->file = -1;
    }
    return CV_ERR_IO;
}

int cv_neighbours_open(struct cv_neighbours **out, const char *folder,
                       uint16_t port)
{
    struct cv_neighbours *n;
    int err = cv_private_dir(folder);

    if (err != CV_OK)
        return err;
    n = calloc(1, sizeof(*n));
    if (n == NULL)
        return CV_ERR_NOMEM;
    n->port = port;
    n->file = -1;
    n->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    err = n->folder >= 0 ? announce(n) : CV_ERR_IO;
    if (err != CV_OK) {
        cv_neighbours_close(n);
        return err;
    }
    *out = n;
    return CV_OK;
}

void cv_neighbours_close(struct cv_neighbours *n)
{
    char name[8];

    if (n == NULL)
        return;
    if (n->file >= 0) {
        snprintf(name, sizeof(name), "%u", n->port);
        (void)unlinkat(n->folder, name, 0);
        close(n->file);
    }
    if (n->folder >= 0)
        close(n->folder);
    free(n);
}

/* 0 unless it is a port as we write it. */
static uint16_t port_of(const char *name)
{
    unsigned long port = 0;

    for (const char *at = name; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || port > 6553)
            return 0;
        port = port * 10 + (unsigned)(*at - '0');
    }
    return name[0] == '0' || port > 65535 ? 0 : (uint16_t)port;
}

/* Locked by somebody?  Removes what is not. */
static bool is_alive(const struct cv_neighbours *n, const char *name)
{
    const int fd =
        openat(n->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool alive;

    if (fd < 0)
        return false;
    alive = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!alive)
        (void)unlinkat(n->folder, name, 0);
    close(fd);
    return alive;
}

unsigned cv_neighbours_list(struct cv_neighbours *n,
                            uint16_t ports[CV_NEIGHBOURS_MAX])
{
    const int fd = openat(n->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e;
    unsigned found = 0, seen = 0;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while (found < CV_NEIGHBOURS_MAX && seen++ < CV_NEIGHBOURS_FILES &&
           (e = readdir(dir)) != NULL) {
        const uint16_t port = port_of(e->d_name);

        if (port != 0 && port != n->port && is_alive(n, e->d_name))
            ports[found++] = port;
    }
    closedir(dir);
    return found;
}
