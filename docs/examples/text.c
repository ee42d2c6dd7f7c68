/* text.c - the shared text by itself: two people edit one text,
 * apart and together, and one takes his edit back.  No network and no file is
 * needed; the bytes between the two are Yjs updates, and any way of sending
 * them will do.  Prints what each of them sees; docs/text.md says how to build
 * it. */
#include "crdt/authors.h"
#include "crdt/doc.h"
#include "crdt/relpos.h"
#include "crdt/undo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST ((size_t)1 << 20) /* bytes of an update, of an undo history */

static void must(int err)
{
    if (err == CV_OK)
        return;
    fprintf(stderr, "text: %s\n", cv_strerror(err));
    exit(1);
}

/* --- a person: a replica, and an editor that shows it --- */

struct person {
    const char *name;
    struct cv_doc *doc;
    struct cv_undo *undo;
    char *screen; /* the editor's own copy of the text */
    size_t len;
};

/* What an editor does with a change that somebody else made: patch its copy. */
static void show(void *user, const struct cv_text_change *c)
{
    struct person *p = user;
    size_t after = p->len - c->at - c->deleted;
    char *grown = realloc(p->screen, p->len + c->inserted_len + 1);

    if (grown == NULL)
        must(CV_ERR_NOMEM);
    p->screen = grown;
    memmove(grown + c->at + c->inserted_len, grown + c->at + c->deleted, after);
    memcpy(grown + c->at, c->inserted, c->inserted_len);
    p->len = c->at + c->inserted_len + after;
    grown[p->len] = '\0';
}

/* Ids of replicas are random, of 32 bits, not 0, and new with each start.  A
 * program that is not an example takes them from getrandom(). */
static uint64_t random_id(void)
{
    return UINT64_C(1) << 31 | (uint64_t)rand();
}

static struct person arrive(const char *name)
{
    struct person p = {.name = name, .screen = calloc(1, 1)};

    if (p.screen == NULL)
        must(CV_ERR_NOMEM);
    must(cv_doc_new(&p.doc, random_id(), NULL));
    must(cv_undo_new(&p.undo, p.doc, MOST));
    return p;
}

static void leave(struct person *p)
{
    cv_undo_free(p->undo);
    cv_doc_free(p->doc);
    free(p->screen);
}

static void look(const struct person *p)
{
    printf("%s sees: %s", p->name, p->screen);
}

/* --- editing: each edit becomes bytes for the others --- */

/* `deleted` bytes at `at` go and `text` comes; the update is appended. */
static void edit(struct person *p, size_t at, size_t deleted, const char *text,
                 struct cv_writer *update)
{
    struct cv_text_change change = {at, deleted, (const uint8_t *)text,
                                    strlen(text)};

    must(cv_doc_begin(p->doc));
    if (deleted > 0)
        must(cv_undo_delete(p->undo, at, deleted));
    if (text[0] != '\0')
        must(cv_undo_insert(p->undo, at, text, strlen(text)));
    must(cv_doc_commit(p->doc, update));
    show(p, &change); /* an editor has it on the screen already */
}

/* His last edit that is still there goes; the next one is a group of its own.
 */
static void take_back(struct person *p, struct cv_writer *update)
{
    struct cv_undone undone;

    must(cv_doc_begin(p->doc));
    must(cv_undo_step(p->undo, CV_UNDO_BACK, show, p, &undone));
    must(cv_doc_commit(p->doc, update));
}

/* Updates may come late, twice, and in any order. */
static void receive(struct person *p, struct cv_bytes update)
{
    struct cv_doc_observer observer = {.text = show, .user = p};

    must(cv_doc_apply(p->doc, update, &observer, NULL, NULL));
}

/* `from` tells `to` all that `to` does not have: its state vector says what
 * that is.  For a new connection, or one that may have lost something. */
static void catch_up(struct person *to, const struct person *from)
{
    struct cv_writer has, update;

    cv_writer_init_heap(&has, MOST);
    cv_writer_init_heap(&update, MOST);
    must(cv_doc_state_vector(to->doc, &has));
    must(cv_doc_encode(from->doc, cv_writer_bytes(&has), &update));
    receive(to, cv_writer_bytes(&update));
    cv_writer_fini(&has);
    cv_writer_fini(&update);
}

/* --- who wrote what --- */

struct reading {
    const struct person *ada;
    const char *text;
};

static bool say_author(void *user, uint64_t client, size_t bytes)
{
    struct reading *r = user;
    bool ada = client == cv_doc_client(r->ada->doc);
    size_t line = strcspn(r->text, "\n");

    printf("  %s wrote \"%.*s\"\n", ada ? "Ada" : "Ben",
           (int)(line < bytes ? line : bytes), r->text);
    r->text += bytes;
    return true;
}

int main(void)
{
    struct person ada, ben;
    struct cv_writer update;
    struct cv_relpos cursor;
    size_t at;

    srand((unsigned)time(NULL));
    ada = arrive("Ada"), ben = arrive("Ben");
    cv_writer_init_heap(&update, MOST);

    puts("# Ada writes; Ben gets each edit as it happens");
    edit(&ada, 0, 0, "The cat sat.\n", &update);
    receive(&ben, cv_writer_bytes(&update));
    printf("(an update of %zu bytes)\n", update.len);
    look(&ben);

    puts("# apart: nothing arrives, and both go on");
    must(cv_relpos_from_offset(ben.doc, 8, 0, &cursor)); /* before "sat" */
    cv_undo_group(ada.undo, 1);
    edit(&ada, 4, 0, "old black ", NULL);
    edit(&ben, 11, 0, " on the mat", NULL);
    look(&ada);
    look(&ben);

    puts("# together again");
    catch_up(&ada, &ben);
    catch_up(&ben, &ada);
    look(&ada);
    look(&ben);
    must(cv_relpos_to_offset(ben.doc, &cursor, &at));
    printf("Ben's cursor was at byte 8 and is at %zu, before \"%.3s\"\n", at,
           ben.screen + at);

    puts("# Ada takes her last edit back; Ben's stays");
    cv_writer_reset(&update);
    take_back(&ada, &update);
    receive(&ben, cv_writer_bytes(&update));
    receive(&ben, cv_writer_bytes(&update)); /* twice does no harm */
    look(&ben);

    puts("# who wrote what");
    must(cv_doc_authors(ada.doc, 0, ada.len, say_author,
                        &(struct reading){&ada, ada.screen}));

    cv_writer_fini(&update);
    leave(&ada);
    leave(&ben);
    return 0;
}
