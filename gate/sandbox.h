/* gate/sandbox.h - give up every right that a running gate does not need. */
#ifndef CV_GATE_SANDBOX_H
#define CV_GATE_SANDBOX_H
#include "base/log.h"

/* Called when the sockets of links and packets are open, and before there are
 * threads: it is for this one and those that it starts.  No new privileges, no
 * capabilities, no core dumps; Landlock, as far as the kernel has it: nothing
 * may be opened but what lies beside `config_file` (NULL or "": none; an editor
 * replaces the file), and in /proc, /sys and /etc, for reading; no TCP port be
 * bound or connected to (Linux 6.7), nobody be sent a signal (6.12).  What
 * cannot be had is logged and done without. */
void cv_gate_sandbox(struct cv_log *log, const char *config_file);
#endif
