"""Figures of many runs: means with 95 % intervals (Student's t over seeds), paired differences, tables.

A run is what `build/sim --scenario ... --json` printed. `by_seed(runs, key)` gives one number a seed; everything else works on such lists.
"""
import math

# What is shown of a run: key of its metrics, heading, decimals, and whether less is better.
COLUMNS = [
    ("seen_1d", "seen 1 d", "percent", False),
    ("seen_3d", "3 d", "percent", False),
    ("seen_7d", "7 d", "percent", False),
    ("seen_30d", "30 d", "percent", False),
    ("time_to_complete_h", "hours", 1, True),
    ("deferrals_per_message", "deferrals", 2, True),
    ("listings", "listings", 1, True),
    ("ip_days_lost", "IP-days lost", 1, True),
    ("complaints", "complaints", 1, True),
    ("wrong_suppressions", "wrongly suppr.", 1, True),
]
HEADINGS = ("seen by people after 1, 3, 7 and 30 days in per cent of those who could; hours until 95 % of a campaign's mail is through; "
            "deferrals a message;\nlistings; days of an address lost to blocks and listings; complaints; people wrongly suppressed")

# What the searches maximise, and what an ablation's worth is told in: points of 100.
OBJECTIVE = ("mean of seen after 1, 3, 7 and 30 days, in points of 100; less 1 a listing, 0.2 an IP-day lost, "
             "and 1 for each per cent of messages whose recipient was wrongly suppressed")

# Two-sided 95 % quantiles of Student's t by degrees of freedom; beyond, the next lower one that is known.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 11: 2.201, 12: 2.179,
       13: 2.160, 14: 2.145, 15: 2.131, 16: 2.120, 17: 2.110, 18: 2.101, 19: 2.093, 20: 2.086, 25: 2.060, 30: 2.042, 40: 2.021,
       60: 2.000, 120: 1.980}


def score(metrics):
    seen = [number(metrics, k) for k in ("seen_1d", "seen_3d", "seen_7d", "seen_30d")]
    messages = max(1.0, number(metrics, "messages"))
    return (100 * sum(seen) / 4 - number(metrics, "listings") - 0.2 * number(metrics, "ip_days_lost")
            - 100 * number(metrics, "wrong_suppressions") / messages)


def number(metrics, key):
    """Of a run; what never came to pass (null) is not a number, and shown as such."""
    value = metrics.get(key)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else math.nan


def t95(n):
    return T95[max(d for d in T95 if d <= max(1, n - 1))]


def interval(values):
    """(mean, half width of the 95 % interval); the half is 0 for a single value, and both are NaN without any."""
    values = [v for v in values if not math.isnan(v)]
    if not values:
        return math.nan, math.nan
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, 0.0
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, t95(len(values)) * math.sqrt(variance / len(values))


def paired(a, b):
    """a less b, seed by seed."""
    return interval([x - y for x, y in zip(a, b)])


def clear(difference):
    """The interval doesn't hold 0."""
    mean, half = difference
    return not math.isnan(mean) and abs(mean) > half and mean != 0


def shown(mean, half, form):
    if math.isnan(mean):
        return "-"
    scale, digits = (100, 1) if form == "percent" else (1, form)
    return f"{mean * scale:.{digits}f} \u00b1{half * scale:.{digits}f}"


def best_of(columns, less):
    """Indexes of rows that share the first place: the best mean, and those that can't be told from it. None when all do."""
    means = [interval(c)[0] for c in columns]
    known = [m for m in means if not math.isnan(m)]
    if not known:
        return set()
    top = means.index(min(known) if less else max(known))
    first = {i for i, c in enumerate(columns) if i == top or (not math.isnan(means[i]) and not clear(paired(c, columns[top])))}
    return set() if len(first) == len(columns) else first


def table(rows, headings):
    """Aligned text; the first column to the left, others to the right."""
    width = [max(len(r[i]) for r in [headings] + rows) for i in range(len(headings))]

    def line(r):
        return "  ".join(c.ljust(width[i]) if i == 0 else c.rjust(width[i]) for i, c in enumerate(r)).rstrip()

    return "\n".join(line(r) for r in [headings] + rows)


