/* Any bytes as a sync message, a state vector and a relative position, to a
 * document that has some text. */
#include "crdt/relpos.h"
#include "crdt/sync.h"
#include "crdt/update.h"
#include <stdlib.h>

#define EXPECT(cond)                                                           \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

static struct cv_doc *sample(void)
{
    static const char text[] = "one \xF0\x9F\x98\x80 two\n\xC3\xA9nd";
    struct cv_doc *doc;

    EXPECT(cv_doc_new(&doc, 1, NULL) == CV_OK);
    EXPECT(cv_doc_begin(doc) == CV_OK);
    EXPECT(cv_doc_insert(doc, 0, text, sizeof(text) - 1) == CV_OK);
    EXPECT(cv_doc_delete(doc, 0, 2) == CV_OK);
    EXPECT(cv_doc_insert(doc, 2, "!", 1) == CV_OK);
    EXPECT(cv_doc_commit(doc, NULL) == CV_OK);
    return doc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv_bytes bytes = {data, size};
    struct cv_doc *doc = sample();
    struct cv_writer out, reply;
    struct cv_relpos pos;
    size_t at;
    int err;

    cv_writer_init_heap(&out, (size_t)1 << 28);
    cv_writer_init_heap(&reply, (size_t)1 << 28);
    err = cv_doc_encode(doc, bytes, &out);
    EXPECT(err == CV_OK || err == CV_ERR_FORMAT);
    if (err == CV_OK)
        EXPECT(cv_update_validate(cv_writer_bytes(&out)) == CV_OK);
    (void)cv_doc_covered_by(doc, bytes);

    err = cv_relpos_decode(&pos, bytes);
    EXPECT(err == CV_OK || err == CV_ERR_FORMAT || err == CV_ERR_LIMIT);
    if (err == CV_OK) {
        struct cv_relpos again;

        if (cv_relpos_to_offset(doc, &pos, &at) == CV_OK)
            EXPECT(at <= cv_doc_text_bytes(doc));
        cv_writer_reset(&out);
        EXPECT(cv_put_relpos(&out, &pos) == CV_OK);
        EXPECT(cv_relpos_decode(&again, cv_writer_bytes(&out)) == CV_OK);
    }

    cv_writer_reset(&out);
    err = cv_sync_handle(doc, bytes, NULL, &reply, &out, NULL);
    EXPECT(err == CV_OK || err == CV_ERR_FORMAT || err == CV_ERR_LIMIT);
    if (err == CV_OK && reply.len > 0) {
        struct cv_sync_message m;

        EXPECT(cv_sync_parse(&m, cv_writer_bytes(&reply)) == CV_OK);
        EXPECT(m.kind == CV_SYNC_STEP2);
        EXPECT(cv_update_validate(m.payload) == CV_OK);
    }
    cv_writer_fini(&out);
    cv_writer_fini(&reply);
    cv_doc_free(doc);
    return 0;
}
