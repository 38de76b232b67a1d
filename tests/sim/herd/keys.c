/* Every key that a scenario may have: section, type, bounds, default. tests/sim/README.md says the same for people, and `sim --scenario-keys` prints this. */
#include "tests/sim/herd/draft.h"

#define DAYS(n) ((int64_t)(n)*HERD_DAY_MS)
#define HOURS(n) ((int64_t)(n)*HERD_HOUR_MS)
#define MINUTES(n) ((int64_t)(n)*60000)
#define MANY 1000000000

#define COUNT_KEY(s, n, f, lo, hi, d, text)                                                               \
    {                                                                                                     \
        .name = n, .type = HERD_KEY_COUNT, .offset = offsetof(s, f), .min = lo, .max = hi, .fallback = d, \
        .about = text                                                                                     \
    }
#define TIME_KEY(s, n, f, lo, hi, d, text)                                                                   \
    {                                                                                                        \
        .name = n, .type = HERD_KEY_DURATION, .offset = offsetof(s, f), .min = lo, .max = hi, .fallback = d, \
        .about = text                                                                                        \
    }
#define SHARE_KEY(s, n, f, hi, d, text) \
    { .name = n, .type = HERD_KEY_SHARE, .offset = offsetof(s, f), .max = hi, .fallback = d, .about = text }
#define TEXT_KEY(s, n, f, req, text) \
    { .name = n, .type = HERD_KEY_TEXT, .offset = offsetof(s, f), .required = req, .about = text }
#define REPLY_KEY(s, n, f, req, text) \
    { .name = n, .type = HERD_KEY_REPLY, .offset = offsetof(s, f), .required = req, .about = text }
#define WORD_KEY(s, n, f, w, d, text) \
    { .name = n, .type = HERD_KEY_WORD, .offset = offsetof(s, f), .words = w, .fallback = d, .about = text }
#define TEXTS_KEY(s, n, f, req, text) \
    { .name = n, .type = HERD_KEY_TEXTS, .offset = offsetof(s, f), .required = req, .about = text }

#define R struct herd_rules

static const char *const stages[] = {"greeting", "mail", "rcpt", "dot", NULL};
static const char *const kinds[] = {"bulk", "transactional", NULL};
static const char *const contents[] = {"good", "bad", NULL};
static const char *const reports[] = {"none", "campaign", "full", NULL};
static const char *const grey_by[] = {"source", "network", NULL};
static const char *const event_kinds[] = {"surge", "liar", "down", "listing", "block", NULL};

/* clang-format off */
const struct herd_key herd_rule_keys[] = {
    {.name = "off", .type = HERD_KEY_FLAG, .offset = offsetof(struct herd_rule, off), .about = "the rule of the receiver it is like doesn't hold here"},
    {.name = "cites", .type = HERD_KEY_TEXTS, .offset = offsetof(struct herd_rule, cites), .about = "the behaviour it imitates: \"FILE: words of that file of facts/\""},
    {.name = "stage", .type = HERD_KEY_WORD, .offset = offsetof(struct herd_rule, stage), .words = stages, .fallback = HERD_RCPT, .about = "where it speaks"},
    {.name = "reply", .type = HERD_KEY_REPLY, .offset = offsetof(struct herd_rule, reply), .about = "what it says"},
};

