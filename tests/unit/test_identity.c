#include "base/key.h"
#include "tests/test.h"
#include "tests/unit/full_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[64]; /* a folder of this test's own, 0700 */
static char path[256];
static char why[1024];

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/covim-identity-XXXXXX");
    REQUIRE(mkdtemp(root) != NULL);
    snprintf(path, sizeof(path), "%s/data/covim/identity", root);
    return 0;
}

static void remove_all(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    REQUIRE(d != NULL);
    while ((e = readdir(d))) {
        char name[1024];
        struct stat st;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof(name), "%s/%s", dir, e->d_name);
        REQUIRE(lstat(name, &st) == 0);
        if (S_ISDIR(st.st_mode))
            remove_all(name);
        else
            REQUIRE(unlink(name) == 0);
    }
    closedir(d);
    REQUIRE(rmdir(dir) == 0);
}

static int teardown(void **state)
{
    (void)state;
    remove_all(root);
    return 0;
}

static int load(struct cv_keypair *out)
{
    memset(why, 'x', sizeof(why));
    return cv_identity_load(out, path, why, sizeof(why));
}

static unsigned mode_of(const char *name)
{
    struct stat st;

    REQUIRE(lstat(name, &st) == 0);
    return st.st_mode & 07777;
}

static int entries(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;

    REQUIRE(d != NULL);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);

    REQUIRE(fd >= 0);
    REQUIRE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    REQUIRE(fchmod(fd, mode) == 0);
    close(fd);
}

/* The folder of the file, made. */
static const char *make_folder(void)
{
    static char dir[128];

    snprintf(dir, sizeof(dir), "%s/data/covim", root);
    REQUIRE(cv_private_dir(dir) == CV_OK);
    return dir;
}

TEST(it_is_made_once_and_for_us_alone)
{
    struct cv_keypair first, again;
    char dir[128];
    mode_t before = umask(0);

    CHECK_EQ(load(&first), CV_OK);
    umask(before);
    CHECK_STR(why, "");
    CHECK_EQ(mode_of(path), 0600);
    snprintf(dir, sizeof(dir), "%s/data/covim", root);
    CHECK_EQ(mode_of(dir), 0700);
    CHECK_EQ(entries(dir), 1);
    snprintf(dir, sizeof(dir), "%s/data", root);
    CHECK_EQ(mode_of(dir), 0700);

    CHECK_EQ(load(&again), CV_OK);
    CHECK(cv_key_equal(&first.pub, &again.pub));
    CHECK_MEM(first.seed, again.seed, CV_KEY_LEN);
}

TEST(the_file_has_the_form_that_is_documented)
{
    static const char text[] =
        "covim-identity 1 "
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    struct cv_keypair key;
    char hex[65], line[128];

    make_folder();
    for (int newline = 0; newline < 2; newline++) {
        snprintf(line, sizeof(line), "%s%s", text, newline ? "\n" : "");
        write_file(path, line, 0600);
        CHECK_EQ(load(&key), CV_OK);
        cv_hex(hex, key.pub.b, CV_KEY_LEN);
        CHECK_STR(hex, "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc86"
                       "64125531b8");
    }
    write_file(path, line, 0400); /* even stricter */
    CHECK_EQ(load(&key), CV_OK);
}

TEST(what_others_may_open_is_refused_with_the_command)
{
    static const unsigned modes[] = {0644, 0640, 0604, 0620, 0602,
                                     0610, 0601, 0666, 0777};
    struct cv_keypair key;
    char want[1024];

    CHECK_EQ(load(&key), CV_OK);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        REQUIRE(chmod(path, modes[i]) == 0);
        CHECK_EQ(load(&key), CV_ERR_PERM);
        snprintf(want, sizeof(want),
                 "%s is open to other users (mode %04o); run: chmod 600 %s",
                 path, modes[i], path);
        CHECK_STR(why, want);
        CHECK_EQ(mode_of(path), modes[i]); /* we repair nothing by stealth */
    }
    REQUIRE(chmod(path, 0600) == 0);
    CHECK_EQ(load(&key), CV_OK);
}

TEST(a_folder_that_others_may_open_is_refused_with_the_command)
{
    static const unsigned modes[] = {0755, 0750, 0710, 0701, 0777, 01777};
    struct cv_keypair key;
    const char *dir = make_folder();
    char want[1024];

    for (int made = 0; made < 2; made++) {
        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
            REQUIRE(chmod(dir, modes[i]) == 0);
            CHECK_EQ(load(&key), CV_ERR_PERM);
            snprintf(want, sizeof(want),
                     "%s is open to other users (mode %04o); run: chmod 700 "
                     "%s",
                     dir, modes[i], dir);
            CHECK_STR(why, want);
            CHECK_EQ(cv_private_dir(dir), CV_ERR_PERM);
            CHECK_EQ(entries(dir), made);
        }
        REQUIRE(chmod(dir, 0700) == 0);
        CHECK_EQ(load(&key), CV_OK);
    }
}

