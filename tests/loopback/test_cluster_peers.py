"""Remuda with software of other people: Postfix and smtp-sink as receivers, PostgreSQL as the store, IPv6, the API over TLS."""

import http.client
import os
import socket
import ssl
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest import Postfix, Postgres, Rbldnsd, SmtpSink, free_port  # noqa: E402
from remudatest.case import ClusterCase  # noqa: E402
from remudatest.cluster import patience, shared_port  # noqa: E402


class PostfixReceives(ClusterCase):
    """Over STARTTLS, into a maildir, on connections that are used again."""

    @classmethod
    def before(cls):
        addr = cls.address(1, network=9)
        cls.port = shared_port([addr, cls.address(2, network=9)])
        cls.postfix = Postfix(cls.work, addr, cls.port, deliver="maildir",
                              settings={"smtpd_tls_loglevel": "1", "smtpd_tls_received_header": "yes",
                                        "smtpd_relay_restrictions": "reject_unauth_destination"})
        cls.postfix.start()
        cls.world_options = {"port": cls.port, "hosts": {"mx.postfix.test": addr}, "foreign": {"postfix.test": ["mx.postfix.test"]}}

    def test_campaign(self):
        c = self.deliver([f"user{i}@postfix.test" for i in range(60)])
        self.assertEqual((c["delivered"], c["deferrals"]), (60, 0))
        self.cluster.until(lambda: len(self.postfix.mails()) == 60, "Postfix delivered all")
        log = self.postfix.maillog()
        self.assertLess(log.count(": connect from "), 30, "connections were not used again")
        self.assertIn("Anonymous TLS connection established", log)
        mail = self.postfix.mails("user7@postfix.test")
        self.assertEqual(len(mail), 1)
        self.assertIn(b"using TLSv1.3", mail[0])
        self.assertRegex(mail[0], rb"Return-Path: <b\+[^>]+@bounce\.news\.example>")
        self.assertIn(b"\nDKIM-Signature:", mail[0])
        self.assertEqual(self.deliver(["user99@postfix.test"])["delivered"], 1)
        story = [e for e in self.cluster.events(recipient="user99@postfix.test") if e["type"] == "delivered"][0]
        self.assertTrue(story["tls"])
        self.assertIn("queued as", story["reply"])

    def test_what_postfix_refuses_bounces(self):
        self.world.dns.set("elsewhere.test", [("@", "MX", "10 mx.postfix.test.")])
        self.world.dns.stop()
        self.world.dns.start()
        c = self.deliver(["x@elsewhere.test"])
        self.assertEqual(c["bounced"], 1)
        self.cluster.until(lambda: "Relay access denied" in str(self.cluster.events(recipient="x@elsewhere.test")), "the history has it")


class SinkReceives(ClusterCase):
    @classmethod
    def before(cls):
        addr = cls.address(1, network=9)
        port = shared_port([addr, cls.address(2, network=9)])
        cls.sink = SmtpSink(cls.work, addr, port).start()
        cls.world_options = {"port": port, "hosts": {"mx.sink.test": addr}, "foreign": {"sink.test": ["mx.sink.test"]}}

    def test_campaign(self):
        c = self.deliver([f"user{i}@sink.test" for i in range(500)])
        self.assertEqual((c["delivered"], c["deferrals"], c["uncertain"]), (500, 0, 0))


