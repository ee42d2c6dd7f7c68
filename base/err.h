/* base/err.h - the error codes of the whole tree, and their sentences.
 *
 * Functions return CV_OK or a negative code.  The sentence says what happened
 * in words a person understands; what to do next is added by who reports it. */
#ifndef CV_BASE_ERR_H
#define CV_BASE_ERR_H

#define CV_MUST_USE __attribute__((warn_unused_result))

/* X(name, value, sentence) */
#define CV_ERRORS(X)                                                           \
    X(CV_OK, 0, "no error")                                                    \
    X(CV_ERR_NOMEM, -1, "out of memory")                                       \
    X(CV_ERR_NOBUF, -2, "the output does not fit")                             \
    X(CV_ERR_FORMAT, -3, "malformed data")                                     \
    X(CV_ERR_INVALID, -4, "invalid argument")                                  \
    X(CV_ERR_LIMIT, -5, "a limit was reached")                                 \
    X(CV_ERR_TIMEOUT, -6, "timed out")                                         \
    X(CV_ERR_AUTH, -7, "authentication failed")                                \
    X(CV_ERR_EXPIRED, -8, "expired")                                           \
    X(CV_ERR_REPLAY, -9, "seen before")                                        \
    X(CV_ERR_DENIED, -10, "refused by the other side")                         \
    X(CV_ERR_NOTFOUND, -11, "not found")                                       \
    X(CV_ERR_EXISTS, -12, "exists already")                                    \
    X(CV_ERR_IO, -13, "input or output failed")                                \
    X(CV_ERR_PERM, -14, "permissions are too open or not sufficient")          \
    X(CV_ERR_CLOSED, -15, "closed")                                            \
    X(CV_ERR_AGAIN, -16, "not now, try again")                                 \
    X(CV_ERR_BUSY, -17, "in use by another process")                           \
    X(CV_ERR_NONET, -18, "no usable network")                                  \
    X(CV_ERR_NOPATH, -19, "no direct path could be opened")                    \
    X(CV_ERR_VERSION, -20, "incompatible version")                             \
    X(CV_ERR_UNSUPPORTED, -21, "not supported")                                \
    X(CV_ERR_PEER, -22, "the other side broke the protocol")                   \
    X(CV_ERR_INTERNAL, -23, "internal error")

enum cv_err {
#define X(name, value, sentence) name = value,
    CV_ERRORS(X)
#undef X
};

/* The sentence of a code; "unknown error" for anything else.  Static. */
const char *cv_strerror(int err);

/* CV_ERR_* that fits an errno of the system: NOMEM, PERM, NOTFOUND, EXISTS,
 * AGAIN, NONET, BUSY, TIMEOUT, else IO. */
int cv_err_from_errno(int err);
#endif
