/* tests/unit/powercut.h - a disk that loses its power.
 *
 * What this process writes below a folder is noted, by our own calls and by
 * SQLite's: bytes, lengths, names, and what was brought to the disk (fsync).
 * Afterwards the folder can be made as it might have been found if the power
 * had gone at any of these moments.
 *
 * Of a file, all is there that was written before its last sync.  What came
 * later has arrived or not, each write for itself and down to single sectors;
 * names change in order, and the last changes may be missing, unless the
 * folder was synced.  That is what POSIX promises, and less than file systems
 * do.  What is mapped (SQLite's *-shm) is not followed: it starts anew. */
#ifndef CV_TESTS_POWERCUT_H
#define CV_TESTS_POWERCUT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;

/* Note what happens to the files directly in `dir` from here on, one disk at a
 * time; what is in them already is taken to be safe.  While one is watched,
 * nothing waits for the real disk. */
struct disk *disk_watch(const char *dir);
void disk_unwatch(struct disk *d);
void disk_free(struct disk *d);

/* How much has happened so far. */
size_t disk_moment(const struct disk *d);

enum disk_luck {
    DISK_NOTHING, /* what was not synced is gone */
    DISK_SOME,    /* some of it arrived, by `seed` */
    DISK_ALL,     /* the power stayed: as after kill -9 */
};

/* Make `to`, a folder without files, what is left of the disk when the power
 * goes at this moment. */
void disk_cut(const struct disk *d, size_t moment, enum disk_luck luck,
              uint64_t seed, const char *to);
#endif
