#include "tests/bench/gate_flow.h"
#include <dirent.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define BURST_MAX   64
#define READS       16
#define READ_MAX    65536
#define LATE_US     100000 /* longest delay that is told apart */
#define PACKET_MAX  1500
#define SOCKET_ROOM (4 * 1024 * 1024)
#define MAGIC       0x2112a442u /* RFC 8489, 5 */

/* ---- what the kernel knows ---------------------------------------------- */

double gf_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double gf_cpu_us(int pid)
{
    char path[600];
    struct dirent *e;
    double sum = 0;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    dir = opendir(path);
    GC_NEED(dir != NULL);
    while ((e = readdir(dir)) != NULL) {
        unsigned long long ns = 0;
        FILE *f;

        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid,
                 e->d_name);
        f = fopen(path, "r");
        if (f && fscanf(f, "%llu", &ns) == 1)
            sum += (double)ns / 1e3;
        if (f)
            fclose(f);
    }
    closedir(dir);
    return sum;
}

double gf_rss_kib(int pid)
{
    char path[64];
    long size, pages = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    f = fopen(path, "r");
    GC_NEED(f && fscanf(f, "%ld %ld", &size, &pages) == 2);
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

/* ---- flows -------------------------------------------------------------- */

static void make_roomy(int fd)
{
    int room = SOCKET_ROOM, on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    (void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
}

void gf_gate(struct gf_flow *flow, const struct gc_gate *gate,
             const struct cv_addr *from)
{
    struct gc_link *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    struct gc_end ea, eb;
    uint8_t room[CV_GATE_ROOM];

    GC_NEED(a && b); /* kept as long as the program runs */
    flow->link[0] = a;
    flow->link[1] = b;
    gc_link_open(a, gate, GC_TLS, from);
    gc_link_open(b, gate, GC_TLS, from);
    gc_register(b, room);
    gc_channel(a, b, room, &ea, &eb);
    flow->tx = gc_udp(gate, from);
    flow->rx = gc_udp(gate, from);
    gc_bind(flow->tx, &ea);
    gc_bind(flow->rx, &eb);
    flow->header[0] = CV_GATE_UDP_DATA;
    flow->header[1] = (uint8_t)(ea.id >> 24);
    flow->header[2] = (uint8_t)(ea.id >> 16);
    flow->header[3] = (uint8_t)(ea.id >> 8);
    flow->header[4] = (uint8_t)ea.id;
    flow->tx_header = flow->rx_header = CV_GATE_UDP_HEADER;
    make_roomy(flow->tx);
    make_roomy(flow->rx);
}

static void turn_request(int fd, uint16_t type, const uint8_t *attributes,
                         size_t len)
{
    uint8_t m[256] = {(uint8_t)(type >> 8),
                      (uint8_t)type,
                      0,
                      (uint8_t)len,
                      0x21,
                      0x12,
                      0xa4,
                      0x42};
    ssize_t n;

    gc_random(m + 8, 12);
    memcpy(m + 20, attributes, len);
    GC_NEED(send(fd, m, 20 + len, 0) == (ssize_t)(20 + len));
    n = recv(fd, m, sizeof m, 0);
    GC_NEED(n >= 20 && (m[0] << 8 | m[1]) == (type | 0x0100));
}

int gf_turn_idle(const struct cv_addr *server)
{
    /* REQUESTED-TRANSPORT: UDP */
    static const uint8_t udp[8] = {0x00, 0x19, 0, 4, 17, 0, 0, 0};
    struct gc_gate as_gate = {.tcp = *server};
    int fd = gc_udp(&as_gate, NULL);

    turn_request(fd, 0x0003, udp, sizeof udp);
    return fd;
}

void gf_turn(struct gf_flow *flow, const struct cv_addr *server)
{
    /* CHANNEL-NUMBER, XOR-PEER-ADDRESS */
    uint8_t bind_it[20] = {0x00, 0x0c, 0,    4, 0x40, 0, 0,
                           0,    0x00, 0x12, 0, 8,    0, 1};
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    uint16_t port;

    flow->link[0] = flow->link[1] = NULL;
    flow->tx = gf_turn_idle(server);
    flow->rx = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    GC_NEED(bind(flow->rx, (struct sockaddr *)&at, len) == 0 &&
            getsockname(flow->rx, (struct sockaddr *)&at, &len) == 0);
    port = (uint16_t)(ntohs(at.sin_port) ^ (MAGIC >> 16));
    bind_it[14] = (uint8_t)(port >> 8);
    bind_it[15] = (uint8_t)port;
    bind_it[16] = 127 ^ 0x21;
    bind_it[17] = 0x12;
    bind_it[18] = 0xa4;
    bind_it[19] = 1 ^ 0x42;
    turn_request(flow->tx, 0x0009, bind_it, sizeof bind_it);
    flow->header[0] = 0x40; /* channel 0x4000; the length comes behind it */
    flow->header[1] = 0;
    flow->tx_header = 4;
    flow->rx_header = 0;
    make_roomy(flow->tx);
    make_roomy(flow->rx);
}

static int bound_socket(struct cv_addr *at)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;

    *at = cv_addr_ipv4(INADDR_LOOPBACK, 0);
    GC_NEED(bind(fd, (struct sockaddr *)&ss, cv_addr_to_sockaddr(at, &ss)) ==
                0 &&
            getsockname(fd, (struct sockaddr *)&ss, &len) == 0 &&
            cv_addr_from_sockaddr(at, (struct sockaddr *)&ss) == CV_OK);
    make_roomy(fd);
    return fd;
}

int gf_bare(struct gf_flow *flow, struct cv_addr *to)
{
    struct cv_addr at;
    int fd = bound_socket(&at);
    struct gc_gate as_gate = {.tcp = at};

    memset(flow, 0, sizeof *flow);
    flow->tx = gc_udp(&as_gate, NULL);
    flow->rx = bound_socket(to);
    make_roomy(flow->tx);
    return fd;
}

/* ---- sending ------------------------------------------------------------ */

struct stamp {
    double at;
    uint64_t counted; /* 0: of the warm-up */
};

struct run {
    const struct gf_flow *flow;
    const struct gf_load *load;
    bool counting;
    struct gf_result result;
    uint32_t *late; /* [LATE_US], packets by delay */
};

static uint8_t packets[BURST_MAX * PACKET_MAX];

static void lay_out(const struct run *r, double now)
{
    const struct gf_flow *flow = r->flow;
    size_t whole = flow->tx_header + r->load->size;
    struct stamp stamp = {now, r->counting};

    for (unsigned i = 0; i < r->load->burst; i++) {
        uint8_t *p = packets + i * whole;

        memcpy(p, flow->header, flow->tx_header);
        if (flow->tx_header == 4) {
            p[2] = (uint8_t)(r->load->size >> 8);
            p[3] = (uint8_t)r->load->size;
        }
        memcpy(p + flow->tx_header, &stamp, sizeof stamp);
    }
}

static void put_segment(struct msghdr *h, size_t segment)
{
    struct cmsghdr *c = h->msg_control;
    uint16_t value = (uint16_t)segment;

    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof value);
    memcpy(CMSG_DATA(c), &value, sizeof value);
    h->msg_controllen = CMSG_SPACE(sizeof value);
}

