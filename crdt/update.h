/* crdt/update.h - updates as bytes, without a document. */
#ifndef CV_CRDT_UPDATE_H
#define CV_CRDT_UPDATE_H
#include "base/bytes.h"
#include "base/err.h"

/* The empty update: no structs, no deletes. */
#define CV_UPDATE_EMPTY_LEN 2

/* Decode strictly, keep nothing: CV_OK, CV_ERR_FORMAT or CV_ERR_NOMEM. */
CV_MUST_USE int cv_update_validate(struct cv_bytes update);

/* Which units an update brings: fn() for each run [clock, end) of one client
 * without a hole, in the order of the update.  It may bring them again; compare
 * with cv_doc_clock().  Deletes have no author and are not told.  CV_ERR_FORMAT
 * before any call. */
CV_MUST_USE int cv_update_clients(struct cv_bytes update,
                                  void (*fn)(void *user, uint64_t client,
                                             uint64_t clock, uint64_t end),
                                  void *user);

/* Append to `out` one update that does what updates[n] do together, in any
 * order.  Holes between known parts become Skip structs.  CV_ERR_FORMAT if one
 * of them is malformed, CV_ERR_NOMEM, or the writer's error; nothing is
 * appended then. */
CV_MUST_USE int cv_update_merge(const struct cv_bytes *updates, size_t n,
                                struct cv_writer *out);
#endif
