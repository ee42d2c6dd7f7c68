/* cli/main.c - covim, the program: find the command, show the help. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/agent.h"
#include "cli/doctor.h"
#include "cli/echo.h"
#include "cli/headless.h"
#include "cli/stun.h"
#include "cli/token.h"

static const char node_help[] =
    "  --bootstrap HOST:PORT   join the DHT there (repeat, or separate by "
    "commas;\n"
    "                          \"none\": only the LAN); also COVIM_BOOTSTRAP\n"
    "  --stun HOST:PORT        ask there for our public address; also "
    "COVIM_STUN\n"
    "  --gate NAME@HOST:PORT   be reached through that gate, too; also "
    "COVIM_GATE\n"
    "                          (COVIM_GATE_TOKEN for one that wants a token)\n"
    "  --no-lan                do not look for peers on the LAN\n"
    "  --no-port-mapping       do not ask the gateway for a port (PCP, "
    "NAT-PMP, UPnP);\n"
    "                          also COVIM_NO_PORT_MAPPING=1\n"
    "  --birthday MODE         packets to guess at ports of NATs that nothing "
    "else joins:\n"
    "                          on (2048), gentle (512, for weak routers) or "
    "off\n"
    "  --nat-timeout SECONDS   how long the NAT keeps a UDP mapping that is "
    "idle\n"
    "                          (else it is measured); also "
    "COVIM_NAT_TIMEOUT\n"
    "  --name NAME             what others see (else COVIM_NAME, USER)\n"
    "  --data-dir DIR          identity and sessions (else "
    "$XDG_DATA_HOME/covim)\n"
    "  --port N, --dht-port N  fixed UDP ports (else any)\n"
    "  --log LEVEL             error, warn, info, debug or trace, on stderr\n"
    "  --show-addresses        network addresses in logs, too\n";

struct command {
    const char *name;
    const char *arguments;
    const char *summary;
    const char *details; /* before the options */
    const char *options; /* letters, as cv_options_parse() takes them */
    bool is_node;
    int n_arguments, n_more; /* wanted, and allowed besides */
    int (*run)(struct cv_options *o, struct cv_log *log);
};

static int run_agent(struct cv_options *o, struct cv_log *log)
{
    return cv_agent_run(o, log, STDIN_FILENO, STDOUT_FILENO);
}

static int run_share(struct cv_options *o, struct cv_log *log)
{
    return cv_headless_share(o, log, o->argv[0]);
}

static int run_join(struct cv_options *o, struct cv_log *log)
{
    return cv_headless_join(o, log, o->argv[0], o->argv[1]);
}

static int run_key(struct cv_options *o, struct cv_log *log)
{
    struct cv_keytext text = {.kind = CV_KEYTEXT_IDENTITY};
    char key[CV_KEYTEXT_MAX], fingerprint[CV_FINGERPRINT_TEXT], why[512] = "";
    char dir[4000], path[4096];
    struct cv_keypair identity;
    int err = CV_OK;

    (void)log;
    if (o->data_dir)
        snprintf(dir, sizeof(dir), "%s", o->data_dir);
    else
        err = cv_data_dir(dir, sizeof(dir));
    if (err == CV_OK) {
        snprintf(path, sizeof(path), "%s/identity", dir);
        err = cv_identity_load(&identity, path, why, sizeof(why));
    }
    if (err != CV_OK) {
        fprintf(stderr, "covim: %s\n", why[0] ? why : cv_strerror(err));
        return (int)cv_exit_of(err);
    }
    text.key = identity.pub;
    printf("%s\n%s\n", cv_keytext_format(&text, key),
           cv_fingerprint(&identity.pub, fingerprint));
    cv_wipe(&identity, sizeof(identity));
    return CV_EXIT_OK;
}

static int run_doctor(struct cv_options *o, struct cv_log *log)
{
    return cv_doctor_run(o, log, o->argc == 1 ? o->argv[0] : NULL);
}

static int run_echo(struct cv_options *o, struct cv_log *log)
{
    if (o->argc == 1 && strcmp(o->argv[0], "serve") == 0)
        return cv_echo_serve(o, log);
    if (o->argc == 2 && strcmp(o->argv[0], "dial") == 0)
        return cv_echo_dial(o, log, o->argv[1]);
    fprintf(stderr, "covim: write \"covim echo serve\" or \"covim echo dial "
                    "KEY\"\n");
    return CV_EXIT_USAGE;
}

static int run_token(struct cv_options *o, struct cv_log *log)
{
    (void)log;
    return cv_token_show(o);
}

static int run_stun(struct cv_options *o, struct cv_log *log)
{
    return cv_stun_run(o, log);
}

#define NODE_OPTIONS "bsGLmyTndpPgA"

