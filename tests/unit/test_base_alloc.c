/* Every allocation of base/ is made to fail once: nothing crashes, leaks or
 * half succeeds. */
#include "base/cert.h"
#include "base/loop.h"
#include "tests/test.h"
#include "tests/unit/nomem.h"

#include <fcntl.h>
#include <unistd.h>

char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

/* Run `scenario` with its first allocation failing, then its second, and so
 * on until it needs no more; each but the last must say CV_ERR_NOMEM.  Returns
 * how many there were. */
static int fail_each(int (*scenario)(void))
{
    for (int k = 0;; k++) {
        int err;

        arm((unsigned long)k + 1);
        err = scenario();
        if (!disarm()) {
            REQUIRE(err == CV_OK);
            return k;
        }
        if (err != CV_ERR_NOMEM)
            print_error("allocation %d: %d\n", k, err);
        REQUIRE(err == CV_ERR_NOMEM);
    }
}

static int write_much(void)
{
    struct cv_writer w;
    int err;

    cv_writer_init_heap(&w, 100000);
    for (int i = 0; i < 20000; i++)
        cv_put_u32(&w, (uint32_t)i);
    err = w.err;
    REQUIRE(err != CV_OK || w.len == 80000);
    cv_writer_fini(&w);
    return err;
}

static struct cv_keypair key;

static int sign_and_verify(void)
{
    struct cv_bytes parts[] = {CV_LITERAL("a"), CV_LITERAL("b")};
    uint8_t sig[CV_SIG_LEN];
    int err = cv_sign(sig, &key, parts, 2);

    return err != CV_OK ? err : cv_verify(&key.pub, sig, parts, 2);
}

static int grant(void)
{
    struct cv_grants g;
    enum cv_role role;
    uint8_t flags;
    int err = cv_grants_issue(&g, NULL, &key.pub, &key, &key.pub, CV_ROLE_HOST,
                              CV_GRANT_ADMIT, 100, &cv_rng_system);

    if (err != CV_OK)
        return err;
    return cv_grants_verify(&g, &key.pub, &key.pub, 100, &role, &flags);
}

static void nothing(void *user)
{
    (void)user;
}

static void on_fd(void *user, unsigned ready)
{
    (void)user;
    (void)ready;
}

static void on_addrs(void *user, int err, const struct cv_addr *addrs,
                     unsigned n)
{
    (void)addrs;
    (void)n;
    *(int *)user = err;
}

static int use_loop(void)
{
    struct cv_loop *loop = NULL;
    struct cv_timer *timer = NULL;
    struct cv_watch *watch = NULL;
    struct cv_signal *sig = NULL;
    struct cv_resolve *literal, *name;
    int err, answered = 1, named = 1;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    err = cv_loop_new(&loop);
    if (err == CV_OK)
        err = cv_timer_new(&timer, loop, nothing, NULL);
    if (err == CV_OK)
        err = cv_watch_new(&watch, loop, fd, CV_WATCH_READ, on_fd, NULL);
    if (err == CV_OK)
        err = cv_signal_new(&sig, loop, 10, nothing, NULL);
    if (err == CV_OK)
        err = cv_loop_post(loop, nothing, NULL);
    if (err == CV_OK)
        err = cv_loop_work(loop, nothing, nothing, NULL);
    if (err == CV_OK)
        err =
            cv_resolve_new(&literal, loop, "192.0.2.1", 1, on_addrs, &answered);
    if (err == CV_OK)
        err = cv_resolve_new(&name, loop, "localhost", 1, on_addrs, &named);
    for (int i = 0; err == CV_OK && (answered == 1 || named == 1) && i < 100;
         i++)
        cv_loop_once(loop, cv_time_now() + 100 * CV_MILLISECOND);
    REQUIRE(err != CV_OK || (answered == CV_OK && named == CV_OK));
    cv_timer_free(timer);
    cv_watch_free(watch);
    cv_signal_free(sig);
    cv_loop_free(loop);
    close(fd);
    return err;
}

static char root[64];

static int load_identity(void)
{
    struct cv_keypair loaded;
    char path[128], dir[80], why[256];
    int err;

    snprintf(dir, sizeof(dir), "%s/data", root);
    snprintf(path, sizeof(path), "%s/identity", dir);
    err = cv_identity_load(&loaded, path, why, sizeof(why));
    REQUIRE((err == CV_OK) == (why[0] == '\0'));
    unlink(path);
    rmdir(dir); /* fails if anything was left in it */
    REQUIRE(access(dir, F_OK) < 0);
    return err;
}

TEST(writers_fail_cleanly)
{
    CHECK(fail_each(write_much) >= 5);
}

TEST(signatures_and_grants_fail_cleanly)
{
    CHECK_EQ(cv_keypair_generate(&key, &cv_rng_system), CV_OK);
    CHECK_EQ(fail_each(sign_and_verify), 2);
    CHECK(fail_each(grant) >= 2);
}

TEST(the_loop_fails_cleanly)
{
    CHECK(fail_each(use_loop) >= 8);
}

TEST(the_identity_fails_cleanly)
{
    snprintf(root, sizeof(root), "/tmp/covim-alloc-XXXXXX");
    REQUIRE(mkdtemp(root) != NULL);
    CHECK(fail_each(load_identity) >= 1);
    REQUIRE(rmdir(root) == 0);
}

RUN_TESTS(T(writers_fail_cleanly), T(signatures_and_grants_fail_cleanly),
          T(the_loop_fails_cleanly), T(the_identity_fails_cleanly))
