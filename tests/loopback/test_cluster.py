"""A coordinator and a node as they are run in production, and the project's receivers: what a mail looks like at the end, what is
refused at submission, and what operators can do about a campaign."""

import contextlib
import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import PLAIN, ClusterCase  # noqa: E402
from remudatest.cluster import patience  # noqa: E402
from remudatest.dealer import Dealer, body_of, field, frame, hello, read_key  # noqa: E402

NEWS = """From: Remuda News <news@news.example>
To: {{name}} <{{email}}>
Subject: {{name}}: {{subject}}
X-Ref: {{ref|none}}
Mime-Version: 1.0
Content-Type: multipart/alternative; boundary="b"

--b
Content-Type: text/plain; charset=utf-8

Hello {{name}},
{{text}}
.
..two dots
end
--b
Content-Type: text/html; charset=utf-8

<p>Hello {{name}}</p><p>{{text}}</p>
--b--
"""


class Delivery(ClusterCase):
    providers = {
        "small": {"domains": ["a.test", "bücher.test".encode("idna").decode()], "unknown_users": "nobody*"},
        "grey": {"domains": ["grey.test"], "greylist": True, "greylist_delay": "300ms"},
        "ascii": {"domains": ["ascii.test"], "smtputf8": False, "8bitmime": False},
        "old": {"domains": ["old.test"], "ehlo": False, "starttls": "off", "pipelining": False},
        "tls": {"domains": ["tls.test"], "starttls": "required"},
    }
    world_options = {"ed25519": True}
    rules = """rule "test-greylisting" { verdict = greylisted; duration = 500ms; pattern = "greylisted, please try again later"
               sample = "451 4.7.1 Greylisted, please try again later" }"""
    settings = {"retry.class": ["greylisted=500ms"]}

    @classmethod
    def prepare(cls):
        cls.cluster.source(cls.address(1))
        cls.cluster.source(cls.address(2))
        cls.cluster.stream("bulk", cls.world.keys["news.example"])
        cls.cluster.stream("rsa", cls.world.keys["news.example"][:1])

    def test_a_mail_as_it_arrives(self):
        rows = [{"email": "ann@a.test", "name": "Zoë Müller", "subject": "für dich", "ref": "r 1", "text": "<b>1 & 2</b> – ok"},
                {"email": "bob@a.test", "name": "Bob", "subject": "x" * 300, "ref": "", "text": "word " * 400}]
        c = self.deliver(rows, template=NEWS)
        self.assertEqual((c["delivered"], c["state"]), (2, "done"))
        raw, m = self.mail("ann@a.test")
        self.assertEqual(m["To"].addresses[0].display_name, "Zoë Müller")
        self.assertEqual(m["To"].addresses[0].addr_spec, "ann@a.test")
        self.assertEqual((m["Subject"], m["X-Ref"]), ("Zoë Müller: für dich", "r 1"))
        self.assertRegex(m["Message-ID"], rf"^<{c['id'][:15]}\S+@news\.example>$")
        self.assertIsNotNone(m["Date"].datetime)
        self.assertRegex(m["List-Unsubscribe"], r"<https://u\.news\.example/r/[^{}>]+>.*<mailto:unsubscribe\+[^{}>]+@bounce\.news\.example>")
        self.assertEqual(m["List-Unsubscribe-Post"], "List-Unsubscribe=One-Click")
        plain, html = m.get_body(("plain",)).get_content(), m.get_body(("html",)).get_content()
        self.assertIn("<b>1 & 2</b> – ok\n.\n..two dots\nend", plain.replace("\r\n", "\n"))
        self.assertIn("&lt;b&gt;1 &amp; 2&lt;/b&gt; – ok", html)
        for address in ("ann@a.test", "bob@a.test"):
            raw, m = self.mail(address)
            self.assertLessEqual(max(map(len, raw.split(b"\r\n"))), 998)
            self.assertNotIn(b"\n", raw.replace(b"\r\n", b""))
            self.assertTrue(raw.isascii(), "8-bit text that no part's encoding carries")
        self.assertEqual(self.mail("bob@a.test")[1]["X-Ref"], "none")
        self.assertEqual(self.mail("bob@a.test")[1]["Subject"], "Bob: " + "x" * 300)

    def test_signatures_verify_and_cover_what_they_must(self):
        self.deliver(["sig@a.test"])
        d = self.dkim_of("sig@a.test")
        self.assertEqual((d["dkim"], d["from_oversigned"], d["unsigned"]), ("pass", True, []))
        self.assertEqual(sorted(s["a"] for s in d["signatures"]), ["ed25519-sha256", "rsa-sha256"])
        self.assertEqual({s["d"] for s in d["signatures"]}, {"news.example"})
        self.deliver(["sig1@a.test"], stream="rsa")
        self.assertEqual([(s["a"], s["bits"]) for s in self.dkim_of("sig1@a.test")["signatures"]], [("rsa-sha256", 2048)])

    def test_no_value_makes_a_header_or_a_line_of_the_protocol(self):
        evil = ["x\r\nBcc: all@a.test", "x\nBcc: all@a.test", "\r\n\r\nbody", "x\r\n.\r\nMAIL FROM:<e@e.test>", "=?utf-8?q?x?=", "a\rb",
                "x\n.\nRCPT TO:<all@a.test>", "\u2028Bcc: all@a.test", "<all@a.test>", "\"x\" <all@a.test>, y", "a" * 2000]
        rows = [{"email": f"evil{i}@a.test", "name": v, "subject": v, "ref": v, "text": v} for i, v in enumerate(evil)]
        c = self.deliver(rows, "--rejects", self.work.path("evil.rejects"), template=NEWS)
        self.assertEqual(c["delivered"], len(evil))
        self.assertEqual(self.to("all@a.test"), [])
        for i, v in enumerate(evil):
            _, m = self.mail(f"evil{i}@a.test")
            self.assertIsNone(m["Bcc"], v)
            self.assertEqual([a.addr_spec for a in m["To"].addresses], [f"evil{i}@a.test"], v)
            self.assertEqual(self.dkim_of(f"evil{i}@a.test")["dkim"], "pass", v)
        self.assertEqual([e for e in self.events("violation")], [])

    def test_the_envelope_sender_and_the_source_stay_over_greylisting(self):
        c = self.deliver([f"g{i}@grey.test" for i in range(5)])
        self.assertEqual((c["delivered"], c["deferrals"]), (5, 5))
        for i in range(5):
            tries = [e for e in self.to(f"g{i}@grey.test", "rcpt")]
            self.assertEqual(len(tries), 2)
            self.assertEqual(len({(e["mail_from"], e["ip"]) for e in tries}), 1, tries)
        self.assertEqual(len({e["mail_from"] for e in self.events("rcpt", provider="grey")}), 5, "one sender a recipient")
        self.assertTrue(all(e["mail_from"].endswith("@bounce.news.example") for e in self.events("rcpt", provider="grey")))

    def test_international_addresses(self):
        c = self.deliver(["jürgen@a.test", "ann@bücher.test", "李@bücher.test", "zoë@ascii.test", "ann@ascii.test"])
        self.assertEqual((c["delivered"], c["bounced"]), (4, 1))
        utf8 = {e["rcpt"]: e for e in self.events("rcpt")}
        self.assertTrue(any(r.startswith("jürgen@") for r in utf8), sorted(utf8))
        mails = self.events("mail", provider="small")
        self.assertTrue(any(e["utf8"] for e in mails))
        self.assertEqual(len(self.to("ann@xn--bcher-kva.test")), 1, "an ASCII local part needs no SMTPUTF8")
        story = self.cluster.explain("zoë@ascii.test")["matches"][0]
        self.assertEqual(story["state"], "bounced")

    def test_a_receiver_of_another_age(self):
        self.assertEqual(self.deliver(["o1@old.test", "o2@old.test"])["delivered"], 2)
        self.assertTrue(all(not e["extended"] for e in self.events("ehlo", provider="old") if e["extended"] is False))
        self.assertTrue(all(not e["tls"] for e in self.events("accepted", provider="old")))

    def test_tls_sessions_and_connections_are_used_again(self):
        self.assertEqual(self.deliver([f"t{i}@tls.test" for i in range(40)])["delivered"], 40)
        self.assertTrue(all(e["tls"] for e in self.events("accepted", provider="tls")))
        shakes = [e for e in self.events("tls", provider="tls") if "version" in e]
        self.assertLess(len(shakes), 20)
        self.world.receivers.control("close tls")
        self.assertEqual(self.deliver([f"t{i}@tls.test" for i in range(40, 45)])["delivered"], 5)
        shakes = [e for e in self.events("tls", provider="tls") if "version" in e]
        self.assertTrue(any(e["resumed"] for e in shakes), "no session was resumed")

    def test_who_doesnt_exist_bounces_once_and_is_never_contacted_again(self):
        c = self.deliver(["nobody1@a.test", "some@a.test"])
        self.assertEqual((c["delivered"], c["bounced"]), (1, 1))
        self.assertEqual(self.cluster.remuda("suppress", "check", "nobody1@a.test").code, 0)
        c = self.deliver(["nobody1@a.test"])
        self.assertEqual((c["suppressed"], len(self.to("nobody1@a.test", "rcpt"))), (1, 1))

    def test_domains_that_take_no_mail(self):
        self.world.dns.set("null.test", [("@", "MX", "0 .")])
        self.world.dns.set("test", [])
        self.world.dns.stop()
        self.world.dns.start()
        c = self.deliver(["a@null.test", "b@gone.test"])
        self.assertEqual(c["bounced"], 2)

    # ---- submission

    def test_twice_with_a_key_queues_once(self):
        first = self.send(["once@a.test"], "--key", "k-1")
        again = self.cluster.send(PLAIN, [{"email": "once@a.test"}], "--key", "k-1", check=False, name="again")
        self.assertEqual((again.code, again.json["duplicate_submission"], again.json["campaign"]["id"]), (0, True, first["id"]))
        other = self.cluster.send(PLAIN, [{"email": "other@a.test"}], "--key", "k-1", check=False, name="other")
        self.assertEqual(other.code, 1)
        self.assertIn("key", other.text)
        for args in (("--valid-for", "1h"), ("--name", "another")):
            other = self.cluster.send(PLAIN, [{"email": "once@a.test"}], "--key", "k-1", *args, check=False, name="again")
            self.assertEqual((other.code, "key" in other.text), (1, True), other.text)
        self.cluster.settled(first["id"])
        self.assertEqual(len(self.to("once@a.test")), 1)

    def test_bad_rows_are_listed_with_line_and_reason(self):
        rows = [{"email": "good@a.test", "name": "A"}, {"email": "not an address", "name": "B"}, {"email": "GOOD@a.test", "name": "C"},
                {"email": "empty@a.test", "name": ""}, {"email": "x@-bad-.test", "name": "D"}, {"email": "", "name": "E"}]
        template = PLAIN.replace("Hello, a", "Hello {{name}}, a")
        rejects = self.work.path("rejects.csv")
        strict = self.send(rows, "--strict", "--rejects", rejects, template=template, check=False)
        self.assertEqual(strict.code, 1)
        before = len(self.cluster.get("campaigns")["campaigns"])
        answer = self.send(rows, "--rejects", rejects, template=template, check=False)
        self.assertEqual(answer.code, 5)
        self.assertEqual((answer.json["accepted"], answer.json["rejected"]), (1, 5))
        with open(rejects, encoding="utf-8") as f:
            lines = f.read().splitlines()
        self.assertEqual(lines[0], "line,email,reason")
        self.assertEqual([line.split(",")[0] for line in lines[1:]], ["3", "4", "5", "6", "7"])
        self.assertIn("duplicate", lines[2])
        self.assertEqual(len(self.cluster.get("campaigns")["campaigns"]), before + 1, "--strict queued something")
        self.cluster.settled(answer.json["campaign"]["id"])
        self.assertEqual((len(self.to("good@a.test")), len(self.to("empty@a.test", "rcpt"))), (1, 0))

    def test_what_is_wrong_with_a_submission_is_said(self):
        for template, args, word in (("To: {{email}}\nSubject: x\n\nx\n", (), "From"),
                                     (PLAIN.replace("Hello", "{{nobody}}"), (), "nobody"),
                                     (PLAIN, ("--stream", "nosuch"), "nosuch")):
            answer = self.send(["w@a.test"], *args, template=template, check=False) if not args else self.cluster.send(
                template, [{"email": "w@a.test"}], stream="nosuch", check=False)
            self.assertIn(answer.code, (1, 3), answer.text)
            self.assertIn(word, answer.text)
        self.assertEqual(self.cluster.remuda("send", check=False).code, 2)
        self.assertEqual(self.cluster.remuda("status", api="/nowhere/api.sock", check=False).code, 4)
        answer = self.cluster.remuda("stream", "set", "bad", "--pool", "main", "--sending-domain", "x.example", "--key",
                                     "s=/nowhere/key.pem", check=False)
        self.assertEqual(answer.code, 1)
        self.assertIn("/nowhere/key.pem", answer.text)
        broken = self.work.write("broken.pem", "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n")
        answer = self.cluster.remuda("stream", "set", "bad", "--pool", "main", "--sending-domain", "x.example", "--key", f"s={broken}",
                                     check=False)
        self.assertEqual((answer.code, broken in answer.text), (1, True), answer.text)

    # ---- what operators do

    def test_pause_resume_cancel(self):
        self.cluster.remuda("stream", "pause", "bulk", "--reason", "test")
        self.addCleanup(self.cluster.remuda, "stream", "resume", "bulk")
        one, two = self.send(["p1@a.test"]), self.send(["p2@a.test"])
        self.cluster.remuda("campaign", "pause", one["id"])
        self.cluster.remuda("campaign", "cancel", two["id"])
        self.cluster.remuda("stream", "resume", "bulk")
        three = self.deliver(["p3@a.test"])
        self.assertEqual(three["delivered"], 1)
        self.assertEqual(self.cluster.settled(two["id"])["cancelled"], 1)
        self.assertEqual(self.cluster.campaign(one["id"])["state"], "paused")
        self.assertEqual(self.to("p1@a.test", "rcpt") + self.to("p2@a.test", "rcpt"), [])
        self.cluster.remuda("campaign", "resume", one["id"])
        self.assertEqual(self.cluster.settled(one["id"])["delivered"], 1)
        self.assertEqual(self.cluster.remuda("campaign", "show", "0" * 26, check=False).code, 3)

    def test_a_suppressed_address_is_never_contacted(self):
        self.cluster.remuda("stream", "pause", "bulk")
        c = self.send(["stop@a.test", "go@a.test"])
        self.cluster.remuda("suppress", "add", "Stop@a.test", "--reason", "asked to")
        self.cluster.remuda("stream", "resume", "bulk")
        c = self.cluster.settled(c["id"])
        self.assertEqual((c["suppressed"], c["delivered"]), (1, 1))
        self.assertEqual(self.to("stop@a.test", "rcpt"), [])
        self.assertEqual(self.cluster.remuda("suppress", "check", "stop@a.test", check=False).code, 0)
        self.cluster.remuda("suppress", "remove", "stop@a.test")
        self.assertEqual(self.cluster.remuda("suppress", "check", "stop@a.test", check=False).code, 3)

    def test_an_address_that_is_no_longer_suppressed(self):
        self.cluster.remuda("suppress", "add", "again@a.test", "--reason", "a mistake")
        self.assertEqual(self.deliver(["again@a.test"])["suppressed"], 1)
        self.cluster.remuda("suppress", "remove", "again@a.test")
        self.assertEqual(self.deliver(["again@a.test"])["delivered"], 1)

    def test_what_is_too_old_is_not_sent(self):
        self.cluster.remuda("stream", "pause", "bulk")
        self.addCleanup(self.cluster.remuda, "stream", "resume", "bulk")
        c = self.send(["late@a.test"], "--valid-for", "1s")
        c = self.cluster.settled(c["id"])
        self.assertEqual((c["expired"], self.to("late@a.test", "rcpt")), (1, []))

    def test_views_for_people_and_programs(self):
        c = self.deliver(["view@a.test"])
        story = self.cluster.explain("view@a.test")["matches"][0]
        self.assertEqual((story["state"], story["campaign"]), ("delivered", c["id"]))
        for words in (["status"], ["queue"], ["campaign", "list"], ["campaign", "show", c["id"]], ["source", "list"], ["node", "list"],
                      ["source", "show", self.address(1)], ["stream", "list"], ["incident", "list", "--all"],
                      ["explain", "view@a.test"], ["explain", story["message"]], ["events", "--last", "5"]):
            people, programs = self.cluster.remuda(*words, as_json=False), self.cluster.remuda(*words)
            self.assertTrue(people.out.strip(), words)
            for text in programs.out.splitlines() if words[0] == "events" else [programs.out]:
                json.loads(text)
        self.assertEqual(self.cluster.remuda("source", "show", "192.0.2.1", check=False).code, 3)
        types = [e["type"] for e in self.cluster.events(recipient="view@a.test")]
        self.assertIn("delivered", types)
        message_id = self.mail("view@a.test")[1]["Message-ID"]
        self.assertTrue(message_id.startswith(f"<{story['message']}"), "the id in Message-ID is the one that explain takes")


