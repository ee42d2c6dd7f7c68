/* tests/test.h - a thin layer over cmocka.
 *
 * TEST(what_it_proves) { CHECK(cond); CHECK_EQ(got, want); }
 * RUN_TESTS(T(what_it_proves), …) is the last thing in the file. */
#ifndef CV_TESTS_TEST_H
#define CV_TESTS_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEST(name) static void name(void **test_state_)
#define T(name)    cmocka_unit_test(name)

/* cmocka does not tell the compiler that its own never returns. */
static inline _Noreturn void test_fail_(const char *file, int line)
{
    _fail(file, line);
    abort();
}

/* Also silences "unused parameter" in every test body. */
#define CHECK(cond)                                                            \
    do {                                                                       \
        (void)test_state_;                                                     \
        if (!(cond)) {                                                         \
            print_error("%s is false\n", #cond);                               \
            test_fail_(__FILE__, __LINE__);                                    \
        }                                                                      \
    } while (0)

/* For helpers that are not test bodies. */
#define REQUIRE(cond)                                                          \
    do {                                                                       \
        if (!(cond)) {                                                         \
            print_error("%s is false\n", #cond);                               \
            test_fail_(__FILE__, __LINE__);                                    \
        }                                                                      \
    } while (0)

#define CHECK_EQ(got, want)                                                    \
    do {                                                                       \
        long long got_ = (long long)(got), want_ = (long long)(want);          \
        (void)test_state_;                                                     \
        if (got_ != want_) {                                                   \
            print_error("%s is %lld, not %lld (%s)\n", #got, got_, want_,      \
                        #want);                                                \
            test_fail_(__FILE__, __LINE__);                                    \
        }                                                                      \
    } while (0)

#define CHECK_STR(got, want)                                                   \
    do {                                                                       \
        const char *got_ = (got), *want_ = (want);                             \
        (void)test_state_;                                                     \
        if (strcmp(got_, want_) != 0) {                                        \
            print_error("%s is \"%s\", not \"%s\"\n", #got, got_, want_);      \
            test_fail_(__FILE__, __LINE__);                                    \
        }                                                                      \
    } while (0)

#define CHECK_MEM(got, want, len)                                              \
    do {                                                                       \
        (void)test_state_;                                                     \
        assert_memory_equal(got, want, len);                                   \
    } while (0)

#define RUN_TESTS(...)                                                         \
    int main(void)                                                             \
    {                                                                          \
        const struct CMUnitTest tests_[] = {__VA_ARGS__};                      \
        return cmocka_run_group_tests(tests_, NULL, NULL);                     \
    }
#endif
