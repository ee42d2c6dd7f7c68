/* Any bytes as a control message: what is understood is written again, and
 * read back as the same. */
#include "session/control.h"
#include "session/link.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cv_control a, b;
    struct cv_writer first, second;
    struct cv_reader r;
    struct cv_bytes body;
    uint32_t id;

    (void)!cv_link_parse_opening(&id, (struct cv_bytes){data, size});
    if (cv_control_parse(&a, (struct cv_bytes){data, size}) != CV_OK ||
        a.type == CV_CONTROL_NONE)
        return 0;
    if (a.type == CV_CONTROL_HELLO && a.u.hello.version != CV_CONTROL_VERSION)
        return 0;
    cv_writer_init_heap(&first, CV_CONTROL_MAX + 8);
    cv_writer_init_heap(&second, CV_CONTROL_MAX + 8);
    if (cv_control_put(&first, &a) == CV_OK) {
        cv_reader_init(&r, first.data, first.len);
        body = cv_get_varbytes(&r, CV_CONTROL_MAX);
        if (cv_control_parse(&b, body) != CV_OK ||
            cv_control_put(&second, &b) != CV_OK || first.len != second.len ||
            memcmp(first.data, second.data, first.len) != 0)
            abort();
    }
    cv_writer_fini(&first);
    cv_writer_fini(&second);
    return 0;
}
