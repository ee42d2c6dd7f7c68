/* The doctor's pure half: facts to findings, findings to text and JSON, and
 * what a captive portal looks like. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/diagnose.h"
#include "tests/test.h"

static struct cv_doctor_facts facts;
static struct cv_findings found;

/* A healthy home: a cone NAT, two STUN servers, everything answers. */
static void healthy(void)
{
    struct cv_net_report *net = &facts.node.net;

    memset(&facts, 0, sizeof facts);
    snprintf(facts.system, sizeof facts.system, "Linux 6.1 x86_64");
    facts.node.network = true;
    facts.node.dht = "connected";
    facts.roundtrip = true;
    facts.roundtrip_took = 123 * CV_MILLISECOND;
    facts.n_bootstrap = 2;
    facts.clock = (struct cv_doctor_clock){
        .known = true, .synchronised = true, .error_ms = 12};
    net->port = 4567;
    net->settled = net->kind_known = true;
    net->local.n = 1;
    net->local.n_gateways = 1;
    net->local.net[0].addr = cv_addr_ipv4(0xc0a80107, 0);
    net->own.nat = CV_NAT_MAPPING_EIM;
    net->filter = CV_FILTER_PORT;
    net->strays = CV_STRAYS_DROPPED;
    net->n_servers = 2;
    for (unsigned i = 0; i < 2; i++) {
        struct cv_net_report_server *s = &net->server[i];

        snprintf(s->host, sizeof s->host, "stun%u.example", i);
        s->port = 3478;
        s->resolved = true;
        s->addr[0] = cv_addr_ipv4(0x14000101 + i, 3478);
        s->seen[0] = cv_addr_ipv4(0x14000b01, 40000);
        s->rtt[0] = (50 + i) * CV_MILLISECOND;
        facts.tcp[i] = (struct cv_doctor_tcp){true, CV_OK, 51 * CV_MILLISECOND};
    }
}

static const struct cv_finding *look(const char *name)
{
    cv_diagnose(&facts, &found);
    for (unsigned i = 0; i < found.n; i++)
        if (strcmp(found.f[i].name, name) == 0)
            return &found.f[i];
    return NULL;
}

static bool says(const char *name, enum cv_finding_status status,
                 const char *words)
{
    const struct cv_finding *f = look(name);

    if (f == NULL || f->status != status || strstr(f->seen, words) == NULL) {
        printf("%s: %s, \"%s\"\n", name,
               f != NULL ? cv_finding_status_name(f->status) : "missing",
               f != NULL ? f->seen : "");
        return false;
    }
    return true;
}

static char *text_of(bool json)
{
    struct cv_json_out out;
    struct cv_writer w;
    size_t len;
    char *text;

    cv_diagnose(&facts, &found);
    cv_writer_init_heap(&w, 65536);
    if (json) {
        cv_json_out_init(&out, &w);
        cv_json_begin(&out, NULL, '{');
        cv_findings_json(&found, &out);
        cv_json_end(&out, '}');
    } else {
        cv_findings_text(&found, &w);
    }
    cv_put_u8(&w, 0);
    REQUIRE(w.err == CV_OK);
    text = (char *)cv_writer_take(&w, &len);
    return text;
}

TEST(a_healthy_home_has_no_problem)
{
    healthy();
    CHECK(says("interfaces", CV_FINDING_OK, "1 address: private IPv4"));
    CHECK(says("udp", CV_FINDING_OK,
               "2 of 2 STUN servers answer, the nearest "
               "in 50 ms"));
    CHECK(says("nat", CV_FINDING_OK, "port-restricted"));
    CHECK(says("tcp", CV_FINDING_OK, "2 of 2"));
    CHECK(says("dht", CV_FINDING_OK, "after 123 ms"));
    CHECK(says("clock", CV_FINDING_OK, "12 ms"));
    CHECK(look("portal") == NULL);
    CHECK(look("editor") == NULL);
    CHECK(look("key") == NULL);
    CHECK_EQ(cv_findings_worst(&found), CV_FINDING_NOTE);
}

