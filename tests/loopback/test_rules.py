"""Provider and verdict rules as operators handle them: `remuda classify` and `remuda rules check` without a coordinator, and a coordinator
that reads its files again while mail flows."""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kit_py"))
from remudatest.case import ClusterCase  # noqa: E402
from remudatest.cluster import SLOWER, built  # noqa: E402
from remudatest.proc import Unavailable  # noqa: E402


def remuda(*args, text=None):
    done = subprocess.run([built("remuda"), *args], input=text, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


class WithoutCoordinator(unittest.TestCase):
    def setUp(self):
        try:
            built("remuda")
        except Unavailable as e:
            raise unittest.SkipTest(str(e)) from None
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def write(self, name, text):
        path = os.path.join(self.dir.name, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def test_a_reply_is_explained(self):
        code, out, _ = remuda("classify", "554 5.7.1 Client host [192.0.2.7] blocked using bl.example")
        self.assertEqual(code, 0)
        for words in ("ip_blocklisted", "rule listed-zone (verdicts.conf:", "Nothing more is sent from the source",
                      "for 1d", "may move to sources on other networks", "not suppressed"):
            self.assertIn(words, out)
        out = remuda("classify", text="smtp; 550 5.1.1 no such user\n")[1]
        self.assertIn("user_unknown", out)
        self.assertIn("is suppressed", out)
        self.assertIn("is tried again later, from the same source", remuda("classify", "450 Greylisted")[1])

    def test_stage_and_provider_matter(self):
        self.assertIn("policy", remuda("classify", "--stage", "greeting", "554 xyzzy")[1])
        self.assertIn("google-ptr", remuda("classify", "--provider", "gmail", "550 5.7.25 xyzzy")[1])
        code, _, err = remuda("classify", "--stage", "lunch", "554 x")
        self.assertEqual(code, 2)
        self.assertIn("--stage lunch: expected", err)
        self.assertEqual(remuda("classify", text="")[0], 2)

    def test_json_says_the_same(self):
        j = json.loads(remuda("--json", "classify", "421 4.7.0 too many connections")[1])
        self.assertEqual((j["class"], j["scope"], j["action"], j["duration_s"], j["move"], j["suppress"]),
                         ("rate_limited", ["lane"], "narrow", 1800, False, False))
        self.assertEqual((j["rule"], j["file"], j["reply"]["code"]), ("connections", "verdicts.conf", 421))

    def test_a_reply_without_a_code_says_so(self):
        for text, words in (("zxcv", "no reply code was read; taken for a 550 (nothing says that it passes), at rcpt"),
                            ("no such user (#5.1.1)", "no reply code was read; taken for a 550 (by its enhanced code), 5.1.1, at rcpt"),
                            ("greylisted, try again later", "no reply code was read; taken for a 450 (its words speak of what passes), at rcpt"),
                            ("550 zxcv", "550, at rcpt"), ("250 2.0.0 zxcv", "250, at rcpt")):
            self.assertIn(f"  read      {words}\n", remuda("classify", text)[1])
        j = json.loads(remuda("--json", "classify", "zxcv")[1])
        self.assertEqual((j["class"], j["reply"]["code"], j["reply"]["taken_for"]), ("other", None, 550))

    def test_a_denial_that_counts_on_the_second(self):
        reply = "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)"
        self.assertIn("Denied once more, it is suppressed", remuda("classify", reply)[1])
        j = json.loads(remuda("--json", "classify", reply)[1])
        self.assertEqual((j["action"], j["suppress"], j["permanent"]), ("suppress_second", False, True))

    def test_errors_are_objects_with_json(self):
        bad = self.write("bad.conf", 'rule "x" { class = nonsense; scope = recipient; action = fail; pattern = x; sample = "550 x" }\n')
        for args, code, words in ((["classify", "--stage", "lunch", "554 x"], 2, "--stage lunch"),
                                  (["classify", "--provider", "nobody", "554 x"], 2, "there is no provider"),
                                  (["classify", "--rules", bad, "554 x"], 1, "unknown class"),
                                  (["classify", "--rules", "/nonexistent.conf", "554 x"], 1, "/nonexistent.conf"),
                                  (["classify", "--tsv"], 2, "--tsv writes a table"),
                                  (["classify"], 2, "there is no reply")):
            got, out, err = remuda("--json", *args, text="")
            self.assertEqual(got, code, args)
            self.assertIn(words, json.loads(out or err)["error"])

    def test_the_model_names_its_tokens(self):
        j = json.loads(remuda("--json", "classify", "550 no reverse for your ip")[1])
        self.assertEqual((j["rule"], j["class"]), ("model", "no_rdns"))
        self.assertTrue(j["tokens"])
        self.assertGreater(j["margin"], 0)

    def test_a_table_is_classified_row_by_row(self):
        table = ("x\treply\tstage\tid\n"
                 "?\t550 5.1.1 no such user\tRCPT\tone\n"
                 "?\t421-4.7.0 too many\\n421 4.7.0 connections\tCONN\ttwo\n"
                 "?\txyzzy\t\t\n")
        code, out, _ = remuda("classify", "--tsv", text=table)
        self.assertEqual(code, 0)
        rows = [line.split("\t") for line in out.splitlines()]
        self.assertEqual(rows[0], ["id", "class", "scope", "action", "duration_s", "rule"])
        self.assertEqual(rows[1], ["one", "user_unknown", "recipient", "suppress", "0", "unknown-user"])
        self.assertEqual(rows[2][:4], ["two", "rate_limited", "lane", "narrow"])
        self.assertEqual(rows[3][:2], ["3", "other"])
        self.assertEqual(out, remuda("classify", "--tsv", self.write("t.tsv", table))[1])

    def test_a_table_without_replies_is_refused(self):
        for text, words in (("id\tstage\n1\trcpt\n", "one of them `reply`"), ("", "begins with a line of column names")):
            code, out, err = remuda("classify", "--tsv", text=text)
            self.assertNotEqual(code, 0)
            self.assertEqual(out, "")
            self.assertIn(words, err)
        self.assertEqual(remuda("classify", "--tsv", "/nonexistent/t.tsv")[0], 1)

    def test_fifty_thousand_replies_a_second(self):
        with open("tests/data/replies.tsv", encoding="utf-8") as f:
            head, *rows = f.read().splitlines()
        path = self.write("big.tsv", head + "\n" + "\n".join(rows * 150) + "\n")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        code, out, _ = remuda("classify", "--tsv", path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.assertEqual((code, len(out.splitlines())), (0, 150 * len(rows) + 1))
        if SLOWER == 1:
            self.assertGreater(150 * len(rows) / cpu, 50000)

    def test_rules_check_names_file_and_line(self):
        self.assertEqual(remuda("rules", "check")[0], 0)
        good = self.write("good.conf", 'rule "house" { class = policy; scope = recipient; action = fail; pattern = "house rule"; sample = "550 house rule" }\n')
        self.assertIn("1 of them your own", remuda("rules", "check", "--rules", good)[1])
        verdict = "class = policy; scope = recipient; action = fail; "
        for providers, rules, line, words in (
                ('provider "google" { conections = 5 }\n', None, 1, "unknown key"),
                ('\nprovider "gogle" { connections = 5 }\n', None, 2, "nothing defines it"),
                ('provider "a" { mx = ".one.example." }\n', None, 1, "must not end in a dot"),
                ('provider "a" { mx = "one.example" }\n', None, 1, "must begin with a dot"),
                ('provider "a" { mx = ".One.example" }\n', None, 1, "must be in small letters"),
                ('provider "a" { mx = "" }\n', None, 1, "mx suffix is empty"),
                ('provider "" { connections = 1 }\n', None, 1, "a key has 1 to 128"),
                ('provider "google" { cluster_connections = many }\n', None, 1, "is not a whole number"),
                (None, f'\n\nrule "a" {{ {verdict} patern = "x y z"; sample = "550 x y z" }}\n', 3, 'nothing reads the key "patern"'),
                (None, f'rule "a" {{ {verdict} pattern = "alpha"; sample = "550 beta" }}\n', 1, "does not match its sample"),
                (None, f'rule "a" {{ {verdict} pattern = "alpha"; sample = "550 alpha" }}\nrule "b" {{ {verdict} pattern = "an alpha"; sample = "550 an alpha" }}\n',
                 2, "always shadowed by rule a"),
                (None, f'rule "a" {{ {verdict} pattern = "alpha."; sample = "550 alpha." }}\n', 1, "ends with a dot"),
                (None, f'rule "a" {{ {verdict} pattern = "{{nosuch}} alpha"; sample = "550 alpha" }}\n', 1, "names a set of words that nothing defines"),
                (None, f'words {{ box = ["one", "two"] }}\nrule "a" {{ {verdict} pattern = "alpha"; sample = "550 alpha" }}\n', 1, 'no pattern names the words "box"'),
                (None, 'providers = ["nobody"]\n', 1, 'there is no provider "nobody"'),
                (None, 'verdict "v" { class = policy; scope = recipient; action = fail }\n', 1, 'no rule names the verdict "v"')):
            args, path = [], None
            for option, text in (("--providers", providers), ("--rules", rules)):
                if text is not None:
                    path = self.write(f"{option[2:]}.conf", text)
                    args += [option, path]
            code, out, err = remuda("rules", "check", *args)
            self.assertEqual((code, out), (1, ""), words)
            self.assertTrue(any(e.startswith(f"{path}:{line}: ") and words in e for e in err.splitlines()), f"{words}: {err}")
            found = json.loads(remuda("--json", "rules", "check", *args)[1])
            self.assertTrue(any(f["line"] == line and f["file"] == path and words in f["text"] for f in found["findings"]), found)
        self.assertEqual(remuda("rules", "check", "--rules", "/nonexistent/r.conf")[0], 1)
        for option, text, words in (
                ("--plans", 'plan "standard" { caps { gogle = [100] } }\n', ':1: plan "standard": caps: there is no provider "gogle"'),
                ("--blocklists", '\nlist "own" { zone = "own.example." }\n', ':2: list "own": zone: "own.example." must not end in a dot')):
            path = self.write("more.conf", text)
            code, out, err = remuda("rules", "check", option, path)
            self.assertEqual((code, out), (1, ""), words)
            self.assertIn(path + words, err)

    def test_rules_check_tells_all_that_can_be_known_in_one_run(self):
        """What one file, section or rule has wrong hides nothing that others have wrong."""
        verdict = "class = policy; scope = recipient; action = fail; "
        files = {"providers": 'provider "a" { mx = ".one.example." }\nprovider "gogle" { connections = 5 }\n',
                 "rules": f'rule "a" {{ {verdict} patern = "x y z"; sample = "550 x y z" }}\nrule "b" {{ {verdict} pattern = "alpha"; sample = "550 beta" }}\n',
                 "plans": 'plan "standard" { caps { other = [7, 3] } }\nplan "mine" { }\n',
                 "blocklists": 'list "own" { zone = "own.example." }\nlist "other" { kinds = [ip4] }\n'}
        wanted = (("providers", 1, "must not end in a dot"), ("providers", 2, "nothing defines it"), ("rules", 1, 'nothing reads the key "patern"'),
                  ("rules", 2, "does not match its sample"), ("plans", 1, "3 comes after 7"), ("plans", 2, "source is missing"),
                  ("blocklists", 1, "must not end in a dot"), ("blocklists", 2, "has no zone"))
        paths = {name: self.write(f"all-{name}.conf", text) for name, text in files.items()}
        code, out, err = remuda("rules", "check", *[a for name, path in paths.items() for a in (f"--{name}", path)])
        self.assertEqual((code, out), (1, ""))
        for name, line, words in wanted:
            self.assertTrue(any(e.startswith(f"{paths[name]}:{line}: ") and words in e for e in err.splitlines()), f"{name} {line} {words}\n{err}")
        # what a section lacks because a line of it could not be read is no second mistake
        self.assertNotIn('list "own": has no codes', err)
        broken = self.write("broken.conf", 'provider "x" {\n mx = \n')
        _, _, err = remuda("rules", "check", "--providers", broken, "--rules", paths["rules"])
        self.assertIn(f"{broken}:2: ", err)
        self.assertIn("does not match its sample", err)


class Reload(ClusterCase):
    providers = {"small": {"domains": ["a.test", "b.test"], "unknown_users": "nobody*"}}

    @classmethod
    def before(cls):
        cls.files = {n: cls.work.write(f"own-{n}.conf", "# nothing yet\n") for n in ("providers", "rules", "plans", "blocklists")}
        cls.settings = {n: cls.files[n] for n in ("providers", "rules", "blocklists")} | {"warmup": {"plans": cls.files["plans"]}}

    def put(self, name, text):
        with open(self.files[name], "w", encoding="utf-8") as f:
            f.write(text)

    def hup(self, words):
        """Sends SIGHUP and waits for these words in the log behind what is there."""
        at = len(self.cluster.coordinator.log())
        os.kill(self.cluster.coordinator.child.pid, signal.SIGHUP)
        self.cluster.until(lambda: words in self.cluster.coordinator.log()[at:], f"the log says {words}")
        return self.cluster.coordinator.log()[at:]

    def provider_of_last(self, address):
        return [e for e in self.cluster.events(after=-2000, recipient=address) if e.get("provider")][-1]["provider"]

    def test_1_a_new_provider_takes_its_domains_without_a_restart(self):
        self.deliver("ann@a.test")
        self.assertEqual(self.provider_of_last("ann@a.test"), "other")
        self.put("providers", 'provider "acorp" { mx = ".a.test"; connections = 2; cluster_connections = 3 }\n')
        self.assertIn("providers added: acorp", self.hup("reload"))
        self.deliver(["bob@a.test", "bob@b.test"])
        self.assertEqual(self.provider_of_last("bob@a.test"), "acorp")
        self.assertEqual(self.provider_of_last("bob@b.test"), "other")
        self.deliver([f"many{i}@a.test" for i in range(300)])
        self.put("providers", 'provider "acorp" { mx = ".a.test"; connections = 4 }\n')
        answer = self.cluster.remuda("rules", "reload")
        self.assertIn("providers changed: acorp", answer.json["text"])
        self.put("providers", "")
        self.assertIn("providers gone: acorp", self.cluster.remuda("rules", "reload", as_json=False).out)
        self.deliver("carl@a.test")
        self.assertEqual(self.provider_of_last("carl@a.test"), "other")

    def test_2_nodes_classify_by_the_new_rules_at_once(self):
        self.deliver("nobody1@a.test")
        before = [e for e in self.cluster.events(after=-2000, recipient="nobody1@a.test") if e.get("rule")][-1]
        self.assertEqual(before["class"], "user_unknown")
        self.put("rules", 'rule "house" { class = policy; scope = recipient; action = fail; code = "55"; stage = rcpt; sample = "550 x" }\n')
        self.assertIn("verdict rules changed (1 of your own)", self.hup("reload"))

        def judged():
            type(self).serial += 1
            who = f"nobody-{self.serial}@a.test"
            self.deliver(who)
            return [e for e in self.cluster.events(after=-2000, recipient=who) if e.get("rule")][-1]["rule"] == "house"
        self.cluster.until(judged, "the node judges by the new rule")

    def test_3_errors_change_nothing_and_are_told_by_line(self):
        self.put("providers", 'provider "bcorp" { mx = ".b.test" }\n')
        self.cluster.remuda("rules", "reload")
        self.put("providers", '# a comment\nprovider "bcorp" { mx = ".b.test." }\n')
        answer = self.cluster.remuda("rules", "reload", check=False, as_json=False)
        self.assertEqual(answer.code, 1)
        self.assertIn(f"{self.files['providers']}:2: ", answer.text)
        self.assertIn("nothing changed", answer.text)
        log = self.hup("nothing changed")
        self.assertIn(f"{self.files['providers']}:2: ", log)
        self.deliver("dora@b.test")
        self.assertEqual(self.provider_of_last("dora@b.test"), "bcorp")
        self.put("providers", "")
        self.cluster.remuda("rules", "reload")

    def test_4_dkim_keys_are_read_again(self):
        self.assertIn("1 DKIM key read", self.hup("reload"))
        path = self.work.path(f"dkim-news.example-{self.world.keys['news.example'][0].selector}.pem")
        with open(path, encoding="ascii") as f:
            good = f.read()
        with open(path, "w", encoding="ascii") as f:
            f.write("no key\n")
        answer = self.cluster.remuda("rules", "reload", check=False, as_json=False)
        self.assertEqual(answer.code, 1)
        self.assertIn(f"{path}: DKIM key of stream bulk can't be used", answer.text)
        self.deliver("eve@a.test")  # the old one stays in force
        self.assertEqual(self.dkim_of("eve@a.test")["dkim"], "pass")
        with open(path, "w", encoding="ascii") as f:
            f.write(good)
        self.cluster.remuda("rules", "reload")

    def test_5_plans_and_blocklists_are_read_again(self):
        plan = self.cluster.remuda("source", "add", "127.0.0.77", "--node", "n1", "--helo", "mx77.example", "--pool", "cold", "--warmup", "standard")
        self.assertEqual(plan.code, 0)

        def cap():
            lanes = self.cluster.remuda("warmup").json["lanes"]
            return [lane["cap_per_day"] for lane in lanes if lane.get("source") == "127.0.0.77" and lane["provider"] == "other"][0]
        self.assertNotEqual(cap(), 7)
        self.put("plans", 'plan "standard" { caps { other = [7, 9, 12] } }\n')
        self.put("blocklists", 'list "ours" { zone = "bl.example"; kinds = ip4; codes = ["127.0.0.2 listed our own"]; enabled = true }\n')
        said = self.hup("reload")
        self.assertIn("warm-up plans changed: standard", said)
        self.assertIn("blocklists added: ours", said)
        self.assertEqual(cap(), 7)
        self.assertIn("ours", [x["list"] for x in self.cluster.remuda("listings", "lists").json["lists"]])


if __name__ == "__main__":
    unittest.main()
