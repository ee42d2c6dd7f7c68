#include "session/presence.h"

#include <jansson.h>
#include <string.h>

#include "session/control.h"

/* What browsers draw; terminals have their own (CoVimCursor1…8). */
static const char *const colour_text[CV_PRESENCE_COLOURS][2] = {
    {"#d9480f", "#d9480f33"}, {"#2b8a3e", "#2b8a3e33"},
    {"#1864ab", "#1864ab33"}, {"#862e9c", "#862e9c33"},
    {"#c92a2a", "#c92a2a33"}, {"#0b7285", "#0b728533"},
    {"#e67700", "#e6770033"}, {"#5f3dc4", "#5f3dc433"},
};

unsigned cv_presence_colour(const struct cv_key *identity)
{
    const struct cv_bytes part = {identity->b, CV_KEY_LEN};
    uint8_t hash[CV_HASH_LEN];

    cv_sha256(hash, &part, 1);
    return 1 + hash[0] % CV_PRESENCE_COLOURS;
}

/* ---- writing ---- */

static json_t *id_json(const struct cv_id *id)
{
    return json_pack("{s:I, s:I}", "client", (json_int_t)id->client, "clock",
                     (json_int_t)id->clock);
}

static json_t *relpos_json(const struct cv_relpos *pos)
{
    return json_pack("{s:o, s:o, s:o, s:i}", "type",
                     pos->has_type ? id_json(&pos->type) : json_null(), "tname",
                     pos->has_tname ? json_string(pos->tname) : json_null(),
                     "item", pos->has_item ? id_json(&pos->item) : json_null(),
                     "assoc", (int)pos->assoc);
}

static json_t *range_json(const struct cv_presence_position *range)
{
    return json_pack("{s:o, s:o}", "anchor", relpos_json(&range->anchor),
                     "head", relpos_json(&range->head));
}

static int append(const char *text, size_t len, void *user)
{
    struct cv_writer *w = user;

    return cv_put_raw(w, text, len) == CV_OK ? 0 : -1;
}

int cv_presence_encode(struct cv_writer *w,
                       const struct cv_presence_state *state)
{
    unsigned colour = state->colour >= 1 && state->colour <= CV_PRESENCE_COLOURS
                          ? state->colour
                          : 1;
    json_t *ranges = json_array();
    json_t *root;
    int err;

    for (unsigned i = 0; i < state->n_ranges && i < CV_PRESENCE_RANGES; i++)
        json_array_append_new(ranges, range_json(&state->ranges[i]));
    root = json_pack(
        "{s:{s:s, s:s, s:s}, s:o, s:{s:i, s:s, s:o}}", "user", "name",
        state->name, "color", colour_text[colour - 1][0], "colorLight",
        colour_text[colour - 1][1], "cursor",
        state->n_ranges ? range_json(&state->ranges[0]) : json_null(), "covim",
        "colour", (int)colour, "mode", state->mode, "ranges", ranges);
    if (!root)
        return CV_ERR_NOMEM;
    err = json_dump_callback(root, append, w, JSON_COMPACT) == 0 ? CV_OK
          : w->err != CV_OK                                      ? w->err
                                                                 : CV_ERR_NOMEM;
    json_decref(root);
    return err;
}

/* ---- reading ---- */

static bool read_id(const json_t *json, struct cv_id *out)
{
    const json_t *client = json_object_get(json, "client");
    const json_t *clock = json_object_get(json, "clock");

    if (!json_is_integer(client) || !json_is_integer(clock) ||
        json_integer_value(client) < 0 || json_integer_value(clock) < 0 ||
        (uint64_t)json_integer_value(client) > CV_VARUINT_MAX ||
        (uint64_t)json_integer_value(clock) > CV_VARUINT_MAX)
        return false;
    out->client = (uint64_t)json_integer_value(client);
    out->clock = (uint64_t)json_integer_value(clock);
    return true;
}

static bool read_relpos(const json_t *json, struct cv_relpos *out)
{
    const json_t *type = json_object_get(json, "type");
    const json_t *tname = json_object_get(json, "tname");
    const json_t *item = json_object_get(json, "item");
    const json_t *assoc = json_object_get(json, "assoc");

    memset(out, 0, sizeof(*out));
    if (!json_is_object(json))
        return false;
    if (type && !json_is_null(type)) {
        out->has_type = true;
        if (!read_id(type, &out->type))
            return false;
    }
    if (item && !json_is_null(item)) {
        out->has_item = true;
        if (!read_id(item, &out->item))
            return false;
    }
    if (tname && !json_is_null(tname)) {
        size_t len = json_string_length(tname);

        if (!json_is_string(tname) || len > CV_RELPOS_NAME_MAX ||
            memchr(json_string_value(tname), '\0', len))
            return false;
        out->has_tname = true;
        memcpy(out->tname, json_string_value(tname), len + 1);
    }
    if (assoc && !json_is_null(assoc)) {
        if (!json_is_integer(assoc))
            return false;
        out->assoc = json_integer_value(assoc) < 0 ? -1 : 0;
    }
    return out->has_type || out->has_item || out->has_tname;
}

static void read_range(struct cv_presence_state *out, const json_t *json)
{
    struct cv_presence_position range;

    if (out->n_ranges < CV_PRESENCE_RANGES && json_is_object(json) &&
        read_relpos(json_object_get(json, "anchor"), &range.anchor) &&
        read_relpos(json_object_get(json, "head"), &range.head))
        out->ranges[out->n_ranges++] = range;
}

static void read_mode(struct cv_presence_state *out, const json_t *json)
{
    const char *text = json_string_value(json);
    size_t len = json_string_length(json);

    if (!text || len >= sizeof(out->mode))
        return;
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return;
    memcpy(out->mode, text, len + 1);
}

int cv_presence_decode(struct cv_presence_state *out, struct cv_bytes text)
{
    const json_t *ours, *name, *colour, *ranges;
    json_t *root;

    memset(out, 0, sizeof(*out));
    if (text.len > CV_PRESENCE_BYTES)
        return CV_ERR_FORMAT;
    root = json_loadb((const char *)text.data, text.len,
                      JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return CV_ERR_FORMAT;
    }
    ours = json_object_get(root, "covim");
    name = json_object_get(json_object_get(root, "user"), "name");
    if (json_is_string(name))
        cv_text_clean(out->name, sizeof(out->name), json_string_value(name),
                      json_string_length(name));
    if (out->name[0] == '\0')
        memcpy(out->name, "Anonymous", sizeof("Anonymous"));

    colour = json_object_get(ours, "colour");
    if (json_is_integer(colour) && json_integer_value(colour) >= 1 &&
        json_integer_value(colour) <= CV_PRESENCE_COLOURS)
        out->colour = (unsigned)json_integer_value(colour);
    read_mode(out, json_object_get(ours, "mode"));

    ranges = json_object_get(ours, "ranges");
    for (size_t i = 0; i < json_array_size(ranges); i++)
        read_range(out, json_array_get(ranges, i));
    if (!json_is_array(ranges))
        read_range(out, json_object_get(root, "cursor"));
    json_decref(root);
    return CV_OK;
}
