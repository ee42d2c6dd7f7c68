#include "tests/unit/document_kit.h"
#include "tests/unit/full_disk.h"

#include "crdt/awareness.h"
#include "crdt/sync.h"

static struct world w;

TEST(two_that_connect_have_the_same_text_and_know_it)
{
    kit_init(&w, 1);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    struct node *b = kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);

    CHECK_EQ(cv_document_seed(a->d, CV_LITERAL("one\n")), CV_OK);
    CHECK_EQ(a->shadow_len, 0);
    free(a->shadow);
    a->shadow = kit_read(a, &a->shadow_len);
    CHECK_EQ(kit_type(a, "two\n"), CV_OK);
    kit_step(&w, CV_SECOND);
    CHECK_EQ(a->kept, 1);
    CHECK_EQ(a->shared, 0);

    kit_up(x);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(b, "one\ntwo\n"));
    CHECK_EQ(b->in_steps, 1);
    CHECK_EQ(a->in_steps, 1);
    CHECK_EQ(a->shared, 1);
    CHECK(cv_document_link_in_step(x->end[0].link));

    /* An edit is under way at once, without waiting for a timer. */
    CHECK_EQ(kit_type(b, "three\n"), CV_OK);
    CHECK(x->end[1].out.first);
    while (kit_deliver(&x->end[1]))
        ;
    CHECK(kit_is(a, "one\ntwo\nthree\n"));
    CHECK_EQ(b->shared, 0);
    kit_run(&w, 100 * CV_MILLISECOND);
    CHECK_EQ(b->kept, 1);
    CHECK_EQ(b->shared, 1);
    /* An empty transaction is no commit. */
    CHECK_EQ(kit_edit(b, 0, 0, "", 0), CV_OK);
    CHECK_EQ(cv_document_insert(b->d, 0, "x", 1), CV_ERR_INVALID);
    kit_fini(&w);
}

/* ---- random graphs ---- */

static size_t on_border(const struct node *n, size_t at)
{
    while (at < n->shadow_len && ((uint8_t)n->shadow[at] & 0xc0) == 0x80)
        at++;
    return at;
}

static void random_edit(struct node *n)
{
    static const char *const words[] = {
        "a", "\n", "\xc3\xa9", "word ", "\xf0\x9f\x98\x80", "long line\n", "x"};
    const struct cv_rng *rng = &w.rng;
    size_t at = on_border(n, cv_random_u64(rng) % (n->shadow_len + 1));
    size_t end = at;
    const char *text = "";

    if (cv_random_u64(rng) % 3 == 0)
        end = on_border(n, at + cv_random_u64(rng) % 12);
    if (end > n->shadow_len)
        end = n->shadow_len;
    if (end == at || cv_random_u64(rng) % 2)
        text = words[cv_random_u64(rng) % 7];
    REQUIRE(kit_edit(n, at, end - at, text, strlen(text)) == CV_OK);
}

/* The process dies and comes back: what was kept is there. */
static void restart(struct node *n)
{
    size_t len;
    char *before, *after;

    for (unsigned i = 0; i < w.n_wires; i++)
        if (w.wires[i].a == n->index || w.wires[i].b == n->index)
            kit_down(&w.wires[i]);
    before = kit_read(n, &len);
    kit_close(n);
    kit_open(n, true);
    after = kit_read(n, &len);
    REQUIRE(strcmp(before, after) == 0);
    free(before);
    free(after);
}

