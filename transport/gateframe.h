/* transport/gateframe.h - what a gate and its clients say to each other:
 * frames on the control link, datagrams over UDP, and the proofs of both.
 *
 * A link is a reliable stream (TLS, or WebSocket in TLS) of
 *   u16 length | u8 type | body            length counts type and body
 * Over UDP a packet is told by its first byte (16..20, RFC 9443 leaves them
 * to nobody of ours).  docs/protocol.md, 8, is the text of this file.
 *
 * Pure: no socket, no clock, no randomness, no state. */
#ifndef CV_TRANSPORT_GATEFRAME_H
#define CV_TRANSPORT_GATEFRAME_H
#include "base/addr.h"
#include "base/cert.h"
#include "base/contact.h"
#include "base/key.h"

#define CV_GATE_VERSION      1
#define CV_GATE_FRAME_MAX    2048        /* type and body */
#define CV_GATE_ROOM         20          /* bytes of a room's name */
#define CV_GATE_ROOM_KEY     CV_ROOM_KEY /* r: HKDF(root, "room" || e) */
#define CV_GATE_TAG          8           /* of a ring: the attempt's id */
#define CV_GATE_CHANNEL      16          /* bytes of a channel's key */
#define CV_GATE_COOKIE       16
#define CV_GATE_KNOCK_MAX    CV_RING_MAX
#define CV_GATE_PACKET_MAX   1400 /* carried in DATA, RING or over UDP */
#define CV_GATE_STORED_MAX   1200 /* a sealed pointer */
#define CV_GATE_TTL_MAX      900  /* seconds that it is kept */
#define CV_GATE_TICKET_ID    8
#define CV_GATE_TICKET_KEY   16
#define CV_GATE_VERSION_TEXT 32
#define CV_GATE_EXPORTER     "EXPORTER-covim-gate-1" /* 32 bytes, RFC 9266 */

enum cv_gate_type {
    CV_GATE_CHALLENGE = 0x01, /* gate: prove your key */
    CV_GATE_AUTH = 0x02,
    CV_GATE_WELCOME = 0x03,
    CV_GATE_REGISTER = 0x04, /* I can be rung in this room */
    CV_GATE_REGISTERED = 0x05,
    CV_GATE_UNREGISTER = 0x06,
    CV_GATE_RING = 0x07, /* hand this knock to the room's owner */
    CV_GATE_RUNG = 0x08, /* to the owner */
    CV_GATE_RANG = 0x09, /* to the one who rang */
    CV_GATE_OPEN = 0x0a, /* a channel to the room's owner */
    CV_GATE_OPENED = 0x0b,
    CV_GATE_CLOSE = 0x0c,
    CV_GATE_GONE = 0x0d, /* the channel is no more */
    CV_GATE_DATA = 0x0e,
    CV_GATE_STORE = 0x0f, /* a sealed pointer at a location */
    CV_GATE_FETCH = 0x10,
    CV_GATE_FOUND = 0x11,
    CV_GATE_NONE = 0x12,  /* nothing (more) is stored there */
    CV_GATE_VOUCH = 0x13, /* where does the channel's other end come from? */
    CV_GATE_VOUCHED = 0x14,
    CV_GATE_PING = 0x15,
    CV_GATE_PONG = 0x16,
    CV_GATE_SLOW = 0x17, /* send no more than this */
    CV_GATE_BYE = 0x18,  /* closing: go elsewhere */
    CV_GATE_REFUSED = 0x19,
    CV_GATE_UNBIND = 0x1a, /* nothing comes over UDP: send by the link */
};

/* CHALLENGE: what AUTH must hold besides the key. */
#define CV_GATE_WANTS_IDENTITY 0x01
#define CV_GATE_WANTS_TOKEN    0x02

enum cv_gate_rang {
    CV_GATE_RANG_DELIVERED = 0,
    CV_GATE_RANG_STORED = 1, /* its owner is away; kept a minute */
    CV_GATE_RANG_FULL = 2,   /* too many are kept already */
};

