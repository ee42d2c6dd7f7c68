/* cli/doctor.h - look for what stands in the way of a connection.
 *
 * Works on a node that runs, the agent's or one of its own, and disturbs
 * nobody: it stores one random value in the DHT, opens TCP connections to the
 * STUN servers, asks for a web page only where no UDP comes through, and goes
 * with a key up to the proof of its peer, no further. */
#ifndef CV_CLI_DOCTOR_H
#define CV_CLI_DOCTOR_H
#include "cli/diagnose.h"
#include "cli/options.h"

/* All of it takes at most so long, less when everything has answered. */
#define CV_DOCTOR_TIME     (12 * CV_SECOND)
#define CV_DOCTOR_KEY_TIME (25 * CV_SECOND)  /* with a key */
#define CV_DOCTOR_SLOW     (150 * CV_SECOND) /* when `slow` is wanted */

struct cv_doctor;

struct cv_doctor_config {
    struct cv_loop *loop;                  /* kept */
    struct cv_node *node;                  /* kept */
    const struct cv_options *node_options; /* kept: servers, lan */
    bool addresses;                        /* show them */
    const char *key;                       /* "covim1…", or NULL */
    bool slow; /* wait until it is known how long mappings live */
    struct cv_doctor_editor editor;
    /* What is waited for, a few words, whenever that changes; may be NULL. */
    void (*progress)(void *user, const char *what);
    /* Once; free it then, from here if you like. */
    void (*done)(void *user, const struct cv_findings *findings);
    void *user;
};

CV_MUST_USE int cv_doctor_new(struct cv_doctor **out,
                              const struct cv_doctor_config *config);
void cv_doctor_free(struct cv_doctor *d);

/* `covim doctor [KEY]`: 0, or 1 when a problem was found. */
int cv_doctor_run(const struct cv_options *options, struct cv_log *log,
                  const char *key);
#endif
