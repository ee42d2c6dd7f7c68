/* Random histories of several replicas against a slow, obvious copy of the
 * rules: one unit at a time, in an array, with the sets of the paper.
 *
 * CRDT_SEED=n repeats one history, CRDT_RUNS=n does more of them. */
#include "crdt/codec.h"
#include "crdt/update.h"
#include "tests/unit/crdt_util.h"

#define REPLICAS_MAX 5
#define QUEUE_MAX    4096

/* ---- the model ---- */

struct unit {
    uint64_t client, clock;
    bool has_origin, has_right, deleted;
    struct cv_id origin, right;
    uint16_t code; /* UTF-16 */
};

struct model {
    struct unit *unit; /* in document order */
    size_t n, cap;
    struct unit *wait; /* not ready */
    size_t wait_n, wait_cap;
    struct cv_id *gone; /* deleted, perhaps not known yet */
    size_t gone_n, gone_cap;
};

static void *grow(void *at, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return at;
    *cap = *cap ? *cap * 2 : 64;
    at = realloc(at, *cap * size);
    REQUIRE(at != NULL);
    return at;
}

static size_t find_unit(const struct model *m, const struct cv_id *id)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->unit[i].client == id->client && m->unit[i].clock == id->clock)
            return i;
    }
    return SIZE_MAX;
}

static bool same_id(bool has_a, struct cv_id a, bool has_b, struct cv_id b)
{
    return has_a == has_b &&
           (!has_a || (a.client == b.client && a.clock == b.clock));
}

/* YATA with its two sets, as flags on positions. */
static void integrate(struct model *m, const struct unit *u)
{
    size_t left = u->has_origin ? find_unit(m, &u->origin) : SIZE_MAX;
    size_t right = u->has_right ? find_unit(m, &u->right) : m->n;
    size_t o = left + 1;
    bool *scan = calloc(m->n + 1, sizeof(*scan));
    bool *conflict = calloc(m->n + 1, sizeof(*conflict));

    REQUIRE(scan != NULL && conflict != NULL);
    for (; o < m->n && o != right; o++) {
        const struct unit *y = &m->unit[o];

        scan[o] = conflict[o] = true;
        if (same_id(y->has_origin, y->origin, u->has_origin, u->origin)) {
            if (y->client < u->client) {
                left = o;
                memset(conflict, 0, m->n * sizeof(*conflict));
            } else if (same_id(y->has_right, y->right, u->has_right,
                               u->right)) {
                break;
            }
        } else if (y->has_origin && scan[find_unit(m, &y->origin)]) {
            if (!conflict[find_unit(m, &y->origin)]) {
                left = o;
                memset(conflict, 0, m->n * sizeof(*conflict));
            }
        } else {
            break;
        }
    }
    free(scan);
    free(conflict);
    m->unit = grow(m->unit, m->n, &m->cap, sizeof(*m->unit));
    memmove(&m->unit[left + 2], &m->unit[left + 1],
            (m->n - left - 1) * sizeof(*m->unit));
    m->unit[left + 1] = *u;
    m->n++;
}

static uint64_t known(const struct model *m, uint64_t client)
{
    uint64_t n = 0;

    for (size_t i = 0; i < m->n; i++)
        n += m->unit[i].client == client;
    return n;
}

static bool is_ready(const struct model *m, const struct unit *u)
{
    return u->clock == known(m, u->client) &&
           (!u->has_origin || find_unit(m, &u->origin) != SIZE_MAX) &&
           (!u->has_right || find_unit(m, &u->right) != SIZE_MAX);
}

static void settle(struct model *m)
{
    for (size_t i = 0; i < m->wait_n;) {
        struct unit u = m->wait[i];
        bool done = u.clock < known(m, u.client);

        if (!done && !is_ready(m, &u)) {
            i++;
            continue;
        }
        if (!done)
            integrate(m, &u);
        m->wait[i] = m->wait[--m->wait_n];
        i = 0;
    }
    for (size_t i = 0; i < m->gone_n;) {
        size_t at = find_unit(m, &m->gone[i]);

        if (at == SIZE_MAX) {
            i++;
            continue;
        }
        m->unit[at].deleted = true;
        m->gone[i] = m->gone[--m->gone_n];
    }
}

static void model_wait(struct model *m, const struct unit *u)
{
    m->wait = grow(m->wait, m->wait_n, &m->wait_cap, sizeof(*m->wait));
    m->wait[m->wait_n++] = *u;
}