TEST(the_command_can_be_pasted)
{
    struct cv_keypair key;

    snprintf(path, sizeof(path), "%s/it's mine/identity", root);
    CHECK_EQ(load(&key), CV_OK);
    REQUIRE(chmod(path, 0644) == 0);
    CHECK_EQ(load(&key), CV_ERR_PERM);
    CHECK(strstr(why, "run: chmod 600 '/tmp/covim-identity-") != NULL);
    CHECK(strstr(why, "/it'\\''s mine/identity'") != NULL);
}

TEST(links_are_refused)
{
    struct cv_keypair key;
    char target[256];

    make_folder();
    snprintf(target, sizeof(target), "%s/elsewhere", root);
    REQUIRE(symlink(target, path) == 0);
    CHECK_EQ(load(&key), CV_ERR_PERM); /* one that leads nowhere */
    CHECK(strstr(why, "is a symbolic link") != NULL);
    CHECK(strstr(why, path) != NULL);
    REQUIRE(access(target, F_OK) < 0); /* nothing was made there */

    write_file(target,
               "covim-identity 1 000102030405060708090a0b0c0d0e0f1011121314151"
               "61718191a1b1c1d1e1f\n",
               0600);
    CHECK_EQ(load(&key), CV_ERR_PERM);
    CHECK(strstr(why, "is a symbolic link") != NULL);
}

TEST(what_belongs_to_others_is_refused)
{
    struct cv_keypair key;
    const char *dir = make_folder();
    char want[1024];

    if (geteuid() != 0) {
        /* The root folder is not ours, and writing there fails. */
        snprintf(path, sizeof(path), "/identity");
        CHECK_EQ(load(&key), CV_ERR_PERM);
        CHECK(strstr(why, "belongs to another user") != NULL);
        return;
    }
    CHECK_EQ(load(&key), CV_OK);
    REQUIRE(chown(path, 65534, 65534) == 0);
    CHECK_EQ(load(&key), CV_ERR_PERM);
    snprintf(want, sizeof(want),
             "%s belongs to another user; run: sudo chown 0 %s", path, path);
    CHECK_STR(why, want);
    REQUIRE(unlink(path) == 0);
    REQUIRE(chown(dir, 65534, 65534) == 0);
    CHECK_EQ(load(&key), CV_ERR_PERM);
    CHECK(strstr(why, "belongs to another user") != NULL);
    CHECK_EQ(cv_private_dir(dir), CV_ERR_PERM);
    CHECK_EQ(entries(dir), 0);
}

TEST(damaged_files_are_refused_and_kept)
{
    static const char *const cases[] = {
        "",
        "\n",
        "covim-identity 1 ",
        "covim-identity 1 0001",
        "covim-identity 2 "
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        "covim-identity 1 "
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1\n",
        "covim-identity 1 "
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1g\n",
        "covim-identity 1 "
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n\n",
        "covim-identity 1 "
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00\n",
        "-----BEGIN PRIVATE KEY-----\n",
    };
    struct cv_keypair key;
    struct stat st;

    make_folder();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file(path, cases[i], 0600);
        CHECK_EQ(load(&key), CV_ERR_FORMAT);
        CHECK(strstr(why, "is damaged") != NULL);
        CHECK(strstr(why, path) != NULL);
        REQUIRE(stat(path, &st) == 0);
        CHECK_EQ(st.st_size, strlen(cases[i]));
    }
    /* A byte of zero cuts nothing short. */
    REQUIRE(truncate(path, 82) == 0);
    CHECK_EQ(load(&key), CV_ERR_FORMAT);
}

TEST(what_is_no_file_is_refused)
{
    struct cv_keypair key;

    make_folder();
    REQUIRE(mkdir(path, 0700) == 0);
    CHECK_EQ(load(&key), CV_ERR_IO);
    CHECK(strstr(why, path) != NULL);
    REQUIRE(rmdir(path) == 0);
    REQUIRE(mkfifo(path, 0600) == 0);
    CHECK_EQ(load(&key), CV_ERR_IO); /* and does not wait for a writer */
    CHECK(strstr(why, "is not a file") != NULL);
}

TEST(a_folder_that_cannot_be_made_is_named)
{
    struct cv_keypair key;
    char name[128];

    snprintf(name, sizeof(name), "%s/data", root);
    write_file(name, "a file", 0600);
    CHECK_EQ(load(&key), CV_ERR_IO);
    CHECK(strstr(why, "cannot make the folder") != NULL);
    CHECK(strstr(why, "data/covim") != NULL);
    CHECK_EQ(cv_private_dir(name), CV_ERR_IO);
    CHECK_EQ(cv_private_dir(""), CV_ERR_INVALID);
}

TEST(a_full_disk_leaves_nothing_behind)
{
    struct cv_keypair key;
    const char *dir = make_folder();
    int err;

    limit_files(10);
    err = load(&key);
    limit_files(RLIM_INFINITY);
    CHECK_EQ(err, CV_ERR_IO);
    CHECK(strstr(why, "cannot write") != NULL);
    CHECK_EQ(entries(dir), 0);
    CHECK_EQ(load(&key), CV_OK);
}