TEST(how_long_the_nat_keeps_what_is_idle_has_a_line)
{
    struct cv_net_report *net = &facts.node.net;

    healthy();
    CHECK(says("timeout", CV_FINDING_OK, "not known; 30 s are assumed"));
    CHECK(strstr(look("timeout")->means, "every 15 s") != NULL);
    net->life_state = CV_NATLIFE_UNABLE;
    CHECK(strstr(look("timeout")->todo, "two addresses") != NULL);
    net->life_state = CV_NATLIFE_RUNS;
    CHECK(says("timeout", CV_FINDING_OK, "being measured"));
    CHECK(strstr(look("timeout")->todo, "--slow") != NULL);
    net->life_kept = 19 * CV_SECOND;
    CHECK(says("timeout", CV_FINDING_OK, "19 s at least; longer"));
    net->life_state = CV_NATLIFE_DONE;
    net->life_kept = net->life = 115 * CV_SECOND;
    CHECK(says("timeout", CV_FINDING_OK, "115 s at least"));
    CHECK(strstr(look("timeout")->means, "every 25 s") != NULL);
    net->life_lost = true;
    net->life_kept = net->life = 9 * CV_SECOND;
    CHECK(says("timeout", CV_FINDING_NOTE, "9 s, but not for twice"));
    CHECK(strstr(look("timeout")->means, "every 4 s") != NULL);
    net->life_kept = 0;
    net->life = CV_NATLIFE_LEAST;
    CHECK(says("timeout", CV_FINDING_NOTE, "less than 5 s"));
    net->life_set = true;
    net->life = 40 * CV_SECOND;
    CHECK(says("timeout", CV_FINDING_OK, "40 s, as it was told"));
    net->is_public = true;
    CHECK(look("timeout") == NULL);
}

TEST(each_fact_has_its_words)
{
    healthy();
    facts.node.net.own.nat = CV_NAT_MAPPING_RANDOM;
    CHECK(says("nat", CV_FINDING_NOTE, "at random (symmetric)"));
    facts.node.net.own.nat = CV_NAT_MAPPING_SEQ;
    CHECK(says("nat", CV_FINDING_NOTE, "sequential"));
    facts.node.net.own.nat = CV_NAT_MAPPING_UNKNOWN;
    CHECK(says("nat", CV_FINDING_UNKNOWN, "not known"));
    facts.node.net.is_public = true;
    CHECK(says("nat", CV_FINDING_OK, "none"));

    healthy();
    facts.node.dht = "connecting";
    CHECK(says("dht", CV_FINDING_PROBLEM, "none of 2 bootstrap nodes"));
    facts.n_bootstrap = 0;
    CHECK(says("dht", CV_FINDING_PROBLEM, "none of 1 bootstrap node answers"));
    healthy();
    facts.roundtrip = false;
    CHECK(says("dht", CV_FINDING_PROBLEM, "did not come back"));

    healthy();
    facts.clock.synchronised = false;
    CHECK(says("clock", CV_FINDING_NOTE, "not kept by NTP"));
    facts.clock.ahead_s = -7300;
    CHECK(says("clock", CV_FINDING_PROBLEM, "2 h behind"));
    facts.clock = (struct cv_doctor_clock){.known = false};
    CHECK(says("clock", CV_FINDING_UNKNOWN, "does not say"));

    healthy();
    facts.node.network = false;
    CHECK(says("interfaces", CV_FINDING_PROBLEM, "no network"));
    CHECK(look("nat") == NULL);
    healthy();
    facts.node.net.local.only_loopback = true;
    CHECK(says("interfaces", CV_FINDING_PROBLEM, "loopback"));
}

TEST(blocked_udp_and_a_portal_are_told_apart)
{
    healthy();
    for (unsigned i = 0; i < 2; i++)
        facts.node.net.server[i].seen[0].family = CV_FAMILY_NONE;
    facts.node.dht = "disconnected";
    CHECK(says("udp", CV_FINDING_PROBLEM, "none of 2 STUN servers"));
    CHECK(strstr(look("udp")->means, "blocked") != NULL);
    CHECK(strstr(look("dht")->todo, "let UDP out") != NULL);
    CHECK(look("portal") == NULL);
    facts.portal = CV_PORTAL_YES;
    snprintf(facts.portal_to, sizeof facts.portal_to, "login.example");
    CHECK(says("portal", CV_FINDING_PROBLEM, "a captive portal"));
    CHECK(strstr(look("portal")->seen, "login") == NULL);
    facts.addresses = true;
    CHECK(says("portal", CV_FINDING_PROBLEM, "login.example"));
    facts.tcp[0].err = facts.tcp[1].err = CV_ERR_TIMEOUT;
    CHECK(says("tcp", CV_FINDING_PROBLEM, "none of 2"));

    healthy();
    facts.node.net.n_servers = 0;
    memset(facts.tcp, 0, sizeof facts.tcp);
    CHECK(says("udp", CV_FINDING_NOTE, "no STUN server is configured"));
    CHECK(says("tcp", CV_FINDING_UNKNOWN, "not tried"));
}