class Sources(ClusterCase):
    providers = {"small": {"domains": ["a.test"]}}

    @classmethod
    def prepare(cls):
        for pool, options in (("nat", {"bind": cls.address(9)}), ("gone", {}), ("good", {})):
            address = {"nat": "203.0.113.9", "gone": "192.0.2.77", "good": cls.address(3)}[pool]
            cls.cluster.source(address, pool=pool, **options)
            cls.cluster.stream(pool, cls.world.keys["news.example"], pool=pool)

    def test_behind_nat_the_bound_address_is_another(self):
        self.assertEqual(self.deliver(["nat@a.test"], stream="nat")["delivered"], 1)
        self.assertEqual(self.to("nat@a.test")[0]["ip"], self.address(9))
        view = self.cluster.source_view("203.0.113.9")
        self.assertEqual((view["bind"], view["network"]), (self.address(9), "203.0.113.0/24"))

    def test_an_address_that_the_host_doesnt_have(self):
        c = self.send(["gone@a.test"], stream="gone")
        trouble = self.cluster.until(lambda: self.cluster.source_view("192.0.2.77")["trouble"], "the node says what is wrong")
        self.assertIn("192.0.2.77", trouble)
        self.assertIn("not an address of this host", trouble)
        self.assertEqual(self.deliver(["good@a.test"], stream="good")["delivered"], 1)
        self.assertEqual((self.cluster.campaign(c["id"])["finished"], self.to("gone@a.test", "rcpt")), (None, []))
        self.cluster.remuda("campaign", "cancel", c["id"])
        self.cluster.settled(c["id"])


