/* What a gate costs and carries, beside coturn; over UDP also beside a bare
 * forwarder, whose cost is that of the kernel alone.
 *
 *     gateload GATE TURNSERVER DIR [quick] [CASE]
 *
 * Starts both on loopback, pinned to the first processor, and loads them from
 * the last one.  What is compared runs in turns.  JSON lines on stdout, a
 * table on stderr. */
#include "tests/bench/gate_flow.h"
#include "tests/bench/gate_regain.h"
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GATE_PORT   17443
#define PLAIN_PORT  17080
#define TURN_PORT   17478
#define ROUNDS      5
#define PAYLOAD     200  /* bytes, of all cases over UDP */
#define PACKET      1200 /* over links: what QUIC sends */
#define FLOODS      3
#define SOAK        64 /* rooms and channels at a time */
#define WINDOW      16 /* link-less requests on their way */
#define MIB         1048576.0
#define REGAIN_MOST 120 /* seconds */

static const char *gate_file, *turn_file, *dir;
static unsigned rounds = ROUNDS;
static double seconds = 1.5, lossless_s = 10;
static bool quick;
static int running[3]; /* what is still to be ended */

static void report(const char *name, const char *metric, double value)
{
    printf("{\"bench\":\"gate\",\"case\":\"%s\",\"metric\":\"%s\","
           "\"value\":%.3f}\n",
           name, metric, value);
    fflush(stdout);
    fprintf(stderr, "%-22s %-28s %12.3f\n", name, metric, value);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, by_size);
    return v[n / 2];
}

/* ---- the servers -------------------------------------------------------- */

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

/* Where we may: what else this machine does is not what is measured. */
static void before_others(void)
{
    FILE *f;

    (void)setpriority(PRIO_PROCESS, 0, -19);
    (void)setsid();
    f = fopen("/proc/self/autogroup", "w");
    if (f) {
        fputs("-19", f);
        fclose(f);
    }
}

/* A relay runs before everything else, for delays and losses; for what it
 * costs it is a process like others. */
static void come_first(int pid, bool first)
{
    struct sched_param param = {.sched_priority = first ? 1 : 0};
    char path[64];
    struct dirent *e;
    DIR *tasks;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    tasks = opendir(path);
    GC_NEED(tasks != NULL);
    while ((e = readdir(tasks)) != NULL)
        if (e->d_name[0] != '.')
            (void)sched_setscheduler(atoi(e->d_name),
                                     first ? SCHED_FIFO : SCHED_OTHER, &param);
    closedir(tasks);
}

/* The child: a relay. */
static void be_relay(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(0);
    (void)setsid();
    (void)setpriority(PRIO_PROCESS, 0, 0);
}

