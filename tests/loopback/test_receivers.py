"""The receivers and the kit's servers, driven over real sockets: each policy, each fault, each line of the transcript."""

import json
import os
import smtplib
import socket
import ssl
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest import (Addresses, Dns, Failed, Key, Postfix, Rbldnsd, Receivers, SmtpSink, Unavailable, Work,  # noqa: E402
                        dns_query, find_receivers, free_port, port_open, sign, wait_until)
from remudatest.judge import judge  # noqa: E402
from remudatest.proc import find_program  # noqa: E402

ZEN = "zen.remuda.test"


def mail(to="u@a.test", mid="1@s.test", extra="", body="Hello\r\n", sender="news@s.test"):
    return (f"From: News <{sender}>\r\nTo: {to}\r\nSubject: Hi\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
            f"Message-ID: <{mid}>\r\nList-Unsubscribe: <https://s.test/u>\r\n"
            f"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n{extra}\r\n{body}").encode()


class Raw:
    """A client without manners: bytes out, lines in."""

    def __init__(self, addr, port, source="127.0.0.1", greet=True):
        self.s = socket.create_connection((addr, port), 5, (source, 0))
        self.f = self.s.makefile("rb")
        if greet:
            self.greeting = self.reply()

    def send(self, data):
        self.s.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def reply(self):
        """The bytes of one reply, b"" at the end of the connection."""
        out = b""
        try:
            while True:
                line = self.f.readline()
                out += line
                if not line or line[3:4] != b"-":
                    return out
        except ConnectionResetError:
            return out

    def ask(self, line):
        return self.send(line + "\r\n").reply().decode("latin-1")

    def transaction(self, rcpt="u@a.test", sender="v@s.test", ehlo=True):
        """Up to and with the reply to RCPT."""
        if ehlo:
            self.ask("EHLO client.test")
        answer = self.ask(f"MAIL FROM:<{sender}>")
        return self.ask(f"RCPT TO:<{rcpt}>") if answer.startswith("250") else answer

    def data(self, content):
        answer = self.ask("DATA")
        return self.send(content + b".\r\n").reply().decode() if answer.startswith("354") else answer

    def close(self):
        self.f.close()
        self.s.close()


class Base(unittest.TestCase):
    """One set of servers for a class; each test has a provider of its own, made from `providers`."""
    providers = {}
    options = {"dkim_verify": False}

    @classmethod
    def setUpClass(cls):
        find_receivers()
        cls.work = Work()
        cls.addClassCleanup(cls.work.close)
        cls.addrs = Addresses()
        cls.prepare()
        where = cls.addrs.block()
        cls.at, config = {}, {}
        for i, (name, settings) in enumerate(cls.providers.items()):
            addr = where(i + 1)
            cls.at[name] = (addr, free_port(addr))
            config[name] = {"listen": "%s:%d" % cls.at[name], "domains": "a.test"} | settings
        cls.rcv = Receivers(cls.work, config, **cls.options).start()

    @classmethod
    def tearDownClass(cls):
        status = cls.rcv.stop()  # a sanitizer's finding shows here
        if status:
            raise AssertionError(f"the receivers ended with {status}\n{cls.rcv.child.log_tail(60)}")

    @classmethod
    def prepare(cls):
        pass

    def raw(self, provider, **kw):
        c = Raw(*self.at[provider], **kw)
        self.addCleanup(c.close)
        return c

    def events(self, provider, event=None, **match):
        return self.rcv.transcript(event, provider=provider, **match)


