/* discovery/neighbours.h - the agents of one user on one machine tell each
 * other their DHT ports through a folder, so that they find each other where
 * there is no network at all, or none that carries multicast.
 *
 * Each has a file named as its port and keeps it locked; a file that nobody
 * locks is left over and is removed. */
#ifndef CV_DISCOVERY_NEIGHBOURS_H
#define CV_DISCOVERY_NEIGHBOURS_H
#include "base/err.h"
#include <stdint.h>

#define CV_NEIGHBOURS_MAX   16u  /* listed at once */
#define CV_NEIGHBOURS_FILES 256u /* looked at in the folder */

struct cv_neighbours;

/* Make the folder (0700) if needed and our file in it.
 * CV_ERR_PERM: the folder is open to others or not ours; CV_ERR_IO,
 * CV_ERR_INVALID (the path is too long), CV_ERR_NOMEM. */
CV_MUST_USE int cv_neighbours_open(struct cv_neighbours **out,
                                   const char *folder, uint16_t port);
void cv_neighbours_close(struct cv_neighbours *n);
/* The others' ports that are alive now; how many. */
unsigned cv_neighbours_list(struct cv_neighbours *n,
                            uint16_t ports[CV_NEIGHBOURS_MAX]);
#endif