class Changes(ClusterCase):
    """Sources and nodes that change after they were set up."""

    @classmethod
    def prepare(cls):
        cls.cluster.source(cls.address(1), lane_caps="other=5,google=7")
        cls.cluster.stream("bulk", cls.world.keys["news.example"])

    def caps(self):
        view = self.cluster.source_view(self.address(1))
        return view["cap_per_day"], view["lane_cap_per_day"], view["lane_caps"]

    def test_what_is_not_named_stays(self):
        at = self.address(1)
        self.cluster.remuda("source", "set", at, "--cap", "50k", "--helo", "new.news.example")
        self.assertEqual(self.caps(), (50000, 0, {"other": 5, "google": 7}))
        self.cluster.remuda("source", "set", at, "--lane-caps", "google=default,outlook=9", "--lane-cap", "100")
        self.assertEqual(self.caps(), (50000, 100, {"other": 5, "outlook": 9}))
        view = self.cluster.source_view(at)
        self.assertEqual((view["helo"], view["pools"], view["node"]), ("new.news.example", ["main"], "n1"))
        self.assertEqual(self.deliver([f"c{i}@a.test" for i in range(3)])["delivered"], 3)
        self.assertEqual(self.events("ehlo")[-1]["helo"], "new.news.example")
        self.cluster.remuda("source", "retire", at)
        self.cluster.until(lambda: self.cluster.source_view(at)["state"] == "retired" or None, "it is retired")
        answer = self.cluster.remuda("source", "set", at, "--cap", "1", check=False)
        self.assertEqual((answer.code, "source add" in answer.text), (1, True), answer.text)
        c = self.send([f"d{i}@a.test" for i in range(3)])
        self.cluster.source(at, lane_caps="other=5")
        self.cluster.until(lambda: self.cluster.campaign(c["id"])["delivered"] == 2 or None, "what its cap had left is sent")
        self.assertEqual(self.cluster.lane(at, "other")["used_24h"], 5)
        self.assertEqual(self.cluster.events(type="returned"), [], "the node knew of the source before its lease came")
        for args, word in (((), "nothing to change"), (("--pool",), "needs a value"), (("--cap", "many"), "not a number"),
                           (("--node", "n9"), "there is no node n9"), (("--lane-caps", "google"), "provider=number")):
            answer = self.cluster.remuda("source", "set", at, *args, check=False)
            self.assertIn(answer.code, (1, 2, 3))
            self.assertIn(word, answer.text)
        self.cluster.remuda("source", "set", at, "--lane-caps", "other=default")
        self.assertEqual(self.cluster.settled(c["id"])["delivered"], 3)


