/* remuda: the table of commands, options that all of them share, help. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <unistd.h>

#include <remuda/version.h>

#include "coordinator/ctl/ctl.h"

static const char intro[] = "remuda: submit mail, look after sources, see what is going on.\n"
                            "\n"
                            "usage: remuda [--api SOCKET|URL] [--json] COMMAND [...]\n"
                            "\n";

static const char outro[] =
    "\n"
    "  --api WHERE     Unix socket of the coordinator (default " RMD_CTL_SOCKET
    ", or $REMUDA_API), or https://host:port\n"
    "  --token-file F  bearer token for https\n"
    "  --ca F          certificate to trust for https\n"
    "  --json          the API's answer instead of a table; errors as {\"error\", \"code\"} on standard output, too\n"
    "  --version       version (also `remuda version`)\n"
    "  --help          this text; `remuda COMMAND --help` explains one command\n"
    "\n"
    "A first campaign: keygen, node add, source add, stream set, send --watch.\n"
    "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not found, 4 coordinator not "
    "reachable, 5 done in part.\n";

static int show_help(void) {
    size_t width = 0;
    fputs(intro, stdout);
    for (const struct rmd_ctl_command *k = rmd_ctl_commands; k->family; k++) {
        size_t n = strlen(k->family) + (k->verb ? strlen(k->verb) + 1 : 0);
        width = n > width ? n : width;
    }
    for (const struct rmd_ctl_command *k = rmd_ctl_commands; k->family; k++) {
        int n = printf("  %s%s%s", k->family, k->verb ? " " : "", k->verb ? k->verb : "");
        printf("%*s%s\n", (int)width + 4 - n, "", k->brief);
    }
    fputs(outro, stdout);
    return CTL_OK;
}

static int show_version(void) {
    return printf("remuda %s\n", RMD_VERSION) > 0 ? CTL_OK : CTL_FAILED;
}

static void usage_line(const struct rmd_ctl_command *k, FILE *to) {
    fprintf(to, "usage: remuda %s%s%s%s%s\n", k->family, k->verb ? " " : "", k->verb ? k->verb : "",
            *k->arguments ? " " : "", k->arguments);
}

static void list_verbs(const char *family, FILE *to) {
    size_t width = 0;
    for (const struct rmd_ctl_command *k = rmd_ctl_commands; k->family; k++)
        if (k->verb && strcmp(k->family, family) == 0 && strlen(k->verb) > width)
            width = strlen(k->verb);
    for (const struct rmd_ctl_command *k = rmd_ctl_commands; k->family; k++)
        if (k->verb && strcmp(k->family, family) == 0)
            fprintf(to, "  %s %-*s  %s\n", k->family, (int)width, k->verb, k->brief);
}

static int show_command(const struct rmd_ctl_command *k) {
    bool family = false;
    printf("%s\n\n", k->brief);
    usage_line(k, stdout);
    if (*k->help)
        printf("\n%s", k->help);
    for (const struct rmd_ctl_command *x = rmd_ctl_commands; x->family && !k->verb; x++)
        family |= x->verb && strcmp(x->family, k->family) == 0;
    if (family) {
        puts("\nAlso:");
        list_verbs(k->family, stdout);
    }
    return CTL_OK;
}

static const char *code_of(enum rmd_ctl_exit exit) {
    return exit == CTL_USAGE         ? "usage"
           : exit == CTL_UNREACHABLE ? "unreachable"
           : exit == CTL_NOT_FOUND   ? "enotfound"
                                     : "failed";
}

static int complain(const struct rmd_ctl *c, enum rmd_ctl_exit exit, const char *fmt, va_list ap) {
    struct rmd_buf text = {0};
    rmd_buf_vaddf(&text, fmt, ap);
    if (c->json) {
        for (size_t i = 0; !rmd_utf8_valid(rmd_buf_slice(&text)) && i < text.len; i++)
            text.p[i] = text.p[i] < 0x80 ? text.p[i] : '?';
        json_t *o = json_pack("{s:s, s:s}", "error", rmd_buf_str(&text), "code", code_of(exit));
        rmd_ctl_print_json(o);
        json_decref(o);
    } else {
        fprintf(stderr, "remuda: %s\n", rmd_buf_str(&text));
    }
    rmd_buf_release(&text);
    return exit;
}

int rmd_ctl_fail(const struct rmd_ctl *c, enum rmd_ctl_exit exit, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    complain(c, exit, fmt, ap);
    va_end(ap);
    return exit;
}

int rmd_ctl_usage(struct rmd_ctl *c, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    complain(c, CTL_USAGE, fmt, ap);
    va_end(ap);
    if (c->json)
        return CTL_USAGE;
    usage_line(c->command, stderr);
    fprintf(stderr, "`remuda %s%s%s --help` tells more.\n", c->command->family, c->command->verb ? " " : "",
            c->command->verb ? c->command->verb : "");
    return CTL_USAGE;
}

bool rmd_ctl_duration(struct rmd_ctl *c, const char *option, const char *text, int64_t *ms) {
    size_t n = strlen(text);
    bool unit = n && (text[n - 1] < '0' || text[n - 1] > '9');
    if (unit && rmd_parse_duration_ms(rmd_slice_str(text), ms) == RMD_OK && *ms >= 0)
        return true;
    rmd_ctl_usage(c, "--%s: \"%s\" is not a time like 90s, 15min, 4h or 3d%s", option, text,
                  n && !unit ? "; it needs a unit" : "");
    return false;
}

static const struct rmd_ctl_option *find_option(const struct rmd_ctl_option *o, const char *name, size_t n) {
    for (; o && o->name; o++)
        if (strlen(o->name) == n && strncmp(o->name, name, n) == 0)
            return o;
    return NULL;
}

/* One "--name", "--name=value" or "--name value"; moves *i over what it used. */
static int take_option(struct rmd_ctl *c, const struct rmd_ctl_option *options, int *i) {
    const char *a = c->argv[*i] + 2, *eq = strchr(a, '=');
    const struct rmd_ctl_option *o = find_option(options, a, eq ? (size_t)(eq - a) : strlen(a));
    if (!o)
        return rmd_ctl_usage(c, "there is no option --%s here", a);
    if (o->flag) {
        *o->flag = true;
        return eq ? rmd_ctl_usage(c, "--%s takes no value", o->name) : -1;
    }
    if (!eq && *i + 1 >= c->argc)
        return rmd_ctl_usage(c, "--%s needs a value", o->name);
    *o->value = eq ? eq + 1 : c->argv[++*i];
    return -1;
}

