/* gate/check.h - what "covim-gate --check" says to the one who runs a gate. */
#ifndef CV_GATE_CHECK_H
#define CV_GATE_CHECK_H
#include "gate/config.h"

/* Print what the configuration means and what this machine gives it: one line
 * each, "ok" or "note" in front.  The addresses could be bound. */
void cv_gate_check_print(const struct cv_gate_config *config);
#endif
