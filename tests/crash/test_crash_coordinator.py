"""The coordinator is killed at the named places of the crash table, and what the receivers saw decides.

| row of the table | probe | test | what the receivers must show |
|---|---|---|---|
| streamed submission partly stored | submit.partly-stored | Submission.test_partly_stored | nothing of it; after the same key again: each once |
| submit answered | submit.answered | Submission.test_answered | each once |
| lease built, not persisted | lease.built | Lease.test_built | nothing before the kill; then each once |
| lease persisted, not sent | lease.persisted | Lease.test_persisted | nothing before the kill; then each once, nothing in doubt |
| report sent, no ack (the coordinator's half) | report.settled | Report.test_settled_not_acknowledged | each once, settled once |
| recall settled | recall.settled | Recall.test_settled | each once, from the old source or from the new one |
| suppression synced, not yet confirmed | suppress.synced | Suppression.test_synced | no RCPT for it, although its lease was out |
| (the same, with a node that hangs) | suppress.synced | Suppression.test_acknowledged_when_the_lease_is_over | the same; the command waits for the lease's end |
| quarantine | quarantine.synced | Holds.test_quarantine | no MAIL from the source after the verdict; each once from another |
| pause | cancel.synced | Holds.test_pause | nothing between give-back and resume; then each once |
| cancel | cancel.synced | Holds.test_cancel | nothing after it is finished; nobody twice |
| settled | settled | Report.test_settled | each once, and history tells each once |

The node's rows are in test_crash_node.py, a store from a backup in test_crash_restored.py. The row "inbound mail answered
250" has no test: nodes don't listen for mail yet."""

import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scene import A, B, BLOCKED, LEASE_S, Scene, boot_us, patience  # noqa: E402


class Submission(unittest.TestCase):
    def test_partly_stored(self):
        with Scene(armed={"coordinator": "submit.partly-stored"}) as s:
            call = s.send_in_background(30, "--key", "november")
            s.killed_at_probe("coordinator")
            self.assertNotEqual(call.wait(patience(20)), 0, "a submission that was cut off was called accepted")
            s.restart("coordinator")
            self.assertEqual(s.cluster.get("campaigns")["campaigns"], [])
            self.assertIn("was never completed: what was stored of it is removed", s.cluster.coordinator.log())
            again = s.send(30, "--key", "november")
            s.delivered_once(self, again)
            third = s.cluster.api("GET", f"campaigns/{again}")[1]
            self.assertEqual((third["rows"], third["delivered"]), (30, 30))
            same = s.cluster.remuda("send", "--template", s.work.path("submission.eml"), "--recipients",
                                    s.work.path("submission.csv"), "--stream", "bulk", "--key", "november").json
            self.assertEqual((same["campaign"]["id"], same["duplicate_submission"]), (again, True))
            s.delivered_once(self, again)

    def test_answered(self):
        with Scene(armed={"coordinator": "submit.answered"}) as s:
            call = s.send_in_background(30, "--key", "november")
            s.reached("coordinator")
            self.assertEqual(call.wait(patience(20)), 0, call.log_tail())
            s.program("coordinator").kill()
            s.restart("coordinator")
            campaigns = s.cluster.get("campaigns")["campaigns"]
            self.assertEqual(len(campaigns), 1)
            s.delivered_once(self, campaigns[0]["id"])


class Lease(unittest.TestCase):
    def test_built(self):
        with Scene(armed={"coordinator": "lease.built"}) as s:
            s.send_in_background()
            s.killed_at_probe("coordinator")
            self.assertEqual(s.transcript("mail"), [])
            s.restart("coordinator")
            s.delivered_once(self, s.only_campaign())

    def test_persisted(self):
        with Scene(armed={"coordinator": "lease.persisted"}) as s:
            s.send_in_background()
            s.killed_at_probe("coordinator")
            self.assertEqual(s.transcript("mail"), [])
            s.restart("coordinator")
            campaign = s.only_campaign()
            s.delivered_once(self, campaign)
            self.assertEqual(s.events("lease.expired"), [], "it was not sent to its node again")


class Report(unittest.TestCase):
    def killed_at(self, probe):
        with Scene(armed={"coordinator": probe}) as s:
            s.send_in_background()
            s.killed_at_probe("coordinator")
            self.assertGreater(s.accepted(), 0)
            s.restart("coordinator")
            campaign = s.only_campaign()
            s.delivered_once(self, campaign)
            told = sorted(e["recipient"] for e in s.events("delivered", campaign))
            self.assertEqual(len(told), s.cluster.campaign(campaign)["delivered"], "history has each delivery, and has it once")
            self.assertEqual(len(set(told)), len(told))

    def test_settled_not_acknowledged(self):
        self.killed_at("report.settled")

    def test_settled(self):
        self.killed_at("settled:3")


