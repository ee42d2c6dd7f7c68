#include "session/finding.h"

#include "tests/test.h"

static struct cv_facts facts(void)
{
    return (struct cv_facts){.network = true,
                             .here = "",
                             .dht = "connected",
                             .who = "",
                             .failure = "",
                             .host = ""};
}

TEST(states_follow_the_facts)
{
    struct cv_facts f = facts();

    CHECK_EQ(cv_finding_state(&f), CV_SESSION_FINDING);
    f.reach = CV_REACH_KNOCKED;
    CHECK_EQ(cv_finding_state(&f), CV_SESSION_CONTACTING);
    f.reach = CV_REACH_PUNCHING;
    CHECK_EQ(cv_finding_state(&f), CV_SESSION_PUNCHING);
    f.reach = CV_REACH_WAITING;
    CHECK_EQ(cv_finding_state(&f), CV_SESSION_WAITING);
    f.reach = CV_REACH_MEMBER;
    f.member = true;
    f.members = 1;
    CHECK_EQ(cv_finding_state(&f), CV_SESSION_PUNCHING); /* no text yet */
    f.have_text = f.in_step = true;
    CHECK_EQ(cv_finding_state(&f), CV_SESSION_DIRECT);
    f.members = 0;
    f.reach = CV_REACH_NONE;
    f.had_members = true;
    CHECK_EQ(cv_finding_state(&f), CV_SESSION_OFFLINE);
    f.all_left = true;
    CHECK_EQ(cv_finding_state(&f), CV_SESSION_ALONE);
    f.ended = true;
    CHECK_EQ(cv_finding_state(&f), CV_SESSION_ENDED);
}

TEST(a_sharer_is_alone_until_somebody_comes)
{
    struct cv_facts f = facts();

    f.member = f.have_text = f.in_step = true;
    CHECK_EQ(cv_finding_state(&f), CV_SESSION_ALONE);
    f.reach = CV_REACH_KNOCKED; /* an old pointer */
    CHECK_EQ(cv_finding_state(&f), CV_SESSION_ALONE);
}

TEST(nobody_is_told_of_after_ten_twenty_and_sixty_seconds)
{
    char stage[CV_STAGE_TEXT], hint[CV_HINT_TEXT];
    struct cv_facts f = facts();

    cv_finding_tell(&f, stage, hint);
    CHECK_STR(stage, "Looking for the session");
    CHECK_STR(hint, "");
    CHECK_EQ(cv_finding_next(0), CV_FINDING_HINT);
    CHECK_EQ(cv_finding_next(CV_FINDING_HINT), CV_FINDING_NOBODY);
    f.here = "a NAT that counts";
    f.elapsed = CV_FINDING_NOBODY;
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(hint, "is the other side sharing?") != NULL);
    CHECK(strstr(hint, "DHT: connected; here is a NAT that counts") != NULL);
    CHECK_EQ(cv_finding_next(f.elapsed), CV_FINDING_ADVICE);
    CHECK_EQ(cv_finding_next(CV_FINDING_ADVICE), CV_FINDING_NOBODY_ADVICE);
    f.elapsed = CV_FINDING_NOBODY_ADVICE;
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(hint, "bootstrap") != NULL);
    CHECK(strstr(hint, "minute") == NULL);
    CHECK_EQ(cv_finding_next(f.elapsed), CV_FINDING_NOBODY_STILL);
    f.elapsed = CV_FINDING_NOBODY_STILL;
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(hint, "nothing for a minute and more: no pointer") != NULL);
    CHECK(strstr(hint, "until you leave") != NULL);
    CHECK_EQ(cv_finding_next(f.elapsed), CV_NEVER);
    f.dht = "disconnected";
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(hint, "the DHT is disconnected") != NULL);
}

TEST(no_network_is_said_as_such)
{
    char stage[CV_STAGE_TEXT], hint[CV_HINT_TEXT];
    struct cv_facts f = facts();

    f.network = false;
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(hint, "no usable network") != NULL);
}

TEST(a_sharer_that_cannot_be_found_is_told)
{
    char stage[CV_STAGE_TEXT], hint[CV_HINT_TEXT];
    struct cv_facts f = facts();

    f.member = f.have_text = f.in_step = true;
    f.dht = "disconnected";
    f.unpublished = true;
    f.elapsed = CV_FINDING_HINT;
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(stage, "cannot find the session") != NULL);
    CHECK(strstr(hint, "the DHT is disconnected") != NULL);
    f.published = true;
    f.unpublished = false;
    cv_finding_tell(&f, stage, hint);
    CHECK_STR(stage, "Shared; waiting for others to join");
    CHECK_STR(hint, "");
}

