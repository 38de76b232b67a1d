#!/usr/bin/env python3
"""make bench-peers: the same messages through Remuda and through other mail servers, in one run on one machine, in one table.
README.md here says what is measured and how; build/bench/peers.json has every figure (--json prints it).

Exit status: 0 measured (what can't run here is named in the table), 1 something went wrong, 2 nothing can run here."""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench as base  # noqa: E402
import mail  # noqa: E402
import measure  # noqa: E402
import runner  # noqa: E402
from group import Group  # noqa: E402
from peers.exim import Exim  # noqa: E402
from peers.haraka import Haraka  # noqa: E402
from peers.opensmtpd import OpenSmtpd  # noqa: E402
from peers.postfix import StockPostfix, TunedPostfix  # noqa: E402
from remudatest import Failed, Missing, Unavailable, wait_until  # noqa: E402
from remudatest.cluster import ROOT  # noqa: E402
from runner import say  # noqa: E402

PEERS = [StockPostfix, TunedPostfix, OpenSmtpd, Exim, Haraka]
SHOW_S = 5


class Stuck(Failed):
    """A peer didn't do its work: it gets no figures, and the others go on."""


class Clock:
    """What a group used while something ran: `with Clock(group) as c: ...; c.figures(messages, injector's CPU)`."""

    def __init__(self, group):
        self.group = group

    def __enter__(self):
        self.at, self.cpu, self.machine = time.monotonic(), self.group.cpu_us(), measure.machine_us()[0]
        return self

    def __exit__(self, *exc):
        self.seconds, self.cpu = time.monotonic() - self.at, self.group.cpu_us() - self.cpu
        self.machine = measure.machine_us()[0] - self.machine
        return False

    def figures(self, n, injector_us):
        wait_until(lambda: self.group.peak_kib, 10, "its memory is seen")
        others = max(0.0, self.machine - self.cpu - injector_us) / 1e6
        return {"messages": n, "seconds": round(self.seconds, 3), "messages_per_second": round(n / self.seconds, 1),
                "cpu_us_per_message": round(self.cpu / n, 1), "inject_cpu_us_per_message": round(injector_us / n, 1),
                "memory_mib": round(self.group.peak_kib / 1024, 1), "others_busy_cores": round(others / self.seconds, 2)}


