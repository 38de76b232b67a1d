/* remuda classify: what a reply means, without a coordinator. remuda rules check: are the operator's files fine.
 *
 * A table (--tsv) is read and written in large pieces: what counts is how many replies a second. */
#include <errno.h>

#include "coordinator/ctl/ctl.h"
#include "proto/io/policy_files.h"
#include "proto/provider_name.h"
#include "proto/reply_text.h"
#include "proto/tsv.h"

enum { STDIN_MAX = 1 << 20, LINE_FIRST = 4096 };

struct asked {
    const char *reply, *stage, *provider, *rules_path, *providers_path;
    bool tsv;
};

/* ---------------------------------------------------------------- a single reply, for people */

static const char *scope_words(const struct rmd_verdict *v, char *out, size_t n) {
    static const struct {
        unsigned bit;
        const char *words;
    } names[] = {{RMD_SCOPE_SOURCE, "the source"},
                 {RMD_SCOPE_LANE, "the source at this provider"},
                 {RMD_SCOPE_NETWORK, "the source's network"},
                 {RMD_SCOPE_NODE, "the node"},
                 {RMD_SCOPE_CAMPAIGN, "the campaign"},
                 {RMD_SCOPE_SENDING_DOMAIN, "the sending domain"},
                 {RMD_SCOPE_MESSAGE, "this message"},
                 {RMD_SCOPE_RECIPIENT, "this recipient"},
                 {RMD_SCOPE_DESTINATION, "the destination"},
                 {RMD_SCOPE_OURSELVES, "ourselves"}};
    struct rmd_buf b = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (v->scope & names[i].bit)
            rmd_buf_addf(&b, "%s%s", b.len ? " and " : "", names[i].words);
    if (v->at_provider && !(v->scope & RMD_SCOPE_LANE))
        rmd_buf_addstr(&b, ", at this provider only");
    rmd_copy(out, n, rmd_buf_str(&b));
    rmd_buf_release(&b);
    return out;
}

static void add_time(struct rmd_buf *b, int64_t ms, const char *untimed) {
    char text[32];
    rmd_format_duration(ms, text);
    if (ms > 0)
        rmd_buf_addf(b, " for %s", text);
    else
        rmd_buf_addstr(b, untimed);
}

/* What stops, for how long; whether work may move; what becomes of the recipient. */
static void add_deed(struct rmd_buf *b, const struct rmd_verdict *v) {
    char where[160];
    scope_words(v, where, sizeof where);
    switch (v->action) {
    case RMD_ACTION_QUARANTINE:
        rmd_buf_addf(b, "Nothing more is sent from %s", where);
        add_time(b, v->duration_ms, " until a person resolves the incident");
        break;
    case RMD_ACTION_REST:
        rmd_buf_addf(b, "Rests: %s", where);
        add_time(b, v->duration_ms, "");
        break;
    case RMD_ACTION_SLOW:
        rmd_buf_addf(b, "Halves rate and connections: %s", where);
        add_time(b, v->duration_ms, "");
        break;
    case RMD_ACTION_NARROW:
        rmd_buf_addf(b, "Halves connections, and keeps the rate: %s", where);
        break;
    case RMD_ACTION_SHORTEN:
        rmd_buf_addf(b, "Sends fewer messages on a connection: %s", where);
        break;
    case RMD_ACTION_PAUSE:
        rmd_buf_addf(b, "Bulk mail stops in this scope: %s", where);
        add_time(b, v->duration_ms, "; a person looks when it repeats");
        break;
    case RMD_ACTION_NEXT_MX:
        rmd_buf_addstr(b, "Nothing stops; the next MX host is tried, then the message waits");
        break;
    default:
        rmd_buf_addf(b, "Nothing stops; it is about %s", where);
    }
    rmd_buf_addstr(b, ".\n");
    bool stops = v->action == RMD_ACTION_QUARANTINE || v->action == RMD_ACTION_REST ||
                 v->action == RMD_ACTION_PAUSE || rmd_action_slows(v->action);
    if (v->move)
        rmd_buf_addstr(b, "Waiting work may move to sources on other networks.\n");
    else if (stops)
        rmd_buf_addstr(b, "Waiting work does not move to other sources.\n");
}

