/* tests/e2e/fake_agent.c - the agent's side of docs/editor.md for the tests of
 * the editor plugins.
 *
 * It holds two copies of each text: `shadow`, what the editor has, fed only by
 * its changes and acknowledged edits, and `truth`, fed by operational
 * transformation.  Where both are the same in the end, and the same as the
 * editor's buffer, no edit was lost, doubled or misplaced.  Requests named
 * `test/…` let a script drive it:
 *
 *   test/text    {doc}                 what it holds, counters, last cursor
 *   test/edit    {doc, range, text}    an edit of somebody else; answered
 *                                      before it is sent
 *   test/random  {doc, count, rate, seed}  such edits, `rate` a second
 *   test/send    {method, params, pause_ms}  a notification as it stands,
 *                                      with a pause in its middle
 *   test/doc     {…}                   what the next `join` brings
 *   test/resync  {doc, lines, reason}
 *   test/hold    {hold}                confirm no changes while true
 *   test/log     {}                    what the editor asked for, and forget it
 *   test/refuse  {method, code, message, hint}   answer the next one so
 *   test/answer  {method, result}      answer all of them so; a result of the
 *                method `authors` is told with the document's erev
 *
 * FAKE_SLOW in its environment names a request that takes it 0.3 s, FAKE_DUMP
 * a file for the first text when its stdin ends.
 */
#include <jansson.h>
#include <nettle/sha2.h>

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_DOCS  256
#define MAX_INPUT ((size_t)256 << 20)

struct text {
    char *data;
    size_t len;
};

/* An insertion (text != NULL) or a deletion. */
struct op {
    size_t pos;
    size_t len;
    char *text;
};

struct ops {
    struct op *v;
    size_t n;
};

struct doc {
    long long id;
    long long epoch;
    struct text shadow;
    struct text truth;
    struct ops out;     /* sent, not known to be applied; shadow -> truth */
    long long rev;      /* edits that shadow holds */
    long long erev;     /* changes seen */
    long long resent;   /* edits sent again */
    long long verified; /* hashes that matched, and that did not */
    long long differed;
    json_t *cursor;
    unsigned random_left;
    double random_next;
    double random_gap;
    uint32_t seed;
};

static struct doc docs[MAX_DOCS];
static size_t doc_count;
static bool ndjson;
static bool hold;
static json_t *seen;
static json_t *next_doc;
static json_t *refusals, *answers;
static long long next_session = 1;

