/* transport/stun.h - the STUN message format, RFC 8489: one codec for own-
 * address discovery (RFC 5780), for path checks, and for the Binding server.
 *
 *   0                   1                   2                   3
 *  |0 0|  class+method 14 |          length 16                  |
 *  |                 magic cookie 0x2112A442                    |
 *  |                transaction id, 96 bits                     |
 *  | type 16 | length 16 | value, padded to 4 | ...             |
 *
 * Pure: bytes in, a struct out, and the reverse.  What an authenticated check
 * means is transport/checks.h. */
#ifndef CV_TRANSPORT_STUN_H
#define CV_TRANSPORT_STUN_H
#include "base/addr.h"
#include "base/bytes.h"
#include <stdbool.h>
#include <stdint.h>

#define CV_STUN_HEADER   20
#define CV_STUN_COOKIE   0x2112a442u
#define CV_STUN_TXID     12
#define CV_STUN_PORT     3478
#define CV_STUN_UNKNOWN  8    /* unknown attributes that are remembered */
#define CV_STUN_MAX      1500 /* longest message that is read or written */
#define CV_STUN_MAC_FULL 32
/* Checks carry a shortened MAC (RFC 8489, 14.6: at least 16 bytes), so that
 * no check exceeds 100 bytes. */
#define CV_STUN_MAC_SHORT 16

enum cv_stun_type { /* method Binding with its class bits */
                    CV_STUN_REQUEST = 0x0001,
                    CV_STUN_INDICATION = 0x0011,
                    CV_STUN_SUCCESS = 0x0101,
                    CV_STUN_ERROR = 0x0111,
};

enum cv_stun_attr {
    CV_STUN_MAPPED_ADDRESS = 0x0001,
    CV_STUN_CHANGE_REQUEST = 0x0003, /* RFC 5780, 7.2 */
    CV_STUN_USERNAME = 0x0006,
    CV_STUN_MESSAGE_INTEGRITY = 0x0008, /* SHA-1: known and ignored */
    CV_STUN_ERROR_CODE = 0x0009,
    CV_STUN_UNKNOWN_ATTRIBUTES = 0x000a,
    CV_STUN_REALM = 0x0014,
    CV_STUN_NONCE = 0x0015,
    CV_STUN_INTEGRITY_SHA256 = 0x001c,
    CV_STUN_PASSWORD_ALGORITHM = 0x001d,
    CV_STUN_USERHASH = 0x001e,
    CV_STUN_XOR_MAPPED_ADDRESS = 0x0020,
    CV_STUN_PRIORITY = 0x0024,
    CV_STUN_USE_CANDIDATE = 0x0025,
    CV_STUN_PADDING = 0x0026,       /* RFC 5780, 7.6 */
    CV_STUN_RESPONSE_PORT = 0x0027, /* RFC 5780, 7.5: u16, two zeros */
    CV_STUN_SOFTWARE = 0x8022,
    CV_STUN_FINGERPRINT = 0x8028,
    CV_STUN_RESPONSE_ORIGIN = 0x802b,
    CV_STUN_OTHER_ADDRESS = 0x802c,
    CV_STUN_NETWORK_COST = 0xc057, /* u16 0, u16 cost 0..999 */
    /* Ours, from the comprehension-optional range: others skip them. */
    CV_STUN_PATH_ID = 0xcf01,   /* u32, the sender's number of the path */
    CV_STUN_SEND_TIME = 0xcf02, /* u64, microseconds of the sender's clock */
    CV_STUN_FILL = 0xcf03,      /* zeros: room for the answer */
};

#define CV_STUN_CHANGE_IP   0x4u
#define CV_STUN_CHANGE_PORT 0x2u

/* A parsed message.  Borrows the bytes it was parsed from. */
struct cv_stun {
    uint16_t type; /* enum cv_stun_type; other methods are refused */
    uint8_t txid[CV_STUN_TXID];

    struct cv_addr mapped; /* XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS;
                              family NONE: absent */
    struct cv_addr other;  /* OTHER-ADDRESS */
    struct cv_addr origin; /* RESPONSE-ORIGIN */
    struct cv_bytes username;
    struct cv_bytes software;
    uint16_t error;         /* 300..699 in an error response, else 0 */
    uint32_t change;        /* CV_STUN_CHANGE_* */
    uint16_t response_port; /* RESPONSE-PORT, or 0 */
    bool has_priority, has_path_id, has_send_time, has_cost;
    uint32_t priority;
    uint32_t path_id;
    uint64_t send_time;
    uint16_t cost;

    /* Comprehension-required attributes that we do not know: a request with
     * any is answered with 420 and this list, a response dropped (RFC 8489,
     * 6.3.1, 6.3.3). */
    unsigned n_unknown; /* all of them, also beyond the array */
    uint16_t unknown[CV_STUN_UNKNOWN];

    bool fingerprint;    /* present, and right: a wrong one does not parse */
    struct cv_bytes mac; /* MESSAGE-INTEGRITY-SHA256, 16..32 bytes, or none */
    struct cv_bytes raw; /* the whole message */
};

/* Does the datagram look like STUN?  (First byte and cookie; RFC 9443.) */
bool cv_stun_is(const void *data, size_t len);

/* Parse exactly one message.  CV_ERR_FORMAT for anything malformed, for
 * another method than Binding, and for a wrong FINGERPRINT. */
CV_MUST_USE int cv_stun_parse(struct cv_stun *out, const void *data,
                              size_t len);

/* Is the MESSAGE-INTEGRITY-SHA256 there and made with `key`?  Constant time
 * in the key. */
bool cv_stun_verify(const struct cv_stun *m, const uint8_t *key,
                    size_t key_len);

/* Writing.  The message is the whole content of `w` (fixed storage or heap),
 * and its length field is right after every call; errors are the writer's. */
int cv_stun_begin(struct cv_writer *w, enum cv_stun_type type,
                  const uint8_t txid[CV_STUN_TXID]);
int cv_stun_put(struct cv_writer *w, enum cv_stun_attr type, const void *data,
                size_t len);
int cv_stun_put_u32(struct cv_writer *w, enum cv_stun_attr type, uint32_t v);
int cv_stun_put_u64(struct cv_writer *w, enum cv_stun_attr type, uint64_t v);
/* Plain form: RESPONSE-ORIGIN, OTHER-ADDRESS, MAPPED-ADDRESS. */
int cv_stun_put_addr(struct cv_writer *w, enum cv_stun_attr type,
                     const struct cv_addr *a);
int cv_stun_put_xor_addr(struct cv_writer *w, const struct cv_addr *a);
/* `reason` is ASCII, at most 127 bytes. */
int cv_stun_put_error(struct cv_writer *w, unsigned code, const char *reason);
/* UNKNOWN-ATTRIBUTES, as parsed. */
int cv_stun_put_unknown(struct cv_writer *w, const struct cv_stun *request);
/* The last attribute but FINGERPRINT; mac_len 16..32, a multiple of 4. */
int cv_stun_put_integrity(struct cv_writer *w, const uint8_t *key,
                          size_t key_len, size_t mac_len);
/* The last attribute. */
int cv_stun_put_fingerprint(struct cv_writer *w);
#endif