class NodeKeys(ClusterCase):
    def test_a_node_with_a_new_key(self):
        name = "n1"
        old = self.cluster.node_view(name)["key"]
        self.cluster.remuda("node", "revoke", name, "--reason", "test")
        self.cluster.connected(name, False)
        self.assertEqual(self.cluster.remuda("node", "add", name, "--key", self.cluster.path("n1.pub"), check=False).code, 1)
        self.cluster.nodes[name].stop()
        for end in ("key", "pub"):
            os.rename(self.cluster.path(f"n1.{end}"), self.cluster.path(f"old.{end}"))
        self.cluster.keygen(name)
        self.cluster.remuda("node", "add", name, "--key", self.cluster.path("n1.pub"))
        self.cluster.nodes[name].start()
        self.cluster.connected(name)
        self.assertEqual(self.deliver(["newkey@a.test"])["delivered"], 1)
        answer = self.cluster.remuda("node", "add", "n2", "--key", self.cluster.path("old.pub"), check=False)
        self.assertEqual((answer.code, "revoked" in answer.text), (1, True), answer.text)
        self.assertNotEqual(self.cluster.node_view(name)["key"], old)


class Strangers(ClusterCase):
    """Who has a key, had one, or never had one, and speaks ZeroMQ itself."""

    def dealer(self, name):
        path = self.cluster.path
        d = Dealer(self.cluster.bus, read_key(path("coordinator.pub")), read_key(path(f"{name}.pub")), read_key(path(f"{name}.key")))
        self.addCleanup(d.close)
        return d

    def enrol(self, name):
        self.cluster.keygen(name)
        self.cluster.remuda("node", "add", name, "--key", self.cluster.path(f"{name}.pub"))
        return self.dealer(name)

    def say(self, d, data):
        d.send(data)
        answer = d.receive(patience(10))
        self.assertIsNotNone(answer, "no answer")
        return body_of(answer)

    def silence(self, d, data):
        """Nothing is said to it, however often it asks."""
        for _ in range(3):
            with contextlib.suppress(BlockingIOError):  # after a refused handshake ZeroMQ has nowhere to put it
                d.send(data)
            self.assertIsNone(d.receive(0.5))

    def test_versions_that_arent_spoken(self):
        d = self.enrol("v1")
        kind, body = self.say(d, frame(hello=hello(98, 99)))
        self.assertEqual(kind, "refused")
        self.assertIn(b"no common protocol version: the node speaks 98 to 99", body)
        self.assertFalse(self.cluster.node_view("v1")["connected"])
        self.assertEqual(self.say(d, frame(hello=hello(1, 99)))[0], "welcome")

    def test_a_malformed_frame_is_counted_and_the_connection_kept(self):
        d = self.enrol("m1")
        self.assertEqual(self.say(d, frame(hello=hello(1, 1)))[0], "welcome")
        before = self.cluster.status()["malformed_frames"]
        for data in (b"\xff" * 40, b"GET / HTTP/1.0\r\n\r\n", field(2, b"\xff\xff")):
            d.send(data)
        self.cluster.until(lambda: self.cluster.status()["malformed_frames"] == before + 3, "all are counted")
        self.assertTrue(self.cluster.node_view("m1")["connected"])
        while d.receive(0.2):
            pass
        self.assertEqual(self.say(d, frame(hello=hello(1, 1)))[0], "welcome")
        self.assertEqual(self.deliver(["m@a.test"])["delivered"], 1, "the real node never noticed")

    def test_a_revoked_key_is_refused_and_its_session_dropped(self):
        live = self.enrol("r1")
        self.assertEqual(self.say(live, frame(hello=hello(1, 1)))[0], "welcome")
        self.cluster.remuda("node", "revoke", "r1", "--reason", "stolen")
        self.cluster.until(lambda: not self.cluster.node_view("r1")["connected"], "its session is over")
        said = []
        while (answer := live.receive(1)) is not None:
            said.append(body_of(answer)[0])
        self.assertEqual([s for s in said if s == "refused"], ["refused"], "it was told once")
        self.silence(live, frame(hello=hello(1, 1)))
        live.close()
        before = self.cluster.status()["refused_connections"]
        self.silence(self.dealer("r1"), frame(hello=hello(1, 1)))
        self.cluster.until(lambda: self.cluster.status()["refused_connections"] > before, "its handshake is refused, and counted")
        self.assertIn("is not that of an enrolled node, or was revoked", self.cluster.coordinator.log())
        self.assertIn(read_key(self.cluster.path("r1.pub")), self.cluster.coordinator.log())

    def test_a_live_node_whose_key_is_revoked_sends_no_more(self):
        self.world.receivers.control("slow small 100")
        self.addCleanup(self.world.receivers.control, "slow small 0")
        node = self.cluster.node("n9")
        self.cluster.nodes["n9"] = node
        self.cluster.remuda("node", "add", "n9", "--key", self.cluster.path("n9.pub"))
        node.start()
        self.cluster.connected("n9")
        address = self.address(9, network=1)
        self.cluster.source(address, "n9", pool="ninth")
        self.cluster.stream("ninth", self.world.keys["news.example"], pool="ninth")
        c = self.send([f"x{i}@a.test" for i in range(400)], stream="ninth")
        self.cluster.until(lambda: len(self.events("accepted", ip=address)) > 20, "it is under way")
        self.cluster.remuda("node", "revoke", "n9", "--reason", "stolen")
        at = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        self.cluster.until(lambda: not self.cluster.node_view("n9")["connected"], "its session is over")
        time.sleep(2)  # what it would send in that time is what must not come
        late = [e for e in self.events("mail", ip=address) if e["t_us"] > at + 500000 * patience(1)]
        self.assertEqual(late, [])
        self.assertLess(len(self.events("accepted", ip=address)), 400)
        node.stop()
        del self.cluster.nodes["n9"]
        self.cluster.remuda("campaign", "cancel", c["id"])

    def test_a_key_that_was_never_enrolled(self):
        self.cluster.keygen("nobody")
        before = self.cluster.status()["refused_connections"]
        self.silence(self.dealer("nobody"), frame(hello=hello(1, 1)))
        self.cluster.until(lambda: self.cluster.status()["refused_connections"] > before, "its handshake is refused, and counted")


