/* Names of the numbers that events and incidents carry, for the API. */
#include "coordinator/core/core.h"

const char *rmd_coord_provider_name(struct rmd_coord *c, uint32_t provider) {
    return provider ? rmd_provider_name(c, provider) : "";
}

const char *rmd_coord_source_address(struct rmd_coord *c, uint32_t source) {
    const struct rmd_source *s = rmd_map_get(&c->sources, rmd_slice(&source, sizeof source));
    return s ? s->rec->address : "";
}

const char *rmd_coord_node_name(struct rmd_coord *c, uint32_t node) {
    const struct rmd_node *n = rmd_map_get(&c->nodes, rmd_slice(&node, sizeof node));
    return n ? n->rec->name : "";
}

const char *rmd_coord_stream_name(struct rmd_coord *c, uint32_t stream) {
    const struct rmd_stream *s = rmd_map_get(&c->streams, rmd_slice(&stream, sizeof stream));
    return s ? s->rec->name : "";
}

const char *rmd_coord_campaign_name(struct rmd_coord *c, const struct rmd_id *id) {
    const struct rmd_campaign *k = rmd_campaign_find(c, rmd_slice(id->b, sizeof id->b));
    return !k ? "" : *k->rec->name ? k->rec->name : k->rec->subject;
}

uint32_t rmd_coord_domain_provider(struct rmd_coord *c, const char *domain) {
    const struct rmd_domain *d = rmd_map_get_str(&c->domains, domain);
    return d && d->state == RMD_SITE_OK ? d->provider : 0;
}