static const struct command commands[] = {
    {"agent", "", "serve an editor on standard input and output",
     "The plugin starts it; the protocol is in docs/editor.md.\n", NODE_OPTIONS,
     true, 0, 0, run_agent},
    {"share", "FILE", "share a file, print its key",
     "Keeps FILE and the session in step both ways until it is stopped "
     "(^C).\n"
     "Who knocks is shown on stderr; type \"accept N\" or \"reject N\".\n"
     "\n"
     "  --token                 print a token, too: for one guest, where there "
     "is no\n"
     "                          DHT; type \"add TOKEN\" with what comes back\n"
     "  --open                  let everybody in who has the key\n"
     "  --readonly              let them read only\n",
     NODE_OPTIONS "ork", true, 1, 0, run_share},
    {"join", "KEY FILE", "join a session, keep its text in a file",
     "KEY may be a host's token; then print the one to hand back.\n"
     "Creates FILE; if it exists and differs from the shared text it is left\n"
     "alone and the command ends with 1. Looks for the others until it is\n"
     "stopped.\n"
     "\n"
     "  --force                 FILE may be overwritten\n"
     "  --timeout SECONDS       give up (3) when nobody lets us in until "
     "then\n",
     NODE_OPTIONS "ft", true, 2, 0, run_join},
    {"key", "", "print our identity key and its fingerprint",
     "  --data-dir DIR          else $XDG_DATA_HOME/covim\n", "dg", false, 0, 0,
     run_key},
    {"token", "TOKEN", "say what a token is, and whether it is still good",
     "\"covim share --token FILE\" makes a host's, \"covim join TOKEN FILE\" "
     "the\nguest's that answers it. \"-\" reads it from standard input.\n",
     "", false, 1, 0, run_token},
    {"doctor", "[KEY]", "look for what stands in the way of a connection",
     "Says what it sees of this network, what that means and what to do; with "
     "KEY,\nhow far the way to whoever shares it leads, without asking to be "
     "let in.\nTakes up to 12 s (25 with KEY); exit code 1 when there is a "
     "problem.\n"
     "\n"
     "  --addresses             network addresses, too; else it may be posted\n"
     "  --json                  for programs\n"
     "  --slow                  measure, too, how long the NAT keeps what is "
     "idle:\n"
     "                          up to two minutes more\n",
     NODE_OPTIONS "Jz", true, 0, 1, run_doctor},
    {"echo", "serve | dial KEY", "measure how two networks can be joined",
     "\"serve\" prints a key and sends back what comes; \"dial\" goes there. "
     "Both\nprint JSON lines of what happened and when.\n"
     "\n"
     "  --warm                  be ready (addresses, DHT) before the clock "
     "starts\n"
     "  --found                 that, and know where the other side is\n"
     "  --bytes N               N bytes there and back after the first echo\n"
     "  --interval MS           one more echo every MS, for as long as --for "
     "says;\n"
     "                          with --bytes: a line of how far it is instead\n"
     "  --for SECONDS           stay connected so long\n"
     "  --retry MS              a path that died is asked so often (else 5, "
     "15, 60,\n"
     "                          300 s)\n"
     "  --direct SECONDS        stay until the path is direct, so long at most\n"
     "  --token                 serve: print a token, too; add TOKEN, typed, "
     "takes the\n"
     "                          one of the dialling side (dial TOKEN)\n"
     "  --timeout SECONDS       dial: give up (3, or 5 without a path); else "
     "60\n"
     "  --once                  dial: the first failed attempt is the end "
     "(5)\n",
     NODE_OPTIONS "twW1BiFDkR", true, 1, 1, run_echo},
    {"stun", "", "tell others their public address (STUN, RFC 8489)",
     "  --listen ADDRESS:PORT   where, over UDP and TCP (else 0.0.0.0:3478 "
     "and\n"
     "                          [::]:3478); two public addresses of one "
     "family: on two\n"
     "                          ports of each, so that NATs' filters are seen, "
     "too\n"
     "  --log LEVEL\n",
     "lgA", false, 0, 0, run_stun},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *to)
{
    fprintf(to, "covim %s: edit text together, peer to peer\n\n",
            COVIM_VERSION);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "  covim %s %-*s %s\n", commands[i].name,
                (int)(16 - strlen(commands[i].name)), commands[i].arguments,
                commands[i].summary);
    fprintf(to, "\n\"covim COMMAND --help\" tells more. Exit codes: 0 ok, "
                "1 failure, 2 usage,\n3 not found, 4 refused, 5 no path, "
                "6 identity or permission.\n");
}

static void print_command_help(const struct command *c)
{
    printf("Usage: covim %s [OPTION…] %s\n\n%c%s.\n\n%s", c->name, c->arguments,
           c->summary[0] - 'a' + 'A', c->summary + 1, c->details);
    if (c->is_node)
        printf("%s", node_help);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static bool has_option(int argc, char **argv, const char *option)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], option) == 0)
            return true;
    return false;
}

static int run_command(const struct command *c, int argc, char **argv)
{
    static char program[] = "covim";
    struct cv_log log = {.sink = cv_log_stderr, .user = program};
    struct cv_options options;
    int code = CV_EXIT_USAGE;
    int err = cv_options_init(&options);

    if (err == CV_OK)
        err = cv_options_parse(&options, argc, argv, c->options);
    if (err == CV_OK && (options.argc < c->n_arguments ||
                         options.argc > c->n_arguments + c->n_more)) {
        fprintf(stderr, "covim: %s takes %s; try \"covim %s --help\"\n",
                c->name, *c->arguments ? c->arguments : "no arguments",
                c->name);
        err = CV_ERR_INVALID;
    }
    if (err == CV_OK) {
        log.level = options.log_level;
        log.show_addresses = options.show_addresses;
        code = c->run(&options, &log);
    }
    cv_options_fini(&options);
    return code;
}

int main(int argc, char **argv)
{
    const struct command *c;

    cv_memory_keep();
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_help(stderr);
        return CV_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return CV_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("covim %s\n", COVIM_VERSION);
        return CV_EXIT_OK;
    }
    c = find_command(argv[1]);
    if (!c) {
        fprintf(stderr, "covim: there is no command \"%s\"\n", argv[1]);
        print_help(stderr);
        return CV_EXIT_USAGE;
    }
    if (has_option(argc - 1, argv + 1, "--help") ||
        has_option(argc - 1, argv + 1, "-h")) {
        print_command_help(c);
        return CV_EXIT_OK;
    }
    if (has_option(argc - 1, argv + 1, "--version")) {
        printf("covim %s\n", COVIM_VERSION);
        return CV_EXIT_OK;
    }
    return run_command(c, argc - 1, argv + 1);
}
