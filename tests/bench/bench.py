#!/usr/bin/env python3
"""make bench: what a delivered message costs Remuda, the bare signature beside it, and the same work done by Postfix with
OpenDKIM. README.md here says what is measured and how; build/bench/report.json has every figure.

Exit status: 0 measured, 1 something went wrong while measuring (a figure of half a run is not written), 2 it can't run here."""

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
import kinds  # noqa: E402
import mail  # noqa: E402
import measure  # noqa: E402
import parts as profiler  # noqa: E402
import runner  # noqa: E402
from peers.inject import inject  # noqa: E402
from peers.postfix import TunedPostfix  # noqa: E402
from remudatest import Addresses, Failed, SmtpSink, wait_until  # noqa: E402
from remudatest.cluster import ROOT, Cluster, World  # noqa: E402
from runner import say  # noqa: E402

SINKS = 4
CHECK_DOMAIN = "check.test"
CHECK_MESSAGES = 20
LIMIT_S = 150  # of one measured part
LANE_CONNECTIONS = 10  # of a lane of ours, as shipped


class Sinks:
    """Receivers that take everything; their own counters say how much."""

    def __init__(self, work, addresses, port):
        self.sinks = [SmtpSink(work, a, port, name=f"smtp-sink-{i}", args=["-c"]) for i, a in enumerate(addresses)]
        self.base = 0

    def start(self):
        for s in self.sinks:
            s.start()
        return self

    def pids(self):
        return {s.name: s.child.pid for s in self.sinks}

    def _taken(self, sink):
        with open(sink.child.log_path, "rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - 200))
            found = re.findall(rb"mesg=(\d+)\b(?=[^\d])|mesg=(\d+)$", f.read())
        return int(next(x for x in found[-1] if x)) if found else 0

    def count(self):
        """Messages since mark()."""
        return sum(self._taken(s) for s in self.sinks) - self.base

    def mark(self):
        self.base += self.count()


class Bench:
    def __init__(self, work, args):
        self.work, self.args, self.build = work, args, os.path.abspath(args.build)
        block = Addresses()
        at, self.source_blocks = block.block(), [block.block() for _ in range(args.nodes)]
        sinks = [at(i + 1) for i in range(SINKS)]
        self.sink_of = {d: sinks[i % SINKS] for i, d in enumerate(mail.DOMAINS)}
        self.world = World(work, {"check": {"domains": [CHECK_DOMAIN], "address": at(100)}}, senders=[mail.SENDER],
                           foreign={d: [f"mx.{d}"] for d in mail.DOMAINS},
                           hosts={f"mx.{d}": a for d, a in self.sink_of.items()}, build=self.build).start()
        self.sinks = Sinks(work, sinks, self.world.port).start()
        self.relay_address = at(200)
        self.key = self.world.keys[mail.SENDER][0]
        self.pem = work.write("bench.pem", self.key.pem)
        os.chmod(self.pem, 0o600)
        self.rendered = mail.Rendered()
        self.checked = 0
        self.size = {}  # of a message, by kind

    # ---- the signature

    def sign(self, copies):
        """CPU microseconds a signature, with so many processes signing at once: their mean."""
        argv = [os.path.join(self.build, "bench/bin/rsa_sign"), self.pem, str(self.args.signatures)]
        children = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(copies)]
        answers = [(c.communicate(timeout=LIMIT_S)[0], c.returncode) for c in children]
        for text, code in answers:
            if code:
                raise Failed(f"rsa_sign: exit {code}: {text.decode()}")
        return sum(json.loads(text)["cpu_us"] for text, _ in answers) / copies

    # ---- Remuda

    def cluster(self, run):
        """A new one, so that every run begins with empty stores; connected, and tried with a few verified messages."""
        nodes = [f"n{i + 1}" for i in range(self.args.nodes)]
        c = Cluster(self.work, self.world, nodes=nodes, name=f"run{run}", build=self.build,
                    node_settings={"workers": self.args.workers}).start()
        for name, at in zip(nodes, self.source_blocks):
            for last in range(1, self.args.sources + 1):
                c.source(at(last), name)
        kinds.streams(c, self.key)
        path = self.work.path(f"run{run}", "check.csv")
        mail.write_csv(path, CHECK_MESSAGES, CHECK_DOMAIN)
        for kind in ("signed",) if self.args.signed_only else ("signed", "equal", "large"):
            stream, template = kinds.KINDS[kind]
            c.settled(c.send(template(), path, stream=stream, name=f"check-{kind}")["id"], 60)
            self.verified(CHECK_MESSAGES, f"Remuda, {kind}")
            self.size.setdefault(kind, max(e["size"] for e in self.world.receivers.transcript("accepted")[-CHECK_MESSAGES:]))
        return c

    def verified(self, n, whose):
        """The receivers with a verifier saw n more messages, all signed rightly and of the size that was meant."""
        self.world.receivers.verified()
        signed = [e for e in self.world.receivers.transcript("dkim")][self.checked:]
        good = [e for e in signed if e["dkim"] == "pass" and any(s["bits"] == 2048 for s in e["signatures"])]
        if len(good) != n or len(signed) != n:
            raise Failed(f"{whose}: {n} messages were to come with an RSA-2048 signature, {len(signed)} came, {len(good)} are good")
        sizes = [e["size"] for e in self.world.receivers.transcript("accepted")][self.checked:]
        if min(sizes) < mail.BODY_BYTES:
            raise Failed(f"{whose}: a message of {min(sizes)} bytes, {mail.BODY_BYTES} is the body alone")
        self.checked += n

    def remuda(self, run, profiled=False):
        """Figures by kind of mail, and the rest of kinds.py under "others"."""
        c = self.cluster(run)
        out = {"signed": self.deliver(c, run, "signed", self.args.messages, profiled)}
        if not self.args.signed_only and not profiled:
            out["equal"] = self.deliver(c, run, "equal", self.args.messages)
            out["large"] = self.deliver(c, run, "large", self.args.large_messages)
            kinds.without_signature(c, self.build)
            out["unsigned"] = self.deliver(c, run, "unsigned", self.args.messages)
            out["others"] = self.others(c)
        codes = c.stop()
        if any(codes.values()):
            raise Failed(f"a program ended with an error: {codes}")
        shutil.rmtree(self.work.path(f"run{run}"), ignore_errors=True)
        return out

    def others(self, c):
        a = self.args
        domain, address = next(iter(self.sink_of.items()))
        sessions = a.nodes * a.sources * LANE_CONNECTIONS
        source_us = kinds.smtp_source(address, self.world.port, domain, self.size["signed"], a.messages, sessions)
        for node in c.nodes.values():
            kinds.stop(node)
        row_us, command_us = kinds.intake(c, self.work, a.intake_rows)
        return {"smtp_source_cpu_us_per_message": round(source_us, 1), "intake_cpu_us_per_row": round(row_us, 2),
                "intake_command_cpu_us_per_row": round(command_us, 2)}

    def deliver(self, c, run, kind, n, profiled=False):
        stream, make = kinds.KINDS[kind]
        template = self.work.write(f"run{run}/{kind}.eml", make())
        rows = self.work.path(f"run{run}", "list.csv")
        mail.write_csv(rows, n)
        pids = {"coordinator": c.coordinator.child.pid} | {name: p.child.pid for name, p in c.nodes.items()}
        others = self.sinks.pids() | {"knot": self.world.dns.child.pid}
        self.sinks.mark()
        perf = profiler.Perf(self.work, pids).start() if profiled else None
        meter, apart = measure.Meter(pids).start(), measure.Meter(others).start()
        out, command_us = measure.run_measured([c.command, "--api", c.socket, "--json", "send", "--template", template,
                                                "--recipients", rows, "--stream", stream], LIMIT_S)
        submitted = time.monotonic() - meter.at
        last = self.wait_settled(c, json.loads(out)["campaign"]["id"])
        cpu, apart_us = meter.stop() | {"remuda send": command_us}, apart.stop()
        others_s = meter.machine[0] - (sum(cpu.values()) + sum(apart_us.values())) / 1e6
        if last["delivered"] != n or self.sinks.count() != n:
            raise Failed(f"{n} messages were to be delivered: Remuda says {last['delivered']}, smtp-sink {self.sinks.count()}")
        shares = perf.stop() if perf else {}
        rss = {name: measure.rss_kib(pid)[1] for name, pid in pids.items()}
        return {"messages": n, "seconds": round(meter.seconds, 3), "submit_seconds": round(submitted, 3),
                "cpu_us_per_message": round(sum(cpu.values()) / n, 1), "messages_per_second": round(n / meter.seconds, 1),
                "cpu_us_by_process": {k: round(v / n, 1) for k, v in cpu.items()},
                "cpu_us_by_thread": {k: {t: round(v / n, 1) for t, v in sorted(threads.items()) if v / n >= 0.1}
                                     for k, threads in meter.threads.items()}, "rss_max_kib": rss,
                "smtp_sink_cpu_us": round(sum(v for k, v in apart_us.items() if k != "knot") / n, 1),
                "others_busy_cores": round(max(0, others_s) / meter.seconds, 2),
                "stolen_cores": round(meter.machine[1] / meter.seconds, 2), "knot_cpu_us": round(apart_us["knot"] / n, 1),
                "parts_us": {name: {p: round(share * cpu[name] / n, 1) for p, share in parts.items()} for name, parts in shares.items()}}

    def wait_settled(self, c, ident):
        shown = time.monotonic()
        deadline = shown + LIMIT_S
        while True:
            view = c.campaign(ident)
            if view["finished"]:
                return view
            if time.monotonic() > deadline:
                raise Failed(f"not settled within {LIMIT_S} s\n{c.picture(ident)}")
            if time.monotonic() > shown + 5:
                shown = time.monotonic()
                say(f"  {view['delivered']:,} delivered, {view['queued']:,} queued, {view['leased']:,} with nodes")
            time.sleep(0.1)

    # ---- Postfix

    def start_postfix(self):
        routes = {d: (a, self.world.port) for d, a in self.sink_of.items()}
        routes[CHECK_DOMAIN] = (self.world.address["check"], self.world.port)
        self.relay = TunedPostfix(self.work, self.relay_address, routes, self.key, self.build, self.world.dns.server).start()
        inject(self.relay.addr, self.relay.port, [self.rendered.message(i, CHECK_DOMAIN) for i in range(CHECK_MESSAGES)], self.relay.sessions)
        wait_until(lambda: len(self.world.receivers.transcript("accepted")) >= self.checked + CHECK_MESSAGES, 60,
                   "Postfix delivers the trial messages", self.relay.child, every_s=0.1)
        self.verified(CHECK_MESSAGES, "Postfix with OpenDKIM")

    def postfix(self):
        n = self.args.postfix_messages
        messages = [self.rendered.message(i) for i in range(n)]
        self.sinks.mark()
        meter = measure.Meter({"postfix": self.relay.child.pid, "opendkim": self.relay.milter.child.pid}).start()
        apart = measure.Meter(self.sinks.pids()).start()
        inject(self.relay.addr, self.relay.port, messages, self.relay.sessions)
        wait_until(lambda: self.sinks.count() >= n, LIMIT_S, f"Postfix delivers {n} messages", self.relay.child, every_s=0.02)
        cpu, apart_us = meter.stop(), apart.stop()
        if self.sinks.count() != n:
            raise Failed(f"Postfix was to deliver {n} messages, smtp-sink has {self.sinks.count()}")
        return {"messages": n, "seconds": round(meter.seconds, 3), "cpu_us_per_message": round(sum(cpu.values()) / n, 1),
                "messages_per_second": round(n / meter.seconds, 1),
                "cpu_us_by_process": {k: round(v / n, 1) for k, v in cpu.items()},
                "smtp_sink_cpu_us": round(sum(apart_us.values()) / n, 1)}

    # ---- all

    def run(self, i):
        """One run: signature, Remuda, signature, Postfix, signature; of the signatures the median, for a machine that
        hiccups in one of these short measurements says nothing of the long ones."""
        cores = os.cpu_count()
        busy = [self.sign(cores)]
        alone = [self.sign(1)]
        measured = self.remuda(i)
        one = {"run": i, "remuda": measured.pop("signed")} | measured
        busy.append(self.sign(cores))
        alone.append(self.sign(1))
        r = one["remuda"]
        say(f"run {i}: Remuda    {r['cpu_us_per_message']:7.1f} us a message, {r['messages_per_second']:7.1f} messages/s"
            f"; {r['others_busy_cores']} cores were busy with other things")
        if not self.args.no_postfix:
            one["postfix_opendkim"] = p = self.postfix()
            busy.append(self.sign(cores))
            alone.append(self.sign(1))
            say(f"run {i}: Postfix   {p['cpu_us_per_message']:7.1f} us a message, {p['messages_per_second']:7.1f} messages/s")
        one["rsa2048_sign_us"] = round(statistics.median(alone), 1)
        one["rsa2048_sign_all_cores_us"] = round(statistics.median(busy), 1)
        one["cpu_over_rsa"] = round(r["cpu_us_per_message"] / one["rsa2048_sign_us"], 3)
        one["besides_signature_us"] = round(r["cpu_us_per_message"] - one["rsa2048_sign_us"], 1)
        one["cpu_over_rsa_all_cores"] = round(r["cpu_us_per_message"] / one["rsa2048_sign_all_cores_us"], 3)
        say(f"run {i}: signature {one['rsa2048_sign_us']:7.1f} us alone, {one['rsa2048_sign_all_cores_us']:.1f} us on all cores at once")
        return one


