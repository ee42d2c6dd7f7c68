/* One client of a real gate, for tests/e2e/gate_*.sh:
 *
 *     gate_probe NAME try [plain PORT]  join; says "in" or "refused"
 *     gate_probe NAME stay              join, and say what the gate says
 *     gate_probe NAME hold N            N connections that say nothing, for 3 s
 *     gate_probe NAME half N PORT       the same with half a request
 *     gate_probe NAME send N            N packets through a channel, over UDP
 *                                       and over links: says how many came
 *     gate_probe NAME slow N            a reader that does not read N MiB
 *     gate_probe NAME junk              frames of every kind of wrong */
#include "tests/bench/gate_client.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct gc_gate gate;

static void close_pair(struct gc_link *a, struct gc_link *b)
{
    gc_link_close(a);
    gc_link_close(b);
}

static int try_it(enum gc_carriage carriage)
{
    struct gc_link l;
    bool in = gc_link_try(&l, &gate, carriage, NULL);

    printf("%s\n", in ? "in" : "refused");
    if (in)
        gc_link_close(&l);
    return 0;
}

static int stay(void)
{
    struct cv_gate_frame f;
    struct gc_link l;

    gc_link_open(&l, &gate, GC_TLS, NULL);
    printf("in\n");
    fflush(stdout);
    while (gc_recv(&l, &f)) {
        if (f.type == CV_GATE_BYE)
            printf("bye %u\n", (unsigned)f.u.bye);
        else
            printf("frame %u\n", (unsigned)f.type);
        fflush(stdout);
    }
    printf("closed\n");
    gc_link_close(&l);
    return 0;
}

/* Those that were not turned away at once. */
static int hold(unsigned n, const char *say)
{
    static int fd[4096];
    unsigned kept = 0;

    for (unsigned i = 0; i < n && i < 4096; i++) {
        fd[i] = gc_connect(say[0] ? &gate.plain : &gate.tcp, NULL);
        if (fd[i] >= 0)
            (void)send(fd[i], say, strlen(say), MSG_NOSIGNAL);
    }
    sleep(3);
    for (unsigned i = 0; i < n && i < 4096; i++) {
        char byte;

        kept += fd[i] >= 0 && recv(fd[i], &byte, 1, MSG_DONTWAIT) < 0 &&
                errno == EAGAIN;
    }
    printf("held %u\n", kept);
    return 0;
}

static void open_pair(struct gc_link *a, struct gc_link *b, struct gc_end *ea,
                      struct gc_end *eb)
{
    uint8_t room[CV_GATE_ROOM];

    gc_link_open(a, &gate, GC_TLS, NULL);
    gc_link_open(b, &gate, GC_WEBSOCKET, NULL);
    gc_register(b, room);
    gc_channel(a, b, room, ea, eb);
}

/* One at a time: nothing may be lost. */
static int send_some(unsigned n)
{
    struct gc_link a, b;
    struct gc_end ea, eb;
    struct cv_gate_frame f = {.type = CV_GATE_DATA}, got;
    unsigned by_link = 0, by_udp = 0;
    uint8_t out[105], in[2048];
    int udp_a, udp_b;

    open_pair(&a, &b, &ea, &eb);
    f.u.data.channel = ea.id;
    f.u.data.packet = CV_LITERAL("known text of a packet");
    for (unsigned i = 0; i < n; i++) {
        gc_send(&a, &f);
        got = gc_want(&b, CV_GATE_DATA);
        by_link += got.u.data.channel == eb.id &&
                   got.u.data.packet.len == f.u.data.packet.len;
    }
    udp_a = gc_udp(&gate, NULL);
    udp_b = gc_udp(&gate, NULL);
    gc_bind(udp_a, &ea);
    gc_bind(udp_b, &eb);
    memset(out, 7, sizeof out);
    out[0] = CV_GATE_UDP_DATA;
    for (unsigned i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(ea.id >> (24 - 8 * i));
    for (unsigned i = 0; i < n; i++) {
        GC_NEED(send(udp_a, out, sizeof out, 0) == (ssize_t)sizeof out);
        by_udp += recv(udp_b, in, sizeof in, 0) == (ssize_t)sizeof out;
    }
    printf("links %u udp %u\n", by_link, by_udp);
    close(udp_a);
    close(udp_b);
    close_pair(&a, &b);
    return 0;
}

static int slow(unsigned mib)
{
    static uint8_t packet[1200];
    struct gc_link a, b;
    struct gc_end ea, eb;
    struct cv_gate_frame f = {.type = CV_GATE_DATA};

    open_pair(&a, &b, &ea, &eb);
    f.u.data.channel = ea.id;
    f.u.data.packet = CV_BYTES(packet, sizeof packet);
    for (size_t sent = 0; sent < (size_t)mib << 20; sent += sizeof packet)
        gc_send(&a, &f);
    /* The sender was not cut off for its peer's slowness. */
    f = (struct cv_gate_frame){.type = CV_GATE_PING, .u.ping = 5};
    gc_send(&a, &f);
    f = gc_want(&a, CV_GATE_PONG);
    printf("pong %u\n", (unsigned)f.u.ping);
    close_pair(&a, &b);
    return 0;
}

static int junk(void)
{
    uint8_t bytes[4096];

    for (unsigned i = 0; i < 15; i++) {
        struct gc_link l;

        gc_link_open(&l, &gate, i % 2 ? GC_TLS : GC_WEBSOCKET, NULL);
        gc_random(bytes, sizeof bytes);
        for (unsigned k = 0; k < 50; k++)
            if (!gc_write(&l, bytes, 1 + 80 * k))
                break;
        gc_link_close(&l);
        usleep(100000); /* within the limit of connections a second */
    }
    printf("done\n");
    return 0;
}

static int run(int argc, char *argv[])
{
    unsigned n = argc > 3 ? (unsigned)atoi(argv[3]) : 1;

    if (argc > 4)
        gate.plain.port = (uint16_t)atoi(argv[4]);
    if (strcmp(argv[2], "try") == 0)
        return try_it(argc > 4 ? GC_PLAIN : GC_TLS);
    if (strcmp(argv[2], "stay") == 0)
        return stay();
    if (strcmp(argv[2], "hold") == 0)
        return hold(n, "");
    if (strcmp(argv[2], "half") == 0)
        return hold(n, "GET /covim HTTP/1.1\r\nHost: a\r\n");
    if (strcmp(argv[2], "send") == 0)
        return send_some(n);
    if (strcmp(argv[2], "slow") == 0)
        return slow(n);
    return junk();
}

int main(int argc, char *argv[])
{
    struct cv_gate_name name;
    char why[256];
    int code;

    GC_NEED(argc > 2);
    GC_NEED(cv_gate_name_parse(&name, argv[1], why, sizeof why) == CV_OK);
    gate.key = name.key;
    GC_NEED(cv_addr_parse(&gate.tcp, name.host, name.port) == CV_OK);
    gate.plain = gate.tcp;
    GC_NEED(cv_tls_client(&gate.ctx) == CV_OK);
    code = run(argc, argv);
    cv_tls_ctx_free(gate.ctx);
    return code;
}
