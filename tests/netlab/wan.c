/* tests/netlab/wan.c - see wan.h. */
#include "tests/netlab/wan.h"
#include "base/err.h"
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TTL_FRESH 64
#define QUOTE_MAX 548 /* of the packet, in an ICMP error: RFC 1812, 4.3.2.3 */
#define ICMP_HEAD 8
#define IPV4_HEAD 20
#define IPV6_HEAD 40

struct prefix {
    struct cv_addr addr;
    unsigned bits;
};

struct port {
    char name[WAN_NAME]; /* "": free */
    struct prefix prefix[WAN_PREFIXES];
    unsigned n_prefixes;
};

struct wan_pair {
    struct cv_addr src, dst;
    char from[WAN_NAME], to[WAN_NAME]; /* to: "" if nobody has the address */
    uint64_t packets, bytes, udp, tcp; /* as they were sent */
    uint64_t delivered, lost, blocked, expired, spoofed, full;
};

struct event {
    cv_time at;
    uint64_t seq; /* of equals, the first goes first */
    struct wan_packet *packet;
};

struct block {
    char from[WAN_NAME], to[WAN_NAME]; /* "": anybody */
};

struct wan {
    struct wan_options options;
    uint64_t random, seq;
    struct port port[WAN_PORTS];
    struct block block[WAN_BLOCKS];
    unsigned n_blocks;
    struct wan_pair pair[WAN_PAIRS];
    unsigned n_pairs;
    uint16_t bucket[4 * WAN_PAIRS]; /* index + 1 of a pair, open addressing */
    struct event heap[WAN_QUEUE];
    unsigned n_events;
};

/* SplitMix64, of G. Steele and others. */
static uint64_t draw(struct wan *w)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double draw_share(struct wan *w)
{
    return (double)(draw(w) >> 11) / 9007199254740992.0;
}

static bool happens(struct wan *w, double share)
{
    return share > 0 && draw_share(w) < share;
}

struct wan *wan_new(uint64_t seed)
{
    struct wan *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return NULL;
    w->random = seed;
    w->options.hops = 10;
    w->options.time_exceeded = true;
    w->options.hold = 10 * CV_MILLISECOND;
    return w;
}

void wan_free(struct wan *w)
{
    if (w == NULL)
        return;
    for (unsigned i = 0; i < w->n_events; i++)
        free(w->heap[i].packet);
    free(w);
}

struct wan_options *wan_options(struct wan *w)
{
    return &w->options;
}

/* --- who is there --- */

int wan_find(const struct wan *w, const char *name)
{
    for (int i = 0; i < WAN_PORTS; i++)
        if (name[0] != '\0' && strcmp(w->port[i].name, name) == 0)
            return i;
    return CV_ERR_NOTFOUND;
}

int wan_attach(struct wan *w, const char *name)
{
    if (name[0] == '\0' || strlen(name) >= WAN_NAME)
        return CV_ERR_LIMIT;
    if (wan_find(w, name) >= 0)
        return CV_ERR_EXISTS;
    for (int i = 0; i < WAN_PORTS; i++)
        if (w->port[i].name[0] == '\0') {
            memset(&w->port[i], 0, sizeof(w->port[i]));
            snprintf(w->port[i].name, WAN_NAME, "%s", name);
            return i;
        }
    return CV_ERR_LIMIT;
}

void wan_detach(struct wan *w, unsigned port)
{
    w->port[port].name[0] = '\0';
    w->port[port].n_prefixes = 0;
    for (unsigned i = 0; i < w->n_events; i++)
        if (w->heap[i].packet->to == port)
            w->heap[i].packet->to = WAN_PORTS;
}

const char *wan_name(const struct wan *w, unsigned port)
{
    return w->port[port].name;
}

int wan_add_prefix(struct wan *w, unsigned port, const char *text)
{
    struct port *p = &w->port[port];
    struct prefix *prefix = &p->prefix[p->n_prefixes];
    char ip[CV_ADDR_TEXT];
    const char *slash = strchrnul(text, '/');
    size_t len = (size_t)(slash - text);

    if (p->n_prefixes == WAN_PREFIXES)
        return CV_ERR_LIMIT;
    if (len >= sizeof(ip))
        return CV_ERR_FORMAT;
    memcpy(ip, text, len);
    ip[len] = '\0';
    memset(prefix, 0, sizeof(*prefix));
    if (inet_pton(AF_INET, ip, prefix->addr.ip) == 1)
        prefix->addr.family = CV_FAMILY_IPV4;
    else if (inet_pton(AF_INET6, ip, prefix->addr.ip) == 1)
        prefix->addr.family = CV_FAMILY_IPV6;
    else
        return CV_ERR_FORMAT;
    prefix->bits = *slash == '/' ? (unsigned)strtoul(slash + 1, NULL, 10)
                   : prefix->addr.family == CV_FAMILY_IPV4 ? 32
                                                           : 128;
    p->n_prefixes++;
    return CV_OK;
}

