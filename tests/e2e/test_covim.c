/* libcovim as a program sees it: two nodes, real sockets, a DHT of their
 * own. */
#include "covim/covim.h"

#include "tests/test.h"

#include <time.h>
#include <unistd.h>

struct side {
    covim_node *node;
    covim_place *place;
    covim_peer *peer;
    char dir[64];
    unsigned opened, asked, established, closed, paths, datagrams, done, reads,
        ends;
    enum covim_state state;
    char stage[256];
    enum covim_path path;
    int err;
    bool fin;
    size_t got, sent;
    uint32_t sum;
    covim_stream *stream;
    bool echo, paused;
};

static struct side a, b;

static long long now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#define UNTIL(seconds, cond)                                                   \
    do {                                                                       \
        long long until_ = now_ms() + (seconds)*1000;                          \
        while (!(cond)) {                                                      \
            if (now_ms() >= until_) {                                          \
                print_error("%s did not become true\n", #cond);                \
                _fail(__FILE__, __LINE__);                                     \
            }                                                                  \
            if (a.node != NULL)                                                \
                covim_step(a.node, 2);                                         \
            if (b.node != NULL)                                                \
                covim_step(b.node, 2);                                         \
        }                                                                      \
    } while (0)

static void on_state(void *user, covim_place *place, enum covim_state state,
                     const char *stage, const char *hint)
{
    struct side *s = user;

    REQUIRE(place == s->place);
    (void)hint;
    s->state = state;
    (void)snprintf(s->stage, sizeof s->stage, "%s", stage);
}

static void on_ask(void *user, covim_peer *peer)
{
    struct side *s = user;

    s->asked++;
    s->peer = peer;
}

static void on_established(void *user, covim_peer *peer)
{
    struct side *s = user;

    s->established++;
    s->peer = peer;
}

static void on_path(void *user, covim_peer *peer, enum covim_path path,
                    unsigned rtt_ms)
{
    struct side *s = user;

    (void)peer;
    (void)rtt_ms;
    s->paths++;
    s->path = path;
}

static void on_data(void *user, covim_stream *stream, const void *data,
                    size_t len, bool fin)
{
    struct side *s = user;
    const uint8_t *p = data;

    s->reads++;
    for (size_t i = 0; i < len; i++)
        s->sum = s->sum * 31 + p[i];
    s->got += len;
    s->fin = s->fin || fin;
    if (!s->echo)
        return;
    REQUIRE(covim_stream_send(stream, data, len) == COVIM_OK);
    if (fin)
        covim_stream_finish(stream);
}

static void on_stream_end(void *user, covim_stream *stream, int err)
{
    struct side *s = user;

    (void)stream;
    s->ends++;
    s->err = err;
    s->stream = NULL;
}

static void on_writable(void *user, covim_stream *stream);

static const struct covim_stream_events stream_events = {
    .data = on_data,
    .writable = on_writable,
    .closed = on_stream_end,
};

static void on_stream(void *user, covim_peer *peer, covim_stream *stream)
{
    struct side *s = user;

    REQUIRE(peer == s->peer && covim_stream_peer(stream) == peer);
    s->stream = stream;
    covim_stream_set_events(stream, &stream_events, s);
    if (s->paused)
        covim_stream_pause(stream, true);
}

static void on_datagram(void *user, covim_peer *peer, const void *data,
                        size_t len)
{
    struct side *s = user;

    (void)peer;
    REQUIRE(len == 4 && memcmp(data, "ping", 4) == 0);
    s->datagrams++;
}

static void on_closed(void *user, covim_peer *peer, int err)
{
    struct side *s = user;

    REQUIRE(peer == s->peer);
    s->closed++;
    s->err = err;
    s->peer = NULL;
}

static const struct covim_events asking = {
    .state = on_state,
    .ask = on_ask,
    .established = on_established,
    .path = on_path,
    .stream = on_stream,
    .datagram = on_datagram,
    .closed = on_closed,
};
static const struct covim_events plain = {
    .state = on_state,
    .established = on_established,
    .path = on_path,
    .stream = on_stream,
    .datagram = on_datagram,
    .closed = on_closed,
};

/* Send at once; what comes back waits until we are in. */
static void on_opening(void *user, covim_peer *peer)
{
    struct side *s = user;

    s->opened++;
    s->peer = peer;
    REQUIRE(covim_stream_open(&s->stream, peer) == COVIM_OK);
    covim_stream_set_events(s->stream, &stream_events, s);
    REQUIRE(covim_stream_send(s->stream, "early", 5) == COVIM_OK);
    covim_stream_finish(s->stream);
}

static void on_early_established(void *user, covim_peer *peer)
{
    struct side *s = user;

    REQUIRE(s->got == 0);
    on_established(user, peer);
}

static const struct covim_events early = {
    .state = on_state,
    .opening = on_opening,
    .established = on_early_established,
    .stream = on_stream,
    .closed = on_closed,
};

static void start(struct side *s, const char *name, const struct side *from)
{
    char bootstrap[32], why[256];
    const char *names[] = {bootstrap};
    struct covim_config c = {.name = name, .no_bootstrap = true};

    memset(s, 0, sizeof *s);
    strcpy(s->dir, "/tmp/covim-XXXXXX");
    REQUIRE(mkdtemp(s->dir) != NULL);
    c.data_dir = s->dir;
    if (from != NULL) {
        (void)snprintf(bootstrap, sizeof bootstrap, "127.0.0.1:%u",
                       covim_node_dht_port(from->node));
        c.bootstrap = names;
        c.n_bootstrap = 1;
        c.no_bootstrap = false;
    }
    if (covim_node_new(&s->node, &c, why, sizeof why) != COVIM_OK) {
        print_error("%s\n", why);
        REQUIRE(false);
    }
}

static void finish(struct side *s)
{
    char path[128];

    covim_node_free(s->node);
    (void)snprintf(path, sizeof path, "%s/identity", s->dir);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/dht", s->dir);
    (void)unlink(path);
    (void)rmdir(s->dir);
    memset(s, 0, sizeof *s);
}

static void connect_with(const struct covim_events *listener,
                         const struct covim_events *dialler)
{
    char key[COVIM_KEY_TEXT], why[256];

    start(&a, "Ann", NULL);
    start(&b, "Bob", &a);
    REQUIRE(covim_listen(&a.place, a.node, NULL, listener, &a) == COVIM_OK);
    covim_place_key(a.place, key);
    REQUIRE(covim_dial(&b.place, b.node, key, dialler, &b, why, sizeof why) ==
            COVIM_OK);
}

static void connect(const struct covim_events *listener)
{
    connect_with(listener, &plain);
}

static void on_done(void *user)
{
    struct side *s = user;

    s->done++;
    s->place = NULL;
}

TEST(a_guest_is_asked_for_accepted_and_echoed)
{
    const char *words = "to be or not to be";
    covim_stream *s;

    connect(&asking);
    UNTIL(30, a.asked == 1);
    CHECK_STR(covim_peer_name(a.peer), "Bob");
    CHECK_MEM(covim_peer_identity(a.peer), covim_node_identity(b.node),
              COVIM_KEY_LEN);
    CHECK_EQ(covim_stream_open(&s, a.peer), COVIM_ERR_INVALID);
    UNTIL(5, b.state == COVIM_WAITING);
    CHECK_EQ(covim_accept(a.peer), COVIM_OK);
    UNTIL(5, a.established == 1 && b.established == 1);
    CHECK_MEM(covim_peer_identity(b.peer), covim_node_identity(a.node),
              COVIM_KEY_LEN);
    UNTIL(5, a.state == COVIM_CONNECTED && b.state == COVIM_CONNECTED);
    UNTIL(5, a.path == COVIM_PATH_LAN && b.path == COVIM_PATH_LAN);
    a.echo = true;
    CHECK_EQ(covim_stream_open(&s, b.peer), COVIM_OK);
    covim_stream_set_events(s, &stream_events, &b);
    CHECK_EQ(covim_stream_send(s, words, strlen(words)), COVIM_OK);
    covim_stream_finish(s);
    UNTIL(5, b.fin && b.ends == 1 && a.ends == 1);
    CHECK_EQ(b.got, strlen(words));
    CHECK_EQ(a.sum, b.sum);
    CHECK_EQ(b.err, COVIM_OK);
    UNTIL(5, (covim_datagram(b.peer, "ping", 4), a.datagrams > 0));
    CHECK_EQ(covim_datagram(b.peer, "ping", COVIM_DATAGRAM_MAX + 1),
             COVIM_ERR_LIMIT);
    covim_close(b.place, on_done, &b);
    UNTIL(3, b.done == 1 && a.closed == 1);
    CHECK_EQ(a.err, COVIM_OK);
    UNTIL(3, a.state == COVIM_LISTENING);
    covim_close(a.place, on_done, &a);
    UNTIL(3, a.done == 1);
    finish(&b);
    finish(&a);
}

#define BULK (8u << 20)

/* Fill the stream until it says to wait. */
static void on_writable(void *user, covim_stream *stream)
{
    static uint8_t block[50000];
    struct side *s = user;
    size_t n;

    while (s->sent < BULK) {
        n = BULK - s->sent < sizeof block ? BULK - s->sent : sizeof block;
        if (covim_stream_send(stream, block, n) != COVIM_OK)
            return;
        s->sent += n;
    }
    covim_stream_finish(stream);
}

TEST(back_pressure_reaches_the_sender_and_nothing_is_lost)
{
    covim_stream *s;
    long long at;

    connect(&plain);
    a.paused = true;
    UNTIL(30, a.established == 1 && b.established == 1);
    CHECK_EQ(a.asked, 0);
    CHECK_EQ(covim_stream_open(&s, b.peer), COVIM_OK);
    covim_stream_set_events(s, &stream_events, &b);
    on_writable(&b, s);
    CHECK(b.sent < BULK);
    UNTIL(5, a.stream != NULL);
    at = now_ms();
    UNTIL(5, now_ms() > at + 500);
    CHECK(b.sent < BULK); /* nobody reads */
    CHECK_EQ(a.got, 0);
    covim_stream_pause(a.stream, false);
    UNTIL(60, a.fin);
    CHECK_EQ(a.got, BULK);
    finish(&b);
    finish(&a);
}

TEST(a_guest_that_vanishes_is_told_and_a_refused_one_ends)
{
    connect(&asking);
    UNTIL(30, a.asked == 1);
    CHECK_EQ(covim_reject(a.peer, "closed today"), COVIM_OK);
    UNTIL(5, b.state == COVIM_ENDED && a.closed == 1);
    CHECK(strstr(b.stage, "closed today") != NULL);
    CHECK_EQ(b.established, 0);
    finish(&b);
    finish(&a);
}

TEST(a_stream_may_be_there_before_the_guest_is)
{
    connect_with(&asking, &early);
    a.echo = true;
    UNTIL(30, a.asked == 1 && b.opened == 1);
    CHECK_EQ(a.got, 0);
    CHECK_EQ(b.established, 0);
    CHECK_EQ(covim_accept(a.peer), COVIM_OK);
    UNTIL(5, b.fin && b.ends == 1);
    CHECK_EQ(a.got, 5);
    CHECK_EQ(b.got, 5);
    CHECK_EQ(b.established, 1);
    finish(&b);
    finish(&a);
}

TEST(an_early_stream_of_a_refused_guest_ends_with_him)
{
    connect_with(&asking, &early);
    UNTIL(30, a.asked == 1 && b.opened == 1);
    CHECK_EQ(covim_reject(a.peer, "closed today"), COVIM_OK);
    UNTIL(5, b.ends == 1 && b.closed == 1 && b.state == COVIM_ENDED);
    CHECK_EQ(a.got, 0);
    CHECK_EQ(b.got, 0);
    CHECK_EQ(b.established, 0);
    finish(&b);
    finish(&a);
}

TEST(keys_are_kept_and_mistyped_ones_refused)
{
    const uint8_t secret[32] = {1, 2, 3};
    char one[COVIM_KEY_TEXT], two[COVIM_KEY_TEXT], why[256];

    start(&a, "Ann", NULL);
    CHECK_EQ(covim_listen(&a.place, a.node, secret, &plain, &a), COVIM_OK);
    covim_place_key(a.place, one);
    covim_close(a.place, on_done, &a);
    UNTIL(3, a.done == 1);
    CHECK_EQ(covim_listen(&a.place, a.node, secret, &plain, &a), COVIM_OK);
    covim_place_key(a.place, two);
    CHECK_STR(one, two);
    two[20] = two[20] == 'q' ? 'p' : 'q';
    CHECK_EQ(covim_dial(&b.place, a.node, two, &plain, &b, why, sizeof why),
             COVIM_ERR_FORMAT);
    CHECK(why[0] != '\0');
    CHECK_STR(covim_strerror(COVIM_ERR_FORMAT), "malformed data");
    finish(&a);
}

static void stop_it(void *user)
{
    covim_stop(user);
}

TEST(run_ends_with_stop)
{
    start(&a, "Ann", NULL);
    CHECK_EQ(covim_post(a.node, stop_it, a.node), COVIM_OK);
    covim_run(a.node);
    finish(&a);
}

RUN_TESTS(T(a_guest_is_asked_for_accepted_and_echoed),
          T(back_pressure_reaches_the_sender_and_nothing_is_lost),
          T(a_guest_that_vanishes_is_told_and_a_refused_one_ends),
          T(a_stream_may_be_there_before_the_guest_is),
          T(an_early_stream_of_a_refused_guest_ends_with_him),
          T(keys_are_kept_and_mistyped_ones_refused), T(run_ends_with_stop))