static int start(const char *const argv[])
{
    int pid = fork();

    GC_NEED(pid >= 0);
    if (pid == 0) {
        be_relay();
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

static void stop(int *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        (void)waitpid(*pid, NULL, 0);
    }
    *pid = 0;
}

static void stop_all(void)
{
    stop(&running[0]);
    stop(&running[1]);
    stop(&running[2]);
}

static void await(const struct cv_addr *at, int pid)
{
    for (unsigned i = 0; i < 200; i++) {
        int fd = gc_connect(at, NULL);

        usleep(25000);
        GC_NEED(waitpid(pid, NULL, WNOHANG) == 0);
        if (fd >= 0) {
            close(fd);
            return;
        }
    }
    fprintf(stderr, "the server does not listen within 5 s\n");
    exit(EXIT_FAILURE);
}

/* `source_limits`: as they are by default, else none. */
static int start_gate(struct gc_gate *gate, bool source_limits)
{
    static char key[4096], listen_on[32], plain[32];
    /* clang-format off */
    const char *const argv[] = {
        gate_file, "--listen", listen_on, "--listen-proxied", plain,
        "--metrics", "off", "--key", key, "--log", "warn",
        "--links", "15000", "--clients", "40000",
        "--rate", "4000M", "--burst", "1000M",
        "--rooms-per-client", "60000", "--channels-per-client", "1000",
        source_limits ? NULL : "--links-per-source", "15000",
        "--connects-per-source", "100000", "--rings-per-source", "100000",
        "--asks-per-source", "1000000", NULL};
    /* clang-format on */
    struct cv_gate_name parsed;
    char command[9000], line[512], why[256];
    FILE *f;
    int pid;

    snprintf(key, sizeof key, "%s/key", dir);
    snprintf(listen_on, sizeof listen_on, "127.0.0.1:%d", GATE_PORT);
    snprintf(plain, sizeof plain, "127.0.0.1:%d", PLAIN_PORT);
    snprintf(command, sizeof command,
             "'%s' --key '%s' --name 127.0.0.1:%d --print-name", gate_file, key,
             GATE_PORT);
    f = popen(command, "r");
    GC_NEED(f && fgets(line, sizeof line, f));
    pclose(f);
    line[strcspn(line, "\n")] = '\0';
    GC_NEED(cv_gate_name_parse(&parsed, line, why, sizeof why) == CV_OK);
    gate->key = parsed.key;
    gate->tcp = cv_addr_ipv4(0x7f000001, GATE_PORT);
    gate->plain = cv_addr_ipv4(0x7f000001, PLAIN_PORT);
    if (!gate->ctx)
        GC_NEED(cv_tls_client(&gate->ctx) == CV_OK);
    pid = running[0] = start(argv);
    await(&gate->tcp, pid);
    return pid;
}

static int start_turn(struct cv_addr *server)
{
    static char port[8], log[4096];
    const char *const argv[] = {turn_file,
                                "-n",
                                "--no-cli",
                                "--no-auth",
                                "--no-tls",
                                "--no-dtls",
                                "--listening-ip=127.0.0.1",
                                "--relay-ip=127.0.0.1",
                                "--allow-loopback-peers",
                                "-m",
                                "1",
                                "--pidfile=",
                                "--no-software-attribute",
                                "--listening-port",
                                port,
                                log,
                                "--simple-log",
                                NULL};
    int pid;

    snprintf(port, sizeof port, "%d", TURN_PORT);
    snprintf(log, sizeof log, "--log-file=%s/turn.log", dir);
    *server = cv_addr_ipv4(0x7f000001, TURN_PORT);
    pid = running[1] = start(argv);
    await(server, pid);
    return pid;
}

static int start_bare(struct gf_flow *flow)
{
    struct cv_addr to;
    int fd = gf_bare(flow, &to), pid = fork();

    GC_NEED(pid >= 0);
    if (pid == 0) {
        be_relay();
        gf_forward(fd, &to);
    }
    close(fd);
    return running[2] = pid;
}

/* ---- over UDP ----------------------------------------------------------- */

#define SIDES       3
#define UDP_SECONDS 0.8 /* of a round of one side */

/* All, in turns. */
struct pair {
    struct gf_flow flow[SIDES]; /* gate, coturn, nothing but the kernel */
    int pid[SIDES];
};

static double per_packet(const struct gf_result *r)
{
    GC_NEED(r->got > 0);
    return r->cpu_us / (double)r->got;
}

static void compare(const struct pair *p, const char *name,
                    const struct gf_load *load, bool delays)
{
    double cost[SIDES][ROUNDS], ratio[ROUNDS];
    double p50[SIDES][ROUNDS], p99[SIDES][ROUNDS];
    const char *who[SIDES] = {"", "_coturn", "_bare"};
    char metric[64];

    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned side = 0; side < SIDES; side++) {
            struct gf_result r = gf_run(&p->flow[side], load, p->pid[side]);

            cost[side][i] = per_packet(&r);
            p50[side][i] = r.p50_ms;
            p99[side][i] = r.p99_ms;
        }
        ratio[i] = cost[0][i] / cost[1][i];
    }
    if (!delays)
        report(name, "cpu_us_per_packet_vs_coturn", median(ratio, rounds));
    for (unsigned side = 0; side < SIDES; side++) {
        snprintf(metric, sizeof metric, "%s%s",
                 delays ? "p50_ms" : "cpu_us_per_packet", who[side]);
        report(name, metric, median(delays ? p50[side] : cost[side], rounds));
        if (!delays) { /* what else this machine does costs caches, too */
            snprintf(metric, sizeof metric, "cpu_us_per_packet_least%s",
                     who[side]);
            report(name, metric, cost[side][0]);
        }
        if (delays) {
            snprintf(metric, sizeof metric, "p99_ms%s", who[side]);
            report(name, metric, median(p99[side], rounds));
        }
    }
}

