#include "cli/typed.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void on_input(void *user, unsigned ready)
{
    struct cv_typed *t = user;
    ssize_t n = read(STDIN_FILENO, t->text + t->n, sizeof(t->text) - 1 - t->n);
    char *line = t->text, *end;

    (void)ready;
    if (n <= 0) { /* no more commands; what runs goes on */
        cv_watch_set(t->watch, 0);
        return;
    }
    t->n += (size_t)n;
    t->text[t->n] = '\0';
    while ((end = strchr(line, '\n')) != NULL) {
        *end = '\0';
        if (*line)
            t->line(t->user, line);
        line = end + 1;
    }
    t->n -= (size_t)(line - t->text);
    memmove(t->text, line, t->n);
    if (t->n == sizeof(t->text) - 1) { /* no command is so long */
        fprintf(stderr, "covim: that line is too long\n");
        t->n = 0;
    }
}

int cv_typed_open(struct cv_typed *t, struct cv_loop *loop,
                  void (*line)(void *user, const char *line), void *user)
{
    t->line = line;
    t->user = user;
    t->n = 0;
    return cv_watch_new(&t->watch, loop, STDIN_FILENO, CV_WATCH_READ, on_input,
                        t);
}

void cv_typed_close(struct cv_typed *t)
{
    cv_watch_free(t->watch);
    t->watch = NULL;
}
