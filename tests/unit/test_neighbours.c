#include "tests/test.h"

#include "discovery/neighbours.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char top[] = "/tmp/covim-test-XXXXXX", folder[64];

static void write_file(const char *name)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    REQUIRE(fd >= 0);
    close(fd);
}

static bool exists(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

TEST(the_living_are_listed_and_leftovers_removed)
{
    struct cv_neighbours *a, *b, *c;
    uint16_t ports[CV_NEIGHBOURS_MAX];

    CHECK_EQ(cv_neighbours_open(&a, folder, 1001), CV_OK);
    CHECK_EQ(cv_neighbours_list(a, ports), 0);
    CHECK_EQ(cv_neighbours_open(&b, folder, 1002), CV_OK);
    CHECK_EQ(cv_neighbours_list(a, ports), 1);
    CHECK_EQ(ports[0], 1002);
    CHECK_EQ(cv_neighbours_list(b, ports), 1);
    CHECK_EQ(ports[0], 1001);
    write_file("1003");
    write_file("70000");
    write_file("note.txt");
    write_file("007");
    CHECK_EQ(cv_neighbours_list(a, ports), 1);
    CHECK(!exists("1003"));
    CHECK(exists("note.txt")); /* not ours to remove */
    CHECK(exists("70000"));
    write_file("1004"); /* a leftover whose port is ours now */
    CHECK_EQ(cv_neighbours_open(&c, folder, 1004), CV_OK);
    CHECK_EQ(cv_neighbours_list(a, ports), 2);
    cv_neighbours_close(c);
    cv_neighbours_close(b);
    CHECK_EQ(cv_neighbours_list(a, ports), 0);
    CHECK(!exists("1002"));
    cv_neighbours_close(a);
    cv_neighbours_close(NULL);
}

TEST(one_that_was_killed_is_no_neighbour)
{
    struct cv_neighbours *a, *b;
    uint16_t ports[CV_NEIGHBOURS_MAX];
    int status;
    pid_t pid;

    CHECK_EQ(cv_neighbours_open(&a, folder, 1001), CV_OK);
    pid = fork();
    if (pid == 0)
        _exit(cv_neighbours_open(&b, folder, 1005) != CV_OK);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK(exists("1005"));
    CHECK_EQ(cv_neighbours_list(a, ports), 0);
    CHECK(!exists("1005"));
    cv_neighbours_close(a);
}

TEST(the_number_is_bounded)
{
    struct cv_neighbours *many[CV_NEIGHBOURS_MAX + 3];
    uint16_t ports[CV_NEIGHBOURS_MAX];

    for (unsigned i = 0; i < CV_NEIGHBOURS_MAX + 3; i++)
        CHECK_EQ(cv_neighbours_open(&many[i], folder, (uint16_t)(2000 + i)),
                 CV_OK);
    CHECK_EQ(cv_neighbours_list(many[0], ports), CV_NEIGHBOURS_MAX);
    for (unsigned i = 0; i < CV_NEIGHBOURS_MAX + 3; i++)
        cv_neighbours_close(many[i]);
}

TEST(a_folder_that_is_open_to_others_is_refused)
{
    struct cv_neighbours *a = NULL;

    CHECK_EQ(chmod(folder, 0777), 0);
    CHECK_EQ(cv_neighbours_open(&a, folder, 1001), CV_ERR_PERM);
    CHECK(a == NULL);
    CHECK_EQ(chmod(folder, 0700), 0);
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(top) == NULL)
        return -1;
    snprintf(folder, sizeof(folder), "%s/neighbours", top);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const left[] = {"note.txt", "70000", "007"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, left[i]);
        unlink(path);
    }
    return rmdir(folder) != 0 || rmdir(top) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_living_are_listed_and_leftovers_removed),
        T(one_that_was_killed_is_no_neighbour), T(the_number_is_bounded),
        T(a_folder_that_is_open_to_others_is_refused)};

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
