"""A node is killed at the named places of the crash table, and what the receivers saw decides.

| row of the table | probe | test | what the receivers must show |
|---|---|---|---|
| lease received, not started | lease.received | Lease.test_received | nothing before the kill; then each once |
| (the same, expired meanwhile) | lease.received | Lease.test_received_and_expired | each once: the node gave it back when it came again |
| transaction open, dot (or BDAT LAST) not sent | transaction.open | Transaction.test_open | a transaction without acceptance; then each once |
| dot sent, no reply (retry) | dot.sent | Transaction.test_dot_sent_retry | one recipient twice, and it is the one that was named |
| dot sent, no reply (hold) | dot.sent | Transaction.test_dot_sent_hold | each at most once; the named one is held |
| (the three of them, by BDAT) | the same | Bdat.* | the same |
| BDAT LAST sent with its envelope, no reply | transaction.open, dot.sent | Ahead.* | one recipient twice, and it is the one that was named |
| reply read | reply.read | Transaction.test_reply_read | each once |
| blocking verdict read, not alarmed | verdict.read | Verdict.test_read | no MAIL from the source after the verdict; each once from another |
| (the same, read at one site of "other") | verdict.read | Verdict.test_read_at_one_site | likewise to this site; the others' mail goes on from the source |
| report sent, no ack | report.sent | Report.test_sent | each once, settled once |
| recall received | recall.received | Recall.test_received | each once, from either source |
| recall given back | recall.given-back | Recall.test_given_back | the same |
| host lost (another boot id) | lease.received | HostLost.test_unsynced_part_gone | nobody lost; twice only who was named |
| (the same, nothing left of the journal) | - | HostLost.test_journal_gone | the same |

A host that is lost is played by the real binary: its journal is put back to what it was when the lease had come (or is
gone), and it starts under another boot id. That id is bound over /proc/sys/kernel/random/boot_id in a mount namespace of
its own; where that isn't allowed, a preloaded open() leads to it. The program has no switch for it."""

import os
import shutil
import subprocess
import sys
import unittest
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scene import A, B, BLOCKED, LEASE_S, Scene  # noqa: E402

BOOT_ID = "/proc/sys/kernel/random/boot_id"
BIND = f'mount --bind "$0" {BOOT_ID} && exec "$@"'
SHIM = """#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
int open(const char *path, int flags, ...) {
    va_list ap;
    va_start(ap, flags);
    int mode = flags & O_CREAT ? va_arg(ap, int) : 0;
    va_end(ap);
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    return real(strcmp(path, "%s") ? path : "%s", flags, mode);
}
"""


def another_boot(scene, name):
    """From now on, the node believes that its host was started anew."""
    program = scene.program(name)
    path = scene.work.write("boot_id", f"{uuid.uuid4()}\n")
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", BIND, path]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
        program.argv = [*unshare, *program.argv]
        return
    shim = scene.work.path("boot_id.so")
    source = scene.work.write("boot_id.c", SHIM % (BOOT_ID, path))
    scene.work.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, source, "-ldl"])
    program.argv = ["env", f"LD_PRELOAD={shim}", "ASAN_OPTIONS=verify_asan_link_order=0", *program.argv]


class Lease(unittest.TestCase):
    def test_received(self):
        with Scene(armed={"n1": "lease.received"}) as s:
            campaign = s.send()
            s.killed_at_probe("n1")
            self.assertEqual(s.transcript("mail"), [])
            s.restart("n1")
            s.delivered_once(self, campaign)
            self.assertEqual(s.events("lease.expired"), [])

    def test_received_and_expired(self):
        with Scene(armed={"n1": "lease.received"}) as s:
            campaign = s.send()
            s.killed_at_probe("n1")
            s.cluster.until(lambda: s.events("lease.expired"), "the lease has expired", LEASE_S * 3)
            self.assertEqual(s.cluster.campaign(campaign)["in_doubt"], 20)
            self.assertEqual(s.transcript("mail"), [])
            s.restart("n1")
            s.delivered_once(self, campaign)


