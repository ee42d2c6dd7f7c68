/* gate/sandbox.h - give up every right that a running gate does not need. */
#ifndef CV_GATE_SANDBOX_H
#define CV_GATE_SANDBOX_H
#include "base/log.h"

/* Called when all sockets are open.  No new privileges, no capabilities, no
 * core dumps; Landlock (where the kernel has it): nothing may be opened but
 * what lies beside `config_file` (NULL or "": none; an editor replaces the
 * file), and in /proc, /sys and /etc, for reading.  What
 * cannot be had is logged and done without. */
void cv_gate_sandbox(struct cv_log *log, const char *config_file);
#endif
