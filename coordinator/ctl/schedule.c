/* When a campaign is sent: the options of `remuda send`, and `remuda campaign set`. */
#include "coordinator/ctl/ctl.h"

static const int64_t LONGEST_MS = INT64_C(366) * 24 * 3600 * 1000; /* as the coordinator has it */

/* n digits; -1: there are none. */
static int digits(const char **s, int n) {
    int v = 0;
    for (int i = 0; i < n; i++) {
        if ((*s)[i] < '0' || (*s)[i] > '9')
            return -1;
        v = v * 10 + (*s)[i] - '0';
    }
    *s += n;
    return v;
}

static bool character(const char **s, const char *any) {
    if (!**s || !strchr(any, **s))
        return false;
    ++*s;
    return true;
}

/* "09:00" or "09:00:30" */
static bool clock_time(const char **s, struct tm *tm) {
    tm->tm_hour = digits(s, 2);
    if (tm->tm_hour < 0 || tm->tm_hour > 23 || !character(s, ":"))
        return false;
    tm->tm_min = digits(s, 2);
    tm->tm_sec = character(s, ":") ? digits(s, 2) : 0;
    return tm->tm_min >= 0 && tm->tm_min < 60 && tm->tm_sec >= 0 && tm->tm_sec < 60;
}

/* A local time: "2026-12-01T09:00", "2026-12-01 09:00", "tomorrow 09:00", "today 18:30". False: it is none, or the clock never shows it,
 * because it is put forward at that moment. */
static bool local_time(const char *s, time_t now, time_t *out) {
    struct tm tm = {0}, back;
    bool tomorrow = strncmp(s, "tomorrow ", 9) == 0, today = strncmp(s, "today ", 6) == 0;
    if (tomorrow || today) {
        localtime_r(&now, &tm);
        tm.tm_mday += tomorrow;
        s += tomorrow ? 9 : 6;
    } else {
        tm.tm_year = digits(&s, 4) - 1900;
        bool good = tm.tm_year > 0 && character(&s, "-");
        tm.tm_mon = good ? digits(&s, 2) - 1 : -1;
        good = tm.tm_mon >= 0 && tm.tm_mon < 12 && character(&s, "-");
        tm.tm_mday = good ? digits(&s, 2) : -1;
        if (tm.tm_mday < 1 || tm.tm_mday > 31 || !character(&s, "T "))
            return false;
    }
    if (!clock_time(&s, &tm) || *s)
        return false;
    tm.tm_isdst = -1;
    struct tm asked = tm;
    *out = mktime(&tm);
    localtime_r(out, &back);
    return *out != (time_t)-1 && back.tm_hour == asked.tm_hour && back.tm_min == asked.tm_min &&
           (tomorrow || today || back.tm_mday == asked.tm_mday);
}

/* "2026-12-01T09:00+01:00": seconds may be left out. */
static bool zoned_time(const char *s, int64_t *ms) {
    char full[64];
    size_t n = strlen(s);
    if (n > 40 || n < 17 || strchr("TtT ", s[10]) == NULL)
        return false;
    if (rmd_date_parse_rfc3339(rmd_slice_str(s), ms) == RMD_OK)
        return true;
    return s[13] == ':' && s[16] != ':' && rmd_format(full, sizeof full, "%.16s:00%s", s, s + 16) > 0 &&
           rmd_date_parse_rfc3339(rmd_slice_str(full), ms) == RMD_OK;
}

/* NULL after a usage error. */
static json_t *start_time(struct rmd_ctl *c, const char *text) {
    int64_t ms;
    time_t t;
    char out[32];
    if (zoned_time(text, &ms)) {
    } else if (local_time(text, time(NULL), &t)) {
        ms = (int64_t)t * 1000;
    } else {
        rmd_ctl_usage(
            c,
            "--at: \"%s\" is not a time like 2026-12-01T09:00 (of this computer's clock), 2026-12-01T09:00Z, "
            "2026-12-01T09:00+01:00 or \"tomorrow 09:00\"",
            text);
        return NULL;
    }
    rmd_date_rfc3339(ms, out);
    return json_string(out);
}

static bool given(const char *text) {
    return text && strcmp(text, "none") != 0;
}

static bool duration(struct rmd_ctl *c, json_t *o, const char *member, const char *option, const char *text) {
    int64_t ms = 0;
    if (!text)
        return true;
    if (given(text) && !rmd_ctl_duration(c, option, text, &ms))
        return false;
    if (given(text) && (ms < 1000 || ms > LONGEST_MS)) {
        rmd_ctl_usage(c, "--%s: \"%s\" is not from 1s to a year", option, text);
        return false;
    }
    json_object_set_new(o, member, json_integer(ms));
    return true;
}