int rmd_ctl_options(struct rmd_ctl *c, const struct rmd_ctl_option *options, const char **positional, int min,
                    int max) {
    int n = 0;
    for (int i = 0; i < c->argc; i++) {
        const char *a = c->argv[i];
        if (strcmp(a, "-f") == 0)
            a = c->argv[i] = (char *)(uintptr_t) "--follow";
        if (strncmp(a, "--", 2) == 0 && a[2]) {
            int rc = take_option(c, options, &i);
            if (rc >= 0)
                return rc;
        } else if (n == max) {
            return rmd_ctl_usage(c, "unexpected argument \"%s\"", a);
        } else {
            positional[n++] = a;
        }
    }
    return n < min ? rmd_ctl_usage(c, "an argument is missing") : -1;
}

/* Options that stand anywhere on the line; the others are kept in order. Returns the exit code to end with, or -1. */
static int common_options(struct rmd_ctl *c, int argc, char **argv, bool *help) {
    int n = 0;
    for (int i = 1; i < argc; i++)
        c->json = c->json || strcmp(argv[i], "--json") == 0; /* also for errors of what stands before it */
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        const char **value = strcmp(a, "--api") == 0          ? &c->api
                             : strcmp(a, "--token-file") == 0 ? &c->token_file
                             : strcmp(a, "--ca") == 0         ? &c->ca_file
                                                              : NULL;
        if (value && i + 1 == argc)
            return rmd_ctl_fail(c, CTL_USAGE, "%s needs a value", a);
        if (value)
            *value = argv[++i];
        else if (strcmp(a, "--json") == 0)
            continue;
        else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0)
            *help = true;
        else if (strcmp(a, "--version") == 0)
            return show_version();
        else
            argv[n++] = argv[i];
    }
    c->argc = n;
    c->argv = argv;
    return -1;
}

static const struct rmd_ctl_command *find_command(const struct rmd_ctl *c, bool *family) {
    for (const struct rmd_ctl_command *k = rmd_ctl_commands; k->family; k++) {
        if (strcmp(k->family, c->argv[0]) != 0)
            continue;
        *family = true;
        if (!k->verb || (c->argc > 1 && strcmp(k->verb, c->argv[1]) == 0))
            return k;
    }
    return NULL;
}

static int unknown(const struct rmd_ctl *c, bool family, bool help) {
    if (!family)
        return rmd_ctl_fail(c, CTL_USAGE, "there is no command \"%s\"; `remuda --help` lists them", c->argv[0]);
    if (c->json && !help)
        return rmd_ctl_fail(c, CTL_USAGE, "%s needs a verb; `remuda %s --help` lists them", c->argv[0], c->argv[0]);
    FILE *to = help ? stdout : stderr;
    if (!help)
        fprintf(stderr, "remuda: %s needs one of these:\n", c->argv[0]);
    list_verbs(c->argv[0], to);
    return help ? CTL_OK : CTL_USAGE;
}

/* The other end of the pipe is closed. */
static bool nobody_reads(void) {
    struct pollfd p = {.fd = STDOUT_FILENO};
    return poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

/* What was printed must have got out: a full disk is a failure, a reader that has seen enough is none. */
static int close_output(const struct rmd_ctl *c, int rc) {
    bool unread = nobody_reads(), failed = ferror(stdout) != 0;
    errno = 0;
    failed |= fclose(stdout) != 0;
    int why = c->output_error ? c->output_error : errno;
    if (!failed || why == EPIPE || unread)
        return rc;
    fprintf(stderr, "remuda: standard output: %s\n", why ? strerror(why) : "could not be written");
    return rc == CTL_OK || rc == CTL_PARTLY ? CTL_FAILED : rc;
}

static int run(struct rmd_ctl *c, int argc, char **argv) {
    bool help = false, family = false;
    int rc = common_options(c, argc, argv, &help);
    if (rc >= 0)
        return rc;
    if (c->argc == 0)
        return help ? show_help() : (show_help(), CTL_USAGE);
    if (strcmp(c->argv[0], "help") == 0) {
        if (c->argc == 1)
            return show_help();
        help = true; /* "help send" is "send --help" */
        c->argc--;
        c->argv++;
    }
    if (strcmp(c->argv[0], "version") == 0)
        return show_version();
    c->command = find_command(c, &family);
    if (!c->command)
        return unknown(c, family, help);
    if (help)
        return show_command(c->command);
    int words = c->command->verb ? 2 : 1;
    c->argc -= words;
    c->argv += words;
    rc = rmd_ctl_client_open(c);
    if (rc == CTL_OK)
        rc = c->command->run(c);
    rmd_ctl_client_close(c);
    return rc;
}

int main(int argc, char **argv) {
    const char *env = getenv("REMUDA_API");
    struct rmd_ctl c = {.api = env && *env ? env : RMD_CTL_SOCKET, .color = isatty(STDOUT_FILENO)};
    return close_output(&c, run(&c, argc, argv));
}
