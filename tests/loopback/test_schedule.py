"""Campaigns that start at a time and go in batches, with production programs: receivers' logs say what left when."""

import datetime
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import ClusterCase, PLAIN  # noqa: E402


class Schedule(ClusterCase):
    providers = {"small": {"domains": ["a.test", "b.test"]}}

    def refused(self, words, *args):
        rows = [{"email": "x@a.test"}]
        a = self.cluster.send(PLAIN, rows, *args, check=False)
        self.assertNotEqual(a.code, 0, a.text)
        self.assertIn(words, a.text)

    def left(self, who):
        return sorted(e["wall_ms"] for e in self.events("rcpt") if e["rcpt"].startswith(who))

    def test_what_cannot_be_is_said(self):
        self.refused("has passed", "--at", "2020-01-01T09:00Z")
        self.refused("not a time like", "--at", "noon")
        self.refused("needs --every", "--batch", "10")
        self.refused("not both", "--over", "1h", "--batch", "10", "--every", "5min")
        self.refused("too long", "--over", "4d")
        self.refused("too long", "--over", "2h", "--valid-for", "1h")

    def test_it_starts_at_its_time_also_after_a_crash(self):
        at = datetime.datetime.now() + datetime.timedelta(seconds=6)
        k = self.send([f"later{i}@a.test" for i in range(50)], "--at", at.strftime("%Y-%m-%dT%H:%M:%S"))
        self.assertEqual(k["state"], "scheduled")
        shown = self.cluster.remuda("campaign", "show", k["id"], as_json=False).out
        self.assertIn(at.strftime("starts    %Y-%m-%d %H:%M:%S"), shown)
        self.assertRegex(self.cluster.remuda("campaign", "list", as_json=False).out, rf"{k['id']} .* scheduled ")
        self.cluster.coordinator.kill()
        self.cluster.start_coordinator()
        self.cluster.settled(k["id"], 30)
        start_ms = int(at.replace(microsecond=0).timestamp() * 1000)
        left = self.left("later")
        self.assertEqual(len(left), 50)
        self.assertGreaterEqual(left[0], start_ms)
        self.assertLess(left[-1], start_ms + 4000)

    def test_batches_and_a_change_while_it_runs(self):
        people = [f"batch{i}@{'ab'[i % 2]}.test" for i in range(100)]
        began = time.time() * 1000
        k = self.send(people, "--batch", "20", "--every", "3s")
        self.cluster.until(lambda: len(self.left("batch")) >= 40, "two batches", timeout_s=15)
        c = self.cluster.campaign(k["id"])
        self.assertRegex(c["waits_for"], r"^next batch of 20 at ")
        self.assertIn("next batch of 20 at ", str(self.cluster.get("queue")["queues"]))
        left = self.left("batch")
        accepted = datetime.datetime.fromisoformat(c["accepted"].replace("Z", "+00:00")).timestamp() * 1000
        for n, at in enumerate(left):
            self.assertLessEqual(n + 1, 20 * (1 + int((at - accepted) // 3000)), f"recipient {n} after {at - accepted} ms")
        self.assertGreaterEqual(left[20] - began, 2900)
        said = self.cluster.remuda("campaign", "set", k["id"], "--batch", "none", "--reason", "enough", as_json=False).out
        self.assertNotIn("batches", said)
        self.cluster.settled(k["id"], 10)
        self.assertEqual(len(self.left("batch")), 100)
        told = [e for e in self.cluster.events(type="campaign.scheduled") if e["campaign"] == k["id"]]
        self.assertTrue(told and told[0]["text"].endswith(": enough"), told)

    def test_putting_off_is_taken_back(self):
        k = self.send([f"off{i}@a.test" for i in range(12)], "--batch", "3", "--every", "6s")
        self.cluster.until(lambda: len(self.left("off")) == 3, "the first batch", timeout_s=5)
        said = self.cluster.remuda("campaign", "set", k["id"], "--at", "tomorrow 09:00", as_json=False).out
        self.assertIn("released  3 of 12", said)
        self.assertRegex(said, r"next      3 at .* 09:00:00, ")
        said = self.cluster.remuda("campaign", "set", k["id"], "--at", "now", as_json=False).out
        self.assertIn("released  3 of 12", said)
        self.cluster.until(lambda: len(self.left("off")) == 6, "the second batch", timeout_s=10)
        left = self.left("off")
        self.assertGreaterEqual(left[3] - left[0], 5000)
        self.assertLess(left[3] - left[0], 9000)

    def test_spread(self):
        k = self.send([f"spread{i}@a.test" for i in range(60)], "--over", "6s")
        self.cluster.settled(k["id"], 20)
        left = self.left("spread")
        first = left[0]
        self.assertLessEqual(sum(at < first + 900 for at in left), 12)
        self.assertGreaterEqual(left[-1] - first, 4500)


if __name__ == "__main__":
    unittest.main()
