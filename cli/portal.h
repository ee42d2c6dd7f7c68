/* cli/portal.h - is what answers on port 80 a captive portal?
 *
 * Asked of an address that is no web server of anybody's choice, and only when
 * no UDP comes through: a network that wants a click first answers there in
 * the name of whoever was meant (RFC 7710, 1; RFC 6585, 6). */
#ifndef CV_CLI_PORTAL_H
#define CV_CLI_PORTAL_H
#include "base/bytes.h"

#define CV_PORTAL_ANSWER 4096u /* bytes of an answer that are looked at */
#define CV_PORTAL_HOST   128u

enum cv_portal {
    CV_PORTAL_NONE, /* no HTTP */
    CV_PORTAL_PAGE, /* a page: maybe */
    CV_PORTAL_YES,  /* sent elsewhere, or told to sign in */
};

/* The request to send to HOST. */
void cv_portal_request(struct cv_writer *out, const char *host);
/* Look at the beginning of an answer of `host`.  `to`: the host that it sends
 * us to, printable ASCII, or "". */
enum cv_portal cv_portal_judge(struct cv_bytes answer, const char *host,
                               char to[CV_PORTAL_HOST]);
#endif
