#include "transport/tcpframe.h"

#include "base/crypto.h"
#include "tests/test.h"
#include "transport/stun.h"
#include "transport/tcpqueue.h"

/* Feed `data` in pieces of `step` bytes; count packets and their bytes. */
struct got {
    unsigned n;
    size_t bytes;
    size_t last;
    int err;
};

static struct got feed(enum cv_tcpframe_kind kind, const uint8_t *data,
                       size_t len, size_t step)
{
    struct cv_tcpframe *f = calloc(1, sizeof *f);
    struct got g = {.err = CV_ERR_AGAIN};
    struct cv_bytes out;

    REQUIRE(f != NULL);
    f->kind = kind;
    for (size_t at = 0; at < len && g.err == CV_ERR_AGAIN; at += step) {
        struct cv_bytes in =
            CV_BYTES(data + at, len - at < step ? len - at : step);

        while ((g.err = cv_tcpframe_next(f, &in, &out)) == CV_OK) {
            g.n++;
            g.bytes += out.len;
            g.last = out.len;
        }
    }
    free(f);
    return g;
}

static size_t put(uint8_t *at, size_t len)
{
    at[0] = (uint8_t)(len >> 8);
    at[1] = (uint8_t)len;
    memset(at + 2, 0x41, len);
    return 2 + len;
}

TEST(packets_come_out_as_they_went_in_however_they_are_cut)
{
    static const size_t size[] = {1, 2, 88, 1200, 1252, CV_TCPFRAME_MAX};
    uint8_t stream[8192];
    size_t len = 0, bytes = 0;

    for (unsigned i = 0; i < 6; i++) {
        len += put(stream + len, size[i]);
        bytes += size[i];
    }
    for (size_t step = 1; step <= len; step = step * 3 / 2 + 1) {
        struct got g = feed(CV_TCPFRAME_PEER, stream, len, step);

        CHECK_EQ(g.err, CV_ERR_AGAIN);
        CHECK_EQ(g.n, 6);
        CHECK_EQ(g.bytes, bytes);
        CHECK_EQ(g.last, CV_TCPFRAME_MAX);
    }
}

TEST(empty_and_long_packets_end_the_link)
{
    uint8_t stream[16] = {0, 1, 0x41};

    CHECK_EQ(feed(CV_TCPFRAME_PEER, stream, 5, 5).err, CV_ERR_FORMAT);
    stream[0] = (CV_TCPFRAME_MAX + 1) >> 8;
    stream[1] = (CV_TCPFRAME_MAX + 1) & 0xff;
    CHECK_EQ(feed(CV_TCPFRAME_PEER, stream, 2, 1).err, CV_ERR_FORMAT);
    CHECK_EQ(feed(CV_TCPFRAME_PEER, (const uint8_t *)"GET / HT", 8, 8).err,
             CV_ERR_FORMAT);
}

TEST(messages_of_a_stun_server_need_no_frames)
{
    uint8_t stream[256], txid[CV_STUN_TXID] = {1};
    struct cv_writer w;
    size_t one;

    cv_writer_init(&w, stream, sizeof stream);
    cv_stun_begin(&w, CV_STUN_SUCCESS, txid);
    cv_stun_put(&w, CV_STUN_SOFTWARE, "test", 4);
    one = w.len;
    memcpy(stream + one, stream, one);
    for (size_t step = 1; step <= 2 * one; step++) {
        struct got g = feed(CV_TCPFRAME_STUN, stream, 2 * one, step);

        CHECK_EQ(g.err, CV_ERR_AGAIN);
        CHECK_EQ(g.n, 2);
        CHECK_EQ(g.last, one);
    }
    stream[4] ^= 1; /* no cookie */
    CHECK_EQ(feed(CV_TCPFRAME_STUN, stream, one, 7).err, CV_ERR_FORMAT);
    stream[4] ^= 1;
    stream[2] = 0x7f; /* no message is so long */
    CHECK_EQ(feed(CV_TCPFRAME_STUN, stream, one, 7).err, CV_ERR_FORMAT);
}

/* ---- the queue ---------------------------------------------------------- */