def report(args, bench, runs):
    """(report, spreads): the medians and what they are medians of."""
    rows = {"cpu_us_per_message": [r["remuda"]["cpu_us_per_message"] for r in runs],
            "rsa2048_sign_us": [r["rsa2048_sign_us"] for r in runs], "cpu_over_rsa": [r["cpu_over_rsa"] for r in runs],
            "messages_per_second": [r["remuda"]["messages_per_second"] for r in runs],
            "rsa2048_sign_all_cores_us": [r["rsa2048_sign_all_cores_us"] for r in runs],
            "cpu_over_rsa_all_cores": [r["cpu_over_rsa_all_cores"] for r in runs],
            "besides_signature_us": [r["besides_signature_us"] for r in runs],
            "coordinator_cpu_us_per_recipient": [r["remuda"]["cpu_us_by_process"]["coordinator"] for r in runs]}
    if "others" in runs[0]:
        rows |= {k: [r["others"][k] for r in runs] for k in runs[0]["others"]}
        rows |= {f"{kind}_{k}": [r[kind][k] for r in runs] for kind in ("unsigned", "equal", "large")
                 for k in ("cpu_us_per_message", "messages_per_second")}
        rows["unsigned_over_smtp_source"] = [r["unsigned"]["cpu_us_per_message"] / r["others"]["smtp_source_cpu_us_per_message"]
                                             for r in runs]
        rows["large_over_small_throughput"] = [r["large"]["messages_per_second"] / r["remuda"]["messages_per_second"] for r in runs]
    peers = [r["postfix_opendkim"] for r in runs if "postfix_opendkim" in r]
    if peers:
        rows["postfix_opendkim_cpu_us_per_message"] = [p["cpu_us_per_message"] for p in peers]
        rows["postfix_opendkim_messages_per_second"] = [p["messages_per_second"] for p in peers]
    for name in runs[0]["remuda"]["cpu_us_by_process"]:
        rows[f"cpu_us of {name}"] = [r["remuda"]["cpu_us_by_process"][name] for r in runs]
    rows["cpu_us of smtp-sink (not counted)"] = [r["remuda"]["smtp_sink_cpu_us"] for r in runs]
    rows["cores busy with other things"] = [r["remuda"]["others_busy_cores"] for r in runs]
    for name in runs[0]["remuda"]["rss_max_kib"]:
        rows[f"rss_max_kib of {name}"] = [r["remuda"]["rss_max_kib"][name] for r in runs]
    spreads = {k: measure.spread(v) for k, v in rows.items()}
    out = {k: round(s["median"], 3) for k, s in spreads.items() if " " not in k}
    out["others_busy_cores"] = spreads["cores busy with other things"]["median"]
    out |= {"messages": args.messages, "message_bytes": bench.size["signed"], "domains": len(mail.DOMAINS), "nodes": args.nodes,
            "workers": args.workers, "sources": args.nodes * args.sources,
            "cpu_us_by_process": {k[10:]: s["median"] for k, s in spreads.items() if k.startswith("cpu_us of ")},
            "rss_max_kib": {k[15:]: s["median"] for k, s in spreads.items() if k.startswith("rss_max_kib of ")},
            "spread": {k: s for k, s in spreads.items() if " " not in k}, "runs": runs}
    return out, spreads


