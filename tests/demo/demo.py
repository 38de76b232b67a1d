#!/usr/bin/env python3
"""make demo: a campaign over three networks of sources that survives a blocklisting, a killed node and a killed coordinator.

Everything is real and local: the three programs, an authoritative name server, rbldnsd, and the project's receivers, on
loopback addresses. What happened is judged by the receivers' own transcripts, not by what Remuda says of itself.

Exit status: 0 all promises kept, 1 one was broken (the last lines say which), 2 it could not run."""

import argparse
import collections
import csv
import json
import os
import random
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest import Failed, Missing, Rbldnsd, Unavailable, Work  # noqa: E402
from remudatest.cluster import ROOT, SLOWER, Cluster, World, wall_ms  # noqa: E402
from remudatest.judge import check_waiting, judge, network  # noqa: E402

ZONE = "zen.remuda.example"
SENDER = "news.remuda.example"
LIMIT_S = 130
MESSAGES = 20000

# Share of the recipients, cap of a lane (recipients of one source in 24 h, for 20,000 messages), and what the receivers do.
# MX hosts stand under the names by which Remuda knows the providers; the names are served by our own name server alone.
PROVIDERS = {
    "google": {"share": 28, "cap": 850, "unknown": 0.006,
               "unknown_text": "550 5.1.1 The email account that you tried to reach does not exist: <%rcpt>",
               "domains": {"gmail.com": ["gmail-smtp-in.l.google.com", "alt1.gmail-smtp-in.l.google.com"],
                           "googlemail.com": ["gmail-smtp-in.l.google.com", "alt1.gmail-smtp-in.l.google.com"],
                           "startup.example": ["aspmx.l.google.com"], "school.example": ["aspmx.l.google.com"]}},
    "outlook": {"share": 20, "cap": 700, "rcpt_per_minute": 540,
                "domains": {d: [d.replace(".", "-") + ".olc.protection.outlook.com"]
                            for d in ("outlook.com", "hotmail.com", "live.com")}},
    "yahoo": {"share": 15, "cap": 450, "delay_dot": "10ms", "cut_after_accepted": 0.001, "cut_after_lost": 0.001,
              "dnsbl_stage": "mail",
              "domains": {d: ["mta5.am0.yahoodns.net", "mta6.am0.yahoodns.net"] for d in ("yahoo.com", "aol.com", "ymail.com")}},
    "gmx": {"share": 10, "cap": 300, "connections_per_ip": 3, "cut_before_dot": 0.002, "dnsbl_stage": "greeting,mail",
            "domains": {"gmx.net": ["mx00.gmx.net", "mx01.gmx.net"], "gmx.de": ["mx00.gmx.net", "mx01.gmx.net"],
                        "web.de": ["mx-ha02.web.de"]}},
    "apple": {"share": 2.25, "cap": 60, "full": 0.02,
              "domains": {d: ["mx01.mail.icloud.com", "mx02.mail.icloud.com"] for d in ("icloud.com", "me.com")}},
    "other": {"share": 21.75, "cap": 2000, "unknown": 0.01, "delay": "2ms",
              "domains": ["bakery.example", "cityhall.example", "club.example", "library.example"]},
    "other-greylisting": {"share": 3, "greylist": True, "greylist_delay": "2s", "domains": ["university.example", "clinic.example"]},
}
LISTENS_TO_LISTS = ("yahoo", "gmx")
UNRELATED = {"google", "outlook", "yahoo", "gmx", "apple"}  # "other" is many receivers
# The longest wait for the next attempt, by the reason of the last refusal: an hour for a full mailbox, with a quarter of jitter, and with
# the doubling of a second one; the stream's retry_max for all others.
LONGEST_MS = {"full": 2 * 75 * 60000, "rate": 30000, None: 15000}
REDEAL_MS = 1000 * SLOWER
NETWORK_CAP, SOURCE_CAP, DOMAIN_CAP = 2300, 3000, 6500
NODES = {"alpha": "127.1.0", "beta": "127.2.0", "gamma": "127.3.0"}
SOURCES = {f"{net}.{last}": node for node, net in NODES.items() for last in (11, 12, 13)}

