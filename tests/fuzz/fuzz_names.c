/* What people type: names of messages, and hosts with ports. */
#include <assert.h>

#include <base/text.h>

#include "proto/codec.h"
#include "proto/io/config_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    struct rmd_id id, again;
    if (rmd_message_parse(rmd_slice(p, n), &id) == RMD_OK) {
        char text[27];
        rmd_id_format(&id, text);
        int rc = rmd_message_parse(rmd_slice_str(text), &again);
        assert(rc == RMD_OK && rmd_id_eq(&id, &again));
    }
    char *text = rmd_strndup(p, n), host[256];
    uint16_t port;
    if (rmd_host_port(text, n % 2, host, &port))
        assert(port && *host && strlen(host) < n);
    free(text);
    return 0;
}
