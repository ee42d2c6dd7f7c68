/* The bounded reader, driven by a program in the input, against the plain
 * arithmetic of how much may be left; and writing back what was read.
 *
 *     u8 number of steps | a u8 for each step | the bytes to read */
#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)                                                          \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

static void check_varuint(struct cv_reader *r)
{
    const uint8_t *before = r->at;
    uint64_t v = cv_get_varuint(r);
    uint8_t buf[16];
    struct cv_writer w;
    struct cv_reader again;

    if (r->err != CV_OK) {
        REQUIRE(v == 0);
        return;
    }
    REQUIRE(v <= CV_VARUINT_MAX && r->at - before <= 8);
    cv_writer_init(&w, buf, sizeof(buf));
    REQUIRE(cv_put_varuint(&w, v) == CV_OK);
    REQUIRE(w.len <= (size_t)(r->at - before)); /* the shortest form */
    cv_reader_init(&again, buf, w.len);
    REQUIRE(cv_get_varuint(&again) == v && cv_reader_end(&again) == CV_OK);
}

static void check_varint(struct cv_reader *r)
{
    const uint8_t *before = r->at;
    int64_t v = cv_get_varint(r);
    uint8_t buf[16];
    struct cv_writer w;
    struct cv_reader again;

    if (r->err != CV_OK) {
        REQUIRE(v == 0);
        return;
    }
    REQUIRE(llabs(v) <= (int64_t)CV_VARUINT_MAX && r->at - before <= 8);
    cv_writer_init(&w, buf, sizeof(buf));
    REQUIRE(cv_put_varint(&w, v) == CV_OK);
    cv_reader_init(&again, buf, w.len);
    REQUIRE(cv_get_varint(&again) == v && cv_reader_end(&again) == CV_OK);
}

static void step(struct cv_reader *r, struct cv_writer *w, uint8_t op)
{
    size_t n = op >> 3;
    uint8_t raw[32];
    struct cv_bytes b;

    switch (op & 7) {
    case 0:
        cv_put_u8(w, cv_get_u8(r));
        break;
    case 1:
        cv_put_u16(w, cv_get_u16(r));
        break;
    case 2:
        cv_put_u64(w, cv_get_u64(r));
        break;
    case 3:
        check_varuint(r);
        break;
    case 4:
        check_varint(r);
        break;
    case 5:
        cv_get_raw(r, raw, n);
        cv_put_raw(w, raw, n);
        break;
    case 6:
        b = cv_get_varbytes(r, n * n);
        REQUIRE(b.len <= n * n);
        cv_put_varbytes(w, b.data, b.len);
        break;
    case 7:
        b = cv_get_varstring(r, n * n);
        REQUIRE(b.len <= n * n && cv_utf8_valid(b.data, b.len));
        cv_put_raw(w, b.data, b.len);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cv_reader r;
    struct cv_writer w;
    size_t steps;

    if (size < 1 || size < 1u + data[0])
        return 0;
    steps = data[0];
    cv_reader_init(&r, data + 1 + steps, size - 1 - steps);
    cv_writer_init_heap(&w, 1024);
    for (size_t i = 0; i < steps; i++) {
        size_t left = cv_reader_left(&r), len = w.len;
        int r_err = r.err, w_err = w.err;

        step(&r, &w, data[1 + i]);
        REQUIRE(cv_reader_left(&r) <= left);
        REQUIRE(r.at <= r.end && w.len <= 1024);
        REQUIRE(r_err == CV_OK || (r.err == r_err && r.at == r.end));
        REQUIRE(w_err == CV_OK || (w.err == w_err && w.len == len));
    }
    cv_writer_fini(&w);
    return 0;
}
