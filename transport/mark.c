#include "transport/mark.h"
#include "base/contact.h"

const char *cv_mark_name(enum cv_mark_kind kind)
{
    static const char *const name[] = {
        "gathered", "pointer",  "knock",   "knocked",   "answer",
        "check",    "heard",    "path",    "handshake", "confirmed",
        "member",   "switched", "carried", "failed",
    };

    return name[kind];
}

const char *cv_mark_nat(uint16_t nat)
{
    static const char *const mapping[] = {
        [CV_NAT_MAPPING_UNKNOWN] = "unknown",
        [CV_NAT_MAPPING_EIM] = "independent",
        [CV_NAT_MAPPING_SEQ] = "sequential",
        [CV_NAT_MAPPING_RANDOM] = "random",
    };

    return nat & CV_NAT_UDP_BLOCKED ? "blocked"
                                    : mapping[nat & CV_NAT_MAPPING_MASK];
}
