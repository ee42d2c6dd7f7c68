/* tests/netlab/segment.c - the public segment of a lab, on TUN devices.
 *
 *   segment run SOCKET SEED    until it is told to quit, or ended
 *   segment SOCKET WORD…       tell a running one; its answer is printed
 *
 * What it is told, one line each:
 *
 *   attach NAME SPACE DEVICE PREFIX…   make DEVICE in the namespace SPACE
 *   prefix NAME PREFIX…         more addresses of an attachment
 *   detach NAME
 *   set KEY=VALUE…              delay, jitter, hold (milliseconds), loss, dup,
 *                               reorder (0..1), hops, icmp (0 or 1)
 *   block FROM TO               silence in one direction; "*" is everybody
 *   cut A B                     in both
 *   restore [FROM TO]           of all, without words
 *   count [reset]               JSON, see wan.h
 *   record FILE                 every packet that is sent, as pcap; "record
 *                               off" ends it
 *   quit */
#include "base/err.h"
#include "tests/netlab/wan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define BATCH          64
#define WORDS          16
/* While packets come closer together than BUSY, they are taken in groups: a
 * timer costs more than a packet. */
#define BUSY    (200 * CV_MICROSECOND)
#define GROUP   (100 * CV_MICROSECOND)
#define CONTROL UINT32_MAX /* in epoll_event.data, else a port */

struct segment {
    struct wan *wan;
    int tun[WAN_PORTS];        /* -1: free */
    int epoll, control, space; /* space: our own namespace */
    FILE *record;
    bool quit;
};

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
    (void)number;
    stopped = 1;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "segment: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(struct segment *s, int fd, uint32_t what)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = what};

    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
        die("epoll");
}

/* --- attachments --- */

/* A TUN device in another namespace, or -1 with errno. */
static int open_tun(struct segment *s, const char *space, const char *device)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    char path[128];
    int there, fd = -1;

    snprintf(path, sizeof(path), "/run/netns/%s", space);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
    if ((there = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return -1;
    if (setns(there, CLONE_NEWNET) == 0) {
        fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0) {
            close(fd);
            fd = -1;
        }
        if (setns(s->space, CLONE_NEWNET) < 0)
            die("namespace");
    }
    close(there);
    return fd;
}

static int add_prefixes(struct segment *s, int port, char *const *prefix)
{
    int err = port < 0 ? port : CV_OK;

    for (; err == CV_OK && *prefix != NULL; prefix++)
        err = wan_add_prefix(s->wan, (unsigned)port, *prefix);
    return err;
}

static int attach(struct segment *s, char *const *word)
{
    int err, port = wan_attach(s->wan, word[0]);

    if (port < 0)
        return port;
    s->tun[port] = open_tun(s, word[1], word[2]);
    if (s->tun[port] < 0)
        err = cv_err_from_errno(errno);
    else
        err = add_prefixes(s, port, word + 3);
    if (s->tun[port] >= 0 && err == CV_OK) {
        watch(s, s->tun[port], (uint32_t)port);
        return CV_OK;
    }
    if (s->tun[port] >= 0)
        close(s->tun[port]);
    s->tun[port] = -1;
    wan_detach(s->wan, (unsigned)port);
    return err;
}

static int detach(struct segment *s, const char *name)
{
    int port = wan_find(s->wan, name);

    if (port < 0)
        return port;
    close(s->tun[port]);
    s->tun[port] = -1;
    wan_detach(s->wan, (unsigned)port);
    return CV_OK;
}

/* --- recording: pcap, https://wiki.wireshark.org/Development/LibpcapFileFormat
 */

static int record(struct segment *s, const char *path)
{
    const uint32_t head[6] = {0xa1b23c4d, 2 | 4 << 16, 0,
                              0,          65535,       101 /* LINKTYPE_RAW */};

    if (s->record != NULL)
        fclose(s->record);
    s->record = NULL;
    if (strcmp(path, "off") == 0)
        return CV_OK;
    if ((s->record = fopen(path, "wb")) == NULL)
        return CV_ERR_IO;
    fwrite(head, sizeof(head), 1, s->record);
    return CV_OK;
}

