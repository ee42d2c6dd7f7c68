#include "tests/test.h"

#include "discovery/bootstrap.h"

#include <unistd.h>

TEST(lists_are_parsed_in_order_and_without_repetitions)
{
    struct cv_bootstrap b;
    char why[200] = "";

    cv_bootstrap_init(&b);
    CHECK_EQ(cv_bootstrap_add(&b, "a.example:5, b.example ,,[2001:db8::1]:7",
                              why, sizeof(why)),
             CV_OK);
    CHECK_EQ(cv_bootstrap_add(&b, NULL, why, sizeof(why)), CV_OK);
    CHECK_EQ(cv_bootstrap_add(&b, "", why, sizeof(why)), CV_OK);
    CHECK_EQ(
        cv_bootstrap_add(&b, "b.example:4222,192.0.2.1:9", why, sizeof(why)),
        CV_OK);
    cv_bootstrap_finish(&b);
    CHECK_EQ(b.n, 4);
    CHECK_STR(b.list[0], "a.example:5");
    CHECK_STR(b.list[1], "b.example:4222");
    CHECK_STR(b.list[2], "[2001:db8::1]:7");
    CHECK_STR(b.list[3], "192.0.2.1:9");
}

TEST(the_default_is_there_unless_something_is_given_or_none)
{
    static const struct {
        const char *text;
        unsigned n;
        const char *first;
    } cases[] = {{NULL, 1, "bootstrap.jami.net:4222"},
                 {"none", 0, NULL},
                 {"x:1", 1, "x:1"},
                 {"none,x:1", 1, "x:1"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cv_bootstrap b;

        cv_bootstrap_init(&b);
        CHECK_EQ(cv_bootstrap_add(&b, cases[i].text, NULL, 0), CV_OK);
        cv_bootstrap_finish(&b);
        CHECK_EQ(b.n, cases[i].n);
        if (b.n > 0)
            CHECK_STR(b.list[0], cases[i].first);
    }
}

TEST(what_is_wrong_is_named)
{
    static const char *const bad[] = {"host:99999", "host:0",  "host:x",
                                      ":4222",      "ho st:1", "[::1:5",
                                      "a:1,b:zz,c"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct cv_bootstrap b;
        char why[200] = "";

        cv_bootstrap_init(&b);
        CHECK_EQ(cv_bootstrap_add(&b, bad[i], why, sizeof(why)), CV_ERR_FORMAT);
        CHECK(strstr(why, "not a HOST:PORT") != NULL);
    }
}

TEST(the_number_is_bounded)
{
    struct cv_bootstrap b;
    char why[200] = "", text[32];

    cv_bootstrap_init(&b);
    for (unsigned i = 0; i < CV_BOOTSTRAP_MAX; i++) {
        snprintf(text, sizeof(text), "host%u", i);
        CHECK_EQ(cv_bootstrap_add(&b, text, why, sizeof(why)), CV_OK);
    }
    CHECK_EQ(cv_bootstrap_add(&b, "host0", why, sizeof(why)), CV_OK);
    CHECK_EQ(cv_bootstrap_add(&b, "other", why, sizeof(why)), CV_ERR_LIMIT);
    CHECK_EQ(b.n, CV_BOOTSTRAP_MAX);
}

TEST(files_have_comments_and_lines)
{
    struct cv_bootstrap b;
    char dir[] = "/tmp/covim-test-XXXXXX", path[64], why[400] = "";
    FILE *f;

    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/bootstrap", dir);
    cv_bootstrap_init(&b);
    CHECK_EQ(cv_bootstrap_file(&b, path, why, sizeof(why)), CV_OK);
    CHECK_EQ(b.n, 0);
    f = fopen(path, "w");
    CHECK(f != NULL);
    fputs("# ours\n\n  gate.example:4000  # the office\nnone\na:1,b:2\r\n", f);
    fclose(f);
    CHECK_EQ(cv_bootstrap_file(&b, path, why, sizeof(why)), CV_OK);
    cv_bootstrap_finish(&b);
    CHECK_EQ(b.n, 3);
    CHECK(b.none);
    CHECK_STR(b.list[0], "gate.example:4000");
    CHECK_STR(b.list[2], "b:2");
    f = fopen(path, "w");
    CHECK(f != NULL);
    fputs("good:1\nbad:port\n", f);
    fclose(f);
    CHECK_EQ(cv_bootstrap_file(&b, path, why, sizeof(why)), CV_ERR_FORMAT);
    CHECK(strstr(why, "line 2") != NULL);
    CHECK(strstr(why, "bad:port") != NULL);
    f = fopen(path, "w");
    CHECK(f != NULL);
    for (unsigned i = 0; i < 2000; i++)
        fputc('x', f);
    fclose(f);
    CHECK_EQ(cv_bootstrap_file(&b, path, why, sizeof(why)), CV_ERR_FORMAT);
    unlink(path);
    CHECK_EQ(cv_bootstrap_file(&b, dir, why, sizeof(why)), CV_ERR_IO);
    CHECK_EQ(rmdir(dir), 0);
}

TEST(the_file_is_where_configuration_is)
{
    char path[128];

    setenv("XDG_CONFIG_HOME", "/cfg", 1);
    CHECK_EQ(cv_bootstrap_path(path, sizeof(path)), CV_OK);
    CHECK_STR(path, "/cfg/covim/bootstrap");
    unsetenv("XDG_CONFIG_HOME");
    setenv("HOME", "/home/ada", 1);
    CHECK_EQ(cv_bootstrap_path(path, sizeof(path)), CV_OK);
    CHECK_STR(path, "/home/ada/.config/covim/bootstrap");
    CHECK_EQ(cv_bootstrap_path(path, 10), CV_ERR_NOBUF);
    unsetenv("HOME");
    CHECK_EQ(cv_bootstrap_path(path, sizeof(path)), CV_ERR_NOTFOUND);
}

RUN_TESTS(T(lists_are_parsed_in_order_and_without_repetitions),
          T(the_default_is_there_unless_something_is_given_or_none),
          T(what_is_wrong_is_named), T(the_number_is_bounded),
          T(files_have_comments_and_lines),
          T(the_file_is_where_configuration_is))
