/* The shared text on recorded editing histories.
 *
 *   bench_text [--traces DIR] [--runs N] [--only TRACE] [--mode MODE | --floor]
 *   bench_text --sizes | --micro
 *
 * TRACE/local   replay the edits, one transaction each
 * TRACE/live    the same, and the bytes for the peers after each of them
 * TRACE/load    decode the saved state and read the text
 * TRACE/merge   apply all updates of a concurrent history one by one
 * TRACE         held_kib after the replay, state_bytes
 *
 * --floor: TRACE/live, of the bare engine in floor.h (the peer "floor") instead
 * of ours; its text and the bytes of each update are compared with ours first.
 *
 * Times are the smallest of N runs, of processor time: nothing here waits, and
 * what else the machine does should not count.  --sizes measures how operations
 * grow with the document, --micro one keystroke.  Positions of the traces count
 * code points, none of which lies beyond U+FFFF: that is UTF-16 units.  They
 * are turned into bytes before the clock starts, as an editor speaks in bytes.
 */
#include "base/memory.h"
#include "crdt/doc.h"
#include "tests/bench/floor.h"

#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS 11

struct patch {
    uint32_t at, deleted; /* bytes */
    uint32_t len;         /* of the text that comes next */
};

struct trace {
    const char *name;
    json_t *json, *txns;
    size_t n;
    /* In one piece each and small, so that reading them costs next to nothing:
     * how many patches each transaction has, the patches, their text. */
    uint32_t *patches;
    struct patch *patch;
    char *text;
    const char *end;
    size_t end_len;
};

static const char *const sequential[] = {
    "automerge-paper",     "rustcode",
    "sveltecomponent",     "seph-blog1",
    "json-crdt-blog-post", "friendsforever_flat",
    "clownschool_flat",
};
static const char *const concurrent[] = {"friendsforever", "clownschool",
                                         "branchy"};

static void die(const char *what, const char *more)
{
    fprintf(stderr, "bench_text: %s %s\n", what, more);
    exit(1);
}

static void must(int err, const char *what)
{
    if (err != CV_OK)
        die(what, cv_strerror(err));
}

static void *checked(void *p)
{
    if (p == NULL)
        die("out of", "memory");
    return p;
}

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static const char *only_mode; /* --mode */

/* Is this mode asked for?  Without --mode all are. */
static bool wanted(const char *mode)
{
    return only_mode == NULL || strcmp(only_mode, mode) == 0;
}

static bool only_floor; /* --floor */

static void report(const char *trace, const char *mode, const char *metric,
                   double value)
{
    printf("{\"bench\": \"text\", %s\"case\": \"%s%s%s\", \"metric\": \"%s\", "
           "\"value\": %.6g}\n",
           only_floor ? "\"peer\": \"floor\", " : "", trace, *mode ? "/" : "",
           mode, metric, value);
    fflush(stdout);
    fprintf(stderr, "%-22s %-8s %14.4g %s\n", trace, mode, value, metric);
}

static struct cv_doc *new_doc(uint64_t client)
{
    struct cv_doc *doc;

    must(cv_doc_new(&doc, client, NULL), "new document:");
    return doc;
}

static struct cv_writer heap(void)
{
    struct cv_writer w;

    cv_writer_init_heap(&w, (size_t)1 << 32);
    return w;
}

/* ---- traces ---- */

static bool load_trace(struct trace *t, const char *folder, const char *name)
{
    char command[4096];
    json_error_t why;
    FILE *f;

    snprintf(command, sizeof(command), "exec gzip -dc '%s/%s.json.gz'", folder,
             name);
    f = popen(command, "r");
    if (f == NULL)
        die("cannot run", command);
    *t = (struct trace){.name = name};
    t->json = json_loadf(f, JSON_ALLOW_NUL, &why);
    pclose(f);
    if (t->json == NULL)
        return false;
    t->txns = json_object_get(t->json, "txns");
    t->n = json_array_size(t->txns);
    t->end = json_string_value(json_object_get(t->json, "endContent"));
    t->end_len = json_string_length(json_object_get(t->json, "endContent"));
    return true;
}

