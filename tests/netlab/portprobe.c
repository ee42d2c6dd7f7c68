/* A port of the gateway, asked for as covim does, for portmap.sh.
 *
 *     portprobe serve WAY…      map a UDP port by the ways pcp, natpmp, upnp;
 *                               print "mapped WAY UDP TCP" for each change,
 *                               echo every packet that comes, until SIGTERM;
 *                               SIGUSR1: the network may have changed
 *     portprobe poke ADDRESS    send there, exit 0 when it comes back
 *
 * Both end by themselves after a minute. */
#include "base/loop.h"
#include "transport/netif.h"
#include "transport/portmapper.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 40123
#define LIFE (60 * CV_SECOND)

static struct cv_loop *loop;
static struct cv_portmapper *mapper;
static int fd;
static bool came_back;

static void stop(void *user)
{
    (void)user;
    cv_loop_stop(loop);
}

static const char *text_of(enum cv_portmap_port port, char out[CV_ADDR_TEXT])
{
    const struct cv_addr *a =
        cv_portmap_public(cv_portmapper_state(mapper), port);

    return a ? cv_addr_format(a, out) : "-";
}

static void on_changed(void *user)
{
    char udp[CV_ADDR_TEXT], tcp[CV_ADDR_TEXT], text[CV_PORTMAP_TEXT];
    const struct cv_portmap *pm;

    (void)user;
    if (!mapper)
        return;
    pm = cv_portmapper_state(mapper);
    cv_portmap_describe(pm, text, sizeof text);
    printf("mapped %s %s %s: %s\n", cv_portmap_way_name(pm->way),
           text_of(CV_PORTMAP_UDP, udp), text_of(CV_PORTMAP_TCP, tcp), text);
    fflush(stdout);
}

static void on_packet(void *user, unsigned ready)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    char buf[64];
    ssize_t n =
        recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &len);

    (void)ready;
    if (n <= 0)
        return;
    if (user) {
        came_back = true;
        cv_loop_stop(loop);
        return;
    }
    (void)sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
}

static int open_port(uint16_t port)
{
    const struct cv_addr any = cv_addr_ipv4(0, port);
    struct sockaddr_storage ss;
    socklen_t len = cv_addr_to_sockaddr(&any, &ss);

    fd = socket(AF_INET, SOCK_DGRAM, 0);
    return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&ss, len);
}

static struct cv_local local = {.port = PORT};

static void on_network(void *user)
{
    (void)user;
    cv_portmapper_network(mapper, &local);
}

static int serve(int n, char **ways)
{
    struct cv_log log = {.sink = cv_log_stderr,
                         .user = (char[]){"portprobe"},
                         .level = CV_LOG_DEBUG,
                         .show_addresses = true};
    struct cv_signal *usr1;
    unsigned bits = 0;

    for (int i = 0; i < n; i++)
        bits |= strcmp(ways[i], "pcp") == 0      ? 1u << CV_PORTMAP_PCP
                : strcmp(ways[i], "natpmp") == 0 ? 1u << CV_PORTMAP_NATPMP
                                                 : 1u << CV_PORTMAP_UPNP;
    if (cv_netif_read(&local) != CV_OK ||
        cv_portmapper_new(&mapper, loop, &log, &cv_rng_system, bits, on_changed,
                          NULL) != CV_OK ||
        cv_signal_new(&usr1, loop, SIGUSR1, on_network, NULL) != CV_OK)
        return 1;
    on_network(NULL);
    cv_portmapper_want_tcp(mapper, PORT);
    cv_loop_run(loop);
    cv_signal_free(usr1);
    cv_portmapper_free(mapper);
    return 0;
}

static int poke(const char *address)
{
    struct sockaddr_storage ss;
    struct cv_addr to;

    if (cv_addr_parse(&to, address, 0) != CV_OK)
        return 2;
    for (int i = 0; i < 20 && !came_back; i++) {
        socklen_t len = cv_addr_to_sockaddr(&to, &ss);

        (void)sendto(fd, "hello", 5, 0, (struct sockaddr *)&ss, len);
        cv_loop_once(loop, cv_loop_now(loop) + 200 * CV_MILLISECOND);
    }
    return came_back ? 0 : 1;
}

int main(int argc, char **argv)
{
    bool serves = argc > 2 && strcmp(argv[1], "serve") == 0;
    static char poking[] = "poke";
    struct cv_timer *timer;
    struct cv_signal *term;
    struct cv_watch *watch;
    int code;

    if (argc < 3 || cv_loop_new(&loop) != CV_OK ||
        open_port(serves ? PORT : 0) < 0 ||
        cv_timer_new(&timer, loop, stop, NULL) != CV_OK ||
        cv_signal_new(&term, loop, SIGTERM, stop, NULL) != CV_OK ||
        cv_watch_new(&watch, loop, fd, CV_WATCH_READ, on_packet,
                     serves ? NULL : poking) != CV_OK)
        return 2;
    cv_timer_set(timer, cv_loop_now(loop) + LIFE);
    code = serves ? serve(argc - 2, argv + 2) : poke(argv[2]);
    cv_watch_free(watch);
    cv_signal_free(term);
    cv_timer_free(timer);
    close(fd);
    cv_loop_free(loop);
    return code;
}
