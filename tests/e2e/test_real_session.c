/* Real nodes on this machine: OpenDHT with a bootstrap node of our own, UDP,
 * QUIC, journals on disk.  Nothing leaves the machine. */
#include "../unit/people.h"

#include "discovery/dht.h"
#include "session/node.h"

#include <signal.h>
#include <sys/wait.h>

static struct cv_loop *loop;
static struct cv_dht *bootstrap;
static char bootstrap_name[64];
static const char *const names[] = {bootstrap_name};
static struct cv_node_config config = {.bootstrap = names, .n_bootstrap = 1};
static struct person ann, bob, cy, dee;

static void setup(void)
{
    struct cv_dht_config c = {.log = &person_log};

    memset(&ann, 0, sizeof ann);
    memset(&bob, 0, sizeof bob);
    memset(&cy, 0, sizeof cy);
    REQUIRE(cv_loop_new(&loop) == CV_OK);
    c.loop = loop;
    REQUIRE(cv_dht_open(&bootstrap, &c) == CV_OK);
    (void)snprintf(bootstrap_name, sizeof bootstrap_name, "127.0.0.1:%u",
                   cv_dht_port(bootstrap));
}

static void end_all(void)
{
    if (ann.node != NULL)
        person_end(&ann);
    if (bob.node != NULL)
        person_end(&bob);
    if (cy.node != NULL)
        person_end(&cy);
    cv_dht_close(bootstrap, 200);
    cv_loop_free(loop);
}

static void say_time(const char *what, cv_time since)
{
    print_message("%s: %lld ms\n", what,
                  (long long)((cv_loop_now(loop) - since) / CV_MILLISECOND));
}

TEST(three_share_one_text_over_real_sockets)
{
    struct cv_keytext key;
    cv_time at;

    setup();
    person_start(&ann, loop, "Ann", &config);
    key = person_share(&ann, "hello\n", CV_ADMIT_ASK, CV_ROLE_EDITOR);
    UNTIL(loop, 20, strstr(ann.stage, "waiting for others") != NULL);
    person_start(&bob, loop, "Bob", &config);
    at = cv_loop_now(loop);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 30, ann.knocks == 1);
    say_time("join to the question", at);
    UNTIL(loop, 5, bob.state == CV_SESSION_WAITING);
    at = cv_loop_now(loop);
    CHECK_EQ(cv_session_accept(ann.session, ann.knock.id, CV_ROLE_EDITOR),
             CV_OK);
    UNTIL(loop, 10, person_has(&bob, "hello\n"));
    say_time("accept to the text", at);
    CHECK(bob.seen[CV_SESSION_FINDING]);
    UNTIL(loop, 5, bob.state == CV_SESSION_DIRECT);
    at = cv_loop_now(loop);
    CHECK_EQ(person_type(&bob, 5, " there"), CV_OK);
    UNTIL(loop, 5, person_has(&ann, "hello there\n"));
    say_time("a word to the other", at);

    person_start(&cy, loop, "Cy", &config);
    at = cv_loop_now(loop);
    CHECK_EQ(person_join(&cy, &key), CV_OK);
    UNTIL(loop, 40, ann.knocks == 2);
    CHECK_EQ(cv_session_accept(ann.session, ann.knock.id, CV_ROLE_EDITOR),
             CV_OK);
    UNTIL(loop, 10, person_has(&cy, "hello there\n"));
    say_time("the third, join to the text", at);
    CHECK_EQ(person_type(&cy, 0, "Cy: "), CV_OK);
    UNTIL(loop, 5, person_has(&bob, "Cy: hello there\n"));
    UNTIL(loop, 5, person_has(&ann, "Cy: hello there\n"));
    at = cv_loop_now(loop);
    UNTIL(loop, 60, cy.members_in >= 2 && bob.members_in >= 2);
    say_time("second and third meet directly", at);

    at = cv_loop_now(loop);
    cv_session_leave(ann.session, on_left, &ann);
    UNTIL(loop, 4, ann.left);
    say_time("leaving", at);
    CHECK(cv_loop_now(loop) - at < 2500 * CV_MILLISECOND);
    UNTIL(loop, 3, bob.members_out >= 1 && cy.members_out >= 1);
    CHECK_EQ(person_type(&bob, 0, "still "), CV_OK);
    UNTIL(loop, 10, person_has(&cy, "still Cy: hello there\n"));
    end_all();
}

/* Two nodes of one user: who joins asks at one of them, and after some seconds
 * at the other, too. */
