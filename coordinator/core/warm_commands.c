/* What operators say about warm-ups: pause, go on, set a stage, tell complaints, register a source with a provider. */
#include "coordinator/core/core.h"

#include "proto/provider_name.h"

const struct rmd_plan *rmd_coord_plan(const struct rmd_coord *c, const char *name) {
    return rmd_plan_find(c->o.plan, c->o.n_plans, name);
}

const char *rmd_warm_objection(struct rmd_coord *c, const char *plan) {
    if (!*plan || rmd_coord_plan(c, plan))
        return NULL;
    struct rmd_buf b = {0};
    rmd_buf_addf(&b, "there is no warm-up plan \"%.64s\"; there are", plan);
    for (size_t i = 0; i < c->o.n_plans; i++)
        rmd_buf_addf(&b, "%s %s", i ? "," : "", c->o.plan[i]->name);
    const char *text = rmd_arena_str(&c->scratch, rmd_buf_slice(&b));
    rmd_buf_release(&b);
    return text;
}

/* Lanes that a command is about. */
struct targets {
    struct rmd_warm_lane **v;
    size_t n;
    const char *who;
};

/* Its index; -1 when there is none, and the answer is given. */
static ssize_t provider_named(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_provider_search s = {.wanted = m->provider};
    ssize_t at = -1;
    for (size_t i = 0; i < c->o.n_providers; i++) {
        if (strcmp(c->o.provider[i]->name, m->provider) == 0)
            at = (ssize_t)i;
        rmd_provider_search_add(&s, c->o.provider[i]->name);
    }
    if (at < 0) {
        struct rmd_buf why = {0};
        rmd_provider_unknown(&s, &why);
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "%s", rmd_buf_str(&why));
        rmd_buf_release(&why);
    }
    rmd_provider_search_release(&s);
    return at;
}

/* Answers, and returns false, when there are none. */
static bool find(struct rmd_coord *c, const struct rmd_command *m, struct targets *t) {
    const struct rmd_source *s = rmd_source_by_address(c, m->tenant ? m->tenant : 1, m->name);
    uint32_t hash = rmd_fnv32(rmd_slice_str(m->name ? m->name : ""));
    const struct rmd_warm_domain *d = s ? NULL : rmd_map_get(&c->warm.domains, rmd_slice(&hash, sizeof hash));
    ssize_t only = m->provider ? provider_named(c, m) : 0;
    t->who = s ? s->rec->address : m->name ? m->name : "";
    t->v = rmd_arena_alloc(&c->scratch, (c->o.n_providers + 1) * sizeof(struct rmd_warm_lane *));
    if (only < 0)
        return false;
    for (size_t i = 0; i < c->o.n_providers; i++) {
        struct rmd_warm_lane *x = s && s->lane[i] ? s->lane[i]->warm : d && d->plan ? d->lane[i] : NULL;
        if (x && x->scheme.plan && (!m->provider || (size_t)only == i))
            t->v[t->n++] = x;
    }
    if (t->n)
        return true;
    if (m->kind == RMD_CMD_COMPLAINTS && rmd_book_complaints(c, m)) {
        rmd_core_reply(c, m->token, RMD_OK, m->number, "%s: counted in its reputation", t->who);
        return false;
    }
    if (s)
        rmd_core_reply(c, m->token, RMD_ECONFLICT, 0,
                       "source %s has no warm-up: it was added without --warmup and --warm-as", t->who);
    else
        rmd_core_reply(c, m->token, RMD_ENOTFOUND, 0,
                       "no source or sending domain \"%.200s\" is warming up (`source set --warmup PLAN` begins one)",
                       t->who);
    return false;
}

/* One event for what was said in one: of a single lane, or of n. */
static void told(struct rmd_coord *c, const struct rmd_warm_lane *x, size_t n, const char *type, const char *what,
                 const char *reason) {
    struct rmd_arena *a = rmd_arena_after(c);
    Remuda__EventRecord *e = rmd_core_event(c, type);
    e->source = x->source ? x->source->rec->id : 0;
    e->provider = n == 1 ? c->o.provider[x->provider]->id : 0;
    const char *at = n == 1 ? c->o.provider[x->provider]->name : rmd_arena_printf(a, "%zu providers", n);
    e->text = rmd_arena_printf(a, "%s at %s: %s%s%s", rmd_warm_subject(x), at, what, *reason ? ": " : "", reason);
}

static void pause(struct rmd_coord *c, const struct rmd_command *m, const struct targets *t, bool on) {
    size_t n = 0;
    const struct rmd_warm_lane *last = NULL;
    for (size_t i = 0; i < t->n; i++) {
        struct rmd_warm_lane *x = t->v[i];
        if (x->w.paused == on)
            continue;
        last = x;
        n++;
        x->w.paused = on;
        free(x->reason);
        x->reason = on ? rmd_strdup(m->reason) : NULL;
        rmd_warm_dirty(c, x);
    }
    if (last)
        told(c, last, n, on ? "warmup.paused" : "warmup.resumed",
             on ? "gains no stage until it is resumed" : "goes on", m->reason ? m->reason : "");
    rmd_core_reply(c, m->token, RMD_OK, n, "the warm-up of %s %s", t->who, on ? "is paused" : "goes on");
}

