/* remuda node add and list, keygen. */
#include <errno.h>
#include <sys/stat.h>

#include "coordinator/ctl/ctl.h"
#include "proto/io/bus.h"

int rmd_ctl_node_add(struct rmd_ctl *c) {
    const char *name, *key = NULL;
    const struct rmd_ctl_option opt[] = {{"key", &key, NULL}, {0}};
    int rc = rmd_ctl_options(c, opt, &name, 1, 1);
    if (rc >= 0)
        return rc;
    if (!key)
        return rmd_ctl_usage(c, "--key is needed: what `remuda keygen` printed on the node's host");
    if (rmd_has_suffix(key, ".key"))
        return rmd_ctl_usage(c, "--key: %s is the secret key, which stays on the node's host; give the .pub file",
                             key);
    uint8_t raw[RMD_KEY_BYTES];
    char text[41], err[256];
    if (rmd_curve_read(key, raw, err, sizeof err) < 0)
        return rmd_ctl_usage(c, "--key: neither a public key of 40 characters nor a file with one: %s", err);
    rmd_curve_format(raw, text);
    json_t *answer = NULL;
    rc = rmd_ctl_call(c, "POST", "/v1/nodes", json_pack("{s:s, s:s}", "name", name, "key", text), &answer);
    return rmd_ctl_done(c, rc, answer, "node ", name, " is enrolled; it may connect now");
}

static void node_trouble(const json_t *n, struct rmd_buf *out) {
    json_int_t bad = rmd_json_i(n, "malformed_from") + rmd_json_i(n, "malformed_at");
    rmd_buf_addstr(out, rmd_json_s(n, "trouble"));
    if (bad)
        rmd_buf_addf(out, "%s%lld malformed frame%s", out->len ? "; " : "", (long long)bad, bad == 1 ? "" : "s");
}

int rmd_ctl_node_list(struct rmd_ctl *c) {
    int rc = rmd_ctl_options(c, NULL, NULL, 0, 0);
    json_t *answer = NULL, *n;
    size_t i;
    if (rc >= 0)
        return rc;
    rc = rmd_ctl_call(c, "GET", "/v1/nodes", NULL, &answer);
    if (rc == CTL_OK && c->json)
        rmd_ctl_print_json(answer);
    if (rc == CTL_OK && !c->json) {
        struct rmd_table *t = rmd_table_new("NODE|HOST|STATE|HEARD|>LEASES|>MESSAGES|>IN DOUBT|>CONNECTIONS|TROUBLE");
        json_array_foreach(json_object_get(answer, "nodes"), i, n) {
            bool on = json_is_true(json_object_get(n, "connected"));
            char heard[32] = "never";
            if (json_is_integer(json_object_get(n, "last_heard_ms")))
                rmd_format_duration(rmd_json_i(n, "last_heard_ms"), heard);
            rmd_table_cell(t, rmd_json_s(n, "name"));
            rmd_table_cell(t, rmd_json_s(n, "hostname"));
            rmd_table_cell(t, on ? "connected" : strcmp(rmd_json_s(n, "state"), "revoked") == 0 ? "revoked" : "away");
            rmd_table_cell(t, heard);
            rmd_table_count(t, (uint64_t)rmd_json_i(n, "leases"));
            rmd_table_count(t, (uint64_t)rmd_json_i(n, "messages_leased"));
            rmd_table_count(t, (uint64_t)rmd_json_i(n, "in_doubt"));
            if (on)
                rmd_table_count(t, (uint64_t)rmd_json_i(n, "connections"));
            else
                rmd_table_cell(t, "");
            struct rmd_buf trouble = {0};
            node_trouble(n, &trouble);
            rmd_table_cell(t, rmd_buf_str(&trouble));
            rmd_buf_release(&trouble);
        }
        rmd_table_print(t, "no nodes yet; `remuda node add --help` tells how to enrol one");
    }
    json_decref(answer);
    return rc;
}

/* ---- keys */

int rmd_ctl_keygen(struct rmd_ctl *c) {
    const char *prefix;
    int rc = rmd_ctl_options(c, NULL, &prefix, 1, 1);
    if (rc >= 0)
        return rc;
    char secret_path[4096], public_path[4096], err[256] = "", text[41];
    uint8_t public_key[RMD_KEY_BYTES], secret_key[RMD_KEY_BYTES];
    struct stat st;
    rmd_format(secret_path, sizeof secret_path, "%s.key", prefix);
    rmd_format(public_path, sizeof public_path, "%s.pub", prefix);
    if (stat(secret_path, &st) == 0)
        return rmd_ctl_fail(c, CTL_FAILED, "%s exists already and is not overwritten", secret_path);
    rc = rmd_curve_generate(public_key, secret_key);
    if (rc == RMD_OK)
        rc = rmd_curve_write_file(secret_path, true, secret_key, err, sizeof err);
    if (rc == RMD_OK)
        rc = rmd_curve_write_file(public_path, false, public_key, err, sizeof err);
    explicit_bzero(secret_key, sizeof secret_key);
    if (rc < 0)
        return rmd_ctl_fail(c, CTL_FAILED, "%s", *err ? err : "no key could be made");
    rmd_curve_format(public_key, text);
    if (c->json) {
        json_t *o = json_pack("{s:s, s:s, s:s}", "secret", secret_path, "public", public_path, "key", text);
        rmd_ctl_print_json(o);
        json_decref(o);
    } else {
        printf("secret key  %s (keep it on this host)\npublic key  %s\n%s\n", secret_path, public_path, text);
    }
    return CTL_OK;
}
