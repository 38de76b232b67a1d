"""What every test of the crash table shares: a small cluster, a probe that stops a program, and the receivers' judgement.

The programs are the production binaries. REMUDA_PROBE=NAME[:N] makes one of them stop itself (SIGSTOP) at the N-th passage
of the named place, after the line "probe NAME reached"; reached() waits for that line and for state T in /proc/PID/stat,
so a test whose probe never fires fails. Leases are short here, so that expiry is a matter of seconds."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest import Work, wait_until  # noqa: E402
from remudatest.cluster import Cluster, World, patience  # noqa: E402
from remudatest.judge import judge  # noqa: E402

OUTLOOK = {"domains": {"outlook.com": ["outlook-com.olc.protection.outlook.com"]}}
BLOCKED = ("550 5.7.1 Unfortunately, messages from [%ip] weren't sent. Please contact your Internet service provider since "
           "part of their network is on our block list (S3150).")
LEASE_S = 6
SETTINGS = {"lease.valid": f"{LEASE_S}s", "lease.transaction_deadline": "3s", "lease.heartbeat_lost": "2s"}
A, B = "127.1.0.11", "127.2.0.11"  # two sources on unrelated networks

TEMPLATE = """From: Remuda News <news@news.example>
To: {{name}} <{{email}}>
Subject: Hello {{name}}
Mime-Version: 1.0
Content-Type: text/plain; charset=utf-8

Hello {{name}}, this is what happened.
"""


def boot_us():
    """The receivers' clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def state(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[0]


