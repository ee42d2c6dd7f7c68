/* Addresses: as bytes from the network, and as text that somebody typed. */
#include "base/addr.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)                                                          \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

static void check_bytes(const uint8_t *data, size_t size)
{
    uint8_t buf[32];
    char text[CV_ADDR_TEXT];
    struct sockaddr_storage ss;
    struct cv_addr a, b;
    struct cv_reader r;
    struct cv_writer w;

    cv_reader_init(&r, data, size);
    a = cv_get_addr(&r);
    if (r.err != CV_OK) {
        REQUIRE(a.family == CV_FAMILY_NONE);
        return;
    }
    cv_writer_init(&w, buf, sizeof(buf));
    REQUIRE(cv_put_addr(&w, &a) == CV_OK);
    REQUIRE(w.len <= size && memcmp(buf, data, w.len) == 0);

    /* Text and socket addresses know IPv4-mapped ones only as IPv4. */
    REQUIRE(cv_addr_parse(&b, cv_addr_format(&a, text), 0) == CV_OK);
    if (a.family == b.family) {
        REQUIRE(memcmp(&a, &b, sizeof(a)) == 0);
        REQUIRE(cv_addr_to_sockaddr(&a, &ss) > 0);
        REQUIRE(cv_addr_from_sockaddr(&b, (struct sockaddr *)&ss) == CV_OK);
        REQUIRE(cv_addr_equal(&a, &b));
    } else {
        REQUIRE(cv_addr_kind(&a) == CV_ADDR_UNUSABLE);
    }
}

static void check_text(const char *text)
{
    char host[256], out[CV_ADDR_TEXT];
    struct cv_addr a, b;
    uint16_t port;

    if (cv_host_port_parse(text, 1, host, &port) == CV_OK)
        REQUIRE(host[0] != '\0' && strlen(host) <= 255);
    if (cv_addr_parse(&a, text, 7) != CV_OK)
        return;
    REQUIRE(cv_host_port_parse(text, 1, host, &port) == CV_OK);
    REQUIRE(cv_addr_parse(&b, cv_addr_format(&a, out), 0) == CV_OK);
    REQUIRE(memcmp(&a, &b, sizeof(a)) == 0);
    (void)cv_addr_kind(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    REQUIRE(text != NULL);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    check_bytes(data, size);
    check_text(text);
    free(text);
    return 0;
}