class Transaction(unittest.TestCase):
    chunking = None

    def scene(self, **kw):
        return Scene(chunking=self.chunking, **kw)

    def test_open(self):
        with self.scene(armed={"n1": "transaction.open:3"}) as s:
            campaign = s.send()
            s.killed_at_probe("n1")
            s.restart("n1")
            s.delivered_once(self, campaign)
            self.assertEqual(len(s.transcript("mail")), 21, "no transaction was open")

    def dot_sent(self, s):
        campaign = s.send()
        s.reached("n1")
        s.wait_accepted(3)  # the receiver has read the dot whose reply the node will never see
        uncertain = s.transcript("accepted")[2]["rcpt"]
        s.program("n1").kill()
        s.restart("n1")
        return campaign, uncertain

    def test_dot_sent_retry(self):
        with self.scene(armed={"n1": "dot.sent:3"}) as s:
            campaign, uncertain = self.dot_sent(s)
            verdict = s.delivered_once(self, campaign, [uncertain])
            self.assertEqual(s.named(campaign), {uncertain})
            self.assertEqual(verdict["uncertain_duplicates"], 1)

    def test_dot_sent_hold(self):
        with self.scene(armed={"n1": "dot.sent:3"}, stream={"uncertain": "hold"}) as s:
            campaign, uncertain = self.dot_sent(s)
            done = s.cluster.settled(campaign)
            self.assertEqual((done["delivered"], done["held"], done["uncertain"]), (19, 1, 1), done)
            self.assertEqual(s.named(campaign), {uncertain})
            self.assertEqual([e["recipient"] for e in s.events("held", campaign)], [uncertain])
            self.assertEqual(s.judged(self)["delivered"], 20)

    def test_reply_read(self):
        with self.scene(armed={"n1": "reply.read:3"}) as s:
            campaign = s.send()
            s.killed_at_probe("n1")
            s.restart("n1")
            s.delivered_once(self, campaign)
            self.assertEqual(len(s.transcript("accepted")), 20)
            self.check_content(s)

    def check_content(self, s):
        self.assertEqual({e["chunking"] for e in s.transcript("data")}, {bool(self.chunking)})


class Bdat(Transaction):
    chunking = "on"


class Ahead(Transaction):
    """The content is with the receiver as soon as the transaction is open: an end there leaves an uncertain message."""
    chunking = "ahead"

    def test_open(self):
        with self.scene(armed={"n1": "transaction.open:3"}) as s:
            campaign, uncertain = self.dot_sent(s)
            s.delivered_once(self, campaign, [uncertain])
            self.assertEqual(s.named(campaign), {uncertain})

    def test_reply_read(self):
        """The next message is in the journal with this one's outcome, as sent: nobody has it, and nobody can tell."""
        with self.scene(armed={"n1": "reply.read:3"}) as s:
            campaign = s.send()
            s.killed_at_probe("n1")
            self.assertEqual(len(s.transcript("mail")), 3)
            s.restart("n1")
            self.assertEqual(s.cluster.settled(campaign)["uncertain"], 1)
            self.assertEqual(s.judged(self)["delivered"], 20)
            self.assertEqual(len(s.transcript("accepted")), 20)
            self.check_content(s)


class Verdict(unittest.TestCase):
    def test_read(self):
        with Scene(armed={"n1": "verdict.read"}) as s:
            s.add_node("n2")
            s.world.receivers.block("outlook", A, "mail", BLOCKED)
            campaign = s.send()
            s.killed_at_probe("n1")
            self.assertEqual(s.cluster.incidents(), [], "the coordinator knew already")
            s.restart("n1")
            s.cluster.until(lambda: s.cluster.lane(A, "outlook")["state"] == "quarantined", "the verdict was announced again")
            self.assertIn("0 of 1 leases are live", s.program("n1").log(), "it was told to go on with its lease")
            s.cluster.source(B, "n2")
            verdict = s.delivered_once(self, campaign)
            self.assertEqual({row["ip"] for row in verdict["sources"] if row["accepted"]}, {B})
            self.assertEqual((verdict["sent_after_block"], verdict["in_grace"]), (0, 0), verdict["blocks"])


    def test_read_at_one_site(self):
        with Scene(armed={"n1": "verdict.read"}, small=("liar.test", "fair.test")) as s:
            s.add_node("n2")
            s.world.receivers.block("liar.test", A, "mail", "550 5.7.1 Service unavailable; Client host [%ip] blocked using zen.example.org")
            campaign = s.send()
            s.killed_at_probe("n1")
            self.assertEqual(s.cluster.incidents(), [], "the coordinator knew already")
            s.restart("n1")
            s.cluster.until(lambda: s.cluster.source_view(A)["stopped_sites"], "the verdict was announced again")
            s.cluster.until(lambda: s.cluster.campaign(campaign)["delivered"] == 10, "the other site has its mail")
            self.assertEqual(s.cluster.lane(A, "other")["state"], "open")
            s.cluster.source(B, "n2")
            verdict = s.delivered_once(self, campaign)
            self.assertEqual({e["ip"] for e in s.transcript("accepted", provider="fair.test")}, {A})
            self.assertEqual({e["ip"] for e in s.transcript("accepted", provider="liar.test")}, {B})
            self.assertEqual((verdict["sent_after_block"], verdict["in_grace"]), (0, 0), verdict["blocks"])


