"""The judge has to be able to fail: every promise is broken once in a transcript, and it must say so."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from remudatest.judge import DAY_US, check_waiting, judge, rolling_max  # noqa: E402

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
        self.assertEqual((named["duplicates"], named["unfounded"]), (1, 1), "that the sender says so is no reason")
        shown = twice + [ev("cut", 3, rcpt="a@x.test", uncertain=True, accepted=True, stage="after-accepted")]
        self.assertEqual(judge(rows, shown)["duplicates"], 0)
        named = judge(rows, shown, named_uncertain={"a@x.test"})
        self.assertEqual((named["duplicates"], named["uncertain_duplicates"], named["violations"]), (0, 1, []))
        self.assertEqual(judge(rows, shown, named_uncertain=set())["duplicates"], 1, "counted, but not named")
        self.assertEqual(judge(rows, twice, named_uncertain={"a@x.test"}, excused={"a@x.test"})["violations"], [])
        thrice = shown + [a := accepted("a@x.test", 12), dkim(a["msg"])]
        self.assertEqual(judge(rows, thrice)["duplicates"], 1, "one doubt excuses one more copy")
        self.assertEqual(judge(rows, twice, named_uncertain={"b@x.test"})["unfounded_examples"], ["b@x.test"])
        late = twice + [ev("cut", 10, rcpt="a@x.test", uncertain=True, accepted=True, stage="after-accepted")]
        self.assertEqual(judge(rows, late)["duplicates"], 1, "doubt that came after the second copy excuses nothing")

    def test_an_acceptance_and_the_cut_behind_it_are_one_doubt(self):
        copies = [accepted("a@x.test", t, conn=t) for t in (1, 5, 9)]
        cut = ev("cut", 1, rcpt="a@x.test", uncertain=True, accepted=True, stage="after-accepted", conn=1)
        r = judge(submissions("a@x.test"), [copies[0] | {"uncertain": True}, cut, *copies[1:]])
        self.assertEqual((r["duplicates"], r["uncertain_duplicates"]), (1, 1))

    def test_what_was_open_when_the_sender_was_killed(self):
        def two(gap_s, **kw):
            """Taken gap_s before the kill, which was at 10 s, and once more."""
            return [ev("rcpt", 10 - gap_s, rcpt="a@x.test", mail_from="v@s.test", conn=1) | kw,
                    accepted("a@x.test", 10 - gap_s, conn=1) | kw, accepted("a@x.test", 20, conn=2)]

        def duplicates(events):
            return judge(submissions("a@x.test"), events, kills=[(10 * S, 10.2 * S, {"127.1.0.1"})], named_uncertain={"a@x.test"})["duplicates"]
        self.assertEqual(duplicates(two(0.1)), 0, "nobody read the reply")
        self.assertEqual(duplicates(two(-0.1)[1:] + [ev("rcpt", 9.9, rcpt="a@x.test", mail_from="v@s.test", conn=1)]), 0, "no reply yet")
        self.assertEqual(duplicates(two(3)), 1, "it was read long before")
        self.assertEqual(duplicates(two(0.1, ip="127.1.0.2")), 1, "another sender")
        self.assertEqual(duplicates(two(0.1) + [ev("quit", 9.95, conn=1)]), 1, "the connection was over")
        self.assertEqual(duplicates(two(0.1) + [ev("quit", 10.1, conn=1)]), 0, "it ended with the process")
        later = [ev("rcpt", 9.95, rcpt="b@x.test", mail_from="v@s.test", conn=1)]
        self.assertEqual(duplicates(two(0.1) + later), 1, "the sender was at the next one")

    def test_the_senders_own_count(self):
        rows, events = submissions("a@x.test", "b@x.test"), good("a@x.test") + [refused("b@x.test", 1, 550, "unknown")]

        def said(delivered, bounced, names=("a@x.test",), bounced_names=("b@x.test",)):
            told = {"delivered": delivered, "bounced": bounced, "delivered_names": set(names), "bounced_names": set(bounced_names)}
            return len(judge(rows, events, told=told)["disagreements"])
        self.assertEqual((said(1, 1), said(1, 1, (), ())), (0, 0))
        self.assertEqual((said(2, 0), said(0, 1), said(1, 2)), (2, 1, 1))
        self.assertEqual((said(1, 1, ("a@x.test", "b@x.test"), ()), said(1, 1, (), ("a@x.test",))), (1, 1))

    def waits(self, events, not_before_s=None, now_s=100, caps=(), sources=("127.1.0.1",), **kw):
        waiting = {"a@x.test": {"provider": "p", "not_before_ms": not_before_s and not_before_s * 1000}}
        events = [e | {"wall_ms": e["t_us"] // 1000} for e in events]
        return check_waiting(waiting, events, sources, caps, now_s * 1000, longest_ms={None: 20000, "full": 90000}, **kw)

    def test_who_waits_for_a_later_attempt(self):
        later = [ev("rcpt", 90, rcpt="a@x.test", mail_from="v@s.test"), refused("a@x.test", 90, 451, "greylist")]
        self.assertEqual(self.waits(later, 105), {})
        for events, not_before, words in ((later, 99, "could go now"), (later, None, "could go now"), (later, 150, "60 s after"),
                                          ([], 105, "none that a receiver put off"), (good("a@x.test"), 105, "after accepted"),
                                          ([refused("a@x.test", 90, 550, "unknown")], 105, "after refused")):
            self.assertIn(words, self.waits(events, not_before).get("a@x.test", ""), (events, not_before))
        self.assertEqual(self.waits([refused("a@x.test", 90, 452, "full")], 150), {})

    def test_who_waits_for_a_cap(self):
        spent = [ev("rcpt", i, rcpt=f"{i}@x.test", mail_from="v@s.test") for i in range(3)]
        lane = [{"kind": "lane", "key": "127.1.0.1|p", "limit": 3}]
        self.assertEqual(self.waits(spent, caps=lane), {})
        self.assertIn("could go now", str(self.waits(spent[1:], caps=lane)))
        self.assertEqual(self.waits(spent[1:], caps=lane, booked={("127.1.0.1", "p"): 1}), {})
        self.assertIn("from 127.1.0.2", str(self.waits(spent, caps=lane, sources=("127.1.0.1", "127.1.0.2"))))
        for kind, key in (("source", "127.1.0.1"), ("network", "*"), ("domain", "s.test|p")):
            self.assertEqual(self.waits(spent, caps=[{"kind": kind, "key": key, "limit": 3}]), {}, kind)
        self.assertEqual(self.waits([ev("verdict", 1)]), {}, "its only source is refused there")
        self.assertIn("could go now", str(self.waits([ev("verdict", 1, provider="q")])))
        everywhere = [ev("verdict", 1, provider=p) for p in ("q", "r")]
        self.assertEqual(self.waits(everywhere, unrelated={"q", "r"}), {})

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

    def test_two_unrelated_refusals_stop_a_source_everywhere(self):
        def stop(events, **kw):
            return judge([], [e | {"wall_ms": e["t_us"] / 1000} for e in events], unrelated={"p", "q"}, **kw)["sent_after_stop"]
        first, second = ev("verdict", 10), ev("verdict", 11, provider="q")
        elsewhere = ev("mail", 20, provider="r")
        self.assertEqual(stop([first, second, elsewhere]), 1)
        self.assertEqual(stop([first, elsewhere]), 0, "one voice")
        self.assertEqual(stop([first, ev("verdict", 11), elsewhere]), 0, "the same voice twice")
        self.assertEqual(stop([first, ev("verdict", 11, provider="other"), elsewhere]), 0, "many receivers are nobody in particular")
        self.assertEqual(stop([first, second, ev("mail", 11.9, provider="r")]), 0, "within the time of the re-deal")
        self.assertEqual(stop([first, second, elsewhere | {"ip": "127.1.0.2"}]), 0)
        self.assertEqual(stop([first, elsewhere], stopped={"127.1.0.1": 10000}), 1, "the sender said that it stops")
        self.assertIn("sent_after_stop", judge([], [e | {"wall_ms": e["t_us"] / 1000} for e in (first, second, elsewhere)],
                                               unrelated={"p", "q"})["violations"])

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
