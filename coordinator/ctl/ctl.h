/* The `remuda` command: a client of the coordinator's API. One file a family of commands; main.c has the table.
 *
 * Every command prints a table or sentences for people, and JSON as the API gave it with --json. Exit codes: 0 done,
 * 1 refused or failed (the reason is on standard error), 2 wrong usage, 3 not found, 4 coordinator not reachable, 5
 * done in part: rows were rejected (`send`), or nodes have not confirmed yet (`suppress add`).
 *
 * Errors are a line on standard error; with --json one object on standard output, {"error", "code"}, as the API gives
 * it; codes of this side are "usage", "unreachable" and "failed". */
#ifndef REMUDA_CTL_H
#define REMUDA_CTL_H

#include <jansson.h>

#include <base/text.h>

enum rmd_ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_NOT_FOUND = 3,
    CTL_UNREACHABLE = 4,
    CTL_PARTLY = 5
};

#define RMD_CTL_SOCKET "/run/remuda/api.sock"

struct rmd_ctl {
    const char *api; /* path of a Unix socket, or https://host:port */
    char base[1024]; /* the same without slashes at its end */
    const char *token_file, *ca_file;
    char *authorisation; /* header with the token */
    bool json;
    bool color;   /* standard output is a terminal */
    bool patient; /* a coordinator that does not answer is no error yet: nothing is said of it */
    void *curl;
    int output_error; /* errno of what could not be printed; 0: nothing was noticed yet */
    int argc;         /* arguments behind the command's words */
    char **argv;
    const struct rmd_ctl_command *command;
};

struct rmd_ctl_command {
    const char *family, *verb; /* verb NULL: the family is the command */
    const char *arguments;     /* for usage lines */
    const char *brief;         /* one line */
    const char *help;          /* what `--help` adds: options, an example */
    int (*run)(struct rmd_ctl *c);
};
extern const struct rmd_ctl_command rmd_ctl_commands[];

/* Options of a command: long names only; values are strings in the order of the list. Positional arguments stay. Ends
 * with name == NULL. Prints the usage and returns CTL_USAGE when something does not fit, -1 when all is well. */
struct rmd_ctl_option {
    const char *name;
    const char **value; /* takes an argument */
    bool *flag;
};
int rmd_ctl_options(struct rmd_ctl *c, const struct rmd_ctl_option *options, const char **positional, int min,
                    int max);
int rmd_ctl_usage(struct rmd_ctl *c, const char *fmt, ...) RMD_PRINTF(2, 3);
/* "90s", "15min", "4h", "3d": with its unit, or it could be anything. False after a usage error. */
bool rmd_ctl_duration(struct rmd_ctl *c, const char *option, const char *text, int64_t *ms);
/* Options that become members of a request (NULL: not given), false after a usage error. "50k", and as rmd_ctl_duration. */
bool rmd_ctl_set_count(struct rmd_ctl *c, json_t *o, const char *member, const char *option, const char *text);
bool rmd_ctl_set_duration(struct rmd_ctl *c, json_t *o, const char *member, const char *option, const char *text);
void rmd_ctl_set_text(json_t *o, const char *member, const char *text);
/* Calls fn for each piece of "a,b,c"; false stops. */
struct rmd_ctl_pieces { /* what fn mostly gets */
    struct rmd_ctl *c;
    json_t *to;
};
bool rmd_ctl_each_piece(const char *list, bool (*fn)(void *ctx, const char *piece), void *ctx);
/* "&key=value" of a URL; NULL: nothing. */
void rmd_ctl_query(struct rmd_ctl *c, struct rmd_buf *path, const char *key, const char *value);
/* The answer as JSON, or one line and its warnings; freed. */
int rmd_ctl_done(struct rmd_ctl *c, int rc, json_t *answer, const char *before, const char *name, const char *after);
void rmd_ctl_show_warnings(const json_t *answer);
/* Says what went wrong, and returns `exit`. */
int rmd_ctl_fail(const struct rmd_ctl *c, enum rmd_ctl_exit exit, const char *fmt, ...) RMD_PRINTF(3, 4);

/* ---- API: CTL_OK with *out (owned by the caller), or an exit code after the error was printed. body is stolen;
 * NULL: none. */
int rmd_ctl_call(struct rmd_ctl *c, const char *method, const char *path, json_t *body, json_t **out);
/* The answer printed as JSON, or shown by show(); freed. */
int rmd_ctl_show(struct rmd_ctl *c, int rc, json_t *answer, void (*show)(const json_t *));
/* Opens a stream of lines; fn is called a line, and ends it with false. */
int rmd_ctl_lines(struct rmd_ctl *c, const char *path, bool (*fn)(void *ctx, const char *line), void *ctx);
/* A segment or value of a URL, percent-encoded; the caller frees. */
char *rmd_ctl_escape(struct rmd_ctl *c, const char *s);
/* Submission; progress is told in bytes of the recipients. */
struct rmd_ctl_upload {
    json_t *meta;
    const char *template_path, *recipients_path;
    void (*progress)(void *ctx, uint64_t sent, uint64_t total);
    void *ctx;
};
int rmd_ctl_submit(struct rmd_ctl *c, const struct rmd_ctl_upload *u, json_t **out, long *status);
int rmd_ctl_client_open(struct rmd_ctl *c);
void rmd_ctl_client_close(struct rmd_ctl *c);
/* Prints the error of an answer; returns the exit code of its status. */
int rmd_ctl_error(const struct rmd_ctl *c, long status, const json_t *answer);

/* ---- output */
struct rmd_table;
/* columns: names separated by "|"; a name that begins with ">" is aligned to the right. */
struct rmd_table *rmd_table_new(const char *columns);
void rmd_table_cell(struct rmd_table *t,
                    const char *text); /* cell by cell; rows end by themselves; control characters are shown as "?" */