static void random_world(uint64_t seed)
{
    const struct cv_rng *rng = &w.rng;
    unsigned n;

    kit_init(&w, seed);
    n = 2 + (unsigned)(cv_random_u64(rng) % 5);
    w.window = 40 + cv_random_u64(rng) % 2000;
    for (unsigned i = 0; i < n; i++) {
        /* Never the only neighbour of somebody. */
        bool viewer = i > 1 && i == n - 1 && cv_random_u64(rng) % 2;

        kit_add(&w, viewer ? CV_ROLE_VIEWER : CV_ROLE_EDITOR,
                cv_random_u64(rng) % 3 == 0);
    }
    switch (cv_random_u64(rng) % 3) {
    case 0: /* star */
        for (unsigned i = 1; i < n; i++)
            kit_wire(&w, 0, i);
        break;
    case 1: /* chain */
        for (unsigned i = 1; i < n; i++)
            kit_wire(&w, i - 1, i);
        break;
    default: /* ring, with a chord */
        for (unsigned i = 0; i < n; i++)
            if (n > 2 || i == 0)
                kit_wire(&w, i, (i + 1) % n);
        if (n > 4)
            kit_wire(&w, 0, 2);
    }
    /* Nobody is behind a viewer, who does not forward. */
    for (int step = 0; step < 1500; step++) {
        uint64_t what = cv_random_u64(rng) % 100;
        struct wire *x = &w.wires[cv_random_u64(rng) % w.n_wires];
        struct end *e = &x->end[cv_random_u64(rng) % 2];
        struct node *node = &w.nodes[cv_random_u64(rng) % n];

        if (what < 30) {
            if (node->role != CV_ROLE_VIEWER)
                random_edit(node);
        } else if (what < 90) {
            (void)kit_deliver(e);
            REQUIRE(e->error == CV_OK);
        } else if (what < 93) {
            kit_up(x);
        } else if (what < 94) {
            kit_down(x);
        } else if (what < 95) {
            e->out.blocked = true;
        } else if (what < 97) {
            kit_unblock(e);
        } else if (what < 98) {
            const struct cv_presence_range r = {
                on_border(node, node->shadow_len / 2), 0};

            cv_document_set_cursor(node->d, 1, &r, "n");
        } else if (what == 98 && node->journal && cv_random_u64(rng) % 4 == 0) {
            restart(node);
        } else {
            kit_step(&w, (cv_time)(cv_random_u64(rng) % 100) * CV_MILLISECOND);
        }
    }
    for (unsigned i = 0; i < w.n_wires; i++) {
        kit_up(&w.wires[i]);
        kit_unblock(&w.wires[i].end[0]);
        kit_unblock(&w.wires[i].end[1]);
    }
    kit_run(&w, 3 * CV_SECOND);
    kit_require_same(&w);
    for (unsigned i = 0; i < n; i++) {
        uint64_t commits, kept, shared;

        cv_document_counts(w.nodes[i].d, &commits, &kept, &shared);
        REQUIRE(kept == commits && shared == commits);
        REQUIRE(w.nodes[i].kept == commits && w.nodes[i].shared == commits);
        REQUIRE(!cv_doc_waiting(cv_document_text(w.nodes[i].d)));
    }
    for (unsigned i = 0; i < w.n_wires; i++)
        for (int k = 0; k < 2; k++)
            REQUIRE(w.wires[i].end[k].error == CV_OK &&
                    cv_document_link_queued(w.wires[i].end[k].link) == 0);
    kit_fini(&w);
}

static uint64_t running_seed;

static int say_seed(void **state)
{
    (void)state;
    print_message("last seed %llu (COVIM_SEED, COVIM_ROUNDS)\n",
                  (unsigned long long)running_seed);
    return 0;
}

TEST(any_connected_graph_converges)
{
    const char *from = getenv("COVIM_SEED");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1;
    const char *many = getenv("COVIM_ROUNDS");
    uint64_t rounds = many ? strtoull(many, NULL, 10) : from ? 1 : 120;

    for (uint64_t seed = first; seed < first + rounds; seed++) {
        running_seed = seed;
        random_world(seed);
    }
    CHECK(true);
}

/* ---- slow neighbours ---- */

TEST(a_stopped_neighbour_costs_a_bounded_queue_and_is_resynced)
{
    char line[2001];
    size_t most = 0;

    kit_init(&w, 3);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);

    (void)kit_add(&w, CV_ROLE_EDITOR, false);
    struct node *c = kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *slow = kit_wire(&w, 0, 1);

    kit_up(slow);
    kit_up(kit_wire(&w, 0, 2));
    kit_run(&w, CV_SECOND);
    slow->end[0].out.blocked = true;
    memset(line, 'x', sizeof(line) - 1);
    line[2000] = '\0';
    for (int i = 0; i < 2000; i++) {
        CHECK_EQ(kit_type(a, line), CV_OK);
        if (cv_document_link_queued(slow->end[0].link) > most)
            most = cv_document_link_queued(slow->end[0].link);
        if (i % 100 == 0)
            kit_run(&w, 10 * CV_MILLISECOND);
    }
    CHECK(most > CV_DOCUMENT_QUEUE_MAX / 2);
    CHECK(most <= CV_DOCUMENT_QUEUE_MAX + CV_DOCUMENT_MESSAGE_MAX);
    /* The other is not held up, and one peer is enough to be shared. */
    kit_run(&w, 100 * CV_MILLISECOND);
    CHECK_EQ(c->shadow_len, 2000 * 2000);
    CHECK_EQ(a->shared, 2000);
    CHECK(!cv_document_link_in_step(slow->end[0].link));

    kit_unblock(&slow->end[0]);
    kit_run(&w, CV_SECOND);
    kit_require_same(&w);
    CHECK_EQ(cv_document_link_queued(slow->end[0].link), 0);
    CHECK(cv_document_link_in_step(slow->end[0].link));
    kit_fini(&w);
}

TEST(a_large_text_goes_in_parts_that_the_stream_can_take)
{
    const size_t size = 5u << 20;
    uint8_t *text = malloc(size);

    CHECK(text);
    for (size_t i = 0; i < size; i++)
        text[i] = i % 61 == 60 ? '\n' : (uint8_t)('a' + i % 26);
    kit_init(&w, 4);
    w.window = 70000;
    struct node *a = kit_add(&w, CV_ROLE_HOST, true);
    struct node *b = kit_add(&w, CV_ROLE_EDITOR, true);
    struct wire *x = kit_wire(&w, 0, 1);

    CHECK_EQ(cv_document_seed(a->d, CV_BYTES(text, size)), CV_OK);
    free(a->shadow);
    a->shadow = kit_read(a, &a->shadow_len);
    kit_up(x);
    while (kit_deliver(&x->end[1])) /* step1 of b */
        ;
    /* Edits while the text is on its way follow it. */
    CHECK_EQ(kit_edit(a, 0, 0, "first ", 6), CV_OK);
    kit_run(&w, CV_SECOND);
    kit_require_same(&w);
    CHECK_EQ(b->shadow_len, size + 6);
    CHECK_EQ(b->in_steps, 1);
    CHECK_EQ(a->shared, 1);
    /* Cut in the middle, it starts again. */
    restart(b);
    CHECK_EQ(kit_edit(b, 3, 0, "in between", 10), CV_OK);
    kit_up(x);
    kit_run(&w, CV_SECOND);
    kit_require_same(&w);
    free(text);
    kit_fini(&w);
}

