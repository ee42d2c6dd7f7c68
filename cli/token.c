#include "cli/token.h"

#include <stdio.h>
#include <string.h>

#include "discovery/pointer.h"
#include "discovery/token.h"

static void show_host(const struct cv_pointer *p, enum cv_role role,
                      const struct cv_key *session, uint64_t now)
{
    struct cv_keytext key = {.kind = CV_KEYTEXT_SESSION, .key = *session};
    char text[CV_KEYTEXT_MAX], fingerprint[CV_FINGERPRINT_TEXT];
    unsigned public = 0;

    for (unsigned i = 0; i < p->candidates.n; i++)
    public += cv_addr_kind(&p->candidates.c[i].addr) == CV_ADDR_GLOBAL;
    printf("a host's token: its guest gives it to \"covim join TOKEN FILE\" or "
           "\":CoVim connect TOKEN\"\n");
    printf("session: %s\n", cv_keytext_format(&key, text));
    printf("by: %s (%s)\n", cv_fingerprint(&p->cert.identity, fingerprint),
           cv_role_name(role));
    printf("good for: %u more minutes, once\n",
           p->not_after > now ? (unsigned)((p->not_after - now + 59) / 60) : 0);
    printf("addresses: %u, public: %u, gates: %u\n", p->candidates.n, public,
           p->gates.n);
}

static int check_host(const struct cv_token *t)
{
    uint64_t now = cv_unix_now() / 1000;
    struct cv_pointer_raw raw;
    struct cv_place place;
    struct cv_pointer p;
    struct cv_root root;
    enum cv_role role;
    uint8_t flags;
    int err;

    cv_root_of(&root, &t->session);
    cv_place_at(&place, &root, t->epoch);
    err = cv_pointer_open(&p, &raw, &place, CV_BYTES(t->value, t->len));
    if (err == CV_OK)
        err = cv_pointer_verify(&p, &raw, &place, &t->session, now, &role,
                                &flags);
    if (err == CV_OK)
        show_host(&p, role, &t->session, now);
    else if (err == CV_ERR_EXPIRED)
        fprintf(stderr, "covim: this token is over: it is good for 15 minutes "
                        "(or a clock is wrong); ask for a new one\n");
    else
        fprintf(stderr, "covim: this token is not genuine; ask for a new "
                        "one\n");
    cv_wipe(&root, sizeof(root));
    return err;
}

int cv_token_show(const struct cv_options *options)
{
    char typed[2 * CV_TOKEN_TEXT], why[256] = "";
    const char *text = options->argv[0];
    struct cv_token t;
    enum cv_token_kind kind;
    int err;

    if (strcmp(text, "-") == 0) {
        typed[fread(typed, 1, sizeof(typed) - 1, stdin)] = '\0';
        text = typed;
    }
    kind = cv_token_is(CV_TOKEN_GUEST, text) ? CV_TOKEN_GUEST : CV_TOKEN_HOST;
    if (cv_token_parse(&t, kind, text, why, sizeof(why)) != CV_OK) {
        fprintf(stderr, "covim: %s\n", why);
        return CV_EXIT_USAGE;
    }
    if (kind == CV_TOKEN_GUEST) {
        printf("a guest's token: the host that it answers gives it to \"add "
               "TOKEN\" or \":CoVim add TOKEN\"; only that host can read "
               "more\n");
        return CV_EXIT_OK;
    }
    err = check_host(&t);
    return err == CV_ERR_EXPIRED ? CV_EXIT_NOT_FOUND
           : err == CV_OK        ? CV_EXIT_OK
                                 : CV_EXIT_REFUSED;
}