class Results:
    """Metrics by scenario, variant (a sender, or "remuda less X") and seed."""

    def __init__(self):
        self.of = {}

    def add(self, scenario, variant, seed, metrics):
        self.of.setdefault(scenario, {}).setdefault(variant, {})[seed] = metrics

    def values(self, scenario, variant, key, beside=None):
        """By seed; beside: only of seeds that this other variant ran with, too."""
        runs = self.of[scenario][variant]
        if beside:
            runs = {s: r for s, r in runs.items() if s in self.of[scenario][beside]}
        if key == "score":
            return [score(runs[s]) for s in sorted(runs)]
        return [number(runs[s], key) for s in sorted(runs)]

    def scenarios(self):
        return sorted(self.of)

    def scenario_table(self, scenario, variants):
        columns = []
        for key, _, form, less in COLUMNS:
            values = [self.values(scenario, v, key) for v in variants]
            first = best_of(values, less)
            columns.append([shown(*interval(x), form) + ("*" if i in first else " ") for i, x in enumerate(values)])
        return table([[v] + [c[i] for c in columns] for i, v in enumerate(variants)], [scenario] + [c[1] + " " for c in COLUMNS])

    def differences(self, scenario, variants, against="remuda"):
        """Lines: where the sender under test is surely better or worse than each other one."""
        lines = []
        for v in variants:
            if v == against:
                continue
            better, worse = [], []
            for key, heading, form, less in COLUMNS:
                d = paired(self.values(scenario, against, key), self.values(scenario, v, key))
                if clear(d):
                    heading = heading if heading.startswith("seen") or form != "percent" else "seen " + heading
                    (better if (d[0] < 0) == less else worse).append(f"{heading} {d[0] * (100 if form == 'percent' else 1):+.{1 if form == 'percent' else form}f}")
            lines.append(f"  against {v}: better in {', '.join(better) or 'nothing'}; worse in {', '.join(worse) or 'nothing'}")
        return lines

    def overall(self, variant, key, beside=None):
        """Mean over the scenarios, seed by seed: the interval is over seeds."""
        columns = [self.values(s, variant, key, beside) for s in self.scenarios()]
        means = []
        for seed in zip(*columns):
            known = [v for v in seed if not math.isnan(v)]
            means.append(sum(known) / len(known) if known else math.nan)
        return means

    def overall_table(self, variants):
        rows, columns = [], []
        for key, _, form, less in COLUMNS + [("score", "score", 2, False)]:
            values = [self.overall(v, key) for v in variants]
            first = best_of(values, less)
            columns.append([shown(*interval(x), form) + ("*" if i in first else " ") for i, x in enumerate(values)])
        for i, v in enumerate(variants):
            rows.append([v] + [c[i] for c in columns])
        return table(rows, ["all scenarios"] + [c[1] + " " for c in COLUMNS] + ["score "])

    def firsts(self, variants):
        """How often each sender has, or shares, the first place, by column."""
        rows = []
        for v in range(len(variants)):
            row = [variants[v]]
            for key, _, _, less in COLUMNS:
                n = sum(v in best_of([self.values(s, x, key) for x in variants], less) for s in self.scenarios())
                row.append(str(n))
            rows.append(row)
        return table(rows, ["first or shared"] + [c[1] for c in COLUMNS])

    def worth(self, feature, key="score"):
        """What a feature is worth over all scenarios: full less without it."""
        return paired(self.overall("remuda", key, "less " + feature), self.overall("less " + feature, key))

    def worth_in(self, scenario, feature, key="score"):
        return paired(self.values(scenario, "remuda", key, "less " + feature), self.values(scenario, "less " + feature, key))

    def ablation_table(self, features):
        keys = [("score", "score", 2), ("seen_1d", "seen 1 d", "percent"), ("seen_30d", "30 d", "percent"), ("deferrals_per_message", "deferrals", 3),
                ("listings", "listings", 2), ("ip_days_lost", "IP-days lost", 2), ("complaints", "complaints", 2)]
        rows = []
        for f in features:
            row = [f]
            for key, _, form in keys:
                d = self.worth(f, key)
                row.append(shown(*d, form) + ("!" if clear(d) else " "))
            per = [(self.worth_in(s, f), s) for s in self.scenarios()]
            surely = [(d[0], s) for d, s in per if clear(d)]
            helps = max((x for x in surely if x[0] > 0), default=None)
            harms = min((x for x in surely if x[0] < 0), default=None)
            row.append(f"{helps[1]} {helps[0]:+.1f}" if helps else "-")
            row.append(f"{harms[1]} {harms[0]:+.1f}" if harms else "-")
            rows.append(row)
        return table(rows, ["full less without"] + [k[1] + " " for k in keys] + ["helps most in", "harms most in"])