enum cv_gate_refusal {
    CV_GATE_REFUSAL_VERSION = 1, /* of the protocol */
    CV_GATE_REFUSAL_AUTH = 2,    /* the proof is wrong */
    CV_GATE_REFUSAL_POLICY = 3,  /* not on the list, or no right token */
    CV_GATE_REFUSAL_FULL = 4,    /* the gate has no room for more */
    CV_GATE_REFUSAL_LIMIT = 5,   /* this client's own limit */
    CV_GATE_REFUSAL_RATE = 6,    /* too often */
    CV_GATE_REFUSAL_UNKNOWN = 7, /* no such room or channel */
    CV_GATE_REFUSAL_CLOSING = 8,
    CV_GATE_REFUSAL_FORMAT = 9, /* a frame that cannot be read */
};
/* A sentence for a person; static. */
const char *cv_gate_refusal_text(enum cv_gate_refusal why);

struct cv_gate_auth {
    struct cv_key node; /* N */
    uint8_t nonce[32];  /* nc */
    bool bound;         /* b: to the TLS session by its exporter */
    bool has_identity, has_token;
    struct cv_cert cert; /* I and its certificate for N */
    uint8_t token[32];   /* HMAC-SHA256(token, ng || nc || N) */
    uint8_t sig[CV_SIG_LEN];
};

struct cv_gate_welcome {
    struct cv_addr seen;  /* where the client comes from, TCP */
    uint16_t udp_port;    /* of the gate, 0: no UDP */
    uint32_t rate, burst; /* bytes a second, bytes */
    uint16_t rooms;       /* that one client may register */
    uint16_t channels;    /* in one room */
    cv_unix_ms time;      /* of the gate */
    uint8_t ticket[CV_GATE_TICKET_ID];
    uint8_t ticket_key[CV_GATE_TICKET_KEY];
    uint16_t ticket_s; /* that the ticket is good for */
    char version[CV_GATE_VERSION_TEXT + 1];
    uint8_t sig[CV_SIG_LEN];
};

/* One frame.  Borrowed bytes point into what was parsed. */
struct cv_gate_frame {
    enum cv_gate_type type;
    union {
        struct {
            uint8_t version, wants;
            uint8_t nonce[32]; /* ng */
        } challenge;
        struct cv_gate_auth auth;
        struct cv_gate_welcome welcome;
        uint8_t room_key[CV_GATE_ROOM_KEY]; /* REGISTER */
        uint8_t room[CV_GATE_ROOM];         /* REGISTERED, UNREGISTER */
        struct {
            uint8_t room[CV_GATE_ROOM];
            uint8_t tag[CV_GATE_TAG];
            struct cv_bytes knock;  /* 1..KNOCK_MAX */
            struct cv_bytes packet; /* 0..PACKET_MAX: the first of QUIC */
        } ring;                     /* RING, RUNG */
        struct {
            uint8_t tag[CV_GATE_TAG];
            uint8_t result; /* enum cv_gate_rang */
        } rang;
        struct {
            uint8_t room[CV_GATE_ROOM];
            uint8_t tag[CV_GATE_TAG];
        } open;
        struct {
            uint8_t room[CV_GATE_ROOM];
            uint8_t tag[CV_GATE_TAG];
            uint32_t channel;
            uint8_t key[CV_GATE_CHANNEL];
            bool caller; /* we opened it; else it was opened to us */
        } opened;
        uint32_t channel; /* CLOSE, GONE, VOUCH, UNBIND */
        struct {
            uint32_t channel;
            struct cv_bytes packet;
        } data;
        struct {
            uint8_t loc[20];
            uint16_t ttl; /* seconds, 1..TTL_MAX; of STORE */
            struct cv_bytes sealed;
        } store;         /* STORE, FOUND */
        uint8_t loc[20]; /* FETCH, NONE */
        struct {
            uint32_t channel;
            struct cv_addr addr; /* port 0 */
            uint64_t time;       /* Unix seconds */
            uint8_t sig[CV_SIG_LEN];
        } vouched;
        uint64_t ping; /* PING, PONG */
        uint32_t slow; /* bytes a second */
        uint32_t bye;  /* milliseconds until it closes */
        struct {
            uint8_t of;               /* enum cv_gate_type */
            uint8_t why;              /* enum cv_gate_refusal */
            uint8_t tag[CV_GATE_TAG]; /* of a RING or OPEN; of a REGISTER the
                                         room's first bytes; else zeros */
        } refused;
    } u;
};

