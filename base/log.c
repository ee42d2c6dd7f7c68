#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Longer lines are cut: a log is read by the line. */
#define LINE_MAX_BYTES 1024

static const char *const level_name[] = {"error", "warn", "info", "debug",
                                         "trace"};
#define LEVELS (sizeof(level_name) / sizeof(level_name[0]))

void cv_log_stderr(void *user, enum cv_log_level level, const char *line)
{
    const char *program = user ? user : "covim";

    fprintf(stderr, "%s: %s: %s\n", program, level_name[level], line);
}

bool cv_log_level_parse(const char *name, enum cv_log_level *level)
{
    for (size_t i = 0; i < LEVELS; i++)
        if (strcmp(name, level_name[i]) == 0) {
            *level = (enum cv_log_level)i;
            return true;
        }
    return false;
}

void cv_logf(const struct cv_log *log, enum cv_log_level level,
             const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;

    if (!log || !log->sink || level > log->level)
        return;
    va_start(args, format);
    if (vsnprintf(line, sizeof(line), format, args) < 0)
        line[0] = '\0';
    va_end(args);

    /* A name that a peer chose must not start a line of its own, or talk to
     * the terminal. */
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    log->sink(log->user, level, line);
}
