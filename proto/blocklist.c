/* Blocklists: questions and the meaning of answers (see blocklist.h). Pure. */
#include "proto/blocklist.h"

#include <base/text.h>

/* The shipped lists, as text, in the read-only data of the library (see site.c). */
__asm__(".pushsection .rodata\n"
        ".global rmd_blocklists_shipped\n"
        ".type rmd_blocklists_shipped, @object\n"
        "rmd_blocklists_shipped:\n"
        ".incbin \"proto/blocklists_shipped.conf\"\n"
        ".Lrmd_blocklists_shipped_end:\n"
        ".byte 0\n"
        ".size rmd_blocklists_shipped, . - rmd_blocklists_shipped\n"
        ".balign 8\n"
        ".global rmd_blocklists_shipped_n\n"
        ".type rmd_blocklists_shipped_n, @object\n"
        "rmd_blocklists_shipped_n:\n"
        ".quad .Lrmd_blocklists_shipped_end - rmd_blocklists_shipped\n"
        ".size rmd_blocklists_shipped_n, 8\n"
        ".popsection\n");

#define NAME_OF(id, value, name) \
    case value:                  \
        return name;
const char *rmd_tier_name(uint32_t tier) {
    switch (tier) {
        RMD_LIST_TIERS(NAME_OF)
    default:
        return "?";
    }
}
const char *rmd_list_kind_name(uint32_t kind) {
    switch (kind) {
        RMD_LIST_KINDS(NAME_OF)
    default:
        return "?";
    }
}
const char *rmd_meaning_name(uint32_t meaning) {
    switch (meaning) {
        RMD_LIST_MEANINGS(NAME_OF)
    default:
        return "?";
    }
}
const char *rmd_finding_name(uint32_t state) {
    switch (state) {
        RMD_FINDINGS(NAME_OF)
    default:
        return "?";
    }
}
const char *rmd_list_state_name(uint32_t state) {
    switch (state) {
        RMD_LIST_STATES(NAME_OF)
    default:
        return "?";
    }
}
#undef NAME_OF

uint32_t rmd_blocklist_id(const char *name) {
    char lower[RMD_LIST_NAME_MAX + 1];
    rmd_copy(lower, sizeof lower, name);
    rmd_lower_str(lower);
    uint32_t id = rmd_fnv32(rmd_slice_str(lower));
    return id ? id : 1;
}

/* ---------------------------------------------------------------- questions */

/* Letters, digits, "-", "_" in labels; at least one dot, or one of the test names. */
static bool domain_ok(const char *s) {
    size_t label = 0, n = 0;
    for (; s[n]; n++) {
        char c = rmd_lower(s[n]);
        if (c == '.') {
            if (!label)
                return false;
            label = 0;
        } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_') {
            if (++label > 63)
                return false;
        } else {
            return false;
        }
    }
    return label && n <= RMD_DOMAIN_MAX;
}

uint32_t rmd_subject_kind(const char *subject) {
    struct rmd_addr a;
    if (rmd_addr_parse(subject, &a) == RMD_OK)
        return a.family == 4 ? RMD_LIST_IP4 : RMD_LIST_IP6;
    return domain_ok(subject) ? RMD_LIST_DOMAIN : 0;
}

bool rmd_blocklist_answers(const Remuda__Blocklist *l, uint32_t kind) {
    return l->kinds & (kind == RMD_LIST_DOMAIN ? (uint32_t)(RMD_LIST_DOMAIN | RMD_LIST_URL) : kind);
}

int rmd_blocklist_below(const Remuda__Blocklist *l, const char *label, char out[RMD_DOMAIN_MAX + 1]) {
    const char *place = strstr(l->zone, RMD_LIST_KEY_PLACE);
    int n = place ? rmd_format(out, RMD_DOMAIN_MAX + 1, "%s.%.*s%s%s", label, (int)(place - l->zone), l->zone, l->key,
                               place + strlen(RMD_LIST_KEY_PLACE))
                  : rmd_format(out, RMD_DOMAIN_MAX + 1, "%s.%s", label, l->zone);
    if (n < 0)
        return n;
    rmd_lower_str(out);
    return RMD_OK;
}