# How soon to come back, for receivers whose patience is a demonstration's.
RULES = """
rule "demo-greylisting" {
    verdict = greylisted; duration = 3s
    pattern = "greylisted, please try again later"
    sample = "451 4.7.1 Greylisted, please try again later"
}
rule "demo-rate" {
    verdict = rate-rest; duration = 15s
    pattern = " rp-001 "
    sample = "421 RP-001 (mx.example) Unfortunately, some messages from 192.0.2.7 weren't sent. Please try again."
}
"""

TEMPLATE = """From: Remuda News <news@news.remuda.example>
To: {{name}} <{{email}}>
Subject: {{name}}, your November in {{city}}
Mime-Version: 1.0
Content-Type: multipart/alternative; boundary="part"

--part
Content-Type: text/plain; charset=utf-8

Hello {{name}},

this is what happened in {{city}} this month. Your plan is "{{plan}}"; your code for the winter market is {{code}}.

.
A line that begins with a dot, and {{quote|nothing to quote}}.

--part
Content-Type: text/html; charset=utf-8

<html><body><h1>Hello {{name}}</h1>
<p>This is what happened in <b>{{city}}</b> this month.</p>
@@ROWS@@
<p>Your plan is <i>{{plan}}</i>; your code for the winter market is <code>{{code}}</code>. {{quote|-}}</p>
</body></html>
--part--
""".replace("@@ROWS@@", "\n".join(
    f"<p>Entry {i}: the market opens at eight, the library at nine, and the river path is closed until Thursday.</p>" for i in range(24)))

FIRST = ["Ann", "Béla", "Chloé", "Dmitri", "Zoë", "Jürgen", "李雷", "Σοφία", "O'Neil", "Ann-Marie"]
CITY = ["Köln", "Győr", "Москва", "Quebec", "Tours & Blois", "St. Gallen", "東京", "Lyon <3"]
QUOTE = ["", "", "..", "<script>alert(1)</script>", "a\r\nBcc: everybody@example.com", "100 % \"sure\""]


