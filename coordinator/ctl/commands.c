/* The table of commands with their help: one place for usage lines, --help and the list. */
#include "coordinator/ctl/ctl.h"

/* clang-format off */
const struct rmd_ctl_command rmd_ctl_commands[] = {
    {"send", NULL, "--template FILE.eml --recipients LIST.csv --stream NAME [options]", "Submit a campaign",
     "  --template FILE    an RFC 5322 message; {{field}} in headers and bodies stands for a column of the list,\n"
     "                     {{field|fallback}} has a value for empty ones\n"
     "  --recipients FILE  CSV with a header row and a column `email`\n"
     "  --stream NAME      which stream sends it (`remuda stream list`)\n"
     "  --name TEXT        a name for people\n"
     "  --key TEXT         idempotency key: sending twice with it queues once\n"
     "  --strict           queue nothing when any row is bad\n"
     "  --valid-for TIME   give up after that (\"2d\", \"36h\"); at most the stream's age limit\n"
     "  --at TIME          start then: 2026-12-01T09:00 (this computer's clock), with Z or +01:00, or \"tomorrow 09:00\"\n"
     "  --over TIME        spread it over that long (\"6h\"), evenly at each provider\n"
     "  --batch N --every TIME   N recipients at once, and the next N after that time\n"
     "  --rejects FILE     where bad rows are listed (default: LIST.csv.rejects)\n"
     "  --watch            stay until every recipient is settled\n"
     "\n"
     "  remuda send --template news.eml --recipients list.csv --stream bulk --watch\n"
     "\n"
     "Exit code 5: accepted, but some rows were rejected.\n", rmd_ctl_send},
    {"status", NULL, "", "What the cluster is doing, in one screen", "", rmd_ctl_status},
    {"campaign", "list", "[--state STATE] [--stream NAME] [--limit N]", "Campaigns with their progress",
     "  --state STATE   scheduled, active, paused, cancelled or done\n"
     "  --stream NAME   of this stream\n"
     "  --limit N       the newest N (default: 1000; 0: all)\n"
     "The newest are the last lines. Of finished campaigns the newest 1,000 are listed, `campaign show ID` has each as long as\n"
     "history is kept.\n", rmd_ctl_campaign_list},
    {"campaign", "show", "ID [--watch]", "One campaign", "  --watch  stay until it is settled\n", rmd_ctl_campaign_show},
    {"campaign", "set", "ID [--at TIME] [--over TIME] [--batch N] [--every TIME] [--reason TEXT]", "Change when a campaign is sent, before it starts or while it runs",
     "  --at TIME          start then (as for `send`), or \"now\"; one that runs stops until then\n"
     "  --over TIME        spread what was not offered yet over that long; \"none\": no longer spread\n"
     "  --batch N --every TIME   what was not offered yet goes in batches; \"none\": no longer\n"
     "Retries are not held up. Age counts from the start.\n", rmd_ctl_campaign_set},
    {"campaign", "pause", "ID [--reason TEXT]", "Stop dealing a campaign's recipients", "What is open at a receiver ends; the rest waits for `resume`.\n", rmd_ctl_campaign_verb},
    {"campaign", "resume", "ID [--reason TEXT]", "Go on with a paused campaign", "", rmd_ctl_campaign_verb},
    {"campaign", "cancel", "ID [--reason TEXT]", "End a campaign; nothing more of it is sent", "", rmd_ctl_campaign_verb},
    {"source", "add", "ADDRESS --node NAME --helo HOST --pool POOL [options]", "Add a sending IP address",
     "  --node NAME        the node whose host has the address\n"
     "  --helo HOST        what it says in EHLO; must resolve to ADDRESS, and ADDRESS back to it\n"
     "  --pool POOL        pool of sources it belongs to (several: comma-separated)\n"
     "  --bind ADDRESS     address to bind on the host when it is behind NAT (default: ADDRESS)\n"
     "  --label TEXT       where it stands: provider, site\n"
     "  --cap N            recipients in any 24 hours, in all (\"50k\"); 0: no cap\n"
     "  --lane-cap N       recipients in any 24 hours at each provider\n"
     "  --lane-caps LIST   for some providers: google=2k,outlook=500\n"
     "  --warmup PLAN      it is new: its lanes warm up by this plan (conservative, standard, aggressive, or your own)\n"
     "  --warm-as N        it is warm already: so many recipients a day (\"200k\"); after 30 idle days it warms up again\n"
     "  --since DATE       since when it is warm (default: today)\n"
     "Without --warmup and --warm-as only the caps that you name hold.\n"
     "\n"
     "  remuda source add 203.0.113.7 --node n1 --helo mx7.example.net --pool bulk --warmup standard\n"
     "  remuda source add 203.0.113.7 --node n1 --helo mx7.example.net --pool bulk --lane-cap 2k\n", rmd_ctl_source_add},
    {"source", "list", "", "Sources with state, caps and counts", "LANE CAP is that of each provider; * when some have one of their own. USED: in the last 24 hours; DELIVERED, DEFERRED and\n"
     "BOUNCED count since the coordinator started.\n", rmd_ctl_source_list},
    {"source", "show", "ADDRESS", "One source with its caps and lanes",
     "A lane is the source at one provider. USED: in the last 24 hours; DELIVERED, DEFERRED and BOUNCED count since the\n"
     "coordinator started. A MINUTE: the lane's pace; AN HOUR: what the receiver takes, once that is known; NEW A MINUTE: the\n"
     "connections that may begin (connects_per_minute of the providers' file); TOLD BEFORE: how long ago its node said so.\n", rmd_ctl_source_show},
    {"source", "set", "ADDRESS [options]", "Change a source: caps, pools, HELO, node",
     "  What is not named stays as it is.\n"
     "  --cap, --lane-cap, --lane-caps, --pool, --helo, --label   as for `source add`\n"
     "  --lane-caps google=default   no cap of its own any more: --lane-cap holds there\n"
     "  --warmup PLAN      warms up by this plan from now on; \"none\": its warm-up is over, only the caps that are named hold\n"
     "  --warm-as N, --since DATE   it is warm, as for `source add`\n"
     "  --node, --bind     where it is bound; only while it has no leases (pause it first)\n"
     "\n"
     "  remuda source set 203.0.113.7 --lane-caps google=5k\n", rmd_ctl_source_set},
    {"source", "pause", "ADDRESS [--reason TEXT]", "Stop sending from an address; its work moves", "", rmd_ctl_source_verb},
    {"source", "resume", "ADDRESS [--reason TEXT]", "Use a paused source again", "", rmd_ctl_source_verb},
    {"source", "retire", "ADDRESS [--reason TEXT]", "Take an address out of service", "What it has open ends first. `source add` brings it back, with the caps that it has used.\n", rmd_ctl_source_verb},
    {"source", "register", "ADDRESS PROVIDER [--undo] [--reason TEXT]", "An address is registered with a provider that wants that first",
     "Such providers (T-Online) get nothing from an address before this is said: announce it there, then say so here.\n"
     "  --undo  it is not registered any more\n", rmd_ctl_source_register},
    {"warmup", "pause", "ADDRESS|DOMAIN [PROVIDER] --reason TEXT", "Gain no stage until it is resumed", "Mail goes on at the present stage.\n", rmd_ctl_warmup_verb},
    {"warmup", "resume", "ADDRESS|DOMAIN [PROVIDER] [--reason TEXT]", "Go on with a paused warm-up", "", rmd_ctl_warmup_verb},
    {"warmup", "set", "ADDRESS|DOMAIN [PROVIDER] --stage N --reason TEXT", "Set a warm-up forward or back", "  --stage N  a stage from 1, or \"warm\"\n", rmd_ctl_warmup_verb},
    {"warmup", NULL, "[ADDRESS|DOMAIN] [--all]", "Warm-ups: stages, caps, gates, and when each lane will be warm",
     "Lanes that never had mail share a line for what holds them. A date is told when the days of late lead to one; else WHY says what\n"
     "holds the lane. With a name its gates are shown as well: the rates of its last sending day with their bounds.\n"
     "  --all  every lane has a line\n", rmd_ctl_warmup_show},
    {"reputation", NULL, "[ADDRESS|NETWORK|DOMAIN]", "Reputations of sources, networks and sending domains, and why",
     "Scores go from 0 to 100; everybody begins at 50. good (from 65) comes first where several sources may take work, poor\n"
     "(below 35) has a smaller share of each hour. With a name: term by term, at each provider.\n", rmd_ctl_reputation},
    {"plan", NULL, "--volume N/day --mix PROVIDER=PERCENT,... [options]", "How many addresses and days a volume needs",
     "  --volume N/day     recipients a day that must be reached (\"2M/day\")\n"
     "  --mix LIST         where they are: google=45,outlook=25,other=30 (per cent; what is missing is `other`)\n"
     "  --plan NAME        warm-up plan (standard)\n"
     "  --networks N       networks (/24 or /64) that the addresses stand on (1)\n"
     "  --per-network N    sources of one network that warm up at once (3; 0: any number)\n"
     "  --plans FILE       your own plans over the shipped ones\n"
     "  --providers FILE   your own provider rules over the shipped ones\n"
     "\n"
     "Needs no coordinator.\n"
     "\n"
     "  remuda plan --volume 2M/day --mix google=45,outlook=25,yahoo=10,other=20 --networks 6\n", rmd_ctl_plan},
    {"signal", "complaints", "--source ADDRESS|--domain NAME --provider P --day DATE --count N [--reason TEXT]", "Tell how many recipients complained",
     "  --day DATE  the sending day of the mail that was complained about (\"2026-11-23\", today, yesterday); the last seven are judged again\n"
     "  --count N   how many more; 0 says that the provider tells of complaints, and that there were none\n", rmd_ctl_signal_complaints},
    {"node", "add", "NAME --key Z85|FILE", "Enrol a node by its public key", "  --key  what `remuda keygen` printed, or the .pub file\n\n"
     "A revoked node comes back under its name with a new key, and keeps its sources.\n", rmd_ctl_node_add},
    {"node", "list", "", "Nodes: connected, leases, trouble", "", rmd_ctl_node_list},
    {"node", "revoke", "NAME [--reason TEXT]", "Refuse a node from now on", "Its messages that may have been sent stay in doubt until `node forget` or the stream's wait is over.\n", rmd_ctl_node_verb},
    {"node", "forget", "NAME [--reason TEXT]", "Stop waiting for a lost node's outcomes", "Its messages in doubt follow their stream's uncertain policy: retry (may reach people twice) or hold.\n", rmd_ctl_node_verb},
    {"stream", "set", "NAME [options]", "Make or change a stream",
     "  --pool POOL              sources it may use\n"
     "  --sending-domain D       DKIM d= and domain of From\n"
     "  --return-domain D        envelope senders (VERP); default: the sending domain\n"
     "  --key SELECTOR=PATH      DKIM key, PEM, absolute path on the coordinator's host (several: comma-separated)\n"
     "  --unsubscribe-url URL    https, with {token}: one-click unsubscribe; {token} becomes the message's own token\n"
     "                           (its id and a signature), so that your server can tell who it was (`remuda explain`)\n"
     "  --unsubscribe-mailto A   address, with {token} likewise\n"
     "  --priority N             lower is sooner; 0 is transactional\n"
     "  --age-limit TIME         give up after that (default 3d); times have a unit: 90s, 15min, 4h, 3d\n"
     "  --retry-min TIME, --retry-max TIME   bounds of the back-off (15min, 4h)\n"
     "  --uncertain retry|hold   what to do when nobody can tell whether it was delivered\n"
     "  --node-return-wait TIME  how long to wait for a lost node's outcomes (1h)\n"
     "  --domain-cap N           recipients in any 24 hours at each provider for the sending domain\n"
     "  --canonicalization C     of DKIM: relaxed/relaxed\n"
     "  --one-signature yes|no   To and Message-ID aren't signed: mail in which nothing else is a recipient's own is signed\n"
     "                           once for all (no)\n"
     "  --dsn KIND               what receivers are asked to report where they offer DSN: failure (default), delay (both),\n"
     "                           success (all), never, or none to say nothing of it\n"
     "  --requiretls yes|no      only over verified TLS, and only to servers that offer REQUIRETLS (RFC 8689): others fail\n"
     "  --domain-warmup PLAN     the sending domain is new: it warms up at each provider (none: no longer)\n"
     "  --domain-warm-as N       the sending domain is warm: so many recipients a day at each provider\n"
     "  --domain-since DATE      since when (default: today)\n"
     "  --cold-lanes yes|never   whether sources that warm up may send its mail (yes)\n"
     "  --tls may|required       required: nothing of it leaves in the clear (may)\n"
     "\n"
     "  remuda stream set bulk --pool bulk --sending-domain news.example.net --key s1=/etc/remuda/keys/s1.pem\n", rmd_ctl_stream_set},
    {"stream", "list", "", "Streams", "", rmd_ctl_stream_list},
    {"stream", "show", "NAME", "All settings of one stream", "", rmd_ctl_stream_show},
    {"stream", "pause", "NAME [--reason TEXT]", "Stop a stream", "", rmd_ctl_stream_verb},
    {"stream", "resume", "NAME [--reason TEXT]", "Go on with a stream", "Its sending domain is tried again wherever it was refused, with a few recipients first.\n", rmd_ctl_stream_verb},
    {"queue", NULL, "", "What waits, by provider and stream, and for what", "", rmd_ctl_queue},
    {"events", NULL, "[-f] [--last N] [--type T] [--campaign ID] [--recipient ADDRESS]", "What happened, line by line",
     "  -f, --follow       stay and show new ones, through restarts of the coordinator\n  --last N           the last N of what the others let through (default 20; 0: all)\n"
     "  --type T           \"delivered\", \"deferred\", \"bounced\", ...; \"incident.\" for a family\n"
     "  --campaign ID      of one campaign\n"
     "  --recipient A      of one address\n"
     "\n"
     "  remuda events --type bounced --last 50\n", rmd_ctl_events},
    {"explain", NULL, "ADDRESS|MESSAGE-ID", "The story of a recipient, and what it waits for",
     "A message is named by its id, its Message-ID or its envelope sender.\n\n"
     "  remuda explain ann@example.org\n"
     "  remuda explain '<01m85j3xs9sy7rz4r000000000-c92t8tbrzs@news.example.net>'\n", rmd_ctl_explain},
    {"incident", "list", "[--all]", "Trouble: open incidents", "  --all  resolved ones as well\n", rmd_ctl_incident_list},
    {"incident", "show", "NUMBER", "One incident: cause, time line, what moved, next step", "", rmd_ctl_incident_show},
    {"incident", "resolve", "NUMBER [--reason TEXT] [--ticket TEXT|URL]", "End an incident: what it stopped is probed with single recipients, then open",
     "  --ticket T  as `remuda incident ticket` does\n", rmd_ctl_incident_resolve},
    {"incident", "ticket", "NUMBER TEXT|URL", "Note the ticket that was opened with the list or the provider",
     "  remuda incident ticket 12 \"sender.office.com, case 4711\"\n", rmd_ctl_incident_ticket},
    {"listings", "lists", "", "The lists that are asked: self-test, budget, last error, why one is set aside",
     "A list is believed after its self-test (RFC 5782): its test entry is listed, and what must not be listed isn't.\n"
     "HOUR and DAY: queries that were made, of those that may be.\n", rmd_ctl_listings_lists},
    {"listings", "check", "ADDRESS|DOMAIN", "Ask all lists about an address or a domain, now",
     "A connected node asks, through its resolver, within the budget. What is found about an own source or sending\n"
     "domain counts as if it had been found by schedule.\n", rmd_ctl_listings_check},
    {"listings", "removal-asked", "ADDRESS|DOMAIN LIST [--note TEXT]", "Note that removal was asked for",
     "  remuda listings removal-asked 203.0.113.7 b.barracudacentral.org --note \"form sent, ticket 1234\"\n", rmd_ctl_listings_removal},
    {"listings", NULL, "[--all | --history] [ADDRESS|DOMAIN]", "Blocklists that name sources or sending domains",
     "  --all      neighbours of sources as well\n"
     "  --history  what was removed as well: how long it lasted, how often it came again\n"
     "\n"
     "TIER tells what a listing does: act stops a source everywhere (a domain: pauses its bulk streams), slow halves a\n"
     "source's pace, snowshoe pauses bulk streams and moves nothing, alert is told only.\n", rmd_ctl_listings},
    {"tls", NULL, "[DOMAIN]", "TLS towards receivers: policies, sessions, what failed, what goes in the clear",
     "Of the last three UTC days. POLICY: DANE or MTA-STS, as the domain publishes it; MODE: enforce or testing; EXPIRES: until\n"
     "when the fetched policy holds. A failed handshake sends mail IN THE CLEAR only where neither they nor you require TLS.\n", rmd_ctl_tls},
    {"tls-report", NULL, "[--day YYYY-MM-DD] [DOMAIN]", "Reports about TLS sessions as RFC 8460 writes them (JSON)",
     "Of a UTC day, today when none is named; one report a domain. Reports of finished days are also in the coordinator's data\n"
     "folder, tls-reports/DAY.jsonl, for 30 days. They are not mailed to anybody.\n", rmd_ctl_tls_report},
    {"suppress", "add", "ADDRESS [--stream NAME] [--reason TEXT]", "Never contact an address again", "In force at once for whatever no node holds; returns when every node that holds leases has confirmed it, or\n"
     "after 30 s with exit code 5 and the names of those that have not.\nWithout --reason one that is known stays, unless it was a bounce.\n", rmd_ctl_suppress_add},
    {"suppress", "remove", "ADDRESS [--stream NAME]", "Allow an address again", "", rmd_ctl_suppress_remove},
    {"suppress", "check", "ADDRESS", "Is an address suppressed, and why", "Exit code 0: it is; 3: it is not.\n", rmd_ctl_suppress_check},
    {"suppress", "undo", "--incident N [--reason TEXT]", "Free whoever a surge of unknown users suppressed", "A provider that denies users far over its usual is an incident; whom it denies is pending. This takes all of it back.\n", rmd_ctl_suppress_decide},
    {"suppress", "confirm", "--incident N [--reason TEXT]", "Suppress whoever a surge of unknown users denied", "These users don't exist: what is pending is suppressed, and such a share counts as usual there.\n", rmd_ctl_suppress_decide},
    {"classify", NULL, "[REPLY] [--stage S] [--provider P] [--rules FILE] [--providers FILE] | --tsv [FILE]", "What a receiver's reply means, and what is done about it",
     "REPLY is what the server said, with or without its code, or a piece of a bounce; without it, standard input is read.\n"
     "Needs no coordinator.\n"
     "\n"
     "  --stage S          what it answered: greeting, ehlo, starttls, mail, rcpt (default), data, dot\n"
     "  --provider P       the receiver's provider: google, yahoo, outlook, ...\n"
     "  --rules FILE       your verdict rules over the shipped ones\n"
     "  --providers FILE   your providers, which those rules name\n"
     "  --tsv [FILE]       a table, from FILE or standard input: tabs between columns, a header line; column `reply`, and `id`, `stage`,\n"
     "                     `provider` when there are any. Writes: id class scope action duration_s rule\n"
     "\n"
     "  remuda classify \"550 5.7.1 Client host [192.0.2.7] blocked using bl.example\"\n", rmd_ctl_classify},
    {"rules", "check", "[--providers FILE] [--rules FILE] [--plans FILE] [--blocklists FILE]", "Read provider and verdict rules, warm-up plans and blocklists, and say what is wrong with them",
     "Needs no coordinator. Without options: the shipped ones. Exit code 1: something is wrong, as FILE:LINE: text.\n", rmd_ctl_rules_check},
    {"rules", "reload", "", "Have the coordinator read its rule files and DKIM keys again",
     "The same as SIGHUP. Nothing changes when a file has an error, which is told with file and line.\n", rmd_ctl_rules_reload},
    {"keygen", NULL, "PREFIX", "Make a key pair for a coordinator or node", "Writes PREFIX.key (secret, mode 0600) and PREFIX.pub, and prints the public key.\nNever overwrites a key.\n", rmd_ctl_keygen},
    {"resume-restored", NULL, "", "Leave the pause of a restored store", "After a restore from a backup nothing is dealt until this is said.\n", rmd_ctl_resume_restored},
    {0},
};
/* clang-format on */
