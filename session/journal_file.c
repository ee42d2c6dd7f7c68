#include "session/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "session/journal.h"

#define HEAD_LEN 8u /* u32 length, u8 type, u24 check */
#define CRC_LEN  4u

const uint8_t cv_journal_magic[CV_JOURNAL_HEADER] = "covimjl1";

/* ---- records ---- */

static uint32_t head_check(const uint8_t *head)
{
    return cv_crc32(head, 5) & 0xffffffu;
}

/* Append one record to `w`. */
static int put_record(struct cv_writer *w, uint8_t type, struct cv_bytes a,
                      struct cv_bytes b, struct cv_bytes c)
{
    size_t start = w->len;
    size_t len = a.len + b.len + c.len;
    uint32_t check;

    if (len > CV_JOURNAL_RECORD)
        return CV_ERR_LIMIT;
    cv_put_u32(w, (uint32_t)len);
    if (cv_put_u8(w, type) != CV_OK)
        return w->err;
    check = head_check(w->data + start);
    cv_put_u8(w, (uint8_t)(check >> 16));
    cv_put_u16(w, (uint16_t)check);
    cv_put_raw(w, a.data, a.len);
    cv_put_raw(w, b.data, b.len);
    if (cv_put_raw(w, c.data, c.len) != CV_OK)
        return w->err;
    return cv_put_u32(w, cv_crc32(w->data + start, w->len - start));
}

int cv_journal_put_fact(struct cv_writer *w, uint8_t type, struct cv_bytes key,
                        struct cv_bytes value)
{
    uint8_t head[1 + 8 + CV_JOURNAL_FACT_KEY + 8];
    struct cv_writer h;

    cv_writer_init(&h, head, sizeof(head));
    cv_put_u8(&h, type);
    cv_put_varbytes(&h, key.data, key.len);
    cv_put_varuint(&h, value.len);
    return put_record(w, CV_JOURNAL_FACT, cv_writer_bytes(&h), value,
                      CV_BYTES(NULL, 0));
}

int cv_journal_put_update(struct cv_writer *w, uint32_t document,
                          struct cv_bytes update)
{
    const uint8_t head[4] = {(uint8_t)(document >> 24),
                             (uint8_t)(document >> 16),
                             (uint8_t)(document >> 8), (uint8_t)document};

    return put_record(w, CV_JOURNAL_UPDATE, CV_BYTES(head, sizeof(head)),
                      update, CV_BYTES(NULL, 0));
}

bool cv_journal_split_fact(struct cv_bytes payload, uint8_t *type,
                           struct cv_bytes *key, struct cv_bytes *value)
{
    struct cv_reader r;

    cv_reader_init(&r, payload.data, payload.len);
    *type = cv_get_u8(&r);
    *key = cv_get_varbytes(&r, CV_JOURNAL_FACT_KEY);
    *value = cv_get_varbytes(&r, CV_JOURNAL_FACT_VALUE);
    return cv_reader_end(&r) == CV_OK;
}

bool cv_journal_split_update(struct cv_bytes payload, uint32_t *document,
                             struct cv_bytes *update)
{
    struct cv_reader r;

    cv_reader_init(&r, payload.data, payload.len);
    *document = cv_get_u32(&r);
    *update = cv_get_bytes(&r, cv_reader_left(&r));
    return r.err == CV_OK;
}

static bool all_zero(const uint8_t *p, const uint8_t *end)
{
    while (p < end)
        if (*p++)
            return false;
    return true;
}

