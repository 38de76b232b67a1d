"""Bad input, bad receivers, bad luck: a clear error, and nothing lost. And what blocked sources do."""

import json
import os
import random
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest import Unavailable, Work, free_port, wait_until  # noqa: E402
from remudatest.case import PLAIN, ClusterCase  # noqa: E402
from remudatest.cluster import Program, built, patience, wall_ms  # noqa: E402


class Configuration(unittest.TestCase):
    """--check and --dump-config of both programs."""

    def setUp(self):
        self.work = Work()
        self.addCleanup(self.work.close)

    def run_program(self, program, text, *args):
        path = built(program)
        conf = self.work.write("x.conf", text)
        done = subprocess.run([path, "--config", conf, *args], capture_output=True, timeout=patience(30), check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode(), conf

    def test_what_is_wrong_is_said_with_its_line(self):
        for program, text, lines in (
                ("remuda-coordinator", "data = /tmp/x\nbus {\n  listen { x = 1 }\n  nosuch = 1\n}\nsmtp { port = 99999 }\nlog { level = loud }\n",
                 {3: "bus.listen", 4: "bus.nosuch", 6: "smtp.port"}),
                ("remuda-node", "data = /tmp/x\nworkers = many\nsmtp {\n  timeout_dot = 5 bananas\n}\nnosuch { x = 1 }\n",
                 {2: "workers", 4: "smtp.timeout_dot", 6: "nosuch"})):
            code, _, err, conf = self.run_program(program, text, "--check")
            self.assertEqual(code, 78, err)
            for line, word in lines.items():
                self.assertTrue(any(e.startswith(f"{conf}:{line}:") and word in e for e in err.splitlines()), f"{line} {word}\n{err}")
        code, _, err, conf = self.run_program("remuda-coordinator", "data = {\n", "--check")
        self.assertEqual(code, 78)
        self.assertIn(f"{conf}:", err)

    def test_the_effective_configuration_can_be_read_back(self):
        for program, text, word in (("remuda-coordinator", "data = /tmp/y\nsmtp { port = 2525 }\n", "2525"),
                                    ("remuda-node", "data = /tmp/y\nworkers = 3\nbus { coordinator = \"tcp://192.0.2.1:7350\"; secret_key = /tmp/n.key;"
                                 " coordinator_key = /tmp/c.pub }\n", "192.0.2.1")):
            code, out, err, _ = self.run_program(program, text, "--dump-config")
            self.assertEqual(code, 0, err)
            self.assertIn(word, out)
            code, again, err, _ = self.run_program(program, out, "--dump-config")
            self.assertEqual((code, again), (0, out), err)


class Keys(ClusterCase):
    def test_a_node_that_isnt_enrolled(self):
        node = self.cluster.node("stranger")
        node.start()
        self.cluster.until(lambda: "refused" in node.log() or None, "the node says that it was refused")
        with open(self.cluster.path("stranger.pub"), encoding="ascii") as f:
            key = f.read().split()[0]
        self.assertIn(key, node.log())
        self.assertIn(key, self.cluster.coordinator.log(), "the coordinator names who was refused")
        self.cluster.nodes["stranger"] = node
        self.cluster.remuda("node", "add", "stranger", "--key", self.cluster.path("stranger.pub"))
        self.cluster.connected("stranger")
        self.cluster.remuda("node", "revoke", "stranger", "--reason", "test")
        self.cluster.connected("stranger", wanted=False)
        self.assertEqual(node.stop(), 0)
        self.cluster.nodes.pop("stranger")

    def test_a_node_that_looks_for_another_coordinator(self):
        self.cluster.keygen("another")
        node = self.cluster.node("astray", coordinator_key=self.cluster.path("another.pub"))
        self.cluster.remuda("node", "add", "astray", "--key", self.cluster.path("astray.pub"))
        node.start()
        self.cluster.until(lambda: "server key" in node.log() or None, "the node says what to check")
        self.assertFalse(self.cluster.node_view("astray")["connected"])
        self.assertEqual(node.stop(), 0)

    def test_a_second_coordinator_on_the_same_store(self):
        over = {"bus.listen": [f"tcp://127.0.0.1:{free_port()}"], "api.socket": self.cluster.path("second.sock")}
        with open(self.cluster.conf, encoding="utf-8") as f:
            text = f.read().replace(self.cluster.bus, over["bus.listen"][0]).replace(self.cluster.socket, over["api.socket"])
        conf = self.work.write("second.conf", text)
        second = Program(self.work, "second", [built("remuda-coordinator"), "--config", conf]).start()
        code = wait_until(lambda: None if second.child.poll() is None else (second.child.returncode,), patience(20), "it ends")[0]
        self.assertNotEqual(code, 0)
        self.assertRegex(second.log(), "another process|held|in use")
        self.assertEqual(self.deliver(["still@a.test"])["delivered"], 1)

    def test_a_key_file_that_others_can_read(self):
        self.cluster.keygen("open")
        os.chmod(self.cluster.path("open.key"), 0o644)
        node = self.cluster.node("careless", {"bus.secret_key": self.cluster.path("open.key")}).start()
        code = wait_until(lambda: None if node.child.poll() is None else (node.child.returncode,), patience(20), "it ends")[0]
        self.assertNotEqual(code, 0)
        self.assertIn("open.key", node.log())


class StreamKeys(ClusterCase):
    def test_what_a_stream_must_not_be_is_said(self):
        path = self.work.write("good.pem", self.world.keys["news.example"][0].pem)
        os.chmod(path, 0o600)
        key = ("--key", f"s1={path}")
        for args, words in (((), ("DKIM key", "SELECTOR=PATH")),
                            (("--key", f"s_1={path}"), ("selector", "s_1")),
                            (("--key", f"s1..x={path}"), ("selector", "s1..x")),
                            (("--key", f"-s={path}"), ("selector", "-s")),
                            ((*key, "--unsubscribe-url", "https://u.x.example/"), ("unsubscribe_url", "{token}")),
                            ((*key, "--unsubscribe-mailto", "u"), ("unsubscribe_mailto", "{token}")),
                            ((*key, "--dsn", "always"), ("dsn", "failure", "never")),
                            ((*key, "--requiretls", "maybe"), ("requiretls", "yes or no")),
                            ((*key, "--one-signature", "1"), ("one_signature", "yes or no")),
                            ((*key, "--unsubscribe-mailto", "u@{token}.example"), ("unsubscribe_mailto", "{token}"))):
            answer = self.cluster.remuda("stream", "set", "bad", "--pool", "main", "--sending-domain", "x.example", *args, check=False)
            self.assertEqual(answer.code, 1, f"{args}: {answer.text}")
            for word in words:
                self.assertIn(word, answer.text)
        self.cluster.remuda("stream", "set", "fine", "--pool", "other", "--sending-domain", "x.example", "--key", f"s1.sub-x={path}",
                            "--unsubscribe-url", "https://u.x.example/{token}", "--unsubscribe-mailto", "u+{token}@x.example")
        answer = self.cluster.remuda("source", "add", self.address(9), "--node", "n1", "--pool", "main", "--helo", "m.news.example",
                                     "--lane-caps", "nosuch=5", check=False)
        self.assertEqual(answer.code, 1, answer.text)
        for word in ("nosuch", "google", "other"):
            self.assertIn(word, answer.text)

    def test_nothing_leaves_unsigned_when_a_key_is_gone_at_the_start(self):
        self.deliver(["u0@a.test"])
        self.cluster.remuda("stream", "pause", "bulk")
        later = self.send([f"v{i}@a.test" for i in range(5)])
        there = [f for f in os.listdir(self.work.dir) if f.startswith("dkim-")]
        for f in there:
            os.rename(self.work.path(f), self.work.path("gone-" + f))
        self.cluster.coordinator.kill()
        self.cluster.start_coordinator()
        self.cluster.connected("n1")
        self.cluster.remuda("stream", "resume", "bulk")
        why = "a DKIM key of the stream can't be read"
        self.cluster.until(lambda: [q for q in self.cluster.get("queue")["queues"] if q["waits_for"] == why], "the queue says why")
        self.assertIn(why, json.dumps(self.cluster.explain("v0@a.test")))
        self.assertIn("can't be read", self.cluster.coordinator.log())
        self.assertEqual(self.cluster.campaign(later["id"])["delivered"], 0)
        self.assertEqual(len(self.events("accepted")), 1)
        # back: the same command that made the stream
        self.cluster.stream("bulk", self.world.keys["news.example"])
        self.assertEqual(self.cluster.settled(later["id"], 30)["delivered"], 5)
        self.assertEqual(len(self.events("accepted")), 6)
        self.assertEqual([(e["dkim"], len(e["signatures"])) for e in self.events("dkim")], [("pass", 1)] * 6)


class BadReceivers(ClusterCase):
    """None of them holds up the others, none of them ends the node."""
    providers = {
        "good": {"domains": ["good.test"]},
        "drip": {"domains": ["drip.test"], "drip": "3ms", "drip_stage": "greeting,ehlo"},
        "flood": {"domains": ["flood.test"], "flood_stage": "mail", "flood_bytes": "8MB"},
        "endless": {"domains": ["endless.test"], "flood_stage": "ehlo", "flood_bytes": "64MB"},
        "nul": {"domains": ["nul.test"], "nul_stage": "rcpt"},
        "small": {"domains": ["small.test"], "announce_size": 100},
        "many": {"domains": ["many.test"], "multiline": 50},
        "raw": {"domains": ["raw.test"], "reply_mail": "raw:2\\r\\n"},
        "bare": {"domains": ["bare.test"], "reply_ehlo": "raw:250-x\\n250 y\\n"},
        "silent": {"domains": ["silent.test"], "delay_greeting": "60s"},
        "cut": {"domains": ["cut.test"], "cut_greeting": 1},
        "lost": {"domains": ["lost.test"], "cut_nth_after_lost": 1},
        "taken": {"domains": ["taken.test"], "cut_nth_after_accepted": 1},
        "brokentls": {"domains": ["brokentls.test"], "starttls": "broken"},
        "refusetls": {"domains": ["refusetls.test"], "starttls": "refuse"},
    }
    node_settings = {"smtp.timeout_greeting": "2s", "smtp.timeout_mail": "2s"}

    @classmethod
    def prepare(cls):
        cls.cluster.source(cls.address(1))
        cls.cluster.stream("bulk", cls.world.keys["news.example"], retry_min="500ms", retry_max="1s")

    def test_all_of_them(self):
        bad = self.send([f"u@{n}.test" for n in self.providers if n != "good"], "--valid-for", "12s")
        good = self.deliver([f"u{i}@good.test" for i in range(50)], timeout_s=10)
        self.assertEqual(good["delivered"], 50)
        c = self.cluster.settled(bad["id"], 60)
        states = {e["recipient"].split("@")[1].split(".")[0]: e["type"] for e in self.cluster.events(campaign=bad["id"])
                  if e["type"] in ("delivered", "bounced", "expired", "held", "suppressed")}
        self.assertEqual(set(states), set(self.providers) - {"good"}, states)
        for n in ("drip", "many", "lost", "taken"):
            self.assertEqual(states[n], "delivered", n)
        self.assertEqual(states["small"], "bounced", "a message over the announced SIZE")
        for n in ("flood", "endless", "raw", "silent", "cut"):
            self.assertEqual(states[n], "expired", n)
        last = {e["recipient"]: e["text"] for e in self.cluster.events(campaign=bad["id"], type="expired")}
        self.assertIn("last answer: ", last["u@raw.test"], "what expired says why it was never delivered")
        self.assertEqual(c["uncertain"], 2)
        uncertain = {e["recipient"] for e in self.cluster.events(campaign=bad["id"], type="uncertain")}
        self.assertEqual(uncertain, {"u@lost.test", "u@taken.test"})
        self.assertEqual((len(self.to("u@lost.test")), len(self.to("u@taken.test"))), (1, 2))
        self.assertTrue(self.cluster.nodes["n1"].running)


class Dns(ClusterCase):
    providers = {"small": {"domains": ["a.test", "b.test", "c.test"]}}
    settings = {"dns.timeout": "300ms", "dns.tries": 2}
    node_settings = {"dns.timeout": "300ms", "dns.tries": 2}

    def test_a_name_server_that_doesnt_answer(self):
        self.assertEqual(self.deliver(["known@a.test"])["delivered"], 1)
        self.world.dns.pause()
        self.addCleanup(self.world.dns.resume)
        c = self.send(["u@b.test", "u@c.test"])
        self.cluster.until(lambda: self.cluster.explain("u@b.test")["matches"] or None, "it is known")
        self.cluster.until(lambda: [q for q in self.cluster.get("queue")["queues"] if "resolve" in q["waits_for"]] or None,
                           "the queue says that DNS is what it waits for")
        self.assertEqual(self.cluster.campaign(c["id"])["bounced"], 0)
        self.world.dns.resume()
        self.assertEqual(self.cluster.settled(c["id"], 60)["delivered"], 2)


@unittest.skipUnless(os.geteuid() == 0, "needs root to mount a small file system")
class FullDisk(ClusterCase):
    settings = {"limits.disk_reserve": "32MiB"}

    @classmethod
    def before(cls):
        path = cls.work.mkdir("coordinator.data", mode=0o700)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", path], capture_output=True, check=False).returncode:
            raise Unavailable("a tmpfs can't be mounted here")
        cls.addClassCleanup(subprocess.run, ["umount", "-l", path], check=False)
        cls.disk = path

    def test_submission_is_refused_and_sending_goes_on(self):
        self.cluster.remuda("stream", "pause", "bulk")
        waiting = self.send([f"w{i}@a.test" for i in range(200)])
        free = os.statvfs(self.disk)
        with open(os.path.join(self.disk, "filler"), "wb") as f:
            f.write(bytes(free.f_bavail * free.f_frsize - (16 << 20)))
        refused = self.send(["more@a.test"], check=False)
        self.assertEqual(refused.code, 1)
        self.assertIn("disk", refused.text)
        self.cluster.remuda("stream", "resume", "bulk")
        self.assertEqual(self.cluster.settled(waiting["id"])["delivered"], 200)
        os.unlink(os.path.join(self.disk, "filler"))
        self.assertEqual(self.deliver(["more@a.test"])["delivered"], 1)
        self.assertEqual(len(self.to("more@a.test")), 1)

    def used(self):
        v = os.statvfs(self.disk)
        return (v.f_blocks - v.f_bfree) * v.f_frsize

    def test_a_list_that_does_not_fit_leaves_nothing_behind(self):
        before = self.used()
        rng = random.Random(1)
        rows = [{"email": f"big{i}@a.test", "text": rng.randbytes(1500).hex()} for i in range(60000)]
        refused = self.send(rows, check=False)
        self.assertEqual(refused.code, 1)
        self.assertIn("disk is full", refused.text)
        def shrunk():
            self.cluster.remuda("suppress", "add", "nobody@a.test")  # it goes with the next commits
            return self.used() < before + (40 << 20) or None
        self.cluster.until(shrunk, "its rows are gone", 60)
        self.assertEqual([k for k in self.cluster.get("campaigns")["campaigns"] if k["state"] != "done"], [])
        done = self.deliver([{"email": f"less{i}@a.test", "text": r["text"]} for i, r in enumerate(rows[:8000])], timeout_s=120)
        self.assertEqual(done["delivered"], 8000)


class Blocked(ClusterCase):
    """Two nodes on two networks; google refuses one source, then content."""
    providers = {"google": {"domains": {"gmail.com": ["mx.l.google.com"]}, "content_words": "cheap pills"},
                 "yahoo": {"domains": {"yahoo.com": ["mta5.am0.yahoodns.net"]}},
                 "small": {"domains": ["a.test"]}}
    nodes = ("n1", "n2")

    @classmethod
    def prepare(cls):
        cls.sources = {cls.address(1): "n1", cls.address(1, network=1): "n2"}
        for address, node in cls.sources.items():
            cls.cluster.source(address, node)
        cls.cluster.stream("bulk", cls.world.keys["news.example"])

    def test_a_blocked_source_stops_and_its_work_moves_to_another_network(self):
        self.assertEqual(self.deliver([f"w{i}@gmail.com" for i in range(10)])["delivered"], 10)
        first = self.events("accepted", provider="google")[0]["ip"]
        other = next(a for a in self.sources if a != first)
        self.world.receivers.control("slow google 5")
        c = self.send([f"m{i}@gmail.com" for i in range(400)])
        self.cluster.until(lambda: len(self.events("accepted", provider="google")) > 60, "it is under way")
        self.world.receivers.block("google", first, "mail", "550 5.7.1 Service unavailable; Client host [%ip] blocked using zen.example.org")
        self.assertEqual(self.cluster.settled(c["id"], 60)["delivered"], 400)
        self.world.receivers.control("slow google 0")
        verdict = self.events("verdict", provider="google")[0]
        late = [e for e in self.events("mail", provider="google", ip=first) if e["t_us"] > verdict["t_us"] + 250000 * patience(1)]
        self.assertEqual(late, [])
        self.assertTrue([e for e in self.events("accepted", provider="google", ip=other)])
        incident = next(i for i in self.cluster.incidents() if i["source"] == first)
        self.assertIn("zen.example.org", incident["cause"])
        self.assertEqual((incident["provider"], incident["state"]), ("google", "open"))
        self.assertIn(other, incident["moved_to"])
        self.assertGreater(incident["moved"], 0)
        self.assertLess(wall_ms(incident["redealt"]) - verdict["wall_ms"], 1000 * patience(1))
        self.assertEqual(self.cluster.lane(first, "google")["state"], "quarantined")
        # what one provider says acts on that provider's lane only
        self.assertEqual(self.deliver([f"y{i}@a.test" for i in range(5)])["delivered"], 5)
        self.assertNotEqual(self.cluster.source_view(first)["lane_state"], "quarantined")
        # nobody was punished for our reputation
        self.assertEqual(self.cluster.remuda("suppress", "check", "m1@gmail.com", check=False).code, 3)
        # and back
        self.world.receivers.unblock("google", first)
        self.cluster.remuda("incident", "resolve", incident["id"], "--reason", "delisted")
        self.assertEqual(self.cluster.lane(first, "google")["state"], "probing")
        for i in range(5):  # by single recipients
            self.assertEqual(self.deliver([f"p{i}@gmail.com"])["delivered"], 1)
        self.cluster.until(lambda: self.cluster.lane(first, "google")["state"] == "open" or None, "the lane is open again")
        self.assertEqual(self.deliver([f"z{i}@gmail.com" for i in range(5)])["delivered"], 5)

    def test_a_refusal_of_the_content_never_moves(self):
        template = PLAIN.replace("a plain mail", "cheap pills")
        before = {i["id"] for i in self.cluster.incidents()}
        self.world.receivers.control('set google content_text 552 5.7.0 This message was blocked because its content presents a potential '
                                     'security issue.')
        self.world.receivers.control("slow google 20")
        self.addCleanup(self.world.receivers.control, "slow google 0")
        c = self.send([f"c{i}@gmail.com" for i in range(800)], template=template)
        self.cluster.until(lambda: "stopped at google: its content is refused there" in self.cluster.campaign(c["id"])["waits_for"] or None,
                           "the campaign stops there")
        self.cluster.until(lambda: self.cluster.campaign(c["id"])["leased"] == 0 or None, "what was dealt is back")
        view = self.cluster.campaign(c["id"])
        self.assertEqual(view["state"], "active")  # one provider's word: elsewhere it would go on
        self.assertEqual(view["delivered"], 0)
        self.assertTrue(20 <= view["bounced"] < 400, json.dumps(view))
        tries = [e for e in self.events("rcpt", provider="google") if e["rcpt"].startswith("c")]
        self.assertEqual(len(tries), len({e["rcpt"] for e in tries}), "one attempt each")
        new = [i for i in self.cluster.incidents() if i["id"] not in before]
        self.assertEqual(len(new), 1, json.dumps(new))
        self.assertEqual((new[0]["class"], new[0]["scope"], new[0]["provider"], new[0]["source"], new[0]["moved"]),
                         ("bad_message", "campaign", "google", "", 0), json.dumps(new))
        self.assertIn("552 5.7.0 This message was blocked because its content", new[0]["cause"])
        self.assertIn("remuda campaign resume", new[0]["next_step"])
        # other mail goes on, there as well
        self.world.receivers.control("slow google 0")
        self.assertEqual(self.deliver([f"d{i}@gmail.com" for i in range(5)])["delivered"], 5)
        self.cluster.remuda("campaign", "cancel", c["id"])
        end = self.cluster.settled(c["id"])
        self.assertEqual((end["delivered"], end["bounced"] + end["cancelled"]), (0, 800), json.dumps(end))
        self.assertEqual(self.cluster.remuda("suppress", "check", "c1@gmail.com", check=False).code, 3)

    def test_an_orderly_stop_finishes_what_is_open_and_loses_nothing(self):
        self.world.receivers.control("slow small 100")
        self.addCleanup(self.world.receivers.control, "slow small 0")
        c = self.send([f"s{i}@a.test" for i in range(300)])
        self.cluster.until(lambda: len(self.events("accepted", provider="small")) > 20, "it is under way")
        for n in ("n1", "n2"):
            self.assertEqual(self.cluster.nodes[n].stop(), 0)
        view = self.cluster.campaign(c["id"])
        self.assertEqual((view["in_doubt"], view["uncertain"], view["leased"]), (0, 0, 0), "the nodes gave back what they had")
        self.assertEqual(view["queued"] + view["deferred"] + view["delivered"], 300, view)
        self.assertEqual(view["delivered"], len([e for e in self.events("accepted", provider="small") if e["rcpt"].startswith("s")]))
        for n in ("n1", "n2"):
            self.cluster.nodes[n].start()
        self.world.receivers.control("slow small 0")
        self.assertEqual(self.cluster.settled(c["id"], 60)["delivered"], 300)
        self.assertEqual(len([e for e in self.events("accepted", provider="small") if e["rcpt"].startswith("s")]), 300, "none twice")


if __name__ == "__main__":
    unittest.main()