static void model_gone(struct model *m, uint64_t client, uint64_t clock)
{
    m->gone = grow(m->gone, m->gone_n, &m->gone_cap, sizeof(*m->gone));
    m->gone[m->gone_n++] = (struct cv_id){client, clock};
}

/* UTF-16 of the next character of UTF-8 text. */
static unsigned to_utf16(const uint8_t **at, uint16_t out[2])
{
    const uint8_t *p = *at;
    uint32_t c = *p++;

    if (c >= 0xF0)
        c &= 0x07;
    else if (c >= 0xE0)
        c &= 0x0F;
    else if (c >= 0xC0)
        c &= 0x1F;
    while ((*p & 0xC0) == 0x80)
        c = c << 6 | (*p++ & 0x3F);
    *at = p;
    if (c < 0x10000) {
        out[0] = (uint16_t)c;
        return 1;
    }
    out[0] = (uint16_t)(0xD800 + ((c - 0x10000) >> 10));
    out[1] = (uint16_t)(0xDC00 + ((c - 0x10000) & 0x3FF));
    return 2;
}

/* Also for structs that an update cuts: text always begins at a character. */
static void model_apply(struct model *m, struct cv_bytes update)
{
    struct cv_update_reader r;
    struct cv_wire s;
    struct cv_range d;

    cv_update_open(&r, update, 64);
    while (cv_update_struct(&r, &s)) {
        struct unit u = {.client = s.client,
                         .clock = s.clock,
                         .has_origin = (s.info & CV_INFO_ORIGIN) != 0,
                         .has_right = (s.info & CV_INFO_RIGHT) != 0,
                         .origin = s.origin,
                         .right = s.right};
        uint8_t text[512];
        const uint8_t *at = text;
        uint16_t code[2] = {0, 0};
        unsigned have = 0;

        if (s.kind == CV_KIND_SKIP)
            continue;
        REQUIRE(s.kind == CV_KIND_STRING || s.kind == CV_KIND_DELETED);
        REQUIRE(s.content.len < sizeof(text));
        if (s.content.len > 0)
            memcpy(text, s.content.data, s.content.len);
        text[s.content.len] = 0;
        for (uint64_t i = 0; i < s.len; i++) {
            if (s.kind == CV_KIND_STRING && have == 0)
                have = to_utf16(&at, code);
            else
                code[0] = code[1];
            u.code = code[0];
            if (have > 0)
                have--;
            if (s.kind == CV_KIND_DELETED)
                model_gone(m, s.client, u.clock);
            model_wait(m, &u);
            u.has_origin = true;
            u.origin = (struct cv_id){s.client, u.clock};
            u.clock++;
        }
    }
    while (cv_update_range(&r, &d)) {
        for (uint64_t i = 0; i < d.len; i++)
            model_gone(m, d.client, d.clock + i);
    }
    REQUIRE(cv_update_close(&r) == CV_OK);
    settle(m);
}

static void model_free(struct model *m)
{
    free(m->unit);
    free(m->wait);
    free(m->gone);
}

/* ---- replicas ---- */

struct replica {
    struct cv_doc *doc;
    struct model model;
    struct mirror mirror;
    struct cv_doc *follower; /* hears only the news of this one */
    struct cv_doc *slow; /* so does this, but it waits for somebody who never
                          * comes: no update goes the quick way */
    struct cv_bytes queue[QUEUE_MAX];
    size_t queued;
};

static struct cv_doc *new_slow_doc(void)
{
    struct cv_doc *doc = new_doc(97);

    REQUIRE(make_wait(doc, (uint64_t)1 << 40) == CV_OK);
    REQUIRE(cv_doc_waiting(doc));
    return doc;
}

static struct replica new_replica(uint64_t client)
{
    return (struct replica){.doc = new_doc(client),
                            .follower = new_doc(99),
                            .slow = new_slow_doc()};
}

static void free_replica(struct replica *r)
{
    cv_doc_free(r->doc);
    cv_doc_free(r->follower);
    cv_doc_free(r->slow);
    model_free(&r->model);
    free(r->mirror.text);
}

