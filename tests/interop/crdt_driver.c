/* Documents of crdt/ behind lines of text, for tests in other languages.
 *
 * A line is a command, the number of a document and arguments; bytes are hex,
 * "-" when empty; insert and delete count bytes, relpos and abspos UTF-16
 * units.  The answer is one line, "! …" for an error.  What the observer hears
 * is applied to a copy of the text, which must stay equal.
 *
 *   new D CLIENT | free D | begin D | commit D -> UPDATE
 *   insert D AT TEXT | delete D AT LEN | apply D UPDATE -> NEWS WAITING
 *   text D -> TEXT | vector D -> SV | encode D SV -> UPDATE
 *   set D KEY ANY | unset D KEY | map D -> KEY=ANY …      (root "meta")
 *   merge 0 UPDATE … -> UPDATE | check 0 UPDATE
 *   relpos D AT ASSOC -> RELPOS | abspos D RELPOS -> AT | held D -> BYTES */
#include "crdt/doc.h"
#include "crdt/relpos.h"
#include "crdt/update.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCS     64
#define ARGS     64
#define MAP_ROOT "meta"

struct replica {
    struct cv_doc *doc;
    char *text; /* kept by the observer and by local edits */
    size_t len;
};

static struct replica replicas[DOCS];

static void die(const char *why)
{
    fprintf(stderr, "crdt_driver: %s\n", why);
    exit(1);
}

static void *checked(void *p)
{
    if (p == NULL)
        die("out of memory");
    return p;
}

static void splice(struct replica *r, size_t at, size_t deleted,
                   const void *text, size_t len)
{
    char *now = checked(malloc(r->len - deleted + len + 1));

    memcpy(now, r->text, at);
    if (len > 0)
        memcpy(now + at, text, len);
    memcpy(now + at + len, r->text + at + deleted, r->len - at - deleted);
    r->len = r->len - deleted + len;
    free(r->text);
    r->text = now;
}

static void on_change(void *user, const struct cv_text_change *c)
{
    struct replica *r = user;

    if (c->at + c->deleted > r->len)
        die("a change outside of the text");
    splice(r, c->at, c->deleted, c->inserted, c->inserted_len);
}

static void check_text(const struct replica *r)
{
    struct cv_writer w;

    cv_writer_init_heap(&w, SIZE_MAX / 2);
    if (cv_doc_read(r->doc, 0, cv_doc_text_bytes(r->doc), &w) != CV_OK ||
        w.len != r->len || (w.len > 0 && memcmp(w.data, r->text, w.len) != 0))
        die("the observer's text differs");
    cv_writer_fini(&w);
}

static struct cv_bytes unhex(const char *hex)
{
    size_t len = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
    uint8_t *out = checked(malloc(len + 1));

    if (len > 0 && cv_unhex(out, len, hex) != CV_OK)
        die("bad hex");
    return (struct cv_bytes){out, len};
}

static void drop(struct cv_bytes b)
{
    free((void *)(uintptr_t)b.data);
}

static void print_hex(struct cv_bytes b)
{
    char *hex = checked(malloc(2 * b.len + 1));

    cv_hex(hex, b.data, b.len);
    fputs(b.len == 0 ? "-" : hex, stdout);
    free(hex);
}

static void print_entry(void *user, struct cv_bytes key, struct cv_bytes value)
{
    (void)user;
    print_hex(key);
    putchar('=');
    print_hex(value);
    putchar(' ');
}

static size_t to_bytes(const struct replica *r, const char *units)
{
    size_t at;

    if (cv_doc_units_to_bytes(r->doc, strtoull(units, NULL, 10), &at) != CV_OK)
        die("a position outside of the text or in a pair");
    return at;
}

static int run_edit(struct replica *r, char **arg)
{
    size_t at = strtoull(arg[2], NULL, 10), len;
    struct cv_bytes text;
    int err;

    if (arg[0][0] == 'i') {
        text = unhex(arg[3]);
        err = cv_doc_insert(r->doc, at, text.data, text.len);
        if (err == CV_OK)
            splice(r, at, 0, text.data, text.len);
        drop(text);
        return err;
    }
    len = strtoull(arg[3], NULL, 10);
    err = cv_doc_delete(r->doc, at, len);
    if (err == CV_OK)
        splice(r, at, len, NULL, 0);
    return err;
}

static int run_apply(struct replica *r, const char *hex, struct cv_writer *w)
{
    const struct cv_doc_observer observer = {on_change, NULL, r};
    struct cv_doc_applied applied;
    struct cv_bytes update = unhex(hex);
    int err = cv_doc_apply(r->doc, update, &observer, w, &applied);

    drop(update);
    if (err != CV_OK)
        return err;
    check_text(r);
    print_hex(cv_writer_bytes(w));
    printf(" %d", applied.waiting);
    cv_writer_reset(w);
    return CV_OK;
}

