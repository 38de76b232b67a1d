"""Transport security with software of other people: Postfix with good, expired and wrong certificates, zones that Knot signs
and unbound validates, policy hosts of MTA-STS; and what posttls-finger thinks of the same receivers."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest import Postfix, free_port  # noqa: E402
from remudatest.case import ClusterCase  # noqa: E402
from remudatest.cluster import shared_port  # noqa: E402
from remudatest.tls import Authority, PolicyHosts, Validator, finger, tlsa  # noqa: E402

GOOD, OLD, WRONG, SELF, BARE, BROKEN = "good", "old", "wrong", "self", "bare", "broken"

# domain: (receiver, records of DANE, what becomes of its mail, why when it fails, posttls-finger's level and verdict)
# The last is None where the two are not asked the same.
DANE = {
    "ee": (SELF, ["ee"], "dane", "", ("dane", "verified")),
    "ee-full": (SELF, ["full"], "dane", "", ("dane", "verified")),
    "ee-old": (OLD, ["ee"], "dane", "", ("dane", "verified")),  # usage 3 knows no expiry and no names
    "ee-wrong": (WRONG, ["ee"], "dane", "", ("dane", "verified")),
    "ta": (GOOD, ["ta"], "dane", "", ("dane", "verified")),
    "ta-old": (OLD, ["ta"], "deferred", "certificate-expired", ("dane", "refused")),
    "ta-wrong": (WRONG, ["ta"], "deferred", "certificate-host-mismatch", ("dane", "refused")),
    "two": (SELF, ["other", "ee"], "dane", "", ("dane-only", "verified")),  # a rollover: one of them is enough
    "mismatch": (SELF, ["other"], "deferred", "validation-failure", ("dane", "refused")),
    "unusable": (SELF, ["unusable"], "encrypted", "", ("dane", "encrypted")),
    "none": (SELF, [], "encrypted", "", ("dane-only", "refused")),
    "noserver": (BARE, ["ee"], "deferred", "dane-required", ("dane", "refused")),
    "tlsabogus": (SELF, ["ee"], "deferred", "dnssec-invalid", ("dane", "refused")),
    "unsigned": (SELF, ["other"], "encrypted", "", None),  # an unsigned TLSA record says nothing
}
# domain: (receiver, policy mode, policy host's answer, what becomes of its mail, why, posttls-finger's verdict at level secure)
STS = {
    "sts-good": (GOOD, "enforce", "policy", "mta-sts", "", "verified"),
    "sts-star": (GOOD, "enforce", "star", "mta-sts", "", "verified"),
    "sts-old": (OLD, "enforce", "policy", "deferred", "certificate-expired", "refused"),
    "sts-wrong": (WRONG, "enforce", "policy", "deferred", "certificate-host-mismatch", "refused"),
    "sts-self": (SELF, "enforce", "policy", "deferred", "certificate-not-trusted", "refused"),
    "sts-bare": (BARE, "enforce", "policy", "deferred", "starttls-not-supported", "refused"),
    "sts-othermx": (GOOD, "enforce", "other", "deferred", "validation-failure", None),
    "sts-testing": (OLD, "testing", "policy", "encrypted", "certificate-expired", None),
    "sts-none": (OLD, "none", "policy", "encrypted", "", None),
    "sts-moved": (GOOD, "enforce", "redirect", "encrypted", "sts-policy-fetch-error", None),
    "sts-big": (GOOD, "enforce", "big", "encrypted", "sts-policy-fetch-error", None),
    "sts-cert": (GOOD, "enforce", "certificate", "encrypted", "sts-webpki-invalid", None),
    "sts-typo": (GOOD, "enforce", "typo", "encrypted", "sts-policy-invalid", None),
    "sts-private": (GOOD, "enforce", "private", "encrypted", "sts-policy-fetch-error", None),
    "sts-html": (GOOD, "enforce", "html", "encrypted", "sts-policy-invalid", None),
}
PLAIN = {"broken": (BROKEN, "plain", "validation-failure"), "bare": (BARE, "plain", "starttls-not-supported")}
BOTH = "both"  # DANE good, MTA-STS bad: DANE wins


class Domains(ClusterCase):
    """One campaign to every kind of receiver."""

    @classmethod
    def before(cls):
        at = lambda n: cls.address(n, network=9)  # noqa: E731
        cls.receiver = {kind: at(i + 1) for i, kind in enumerate((GOOD, OLD, WRONG, SELF, BARE, BROKEN))}
        names = [*DANE, *STS, *PLAIN, BOTH]
        cls.port = shared_port([*cls.receiver.values(), cls.address(2, network=8)])
        cls.authority = Authority(cls.work)
        mx = [f"mx.{n}.example" for n in names]
        cls.chain = {GOOD: cls.authority.issue("good", mx), OLD: cls.authority.issue("old", mx, expired=True),
                     WRONG: cls.authority.issue("wrong", ["mx.elsewhere.example"]),
                     SELF: cls.authority.issue("self", mx, self_signed=True)}
        over = {k: {"smtpd_tls_chain_files": cls.chain[k]} for k in cls.chain}
        over[BARE] = {"smtpd_tls_security_level": "none"}
        over[BROKEN] = {"smtpd_tls_chain_files": cls.chain[SELF], "smtpd_tls_protocols": "TLSv1"}
        listeners = {cls.receiver[k]: v for k, v in over.items()}
        cls.postfix = Postfix(cls.work, cls.address(2, network=8), cls.port, domains=[f"{n}.example" for n in names],
                              settings={"smtpd_tls_loglevel": "1"}, listeners=listeners).start()
        cls.policy_hosts()
        cls.validator = Validator(cls.work, cls.address(53, network=8), cls.zones(),
                                  unsigned=[f"{n}.example" for n in ("unsigned", *STS, *PLAIN)],
                                  bogus=["_tcp.mx.tlsabogus.example", "bogus.example"]).start()
        dns = {"dns.servers": [cls.validator.server]}
        cls.settings, cls.world_options = dns, {"port": cls.port}
        cls.node_settings = dns | {"dns.validating": [cls.validator.server], "tls.ca_file": cls.authority.ca,
                                   "tls.mta_sts_port": cls.policy_port, "dns.ttl_min": "30s", "smtp.idle_close": "500ms"}

    @classmethod
    def policy_hosts(cls):
        good = {n: cls.authority.issue(f"policy-{n}", [f"mta-sts.{n}.example"]) for n in [*STS, BOTH]}
        answers = {}
        for n, (_, mode, kind, *_) in (STS | {BOTH: (None, "enforce", "other")}).items():
            mx = {"star": f"*.{n}.example", "other": "mx.elsewhere.example"}.get(kind, f"mx.{n}.example")
            body = f"version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n"
            status, headers = 200, {}
            if kind == "redirect":
                status, headers = 302, {"Location": "https://mta-sts.sts-good.example/.well-known/mta-sts.txt"}
            elif kind == "big":
                body += "x: y\n" * 20000
            elif kind == "typo":
                body = body.replace("enforce", "enforced")
            elif kind == "html":
                headers = {"Content-Type": "text/html"}
            certificate = good["sts-good"] if kind == "certificate" else good[n]
            answers[f"mta-sts.{n}.example"] = (certificate, status, headers, body)
        where = cls.address(3, network=8)
        cls.policy_port = free_port(where)
        cls.policy_address = where
        cls.https = PolicyHosts(where, cls.policy_port, answers)
        cls.addClassCleanup(cls.https.close)

    @classmethod
    def tlsa_value(cls, kind, certificate):
        return {"ee": lambda: tlsa(3, 1, 1, certificate), "full": lambda: tlsa(3, 0, 0, certificate),
                "ta": lambda: tlsa(2, 0, 1, cls.authority.ca), "other": lambda: tlsa(3, 1, 1, cls.authority.ca),
                "unusable": lambda: tlsa(1, 0, 1, certificate)}[kind]()

    @classmethod
    def zones(cls):
        zones = {}
        for n, (kind, records, *_) in (DANE | {BOTH: (SELF, ["ee"])}).items():
            zone = zones[f"{n}.example"] = [("@", "MX", "10 mx"), ("mx", "A", cls.receiver[kind])]
            owner, into = f"_{cls.port}._tcp.mx", zone
            if n == "tlsabogus":
                zone.append(("_tcp.mx", "NS", "ns"))
                owner, into = f"_{cls.port}", zones.setdefault(f"_tcp.mx.{n}.example", [])
            into += [(owner, "TLSA", cls.tlsa_value(r, cls.chain.get(kind, cls.chain[SELF]))) for r in records]
        for n, (kind, *more) in (STS | PLAIN | {BOTH: (SELF,)}).items():
            zone = zones.setdefault(f"{n}.example", [("@", "MX", "10 mx"), ("mx", "A", cls.receiver[kind])])
            if n not in PLAIN:
                zone += [("_mta-sts", "TXT", '"v=STSv1; id=20261127;"'), ("mta-sts", "A", "10.255.1.1" if "private" in more else cls.policy_address)]
        zones["bogus.example"] = [("@", "MX", "10 mx"), ("mx", "A", cls.receiver[SELF])]
        return zones

    @classmethod
    def prepare(cls):
        cls.cluster.source(cls.address(1))
        for name, more in (("bulk", {}), ("strict", {"tls": "required"})):
            cls.cluster.stream(name, cls.world.keys["news.example"], **more)
        domains = [*DANE, *STS, *PLAIN, BOTH, "bogus"]
        cls.serial += 1
        cls.campaign = cls.cluster.send("From: a@news.example\nTo: {{email}}\nSubject: x\n\nx\n",
                                        [{"email": f"ann@{n}.example"} for n in domains], stream="bulk", name="all")["id"]
        cls.cluster.until(lambda: all(cls.outcome(n) for n in domains if n != "bogus"), "every receiver was tried", 60)

    @classmethod
    def outcome(cls, name, who="ann"):
        events = cls.cluster.events(recipient=f"{who}@{name}.example")
        return next((e for e in events if e["type"] in ("delivered", "deferred", "bounced")), None)

    def fate(self, name, who="ann"):
        e = self.outcome(name, who)
        return e["type"] if e["type"] != "delivered" else e.get("tls_verified", "plain")

    def report(self, name):
        """The policies of today's report, by their type."""
        found = self.cluster.get(f"tls/reports?domain={name}.example")["reports"]
        self.assertEqual(len(found), 1, f"reports about {name}")
        return {p["policy"]["policy-type"]: p for p in found[0]["policies"]}

    def reported(self, name):
        policies = self.cluster.until(lambda: self.cluster.get(f"tls?domain={name}.example")["domains"], f"{name} is reported") or {}
        return self.report(name), policies

    def failures(self, policy):
        return {f["result-type"] for f in policy.get("failure-details", [])}

    def test_dane(self):
        for name, (_, records, fate, why, _) in DANE.items():
            with self.subTest(name):
                self.assertEqual(self.fate(name), fate, self.outcome(name))
                self.cluster.until(lambda: self.cluster.get(f"tls?domain={name}.example")["domains"], "it is counted")
                policies = self.report(name)
                kind = "no-policy-found" if name in ("none", "unsigned") else "tlsa"
                self.assertEqual(set(policies), {kind})
                self.assertEqual(self.failures(policies[kind]), {why} if why else set())
                good, bad = (policies[kind]["summary"][f"total-{x}-session-count"] for x in ("successful", "failure"))
                self.assertEqual((good > 0, bad > 0), (not why, bool(why)))
                if kind == "tlsa" and name != "tlsabogus":
                    self.assertEqual(len(policies[kind]["policy"]["policy-string"]), len(records))

    def test_mta_sts(self):
        for name, (_, mode, _, fate, why, _) in STS.items():
            with self.subTest(name):
                self.assertEqual(self.fate(name), fate, self.outcome(name))
                self.cluster.until(lambda: self.cluster.get(f"tls?domain={name}.example")["domains"], "it is counted")
                policies = self.report(name)
                kind = "no-policy-found" if mode == "none" else "sts"
                self.assertEqual(set(policies), {kind})
                self.assertEqual(self.failures(policies[kind]), {why} if why else set())
                if kind == "sts" and not why.startswith("sts-policy") and why != "sts-webpki-invalid":
                    self.assertIn(f"mode: {mode}", policies[kind]["policy"]["policy-string"])
        self.assertNotIn("mta-sts.sts-good.example/.well-known/mta-sts.txt",
                         [a for a in self.https.asked if a.startswith("mta-sts.sts-moved")])

    def test_a_policy_is_fetched_once(self):
        self.deliver([f"more{i}@sts-good.example" for i in range(3)])
        asked = [a for a in self.https.asked if a.startswith("mta-sts.sts-good.")]
        self.assertEqual(len(asked), 1)

    def test_dane_wins(self):
        self.assertEqual(self.fate(BOTH), "dane")

    def test_bogus_mx_waits(self):
        self.assertIsNone(self.outcome("bogus"))
        self.assertIn("SERVFAIL", self.cluster.remuda("explain", "ann@bogus.example", as_json=False).out)

    def test_downgrade_is_remembered_and_told(self):
        for name, (_, fate, why) in PLAIN.items():
            self.assertEqual(self.fate(name), fate)
        tried = lambda: self.postfix.maillog().count("SSL_accept error")  # noqa: E731
        before = tried()
        self.assertEqual(before, 1)
        self.assertEqual(self.deliver(["again@broken.example"])["delivered"], 1)
        self.assertEqual(tried(), before, "TLS was tried again although it had just failed")
        self.cluster.until(lambda: self.cluster.events(type="tls.downgraded"), "the downgrade is an event")
        told = self.cluster.events(type="tls.downgraded")
        self.assertEqual(len(told), 1)
        self.assertIn("mx.broken.example", told[0]["text"])
        self.assertIn("in the clear until", told[0]["text"])
        view = self.cluster.get("tls?domain=broken.example")["domains"][0]
        self.assertTrue(view["in_the_clear_until"])
        self.assertEqual(view["policy"], "no-policy-found")

    def test_required_by_the_stream(self):
        self.send(["eve@broken.example", "eve@bare.example"], stream="strict")
        self.assertEqual(self.deliver(["eve@none.example"], stream="strict")["delivered"], 1)
        self.cluster.until(lambda: all(self.outcome(n, "eve") for n in PLAIN), "both were tried")
        for name, rule in (("broken", "own:tls-handshake"), ("bare", "own:tls-not-offered")):
            e = self.outcome(name, "eve")
            self.assertEqual((e["type"], e["rule"], e["class"], e["scope"]), ("deferred", rule, "tls_required", "destination"))

    def test_sessions_are_resumed(self):
        for i in range(3):
            self.assertEqual(self.deliver([f"resume{i}@ee.example"])["delivered"], 1)
            self.cluster.until(lambda: self.postfix.maillog().count(": disconnect from") == self.postfix.maillog().count(": connect from"),
                               "the connection is closed")
        self.cluster.until(lambda: sum(d["resumed"] for d in self.cluster.get("tls?domain=ee.example")["domains"]) >= 2, "sessions are resumed")
        self.assertEqual(self.fate("ee", "resume2"), "dane")

    def test_what_operators_see(self):
        line = self.cluster.remuda("explain", "ann@ee.example", as_json=False).out
        self.assertRegex(line, r"tls=TLSv1\.3/TLS_[A-Z0-9_]+,dane")
        table = self.cluster.remuda("tls", as_json=False).out
        self.assertRegex(table, r"sts-old\.example +MTA-STS +enforce +20\d\d-\S+ \S+ +0 +[1-9].*certificate-expired at mx\.sts-old\.example")
        report = self.cluster.remuda("tls-report", "sts-old.example").json["reports"][0]
        self.assertEqual(report["organization-name"], "Remuda")
        self.assertRegex(report["date-range"]["start-datetime"], r"^20\d\d-\d\d-\d\dT00:00:00Z$")
        failure = report["policies"][0]["failure-details"][0]
        self.assertEqual((failure["receiving-mx-hostname"], failure["sending-mta-ip"], failure["receiving-ip"]),
                         ("mx.sts-old.example", self.address(1), self.receiver[OLD]))
        failed = self.cluster.events(type="tls.failed")
        self.assertTrue(any("sts-old.example" in e["text"] for e in failed))
        self.assertEqual(self.outcome("sts-old")["rule"], "own:tls-certificate")

    def test_posttls_finger_agrees(self):
        ours = {"dane": "verified", "mta-sts": "verified", "encrypted": "encrypted", "deferred": "refused"}
        config = self.work.path("postfix", "conf")
        rows = [(n, *row[4]) for n, row in DANE.items() if row[4]] + [(n, "secure", row[5]) for n, row in STS.items() if row[5]]
        for name, level, verdict in rows:
            with self.subTest(name):
                match = [f"mx.{name}.example"] if level == "secure" else []
                seen, words = finger(self.work, config, self.validator.server, self.port, f"{name}.example", level, self.authority.ca, *match)
                self.assertEqual(seen, verdict, words)
                if level != "dane-only" or verdict == "verified":
                    self.assertEqual(ours[self.fate(name)], seen, words)


