/* Providers that deny users who exist. Each time is counted apart: how many users were denied that were there. When there were enough of
 * them for anybody to see that something is wrong, none may be suppressed when the operator has undone what the coordinator put down to it. */
#include "tests/sim/sim.h"

#include <inttypes.h>

enum { SURELY = 60 }; /* valid users; the coordinator needs 20 unknown ones whose outcomes it gets */

void sim_liar_begins(struct sim *s) {
    if (s->n_lies + 1 < SIM_LIES)
        s->n_lies++;
}

/* A receiver denies a recipient, who may exist. */
void sim_liar_denies(struct sim *s, struct sim_conn *c) {
    struct sim_address *a = &s->address[c->address];
    const struct sim_provider *p = &s->provider[c->provider];
    if (a->unknown || a->lie || p->other || !s->n_lies)
        return;
    a->lie = s->n_lies;
    s->lied[s->n_lies][c->provider]++;
}

void sim_liar_end(struct sim *s) {
    for (uint32_t i = 0; i < s->n_addresses; i++) {
        const struct sim_address *a = &s->address[i];
        char email[96];
        if (a->unknown || a->asked || !a->lie)
            continue;
        uint32_t provider = s->domain[a->domain].provider, denied = s->lied[a->lie][provider];
        sim_email(s, i, email);
        if (denied >= SURELY && rmd_coord_suppressed(s->coord.core, 1, 0, rmd_slice_str(email)))
            sim_broken(s, "a surge suppresses nobody for good",
                       "u%u exists, was denied by %s with %u others, and is suppressed after all was undone", i,
                       s->provider[provider].name, denied - 1);
    }
}
