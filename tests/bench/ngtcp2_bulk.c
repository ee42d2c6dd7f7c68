/* What ngtcp2 carries by itself over loopback: one stream, two processes, a
 * connected UDP socket each with GSO and GRO, packets and congestion control
 * as ours, and nothing else.  What bench_bulk.sh compares a node with.
 *
 *     ngtcp2_bulk MIB
 *
 * Two JSON lines: MiB/s, and CPU seconds per GiB of both ends. */
#include "transport/quic.h"
#include "transport/tls_key.h"
#include <gnutls/crypto.h>
#include <netinet/udp.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define WINDOW_STREAM (6u << 20)
#define WINDOW_CONN   (16u << 20)
#define ALPN          "bench"
#define PRIORITY                                                               \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM"                   \
    ":-GROUP-ALL:+GROUP-X25519"                                                \
    ":-CTYPE-ALL:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK"                            \
    ":%DISABLE_TLS13_COMPAT_MODE"

struct end {
    int fd;
    struct sockaddr_in local, remote;
    ngtcp2_conn *conn;
    ngtcp2_crypto_conn_ref ref;
    gnutls_session_t tls;
    gnutls_certificate_credentials_t cred;
    int64_t stream; /* -1: none yet */
    uint64_t want, sent, received;
    uint64_t limit; /* of the server: received so much, it says so */
    bool over;
    /* Packets of one size that were written and not taken by the socket. */
    uint8_t train[CV_QUIC_TRAIN * CV_QUIC_PAYLOAD];
    size_t train_len, segment;
};

/* What is sent lies in memory as the data of an application does, of which a
 * node of ours would keep as much; nothing is copied. */
static uint8_t source[CV_STREAM_SEND_MAX];

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "ngtcp2_bulk: %s failed\n", what);
    exit(1);
}

static ngtcp2_tstamp now(void)
{
    return (ngtcp2_tstamp)cv_time_now();
}

static double cpu(int who)
{
    struct rusage u;

    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* --- ngtcp2 asks --- */

static ngtcp2_conn *conn_of(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct end *)ref->user_data)->conn;
}

static void on_rand(uint8_t *out, size_t len, const ngtcp2_rand_ctx *ctx)
{
    (void)ctx;
    need(gnutls_rnd(GNUTLS_RND_NONCE, out, len) == 0, "random");
}

static int on_new_cid(ngtcp2_conn *conn, ngtcp2_cid *cid, uint8_t *token,
                      size_t len, void *user)
{
    (void)conn;
    (void)user;
    on_rand(cid->data, len, NULL);
    cid->datalen = len;
    on_rand(token, NGTCP2_STATELESS_RESET_TOKENLEN, NULL);
    return 0;
}

static int on_data(ngtcp2_conn *conn, uint32_t flags, int64_t stream,
                   uint64_t offset, const uint8_t *data, size_t len, void *user,
                   void *stream_user)
{
    struct end *e = user;

    (void)flags;
    (void)offset;
    (void)data;
    (void)stream_user;
    ngtcp2_conn_extend_max_stream_offset(conn, stream, len);
    ngtcp2_conn_extend_max_offset(conn, len);
    e->received += len;
    e->stream = stream;
    return 0;
}

static const ngtcp2_callbacks callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
    .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = ngtcp2_crypto_decrypt_cb,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .recv_retry = ngtcp2_crypto_recv_retry_cb,
    .update_key = ngtcp2_crypto_update_key_cb,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .rand = on_rand,
    .get_new_connection_id = on_new_cid,
    .recv_stream_data = on_data,
};

/* --- packets --- */

static ngtcp2_path path_of(struct end *e)
{
    return (ngtcp2_path){
        .local = {(ngtcp2_sockaddr *)&e->local, sizeof e->local},
        .remote = {(ngtcp2_sockaddr *)&e->remote, sizeof e->remote},
    };
}

