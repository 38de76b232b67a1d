/* Sending days by the operator's calendar (see sending_day.h). */
#include "coordinator/io/sending_day.h"

#include <time.h>
#include <unistd.h>

#include <base/text.h>

static const char *zone_folder(void) {
    const char *dir = getenv("TZDIR");
    return dir && *dir ? dir : "/usr/share/zoneinfo";
}

static int two_digits(const char *s) {
    return s[0] >= '0' && s[0] <= '9' && s[1] >= '0' && s[1] <= '9' ? (s[0] - '0') * 10 + s[1] - '0' : -1;
}

/* "HH:MM" to minutes. */
static int minutes_of(const char *s) {
    int hour = strlen(s) == 5 && s[2] == ':' ? two_digits(s) : -1, minute = hour >= 0 ? two_digits(s + 3) : -1;
    return hour < 0 || hour > 23 || minute < 0 || minute > 59 ? -1 : hour * 60 + minute;
}

int rmd_sending_day_parse(const char *text, int64_t *ms) {
    int minutes = minutes_of(text);
    if (minutes < 0)
        return RMD_EFORMAT;
    *ms = minutes * INT64_C(60000);
    return RMD_OK;
}

static bool is_offset(const char *zone) {
    return *zone == '+' || *zone == '-';
}

int rmd_sending_day_check(const char *zone, char *err, size_t err_n) {
    char path[512];
    if (!*zone)
        return RMD_OK;
    if (is_offset(zone)) {
        int minutes = minutes_of(zone + 1);
        if (minutes >= 0 && minutes <= 14 * 60)
            return RMD_OK;
        rmd_format(err, err_n, "\"%.64s\" is not an offset like +02:00", zone);
        return RMD_EFORMAT;
    }
    bool name = *zone != '/' && *zone != '.' && !strstr(zone, "..") &&
                rmd_format(path, sizeof path, "%s/%s", zone_folder(), zone) > 0;
    if (name && access(path, R_OK) == 0)
        return RMD_OK;
    rmd_format(
        err, err_n,
        "there is no time zone \"%.64s\" in %.256s; a name like Europe/Berlin or an offset like +02:00 is needed",
        zone, zone_folder());
    return RMD_ENOTFOUND;
}

void rmd_sending_day_zone(const char *zone) {
    char text[300];
    if (is_offset(zone)) /* POSIX counts westwards */
        rmd_format(text, sizeof text, "<%c%.2s%.2s>%c%.5s", *zone, zone + 1, zone + 4, *zone == '+' ? '-' : '+',
                   zone + 1);
    else
        rmd_format(text, sizeof text, ":%.256s", zone);
    if (*zone)
        setenv("TZ", text, 1);
    tzset();
}

/* The boundary on the date of tm, some days later. */
static int64_t boundary(const struct tm *tm, int days, int64_t starts_ms) {
    struct tm at = {.tm_year = tm->tm_year,
                    .tm_mon = tm->tm_mon,
                    .tm_mday = tm->tm_mday + days,
                    .tm_hour = (int)(starts_ms / 3600000),
                    .tm_min = (int)(starts_ms / 60000 % 60),
                    .tm_isdst = -1};
    return (int64_t)mktime(&at) * 1000;
}

static int64_t date_number(const struct tm *tm, int days) {
    struct tm at = {.tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = tm->tm_mday + days};
    return (int64_t)timegm(&at) / 86400;
}

void rmd_sending_day_at(int64_t wall_ms, int64_t starts_ms, struct rmd_sending_day *out) {
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm = {0};
    localtime_r(&s, &tm);
    int from = wall_ms < boundary(&tm, 0, starts_ms) ? -1 : 0;
    *out = (struct rmd_sending_day){.number = date_number(&tm, from),
                                    .start_wall_ms = boundary(&tm, from, starts_ms),
                                    .end_wall_ms = boundary(&tm, from + 1, starts_ms)};
}