TEST(what_got_lost_is_repaired_within_a_minute_and_idling_is_silent)
{
    kit_init(&w, 40);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    struct node *b = kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);

    kit_up(x);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(kit_type(a, "lost"), CV_OK);
    struct packet *p = x->end[0].out.first;

    /* Claim, update: a bug somewhere eats the update. */
    CHECK(p && p->next && !p->next->next);
    x->end[0].out.bytes -= p->next->len;
    free(p->next);
    p->next = NULL;
    x->end[0].out.last = &p->next;
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(b, ""));
    kit_run(&w, CV_MINUTE);
    CHECK(kit_is(b, "lost"));
    kit_run(&w, 2 * CV_MINUTE);

    /* From here on only cursors are renewed. */
    unsigned others = 0;

    for (int i = 0; i < 300; i++) {
        kit_step(&w, CV_SECOND);
        for (int k = 0; k < 2; k++)
            while ((p = x->end[k].out.first)) {
                others += p->data[0] != 1;
                (void)kit_deliver(&x->end[k]);
            }
    }
    CHECK_EQ(others, 0);
    kit_fini(&w);
}

/* ---- roles ---- */

static void put_update(struct cv_writer *out, const char *text)
{
    struct cv_doc *doc;
    struct cv_writer update;

    cv_writer_init_heap(&update, 4096);
    REQUIRE(cv_doc_new(&doc, 4711, NULL) == CV_OK);
    REQUIRE(cv_doc_begin(doc) == CV_OK);
    REQUIRE(cv_doc_insert(doc, 0, text, strlen(text)) == CV_OK);
    REQUIRE(cv_doc_commit(doc, &update) == CV_OK);
    cv_put_varuint(out, 0);
    REQUIRE(cv_sync_put_update(out, cv_writer_bytes(&update)) == CV_OK);
    cv_writer_fini(&update);
    cv_doc_free(doc);
}

TEST(a_viewer_receives_and_changes_nothing)
{
    uint8_t space[256];
    struct cv_writer m;

    kit_init(&w, 5);
    struct node *host = kit_add(&w, CV_ROLE_HOST, false);
    struct node *viewer = kit_add(&w, CV_ROLE_VIEWER, false);
    struct node *third = kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1), *y = kit_wire(&w, 1, 2);

    CHECK_EQ(kit_type(host, "text"), CV_OK);
    kit_up(x);
    kit_up(y);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(viewer, "text"));
    /* It neither serves nor forwards, and is not sent to the door for being
     * asked. */
    CHECK_EQ(kit_type(host, " more"), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(viewer, "text more"));
    CHECK(kit_is(third, ""));
    CHECK(x->up && y->up);
    CHECK_EQ(third->in_steps, 0);
    CHECK_EQ(cv_document_begin(viewer->d), CV_ERR_DENIED);
    CHECK_EQ(cv_document_insert(viewer->d, 0, "x", 1), CV_ERR_INVALID);

    /* A forged one is refused by every receiver. */
    cv_writer_init(&m, space, sizeof(space));
    put_update(&m, "forged");
    CHECK_EQ(cv_document_link_input(x->end[0].link, cv_writer_bytes(&m)),
             CV_ERR_DENIED);
    CHECK_EQ(cv_document_link_input(y->end[1].link, cv_writer_bytes(&m)),
             CV_ERR_DENIED);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(host, "text more"));
    CHECK(kit_is(third, ""));
    /* It cannot make us hold much either. */
    int err = CV_OK;
    static uint8_t part[60000] = {67, 0};

    for (int i = 0; err == CV_OK && i < 1000; i++)
        err = cv_document_link_input(x->end[0].link,
                                     CV_BYTES(part, sizeof(part)));
    CHECK_EQ(err, CV_ERR_DENIED);
    kit_fini(&w);
}

