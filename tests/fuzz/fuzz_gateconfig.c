/* The configuration of covim-gate, as a file. */
#include "gate/config.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv_gate_config c;
    char why[512] = "", copy[8192];
    FILE *f;
    int err;

    if (size == 0 || size > sizeof copy)
        return 0;
    memcpy(copy, data, size);
    memset(&c, 0, sizeof c);
    c.limits = cv_gate_limits_default();
    f = fmemopen(copy, size, "r");
    if (!f)
        return 0;
    err = cv_gate_config_lines(&c, f, "fuzz", why, sizeof why);
    fclose(f);
    if (err == CV_OK)
        err = cv_gate_config_finish(&c, why, sizeof why);
    /* Whatever is refused says why, and what is taken has bounds. */
    if ((err != CV_OK) != (why[0] != '\0') || c.n_listen > CV_GATE_BINDS ||
        c.n_identities > CV_GATE_IDENTITIES || c.limits.rate == 0)
        abort();
    cv_gate_config_fini(&c);
    return 0;
}