static bool is_lossless(const struct gf_flow *flow, int pid, double pps,
                        double long_s)
{
    struct gf_load load = {.pps = pps,
                           .burst = 8,
                           .warm_s = long_s > 2 ? 2 : 0.3,
                           .seconds = long_s,
                           .size = PAYLOAD};
    struct gf_result r = gf_run(flow, &load, pid);
    bool fast = (double)r.sent >= 0.98 * pps * r.seconds;

    fprintf(stderr, "  %.0f packets/s for %.0f s: %.0f sent, %lld lost\n", pps,
            r.seconds, (double)r.sent, (long long)(r.sent - r.got));
    return fast && r.sent == r.got;
}

/* The highest rate of these at which nothing is lost for long. */
static double lossless(const struct gf_flow *flow, int pid)
{
    static const double rate[] = {40e3,  60e3,  80e3,  100e3, 120e3, 150e3,
                                  180e3, 210e3, 250e3, 300e3, 350e3, 400e3};
    int at = 0;

    for (int i = 0; i < (int)(sizeof rate / sizeof rate[0]); i++) {
        if (is_lossless(flow, pid, rate[i], 1))
            at = i;
        else if (i > at + 1)
            break;
    }
    /* Each takes long: the same once more, then ever lower ones. */
    for (unsigned tries = 0; at >= 0 && tries < 5; at -= (int)tries++)
        if (is_lossless(flow, pid, rate[at], lossless_s))
            return rate[at];
    return 0;
}

static void over_udp(void)
{
    struct gc_gate gate = {0};
    struct cv_addr turn;
    struct gf_load single = {.pps = 20000, .burst = 1}, burst, train, paced;
    struct pair p;

    single.warm_s = 0.3;
    single.seconds = UDP_SECONDS;
    single.size = PAYLOAD;
    burst = paced = single;
    burst.burst = 10;
    burst.gso = true;
    burst.pps = 100000;
    train = burst;
    train.burst = 40;
    train.pps = 200000;
    paced.pps = 50000;
    p.pid[0] = start_gate(&gate, false);
    p.pid[1] = start_turn(&turn);
    gf_gate(&p.flow[0], &gate, NULL);
    gf_turn(&p.flow[1], &turn);
    p.pid[2] = start_bare(&p.flow[2]);
    fprintf(
        stderr,
        "  %d B, loopback, the relay on processor 0, both ends on another;"
        " single: 20,000/s one by one; burst: 10 at once by GSO, 100,000/s;"
        " of 40: 200,000/s; udp: 50,000/s one by one; lossless: 8 at once by sendmmsg, "
        "%.0f s after 2 s of warm-up; for the last two the relays have "
        "real-time priority where we may give it\n",
        PAYLOAD, lossless_s);
    compare(&p, "udp single", &single, false);
    compare(&p, "udp burst", &burst, false);
    compare(&p, "udp burst of 40", &train, false);
    come_first(p.pid[0], true);
    come_first(p.pid[1], true);
    come_first(p.pid[2], true);
    compare(&p, "udp", &paced, true);
    report("udp", "lossless_pps", lossless(&p.flow[0], p.pid[0]));
    report("udp", "lossless_pps_coturn", lossless(&p.flow[1], p.pid[1]));
    stop_all();
}

