/* base/contact.h - what finding a peer yields and reaching it needs.
 *
 * discovery/ fills these in from verified records; transport/ dials with them.
 * Neither folder knows the other. */
#ifndef CV_BASE_CONTACT_H
#define CV_BASE_CONTACT_H
#include "base/addr.h"
#include "base/key.h"

/* Wire values (docs/protocol.md). */
enum cv_candidate_type {
    CV_CANDIDATE_HOST = 1,   /* an address of an interface */
    CV_CANDIDATE_SRFLX = 2,  /* as seen by a STUN server */
    CV_CANDIDATE_MAPPED = 3, /* a port mapping: anybody may send there */
    CV_CANDIDATE_TCP = 4,
};

struct cv_candidate {
    uint8_t type; /* enum cv_candidate_type */
    uint8_t pref; /* higher first */
    struct cv_addr addr;
};

#define CV_CANDIDATES_MAX 8

/* What a node says about the NAT it is behind (RFC 4787 terms). */
#define CV_NAT_MAPPING_MASK    0x0003u
#define CV_NAT_MAPPING_UNKNOWN 0x0000u
#define CV_NAT_MAPPING_EIM     0x0001u
#define CV_NAT_MAPPING_SEQ     0x0002u /* address-dependent, sequential */
#define CV_NAT_MAPPING_RANDOM  0x0003u
#define CV_NAT_DROPS_STRAYS    0x0004u
#define CV_NAT_IPV6            0x0008u
#define CV_NAT_UDP_BLOCKED     0x0010u
/* It lets in only from addresses and ports that it sent to. */
#define CV_NAT_STRICT 0x8000u

/* A gate that a node can be reached through (docs/protocol.md, 8). */
struct cv_gate_ref {
    struct cv_key key;
    uint8_t transports;  /* of the gate protocol; kept as it came */
    struct cv_addr addr; /* port 0 */
    uint16_t udp, tcp;   /* ports; 0: none */
};

#define CV_GATE_REFS_MAX 3

struct cv_gate_refs {
    unsigned n;
    struct cv_gate_ref g[CV_GATE_REFS_MAX];
};

struct cv_candidates {
    unsigned n;
    uint16_t nat; /* CV_NAT_* */
    struct cv_candidate c[CV_CANDIDATES_MAX];
    struct cv_gate_refs gates;
};

#define CV_ROOM_KEY 16  /* r of a gate's room */
#define CV_RING_MAX 610 /* what is handed to the owner of the room */

/* One attempt to reach one node. */
struct cv_contact {
    struct cv_key node;     /* N: QUIC pins it */
    struct cv_key identity; /* I, as certified by the record */
    bool knocked;           /* we sent the knock: QUIC client, P1 joiner */
    uint8_t attempt[8];     /* STUN USERNAME of the checks */
    uint8_t shared[32];     /* X25519 result; keys of the checks derive from
                               it */
    /* The knock is carried by hand (a token): the one that knocked waits for
     * minutes until the other side begins. */
    bool by_hand;
    struct cv_candidates peer;
    bool answered; /* `peer` is the answer to the knock */
    /* Of the one that knocked: how to hand the knock over at the peer's gates,
     * too. `ring_len` 0: not at all. */
    uint8_t room_key[CV_ROOM_KEY];
    uint16_t ring_len;
    uint8_t ring[CV_RING_MAX];
    /* Somebody whom we let in, or who may let us in: worth a birthday (many
     * packets to the address that the record names; docs/protocol.md, 5). */
    bool trusted;
    /* What the connection is for, by its owner: a newer connection replaces
     * an older one to the same node only within one realm. */
    uint64_t realm;
};
#endif
