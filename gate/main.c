/* gate/main.c - covim-gate, the program. */
#include "gate/check.h"
#include "gate/sandbox.h"
#include "transport/gateframe.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "discovery/dht.h"

#define EXIT_USAGE 2

struct gate {
    struct cv_loop *loop;
    struct cv_log log;
    struct cv_gate_config config;
    struct cv_keypair key;
    struct cv_gate_server *server;
    struct cv_dht *dht;
    struct cv_signal *signals[3];
    int argc;
    char *const *argv;
    bool draining;
};

static struct cv_gate_core_config core_config(struct gate *g)
{
    return (struct cv_gate_core_config){
        .key = &g->key,
        .rng = &cv_rng_system,
        .log = &g->log,
        .policy = g->config.policy,
        .identities = g->config.identities,
        .n_identities = g->config.n_identities,
        .token = CV_BYTES(g->config.token, strlen(g->config.token)),
        .limits = g->config.limits,
    };
}

static int load_key(struct gate *g)
{
    char why[512] = "";
    int err = cv_identity_load(&g->key, g->config.key_file, why, sizeof why);

    if (err != CV_OK)
        fprintf(stderr, "covim-gate: %s\n", why[0] ? why : cv_strerror(err));
    return err;
}

/* ---- signals ------------------------------------------------------------ */

static void on_drained(void *user)
{
    struct gate *g = user;

    cv_loop_stop(g->loop);
}

static void on_stop(void *user)
{
    struct gate *g = user;

    if (g->draining) { /* asked twice: at once */
        cv_loop_stop(g->loop);
        return;
    }
    g->draining = true;
    cv_info(&g->log, "gate: draining, links have %u s",
            (unsigned)(g->config.drain_ms / 1000));
    cv_gate_server_drain(g->server, g->config.drain_ms, on_drained, g);
}

static void on_reload(void *user)
{
    struct gate *g = user;
    struct cv_gate_config fresh, old = g->config;
    struct cv_gate_core_config core;
    char why[512];

    if (cv_gate_config_read(&fresh, g->argc, g->argv, why, sizeof why) !=
        CV_OK) {
        cv_error(&g->log, "gate: the old configuration stays, because: %s",
                 why);
        return;
    }
    g->config = fresh;
    core = core_config(g);
    cv_gate_server_configure(g->server, &core);
    g->log.level = fresh.log_level;
    g->log.show_addresses = fresh.show_addresses;
    cv_gate_config_fini(&old);
    cv_info(&g->log, "gate: configuration read again");
}

static int catch_signals(struct gate *g)
{
    int err = cv_signal_new(&g->signals[0], g->loop, SIGTERM, on_stop, g);

    if (err == CV_OK)
        err = cv_signal_new(&g->signals[1], g->loop, SIGINT, on_stop, g);
    if (err == CV_OK)
        err = cv_signal_new(&g->signals[2], g->loop, SIGHUP, on_reload, g);
    return err;
}

/* ---- parts -------------------------------------------------------------- */

static int open_server(struct gate *g)
{
    struct cv_gate_config *c = &g->config;
    struct cv_gate_server_config config = {
        .loop = g->loop,
        .core = core_config(g),
        .n_listen = c->n_listen,
        .n_proxied = c->n_proxied,
        .metrics = c->metrics,
        .cert_file = c->cert_file[0] ? c->cert_file : NULL,
        .key_file = c->cert_key_file[0] ? c->cert_key_file : NULL,
        .udp = c->udp,
        .stun = c->stun,
    };
    char why[512] = "";
    int err;

    memcpy(config.listen, c->listen, sizeof config.listen);
    memcpy(config.proxied, c->proxied, sizeof config.proxied);
    err = cv_gate_server_new(&g->server, &config, why, sizeof why);
    if (err != CV_OK)
        fprintf(stderr, "covim-gate: %s\n", why);
    return err;
}

static int open_dht(struct gate *g)
{
    const char *nodes[8];
    struct cv_dht_config config = {
        .loop = g->loop,
        .log = &g->log,
        .port = g->config.dht_port,
        .bootstrap = nodes,
        .n_bootstrap = g->config.n_dht_bootstrap,
    };
    int err;

    if (!g->config.dht)
        return CV_OK;
    for (unsigned i = 0; i < g->config.n_dht_bootstrap; i++)
        nodes[i] = g->config.dht_bootstrap[i];
    err = cv_dht_open(&g->dht, &config);
    if (err != CV_OK)
        fprintf(stderr, "covim-gate: no DHT node on UDP port %u: %s\n",
                (unsigned)config.port, cv_strerror(err));
    return err;
}