TEST(roles_change_while_it_runs)
{
    kit_init(&w, 6);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    struct node *b = kit_add(&w, CV_ROLE_VIEWER, false);
    struct node *c = kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1), *y = kit_wire(&w, 1, 2);

    CHECK_EQ(kit_type(a, "a"), CV_OK);
    kit_up(x);
    kit_up(y);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(c, ""));
    /* Promoted: it edits, and serves what it has. */
    cv_document_link_set_role(x->end[0].link, CV_ROLE_EDITOR);
    cv_document_link_set_role(y->end[1].link, CV_ROLE_EDITOR);
    b->role = CV_ROLE_EDITOR;
    cv_document_set_role(b->d, CV_ROLE_EDITOR);
    CHECK_EQ(kit_type(b, "b"), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(c, "ab"));
    kit_require_same(&w);

    /* Demoted while something waits: nothing of it is sent. */
    x->end[1].out.blocked = true;
    CHECK_EQ(kit_type(b, "lost"), CV_OK);
    CHECK(cv_document_link_queued(x->end[1].link) > 0);
    b->role = CV_ROLE_VIEWER;
    cv_document_set_role(b->d, CV_ROLE_VIEWER);
    cv_document_link_set_role(x->end[0].link, CV_ROLE_VIEWER);
    CHECK_EQ(cv_document_begin(b->d), CV_ERR_DENIED);
    kit_unblock(&x->end[1]);
    kit_run(&w, CV_SECOND);
    CHECK(x->up);
    CHECK(kit_is(a, "ab"));
    kit_fini(&w);
}

TEST(a_demotion_in_the_middle_of_a_long_message_abandons_it)
{
    const size_t size = 1u << 20;
    char *text = malloc(size + 1);

    CHECK(text);
    memset(text, 'x', size);
    text[size] = '\0';
    kit_init(&w, 60);
    w.window = 70000;
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    struct node *b = kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);

    kit_up(x);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(kit_type(b, text), CV_OK);
    (void)kit_deliver(&x->end[1]);
    (void)kit_deliver(&x->end[1]);
    CHECK(cv_document_link_queued(x->end[1].link) > 0);
    b->role = CV_ROLE_VIEWER;
    cv_document_set_role(b->d, CV_ROLE_VIEWER);
    kit_run(&w, CV_SECOND);
    CHECK(x->up);
    CHECK(kit_is(a, ""));
    CHECK_EQ(kit_type(a, "still works"), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(b->shadow_len, size + strlen("still works"));
    free(text);
    kit_fini(&w);
}

/* ---- what counts as kept and shared ---- */

TEST(what_is_not_on_disk_is_not_said_to_be_kept)
{
    kit_init(&w, 7);
    struct node *a = kit_add(&w, CV_ROLE_HOST, true);
    struct node *b = kit_add(&w, CV_ROLE_EDITOR, true);

    kit_up(kit_wire(&w, 0, 1));
    CHECK_EQ(kit_type(a, "1"), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(a->kept, 1);
    CHECK_EQ(a->shared, 1);

    /* Neither disk takes anything: the edit is at b, but not for sure. */
    limit_files(8);
    CHECK_EQ(kit_type(a, "2"), CV_OK);
    kit_run(&w, 3 * CV_SECOND);
    CHECK(kit_is(b, "12"));
    CHECK_EQ(a->kept, 1);
    CHECK_EQ(a->shared, 1);
    limit_files(RLIM_INFINITY);
    kit_run(&w, 3 * CV_SECOND);
    CHECK_EQ(a->kept, 2);
    CHECK_EQ(a->shared, 2);
    restart(a);
    restart(b);
    CHECK(kit_is(a, "12"));
    CHECK(kit_is(b, "12"));
    kit_fini(&w);
}

TEST(an_ack_for_what_was_not_sent_closes_the_link)
{
    const uint8_t ack[] = {65, 9};

    kit_init(&w, 8);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    (void)kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);

    kit_up(x);
    CHECK_EQ(kit_type(a, "text"), CV_OK);
    CHECK_EQ(cv_document_link_input(x->end[0].link, CV_BYTES(ack, 2)),
             CV_ERR_PEER);
    kit_step(&w, CV_SECOND);
    CHECK_EQ(a->kept, 1);
    CHECK_EQ(a->shared, 0);
    kit_fini(&w);
}

TEST(a_restart_has_a_new_client_id_and_knows_its_authors)
{
    size_t at;

    kit_init(&w, 9);
    struct node *a = kit_add(&w, CV_ROLE_HOST, true);
    struct node *b = kit_add(&w, CV_ROLE_EDITOR, true);
    struct wire *x = kit_wire(&w, 0, 1);
    uint64_t client = cv_document_client(a->d);

    kit_up(x);
    CHECK_EQ(kit_type(a, "of a "), CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(kit_type(b, "of b "), CV_OK);
    kit_run(&w, CV_SECOND);
    restart(a);
    CHECK(cv_document_client(a->d) != client);
    CHECK_EQ(kit_type(a, "again"), CV_OK);
    kit_up(x);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(b, "of a of b again"));
    for (int i = 0; i < 2; i++) {
        const struct node *n = i ? a : b;

        CHECK(kit_author(n, 0) == a);
        CHECK(kit_author(n, 5) == b);
        at = strlen("of a of b ");
        CHECK(kit_author(n, at) == a);
    }
    kit_fini(&w);
}