static const struct herd_key newcomer[] = {
    TIME_KEY(R, "days", newcomer.days, 0, DAYS(365), DAYS(14), "younger sources are new; age counts from the first message here"),
    COUNT_KEY(R, "per_day", newcomer.per_day, 1, MANY, 1000, "messages accepted on its first day (UTC); the next one is refused and blocks the source"),
    SHARE_KEY(R, "grow", newcomer.grow, 100 * HERD_PPM, HERD_PPM, "of the day before that each further day of its age may have"),
    TIME_KEY(R, "block", newcomer.block_ms, MINUTES(1), DAYS(120), DAYS(1), "for so long"),
    TIME_KEY(R, "forget", newcomer.forget_ms, DAYS(1), DAYS(365), DAYS(30), "a source that sends nothing for so long is new again"),
};
static const struct herd_key growth[] = {
    COUNT_KEY(R, "floor", growth.floor, 1, MANY, 200, "messages a day that everybody may send"),
    SHARE_KEY(R, "factor", growth.factor, 100 * HERD_PPM, 2 * HERD_PPM, "of the busiest of the last days that a day may have; half of it for poor, a tenth for bad reputation"),
    COUNT_KEY(R, "days", growth.days, 1, HERD_WINDOW_DAYS_MAX, 7, "how many days are looked back on"),
};
static const struct herd_key domain_growth[] = {
    COUNT_KEY(R, "floor", domain_growth.floor, 1, MANY, 500, "messages a day that every sending domain may send"),
    SHARE_KEY(R, "factor", domain_growth.factor, 100 * HERD_PPM, 3 * HERD_PPM, "as in growth"),
    COUNT_KEY(R, "days", domain_growth.days, 1, HERD_WINDOW_DAYS_MAX, 7, "as in growth"),
};
static const struct herd_key rate[] = {
    COUNT_KEY(R, "per_hour", rate.per_hour, 1, MANY, 1000, "messages of one source accepted in any 60 minutes (in steps of 5)"),
    SHARE_KEY(R, "share", rate.share, HERD_PPM, HERD_PPM, "of what growth allows in a day that may come in an hour; floor / 10 at least"),
    SHARE_KEY(R, "harder", rate.harder, HERD_PPM, 0, "of per_hour that is lost by each refusal of this rule"),
    SHARE_KEY(R, "least", rate.least, HERD_PPM, HERD_PPM / 10, "of per_hour that is left in the worst case"),
    TIME_KEY(R, "recover", rate.recover_ms, MINUTES(1), DAYS(30), HOURS(4), "without refusals, from nothing to all of per_hour"),
};
static const struct herd_key pressure[] = {
    TIME_KEY(R, "rest", pressure.rest_ms, MINUTES(1), DAYS(30), MINUTES(10), "after a refusal by growth or rate, every transaction of the source is refused so long; each further one within the window makes it longer by so much"),
    TIME_KEY(R, "longest", pressure.longest_ms, MINUTES(1), DAYS(30), HOURS(4), "the longest rest"),
    COUNT_KEY(R, "tolerate", pressure.tolerate, 0, MANY, 10, "transactions within a rest that are forgiven; each so many more double the rest and are a level"),
    COUNT_KEY(R, "levels", pressure.levels, 1, MANY, 8, "levels within the window that block the source"),
    TIME_KEY(R, "window", pressure.window_ms, MINUTES(1), DAYS(30), DAYS(1), "so long without a refusal, and all is forgiven"),
    TIME_KEY(R, "block", pressure.block_ms, MINUTES(1), DAYS(120), DAYS(1), "for so long"),
};
static const struct herd_key connections[] = {
    COUNT_KEY(R, "most", connections.most, 1, MANY, 20, "of one source to one site at one time; one more is refused in its greeting"),
    COUNT_KEY(R, "messages", connections.messages, 1, MANY, 100, "transactions of a connection; the next MAIL is refused and the connection closed"),
    REPLY_KEY(R, "reply_messages", connections.reply_messages, false, "to that MAIL"),
};
static const struct herd_key reputation[] = {
    COUNT_KEY(R, "days", reputation.days, 1, HERD_WINDOW_DAYS_MAX, 7, "how many days are looked back on, today included"),
    COUNT_KEY(R, "minimum", reputation.minimum, 1, MANY, 100, "messages in these days; who has fewer is new"),
    SHARE_KEY(R, "poor_complaints", reputation.poor_complaints, HERD_PPM, 1000, "complaints over accepted messages"),
    SHARE_KEY(R, "bad_complaints", reputation.bad_complaints, HERD_PPM, 3000, "likewise"),
    COUNT_KEY(R, "forgive", reputation.forgive, 0, MANY, 2, "complaints in these days below which their rate says nothing"),
    SHARE_KEY(R, "poor_unknown", reputation.poor_unknown, HERD_PPM, HERD_PPM / 20, "unknown recipients over all recipients"),
    SHARE_KEY(R, "bad_unknown", reputation.bad_unknown, HERD_PPM, HERD_PPM / 10, "likewise"),
    COUNT_KEY(R, "poor_traps", reputation.poor_traps, 1, MANY, 2, "messages to spam traps; whatever the minimum"),
    COUNT_KEY(R, "bad_traps", reputation.bad_traps, 1, MANY, 5, "likewise"),
    SHARE_KEY(R, "poor_reads", reputation.poor_reads, HERD_PPM, 0, "messages that are read over accepted ones: fewer are poor"),
    SHARE_KEY(R, "poor_spam", reputation.poor_spam, HERD_PPM, HERD_PPM / 10, "messages of bad content over all: more are poor, three times as many bad"),
    SHARE_KEY(R, "defer_poor", reputation.defer_poor, HERD_PPM, 0, "transactions that are refused for a while when the reputation is poor"),
    SHARE_KEY(R, "refuse_bad", reputation.refuse_bad, HERD_PPM, HERD_PPM / 2, "transactions that are refused when it is bad"),
    REPLY_KEY(R, "reply_domain", reputation.reply_domain, false, "when the sending domain's is the worse one (reply: the source's); not set: domains are only folded"),
};
static const struct herd_key folder[] = {
    SHARE_KEY(R, "good", folder.good, HERD_PPM, HERD_PPM / 50, "accepted messages that nobody sees, when both reputations are good"),
    SHARE_KEY(R, "new", folder.fresh, HERD_PPM, HERD_PPM / 5, "when one of them is new"),
    SHARE_KEY(R, "poor", folder.poor, HERD_PPM, HERD_PPM * 6 / 10, "when one of them is poor"),
    SHARE_KEY(R, "bad", folder.bad, HERD_PPM, HERD_PPM * 95 / 100, "when one of them is bad"),
    SHARE_KEY(R, "engaged", folder.engaged, HERD_PPM, HERD_PPM / 4, "of these shares that holds for engaged people"),
};
static const struct herd_key greylist[] = {
    WORD_KEY(R, "by", greylist.by_network, grey_by, 1, "what is remembered with the recipient and the sending domain"),
    TIME_KEY(R, "after", greylist.after_ms, 1000, DAYS(2), MINUTES(5), "an attempt so long after the first is let in"),
    TIME_KEY(R, "forget", greylist.forget_ms, MINUTES(1), DAYS(60), DAYS(1), "an attempt so long after the first is a first one"),
    COUNT_KEY(R, "known_after", greylist.known_after, 1, MANY, 20, "accepted messages of the source after which it isn't greylisted any more"),
};
static const struct herd_key noise[] = {
    SHARE_KEY(R, "share", noise.share, HERD_PPM, 5000, "transactions that meet a receiver's own passing trouble"),
};
static const struct herd_key content[] = {
    SHARE_KEY(R, "refuse", content.refuse, HERD_PPM, HERD_PPM / 2, "messages of bad content that are refused; the others count for reputation and are folded as of a bad one"),
};
static const struct herd_key unknowns[] = {
    SHARE_KEY(R, "share", unknowns.share, HERD_PPM, HERD_PPM / 10, "unknown recipients over all of the sending domain's recipients today"),
    COUNT_KEY(R, "minimum", unknowns.minimum, 1, MANY, 50, "recipients today below which nothing is said"),
    TIME_KEY(R, "for", unknowns.for_ms, MINUTES(1), DAYS(120), HOURS(4), "how long the sending domain is refused then"),
};
static const struct herd_key network[] = {
    COUNT_KEY(R, "sources", network.sources, 1, 256, 2, "of one /24 blocked here at one time; then all of it is"),
    TIME_KEY(R, "block", network.block_ms, MINUTES(1), DAYS(120), DAYS(2), "for so long"),
};
static const struct herd_key complaints[] = {
    TIME_KEY(R, "within", complaints.within_ms, MINUTES(1), DAYS(60), DAYS(3), "people complain up to so long after they have seen it"),
    WORD_KEY(R, "report", complaints.report, reports, HERD_REPORT_NONE, "what the feedback loop tells: nothing, campaign and source, or the recipient too"),
    TIME_KEY(R, "report_after", complaints.report_after_ms, 0, DAYS(60), HOURS(12), "how much later it comes"),
};
static const struct herd_key form[] = {
    TIME_KEY(R, "takes", form.takes_ms, MINUTES(1), DAYS(60), DAYS(1), "from the operator's request until the block is lifted"),
    COUNT_KEY(R, "granted", form.granted, 0, MANY, 3, "requests for one source that are granted"),
};
static const struct herd_key listed[] = {
    TEXTS_KEY(R, "zones", listed.zone, true, "blocklists that this receiver believes"),
};

