/* What finding a peer costs, over real OpenDHT nodes on loopback: an idle
 * sharer (memory, processor) with eight nodes about, and the times from a cold
 * start to the pointer and from the knock to the answer.
 *
 * bench_discovery [SECONDS]: how long it idles, 60 if not given. */
#include "tests/unit/discovery_live.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODES 8
#define JOINS 10

static struct live host, guest;

static void report(const char *name, const char *metric, double value)
{
    printf("{\"bench\": \"discovery\", \"case\": \"%s\", \"metric\": \"%s\", "
           "\"value\": %.3f}\n",
           name, metric, value);
    fprintf(stderr, "%-24s %-20s %10.3f\n", name, metric, value);
    fflush(stdout);
}

static double vm_rss_mb(void)
{
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = strtod(line + 6, NULL);
    }
    if (f != NULL)
        fclose(f);
    return kb / 1024;
}

static double cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void idle(struct cv_loop *loop, cv_time time)
{
    const cv_time end = cv_loop_now(loop) + time;

    while (cv_loop_now(loop) < end)
        cv_loop_once(loop, end);
}

/* A sharer that publishes, searches and serves its inbox; in a process of its
 * own, so that the figures are its own. */
static int sharer(uint16_t boot, unsigned seconds, int out, int in)
{
    const struct cv_keypair session = kit_keypair(88);
    struct cv_loop *loop;
    double cpu;
    char byte = 0;

    if (cv_loop_new(&loop) != CV_OK)
        return 1;
    live_open(&host, loop, &session, 10, boot, false);
    live_share(&host, &session);
    cv_rendezvous_search(host.rv, true);
    live_step(&host);
    if (!live_wait(loop, &host.stages[CV_RV_PUBLISHED], 1, 30 * CV_SECOND))
        return 1;
    idle(loop, 10 * CV_SECOND);
    cpu = cpu_seconds();
    idle(loop, seconds * CV_SECOND);
    report("idle sharer, 8 nodes", "cpu_pct",
           (cpu_seconds() - cpu) / seconds * 100);
    report("idle sharer, 8 nodes", "rss_mb", vm_rss_mb());
    if (write(out, &byte, 1) != 1)
        return 1;
    /* Now it is joined, until the other end is closed. */
    for (;;) {
        fd_set fds;
        struct timeval tv = {0, 0};

        FD_ZERO(&fds);
        FD_SET(in, &fds);
        if (select(in + 1, &fds, NULL, NULL, &tv) > 0)
            break;
        idle(loop, 5 * CV_MILLISECOND);
    }
    live_close(&host);
    cv_loop_free(loop);
    return 0;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void join(struct cv_loop *loop, uint16_t boot, const char *persist,
                 double *found, double *answered)
{
    const struct cv_keypair session = kit_keypair(88);
    const struct kit_person sharer_is = kit_person(10);
    const struct cv_candidates own = kit_candidates(3);
    static uint8_t who = 100;
    struct cv_contact contact;
    cv_time began = cv_loop_now(loop);

    live_open_with(&guest, loop, &session, who, boot, false, persist);
    who = (uint8_t)(who + 2);
    cv_rendezvous_search(guest.rv, true);
    live_step(&guest);
    REQUIRE(live_wait(loop, &guest.n_pointers, 1, 30 * CV_SECOND));
    *found = live_ms(loop, began);
    began = cv_loop_now(loop);
    REQUIRE(cv_rendezvous_knock(guest.rv, &sharer_is.node.pub, "Ada", NULL,
                                &own, &contact) == CV_OK);
    live_step(&guest);
    REQUIRE(live_wait(loop, &guest.n_answers, 1, 30 * CV_SECOND));
    *answered = live_ms(loop, began);
    live_close(&guest);
}

static void joins(struct cv_loop *loop, uint16_t boot, const char *persist,
                  const char *name)
{
    double found[JOINS], answered[JOINS];

    for (unsigned i = 0; i < JOINS; i++)
        join(loop, boot, persist, &found[i], &answered[i]);
    qsort(found, JOINS, sizeof(found[0]), by_value);
    qsort(answered, JOINS, sizeof(answered[0]), by_value);
    report(name, "found_ms_median", found[JOINS / 2]);
    report(name, "found_ms_max", found[JOINS - 1]);
    report(name, "answered_ms_median", answered[JOINS / 2]);
    report(name, "answered_ms_max", answered[JOINS - 1]);
}

int main(int argc, char **argv)
{
    const unsigned seconds =
        argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 60;
    char dir[] = "/tmp/covim-bench-XXXXXX", persist[64];
    struct cv_dht *nodes[NODES];
    struct cv_loop *loop;
    char where[32], byte;
    const char *list[] = {where};
    int up[2], down[2], status;
    uint16_t port;
    pid_t pid;

    if (pipe(up) != 0 || pipe(down) != 0)
        return 1;
    /* The child is made before there are threads; it is told the port. */
    pid = fork();
    if (pid == 0) {
        close(up[0]);
        close(down[1]);
        if (read(down[0], &port, sizeof(port)) != sizeof(port))
            _exit(1);
        _exit(sharer(port, seconds > 0 ? seconds : 1, up[1], down[0]));
    }
    close(up[1]);
    close(down[0]);
    if (pid < 0 || cv_loop_new(&loop) != CV_OK)
        return 1;
    for (unsigned i = 0; i < NODES; i++) {
        struct cv_dht_config config = {
            .loop = loop, .bootstrap = list, .n_bootstrap = i > 0};

        if (i > 0)
            snprintf(where, sizeof(where), "127.0.0.1:%u",
                     cv_dht_port(nodes[0]));
        REQUIRE(cv_dht_open(&nodes[i], &config) == CV_OK);
    }
    idle(loop, 2 * CV_SECOND);
    port = cv_dht_port(nodes[0]);
    if (write(down[1], &port, sizeof(port)) != sizeof(port))
        return 1;
    for (;;) {
        fd_set fds;
        struct timeval tv = {0, 0};

        FD_ZERO(&fds);
        FD_SET(up[0], &fds);
        if (select(up[0] + 1, &fds, NULL, NULL, &tv) > 0)
            break;
        idle(loop, 100 * CV_MILLISECOND);
    }
    if (read(up[0], &byte, 1) != 1)
        return 1;
    REQUIRE(mkdtemp(dir) != NULL);
    snprintf(persist, sizeof(persist), "%s/nodes", dir);
    /* The same user again and again, whose node keeps its id and port; then
     * always another one, who leaves a dead node behind. */
    joins(loop, port, persist, "joined by one user");
    joins(loop, port, NULL, "joined by strangers");
    for (unsigned i = 0; i < 3; i++) {
        static const char *const suffix[] = {"", ".lock", "_port.txt"};
        char name[96];

        snprintf(name, sizeof(name), "%s%s", persist, suffix[i]);
        unlink(name);
    }
    rmdir(dir);
    close(down[1]);
    waitpid(pid, &status, 0);
    for (unsigned i = NODES; i-- > 0;)
        cv_dht_close(nodes[i], 100);
    cv_loop_free(loop);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