TEST(a_forged_claim_closes_the_link)
{
    uint8_t claim[1 + 136] = {68, 0, 0, 0, 0, 0, 0, 0, 5};

    kit_init(&w, 10);
    (void)kit_add(&w, CV_ROLE_HOST, false);
    (void)kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);

    kit_up(x);
    CHECK_EQ(
        cv_document_link_input(x->end[0].link, CV_BYTES(claim, sizeof(claim))),
        CV_ERR_PEER);
    CHECK_EQ(cv_document_link_input(x->end[0].link, CV_BYTES(claim, 100)),
             CV_ERR_PEER);
    kit_fini(&w);
}

TEST(who_writes_under_a_client_id_without_a_claim_makes_us_take_another)
{
    uint8_t space[256];
    struct cv_writer m, update;
    struct cv_doc *doc;

    kit_init(&w, 11);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);

    kit_close(a);
    a->signs_not = true;
    kit_open(a, false);
    struct node *b = kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);
    uint64_t client = cv_document_client(a->d);

    kit_up(x);
    CHECK_EQ(kit_type(a, "mine "), CV_OK);
    kit_run(&w, CV_SECOND);
    /* A copy of the process, say, that goes on where we are. */
    cv_writer_init_heap(&update, 4096);
    CHECK_EQ(cv_doc_encode(cv_document_text(a->d), CV_BYTES(NULL, 0), &update),
             CV_OK);
    CHECK_EQ(cv_doc_new(&doc, client, NULL), CV_OK);
    CHECK_EQ(cv_doc_apply(doc, cv_writer_bytes(&update), NULL, NULL, NULL),
             CV_OK);
    cv_writer_reset(&update);
    CHECK_EQ(cv_doc_begin(doc), CV_OK);
    CHECK_EQ(cv_doc_insert(doc, 5, "thief ", 6), CV_OK);
    CHECK_EQ(cv_doc_commit(doc, &update), CV_OK);
    cv_doc_free(doc);
    cv_writer_init(&m, space, sizeof(space));
    cv_put_varuint(&m, 0);
    CHECK_EQ(cv_sync_put_update(&m, cv_writer_bytes(&update)), CV_OK);
    CHECK_EQ(cv_document_link_input(x->end[0].link, cv_writer_bytes(&m)),
             CV_OK);
    CHECK(cv_document_client(a->d) != client);
    CHECK_EQ(kit_type(a, "again"), CV_OK);
    /* The thief's own neighbour gets it too. */
    CHECK_EQ(cv_document_link_input(x->end[1].link, cv_writer_bytes(&m)),
             CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK(kit_is(b, "mine thief again"));
    kit_require_same(&w);
    cv_writer_fini(&update);
    kit_fini(&w);
}

/* ---- hostile messages ---- */

TEST(what_is_no_message_closes_the_link_and_changes_nothing)
{
    static const struct {
        const char *what;
        uint8_t data[12];
        size_t len;
        int err;
    } cases[] = {
        {"nothing", {0}, 0, CV_ERR_PEER},
        {"sync without kind", {0}, 1, CV_ERR_PEER},
        {"sync of kind 3", {0, 3, 0}, 3, CV_ERR_PEER},
        {"step1 cut short", {0, 0, 5, 1}, 4, CV_ERR_PEER},
        {"step1 that is no vector", {0, 0, 2, 9, 9}, 5, CV_ERR_PEER},
        {"update that is none", {0, 2, 2, 0xff, 0xff}, 5, CV_ERR_PEER},
        {"update with bytes behind", {0, 2, 3, 0, 0, 0}, 6, CV_ERR_PEER},
        {"empty update", {0, 2, 2, 0, 0}, 5, CV_OK},
        {"awareness cut short", {1, 9, 1}, 3, CV_ERR_PEER},
        {"awareness of nothing", {1, 1, 0}, 3, CV_OK},
        {"awareness that is not JSON",
         {1, 7, 1, 5, 1, 3, '{', 'x', '}'},
         9,
         CV_ERR_PEER},
        {"who without number", {64}, 1, CV_ERR_PEER},
        {"ack without number", {65}, 1, CV_ERR_PEER},
        {"part without content", {67, 1}, 2, CV_ERR_PEER},
        {"part of another kind", {67, 3, 1}, 3, CV_ERR_PEER},
        {"part of nothing, forgotten", {67, 2}, 2, CV_OK},
        {"a message of the future", {0x80, 0x01, 1, 2, 3}, 5, CV_OK},
        {"a kind that never ends",
         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
         10,
         CV_ERR_PEER},
    };

    kit_init(&w, 12);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    (void)kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);

    CHECK_EQ(kit_type(a, "text"), CV_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int err;

        kit_up(x);
        err = cv_document_link_input(x->end[0].link,
                                     CV_BYTES(cases[i].data, cases[i].len));
        if (err != cases[i].err)
            print_error("%s\n", cases[i].what);
        CHECK_EQ(err, cases[i].err);
        kit_down(x);
        CHECK(kit_is(a, "text"));
    }
    /* Other messages do not come between parts. */
    const uint8_t part[] = {67, 0, 0}, ack[] = {65, 0};

    kit_up(x);
    CHECK_EQ(cv_document_link_input(x->end[0].link, CV_BYTES(part, 3)), CV_OK);
    CHECK_EQ(cv_document_link_input(x->end[0].link, CV_BYTES(ack, 2)),
             CV_ERR_PEER);
    kit_fini(&w);
}