#define SECTION(title, f, k, talks, text) \
    {.name = title, .rule = offsetof(R, f.r), .keys = k, .n = sizeof k / sizeof *k, .speaks = talks, .about = text}
#define AT(title, f, k, where, text) \
    {.name = title, .rule = offsetof(R, f.r), .keys = k, .n = sizeof k / sizeof *k, .speaks = true, .stages = where, .about = text}
#define BARE(title, f, where, text) {.name = title, .rule = offsetof(R, f.r), .speaks = true, .stages = where, .about = text}
#define MESSAGE (1u << HERD_MAIL | 1u << HERD_RCPT | 1u << HERD_DOT)
const struct herd_section herd_rule_sections[] = {
    AT("newcomer", newcomer, newcomer, MESSAGE, "volume that a new source may send"),
    AT("growth", growth, growth, MESSAGE, "how fast a source's volume may grow"),
    AT("domain_growth", domain_growth, domain_growth, MESSAGE, "how fast a sending domain's volume may grow, over all sources"),
    AT("rate", rate, rate, MESSAGE, "hourly rate of a source"),
    SECTION("pressure", pressure, pressure, true, "escalation when a sender keeps pushing; reply and stage are the block's"),
    SECTION("connections", connections, connections, true, "concurrent connections, messages a connection; stage has no meaning"),
    AT("reputation", reputation, reputation, MESSAGE, "what is thought of sources and of sending domains, apart"),
    SECTION("folder", folder, folder, false, "accepted, and not seen"),
    AT("greylist", greylist, greylist, 1u << HERD_RCPT, "unknown triplets are asked to come again"),
    AT("noise", noise, noise, MESSAGE, "passing trouble that has nothing to do with the sender"),
    AT("content", content, content, 1u << HERD_DOT, "what happens to campaigns of bad content"),
    AT("unknowns", unknowns, unknowns, MESSAGE, "a sending domain that mails too many unknown recipients"),
    SECTION("network", network, network, true, "a /24 of which several sources are blocked"),
    SECTION("complaints", complaints, complaints, false, "when people complain, and who is told"),
    SECTION("form", form, form, false, "removal from this receiver's own blocks; without it only time helps"),
    SECTION("listed", listed, listed, true, "blocklists"),
    BARE("unknown", unknown, 1u << HERD_RCPT, "recipients who don't exist"),
    BARE("full", full, 1u << HERD_RCPT, "recipients whose mailbox is full"),
    BARE("announce", announce, 0, "a new source must be announced before it sends anything"),
};
const size_t herd_rule_sections_n = sizeof herd_rule_sections / sizeof *herd_rule_sections;

