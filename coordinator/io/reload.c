/* Rule files read again (see reload.h). */
#include "coordinator/io/reload.h"

#include "coordinator/io/stream_keys.h"
#include "proto/io/plans_file.h"

void rmd_reload_open(struct rmd_reload *r, struct rmd_shell *shell, const char *providers_path,
                     const char *rules_path, const char *plans_path, struct rmd_policy_files *now) {
    *r = (struct rmd_reload){.shell = shell,
                             .providers_path = providers_path,
                             .rules_path = rules_path,
                             .plans_path = plans_path,
                             .now = *now};
    *now = (struct rmd_policy_files){0};
    pthread_mutex_init(&r->lock, NULL);
}

void rmd_reload_close(struct rmd_reload *r) {
    rmd_policy_files_release(&r->now);
    pthread_mutex_destroy(&r->lock);
}

/* ---------------------------------------------------------------- what changed */

static bool same_provider(const Remuda__ProviderPolicy *a, const Remuda__ProviderPolicy *b) {
    struct rmd_buf x = {0}, y = {0};
    rmd_pb_encode(&a->base, &x);
    rmd_pb_encode(&b->base, &y);
    bool same = rmd_slice_eq(rmd_buf_slice(&x), rmd_buf_slice(&y));
    rmd_buf_release(&x);
    rmd_buf_release(&y);
    return same;
}

static void name_it(struct rmd_buf *out, size_t *n, const char *kind, const char *name) {
    rmd_buf_addf(out, "%s%s%s%s",
                 *n         ? ", "
                 : out->len ? "; providers "
                            : "providers ",
                 *n ? "" : kind, *n ? "" : ": ", name);
    ++*n;
}

void rmd_reload_difference(const struct rmd_policy_files *before, const struct rmd_policy_files *after,
                           struct rmd_buf *out) {
    const struct rmd_providers *a = &before->providers, *b = &after->providers;
    size_t added = 0, changed = 0, gone = 0;
    for (size_t i = 0; i < b->n; i++)
        if (!rmd_providers_find(a, b->v[i]->name))
            name_it(out, &added, "added", b->v[i]->name);
    for (size_t i = 0; i < b->n; i++) {
        const Remuda__ProviderPolicy *was = rmd_providers_find(a, b->v[i]->name);
        if (was && !same_provider(was, b->v[i]))
            name_it(out, &changed, "changed", b->v[i]->name);
    }
    for (size_t i = 0; i < a->n; i++)
        if (!rmd_providers_find(b, a->v[i]->name))
            name_it(out, &gone, "gone", a->v[i]->name);
    bool order = a->n == b->n && !added;
    for (size_t i = 0; order && i < a->n; i++)
        order = strcmp(a->v[i]->name, b->v[i]->name) == 0;
    if (a->n == b->n && !added && !order)
        rmd_buf_addf(out, "%sproviders in another order", out->len ? "; " : "");
    if (!rmd_slice_eq(rmd_buf_slice(&before->rules), rmd_buf_slice(&after->rules)))
        rmd_buf_addf(out, "%sverdict rules changed (%zu of your own)", out->len ? "; " : "", after->n_own_rules);
}

/* ---------------------------------------------------------------- reading again */

static bool known(void *providers, const char *name) {
    return rmd_providers_find(providers, name) != NULL;
}

static void list_keys(void *ctx, struct rmd_coord *core, struct rmd_time now) {
    (void)now;
    rmd_stream_keys_list(ctx, core);
}

static int read_keys(struct rmd_stream_keys *k, struct rmd_buf *said) {
    int rc = RMD_OK;
    for (size_t i = 0; i < k->n; i++) {
        char err[256] = "";
        const char *why = rmd_stream_key_read(&k->v[i], err, sizeof err);
        if (!why)
            continue;
        rmd_buf_addf(said, "%s: DKIM key of stream %s can't be used: %s\n", k->v[i].path, k->v[i].stream_name, why);
        rc = RMD_EINVAL;
    }
    return rc;
}

static int hand_over(struct rmd_reload *r, const struct rmd_policy_files *next, const struct rmd_stream_keys *k,
                     struct rmd_buf *said) {
    struct rmd_stream_key *key = rmd_alloc((k->n + 1) * sizeof *key);
    for (size_t i = 0; i < k->n; i++)
        key[i] = (struct rmd_stream_key){.stream = k->v[i].stream,
                                         .index = k->v[i].index,
                                         .path = k->v[i].path,
                                         .pem = rmd_buf_slice(&k->v[i].pem)};
    rmd_reload_difference(&r->now, next, said);
    if (!said->len)
        rmd_buf_addstr(said, "providers and verdict rules are as before");
    rmd_buf_addf(said, "; %zu DKIM key%s read", k->n, k->n == 1 ? "" : "s");
    struct rmd_command c = {.kind = RMD_CMD_RELOAD,
                            .tenant = 1,
                            .providers = next->providers.v,
                            .n_providers = next->providers.n,
                            .rules = rmd_buf_slice(&next->rules),
                            .stream_key = key,
                            .n_keys = k->n,
                            .reason = rmd_buf_str(said)};
    struct rmd_shell_reply reply;
    int rc = rmd_shell_command(r->shell, &c, RMD_RELOAD_WAIT_MS, &reply);
    free(key);
    if (rc == RMD_OK && reply.error == RMD_OK)
        return RMD_OK;
    rmd_buf_clear(said);
    rmd_buf_addstr(said, rc == RMD_OK ? reply.text : rmd_error_text(rc));
    return rc == RMD_OK ? reply.error : rc;
}

int rmd_reload_run(struct rmd_reload *r, struct rmd_buf *said) {
    struct rmd_policy_files next;
    struct rmd_stream_keys keys = {0};
    pthread_mutex_lock(&r->lock);
    int rc = rmd_policy_files_load(r->providers_path, r->rules_path, &next, said);
    if (rc == RMD_OK) { /* warm-up plans are as they were: what they name must still be there */
        struct rmd_plans plans;
        rc = rmd_plans_load(r->plans_path, known, &next.providers, &plans, said);
        if (rc == RMD_OK)
            rmd_plans_release(&plans);
        else
            rmd_policy_files_release(&next);
    }
    int keys_rc = rmd_shell_call(r->shell, list_keys, &keys);
    if (keys_rc == RMD_OK)
        keys_rc = read_keys(&keys, said);
    else
        rmd_buf_addf(said, "%s\n", rmd_error_text(keys_rc));
    if (rc == RMD_OK && keys_rc < 0) {
        rmd_policy_files_release(&next);
        rc = keys_rc;
    }
    if (rc == RMD_OK) {
        rc = hand_over(r, &next, &keys, said);
        if (rc == RMD_OK || rc == RMD_ETIMEOUT) { /* a command that was given stays in force */
            rmd_policy_files_release(&r->now);
            r->now = next;
        } else {
            rmd_policy_files_release(&next);
        }
    }
    rmd_stream_keys_release(&keys);
    pthread_mutex_unlock(&r->lock);
    return rc;
}