static void *take(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Text. */

static void text_set(struct text *t, const char *data, size_t len)
{
    char *copy = take(malloc(len + 1));

    memcpy(copy, data, len);
    copy[len] = '\0';
    free(t->data);
    t->data = copy;
    t->len = len;
}

static void text_splice(struct text *t, size_t pos, size_t del, const char *ins,
                        size_t len)
{
    char *data;

    assert(pos <= t->len && del <= t->len - pos);
    data = take(malloc(t->len - del + len + 1));
    memcpy(data, t->data, pos);
    memcpy(data + pos, ins, len);
    memcpy(data + pos + len, t->data + pos + del, t->len - pos - del);
    t->len = t->len - del + len;
    data[t->len] = '\0';
    free(t->data);
    t->data = data;
}

static void text_apply(struct text *t, const struct op *op)
{
    if (op->text != NULL)
        text_splice(t, op->pos, 0, op->text, op->len);
    else
        text_splice(t, op->pos, op->len, "", 0);
}

static void text_join(struct text *t, json_t *lines)
{
    size_t len = 0, i;
    json_t *line;
    char *data, *p;

    json_array_foreach(lines, i, line) len += json_string_length(line) + 1;
    data = p = take(malloc(len + 1));
    json_array_foreach(lines, i, line)
    {
        if (i > 0)
            *p++ = '\n';
        memcpy(p, json_string_value(line), json_string_length(line));
        p += json_string_length(line);
    }
    *p = '\0';
    free(t->data);
    t->data = data;
    t->len = (size_t)(p - data);
}

static json_t *text_lines(const struct text *t)
{
    json_t *lines = json_array();
    const char *p = t->data, *end = t->data + t->len;

    for (;;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        const char *stop = nl != NULL ? nl : end;

        json_array_append_new(lines, json_stringn(p, (size_t)(stop - p)));
        if (nl == NULL)
            return lines;
        p = nl + 1;
    }
}

static size_t count_lines(const struct text *t)
{
    size_t n = 1;

    for (size_t i = 0; i < t->len; i++)
        n += t->data[i] == '\n';
    return n;
}

/* The offset where line `line` (from 1) begins; one past the end of the text
 * for the line after the last, as if the text ended with LF. */
static size_t line_start(const struct text *t, size_t line)
{
    size_t at = 0;

    for (size_t i = 1; i < line; i++) {
        const char *nl = memchr(t->data + at, '\n', t->len - at);

        if (nl == NULL)
            return t->len + 1;
        at = (size_t)(nl - t->data) + 1;
    }
    return at;
}

static json_t *position(const struct text *t, size_t off)
{
    size_t line = 1, start = 0;

    for (size_t i = 0; i < off; i++)
        if (t->data[i] == '\n') {
            line++;
            start = i + 1;
        }
    return json_pack("[II]", (json_int_t)line, (json_int_t)(off - start));
}

/* Operational transformation. */

static void ops_add(struct ops *ops, size_t pos, size_t len, const char *text)
{
    struct op *op;

    if (len == 0)
        return;
    ops->v = take(realloc(ops->v, (ops->n + 1) * sizeof *ops->v));
    op = &ops->v[ops->n++];
    op->pos = pos;
    op->len = len;
    op->text = NULL;
    if (text != NULL) {
        op->text = take(malloc(len));
        memcpy(op->text, text, len);
    }
}

static void ops_clear(struct ops *ops)
{
    for (size_t i = 0; i < ops->n; i++)
        free(ops->v[i].text);
    free(ops->v);
    ops->v = NULL;
    ops->n = 0;
}

static void ops_append(struct ops *to, const struct ops *from)
{
    for (size_t i = 0; i < from->n; i++)
        ops_add(to, from->v[i].pos, from->v[i].len, from->v[i].text);
}

/* One operation over another, both from the same text; `first` wins a tie. */
static void transform_one(const struct op *a, const struct op *b, bool first,
                          struct ops *out)
{
    size_t a_end = a->pos + a->len, b_end = b->pos + b->len;

    if (b->text != NULL) {
        if (a->text != NULL) {
            bool before = a->pos < b->pos || (a->pos == b->pos && first);

            ops_add(out, before ? a->pos : a->pos + b->len, a->len, a->text);
        } else if (b->pos <= a->pos) {
            ops_add(out, a->pos + b->len, a->len, NULL);
        } else if (b->pos >= a_end) {
            ops_add(out, a->pos, a->len, NULL);
        } else {
            ops_add(out, a->pos, b->pos - a->pos, NULL);
            ops_add(out, a->pos + b->len, a_end - b->pos, NULL);
        }
    } else if (a->text != NULL) {
        size_t pos = a->pos;

        if (pos > b->pos)
            pos = pos >= b_end ? pos - b->len : b->pos;
        ops_add(out, pos, a->len, a->text);
    } else {
        size_t left =
            a->pos < b->pos ? (a_end < b->pos ? a_end : b->pos) - a->pos : 0;
        size_t right =
            a_end > b_end ? a_end - (a->pos > b_end ? a->pos : b_end) : 0;
        size_t pos = a->pos < b->pos  ? a->pos
                     : a->pos > b_end ? a->pos - b->len
                                      : b->pos;

        ops_add(out, pos, left + right, NULL);
    }
}

/* a2: `a` as it is after `b`; b2: `b` as it is after `a`. */
static void transform(const struct op *a, size_t na, const struct op *b,
                      size_t nb, struct ops *a2, struct ops *b2)
{
    struct ops mid = {0}, low = {0};

    if (na == 0 || nb == 0) {
        for (size_t i = 0; i < na; i++)
            ops_add(a2, a[i].pos, a[i].len, a[i].text);
        for (size_t i = 0; i < nb; i++)
            ops_add(b2, b[i].pos, b[i].len, b[i].text);
        return;
    }
    if (na == 1 && nb == 1) {
        transform_one(a, b, true, a2);
        transform_one(b, a, false, b2);
        return;
    }
    if (nb > 1) {
        transform(a, na, b, 1, &mid, b2);
        transform(mid.v, mid.n, b + 1, nb - 1, a2, b2);
    } else {
        transform(a, 1, b, nb, a2, &low);
        transform(a + 1, na - 1, low.v, low.n, a2, b2);
    }
    ops_clear(&mid);
    ops_clear(&low);
}

static bool inside_char(const struct text *t, size_t off)
{
    return off < t->len && ((unsigned char)t->data[off] & 0xc0) == 0x80;
}

/* The one replaced range between two texts. */
static void diff(const struct text *a, const struct text *b, struct ops *out)
{
    size_t most = a->len < b->len ? a->len : b->len, head = 0, tail = 0;

    while (head < most && a->data[head] == b->data[head])
        head++;
    while (head > 0 && (inside_char(a, head) || inside_char(b, head)))
        head--;
    while (tail < most - head &&
           a->data[a->len - 1 - tail] == b->data[b->len - 1 - tail])
        tail++;
    while (tail > 0 &&
           (inside_char(a, a->len - tail) || inside_char(b, b->len - tail)))
        tail--;
    ops_add(out, head, a->len - tail - head, NULL);
    ops_add(out, head, b->len - tail - head, b->data + head);
}

/* Messages. */

/* How long the second half of the next one takes. */
static unsigned pause_ms;

static void send_json(json_t *msg)
{
    char *s;
    size_t len, half;

    json_object_set_new(msg, "jsonrpc", json_string("2.0"));
    s = take(json_dumps(msg, JSON_COMPACT));
    len = strlen(s);
    half = pause_ms > 0 ? len / 2 : 0;
    if (!ndjson)
        printf("Content-Length: %zu\r\n\r\n", len);
    if (half > 0) {
        fwrite(s, 1, half, stdout);
        fflush(stdout);
        (void)!usleep(pause_ms * 1000);
        pause_ms = 0;
    }
    printf("%s%s", s + half, ndjson ? "\n" : "");
    fflush(stdout);
    free(s);
    json_decref(msg);
}

/* Takes the reference to `params`. */
static void notify(const char *method, json_t *params)
{
    send_json(
        json_pack("{s:s, s:o}", "method", method, "params", take(params)));
}

static void send_edit(const struct doc *d, const struct text *at,
                      const struct op *op)
{
    json_t *from = position(at, op->pos);
    json_t *to = position(at, op->text != NULL ? op->pos : op->pos + op->len);
    json_t *range = json_array();

    json_array_extend(range, from);
    json_array_extend(range, to);
    notify("edit",
           json_pack("{s:I, s:I, s:I, s:o, s:o, s:i, s:s}", "doc",
                     (json_int_t)d->id, "epoch", (json_int_t)d->epoch, "erev",
                     (json_int_t)d->erev, "range", range, "text",
                     json_stringn(op->text != NULL ? op->text : "",
                                  op->text != NULL ? op->len : 0),
                     "peer", 7, "kind", "remote"));
    json_decref(from);
    json_decref(to);
}

static void local_edit(struct doc *d, size_t pos, size_t del, const char *ins,
                       size_t len)
{
    struct ops ops = {0};

    ops_add(&ops, pos, del, NULL);
    ops_add(&ops, pos, len, ins);
    for (size_t i = 0; i < ops.n; i++) {
        send_edit(d, &d->truth, &ops.v[i]);
        text_apply(&d->truth, &ops.v[i]);
    }
    ops_append(&d->out, &ops);
    ops_clear(&ops);
}

static struct doc *find_doc(json_t *params)
{
    json_int_t id = json_integer_value(json_object_get(params, "doc"));

    for (size_t i = 0; i < doc_count; i++)
        if (docs[i].id == id)
            return &docs[i];
    return NULL;
}

static struct doc *add_doc(json_t *lines)
{
    struct doc *d;

    if (doc_count == MAX_DOCS)
        abort();
    d = &docs[doc_count++];
    d->id = 10 + (long long)doc_count;
    d->epoch = 100 + (long long)doc_count;
    text_join(&d->shadow, lines);
    text_join(&d->truth, lines);
    return d;
}

/* The editor has applied `rev` edits. */
static void acknowledge(struct doc *d, long long rev)
{
    size_t n = rev > d->rev ? (size_t)(rev - d->rev) : 0;

    if (n > d->out.n) {
        fprintf(stderr, "fake: rev %lld, only %lld sent\n", rev,
                d->rev + (long long)d->out.n);
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        text_apply(&d->shadow, &d->out.v[i]);
        free(d->out.v[i].text);
    }
    if (n > 0) {
        memmove(d->out.v, d->out.v + n, (d->out.n - n) * sizeof *d->out.v);
        d->out.n -= n;
        d->rev = rev;
    }
}

static void on_change(struct doc *d, json_t *params)
{
    json_t *lines = json_object_get(params, "lines");
    json_int_t lo = json_integer_value(json_object_get(params, "lo"));
    json_int_t tail = json_integer_value(json_object_get(params, "tail"));
    struct text fresh = {0}, middle = {0}, at = {0};
    struct ops change = {0}, change2 = {0}, out2 = {0};
    json_int_t count;
    size_t from, to;

    acknowledge(d, json_integer_value(json_object_get(params, "rev")));
    count = (json_int_t)count_lines(&d->shadow);
    if (lo < 1 || tail < 0 || lo - 1 + tail > count) {
        fprintf(stderr, "fake: lo %lld tail %lld of %lld lines\n",
                (long long)lo, (long long)tail, (long long)count);
        abort();
    }
    /* As if every line, the last too, ended with LF. */
    text_set(&fresh, d->shadow.data, d->shadow.len);
    text_splice(&fresh, fresh.len, 0, "\n", 1);
    from = line_start(&fresh, (size_t)lo);
    to = line_start(&fresh, (size_t)(count - tail) + 1);
    text_join(&middle, lines);
    if (json_array_size(lines) > 0)
        text_splice(&middle, middle.len, 0, "\n", 1);
    text_splice(&fresh, from, to - from, middle.data, middle.len);
    if (fresh.len == 0) {
        fprintf(stderr, "fake: a buffer without lines\n");
        abort();
    }
    text_splice(&fresh, fresh.len - 1, 1, "", 0);

    diff(&d->shadow, &fresh, &change);
    transform(change.v, change.n, d->out.v, d->out.n, &change2, &out2);
    for (size_t i = 0; i < change2.n; i++)
        text_apply(&d->truth, &change2.v[i]);
    text_set(&d->shadow, fresh.data, fresh.len);
    ops_clear(&d->out);
    d->out = out2;
    d->erev++;

    text_set(&at, d->shadow.data, d->shadow.len);
    for (size_t i = 0; i < d->out.n; i++) {
        d->resent++;
        send_edit(d, &at, &d->out.v[i]);
        text_apply(&at, &d->out.v[i]);
    }
    if (at.len != d->truth.len || memcmp(at.data, d->truth.data, at.len) != 0) {
        fprintf(stderr, "fake: its own transformation is wrong\n");
        abort();
    }
    if (!hold)
        notify("kept",
               json_pack("{s:I, s:I, s:I, s:I}", "doc", (json_int_t)d->id,
                         "epoch", (json_int_t)d->epoch, "erev",
                         (json_int_t)d->erev, "shared", (json_int_t)d->erev));
    free(fresh.data);
    free(middle.data);
    free(at.data);
    ops_clear(&change);
    ops_clear(&change2);
}

static void resync(struct doc *d, json_t *lines, const char *reason)
{
    d->epoch += 1000;
    ops_clear(&d->out);
    text_join(&d->truth, lines);
    text_set(&d->shadow, d->truth.data, d->truth.len);
    d->rev = d->erev = 0;
    notify("resync", json_pack("{s:I, s:I, s:O, s:b, s:s}", "doc",
                               (json_int_t)d->id, "epoch", (json_int_t)d->epoch,
                               "lines", lines, "eol", 1, "reason", reason));
}

static void on_verify(struct doc *d, json_t *params)
{
    struct sha256_ctx ctx;
    uint8_t digest[SHA256_DIGEST_SIZE];
    char hex[2 * SHA256_DIGEST_SIZE + 1];
    const char *theirs = json_string_value(json_object_get(params, "sha256"));

    acknowledge(d, json_integer_value(json_object_get(params, "rev")));
    sha256_init(&ctx);
    sha256_update(&ctx, d->shadow.len, (const uint8_t *)d->shadow.data);
    sha256_digest(&ctx, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    if (theirs != NULL && strcmp(hex, theirs) == 0) {
        d->verified++;
    } else {
        json_t *lines = text_lines(&d->truth);

        d->differed++;
        resync(d, lines, "the texts differed");
        json_decref(lines);
    }
}

/* Edits of somebody who types anywhere. */

static uint32_t rnd(struct doc *d, uint32_t n)
{
    d->seed = d->seed * 1664525u + 1013904223u;
    return (d->seed >> 8) % n;
}

static void random_edit(struct doc *d)
{
    static const char *const words[] = {
        "x", "é", "日本", "remote ", "\n", "new line\n", "\nab", "😀", "a\nb\nc",
    };
    size_t pos = d->truth.len > 0 ? rnd(d, (uint32_t)d->truth.len + 1) : 0;

    while (inside_char(&d->truth, pos))
        pos--;
    if (rnd(d, 10) < 4 && d->truth.len > 200) {
        size_t end = pos + 1 + rnd(d, 12);

        if (end > d->truth.len)
            end = d->truth.len;
        while (inside_char(&d->truth, end))
            end++;
        local_edit(d, pos, end - pos, "", 0);
    } else {
        const char *word = words[rnd(d, sizeof words / sizeof *words)];

        local_edit(d, pos, 0, word, strlen(word));
    }
}

/* Milliseconds until the next random edit, or -1. */
static int run_random(void)
{
    double t = now(), next = -1;

    for (size_t i = 0; i < doc_count; i++) {
        struct doc *d = &docs[i];

        while (d->random_left > 0 && d->random_next <= t) {
            random_edit(d);
            d->random_left--;
            d->random_next += d->random_gap;
        }
        if (d->random_left > 0 && (next < 0 || d->random_next < next))
            next = d->random_next;
    }
    return next < 0 ? -1 : next <= t ? 0 : (int)((next - t) * 1000) + 1;
}

/* Requests. */

static json_t *test_text(json_t *params)
{
    struct doc *d = find_doc(params);

    if (d == NULL)
        return json_object();
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O}",
                     "lines", text_lines(&d->shadow), "truth",
                     text_lines(&d->truth), "erev", (json_int_t)d->erev, "rev",
                     (json_int_t)d->rev, "unacked", (json_int_t)d->out.n,
                     "left", (json_int_t)d->random_left, "resent",
                     (json_int_t)d->resent, "verified", (json_int_t)d->verified,
                     "differed", (json_int_t)d->differed, "cursor",
                     d->cursor != NULL ? d->cursor : json_null());
}

