/* One timer looks every LOOK at what is still waited for, and ends it all when
 * nothing is, or when the time is up.  The probes only note what they see. */
#include "cli/doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>

#include "cli/tcpprobe.h"
#include "cli/udpprobe.h"

#define LOOK (50 * CV_MILLISECOND)
/* UDP is given up, and a web page asked for, when nothing came by then. */
#define PORTAL_AFTER (4 * CV_SECOND)
#define HTTP_PORT    80

struct probe {
    struct cv_doctor *doctor;
    unsigned i;
    struct cv_tcpprobe *tcp;
    bool over;
};

/* Of the UDP port of a gate. */
struct gateprobe {
    struct cv_doctor *doctor;
    struct cv_doctor_gate *gate;
    struct cv_udpprobe *udp;
    bool over;
};

struct cv_doctor {
    struct cv_doctor_config config;
    struct cv_doctor_facts facts;
    struct cv_findings findings;
    struct cv_timer *timer;
    cv_time started, until;
    const char *waiting; /* for; as told */
    bool connected;      /* the DHT was, once */
    struct cv_roundtrip *roundtrip;
    struct cv_trial *trial;
    struct probe tcp[CV_DOCTOR_TCP];
    struct probe page;
    struct gateprobe gate[CV_DOCTOR_GATES];
};

/* --- what the system says --- */

static void read_system(struct cv_doctor_facts *f)
{
    struct utsname u;

    if (uname(&u) == 0)
        snprintf(f->system, sizeof f->system, "%.40s %.40s %.40s", u.sysname,
                 u.release, u.machine);
}

static void read_clock(struct cv_doctor_facts *f, const struct cv_node *node)
{
    struct timex tx = {.modes = 0};
    int state = adjtimex(&tx);
    struct stat st;
    char path[600];

    f->clock.known = state >= 0;
    f->clock.synchronised =
        state >= 0 && state != TIME_ERROR && !(tx.status & STA_UNSYNC);
    f->clock.error_ms = (uint64_t)(tx.maxerror > 0 ? tx.maxerror : 0) / 1000;
    snprintf(path, sizeof path, "%s/identity", cv_node_data_dir(node));
    if (stat(path, &st) == 0)
        f->clock.ahead_s = (int64_t)time(NULL) - (int64_t)st.st_mtime;
}

/* --- probes --- */

static void on_tcp(void *user, int err, cv_time took, struct cv_bytes answer)
{
    struct probe *p = user;
    struct cv_doctor_tcp *t = &p->doctor->facts.tcp[p->i];

    (void)answer;
    p->over = true;
    t->err = err;
    t->took = took;
}

static void start_tcp(struct cv_doctor *d)
{
    const struct cv_net_report *net = &d->facts.node.net;

    for (unsigned i = 0; i < net->n_servers; i++) {
        const struct cv_net_report_server *s = &net->server[i];
        unsigned family = s->addr[0].family != CV_FAMILY_NONE ? 0 : 1;
        struct probe *p = &d->tcp[i];

        if (p->tcp != NULL || p->over ||
            s->addr[family].family == CV_FAMILY_NONE)
            continue;
        p->doctor = d;
        p->i = i;
        d->facts.tcp[i].tried = true;
        d->facts.tcp[i].err =
            cv_tcpprobe_new(&p->tcp, d->config.loop, &s->addr[family],
                            CV_BYTES("", 0), 1, on_tcp, p);
        p->over = d->facts.tcp[i].err != CV_OK;
    }
}

static void on_gate_udp(void *user, int err, cv_time took)
{
    struct gateprobe *p = user;

    p->over = true;
    p->gate->udp_err = err;
    p->gate->udp_took = took;
}

static void start_gate_udp(struct cv_doctor *d, unsigned i, struct cv_addr to)
{
    struct gateprobe *p = &d->gate[i];

    if (p->udp != NULL || p->over || p->gate->udp_port == 0 ||
        to.family == CV_FAMILY_NONE)
        return;
    to.port = p->gate->udp_port;
    p->gate->udp_tried = true;
    p->gate->udp_err = cv_udpprobe_new(&p->udp, d->config.loop, &cv_rng_system,
                                       &to, on_gate_udp, p);
    p->over = p->gate->udp_err != CV_OK;
}

/* The number of a gate in the facts; CV_DOCTOR_GATES: there is no place. */
static unsigned gate_at(struct cv_doctor *d, const struct cv_gates_info *info)
{
    struct cv_doctor_facts *f = &d->facts;
    unsigned i = 0;

    while (i < f->n_gates &&
           !cv_key_equal(&f->gate[i].name.key, &info->name.key))
        i++;
    if (i == f->n_gates && i < CV_DOCTOR_GATES) {
        f->gate[i].name = info->name;
        d->gate[i].doctor = d;
        d->gate[i].gate = &f->gate[i];
        f->n_gates++;
    }
    return i;
}

