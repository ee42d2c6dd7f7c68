/* transport/gateframe_impl.h - shared by gateframe.c and gateproof.c. */
#ifndef CV_TRANSPORT_GATEFRAME_IMPL_H
#define CV_TRANSPORT_GATEFRAME_IMPL_H
#include "transport/gateframe.h"

/* Without length and type. */
CV_MUST_USE int cv_gate_put_body(struct cv_writer *w,
                                 const struct cv_gate_frame *f);
/* Without the signature. */
void cv_gate_put_welcome_body(struct cv_writer *w,
                              const struct cv_gate_welcome *m);
/* Type and body, without the length. */
CV_MUST_USE int cv_gate_get_body(struct cv_gate_frame *out,
                                 struct cv_bytes frame);
#endif