class Policies(Base):
    providers = {
        "plain": {}, "strict": {}, "rate": {"rcpt_per_minute": 3}, "conns": {"connections_per_ip": 1},
        "permsg": {"messages_per_connection": 1}, "grey": {"greylist": True, "greylist_delay": "150ms"},
        "users": {"unknown_users": "nobody*, x@a.test", "full_users": "full*", "full_text": "552 5.2.2 <%rcpt> is full"},
        "share": {"unknown": 0.5}, "blocks": {}, "slow": {"delay_mail": "120ms", "delay_dot": "120ms"},
        "cuts": {"cut_nth_data": 1, "cut_nth_before_dot": 2, "cut_nth_after_lost": 3, "cut_nth_after_accepted": 4},
        "drip": {"drip": "2ms", "drip_stage": "ehlo"}, "flood": {"flood_stage": "mail", "flood_bytes": "1MB"},
        "multi": {"multiline": 3, "nul_stage": "rcpt", "rcpt_per_minute": 0}, "lies": {"announce_size": 10, "size": 2000},
        "old": {"ehlo": False}, "bare": {"pipelining": False, "8bitmime": False, "smtputf8": False, "starttls": False},
        "words": {"content_words": "cheap pills"}, "chunks": {"chunking": True, "dsn": True}, "tlsbroken": {"starttls": "broken"},
        "tlsneeded": {"starttls": "required"}, "tlsrefuse": {"starttls": "refuse"},
        "said": {"reply_rcpt": "450 4.2.1 first\nsecond %ip", "reply_dot": "raw:nonsense\\r\\n"},
        "ctl": {}, "judged": {"idle": "5s"}, "idle": {"idle": "200ms"},
    }

    def test_accepts_and_writes_it_down(self):
        c = self.raw("plain")
        self.assertEqual(c.transaction(), "250 2.1.5 Ok\r\n")
        content = mail(extra="X-Campaign: 7\r\nFeedback-ID: a:b\r\n", body="..dot\r\n\r\nend\r\n")
        self.assertTrue(c.data(content).startswith("250 2.0.0 Ok: queued as "))
        c.ask("QUIT")
        got = [e["event"] for e in self.events("plain")]
        self.assertEqual(got, ["connect", "ehlo", "mail", "rcpt", "data", "accepted", "quit"])
        a = self.events("plain", "accepted")[0]
        self.assertEqual((a["rcpt"], a["mail_from"], a["message_id"], a["uncertain"], a["ip"], a["size"]),
                         ("u@a.test", "v@s.test", "<1@s.test>", False, "127.0.0.1", len(content) - 1))
        self.assertEqual(a["x"], {"X-Campaign": "7", "Feedback-ID": "a:b"})
        times = [e["t_us"] for e in self.events("plain")]
        self.assertEqual(times, sorted(times))

    def test_sequences_and_syntax(self):
        c = self.raw("strict")
        for line, code in (("MAIL FROM:<a@b.test>", "503"), ("EHLO", "501"), ("EHLO x.test", "250"), ("RCPT TO:<u@a.test>", "503"),
                           ("DATA", "503"), ("MAIL FROM: <a@b.test>", "501"), ("MAIL FROM:a@b.test", "501"),
                           ("MAIL FROM:<a@b.test> FOO=1", "555"), ("MAIL FROM:<ä@b.test>", "553"),
                           ("MAIL FROM:<a@b.test> SIZE=99999999999", "552"), ("MAIL FROM:<> SIZE=10 BODY=8BITMIME", "250"),
                           ("MAIL FROM:<a@b.test>", "503"), ("DATA", "554"), ("RCPT TO:<>", "501"), ("RCPT TO:<u@other.test>", "550"),
                           ("RCPT TO:<u@a.test> X=1", "555"), ("RSET", "250"), ("NOOP", "250"), ("FOO", "500")):
            self.assertTrue(c.send(line.encode() + b"\r\n").reply().startswith(code.encode()), line)

    def test_only_crlf_dot_crlf_ends_and_bare_line_ends_are_refused(self):
        before = self.rcv.stats("strict")["strict"]["smuggling"]
        for bad, text in ((b"a\n.\r\n", "bare LF"), (b"a\r\n.\nMAIL", "bare LF"), (b"a\n.\nx", "bare LF"), (b"a\r.\rb", "bare CR"),
                          (b"one\ntwo", "bare LF"), (b"nul\0", "NUL"), (b"x" * 1200, "longer")):
            c = self.raw("strict")
            c.transaction()
            answer = c.data(mail() + bad + b"\r\n")
            self.assertTrue(answer.startswith("554 5."), (bad, answer))
            self.assertIn(text, answer)
        self.assertEqual(self.events("strict", "accepted"), [])
        self.assertEqual(self.rcv.stats("strict")["strict"]["smuggling"] - before, 4)
        self.assertIn(b"bare LF", self.raw("strict").send(b"EHLO x\n").reply())

    def test_what_must_not_be_sent_ahead(self):
        self.assertIn("before the greeting", self._talked_early())
        c = self.raw("strict")
        c.transaction()
        c.send(b"DATA\r\nSubject: x\r\n\r\n.\r\n")
        self.assertTrue(c.reply().startswith(b"503 5.5.0"))
        c = self.raw("bare")
        c.ask("EHLO x.test")
        c.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<u@a.test>\r\n")
        self.assertTrue(c.reply().startswith(b"503 5.5.0"))
        c = self.raw("strict")
        c.ask("EHLO x.test")
        c.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<u@a.test>\r\nDATA\r\n")
        self.assertEqual([c.reply()[:3] for _ in range(3)], [b"250", b"250", b"354"])

    def _talked_early(self):
        self.rcv.control("set idle delay_greeting 100ms")
        c = self.raw("idle", greet=False)
        c.send(b"EHLO x\r\n").reply()
        self.rcv.control("set idle delay_greeting 0")
        return self.events("idle", "violation")[0]["text"]

    def test_limits(self):
        c = self.raw("rate")
        c.ask("EHLO x.test")
        c.ask("MAIL FROM:<v@s.test>")
        answers = [c.ask(f"RCPT TO:<u{i}@a.test>") for i in range(4)]
        self.assertEqual([a[:3] for a in answers], ["250"] * 3 + ["421"])
        self.assertIn("RP-001", answers[3])
        self.assertEqual(c.reply(), b"", "421 closes")
        self.assertEqual(len(self.events("rate", "rcpt")), 4, "every RCPT is on record")
        self.assertTrue(self.raw("rate", source="127.0.0.2").transaction().startswith("250"), "another client has its own")
        first, second = self.raw("conns"), self.raw("conns")
        self.assertTrue(second.greeting.startswith(b"421 4.7.0"))
        self.assertTrue(first.transaction().startswith("250"))
        self.assertEqual(self.events("conns", "refused")[0]["reason"], "connections")
        c = self.raw("permsg")
        c.transaction()
        c.data(mail())
        self.assertTrue(c.transaction(ehlo=False).startswith("421 RP-002"))

    def test_greylisting_remembers_client_sender_recipient(self):
        c = self.raw("grey")
        self.assertTrue(c.transaction().startswith("451 4.7.1"))
        self.assertTrue(c.ask("RCPT TO:<u@a.test>").startswith("451"), "too early")
        other = self.raw("grey", source="127.0.0.2")
        time.sleep(.16)  # the provider's delay is real time
        self.assertTrue(c.ask("RCPT TO:<U@a.test>").startswith("250"))
        self.assertTrue(other.transaction().startswith("451"), "another client begins anew")
        self.assertTrue(c.ask("RCPT TO:<w@a.test>").startswith("451"))

    def test_users(self):
        c = self.raw("users")
        for rcpt, code in (("nobody7@a.test", "550 5.1.1"), ("X@a.test", "550 5.1.1"), ("fuller@a.test", "552 5.2.2"),
                           ("ok@a.test", "250")):
            self.assertTrue(c.transaction(rcpt).startswith(code), rcpt)
            c.ask("RSET")
        c = self.raw("share")
        c.ask("EHLO x.test")
        c.ask("MAIL FROM:<v@s.test>")
        once = [c.ask(f"RCPT TO:<u{i}@a.test>")[:3] for i in range(60)]
        self.assertTrue(10 < once.count("550") < 50)
        c.ask("RSET")
        c.ask("MAIL FROM:<v@s.test>")
        self.assertEqual(once, [c.ask(f"RCPT TO:<u{i}@a.test>")[:3] for i in range(60)], "the same ones each time")

    def test_blocks_at_every_stage_and_the_verdict_line(self):
        text = "554 5.7.1 Service unavailable; Client host [%ip] blocked using zen.remuda.test"
        for i, stage in enumerate(("greeting", "ehlo", "mail", "rcpt", "data", "dot")):
            ip = f"127.7.0.{i + 1}"
            self.rcv.block("blocks", ip, stage, text)
            c = self.raw("blocks", source=ip)
            said = c.greeting.decode()
            if stage != "greeting":
                self.assertTrue(said.startswith("220"))
                said = c.ask("EHLO x.test")
            if stage in ("mail", "rcpt"):
                said = c.transaction(ehlo=False)
            elif stage in ("data", "dot"):
                c.transaction(ehlo=False)
                said = c.data(mail())
            self.assertEqual(said, text.replace("%ip", ip) + "\r\n", stage)
            v = wait_until(lambda ip=ip: self.events("blocks", "verdict", ip=ip), 2, "the verdict line")[0]
            self.assertEqual((v["stage"], v["code"], v["reason"]), (stage, 554, "block"))
            self.rcv.unblock("blocks", ip)
            self.assertTrue(self.raw("blocks", source=ip).transaction().startswith("250"))
        self.assertEqual(self.events("blocks", "accepted"), [])
        self.rcv.block("blocks", "127.8.0.0/16", "any", "421 4.7.1 go away")
        self.assertTrue(self.raw("blocks", source="127.8.3.4").greeting.startswith(b"421"))
        self.rcv.unblock("blocks", "127.8.3.4")  # not the rule that was made
        self.assertTrue(self.raw("blocks", source="127.8.3.4").greeting.startswith(b"421"))
        self.rcv.unblock("blocks", "*")
        self.assertTrue(self.raw("blocks", source="127.8.3.4").greeting.startswith(b"220"))

    def test_delays(self):
        c = self.raw("slow")
        begin = time.monotonic()
        c.transaction()
        self.assertGreaterEqual(time.monotonic() - begin, .12)
        begin = time.monotonic()
        c.data(mail())
        self.assertGreaterEqual(time.monotonic() - begin, .12)
        self.rcv.control("slow ctl 150")
        begin = time.monotonic()
        self.raw("ctl")
        self.assertGreaterEqual(time.monotonic() - begin, .15)
        self.rcv.control("slow ctl 0")

    def test_cuts(self):
        seen = []
        for i in range(5):
            c = self.raw("cuts")
            c.transaction(f"u{i}@a.test")
            seen.append(c.data(mail(mid=f"{i}@s.test"))[:3])
        self.assertEqual(seen, ["", "", "", "", "250"])
        cuts = [(e["stage"], e["accepted"], e["uncertain"], e["rcpt"]) for e in self.events("cuts", "cut")]
        self.assertEqual(cuts, [("data", False, False, "u0@a.test"), ("before-dot", False, True, "u1@a.test"),
                                ("after-lost", False, True, "u2@a.test"), ("after-accepted", True, True, "u3@a.test")])
        self.assertEqual([(e["rcpt"], e["uncertain"]) for e in self.events("cuts", "accepted")],
                         [("u3@a.test", True), ("u4@a.test", False)])
        self.rcv.control("cut ctl mail")
        self.assertEqual(self.raw("ctl").transaction(), "")
        self.assertTrue(self.raw("ctl").transaction().startswith("250"), "armed for one")

    def test_strange_replies(self):
        c = self.raw("drip")
        begin = time.monotonic()
        reply = c.ask("EHLO x.test")
        self.assertGreaterEqual(time.monotonic() - begin, .002 * (len(reply) - 1))
        self.assertIn("PIPELINING", reply)
        c = self.raw("flood")
        c.ask("EHLO x.test")
        self.assertGreaterEqual(len(c.send("MAIL FROM:<v@s.test>\r\n").reply()), 1000000)
        c = self.raw("multi")
        c.ask("EHLO x.test")
        self.assertEqual(c.ask("MAIL FROM:<v@s.test>").count("250-"), 3)
        self.assertIn("\0\0", c.ask("RCPT TO:<u@a.test>"))
        c = self.raw("said")
        self.assertEqual(c.transaction(), "450-4.2.1 first\r\n450 second 127.0.0.1\r\n")
        self.rcv.control("set said reply_rcpt ")
        c.ask("RCPT TO:<u@a.test>")
        self.assertEqual(c.data(mail()), "nonsense\r\n")

    def test_extensions_on_and_off(self):
        self.assertTrue(self.raw("old").ask("EHLO x.test").startswith("502"))
        c = self.raw("old")
        self.assertEqual(c.ask("HELO x.test"), "250 mx.a.test\r\n")
        self.assertTrue(c.transaction(ehlo=False).startswith("250"))
        said = self.raw("bare").ask("EHLO x.test")
        for word in ("PIPELINING", "8BITMIME", "SMTPUTF8", "STARTTLS", "CHUNKING"):
            self.assertNotIn(word, said)
        c = self.raw("lies")
        self.assertIn("SIZE 10\r\n", c.ask("EHLO x.test"))
        c.transaction(ehlo=False)
        self.assertTrue(c.data(mail(body="x" * 70 + "\r\n")).startswith("250"), "more than it said is taken")
        c.transaction(ehlo=False)
        self.assertTrue(c.data(mail(body=("x" * 70 + "\r\n") * 40)).startswith("552"), "and less than it said refused")
        c = self.raw("plain", source="127.0.0.9")
        c.ask("EHLO x.test")
        c.ask("MAIL FROM:<v@s.test> SMTPUTF8 BODY=8BITMIME")
        self.assertTrue(c.send("RCPT TO:<jürgen@a.test>\r\n").reply().startswith(b"250"))
        c.data(mail(body="grüße\r\n"))
        a = self.events("plain", "accepted", rcpt="jürgen@a.test")[0]
        self.assertEqual((a["eight_bit"], a["undeclared_8bit"]), (True, False))

    def test_content_words(self):
        c = self.raw("words")
        c.transaction()
        self.assertTrue(c.data(mail(body="Buy CHEAP Pills now\r\n")).startswith("550 5.7.1"))
        e = self.events("words", "refused")[0]
        self.assertEqual((e["stage"], e["reason"], e["rcpt"], e["message_id"]), ("dot", "content", "u@a.test", "<1@s.test>"))

    def test_bdat(self):
        c = self.raw("chunks")
        self.assertIn("CHUNKING", c.ask("EHLO x.test"))
        c.transaction(ehlo=False)
        m = mail(body=".\r\nx\r\n")
        c.send(f"BDAT {len(m) - 5}\r\n".encode() + m[:-5])
        self.assertTrue(c.reply().startswith(b"250"))
        c.send(b"BDAT 5 LAST\r\n" + m[-5:])
        self.assertIn(b"queued", c.reply())
        self.assertEqual(self.events("chunks", "accepted")[0]["size"], len(m))

    def test_starttls(self):
        context = ssl._create_unverified_context()
        sessions = []
        for _ in range(2):
            c = self.raw("tlsneeded")
            self.assertTrue(c.transaction().startswith("530"))
            self.assertTrue(c.ask("STARTTLS").startswith("220"))
            c.s = context.wrap_socket(c.s, session=sessions[-1] if sessions else None)
            c.f = c.s.makefile("rb")
            self.assertTrue(c.ask("MAIL FROM:<v@s.test>").startswith("503"), "TLS forgets the EHLO")
            self.assertNotIn("STARTTLS", c.ask("EHLO x.test"))
            c.transaction(ehlo=False)
            self.assertTrue(c.data(mail(body="x" * 60 + "\r\n")).startswith("250"))
            sessions.append(c.s.session)
        self.assertEqual([e["resumed"] for e in self.events("tlsneeded", "tls")], [False, True])
        self.assertTrue(self.events("tlsneeded", "accepted")[0]["tls"])
        c = self.raw("tlsrefuse")
        c.ask("EHLO x.test")
        self.assertTrue(c.ask("STARTTLS").startswith("454"))
        c = self.raw("tlsbroken")
        c.ask("EHLO x.test")
        self.assertTrue(c.ask("STARTTLS").startswith("220"))
        with self.assertRaises(ssl.SSLError, msg="the garbage arrives before the end"):
            context.wrap_socket(c.s)

    def test_control(self):
        self.assertEqual(self.rcv.control("get ctl idle"), "300000ms")
        for bad in ("frobnicate ctl", "set ctl nosuch 1", "set ctl idle soon", "block ctl 1.2.3.4 mail 250 ok", "slow nobody 1",
                    "cut ctl sideways"):
            with self.assertRaises(Failed, msg=bad):
                self.rcv.control(bad)
        self.rcv.control("down judged")
        self.assertFalse(port_open(*self.at["judged"]))
        self.rcv.control("up judged")
        self.assertTrue(port_open(*self.at["judged"]))
        c = self.raw("judged")
        self.rcv.control("close judged 127.0.0.1")
        self.assertEqual(c.reply(), b"")
        self.assertIn("down", [e["command"] for e in self.events("judged", "control")])

    def test_silence_ends(self):
        c = self.raw("idle", source="127.0.0.5")
        self.assertTrue(c.reply().startswith(b"421 4.4.2"))

    def test_smtplib_is_content(self):
        with smtplib.SMTP(*self.at["plain"], timeout=5) as s:
            s.starttls(context=ssl._create_unverified_context())
            s.sendmail("v@s.test", ["one@a.test", "two@a.test"], mail())
        self.assertEqual({e["rcpt"] for e in self.events("plain", "accepted", tls=True)}, {"one@a.test", "two@a.test"})

    def test_the_judge_reads_it(self):
        self.rcv.block("judged", "127.6.0.1", "mail", "550 5.7.1 blocked")
        c = self.raw("judged", source="127.6.0.1")
        c.transaction()
        wait_until(lambda: self.events("judged", "verdict"), 2, "the verdict line")
        c.ask("MAIL FROM:<again@s.test>")
        other = self.raw("judged", source="127.6.0.2")
        other.transaction("one@a.test")
        other.data(mail())
        events = self.events("judged")
        r = judge([{"email": "one@a.test"}, {"email": "two@a.test"}], events, grace_ms=0)
        self.assertEqual((r["delivered"], r["lost"], r["sent_after_block"]), (1, 1, 1))


