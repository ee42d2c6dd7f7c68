/* What stands between a client and its gate says: the answer to CONNECT, the
 * answer to the upgrade, and WebSocket messages; and https_proxy with no_proxy,
 * which is not from the network but as free in form.
 *
 * However the bytes are cut, the same comes out. */
#include "transport/gatews.h"
#include "transport/proxy.h"
#include <stdlib.h>
#include <string.h>

#define MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void answers(const uint8_t *data, size_t size)
{
    struct cv_http_answer whole, part;
    struct cv_proxy proxy = {.host = "proxy", .port = 1};
    char why[300];
    size_t used, part_used;
    int err = cv_http_answer_parse(&whole, data, size, &used);

    check(used <= size);
    if (err != CV_OK)
        return;
    check(whole.status >= 100 && whole.status <= 599);
    check(strlen(whole.reason) < CV_HTTP_REASON);
    /* What comes behind it changes nothing, and without its end it is none. */
    check(cv_http_answer_parse(&part, data, used, &part_used) == CV_OK);
    check(part_used == used && memcmp(&part, &whole, sizeof part) == 0);
    check(cv_http_answer_parse(&part, data, used - 1, &part_used) ==
          CV_ERR_AGAIN);
    (void)cv_gatews_accepted(&whole, "dGhlIHNhbXBsZSBub25jZQ==");
    cv_proxy_refusal(&proxy, &whole, why, sizeof why);
}

static void fill(void *user, void *out, size_t len)
{
    (void)user;
    memset(out, 0x5a, len);
}

/* Decode in pieces of `step`; returns how much it carried. */
static size_t decode(const uint8_t *data, size_t size, size_t step,
                     uint8_t *out, int *err)
{
    static const struct cv_rng rng = {fill, NULL};
    static uint8_t piece[MAX];
    struct cv_gatews *ws;
    size_t n_out = 0;

    check(cv_gatews_new(&ws, &rng) == CV_OK);
    *err = CV_OK;
    for (size_t at = 0; at < size && *err == CV_OK; at += step) {
        size_t n = size - at < step ? size - at : step, had = n;

        memcpy(piece, data + at, n);
        *err = cv_gatews_decode(ws, piece, &n);
        check(n <= had);
        check(cv_gatews_answers(ws).len <= CV_GATEWS_ANSWERS);
        memcpy(out + n_out, piece, n);
        n_out += n;
    }
    cv_gatews_free(ws);
    return n_out;
}

static void messages(const uint8_t *data, size_t size)
{
    static uint8_t whole[MAX], cut[MAX];
    size_t n, n_cut;
    int err, err_cut;

    if (size == 0 || size > MAX)
        return;
    n = decode(data, size, size, whole, &err);
    n_cut = decode(data, size, 1 + data[0] % 7, cut, &err_cut);
    if (err != CV_OK || err_cut != CV_OK)
        return;
    check(n == n_cut && memcmp(whole, cut, n) == 0);
}

/* URL NUL no_proxy NUL host */
static void proxies(const uint8_t *data, size_t size)
{
    char text[2048], why[300];
    const char *part[3];
    size_t at = 0;
    uint8_t out[2048];
    struct cv_proxy proxy;
    struct cv_writer w;

    if (size >= sizeof text - 2)
        return;
    memcpy(text, data, size);
    memset(text + size, 0, 3);
    for (unsigned i = 0; i < 3; i++) {
        part[i] = text + (at < size ? at : size);
        at += strlen(part[i]) + 1;
    }
    if (cv_proxy_parse(&proxy, part[0], part[1], why, sizeof why) != CV_OK)
        return;
    if (strlen(part[2]) < 256 && cv_proxy_used(&proxy, part[2], 443)) {
        cv_writer_init(&w, out, sizeof out);
        check(cv_proxy_request(&proxy, part[2], 443, &w) == CV_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    answers(data, size);
    messages(data, size);
    proxies(data, size);
    return 0;
}
