/* cli/buffer.h - one document as the editor holds it: document <-> mirror <->
 * messages of docs/editor.md. */
#ifndef CV_CLI_BUFFER_H
#define CV_CLI_BUFFER_H
#include "cli/json.h"
#include "cli/rpc.h"
#include "session/document.h"

struct cv_buffer;

/* Changes stored but not yet confirmed by a peer, of one buffer. */
#define CV_BUFFER_UNSHARED_MAX 1000000u

/* The lines of a message as one text: joined by LF, a last LF if `eol`; one
 * empty line is the empty text.  CV_ERR_FORMAT: no lines, NUL or LF in one, or
 * not UTF-8; CV_ERR_LIMIT: more than CV_DOCUMENT_MAX. */
CV_MUST_USE int cv_buffer_text(const struct cv_json *params,
                               struct cv_writer *out);
/* Path, file type and so on from a message. */
void cv_buffer_meta(const struct cv_json *params,
                    struct cv_document_meta *meta);
/* Members `lines` and `eol`. */
void cv_buffer_put_lines(struct cv_json_out *o, struct cv_bytes text);

/* The editor is taken to have the document's text; `eol` is its setting.
 * `rpc`, `log` and `d` are kept.  Sets the document's events. */
CV_MUST_USE int cv_buffer_new(struct cv_buffer **out, struct cv_rpc *rpc,
                              struct cv_log *log, struct cv_document *d,
                              uint64_t number, uint64_t epoch, bool eol);
void cv_buffer_free(struct cv_buffer *b); /* the document's events end */
uint64_t cv_buffer_number(const struct cv_buffer *b);
uint64_t cv_buffer_epoch(const struct cv_buffer *b);
struct cv_document *cv_buffer_document(const struct cv_buffer *b);
uint64_t cv_buffer_erev(const struct cv_buffer *b); /* changes received */
/* Does a message speak of the current epoch? */
bool cv_buffer_is_current(const struct cv_buffer *b,
                          const struct cv_json *params);
uint64_t cv_buffer_unsynced(const struct cv_buffer *b);

/* Make the document's text `text`, as edits of our user.  CV_ERR_DENIED: a
 * viewer may not; then cv_buffer_resync(). */
CV_MUST_USE int cv_buffer_take(struct cv_document *d, struct cv_bytes text);

/* Messages of the editor about this document (its epoch is checked here). */
void cv_buffer_change(struct cv_buffer *b, const struct cv_json *params);
void cv_buffer_ack(struct cv_buffer *b, const struct cv_json *params);
void cv_buffer_cursor(struct cv_buffer *b, const struct cv_json *params);
void cv_buffer_verify(struct cv_buffer *b, const struct cv_json *params);
struct cv_buffer_undone {
    uint64_t count;      /* steps that were taken back */
    size_t line, column; /* start of the topmost change of the last one */
    bool grouped;
    uint64_t group; /* of that, if the editor gave it one */
};

/* Take back (or do again) a `count` of steps of our user, one by default: the
 * editor gets them as edits.  CV_ERR_INVALID: not the current epoch;
 * CV_ERR_DENIED: a viewer. */
CV_MUST_USE int cv_buffer_undo(struct cv_buffer *b,
                               const struct cv_json *params,
                               enum cv_undo_way way,
                               struct cv_buffer_undone *out);
/* Take back what somebody else did: the editor gets it as edits of kind `undo`,
 * and the user can undo it as one step.  Errors as cv_document_revert(). */
CV_MUST_USE int cv_buffer_revert(struct cv_buffer *b, const struct cv_key *who,
                                 bool dry, struct cv_reverted *out,
                                 size_t *line, size_t *column);
/* Start over: the editor gets the document's text. */
void cv_buffer_resync(struct cv_buffer *b, const char *reason);
#endif
