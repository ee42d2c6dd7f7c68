/* cli/headless.h - `covim share FILE` and `covim join KEY FILE`: take part
 * without an editor, through a file. */
#ifndef CV_CLI_HEADLESS_H
#define CV_CLI_HEADLESS_H
#include "cli/options.h"

/* Both print what a script wants on stdout, talk to people on stderr, run
 * until SIGINT, SIGTERM or SIGHUP, and return an exit code. */
int cv_headless_share(const struct cv_options *options, struct cv_log *log,
                      const char *path);
int cv_headless_join(const struct cv_options *options, struct cv_log *log,
                     const char *key, const char *path);
#endif