/* Those that hear only of this one. */
static void tell_followers(struct replica *r, struct cv_bytes news)
{
    if (news.len == 0)
        return;
    REQUIRE(cv_doc_apply(r->follower, news, NULL, NULL, NULL) == CV_OK);
    REQUIRE(!cv_doc_waiting(r->follower));
    REQUIRE(cv_doc_apply(r->slow, news, NULL, NULL, NULL) == CV_OK);
}

static struct cv_doc_observer observer_of(struct replica *r)
{
    return (struct cv_doc_observer){mirror_change, NULL, &r->mirror};
}

static void compare(const struct replica *r)
{
    const struct cv_doc *doc = r->doc;
    uint32_t item;
    size_t i = 0;

    cv_hot_settle(doc);
    item = cv_tree_first(doc, doc->text);
    for (; item != CV_NONE; item = cv_tree_next(doc, item)) {
        const struct cv_item *x = &doc->items[item];
        const uint8_t *text = cv_item_content(doc, x), *end = text + x->bytes;
        uint16_t code[2] = {0, 0};
        unsigned have = 0;

        for (uint32_t k = 0; k < x->len; k++, i++) {
            const struct unit *u = &r->model.unit[i];
            uint8_t one[5] = {0};
            const uint8_t *at = one;

            REQUIRE(i < r->model.n);
            REQUIRE(u->client == doc->clients[x->client].id);
            REQUIRE(u->clock == x->clock + k);
            REQUIRE(u->deleted == cv_item_deleted(x));
            if (u->deleted)
                continue;
            if (have == 0) {
                size_t left = (size_t)(end - text);

                memcpy(one, text, left < 4 ? left : 4);
                have = to_utf16(&at, code);
                text += at - one;
            } else {
                code[0] = code[1];
            }
            have--;
            REQUIRE(u->code == code[0]);
        }
    }
    REQUIRE(i == r->model.n);
    REQUIRE(mirror_equals(&r->mirror, doc));
    REQUIRE(cv_doc_waiting(doc) ==
            (r->model.wait_n > 0 || r->model.gone_n > 0));
    check_store(doc);
}

static void enqueue(struct replica *r, const struct cv_writer *w)
{
    uint8_t *copy = malloc(w->len);

    REQUIRE(copy != NULL && r->queued < QUEUE_MAX);
    memcpy(copy, w->data, w->len);
    r->queue[r->queued++] = (struct cv_bytes){copy, w->len};
}

static void receive(struct replica *r, struct cv_bytes update)
{
    struct cv_doc_observer observer = observer_of(r);
    struct cv_writer news = heap_writer();
    struct cv_doc_applied applied;

    REQUIRE(cv_doc_apply(r->doc, update, &observer, &news, &applied) == CV_OK);
    REQUIRE(applied.news == (news.len > 0));
    REQUIRE(!applied.own_id);
    model_apply(&r->model, update);
    compare(r);
    tell_followers(r, cv_writer_bytes(&news));
    cv_writer_fini(&news);
}

static const char *const words[] = {
    "a",
    "b",
    "\n",
    "\xF0\x9F\x98\x80",
    "\xC3\xA9",
    "word",
    "two\nlines",
    "\xE2\x82\xAC",
    "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7",
    "line\n"};

/* The nearest character border at or before an offset. */
static size_t border(const struct cv_doc *doc, size_t at)
{
    size_t units;

    while (cv_doc_bytes_to_units(doc, at, &units) != CV_OK)
        at--;
    return at;
}

static void splice(struct replica *r, size_t at, size_t deleted,
                   const char *text)
{
    struct cv_text_change c = {at, deleted, (const uint8_t *)text,
                               strlen(text)};

    mirror_change(&r->mirror, &c);
}

