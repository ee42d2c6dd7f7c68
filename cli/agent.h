/* cli/agent.h - `covim agent`: one editor on stdio, any number of sessions.
 *
 * The editor's half of docs/editor.md is in messages (cli/rpc.h); the text's
 * half in the mirror (cli/mirror.h); this puts them on top of session/. */
#ifndef CV_CLI_AGENT_H
#define CV_CLI_AGENT_H
#include "base/log.h"
#include "cli/options.h"

/* Serve the editor on fd_in and fd_out until it goes away.  Returns an exit
 * code of the program.  The editor's hello changes `options`. */
int cv_agent_run(struct cv_options *options, struct cv_log *log, int fd_in,
                 int fd_out);
#endif