TEST(who_asks_and_does_not_read_is_not_queued_for)
{
    const uint8_t ask[] = {66}, step1[] = {0, 0, 1, 0};
    char text[10000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    kit_init(&w, 13);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    (void)kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);

    CHECK_EQ(kit_type(a, text), CV_OK);
    kit_up(x);
    x->end[0].out.blocked = true;
    for (int i = 0; i < 10000; i++) {
        CHECK_EQ(cv_document_link_input(x->end[0].link, CV_BYTES(ask, 1)),
                 CV_OK);
        CHECK_EQ(cv_document_link_input(x->end[0].link, CV_BYTES(step1, 4)),
                 CV_OK);
    }
    CHECK(cv_document_link_queued(x->end[0].link) < 30000);
    kit_unblock(&x->end[0]);
    kit_run(&w, CV_SECOND);
    kit_require_same(&w);
    kit_fini(&w);
}

/* ---- cursors ---- */

struct seen {
    unsigned n;
    struct cv_presence last;
    uint32_t members; /* bits */
};

static void on_presence(void *user, const struct cv_presence *p)
{
    struct seen *s = user;

    s->n++;
    s->last = *p;
    s->members |= 1u << p->member;
}

static struct seen look(const struct node *n)
{
    struct seen s = {0};

    cv_document_presence(n->d, on_presence, &s);
    return s;
}

TEST(cursors_are_where_their_text_is)
{
    struct cv_presence_range r[2] = {{6, 6}, {0, 5}};

    kit_init(&w, 20);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    struct node *b = kit_add(&w, CV_ROLE_VIEWER, false);
    struct wire *x = kit_wire(&w, 0, 1);

    CHECK_EQ(kit_type(a, "hello world"), CV_OK);
    kit_up(x);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(look(b).n, 1);
    CHECK_EQ(look(b).last.n_ranges, 0);
    cv_document_set_cursor(a->d, 2, r, "v");
    kit_run(&w, 100 * CV_MILLISECOND);
    struct seen s = look(b);

    CHECK_EQ(s.n, 1);
    CHECK_EQ(s.last.member, 1);
    CHECK_EQ(s.last.client, cv_document_client(a->d));
    CHECK_STR(s.last.name, "somebody");
    CHECK_STR(s.last.mode, "v");
    CHECK(s.last.colour >= 1 && s.last.colour <= 8);
    CHECK_EQ(s.last.n_ranges, 2);
    CHECK_EQ(s.last.ranges[0].anchor, 6);
    CHECK_EQ(s.last.ranges[1].head, 5);

    /* Text before it moves it, without another message. */
    CHECK_EQ(kit_edit(a, 0, 0, "oh, ", 4), CV_OK);
    while (kit_deliver(&x->end[0]))
        ;
    CHECK_EQ(look(b).last.ranges[0].anchor, 10);
    CHECK_EQ(look(b).last.ranges[1].anchor, 4);
    CHECK_EQ(kit_edit(a, 0, 11, "", 0), CV_OK);
    while (kit_deliver(&x->end[0]))
        ;
    CHECK_EQ(look(b).last.ranges[0].anchor, 0);

    /* A viewer's cursor is seen as well. */
    cv_document_set_cursor(b->d, 1, &(struct cv_presence_range){4, 4}, "n");
    kit_run(&w, 100 * CV_MILLISECOND);
    CHECK_EQ(look(a).n, 1);
    CHECK_EQ(look(a).last.member, 2);
    CHECK_EQ(look(a).last.ranges[0].head, 4);
    cv_document_set_name(b->d, "b\x1b[31m\nob");
    kit_run(&w, 100 * CV_MILLISECOND);
    CHECK_STR(look(a).last.name, "b[31mob");

    /* Goodbye, and an end without one. */
    cv_document_goodbye(b->d);
    kit_run(&w, 100 * CV_MILLISECOND);
    CHECK_EQ(look(a).n, 0);
    unsigned before = b->presences;

    kit_down(x);
    CHECK_EQ(look(b).n, 0);
    cv_document_step(b->d, w.now); /* it asked for that */
    CHECK(b->presences > before);
    kit_up(x);
    kit_run(&w, 100 * CV_MILLISECOND);
    CHECK_EQ(look(b).n, 1);
    kit_fini(&w);
}

TEST(cursors_are_told_at_most_every_50_ms_and_the_last_one_is_told)
{
    unsigned sent = 0;

    kit_init(&w, 21);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    struct node *b = kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);

    CHECK_EQ(kit_type(a, "0123456789012345678901234567890123456789"), CV_OK);
    kit_up(x);
    kit_run(&w, CV_SECOND);
    for (size_t i = 0; i < 40; i++) {
        struct cv_presence_range r = {i, i};

        cv_document_set_cursor(a->d, 1, &r, "n");
        while (kit_deliver(&x->end[0]))
            sent++;
        kit_step(&w, 10 * CV_MILLISECOND);
    }
    CHECK(sent >= 6 && sent <= 10);
    kit_run(&w, 100 * CV_MILLISECOND);
    CHECK_EQ(look(b).last.ranges[0].head, 39);
    kit_fini(&w);
}

