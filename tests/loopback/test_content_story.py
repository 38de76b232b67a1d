"""Content that two providers refuse: its campaign pauses at once, everywhere; no source suffers, and everybody else's mail goes on."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import PLAIN, ClusterCase  # noqa: E402
from remudatest.cluster import patience, wall_ms  # noqa: E402

REFUSED = {"google": "552 5.7.0 This message was blocked because its content presents a potential security issue.",
           "yahoo": "554 5.7.9 Message not accepted for policy reasons. See http://postmaster.yahooinc.com/error-codes [PH01]"}


class ContentRefusedAtTwoProviders(ClusterCase):
    providers = {"google": {"domains": {"gmail.com": ["mx.l.google.com"]}, "content_words": "cheap pills"},
                 "yahoo": {"domains": {"yahoo.com": ["mta5.am0.yahoodns.net"]}, "content_words": "cheap pills"},
                 "small": {"domains": ["a.test"]}}
    nodes = ("n1", "n2")

    @classmethod
    def prepare(cls):
        cls.sources = {cls.address(1): "n1", cls.address(2): "n1", cls.address(1, network=1): "n2"}
        for address, node in cls.sources.items():
            cls.cluster.source(address, node)
        cls.cluster.stream("bulk", cls.world.keys["news.example"])

    def rcpts(self, prefix, **match):
        return [e for e in self.events("rcpt", **match) if e["rcpt"].startswith(prefix)]

    def test_the_campaign_pauses_and_no_source_suffers(self):
        for provider, text in REFUSED.items():
            self.world.receivers.control(f"set {provider} content_text {text}")
        for provider in self.providers:
            self.world.receivers.control(f"slow {provider} 20")
            self.addCleanup(self.world.receivers.control, f"slow {provider} 0")
        domains = ("gmail.com", "yahoo.com", "a.test")
        good = self.send([f"good{i}@{d}" for d in domains for i in range(300)])
        bad = self.send([f"bad{i}@{d}" for d in domains for i in range(600)], template=PLAIN.replace("a plain mail", "cheap pills"))
        self.cluster.until(lambda: self.cluster.campaign(bad["id"])["state"] == "paused" or None, "the campaign pauses")
        paused = wall_ms(next(e for e in self.cluster.events(type="campaign.paused") if e["campaign"] == bad["id"])["at"])
        self.cluster.until(lambda: self.cluster.campaign(bad["id"])["leased"] == 0 or None, "what was dealt is back")
        # two agree, so it took few of each; a provider that had accepted it so far gets no more of it either
        view = self.cluster.campaign(bad["id"])
        self.assertIn("refuses its content", view["reason"])
        self.assertIn("isn't the only one", view["reason"], json.dumps(view))
        for provider in REFUSED:
            self.assertTrue(10 <= len(self.rcpts("bad", provider=provider)) < 150, (provider, len(self.rcpts("bad", provider=provider))))
        late = [e for e in self.rcpts("bad") if e["wall_ms"] > paused + 1000 * patience(1)]
        self.assertEqual(late, [])
        # no source suffers: none is stopped or rests anywhere, and each may go on
        self.assertEqual([e for t in ("source.quarantined", "source.resting", "stream.paused") for e in self.cluster.events(type=t)], [])
        for address in self.sources:
            shown = self.cluster.source_view(address)
            self.assertEqual([shown["lane_state"]] + [lane["state"] for lane in shown["lanes"]], ["open"] * (1 + len(shown["lanes"])))
        # everybody else's mail goes on, at the same providers from the same sources
        self.assertEqual(self.cluster.settled(good["id"], 60)["delivered"], 900)
        self.assertEqual(self.deliver([f"more{i}@{d}" for d in domains for i in range(5)])["delivered"], 15)
        # nothing of it moved: whoever was refused was asked once
        for provider in REFUSED:
            tries = [e["rcpt"] for e in self.rcpts("bad", provider=provider)]
            self.assertEqual(len(tries), len(set(tries)), "one attempt each")
        incidents = self.cluster.incidents()
        self.assertTrue(incidents)
        for i in incidents:
            self.assertEqual((i["scope"], i["source"], i["moved"]), ("campaign", "", 0), json.dumps(i))
            self.assertIn(i["cause"][:12], [t[:12] for t in REFUSED.values()])
        # nobody is punished for it
        self.assertEqual(self.cluster.remuda("suppress", "check", "bad0@gmail.com", check=False).code, 3)
