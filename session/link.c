#include "session/link.h"

#include <stdlib.h>

struct cv_link {
    struct cv_link_config config;
    struct cv_stream *stream;
    struct cv_frames frames;
    struct cv_document_link *link; /* NULL until the opening came */
    struct cv_writer out;          /* one frame at a time */
};

static const struct cv_stream_events no_events;

int cv_link_parse_opening(uint32_t *id, struct cv_bytes message)
{
    struct cv_reader r;
    uint64_t kind, number;

    cv_reader_init(&r, message.data, message.len);
    kind = cv_get_varuint(&r);
    number = cv_get_varuint(&r);
    *id = 0;
    if (r.err != CV_OK || number == 0 || number > UINT32_MAX)
        return CV_ERR_FORMAT;
    if (kind == CV_LINK_DOCUMENT)
        *id = (uint32_t)number;
    return CV_OK;
}

static int send_message(void *user, struct cv_bytes message)
{
    struct cv_link *l = user;
    int err;

    if (l->stream == NULL)
        return CV_ERR_CLOSED;
    cv_writer_reset(&l->out);
    err = cv_put_frame(&l->out, message);
    if (err != CV_OK)
        return err;
    return cv_stream_send(l->stream, cv_writer_bytes(&l->out));
}

static int attach(struct cv_link *l, struct cv_document *document)
{
    struct cv_document_link_config config = {
        .member = l->config.member,
        .identity = l->config.identity,
        .node = l->config.node,
        .role = l->config.role,
        .send = send_message,
        .user = l,
    };

    cv_frames_limit(&l->frames, CV_DOCUMENT_MESSAGE_MAX, CV_FRAME_NO_BUDGET);
    return cv_document_link_new(&l->link, document, &config);
}

static int on_frame(void *user, struct cv_bytes message)
{
    struct cv_link *l = user;
    struct cv_document *document;
    uint32_t id;
    int err;

    if (l->link != NULL)
        return cv_document_link_input(l->link, message);
    err = cv_link_parse_opening(&id, message);
    if (err != CV_OK)
        return err;
    document = id == 0 ? NULL : l->config.document(l->config.user, id);
    return document == NULL ? CV_ERR_NOTFOUND : attach(l, document);
}

static void release(struct cv_link *l)
{
    cv_document_link_free(l->link);
    cv_frames_fini(&l->frames);
    cv_writer_fini(&l->out);
    free(l);
}

/* It ends by its own: tell the owner, then go. */
static void end(struct cv_link *l, int err)
{
    if (l->stream != NULL) {
        cv_stream_set_events(l->stream, &no_events, NULL);
        cv_stream_reset(l->stream, 0);
        l->stream = NULL;
    }
    l->config.end(l->config.user, l, err);
    release(l);
}

static void on_data(void *user, struct cv_stream *s, struct cv_bytes data,
                    bool fin)
{
    struct cv_link *l = user;
    int err = cv_frames_feed(&l->frames, data, on_frame, l);

    (void)s;
    if (err != CV_OK)
        end(l, err);
    else if (fin)
        end(l, cv_frames_partial(&l->frames) ? CV_ERR_FORMAT : CV_OK);
}

static void on_writable(void *user, struct cv_stream *s)
{
    struct cv_link *l = user;

    (void)s;
    if (l->link != NULL)
        cv_document_link_writable(l->link);
}

static void on_closed(void *user, struct cv_stream *s, int err)
{
    struct cv_link *l = user;

    (void)s;
    l->stream = NULL;
    end(l, err == CV_ERR_CLOSED ? CV_ERR_CLOSED : CV_OK);
}

static const struct cv_stream_events stream_events = {
    .data = on_data,
    .writable = on_writable,
    .closed = on_closed,
};

int cv_link_new(struct cv_link **out, const struct cv_link_config *config,
                struct cv_document *document)
{
    struct cv_link *l = calloc(1, sizeof *l);
    uint8_t opening[16];
    struct cv_writer w;
    int err = CV_OK;

    if (l == NULL)
        return CV_ERR_NOMEM;
    l->config = *config;
    l->stream = config->stream;
    cv_frames_init(&l->frames, CV_LINK_OPENING_MAX, CV_FRAME_NO_BUDGET);
    cv_writer_init_heap(&l->out, CV_DOCUMENT_MESSAGE_MAX + 16);
    if (document != NULL) {
        cv_writer_init(&w, opening, sizeof opening);
        cv_put_varuint(&w, CV_LINK_DOCUMENT);
        cv_put_varuint(&w, cv_document_id(document));
        err = send_message(l, cv_writer_bytes(&w));
        if (err == CV_OK)
            err = attach(l, document);
    }
    if (err != CV_OK) {
        release(l);
        return err;
    }
    cv_stream_set_events(l->stream, &stream_events, l);
    *out = l;
    return CV_OK;
}

void cv_link_free(struct cv_link *l)
{
    if (l == NULL)
        return;
    if (l->stream != NULL) {
        cv_stream_set_events(l->stream, &no_events, NULL);
        cv_stream_reset(l->stream, 0);
    }
    l->stream = NULL;
    release(l);
}

bool cv_link_in_step(const struct cv_link *l)
{
    return l->link != NULL && cv_document_link_in_step(l->link) &&
           cv_document_link_queued(l->link) == 0;
}