class Many(ClusterCase):
    """A million rows in one submission, in a stream: memory is that of a small one, but for the store's write buffers."""
    rows = 1000000

    def test_memory_doesnt_grow_with_rows(self):
        self.cluster.remuda("stream", "pause", "bulk")
        path = self.work.path("many.csv")
        with open(path, "w", encoding="ascii") as f:
            f.write("email,name\n")
            for i in range(self.rows):
                f.write(f"user{i}@d{i % 500}.test,Name {i}\n")
        small = self.send([f"warm{i}@a.test" for i in range(1000)])
        before = self.cluster.coordinator.rss_kib()
        began = time.monotonic()
        c = self.cluster.send(PLAIN.replace("Hello, a", "Hello {{name}}, a"), path)
        took = time.monotonic() - began
        self.assertEqual(c["rows"], self.rows)
        grown = self.cluster.coordinator.rss_kib() - before
        if "REMUDA_SANITIZER" not in os.environ:
            self.assertLess(grown, 120 * 1024, f"{self.rows} rows cost {grown} KiB (the store's write buffers are 64 MiB)")
        self.assertLess(took, patience(60))
        self.cluster.remuda("campaign", "cancel", c["id"])
        self.cluster.remuda("campaign", "cancel", small["id"])
        self.assertEqual(self.cluster.settled(c["id"], 60)["cancelled"], self.rows)


if __name__ == "__main__":
    unittest.main()
