/* crdt/authors.h - whose units a text and an update are made of.
 *
 * A client id says who inserted a unit; that it belongs to a person is for the
 * session to know (session/claims.h).  Who deleted something is not in the
 * format. */
#ifndef CV_CRDT_AUTHORS_H
#define CV_CRDT_AUTHORS_H
#include "crdt/codec.h"
#include "crdt/doc.h"

/* Call fn() for each stretch of text [at, at + len) that one client inserted,
 * in the order of the text: as long as can be, whatever runs it lies in.  Stops
 * when fn() returns false.  CV_ERR_INVALID outside the text or inside of a
 * character.  Costs O(log n) for each run in the range. */
CV_MUST_USE int cv_doc_authors(const struct cv_doc *doc, size_t at, size_t len,
                               bool (*fn)(void *user, uint64_t client,
                                          size_t bytes),
                               void *user);

/* What an update wants deleted: fn() for each range, in the order of the
 * update.  CV_ERR_FORMAT before any call. */
CV_MUST_USE int cv_update_deletes(struct cv_bytes update,
                                  void (*fn)(void *user,
                                             const struct cv_range *range),
                                  void *user);

/* Append to `out` the update without the structs of clients that keep() says
 * false to; its deletes stay.  CV_ERR_FORMAT, or the writer's error. */
CV_MUST_USE int cv_update_filter(struct cv_bytes update,
                                 bool (*keep)(void *user, uint64_t client),
                                 void *user, struct cv_writer *out);
#endif
