"""A unittest class with one world and one cluster for all its tests: starting costs more than most tests do."""

import email
import email.policy
import os
import unittest

from .cluster import Cluster, World
from .proc import Failed, Unavailable, Work

PLAIN = "From: News <news@news.example>\nTo: {{email}}\nSubject: Hello\n\nHello, a plain mail.\n"


class ClusterCase(unittest.TestCase):
    providers = {"small": {"domains": ["a.test"]}}
    world_options = {}
    nodes = ("n1",)
    settings = {}
    node_settings = {}
    rules = None
    serial = 0

    @classmethod
    def setUpClass(cls):
        cls.work = Work()
        cls.addClassCleanup(cls.work.close)
        try:
            cls.before()
            cls.world = World(cls.work, cls.providers, save=cls.work.mkdir("mails", mode=0o777), **cls.world_options).start()
            cls.cluster = Cluster(cls.work, cls.world, cls.nodes, cls.settings, cls.node_settings, cls.rules).start()
            cls.prepare()
        except Unavailable as e:
            raise unittest.SkipTest(str(e)) from None

    @classmethod
    def tearDownClass(cls):
        codes = cls.cluster.stop()
        if any(codes.values()):
            logs = "\n".join(p.log()[-8000:] for p in [*cls.cluster.nodes.values(), cls.cluster.coordinator] if codes.get(p.name))
            raise Failed(f"exit statuses at the end: {codes}\n{logs}")

    @classmethod
    def before(cls):
        """What must be there before the world."""

    @classmethod
    def prepare(cls):
        cls.cluster.source(cls.address(1))
        cls.cluster.stream("bulk", cls.world.keys["news.example"])

    @classmethod
    def address(cls, last, network=0):
        """A source's address; another number of the network is another /24."""
        return f"127.{64 + os.getpid() % 128}.{100 + network}.{last}"

    def send(self, to, *args, template=PLAIN, stream="bulk", **kw):
        """to: an address, a list of them, or rows."""
        type(self).serial += 1
        rows = [to] if isinstance(to, str) else to
        rows = [r if isinstance(r, dict) else {"email": r} for r in rows]
        return self.cluster.send(template, rows, *args, stream=stream, name=f"{type(self).__name__}-{self.serial}", **kw)

    def deliver(self, to, *args, timeout_s=30, **kw):
        """Submits and waits until it is settled."""
        return self.cluster.settled(self.send(to, *args, **kw)["id"], timeout_s)

    def events(self, event=None, **match):
        return self.world.receivers.transcript(event, **match)

    def to(self, address, event="accepted"):
        return [e for e in self.events(event) if e.get("rcpt", "").lower() == address.lower()]

    def mail(self, address):
        """(raw bytes, parsed message) of the one mail to that address."""
        found = self.to(address)
        self.assertEqual(len(found), 1, f"mails to {address}: {found}")
        with open(self.work.path("mails", f"{found[0]['msg']}.eml"), "rb") as f:
            raw = f.read()
        return raw, email.message_from_bytes(raw, policy=email.policy.default)

    def dkim_of(self, address):
        self.world.receivers.verified()
        found = self.to(address)
        return next(e for e in self.events("dkim") if e["msg"] == found[0]["msg"])
