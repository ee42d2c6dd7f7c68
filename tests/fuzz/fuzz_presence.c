/* A cursor state in JSON: no crash, and what was understood is understood the
 * same when we write it ourselves. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "session/presence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv_presence_state a, b;
    struct cv_writer w;

    if (cv_presence_decode(&a, (struct cv_bytes){data, size}) != CV_OK)
        return 0;
    if (strlen(a.name) >= sizeof(a.name) ||
        !cv_utf8_valid(a.name, strlen(a.name)))
        abort();
    if (!a.colour)
        a.colour = 1;
    cv_writer_init_heap(&w, 1u << 20);
    if (cv_presence_encode(&w, &a) != CV_OK)
        abort();
    /* Eight ranges with long names are more than a state may have. */
    if (w.len <= CV_PRESENCE_BYTES &&
        (cv_presence_decode(&b, cv_writer_bytes(&w)) != CV_OK ||
         memcmp(&a, &b, sizeof(a)) != 0))
        abort();
    cv_writer_fini(&w);
    return 0;
}
