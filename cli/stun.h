/* cli/stun.h - `covim stun`: a Binding server for whoever asks. */
#ifndef CV_CLI_STUN_H
#define CV_CLI_STUN_H
#include "cli/options.h"

/* Runs until SIGINT or SIGTERM; returns an exit code. */
int cv_stun_run(const struct cv_options *options, struct cv_log *log);
#endif
