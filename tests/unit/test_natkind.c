/* What a NAT lets in and what strays leave behind, asked of a server that has
 * two addresses and two ports, and of lesser ones. */
#include "tests/test.h"
#include "transport/natkind.h"

static struct cv_rng_seeded seed;
static struct cv_rng rng;

struct world {
    enum cv_natkind_filter filter; /* of the NAT */
    bool traces;                   /* strays take the port */
    bool dead;                     /* nothing answers */
    bool refuses;                  /* 420 to a change */
    bool other_ip, other_port;     /* of the server */
    unsigned asked;
    cv_time took;
};

static struct cv_addr server(bool ip, bool port)
{
    return cv_addr_ipv4(ip ? 0x05000002 : 0x05000001, port ? 3479 : 3478);
}

/* Does the NAT let an answer of this end in, when only `to` was sent to? */
static bool passes(const struct world *w, const struct cv_addr *from,
                   const struct cv_addr *to)
{
    switch (w->filter) {
    case CV_FILTER_OPEN:
        return true;
    case CV_FILTER_ADDRESS:
        return cv_addr_same_ip(from, to);
    case CV_FILTER_PORT:
    case CV_FILTER_UNKNOWN:
        break;
    }
    return cv_addr_equal(from, to);
}

static void respond(struct cv_natkind *k, struct world *w,
                    const struct cv_path_addr *to, const struct cv_stun *m,
                    cv_time now)
{
    struct cv_path_addr from = *to;
    bool ip = m->change & CV_STUN_CHANGE_IP,
         port = m->change & CV_STUN_CHANGE_PORT;
    struct cv_addr mapped = cv_addr_ipv4(0x08080808, 4000);
    struct cv_stun answer;
    struct cv_writer out;
    uint8_t buf[128];

    w->asked++;
    if (w->dead)
        return;
    cv_writer_init(&out, buf, sizeof buf);
    if (m->change && w->refuses) {
        cv_stun_begin(&out, CV_STUN_ERROR, m->txid);
        cv_stun_put_error(&out, 420, "");
    } else {
        if (m->change)
            from.remote = server(ip, port);
        if (w->traces && k->state == CV_NATKIND_AFTER)
            mapped.port = 4001;
        cv_stun_begin(&out, CV_STUN_SUCCESS, m->txid);
        cv_stun_put_xor_addr(&out, &mapped);
    }
    REQUIRE(cv_stun_parse(&answer, buf, out.len) == CV_OK);
    if (!passes(w, &from.remote, &to->remote))
        return;
    /* From elsewhere, or on another socket, it is nothing. */
    from.socket++;
    REQUIRE(!cv_natkind_input(k, &from, &answer, now));
    from.socket--;
    REQUIRE(cv_natkind_input(k, &from, &answer, now));
}

static struct cv_natkind run(struct world *w)
{
    struct cv_addr a = server(false, false);
    struct cv_addr b = server(w->other_ip, w->other_port);
    cv_time now = CV_SECOND, start = now;
    struct cv_natkind k;

    if (!w->other_ip && !w->other_port)
        b = (struct cv_addr){0};
    rng = cv_rng_from_seed(&seed, 5);
    cv_natkind_start(&k, 7, &a, &b, now);
    while (cv_natkind_runs(&k)) {
        struct cv_path_addr to;
        struct cv_writer out;
        struct cv_stun m;
        uint8_t buf[128];

        REQUIRE(cv_natkind_deadline(&k) != CV_NEVER);
        now = cv_natkind_deadline(&k);
        cv_writer_init(&out, buf, sizeof buf);
        if (!cv_natkind_step(&k, &rng, now, &to, &out))
            continue;
        REQUIRE(to.socket == 7);
        REQUIRE(cv_stun_parse(&m, buf, out.len) == CV_OK);
        respond(&k, w, &to, &m, now);
        REQUIRE(now - start < 10 * CV_SECOND);
    }
    REQUIRE(cv_natkind_deadline(&k) == CV_NEVER);
    w->took = now - start;
    return k;
}

TEST(every_filter_is_told_from_the_others)
{
    for (enum cv_natkind_filter f = CV_FILTER_OPEN; f <= CV_FILTER_PORT; f++)
        for (int traces = 0; traces < 2; traces++) {
            struct world w = {.filter = f,
                              .traces = traces,
                              .other_ip = true,
                              .other_port = true};
            struct cv_natkind k = run(&w);

            CHECK_EQ(k.state, CV_NATKIND_DONE);
            CHECK_EQ(k.filter, f);
            CHECK_EQ(k.mapped.port, 4000);
            CHECK_EQ(k.strays, f == CV_FILTER_OPEN ? CV_STRAYS_UNKNOWN
                               : traces            ? CV_STRAYS_TRACED
                                                   : CV_STRAYS_DROPPED);
            CHECK(w.took <= 2500 * CV_MILLISECOND);
            CHECK(w.asked <= 8);
        }
}

TEST(a_server_with_less_tells_less)
{
    struct world w = {.filter = CV_FILTER_PORT, .other_port = true};
    struct cv_natkind k = run(&w);

    CHECK_EQ(k.filter, CV_FILTER_PORT);
    CHECK_EQ(k.strays, CV_STRAYS_DROPPED);
    w = (struct world){.filter = CV_FILTER_PORT, .other_ip = true};
    k = run(&w);
    CHECK_EQ(k.state, CV_NATKIND_DONE);
    CHECK_EQ(k.filter, CV_FILTER_UNKNOWN);
    CHECK_EQ(k.strays, CV_STRAYS_DROPPED);
    w = (struct world){.filter = CV_FILTER_PORT};
    k = run(&w); /* the newest port is all that it can say */
    CHECK_EQ(k.state, CV_NATKIND_DONE);
    CHECK_EQ(k.mapped.port, 4000);
    CHECK_EQ(w.asked, 1);
}

TEST(silence_and_refusals_end_it)
{
    struct world w = {.dead = true, .other_ip = true, .other_port = true};
    struct cv_natkind k = run(&w);

    CHECK_EQ(k.state, CV_NATKIND_FAILED);
    CHECK_EQ(w.asked, CV_NATKIND_TRIES);
    w = (struct world){.filter = CV_FILTER_PORT,
                       .refuses = true,
                       .other_ip = true,
                       .other_port = true};
    k = run(&w);
    CHECK_EQ(k.state, CV_NATKIND_DONE);
    CHECK_EQ(k.filter, CV_FILTER_UNKNOWN);
    CHECK_EQ(k.strays, CV_STRAYS_UNKNOWN);
}

RUN_TESTS(T(every_filter_is_told_from_the_others),
          T(a_server_with_less_tells_less), T(silence_and_refusals_end_it))
