#include "session/covim_struct.h"

#include <stdlib.h>
#include <string.h>

covim_peer *cv_api_peer_of(covim_place *place, struct cv_neighbour *n)
{
    covim_peer *p = n->user;

    if (p == NULL) {
        p = calloc(1, sizeof *p);
        if (p == NULL)
            return NULL;
        p->place = place;
        p->neighbour = n;
        p->next = place->peers;
        place->peers = p;
        n->user = p;
    }
    memcpy(p->identity, n->identity.b, sizeof p->identity);
    memcpy(p->name, n->name, sizeof p->name);
    return p;
}

void cv_api_free_peer(covim_peer *p)
{
    covim_peer **at = &p->place->peers;

    while (p->streams != NULL) {
        covim_stream *s = p->streams;

        p->streams = s->next;
        cv_api_abandon_stream(s);
        free(s);
    }
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    if (p->neighbour != NULL)
        p->neighbour->user = NULL;
    free(p);
}

void cv_api_end_peer(covim_peer *p, int err)
{
    while (p->streams != NULL) {
        cv_api_abandon_stream(p->streams);
        cv_api_end_stream(p->streams, COVIM_ERR_CLOSED);
    }
    if (p->neighbour != NULL)
        p->neighbour->user = NULL;
    p->neighbour = NULL;
    p->ended = true;
    p->err = err;
    cv_api_wake(p->place);
}

const uint8_t *covim_peer_identity(const covim_peer *p)
{
    return p->identity;
}

char *covim_peer_fingerprint(const covim_peer *p, char out[COVIM_PRINT_TEXT])
{
    struct cv_key key;

    memcpy(key.b, p->identity, sizeof key.b);
    return cv_fingerprint(&key, out);
}

const char *covim_peer_name(const covim_peer *p)
{
    return p->name;
}

covim_place *covim_peer_place(const covim_peer *p)
{
    return p->place;
}

void covim_peer_set_user(covim_peer *p, void *user)
{
    p->user = user;
}

void *covim_peer_user(const covim_peer *p)
{
    return p->user;
}

int covim_accept(covim_peer *p)
{
    if (p->neighbour == NULL || p->neighbour->knock == 0)
        return COVIM_ERR_NOTFOUND;
    return cv_meeting_accept(p->place->meeting, p->neighbour->knock,
                             CV_ROLE_EDITOR);
}

int covim_reject(covim_peer *p, const char *reason)
{
    if (p->neighbour == NULL || p->neighbour->knock == 0)
        return COVIM_ERR_NOTFOUND;
    return cv_meeting_reject(p->place->meeting, p->neighbour->knock,
                             reason != NULL ? reason : "");
}

void covim_peer_close(covim_peer *p)
{
    if (p->neighbour != NULL && p->neighbour->peer != NULL)
        cv_peer_leave(p->neighbour->peer, "closed");
}

int covim_datagram(covim_peer *p, const void *data, size_t len)
{
    if (p->neighbour == NULL || p->neighbour->peer == NULL)
        return COVIM_ERR_CLOSED;
    if (!cv_peer_is_member(p->neighbour->peer))
        return COVIM_ERR_INVALID;
    if (len > COVIM_DATAGRAM_MAX)
        return COVIM_ERR_LIMIT;
    return cv_conn_datagram(cv_peer_conn(p->neighbour->peer),
                            CV_BYTES(data, len));
}
