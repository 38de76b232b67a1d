/* The coordinator's HTTP API, version 1: JSON over a Unix socket, and over TCP with TLS and a bearer token when configured.
 *
 * libmicrohttpd serves it in its own threads; a request that touches the core is handed to the core's thread (command or view) and the HTTP
 * thread waits for the answer, with a time limit. Intake (POST /v1/campaigns) streams: it validates and stores chunks without passing rows
 * through the core. The Unix socket is protected by its mode (0660) and needs no token.
 *
 * Errors are {"error": "<one sentence for the operator>", "code": "<rmd error name>"} with 400 (bad input), 401, 403, 404, 409 (conflict), 413,
 * 503 (not now: store stalled, still starting), 507 (no space left). Times are RFC 3339 strings, durations milliseconds (…_ms), ids 26 characters.
 *
 * GET  /v1/status                  {"version","epoch","incarnation","uptime_ms","stalled","restored_paused",
 *                                   "queued","unsorted","unsorted_paused","unsorted_later","leased","leased_away","leased_away_ms","deferred","in_doubt","delivered","bounced","suppressed","expired","held","uncertain",
 *                                   "leases","nodes","nodes_connected","sources_active","sources_trouble","sources_quarantined","open_incidents","malformed_frames"}
 * GET  /v1/campaigns?state=&stream=&limit=1000   {"campaigns":[C],"left_out","older_left_out"}   the newest (limit 0: all of them), oldest first; left_out: how many
 *                                   more there are; older_left_out: finished ones that only the store has, GET with their id shows each.
 *                                   C = {"id","name","stream","state","reason","subject","from","rows","rejected","delivered",
 *                                   "bounced","suppressed","expired","held","cancelled","uncertain","in_doubt","deferrals","queued","leased","deferred",
 *                                   "created","accepted","finished","starts","over_ms","batch","every_ms","offered","released","next_release","next_recipients",
 *                                   "all_released","waits_for"}   (finished: null while it runs; state "scheduled": it starts later; offered: recipients that were
 *                                   leased at least once, of those released; next_release, next_recipients: when how many more are; waits_for: the same in words)
 * GET  /v1/campaigns/ID            C with "waits":[{"provider" ("": none yet, or any),"queued","deferred","next_attempt","why"}]: what its own mail waits for
 * POST /v1/campaigns               multipart/form-data, parts in this order: "meta" {"stream","name","idempotency_key","strict":bool,"valid_for_ms","start_at",
 *                                  "over_ms","batch","every_ms"}, start_at a time, over_ms or batch with every_ms (the last four as PUT has them),
 *                                  "template" (the .eml), "recipients" (CSV with header row and a column email).
 *                                  201 {"campaign":C,"accepted","rejected","duplicate_submission":false,"rejects":[{"line","email","reason"}]...,
 *                                  "warnings":["..."] when there are any}
 *                                  rejects: at most 10,000 in the answer ("rejects_truncated": true when there are more). 200 with duplicate_submission true
 *                                  when the idempotency key was used for the same content; 409 for other content. strict and any reject: 400, nothing queued,
 *                                  same "rejects" list.
 * POST /v1/campaigns/ID/pause | resume | cancel    {"reason"}   -> C
 * PUT  /v1/campaigns/ID            {"start_at": time or null for now,"over_ms","batch","every_ms","reason"}: what is there changes, 0 takes it away -> C
 * GET  /v1/sources                 {"sources":[S]}    S = {"id","address","bind","helo","node","node_connected","network","label","pools":[],"state","reason","trouble",
 *                                   "lane_state","cap_per_day","lane_cap_per_day","lane_cap_in_force","lane_caps":{},"outstanding","used_24h","delivered","deferred","bounced",
 *                                   "lanes":[{"provider","state","until","cap_per_day","outstanding","used_24h","free","frees_in_ms","delivered","deferred","bounced",
 *                                   "blocked","incident"}],"stopped_sites":[{"domain","state","until","incident"}] (sites of "other"),"listings":[as of /v1/listings; of one source only]}
 * GET  /v1/sources/ADDRESS         S
 * POST /v1/sources                 {"address","bind","node","helo","pool" or "pools","label","cap_per_day","lane_cap_per_day","lane_caps":{"google":1000}} -> 201 S,
 *                                   with "warnings":["..."] when it names a pool that no stream uses
 * POST /v1/sources/ADDRESS/pause | resume | retire {"reason"}   -> S
 * PUT  /v1/sources/ADDRESS         the same without "address"; what isn't named stays (lane_caps: null takes a provider's own cap away) -> S
 *                                   With "warmup":PLAN it warms up from now on; "warm_as":N (recipients a day) with "since":DATE brings in a warm one; not both.
 *                                   S has "warmup","warm_as","warm_since", its lanes "warmup","must_register","registered"
 * POST /v1/sources/ADDRESS/register {"provider","registered":true,"reason"} -> S with "note", what is so now
 *                                   S and its lanes have "reputation" (0 to 100),"reputation_band","little_evidence"; lanes "poor_hour" (recipients an hour, or null) and
 *                                   "pace":null or {"slowed","per_minute" (null: no limit),"per_hour" (what the receiver takes; null: not known),"connections","in_use","connects_per_minute" (null: no
 *                                   limit),"connects_bind" (what waits at the node waits for that),"tried","deferred_share","slowed_since","rests_until",
 *                                   "told_ms_ago","slowest_sites":[{"domain","per_minute","connections"}]}; a single S "reputations" as below
 * GET  /v1/reputation[?name=ADDRESS|NETWORK|DOMAIN]  {"reputations":[{"kind":"source"|"lane"|"network"|"domain","name","provider" (null: over all),"score","band",
 *                                   "little_evidence","attempts","terms":[{"term","points","weight","events","share","half_life_hours","reason"}]}]}
 * GET  /v1/warmup[?name=ADDRESS|DOMAIN]  {"day":DATE,"lanes":[{"source" or "domain","provider","plan","state","detail","stage","stages","hold","cap_per_day",
 *                                   "used_24h","outstanding","hour_cap","hour_used","free","frees_in_ms","distinct","needed","warm_as","warm_since","forecast" (null: detail says why),"new" (no mail yet),
 *                                   "gates":[{"gate","events","of","rate","low","high","max","verdict"}],"day"}]}; rates are fractions, stage counts from 1
 * POST /v1/warmup/NAME/pause | resume | set {"provider","stage","reason"}   stage: a number from 1, or "warm"; "changed": lanes
 * POST /v1/signals/complaints      {"source" or "domain","provider","day" (DATE, "today" or "yesterday"),"count","reason"}: how many recipients complained about the mail of that sending day
 * GET  /v1/nodes                   {"nodes":[{"id","name","key","state","connected","hostname","software","trouble","last_heard_ms","leases","messages_leased",
 *                                   "in_doubt","connections","waiting"}]}
 * POST /v1/nodes                   {"name","key"} (key: Z85 public key) -> 201
 * POST /v1/nodes/NAME/revoke | forget  {"reason"}
 * GET  /v1/streams                 {"streams":[T]}  T = {"id","name","pool","sending_domain","return_domain","unsubscribe_url","unsubscribe_mailto","priority",
 *                                   "age_limit_ms","retry_min_ms","retry_max_ms","uncertain_policy":"retry|hold","node_return_wait_ms","canonicalization","dsn","requiretls","one_signature",
 *                                   "keys":[{"domain","selector","path"}],"state","reason","domain_cap_per_day",
 *                                   "domain_warmup","domain_warm_as","domain_since","cold_lanes":"yes|never","tls":"may|required"}
 * PUT  /v1/streams/NAME            T without id and state; absent members keep their value or default -> T, with "warnings":["..."] when it
 *                                  names a pool without a source. Key files are read and checked now.
 * POST /v1/streams/NAME/pause | resume {"reason"}
 * GET  /v1/queue                   {"queues":[{"provider","stream","queued","leased","deferred","next_attempt","waits_for"}],"unsorted","unsorted_paused","unsorted_later"}
 * GET  /v1/incidents[?all=1]       {"incidents":[{"id","state","title","class","scope","source","provider","cause","opened","read","quarantined","redealt","resolved",
 *                                   "detect_ms","redeal_ms","moved","moved_to":[],"waiting","waiting_most","lapses","next_step","resolution",
 *                                   "surge":{"since","over","denied","answered","pending","undone","confirmed","not_kept"} of unknown users}]} (lapses: when its quarantine ends by
 *                                  itself; null: only by resolving)
 * POST /v1/incidents/N/resolve     {"reason"}
 * POST /v1/incidents/N/undo | confirm  {"reason"}: of a surge -> {"incident","addresses","text"}
 * GET  /v1/tls[?domain=D]          {"domains":[{"domain","policy":"tlsa|sts|no-policy-found","mode":"enforce|testing|none" or null,"id","records","expires",
 *                                  "good","failed","resumed","last","last_failure","last_failure_at","in_the_clear_until"}],"dropped"}; of three UTC days
 * GET  /v1/tls/reports[?day=YYYY-MM-DD][&domain=D]
 *                                  {"reports":[a report of RFC 8460, section 4.4, for each domain]}; today when no day is named
 * GET  /v1/listings[?all=1][&history=1][&subject=ADDRESS|DOMAIN]
 *                                  {"listings":[{"id","list","tier":"act|slow|alert|snowshoe","subject","kind":"source|domain|neighbour","network",
 *                                  "state":"listed|clean once|removed","since","last_seen","removed","for_ms","expected_ms","relisted","codes","meaning",
 *                                  "evidence","removal","hint","removal_asked","removal_note","incidents":[]}],"watch":bool (off: no list is asked)}; all: neighbours too; history: removed ones too
 * GET  /v1/listings/lists          {"lists":[{"list","zone","tier","kinds":[],"asked":bool,"off_because","interval_ms","queries_hour","per_hour","queries_day",
 *                                  "per_day","listings","removal","health":[{"node","kind","state","tested","why","last_error"}]}]}   (zone without its key)
 * POST /v1/listings/check          {"subject"} -> {"subject","outcome","lists":[{"list","state","tier","codes","text","evidence"}]} when the lists were asked
 * POST /v1/listings/removal-asked  {"subject","list","note"}
 * POST /v1/suppressions            {"address","stream" or null,"reason","wait_ms"} -> 200 {"address","suppressed","confirmed","already" (it was so before),
 *                                  "streams":["" for all, or names]} once no lease can still contact it; 202 when wait_ms (at most
 *                                  30 s) was over before: in force for all that isn't leased; "waits_for":[{"node","connected","valid_ms"}] may still send.
 *                                  Without a reason, one that is known stays, unless it was a bounce.
 * DELETE /v1/suppressions/ADDRESS[?stream=S]  {"address","suppressed":bool,"streams":[those that it still is suppressed for]}
 * GET  /v1/suppressions/ADDRESS    {"address","suppressed":bool,"entries":[{"stream","reason","evidence","since","confirmed","pending","incident","waits_for"}]}
 *                                  pending: denied in a surge (incident), and not in force
 * GET  /v1/events?after=SEQ&last=N&limit=N&follow=1&type=T&campaign=ID&recipient=ADDR
 *                                  application/x-ndjson: one event a line {"seq","at","type","message","campaign","recipient","source","provider","node","stream",
 *                                  "attempt","code","enhanced","reply","stage","mx","class","scope","action","rule","text","not_before","took_ms","tls","tls_session","tls_verified","incident","campaign_name"}; members
 *                                  without a meaning for the event are absent. follow=1 keeps the connection open. after=-N: the last N events of all;
 *                                  last=N: the last N that the other filters let through.
 * GET  /v1/explain?address=A | ?message=ID
 *                                  {"matches":[{"message","campaign","campaign_state","recipient","state":"queued|leased|in-doubt|deferred|delivered|bounced|...",
 *                                  "attempts","not_before","lease":{"id","node","source","connected","granted"},"lines":["..."],"events":[...]}],"suppressed":bool,
 *                                  "suppressed_streams":["" for all, or names],"provider"}; campaign_state: of a campaign that runs; lease: while a node has it;
 *                                  ID: of a message, or its Message-ID or envelope sender
 * POST /v1/rules/reload            reads provider and verdict rules and the streams' DKIM keys again -> {"ok":true,"text":"what changed"};
 *                                  400 with the findings, "file:line: ..." a line, and nothing changed
 * POST /v1/resume-restored         leaves the pause of a restored store
 * GET  /v1/health                  {"ok":true} without a token */
#ifndef REMUDA_API_H
#define REMUDA_API_H

#define RMD_API_VERSION "v1"

enum {
    RMD_API_BODY_MAX = 1 << 20,         /* of a JSON request */
    RMD_API_UPLOAD_MAX_ROWS = 50000000, /* of one campaign */
    RMD_API_REJECTS_MAX = 100000,
    RMD_API_WAIT_MS = 30000,
    RMD_API_CONNECTIONS_MAX = 256,
};

#endif
