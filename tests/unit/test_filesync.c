/* A file and a document in step, where others write into the file while it is
 * being replaced. */
#include "people.h"

#include "cli/filesync.h"
#include "fake_net.h"
#include <fcntl.h>

static struct cv_loop *loop;
static struct person ann;
static struct cv_filesync *file;
static char path[128];

static void setup(const char *text)
{
    FILE *f;

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    fake_use_loop(loop);
    person_start(&ann, loop, "Ann", NULL);
    (void)person_share(&ann, text, CV_ADMIT_ASK, CV_ROLE_EDITOR);
    (void)snprintf(path, sizeof path, "%s/notes.txt", ann.dir);
    f = fopen(path, "w");
    REQUIRE(f != NULL);
    REQUIRE(fputs(text, f) >= 0 && fclose(f) == 0);
    REQUIRE(cv_filesync_new(&file, loop, &person_log, ann.document, path,
                            CV_BYTES(text, strlen(text))) == CV_OK);
}

static void teardown(void)
{
    cv_filesync_free(file);
    person_end(&ann);
    fake_run();
    fake_use_loop(NULL);
    fake_reset();
    cv_loop_free(loop);
}

static bool file_has(const char *text)
{
    struct cv_writer now;
    bool same = cv_filesync_read(path, &now) == CV_OK &&
                now.len == strlen(text) && memcmp(now.data, text, now.len) == 0;

    cv_writer_fini(&now);
    return same;
}

static void append(int fd, const char *text)
{
    REQUIRE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static int open_file(void)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

    REQUIRE(fd >= 0);
    return fd;
}

TEST(both_ways)
{
    int fd;

    setup("one\n");
    CHECK_EQ(person_type(&ann, 0, "zero\n"), CV_OK);
    UNTIL(loop, 5, file_has("zero\none\n"));
    fd = open_file();
    append(fd, "two\n");
    (void)close(fd);
    UNTIL(loop, 5, person_has(&ann, "zero\none\ntwo\n"));
    teardown();
}

/* Opened before the file was replaced, written after. */
TEST(what_is_written_into_the_replaced_file_is_kept)
{
    int fd, again;

    setup("one\n");
    fd = open_file();
    CHECK_EQ(person_type(&ann, 0, "zero\n"), CV_OK);
    UNTIL(loop, 5, file_has("zero\none\n"));
    append(fd, "two\n");
    UNTIL(loop, 5, file_has("zero\none\ntwo\n"));
    CHECK(person_has(&ann, "zero\none\ntwo\n"));
    /* And of one after the other, each just before the next one. */
    again = open_file();
    CHECK_EQ(person_type(&ann, 0, "a\n"), CV_OK);
    UNTIL(loop, 5, file_has("a\nzero\none\ntwo\n"));
    append(again, "three\n");
    CHECK_EQ(person_type(&ann, 0, "b\n"), CV_OK);
    UNTIL(loop, 5, file_has("b\na\nzero\none\ntwo\nthree\n"));
    CHECK(person_has(&ann, "b\na\nzero\none\ntwo\nthree\n"));
    (void)close(fd);
    (void)close(again);
    teardown();
}

TEST(the_last_look_is_at_the_end)
{
    int fd;

    setup("one\n");
    fd = open_file();
    CHECK_EQ(person_type(&ann, 0, "zero\n"), CV_OK);
    UNTIL(loop, 5, file_has("zero\none\n"));
    append(fd, "two\n");
    cv_filesync_free(file);
    file = NULL;
    CHECK(person_has(&ann, "zero\none\ntwo\n"));
    CHECK(file_has("zero\none\ntwo\n"));
    (void)close(fd);
    teardown();
}

RUN_TESTS(T(both_ways), T(what_is_written_into_the_replaced_file_is_kept),
          T(the_last_look_is_at_the_end))
