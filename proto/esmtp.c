/* Names of ESMTP settings: see esmtp.h. */
#include "proto/esmtp.h"

static const struct {
    const char *name, *notify;
} dsn_kinds[RMD_DSN_COUNT] = {
#define RMD_DSN_ROW(id, name_, notify_) [RMD_DSN_##id] = {.name = name_, .notify = notify_},
    RMD_DSN_KINDS(RMD_DSN_ROW)
#undef RMD_DSN_ROW
};

const char *rmd_dsn_name(uint32_t dsn) {
    return dsn < RMD_DSN_COUNT ? dsn_kinds[dsn].name : "";
}

const char *rmd_dsn_notify(uint32_t dsn) {
    return dsn < RMD_DSN_COUNT ? dsn_kinds[dsn].notify : NULL;
}

int rmd_dsn_parse(const char *name, uint32_t *out) {
    for (uint32_t i = 0; i < RMD_DSN_COUNT; i++) {
        if (strcmp(dsn_kinds[i].name, name) != 0)
            continue;
        *out = i;
        return RMD_OK;
    }
    return RMD_EINVAL;
}

const char *rmd_chunking_name(uint32_t chunking) {
    static const char *const names[RMD_CHUNKING_COUNT] = {"off", "on", "ahead"};
    return chunking < RMD_CHUNKING_COUNT ? names[chunking] : "";
}
