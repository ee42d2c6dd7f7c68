/* tests/unit/vectors_kit.h - docs/protocol.md has the vectors that the code
 * makes: under each "vector NAME" there are lines of hex digits. */
#ifndef CV_TESTS_VECTORS_KIT_H
#define CV_TESTS_VECTORS_KIT_H
#include "tests/test.h"

#include "base/bytes.h"

#define DOC_MAX    (1u << 20)
#define VECTOR_MAX 2048u

static char doc[DOC_MAX];
static bool printing; /* them instead of comparing */
static unsigned checked, wrong;

static inline void read_document(void)
{
    FILE *f = fopen(COVIM_SOURCE_DIR "/docs/protocol.md", "r");

    REQUIRE(f != NULL);
    doc[fread(doc, 1, sizeof(doc) - 1, f)] = '\0';
    (void)fclose(f);
}

/* The hex digits under "vector NAME", without white space. */
static inline bool documented(const char *name, char out[2 * VECTOR_MAX + 1])
{
    char line[128];
    size_t n = 0;
    const char *at;

    snprintf(line, sizeof(line), "\nvector %s\n", name);
    at = strstr(doc, line);
    if (at == NULL)
        return false;
    for (at += strlen(line); *at != '\0'; at++) {
        if (strchr("0123456789abcdef", *at) != NULL) {
            if (n == 2 * VECTOR_MAX)
                return false;
            out[n++] = *at;
        } else if (*at != '\n' || at[1] == '\n') {
            break;
        }
    }
    out[n] = '\0';
    return true;
}

static inline void vector(const char *name, const void *data, size_t len)
{
    static char want[2 * VECTOR_MAX + 1], have[2 * VECTOR_MAX + 1];

    REQUIRE(len <= VECTOR_MAX);
    cv_hex(have, data, len);
    checked++;
    if (printing) {
        printf("vector %s\n", name);
        for (size_t i = 0; i < 2 * len; i += 72)
            printf("%.72s\n", have + i);
        printf("\n");
    } else if (!documented(name, want)) {
        print_error("docs/protocol.md has no vector %s\n", name);
        wrong++;
    } else if (strcmp(have, want) != 0) {
        print_error("vector %s is %s\n", name, have);
        wrong++;
    }
}

/* `vectors` makes all of them, with vector(); with an argument they are
 * printed. */
static inline int compare_or_print(int argc, void (*vectors)(void),
                                   const struct CMUnitTest *test)
{
    const struct CMUnitTest tests[] = {*test};

    if (argc == 1)
        return cmocka_run_group_tests(tests, NULL, NULL);
    printing = true;
    vectors();
    return 0;
}
#endif