/* Who types at the end of a line stays before its line end, and is in another
 * line all the same: whoever draws him must look again. */
TEST(a_cursor_that_text_moves_is_told_of_without_a_message_of_its_own)
{
    kit_init(&w, 23);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    struct node *b = kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);
    unsigned before;

    CHECK_EQ(kit_type(a, "one\ntwo\n"), CV_OK);
    kit_up(x);
    kit_run(&w, CV_SECOND);
    cv_document_set_cursor(a->d, 1, &(struct cv_presence_range){3, 3}, "i");
    kit_run(&w, CV_SECOND);
    CHECK_EQ(look(b).last.ranges[0].head, 3);

    before = b->presences;
    for (unsigned i = 0; i < 20; i++) {
        CHECK_EQ(kit_edit(a, 3 + i, 0, "\n", 1), CV_OK);
        kit_run(&w, 10 * CV_MILLISECOND);
        CHECK_EQ(look(b).last.ranges[0].head, 4 + i);
    }
    CHECK(b->presences - before >= 3 && b->presences - before <= 6);
    kit_run(&w, CV_SECOND);
    before = b->presences;
    CHECK_EQ(kit_edit(b, 0, 0, "mine\n", 5), CV_OK); /* ours, too */
    kit_run(&w, 100 * CV_MILLISECOND);
    CHECK_EQ(b->presences, before + 1);
    kit_run(&w, 20 * CV_SECOND);
    CHECK_EQ(b->presences, before + 1); /* nothing moved */
    kit_fini(&w);
}

TEST(who_is_silent_for_30_s_is_gone_and_who_lives_is_not)
{
    kit_init(&w, 22);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    (void)kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);

    kit_up(x);
    kit_run(&w, CV_SECOND);
    unsigned before = a->presences;

    for (int i = 0; i < 100; i++) {
        kit_step(&w, CV_SECOND);
        kit_run(&w, 5 * CV_MILLISECOND);
        CHECK_EQ(look(a).n, 1);
    }
    CHECK_EQ(a->presences, before); /* renewals are no news */
    x->end[1].out.blocked = true;
    for (int i = 0; i < 35; i++)
        kit_step(&w, CV_SECOND);
    CHECK_EQ(look(a).n, 0);
    CHECK(a->presences > before);
    kit_fini(&w);
}

/* Put one entry of `client` into an awareness message. */
static struct cv_bytes awareness(struct cv_writer *m, uint64_t client,
                                 uint64_t clock, const char *json)
{
    uint8_t space[8192];
    struct cv_writer u;

    cv_writer_init(&u, space, sizeof(space));
    cv_put_varuint(&u, 1);
    cv_put_varuint(&u, client);
    cv_put_varuint(&u, clock);
    cv_put_varbytes(&u, json, strlen(json));
    cv_writer_reset(m);
    cv_put_varuint(m, 1);
    REQUIRE(cv_put_varbytes(m, u.data, u.len) == CV_OK);
    return cv_writer_bytes(m);
}

TEST(a_neighbour_cannot_speak_for_another)
{
    uint8_t space[8192];
    struct cv_writer m;

    cv_writer_init(&m, space, sizeof(space));
    kit_init(&w, 23);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    struct node *b = kit_add(&w, CV_ROLE_EDITOR, false);
    struct node *c = kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1), *y = kit_wire(&w, 0, 2);

    kit_up(y); /* c is asked first whatever it says it is */
    kit_up(x);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(look(a).n, 2);
    CHECK_EQ(look(a).members, 1u << 2 | 1u << 3);
    /* c says that b is gone, is called otherwise, is c. */
    CHECK_EQ(cv_document_link_input(
                 y->end[0].link,
                 awareness(&m, cv_document_client(b->d), 1000, "null")),
             CV_OK);
    CHECK_EQ(look(a).n, 2);
    cv_writer_reset(&m);
    cv_put_varuint(&m, 64);
    cv_put_varuint(&m, cv_document_client(b->d));
    CHECK_EQ(cv_document_link_input(y->end[0].link, cv_writer_bytes(&m)),
             CV_OK);
    CHECK_EQ(look(a).members, 1u << 2 | 1u << 3);
    kit_down(y);
    kit_run(&w, 100 * CV_MILLISECOND);
    CHECK_EQ(look(a).n, 1);
    CHECK_EQ(look(a).last.member, 2);
    /* That we are gone ourselves is put right. */
    CHECK_EQ(cv_document_link_input(
                 x->end[0].link,
                 awareness(&m, cv_document_client(a->d), 2000, "null")),
             CV_OK);
    CHECK_EQ(cv_document_link_input(
                 x->end[1].link,
                 awareness(&m, cv_document_client(a->d), 2000, "null")),
             CV_OK);
    kit_run(&w, CV_SECOND);
    CHECK_EQ(look(b).n, 1);
    (void)c;
    kit_fini(&w);
}