#define D struct herd_scenario_draft
static const struct herd_key scenario[] = {
    TEXT_KEY(D, "name", name, true, "of the scenario"),
    TEXT_KEY(D, "about", about, true, "one line for people"),
    TEXT_KEY(D, "use", use, false, "a file, in the same directory or the one above, with receivers and blocklists that others can be like"),
    COUNT_KEY(D, "days", days, 1, HERD_DAYS_MAX, 14, "virtual days"),
    TIME_KEY(D, "operator_hour", operator_hour_ms, 0, DAYS(1) - 1, HOURS(9), "when the operator looks at blocks and listings and asks for removal, every day, whoever sends"),
};
#undef D
#define D struct herd_sources_draft
static const struct herd_key sources[] = {
    TEXT_KEY(D, "host", host, true, "the machine that owns them"),
    TEXT_KEY(D, "pool", pool, true, "which streams may use them"),
    TEXT_KEY(D, "first", first, true, "their first IPv4 address; the others follow it"),
    COUNT_KEY(D, "count", count, 1, HERD_SOURCES_MAX, 1, "how many"),
    COUNT_KEY(D, "age_days", age_days, 0, 10000, 0, "since when receivers know them; 0: new"),
    COUNT_KEY(D, "usual_per_day", usual_per_day, 0, MANY, 0, "what each sent a day in the two weeks before the start, over all receivers as the campaigns' lists are mixed"),
    TEXTS_KEY(D, "announced", announced, false, "receivers to whom they are announced"),
};
#undef D
#define D struct herd_stream_draft
static const struct herd_key stream[] = {
    TEXT_KEY(D, "tenant", tenant, true, "whose mail it is"),
    WORD_KEY(D, "kind", transactional, kinds, 0, "bulk mail can wait, transactional can't"),
    TEXT_KEY(D, "pool", pool, true, "of sources"),
    TEXT_KEY(D, "domain", domain, true, "the sending domain"),
    COUNT_KEY(D, "domain_age_days", domain_age_days, 0, 10000, 0, "since when receivers know it; 0: new"),
    COUNT_KEY(D, "domain_usual_per_day", domain_usual_per_day, 0, MANY, 0, "as usual_per_day of sources"),
};
#undef D
#define D struct herd_list
static const struct herd_key list[] = {
    COUNT_KEY(D, "size", size, 1, HERD_LIST_ROWS_MAX, 10000, "recipients"),
    SHARE_KEY(D, "unknown", unknown, HERD_PPM, 0, "of recipients that don't exist"),
    SHARE_KEY(D, "traps", traps, HERD_PPM, 0, "of recipients that are spam traps, each of one of the blocklists that count traps"),
    SHARE_KEY(D, "full", full, HERD_PPM, 0, "of recipients whose mailbox is full all the time"),
    SHARE_KEY(D, "engaged", engaged, HERD_PPM, HERD_PPM / 2, "of people who have clicked in the last 30 days; the others did 30 to 720 days ago, or never"),
    SHARE_KEY(D, "engaged_known", engaged_known, HERD_PPM, HERD_PPM, "of people of whom the sender knows when"),
    SHARE_KEY(D, "reads", reads, HERD_PPM, HERD_PPM * 4 / 10, "of seen messages that engaged people read"),
    SHARE_KEY(D, "reads_lapsed", reads_lapsed, HERD_PPM, HERD_PPM * 3 / 100, "of seen messages that the others read"),
    SHARE_KEY(D, "complaints", complaints, HERD_PPM, 200, "of seen messages about which engaged people complain"),
    SHARE_KEY(D, "complaints_lapsed", complaints_lapsed, HERD_PPM, 1000, "of seen messages about which the others complain; for bad content 20 times both"),
};
#undef D
#define D struct herd_campaign_draft
static const struct herd_key campaign[] = {
    TEXT_KEY(D, "stream", stream, true, "of the scenario"),
    TEXT_KEY(D, "list", list, true, "of the scenario"),
    TIME_KEY(D, "at", at_ms, 0, DAYS(HERD_DAYS_MAX), HOURS(9), "when it is submitted, from the start: 9h, 33h, 2d"),
    TIME_KEY(D, "every", every_ms, MINUTES(1), DAYS(HERD_DAYS_MAX), DAYS(1), "and again after"),
    COUNT_KEY(D, "times", times, 1, HERD_CAMPAIGNS_MAX, 1, "in all"),
    COUNT_KEY(D, "rows", rows, 1, HERD_LIST_ROWS_MAX, 1000, "recipients of each; each goes on in the list where the last one ended, and begins anew at its end"),
    SHARE_KEY(D, "grow", grow, 10 * HERD_PPM, HERD_PPM, "rows of a repetition over those of the one before"),
    COUNT_KEY(D, "first", first, 0, HERD_LIST_ROWS_MAX, 0, "recipient of the list with which the first one begins"),
    TIME_KEY(D, "valid_for", valid_for_ms, MINUTES(1), DAYS(365), DAYS(365), "later, nobody wants to see it: a message accepted then is not counted as seen"),
    WORD_KEY(D, "content", bad_content, contents, 0, "bad: what filters take for spam"),
};
#undef D
#define D struct herd_receiver_draft
static const struct herd_key receiver[] = {
    TEXT_KEY(D, "like", like, false, "a receiver of the file that the scenario uses; keys and rules that aren't set are its"),
    TEXT_KEY(D, "provider", provider, false, "which of the sender's configured providers it is; other: none (default)"),
    TEXTS_KEY(D, "mx", mx, false, "its MX hosts, at most 2; with sites: ignored"),
    TEXTS_KEY(D, "domains", domains, false, "recipients' domains; with sites: ignored"),
    COUNT_KEY(D, "sites", sites, 0, HERD_SITES_MAX, 0, "so many receivers of this kind, each with one domain of its own (d7.NAME.example), judging alone; 0: one"),
    TIME_KEY(D, "latency", rules.latency_ms, 1, MINUTES(5), 100, "of a reply, give or take a half; three times that to connect"),
};
#undef D
#define D struct herd_blocklist_draft
static const struct herd_key blocklist[] = {
    TEXT_KEY(D, "like", like, false, "a blocklist of the file that the scenario uses"),
    TEXT_KEY(D, "code", b.code, false, "its answer about a listed address (127.0.0.2)"),
    TEXT_KEY(D, "network_code", b.network_code, false, "its answer when the /24 is listed; not set: as code"),
    COUNT_KEY(D, "traps", b.traps, 0, HERD_HITS_MAX, 0, "messages to its spam traps within the time that list a source; 0: it has none"),
    COUNT_KEY(D, "complaints", b.complaints, 0, HERD_HITS_MAX, 0, "complaints that reach it within the time and list a source; 0: it hears of none"),
    SHARE_KEY(D, "complaint_share", b.complaint_share, HERD_PPM, HERD_PPM / 10, "of people's complaints that reach it"),
    TIME_KEY(D, "within", b.within_ms, MINUTES(1), DAYS(30), DAYS(1), "the time"),
    TIME_KEY(D, "delay", b.delay_ms, 0, DAYS(30), MINUTES(30), "from the last of them until the listing is published"),
    TIME_KEY(D, "unlist", b.unlist_ms, MINUTES(1), DAYS(120), DAYS(1), "the listing ends so long after the last trap or complaint"),
    COUNT_KEY(D, "network_sources", b.network_sources, 0, 256, 0, "sources of one /24 listed at one time that list all of it; 0: never"),
    TIME_KEY(D, "takes", b.takes_ms, MINUTES(1), DAYS(60), DAYS(1), "from the operator's request until the removal"),
    COUNT_KEY(D, "granted", b.granted, 0, MANY, 0, "requests for one source that are granted"),
};
#undef D
#define D struct herd_event
static const struct herd_key event[] = {
    WORD_KEY(D, "kind", kind, event_kinds, 0, "surge: valid users are unknown; liar: everybody is answered `reply`; down: nobody answers; listing: a blocklist lists a network; "
             "block: a receiver blocks a network"),
    TEXT_KEY(D, "receiver", receiver_name, false, "where (all but listing)"),
    COUNT_KEY(D, "site", site, 0, HERD_SITES_MAX, HERD_NONE, "one of the receiver's sites, from 0; not set: all"),
    TEXT_KEY(D, "blocklist", blocklist_name, false, "of a listing"),
    TEXT_KEY(D, "network", network_name, false, "of a listing or block: \"20.0.1.0/24\""),
    TIME_KEY(D, "at", at_ms, 0, DAYS(HERD_DAYS_MAX), 0, "from the start"),
    TIME_KEY(D, "for", for_ms, MINUTES(1), DAYS(HERD_DAYS_MAX), HOURS(1), "how long"),
    SHARE_KEY(D, "share", share, HERD_PPM, HERD_PPM, "of users (surge) or of transactions (liar)"),
};
#undef D