void rmd_table_count(struct rmd_table *t, uint64_t n);
/* Prints and frees; nothing at all prints `empty` instead (NULL: nothing). */
void rmd_table_print(struct rmd_table *t, const char *empty);
void rmd_ctl_print_json(const json_t *j);
/* What was printed leaves now; false: it could not, main() says so. */
bool rmd_ctl_flush(struct rmd_ctl *c);

/* Members of an answer; "" or 0 when absent. */
const char *rmd_json_s(const json_t *o, const char *key);
int64_t rmd_json_i(const json_t *o, const char *key);
double rmd_json_f(const json_t *o, const char *key);
/* "2026-11-23 10:00:00" (local time), "-" for null. */
const char *rmd_ctl_when(const char *rfc3339, char out[32]);
/* Of an attempt: "due" when its time has come. */
const char *rmd_ctl_when_next(const char *rfc3339, char out[32]);
/* A line of the API's for people: its times become local ones, control characters blanks. */
void rmd_ctl_line(const char *indent, const char *text);
void rmd_ctl_local(const char *text, struct rmd_buf *out);

/* ---- commands */
int rmd_ctl_send(struct rmd_ctl *c);
int rmd_ctl_status(struct rmd_ctl *c);
int rmd_ctl_campaign_list(struct rmd_ctl *c);
int rmd_ctl_campaign_show(struct rmd_ctl *c);
int rmd_ctl_campaign_verb(struct rmd_ctl *c);
int rmd_ctl_campaign_set(struct rmd_ctl *c);
/* --at, --over, --batch, --every as given; NULL: not given. Into the members of a request; false after a usage error. whole: of a
 * campaign that is to begin, which has no schedule yet. */
struct rmd_ctl_schedule {
    const char *at, *over, *batch, *every;
};
bool rmd_ctl_schedule(struct rmd_ctl *c, const struct rmd_ctl_schedule *s, bool whole, json_t *o);
void rmd_ctl_show_schedule(const json_t *campaign);
/* "FIRSTlane caps (google, yahoo)BETWEEN12 with nodes", into an empty buffer; nothing when nothing waits. */
void rmd_ctl_waits(const json_t *campaign, const char *first, const char *between, struct rmd_buf *out);
int rmd_ctl_source_add(struct rmd_ctl *c);
int rmd_ctl_source_list(struct rmd_ctl *c);
int rmd_ctl_source_show(struct rmd_ctl *c);
int rmd_ctl_source_set(struct rmd_ctl *c);
int rmd_ctl_source_verb(struct rmd_ctl *c);
int rmd_ctl_source_register(struct rmd_ctl *c);
int rmd_ctl_reputation(struct rmd_ctl *c);
/* Term by term; of lanes as the API gives them. */
void rmd_ctl_show_reputation(const json_t *reputations);
void rmd_ctl_show_pace(const json_t *lanes);
void rmd_ctl_show_stopped_sites(const json_t *sites); /* of "other" */
int rmd_ctl_warmup_show(struct rmd_ctl *c);
int rmd_ctl_warmup_verb(struct rmd_ctl *c);
int rmd_ctl_signal_complaints(struct rmd_ctl *c);
int rmd_ctl_plan(struct rmd_ctl *c);
int rmd_ctl_node_add(struct rmd_ctl *c);
int rmd_ctl_node_list(struct rmd_ctl *c);
int rmd_ctl_node_verb(struct rmd_ctl *c);
int rmd_ctl_stream_set(struct rmd_ctl *c);
int rmd_ctl_stream_list(struct rmd_ctl *c);
int rmd_ctl_stream_show(struct rmd_ctl *c);
int rmd_ctl_stream_verb(struct rmd_ctl *c);
int rmd_ctl_queue(struct rmd_ctl *c);
int rmd_ctl_events(struct rmd_ctl *c);
int rmd_ctl_explain(struct rmd_ctl *c);
int rmd_ctl_incident_list(struct rmd_ctl *c);
int rmd_ctl_incident_show(struct rmd_ctl *c);
int rmd_ctl_incident_resolve(struct rmd_ctl *c);
int rmd_ctl_incident_ticket(struct rmd_ctl *c);
int rmd_ctl_suppress_add(struct rmd_ctl *c);
int rmd_ctl_suppress_remove(struct rmd_ctl *c);
int rmd_ctl_suppress_check(struct rmd_ctl *c);
int rmd_ctl_suppress_decide(struct rmd_ctl *c);
int rmd_ctl_classify(struct rmd_ctl *c);
int rmd_ctl_rules_check(struct rmd_ctl *c);
int rmd_ctl_rules_reload(struct rmd_ctl *c);
int rmd_ctl_tls(struct rmd_ctl *c);
int rmd_ctl_tls_report(struct rmd_ctl *c);
int rmd_ctl_listings(struct rmd_ctl *c);
int rmd_ctl_listings_lists(struct rmd_ctl *c);
int rmd_ctl_listings_check(struct rmd_ctl *c);
int rmd_ctl_listings_removal(struct rmd_ctl *c);
/* A table of listings as the API gives them. */
void rmd_ctl_show_listings(const json_t *listings, const char *empty);
int rmd_ctl_keygen(struct rmd_ctl *c);
int rmd_ctl_resume_restored(struct rmd_ctl *c);
/* Watches a campaign until it is settled: a bar on a terminal, a line every ten seconds elsewhere, and what it waits for
 * when nothing moves. *last: how it ended, the caller's. */
int rmd_ctl_watch(struct rmd_ctl *c, const char *campaign, json_t **last);

#endif