static void edit(struct replica *r, uint64_t *seed)
{
    struct cv_writer w = heap_writer();
    unsigned n = 1 + below(seed, 8) / 5 * below(seed, 4);

    REQUIRE(cv_doc_begin(r->doc) == CV_OK);
    while (n-- > 0) {
        size_t total = cv_doc_text_bytes(r->doc), at, end;

        at = border(r->doc, below(seed, total + 1));
        if (total > 0 && below(seed, 10) < 4) {
            end = at + below(seed, 3) * below(seed, 6) + 1;
            end = border(r->doc, end > total ? total : end);
            if (end > at) {
                REQUIRE(cv_doc_delete(r->doc, at, end - at) == CV_OK);
                splice(r, at, end - at, "");
            }
        } else {
            unsigned times = 1 + below(seed, 10) / 8 * below(seed, 5);

            while (times-- > 0) {
                const char *text =
                    words[below(seed, sizeof(words) / sizeof(*words))];

                REQUIRE(cv_doc_insert(r->doc, at, text, strlen(text)) == CV_OK);
                splice(r, at, 0, text);
                at += strlen(text);
                /* Backspace, often. */
                if (below(seed, 4) == 0) {
                    size_t from = border(r->doc, at - 1);

                    REQUIRE(cv_doc_delete(r->doc, from, at - from) == CV_OK);
                    splice(r, from, at - from, "");
                    at = from;
                }
            }
        }
    }
    REQUIRE(cv_doc_commit(r->doc, &w) == CV_OK);
    if (w.len > 0)
        model_apply(&r->model, cv_writer_bytes(&w));
    tell_followers(r, cv_writer_bytes(&w));
    compare(r);
    cv_writer_fini(&w);
}

/* What `to` lacks of `from`, by state vector. */
static struct cv_writer missing(const struct replica *from,
                                const struct replica *to)
{
    struct cv_writer sv = heap_writer(), w = heap_writer();

    REQUIRE(cv_doc_state_vector(to->doc, &sv) == CV_OK);
    REQUIRE(cv_doc_encode(from->doc, cv_writer_bytes(&sv), &w) == CV_OK);
    cv_writer_fini(&sv);
    return w;
}

static void deliver_one(struct replica *r, uint64_t *seed)
{
    uint32_t i = below(seed, r->queued);

    receive(r, r->queue[i]);
    if (below(seed, 5) == 0)
        return; /* it will come twice */
    free((void *)(uintptr_t)r->queue[i].data);
    r->queue[i] = r->queue[--r->queued];
}

/* Two of what waits become one update. */
static void merge_two(struct replica *r, uint64_t *seed)
{
    struct cv_bytes pair[2];
    struct cv_writer w = heap_writer();
    uint32_t i = below(seed, r->queued - 1);

    pair[0] = r->queue[i];
    pair[1] = r->queue[r->queued - 1];
    REQUIRE(cv_update_merge(pair, 2, &w) == CV_OK);
    REQUIRE(cv_update_validate(cv_writer_bytes(&w)) == CV_OK);
    free((void *)(uintptr_t)pair[0].data);
    free((void *)(uintptr_t)pair[1].data);
    /* The new one goes last, then moves to where the first was. */
    r->queued--;
    enqueue(r, &w);
    r->queued--;
    r->queue[i] = r->queue[r->queued];
    cv_writer_fini(&w);
}

static void edit_and_send(struct replica *all, unsigned n, unsigned i,
                          uint64_t *seed)
{
    struct cv_writer sv = heap_writer(), w = heap_writer();

    /* The bytes of the transaction itself are tested by the follower; others
     * get a difference, which is the same and more. */
    REQUIRE(cv_doc_state_vector(all[i].doc, &sv) == CV_OK);
    edit(&all[i], seed);
    REQUIRE(cv_doc_encode(all[i].doc, cv_writer_bytes(&sv), &w) == CV_OK);
    for (unsigned k = 0; k < n; k++) {
        if (k != i && below(seed, 20) > 0) /* some are lost */
            enqueue(&all[k], &w);
    }
    cv_writer_fini(&sv);
    cv_writer_fini(&w);
}

static void same_text(const struct cv_doc *a, const struct cv_doc *b)
{
    struct cv_writer x = encode_all(a), y = encode_all(b);

    REQUIRE(cv_bytes_equal(cv_writer_bytes(&x), cv_writer_bytes(&y)));
    cv_writer_fini(&x);
    cv_writer_fini(&y);
}

