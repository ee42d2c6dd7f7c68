#include "cli/stun.h"

#include <signal.h>
#include <stdio.h>

#include "base/loop.h"
#include "transport/stunserver.h"

#define STUN_PORT 3478 /* RFC 8489, 18.6 */

static void on_stop(void *user)
{
    cv_loop_stop(user);
}

/* Two addresses are enough to say: a server that is to show what a NAT filters
 * answers on two ports of both (RFC 5780, 2). */
static void complete(struct cv_addr *out, unsigned *n)
{
    if (*n != 2 || out[0].family != out[1].family ||
        cv_addr_same_ip(&out[0], &out[1]))
        return;
    out[2] = out[0];
    out[3] = out[1];
    out[2].port = out[1].port;
    out[3].port = out[0].port;
    if (out[0].port == out[1].port)
        out[2].port = out[3].port =
            (uint16_t)(out[0].port == UINT16_MAX ? out[0].port - 1
                                                 : out[0].port + 1);
    *n = 4;
}

static int addresses(const struct cv_options *o, struct cv_addr *out,
                     unsigned *n)
{
    *n = 0;
    if (!o->listen.n) {
        out[(*n)++] = cv_addr_ipv4(0, STUN_PORT);
        out[*n] = (struct cv_addr){.family = CV_FAMILY_IPV6, .port = STUN_PORT};
        (*n)++;
        return CV_OK;
    }
    for (unsigned i = 0; i < o->listen.n; i++)
        if (cv_addr_parse(&out[(*n)++], o->listen.item[i], STUN_PORT) !=
            CV_OK) {
            fprintf(stderr, "covim: --listen \"%s\" is not ADDRESS:PORT\n",
                    o->listen.item[i]);
            return CV_ERR_INVALID;
        }
    complete(out, n);
    return CV_OK;
}

int cv_stun_run(const struct cv_options *options, struct cv_log *log)
{
    struct cv_addr binds[CV_SERVERS_MAX];
    struct cv_stunserver *server = NULL;
    struct cv_signal *stops[2] = {NULL, NULL};
    struct cv_loop *loop = NULL;
    unsigned n;
    int err = addresses(options, binds, &n);

    if (err == CV_OK)
        err = cv_loop_new(&loop);
    if (err == CV_OK)
        err = cv_signal_new(&stops[0], loop, SIGINT, on_stop, loop);
    if (err == CV_OK)
        err = cv_signal_new(&stops[1], loop, SIGTERM, on_stop, loop);
    if (err == CV_OK)
        err = cv_stunserver_new(&server, loop, log, binds, n);
    if (err == CV_OK) {
        fprintf(stderr, "covim: answering STUN on port %u%s\n", binds[0].port,
                n == CV_STUN_BINDS ? ", and what NATs filter" : "");
        cv_loop_run(loop);
    } else if (err != CV_ERR_INVALID) {
        fprintf(stderr, "covim: cannot listen: %s\n", cv_strerror(err));
    }
    cv_stunserver_free(server);
    cv_signal_free(stops[0]);
    cv_signal_free(stops[1]);
    cv_loop_free(loop);
    return (int)cv_exit_of(err);
}