static void record_packet(struct segment *s, const uint8_t *data, size_t len)
{
    struct timespec now;
    uint32_t head[4];

    if (s->record == NULL)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    head[0] = (uint32_t)now.tv_sec;
    head[1] = (uint32_t)now.tv_nsec;
    head[2] = head[3] = (uint32_t)len;
    fwrite(head, sizeof(head), 1, s->record);
    fwrite(data, len, 1, s->record);
}

/* --- control --- */

static int set_option(struct wan_options *o, const char *word)
{
    const char *value = strchr(word, '=');
    char *end;
    double number = value == NULL ? -1 : strtod(value + 1, &end);
    struct {
        const char *key;
        cv_time *time;
        double *share;
    } table[] = {
        {"delay=", &o->delay, NULL}, {"jitter=", &o->jitter, NULL},
        {"hold=", &o->hold, NULL},   {"loss=", NULL, &o->loss},
        {"dup=", NULL, &o->dup},     {"reorder=", NULL, &o->reorder},
    };

    if (value == NULL || *end != '\0' || !(number >= 0 && number <= 1e6))
        return CV_ERR_FORMAT;
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strncmp(word, table[i].key, strlen(table[i].key)) != 0)
            continue;
        if (table[i].time != NULL)
            *table[i].time = (cv_time)(number * (double)CV_MILLISECOND);
        else
            *table[i].share = number;
        return CV_OK;
    }
    if (strncmp(word, "hops=", 5) == 0 && number < 64)
        o->hops = (unsigned)number;
    else if (strncmp(word, "icmp=", 5) == 0)
        o->time_exceeded = number > 0;
    else
        return CV_ERR_FORMAT;
    return CV_OK;
}

static const char *anybody(const char *word)
{
    return strcmp(word, "*") == 0 ? NULL : word;
}

static int obey(struct segment *s, char *const *word, unsigned n, FILE *out)
{
    const char *what = n == 0 ? "" : word[0];
    int err = CV_OK;

    if (strcmp(what, "attach") == 0 && n >= 4)
        return attach(s, word + 1);
    if (strcmp(what, "prefix") == 0 && n >= 3)
        return add_prefixes(s, wan_find(s->wan, word[1]), word + 2);
    if (strcmp(what, "detach") == 0 && n == 2)
        return detach(s, word[1]);
    if (strcmp(what, "set") == 0) {
        for (unsigned i = 1; err == CV_OK && i < n; i++)
            err = set_option(wan_options(s->wan), word[i]);
        return err;
    }
    if (strcmp(what, "block") == 0 && n == 3)
        return wan_block(s->wan, anybody(word[1]), anybody(word[2]));
    if (strcmp(what, "cut") == 0 && n == 3) {
        err = wan_block(s->wan, anybody(word[1]), anybody(word[2]));
        return err != CV_OK
                   ? err
                   : wan_block(s->wan, anybody(word[2]), anybody(word[1]));
    }
    if (strcmp(what, "restore") == 0 && n == 1)
        return wan_restore(s->wan, NULL, NULL), CV_OK;
    if (strcmp(what, "restore") == 0 && n == 3)
        return wan_restore(s->wan, anybody(word[1]), anybody(word[2])), CV_OK;
    if (strcmp(what, "count") == 0) {
        wan_count(s->wan, out);
        if (n == 2 && strcmp(word[1], "reset") == 0)
            wan_count_reset(s->wan);
        return CV_OK;
    }
    if (strcmp(what, "record") == 0 && n == 2)
        return record(s, word[1]);
    if (strcmp(what, "quit") == 0)
        return s->quit = true, CV_OK;
    return CV_ERR_FORMAT;
}

static void serve(struct segment *s)
{
    const struct timeval patience = {.tv_sec = 1};
    char line[LINE_MAX_BYTES], *word[WORDS + 1] = {0}, *rest;
    int fd = accept4(s->control, NULL, NULL, SOCK_CLOEXEC), err;
    unsigned n = 0;
    ssize_t len;
    FILE *out;

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    len = recv(fd, line, sizeof(line) - 1, 0);
    if (len <= 0 || (out = fdopen(fd, "r+")) == NULL) {
        close(fd);
        return;
    }
    line[len] = '\0';
    for (char *w = strtok_r(line, " \n", &rest); w != NULL && n < WORDS;
         w = strtok_r(NULL, " \n", &rest))
        word[n++] = w;
    err = obey(s, word, n, out);
    fprintf(out, "%s\n", err == CV_OK ? "ok" : cv_strerror(err));
    fclose(out);
}

