/* discovery/dht_struct.h - what the files of discovery/dht.h share.
 *
 *   dht.c         the whole: opening and closing it, and what is due
 *   dht_want.c    what the caller asked for: puts, gets, listeners
 *   dht_search.c  is anybody there: the probe, bootstrap nodes, neighbours
 *   dht_swap.c    a new runner takes over, and on which port one begins
 *   dht_runner.c  OpenDHT itself: runners, calls into it, its callbacks
 *   dht_box.c     the mailbox between its threads and the loop
 *
 * What the library does not tell, and what follows from it:
 *   - Its callbacks run in its own thread and there is no status: they only
 *     put a message into the mailbox, which the loop empties.  Whether we are
 *     connected is known from what answers: pings of bootstrap nodes, gets and
 *     puts that end well, and a probe (a get of a random key) every minute.
 *   - "done" may come late or never, so everything has a time of its own, and
 *     what a callback may still point to is kept until its runner has ended.
 *   - A put is stored in our own node first, and a get hands that copy out at
 *     once.  Values of ours that no other node has taken are not delivered, or
 *     reading back a pointer would prove nothing.
 *   - It resolves bootstrap names in its thread, holding its lock: we resolve
 *     them and ping the addresses.
 *   - LAN discovery asks once, at the start; no "connectivity changed" is
 *     exported: while nobody answers, a new runner takes over now and then, on
 *     the same port.  It ends the old one in a thread of its own.
 *   - Operations wait while it is "connecting".
 *   - A saved port that is taken leaves it with half its sockets: we choose.
 *   - A get that is asked for before it knows a node fails at once: it is put
 *     again when somebody answered.
 *
 * Timers, all in tick(): the probe; a look at the neighbours' folder while
 * not connected (2 s); the pings of each bootstrap node until it
 * answered; the end of gets (15 s); the repetition of puts that failed (5, 10,
 * 20 … 60 s, for ten minutes); the next runner. */
#ifndef CV_DISCOVERY_DHT_STRUCT_H
#define CV_DISCOVERY_DHT_STRUCT_H
#include "base/time.h"
#include "discovery/dht.h"
#include <pthread.h>

#define SEEN_MAX      16u /* values of one place that are told apart */
#define BOOTSTRAP_MAX 16u
#define CALLS_MAX     4096u /* calls into the library that may still call back */
#define NO_BOOT       UINT64_MAX /* a ping of a neighbour */

#define PROBE_SEARCH CV_SECOND        /* the next probe, while not connected */
#define SWAP_AFTER   (30 * CV_SECOND) /* without an answer */

/* Of OpenDHT; dht_runner.c knows what they are. */
struct dht_runner;
struct dht_value;
struct dht_op_token;
struct cv_neighbours;
struct cv_quicksend;

enum kind { PUT, GET, LISTEN, PING, PROBE };

struct mailbox;

/* One call into the library.  Its thread reads and writes what is below the
 * line, under the mailbox's lock. */
struct call {
    struct call *next;
    struct mailbox *box;
    enum kind kind;
    uint64_t id; /* the want's token, or which bootstrap node */
    struct cv_loc loc;
    struct dht_value *value;     /* PUT: stays referenced */
    struct dht_op_token *listen; /* LISTEN */
    cv_time finished_at;         /* in the loop's eyes; CV_NEVER */
    /* ---- */
    bool stopped;
    bool finished;
    unsigned values;
    size_t bytes;
};

enum message_kind { VALUE, DONE, ENDED, SWAPPED };

struct dht;

/* Between the library's threads and the loop; outlives both. */
struct mailbox {
    pthread_mutex_t lock;
    struct message *first, **last;
    unsigned n; /* values in it */
    bool posted;
    unsigned refs; /* the dht, a post on its way, a drain at work */
    struct cv_loop *loop;
    struct dht *dht; /* NULL once closed; the loop's */
};

/* What the caller asked for. */
struct want {
    struct want *next;
    cv_dht_token token;
    enum kind kind;
    struct cv_loc loc;
    cv_dht_value_fn value;
    cv_dht_done_fn done;
    void *user;
    struct call *call; /* NULL between two attempts */
    cv_time since;
    cv_time call_since;
    cv_time retry_at;        /* GET, PUT without a call; CV_NEVER: not now */
    uint64_t seen[SEEN_MAX]; /* of the last values, a part of their hashes */
    unsigned n_seen;
    unsigned values; /* handed on; of a GET at most so many, */
    size_t bytes;    /* and so long together, whichever way they came */
    /* PUT */
    uint8_t *data;
    size_t len;
    bool confirmed; /* other nodes have it */
    cv_time backoff;
};

struct boot {
    struct dht *d;
    char host[256];
    uint16_t port;
    bool answered;
    struct cv_resolve *resolve;
    cv_time next;
    cv_time backoff;
};

/* The end of one runner and the start of the next, in a thread. */
struct swap {
    pthread_t thread;
    struct mailbox *box;
    struct dht_runner *old;
    struct dht_runner *fresh;
    uint16_t port;
    bool lan;
    char *persist; /* borrowed */
};

struct dht {
    struct cv_dht base;
    struct cv_loop *loop;
    struct cv_log *log;
    uint16_t port;
    bool lan;
    char *persist;
    int persist_lock; /* fd, or -1 */
    void (*on_state)(void *user, enum cv_dht_state state);
    void *user;
    struct mailbox *box;
    struct cv_timer *timer;

