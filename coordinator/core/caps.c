/* Caps: which accounts of the ledger a recipient counts in, and what each may hold. */
#include "coordinator/core/core.h"

void rmd_stream_forget_accounts(struct rmd_stream *s) {
    free(s->domain);
    s->domain = NULL;
}

uint64_t rmd_source_cap(const struct rmd_coord *c, const struct rmd_source *s) {
    return rmd_warm_source_cap(s, s->rec->cap_per_day ? s->rec->cap_per_day : c->o.source_cap_per_day);
}

static uint64_t configured_cap(const struct rmd_coord *c, const struct rmd_lane *l) {
    const Remuda__SourceRecord *r = l->source->rec;
    for (size_t i = 0; i < r->n_lane_cap; i++) {
        if (strcmp(r->lane_cap[i]->provider, c->o.provider[l->provider]->name) == 0)
            return r->lane_cap[i]->per_day;
    }
    return r->lane_cap_per_day ? r->lane_cap_per_day : c->o.lane_cap_per_day;
}

uint64_t rmd_lane_cap(const struct rmd_coord *c, const struct rmd_lane *l) {
    return rmd_warm_lane_cap(l->warm, configured_cap(c, l));
}

static struct rmd_account *domain_account(struct rmd_coord *c, const struct rmd_stream *stream, size_t provider) {
    struct rmd_stream *st = (struct rmd_stream *)(uintptr_t)stream; /* what is found is kept */
    if (!st->domain)
        st->domain = rmd_alloc((c->o.n_providers + 1) * sizeof *st->domain);
    uint32_t domain = st->domain[provider] ? 0 : rmd_fnv32(rmd_slice_str(st->rec->sending_domain));
    if (!st->domain[provider])
        st->domain[provider] =
            rmd_ledger_account(&c->ledger, RMD_ACCOUNT_DOMAIN, domain, c->o.provider[provider]->id);
    return st->domain[provider];
}

void rmd_caps_of(struct rmd_coord *c, struct rmd_lane *l, const struct rmd_stream *st, struct rmd_caps *out) {
    *out = (struct rmd_caps){
        .account = {l->account, l->source->account, l->network, domain_account(c, st, l->provider)},
        .limit = {rmd_lane_cap(c, l), rmd_source_cap(c, l->source), c->o.network_cap_per_day,
                  st->rec->domain_cap_per_day ? st->rec->domain_cap_per_day : c->o.domain_cap_per_day},
    };
    rmd_warm_caps(c, l, st, out);
    out->hour[0] = rmd_book_hour(c, l, out->limit[0], out->hour[0]);
}
