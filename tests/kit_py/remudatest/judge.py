"""The judge: it knows the submissions and what the receivers wrote down, and nothing else.

    verdict = judge(submissions, events, caps=[...], waiting={...}, named_uncertain={...})

A recipient is identified by a key: by default the address in lower case; with several campaigns give key functions that
add what tells them apart (an X- field in the transcript, a column in the CSV).

What it decides, and from what:
- delivered: distinct submitted keys with an `accepted` line.
- bounced: not delivered, and the last refusal that names the recipient (RCPT or after the dot) is a 5xx for the
  recipient's or the message's own sake. A 5xx to a blocked source says nothing about the recipient.
- waiting: neither, and named so by the sender. lost: neither, and not named. check_waiting() asks for each one's reason.
- a doubt: the transcript itself shows an end that the sender can't know (a cut after the 354, a reply that nobody was there
  to read), or a transaction was open at the moment at which the sender was killed (`kills`), or the caller vouches for it
  by what it did itself, a restored backup for example (`excused`). That the sender says so is none.
- duplicates: acceptances of a key beyond its first, but for one a doubt that came before; with names, the key must be named
  as well. unfounded: named uncertain, and there was no doubt.
- unexpected: accepted, but never submitted.
- disagreements: what the sender counts and names as delivered and bounced (`told`), and the transcript doesn't.
- caps: the most RCPT commands in any rolling 24 h, by boot time, per key of the cap's kind.
- sent_after_block: MAIL commands from a source at a provider after the reply with the verdict had been written, until the
  block was lifted. grace_ms is what a command needs that was on its way already; those are counted apart.
- sent_after_stop: MAIL commands from a source to anybody, later than `redeal_ms` after two of the `unrelated` providers had refused it, or
  after the sender itself said that it stops everywhere (`stopped`).
"""

import argparse
import collections
import csv
import ipaddress
import json
import sys

from .jsonl import read_jsonl

DAY_US = 24 * 3600 * 1000000
READ_US = 1000000  # what a reply needs at most until its reader has put it on record
RECIPIENT_REASONS = {"unknown", "full", "relay", "content", "size", "reply", "syntax", "bare-lf", "bare-cr", "nul", "line",
                     "defer"}


def event_key(event):
    return event["rcpt"].lower()


def row_key(row):
    return row["email"].strip().lower()


def read_submissions(path):
    """The rows of a CSV with a header and a column `email`."""
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def sending_domain(event):
    return event.get("mail_from", "").rpartition("@")[2].lower()


def network(ip):
    return str(ipaddress.ip_network(f"{ip}/{24 if ':' not in ip else 64}", strict=False))


CAP_KINDS = {"lane": lambda e: f"{e['ip']}|{e['provider']}",
             "source": lambda e: e["ip"],
             "provider": lambda e: e["provider"],
             "network": lambda e: f"{network(e['ip'])}|{e['provider']}",
             "domain": lambda e: f"{sending_domain(e)}|{e['provider']}"}


def rolling_max(times_us, window_us=DAY_US):
    """The most entries in any half-open window of that length."""
    times = sorted(times_us)
    most = start = 0
    for end, t in enumerate(times):
        while t - times[start] >= window_us:
            start += 1
        most = max(most, end - start + 1)
    return most


def check_caps(events, caps):
    """caps: [{kind, key, limit}]; key "*" holds every key of the kind to the limit. One result per key."""
    results = []
    times = {kind: collections.defaultdict(list) for kind in {c["kind"] for c in caps}}
    for e in events:
        if e["event"] == "rcpt":
            for kind, by_key in times.items():
                by_key[CAP_KINDS[kind](e)].append(e["t_us"])
    for cap in caps:
        by_key = times[cap["kind"]]
        for key in sorted(by_key) if cap["key"] == "*" else [cap["key"]]:
            most = rolling_max(by_key.get(key, []))
            results.append({"kind": cap["kind"], "key": key, "limit": cap["limit"], "most": most,
                            "violated": most > cap["limit"]})
    return results


def _covers(net, ip):
    return net == "*" or ipaddress.ip_address(ip) in ipaddress.ip_network(net, strict=False)


