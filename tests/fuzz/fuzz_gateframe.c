/* The gate's frames and datagrams: what is read can be written, and is read
 * again as the same. */
#include "transport/gateframe.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void frames(const uint8_t *data, size_t size)
{
    while (size > 0) {
        uint8_t out[CV_GATE_FRAME_MAX + 2];
        struct cv_gate_frame f;
        struct cv_writer w;
        size_t used;
        int err = cv_gate_get(&f, data, size, &used);

        check(used <= size);
        if (err == CV_OK) {
            cv_writer_init(&w, out, sizeof out);
            check(cv_gate_put(&w, &f) == CV_OK);
            check(w.len == used && memcmp(out, data, used) == 0);
        }
        if (used == 0)
            return;
        data += used;
        size -= used;
    }
}

/* The MAC would stop the fuzzer: it is put right first. */
static void datagrams(const uint8_t *data, size_t size)
{
    static const uint8_t key[16] = {1, 2, 3};
    uint8_t buf[CV_GATE_FRAME_MAX], out[CV_GATE_FRAME_MAX + 64], full[32];
    struct cv_gate_ask ask;
    struct cv_gate_bind bind;
    struct cv_writer w;
    struct cv_bytes part;

    if (size == 0 || size > sizeof buf - CV_GATE_MAC)
        return;
    memcpy(buf, data, size);
    part = CV_BYTES(buf, size);
    cv_hmac_sha256(full, key, sizeof key, &part, 1);
    memcpy(buf + size, full, CV_GATE_MAC);
    size += CV_GATE_MAC;
    for (int answer = 0; answer < 2; answer++)
        if (cv_gate_ask_read(&ask, answer, buf, size, key) == CV_OK) {
            cv_writer_init(&w, out, sizeof out);
            check(cv_gate_ask_write(&w, answer, &ask, key) == CV_OK);
            check(w.len == size && memcmp(out, buf, size) == 0);
        }
    if (cv_gate_bound_read(&bind, buf, size, key) == CV_OK) {
        cv_writer_init(&w, out, sizeof out);
        check(cv_gate_bound_write(&w, &bind, key) == CV_OK);
        check(w.len == size);
    }
    (void)cv_gate_bind_read(&bind, data, size - CV_GATE_MAC, key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv_gate_name name;
    char text[512], why[300];

    frames(data, size);
    datagrams(data, size);
    if (size < sizeof text) {
        memcpy(text, data, size);
        text[size] = '\0';
        (void)cv_gate_name_parse(&name, text, why, sizeof why);
    }
    return 0;
}
