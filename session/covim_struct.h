/* session/covim_struct.h - the inside of libcovim: the public interface over
 * one node and its meetings.
 *
 *   covim.c         nodes
 *   covim_place.c   places: what the meeting tells, and what is told of it
 *   covim_peer.c    peers
 *   covim_stream.c  their streams
 *
 * A place is a meeting whose members speak plain streams.  Who listens is its
 * host; who dials gets the role of an editor, which here means nothing more
 * than being let in, and is found by nobody. */
#ifndef CV_SESSION_COVIM_STRUCT_H
#define CV_SESSION_COVIM_STRUCT_H
#include "covim/covim.h"
#include "session/meeting.h"

struct covim_node {
    struct cv_loop *loop;
    struct cv_node *node;
    struct cv_log log;
    void (*sink)(void *user, int level, const char *line);
    void *sink_user;
};

struct covim_place {
    covim_node *node;
    const struct covim_events *events;
    void *user;
    struct cv_key key;
    bool listening;
    bool closing;
    struct cv_meeting *meeting;
    struct cv_timer *timer;
    covim_peer *peers;
    void (*done)(void *user);
    void *done_user;
    bool ended;
    char ended_text[CV_STAGE_TEXT];
    struct cv_finding_told told;
};

struct covim_peer {
    covim_peer *next;
    covim_place *place;
    struct cv_neighbour *neighbour; /* NULL: it has ended, `closed` is due */
    uint8_t identity[COVIM_KEY_LEN];
    char name[COVIM_NAME_TEXT];
    void *user;
    uint32_t asked;   /* the knock that the program was told of */
    bool opening;     /* told */
    bool established; /* told */
    bool ended;       /* `closed` is to be told */
    int err;
    enum covim_path path;
    covim_stream *streams;
};

struct covim_stream {
    covim_stream *next;
    covim_peer *peer;
    struct cv_stream *stream;
    const struct covim_stream_events *events;
    void *user;
};

/* --- covim_place.c --- */

/* The program will be told what is new, from the loop. */
void cv_api_wake(covim_place *place);
/* A stream may come before the program was told of the peer: tell it first. */
void cv_api_tell_established(covim_peer *p);

/* --- covim_peer.c --- */

/* The peer that stands for a neighbour; NULL: no memory. */
covim_peer *cv_api_peer_of(covim_place *place, struct cv_neighbour *n);
void cv_api_free_peer(covim_peer *p);
/* The connection is gone, and its streams with it; the program is told in its
 * turn. */
void cv_api_end_peer(covim_peer *p, int err);

/* --- covim_stream.c --- */

/* NULL: no memory, and `cs` is as it was. */
covim_stream *cv_api_wrap_stream(covim_peer *p, struct cv_stream *cs);
/* Reset it, without a word to the program. */
void cv_api_abandon_stream(covim_stream *s);
/* Tell the program that it has ended; then it is gone. */
void cv_api_end_stream(covim_stream *s, int err);
#endif
