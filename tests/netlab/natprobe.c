/* tests/netlab/natprobe.c - what kind of NAT is this, over real sockets.
 *
 *   natprobe serve IP1 IP2     answer probes, on 16 ports of both, until ended
 *   natprobe find OWN IP1 IP2  from the host with the address OWN: one line
 *                              for UDP, one for TCP, as nat_format() has it
 *   natprobe map OWN[:PORT] IP [N [GAP]]
 *                              the mapped address that IP sees, N times from
 *                              one socket, GAP ms apart
 *   natprobe hops OWN IP       the routers on the way, one address a line
 *   natprobe send FROM[:PORT] TO:PORT [TTL]
 *                              one datagram
 *   natprobe listen OWN:PORT MS
 *                              how many datagrams come
 *
 * A probe is text: "NONCE PORT IP:PORT", the port of the asker and where the
 * answer is to come from, or "stray IP:PORT IP:PORT", from where to where. */
#include "base/err.h"
#include "base/time.h"
#include "tests/netlab/natkind.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_PORT 3478
#define TRIES      3
#define WAIT_MS    300 /* more than a round trip of any lab */
#define STRAYS     3   /* that nothing comes back for */
#define LINE       256
#define SOCKETS    64 /* of the asker */

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "natprobe: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- sockets --- */

static struct cv_addr address(const char *text, uint16_t port)
{
    struct cv_addr a;

    if (cv_addr_parse(&a, text, port) != CV_OK) {
        fprintf(stderr, "natprobe: no address: %s\n", text);
        exit(2);
    }
    return a;
}

static uint16_t server_port(unsigned i)
{
    return i == NAT_443 ? 443
                        : (uint16_t)(i == NAT_443 - 1 ? 80 : FIRST_PORT + i);
}

/* Bound, to be shared with others of the same port; -1 with errno. */
static int open_socket(int type, const struct cv_addr *at)
{
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(at, &ss);
    int on = 1, fd = socket(ss.ss_family, type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (type != SOCK_DGRAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&ss, len) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    struct cv_addr a = {0};

    getsockname(fd, (struct sockaddr *)&ss, &len);
    (void)cv_addr_from_sockaddr(&a, (struct sockaddr *)&ss);
    return a.port;
}

static bool send_text(int fd, const struct cv_addr *to, const char *text)
{
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(to, &ss);

    return sendto(fd, text, strlen(text), 0, (struct sockaddr *)&ss, len) >= 0;
}

static bool readable(int fd, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, wait_ms) > 0;
}

/* A datagram within the time, as text; the sender in `from`. */
static bool receive(int fd, char text[LINE], struct cv_addr *from, int wait_ms)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    ssize_t n;

    if (!readable(fd, wait_ms))
        return false;
    n = recvfrom(fd, text, LINE - 1, 0, (struct sockaddr *)&ss, &len);
    if (n < 0)
        return false;
    text[n] = '\0';
    return cv_addr_from_sockaddr(from, (struct sockaddr *)&ss) == CV_OK;
}

/* A connection from `from`; -1 with errno after WAIT_MS. */
static int dial(const struct cv_addr *from, const struct cv_addr *to)
{
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(to, &ss), size = sizeof(errno);
    struct pollfd p = {.events = POLLOUT};
    int err = 0;

    p.fd = open_socket(SOCK_STREAM | SOCK_NONBLOCK, from);
    if (p.fd < 0)
        return -1;
    if (connect(p.fd, (struct sockaddr *)&ss, len) == 0)
        return p.fd;
    if (errno == EINPROGRESS && poll(&p, 1, WAIT_MS) > 0 &&
        getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &err, &size) == 0 && err == 0)
        return p.fd;
    err = err != 0 ? err : errno == EINPROGRESS ? ETIMEDOUT : errno;
    close(p.fd);
    errno = err;
    return -1;
}

/* --- the server --- */

struct server {
    struct pollfd poll[4 * NAT_PORTS]; /* UDP of both addresses, then TCP */
    struct cv_addr at[4 * NAT_PORTS];
};

