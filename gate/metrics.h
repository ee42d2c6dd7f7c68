/* gate/metrics.h - the pages of a gate: numbers for Prometheus, its health. */
#ifndef CV_GATE_METRICS_H
#define CV_GATE_METRICS_H
#include "gate/core.h"

/* "/metrics" (text format 0.0.4) or "/health" as a whole HTTP answer, to be
 * freed; NULL: no such page. */
char *cv_gate_page(const struct cv_gate_core *core, const char *path,
                   int64_t up_s, bool draining);
/* What a person with a browser sees on the gate's own port. */
char *cv_gate_front_page(void);
#endif
