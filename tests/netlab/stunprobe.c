/* tests/netlab/stunprobe.c - the Binding server alone.
 *
 *   stunprobe ADDRESS:PORT…    until it is ended */
#include "transport/stunserver.h"

int main(int argc, char **argv)
{
    struct cv_addr binds[CV_STUN_BINDS];
    struct cv_stunserver *server;
    struct cv_loop *loop;
    unsigned n = 0;

    for (; n + 1 < (unsigned)argc && n < CV_STUN_BINDS; n++)
        if (cv_addr_parse(&binds[n], argv[n + 1], CV_STUN_PORT) != CV_OK)
            return 2;
    if (cv_loop_new(&loop) != CV_OK ||
        cv_stunserver_new(&server, loop, NULL, binds, n) != CV_OK)
        return 1;
    cv_loop_run(loop);
}
