/* What DHT nodes answer. */
#include "discovery/dhtwire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv_dhtwire_reply r;

    if (cv_dhtwire_reply(&r, data, size) != CV_OK)
        return 0;
    if (r.token_len > CV_DHTWIRE_TOKEN || r.n > CV_DHTWIRE_NODES ||
        r.n_values > CV_DHTWIRE_VALUES)
        abort();
    for (unsigned i = 0; i < r.n_values; i++)
        if (r.value[i].len > 0 &&
            (r.value[i].data < data ||
             r.value[i].data + r.value[i].len > data + size))
            abort();
    return 0;
}
