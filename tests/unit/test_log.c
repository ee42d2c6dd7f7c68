#include "base/err.h"
#include "base/log.h"
#include "base/time.h"
#include "tests/test.h"

#include <errno.h>

static char last[4096];
static enum cv_log_level last_level;
static int lines;

static void keep(void *user, enum cv_log_level level, const char *line)
{
    REQUIRE(user == &lines);
    last_level = level;
    snprintf(last, sizeof(last), "%s", line);
    lines++;
}

TEST(lines_above_the_level_are_dropped)
{
    struct cv_log log = {.level = CV_LOG_INFO, .sink = keep, .user = &lines};

    lines = 0;
    cv_error(&log, "a=%d", 1);
    CHECK_STR(last, "a=1");
    CHECK_EQ(last_level, CV_LOG_ERROR);
    cv_info(&log, "path: up, peer=%s", "01234567");
    CHECK_STR(last, "path: up, peer=01234567");
    cv_debug(&log, "no");
    cv_trace(&log, "no");
    cv_logf(&log, CV_LOG_DEBUG, "no");
    CHECK_EQ(lines, 2);
    CHECK_EQ(last_level, CV_LOG_INFO);
}

TEST(no_log_and_no_sink_drop_everything)
{
    struct cv_log log = {.level = CV_LOG_TRACE};
    const struct cv_log *none = NULL;

    cv_error(none, "no");
    cv_logf(none, CV_LOG_ERROR, "no");
    cv_error(&log, "no");
    CHECK(true);
}

TEST(a_line_is_one_line_and_has_an_end)
{
    struct cv_log log = {.level = CV_LOG_INFO, .sink = keep, .user = &lines};
    char name[3000];

    cv_warn(&log, "name=%s", "a\nwarn: b\x1b[2J\x7f\tc\xc3\xa4");
    CHECK_STR(last, "name=a?warn: b?[2J??c\xc3\xa4");
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    cv_warn(&log, "name=%s", name);
    CHECK_EQ(strlen(last), 1023);
}

TEST(levels_have_names)
{
    enum cv_log_level level = CV_LOG_ERROR;

    CHECK(cv_log_level_parse("trace", &level));
    CHECK_EQ(level, CV_LOG_TRACE);
    CHECK(cv_log_level_parse("error", &level));
    CHECK_EQ(level, CV_LOG_ERROR);
    CHECK(!cv_log_level_parse("loud", &level));
    CHECK(!cv_log_level_parse("", &level));
}

TEST(every_code_has_a_sentence)
{
    CHECK_STR(cv_strerror(CV_OK), "no error");
    CHECK_STR(cv_strerror(CV_ERR_EXPIRED), "expired");
    CHECK_STR(cv_strerror(1), "unknown error");
    CHECK_STR(cv_strerror(-1000), "unknown error");
    for (int err = CV_ERR_INTERNAL; err <= CV_OK; err++)
        CHECK(strcmp(cv_strerror(err), "unknown error") != 0);
}

TEST(errnos_become_codes)
{
    CHECK_EQ(cv_err_from_errno(0), CV_OK);
    CHECK_EQ(cv_err_from_errno(ENOMEM), CV_ERR_NOMEM);
    CHECK_EQ(cv_err_from_errno(EACCES), CV_ERR_PERM);
    CHECK_EQ(cv_err_from_errno(ENOENT), CV_ERR_NOTFOUND);
    CHECK_EQ(cv_err_from_errno(EEXIST), CV_ERR_EXISTS);
    CHECK_EQ(cv_err_from_errno(EAGAIN), CV_ERR_AGAIN);
    CHECK_EQ(cv_err_from_errno(ENETUNREACH), CV_ERR_NONET);
    CHECK_EQ(cv_err_from_errno(EADDRINUSE), CV_ERR_BUSY);
    CHECK_EQ(cv_err_from_errno(ETIMEDOUT), CV_ERR_TIMEOUT);
    CHECK_EQ(cv_err_from_errno(ENOSPC), CV_ERR_IO);
}

TEST(clocks_run_forward)
{
    cv_time before = cv_time_now(), after = cv_time_now();

    CHECK(before > 0 && before <= after);
    CHECK(cv_unix_now() > UINT64_C(1600000000000)); /* 2020 */
    CHECK_EQ(cv_time_min(3, CV_NEVER), 3);
    CHECK_EQ(cv_time_min(4, 3), 3);
}

RUN_TESTS(T(lines_above_the_level_are_dropped),
          T(no_log_and_no_sink_drop_everything),
          T(a_line_is_one_line_and_has_an_end), T(levels_have_names),
          T(every_code_has_a_sentence), T(errnos_become_codes),
          T(clocks_run_forward))
