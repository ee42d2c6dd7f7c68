/* tests/unit/gate_frames.h - one frame of every type, filled with numbers. */
#ifndef CV_TESTS_GATE_FRAMES_H
#define CV_TESTS_GATE_FRAMES_H
#include "transport/gateframe.h"
#include <string.h>

#define GATE_FRAME_FIRST CV_GATE_CHALLENGE
#define GATE_FRAME_LAST  CV_GATE_UNBIND

/* `seed` makes it different from others of its type. */
static inline struct cv_gate_frame gate_frame(enum cv_gate_type type,
                                              uint8_t seed)
{
    static const uint8_t bytes[CV_GATE_PACKET_MAX] = {0x40, 1, 2, 3, 4, 5, 6};
    struct cv_gate_frame f;

    memset(&f, 0, sizeof f);
    f.type = type;
    switch (type) {
    case CV_GATE_CHALLENGE:
        f.u.challenge.version = CV_GATE_VERSION;
        f.u.challenge.wants = CV_GATE_WANTS_TOKEN;
        memset(f.u.challenge.nonce, seed, 32);
        break;
    case CV_GATE_AUTH:
        memset(&f.u.auth.node, seed, sizeof f.u.auth.node);
        f.u.auth.bound = true;
        f.u.auth.has_identity = seed & 1;
        f.u.auth.has_token = (seed & 2) != 0;
        if (f.u.auth.has_identity)
            f.u.auth.cert.not_after = seed;
        if (f.u.auth.has_token)
            memset(f.u.auth.token, seed, 32);
        break;
    case CV_GATE_WELCOME:
        f.u.welcome.seen = cv_addr_ipv4(0x01020304, 5);
        f.u.welcome.udp_port = 443;
        f.u.welcome.rate = 1 << 20;
        f.u.welcome.rooms = 64;
        f.u.welcome.time = 1234567;
        memset(f.u.welcome.ticket, seed, CV_GATE_TICKET_ID);
        strcpy(f.u.welcome.version, "covim-gate 1");
        break;
    case CV_GATE_REGISTER:
        memset(f.u.room_key, seed, CV_GATE_ROOM_KEY);
        break;
    case CV_GATE_REGISTERED:
    case CV_GATE_UNREGISTER:
        memset(f.u.room, seed, CV_GATE_ROOM);
        break;
    case CV_GATE_RING:
    case CV_GATE_RUNG:
        memset(f.u.ring.room, seed, CV_GATE_ROOM);
        f.u.ring.knock = CV_BYTES(bytes, CV_GATE_KNOCK_MAX);
        f.u.ring.packet = CV_BYTES(bytes, seed);
        break;
    case CV_GATE_RANG:
        f.u.rang.result = CV_GATE_RANG_STORED;
        break;
    case CV_GATE_OPEN:
        memset(f.u.open.tag, seed, CV_GATE_TAG);
        break;
    case CV_GATE_OPENED:
        f.u.opened.channel = 0x01020304;
        memset(f.u.opened.key, seed, CV_GATE_CHANNEL);
        f.u.opened.caller = true;
        break;
    case CV_GATE_CLOSE:
    case CV_GATE_GONE:
    case CV_GATE_VOUCH:
    case CV_GATE_UNBIND:
        f.u.channel = 0xfffefdfc;
        break;
    case CV_GATE_DATA:
        f.u.data.channel = 7;
        f.u.data.packet = CV_BYTES(bytes, CV_GATE_PACKET_MAX);
        break;
    case CV_GATE_STORE:
        f.u.store.ttl = CV_GATE_TTL_MAX;
        f.u.store.sealed = CV_BYTES(bytes, CV_GATE_STORED_MAX);
        break;
    case CV_GATE_FOUND:
        f.u.store.sealed = CV_BYTES(bytes, CV_GATE_STORED_MAX);
        break;
    case CV_GATE_FETCH:
    case CV_GATE_NONE:
        memset(f.u.loc, seed, sizeof f.u.loc);
        break;
    case CV_GATE_VOUCHED:
        f.u.vouched.addr = cv_addr_ipv4(0x01020304, 0);
        f.u.vouched.time = 99;
        break;
    case CV_GATE_PING:
    case CV_GATE_PONG:
        f.u.ping = 0x0102030405060708;
        break;
    case CV_GATE_SLOW:
        f.u.slow = 1000;
        break;
    case CV_GATE_BYE:
        f.u.bye = 5000;
        break;
    case CV_GATE_REFUSED:
        f.u.refused.of = CV_GATE_OPEN;
        f.u.refused.why = CV_GATE_REFUSAL_FULL;
        break;
    }
    return f;
}
#endif
