/* Real OpenDHT nodes on the loopback interface. */
#include "tests/test.h"
#include "tests/unit/dht_wait.h"

#include "base/crypto.h"

#include <sys/resource.h>
#include <unistd.h>

struct got {
    unsigned values;
    unsigned dones;
    bool ok;
    cv_time first;
    size_t len;
    uint8_t data[CV_DHT_VALUE_MAX];
    struct cv_dht *cancel_on; /* cancel this token in the callback */
    cv_dht_token token;
};

static struct cv_loop *loop;
static unsigned states[3];

static void on_value(void *user, struct cv_bytes value)
{
    struct got *g = user;

    if (g->values++ == 0)
        g->first = cv_loop_now(loop);
    g->len = value.len;
    memcpy(g->data, value.data, value.len);
    if (g->cancel_on != NULL)
        g->cancel_on->ops->cancel(g->cancel_on, g->token);
}

static void on_done(void *user, bool ok)
{
    struct got *g = user;

    g->dones++;
    g->ok = ok;
}

static void on_state(void *user, enum cv_dht_state state)
{
    (void)user;
    states[state]++;
}

static void wait_ms(unsigned ms)
{
    const cv_time end = cv_loop_now(loop) + ms * CV_MILLISECOND;

    while (cv_loop_now(loop) < end)
        cv_loop_once(loop, end);
}

static struct cv_dht *node(const struct cv_dht *bootstrap)
{
    char where[32];
    const char *list[] = {where};
    struct cv_dht_config config = {.loop = loop, .state = on_state};
    struct cv_dht *dht = NULL;

    if (bootstrap != NULL) {
        snprintf(where, sizeof(where), "127.0.0.1:%u", cv_dht_port(bootstrap));
        config.bootstrap = list;
        config.n_bootstrap = 1;
    }
    REQUIRE(cv_dht_open(&dht, &config) == CV_OK);
    REQUIRE(cv_dht_port(dht) != 0);
    return dht;
}

static struct cv_loc random_loc(void)
{
    struct cv_loc loc;

    cv_random(&cv_rng_system, loc.b, sizeof(loc.b));
    return loc;
}

TEST(three_nodes_put_get_and_listen)
{
    struct cv_dht *a, *b, *c;
    struct got put = {0}, get = {0}, heard = {0}, early = {0};
    struct cv_loc loc = random_loc();
    cv_dht_token t;
    cv_time began;

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    a = node(NULL);
    b = node(a);
    c = node(a);
    CHECK(live_wait_state(loop, b, CV_DHT_CONNECTED, 5 * CV_SECOND));
    CHECK(live_wait_state(loop, c, CV_DHT_CONNECTED, 5 * CV_SECOND));
    CHECK(live_wait_state(loop, a, CV_DHT_CONNECTED, 5 * CV_SECOND));
    CHECK(states[CV_DHT_CONNECTED] >= 3);

    t = c->ops->listen(c, &loc, on_value, &early);
    CHECK(t != 0);
    wait_ms(300);
    began = cv_loop_now(loop);
    CHECK(b->ops->put(b, &loc, CV_LITERAL("hello"), on_done, &put) != 0);
    CHECK(live_wait(loop, &early.values, 1, 5 * CV_SECOND));
    CHECK_EQ(early.len, 5);
    CHECK_MEM(early.data, "hello", 5);
    CHECK(live_wait(loop, &put.dones, 1, 10 * CV_SECOND));
    CHECK(put.ok);
    print_message("put to listen %.0f ms\n",
                  (double)(early.first - began) / CV_MILLISECOND);

    began = cv_loop_now(loop);
    CHECK(a->ops->get(a, &loc, on_value, on_done, &get) != 0);
    CHECK(live_wait(loop, &get.dones, 1, 5 * CV_SECOND));
    CHECK(get.ok);
    CHECK_EQ(get.values, 1);
    /* One who listens later hears what is there. */
    CHECK(a->ops->listen(a, &loc, on_value, &heard) != 0);
    CHECK(live_wait(loop, &heard.values, 1, 5 * CV_SECOND));

    /* Nothing after it was cancelled. */
    c->ops->cancel(c, t);
    c->ops->cancel(c, t);
    CHECK(b->ops->put(b, &loc, CV_LITERAL("again"), NULL, NULL) != 0);
    CHECK(live_wait(loop, &heard.values, 2, 5 * CV_SECOND));
    wait_ms(500);
    CHECK_EQ(early.values, 1);

    /* Our own value comes back once others hold it. */
    get = (struct got){0};
    CHECK(b->ops->get(b, &loc, on_value, on_done, &get) != 0);
    CHECK(live_wait(loop, &get.values, 2, 5 * CV_SECOND));

    cv_dht_close(c, 500);
    cv_dht_close(b, 500);
    cv_dht_close(a, 500);
    cv_loop_free(loop);
}

