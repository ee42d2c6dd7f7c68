#include "gate/check.h"
#include "transport/udp.h"
#include <linux/landlock.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#define YEAR_2025 UINT64_C(1735689600000) /* as a clock that was never set */

static void line(bool ok, const char *text)
{
    printf("%-5s %s\n", ok ? "ok" : "note", text);
}

static void say_addresses(const struct cv_gate_config *c)
{
    char text[512], at[CV_ADDR_TEXT];

    for (unsigned i = 0; i < c->n_listen; i++) {
        snprintf(text, sizeof text,
                 "%s: links by TLS on TCP%s; let %s in from everywhere",
                 cv_addr_format(&c->listen[i], at),
                 c->udp ? ", packets by UDP" : "", c->udp ? "both" : "it");
        line(true, text);
    }
    for (unsigned i = 0; i < c->n_proxied; i++) {
        bool local = cv_addr_kind(&c->proxied[i]) == CV_ADDR_LOOPBACK;

        snprintf(text, sizeof text,
                 "%s: WebSockets of a reverse proxy, without TLS%s",
                 cv_addr_format(&c->proxied[i], at),
                 local ? ""
                       : "; not on loopback: whoever reaches it can claim any "
                         "address by X-Forwarded-For");
        line(local, text);
    }
    if (!c->udp)
        line(false, "udp is off: all packets go over TCP, which is slower and "
                    "suffers from loss");
    if (c->udp || c->dht)
        line(true, "whether UDP comes through your firewall only another "
                   "machine can tell: run there \"covim doctor --gate "
                   "NAME\" with this one's name");
}

static void say_policy(const struct cv_gate_config *c)
{
    static const char *const means[] = {
        [CV_GATE_OPEN_TO_ALL] = "open: it serves everybody, within the limits",
        [CV_GATE_KEYS] = "keys: it serves the identities that are listed",
        [CV_GATE_HOSTS] = ("hosts: identities that are listed may share, "
                           "anybody may join them"),
        [CV_GATE_TOKEN] = "token: it serves who knows the token",
    };
    char text[256];

    snprintf(text, sizeof text, "policy %s", means[c->policy]);
    line(true, text);
}

static void say_files(const struct cv_gate_config *c)
{
    rlim_t want = (rlim_t)c->limits.links + CV_GATE_SPARE_FILES;
    struct rlimit lim = {0};
    char text[256];

    (void)getrlimit(RLIMIT_NOFILE, &lim);
    snprintf(text, sizeof text, "%u links want %llu open files, %llu may be",
             (unsigned)c->limits.links, (unsigned long long)want,
             (unsigned long long)lim.rlim_cur);
    line(lim.rlim_cur >= want, text);
}

static void say_buffer(const struct cv_gate_config *c)
{
    FILE *f = fopen("/proc/sys/net/core/rmem_max", "r");
    long max = 0;
    char text[256];

    if (f && fscanf(f, "%ld", &max) != 1)
        max = 0;
    if (f)
        fclose(f);
    if (!c->udp || max == 0)
        return;
    snprintf(text, sizeof text,
             "UDP buffers of %ld KiB; for many thousand packets a second: "
             "sysctl net.core.rmem_max=%d",
             max / 1024, CV_UDP_BUFFER);
    line(max >= CV_UDP_BUFFER, text);
}

static void say_clock(void)
{
    struct timex t = {0};
    int state = adjtimex(&t);

    if (cv_unix_now() < YEAR_2025)
        line(false, "the clock is wrong: certificates and pointers will be "
                    "refused");
    else if (state == TIME_ERROR || (t.status & STA_UNSYNC))
        line(false, "the kernel says that nothing sets the clock (NTP)");
    else
        line(true, "the clock is set by the network");
}

static void say_sandbox(const struct cv_gate_config *c)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0,
                           LANDLOCK_CREATE_RULESET_VERSION);

    if (!c->sandbox)
        line(false, "sandbox is off: it keeps all rights of its user");
    else if (version < 0)
        line(false, "the kernel has no Landlock: files stay reachable as the "
                    "user's rights allow");
    else
        line(true, "files are closed to it once it runs (Landlock)");
    if (geteuid() == 0)
        line(false, "it runs as root; only the right to bind port 443 is "
                    "needed (AmbientCapabilities=CAP_NET_BIND_SERVICE)");
}

void cv_gate_check_print(const struct cv_gate_config *config)
{
    say_addresses(config);
    say_policy(config);
    say_files(config);
    say_buffer(config);
    say_clock();
    say_sandbox(config);
}
