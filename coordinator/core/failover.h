/* Failover policy: what the cluster does about a verdict that came as an alarm. Pure; it decides, alarm.c carries it out.
 *
 * Policy (design, sections 1, 7 and 9):
 * - Only causes in the IP's own scope move work: a verdict moves when its class is ip_blocklisted, the scope holds the source or lane, and
 *   the rule says so. No reverse DNS, an open relay, a compromised host are the source's own configuration (rmd_verdict_is_own_fault): what
 *   is said of them moves nothing, and while a named provider has said it within the corroboration time, nor does what another provider says
 *   of the same source: the next address would be refused for how we run the last one.
 * - Content, URL, sender domain and list quality never move work. What one provider says of them stops the campaign, or the sending domain
 *   (sender.h), at that provider: of content when two of our networks were told, as then no address is meant. Two named providers that agree on
 *   content pause the campaign everywhere.
 * - What one site of "other" says acts on that site only (site_stop.h). It is the lane's when, within the corroboration time, another site of
 *   "other" refuses the same source, and the source's when our own DNS confirms it. A named provider that refuses the source, too, doesn't make a
 *   site's word everybody's: of thousands there is always one that refuses it, and all others would wait for what moves from there. What a
 *   site says of rate is its node's.
 * - What one provider says acts on that provider's lane only. The source is stopped everywhere when two unrelated named providers refuse it for
 *   its own sake within the corroboration time ("other" is many receivers and corroborates nothing), when our own DNS confirmed it, or when a named
 *   provider says of the host that others use it (a verdict about the source that isn't said to hold at this provider only: SC-003, DY-002). No
 *   reverse DNS waits for a second voice, as the first may have a resolver that failed.
 * - "Part of their network": the lanes of all our sources in that network at that provider, when two of our own sources there were refused.
 *   Both may follow from one refusal: the source stops everywhere, and its network at that provider.
 * - Rate verdicts slow or rest the lane; they never quarantine. A rest that is said of the sending domain rests the domain at this provider
 *   (sender.h), one that is said of the network the lanes of all our sources there: another lane would be told the same.
 * - A source that our own DNS finds on a snowshoe list moves nothing, whoever refuses it: the stream pauses, and must be mended.
 * - A quarantine lasts until it is resolved, or for the verdict's duration when that is given; it is never shorter than RMD_QUARANTINE_MIN_MS.
 *   What the receiver itself calls temporary (4xx), and what one site of "other" says alone, is asked again by a single recipient after
 *   RMD_QUARANTINE_FIRST_MS at most: the one clears in minutes or hours, the other may be a broken lookup. Each further time is twice as long
 *   (moving.h).
 *
 * The memory of refusals is bounded: the last RMD_REFUSALS_MAX of each source and sending domain count. */
#ifndef REMUDA_FAILOVER_H
#define REMUDA_FAILOVER_H

#include "proto/verdict.h"

enum {
    RMD_REFUSALS_MAX = 16,
    RMD_CORROBORATION_MS = 6 * 3600 * 1000,
    RMD_QUARANTINE_MIN_MS = 30 * 60 * 1000,
    RMD_QUARANTINE_FIRST_MS = 3600 * 1000,
    RMD_REST_DEFAULT_MS = 15 * 60 * 1000,
    RMD_REST_MAX_MS = 24 * 3600 * 1000,
};

/* One refusal, remembered for corroboration. */
struct rmd_refusal {
    int64_t wall_ms;
    uint32_t source, provider, network; /* network: hash of /24 or /64 */
    enum rmd_class class;
    uint64_t site;  /* of "other"; 0: not known */
    bool own_fault; /* rmd_verdict_is_own_fault */
};

/* Refusals of one subject (a source, a network, a sending domain), newest last. Zeroed = none. */
struct rmd_refusals {
    struct rmd_refusal v[RMD_REFUSALS_MAX];
    uint32_t n;
};
/* The source is refused for its own configuration: its names in DNS, or a host that others use. Nobody's list is to be asked for
 * removal, and no other address mends it: a person does. */
bool rmd_verdict_is_own_fault(const struct rmd_verdict *v);
/* Which of the memories a verdict belongs to: the source's and its network's; the stream's. What is said of rate belongs to none. */
bool rmd_refusal_of_the_ip(const struct rmd_verdict *v);
bool rmd_refusal_of_the_mail(const struct rmd_verdict *v);
/* Said again, it takes the place of what was said; else that of the oldest when there is no room. */
void rmd_refusals_add(struct rmd_refusals *r, const struct rmd_refusal *x);
/* Distinct named providers (other_provider doesn't count) among refusals not older than RMD_CORROBORATION_MS, of IP scope. */
uint32_t rmd_refusals_providers(const struct rmd_refusals *r, uint32_t other_provider, int64_t now_wall_ms);
/* Some site of this provider, but for this one, refused it, likewise. */
bool rmd_refusals_of_another_site(const struct rmd_refusals *r, uint32_t provider, uint64_t site,
                                  int64_t now_wall_ms);