static inline int apply_patch(struct cv_doc *doc, const struct patch *p,
                              const char *text)
{
    int err = CV_OK;

    if (p->deleted > 0)
        err = cv_doc_delete(doc, p->at, p->deleted);
    if (p->len > 0 && err == CV_OK)
        err = cv_doc_insert(doc, p->at, text, p->len);
    return err;
}

static size_t to_bytes(const struct cv_doc *doc, json_int_t units)
{
    size_t at;

    must(cv_doc_units_to_bytes(doc, (size_t)units, &at), "position:");
    return at;
}

/* One patch in the units of the trace; what it is in bytes, and *text. */
static struct patch do_patch(struct cv_doc *doc, const json_t *patch,
                             const char **text)
{
    json_int_t at = json_integer_value(json_array_get(patch, 0));
    json_int_t deleted = json_integer_value(json_array_get(patch, 1));
    const json_t *inserted = json_array_get(patch, 2);
    size_t from = to_bytes(doc, at), to = to_bytes(doc, at + deleted);
    struct patch p = {(uint32_t)from, (uint32_t)(to - from),
                      (uint32_t)json_string_length(inserted)};

    *text = json_string_value(inserted);
    must(apply_patch(doc, &p, *text), "edit:");
    return p;
}

static void check_text(const struct cv_doc *doc, const struct trace *t)
{
    struct cv_writer w = heap();

    must(cv_doc_read(doc, 0, cv_doc_text_bytes(doc), &w), "read:");
    if (w.len != t->end_len || memcmp(w.data, t->end, w.len) != 0)
        die("wrong text at the end of", t->name);
    cv_writer_fini(&w);
}

/* Keep of the JSON only the text at the end.  The memory that it had serves
 * what is measured: else by where the heap ends it takes none or a hundred page
 * faults, each as long as a hundred keystrokes. */
static void drop_history(struct trace *t)
{
    json_t *end = json_incref(json_object_get(t->json, "endContent"));

    json_decref(t->json);
    t->json = end;
    t->txns = NULL;
}

static void prepare(struct trace *t)
{
    struct cv_doc *doc = new_doc(1);
    size_t patches = 0, bytes = 0, n = 0;
    json_t *txn, *patch;
    const char *inserted;
    size_t i, k;
    char *text;

    json_array_foreach(t->txns, i, txn)
    {
        json_array_foreach(json_object_get(txn, "patches"), k, patch)
        {
            patches++;
            bytes += json_string_length(json_array_get(patch, 2));
        }
    }
    t->patches = checked(calloc(t->n, sizeof(*t->patches)));
    t->patch = checked(calloc(patches, sizeof(*t->patch)));
    text = t->text = checked(malloc(bytes + 1));
    json_array_foreach(t->txns, i, txn)
    {
        must(cv_doc_begin(doc), "begin:");
        json_array_foreach(json_object_get(txn, "patches"), k, patch)
        {
            t->patch[n] = do_patch(doc, patch, &inserted);
            memcpy(text, inserted, t->patch[n].len);
            text += t->patch[n++].len;
        }
        t->patches[i] = (uint32_t)k;
        must(cv_doc_commit(doc, NULL), "commit:");
    }
    check_text(doc, t);
    cv_doc_free(doc);
    drop_history(t);
}

static void free_trace(struct trace *t)
{
    free(t->patches);
    free(t->patch);
    free(t->text);
    json_decref(t->json);
}

/* ---- measuring ---- */

/* Where a replay is. */
struct step {
    const uint32_t *n;
    const struct patch *patch;
    const char *text;
};

static struct step first_step(const struct trace *t)
{
    return (struct step){t->patches, t->patch, t->text};
}