static bool is_at(const struct port *p, const struct cv_addr *a, unsigned *bits)
{
    bool found = false;

    for (unsigned i = 0; i < p->n_prefixes; i++)
        if (p->prefix[i].bits >= *bits &&
            p->prefix[i].addr.family == a->family &&
            cv_addr_in_prefix(a, &p->prefix[i].addr, p->prefix[i].bits)) {
            *bits = p->prefix[i].bits;
            found = true;
        }
    return found;
}

/* The attachment with the longest prefix of the address, or -1. */
static int route(const struct wan *w, const struct cv_addr *a)
{
    unsigned bits = 0;
    int best = -1;

    for (int i = 0; i < WAN_PORTS; i++)
        if (w->port[i].name[0] != '\0' && is_at(&w->port[i], a, &bits))
            best = i;
    return best;
}

/* --- silence --- */

static bool names(const char *pattern, const char *name)
{
    return pattern[0] == '\0' || strcmp(pattern, name) == 0;
}

static bool is_blocked(const struct wan *w, const char *from, const char *to)
{
    for (unsigned i = 0; i < w->n_blocks; i++)
        if (names(w->block[i].from, from) && names(w->block[i].to, to))
            return true;
    return false;
}

int wan_block(struct wan *w, const char *from, const char *to)
{
    struct block *b = &w->block[w->n_blocks];

    if (w->n_blocks == WAN_BLOCKS)
        return CV_ERR_LIMIT;
    snprintf(b->from, sizeof(b->from), "%s", from == NULL ? "" : from);
    snprintf(b->to, sizeof(b->to), "%s", to == NULL ? "" : to);
    w->n_blocks++;
    return CV_OK;
}

void wan_restore(struct wan *w, const char *from, const char *to)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < w->n_blocks; i++)
        if (!names(from == NULL ? "" : from, w->block[i].from) ||
            !names(to == NULL ? "" : to, w->block[i].to))
            w->block[kept++] = w->block[i];
    w->n_blocks = kept;
}

/* --- counting --- */

static uint64_t hash(const struct cv_addr *a, uint64_t h)
{
    for (unsigned i = 0; i < 16; i++)
        h = (h ^ a->ip[i]) * 0x100000001b3u;
    return h;
}

/* The counters of two addresses; NULL when there is no room for more. */
static struct wan_pair *pair_of(struct wan *w, const struct cv_addr *src,
                                const struct cv_addr *dst)
{
    const unsigned mask = 4 * WAN_PAIRS - 1;
    unsigned at = (unsigned)(hash(dst, hash(src, 0xcbf29ce484222325u)) >> 20);
    struct wan_pair *p;

    for (; w->bucket[at & mask] != 0; at++) {
        p = &w->pair[w->bucket[at & mask] - 1];
        if (cv_addr_same_ip(&p->src, src) && cv_addr_same_ip(&p->dst, dst))
            return p;
    }
    if (w->n_pairs == WAN_PAIRS)
        return NULL;
    p = &w->pair[w->n_pairs++];
    w->bucket[at & mask] = (uint16_t)w->n_pairs;
    memset(p, 0, sizeof(*p));
    p->src = *src;
    p->dst = *dst;
    return p;
}

void wan_count_reset(struct wan *w)
{
    memset(w->bucket, 0, sizeof(w->bucket));
    w->n_pairs = 0;
    for (unsigned i = 0; i < w->n_events; i++)
        w->heap[i].packet->pair = NULL;
}

static void count_pair(const struct wan_pair *p, FILE *out)
{
    char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
    int family = p->src.family == CV_FAMILY_IPV4 ? AF_INET : AF_INET6;

    inet_ntop(family, p->src.ip, src, sizeof(src));
    inet_ntop(family, p->dst.ip, dst, sizeof(dst));
    fprintf(out, "{\"from\":\"%s\",\"src\":\"%s\",\"to\":", p->from, src);
    fprintf(out, p->to[0] == '\0' ? "null" : "\"%s\"", p->to);
    fprintf(out,
            ",\"dst\":\"%s\",\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64
            ",\"udp\":%" PRIu64 ",\"tcp\":%" PRIu64 ",\"delivered\":%" PRIu64
            ",\"lost\":%" PRIu64 ",\"blocked\":%" PRIu64 ",\"expired\":%" PRIu64
            ",\"spoofed\":%" PRIu64 ",\"full\":%" PRIu64 "}",
            dst, p->packets, p->bytes, p->udp, p->tcp, p->delivered, p->lost,
            p->blocked, p->expired, p->spoofed, p->full);
}

