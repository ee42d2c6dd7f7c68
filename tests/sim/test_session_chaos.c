/* Four people edit one text while their connections are cut, their networks
 * fail, and they crash, leave and come back, as a seed says.  In the end all
 * have the same text, and nothing that was kept is missing.
 *
 *   sim_session_chaos [SEED [STEPS]] */
#include "../unit/people.h"

#include "../unit/fake_net.h"
#include "session/node.h"

#define PEOPLE 4

static struct cv_loop *loop;
static struct person who[PEOPLE];
static bool plugged[PEOPLE];
static struct cv_keytext key;
static struct cv_rng_seeded state;
static struct cv_rng rng;
static uint64_t the_seed;
static unsigned steps = 150;
static unsigned words[PEOPLE];

static unsigned pick(unsigned n)
{
    return (unsigned)(cv_random_u64(&rng) % n);
}

static void run_for(cv_time t)
{
    cv_time until = cv_loop_now(loop) + t;

    while (cv_loop_now(loop) < until)
        cv_loop_once(loop, until);
}

/* Words like "<b12>" are never deleted; what is between them may be. */
static void edit(unsigned i)
{
    struct person *p = &who[i];
    const struct cv_doc *doc;
    struct cv_writer w;
    char word[32];
    size_t at, len;

    if (p->document == NULL)
        return;
    doc = cv_document_text(p->document);
    len = cv_doc_text_bytes(doc);
    cv_writer_init_heap(&w, 1 << 20);
    REQUIRE(cv_doc_read(doc, 0, len, &w) == CV_OK);
    at = len > 0 ? pick((unsigned)len + 1) : 0;
    while (at < len && w.data[at] != '<' && w.data[at] != '.')
        at++;
    if (pick(3) == 0 && at < len && w.data[at] == '.') {
        uint64_t seq;

        REQUIRE(cv_document_begin(p->document) == CV_OK);
        REQUIRE(cv_document_delete(p->document, at, 1) == CV_OK);
        REQUIRE(cv_document_commit(p->document, &seq) == CV_OK);
    } else {
        (void)snprintf(word, sizeof word, "<%c%u>...", 'a' + (int)i,
                       words[i]++);
        REQUIRE(person_type(p, at, word) == CV_OK);
    }
    cv_writer_fini(&w);
}

static void crash(unsigned i)
{
    char dir[sizeof who[i].dir];

    memcpy(dir, who[i].dir, sizeof dir);
    person_crash(&who[i]);
    memset(&who[i], 0, sizeof who[i]);
    memcpy(who[i].dir, dir, sizeof dir);
    person_start(&who[i], loop, "Name", NULL);
    plugged[i] = true;
    if (person_resume(&who[i], &key) != CV_OK)
        REQUIRE(person_join(&who[i], &key) == CV_OK);
}

static void leave(unsigned i)
{
    if (who[i].session == NULL)
        return;
    who[i].left = false;
    cv_session_leave(who[i].session, on_left, &who[i]);
    UNTIL(loop, 5, who[i].left);
    REQUIRE(person_join(&who[i], &key) == CV_OK);
}

static bool is_same(void)
{
    struct cv_writer a, b;
    bool same = who[0].document != NULL;

    cv_writer_init_heap(&a, 1 << 20);
    cv_writer_init_heap(&b, 1 << 20);
    for (unsigned i = 0; i < PEOPLE && same; i++) {
        const struct cv_doc *doc;

        if (who[i].document == NULL || who[i].state != CV_SESSION_DIRECT) {
            same = false;
            break;
        }
        doc = cv_document_text(who[i].document);
        cv_writer_reset(&b);
        REQUIRE(cv_doc_read(doc, 0, cv_doc_text_bytes(doc), &b) == CV_OK);
        if (i == 0)
            REQUIRE(cv_put_raw(&a, b.data, b.len) == CV_OK);
        same = a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
    }
    cv_writer_fini(&a);
    cv_writer_fini(&b);
    return same;
}

