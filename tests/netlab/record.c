/* tests/netlab/record.c - what passed the public segment of a lab.
 *
 *   record FILE WHAT…   in a recording of `lab_wan record FILE`, how often each
 *                       WHAT occurs, one line each:
 *                       text:WORD   these bytes
 *                       key:covim1… the 32 bytes of a key; every 8 bytes of it
 *                                   that begin at a multiple of 8; and it in
 *                                   hex
 *                       packets, udp, bytes: what there is at all */
#include "base/bytes.h"
#include "base/keytext.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of a pcap file and of each packet in it, and where its length stands. */
#define FILE_HEAD   24
#define PACKET_HEAD 16
#define PACKET_LEN  8

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "record: %s: %s\n", what, strerror(errno));
    exit(1);
}

struct recording {
    const uint8_t *data;
    size_t len;
};

static bool next_packet(const struct recording *r, size_t *at,
                        struct cv_bytes *packet)
{
    uint32_t size;

    if (*at == 0)
        *at = FILE_HEAD;
    if (*at + PACKET_HEAD > r->len)
        return false;
    memcpy(&size, r->data + *at + PACKET_LEN, sizeof(size));
    *at += PACKET_HEAD;
    if (*at + size > r->len)
        return false;
    *packet = CV_BYTES(r->data + *at, size);
    *at += size;
    return true;
}

static unsigned long occurs(const struct recording *r, const void *needle,
                            size_t len)
{
    unsigned long n = 0;
    struct cv_bytes packet;
    size_t at = 0;

    while (next_packet(r, &at, &packet))
        n += memmem(packet.data, packet.len, needle, len) != NULL;
    return n;
}

static bool is_udp(const struct cv_bytes *packet)
{
    return packet->len > 20 && packet->data[0] >> 4 == 4 &&
           packet->data[9] == IPPROTO_UDP;
}

static unsigned long count(const struct recording *r, const char *what)
{
    unsigned long n = 0;
    struct cv_bytes packet;
    size_t at = 0;

    while (next_packet(r, &at, &packet)) {
        if (strcmp(what, "bytes") == 0)
            n += packet.len;
        else
            n += strcmp(what, "udp") != 0 || is_udp(&packet);
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
    if (argc > 2)
        return find(argv[1], argv + 2);
    fprintf(stderr, "usage: record FILE WHAT…\n");
    return 2;
}