class ListedByRbldnsd(ClusterCase):
    """Two providers ask a real rbldnsd about every client, a third asks nobody. One of our two sources gets listed, and is taken off again."""
    ZONE = "zen.list.test"
    nodes = ("n1", "n2")

    @classmethod
    def before(cls):
        cls.lists = Rbldnsd(cls.work, cls.address(53, network=8), [cls.ZONE]).start()
        asks = {"dnsbl_zone": cls.ZONE, "dnsbl_server": cls.lists.server, "dnsbl_cache": "100ms"}
        cls.providers = {"yahoo": {"domains": {"yahoo.com": ["mta5.am0.yahoodns.net"]}, "dnsbl_stage": "greeting,mail", **asks},
                         "gmx": {"domains": {"gmx.net": ["mx00.gmx.net"]}, "dnsbl_stage": "greeting,mail", **asks},
                         "small": {"domains": ["a.test"]}}

    @classmethod
    def prepare(cls):
        cls.bad, cls.good = cls.address(1), cls.address(1, network=1)
        cls.cluster.source(cls.bad, "n1", pool="one,both")
        cls.cluster.source(cls.good, "n2", pool="both")
        for name, pool in (("bulk", "both"), ("alone", "one")):
            cls.cluster.stream(name, cls.world.keys["news.example"], pool=pool)

    def sources(self, provider, prefix):
        return {e["ip"] for e in self.events("accepted", provider=provider) if e["rcpt"].startswith(prefix)}

    def lane(self, provider):
        return self.cluster.lane(self.bad, provider)["state"]

    def verdict(self, provider):
        return next(iter(self.events("verdict", provider=provider, ip=self.bad)), None)

    def late(self, t_us, grace_ms=250, **match):
        return [e for e in self.events("mail", ip=self.bad, **match) if e["t_us"] > t_us + grace_ms * 1000 * patience(1)]

    def test_listed_and_delisted(self):
        for domain in ("yahoo.com", "gmx.net", "a.test"):
            self.assertEqual(self.deliver([f"before@{domain}"], stream="alone")["delivered"], 1)
        self.lists.add(self.ZONE, self.bad)
        # the first provider: its lane stops, what waits goes to the other network, everybody gets it
        waiting = self.send([f"alone{i}@yahoo.com" for i in range(20)], stream="alone")
        self.cluster.until(lambda: self.verdict("yahoo") and self.lane("yahoo") == "quarantined", "the lane is closed")
        self.assertEqual(self.deliver([f"moved{i}@yahoo.com" for i in range(50)])["delivered"], 50)
        self.assertEqual(self.sources("yahoo", "moved"), {self.good})
        self.assertEqual(self.late(self.verdict("yahoo")["t_us"], provider="yahoo"), [])
        incident = next(i for i in self.cluster.incidents() if i["provider"] == "yahoo")
        self.assertIn(f"blocked using {self.ZONE}", incident["cause"])
        self.assertEqual((incident["source"], incident["class"], incident["state"]), (self.bad, "ip_blocklisted", "open"))
        # one voice isn't the world's: it goes on elsewhere
        self.assertEqual(self.deliver(["still@a.test"], stream="alone")["delivered"], 1)
        # the second, unrelated one: it stops everywhere
        self.send(["second@gmx.net"], stream="alone")
        self.cluster.until(lambda: self.cluster.source_view(self.bad)["lane_state"] == "quarantined", "the source is closed")
        held = self.send([f"held{i}@a.test" for i in range(10)], stream="alone")
        self.assertEqual(self.deliver([f"rest{i}@a.test" for i in range(30)])["delivered"], 30)
        self.assertEqual(self.sources("small", "rest"), {self.good})
        self.assertEqual(self.late(self.verdict("gmx")["t_us"], 1000), [], "nothing to anybody")
        self.assertEqual(self.cluster.campaign(held["id"])["delivered"], 0)
        self.assertEqual(self.cluster.remuda("suppress", "check", "second@gmx.net", check=False).code, 3)
        # taken off the list: the receivers believe rbldnsd, and Remuda its operator
        self.lists.remove(self.ZONE, self.bad)
        for i in self.cluster.incidents(every=False):
            self.cluster.remuda("incident", "resolve", i["id"], "--reason", "delisted")
        self.assertEqual(self.cluster.settled(held["id"])["delivered"], 10)
        self.assertEqual(self.cluster.settled(waiting["id"])["delivered"], 20)
        for domain in ("yahoo.com", "gmx.net", "a.test"):
            self.assertEqual(self.deliver([f"after@{domain}"], stream="alone")["delivered"], 1)
        self.assertEqual(self.sources("yahoo", "after"), {self.bad})
        self.assertEqual(self.cluster.incidents(every=False), [])


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


@unittest.skipUnless(has_ipv6(), "this host has no IPv6")
class Ipv6(ClusterCase):
    providers = {"six": {"domains": ["six.test"], "address": "::1"}, "small": {"domains": ["a.test"]}}

    @classmethod
    def prepare(cls):
        cls.cluster.source("::1", helo="mail6.news.example")
        cls.cluster.stream("bulk", cls.world.keys["news.example"])

    def test_source_and_receiver(self):
        c = self.deliver([f"u{i}@six.test" for i in range(10)])
        self.assertEqual(c["delivered"], 10)
        self.assertEqual({e["ip"] for e in self.events("accepted", provider="six")}, {"::1"})
        self.assertEqual(self.cluster.source_view("::1")["network"], "::/64")

    def test_a_receiver_of_the_other_family_waits(self):
        c = self.send(["u@a.test"])
        self.cluster.until(lambda: self.cluster.campaign(c["id"])["deferrals"] or None, "it is deferred")
        self.assertEqual(self.events("rcpt", provider="small"), [])
        self.cluster.remuda("campaign", "cancel", c["id"])
        self.cluster.settled(c["id"])


