#include "gate/core_struct.h"
#include <string.h>

/* An answer is a cookie, and the one that was sent says "done". */
static void answer(struct cv_gate_client *c, const struct cv_addr *to,
                   uint64_t counter, const uint8_t cookie[CV_GATE_COOKIE],
                   const struct cv_gate_frame *f)
{
    uint8_t out[CV_GATE_FRAME_MAX];
    struct cv_gate_ask a = {.counter = counter, .empty = f == NULL};
    struct cv_writer w;

    memcpy(a.ticket, c->ticket, sizeof a.ticket);
    memcpy(a.cookie, cookie, sizeof a.cookie);
    if (f)
        a.frame = *f;
    cv_writer_init(&w, out, sizeof out);
    if (cv_gate_ask_write(&w, true, &a, c->ticket_key) == CV_OK)
        c->core->out->udp(c->core->user, to, out, w.len);
}

bool cv_gate_tell(struct cv_gate_client *c, const struct cv_gate_frame *f)
{
    static const uint8_t none[CV_GATE_COOKIE];

    if (!c->bound)
        return false;
    answer(c, &c->udp, c->counter, none, f);
    return true;
}

static int serve(struct cv_gate_client *c, const struct cv_gate_frame *f)
{
    uint8_t name[CV_GATE_ROOM];
    enum cv_gate_rang result;

    switch ((int)f->type) {
    case CV_GATE_PING:
        return 0;
    case CV_GATE_REGISTER:
        return cv_gate_room_register(c, f->u.room_key, name);
    case CV_GATE_UNREGISTER:
        cv_gate_room_leave(c, f->u.room);
        return 0;
    case CV_GATE_RING:
        return cv_gate_room_ring(c, c->source, f, &result);
    default:
        return CV_GATE_REFUSAL_FORMAT;
    }
}

void cv_gate_ask(struct cv_gate_core *core, const struct cv_addr *from,
                 const uint8_t *data, size_t len)
{
    uint8_t ticket[CV_GATE_TICKET_ID], cookie[CV_GATE_COOKIE];
    struct cv_gate_frame refused = {.type = CV_GATE_REFUSED};
    struct cv_gate_client *c;
    struct cv_gate_ask ask;
    int why;

    if (cv_gate_ask_ticket(data, len, ticket) != CV_OK) {
        core->counters.bad_frames++;
        return;
    }
    c = cv_table_find(&core->clients, ticket);
    if (!c || !c->authenticated || core->now >= c->ticket_until) {
        core->counters.packets_unknown++;
        return;
    }
    if (!cv_bucket_take(&c->source->asks, core->now)) {
        core->counters.packets_limited++;
        return;
    }
    if (cv_gate_ask_read(&ask, false, data, len, c->ticket_key) != CV_OK ||
        ask.empty || ask.counter <= c->counter) {
        core->counters.bad_frames++;
        return;
    }
    c->counter = ask.counter;
    if (!cv_gate_cookie_is_good(core, ask.cookie, from,
                                CV_BYTES(c->ticket, sizeof c->ticket))) {
        cv_gate_make_cookie(core, cookie, from,
                            CV_BYTES(c->ticket, sizeof c->ticket));
        answer(c, from, ask.counter, cookie, NULL);
        return;
    }
    c->bound = true;
    c->udp = *from;
    c->heard = core->now;
    why = serve(c, &ask.frame);
    if (why != 0) {
        refused.u.refused.of = (uint8_t)ask.frame.type;
        refused.u.refused.why = (uint8_t)why;
    }
    /* A refusal is 10 bytes of body, the shortest request has 8. */
    if (why != 0 && len >= CV_GATE_ASK_HEADER + 10 + CV_GATE_MAC)
        answer(c, from, ask.counter, ask.cookie, &refused);
    else
        answer(c, from, ask.counter, ask.cookie, NULL);
}
