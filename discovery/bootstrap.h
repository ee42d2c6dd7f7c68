/* discovery/bootstrap.h - which DHT nodes to begin with: from options, the
 * environment and a file, put together in the order they are added.
 *
 * "HOST:PORT,HOST:PORT", port 4222 when left out; "none" switches the public
 * default off.  In the file one a line (or several, with commas), "#" begins a
 * comment. */
#ifndef CV_DISCOVERY_BOOTSTRAP_H
#define CV_DISCOVERY_BOOTSTRAP_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>

#define CV_BOOTSTRAP_DEFAULT "bootstrap.jami.net:4222"
#define CV_BOOTSTRAP_MAX     16u
#define CV_BOOTSTRAP_TEXT    264 /* "[", 255 bytes of a name, "]:65535", NUL */
#define CV_BOOTSTRAP_FILE    65536u /* bytes read of a file at most */

struct cv_bootstrap {
    unsigned n;
    bool none;                                      /* no public default */
    char node[CV_BOOTSTRAP_MAX][CV_BOOTSTRAP_TEXT]; /* "HOST:PORT" */
    const char *list[CV_BOOTSTRAP_MAX]; /* the same, for cv_dht_config; set by
                                           cv_bootstrap_finish() */
};

void cv_bootstrap_init(struct cv_bootstrap *b);

/* Add a list; NULL is an empty one.  Known nodes are not added twice.
 *
 * CV_ERR_FORMAT: `why` says which entry is wrong; CV_ERR_LIMIT: more than
 * CV_BOOTSTRAP_MAX.  What came before it is kept. */
CV_MUST_USE int cv_bootstrap_add(struct cv_bootstrap *b, const char *text,
                                 char *why, size_t why_len);
/* Add a file; one that does not exist is an empty one.
 * CV_ERR_FORMAT and CV_ERR_LIMIT as above (`why` names file and line),
 * CV_ERR_IO. */
CV_MUST_USE int cv_bootstrap_file(struct cv_bootstrap *b, const char *path,
                                  char *why, size_t why_len);
/* $XDG_CONFIG_HOME/covim/bootstrap or ~/.config/covim/bootstrap;
 * CV_ERR_NOTFOUND without a home, CV_ERR_NOBUF. */
CV_MUST_USE int cv_bootstrap_path(char *out, size_t len);

/* Without any node and without "none", the public default; then `list`. */
void cv_bootstrap_finish(struct cv_bootstrap *b);
#endif