static void print_state(unsigned i)
{
    char text[2048];

    if (who[i].session == NULL)
        return;
    cv_session_describe(who[i].session, text, sizeof text);
    print_error("%u: %s: %s (%s)\n%s", i, who[i].stage, who[i].hint,
                who[i].document ? "has the document" : "no document", text);
    if (who[i].document != NULL)
        print_error("bytes: %zu\n",
                    cv_doc_text_bytes(cv_document_text(who[i].document)));
}

static void check_words(void)
{
    const struct cv_doc *doc = cv_document_text(who[0].document);
    struct cv_writer w;
    char word[32];

    cv_writer_init_heap(&w, 1 << 20);
    REQUIRE(cv_doc_read(doc, 0, cv_doc_text_bytes(doc), &w) == CV_OK);
    REQUIRE(cv_put_u8(&w, 0) == CV_OK);
    for (unsigned i = 0; i < PEOPLE; i++)
        for (unsigned k = 0; k < words[i]; k++) {
            const char *at;

            (void)snprintf(word, sizeof word, "<%c%u>", 'a' + (int)i, k);
            at = strstr((const char *)w.data, word);
            if (at == NULL || strstr(at + 1, word) != NULL) {
                print_error("%s is %s\n", word, at ? "there twice" : "lost");
                REQUIRE(false);
            }
        }
    cv_writer_fini(&w);
}

TEST(all_have_the_same_text_in_the_end)
{
    unsigned i;
    cv_time at;

    print_message("seed %llu\n", (unsigned long long)the_seed);
    CHECK_EQ(cv_loop_new(&loop), CV_OK);
    fake_use_loop(loop);
    rng = cv_rng_from_seed(&state, the_seed);
    for (i = 0; i < PEOPLE; i++) {
        person_start(&who[i], loop, "Name", NULL);
        plugged[i] = true;
    }
    key = person_share(&who[0], "begin.", CV_ADMIT_OPEN, CV_ROLE_EDITOR);
    for (i = 1; i < PEOPLE; i++)
        REQUIRE(person_join(&who[i], &key) == CV_OK);
    for (i = 1; i < PEOPLE; i++)
        UNTIL(loop, 30, who[i].document != NULL);

    for (unsigned s = 0; s < steps; s++) {
        i = pick(PEOPLE);
        switch (pick(20)) {
        case 0:
            crash(i);
            break;
        case 1:
            leave(i);
            break;
        case 2:
        case 3:
            plugged[i] = !plugged[i];
            fake_unplug(&who[i].node->key.pub, plugged[i]);
            break;
        default:
            edit(i);
        }
        run_for((cv_time)pick(100) * CV_MILLISECOND);
    }
    for (i = 0; i < PEOPLE; i++)
        fake_unplug(&who[i].node->key.pub, true);
    at = cv_loop_now(loop);
    for (unsigned k = 0; k < 4500 && !is_same(); k++)
        run_for(20 * CV_MILLISECOND);
    if (!is_same())
        for (i = 0; i < PEOPLE; i++)
            print_state(i);
    CHECK(is_same());
    print_message("in step after %lld ms\n",
                  (long long)((cv_loop_now(loop) - at) / CV_MILLISECOND));
    check_words();
    for (i = 0; i < PEOPLE; i++) {
        CHECK_EQ(who[i].node->counters.violations, 0);
        person_end(&who[i]);
    }
    fake_run();
    CHECK_EQ(fake_living(), 0);
    fake_use_loop(NULL);
    fake_reset();
    cv_loop_free(loop);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {T(all_have_the_same_text_in_the_end)};

    the_seed = argc > 1 ? strtoull(argv[1], NULL, 10)
                        : cv_random_u64(&cv_rng_system) % 1000000;
    if (argc > 2)
        steps = (unsigned)strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