static void run_history(uint64_t seed)
{
    static struct replica all[REPLICAS_MAX];
    uint64_t state = seed;
    unsigned n = 2 + below(&state, REPLICAS_MAX - 1);
    unsigned steps = 20 + below(&state, 80);

    for (unsigned i = 0; i < n; i++)
        all[i] = new_replica(1 + next_random(&state) % UINT32_MAX);
    while (steps-- > 0) {
        unsigned i = below(&state, n);

        if (below(&state, 3) == 0) {
            edit_and_send(all, n, i, &state);
        } else if (all[i].queued > 1 && below(&state, 6) == 0) {
            merge_two(&all[i], &state);
        } else if (all[i].queued > 0) {
            deliver_one(&all[i], &state);
        }
    }
    /* What was lost is made good by state vectors, in both directions. */
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < n; i++) {
            for (unsigned k = 0; k < n; k++) {
                struct cv_writer w = missing(&all[i], &all[k]);

                if (i != k)
                    receive(&all[k], cv_writer_bytes(&w));
                cv_writer_fini(&w);
            }
        }
    }
    for (unsigned i = 0; i < n; i++) {
        while (all[i].queued > 0)
            deliver_one(&all[i], &state);
        REQUIRE(!cv_doc_waiting(all[i].doc));
        same_text(all[0].doc, all[i].doc);
        same_text(all[i].doc, all[i].follower);
        same_text(all[i].doc, all[i].slow);
        REQUIRE(cv_doc_compact(all[i].doc) == CV_OK);
        compare(&all[i]);
    }
    for (unsigned i = 0; i < n; i++)
        free_replica(&all[i]);
}

/* ---- typing ---- */

static size_t border_behind(const struct cv_doc *doc, size_t at)
{
    size_t units, len = cv_doc_text_bytes(doc);

    for (at++; at < len && cv_doc_bytes_to_units(doc, at, &units) != CV_OK;)
        at++;
    return at < len ? at : len;
}

/* One edit as an editor makes it: a letter, backspace, delete, a word for what
 * is before the cursor; now and then somewhere else. */
static void press(struct replica *r, size_t *cursor, uint64_t *seed)
{
    static const char *const letters[] = {
        "a", "b", " ", "\n", "\xC3\xA9", "\xF0\x9F\x98\x80", "if", "\r\n"};
    size_t len = cv_doc_text_bytes(r->doc), at = *cursor, from = at, to = at;
    const char *text = letters[below(seed, 4)];
    uint32_t key = below(seed, 24);

    if (key == 0) {
        at = from = to = border(r->doc, below(seed, len + 1));
    } else if (key < 5 && at > 0) {
        from = border(r->doc, at - 1);
        text = "";
    } else if (key == 5 && at < len) {
        to = border_behind(r->doc, at);
        text = "";
    } else if (key == 6 && at > 0) {
        from = border(r->doc, at > 5 ? at - 5 : 0);
        text = "word";
    } else if (key == 7) {
        text = letters[below(seed, sizeof(letters) / sizeof(*letters))];
    }
    if (to > from)
        REQUIRE(cv_doc_delete(r->doc, from, to - from) == CV_OK);
    if (*text != '\0')
        REQUIRE(cv_doc_insert(r->doc, from, text, strlen(text)) == CV_OK);
    if (to > from || *text != '\0')
        splice(r, from, to - from, text);
    *cursor = from + strlen(text);
}

/* A few keys in a row; their updates, how many they are. */
static unsigned type_some(struct replica *r, size_t *cursor, uint64_t *seed,
                          struct cv_writer *sent, unsigned most)
{
    unsigned n = below(seed, most + 1);
    size_t len = cv_doc_text_bytes(r->doc);

    /* Others may have moved the text under it. */
    *cursor = border(r->doc, *cursor < len ? *cursor : len);
    for (unsigned k = 0; k < n; k++) {
        sent[k] = heap_writer();
        REQUIRE(cv_doc_begin(r->doc) == CV_OK);
        press(r, cursor, seed);
        REQUIRE(cv_doc_commit(r->doc, &sent[k]) == CV_OK);
        if (sent[k].len > 0)
            model_apply(&r->model, cv_writer_bytes(&sent[k]));
        tell_followers(r, cv_writer_bytes(&sent[k]));
    }
    compare(r);
    return n;
}

