"""The liar: one small receiver says to everybody that they are on a list, and our own DNS finds nothing there. Nothing stops anywhere else, all
others get what they would have got without it, and it is one incident, whichever sources it refused. The truth is the same mail in the same
cluster before the liar began to lie, the list's own server (a real rbldnsd), and the receivers' log."""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest import Rbldnsd, Resolver  # noqa: E402
from remudatest.case import ClusterCase  # noqa: E402
from remudatest.cluster import patience, wall_ms  # noqa: E402

ZEN = "zen.spamhaus.org"
LIE = f"554 5.7.1 Service unavailable; Client host [%ip] blocked using {ZEN}"
LIST = f"""
default {{ enabled = false }}
list "{ZEN}" {{ zone = "{ZEN}"; kinds = [ip4]; tier = act; interval = 1s; enabled = true
  codes = ["127.0.0.2 listed bad sender"]; per_hour = 90000; per_day = 900000
  removal = "https://check.spamhaus.org/"; hint = "a form" }}
"""
OTHERS = {"google": "gmail.com", "yahoo": "yahoo.com", "fair": "b.test", "kind": "c.test"}
EACH, LIARS = 500, 200


class Liar(ClusterCase):
    providers = {"google": {"domains": {"gmail.com": ["mx.l.google.com"]}},
                 "yahoo": {"domains": {"yahoo.com": ["mta5.am0.yahoodns.net"]}},
                 "fair": {"domains": ["b.test"]}, "kind": {"domains": ["c.test"]}, "liar": {"domains": ["a.test"]}}
    nodes = ("n1", "n2", "n3")

    @classmethod
    def before(cls):
        where = f"127.{64 + os.getpid() % 128}.211."
        cls.rbl = Rbldnsd(cls.work, where + "1", [ZEN]).start()
        cls.resolver = Resolver(where + "2", {ZEN: (cls.rbl.addr, cls.rbl.port)}, lambda: (cls.world.dns.addr, cls.world.dns.port))
        cls.addClassCleanup(cls.resolver.close)
        cls.settings = {"blocklists": cls.work.write("lists.conf", LIST), "watch.enabled": True,
                        "watch.queries_per_hour": 900000, "watch.queries_per_day": 9000000}
        cls.node_settings = {"dns.servers": [cls.resolver.server], "dns.timeout": "500ms"}

    @classmethod
    def prepare(cls):
        cls.sources = {cls.address(1): "n1", cls.address(1, network=1): "n2", cls.address(1, network=2): "n3"}
        for address, node in cls.sources.items():
            cls.cluster.source(address, node)
        cls.cluster.stream("bulk", cls.world.keys["news.example"])
        for provider in OTHERS:
            cls.world.receivers.control(f"slow {provider} 5")

    def run_of_mail(self, name):
        """The same mail each time: what was done for the others, and how long it took until they had it."""
        sent = self.send([f"{name}{i}@{d}" for i in range(EACH) for d in [*OTHERS.values(), *["a.test"] * (i < LIARS)]])
        began = wall_ms(self.cluster.campaign(sent["id"])["accepted"])

        def volume():
            got = {p: [e["wall_ms"] for e in self.events("accepted", provider=p) if e["rcpt"].startswith(name)] for p in OTHERS}
            return got if all(len(v) >= EACH for v in got.values()) else None

        got = self.cluster.until(volume, f"{name}: the others have their mail", timeout_s=90)
        return sent["id"], {p: self.work_of(p, name) for p in OTHERS}, max(max(v) for v in got.values()) - began

    def work_of(self, provider, name):
        """RCPTs, accepted and refused ones of one run: each is tried once, and taken."""
        return {kind: sum(e.get("rcpt", "").startswith(name) for e in self.events(kind, provider=provider)) for kind in ("rcpt", "accepted", "refused")}

    def paces(self):
        """Of every lane that told it: slowed or not, and until when it rests."""
        shown = {a: self.cluster.source_view(a)["lanes"] for a in self.sources}
        return {(a, lane["provider"]): (lane["pace"]["slowed"], lane["pace"]["rests_until"]) for a in shown for lane in shown[a] if lane["pace"]}

    def order(self, name):
        """How much each of the others had when half of all their mail was taken, however fast the machine is: who is held up falls behind."""
        took = sorted((e["t_us"], e["provider"]) for e in self.events("accepted") if e["rcpt"].startswith(name) and e["provider"] in OTHERS)
        half = [p for _, p in took[:len(took) // 2]]
        return {p: half.count(p) for p in OTHERS}

    def the_one(self):
        """The only incident that there ever was."""
        found = self.cluster.incidents()
        self.assertEqual(len(found), 1, json.dumps(found))
        return found[0]

    def test_it_is_one_incident_and_nobody_elses_business(self):
        _, usual, usual_ms = self.run_of_mail("before")
        for address in self.sources:
            self.world.receivers.block("liar", address, "rcpt", LIE)
        ident, got, took_ms = self.run_of_mail("during")
        # everybody else has what they had without it: every mail tried once and taken, no provider behind the others, no lane slowed
        self.assertEqual(got, usual)
        self.assertEqual(got, {p: {"rcpt": EACH, "accepted": EACH, "refused": 0} for p in OTHERS})
        usually, now = self.order("before"), self.order("during")
        for provider in OTHERS:  # EACH / 2: what it would have if all went alike, as they do on a busy machine
            self.assertGreater(now[provider], min(usually[provider], EACH / 2) / 2, (provider, usually, now))
        paces = self.paces()
        self.assertEqual({provider for _, provider in paces}, {"google", "yahoo", "other"})
        self.assertEqual({lane: p for lane, p in paces.items() if p != (False, None)}, {})
        # and as soon
        self.assertLess(took_ms, 1.5 * usual_ms + 2000 * patience(1))
        # nothing is quarantined: each lane is open everywhere, "other" included, and the list was asked and is clean
        self.assertEqual(self.cluster.events(type="source.quarantined"), [])
        for address in self.sources:
            shown = self.cluster.source_view(address)
            self.assertEqual([shown["lane_state"]] + [lane["state"] for lane in shown["lanes"]], ["open"] * (1 + len(shown["lanes"])))
        self.cluster.until(lambda: any(name.endswith("." + ZEN) for _, name in self.resolver.asked) or None, "our own DNS is asked")
        self.assertEqual(self.cluster.remuda("listings").json["listings"], [])
        # one incident, with all that were told so
        one = self.cluster.until(lambda: len(self.the_one()["sources"]) >= 2 and self.the_one(), "a second source was told so")
        self.assertEqual((one["site"], one["provider"], one["class"], one["state"]), ("a.test", "other", "ip_blocklisted", "open"))
        told = {e["ip"] for e in self.events("verdict", provider="liar") if ZEN in json.dumps(e)}
        self.assertEqual({s["address"] for s in one["sources"]}, told)
        self.assertIn(ZEN, one["cause"])
        self.assertEqual(one["removal"], "https://check.spamhaus.org/")
        self.assertGreaterEqual(one["moved"], 1)
        self.cluster.until(lambda: self.the_one()["waiting"] == LIARS or None, "all of its mail waits, each once")
        self.says_it_well(len(told))
        # and one word ends it, for every source; with it, that the liar was ever believed
        for address in self.sources:
            self.world.receivers.unblock("liar", address)
        self.cluster.remuda("incident", "ticket", one["id"], "mailed their postmaster")
        said = self.cluster.remuda("incident", "resolve", one["id"], "--reason", "its lookup was broken", as_json=False).out
        self.assertIn("a single recipient from each source", said)
        self.assertEqual(self.cluster.settled(ident, 100)["delivered"], len(OTHERS) * EACH + LIARS)
        one = self.the_one()
        self.assertEqual((one["state"], one["waiting"], one["ticket"]), ("resolved", 0, "mailed their postmaster"))
        self.cluster.until(lambda: all(s["over"] for s in self.the_one()["sources"]) or None, "each is open there again")
        first = one["sources"][0]["address"]
        self.world.receivers.block("fair", first, "rcpt", LIE.replace(ZEN, "their own list"))
        self.addCleanup(self.world.receivers.unblock, "fair", first)
        for other in set(self.sources) - {first}:
            self.cluster.remuda("source", "pause", other)
        self.send(["again@b.test"])
        self.cluster.until(lambda: len(self.cluster.incidents(every=False)) == 1 or None, "another site refuses it")
        self.assertEqual(self.cluster.lane(first, "other")["state"], "open")

    def says_it_well(self, n):
        listed = self.cluster.remuda("incident", "list", as_json=False).out
        self.assertIn(f" +{n - 1}", listed)
        shown = self.cluster.remuda("incident", "show", 1, as_json=False).out
        self.assertIn("at        the site of a.test (other)", shown)
        self.assertIn(f"sources   {n}\n", shown)
        for s in self.the_one()["sources"]:
            self.assertRegex(shown, rf"{s['address']} +2\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d +quarantined")
        if os.environ.get("REMUDA_SHOW"):
            print(listed, shown, sep="\n")


if __name__ == "__main__":
    unittest.main()