/* Send the train; false: the socket is full. */
static bool flush(struct end *e)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct iovec iov = {e->train, e->train_len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    uint16_t segment = (uint16_t)e->segment;

    if (e->train_len == 0)
        return true;
    if (e->train_len > e->segment) {
        struct cmsghdr *c;

        m.msg_control = control;
        m.msg_controllen = sizeof control;
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = IPPROTO_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof segment);
        memcpy(CMSG_DATA(c), &segment, sizeof segment);
    }
    if (sendmsg(e->fd, &m, MSG_DONTWAIT) < 0)
        return false;
    e->train_len = 0;
    return true;
}

/* The next bytes to send, round and round in `source`; their number of parts.
 */
static size_t next_bytes(const struct end *e, ngtcp2_vec vec[2])
{
    size_t at = e->sent % sizeof source, rest = sizeof source - at;
    uint64_t left = e->stream >= 0 && e->sent < e->want ? e->want - e->sent : 0;

    vec[0] = (ngtcp2_vec){source + at, left < rest ? (size_t)left : rest};
    left -= vec[0].len;
    vec[1] = (ngtcp2_vec){source, left < at ? (size_t)left : at};
    return vec[1].len > 0 ? 2 : vec[0].len > 0;
}

/* One packet into the train; its length, 0 when there is nothing to say. */
static size_t write_packet(struct end *e, ngtcp2_tstamp ts)
{
    ngtcp2_path_storage ps;
    ngtcp2_pkt_info info;
    ngtcp2_ssize n, taken = -1;
    ngtcp2_vec vec[2];
    size_t parts = next_bytes(e, vec);

    ngtcp2_path_storage_zero(&ps);
    n = ngtcp2_conn_writev_stream(e->conn, &ps.path, &info,
                                  e->train + e->train_len, CV_QUIC_PAYLOAD,
                                  &taken, NGTCP2_WRITE_STREAM_FLAG_NONE,
                                  parts > 0 ? e->stream : -1, vec, parts, ts);
    if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED)
        n = ngtcp2_conn_writev_stream(
            e->conn, &ps.path, &info, e->train + e->train_len, CV_QUIC_PAYLOAD,
            NULL, NGTCP2_WRITE_STREAM_FLAG_NONE, -1, NULL, 0, ts);
    need(n >= 0, ngtcp2_strerror((int)n));
    if (taken > 0)
        e->sent += (uint64_t)taken;
    return (size_t)n;
}

static void write_all(struct end *e)
{
    ngtcp2_tstamp ts = now();
    size_t quantum = ngtcp2_conn_get_send_quantum(e->conn), n, went = 0;

    if (!flush(e))
        return;
    while ((n = write_packet(e, ts)) > 0) {
        if (e->train_len == 0)
            e->segment = n;
        e->train_len += n;
        went += n;
        /* A train is of full packets, and one shorter at its end. */
        if ((n < CV_QUIC_PAYLOAD || e->train_len == sizeof e->train) &&
            !flush(e))
            break;
        if (went >= quantum)
            break;
    }
    (void)flush(e);
    ngtcp2_conn_update_pkt_tx_time(e->conn, ts);
}

static void read_all(struct end *e)
{
    static uint8_t buffer[65536];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];

    for (unsigned batch = 0; batch < 16; batch++) {
        struct iovec iov = {buffer, sizeof buffer};
        struct msghdr m = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof control};
        ssize_t n = recvmsg(e->fd, &m, MSG_DONTWAIT);
        ngtcp2_path path = path_of(e);
        ngtcp2_pkt_info info = {0};
        ngtcp2_tstamp ts = now();
        size_t segment, at;

        if (n <= 0)
            return;
        segment = (size_t)n;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
            if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
                int size;

                memcpy(&size, CMSG_DATA(c), sizeof size);
                segment = (size_t)size;
            }
        for (at = 0; at < (size_t)n; at += segment) {
            size_t len = (size_t)n - at < segment ? (size_t)n - at : segment;
            int rv = ngtcp2_conn_read_pkt(e->conn, &path, &info, buffer + at,
                                          len, ts);

            if (rv == NGTCP2_ERR_DRAINING) {
                e->over = true;
                return;
            }
            need(rv == 0, ngtcp2_strerror(rv));
        }
    }
}

