/* tests/netlab/punchprobe.c - two nodes of transport/ with nothing above: they
 * exchange their records through files, reach each other, and one ticks.
 *
 *   punchprobe joiner|sharer OUT IN MILLISECONDS [STUN ADDRESS:PORT…]
 *
 * With PUNCHPROBE_LATE in the environment the sharer learns of the joiner that
 * many milliseconds late, as by a slow knock, and the answer to that takes as
 * long; with PUNCHPROBE_SETTLE a record is written only after so long, as by
 * somebody who copies a token.
 *
 * OUT gets our record; IN is the other's, waited for.  The joiner sends a tick,
 * a number of one byte, every 20 ms on a stream and the sharer echoes it.
 * Prints, a line each:
 *   candidates N nat=0x…
 *   connected KIND MS         since both records were known
 *   path KIND                 on every change
 *   failed REASON
 *   wrong                     an echo is not the next number
 *   gap MS ticks N            at the end: longest wait for an echo */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transport/net.h"
#include "transport/pathset.h"

#define TICK (20 * CV_MILLISECOND)

struct record {
    struct cv_key node;
    struct cv_candidates own;
};

static struct cv_loop *loop;
static struct cv_net *net;
static struct cv_keypair key;
static struct record ours, theirs;
static bool joiner, have_ours, started, answered;
static cv_time late, found; /* PUNCHPROBE_LATE */
static cv_time settled;     /* PUNCHPROBE_SETTLE */
static const char *out_path, *in_path;
static struct cv_timer *timer;
static cv_time start, end, last_echo, longest;
static struct cv_conn *conn;
static struct cv_stream *stream;
static uint64_t ticks, echoes;

static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    cv_time now = cv_time_now();

    (void)user;
    (void)fin;
    if (!joiner) {
        if (cv_stream_send(s, data) != CV_OK)
            exit(1);
        return;
    }
    for (size_t i = 0; i < data.len; i++)
        if (data.data[i] != (uint8_t)echoes++)
            printf("wrong\n");
    if (last_echo > 0 && now - last_echo > longest)
        longest = now - last_echo;
    last_echo = now;
}

static const struct cv_stream_events stream_events = {.data = on_data};

static void on_stream(void *user, struct cv_conn *c, struct cv_stream *s)
{
    (void)user;
    (void)c;
    cv_stream_set_events(s, &stream_events, NULL);
}

static void on_path(void *user, struct cv_conn *c,
                    const struct cv_path_info *path)
{
    (void)user;
    (void)c;
    printf("path %s\n", cv_path_kind_name(path->kind));
}

static void on_closed(void *user, struct cv_conn *c, int err, uint64_t code,
                      const char *reason)
{
    (void)user;
    (void)c;
    (void)code;
    printf("closed %s %d\n", reason, err);
    conn = NULL;
    stream = NULL;
}

static const struct cv_conn_events conn_events = {
    .stream = on_stream,
    .path = on_path,
    .closed = on_closed,
};

static void on_conn(void *user, struct cv_conn *c)
{
    struct cv_path_info info;

    (void)user;
    conn = c;
    cv_conn_set_events(c, &conn_events, NULL);
    cv_conn_path(c, &info);
    printf("connected %s %lld\n", cv_path_kind_name(info.kind),
           (long long)((cv_time_now() - start) / CV_MILLISECOND));
    if (joiner && cv_conn_open(c, &stream) == CV_OK)
        cv_stream_set_events(stream, &stream_events, NULL);
}

static void on_attempt(void *user, const uint8_t attempt[8],
                       enum cv_attempt_state state, const char *reason)
{
    (void)user;
    (void)attempt;
    if (state == CV_ATTEMPT_FAILED) {
        printf("failed %s\n", reason);
        cv_loop_stop(loop);
    }
}

static void write_record(void)
{
    char temporary[4096];
    FILE *f;

    snprintf(temporary, sizeof temporary, "%s.new", out_path);
    f = fopen(temporary, "we");
    if (!f || fwrite(&ours, sizeof ours, 1, f) != 1 || fclose(f) != 0 ||
        rename(temporary, out_path) != 0)
        exit(1);
}

static void on_candidates(void *user, const struct cv_candidates *own)
{
    (void)user;
    printf("candidates %u nat=%#x\n", own->n, own->nat);
    ours.node = key.pub;
    ours.own = *own;
}

static const struct cv_net_events net_events = {
    .candidates = on_candidates,
    .attempt = on_attempt,
    .conn = on_conn,
};

static void try_start(cv_time now)
{
    struct cv_contact contact = {.knocked = joiner,
                                 .answered = joiner && started,
                                 .trusted = true,
                                 .attempt = "netlab!",
                                 .shared = "a secret that the two know"};
    int fd = open(in_path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (read(fd, &theirs, sizeof theirs) != (ssize_t)sizeof theirs)
        exit(1);
    close(fd);
    if (found == 0)
        found = now;
    if (!joiner && now - found < late)
        return;
    contact.node = theirs.node;
    contact.peer = theirs.own;
    if (cv_net_connect(net, &contact) != CV_OK)
        exit(1);
    if (!started)
        start = now;
    else
        answered = true;
    started = true;
}

static void on_timer(void *user)
{
    cv_time now = cv_time_now();

    (void)user;
    if (now >= end) {
        cv_loop_stop(loop);
        return;
    }
    if (!have_ours && ours.own.n > 0 && now >= settled) {
        have_ours = true; /* the file is read once */
        write_record();
    }
    if (have_ours &&
        (!started || (joiner && !answered && !conn && now - start > 2 * late)))
        try_start(now);
    if (stream) {
        uint8_t tick = (uint8_t)ticks;

        ticks += cv_stream_send(stream, CV_BYTES(&tick, 1)) == CV_OK;
    }
    cv_timer_set(timer, now + TICK);
}

int main(int argc, char **argv)
{
    struct cv_log log = {
        .level = CV_LOG_DEBUG, .show_addresses = true, .sink = cv_log_stderr};
    struct cv_net_config config = {
        .log = &log, .rng = &cv_rng_system, .node = &key};

    if (argc < 5)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    joiner = strcmp(argv[1], "joiner") == 0;
    if (getenv("PUNCHPROBE_LATE"))
        late = atoi(getenv("PUNCHPROBE_LATE")) * CV_MILLISECOND;
    if (getenv("PUNCHPROBE_SETTLE"))
        settled = atoi(getenv("PUNCHPROBE_SETTLE")) * CV_MILLISECOND;
    settled += cv_time_now();
    out_path = argv[2];
    in_path = argv[3];
    end = cv_time_now() + atoi(argv[4]) * CV_MILLISECOND;
    config.stun = (const char *const *)&argv[5];
    config.n_stun = (unsigned)(argc - 5);
    if (cv_keypair_generate(&key, &cv_rng_system) != CV_OK ||
        cv_loop_new(&loop) != CV_OK ||
        cv_timer_new(&timer, loop, on_timer, NULL) != CV_OK)
        return 1;
    config.loop = loop;
    if (cv_net_new(&net, &config, &net_events, NULL) != CV_OK)
        return 1;
    cv_timer_set(timer, 0);
    cv_loop_run(loop);
    if (last_echo > 0 && cv_time_now() - last_echo > longest)
        longest = cv_time_now() - last_echo;
    printf("gap %lld ticks %llu\n", (long long)(longest / CV_MILLISECOND),
           (unsigned long long)echoes);
    cv_net_free(net);
    cv_timer_free(timer);
    cv_loop_free(loop);
    return 0;
}
