#include "session/covim_struct.h"

#include <stdlib.h>

static void on_stream_data(void *user, struct cv_stream *cs,
                           struct cv_bytes data, bool fin)
{
    covim_stream *s = user;

    (void)cs;
    cv_api_tell_established(s->peer);
    if (s->events != NULL && s->events->data != NULL)
        s->events->data(s->user, s, data.data, data.len, fin);
}

static void on_stream_writable(void *user, struct cv_stream *cs)
{
    covim_stream *s = user;

    (void)cs;
    if (s->events != NULL && s->events->writable != NULL)
        s->events->writable(s->user, s);
}

void cv_api_end_stream(covim_stream *s, int err)
{
    covim_stream **at = &s->peer->streams;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->stream = NULL;
    if (s->events != NULL && s->events->closed != NULL)
        s->events->closed(s->user, s, err);
    free(s);
}

static void on_stream_closed(void *user, struct cv_stream *cs, int err)
{
    (void)cs;
    cv_api_end_stream(user, err);
}

static const struct cv_stream_events stream_events = {
    .data = on_stream_data,
    .writable = on_stream_writable,
    .closed = on_stream_closed,
};

void cv_api_abandon_stream(covim_stream *s)
{
    static const struct cv_stream_events no_events;

    if (s->stream == NULL)
        return;
    cv_stream_set_events(s->stream, &no_events, NULL);
    cv_stream_reset(s->stream, CV_REFUSAL_NONE);
}

covim_stream *cv_api_wrap_stream(covim_peer *p, struct cv_stream *cs)
{
    covim_stream *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->peer = p;
    s->stream = cs;
    s->next = p->streams;
    p->streams = s;
    cv_stream_set_events(cs, &stream_events, s);
    return s;
}

int covim_stream_open(covim_stream **out, covim_peer *p)
{
    struct cv_stream *cs;
    int err;

    if (p->neighbour == NULL || p->neighbour->peer == NULL)
        return COVIM_ERR_CLOSED;
    err = cv_peer_open(p->neighbour->peer, &cs);
    if (err != CV_OK)
        return err;
    *out = cv_api_wrap_stream(p, cs);
    if (*out != NULL)
        return COVIM_OK;
    cv_stream_reset(cs, CV_REFUSAL_INTERNAL);
    return COVIM_ERR_NOMEM;
}

void covim_stream_set_events(covim_stream *s,
                             const struct covim_stream_events *events,
                             void *user)
{
    s->events = events;
    s->user = user;
}

covim_peer *covim_stream_peer(const covim_stream *s)
{
    return s->peer;
}

int covim_stream_send(covim_stream *s, const void *data, size_t len)
{
    if (s->stream == NULL)
        return COVIM_ERR_CLOSED;
    return cv_stream_send(s->stream, CV_BYTES(data, len));
}

size_t covim_stream_unsent(const covim_stream *s)
{
    return s->stream != NULL ? cv_stream_unsent(s->stream) : 0;
}

void covim_stream_finish(covim_stream *s)
{
    if (s->stream != NULL)
        cv_stream_finish(s->stream);
}

void covim_stream_reset(covim_stream *s)
{
    if (s->stream != NULL)
        cv_stream_reset(s->stream, CV_REFUSAL_NONE);
}

void covim_stream_pause(covim_stream *s, bool paused)
{
    if (s->stream != NULL)
        cv_stream_pause(s->stream, paused);
}