static size_t offset_of(const struct text *t, json_t *line, json_t *col)
{
    return line_start(t, (size_t)json_integer_value(line)) +
           (size_t)json_integer_value(col);
}

static json_t *test_request(const char *verb, json_t *params)
{
    struct doc *d = find_doc(params);

    if (strcmp(verb, "text") == 0)
        return test_text(params);
    if (strcmp(verb, "edit") == 0 && d != NULL) {
        json_t *range = json_object_get(params, "range");
        json_t *text = json_object_get(params, "text");
        size_t from = offset_of(&d->truth, json_array_get(range, 0),
                                json_array_get(range, 1));
        size_t to = offset_of(&d->truth, json_array_get(range, 2),
                              json_array_get(range, 3));

        local_edit(d, from, to - from, json_string_value(text),
                   json_string_length(text));
    } else if (strcmp(verb, "random") == 0 && d != NULL) {
        d->random_left =
            (unsigned)json_integer_value(json_object_get(params, "count"));
        d->random_gap =
            1.0 / (double)json_integer_value(json_object_get(params, "rate"));
        d->seed = (uint32_t)json_integer_value(json_object_get(params, "seed"));
        d->random_next = now();
    } else if (strcmp(verb, "send") == 0) {
        pause_ms =
            (unsigned)json_integer_value(json_object_get(params, "pause_ms"));
        notify(json_string_value(json_object_get(params, "method")),
               json_incref(json_object_get(params, "params")));
    } else if (strcmp(verb, "doc") == 0) {
        json_decref(next_doc);
        next_doc = json_incref(params);
    } else if (strcmp(verb, "resync") == 0 && d != NULL) {
        resync(d, json_object_get(params, "lines"),
               json_string_value(json_object_get(params, "reason")));
    } else if (strcmp(verb, "hold") == 0) {
        hold = json_is_true(json_object_get(params, "hold"));
    } else if (strcmp(verb, "refuse") == 0) {
        json_object_set(refusals,
                        json_string_value(json_object_get(params, "method")),
                        params);
    } else if (strcmp(verb, "answer") == 0) {
        json_object_set(answers,
                        json_string_value(json_object_get(params, "method")),
                        json_object_get(params, "result"));
    } else if (strcmp(verb, "log") == 0) {
        json_t *result = json_pack("{s:O}", "log", seen);

        json_decref(seen);
        seen = json_array();
        return result;
    }
    return json_object();
}