TEST(a_lone_node_does_not_take_its_own_copy_for_the_network)
{
    struct cv_dht *a, *b;
    struct got put = {0}, get = {0};
    struct cv_loc loc = random_loc();

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    a = node(NULL);
    CHECK(a->ops->put(a, &loc, CV_LITERAL("mine"), on_done, &put) != 0);
    CHECK(a->ops->get(a, &loc, on_value, on_done, &get) != 0);
    CHECK(live_wait(loop, &get.dones, 1, 20 * CV_SECOND));
    CHECK_EQ(get.values, 0);
    CHECK_EQ(put.dones, 0);
    /* When somebody comes, the put goes out by itself. */
    b = node(a);
    CHECK(live_wait(loop, &put.dones, 1, 15 * CV_SECOND));
    CHECK(put.ok);
    get = (struct got){0};
    CHECK(b->ops->get(b, &loc, on_value, on_done, &get) != 0);
    CHECK(live_wait(loop, &get.values, 1, 5 * CV_SECOND));
    cv_dht_close(b, 200);
    cv_dht_close(a, 200);
    cv_loop_free(loop);
}

TEST(without_anybody_it_says_so_and_closes_quickly)
{
    struct cv_dht *a;
    cv_time began;

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    a = node(NULL);
    CHECK_EQ(cv_dht_state(a), CV_DHT_CONNECTING);
    CHECK(live_wait_state(loop, a, CV_DHT_DISCONNECTED, 20 * CV_SECOND));
    began = cv_loop_now(loop);
    cv_dht_close(a, 1000);
    CHECK(cv_loop_now(loop) - began < 2 * CV_SECOND);
    cv_loop_free(loop);
}

TEST(a_new_runner_takes_over_with_everything_that_was_asked_for)
{
    struct cv_dht *a, *b;
    struct got heard = {0}, put = {0};
    struct cv_loc loc = random_loc();
    uint16_t port;

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    a = node(NULL);
    port = cv_dht_port(a);
    CHECK(a->ops->listen(a, &loc, on_value, &heard) != 0);
    CHECK(live_wait_state(loop, a, CV_DHT_DISCONNECTED, 20 * CV_SECOND));
    cv_dht_network_changed(a); /* asks for a new runner */
    wait_ms(700);
    CHECK_EQ(cv_dht_port(a), port);
    b = node(a);
    CHECK(live_wait_state(loop, b, CV_DHT_CONNECTED, 10 * CV_SECOND));
    CHECK(b->ops->put(b, &loc, CV_LITERAL("found"), on_done, &put) != 0);
    CHECK(live_wait(loop, &heard.values, 1, 10 * CV_SECOND));
    CHECK(live_wait_state(loop, a, CV_DHT_CONNECTED, 10 * CV_SECOND));
    cv_dht_close(b, 100);
    cv_dht_close(a, 100);
    /* Closing in the middle of a change is safe too. */
    a = node(NULL);
    CHECK(live_wait_state(loop, a, CV_DHT_DISCONNECTED, 20 * CV_SECOND));
    cv_dht_network_changed(a);
    cv_dht_close(a, 100);
    cv_loop_free(loop);
}

