/* The vocabulary: names and values go both ways, and nothing out of range is ever read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proto/verdict.h"

static void every_name_parses_back(void **state) {
    (void)state;
    for (unsigned i = 0; i < RMD_CLASS_COUNT; i++) {
        assert_int_equal(rmd_class_parse(rmd_slice_str(rmd_class_name(i))), i);
        assert_string_not_equal(rmd_class_meaning(i), "?");
    }
    for (unsigned i = 0; i < RMD_ACTION_COUNT; i++)
        assert_int_equal(rmd_action_parse(rmd_slice_str(rmd_action_name(i))), i);
    for (unsigned i = 0; i < RMD_STAGE_COUNT; i++)
        assert_int_equal(rmd_stage_parse(rmd_slice_str(rmd_stage_name(i))), i);
    char name[128];
    for (unsigned bit = 0; bit <= 9; bit++)
        assert_int_equal(rmd_scope_parse(rmd_slice_str(rmd_scope_format(1u << bit, name, sizeof name))), 1 << bit);
}

static void unknown_names_and_values_are_said_to_be_unknown(void **state) {
    (void)state;
    assert_int_equal(rmd_class_parse(rmd_slice_str("user unknown")), RMD_ENOTFOUND);
    assert_int_equal(rmd_class_parse(rmd_slice_str("")), RMD_ENOTFOUND);
    assert_int_equal(rmd_action_parse(rmd_slice_str("QUARANTINE")), RMD_ENOTFOUND);
    assert_int_equal(rmd_stage_parse(rmd_slice_str("mai")), RMD_ENOTFOUND);
    assert_int_equal(rmd_scope_parse(rmd_slice_str("?")), RMD_ENOTFOUND);
    assert_string_equal(rmd_class_name(RMD_CLASS_COUNT), "?");
    assert_string_equal(rmd_class_meaning(4000000000u), "?");
    assert_string_equal(rmd_action_name(RMD_ACTION_COUNT), "?");
    assert_string_equal(rmd_stage_name(RMD_STAGE_COUNT), "?");
    assert_string_equal(rmd_outcome_name(RMD_OUTCOME_COUNT), "?");
    assert_string_equal(rmd_return_name(RMD_RETURN_COUNT), "?");
    assert_string_equal(rmd_source_state_name(RMD_SOURCE_STATE_COUNT), "?");
    assert_string_equal(rmd_lane_state_name(RMD_LANE_STATE_COUNT), "?");
    assert_string_equal(rmd_campaign_state_name(RMD_CAMPAIGN_STATE_COUNT), "?");
}

/* Values are stored and travel: they may be added to, never renumbered. */
static void values_that_are_stored_keep_their_names(void **state) {
    (void)state;
    assert_string_equal(rmd_class_name(7), "ip_blocklisted");
    assert_string_equal(rmd_class_name(24), "challenge");
    assert_string_equal(rmd_action_name(7), "quarantine");
    assert_string_equal(rmd_stage_name(9), "dot");
    assert_string_equal(rmd_outcome_name(4), "uncertain");
    assert_string_equal(rmd_return_name(10), "interrupted before the final dot");
    assert_string_equal(rmd_source_state_name(3), "retired");
    assert_string_equal(rmd_lane_state_name(2), "quarantined");
    assert_string_equal(rmd_campaign_state_name(4), "done");
}

static void a_set_of_scopes_is_a_list_of_names(void **state) {
    (void)state;
    char out[64];
    assert_string_equal(rmd_scope_format(0, out, sizeof out), "");
    assert_string_equal(rmd_scope_format(RMD_SCOPE_SOURCE | RMD_SCOPE_LANE, out, sizeof out), "source,lane");
    assert_string_equal(rmd_scope_format(1u << 31, out, sizeof out), "");
    char small[10]; /* "source,lane" does not fit: whole names only */
    assert_string_equal(rmd_scope_format(RMD_SCOPE_SOURCE | RMD_SCOPE_LANE, small, sizeof small), "source");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_parses_back),
        cmocka_unit_test(unknown_names_and_values_are_said_to_be_unknown),
        cmocka_unit_test(values_that_are_stored_keep_their_names),
        cmocka_unit_test(a_set_of_scopes_is_a_list_of_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