static void set(struct rmd_coord *c, const struct rmd_command *m, const struct targets *t) {
    bool warm = m->number == UINT32_MAX;
    unsigned from = 0, stages = 0;
    for (size_t i = 0; i < t->n; i++)
        if (!warm && (m->number < 1 || m->number > t->v[i]->scheme.caps->n)) {
            rmd_core_reply(c, m->token, RMD_EINVAL, 0, "%s at %s has stages 1 to %u of plan %s, or \"warm\"", t->who,
                           c->o.provider[t->v[i]->provider]->name, t->v[i]->scheme.caps->n,
                           t->v[i]->scheme.plan->name);
            return;
        }
    for (size_t i = 0; i < t->n; i++) {
        struct rmd_warm_lane *x = t->v[i];
        unsigned n = x->scheme.caps->n, to = warm ? n : (uint32_t)m->number - 1;
        from = i && x->w.stage + 1 != from ? 0 : x->w.stage + 1;
        stages = n;
        rmd_warm_set(&x->w, rmd_warm_day(c), to);
        if (warm)
            x->w.warm_day = rmd_warm_day(c);
        rmd_warm_dirty(c, x);
    }
    struct rmd_arena *a = rmd_arena_after(c);
    const char *was = !from           ? "" /* not the same of all */
                      : from > stages ? "from warm "
                                      : rmd_arena_printf(a, "from stage %u ", from);
    told(c, t->v[0], t->n, "warmup.set",
         warm ? rmd_arena_printf(a, "set %sto warm", was)
              : rmd_arena_printf(a, "set %sto stage %u of %u", was, (unsigned)m->number, stages),
         m->reason);
    rmd_warm_changed(c);
    if (warm)
        rmd_core_reply(c, m->token, RMD_OK, t->n, "%s counts as warm", t->who);
    else
        rmd_core_reply(c, m->token, RMD_OK, t->n, "%s is on stage %llu", t->who, (unsigned long long)m->number);
}

static void complaints(struct rmd_coord *c, const struct rmd_command *m, const struct targets *t) {
    struct rmd_warm_lane *x = t->v[0];
    struct rmd_judgement j;
    if (!m->provider) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "which provider told of them?");
        return;
    }
    if (!rmd_warm_complaints(&x->scheme, &x->w, rmd_warm_day(c), m->day, m->number, &j)) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0,
                       "%s sent nothing to %s on that day, or it is not one of the last %d sending days", t->who,
                       m->provider, RMD_WARM_AGAIN);
        return;
    }
    rmd_warm_dirty(c, x);
    rmd_book_complaints(c, m);
    told(c, x, 1, "warmup.complaints",
         rmd_arena_printf(rmd_arena_after(c), "%llu complaints about the sending day %lld days ago",
                          (unsigned long long)m->number, (long long)(rmd_warm_day(c) - m->day)),
         m->reason ? m->reason : "");
    rmd_warm_tell(c, x, &j, "late complaints: ");
    if (j.move == RMD_WARM_BACK)
        rmd_warm_changed(c);
    rmd_core_reply(c, m->token, RMD_OK, m->number, "%s: %s", t->who,
                   j.move == RMD_WARM_BACK ? "counted; it goes back a stage or more" : "counted");
}

static void registered(struct rmd_coord *c, const struct rmd_command *m) {
    struct rmd_source *s = rmd_source_by_address(c, m->tenant ? m->tenant : 1, m->name);
    if (!s || !m->provider) {
        rmd_core_reply(c, m->token, s ? RMD_EINVAL : RMD_ENOTFOUND, 0,
                       s ? "provider: is needed" : "there is no source %.64s", m->name ? m->name : "");
        return;
    }
    ssize_t p = provider_named(c, m);
    if (p < 0)
        return;
    Remuda__SourceRecord *r = s->rec;
    size_t at = 0;
    while (at < r->n_registered && strcmp(r->registered[at], m->provider) != 0)
        at++;
    bool is = at < r->n_registered, on = m->state == 0;
    if (on && !is) {
        r->registered = rmd_realloc(r->registered, (r->n_registered + 1) * sizeof *r->registered);
        r->registered[r->n_registered++] = rmd_strdup(m->provider);
    } else if (!on && is) {
        free(r->registered[at]);
        r->registered[at] = r->registered[--r->n_registered];
    }
    if (on != is) {
        s->dirty = c->sources_dirty = true;
        Remuda__EventRecord *e = rmd_core_event(c, on ? "source.registered" : "source.unregistered");
        e->source = r->id;
        e->provider = c->o.provider[p]->id;
        e->text = rmd_arena_printf(rmd_arena_after(c), "%s is %s registered with %s%s%s", r->address,
                                   on ? "now" : "no longer", m->provider, m->reason && *m->reason ? ": " : "",
                                   m->reason ? m->reason : "");
        c->deal = true;
    }
    bool wanted = c->o.provider[p]->register_first;
    rmd_core_reply(c, m->token, RMD_OK, r->id, "%s %s registered with %s%s%s", r->address,
                   on != is ? on ? "is now" : "is no longer"
                   : on     ? "was already"
                            : "wasn't",
                   m->provider, on == is ? ": nothing changed" : "",
                   wanted ? "" : "; it wants no registration of new addresses, and nothing waits for one");
}

void rmd_warm_command(struct rmd_coord *c, const struct rmd_command *m) {
    struct targets t = {0};
    if (m->kind == RMD_CMD_SOURCE_REGISTER) {
        registered(c, m);
        return;
    }
    if ((m->kind == RMD_CMD_WARMUP_PAUSE || m->kind == RMD_CMD_WARMUP_SET) && (!m->reason || !*m->reason)) {
        rmd_core_reply(c, m->token, RMD_EINVAL, 0, "a reason is needed: who looks at this later wants to know");
        return;
    }
    if (!find(c, m, &t))
        return;
    switch (m->kind) {
    case RMD_CMD_WARMUP_SET:
        set(c, m, &t);
        break;
    case RMD_CMD_COMPLAINTS:
        complaints(c, m, &t);
        break;
    default:
        pause(c, m, &t, m->kind == RMD_CMD_WARMUP_PAUSE);
        break;
    }
}
