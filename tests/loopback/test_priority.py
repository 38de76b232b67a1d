"""Transactional mail behind a great bulk campaign, on the same source at the same slow provider: by the receivers' own log."""

import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import ClusterCase  # noqa: E402

PROVIDERS = 'provider "slow" { mx = [".slow.test"]; connections = 4; connections_per_site = 4; messages_per_connection = 1000 }\n'
URGENT, REPLY_S = 20, 0.6  # each final dot is answered so late
# Nothing of them has to wait for bulk mail but what is open on one connection: they have at least one for themselves.
BOUND_S = URGENT * REPLY_S + 3


class Priority(ClusterCase):
    providers = {"slow": {"domains": ["slow.test"], "delay_dot": "600ms"}}

    @classmethod
    def before(cls):
        cls.settings = {"providers": cls.work.write("providers.conf", PROVIDERS)}

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.cluster.stream("urgent", cls.world.keys["news.example"], priority=0)

    def test_it_does_not_wait_for_the_bulk_campaign(self):
        self.send([f"bulk{i}@slow.test" for i in range(3000)])
        self.cluster.until(lambda: len(self.events("accepted")) >= 12, "the bulk campaign is at work", timeout_s=30)
        began = time.time() * 1000
        k = self.send([f"now{i}@slow.test" for i in range(URGENT)], stream="urgent")
        self.cluster.settled(k["id"], 120)
        urgent = [e["wall_ms"] for e in self.events("accepted") if e["rcpt"].startswith("now")]
        bulk = [e["wall_ms"] for e in self.events("accepted") if e["rcpt"].startswith("bulk")]
        self.assertEqual(len(urgent), URGENT)
        self.assertLess((max(urgent) - began) / 1000, BOUND_S)
        between = [at for at in bulk if began < at < max(urgent)]
        self.assertGreaterEqual(len(between), URGENT // 9, "bulk mail goes on meanwhile")
        at_once = sorted(bulk)[:12]
        self.assertLess(len({e["conn"] for e in self.events("accepted") if e["wall_ms"] <= at_once[-1]}), 4, "one connection is kept")


if __name__ == "__main__":
    unittest.main()
