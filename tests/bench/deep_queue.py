#!/usr/bin/env python3
"""make bench-queue: what a long queue costs the coordinator: memory, the time from a crash to the next lease, and dealing beside a short
queue and with more nodes. README.md here says what is measured and how; build/bench/queue.json has every figure.

Exit status: 0 measured, 1 something went wrong while measuring, 2 it can't run here."""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import measure  # noqa: E402
import people  # noqa: E402
import runner  # noqa: E402
from mail import SENDER  # noqa: E402
from remudatest import Addresses, Dns, Failed, Key, wait_until  # noqa: E402
from remudatest.cluster import ROOT, Cluster, built, wall_ms, zone_of  # noqa: E402
from runner import say  # noqa: E402

NODES = (1, 4, 16)
LIMIT_S = 1800
TARGET = {"rss_mib": 512, "first_lease_s": 5, "dealing": 1.10, "nodes": 0.10}
RECIPIENTS_LEAST = 200_000


class Names:
    """The name server of all recipients, as Cluster wants its world."""

    def __init__(self, work):
        block = Addresses()
        at = block.block()
        self.sources, self.port, self.keys = block, 2525, {SENDER: [Key(SENDER, "r1")]}
        foreign, hosts, wildcards = people.world()
        zones = {}
        for domain, mx in foreign.items():
            zones.setdefault(zone_of(domain), []).extend((f"{domain}.", "MX", f"10 {host}.") for host in mx)
        for host in hosts:
            zones.setdefault(zone_of(host), []).append((f"{host}.", "A", at(1)))
        for zone, mx in wildcards:
            zones.setdefault(zone, []).append(("*", "MX", f"10 {mx}.") if mx else ("*", "A", at(1)))
        self.dns = Dns(work, at(250), zones=zones, tops=(), ttl=86400).start()


class Wire:
    """The nodes (wire_nodes.c), and what they tell."""

    def __init__(self, cluster, build, deferred_permille=0):
        keys = [cluster.path(f"{n}.key") for n in cluster.nodes]
        self.path = cluster.path("wire.jsonl")
        with open(self.path, "wb") as out, open(cluster.path("wire.log"), "ab") as log:
            self.child = subprocess.Popen([os.path.join(build, "bench/bin/wire_nodes"), cluster.bus, cluster.path("coordinator.pub"),
                                           str(deferred_permille), *keys], stdin=subprocess.PIPE, stdout=out, stderr=log)

    def word(self, text):
        self.child.stdin.write(f"{text}\n".encode())
        self.child.stdin.flush()

    def told(self, key):
        with open(self.path) as f:
            return [x[key] for x in map(json.loads, (line for line in f if line.endswith("\n"))) if key in x]

    def round(self, recipients, nodes):
        """Takes leases for so many, and waits until all is settled."""
        n = len(self.told("round"))
        self.word(f"go {recipients} {nodes}")
        wait_until(lambda: len(self.told("round")) > n or self.child.poll() is not None, LIMIT_S, "a round is settled", every_s=0.01)
        if self.child.poll() is not None:
            raise Failed("wire_nodes ended")
        return self.told("round")[-1]

    def stop(self):
        if self.child.poll() is None:
            self.word("quit")
            self.child.wait(10)


