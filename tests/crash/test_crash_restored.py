"""The coordinator's store is replaced by an older copy, as after a restore from a backup.

| row of the table | test | what the receivers must show |
|---|---|---|
| store restored from a backup: new incarnation, paused | Restored.test_paused_until_resumed | nothing before `remuda resume-restored`; then each once |
| settled outcomes replay | Restored.test_settled_outcomes_replay | what was sent after the backup is not sent again |
| unsettled is in doubt (retry) | Restored.test_unsettled_is_in_doubt | twice only who was named |
| unsettled is in doubt (hold) | Restored.test_unsettled_is_held | nobody twice; the campaign waits for the operator |
| caps count as spent for 24 h | Restored.test_caps_count_as_spent | nothing from a capped lane, also after the resume |

The copies are made while the coordinator is stopped; a coordinator knows that its store is older by what a node remembers:
an epoch it has served, outcomes that were acknowledged, leases that were given."""

import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scene import A, Scene  # noqa: E402


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
            s.slow(100)
            campaign = s.send()
            s.wait_accepted(1)
            self.backup(s)
            s.slow(0)
            s.delivered_once(self, campaign)
            self.restore(s)
            s.cluster.remuda("resume-restored")
            s.delivered_once(self, campaign)
            self.assertEqual(len(s.transcript("accepted")), 20, "sent again")

    def dealt_after_the_backup(self, s):
        """The lease isn't in the copy, so nobody can say what became of its messages."""
        s.cluster.remuda("source", "pause", A)
        campaign = s.send()
        self.backup(s)
        s.cluster.remuda("source", "resume", A)
        s.delivered_once(self, campaign)
        self.restore(s)
        s.cluster.remuda("resume-restored")
        s.cluster.remuda("source", "resume", A)
        return campaign

    def test_unsettled_is_in_doubt(self):
        with Scene() as s:
            campaign = self.dealt_after_the_backup(s)
            s.cluster.settled(campaign)
            named = s.named(campaign)
            self.assertEqual(named, {r["email"] for r in s.rows}, "what may have been sent since the backup was not named")
            verdict = s.delivered_once(self, campaign, [r["email"] for r in s.rows])
            self.assertEqual(verdict["uncertain_duplicates"], 20)

    def test_unsettled_is_held(self):
        with Scene(stream={"uncertain": "hold"}) as s:
            campaign = self.dealt_after_the_backup(s)
            s.a_deal_later()
            view = s.cluster.campaign(campaign)
            self.assertEqual((view["state"], view["leased"]), ("paused", 0))
            self.assertIn("restored from a backup", view["reason"])
            self.assertEqual(s.judged(self)["delivered"], 20)
            self.assertEqual(len(s.transcript("accepted")), 20, "sent again")

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
