"""What operators see and are told: explain, events, status, the command's errors, --check of both programs."""

import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest import Work, free_port, wait_until  # noqa: E402
from remudatest.case import PLAIN, ClusterCase  # noqa: E402
from remudatest.cluster import ROOT, Program, built, patience  # noqa: E402


class Text(ClusterCase):
    """With helpers for what people read."""

    def say(self, *args, code=0, **kw):
        """Runs `remuda` as a person does; its text."""
        answer = self.cluster.remuda(*args, check=False, as_json=False, **kw)
        self.assertEqual(answer.code, code, f"{args}: {answer.text}")
        return answer.text

    def lines(self, *args, **kw):
        return self.say(*args, **kw).splitlines()


class Explain(Text):
    providers = {"small": {"domains": ["a.test"]}, "slow": {"domains": ["slow.test"], "delay_data": "4s"}}

    def test_a_restart_forgets_neither_the_watch_nor_what_binds(self):
        self.cluster.remuda("stream", "pause", "bulk", "--reason", "test")
        eml = self.work.write("watched.eml", PLAIN)
        path = self.cluster.write_csv("watched.csv", [{"email": f"w{i}@a.test"} for i in range(20)])
        with subprocess.Popen([self.cluster.command, "--api", self.cluster.socket, "send", "--template", eml, "--recipients", path,
                               "--stream", "bulk", "--watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watch:
            self.cluster.until(lambda: self.cluster.explain("w1@a.test")["matches"] or None, "it is accepted")
            self.cluster.coordinator.kill()
            self.cluster.start_coordinator()
            self.cluster.connected("n1")
            lines = "\n".join(self.cluster.explain("w1@a.test")["matches"][-1]["lines"])
            self.assertIn("paused", lines)
            self.cluster.remuda("stream", "resume", "bulk")
            out, err = watch.communicate(timeout=patience(60))
            self.assertEqual(watch.returncode, 0, err.decode())
            self.assertIn("100%", err.decode())

    def test_the_newest_is_told_however_much_there_was(self):
        for _ in range(55):
            last = self.deliver(["often@a.test"])
        answer = self.cluster.explain("often@a.test")
        self.assertEqual((len(answer["matches"]), answer["truncated"]), (50, True))
        self.assertEqual(answer["matches"][-1]["campaign"], last["id"])
        self.cluster.remuda("stream", "pause", "bulk")
        self.addCleanup(self.cluster.remuda, "stream", "resume", "bulk")
        waiting = self.send(["often@a.test"])
        self.cluster.until(lambda: self.cluster.explain("often@a.test")["matches"][-1]["campaign"] == waiting["id"] or None,
                           "the one that waits is the last")
        self.assertIn("older ones are left out", self.cluster.remuda("explain", "often@a.test", as_json=False).out)
        self.cluster.remuda("campaign", "cancel", waiting["id"])

    def test_a_paused_campaign_is_what_its_recipients_wait_for(self):
        self.cluster.stream("resting", self.world.keys["news.example"], pool="empty")
        ident = self.send("rest@a.test", stream="resting")["id"]
        self.cluster.until(lambda: self.cluster.campaign(ident)["queued"] and "no source" in self.say("queue") or None, "it is queued")
        self.cluster.remuda("campaign", "pause", ident, "--reason", "wrong subject")
        text = self.say("explain", "rest@a.test")
        self.assertIn("its campaign is paused: wrong subject", text)
        self.assertIn(f"campaign  {ident} (paused)", text)
        self.assertIn("campaign paused", self.say("queue"))
        self.cluster.stream("resting", self.world.keys["news.example"], pool="main")
        self.cluster.remuda("campaign", "resume", ident)
        self.assertEqual(self.cluster.settled(ident)["delivered"], 1)
        self.assertEqual(self.say("queue"), "nothing waits\n")

    def test_a_campaign_that_is_paused_before_it_was_looked_up(self):
        self.cluster.stream("later", self.world.keys["news.example"])
        self.cluster.remuda("stream", "pause", "later")
        ident = self.send("later@a.test", stream="later")["id"]
        self.assertIn("1 recipient of paused campaigns or streams", self.say("queue"))
        self.cluster.remuda("campaign", "cancel", ident)

    def test_a_message_at_a_node_says_which(self):
        ident = self.send(["at@slow.test"])["id"]
        self.cluster.until(lambda: self.cluster.campaign(ident)["leased"] or None, "it is leased")
        match = self.cluster.explain("at@slow.test")["matches"][0]
        self.assertEqual((match["state"], match["lease"]["node"], match["lease"]["source"]), ("leased", "n1", self.address(1)))
        self.assertRegex(self.say("explain", "at@slow.test"), r"state +leased\n +with node n1 since [0-9-]+ [0-9:]+, to be sent from 127")
        self.assertEqual(self.cluster.settled(ident)["delivered"], 1)

    def test_a_domain_that_dns_gives_no_answer_for_defers(self):
        self.world.record("broken.lame.test", "NS", "ns.nowhere.invalid.")  # nothing: the name isn't in a zone that is served
        ident = self.send(["x@a.nozone-at-all.example"])["id"]
        self.cluster.until(lambda: self.cluster.campaign(ident)["deferred"] or None, "it is deferred")
        match = self.cluster.explain("x@a.nozone-at-all.example")["matches"][0]
        self.assertEqual(match["state"], "deferred", match)
        self.assertIsNotNone(match["not_before"])
        self.cluster.remuda("campaign", "cancel", ident)

    def test_a_suppressed_address_says_so_whatever_became_of_it(self):
        self.assertEqual(self.deliver(["gone@a.test"])["delivered"], 1)
        self.cluster.remuda("suppress", "add", "gone@a.test", "--reason", "asked")
        self.cluster.remuda("suppress", "add", "bulkonly@a.test", "--stream", "bulk")
        a = self.cluster.explain("gone@a.test")
        self.assertEqual((a["suppressed"], a["suppressed_streams"]), (True, [""]))
        self.assertIn("gone@a.test is suppressed for all streams", self.say("explain", "gone@a.test"))
        self.assertIn("bulkonly@a.test is suppressed for stream bulk", self.say("explain", "bulkonly@a.test"))
        self.say("explain", "nobody-ever@a.test", code=3)

    def test_a_message_id_is_enough(self):
        self.assertEqual(self.deliver(["named@a.test"])["delivered"], 1)
        _, mail = self.mail("named@a.test")
        sender = next(e["mail_from"] for e in reversed(self.events("mail")))
        for name in (mail["Message-ID"], mail["Message-ID"].strip("<>"), sender, mail["Message-ID"][1:27]):
            self.assertIn("to named@a.test", self.say("explain", name))

    def test_people_see_one_form_of_time(self):
        ident = self.send(["at2@slow.test"])["id"]
        self.cluster.until(lambda: self.cluster.campaign(ident)["leased"] or None, "it is leased")
        self.assertNotRegex(self.say("explain", "at2@slow.test"), r"\dT\d\d:")
        self.cluster.settled(ident)


class Events(Text):
    def test_the_last_ones_are_those_that_the_filters_let_through(self):
        self.deliver([f"e{i}@a.test" for i in range(5)])
        self.deliver(["one@a.test"])
        self.cluster.remuda("stream", "pause", "bulk", "--reason", "lunch")
        self.cluster.remuda("stream", "resume", "bulk")
        for _ in range(20):  # what is newest is of other types
            self.cluster.remuda("suppress", "add", "x@a.test")
        self.assertEqual(len(self.lines("events", "--type", "delivered", "--last", 2)), 2)
        self.assertIn("one@a.test", self.lines("events", "--type", "delivered", "--last", 1)[0])
        self.assertEqual(len(self.lines("events", "--recipient", "one@a.test", "--last", 1)), 1)
        self.assertGreaterEqual(len(self.lines("events", "--type", "delivered", "--last", 0)), 6)
        self.assertEqual(self.lines("events", "--type", "incident."), [])

    def test_following_survives_restarts_and_misses_nothing(self):
        self.deliver(["before@a.test"])
        out = self.cluster.path("followed.txt")
        with open(out, "wb") as f, subprocess.Popen([self.cluster.command, "--api", self.cluster.socket, "--json", "events", "-f", "--last", "1",
                                                     "--type", "delivered"], stdout=f, stderr=subprocess.PIPE) as follower:
            def seen():
                with open(out, encoding="utf-8") as text:
                    return [json.loads(line)["recipient"] for line in text]
            try:
                self.cluster.until(lambda: seen() == ["before@a.test"], "the last one is shown")
                for n, end in enumerate((self.cluster.coordinator.kill, self.cluster.coordinator.stop)):
                    end()
                    self.cluster.start_coordinator()
                    self.cluster.connected("n1")
                    self.deliver([f"after-{end.__name__}@a.test"])
                    # It is following again: two ends that come while it waits are one to it.
                    self.cluster.until(lambda n=n: len(seen()) >= n + 2, "what came after the restart is shown")
                self.assertEqual(seen(), ["before@a.test", "after-kill@a.test", "after-stop@a.test"])
            finally:
                follower.terminate()
            self.assertEqual(follower.stderr.read().decode().count("waiting for it"), 2)

    def test_an_unknown_type_names_those_that_exist(self):
        text = self.say("events", "--type", "bogus", code=1)
        self.assertIn("delivered, deferred", text)

    def test_every_type_of_the_core_is_known(self):
        types = set()
        for path in glob.glob(os.path.join(ROOT, "coordinator/core/*.c")):
            with open(path, encoding="utf-8") as f:
                types |= set(re.findall(r'"((?:campaign|incident|lease|node|source|stream|suppression)\.[a-z-]+)"', f.read()))
        self.assertGreater(len(types), 20)
        for t in sorted(types):
            self.assertEqual(self.cluster.api("GET", f"events?last=1&type={t}")[0], 200, f"{t}: missing in coordinator/io/api_events.c")

    def test_lines_say_what_they_are_about(self):
        ident = self.send(["about@a.test"], "--name", "autumn")["id"]
        self.cluster.settled(ident)
        self.assertRegex(self.say("events", "--type", "campaign.done", "--last", 1), rf"campaign={ident} \"autumn\" stream=bulk")
        self.cluster.remuda("stream", "pause", "bulk", "--reason", "tea")
        self.cluster.remuda("stream", "resume", "bulk")
        self.assertIn("stream=bulk tea", self.say("events", "--type", "stream.paused", "--last", 1))
        self.assertIn("stream=bulk", self.say("events", "--type", "stream.active", "--last", 1))
        self.cluster.remuda("suppress", "add", "y@a.test")
        self.assertIn("to=y@a.test stream=all", self.say("events", "--type", "suppression.added", "--last", 1))


class Command(Text):
    """Sources, streams, submissions and errors as people and programs see them."""

    def template(self, text=PLAIN):
        return self.work.write("t.eml", text)

    def rows(self, text, name="list.csv"):
        return self.work.write(name, text)

    def submit(self, template, rows, *args, **kw):
        return self.say("send", "--template", template, "--recipients", rows, "--stream", "bulk", *args, **kw)

    def test_help_by_either_word_and_names_of_providers(self):
        self.assertEqual(self.say("help", "send"), self.say("send", "--help"))
        self.assertIn("warmup pause", self.say("warmup", "--help"))
        self.assertIn("there is no command", self.say("help", "sned", code=2))
        self.assertRegex(self.say("plan", "--volume", "1M/day", "--mix", "gmail=40"), r"\ngoogle +40.0 %")
        for args in (("plan", "--volume", "1M/day", "--mix", "gmial=40"), ("classify", "550 no", "--provider", "gmial")):
            self.assertRegex(self.say(*args, code=2), r'there is no provider "gmial"; nearest is google; known are google, ')
        self.assertIn("no such user", self.say("classify", "550 no such user", "--provider", "gmail"))

    def test_a_provider_that_does_not_exist_is_told_in_one_wording(self):
        self.cluster.source(self.address(42), pool="spare")
        for args in (("source", "register", self.address(42), "gogle"), ("warmup", "set", self.address(42), "gogle", "--stage", "2", "--reason", "x"),
                     ("warmup", "pause", self.address(42), "gogle", "--reason", "x"), ("warmup", "resume", self.address(42), "gogle"),
                     ("signal", "complaints", "--source", self.address(42), "--provider", "gogle", "--day", "2026-11-20", "--count", 1),
                     ("source", "set", self.address(42), "--lane-caps", "gogle=5")):
            self.assertIn('there is no provider "gogle"; nearest is google; known are google, ', self.say(*args, code=1), args)

    def test_a_stream_shows_whether_cold_lanes_send_it(self):
        self.assertRegex(self.say("stream", "show", "bulk"), r"cold-lanes +yes")
        self.cluster.remuda("stream", "set", "bulk", "--cold-lanes", "never")
        self.addCleanup(self.cluster.remuda, "stream", "set", "bulk", "--cold-lanes", "yes")
        self.assertRegex(self.say("stream", "show", "bulk"), r"cold-lanes +never")

    def test_errors_are_one_object_with_json(self):
        for args, code, name in ((("campaign", "show", "nonsense"), 1, "einval"), (("campaign", "show"), 2, "usage"), (("source", "show", "203.0.113.1"), 3, "enotfound"),
                                 (("send", "--template", "x"), 2, "usage"), (("nonsense",), 2, "usage"), (("explain", "nobody-at-all@a.test", "--api"), 2, "usage"),
                                 (("incident", "show", "999"), 3, "enotfound"), (("stream", "show", "nonsense"), 3, "enotfound"), (("source",), 2, "usage"),
                                 (("send", "--template", "/none", "--recipients", "/none", "--stream", "bulk"), 1, "failed"),
                                 (("events", "--type", "bogus"), 1, "einval"), (("status", "--api", "/none/api.sock"), 4, "unreachable")):
            answer = self.cluster.remuda(*args, check=False)
            self.assertEqual((answer.code, answer.err), (code, ""), f"{args} {answer.text}")
            self.assertEqual(set(answer.json), {"error", "code"}, args)
            self.assertEqual(answer.json["code"], name, args)

    def test_watching_with_json_prints_one_document(self):
        answer = self.cluster.remuda("send", "--template", self.template(), "--recipients", self.rows("email\nw@a.test\n"), "--stream", "bulk", "--watch")
        self.assertEqual((answer.json["accepted"], answer.json["campaign"]["delivered"]), (1, 1))
        self.assertIsNotNone(answer.json["campaign"]["finished"])

    def test_files_that_are_none(self):
        good, rows = self.template(), self.rows("email\nx@a.test\n")
        empty, folder = self.work.write("empty", ""), self.work.mkdir("folder")
        self.assertEqual(self.submit(empty, rows, code=1), f"remuda: --template: {empty}: is empty\n")
        self.assertEqual(self.submit(folder, rows, code=1), f"remuda: --template: {folder}: is a folder\n")
        self.assertEqual(self.submit(good, folder, code=1), f"remuda: --recipients: {folder}: is a folder\n")
        self.assertEqual(self.submit(good, empty, code=1), f"remuda: --recipients: {empty}: is empty\n")

    def test_rejects_are_counted_and_only_pointed_at_when_they_are_there(self):
        rows = self.rows("email\ngood@a.test\n" + "bad\n" * 7)
        text = self.submit(self.template(), rows, code=5)
        self.assertRegex(text, r"1 recipient accepted\n7 rows rejected, see \S+list\.csv\.rejects\n")
        self.assertEqual(text.count("  line "), 5)
        self.assertIn("  and 2 more\n", text)
        text = self.submit(self.template(), rows, "--rejects", "/nonexistent/x", code=5)
        self.assertIn("could not be written to /nonexistent/x", text)
        self.assertNotIn("see /nonexistent", text)
        text = self.submit(self.template(), rows, "--strict", code=1)
        self.assertIn("7 rows rejected, see", text)
        text = self.submit(self.template(), rows, "--rejects", "/dev/full", code=5)
        self.assertIn("remuda: /dev/full is not whole", text)
        self.assertNotIn("see /dev/full", text)

    def test_a_quote_that_is_never_closed_is_named_by_its_line(self):
        rows = self.rows("email,name\n" + "".join(f"q{i}@a.test,Q\n" for i in range(3)) + 'q3@a.test,"Q\n' + "".join(f"q{i}@a.test,Q\n" for i in range(4, 9000)))
        words = "the quote that opens on line 5 is never closed: the rest of the file (8,996 lines behind it) was read as this field".replace("8,996", "8996")
        text = self.submit(self.template(), rows, code=5)
        self.assertRegex(text, r"3 recipients accepted\n1 row rejected, see .*\n  line 5: q3@a.test: " + re.escape(words))
        text = self.submit(self.template(), rows, "--strict", code=1)
        self.assertIn(words, text)
        self.assertIn("nothing was queued", text)
        rows = self.rows('email\n"q1@b.test\n' + "q2@b.test\n" * 2000)  # what it made of the address isn't printed
        text = self.submit(self.template(), rows, code=1)
        self.assertIn("  line 2: q1@b.test: the quote that opens on line 2 is never closed", text)
        self.assertLess(len(text), 1000)
        self.assertIn("the quote that opens on line 1 is never closed", self.submit(self.template(), self.rows('"email\nq@a.test\n'), code=1))

    def test_hints_for_lists_and_templates(self):
        self.assertIn('separated by ";"', self.submit(self.template(), self.rows("email;name\nx@a.test;X\n"), code=1))
        self.assertIn("separated by tabs", self.submit(self.template(), self.rows("name\temail\nX\tx@a.test\n"), code=1))
        text = self.submit(self.template(PLAIN + "{{Name}}\n"), self.rows("email,name\nx@a.test,X\n"), code=1)
        self.assertIn("{{name}} is one: case matters", text)
        self.assertFalse(text.endswith("\n\n"), repr(text))
        text = self.submit(self.template("Date: Mon, 23 Nov 2026 10:00:00 +0000\n" + PLAIN), self.rows("email\nd@a.test\n"))
        self.assertIn("warning: the template has a Date:", text)

    def test_a_pool_that_no_stream_uses_is_warned_of(self):
        add = ("source", "add", self.address(43), "--node", "n1", "--helo", "m43.news.example", "--pool", "mian,main")
        self.assertRegex(self.say(*add), r"added; .*\nwarning: no stream uses pool mian: nothing is sent from it; streams use .*\bmain\b")
        text = self.say("source", "set", self.address(43), "--pool", "main")
        self.assertNotIn("warning", text)
        answer = self.cluster.remuda("source", "set", self.address(43), "--pool", "bluk").json
        self.assertEqual(len(answer["warnings"]), 1)
        self.assertIn("no stream uses pool bluk", answer["warnings"][0])
        self.assertNotIn("warnings", self.cluster.remuda("source", "set", self.address(43), "--cap", "5k").json)  # it isn't what was changed
        self.cluster.remuda("source", "retire", self.address(43))

    def test_a_schedule_that_lacks_a_half_is_wrong_usage(self):
        rows = self.rows("email\nx@a.test\n")
        for args, words in ((("--batch", "5"), "--batch needs --every, the time from one batch to the next: --batch 5 --every 30min"),
                            (("--every", "5min"), "--every needs --batch, the size of a batch: --batch 1000 --every 5min"),
                            (("--over", "5h", "--batch", "5", "--every", "1h"), "--over or --batch with --every"),
                            (("--batch", "5", "--every", "5"), "needs a unit"), (("--batch", "0", "--every", "5min"), "not a number of recipients"),
                            (("--over", "10ms"), "from 1s to a year"), (("--over", "800d"), "from 1s to a year")):
            text = self.submit(self.template(), rows, *args, code=2)
            self.assertIn(words, text)
            self.assertIn("usage: remuda send", text)
        self.assertIn("--over or --batch", self.say("campaign", "set", "01m8easept78mzcq0000000000", "--over", "1h", "--batch", "5", code=2))

    def test_campaigns_are_listed_by_state_and_stream_and_only_the_newest(self):
        self.cluster.stream("listed", self.world.keys["news.example"])
        idents = []
        for _ in range(3):
            idents.append(self.send(["l@a.test"], stream="listed")["id"])
            self.cluster.settled(idents[-1])
        self.cluster.remuda("stream", "pause", "listed")
        waiting = self.send(["l@a.test"], stream="listed")["id"]
        def listed(*args):
            answer = self.cluster.remuda("campaign", "list", *args).json
            return [k["id"] for k in answer["campaigns"]], answer["left_out"]
        self.assertEqual(listed("--stream", "listed"), (idents + [waiting], 0))
        self.assertEqual(listed("--stream", "listed", "--state", "done"), (idents, 0))
        self.assertEqual(listed("--stream", "listed", "--state", "active"), ([waiting], 0))
        self.assertEqual(listed("--stream", "listed", "--limit", "2"), ([idents[2], waiting], 2))
        self.assertEqual(listed("--stream", "listed", "--limit", "0"), (idents + [waiting], 0))
        text = self.say("campaign", "list", "--stream", "listed", "--limit", 1)
        self.assertIn("the newest; 3 more are left out (--limit N, 0: all; --state, --stream)", text)
        self.assertNotIn("left out", self.say("campaign", "list", "--limit", 0))
        self.assertIn("none of scheduled, active", self.say("campaign", "list", "--state", "act", code=2))
        self.assertIn("there is no stream nope", self.say("campaign", "list", "--stream", "nope", code=3))
        self.assertEqual(self.cluster.api("GET", "campaigns?state=act")[0], 400)
        self.cluster.remuda("campaign", "cancel", waiting)

    def test_output_that_can_not_be_written_is_a_failure(self):
        self.deliver(["full@a.test"])
        for args in (("events", "--last", "0"), ("status",), ("--json", "status"), ("--help",), ("source", "--help")):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([self.cluster.command, "--api", self.cluster.socket, *args], stdout=full, stderr=subprocess.PIPE, check=False)
            self.assertEqual(done.returncode, 1, args)  # a long text fails half way, where stdio forgets why
            self.assertRegex(done.stderr.decode(), r"^remuda: standard output: (No space left on device|could not be written)\n$", args)
        for restore in (True, False):  # whoever has read enough; SIGPIPE as it is, or ignored
            for args in (("events", "--last", "0"), ("status",), ("--help",)):
                r, w = os.pipe()
                os.close(r)
                done = subprocess.run([self.cluster.command, "--api", self.cluster.socket, *args], stdout=w, stderr=subprocess.PIPE, check=False,
                                      restore_signals=restore)
                os.close(w)
                self.assertEqual((done.returncode, done.stderr), (-signal.SIGPIPE if restore else 0, b""), args)

    def test_a_pool_without_sources_is_warned_of_and_what_stands_still_says_why(self):
        self.cluster.stream("dry", self.world.keys["news.example"], pool="dry")
        argv = [self.cluster.command, "--api", self.cluster.socket, "send", "--template", self.template(), "--recipients", self.rows("email\ndry@a.test\n"),
                "--stream", "dry", "--watch"]
        child = self.work.start("watching", argv)
        def log():
            with open(self.work.path("watching.log"), encoding="utf-8") as f:
                return f.read()
        wait_until(lambda: "waits for: no source in the pool (other)" in log() or None, patience(30), "it says what it waits for", child)
        self.assertIn("warning: no source is in service in pool dry", log())
        self.cluster.stream("dry", self.world.keys["news.example"], pool="main")
        self.assertEqual(wait_until(lambda: None if child.poll() is None else (child.returncode,), patience(30), "it ends")[0], 0)
        self.assertIn("100% settled: 1 delivered", log())

    def test_a_watch_that_trickles_says_what_is_waited_for(self):
        self.cluster.stream("capped", self.world.keys["news.example"], domain_cap=30)
        argv = [self.cluster.command, "--api", self.cluster.socket, "send", "--template", self.template(), "--stream", "capped", "--watch", "--recipients",
                self.rows("email\n" + "".join(f"trickle{i}@a.test\n" for i in range(3000)))]
        child = self.work.start("trickling", argv)
        def log():
            with open(self.work.path("trickling.log"), encoding="utf-8") as f:
                return f.read()
        wait_until(lambda: re.search(r"\n0% settled: .*; waits for: lane caps \(other\)", log()), patience(60), "it says what it waits for", child)
        ident = re.search(r"campaign (\S+):", log())[1]
        self.cluster.remuda("campaign", "cancel", ident)
        wait_until(lambda: None if child.poll() is None else (child.returncode,), patience(30), "it ends")

    def test_caps_show_before_anything_was_sent(self):
        self.cluster.source(self.address(40), lane_cap=500, lane_caps="google=50", cap="2k", pool="spare")
        self.assertRegex(self.say("source", "show", self.address(40)), r"caps +in any 24 h: 2,000 in all, at each provider: 500; but google 50\n")
        row = next(r for r in self.lines("source", "list") if r.startswith(self.address(40) + " "))
        self.assertRegex(row, r" 2,000 +500\* ")
        for line in self.lines("source", "show", self.address(40)) + self.lines("campaign", "show", self.deliver(["blank@a.test"])["id"]):
            self.assertEqual(line, line.rstrip())

    def test_a_retired_source_leaves_no_trouble_behind(self):
        self.cluster.source("203.0.113.77", pool="elsewhere")
        self.cluster.until(lambda: "source 203.0.113.77: 203.0.113.77 is not an address" in self.say("node", "list") or None, "the node tells")
        self.assertIn("1 IN TROUBLE", self.say("status"))
        log = self.cluster.coordinator.log()
        self.assertEqual(len([x for x in log.splitlines() if "203.0.113.77 is not" in x]), 1, log)
        self.assertRegex(log, r"warning remuda-coordinator core: source 203.0.113.77: ")
        self.assertIn("retir", self.say("source", "retire", "203.0.113.77"))
        self.cluster.until(lambda: "203.0.113.77" not in self.say("node", "list") or None, "its trouble is gone")
        self.assertNotIn("IN TROUBLE", self.say("status"))

    def test_an_address_that_can_be_bound_is_no_trouble(self):
        self.cluster.source(self.address(41), pool="spare")
        self.cluster.nodes["n1"].stop()
        self.cluster.nodes["n1"].start()
        self.cluster.connected("n1")
        self.assertNotIn("was not among the addresses", self.cluster.coordinator.log())

    def test_what_source_add_says(self):
        add = ("source", "add", "127.9.9.9", "--pool", "main")
        self.assertIn("there is no node n9", self.say(*add, "--node", "n9", "--helo", "m.news.example", code=3))
        self.assertIn("helo: ", self.say(*add, "--node", "n1", "--helo", "bad_name!", code=1))
        self.assertIn("pool: ", self.say("source", "add", "127.9.9.9", "--pool", "bad pool!", "--node", "n1", "--helo", "m.news.example", code=1))

    def test_streams_show_all_and_refuse_what_makes_no_sense(self):
        self.cluster.stream("shown", self.world.keys["news.example"], age_limit="36h")
        text = self.say("stream", "show", "shown")
        for words in (r"pool +main", r"age-limit +1d 12h", r"retry-max +4s", r"key +r1=/", r"uncertain +retry", r"sending-domain +news.example"):
            self.assertRegex(text, words)
        self.assertEqual(self.cluster.remuda("stream", "show", "shown").json["age_limit_ms"], 36 * 3600 * 1000)
        self.assertIn("needs a unit", self.say("stream", "set", "shown", "--age-limit", "5", code=2))
        self.assertIn("retry_min (5h) is longer than retry_max (1h)", self.say("stream", "set", "shown", "--retry-min", "5h", "--retry-max", "1h", code=1))
        self.assertIn("from 1s to 30d", self.say("stream", "set", "shown", "--age-limit", "60d", code=1))

    def test_resuming_what_was_never_restored(self):
        self.assertIn("nothing was restored", self.say("resume-restored", code=1))

    def test_a_suppression_keeps_its_reason(self):
        self.say("suppress", "add", "why@a.test", "--reason", "asked by phone")
        self.say("suppress", "add", "why@a.test")
        self.assertIn(": asked by phone", self.say("suppress", "check", "why@a.test"))
        self.say("suppress", "add", "why@a.test", "--reason", "asked twice")
        self.assertIn(": asked twice", self.say("suppress", "check", "why@a.test"))

    def test_submitting_by_http_as_the_readme_does(self):
        template, rows = self.template(), self.rows("email\ncurl@a.test\n")
        done = subprocess.run(["curl", "-sS", "--unix-socket", self.cluster.socket, "-F", 'meta={"stream":"bulk","idempotency_key":"k1"}',
                               "-F", f"template=<{template}", "-F", f"recipients=@{rows}", "http://remuda/v1/campaigns"], capture_output=True, check=True)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["accepted"], 1, answer)
        self.assertEqual(self.cluster.settled(answer["campaign"]["id"])["delivered"], 1)


class Connects(Text):
    """A provider that takes one message on a connection, and few connections a minute."""
    providers = {"narrow": {"domains": ["narrow.test"]}}

    @classmethod
    def before(cls):
        cls.settings = {"providers": cls.work.write("providers.conf", 'provider "narrow" { mx = [".narrow.test"]; messages_per_connection = 1; connects_per_minute = 6 }\n')}

    def test_the_limit_is_named_where_it_is_what_is_waited_for(self):
        ident = self.send([f"c{i}@narrow.test" for i in range(30)])["id"]
        limit = "connects_per_minute of the provider: 6 a minute from a source"
        self.cluster.until(lambda: limit in self.say("queue") or None, "the queue says what is waited for")
        self.assertRegex(self.say("queue"), r"\nnarrow +bulk .*" + limit)
        text = self.say("source", "show", self.address(1))
        self.assertRegex(text, r"\nPACE OF +A MINUTE +AN HOUR +CONNECTIONS +IN USE +NEW A MINUTE ")
        self.assertRegex(text, r"\nnarrow +no limit +- +\d+ +\d+ +6 ")
        self.assertIn("narrow waits for its limit connects_per_minute: 6 new connections a minute", text)
        self.assertIn(f"it waits for connects_per_minute of narrow: 6 new connections a minute from {self.address(1)}", self.say("explain", "c29@narrow.test"))
        self.cluster.remuda("campaign", "cancel", ident)
        self.cluster.until(lambda: limit not in self.say("queue") or None, "nothing waits for it any more")


class Away(Text):
    """A node that is gone while it holds work, and one that nobody knows."""
    providers = {"slow": {"domains": ["slow.test"], "delay_data": "10s"}}
    nodes = ("n1", "n2")

    def test_what_is_with_a_lost_node_is_told(self):
        ident = self.send([f"m{i}@slow.test" for i in range(3)])["id"]
        self.cluster.until(lambda: self.cluster.campaign(ident)["leased"] or None, "it is leased")
        self.cluster.nodes["n1"].kill()
        self.cluster.connected("n1", wanted=False)
        self.assertRegex(self.say("status"), r"away +3  of these, at nodes that are away: theirs until they return, \S+( \S+)? at most")
        self.assertRegex(self.say("explain", "m1@slow.test"), "node n1 is away: the lease is over in ")
        self.assertRegex(self.cluster.coordinator.log(), r"warning remuda-coordinator core: node n1: lost: .*; its 1 lease expires in \d+s unless")
        status, answer = self.cluster.api("POST", "suppressions", {"address": "m2@slow.test", "reason": "now", "wait_ms": 200})
        self.assertEqual((status, answer["suppressed"], answer["confirmed"], answer["waits_for"][0]["node"]), (202, True, False, "n1"))
        self.assertRegex(self.say("suppress", "check", "m2@slow.test"), r"not confirmed yet by node n1 \(away; its leases are over in ")
        adding = subprocess.Popen([self.cluster.command, "--api", self.cluster.socket, "suppress", "add", "m3@slow.test"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.cluster.until(lambda: self.cluster.remuda("suppress", "check", "m3@slow.test", check=False).code == 0 or None, "it is in force")
        self.cluster.nodes["n1"].start()
        self.cluster.connected("n1")
        out, err = adding.communicate(timeout=patience(40))
        self.assertEqual((adding.returncode, err), (0, b""))
        self.assertIn(b"m3@slow.test is suppressed for all streams: nothing to it can start any more", out)
        self.cluster.until(lambda: "not confirmed" not in self.say("suppress", "check", "m2@slow.test") or None, "it is confirmed")
        self.cluster.settled(ident, 60)

    def test_a_node_that_nobody_knows_is_logged_once(self):
        node = self.cluster.node("stranger").start()
        before = self.cluster.status()["refused_connections"]
        self.cluster.until(lambda: self.cluster.status()["refused_connections"] >= before + 3 or None, "it tried again and again")
        with open(self.cluster.path("stranger.pub"), encoding="ascii") as f:
            key = f.read().split()[0]
        log = self.cluster.coordinator.log()
        self.assertEqual(len([x for x in log.splitlines() if key in x]), 1, log)
        warnings = [x for x in node.log().splitlines() if " warning " in x and " bus: " in x]
        self.assertEqual(len(warnings), 1, node.log())
        self.assertEqual(node.stop(), 0)

    def test_a_wrong_coordinator_key_is_told_once_and_rightly(self):
        self.cluster.keygen("another")
        node = self.cluster.node("astray", coordinator_key=self.cluster.path("another.pub")).start()
        before = self.cluster.status()["refused_connections"]
        self.cluster.until(lambda: self.cluster.status()["refused_connections"] >= before + 4 or None, "it tried again and again")
        log = node.log()
        self.assertIn("bus.coordinator_key", log)
        self.assertNotIn("is it running", log)
        self.assertLessEqual(len([x for x in log.splitlines() if " warning " in x and " bus: " in x]), 2, log)
        lines = [x for x in self.cluster.coordinator.log().splitlines() if "come as far as its key" in x]
        self.assertLessEqual(len(lines), 2, lines)
        self.assertEqual(node.stop(), 0)

    def test_a_restarted_coordinator_refuses_nobody(self):
        self.cluster.coordinator.kill()
        self.cluster.start_coordinator()
        self.cluster.connected("n1")
        self.cluster.connected("n2")
        self.assertNotIn("refused this node", self.cluster.nodes["n2"].log())


class Incidents(Text):
    providers = {"yahoo": {"domains": {"yahoo.com": ["mta5.am0.yahoodns.net"]}}}

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.world.receivers.block("yahoo", cls.address(1), "mail", f"553 5.7.1 [BL21] Connections will not be accepted from {cls.address(1)}, because the ip is in "
                                  "Spamhaus's list; see http://postmaster.yahooinc.com/error-codes")

    def test_an_incident_tells_when_it_lapses_and_keeps_what_waited(self):
        self.send([f"u{i}@yahoo.com" for i in range(4)])
        incident = self.cluster.until(lambda: self.cluster.incidents() or None, "an incident")[0]
        number = incident["id"]
        self.cluster.until(lambda: self.cluster.incidents()[0]["waiting"] or None, "what waits is counted")
        most = self.cluster.incidents()[0]["waiting"]
        self.assertIsNotNone(incident["lapses"])
        self.assertRegex(self.say("incident", "show", number), r"lapses +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d by itself")
        self.assertIn("1 open incident (`", self.say("status"))
        self.assertRegex(self.cluster.coordinator.log(), f"warning remuda-coordinator core: source {self.address(1)} at yahoo: ")
        self.cluster.remuda("incident", "resolve", number)
        after = next(i for i in self.cluster.incidents() if i["id"] == number)
        self.assertEqual((after["waiting"], after["waiting_most"] >= most), (0, True))
        self.assertRegex(self.say("incident", "show", number), rf"waiting +0 \(\d+ at most\)")


class Daemons(unittest.TestCase):
    """Configuration of both programs, without a cluster."""

    def setUp(self):
        self.work = Work()
        self.addCleanup(self.work.close)
        self.remuda = built("remuda")

    def run_program(self, program, *args, code=0):
        done = subprocess.run([built(program), *args], capture_output=True, timeout=patience(30), check=False, cwd=self.work.dir)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout.decode(), done.stderr.decode()

    def key(self, name):
        subprocess.run([self.remuda, "keygen", self.work.path(name)], check=True, capture_output=True)

    def test_defaults_are_shown_without_a_file(self):
        for program, lines in (("remuda-coordinator", ["# Unix socket of the API", "dns {"]),
                               ("remuda-node", ["# coordinator = ...;    REQUIRED", "dns {", "workers = 0;"])):
            if os.path.exists(f"/etc/remuda/{program.removeprefix('remuda-')}.conf"):
                self.skipTest("this host has a configuration")
            out, err = self.run_program(program, "--dump-config")
            self.assertEqual(err, "")
            for line in lines:
                self.assertIn(line, out)
            _, err = self.run_program(program, "--dump-config", "--config", self.work.path("none.conf"), code=78)
            self.assertIn("No such file", err)

    def test_what_is_required_is_marked_and_the_rest_shown(self):
        conf = self.work.write("node.conf", "workers = 3\n")
        out, _ = self.run_program("remuda-node", "--dump-config", "--config", conf)
        self.assertIn("workers = 3;", out)
        self.assertIn("# secret_key = ...;    REQUIRED", out)
        self.run_program("remuda-node", "--config", self.work.write("dumped.conf", out), "--check", code=78)

    def node_conf(self, **over):
        bus = {"coordinator": "tcp://192.0.2.1:7350", "coordinator_key": self.work.path("c.pub"), "secret_key": self.work.path("n.key")}
        rest = {"data": self.work.path("data")} | {k: v for k, v in over.items() if k not in bus}
        bus |= {k: v for k, v in over.items() if k in bus}
        lines = [f"{k} = {json.dumps(v)}" for k, v in rest.items()]
        lines += ["bus {", *(f"{k} = {json.dumps(v)}" for k, v in bus.items()), "}"]
        return self.work.write("n.conf", "\n".join(lines) + "\n")

    def test_the_nodes_check_finds_what_would_fail(self):
        self.key("c")
        self.key("n")
        out, _ = self.run_program("remuda-node", "--check", "--config", self.node_conf())
        self.assertIn("in order", out)
        renamed = self.work.path("renamed.pub")
        with open(self.work.path("n.key"), encoding="ascii") as f:
            self.work.write("renamed.pub", f.read())
        for over, words in (({"coordinator": "127.0.0.1:7350"}, "bus.coordinator: \"127.0.0.1:7350\" is not tcp://HOST:PORT"),
                            ({"coordinator": "tcp://127.0.0.1:73500"}, "bus.coordinator: "),
                            ({"coordinator_key": self.work.path("c.key")}, "bus.coordinator_key: " + self.work.path("c.key") + ": is a secret key"),
                            ({"coordinator_key": renamed}, "bus.coordinator_key: this is the node's own key"),
                            ({"coordinator_key": self.work.path("n.pub")}, "bus.coordinator_key: this is the node's own key"),
                            ({"secret_key": self.work.path("none.key")}, "bus.secret_key: "),
                            ({"user": "nobody-of-this-name"}, "user: there is no user"),
                            ({"data": self.work.path("none/data")}, "data: ")):
            _, err = self.run_program("remuda-node", "--check", "--config", self.node_conf(**over), code=78)
            self.assertRegex(err, re.compile(re.escape(words)), over)
            self.assertRegex(err, r"^\S+n\.conf:\d+: ")
        with open(self.node_conf(), encoding="utf-8") as f:
            text = f.read()
        for servers in ("rubbish", ["192.0.2.53", "192.0.2.54:0"]):
            conf = self.work.write("d.conf", text + f"dns {{ servers = {json.dumps(servers)} }}\n")
            _, err = self.run_program("remuda-node", "--check", "--config", conf, code=78)
            self.assertIn("dns.servers: ", err)

    def test_check_tells_all_mistakes_in_one_run(self):
        write = self.work.write
        files = {"providers": write("providers.conf", 'provider "google" { conections = 3 }\n'), "rules": write("rules.conf", 'rule "r" { clas = rate }\n'),
                 "blocklists": write("lists.conf", 'list "nope" { tier = act }\n')}
        lines = [f"{k} = {json.dumps(v)}" for k, v in files.items()]
        plans = write("plans.conf", 'plan "standard" { caps { gogle = [100] } }\n')
        conf = write("wrong.conf", "\n".join([*lines, "user = nobody-of-this-name", "colour = blue", f"data = {json.dumps(self.work.path('none/data'))}",
                                              f"warmup {{ plans = {json.dumps(plans)}; day_starts = noon }}", "dns { tries = many; servers = rubbish }",
                                              f"bus {{ listen = \"nowhere\"; secret_key = {json.dumps(self.work.path('none.key'))} }}", "log { level = loud }"]) + "\n")
        out, err = self.run_program("remuda-coordinator", "--check", "--config", conf, code=78)
        self.assertEqual(out, "")
        for words in ("wrong.conf:5: colour: unknown key", "wrong.conf:8: dns.tries: ", "wrong.conf:8: dns.servers: ", "wrong.conf:9: bus.listen: ", "bus.secret_key: ",
                      "wrong.conf:4: user: ", "wrong.conf:6: data: ", "warmup.day_starts: ", "log.level: ", "providers.conf:1: ", "rules.conf:1: ", "lists.conf:1: "):
            self.assertEqual(err.count(words), 1, f"{words}\n{err}")
        good = write("good.conf", 'provider "partner" { mx = [".mx.partner.example"] }\n')
        with open(conf, encoding="utf-8") as f:  # what plans and rules may name is only known with providers that can be read
            text = f.read().replace(files["providers"], good)
        _, err = self.run_program("remuda-coordinator", "--check", "--config", write("wrong2.conf", text), code=78)
        self.assertIn('plans.conf:1: plan "standard": caps: there is no provider "gogle"', err)
        conf = write("node.conf", f'colour = blue; workers = many; user = nobody-of-this-name; dns {{ validating = [here] }}\nbus {{ coordinator = "nowhere"; '
                                  f'coordinator_key = "short"; secret_key = {json.dumps(self.work.path("none.key"))} }}\ntls {{ ca_file = {json.dumps(self.work.path("none.pem"))} }}\n')
        _, err = self.run_program("remuda-node", "--check", "--config", conf, code=78)
        for words in ("colour: unknown key", "workers: ", "user: ", "dns.validating: ", "bus.coordinator: ", "bus.coordinator_key: ", "bus.secret_key: ", "tls.ca_file: "):
            self.assertEqual(err.count(f": {words}"), 1, f"{words}\n{err}")
        _, err = self.run_program("remuda-node", "--check", "--config", write("empty.conf", "workers = many\n"), code=78)  # what is missing is told once
        self.assertEqual((err.count("bus.secret_key"), err.count("bus.coordinator:"), err.count("workers")), (1, 1, 1), err)

    def test_helps_name_exit_codes(self):
        for program in ("remuda-coordinator", "remuda-node"):
            out, _ = self.run_program(program, "--help")
            for code in ("0 stopped", "64 ", "69 ", "78 "):
                self.assertIn(code, out)
        self.assertEqual(self.run_program("remuda", "version")[0], self.run_program("remuda", "--version")[0])

    def start(self, conf, name="coordinator"):
        return Program(self.work, name, [built("remuda-coordinator"), "--config", conf]).start()

    def coordinator_conf(self, **api):
        self.key("coordinator") if not os.path.exists(self.work.path("coordinator.key")) else None
        api = {"socket": self.work.path("run/api.sock")} | api
        top = {k: api.pop(k) for k in list(api) if k in ("user", "data")}
        lines = [f"data = {json.dumps(top.pop('data', self.work.path('data')))}", *(f"{k} = {json.dumps(v)}" for k, v in top.items())]
        lines += [f"bus {{ listen = \"tcp://127.0.0.1:{free_port()}\"; secret_key = {json.dumps(self.work.path('coordinator.key'))} }}",
                  "api {", *(f"{k} = {json.dumps(v)}" for k, v in api.items()), "}", "limits { disk_reserve = 64MiB }"]
        return self.work.write("coordinator.conf", "\n".join(lines) + "\n")

    def ended(self, program):
        return wait_until(lambda: None if program.child.poll() is None else (program.child.returncode,), patience(20), "it ends")[0]

    def test_the_units_of_the_readme_fit_the_programs(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
            units = re.findall(r"/etc/systemd/system/(remuda-[a-z]+)\.service`:\n\n```ini\n(.*?)```", f.read(), re.S)
        self.assertEqual([name for name, _ in units], ["remuda-coordinator", "remuda-node"])
        paths = []
        for name, text in units:
            self.assertIn(f"ExecStart=/usr/local/sbin/{name}\n", text)
            self.assertIn("Type=notify\n", text)
            paths.append(self.work.write(f"{name}.service", text.replace("/usr/local/sbin/", os.path.dirname(os.path.abspath(built(name))) + "/")))
        if shutil.which("systemd-analyze"):
            done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
            ours = [x for x in (done.stdout + done.stderr).splitlines() if "remuda" in x]
            self.assertEqual(ours, [])

    def test_both_tell_their_supervisor_that_they_are_ready_and_end_in_order(self):
        path = self.work.path("notify.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(path)
            s.settimeout(patience(20))
            conf = self.coordinator_conf()
            self.key("c")
            self.key("n")
            for name, args in (("remuda-coordinator", conf), ("remuda-node", self.node_conf())):
                with subprocess.Popen([built(name), "--config", args], env={**os.environ, "NOTIFY_SOCKET": path}, stderr=subprocess.DEVNULL) as child:
                    try:
                        self.assertEqual(s.recv(100), b"READY=1", name)
                    finally:
                        child.terminate()
                    self.assertEqual(child.wait(patience(20)), 0, name)

    def test_the_sockets_folder_is_made_and_the_start_is_told(self):
        c = self.start(self.coordinator_conf())
        wait_until(lambda: "serving" in c.log() or None, patience(20), "it serves", c.child)
        self.assertEqual(os.stat(self.work.path("run")).st_mode & 0o777, 0o755)
        self.assertIn("bus on tcp://127.0.0.1:", c.log())
        self.assertEqual(c.stop(), 0)
        self.assertRegex(c.log().splitlines()[-1], "stop: stopped")
        c = self.start(self.coordinator_conf(socket=self.work.path("a/b/api.sock")), "second")
        self.assertEqual(self.ended(c), 69)
        self.assertIn("a/b: No such file", c.log())

    @unittest.skipIf(os.geteuid() != 0, "only root can become somebody else")
    def test_root_becomes_the_user_and_takes_its_files_along(self):
        c = self.start(self.coordinator_conf())
        wait_until(lambda: "serving" in c.log() or None, patience(20), "it serves", c.child)
        self.assertIn("running as root", c.log())
        self.assertEqual(c.stop(), 0)
        os.chmod(self.work.dir, 0o755)
        c = self.start(self.coordinator_conf(user="nobody"), "second")
        wait_until(lambda: "serving" in c.log() or None, patience(20), "it serves", c.child)
        self.assertNotIn("running as root", c.log())
        owners = {os.lstat(os.path.join(d, f)).st_uid for d, dirs, files in os.walk(self.work.path("data")) for f in [*dirs, *files, "."]}
        self.assertEqual(len(owners - {0}), 1)
        self.assertNotIn(0, owners)
        self.assertNotEqual(os.stat(self.work.path("run")).st_uid, 0)
        done = subprocess.run([self.remuda, "--api", self.work.path("run/api.sock"), "status"], capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(c.stop(), 0)

    def test_secrets_of_the_api_that_others_can_read(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.work.path("tls.key"), "-out", self.work.path("tls.pem")],
                       check=True, capture_output=True)
        token = self.work.write("token", "0123456789abcdef0123\n")
        port = free_port()
        api = {"listen": f"127.0.0.1:{port}", "tls_certificate": self.work.path("tls.pem"), "tls_key": self.work.path("tls.key"), "token_file": token}
        for path, mode, key in ((api["tls_key"], 0o644, "tls_key"), (token, 0o644, "token_file")):
            os.chmod(api["tls_key"], 0o600)
            os.chmod(token, 0o600)
            os.chmod(path, mode)
            c = self.start(self.coordinator_conf(**api), key)
            self.assertEqual(self.ended(c), 69)
            self.assertRegex(c.log(), f"api.{key}: .*a secret that others can read")
        os.chmod(token, 0o600)
        os.chmod(api["tls_key"], 0o640)
        c = self.start(self.coordinator_conf(**api))
        wait_until(lambda: "serving" in c.log() or None, patience(20), "it serves", c.child)
        self.assertIn(f"and https://127.0.0.1:{port}", c.log())

        def say(*args, code=0):
            done = subprocess.run([self.remuda, *args, "status"], capture_output=True, check=False, timeout=patience(30))
            self.assertEqual(done.returncode, code, done.stderr)
            return done.stderr.decode()
        url = ("--api", f"https://127.0.0.1:{port}/", "--ca", self.work.path("tls.pem"))
        say(*url, "--token-file", token)
        self.assertIn("/nope", say(*url, "--token-file", "/nope", code=1))
        none = self.work.write("none", "")
        os.chmod(none, 0o600)
        self.assertIn("is empty", say(*url, "--token-file", none, code=1))
        os.chmod(token, 0o644)
        self.assertIn("others can read", say(*url, "--token-file", token, code=1))
        for api_at in (f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"):
            self.assertIn("https://HOST:PORT", say("--api", api_at, code=2))
        self.assertEqual(c.stop(), 0)


if __name__ == "__main__":
    unittest.main()