    struct dht_runner *runner; /* NULL while swapping */
    struct swap *swap;
    cv_time runner_since;
    cv_time swap_interval;
    bool moved; /* the network has changed since this runner began */
    struct call *calls;
    unsigned n_calls;
    struct want *wants;
    unsigned n_wants;
    cv_dht_token last_token;

    struct cv_quicksend *quick; /* NULL: without */
    unsigned n_boots;
    struct boot boots[BOOTSTRAP_MAX];
    char *folder; /* of the neighbours; NULL: none */
    struct cv_neighbours *neighbours;
    cv_time look_at;

    enum cv_dht_state state, told;
    cv_time started; /* or last connected: the search began */
    struct cv_loc probe_loc;
    struct call *probe;
    cv_time probe_since;
    cv_time probe_at;
};

/* --- dht.c --- */

/* Set the timer for what is due next. */
void cv_dht_schedule(struct dht *d);
/* Tell the state, as the last thing: the callback may close us. */
void cv_dht_tell(struct dht *d);

/* --- dht_want.c --- */

extern const struct cv_dht_ops cv_dht_want_ops;

/* What came for a call of a want. */
void cv_dht_want_value(struct dht *d, const struct call *c,
                       struct cv_bytes value);
void cv_dht_want_done(struct dht *d, const struct call *c, bool ok);
/* A value that cv_quicksend_get() or …_listen() found. */
void cv_dht_want_quick(void *user, uint64_t get_token, struct cv_bytes value);
/* Somebody is there: start what waits. */
void cv_dht_wants_resume(struct dht *d);
/* The runner is new: ask for all of it. */
void cv_dht_wants_again(struct dht *d);
void cv_dht_wants_step(struct dht *d, cv_time now);
/* One get that took too long; its callback may change everything. */
bool cv_dht_want_expire(struct dht *d, cv_time now);
cv_time cv_dht_wants_deadline(const struct dht *d);
void cv_dht_wants_free(struct dht *d);

/* --- dht_search.c --- */

/* Some node is there. */
void cv_dht_somebody_answered(struct dht *d);
/* There is no runner, so nobody can answer. */
void cv_dht_nobody_to_ask(struct dht *d);
/* A call of the search has ended. */
void cv_dht_probe_done(struct dht *d, const struct call *c, bool ok);
void cv_dht_ping_done(struct dht *d, const struct call *c, bool ok);
/* CV_ERR_INVALID: one is not "HOST:PORT". */
CV_MUST_USE int cv_dht_boots_add(struct dht *d, const char *const *list,
                                 unsigned n);
/* Ping all of them, as if none had answered. */
void cv_dht_boots_again(struct dht *d);
/* Be found by neighbours, under the port that we have now. */
void cv_dht_neighbours_join(struct dht *d);
void cv_dht_search_step(struct dht *d, cv_time now);
cv_time cv_dht_search_deadline(const struct dht *d);

/* --- dht_swap.c --- */

/* The first runner; 0: on any port, best on that of the last time.
 * CV_ERR_BUSY: the port is taken; CV_ERR_NONET. */
CV_MUST_USE int cv_dht_runner_first(struct dht *d, uint16_t port);
/* End the runner and start the next, in a thread; it tells by SWAPPED. */
void cv_dht_swap_begin(struct dht *d, cv_time now);
void cv_dht_swap_end(struct dht *d);
void cv_dht_swap_step(struct dht *d, cv_time now);
cv_time cv_dht_swap_deadline(const struct dht *d);

/* --- dht_runner.c --- */

/* NULL when it cannot be started on this port. */
struct dht_runner *cv_dht_runner_start(uint16_t port, bool lan,
                                       const char *persist);
/* Let it finish what it does (and save its nodes), for a bounded time. */
void cv_dht_runner_end(struct dht_runner *r, unsigned grace_ms);
/* Ask the library.  NULL: it cannot be asked now.  `value` is that of a PUT. */
struct call *cv_dht_call_start(struct dht *d, enum kind kind, uint64_t id,
                               const struct cv_loc *loc, struct cv_bytes value);
/* Ping a node; `boot` is the number of a bootstrap node, or NO_BOOT. */
void cv_dht_ping(struct dht *d, uint64_t boot, const struct cv_addr *addr);
/* Nobody wants to hear of it any more. */
void cv_dht_call_stop(struct dht *d, struct call *c);
/* Free what finished a while ago; all of it when the runner has ended. */
void cv_dht_calls_sweep(struct dht *d, cv_time now, bool all);

/* --- dht_box.c --- */

/* With one reference, of `dht`.  NULL: out of memory. */
struct mailbox *cv_dht_box_new(struct cv_loop *loop, struct dht *dht);
/* Nothing is delivered any more; the reference of the dht is given back. */
void cv_dht_box_close(struct mailbox *box);
/* With the lock held.  Values are dropped when too many wait, or when the loop
 * takes no more; what ends something is kept for the next drain. */
void cv_dht_box_put(struct mailbox *box, struct call *call,
                    enum message_kind kind, bool ok, struct cv_bytes data);
/* It is there until cv_dht_box_leave(), and is emptied soon. */
void cv_dht_box_hold(struct mailbox *box);
void cv_dht_box_leave(struct mailbox *box);
#endif