#define FAKE_KEY                                                               \
    "covim1qqpzry9x8gf2tvdw0s3jn54khce6mua7lqpzry9x8gf2tvdw0s3jn54khce"

static json_t *opened(struct doc *d, const char *key)
{
    return json_pack("{s:I, s:s, s:I, s:I, s:s, s:s}", "session",
                     (json_int_t)next_session++, "key", key, "doc",
                     (json_int_t)d->id, "epoch", (json_int_t)d->epoch, "osc52",
                     "\033]52;c;Y292aW0x\007", "role", "host");
}

static void send_doc(long long session)
{
    json_t *lines = json_object_get(next_doc, "lines");
    json_t *none = json_pack("[s]", "");
    json_t *msg = next_doc != NULL ? json_deep_copy(next_doc) : json_object();
    struct doc *d = add_doc(lines != NULL ? lines : none);

    if (json_object_get(msg, "path") == NULL)
        json_object_set_new(msg, "path", json_string("joined.txt"));
    if (json_object_get(msg, "role") == NULL)
        json_object_set_new(msg, "role", json_string("editor"));
    if (json_object_get(msg, "eol") == NULL)
        json_object_set_new(msg, "eol", json_true());
    json_object_set(msg, "lines", lines != NULL ? lines : none);
    json_object_set_new(msg, "session", json_integer(session));
    json_object_set_new(msg, "doc", json_integer(d->id));
    json_object_set_new(msg, "epoch", json_integer(d->epoch));
    notify("doc", msg);
    json_decref(none);
}

