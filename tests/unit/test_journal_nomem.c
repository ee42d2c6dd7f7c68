/* Every allocation of a journal's life fails once: nothing crashes or leaks,
 * and what was said to be kept is there when there is memory again. */
#include "tests/unit/journal_kit.h"
#include "tests/unit/nomem.h"

#define UPDATES 20u

/* The state of the document: all that was appended. */
static char state[UPDATES + 1];

static int tell_all(void *user, struct cv_writer *out)
{
    (void)user;
    return cv_put_raw(out, state, strlen(state));
}

static void allowed(int err)
{
    if (err != CV_OK && err != CV_ERR_NOMEM && err != CV_ERR_IO)
        print_error("error %d: %s\n", err, why);
    REQUIRE(err == CV_OK || err == CV_ERR_NOMEM || err == CV_ERR_IO);
}

/* Append, write, and see what is kept. */
static void live(struct cv_journal *j, unsigned *kept)
{
    uint64_t marks[UPDATES];
    char letter[2] = "a";

    cv_journal_set_source(j, 1, tell_all, NULL);
    for (unsigned i = (unsigned)strlen(state), n = i; i < n + UPDATES / 2;
         i++) {
        letter[0] = (char)('a' + i);
        state[i] = letter[0];
        allowed(cv_journal_append(j, 1, str(letter)));
        marks[i] = cv_journal_mark(j);
        allowed(cv_journal_put(j, CV_FACT_OTHER, str("k"), str(letter)));
        cv_journal_step(j, i * CV_SECOND);
        for (unsigned k = n; k <= i; k++)
            if (cv_journal_has_kept(j, marks[k]) && *kept < k + 1)
                *kept = k + 1;
    }
}

/* A piece of the state, from its start. */
static int see(void *user, struct cv_bytes update)
{
    bool *seen = user;

    for (size_t i = 0; i < update.len; i++)
        seen[update.data[i] - 'a'] = true;
    return CV_OK;
}

/* Returns false when there are fewer allocations than `nth`. */
static bool scenario(unsigned long nth)
{
    struct cv_journal *j = NULL;
    bool seen[UPDATES] = {false};
    unsigned kept = 0;

    memset(state, 0, sizeof(state));
    arm(nth);
    for (int life = 0; life < 2; life++) {
        int err = open_in(&j, dir, CV_JOURNAL_EITHER, NULL, NULL);

        allowed(err);
        if (err == CV_OK)
            live(j, &kept);
        if (err == CV_OK && life == 0)
            cv_journal_close(j);
        j = err == CV_OK && life == 1 ? j : NULL;
    }
    cv_journal_close(j);
    (void)disarm();
    j = must_open(CV_JOURNAL_EITHER);
    REQUIRE(why[0] == '\0');
    REQUIRE(cv_journal_updates(j, 1, see, seen) == CV_OK);
    for (unsigned i = 0; i < kept; i++)
        REQUIRE(seen[i]);
    cv_journal_remove(j);
    return one_failed;
}

TEST(every_allocation_of_a_journal_fails_once)
{
    unsigned long n = 1;

    while (scenario(n))
        n++;
    print_message("%lu allocations\n", n - 1);
    CHECK(n > 50);
}

RUN_TESTS(cmocka_unit_test_setup_teardown(
    every_allocation_of_a_journal_fails_once, setup, teardown))
