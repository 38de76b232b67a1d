#!/usr/bin/env python3
"""make bench-connections: one node with very many connections at once to receivers that take their time: memory a connection, whether
each lane gets its share, and what slow receivers cost in throughput. README.md here says what is measured and how;
build/bench/connections.json has every figure (--json prints it).

Exit status: 0 measured, 1 something went wrong, 2 it can't run here."""

import argparse
import math
import os
import resource
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mail  # noqa: E402
import measure  # noqa: E402
import runner  # noqa: E402
from remudatest import Addresses, Failed, Unavailable  # noqa: E402
from remudatest.cluster import ROOT, Cluster, World  # noqa: E402
from runner import say  # noqa: E402

PROVIDERS = 10
DOMAINS_OF_A_PROVIDER = 4
BULK_SHARE = 0.9  # of a lane's connections that urgent mail leaves to bulk
QUEUED_A_CONNECTION = 4  # messages waiting at a node for which it opens one more connection (node/core/worker_internal.h)
ROUNDS = 6  # messages a connection at least: enough that all connections are wanted
SETTLED = 8  # looks in a row at which the node's memory didn't grow
SPARE_FILES = 500
TARGETS = {"plain_kib": 24, "tls_kib": 64, "slowest_lane": 0.8, "slow_over_fast": 0.9}


class Scene:
    """A world of slow receivers and a cluster of one node, with so many connections a lane that all of them together are wanted."""

    def __init__(self, work, args, name, tls=False, delay_ms=None, chunking="on"):
        self.work, self.args, self.name = work, args, name
        blocks = Addresses()
        at, sources = blocks.block(), blocks.block()
        self.domains = {f"p{i}": [f"d{j}.p{i}.test" for j in range(DOMAINS_OF_A_PROVIDER)] for i in range(PROVIDERS)}
        delay = args.delay_ms if delay_ms is None else delay_ms
        providers = {p: {"domains": {d: [f"mx.{p}.test"] for d in domains}, "address": at(i + 1), "delay": f"{delay}ms", "chunking": chunking,
                         "starttls": "on" if tls else "off"} for i, (p, domains) in enumerate(self.domains.items())}
        os.makedirs(work.path(name), exist_ok=True)
        self.world = World(_Below(work, name), providers, senders=[mail.SENDER], build=args.build, dkim_sample=0).start()
        self.lanes = PROVIDERS * args.sources
        self.per_lane = math.ceil(args.connections / self.lanes / BULK_SHARE)
        rules = work.write(f"{name}/providers.conf", "".join(
            f'provider "{p}" {{ mx = [".{p}.test"]; connections = {self.per_lane}; messages_per_connection = 100000; connects_per_minute = 0 }}\n'
            for p in self.domains))
        self.cluster = Cluster(work, self.world, nodes=["n1"], name=name, build=args.build,
                               settings={"providers": rules, "lease.valid": "30min", "lease.transaction_deadline": "10min"},
                               node_settings={"workers": args.workers, "connections": 2 * args.connections}).start()
        self.sources = [sources(i + 1) for i in range(args.sources)]
        for s in self.sources:
            self.cluster.source(s, "n1")
        self.cluster.stream("bulk", self.world.keys[mail.SENDER])
        self.node = self.cluster.nodes["n1"].child.pid

    def count(self, what):
        """A counter of the receivers, all of them together."""
        return sum(p[what] for p in self.world.receivers.stats("*").values() if isinstance(p, dict))

    def send(self, n, name):
        domains = [d for of in self.domains.values() for d in of]
        rows = [mail.row(i, domains[i % len(domains)]) for i in range(n)]
        return self.cluster.send(mail.template(), rows, name=name)["id"]

    def transcript(self):
        return self.world.receivers.transcript("accepted")

    def close(self):
        for program in [*self.cluster.nodes.values(), self.cluster.coordinator]:
            if program.running:
                program.kill()
        for child in [self.world.receivers.child, self.world.dns.child]:
            child.kill_all()


