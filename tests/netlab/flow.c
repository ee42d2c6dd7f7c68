/* tests/netlab/flow.c - a stream of datagrams that says how it fared.
 *
 *   flow receive ADDRESS:PORT IDLE-MS
 *       until nothing came for so long; then one line of JSON: packets, lost
 *       (gaps in the numbers at the end), duplicates, reordered (a smaller
 *       number than one before), and the one-way delay in ms
 *   flow send FROM TO:PORT RATE COUNT [BYTES]
 *       COUNT datagrams at RATE a second
 *
 * Both ends read the same monotonic clock; namespaces share it. */
#include "base/addr.h"
#include "base/err.h"
#include "base/time.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#define NUMBERS (1u << 20) /* the most that are followed */
#define BURST   64
/* A sleep costs more than a datagram: at high rates they go in small groups. */
#define TICK (200 * CV_MICROSECOND)

struct mark {
    uint32_t number;
    int64_t sent;
};

struct tally {
    float delay_ms[NUMBERS];
    uint8_t seen[NUMBERS];
    unsigned packets, last, duplicates, reordered;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "flow: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_socket(const char *text, struct cv_addr *at)
{
    const int room = 16 << 20;
    struct sockaddr_storage ss;
    socklen_t len;
    int fd;

    if (cv_addr_parse(at, text, 0) != CV_OK)
        exit(2);
    len = cv_addr_to_sockaddr(at, &ss);
    fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0)
        die(text);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
    return fd;
}

static void note(struct tally *t, const struct mark *m, int64_t now)
{
    if (m->number >= NUMBERS)
        return;
    t->reordered += m->number < t->last;
    t->last = m->number > t->last ? m->number : t->last;
    if (t->seen[m->number]++ > 0)
        t->duplicates++;
    else
        t->delay_ms[t->packets++] =
            (float)((double)(now - m->sent) / (double)CV_MILLISECOND);
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return x < y ? -1 : x > y;
}

static void report(struct tally *t)
{
    unsigned n = t->packets;

    qsort(t->delay_ms, n, sizeof(t->delay_ms[0]), by_size);
    printf("{\"packets\":%u,\"lost\":%u,\"duplicates\":%u,\"reordered\":%u", n,
           n == 0 ? 0 : t->last + 1 - n, t->duplicates, t->reordered);
    if (n > 0)
        printf(",\"min_ms\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
               "\"max_ms\":%.3f",
               t->delay_ms[0], t->delay_ms[n / 2], t->delay_ms[n - 1 - n / 100],
               t->delay_ms[n - 1]);
    printf("}\n");
}

static int receive(const char *at, int idle_ms)
{
    static struct tally t;
    static uint8_t data[BURST][2048];
    struct iovec iov[BURST];
    struct mmsghdr message[BURST] = {0};
    struct cv_addr own;
    struct pollfd p = {.fd = open_socket(at, &own), .events = POLLIN};

    for (unsigned i = 0; i < BURST; i++) {
        iov[i] = (struct iovec){data[i], sizeof(data[i])};
        message[i].msg_hdr =
            (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    fprintf(stderr, "ready\n");
    while (poll(&p, 1, t.packets == 0 ? 10000 : idle_ms) > 0) {
        int n = recvmmsg(p.fd, message, BURST, MSG_DONTWAIT, NULL);
        int64_t now = cv_time_now();

        for (int i = 0; i < n; i++) {
            struct mark m;

            memcpy(&m, data[i], sizeof(m));
            if (message[i].msg_len >= sizeof(m))
                note(&t, &m, now);
        }
    }
    report(&t);
    return 0;
}

static int send_flow(const char *from, const char *to, double rate,
                     uint32_t count, size_t bytes)
{
    uint8_t data[1472] = {0};
    struct cv_addr own, peer;
    struct sockaddr_storage ss;
    socklen_t len;
    int fd = open_socket(from, &own);
    cv_time start = cv_time_now();

    if (cv_addr_parse(&peer, to, 0) != CV_OK || bytes > sizeof(data) ||
        bytes < sizeof(struct mark))
        return 2;
    prctl(PR_SET_TIMERSLACK, 1);
    len = cv_addr_to_sockaddr(&peer, &ss);
    for (uint32_t i = 0; i < count; i++) {
        cv_time due = start + (cv_time)(i / rate * (double)CV_SECOND);
        struct timespec ts = {due / CV_SECOND, due % CV_SECOND};
        struct mark m = {.number = i};

        if (due - cv_time_now() > TICK || i % BURST == 0)
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
        m.sent = cv_time_now();
        memcpy(data, &m, sizeof(m));
        if (sendto(fd, data, bytes, 0, (struct sockaddr *)&ss, len) < 0 &&
            errno != ENOBUFS && errno != ECONNREFUSED)
            die("send");
    }
    printf("{\"rate\":%.0f}\n",
           (double)count * (double)CV_SECOND / (double)(cv_time_now() - start));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "receive") == 0)
        return receive(argv[2], atoi(argv[3]));
    if (argc >= 6 && strcmp(argv[1], "send") == 0)
        return send_flow(argv[2], argv[3], atof(argv[4]),
                         (uint32_t)strtoul(argv[5], NULL, 10),
                         argc > 6 ? strtoul(argv[6], NULL, 10) : 100);
    fprintf(stderr, "usage: flow receive AT IDLE-MS | flow send FROM TO RATE "
                    "COUNT [BYTES]\n");
    return 2;
}
