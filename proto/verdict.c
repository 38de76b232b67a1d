/* Names of classes, scopes, actions, stages, outcomes and states, from the X-macros of verdict.h; and back.
 *
 * Tables are indexed by value, so that a value from the wire is one bounds check away from its name. */
#include "proto/verdict.h"

#include <stdio.h>

#include <base/text.h>

#define NAME_OF(table, v) ((v) < sizeof(table) / sizeof *(table) && (table)[v] ? (table)[v] : "?")

#define X_CLASS_NAME(id, value, name, meaning) [value] = name,
#define X_CLASS_MEANING(id, value, name, meaning) [value] = meaning,
#define X_NAME(id, value, name) [value] = name,
#define X_CLASS_ONE(id, value, name, meaning) +1
#define X_ONE(id, value, name) +1

static const char *const class_names[] = {RMD_CLASSES(X_CLASS_NAME)};
static const char *const class_meanings[] = {RMD_CLASSES(X_CLASS_MEANING)};
static const char *const scope_names[] = {RMD_SCOPES(X_NAME)};
static const char *const action_names[] = {RMD_ACTIONS(X_NAME)};
static const char *const stage_names[] = {RMD_STAGES(X_NAME)};
static const char *const outcome_names[] = {RMD_OUTCOMES(X_NAME)};
static const char *const return_names[] = {RMD_RETURN_REASONS(X_NAME)};
static const char *const source_state_names[] = {RMD_SOURCE_STATES(X_NAME)};
static const char *const lane_state_names[] = {RMD_LANE_STATES(X_NAME)};
static const char *const campaign_state_names[] = {RMD_CAMPAIGN_STATES(X_NAME)};

/* A gap or a value used twice would make *_COUNT lie. */
_Static_assert(RMD_CLASS_COUNT == 0 RMD_CLASSES(X_CLASS_ONE), "classes are numbered without gaps");
_Static_assert(RMD_ACTION_COUNT == 0 RMD_ACTIONS(X_ONE), "actions are numbered without gaps");
_Static_assert(RMD_STAGE_COUNT == 0 RMD_STAGES(X_ONE), "stages are numbered without gaps");

const char *rmd_class_name(unsigned v) {
    return NAME_OF(class_names, v);
}

const char *rmd_class_meaning(unsigned v) {
    return NAME_OF(class_meanings, v);
}

const char *rmd_action_name(unsigned v) {
    return NAME_OF(action_names, v);
}

const char *rmd_stage_name(unsigned v) {
    return NAME_OF(stage_names, v);
}

const char *rmd_outcome_name(unsigned v) {
    return NAME_OF(outcome_names, v);
}

const char *rmd_return_name(unsigned v) {
    return NAME_OF(return_names, v);
}

const char *rmd_source_state_name(unsigned v) {
    return NAME_OF(source_state_names, v);
}

const char *rmd_lane_state_name(unsigned v) {
    return NAME_OF(lane_state_names, v);
}

const char *rmd_campaign_state_name(unsigned v) {
    return NAME_OF(campaign_state_names, v);
}

const char *rmd_scope_format(unsigned bits, char *out, size_t n) {
    size_t len = 0;
    if (n)
        out[0] = 0;
    for (unsigned i = 0; i < sizeof scope_names / sizeof *scope_names; i++) {
        if (!(bits & 1u << i))
            continue;
        int more = rmd_format(out + len, n - len, "%s%s", len ? "," : "", scope_names[i]);
        if (more < 0) { /* whole names only */
            if (n)
                out[len] = 0;
            break;
        }
        len += (size_t)more;
    }
    return out;
}

static int find(const char *const *names, size_t n, struct rmd_slice name) {
    for (size_t i = 0; i < n; i++)
        if (rmd_slice_eq(name, rmd_slice_str(names[i])))
            return (int)i;
    return RMD_ENOTFOUND;
}

int rmd_class_parse(struct rmd_slice name) {
    return find(class_names, RMD_CLASS_COUNT, name);
}

int rmd_action_parse(struct rmd_slice name) {
    return find(action_names, RMD_ACTION_COUNT, name);
}

int rmd_stage_parse(struct rmd_slice name) {
    return find(stage_names, RMD_STAGE_COUNT, name);
}

int rmd_scope_parse(struct rmd_slice name) {
    int bit = find(scope_names, sizeof scope_names / sizeof *scope_names, name);
    return bit < 0 ? bit : 1 << bit;
}
