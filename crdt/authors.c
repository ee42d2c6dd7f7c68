#include "crdt/authors.h"

#include "crdt/span.h"
#include "crdt/update.h"

#define NESTING_MAX 64

int cv_doc_authors(const struct cv_doc *doc, size_t at, size_t len,
                   bool (*fn)(void *user, uint64_t client, size_t bytes),
                   void *user)
{
    size_t total = cv_doc_text_bytes(doc), units, done = 0, bytes = 0;
    uint64_t client = 0;

    if (at > total || len > total - at ||
        cv_doc_bytes_to_units(doc, at, &units) != CV_OK ||
        cv_doc_bytes_to_units(doc, at + len, &units) != CV_OK)
        return CV_ERR_INVALID;
    while (done < len) {
        struct cv_span span;

        cv_span_at(doc, at + done, len - done, &span);
        if (span.id.client != client) {
            if (bytes > 0 && !fn(user, client, bytes))
                return CV_OK;
            client = span.id.client;
            bytes = 0;
        }
        bytes += span.bytes;
        done += span.bytes;
    }
    if (bytes > 0)
        (void)fn(user, client, bytes);
    return CV_OK;
}

int cv_update_deletes(struct cv_bytes update,
                      void (*fn)(void *user, const struct cv_range *range),
                      void *user)
{
    struct cv_update_reader u;
    struct cv_wire s;
    struct cv_range r;
    int err = cv_update_validate(update);

    if (err != CV_OK)
        return err;
    cv_update_open(&u, update, NESTING_MAX);
    while (cv_update_struct(&u, &s))
        continue;
    while (cv_update_range(&u, &r))
        fn(user, &r);
    return CV_OK;
}

/* One block of a valid update as bytes, and whose it is. */
static bool next_block(struct cv_update_reader *u, uint64_t *client,
                       struct cv_bytes *bytes)
{
    const uint8_t *start = u->r.at;
    struct cv_wire s;

    if (u->blocks == 0)
        return false;
    u->blocks--;
    u->structs = cv_get_varuint(&u->r);
    u->client = cv_get_varuint(&u->r);
    u->clock = cv_get_varuint(&u->r);
    *client = u->client;
    while (u->structs > 0)
        if (!cv_update_struct(u, &s))
            return false;
    *bytes = CV_BYTES(start, (size_t)(u->r.at - start));
    return true;
}

int cv_update_filter(struct cv_bytes update,
                     bool (*keep)(void *user, uint64_t client), void *user,
                     struct cv_writer *out)
{
    struct cv_update_reader u;
    struct cv_bytes block;
    uint64_t client, kept = 0;
    int err = cv_update_validate(update);

    if (err != CV_OK)
        return err;
    cv_update_open(&u, update, NESTING_MAX);
    while (next_block(&u, &client, &block))
        kept += keep(user, client);
    cv_put_varuint(out, kept);
    cv_update_open(&u, update, NESTING_MAX);
    while (next_block(&u, &client, &block))
        if (keep(user, client))
            cv_put_raw(out, block.data, block.len);
    return cv_put_raw(out, u.r.at, cv_reader_left(&u.r));
}