class Scene:
    """Receivers, a name server, a coordinator, nodes with one source each, and the stream "bulk".

    sources: {address: node}. armed: {program: probe}, where the program is "coordinator" or a node. stream, source: more
    options of theirs. small: domains of receivers of "other", instead of one named provider.
    chunking: the receivers offer CHUNKING, and content goes by BDAT ("on") or with its envelope ("ahead"). One connection a node, so that at most one transaction is open when a node dies."""

    TEMPLATE = TEMPLATE

    def __init__(self, sources=None, armed=None, stream=None, source=None, chunking=None, small=()):
        self.armed = armed or {}
        self.domains = small or ("outlook.com",)
        self.work = Work()
        self.rows = []
        try:
            sources = sources or {A: "n1"}
            providers = {d: {"domains": [d]} for d in small} if small else {"outlook": OUTLOOK | {"chunking": bool(chunking)}}
            self.world = World(self.work, providers).start()
            settings = dict(SETTINGS)
            if chunking:
                settings["providers"] = self.work.write("providers.conf", f"default {{ chunking = {chunking} }}\n")
            self.cluster = Cluster(self.work, self.world, sorted(set(sources.values())), settings, {"connections": 1})
            self.start(sources, stream or {}, source or {})
        except BaseException:
            self.close()
            raise

    def start(self, sources, stream, source):
        c = self.cluster
        c.start_coordinator(self.env("coordinator"))
        for name, node in c.nodes.items():
            c.remuda("node", "add", name, "--key", c.path(f"{name}.pub"))
            node.start(self.env(name))
        for name in c.nodes:
            c.connected(name)
        c.stream("bulk", self.world.keys["news.example"], **stream)
        for address, node in sources.items():
            c.source(address, node, **source)

    def env(self, name):
        return {"REMUDA_PROBE": self.armed[name]} if name in self.armed else None

    def close(self):
        self.work.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
        return False

    # ---- programs

    def program(self, name):
        return self.cluster.coordinator if name == "coordinator" else self.cluster.nodes[name]

    def reached(self, name, timeout_s=30):
        """Waits until the armed program stands still at its probe."""
        program = self.program(name)
        line = f"probe {self.armed[name].partition(':')[0]} reached"

        def stopped():
            return line in program.log() and state(program.child.pid) == "T"
        wait_until(stopped, patience(timeout_s), f"{name}: {line}, and it stopped", program.child)
        program.child.stopped = True

    def killed_at_probe(self, name):
        self.reached(name)
        self.program(name).kill()

    def restart(self, name):
        """Starts it again, without a probe."""
        self.armed.pop(name, None)
        if name == "coordinator":
            self.cluster.start_coordinator()
            for node, program in self.cluster.nodes.items():
                if program.running:
                    self.cluster.connected(node)
        else:
            self.program(name).start()
            self.cluster.connected(name)

    def background(self, *args):
        """The command, while the coordinator may be standing still."""
        c = self.cluster
        self.calls = getattr(self, "calls", 0) + 1
        return self.work.start(f"command{self.calls}", [c.command, "--api", c.socket, "--json", *map(str, args)])

    # ---- mail

    def recipients(self, n):
        self.rows = [{"email": f"user{i}@{self.domains[i % len(self.domains)]}", "name": f"User {i}"} for i in range(n)]
        return self.rows

    def send(self, n=20, *args):
        return self.cluster.send(TEMPLATE, self.recipients(n), *args)["id"]

    def send_in_background(self, n=20, *args):
        """For a coordinator that will stop before or right after its answer."""
        eml = self.work.write("submission.eml", TEMPLATE)
        csv = self.cluster.write_csv("submission.csv", self.recipients(n))
        return self.background("send", "--template", eml, "--recipients", csv, "--stream", "bulk", *args)

    def only_campaign(self):
        campaigns = self.cluster.get("campaigns")["campaigns"]
        assert len(campaigns) == 1, campaigns
        return campaigns[0]["id"]

    def slow(self, ms):
        """Every reply of the receivers comes that late."""
        self.world.receivers.control(f"slow outlook {ms}")

    def leased(self, n=20):
        """A campaign that is all in leases and of which nothing starts: the receivers stand still, without a greeting."""
        self.world.receivers.child.pause()
        campaign = self.send(n)
        self.cluster.until(lambda: self.cluster.campaign(campaign)["leased"] == n, "all is leased")
        return campaign

    def go_on(self):
        self.world.receivers.child.resume()

    def a_deal_later(self):
        """Returns after the coordinator has decided anew some times."""
        begin = self.cluster.status()["uptime_ms"]
        self.cluster.until(lambda: self.cluster.status()["uptime_ms"] > begin + 1500, "the coordinator went on")

    def add_node(self, name):
        """One more node, without a source."""
        node = self.cluster.node(name, {"connections": 1})
        self.cluster.nodes[name] = node
        self.cluster.remuda("node", "add", name, "--key", self.cluster.path(f"{name}.pub"))
        node.start(self.env(name))
        self.cluster.connected(name)

    def transcript(self, event, **match):
        return self.world.receivers.transcript(event, **match)

    def accepted(self):
        return len(self.transcript("accepted"))

    def events(self, kind, campaign=None):
        return self.cluster.events(type=kind, campaign=campaign)

    def named(self, campaign):
        """The recipients that Remuda itself calls uncertain."""
        return {e["recipient"] for e in self.events("uncertain", campaign)}

    def wait_accepted(self, n):
        self.cluster.until(lambda: self.accepted() >= n, f"{n} messages were accepted")

    # ---- judgement

    def judged(self, test, uncertain=(), waiting=(), grace_ms=0):
        """The verdict over the whole transcript, in which nothing may be wrong. uncertain: who may have it twice, as the test knows it from
        what it did; never what Remuda says."""
        self.world.receivers.verified()
        verdict = judge(self.rows, self.transcript(None), waiting=waiting, named_uncertain=set(uncertain), excused=set(uncertain),
                        grace_ms=grace_ms)
        test.assertEqual(verdict["violations"], [], verdict)
        return verdict

    def delivered_once(self, test, campaign, uncertain=()):
        """Every recipient has it, exactly once but for the named ones; and Remuda's own count says the same."""
        done = self.cluster.settled(campaign)
        verdict = self.judged(test, uncertain)
        test.assertEqual(verdict["delivered"], len(self.rows), verdict)
        test.assertEqual(done["delivered"], len(self.rows), done)
        test.assertEqual(done["uncertain"], len(uncertain), done)
        events = [e["recipient"] for e in self.events("delivered", campaign) if not e.get("text")]
        test.assertEqual(len(events), len(set(events)), "a message was settled twice")
        return verdict