def check_blocks(events, grace_ms=250, everywhere=(), lifted=()):
    """What was sent after a verdict. everywhere: sources that had to stop at every provider after their first verdict.
    lifted: (provider, ip, t_us), for blocks that ended without an `unblock` on the control socket."""
    mails = collections.defaultdict(list)
    lifts = collections.defaultdict(list)
    verdicts = {}
    for e in events:
        if e["event"] == "mail":
            mails[e["provider"], e["ip"]].append(e["t_us"])
        elif e["event"] == "verdict":
            verdicts.setdefault((e["provider"], e["ip"]), []).append(e["t_us"])
    for e in events:
        if e["event"] == "control" and e["command"] == "unblock":
            for provider, ip in verdicts:
                if provider == e["provider"] and _covers(e["args"].split()[0], ip):
                    lifts[provider, ip].append(e["t_us"])
    for provider, ip, t_us in lifted:
        lifts[provider, ip].append(t_us)
    late, graced, details = 0, 0, []
    for (provider, ip), times in verdicts.items():
        first, done = min(times), set()
        places = [k for k in mails if k[1] == ip] if ip in everywhere else [(provider, ip)]
        for begin in sorted(times):
            end = min((t for t in lifts[provider, ip] if t > begin), default=float("inf"))
            for place in places:
                for t in mails[place]:
                    if begin < t < end and (place, t) not in done:
                        done.add((place, t))
                        since = max(b for b in times if b < t)
                        if t - since <= grace_ms * 1000 and t - first <= grace_ms * 1000:
                            graced += 1
                        else:
                            late += 1
        details.append({"provider": provider, "ip": ip, "verdict_t_us": first, "verdicts": len(times),
                        "mails_after": len(done),
                        "last_mail_ms": round((max((t for _, t in done), default=first) - first) / 1000, 3)})
    return {"sent_after_block": late, "in_grace": graced, "grace_ms": grace_ms, "blocks": details}


def check_stops(events, unrelated, stopped=(), redeal_ms=1000):
    """Sources that must be silent everywhere. stopped: {ip: wall_ms} as the sender said."""
    refused, since, why = collections.defaultdict(dict), {}, {}
    for e in sorted((e for e in events if e["event"] == "verdict"), key=lambda e: e["t_us"]):
        if e["provider"] in unrelated:
            refused[e["ip"]].setdefault(e["provider"], e["wall_ms"])
            if len(refused[e["ip"]]) == 2 and e["ip"] not in since:
                since[e["ip"]], why[e["ip"]] = e["wall_ms"], "refused by " + " and ".join(refused[e["ip"]])
    for ip, wall_ms in dict(stopped).items():
        if wall_ms < since.get(ip, float("inf")):
            since[ip], why[ip] = wall_ms, "the sender said so"
    late = [e for e in events if e["event"] == "mail" and e["ip"] in since and e["wall_ms"] > since[e["ip"]] + redeal_ms]
    return {"sent_after_stop": len(late), "sent_after_stop_examples": late[:5],
            "stopped_everywhere": [{"ip": ip, "wall_ms": since[ip], "why": why[ip]} for ip in sorted(since)]}


def killed_transactions(events, kills):
    """{recipient: [t_us]}: what was open when a sender was killed. kills: [(before_us, after_us, ips)], the times around the kill: receivers may
    see the ends of its connections before it is known to be dead. A connection's last recipient was open when the connection hadn't
    ended before, and its reply, if there was one, was written so late that nobody may have read it."""
    doubts = collections.defaultdict(list)
    for before_us, after_us, ips in kills:
        last, over = {}, set()
        for e in sorted((e for e in events if e.get("ip") in ips and "conn" in e and e["t_us"] <= after_us), key=lambda e: e["t_us"]):
            at = e["provider"], e["conn"]
            if e["event"] in ("quit", "cut"):
                if e["t_us"] < before_us:
                    over.add(at)
            elif e["event"] == "rcpt":
                last[at] = {"key": event_key(e), "ended_us": None}
            elif e["event"] in ("accepted", "refused") and at in last and "rcpt" in e:
                last[at]["ended_us"] = e["t_us"]
        for at, x in last.items():
            if at not in over and (x["ended_us"] is None or before_us - x["ended_us"] < READ_US):
                doubts[x["key"]].append(after_us)
    return doubts


