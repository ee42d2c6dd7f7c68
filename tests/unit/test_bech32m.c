/* The checksum itself against the vectors of BIP 350, whose human-readable
 * parts are not ours: so the module is compiled into this test. */
#include "base/keytext.c"

#include "tests/test.h"

/* Is `text` (lower case) a codeword? */
static bool is_codeword(const char *text)
{
    const char *one = strrchr(text, '1');
    uint8_t groups[128];
    char prefix[128];
    size_t n = 0;

    REQUIRE(one && strlen(text) < sizeof(prefix));
    memcpy(prefix, text, (size_t)(one - text) + 1);
    prefix[one - text + 1] = '\0';
    for (const char *c = one + 1; *c; c++) {
        const char *letter = strchr(letters, *c);

        if (!letter)
            return false;
        groups[n++] = (uint8_t)(letter - letters);
    }
    return polymod(prefix, groups, n) == BECH32M;
}

TEST(valid_strings_of_bip_350)
{
    static const char *const cases[] = {
        "a1lqfn3a",
        "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharacters"
        "bioandnumber11sg7hg6",
        "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
        "11lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
        "lllllllllllllludsr8",
        "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
        "?1v759aa",
        "bc1sw50qgdz25j",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5"
        "nd6y",
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (!is_codeword(cases[i]))
            print_error("refused: %s\n", cases[i]);
        CHECK(is_codeword(cases[i]));
    }
}

TEST(invalid_strings_of_bip_350)
{
    static const char *const cases[] = {
        "m1vuxwez",   /* computed over an upper-case prefix */
        "y1b0jsk6g",  /* no letter */
        "lt1igcx5c0", /* the same */
        "mm1crxm3i",  /* in the checksum */
        "au1s5cgom",
        /* BIP 173 in the place of BIP 350. */
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
        "a12uel5l",
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK(!is_codeword(cases[i]));
}

TEST(groups_come_back)
{
    uint8_t bytes[48], again[48], groups[INVITE_GROUPS];

    for (size_t len = 0; len <= sizeof(bytes); len++) {
        size_t n;

        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)(i * 151 + len);
        n = to_groups(groups, bytes, len);
        CHECK_EQ(n, (len * 8 + 4) / 5);
        CHECK(from_groups(again, groups, n));
        CHECK_MEM(again, bytes, len);
        if (n > 0 && len * 8 % 5 != 0) {
            groups[n - 1] |= 1;
            CHECK(!from_groups(again, groups, n));
        }
    }
}

RUN_TESTS(T(valid_strings_of_bip_350), T(invalid_strings_of_bip_350),
          T(groups_come_back))