TEST(the_second_one_who_may_answer_is_asked_when_the_first_does_not)
{
    struct cv_keytext key;
    struct person *first, *second;
    cv_time at;

    setup();
    person_start(&ann, loop, "Ann", &config);
    key = person_share(&ann, "hello\n", CV_ADMIT_ASK, CV_ROLE_EDITOR);
    memcpy(cy.dir, ann.dir, sizeof cy.dir);
    cy.keep_dir = true;
    person_start(&cy, loop, "Ann", &config);
    CHECK_EQ(person_join(&cy, &key), CV_OK);
    UNTIL(loop, 30, person_has(&cy, "hello\n"));
    CHECK_EQ(ann.knocks, 0);

    person_start(&bob, loop, "Bob", &config);
    at = cv_loop_now(loop);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 30, bob.state == CV_SESSION_WAITING);
    at = cv_loop_now(loop);
    CHECK_EQ(ann.knocks + cy.knocks, 1);
    first = ann.knocks == 1 ? &ann : &cy;
    second = first == &ann ? &cy : &ann;
    UNTIL(loop, 25, second->knocks == 1);
    say_time("from the first question to the second", at);
    CHECK(cv_loop_now(loop) - at > 8 * CV_SECOND);
    CHECK_EQ(bob.state, CV_SESSION_WAITING);
    CHECK_EQ(first->gone, 0);

    at = cv_loop_now(loop);
    CHECK_EQ(
        cv_session_accept(second->session, second->knock.id, CV_ROLE_EDITOR),
        CV_OK);
    UNTIL(loop, 10, person_has(&bob, "hello\n"));
    UNTIL(loop, 5, first->gone == 1 && first->members_in == 2);
    say_time("accepted by the second: the first one's question is gone", at);
    CHECK_EQ(cv_session_accept(first->session, first->knock.id, CV_ROLE_EDITOR),
             CV_ERR_NOTFOUND);
    CHECK_EQ(first->members_out + second->members_out + bob.members_out, 0);
    CHECK_EQ(person_type(&bob, 5, " there"), CV_OK);
    UNTIL(loop, 5, person_has(&ann, "hello there\n"));
    UNTIL(loop, 5, person_has(&cy, "hello there\n"));

    person_start(&dee, loop, "Dee", &config);
    CHECK_EQ(person_join(&dee, &key), CV_OK);
    UNTIL(loop, 40, ann.knocks + cy.knocks == 4);
    CHECK_EQ(cv_session_reject(ann.session, ann.knock.id, ""), CV_OK);
    UNTIL(loop, 5, dee.state == CV_SESSION_ENDED);
    UNTIL(loop, 5, ann.gone == 2 && cy.gone == 2);
    person_end(&dee);
    end_all();
}

TEST(two_sessions_of_the_same_two_nodes_live_side_by_side)
{
    struct cv_keytext key, key2;
    struct person ann2 = {0}, bob2 = {0};
    cv_time at;

    setup();
    person_start(&ann, loop, "Ann", &config);
    person_start(&bob, loop, "Bob", &config);
    ann2.node = ann.node;
    bob2.node = bob.node;
    key = person_share(&ann, "first", CV_ADMIT_OPEN, CV_ROLE_EDITOR);
    key2 = person_share(&bob2, "second", CV_ADMIT_OPEN, CV_ROLE_EDITOR);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    CHECK_EQ(person_join(&ann2, &key2), CV_OK);
    UNTIL(loop, 30, person_has(&bob, "first") && person_has(&ann2, "second"));
    UNTIL(loop, 30,
          ann.members_in == 1 && bob2.members_in == 1 && ann2.members_in == 1 &&
              bob.members_in == 1);
    at = cv_loop_now(loop);
    while (cv_loop_now(loop) < at + 3 * CV_SECOND)
        cv_loop_once(loop, at + 3 * CV_SECOND);
    CHECK_EQ(ann.members_out + bob.members_out + ann2.members_out +
                 bob2.members_out,
             0);
    CHECK_EQ(person_type(&ann, 5, " text"), CV_OK);
    CHECK_EQ(person_type(&ann2, 6, " text"), CV_OK);
    UNTIL(loop, 5,
          person_has(&bob, "first text") && person_has(&bob2, "second text"));
    end_all();
}

TEST(a_large_text_arrives_whole)
{
    struct cv_keytext key;
    size_t size = 4u << 20;
    char *text = malloc(size + 1);
    cv_time at;

    CHECK(text != NULL);
    for (size_t i = 0; i < size; i++)
        text[i] = i % 61 == 60 ? '\n' : (char)('a' + i * 7 % 26);
    text[size] = '\0';
    setup();
    person_start(&ann, loop, "Ann", &config);
    person_start(&bob, loop, "Bob", &config);
    at = cv_loop_now(loop);
    key = person_share(&ann, text, CV_ADMIT_OPEN, CV_ROLE_EDITOR);
    say_time("share of 4 MiB", at);
    at = cv_loop_now(loop);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 60, bob.document != NULL);
    say_time("join to 4 MiB", at);
    CHECK(person_has(&bob, text));
    CHECK_EQ(person_type(&bob, size, "end"), CV_OK);
    at = cv_loop_now(loop);
    UNTIL(loop, 10,
          cv_doc_text_bytes(cv_document_text(ann.document)) == size + 3);
    say_time("a word after it", at);
    free(text);
    end_all();
}