int rmd_blocklist_query(const Remuda__Blocklist *l, const char *subject, char out[RMD_DOMAIN_MAX + 1]) {
    struct rmd_addr a;
    char label[RMD_DOMAIN_MAX + 1];
    if (rmd_addr_parse(subject, &a) != RMD_OK)
        return domain_ok(subject) ? rmd_blocklist_below(l, subject, out) : RMD_EINVAL;
    if (a.family == 4) {
        rmd_format(label, sizeof label, "%u.%u.%u.%u", a.b[3], a.b[2], a.b[1], a.b[0]);
    } else {
        static const char hex[] = "0123456789abcdef";
        size_t n = 0;
        for (int i = 15; i >= 0; i--) {
            label[n++] = hex[a.b[i] & 15];
            label[n++] = '.';
            label[n++] = hex[a.b[i] >> 4];
            label[n++] = '.';
        }
        label[n - 1] = 0;
    }
    return rmd_blocklist_below(l, label, out);
}

const char *rmd_blocklist_test(const Remuda__Blocklist *l, uint32_t kind, bool listed) {
    switch (kind) {
    case RMD_LIST_IP4:
        return listed ? "127.0.0.2" : "127.0.0.1";
    case RMD_LIST_IP6:
        return listed ? "::ffff:7f00:2" : "::ffff:7f00:1";
    default:
        return listed ? (*l->test ? l->test : "test") : (*l->untest ? l->untest : "invalid");
    }
}

/* ---------------------------------------------------------------- answers */

size_t rmd_blocklist_codes(const struct rmd_addr_answer *a, uint32_t out[RMD_LIST_ANSWERS_MAX]) {
    size_t n = 0;
    for (int i = 0; i < a->n && n < RMD_LIST_ANSWERS_MAX; i++)
        out[n++] = a->addr[i].family == 4 ? rmd_get_be32(a->addr[i].b) : 0;
    return n;
}

static void one_code(uint32_t code, char out[16]) {
    rmd_format(out, 16, "%u.%u.%u.%u", code >> 24, code >> 16 & 255, code >> 8 & 255, code & 255);
}

void rmd_blocklist_codes_format(const uint32_t *answer, size_t n, char *out, size_t out_n) {
    out[0] = 0;
    for (size_t i = 0; i < n; i++) {
        char one[16];
        size_t len = strlen(out);
        one_code(answer[i], one);
        if (rmd_format(out + len, out_n - len, "%s%s", i ? ", " : "", one) < 0)
            return;
    }
}

static bool code_matches(const Remuda__BlocklistCode *c, uint32_t answer) {
    if (!c->bits)
        return c->address == answer;
    return (c->address & 0xffffff00u) == (answer & 0xffffff00u) && (answer & c->address & 255);
}

static enum rmd_list_tier tier_of(const Remuda__Blocklist *l, uint32_t meaning) {
    switch (meaning) {
    case RMD_MEANS_LISTED:
        return l->tier < RMD_TIER_COUNT ? (enum rmd_list_tier)l->tier : RMD_TIER_ALERT;
    case RMD_MEANS_ACT:
    case RMD_MEANS_SNOWSHOE:
        return RMD_TIER_ACT;
    case RMD_MEANS_SLOW:
        return RMD_TIER_SLOW;
    default:
        return RMD_TIER_ALERT;
    }
}

static void add_text(struct rmd_list_judgement *out, const char *text) {
    size_t n = strlen(out->text);
    if (strstr(out->text, text))
        return;
    if (rmd_format(out->text + n, sizeof out->text - n, "%s%s", n ? "; " : "", text) < 0)
        out->text[n] = 0; /* what fits is enough */
}

static void RMD_PRINTF(2, 3) unknown(struct rmd_list_judgement *out, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(out->text, sizeof out->text, fmt, ap);
    va_end(ap);
    (void)n; /* cut, it still says why */
    out->state = RMD_FINDING_UNKNOWN;
}

