"""The herd's sender of Remuda's real cores: runs to its end, agrees with the world's log, replays exactly, and features can be left out."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/sim"))
import evidence  # noqa: E402

SIM = pathlib.Path(os.environ.get("REMUDA_BUILD", ROOT / "build")).resolve() / "sim"


class Herd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="remuda-herd-")
        scenarios = (ROOT / "tests/sim/scenarios" / f"{name}.conf" for name in ("receivers", "calm", "traps"))
        for file in (ROOT / "tests/data/herd/new.conf", *scenarios):
            shutil.copy(file, cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_sim(self, scenario, *more, seed=1):
        command = [SIM, "--scenario", f"{self.folder.name}/{scenario}.conf", "--seed", str(seed), "--sender", "remuda", "--json", *more]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)

    def told(self, scenario, *more, seed=1):
        done = self.run_sim(scenario, *more, seed=seed)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return json.loads(done.stdout)

    def sane(self, scenario, least):
        m = self.told(scenario)["metrics"]
        self.assertGreater(m["accepted"], m["messages"] * least // 100)
        self.assertEqual(m["delivered"], m["accepted"])
        self.assertEqual(m["duplicates"], 0)
        self.assertEqual(m["wrong_suppressions"], 0)
        self.assertLessEqual(m["delivered"] + m["bounced"] + m["expired"] + m["dropped"], m["messages"])
        return m

    def test_known_addresses(self):
        self.sane("calm", 95)

    def test_new_addresses(self):
        self.sane("new", 90)

    def test_a_seed_replays_exactly(self):
        first, second, other = self.run_sim("new"), self.run_sim("new"), self.run_sim("new", seed=2)
        self.assertEqual(first.returncode, 0, first.stderr[-2000:])
        self.assertEqual(first.stdout, second.stdout)
        self.assertNotEqual(first.stdout, other.stdout)

    def test_the_story_changes_nothing(self):
        told = self.run_sim("new", "--verbose")
        self.assertEqual(told.stdout, self.run_sim("new").stdout)
        self.assertRegex(told.stderr, r"day  2 00:00:00 the day: \d+ delivered")

    def test_features_are_left_out(self):
        """Each of them changes what comes of a world in which it has something to do."""
        worlds = {"new": ("concentration", "stickiness", "engagement", "gates"), "calm": ("pace",),
                  "traps": ("reputation", "watch", "canary", "probing", "moving", "networks", "breaker")}
        self.assertEqual(sorted(f for features in worlds.values() for f in features), sorted(evidence.FEATURES))
        for scenario, features in worlds.items():
            whole = self.told(scenario)
            for feature in features:
                without = self.told(scenario, "--without", feature)
                self.assertEqual(without["without"], [feature])
                self.assertNotEqual(whole["metrics"], without["metrics"], feature)
        done = self.run_sim("new", "--without", "luck")
        self.assertEqual(done.returncode, 2)
        self.assertIn('there is no feature "luck" to leave out', done.stderr)

    def test_parameters(self):
        slow, fast = (self.told("new", "--set", f"plan={plan}")["remuda"]["stages_gained"] for plan in (0, 2))
        self.assertGreater(slow + fast, 0)
        self.assertNotEqual(self.told("new")["metrics"], self.told("new", "--set", "greylist=40")["metrics"])
        self.assertEqual(self.run_sim("new", "--set", "plan=3").returncode, 2)


if __name__ == "__main__":
    unittest.main()
