/* What answers on port 80 instead of whoever was meant: any bytes. */
#include "cli/portal.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char to[CV_PORTAL_HOST];
    enum cv_portal portal =
        cv_portal_judge(CV_BYTES(data, size), "stun.example", to);

    for (size_t i = 0; i < strlen(to); i++)
        if (to[i] <= ' ' || to[i] > '~')
            abort();
    if (portal == CV_PORTAL_NONE && size > 0 && to[0] != '\0')
        abort();
    return 0;
}