class _Below:
    """The work directory's folder for one scene, with the same interface."""

    def __init__(self, work, name):
        self.work, self.name = work, name

    def __getattr__(self, attr):
        return getattr(self.work, attr)

    def path(self, *parts):
        return self.work.path(self.name, *parts)

    def mkdir(self, *parts, **kw):
        return self.work.mkdir(self.name, *parts, **kw)

    def write(self, name, text):
        return self.work.write(f"{self.name}/{name}", text)

    def start(self, name, argv, **kw):
        return self.work.start(f"{self.name}/{name}", argv, **kw)


def memory(work, args, tls):
    """RSS a connection, when all of them are open and each waits for leave to send its content, when it holds most; and then the
    lanes' shares."""
    scene = Scene(work, args, "tls" if tls else "plain", tls, chunking="off")
    try:
        scene.world.receivers.control(f"set * delay_data {args.hold_s}s")
        n = args.connections + max(args.connections * (ROUNDS - 1), scene.lanes * args.share_messages * 3)
        say(f"{scene.name}: {n:,} messages for {args.connections:,} connections on {scene.lanes} lanes")
        before = measure.rss_kib(scene.node)[0]
        scene.send(n, "memory")
        began = shown = time.monotonic()
        opened, rss, still = 0, before, 0
        while opened < args.connections or still < SETTLED:
            opened, last = scene.count("open"), rss
            rss = measure.rss_kib(scene.node)[0]
            still = still + 1 if rss <= last + 64 else 0
            if scene.count("accepted"):
                raise Failed(f"{scene.name}: only {opened:,} connections were open after --hold-s {args.hold_s}: hold them longer")
            if time.monotonic() > began + args.limit:
                raise Failed(f"{scene.name}: only {opened:,} connections were open within {args.limit} s")
            if time.monotonic() > shown + 5:
                shown = time.monotonic()
                say(f"  {opened:,} connections, node {rss // 1024:,} MiB")
            time.sleep(0.25)
        say(f"  {opened:,} connections, node {rss // 1024:,} MiB: {(rss - before) / opened:.1f} KiB a connection")
        out = {"connections": opened, "messages": n, "seconds_to_open": round(time.monotonic() - began, 1), "rss_before_kib": before,
               "rss_content_held_kib": rss} | shares(scene, args, time.monotonic() + args.hold_s)
        most = max(rss, out["rss_running_kib"])
        return out | {"kib_a_connection": round((most - before) / opened, 2)}
    finally:
        scene.close()


def shares(scene, args, held_until):
    """While all lanes have work: each one's part of what is delivered over its fair share, and the greatest RSS."""
    scene.world.receivers.control("set * delay_data 0s")
    window, deadline = scene.lanes * args.share_messages, time.monotonic() + args.limit
    before, shown, rss = None, time.monotonic(), 0
    while before is None or scene.count("accepted") < before + window:
        if before is None and time.monotonic() > held_until:  # the last connection that was held is free, too
            before = len(scene.transcript())
        rss = max(rss, measure.rss_kib(scene.node)[0])
        if time.monotonic() > deadline:
            raise Failed(f"only {scene.count('accepted'):,} messages were delivered within {args.limit} s")
        if time.monotonic() > shown + 5:
            shown = time.monotonic()
            say(f"  {scene.count('accepted'):,} delivered, {scene.count('open'):,} connections, node {rss // 1024:,} MiB")
        time.sleep(0.25)
    opened = scene.count("open")
    counts = {(s, p): 0 for s in scene.sources for p in scene.domains}
    for e in scene.transcript()[before:before + window]:
        counts[e["ip"], e["provider"]] += 1
    fair = window / len(counts)
    say(f"  of {window:,} messages the slowest of {len(counts)} lanes had {min(counts.values()):,}, the fastest {max(counts.values()):,}")
    return {"lanes": len(counts), "watched_messages": window, "slowest_lane": round(min(counts.values()) / fair, 3),
            "fastest_lane": round(max(counts.values()) / fair, 3), "rss_running_kib": rss, "connections_at_end": opened}