static void add_recipient(struct rmd_buf *b, const struct rmd_verdict *v) {
    if (v->class == RMD_CLASS_DELIVERED)
        rmd_buf_addstr(b, "The receiver took the message.\n");
    else if (v->action == RMD_ACTION_SUPPRESS)
        rmd_buf_addstr(b, "The recipient has failed, and is suppressed: never contacted again.\n");
    else if (v->action == RMD_ACTION_SUPPRESS_SECOND)
        rmd_buf_addstr(b, "The recipient has failed. Denied once more, it is suppressed: never contacted again.\n");
    else if (v->action == RMD_ACTION_RETRY_SAME)
        rmd_buf_addstr(b, "The recipient is tried again later, from the same source.\n");
    else if (v->permanent)
        rmd_buf_addstr(b, "The recipient has failed, and is not suppressed.\n");
    else
        rmd_buf_addstr(b, "The recipient is tried again later, and is not suppressed.\n");
}

/* "full", "mailbox full"; a part of a word: "..ful..", "..ll", with its edge shown. */
static void add_token(struct rmd_buf *b, const char *token) {
    const char *text = token + 2;
    if (token[0] != 'g') {
        rmd_buf_addf(b, "            %-24s", text);
        return;
    }
    struct rmd_buf part = {0};
    size_t n = strlen(text);
    bool begins = text[0] == '_', ends = text[n - 1] == '_';
    rmd_buf_addf(&part, "%s%.*s%s", begins ? "" : "..", (int)(n - begins - ends), text + begins, ends ? "" : "..");
    rmd_buf_addf(b, "            %-24s", rmd_buf_str(&part));
    rmd_buf_release(&part);
}

static void add_reason(struct rmd_buf *b, const struct rmd_verdict *v, const struct rmd_why *why) {
    if (why->model.n_reasons) {
        rmd_buf_addstr(b, "by the learned model; no rule knows these words. They speak for it:\n");
        for (int i = 0; i < why->model.n_reasons; i++) {
            add_token(b, why->model.reason[i].token);
            rmd_buf_addf(b, " +%d.%02d\n", why->model.reason[i].weight / 100, why->model.reason[i].weight % 100);
        }
        rmd_buf_addf(b, "            it leads the next class by %d.%02d\n", why->model.margin / 100,
                     why->model.margin % 100);
    } else if (why->file) {
        rmd_buf_addf(b, "rule %s (%s:%d)", v->rule, why->file, why->line);
        if (why->pattern)
            rmd_buf_addf(b, ", pattern \"%s\"", why->pattern);
        if (why->source)
            rmd_buf_addf(b, "; %s", why->source);
        rmd_buf_addc(b, '\n');
    } else {
        rmd_buf_addstr(b, "the code alone; no rule knows these words\n");
    }
}

/* The reply; when it had no code, what it was taken for. */
static void add_read(struct rmd_buf *b, const struct rmd_reply *reply, bool has_code) {
    if (has_code)
        rmd_buf_addf(b, "%d", reply->code);
    else
        rmd_buf_addf(b, "no reply code was read; taken for a %d (%s)", reply->code,
                     *reply->enhanced         ? "by its enhanced code"
                     : reply->code / 100 == 4 ? "its words speak of what passes"
                                              : "nothing says that it passes");
    rmd_buf_addf(b, "%s%s, at %s", *reply->enhanced ? has_code ? " " : ", " : "", reply->enhanced,
                 rmd_stage_name(reply->stage));
}

static void print_people(const struct rmd_reply *reply, bool has_code, const struct rmd_verdict *v,
                         const struct rmd_why *why) {
    struct rmd_buf b = {0};
    char scopes[128];
    rmd_buf_addf(&b, "%s: %s\n", rmd_class_name(v->class), rmd_class_meaning(v->class));
    rmd_buf_addstr(&b, "  read      ");
    add_read(&b, reply, has_code);
    rmd_buf_addc(&b, '\n');
    rmd_buf_addf(&b, "  verdict   scope %s%s, %s%s\n", rmd_scope_format(v->scope, scopes, sizeof scopes),
                 v->at_provider ? " at this provider" : "", rmd_action_name(v->action), v->move ? ", may move" : "");
    rmd_buf_addstr(&b, "  because   ");
    add_reason(&b, v, why);
    if (v->class != RMD_CLASS_DELIVERED)
        add_deed(&b, v);
    add_recipient(&b, v);
    fputs(rmd_buf_str(&b), stdout);
    rmd_buf_release(&b);
}

