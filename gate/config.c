#include "gate/config.h"
#include "base/keytext.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 8192

struct setting {
    const char *name;
    const char *value; /* how the help calls it; NULL: yes or no */
    const char *help;
    /* NULL on success, else what is wrong with the value. */
    const char *(*set)(struct cv_gate_config *c, const char *value);
};

/* ---- values ------------------------------------------------------------- */

static const char *set_text(char *out, size_t room, const char *value)
{
    if (strlen(value) >= room)
        return "is too long";
    strcpy(out, value);
    return NULL;
}

static const char *set_bool(bool *out, const char *value)
{
    if (strcmp(value, "yes") == 0 || strcmp(value, "no") == 0) {
        *out = value[0] == 'y';
        return NULL;
    }
    return "is neither yes nor no";
}

static const char *set_u32(uint32_t *out, uint32_t max, const char *value)
{
    unsigned long long n, unit = 1;
    char *end;

    if (!isdigit((unsigned char)value[0]))
        return "is not a number";
    errno = 0;
    n = strtoull(value, &end, 10);
    if (*end == 'k' || *end == 'K')
        unit = 1024, end++;
    else if (*end == 'm' || *end == 'M')
        unit = 1024 * 1024, end++;
    if (*end != '\0')
        return "is not a number";
    if (errno != 0 || n == 0 || n > max / unit)
        return "is out of range";
    *out = (uint32_t)(n * unit);
    return NULL;
}

static const char *add_addr(struct cv_addr *list, unsigned *n,
                            const char *value, uint16_t port)
{
    if (*n == CV_GATE_BINDS)
        return "is one address too many (8 at most)";
    if (cv_addr_parse(&list[*n], value, port) != CV_OK)
        return "is not ADDRESS:PORT (an IPv6 address in brackets)";
    (*n)++;
    return NULL;
}

/* ---- settings ----------------------------------------------------------- */

static const char *set_listen(struct cv_gate_config *c, const char *v)
{
    return add_addr(c->listen, &c->n_listen, v, CV_GATE_DEFAULT_PORT);
}

static const char *set_proxied(struct cv_gate_config *c, const char *v)
{
    return add_addr(c->proxied, &c->n_proxied, v, 8080);
}

static const char *set_metrics(struct cv_gate_config *c, const char *v)
{
    unsigned n = 0;

    if (strcmp(v, "off") == 0) {
        c->metrics = (struct cv_addr){0};
        return NULL;
    }
    return add_addr(&c->metrics, &n, v, 9464);
}

static const char *set_key(struct cv_gate_config *c, const char *v)
{
    return set_text(c->key_file, sizeof c->key_file, v);
}

static const char *set_cert(struct cv_gate_config *c, const char *v)
{
    return set_text(c->cert_file, sizeof c->cert_file, v);
}

static const char *set_cert_key(struct cv_gate_config *c, const char *v)
{
    return set_text(c->cert_key_file, sizeof c->cert_key_file, v);
}

static const char *set_host(struct cv_gate_config *c, const char *v)
{
    return set_text(c->name_host, sizeof c->name_host, v);
}

static const char *set_policy(struct cv_gate_config *c, const char *v)
{
    static const char *const name[] = {"open", "keys", "hosts", "token"};

    for (unsigned i = 0; i < 4; i++)
        if (strcmp(v, name[i]) == 0) {
            c->policy = (enum cv_gate_policy)i;
            return NULL;
        }
    return "is none of open, keys, hosts, token";
}

static const char *set_identity(struct cv_gate_config *c, const char *v)
{
    static char why[256];
    struct cv_keytext k;
    struct cv_key *more;

    if (c->n_identities == CV_GATE_IDENTITIES)
        return "is one identity too many (4096 at most)";
    if (cv_keytext_parse(&k, CV_KEYTEXT_IDENTITY, v, why, sizeof why) != CV_OK)
        return why;
    more = realloc(c->identities, (c->n_identities + 1) * sizeof *more);
    if (!more)
        return "does not fit the memory";
    c->identities = more;
    c->identities[c->n_identities++] = k.key;
    return NULL;
}

static const char *set_token(struct cv_gate_config *c, const char *v)
{
    if (strlen(v) < 16)
        return "is shorter than 16 characters: it could be guessed";
    return set_text(c->token, sizeof c->token, v);
}