/* What can't be right whatever the campaign is; `whole`: a campaign begins with these, nothing is there already. */
static bool consistent(struct rmd_ctl *c, const struct rmd_ctl_schedule *s, bool whole) {
    bool over = given(s->over), batch = given(s->batch), every = given(s->every);
    if (over && (batch || every))
        rmd_ctl_usage(
            c, "--over or --batch with --every: a campaign is spread over a period, or goes in batches, not both");
    else if (whole && batch && !every)
        rmd_ctl_usage(c, "--batch needs --every, the time from one batch to the next: --batch %s --every 30min",
                      s->batch);
    else if (whole && every && !batch)
        rmd_ctl_usage(c, "--every needs --batch, the size of a batch: --batch 1000 --every %s", s->every);
    else
        return true;
    return false;
}

bool rmd_ctl_schedule(struct rmd_ctl *c, const struct rmd_ctl_schedule *s, bool whole, json_t *o) {
    uint64_t n = 0;
    if (!consistent(c, s, whole))
        return false;
    if (s->at) {
        json_t *at = strcmp(s->at, "now") == 0 ? json_null() : start_time(c, s->at);
        if (!at)
            return false;
        json_object_set_new(o, "start_at", at);
    }
    if (given(s->batch) && (rmd_parse_count(rmd_slice_str(s->batch), &n) < 0 || n == 0 || n > INT64_MAX)) {
        rmd_ctl_usage(c, "--batch: \"%s\" is not a number of recipients like 1000 or 5k", s->batch);
        return false;
    }
    if (s->batch)
        json_object_set_new(o, "batch", json_integer((json_int_t)n));
    return duration(c, o, "over_ms", "over", s->over) && duration(c, o, "every_ms", "every", s->every);
}

int rmd_ctl_campaign_set(struct rmd_ctl *c) {
    const char *id, *reason = "";
    struct rmd_ctl_schedule s = {0};
    const struct rmd_ctl_option o[] = {{"at", &s.at, NULL},       {"over", &s.over, NULL},
                                       {"batch", &s.batch, NULL}, {"every", &s.every, NULL},
                                       {"reason", &reason, NULL}, {0}};
    int rc = rmd_ctl_options(c, o, &id, 1, 1);
    if (rc >= 0)
        return rc;
    json_t *body = json_pack("{s:s}", "reason", reason), *answer = NULL;
    if (!s.at && !s.over && !s.batch && !s.every)
        rc = rmd_ctl_usage(c, "what is to change: --at, --over, --batch or --every");
    else if (!rmd_ctl_schedule(c, &s, false, body))
        rc = CTL_USAGE;
    if (rc >= 0) {
        json_decref(body);
        return rc;
    }
    char *e = rmd_ctl_escape(c, id), path[256];
    rmd_format(path, sizeof path, "/v1/campaigns/%s", e);
    free(e);
    rc = rmd_ctl_call(c, "PUT", path, body, &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    else if (rc == CTL_OK)
        rmd_ctl_show_schedule(answer);
    json_decref(answer);
    return rc;
}

/* "starts 2026-12-01 09:00:00; 1,000 every 30min; all released by ..." */
void rmd_ctl_show_schedule(const json_t *k) {
    char when[32], n[32], m[32];
    bool scheduled = strcmp(rmd_json_s(k, "state"), "scheduled") == 0;
    if (*rmd_json_s(k, "starts"))
        printf("  %-9s %s\n", scheduled ? "starts" : "started", rmd_ctl_when(rmd_json_s(k, "starts"), when));
    if (rmd_json_i(k, "over_ms")) {
        rmd_format_duration(rmd_json_i(k, "over_ms"), n);
        printf("  spread    over %s\n", n);
    }
    if (rmd_json_i(k, "batch")) {
        rmd_format_count((uint64_t)rmd_json_i(k, "batch"), n);
        rmd_format_duration(rmd_json_i(k, "every_ms"), m);
        printf("  batches   of %s every %s\n", n, m);
    }
    if (!rmd_json_i(k, "over_ms") && !rmd_json_i(k, "batch"))
        return;
    rmd_format_count((uint64_t)rmd_json_i(k, "released"), n);
    rmd_format_count((uint64_t)rmd_json_i(k, "rows"), m);
    printf("  released  %s of %s\n", n, m);
    if (*rmd_json_s(k, "next_release")) {
        rmd_format_count((uint64_t)rmd_json_i(k, "next_recipients"), n);
        printf("  next      %s at %s", n, rmd_ctl_when(rmd_json_s(k, "next_release"), when));
        printf(", all released by %s\n", rmd_ctl_when(rmd_json_s(k, "all_released"), when));
    }
}
