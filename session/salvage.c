#include "session/salvage.h"

#include <stdlib.h>
#include <string.h>

#define PAGE       ((size_t)CV_STORE_PAGE)
#define WAL_HEAD   32u
#define FRAME_HEAD 24u
#define FRAME      (FRAME_HEAD + PAGE)
#define LEAF       0x0du /* of a table */
#define FILE_HEAD  100u  /* before the tree's header in page 1 */

/* A cell keeps so much of its payload, the rest is in overflow pages. */
#define LOCAL_MAX   (PAGE - 35)
#define LOCAL_MIN   ((PAGE - 12) * 32 / 255 - 23)
#define ROW_MAX     (512u << 20) /* bytes; more is no row of ours */
#define SERIAL_BLOB 12u

#define FOUND  1024u
#define BUDGET 64u /* times all bytes: what is not ours ends in time */

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

static size_t get_u16(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

/* ---- the write-ahead log ---- */

struct sum {
    uint32_t a, b;
};

/* "Checksum Algorithm"; `len` is a multiple of 8. */
static struct sum add_up(struct sum s, const uint8_t *p, size_t len, bool big)
{
    for (size_t i = 0; i < len; i += 8) {
        uint32_t x = get_u32(p + i), y = get_u32(p + i + 4);

        if (!big) {
            x = __builtin_bswap32(x);
            y = __builtin_bswap32(y);
        }
        s.a += x + s.b;
        s.b += y + s.a;
    }
    return s;
}

static struct sum stored_sum(const uint8_t *p)
{
    return (struct sum){get_u32(p), get_u32(p + 4)};
}

static bool sums_equal(struct sum x, struct sum y)
{
    return x.a == y.a && x.b == y.b;
}

static struct sum sum_of_frame(struct sum before, const uint8_t *f, bool big)
{
    return add_up(add_up(before, f, 8, big), f + FRAME_HEAD, PAGE, big);
}

static bool is_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

bool cv_salvage_wal_is_whole(struct cv_bytes wal)
{
    struct sum sum = {0, 0};
    const uint8_t *salts;
    bool big, follows = true;

    if (wal.len < WAL_HEAD || is_zero(wal.data, WAL_HEAD))
        return wal.len < WAL_HEAD + FRAME;
    salts = wal.data + 16;
    big = wal.data[3] & 1;
    sum = add_up(sum, wal.data, 24, big);
    if ((get_u32(wal.data) & ~1u) != 0x377f0682u ||
        get_u32(wal.data + 8) != PAGE ||
        !sums_equal(sum, stored_sum(wal.data + 24)))
        return wal.len < WAL_HEAD + FRAME;

    for (size_t at = WAL_HEAD; wal.len - at >= FRAME; at += FRAME) {
        const uint8_t *f = wal.data + at;
        bool ours = memcmp(f + 8, salts, 8) == 0;
        bool commits = get_u32(f + 4) != 0;
        bool sums = sums_equal(sum_of_frame(sum, f, big), stored_sum(f + 16));

        /* A crash or a full disk leaves frames without the end of their
         * transaction, a piece of a frame, or frames of an earlier log. */
        if (ours ? !(follows && sums) &&
                       (commits || (follows && at + FRAME == wal.len))
                 : follows && sums)
            return false;
        if (!ours || !sums)
            follows = false;
        sum = stored_sum(f + 16);
    }
    return true;
}

/* ---- pages ---- */

/* Where a page is looked for, one after the other: what SQLite would read,
 * then what stands behind a damaged frame or was not finished when the power
 * went, then what was there before the log. */
enum view {
    COMMITTED,
    NEWEST,
    FILE_ALONE,
    VIEWS,
};

struct pages {
    struct cv_bytes file;
    struct cv_bytes wal;
    /* The last frame of a page number, from 1; 0: it is in the file. */
    uint32_t *frames[FILE_ALONE];
    uint32_t n_numbers;
};

static size_t n_frames(const struct pages *p)
{
    return p->wal.len < WAL_HEAD ? 0 : (p->wal.len - WAL_HEAD) / FRAME;
}

static const uint8_t *frame_at(const struct pages *p, size_t i)
{
    return p->wal.data + WAL_HEAD + i * FRAME;
}

/* Page numbers start at 1.  NULL: there is none. */
static const uint8_t *find_page(const struct pages *p, uint32_t number,
                                enum view view)
{
    if (number == 0)
        return NULL;
    if (view != FILE_ALONE && number < p->n_numbers && p->frames[view][number])
        return frame_at(p, p->frames[view][number] - 1u) + FRAME_HEAD;
    if (number > p->file.len / PAGE)
        return NULL;
    return p->file.data + (size_t)(number - 1) * PAGE;
}

/* How many frames, from the first, SQLite would read. */
static size_t n_committed(const struct pages *p)
{
    const uint8_t *head = p->wal.data;
    size_t committed = 0;
    struct sum sum;

    if (n_frames(p) == 0)
        return 0;
    sum = stored_sum(head + 24);
    for (size_t i = 0; i < n_frames(p); i++) {
        const uint8_t *f = frame_at(p, i);

        sum = sum_of_frame(sum, f, head[3] & 1);
        if (memcmp(f + 8, head + 16, 8) != 0 ||
            !sums_equal(sum, stored_sum(f + 16)))
            break;
        if (get_u32(f + 4) != 0)
            committed = i + 1;
    }
    return committed;
}

static int index_frames(struct pages *p)
{
    const size_t n = n_frames(p), committed = n_committed(p);
    uint32_t largest = 0;
    /* Each page of a file was written once; each costs four bytes here. */
    const uint32_t limit = (uint32_t)(p->file.len / PAGE + n + 65536);
    const uint8_t *salts;

    for (size_t i = 0; i < n; i++) {
        uint32_t number = get_u32(frame_at(p, i));

        if (number > largest && number < limit)
            largest = number;
    }
    for (int view = COMMITTED; view <= NEWEST; view++) {
        p->frames[view] = calloc((size_t)largest + 1, sizeof(uint32_t));
        if (!p->frames[view])
            return CV_ERR_NOMEM;
    }
    p->n_numbers = largest + 1;
    if (n == 0)
        return CV_OK;
    /* What a log had before it was begun anew has other salts. */
    salts = p->wal.data + 16;
    if (n > 1 && memcmp(frame_at(p, 0) + 8, salts, 8) != 0)
        salts = frame_at(p, 1) + 8; /* one of the two is damaged */
    for (size_t i = 0; i < n; i++) {
        const uint8_t *f = frame_at(p, i);
        uint32_t number = get_u32(f);

        if (number > largest || memcmp(f + 8, salts, 8) != 0)
            continue;
        p->frames[NEWEST][number] = (uint32_t)(i + 1);
        if (i < committed)
            p->frames[COMMITTED][number] = (uint32_t)(i + 1);
    }
    return CV_OK;
}

/* ---- cells ---- */

struct search {
    struct pages pages;
    int (*fn)(void *user, const struct cv_store_row *row);
    void *user;
    struct cv_writer payload; /* of a row with overflow pages */
    uint64_t found[FOUND]; /* such rows: no need to put them together again */
    unsigned n_found;
    size_t budget; /* bytes that may yet be put together */
};

/* SQLite's number: seven bits a byte, the high ones first; nine at most. */
static uint64_t get_number(struct cv_reader *r)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++) {
        uint8_t b = cv_get_u8(r);

        v = v << 7 | (b & 0x7fu);
        if (!(b & 0x80u))
            return v;
    }
    return v << 8 | cv_get_u8(r);
}