#define TABLE(k) .keys = k, .n = sizeof k / sizeof *k
const struct herd_section
    herd_scenario_section = {.name = "scenario", .rule = SIZE_MAX, TABLE(scenario), .about = "the whole"},
    herd_sources_section = {.name = "sources", .rule = SIZE_MAX, TABLE(sources), .about = "sending addresses"},
    herd_stream_section = {.name = "stream", .rule = SIZE_MAX, TABLE(stream), .about = "kinds of mail"},
    herd_list_section = {.name = "list", .rule = SIZE_MAX, TABLE(list), .about = "recipients; mix { RECEIVER = share } of 100 % in all"},
    herd_campaign_section = {.name = "campaign", .rule = SIZE_MAX, TABLE(campaign), .about = "what is submitted"},
    herd_receiver_section = {.name = "receiver", .rule = SIZE_MAX, TABLE(receiver), .about = "who receives, and how it judges"},
    herd_blocklist_section = {.name = "blocklist", .rule = offsetof(struct herd_blocklist_draft, b.r), TABLE(blocklist), .about = "public lists of addresses"},
    herd_event_section = {.name = "event", .rule = offsetof(struct herd_event, r), TABLE(event), .speaks = true, .about = "what happens at a time"};
/* clang-format on */

void herd_keys_fallback(const struct herd_section *s, void *base) {
    for (size_t i = 0; i < s->n; i++) {
        const struct herd_key *k = &s->keys[i];
        if (k->type != HERD_KEY_TEXT && k->type != HERD_KEY_REPLY && k->type != HERD_KEY_TEXTS)
            *(int64_t *)(void *)((char *)base + k->offset) = k->fallback;
    }
    if (s->rule != SIZE_MAX)
        ((struct herd_rule *)(void *)((char *)base + s->rule))->stage =
            s->stages == 1u << HERD_DOT ? HERD_DOT : HERD_RCPT;
}