class PeerBench(base.Bench):
    """The bench's own receivers, name server, messages and Remuda; and peers beside it."""

    def __init__(self, work, args):
        super().__init__(work, args)
        self.routes = {d: (a, self.world.port) for d, a in self.sink_of.items()}
        self.routes[base.CHECK_DOMAIN] = (self.world.address["check"], self.world.port)
        self.runs = 0

    # ---- Remuda

    def measure_remuda(self):
        """From the start of `remuda send` until the last outcome is durable at the coordinator; it renders the messages itself."""
        self.runs += 1
        n, run = self.args.messages, self.runs
        c = self.cluster(run)
        group = Group(f"remuda-{run}")
        try:
            for program in [c.coordinator, *c.nodes.values()]:
                group.add(program.child.pid)
            template, rows = self.work.write(f"run{run}/news.eml", mail.template()), self.work.path(f"run{run}", "list.csv")
            mail.write_csv(rows, n)
            self.sinks.mark()
            with Clock(group) as clock:
                out, command_us = measure.run_measured([c.command, "--api", c.socket, "--json", "send", "--template", template,
                                                        "--recipients", rows, "--stream", "bulk"], self.args.limit)
                view = self.wait_settled(c, json.loads(out)["campaign"]["id"])
            if view["delivered"] != n or self.sinks.count() != n:
                raise Failed(f"{n} messages were to be delivered: Remuda says {view['delivered']}, smtp-sink {self.sinks.count()}")
            return clock.figures(n, command_us)
        finally:
            c.stop()
            group.stop()
            shutil.rmtree(self.work.path(f"run{run}"), ignore_errors=True)

    # ---- a peer

    def start_injector(self, peer, first, count, *domain):
        argv = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers", "inject.py"), peer.addr, str(peer.port),
                str(peer.sessions), str(first), str(count), *domain]
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if child.stdout.readline() != "ready\n":
            raise Failed(f"the injector can't begin: {child.communicate()[1]}")
        return child

    def injected(self, child, done, peer):
        """Lets the injector go and waits until it has ended and done() holds. Returns its CPU microseconds."""
        child.stdin.write("go\n")
        child.stdin.flush()
        begun = shown = time.monotonic()
        cpu = None
        try:
            while cpu is None or not done():
                if cpu is None:
                    pid, status, usage = os.wait4(child.pid, os.WNOHANG)
                    if pid:
                        child.returncode = os.waitstatus_to_exitcode(status)
                        cpu = (usage.ru_utime + usage.ru_stime) * 1e6
                        if child.returncode:
                            raise Stuck(f"its injection failed: {child.stderr.read().strip()}")
                if peer.child.poll() is not None:
                    raise Stuck(f"it ended with {peer.child.returncode}: {peer.child.log_tail(3).strip()}")
                if time.monotonic() > begun + self.args.limit:
                    raise Stuck(f"{self.sinks.count():,} messages were delivered within {self.args.limit} s")
                if time.monotonic() > shown + SHOW_S:
                    shown = time.monotonic()
                    say(f"  {self.sinks.count():,} delivered")
                time.sleep(0.02)
            return cpu
        finally:
            if cpu is None:
                child.kill()
                child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                with contextlib.suppress(OSError):
                    stream.close()

    def transcript(self, event="accepted"):
        return self.world.receivers.transcript(event)

    def tried(self, peer):
        """A few messages to receivers that verify: whole, of the right size, signed if they are to be."""
        before, n = len(self.transcript()), base.CHECK_MESSAGES
        child = self.start_injector(peer, 0, n, base.CHECK_DOMAIN)
        self.injected(child, lambda: len(self.transcript()) >= before + n, peer)
        self.world.receivers.verified()
        came, seen = self.transcript()[before:], self.transcript("dkim")[before:]
        good = [e for e in seen if (e["dkim"] == "pass" and any(s["bits"] == 2048 for s in e["signatures"]) if peer.key else e["dkim"] == "none")]
        if len(good) != n or len(seen) != n:
            raise Stuck(f"{n} messages were to come {'with an RSA-2048' if peer.key else 'without a'} signature: {len(seen)} came, "
                        f"{len(good)} did so")
        if min(e["size"] for e in came) < mail.BODY_BYTES:
            raise Stuck(f"a message came with {min(e['size'] for e in came)} bytes, {mail.BODY_BYTES} is the body alone")

    def measure_peer(self, kind, signed):
        n = self.args.messages
        peer = kind(self.work, self.relay_address, self.routes, self.key if signed else None, self.build, self.world.dns.server)
        try:
            peer.start()
            self.tried(peer)
            child = self.start_injector(peer, 0, n)
            self.sinks.mark()
            with Clock(peer.group) as clock:
                injector_us = self.injected(child, lambda: self.sinks.count() >= n, peer)
            if self.sinks.count() != n:
                raise Stuck(f"{n:,} messages were to arrive, {self.sinks.count():,} did")
            return clock.figures(n, injector_us)
        finally:
            peer.stop()
            self.checked = len(self.transcript("dkim"))
            shutil.rmtree(peer.path(), ignore_errors=True)

    # ---- all

    def row(self, name, signed, measured):
        out = {"system": name, "signed": signed}
        try:
            out |= measured()
            say(f"{name}, {'signed' if signed else 'unsigned'}: {out['messages_per_second']:,.1f} messages/s, "
                f"{out['cpu_us_per_message']:,.0f} us a message")
        except (Unavailable, Missing, Stuck) as e:
            if name == "Remuda":
                raise
            out["why_not"] = " ".join(str(e).split())
            say(f"{name}, {'signed' if signed else 'unsigned'}: not measured: {out['why_not']}")
        return out

    def once(self):
        alone = [self.sign(1)]
        rows = [self.row("Remuda", True, self.measure_remuda)]
        for signed in (True, False):
            for kind in PEERS:
                if self.args.only and not any(word in kind.name.lower() for word in self.args.only):
                    continue
                name = kind.name + (" + OpenDKIM" if signed and "Postfix" in kind.name else "")
                rows.append(self.row(name, signed, lambda kind=kind, signed=signed: self.measure_peer(kind, signed)))
        alone.append(self.sign(1))
        return {"rsa2048_sign_us": round(statistics.median(alone), 1), "rows": rows}