class Servers(Base):
    """DNS, a blocklist, keys and the verifier, together."""
    providers = {"dnsbl": {}, "late": {}, "dkim": {}, "dead": {}}
    options = {}

    @classmethod
    def prepare(cls):
        cls.keys = [Key("s.test", "r1"), Key("s.test", "e1", "ed25519")]
        cls.filed = Key("f.test", "k1")
        cls.dns = Dns(cls.work, cls.addrs.one(), zones={
            "a.test": [("@", "MX", "10 mx.a.test."), ("mx", "A", "127.1.2.3"), ("mx", "AAAA", "::1")],
            "s.test": [(f"{k.selector}._domainkey", "TXT", k.record) for k in cls.keys]}).start()
        cls.rbl = Rbldnsd(cls.work, cls.addrs.one(), [ZEN]).start()
        keyfile = cls.work.write("keys", f"{cls.filed.name} {cls.filed.record}\n")
        cls.options = {"dkim_dns": cls.dns.server, "dkim_keys": keyfile, "save": cls.work.mkdir("saved")}
        listing = {"dnsbl_zone": ZEN, "dnsbl_server": cls.rbl.server, "dnsbl_cache": "1ms"}
        dead = cls.addrs.one()
        cls.providers = {"dnsbl": listing, "late": listing | {"dnsbl_stage": "rcpt"}, "dkim": {},
                         "dead": {"dnsbl_zone": ZEN, "dnsbl_server": f"{dead}:{free_port(dead)}", "dnsbl_timeout": "200ms"}}

    def test_dig_agrees(self):
        dig = subprocess.run(["dig", "+short", f"@{self.dns.addr}", "-p", str(self.dns.port), "MX", "a.test"],
                             capture_output=True, text=True, check=True).stdout
        self.assertEqual(dig, "10 mx.a.test.\n")
        self.assertEqual(dns_query(self.dns.addr, self.dns.port, "mx.a.test", "AAAA"), ("NOERROR", ["::1"]))
        self.assertEqual(dns_query(self.dns.addr, self.dns.port, "none.test")[0], "NXDOMAIN")
        self.assertEqual(dns_query(self.dns.addr, self.dns.port, "r1._domainkey.s.test", "TXT")[1], [self.keys[0].record])

    def test_dns_changes_and_stands_still(self):
        records = self.dns.zones["a.test"]
        self.dns.set("a.test", records + [("www", "A", "127.1.2.4")])
        self.dns.reload()
        self.assertEqual(dns_query(self.dns.addr, self.dns.port, "www.a.test")[1], ["127.1.2.4"])
        self.dns.pause()
        self.addCleanup(self.dns.resume)
        self.assertEqual(dns_query(self.dns.addr, self.dns.port, "www.a.test", timeout_s=.2)[0], "TIMEOUT")

    def test_nsd_too(self):
        nsd = Dns(self.work, self.addrs.one(), zones={"n.test": [("@", "A", "127.1.1.1")]}, kind="nsd", name="nsd").start()
        self.assertEqual(dns_query(nsd.addr, nsd.port, "n.test")[1], ["127.1.1.1"])
        nsd.stop()

    def test_a_listing_makes_the_receiver_refuse(self):
        ip = "127.5.0.1"
        self.assertTrue(self.raw("dnsbl", source=ip).greeting.startswith(b"220"))
        self.rbl.add(ZEN, ip)
        self.assertEqual(self.raw("dnsbl", source=ip).greeting.decode(),
                         f"554 5.7.1 Service unavailable; Client host [{ip}] blocked using {ZEN}\r\n")
        late = self.raw("late", source=ip)
        self.assertTrue(late.greeting.startswith(b"220"))
        self.assertIn("blocked using", late.transaction())
        self.assertTrue(self.raw("dnsbl", source="127.5.0.2").greeting.startswith(b"220"))
        self.rbl.remove(ZEN, ip)
        time.sleep(.01)  # the receiver's cache of 1 ms
        self.assertTrue(self.raw("dnsbl", source=ip).greeting.startswith(b"220"))
        self.assertEqual(len(self.events("dnsbl", "verdict", ip=ip)), 1)
        self.assertTrue(self.raw("dead").greeting.startswith(b"220"), "no answer is no listing")

    def _dkim(self, message):
        c = self.raw("dkim")
        c.transaction()
        queued = c.data(message).split()[-1]
        line = wait_until(lambda: self.events("dkim", "dkim", msg=queued), 10, "the verification")[0]
        with open(self.work.path("saved", f"{queued}.eml"), "rb") as f:
            self.assertEqual(f.read(), message)
        return line

    def test_every_signature_is_verified(self):
        rsa, ed = self.keys
        both = self._dkim(sign(sign(mail(), rsa), ed))
        self.assertEqual((both["dkim"], both["from_oversigned"], both["unsigned"]), ("pass", True, []), both)
        self.assertEqual({(s["a"], s["result"]) for s in both["signatures"]},
                         {("rsa-sha256", "pass"), ("ed25519-sha256", "pass")})
        self.assertEqual(self._dkim(mail())["dkim"], "none")
        bad = self._dkim(sign(mail(), rsa).replace(b"Hello", b"Hallo"))
        self.assertEqual((bad["dkim"], bad["signatures"][0]["error"]), ("fail", "body hash mismatch"))
        half = self._dkim(sign(sign(mail(), rsa), ed).replace(b"d=s.test; s=e1", b"d=s.test; s=e9"))
        self.assertEqual(half["dkim"], "fail", "one bad signature of two is a failure")
        weak = self._dkim(sign(mail(), rsa, headers=("From", "Subject", "Date")))
        self.assertEqual((weak["dkim"], weak["from_oversigned"], weak["unsigned"]),
                         ("pass", False, ["message-id", "list-unsubscribe", "list-unsubscribe-post"]))
        self.assertEqual(self._dkim(sign(mail(sender="x@f.test"), self.filed))["dkim"], "pass", "key from the file")


