/* See provider_name.h. */
#include "proto/provider_name.h"

#include <base/text.h>

#include "proto/reply_text.h"

enum { NAME_MAX_BYTES = 63, WRONG_MAX = 2, LETTERS_A_WRONG = 3 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Letters to insert, drop, replace or swap with their neighbour; SIZE_MAX for names that are no names. ASCII case is none. */
static size_t distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b), row[3][NAME_MAX_BYTES + 1];
    if (n > NAME_MAX_BYTES || m > NAME_MAX_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = row[i % 3], *before = row[(i - 1) % 3], *second = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            char x = rmd_lower(a[i - 1]), y = rmd_lower(b[j - 1]);
            now[j] = least(least(before[j], now[j - 1]) + 1, before[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == rmd_lower(b[j - 2]) && y == rmd_lower(a[i - 2]))
                now[j] = least(now[j], second[j - 2] + 1);
        }
    }
    return row[n % 3][m];
}

/* Of the name itself, and of every word that others use for it. A short word has few letters that may be wrong: "small" is no spelling of
 * "gmail", and a word of two or three letters is near nothing but itself. */
static size_t nearness(const char *wanted, const char *name) {
    const char *word, *of;
    size_t d = distance(wanted, name);
    for (size_t i = 0; rmd_provider_word(i, &word, &of); i++)
        if (strcmp(of, name) == 0)
            d = least(d, distance(wanted, word));
    size_t n = strlen(wanted), most = n <= WRONG_MAX + 1 ? 0 : least(n / LETTERS_A_WRONG, WRONG_MAX);
    return d > most ? SIZE_MAX : d;
}

void rmd_provider_search_add(struct rmd_provider_search *s, const char *name) {
    s->found = s->found || strcmp(name, s->wanted) == 0;
    rmd_buf_addf(&s->known, "%s%s", s->known.len ? ", " : "", name);
    size_t d = nearness(s->wanted, name);
    if (d > WRONG_MAX || (s->n_nearest && d > s->distance))
        return;
    if (d < s->distance)
        s->n_nearest = 0;
    s->distance = d;
    if (s->n_nearest < RMD_PROVIDER_NEAREST_MAX)
        rmd_copy(s->nearest[s->n_nearest++], sizeof s->nearest[0], name);
}

void rmd_provider_unknown(const struct rmd_provider_search *s, struct rmd_buf *out) {
    rmd_buf_addf(out, "there is no provider \"%.100s\"", s->wanted);
    for (size_t i = 0; i < s->n_nearest; i++)
        rmd_buf_addf(out, "%s%s", i ? ", " : s->n_nearest > 1 ? "; nearest are " : "; nearest is ", s->nearest[i]);
    rmd_buf_addf(out, "; known are %s", rmd_buf_str(&s->known));
}

void rmd_provider_search_release(struct rmd_provider_search *s) {
    rmd_buf_release(&s->known);
}
