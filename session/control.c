#include "session/control.h"

#include <string.h>

const char *cv_refusal_name(uint64_t code)
{
    static const char *const name[] = {
        [CV_REFUSAL_NONE] = "none",
        [CV_REFUSAL_REPLACED] = "replaced",
        [CV_REFUSAL_VERSION] = "version",
        [CV_REFUSAL_AUTH] = "authentication",
        [CV_REFUSAL_GRANT] = "grant",
        [CV_REFUSAL_STRANGERS] = "strangers",
        [CV_REFUSAL_PERSON] = "person",
        [CV_REFUSAL_NO_HOST] = "no host",
        [CV_REFUSAL_TIMEOUT] = "timeout",
        [CV_REFUSAL_PROTOCOL] = "protocol",
        [CV_REFUSAL_FULL] = "full",
        [CV_REFUSAL_LEAVING] = "leaving",
        [CV_REFUSAL_INTERNAL] = "internal",
    };

    return code < sizeof name / sizeof name[0] ? name[code] : "unknown";
}

/* One character of valid UTF-8; its length in `n`. */
static uint32_t utf8_char(const uint8_t *p, size_t *n)
{
    if (p[0] < 0x80) {
        *n = 1;
        return p[0];
    }
    if (p[0] < 0xe0) {
        *n = 2;
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    }
    if (p[0] < 0xf0) {
        *n = 3;
        return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 |
               (p[2] & 0x3f);
    }
    *n = 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
           (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
}

/* Control characters, and those that turn or break lines (Unicode Cc, the
 * explicit directions of UAX 9, line and paragraph separators). */
static bool is_unprintable(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || c == 0x200e ||
           c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

void cv_text_clean(char *out, size_t cap, const void *text, size_t len)
{
    const uint8_t *p = text;
    size_t n, at = 0;

    out[0] = '\0';
    if (len == 0 || !cv_utf8_valid(text, len))
        return;
    for (size_t i = 0; i < len; i += n) {
        uint32_t c = utf8_char(p + i, &n);

        if (is_unprintable(c))
            continue;
        if (at + n >= cap)
            break;
        memcpy(out + at, p + i, n);
        at += n;
    }
    out[at] = '\0';
}

void cv_control_hide_session(struct cv_grants *g, const struct cv_key *session)
{
    if (g->n > 0 && cv_key_equal(&g->chain[0].issuer, session))
        memset(&g->chain[0].issuer, 0, sizeof g->chain[0].issuer);
}

void cv_control_show_session(struct cv_grants *g, const struct cv_key *session)
{
    static const struct cv_key hidden;

    if (g->n > 0 && cv_key_equal(&g->chain[0].issuer, &hidden))
        g->chain[0].issuer = *session;
}

void cv_session_proof(uint8_t out[CV_PROOF_LEN], const struct cv_key *session,
                      const uint8_t exporter[32], const struct cv_key *sender)
{
    const struct cv_bytes info = CV_LITERAL("hello proof");
    const struct cv_bytes parts[] = {CV_LITERAL("covim hello 1"),
                                     CV_BYTES(exporter, 32),
                                     CV_BYTES(sender->b, CV_KEY_LEN)};
    uint8_t key[32];

    cv_hkdf(key, sizeof key, CV_LITERAL("covim session 1"),
            CV_BYTES(session->b, CV_KEY_LEN), &info, 1);
    cv_hmac_sha256(out, key, sizeof key, parts, 3);
    cv_wipe(key, sizeof key);
}

bool cv_path_acceptable(const char *path)
{
    size_t len = strlen(path);
    const char *part = path;

    if (len == 0 || len >= CV_PATH_MAX_TEXT || !cv_utf8_valid(path, len))
        return false;
    for (size_t i = 0, n; i < len; i += n)
        if (is_unprintable(utf8_char((const uint8_t *)path + i, &n)) ||
            path[i] == '\\')
            return false;
    for (;;) {
        size_t n = strcspn(part, "/");

        if (n == 0 || (n == 1 && part[0] == '.') ||
            (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        if (part[n] == '\0')
            return true;
        part += n + 1;
    }
}

static bool is_word(const char *s, bool dash)
{
    for (; *s != '\0'; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') ||
              *s == '_' || *s == '.' || (dash && *s == '-')))
            return false;
    return true;
}

static bool meta_acceptable(const struct cv_document_meta *m)
{
    return cv_path_acceptable(m->path) && is_word(m->ft, false) &&
           is_word(m->fenc, true) &&
           (strcmp(m->ff, "unix") == 0 || strcmp(m->ff, "dos") == 0 ||
            strcmp(m->ff, "mac") == 0);
}

static int put_text(struct cv_writer *w, const char *text)
{
    return cv_put_varbytes(w, text, strlen(text));
}

/* Text that is taken as it is; fails when it does not fit or holds a NUL. */
static void get_text(struct cv_reader *r, char *out, size_t cap)
{
    struct cv_bytes b = cv_get_varstring(r, cap - 1);

    if (b.len > 0 && memchr(b.data, '\0', b.len) != NULL) {
        cv_reader_fail(r);
        b.len = 0;
    }
    if (b.len > 0)
        memcpy(out, b.data, b.len);
    out[b.len] = '\0';
}

/* Text for people. */
static void get_clean(struct cv_reader *r, char *out, size_t cap)
{
    struct cv_bytes b = cv_get_varstring(r, cap - 1);

    cv_text_clean(out, cap, b.data, b.len);
}

int cv_put_meta(struct cv_writer *w, const struct cv_document_meta *m)
{
    put_text(w, m->path);
    put_text(w, m->ft);
    put_text(w, m->ff);
    put_text(w, m->fenc);
    return cv_put_u8(w, m->bomb ? 1 : 0);
}

void cv_get_meta(struct cv_reader *r, struct cv_document_meta *out)
{
    memset(out, 0, sizeof *out);
    get_text(r, out->path, sizeof out->path);
    get_text(r, out->ft, sizeof out->ft);
    get_text(r, out->ff, sizeof out->ff);
    get_text(r, out->fenc, sizeof out->fenc);
    out->bomb = cv_get_u8(r) == 1;
    if (!meta_acceptable(out))
        cv_reader_fail(r);
}

static void put_hello(struct cv_writer *w, const struct cv_hello *h)
{
    cv_put_varuint(w, h->version);
    cv_put_varuint(w, h->capabilities);
    cv_put_raw(w, h->proof, CV_PROOF_LEN);
    cv_put_cert(w, &h->cert);
    cv_put_grants(w, &h->grants);
    cv_put_varbytes(w, h->invite.data, h->invite.len);
    put_text(w, h->name);
    cv_put_u8(w, h->colour);
    cv_put_u8(w, h->wants);
}

static void get_hello(struct cv_reader *r, struct cv_hello *h)
{
    h->version = cv_get_varuint(r);
    if (cv_reader_left(r) > 0 && h->version != CV_CONTROL_VERSION)
        return; /* the rest may look otherwise; the version is refused */
    h->capabilities = cv_get_varuint(r);
    cv_get_raw(r, h->proof, CV_PROOF_LEN);
    h->cert = cv_get_cert(r);
    h->grants = cv_get_grants(r);
    h->invite = cv_get_varbytes(r, CV_INVITE_PROOF_MAX);
    get_clean(r, h->name, sizeof h->name);
    h->colour = cv_get_u8(r);
    h->wants = cv_get_u8(r);
    if (h->colour < 1 || h->colour > CV_COLOURS)
        h->colour = 1;
    if (h->wants != CV_ROLE_VIEWER)
        h->wants = CV_ROLE_EDITOR;
}

static void get_members(struct cv_reader *r, struct cv_control *c)
{
    uint64_t n = cv_get_varuint(r);

    if (n > CV_CONTROL_MEMBERS) {
        cv_reader_fail(r);
        return;
    }
    c->u.members.n = (unsigned)n;
    for (unsigned i = 0; i < n; i++) {
        struct cv_control_member *m = &c->u.members.m[i];

        cv_get_raw(r, m->node.b, CV_KEY_LEN);
        cv_get_raw(r, m->identity.b, CV_KEY_LEN);
        m->role = cv_get_u8(r);
        m->admits = (cv_get_u8(r) & 1) != 0;
        get_clean(r, m->name, sizeof m->name);
        if (m->role < CV_ROLE_VIEWER || m->role > CV_ROLE_HOST)
            cv_reader_fail(r);
    }
}

static void get_files(struct cv_reader *r, struct cv_control *c)
{
    uint64_t n = cv_get_varuint(r), id;

    if (n > CV_CONTROL_FILES) {
        cv_reader_fail(r);
        return;
    }
    c->u.files.n = (unsigned)n;
    for (unsigned i = 0; i < n; i++) {
        id = cv_get_varuint(r);
        if (id == 0 || id > UINT32_MAX)
            cv_reader_fail(r);
        c->u.files.f[i].id = (uint32_t)id;
        cv_get_meta(r, &c->u.files.f[i].meta);
        if (r->err != CV_OK)
            return;
    }
}

int cv_control_parse(struct cv_control *out, struct cv_bytes message)
{
    struct cv_reader r;
    uint64_t type, seconds;

    memset(out, 0, sizeof *out);
    cv_reader_init(&r, message.data, message.len);
    type = cv_get_varuint(&r);
    switch (type) {
    case CV_CONTROL_HELLO:
        get_hello(&r, &out->u.hello);
        break;
    case CV_CONTROL_PENDING:
        seconds = cv_get_varuint(&r);
        out->u.pending.expires_s = seconds < 3600 ? (uint32_t)seconds : 3600;
        break;
    case CV_CONTROL_ASK:
    case CV_CONTROL_READY:
        break;
    case CV_CONTROL_GRANT:
        out->u.grant = cv_get_grants(&r);
        break;
    case CV_CONTROL_REFUSED:
        out->u.refused.code = cv_get_varuint(&r);
        get_clean(&r, out->u.refused.reason, sizeof out->u.refused.reason);
        get_clean(&r, out->u.refused.name, sizeof out->u.refused.name);
        break;
    case CV_CONTROL_MEMBER_LIST:
        get_members(&r, out);
        break;
    case CV_CONTROL_FILE_LIST:
        get_files(&r, out);
        break;
    case CV_CONTROL_BYE:
        get_clean(&r, out->u.bye.reason, sizeof out->u.bye.reason);
        break;
    case CV_CONTROL_NAME:
        get_clean(&r, out->u.name.name, sizeof out->u.name.name);
        break;
    default:
        return r.err;
    }
    if (r.err != CV_OK)
        return CV_ERR_FORMAT;
    out->type = (enum cv_control_type)type;
    return CV_OK;
}

static int put_body(struct cv_writer *w, const struct cv_control *c)
{
    cv_put_varuint(w, (uint64_t)c->type);
    switch (c->type) {
    case CV_CONTROL_NONE:
        return CV_ERR_INVALID;
    case CV_CONTROL_HELLO:
        put_hello(w, &c->u.hello);
        break;
    case CV_CONTROL_PENDING:
        cv_put_varuint(w, c->u.pending.expires_s);
        break;
    case CV_CONTROL_ASK:
    case CV_CONTROL_READY:
        break;
    case CV_CONTROL_GRANT:
        cv_put_grants(w, &c->u.grant);
        break;
    case CV_CONTROL_REFUSED:
        cv_put_varuint(w, c->u.refused.code);
        put_text(w, c->u.refused.reason);
        put_text(w, c->u.refused.name);
        break;
    case CV_CONTROL_MEMBER_LIST:
        cv_put_varuint(w, c->u.members.n);
        for (unsigned i = 0; i < c->u.members.n; i++) {
            const struct cv_control_member *m = &c->u.members.m[i];

            cv_put_raw(w, m->node.b, CV_KEY_LEN);
            cv_put_raw(w, m->identity.b, CV_KEY_LEN);
            cv_put_u8(w, m->role);
            cv_put_u8(w, m->admits ? 1 : 0);
            put_text(w, m->name);
        }
        break;
    case CV_CONTROL_FILE_LIST:
        cv_put_varuint(w, c->u.files.n);
        for (unsigned i = 0; i < c->u.files.n; i++) {
            cv_put_varuint(w, c->u.files.f[i].id);
            cv_put_meta(w, &c->u.files.f[i].meta);
        }
        break;
    case CV_CONTROL_BYE:
        put_text(w, c->u.bye.reason);
        break;
    case CV_CONTROL_NAME:
        put_text(w, c->u.name.name);
        break;
    }
    return w->err;
}

int cv_control_put(struct cv_writer *w, const struct cv_control *c)
{
    struct cv_writer body;
    int err;

    cv_writer_init_heap(&body, CV_CONTROL_MAX);
    err = put_body(&body, c);
    if (err == CV_OK)
        err = cv_put_varbytes(w, body.data, body.len);
    cv_writer_fini(&body);
    return err;
}
