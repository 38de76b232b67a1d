/* Clock port: the only source of time for a shell; cores get time with each event. */
#ifndef REMUDA_CLOCK_H
#define REMUDA_CLOCK_H

#include <remuda/types.h>

struct rmd_clock {
    void *ctx;
    struct rmd_time (*now)(void *ctx);
    /* Identity of this boot of the host, RMD_UUID_BYTES bytes; monotonic times compare only within one boot. */
    void (*boot_id)(void *ctx, uint8_t out[RMD_UUID_BYTES]);
};

#endif