static int socket_at(const struct server *s, const struct cv_addr *a)
{
    for (unsigned i = 0; i < 2 * NAT_PORTS; i++)
        if (cv_addr_equal(&s->at[i], a))
            return s->poll[i].fd;
    return -1;
}

static bool is_refused(int fd)
{
    char byte;

    if (send(fd, "stray", 5, 0) == 5 &&
        (!readable(fd, WAIT_MS) || recv(fd, &byte, 1, 0) >= 0))
        return false;
    return errno == ECONNREFUSED;
}

/* Several times: the answer by ICMP may fall to a limit of the kernel, or be
 * late where other tests run beside this one. */
static const char *stray_udp(const struct cv_addr *from,
                             const struct cv_addr *to)
{
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(to, &ss);
    int fd = open_socket(SOCK_DGRAM, from);
    const char *what = "silent";

    if (fd < 0)
        return "failed";
    if (connect(fd, (struct sockaddr *)&ss, len) == 0)
        for (unsigned i = 0; i < STRAYS && strcmp(what, "silent") == 0; i++)
            if (is_refused(fd))
                what = "refused";
    close(fd);
    return what;
}

static const char *stray_tcp(const struct cv_addr *from,
                             const struct cv_addr *to)
{
    int fd = dial(from, to);

    if (fd < 0)
        return errno == ECONNREFUSED ? "refused" : "silent";
    close(fd);
    return "answered";
}

/* "stray FROM TO": what came of it, or NULL if the text is none. */
static const char *stray(const char *text, bool tcp)
{
    char from[LINE], to[LINE];
    struct cv_addr a, b;

    if (sscanf(text, "stray %64s %64s", from, to) != 2)
        return NULL;
    a = address(from, 0);
    b = address(to, 0);
    return tcp ? stray_tcp(&a, &b) : stray_udp(&a, &b);
}

/* What takes long is done by a process of its own. */
static bool is_child(void)
{
    return fork() == 0;
}

static void serve_udp(const struct server *s, unsigned i)
{
    char text[LINE], answer[2 * LINE], nonce[LINE], from[LINE],
        seen[CV_ADDR_TEXT];
    struct cv_addr asker, other;
    const char *what;
    int fd = s->poll[i].fd;

    if (!receive(fd, text, &asker, 0))
        return;
    if (strncmp(text, "stray", 5) == 0) {
        if (is_child() && (what = stray(text, false)) != NULL)
            exit(send_text(fd, &asker, what) ? 0 : 1);
        return;
    }
    if (sscanf(text, "%64s %64s", nonce, from) != 2)
        return;
    other = address(from, 0);
    snprintf(answer, sizeof(answer), "%s %s", nonce,
             cv_addr_format(&asker, seen));
    send_text(socket_at(s, &other), &asker, answer);
}

static void serve_tcp(const struct server *s, unsigned i)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    int fd = accept4(s->poll[i].fd, (struct sockaddr *)&ss, &len,
                     SOCK_CLOEXEC | SOCK_NONBLOCK),
        back;
    char text[LINE] = "", answer[LINE], seen[CV_ADDR_TEXT], from[LINE];
    struct cv_addr asker, other;
    const char *what;

    if (fd < 0)
        return;
    if (!is_child()) {
        close(fd);
        return;
    }
    if (cv_addr_from_sockaddr(&asker, (struct sockaddr *)&ss) == CV_OK &&
        readable(fd, WAIT_MS) && recv(fd, text, LINE - 1, 0) > 0) {
        if ((what = stray(text, true)) != NULL) {
            snprintf(answer, sizeof(answer), "%s\n", what);
        } else {
            snprintf(answer, sizeof(answer), "%s\n",
                     cv_addr_format(&asker, seen));
            if (sscanf(text, "%*s %64s", from) == 1) {
                other = address(from, 0);
                back = cv_addr_equal(&other, &s->at[i]) ? -1
                                                        : dial(&other, &asker);
                if (back >= 0)
                    close(back);
            }
        }
        (void)!write(fd, answer, strlen(answer));
        readable(fd, WAIT_MS); /* the asker closes first: no TIME_WAIT here */
    }
    exit(0);
}

