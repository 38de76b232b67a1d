/* What tests of the SMTP machine share. */
#ifndef REMUDA_TESTS_SMTP_KIT_H
#define REMUDA_TESTS_SMTP_KIT_H

#include "node/core/smtp.h"

static inline void kit_smtp_content(struct rmd_smtp *c, struct rmd_slice message, int64_t now_ms) {
    struct rmd_buf wire = {0};
    rmd_smtp_wire(c, message, &wire);
    rmd_smtp_content(c, &wire, now_ms);
    rmd_buf_release(&wire);
}

#endif
