"""The coordinator's store is replaced by an older copy, as after a restore from a backup.

| row of the table | test | what the receivers must show |
|---|---|---|
| store restored from a backup: new incarnation, paused | Restored.test_paused_until_resumed | nothing before `remuda resume-restored`; then each once |
| settled outcomes replay | Restored.test_settled_outcomes_replay | what was sent after the backup is not sent again |
| unsettled is in doubt | Restored.test_unsettled_is_in_doubt | twice only who was named |
| caps count as spent for 24 h | Restored.test_caps_count_as_spent | nothing from a capped lane, also after the resume |

The copies are made while the coordinator is stopped; a coordinator knows that its store is older by what a node remembers:
an epoch it has served, outcomes that were acknowledged, leases that were given."""

import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scene import A, B, Scene, patience, wait_until  # noqa: E402


class Restored(unittest.TestCase):
    def backup(self, s):
        """Ends the coordinator, copies its store, and starts it again."""
        s.program("coordinator").stop()
        shutil.copytree(s.cluster.path("coordinator.data"), s.work.path("backup"))
        s.restart("coordinator")

    def restore(self, s):
        if s.program("coordinator").running:
            s.program("coordinator").kill()
        data = s.cluster.path("coordinator.data")
        shutil.rmtree(data)
        shutil.copytree(s.work.path("backup"), data)
        s.restart("coordinator")
        s.cluster.until(lambda: s.cluster.status()["restored_paused"], "the coordinator knows that its store is an old one")

    def test_paused_until_resumed(self):
        with Scene() as s:
            before = s.cluster.status()["incarnation"]
            self.backup(s)
            s.delivered_once(self, s.send())
            sent = len(s.transcript("mail"))
            self.restore(s)
            self.assertIn("restored from a backup", s.cluster.incidents()[0]["title"])
            self.assertEqual(s.cluster.status()["incarnation"], before + 1)
            self.assertEqual(s.cluster.get("campaigns")["campaigns"], [])
            rows = s.rows
            s.rows = [{"email": f"later{i}@outlook.com", "name": "Later"} for i in range(20)]
            campaign = s.cluster.send(s.TEMPLATE, s.rows, name="later")["id"]
            s.a_deal_later()
            self.assertEqual(len(s.transcript("mail")), sent, "dealt before it was resumed")
            s.program("coordinator").kill()
            s.restart("coordinator")
            self.assertTrue(s.cluster.status()["restored_paused"], "a restart took the pause away")
            s.cluster.remuda("resume-restored")
            done = s.cluster.settled(campaign)
            self.assertEqual(done["delivered"], 20)
            s.rows = rows + s.rows
            s.judged(self)

    def test_settled_outcomes_replay(self):
        with Scene() as s:
            s.slow(60000)
            campaign = s.send()
            s.cluster.until(lambda: s.transcript("connect"), "the node has connected")
            self.backup(s)
            s.go_on()
            s.delivered_once(self, campaign)
            self.restore(s)
            s.cluster.remuda("resume-restored")
            s.delivered_once(self, campaign)
            self.assertEqual(len(s.transcript("accepted")), 20, "sent again")

    def test_unsettled_is_in_doubt(self):
        with Scene(stream={"node_return_wait": "2s"}) as s:
            s.slow(60000)
            campaign = s.send()
            s.cluster.until(lambda: s.transcript("connect"), "the node has connected")
            self.backup(s)
            s.go_on()
            s.delivered_once(self, campaign)
            s.program("n1").kill()
            s.program("coordinator").kill()
            shutil.rmtree(s.cluster.path("n1.data"))
            self.restore_without_node(s)
            s.cluster.remuda("resume-restored", check=False)
            s.cluster.settled(campaign)
            named = s.named(campaign)
            self.assertEqual(named, {r["email"] for r in s.rows})
            s.delivered_once(self, campaign, named)

    def restore_without_node(self, s):
        """The node's journal is gone as well: nobody remembers."""
        data = s.cluster.path("coordinator.data")
        shutil.rmtree(data)
        shutil.copytree(s.work.path("backup"), data)
        s.restart("coordinator")
        s.restart("n1")

    def test_caps_count_as_spent(self):
        with Scene(source={"lane_cap": 1000}) as s:
            self.backup(s)
            s.delivered_once(self, s.send())
            self.restore(s)
            s.cluster.remuda("resume-restored")
            rows = s.rows
            s.rows = [{"email": f"later{i}@outlook.com", "name": "Later"} for i in range(20)]
            s.cluster.send(s.TEMPLATE, s.rows, name="later")
            s.a_deal_later()
            self.assertEqual(s.cluster.lane(A, "outlook")["free"], 0)
            s.rows, waiting = rows + s.rows, [r["email"] for r in s.rows]
            self.assertEqual(s.judged(self, waiting=waiting)["waiting"], 20)


if __name__ == "__main__":
    unittest.main()
