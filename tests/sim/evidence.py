#!/usr/bin/env python3
"""Evidence: every scenario, over many seeds, under Remuda, under tuned baselines, and under Remuda less each of its features.

    make evidence [QUICK=1]      build/evidence/evidence.txt, .json, .svg
    make evidence-heldout        the worlds that nobody tuned for: evidence-heldout.txt, .json; the evidence shows them, too, when the same
                                 program ran them
    make evidence-tune           searches the baselines' parameters anew: tests/sim/tuned.json

Runs are `build/sim --scenario FILE --seed N --sender S --json`, two at a time, and are kept by what they depend on (the program,
the scenarios, parameters, seed), so that an interrupted evidence goes on where it was. A run that fails fails the whole.

Baselines are tuned on training seeds that the evaluation never uses, by a search of a fixed number of evaluations over all
scenarios: half of them at random in the ranges that the sender states, half by changing one parameter of the best. Remuda gets the
same search; "remuda" is what is shipped all the same, "remuda, tuned" what the search found.

Worlds of scenarios/heldout are never searched on. They are evaluated with the same parameters, and told apart.
"""
import argparse
import concurrent.futures
import datetime
import hashlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import evidence_stats as stats  # noqa: E402
import evidence_svg as svg  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
TUNED = os.path.join(HERE, "tuned.json")
BASELINES = ["round-robin", "fixed-rate", "time-warmup", "suspension"]
FEATURES = ["gates", "concentration", "stickiness", "reputation", "canary", "probing", "moving", "networks", "breaker", "watch", "engagement", "pace"]
TRAINING, EVALUATION = 1, 1001  # first seeds
RUN_LIMIT_S = 240


class Stop(Exception):
    """With a clear word for whoever waits."""


def scenarios(part=""):
    """Names as --scenario has them, below scenarios/ and without .conf; part: "heldout/" for those that nobody tunes for."""
    folder = os.path.join(HERE, "scenarios", part)
    names = [n[:-5] for n in sorted(os.listdir(folder)) if n.endswith(".conf")]
    return [part + n for n in names if is_scenario(os.path.join(folder, n + ".conf"))]


def is_scenario(path):
    """Files that only others use have no scenario of their own."""
    with open(path, encoding="utf-8") as f:
        return any(ln.split("#")[0].strip().startswith("scenario") for ln in f)


def digest_of(paths):
    h = hashlib.sha256()
    for p in sorted(paths):
        with open(p, "rb") as f:
            h.update(os.path.basename(p).encode() + b"\0" + f.read())
    return h.hexdigest()


class Runner:
    """Runs the simulator, two at a time, within a time limit; remembers what it ran."""

    def __init__(self, build, jobs, limit_s, words):
        self.sim, self.jobs, self.limit_s, self.words = os.path.join(build, "sim"), jobs, limit_s, words
        self.cache = os.path.join(build, "evidence", "runs")
        os.makedirs(self.cache, exist_ok=True)
        folder = os.path.join(HERE, "scenarios")
        self.stamp = digest_of([self.sim] + [os.path.join(d, n) for d, _, names in os.walk(folder) for n in names])
        copy = os.path.join(self.cache, "sim")  # a build meanwhile changes nothing
        shutil.copy2(self.sim, copy + ".new")
        os.replace(copy + ".new", copy)
        self.sim = copy
        self.began, self.spent, self.ran, self.kept, self.lock = time.monotonic(), 0.0, 0, 0, threading.Lock()

    def path(self, args):
        key = hashlib.sha256((self.stamp + "\0" + "\0".join(args)).encode()).hexdigest()
        return os.path.join(self.cache, key[:40] + ".json")

    def one(self, args):
        """What the simulator printed, from before or now."""
        path = self.path(args)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                self.kept += 1
                return json.load(f)
        if time.monotonic() - self.began > self.limit_s:
            raise Stop(f"out of time after {self.limit_s / 60:.0f} minutes; what ran is kept, begin again to go on")
        began = time.monotonic()
        limit = RUN_LIMIT_S if "--scale" not in args else 3 * 3600
        done = subprocess.run([self.sim] + args, capture_output=True, text=True, timeout=limit)
        if done.returncode != 0:
            raise Stop(f"{self.sim} {' '.join(args)} failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()[-400:]}")
        out = json.loads(done.stdout)
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(done.stdout)
        os.replace(path + ".new", path)
        with self.lock:
            self.spent += time.monotonic() - began
            self.ran += 1
        return out

    def all(self, what, runs):
        """Every run of the list, in its order. The first failure stops the rest."""
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self.one, r) for r in runs]
            done, began, ran, told = 0, time.monotonic(), self.ran, 0.0
            for f in concurrent.futures.as_completed(futures):
                if f.exception():
                    for other in futures:
                        other.cancel()
                    raise f.exception()
                done += 1
                fresh = self.ran - ran
                left = (time.monotonic() - began) / fresh * (len(runs) - done) if fresh else 0
                if self.words and (time.monotonic() - told > 2 or done == len(runs)):
                    told = time.monotonic()
                    end = "\n" if done == len(runs) or not sys.stderr.isatty() else ""
                    sys.stderr.write(f"\r{what}: {done} of {len(runs)} runs, {(told - self.began) / 60:.1f} min, about {left / 60:.1f} min left  {end}")
                    sys.stderr.flush()
        return [f.result() for f in futures]


