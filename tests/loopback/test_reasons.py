"""Why mail waits, as `remuda queue`, `explain` and `campaign` tell it: single sites that refuse us, canaries, and whose reason it is."""

import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import PLAIN, ClusterCase  # noqa: E402
from remudatest.cluster import patience  # noqa: E402

BLOCK = "554 5.7.1 Service unavailable; Client host [%ip] blocked using bl.own.example"
TIME = r"2\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d"


class Reasons(ClusterCase):
    nodes = ("n1", "n2")
    providers = {"google": {"domains": {"gmail.com": ["mx.l.google.com"]}},
                 "picky": {"domains": ["a.test"]}, "strict": {"domains": ["b.test"]}, "fair": {"domains": ["c.test"]}, "slow": {"domains": ["slow.test"], "delay_data": "8s"}}
    settings = {"failover.canary": "30min", "failover.canary_floor": 3}

    @classmethod
    def prepare(cls):
        cls.first, cls.second = cls.address(1), cls.address(1, network=1)
        cls.cluster.source(cls.first, "n1", pool="one,both")
        cls.cluster.source(cls.second, "n2", pool="two,both")
        for stream, pool in (("bulk", "one"), ("pair", "both")):
            cls.cluster.stream(stream, cls.world.keys["news.example"], pool=pool)

    def say(self, *args):
        return self.cluster.remuda(*args, as_json=False).out

    def told(self, words, *args):
        """Its text, once the words are there."""
        return self.cluster.until(lambda: (lambda text: text if words in text else None)(self.say(*args)), f"{args} tells: {words}")

    def refused_at_the_site(self):
        """picky refuses the first source; the campaign of the mail that found out."""
        self.world.receivers.block("picky", self.first, "rcpt", BLOCK)
        self.addCleanup(self.world.receivers.unblock, "picky", self.first)
        asks = self.send(["asks@a.test"])["id"]
        self.cluster.until(lambda: self.cluster.incidents(every=False) or None, "an incident")
        return asks

    def test_a_site_that_refuses_the_only_source(self):
        asks = self.refused_at_the_site()
        waiting = self.send([f"w{i}@a.test" for i in range(5)])["id"]
        text = self.told("the site of a.test refuses", "queue")
        number = self.cluster.incidents(every=False)[0]["id"]
        said = rf"the site of a\.test refuses {self.first} \(ip_blocklisted, incident {number}\): stopped there until {TIME}; " \
               rf"the pool has no source in service on another network: add one, or resolve this incident; see `remuda incident show {number}`"
        self.assertRegex(text, said)
        self.assertRegex(self.say("campaign", "show", waiting), r"\n  waits for " + said + r" \(other\)\n")
        explained = self.say("explain", "w1@a.test")
        self.assertRegex(explained, rf"its site refuses {self.first} \(ip_blocklisted, incident {number}\): stopped there alone, until {TIME}")
        self.assertIn("what you can do: see whether the reply is true", explained)
        self.assertRegex(explained, rf"{self.first} \([^)]*\): its site refuses this source\n")
        self.assertNotIn("next: the first of the pool's order", explained)
        # the mail that was refused could go at once, and doesn't: it is due, not late
        row = self.cluster.until(lambda: re.search(r"other +bulk +5 +0 +1 +due +the site of a\.test refuses", self.say("queue")), "a retry is due")
        self.assertTrue(row)
        self.assertRegex(self.say("campaign", "show", asks), "waits for " + said)
        self.assertRegex(self.say("explain", "asks@a.test"), r"state +deferred, 1 attempt, due\n")
        # whoever waits for something else is told that, and nobody else's reasons
        slow = self.cluster.remuda("send", "--template", self.work.write("slow.eml", PLAIN), "--stream", "bulk", "--watch", as_json=False, check=False,
                                   *["--recipients", self.cluster.write_csv("slow.csv", [{"email": "s@slow.test"}])])
        self.assertIn("waits for: 1 with nodes\n", slow.text)
        self.assertNotIn("refuses", slow.text)
        with subprocess.Popen([self.cluster.command, "--api", self.cluster.socket, "campaign", "show", waiting, "--watch"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watch:
            later = self.send(["later@c.test"], "--at", "tomorrow 09:00")["id"]
            self.assertNotIn("refuses", self.say("campaign", "show", later))
            lines = [watch.stderr.readline().decode() for _ in range(2)]
            self.cluster.remuda("campaign", "cancel", waiting)
            lines.append(watch.communicate(timeout=patience(30))[1].decode())
        self.assertRegex("".join(lines), "waits for: " + said)
        self.assertNotRegex("".join(lines), r"\dT\d\d:|Z")
        self.assertEqual(self.deliver(["fine@c.test"])["delivered"], 1)
        self.assertNotIn("refuses", self.say("campaign", "show", later))
        for ident in (later, asks):
            self.cluster.remuda("campaign", "cancel", ident)

    def test_a_canary_says_whose_it_is_and_how_long(self):
        """google refuses one of two sources: of what it would have had little goes to the other one, on another network."""
        self.world.receivers.control("slow google 50")
        first = self.send([f"g{i}@gmail.com" for i in range(5)], stream="pair")["id"]
        self.cluster.settled(first)
        sender = self.events("accepted", provider="google")[0]["ip"]
        self.world.receivers.block("google", sender, "greeting", "554-mx.google.com Your IP is blocked")
        self.addCleanup(self.world.receivers.unblock, "google", sender)
        waiting = self.send([f"h{i}@gmail.com" for i in range(40)], stream="pair")["id"]
        text = self.told("canary", "queue")
        said = rf"canary: 3 of 3 recipients went to other lanes; they grow in (30min|29min [0-9]+s) unless it is refused " \
               rf"\(incident [0-9]+: google refuses {sender}: stopped at this provider\); see `remuda incident show [0-9]+`"
        self.assertRegex(text, said)
        self.assertRegex(self.say("campaign", "show", waiting), said + r" \(google\)")
        explained = self.say("explain", "h39@gmail.com")
        self.assertRegex(explained, "what binds: " + said)
        self.assertRegex(explained, r"only a small part goes on at first \(incident [0-9]+\)")
        self.assertNotIn("next: the first of the pool's order", explained)
        self.cluster.remuda("campaign", "cancel", waiting)


if __name__ == "__main__":
    unittest.main()