/* ---- over links --------------------------------------------------------- */

/* A child that sends DATA as fast as it goes. */
static int start_sender(struct gc_link *l, uint32_t channel)
{
    static uint8_t out[65536];
    struct cv_gate_frame f = {.type = CV_GATE_DATA};
    static uint8_t packet[PACKET];
    struct cv_writer w;
    int pid = fork();

    GC_NEED(pid >= 0);
    if (pid > 0)
        return pid;
    f.u.data.channel = channel;
    f.u.data.packet = CV_BYTES(packet, sizeof packet);
    /* As many frames as fill whole records of TLS but for a little. */
    cv_writer_init(&w, out, l->carriage == GC_TLS ? sizeof out : 16384);
    while (w.cap - w.len > PACKET + 7)
        GC_NEED(cv_gate_put(&w, &f) == CV_OK);
    while (gc_write(l, out, w.len))
        ;
    _exit(0);
}

static void over_links(const char *name, enum gc_carriage carriage)
{
    struct gc_gate gate = {0};
    struct gc_link a, b;
    struct gc_end ea, eb;
    uint8_t room[CV_GATE_ROOM];
    double speed[ROUNDS], per_core[ROUNDS];
    int pid = start_gate(&gate, false), sender;
    uint64_t packets = 0, bytes = 0;

    gc_link_open(&a, &gate, carriage, NULL);
    gc_link_open(&b, &gate, carriage, NULL);
    gc_register(&b, room);
    gc_channel(&a, &b, room, &ea, &eb);
    come_first(pid, true);
    sender = start_sender(&a, ea.id);
    for (unsigned i = 0; i < rounds; i++) {
        double from = gf_now(), cpu = gf_cpu_us(pid), took;
        uint64_t before = bytes;

        while (gf_now() - from < seconds)
            GC_NEED(gc_drain(&b, &packets, &bytes));
        took = gf_now() - from;
        cpu = (gf_cpu_us(pid) - cpu) / 1e6;
        speed[i] = (double)(bytes - before) / MIB / took;
        per_core[i] = (double)(bytes - before) / MIB / cpu;
    }
    stop(&sender);
    report(name, "mib_per_s", median(speed, rounds));
    report(name, "mib_per_s_per_core", median(per_core, rounds));
    gc_link_close(&a);
    gc_link_close(&b);
    stop_all();
}

/* ---- clients ------------------------------------------------------------ */

static void many_files(void)
{
    struct rlimit lim;

    getrlimit(RLIMIT_NOFILE, &lim);
    lim.rlim_cur = lim.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &lim);
}

/* Links that do nothing; RSS of each. */
static void idle_links(unsigned n)
{
    struct gc_gate gate = {0};
    struct gc_link *links = calloc(n, sizeof *links);
    uint8_t room[CV_GATE_ROOM];
    int pid = start_gate(&gate, false);
    double before = 0, from = gf_now();

    GC_NEED(links);
    for (unsigned i = 0; i < n; i++) {
        gc_link_open(&links[i], &gate, GC_TLS, NULL);
        gc_register(&links[i], room);
        free(links[i].in);
        free(links[i].raw);
        links[i].in = links[i].raw = NULL;
        if (i == n / 10)
            before = gf_rss_kib(pid);
    }
    report("idle client", "links_per_s", n / (gf_now() - from));
    report("idle client", "registered", n);
    report("idle client", "kib", (gf_rss_kib(pid) - before) / (n - n / 10 - 1));
    for (unsigned i = 0; i < n; i++)
        gc_link_close(&links[i]);
    free(links);
    stop_all();
}

/* Who has only a ticket; RSS of each, and how fast they register. */
struct ticket {
    struct cv_gate_welcome welcome;
    uint8_t cookie[CV_GATE_COOKIE];
    uint64_t counter;
};