static unsigned send_train(const struct run *r, size_t whole)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct iovec iov = {packets, whole * r->load->burst};
    struct msghdr h = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};

    put_segment(&h, whole);
    return sendmsg(r->flow->tx, &h, 0) > 0 ? r->load->burst : 0;
}

static unsigned send_singles(const struct run *r, size_t whole)
{
    struct mmsghdr m[BURST_MAX];
    struct iovec iov[BURST_MAX];
    int n;

    for (unsigned i = 0; i < r->load->burst; i++) {
        iov[i] = (struct iovec){packets + i * whole, whole};
        m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    n = sendmmsg(r->flow->tx, m, r->load->burst, 0);
    return n > 0 ? (unsigned)n : 0;
}

static void send_burst(struct run *r, double now)
{
    size_t whole = r->flow->tx_header + r->load->size;
    unsigned n;

    lay_out(r, now);
    if (r->load->gso && r->load->burst > 1)
        n = send_train(r, whole);
    else
        n = send_singles(r, whole);
    if (r->counting)
        r->result.sent += n;
}

static void send_flood(struct run *r)
{
    uint8_t junk[100];

    gc_random(junk, 16);
    junk[0] = r->load->flood_kind;
    r->result.flooded += send(r->load->flood, junk, sizeof junk, 0) > 0;
}

/* ---- receiving ---------------------------------------------------------- */

static void count(struct run *r, const uint8_t *packet, size_t len, double now)
{
    struct stamp stamp;
    size_t us;

    if (len != r->flow->rx_header + r->load->size)
        return;
    memcpy(&stamp, packet + r->flow->rx_header, sizeof stamp);
    if (!stamp.counted)
        return;
    us = (size_t)((now - stamp.at) * 1e6);
    r->late[us < LATE_US ? us : LATE_US - 1]++;
    r->result.got++;
}

static size_t segment_of(struct msghdr *h, size_t len)
{
    int size = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
            memcpy(&size, CMSG_DATA(c), sizeof size);
    return size > 0 ? (size_t)size : len;
}

_Noreturn void gf_forward(int fd, const struct cv_addr *to)
{
    static uint8_t buffer[READ_MAX];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct sockaddr_storage from, at;
    socklen_t at_len = cv_addr_to_sockaddr(to, &at);

    for (;;) {
        struct iovec iov = {buffer, sizeof buffer};
        struct msghdr h = {.msg_name = &from,
                           .msg_namelen = sizeof from,
                           .msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof control};
        ssize_t n = recvmsg(fd, &h, 0);
        size_t segment;

        if (n <= 0)
            continue;
        segment = segment_of(&h, (size_t)n);
        h.msg_name = &at;
        h.msg_namelen = at_len;
        h.msg_controllen = 0;
        iov.iov_len = (size_t)n;
        if (segment < (size_t)n)
            put_segment(&h, segment);
        (void)sendmsg(fd, &h, 0);
    }
}

static bool receive(struct run *r)
{
    static uint8_t buffer[READS][READ_MAX];
    static _Alignas(
        struct cmsghdr) char control[READS][CMSG_SPACE(sizeof(int))];
    struct mmsghdr m[READS];
    struct iovec iov[READS];
    double now;
    int n;

    for (unsigned i = 0; i < READS; i++) {
        iov[i] = (struct iovec){buffer[i], READ_MAX};
        m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i],
                                       .msg_iovlen = 1,
                                       .msg_control = control[i],
                                       .msg_controllen = sizeof control[i]};
    }
    n = recvmmsg(r->flow->rx, m, READS, MSG_DONTWAIT, NULL);
    now = gf_now();
    for (int i = 0; i < n; i++) {
        size_t len = m[i].msg_len, each = segment_of(&m[i].msg_hdr, len);

        for (size_t at = 0; at < len; at += each)
            count(r, buffer[i] + at, len - at < each ? len - at : each, now);
    }
    return n > 0;
}

