#include "gate/core_struct.h"
#include <stdlib.h>

/* ---- cookies ----------------------------------------------------------- */

void cv_gate_make_cookie(const struct cv_gate_core *core,
                         uint8_t out[CV_GATE_COOKIE],
                         const struct cv_addr *from, struct cv_bytes what)
{
    cv_gate_cookie(out, core->secret, from, what,
                   (uint64_t)(core->now / CV_MINUTE));
}

bool cv_gate_cookie_is_good(const struct cv_gate_core *core,
                            const uint8_t cookie[CV_GATE_COOKIE],
                            const struct cv_addr *from, struct cv_bytes what)
{
    uint64_t minute = (uint64_t)(core->now / CV_MINUTE);
    uint8_t want[CV_GATE_COOKIE];

    for (uint64_t back = 0; back < 2; back++) {
        cv_gate_cookie(want, core->secret, from, what, minute - back);
        if (cv_equal(want, cookie, sizeof want))
            return true;
    }
    return false;
}

/* ---- UDP ---------------------------------------------------------------- */

size_t cv_gate_udp_input(struct cv_gate_core *core, const struct cv_addr *from,
                         uint8_t *data, size_t len, size_t segment, cv_time now,
                         const struct cv_addr **to)
{
    size_t one = segment < len ? segment : len;

    core->now = now;
    *to = NULL;
    if (one == 0)
        return len;
    switch (data[0]) {
    case CV_GATE_UDP_DATA:
        return cv_gate_channel_forward(core, from, data, len, one, to);
    case CV_GATE_UDP_BIND:
        cv_gate_channel_bind(core, from, data, one);
        return one;
    case CV_GATE_UDP_ASK:
        cv_gate_ask(core, from, data, one);
        return one;
    default:
        core->counters.bad_frames++;
        return one;
    }
}

/* ---- life --------------------------------------------------------------- */

void cv_gate_core_step(struct cv_gate_core *core, cv_time now,
                       cv_unix_ms unix_now)
{
    core->now = now;
    core->unix_now = unix_now;
    cv_gate_clients_sweep(core);
    cv_gate_channels_sweep(core);
    cv_gate_rooms_sweep(core);
    cv_gate_shelf_sweep(core);
    cv_gate_sources_sweep(core);
}

void cv_gate_core_drain(struct cv_gate_core *core, uint32_t within_ms)
{
    struct cv_gate_frame bye = {.type = CV_GATE_BYE, .u.bye = within_ms};

    core->draining = true;
    for (struct cv_gate_client *c = cv_table_next(&core->clients, NULL); c;
         c = cv_table_next(&core->clients, c))
        (void)cv_gate_client_send(c, &bye);
}

void cv_gate_core_configure(struct cv_gate_core *core,
                            const struct cv_gate_core_config *config)
{
    core->config = *config;
}

int cv_gate_core_new(struct cv_gate_core **out,
                     const struct cv_gate_core_config *config,
                     const struct cv_gate_out *calls, void *user, cv_time now)
{
    struct cv_gate_core *core = calloc(1, sizeof *core);
    const struct cv_rng *rng = config->rng;

    if (!core)
        return CV_ERR_NOMEM;
    core->config = *config;
    core->out = calls;
    core->user = user;
    core->now = now;
    cv_random(rng, core->secret, sizeof core->secret);
    cv_table_init(&core->clients, offsetof(struct cv_gate_client, node),
                  offsetof(struct cv_gate_client, ticket), CV_GATE_TICKET_ID,
                  rng);
    cv_table_init(&core->rooms, offsetof(struct cv_gate_room, node),
                  offsetof(struct cv_gate_room, name), CV_GATE_ROOM, rng);
    cv_table_init(&core->ends, offsetof(struct cv_gate_end, node),
                  offsetof(struct cv_gate_end, id), sizeof(uint32_t), rng);
    cv_table_init(&core->shelf, offsetof(struct cv_gate_pointer, node),
                  offsetof(struct cv_gate_pointer, loc), 20, rng);
    cv_table_init(&core->sources, offsetof(struct cv_gate_source, node),
                  offsetof(struct cv_gate_source, key), 9, rng);
    *out = core;
    return CV_OK;
}

void cv_gate_core_free(struct cv_gate_core *core)
{
    struct cv_gate_client *c;
    struct cv_gate_source *s;

    if (!core)
        return;
    while ((c = cv_table_next(&core->clients, NULL)) != NULL)
        cv_gate_client_end(c);
    cv_gate_rooms_free(core);
    cv_gate_shelf_free(core);
    while ((s = cv_table_next(&core->sources, NULL)) != NULL) {
        cv_table_remove(&core->sources, s);
        free(s);
    }
    cv_table_fini(&core->clients);
    cv_table_fini(&core->rooms);
    cv_table_fini(&core->ends);
    cv_table_fini(&core->shelf);
    cv_table_fini(&core->sources);
    cv_wipe(core, sizeof *core);
    free(core);
}

size_t cv_gate_core_links(const struct cv_gate_core *core)
{
    return core->links;
}

const struct cv_gate_counters *
cv_gate_core_counters(const struct cv_gate_core *core)
{
    return &core->counters;
}

struct cv_gate_gauges cv_gate_core_gauges(const struct cv_gate_core *core)
{
    return (struct cv_gate_gauges){
        .clients = core->clients.n,
        .links = core->links,
        .rooms = core->rooms.n,
        .channels = core->ends.n / 2,
        .mails = core->mails,
        .pointers = core->shelf.n,
        .sources = core->sources.n,
        .mail_bytes = core->mail_bytes,
        .pointer_bytes = core->pointer_bytes,
    };
}
