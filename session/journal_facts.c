#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "session/journal_struct.h"

/* The facts, all in memory: few and small, the latest of a key wins. */

static struct cv_bytes fact_key(const struct cv_journal_entry *f)
{
    return CV_BYTES(f->bytes, f->key_len);
}

static struct cv_bytes fact_value(const struct cv_journal_entry *f)
{
    return CV_BYTES(f->bytes + f->key_len, f->value_len);
}

struct cv_journal_entry *cv_journal_find_fact(const struct cv_journal *j,
                                              uint8_t type, struct cv_bytes key)
{
    for (size_t i = 0; i < j->n_facts; i++)
        if (j->facts[i].type == type &&
            cv_bytes_equal(fact_key(&j->facts[i]), key))
            return &j->facts[i];
    return NULL;
}

static void drop_fact_bytes(struct cv_journal_entry *f)
{
    /* One of them is the secret of the session. */
    cv_wipe(f->bytes, (size_t)f->key_len + f->value_len);
    free(f->bytes);
}

int cv_journal_set_fact(struct cv_journal *j, uint8_t type, struct cv_bytes key,
                        struct cv_bytes value)
{
    struct cv_journal_entry *f = cv_journal_find_fact(j, type, key);
    uint8_t *bytes;

    if (!value.len) {
        if (f) {
            drop_fact_bytes(f);
            memmove(f, f + 1,
                    (size_t)(j->facts + j->n_facts - (f + 1)) * sizeof(*f));
            j->n_facts--;
        }
        return CV_OK;
    }
    if (key.len > CV_JOURNAL_FACT_KEY || value.len > CV_JOURNAL_FACT_VALUE ||
        (!f && j->n_facts == CV_JOURNAL_FACTS))
        return CV_ERR_LIMIT;
    bytes = malloc(key.len + value.len);
    if (!bytes)
        return CV_ERR_NOMEM;
    if (key.len)
        memcpy(bytes, key.data, key.len);
    memcpy(bytes + key.len, value.data, value.len);
    if (f) {
        drop_fact_bytes(f);
    } else {
        if (j->n_facts == j->facts_cap) {
            size_t cap = j->facts_cap ? 2 * j->facts_cap : 16;
            struct cv_journal_entry *facts =
                realloc(j->facts, cap * sizeof(*facts));

            if (!facts) {
                free(bytes);
                return CV_ERR_NOMEM;
            }
            j->facts = facts;
            j->facts_cap = cap;
        }
        f = &j->facts[j->n_facts++];
    }
    f->type = type;
    f->key_len = (uint8_t)key.len;
    f->value_len = (uint16_t)value.len;
    f->bytes = bytes;
    return CV_OK;
}

struct cv_bytes cv_journal_get(const struct cv_journal *j,
                               enum cv_journal_fact type, struct cv_bytes key)
{
    const struct cv_journal_entry *f =
        cv_journal_find_fact(j, (uint8_t)type, key);

    return f ? fact_value(f) : CV_BYTES(NULL, 0);
}

void cv_journal_each(const struct cv_journal *j, enum cv_journal_fact type,
                     void (*fn)(void *user, struct cv_bytes key,
                                struct cv_bytes value),
                     void *user)
{
    for (size_t i = 0; i < j->n_facts; i++)
        if (j->facts[i].type == type)
            fn(user, fact_key(&j->facts[i]), fact_value(&j->facts[i]));
}

int cv_journal_put_facts(const struct cv_journal *j, struct cv_writer *w)
{
    int err = CV_OK;

    for (size_t i = 0; i < j->n_facts && err == CV_OK; i++)
        err = cv_journal_put_fact(w, j->facts[i].type, fact_key(&j->facts[i]),
                                  fact_value(&j->facts[i]));
    return err;
}

void cv_journal_drop_facts(struct cv_journal *j)
{
    for (size_t i = 0; i < j->n_facts; i++)
        drop_fact_bytes(&j->facts[i]);
    free(j->facts);
    j->facts = NULL;
    j->n_facts = j->facts_cap = 0;
}