static json_t *failure(json_int_t code, const char *text, const char *hint)
{
    return json_pack("{s:I, s:s, s:{s:s}}", "code", code, "message", text,
                     "data", "hint", hint);
}

static json_t *answer_to(const char *method, json_t *params)
{
    json_t *result = json_deep_copy(json_object_get(answers, method));
    struct doc *d = find_doc(params);

    if (d != NULL && strcmp(method, "authors") == 0) {
        json_object_set_new(result, "erev", json_integer(d->erev));
        json_object_set(result, "lo", json_object_get(params, "lo"));
    }
    return result;
}

/* The result, or NULL with *error set.  *joined is the session of a join. */
static json_t *on_request(const char *method, json_t *params, json_t **error,
                          long long *joined)
{
    json_t *refusal = json_object_get(refusals, method);

    *error = NULL;
    if (refusal != NULL) {
        *error = failure(json_integer_value(json_object_get(refusal, "code")),
                         json_string_value(json_object_get(refusal, "message")),
                         json_string_value(json_object_get(refusal, "hint")));
        json_object_del(refusals, method);
        return NULL;
    }
    if (strncmp(method, "test/", 5) == 0)
        return test_request(method + 5, params);
    if (json_object_get(answers, method) != NULL)
        return answer_to(method, params);
    if (strcmp(method, "hello") == 0)
        return json_pack("{s:s, s:i, s:O?, s:s, s:[]}", "version", "fake 1",
                         "protocol", 1, "name", json_object_get(params, "name"),
                         "fingerprint", "fake-finger-print", "sessions");
    if (strcmp(method, "share") == 0)
        return opened(add_doc(json_object_get(params, "lines")), FAKE_KEY);
    if (strcmp(method, "resume") == 0) {
        const char *key = json_string_value(json_object_get(params, "key"));

        return opened(add_doc(json_object_get(params, "lines")), key);
    }
    if (strcmp(method, "join") == 0) {
        *joined = next_session++;
        return json_pack("{s:I}", "session", (json_int_t)*joined);
    }
    if (strcmp(method, "status") == 0)
        return json_pack("{s:s, s:s, s:{s:s}, s:s, s:[], s:s}", "version",
                         "fake 1", "fingerprint", "fake-finger-print", "dht",
                         "state", "connected", "network", "a NAT of no kind",
                         "sessions", "last_error", "");
    if (strcmp(method, "peers") == 0)
        return json_pack("{s:[]}", "peers");
    if (strcmp(method, "accept") == 0 || strcmp(method, "reject") == 0 ||
        strcmp(method, "leave") == 0 || strcmp(method, "shutdown") == 0)
        return json_object();
    *error = failure(-32601, "no such method", "");
    return NULL;
}