@unittest.skipUnless(has_ipv6(), "this host has no IPv6")
class BothFamilies(ClusterCase):
    """A pool of IPv4 and IPv6 sources: what one family can't reach, the other is asked for at once."""
    providers = {"six": {"domains": ["six.test"], "address": "::1"}, "small": {"domains": ["a.test"]}}

    @classmethod
    def prepare(cls):
        cls.cluster.source("::1", helo="mail6.news.example")
        cls.cluster.source(cls.address(1))
        cls.cluster.source(cls.address(2))
        cls.cluster.stream("bulk", cls.world.keys["news.example"])

    def test_each_receiver_gets_its_mail_by_its_own_family(self):
        c = self.deliver([f"u{i}@{d}" for i in range(5) for d in ("six.test", "a.test")])
        self.assertEqual((c["delivered"], c["bounced"]), (10, 0))
        self.assertEqual({e["ip"] for e in self.events("accepted", provider="six")}, {"::1"})
        self.assertNotIn("::1", {e["ip"] for e in self.events("accepted", provider="small")})
        self.assertGreater(c["deferrals"], 0)  # one order of preference: one of the two receivers was out of reach first
        self.assertEqual(self.cluster.incidents(), [])
        # so many go from more lanes than one, and the other family finds out as well: by one lease
        c = self.deliver([f"v{i}@{d}" for i in range(300) for d in ("six.test", "a.test")])
        self.assertEqual(c["delivered"], 600)
        self.assertLessEqual(c["deferrals"], 200)
        c = self.deliver([f"w{i}@{d}" for i in range(300) for d in ("six.test", "a.test")])
        self.assertEqual((c["delivered"], c["deferrals"]), (600, 0), "what a family doesn't reach is remembered")


@unittest.skipUnless(has_ipv6(), "this host has no IPv6")
class BrokenFamily(ClusterCase):
    """A receiver with an IPv6 address where nobody is: IPv4 gets through, and IPv6 isn't tried again with every message."""
    world_options = {"hosts": {"mx.a.test": "::1"}}

    @classmethod
    def prepare(cls):
        cls.cluster.source("::1", helo="mail6.news.example")
        cls.cluster.source(cls.address(1))
        cls.cluster.stream("bulk", cls.world.keys["news.example"], retry_min="60s", retry_max="60s")

    def test_the_other_family_is_asked_and_the_broken_one_remembered(self):
        for i in range(10):  # until the source of the broken family had its turn
            c = self.deliver([f"u{i}-{k}@a.test" for k in range(10)])
            self.assertEqual((c["delivered"], c["bounced"]), (10, 0))
            if c["deferrals"]:
                break
        self.assertGreater(c["deferrals"], 0)
        self.assertEqual({e["ip"] for e in self.events("accepted")}, {self.address(1)})
        c = self.deliver([f"v{k}@a.test" for k in range(300)])
        self.assertEqual((c["delivered"], c["deferrals"]), (300, 0))


class PostgresStore(ClusterCase):
    @classmethod
    def before(cls):
        cls.postgres = Postgres(cls.work).start()
        cls.settings = {"store": "postgresql", "postgresql": cls.postgres.url}

    def test_campaign_and_restart(self):
        c = self.deliver([f"u{i}@a.test" for i in range(300)])
        self.assertEqual((c["delivered"], c["state"]), (300, "done"))
        self.cluster.remuda("stream", "pause", "bulk")
        later = self.send([f"v{i}@a.test" for i in range(20)])
        self.cluster.coordinator.kill()
        self.cluster.start_coordinator()
        self.assertEqual(self.cluster.campaign(later["id"])["queued"], 20)
        self.cluster.remuda("stream", "resume", "bulk")
        self.assertEqual(self.cluster.settled(later["id"], 60)["delivered"], 20)
        self.assertEqual(len(self.events("accepted")), 320)


class ApiOverTls(ClusterCase):
    @classmethod
    def before(cls):
        cls.work.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                      "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", cls.work.path("api.key"),
                      "-out", cls.work.path("api.pem")])
        cls.token = cls.work.write("token", "a-long-enough-token-for-a-test-0123456789\n")
        os.chmod(cls.token, 0o600)
        cls.port = free_port()
        cls.settings = {"api.listen": f"127.0.0.1:{cls.port}", "api.tls_certificate": cls.work.path("api.pem"),
                        "api.tls_key": cls.work.path("api.key"), "api.token_file": cls.token}

    def ask(self, token=None):
        context = ssl.create_default_context(cafile=self.work.path("api.pem"))
        c = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)
        self.addCleanup(c.close)
        c.request("GET", "/v1/status", headers={"Authorization": f"Bearer {token}"} if token else {})
        return c.getresponse().status

    def test_a_token_is_needed(self):
        with open(self.token, encoding="ascii") as f:
            good = f.read().strip()
        self.assertEqual([self.ask(), self.ask("wrong"), self.ask(good[:-1]), self.ask(good)], [401, 401, 401, 200])

    def test_the_command(self):
        url, ca = f"https://127.0.0.1:{self.port}", self.work.path("api.pem")
        answer = self.cluster.remuda("--token-file", self.token, "--ca", ca, "status", api=url)
        self.assertEqual(answer.json["nodes_connected"], 1)
        wrong = self.work.write("wrong", "another-token-of-some-length-0123456789\n")
        os.chmod(wrong, 0o600)
        self.assertEqual(self.cluster.remuda("--token-file", wrong, "--ca", ca, "status", api=url, check=False).code, 1)
        self.assertEqual(self.cluster.remuda("--token-file", self.token, "status", api=url, check=False).code, 4, "unknown certificate")

    def test_no_tls_no_answer(self):
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            s.settimeout(10)
            try:
                self.assertNotIn(b"200", s.recv(4096))
            except ConnectionResetError:
                pass


if __name__ == "__main__":
    unittest.main()