/* Append one frame with its length.  CV_ERR_NOBUF, or CV_ERR_INVALID for what
 * the format cannot hold. */
CV_MUST_USE int cv_gate_put(struct cv_writer *w, const struct cv_gate_frame *f);
/* Read the first frame of data[len]: its size with the length in `used`.
 *   CV_ERR_AGAIN   not all of it is here yet
 *   CV_ERR_FORMAT  it is not one, or one of an unknown type: `used` says where
 *                  the next begins, or is 0 when that cannot be known */
CV_MUST_USE int cv_gate_get(struct cv_gate_frame *out, const uint8_t *data,
                            size_t len, size_t *used);

/* ---- proofs ------------------------------------------------------------- */

/* What AUTH and WELCOME bind together.  `exporter`: 32 bytes of the TLS
 * session, zeros where there is none (b = 0). */
struct cv_gate_handshake {
    struct cv_key gate;     /* the pinned key */
    uint8_t gate_nonce[32]; /* ng */
    bool bound;
    uint8_t exporter[32];
};

/* Fill in node, bound and sig; the nonce is there already.
 *   sig_N("covim gate 1" || gate || ng || nc || u8 b || exporter) */
CV_MUST_USE int cv_gate_auth_sign(struct cv_gate_auth *auth,
                                  const struct cv_gate_handshake *h,
                                  const struct cv_keypair *node);
CV_MUST_USE int cv_gate_auth_verify(const struct cv_gate_auth *auth,
                                    const struct cv_gate_handshake *h);
/* HMAC-SHA256(token, ng || nc || N): the token itself never travels. */
void cv_gate_auth_token(uint8_t out[32], struct cv_bytes token,
                        const struct cv_gate_handshake *h,
                        const struct cv_gate_auth *auth);
/* The last 64 bytes of WELCOME:
 *   sig_G("covim welcome 1" || N || ng || nc || u8 b || exporter || body)
 * where body is all before it.  The body is signed, because behind a proxy
 * (b = 0) the link protects nothing. */
CV_MUST_USE int cv_gate_welcome_sign(struct cv_gate_welcome *welcome,
                                     const struct cv_gate_handshake *h,
                                     const struct cv_gate_auth *auth,
                                     const struct cv_keypair *gate);
CV_MUST_USE int cv_gate_welcome_verify(const struct cv_gate_welcome *welcome,
                                       const struct cv_gate_handshake *h,
                                       const struct cv_gate_auth *auth);
/* sig_G("covim vouch 1" || asker N || peer N || addr || u64 time): that the
 * peer's packets came from `addr`. */
CV_MUST_USE int cv_gate_vouch_sign(uint8_t sig[CV_SIG_LEN],
                                   const struct cv_keypair *gate,
                                   const struct cv_key *asker,
                                   const struct cv_key *peer,
                                   const struct cv_addr *addr, uint64_t time);
CV_MUST_USE int cv_gate_vouch_verify(const uint8_t sig[CV_SIG_LEN],
                                     const struct cv_key *gate,
                                     const struct cv_key *asker,
                                     const struct cv_key *peer,
                                     const struct cv_addr *addr, uint64_t time);

/* SHA-256("covim room" || N || r)[0..20]: only N can register it, only who
 * holds r can name it. */
void cv_gate_room(uint8_t room[CV_GATE_ROOM], const struct cv_key *node,
                  const uint8_t r[CV_GATE_ROOM_KEY]);

/* ---- UDP ---------------------------------------------------------------- */

#define CV_GATE_UDP_BIND   0x10
#define CV_GATE_UDP_BOUND  0x11
#define CV_GATE_UDP_DATA   0x12
#define CV_GATE_UDP_ASK    0x13 /* with a ticket instead of a link */
#define CV_GATE_UDP_ANSWER 0x14

#define CV_GATE_UDP_HEADER   5 /* of DATA: type, channel */
#define CV_GATE_UDP_BIND_LEN 64
#define CV_GATE_ASK_HEADER   (1 + CV_GATE_TICKET_ID + 8 + CV_GATE_COOKIE + 1)
#define CV_GATE_MAC          16

