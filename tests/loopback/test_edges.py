"""Edges of the command: what is said when nothing changes, when something contradicts itself, and when something is missing."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import ClusterCase  # noqa: E402


class Said(ClusterCase):
    providers = {"small": {"domains": ["a.test"]}}

    def say(self, *args, code=0):
        answer = self.cluster.remuda(*args, check=False, as_json=False)
        self.assertEqual(answer.code, code, f"{args}: {answer.text}")
        return answer.text


class NothingYet(Said):
    def test_no_campaigns_yet(self):
        self.assertRegex(self.say("campaign", "list"), r"^no campaigns yet; `remuda send --template \S+ --recipients \S+ --stream NAME` submits one")


class Edges(Said):
    def source(self, last, *args, code=0):
        return self.say("source", "add", self.address(last), "--node", "n1", "--helo", f"m{last}.news.example", "--pool", "main", *args, code=code)

    # ---- suppressions

    def test_a_suppression_says_for_whom_it_is_in_force(self):
        a = "one@a.test"
        self.assertEqual(self.say("suppress", "add", a), f"{a} is suppressed for all streams: nothing to it can start any more\n")
        self.assertEqual(self.say("suppress", "add", a), f"{a} was suppressed for all streams already: nothing changed\n")
        self.assertEqual(self.say("suppress", "add", a, "--reason", "by phone"),
                         f"{a} was suppressed for all streams already: only the reason is another one now\n")
        self.assertEqual(self.say("suppress", "add", a, "--stream", "bulk"),
                         f"{a} is suppressed for stream bulk, and for all others: it was suppressed for all streams before\n")
        self.assertEqual(self.say("suppress", "remove", a, "--stream", "bulk"),
                         f"{a} is no longer suppressed for stream bulk, but it still is for all streams\n")
        self.assertIn(f"{a} is suppressed for all streams, not for bulk alone; `remuda suppress remove {a}` takes that back",
                      self.say("suppress", "remove", a, "--stream", "bulk", code=3))
        self.assertEqual(self.say("suppress", "remove", a), f"{a} may be contacted again\n")
        self.assertIn("isn't suppressed: nothing changed", self.say("suppress", "remove", a, code=3))

    def test_a_suppression_for_one_stream(self):
        a = "two@a.test"
        self.assertEqual(self.say("suppress", "add", a, "--stream", "bulk"),
                         f"{a} is suppressed for stream bulk: nothing of this stream to it can start any more\n")
        self.assertEqual(self.say("suppress", "add", a, "--stream", "bulk"), f"{a} was suppressed for stream bulk already: nothing changed\n")
        self.assertIn(f"{a} is suppressed for bulk, not for all streams; --stream names which to take back", self.say("suppress", "remove", a, code=3))
        self.assertIn("is suppressed for all streams", self.say("suppress", "add", a))
        self.assertEqual(self.say("suppress", "remove", a), f"{a} is no longer suppressed for all streams, but it still is for stream bulk\n")
        self.assertEqual(self.say("suppress", "remove", a, "--stream", "bulk"), f"{a} may be contacted again by stream bulk\n")
        answer = self.cluster.remuda("suppress", "add", a).json
        self.assertEqual((answer["already"], answer["streams"]), (False, [""]))

    # ---- streams and sources

    def test_a_stream_whose_pool_has_no_source_is_warned_of(self):
        text = self.say("stream", "set", "bulk", "--pool", "nopool")
        self.addCleanup(self.say, "stream", "set", "bulk", "--pool", "main")
        self.assertRegex(text, r"stream bulk is set\nwarning: no source is in pool nopool: nothing of this stream is sent until there is one "
                               r"\(`remuda source add ADDRESS --pool nopool \.\.\.`\); sources are in .*\bmain\b")
        self.assertNotIn("warning", self.say("stream", "set", "bulk", "--age-limit", "2d"))  # it isn't what was changed
        self.assertNotIn("warning", self.say("stream", "set", "bulk", "--pool", "main"))

    def test_a_source_shows_its_pools_and_its_label(self):
        self.source(51, "--label", "rack 7")
        self.say("source", "set", self.address(51), "--pool", "main,spare")
        text = self.say("source", "show", self.address(51))
        self.assertIn("\n  label     rack 7\n  pools     main, spare\n", text)
        self.assertIn("\n  label     -\n  pools     main\n", self.say("source", "show", self.address(1)))

    def test_a_source_is_new_or_warm(self):
        words = "warmup and warm_as exclude each other: choose warmup for one that is new and begins with little, warm_as for one that is warm already"
        self.assertIn(words, self.source(52, "--warmup", "standard", "--warm-as", "20k", code=1))
        self.source(52, "--warm-as", "20k")
        self.assertIn("warmup: it is warm already, as 20000 a day; name warm_as 0, too, to begin a warm-up",
                      self.say("source", "set", self.address(52), "--warmup", "standard", code=1))
        self.say("source", "set", self.address(52), "--warmup", "standard", "--warm-as", "0")
        shown = self.cluster.source_view(self.address(52))
        self.assertEqual((shown["warmup"], shown["warm_as"]), ("standard", 0))
        self.say("source", "set", self.address(52), "--warm-as", "30k")  # it has become warm
        self.assertEqual(self.cluster.source_view(self.address(52))["warm_as"], 30000)
        self.assertIn("domain_" + words.replace("and warm", "and domain_warm")[:40],
                      self.say("stream", "set", "bulk", "--domain-warmup", "standard", "--domain-warm-as", "5k", code=1))

    def test_a_registration_that_nobody_wants(self):
        a = self.address(1)
        self.assertEqual(self.say("source", "register", a, "google"),
                         f"{a} is now registered with google; it wants no registration of new addresses, and nothing waits for one\n")
        self.assertEqual(self.say("source", "register", a, "google"),
                         f"{a} was already registered with google: nothing changed; it wants no registration of new addresses, and nothing waits for one\n")
        self.assertEqual(self.say("source", "register", a, "t-online"), f"{a} is now registered with t-online\n")
        self.assertEqual(self.say("source", "register", a, "t-online", "--undo"), f"{a} is no longer registered with t-online\n")

    # ---- the rest

    def test_complaints_of_today_and_yesterday(self):
        tell = ("signal", "complaints", "--source", self.address(1), "--provider", "google", "--count", 1, "--day")
        for day in ("today", "yesterday"):
            self.assertIn("counted", self.say(*tell, day))
        self.assertIn('day: "last week" is no sending day: it is written like 2026-11-23, or is today or yesterday', self.say(*tell, "last week", code=1))

    def test_a_watch_that_is_off_says_so(self):
        text = self.say("listings")
        self.assertIn("the blocklist watch is off: no list is asked; `watch { enabled = true }`", text)
        self.assertNotIn("nothing is listed", text)
        self.assertFalse(self.cluster.remuda("listings").json["watch"])

    def test_no_campaigns_and_none_of_these(self):
        self.cluster.stream("unused", self.world.keys["news.example"])
        self.assertEqual(self.say("campaign", "list", "--stream", "unused"), "no campaign of these; `remuda campaign list` has all\n")

    def test_one_attempt_is_one(self):
        self.assertEqual(self.deliver(["first@a.test"])["delivered"], 1)
        self.cluster.until(lambda: "of 1 attempt\n" in self.say("reputation", "news.example"), "the attempt is counted")


if __name__ == "__main__":
    unittest.main()
