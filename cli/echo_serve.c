#include <stdlib.h>

#include "cli/echo_struct.h"

struct serve {
    struct cv_echo e;
    cv_time until; /* --for */
    bool published;
};

/* What came on a stream and could not be sent back yet: it is paused
 * meanwhile. */
struct reply {
    struct cv_writer waiting;
    bool fin;
};

static void reply_more(void *user, struct cv_stream *s)
{
    struct reply *r = user;

    if (r->waiting.len > 0 &&
        cv_stream_send(s, cv_writer_bytes(&r->waiting)) == CV_ERR_AGAIN)
        return; /* `writable` calls us again */
    cv_writer_reset(&r->waiting);
    if (r->fin)
        cv_stream_finish(s);
    cv_stream_pause(s, false);
}

static void reply_data(void *user, struct cv_stream *s, struct cv_bytes data,
                       bool fin)
{
    struct reply *r = user;

    r->fin = fin;
    cv_put_raw(&r->waiting, data.data, data.len);
    if (r->waiting.err != CV_OK) {
        cv_stream_reset(s, CV_REFUSAL_INTERNAL);
        return;
    }
    cv_stream_pause(s, true);
    reply_more(r, s);
}

static void reply_closed(void *user, struct cv_stream *s, int err)
{
    struct reply *r = user;

    (void)s;
    (void)err;
    cv_writer_fini(&r->waiting);
    free(r);
}

static const struct cv_stream_events reply_events = {
    .data = reply_data,
    .writable = reply_more,
    .closed = reply_closed,
};

static void on_stream(void *user, struct cv_neighbour *n, struct cv_stream *s)
{
    struct reply *r = calloc(1, sizeof *r);

    (void)n;
    if (r == NULL) {
        cv_stream_reset(s, CV_REFUSAL_INTERNAL);
        return;
    }
    cv_writer_init_heap(&r->waiting, (size_t)2 * CV_STREAM_WINDOW);
    cv_stream_set_events(s, &reply_events, r);
    cv_echo_say(user, "stream");
}

static void on_changed(void *user)
{
    struct serve *s = user;
    struct cv_facts f;

    if (s->published || s->e.meeting == NULL)
        return;
    cv_meeting_facts(s->e.meeting, &f);
    s->published = f.published;
    if (f.published)
        cv_echo_say(&s->e, "published");
}

static void on_mark(void *user, const struct cv_mark *mark)
{
    cv_echo_mark(user, mark);
}

static void on_lost(void *user, struct cv_neighbour *n, bool left)
{
    cv_echo_closed(user, n, left);
}

static const struct cv_meeting_events events = {
    .changed = on_changed,
    .lost = on_lost,
    .stream = on_stream,
    .mark = on_mark,
    .token = cv_echo_token,
    .done = cv_echo_done,
};

static void on_due(struct cv_echo *e, cv_time now)
{
    const struct serve *s = (const struct serve *)e;

    if (now >= s->until)
        cv_echo_leave(e, CV_OK);
}

static void say_key(const struct cv_echo *e, const struct cv_key *key)
{
    struct cv_keytext text = {.kind = CV_KEYTEXT_SESSION, .key = *key};
    char buf[CV_KEYTEXT_MAX];
    struct cv_echo_line l;

    cv_echo_begin(&l, e, cv_loop_now(e->loop), "listening");
    cv_json_put_text(&l.json, "key", cv_keytext_format(&text, buf));
    cv_echo_end(&l);
}

int cv_echo_serve(const struct cv_options *options, struct cv_log *log)
{
    struct serve s = {
        .e = {.options = options, .log = log, .events = &events, .due = on_due},
        .until = CV_NEVER,
    };
    struct cv_grants grants;
    struct cv_keypair pair;
    int err = cv_echo_open(&s.e);

    if (err == CV_OK)
        err = cv_keypair_generate(&pair, &cv_rng_system);
    if (err == CV_OK)
        err = cv_node_host(s.e.node, &pair, &grants);
    if (err == CV_OK)
        err = cv_echo_meet(&s.e, &pair.pub, &grants);
    if (err == CV_OK && options->token)
        err = cv_echo_invite(&s.e);
    if (err == CV_OK) {
        say_key(&s.e, &pair.pub);
        if (options->for_s > 0)
            s.until = cv_loop_now(s.e.loop) + options->for_s * CV_SECOND;
        cv_timer_set(s.e.timer, s.until);
    }
    cv_wipe(&pair, sizeof pair);
    s.e.err = err;
    return cv_echo_run(&s.e);
}
