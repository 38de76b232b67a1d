/* A request on its way through the API: routing hands it to one handler, which fills the answer. Inside of the HTTP
 * server. */
#ifndef REMUDA_API_REQUEST_H
#define REMUDA_API_REQUEST_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdatomic.h>

#include "coordinator/io/api.h"
#include "coordinator/io/http.h"

struct rmd_upload;

struct rmd_http {
    struct rmd_http_options o;
    struct MHD_Daemon *local, *remote;
    int local_fd;
    char token[512];
    atomic_bool closing;
    pthread_mutex_t lock;
    struct rmd_map submitting; /* idempotency keys of submissions under way */
};

struct rmd_api_request {
    struct rmd_http *http;
    struct MHD_Connection *conn;
    const char *method;
    struct rmd_arena arena;
    char *segment[4]; /* path behind /v1/, decoded */
    size_t n_segments;
    struct rmd_buf body;
    json_t *in; /* JSON of the body, an object; NULL: none */
    unsigned status;
    json_t *out;
    struct MHD_Response *stream; /* instead of out */
    struct rmd_upload *upload;
    bool begun, too_large, accepted;
};

typedef void (*rmd_api_fn)(struct rmd_api_request *r);

/* Sets an error answer: status from the error code unless given, the text for the operator. */
void rmd_api_fail(struct rmd_api_request *r, unsigned status, int code, const char *fmt, ...) RMD_PRINTF(4, 5);
unsigned rmd_api_status_of(int code);
/* Members of the request's body; NULL or the fallback when absent. A wrong type fails the request and sets *bad. */
const char *rmd_api_string(struct rmd_api_request *r, const char *key, bool *bad);
int64_t rmd_api_int(struct rmd_api_request *r, const char *key, int64_t fallback, int64_t min, int64_t max,
                    bool *bad);
const char *rmd_api_query(struct rmd_api_request *r, const char *key); /* NULL when absent */
/* Runs a command; false when it failed (the answer is set then). */
bool rmd_api_command(struct rmd_api_request *r, struct rmd_command *c, struct rmd_shell_reply *reply);
/* Names of nodes, streams and pools: 1 to 63 letters, digits, "-", "_" or ".". */
bool rmd_api_good_name(const char *s);

/* The body's "reason", "" when absent. */
const char *rmd_api_reason(struct rmd_api_request *r, bool *bad);
/* The verb of a path like sources/ADDRESS/VERB: its state, or -1 (the answer is set then). */
struct rmd_api_verb {
    const char *name;
    int state;
};
int rmd_api_find_verb(struct rmd_api_request *r, const struct rmd_api_verb *v, size_t n);

/* rmd_value_fn that appends a present value to a struct rmd_buf. */
void rmd_api_copy_value(void *buf, size_t i, struct rmd_slice value);

/* JSON pieces. */
json_t *rmd_json_time(int64_t wall_ms);            /* null for 0 */
json_t *rmd_json_id(const ProtobufCBinaryData *b); /* 16 bytes */
json_t *rmd_json_text(const char *s);              /* invalid UTF-8 is escaped */
json_t *rmd_json_campaign(const struct rmd_campaign_view *v, const char *stream);
json_t *rmd_json_event(struct rmd_http *h, const Remuda__EventRecord *e);
json_t *rmd_json_listing(const struct rmd_listing_view *v);
json_t *rmd_json_listings_of(struct rmd_coord *core, uint32_t source); /* open ones */

json_t *rmd_json_reputation_of(struct rmd_coord *core, const char *name);
json_t *rmd_json_pace(const struct rmd_pace *p, int64_t told_ms_ago);

/* Handlers (api_views.c, api_commands.c, api_sources.c, api_events.c, api_explain.c). */
void rmd_api_health(struct rmd_api_request *r);
void rmd_api_status(struct rmd_api_request *r);
void rmd_api_campaigns(struct rmd_api_request *r);
void rmd_api_campaign(struct rmd_api_request *r);
void rmd_api_campaign_verb(struct rmd_api_request *r);
void rmd_api_campaign_put(struct rmd_api_request *r);
void rmd_api_sources(struct rmd_api_request *r);
void rmd_api_source(struct rmd_api_request *r);
/* Of a stream that was set: a pool without a source is a typing error, or its sources come later. */
void rmd_api_warn_of_empty_pool(struct rmd_api_request *r, const char *pool);
void rmd_api_source_add(struct rmd_api_request *r);
void rmd_api_source_put(struct rmd_api_request *r);
void rmd_api_source_verb(struct rmd_api_request *r);
void rmd_api_reputation(struct rmd_api_request *r);
void rmd_api_warmup(struct rmd_api_request *r);
void rmd_api_warmup_verb(struct rmd_api_request *r);
void rmd_api_complaints(struct rmd_api_request *r);
void rmd_api_source_register(struct rmd_api_request *r);
/* Fields of a source or stream: prefix "" or "domain_". false: the answer is set. */
struct rmd_warm_fields {
    char *plan;
    uint64_t warm_as;
    int64_t since_wall_ms;
};
bool rmd_api_take_warmup(struct rmd_api_request *r, const char *prefix, struct rmd_warm_fields *f);
void rmd_api_nodes(struct rmd_api_request *r);
void rmd_api_node_add(struct rmd_api_request *r);
void rmd_api_node_verb(struct rmd_api_request *r);
void rmd_api_streams(struct rmd_api_request *r);
void rmd_api_stream_put(struct rmd_api_request *r);
void rmd_api_stream_verb(struct rmd_api_request *r);
void rmd_api_queue(struct rmd_api_request *r);
void rmd_api_incidents(struct rmd_api_request *r);
void rmd_api_incident_resolve(struct rmd_api_request *r);
void rmd_api_incident_ticket(struct rmd_api_request *r);
void rmd_api_tls(struct rmd_api_request *r);
void rmd_api_tls_reports(struct rmd_api_request *r);
void rmd_api_listings(struct rmd_api_request *r);
void rmd_api_lists(struct rmd_api_request *r);
void rmd_api_listing_check(struct rmd_api_request *r);
void rmd_api_listing_removal(struct rmd_api_request *r);
void rmd_api_suppress(struct rmd_api_request *r);
void rmd_api_suppression(struct rmd_api_request *r);
void rmd_api_unsuppress(struct rmd_api_request *r);
void rmd_api_incident_decide(struct rmd_api_request *r);
void rmd_api_events(struct rmd_api_request *r);
void rmd_api_explain(struct rmd_api_request *r);
void rmd_api_resume_restored(struct rmd_api_request *r);
void rmd_api_rules_reload(struct rmd_api_request *r);

/* Submission (upload.c): the body comes in pieces, the answer at the end. */
struct rmd_upload *rmd_upload_new(struct rmd_api_request *r);
void rmd_upload_data(struct rmd_api_request *r, const char *p, size_t n);
void rmd_upload_finish(struct rmd_api_request *r);
void rmd_upload_free(struct rmd_api_request *r);

#endif
