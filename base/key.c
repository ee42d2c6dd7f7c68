#include "base/key.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"

/* ---- Ed25519 ---- */

static int err_from_gnutls(int rc)
{
    if (rc >= 0)
        return CV_OK;
    return rc == GNUTLS_E_MEMORY_ERROR ? CV_ERR_NOMEM : CV_ERR_INTERNAL;
}

/* GnuTLS takes one piece of memory.  Wipe and free it with free_message(). */
static int join_parts(gnutls_datum_t *out, const struct cv_bytes *parts,
                      size_t n)
{
    size_t len = 0;
    uint8_t *at;

    for (size_t i = 0; i < n; i++) {
        if (parts[i].len > UINT_MAX - len)
            return CV_ERR_LIMIT;
        len += parts[i].len;
    }
    at = malloc(len ? len : 1);
    if (!at)
        return CV_ERR_NOMEM;
    *out = (gnutls_datum_t){at, (unsigned)len};
    for (size_t i = 0; i < n; i++)
        if (parts[i].len) {
            memcpy(at, parts[i].data, parts[i].len);
            at += parts[i].len;
        }
    return CV_OK;
}

static void free_message(gnutls_datum_t *message)
{
    cv_wipe(message->data, message->size);
    free(message->data);
}

/* A seed as RFC 8410 wraps it (PKCS #8), the one form GnuTLS 3.7 imports
 * without the public key. */
static int import_seed(gnutls_privkey_t *out, const uint8_t seed[CV_KEY_LEN])
{
    static const uint8_t prefix[16] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30,
                                       0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
                                       0x04, 0x22, 0x04, 0x20};
    uint8_t der[sizeof(prefix) + CV_KEY_LEN];
    const gnutls_datum_t datum = {der, sizeof(der)};
    gnutls_x509_privkey_t x509 = NULL;
    gnutls_privkey_t key = NULL;
    int rc;

    memcpy(der, prefix, sizeof(prefix));
    memcpy(der + sizeof(prefix), seed, CV_KEY_LEN);
    rc = gnutls_x509_privkey_init(&x509);
    if (rc >= 0)
        rc = gnutls_x509_privkey_import_pkcs8(x509, &datum, GNUTLS_X509_FMT_DER,
                                              NULL, GNUTLS_PKCS_PLAIN);
    if (rc >= 0)
        rc = gnutls_privkey_init(&key);
    if (rc >= 0)
        rc = gnutls_privkey_import_x509(key, x509, GNUTLS_PRIVKEY_IMPORT_COPY);
    gnutls_x509_privkey_deinit(x509);
    cv_wipe(der, sizeof(der));
    if (rc < 0) {
        if (key)
            gnutls_privkey_deinit(key);
        return err_from_gnutls(rc);
    }
    *out = key;
    return CV_OK;
}

int cv_keypair_from_seed(struct cv_keypair *out, const uint8_t seed[CV_KEY_LEN])
{
    gnutls_datum_t x = {NULL, 0}, k = {NULL, 0};
    gnutls_privkey_t key = NULL;
    gnutls_ecc_curve_t curve;
    int err, rc;

    err = import_seed(&key, seed);
    if (err != CV_OK)
        return err;
    rc = gnutls_privkey_export_ecc_raw(key, &curve, &x, NULL, &k);
    gnutls_privkey_deinit(key);
    err = err_from_gnutls(rc);
    if (err == CV_OK &&
        (curve != GNUTLS_ECC_CURVE_ED25519 || x.size != CV_KEY_LEN))
        err = CV_ERR_INTERNAL;
    if (err == CV_OK) {
        memmove(out->seed, seed, CV_KEY_LEN);
        memcpy(out->pub.b, x.data, CV_KEY_LEN);
    }
    if (k.data)
        cv_wipe(k.data, k.size);
    gnutls_free(k.data);
    gnutls_free(x.data);
    return err;
}

int cv_keypair_generate(struct cv_keypair *out, const struct cv_rng *rng)
{
    uint8_t seed[CV_KEY_LEN];
    int err;

    cv_random(rng, seed, sizeof(seed));
    err = cv_keypair_from_seed(out, seed);
    cv_wipe(seed, sizeof(seed));
    return err;
}

