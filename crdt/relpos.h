/* crdt/relpos.h - positions that stay with the text around them: cursors.
 *
 * A position names the unit it sticks to.  As JSON (in awareness states) it is
 * {"type":T,"tname":N,"item":I,"assoc":A}, ids {"client":c,"clock":k}; the
 * fields below map one to one, JSON itself is the caller's. */
#ifndef CV_CRDT_RELPOS_H
#define CV_CRDT_RELPOS_H
#include "crdt/doc.h"

#define CV_RELPOS_NAME_MAX 63 /* bytes of a root name that we follow */

struct cv_relpos {
    bool has_item;
    bool has_type;
    bool has_tname;
    int32_t assoc;     /* < 0: sticks to the unit before, else to that after */
    struct cv_id item; /* the unit */
    struct cv_id type; /* of a nested type */
    char tname[CV_RELPOS_NAME_MAX + 1]; /* root name, NUL-terminated */
};

/* The position of byte `at` of the text.  Filled as Yjs does: with an item
 * also the root name.  CV_ERR_INVALID outside the text or inside a character;
 * CV_ERR_LIMIT for a root name that is too long. */
CV_MUST_USE int cv_relpos_from_offset(const struct cv_doc *doc, size_t at,
                                      int32_t assoc, struct cv_relpos *out);
/* Where it is now.  CV_ERR_NOTFOUND if the unit is not known (yet), collected,
 * or not in the text of this document. */
CV_MUST_USE int cv_relpos_to_offset(const struct cv_doc *doc,
                                    const struct cv_relpos *pos, size_t *at);

/* The binary form. */
CV_MUST_USE int cv_put_relpos(struct cv_writer *w, const struct cv_relpos *pos);
/* CV_ERR_FORMAT, or CV_ERR_LIMIT for a long name. */
CV_MUST_USE int cv_relpos_decode(struct cv_relpos *out, struct cv_bytes bytes);
#endif
