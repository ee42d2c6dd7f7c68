#include "base/loop_struct.h"

#include <assert.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>

/* Addresses that one name yields at most; the rest is dropped. */
#define RESOLVE_ADDRS_MAX 16
/* evdns asks 2 times for 3 s; this ends it whatever the servers do. */
#define RESOLVE_TIMEOUT (10 * CV_SECOND)

struct cv_resolve {
    struct cv_loop *loop;
    struct cv_resolve *next, **link; /* in loop->resolves */
    struct cv_timer *timer;          /* gives the answer, or ends the wait */
    struct evdns_getaddrinfo_request *request; /* while evdns knows us */
    bool asking;                               /* on_addrinfo() will come */
    bool cancelled; /* nobody waits; freed when evdns lets go */
    int err;
    unsigned n;
    struct cv_addr addrs[RESOLVE_ADDRS_MAX];
    uint16_t port;
    cv_resolve_fn fn;
    void *user;
};

static void free_dns(struct cv_loop *loop)
{
    struct evdns_base *dns = loop->dns;

    if (!dns)
        return;
    loop->dns = NULL;
    evdns_base_free(dns, 1);
    /* It leaves callbacks for the loop to run. */
    while (loop->dns_pending > 0 &&
           event_base_loop(loop->base, EVLOOP_NONBLOCK) == 0)
        ;
}

static void on_dns_idle(evutil_socket_t fd, short what, void *user)
{
    struct cv_loop *loop = user;

    (void)fd;
    (void)what;
    if (loop->dns_pending == 0)
        free_dns(loop);
}

static void free_resolve(struct cv_resolve *r)
{
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    cv_timer_free(r->timer);
    free(r);
}

/* Have on_answer() called from the loop: the caller has its handle by then,
 * and evdns is not on the stack. */
static void answer(struct cv_resolve *r, int err)
{
    r->err = err;
    cv_timer_set(r->timer, 0);
}

static void on_answer(void *user)
{
    struct cv_resolve *r = user;
    struct cv_addr addrs[RESOLVE_ADDRS_MAX];
    cv_resolve_fn fn = r->fn;
    void *fn_user = r->user;
    unsigned n = r->n;
    int err = r->err;

    memcpy(addrs, r->addrs, sizeof(addrs));
    if (r->asking)
        err = CV_ERR_TIMEOUT;
    cv_resolve_cancel(r);
    fn(fn_user, err, addrs, err == CV_OK ? n : 0);
}

static int err_from_eai(int rc)
{
    switch (rc) {
    case 0:
        return CV_OK;
    case EVUTIL_EAI_NONAME:
    case EVUTIL_EAI_NODATA:
        return CV_ERR_NOTFOUND;
    case EVUTIL_EAI_MEMORY:
        return CV_ERR_NOMEM;
    case EVUTIL_EAI_AGAIN:
        return CV_ERR_TIMEOUT;
    default:
        return CV_ERR_NONET;
    }
}

static void on_addrinfo(int rc, struct evutil_addrinfo *list, void *user)
{
    struct cv_resolve *r = user;
    struct cv_loop *loop = r->loop;
    static const struct timeval soon = {0, 0};

    assert(loop->dns_pending > 0);
    if (--loop->dns_pending == 0 && loop->dns)
        event_add(loop->dns_idle, &soon);
    r->asking = false;
    r->request = NULL;
    for (const struct evutil_addrinfo *ai = list; ai; ai = ai->ai_next) {
        struct cv_addr *a = &r->addrs[r->n];
        bool known = false;

        if (r->n == RESOLVE_ADDRS_MAX)
            break;
        if (cv_addr_from_sockaddr(a, ai->ai_addr) != CV_OK)
            continue;
        a->port = r->port;
        for (unsigned i = 0; i < r->n; i++)
            known = known || cv_addr_equal(&r->addrs[i], a);
        r->n += !known;
    }
    if (list)
        evutil_freeaddrinfo(list);
    if (r->cancelled)
        free_resolve(r);
    else
        answer(r, rc == 0 && r->n == 0 ? CV_ERR_NOTFOUND : err_from_eai(rc));
}