int cv_sign(uint8_t sig[CV_SIG_LEN], const struct cv_keypair *key,
            const struct cv_bytes *parts, size_t n)
{
    gnutls_datum_t message, out = {NULL, 0};
    gnutls_privkey_t priv;
    int err, rc;

    err = import_seed(&priv, key->seed);
    if (err != CV_OK)
        return err;
    err = join_parts(&message, parts, n);
    if (err != CV_OK) {
        gnutls_privkey_deinit(priv);
        return err;
    }
    rc = gnutls_privkey_sign_data2(priv, GNUTLS_SIGN_EDDSA_ED25519, 0, &message,
                                   &out);
    err = err_from_gnutls(rc);
    if (err == CV_OK && out.size != CV_SIG_LEN)
        err = CV_ERR_INTERNAL;
    if (err == CV_OK)
        memcpy(sig, out.data, CV_SIG_LEN);
    gnutls_free(out.data);
    free_message(&message);
    gnutls_privkey_deinit(priv);
    return err;
}

int cv_verify(const struct cv_key *key, const uint8_t sig[CV_SIG_LEN],
              const struct cv_bytes *parts, size_t n)
{
    uint8_t x[CV_KEY_LEN], s[CV_SIG_LEN];
    const gnutls_datum_t x_datum = {x, sizeof(x)}, s_datum = {s, sizeof(s)};
    gnutls_datum_t message;
    gnutls_pubkey_t pub;
    int err, rc;

    memcpy(x, key->b, sizeof(x));
    memcpy(s, sig, sizeof(s));
    err = join_parts(&message, parts, n);
    if (err != CV_OK)
        return err;
    rc = gnutls_pubkey_init(&pub);
    if (rc < 0) {
        free_message(&message);
        return err_from_gnutls(rc);
    }
    rc = gnutls_pubkey_import_ecc_raw(pub, GNUTLS_ECC_CURVE_ED25519, &x_datum,
                                      NULL);
    if (rc >= 0)
        rc = gnutls_pubkey_verify_data2(pub, GNUTLS_SIGN_EDDSA_ED25519, 0,
                                        &message, &s_datum);
    gnutls_pubkey_deinit(pub);
    free_message(&message);
    if (rc == GNUTLS_E_MEMORY_ERROR)
        return CV_ERR_NOMEM;
    return rc < 0 ? CV_ERR_AUTH : CV_OK;
}

bool cv_key_equal(const struct cv_key *a, const struct cv_key *b)
{
    return memcmp(a->b, b->b, CV_KEY_LEN) == 0;
}

int cv_key_compare(const struct cv_key *a, const struct cv_key *b)
{
    return memcmp(a->b, b->b, CV_KEY_LEN);
}

char *cv_key_short(const struct cv_key *key, char out[9])
{
    cv_hex(out, key->b, 4);
    return out;
}

/* ---- folders ---- */

int cv_data_dir(char *out, size_t len)
{
    const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n;

    /* The base directory specification: what is not absolute is ignored. */
    if (xdg && xdg[0] == '/')
        n = snprintf(out, len, "%s/covim", xdg);
    else if (home && home[0] == '/')
        n = snprintf(out, len, "%s/.local/share/covim", home);
    else
        return CV_ERR_NOTFOUND;
    return n > 0 && (size_t)n < len ? CV_OK : CV_ERR_NOBUF;
}

/* CV_OK only if the folder is ours alone. */
static int check_private_dir(const char *path, struct stat *st)
{
    if (stat(path, st) < 0)
        return cv_err_from_errno(errno);
    if (!S_ISDIR(st->st_mode))
        return CV_ERR_IO;
    if (st->st_uid != geteuid() || (st->st_mode & 077) != 0)
        return CV_ERR_PERM;
    return CV_OK;
}

static int make_dirs(char *path)
{
    for (char *slash = path; slash; *slash = '/') {
        int rc;

        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        rc = mkdir(path, 0700);
        if (rc < 0 && errno != EEXIST) {
            int err = cv_err_from_errno(errno);
            struct stat st;

            /* A parent that we may not write to, but that is there. */
            if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
                return err;
        }
        if (!slash)
            break;
    }
    return CV_OK;
}

int cv_private_dir(const char *path)
{
    struct stat st;
    char *copy;
    int err;

    if (path[0] == '\0')
        return CV_ERR_INVALID;
    copy = strdup(path);
    if (!copy)
        return CV_ERR_NOMEM;
    err = make_dirs(copy);
    free(copy);
    return err != CV_OK ? err : check_private_dir(path, &st);
}

/* ---- the identity file ----
 *
 *     covim-identity 1 <64 hex digits of the seed>\n */

#define IDENTITY_PREFIX     "covim-identity 1 "
#define IDENTITY_PREFIX_LEN (sizeof(IDENTITY_PREFIX) - 1)
#define IDENTITY_LEN        (IDENTITY_PREFIX_LEN + 2 * (size_t)CV_KEY_LEN + 1)

