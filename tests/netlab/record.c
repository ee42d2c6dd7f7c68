/* tests/netlab/record.c - what passes the wires of a network namespace.
 *
 *   record FILE              record every frame until SIGTERM (needs root)
 *   record find FILE WHAT…   how often each WHAT occurs, one line each:
 *                            text:WORD   these bytes
 *                            key:covim1… the 32 bytes of a key; every 8 bytes
 *                                        of it that begin at a multiple of 8;
 *                                        and it in hex
 *                            frames, udp, bytes: what there is at all
 *
 * The file holds frames, each after its length (u32 of this machine). */
#include "base/bytes.h"
#include "base/keytext.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRAME_MAX 131072

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
    (void)number;
    stopped = 1;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "record: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int record(const char *path)
{
    static uint8_t frame[FRAME_MAX];
    const struct sigaction stop = {.sa_handler = on_stop}; /* no SA_RESTART */
    const int room = 32 << 20;
    FILE *out = fopen(path, "wb");
    struct tpacket_stats lost = {0};
    socklen_t len = sizeof(lost);
    /* Of all devices. */
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

    if (fd < 0 || out == NULL)
        die(path);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
        die("buffer");
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    printf("recording\n");
    fflush(stdout);
    while (!stopped) {
        ssize_t n = recv(fd, frame, sizeof(frame), 0);
        uint32_t size = (uint32_t)n;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            die("receive");
        if (fwrite(&size, sizeof(size), 1, out) != 1 ||
            fwrite(frame, 1, (size_t)n, out) != (size_t)n)
            die("write");
    }
    if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &lost, &len) < 0)
        die("statistics");
    printf("recorded %u, lost %u\n", lost.tp_packets, lost.tp_drops);
    if (fclose(out) != 0)
        die("write");
    close(fd);
    return lost.tp_drops == 0 ? 0 : 1;
}

/* --- looking --- */

struct recording {
    const uint8_t *data;
    size_t len;
};

static bool next_frame(const struct recording *r, size_t *at,
                       struct cv_bytes *frame)
{
    uint32_t size;

    if (*at + sizeof(size) > r->len)
        return false;
    memcpy(&size, r->data + *at, sizeof(size));
    *at += sizeof(size);
    if (*at + size > r->len)
        return false;
    *frame = CV_BYTES(r->data + *at, size);
    *at += size;
    return true;
}

static unsigned long occurs(const struct recording *r, const void *needle,
                            size_t len)
{
    unsigned long n = 0;
    struct cv_bytes frame;
    size_t at = 0;

    while (next_frame(r, &at, &frame))
        n += memmem(frame.data, frame.len, needle, len) != NULL;
    return n;
}

static bool is_udp(const struct cv_bytes *frame)
{
    return frame->len > 34 && frame->data[12] == 0x08 && frame->data[13] == 0 &&
           frame->data[23] == IPPROTO_UDP;
}

static unsigned long count(const struct recording *r, const char *what)
{
    unsigned long n = 0;
    struct cv_bytes frame;
    size_t at = 0;

    while (next_frame(r, &at, &frame)) {
        if (strcmp(what, "bytes") == 0)
            n += frame.len;
        else
            n += strcmp(what, "udp") != 0 || is_udp(&frame);
    }
    return n;
}

static unsigned long key_occurs(const struct recording *r, const char *text)
{
    struct cv_keytext key;
    char why[512], hex[2 * CV_KEY_LEN + 1];
    unsigned long n = 0;

    if (cv_keytext_parse(&key, CV_KEYTEXT_SESSION, text, why, sizeof(why)) !=
        CV_OK) {
        fprintf(stderr, "record: %s: %s\n", text, why);
        exit(2);
    }
    for (unsigned i = 0; i < CV_KEY_LEN; i += 8)
        n += occurs(r, key.key.b + i, 8);
    for (unsigned i = 0; i < CV_KEY_LEN; i++)
        snprintf(hex + 2 * (size_t)i, 3, "%02x", key.key.b[i]);
    return n + occurs(r, hex, 16) + occurs(r, text, 16);
}

static int find(const char *path, char *const *what)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct recording r;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        die(path);
    r.len = (size_t)st.st_size;
    r.data =
        r.len == 0 ? NULL : mmap(NULL, r.len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (r.data == MAP_FAILED)
        die(path);
    for (; *what != NULL; what++)
        printf("%s %lu\n", *what,
               strncmp(*what, "text:", 5) == 0
                   ? occurs(&r, *what + 5, strlen(*what + 5))
               : strncmp(*what, "key:", 4) == 0 ? key_occurs(&r, *what + 4)
                                                : count(&r, *what));
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "find") == 0)
        return find(argv[2], argv + 3);
    if (argc == 2)
        return record(argv[1]);
    fprintf(stderr, "usage: record FILE | record find FILE WHAT…\n");
    return 2;
}
