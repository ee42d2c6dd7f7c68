/* A new runner takes over, and on which port one begins. */
#include "discovery/dht_struct.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SWAP_MAX   (2 * CV_MINUTE)
#define SWAP_MOVED (4 * CV_SECOND) /* between two because of a new network */

/* --- ports ---------------------------------------------------------------- */

static int udp_bind(int family, uint16_t port, uint16_t *bound)
{
    const int one = 1;
    struct sockaddr_storage ss = {0};
    struct sockaddr_in *in4 = (struct sockaddr_in *)&ss;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
    socklen_t len = family == AF_INET ? sizeof(*in4) : sizeof(*in6);
    const int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    ss.ss_family = (sa_family_t)family;
    if (family == AF_INET) {
        in4->sin_port = htons(port);
    } else {
        in6->sin6_port = htons(port);
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }
    if (bind(fd, (struct sockaddr *)&ss, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&ss, &len) != 0) {
        close(fd);
        return -1;
    }
    *bound = ntohs(family == AF_INET ? in4->sin_port : in6->sin6_port);
    return fd;
}

/* A port that is free for both families, or for the one there is; 0 if none.
 * It may be taken before the runner has it; then the runner says so. */
static uint16_t free_port(void)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        uint16_t port = 0, other = 0;
        const int fd4 = udp_bind(AF_INET, 0, &port);
        const int fd6 = udp_bind(AF_INET6, port, &other);
        const bool have6 = fd6 >= 0;
        const bool clash = fd4 >= 0 && !have6 && errno == EADDRINUSE;

        if (fd4 >= 0)
            close(fd4);
        if (have6)
            close(fd6);
        if (fd4 < 0 && have6)
            return other;
        if (fd4 >= 0 && !clash)
            return port;
    }
    return 0;
}

/* The port of the last time, if it is free: with the node id of the cache, the
 * others then take us for the same node, not for one that is dead and one that
 * is new (a dead one costs a search one to three seconds). */
static uint16_t saved_port(const char *persist)
{
    char name[4096], line[16];
    uint16_t port = 0;
    unsigned long n = 0;
    FILE *f;
    int fd;

    if (persist == NULL || (size_t)snprintf(name, sizeof(name), "%s_port.txt",
                                            persist) >= sizeof(name))
        return 0;
    f = fopen(name, "re");
    if (f == NULL)
        return 0;
    if (fgets(line, sizeof(line), f) != NULL)
        n = strtoul(line, NULL, 10);
    fclose(f);
    if (n < 1024 || n > 65535)
        return 0;
    fd = udp_bind(AF_INET, (uint16_t)n, &port);
    if (fd < 0)
        return 0;
    close(fd);
    return port;
}

/* --- runners -------------------------------------------------------------- */

int cv_dht_runner_first(struct dht *d, uint16_t port)
{
    for (unsigned tries = 0; tries < 3 && d->runner == NULL; tries++) {
        d->port = port;
        if (d->port == 0 && tries == 0)
            d->port = saved_port(d->persist);
        if (d->port == 0)
            d->port = free_port();
        if (d->port != 0)
            d->runner = cv_dht_runner_start(d->port, d->lan, d->persist);
    }
    if (d->runner == NULL)
        return port != 0 ? CV_ERR_BUSY : CV_ERR_NONET;
    return CV_OK;
}

static void *swap_run(void *user)
{
    struct swap *s = user;
    const struct cv_bytes none = {NULL, 0};

    if (s->old != NULL)
        cv_dht_runner_end(s->old, 300);
    s->fresh = cv_dht_runner_start(s->port, s->lan, s->persist);
    if (s->fresh == NULL) {
        s->port = free_port();
        if (s->port != 0)
            s->fresh = cv_dht_runner_start(s->port, s->lan, s->persist);
    }
    pthread_mutex_lock(&s->box->lock);
    cv_dht_box_put(s->box, NULL, SWAPPED, s->fresh != NULL, none);
    pthread_mutex_unlock(&s->box->lock);
    return NULL;
}

void cv_dht_swap_begin(struct dht *d, cv_time now)
{
    struct swap *s;

    if (d->swap != NULL)
        return;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return;
    *s = (struct swap){.box = d->box,
                       .old = d->runner,
                       .port = d->port,
                       .lan = d->lan,
                       .persist = d->persist};
    if (pthread_create(&s->thread, NULL, swap_run, s) != 0) {
        free(s);
        return;
    }
    cv_info(d->log, "dht: beginning afresh, state=%s",
            d->state == CV_DHT_CONNECTED ? "connected" : "not connected");
    d->swap = s;
    d->runner = NULL;
    d->probe = NULL;
    d->moved = false;
    d->swap_interval =
        d->swap_interval * 2 < SWAP_MAX ? d->swap_interval * 2 : SWAP_MAX;
    d->runner_since = now;
}

void cv_dht_swap_end(struct dht *d)
{
    struct swap *s = d->swap;

    d->swap = NULL;
    pthread_join(s->thread, NULL);
    cv_dht_calls_sweep(d, 0, true);
    d->runner = s->fresh;
    if (d->runner == NULL) {
        cv_warn(d->log, "dht: no new node can be started, trying again");
        cv_dht_nobody_to_ask(d);
    } else if (d->port != s->port) {
        d->port = s->port;
        cv_dht_neighbours_join(d);
    }
    d->runner_since = cv_loop_now(d->loop);
    d->probe_at = d->runner_since + PROBE_SEARCH;
    free(s);
    cv_dht_boots_again(d);
    cv_dht_wants_again(d);
}

void cv_dht_swap_step(struct dht *d, cv_time now)
{
    if (d->n_calls >= CALLS_MAX ||
        (d->moved && now - d->runner_since >= SWAP_MOVED) ||
        (d->state == CV_DHT_DISCONNECTED &&
         now - d->runner_since >= d->swap_interval))
        cv_dht_swap_begin(d, now);
}

cv_time cv_dht_swap_deadline(const struct dht *d)
{
    if (d->runner == NULL && d->swap == NULL)
        return d->runner_since + d->swap_interval;
    return d->runner_since + (d->moved ? SWAP_MOVED : CV_HOUR);
}