def arguments():
    p = argparse.ArgumentParser(description="CPU a message and messages a second, beside Postfix with OpenDKIM")
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--messages", type=int, default=20000, help="a run, for Remuda")
    p.add_argument("--postfix-messages", type=int, default=3000, help="a run, for Postfix")
    p.add_argument("--large-messages", type=int, default=4000, help="a run, of 100 KB")
    p.add_argument("--intake-rows", type=int, default=100000, help="a run, taken in and not dealt")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--nodes", type=int, default=2)
    p.add_argument("--workers", type=int, default=1, help="a node")
    p.add_argument("--sources", type=int, default=2, help="a node")
    p.add_argument("--signatures", type=int, default=2000, help="of each measurement of the bare signature")
    p.add_argument("--no-postfix", action="store_true", help="Remuda and the signature alone; the report lacks the rest")
    p.add_argument("--signed-only", action="store_true", help="of Remuda only the personalised, signed message of 10 KiB")
    p.add_argument("--profile", action="store_true", help="one more run under perf: CPU by part")
    args = p.parse_args()
    if min(args.messages, args.large_messages, args.intake_rows, args.postfix_messages, args.runs, args.nodes, args.workers,
           args.sources, args.signatures) < 1:
        p.error("every number must be at least 1")
    return args


def measured(work, args):
    """The report, and the figures over all runs for people."""
    bench = Bench(work, args)
    if not args.no_postfix:
        bench.start_postfix()
    say(f"{args.runs} runs of {args.messages:,} messages, body of {mail.BODY_BYTES:,} bytes, {len(mail.DOMAINS)} domains")
    runs = [bench.run(i + 1) for i in range(args.runs)]
    parts = bench.remuda(len(runs) + 1, True)["signed"]["parts_us"] if args.profile else None
    if not args.no_postfix:
        bench.relay.stop()
    result, spreads = report(args, bench, runs)
    if parts:
        result["profile_us_per_message"] = parts
    return result, spreads


def shown(spreads, parts):
    text = measure.table([[k, *(f"{s[x]:,.2f}" if s[x] < 100 else f"{s[x]:,.0f}" for x in ("median", "min", "max"))]
                          for k, s in spreads.items()], ["", "median", "min", "max"])
    text += "\n\n" + measure.table(kinds.judged(spreads), ["target", "", "median", "min", "max", ""])
    if parts:
        rows = sorted(((us, p, name) for name, each in parts.items() for p, us in each.items()), reverse=True)
        text += "\n\none more run, sampled by perf, which itself costs time\n" + measure.table(
            [[f"{name}: {p}", f"{us:.1f}"] for us, p, name in rows], ["part", "us a message"])
    return text


def main():
    args = arguments()
    spreads = {}

    def both(work):
        result, found = measured(work, args)
        spreads.update(found)
        return result

    return runner.run("report", args.build, both, lambda r: shown(spreads, r.get("profile_us_per_message")))


if __name__ == "__main__":
    sys.exit(main())
