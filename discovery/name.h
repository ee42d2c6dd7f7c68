/* discovery/name.h - names as strangers send them. */
#ifndef CV_DISCOVERY_NAME_H
#define CV_DISCOVERY_NAME_H
#include "discovery/rendezvous.h"

/* At most CV_NAME_MAX bytes of whole characters of `in`, without control
 * characters and those that turn the direction of the text around; empty if it
 * is not UTF-8.  The rest of `out` is zero. */
void cv_name_clean(char out[CV_NAME_MAX + 1], const char *in);
#endif
