/* session/checkup.h - what can be asked of a node that runs, by whoever looks
 * for what is wrong: its own view of the network, a round trip through its
 * DHT, and a trial of a session's key that disturbs nobody. */
#ifndef CV_SESSION_CHECKUP_H
#define CV_SESSION_CHECKUP_H
#include "base/keytext.h"
#include "transport/gates.h"
#include "transport/mark.h"
#include "transport/net_report.h"

struct cv_node;

struct cv_node_report {
    bool network;             /* sockets are open; else `net` is empty */
    struct cv_net_report net; /* about 6 KiB */
    const char *dht;          /* "connected", "connecting", "disconnected" */
    unsigned n_gates;         /* with those that peers named */
    struct cv_gates_info gate[CV_GATES_MAX];
};
void cv_node_report(const struct cv_node *node, struct cv_node_report *out);

/* Store a random value at a random place of the DHT and read it back from
 * other nodes.  `done(took)` comes once, unless it is freed before. */
struct cv_roundtrip;
CV_MUST_USE int cv_roundtrip_new(struct cv_roundtrip **out,
                                 struct cv_node *node,
                                 void (*done)(void *user, cv_time took),
                                 void *user);
void cv_roundtrip_free(struct cv_roundtrip *r);

/* Go the way to whoever shares a session up to the proof of their key, and no
 * further: nobody is asked to let us in.  Milestones are told until it is
 * freed; CONFIRMED is the last, FAILED may be followed by another try. */
struct cv_trial;
/* CV_ERR_BUSY: the node takes part in that session already. */
CV_MUST_USE int
cv_trial_new(struct cv_trial **out, struct cv_node *node,
             const struct cv_key *session,
             void (*mark)(void *user, const struct cv_mark *mark), void *user);
/* Not from within `mark`. */
void cv_trial_free(struct cv_trial *t);
#endif