def check_waiting(waiting, events, sources, caps, now_wall_ms, unrelated=(), longest_ms=None, booked=None):
    """Keys that wait for no reason that can be seen here: {key: what is wrong}.

    waiting: {key: {"provider", "not_before_ms" or None}} as the sender says. sources: what its pool has. longest_ms: {reason of a deferral:
    the longest time until the next attempt}, None for the others. booked: {(ip, provider): n} of recipients that count for a cap and
    were never seen here (the sender died over them)."""
    booked, wrong = booked or {}, {}
    last, spent, verdicts = {}, collections.Counter(), collections.defaultdict(set)
    for e in sorted(events, key=lambda e: e["t_us"]):
        if e["event"] == "rcpt":
            for kind, of in CAP_KINDS.items():
                spent[kind, of(e)] += 1
            last[event_key(e)] = None
        elif e["event"] in ("refused", "accepted", "cut") and "rcpt" in e:
            last[event_key(e)] = e
        elif e["event"] == "verdict":
            verdicts[e["ip"]].add(e["provider"])
    domains = {key for kind, key in spent if kind == "domain"}

    def room(ip, provider):
        if provider in verdicts[ip] or len(verdicts[ip] & set(unrelated)) >= 2:
            return False
        keys = {"lane": {f"{ip}|{provider}"}, "source": {ip}, "network": {f"{network(ip)}|{provider}"},
                "domain": {d for d in domains if d.endswith(f"|{provider}")}}
        return not any(c["key"] in ("*", key) and spent[c["kind"], key] + booked.get((ip, provider), 0) >= c["limit"]
                       for c in caps for key in keys.get(c["kind"], ()))

    for key, w in waiting.items():
        e = last.get(key)
        if w["not_before_ms"] and w["not_before_ms"] > now_wall_ms:
            most = (longest_ms or {}).get(e.get("reason") if e else "", (longest_ms or {}).get(None, 0))
            if e is None:
                wrong[key] = "a later attempt is set, and there was none that a receiver put off"
            elif e["event"] != "refused" or not 400 <= e["code"] < 500:
                wrong[key] = f"a later attempt is set after {e['event']}"
            elif w["not_before_ms"] - e["wall_ms"] > most:
                wrong[key] = f"the next attempt is {(w['not_before_ms'] - e['wall_ms']) / 1000:.0f} s after {e['text']!r}"
            continue
        free = [ip for ip in sources if room(ip, w["provider"])]
        if free:
            wrong[key] = f"could go now, from {free[0]}"
    return wrong


def disagreements(told, delivered, bounced, doubtful=()):
    """What the sender says (told: {"delivered": n, "bounced": n, "delivered_names": set, "bounced_names": set}) against what receivers saw.
    A name may be missing (a killed sender loses the last lines of its history), a count not. doubtful: accepted, and still waiting because
    nobody could tell."""
    out = []
    for what, seen in (("delivered", delivered - set(doubtful)), ("bounced", bounced)):
        if told[what] != len(seen):
            out.append(f"{told[what]} {what} by the sender's count, {len(seen)} by the receivers'")
        false = told[f"{what}_names"] - seen
        if false:
            out.append(f"{len(false)} {what} by the sender's history and not so by the receivers', as {sorted(false)[0]}")
    return out


def check_signatures(events):
    """Counts over messages (not recipients). `weak`: verified, but From is not oversigned or a wanted field unsigned."""
    accepted = {e["msg"] for e in events if e["event"] == "accepted"}
    results = {e["msg"]: e for e in events if e["event"] == "dkim"}
    counts = collections.Counter(results[m]["dkim"] if m in results else "missing" for m in accepted)
    weak = [e["message_id"] for m, e in results.items() if m in accepted and e["dkim"] == "pass"
            and (not e["from_oversigned"] or e["unsigned"])]
    algorithms = collections.Counter(s["a"] for e in results.values() for s in e.get("signatures", []))
    return {"signatures_verified": counts["pass"], "signatures_failed": counts["fail"], "unsigned": counts["none"],
            "signatures_skipped": counts["skipped"], "signatures_missing": counts["missing"], "weak": len(weak),
            "weak_examples": weak[:5], "algorithms": dict(algorithms)}


def _table(events, by):
    rows = {}
    for e in events:
        if by not in e or e["event"] == "dkim":
            continue
        row = rows.setdefault(e[by], {by: e[by], "connections": 0, "mails": 0, "rcpts": 0, "accepted": 0, "refused": 0,
                                      "cuts": 0, "reasons": collections.Counter()})
        field = {"connect": "connections", "mail": "mails", "rcpt": "rcpts", "accepted": "accepted", "refused": "refused",
                 "cut": "cuts"}.get(e["event"])
        if field:
            row[field] += 1
        if e["event"] == "refused":
            row["reasons"][e.get("reason", "")] += 1
    return [row | {"reasons": dict(row["reasons"])} for _, row in sorted(rows.items())]


def _settle(submitted, events, key):
    """Per key: times of acceptance, of uncertain ends, and the last refusal that was about the recipient."""
    accepted, doubts, refused = collections.defaultdict(list), collections.defaultdict(list), {}
    unexpected, doubted = set(), set()
    for e in sorted(events, key=lambda x: x["t_us"]):
        if "rcpt" not in e or e["event"] not in ("accepted", "cut", "refused"):
            continue
        k = key(e)
        if e["event"] == "accepted":
            accepted[k].append(e)
            if k not in submitted:
                unexpected.add(k)
        if e["event"] == "refused" and e.get("reason") in RECIPIENT_REASONS and e["stage"] in ("rcpt", "dot"):
            refused[k] = e
        end = e["provider"], e.get("conn", e["t_us"])  # an acceptance and the cut behind it are one
        if e.get("uncertain") and end not in doubted:
            doubted.add(end)
            doubts[k].append(e["t_us"])
    return accepted, doubts, refused, unexpected