/* False: it is still to be waited for. */
static bool look_at_gate(struct cv_doctor *d, const struct cv_gates_info *info)
{
    unsigned i = gate_at(d, info);
    struct cv_doctor_gate *g;

    if (i == CV_DOCTOR_GATES)
        return true;
    g = &d->facts.gate[i];
    g->linked = info->state == CV_GATELINK_UP;
    snprintf(g->trouble, sizeof g->trouble, "%s", info->trouble);
    if (!g->linked)
        return g->trouble[0] != '\0';
    g->way = info->way;
    g->rtt = info->rtt;
    g->udp_port = info->udp_port;
    start_gate_udp(d, i, info->remote);
    return g->rtt > 0 && (d->gate[i].udp == NULL || d->gate[i].over);
}

static void on_page(void *user, int err, cv_time took, struct cv_bytes answer)
{
    struct probe *p = user;
    struct cv_doctor *d = p->doctor;

    (void)took;
    p->over = true;
    if (err == CV_OK)
        d->facts.portal = cv_portal_judge(
            answer, d->facts.node.net.server[p->i].host, d->facts.portal_to);
}

/* Of the first STUN server's address: it serves none. */
static void start_page(struct cv_doctor *d)
{
    const struct cv_net_report *net = &d->facts.node.net;
    struct cv_writer request;
    uint8_t text[512];

    for (unsigned i = 0; i < net->n_servers && d->page.tcp == NULL; i++) {
        struct cv_addr to = net->server[i].addr[0];

        if (to.family == CV_FAMILY_NONE)
            continue;
        to.port = HTTP_PORT;
        d->page.doctor = d;
        d->page.i = i;
        cv_writer_init(&request, text, sizeof text);
        cv_portal_request(&request, net->server[i].host);
        if (cv_tcpprobe_new(&d->page.tcp, d->config.loop, &to,
                            cv_writer_bytes(&request), CV_PORTAL_ANSWER,
                            on_page, &d->page) != CV_OK)
            break;
    }
    d->page.over = d->page.tcp == NULL;
}

static void on_roundtrip(void *user, cv_time took)
{
    struct cv_doctor *d = user;

    d->facts.roundtrip = true;
    d->facts.roundtrip_took = took;
}

static void on_mark(void *user, const struct cv_mark *m)
{
    struct cv_doctor *d = user;
    struct cv_doctor_key *k = &d->facts.key;

    if (m->kind == CV_MARK_FAILED)
        snprintf(k->failure, sizeof k->failure, "%s", m->text);
    if (k->has[m->kind])
        return;
    k->has[m->kind] = true;
    k->at[m->kind] = m->at - d->started;
    k->mark[m->kind] = *m;
    k->mark[m->kind].text = "";
}

static void start_key(struct cv_doctor *d)
{
    struct cv_doctor_key *k = &d->facts.key;
    struct cv_keytext parsed;

    k->asked = true;
    k->err = cv_keytext_parse(&parsed, CV_KEYTEXT_SESSION, d->config.key,
                              k->failure, sizeof k->failure);
    if (k->err == CV_OK)
        k->err =
            cv_trial_new(&d->trial, d->config.node, &parsed.key, on_mark, d);
}

/* --- until all is known --- */

static const char *wait_for_net(struct cv_doctor *d, cv_time age)
{
    const struct cv_net_report *net = &d->facts.node.net;
    bool udp = false;

    if (!d->facts.node.network)
        return NULL;
    start_tcp(d);
    for (unsigned i = 0; i < net->n_servers; i++) {
        for (unsigned k = 0; k < 2; k++)
            udp |= net->server[i].seen[k].family != CV_FAMILY_NONE;
        if (!net->server[i].resolved && age < PORTAL_AFTER)
            return "the names of the STUN servers";
        if (d->tcp[i].tcp != NULL && !d->tcp[i].over)
            return "TCP connections";
    }
    if (!udp && net->n_servers > 0 && age < PORTAL_AFTER)
        return "the STUN servers";
    if (!net->settled)
        return "our public address";
    /* Only servers with two addresses can tell; nobody says if there is one. */
    if (udp && !net->kind_known && age < PORTAL_AFTER)
        return "the kind of NAT";
    /* The filters come first. */
    if (d->config.slow && !net->is_public && udp &&
        (net->life_state == CV_NATLIFE_RUNS ||
         (net->life_state == CV_NATLIFE_OFF && !net->life_set &&
          age < 2 * PORTAL_AFTER)))
        return "how long the NAT keeps mappings, two minutes at the most";
    if (net->port_mapping && !net->maps_settled && age < PORTAL_AFTER)
        return "the gateway";
    if (!udp && !d->connected) {
        if (d->page.tcp == NULL && !d->page.over)
            start_page(d);
        if (!d->page.over)
            return "a captive portal";
    }
    return NULL;
}