static int serve(const char *ip1, const char *ip2)
{
    static struct server s;

    for (unsigned i = 0; i < 4 * NAT_PORTS; i++) {
        bool tcp = i >= 2 * NAT_PORTS;

        s.at[i] = address(i / NAT_PORTS % 2 == 0 ? ip1 : ip2,
                          server_port(i % NAT_PORTS));
        s.poll[i].events = POLLIN;
        s.poll[i].fd = open_socket(tcp ? SOCK_STREAM : SOCK_DGRAM, &s.at[i]);
        if (s.poll[i].fd < 0 || (tcp && listen(s.poll[i].fd, 64) < 0))
            die("server");
    }
    signal(SIGCHLD, SIG_IGN);
    printf("serving\n");
    fflush(stdout);
    for (;;) {
        if (poll(s.poll, 4 * NAT_PORTS, -1) < 0)
            die("poll");
        for (unsigned i = 0; i < 4 * NAT_PORTS; i++)
            if (s.poll[i].revents != 0)
                i < 2 * NAT_PORTS ? serve_udp(&s, i) : serve_tcp(&s, i);
    }
}

/* --- the asker: a world for natkind.c --- */

struct asker {
    struct cv_addr own, server[2];
    int fd[SOCKETS]; /* UDP sockets, and listeners */
    unsigned n;
};

static int fd_of(const struct asker *a, uint16_t port, enum nat_proto proto)
{
    for (unsigned i = 0; i < a->n; i++) {
        int type = 0;
        socklen_t len = sizeof(type);

        getsockopt(a->fd[i], SOL_SOCKET, SO_TYPE, &type, &len);
        if (port_of(a->fd[i]) == port &&
            (type == SOCK_STREAM) == (proto == NAT_TCP))
            return a->fd[i];
    }
    return -1;
}

static struct cv_addr point(const struct asker *a, struct nat_point p)
{
    struct cv_addr at = a->server[p.ip];

    at.port = server_port(p.port);
    return at;
}

static uint16_t asker_bind(void *user, enum nat_proto proto)
{
    struct asker *a = user;
    int fd = open_socket(proto == NAT_TCP ? SOCK_STREAM : SOCK_DGRAM, &a->own);

    if (fd < 0 || a->n == SOCKETS || (proto == NAT_TCP && listen(fd, 16) < 0))
        die("bind");
    a->fd[a->n++] = fd;
    return port_of(fd);
}

static bool ask_udp(struct asker *a, int fd, struct cv_addr to,
                    struct cv_addr from, struct cv_addr *mapped)
{
    static unsigned nonce;
    char text[LINE], ip[CV_ADDR_TEXT], want[32], seen[LINE];
    struct cv_addr sender;

    (void)a;
    snprintf(want, sizeof(want), "n%u", ++nonce);
    snprintf(text, sizeof(text), "%s %s", want, cv_addr_format(&from, ip));
    for (int i = 0; i < TRIES; i++) {
        char answer[LINE], got[LINE];
        cv_time end = cv_time_now() + WAIT_MS * CV_MILLISECOND;

        send_text(fd, &to, text);
        for (cv_time left; (left = end - cv_time_now()) > 0;)
            if (receive(fd, answer, &sender, (int)(left / CV_MILLISECOND)) &&
                cv_addr_equal(&sender, &from) &&
                sscanf(answer, "%200s %50s", got, seen) == 2 &&
                strcmp(got, want) == 0) {
                *mapped = address(seen, 0);
                return true;
            }
    }
    return false;
}

/* One line there, one back, over a connection of its own; the connection is
 * left to the end of the process, as the mapping is. */