TEST(each_gate_has_a_line)
{
    struct cv_doctor_gate *g = facts.gate;

    healthy();
    CHECK(look("gate") == NULL);
    facts.n_gates = 1;
    snprintf(g->name.host, sizeof g->name.host, "gate.example");
    g->name.port = 443;
    snprintf(g->trouble, sizeof g->trouble,
             "at gate.example/covim there is no gate's WebSocket; the proxy "
             "proxy.corp:3128 says: not now");
    CHECK(says("gate", CV_FINDING_PROBLEM,
               "gate 1 of 1: at \xe2\x80\xa6 there is no gate's WebSocket; the "
               "proxy \xe2\x80\xa6 says: not now"));
    CHECK(strstr(look("gate")->todo, "https_proxy") != NULL);
    facts.addresses = true;
    CHECK(says("gate", CV_FINDING_PROBLEM, "gate.example:443: at gate.exam"));
    facts.addresses = false;
    g->linked = true;
    g->rtt = 31 * CV_MILLISECOND;
    CHECK(says("gate", CV_FINDING_NOTE, "by TLS, and answers in 31 ms; it "));
    g->udp_port = 443;
    g->way = CV_GATE_WAY_WS | CV_GATE_WAY_PROXY;
    CHECK(says("gate", CV_FINDING_NOTE, "only the proxy knows"));
    g->way = CV_GATE_WAY_WS;
    g->udp_tried = true;
    g->udp_err = CV_ERR_TIMEOUT;
    CHECK(says("gate", CV_FINDING_NOTE, "a WebSocket"));
    CHECK(says("gate", CV_FINDING_NOTE, "UDP port 443 does not answer"));
    CHECK(strstr(look("gate")->todo, "UDP port 443 let out") != NULL);
    g->udp_err = CV_OK;
    g->udp_took = 30 * CV_MILLISECOND;
    CHECK(says("gate", CV_FINDING_OK, "UDP port 443 answers in 30 ms"));
    CHECK(strstr(look("gate")->seen, "example") == NULL);
}

TEST(versions_that_differ_are_a_problem)
{
    healthy();
    facts.editor = (struct cv_doctor_editor){"vim 9.0.1378", COVIM_VERSION, ""};
    CHECK(says("editor", CV_FINDING_OK, "vim 9.0.1378"));
    snprintf(facts.editor.plugin, sizeof facts.editor.plugin, "0.0.1");
    CHECK(says("editor", CV_FINDING_PROBLEM, "0.0.1"));
}

static void reach(enum cv_mark_kind kind, cv_time at)
{
    facts.key.has[kind] = true;
    facts.key.at[kind] = at;
}

TEST(a_key_is_followed_to_where_it_stops)
{
    struct cv_doctor_key *k = &facts.key;

    healthy();
    k->asked = true;
    k->err = CV_ERR_FORMAT;
    snprintf(k->failure, sizeof k->failure, "character 7 is wrong");
    CHECK(says("key", CV_FINDING_PROBLEM, "character 7"));
    k->err = CV_ERR_BUSY;
    CHECK(says("key", CV_FINDING_NOTE, "open here already"));
    k->err = CV_OK;
    k->failure[0] = '\0';
    CHECK(says("pointer", CV_FINDING_PROBLEM, "nobody"));
    CHECK(look("knock") == NULL);
    reach(CV_MARK_POINTER, 100 * CV_MILLISECOND);
    reach(CV_MARK_KNOCK, 101 * CV_MILLISECOND);
    CHECK(says("pointer", CV_FINDING_OK, "after 100 ms"));
    CHECK(says("knock", CV_FINDING_PROBLEM, "no answer"));
    CHECK(look("path") == NULL);
    reach(CV_MARK_ANSWER, 300 * CV_MILLISECOND);
    snprintf(k->failure, sizeof k->failure, "no direct path: because");
    CHECK(says("path", CV_FINDING_PROBLEM, "no direct path: because"));
    CHECK(look("handshake") == NULL);
    reach(CV_MARK_PATH, 350 * CV_MILLISECOND);
    k->mark[CV_MARK_PATH].path = CV_PATH_IPV4;
    k->mark[CV_MARK_PATH].rtt = 50 * CV_MILLISECOND;
    k->mark[CV_MARK_PATH].addr = cv_addr_ipv4(0x14000c01, 5);
    CHECK(says("path", CV_FINDING_OK, "after 350 ms: ipv4, 50 ms"));
    reach(CV_MARK_CONFIRMED, 455 * CV_MILLISECOND);
    CHECK(says("handshake", CV_FINDING_OK, "after 455 ms"));
    CHECK(cv_findings_worst(&found) != CV_FINDING_PROBLEM);
}