class Side:
    """A coordinator with sixteen nodes that have no wire, and what its queue holds."""

    def __init__(self, work, names, name, args):
        self.work, self.args, self.name, self.build = work, args, name, os.path.abspath(args.build)
        nodes = [f"n{i + 1}" for i in range(max(NODES))]
        # heartbeat_lost: under callgrind a step takes long
        self.cluster = Cluster(work, names, nodes=nodes, name=name, build=self.build,
                               settings={"lease.heartbeat_lost": "30s", "watch.enabled": False})
        self.cluster.start_coordinator()
        for n in nodes:
            self.cluster.remuda("node", "add", n, "--key", self.cluster.path(f"{n}.pub"))
            at = names.sources.block()
            for last in range(1, args.sources + 1):
                self.cluster.source(at(last), n)
        self.cluster.stream("bulk", names.keys[SENDER], retry_min="6h", retry_max="24h")
        self.cluster.work.write(f"{name}/news.eml", people.template())
        self.queued = 0
        self.wire = None

    @property
    def pid(self):
        return self.cluster.coordinator.child.pid

    def rss(self):
        now, most = measure.rss_kib(self.pid)
        return {"now_mib": round(now / 1024, 1), "most_mib": round(most / 1024, 1)}

    def send(self, first, count):
        """One campaign, read and sorted; its figures are the coordinator's."""
        rows = self.cluster.path("list.csv")
        people.write_csv(self.build, rows, first, count)
        meter = measure.Meter({"coordinator": self.pid}).start()
        measure.run_measured([self.cluster.command, "--api", self.cluster.socket, "--json", "send", "--template",
                              self.cluster.path("news.eml"), "--recipients", rows, "--stream", "bulk"], LIMIT_S)
        read = time.monotonic() - meter.at
        read_us = measure.cpu_us(self.pid) - meter.begin["coordinator"]
        os.unlink(rows)
        self.sorted()
        cpu = meter.stop()["coordinator"]
        self.queued += count
        return {"recipients": count, "read_s": round(read, 2), "read_cpu_us_per_recipient": round(read_us / count, 2),
                "ready_s": round(meter.seconds, 2), "cpu_us_per_recipient": round(cpu / count, 2)}

    def sorted(self):
        shown = time.monotonic()
        while True:
            s = self.cluster.status()
            if not s["unsorted"]:
                return
            if time.monotonic() > shown + 5:
                shown = time.monotonic()
                say(f"  {self.name}: {s['queued']:,} sorted into queues, {s['unsorted']:,} still to be; {self.rss()['now_mib']:.0f} MiB")
            time.sleep(0.02)

    def quiet(self):
        """Until compaction has ended: CPU of the coordinator below a twentieth of a core for a second."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            before = measure.cpu_us(self.pid)
            time.sleep(1)
            if measure.cpu_us(self.pid) - before < 50_000:
                return

    def start_wire(self, deferred_permille=0):
        if self.wire:
            self.wire.stop()
        self.wire = Wire(self.cluster, self.build, deferred_permille)

    def deal(self, recipients, nodes):
        """One round: what it cost the coordinator."""
        meter = measure.Meter({"coordinator": self.pid}).start()
        r = self.wire.round(recipients, nodes)
        meter.stop()
        # to the nanosecond; no thread ends meanwhile. What RocksDB does behind is of what was written before, and comes in lumps
        used = meter.threads["coordinator"]
        behind = sum(v for k, v in used.items() if k.startswith("rocksdb:"))
        cpu = sum(used.values()) - behind
        n = r["recipients"]
        if not n:
            raise Failed(f"{self.name}: no lease came\n{self.cluster.picture()}")
        self.queued -= n
        threads = {k: round(v / n, 2) for k, v in sorted(used.items()) if v / n >= 0.01}
        return {"nodes": nodes, "recipients": n, "leases": r["leases"], "seconds": round(r["settled_us"] / 1e6, 3),
                "recipients_per_second": round(n / r["settled_us"] * 1e6), "cpu_us_per_recipient": round(cpu / n, 2),
                "cpu_us_per_lease": round(cpu / r["leases"], 1),
                "compaction_us_per_recipient": round(behind / n, 2), "cpu_us_by_thread": threads,
                "others_busy_cores": round(max(0, meter.machine[0] - cpu / 1e6) / meter.seconds, 2)}

    def restart(self):
        """Killed while it deals; seconds from its start to the first lease at a node."""
        before = len(self.wire.told("first_lease_us"))
        self.wire.word("go 0 4")
        wait_until(lambda: len(self.wire.told("first_lease_us")) > before, 60, "leases come", every_s=0.01)
        time.sleep(0.3)
        self.cluster.coordinator.kill()
        before, logged = len(self.wire.told("first_lease_us")), len(self.cluster.coordinator.log())
        began, began_ms = time.monotonic(), time.time() * 1000
        self.cluster.coordinator.start()
        wait_until(lambda: len(self.wire.told("first_lease_us")) > before, 120, "the first lease after a restart",
                   self.cluster.coordinator.child, every_s=0.01)
        first = self.wire.told("first_lease_us")[before] / 1e6 - began
        wait_until(self.cluster.answers, 30, "the API answers again", every_s=0.01)
        self.wire.word("hold")
        wait_until(lambda: not self.cluster.status()["leased"], 120, "what was leased is settled", every_s=0.05)
        serving = re.search(r"^(\S+Z).* serving: API", self.cluster.coordinator.log()[logged:], re.M)
        return {"first_lease_s": round(first, 3), "read_s": round((wall_ms(serving.group(1)) - began_ms) / 1000, 3) if serving else None}

    def instructions(self, recipients, nodes):
        """Instructions a recipient of one more round, by callgrind."""
        coordinator, out = self.cluster.coordinator, self.cluster.path("callgrind.out")
        coordinator.stop(120)
        plain = coordinator.argv
        coordinator.argv = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}", *plain]
        self.start_wire()
        coordinator.start()
        wait_until(self.cluster.answers, 600, "the coordinator answers under callgrind", coordinator.child, every_s=0.2)
        self.wire.round(1000, nodes)  # what is done once
        self.switch("on")
        r = self.wire.round(recipients, nodes)
        self.switch("off")
        coordinator.stop(600)
        coordinator.argv = plain
        with open(out) as f:
            total = int(re.search(r"^(?:totals|summary): (\d+)", f.read(), re.M).group(1))
        return {"instructions_per_recipient": round(total / r["recipients"]), "instructions_per_lease": round(total / r["leases"]),
                "recipients": r["recipients"], "leases": r["leases"]}

    def switch(self, to):
        self.work.run(["callgrind_control", "-i", to, str(self.pid)], timeout_s=120)

    def close(self):
        if self.wire:
            self.wire.stop()
        self.cluster.stop()
        shutil.rmtree(self.cluster.dir, ignore_errors=True)


def median(rounds, key):
    return statistics.median(r[key] for r in rounds)


def beside(rounds, others):
    """How much dearer the others were than the rounds that were dealt right before them: the median of the pairs, least and greatest."""
    v = [o["cpu_us_per_recipient"] / r["cpu_us_per_recipient"] for r, o in zip(rounds, others)]
    return f"{statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})"


class Bench:
    def __init__(self, work, args):
        self.work, self.args = work, args
        self.names = Names(work)

    def deep(self, campaigns):
        """A side whose queue holds all; what reading and sorting it cost."""
        a = self.args
        say(f"{a.recipients:,} recipients in {campaigns} campaign{'s' * (campaigns > 1)}: list, intake, sorting")
        side = Side(self.work, self.names, f"deep{campaigns}", a)
        empty = side.rss()
        parts = [side.send(i * (a.recipients // campaigns), a.recipients // campaigns) for i in range(campaigns)]
        out = {"campaigns": campaigns, "recipients": side.queued, "empty": empty, "after_intake": side.rss(),
               "intake_s": round(sum(p["read_s"] for p in parts), 1), "ready_s": round(sum(p["ready_s"] for p in parts), 1),
               "intake_cpu_us_per_recipient": round(sum(p["read_cpu_us_per_recipient"] for p in parts) / campaigns, 2),
               "cpu_us_per_recipient": round(sum(p["cpu_us_per_recipient"] for p in parts) / campaigns, 2),
               "store_mib": round(sum(e.stat().st_size for e in os.scandir(side.cluster.path("coordinator.data", "store"))) / 2**20)}
        say(f"  read in {out['intake_s']:.0f} s, ready after {out['ready_s']:.0f} s; {out['after_intake']['most_mib']:.0f} MiB at most, "
            f"{out['after_intake']['now_mib']:.0f} MiB now; {out['store_mib']:,} MiB on disk")
        side.quiet()
        out["steady"] = side.rss()
        return side, out

    def compare(self, small, deep):
        """The same short campaigns, alone and beside the long queue, which waits meanwhile."""
        a, rounds = self.args, {"small": [], "deep": []}
        waiting = [k["id"] for k in deep.cluster.get("campaigns")["campaigns"] if not k["finished"]]
        for k in waiting:
            deep.cluster.remuda("campaign", "pause", k)
        for i in range(a.runs):
            for name, side in (("small", small), ("deep", deep)):
                side.send(i * a.small, a.small)
                side.quiet()
                rounds[name].append(side.deal(a.small, 4))
            s, d = rounds["small"][-1], rounds["deep"][-1]
            say(f"  dealing {a.small:,}: {s['cpu_us_per_recipient']:.2f} us alone, {d['cpu_us_per_recipient']:.2f} us beside "
                f"{deep.queued:,}")
        for k in waiting:
            deep.cluster.remuda("campaign", "resume", k)
        return rounds

    def nodes(self, small):
        """The whole of one list each time, so that all deal the same."""
        rounds, n = {n: [] for n in NODES}, self.args.round
        for i in range(self.args.runs):
            for count in NODES:
                small.send(i * n, n)
                small.quiet()
                rounds[count].append(small.deal(n, count))
            say("  dealing by nodes: " + ", ".join(f"{n}: {rounds[n][-1]['cpu_us_per_recipient']:.2f} us" for n in NODES))
        return rounds

    def drain(self, deep):
        """All that is left, to the last one."""
        say(f"  the other {deep.queued:,} are dealt")
        out = deep.deal(deep.queued, 4)
        say(f"  {out['cpu_us_per_recipient']:.2f} us a recipient, {out['recipients_per_second']:,} a second; "
            f"{deep.rss()['most_mib']:.0f} MiB")
        return out

    def restarts(self, deep):
        runs = []
        for _ in range(self.args.runs):
            runs.append(deep.restart())
            say(f"  killed and started: tables read after {runs[-1]['read_s']:.2f} s, first lease after {runs[-1]['first_lease_s']:.2f} s; "
                f"{deep.rss()['now_mib']:.0f} MiB")
        return {k: [r[k] for r in runs] for k in runs[0]} | {"rss": deep.rss()}

    def run(self, campaigns):
        a = self.args
        deep, out = self.deep(campaigns)
        small = Side(self.work, self.names, "small", a)
        deep.start_wire()
        small.start_wire()
        small.send(0, a.small)
        small.deal(a.small, 4)  # both have dealt once
        out["restart"] = self.restarts(deep)
        out["dealing"] = self.compare(small, deep)
        out["after_dealing"] = deep.rss()
        out["by_nodes"] = self.nodes(small)
        if a.deferred:
            deep.start_wire(1000)
            say(f"  {a.deferred:,} of them are greylisted")
            deep.deal(a.deferred, 4)
            deep.start_wire()
            out["deferred"] = {"recipients": a.deferred, **self.restarts(deep)}
        if a.instructions:
            out["instructions"] = {}
            small.send(0, a.small + 1000)
            for name, side in (("small", small), ("deep", deep)):
                out["instructions"][name] = i = side.instructions(a.small, 4)
                say(f"  {name}: {i['instructions_per_recipient']:,} instructions a recipient, {i['instructions_per_lease']:,} a lease")
        if a.drain:
            out["drained"] = self.drain(deep)
            out["after_drain"] = deep.rss()
        small.close()
        deep.close()
        return out


def summary(results):
    """Rows of the table, beside the targets."""
    rows = []
    for r in results:
        what = f"{r['recipients']:,} in {r['campaigns']} campaign{'s' * (r['campaigns'] > 1)}"
        s, d = (median(r["dealing"][k], "cpu_us_per_recipient") for k in ("small", "deep"))
        most = r["after_intake"]["most_mib"], max(r[k]["most_mib"] for k in ("after_dealing", "after_drain") if k in r)
        first = r["restart"]["first_lease_s"]
        rows += [[f"{what}: resident at most, taking them in", f"{most[0]:.0f} MiB", f"{TARGET['rss_mib']} MiB"],
                 ["  and after a restart, dealing", f"{most[1]:.0f} MiB", f"{TARGET['rss_mib']} MiB"],
                 ["  from start to first lease", f"{statistics.median(first):.2f} s (at most {max(first):.2f})",
                  f"{TARGET['first_lease_s']} s"],
                 ["  dealing, CPU a recipient, short queue alone", f"{s:.2f} us", ""],
                 ["  the same beside the long queue", f"{d:.2f} us: {beside(r['dealing']['small'], r['dealing']['deep'])}",
                  f"{TARGET['dealing']:.2f}"]]
        if "drained" in r:
            all_us = r["drained"]["cpu_us_per_recipient"]
            rows.append(["  the long queue itself, to the last one", f"{all_us:.2f} us ({all_us / s:.2f})", f"{TARGET['dealing']:.2f}"])
        if "deferred" in r:
            first = r["deferred"]["first_lease_s"]
            rows.append([f"  from start to first lease, {r['deferred']['recipients']:,} deferred",
                         f"{statistics.median(first):.2f} s, {r['deferred']['rss']['most_mib']:.0f} MiB", f"{TARGET['first_lease_s']} s"])
        for n in NODES:
            us, ratio = median(r["by_nodes"][n], "cpu_us_per_recipient"), beside(r["by_nodes"][NODES[0]], r["by_nodes"][n])
            rows.append([f"  dealing, {n} node{'s' * (n > 1)}", f"{us:.2f} us" + (f": {ratio}" if n > 1 else ""),
                         "0.90 to 1.10" if n > 1 else ""])
        for name, i in r.get("instructions", {}).items():
            rows.append([f"  instructions a recipient, {'short' if name == 'small' else 'long'} queue",
                         f"{i['instructions_per_recipient']:,}", ""])
    return rows


def arguments():
    p = argparse.ArgumentParser(description="a long queue: memory, restart, dealing beside a short one and by nodes")
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--recipients", type=int, default=10_000_000, help="of the long queue")
    p.add_argument("--campaigns", default="1,20", help="how many campaigns they are in; more than one measurement with commas")
    p.add_argument("--small", type=int, default=10_000, help="recipients of the short queue")
    p.add_argument("--round", type=int, default=100_000, help="recipients of a round by nodes")
    p.add_argument("--runs", type=int, default=5, help="rounds, restarts")
    p.add_argument("--sources", type=int, default=1, help="a node")
    p.add_argument("--deferred", type=int, default=1_000_000, help="restarted again with so many deferred; 0: not")
    p.add_argument("--no-drain", dest="drain", action="store_false", help="the long queue isn't dealt to its end")
    p.add_argument("--instructions", action="store_true", help="and instructions by callgrind (valgrind is needed; some minutes)")
    args = p.parse_args()
    if min(args.recipients, args.small, args.round, args.runs, args.sources) < 1:
        p.error("every number must be at least 1")
    if args.recipients < RECIPIENTS_LEAST:
        p.error(f"--recipients: fewer than {RECIPIENTS_LEAST:,} may all be dealt before a restart is measured")
    return args


def main():
    args = arguments()

    def measured(work):
        built("bench/bin/wire_nodes", args.build)
        bench = Bench(work, args)
        return {"targets": TARGET, "results": [bench.run(int(n)) for n in args.campaigns.split(",")]}

    return runner.run("queue", args.build, measured, lambda r: measure.table(summary(r["results"]), ["", "measured", "target"]))


if __name__ == "__main__":
    sys.exit(main())