/* The answer's last line is "ok", or says what is wrong. */
static int tell(const char *path, char *const *word)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char line[LINE_MAX_BYTES] = "", answer[LINE_MAX_BYTES], last[128] = "";
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FILE *in;

    snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        die(path);
    for (; *word != NULL; word++)
        snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s ",
                 *word);
    if (send(fd, line, strlen(line), 0) < 0 || (in = fdopen(fd, "r")) == NULL)
        die(path);
    while (fgets(answer, sizeof(answer), in) != NULL) {
        snprintf(last, sizeof(last), "%.100s", answer);
        if (strcmp(answer, "ok\n") != 0 && answer[0] != '\0' &&
            strchr("[ {", answer[0]) != NULL)
            fputs(answer, stdout);
    }
    fclose(in);
    if (strcmp(last, "ok\n") == 0)
        return 0;
    fprintf(stderr, "segment: %s: %s", line,
            last[0] == '\0' ? "no answer\n" : last);
    return 1;
}

/* --- packets --- */

static void drain(struct segment *s, uint32_t port)
{
    static uint8_t data[65536];

    for (unsigned i = 0; i < BATCH && s->tun[port] >= 0; i++) {
        ssize_t n = read(s->tun[port], data, sizeof(data));

        if (n <= 0)
            return;
        record_packet(s, data, (size_t)n);
        wan_input(s->wan, port, data, (size_t)n, cv_time_now());
    }
}

static void deliver(struct segment *s)
{
    struct wan_packet *p;

    while ((p = wan_output(s->wan, cv_time_now())) != NULL) {
        /* What a device that is down does not take is lost. */
        if (p->to < WAN_PORTS && s->tun[p->to] >= 0 &&
            write(s->tun[p->to], p->data, p->len) < 0)
            errno = 0;
        free(p);
    }
}

/* Until there is something to do. */
static int rest(struct segment *s, struct epoll_event *event, int n)
{
    cv_time due = wan_deadline(s->wan), wait = due - cv_time_now();
    struct timespec ts;

    wait = wait < 0 ? 0 : wait;
    ts.tv_sec = (time_t)(wait / CV_SECOND);
    ts.tv_nsec = (long)(wait % CV_SECOND);
    return epoll_pwait2(s->epoll, event, n, due == CV_NEVER ? NULL : &ts, NULL);
}

static void loop(struct segment *s)
{
    const struct timespec group = {.tv_nsec = GROUP};
    struct epoll_event event[32];
    cv_time last = 0;

    while (!s->quit && !stopped) {
        int n;

        if (cv_time_now() - last < BUSY)
            clock_nanosleep(CLOCK_MONOTONIC, 0, &group, NULL);
        n = rest(s, event, 32);
        last = cv_time_now();
        deliver(s);
        for (int i = 0; i < n; i++)
            if (event[i].data.u32 == CONTROL)
                serve(s);
            else
                drain(s, event[i].data.u32);
    }
}

static int run(const char *path, uint64_t seed)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const struct sigaction stop = {.sa_handler = on_stop}; /* no SA_RESTART */
    struct segment s = {.wan = wan_new(seed)};

    for (unsigned i = 0; i < WAN_PORTS; i++)
        s.tun[i] = -1;
    s.space = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    s.epoll = epoll_create1(EPOLL_CLOEXEC);
    s.control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    if (s.wan == NULL || s.space < 0 || s.epoll < 0 || s.control < 0 ||
        bind(s.control, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(s.control, 16) < 0)
        die(path);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    setpriority(PRIO_PROCESS, 0, -10); /* in time, on a busy machine too */
    watch(&s, s.control, CONTROL);
    loop(&s);
    unlink(path);
    if (s.record != NULL)
        fclose(s.record);
    for (unsigned i = 0; i < WAN_PORTS; i++)
        if (s.tun[i] >= 0)
            close(s.tun[i]);
    wan_free(s.wan);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "run") == 0)
        return run(argv[2], strtoull(argv[3], NULL, 0));
    if (argc >= 3)
        return tell(argv[1], argv + 2);
    fprintf(stderr, "usage: segment run SOCKET SEED | segment SOCKET WORD…\n");
    return 2;
}