static void turn(struct end *e)
{
    ngtcp2_tstamp at = ngtcp2_conn_get_expiry(e->conn), ts = now();
    int wait = at <= ts               ? 0
               : at - ts > 1000000000 ? 1000
                                      : (int)((at - ts + 999999) / 1000000);
    struct pollfd p = {.fd = e->fd, .events = POLLIN};

    /* A pace below a millisecond is kept by looking again. */
    if (wait == 1)
        wait = 0;
    (void)poll(&p, 1, wait);
    read_all(e);
    if (e->over)
        return;
    if (e->limit > 0 && e->received >= e->limit)
        e->want = 1;
    if (ngtcp2_conn_get_expiry(e->conn) <= now())
        need(ngtcp2_conn_handle_expiry(e->conn, now()) == 0, "timer");
    write_all(e);
}

/* --- setting up --- */

static void open_socket(struct end *e)
{
    socklen_t len = sizeof e->local;
    int on = 1, size = 1 << 22;

    e->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    e->local = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_addr = {htonl(INADDR_LOOPBACK)}};
    need(e->fd >= 0 && bind(e->fd, (void *)&e->local, len) == 0 &&
             getsockname(e->fd, (void *)&e->local, &len) == 0,
         "socket");
    (void)setsockopt(e->fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
    (void)setsockopt(e->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    (void)setsockopt(e->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static int accept_any(gnutls_session_t tls)
{
    (void)tls;
    return 0;
}

static void open_tls(struct end *e, bool client)
{
    gnutls_datum_t alpn = {(unsigned char *)strdup(ALPN), sizeof ALPN - 1};
    struct cv_keypair key;

    need(cv_keypair_generate(&key, &cv_rng_system) == CV_OK &&
             gnutls_certificate_allocate_credentials(&e->cred) == 0 &&
             cv_tls_key_load(e->cred, &key) == CV_OK,
         "key");
    need(gnutls_init(&e->tls, (client ? GNUTLS_CLIENT : GNUTLS_SERVER) |
                                  GNUTLS_ENABLE_RAWPK | GNUTLS_NO_TICKETS |
                                  GNUTLS_NO_END_OF_EARLY_DATA) == 0,
         "TLS");
    need(gnutls_priority_set_direct(e->tls, PRIORITY, NULL) == 0 &&
             gnutls_credentials_set(e->tls, GNUTLS_CRD_CERTIFICATE, e->cred) ==
                 0 &&
             gnutls_alpn_set_protocols(e->tls, &alpn, 1, 0) == 0,
         "TLS");
    free(alpn.data);
    need((client ? ngtcp2_crypto_gnutls_configure_client_session(e->tls)
                 : ngtcp2_crypto_gnutls_configure_server_session(e->tls)) == 0,
         "TLS");
    gnutls_session_set_verify_function(e->tls, accept_any);
    e->ref = (ngtcp2_crypto_conn_ref){conn_of, e};
    gnutls_session_set_ptr(e->tls, &e->ref);
}

static void open_conn(struct end *e, const ngtcp2_pkt_hd *first)
{
    ngtcp2_path path = path_of(e);
    ngtcp2_transport_params p;
    ngtcp2_settings s;
    ngtcp2_cid dcid, scid;
    int rv;

    ngtcp2_settings_default(&s);
    s.cc_algo = NGTCP2_CC_ALGO_BBR2;
    s.initial_ts = now();
    s.max_tx_udp_payload_size = CV_QUIC_PAYLOAD;
    s.no_pmtud = 1;
    ngtcp2_transport_params_default(&p);
    p.initial_max_stream_data_bidi_local = WINDOW_STREAM;
    p.initial_max_stream_data_bidi_remote = WINDOW_STREAM;
    p.initial_max_data = WINDOW_CONN;
    p.initial_max_streams_bidi = 4;
    on_rand(dcid.data, dcid.datalen = 16, NULL);
    on_rand(scid.data, scid.datalen = CV_QUIC_CID_LEN, NULL);
    if (first != NULL) {
        p.original_dcid = first->dcid;
        rv = ngtcp2_conn_server_new(&e->conn, &first->scid, &scid, &path,
                                    NGTCP2_PROTO_VER_V1, &callbacks, &s, &p,
                                    NULL, e);
    } else {
        rv = ngtcp2_conn_client_new(&e->conn, &dcid, &scid, &path,
                                    NGTCP2_PROTO_VER_V1, &callbacks, &s, &p,
                                    NULL, e);
    }
    need(rv == 0, "connection");
    ngtcp2_conn_set_tls_native_handle(e->conn, e->tls);
}

/* Takes what comes, and says with one byte that it has all. */
static void run_server(struct end *e, uint64_t bytes)
{
    static uint8_t first[65536];
    ngtcp2_pkt_info info = {0};
    ngtcp2_path path = path_of(e);
    ngtcp2_pkt_hd hd;
    ssize_t n = recv(e->fd, first, sizeof first, 0);

    need(n > 0 && ngtcp2_accept(&hd, first, (size_t)n) == 0, "first packet");
    open_tls(e, false);
    open_conn(e, &hd);
    need(ngtcp2_conn_read_pkt(e->conn, &path, &info, first, (size_t)n, now()) ==
             0,
         "first packet");
    write_all(e);
    e->limit = bytes;
    while (!e->over)
        turn(e);
    exit(0);
}

static void run_client(struct end *e, uint64_t bytes, double *seconds,
                       double *used)
{
    cv_time start;
    double before;

    open_tls(e, true);
    open_conn(e, NULL);
    write_all(e);
    while (!ngtcp2_conn_get_handshake_completed(e->conn))
        turn(e);
    while (ngtcp2_conn_open_bidi_stream(e->conn, &e->stream, NULL) != 0)
        turn(e);
    before = cpu(RUSAGE_SELF);
    start = cv_time_now();
    e->want = bytes;
    while (e->received == 0)
        turn(e);
    *seconds = (double)(cv_time_now() - start) / CV_SECOND;
    *used = cpu(RUSAGE_SELF) - before;
}

int main(int argc, char **argv)
{
    static struct end client = {.stream = -1}, server = {.stream = -1};
    uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 256;
    ngtcp2_connection_close_error bye = {0};
    double seconds, used;
    uint8_t packet[CV_QUIC_PAYLOAD];
    ngtcp2_path_storage ps;
    ngtcp2_pkt_info info;
    ngtcp2_ssize n;
    pid_t pid;

    need(mib > 0, "MIB");
    open_socket(&client);
    open_socket(&server);
    client.remote = server.local;
    server.remote = client.local;
    need(connect(client.fd, (void *)&client.remote, sizeof client.remote) ==
                 0 &&
             connect(server.fd, (void *)&server.remote, sizeof server.remote) ==
                 0,
         "socket");
    pid = fork();
    need(pid >= 0, "fork");
    if (pid == 0)
        run_server(&server, mib << 20);
    run_client(&client, mib << 20, &seconds, &used);
    ngtcp2_path_storage_zero(&ps);
    n = ngtcp2_conn_write_connection_close(client.conn, &ps.path, &info, packet,
                                           sizeof packet, &bye, now());
    need(n > 0 && send(client.fd, packet, (size_t)n, 0) == n, "close");
    waitpid(pid, NULL, 0);
    used += cpu(RUSAGE_CHILDREN);
    printf("{\"bench\":\"ngtcp2\",\"case\":\"bulk\",\"metric\":\"mib_per_s\","
           "\"value\":%.1f}\n",
           (double)mib / seconds);
    printf("{\"bench\":\"ngtcp2\",\"case\":\"bulk\",\"metric\":"
           "\"cpu_s_per_gib_both\",\"value\":%.3f}\n",
           used * 1024 / (double)mib);
    return 0;
}
