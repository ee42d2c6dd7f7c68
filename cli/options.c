#include "cli/options.h"

#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES_MAX       (1ul << 40)
#define NAT_TIMEOUT_MAX 86400 /* seconds */

enum cv_exit cv_exit_of(int err)
{
    switch (err) {
    case CV_OK:
        return CV_EXIT_OK;
    case CV_ERR_INVALID:
        return CV_EXIT_USAGE;
    case CV_ERR_NOTFOUND:
    case CV_ERR_TIMEOUT:
        return CV_EXIT_NOT_FOUND;
    case CV_ERR_DENIED:
        return CV_EXIT_REFUSED;
    case CV_ERR_NOPATH:
    case CV_ERR_NONET:
        return CV_EXIT_NO_PATH;
    case CV_ERR_PERM:
        return CV_EXIT_IDENTITY;
    default:
        return CV_EXIT_FAILURE;
    }
}

void cv_servers_clear(struct cv_servers *s)
{
    for (unsigned i = 0; i < s->n; i++)
        free(s->item[i]);
    memset(s, 0, sizeof(*s));
}

int cv_servers_add(struct cv_servers *s, const char *list)
{
    char host[256];
    uint16_t port;

    s->given = true;
    if (strcmp(list, "none") == 0) {
        cv_servers_clear(s);
        s->given = true;
        return CV_OK;
    }
    while (*list) {
        size_t len = strcspn(list, ", ");
        char *item;

        if (len) {
            if (s->n == CV_SERVERS_MAX)
                return CV_ERR_LIMIT;
            item = strndup(list, len);
            if (!item)
                return CV_ERR_NOMEM;
            /* A gate's name has its key before the @; the node looks at it. */
            if (!strchr(item, '@') &&
                cv_host_port_parse(item, 0, host, &port) != CV_OK) {
                free(item);
                return CV_ERR_FORMAT;
            }
            s->item[s->n++] = item;
        }
        list += len;
        list += strspn(list, ", ");
    }
    return CV_OK;
}

static void default_name(char *out, size_t len)
{
    const char *name = getenv("COVIM_NAME");
    const struct passwd *pw = NULL;

    if (!name || !*name)
        name = getenv("USER");
    if (!name || !*name)
        pw = getpwuid(getuid());
    snprintf(out, len, "%s", name && *name ? name : pw ? pw->pw_name : "me");
}

static int from_environment(struct cv_servers *s, const char *variable)
{
    const char *value = getenv(variable);
    int err;

    if (!value || !*value)
        return CV_OK;
    err = cv_servers_add(s, value);
    if (err != CV_OK)
        fprintf(stderr,
                "covim: %s is \"%s\"; write HOST:PORT,HOST:PORT or none\n",
                variable, value);
    return err;
}

static int parse_number(const char *text, unsigned long max, unsigned long *out)
{
    char *end;

    *out = strtoul(text, &end, 10);
    return *text == '\0' || *text == '-' || *end || *out > max ? CV_ERR_INVALID
                                                               : CV_OK;
}

/* COVIM_NAT_TIMEOUT, for editors. */
static int nat_timeout_from_environment(struct cv_options *o)
{
    const char *value = getenv("COVIM_NAT_TIMEOUT");
    unsigned long number;

    if (!value || !*value)
        return CV_OK;
    if (parse_number(value, NAT_TIMEOUT_MAX, &number) != CV_OK) {
        fprintf(stderr, "covim: COVIM_NAT_TIMEOUT is \"%s\", not seconds\n",
                value);
        return CV_ERR_INVALID;
    }
    o->nat_timeout_s = (unsigned)number;
    return CV_OK;
}

int cv_options_init(struct cv_options *o)
{
    int err;

    memset(o, 0, sizeof(*o));
    o->lan = true;
    o->port_mapping = getenv("COVIM_NO_PORT_MAPPING") == NULL;
    o->log_level = CV_LOG_WARN;
    o->admission = CV_ADMIT_ASK;
    o->role = CV_ROLE_EDITOR;
    default_name(o->name, sizeof(o->name));
    err = nat_timeout_from_environment(o);
    if (err == CV_OK)
        err = from_environment(&o->bootstrap, "COVIM_BOOTSTRAP");
    if (err == CV_OK)
        err = from_environment(&o->stun, "COVIM_STUN");
    if (err == CV_OK)
        err = from_environment(&o->gates, "COVIM_GATE");
    if (err == CV_OK && getenv("COVIM_GATE_TOKEN") != NULL) {
        o->gate_token = strdup(getenv("COVIM_GATE_TOKEN"));
        err = o->gate_token ? CV_OK : CV_ERR_NOMEM;
    }
    return err;
}

