"""Blocklists with real processes: rbldnsd serves the lists, the nodes ask through a resolver of the test's."""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest import Rbldnsd, Resolver  # noqa: E402
from remudatest.case import ClusterCase  # noqa: E402
from remudatest.cluster import patience, wall_ms  # noqa: E402

ACT, LATE, SLOW, BAD, OPEN, MUTE = (f"{n}.lists.example" for n in ("act", "late", "slow", "bad", "open", "mute"))
DBL = "dbl.lists.example"
KEY = "k3y0f0urs"


def one(zone, tier, interval="1s", kinds="ip4", more=""):
    return (f'list "{zone}" {{ zone = "{zone}"; kinds = [{kinds}]; tier = {tier}; interval = {interval}; enabled = true; {more}\n'
            f'  codes = ["127.0.0.2 listed bad sender", "127.0.0.3 snowshoe spread over many", '
            f'"127.255.255.254 error asked through an open resolver"]; per_hour = 90000; per_day = 900000;\n'
            f'  removal = "https://removal.example/{zone}"; hint = "a form" }}\n')


class Listings(ClusterCase):
    providers = {"google": {"domains": {"gmail.com": ["mx.l.google.com"]}},
                 "yahoo": {"domains": {"yahoo.com": ["mta5.am0.yahoodns.net"]}},
                 "small": {"domains": ["a.test"]}, "fair": {"domains": ["b.test"]}}
    nodes = ("n1", "n2")

    @classmethod
    def before(cls):
        where = f"127.{64 + os.getpid() % 128}.201."
        cls.rbl = Rbldnsd(cls.work, where + "1", [ACT, LATE, SLOW, BAD, OPEN, MUTE, f"{KEY}.{ACT}"], names=[DBL]).start()
        cls.resolver = Resolver(where + "2", {"lists.example": (cls.rbl.addr, cls.rbl.port)},
                                lambda: (cls.world.dns.addr, cls.world.dns.port))
        cls.addClassCleanup(cls.resolver.close)
        cls.resolver.canned[OPEN] = "127.255.255.254"
        cls.resolver.silent.add(MUTE)
        cls.work.write("lists.key", KEY + "\n")
        lists = "default { enabled = false }\n"  # the shipped ones stay out
        lists += one(ACT, "act", more="neighbours = true;") + one(LATE, "act", "1h") + one(SLOW, "slow") + one(BAD, "act")
        lists += one(OPEN, "act") + one(MUTE, "act") + one(DBL, "act", kinds="domain")
        lists += one("keyed", "alert").replace('zone = "keyed"', f'zone = "{{key}}.{ACT}"; key_file = "lists.key"')
        cls.settings = {"blocklists": cls.work.write("lists.conf", lists), "watch.enabled": True, "watch.neighbours": 8,
                        "watch.neighbours_every": "1s", "watch.queries_per_hour": 900000, "watch.queries_per_day": 9000000}
        cls.node_settings = {"dns.servers": [cls.resolver.server], "dns.timeout": "500ms"}

    @classmethod
    def prepare(cls):
        cls.first, cls.second, cls.other = cls.address(1), cls.address(2), cls.address(1, network=1)
        for address, node in ((cls.first, "n1"), (cls.second, "n1"), (cls.other, "n2")):
            cls.cluster.source(address, node)
        cls.cluster.stream("bulk", cls.world.keys["news.example"], priority=5)
        cls.cluster.stream("receipts", cls.world.keys["news.example"], priority=0)
        cls.trusted(ACT)

    @classmethod
    def health(cls, name):
        return next(x for x in cls.cluster.get("listings/lists")["lists"] if x["list"] == name)["health"]

    @classmethod
    def trusted(cls, *lists, state="trusted"):
        cls.cluster.until(lambda: all(cls.health(n) and all(h["state"] == state for h in cls.health(n)) for n in lists) or None,
                          f"{', '.join(lists)}: {state}")

    def listings(self, *args):
        """Without the list that is asked once an hour: its listing outlasts its test."""
        return [x for x in self.cluster.remuda("listings", *args).json["listings"] if x["list"] != LATE]

    def lane_state(self, address):
        return self.cluster.source_view(address)["lane_state"]

    def is_state(self, address, state, timeout_s=20):
        self.cluster.until(lambda: self.lane_state(address) == state or None, f"{address} is {state}", timeout_s)

    def asked_neighbour(self):
        """One of the first network's, of today's sample."""
        asked = [n.split(".")[:4] for _, n in self.resolver.asked if n.endswith(f".{ACT}") and n.split(".")[1] == "100"]
        return next((a for a in (".".join(reversed(s)) for s in asked) if a not in (self.first, self.second)), None)

    def event_ms(self, kind, word):
        return next(wall_ms(e["at"]) for e in reversed(self.cluster.events(type=kind)) if word in e["text"])

    def test_a_listed_and_refused_source_stops_everywhere_and_returns(self):
        neighbour = self.cluster.until(self.asked_neighbour, "the lists are asked about neighbours")
        self.world.receivers.control("slow google 5")
        self.addCleanup(self.world.receivers.control, "slow google 0")
        c = self.send([f"m{i}@gmail.com" for i in range(300)] + [f"m{i}@yahoo.com" for i in range(300)])
        self.cluster.until(lambda: len(self.events("accepted", provider="google")) > 30, "it is under way")
        self.rbl.add(ACT, neighbour)
        self.rbl.add(ACT, self.first, text="reported by its users")
        text = f"550 5.7.1 Service unavailable; Client host [%ip] blocked using {ACT}"
        for provider in ("google", "yahoo"):
            self.world.receivers.block(provider, self.first, "rcpt", text)
        self.is_state(self.first, "quarantined")
        self.assertEqual(self.cluster.settled(c["id"], 60)["delivered"], 600)
        # within a second of the confirmation, everywhere
        found, stopped = self.event_ms("listing.found", f"{self.first} is on {ACT}"), self.event_ms("source.quarantined", ACT)
        self.assertLess(stopped - found, 1000 * patience(1))
        late = [e for e in self.events("mail", ip=self.first) if e["wall_ms"] > stopped + 1000 * patience(1)]
        self.assertEqual(late, [])
        # what it was refused went out from the other network, never from its neighbour, which the list's word is about, too
        refused = {e["rcpt"] for p in ("google", "yahoo") for e in self.events("refused", provider=p, ip=self.first, stage="rcpt")}
        self.assertTrue(refused)
        took = {e["rcpt"]: e["ip"] for e in self.events("accepted") if e["rcpt"] in refused}
        self.assertEqual(took, dict.fromkeys(refused, self.other))
        incident = next(i for i in self.cluster.incidents(every=False) if i["source"] == self.first and not i["provider"])
        self.assertIn("reported by its users", incident["cause"] + json.dumps(self.listings(self.first)))
        self.assertIn(f"https://removal.example/{ACT}", incident["next_step"])
        # the rest of the /24 is alerted only
        self.cluster.until(lambda: [x for x in self.listings("--all") if x["subject"] == neighbour] or None, "the neighbour is found")
        self.assertEqual((self.lane_state(self.second), self.lane_state(self.other)), ("open", "open"))
        self.assertEqual([x["subject"] for x in self.listings()], [self.first])
        shown = self.cluster.source_view(self.first)["listings"]
        self.assertEqual((shown[0]["list"], shown[0]["tier"], shown[0]["codes"]), (ACT, "act", "127.0.0.2"))
        words = self.cluster.remuda("source", "show", self.first, as_json=False).out
        self.assertIn(ACT, words)
        self.cluster.remuda("listings", "removal-asked", self.first, ACT, "--note", "form 17")
        self.assertIn("form 17", self.cluster.remuda("listings", as_json=False).out)
        # and back
        self.rbl.remove(ACT, neighbour)
        self.rbl.remove(ACT, self.first)
        for provider in ("google", "yahoo"):
            self.world.receivers.unblock(provider, self.first)
        self.comes_back()
        for i in range(5):  # a liar may have been heard before, so that the lane of small sites comes back, too
            self.assertEqual(self.deliver([f"back{i}@b.test"])["delivered"], 1)
        self.cluster.until(lambda: not [i for i in self.cluster.incidents(every=False)] or None, "every incident ended with the listing")
        self.assertEqual(self.listings(), [])
        past = [x for x in self.listings("--history", self.first) if x["list"] == ACT][0]
        self.assertEqual((past["state"], past["removal_note"], past["relisted"]), ("removed", "form 17", 0))
        self.assertEqual(self.deliver([f"z{i}@gmail.com" for i in range(5)])["delivered"], 5)
        self.rbl.add(ACT, self.first)
        self.is_state(self.first, "quarantined")
        self.assertEqual(self.listings(self.first)[0]["relisted"], 1)
        self.rbl.remove(ACT, self.first)
        self.comes_back()

    def comes_back(self):
        """By single recipients, as mail comes."""
        self.is_state(self.first, "probing")
        for i in range(5):
            self.assertEqual(self.deliver([f"back{i}@gmail.com"])["delivered"], 1)
        self.is_state(self.first, "open")
        probes = [e for e in self.events("accepted", ip=self.first) if e["rcpt"].startswith("back")]
        self.assertGreaterEqual(len(probes), 5)

    def test_a_refusal_that_names_a_list_has_it_asked_at_once(self):
        self.trusted(LATE)
        self.cluster.until(lambda: any(n.endswith("." + LATE) and n.startswith("2.100.") for _, n in self.resolver.asked) or None,
                           "the schedule's first question is over; the next one comes in an hour")
        self.rbl.add(LATE, self.second)
        self.addCleanup(self.rbl.remove, LATE, self.second)
        self.world.receivers.block("google", self.second, "mail", f"554 5.7.1 Client host [%ip] blocked using {LATE}")
        self.addCleanup(self.world.receivers.unblock, "google", self.second)
        self.cluster.remuda("source", "pause", self.first)
        self.cluster.remuda("source", "pause", self.other)
        try:
            self.send(["now@gmail.com"])
            self.is_state(self.second, "quarantined")
            verdict = [e for e in self.events("verdict", provider="google", ip=self.second) if LATE in json.dumps(e)][0]
            stopped = self.event_ms("source.quarantined", LATE)
            self.assertLess(stopped - verdict["wall_ms"], 2000 * patience(1))
        finally:
            self.cluster.remuda("source", "resume", self.first)
            self.cluster.remuda("source", "resume", self.other)
            for i in self.cluster.incidents(every=False):
                self.cluster.remuda("incident", "resolve", i["id"])

    def test_a_liar_moves_nothing(self):
        text = f"554 5.7.1 Service unavailable; Client host [%ip] blocked using {ACT}"
        for address in (self.first, self.second, self.other):
            self.world.receivers.block("small", address, "mail", text)
        self.assertEqual(self.deliver(["u@b.test"])["delivered"], 1)
        usual = {e["ip"] for e in self.events("accepted", provider="fair")}
        self.send([f"l{i}@a.test" for i in range(20)])
        self.cluster.until(lambda: any(i["provider"] for i in self.cluster.incidents(every=False)) or None, "an incident")
        # its word is its own: other small sites get their mail from where they got it, at once
        told = {i["source"]: i for i in self.cluster.incidents(every=False)}
        self.assertEqual({i["site"] for i in told.values()}, {"a.test"})
        self.assertTrue(usual <= set(told), "the liar refused the source that small sites hear from")
        self.assertEqual(self.deliver([f"l{i}@b.test" for i in range(40)])["delivered"], 40)
        self.assertEqual({e["ip"] for e in self.events("accepted", provider="fair")}, usual)
        for address in told:
            self.assertEqual(self.cluster.lane(address, "other")["state"], "open")
            self.assertEqual([x["domain"] for x in self.cluster.source_view(address)["stopped_sites"]], ["a.test"])
            self.assertIn("STOPPED AT", self.cluster.remuda("source", "show", address, as_json=False).out)
        self.assertEqual(self.deliver([f"l{i}@gmail.com" for i in range(20)])["delivered"], 20)
        for address in (self.first, self.second, self.other):
            self.assertEqual(self.lane_state(address), "open")
            self.world.receivers.unblock("small", address)
        self.assertEqual(self.listings(), [])
        for i in self.cluster.incidents(every=False):
            self.cluster.remuda("incident", "resolve", i["id"])

    def test_a_list_that_goes_bad_is_set_aside_and_stops_nothing(self):
        self.trusted(BAD)
        self.rbl.add(BAD, "127.0.0.0/8")
        self.trusted(BAD, state="set aside")
        self.assertIn("it lists everything", self.health(BAD)[0]["why"])
        self.assertIn("set aside", self.cluster.remuda("listings", "lists", as_json=False).out)
        self.assertTrue([e for e in self.cluster.events(type="list.set_aside") if BAD in e["text"]])
        self.assertEqual([x for x in self.listings("--history", "--all") if x["list"] == BAD], [])
        self.rbl.remove(BAD, "127.0.0.0/8")
        self.trusted(BAD)

    def test_a_list_that_says_that_it_was_asked_through_an_open_resolver(self):
        self.trusted(OPEN, state="set aside")
        self.assertIn("asked through an open resolver", self.health(OPEN)[0]["why"])

    def test_a_list_that_does_not_answer(self):
        self.trusted(MUTE, state="set aside")
        self.assertIn("it doesn't answer: timeout", self.health(MUTE)[0]["why"])
        checked = {x["list"]: x for x in self.cluster.remuda("listings", "check", self.first).json["lists"]}
        self.assertEqual(checked[MUTE]["state"], "unknown", json.dumps(checked))
        self.assertIn("set aside", checked[MUTE]["text"])
        self.assertEqual(checked[ACT]["state"], "clean")

    def test_a_resolver_that_rewrites_is_not_believed(self):
        self.trusted(ACT)
        self.resolver.rewrite = "203.0.113.99"
        try:
            self.trusted(ACT, SLOW, state="set aside")
            self.assertIn("rewrites", self.health(ACT)[0]["why"])
            self.assertEqual(self.listings(), [])
            self.assertEqual(self.lane_state(self.first), "open")
        finally:
            self.resolver.rewrite = None
        self.trusted(ACT, SLOW)

    def test_the_slow_tier_and_checks_by_hand(self):
        self.rbl.add(SLOW, self.second)
        self.cluster.until(lambda: self.listings(self.second) or None, "it is found")
        self.assertIn(self.lane_state(self.second), ("open", "probing"))
        self.assertTrue([i for i in self.cluster.incidents(every=False) if "half its pace" in i["title"]])
        self.rbl.remove(SLOW, self.second)
        self.cluster.until(lambda: not self.listings(self.second) or None, "it is over")
        stranger = self.address(200, network=7)
        self.rbl.add(ACT, stranger)
        checked = {x["list"]: x for x in self.cluster.remuda("listings", "check", stranger).json["lists"]}
        self.assertEqual((checked[ACT]["state"], checked[ACT]["codes"]), ("listed", "127.0.0.2"))
        self.assertEqual(self.listings("--all", stranger), [])
        self.assertEqual(self.cluster.remuda("listings", "check", "no name!", check=False).code, 1)
        self.assertEqual(self.cluster.remuda("listings", "removal-asked", stranger, ACT, check=False).code, 3)

    def test_a_snowshoe_list_pauses_the_stream_and_moves_nothing(self):
        self.rbl.add(ACT, self.second, value="127.0.0.3")
        streams = lambda: {s["name"]: s["state"] for s in self.cluster.get("streams")["streams"]}  # noqa: E731
        self.cluster.until(lambda: streams()["bulk"] == "paused" or None, "the bulk stream pauses")
        self.assertEqual(streams()["receipts"], "active")
        self.assertIn(self.lane_state(self.second), ("open", "probing"))
        self.rbl.remove(ACT, self.second)
        self.cluster.until(lambda: not self.listings(self.second) or None, "it is over")
        self.assertEqual(streams()["bulk"], "paused")
        self.cluster.remuda("stream", "resume", "bulk")

    def test_a_listed_domain_pauses_its_bulk_stream(self):
        self.rbl.add(DBL, "news.example")
        streams = lambda: {s["name"]: s["state"] for s in self.cluster.get("streams")["streams"]}  # noqa: E731
        self.cluster.until(lambda: streams()["bulk"] == "paused" or None, "the bulk stream pauses")
        self.assertEqual(streams()["receipts"], "active")
        self.assertEqual([x["kind"] for x in self.listings("news.example")], ["domain"])
        self.rbl.remove(DBL, "news.example")
        self.cluster.until(lambda: not self.listings() or None, "it is over")
        self.cluster.remuda("stream", "resume", "bulk")

    def test_a_key_is_never_shown(self):
        self.trusted("keyed")
        shown = json.dumps(self.cluster.get("listings/lists")) + self.cluster.remuda("listings", "lists", as_json=False).out
        self.assertIn("{key}", shown)
        logs = self.cluster.coordinator.log() + "".join(n.log() for n in self.cluster.nodes.values())
        for text in (shown, logs, json.dumps(self.cluster.events(after=-5000))):
            self.assertNotIn(KEY, text)
        self.assertTrue(any(f".{KEY}.{ACT}" in n for _, n in self.resolver.asked))


if __name__ == "__main__":
    unittest.main()
