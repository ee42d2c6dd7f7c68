/* cli/echo.h - `covim echo serve` and `covim echo dial KEY`: measure how two
 * networks can be joined.
 *
 * The same finding, punching, admission and streams as a session, and nothing
 * shared: the server sends back what comes.  Each prints one JSON object a
 * line of what happened, {"ms": …, "event": …}; docs: covim(1). */
#ifndef CV_CLI_ECHO_H
#define CV_CLI_ECHO_H
#include "cli/options.h"

/* Run until it is done or stopped; return an exit code. */
int cv_echo_serve(const struct cv_options *options, struct cv_log *log);
int cv_echo_dial(const struct cv_options *options, struct cv_log *log,
                 const char *key);
#endif