static void on_notification(const char *method, json_t *params)
{
    struct doc *d = find_doc(params);

    if (d == NULL ||
        json_integer_value(json_object_get(params, "epoch")) != d->epoch)
        return;
    if (strcmp(method, "change") == 0) {
        on_change(d, params);
    } else if (strcmp(method, "ack") == 0) {
        acknowledge(d, json_integer_value(json_object_get(params, "rev")));
    } else if (strcmp(method, "verify") == 0) {
        on_verify(d, params);
    } else if (strcmp(method, "cursor") == 0) {
        json_decref(d->cursor);
        d->cursor = json_incref(params);
    }
}

static void on_message(const char *data, size_t len)
{
    json_error_t why;
    json_t *msg = json_loadb(data, len, 0, &why);
    const char *method = json_string_value(json_object_get(msg, "method"));
    json_t *params = json_object_get(msg, "params");
    json_t *id = json_object_get(msg, "id");

    if (msg == NULL || method == NULL) {
        fprintf(stderr, "fake: bad message: %s\n",
                msg == NULL ? why.text : "no method");
        abort();
    }
    if (strncmp(method, "test/", 5) != 0 && strcmp(method, "change") != 0 &&
        strcmp(method, "ack") != 0)
        json_array_append_new(seen, json_pack("[s, O?]", method, params));
    if (id == NULL) {
        on_notification(method, params);
    } else {
        json_t *error;
        long long joined = 0;
        const char *slow = getenv("FAKE_SLOW");
        json_t *result = on_request(method, params, &error, &joined);
        json_t *answer = json_pack("{s:O}", "id", id);

        if (result != NULL)
            json_object_set_new(answer, "result", result);
        else
            json_object_set_new(answer, "error", error);
        if (slow != NULL && strcmp(slow, method) == 0)
            nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
        send_json(answer);
        if (joined > 0) {
            notify("session", json_pack("{s:I, s:s, s:s, s:i, s:s}", "session",
                                        (json_int_t)joined, "state", "finding",
                                        "stage", "looking for the session",
                                        "elapsed_ms", 1, "hint", ""));
            send_doc(joined);
        }
        if (strcmp(method, "shutdown") == 0)
            exit(0);
    }
    json_decref(msg);
}

