/* cli/token.h - covim token: what a token is, and whether it is still good.
 * Needs no network. */
#ifndef CV_CLI_TOKEN_H
#define CV_CLI_TOKEN_H
#include "cli/options.h"

/* Of the command's argument, or of standard input when it is "-"; returns the
 * exit code. */
int cv_token_show(const struct cv_options *options);
#endif
