/* discovery/quickput.h - lay a small value into OpenDHT's network at once, look
 * for one, and be told of those that come.
 *
 * OpenDHT's own put waits until the eight nodes nearest to a location have all
 * answered, or kept silent for a second; and of nodes behind NATs some always
 * do: a knock then takes 1.2 s where it could take 0.15 s.  This asks the
 * nearest nodes that are known to answer, all at once, and gives the value to
 * each of them as soon as its token comes; tokens of before are good for some
 * minutes, so that mostly one packet each way is enough.  It comes on top of
 * the library's put, which keeps the value where it belongs.
 *
 * Its get asks for ids first and then for the values: here for both at once.
 * Its listen begins when its search has ended, and dead nodes hold that up for
 * three seconds each: here every near node that answers is listened at, and
 * asked again every 25 s (it forgets after 30), which also keeps our NAT open.
 *
 * The wire format is that of OpenDHT 2.4 (msgpack; `find`, `put`), with the
 * flag of a client ("s"), so that no other node is told of us.
 *
 * Pure: packets, node addresses and the time come in, packets go out. */
#ifndef CV_DISCOVERY_QUICKPUT_H
#define CV_DISCOVERY_QUICKPUT_H
#include "base/crypto.h"
#include "base/time.h"
#include "discovery/dht.h"

#define CV_QUICKPUT_VALUE   600u /* longer ones travel in parts: not here */
#define CV_QUICKPUT_NODES   64   /* remembered */
#define CV_QUICKPUT_BOOTS   8
#define CV_QUICKPUT_POLLS   3 /* gets at one place that run beside each other */
#define CV_QUICKPUT_LISTENS 24
#define CV_QUICKPUT_SPARE   8 /* jobs that listening leaves to others */
/* A dead node holds a round up, and must not hold up other places. */
#define CV_QUICKPUT_JOBS  (CV_QUICKPUT_LISTENS + CV_QUICKPUT_SPARE)
#define CV_QUICKPUT_NEAR  8  /* nodes that are listened at */
#define CV_QUICKPUT_ASKED 32 /* nodes, for one value */
#define CV_QUICKPUT_WIDTH 12 /* nearest ones that are asked and given */
#define CV_QUICKPUT_PUTS  32 /* packets with one value */
#define CV_QUICKPUT_TOKEN 64
/* OpenDHT takes a token of its last two secrets, which live for a quarter of an
 * hour and more. */
#define CV_QUICKPUT_TOKEN_LIFE (5 * CV_MINUTE)
#define CV_QUICKPUT_AGAIN      (250 * CV_MILLISECOND)
#define CV_QUICKPUT_SILENT     (700 * CV_MILLISECOND)
#define CV_QUICKPUT_TIME       (2 * CV_SECOND)
#define CV_QUICKPUT_PACKET     800 /* the longest that is sent */
#define CV_QUICKPUT_RENEW      (25 * CV_SECOND)

struct cv_quickput_node {
    struct cv_loc id;
    struct cv_addr addr; /* family NONE: free */
    cv_time replied;
    bool silent; /* the last time */
    uint8_t token[CV_QUICKPUT_TOKEN];
    size_t token_len;
};

enum cv_quickput_state {
    CV_QUICKPUT_NEW,
    CV_QUICKPUT_ASKED_ONCE,
    CV_QUICKPUT_ASKED_TWICE,
    CV_QUICKPUT_REPLIED, /* its newest token is known */
    CV_QUICKPUT_DONE,
    CV_QUICKPUT_FAILED,
};

struct cv_quickput_ask {
    enum cv_quickput_state state;
    bool has_id;
    struct cv_loc id;
    struct cv_addr addr;
    uint32_t tid;
    cv_time at; /* asked first */
    bool given; /* with the token that is here */
    uint8_t token[CV_QUICKPUT_TOKEN];
    size_t token_len;
};

struct cv_quickput_job {
    bool used;
    struct cv_loc loc;
    uint8_t value[CV_QUICKPUT_VALUE];
    size_t len;   /* 0: only look around */
    uint64_t get; /* hand on what is there, under this number; 0: no */
    uint32_t sid; /* and listen; 0: no */
    uint64_t id;
    cv_time started;
    unsigned puts;
    unsigned n;
    struct cv_quickput_ask ask[CV_QUICKPUT_ASKED];
};

struct cv_quickput_listen {
    uint64_t get; /* the number of what it hands on; 0: free */
    struct cv_loc loc;
    uint32_t sid;
    cv_time next;
    unsigned n; /* nodes, a ring */
    struct cv_addr node[2 * CV_QUICKPUT_NEAR];
};

struct cv_quickput {
    const struct cv_rng *rng; /* kept */
    void (*send)(void *user, const struct cv_addr *to, const uint8_t *data,
                 size_t len);
    void (*value)(void *user, uint64_t get, struct cv_bytes value);
    void *user;
    struct cv_loc id; /* ours, of no meaning */
    uint32_t last_tid;
    struct cv_quickput_node node[CV_QUICKPUT_NODES];
    unsigned n_boots;
    struct cv_addr boot[CV_QUICKPUT_BOOTS];
    struct cv_quickput_job job[CV_QUICKPUT_JOBS];
    struct cv_quickput_listen listen[CV_QUICKPUT_LISTENS];
};

/* Large (about 200 KiB). */
void cv_quickput_init(struct cv_quickput *q, const struct cv_rng *rng,
                      void (*send)(void *user, const struct cv_addr *to,
                                   const uint8_t *data, size_t len),
                      void (*value)(void *user, uint64_t get,
                                    struct cv_bytes value),
                      void *user);
/* A node to begin with; the first one starts a look around. */
void cv_quickput_boot(struct cv_quickput *q, const struct cv_addr *addr,
                      cv_time now);
/* CV_ERR_NOBUF when it is longer than CV_QUICKPUT_VALUE, CV_ERR_LIMIT. */
CV_MUST_USE int cv_quickput_put(struct cv_quickput *q, const struct cv_loc *loc,
                                struct cv_bytes value, cv_time now);
/* Hand what lies there now to `value`, under the number `get`, which is not 0.
 * It comes from every node that has it. */
void cv_quickput_get(struct cv_quickput *q, const struct cv_loc *loc,
                     uint64_t get, cv_time now);
/* The same, and what is laid there later, until it is ended.  Too many are left
 * out. */
void cv_quickput_listen(struct cv_quickput *q, const struct cv_loc *loc,
                        uint64_t get, cv_time now);
/* Our address is another one: say so wherever we listen, and ask what was laid
 * there meanwhile. */
void cv_quickput_moved(struct cv_quickput *q, cv_time now);
/* Nothing is handed on under this number any more. */
void cv_quickput_end(struct cv_quickput *q, uint64_t get);
/* Learn which nodes about this place answer. */
void cv_quickput_look(struct cv_quickput *q, const struct cv_loc *loc,
                      cv_time now);
void cv_quickput_input(struct cv_quickput *q, const struct cv_addr *from,
                       const uint8_t *data, size_t len, cv_time now);
cv_time cv_quickput_deadline(const struct cv_quickput *q);
void cv_quickput_step(struct cv_quickput *q, cv_time now);
#endif
