"""How the model is trained and measured: what is held out must not come in again through a reply that says nearly the same."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "model"))
import evaluate  # noqa: E402
import learn  # noqa: E402


def row(rid, source, cls, words, matches=""):
    tokens = "|".join(["c:550"] + ["w:" + w for w in words.split()])
    return learn.Row("\t".join([rid, source, cls, cls, "1", matches, tokens, words]))


class Resemblance(unittest.TestCase):
    def test_four_fifths_of_the_words_make_the_same_wording(self):
        a = row("a", "x", "policy", "no mail from here please")
        self.assertTrue(learn.resemble(a, row("b", "y", "policy", "please no mail from here")))
        self.assertTrue(learn.resemble(a, row("b", "y", "policy", "no mail from here")))        # 4 of 5
        self.assertFalse(learn.resemble(a, row("b", "y", "policy", "no mail from")))            # 3 of 5
        self.assertFalse(learn.resemble(a, row("b", "y", "policy", "other words")))

    def test_addresses_hosts_numbers_and_codes_are_no_words(self):
        a = row("a", "x", "policy", "refused <address> <ip> #")
        b = learn.Row("b\ty\tpolicy\tpolicy\t1\t\tc:421|e:7.1|w:refused|w:<host>\trefused")
        self.assertTrue(learn.resemble(a, b))


class HeldOut(unittest.TestCase):
    def test_a_model_reads_nothing_that_resembles_the_replies_of_its_project(self):
        rows = [row("1", "p", "policy", "alpha beta gamma delta epsilon"), row("2", "q", "policy", "zeta eta"), row("3", "r", "policy", "zeta eta")]
        own = [row("4", "own0-0", "policy", "alpha beta gamma delta epsilon"), row("5", "own0-1", "policy", "alpha beta theta"),
               row("6", "own0-0", "policy", "theta")]
        seen = []
        train, learn.train = learn.train, lambda used, tokens: seen.extend(r.id for r in used) or {}
        try:
            self.assertEqual(evaluate.trained_without((rows, own, "p")), ("p", {}))
        finally:
            learn.train = train
        self.assertEqual(seen, ["2", "3", "5", "6"])

    def test_a_pattern_is_known_by_another_projects_other_words_or_by_a_fact(self):
        r, again, other = "rule/0/policy/strong", "rule/1/policy/strong", "rule/2/policy/strong"
        rows = [row("1", "p", "policy", "alpha beta", f"{r}|{again}|{other}"),
                row("2", "p", "policy", "gamma", r),                    # of the same project
                row("3", "q", "policy", "beta alpha", again),           # the same words
                row("4", "q", "policy", "delta", other)]
        known = evaluate.known_elsewhere(rows, [])
        self.assertEqual([k for k in known if k[0] == "1"], [("1", "rule/2")])
        known = evaluate.known_elsewhere(rows, [row("f", "facts", "policy", "epsilon", r), row("g", "facts", "virus", "zeta", again),
                                                row("h", "facts", "policy", "alpha beta", again)])
        self.assertEqual({k: v for k, v in known.items() if k[0] == "1"}, {("1", "rule/0"): "fact", ("1", "rule/2"): "project"})

    def test_the_first_usable_rule_then_the_model_then_weak_rules(self):
        r = row("1", "p", "policy", "alpha beta gamma delta epsilon", "a/0/virus/strong|b/0/policy/strong|c/0/network/weak")
        model = {"w:" + w: {learn.NUMBER["expired"]: 20} for w in r.reply.split()}
        only = lambda *names: lambda row, m: m.rule in names  # noqa: E731
        self.assertEqual(evaluate.combine(only("a", "b", "c"), None)(r), "virus")
        self.assertEqual(evaluate.combine(only("b", "c"), lambda row: model)(r), "policy")
        self.assertEqual(evaluate.combine(only("c"), lambda row: model)(r), "expired")
        self.assertEqual(evaluate.combine(only("c"), None)(r), "network")
        self.assertEqual(evaluate.combine(only(), None)(r), "other")


class Answers(unittest.TestCase):
    def test_what_would_cost_must_lead_clearly(self):
        block, rate, full = (learn.NUMBER[c] for c in ("ip_blocklisted", "rate_limited", "mailbox_full"))
        tokens = ["w:%d" % i for i in range(learn.KNOWN)]
        each = learn.COSTLY // learn.KNOWN
        self.assertEqual(learn.ask({t: {block: each} for t in tokens}, tokens), ("ip_blocklisted", True))
        self.assertEqual(learn.ask({t: {block: each, rate: 1} for t in tokens}, tokens), ("ip_blocklisted", False))
        self.assertEqual(learn.ask({t: {block: each, full: 1} for t in tokens}, tokens), ("ip_blocklisted", True))
        self.assertEqual(learn.ask({t: {block: each} for t in tokens}, tokens[1:])[1], False)


if __name__ == "__main__":
    unittest.main()
