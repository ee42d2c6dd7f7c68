/* discovery/dhtwire.h - the five messages of OpenDHT's protocol (2.4, msgpack
 * over UDP) that discovery/quickput.c needs.
 *
 *   find   {a: {id, target}, q: "find", s: true, t, y: "q", v: "RNG1"}
 *   get    {a: {id, h}, q: "get", s: true, t, y: "q", v: "RNG1"}
 *   put    {a: {id, h, values: [{id, dat: {body: {type: 0, data}}}], token},
 *           q: "put", s: true, t, y: "q", v: "RNG1"}
 *   listen {a: {id, h, sid, token}, q: "listen", s: true, t, y: "q", v: "RNG1"}
 *   reply  {r: {id, n4: 26 bytes each, token, values, …}, t, y: "r", …}
 *
 *   part   {p: {number: {o: offset, d: data}}, t, y: "v", …}
 *
 * To who listens, values come as replies whose `t` is the `sid`.
 *
 * Values in a reply look as in a put; where they are too long for one packet
 * there are numbers in their place, and they follow as parts.  Parts that are
 * not whole values are skipped.
 *
 * "s" says that we are a client: others do not tell each other of us.
 *
 * Pure. */
#ifndef CV_DISCOVERY_DHTWIRE_H
#define CV_DISCOVERY_DHTWIRE_H
#include "base/addr.h"
#include "discovery/dht.h"

#define CV_DHTWIRE_TOKEN  64
#define CV_DHTWIRE_NODES  16
#define CV_DHTWIRE_VALUES 8

struct cv_dhtwire_node {
    struct cv_loc id;
    struct cv_addr addr;
};

struct cv_dhtwire_reply {
    uint32_t tid;
    bool part; /* not the reply itself: only values */
    struct cv_loc id;
    uint8_t token[CV_DHTWIRE_TOKEN];
    size_t token_len; /* 0: none */
    unsigned n;
    struct cv_dhtwire_node node[CV_DHTWIRE_NODES];
    unsigned n_values;
    struct cv_bytes value[CV_DHTWIRE_VALUES]; /* of the packet */
};

int cv_dhtwire_find(struct cv_writer *w, uint32_t tid, const struct cv_loc *id,
                    const struct cv_loc *target);
int cv_dhtwire_get(struct cv_writer *w, uint32_t tid, const struct cv_loc *id,
                   const struct cv_loc *loc);
int cv_dhtwire_put(struct cv_writer *w, uint32_t tid, const struct cv_loc *id,
                   const struct cv_loc *loc, uint64_t value_id,
                   struct cv_bytes value, struct cv_bytes token);
int cv_dhtwire_listen(struct cv_writer *w, uint32_t tid,
                      const struct cv_loc *id, const struct cv_loc *loc,
                      uint32_t sid, struct cv_bytes token);
/* CV_ERR_FORMAT for anything else.  `out` borrows from `data`. */
CV_MUST_USE int cv_dhtwire_reply(struct cv_dhtwire_reply *out,
                                 const uint8_t *data, size_t len);
#endif