def judge(submissions, events, caps=(), waiting=(), named_uncertain=None, key=event_key, submitted_key=row_key,
          grace_ms=250, everywhere=(), lifted=(), kills=(), excused=(), unrelated=(), stopped=(), redeal_ms=1000, told=None):
    """The verdict as a dict; `violations` names what is wrong, and is empty when nothing is."""
    submitted = {submitted_key(row) for row in submissions}
    accepted, doubts, refused, unexpected = _settle(submitted, events, key)
    for k, times in killed_transactions(events, kills).items():
        doubts[k] += times
    delivered = {k for k in submitted if k in accepted}
    bounced = {k for k in submitted - delivered if k in refused and refused[k]["code"] >= 500}
    left = submitted - delivered - bounced
    waits = left & set(waiting)
    lost = left - waits
    duplicates, founded = [], []
    for k, times in accepted.items():
        for i, extra in enumerate(times[1:], 1):
            doubted = k in excused or sum(t < extra["t_us"] for t in doubts[k]) >= i
            named = named_uncertain is None or k in named_uncertain
            (founded if doubted and named else duplicates).append(
                {"key": k, "t_us": extra["t_us"], "provider": extra["provider"], "ip": extra["ip"],
                 "why": "" if doubted and named else "doubted, and not named" if doubted else "nothing was in doubt"})
    unfounded = {k for k in named_uncertain or () if not doubts.get(k) and k not in excused}
    ends = [e["t_us"] for es in accepted.values() for e in es]
    span_s = (max(ends) - min(ends)) / 1e6 if len(ends) > 1 else 0
    result = {"accepted": len(submitted), "delivered": len(delivered), "bounced": len(bounced), "waiting": len(waits),
              "lost": len(lost), "lost_examples": sorted(map(str, lost))[:5], "duplicates": len(duplicates),
              "duplicate_examples": duplicates[:5], "uncertain_duplicates": len(founded),
              "unfounded": len(unfounded), "unfounded_examples": sorted(map(str, unfounded))[:5],
              "uncertain": len(named_uncertain) if named_uncertain is not None else sum(1 for v in doubts.values() if v),
              "unexpected": len(unexpected), "unexpected_examples": sorted(map(str, unexpected))[:5],
              "wrongly_waiting": len(set(waiting) & delivered), "receiver_span_s": round(span_s, 3),
              "messages_per_second": round(len(ends) / span_s, 1) if span_s else 0,
              "smuggling": sum(e["event"] == "violation" and "smuggling" in e["text"] for e in events),
              "protocol_violations": sum(e["event"] == "violation" for e in events),
              "undeclared_8bit": sum(e["event"] == "accepted" and e["undeclared_8bit"] for e in events),
              "caps": check_caps(events, caps), "providers": _table(events, "provider"), "sources": _table(events, "ip")}
    result["cap_violations"] = sum(c["violated"] for c in result["caps"])
    result |= check_signatures(events)
    result |= check_blocks(events, grace_ms, everywhere, lifted)
    result |= check_stops(events, unrelated, stopped, redeal_ms)
    result["disagreements"] = [] if told is None else disagreements(told, delivered, bounced, set(waiting) & delivered & set(doubts))
    result["violations"] = [name for name in ("lost", "duplicates", "unfounded", "disagreements", "unexpected", "cap_violations", "signatures_failed",
                                              "unsigned", "signatures_missing", "signatures_skipped", "weak",
                                              "sent_after_block", "sent_after_stop", "protocol_violations", "undeclared_8bit")
                            if result[name]]
    return result


def main(argv=None):
    p = argparse.ArgumentParser(description="Judge a run by submissions and the receivers' transcripts.")
    p.add_argument("--submissions", required=True, help="CSV with a column email")
    p.add_argument("--transcript", action="append", required=True, help="JSON lines of remuda-receivers")
    p.add_argument("--caps", help="JSON: [{kind, key, limit}]; kinds: " + ", ".join(CAP_KINDS))
    p.add_argument("--waiting", help="file with one waiting recipient a line")
    p.add_argument("--uncertain", help="file with one recipient named uncertain a line")
    p.add_argument("--grace-ms", type=int, default=250)
    a = p.parse_args(argv)

    def lines(path):
        with open(path, encoding="utf-8") as f:
            return {line.strip().lower() for line in f if line.strip()}

    events = [e for t in a.transcript for e in read_jsonl(t)]
    caps = []
    if a.caps:
        with open(a.caps, encoding="utf-8") as f:
            caps = json.load(f)
    result = judge(read_submissions(a.submissions), events, caps, lines(a.waiting) if a.waiting else (),
                   lines(a.uncertain) if a.uncertain else None, grace_ms=a.grace_ms)
    json.dump(result, sys.stdout, indent=2)
    print()
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
