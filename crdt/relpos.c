#include "crdt/relpos.h"

#include "crdt/chain.h"
#include "crdt/hot.h"
#include "crdt/store.h"
#include "crdt/tree.h"
#include "crdt/utf8.h"

int cv_relpos_from_offset(const struct cv_doc *doc, size_t at, int32_t assoc,
                          struct cv_relpos *out)
{
    const struct cv_list *text = &doc->lists[doc->text];
    const struct cv_item *x;
    struct cv_place p;
    size_t units;
    int err = cv_doc_bytes_to_units(doc, at, &units);

    if (err != CV_OK)
        return err;
    if (text->name_len > CV_RELPOS_NAME_MAX)
        return CV_ERR_LIMIT;
    *out = (struct cv_relpos){.has_tname = true, .assoc = assoc};
    memcpy(out->tname, text->name, text->name_len);
    if (assoc < 0) {
        if (units == 0)
            return CV_OK; /* the start */
        units--;
    }
    p = cv_tree_find(doc, doc->text, CV_UNITS, (uint32_t)units, false);
    if (p.item == CV_NONE)
        return CV_OK; /* the end */
    x = &doc->items[p.item];
    out->has_item = true;
    out->item.client = doc->clients[x->client].id;
    out->item.clock = x->clock + (units - p.start);
    return CV_OK;
}

int cv_relpos_to_offset(const struct cv_doc *doc, const struct cv_relpos *pos,
                        size_t *at)
{
    const struct cv_list *text = &doc->lists[doc->text];
    const struct cv_item *x;
    uint32_t client, item;
    size_t in = 0;
    bool inside;

    if (!pos->has_item) {
        if (!pos->has_tname || strlen(pos->tname) != text->name_len ||
            memcmp(pos->tname, text->name, text->name_len) != 0)
            return CV_ERR_NOTFOUND;
        *at = pos->assoc >= 0 ? cv_doc_text_bytes(doc) : 0;
        return CV_OK;
    }
    cv_hot_settle(doc);
    client = cv_store_client(doc, pos->item.client);
    if (client == CV_NONE || pos->item.clock >= doc->clients[client].next)
        return CV_ERR_NOTFOUND;
    item = cv_chain_find(doc, client, (uint32_t)pos->item.clock);
    x = &doc->items[item];
    if (x->kind == CV_KIND_GC || doc->leaves[x->leaf].list != doc->text)
        return CV_ERR_NOTFOUND;
    if (x->kind == CV_KIND_STRING) {
        const uint8_t *content = cv_item_content(doc, x);

        in = cv_utf8_offset(content, x->bytes, pos->item.clock - x->clock,
                            &inside);
        if (pos->assoc < 0)
            in += cv_utf8_char_len(content[in]);
    }
    *at = cv_tree_offset(doc, item, CV_BYTES) + in;
    return CV_OK;
}

/* 0, item | 1, root name | 2, type; then varint assoc. */
int cv_put_relpos(struct cv_writer *w, const struct cv_relpos *pos)
{
    if (pos->has_item) {
        cv_put_varuint(w, 0);
        cv_put_varuint(w, pos->item.client);
        cv_put_varuint(w, pos->item.clock);
    } else if (pos->has_tname) {
        cv_put_u8(w, 1);
        cv_put_varbytes(w, pos->tname, strlen(pos->tname));
    } else {
        cv_put_u8(w, 2);
        cv_put_varuint(w, pos->type.client);
        cv_put_varuint(w, pos->type.clock);
    }
    return cv_put_varint(w, pos->assoc);
}

static struct cv_id get_id(struct cv_reader *r)
{
    struct cv_id id;

    id.client = cv_get_varuint(r);
    id.clock = cv_get_varuint(r);
    return id;
}

int cv_relpos_decode(struct cv_relpos *out, struct cv_bytes bytes)
{
    struct cv_relpos pos = {0};
    struct cv_reader r;
    struct cv_bytes name;
    int64_t assoc = 0;

    cv_reader_init(&r, bytes.data, bytes.len);
    switch (cv_get_varuint(&r)) {
    case 0:
        pos.has_item = true;
        pos.item = get_id(&r);
        break;
    case 1:
        name = cv_get_varstring(&r, SIZE_MAX);
        if (r.err != CV_OK ||
            (name.len > 0 && memchr(name.data, 0, name.len) != NULL))
            return CV_ERR_FORMAT;
        if (name.len > CV_RELPOS_NAME_MAX)
            return CV_ERR_LIMIT;
        pos.has_tname = true;
        if (name.len > 0)
            memcpy(pos.tname, name.data, name.len);
        break;
    case 2:
        pos.has_type = true;
        pos.type = get_id(&r);
        break;
    default:
        cv_reader_fail(&r);
    }
    if (cv_reader_left(&r) > 0) /* old writers leave it out */
        assoc = cv_get_varint(&r);
    if (cv_reader_end(&r) != CV_OK)
        return CV_ERR_FORMAT;
    /* Only its sign has a meaning. */
    pos.assoc = assoc < INT32_MIN   ? INT32_MIN
                : assoc > INT32_MAX ? INT32_MAX
                                    : (int32_t)assoc;
    *out = pos;
    return CV_OK;
}