/* One address of the answer; true: the whole answer says nothing. */
static bool one_answer(const Remuda__Blocklist *l, uint32_t answer, struct rmd_list_judgement *out,
                       bool *documented) {
    for (size_t i = 0; i < l->n_code; i++) {
        const Remuda__BlocklistCode *c = l->code[i];
        if (!code_matches(c, answer))
            continue;
        *documented = true;
        if (c->meaning == RMD_MEANS_ERROR) {
            unknown(out, "the list didn't look: %s", c->text);
            out->refused = true;
            return true;
        }
        if (c->meaning == RMD_MEANS_CLEAN)
            continue;
        enum rmd_list_tier tier = tier_of(l, c->meaning);
        if (out->state != RMD_FINDING_LISTED || tier > out->tier)
            out->tier = tier;
        out->state = RMD_FINDING_LISTED;
        out->snowshoe = out->snowshoe || c->meaning == RMD_MEANS_SNOWSHOE;
        add_text(out, c->text);
    }
    return false;
}

void rmd_blocklist_judge_codes(const Remuda__Blocklist *l, const uint32_t *answer, size_t n,
                               struct rmd_list_judgement *out) {
    *out = (struct rmd_list_judgement){.state = RMD_FINDING_CLEAN};
    bool documented = false;
    char code[16];
    for (size_t i = 0; i < n; i++) {
        if (answer[i] >> 24 == 127)
            continue;
        one_code(answer[i], code);
        unknown(out, "the answer %s is none that a list gives: the resolver rewrites what doesn't exist", code);
        out->rewritten = true;
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (one_answer(l, answer[i], out, &documented))
            return;
    if (!documented) {
        char codes[128];
        rmd_blocklist_codes_format(answer, n, codes, sizeof codes);
        unknown(out, "the answer %s is not a code that the list documents", codes);
    }
}

void rmd_blocklist_judge(const Remuda__Blocklist *l, const struct rmd_addr_answer *a,
                         struct rmd_list_judgement *out) {
    uint32_t codes[RMD_LIST_ANSWERS_MAX];
    size_t n = rmd_blocklist_codes(a, codes);
    *out = (struct rmd_list_judgement){.state = RMD_FINDING_CLEAN};
    if (a->status == RMD_DNS_TEMPFAIL)
        unknown(out, "%s", *a->detail ? a->detail : "no answer");
    else if (a->status == RMD_DNS_OK && n)
        rmd_blocklist_judge_codes(l, codes, n, out);
    /* NXDOMAIN and a name without address: not listed (RFC 5782, section 2.1) */
}

/* ---------------------------------------------------------------- refusals that name a list */

static bool word_char(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

/* As a word of its own, or of a longer name's end: "zen.spamhaus.org" is found in "b.zen.spamhaus.org". */
static bool says(struct rmd_slice reply, const char *word) {
    size_t n = strlen(word);
    struct rmd_slice rest = reply;
    for (const uint8_t *at; n && (at = rmd_case_find(rest, rmd_slice_str(word))) != NULL;) {
        const uint8_t *end = reply.p + reply.n;
        if ((at == reply.p || !word_char(at[-1])) && (at + n == end || !word_char(at[n])))
            return true;
        rest = rmd_slice(at + 1, (size_t)(end - at - 1));
    }
    return false;
}

bool rmd_blocklist_named(const Remuda__Blocklist *l, struct rmd_slice reply) {
    const char *place = strstr(l->zone, RMD_LIST_KEY_PLACE);
    const char *zone =
        place ? place + strlen(RMD_LIST_KEY_PLACE) + (place[strlen(RMD_LIST_KEY_PLACE)] == '.') : l->zone;
    if (says(reply, zone) || says(reply, l->name))
        return true;
    for (size_t i = 0; i < l->n_named; i++)
        if (says(reply, l->named[i]))
            return true;
    return false;
}
