/* The vectors of docs/protocol.md, section 7, are what the code makes.
 * `unit_session_vectors print` prints them in the form of that document. */
#include "session/admission.h"
#include "session/link.h"

#include "tests/unit/vectors_kit.h"

static void count_up(void *user, void *out, size_t len)
{
    uint8_t *next = user, *p = out;

    for (size_t i = 0; i < len; i++)
        p[i] = (*next)++;
}

static void keypair(struct cv_keypair *out, uint8_t seed)
{
    uint8_t bytes[32];

    memset(bytes, seed, sizeof bytes);
    REQUIRE(cv_keypair_from_seed(out, bytes) == CV_OK);
}

#define NOW      UINT64_C(1749989400)
#define CERT_END UINT64_C(1750075800)
#define END      UINT64_C(1781525400)

static void vectors(void)
{
    struct cv_keypair session, host, host_node, guest, guest_node;
    uint8_t next = 0;
    struct cv_rng rng = {count_up, &next};
    struct cv_grants grants, none = {0};
    struct cv_admission_config c = {.rng = &rng};
    struct cv_admitting a;
    struct cv_writer w;
    struct cv_control msg = {.type = CV_CONTROL_PENDING};
    const uint8_t opening[] = {CV_LINK_DOCUMENT, 1};

    keypair(&session, 1);
    keypair(&host, 2);
    keypair(&host_node, 3);
    keypair(&guest, 4);
    keypair(&guest_node, 5);
    REQUIRE(cv_grants_issue(&grants, NULL, &session.pub, &session, &host.pub,
                            CV_ROLE_HOST, CV_GRANT_ADMIT, END, &rng) == CV_OK);
    c.session = session.pub;
    memset(c.exporter, 7, sizeof c.exporter);
    c.capabilities = CV_CONTROL_DOCUMENTS;
    c.wants = CV_ROLE_EDITOR;
    cv_writer_init_heap(&w, CV_CONTROL_MAX);

    c.identity = &host;
    c.grants = &grants;
    c.node = host_node.pub;
    c.peer = guest_node.pub;
    c.colour = 1;
    strcpy(c.name, "Ann");
    REQUIRE(cv_cert_make(&c.cert, &host, &c.node, CERT_END) == CV_OK);
    REQUIRE(cv_admission_init(&a, &c, CV_HOUR, &w) == CV_OK);
    vector("hello.host", w.data, w.len);

    cv_writer_reset(&w);
    c.identity = &guest;
    c.grants = &none;
    c.node = guest_node.pub;
    c.peer = host_node.pub;
    c.colour = 2;
    strcpy(c.name, "Bob");
    REQUIRE(cv_cert_make(&c.cert, &guest, &c.node, CERT_END) == CV_OK);
    REQUIRE(cv_admission_init(&a, &c, CV_HOUR, &w) == CV_OK);
    vector("hello.guest", w.data, w.len);

    cv_writer_reset(&w);
    msg.u.pending.expires_s = CV_ADMISSION_ASK_S;
    REQUIRE(cv_control_put(&w, &msg) == CV_OK);
    vector("pending", w.data, w.len);
    cv_writer_reset(&w);
    REQUIRE(cv_put_frame(&w, CV_BYTES(opening, 2)) == CV_OK);
    vector("opening", w.data, w.len);
    cv_writer_fini(&w);
}

TEST(the_document_has_the_vectors_that_the_code_makes)
{
    read_document();
    vectors();
    CHECK_EQ(checked, 4);
    CHECK_EQ(wrong, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(the_document_has_the_vectors_that_the_code_makes)};

    (void)argv;
    return compare_or_print(argc, vectors, tests);
}
