"""Signatures as receivers get them from the production programs, judged by three verifiers that have nothing in common:
libopendkim (in the receivers), dkimpy (Debian's python3-dkim), and Mail::DKIM (Debian's libmail-dkim-perl, which knows no
Ed25519). And a key that is rotated while mail flows."""

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import ClusterCase  # noqa: E402
from remudatest.dkim import Key  # noqa: E402

# dkimpy is for Debian's own Python, whichever runs this.
DKIMPY = """
import json, sys
import dkim
ask = json.load(sys.stdin)
out = []
for path in ask["paths"]:
    with open(path, "rb") as f:
        raw = f.read()
    n = sum(1 for name, _ in dkim.rfc822_parse(raw)[0] if name.lower() == b"dkim-signature")
    for i in range(n):
        d = dkim.DKIM(raw)
        try:
            good = d.verify(idx=i, dnsfunc=lambda name, timeout=5: ask["records"].get(name.decode().rstrip("."), "").encode() or None)
        except dkim.DKIMException as e:
            good = repr(e)
        tags = dict(d.signature_fields or {})
        out.append([path, tags.get(b"s", b"?").decode(), tags.get(b"a", b"?").decode(), good])
json.dump(out, sys.stdout)
"""
MAIL_DKIM = r"""
use strict; use warnings;
use Mail::DKIM::Verifier; use Mail::DKIM::DNS; use Net::DNS::Resolver;
my ($ip, $port) = (shift, shift);
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => [$ip], port => $port, recurse => 0));
for my $path (@ARGV) {
    my $v = Mail::DKIM::Verifier->new();
    open(my $f, '<:raw', $path) or die "$path: $!";
    local $/; my $raw = <$f>;
    $v->PRINT($raw); $v->CLOSE;
    print join("\t", $path, $_->selector, $_->algorithm, $_->result_detail), "\n" for $v->signatures;
}
"""

HEAD = "From: \"A. Sender, of News\" <news@news.example>\nTo: {{name}} <{{email}}>\n"
TEMPLATES = {
    "plain": HEAD + "Subject: {{name}}\n\nHello {{name}}, {{text}}\n",
    "folded": HEAD + "Subject: " + "a long word and " * 12 + "\n  {{name}}\nReply-To: \"x\"   <r@news.example>\nList-Id: News <n.news.example>\n\n{{text}}\n",
    "empty": HEAD + "Subject: nothing\n\n",
    "blank": HEAD + "Subject: blank\n\n\n\n{{text}}\n\n \n\t\n\n\n",
    "dots": HEAD + "Subject: dots\n\n.\n..\n.{{text}}\n.\n",
    "eightbit": HEAD + "Subject: Grüße {{name}}\nMime-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße  \t ü \n{{text}}\n",
    "long": HEAD + "Subject: long\n\n" + "x" * 900 + " " + "y" * 5000 + " {{text}}\n",
    "parts": HEAD + "Subject: parts\nMime-Version: 1.0\nContent-Type: multipart/alternative; boundary=\"b\"\n\n--b\nContent-Type: text/plain; charset=utf-8\n\n"
             "{{text}}\n--b\nContent-Type: text/html; charset=utf-8\n\n<p>{{text}}  \t</p>\n--b--\n",
}
VALUES = ["word", "two\r\nlines", "a\rb", "\n.\n", "  spaces \t ", "ünïcödé – 李", "x" * 3000, "a\x0bb", "=20=", "From here\n\n\n"]
CANONS = ("relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple")


