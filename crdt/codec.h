/* crdt/codec.h - the bytes of Yjs update v1, one struct at a time.
 *
 *   update  := varuint B, B * block, deletes
 *   block   := varuint N, client, clock, N * struct
 *   struct  := u8 info, rest          info & 0x1f: kind, 0x80: origin,
 *                                     0x40: right origin, 0x20: map key
 *   deletes := varuint D, D * (client, varuint R, R * (clock, length))
 *
 * Decoding is strict: whatever docs/protocol.md lists as malformed fails, and
 * nothing is allocated.  What is decoded borrows from the update. */
#ifndef CV_CRDT_CODEC_H
#define CV_CRDT_CODEC_H
#include "base/bytes.h"
#include "crdt/doc.h"

enum cv_kind { /* of a struct; 1 to 9 are the contents of items */
               CV_KIND_GC = 0,
               CV_KIND_DELETED = 1,
               CV_KIND_JSON = 2,
               CV_KIND_BINARY = 3,
               CV_KIND_STRING = 4,
               CV_KIND_EMBED = 5,
               CV_KIND_FORMAT = 6,
               CV_KIND_TYPE = 7,
               CV_KIND_ANY = 8,
               CV_KIND_DOC = 9,
               CV_KIND_SKIP = 10,
};

#define CV_INFO_KIND   0x1f
#define CV_INFO_KEY    0x20
#define CV_INFO_RIGHT  0x40
#define CV_INFO_ORIGIN 0x80

/* Does it take part in positions? */
static inline bool cv_kind_countable(unsigned kind)
{
    return kind >= CV_KIND_JSON && kind <= CV_KIND_DOC &&
           kind != CV_KIND_FORMAT;
}

/* May runs of it be cut and joined? */
static inline bool cv_kind_joins(unsigned kind)
{
    return kind <= CV_KIND_JSON || kind == CV_KIND_STRING ||
           kind == CV_KIND_ANY;
}

enum cv_parent {
    CV_PARENT_NONE, /* that of the origin or right origin */
    CV_PARENT_ROOT, /* a name */
    CV_PARENT_ITEM, /* the id of a type item */
};

struct cv_wire { /* one struct as it travels */
    uint8_t info;
    uint8_t kind;
    uint8_t parent; /* enum cv_parent */
    uint64_t client, clock;
    uint64_t len; /* units */
    struct cv_id origin, right;
    struct cv_id parent_id;
    struct cv_bytes root; /* CV_PARENT_ROOT */
    struct cv_bytes key;  /* with CV_INFO_KEY and a parent */
    /* STRING: the text.  JSON, ANY: the elements without their count.
     * DELETED, GC, SKIP: empty.  Others: all of it. */
    struct cv_bytes content;
};

struct cv_range { /* deleted units */
    uint64_t client, clock, len;
};

struct cv_update_reader {
    struct cv_reader r;
    unsigned nesting;
    uint64_t blocks;  /* not yet begun */
    uint64_t structs; /* left in this block */
    uint64_t client;
    uint64_t clock;      /* of the next struct */
    uint64_t delclients; /* not yet begun */
    uint64_t ranges;     /* left for this client */
};

void cv_update_open(struct cv_update_reader *u, struct cv_bytes update,
                    unsigned nesting);
/* The next struct; false at the end of the structs or when malformed. */
bool cv_update_struct(struct cv_update_reader *u, struct cv_wire *out);
/* The next delete range, once the structs are through; false at the end. */
bool cv_update_range(struct cv_update_reader *u, struct cv_range *out);
/* CV_OK if everything was read and was right. */
int cv_update_close(const struct cv_update_reader *u);

/* Drop the first `n` units (0 < n < len) of a struct: clock, origin, content.
 * *half: the cut fell into a surrogate pair, so the text begins with U+FFFD
 * that is not in `content`. */
void cv_wire_cut(struct cv_wire *s, uint64_t n, bool *half);

/* Write one struct.  `half` as above. */
void cv_wire_put(struct cv_writer *w, const struct cv_wire *s, bool half);

/* Offset of element `n` in the elements of JSON or ANY content (valid). */
size_t cv_elements_offset(unsigned kind, struct cv_bytes content, uint64_t n);
#endif
