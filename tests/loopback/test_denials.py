"""A refusal that is usually about an unknown user, and not always, suppresses on the second: what is remembered meanwhile is shown, survives a
crash, and a delivery undoes it."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import ClusterCase  # noqa: E402

TEXT = "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)"


class DeniedTwice(ClusterCase):
    providers = {"big": {"domains": ["big.test"], "unknown_users": "ann,bob", "unknown_text": TEXT}}

    def check(self, address):
        return self.cluster.get(f"suppressions/{address}")

    def test_the_second_denial_suppresses_and_a_delivery_ends_it(self):
        ann, bob, eve = (f"{name}@big.test" for name in ("ann", "bob", "eve"))
        self.deliver([ann, bob, eve], timeout_s=60)
        for address in (ann, bob):
            a = self.check(address)
            self.assertEqual((a["suppressed"], len(a["entries"])), (False, 1), a)
            e = a["entries"][0]
            self.assertEqual((e["pending"], e["denials"], e["reason"], e["evidence"]), (True, 1, "denied once", "550 5.4.1 at rcpt"))
            self.assertGreater(e["forgotten"], e["since"])
        self.assertEqual(self.check(eve)["entries"], [])
        shown = self.cluster.remuda("suppress", "check", ann, check=False, as_json=False)
        self.assertEqual(shown.code, 3, shown.text)
        self.assertRegex(shown.out, r"(?s)ann@big.test is not suppressed:.*is pending since .*: denied once: 550 5.4.1 at rcpt\n.*"
                                    r"Denied again\n +before 20\d\d-.*, it is suppressed")

        self.cluster.coordinator.kill()
        self.cluster.start_coordinator()
        self.world.receivers.control("set big unknown_users ann")  # bob's mailbox was being made
        self.deliver([ann, bob, eve], timeout_s=60)
        a = self.check(ann)
        self.assertEqual((a["suppressed"], a["entries"][0]["pending"], a["entries"][0]["reason"]), (True, False, "hard bounce"))
        self.assertEqual(self.check(bob)["entries"], [])
        self.assertTrue(any(e["type"] == "suppression.removed" and "denied once" in e.get("text", "") for e in self.cluster.events()))
        refused = len(self.events("refused", provider="big", reason="unknown"))
        self.assertEqual(refused, 3)
        self.deliver([ann, bob], timeout_s=60)  # ann isn't asked about again
        self.assertEqual(len(self.events("refused", provider="big", reason="unknown")), refused)


if __name__ == "__main__":
    unittest.main()