class Report(unittest.TestCase):
    def test_sent(self):
        with Scene(armed={"n1": "report.sent"}) as s:
            campaign = s.send()
            s.killed_at_probe("n1")
            s.cluster.until(lambda: s.cluster.campaign(campaign)["delivered"], "the report has arrived")
            s.restart("n1")
            s.delivered_once(self, campaign, s.named(campaign))
            self.assertLessEqual(len(s.named(campaign)), 1)


class Recall(unittest.TestCase):
    """A source is paused while its node has most of the work unstarted; another one waits for it."""

    def test_received(self):
        with Scene(armed={"n1": "recall.received"}) as s:
            s.add_node("n2")
            campaign = s.leased()
            s.cluster.source(B, "n2")
            s.cluster.remuda("source", "pause", A)
            s.killed_at_probe("n1")
            self.assertEqual(s.cluster.campaign(campaign)["leased"], 20, "dealt again before it was given back")
            s.go_on()
            s.restart("n1")
            verdict = s.delivered_once(self, campaign)
            self.assertEqual({row["ip"] for row in verdict["sources"] if row["accepted"]}, {B})

    def test_given_back(self):
        with Scene(armed={"n1": "recall.given-back"}) as s:
            s.add_node("n2")
            s.slow(50)
            campaign = s.send()
            s.wait_accepted(3)
            s.cluster.source(B, "n2")
            s.cluster.remuda("source", "pause", A)
            s.killed_at_probe("n1")
            s.slow(0)
            s.restart("n1")
            s.cluster.settled(campaign)
            named = s.named(campaign)
            self.assertLessEqual(len(named), 1, "at most one transaction was open")
            s.delivered_once(self, campaign, named)


class HostLost(unittest.TestCase):
    def lost(self, s, campaign, saved):
        """The node's host goes down after some messages; `saved` is what its disk has kept."""
        s.wait_accepted(4)
        node = s.program("n1")
        node.kill()
        data = s.cluster.path("n1.data")
        shutil.rmtree(data)
        if saved:
            shutil.copytree(saved, data)
        another_boot(s, "n1")
        s.slow(0)
        s.restart("n1")
        s.cluster.settled(campaign)
        doubted = {e["recipient"] for e in s.events("in-doubt", campaign)}
        named = s.named(campaign)
        settled_before = {e["recipient"] for e in s.events("delivered", campaign)} - doubted
        self.assertTrue(doubted, "nothing was in doubt")
        self.assertEqual(named, doubted, "every leased message without an outcome is in doubt, counted and named")
        self.assertEqual(len(settled_before) + len(doubted), 20)
        s.delivered_once(self, campaign, named)
        for recipient in settled_before:
            self.assertEqual(len(s.transcript("accepted", rcpt=recipient)), 1, "a settled message was sent again")

    def test_unsynced_part_gone(self):
        with Scene(armed={"n1": "lease.received"}) as s:
            s.slow(50)
            campaign = s.send()
            s.reached("n1")
            saved = s.work.path("n1.saved")
            shutil.copytree(s.cluster.path("n1.data"), saved)
            s.program("n1").child.resume()
            self.lost(s, campaign, saved)

    def test_journal_gone(self):
        with Scene() as s:
            s.slow(50)
            self.lost(s, s.send(), None)


if __name__ == "__main__":
    unittest.main()
