/* tests/unit/quic_app.h - an application at each end of quic_world.h: streams
 * that carry a pattern and check the other end's, and notes of what was told.
 */
#ifndef CV_TESTS_QUIC_APP_H
#define CV_TESTS_QUIC_APP_H
#include "tests/test.h"
#include "tests/unit/quic_world.h"

#define MIB ((size_t)1024 * 1024)

static const struct world_link good = {.delay = 10 * CV_MILLISECOND};

/* One stream at one end: sends `to_send` bytes of a pattern, checks what
 * comes against the other end's pattern. */
struct flow {
    struct app *app;
    struct cv_stream *s; /* NULL when closed */
    size_t to_send, queued, received;
    size_t piece; /* of one send; 0: 8000 */
    bool finish;  /* when all is queued */
    bool finished;
    bool got_fin;
    bool wrong; /* a byte was */
    bool echo;  /* send back what comes */
    unsigned agains, writables, calls, closed;
    int err;
};

struct app {
    struct world *world;
    unsigned index;
    struct flow flow[72];
    unsigned n;
    struct flow plan; /* of streams that the peer opens */
    unsigned datagrams, datagram_bytes;
    uint8_t last_datagram;
    unsigned paths, closed;
    enum cv_path_kind path;
    int err;
    uint64_t code;
    char reason[CV_QUIC_REASON_MAX + 1];
    bool quit_in_stream, quit_in_data, quit_in_closed, free_in_data;
    bool flush_in_data;
    bool ignore; /* set no events on peers' streams */
};

/* Both patterns depend on the place only. */
static inline uint8_t pattern(unsigned end, size_t at)
{
    return (uint8_t)(((at * 2654435761u) >> 11) + end * 101 + (at >> 16));
}

static inline void pump(struct flow *f)
{
    uint8_t buf[65536];
    int err;

    while (f->s && f->queued < f->to_send) {
        size_t piece = f->piece ? f->piece : 8000;
        size_t n = f->to_send - f->queued;

        if (n > piece)
            n = piece;
        REQUIRE(n <= sizeof(buf));
        for (size_t i = 0; i < n; i++)
            buf[i] = pattern(f->app->index, f->queued + i);
        err = cv_stream_send(f->s, CV_BYTES(buf, n));
        if (err == CV_ERR_AGAIN) {
            f->agains++;
            return;
        }
        if (err == CV_ERR_CLOSED)
            return;
        REQUIRE(err == CV_OK);
        f->queued += n;
    }
    if (f->s && f->finish && !f->finished) {
        f->finished = true;
        cv_stream_finish(f->s);
    }
}

static inline void on_data(void *user, struct cv_stream *s,
                           struct cv_bytes data, bool fin)
{
    struct flow *f = user;
    struct app *app = f->app;

    REQUIRE(f->s == s && !f->got_fin && (data.len > 0 || fin));
    f->calls++;
    for (size_t i = 0; i < data.len; i++)
        if (!f->echo && data.data[i] != pattern(!app->index, f->received + i))
            f->wrong = true;
    f->received += data.len;
    f->got_fin = fin;
    if (f->echo && cv_stream_send(s, data) != CV_OK)
        f->wrong = true;
    if (fin && f->echo)
        cv_stream_finish(s);
    if (app->quit_in_data)
        cv_conn_close(cv_stream_conn(s), 7, "enough");
    if (app->flush_in_data)
        cv_quic_flush(cv_stream_conn(s), app->world->now);
    if (app->free_in_data) {
        struct cv_conn *conn = cv_stream_conn(s);

        f->s = NULL;
        cv_quic_free(conn);
    }
}

static inline void on_writable(void *user, struct cv_stream *s)
{
    struct flow *f = user;

    REQUIRE(f->s == s && f->agains > f->writables);
    f->writables++;
    pump(f);
}

static inline void on_stream_closed(void *user, struct cv_stream *s, int err)
{
    struct flow *f = user;

    REQUIRE(f->s == s);
    f->s = NULL;
    f->closed++;
    f->err = err;
}

static const struct cv_stream_events stream_events = {on_data, on_writable,
                                                      on_stream_closed};

static inline struct flow *adopt(struct app *app, struct cv_stream *s,
                                 const struct flow *plan)
{
    struct flow *f = &app->flow[app->n++];

    REQUIRE(app->n <= sizeof(app->flow) / sizeof(app->flow[0]));
    *f = *plan;
    f->app = app;
    f->s = s;
    cv_stream_set_events(s, &stream_events, f);
    pump(f);
    return f;
}

static inline void on_stream(void *user, struct cv_conn *conn,
                             struct cv_stream *s)
{
    struct app *app = user;

    if (app->ignore)
        return;
    adopt(app, s, &app->plan);
    if (app->quit_in_stream)
        cv_conn_close(conn, 8, "no streams");
}

static inline void on_datagram(void *user, struct cv_conn *conn,
                               struct cv_bytes data)
{
    struct app *app = user;

    (void)conn;
    app->datagrams++;
    app->datagram_bytes += (unsigned)data.len;
    app->last_datagram = data.data[0];
}

static inline void on_path(void *user, struct cv_conn *conn,
                           const struct cv_path_info *path)
{
    struct app *app = user;

    (void)conn;
    app->paths++;
    app->path = path->kind;
}

static inline void on_closed(void *user, struct cv_conn *conn, int err,
                             uint64_t code, const char *reason)
{
    struct app *app = user;

    REQUIRE(app->closed == 0);
    for (unsigned i = 0; i < app->n; i++)
        REQUIRE(app->flow[i].s == NULL);
    app->closed++;
    app->err = err;
    app->code = code;
    snprintf(app->reason, sizeof(app->reason), "%s", reason);
    if (app->quit_in_closed) {
        app->world->end[app->index].conn = NULL;
        cv_quic_free(conn);
    }
}

static const struct cv_conn_events conn_events = {on_stream, on_datagram,
                                                  on_path, on_closed};

struct pair {
    struct world *w;
    struct app app[2];
};

static inline struct pair *pair_new(uint64_t seed,
                                    const struct world_link *link)
{
    struct pair *p = calloc(1, sizeof(*p));

    REQUIRE(p != NULL);
    p->w = world_new(seed, link);
    for (unsigned i = 0; i < 2; i++) {
        p->app[i].world = p->w;
        p->app[i].index = i;
        p->w->end[i].events = &conn_events;
        p->w->end[i].user = &p->app[i];
    }
    return p;
}

static inline struct pair *pair_join(uint64_t seed,
                                     const struct world_link *link)
{
    struct pair *p = pair_new(seed, link);

    world_join(p->w);
    return p;
}

static inline void pair_free(struct pair *p)
{
    world_free(p->w);
    free(p);
}

static inline struct flow *open_flow(struct pair *p, unsigned end,
                                     const struct flow *plan)
{
    struct cv_stream *s;

    REQUIRE(cv_conn_open(p->w->end[end].conn, &s) == CV_OK);
    return adopt(&p->app[end], s, plan);
}

static inline void run(struct pair *p, cv_time time)
{
    world_run(p->w, p->w->now + time, NULL, NULL);
}

static inline bool flows_closed(void *user)
{
    struct pair *p = user;

    for (unsigned i = 0; i < 2; i++) {
        if (p->app[i].n == 0)
            return false;
        for (unsigned k = 0; k < p->app[i].n; k++)
            if (!p->app[i].flow[k].closed)
                return false;
    }
    return true;
}

static inline bool conns_dead(void *user)
{
    struct pair *p = user;

    return p->w->end[0].dead && p->w->end[1].dead;
}
#endif