class Peers(unittest.TestCase):
    def setUp(self):
        self.work = Work()
        self.addCleanup(self.work.close)
        self.addrs = Addresses()

    def test_postfix_delivers(self):
        try:
            p = Postfix(self.work, self.addrs.one(), deliver="maildir").start()
        except Unavailable as e:
            self.skipTest(str(e))
        with smtplib.SMTP(p.addr, p.port, timeout=10) as s:
            s.starttls(context=ssl._create_unverified_context())
            s.sendmail("v@s.test", ["u@postfix.test"], mail(to="u@postfix.test"))
        got = wait_until(lambda: p.mails("u@postfix.test"), 10, "the mail in the maildir")
        self.assertIn(b"Message-ID: <1@s.test>", got[0])
        self.assertEqual(p.mails("w@postfix.test"), [])

    def test_smtp_sink_takes_mail(self):
        sink = SmtpSink(self.work, self.addrs.one()).start()
        with smtplib.SMTP(sink.addr, sink.port, timeout=5) as s:
            self.assertEqual(s.sendmail("v@s.test", ["u@a.test"], mail()), {})


class Program(unittest.TestCase):
    """Options, bad configurations, the end, speed."""

    def setUp(self):
        self.program = find_receivers()
        self.work = Work()
        self.addCleanup(self.work.close)

    def run_program(self, *args):
        return subprocess.run([self.program, *args], capture_output=True, text=True, timeout=10, check=False)

    def test_help_and_settings(self):
        self.assertIn("--control", self.run_program("--help").stdout)
        self.assertIn("greylist_delay", self.run_program("--settings").stdout)
        self.assertEqual(self.run_program("--nonsense").returncode, 2)

    def test_bad_configurations_name_line_and_reason(self):
        for text, reason in (("provider p {\n", "not closed"), ("provider p {\n nosuch = 1\n}\n", ":2: nosuch: no such setting"),
                             ("provider p {\n listen = here\n}\n", ":2: listen"), ("provider p {\n}\n", "no listen address"),
                             ("", "no provider"), ("provider p {\n listen = 127.0.0.1:1\n delay = soon\n}\n", ":3: delay"),
                             ("provider p {\n block = * mail 250 ok\n}\n", ":2: block"), ("nosuch = 1\n", ":1: nosuch")):
            done = self.run_program("--check", "--config", self.work.write("bad.conf", text))
            self.assertEqual(done.returncode, 2, text)
            self.assertIn(reason, done.stderr)

    def test_the_example_of_the_readme_is_valid(self):
        readme = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../receivers/README.md")
        with open(readme, encoding="utf-8") as f:
            example = f.read().split("```\n")[1]
        done = self.run_program("--check", "--config", self.work.write("example.conf", example))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_an_address_in_use_is_said(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            conf = self.work.write("c.conf", "provider p {\n listen = 127.0.0.1:%d\n}\n" % s.getsockname()[1])
            done = self.run_program("--config", conf, "--log", self.work.path("l"))
        self.assertEqual(done.returncode, 3)
        self.assertIn("can't listen on", done.stderr)

    def test_the_transcript_survives_a_restart_and_sigterm_verifies_first(self):
        port = free_port()
        r = Receivers(self.work, {"p": {"listen": f"127.0.0.1:{port}"}})
        for _ in range(2):
            r.start()
            c = Raw("127.0.0.1", port)
            c.transaction()
            c.data(mail())
            c.close()
            self.assertEqual(r.stop(), 0)
        self.assertEqual(len(r.transcript("dkim")), 2)
        self.assertEqual(len({e["msg"] for e in r.transcript("accepted")}), 2, "ids differ between runs")

    def test_speed(self):
        port = free_port()
        r = Receivers(self.work, {"p": {"listen": f"127.0.0.1:{port}"}}, dkim_verify=False).start()
        source = find_program("smtp-source")
        subprocess.run([source, "-d", "-m", "8000", "-s", "8", "-l", "10240", "-f", "v@s.test", "-t", "u@a.test",
                        f"127.0.0.1:{port}"], check=True, capture_output=True, timeout=30)
        times = [e["t_us"] for e in r.transcript("accepted")]
        ticks = os.sysconf("SC_CLK_TCK")
        with open(f"/proc/{r.child.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        cpu_us = (int(fields[11]) + int(fields[12])) * 1e6 / ticks / len(times)
        print(json.dumps({"messages_per_second": round(len(times) / ((times[-1] - times[0]) / 1e6)),
                          "receiver_cpu_us_a_message": round(cpu_us)}), file=sys.stderr)
        self.assertEqual(len(times), 8000)
        self.assertLess(cpu_us, 125, "more than 8,000 messages/s on one core, whatever else runs")


if __name__ == "__main__":
    unittest.main()
