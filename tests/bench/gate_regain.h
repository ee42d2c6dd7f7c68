/* tests/bench/gate_regain.h - how soon the clients of a gate are back when it
 * is: as many links as one likes in one process, of transport/gatelink.h, with
 * its timers and its ways. */
#ifndef CV_TESTS_GATE_REGAIN_H
#define CV_TESTS_GATE_REGAIN_H
#include "tests/bench/gate_client.h"

struct gr_crowd;

/* `n` clients, each of which has a link, and a room that others can ring at.
 * Ends the program when they are not all in within `most_s` seconds. */
struct gr_crowd *gr_new(const struct gc_gate *gate, unsigned n, double most_s);
void gr_free(struct gr_crowd *crowd);
/* Run their loop for so long, whatever happens. */
void gr_run(struct gr_crowd *crowd, double seconds);
/* The gate is back: run their loop until all are in again, at most `most_s`.
 * Seconds until this part of them (0..1) was in; infinite: they are not. */
struct gr_times {
    double half, all;
    unsigned in;
};
struct gr_times gr_regain(struct gr_crowd *crowd, double most_s);
/* Those that are in just now. */
unsigned gr_in(const struct gr_crowd *crowd);
#endif