class Recall(unittest.TestCase):
    def test_settled(self):
        with Scene(armed={"coordinator": "recall.settled"}) as s:
            s.add_node("n2")
            s.slow(50)
            campaign = s.send()
            s.wait_accepted(3)
            s.cluster.source(B, "n2")
            s.background("source", "pause", A)
            s.killed_at_probe("coordinator")
            s.slow(0)
            s.restart("coordinator")
            verdict = s.delivered_once(self, campaign)
            self.assertEqual({row["ip"] for row in verdict["sources"] if row["accepted"]}, {A, B})


class Suppression(unittest.TestCase):
    """The address is in a lease whose node has not come to it."""

    def leased(self, s):
        campaign = s.leased()
        return campaign, s.rows[-1]["email"]

    def settled_without(self, s, campaign, address):
        s.go_on()
        done = s.cluster.settled(campaign)
        self.assertEqual((done["delivered"], done["suppressed"]), (19, 1), done)
        self.assertEqual(s.transcript("rcpt", rcpt=address), [])
        s.judged(self, waiting=[address])

    def killed_at_probe(self, s, address):
        call = s.background("suppress", "add", address)
        s.reached("coordinator")
        self.assertIsNone(call.poll(), "acknowledged before any node had confirmed it")
        s.program("coordinator").kill()
        self.assertNotEqual(call.wait(patience(20)), 0)

    def test_synced(self):
        with Scene(armed={"coordinator": "suppress.synced"}) as s:
            campaign, address = self.leased(s)
            self.killed_at_probe(s, address)
            s.restart("coordinator")
            self.assertEqual(s.cluster.remuda("suppress", "check", address, check=False).code, 0)
            s.cluster.remuda("suppress", "add", address)
            self.settled_without(s, campaign, address)

    def test_acknowledged_when_the_lease_is_over(self):
        with Scene(armed={"coordinator": "suppress.synced"}) as s:
            campaign, address = self.leased(s)
            node = s.program("n1").child
            node.pause()
            hung = time.monotonic()
            self.killed_at_probe(s, address)
            s.cluster.start_coordinator()
            s.armed.clear()
            s.cluster.remuda("suppress", "add", address)
            self.assertGreaterEqual(time.monotonic() - hung, LEASE_S - 1, "acknowledged while the lease could still be used")
            node.resume()
            self.settled_without(s, campaign, address)


class Holds(unittest.TestCase):
    def test_quarantine(self):
        with Scene(armed={"coordinator": "quarantine.synced"}) as s:
            s.add_node("n2")
            s.world.receivers.block("outlook", A, "mail", BLOCKED)
            s.send_in_background()
            s.killed_at_probe("coordinator")
            s.restart("coordinator")
            self.assertEqual(s.cluster.lane(A, "outlook")["state"], "quarantined")
            self.assertEqual([i["source"] for i in s.cluster.incidents()], [A])
            s.cluster.source(B, "n2")
            verdict = s.delivered_once(self, s.only_campaign())
            self.assertEqual({row["ip"] for row in verdict["sources"] if row["accepted"]}, {B})
            self.assertEqual(verdict["in_grace"], 0)

    def stopped(self, s, verb):
        s.slow(50)
        campaign = s.send(30)
        s.wait_accepted(3)
        s.background("campaign", verb, campaign)
        s.killed_at_probe("coordinator")
        s.restart("coordinator")
        return campaign

    def test_pause(self):
        with Scene(armed={"coordinator": "cancel.synced"}) as s:
            campaign = self.stopped(s, "pause")
            view = s.cluster.until(lambda: (lambda c: c if c["leased"] == 0 else None)(s.cluster.campaign(campaign)),
                                   "everything is given back")
            self.assertEqual(view["state"], "paused")
            begin, sent = boot_us(), s.accepted()
            self.assertLess(sent, 30)
            s.slow(0)
            s.a_deal_later()
            end = boot_us()
            s.cluster.remuda("campaign", "resume", campaign)
            s.delivered_once(self, campaign)
            self.assertEqual([e for e in s.transcript("mail") if begin < e["t_us"] < end], [])

    def test_cancel(self):
        with Scene(armed={"coordinator": "cancel.synced"}) as s:
            campaign = self.stopped(s, "cancel")
            done = s.cluster.settled(campaign)
            end = boot_us()
            self.assertEqual(done["state"], "cancelled")
            self.assertGreater(done["cancelled"], 0)
            self.assertEqual(done["delivered"] + done["cancelled"], 30, done)
            s.a_deal_later()
            self.assertEqual([e for e in s.transcript("mail") if e["t_us"] > end], [])
            had = {e["rcpt"] for e in s.transcript("accepted")}
            s.judged(self, waiting=[r["email"] for r in s.rows if r["email"] not in had])
            self.assertEqual(len(had), done["delivered"])


if __name__ == "__main__":
    unittest.main()
