/* Fuzz target: any bytes as a template, then rendered with hostile values. What is accepted must compile to something
 * the node takes, and every message that is rendered must keep the promises of node/core/render.h. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <base/text.h>

#include "tests/kit/message_kit.h"
#include "tests/kit/sign_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const columns[] = {"name", "text", NULL};

static _Noreturn void broken(const char *why, struct rmd_slice message) {
    fprintf(stderr, "%s in:\n%.*s\n", why, (int)message.n, (const char *)message.p);
    abort();
}

/* The header's names and the number of parts don't depend on values; nothing else may come or go but an address field
 * whose mailboxes are all empty, so values that are never empty are compared. */
static void check_all(struct kit_campaign *k) {
    static const char *const values[] = {
        "plain",           "\r\n.\r\n",       "\r.\r",     "\n\nBcc: x@y.example",      "--=_b",
        "=\r\n",           "a@b.example\r\n", "{{email}}", "\xf0\x9f\x98\x80 \xc3\xa9", "\t x ",
        "=?utf-8?Q?=0D?=", "\"\\<>&'"};
    struct kit_message m;
    size_t headers = 0, leaves = 0;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct rmd_slice v[2] = {rmd_slice_str(values[i]), rmd_slice_str(values[(i + 3) % 12])};
        int rc = kit_campaign_render(k, "a@there.example", v, 2);
        if (rc == RMD_EFORMAT || rc == RMD_ELIMIT)
            continue; /* a value where an address is wanted; a URL over a line */
        if (rc != RMD_OK)
            broken(k->err, rmd_slice("", 0));
        const char *why = kit_message_check(k->out.message, &m);
        if (why)
            broken(why, k->out.message);
        if (headers && (m.n_headers != headers || m.leaves != leaves))
            broken("a value changed the structure", k->out.message);
        headers = m.n_headers;
        leaves = m.leaves;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct kit_campaign k;
    int rc = kit_campaign_open(&k, rmd_slice(data, size), columns, rmd_sign_fake());
    if (rc == RMD_EFORMAT)
        broken(k.err, rmd_slice(data, size)); /* the node refuses what the compiler made */
    if (rc != RMD_OK)
        return 0;
    check_all(&k);
    kit_campaign_close(&k);
    return 0;
}