/* Several type at once; each hears what the others did after a few keys. */
static void run_typing(uint64_t seed)
{
    enum { TYPISTS = 3, KEYS = 6, ROUNDS = 40 };
    struct cv_writer sent[TYPISTS][KEYS];
    struct replica all[TYPISTS];
    size_t cursor[TYPISTS] = {0};
    unsigned n[TYPISTS];

    for (unsigned i = 0; i < TYPISTS; i++)
        all[i] = new_replica(1 + next_random(&seed) % UINT32_MAX);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < TYPISTS; i++)
            n[i] = type_some(&all[i], &cursor[i], &seed, sent[i], KEYS);
        for (unsigned i = 0; i < TYPISTS; i++) {
            for (unsigned k = 0; k < n[i]; k++) {
                for (unsigned to = 0; to < TYPISTS; to++) {
                    if (to != i && sent[i][k].len > 0)
                        receive(&all[to], cv_writer_bytes(&sent[i][k]));
                }
                cv_writer_fini(&sent[i][k]);
            }
        }
    }
    for (unsigned i = 0; i < TYPISTS; i++) {
        same_text(all[0].doc, all[i].doc);
        same_text(all[i].doc, all[i].follower);
        same_text(all[i].doc, all[i].slow);
        check_store(all[i].doc);
        check_store(all[i].follower);
    }
    for (unsigned i = 0; i < TYPISTS; i++)
        free_replica(&all[i]);
}

/* Many clients that make one or two inserts each, near one another and knowing
 * little of one another: long conflict scans and their short cuts. */
static void run_crowd(uint64_t seed)
{
    enum { CROWD = 40 };
    uint64_t state = seed;
    struct cv_bytes update[CROWD + 1];
    struct replica r = new_replica(98);
    struct cv_doc *base = new_doc(1 + next_random(&state) % UINT32_MAX);
    unsigned n = 0;

    for (; n <= CROWD; n++) {
        struct cv_doc *one = new_doc(1 + next_random(&state) % UINT32_MAX);
        struct cv_writer w = heap_writer();

        if (n == 0) {
            insert_at(base, 0, "[middle]", &w);
        } else {
            REQUIRE(cv_doc_apply(one, update[0], NULL, NULL, NULL) == CV_OK);
            for (unsigned k = below(&state, 5); k > 0 && n > 1; k--)
                REQUIRE(cv_doc_apply(one, update[1 + below(&state, n - 1)],
                                     NULL, NULL, NULL) == CV_OK);
            insert_at(one, 1 + below(&state, 2), "x", &w);
            if (below(&state, 4) == 0)
                insert_at(one, 1 + below(&state, 3), "y", NULL);
            cv_writer_fini(&w);
            w = heap_writer();
            REQUIRE(cv_doc_encode(one, (struct cv_bytes){NULL, 0}, &w) ==
                    CV_OK);
        }
        update[n].data = cv_writer_take(&w, &update[n].len);
        cv_doc_free(one);
    }
    for (unsigned i = n; i > 0; i--) {
        unsigned k = below(&state, i);
        struct cv_bytes u = update[k];

        receive(&r, u);
        update[k] = update[i - 1];
        free((void *)(uintptr_t)u.data);
    }
    REQUIRE(!cv_doc_waiting(r.doc));
    cv_doc_free(base);
    free_replica(&r);
}

/* `n` histories, or CRDT_RUNS.  A failure aborts the test: the last line names
 * its hundred. */
static void run_seeds(void (*run)(uint64_t seed), uint64_t n)
{
    const char *runs = getenv("CRDT_RUNS");

    if (runs != NULL)
        n = strtoull(runs, NULL, 10);
    for (uint64_t seed = 1; seed <= n; seed++) {
        if (seed % 100 == 1)
            print_message("seeds from %llu\n", (unsigned long long)seed);
        run(seed);
    }
}

TEST(what_several_type_is_the_same_in_the_long_way)
{
    (void)test_state_;
    run_seeds(run_typing, 100);
}

TEST(a_crowd_at_one_place_agrees_with_the_rules)
{
    (void)test_state_;
    run_seeds(run_crowd, 300);
}

TEST(replicas_agree_with_the_rules_and_with_one_another)
{
    const char *one = getenv("CRDT_SEED"), *runs = getenv("CRDT_RUNS");
    uint64_t n = runs ? strtoull(runs, NULL, 10) : 300;
    uint64_t seed = one ? strtoull(one, NULL, 10) : 1;

    (void)test_state_;
    if (one != NULL)
        n = 1;
    for (uint64_t i = 0; i < n; i++) {
        /* A failure aborts the test: the last line names its seed. */
        if (i % 100 == 0 || one != NULL)
            print_message("seeds from %llu\n", (unsigned long long)(seed + i));
        run_history(seed + i);
    }
}

RUN_TESTS(T(what_several_type_is_the_same_in_the_long_way),
          T(a_crowd_at_one_place_agrees_with_the_rules),
          T(replicas_agree_with_the_rules_and_with_one_another))
