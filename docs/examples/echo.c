/* echo.c - libcovim in a hundred lines: a server that sends back what it gets,
 * and a client that talks to it, anywhere on the Internet, by a key.
 *
 *   echo                      prints a key and serves it
 *   echo KEY < IN > OUT       sends IN there, writes what comes back
 *
 * COVIM_BOOTSTRAP=HOST:PORT names another DHT than the public one. */
#include <covim/covim.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static covim_node *node;
static int status = 1;

static void on_state(void *user, covim_place *place, enum covim_state state,
                     const char *stage, const char *hint)
{
    (void)user, (void)place, (void)state;
    fprintf(stderr, "%s%s%s\n", stage, hint[0] != '\0' ? " - " : "", hint);
}

/* --- the server --- */

/* What came and could not be sent back yet: the stream is paused meanwhile. */
struct echo {
    char *waiting;
    size_t len;
    bool fin;
};

static void echo_more(void *user, covim_stream *s)
{
    struct echo *e = user;

    if (e->len > 0 && covim_stream_send(s, e->waiting, e->len) != COVIM_OK)
        return; /* `writable` calls us again */
    e->len = 0;
    if (e->fin)
        covim_stream_finish(s);
    covim_stream_pause(s, false);
}

static void echo_data(void *user, covim_stream *s, const void *data, size_t len,
                      bool fin)
{
    struct echo *e = user;
    char *more = realloc(e->waiting, e->len + len + 1);

    if (more == NULL) {
        covim_stream_reset(s);
        return;
    }
    memcpy(more + e->len, data, len);
    e->waiting = more;
    e->len += len;
    e->fin = fin;
    covim_stream_pause(s, true);
    echo_more(e, s);
}

static void echo_closed(void *user, covim_stream *s, int err)
{
    struct echo *e = user;

    (void)s, (void)err;
    free(e->waiting);
    free(e);
}

static const struct covim_stream_events echo_events = {
    .data = echo_data,
    .writable = echo_more,
    .closed = echo_closed,
};

static void on_stream(void *user, covim_peer *peer, covim_stream *s)
{
    struct echo *e = calloc(1, sizeof *e);

    (void)user, (void)peer;
    if (e == NULL)
        covim_stream_reset(s);
    else
        covim_stream_set_events(s, &echo_events, e);
}

static void on_guest(void *user, covim_peer *peer)
{
    char print[COVIM_PRINT_TEXT];

    (void)user;
    fprintf(stderr, "%s (%s) is here\n", covim_peer_name(peer),
            covim_peer_fingerprint(peer, print));
}

/* Without `ask` everybody who has the key is let in. */
static const struct covim_events server_events = {
    .state = on_state,
    .established = on_guest,
    .stream = on_stream,
};

/* --- the client --- */

static void on_answer(void *user, covim_stream *s, const void *data, size_t len,
                      bool fin)
{
    (void)user, (void)s;
    if (fwrite(data, 1, len, stdout) != len)
        covim_stop(node);
    if (fin && fflush(stdout) == 0)
        status = 0;
}

static void on_end(void *user, covim_stream *s, int err)
{
    (void)user, (void)s, (void)err;
    covim_stop(node);
}

static void send_more(void *user, covim_stream *s)
{
    static char buffer[65536];
    static size_t len;

    (void)user;
    for (;;) {
        if (len == 0)
            len = fread(buffer, 1, sizeof buffer, stdin);
        if (len == 0) {
            covim_stream_finish(s);
            return;
        }
        if (covim_stream_send(s, buffer, len) != COVIM_OK)
            return; /* `writable` calls us again */
        len = 0;
    }
}

static const struct covim_stream_events answer_events = {
    .data = on_answer,
    .writable = send_more,
    .closed = on_end,
};

static void on_server(void *user, covim_peer *peer)
{
    covim_stream *s;

    (void)user;
    if (covim_stream_open(&s, peer) != COVIM_OK)
        return;
    covim_stream_set_events(s, &answer_events, NULL);
    send_more(NULL, s);
}

static const struct covim_events client_events = {
    .state = on_state,
    .established = on_server,
};

static void on_closed(void *user)
{
    (void)user;
    covim_stop(node);
}

int main(int argc, char **argv)
{
    const char *bootstrap[] = {getenv("COVIM_BOOTSTRAP")};
    struct covim_config config = {
        .name = "echo",
        .bootstrap = bootstrap,
        .n_bootstrap = bootstrap[0] != NULL ? 1 : 0,
    };
    char why[256], key[COVIM_KEY_TEXT];
    covim_place *place = NULL;
    int err = covim_node_new(&node, &config, why, sizeof why);

    if (err == COVIM_OK && argc > 1)
        err = covim_dial(&place, node, argv[1], &client_events, NULL, why,
                         sizeof why);
    else if (err == COVIM_OK)
        err = covim_listen(&place, node, NULL, &server_events, NULL);
    if (err != COVIM_OK) {
        fprintf(stderr, "echo: %s: %s\n", covim_strerror(err), why);
        covim_node_free(node);
        return 1;
    }
    if (argc == 1) {
        printf("%s\n", covim_place_key(place, key));
        fflush(stdout);
    }
    covim_run(node);
    covim_close(place, on_closed, NULL);
    covim_run(node);
    covim_node_free(node);
    return status;
}