/* Takes whole messages off the front of the input; returns what is left. */
static size_t consume(char *in, size_t len)
{
    size_t at = 0;

    while (at < len) {
        char *start = in + at;

        if (*start == '{') {
            char *nl = memchr(start, '\n', len - at);

            if (nl == NULL)
                break;
            ndjson = true;
            on_message(start, (size_t)(nl - start));
            at = (size_t)(nl - in) + 1;
        } else {
            char *body = memmem(start, len - at, "\r\n\r\n", 4);
            size_t size;

            if (body == NULL)
                break;
            if (strncmp(start, "Content-Length: ", 16) != 0)
                abort();
            size = strtoul(start + 16, NULL, 10);
            body += 4;
            if ((size_t)(in + len - body) < size)
                break;
            on_message(body, size);
            at = (size_t)(body - in) + size;
        }
    }
    memmove(in, in + at, len - at);
    return len - at;
}

int main(void)
{
    size_t len = 0, room = 1 << 16;
    char *in = take(malloc(room));

    seen = json_array();
    refusals = json_object();
    answers = json_object();
    for (;;) {
        struct pollfd fd = {.fd = 0, .events = POLLIN};
        int wait = run_random();
        ssize_t got;

        if (poll(&fd, 1, wait) <= 0)
            continue;
        if (len == room) {
            if (room > MAX_INPUT)
                abort();
            room *= 2;
            in = take(realloc(in, room));
        }
        got = read(0, in + len, room - len);
        if (got == 0)
            break;
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return 1;
        }
        len = consume(in, len + (size_t)got);
    }
    free(in);
    if (getenv("FAKE_DUMP") != NULL && doc_count > 0) {
        FILE *f = take(fopen(getenv("FAKE_DUMP"), "w"));

        fwrite(docs[0].truth.data, 1, docs[0].truth.len, f);
        fclose(f);
    }
    return 0;
}