#define PATH_BYTES   4096
#define QUOTED_BYTES (PATH_BYTES + 64)

struct why {
    char *text;
    size_t len;
};

/* `path` as a person can paste it into a shell. */
static const char *quoted(const char *path, char out[QUOTED_BYTES])
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789/._-+,@%:=";
    size_t n = 0;

    if (path[strspn(path, plain)] == '\0' && path[0] != '-')
        return path;
    out[n++] = '\'';
    for (; *path && n < QUOTED_BYTES - 8; path++)
        if (*path == '\'') {
            memcpy(out + n, "'\\''", 4);
            n += 4;
        } else {
            out[n++] = *path;
        }
    out[n++] = '\'';
    out[n] = '\0';
    return out;
}

__attribute__((format(printf, 3, 4))) static int
explain(const struct why *why, int err, const char *format, ...)
{
    va_list args;

    if (why->len == 0)
        return err;
    va_start(args, format);
    if (vsnprintf(why->text, why->len, format, args) < 0)
        why->text[0] = '\0';
    va_end(args);
    return err;
}

static int explain_errno(const struct why *why, const char *verb,
                         const char *path)
{
    int e = errno, err = cv_err_from_errno(e);

    return explain(why,
                   err == CV_ERR_PERM || err == CV_ERR_NOMEM ? err : CV_ERR_IO,
                   "cannot %s %s: %s", verb, path, strerror(e));
}

/* Is it ours alone?  `mode` is the one to ask for: 0600 or 0700. */
static int check_owner(const struct why *why, const char *path,
                       const struct stat *st, unsigned mode)
{
    char q[QUOTED_BYTES];

    if (st->st_uid != geteuid())
        return explain(why, CV_ERR_PERM,
                       "%s belongs to another user; run: sudo chown %u %s",
                       path, (unsigned)geteuid(), quoted(path, q));
    if ((st->st_mode & 077) != 0)
        return explain(why, CV_ERR_PERM,
                       "%s is open to other users (mode %04o); run: "
                       "chmod %o %s",
                       path, (unsigned)st->st_mode & 07777, mode,
                       quoted(path, q));
    return CV_OK;
}

static int parse_identity(struct cv_keypair *out, char *text, size_t len)
{
    uint8_t seed[CV_KEY_LEN];
    int err;

    if (len == IDENTITY_LEN && text[len - 1] == '\n')
        len--; /* an editor may have dropped it */
    if (len != IDENTITY_LEN - 1 ||
        memcmp(text, IDENTITY_PREFIX, IDENTITY_PREFIX_LEN) != 0)
        return CV_ERR_FORMAT;
    text[len] = '\0';
    err = cv_unhex(seed, sizeof(seed), text + IDENTITY_PREFIX_LEN);
    if (err == CV_OK)
        err = cv_keypair_from_seed(out, seed);
    cv_wipe(seed, sizeof(seed));
    return err;
}

/* CV_ERR_NOTFOUND, without a sentence, if there is no file. */
static int read_identity(struct cv_keypair *out, const char *path,
                         const struct why *why)
{
    char text[IDENTITY_LEN + 2], q[QUOTED_BYTES];
    struct stat st;
    size_t len = 0;
    ssize_t n = 0;
    int err, fd;

    /* O_NONBLOCK: a FIFO in its place must not stop us here. */
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return CV_ERR_NOTFOUND;
    if (fd < 0 && errno == ELOOP)
        return explain(why, CV_ERR_PERM,
                       "%s is a symbolic link; put the identity file itself "
                       "there, or remove the link: rm %s",
                       path, quoted(path, q));
    if (fd < 0 && errno == EACCES && lstat(path, &st) == 0 &&
        st.st_uid == geteuid())
        return explain(why, CV_ERR_PERM, "cannot read %s; run: chmod 600 %s",
                       path, quoted(path, q));
    if (fd < 0)
        return explain_errno(why, "read", path);

    if (fstat(fd, &st) < 0) {
        err = explain_errno(why, "read", path);
        goto out;
    }
    err = check_owner(why, path, &st, 0600);
    if (err != CV_OK)
        goto out;
    if (!S_ISREG(st.st_mode)) {
        err = explain(why, CV_ERR_IO, "%s is not a file", path);
        goto out;
    }
    while (len < sizeof(text) - 1 &&
           ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0 ||
            (n < 0 && errno == EINTR)))
        len += n > 0 ? (size_t)n : 0;
    if (n < 0) {
        err = explain_errno(why, "read", path);
        goto out;
    }
    err = parse_identity(out, text, len);
    if (err == CV_ERR_FORMAT)
        explain(why, err,
                "the identity file %s is damaged; restore it from a backup, "
                "or move it away to get a new identity: mv %s %s.damaged",
                path, quoted(path, q), quoted(path, q));
    else if (err != CV_OK)
        explain(why, err, "cannot load %s: %s", path, cv_strerror(err));