static int run_merge(char **arg, int n, struct cv_writer *w)
{
    struct cv_bytes update[ARGS];
    int err;

    for (int i = 2; i < n; i++)
        update[i - 2] = unhex(arg[i]);
    err = cv_update_merge(update, (size_t)(n - 2), w);
    for (int i = 2; i < n; i++)
        drop(update[i - 2]);
    return err;
}

static int run_map(struct replica *r, char **arg)
{
    struct cv_bytes key, value;
    int err;

    if (strcmp(arg[0], "map") == 0) {
        cv_doc_map_each(r->doc, MAP_ROOT, print_entry, NULL);
        return CV_OK;
    }
    key = unhex(arg[2]);
    if (strcmp(arg[0], "set") == 0) {
        value = unhex(arg[3]);
        err = cv_doc_map_set(r->doc, MAP_ROOT, key, value);
        drop(value);
    } else {
        err = cv_doc_map_delete(r->doc, MAP_ROOT, key);
        if (err == CV_ERR_NOTFOUND)
            err = CV_OK;
    }
    drop(key);
    return err;
}

static int run_position(struct replica *r, char **arg, struct cv_writer *w)
{
    struct cv_relpos pos;
    struct cv_bytes b;
    size_t at = 0, units = 0;
    int err;

    if (strcmp(arg[0], "relpos") == 0) {
        err = cv_relpos_from_offset(r->doc, to_bytes(r, arg[2]),
                                    (int32_t)strtol(arg[3], NULL, 10), &pos);
        return err != CV_OK ? err : cv_put_relpos(w, &pos);
    }
    b = unhex(arg[2]);
    err = cv_relpos_decode(&pos, b);
    drop(b);
    if (err == CV_OK)
        err = cv_relpos_to_offset(r->doc, &pos, &at);
    if (err == CV_OK)
        err = cv_doc_bytes_to_units(r->doc, at, &units);
    if (err == CV_OK)
        printf("%zu", units);
    return err;
}

static int run(char **arg, int n, struct cv_writer *w)
{
    struct replica *r = &replicas[strtoul(arg[1], NULL, 10) % DOCS];
    const char *what = arg[0];
    struct cv_bytes b;
    int err;

    if (strcmp(what, "new") == 0) {
        free(r->text);
        *r = (struct replica){.text = checked(calloc(1, 1))};
        return cv_doc_new(&r->doc, strtoull(arg[2], NULL, 10), NULL);
    }
    if (strcmp(what, "merge") == 0)
        return run_merge(arg, n, w);
    if (strcmp(what, "check") == 0) {
        b = unhex(arg[2]);
        err = cv_update_validate(b);
        drop(b);
        return err;
    }
    if (r->doc == NULL)
        return CV_ERR_INVALID;
    if (strcmp(what, "free") == 0) {
        cv_doc_free(r->doc);
        r->doc = NULL;
        return CV_OK;
    }
    if (strcmp(what, "begin") == 0)
        return cv_doc_begin(r->doc);
    if (strcmp(what, "commit") == 0)
        return cv_doc_commit(r->doc, w);
    if (strcmp(what, "insert") == 0 || strcmp(what, "delete") == 0)
        return run_edit(r, arg);
    if (strcmp(what, "apply") == 0)
        return run_apply(r, arg[2], w);
    if (strcmp(what, "text") == 0)
        return cv_doc_read(r->doc, 0, cv_doc_text_bytes(r->doc), w);
    if (strcmp(what, "vector") == 0)
        return cv_doc_state_vector(r->doc, w);
    if (strcmp(what, "encode") == 0) {
        b = unhex(arg[2]);
        err = cv_doc_encode(r->doc, b, w);
        drop(b);
        return err;
    }
    if (strcmp(what, "relpos") == 0 || strcmp(what, "abspos") == 0)
        return run_position(r, arg, w);
    if (strcmp(what, "held") == 0) {
        printf("%zu", cv_doc_held_bytes(r->doc));
        return CV_OK;
    }
    return run_map(r, arg);
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;

    while (getline(&line, &cap, stdin) > 0) {
        struct cv_writer w;
        char *arg[ARGS + 1], *save = NULL;
        int n = 0, err;

        for (char *a = strtok_r(line, " \n", &save); a != NULL && n < ARGS;
             a = strtok_r(NULL, " \n", &save))
            arg[n++] = a;
        if (n < 2)
            die("bad command");
        for (int i = n; i <= ARGS; i++)
            arg[i] = NULL;
        cv_writer_init_heap(&w, SIZE_MAX / 2);
        err = run(arg, n, &w);
        if (err != CV_OK)
            printf("! %s", cv_strerror(err));
        else if (w.len > 0)
            print_hex(cv_writer_bytes(&w));
        putchar('\n');
        fflush(stdout);
        cv_writer_fini(&w);
    }
    for (size_t i = 0; i < DOCS; i++) {
        cv_doc_free(replicas[i].doc);
        free(replicas[i].text);
    }
    free(line);
    return 0;
}