static void print_json(const struct rmd_reply *reply, bool has_code, const struct rmd_verdict *v,
                       const struct rmd_why *why) {
    struct rmd_buf text = {0};
    json_t *scope = json_array(), *tokens = json_array();
    for (unsigned bit = 1; bit <= RMD_SCOPE_LANE; bit <<= 1) {
        char name[64];
        if (v->scope & bit)
            json_array_append_new(scope, json_string(rmd_scope_format(bit, name, sizeof name)));
    }
    for (int i = 0; i < why->model.n_reasons; i++)
        json_array_append_new(tokens, json_pack("{s:s,s:i}", "token", why->model.reason[i].token + 2, "weight",
                                                why->model.reason[i].weight));
    if (v->class != RMD_CLASS_DELIVERED)
        add_deed(&text, v);
    add_recipient(&text, v);
    json_t *j = json_pack(
        "{s:s,s:s,s:o,s:b,s:s,s:I,s:b,s:b,s:b,s:s,s:s*,s:i,s:s*,s:s*,s:o,s:i,s:{s:o,s:i,s:s,s:s},s:s}", "class",
        rmd_class_name(v->class), "meaning", rmd_class_meaning(v->class), "scope", scope, "at_provider",
        v->at_provider, "action", rmd_action_name(v->action), "duration_s", (json_int_t)(v->duration_ms / 1000),
        "move", v->move, "permanent", v->permanent, "suppress", v->action == RMD_ACTION_SUPPRESS, "rule", v->rule,
        "file", why->file, "line", why->line, "pattern", why->pattern, "source", why->source, "tokens", tokens,
        "margin", why->model.n_reasons ? why->model.margin : 0, "reply", "code",
        has_code ? json_integer(reply->code) : json_null(), "taken_for", reply->code, "enhanced", reply->enhanced,
        "stage", rmd_stage_name(reply->stage), "does", rmd_buf_str(&text));
    rmd_ctl_print_json(j);
    json_decref(j);
    rmd_buf_release(&text);
}

static int read_stdin(struct rmd_buf *out) {
    char piece[LINE_FIRST];
    for (size_t n; (n = fread(piece, 1, sizeof piece, stdin)) > 0 && out->len < STDIN_MAX;)
        rmd_buf_add(out, piece, n);
    return ferror(stdin) ? RMD_EIO : RMD_OK;
}

static int one_reply(struct rmd_ctl *c, const struct asked *a, const struct rmd_rules *rules) {
    struct rmd_buf text = {0};
    struct rmd_reply reply;
    struct rmd_verdict v;
    struct rmd_why why;
    int rc = CTL_OK;
    if (a->reply)
        rmd_buf_addstr(&text, a->reply);
    else if (read_stdin(&text) < 0)
        rc = rmd_ctl_fail(c, CTL_FAILED, "standard input: %s", strerror(errno));
    if (rc == CTL_OK && !rmd_trim(rmd_buf_slice(&text)).n)
        rc = rmd_ctl_usage(c, "there is no reply: give it as an argument in quotes, or on standard input");
    if (rc == CTL_OK) {
        bool has_code = rmd_reply_read(rmd_buf_slice(&text), &reply);
        enum rmd_stage told = reply.stage;
        reply.stage = a->stage                 ? rmd_stage_of_word(rmd_slice_str(a->stage))
                      : told != RMD_STAGE_NONE ? told
                                               : RMD_STAGE_RCPT;
        rmd_rules_explain(rules, &reply, rmd_provider_of_word(a->provider ? a->provider : ""), &v, &why);
        if (c->json)
            print_json(&reply, has_code, &v, &why);
        else
            print_people(&reply, has_code, &v, &why);
    }
    rmd_buf_release(&text);
    return rc;
}

/* ---------------------------------------------------------------- a table */

static const char *const columns[] = {"reply", "id", "stage", "provider", NULL};
enum { COL_REPLY, COL_ID, COL_STAGE, COL_PROVIDER };

struct table {
    const struct rmd_rules *rules;
    struct rmd_tsv tsv;
    enum rmd_stage stage; /* of rows that name none */
    const char *provider;
    FILE *out;
};

static void write_row(struct table *t) {
    struct rmd_reply reply;
    struct rmd_verdict v;
    char provider[64], scopes[128];
    const struct rmd_slice *value = t->tsv.value;
    rmd_reply_read(value[COL_REPLY], &reply);
    enum rmd_stage stage = rmd_stage_of_word(value[COL_STAGE]);
    if (stage == RMD_STAGE_DATA) /* others write DATA for the reply to the message itself */
        stage = RMD_STAGE_DOT;
    stage = stage != RMD_STAGE_NONE ? stage : reply.stage;
    reply.stage = stage != RMD_STAGE_NONE ? stage : t->stage;
    if (!rmd_copy_slice(provider, sizeof provider, rmd_trim(value[COL_PROVIDER])))
        provider[0] = 0;
    rmd_rules_classify(t->rules, &reply, rmd_provider_of_word(*provider ? provider : t->provider), &v);
    if (value[COL_ID].n)
        fwrite(value[COL_ID].p, 1, value[COL_ID].n, t->out);
    else
        fprintf(t->out, "%llu", (unsigned long long)t->tsv.rows);
    fprintf(t->out, "\t%s\t%s\t%s\t%lld\t%s\n", rmd_class_name(v.class),
            rmd_scope_format(v.scope, scopes, sizeof scopes), rmd_action_name(v.action),
            (long long)(v.duration_ms / 1000), v.rule);
}

