/* transport/mark.h - milestones on the way to a peer, for whoever measures it
 * or has to say at which stage it stopped.
 *
 * A mark is told from where it happens, in the middle of things: who is told
 * may look and note, and calls nothing of what told it. */
#ifndef CV_TRANSPORT_MARK_H
#define CV_TRANSPORT_MARK_H
#include "transport/conn.h"

enum cv_mark_kind { /* in the order in which they usually come */
                    CV_MARK_GATHERED, /* own candidates are known: `n` */
                    CV_MARK_POINTER,  /* a verified record of the peer: `n`
                                         candidates, `nat` */
                    CV_MARK_KNOCK,    /* ours was sent */
                    CV_MARK_KNOCKED,  /* theirs came: `n`, `nat` */
                    CV_MARK_ANSWER,   /* to our knock: `n`, `nat` */
                    CV_MARK_CHECK,    /* the first packet to the peer: `addr` */
                    CV_MARK_HEARD,    /* its first authenticated check came */
                    CV_MARK_PATH,     /* the first path is proved */
                    CV_MARK_HANDSHAKE, /* begins */
                    CV_MARK_CONFIRMED, /* the peer's key is proved: `n` packets
                                          were sent for it */
                    CV_MARK_MEMBER,    /* we were let in, or let them in */
                    CV_MARK_SWITCHED,  /* packets take another path, or none */
                    CV_MARK_CARRIED,   /* no direct path for now, but a gate */
                    CV_MARK_FAILED,    /* this attempt: `text` */
};

struct cv_mark {
    enum cv_mark_kind kind;
    cv_time at;
    struct cv_key node;     /* whom it is about; zeroes: ourselves */
    enum cv_path_kind path; /* of CHECK, PATH, CONFIRMED, SWITCHED */
    struct cv_addr addr;    /* family NONE: none */
    cv_time rtt;            /* 0: not known */
    unsigned n;
    uint16_t nat;     /* CV_NAT_*, of whom it is about */
    const char *text; /* borrowed; "" */
};

/* "gathered", "pointer", … */
const char *cv_mark_name(enum cv_mark_kind kind);
/* What CV_NAT_* say of the mapping, in a word: "unknown", "independent",
 * "sequential", "random"; "blocked" when no UDP comes through. */
const char *cv_mark_nat(uint16_t nat);
#endif