static const char *set_udp(struct cv_gate_config *c, const char *v)
{
    return set_bool(&c->udp, v);
}

static const char *set_stun(struct cv_gate_config *c, const char *v)
{
    return set_bool(&c->stun, v);
}

static const char *set_dht(struct cv_gate_config *c, const char *v)
{
    return set_bool(&c->dht, v);
}

static const char *set_dht_port(struct cv_gate_config *c, const char *v)
{
    uint32_t port = 0;
    const char *wrong = set_u32(&port, 65535, v);

    c->dht_port = (uint16_t)port;
    return wrong;
}

static const char *set_bootstrap(struct cv_gate_config *c, const char *v)
{
    char host[256];
    uint16_t port;

    if (c->n_dht_bootstrap == 8)
        return "is one node too many (8 at most)";
    if (cv_host_port_parse(v, 4222, host, &port) != CV_OK)
        return "is not HOST:PORT";
    return set_text(c->dht_bootstrap[c->n_dht_bootstrap++], 256, v);
}

static const char *set_addresses(struct cv_gate_config *c, const char *v)
{
    return set_bool(&c->show_addresses, v);
}

static const char *set_log(struct cv_gate_config *c, const char *v)
{
    return cv_log_level_parse(v, &c->log_level)
               ? NULL
               : "is none of error, warn, info, debug, trace";
}

static const char *set_drain(struct cv_gate_config *c, const char *v)
{
    uint32_t s = 0;
    const char *wrong = set_u32(&s, 3600, v);

    c->drain_ms = s * 1000;
    return wrong;
}

static const char *set_sandbox(struct cv_gate_config *c, const char *v)
{
    return set_bool(&c->sandbox, v);
}

static const struct setting settings[] = {
    {"listen", "ADDRESS:PORT",
     "TCP with TLS, and UDP (default: port 443, IPv4 and IPv6; repeat)",
     set_listen},
    {"listen-proxied", "ADDRESS:PORT",
     "WebSockets without TLS, from a reverse proxy on this machine",
     set_proxied},
    {"metrics", "ADDRESS:PORT",
     "Prometheus and /health (default 127.0.0.1:9464; \"off\")", set_metrics},
    {"key", "FILE",
     "the gate's key, made at the first start (default: key in "
     "$STATE_DIRECTORY, else in /var/lib/covim-gate)",
     set_key},
    {"certificate", "FILE", "PEM, for clients that want one", set_cert},
    {"certificate-key", "FILE", "its private key", set_cert_key},
    {"name", "HOST[:PORT]", "how others reach it, for --print-name", set_host},
    {"policy", "open|keys|hosts|token", "whom it serves (default open)",
     set_policy},
    {"identity", "covimid1...", "one who is listed (repeat)", set_identity},
    {"token", "TEXT", "what clients have to know, for the policy token",
     set_token},
    {"udp", "yes|no", "carry packets over UDP, too (default yes)", set_udp},
    {"stun", "yes|no", "answer STUN on the UDP port (default yes)", set_stun},
    {"dht", "yes|no", "be a bootstrap node of the DHT (default no)", set_dht},
    {"dht-port", "PORT", "of the DHT, UDP (default 4222)", set_dht_port},
    {"dht-bootstrap", "HOST:PORT", "join the DHT there (repeat)",
     set_bootstrap},
    {"show-addresses", "yes|no", "addresses in logs (default no)",
     set_addresses},
    {"log", "LEVEL", "error, warn, info, debug or trace (default info)",
     set_log},
    {"drain", "SECONDS", "on SIGTERM clients have so long (default 10)",
     set_drain},
    {"sandbox", "yes|no", "give up rights that it does not need (default yes)",
     set_sandbox},
};

#define N_SETTINGS (sizeof settings / sizeof settings[0])

static const struct {
    const char *name, *help;
    size_t at;
    uint32_t value;
} limits[] = {
#define X(type, name, value, help)                                             \
    {#name, help, offsetof(struct cv_gate_limits, name), value},
    CV_GATE_LIMITS(X)
#undef X
};

#define N_LIMITS (sizeof limits / sizeof limits[0])

/* "rooms-per-client" and "rooms_per_client" are the same. */
static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !(*a == '_' && *b == '-') && !(*a == '-' && *b == '_'))
            return false;
    return *a == *b;
}