/* A whole number of a record, by its serial type. */
static uint64_t get_integer(struct cv_reader *r, uint64_t type)
{
    static const uint8_t width[] = {0, 1, 2, 3, 4, 6, 8};
    uint64_t v = 0;

    if (type == 8 || type == 9)
        return type - 8;
    if (type == 0 || type > 6) {
        cv_reader_fail(r);
        return 0;
    }
    for (unsigned i = 0; i < width[type]; i++)
        v = v << 8 | cv_get_u8(r);
    return v;
}

/* A record is (NULL, kind, crc, data).  True if it is one of ours. */
static bool read_record(struct cv_bytes record, struct cv_store_row *row)
{
    struct cv_reader head, body;
    uint64_t head_len, types[4], kind, crc;

    cv_reader_init(&head, record.data, record.len);
    head_len = get_number(&head);
    if (head.err != CV_OK || head_len > record.len)
        return false;
    for (int i = 0; i < 4; i++)
        types[i] = get_number(&head);
    if (head.err != CV_OK || head.at != record.data + head_len ||
        types[0] != 0 || types[3] < SERIAL_BLOB || types[3] % 2)
        return false;
    cv_reader_init(&body, record.data + head_len, record.len - head_len);
    kind = get_integer(&body, types[1]);
    crc = get_integer(&body, types[2]);
    if (body.err != CV_OK || kind == 0 || kind > UINT8_MAX ||
        cv_reader_left(&body) != (types[3] - SERIAL_BLOB) / 2)
        return false;
    row->kind = (uint8_t)kind;
    row->data = CV_BYTES(body.at, cv_reader_left(&body));
    return crc == cv_store_crc(row);
}

