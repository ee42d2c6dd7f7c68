/* transport/proxy.h - HTTP proxies that carry TCP by CONNECT (RFC 9110, 9.3.6),
 * as https_proxy and no_proxy name them.
 *
 * Pure, but for cv_proxy_environment(). */
#ifndef CV_TRANSPORT_PROXY_H
#define CV_TRANSPORT_PROXY_H
#include "transport/http.h"

/* Zeros: no proxy. */
struct cv_proxy {
    char host[256]; /* "": none */
    uint16_t port;
    char login[344]; /* base64 of USER:PASSWORD (Basic, RFC 7617), "" without */
    char except[1024]; /* no_proxy, as it is written */
};

/* "[http://][USER:PASSWORD@]HOST[:PORT][/]", port 80 unless said; user and
 * password may be percent-encoded.  NULL and "" mean none.  On CV_ERR_FORMAT
 * `why` is a sentence for a person that does not show the password, and there
 * is no proxy. */
CV_MUST_USE int cv_proxy_parse(struct cv_proxy *out, const char *url,
                               const char *no_proxy, char *why, size_t why_len);
/* From https_proxy or HTTPS_PROXY, no_proxy or NO_PROXY. */
CV_MUST_USE int cv_proxy_environment(struct cv_proxy *out, char *why,
                                     size_t why_len);
/* Is there one, and does no_proxy let it be used for this host?  no_proxy:
 * words between commas or blanks; "*", a name (its subdomains, too, with or
 * without a dot before it), an address, or ADDRESS/BITS; with ":PORT" only
 * that one. */
bool cv_proxy_used(const struct cv_proxy *p, const char *host, uint16_t port);
/* The request for a tunnel to host:port.  CV_ERR_NOBUF. */
CV_MUST_USE int cv_proxy_request(const struct cv_proxy *p, const char *host,
                                 uint16_t port, struct cv_writer *out);
/* What an answer other than 2xx means; a sentence for a person. */
void cv_proxy_refusal(const struct cv_proxy *p,
                      const struct cv_http_answer *answer, char *why,
                      size_t why_len);
#endif
