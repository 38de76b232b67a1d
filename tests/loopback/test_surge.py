"""A provider denies users who exist, for half an hour (here as long as its campaign takes): hardly anybody stays suppressed for it, and one
command undoes the rest. The truth is who exists; what the receivers said is their configuration; what is suppressed is asked address by
address, over the API."""

import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import ClusterCase  # noqa: E402

PROVIDERS = """
provider "big"    { mx = [".big.test"]; connections = 20; connections_per_site = 20; messages_per_connection = 1000 }
provider "second" { mx = [".second.test"]; connections = 20; connections_per_site = 20; messages_per_connection = 1000 }
"""
TEXT = "550-5.1.1 The email account that you tried to reach does not exist.\\n5.1.1 <%rcpt> no such user here"


class Surge(ClusterCase):
    providers = {"big": {"domains": ["big.test"], "unknown_users": "gone*", "unknown_text": TEXT},
                 "second": {"domains": ["second.test"], "unknown_users": "gone*"}}

    @classmethod
    def before(cls):
        cls.settings = {"providers": cls.work.write("providers.conf", PROVIDERS)}

    def people(self, domain, first, n):
        """n addresses; one in a hundred of them doesn't exist."""
        return [f"{'gone' if i % 100 == 50 else 'u'}{i}@{domain}" for i in range(first, first + n)]

    def suppressed(self, addresses):
        return {a for a in addresses if self.cluster.get(f"suppressions/{a}")["suppressed"]}

    def surge(self):
        found = [i for i in self.cluster.incidents() if i.get("surge")]
        return found[0] if found else None

    def test_a_fifth_of_valid_users_is_denied(self):
        remuda = self.cluster.remuda
        before = self.people("big.test", 0, 1000)
        self.deliver(before + self.people("second.test", 0, 500), timeout_s=60)
        self.assertEqual(self.suppressed(before), {a for a in before if a.startswith("gone")})
        self.assertIsNone(self.surge())

        self.world.receivers.control("set big unknown_users gone*,u*3,u*8")
        during, second = self.people("big.test", 1000, 4000), self.people("second.test", 1000, 500)
        ident = self.send(during + second)["id"]
        self.cluster.until(self.surge, "the surge is recognised", timeout_s=60)
        self.cluster.coordinator.kill()  # and remembered
        self.cluster.start_coordinator()
        self.cluster.settled(ident, 120)
        denied = {e["rcpt"] for e in self.events("refused", provider="big", reason="unknown") if e["rcpt"].startswith("u")}
        self.assertGreater(len(denied), 700)
        wrong = {a for a in self.suppressed(during) if a.startswith("u")}
        self.assertLess(len(wrong) / 4000, 0.001, f"wrongly suppressed: {sorted(wrong)}")
        self.assertEqual(self.suppressed(second), {a for a in second if a.startswith("gone")}, "elsewhere unknown is unknown")
        i = self.surge()
        self.assertEqual((i["provider"], i["class"], i["state"], i["surge"]["over"]), ("big", "user_unknown", "open", None))
        self.assertIn("5.1.1", i["cause"])
        self.assertGreater(i["surge"]["pending"], 700)
        someone = sorted(denied - wrong)[0]
        a = remuda("suppress", "check", someone, check=False, as_json=False)
        self.assertEqual(a.code, 3, a.text)
        self.assertRegex(a.out, rf"(?s){someone} is not suppressed:.*is pending since .*incident {i['id']}\)")

        self.world.receivers.control("set big unknown_users gone*")  # the half hour is over
        after = self.people("big.test", 5000, 500)
        self.deliver(after, timeout_s=60)
        i = self.surge()
        self.assertIsNotNone(i["surge"]["over"])
        shown = remuda("incident", "show", str(i["id"]), as_json=False).out
        self.assertRegex(shown, r"surge +since .*, over since (?s:.*)pending +[\d,]+ (?s:.*)next .*suppress undo --incident")
        wrong_kind = remuda("suppress", "undo", "--incident", "99", check=False, as_json=False)
        self.assertEqual(wrong_kind.code, 3, wrong_kind.text)
        done = remuda("suppress", "undo", "--incident", str(i["id"]), "--reason", "their support says so", as_json=False).out
        self.assertRegex(done, r"incident \d+: [\d,]+ addresses may be contacted again")
        self.assertFalse({a for a in self.suppressed(during) if a.startswith("u")})
        self.assertEqual(self.surge()["state"], "resolved")
        self.assertTrue(any(e["type"] == "suppression.removed" and e.get("text") == "their support says so" for e in self.cluster.events()))
        again = sorted(denied)[:200]
        c = self.deliver(again + self.people("big.test", 6000, 300), timeout_s=60)
        self.assertEqual(c["delivered"], 200 + 297)
        self.assertEqual(len(self.suppressed(self.people("big.test", 6000, 300))), 3, "unknown is unknown again")
        self.assertTrue(re.search(r"\d", done))


if __name__ == "__main__":
    unittest.main()