static const char *wait_for_gates(struct cv_doctor *d)
{
    const struct cv_node_report *node = &d->facts.node;
    bool all = true;

    for (unsigned i = 0; i < node->n_gates; i++)
        if (node->gate[i].own)
            all &= look_at_gate(d, &node->gate[i]);
    return all ? NULL : "the gates";
}

static const char *wait_for_dht(struct cv_doctor *d)
{
    if (strcmp(d->facts.node.dht, "connected") != 0)
        return d->connected ? NULL : "the DHT";
    if (!d->connected) {
        d->connected = true;
        if (cv_roundtrip_new(&d->roundtrip, d->config.node, on_roundtrip, d) !=
            CV_OK)
            return NULL;
    }
    return d->roundtrip != NULL && !d->facts.roundtrip
               ? "a test value in the DHT"
               : NULL;
}

static const char *wait_for_key(const struct cv_doctor *d)
{
    const struct cv_doctor_key *k = &d->facts.key;

    if (d->trial == NULL || k->has[CV_MARK_CONFIRMED])
        return NULL;
    /* "No answer to the knock" is followed by another one. */
    if (k->has[CV_MARK_FAILED] && k->has[CV_MARK_ANSWER])
        return NULL;
    if (!k->has[CV_MARK_POINTER])
        return "the record of whoever shares";
    if (!k->has[CV_MARK_ANSWER] && !k->has[CV_MARK_HEARD])
        return "an answer to the knock";
    return k->has[CV_MARK_PATH] ? "the handshake" : "a path";
}

static void on_timer(void *user)
{
    struct cv_doctor *d = user;
    cv_time now = cv_loop_now(d->config.loop);
    const char *net, *gates, *dht, *key, *what;

    cv_node_report(d->config.node, &d->facts.node);
    net = wait_for_net(d, now - d->started);
    gates = wait_for_gates(d);
    dht = wait_for_dht(d);
    key = wait_for_key(d);
    what = net != NULL ? net : gates != NULL ? gates : dht != NULL ? dht : key;
    if (what == NULL || now >= d->until) {
        cv_timer_set(d->timer, CV_NEVER);
        cv_diagnose(&d->facts, &d->findings);
        d->config.done(d->config.user, &d->findings);
        return;
    }
    cv_timer_set(d->timer, now + LOOK);
    if (what == d->waiting)
        return;
    d->waiting = what;
    if (d->config.progress != NULL)
        d->config.progress(d->config.user, what);
}

int cv_doctor_new(struct cv_doctor **out, const struct cv_doctor_config *config)
{
    struct cv_doctor *d = calloc(1, sizeof *d);
    int err;

    if (d == NULL)
        return CV_ERR_NOMEM;
    d->config = *config;
    err = cv_timer_new(&d->timer, config->loop, on_timer, d);
    if (err != CV_OK) {
        free(d);
        return err;
    }
    d->started = cv_loop_now(config->loop);
    d->facts.addresses = config->addresses;
    d->facts.editor = config->editor;
    d->facts.n_bootstrap = config->node_options->bootstrap.n;
    d->facts.lan = config->node_options->lan;
    read_system(&d->facts);
    read_clock(&d->facts, config->node);
    if (config->key != NULL)
        start_key(d);
    d->config.key = NULL; /* it was parsed */
    d->until = d->started + (config->slow       ? CV_DOCTOR_SLOW
                             : d->trial != NULL ? CV_DOCTOR_KEY_TIME
                                                : CV_DOCTOR_TIME);
    cv_timer_set(d->timer, d->started);
    *out = d;
    return CV_OK;
}

void cv_doctor_free(struct cv_doctor *d)
{
    if (d == NULL)
        return;
    for (unsigned i = 0; i < CV_DOCTOR_TCP; i++)
        cv_tcpprobe_free(d->tcp[i].tcp);
    cv_tcpprobe_free(d->page.tcp);
    for (unsigned i = 0; i < CV_DOCTOR_GATES; i++)
        cv_udpprobe_free(d->gate[i].udp);
    cv_roundtrip_free(d->roundtrip);
    cv_trial_free(d->trial);
    cv_timer_free(d->timer);
    free(d);
}
