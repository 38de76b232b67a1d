#!/usr/bin/env python3
"""make bench-reaction: how soon a blocked source is silent, and how soon its work goes from somewhere else, while the cluster sends as
fast as it can. README.md here says what is measured and how; build/bench/reaction.json has every block.

Exit status: 0 measured, 1 something went wrong while measuring, 2 it can't run here."""

import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mail  # noqa: E402
import measure  # noqa: E402
import runner  # noqa: E402
from remudatest import Addresses, Failed, wait_until  # noqa: E402
from remudatest.cluster import ROOT, Cluster, World  # noqa: E402
from runner import say  # noqa: E402

PROVIDER, DOMAIN, MX = "yahoo", "yahoo.com", "mta5.am0.yahoodns.net"
TEXT = "550 5.7.1 Service unavailable; Client host [%ip] blocked using zen.example.org"
TARGET = {"silent_ms": 1, "redeal_ms": 1000}


def percentile(values, p):
    v = sorted(values)
    return v[min(len(v) - 1, int(len(v) * p / 100))] if v else None


class Bench:
    def __init__(self, work, args):
        self.args, block = args, Addresses()
        # only whoever is being blocked is refused: the provider itself takes everything
        self.world = World(work, {PROVIDER: {"domains": {DOMAIN: [MX]}, "connections_per_ip": 1000}}, senders=[mail.SENDER],
                           addresses=lambda i, at=block.block(): at(i), build=args.build).start()
        nodes = [f"n{i + 1}" for i in range(args.nodes)]
        self.cluster = Cluster(work, self.world, nodes=nodes, build=args.build,
                               settings={"failover.canary": "2s", "failover.growth_percent": 0}).start()
        self.sources = []
        for i in range(args.blocks + args.spare):  # a network of its own each, or they would be stopped together
            self.sources.append(block.block()(1))
            self.cluster.source(self.sources[-1], nodes[i % args.nodes])
        self.cluster.stream("bulk", self.world.keys[mail.SENDER])
        path = work.path("list.csv")
        mail.write_csv(path, args.messages, DOMAIN)
        self.campaign = self.cluster.send(mail.template(), path)["id"]

    def busy(self, ip):
        """It had mail accepted within the last quarter of a second."""
        since = time.clock_gettime(time.CLOCK_BOOTTIME) * 1e6 - 250_000
        return self.last.get(ip, 0) > since

    def look(self):
        for e in self.events.read():
            if e["event"] == "accepted":
                self.last[e["ip"]] = e["t_us"]
                self.accepted += 1

    def block_all(self):
        """One source after the other, each while it sends."""
        self.events, self.last, self.accepted = self.world.receivers.follow(), {}, 0
        self.blocked, rest = [], list(self.sources)
        wait_until(lambda: self.look() or len([s for s in rest if self.busy(s)]) > self.args.blocks // 2, 60,
                   "most sources send", self.cluster.coordinator.child, every_s=0.05)
        began, counted = time.monotonic(), self.accepted
        while len(self.blocked) < self.args.blocks:
            self.look()
            sends = [s for s in rest if self.busy(s)]
            if not sends:
                if self.cluster.campaign(self.campaign)["finished"]:
                    raise Failed(f"the campaign was over after {len(self.blocked)} blocks: more --messages are needed")
                time.sleep(0.02)
                continue
            ip = max(sends, key=self.last.get)
            rest.remove(ip)
            self.world.receivers.block(PROVIDER, ip, "mail", TEXT)
            self.blocked.append(ip)
            say(f"{ip} is blocked, {len(sends)} sources send, {self.accepted:,} messages were taken")
            time.sleep(self.args.every)
        self.rate = (self.accepted - counted) / (time.monotonic() - began)

    def judge(self):
        """What the receiver and the coordinator say of each block."""
        by_ip = {ip: {"ip": ip, "verdict_us": None, "mails": []} for ip in self.blocked}
        for e in self.world.receivers.transcript():
            b = by_ip.get(e.get("ip"))
            if not b:
                continue
            if e["event"] == "verdict" and b["verdict_us"] is None:
                b["verdict_us"] = e["t_us"]
            elif e["event"] == "mail" and b["verdict_us"] is not None:
                b["mails"].append(e["t_us"])
        incidents = {i["source"]: i for i in self.cluster.incidents() if i["source"] in by_ip}
        out = []
        for ip, b in by_ip.items():
            i = incidents.get(ip)
            if b["verdict_us"] is None or not i:
                continue
            out.append({"ip": ip, "silent_ms": round((max(b["mails"], default=b["verdict_us"]) - b["verdict_us"]) / 1000, 3),
                        "mails_after": len(b["mails"]), "detect_ms": i["detect_ms"], "redeal_ms": i["redeal_ms"], "moved": i["moved"],
                        "waiting_most": i["waiting_most"]})
        return out

    def run(self):
        pids = {"coordinator": self.cluster.coordinator.child.pid} | {n: p.child.pid for n, p in self.cluster.nodes.items()}
        meter = measure.Meter(pids).start()
        self.block_all()
        cpu = meter.stop()
        time.sleep(2)  # the last one's work is dealt again
        blocks = self.judge()
        if len(blocks) < self.args.blocks:
            raise Failed(f"{self.args.blocks} sources were blocked, {len(blocks)} have an incident")
        return {"blocks": blocks, "messages_per_second": round(self.rate, 1),
                "others_busy_cores": round(max(0, meter.machine[0] - sum(cpu.values()) / 1e6) / meter.seconds, 2)}


def summary(r):
    rows = []
    for key, what, target in (("silent_ms", "verdict sent -> last MAIL from the source, ms", TARGET["silent_ms"]),
                              ("mails_after", "MAILs after the verdict", ""),
                              ("detect_ms", "verdict read -> quarantine durable, ms", ""),
                              ("redeal_ms", "verdict read -> its work leased elsewhere, ms", TARGET["redeal_ms"])):
        v = [b[key] for b in r["blocks"] if b[key] is not None]
        r[key] = {"n": len(v), "median": statistics.median(v) if v else None, "p99": percentile(v, 99), "max": max(v, default=None)}
        rows.append([what, len(v), *(f"{r[key][k]:,.1f}" if v else "-" for k in ("median", "p99", "max")), target])
    return rows


def arguments():
    p = argparse.ArgumentParser(description="how soon a blocked source is silent, and its work goes elsewhere")
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--blocks", type=int, default=24)
    p.add_argument("--spare", type=int, default=6, help="sources that are never blocked")
    p.add_argument("--nodes", type=int, default=3)
    p.add_argument("--every", type=float, default=1.0, help="seconds between blocks")
    p.add_argument("--messages", type=int, default=200_000, help="of the campaign, which needn't end")
    args = p.parse_args()
    if min(args.blocks, args.spare, args.nodes, args.messages) < 1:
        p.error("every number must be at least 1")
    return args


def shown(result):
    return (measure.table(summary(result), ["", "blocks", "median", "p99", "most", "target"]) +
            f"\n\n{result['messages_per_second']:,.0f} messages/s meanwhile; {result['others_busy_cores']} cores were busy with other things, "
            "the receivers among them")


def main():
    args = arguments()
    args.build = os.path.abspath(args.build)
    return runner.run("reaction", args.build, lambda work: {"targets": TARGET, **Bench(work, args).run()}, shown)


if __name__ == "__main__":
    sys.exit(main())
