/* session/link.h - the stream that keeps one document in step with one member.
 *
 * The connection's client opens it.  Its first frame says what it is for,
 *
 *   opening := varuint 1 (a document), varuint id
 *
 * and all others, both ways, are messages of session/document_impl.h. */
#ifndef CV_SESSION_LINK_H
#define CV_SESSION_LINK_H
#include "session/document_impl.h"
#include "session/frame.h"
#include "transport/conn.h"

struct cv_link;

#define CV_LINK_DOCUMENT    1u
#define CV_LINK_OPENING_MAX 64u

struct cv_link_config {
    struct cv_stream *stream; /* taken */
    uint32_t member;
    struct cv_key identity, node; /* theirs */
    enum cv_role role;            /* theirs */
    /* The document with that id, or NULL: the link then ends. */
    struct cv_document *(*document)(void *user, uint32_t id);
    /* Final: freed when this returns.  CV_OK: the stream was ended by the
     * other side; else what cv_document_link_input() or the framing said. */
    void (*end)(void *user, struct cv_link *link, int err);
    void *user;
};

/* `document` NULL: the other side opened the stream and says what for. */
CV_MUST_USE int cv_link_new(struct cv_link **out,
                            const struct cv_link_config *config,
                            struct cv_document *document);
/* Without the event; resets the stream. */
void cv_link_free(struct cv_link *link);
/* Has the member everything that we have? */
bool cv_link_in_step(const struct cv_link *link);

/* The first frame.  CV_ERR_FORMAT; a kind that is not known gives id 0. */
CV_MUST_USE int cv_link_parse_opening(uint32_t *id, struct cv_bytes message);
#endif
