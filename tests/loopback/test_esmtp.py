"""Extensions of ESMTP between the production programs and receivers that offer them, or don't: how content leaves, what is
asked to be reported, and what is refused before it is sent."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import PLAIN, ClusterCase  # noqa: E402

DOTS = "From: News <news@news.example>\nTo: {{email}}\nSubject: Dots\n\n.\n..\n.a\nb.\n\n.\n"


class Extensions(ClusterCase):
    providers = {
        "data": {"domains": ["data.test"]},
        "chunks": {"domains": ["chunks.test"], "chunking": True, "dsn": True, "unknown_users": "nobody*"},
        "ahead": {"domains": {"ahead.test": ["mx1.ahead.test"]}, "chunking": True, "dsn": True, "unknown_users": "nobody*"},
        "lockstep": {"domains": {"lockstep.test": ["mx2.ahead.test"]}, "chunking": True, "pipelining": False},
        "small": {"domains": ["small.test"], "size": 2000},
        "ascii": {"domains": ["ascii.test"], "smtputf8": False},
        "seven": {"domains": ["seven.test"], "8bitmime": False, "smtputf8": False},
        "tls": {"domains": ["tls.test"], "starttls": "required", "requiretls": True},
    }

    @classmethod
    def before(cls):
        text = 'provider "ahead" { mx = [".ahead.test"]; chunking = ahead }\n'
        cls.settings = {"providers": cls.work.write("providers.conf", text)}

    @classmethod
    def prepare(cls):
        cls.cluster.source(cls.address(1))
        keys = cls.world.keys["news.example"]
        cls.cluster.stream("bulk", keys)
        cls.cluster.stream("quiet", keys, dsn="none")
        cls.cluster.stream("never", keys, dsn="never")
        cls.cluster.stream("secret", keys, requiretls="yes")

    def said(self, provider, event):
        return self.events(event, provider=provider)

    def test_content_by_bdat_and_by_data(self):
        where = {"data": False, "chunks": True, "ahead": True, "lockstep": True}
        c = self.deliver([f"d{i}@{p}.test" for i in range(20) for p in where], template=DOTS)
        self.assertEqual(c["delivered"], 80)
        for provider, chunking in where.items():
            self.assertEqual({e["chunking"] for e in self.said(provider, "data")}, {chunking}, provider)
            raw, m = self.mail(f"d0@{provider}.test")
            self.assertTrue(raw.endswith(b"\r\n\r\n.\r\n..\r\n.a\r\nb.\r\n\r\n.\r\n"), raw[-60:])
            self.assertEqual(self.dkim_of(f"d0@{provider}.test")["dkim"], "pass")
        self.assertEqual(self.events("violation"), [])

    def test_a_refused_recipient_leaves_the_connection_usable(self):
        for provider in ("chunks", "ahead"):
            before = len(self.said(provider, "connect"))
            to = [f"{'nobody' if i % 2 else 'r'}{i}@{provider}.test" for i in range(20)]
            c = self.deliver(to)
            self.assertEqual((c["delivered"], c["bounced"], c["uncertain"]), (10, 10, 0), provider)
            self.assertEqual([e for e in self.to("nobody1@" + provider + ".test")], [])
            self.assertLess(len(self.said(provider, "connect")) - before, 10, "a refusal cost the connection")

    def test_what_receivers_are_asked_to_report(self):
        self.deliver("dsn+a@chunks.test")
        self.deliver("dsn-n@chunks.test", stream="never")
        self.deliver("dsn-q@chunks.test", stream="quiet")
        self.deliver("dsn@data.test")
        rcpt = {e["rcpt"]: e for e in self.events("rcpt")}
        self.assertEqual((rcpt["dsn+a@chunks.test"]["notify"], rcpt["dsn+a@chunks.test"]["orcpt"]),
                         ("FAILURE", "rfc822;dsn+2Ba@chunks.test"))
        self.assertEqual(rcpt["dsn-n@chunks.test"]["notify"], "NEVER")
        self.assertNotIn("notify", rcpt["dsn-q@chunks.test"])
        self.assertNotIn("notify", rcpt["dsn@data.test"], "DSN wasn't offered")
        mail = next(e for e in self.said("chunks", "mail") if e["mail_from"] == rcpt["dsn+a@chunks.test"]["mail_from"])
        self.assertEqual(mail["ret"], "HDRS")
        self.assertEqual(mail["envid"], mail["mail_from"].partition("@")[0].removeprefix("b+"))

    def failed(self, address):
        story = self.cluster.explain(address)["matches"][0]
        last = self.cluster.events(recipient=address)[-1]
        return story["state"], last

    def test_what_a_receiver_cant_carry_fails_alone_and_unsent(self):
        c = self.deliver(["zoë@ascii.test", "ann@ascii.test", "zoë@seven.test", "ann@seven.test"])
        self.assertEqual((c["delivered"], c["bounced"]), (2, 2))
        for domain in ("ascii", "seven"):
            state, e = self.failed(f"zoë@{domain}.test")
            self.assertEqual((state, e["enhanced"], e["stage"]), ("bounced", "5.6.7", "mail"), e)
            self.assertIn("SMTPUTF8", e["reply"])
            self.assertEqual([e for e in self.said(domain, "mail") if e["utf8"]], [])
        self.assertEqual(self.cluster.remuda("suppress", "check", "zoë@ascii.test", check=False).code != 0, True, "nobody is suppressed for it")

    def test_size_is_declared_and_kept_to(self):
        big = PLAIN + "All work and no play makes Jack a dull boy.\n" * 60
        c = self.deliver(["big@small.test", "big@data.test"], template=big)
        self.assertEqual((c["delivered"], c["bounced"]), (1, 1))
        state, e = self.failed("big@small.test")
        self.assertEqual((state, e["enhanced"]), ("bounced", "5.3.4"), e)
        self.assertEqual(self.said("small", "mail"), [])
        sent = next(e for e in self.said("data", "mail") if e["size"] > 2000)
        self.assertEqual(sent["size"], len(self.mail("big@data.test")[0]))

    def test_bodies_are_seven_bit_for_everybody(self):
        text = "From: Zoë <news@news.example>\nTo: {{email}}\nSubject: Grüße\nMime-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße\n"
        self.assertEqual(self.deliver(["g@seven.test", "g@data.test"], template=text)["delivered"], 2)
        for domain in ("seven", "data"):
            raw, m = self.mail(f"g@{domain}.test")
            self.assertTrue(raw.isascii())
            self.assertEqual(m.get_content(), "Grüße\r\n" if "\r\n" in m.get_content() else "Grüße\n")
            self.assertEqual(self.dkim_of(f"g@{domain}.test")["dkim"], "pass")

    def test_requiretls_is_never_sent_without(self):
        c = self.send(["s@data.test", "s@tls.test"], stream="secret")
        self.cluster.until(lambda: self.cluster.campaign(c["id"])["deferrals"] >= 2 or None, "both are deferred")
        for domain in ("data", "tls"):  # their certificates are their own: TLS, but nobody's word for whose
            e = self.cluster.events(recipient=f"s@{domain}.test")[-1]
            self.assertEqual(e["enhanced"], "4.7.10", e)
        self.assertEqual(self.to("s@data.test", "rcpt") + self.to("s@tls.test", "rcpt"), [])
        self.cluster.remuda("campaign", "cancel", c["id"])
        self.cluster.settled(c["id"])
        out = self.cluster.remuda("stream", "show", "secret", as_json=False).text
        self.assertRegex(out, r"requiretls +yes\n")
        self.assertIn("failure", out)


if __name__ == "__main__":
    unittest.main()