def arguments(scenario, seed, sender, settings=None, without=None):
    args = ["--scenario", os.path.join(os.path.relpath(HERE), "scenarios", scenario + ".conf"), "--seed", str(seed), "--sender", sender, "--json"]
    for k in sorted(settings or {}):
        args += ["--set", f"{k}={settings[k]:g}"]
    for f in without or []:
        args += ["--without", f]
    return args


# ---------------------------------------------------------------- tuning


def senders(build):
    out = subprocess.run([os.path.join(build, "sim"), "--baselines"], capture_output=True, text=True, check=True).stdout
    return {s["name"]: s["parameters"] for s in json.loads(out)}


def drawn(rng, p):
    low, high = p["min"], p["max"]
    if p.get("scale") == "log" and low > 0:
        return round(math.exp(rng.uniform(math.log(low), math.log(high))))
    return round(rng.uniform(low, high))


def stepped(rng, p, value):
    """Near the value: a factor, or a tenth of the range."""
    low, high = p["min"], p["max"]
    if p.get("scale") == "log" and low > 0:
        value = value * math.exp(rng.gauss(0, 0.5))
    else:
        value = value + rng.choice([-1, 1]) * max(1.0, abs(rng.gauss(0, 0.15)) * (high - low))
    return min(high, max(low, round(value)))


def propose(rng, parameters, best, k, budget):
    """The k-th trial: defaults, then at random, then one parameter of the best."""
    if k == 0:
        return {p["name"]: p["default"] for p in parameters}
    if k <= budget // 2 or best is None:
        return {p["name"]: drawn(rng, p) for p in parameters}
    p = parameters[k % len(parameters)]
    return dict(best, **{p["name"]: stepped(rng, p, best[p["name"]])})


def tune_one(runner, sender, parameters, names, seeds, budget):
    rng = random.Random(hashlib.sha256(sender.encode()).digest())
    best, best_score, trace = None, -math.inf, []
    for k in range(budget):
        trial = propose(rng, parameters, best, k, budget)
        runs = [arguments(n, s, sender, trial) for n in names for s in seeds]
        scores = [stats.score(r["metrics"]) for r in runner.all(f"{sender}, trial {k + 1} of {budget}", runs)]
        mean = sum(scores) / len(scores)
        trace.append(round(mean, 3))
        if mean > best_score:
            best, best_score = trial, mean
    print(f"{sender}: {trace[0]:.2f} with defaults, {best_score:.2f} with {best}")
    return {"set": best, "score": round(best_score, 3), "default_score": trace[0], "trials": trace}


def tune(args, runner):
    known, names = senders(args.build), scenarios()
    seeds = list(range(TRAINING, TRAINING + args.training_seeds))
    out = {"objective": stats.OBJECTIVE, "budget": args.budget, "training_seeds": seeds, "scenarios": names,
           "date": datetime.date.today().isoformat(), "senders": {}}
    for s in BASELINES + ["remuda"]:
        out["senders"][s] = tune_one(runner, s, known[s], names, seeds, args.budget)
        with open(TUNED, "w", encoding="utf-8") as f:
            json.dump(out, f, indent=1)
            f.write("\n")


