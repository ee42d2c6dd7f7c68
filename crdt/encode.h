/* crdt/encode.h - the document, or a part of it, as bytes.  For crdt/ only. */
#ifndef CV_CRDT_ENCODE_H
#define CV_CRDT_ENCODE_H
#include "crdt/store.h"

/* Append what the open transaction has changed, as an update. */
int cv_encode_txn(struct cv_doc *doc, struct cv_writer *out);
#endif