static void ask_to_register(struct ticket *t, int udp)
{
    struct cv_gate_frame f = {.type = CV_GATE_REGISTER};

    gc_random(f.u.room_key, sizeof f.u.room_key);
    GC_NEED(gc_ask(udp, &t->welcome, ++t->counter, t->cookie, &f));
}

static void register_by(struct ticket *t, int udp)
{
    ask_to_register(t, udp);
    GC_NEED(gc_answer(udp, &t->welcome, t->cookie));
}

/* Each asks once; answers come in the same order. */
static void register_all(struct ticket *t, unsigned n, int udp)
{
    for (unsigned i = 0; i < n; i += WINDOW) {
        for (unsigned k = i; k < i + WINDOW; k++)
            ask_to_register(&t[k], udp);
        for (unsigned k = i; k < i + WINDOW; k++)
            GC_NEED(gc_answer(udp, &t[k].welcome, t[k].cookie));
    }
}

static void idle_tickets(unsigned n)
{
    struct gc_gate gate = {0};
    struct ticket *t = calloc(n, sizeof *t);
    int pid = start_gate(&gate, false), udp = gc_udp(&gate, NULL);
    double before = 0, from, rate[ROUNDS];
    unsigned each = quick ? 10 : 20;

    GC_NEED(t);
    for (unsigned i = 0; i < n; i++) {
        struct gc_link l;

        gc_link_open(&l, &gate, GC_TLS, NULL);
        t[i].welcome = l.welcome;
        register_by(&t[i], udp); /* gets the cookie */
        register_by(&t[i], udp);
        gc_link_close(&l);
        if (i == n / 10)
            before = gf_rss_kib(pid);
    }
    report("idle client", "kib_linkless",
           (gf_rss_kib(pid) - before) / (n - n / 10 - 1));
    for (unsigned r = 0; r < rounds; r++) {
        from = gf_now();
        for (unsigned i = 0; i < each; i++)
            register_all(t, n, udp);
        rate[r] = each * n / (gf_now() - from);
    }
    report("idle client", "linkless_registrations_per_s", median(rate, rounds));
    close(udp);
    free(t);
    stop_all();
}

static void idle_turn(unsigned n)
{
    struct cv_addr turn;
    int pid = start_turn(&turn);
    double before = 0;

    for (unsigned i = 0; i < n; i++) {
        (void)gf_turn_idle(&turn); /* until the end */
        if (i == n / 10)
            before = gf_rss_kib(pid);
    }
    report("idle client", "kib_coturn_udp",
           (gf_rss_kib(pid) - before) / (n - n / 10 - 1));
    stop_all();
}

/* ---- under attack ------------------------------------------------------- */

/* An honest client. */
static struct gf_load honest(void)
{
    return (struct gf_load){.pps = 20 * MIB / PACKET,
                            .burst = 10,
                            .gso = true,
                            .warm_s = 0.3,
                            .seconds = seconds < 1.5 ? seconds : 1.5,
                            .size = PACKET};
}

/* 20 MiB/s of an honest client, alone and under 50,000 packets/s of 100 B from
 * one other address; what arrives, compared. */
static void flooded(const char *name, uint8_t kind)
{
    struct cv_addr attacker = cv_addr_ipv4(0x7f000002, 0);
    struct gc_gate gate = {0};
    int pid = start_gate(&gate, true);
    struct gf_load calm = honest(), storm = calm;
    struct gf_flow flow;
    double kept[FLOODS], arrived[FLOODS], pps[FLOODS], rss;

    storm.flood_pps = 50000;
    storm.flood = gc_udp(&gate, &attacker);
    storm.flood_kind = kind;
    gf_gate(&flow, &gate, NULL);
    rss = gf_rss_kib(pid);
    for (unsigned i = 0; i < FLOODS; i++) {
        struct gf_result a = gf_run(&flow, &calm, pid);
        struct gf_result b = gf_run(&flow, &storm, pid);

        kept[i] = (double)b.got / (double)a.got;
        arrived[i] = (double)b.got * PACKET / MIB / b.seconds;
        pps[i] = (double)b.flooded / (storm.warm_s + storm.seconds);
    }
    report(name, "throughput_kept", median(kept, FLOODS));
    report(name, "mib_per_s", median(arrived, FLOODS));
    report(name, "flood_pps", median(pps, FLOODS));
    report(name, "kib_grown", gf_rss_kib(pid) - rss);
    close(storm.flood);
    stop_all();
}

