#include "transport/netif.h"
#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* After the first message, so that a burst of them is one event. */
#define SETTLE (50 * CV_MILLISECOND)
#define AGAIN  (1 * CV_SECOND)
/* Suspended for less, nobody has moved. */
#define NAP (2 * CV_SECOND)

static bool is_virtual(const char *name)
{
    static const char *const prefix[] = {"docker", "veth",   "virbr", "br-",
                                         "tun",    "tap",    "lxc",   "lxd",
                                         "cni",    "podman", "vnet",  "vmnet"};

    for (size_t i = 0; i < sizeof prefix / sizeof prefix[0]; i++)
        if (strncmp(name, prefix[i], strlen(prefix[i])) == 0)
            return true;
    return false;
}

enum rank {
    RANK_NEVER,
    RANK_LOOPBACK,
    RANK_VIRTUAL,
    RANK_GOOD,
};

static enum rank rank_of(const struct cv_netif *i)
{
    switch (cv_addr_kind(&i->addr)) {
    case CV_ADDR_UNUSABLE:
    case CV_ADDR_LINK_LOCAL:
        return RANK_NEVER;
    case CV_ADDR_LOOPBACK:
        return RANK_LOOPBACK;
    case CV_ADDR_PRIVATE:
    case CV_ADDR_SHARED:
    case CV_ADDR_GLOBAL:
        break;
    }
    if (strcmp(i->name, "lo") == 0)
        return RANK_LOOPBACK;
    return is_virtual(i->name) ? RANK_VIRTUAL : RANK_GOOD;
}

void cv_netif_filter(struct cv_local *out, const struct cv_netif *all,
                     unsigned n)
{
    enum rank best = RANK_NEVER;

    out->n = 0;
    memset(out->net, 0, sizeof out->net);
    for (unsigned i = 0; i < n; i++)
        if (rank_of(&all[i]) > best)
            best = rank_of(&all[i]);
    for (unsigned i = 0; i < n && out->n < CV_LOCAL_NETS; i++)
        if (best != RANK_NEVER && rank_of(&all[i]) == best) {
            out->net[out->n].addr = all[i].addr;
            out->net[out->n].bits = all[i].bits;
            out->n++;
        }
    out->only_loopback = best == RANK_LOOPBACK;
}

static uint8_t prefix_bits(const struct sockaddr *mask)
{
    const uint8_t *b;
    size_t len;
    uint8_t bits = 0;

    if (!mask)
        return 0;
    if (mask->sa_family == AF_INET) {
        b = (const uint8_t *)mask + offsetof(struct sockaddr_in, sin_addr);
        len = 4;
    } else {
        b = (const uint8_t *)mask + offsetof(struct sockaddr_in6, sin6_addr);
        len = 16;
    }
    for (size_t i = 0; i < len; i++)
        for (int k = 7; k >= 0; k--) {
            if (!(b[i] >> k & 1))
                return bits;
            bits++;
        }
    return bits;
}

/* The default routes of IPv4; IPv6 routers have link-local addresses, which
 * are never sent to anyway. */
static void read_gateways(struct cv_local *out)
{
    FILE *f = fopen("/proc/net/route", "re");
    char line[256];

    out->n_gateways = 0;
    memset(out->gateway, 0, sizeof out->gateway);
    if (!f)
        return;
    while (fgets(line, sizeof line, f) && out->n_gateways < CV_LOCAL_GATEWAYS) {
        unsigned long dest, gateway, flags;
        char *at = line + strcspn(line, "\t"); /* behind the device */
        uint32_t raw;

        dest = strtoul(at, &at, 16);
        gateway = strtoul(at, &at, 16);
        flags = strtoul(at, &at, 16);
        if (dest != 0 || !(flags & RTF_GATEWAY)) /* also the title line */
            continue;
        raw = (uint32_t)gateway; /* as it lies in memory */
        out->gateway[out->n_gateways] =
            (struct cv_addr){.family = CV_FAMILY_IPV4};
        memcpy(out->gateway[out->n_gateways].ip, &raw, 4);
        out->n_gateways++;
    }
    fclose(f);
}

