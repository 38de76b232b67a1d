"""The judge has to be able to fail: every promise is broken once in a transcript, and it must say so."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from remudatest.judge import DAY_US, judge, rolling_max  # noqa: E402

S = 1000000


def submissions(*emails):
    return [{"email": e} for e in emails]


def ev(event, t_s=0, **kw):
    return {"event": event, "t_us": int(t_s * S), "provider": "p", "ip": "127.1.0.1"} | kw


def accepted(rcpt, t_s=0, msg=None, **kw):
    return ev("accepted", t_s, rcpt=rcpt, msg=msg or f"m-{rcpt}-{t_s}", message_id=f"<{rcpt}-{t_s}>",
              undeclared_8bit=False) | kw


def dkim(msg, result="pass", oversigned=True, unsigned=()):
    return ev("dkim", msg=msg, dkim=result, from_oversigned=oversigned, unsigned=list(unsigned), message_id="<x>",
              signatures=[{"a": "rsa-sha256"}])


def good(*rcpts):
    out = []
    for i, r in enumerate(rcpts):
        a = accepted(r, i)
        out += [ev("mail", i - .1, mail_from="v@s.test"), ev("rcpt", i, rcpt=r, mail_from="v@s.test"), a, dkim(a["msg"])]
    return out


def refused(rcpt, t_s, code, reason, stage="rcpt"):
    return ev("refused", t_s, rcpt=rcpt, code=code, reason=reason, stage=stage, text=f"{code} x")


class Judge(unittest.TestCase):
    def test_a_clean_run_has_no_violations(self):
        r = judge(submissions("a@x.test", "B@x.test"), good("a@x.test", "b@x.test"))
        self.assertEqual(r["violations"], [])
        self.assertEqual((r["delivered"], r["signatures_verified"], r["messages_per_second"]), (2, 2, 2.0))

    def test_a_missing_recipient_is_lost_unless_it_waits(self):
        rows, events = submissions("a@x.test", "b@x.test"), good("a@x.test")
        self.assertEqual(judge(rows, events)["lost"], 1)
        self.assertIn("lost", judge(rows, events)["violations"])
        r = judge(rows, events, waiting={"b@x.test"})
        self.assertEqual((r["lost"], r["waiting"]), (0, 1))

    def test_bounced_only_for_the_recipients_own_sake(self):
        rows = submissions("a@x.test")
        self.assertEqual(judge(rows, [refused("a@x.test", 1, 550, "unknown")])["bounced"], 1)
        for code, reason in ((550, "block"), (554, "dnsbl"), (451, "greylist"), (452, "full")):
            r = judge(rows, [refused("a@x.test", 1, code, reason)])
            self.assertEqual((r["bounced"], r["lost"]), (0, 1), reason)

    def test_a_deferral_after_a_bounce_reopens_the_question(self):
        events = [refused("a@x.test", 1, 550, "unknown"), refused("a@x.test", 2, 452, "full")]
        self.assertEqual(judge(submissions("a@x.test"), events)["lost"], 1)

    def test_duplicates_and_the_uncertain(self):
        rows = submissions("a@x.test")
        twice = good("a@x.test") + [a := accepted("a@x.test", 9), dkim(a["msg"])]
        self.assertEqual(judge(rows, twice)["duplicates"], 1)
        named = judge(rows, twice, named_uncertain={"a@x.test"})
        self.assertEqual((named["duplicates"], named["uncertain_duplicates"]), (0, 1))
        self.assertEqual(judge(rows, twice, named_uncertain={"b@x.test"})["duplicates"], 1)
        shown = twice + [ev("cut", 3, rcpt="a@x.test", uncertain=True, accepted=True, stage="after-accepted")]
        self.assertEqual(judge(rows, shown)["duplicates"], 0)
        late = twice + [ev("cut", 10, rcpt="a@x.test", uncertain=True, accepted=True, stage="after-accepted")]
        self.assertEqual(judge(rows, late)["duplicates"], 1, "doubt that came after the second copy excuses nothing")

    def test_mail_nobody_submitted(self):
        self.assertIn("unexpected", judge(submissions("a@x.test"), good("a@x.test", "evil@x.test"))["violations"])

    def test_campaigns_are_told_apart_by_keys(self):
        rows = [{"email": "a@x.test", "campaign": c} for c in ("1", "2")]
        events = good("a@x.test")
        for e in events:
            e["x"] = {"X-Campaign": "1"}
        r = judge(rows, events, key=lambda e: (e["x"]["X-Campaign"], e["rcpt"]),
                  submitted_key=lambda w: (w["campaign"], w["email"]))
        self.assertEqual((r["delivered"], r["lost"]), (1, 1))

    def test_the_rolling_window(self):
        day = DAY_US
        for times, most in (([], 0), ([0], 1), ([0, day - 1], 2), ([0, day], 1), ([0, 1, day, day + 1, day + 2], 3),
                            ([5, 3, 4], 3)):
            self.assertEqual(rolling_max(times), most, times)

    def test_caps_count_commands_not_acceptances(self):
        events = [ev("rcpt", i, rcpt=f"{i}@x.test", mail_from="v@s.test") for i in range(5)]
        events += [ev("rcpt", 1, rcpt="q@x.test", mail_from="v@s.test", ip="127.1.0.2")]
        for kind, key, most in (("lane", "127.1.0.1|p", 5), ("source", "127.1.0.2", 1), ("provider", "p", 6),
                                ("network", "127.1.0.0/24|p", 6), ("domain", "s.test|p", 6), ("source", "10.0.0.1", 0)):
            for limit, bad in ((most, 0), (most - 1, 1)):
                r = judge([], events, caps=[{"kind": kind, "key": key, "limit": limit}])
                self.assertEqual((r["caps"][0]["most"], r["cap_violations"]), (most, bad), kind)
        every = judge([], events, caps=[{"kind": "source", "key": "*", "limit": 4}])
        self.assertEqual([c["violated"] for c in every["caps"]], [True, False])

    def test_sent_after_block(self):
        verdict = ev("verdict", 10, stage="mail", code=554, reason="block", text="554 blocked")
        self.assertEqual(judge([], [ev("mail", 9), verdict])["sent_after_block"], 0)
        self.assertEqual(judge([], [verdict, ev("mail", 10.1)])["in_grace"], 1)
        late = judge([], [verdict, ev("mail", 10.1), ev("mail", 12)])
        self.assertEqual((late["sent_after_block"], late["blocks"][0]["last_mail_ms"]), (1, 2000.0))
        self.assertIn("sent_after_block", late["violations"])

    def test_a_new_verdict_does_not_renew_the_grace(self):
        events = [ev("verdict", t) for t in (10, 11, 12)] + [ev("mail", t) for t in (11.1, 12.1)]
        self.assertEqual(judge([], events)["sent_after_block"], 2)

    def test_a_block_holds_for_its_source_and_provider_only(self):
        events = [ev("verdict", 10), ev("mail", 20, ip="127.2.0.1"), ev("mail", 20, provider="q")]
        self.assertEqual(judge([], events)["sent_after_block"], 0)
        self.assertEqual(judge([], events, everywhere={"127.1.0.1"})["sent_after_block"], 1)

    def test_a_lifted_block_is_over(self):
        events = [ev("verdict", 10), ev("control", 15, command="unblock", args="127.1.0.0/24"), ev("mail", 20)]
        self.assertEqual(judge([], events)["sent_after_block"], 0)
        self.assertEqual(judge([], [events[0], events[2]], lifted=[("p", "127.1.0.1", 15 * S)])["sent_after_block"], 0)
        self.assertEqual(judge([], events + [ev("mail", 12)])["sent_after_block"], 1)
        other = [events[0], ev("control", 15, command="unblock", args="127.9.0.1"), events[2]]
        self.assertEqual(judge([], other)["sent_after_block"], 1)

    def test_signatures(self):
        a = accepted("a@x.test", msg="1")
        for line, name in (([], "signatures_missing"), ([dkim("1", "fail")], "signatures_failed"),
                           ([dkim("1", "none")], "unsigned"), ([dkim("1", "skipped")], "signatures_skipped"),
                           ([dkim("1", oversigned=False)], "weak"), ([dkim("1", unsigned=["date"])], "weak")):
            self.assertIn(name, judge(submissions("a@x.test"), [a] + line)["violations"], name)

    def test_protocol_violations_are_seen(self):
        r = judge([], [ev("violation", text="smuggling: a dot")])
        self.assertEqual((r["smuggling"], r["violations"]), (1, ["protocol_violations"]))

    def test_tables(self):
        r = judge(submissions("a@x.test"), good("a@x.test") + [refused("b@x.test", 1, 550, "unknown")])
        self.assertEqual(r["sources"][0] | {"ip": 0}, {"ip": 0, "connections": 0, "mails": 1, "rcpts": 1, "accepted": 1,
                                                       "refused": 1, "cuts": 0, "reasons": {"unknown": 1}})


if __name__ == "__main__":
    unittest.main()