/* A child that connects 1,000 times a second, says the first bytes of a
 * handshake, and holds the last 256; it counts in `made`, which is shared. */
static int start_connecting(const struct gc_gate *gate, unsigned long *made)
{
    struct cv_addr attacker = cv_addr_ipv4(0x7f000002, 0);
    int pid = fork(), held[256] = {0};
    unsigned at = 0;

    GC_NEED(pid >= 0);
    if (pid > 0)
        return pid;
    for (double next = gf_now();; next += 0.001) {
        while (gf_now() < next)
            usleep(200);
        if (held[at % 256])
            close(held[at % 256]);
        held[at % 256] = gc_connect(&gate->tcp, &attacker);
        if (held[at % 256] >= 0)
            *made +=
                send(held[at % 256], "\x16\x03\x01\x02", 4, MSG_NOSIGNAL) > 0;
        at++;
    }
}

static void flooded_by_connections(void)
{
    struct gc_gate gate = {0};
    int pid = start_gate(&gate, true), attacker;
    struct gf_load load = honest();
    unsigned long *made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct gf_flow flow;
    double kept[FLOODS], rate[FLOODS];

    GC_NEED(made != MAP_FAILED);
    gf_gate(&flow, &gate, NULL);
    for (unsigned i = 0; i < FLOODS; i++) {
        struct gf_result a = gf_run(&flow, &load, pid), b;
        double from = gf_now();

        *made = 0;
        attacker = start_connecting(&gate, made);
        b = gf_run(&flow, &load, pid);
        rate[i] = (double)*made / (gf_now() - from);
        stop(&attacker);
        kept[i] = (double)b.got / (double)a.got;
    }
    report("flood connections", "throughput_kept", median(kept, FLOODS));
    report("flood connections", "connections_per_s", median(rate, FLOODS));
    munmap(made, sizeof *made);
    stop_all();
}

/* ---- for long ----------------------------------------------------------- */

/* Rooms and a channel to each, all gone again. */
static void come_and_go(struct gc_link *a, struct gc_link *b)
{
    struct cv_gate_frame f[SOAK], got;

    memset(f, 0, sizeof f);
    for (unsigned i = 0; i < SOAK; i++) {
        f[i].type = CV_GATE_REGISTER;
        gc_random(f[i].u.room_key, sizeof f[i].u.room_key);
        gc_send(b, &f[i]);
    }
    for (unsigned i = 0; i < SOAK; i++) {
        got = gc_want(b, CV_GATE_REGISTERED);
        f[i].type = CV_GATE_OPEN;
        memcpy(f[i].u.open.room, got.u.room, CV_GATE_ROOM);
        memset(f[i].u.open.tag, 0, CV_GATE_TAG);
    }
    for (unsigned i = 0; i < SOAK; i++) {
        gc_send(a, &f[i]);
        f[i].type = CV_GATE_UNREGISTER; /* the room is in its place */
    }
    for (unsigned i = 0; i < SOAK; i++) {
        got = gc_want(a, CV_GATE_OPENED);
        got = (struct cv_gate_frame){.type = CV_GATE_CLOSE,
                                     .u.channel = got.u.opened.channel};
        gc_send(a, &got);
        (void)gc_want(b, CV_GATE_OPENED);
        gc_send(b, &f[i]);
    }
}

