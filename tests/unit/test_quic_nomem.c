/* Every allocation of ours and of ngtcp2 fails once: our files are compiled
 * here with an allocator that counts. */
#include "tests/test.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

static unsigned long allocations, fail_at; /* 0: none fails */

static bool refuse(void)
{
    return ++allocations == fail_at;
}

static void *counted_malloc(size_t size)
{
    return refuse() ? NULL : malloc(size);
}

static void *counted_calloc(size_t n, size_t size)
{
    return refuse() ? NULL : calloc(n, size);
}

#define malloc counted_malloc
#define calloc counted_calloc
#include "transport/quic.c"
#include "transport/quic_end.c"
#include "transport/quic_input.c"
#include "transport/quic_new.c"
#include "transport/quic_queue.c"
#include "transport/quic_stream.c"
#undef malloc
#undef calloc

#include "tests/unit/quic_world.h"

static void *mem_malloc(size_t size, void *user)
{
    (void)user;
    return counted_malloc(size);
}

static void mem_free(void *p, void *user)
{
    (void)user;
    free(p);
}

static void *mem_calloc(size_t n, size_t size, void *user)
{
    (void)user;
    return counted_calloc(n, size);
}

static void *mem_realloc(void *p, size_t size, void *user)
{
    (void)user;
    return refuse() ? NULL : realloc(p, size);
}

static const ngtcp2_mem mem = {NULL, mem_malloc, mem_free, mem_calloc,
                               mem_realloc};

static size_t received;
static unsigned ended;

static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    (void)user;
    (void)fin;
    received += data.len;
    if (cv_stream_send(s, CV_LITERAL("answer")) != CV_OK)
        return;
    if (fin)
        cv_stream_finish(s);
}

static void on_stream_closed(void *user, struct cv_stream *s, int err)
{
    (void)user;
    (void)s;
    (void)err;
    ended++;
}

static const struct cv_stream_events stream_events = {on_data, NULL,
                                                      on_stream_closed};

static void on_stream(void *user, struct cv_conn *conn, struct cv_stream *s)
{
    (void)user;
    (void)conn;
    cv_stream_set_events(s, &stream_events, NULL);
}

static const struct cv_conn_events conn_events = {on_stream, NULL, NULL, NULL};

/* Join, talk, close; whatever fails, it ends. */
static void story(struct world *w)
{
    struct world_end *end = &w->end[0];
    uint8_t data[20000] = {0};
    struct cv_stream *s;

    if (!world_try_connect(w))
        return;
    world_run(w, w->now + CV_SECOND, NULL, NULL);
    for (unsigned i = 0; i < 3; i++) {
        if (end->conn && cv_conn_open(end->conn, &s) == CV_OK) {
            cv_stream_set_events(s, &stream_events, NULL);
            if (cv_stream_send(s, CV_BYTES(data, sizeof(data))) == CV_OK)
                cv_stream_finish(s);
        }
        if (end->conn)
            (void)cv_conn_datagram(end->conn, CV_BYTES(data, 100));
        world_run(w, w->now + CV_SECOND, NULL, NULL);
    }
    if (end->conn)
        cv_conn_close(end->conn, 1, "done");
    world_run(w, w->now + CV_MINUTE, NULL, NULL);
}

static unsigned long tell(unsigned long at)
{
    static const struct world_link link = {.delay = 5 * CV_MILLISECOND,
                                           .loss = 30};
    struct world *w = world_new(1, &link);

    w->end[0].ctx->mem = w->end[1].ctx->mem = &mem;
    w->end[0].events = w->end[1].events = &conn_events;
    allocations = 0;
    received = 0;
    fail_at = at;
    story(w);
    fail_at = 0;
    world_free(w);
    return allocations;
}

TEST(every_allocation_may_fail)
{
    unsigned long n = tell(0);

    CHECK(n > 50);
    CHECK(received > 60000);
    for (unsigned long i = 1; i <= n + 20; i++)
        tell(i);
    print_message("# %lu allocations\n", n);
}

RUN_TESTS(T(every_allocation_may_fail))