/* No descriptor is left when the network changes. */
TEST(a_runner_that_cannot_begin_is_said_and_tried_again)
{
    struct cv_dht *a, *b;
    struct rlimit limit, none;
    bool said;

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    a = node(NULL);
    b = node(a);
    CHECK(live_wait_state(loop, b, CV_DHT_CONNECTED, 10 * CV_SECOND));
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    cv_dht_network_changed(b);
    said = live_wait_state(loop, b, CV_DHT_DISCONNECTED, 20 * CV_SECOND);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK(said);
    cv_dht_network_changed(b);
    CHECK(live_wait_state(loop, b, CV_DHT_CONNECTED, 20 * CV_SECOND));
    cv_dht_close(b, 100);
    cv_dht_close(a, 100);
    cv_loop_free(loop);
}

TEST(a_get_is_bounded_and_large_values_are_not_passed_on)
{
    struct cv_dht *a, *b;
    struct got put = {0}, get = {0};
    struct cv_loc loc = random_loc();
    static uint8_t value[CV_DHT_VALUE_MAX + 1];

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    a = node(NULL);
    b = node(a);
    CHECK(live_wait_state(loop, b, CV_DHT_CONNECTED, 5 * CV_SECOND));
    CHECK_EQ(b->ops->put(b, &loc, CV_BYTES(value, sizeof(value)), NULL, NULL),
             0);
    CHECK_EQ(b->ops->put(b, &loc, CV_BYTES(value, 0), NULL, NULL), 0);
    for (unsigned i = 0; i < 100; i++) {
        memset(value, (int)i, 400);
        CHECK(b->ops->put(b, &loc, CV_BYTES(value, 400), on_done, &put) != 0);
    }
    CHECK(live_wait(loop, &put.dones, 100, 30 * CV_SECOND));
    CHECK(a->ops->get(a, &loc, on_value, on_done, &get) != 0);
    CHECK(live_wait(loop, &get.dones, 1, 20 * CV_SECOND));
    /* What came twice counts, too. */
    CHECK(get.values <= CV_DHT_GET_VALUES &&
          get.values >= CV_DHT_GET_VALUES / 2);
    /* A callback may cancel its own operation. */
    get = (struct got){.cancel_on = a};
    get.token = a->ops->get(a, &loc, on_value, on_done, &get);
    CHECK(live_wait(loop, &get.values, 1, 5 * CV_SECOND));
    wait_ms(200);
    CHECK_EQ(get.values, 1);
    CHECK_EQ(get.dones, 0);
    cv_dht_close(b, 100);
    cv_dht_close(a, 100);
    cv_loop_free(loop);
}

TEST(bad_bootstrap_nodes_and_taken_ports_are_refused)
{
    const char *bad[] = {"host:99999"};
    struct cv_dht_config config = {.bootstrap = bad, .n_bootstrap = 1};
    struct cv_dht *a, *b = NULL;

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    config.loop = loop;
    CHECK_EQ(cv_dht_open(&b, &config), CV_ERR_INVALID);
    CHECK(b == NULL);
    a = node(NULL);
    config = (struct cv_dht_config){.loop = loop, .port = cv_dht_port(a)};
    CHECK_EQ(cv_dht_open(&b, &config), CV_ERR_BUSY);
    CHECK(b == NULL);
    cv_dht_close(a, 100);
    cv_dht_close(NULL, 100);
    cv_loop_free(loop);
}

