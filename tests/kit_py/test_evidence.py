"""The evidence's statistics, tables, picture and search, on runs that are made up."""
import json
import math
import os
import random
import sys
import unittest
import xml.etree.ElementTree as ET

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sim"))
import evidence  # noqa: E402
import evidence_stats as stats  # noqa: E402
import evidence_svg as svg  # noqa: E402

VARIANTS = ["round-robin", "suspension", "remuda"]


def made_up(seeds=6, never_complete=False):
    """remuda sees a tenth more and loses fewer addresses in every seed; "less canary" is remuda itself, "less gates" is worse."""
    results = stats.Results()
    for scenario in ("calm", "storm & <rain>"):
        for seed in range(seeds):
            rng = random.Random(f"{scenario} {seed}")
            base = rng.uniform(0.5, 0.8)
            for v in VARIANTS + ["less canary", "less gates"]:
                ours = v in ("remuda", "less canary")
                seen = base + (0.1 if ours else 0.05 if v == "less gates" else 0.0)
                results.add(scenario, v, seed, {
                    "seen_1d": seen - 0.1, "seen_3d": seen, "seen_7d": seen, "seen_30d": seen, "messages": 1000,
                    "time_to_complete_h": None if never_complete else 5.0 + rng.random(), "deferrals_per_message": 0.1 if ours else 0.5,
                    "listings": 0, "ip_days_lost": 1.0 if ours else 4.0 + rng.random(), "complaints": rng.randrange(9), "wrong_suppressions": 0})
    return results


class Statistics(unittest.TestCase):
    def test_interval_of_known_values(self):
        mean, half = stats.interval([1.0, 2.0, 3.0, 4.0, 5.0])
        self.assertAlmostEqual(mean, 3.0)
        self.assertAlmostEqual(half, 2.776 * math.sqrt(2.5 / 5), places=6)
        self.assertEqual(stats.interval([7.0]), (7.0, 0.0))
        self.assertTrue(math.isnan(stats.interval([])[0]))
        self.assertEqual(stats.interval([math.nan, 7.0]), (7.0, 0.0))

    def test_quantiles_are_never_too_small(self):
        for n, t in ((2, 12.706), (3, 4.303), (20, 2.093), (24, 2.086), (1000, 1.980)):
            self.assertEqual(stats.t95(n), t)

    def test_interval_holds_the_mean_in_95_of_100(self):
        rng, held = random.Random(1), 0
        for _ in range(2000):
            mean, half = stats.interval([rng.gauss(10, 3) for _ in range(20)])
            held += abs(mean - 10) <= half
        self.assertTrue(0.935 < held / 2000 < 0.965, held)

    def test_pairing_sees_what_means_hide(self):
        a = [1.0, 5.0, 9.0, 13.0]
        b = [x + 0.1 for x in a]
        self.assertFalse(stats.clear(stats.interval(a + b)) and stats.interval(a)[1] < 0.1)
        self.assertTrue(stats.clear(stats.paired(b, a)))
        self.assertFalse(stats.clear(stats.paired(a, a)))

    def test_first_places_are_shared_when_they_can_t_be_told(self):
        a, b, c = [1.0, 2.0, 3.0], [1.1, 1.9, 3.0], [9.0, 9.5, 9.9]
        self.assertEqual(stats.best_of([a, b, c], True), {0, 1})
        self.assertEqual(stats.best_of([a, b, c], False), {2})
        self.assertEqual(stats.best_of([a, a], True), set())

    def test_score_counts_listings_lost_days_and_wrong_suppressions(self):
        m = {"seen_1d": 1, "seen_3d": 1, "seen_7d": 1, "seen_30d": 1, "messages": 100, "listings": 2, "ip_days_lost": 5, "wrong_suppressions": 3}
        self.assertAlmostEqual(stats.score(m), 100 - 2 - 1 - 3)


