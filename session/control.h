/* session/control.h - the messages of the control stream, as bytes.
 *
 * Pure codec: docs/protocol.md, "Session messages".  What came is clean of
 * control characters and within its bounds; whether it may come at that moment
 * is for session/admission.h, whether it is true for who reads it.
 *
 * The control stream is the first stream of the connection's client.  Every
 * message is one frame (session/frame.h): varuint type, then the body.  Bytes
 * after what is known of a body are left for later versions. */
#ifndef CV_SESSION_CONTROL_H
#define CV_SESSION_CONTROL_H
#include "base/cert.h"
#include "session/document.h"

#define CV_CONTROL_VERSION 1
/* Capabilities: bits that both sides must have to be used. */
#define CV_CONTROL_DOCUMENTS UINT64_C(1) /* text in step */
#define CV_CONTROL_STREAMS   UINT64_C(2) /* plain streams of libcovim */

#define CV_CONTROL_MAX      (64u * 1024u) /* one message of a member */
#define CV_CONTROL_PRE_MAX  4096u /* all messages of somebody who is none */
#define CV_PROOF_LEN        32u
#define CV_INVITE_PROOF_MAX 64u
#define CV_REASON_MAX_TEXT  129 /* 128 bytes and the NUL */
#define CV_CONTROL_MEMBERS  32u
#define CV_CONTROL_FILES    16u
#define CV_COLOURS          8u

enum cv_control_type {
    CV_CONTROL_NONE = 0,         /* unknown: ignored */
    CV_CONTROL_HELLO = 1,        /* first, both ways */
    CV_CONTROL_PENDING = 2,      /* a person was asked */
    CV_CONTROL_ASK = 3,          /* nobody answered: ask again */
    CV_CONTROL_GRANT = 4,        /* you are in; or your role changed */
    CV_CONTROL_REFUSED = 5,      /* you are not; the connection ends */
    CV_CONTROL_READY = 6,        /* I have verified your grant */
    CV_CONTROL_MEMBER_LIST = 16, /* who is connected to me */
    CV_CONTROL_FILE_LIST = 17,   /* documents */
    CV_CONTROL_BYE = 18,         /* I leave on purpose */
    CV_CONTROL_NAME = 19,        /* I am called otherwise now */
};

/* Why somebody is not let in; also the codes that end a connection, of which
 * transport/ uses the first two. */
enum cv_refusal {
    CV_REFUSAL_NONE = 0,      /* ended on purpose, nothing wrong */
    CV_REFUSAL_REPLACED = 1,  /* a newer connection took its place */
    CV_REFUSAL_VERSION = 2,   /* speaks another version */
    CV_REFUSAL_AUTH = 3,      /* certificate or session proof is wrong */
    CV_REFUSAL_GRANT = 4,     /* a grant that is not of this session */
    CV_REFUSAL_STRANGERS = 5, /* neither side is a member */
    CV_REFUSAL_PERSON = 6,    /* a person said no */
    CV_REFUSAL_NO_HOST = 7,   /* this member may not let others in */
    CV_REFUSAL_TIMEOUT = 8,   /* nobody answered, or the peer was silent */
    CV_REFUSAL_PROTOCOL = 9,  /* broke the protocol */
    CV_REFUSAL_FULL = 10,     /* as many neighbours as we want */
    CV_REFUSAL_LEAVING = 11,  /* this side leaves the session */
    CV_REFUSAL_INTERNAL = 12, /* our fault */
};
/* Short words for logs; never NULL. */
const char *cv_refusal_name(uint64_t code);

struct cv_hello {
    uint64_t version;
    uint64_t capabilities;
    uint8_t proof[CV_PROOF_LEN]; /* cv_session_proof() of the sender */
    struct cv_cert cert;         /* of the sender's node key */
    /* n == 0: none yet.  Here and in GRANT the first issuer, if it is the
     * session key, is zeros on the wire. */
    struct cv_grants grants;
    struct cv_bytes invite; /* reserved for invites; borrowed, empty */
    char name[CV_NAME_MAX_TEXT];
    uint8_t colour; /* 1…CV_COLOURS */
    uint8_t wants;  /* enum cv_role, of who has no grant */
};

struct cv_control_member {
    struct cv_key node;
    struct cv_key identity;
    uint8_t role; /* enum cv_role */
    bool admits;
    char name[CV_NAME_MAX_TEXT];
};

struct cv_control_file {
    uint32_t id;
    struct cv_document_meta meta;
};

struct cv_control {
    enum cv_control_type type;
    union {
        struct cv_hello hello;
        struct {
            uint32_t expires_s;
        } pending;
        struct cv_grants grant;
        struct {
            uint64_t code; /* enum cv_refusal, or unknown */
            char reason[CV_REASON_MAX_TEXT];
            char name[CV_NAME_MAX_TEXT]; /* NO_HOST: who may */
        } refused;
        struct {
            unsigned n;
            struct cv_control_member m[CV_CONTROL_MEMBERS];
        } members;
        struct {
            unsigned n;
            struct cv_control_file f[CV_CONTROL_FILES];
        } files;
        struct {
            char reason[CV_REASON_MAX_TEXT];
        } bye;
        struct {
            char name[CV_NAME_MAX_TEXT];
        } name;
    } u;
};

/* CV_ERR_FORMAT.  A type that is not known is CV_CONTROL_NONE. */
CV_MUST_USE int cv_control_parse(struct cv_control *out,
                                 struct cv_bytes message);
/* Append the message, framed.  The writer's error, or CV_ERR_INVALID for
 * CV_CONTROL_NONE. */
int cv_control_put(struct cv_writer *w, const struct cv_control *c);

/* The first issuer of a chain is the session itself: both sides know it, so in
 * messages there are zeros in its place. */
void cv_control_hide_session(struct cv_grants *g, const struct cv_key *session);
void cv_control_show_session(struct cv_grants *g, const struct cv_key *session);

/* That the sender knows the session S and speaks on this very connection:
 * HMAC under a key derived from S over exporter[32] and who it is.  S itself
 * is in no message. */
void cv_session_proof(uint8_t out[CV_PROOF_LEN], const struct cv_key *session,
                      const uint8_t exporter[32], const struct cv_key *sender);

/* Copy text of others: valid UTF-8, cut to cap - 1 bytes on a character
 * border, without control and direction characters. */
void cv_text_clean(char *out, size_t cap, const void *text, size_t len);

/* The meta data of a document: path checked (relative, normalised, no "..",
 * nothing that a person could mistake), ft and ff within their alphabets. */
bool cv_path_acceptable(const char *path);
int cv_put_meta(struct cv_writer *w, const struct cv_document_meta *meta);
void cv_get_meta(struct cv_reader *r, struct cv_document_meta *out);
#endif
