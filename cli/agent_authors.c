#include "cli/agent_struct.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "session/presence.h"

/* Bounds of one answer: lines, stretches in them, people. */
#define LINES_MAX     5000u
#define STRETCHES_MAX 50000u
#define PEOPLE_MAX    128u

/* Letters of a fingerprint that name somebody. */
#define FINGERPRINT_MIN 4

struct person {
    struct cv_author who;
    char name[CV_NAME_MAX_TEXT]; /* empty: not known */
    char fingerprint[CV_FINGERPRINT_TEXT];
};

struct people {
    const struct cv_session *session;
    size_t n;
    struct person p[PEOPLE_MAX];
};

/* The number of somebody in an answer: 1…; 0: unknown, or too many. */
static size_t number_of(struct people *people, const struct cv_author *who)
{
    struct person *p;

    if (!who->known)
        return 0;
    for (size_t i = 0; i < people->n; i++)
        if (cv_key_equal(&people->p[i].who.identity, &who->identity))
            return i + 1;
    if (people->n == PEOPLE_MAX)
        return 0;
    p = &people->p[people->n++];
    p->who = *who;
    cv_session_name_of(people->session, &who->identity, p->name);
    cv_fingerprint(&who->identity, p->fingerprint);
    return people->n;
}

static void add_writer(void *user, const struct cv_author *who)
{
    number_of(user, who);
}

static void put_people(struct cv_json_out *o, const struct people *people)
{
    cv_json_begin(o, "people", '[');
    for (size_t i = 0; i < people->n; i++) {
        const struct person *p = &people->p[i];

        cv_json_begin(o, NULL, '{');
        cv_json_put_text(o, "name", p->name);
        cv_json_put_text(o, "fingerprint", p->fingerprint);
        cv_json_put_uint(o, "colour", cv_presence_colour(&p->who.identity));
        cv_json_put_bool(o, "you", p->who.you);
        cv_json_end(o, '}');
    }
    cv_json_end(o, ']');
}

/* --- authors --- */

struct lines_out {
    struct cv_json_out *o;
    struct people *people;
    size_t stretches;
};

static bool put_stretch(void *user, const struct cv_author *who, size_t bytes)
{
    struct lines_out *out = user;

    cv_json_put_uint(out->o, NULL, bytes);
    cv_json_put_uint(out->o, NULL, number_of(out->people, who));
    return ++out->stretches < STRETCHES_MAX;
}

/* Lines lo … hi (from 1) of the text, as far as there are so many. */
static void put_lines(struct lines_out *out, const struct cv_document *d,
                      size_t lo, size_t hi)
{
    const struct cv_doc *doc = cv_document_text(d);
    size_t newlines = cv_doc_text_newlines(doc), at, end;

    cv_json_begin(out->o, "lines", '[');
    for (size_t line = lo - 1;
         line < hi && line <= newlines && out->stretches < STRETCHES_MAX;
         line++) {
        if (cv_doc_line_offset(doc, line, &at) != CV_OK)
            break;
        end = cv_doc_text_bytes(doc);
        if (line < newlines && cv_doc_line_offset(doc, line + 1, &end) == CV_OK)
            end--; /* the line end belongs to no column */
        cv_json_begin(out->o, NULL, '[');
        if (cv_document_authors(d, at, end - at, put_stretch, out) != CV_OK)
            out->stretches = STRETCHES_MAX;
        cv_json_end(out->o, ']');
    }
    cv_json_end(out->o, ']');
}

static struct cv_buffer *current_buffer(struct cv_agent *a,
                                        const struct cv_rpc_id *id,
                                        const struct cv_json *params,
                                        struct people *people)
{
    struct cv_buffer *b = cv_place_buffer(a, params);
    const struct cv_place *p = b ? cv_place_of(a, b) : NULL;

    if (!p || !p->session || !cv_buffer_is_current(b, params)) {
        cv_agent_error(a, id, CV_RPC_NOT_FOUND, "there is no such document",
                       "");
        return NULL;
    }
    memset(people, 0, sizeof(*people));
    people->session = p->session;
    return b;
}

void cv_agent_authors(struct cv_agent *a, const struct cv_rpc_id *id,
                      const struct cv_json *params)
{
    struct people people;
    struct cv_buffer *b = current_buffer(a, id, params, &people);
    struct lines_out out = {.people = &people};
    uint64_t lo, hi;

    if (!b)
        return;
    out.o = cv_rpc_result(a->rpc, id);
    cv_json_put_uint(out.o, "erev", cv_buffer_erev(b));
    if (cv_json_get_uint(params, "lo", &lo) &&
        cv_json_get_uint(params, "hi", &hi) && lo >= 1 && hi >= lo) {
        if (hi - lo >= LINES_MAX)
            hi = lo + LINES_MAX - 1;
        cv_json_put_uint(out.o, "lo", lo);
        put_lines(&out, cv_buffer_document(b), lo, hi);
    } else {
        cv_document_writers(cv_buffer_document(b), add_writer, &people);
    }
    put_people(out.o, &people);
    cv_rpc_send(a->rpc);
}