/* The next transaction. */
static inline void step(struct cv_doc *doc, struct step *at,
                        struct cv_writer *update)
{
    must(cv_doc_begin(doc), "begin:");
    for (uint32_t k = *at->n++; k > 0; k--, at->text += at->patch++->len)
        must(apply_patch(doc, at->patch, at->text), "edit:");
    must(cv_doc_commit(doc, update), "commit:");
}

/* All of them, with the bytes for the peers if there is `out`. */
static struct cv_doc *replay(const struct trace *t, struct cv_writer *out)
{
    struct cv_doc *doc = new_doc(1);
    const uint32_t *end = t->patches + t->n;

    for (struct step at = first_step(t); at.n < end;) {
        if (out != NULL)
            cv_writer_reset(out);
        step(doc, &at, out);
    }
    return doc;
}

static size_t in_use(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static double time_load(const struct cv_writer *state, const struct trace *t,
                        unsigned runs)
{
    double best = 1e9;

    for (unsigned i = 0; i < runs; i++) {
        struct cv_writer text = heap();
        double start = now_ms(), took;
        struct cv_doc *doc = new_doc(2);

        must(cv_doc_apply(doc, cv_writer_bytes(state), NULL, NULL, NULL),
             "load:");
        must(cv_doc_read(doc, 0, cv_doc_text_bytes(doc), &text), "read:");
        took = now_ms() - start;
        if (took < best)
            best = took;
        if (i == 0)
            check_text(doc, t);
        cv_writer_fini(&text);
        cv_doc_free(doc);
    }
    return best;
}

static void bench_state(const struct cv_doc *doc, const struct trace *t,
                        unsigned runs)
{
    struct cv_writer state = heap();

    must(cv_doc_encode(doc, (struct cv_bytes){NULL, 0}, &state), "encode:");
    if (wanted("held"))
        report(t->name, "", "state_bytes", (double)state.len);
    if (wanted("load"))
        report(t->name, "load", "ms", time_load(&state, t, runs));
    cv_writer_fini(&state);
}

/* The smallest time of replaying; `out`: with the bytes for the peers. */
static double time_replay(const struct trace *t, struct cv_writer *out,
                          unsigned runs)
{
    double best = 1e9;

    for (unsigned i = 0; i < runs; i++) {
        double start = now_ms(), took;
        struct cv_doc *doc;

        doc = replay(t, out);
        took = now_ms() - start;
        best = took < best ? took : best;
        cv_doc_free(doc);
    }
    return best;
}

/* ---- the floor ---- */

static inline size_t floor_step(struct floor *f, struct step *at,
                                const uint8_t **update)
{
    for (uint32_t k = *at->n++; k > 0; k--, at->text += at->patch++->len) {
        const struct patch *p = at->patch;

        if (p->deleted > 0)
            floor_delete(f, p->at, p->deleted);
        if (p->len > 0)
            floor_insert(f, p->at, at->text, p->len);
    }
    return floor_commit(f, update);
}

/* Does the floor do what we do? */
static void check_floor(struct floor *f, const struct trace *t)
{
    struct step at = first_step(t), ours = at;
    const uint32_t *end = t->patches + t->n;
    struct cv_doc *doc = new_doc(1);
    struct cv_writer out = heap();
    const uint8_t *update = NULL;
    uint8_t *text;
    size_t len;

    while (at.n < end) {
        cv_writer_reset(&out);
        step(doc, &ours, &out);
        len = floor_step(f, &at, &update);
        if (len != out.len || (len > 0 && memcmp(update, out.data, len) != 0))
            die("the floor makes other updates of", t->name);
    }
    text = checked(malloc(floor_text(f, NULL) + 1));
    len = floor_text(f, text);
    if (len != t->end_len || memcmp(text, t->end, len) != 0)
        die("the floor has a wrong text at the end of", t->name);
    free(text);
    cv_writer_fini(&out);
    cv_doc_free(doc);
}

static void bench_floor(struct trace *t, unsigned runs)
{
    struct floor *f = floor_new();
    const uint8_t *update = NULL;
    double best = 1e9;

    const uint32_t *end;

    prepare(t);
    end = t->patches + t->n;
    check_floor(f, t);
    for (unsigned i = 0; i < runs; i++) {
        double start = now_ms(), took;

        floor_reset(f);
        for (struct step at = first_step(t); at.n < end;)
            floor_step(f, &at, &update);
        took = now_ms() - start;
        best = took < best ? took : best;
    }
    floor_free(f);
    report(t->name, "live", "ms", best);
}

static void bench_sequential(struct trace *t, unsigned runs)
{
    struct cv_writer out = heap();
    struct cv_doc *doc;
    size_t before;

    prepare(t);
    if (wanted("local"))
        report(t->name, "local", "ms", time_replay(t, NULL, runs));
    if (wanted("live"))
        report(t->name, "live", "ms", time_replay(t, &out, runs));
    cv_writer_fini(&out);
    before = in_use();
    doc = replay(t, NULL);
    if (wanted("held"))
        report(t->name, "", "held_kib", (double)(in_use() - before) / 1024);
    check_text(doc, t);
    bench_state(doc, t, runs);
    cv_doc_free(doc);
}

/* ---- concurrent histories ---- */

/* A replica that makes the transactions of one agent. */
struct agent {
    struct cv_doc *doc;
    uint64_t *has; /* bit set of transactions */
    uint64_t client;
};

#define AGENTS 16

static void add_update(struct agent *a, struct cv_bytes update, size_t i)
{
    must(cv_doc_apply(a->doc, update, NULL, NULL, NULL), "apply:");
    a->has[i / 64] |= UINT64_C(1) << (i % 64);
}

/* The updates of the history, each made by a replica that has exactly what
 * its transaction depends on. */
static struct cv_bytes *make_updates(const struct trace *t)
{
    size_t wide = t->n / 64 + 1;
    struct cv_bytes *updates = checked(calloc(t->n, sizeof(*updates)));
    uint64_t *past = checked(calloc(t->n * wide, sizeof(*past)));
    struct agent agents[AGENTS] = {0};
    uint64_t clients = 1;

    for (size_t i = 0; i < t->n; i++) {
        const json_t *x = json_array_get(t->txns, i);
        json_t *parents = json_object_get(x, "parents"), *value;
        json_t *patches = json_object_get(x, "patches");
        json_int_t who = json_integer_value(json_object_get(x, "agent"));
        struct agent *a = &agents[who % AGENTS];
        uint64_t *mine = past + i * wide;
        bool extra = false;
        struct cv_writer out = heap();
        const char *text;
        size_t k;

        json_array_foreach(parents, k, value)
        {
            size_t p = (size_t)json_integer_value(value);

            for (size_t w = 0; w < wide; w++)
                mine[w] |= past[p * wide + w];
            mine[p / 64] |= UINT64_C(1) << (p % 64);
        }
        for (size_t w = 0; a->doc != NULL && w < wide; w++)
            extra = extra || (a->has[w] & ~mine[w]) != 0;
        if (a->doc == NULL || extra) {
            cv_doc_free(a->doc);
            free(a->has);
            a->doc = new_doc(clients++);
            a->has = checked(calloc(wide, sizeof(*a->has)));
        }
        for (k = 0; k < i; k++) {
            if ((mine[k / 64] & ~a->has[k / 64]) >> (k % 64) & 1)
                add_update(a, updates[k], k);
        }
        must(cv_doc_begin(a->doc), "begin:");
        json_array_foreach(patches, k, value) do_patch(a->doc, value, &text);
        must(cv_doc_commit(a->doc, &out), "commit:");
        a->has[i / 64] |= UINT64_C(1) << (i % 64);
        updates[i].data = cv_writer_take(&out, &updates[i].len);
    }
    for (size_t i = 0; i < AGENTS; i++) {
        cv_doc_free(agents[i].doc);
        free(agents[i].has);
    }
    free(past);
    return updates;
}

static struct cv_doc *merge(const struct trace *t,
                            const struct cv_bytes *updates)
{
    struct cv_doc *doc = new_doc(UINT32_MAX);

    for (size_t i = 0; i < t->n; i++) {
        if (updates[i].len > 0)
            must(cv_doc_apply(doc, updates[i], NULL, NULL, NULL), "apply:");
    }
    return doc;
}

static void bench_concurrent(struct trace *t, unsigned runs)
{
    struct cv_bytes *updates = make_updates(t);
    struct cv_doc *doc;
    double best = 1e9;
    size_t before;

    for (unsigned i = 0; i < runs && wanted("merge"); i++) {
        double start = now_ms(), took;

        doc = merge(t, updates);
        took = now_ms() - start;
        best = took < best ? took : best;
        cv_doc_free(doc);
    }
    if (wanted("merge"))
        report(t->name, "merge", "ms", best);
    before = in_use();
    doc = merge(t, updates);
    if (wanted("held"))
        report(t->name, "", "held_kib", (double)(in_use() - before) / 1024);
    check_text(doc, t);
    bench_state(doc, t, runs);
    cv_doc_free(doc);
    for (size_t i = 0; i < t->n; i++)
        free((void *)(uintptr_t)updates[i].data);
    free(updates);
}

/* ---- how it grows ---- */

static char *long_text(size_t len, size_t line)
{
    char *text = checked(malloc(len + 1));

    for (size_t i = 0; i < len; i++)
        text[i] = (char)(i % line == line - 1 ? '\n' : 'a' + i % 26);
    text[len] = 0;
    return text;
}

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void edit(struct cv_doc *doc, size_t at, size_t deleted,
                 const char *text, size_t len, struct cv_writer *out)
{
    if (out != NULL)
        cv_writer_reset(out);
    must(cv_doc_begin(doc), "begin:");
    if (deleted > 0)
        must(cv_doc_delete(doc, at, deleted), "delete:");
    if (len > 0)
        must(cv_doc_insert(doc, at, text, len), "insert:");
    must(cv_doc_commit(doc, out), "commit:");
}

/* Updates one behind the other, so that making them costs no allocation. */
struct tape {
    struct cv_writer bytes;
    size_t *end;
    size_t n;
};

static void tape_add(struct tape *t, const struct cv_writer *update)
{
    must(cv_put_raw(&t->bytes, update->data, update->len), "tape:");
    t->end[t->n++] = t->bytes.len;
}

static struct cv_bytes tape_at(const struct tape *t, size_t i)
{
    size_t from = i == 0 ? 0 : t->end[i - 1];

    return (struct cv_bytes){t->bytes.data + from, t->end[i] - from};
}

static void tape_free(struct tape *t)
{
    cv_writer_fini(&t->bytes);
    free(t->end);
}

/* A document of `size` bytes in lines of `line`: pasted, applied, edited at
 * random places, asked for lines, saved, loaded, and all of it deleted. */
static void curve_size(const char *kind, size_t size, size_t line)
{
    enum { EDITS = 100000 };
    struct cv_doc *doc = new_doc(1), *peer = new_doc(2), *copy = new_doc(3);
    struct cv_writer out = heap();
    struct tape tape = {heap(), checked(calloc(EDITS, sizeof(size_t))), 0};
    char *text = long_text(size, line), name[64];
    uint64_t seed = 1;
    size_t sum = 0;
    double start;

    snprintf(name, sizeof(name), "%s-%zu", kind, size);
    start = now_ms();
    edit(doc, 0, 0, text, size, &out);
    report(name, "paste", "ms", now_ms() - start);
    start = now_ms();
    must(cv_doc_apply(peer, cv_writer_bytes(&out), NULL, NULL, NULL), "apply:");
    report(name, "paste-apply", "ms", now_ms() - start);
    start = now_ms();
    for (size_t i = 0; i < EDITS; i++) {
        edit(doc, splitmix(&seed) % size, 0, "x", 1, &out);
        tape_add(&tape, &out);
    }
    report(name, "scatter", "us", (now_ms() - start) * 1e3 / EDITS);
    start = now_ms();
    for (size_t i = 0; i < EDITS; i++)
        must(cv_doc_apply(peer, tape_at(&tape, i), NULL, NULL, NULL), "apply:");
    report(name, "scatter-apply", "us", (now_ms() - start) * 1e3 / EDITS);
    start = now_ms();
    for (size_t i = 0; i < EDITS; i++) {
        size_t at;

        must(cv_doc_offset_line(doc, splitmix(&seed) % size, &at), "line:");
        must(cv_doc_line_offset(doc, at, &at), "line:");
        sum += at;
    }
    if (sum == 1)
        die("no", "lines");
    report(name, "lines", "us", (now_ms() - start) * 1e3 / EDITS);
    cv_writer_reset(&out);
    start = now_ms();
    must(cv_doc_encode(doc, (struct cv_bytes){NULL, 0}, &out), "encode:");
    report(name, "save", "ms", now_ms() - start);
    start = now_ms();
    must(cv_doc_apply(copy, cv_writer_bytes(&out), NULL, NULL, NULL), "load:");
    report(name, "load", "ms", now_ms() - start);
    start = now_ms();
    edit(doc, 0, cv_doc_text_bytes(doc), NULL, 0, &out);
    report(name, "delete-all", "ms", now_ms() - start);
    start = now_ms();
    must(cv_doc_apply(peer, cv_writer_bytes(&out), NULL, NULL, NULL), "apply:");
    report(name, "delete-all-apply", "ms", now_ms() - start);
    if (cv_doc_text_bytes(doc) != 0 || cv_doc_text_bytes(peer) != 0)
        die("text is left in", name);
    tape_free(&tape);
    free(text);
    cv_writer_fini(&out);
    cv_doc_free(doc);
    cv_doc_free(peer);
    cv_doc_free(copy);
}

/* `n` items of one letter, made by two people who type by turns; at the end
 * each of them deletes it all. */
static void curve_items(size_t n)
{
    struct cv_doc *doc[2] = {new_doc(1), new_doc(2)};
    struct cv_writer out = heap();
    double start = now_ms();
    char name[64];

    snprintf(name, sizeof(name), "items-%zu", n);
    for (size_t i = 0; i < n; i++) {
        edit(doc[i & 1], cv_doc_text_bytes(doc[i & 1]) / 2, 0, "x", 1, &out);
        must(cv_doc_apply(doc[~i & 1], cv_writer_bytes(&out), NULL, NULL, NULL),
             "apply:");
    }
    report(name, "type-apply", "us", (now_ms() - start) * 1e3 / (double)n);
    cv_writer_reset(&out);
    start = now_ms();
    must(cv_doc_encode(doc[0], (struct cv_bytes){NULL, 0}, &out), "encode:");
    report(name, "save", "ms", now_ms() - start);
    start = now_ms();
    cv_doc_free(doc[1]);
    doc[1] = new_doc(3);
    must(cv_doc_apply(doc[1], cv_writer_bytes(&out), NULL, NULL, NULL),
         "load:");
    report(name, "load", "ms", now_ms() - start);
    start = now_ms();
    edit(doc[0], 0, cv_doc_text_bytes(doc[0]), NULL, 0, &out);
    report(name, "delete-all", "ms", now_ms() - start);
    start = now_ms();
    must(cv_doc_apply(doc[1], cv_writer_bytes(&out), NULL, NULL, NULL),
         "apply:");
    report(name, "delete-all-apply", "ms", now_ms() - start);
    cv_writer_fini(&out);
    cv_doc_free(doc[0]);
    cv_doc_free(doc[1]);
}

/* One letter that says it was put into the empty text; `right`: before the
 * unit 1:right. */
static struct cv_bytes stray(uint8_t *storage, size_t size, uint64_t client,
                             const uint32_t *right)
{
    struct cv_writer w;

    cv_writer_init(&w, storage, size);
    cv_put_varuint(&w, 1);
    cv_put_varuint(&w, 1);
    cv_put_varuint(&w, client);
    cv_put_varuint(&w, 0);
    if (right != NULL) {
        cv_put_u8(&w, 0x44);
        cv_put_varuint(&w, 1);
        cv_put_varuint(&w, *right);
    } else {
        cv_put_u8(&w, 4);
        cv_put_varuint(&w, 1);
        cv_put_varbytes(&w, CV_DOC_TEXT, strlen(CV_DOC_TEXT));
    }
    cv_put_varbytes(&w, "x", 1);
    cv_put_varuint(&w, 0);
    return cv_writer_bytes(&w);
}

/* Many clients insert one letter each at one place, none knowing another. */
static void curve_siblings(unsigned n)
{
    struct cv_doc *doc = new_doc(UINT32_MAX);
    uint64_t seed = 3;
    double start = now_ms();
    char name[64];

    snprintf(name, sizeof(name), "siblings-%u", n);
    for (unsigned i = 0; i < n; i++) {
        uint8_t storage[64];

        must(cv_doc_apply(doc,
                          stray(storage, sizeof(storage),
                                splitmix(&seed) & UINT32_MAX, NULL),
                          NULL, NULL, NULL),
             "apply:");
    }
    report(name, "merge", "ms", now_ms() - start);
    cv_doc_free(doc);
}

/* A text of `n` items, and letters whose origins lie as far apart as it is
 * long, each before another unit near its end. */
static void curve_far(unsigned n)
{
    enum { STRAYS = 200 };
    struct cv_doc *doc = new_doc(1);
    uint8_t storage[64];
    uint64_t seed = 5;
    double start;
    char name[64];

    snprintf(name, sizeof(name), "far-%u", n);
    /* Every other letter goes to the start of the line: no run is longer. */
    for (unsigned i = 0; i < n; i++)
        edit(doc, cv_doc_text_bytes(doc) / (1 + (i & 1)), 0, "x", 1, NULL);
    start = now_ms();
    for (unsigned i = 0; i < STRAYS; i++) {
        uint32_t right = n / 2 - 1 - i;

        must(cv_doc_apply(doc,
                          stray(storage, sizeof(storage),
                                2 + (splitmix(&seed) & UINT32_MAX), &right),
                          NULL, NULL, NULL),
             "apply:");
    }
    report(name, "stray", "us", (now_ms() - start) * 1e3 / STRAYS);
    cv_doc_free(doc);
}

static void curves(void)
{
    for (size_t size = 1000000; size <= 100000000; size *= 10)
        curve_size("text", size, 60);
    curve_size("text", 20000000, 60);
    for (size_t size = 100000; size <= 10000000; size *= 10)
        curve_size("line", size, size + 1);
    for (size_t n = 10000; n <= 1000000; n *= 10)
        curve_items(n);
    for (unsigned n = 4000; n <= 32000; n *= 2)
        curve_siblings(n);
    for (unsigned n = 10000; n <= 1000000; n *= 10)
        curve_far(n);
}

/* ---- one keystroke ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* A document of a million characters and 260,000 edits, then keystrokes to
 * update bytes, and those applied by another.  The place changes after `stay`
 * of them.  Times are of BATCH at once, as looking at the clock takes longer
 * than one. */
static void micro(const char *suffix, unsigned stay)
{
    enum { SIZE = 1000000, HISTORY = 260000, BATCH = 16, BATCHES = 4001 };
    struct cv_doc *doc = new_doc(1), *peer = new_doc(2);
    struct cv_writer out = heap();
    struct tape tape = {heap(),
                        checked(calloc(BATCHES * BATCH, sizeof(size_t))), 0};
    char *text = long_text(SIZE, 60), name[32];
    double *local = checked(calloc(BATCHES, sizeof(double)));
    double *remote = checked(calloc(BATCHES, sizeof(double)));
    uint64_t seed = 7;
    size_t at = 0, k = 0;

    edit(doc, 0, 0, text, SIZE, &out);
    for (size_t i = 0; i < HISTORY; i++) {
        if (i % 24 == 0)
            at = splitmix(&seed) % (cv_doc_text_bytes(doc) - 64);
        if (i % 3 == 2)
            edit(doc, --at, 1, NULL, 0, NULL);
        else
            edit(doc, at++, 0, "y", 1, NULL);
    }
    cv_writer_reset(&out);
    must(cv_doc_encode(doc, (struct cv_bytes){NULL, 0}, &out), "encode:");
    must(cv_doc_apply(peer, cv_writer_bytes(&out), NULL, NULL, NULL), "load:");
    for (size_t i = 0; i < BATCHES; i++) {
        double start = now_ms();

        for (size_t j = 0; j < BATCH; j++, k++) {
            if (k % stay == 0)
                at = splitmix(&seed) % SIZE;
            edit(doc, at++, 0, "z", 1, &out);
            tape_add(&tape, &out);
        }
        local[i] = (now_ms() - start) * 1e3 / BATCH;
    }
    k = 0;
    for (size_t i = 0; i < BATCHES; i++) {
        double start = now_ms();

        for (size_t j = 0; j < BATCH; j++, k++)
            must(cv_doc_apply(peer, tape_at(&tape, k), NULL, NULL, NULL),
                 "apply:");
        remote[i] = (now_ms() - start) * 1e3 / BATCH;
    }
    qsort(local, BATCHES, sizeof(*local), by_value);
    qsort(remote, BATCHES, sizeof(*remote), by_value);
    snprintf(name, sizeof(name), "local%s", suffix);
    report("micro", name, "us", local[BATCHES / 2]);
    snprintf(name, sizeof(name), "remote%s", suffix);
    report("micro", name, "us", remote[BATCHES / 2]);
    tape_free(&tape);
    free(local);
    free(remote);
    free(text);
    cv_writer_fini(&out);
    cv_doc_free(doc);
    cv_doc_free(peer);
}

static void micros(void)
{
    micro("", 32);
    micro("-jump", 1);
}

int main(int argc, char **argv)
{
    const char *folder = getenv("COVIM_TRACES"), *only = NULL;
    unsigned runs = RUNS, found = 0;
    struct trace t;

    cv_memory_keep(); /* as the agent */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--traces") == 0 && i + 1 < argc) {
            folder = argv[++i];
        } else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
            runs = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            only = argv[++i];
        } else if (strcmp(argv[i], "--mode") == 0 && i + 1 < argc) {
            only_mode = argv[++i];
        } else if (strcmp(argv[i], "--floor") == 0) {
            only_floor = true;
        } else if (strcmp(argv[i], "--sizes") == 0 ||
                   strcmp(argv[i], "--curve") == 0) {
            curves();
            return 0;
        } else if (strcmp(argv[i], "--micro") == 0) {
            micros();
            return 0;
        } else {
            fprintf(stderr, "usage: bench_text [--traces DIR] [--runs N] "
                            "[--only TRACE] "
                            "[--mode local|live|load|merge|held | --floor] "
                            "[--sizes | --micro]\n");
            return 2;
        }
    }
    if (folder == NULL) {
        fprintf(stderr, "bench_text: no traces: give --traces DIR or "
                        "COVIM_TRACES; without them only the curves\n");
        curves();
        return 0;
    }
    for (size_t i = 0; i < sizeof(sequential) / sizeof(*sequential); i++) {
        if ((only != NULL && strcmp(only, sequential[i]) != 0) ||
            !load_trace(&t, folder, sequential[i]))
            continue;
        if (only_floor)
            bench_floor(&t, runs);
        else
            bench_sequential(&t, runs);
        free_trace(&t);
        found++;
    }
    for (size_t i = 0;
         !only_floor && i < sizeof(concurrent) / sizeof(*concurrent); i++) {
        if ((only != NULL && strcmp(only, concurrent[i]) != 0) ||
            !load_trace(&t, folder, concurrent[i]))
            continue;
        bench_concurrent(&t, runs);
        free_trace(&t);
        found++;
    }
    if (found == 0)
        die("no traces in", folder);
    return 0;
}
