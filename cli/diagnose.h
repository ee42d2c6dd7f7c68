/* cli/diagnose.h - from facts to findings: what each means for a connection,
 * and what to do.  Pure. */
#ifndef CV_CLI_DIAGNOSE_H
#define CV_CLI_DIAGNOSE_H
#include "cli/findings.h"
#include "cli/portal.h"
#include "session/checkup.h"

#define CV_DOCTOR_STAGES (CV_MARK_FAILED + 1)
#define CV_DOCTOR_TCP    CV_NET_STUN_SERVERS
#define CV_DOCTOR_GATES  4 /* of the settings; there are no more */

/* What the editor says of itself; empty: there is none. */
struct cv_doctor_editor {
    char name[64];      /* "Vim 9.0.1378" */
    char plugin[32];    /* its version */
    char features[160]; /* what it has and lacks, a sentence */
};

/* What the system says of its clock. */
struct cv_doctor_clock {
    bool known;
    bool synchronised; /* with something outside */
    uint64_t error_ms; /* at most, by the system's own account */
    int64_t ahead_s;   /* of the newest file of ours: negative is before it */
};

struct cv_doctor_tcp { /* to the STUN server of that number */
    bool tried;
    int err;
    cv_time took;
};

/* A gate of our settings. */
struct cv_doctor_gate {
    struct cv_gate_name name;
    bool linked;       /* it proved its key, and has let us in */
    unsigned way;      /* CV_GATE_WAY_*, of the link */
    cv_time rtt;       /* of the link, 0: not measured yet */
    char trouble[256]; /* why it is not linked, "" */
    uint16_t udp_port; /* 0: none */
    bool udp_tried;
    int udp_err;
    cv_time udp_took;
};

/* The way to whoever shares a key. */
struct cv_doctor_key {
    bool asked;
    int err;                    /* of the key itself, or why it was not tried */
    bool has[CV_DOCTOR_STAGES]; /* by enum cv_mark_kind: was it reached, */
    cv_time at[CV_DOCTOR_STAGES];          /* after so long, */
    struct cv_mark mark[CV_DOCTOR_STAGES]; /* and what was said; text is */
    char failure[CV_FINDING_TEXT];         /* kept here */
};

struct cv_doctor_facts {
    bool addresses; /* may be shown */
    char system[128];
    struct cv_doctor_editor editor;
    struct cv_node_report node;
    unsigned n_bootstrap; /* that were configured; 0: the public one */
    bool lan;
    bool roundtrip;
    cv_time roundtrip_took;
    struct cv_doctor_tcp tcp[CV_DOCTOR_TCP];
    unsigned n_gates;
    struct cv_doctor_gate gate[CV_DOCTOR_GATES];
    enum cv_portal portal;
    char portal_to[CV_PORTAL_HOST];
    struct cv_doctor_clock clock;
    struct cv_doctor_key key;
};

void cv_diagnose(const struct cv_doctor_facts *facts, struct cv_findings *out);
#endif