void wan_count(const struct wan *w, FILE *out)
{
    fputc('[', out);
    for (unsigned i = 0; i < w->n_pairs; i++) {
        if (i > 0)
            fputs(",\n ", out);
        count_pair(&w->pair[i], out);
    }
    fputs("]\n", out);
}

/* --- the queue: a binary heap --- */

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void swap(struct event *a, struct event *b)
{
    struct event t = *a;

    *a = *b;
    *b = t;
}

static void sift_up(struct event *heap, unsigned at)
{
    for (; at > 0 && earlier(&heap[at], &heap[(at - 1) / 2]); at = (at - 1) / 2)
        swap(&heap[at], &heap[(at - 1) / 2]);
}

static void sift_down(struct event *heap, unsigned n)
{
    for (unsigned at = 0, child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && earlier(&heap[child + 1], &heap[child]))
            child++;
        if (!earlier(&heap[child], &heap[at]))
            return;
        swap(&heap[at], &heap[child]);
    }
}

static void push(struct wan *w, unsigned to, struct wan_pair *pair,
                 const uint8_t *data, size_t len, cv_time at)
{
    struct wan_packet *p;

    if (w->n_events == WAN_QUEUE || (p = malloc(sizeof(*p) + len)) == NULL) {
        if (pair != NULL)
            pair->full++;
        return;
    }
    p->to = to;
    p->pair = pair;
    p->len = len;
    memcpy(p->data, data, len);
    w->heap[w->n_events++] = (struct event){at, w->seq++, p};
    sift_up(w->heap, w->n_events - 1);
}

cv_time wan_deadline(const struct wan *w)
{
    return w->n_events == 0 ? CV_NEVER : w->heap[0].at;
}

struct wan_packet *wan_output(struct wan *w, cv_time now)
{
    struct wan_packet *p;

    if (w->n_events == 0 || w->heap[0].at > now)
        return NULL;
    p = w->heap[0].packet;
    w->heap[0] = w->heap[--w->n_events];
    sift_down(w->heap, w->n_events);
    if (p->pair != NULL)
        p->pair->delivered++;
    return p;
}

/* --- IP --- */

struct packet {
    uint8_t *data;
    size_t len;
    struct cv_addr src, dst;
    uint8_t *ttl, proto;
    size_t head;
};

static bool parse(struct packet *p, uint8_t *data, size_t len)
{
    memset(p, 0, sizeof(*p));
    p->data = data;
    p->len = len;
    if (len >= IPV4_HEAD && data[0] >> 4 == 4) {
        p->src.family = p->dst.family = CV_FAMILY_IPV4;
        memcpy(p->src.ip, data + 12, 4);
        memcpy(p->dst.ip, data + 16, 4);
        p->ttl = data + 8;
        p->proto = data[9];
        p->head = (size_t)(data[0] & 15) * 4;
    } else if (len >= IPV6_HEAD && data[0] >> 4 == 6) {
        p->src.family = p->dst.family = CV_FAMILY_IPV6;
        memcpy(p->src.ip, data + 8, 16);
        memcpy(p->dst.ip, data + 24, 16);
        p->ttl = data + 7;
        p->proto = data[6];
        p->head = IPV6_HEAD;
    }
    return p->ttl != NULL && p->head <= len;
}

static uint32_t sum(const uint8_t *data, size_t len, uint32_t start)
{
    for (size_t i = 0; i + 1 < len; i += 2)
        start += (uint32_t)data[i] << 8 | data[i + 1];
    return len % 2 != 0 ? start + ((uint32_t)data[len - 1] << 8) : start;
}

/* RFC 1071. */
static void put_checksum(uint8_t *at, uint32_t total)
{
    while (total >> 16 != 0)
        total = (total & 0xffff) + (total >> 16);
    total = ~total;
    at[0] = (uint8_t)(total >> 8);
    at[1] = (uint8_t)total;
}

static void set_ttl(struct packet *p, unsigned ttl)
{
    *p->ttl = (uint8_t)ttl;
    if (p->src.family == CV_FAMILY_IPV4) {
        p->data[10] = p->data[11] = 0;
        put_checksum(p->data + 10, sum(p->data, p->head, 0));
    }
}