/* Put together what is in overflow pages. */
static int gather(struct search *s, struct cv_bytes local, uint32_t next,
                  size_t len, enum view view)
{
    cv_writer_reset(&s->payload);
    cv_put_raw(&s->payload, local.data, local.len);
    while (s->payload.len < len) {
        const uint8_t *page = find_page(&s->pages, next, view);
        size_t left = len - s->payload.len;

        if (!page)
            return CV_ERR_FORMAT;
        if (cv_put_raw(&s->payload, page + 4,
                       left < PAGE - 4 ? left : PAGE - 4) != CV_OK)
            return s->payload.err;
        next = get_u32(page);
    }
    return CV_OK;
}

static int try_long_cell(struct search *s, struct cv_reader *r, size_t len,
                         struct cv_store_row *row)
{
    size_t local = LOCAL_MIN + (len - LOCAL_MIN) % (PAGE - 4);
    struct cv_bytes start;
    uint32_t next;

    for (unsigned i = 0; i < s->n_found; i++)
        if (s->found[i] == row->seq)
            return CV_OK;
    if (local > LOCAL_MAX)
        local = LOCAL_MIN;
    start = cv_get_bytes(r, local);
    next = cv_get_u32(r);
    /* A length that no chain of pages can have is not worth the memory. */
    if (r->err != CV_OK || len > s->pages.file.len + s->pages.wal.len)
        return CV_OK;
    for (int view = COMMITTED; view < VIEWS; view++) {
        int err;

        if (s->budget < len)
            return CV_OK;
        s->budget -= len;
        err = gather(s, start, next, len, (enum view)view);
        if (err == CV_ERR_NOMEM)
            return err;
        if (err != CV_OK || !read_record(cv_writer_bytes(&s->payload), row))
            continue;
        if (s->n_found < FOUND)
            s->found[s->n_found++] = row->seq;
        return s->fn(s->user, row);
    }
    return CV_OK;
}

static int try_cell(struct search *s, struct cv_bytes cell)
{
    struct cv_store_row row = {0};
    struct cv_reader r;
    uint64_t len;

    cv_reader_init(&r, cell.data, cell.len);
    len = get_number(&r);
    row.seq = get_number(&r);
    if (r.err != CV_OK || len > ROW_MAX || row.seq == 0)
        return CV_OK;
    if (len > LOCAL_MAX)
        return try_long_cell(s, &r, (size_t)len, &row);
    if (len <= cv_reader_left(&r) &&
        read_record(CV_BYTES(r.at, (size_t)len), &row))
        return s->fn(s->user, &row);
    return CV_OK;
}

/* Whatever says that it is a leaf.  The places of its cells are tried, and
 * whatever is between them and the end is not: a cell that nothing points to
 * was deleted. */
static int try_page(struct search *s, const uint8_t *page, size_t head)
{
    size_t n = get_u16(page + head + 3);

    if (page[head] != LEAF || n > (PAGE - head - 8) / 2)
        return CV_OK;
    for (size_t i = 0; i < n; i++) {
        size_t at = get_u16(page + head + 8 + 2 * i);
        int err;

        if (at < head + 8 || at >= PAGE)
            continue;
        err = try_cell(s, CV_BYTES(page + at, PAGE - at));
        if (err != CV_OK)
            return err;
    }
    return CV_OK;
}

int cv_salvage_rows(struct cv_bytes file, struct cv_bytes wal,
                    int (*fn)(void *user, const struct cv_store_row *row),
                    void *user)
{
    struct search s = {
        .pages = {.file = file, .wal = wal}, .fn = fn, .user = user};
    int err = index_frames(&s.pages);

    s.budget = BUDGET * (file.len + wal.len);
    cv_writer_init_heap(&s.payload, ROW_MAX);
    for (size_t i = 0; err == CV_OK && i < file.len / PAGE; i++)
        err = try_page(&s, file.data + i * PAGE, i ? 0 : FILE_HEAD);
    for (size_t i = 0; err == CV_OK && i < n_frames(&s.pages); i++) {
        const uint8_t *f = frame_at(&s.pages, i);

        err = try_page(&s, f + FRAME_HEAD, get_u32(f) == 1 ? FILE_HEAD : 0);
    }
    cv_writer_fini(&s.payload);
    free(s.pages.frames[COMMITTED]);
    free(s.pages.frames[NEWEST]);
    return err;
}
