"""What operators see and are told: explain, events, status, the command's errors, --check of both programs."""

import glob
import json
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest import Unavailable, Work, free_port, wait_until  # noqa: E402
from remudatest.case import PLAIN, ClusterCase  # noqa: E402
from remudatest.cluster import ROOT, Program, built, patience  # noqa: E402


class Text(ClusterCase):
    """With helpers for what people read."""

    def say(self, *args, code=0, **kw):
        """Runs `remuda` as a person does; its text."""
        answer = self.cluster.remuda(*args, check=False, as_json=False, **kw)
        self.assertEqual(answer.code, code, f"{args}: {answer.text}")
        return answer.text

    def lines(self, *args, **kw):
        return self.say(*args, **kw).splitlines()


class Explain(Text):
    providers = {"small": {"domains": ["a.test"]}, "slow": {"domains": ["slow.test"], "delay_data": "4s"}}

    def test_a_paused_campaign_is_what_its_recipients_wait_for(self):
        self.cluster.stream("resting", self.world.keys["news.example"], pool="empty")
        ident = self.send("rest@a.test", stream="resting")["id"]
        self.cluster.until(lambda: self.cluster.campaign(ident)["queued"] and "no source" in self.say("queue") or None, "it is queued")
        self.cluster.remuda("campaign", "pause", ident, "--reason", "wrong subject")
        text = self.say("explain", "rest@a.test")
        self.assertIn("its campaign is paused: wrong subject", text)
        self.assertIn(f"campaign  {ident} (paused)", text)
        self.assertIn("campaign paused", self.say("queue"))
        self.cluster.stream("resting", self.world.keys["news.example"], pool="main")
        self.cluster.remuda("campaign", "resume", ident)
        self.assertEqual(self.cluster.settled(ident)["delivered"], 1)
        self.assertEqual(self.say("queue"), "nothing waits\n")

    def test_a_campaign_that_is_paused_before_it_was_looked_up(self):
        self.cluster.stream("later", self.world.keys["news.example"])
        self.cluster.remuda("stream", "pause", "later")
        ident = self.send("later@a.test", stream="later")["id"]
        self.assertIn("1 recipient of paused campaigns or streams", self.say("queue"))
        self.cluster.remuda("campaign", "cancel", ident)

    def test_a_message_at_a_node_says_which(self):
        ident = self.send(["at@slow.test"])["id"]
        self.cluster.until(lambda: self.cluster.campaign(ident)["leased"] or None, "it is leased")
        match = self.cluster.explain("at@slow.test")["matches"][0]
        self.assertEqual((match["state"], match["lease"]["node"], match["lease"]["source"]), ("leased", "n1", self.address(1)))
        self.assertRegex(self.say("explain", "at@slow.test"), r"state +leased\n +with node n1 since [0-9-]+ [0-9:]+, to be sent from 127")
        self.assertEqual(self.cluster.settled(ident)["delivered"], 1)

    def test_a_domain_that_dns_gives_no_answer_for_defers(self):
        self.world.record("broken.lame.test", "NS", "ns.nowhere.invalid.")  # nothing: the name isn't in a zone that is served
        ident = self.send(["x@a.nozone-at-all.example"])["id"]
        self.cluster.until(lambda: self.cluster.campaign(ident)["deferred"] or None, "it is deferred")
        match = self.cluster.explain("x@a.nozone-at-all.example")["matches"][0]
        self.assertEqual(match["state"], "deferred", match)
        self.assertIsNotNone(match["not_before"])
        self.cluster.remuda("campaign", "cancel", ident)

    def test_a_suppressed_address_says_so_whatever_became_of_it(self):
        self.assertEqual(self.deliver(["gone@a.test"])["delivered"], 1)
        self.cluster.remuda("suppress", "add", "gone@a.test", "--reason", "asked")
        self.cluster.remuda("suppress", "add", "bulkonly@a.test", "--stream", "bulk")
        a = self.cluster.explain("gone@a.test")
        self.assertEqual((a["suppressed"], a["suppressed_streams"]), (True, [""]))
        self.assertIn("gone@a.test is suppressed for all streams", self.say("explain", "gone@a.test"))
        self.assertIn("bulkonly@a.test is suppressed for stream bulk", self.say("explain", "bulkonly@a.test"))
        self.say("explain", "nobody-ever@a.test", code=3)

    def test_a_message_id_is_enough(self):
        self.assertEqual(self.deliver(["named@a.test"])["delivered"], 1)
        _, mail = self.mail("named@a.test")
        sender = next(e["mail_from"] for e in reversed(self.events("mail")))
        for name in (mail["Message-ID"], mail["Message-ID"].strip("<>"), sender, mail["Message-ID"][1:27]):
            self.assertIn("to named@a.test", self.say("explain", name))

    def test_people_see_one_form_of_time(self):
        ident = self.send(["at2@slow.test"])["id"]
        self.cluster.until(lambda: self.cluster.campaign(ident)["leased"] or None, "it is leased")
        self.assertNotRegex(self.say("explain", "at2@slow.test"), r"\dT\d\d:")
        self.cluster.settled(ident)


class Events(Text):
    def test_the_last_ones_are_those_that_the_filters_let_through(self):
        self.deliver([f"e{i}@a.test" for i in range(5)])
        self.deliver(["one@a.test"])
        self.cluster.remuda("stream", "pause", "bulk", "--reason", "lunch")
        self.cluster.remuda("stream", "resume", "bulk")
        for _ in range(20):  # what is newest is of other types
            self.cluster.remuda("suppress", "add", "x@a.test")
        self.assertEqual(len(self.lines("events", "--type", "delivered", "--last", 2)), 2)
        self.assertIn("one@a.test", self.lines("events", "--type", "delivered", "--last", 1)[0])
        self.assertEqual(len(self.lines("events", "--recipient", "one@a.test", "--last", 1)), 1)
        self.assertGreaterEqual(len(self.lines("events", "--type", "delivered", "--last", 0)), 6)
        self.assertEqual(self.lines("events", "--type", "incident."), [])

    def test_an_unknown_type_names_those_that_exist(self):
        text = self.say("events", "--type", "bogus", code=1)
        self.assertIn("delivered, deferred", text)

    def test_every_type_of_the_core_is_known(self):
        types = set()
        for path in glob.glob(os.path.join(ROOT, "coordinator/core/*.c")):
            with open(path, encoding="utf-8") as f:
                types |= set(re.findall(r'"((?:campaign|incident|lease|node|source|stream|suppression)\.[a-z-]+)"', f.read()))
        self.assertGreater(len(types), 20)
        for t in sorted(types):
            self.assertEqual(self.cluster.api("GET", f"events?last=1&type={t}")[0], 200, f"{t}: missing in coordinator/io/api_events.c")

    def test_lines_say_what_they_are_about(self):
        ident = self.send(["about@a.test"], "--name", "autumn")["id"]
        self.cluster.settled(ident)
        self.assertRegex(self.say("events", "--type", "campaign.done", "--last", 1), rf"campaign={ident} \"autumn\" stream=bulk")
        self.cluster.remuda("stream", "pause", "bulk", "--reason", "tea")
        self.cluster.remuda("stream", "resume", "bulk")
        self.assertIn("stream=bulk tea", self.say("events", "--type", "stream.paused", "--last", 1))
        self.assertIn("stream=bulk", self.say("events", "--type", "stream.active", "--last", 1))
        self.cluster.remuda("suppress", "add", "y@a.test")
        self.assertIn("to=y@a.test stream=all", self.say("events", "--type", "suppression.added", "--last", 1))


if __name__ == "__main__":
    unittest.main()