TEST(processes_that_make_it_at_once_agree)
{
    enum { PROCESSES = 8 };
    struct cv_key keys[PROCESSES];
    pid_t pids[PROCESSES];
    int start[2], results[2];
    char dir[128];

    for (int round = 0; round < 10; round++) {
        snprintf(path, sizeof(path), "%s/r%d/identity", root, round);
        REQUIRE(pipe(start) == 0 && pipe(results) == 0);
        for (int i = 0; i < PROCESSES; i++) {
            pids[i] = fork();
            REQUIRE(pids[i] >= 0);
            if (pids[i] == 0) {
                struct cv_keypair key;
                char c;

                close(start[1]);
                if (read(start[0], &c, 1) != 0 || load(&key) != CV_OK ||
                    write(results[1], &key.pub, sizeof(key.pub)) !=
                        sizeof(key.pub))
                    _exit(1);
                _exit(0);
            }
        }
        close(start[0]);
        close(start[1]); /* go */
        for (int i = 0; i < PROCESSES; i++) {
            int status;

            REQUIRE(waitpid(pids[i], &status, 0) == pids[i]);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            REQUIRE(read(results[0], &keys[i], sizeof(keys[i])) ==
                    sizeof(keys[i]));
            CHECK(cv_key_equal(&keys[0], &keys[i]));
        }
        close(results[0]);
        close(results[1]);
        snprintf(dir, sizeof(dir), "%s/r%d", root, round);
        CHECK_EQ(entries(dir), 1);
    }
}

TEST(the_folder_follows_the_environment)
{
    char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    char out[256];

    xdg = xdg ? strdup(xdg) : NULL;
    home = home ? strdup(home) : NULL;
    setenv("XDG_DATA_HOME", "/x/data", 1);
    setenv("HOME", "/home/u", 1);
    CHECK_EQ(cv_data_dir(out, sizeof(out)), CV_OK);
    CHECK_STR(out, "/x/data/covim");
    CHECK_EQ(cv_data_dir(out, 13), CV_ERR_NOBUF);
    CHECK_EQ(cv_data_dir(out, 14), CV_OK);
    setenv("XDG_DATA_HOME", "relative", 1);
    CHECK_EQ(cv_data_dir(out, sizeof(out)), CV_OK);
    CHECK_STR(out, "/home/u/.local/share/covim");
    unsetenv("XDG_DATA_HOME");
    CHECK_EQ(cv_data_dir(out, sizeof(out)), CV_OK);
    CHECK_STR(out, "/home/u/.local/share/covim");
    setenv("HOME", "", 1);
    CHECK_EQ(cv_data_dir(out, sizeof(out)), CV_ERR_NOTFOUND);
    unsetenv("HOME");
    CHECK_EQ(cv_data_dir(out, sizeof(out)), CV_ERR_NOTFOUND);
    if (home)
        setenv("HOME", home, 1);
    if (xdg)
        setenv("XDG_DATA_HOME", xdg, 1);
    free(home);
    free(xdg);
}

TEST(private_folders_leave_their_parents_alone)
{
    char outer[128], inner[256];

    snprintf(outer, sizeof(outer), "%s/outer", root);
    REQUIRE(mkdir(outer, 0700) == 0 && chmod(outer, 0755) == 0);
    snprintf(inner, sizeof(inner), "%s/a//b/", outer);
    CHECK_EQ(cv_private_dir(inner), CV_OK);
    CHECK_EQ(cv_private_dir(inner), CV_OK);
    CHECK_EQ(mode_of(outer), 0755);
    CHECK_EQ(mode_of(inner), 0700);
    snprintf(inner, sizeof(inner), "%s/a", outer);
    CHECK_EQ(mode_of(inner), 0700);
}

TEST(no_room_for_the_sentence_is_no_harm)
{
    struct cv_keypair key;
    char small[8];

    CHECK_EQ(load(&key), CV_OK);
    REQUIRE(chmod(path, 0644) == 0);
    CHECK_EQ(cv_identity_load(&key, path, NULL, 0), CV_ERR_PERM);
    CHECK_EQ(cv_identity_load(&key, path, small, sizeof(small)), CV_ERR_PERM);
    CHECK_EQ(strlen(small), 7);
}

#define WITH_ROOT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

RUN_TESTS(WITH_ROOT(it_is_made_once_and_for_us_alone),
          WITH_ROOT(the_file_has_the_form_that_is_documented),
          WITH_ROOT(what_others_may_open_is_refused_with_the_command),
          WITH_ROOT(a_folder_that_others_may_open_is_refused_with_the_command),
          WITH_ROOT(the_command_can_be_pasted), WITH_ROOT(links_are_refused),
          WITH_ROOT(what_belongs_to_others_is_refused),
          WITH_ROOT(damaged_files_are_refused_and_kept),
          WITH_ROOT(what_is_no_file_is_refused),
          WITH_ROOT(a_folder_that_cannot_be_made_is_named),
          WITH_ROOT(a_full_disk_leaves_nothing_behind),
          WITH_ROOT(processes_that_make_it_at_once_agree),
          WITH_ROOT(the_folder_follows_the_environment),
          WITH_ROOT(private_folders_leave_their_parents_alone),
          WITH_ROOT(no_room_for_the_sentence_is_no_harm))