static int whole_table(struct rmd_ctl *c, const struct asked *a, const struct rmd_rules *rules) {
    struct table t = {
        .rules = rules, .stage = RMD_STAGE_RCPT, .provider = a->provider ? a->provider : "", .out = stdout};
    FILE *in = a->reply ? fopen(a->reply, "r") : stdin;
    char *line = NULL;
    size_t cap = 0;
    bool header = false;
    int rc = CTL_OK;
    if (!in)
        return rmd_ctl_fail(c, CTL_FAILED, "%s: %s", a->reply, strerror(errno));
    if (a->stage)
        t.stage = rmd_stage_of_word(rmd_slice_str(a->stage));
    rmd_tsv_init(&t.tsv, columns);
    for (ssize_t n; rc == CTL_OK && (n = getline(&line, &cap, in)) > 0;) {
        int got = rmd_tsv_line(&t.tsv, rmd_slice(line, (size_t)n));
        if (got == RMD_ELIMIT || (t.tsv.columns && !rmd_tsv_has(&t.tsv, COL_REPLY))) {
            rc =
                rmd_ctl_fail(c, CTL_FAILED,
                             "the table's first line must name its columns, one of them `reply` (at most %d, between "
                             "tabs)",
                             RMD_TSV_COLUMNS_MAX);
        }
        if (rc == CTL_OK && t.tsv.columns && !header)
            header = fputs("id\tclass\tscope\taction\tduration_s\trule\n", t.out) >= 0;
        if (got == RMD_OK)
            write_row(&t);
    }
    if (rc == CTL_OK && rmd_tsv_end(&t.tsv) == RMD_OK)
        write_row(&t);
    if (rc == CTL_OK && !header)
        rc = rmd_ctl_usage(c, "there is no table: it begins with a line of column names, one of them `reply`");
    if (ferror(in) || fflush(t.out) != 0)
        rc = rmd_ctl_fail(c, CTL_FAILED, "%s", strerror(errno));
    free(line);
    rmd_tsv_release(&t.tsv);
    if (in != stdin)
        fclose(in);
    return rc;
}

static struct rmd_rules *load_rules(const struct asked *a, struct rmd_buf *err) {
    struct rmd_policy_paths paths = {.providers = a->providers_path, .rules = a->rules_path};
    struct rmd_policy_files files;
    if (rmd_policy_files_load(&paths, &files, err) < 0)
        return NULL;
    struct rmd_rules *rules = rmd_rules_shipped(rmd_buf_slice(&files.rules), a->rules_path ? a->rules_path : "", err);
    rmd_policy_files_release(&files);
    return rules;
}

/* A name that is nobody's would be judged by the rules of everybody, and look as if it were its own. */
static bool known_provider(struct rmd_ctl *c, const struct asked *a) {
    struct rmd_providers providers;
    struct rmd_buf err = {0}, why = {0};
    struct rmd_provider_search s = {.wanted = a->provider};
    bool found = true;
    if (rmd_providers_load(a->providers_path, &providers, &err) == RMD_OK) { /* else load_rules() says why */
        found = rmd_providers_find(&providers, rmd_provider_of_word(a->provider)) != NULL;
        for (size_t i = 0; i < providers.n; i++)
            rmd_provider_search_add(&s, providers.v[i]->name);
        rmd_providers_release(&providers);
    }
    rmd_provider_unknown(&s, &why);
    if (!found)
        rmd_ctl_usage(c, "--provider: %s", rmd_buf_str(&why));
    rmd_provider_search_release(&s);
    rmd_buf_release(&err);
    rmd_buf_release(&why);
    return found;
}