TEST(a_full_queue_takes_nothing_and_stays_within_its_bound)
{
    struct cv_tcpqueue q = {0};
    static uint8_t train[64 * 1200];
    unsigned taken = 0;
    int err;

    while ((err = cv_tcpqueue_put(&q, train, sizeof train, 1200, false)) ==
           CV_OK)
        taken++;
    CHECK_EQ(err, CV_ERR_AGAIN);
    CHECK(cv_tcpqueue_is_full(&q));
    CHECK(cv_tcpqueue_waiting(&q).len <= CV_TCPQUEUE_MAX);
    CHECK_EQ(cv_tcpqueue_waiting(&q).len, taken * 64u * 1202u);
    CHECK_EQ(cv_tcpqueue_put(&q, train, 1, 1, false), CV_ERR_AGAIN);
    /* More than a train, a packet of no bytes, and one of too many. */
    CHECK_EQ(cv_tcpqueue_put(&q, train, 200 * 1000, 1200, false), CV_ERR_NOBUF);
    CHECK_EQ(cv_tcpqueue_put(&q, train, 0, 1, false), CV_ERR_NOBUF);
    CHECK_EQ(cv_tcpqueue_put(&q, train, 1501, 1501, false), CV_ERR_NOBUF);
    cv_tcpqueue_sent(&q, cv_tcpqueue_waiting(&q).len);
    CHECK_EQ(cv_tcpqueue_waiting(&q).len, 0);
    CHECK_EQ(cv_tcpqueue_put(&q, train, 1, 1, false), CV_OK);
    cv_tcpqueue_fini(&q);
}

/* Whatever is cut off where: packets stay whole, data keeps its order, checks
 * keep theirs and overtake it. */
TEST(checks_overtake_data_and_break_no_packet)
{
    static uint8_t stream[1 << 20];
    struct cv_rng_seeded seed;
    struct cv_rng rng = cv_rng_from_seed(&seed, 4);
    struct cv_tcpframe f = {.kind = CV_TCPFRAME_PEER};
    struct cv_tcpqueue q = {0};
    uint32_t data = 0, check = 0, want_data = 0, want_check = 0;
    unsigned overtaken = 0;
    struct cv_bytes in, out;
    size_t len = 0;

    for (unsigned i = 0; i < 4000; i++) {
        uint8_t packet[300] = {0x40}, dice[4];
        struct cv_bytes b;
        size_t n;

        cv_random(&rng, dice, sizeof dice);
        packet[0] = dice[0] % 4 == 0 ? 1 : 0x40;
        if (packet[0] == 1) {
            memcpy(packet + 1, &check, sizeof check);
            check += cv_tcpqueue_put(&q, packet, 90, 90, true) == CV_OK;
        } else {
            memcpy(packet + 1, &data, sizeof data);
            n = 10 + dice[1];
            data += cv_tcpqueue_put(&q, packet, n, n, false) == CV_OK;
        }
        b = cv_tcpqueue_waiting(&q);
        n = dice[2] > b.len ? b.len : dice[2];
        REQUIRE(len + n <= sizeof stream);
        if (n > 0)
            memcpy(stream + len, b.data, n);
        cv_tcpqueue_sent(&q, n);
        len += n;
    }
    while (cv_tcpqueue_waiting(&q).len > 0) {
        stream[len++] = cv_tcpqueue_waiting(&q).data[0];
        cv_tcpqueue_sent(&q, 1);
    }
    in = CV_BYTES(stream, len);
    while (cv_tcpframe_next(&f, &in, &out) == CV_OK) {
        uint32_t number;

        REQUIRE(out.len >= 5);
        memcpy(&number, out.data + 1, sizeof number);
        if (out.data[0] == 1) {
            CHECK_EQ(number, want_check++);
            overtaken += want_data > 0;
        } else {
            CHECK_EQ(number, want_data++);
        }
    }
    CHECK_EQ(want_data, data);
    CHECK_EQ(want_check, check);
    CHECK(overtaken > 0);
    cv_tcpqueue_fini(&q);
}

TEST(checks_that_wait_are_few)
{
    struct cv_tcpqueue q = {0};
    uint8_t packet[90] = {1};
    unsigned n = 0;

    while (cv_tcpqueue_put(&q, packet, sizeof packet, 90, true) == CV_OK)
        n++;
    CHECK_EQ(n, CV_TCPQUEUE_FIRST / 92);
    cv_tcpqueue_sent(&q, 93); /* one, and the first byte of the second */
    CHECK_EQ(cv_tcpqueue_put(&q, packet, 90, 90, true), CV_OK);
    CHECK_EQ(cv_tcpqueue_put(&q, packet, 90, 90, true), CV_OK);
    CHECK_EQ(cv_tcpqueue_put(&q, packet, 90, 90, true), CV_ERR_AGAIN);
    cv_tcpqueue_fini(&q);
}

RUN_TESTS(T(packets_come_out_as_they_went_in_however_they_are_cut),
          T(empty_and_long_packets_end_the_link),
          T(messages_of_a_stun_server_need_no_frames),
          T(a_full_queue_takes_nothing_and_stays_within_its_bound),
          T(checks_overtake_data_and_break_no_packet),
          T(checks_that_wait_are_few))