void cv_options_fini(struct cv_options *o)
{
    cv_servers_clear(&o->bootstrap);
    cv_servers_clear(&o->stun);
    cv_servers_clear(&o->gates);
    cv_servers_clear(&o->listen);
    free(o->gate_token);
    free(o->data_dir);
}

static int parse_level(struct cv_options *o, const char *text)
{
    if (cv_log_level_parse(text, &o->log_level))
        return CV_OK;
    fprintf(stderr,
            "covim: the log level \"%s\" is none of error, warn, "
            "info, debug, trace\n",
            text);
    return CV_ERR_INVALID;
}

static int add_servers(struct cv_servers *s, const char *option,
                       const char *text)
{
    if (cv_servers_add(s, text) == CV_OK)
        return CV_OK;
    fprintf(stderr,
            "covim: %s \"%s\": write HOST:PORT (at most %u of them), or "
            "none\n",
            option, text, CV_SERVERS_MAX);
    return CV_ERR_INVALID;
}

/* The letters are internal, people write the long names. */
static int take_flag(struct cv_options *o, int letter)
{
    switch (letter) {
    case 'L':
        o->lan = false;
        return CV_OK;
    case 'm':
        o->port_mapping = false;
        return CV_OK;
    case 'A':
        o->show_addresses = true;
        return CV_OK;
    case 'o':
        o->admission = CV_ADMIT_OPEN;
        return CV_OK;
    case 'r':
        o->role = CV_ROLE_VIEWER;
        return CV_OK;
    case 'f':
        o->force = true;
        return CV_OK;
    case 'k':
        o->token = true;
        return CV_OK;
    case 'J':
        o->json = true;
        return CV_OK;
    case 'w':
        o->warm = true;
        return CV_OK;
    case 'W':
        o->warm = o->found = true;
        return CV_OK;
    case '1':
        o->once = true;
        return CV_OK;
    case 'z':
        o->slow = true;
        return CV_OK;
    default:
        return CV_ERR_INVALID;
    }
}

static int take_number(struct cv_options *o, int letter, const char *value)
{
    unsigned long number = 0;
    int err = CV_OK;

    switch (letter) {
    case 'p':
    case 'P':
        err = parse_number(value, UINT16_MAX, &number);
        if (err == CV_OK)
            *(letter == 'p' ? &o->port : &o->dht_port) = (uint16_t)number;
        break;
    case 'B':
        err = parse_number(value, BYTES_MAX, &number);
        o->bytes = number;
        break;
    case 'D':
        err = parse_number(value, 86400, &number);
        o->direct_s = (unsigned)number;
        break;
    case 'F':
        err = parse_number(value, 86400, &number);
        o->for_s = (unsigned)number;
        break;
    case 't':
        err = parse_number(value, 86400, &number);
        o->timeout_s = (unsigned)number;
        break;
    case 'i':
        err = parse_number(value, 86400000, &number);
        o->interval_ms = (unsigned)number;
        break;
    case 'R':
        err = parse_number(value, 3600000, &number);
        o->retry_ms = (unsigned)number;
        break;
    case 'T':
        err = parse_number(value, NAT_TIMEOUT_MAX, &number);
        o->nat_timeout_s = (unsigned)number;
        break;
    default:
        return CV_ERR_INVALID;
    }
    if (err != CV_OK)
        fprintf(stderr, "covim: \"%s\" is not a number in range\n", value);
    return err;
}

