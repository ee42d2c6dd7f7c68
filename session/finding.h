/* session/finding.h - what a person is told while members are looked for, and
 * how long to wait between tries.
 *
 * Pure: facts in, a state and two sentences out.  They say what is known, not
 * what is hoped. */
#ifndef CV_SESSION_FINDING_H
#define CV_SESSION_FINDING_H
#include "session/session.h"

#define CV_STAGE_TEXT 256
#define CV_HINT_TEXT  512
/* After so long a stage gets a hint, and then a fuller one. */
#define CV_FINDING_HINT   (5 * CV_SECOND)
#define CV_FINDING_ADVICE (15 * CV_SECOND)
/* Of a peer that there is no sign of: a first word, advice, and more of it. */
#define CV_FINDING_NOBODY        (10 * CV_SECOND)
#define CV_FINDING_NOBODY_ADVICE (20 * CV_SECOND)
#define CV_FINDING_NOBODY_STILL  (60 * CV_SECOND)

/* How far a node has come towards us; best of all nodes counts. */
enum cv_reach {
    CV_REACH_NONE,
    CV_REACH_KNOCKED,  /* no answer yet */
    CV_REACH_PUNCHING, /* it answered: both sides send */
    CV_REACH_PROVED,   /* a path works, the handshake runs */
    CV_REACH_HELLO,    /* connected: certificates and grants are checked */
    CV_REACH_WAITING,  /* a person there was asked */
    CV_REACH_MEMBER,   /* in */
};

struct cv_facts {
    bool network;       /* sockets are open */
    bool ended;         /* for good; `failure` says why */
    bool member;        /* we hold a grant */
    bool have_text;     /* the document is here */
    bool in_step;       /* and in step with a member */
    bool had_members;   /* in this life of the session */
    bool all_left;      /* the last one said goodbye */
    bool published;     /* our pointer was read back from the DHT */
    bool unpublished;   /* putting it failed; it is tried again */
    const char *here;   /* our own NAT: "a NAT that …" */
    const char *dht;    /* "connected", "connecting", "disconnected" */
    unsigned pointers;  /* living pointers of others */
    unsigned admitting; /* of them: may let newcomers in */
    unsigned serving;   /* of them: pass the text on */
    unsigned members;   /* connected */
    bool by_hand;       /* the knock is carried by hand, and not added yet */
    enum cv_reach reach;
    const char *who;     /* name of the node that `reach` is about, or "" */
    const char *failure; /* why the last try failed, or "" */
    const char *host;    /* who may let us in, as a member said, or "" */
    cv_time elapsed;     /* since this stage began */
};

enum cv_session_state cv_finding_state(const struct cv_facts *f);
void cv_finding_tell(const struct cv_facts *f, char stage[CV_STAGE_TEXT],
                     char hint[CV_HINT_TEXT]);
/* The next `elapsed` at which the sentences may differ; CV_NEVER. */
cv_time cv_finding_next(cv_time elapsed);

/* What a person was told last. */
struct cv_finding_told {
    bool told; /* anything */
    enum cv_session_state state;
    cv_time since; /* the state began */
    char stage[CV_STAGE_TEXT];
    char hint[CV_HINT_TEXT];
};

/* Work out what is to be told now (f->elapsed is filled in).  True: it differs
 * from what was. */
bool cv_finding_update(struct cv_finding_told *t, struct cv_facts *f,
                       cv_time now);
/* When the sentences may differ though nothing happens; CV_NEVER. */
cv_time cv_finding_due(const struct cv_finding_told *t, cv_time now);

/* Before try number `tries` (0…): 0.2, 1, 2, 5, 10, 30 s, each ± 25 %. */
cv_time cv_finding_backoff(unsigned tries, const struct cv_rng *rng);
#endif
