/* discovery/record.h - what pointers, knocks and answers have in common: the
 * lists of candidates and gates, and the flags. */
#ifndef CV_DISCOVERY_RECORD_H
#define CV_DISCOVERY_RECORD_H
#include "base/contact.h"
#include "base/key.h"

/* u16 flags of a record.  The low five bits are CV_NAT_* of base/contact.h;
 * what a reader does not know it ignores. */
#define CV_RECORD_NAT_MASK  0x801fu
#define CV_RECORD_GATE_ONLY 0x0020u /* addresses are never given */
#define CV_RECORD_FULL      0x0040u /* takes no more peers */
#define CV_RECORD_ADMITS    0x0080u /* may let newcomers in */
#define CV_RECORD_GONE      0x0100u /* withdrawn: the node has left */
#define CV_RECORD_PUBLIC    0x0200u /* S is public, knocks need work */
#define CV_RECORD_POW_SHIFT 10      /* five bits: leading zero bits asked */
#define CV_RECORD_POW_MASK  0x7c00u

/* Bytes of a candidate in a record: u8 type | u8 pref | 4 or 16 | u16 port,
 * where type is enum cv_candidate_type, plus 0x10 for IPv6. */
size_t cv_candidate_size(const struct cv_candidate *c);

/* Copy what can be sent: at most `max`, most preferred first (equals keep
 * their order), without unusable addresses and those without a port. */
void cv_candidates_sorted(struct cv_candidates *out,
                          const struct cv_candidates *in, unsigned max);

/* u8 n | n * candidate. */
int cv_put_candidates(struct cv_writer *w, const struct cv_candidates *c);
/* Skips types it does not know and addresses that nobody can be at; fails
 * above `max`.  Does not set `nat`. */
void cv_get_candidates(struct cv_reader *r, struct cv_candidates *out,
                       unsigned max);

/* u8 n | n * { key[32] | u8 transports | u8 family | 4 or 16 | u16 udp |
 *              u16 tcp } */
size_t cv_gates_size(const struct cv_gate_refs *gates);
int cv_put_gates(struct cv_writer *w, const struct cv_gate_refs *gates);
void cv_get_gates(struct cv_reader *r, struct cv_gate_refs *out, unsigned max);

/* All that is left is zero?  Fails the reader if not. */
void cv_get_padding(struct cv_reader *r);
/* What ends a signed record of `len` bytes: a signature and zeros.  Says how
 * many bytes are signed.  CV_ERR_FORMAT: it does not end so. */
CV_MUST_USE int cv_get_signed_end(struct cv_reader *r, size_t len,
                                  size_t *signed_len);
#endif
