/* base/log.h - one line a fact, to a sink that the program chooses.
 *
 * Levels and form: docs/style of the tree, "Logging".  `NULL` is a log that
 * drops everything.  Nothing is ever printed to stdout. */
#ifndef CV_BASE_LOG_H
#define CV_BASE_LOG_H
#include <stdbool.h>
#include <stdint.h>

enum cv_log_level {
    CV_LOG_ERROR, /* a person must act */
    CV_LOG_WARN,  /* we coped */
    CV_LOG_INFO,  /* a person may care */
    CV_LOG_DEBUG, /* every decision and state change */
    CV_LOG_TRACE, /* packets */
};

typedef void (*cv_log_fn)(void *user, enum cv_log_level level,
                          const char *line);

struct cv_log {
    enum cv_log_level level; /* lines above it are not formatted */
    bool show_addresses;     /* else cv_addr_log() masks them */
    cv_log_fn sink;
    void *user;
};

/* A sink for stderr: "covim: warn: line". `user` is the program's name. */
void cv_log_stderr(void *user, enum cv_log_level level, const char *line);

/* Parse "error".."trace"; false if it is none of them. */
bool cv_log_level_parse(const char *name, enum cv_log_level *level);

void cv_logf(const struct cv_log *log, enum cv_log_level level,
             const char *format, ...) __attribute__((format(printf, 3, 4)));

#define cv_log_at(log, lv, ...)                                                \
    do {                                                                       \
        const struct cv_log *cv_log_to_ = (log);                               \
        if (cv_log_to_ && cv_log_to_->level >= (lv))                           \
            cv_logf(cv_log_to_, (lv), __VA_ARGS__);                            \
    } while (0)
#define cv_error(log, ...) cv_log_at(log, CV_LOG_ERROR, __VA_ARGS__)
#define cv_warn(log, ...)  cv_log_at(log, CV_LOG_WARN, __VA_ARGS__)
#define cv_info(log, ...)  cv_log_at(log, CV_LOG_INFO, __VA_ARGS__)
#define cv_debug(log, ...) cv_log_at(log, CV_LOG_DEBUG, __VA_ARGS__)
#define cv_trace(log, ...) cv_log_at(log, CV_LOG_TRACE, __VA_ARGS__)
#endif
