/* Remuda as a sender in the herd's world. Not in this build: see herd_remuda in model.h. */
#include "tests/sim/herd/model.h"

static int run(struct herd_world *w, const struct herd_setting *set, size_t n_set, struct rmd_buf *more,
               struct rmd_buf *err) {
    (void)w, (void)set, (void)n_set, (void)more;
    rmd_buf_addstr(err, "remuda: this build has no driver for the cores\n");
    return RMD_ENOTFOUND;
}

const struct herd_sender herd_remuda = {"remuda", "Remuda's own coordinator and nodes", NULL, 0, run};
