/* Rule files read again (see reload.h). */
#include "coordinator/io/reload.h"

#include "coordinator/io/stream_keys.h"

/* The settings' lists are those of these files. */
static void take(struct rmd_reload *r, const struct rmd_policy_files *files) {
    r->now = *files;
    r->watch.list = r->now.blocklists.v;
    r->watch.n_lists = r->now.blocklists.n;
}

void rmd_reload_open(struct rmd_reload *r, struct rmd_shell *shell, const struct rmd_policy_paths *paths,
                     const struct rmd_watch_settings *watch, struct rmd_policy_files *now) {
    *r = (struct rmd_reload){.shell = shell, .paths = *paths, .watch = *watch};
    take(r, now);
    *now = (struct rmd_policy_files){0};
    pthread_mutex_init(&r->lock, NULL);
}

void rmd_reload_close(struct rmd_reload *r) {
    rmd_policy_files_release(&r->now);
    pthread_mutex_destroy(&r->lock);
}

/* ---------------------------------------------------------------- what changed */

/* Named things of one kind, before and after. */
struct set {
    const char *word; /* "providers" */
    const void *const *v;
    size_t n;
    const char *(*name)(const void *);
    bool (*same)(const void *a, const void *b);
};

static const void *find(const struct set *s, const char *name) {
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->name(s->v[i]), name) == 0)
            return s->v[i];
    return NULL;
}

static void name_it(struct rmd_buf *out, size_t *n, const char *word, const char *kind, const char *name) {
    if (*n)
        rmd_buf_addf(out, ", %s", name);
    else
        rmd_buf_addf(out, "%s%s %s: %s", out->len ? "; " : "", word, kind, name);
    ++*n;
}

/* True when some are new or gone. */
static bool set_difference(const struct set *a, const struct set *b, struct rmd_buf *out) {
    size_t added = 0, changed = 0, gone = 0;
    for (size_t i = 0; i < b->n; i++)
        if (!find(a, b->name(b->v[i])))
            name_it(out, &added, b->word, "added", b->name(b->v[i]));
    for (size_t i = 0; i < b->n; i++) {
        const void *was = find(a, b->name(b->v[i]));
        if (was && !b->same(was, b->v[i]))
            name_it(out, &changed, b->word, "changed", b->name(b->v[i]));
    }
    for (size_t i = 0; i < a->n; i++)
        if (!find(b, a->name(a->v[i])))
            name_it(out, &gone, a->word, "gone", a->name(a->v[i]));
    return added || gone;
}

static bool same_message(const void *a, const void *b) {
    struct rmd_buf x = {0}, y = {0};
    rmd_pb_encode(a, &x);
    rmd_pb_encode(b, &y);
    bool same = rmd_slice_eq(rmd_buf_slice(&x), rmd_buf_slice(&y));
    rmd_buf_release(&x);
    rmd_buf_release(&y);
    return same;
}

static const char *provider_name(const void *p) {
    return ((const Remuda__ProviderPolicy *)p)->name;
}
static const char *list_name(const void *p) {
    return ((const Remuda__Blocklist *)p)->name;
}
static const char *plan_name(const void *p) {
    return ((const struct rmd_plan *)p)->name;
}
static bool same_plan(const void *a, const void *b) {
    return rmd_plan_same(a, b);
}

#define SET(word_, field, name_, same_)                                                                       \
    set_difference(&(struct set){word_, (const void *const *)before->field.v, before->field.n, name_, same_}, \
                   &(struct set){word_, (const void *const *)after->field.v, after->field.n, name_, same_}, out)

void rmd_reload_difference(const struct rmd_policy_files *before, const struct rmd_policy_files *after,
                           struct rmd_buf *out) {
    bool others = SET("providers", providers, provider_name, same_message);
    const struct rmd_providers *a = &before->providers, *b = &after->providers;
    bool order = true;
    for (size_t i = 0; !others && i < a->n; i++)
        order &= strcmp(a->v[i]->name, b->v[i]->name) == 0;
    if (!order)
        rmd_buf_addf(out, "%sproviders in another order", out->len ? "; " : "");
    if (!rmd_slice_eq(rmd_buf_slice(&before->rules), rmd_buf_slice(&after->rules)))
        rmd_buf_addf(out, "%sverdict rules changed (%zu of your own)", out->len ? "; " : "", after->n_own_rules);
    SET("warm-up plans", plans, plan_name, same_plan);
    SET("blocklists", blocklists, list_name, same_message);
}

/* ---------------------------------------------------------------- reading again */

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
        rmd_buf_addstr(said, "providers, verdict rules, warm-up plans and blocklists are as before");
    rmd_buf_addf(said, "; %zu DKIM key%s read", k->n, k->n == 1 ? "" : "s");
    struct rmd_watch_settings watch = r->watch;
    watch.list = next->blocklists.v;
    watch.n_lists = next->blocklists.n;
    struct rmd_command c = {.kind = RMD_CMD_RELOAD,
                            .tenant = 1,
                            .providers = next->providers.v,
                            .n_providers = next->providers.n,
                            .rules = rmd_buf_slice(&next->rules),
                            .plan = next->plans.v,
                            .n_plans = next->plans.n,
                            .watch = &watch,
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
    int rc = rmd_policy_files_load(&r->paths, &next, said);
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
            take(r, &next);
        } else {
            rmd_policy_files_release(&next);
        }
    }
    rmd_stream_keys_release(&keys);
    pthread_mutex_unlock(&r->lock);
    return rc;
}
