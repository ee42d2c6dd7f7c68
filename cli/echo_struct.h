/* cli/echo_struct.h - what the files of cli/echo.h share.
 *
 *   echo.c         a node and a meeting, from the command line to the end
 *   echo_dial.c    the side that sends, and looks at what comes back
 *   echo_serve.c   the side that sends it back
 *   echo_line.c    the lines that are printed */
#ifndef CV_CLI_ECHO_STRUCT_H
#define CV_CLI_ECHO_STRUCT_H
#include "cli/echo.h"
#include "cli/json.h"
#include "cli/typed.h"
#include "session/meeting.h"

#define CV_ECHO_LINE 2560 /* bytes of a line, at most: a token is 2,004 */

struct cv_echo {
    const struct cv_options *options;
    struct cv_log *log;
    struct cv_loop *loop;
    struct cv_node *node;
    struct cv_meeting *meeting;
    struct cv_signal *stops[3];
    struct cv_timer *timer; /* `due` */
    const struct cv_meeting_events *events;
    void (*due)(struct cv_echo *e, cv_time now);
    cv_time zero;                 /* lines count from here */
    const struct cv_token *token; /* dial: the host's, instead of the DHT */
    struct cv_typed typed;        /* serve --token: the one that comes back */
    bool hold;                    /* dial: not before cv_meeting_go() */
    bool leaving;
    int err;
};

/* --- echo.c --- */

/* Load, open, start; the meeting is opened by the caller. */
CV_MUST_USE int cv_echo_open(struct cv_echo *e);
CV_MUST_USE int cv_echo_meet(struct cv_echo *e, const struct cv_key *session,
                             const struct cv_grants *grants);
/* Make a token, and take the one that comes back: "add TOKEN" on stdin. */
CV_MUST_USE int cv_echo_invite(struct cv_echo *e);
/* struct cv_echo: the event `token` of a meeting. */
void cv_echo_token(void *user, int err, const char *why,
                   const struct cv_token *t);
/* struct cv_echo: the event `done`. */
void cv_echo_done(void *user);
/* Say goodbye, then end the loop; `err` becomes the exit code. */
void cv_echo_leave(struct cv_echo *e, int err);
/* Until it was left; frees everything. */
int cv_echo_run(struct cv_echo *e);

/* --- echo_line.c --- */

/* Begin the line of an event at `at`; add members; end it: it is printed. */
struct cv_echo_line {
    uint8_t text[CV_ECHO_LINE];
    struct cv_writer w;
    struct cv_json_out json;
};

void cv_echo_begin(struct cv_echo_line *l, const struct cv_echo *e, cv_time at,
                   const char *event);
void cv_echo_put_peer(struct cv_echo_line *l, const struct cv_key *node);
void cv_echo_put_path(struct cv_echo_line *l, const struct cv_echo *e,
                      enum cv_path_kind kind, const struct cv_addr *addr,
                      cv_time rtt);
void cv_echo_end(struct cv_echo_line *l);
/* A milestone, as a line. */
void cv_echo_mark(const struct cv_echo *e, const struct cv_mark *mark);
/* A connection is gone; `left`: they said goodbye. */
void cv_echo_closed(const struct cv_echo *e, const struct cv_neighbour *n,
                    bool left);
/* A line that is only its event. */
void cv_echo_say(const struct cv_echo *e, const char *event);
/* The machine's monotonic clock, which two programs on it share. */
void cv_echo_put_clock(struct cv_echo_line *l, const struct cv_echo *e);
#endif