int cv_netif_read(struct cv_local *out)
{
    struct cv_netif *all = calloc(CV_NETIFS_MAX, sizeof *all);
    struct ifaddrs *list = NULL;
    unsigned n = 0;

    if (!all)
        return CV_ERR_NOMEM;
    if (getifaddrs(&list) < 0) {
        free(all);
        return cv_err_from_errno(errno);
    }
    for (struct ifaddrs *i = list; i && n < CV_NETIFS_MAX; i = i->ifa_next) {
        if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) ||
            !(i->ifa_flags & (IFF_RUNNING | IFF_LOOPBACK)) ||
            cv_addr_from_sockaddr(&all[n].addr, i->ifa_addr) != CV_OK)
            continue;
        all[n].addr.port = 0;
        all[n].bits = prefix_bits(i->ifa_netmask);
        snprintf(all[n].name, sizeof all[n].name, "%s", i->ifa_name);
        n++;
    }
    freeifaddrs(list);
    cv_netif_filter(out, all, n);
    free(all);
    read_gateways(out);
    return CV_OK;
}

struct cv_netif_watch {
    int fd;
    struct cv_watch *watch;
    struct cv_timer *timer;
    struct cv_loop *loop;
    bool again; /* the timer fires a second time */
    int clock;  /* a timerfd that says when the clock of the wall jumped */
    struct cv_watch *clock_watch;
    cv_time suspended; /* as last seen */
    cv_loop_fn fn;
    void *user;
};

static void on_netlink(void *user, unsigned ready)
{
    struct cv_netif_watch *w = user;
    char buf[8192];

    (void)ready;
    /* What changed is read afresh; the messages only say that it did. */
    while (recv(w->fd, buf, sizeof buf, MSG_DONTWAIT) > 0)
        ;
    w->again = true;
    cv_timer_set(w->timer, cv_loop_now(w->loop) + SETTLE);
}

static void on_timer(void *user)
{
    struct cv_netif_watch *w = user;

    if (w->again)
        cv_timer_set(w->timer, cv_loop_now(w->loop) + AGAIN);
    w->again = false;
    w->fn(w->user);
}

/* Never expires; the kernel ends a read when the clock was set, and waking up
 * sets it (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET). */
static void arm_clock(const struct cv_netif_watch *w)
{
    struct itimerspec far = {.it_value.tv_sec = INT32_MAX};
    uint64_t n;

    (void)!read(w->clock, &n, sizeof n);
    (void)timerfd_settime(w->clock, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
                          &far, NULL);
}

static void on_clock(void *user, unsigned ready)
{
    struct cv_netif_watch *w = user;

    (void)ready;
    arm_clock(w);
    if (cv_time_suspended() - w->suspended < NAP)
        return; /* set by somebody */
    w->again = true;
    cv_timer_set(w->timer, cv_loop_now(w->loop));
}

bool cv_netif_watch_slept(struct cv_netif_watch *w)
{
    cv_time now = cv_time_suspended();
    bool slept = now - w->suspended >= NAP;

    w->suspended = now;
    return slept;
}

int cv_netif_watch_new(struct cv_netif_watch **out, struct cv_loop *loop,
                       cv_loop_fn fn, void *user)
{
    struct cv_netif_watch *w = calloc(1, sizeof *w);
    struct sockaddr_nl nl = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                     RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE};
    int err = CV_ERR_IO;

    if (!w)
        return CV_ERR_NOMEM;
    w->loop = loop;
    w->fn = fn;
    w->user = user;
    w->suspended = cv_time_suspended();
    w->clock = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
                   NETLINK_ROUTE);
    if (w->fd < 0 || w->clock < 0 ||
        bind(w->fd, (struct sockaddr *)&nl, sizeof nl) < 0)
        goto fail;
    err = cv_timer_new(&w->timer, loop, on_timer, w);
    if (err == CV_OK)
        err =
            cv_watch_new(&w->watch, loop, w->fd, CV_WATCH_READ, on_netlink, w);
    if (err == CV_OK)
        err = cv_watch_new(&w->clock_watch, loop, w->clock, CV_WATCH_READ,
                           on_clock, w);
    if (err != CV_OK)
        goto fail;
    arm_clock(w);
    *out = w;
    return CV_OK;
fail:
    cv_netif_watch_free(w);
    return err;
}

void cv_netif_watch_free(struct cv_netif_watch *w)
{
    if (!w)
        return;
    cv_watch_free(w->watch);
    cv_watch_free(w->clock_watch);
    cv_timer_free(w->timer);
    if (w->fd >= 0)
        close(w->fd);
    if (w->clock >= 0)
        close(w->clock);
    free(w);
}