static bool exchange(const struct cv_addr *from, const struct cv_addr *to,
                     const char *text, char answer[LINE])
{
    int fd = dial(from, to);
    ssize_t n = -1;

    if (fd < 0)
        return false;
    if (write(fd, text, strlen(text)) > 0 && readable(fd, 3 * WAIT_MS))
        n = recv(fd, answer, LINE - 1, 0);
    if (n > 0)
        answer[n] = '\0';
    close(fd);
    return n > 0;
}

static bool ask_tcp(struct asker *a, uint16_t local, struct cv_addr to,
                    struct cv_addr from, struct cv_addr *mapped)
{
    char text[LINE], ip[CV_ADDR_TEXT], answer[LINE];
    struct cv_addr own = a->own;
    int in, listener = fd_of(a, local, NAT_TCP);

    own.port = local;
    snprintf(text, sizeof(text), "dial %s\n", cv_addr_format(&from, ip));
    if (!exchange(&own, &to, text, answer))
        return false;
    answer[strcspn(answer, "\n")] = '\0';
    *mapped = address(answer, 0);
    if (cv_addr_equal(&to, &from))
        return true;
    if (!readable(listener, WAIT_MS))
        return false;
    in = accept(listener, NULL, NULL);
    close(in);
    return in >= 0;
}

static bool asker_ask(void *user, enum nat_proto proto, uint16_t local,
                      struct nat_point to, struct nat_point from,
                      struct cv_addr *mapped)
{
    struct asker *a = user;

    if (proto == NAT_TCP)
        return ask_tcp(a, local, point(a, to), point(a, from), mapped);
    return ask_udp(a, fd_of(a, local, proto), point(a, to), point(a, from),
                   mapped);
}

static enum nat_strays asker_stray(void *user, enum nat_proto proto,
                                   struct nat_point from,
                                   const struct cv_addr *to)
{
    struct asker *a = user;
    char text[LINE], answer[LINE] = "", f[CV_ADDR_TEXT], t[CV_ADDR_TEXT];
    struct cv_addr server = point(a, (struct nat_point){0, 0}),
                   sender = point(a, from);

    snprintf(text, sizeof(text), "stray %s %s", cv_addr_format(&sender, f),
             cv_addr_format(to, t));
    if (proto == NAT_TCP) {
        exchange(&a->own, &server, text, answer);
        answer[strcspn(answer, "\n")] = '\0';
    } else {
        int fd = open_socket(SOCK_DGRAM, &a->own);

        send_text(fd, &server, text);
        receive(fd, answer, &sender, (STRAYS + 2) * WAIT_MS);
        close(fd);
        fd = fd_of(a, to->port, NAT_UDP);
        if (fd >= 0 && readable(fd, 0))
            return NAT_ANSWERED;
    }
    return strcmp(answer, "refused") == 0    ? NAT_REFUSED
           : strcmp(answer, "answered") == 0 ? NAT_ANSWERED
                                             : NAT_SILENT;
}

static struct cv_addr asker_own(void *user)
{
    struct asker *a = user;

    return a->own;
}

static int find(const char *own, const char *ip1, const char *ip2)
{
    struct asker a = {.own = address(own, 0)};
    const struct nat_world world = {asker_bind, asker_ask, asker_stray,
                                    asker_own, &a};
    struct nat_found found;
    char text[NAT_TEXT];

    a.server[0] = address(ip1, 0);
    a.server[1] = address(ip2, 0);
    nat_find(&world, NAT_UDP, &found);
    printf("udp %s\n", nat_format(&found, text));
    nat_find(&world, NAT_TCP, &found);
    printf("tcp %s\n", nat_format(&found, text));
    return 0;
}

/* --- single steps --- */

static int map(const char *own, const char *ip, int n, int gap_ms)
{
    struct asker a = {.own = address(own, 0)};
    struct cv_addr server = address(ip, FIRST_PORT), mapped;
    int fd = open_socket(SOCK_DGRAM, &a.own), failed = 0;
    char text[CV_ADDR_TEXT];

    if (fd < 0)
        die(own);
    for (int i = 0; i < n; i++) {
        if (i > 0)
            usleep((useconds_t)gap_ms * 1000);
        if (ask_udp(&a, fd, server, server, &mapped))
            printf("%s\n", cv_addr_format(&mapped, text));
        else
            failed = 1;
        fflush(stdout);
    }
    return failed;
}

