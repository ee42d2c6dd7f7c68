/* tests/netlab/natprobe.c - what kind of NAT is this, by RFC 5780's tests.
 *
 *   natprobe map ADDRESS:PORT…      ask each STUN server from one socket; print
 *                                   one mapped address a line
 *   natprobe listen ADDRESS:PORT MS ask, print, then count for MS milliseconds
 *                                   what else arrives: "strays N"
 *   natprobe send ADDRESS:PORT      send one datagram there from a new port */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/time.h"
#include "transport/stun.h"

#define TRIES      5
#define WAIT_MS    300
#define STRAY_TEXT "stray"

static int send_to(int fd, const struct cv_addr *to, const void *data,
                   size_t len)
{
    struct sockaddr_storage ss;
    socklen_t n = cv_addr_to_sockaddr(to, &ss);

    return sendto(fd, data, len, 0, (const struct sockaddr *)(void *)&ss, n) < 0
               ? CV_ERR_IO
               : CV_OK;
}

static ssize_t receive(int fd, void *out, size_t len, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, wait_ms) > 0 ? recv(fd, out, len, 0) : 0;
}

static int ask(int fd, const struct cv_addr *server, struct cv_addr *mapped)
{
    uint8_t request[CV_STUN_MAX], answer[CV_STUN_MAX], txid[CV_STUN_TXID];
    static const uint8_t padding[64];
    struct cv_writer w;
    struct cv_stun m;

    cv_random(&cv_rng_system, txid, sizeof(txid));
    cv_writer_init(&w, request, sizeof(request));
    cv_stun_begin(&w, CV_STUN_REQUEST, txid);
    /* A server of ours answers with no more bytes than it was asked with. */
    cv_stun_put(&w, CV_STUN_PADDING, padding, sizeof(padding));
    for (int i = 0; i < TRIES; i++) {
        ssize_t n;

        if (send_to(fd, server, w.data, w.len) != CV_OK)
            return CV_ERR_IO;
        n = receive(fd, answer, sizeof(answer), WAIT_MS);
        if (n > 0 && cv_stun_parse(&m, answer, (size_t)n) == CV_OK &&
            m.type == CV_STUN_SUCCESS && m.mapped.family &&
            memcmp(m.txid, txid, sizeof(txid)) == 0) {
            *mapped = m.mapped;
            return CV_OK;
        }
    }
    return CV_ERR_TIMEOUT;
}

static int print_mapped(int fd, const char *server)
{
    struct cv_addr to, mapped;
    char text[CV_ADDR_TEXT];
    int err = cv_addr_parse(&to, server, CV_STUN_PORT);

    if (err == CV_OK)
        err = ask(fd, &to, &mapped);
    if (err != CV_OK)
        fprintf(stderr, "natprobe: %s: %s\n", server, cv_strerror(err));
    else
        printf("%s\n", cv_addr_format(&mapped, text));
    fflush(stdout);
    return err;
}

static void count_strays(int fd, int wait_ms)
{
    cv_time end = cv_time_now() + wait_ms * CV_MILLISECOND;
    unsigned strays = 0;
    char data[64];

    for (cv_time left; (left = end - cv_time_now()) > 0;) {
        ssize_t n =
            receive(fd, data, sizeof(data), (int)(left / CV_MILLISECOND) + 1);

        if (n == (ssize_t)strlen(STRAY_TEXT) &&
            memcmp(data, STRAY_TEXT, (size_t)n) == 0)
            strays++;
    }
    printf("strays %u\n", strays);
}

int main(int argc, char **argv)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = CV_OK;

    if (fd < 0 || argc < 3) {
        fprintf(stderr, "natprobe: map SERVER…, listen SERVER MS, send TO\n");
        return 2;
    }
    if (strcmp(argv[1], "map") == 0) {
        for (int i = 2; err == CV_OK && i < argc; i++)
            err = print_mapped(fd, argv[i]);
    } else if (strcmp(argv[1], "listen") == 0 && argc == 4) {
        err = print_mapped(fd, argv[2]);
        if (err == CV_OK)
            count_strays(fd, atoi(argv[3]));
    } else {
        struct cv_addr to;

        err = cv_addr_parse(&to, argv[2], 0);
        if (err == CV_OK)
            err = send_to(fd, &to, STRAY_TEXT, strlen(STRAY_TEXT));
    }
    close(fd);
    return err == CV_OK ? 0 : 1;
}