/* One option, which has a value: a word or a number. */
static int take_value(struct cv_options *o, int letter, const char *value)
{
    switch (letter) {
    case 'b':
        return add_servers(&o->bootstrap, "--bootstrap", value);
    case 's':
        return add_servers(&o->stun, "--stun", value);
    case 'G':
        return add_servers(&o->gates, "--gate", value);
    case 'l':
        return add_servers(&o->listen, "--listen", value);
    case 'y':
        if (cv_net_birthday_parse(&o->birthday, value) == CV_OK)
            return CV_OK;
        fprintf(stderr, "covim: --birthday is on, gentle or off, not \"%s\"\n",
                value);
        return CV_ERR_INVALID;
    case 'n':
        snprintf(o->name, sizeof(o->name), "%s", value);
        return CV_OK;
    case 'd':
        free(o->data_dir);
        o->data_dir = strdup(value);
        return o->data_dir ? CV_OK : CV_ERR_NOMEM;
    case 'g':
        return parse_level(o, value);
    default:
        return take_number(o, letter, value);
    }
}

int cv_options_parse(struct cv_options *o, int argc, char **argv,
                     const char *allowed)
{
    static const struct option names[] = {
        {"bootstrap", required_argument, NULL, 'b'},
        {"stun", required_argument, NULL, 's'},
        {"gate", required_argument, NULL, 'G'},
        {"listen", required_argument, NULL, 'l'},
        {"no-lan", no_argument, NULL, 'L'},
        {"no-port-mapping", no_argument, NULL, 'm'},
        {"birthday", required_argument, NULL, 'y'},
        {"nat-timeout", required_argument, NULL, 'T'},
        {"name", required_argument, NULL, 'n'},
        {"data-dir", required_argument, NULL, 'd'},
        {"port", required_argument, NULL, 'p'},
        {"dht-port", required_argument, NULL, 'P'},
        {"log", required_argument, NULL, 'g'},
        {"show-addresses", no_argument, NULL, 'A'},
        {"open", no_argument, NULL, 'o'},
        {"readonly", no_argument, NULL, 'r'},
        {"force", no_argument, NULL, 'f'},
        {"token", no_argument, NULL, 'k'},
        {"timeout", required_argument, NULL, 't'},
        {"json", no_argument, NULL, 'J'},
        {"slow", no_argument, NULL, 'z'},
        {"addresses", no_argument, NULL, 'A'},
        {"warm", no_argument, NULL, 'w'},
        {"found", no_argument, NULL, 'W'},
        {"direct", required_argument, NULL, 'D'},
        {"once", no_argument, NULL, '1'},
        {"bytes", required_argument, NULL, 'B'},
        {"interval", required_argument, NULL, 'i'},
        {"for", required_argument, NULL, 'F'},
        {"retry", required_argument, NULL, 'R'},
        {NULL, 0, NULL, 0},
    };
    int letter, err = CV_OK;

    optind = 1;
    while (err == CV_OK &&
           (letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (letter == '?' || !strchr(allowed, letter)) {
            if (letter != '?')
                fprintf(stderr, "covim: that option is not for \"%s\"\n",
                        argv[0]);
            err = CV_ERR_INVALID;
            break;
        }
        err = optarg ? take_value(o, letter, optarg) : take_flag(o, letter);
    }
    if (err == CV_ERR_INVALID)
        fprintf(stderr, "Try \"covim %s --help\".\n", argv[0]);
    o->argc = argc - optind;
    o->argv = argv + optind;
    return err;
}

void cv_options_node(const struct cv_options *o, struct cv_loop *loop,
                     struct cv_log *log, struct cv_node_config *config)
{
    memset(config, 0, sizeof(*config));
    config->loop = loop;
    config->log = log;
    config->rng = &cv_rng_system;
    config->data_dir = o->data_dir;
    config->name = o->name;
    config->bootstrap = (const char *const *)o->bootstrap.item;
    config->n_bootstrap = o->bootstrap.n;
    config->no_bootstrap = o->bootstrap.given && !o->bootstrap.n;
    config->stun = (const char *const *)o->stun.item;
    config->n_stun = o->stun.n;
    config->gates = (const char *const *)o->gates.item;
    config->n_gates = o->gates.n;
    config->gate_token = o->gate_token;
    config->lan = o->lan;
    config->port_mapping = o->port_mapping;
    config->birthday = o->birthday;
    config->port = o->port;
    config->dht_port = o->dht_port;
    config->nat_timeout = o->nat_timeout_s * CV_SECOND;
    config->path_retry = o->retry_ms * CV_MILLISECOND;
}
