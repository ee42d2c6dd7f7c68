#include "session/journal_row.h"

int cv_journal_put_row(struct cv_writer *w, uint8_t kind, struct cv_bytes data)
{
    if (data.len > CV_JOURNAL_RECORD)
        return CV_ERR_LIMIT;
    cv_put_u8(w, kind);
    cv_put_u32(w, (uint32_t)data.len);
    return cv_put_raw(w, data.data, data.len);
}

int cv_journal_put_fact(struct cv_writer *w, uint8_t type, struct cv_bytes key,
                        struct cv_bytes value)
{
    uint8_t head[1 + 8 + CV_JOURNAL_FACT_KEY + 8];
    struct cv_writer h;

    cv_writer_init(&h, head, sizeof(head));
    cv_put_u8(&h, type);
    cv_put_varbytes(&h, key.data, key.len);
    if (cv_put_varuint(&h, value.len) != CV_OK)
        return CV_ERR_LIMIT;
    cv_put_u8(w, CV_JOURNAL_FACT);
    cv_put_u32(w, (uint32_t)(h.len + value.len));
    cv_put_raw(w, h.data, h.len);
    return cv_put_raw(w, value.data, value.len);
}

int cv_journal_put_update(struct cv_writer *w, uint32_t document,
                          struct cv_bytes update)
{
    if (update.len > CV_JOURNAL_RECORD - 4)
        return CV_ERR_LIMIT;
    cv_put_u8(w, CV_JOURNAL_UPDATE);
    cv_put_u32(w, (uint32_t)update.len + 4);
    cv_put_u32(w, document);
    return cv_put_raw(w, update.data, update.len);
}

bool cv_journal_split_fact(const struct cv_store_row *row, uint8_t *type,
                           struct cv_bytes *key, struct cv_bytes *value)
{
    struct cv_reader r;

    cv_reader_init(&r, row->data.data, row->data.len);
    *type = cv_get_u8(&r);
    *key = cv_get_varbytes(&r, CV_JOURNAL_FACT_KEY);
    *value = cv_get_varbytes(&r, CV_JOURNAL_FACT_VALUE);
    return row->kind == CV_JOURNAL_FACT && cv_reader_end(&r) == CV_OK;
}

bool cv_journal_split_update(const struct cv_store_row *row, uint32_t *document,
                             struct cv_bytes *update)
{
    struct cv_reader r;

    cv_reader_init(&r, row->data.data, row->data.len);
    *document = cv_get_u32(&r);
    *update = cv_get_bytes(&r, cv_reader_left(&r));
    return row->kind == CV_JOURNAL_UPDATE && r.err == CV_OK;
}

int cv_journal_each_row(struct cv_bytes rows,
                        int (*fn)(void *user, const struct cv_store_row *row),
                        void *user)
{
    struct cv_reader r;
    int err = CV_OK;

    cv_reader_init(&r, rows.data, rows.len);
    while (cv_reader_left(&r) && err == CV_OK) {
        struct cv_store_row row = {.kind = cv_get_u8(&r)};

        row.data = cv_get_bytes(&r, cv_get_u32(&r));
        if (r.err == CV_OK)
            err = fn(user, &row);
    }
    return err;
}
