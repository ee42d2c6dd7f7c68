/* Two agents meet without any bootstrap node:
 *
 *     one machine                     one LAN
 *     +----------------+              +---------+          +---------+
 *     | host   guest   |              |  host   | 10.9.0/24 |  guest  |
 *     |       d0       |              |   va ---+----------+--- vb   |
 *     +----------------+              +---------+          +---------+
 *
 * in network namespaces of their own, so that nobody else's LAN hears it.
 * Without the right to make one it is skipped. */
#include "tests/unit/discovery_live.h"

#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 77

extern char **environ;

static bool run(const char *line)
{
    const char *const argv[] = {"sh", "-c", line, NULL};
    pid_t pid;
    int status;

    if (posix_spawnp(&pid, "sh", NULL, NULL, (char *const *)(uintptr_t)argv,
                     environ) != 0)
        return false;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static struct live host, guest;

/* The guest's half: 0 when it found, knocked and was answered. */
static int join(struct cv_loop *loop, const struct cv_keypair *session,
                const struct cv_key *node)
{
    const struct cv_candidates own = kit_candidates(3);
    struct cv_contact contact;
    cv_time began = cv_loop_now(loop);

    live_open(&guest, loop, session, 20, 0, true);
    cv_rendezvous_search(guest.rv, true);
    live_step(&guest);
    if (!live_wait(loop, &guest.n_pointers, 1, 30 * CV_SECOND))
        return 1;
    printf("cold start to pointer %.0f ms\n", live_ms(loop, began));
    began = cv_loop_now(loop);
    if (cv_rendezvous_knock(guest.rv, node, "Ada", NULL, &own, &contact) !=
        CV_OK)
        return 2;
    live_step(&guest);
    if (!live_wait(loop, &guest.n_answers, 1, 30 * CV_SECOND))
        return 3;
    printf("knock and answer %.0f ms\n", live_ms(loop, began));
    fflush(stdout);
    return 0;
}

TEST(two_agents_on_one_machine_meet_by_themselves)
{
    const struct cv_keypair session = kit_keypair(71);
    struct cv_loop *loop;

    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    live_open(&host, loop, &session, 10, 0, true);
    live_share(&host, &session);
    live_wait(loop, &host.n_left, 1, CV_SECOND); /* it is there for a while */
    CHECK_EQ(join(loop, &session, &host.person.node.pub), 0);
    CHECK_EQ(host.n_knocks, 1);
    live_close(&guest);
    live_close(&host);
    cv_loop_free(loop);
}

/* In the other namespace, after it was told that its interface is there. */
static void other_machine(int go)
{
    const struct cv_keypair session = kit_keypair(72);
    const struct kit_person person = kit_person(10);
    struct cv_loop *loop;
    char byte;

    if (read(go, &byte, 1) != 1 ||
        !run("ip addr add 10.9.0.2/24 dev vb && ip link set lo up && "
             "ip link set vb up && ip route add default dev vb") ||
        cv_loop_new(&loop) != CV_OK)
        _exit(10);
    _exit(join(loop, &session, &person.node.pub));
}

TEST(two_machines_on_one_lan_meet_by_themselves)
{
    const struct cv_keypair session = kit_keypair(72);
    struct cv_loop *loop;
    char line[256], byte = 0;
    int ready[2], go[2], status = -1;
    cv_time end;
    pid_t pid;

    CHECK(pipe(ready) == 0 && pipe(go) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(ready[0]);
        close(go[1]);
        alarm(90);
        if (unshare(CLONE_NEWNET) != 0 || write(ready[1], &byte, 1) != 1)
            _exit(11);
        other_machine(go[0]);
    }
    close(ready[1]);
    close(go[0]);
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    snprintf(line, sizeof(line),
             "ip link add va type veth peer name vb && "
             "ip link set vb netns %d && ip addr add 10.9.0.1/24 dev va && "
             "ip link set va up && ip route replace default dev va",
             (int)pid);
    CHECK(run(line));
    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    live_open(&host, loop, &session, 10, 0, true);
    live_share(&host, &session);
    live_wait(loop, &host.n_left, 1, CV_SECOND);
    CHECK_EQ(write(go[1], &byte, 1), 1);
    end = cv_loop_now(loop) + 80 * CV_SECOND;
    while (waitpid(pid, &status, WNOHANG) == 0 && cv_loop_now(loop) < end)
        cv_loop_once(loop, cv_loop_now(loop) + 50 * CV_MILLISECOND);
    if (cv_loop_now(loop) >= end) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    CHECK_EQ(host.n_knocks, 1);
    live_close(&host);
    cv_loop_free(loop);
    close(ready[0]);
    close(go[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(two_agents_on_one_machine_meet_by_themselves),
        T(two_machines_on_one_lan_meet_by_themselves)};

    if (unshare(CLONE_NEWNET) != 0) {
        printf("skipped: a network namespace needs root\n");
        return SKIPPED;
    }
    if (!run("ip link set lo up && ip link add d0 type veth peer name d1 && "
             "ip addr add 10.8.0.1/24 dev d0 && ip link set d0 up && "
             "ip link set d1 up && ip route add default dev d0")) {
        printf("skipped: `ip` cannot make an interface here\n");
        return SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