class AfterARestart(ClusterCase):
    """Policies outlive the node, counts outlive the coordinator."""

    @classmethod
    def before(cls):
        at = cls.address(1, network=9)
        cls.port = shared_port([at])
        cls.authority = Authority(cls.work)
        cls.postfix = Postfix(cls.work, at, cls.port, domains=["keep.example"], settings={
            "smtpd_tls_chain_files": cls.authority.issue("mx", ["mx.keep.example"])}).start()
        where = cls.address(3, network=8)
        policy_port = free_port(where)
        body = "version: STSv1\nmode: enforce\nmx: mx.keep.example\nmax_age: 86400\n"
        cls.https = PolicyHosts(where, policy_port, {"mta-sts.keep.example": (
            cls.authority.issue("policy", ["mta-sts.keep.example"]), 200, {}, body)})
        cls.validator = Validator(cls.work, cls.address(53, network=8), {"keep.example": [
            ("@", "MX", "10 mx"), ("mx", "A", at), ("_mta-sts", "TXT", '"v=STSv1; id=1;"'), ("mta-sts", "A", where)]},
            unsigned=["keep.example"]).start()
        cls.settings, cls.world_options = {"dns.servers": [cls.validator.server]}, {"port": cls.port}
        cls.node_settings = cls.settings | {"tls.ca_file": cls.authority.ca, "tls.mta_sts_port": policy_port}

    def test_both(self):
        self.assertEqual(self.deliver("one@keep.example")["delivered"], 1)
        self.cluster.until(lambda: self.cluster.get("tls")["domains"], "it is counted")
        self.assertEqual(self.cluster.nodes["n1"].stop(), 0)
        self.https.close()  # from here on, only the file knows
        self.cluster.coordinator.kill()
        self.cluster.start_coordinator()
        self.cluster.nodes["n1"].start()
        self.cluster.connected("n1")
        self.assertEqual(self.cluster.get("tls")["domains"][0]["good"], 1)
        self.assertEqual(self.deliver("two@keep.example")["delivered"], 1)
        e = next(e for e in self.cluster.events(recipient="two@keep.example") if e["type"] == "delivered")
        self.assertEqual(e["tls_verified"], "mta-sts")
        self.cluster.until(lambda: self.cluster.get("tls")["domains"][0]["good"] == 2, "both are counted")


if __name__ == "__main__":
    unittest.main()
