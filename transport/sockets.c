#include "transport/sockets.h"
#include <string.h>

void cv_sockets_init(struct cv_sockets *s, struct cv_loop *loop,
                     struct cv_log *log, const struct cv_sockets_events *events,
                     void *user)
{
    memset(s, 0, sizeof *s);
    s->loop = loop;
    s->log = log;
    s->events = events;
    s->user = user;
    for (unsigned i = 0; i < CV_SOCKETS_MAX; i++) {
        s->one[i].all = s;
        s->one[i].number = (uint16_t)(i + 1);
    }
}

void cv_sockets_fini(struct cv_sockets *s)
{
    for (unsigned i = 0; i < CV_SOCKETS_MAX; i++) {
        cv_udp_free(s->one[i].udp);
        s->one[i].udp = NULL;
    }
    s->n = 0;
}

static void on_packet(void *user, const struct cv_addr *from,
                      const struct cv_addr *local, const uint8_t *data,
                      size_t len)
{
    struct cv_sockets_one *one = user;

    one->all->events->packet(one->all->user, one->number, from, local, data,
                             len);
}

static void on_batch(void *user)
{
    struct cv_sockets_one *one = user;

    one->all->events->batch(one->all->user);
}

static void on_writable(void *user)
{
    struct cv_sockets_one *one = user;

    one->all->events->writable(one->all->user);
}

static const struct cv_udp_events udp_events = {
    .packet = on_packet,
    .batch = on_batch,
    .writable = on_writable,
};

int cv_sockets_open(struct cv_sockets *s)
{
    struct cv_addr any = {.family = CV_FAMILY_IPV4};

    for (unsigned i = 0; i < CV_SOCKETS_MAX; i++) {
        struct cv_sockets_one *one = &s->one[(s->next + i) % CV_SOCKETS_MAX];
        int err;

        if (one->udp)
            continue;
        err = cv_udp_new_at(&one->udp, s->loop, s->log, &any, &udp_events, one);
        if (err != CV_OK)
            return err;
        s->next = one->number % CV_SOCKETS_MAX;
        s->n++;
        one->owners = 1;
        return one->number;
    }
    return CV_ERR_LIMIT;
}

static struct cv_sockets_one *find(struct cv_sockets *s, uint16_t number)
{
    if (number == 0 || number > CV_SOCKETS_MAX || !s->one[number - 1].udp)
        return NULL;
    return &s->one[number - 1];
}

void cv_sockets_share(struct cv_sockets *s, uint16_t number)
{
    struct cv_sockets_one *one = find(s, number);

    if (one)
        one->owners++;
}

void cv_sockets_close(struct cv_sockets *s, uint16_t number)
{
    struct cv_sockets_one *one = find(s, number);

    if (!one || --one->owners > 0)
        return;
    cv_udp_free(one->udp);
    one->udp = NULL;
    s->n--;
}

int cv_sockets_send(struct cv_sockets *s, uint16_t number,
                    const struct cv_addr *to, unsigned ttl, const uint8_t *data,
                    size_t len, size_t segment)
{
    struct cv_sockets_one *one = find(s, number);

    if (!one)
        return CV_ERR_NONET;
    return cv_udp_send(one->udp, to, NULL, ttl, data, len, segment);
}
