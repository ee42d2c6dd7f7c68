/* cli/findings.h - what a doctor found, as a list, as text and as JSON.
 *
 * Each line has a name (docs/troubleshooting.md explains it by that), how it
 * stands, what was seen, what that means for a connection, and what to do. */
#ifndef CV_CLI_FINDINGS_H
#define CV_CLI_FINDINGS_H
#include "cli/json.h"

#define CV_FINDINGS_MAX 40
#define CV_FINDING_TEXT 320

enum cv_finding_status {
    CV_FINDING_OK,
    CV_FINDING_NOTE,    /* works, or may not matter */
    CV_FINDING_PROBLEM, /* stands in the way */
    CV_FINDING_UNKNOWN, /* could not be found out */
};

struct cv_finding {
    const char *name; /* "udp", a literal */
    enum cv_finding_status status;
    char seen[CV_FINDING_TEXT];
    char means[CV_FINDING_TEXT]; /* "" */
    char todo[CV_FINDING_TEXT];  /* "" */
};

struct cv_findings {
    unsigned n;
    struct cv_finding f[CV_FINDINGS_MAX];
};

/* Add one; what does not fit is cut, and beyond MAX dropped.  NULL only then.
 */
struct cv_finding *cv_finding_add(struct cv_findings *all, const char *name,
                                  enum cv_finding_status status,
                                  const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void cv_finding_means(struct cv_finding *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void cv_finding_todo(struct cv_finding *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

const char *cv_finding_status_name(enum cv_finding_status status);
/* The worst there is: PROBLEM, else UNKNOWN, NOTE, OK. */
enum cv_finding_status cv_findings_worst(const struct cv_findings *all);

/* For people: a line each, and below it, indented, what it means and what to
 * do; a sentence at the end.  Appends to `out`. */
void cv_findings_text(const struct cv_findings *all, struct cv_writer *out);
/* Members of an object that was begun: "worst", "findings". */
void cv_findings_json(const struct cv_findings *all, struct cv_json_out *out);
#endif
