"""The scale run, small: it keeps its promises, and a repeated run tells the same."""
import json
import os
import subprocess
import unittest

SIM = os.path.join(os.environ.get("REMUDA_BUILD", "build"), "sim")


def scale(*args):
    done = subprocess.run([SIM, "--scale", "0.05", "--messages", "40000", "--days", "1", "--json", *args], capture_output=True, text=True, timeout=600)
    return done.returncode, json.loads(done.stdout)


class Scale(unittest.TestCase):
    def test_every_recipient_is_settled_once_within_caps(self):
        code, r = scale()
        self.assertEqual((code, r["ok"], r["broken"]), (0, True, ""))
        self.assertEqual(r["messages"], 40000)
        self.assertEqual(r["delivered"] + r["bounced"] + r["suppressed"] + r["expired"], r["messages"])
        self.assertGreater(r["alarms"], 0)

    def test_a_run_repeats(self):
        keep = ("delivered", "bounced", "leases", "reports", "commits", "deferrals")
        first, second = scale()[1], scale()[1]
        self.assertEqual([first[k] for k in keep], [second[k] for k in keep])

    def test_looking_at_every_lane_settles_the_same(self):
        few, all_ = scale()[1], scale("--look-all")[1]
        self.assertEqual(few["ok"], all_["ok"])
        self.assertLess(abs(few["leases"] - all_["leases"]), all_["leases"] / 20)


if __name__ == "__main__":
    unittest.main()
