/* cli/tcpprobe.h - can a TCP connection be opened to an address, and what does
 * it say when it is asked something? */
#ifndef CV_CLI_TCPPROBE_H
#define CV_CLI_TCPPROBE_H
#include "base/bytes.h"
#include "base/loop.h"

#define CV_TCPPROBE_TIME (4 * CV_SECOND)

struct cv_tcpprobe;

/* `done` once: CV_OK and how long it took to connect, or why not; `answer` is
 * what came, at most `max` bytes, until it ended or the time was up.  Then
 * free it, not from within.  `request` (copied) may be empty: then nothing is
 * sent or read. */
CV_MUST_USE int cv_tcpprobe_new(struct cv_tcpprobe **out, struct cv_loop *loop,
                                const struct cv_addr *to,
                                struct cv_bytes request, size_t max,
                                void (*done)(void *user, int err, cv_time took,
                                             struct cv_bytes answer),
                                void *user);
void cv_tcpprobe_free(struct cv_tcpprobe *p);
#endif
