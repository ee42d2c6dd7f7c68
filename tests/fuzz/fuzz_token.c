/* The text of tokens: no text breaks the reader, and what it takes is written
 * the same way again. */
#include "discovery/token.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), why[64], again[CV_TOKEN_TEXT];
    struct cv_token t, u;

    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    for (enum cv_token_kind kind = CV_TOKEN_HOST; kind <= CV_TOKEN_GUEST;
         kind++) {
        if (cv_token_parse(&t, kind, text, why, sizeof(why)) != CV_OK) {
            if (strlen(why) == 0)
                abort();
            continue;
        }
        cv_token_format(&t, again);
        if (!cv_token_is(kind, text) ||
            cv_token_parse(&u, kind, again, why, sizeof(why)) != CV_OK ||
            memcmp(&t, &u, sizeof(t)) != 0)
            abort();
    }
    free(text);
    return 0;
}
