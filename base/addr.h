/* base/addr.h - an IP address and port as a value, and what kind it is. */
#ifndef CV_BASE_ADDR_H
#define CV_BASE_ADDR_H
#include "base/bytes.h"
#include "base/log.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum cv_family {
    CV_FAMILY_NONE = 0,
    CV_FAMILY_IPV4 = 4,
    CV_FAMILY_IPV6 = 6,
};

/* Unused bytes of `ip` are zero, so that memcmp() compares. */
struct cv_addr {
    uint8_t family; /* enum cv_family */
    uint8_t pad;    /* 0 */
    uint16_t port;  /* host order */
    uint8_t ip[16]; /* network order; IPv4 in the first four */
};

/* Longest text: "[ffff:…:ffff]:65535" and the NUL. */
#define CV_ADDR_TEXT 48

struct cv_addr cv_addr_ipv4(uint32_t ip, uint16_t port); /* ip in host order */
/* "1.2.3.4:5", "[::1]:5", or without a port (then `port` is used).
 * CV_ERR_FORMAT for anything else; names are not resolved. */
int cv_addr_parse(struct cv_addr *out, const char *text, uint16_t port);
/* Writes "1.2.3.4:5" or "[::1]:5"; returns `out`. */
char *cv_addr_format(const struct cv_addr *a, char out[CV_ADDR_TEXT]);
/* The same, or "ipv4:…" without digits when the log hides addresses. */
char *cv_addr_log(const struct cv_log *log, const struct cv_addr *a,
                  char out[CV_ADDR_TEXT]);
/* "HOST:PORT", "[V6]:PORT" or "HOST" -> parts; `host` holds 256 bytes. */
int cv_host_port_parse(const char *text, uint16_t default_port, char host[256],
                       uint16_t *port);

/* IPv4-mapped IPv6 becomes IPv4.  CV_ERR_FORMAT for other families. */
int cv_addr_from_sockaddr(struct cv_addr *out, const struct sockaddr *sa);
socklen_t cv_addr_to_sockaddr(const struct cv_addr *a,
                              struct sockaddr_storage *ss);

bool cv_addr_equal(const struct cv_addr *a, const struct cv_addr *b);
bool cv_addr_same_ip(const struct cv_addr *a, const struct cv_addr *b);
/* Are the first `bits` of the addresses equal? */
bool cv_addr_in_prefix(const struct cv_addr *a, const struct cv_addr *prefix,
                       unsigned bits);
/* One IPv4 address, or one /64 of IPv6: what counts as one sender. */
bool cv_addr_same_source(const struct cv_addr *a, const struct cv_addr *b);

enum cv_addr_kind {
    CV_ADDR_UNUSABLE,   /* unspecified, multicast, broadcast, reserved */
    CV_ADDR_LOOPBACK,   /* 127/8, ::1 */
    CV_ADDR_LINK_LOCAL, /* 169.254/16, fe80::/10 */
    CV_ADDR_PRIVATE,    /* RFC 1918, fc00::/7 */
    CV_ADDR_SHARED,     /* 100.64/10, RFC 6598: behind a carrier's NAT */
    CV_ADDR_GLOBAL,
};
enum cv_addr_kind cv_addr_kind(const struct cv_addr *a);

/* u8 family, 4 or 16 bytes, u16 port. */
int cv_put_addr(struct cv_writer *w, const struct cv_addr *a);
struct cv_addr cv_get_addr(struct cv_reader *r);
#endif
