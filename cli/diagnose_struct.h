/* cli/diagnose_struct.h - the chapters of a diagnosis:
 *
 *   diagnose.c      versions, clock, DHT, and their order
 *   diagnose_net.c  interfaces, NAT, UDP, TCP, IPv6, port mapping, portal
 *   diagnose_gate.c the gates that are configured
 *   diagnose_key.c  the way to one peer */
#ifndef CV_CLI_DIAGNOSE_STRUCT_H
#define CV_CLI_DIAGNOSE_STRUCT_H
#include "cli/diagnose.h"

void cv_diagnose_net(const struct cv_doctor_facts *f, struct cv_findings *out);
void cv_diagnose_key(const struct cv_doctor_facts *f, struct cv_findings *out);
void cv_diagnose_gates(const struct cv_doctor_facts *f,
                       struct cv_findings *out);
/* Does any STUN server answer over UDP? */
bool cv_facts_udp(const struct cv_doctor_facts *f);
#endif