static const char *set_limit(struct cv_gate_config *c, const char *name,
                             const char *value, bool *known)
{
    for (size_t i = 0; i < N_LIMITS; i++)
        if (same_name(limits[i].name, name)) {
            uint32_t *at =
                (uint32_t *)(void *)((uint8_t *)&c->limits + limits[i].at);

            *known = true;
            return set_u32(at, UINT32_MAX, value);
        }
    return NULL;
}

int cv_gate_config_set(struct cv_gate_config *c, const char *name,
                       const char *value, const char *from, char *why,
                       size_t why_len)
{
    const char *wrong = NULL;
    bool known = false;

    for (size_t i = 0; i < N_SETTINGS && !known; i++)
        if (same_name(settings[i].name, name)) {
            known = true;
            wrong = settings[i].set(c, value);
        }
    if (!known)
        wrong = set_limit(c, name, value, &known);
    if (!known) {
        snprintf(why, why_len,
                 "%s: there is no setting \"%s\"; see "
                 "covim-gate --help",
                 from, name);
        return CV_ERR_INVALID;
    }
    if (wrong) {
        snprintf(why, why_len, "%s: %s \"%s\" %s", from, name, value, wrong);
        return CV_ERR_INVALID;
    }
    return CV_OK;
}

/* ---- file and command line ---------------------------------------------- */

static int read_line(struct cv_gate_config *c, char *line, const char *from,
                     char *why, size_t why_len)
{
    char *name = line + strspn(line, " \t"), *value, *end;

    if (*name == '#' || *name == '\n' || *name == '\0')
        return CV_OK;
    value = name + strcspn(name, " \t=\n");
    if (*value != '\0')
        *value++ = '\0';
    value += strspn(value, " \t=");
    for (end = value + strlen(value);
         end > value && isspace((unsigned char)end[-1]); end--)
        ;
    *end = '\0';
    return cv_gate_config_set(c, name, value, from, why, why_len);
}

int cv_gate_config_lines(struct cv_gate_config *c, FILE *f, const char *file,
                         char *why, size_t why_len)
{
    char line[LINE_MAX_BYTES], from[4200];
    unsigned number = 0;
    int err = CV_OK;

    while (err == CV_OK && fgets(line, sizeof line, f)) {
        snprintf(from, sizeof from, "%s:%u", file, ++number);
        if (strlen(line) == sizeof line - 1) {
            snprintf(why, why_len, "%s: the line is too long", from);
            return CV_ERR_INVALID;
        }
        err = read_line(c, line, from, why, why_len);
    }
    return err;
}

static int read_file(struct cv_gate_config *c, char *why, size_t why_len)
{
    FILE *f = fopen(c->config_file, "re");
    int err;

    if (!f) {
        snprintf(why, why_len, "cannot read the configuration %s: %s",
                 c->config_file, strerror(errno));
        return CV_ERR_INVALID;
    }
    err = cv_gate_config_lines(c, f, c->config_file, why, why_len);
    fclose(f);
    return err;
}

static void set_defaults(struct cv_gate_config *c)
{
    const char *dir = getenv("STATE_DIRECTORY");

    memset(c, 0, sizeof *c);
    c->udp = c->stun = c->sandbox = true;
    c->dht_port = 4222;
    c->metrics = cv_addr_ipv4(0x7f000001, 9464);
    c->limits = cv_gate_limits_default();
    c->log_level = CV_LOG_INFO;
    c->drain_ms = 10000;
    snprintf(c->key_file, sizeof c->key_file, "%s/key",
             dir && dir[0] ? dir : "/var/lib/covim-gate");
}

static bool command_of(struct cv_gate_config *c, const char *arg)
{
    static const struct {
        const char *name;
        enum cv_gate_command command;
    } list[] = {
        {"--check", CV_GATE_CHECK},
        {"--print-name", CV_GATE_PRINT_NAME},
        {"--help", CV_GATE_HELP},
        {"-h", CV_GATE_HELP},
        {"--version", CV_GATE_VERSION_COMMAND},
    };

    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (strcmp(arg, list[i].name) == 0) {
            c->command = list[i].command;
            return true;
        }
    return false;
}