/* Distinct sources at this provider, likewise. */
uint32_t rmd_refusals_sources(const struct rmd_refusals *r, uint32_t provider, int64_t now_wall_ms);

struct rmd_failover_input {
    const struct rmd_verdict *verdict;
    uint32_t source, provider, network;
    uint32_t other_provider; /* id of "other" */
    uint64_t site;           /* of "other", 0: not known, and then the lane is meant */
    const char *site_name;   /* a domain of it */
    const char *provider_name, *source_name;
    int64_t now_wall_ms;
    const struct rmd_refusals *of_source;  /* this refusal included */
    const struct rmd_refusals *of_network; /* all our sources of the network, this refusal included */
    const struct rmd_refusals *of_domain;  /* the stream, this refusal included */
    bool dns_confirmed;                    /* our own DNS query found the source on a list of the acting tier */
    bool snowshoe;                         /* and on a list of senders that spread over many addresses */
    bool temporary;                        /* the reply was a 4xx */
    bool transactional;                    /* stream of priority 0 */
    bool no_breaker; /* measured without it: nothing is paused for its sender's or content's sake */
};

enum rmd_failover_what {
    RMD_FAILOVER_NOTHING,
    RMD_FAILOVER_REST,            /* until: what rests says */
    RMD_FAILOVER_QUARANTINE_SITE, /* of "other": the source there, and nowhere else */
    RMD_FAILOVER_QUARANTINE_LANE,
    RMD_FAILOVER_QUARANTINE_SOURCE,  /* everywhere */
    RMD_FAILOVER_QUARANTINE_NETWORK, /* all our sources of the network, at this provider */
    RMD_FAILOVER_PAUSE_STREAM,
    RMD_FAILOVER_PAUSE_CAMPAIGN,
    RMD_FAILOVER_SENDER, /* the sending domain, at this provider: sender.h */
    RMD_FAILOVER_ALERT,  /* incident only: a person looks */
};

struct rmd_failover_decision {
    enum rmd_failover_what what;
    bool here; /* PAUSE_CAMPAIGN: at this provider only */
    bool own;  /* PAUSE_CAMPAIGN: for its list or its pace, so that others of the same content are not meant */
    bool lane, sender;     /* REST: the lane; the sending domain, at this provider */
    bool network;          /* and all our sources of its network, at this provider */
    bool move;             /* its unstarted work may go to sources on disjoint networks */
    int64_t until_wall_ms; /* 0: until resolved */
    char why[240];         /* for explain and the incident's title */
    const char *next_step; /* for the operator; static text */
};

struct rmd_failover_decision rmd_failover_decide(const struct rmd_failover_input *in);
const char *rmd_failover_name(enum rmd_failover_what what);

/* Content that is refused again and again. One such refusal fails its message and is no alarm; a campaign that mostly
 * gets them at a provider is stopped there, as each further one is a recipient lost. A few are enough where the campaign as a whole is meant
 * (its list, Microsoft's SC-002; a pattern of its mail), whatever else it was told: that is said of no single message, by one provider and to one
 * network. Two named providers that agree are believed earlier, and pause it everywhere. Transactional mail is many different messages: it goes
 * on, and a person is told.
 *
 * What a provider says of the campaign's rate and for a time only ("an unusual rate of mail containing one of your URL domains") lets the campaign
 * rest there for so long, and is no trouble. */
enum {
    RMD_CONTENT_REFUSALS = 20,
    RMD_CONTENT_SAID = 3,                   /* of the campaign as a whole */
    RMD_CONTENT_REFUSALS_AGREED = 10,       /* at each of two named providers */
    RMD_CONTENT_SAME_MS = 24 * 3600 * 1000, /* campaigns of the same template so old count together */
    RMD_CONTENT_WINDOW = 200,               /* outcomes; then both counters are halved, so that the past fades */
};

/* A campaign's last outcomes at a provider: delivered, bounced and deferred ones. */
struct rmd_content_tally {
    uint32_t provider, outcomes, refused;
    uint32_t said; /* of them of the campaign as a whole */
    bool stopped;  /* at this provider, since it was believed */
};
/* The campaign as a whole is meant, and a person must look. */
bool rmd_content_is_said(const struct rmd_verdict *v);
/* The campaign's rate is meant: it rests, for the verdict's duration. */
bool rmd_content_rests(const struct rmd_verdict *v);
/* The message itself is at fault: its text, links, attachment or size. */
bool rmd_content_is_refused(const struct rmd_verdict *v);
/* refused, said: the answer to the two questions above. */
void rmd_content_count(struct rmd_content_tally *t, bool refused, bool said);
/* After a refusal at t[at]: RMD_FAILOVER_NOTHING, _PAUSE_CAMPAIGN or _ALERT. Never moves. */
struct rmd_failover_decision rmd_content_decide(const struct rmd_content_tally *t, size_t n, size_t at,
                                                uint32_t other_provider, const char *provider_name,
                                                bool transactional);

#endif