class Tables(unittest.TestCase):
    def test_who_is_first_and_what_features_are_worth(self):
        r = made_up()
        self.assertIn("*", r.scenario_table("calm", VARIANTS).splitlines()[3])
        self.assertIn("seen 7 d +10.0", "\n".join(r.differences("calm", VARIANTS)))
        self.assertAlmostEqual(r.worth("canary")[0], 0.0)
        self.assertFalse(stats.clear(r.worth("canary")))
        self.assertTrue(stats.clear(r.worth("gates")) and r.worth("gates")[0] > 5)
        lines = r.ablation_table(["canary", "gates"]).splitlines()
        self.assertNotIn("!", lines[1])
        self.assertIn("!", lines[2])

    def test_a_feature_is_compared_in_the_seeds_that_it_ran_with(self):
        r, few = made_up(), made_up(seeds=2)
        for scenario in r.scenarios():
            r.of[scenario]["less gates"] = few.of[scenario]["less gates"]
        self.assertEqual(r.worth("gates"), few.worth("gates"))
        self.assertEqual(r.worth_in("calm", "gates"), few.worth_in("calm", "gates"))

    def test_columns_are_aligned(self):
        widths = {len(line) for line in stats.table([["a", "1"], ["bcd", "22"]], ["x", "y"]).splitlines()}
        self.assertEqual(len(widths), 1)

    def test_what_never_came_to_pass_is_shown_as_such(self):
        self.assertIn(" -", made_up(never_complete=True).scenario_table("calm", VARIANTS))


class Picture(unittest.TestCase):
    def check(self, text):
        root = ET.fromstring(text)  # well-formed, whatever scenarios are called
        self.assertNotIn("nan", text.lower().replace("round-robin", ""))
        box = [float(x) for x in root.get("viewBox").split()]
        for e in root.iter():
            for key in ("x", "x1", "x2", "cx"):
                if e.get(key):
                    self.assertTrue(0 <= float(e.get(key)) <= box[2], (key, e.attrib))
            for key in ("y", "y1", "y2", "cy"):
                if e.get(key):
                    self.assertTrue(0 <= float(e.get(key)) <= box[3], (key, e.attrib))
        return root

    def test_is_well_formed_and_within_its_frame(self):
        for features in ([], ["canary", "gates"]):
            self.check(svg.picture(made_up(), made_up(), VARIANTS, features, "In our models.\nTwo lines.", stats.interval))

    def test_one_seed_and_nothing_known_are_drawn_too(self):
        self.check(svg.picture(made_up(seeds=1, never_complete=True), None, VARIANTS, [], "note", stats.interval))

    def test_labels_of_a_column_don_t_overlap(self):
        root = self.check(svg.picture(made_up(), made_up(), VARIANTS, ["canary", "gates"], "note", stats.interval))
        places = {}
        for e in root.iter("{http://www.w3.org/2000/svg}text"):
            places.setdefault((e.get("x"), e.get("text-anchor")), []).append(float(e.get("y")))
        for ys in places.values():
            ys.sort()
            self.assertTrue(all(b - a >= 9 for a, b in zip(ys, ys[1:])), places)


class Search(unittest.TestCase):
    PARAMETERS = [{"name": "rate", "min": 20, "max": 5000, "default": 600, "scale": "log"}, {"name": "after", "min": 0, "max": 5, "default": 2, "scale": "linear"}]

    def test_trials_stay_in_their_ranges_and_begin_with_the_defaults(self):
        rng = random.Random(1)
        best = evidence.propose(rng, self.PARAMETERS, None, 0, 40)
        self.assertEqual(best, {"rate": 600, "after": 2})
        for k in range(1, 200):
            trial = evidence.propose(rng, self.PARAMETERS, best, k % 40, 40)
            for p in self.PARAMETERS:
                self.assertTrue(p["min"] <= trial[p["name"]] <= p["max"], trial)
            if k % 40 > 20:
                self.assertLessEqual(sum(trial[n] != best[n] for n in trial), 1)

    def test_training_seeds_are_never_evaluated(self):
        self.assertGreater(evidence.EVALUATION, evidence.TRAINING + 100)

    def test_a_plan_has_every_pairing(self):
        runs = evidence.plan(["calm"], [1, 2], {"senders": {"suspension": {"set": {"rate": 5}}}}, ["gates"], [1, 2])
        self.assertEqual(len(runs), 2 * (len(evidence.BASELINES) + 1 + 1))
        self.assertTrue(any("rate=5" in r[3] for r in runs) and any(r[0] == "less gates" and "--without" in r[3] for r in runs))

    def test_nobody_is_tuned_on_the_worlds_that_are_held_out(self):
        held = evidence.scenarios("heldout/")
        self.assertGreaterEqual(len(held), 6)
        self.assertFalse({os.path.basename(n) for n in held} & set(evidence.scenarios()))
        with open(evidence.TUNED, encoding="utf-8") as f:
            self.assertEqual(json.load(f)["scenarios"], evidence.scenarios())
        runs = evidence.plan(held, [1], evidence.tuned_parameters())
        self.assertEqual(len(runs), len(held) * (len(evidence.BASELINES) + 2))
        self.assertTrue(all(os.path.exists(r[3][1]) for r in runs))


if __name__ == "__main__":
    unittest.main()