static bool is_icmp_error(const struct packet *p)
{
    if (p->proto == IPPROTO_ICMP)
        return p->len <= p->head || p->data[p->head] == 3 ||
               p->data[p->head] == 11 || p->data[p->head] == 12;
    return p->proto == IPPROTO_ICMPV6 &&
           (p->len <= p->head || p->data[p->head] < 128);
}

/* From router `hop` to the sender of `p`: RFC 792 and RFC 4443, 3.3. */
static size_t time_exceeded(uint8_t *out, const struct packet *p, unsigned hop)
{
    bool v4 = p->src.family == CV_FAMILY_IPV4;
    size_t head = v4 ? IPV4_HEAD : IPV6_HEAD, ip = v4 ? 4 : 16;
    size_t quoted = p->len < QUOTE_MAX ? p->len : QUOTE_MAX;
    size_t body = ICMP_HEAD + quoted, len = head + body;
    uint8_t *src = out + (v4 ? 12 : 8), *icmp = out + head;

    memset(out, 0, head + ICMP_HEAD);
    memcpy(src, v4 ? "\x14\xff\xff" : "\x2a\x0c\xff\xff", v4 ? 3 : 4);
    src[ip - 1] = (uint8_t)hop;
    memcpy(src + ip, p->src.ip, ip);
    memcpy(icmp + ICMP_HEAD, p->data, quoted);
    if (v4) {
        out[0] = 0x45;
        out[2] = (uint8_t)(len >> 8);
        out[3] = (uint8_t)len;
        out[8] = (uint8_t)(TTL_FRESH - hop);
        out[9] = IPPROTO_ICMP;
        put_checksum(out + 10, sum(out, head, 0));
        icmp[0] = 11;
        put_checksum(icmp + 2, sum(icmp, body, 0));
    } else {
        out[0] = 0x60;
        out[4] = (uint8_t)(body >> 8);
        out[5] = (uint8_t)body;
        out[6] = IPPROTO_ICMPV6;
        out[7] = (uint8_t)(TTL_FRESH - hop);
        icmp[0] = 3;
        put_checksum(
            icmp + 2,
            sum(src, 32, sum(icmp, body, (uint32_t)body + IPPROTO_ICMPV6)));
    }
    return len;
}

static void expire(struct wan *w, unsigned port, const struct packet *p,
                   cv_time now)
{
    uint8_t answer[IPV6_HEAD + ICMP_HEAD + QUOTE_MAX];
    unsigned hop = *p->ttl == 0 ? 1 : *p->ttl;

    if (!w->options.time_exceeded || is_icmp_error(p))
        return;
    push(w, port, NULL, answer, time_exceeded(answer, p, hop),
         now + 2 * w->options.delay * (cv_time)hop /
                   (cv_time)(w->options.hops + 1));
}

static void send_on(struct wan *w, struct wan_pair *pair,
                    const struct packet *p, unsigned to, cv_time now)
{
    const struct wan_options *o = &w->options;
    unsigned copies = happens(w, o->dup) ? 2 : 1;

    for (unsigned i = 0; i < copies; i++) {
        cv_time at = now + o->delay;

        if (o->jitter > 0)
            at += (cv_time)(draw_share(w) * (double)o->jitter);
        if (happens(w, o->reorder))
            at += o->hold;
        push(w, to, pair, p->data, p->len, at);
    }
}

void wan_input(struct wan *w, unsigned port, uint8_t *data, size_t len,
               cv_time now)
{
    struct packet p;
    struct wan_pair *pair;
    unsigned bits = 0;
    int to;

    if (!parse(&p, data, len) ||
        p.dst.ip[0] == (p.dst.family == CV_FAMILY_IPV4 ? 224 : 0xff))
        return; /* nobody routes multicast */
    if ((pair = pair_of(w, &p.src, &p.dst)) == NULL)
        return;
    to = route(w, &p.dst);
    snprintf(pair->from, sizeof(pair->from), "%s", w->port[port].name);
    snprintf(pair->to, sizeof(pair->to), "%s", to < 0 ? "" : w->port[to].name);
    pair->packets++;
    pair->bytes += len;
    pair->udp += p.proto == IPPROTO_UDP;
    pair->tcp += p.proto == IPPROTO_TCP;
    if (!is_at(&w->port[port], &p.src, &bits)) {
        pair->spoofed++;
    } else if (*p.ttl <= w->options.hops) {
        pair->expired++;
        expire(w, port, &p, now);
    } else if (is_blocked(w, pair->from, pair->to)) {
        pair->blocked++;
    } else if (happens(w, w->options.loss)) {
        pair->lost++;
    } else if (to >= 0) {
        set_ttl(&p, *p.ttl - w->options.hops);
        send_on(w, pair, &p, (unsigned)to, now);
    }
}
