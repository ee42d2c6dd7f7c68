/* cli/typed.h - lines that are typed on stdin while a command runs. */
#ifndef CV_CLI_TYPED_H
#define CV_CLI_TYPED_H
#include "base/loop.h"
#include "discovery/token.h"

struct cv_typed {
    struct cv_watch *watch; /* NULL: stdin is not polled */
    void (*line)(void *user, const char *line);
    void *user;
    char text[2 * CV_TOKEN_TEXT]; /* of a line that is not whole yet */
    size_t n;
};

/* Hand over every line that is not empty, until stdin ends.  An error of
 * cv_watch_new(): there will be none; a file cannot be polled. */
CV_MUST_USE int cv_typed_open(struct cv_typed *t, struct cv_loop *loop,
                              void (*line)(void *user, const char *line),
                              void *user);
/* Also when it was not opened, all zeros. */
void cv_typed_close(struct cv_typed *t);
#endif
