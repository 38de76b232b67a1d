/* Replies in every shape (see reply_text.h).
 *
 * The code is looked for where somebody would have put it: at the start of the text or of a line, behind the words
 * with which programs quote a server ("said: ", "smtp; ", "<<< "), and in front of an enhanced code anywhere. A number
 * in a sentence ("limit of 500 messages") is none. */
#include "proto/reply_text.h"

#include <strings.h>

#include <base/text.h>

#include "proto/rules_internal.h"

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

static bool is_blank(uint8_t c) {
    return c <= ' ';
}

static bool has(struct rmd_slice text, const char *words) {
    return rmd_case_find(text, rmd_slice_str(words)) != NULL;
}

/* ---------------------------------------------------------------- stages and providers */

static const struct {
    const char *word;
    enum rmd_stage stage;
} stage_words[] = {
    {"conn", RMD_STAGE_GREETING},   {"connection", RMD_STAGE_GREETING}, {"banner", RMD_STAGE_GREETING},
    {"helo", RMD_STAGE_EHLO},       {"mail from", RMD_STAGE_MAIL},      {"mail_from", RMD_STAGE_MAIL},
    {"mailfrom", RMD_STAGE_MAIL},   {"rcpt to", RMD_STAGE_RCPT},        {"rcpt_to", RMD_STAGE_RCPT},
    {"rcptto", RMD_STAGE_RCPT},     {"recipient", RMD_STAGE_RCPT},      {"end of data", RMD_STAGE_DOT},
    {"end-of-data", RMD_STAGE_DOT}, {"end of message", RMD_STAGE_DOT},  {"eom", RMD_STAGE_DOT},
    {"eod", RMD_STAGE_DOT},         {"message", RMD_STAGE_DOT},         {"initial", RMD_STAGE_GREETING},
};

enum rmd_stage rmd_stage_of_word(struct rmd_slice word) {
    char lower[32];
    if (!rmd_copy_slice(lower, sizeof lower, rmd_trim(word)))
        return RMD_STAGE_NONE;
    rmd_lower_str(lower);
    for (size_t i = 0; i < sizeof stage_words / sizeof *stage_words; i++)
        if (strcmp(stage_words[i].word, lower) == 0)
            return stage_words[i].stage;
    int stage = rmd_stage_parse(rmd_slice_str(lower));
    return stage < 0 ? RMD_STAGE_NONE : (enum rmd_stage)stage;
}

static const char *const same[][2] = {
    {"gmail", "google"},     {"googlemail", "google"}, {"yahooinc", "yahoo"},
    {"aol", "yahoo"},        {"microsoft", "outlook"}, {"hotmail", "outlook"},
    {"live", "outlook"},     {"icloud", "apple"},      {"exchangeonline", "office365"},
    {"o365", "office365"},   {"webde", "gmx"},         {"web.de", "gmx"},
    {"1und1", "gmx"},        {"franceptt", "orange"},  {"wanadoo", "orange"},
    {"tencent", "qq"},       {"163", "netease"},       {"emailsecuritycloud", "messagelabs"},
    {"charter", "spectrum"}, {"tonline", "t-online"}};

bool rmd_provider_word(size_t i, const char **word, const char **provider) {
    if (i >= sizeof same / sizeof *same)
        return false;
    *word = same[i][0];
    *provider = same[i][1];
    return true;
}

const char *rmd_provider_of_word(const char *word) {
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (strcasecmp(word, same[i][0]) == 0)
            return same[i][1];
    return word;
}

static const struct {
    const char *words;
    enum rmd_stage stage;
} told[] = {
    {"in reply to RCPT TO", RMD_STAGE_RCPT},
    {"in reply to MAIL FROM", RMD_STAGE_MAIL},
    {"in reply to end of DATA", RMD_STAGE_DOT},
    {"in reply to DATA", RMD_STAGE_DATA},
    {"in reply to EHLO", RMD_STAGE_EHLO},
    {"in reply to HELO", RMD_STAGE_EHLO},
    {"refused to talk to me", RMD_STAGE_GREETING},
    {"initial server greeting", RMD_STAGE_GREETING},
    {"in reply to STARTTLS", RMD_STAGE_STARTTLS},
    {"after RCPT TO", RMD_STAGE_RCPT},
    {"after MAIL FROM", RMD_STAGE_MAIL},
    {"after pipelined MAIL", RMD_STAGE_MAIL},
    {"after end of data", RMD_STAGE_DOT},
    {"after pipelined end of data", RMD_STAGE_DOT},
    {"after initial connection", RMD_STAGE_GREETING},
    {"after EHLO", RMD_STAGE_EHLO},
    {"after HELO", RMD_STAGE_EHLO},
    {"after DATA", RMD_STAGE_DATA},
};

static enum rmd_stage stage_told(struct rmd_slice text) {
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (has(text, told[i].words))
            return told[i].stage;
    return RMD_STAGE_NONE;
}

/* ---------------------------------------------------------------- codes */

/* Length of "550" at p, with what ends it: a blank, "-", an enhanced code after "#", or the end. */
static bool code_at(const uint8_t *p, size_t n) {
    if (n < 3 || (p[0] != '4' && p[0] != '5') || p[1] > '9' || !is_digit(p[1]) || !is_digit(p[2]))
        return false;
    return n == 3 || is_blank(p[3]) || p[3] == '-' || p[3] == '#' || p[3] == ':' || p[3] == '_';
}