static int open_dns(struct cv_loop *loop)
{
    struct evdns_base *dns = loop->dns;

    if (dns)
        return CV_OK;
    dns = evdns_base_new(loop->base, 0);
    if (!dns)
        return CV_ERR_NOMEM;
    /* Some resolvers do not keep the case of a name, and what we find by one
     * is authenticated by its key. */
    evdns_base_set_option(dns, "randomize-case:", "0");
    evdns_base_set_option(dns, "timeout:", "3");
    evdns_base_set_option(dns, "attempts:", "2");
    /* Without the file it asks this machine, as the C library does. */
    (void)evdns_base_resolv_conf_parse(
        dns, DNS_OPTION_SEARCH | DNS_OPTION_NAMESERVERS | DNS_OPTION_HOSTSFILE,
        "/etc/resolv.conf");
    loop->dns = dns;
    return CV_OK;
}

static int ask(struct cv_resolve *r, const char *host)
{
    const struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC,
                                          .ai_socktype = SOCK_DGRAM,
                                          .ai_protocol = IPPROTO_UDP};
    struct evdns_getaddrinfo_request *request;
    int err = open_dns(r->loop);

    if (err != CV_OK)
        return err;
    cv_timer_set(r->timer, cv_time_now() + RESOLVE_TIMEOUT);
    r->asking = true;
    r->loop->dns_pending++;
    request =
        evdns_getaddrinfo(r->loop->dns, host, NULL, &hints, on_addrinfo, r);
    if (r->asking)
        r->request = request;
    return CV_OK;
}

int cv_resolve_new(struct cv_resolve **out, struct cv_loop *loop,
                   const char *host, uint16_t port, cv_resolve_fn fn,
                   void *user)
{
    struct cv_resolve *r;
    int err;

    if (host[0] == '\0' || strlen(host) > 255)
        return CV_ERR_INVALID;
    r = calloc(1, sizeof(*r));
    if (!r)
        return CV_ERR_NOMEM;
    r->loop = loop;
    r->port = port;
    r->fn = fn;
    r->user = user;
    err = cv_timer_new(&r->timer, loop, on_answer, r);
    if (err != CV_OK) {
        free(r);
        return err;
    }
    r->link = &loop->resolves;
    r->next = loop->resolves;
    if (r->next)
        r->next->link = &r->next;
    loop->resolves = r;

    /* A name with a port in it is none. */
    if (cv_addr_parse(&r->addrs[0], host, port) == CV_OK) {
        r->addrs[0].port = port;
        r->n = 1;
        answer(r, CV_OK);
    } else {
        err = ask(r, host);
        if (err != CV_OK) {
            free_resolve(r);
            return err;
        }
    }
    *out = r;
    return CV_OK;
}

void cv_resolve_cancel(struct cv_resolve *r)
{
    if (!r)
        return;
    if (!r->asking) {
        free_resolve(r);
        return;
    }
    r->cancelled = true;
    cv_timer_set(r->timer, CV_NEVER);
    if (r->request)
        evdns_getaddrinfo_cancel(r->request);
}

static void cancel_resolves(struct cv_loop *loop)
{
    struct cv_resolve *next;

    for (struct cv_resolve *r = loop->resolves; r; r = next) {
        next = r->next;
        cv_resolve_cancel(r);
    }
}

int cv_loop_names_init(struct cv_loop *loop)
{
    loop->dns_idle = event_new(loop->base, -1, 0, on_dns_idle, loop);
    return loop->dns_idle ? CV_OK : CV_ERR_NOMEM;
}

void cv_loop_names_fini(struct cv_loop *loop)
{
    cancel_resolves(loop);
    free_dns(loop);
    assert(!loop->resolves);
    if (loop->dns_idle)
        event_free(loop->dns_idle);
}
