/* Two pieces of any bytes merged without a document: (u16 length, update),
 * rest the other one. */
#include "crdt/doc.h"
#include "crdt/update.h"
#include <stdlib.h>
#include <string.h>

#define EXPECT(cond)                                                           \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv_bytes parts[2];
    struct cv_writer once, twice;
    struct cv_doc *doc;
    size_t len;
    bool valid;
    int err;

    if (size < 2)
        return 0;
    len = (size_t)data[0] << 8 | data[1];
    if (len > size - 2)
        len = size - 2;
    parts[0] = (struct cv_bytes){data + 2, len};
    parts[1] = (struct cv_bytes){data + 2 + len, size - 2 - len};
    valid = cv_update_validate(parts[0]) == CV_OK &&
            cv_update_validate(parts[1]) == CV_OK;
    cv_writer_init_heap(&once, (size_t)1 << 28);
    cv_writer_init_heap(&twice, (size_t)1 << 28);
    err = cv_update_merge(parts, 2, &once);
    EXPECT((err == CV_OK) == valid);
    if (err == CV_OK) {
        struct cv_bytes merged = cv_writer_bytes(&once);

        /* Merging again changes nothing. */
        EXPECT(cv_update_merge(&merged, 1, &twice) == CV_OK);
        EXPECT(once.len == twice.len &&
               memcmp(once.data, twice.data, once.len) == 0);
        EXPECT(cv_doc_new(&doc, 1, NULL) == CV_OK);
        err = cv_doc_apply(doc, merged, NULL, NULL, NULL);
        EXPECT(err == CV_OK || err == CV_ERR_LIMIT);
        cv_doc_free(doc);
    }
    cv_writer_fini(&once);
    cv_writer_fini(&twice);
    return 0;
}