TEST(nothing_that_names_a_place_is_shown_unless_asked)
{
    char *text;

    healthy();
    text = text_of(false);
    CHECK(strstr(text, "192.168.") == NULL && strstr(text, "20.0.") == NULL);
    CHECK(strstr(text, "stun0.example") == NULL);
    CHECK(strstr(text, "Nothing stands in the way.") != NULL);
    free(text);
    facts.addresses = true;
    text = text_of(false);
    CHECK(strstr(text, "private IPv4 192.168.1.7;") != NULL);
    CHECK(strstr(text, "stun1.example:3478 sees us at 20.0.11.1:40000") !=
          NULL);
    free(text);
}

TEST(the_text_counts_problems_and_the_json_parses)
{
    const struct cv_json *list;
    struct cv_json *root;
    char *text, worst[16];

    healthy();
    facts.node.dht = "disconnected";
    text = text_of(false);
    CHECK(strstr(text, "\n1 problem. ") != NULL);
    free(text);
    text = text_of(true);
    REQUIRE(cv_json_parse(&root, CV_BYTES(text, strlen(text))) == CV_OK);
    CHECK(cv_json_copy(root, "worst", worst, sizeof worst));
    CHECK_STR(worst, "problem");
    list = cv_json_get(root, "findings");
    CHECK_EQ(cv_json_count(list), found.n);
    cv_json_free(root);
    free(text);
}

TEST(what_does_not_fit_is_cut_or_dropped)
{
    char deep[2 * CV_FINDING_TEXT];

    memset(deep, 'x', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    memset(&found, 0, sizeof found);
    for (unsigned i = 0; i < CV_FINDINGS_MAX; i++)
        CHECK(cv_finding_add(&found, "a", CV_FINDING_OK, "%s", deep) != NULL);
    CHECK(cv_finding_add(&found, "a", CV_FINDING_OK, "b") == NULL);
    CHECK_EQ(strlen(found.f[0].seen), CV_FINDING_TEXT - 1);
    cv_finding_means(NULL, "nothing");
    cv_finding_todo(NULL, "nothing");
}

TEST(a_portal_is_known_by_where_it_sends)
{
    static const struct {
        const char *answer;
        enum cv_portal want;
        const char *to;
    } cases[] = {
        {"", CV_PORTAL_NONE, ""},
        {"SSH-2.0-OpenSSH\r\n", CV_PORTAL_NONE, ""},
        {"HTTP/1.1 2x0 OK\r\n\r\n", CV_PORTAL_NONE, ""},
        {"HTTP/1.1 200 OK\r\n\r\n<html>", CV_PORTAL_PAGE, ""},
        {"HTTP/1.0 511 Sign In\r\n\r\n", CV_PORTAL_YES, ""},
        {"HTTP/1.1 302 Found\r\nLocation: http://login.example/a?b\r\n\r\n",
         CV_PORTAL_YES, "login.example"},
        {"HTTP/1.1 302 Found\r\nX: 1\r\nlocation:https://a.example:81\r\n",
         CV_PORTAL_YES, "a.example"},
        {"HTTP/1.1 301 Moved\r\nLocation: https://STUN.example/\r\n\r\n",
         CV_PORTAL_PAGE, "STUN.example"},
        {"HTTP/1.1 302 Found\r\nLocation: /here\r\n\r\n", CV_PORTAL_PAGE, ""},
        {"HTTP/1.1 302 Found\r\nLocation: http://evil\x1b]0;\r\n\r\n",
         CV_PORTAL_YES, "evil"},
        {"HTTP/1.1 302 Found\r\n\r\nLocation: http://body.example/\r\n",
         CV_PORTAL_PAGE, ""},
    };
    char to[CV_PORTAL_HOST];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].answer);

        CHECK_EQ(
            cv_portal_judge(CV_BYTES(cases[i].answer, len), "stun.example", to),
            cases[i].want);
        CHECK_STR(to, cases[i].to);
        for (size_t k = 0; k < len; k++) /* cut anywhere */
            (void)cv_portal_judge(CV_BYTES(cases[i].answer, k), "stun.example",
                                  to);
    }
}

RUN_TESTS(T(how_long_the_nat_keeps_what_is_idle_has_a_line),
          T(a_healthy_home_has_no_problem), T(each_fact_has_its_words),
          T(blocked_udp_and_a_portal_are_told_apart), T(each_gate_has_a_line),
          T(versions_that_differ_are_a_problem),
          T(a_key_is_followed_to_where_it_stops),
          T(nothing_that_names_a_place_is_shown_unless_asked),
          T(the_text_counts_problems_and_the_json_parses),
          T(what_does_not_fit_is_cut_or_dropped),
          T(a_portal_is_known_by_where_it_sends))
