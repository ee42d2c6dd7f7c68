/* Every vector of yjs-vectors.json: what the real Yjs does, bytes included. */
#include "crdt/awareness.h"
#include "crdt/codec.h"
#include "crdt/relpos.h"
#include "crdt/sync.h"
#include "crdt/update.h"
#include "tests/unit/crdt_util.h"

#include <jansson.h>
#include <math.h>

#define VECTORS COVIM_SOURCE_DIR "/tests/unit/data/yjs-vectors.json"

static json_t *vectors;
static const char *current; /* vector, for messages */

#define EXPECT(cond)                                                           \
    do {                                                                       \
        if (!(cond)) {                                                         \
            print_error("vector %s: %s is false\n", current, #cond);           \
            _fail(__FILE__, __LINE__);                                         \
        }                                                                      \
    } while (0)

static struct cv_writer unhex(const char *text)
{
    struct cv_writer w = heap_writer();
    size_t len = strlen(text) / 2;
    uint8_t *p = cv_put_space(&w, len);

    EXPECT(p != NULL && cv_unhex(p, len, text) == CV_OK);
    return w;
}

static bool equals_hex(const struct cv_writer *w, const char *text)
{
    struct cv_writer want = unhex(text);
    bool same = cv_bytes_equal(cv_writer_bytes(w), cv_writer_bytes(&want));

    cv_writer_fini(&want);
    return same;
}

static int apply_hex(struct cv_doc *doc, const char *text,
                     const struct cv_doc_observer *observer)
{
    struct cv_writer w = unhex(text);
    int err = cv_doc_apply(doc, cv_writer_bytes(&w), observer, NULL, NULL);

    cv_writer_fini(&w);
    return err;
}

/* ---- a document as the JSON of the vectors ---- */

/* JSON.stringify() writes whole numbers without a point. */
static json_t *number(double d)
{
    return floor(d) == d ? json_integer((json_int_t)d) : json_real(d);
}

static json_t *any_to_json(struct cv_reader *r)
{
    struct cv_bytes s;
    json_t *j;
    uint64_t n, bits;
    uint32_t bits32;
    double d;
    float f;

    switch (cv_get_u8(r)) {
    case 126:
    case 127:
        return json_null();
    case 125:
        return json_integer(cv_get_varint(r));
    case 124:
        bits32 = cv_get_u32(r);
        memcpy(&f, &bits32, sizeof(f));
        return number((double)f);
    case 123:
        bits = cv_get_u64(r);
        memcpy(&d, &bits, sizeof(d));
        return number(d);
    case 122:
        return json_integer((json_int_t)cv_get_u64(r));
    case 121:
        return json_false();
    case 120:
        return json_true();
    case 119:
        s = cv_get_varstring(r, SIZE_MAX);
        return json_stringn((const char *)s.data, s.len);
    case 118:
        j = json_object();
        for (n = cv_get_varuint(r); n > 0; n--) {
            s = cv_get_varstring(r, SIZE_MAX);
            json_object_setn_new(j, (const char *)s.data, s.len,
                                 any_to_json(r));
        }
        return j;
    case 117:
        j = json_array();
        for (n = cv_get_varuint(r); n > 0; n--)
            json_array_append_new(j, any_to_json(r));
        return j;
    default:
        return NULL;
    }
}

static json_t *bytes_to_json(struct cv_bytes b)
{
    json_t *j = json_object();
    char key[24];

    for (size_t i = 0; i < b.len; i++) {
        snprintf(key, sizeof(key), "%zu", i);
        json_object_set_new(j, key, json_integer(b.data[i]));
    }
    return j;
}

static json_t *map_to_json(const struct cv_doc *doc, uint32_t type);

static json_t *list_text(const struct cv_doc *doc, uint32_t list)
{
    struct cv_writer w = heap_writer();
    json_t *j;

    for (uint32_t i = cv_tree_first(doc, list); i != CV_NONE;
         i = cv_tree_next(doc, i)) {
        const struct cv_item *x = &doc->items[i];

        if (x->kind == CV_KIND_STRING)
            cv_put_raw(&w, cv_item_content(doc, x), x->bytes);
    }
    j = json_stringn(w.len == 0 ? "" : (const char *)w.data, w.len);
    cv_writer_fini(&w);
    return j;
}

/* Appends the elements of an item to an array. */
static void item_to_json(const struct cv_doc *doc, const struct cv_item *x,
                         json_t *array)
{
    const uint8_t *content = cv_item_content(doc, x);
    struct cv_reader r;
    struct cv_bytes b;
    uint32_t list;

    cv_reader_init(&r, content, x->bytes);
    switch (x->kind) {
    case CV_KIND_ANY:
        for (uint32_t i = 0; i < x->len; i++)
            json_array_append_new(array, any_to_json(&r));
        break;
    case CV_KIND_JSON:
        for (uint32_t i = 0; i < x->len; i++) {
            json_t *j;

            b = cv_get_varstring(&r, SIZE_MAX);
            j = json_loadb((const char *)b.data, b.len, JSON_DECODE_ANY, NULL);
            json_array_append_new(array, j == NULL ? json_null() : j);
        }
        break;
    case CV_KIND_BINARY:
        b = cv_get_varbytes(&r, SIZE_MAX);
        json_array_append_new(array, bytes_to_json(b));
        break;
    case CV_KIND_TYPE:
        list = cv_item_list(doc, x);
        if (content[sizeof(list)] == 1)
            json_array_append_new(array, map_to_json(doc, list));
        else
            json_array_append_new(array, list_text(doc, list));
        break;
    default:
        break;
    }
}

static json_t *list_to_json(const struct cv_doc *doc, uint32_t list)
{
    json_t *j = json_array();

    for (uint32_t i = cv_tree_first(doc, list); i != CV_NONE;
         i = cv_tree_next(doc, i))
        item_to_json(doc, &doc->items[i], j);
    return j;
}

static json_t *map_to_json(const struct cv_doc *doc, uint32_t type)
{
    json_t *map = json_object();

    for (uint32_t k = doc->lists[type].keys; k != CV_NONE;
         k = doc->lists[k].next_key) {
        uint32_t item = cv_tree_last(doc, k);
        json_t *values;

        if (item == CV_NONE || cv_item_deleted(&doc->items[item]))
            continue;
        values = json_array();
        item_to_json(doc, &doc->items[item], values);
        json_object_setn(map, (const char *)doc->lists[k].name,
                         doc->lists[k].name_len,
                         json_array_get(values, json_array_size(values) - 1));
        json_decref(values);
    }
    return map;
}

static json_t *order_to_json(const struct cv_doc *doc, uint32_t list)
{
    json_t *order = json_array();
    uint64_t client = 0, clock = 0, len = 0;
    int deleted = -1;

    for (uint32_t i = cv_tree_first(doc, list);; i = cv_tree_next(doc, i)) {
        const struct cv_item *x = i == CV_NONE ? NULL : &doc->items[i];

        if (x != NULL && doc->clients[x->client].id == client &&
            clock + len == x->clock && deleted == cv_item_deleted(x)) {
            len += x->len;
            continue;
        }
        if (deleted >= 0)
            json_array_append_new(order, json_pack("[IIIi]", (json_int_t)client,
                                                   (json_int_t)clock,
                                                   (json_int_t)len, deleted));
        if (x == NULL)
            return order;
        client = doc->clients[x->client].id;
        clock = x->clock;
        len = x->len;
        deleted = cv_item_deleted(x);
    }
}

static uint32_t root_of(const struct cv_doc *doc, const char *name)
{
    struct cv_bytes n = {(const uint8_t *)name, strlen(name)};

    return cv_store_list(doc, CV_NONE, n);
}

static json_t *deletes_to_json(const struct cv_doc *doc)
{
    struct cv_writer w = encode_all(doc);
    struct cv_update_reader u;
    struct cv_wire s;
    struct cv_range r;
    json_t *all = json_array(), *ranges = NULL;
    uint64_t client = UINT64_MAX;

    cv_update_open(&u, cv_writer_bytes(&w), 64);
    while (cv_update_struct(&u, &s))
        continue;
    while (cv_update_range(&u, &r)) {
        if (r.client != client) {
            client = r.client;
            ranges = json_array();
            json_array_append_new(
                all, json_pack("[Io]", (json_int_t)client, ranges));
        }
        json_array_append_new(
            ranges, json_pack("[II]", (json_int_t)r.clock, (json_int_t)r.len));
    }
    EXPECT(cv_update_close(&u) == CV_OK);
    cv_writer_fini(&w);
    return all;
}

static void expect_json(json_t *got, const json_t *want, const char *what)
{
    if (!json_equal(got, want)) {
        char *g = json_dumps(got, JSON_ENCODE_ANY);
        char *w = json_dumps(want, JSON_ENCODE_ANY);

        print_error("vector %s, %s: got %s, want %s\n", current, what, g, w);
        free(g);
        free(w);
        _fail(__FILE__, __LINE__);
    }
    json_decref(got);
}

/* Compare with what the vector says of texts, order, maps, arrays, state. */
static void expect_described(const struct cv_doc *doc, const json_t *want)
{
    struct cv_writer sv = heap_writer();
    const char *name;
    json_t *value;

    json_object_foreach(json_object_get(want, "texts"), name, value)
    {
        uint32_t list = root_of(doc, name);

        expect_json(list == CV_NONE ? json_string("") : list_text(doc, list),
                    value, name);
    }
    json_object_foreach(json_object_get(want, "order"), name, value)
    {
        uint32_t list = root_of(doc, name);

        expect_json(list == CV_NONE ? json_array() : order_to_json(doc, list),
                    value, name);
    }
    json_object_foreach(json_object_get(want, "maps"), name, value)
    {
        uint32_t list = root_of(doc, name);

        expect_json(list == CV_NONE ? json_object() : map_to_json(doc, list),
                    value, name);
    }
    json_object_foreach(json_object_get(want, "arrays"), name, value)
    {
        uint32_t list = root_of(doc, name);

        expect_json(list == CV_NONE ? json_array() : list_to_json(doc, list),
                    value, name);
    }
    EXPECT(cv_doc_state_vector(doc, &sv) == CV_OK);
    EXPECT(equals_hex(&sv,
                      json_string_value(json_object_get(want, "stateVector"))));
    cv_writer_fini(&sv);
    EXPECT(cv_doc_waiting(doc) ==
           json_is_true(json_object_get(want, "pending")));
    value = json_object_get(want, "deleteSet");
    if (value != NULL)
        expect_json(deletes_to_json(doc), value, "deleteSet");
    check_store(doc);
}

/* A state in an empty document gives the same document. */
static void expect_same_from(struct cv_bytes state, const json_t *want)
{
    struct cv_doc *doc = new_doc(88888888);
    struct cv_writer again;

    EXPECT(cv_update_validate(state) == CV_OK);
    EXPECT(cv_doc_apply(doc, state, NULL, NULL, NULL) == CV_OK);
    /* What waits travels with Yjs' state, not with ours. */
    if (!json_is_true(json_object_get(want, "pending")))
        expect_described(doc, want);
    again = encode_all(doc);
    EXPECT(cv_update_validate(cv_writer_bytes(&again)) == CV_OK);
    cv_writer_fini(&again);
    cv_doc_free(doc);
}

static const char *text_of(const json_t *v, const char *key)
{
    const char *text = json_string_value(json_object_get(v, key));

    EXPECT(text != NULL);
    return text;
}

static unsigned equal_states, states;

static void run_apply(json_t *v)
{
    struct cv_doc *doc = new_doc(77777777);
    struct mirror mirror = {0};
    const struct cv_doc_observer observer = {mirror_change, NULL, &mirror};
    struct cv_writer w;
    json_t *update;
    size_t i;

    json_array_foreach(json_object_get(v, "updates"), i, update)
    {
        const json_t *step = json_array_get(json_object_get(v, "steps"), i);

        EXPECT(apply_hex(doc, json_string_value(update), &observer) == CV_OK);
        EXPECT(mirror_equals(&mirror, doc));
        if (step != NULL)
            expect_described(doc, step);
    }
    expect_described(doc, v);
    w = encode_all(doc);
    expect_same_from(cv_writer_bytes(&w), v);
    states++;
    equal_states += equals_hex(&w, text_of(v, "stateUpdate"));
    cv_writer_fini(&w);
    w = unhex(text_of(v, "stateUpdate"));
    expect_same_from(cv_writer_bytes(&w), v);
    cv_writer_fini(&w);
    free(mirror.text);
    cv_doc_free(doc);
}

static void run_diff(json_t *v)
{
    struct cv_doc *doc = new_doc(77777777);
    struct cv_writer sv = unhex(text_of(v, "stateVector")), out = heap_writer();
    json_t *update;
    size_t i;

    json_array_foreach(json_object_get(v, "updates"), i, update)
        EXPECT(apply_hex(doc, json_string_value(update), NULL) == CV_OK);
    EXPECT(cv_doc_encode(doc, cv_writer_bytes(&sv), &out) == CV_OK);
    EXPECT(equals_hex(&out, text_of(v, "diff")));
    cv_writer_fini(&sv);
    cv_writer_fini(&out);
    cv_doc_free(doc);
}

static size_t to_bytes(const struct cv_doc *doc, const json_t *units)
{
    size_t at = 0;

    EXPECT(cv_doc_units_to_bytes(doc, (size_t)json_integer_value(units), &at) ==
           CV_OK);
    return at;
}

static void local_edit(struct cv_doc *doc, const json_t *op)
{
    const char *what = json_string_value(json_array_get(op, 0));
    size_t at = to_bytes(doc, json_array_get(op, 1));

    if (what[0] == 'i') {
        const json_t *text = json_array_get(op, 2);

        EXPECT(cv_doc_insert(doc, at, json_string_value(text),
                             json_string_length(text)) == CV_OK);
    } else {
        json_t *end = json_integer(json_integer_value(json_array_get(op, 1)) +
                                   json_integer_value(json_array_get(op, 2)));

        EXPECT(cv_doc_delete(doc, at, to_bytes(doc, end) - at) == CV_OK);
        json_decref(end);
    }
}

static void run_local(json_t *v)
{
    json_t *op, *update, *inner;
    struct cv_doc *doc =
        new_doc((uint64_t)json_integer_value(json_object_get(v, "client")));
    struct cv_writer state;
    size_t i, k;

    json_array_foreach(json_object_get(v, "base"), i, update)
        EXPECT(apply_hex(doc, json_string_value(update), NULL) == CV_OK);
    json_array_foreach(json_object_get(v, "ops"), i, op)
    {
        const char *what = json_string_value(json_array_get(op, 0));
        const char *sent =
            json_string_value(json_array_get(json_object_get(v, "sent"), i));
        struct cv_writer out = heap_writer();

        if (what[0] == 'r') {
            EXPECT(apply_hex(doc, json_string_value(json_array_get(op, 1)),
                             NULL) == CV_OK);
        } else {
            EXPECT(cv_doc_begin(doc) == CV_OK);
            if (what[0] == 't') {
                json_array_foreach(json_array_get(op, 1), k, inner)
                    local_edit(doc, inner);
            } else {
                local_edit(doc, op);
            }
            EXPECT(cv_doc_commit(doc, &out) == CV_OK);
        }
        if (!equals_hex(&out, sent)) {
            char *hex = malloc(2 * out.len + 1);

            cv_hex(hex, out.data, out.len);
            print_error("vector %s, op %zu: sent %s, want %s\n", current, i,
                        hex, sent);
            free(hex);
            _fail(__FILE__, __LINE__);
        }
        cv_writer_fini(&out);
    }
    expect_described(doc, v);
    state = encode_all(doc);
    EXPECT(equals_hex(&state, text_of(v, "stateUpdate")));
    cv_writer_fini(&state);
    cv_doc_free(doc);
}

static void run_relpos(json_t *v)
{
    struct cv_doc *doc = new_doc(88), *later = new_doc(89);
    json_t *row;
    size_t i;

    EXPECT(apply_hex(doc, text_of(v, "base"), NULL) == CV_OK);
    EXPECT(apply_hex(later, text_of(v, "base"), NULL) == CV_OK);
    EXPECT(apply_hex(later, text_of(v, "later"), NULL) == CV_OK);
    json_array_foreach(json_object_get(v, "positions"), i, row)
    {
        json_int_t assoc = json_integer_value(json_object_get(row, "assoc"));
        size_t at = to_bytes(doc, json_object_get(row, "index")), units;
        struct cv_relpos pos, read;
        struct cv_writer w = heap_writer();
        json_t *j;

        EXPECT(cv_relpos_from_offset(doc, at, (int32_t)assoc, &pos) == CV_OK);
        j = json_pack("{sn ss sn sI}", "type", "tname", pos.tname, "item",
                      "assoc", assoc);
        if (pos.has_item)
            json_object_set_new(j, "item",
                                json_pack("{sI sI}", "client",
                                          (json_int_t)pos.item.client, "clock",
                                          (json_int_t)pos.item.clock));
        {
            json_t *want = json_loads(text_of(row, "json"), 0, NULL);

            expect_json(j, want, "json");
            json_decref(want);
        }
        EXPECT(cv_put_relpos(&w, &pos) == CV_OK);
        EXPECT(equals_hex(&w, text_of(row, "bytes")));
        EXPECT(cv_relpos_decode(&read, cv_writer_bytes(&w)) == CV_OK);
        EXPECT(read.has_item == pos.has_item && read.assoc == pos.assoc);
        EXPECT(cv_relpos_to_offset(doc, &read, &units) == CV_OK);
        EXPECT(units == at);
        EXPECT(cv_relpos_to_offset(later, &read, &at) == CV_OK);
        EXPECT(cv_doc_bytes_to_units(later, at, &units) == CV_OK);
        EXPECT((json_int_t)units ==
               json_integer_value(json_object_get(row, "after")));
        cv_writer_fini(&w);
    }
    cv_doc_free(doc);
    cv_doc_free(later);
}

static void run_sync(json_t *v)
{
    struct cv_doc *a = new_doc(1), *b = new_doc(2);
    struct cv_writer in, out = heap_writer();
    struct cv_doc_applied applied;

    EXPECT(apply_hex(a, text_of(v, "a"), NULL) == CV_OK);
    insert_at(b, 0, "xyz", NULL);
    EXPECT(cv_sync_put_step1(&out, b) == CV_OK);
    EXPECT(equals_hex(&out, text_of(v, "step1")));
    cv_writer_reset(&out);
    in = unhex(text_of(v, "step1"));
    EXPECT(cv_sync_handle(a, cv_writer_bytes(&in), NULL, &out, NULL,
                          &applied) == CV_OK);
    EXPECT(equals_hex(&out, text_of(v, "step2")) && !applied.news);
    cv_writer_fini(&in);
    in = unhex(text_of(v, "step2"));
    EXPECT(cv_sync_handle(b, cv_writer_bytes(&in), NULL, NULL, NULL,
                          &applied) == CV_OK);
    EXPECT(applied.news && cv_doc_text_bytes(b) == 6);
    cv_writer_fini(&in);
    /* The update of client 2 needs what it had before: it waits at a. */
    in = unhex(text_of(v, "update"));
    EXPECT(cv_sync_handle(a, cv_writer_bytes(&in), NULL, NULL, NULL,
                          &applied) == CV_OK);
    EXPECT(!applied.news && applied.waiting);
    cv_writer_fini(&in);
    cv_writer_reset(&out);
    {
        struct cv_sync_message m;
        struct cv_writer again = heap_writer();

        in = unhex(text_of(v, "update"));
        EXPECT(cv_sync_parse(&m, cv_writer_bytes(&in)) == CV_OK);
        EXPECT(m.kind == CV_SYNC_UPDATE);
        EXPECT(cv_sync_put_update(&again, m.payload) == CV_OK);
        EXPECT(equals_hex(&again, text_of(v, "update")));
        cv_writer_fini(&again);
    }
    cv_writer_fini(&in);
    cv_writer_fini(&out);
    cv_doc_free(a);
    cv_doc_free(b);
}

static void run_awareness(json_t *v)
{
    struct cv_awareness *aw;
    struct cv_bytes empty = {(const uint8_t *)"{}", 2};
    struct cv_writer own = heap_writer();
    json_t *step, *value;
    const char *key;
    size_t i;

    EXPECT(cv_awareness_new(&aw, 77, NULL) == CV_OK);
    EXPECT(cv_awareness_set(aw, empty, 0) == CV_OK);
    json_array_foreach(json_object_get(v, "steps"), i, step)
    {
        struct cv_writer w = unhex(text_of(step, "update"));
        uint64_t clients[8], clock;
        size_t n;

        EXPECT(cv_awareness_apply(aw, cv_writer_bytes(&w), 0, NULL, NULL,
                                  NULL) == CV_OK);
        cv_writer_fini(&w);
        n = cv_awareness_clients(aw, clients, 8);
        EXPECT(n == json_object_size(json_object_get(step, "states")) + 1);
        json_object_foreach(json_object_get(step, "states"), key, value)
        {
            struct cv_bytes state =
                cv_awareness_get(aw, strtoull(key, NULL, 10), NULL);
            json_t *j =
                json_loadb((const char *)state.data, state.len, 0, NULL);

            expect_json(j, value, key);
        }
        json_object_foreach(json_object_get(step, "clocks"), key, value)
        {
            cv_awareness_get(aw, strtoull(key, NULL, 10), &clock);
            /* Ours began with 1, Yjs' with 0. */
            EXPECT((json_int_t)clock == json_integer_value(value) ||
                   (strcmp(key, "77") == 0 && clock == 1));
        }
    }
    EXPECT(cv_awareness_encode_self(aw, &own) == CV_OK);
    EXPECT(equals_hex(&own, text_of(v, "own")));
    cv_writer_fini(&own);
    cv_awareness_free(aw);
}

static void run_reject(json_t *v)
{
    struct cv_doc *doc = new_doc(1);
    struct cv_writer bad = heap_writer(), before, after;

    insert_at(doc, 0, "unchanged", NULL);
    if (json_object_get(v, "update") != NULL) {
        cv_writer_fini(&bad);
        bad = unhex(text_of(v, "update"));
    } else {
        struct cv_writer part = unhex(text_of(v, "prefix"));

        cv_put_raw(&bad, part.data, part.len);
        cv_writer_fini(&part);
        part = unhex(text_of(v, "unit"));
        for (json_int_t i = json_integer_value(json_object_get(v, "times"));
             i > 0; i--)
            cv_put_raw(&bad, part.data, part.len);
        cv_writer_fini(&part);
        part = unhex(text_of(v, "suffix"));
        cv_put_raw(&bad, part.data, part.len);
        cv_writer_fini(&part);
    }
    before = encode_all(doc);
    EXPECT(cv_update_validate(cv_writer_bytes(&bad)) == CV_ERR_FORMAT);
    EXPECT(cv_doc_apply(doc, cv_writer_bytes(&bad), NULL, NULL, NULL) ==
           CV_ERR_FORMAT);
    after = encode_all(doc);
    EXPECT(cv_bytes_equal(cv_writer_bytes(&before), cv_writer_bytes(&after)));
    EXPECT(!cv_doc_waiting(doc));
    cv_writer_fini(&before);
    cv_writer_fini(&after);
    cv_writer_fini(&bad);
    cv_doc_free(doc);
}

static unsigned run_kind(const char *kind, void (*run)(json_t *v))
{
    unsigned n = 0;
    json_t *v;
    size_t i;

    json_array_foreach(vectors, i, v)
    {
        if (strcmp(text_of(v, "kind"), kind) != 0)
            continue;
        current = text_of(v, "name");
        run(v);
        n++;
    }
    return n;
}

TEST(updates_give_the_document_of_yjs)
{
    CHECK_EQ(run_kind("apply", run_apply), 121);
    /* Equal bytes are no duty, but what is written should be as compact. */
    print_message("%u of %u states are byte for byte those of Yjs\n",
                  equal_states, states);
}

TEST(state_for_a_state_vector_has_the_bytes_of_yjs)
{
    CHECK_EQ(run_kind("diff", run_diff), 12);
}

TEST(local_edits_send_the_bytes_of_yjs)
{
    CHECK_EQ(run_kind("local", run_local), 7);
}

TEST(relative_positions_are_those_of_yjs)
{
    CHECK_EQ(run_kind("relpos", run_relpos), 1);
}

TEST(sync_messages_are_those_of_y_protocols)
{
    CHECK_EQ(run_kind("sync", run_sync), 1);
}

TEST(awareness_does_what_y_protocols_does)
{
    CHECK_EQ(run_kind("awareness", run_awareness), 1);
}

TEST(damaged_updates_are_refused_whole)
{
    CHECK_EQ(run_kind("reject", run_reject), 73);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(updates_give_the_document_of_yjs),
        T(state_for_a_state_vector_has_the_bytes_of_yjs),
        T(local_edits_send_the_bytes_of_yjs),
        T(relative_positions_are_those_of_yjs),
        T(sync_messages_are_those_of_y_protocols),
        T(awareness_does_what_y_protocols_does),
        T(damaged_updates_are_refused_whole),
    };
    json_error_t why;
    json_t *file = json_load_file(VECTORS, JSON_ALLOW_NUL, &why);
    int failed;

    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", VECTORS, why.text);
        return 1;
    }
    vectors = json_object_get(file, "vectors");
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(file);
    return failed;
}