/* The sender of the next ICMP error, or false. */
static bool icmp_from(int fd, struct cv_addr *out)
{
    char data[64], control[512];
    struct iovec iov = {data, sizeof(data)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    struct pollfd p = {.fd = fd};

    if (poll(&p, 1, WAIT_MS) <= 0 || recvmsg(fd, &m, MSG_ERRQUEUE) < 0)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) ||
            (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR)) {
            struct sock_extended_err *e = (void *)CMSG_DATA(c);

            return cv_addr_from_sockaddr(out, SO_EE_OFFENDER(e)) == CV_OK;
        }
    return false;
}

static void set_ttl(int fd, const struct cv_addr *to, int ttl)
{
    int on = 1;
    bool v4 = to->family == CV_FAMILY_IPV4;

    if (setsockopt(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TTL : IPV6_UNICAST_HOPS,
                   &ttl, sizeof(ttl)) < 0 ||
        setsockopt(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR,
                   &on, sizeof(on)) < 0)
        die("ttl");
}

static int hops(const char *own, const char *ip)
{
    struct cv_addr from = address(own, 0), to = address(ip, 33434), hop;
    int fd = open_socket(SOCK_DGRAM, &from);
    char text[CV_ADDR_TEXT];

    for (int ttl = 1; fd >= 0 && ttl < 32; ttl++) {
        set_ttl(fd, &to, ttl);
        send_text(fd, &to, "hop");
        if (!icmp_from(fd, &hop)) {
            printf("-\n");
            continue;
        }
        hop.port = 0;
        printf("%s\n", cv_addr_format(&hop, text));
        if (cv_addr_same_ip(&hop, &to))
            return 0;
    }
    return 1;
}

static int send_one(const char *own, const char *to_text, int ttl)
{
    struct cv_addr from = address(own, 0), to = address(to_text, 0);
    int fd = open_socket(SOCK_DGRAM, &from);

    if (fd < 0)
        die(own);
    if (ttl > 0)
        set_ttl(fd, &to, ttl);
    return send_text(fd, &to, "one") ? 0 : 1;
}

static int count(const char *own, int ms)
{
    struct cv_addr at = address(own, 0), from;
    int fd = open_socket(SOCK_DGRAM, &at);
    cv_time end = cv_time_now() + ms * CV_MILLISECOND;
    char text[LINE], sender[CV_ADDR_TEXT];
    unsigned n = 0;

    if (fd < 0)
        die(own);
    printf("listening\n");
    fflush(stdout);
    for (cv_time left; (left = end - cv_time_now()) > 0;)
        if (receive(fd, text, &from, (int)(left / CV_MILLISECOND) + 1)) {
            printf("from %s\n", cv_addr_format(&from, sender));
            n++;
        }
    printf("received %u\n", n);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 3 ? argv[1] : "";

    if (strcmp(what, "serve") == 0)
        return serve(argv[2], argv[3]);
    if (strcmp(what, "find") == 0 && argc == 5)
        return find(argv[2], argv[3], argv[4]);
    if (strcmp(what, "map") == 0)
        return map(argv[2], argv[3], argc > 4 ? atoi(argv[4]) : 1,
                   argc > 5 ? atoi(argv[5]) : 0);
    if (strcmp(what, "hops") == 0)
        return hops(argv[2], argv[3]);
    if (strcmp(what, "send") == 0)
        return send_one(argv[2], argv[3], argc > 4 ? atoi(argv[4]) : 0);
    if (strcmp(what, "listen") == 0)
        return count(argv[2], atoi(argv[3]));
    fprintf(stderr, "natprobe: serve, find, map, hops, send or listen\n");
    return 2;
}
