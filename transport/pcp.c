/* PCP, both ways (RFC 6887, 7.1, 7.2, 11.1):
 *
 *   request  u8 2 | u8 opcode | u16 0 | u32 lifetime | client[16]
 *   answer   u8 2 | u8 0x80 + opcode | u8 0 | u8 result | u32 lifetime
 *            | u32 epoch | zeros[12]
 *   MAP      nonce[12] | u8 protocol | zeros[3] | u16 internal port
 *            | u16 external port | external[16]
 *   Options follow, in units of four bytes; ours has none, theirs are skipped.
 *
 * NAT-PMP (RFC 6886, 3.2, 3.3):
 *
 *   request  u8 0 | u8 0                      the address
 *            u8 0 | u8 1 UDP or 2 TCP | u16 0 | u16 internal | u16 external
 *            | u32 lifetime
 *   answer   u8 0 | u8 0x80 + opcode | u16 result | u32 epoch | ip[4]
 *            u8 0 | u8 0x80 + opcode | u16 result | u32 epoch
 *            | u16 internal | u16 external | u32 lifetime */
#include "transport/pcp.h"

#include <string.h>

#define VERSION_PCP    2
#define VERSION_NATPMP 0
#define IS_ANSWER      0x80u
#define OP_ANNOUNCE    0
#define OP_MAP         1
#define OP_ADDRESS     0
#define OP_UDP         1
#define OP_TCP         2
#define PCP_HEADER     24u
#define PCP_MAP        36u

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0,   0,
                                          0, 0, 0, 0, 255, 255};

/* IPv4 as ::ffff:a.b.c.d; family NONE as ::ffff:0.0.0.0, "any". */
static void put_ip(struct cv_writer *w, const struct cv_addr *a)
{
    uint8_t ip[16] = {0};

    memcpy(ip, mapped_prefix, sizeof mapped_prefix);
    if (a->family == CV_FAMILY_IPV4)
        memcpy(ip + 12, a->ip, 4);
    cv_put_raw(w, ip, sizeof ip);
}

static struct cv_addr get_ip(struct cv_reader *r, uint16_t port)
{
    struct cv_addr a = {.family = CV_FAMILY_IPV6, .port = port};
    uint8_t ip[16];

    cv_get_raw(r, ip, sizeof ip);
    if (memcmp(ip, mapped_prefix, sizeof mapped_prefix) == 0) {
        a.family = CV_FAMILY_IPV4;
        memcpy(a.ip, ip + 12, 4);
    } else {
        memcpy(a.ip, ip, sizeof ip);
    }
    return a;
}

int cv_pcp_put_map(struct cv_writer *w, const struct cv_pcp_request *r,
                   const struct cv_addr *client)
{
    const struct cv_addr none = {0};
    const struct cv_addr *external = r->lifetime > 0 ? &r->external : &none;

    cv_put_u8(w, VERSION_PCP);
    cv_put_u8(w, OP_MAP);
    cv_put_u16(w, 0);
    cv_put_u32(w, r->lifetime);
    put_ip(w, client);
    cv_put_raw(w, r->nonce, sizeof r->nonce);
    cv_put_u8(w, (uint8_t)r->proto);
    cv_put_zeros(w, 3);
    cv_put_u16(w, r->internal);
    cv_put_u16(w, external->port);
    put_ip(w, external);
    return w->err;
}

int cv_natpmp_put_address(struct cv_writer *w)
{
    cv_put_u8(w, VERSION_NATPMP);
    cv_put_u8(w, OP_ADDRESS);
    return w->err;
}

int cv_natpmp_put_map(struct cv_writer *w, const struct cv_pcp_request *r)
{
    cv_put_u8(w, VERSION_NATPMP);
    cv_put_u8(w, r->proto == CV_PCP_UDP ? OP_UDP : OP_TCP);
    cv_put_u16(w, 0);
    cv_put_u16(w, r->internal);
    cv_put_u16(w, r->lifetime > 0 ? r->external.port : 0);
    cv_put_u32(w, r->lifetime);
    return w->err;
}

