/* gate/config.h - what covim-gate is told: options on the command line, and
 * the same words in a file ("name value" on a line, # comments). */
#ifndef CV_GATE_CONFIG_H
#define CV_GATE_CONFIG_H
#include "base/log.h"
#include "gate/server.h"
#include <stdio.h>

#define CV_GATE_IDENTITIES   4096
#define CV_GATE_TOKEN_MAX    256
#define CV_GATE_DEFAULT_PORT 443
/* Descriptors beside those of links: listeners, pages, the DHT. */
#define CV_GATE_SPARE_FILES 64

enum cv_gate_command {
    CV_GATE_RUN,
    CV_GATE_CHECK,
    CV_GATE_PRINT_NAME,
    CV_GATE_HELP,
    CV_GATE_VERSION_COMMAND,
};

struct cv_gate_config {
    enum cv_gate_command command;
    char config_file[4096];
    char key_file[4096];
    char cert_file[4096], cert_key_file[4096]; /* "": none */
    char name_host[256];                       /* for --print-name; "" */
    struct cv_addr listen[CV_GATE_BINDS], proxied[CV_GATE_BINDS];
    unsigned n_listen, n_proxied;
    struct cv_addr metrics; /* family NONE: off */
    bool udp, stun, dht, show_addresses;
    uint16_t dht_port;
    char dht_bootstrap[8][256];
    unsigned n_dht_bootstrap;
    enum cv_gate_policy policy;
    struct cv_key *identities; /* heap, [n_identities] */
    size_t n_identities;
    char token[CV_GATE_TOKEN_MAX + 1];
    struct cv_gate_limits limits;
    enum cv_log_level log_level;
    uint32_t drain_ms;
    bool sandbox;
};

/* The defaults, then the file, then the options.  CV_ERR_INVALID: `why` says
 * what is wrong, and where. */
CV_MUST_USE int cv_gate_config_read(struct cv_gate_config *out, int argc,
                                    char *const argv[], char *why,
                                    size_t why_len);
void cv_gate_config_fini(struct cv_gate_config *config);
/* Help, as text. */
void cv_gate_config_help(void);
/* One setting, as in the file; `from` is named in `why`. */
CV_MUST_USE int cv_gate_config_set(struct cv_gate_config *config,
                                   const char *name, const char *value,
                                   const char *from, char *why, size_t why_len);
/* All lines of a file, which `why` calls `file`. */
CV_MUST_USE int cv_gate_config_lines(struct cv_gate_config *config, FILE *f,
                                     const char *file, char *why,
                                     size_t why_len);
/* Is everything there that a gate needs? */
CV_MUST_USE int cv_gate_config_finish(struct cv_gate_config *config, char *why,
                                      size_t why_len);
#endif