/* ---- a run -------------------------------------------------------------- */

/* A gate closes links on which nothing comes. */
static void stay_linked(const struct gf_flow *flow)
{
    const struct cv_gate_frame ping = {.type = CV_GATE_PING};

    for (unsigned i = 0; i < 2; i++)
        if (flow->link[i])
            gc_send(flow->link[i], &ping);
}

static double percentile(const struct run *r, double part)
{
    uint64_t want = (uint64_t)((double)r->result.got * part), seen = 0;

    for (size_t us = 0; us < LATE_US; us++) {
        seen += r->late[us];
        if (seen > want)
            return ((double)us + 0.5) / 1e3;
    }
    return LATE_US / 1e3;
}

struct gf_result gf_run(const struct gf_flow *flow, const struct gf_load *load,
                        int pid)
{
    struct run r = {.flow = flow, .load = load};
    double begun = gf_now(), next = begun, every = load->burst / load->pps;
    double flood = load->flood_pps > 0 ? begun : 1e300, now, last;
    double warm = begun + load->warm_s, end = warm + load->seconds, cpu = 0;

    GC_NEED(load->burst <= BURST_MAX && load->size + 8 <= PACKET_MAX);
    r.late = calloc(LATE_US, sizeof *r.late);
    GC_NEED(r.late);
    stay_linked(flow);
    while (receive(&r))
        ;
    for (now = begun; now < end; now = gf_now()) {
        if (!r.counting && now >= warm) {
            r.counting = true;
            cpu = gf_cpu_us(pid);
        }
        if (now >= next) {
            send_burst(&r, now);
            next += every;
        }
        if (now >= flood) {
            send_flood(&r);
            flood += 1 / load->flood_pps;
        }
        (void)receive(&r);
    }
    for (last = now; now - last < 0.2; now = gf_now())
        if (receive(&r))
            last = now;
    r.result.cpu_us = gf_cpu_us(pid) - cpu;
    r.result.seconds = load->seconds;
    r.result.p50_ms = percentile(&r, 0.5);
    r.result.p99_ms = percentile(&r, 0.99);
    free(r.late);
    return r.result;
}
