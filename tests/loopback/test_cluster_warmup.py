"""Warm-ups with production programs: what the commands say and do, what receivers see of it, and what a restart remembers."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import ClusterCase  # noqa: E402
from remudatest.cluster import built  # noqa: E402

PLANS = """
plan "tiny" {
    hour = 100%
    source = [30, 60, 90]; site = [3, 9, 20]
    caps { default = [8, 20, 40]; other = [10, 20, 40]; big = [6, 12, 24] }
}
plan "standard" { hour = 25% }
"""
PROVIDERS = """
provider "big"    { mx = [".big.test"] }
provider "formal" { mx = [".formal.test"]; register_first = true }
"""


class WarmUp(ClusterCase):
    providers = {"big": {"domains": ["big.test"]}, "formal": {"domains": ["formal.test"]}, "small": {"domains": ["a.test", "b.test"]}}

    @classmethod
    def before(cls):
        cls.settings = {"warmup.plans": cls.work.write("plans.conf", PLANS), "providers": cls.work.write("providers.conf", PROVIDERS),
                        "warmup.time_zone": "Europe/Berlin", "warmup.sources_per_network": 1}

    @classmethod
    def prepare(cls):
        cls.cold, cls.waits = cls.address(1), cls.address(2)
        cls.cluster.source(cls.cold, warmup="tiny")
        cls.cluster.source(cls.waits, warmup="standard")
        cls.warm = cls.address(1, network=1)
        cls.key = cls.world.keys["news.example"]
        cls.cluster.stream("bulk", cls.key)
        cls.cluster.stream("urgent", cls.key, priority=0, cold_lanes="never")

    def lanes(self, name=None):
        answer = self.cluster.remuda("warmup", *([name] if name else [])).json
        self.assertRegex(answer["day"], r"^\d{4}-\d\d-\d\d$")
        return {(x.get("source") or x["domain"], x["provider"]): x for x in answer["lanes"]}

    def refused(self, code, words, *args):
        a = self.cluster.remuda(*args, check=False, as_json=False)
        self.assertEqual(a.code, code, a.text)
        self.assertIn(words, a.err)

    def test_1_what_is_new(self):
        lanes = self.lanes()
        x = lanes[self.cold, "big"]
        self.assertEqual((x["plan"], x["state"], x["stage"], x["stages"], x["cap_per_day"], x["free"], x["needed"], x["frees_in_ms"]),
                         ("tiny", "warming", 1, 3, 6, 6, 5, 0))
        self.assertEqual(lanes[self.cold, "google"]["cap_per_day"], 8)
        self.assertEqual((x["forecast"], x["detail"], x["new"]), (None, "no mail to it yet", True))
        y = lanes[self.waits, "big"]
        self.assertEqual((y["state"], y["hour_cap"], y["forecast"]), ("waits", 25, None))
        self.assertIn("1 source of", y["detail"])
        self.assertEqual(lanes[self.cold, "formal"]["state"], "not registered")
        shown = self.cluster.remuda("warmup", "--all", as_json=False).out
        self.assertRegex(shown, rf"{self.cold} +big +tiny +warming +1/3 +6 +0 +6 +now +0 +5 +no date +no mail to it yet")
        short = self.cluster.remuda("warmup", as_json=False).out
        self.assertRegex(short, rf"{self.cold} +\(\d+ providers\) +tiny +warming .* +no date +no mail to it yet")
        self.assertRegex(short, rf"{self.cold} +\(2 providers\) +tiny +not registered .* +must be registered")
        self.assertRegex(short, rf"{self.waits} +\(\d+ providers\) +standard +waits ")
        self.assertLess(short.count("\n"), 8)
        source = self.cluster.remuda("source", "show", self.cold, as_json=False).out
        self.assertRegex(source, r"formal +to be registered +stage 1 of 3 +50 fair +8")

    def test_2_caps_and_what_is_told(self):
        c = self.send([f"u{i}@big.test" for i in range(20)])
        self.cluster.until(lambda: self.lanes()[self.cold, "big"]["used_24h"] == 6 or None, "the stage is used")
        q = next(q for q in self.cluster.get("queue")["queues"] if q["provider"] == "big")
        self.assertEqual(q["queued"], 14)
        self.assertRegex(q["waits_for"], r"^warm-up cap; more frees in (23h|1d)")
        text = "\n".join(line for m in self.cluster.explain("u19@big.test")["matches"] for line in m["lines"])
        self.assertIn("warm-up cap (warm-up: stage 1 of 3)", text)
        self.assertIn("waits: enough sources of its network warm up", text)
        x = self.lanes(self.cold)[self.cold, "big"]
        self.assertEqual((x["distinct"], x["free"]), (6, 0))
        self.assertEqual([g["verdict"] for g in x["gates"]], ["ok", "ok", "ok", "unknown"])
        self.assertEqual((x["detail"], x["forecast"] is not None), ("", True))
        table = self.cluster.remuda("warmup", self.cold, as_json=False).out
        self.assertRegex(table, rf"{self.cold} +big +tiny +warming +1/3 +6 +6 +0 ")
        self.assertRegex(table, rf"{self.cold} +\(\d+ providers\) ")
        self.assertRegex(table, r"big +20\S+ +complaints +0 +0 +0.00 % +0.00 % +100.00 % +0.10 % +unknown")
        # The warm one comes, and takes the rest at once.
        self.cluster.source(self.warm, warm_as="1k", since="2024-03-01")
        c = self.cluster.settled(c["id"])
        self.assertEqual(c["delivered"], 20)
        w = self.lanes()[self.warm, "big"]
        self.assertEqual((w["state"], w["cap_per_day"], w["warm_since"][:10], w["used_24h"]), ("warm", 1000, "2024-03-01", 14))

    def test_3_operators_words(self):
        self.refused(2, "--reason is needed", "warmup", "pause", self.cold)
        self.refused(2, "is neither a stage from 1 nor", "warmup", "set", self.cold, "--stage", "soon", "--reason", "x")
        self.refused(1, "has stages 1 to 3 of plan tiny", "warmup", "set", self.cold, "big", "--stage", "9", "--reason", "x")
        self.refused(1, "there is no provider", "warmup", "set", self.cold, "bigg", "--stage", "2", "--reason", "x")
        self.refused(3, "is warming up", "warmup", "192.0.2.99")
        self.refused(1, "there is no warm-up plan \"reckless\"; there are conservative, standard, aggressive, tiny", "source", "add",
                     self.address(9), "--node", "n1", "--pool", "main", "--helo", "m9.news.example", "--warmup", "reckless")
        self.refused(1, "is not a date of the past", "source", "set", self.cold, "--warm-as", "5k", "--since", "2999-01-01")
        self.cluster.remuda("warmup", "pause", self.cold, "big", "--reason", "the list is being cleaned")
        x = self.lanes()[self.cold, "big"]
        self.assertEqual((x["state"], x["detail"]), ("paused", "the list is being cleaned"))
        said = self.cluster.remuda("warmup", "pause", self.cold, "--reason", "a holiday", as_json=False).out
        self.assertRegex(said, rf"^warm-up of {self.cold} at \d+ providers: paused\n$")
        paused = [e["text"] for e in self.cluster.events(type="warmup.paused")]
        self.assertEqual(len(paused), 2, paused)
        self.assertRegex(paused[-1], rf"^{self.cold} at \d+ providers: gains no stage until it is resumed: a holiday$")
        self.cluster.remuda("warmup", "resume", self.cold)
        self.cluster.remuda("warmup", "set", self.cold, "big", "--stage", "3", "--reason", "known there")
        x = self.lanes()[self.cold, "big"]
        self.assertEqual((x["state"], x["stage"], x["cap_per_day"]), ("warming", 3, 24))
        events = [e["text"] for e in self.cluster.events(type="warmup.")]
        self.assertIn(f"{self.cold} at big: gains no stage until it is resumed: the list is being cleaned", events)
        self.assertIn(f"{self.cold} at big: set from stage 1 to stage 3 of 3: known there", events)

    def test_4_complaints(self):
        day = self.lanes()[self.cold, "big"]["day"]
        self.refused(2, "--source or --domain", "signal", "complaints", "--provider", "big", "--day", day, "--count", "1")
        self.refused(1, "sent nothing to big on that day", "signal", "complaints", "--source", self.cold, "--provider", "big", "--day",
                     "2020-01-01", "--count", "1")
        self.cluster.remuda("signal", "complaints", "--source", self.cold, "--provider", "big", "--day", day, "--count", "4")
        gate = self.lanes(self.cold)[self.cold, "big"]["gates"][3]
        self.assertEqual((gate["events"], gate["verdict"]), (4, "surely over"))
        self.assertGreater(gate["low"], 0.3)

    def test_5_registration(self):
        c = self.send(["ann@formal.test"])
        self.cluster.until(lambda: next((q for q in self.cluster.get("queue")["queues"] if q["provider"] == "formal" and q["queued"]), None),
                           "it is queued")
        q = next(q for q in self.cluster.get("queue")["queues"] if q["provider"] == "formal")
        self.assertEqual(q["waits_for"], "must be registered with the provider first")
        self.refused(1, "there is no provider \"formall\"; nearest is formal", "source", "register", self.warm, "formall")
        self.cluster.remuda("source", "register", self.warm, "formal", "--reason", "mail to their postmaster")
        self.assertEqual(self.cluster.settled(c["id"])["delivered"], 1)
        self.assertTrue(self.cluster.lane(self.warm, "formal")["registered"])

    def test_6_domains_and_restart(self):
        self.cluster.stream("bulk", self.key, domain_warmup="tiny")
        x = self.lanes()["news.example", "other"]
        self.assertEqual((x["stage"], x["cap_per_day"]), (1, 10))
        before = self.lanes()
        self.cluster.coordinator.stop()
        self.cluster.start_coordinator()
        self.cluster.connected("n1")
        after = self.lanes()
        for key in ("stage", "used_24h", "distinct", "state", "day", "gates"):
            self.assertEqual({k: v[key] for k, v in before.items()}, {k: v[key] for k, v in after.items()}, key)
        # At most 3 for each site of `other` from the cold source, the rest from the warm one; 10 in all for the new domain.
        c = self.send([f"u{i}@{d}.test" for i in range(20) for d in "ab"])
        self.cluster.until(lambda: self.lanes()["news.example", "other"]["used_24h"] == 10 or None, "the domain's stage is used")
        self.cluster.remuda("campaign", "cancel", c["id"])
        self.cluster.stream("bulk", self.key, domain_warmup="none")
        cold = [e["recipient"] for e in self.cluster.events(type="delivered", campaign=c["id"]) if e["source"] == self.cold]
        self.assertTrue(cold)
        for d in "ab":
            self.assertLessEqual(len([r for r in cold if r.endswith(f"@{d}.test")]), 3)
        self.assertNotIn(("news.example", "other"), self.lanes())

    def test_7_engaged_recipients_first(self):
        fresh = self.address(5, network=2)
        self.cluster.source(fresh, warmup="tiny")
        rows = [{"email": f"e{i}@big.test", "engaged_at": "2021-05-05" if i % 10 else self.lanes()[self.cold, "big"]["day"]} for i in range(60)]
        rows[1]["engaged_at"] = "lately"
        answer = self.send(rows, check=False)
        self.assertEqual((answer.code, answer.json["rejected"]), (5, 1))
        self.assertIn("engaged_at is neither a date", answer.json["rejects"][0]["reason"])
        c = self.cluster.settled(answer.json["campaign"]["id"])
        self.assertEqual(c["delivered"], 59)
        warm = {e["recipient"] for e in self.cluster.events(type="delivered", campaign=c["id"]) if e["source"] == self.warm}
        self.assertGreater(len(warm), 20)
        self.assertFalse(warm & {f"e{i}@big.test" for i in range(0, 60, 10)})

    def test_8_urgent_mail_from_warm_lanes(self):
        c = self.cluster.settled(self.send([f"x{i}@big.test" for i in range(5)], stream="urgent")["id"])
        self.assertEqual(c["delivered"], 5)
        self.assertEqual({e["source"] for e in self.cluster.events(type="delivered", campaign=c["id"])}, {self.warm})


class Plans(unittest.TestCase):
    """Without a coordinator."""

    def run_it(self, *args):
        import subprocess
        return subprocess.run([built("remuda"), *args], capture_output=True, text=True, check=False)

    def test_how_many(self):
        import json
        a = self.run_it("plan", "--volume", "2M/day", "--mix", "google=45,outlook=25", "--networks", "6", "--json")
        self.assertEqual(a.returncode, 0, a.stderr)
        o = json.loads(a.stdout)
        self.assertEqual((o["per_day"], o["least_sources"], o["warm_at_once"]), (2000000, 9, 18))
        self.assertEqual([(p["provider"], p["per_day"]) for p in o["providers"]],
                         [("google", 900000), ("outlook", 500000), ("other", 600000)])
        days = [c["days"] for c in o["choices"] if c["sources"] <= 18]
        self.assertEqual(days, sorted(days, reverse=True))
        self.assertEqual(len(o["assumptions"]), 4)
        text = self.run_it("plan", "--volume", "2M/day", "--mix", "google=45,outlook=25").stdout
        self.assertRegex(text, r"google +45.0 % +900,000 +100,000 +9")
        self.assertIn("assumed:", text)

    def test_wrong_usage(self):
        for args, words in ((["--volume", "x", "--mix", "google=50"], "is not a number of recipients a day"),
                            (["--volume", "1M"], "--volume and --mix are needed"),
                            (["--volume", "1M", "--mix", "gogle=50"], "there is no provider \"gogle\""),
                            (["--volume", "1M", "--mix", "google=70,outlook=40"], "more than 100 per cent"),
                            (["--volume", "1M", "--mix", "google=45,other=20"], "65.0 per cent in all"),
                            (["--volume", "1M", "--mix", "google=x"], "is not provider=per cent"),
                            (["--volume", "1M", "--mix", "google=50", "--plan", "fast"], "there are conservative, standard, aggressive")):
            a = self.run_it("plan", *args)
            self.assertEqual(a.returncode, 2, args)
            self.assertIn(words, a.stderr)


if __name__ == "__main__":
    unittest.main()