int rmd_ctl_classify(struct rmd_ctl *c) {
    struct asked a = {0};
    struct rmd_buf err = {0};
    const struct rmd_ctl_option options[] = {{"stage", &a.stage, NULL},      {"provider", &a.provider, NULL},
                                             {"rules", &a.rules_path, NULL}, {"providers", &a.providers_path, NULL},
                                             {"tsv", NULL, &a.tsv},          {0}};
    int rc = rmd_ctl_options(c, options, &a.reply, 0, 1);
    if (rc >= 0)
        return rc;
    if (a.stage && rmd_stage_of_word(rmd_slice_str(a.stage)) == RMD_STAGE_NONE)
        return rmd_ctl_usage(c, "--stage %s: expected connect, greeting, ehlo, starttls, mail, rcpt, data or dot",
                             a.stage);
    if (a.provider && !known_provider(c, &a))
        return CTL_USAGE;
    if (a.tsv && c->json)
        return rmd_ctl_usage(c, "--tsv writes a table; it has no --json");
    struct rmd_rules *rules =
        a.rules_path || a.providers_path ? load_rules(&a, &err) : rmd_rules_shipped(rmd_slice(NULL, 0), "", &err);
    if (!rules && c->json) {
        struct rmd_slice text = rmd_trim(rmd_buf_slice(&err));
        rmd_ctl_fail(c, CTL_FAILED, "%.*s", (int)text.n, (const char *)text.p);
    } else if (!rules) {
        fputs(rmd_buf_str(&err), stderr);
    }
    rc = !rules ? CTL_FAILED : a.tsv ? whole_table(c, &a, rules) : one_reply(c, &a, rules);
    rmd_rules_free(rules);
    rmd_buf_release(&err);
    return rc;
}

/* ---------------------------------------------------------------- rules check */

/* "file:12: what" into {file, line, text}. */
static json_t *finding_json(const char *line, size_t n) {
    const char *end = line + n, *colon = NULL;
    for (const char *p = line; p + 1 < end && !colon; p++)
        if (*p == ':' && p[1] >= '0' && p[1] <= '9')
            colon = p;
    uint64_t number = 0;
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    if (!colon || rmd_parse_u64(rmd_slice(colon + 1, digits), &number) < 0 || colon[1 + digits] != ':')
        return json_pack("{s:s%}", "text", line, n);
    const char *text = colon + 2 + digits;
    text += *text == ' ';
    return json_pack("{s:s%,s:I,s:s%}", "file", line, (size_t)(colon - line), "line", (json_int_t)number, "text",
                     text, (size_t)(end - text));
}

static void print_findings(struct rmd_ctl *c, const char *text) {
    json_t *all = json_array();
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        if (n && c->json)
            json_array_append_new(all, finding_json(p, n));
        p += n + (p[n] == '\n');
    }
    json_t *j = json_pack("{s:b,s:o}", "ok", 0, "findings", all);
    if (c->json)
        rmd_ctl_print_json(j);
    else
        fputs(text, stderr);
    json_decref(j);
}

int rmd_ctl_rules_check(struct rmd_ctl *c) {
    struct rmd_policy_paths paths = {0};
    const struct rmd_ctl_option options[] = {{"providers", &paths.providers, NULL},
                                             {"rules", &paths.rules, NULL},
                                             {"plans", &paths.plans, NULL},
                                             {"blocklists", &paths.blocklists, NULL},
                                             {0}};
    struct rmd_policy_files files;
    struct rmd_buf err = {0};
    int rc = rmd_ctl_options(c, options, NULL, 0, 0);
    if (rc >= 0)
        return rc;
    rc = rmd_policy_files_load(&paths, &files, &err) < 0 ? CTL_FAILED : CTL_OK;
    if (rc != CTL_OK) {
        print_findings(c, rmd_buf_str(&err));
    } else if (c->json) {
        json_t *j =
            json_pack("{s:b,s:[],s:i,s:i,s:i,s:i,s:i}", "ok", 1, "findings", "providers", (int)files.providers.n,
                      "rules", (int)files.n_rules, "own_rules", (int)files.n_own_rules, "plans", (int)files.plans.n,
                      "blocklists", (int)files.blocklists.n);
        rmd_ctl_print_json(j);
        json_decref(j);
    } else {
        printf("fine: %zu providers, %zu verdict rules, %zu of them your own, %zu warm-up plans, %zu blocklists\n",
               files.providers.n, files.n_rules, files.n_own_rules, files.plans.n, files.blocklists.n);
    }
    if (rc == CTL_OK)
        rmd_policy_files_release(&files);
    rmd_buf_release(&err);
    return rc;
}

int rmd_ctl_rules_reload(struct rmd_ctl *c) {
    json_t *answer = NULL;
    int rc = rmd_ctl_options(c, NULL, NULL, 0, 0);
    if (rc >= 0)
        return rc;
    rc = rmd_ctl_call(c, "POST", "/v1/rules/reload", NULL, &answer);
    if (rc != CTL_OK)
        return rc;
    if (c->json)
        rmd_ctl_print_json(answer);
    else
        printf("%s\n", rmd_json_s(answer, "text"));
    json_decref(answer);
    return CTL_OK;
}