TEST(the_node_cache_is_of_one_process_at_a_time)
{
    char dir[] = "/tmp/covim-test-XXXXXX", path[64], lock[80], port[80];
    struct cv_dht_config config = {0};
    struct cv_dht *a = NULL, *b = NULL, *boot;
    char where[32];
    const char *list[] = {where};

    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/nodes", dir);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    snprintf(port, sizeof(port), "%s_port.txt", path);
    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    boot = node(NULL);
    snprintf(where, sizeof(where), "127.0.0.1:%u", cv_dht_port(boot));
    config = (struct cv_dht_config){.loop = loop,
                                    .persist_path = path,
                                    .bootstrap = list,
                                    .n_bootstrap = 1};
    CHECK_EQ(cv_dht_open(&a, &config), CV_OK);
    CHECK_EQ(cv_dht_open(&b, &config), CV_OK); /* without the file */
    CHECK(live_wait_state(loop, a, CV_DHT_CONNECTED, 5 * CV_SECOND));
    CHECK(live_wait_state(loop, b, CV_DHT_CONNECTED, 5 * CV_SECOND));
    cv_dht_close(b, 500);
    cv_dht_close(a, 1000);
    CHECK_EQ(access(path, R_OK), 0);
    /* What was remembered is enough to come back. */
    config.n_bootstrap = 0;
    CHECK_EQ(cv_dht_open(&a, &config), CV_OK);
    CHECK(live_wait_state(loop, a, CV_DHT_CONNECTED, 15 * CV_SECOND));
    cv_dht_close(a, 500);
    cv_dht_close(boot, 500);
    cv_loop_free(loop);
    unlink(path);
    unlink(lock);
    unlink(port);
    CHECK_EQ(rmdir(dir), 0);
}

TEST(two_agents_of_one_user_find_each_other_through_a_folder)
{
    char dir[] = "/tmp/covim-test-XXXXXX";
    struct cv_dht_config config = {.neighbours = dir};
    struct cv_dht *a = NULL, *b = NULL;
    struct got heard = {0};
    struct cv_loc loc = random_loc();

    CHECK(mkdtemp(dir) != NULL);
    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    config.loop = loop;
    CHECK_EQ(cv_dht_open(&a, &config), CV_OK);
    CHECK(a->ops->listen(a, &loc, on_value, &heard) != 0);
    CHECK_EQ(cv_dht_open(&b, &config), CV_OK);
    CHECK(live_wait_state(loop, b, CV_DHT_CONNECTED, 5 * CV_SECOND));
    CHECK(b->ops->put(b, &loc, CV_LITERAL("here"), NULL, NULL) != 0);
    CHECK(live_wait(loop, &heard.values, 1, 5 * CV_SECOND));
    cv_dht_close(b, 100);
    cv_dht_close(a, 100);
    cv_loop_free(loop);
    CHECK_EQ(rmdir(dir), 0); /* each took its file away */
}

/* Standard output belongs to the editor. */
TEST(it_writes_nothing_to_standard_output)
{
    char name[] = "/tmp/covim-test-XXXXXX";
    const char *nowhere[] = {"127.0.0.1:1", "no.such.name.invalid"};
    struct cv_dht_config config = {.bootstrap = nowhere, .n_bootstrap = 2};
    struct got got = {0};
    struct cv_loc loc = random_loc();
    const int saved = dup(STDOUT_FILENO), file = mkstemp(name);
    struct cv_dht *a = NULL;
    off_t written;

    CHECK(saved >= 0 && file >= 0);
    unlink(name);
    fflush(stdout);
    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    CHECK(dup2(file, STDOUT_FILENO) >= 0);
    config.loop = loop;
    if (cv_dht_open(&a, &config) == CV_OK) {
        a->ops->put(a, &loc, CV_LITERAL("x"), on_done, &got);
        a->ops->get(a, &loc, on_value, on_done, &got);
        a->ops->listen(a, &loc, on_value, &got);
        wait_ms(1500);
    }
    cv_dht_close(a, 200);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    written = lseek(file, 0, SEEK_END);
    close(saved);
    close(file);
    cv_loop_free(loop);
    CHECK(a != NULL);
    CHECK_EQ(written, 0);
}

RUN_TESTS(T(three_nodes_put_get_and_listen),
          T(a_lone_node_does_not_take_its_own_copy_for_the_network),
          T(without_anybody_it_says_so_and_closes_quickly),
          T(a_new_runner_takes_over_with_everything_that_was_asked_for),
          T(a_runner_that_cannot_begin_is_said_and_tried_again),
          T(a_get_is_bounded_and_large_values_are_not_passed_on),
          T(bad_bootstrap_nodes_and_taken_ports_are_refused),
          T(the_node_cache_is_of_one_process_at_a_time),
          T(two_agents_of_one_user_find_each_other_through_a_folder),
          T(it_writes_nothing_to_standard_output))