static int parse_pcp(struct cv_pcp_answer *a, uint8_t opcode,
                     struct cv_reader *r, size_t len)
{
    uint16_t port;

    if (len < PCP_HEADER || len > CV_PCP_MAX || len % 4 != 0)
        return CV_ERR_FORMAT;
    (void)cv_get_u8(r);
    a->result = cv_get_u8(r);
    a->lifetime = cv_get_u32(r);
    a->epoch = cv_get_u32(r);
    (void)cv_get_bytes(r, 12);
    a->kind = opcode == OP_ANNOUNCE ? CV_PCP_ANNOUNCE : CV_PCP_OTHER;
    if (opcode != OP_MAP)
        return CV_OK;
    if (len < PCP_HEADER + PCP_MAP)
        /* Without a body nothing says which request it is about. */
        return a->result == CV_PCP_SUCCESS ? CV_ERR_FORMAT : CV_OK;
    a->kind = CV_PCP_MAP;
    cv_get_raw(r, a->nonce, sizeof a->nonce);
    a->proto = cv_get_u8(r);
    (void)cv_get_bytes(r, 3);
    a->internal = cv_get_u16(r);
    port = cv_get_u16(r);
    a->external = get_ip(r, port);
    return r->err;
}

static int parse_natpmp(struct cv_pcp_answer *a, uint8_t opcode,
                        struct cv_reader *r, size_t len)
{
    if (len < 8)
        return CV_ERR_FORMAT;
    a->result = cv_get_u16(r);
    a->epoch = cv_get_u32(r);
    a->kind = CV_PCP_OTHER;
    if (opcode == OP_ADDRESS && len >= 12) {
        a->kind = CV_PCP_NATPMP_ADDRESS;
        a->external.family = CV_FAMILY_IPV4;
        cv_get_raw(r, a->external.ip, 4);
        return r->err;
    }
    if ((opcode == OP_UDP || opcode == OP_TCP) && len >= 16) {
        a->kind = CV_PCP_NATPMP_MAP;
        a->proto = opcode == OP_UDP ? CV_PCP_UDP : CV_PCP_TCP;
        a->internal = cv_get_u16(r);
        a->external.port = cv_get_u16(r);
        a->lifetime = cv_get_u32(r);
        return r->err;
    }
    return a->result == CV_PCP_SUCCESS ? CV_ERR_FORMAT : CV_OK;
}

int cv_pcp_parse(struct cv_pcp_answer *out, struct cv_bytes data)
{
    struct cv_reader r;
    uint8_t opcode;

    memset(out, 0, sizeof *out);
    cv_reader_init(&r, data.data, data.len);
    out->version = cv_get_u8(&r);
    opcode = cv_get_u8(&r);
    if (r.err != CV_OK || !(opcode & IS_ANSWER))
        return CV_ERR_FORMAT;
    opcode &= (uint8_t)~IS_ANSWER;
    if (out->version == VERSION_PCP)
        return parse_pcp(out, opcode, &r, data.len);
    if (out->version == VERSION_NATPMP)
        return parse_natpmp(out, opcode, &r, data.len);
    return CV_ERR_FORMAT;
}

const char *cv_pcp_result_text(uint8_t version, uint16_t result)
{
    static const char *const pcp[] = {
        "success",
        "it speaks another version",
        "it does not allow mappings",
        "it found the request malformed",
        "it does not know mappings",
        "it wants an option that we do not know",
        "it found an option malformed",
        "it has no public address itself, or no network",
        "it has no room for more mappings",
        "it does not map this protocol",
        "we have too many mappings",
        "it cannot give that address",
        "there is another NAT between us and it",
        "it has too many remote peers",
    };
    static const char *const natpmp[] = {
        "success",
        "it speaks another version",
        "it does not allow mappings",
        "it has no public address itself, or no network",
        "it has no room for more mappings",
        "it does not know mappings",
    };

    if (version == VERSION_PCP && result < sizeof pcp / sizeof pcp[0])
        return pcp[result];
    if (version == VERSION_NATPMP && result < sizeof natpmp / sizeof natpmp[0])
        return natpmp[result];
    return "it gave a reason that we do not know";
}