/* --- revert --- */

/* Does a fingerprint begin so?  Its dashes may be left out. */
static bool begins(const char *fingerprint, const char *prefix)
{
    size_t n = 0;

    for (; *prefix; prefix++) {
        if (*prefix == '-' || *prefix == '[' || *prefix == ']')
            continue;
        while (*fingerprint == '-')
            fingerprint++;
        if (!*fingerprint || tolower((unsigned char)*fingerprint) !=
                                 tolower((unsigned char)*prefix))
            return false;
        fingerprint++;
        n++;
    }
    return n >= FINGERPRINT_MIN;
}

/* By name, by the beginning of a fingerprint, or by both. */
static bool is_named(const struct person *p, const char *name)
{
    const char *space = strrchr(name, ' ');
    size_t n = strlen(p->name);

    return strcmp(p->name, name) == 0 || begins(p->fingerprint, name) ||
           (space && (size_t)(space - name) == n &&
            memcmp(p->name, name, n) == 0 && begins(p->fingerprint, space + 1));
}

/* Whom a name means; NULL: `why` says what is wrong, `hint` what to do. */
static const struct person *person_named(const struct people *people,
                                         const char *name, char why[512],
                                         const char **hint)
{
    const struct person *found = NULL, *us = NULL;
    unsigned n = 0;
    size_t at;

    at = (size_t)snprintf(why, 512, "several are called so:");
    for (size_t i = 0; i < people->n; i++) {
        const struct person *p = &people->p[i];

        if (!is_named(p, name))
            continue;
        if (p->who.you) { /* meant only when nobody else is */
            us = p;
            continue;
        }
        found = p;
        if (n++ < 8 && at < 400)
            at += (size_t)snprintf(why + at, 512 - at, " %s [%s]", p->name,
                                   p->fingerprint);
    }
    *hint = "say the beginning of the fingerprint instead of the name";
    if (n <= 1 && (found || us))
        return found ? found : us;
    if (n == 0) {
        snprintf(why, 512, "nobody of that name wrote here");
        *hint = "names are completed with <Tab>; so are fingerprints of those "
                "whose name is not known";
    }
    return NULL;
}

static void put_reverted(struct cv_agent *a, const struct cv_rpc_id *id,
                         const struct person *p, const struct cv_reverted *r,
                         size_t line, size_t column)
{
    struct cv_json_out *o = cv_rpc_result(a->rpc, id);

    cv_json_put_text(o, "name", p->name);
    cv_json_put_text(o, "fingerprint", p->fingerprint);
    cv_json_put_uint(o, "removed", r->removed);
    cv_json_put_uint(o, "removed_bytes", r->removed_bytes);
    cv_json_put_uint(o, "restored", r->restored);
    cv_json_put_uint(o, "restored_bytes", r->restored_bytes);
    cv_json_put_bool(o, "whole", r->whole);
    cv_json_put_bool(o, "undoable", r->undoable);
    cv_json_begin(o, "cursor", '[');
    cv_json_put_uint(o, NULL, line);
    cv_json_put_uint(o, NULL, column);
    cv_json_end(o, ']');
    cv_rpc_send(a->rpc);
}

static void refuse(struct cv_agent *a, const struct cv_rpc_id *id, int err)
{
    switch (err) {
    case CV_ERR_INVALID:
        cv_agent_error(a, id, CV_RPC_BAD_PARAMS, "that is you",
                       "`u` takes back what you did");
        break;
    case CV_ERR_NOTFOUND:
        cv_agent_error(a, id, CV_RPC_NOT_FOUND,
                       "nothing is left of what that one did here", "");
        break;
    case CV_ERR_DENIED:
        cv_agent_error(a, id, cv_agent_code(err),
                       "you may read this text, not change it", "");
        break;
    case CV_ERR_LIMIT:
        cv_agent_error(a, id, cv_agent_code(err),
                       "the text would grow beyond 64 MiB", "");
        break;
    default:
        cv_agent_error(a, id, cv_agent_code(err), cv_strerror(err), "");
        break;
    }
}

void cv_agent_revert(struct cv_agent *a, const struct cv_rpc_id *id,
                     const struct cv_json *params)
{
    struct people people;
    struct cv_buffer *b = current_buffer(a, id, params, &people);
    char name[CV_NAME_MAX_TEXT + CV_FINGERPRINT_TEXT + 8], why[512];
    const struct person *p;
    struct cv_reverted r;
    const char *hint;
    size_t line, column;
    bool dry = false;
    int err;

    if (!b)
        return;
    cv_json_copy(params, "name", name, sizeof(name));
    cv_json_get_bool(params, "dry", &dry);
    cv_document_writers(cv_buffer_document(b), add_writer, &people);
    p = person_named(&people, name, why, &hint);
    if (!p) {
        cv_agent_error(a, id, CV_RPC_NOT_FOUND, why, hint);
        return;
    }
    err = cv_buffer_revert(b, &p->who.identity, dry, &r, &line, &column);
    if (err == CV_OK)
        put_reverted(a, id, p, &r, line, column);
    else
        refuse(a, id, err);
}