def boot_us():
    """The receivers' clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Screen:
    """A bar on a terminal; a line every few seconds elsewhere."""

    def __init__(self, total):
        self.total, self.began, self.last, self.percent = total, time.monotonic(), 0.0, (-1, 0.0)
        self.tty = sys.stdout.isatty()

    def say(self, text):
        print(f"{chr(13) + chr(27) + '[K' if self.tty else ''}{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def progress(self, c, waits):
        """waits() tells what is waited for: asked when a line would say the same as the one before it."""
        done = sum(c[k] for k in ("delivered", "bounced", "suppressed", "expired", "held"))
        text = (f"{done * 100 // max(1, self.total):3} %  {c['delivered']:,} delivered, {c['bounced']:,} bounced, "
                f"{c['leased']:,} with nodes, {c['queued']:,} queued, {c['deferred']:,} later")
        now, percent = time.monotonic(), done * 100 // max(1, self.total)
        if percent != self.percent[0]:
            self.percent = (percent, now)
        elif now - self.percent[1] >= 3 and (self.tty or now - self.last >= 3):
            text += waits()
        if self.tty:
            width = 30
            filled = done * width // max(1, self.total)
            print(f"\r\033[K[{'#' * filled}{'.' * (width - filled)}] {text}", end="", flush=True)
        elif now - self.last >= 3:
            self.last = now
            self.say(text)


def table(title, columns, rows):
    cells = [[f"{v:,}" if isinstance(v, int) else "-" if v is None else f"{v:,.1f}" if isinstance(v, float) else str(v) for v in r]
             for r in rows]
    width = [max([len(c)] + [len(r[i]) for r in cells]) for i, c in enumerate(columns)]
    right = [all(isinstance(r[i], (int, float, type(None))) for r in rows) for i in range(len(columns))]
    print(f"\n{title}")
    for r in [columns] + cells:
        print("  " + "  ".join(v.rjust(w) if rt else v.ljust(w) for v, w, rt in zip(r, width, right)).rstrip())
    if not rows:
        print("  none")


def write_list(path, n):
    """The recipients: n rows over all domains by their shares; the same ones each time."""
    rng = random.Random(20261123)
    total = sum(p["share"] for p in PROVIDERS.values())
    rows = []
    for p in PROVIDERS.values():
        domains = list(p["domains"])
        rows += [domains[i % len(domains)] for i in range(round(n * p["share"] / total))]
    rows += ["gmail.com"] * (n - len(rows))
    rng.shuffle(rows)
    with open(path, "w", newline="", encoding="utf-8") as f:
        out = csv.writer(f)
        out.writerow(["email", "name", "city", "plan", "code", "quote"])
        for i, domain in enumerate(rows[:n]):
            out.writerow([f"{rng.choice(['ann', 'bela', 'carl', 'dora', 'emil'])}.{i}@{domain}", rng.choice(FIRST), rng.choice(CITY),
                          rng.choice(["free", "family"]), f"W-{rng.randrange(10 ** 8):08}", rng.choice(QUOTE)])


class Demo:
    def __init__(self, work, args):
        self.work, self.args, self.n = work, args, args.messages
        self.scale = max(0.02, args.messages / MESSAGES)
        self.screen = Screen(self.n)
        self.listed = self.listed_ms = self.killed = None
        self.restarts, self.kills = [], []

    def cap(self, n):
        return max(10, round(n * self.scale))

    def build_world(self):
        self.lists = Rbldnsd(self.work, "127.10.0.54", [ZONE]).start()
        settings = {}
        for name, p in PROVIDERS.items():
            s = {k: v for k, v in p.items() if k not in ("share", "cap")}
            if name in LISTENS_TO_LISTS:
                s |= {"dnsbl_zone": ZONE, "dnsbl_server": self.lists.server}
            settings[name] = s
        self.world = World(self.work, settings, senders=[SENDER], addresses=lambda i: f"127.10.0.{i}", ed25519=self.args.ed25519,
                           build=self.args.build, seed=7).start()
        self.screen.say(f"{self.world.dns.kind} serves {len(self.world.zones)} zones, rbldnsd serves {ZONE}, "
                        f"{len(PROVIDERS)} receivers for {len(self.world.provider_of)} domains listen")

    def build_cluster(self):
        self.cluster = c = Cluster(self.work, self.world, list(NODES), rules=RULES, build=self.args.build,
                                   settings={"caps.network_per_day": self.cap(NETWORK_CAP), "retry.class": ["greylisted=3s"]})
        c.start()
        lanes = ",".join(f"{name}={self.cap(p['cap'])}" for name, p in PROVIDERS.items() if "cap" in p)
        for i, (address, node) in enumerate(SOURCES.items()):
            c.source(address, node, helo=f"mx{i + 1}.{SENDER}", cap=self.cap(SOURCE_CAP), lane_caps=lanes, label=f"site {node}")
        c.stream("bulk", self.world.keys[SENDER], domain_cap=self.cap(DOMAIN_CAP), retry_min="2s", retry_max="10s")
        self.screen.say(f"coordinator, {len(NODES)} nodes and {len(SOURCES)} sources are up")

    def submit(self):
        self.list = self.work.path("recipients.csv")
        write_list(self.list, self.n)
        began = time.monotonic()
        self.campaign = self.cluster.send(TEMPLATE, self.list, "--name", "November", "--key", "november")["id"]
        self.screen.say(f"campaign {self.campaign}: {self.n:,} recipients accepted in {time.monotonic() - began:.2f} s")

    # ---- what happens on the way

    def active_sources(self, providers):
        """Sources by how many messages the receivers took from them lately, busiest first."""
        recent = collections.Counter()
        for e in self.recent:
            if e["provider"] in providers:
                recent[e["ip"]] += 1
        return [ip for ip, _ in recent.most_common()]

    def blocklist(self):
        """One that sends to both who ask the list, so that two unrelated providers will refuse it."""
        by = [self.active_sources({p}) for p in LISTENS_TO_LISTS]
        busy = [ip for ip in self.active_sources(LISTENS_TO_LISTS) if all(ip in ips for ips in by)]
        if not busy:
            return False
        self.listed = busy[0]
        self.listed_ms = time.time() * 1000
        self.lists.add(ZONE, self.listed, text=f"https://{ZONE}/query/{self.listed}")
        self.screen.say(f"{self.listed} ({SOURCES[self.listed]}) is on the blocklist that {' and '.join(LISTENS_TO_LISTS)} ask")
        return True

    def kill_node(self):
        busy = [SOURCES[ip] for ip in self.active_sources(PROVIDERS) if SOURCES[ip] != SOURCES.get(self.listed)]
        if not busy:
            return False
        self.killed = busy[0]
        before_us = boot_us()
        self.cluster.nodes[self.killed].kill()
        self.kills.append((before_us, boot_us(), {ip for ip, n in SOURCES.items() if n == self.killed}))
        self.screen.say(f"node {self.killed} was killed with SIGKILL")
        self.restarts.append((time.monotonic() + 2, self.return_node))
        return True

    def return_node(self):
        self.cluster.nodes[self.killed].start()
        self.screen.say(f"node {self.killed} is started again")

    def kill_coordinator(self):
        self.cluster.coordinator.kill()
        self.screen.say("the coordinator was killed with SIGKILL")
        began = time.monotonic()
        self.cluster.start_coordinator()
        self.screen.say(f"the coordinator is back after {time.monotonic() - began:.2f} s")
        return True

    def follow(self):
        """Looks at the run until everything is settled or waits for a far time."""
        events = self.world.receivers.follow()
        plan = [(0.15, self.blocklist), (0.40, self.kill_node), (0.65, self.kill_coordinator)]
        self.recent = collections.deque(maxlen=max(50, self.n // 20))
        deadline = time.monotonic() + LIMIT_S * SLOWER
        taken, moved = 0, (0, time.monotonic())
        while time.monotonic() < deadline:
            new = [e for e in events.read() if e["event"] == "accepted"]
            self.recent.extend(new)
            taken += len(new)
            if plan and taken >= plan[0][0] * self.n and plan[0][1]():
                plan.pop(0)
            while self.restarts and time.monotonic() >= self.restarts[0][0]:
                self.restarts.pop(0)[1]()
            c = self.cluster.campaign(self.campaign)
            self.screen.progress(c, self.waits)
            if c["leased"] or c["delivered"] != moved[0]:
                moved = (c["delivered"], time.monotonic())
            still = time.monotonic() - moved[1] > 25 * SLOWER  # longer than any rest; the judge will ask who waits, and why
            if not plan and not self.restarts and (c["finished"] or still or self.only_far(c)):
                break
            time.sleep(0.25)
        for _, restart in self.restarts:
            restart()
        self.last = self.cluster.campaign(self.campaign)
        self.screen.say(f"campaign: {self.last['state']}, {self.last['delivered']:,} delivered, {self.last['bounced']:,} bounced, "
                        f"{self.waiting_count():,} waiting")
        for _, step in plan:
            raise Failed(f"the run ended before its time for: {step.__name__.replace('_', ' ')}")

    def waits(self):
        """"; waits for: lane caps 105", what the queues say."""
        why = collections.Counter()
        for q in self.cluster.get("queue")["queues"]:
            why[q["waits_for"]] += q["queued"] + q["deferred"]
        text = ", ".join(f"{reason or 'its turn'} {n:,}" for reason, n in why.most_common() if n)
        return f"; waits for: {text}" if text else ""

    def waiting_count(self):
        return self.last["queued"] + self.last["leased"] + self.last["deferred"]

    def only_far(self, c):
        """Nothing can move for a minute: what is left has a later time, or no cap has room for it, on any lane: one that rests may have room
        when it is over."""
        if c["leased"]:
            return False
        resting = {lane["provider"] for s in self.cluster.get("sources")["sources"] for lane in s["lanes"] if lane["state"] in ("resting", "probing")}
        queues = [q for q in self.cluster.get("queue")["queues"] if q["queued"] or q["deferred"]]
        soon = time.time() * 1000 + 60000
        return all((not q["queued"] or q["waits_for"] == "lane caps" and q["provider"] not in resting) and
                   (not q["deferred"] or q["next_attempt"] and wall_ms(q["next_attempt"]) > soon or q["waits_for"] == "lane caps")
                   for q in queues)

    # ---- the verdict

    def waiting_names(self, events):
        """Who waits and until when, as the coordinator tells: {address: {"provider", "not_before_ms"}}. Those without a final event; each is
        asked for when their number isn't that of the campaign (a kill may cost the last events of what was settled, and of what was put
        off: then the next attempt of its queue stands for it)."""
        final, put_off = set(), {}
        for e in events:
            if e["type"] in ("delivered", "bounced", "suppressed", "expired", "held"):
                final.add(e["recipient"].lower())
            elif e["type"] in ("deferred", "uncertain", "returned"):
                put_off[e["recipient"].lower()] = e["type"] != "returned" and e["not_before"] and wall_ms(e["not_before"])
        with open(self.list, newline="", encoding="utf-8") as f:
            left = [row["email"].lower() for row in csv.DictReader(f) if row["email"].lower() not in final]
        if len(left) != self.waiting_count():
            left = [e for e in left[:5000] for m in self.cluster.explain(e)["matches"][:1] if m["state"] in ("queued", "leased", "deferred")]
        queues = {q["provider"]: q for q in self.cluster.get("queue")["queues"]}
        out = {}
        for e in left:
            provider = self.world.provider_of[e.rpartition("@")[2]].split("-")[0]
            q = queues.get(provider)
            until = put_off.get(e)
            if not until and q and q["deferred"] and not q["queued"] and q["next_attempt"]:
                until = wall_ms(q["next_attempt"])
            out[e] = {"provider": provider, "not_before_ms": until}
        return out

    def finish(self):
        """Ends Remuda, nodes first, and judges."""
        for name, node in self.cluster.nodes.items():
            code = node.stop()
            if code != 0:
                raise Failed(f"node {name} ended with {code}\n{node.child.log_tail()}")
        self.last = self.cluster.campaign(self.campaign)
        events = self.cluster.events(campaign=self.campaign)
        waiting, self.asked_ms = self.waiting_names(events), time.time() * 1000
        uncertain = {e["recipient"].lower() for e in events if e["type"] in ("uncertain", "in-doubt")}
        incidents, sources = self.cluster.incidents(), self.cluster.get("sources")["sources"]
        code = self.cluster.coordinator.stop()
        if code != 0:
            raise Failed(f"the coordinator ended with {code}\n{self.cluster.coordinator.child.log_tail()}")
        self.screen.say("the receivers verify what is left")
        self.world.receivers.verified(120 * SLOWER)
        self.world.receivers.stop()
        self.told = {"delivered": self.last["delivered"], "bounced": self.last["bounced"]} | {
            f"{t}_names": {e["recipient"].lower() for e in events if e["type"] == t} for t in ("delivered", "bounced")}
        return self.judge(waiting, uncertain, incidents, sources)

    def caps(self):
        caps = [{"kind": "lane", "key": f"{ip}|{name}", "limit": self.cap(p["cap"])}
                for ip in SOURCES for name, p in PROVIDERS.items() if "cap" in p]
        caps += [{"kind": "source", "key": ip, "limit": self.cap(SOURCE_CAP)} for ip in SOURCES]
        caps += [{"kind": kind, "key": "*", "limit": self.cap(n)} for kind, n in (("network", NETWORK_CAP), ("domain", DOMAIN_CAP))]
        return caps

    def judge(self, waiting, uncertain, incidents, sources):
        events = [e | {"provider": e["provider"].split("-")[0]} if "provider" in e else e
                  for e in self.world.receivers.transcript()]
        with open(self.list, newline="", encoding="utf-8") as f:
            rows = list(csv.DictReader(f))
        stopped = {i["source"]: wall_ms(i["quarantined"]) for i in incidents if i["source"] and not i["provider"] and i["quarantined"]}
        r = judge(rows, events, self.caps(), set(waiting), uncertain, kills=self.kills, unrelated=UNRELATED, stopped=stopped,
                  redeal_ms=REDEAL_MS, told=self.told)
        booked = collections.Counter((e["ip"], e["provider"]) for e in events if e["event"] == "rcpt" and e["rcpt"].lower() in uncertain)
        reasons = check_waiting(waiting, events, SOURCES, self.caps(), self.asked_ms, UNRELATED, LONGEST_MS, booked)
        r["waiting_without_reason"], r["waiting_examples"] = len(reasons), dict(sorted(reasons.items())[:5])
        r |= self.failover(events, incidents)
        taken = {e["rcpt"].lower() for e in events if e["event"] == "accepted"}
        r["wrongly_waiting"] = len(set(waiting) & taken - uncertain)
        r["accepted"] = self.last["rows"]  # what the coordinator took, not what was meant for it
        r["after_quarantine"] = r["sent_after_stop"]
        r["sources"] = self.source_rows(r, events, sources)
        r["providers"] = self.provider_rows(r, events)
        r["incidents"] = incidents
        r["node_killed"], r["coordinator_restarts"], r["seconds"] = self.killed, 1, round(time.monotonic() - self.screen.began, 1)
        r["violations"] += self.broken(r)
        return r

    def failover(self, events, incidents):
        """Times from the moment at which the blocking reply was in the source's socket, by the receivers' clock (the same host)."""
        verdicts = sorted((e for e in events if e["event"] == "verdict" and e["ip"] == self.listed), key=lambda e: e["t_us"])
        mine = sorted((i for i in incidents if i["source"] == self.listed and i["quarantined"]), key=lambda i: i["id"])
        out = {"blocked_source": self.listed, "failover_detect_ms": None, "failover_redeal_ms": None}
        if verdicts and mine:
            first = next((v for v in verdicts if v["provider"] == mine[0]["provider"]), verdicts[0])
            out["failover_detect_ms"] = round(wall_ms(mine[0]["quarantined"]) - first["wall_ms"], 1)
            if mine[0]["redealt"]:
                out["failover_redeal_ms"] = round(wall_ms(mine[0]["redealt"]) - first["wall_ms"], 1)
        return out

    def source_rows(self, r, events, sources):
        state = {s["address"]: s for s in sources}
        taken = collections.Counter(e["ip"] for e in events if e["event"] == "accepted")
        verdicts = collections.Counter(e["ip"] for e in events if e["event"] == "verdict")
        tightest = collections.defaultdict(list)
        for c in r["caps"]:
            if c["kind"] == "lane":
                ip, provider = c["key"].split("|")
                if c["most"] >= c["limit"]:
                    tightest[ip].append(provider)
        offered = {s["ip"]: s["rcpts"] for s in r["sources"]}
        return [{"source": ip, "node": node, "network": network(ip), "state": state[ip]["lane_state"], "recipients_offered":
                 offered.get(ip, 0), "cap_per_day": state[ip]["cap_per_day"], "delivered": taken[ip], "blocking_replies": verdicts[ip],
                 "lanes_at_their_cap": tightest[ip]} for ip, node in SOURCES.items()]

    def provider_rows(self, r, events):
        rows = []
        seconds = collections.defaultdict(list)
        for e in events:
            if e["event"] == "accepted":
                seconds[e["provider"]].append(e["t_us"] / 1e6)
        for p in r["providers"]:
            t = seconds[p["provider"]]
            rows.append({"provider": p["provider"], "connections": p["connections"], "recipients_offered": p["rcpts"],
                         "delivered": p["accepted"], "refused": p["refused"], "cuts": p["cuts"], "reasons": p["reasons"],
                         "first_s": round(min(t) - min(map(min, seconds.values())), 1) if t else None,
                         "last_s": round(max(t) - min(map(min, seconds.values())), 1) if t else None})
        return rows

    def broken(self, r):
        out = []
        if r["accepted"] != r["delivered"] + r["bounced"] + r["waiting"]:
            out.append(f"accepted {r['accepted']} is not delivered {r['delivered']} + bounced {r['bounced']} + waiting {r['waiting']}")
        if r["accepted"] != self.n:
            out.append(f"{r['accepted']} of {self.n} rows were accepted")
        if r["waiting_without_reason"]:
            address, why = next(iter(r["waiting_examples"].items()))
            out.append(f"{r['waiting_without_reason']} recipients wait without a reason, as {address}: {why}")
        if r["failover_detect_ms"] is None:
            out.append(f"the blocking of {self.listed} was never noticed")
        if self.scale >= 0.5 and [s["ip"] for s in r["stopped_everywhere"]] != [self.listed]:
            out.append(f"{self.listed} alone had to stop everywhere, and it was {r['stopped_everywhere'] or 'nobody'}")
        if r["wrongly_waiting"]:
            out.append(f"{r['wrongly_waiting']} recipients have their message and are said to wait")
        if not any(c["kind"] == "lane" and c["most"] >= c["limit"] for c in r["caps"]) and self.scale >= 0.5:
            out.append("no cap was ever reached, so nothing shows that caps hold")
        return out


def show(r):
    table("Providers, by the receivers' transcripts",
          ["provider", "connections", "offered", "delivered", "refused", "cuts", "last at s", "why refused"],
          [[p["provider"], p["connections"], p["recipients_offered"], p["delivered"],
            p["refused"] - p["reasons"].get("sequence", 0), p["cuts"], p["last_s"],
            ", ".join(f"{k} {v}" for k, v in sorted(p["reasons"].items(), key=lambda x: -x[1]) if k != "sequence")] for p in r["providers"]])
    table("Sources", ["source", "node", "offered", "cap", "delivered", "state", "lanes at their cap"],
          [[s["source"], s["node"], s["recipients_offered"], s["cap_per_day"], s["delivered"], s["state"],
            ", ".join(s["lanes_at_their_cap"])] for s in r["sources"]])
    table("Incidents", ["id", "what", "detected ms", "re-dealt ms", "moved", "waits", "moved to"],
          [[i["id"], i["title"], i["detect_ms"], i["redeal_ms"], i["moved"], i["waiting"], " ".join(i["moved_to"])] for i in r["incidents"]])
    print(f"\n{r['accepted']:,} accepted = {r['delivered']:,} delivered + {r['bounced']:,} bounced + {r['waiting']:,} waiting; "
          f"{r['lost']} lost; {r['duplicates']} unexplained duplicates "
          f"({r['uncertain_duplicates']} of the {r['uncertain']} named uncertain arrived twice)")
    print(f"{r['signatures_verified']:,} signatures verified, {r['signatures_failed']} failed; {r['sent_after_block']} sent after the block "
          f"({r['in_grace']} on their way); {r['cap_violations']} caps exceeded; {r['messages_per_second']} messages/s")
    if r["failover_detect_ms"] is not None:
        print(f"blocked source {r['blocked_source']}: quarantined {r['failover_detect_ms']:.0f} ms after the refusal"
              + (f", work re-dealt after {r['failover_redeal_ms']:.0f} ms" if r["failover_redeal_ms"] is not None else ""))


def run(work, args):
    demo = Demo(work, args)
    demo.build_world()
    demo.build_cluster()
    demo.submit()
    demo.follow()
    r = demo.finish()
    out = os.path.join(ROOT, args.build, "demo")
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "report.json"), "w", encoding="utf-8") as f:
        json.dump(r, f, indent=2, ensure_ascii=False)
        f.write("\n")
    show(r)
    print(f"{os.path.relpath(os.path.join(out, 'report.json'))} has it all, in {r['seconds']} s")
    for v in r["violations"]:
        print(f"BROKEN: {v}{': ' + str(r[v]) if v in r else ''}")
    return 1 if r["violations"] else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.environ.get("BUILD", "build"), help="folder of the built programs (build)")
    p.add_argument("--messages", type=int, default=MESSAGES, help=f"how many ({MESSAGES}); caps shrink with it")
    p.add_argument("--ed25519", action="store_true", help="sign with Ed25519 as well")
    p.add_argument("--keep", action="store_true", help="leave configurations, data, logs and transcripts")
    args = p.parse_args()
    signal.signal(signal.SIGTERM, lambda n, _: sys.exit(128 + n))
    # a short path: Unix sockets have 108 bytes for theirs
    work = Work(keep=args.keep)
    try:
        with work:
            code = run(work, args)
    except (Unavailable, Missing) as e:
        print(f"demo: {e}", file=sys.stderr)
        code = 2
    except Failed as e:
        print(f"demo: {e}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; everything was ended", file=sys.stderr)
        code = 130
    if args.keep:
        print(f"configurations, data, logs and transcripts: {work.dir}")
    else:
        shutil.rmtree(work.dir, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
