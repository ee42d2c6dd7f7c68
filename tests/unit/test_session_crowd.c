/* As many people in a session as its host takes, which is few here, and what
 * becomes of the connections of those who vanish. */
#include "people.h"

#include "fake_net.h"
#include "session/meeting_struct.h"
#include "session/node.h"
#include "session/session_struct.h"

#define MOST (CV_MEETING_HARD + CV_MEETING_STRANGERS)
#define MORE 8 /* than the host takes */

static struct cv_loop *loop;
static struct person host, guests[MOST + MORE], last;
static unsigned n_guests;
static struct cv_keytext key;

static void setup(enum cv_role role)
{
    REQUIRE(cv_loop_new(&loop) == CV_OK);
    fake_use_loop(loop);
    n_guests = 0;
    person_start(&host, loop, "Host", NULL);
    key = person_share(&host, "text ", CV_ADMIT_OPEN, role);
}

static void end_all(void)
{
    for (unsigned i = 0; i < n_guests; i++)
        person_end(&guests[i]);
    if (last.node != NULL)
        person_end(&last);
    person_end(&host);
    fake_run();
    REQUIRE(fake_living() == 0);
    fake_use_loop(NULL);
    fake_reset();
    cv_loop_free(loop);
}

static void come(struct person *p, const char *name)
{
    person_start(p, loop, name, NULL);
    REQUIRE(person_join(p, &key) == CV_OK);
}

/* So many more guests. */
static void fill(unsigned n)
{
    for (; n > 0; n--)
        come(&guests[n_guests++], "Guest");
}

/* How many are connected to the host, silent or not. */
static unsigned connected(void)
{
    unsigned count = 0;

    for (struct cv_neighbour *n = cv_meeting_neighbours(host.session->meeting);
         n != NULL; n = n->next)
        count += n->peer != NULL;
    return count;
}

static unsigned here(void)
{
    return cv_meeting_count_here(host.session->meeting);
}

/* As many as the host takes, and they are there. */
static void fill_up(void)
{
    fill(CV_MEETING_HARD);
    UNTIL(loop, 60, here() == CV_MEETING_HARD);
}

/* As many as may be, all of whom vanish. */
static void fill_with_silent(void)
{
    fill_up();
    for (unsigned i = 0; i < n_guests; i++)
        fake_silence(&guests[i].node->key.pub);
    UNTIL(loop, 10, here() == 0);
}

TEST(who_finds_no_room_is_let_in_and_served_by_the_others)
{
    setup(CV_ROLE_EDITOR);
    fill_up();
    CHECK_EQ(cv_meeting_room(host.session->meeting, NULL), CV_ROOM_TO_ADMIT);
    fill(MORE);
    UNTIL(loop, 60, people_have(guests, n_guests, "text ") == n_guests);
    CHECK_EQ(here(), CV_MEETING_HARD);
    CHECK_EQ(guests[n_guests - 1].role, CV_ROLE_EDITOR);
    CHECK_EQ(person_type(&guests[n_guests - 1], 5, "on"), CV_OK);
    CHECK_EQ(person_type(&guests[n_guests - 2], 0, "and "), CV_OK);
    UNTIL(loop, 30,
          person_has(&host, "and text on") &&
              people_have(guests, n_guests, "and text on") == n_guests);
    end_all();
}

/* Those whom it is connected to may have none either. */
TEST(who_has_no_text_goes_on_seeking)
{
    struct cv_meeting *m = NULL;

    setup(CV_ROLE_EDITOR);
    fill(CV_MEETING_HARD);
    UNTIL(loop, 60, people_have(guests, n_guests, "text ") == n_guests);
    for (unsigned i = 0; i < n_guests; i++) {
        struct cv_meeting *one = guests[i].session->meeting;

        if (m == NULL || cv_meeting_count_here(one) < cv_meeting_count_here(m))
            m = one;
    }
    CHECK(cv_meeting_count_here(m) < n_guests);
    m->config.lacks_text = true;
    cv_meeting_wake(m);
    UNTIL(loop, 30, cv_meeting_count_here(m) == n_guests); /* and the host */
    end_all();
}

/* Those who read along serve nobody. */
TEST(one_more_than_may_be_comes_when_another_has_left)
{
    struct cv_meeting *m;

    setup(CV_ROLE_VIEWER);
    m = host.session->meeting;
    fill(CV_MEETING_HARD);
    CHECK_EQ(cv_meeting_room(m, NULL), CV_ROOM_TO_STAY);
    UNTIL(loop, 60, here() == CV_MEETING_HARD);
    CHECK_EQ(cv_meeting_room(m, NULL), CV_ROOM_NONE);
    /* Who is in may knock again: the path may be lost. */
    CHECK_EQ(cv_meeting_room(m, cv_meeting_neighbours(m)), CV_ROOM_TO_STAY);
    come(&last, "Last");
    UNTIL(loop, 20, strstr(last.stage, "as many connections") != NULL);
    CHECK(last.document == NULL);
    cv_session_leave(guests[0].session, on_left, &guests[0]);
    UNTIL(loop, 45, person_has(&last, "text "));
    end_all();
}

/* They do not count, though their connections may yet come back. */
TEST(who_is_silent_keeps_nobody_out)
{
    setup(CV_ROLE_EDITOR);
    fill_with_silent();
    CHECK_EQ(connected(), CV_MEETING_HARD);
    come(&last, "Last");
    UNTIL(loop, 10, person_has(&last, "text "));
    CHECK_EQ(connected(), CV_MEETING_HARD + 1);
    CHECK_EQ(person_type(&last, 5, "on"), CV_OK);
    UNTIL(loop, 10, person_has(&host, "text on"));
    end_all();
}

TEST(there_is_an_end_to_those_who_are_silent)
{
    setup(CV_ROLE_EDITOR);
    fill_with_silent();
    fill(CV_MEETING_STRANGERS);
    UNTIL(loop, 20, here() == CV_MEETING_STRANGERS);
    CHECK_EQ(connected(), MOST);
    come(&last, "Last");
    UNTIL(loop, 10, person_has(&last, "text "));
    CHECK_EQ(connected(), MOST);
    CHECK_EQ(here(), CV_MEETING_STRANGERS + 1);
    end_all();
}

RUN_TESTS(T(who_finds_no_room_is_let_in_and_served_by_the_others),
          T(who_has_no_text_goes_on_seeking),
          T(one_more_than_may_be_comes_when_another_has_left),
          T(who_is_silent_keeps_nobody_out),
          T(there_is_an_end_to_those_who_are_silent))
