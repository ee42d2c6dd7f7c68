/* Any bytes as awareness updates: pieces of (u8 length, update). */
#include "crdt/awareness.h"
#include <stdlib.h>

#define EXPECT(cond)                                                           \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

static size_t present;

static void on_event(void *user, enum cv_awareness_event event, uint64_t client,
                     struct cv_bytes state)
{
    (void)user;
    (void)client;
    present += event == CV_AWARENESS_ADDED;
    present -= event == CV_AWARENESS_REMOVED;
    EXPECT((event == CV_AWARENESS_REMOVED) == (state.len == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv_awareness_limits limits = {4, 64, 200};
    struct cv_awareness *aw;
    struct cv_writer news;
    cv_time now = 0;

    EXPECT(cv_awareness_new(&aw, 5, &limits) == CV_OK);
    EXPECT(cv_awareness_set(aw, (struct cv_bytes){(const uint8_t *)"{}", 2},
                            now) == CV_OK);
    present = 1;
    cv_writer_init_heap(&news, 1 << 20);
    while (size > 0) {
        size_t len = *data++;
        int err;

        size--;
        if (len > size)
            len = size;
        cv_writer_reset(&news);
        err = cv_awareness_apply(aw, (struct cv_bytes){data, len}, now,
                                 on_event, NULL, &news);
        EXPECT(err == CV_OK || err == CV_ERR_FORMAT || err == CV_ERR_LIMIT);
        EXPECT(cv_awareness_clients(aw, NULL, 0) == present);
        if (news.len > 0) {
            struct cv_awareness *other;

            EXPECT(cv_awareness_new(&other, 6, NULL) == CV_OK);
            EXPECT(cv_awareness_apply(other, cv_writer_bytes(&news), now, NULL,
                                      NULL, NULL) == CV_OK);
            cv_awareness_free(other);
        }
        now += 7 * CV_SECOND;
        cv_writer_reset(&news);
        EXPECT(cv_awareness_step(aw, now, on_event, NULL, &news) == CV_OK);
        EXPECT(cv_awareness_clients(aw, NULL, 0) == present);
        data += len;
        size -= len;
    }
    cv_writer_fini(&news);
    cv_awareness_free(aw);
    return 0;
}
