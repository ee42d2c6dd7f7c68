/* transport/pcp.h - what is said to a gateway on its port 5351: PCP (RFC 6887,
 * version 2) and its forerunner NAT-PMP (RFC 6886, version 0).
 *
 * Only the codec; portmap.h knows when to ask and what to believe.  IPv4
 * clients only: an IPv6 address needs no mapping. */
#ifndef CV_TRANSPORT_PCP_H
#define CV_TRANSPORT_PCP_H
#include "base/addr.h"
#include "base/bytes.h"
#include "base/err.h"

#define CV_PCP_PORT      5351 /* of the gateway */
#define CV_PCP_NEWS_PORT 5350 /* of clients: announcements to 224.0.0.1 */
#define CV_PCP_MAX       1100 /* bytes of a message (RFC 6887, 7) */
#define CV_PCP_NONCE     12

enum cv_pcp_proto { /* IANA protocol numbers */
                    CV_PCP_TCP = 6,
                    CV_PCP_UDP = 17,
};

enum cv_pcp_kind {
    CV_PCP_ANNOUNCE,       /* PCP opcode 0 */
    CV_PCP_MAP,            /* PCP opcode 1 */
    CV_PCP_NATPMP_ADDRESS, /* NAT-PMP opcode 0 */
    CV_PCP_NATPMP_MAP,     /* NAT-PMP opcodes 1 and 2 */
    CV_PCP_OTHER,          /* an error without a body that we know */
};

/* Results that mean something of their own (RFC 6887, 7.4; RFC 6886, 3.5). */
#define CV_PCP_SUCCESS           0
#define CV_PCP_UNSUPP_VERSION    1
#define CV_PCP_NOT_AUTHORIZED    2 /* NAT-PMP, too */
#define CV_PCP_NETWORK_FAILED    7 /* the gateway has no address itself */
#define CV_NATPMP_NETWORK_FAILED 3

struct cv_pcp_answer {
    uint8_t version; /* 2: PCP; 0: NAT-PMP */
    enum cv_pcp_kind kind;
    uint16_t result;
    uint32_t epoch;    /* seconds since the gateway lost its state */
    uint32_t lifetime; /* seconds, of the mapping or of the error */
    /* Of MAP and NATPMP_MAP: */
    uint8_t nonce[CV_PCP_NONCE]; /* MAP only */
    uint8_t proto;               /* enum cv_pcp_proto */
    uint16_t internal;           /* our port */
    /* MAP: address and port; NATPMP_MAP: family NONE and the port;
     * NATPMP_ADDRESS: the address and port 0. */
    struct cv_addr external;
};

struct cv_pcp_request {
    enum cv_pcp_proto proto;
    uint8_t nonce[CV_PCP_NONCE];
    uint16_t internal;
    struct cv_addr external; /* suggested; family NONE: any address */
    uint32_t lifetime;       /* 0: delete, then `external` is not said */
};

/* A MAP request, 60 bytes.  `client`: our own IPv4 address as the gateway sees
 * it.  CV_ERR_NOBUF. */
CV_MUST_USE int cv_pcp_put_map(struct cv_writer *w,
                               const struct cv_pcp_request *r,
                               const struct cv_addr *client);
/* "What is your address?", 2 bytes, and "map", 12 bytes. */
CV_MUST_USE int cv_natpmp_put_address(struct cv_writer *w);
CV_MUST_USE int cv_natpmp_put_map(struct cv_writer *w,
                                  const struct cv_pcp_request *r);

/* Take an answer or announcement apart; whose it is, is the caller's to check.
 * CV_ERR_FORMAT: not one of a version that we know. */
CV_MUST_USE int cv_pcp_parse(struct cv_pcp_answer *out, struct cv_bytes data);

/* A few words for people on a result that is not success. */
const char *cv_pcp_result_text(uint8_t version, uint16_t result);
#endif
