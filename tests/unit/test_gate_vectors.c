/* The vectors of docs/protocol.md, section 8, are what the code makes.
 * `unit_gate_vectors print` prints them in the form of that document. */
#include "tests/unit/vectors_kit.h"
#include "transport/gateframe.h"

#define TIME_MS UINT64_C(1749989400000)

static void frame(const char *name, const struct cv_gate_frame *f)
{
    uint8_t out[CV_GATE_FRAME_MAX + 2];
    struct cv_writer w;

    cv_writer_init(&w, out, sizeof out);
    REQUIRE(cv_gate_put(&w, f) == CV_OK);
    vector(name, out, w.len);
}

static struct cv_keypair keypair(uint8_t seed)
{
    struct cv_keypair k;
    uint8_t bytes[32];

    memset(bytes, seed, sizeof bytes);
    REQUIRE(cv_keypair_from_seed(&k, bytes) == CV_OK);
    return k;
}

/* Room, CHALLENGE, AUTH with a token, WELCOME. */
static void link_vectors(const struct cv_keypair *gate,
                         const struct cv_keypair *node)
{
    struct cv_gate_handshake h = {.gate = gate->pub, .bound = true};
    struct cv_gate_frame f = {.type = CV_GATE_CHALLENGE};
    struct cv_gate_auth auth = {.has_token = true};

    memset(h.gate_nonce, 0x31, sizeof h.gate_nonce);
    memset(h.exporter, 0x33, sizeof h.exporter);
    f.u.challenge.version = CV_GATE_VERSION;
    f.u.challenge.wants = CV_GATE_WANTS_TOKEN;
    memcpy(f.u.challenge.nonce, h.gate_nonce, 32);
    frame("gate.challenge", &f);
    memset(auth.nonce, 0x32, sizeof auth.nonce);
    REQUIRE(cv_gate_auth_sign(&auth, &h, node) == CV_OK);
    cv_gate_auth_token(auth.token, CV_LITERAL("sesame sesame sesame"), &h,
                       &auth);
    f = (struct cv_gate_frame){.type = CV_GATE_AUTH, .u.auth = auth};
    frame("gate.auth", &f);
    memset(&f, 0, sizeof f);
    f.type = CV_GATE_WELCOME;
    f.u.welcome.seen = cv_addr_ipv4(0x05020202, 5000);
    f.u.welcome.udp_port = 443;
    f.u.welcome.rate = 1u << 20;
    f.u.welcome.burst = 4u << 20;
    f.u.welcome.rooms = 64;
    f.u.welcome.channels = 16;
    f.u.welcome.time = TIME_MS;
    memset(f.u.welcome.ticket, 0x34, CV_GATE_TICKET_ID);
    memset(f.u.welcome.ticket_key, 0x35, CV_GATE_TICKET_KEY);
    f.u.welcome.ticket_s = 900;
    strcpy(f.u.welcome.version, "covim-gate 1");
    REQUIRE(cv_gate_welcome_sign(&f.u.welcome, &h, &auth, gate) == CV_OK);
    frame("gate.welcome", &f);
}

static void room_vectors(const struct cv_keypair *node)
{
    struct cv_gate_frame f = {.type = CV_GATE_REGISTER};
    uint8_t room[CV_GATE_ROOM];

    memset(f.u.room_key, 0x36, CV_GATE_ROOM_KEY);
    cv_gate_room(room, &node->pub, f.u.room_key);
    vector("gate.room", room, sizeof room);
    frame("gate.register", &f);
    memset(&f, 0, sizeof f);
    f.type = CV_GATE_RING;
    memcpy(f.u.ring.room, room, sizeof room);
    memset(f.u.ring.tag, 0x37, CV_GATE_TAG);
    f.u.ring.knock = CV_LITERAL("knock");
    f.u.ring.packet = CV_LITERAL("packet");
    frame("gate.ring", &f);
    memset(&f, 0, sizeof f);
    f.type = CV_GATE_OPENED;
    memcpy(f.u.opened.room, room, sizeof room);
    memset(f.u.opened.tag, 0x37, CV_GATE_TAG);
    f.u.opened.channel = 0x38393a3b;
    memset(f.u.opened.key, 0x3c, CV_GATE_CHANNEL);
    f.u.opened.caller = true;
    frame("gate.opened", &f);
}

static void udp_vectors(void)
{
    struct cv_gate_bind bind = {.channel = 0x38393a3b, .counter = 1};
    struct cv_gate_ask ask = {.counter = 2};
    uint8_t key[16], out[256];
    struct cv_writer w;

    memset(key, 0x3c, sizeof key);
    cv_gate_bind_write(out, &bind, key);
    vector("gate.bind", out, CV_GATE_UDP_BIND_LEN);
    memset(bind.cookie, 0x3d, CV_GATE_COOKIE);
    bind.seen = cv_addr_ipv4(0x05020202, 5000);
    cv_writer_init(&w, out, sizeof out);
    REQUIRE(cv_gate_bound_write(&w, &bind, key) == CV_OK);
    vector("gate.bound", out, w.len);
    memset(ask.ticket, 0x34, CV_GATE_TICKET_ID);
    memset(ask.cookie, 0x3d, CV_GATE_COOKIE);
    memset(key, 0x35, sizeof key);
    ask.frame.type = CV_GATE_REGISTER;
    memset(ask.frame.u.room_key, 0x36, CV_GATE_ROOM_KEY);
    cv_writer_init(&w, out, sizeof out);
    REQUIRE(cv_gate_ask_write(&w, false, &ask, key) == CV_OK);
    vector("gate.ask", out, w.len);
    ask.empty = true;
    cv_writer_init(&w, out, sizeof out);
    REQUIRE(cv_gate_ask_write(&w, true, &ask, key) == CV_OK);
    vector("gate.answer", out, w.len);
}

static void vectors(void)
{
    struct cv_keypair gate = keypair(0x30), node = keypair(0x03);

    link_vectors(&gate, &node);
    room_vectors(&node);
    udp_vectors();
}

TEST(the_document_has_the_vectors_that_the_code_makes)
{
    read_document();
    vectors();
    CHECK_EQ(checked, 11);
    CHECK_EQ(wrong, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(the_document_has_the_vectors_that_the_code_makes)};

    (void)argv;
    return compare_or_print(argc, vectors, tests);
}