# ---------------------------------------------------------------- evaluating


def plan(names, seeds, tuned, ablations=(), ablation_seeds=()):
    """(variant, scenario, seed, arguments) of every run; the cheap ones first, so that mistakes show early."""
    out = []
    for b in BASELINES:
        out += [(b, n, s, arguments(n, s, b, tuned["senders"].get(b, {}).get("set"))) for n in names for s in seeds]
    out += [("remuda", n, s, arguments(n, s, "remuda")) for n in names for s in seeds]
    own = tuned["senders"].get("remuda", {}).get("set")
    if own:
        out += [("remuda, tuned", n, s, arguments(n, s, "remuda", own)) for n in names for s in seeds]
    for f in ablations:
        out += [("less " + f, n, s, arguments(n, s, "remuda", None, [f])) for n in names for s in ablation_seeds]
    return out


def measured(runner, what, runs):
    results = stats.Results()
    for (variant, scenario, seed, _), r in zip(runs, runner.all(what, [r[3] for r in runs])):
        results.add(os.path.basename(scenario), variant, seed, r["metrics"])
    return results


def tables(results, variants):
    out = []
    for s in results.scenarios():
        out += [results.scenario_table(s, variants), "", "remuda surely differs:"] + results.differences(s, variants) + [""]
    return out + [results.overall_table(variants), "", results.firsts(variants), ""]


def held_words(held, variants, seeds):
    out = [f"Worlds nobody tuned for: {len(held.scenarios())} scenarios (tests/sim/scenarios/heldout), {len(seeds)} seeds; written before Remuda ran in them, "
           "and no parameter of anybody was searched on them.", "Senders, parameters, columns and marks are those of the worlds above.", ""]
    return "\n".join(out + tables(held, variants)) + "\n"


def words_of(results, variants, features, tuned, seeds, ablation_seeds, scale):
    out = [f"Evidence in our models: {len(results.scenarios())} scenarios, {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}); mean and 95 % interval "
           "(Student's t over seeds).",
           "Columns: " + HEADINGS_LINE, "* marks the first place and what can't be told from it (paired by seed); none where nobody differs.",
           f"Score: {stats.OBJECTIVE}.",
           f"Baselines: each the best of {tuned.get('budget', 0)} trials on other seeds ({tuned.get('date', 'not tuned')}). remuda: as shipped.", ""]
    out += tables(results, variants)
    if features:
        out += [f"What each feature is worth (over all scenarios and {len(ablation_seeds)} seeds, paired by seed; ! where the interval doesn't hold 0; score in points):",
                results.ablation_table(features), ""]
    out += scale_words(scale)
    return "\n".join(out) + "\n"


HEADINGS_LINE = stats.HEADINGS.replace("\n", " ")


def scale_words(scale):
    if not scale:
        return []
    rows = [[f"{r['sources']:,} sources, {r['nodes']} nodes, {r['domains']:,} domains", f"{r['messages']:,}", f"{r['days']:.1f}", f"{r['leases']:,}",
             f"{r['messages_a_lease']:.0f}", f"{r['core_us_a_message']:.2f}", f"{r['core_memory_mib']:.0f}", f"{r['peak_rss_mib']:.0f}"] for r in scale]
    out = [stats.table(rows, ["scale", "messages", "days", "leases", "a lease", "core us a message", "core MiB", "process MiB"])]
    if len(scale) == 2:
        a, b = scale
        out.append(f"from the first to the second: {b['messages'] / a['messages']:.1f} times the messages, {b['core_us_a_message'] / a['core_us_a_message']:.2f} "
                   f"times the processor time of each, {b['core_memory_mib'] / a['core_memory_mib']:.1f} times the core's memory")
    return out + [""]


def tuned_parameters():
    if not os.path.exists(TUNED):
        return {"senders": {}}
    with open(TUNED, encoding="utf-8") as f:
        return json.load(f)


def variants_of(results):
    """Those that ran, in the order of the tables."""
    some = results.of[results.scenarios()[0]]
    return [v for v in BASELINES + ["remuda", "remuda, tuned"] if v in some]


def write(runner, folder, files):
    for name, content in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(content)
    print(f"{folder}/{', '.join(files)}; {(time.monotonic() - runner.began) / 60:.1f} minutes ({runner.ran} runs now, {runner.kept} from before)")