enum cv_journal_end cv_journal_parse(struct cv_bytes file, size_t *good,
                                     int (*fn)(void *user, uint8_t type,
                                               struct cv_bytes payload),
                                     void *user)
{
    size_t at = CV_JOURNAL_HEADER;

    *good = 0;
    if (file.len < CV_JOURNAL_HEADER) {
        if (file.len && memcmp(file.data, cv_journal_magic, file.len) != 0)
            return CV_JOURNAL_END_ALIEN;
        return CV_JOURNAL_END_TORN;
    }
    if (memcmp(file.data, cv_journal_magic, sizeof(CV_JOURNAL_MAGIC) - 1) != 0)
        return all_zero(file.data, file.data + file.len) ? CV_JOURNAL_END_TORN
                                                         : CV_JOURNAL_END_ALIEN;
    if (file.data[sizeof(CV_JOURNAL_MAGIC) - 1] != CV_JOURNAL_VERSION)
        return CV_JOURNAL_END_NEWER;

    for (*good = at; at < file.len; *good = at) {
        const uint8_t *p = file.data + at;
        size_t left = file.len - at;
        size_t len;

        if (left < HEAD_LEN)
            return CV_JOURNAL_END_TORN;
        len =
            (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (((uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7]) !=
                head_check(p) ||
            len > CV_JOURNAL_RECORD)
            /* Files grow before their content reaches the disk: after a loss
             * of power the end may be zeros. */
            return all_zero(p, p + left) ? CV_JOURNAL_END_TORN
                                         : CV_JOURNAL_END_DAMAGED;
        if (left - HEAD_LEN < len + CRC_LEN)
            return CV_JOURNAL_END_TORN;
        if (cv_crc32(p, HEAD_LEN + len) !=
            ((uint32_t)p[HEAD_LEN + len] << 24 |
             (uint32_t)p[HEAD_LEN + len + 1] << 16 |
             (uint32_t)p[HEAD_LEN + len + 2] << 8 |
             (uint32_t)p[HEAD_LEN + len + 3]))
            return CV_JOURNAL_END_DAMAGED;
        if (fn(user, p[4], CV_BYTES(p + HEAD_LEN, len)) != CV_OK)
            return CV_JOURNAL_END_STOPPED;
        at += HEAD_LEN + len + CRC_LEN;
    }
    return CV_JOURNAL_END_WHOLE;
}

/* ---- files ---- */

int cv_journal_write_at(int fd, off_t at, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = pwrite(fd, data, len, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : ENOSPC;
        data += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The whole file; CV_ERR_IO, CV_ERR_NOMEM. */
int cv_journal_read_file(int fd, uint8_t **out, size_t *out_len)
{
    struct stat st;
    uint8_t *data;
    size_t len = 0;

    if (fstat(fd, &st) < 0 || st.st_size < 0)
        return CV_ERR_IO;
    data = malloc((size_t)st.st_size + 1);
    if (!data)
        return CV_ERR_NOMEM;
    while (len < (size_t)st.st_size) {
        ssize_t n = pread(fd, data + len, (size_t)st.st_size - len, (off_t)len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(data);
            return CV_ERR_IO;
        }
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *out = data;
    *out_len = len;
    return CV_OK;
}

void cv_journal_hash_name(const struct cv_key *session,
                          char out[CV_JOURNAL_HASH_TEXT + 1])
{
    const struct cv_bytes parts[] = {CV_LITERAL("covim journal 1"),
                                     {session->b, CV_KEY_LEN}};
    uint8_t hash[CV_HASH_LEN];

    cv_sha256(hash, parts, 2);
    cv_hex(out, hash, CV_JOURNAL_HASH_TEXT / 2);
}

bool cv_journal_slot_path(char out[CV_JOURNAL_PATH], const char *dir,
                          const struct cv_key *session, unsigned slot)
{
    char name[CV_JOURNAL_HASH_TEXT + 1];
    int n;

    cv_journal_hash_name(session, name);
    n = snprintf(out, CV_JOURNAL_PATH, "%s/%s.%u", dir, name, slot);
    return n > 0 && (size_t)n < CV_JOURNAL_PATH - 16;
}

/* Is the file one that only we can have written? */
bool cv_journal_is_private(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

/* Open an existing file and lock it.  CV_ERR_NOTFOUND, CV_ERR_BUSY (`*out` is
 * then open for reading all the same), CV_ERR_PERM, CV_ERR_IO. */
int cv_journal_open_locked(int *out, const char *path)
{
    for (;;) {
        struct stat a, b;
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

        *out = -1;
        if (fd < 0)
            return errno == ENOENT ? CV_ERR_NOTFOUND
                   : errno == EACCES || errno == ELOOP || errno == EPERM ||
                           errno == EROFS
                       ? CV_ERR_PERM
                       : CV_ERR_IO;
        if (!cv_journal_is_private(fd)) {
            close(fd);
            return CV_ERR_PERM;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            *out = fd;
            return CV_ERR_BUSY;
        }
        /* It may have been replaced by a compaction meanwhile. */
        if (fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
            a.st_dev == b.st_dev) {
            *out = fd;
            return CV_OK;
        }
        close(fd);
    }
}

/* Make a new file, locked, with its header. */
int cv_journal_create_locked(int *out, const char *path)
{
    int fd =
        open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return errno == EEXIST                     ? CV_ERR_EXISTS
               : errno == EACCES || errno == EPERM ? CV_ERR_PERM
                                                   : CV_ERR_IO;
    if (fchmod(fd, 0600) < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ||
        cv_journal_write_at(fd, 0, cv_journal_magic,
                            sizeof(cv_journal_magic)) != 0) {
        int error = errno;

        unlink(path);
        close(fd);
        errno = error;
        return CV_ERR_IO;
    }
    *out = fd;
    return CV_OK;
}