TEST(who_is_missing_is_named)
{
    struct cv_facts f = facts();
    char stage[CV_STAGE_TEXT], hint[CV_HINT_TEXT];

    f.elapsed = CV_FINDING_HINT;
    f.pointers = 2;
    cv_finding_tell(&f, stage, hint);
    CHECK_STR(stage, "Found 2 members of the session, but nobody who may let "
                     "you in");
    f.member = true;
    f.pointers = 1;
    cv_finding_tell(&f, stage, hint);
    CHECK_STR(stage, "Found 1 member of the session, but nobody who may write");
    CHECK(strstr(hint, "an editor or a host") != NULL);
    f.serving = 1;
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(stage, "trying to reach it") != NULL);
}

TEST(every_combination_of_facts_makes_a_sentence)
{
    char stage[CV_STAGE_TEXT], hint[CV_HINT_TEXT];

    for (unsigned bits = 0; bits < 1u << 11; bits++)
        for (int reach = CV_REACH_NONE; reach <= CV_REACH_MEMBER; reach++)
            for (cv_time t = 0; t <= 20 * CV_SECOND; t += 10 * CV_SECOND) {
                struct cv_facts f = facts();

                f.network = bits & 1;
                f.ended = bits & 2;
                f.member = bits & 4;
                f.have_text = f.in_step = bits & 8;
                f.had_members = bits & 16;
                f.all_left = bits & 32;
                f.published = bits & 64;
                f.unpublished = bits & 128;
                f.pointers = bits & 256 ? 2 : 0;
                f.admitting = bits & 512 ? 1 : 0;
                f.serving = bits & 1024 ? 1 : 0;
                f.reach = (enum cv_reach)reach;
                f.members = reach == CV_REACH_MEMBER;
                f.elapsed = t;
                cv_finding_tell(&f, stage, hint);
                CHECK(stage[0] != '\0');
            }
}

TEST(the_backoff_grows_to_half_a_minute)
{
    struct cv_rng_seeded state;
    struct cv_rng rng = cv_rng_from_seed(&state, 3);
    static const int64_t ms[] = {200, 1000, 2000, 5000, 10000, 30000, 30000};

    for (unsigned i = 0; i < 7; i++)
        for (unsigned k = 0; k < 100; k++) {
            cv_time t = cv_finding_backoff(i == 6 ? 1000 : i, &rng);

            CHECK(t >= ms[i] * CV_MILLISECOND * 3 / 4);
            CHECK(t <= ms[i] * CV_MILLISECOND * 5 / 4 + 1);
        }
}

TEST(a_token_that_is_on_its_way_is_waited_for_with_words)
{
    struct cv_facts f = facts();
    char stage[CV_STAGE_TEXT], hint[CV_HINT_TEXT];

    f.pointers = f.admitting = 1;
    f.reach = CV_REACH_KNOCKED;
    f.by_hand = true;
    f.here = "a NAT that counts";
    cv_finding_tell(&f, stage, hint);
    CHECK_STR(stage, "Waiting for the host to add your token");
    CHECK_STR(hint, "");
    f.elapsed = CV_FINDING_NOBODY;
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(hint, "no sign of the host yet") != NULL);
    CHECK(strstr(hint, "here is a NAT that counts") != NULL);
    f.elapsed = CV_FINDING_NOBODY_ADVICE;
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(hint, "15 minutes") != NULL);
    f.elapsed = CV_FINDING_NOBODY_STILL;
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(hint, "nothing for a minute and more") != NULL);
    /* Both NATs are known from the tokens. */
    f.failure = "no direct path: here is one, there another";
    f.elapsed = 4 * CV_SECOND;
    cv_finding_tell(&f, stage, hint);
    CHECK_STR(hint, f.failure);
}

TEST(a_failure_that_is_known_is_not_guessed_at)
{
    struct cv_facts f = facts();
    char stage[CV_STAGE_TEXT], hint[CV_HINT_TEXT];

    f.pointers = f.admitting = 1;
    f.elapsed = CV_FINDING_ADVICE;
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(hint, "may not allow direct connections") != NULL);
    f.failure = "it has another key";
    cv_finding_tell(&f, stage, hint);
    CHECK(strstr(stage, "it has another key") != NULL);
    CHECK_EQ(strcmp(hint, "it is tried until you leave"), 0);
}

RUN_TESTS(T(states_follow_the_facts), T(a_sharer_is_alone_until_somebody_comes),
          T(nobody_is_told_of_after_ten_twenty_and_sixty_seconds),
          T(no_network_is_said_as_such),
          T(a_sharer_that_cannot_be_found_is_told), T(who_is_missing_is_named),
          T(every_combination_of_facts_makes_a_sentence),
          T(a_token_that_is_on_its_way_is_waited_for_with_words),
          T(a_failure_that_is_known_is_not_guessed_at),
          T(the_backoff_grows_to_half_a_minute))