def held_file(args):
    return os.path.join(args.build, "evidence", "evidence-heldout.json")


def held_before(args, runner):
    """What `make evidence-heldout` found with this program and these worlds; None."""
    if not os.path.exists(held_file(args)):
        return None, []
    with open(held_file(args), encoding="utf-8") as f:
        known = json.load(f)
    if known["stamp"] != runner.stamp:
        return None, []
    held = stats.Results()
    held.of = {s: {v: {int(k): m for k, m in seeds.items()} for v, seeds in variants.items()} for s, variants in known["runs"].items()}
    return held, known["seeds"]


def evaluate_held(args, runner):
    """The worlds that nobody tuned for."""
    seeds, tuned = list(range(EVALUATION, EVALUATION + args.seeds)), tuned_parameters()
    held = measured(runner, "held out", plan(scenarios("heldout/"), seeds, tuned))
    report = held_words(held, variants_of(held), seeds)
    print(report)
    write(runner, os.path.join(args.build, "evidence"),
          {"evidence-heldout.txt": report,
           os.path.basename(held_file(args)): json.dumps({"stamp": runner.stamp, "seeds": seeds, "tuned": tuned, "runs": held.of}, indent=1)})


def evaluate(args, runner):
    names = [args.only] if args.only else scenarios()
    seeds, tuned = list(range(EVALUATION, EVALUATION + args.seeds)), tuned_parameters()
    features = [] if args.quick or args.senders else FEATURES
    ablation_seeds = seeds[:args.ablation_seeds]
    results = measured(runner, "scenarios", plan(names, seeds, tuned, features, ablation_seeds))
    variants = variants_of(results)
    held, held_seeds = held_before(args, runner)
    scale = runner.all("scale", [["--scale", s, "--json"] for s in args.scale]) if args.scale else []
    note = (f"In our models: {len(names)} scenarios, {len(seeds)} seeds ({len(ablation_seeds)} for features); bars are means over the tuned scenarios with 95 % intervals over seeds.\n"
            f"Baselines tuned by {tuned.get('budget', 0)} trials each on other seeds; remuda as shipped.")
    report = words_of(results, variants, features, tuned, seeds, ablation_seeds, scale) + (held_words(held, variants_of(held), held_seeds) if held else "")
    print(report)
    write(runner, os.path.join(args.build, "evidence"),
          {"evidence.txt": report, "evidence.svg": svg.picture(results, held, variants, features, note, stats.interval),
           "evidence.json": json.dumps({"seeds": seeds, "tuned": tuned, "scale": scale, "runs": results.of, "heldout": held.of if held else {}}, indent=1)})


def main():
    p = argparse.ArgumentParser(description="Every scenario under Remuda, tuned baselines, and Remuda less each feature.")
    p.add_argument("--build", default="build")
    p.add_argument("--seeds", type=int, default=20)
    p.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    p.add_argument("--limit", type=float, default=29, help="minutes; then it stops with a word, and what ran is kept")
    p.add_argument("--only", help="one scenario, by its name below scenarios/ (heldout/digest)")
    p.add_argument("--heldout", action="store_true", help="the worlds that nobody tuned for")
    p.add_argument("--ablation-seeds", type=int, default=20, help="of the seeds, for Remuda less each feature: 12 features are most of the work")
    p.add_argument("--quick", action="store_true", help="3 seeds, without ablations")
    p.add_argument("--senders", action="store_true", help="senders alone, without ablations")
    p.add_argument("--scale", action="append", help="also a scale run of this size (may be repeated)")
    p.add_argument("--tune", action="store_true", help="search parameters and write tuned.json")
    p.add_argument("--budget", type=int, default=40, help="evaluations of each sender's search")
    p.add_argument("--training-seeds", type=int, default=2)
    args = p.parse_args()
    args.seeds = 3 if args.quick else args.seeds
    runner = Runner(args.build, args.jobs, args.limit * 60, True)
    try:
        (tune if args.tune else evaluate_held if args.heldout else evaluate)(args, runner)
    except (Stop, subprocess.TimeoutExpired) as e:
        sys.exit(f"\nevidence: {e}")


if __name__ == "__main__":
    main()