static void close_all(struct gate *g)
{
    cv_gate_server_free(g->server);
    if (g->dht)
        cv_dht_close(g->dht, 1000);
    for (unsigned i = 0; i < 3; i++)
        cv_signal_free(g->signals[i]);
    if (g->loop)
        cv_loop_free(g->loop);
    cv_gate_config_fini(&g->config);
    cv_wipe(&g->key, sizeof g->key);
}

/* ---- commands ----------------------------------------------------------- */

/* The name that others give their covim. */
static int print_name(struct gate *g)
{
    struct cv_gate_name name = {.key = g->key.pub};
    char text[CV_GATE_NAME_TEXT];

    if (g->config.name_host[0]) {
        if (cv_host_port_parse(g->config.name_host, g->config.listen[0].port,
                               name.host, &name.port) != CV_OK) {
            fprintf(stderr, "covim-gate: the name has to be HOST[:PORT]\n");
            return EXIT_USAGE;
        }
    } else {
        strcpy(name.host, "HOST");
        name.port = g->config.listen[0].port;
        fprintf(stderr, "covim-gate: put this machine's public name or address "
                        "in the place of HOST (or say --name)\n");
    }
    printf("%s\n", cv_gate_name_format(&name, text));
    return EXIT_SUCCESS;
}

/* As many descriptors as links may be open, as far as we may. */
static void raise_file_limit(struct gate *g)
{
    rlim_t want = (rlim_t)g->config.limits.links + CV_GATE_SPARE_FILES;
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) != 0 || lim.rlim_cur >= want)
        return;
    if (lim.rlim_max < want) {
        struct rlimit more = {want, want};

        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return;
        cv_warn(&g->log,
                "gate: %u links are allowed, but only %llu open files; raise "
                "LimitNOFILE or ulimit -n",
                (unsigned)g->config.limits.links,
                (unsigned long long)lim.rlim_max);
    }
    lim.rlim_cur = lim.rlim_max < want ? lim.rlim_max : want;
    (void)setrlimit(RLIMIT_NOFILE, &lim);
}

static int run(struct gate *g)
{
    int err = cv_loop_new_coarse(&g->loop);

    raise_file_limit(g);

    if (err == CV_OK)
        err = catch_signals(g);
    if (err == CV_OK)
        err = open_server(g);
    /* Before there are threads, which inherit it: the DHT has some. */
    if (err == CV_OK && g->config.sandbox && g->config.command == CV_GATE_RUN)
        cv_gate_sandbox(&g->log, g->config.config_file);
    if (err == CV_OK)
        err = open_dht(g);
    if (err != CV_OK)
        return EXIT_FAILURE;
    if (g->config.command == CV_GATE_CHECK) {
        printf("covim-gate: the configuration is in order and its addresses "
               "can be bound\n");
        cv_gate_check_print(&g->config);
        return print_name(g);
    }
    cv_info(&g->log, "gate: listening, port=%u",
            (unsigned)cv_gate_server_port(g->server));
    cv_loop_run(g->loop);
    return EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
    static char program[] = "covim-gate";
    struct gate g = {.argc = argc, .argv = argv};
    char why[512];
    int code;

    signal(SIGPIPE, SIG_IGN);
    if (cv_gate_config_read(&g.config, argc, argv, why, sizeof why) != CV_OK) {
        fprintf(stderr, "covim-gate: %s\n", why);
        return EXIT_USAGE;
    }
    g.log = (struct cv_log){.level = g.config.log_level,
                            .show_addresses = g.config.show_addresses,
                            .sink = cv_log_stderr,
                            .user = program};
    switch (g.config.command) {
    case CV_GATE_HELP:
        cv_gate_config_help();
        code = EXIT_SUCCESS;
        break;
    case CV_GATE_VERSION_COMMAND:
        printf("covim-gate %s\n", COVIM_VERSION);
        code = EXIT_SUCCESS;
        break;
    case CV_GATE_PRINT_NAME:
        code = load_key(&g) == CV_OK ? print_name(&g) : EXIT_FAILURE;
        break;
    case CV_GATE_CHECK:
    case CV_GATE_RUN:
    default:
        code = load_key(&g) == CV_OK ? run(&g) : EXIT_FAILURE;
        break;
    }
    close_all(&g);
    return code;
}
