/* What a gate reads in clear: loaded into covim-gate (LD_PRELOAD), it records
 * all that comes out of TLS and goes into it to the file that GATE_TAP names,
 * as pcap, for tests/netlab/record.c. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* As in gnutls/gnutls.h; a session is only passed on. */
ssize_t gnutls_record_recv(void *session, void *data, size_t len);
ssize_t gnutls_record_send(void *session, const void *data, size_t len);
typedef ssize_t (*recv_fn)(void *, void *, size_t);
typedef ssize_t (*send_fn)(void *, const void *, size_t);

static int fd = -1;
static recv_fn next_recv;
static send_fn next_send;

__attribute__((constructor)) static void begin(void)
{
    static const uint8_t head[24] = {0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4};
    const char *path = getenv("GATE_TAP");
    void *symbol;

    /* A function is no object (ISO C), but has the size of one (POSIX). */
    symbol = dlsym(RTLD_NEXT, "gnutls_record_recv");
    memcpy(&next_recv, &symbol, sizeof next_recv);
    symbol = dlsym(RTLD_NEXT, "gnutls_record_send");
    memcpy(&next_send, &symbol, sizeof next_send);
    if (path)
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (!next_recv || !next_send || fd < 0 ||
        write(fd, head, sizeof head) != (ssize_t)sizeof head)
        abort();
}

static void record(const void *data, ssize_t len)
{
    uint32_t head[4] = {0};
    struct iovec iov[2] = {{head, sizeof head}, {NULL, (size_t)len}};

    if (len <= 0)
        return;
    head[2] = head[3] = (uint32_t)len;
    memcpy(&iov[1].iov_base, &data, sizeof data); /* writev does not write */
    if (writev(fd, iov, 2) != (ssize_t)sizeof head + len)
        abort();
}

ssize_t gnutls_record_recv(void *session, void *data, size_t len)
{
    ssize_t n = next_recv(session, data, len);

    record(data, n);
    return n;
}

ssize_t gnutls_record_send(void *session, const void *data, size_t len)
{
    ssize_t n = next_send(session, data, len);

    record(data, n);
    return n;
}
