#include "base/err.h"

#include <errno.h>

const char *cv_strerror(int err)
{
    switch (err) {
#define X(name, value, sentence)                                               \
    case value:                                                                \
        return sentence;
        CV_ERRORS(X)
#undef X
    default:
        return "unknown error";
    }
}

int cv_err_from_errno(int err)
{
    switch (err) {
    case 0:
        return CV_OK;
    case ENOMEM:
        return CV_ERR_NOMEM;
    case EPERM:
    case EACCES:
        return CV_ERR_PERM;
    case ENOENT:
    case ESRCH:
        return CV_ERR_NOTFOUND;
    case EEXIST:
        return CV_ERR_EXISTS;
    case EAGAIN:
    case EINTR:
        return CV_ERR_AGAIN;
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
        return CV_ERR_NONET;
    case EBUSY:
    case EADDRINUSE:
    case ETXTBSY:
        return CV_ERR_BUSY;
    case ETIMEDOUT:
        return CV_ERR_TIMEOUT;
    default:
        return CV_ERR_IO;
    }
}
