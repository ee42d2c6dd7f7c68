/* cli/options.h - what the command line and the environment say. */
#ifndef CV_CLI_OPTIONS_H
#define CV_CLI_OPTIONS_H
#include "base/log.h"
#include "session/session.h"

/* Exit codes of the program. */
enum cv_exit {
    CV_EXIT_OK = 0,
    CV_EXIT_FAILURE = 1,
    CV_EXIT_USAGE = 2,
    CV_EXIT_NOT_FOUND = 3,
    CV_EXIT_REFUSED = 4,
    CV_EXIT_NO_PATH = 5,
    CV_EXIT_IDENTITY = 6,
};
enum cv_exit cv_exit_of(int err);

#define CV_SERVERS_MAX 16

/* A list of "HOST:PORT", bounded. */
struct cv_servers {
    unsigned n;
    bool given; /* by option or environment; n may be 0 for "none" */
    char *item[CV_SERVERS_MAX];
};

struct cv_options {
    struct cv_servers bootstrap;
    struct cv_servers stun;
    struct cv_servers gates; /* "covimgate1…@HOST:PORT" */
    char *gate_token;        /* NULL: none */
    bool lan;
    bool port_mapping;
    enum cv_net_birthday birthday;
    unsigned nat_timeout_s; /* of idle UDP mappings; 0: it is measured */
    char name[CV_NAME_MAX_TEXT];
    char *data_dir; /* NULL: the user's */
    uint16_t port, dht_port;
    enum cv_log_level log_level;
    bool show_addresses;
    /* of share and join */
    enum cv_admission admission;
    enum cv_role role;
    bool force;         /* join: FILE may exist and differ */
    bool token;         /* share: print one for a guest */
    unsigned timeout_s; /* join: give up; 0: never */
    /* of echo */
    bool warm;            /* be ready before the clock starts */
    bool found;           /* and have the other side's pointer */
    bool once;            /* the first failed attempt is the end */
    uint64_t bytes;       /* bulk; 0: none */
    unsigned interval_ms; /* between echoes; 0: one echo */
    unsigned direct_s;    /* stay for a direct path, at most so long; 0: not */
    unsigned for_s;       /* stay so long; 0: until it is done */
    unsigned retry_ms;    /* dead paths are asked so often; 0: as it is */
    /* of doctor */
    bool json;
    bool slow; /* wait for what takes minutes to measure */
    /* of stun */
    struct cv_servers listen;

    int argc; /* what is left: the command's arguments */
    char **argv;
};

/* Defaults, then the environment (COVIM_BOOTSTRAP, COVIM_STUN, COVIM_GATE,
 * COVIM_GATE_TOKEN, COVIM_NAME, COVIM_NAT_TIMEOUT, COVIM_NO_PORT_MAPPING). */
CV_MUST_USE int cv_options_init(struct cv_options *o);
void cv_options_fini(struct cv_options *o);
/* Parse the options of one command.  `allowed`: its short names. CV_ERR_INVALID
 * after a message on stderr. */
CV_MUST_USE int cv_options_parse(struct cv_options *o, int argc, char **argv,
                                 const char *allowed);
/* Append what "HOST:PORT,HOST:PORT" lists; "none" empties the list.
 * CV_ERR_FORMAT for something else, CV_ERR_LIMIT. */
CV_MUST_USE int cv_servers_add(struct cv_servers *s, const char *list);
void cv_servers_clear(struct cv_servers *s);

/* The part that a node wants; borrowed from `o`. */
void cv_options_node(const struct cv_options *o, struct cv_loop *loop,
                     struct cv_log *log, struct cv_node_config *config);
#endif
