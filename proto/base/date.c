/* Dates in UTC by calendar arithmetic: no time zone, no locale, no hidden state (RFC 5322 section 3.3, RFC 3339).
 *
 * The calendar is the proleptic Gregorian one. Both formats have four digits for the year: times outside the years 0
 * to 9999 are written as the nearest moment inside. */
#include <base/text.h>

#include <assert.h>

#define MS_A_DAY INT64_C(86400000)
#define WALL_MIN_MS (INT64_C(-719528) * MS_A_DAY)     /* 0000-01-01 */
#define WALL_MAX_MS (INT64_C(2932897) * MS_A_DAY - 1) /* 9999-12-31T23:59:59.999 */

struct civil {
    int year, month, day, weekday; /* month and day from 1; weekday from Sunday = 0 */
    int hour, minute, second, ms;
};

/* Days since 1970-01-01, counted in eras of 400 years that begin on 1 March, so that a leap day ends its year. */
static int64_t days_from_civil(int year, int month, int day) {
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static struct civil civil_from_ms(int64_t wall_ms) {
    if (wall_ms < WALL_MIN_MS)
        wall_ms = WALL_MIN_MS;
    if (wall_ms > WALL_MAX_MS)
        wall_ms = WALL_MAX_MS;
    int64_t days = wall_ms / MS_A_DAY, rest = wall_ms % MS_A_DAY;
    if (rest < 0) {
        rest += MS_A_DAY;
        days--;
    }
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    return (struct civil){
        .year = (int)(yoe + era * 400 + (month <= 2)),
        .month = month,
        .day = (int)(doy - (153 * mp + 2) / 5 + 1),
        .weekday = (int)(((days + 4) % 7 + 7) % 7), /* 1970-01-01 was a Thursday */
        .hour = (int)(rest / 3600000),
        .minute = (int)(rest / 60000 % 60),
        .second = (int)(rest / 1000 % 60),
        .ms = (int)(rest % 1000),
    };
}

void rmd_date_rfc5322(int64_t wall_ms, char out[40]) {
    static const char *const weekdays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct civil c = civil_from_ms(wall_ms);
    int n = rmd_format(out, 40, "%s, %02d %s %04d %02d:%02d:%02d +0000", weekdays[c.weekday], c.day,
                       months[c.month - 1], c.year, c.hour, c.minute, c.second);
    assert(n > 0);
}

void rmd_date_rfc3339(int64_t wall_ms, char out[32]) {
    struct civil c = civil_from_ms(wall_ms);
    int n = rmd_format(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", c.year, c.month, c.day, c.hour, c.minute,
                       c.second, c.ms);
    assert(n > 0);
}

static int days_in_month(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Exactly n digits (at most 4) at the front of *s; -1 when there aren't. */
static int take_digits(struct rmd_slice *s, size_t n) {
    int v = 0;
    if (s->n < n)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return -1;
        v = v * 10 + (s->p[i] - '0');
    }
    *s = rmd_slice(s->p + n, s->n - n);
    return v;
}

static bool take_char(struct rmd_slice *s, const char *any) {
    if (!s->n || !s->p[0] || !strchr(any, s->p[0]))
        return false;
    *s = rmd_slice(s->p + 1, s->n - 1);
    return true;
}

/* "HH:MM" */
static bool take_hour_minute(struct rmd_slice *s, int *hour, int *minute) {
    *hour = take_digits(s, 2);
    if (*hour < 0 || *hour > 23 || !take_char(s, ":"))
        return false;
    *minute = take_digits(s, 2);
    return *minute >= 0 && *minute <= 59;
}

/* "HH:MM:SS", a fraction (cut to milliseconds), and the zone; a leap second is the first one of the next minute. */
static bool take_time(struct rmd_slice *s, int64_t *ms) {
    int hour, minute, zone_hour = 0, zone_minute = 0, fraction_ms = 0, scale = 100;
    if (!take_hour_minute(s, &hour, &minute) || !take_char(s, ":"))
        return false;
    int second = take_digits(s, 2);
    if (second < 0 || second > 60)
        return false;
    if (take_char(s, ".")) {
        int digit = take_digits(s, 1);
        if (digit < 0)
            return false;
        for (; digit >= 0; digit = take_digits(s, 1), scale /= 10)
            fraction_ms += digit * scale;
    }
    bool west = s->n && s->p[0] == '-';
    if (!take_char(s, "Zz") && (!take_char(s, "+-") || !take_hour_minute(s, &zone_hour, &zone_minute)))
        return false;
    int64_t zone_ms = (zone_hour * INT64_C(60) + zone_minute) * 60000;
    *ms = ((hour * INT64_C(60) + minute) * 60 + second) * 1000 + fraction_ms + (west ? zone_ms : -zone_ms);
    return true;
}

int rmd_date_parse_rfc3339(struct rmd_slice s, int64_t *wall_ms) {
    int year = take_digits(&s, 4);
    if (year < 0 || !take_char(&s, "-"))
        return RMD_EFORMAT;
    int month = take_digits(&s, 2);
    if (month < 1 || month > 12 || !take_char(&s, "-"))
        return RMD_EFORMAT;
    int day = take_digits(&s, 2);
    if (day < 1 || day > days_in_month(year, month))
        return RMD_EFORMAT;
    int64_t ms = 0;
    if (s.n && (!take_char(&s, "Tt ") || !take_time(&s, &ms) || s.n))
        return RMD_EFORMAT;
    *wall_ms = days_from_civil(year, month, day) * MS_A_DAY + ms;
    return RMD_OK;
}
