/* Sending days by the operator's calendar: zones, boundaries, changes of clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <base/text.h>

#include "coordinator/io/sending_day.h"

static int64_t wall(const char *rfc3339) {
    int64_t ms = 0;
    if (rmd_date_parse_rfc3339(rmd_slice_str(rfc3339), &ms) < 0)
        fail_msg("%s", rfc3339);
    return ms;
}

static void days_begin_at_the_boundary(void **state) {
    (void)state;
    static const struct {
        const char *zone;
        int64_t starts_h;
        const char *at, *day, *start;
        int hours;
    } row[] = {
        {"UTC", 4, "2026-11-23T03:59:59Z", "2026-11-22", "2026-11-22T04:00:00Z", 24},
        {"UTC", 4, "2026-11-23T04:00:00Z", "2026-11-23", "2026-11-23T04:00:00Z", 24},
        {"+02:00", 4, "2026-11-23T01:59:59Z", "2026-11-22", "2026-11-22T02:00:00Z", 24},
        {"+02:00", 4, "2026-11-23T02:00:00Z", "2026-11-23", "2026-11-23T02:00:00Z", 24},
        {"-03:30", 0, "2026-01-01T03:29:00Z", "2025-12-31", "2025-12-31T03:30:00Z", 24},
        {"America/New_York", 4, "2026-07-01T09:00:00Z", "2026-07-01", "2026-07-01T08:00:00Z", 24},
        /* Clocks go forward on 29 March at 2:00, before the boundary of that date: the day before is the short one. */
        {"Europe/Berlin", 4, "2026-03-28T12:00:00Z", "2026-03-28", "2026-03-28T03:00:00Z", 23},
        {"Europe/Berlin", 4, "2026-03-29T01:59:59Z", "2026-03-28", "2026-03-28T03:00:00Z", 23},
        {"Europe/Berlin", 4, "2026-03-29T02:00:00Z", "2026-03-29", "2026-03-29T02:00:00Z", 24},
        /* And back on 25 October. */
        {"Europe/Berlin", 4, "2026-10-25T02:30:00Z", "2026-10-24", "2026-10-24T02:00:00Z", 25},
        {"Europe/Berlin", 0, "2026-10-25T12:00:00Z", "2026-10-25", "2026-10-24T22:00:00Z", 25},
        {"Europe/Berlin", 0, "2026-12-31T23:30:00Z", "2027-01-01", "2026-12-31T23:00:00Z", 24},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        char err[256] = "";
        struct rmd_sending_day d;
        if (rmd_sending_day_check(row[i].zone, err, sizeof err) < 0)
            fail_msg("%s", err);
        rmd_sending_day_zone(row[i].zone);
        rmd_sending_day_at(wall(row[i].at), row[i].starts_h * 3600000, &d);
        if (d.number * 86400000 != wall(row[i].day) || d.start_wall_ms != wall(row[i].start) ||
            d.end_wall_ms - d.start_wall_ms != row[i].hours * INT64_C(3600000))
            fail_msg("row %zu: day %lld, start %lld, %lld h", i, (long long)d.number, (long long)d.start_wall_ms,
                     (long long)(d.end_wall_ms - d.start_wall_ms) / 3600000);
    }
}

static void what_is_no_zone(void **state) {
    (void)state;
    static const char *const bad[] = {"Europe/Atlantis", "/etc/passwd", "../../etc/passwd", "+2", "+02:60",
                                      "+15:00",          "-99:00"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char err[512] = "";
        assert_true(rmd_sending_day_check(bad[i], err, sizeof err) < 0);
        assert_non_null(strstr(err, bad[i]));
    }
    int64_t ms;
    static const char *const times[] = {"", "4:00", "24:00", "04:60", "04-00", "04:00:00"};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        assert_true(rmd_sending_day_parse(times[i], &ms) < 0);
    assert_int_equal(rmd_sending_day_parse("23:59", &ms), RMD_OK);
    assert_int_equal(ms, 86340000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_begin_at_the_boundary),
        cmocka_unit_test(what_is_no_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
