"""Pace with production programs: a provider that throttles harder the more it is pushed, told by its own log; and what a restart of the node keeps."""

import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import ClusterCase  # noqa: E402
from remudatest.cluster import patience  # noqa: E402


class HarderTheMoreItIsPushed(ClusterCase):
    """outlook bears 60 recipients a second of one address; each push beyond costs it a twentieth of its patience, down to 15 a second."""
    N = 600
    providers = {"outlook": {"domains": {"outlook.com": ["outlook-com.olc.protection.outlook.com"]}, "throttle": 60, "throttle_least": 15},
                 "small": {"domains": ["a.test"]}}

    @classmethod
    def before(cls):
        conf = 'provider "outlook" { messages_per_connection = 1000; connects_per_minute = 6000 }\n'  # nothing else slows it
        cls.settings = {"providers": cls.work.write("providers.conf", conf)}

    def tries(self, since=0):
        """(time in us, accepted) of every RCPT that the provider answered, in order."""
        return sorted([(e["t_us"], True) for e in self.events("accepted", provider="outlook") if e["t_us"] >= since] +
                      [(e["t_us"], False) for e in self.events("refused", provider="outlook", reason="rate") if e["t_us"] >= since])

    def pace(self):
        lane = self.cluster.lane(self.address(1), "outlook")
        return lane and lane["pace"]

    def test_1_the_lane_finds_its_pace(self):
        began = time.monotonic()
        c = self.send([f"u{i}@outlook.com" for i in range(self.N)])
        self.cluster.until(lambda: self.pace() and self.pace()["slowed"], "the pace is told while it goes")
        slowed = self.pace()
        c = self.cluster.settled(c["id"], 50)
        took = time.monotonic() - began
        self.assertEqual((c["delivered"], c["bounced"]), (self.N, 0))
        self.assertLess(took, patience(50))
        tries = self.tries()
        middle = (tries[0][0] + tries[-1][0]) // 2
        second = [ok for t, ok in tries if t >= middle]
        share = second.count(False) / len(second)
        sys.stderr.write(f"{took:.1f} s, {len(tries)} tries for {self.N}; second part: {len(second)}, deferred {share:.1%}; {self.pace()}\n")
        self.assertGreater(len(tries), self.N, "the provider never throttled: nothing was tried here")
        self.assertGreater(second.count(True), self.N // 10)
        self.assertLess(share, 0.2)
        # what the operator sees
        self.assertIsNotNone(slowed["per_minute"])
        self.assertIsNotNone(slowed["slowed_since"])
        self.assertLess(slowed["connections"], 5)
        shown = self.cluster.remuda("source", "show", self.address(1), as_json=False).out
        for word in ("PACE OF", "SLOWED SINCE", "rate deferrals", "reputation of"):
            self.assertIn(word, shown)
        row = next(line for line in shown.splitlines() if line.startswith("rate deferrals") or line.startswith("  rate deferrals"))
        self.assertIn("deferred for rate or volume", row)

    def test_2_a_restart_of_the_node_snaps_nothing_back(self):
        time.sleep(1.5)  # the last pace is told within that
        before = self.pace()
        self.assertTrue(before["slowed"])
        self.cluster.nodes["n1"].kill()
        self.cluster.nodes["n1"].start()
        self.cluster.connected("n1")
        last = max(e["t_us"] for e in self.events("accepted", provider="outlook"))
        c = self.deliver([f"v{i}@outlook.com" for i in range(200)], timeout_s=40)
        self.assertEqual(c["delivered"], 200)
        tries = self.tries(since=last + 1)
        first = [t for t, _ in tries if t < tries[0][0] + 1_000_000]
        self.assertLess(len(first), 2 * before["per_minute"] / 60 + 5, "it began faster than it had learned")
        self.assertTrue(self.pace()["slowed"])


if __name__ == "__main__":
    unittest.main()