static int read_option(struct cv_gate_config *c, int argc, char *const argv[],
                       int *i, char *why, size_t why_len)
{
    const char *arg = argv[*i], *value;
    char name[64], from[80];
    size_t n;

    if (command_of(c, arg))
        return CV_OK;
    if (strncmp(arg, "--", 2) != 0) {
        snprintf(why, why_len, "\"%s\" is not an option; see covim-gate --help",
                 arg);
        return CV_ERR_INVALID;
    }
    n = strcspn(arg + 2, "=");
    snprintf(name, sizeof name, "%.*s", (int)(n < 60 ? n : 60), arg + 2);
    value = arg[2 + n] == '=' ? arg + 3 + n : *i + 1 < argc ? argv[++*i] : NULL;
    if (!value) {
        snprintf(why, why_len, "--%s wants a value", name);
        return CV_ERR_INVALID;
    }
    if (strcmp(name, "config") == 0)
        return CV_OK; /* was read first */
    snprintf(from, sizeof from, "--%s", name);
    return cv_gate_config_set(c, name, value, from, why, why_len);
}

static const char *config_named(int argc, char *const argv[])
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0)
            return argv[i] + 9;
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            return argv[i + 1];
    }
    return NULL;
}

int cv_gate_config_finish(struct cv_gate_config *c, char *why, size_t why_len)
{
    if (c->n_listen == 0) {
        c->listen[0] = cv_addr_ipv4(0, CV_GATE_DEFAULT_PORT);
        c->listen[1] = (struct cv_addr){.family = CV_FAMILY_IPV6,
                                        .port = CV_GATE_DEFAULT_PORT};
        c->n_listen = 2;
    }
    if (c->policy == CV_GATE_TOKEN && c->token[0] == '\0') {
        snprintf(why, why_len, "the policy token wants a token");
        return CV_ERR_INVALID;
    }
    if ((c->policy == CV_GATE_KEYS || c->policy == CV_GATE_HOSTS) &&
        c->n_identities == 0) {
        snprintf(why, why_len,
                 "this policy wants at least one identity "
                 "(covim key shows it)");
        return CV_ERR_INVALID;
    }
    if ((c->cert_file[0] == '\0') != (c->cert_key_file[0] == '\0')) {
        snprintf(why, why_len, "certificate and certificate-key go together");
        return CV_ERR_INVALID;
    }
    return CV_OK;
}

int cv_gate_config_read(struct cv_gate_config *c, int argc, char *const argv[],
                        char *why, size_t why_len)
{
    const char *file = config_named(argc, argv);
    int err = CV_OK;

    set_defaults(c);
    if (file) {
        snprintf(c->config_file, sizeof c->config_file, "%s", file);
        err = read_file(c, why, why_len);
    }
    for (int i = 1; i < argc && err == CV_OK; i++)
        err = read_option(c, argc, argv, &i, why, why_len);
    if (err == CV_OK)
        err = cv_gate_config_finish(c, why, why_len);
    if (err != CV_OK)
        cv_gate_config_fini(c);
    return err;
}

void cv_gate_config_fini(struct cv_gate_config *c)
{
    free(c->identities);
    cv_wipe(c->token, sizeof c->token);
    c->identities = NULL;
    c->n_identities = 0;
}

void cv_gate_config_help(void)
{
    printf("Usage: covim-gate [OPTION]...\n\n"
           "A relay for covim: passes encrypted packets on between peers that "
           "cannot reach\neach other directly, and cannot read them.\n\n"
           "  --config FILE         the same settings from a file, as \"name "
           "value\" lines\n"
           "  --check               try the configuration and what it needs, "
           "and exit\n"
           "  --print-name          show the gate's name for others, and exit\n"
           "  --help, --version\n\n");
    for (size_t i = 0; i < N_SETTINGS; i++)
        printf("  --%s %s\n        %s\n", settings[i].name, settings[i].value,
               settings[i].help);
    printf("\nLimits (numbers, or with k and M):\n");
    for (size_t i = 0; i < N_LIMITS; i++) {
        char name[64];

        snprintf(name, sizeof name, "%s", limits[i].name);
        for (char *p = name; *p; p++)
            if (*p == '_')
                *p = '-';
        printf("  --%s N\n        %s (default %u)\n", name, limits[i].help,
               (unsigned)limits[i].value);
    }
    printf("\nSIGHUP reads the file again (policy, identities, token, limits, "
           "log);\nSIGTERM lets clients go elsewhere, then ends.\n");
}