def throughput(work, args, delay_ms):
    """Messages a second of one campaign, from its start to its end; connections enough for the delay."""
    scene = Scene(work, args, f"delay{delay_ms}", delay_ms=delay_ms)
    try:
        scene.cluster.settled(scene.send(args.connections * ROUNDS, "warm-up"), args.limit)  # opens all connections
        at = time.monotonic()
        view = scene.cluster.settled(scene.send(args.messages, "measured"), args.limit)
        seconds = time.monotonic() - at
        if view["delivered"] != args.messages:
            raise Failed(f"{args.messages} messages were to be delivered, {view['delivered']} were")
        say(f"{delay_ms} ms a reply: {args.messages / seconds:,.0f} messages/s")
        return round(args.messages / seconds, 1)
    finally:
        scene.close()


def arguments():
    p = argparse.ArgumentParser(description="One node with very many connections to slow receivers")
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--connections", type=int, default=10000, help="at the same time, for memory and shares")
    p.add_argument("--throughput-connections", type=int, default=2000, help="at the same time, for throughput")
    p.add_argument("--messages", type=int, default=20000, help="for throughput")
    p.add_argument("--share-messages", type=int, default=1000, help="a lane, on average, while its share is watched")
    p.add_argument("--delay-ms", type=int, default=100, help="of a receiver before every reply")
    p.add_argument("--hold-s", type=int, default=60, help="of a receiver before it asks for the content, until all connections are open")
    p.add_argument("--sources", type=int, default=10, help="of the node")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--limit", type=int, default=600, help="seconds that a part may take")
    p.add_argument("--part", action="append", choices=["plain", "tls", "throughput"], help="only this; may be repeated")
    p.add_argument("--json", action="store_true", help="the report on standard output, progress on standard error")
    args = p.parse_args()
    if min(args.connections, args.throughput_connections, args.messages, args.share_messages, args.delay_ms, args.hold_s, args.sources,
           args.workers, args.limit) < 1:
        p.error("every number must be at least 1")
    args.build = os.path.abspath(args.build)
    args.part = args.part or ["plain", "tls", "throughput"]
    return args


def files(args):
    """Both ends of a connection need a descriptor."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = max(args.connections, args.throughput_connections) + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Unavailable(f"{wanted:,} open files are needed for a process, the limit is {hard:,}: raise it (ulimit -n), or use --connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else hard, hard))


def measured(work, args):
    out = {}
    if "plain" in args.part:
        out["plain"] = memory(work, args, False)
    if "tls" in args.part:
        out["tls"] = memory(work, args, True)
    if "throughput" in args.part:
        few = argparse.Namespace(**{**vars(args), "connections": args.throughput_connections})
        fast, slow = throughput(work, few, 0), throughput(work, few, args.delay_ms)
        out["throughput"] = {"connections": few.connections, "messages": args.messages, "fast_per_second": fast, "slow_per_second": slow,
                             "slow_over_fast": round(slow / fast, 3)}
    return out


def shown(r):
    rows = []

    def row(what, value, target, least):
        met = value >= target if least else value <= target
        rows.append([what, f"{value:.2f}", f"{'>=' if least else '<='} {target}", "met" if met else f"missed by {abs(value - target) / target:.0%}"])

    if "plain" in r:
        row(f"KiB of RSS a plain connection, {r['plain']['connections']:,} open", r["plain"]["kib_a_connection"], TARGETS["plain_kib"], False)
        row(f"slowest of {r['plain']['lanes']} lanes / its fair share", r["plain"]["slowest_lane"], TARGETS["slowest_lane"], True)
    if "tls" in r:
        row("the same with TLS", r["tls"]["slowest_lane"], TARGETS["slowest_lane"], True)
        row(f"KiB of RSS a TLS connection, {r['tls']['connections']:,} open", r["tls"]["kib_a_connection"], TARGETS["tls_kib"], False)
    if "throughput" in r:
        t = r["throughput"]
        row(f"messages/s, slow receivers / fast ones ({t['slow_per_second']:,.0f} / {t['fast_per_second']:,.0f})", t["slow_over_fast"],
            TARGETS["slow_over_fast"], True)
    return measure.table(rows, ["", "measured", "target", ""])


def main():
    args = arguments()

    def all_of_it(work):
        files(args)
        return {"delay_ms": args.delay_ms, "sources": args.sources, "providers": PROVIDERS} | measured(work, args)

    return runner.run("connections", args.build, all_of_it, shown, args.json)


if __name__ == "__main__":
    sys.exit(main())
