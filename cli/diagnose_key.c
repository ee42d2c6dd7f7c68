#include "cli/diagnose_struct.h"

#include "transport/pathset.h"

static int ms(cv_time t)
{
    return (int)(t / CV_MILLISECOND);
}

static const char *nat_words(uint16_t nat)
{
    if (nat & CV_NAT_UDP_BLOCKED)
        return "behind a network that blocks UDP";
    switch (nat & CV_NAT_MAPPING_MASK) {
    case CV_NAT_MAPPING_EIM:
        return "whose NAT, if any, keeps one port for all destinations";
    case CV_NAT_MAPPING_SEQ:
        return "behind a NAT with the next port for each destination";
    case CV_NAT_MAPPING_RANDOM:
        return "behind a NAT with a random port for each destination";
    default:
        return "behind a NAT of unknown kind";
    }
}

/* A stage that was not reached: the ones after it are not told. */
static bool stopped(struct cv_findings *out, const char *name, const char *seen,
                    const char *todo)
{
    struct cv_finding *line =
        cv_finding_add(out, name, CV_FINDING_PROBLEM, "%s", seen);

    cv_finding_todo(line, "%s", todo);
    return true;
}

static bool pointer(const struct cv_doctor_key *k, struct cv_findings *out)
{
    const struct cv_mark *m = &k->mark[CV_MARK_POINTER];

    if (!k->has[CV_MARK_POINTER])
        return stopped(out, "pointer", "nobody's record was found",
                       "is the other side still sharing, and is this the "
                       "newest key? are both clocks right, and both DHTs "
                       "connected?");
    cv_finding_add(out, "pointer", CV_FINDING_OK,
                   "found after %d ms: %u address%s, %s",
                   ms(k->at[CV_MARK_POINTER]), m->n, m->n == 1 ? "" : "es",
                   nat_words(m->nat));
    return false;
}

static bool knock(const struct cv_doctor_key *k, struct cv_findings *out)
{
    if (!k->has[CV_MARK_KNOCK])
        return stopped(out, "knock",
                       "was not sent: nobody there may let "
                       "newcomers in",
                       "wait for a host, or ask for an invite");
    if (!k->has[CV_MARK_ANSWER] && !k->has[CV_MARK_HEARD])
        return stopped(out, "knock", "sent, no answer yet",
                       "their editor may have been killed a moment ago (a "
                       "record lives up to 15 minutes), or a full DHT loses "
                       "the knock: try again");
    cv_finding_add(
        out, "knock", CV_FINDING_OK,
        "sent after %d ms, %s after "
        "%d ms",
        ms(k->at[CV_MARK_KNOCK]),
        k->has[CV_MARK_ANSWER] ? "answered" : "acted on",
        ms(k->at[k->has[CV_MARK_ANSWER] ? CV_MARK_ANSWER : CV_MARK_HEARD]));
    return false;
}

static bool path(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    const struct cv_doctor_key *k = &f->key;
    const struct cv_mark *m = &k->mark[CV_MARK_PATH];
    char text[CV_ADDR_TEXT] = "";

    if (!k->has[CV_MARK_PATH])
        return stopped(out, "path",
                       k->failure[0] != '\0' ? k->failure
                       : k->has[CV_MARK_HEARD]
                           ? "none yet, though their packets arrive here"
                           : "none yet: nothing of theirs arrives here",
                       "see \"nat\" above, and \"covim doctor\" over there");
    if (f->addresses)
        cv_addr_format(&m->addr, text);
    cv_finding_add(out, "path", CV_FINDING_OK,
                   "proved after %d ms: %s%s%s, %d ms there and back",
                   ms(k->at[CV_MARK_PATH]), cv_path_kind_name(m->path),
                   text[0] != '\0' ? " " : "", text, ms(m->rtt));
    return false;
}

static bool key_proved(const struct cv_doctor_key *k, struct cv_findings *out)
{
    struct cv_finding *line;

    if (!k->has[CV_MARK_CONFIRMED])
        return stopped(out, "handshake",
                       k->failure[0] != '\0' ? k->failure : "not done in time",
                       "large packets may be dropped on the way (MTU), or "
                       "the other side ended");
    line = cv_finding_add(out, "handshake", CV_FINDING_OK,
                          "their key is proved after %d ms, with %u packets",
                          ms(k->at[CV_MARK_CONFIRMED]),
                          k->mark[CV_MARK_CONFIRMED].n);
    cv_finding_means(line, "a session would connect; who shares it has to let "
                           "you in");
    return false;
}

void cv_diagnose_key(const struct cv_doctor_facts *f, struct cv_findings *out)
{
    const struct cv_doctor_key *k = &f->key;
    struct cv_finding *line;

    if (k->err == CV_ERR_BUSY) {
        line = cv_finding_add(out, "key", CV_FINDING_NOTE,
                              "this session is open here already");
        cv_finding_todo(line, ":CoVim peers and :CoVim status show how it is "
                              "connected");
        return;
    }
    if (k->err != CV_OK) {
        cv_finding_add(out, "key", CV_FINDING_PROBLEM, "%s",
                       k->failure[0] != '\0' ? k->failure
                                             : cv_strerror(k->err));
        return;
    }
    cv_finding_add(out, "key", CV_FINDING_OK, "is well-formed");
    (void)(pointer(k, out) || knock(k, out) || path(f, out) ||
           key_proved(k, out));
}
