#include <stdio.h>

#include "cli/echo_struct.h"
#include "transport/pathset.h"

void cv_echo_begin(struct cv_echo_line *l, const struct cv_echo *e, cv_time at,
                   const char *event)
{
    cv_writer_init(&l->w, l->text, sizeof l->text);
    cv_json_out_init(&l->json, &l->w);
    cv_json_begin(&l->json, NULL, '{');
    cv_json_put_ms(&l->json, "ms", at - e->zero);
    cv_json_put_text(&l->json, "event", event);
}

void cv_echo_put_peer(struct cv_echo_line *l, const struct cv_key *node)
{
    char key[9];

    cv_json_put_text(&l->json, "peer", cv_key_short(node, key));
}

void cv_echo_put_path(struct cv_echo_line *l, const struct cv_echo *e,
                      enum cv_path_kind kind, const struct cv_addr *addr,
                      cv_time rtt)
{
    char text[CV_ADDR_TEXT];

    cv_json_put_text(&l->json, "path", cv_path_kind_name(kind));
    if (addr->family != CV_FAMILY_NONE)
        cv_json_put_text(&l->json, "address", cv_addr_log(e->log, addr, text));
    if (rtt > 0)
        cv_json_put_ms(&l->json, "rtt_ms", rtt);
}

void cv_echo_end(struct cv_echo_line *l)
{
    cv_json_end(&l->json, '}');
    if (l->w.err != CV_OK) /* longer than any line of ours may be */
        return;
    fwrite(l->w.data, 1, l->w.len, stdout);
    putchar('\n');
    fflush(stdout);
}

void cv_echo_closed(const struct cv_echo *e, const struct cv_neighbour *n,
                    bool left)
{
    struct cv_echo_line l;

    cv_echo_begin(&l, e, cv_loop_now(e->loop), "closed");
    cv_echo_put_peer(&l, &n->node);
    cv_json_put_bool(&l.json, "goodbye", left);
    cv_echo_end(&l);
}

void cv_echo_say(const struct cv_echo *e, const char *event)
{
    struct cv_echo_line l;

    cv_echo_begin(&l, e, cv_loop_now(e->loop), event);
    cv_echo_end(&l);
}

void cv_echo_put_clock(struct cv_echo_line *l, const struct cv_echo *e)
{
    cv_json_put_ms(&l->json, "clock_ms", cv_loop_now(e->loop));
}

void cv_echo_mark(const struct cv_echo *e, const struct cv_mark *m)
{
    struct cv_echo_line l;

    cv_echo_begin(&l, e, m->at, cv_mark_name(m->kind));
    if (m->kind != CV_MARK_GATHERED)
        cv_echo_put_peer(&l, &m->node);
    switch (m->kind) {
    case CV_MARK_GATHERED:
    case CV_MARK_POINTER:
    case CV_MARK_KNOCKED:
    case CV_MARK_ANSWER:
        cv_json_put_uint(&l.json, "candidates", m->n);
        cv_json_put_text(&l.json, "nat", cv_mark_nat(m->nat));
        break;
    case CV_MARK_CONFIRMED:
        cv_json_put_uint(&l.json, "packets", m->n);
        cv_echo_put_path(&l, e, m->path, &m->addr, m->rtt);
        break;
    case CV_MARK_CHECK:
    case CV_MARK_PATH:
    case CV_MARK_SWITCHED:
        cv_echo_put_path(&l, e, m->path, &m->addr, m->rtt);
        break;
    case CV_MARK_FAILED:
        cv_json_put_text(&l.json, "why", m->text);
        break;
    case CV_MARK_KNOCK:
    case CV_MARK_HEARD:
    case CV_MARK_HANDSHAKE:
    case CV_MARK_CARRIED:
    case CV_MARK_MEMBER:
        break;
    }
    cv_echo_end(&l);
}