static bool enhanced_follows(const uint8_t *p, size_t n) {
    size_t at = 3;
    while (at < n && (is_blank(p[at]) || p[at] == '-' || p[at] == '#' || p[at] == '_'))
        at++;
    return at + 5 <= n && (p[at] == '4' || p[at] == '5') && p[at + 1] == '.' && is_digit(p[at + 2]) &&
           (p[at + 3] == '.' || p[at + 4] == '.');
}

/* Words of programs that quote a server, right before the code. */
static bool quoted_before(const uint8_t *p, size_t at) {
    static const char *const marks[] = {
        "said:", "smtp;",  "<<<",   "response:", "responded:", "responded with", "reply:",
        "me:",   "error:", "code:", "status:",   "error",      "returned",       "-> "};
    while (at && is_blank(p[at - 1]))
        at--;
    if (at && (p[at - 1] == '"' || p[at - 1] == '\''))
        return true;
    if (at && p[at - 1] == ':') /* "host mx.example [192.0.2.1]: 550 ..." */
        return true;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t n = strlen(marks[i]);
        if (at >= n && rmd_case_eq(rmd_slice(p + at - n, n), rmd_slice_str(marks[i])))
            return true;
    }
    return false;
}

/* A reply that accepts begins with its code, and names no other; elsewhere "250" is a number. */
static bool accepts(struct rmd_slice s) {
    return s.n >= 3 && s.p[0] == '2' && s.p[1] <= '5' && is_digit(s.p[1]) && is_digit(s.p[2]) &&
           (s.n == 3 || is_blank(s.p[3]) || s.p[3] == '-');
}

/* Where the code stands, or n. */
static size_t find_code(const uint8_t *p, size_t n) {
    bool line = true;
    for (size_t i = 0; i < n; i++) {
        bool before = i == 0 || !(is_digit(p[i - 1]) || p[i - 1] == '.' || p[i - 1] == '-' ||
                                  ((p[i - 1] | 32) >= 'a' && (p[i - 1] | 32) <= 'z'));
        if (before && code_at(p + i, n - i) && (line || enhanced_follows(p + i, n - i) || quoted_before(p, i)))
            return i;
        if (p[i] == '\n')
            line = true;
        else if (!is_blank(p[i]) && p[i] != '"' && p[i] != '<' && p[i] != '(' && p[i] != '[')
            line = false;
    }
    return n;
}

/* The first "5.1.1" that is no part of an address. */
static void find_enhanced(struct rmd_slice text, char out[12]) {
    const uint8_t *p = text.p;
    size_t n = text.n;
    for (size_t i = 0; i < n; i++) {
        if ((p[i] != '4' && p[i] != '5') || (i && (is_digit(p[i - 1]) || p[i - 1] == '.')))
            continue;
        size_t at = i + 1, part = 0;
        for (; part < 2 && at < n && p[at] == '.'; part++) {
            size_t from = ++at;
            while (at < n && is_digit(p[at]) && at - from < 3)
                at++;
            if (at == from)
                break;
        }
        bool ends = at >= n || !(is_digit(p[at]) || (p[at] == '.' && at + 1 < n && is_digit(p[at + 1])));
        if (part == 2 && ends && rmd_copy_slice(out, 12, rmd_slice(p + i, at - i)))
            return;
    }
    out[0] = 0;
}

/* Words of what passes, for texts without any code. */
static bool sounds_temporary(struct rmd_slice text) {
    static const char *const words[] = {"temporar",        "try again", "later",    "deferred",
                                        "delayed",         "timed out", "timeout",  "connect to",
                                        "lost connection", "greylist",  "retry in", "busy"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (has(text, words[i]))
            return true;
    return false;
}

/* "(in reply to RCPT TO command)" and the like aren't the receiver's words. */
static struct rmd_slice without_tail(struct rmd_slice s) {
    const uint8_t *tail = rmd_case_find(s, rmd_slice_str("(in reply to "));
    return rmd_trim(tail && tail > s.p ? rmd_slice(s.p, (size_t)(tail - s.p)) : s);
}

bool rmd_reply_read(struct rmd_slice text, struct rmd_reply *out) {
    struct rmd_slice s = rmd_trim(text);
    *out = (struct rmd_reply){.stage = stage_told(s)};
    const uint8_t *server = rmd_case_find(s, rmd_slice_str("<<< ")); /* a transcript: what the server said */
    for (const uint8_t *p = server; p;
         p = rmd_case_find(rmd_slice(p, (size_t)(s.p + s.n - p)), rmd_slice_str("<<< "))) {
        p += 4;
        if (code_at(p, (size_t)(s.p + s.n - p))) {
            s = rmd_slice(p, (size_t)(s.p + s.n - p));
            break;
        }
    }
    size_t at = s.n ? find_code(s.p, s.n) : 0;
    if (at == s.n && accepts(s))
        at = 0;
    if (at < s.n) {
        out->code = (s.p[at] - '0') * 100 + (s.p[at + 1] - '0') * 10 + (s.p[at + 2] - '0');
        s = rmd_slice(s.p + at, s.n - at);
    }
    out->text = without_tail(s);
    find_enhanced(out->text, out->enhanced);
    bool read = out->code;
    if (!out->code && out->enhanced[0])
        out->code = out->enhanced[0] == '4' ? 450 : 550;
    if (!out->code)
        out->code = sounds_temporary(out->text) ? 450 : 550;
    return read;
}