out:
    cv_wipe(text, sizeof(text));
    close(fd);
    return err;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Give the finished file its name unless the name is taken (EEXIST). */
static int publish(const char *temporary, const char *path)
{
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
        return -1;
    /* A file system without it. */
    if (link(temporary, path) < 0)
        return -1;
    unlink(temporary);
    return 0;
}

/* CV_ERR_EXISTS, without a sentence, if another process was first. */
static int create_identity(const char *path, const char *dir,
                           const struct why *why)
{
    char temporary[PATH_BYTES + 32], text[IDENTITY_LEN + 1];
    struct cv_keypair key;
    int err, fd, dir_fd;

    err = cv_keypair_generate(&key, &cv_rng_system);
    if (err != CV_OK)
        return explain(why, err, "cannot make an identity: %s",
                       cv_strerror(err));
    memcpy(text, IDENTITY_PREFIX, IDENTITY_PREFIX_LEN);
    cv_hex(text + IDENTITY_PREFIX_LEN, key.seed, CV_KEY_LEN);
    text[IDENTITY_LEN - 1] = '\n';
    cv_wipe(&key, sizeof(key));

    snprintf(temporary, sizeof(temporary), "%s.new-%016llx", path,
             (unsigned long long)cv_random_u64(&cv_rng_system));
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
              0600);
    if (fd < 0) {
        cv_wipe(text, sizeof(text));
        return explain_errno(why, "create", temporary);
    }
    if (write_all(fd, text, IDENTITY_LEN) < 0 || fsync(fd) < 0) {
        err = explain_errno(why, "write", temporary);
        close(fd);
        unlink(temporary);
        cv_wipe(text, sizeof(text));
        return err;
    }
    cv_wipe(text, sizeof(text));
    close(fd);

    if (publish(temporary, path) < 0) {
        err = errno == EEXIST ? CV_ERR_EXISTS
                              : explain_errno(why, "create", path);
        unlink(temporary);
        return err;
    }
    /* The name, too, should survive a power cut; not fatal if it cannot. */
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd >= 0) {
        (void)fsync(dir_fd);
        close(dir_fd);
    }
    return CV_OK;
}

static int prepare_dir(const char *dir, const struct why *why)
{
    struct stat st;
    int err = cv_private_dir(dir);

    if (err == CV_OK)
        return CV_OK;
    if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
        return explain(
            why, err == CV_ERR_PERM || err == CV_ERR_NOMEM ? err : CV_ERR_IO,
            "cannot make the folder %s: %s", dir, cv_strerror(err));
    if (err == CV_ERR_PERM)
        return check_owner(why, dir, &st, 0700);
    return explain(why, err, "cannot use the folder %s: %s", dir,
                   cv_strerror(err));
}

int cv_identity_load(struct cv_keypair *out, const char *path, char *why_text,
                     size_t why_len)
{
    const struct why why = {why_text, why_len};
    const char *slash = strrchr(path, '/');
    char dir[PATH_BYTES] = ".";
    int err;

    if (why_len)
        why_text[0] = '\0';
    if (strlen(path) >= sizeof(dir))
        return explain(&why, CV_ERR_IO,
                       "the path of the identity file is "
                       "longer than %d bytes",
                       PATH_BYTES - 1);
    if (slash == path) {
        memcpy(dir, "/", 2);
    } else if (slash) {
        memcpy(dir, path, (size_t)(slash - path));
        dir[slash - path] = '\0';
    }

    err = prepare_dir(dir, &why);
    if (err != CV_OK)
        return err;
    err = read_identity(out, path, &why);
    if (err != CV_ERR_NOTFOUND)
        return err;
    err = create_identity(path, dir, &why);
    if (err != CV_OK && err != CV_ERR_EXISTS)
        return err;
    /* Read it back: whoever won the race, everybody has the same. */
    err = read_identity(out, path, &why);
    if (err == CV_ERR_NOTFOUND)
        err = explain(&why, CV_ERR_IO, "%s vanished; try again", path);
    return err;
}