/* The child: shares a text, types into it, tells its key, and waits to be
 * killed. */
static void child(const char *dir, int to_parent)
{
    struct cv_keytext key;

    REQUIRE(cv_loop_new(&loop) == CV_OK);
    (void)snprintf(ann.dir, sizeof ann.dir, "%s", dir);
    person_start(&ann, loop, "Ann", &config);
    key = person_share(&ann, "base", CV_ADMIT_OPEN, CV_ROLE_EDITOR);
    REQUIRE(write(to_parent, &key, sizeof key) == (ssize_t)sizeof key);
    UNTIL(loop, 60, person_has(&ann, "base bob"));
    REQUIRE(person_type(&ann, 8, " ann") == CV_OK);
    UNTIL(loop, 10, ann.kept == 1);
    REQUIRE(write(to_parent, "k", 1) == 1);
    for (;;)
        cv_loop_once(loop, cv_loop_now(loop) + CV_SECOND);
}

/* What somebody who is not here is called, and wrote. */
static void check_author(const struct person *p, const char *who,
                         const struct cv_key *identity, size_t bytes)
{
    char name[CV_NAME_MAX_TEXT];
    struct cv_reverted would;
    uint64_t seq;

    REQUIRE(cv_session_name_of(p->session, identity, name));
    REQUIRE(strcmp(name, who) == 0);
    REQUIRE(cv_document_revert(p->document, identity, 1, true, &would, &seq) ==
            CV_OK);
    REQUIRE(would.removed_bytes == bytes);
    REQUIRE(would.restored == 0);
}

TEST(a_killed_sharer_resumes_and_the_joiner_finds_it_again)
{
    struct cv_keytext key;
    struct person dirs = {0};
    struct cv_reverted reverted;
    int fd[2], status;
    uint64_t seq;
    char byte;
    cv_time at;
    pid_t pid;

    setup();
    person_dir(&dirs);
    CHECK_EQ(pipe(fd), 0);
    pid = fork(); /* and exec: this process has threads */
    CHECK(pid >= 0);
    if (pid == 0) {
        char out[16];

        (void)snprintf(out, sizeof out, "%d", fd[1]);
        (void)execl("/proc/self/exe", "child", dirs.dir, out, bootstrap_name,
                    (char *)NULL);
        _exit(127);
    }
    CHECK_EQ(read(fd[0], &key, sizeof key), (ssize_t)sizeof key);
    person_start(&bob, loop, "Bob", &config);
    CHECK_EQ(person_join(&bob, &key), CV_OK);
    UNTIL(loop, 40, person_has(&bob, "base"));
    CHECK_EQ(person_type(&bob, 4, " bob"), CV_OK);
    UNTIL(loop, 20, person_has(&bob, "base bob ann"));
    CHECK_EQ(read(fd[0], &byte, 1), 1);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(person_type(&bob, 0, "offline "), CV_OK);
    at = cv_loop_now(loop);
    UNTIL(loop, 30, bob.state == CV_SESSION_OFFLINE);
    say_time("the killed peer is missed", at);

    (void)snprintf(ann.dir, sizeof ann.dir, "%s", dirs.dir);
    person_start(&ann, loop, "Ann", &config);
    at = cv_loop_now(loop);
    CHECK_EQ(person_resume(&ann, &key), CV_OK);
    CHECK(person_has(&ann, "base bob ann"));
    check_author(&ann, "Bob", cv_node_identity(bob.node), strlen(" bob"));
    UNTIL(loop, 90, person_has(&ann, "offline base bob ann"));
    say_time("resume after kill -9 to in step", at);
    CHECK_EQ(person_type(&ann, 0, "again "), CV_OK);
    UNTIL(loop, 10, person_has(&bob, "again offline base bob ann"));
    /* Of both her lives, but not what she shared. */
    check_author(&bob, "Ann", cv_node_identity(ann.node),
                 strlen("again ") + strlen(" ann"));
    CHECK_EQ(cv_document_revert(bob.document, cv_node_identity(ann.node), 1,
                                false, &reverted, &seq),
             CV_OK);
    UNTIL(loop, 10, person_has(&ann, "offline base bob"));
    (void)close(fd[0]);
    (void)close(fd[1]);
    end_all();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(three_share_one_text_over_real_sockets),
        T(the_second_one_who_may_answer_is_asked_when_the_first_does_not),
        T(two_sessions_of_the_same_two_nodes_live_side_by_side),
        T(a_large_text_arrives_whole),
        T(a_killed_sharer_resumes_and_the_joiner_finds_it_again),
    };

    if (argc == 4) {
        (void)snprintf(bootstrap_name, sizeof bootstrap_name, "%s", argv[3]);
        child(argv[1], atoi(argv[2]));
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