def medians(runs):
    """One row a system and kind: medians of the runs in which it was measured."""
    out = []
    for first in runs[0]["rows"]:
        same = [r for run in runs for r in run["rows"] if (r["system"], r["signed"]) == (first["system"], first["signed"])]
        good = [r for r in same if "why_not" not in r]
        one = {"system": first["system"], "signed": first["signed"]}
        if good:
            one |= {k: round(statistics.median(r[k] for r in good), 1) for k in good[0] if k not in one}
            one["spread"] = {k: measure.spread([r[k] for r in good]) for k in ("messages_per_second", "cpu_us_per_message")}
        else:
            one["why_not"] = same[0]["why_not"]
        out.append(one)
    remuda = out[0]
    for r in out:
        if "why_not" not in r:
            r["cpu_over_remuda"] = round(r["cpu_us_per_message"] / remuda["cpu_us_per_message"], 1)
            r["remuda_is_faster"] = round(remuda["messages_per_second"] / r["messages_per_second"], 1)
    return out


def shown(rows):
    head = ["", "messages/s", "Remuda's / its", "CPU us a message", "/ Remuda's", "injector's CPU us", "memory MiB"]
    lines, notes = [], []
    for r in rows:
        name = f"{r['system']}, {'signed' if r['signed'] else 'unsigned'}"
        if "why_not" in r:
            notes.append(f"{name}: not measured: {r['why_not']}")
            lines.append([name, *["-"] * 6])
        else:
            lines.append([name, f"{r['messages_per_second']:,.0f}", f"{r['remuda_is_faster']:.1f}", f"{r['cpu_us_per_message']:,.0f}",
                          f"{r['cpu_over_remuda']:.1f}", f"{r['inject_cpu_us_per_message']:,.0f}", f"{r['memory_mib']:,.0f}"])
    return "\n".join([measure.table(lines, head), "Remuda sends nothing unsigned: all rows are compared with its signed messages", *notes])


def arguments():
    p = argparse.ArgumentParser(description="The same messages through Remuda and through other mail servers")
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--messages", type=int, default=3000, help="a measurement, the same for all")
    p.add_argument("--runs", type=int, default=1, help="medians are told, with more than one")
    p.add_argument("--limit", type=int, default=300, help="seconds that a measurement may take")
    p.add_argument("--only", action="append", metavar="WORD", help="peers with this in their name, beside Remuda; may be repeated")
    p.add_argument("--json", action="store_true", help="the report on standard output, progress on standard error")
    args = p.parse_args()
    if min(args.messages, args.runs, args.limit) < 1:
        p.error("every number must be at least 1")
    args.only = [w.lower() for w in args.only or []]
    if args.only and not any(w in k.name.lower() for w in args.only for k in PEERS):
        p.error(f"--only: no peer has {' or '.join(args.only)} in its name; there are {'; '.join(k.name for k in PEERS)}")
    vars(args).update(nodes=2, workers=1, sources=2, signatures=2000, signed_only=True)  # as make bench
    return args


def measured(work, args):
    bench = PeerBench(work, args)
    say(f"{args.messages:,} messages a measurement, body of {mail.BODY_BYTES:,} bytes, {len(mail.DOMAINS)} domains")
    runs = [bench.once() for _ in range(args.runs)]
    return {"messages": args.messages, "body_bytes": mail.BODY_BYTES, "rsa2048_sign_us": statistics.median(r["rsa2048_sign_us"] for r in runs),
            "rows": medians(runs), "runs": runs}


def main():
    args = arguments()
    return runner.run("peers", args.build, lambda work: measured(work, args),
                      lambda r: f"{shown(r['rows'])}\n\na bare RSA-2048 signature: {r['rsa2048_sign_us']:,.0f} us", args.json)


if __name__ == "__main__":
    sys.exit(main())