TEST(odd_cursors_are_shown_as_far_as_they_make_sense)
{
    static const struct {
        const char *json;
        const char *name;
        unsigned n_ranges;
    } cases[] = {
        {"{}", "Anonymous", 0},
        {"{\"user\":5,\"cursor\":[],\"covim\":\"x\"}", "Anonymous", 0},
        {"{\"user\":{\"name\":{}}}", "Anonymous", 0},
        {"{\"user\":{\"name\":\"\\u001b]0;x\\u0007\\u0000\"}}", "]0;x", 0},
        {"{\"user\":{\"name\":\"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82"
         "\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
         "\xe2\x82\xac\xe2\x82\xac\"}}",
         "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2"
         "\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac",
         0},
        /* As a browser writes it. */
        {"{\"user\":{\"name\":\"web\",\"color\":\"#30bced\"},\"cursor\":"
         "{\"anchor\":{\"type\":null,\"tname\":\"content\",\"item\":null,"
         "\"assoc\":0},\"head\":{\"tname\":\"content\"}}}",
         "web", 1},
        {"{\"cursor\":{\"anchor\":{\"tname\":\"another\"},\"head\":{\"tname\":"
         "\"another\"}}}",
         "Anonymous", 0},
        {"{\"cursor\":{\"anchor\":{\"item\":{\"client\":-1,\"clock\":0}},"
         "\"head\":{\"item\":{\"client\":99999999999999999999999,\"clock\":0}}"
         "}}",
         NULL, 0},
        {"{\"cursor\":{\"anchor\":{\"item\":{\"client\":9007199254740993,"
         "\"clock\":0}},\"head\":{}}}",
         "Anonymous", 0},
        {"{\"covim\":{\"colour\":99,\"mode\":\"a\\nb\",\"ranges\":[1,{},null,"
         "{\"anchor\":{\"tname\":\"content\"},\"head\":{\"tname\":\"content\"}}"
         "]}}",
         "Anonymous", 1},
    };
    uint8_t space[8192];
    struct cv_writer m;

    cv_writer_init(&m, space, sizeof(space));
    kit_init(&w, 24);
    struct node *a = kit_add(&w, CV_ROLE_HOST, false);
    (void)kit_add(&w, CV_ROLE_EDITOR, false);
    struct wire *x = kit_wire(&w, 0, 1);

    CHECK_EQ(kit_type(a, "text"), CV_OK);
    kit_up(x);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int err = cv_document_link_input(
            x->end[0].link, awareness(&m, 77, 1 + i, cases[i].json));

        /* Numbers that nobody can hold may be refused as no JSON. */
        if (!cases[i].name) {
            CHECK(err == CV_OK || err == CV_ERR_PEER);
            continue;
        }
        CHECK_EQ(err, CV_OK);
        struct seen s = look(a);

        CHECK_EQ(s.n, 1);
        CHECK_STR(s.last.name, cases[i].name);
        CHECK_EQ(s.last.n_ranges, cases[i].n_ranges);
        CHECK_STR(s.last.mode, "");
        CHECK(s.last.colour >= 1 && s.last.colour <= 8);
        CHECK_EQ(s.last.member, 0);
    }
    /* Many of them do not fill us up. */
    for (uint64_t i = 1000; i < 3000; i++)
        CHECK_EQ(
            cv_document_link_input(x->end[0].link, awareness(&m, i, 1, "{}")),
            CV_OK);
    CHECK(look(a).n <= 64);
    kit_fini(&w);
}

RUN_TESTS(T(two_that_connect_have_the_same_text_and_know_it),
          cmocka_unit_test_teardown(any_connected_graph_converges, say_seed),
          T(a_stopped_neighbour_costs_a_bounded_queue_and_is_resynced),
          T(a_large_text_goes_in_parts_that_the_stream_can_take),
          T(what_got_lost_is_repaired_within_a_minute_and_idling_is_silent),
          T(a_viewer_receives_and_changes_nothing),
          T(roles_change_while_it_runs),
          T(a_demotion_in_the_middle_of_a_long_message_abandons_it),
          T(what_is_not_on_disk_is_not_said_to_be_kept),
          T(an_ack_for_what_was_not_sent_closes_the_link),
          T(a_restart_has_a_new_client_id_and_knows_its_authors),
          T(a_forged_claim_closes_the_link),
          T(who_writes_under_a_client_id_without_a_claim_makes_us_take_another),
          T(what_is_no_message_closes_the_link_and_changes_nothing),
          T(who_asks_and_does_not_read_is_not_queued_for),
          T(cursors_are_where_their_text_is),
          T(cursors_are_told_at_most_every_50_ms_and_the_last_one_is_told),
          T(a_cursor_that_text_moves_is_told_of_without_a_message_of_its_own),
          T(who_is_silent_for_30_s_is_gone_and_who_lives_is_not),
          T(a_neighbour_cannot_speak_for_another),
          T(odd_cursors_are_shown_as_far_as_they_make_sense))