class Verifiers(ClusterCase):
    providers = {"a": {"domains": ["a.test"], "chunking": True}, "b": {"domains": ["b.test"]}}
    world_options = {"ed25519": True}

    @classmethod
    def prepare(cls):
        cls.cluster.source(cls.address(1))
        for canon in CANONS:
            cls.cluster.stream(canon.replace("/", "-"), cls.world.keys["news.example"], canonicalization=canon)
        cls.cluster.stream("one", cls.world.keys["news.example"], one_signature="yes", unsubscribe_url=None, unsubscribe_mailto=None)

    def paths(self):
        return [self.work.path("mails", f"{e['msg']}.eml") for e in self.events("accepted")]

    def dkimpy(self, paths):
        records = {k.name: k.record for k in self.world.keys["news.example"]}
        done = subprocess.run(["/usr/bin/python3", "-c", DKIMPY], input=json.dumps({"paths": paths, "records": records}).encode(),
                              capture_output=True, check=False, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr.decode()[-2000:])
        return json.loads(done.stdout)

    def mail_dkim(self, paths):
        done = subprocess.run(["/usr/bin/perl", "-e", MAIL_DKIM, self.world.dns.addr, str(self.world.dns.port), *paths],
                              capture_output=True, check=False, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr.decode()[-2000:])
        return [line.split("\t") for line in done.stdout.decode().splitlines()]

    def test_three_verifiers_agree(self):
        n = 0
        for canon in CANONS:
            for name, template in TEMPLATES.items():
                rows = [{"email": f"{name}{i}-{canon.replace('/', '-')}@{'ab'[i % 2]}.test", "name": v[:200], "text": v} for i, v in enumerate(VALUES)]
                c = self.deliver(rows, template=template, stream=canon.replace("/", "-"))
                self.assertEqual(c["delivered"], len(VALUES), c)
                n += len(VALUES)
        c = self.deliver([{"email": f"one{i}@{'ab'[i % 2]}.test", "name": "x", "text": "y"} for i in range(10)],
                         template="From: news@news.example\nSubject: one\n\nThe same.\n", stream="one")
        n += c["delivered"]
        n += len(self.to("changed@a.test"))
        self.world.receivers.verified()
        theirs = self.events("dkim")
        self.assertEqual((len(theirs), {e["dkim"] for e in theirs}), (n, {"pass"}), [e for e in theirs if e["dkim"] != "pass"][:3])
        paths = self.paths()
        self.assertEqual(len(paths), n)
        found = self.dkimpy(paths)
        self.assertEqual([f for f in found if f[3] is not True], [])
        self.assertEqual(sorted({(f[1], f[2]) for f in found}), [("e1", "ed25519-sha256"), ("r1", "rsa-sha256")])
        self.assertEqual(len(found), 2 * n)
        found = [f for f in self.mail_dkim(paths) if f[2] == "rsa-sha256"]
        self.assertEqual([f for f in found if f[3] != "pass"], [])
        self.assertEqual(len({f[0] for f in found}), n)
        ones = [e for e in theirs if e["rcpt"].startswith("one")]
        self.assertEqual({tuple(e["unsigned"]) for e in ones}, {("message-id",)})
        ones = [p for p, e in zip(paths, self.events("accepted")) if e["rcpt"].startswith("one")]
        signed = set()
        for path in ones:
            with open(path, "rb") as f:
                signed.add(f.read().partition(b"\r\nFrom:")[0])
        self.assertEqual(len(signed), 1, "the same signatures for all")

    def test_they_notice_what_is_changed(self):
        self.deliver([{"email": "changed@a.test", "name": "x", "text": "y"}], template=TEMPLATES["plain"], stream="relaxed-relaxed")
        raw, _ = self.mail("changed@a.test")
        path = self.work.write("changed.eml", "")
        with open(path, "wb") as f:
            f.write(raw.replace(b"Hello", b"Hullo"))
        self.assertEqual([f[3][:15] for f in self.dkimpy([path])], ["ValidationError"] * 2)
        self.assertNotIn("pass", [f[3] for f in self.mail_dkim([path])])
        os.remove(path)


class Rotation(ClusterCase):
    """Publish the new key, let it sign beside the old one or at once alone, withdraw the old one when its mail was read."""
    providers = {"a": {"domains": ["a.test"], "delay_dot": "20ms"}}

    @classmethod
    def prepare(cls):
        cls.cluster.source(cls.address(1))
        cls.old = cls.world.keys["news.example"][0]
        cls.new = Key("news.example", "r2")
        cls.cluster.stream("bulk", [cls.old])

    def publish(self, *keys):
        zone = [z for z in self.world.zones["news.example"] if "._domainkey" not in z[0]]
        zone += [(f"{k.name}.", "TXT", k.record) for k in keys]
        self.world.dns.set("news.example", zone)
        self.world.dns.stop()
        self.world.dns.start()

    def verdicts(self):
        self.world.receivers.verified()
        return {e["rcpt"]: (e["dkim"], tuple(s["s"] for s in e["signatures"])) for e in self.events("dkim")}

    def test_while_mail_flows(self):
        for step, (published, signing) in enumerate([((self.old,), [self.old]), ((self.old, self.new), [self.old]),
                                                     ((self.old, self.new), [self.old, self.new]), ((self.old, self.new), [self.new]),
                                                     ((self.new,), [self.new])]):
            self.publish(*published)
            c = self.send([f"s{step}-{i}@a.test" for i in range(60)])
            self.cluster.stream("bulk", signing)  # while they leave
            self.assertEqual(self.cluster.settled(c["id"])["delivered"], 60)
            self.verdicts()
        got = self.verdicts()
        self.assertEqual(len(got), 300)
        self.assertEqual({v for v, _ in got.values()}, {"pass"}, [e for e in self.events("dkim") if e["dkim"] != "pass"][:2])
        self.assertEqual({s for r, (_, s) in got.items() if r.startswith("s0-")}, {("r1",)})
        self.assertLess({s for r, (_, s) in got.items() if r.startswith("s3-")}, {("r1", "r2"), ("r2",), ("r1",)})
        self.assertEqual({s for r, (_, s) in got.items() if r.startswith("s4-")}, {("r2",)})
        self.assertTrue({s for _, s in got.values()} >= {("r1",), ("r2",)})


if __name__ == "__main__":
    unittest.main()