static void soak(uint64_t total)
{
    struct gc_gate gate = {0};
    struct gc_link a, b;
    int pid = start_gate(&gate, false);
    double first = 0;
    uint64_t links = 2;

    gc_link_open(&a, &gate, GC_TLS, NULL);
    gc_link_open(&b, &gate, GC_TLS, NULL);
    for (uint64_t done = 0; done < total; done += SOAK) {
        come_and_go(&a, &b);
        if (done / SOAK == total / SOAK / 10)
            first = gf_rss_kib(pid);
        if (done / SOAK % 10 == 9) { /* new links, too */
            gc_link_close(&a);
            gc_link_open(&a, &gate, GC_TLS, NULL);
            links++;
        }
    }
    report("soak", "registrations_and_channels", (double)total);
    report("soak", "links", (double)links);
    report("soak", "kib_after_a_tenth", first);
    report("soak", "kib_at_the_end", gf_rss_kib(pid));
    stop_all();
}

/* ---- a gate that comes back ---------------------------------------------- */

/* `n` links of the real client; the gate is killed, and back after `away_s`.
 * How long it takes from then on until half of them, and all, are in. */
static void regain(unsigned n, double away_s)
{
    struct gc_gate gate = {0};
    struct gr_crowd *crowd;
    struct gr_times t;
    char name[64];

    snprintf(name, sizeof name, "regain %u after %.0f s", n, away_s);
    (void)start_gate(&gate, false);
    crowd = gr_new(&gate, n, 20);
    stop(&running[0]);
    gr_run(crowd, away_s > 0 ? away_s : 0.1); /* they see that it is gone */
    (void)start_gate(&gate, false);
    t = gr_regain(crowd, REGAIN_MOST);
    if (t.in < n)
        fprintf(stderr, "  only %u are in after %d s\n", t.in, REGAIN_MOST);
    report(name, "half_s", t.half);
    report(name, "all_s", t.all);
    gr_free(crowd);
    stop_all();
}

/* ---- all ---------------------------------------------------------------- */

static bool wanted(const char *only, const char *name)
{
    return !only || strcmp(only, name) == 0;
}

int main(int argc, char *argv[])
{
    const char *only = NULL;

    if (argc < 4) {
        fprintf(stderr, "usage: gateload GATE TURNSERVER DIR [quick] [CASE]\n");
        return 2;
    }
    gate_file = argv[1];
    turn_file = argv[2];
    dir = argv[3];
    for (int i = 4; i < argc; i++)
        if (strcmp(argv[i], "quick") == 0)
            quick = true;
        else
            only = argv[i];
    if (quick) {
        rounds = 3;
        seconds = lossless_s = 1;
    }
    signal(SIGPIPE, SIG_IGN);
    atexit(stop_all);
    many_files();
    pin((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
    before_others();
    if (wanted(only, "udp"))
        over_udp();
    if (wanted(only, "tls"))
        over_links("tls", GC_TLS);
    if (wanted(only, "websocket"))
        over_links("websocket", GC_WEBSOCKET);
    if (wanted(only, "idle")) {
        idle_links(quick ? 1000 : 10000);
        idle_tickets(quick ? 512 : 2048);
        idle_turn(500);
    }
    if (wanted(only, "flood")) {
        flooded("flood data", CV_GATE_UDP_DATA);
        flooded("flood bind", CV_GATE_UDP_BIND);
        flooded("flood ask", CV_GATE_UDP_ASK);
        flooded("flood stun", 0);
        flooded_by_connections();
    }
    if (wanted(only, "regain")) {
        regain(quick ? 200 : 1000, 0);
        regain(quick ? 200 : 1000, 10);
        if (!quick)
            regain(10000, 0);
    }
    if (wanted(only, "soak"))
        soak(quick ? 20000 : 1000000);
    return 0;
}
