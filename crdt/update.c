#include "crdt/update.h"

#include "crdt/codec.h"
#include "crdt/store.h"
#include <stdlib.h>

#define NESTING_MAX 64

/* One struct, less what was cut off at its front. */
struct part {
    struct cv_wire s;
    bool half;     /* begins with U+FFFD */
    uint64_t seen; /* order of arrival */
};

struct merge {
    CV_VEC(struct part) parts;
    CV_VEC(struct cv_range) ranges;
};

int cv_update_validate(struct cv_bytes update)
{
    struct cv_update_reader u;
    struct cv_wire s;
    struct cv_range r;

    cv_update_open(&u, update, NESTING_MAX);
    while (cv_update_struct(&u, &s))
        continue;
    while (cv_update_range(&u, &r))
        continue;
    return cv_update_close(&u);
}

int cv_update_clients(struct cv_bytes update,
                      void (*fn)(void *user, uint64_t client, uint64_t clock,
                                 uint64_t end),
                      void *user)
{
    struct cv_update_reader u;
    struct cv_wire s;
    uint64_t client = 0, clock = 0, end = 0;
    int err = cv_update_validate(update);

    if (err != CV_OK)
        return err;
    cv_update_open(&u, update, NESTING_MAX);
    while (cv_update_struct(&u, &s)) {
        if (s.kind == CV_KIND_SKIP)
            continue;
        if (s.client != client || s.clock != end) {
            if (end > clock)
                fn(user, client, clock, end);
            client = s.client;
            clock = s.clock;
        }
        end = s.clock + s.len;
    }
    if (end > clock)
        fn(user, client, clock, end);
    return CV_OK;
}

static int collect(struct merge *m, struct cv_bytes update)
{
    struct cv_update_reader u;
    struct cv_wire s;
    struct cv_range r;

    cv_update_open(&u, update, NESTING_MAX);
    while (cv_update_struct(&u, &s)) {
        if (s.kind == CV_KIND_SKIP)
            continue;
        if (!cv_vec_reserve(&m->parts, 1))
            return CV_ERR_NOMEM;
        m->parts.at[m->parts.n] = (struct part){s, false, m->parts.n};
        m->parts.n++;
    }
    while (cv_update_range(&u, &r)) {
        if (!cv_vec_reserve(&m->ranges, 1))
            return CV_ERR_NOMEM;
        m->ranges.at[m->ranges.n++] = r;
    }
    return cv_update_close(&u);
}

static int by_clock(const void *a, const void *b)
{
    const struct part *x = a, *y = b;

    if (x->s.client != y->s.client)
        return x->s.client < y->s.client ? 1 : -1;
    if (x->s.clock != y->s.clock)
        return x->s.clock < y->s.clock ? -1 : 1;
    return x->seen < y->seen ? -1 : x->seen > y->seen ? 1 : 0;
}

static int by_range(const void *a, const void *b)
{
    const struct cv_range *x = a, *y = b;

    if (x->client != y->client)
        return x->client < y->client ? 1 : -1;
    return x->clock < y->clock ? -1 : x->clock > y->clock ? 1 : 0;
}

/* Drop what is covered, cut what overlaps; sorted before and after. */
static void remove_overlaps(struct merge *m)
{
    struct part *p = m->parts.at;
    uint32_t kept = 0;
    uint64_t end = 0;

    for (uint32_t i = 0; i < m->parts.n; i++) {
        if (kept == 0 || p[i].s.client != p[kept - 1].s.client)
            end = 0;
        if (p[i].s.clock + p[i].s.len <= end)
            continue;
        p[kept] = p[i];
        if (p[kept].s.clock < end)
            cv_wire_cut(&p[kept].s, end - p[kept].s.clock, &p[kept].half);
        end = p[kept].s.clock + p[kept].s.len;
        kept++;
    }
    m->parts.n = kept;
}

static void put_blocks(const struct merge *m, struct cv_writer *out)
{
    const struct part *p = m->parts.at;
    uint32_t n = m->parts.n, blocks = 0, end;

    for (uint32_t i = 0; i < n; i++)
        blocks += i == 0 || p[i].s.client != p[i - 1].s.client;
    cv_put_varuint(out, blocks);
    for (uint32_t i = 0; i < n; i = end) {
        uint64_t structs = 1, clock = p[i].s.clock;

        for (end = i + 1; end < n && p[end].s.client == p[i].s.client; end++)
            structs +=
                p[end].s.clock == p[end - 1].s.clock + p[end - 1].s.len ? 1 : 2;
        cv_put_varuint(out, structs);
        cv_put_varuint(out, p[i].s.client);
        cv_put_varuint(out, clock);
        for (uint32_t k = i; k < end; k++) {
            if (p[k].s.clock > clock) {
                cv_put_u8(out, CV_KIND_SKIP);
                cv_put_varuint(out, p[k].s.clock - clock);
            }
            cv_wire_put(out, &p[k].s, p[k].half);
            clock = p[k].s.clock + p[k].s.len;
        }
    }
}

static void join_ranges(struct merge *m)
{
    struct cv_range *r = m->ranges.at;
    uint32_t kept = 0;

    for (uint32_t i = 1; i < m->ranges.n; i++) {
        uint64_t end = r[kept].clock + r[kept].len;

        if (r[i].client != r[kept].client || r[i].clock > end)
            r[++kept] = r[i];
        else if (r[i].clock + r[i].len > end)
            r[kept].len = r[i].clock + r[i].len - r[kept].clock;
    }
    if (m->ranges.n > 0)
        m->ranges.n = kept + 1;
}

static void put_ranges(const struct merge *m, struct cv_writer *out)
{
    const struct cv_range *r = m->ranges.at;
    uint32_t n = m->ranges.n, clients = 0, end;

    for (uint32_t i = 0; i < n; i++)
        clients += i == 0 || r[i].client != r[i - 1].client;
    cv_put_varuint(out, clients);
    for (uint32_t i = 0; i < n; i = end) {
        for (end = i + 1; end < n && r[end].client == r[i].client;)
            end++;
        cv_put_varuint(out, r[i].client);
        cv_put_varuint(out, end - i);
        for (uint32_t k = i; k < end; k++) {
            cv_put_varuint(out, r[k].clock);
            cv_put_varuint(out, r[k].len);
        }
    }
}

int cv_update_merge(const struct cv_bytes *updates, size_t n,
                    struct cv_writer *out)
{
    struct merge m = {0};
    int err = CV_OK;

    for (size_t i = 0; i < n && err == CV_OK; i++)
        err = collect(&m, updates[i]);
    if (err == CV_OK) {
        if (m.parts.n > 1)
            qsort(m.parts.at, m.parts.n, sizeof(*m.parts.at), by_clock);
        remove_overlaps(&m);
        put_blocks(&m, out);
        if (m.ranges.n > 1)
            qsort(m.ranges.at, m.ranges.n, sizeof(*m.ranges.at), by_range);
        join_ranges(&m);
        put_ranges(&m, out);
        err = out->err;
    }
    free(m.parts.at);
    free(m.ranges.at);
    return err;
}