/* BIND: u8 0x10 | u32 channel | u64 counter | cookie[16] | HMAC[16] | zeros
 * BOUND: u8 0x11 | u32 channel | u64 counter | cookie[16] | addr | HMAC[16]
 * HMAC-SHA256(channel key, all before it)[0..16].  The address counts after a
 * second BIND that carries the cookie of the first one's BOUND; counters only
 * grow. */
struct cv_gate_bind {
    uint32_t channel;
    uint64_t counter; /* BOUND repeats it */
    uint8_t cookie[CV_GATE_COOKIE];
    struct cv_addr seen; /* of BOUND */
};
void cv_gate_bind_write(uint8_t out[CV_GATE_UDP_BIND_LEN],
                        const struct cv_gate_bind *bind,
                        const uint8_t key[CV_GATE_CHANNEL]);
/* Which channel's key verifies it?  CV_ERR_FORMAT. */
CV_MUST_USE int cv_gate_bind_channel(const uint8_t *data, size_t len,
                                     uint32_t *channel);
/* CV_ERR_FORMAT, CV_ERR_AUTH. */
CV_MUST_USE int cv_gate_bind_read(struct cv_gate_bind *out, const uint8_t *data,
                                  size_t len,
                                  const uint8_t key[CV_GATE_CHANNEL]);
/* At most CV_GATE_UDP_BIND_LEN bytes: never more than was asked with. */
CV_MUST_USE int cv_gate_bound_write(struct cv_writer *w,
                                    const struct cv_gate_bind *bound,
                                    const uint8_t key[CV_GATE_CHANNEL]);
CV_MUST_USE int cv_gate_bound_read(struct cv_gate_bind *out,
                                   const uint8_t *data, size_t len,
                                   const uint8_t key[CV_GATE_CHANNEL]);

/* ASK and ANSWER, both of
 *   u8 type | ticket id[8] | u64 counter | cookie[16] | u8 frame type | body
 *   | HMAC[16]
 * HMAC-SHA256(ticket key, all before it)[0..16].  The frame types are those of
 * a link.  As for BIND, what is asked counts when the cookie is right; until
 * then the answer is empty (type 0) and carries one. */
struct cv_gate_ask {
    uint8_t ticket[CV_GATE_TICKET_ID];
    uint64_t counter;
    uint8_t cookie[CV_GATE_COOKIE];
    struct cv_gate_frame frame;
    bool empty; /* of ANSWER: a cookie and nothing else */
};
CV_MUST_USE int cv_gate_ask_write(struct cv_writer *w, bool answer,
                                  const struct cv_gate_ask *ask,
                                  const uint8_t key[CV_GATE_TICKET_KEY]);
CV_MUST_USE int cv_gate_ask_ticket(const uint8_t *data, size_t len,
                                   uint8_t ticket[CV_GATE_TICKET_ID]);
CV_MUST_USE int cv_gate_ask_read(struct cv_gate_ask *out, bool answer,
                                 const uint8_t *data, size_t len,
                                 const uint8_t key[CV_GATE_TICKET_KEY]);

/* HMAC-SHA256(secret, "covim cookie 1" || source || u64 minute || what)[0..16];
 * `what` is the channel or the ticket.  Good in the minute it names and the
 * next. */
void cv_gate_cookie(uint8_t out[CV_GATE_COOKIE], const uint8_t secret[32],
                    const struct cv_addr *from, struct cv_bytes what,
                    uint64_t minute);

/* ---- names -------------------------------------------------------------- */

/* "covimgate1…@HOST:PORT", port 443 unless said; or, of a gate behind a
 * reverse proxy, "covimgate1…@wss://HOST:PORT/PATH", where HOST has a
 * certificate of its own and speaks WebSocket at PATH (/covim unless said). */
#define CV_GATE_PATH "/covim"
struct cv_gate_name {
    struct cv_key key;
    char host[256];
    uint16_t port;
    char path[128]; /* "": the gate itself answers there */
};
/* On CV_ERR_FORMAT `why` says what is wrong, for a person. */
CV_MUST_USE int cv_gate_name_parse(struct cv_gate_name *out, const char *text,
                                   char *why, size_t why_len);
#define CV_GATE_NAME_TEXT 544
char *cv_gate_name_format(const struct cv_gate_name *name,
                          char out[CV_GATE_NAME_TEXT]);
#endif
