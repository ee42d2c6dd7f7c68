#include "discovery/record.h"

#include <string.h>

#define TYPE_IPV6 0x10u

static bool known_type(uint8_t type)
{
    return type >= CV_CANDIDATE_HOST && type <= CV_CANDIDATE_TCP;
}

static bool sendable(const struct cv_candidate *c)
{
    return known_type(c->type) && c->addr.port != 0 &&
           (c->addr.family == CV_FAMILY_IPV4 ||
            c->addr.family == CV_FAMILY_IPV6) &&
           cv_addr_kind(&c->addr) != CV_ADDR_UNUSABLE;
}

static size_t ip_len(uint8_t family)
{
    return family == CV_FAMILY_IPV6 ? 16 : 4;
}

size_t cv_candidate_size(const struct cv_candidate *c)
{
    return 1 + 1 + ip_len(c->addr.family) + 2;
}

void cv_candidates_sorted(struct cv_candidates *out,
                          const struct cv_candidates *in, unsigned max)
{
    struct cv_candidates sorted = {.nat = in->nat};

    for (unsigned i = 0; i < in->n && i < CV_CANDIDATES_MAX; i++) {
        unsigned at = sorted.n;

        if (!sendable(&in->c[i]))
            continue;
        while (at > 0 && sorted.c[at - 1].pref < in->c[i].pref) {
            sorted.c[at] = sorted.c[at - 1];
            at--;
        }
        sorted.c[at] = in->c[i];
        sorted.n++;
    }
    if (sorted.n > max)
        sorted.n = max;
    *out = sorted;
}

int cv_put_candidates(struct cv_writer *w, const struct cv_candidates *c)
{
    cv_put_u8(w, (uint8_t)c->n);
    for (unsigned i = 0; i < c->n; i++) {
        const struct cv_candidate *one = &c->c[i];
        const bool ipv6 = one->addr.family == CV_FAMILY_IPV6;

        cv_put_u8(w, (uint8_t)(one->type | (ipv6 ? TYPE_IPV6 : 0u)));
        cv_put_u8(w, one->pref);
        cv_put_raw(w, one->addr.ip, ip_len(one->addr.family));
        cv_put_u16(w, one->addr.port);
    }
    return w->err;
}

void cv_get_candidates(struct cv_reader *r, struct cv_candidates *out,
                       unsigned max)
{
    const unsigned n = cv_get_u8(r);

    memset(out, 0, sizeof(*out));
    if (n > max || n > CV_CANDIDATES_MAX) {
        cv_reader_fail(r);
        return;
    }
    for (unsigned i = 0; i < n && r->err == CV_OK; i++) {
        struct cv_candidate c = {.type = cv_get_u8(r)};

        c.addr.family = c.type & TYPE_IPV6 ? CV_FAMILY_IPV6 : CV_FAMILY_IPV4;
        c.type &= (uint8_t)~TYPE_IPV6;
        c.pref = cv_get_u8(r);
        cv_get_raw(r, c.addr.ip, ip_len(c.addr.family));
        c.addr.port = cv_get_u16(r);
        if (r->err == CV_OK && sendable(&c))
            out->c[out->n++] = c;
    }
    if (r->err != CV_OK)
        out->n = 0;
}

size_t cv_gates_size(const struct cv_gate_refs *gates)
{
    size_t size = 1;

    for (unsigned i = 0; i < gates->n; i++)
        size += CV_KEY_LEN + 1 + 1 + ip_len(gates->g[i].addr.family) + 4;
    return size;
}

int cv_put_gates(struct cv_writer *w, const struct cv_gate_refs *gates)
{
    cv_put_u8(w, (uint8_t)gates->n);
    for (unsigned i = 0; i < gates->n; i++) {
        const struct cv_gate_ref *g = &gates->g[i];

        cv_put_raw(w, g->key.b, CV_KEY_LEN);
        cv_put_u8(w, g->transports);
        cv_put_u8(w, g->addr.family);
        cv_put_raw(w, g->addr.ip, ip_len(g->addr.family));
        cv_put_u16(w, g->udp);
        cv_put_u16(w, g->tcp);
    }
    return w->err;
}

void cv_get_gates(struct cv_reader *r, struct cv_gate_refs *out, unsigned max)
{
    const unsigned n = cv_get_u8(r);

    memset(out, 0, sizeof(*out));
    if (n > max || n > CV_GATE_REFS_MAX) {
        cv_reader_fail(r);
        return;
    }
    for (unsigned i = 0; i < n && r->err == CV_OK; i++) {
        struct cv_gate_ref *g = &out->g[i];

        cv_get_raw(r, g->key.b, CV_KEY_LEN);
        g->transports = cv_get_u8(r);
        g->addr.family = cv_get_u8(r);
        if (g->addr.family != CV_FAMILY_IPV4 &&
            g->addr.family != CV_FAMILY_IPV6) {
            cv_reader_fail(r);
            break;
        }
        cv_get_raw(r, g->addr.ip, ip_len(g->addr.family));
        g->udp = cv_get_u16(r);
        g->tcp = cv_get_u16(r);
    }
    out->n = r->err == CV_OK ? n : 0;
}

void cv_get_padding(struct cv_reader *r)
{
    const struct cv_bytes rest = cv_get_bytes(r, cv_reader_left(r));

    for (size_t i = 0; i < rest.len; i++) {
        if (rest.data[i] != 0) {
            cv_reader_fail(r);
            return;
        }
    }
}

int cv_get_signed_end(struct cv_reader *r, size_t len, size_t *signed_len)
{
    if (r->err != CV_OK)
        return CV_ERR_FORMAT;
    *signed_len = len - cv_reader_left(r);
    cv_get_bytes(r, CV_SIG_LEN);
    cv_get_padding(r);
    return cv_reader_end(r);
}
