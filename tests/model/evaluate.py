"""How well the verdict rules and the model behind them read replies, in sample and without the source project that a reply comes
from. Reads the output of `accuracy TABLE --rows`.

    evaluate.py ROWS [OWN_ROWS...] [--without ROWS] [--verbose] [--misses]

OWN_ROWS are replies in our own words, and published ones: the model is trained with them, too; they are no part of the measurement. In
sample: all rules; the model trained on all replies. Held out: a reply of one project is judged by rules that also match a reply of
another project, or one that somebody publishes; and by a model trained without that project. "by pattern" is the same for each single
pattern of a rule. --without ROWS is the same table written without the published replies: what is published excuses no rule then, the
strictest measure, and a lower bound, because a pattern that was written from general knowledge and happens to match replies of one
project alone is counted out, too.

A rule that matches one reply alone, and none that is published, is memorised: that is a failure (exit code 1)."""
import os
import sys
from concurrent.futures import ProcessPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import learn

REPUTATION = {"ip_blocklisted", "domain_blocklisted", "spam_content", "auth_failed"}


def f1_table(pairs, show):
    tp, fp, fn = {}, {}, {}
    for row, got in pairs:
        if not row.strict:
            continue
        if got == row.cls:
            tp[got] = tp.get(got, 0) + 1
        else:
            fp[got] = fp.get(got, 0) + 1
            fn[row.cls] = fn.get(row.cls, 0) + 1
    scores = []
    if show:
        print(f"  {'class (strict rows)':20} {'rows':>5} {'precision':>9} {'recall':>7} {'F1':>6}")
    for c in learn.CLASSES:
        n = tp.get(c, 0) + fn.get(c, 0)
        if not n:
            continue
        p = tp.get(c, 0) / (tp.get(c, 0) + fp.get(c, 0)) if tp.get(c) else 0.0
        r = tp.get(c, 0) / n
        f = 2 * p * r / (p + r) if p + r else 0.0
        scores.append(f)
        if show:
            print(f"  {c:20} {n:5} {p:9.3f} {r:7.3f} {f:6.3f}")
    strict = sum(tp.values()) + sum(fn.values())
    return sum(scores) / len(scores), sum(tp.values()) / strict


def costly(pairs):
    wrong = [(r, g) for r, g in pairs if "*" not in r.accept and g not in r.accept]
    return (sum(r.cls in REPUTATION and g == "user_unknown" for r, g in wrong),
            sum(r.cls == "rate_limited" and g == "ip_blocklisted" for r, g in wrong),
            sum(r.cls == "ip_blocklisted" and g == "rate_limited" for r, g in wrong))


def report(name, rows, answer, verbose=False, misses=False):
    pairs = [(r, answer(r)) for r in rows]
    scored = [(r, g) for r, g in pairs if "*" not in r.accept]
    macro, strict = f1_table(pairs, verbose)
    right = sum(g in r.accept for r, g in scored) / len(scored)
    a, b, c = costly(pairs)
    print(f"{name:58} {macro:8.3f} {strict:8.3f} {right:8.3f}   {a:3} {b:3} {c:3}")
    if misses:
        for r, g in scored:
            if g not in r.accept:
                print(f"    {r.id} {'|'.join(sorted(r.accept))} got {g} {r.answers[1:2]}{r.answers[4:5]}: {r.reply[:240]}")


def trained_without(args):
    rows, own, source = args
    rest = [r for r in rows if r.source != source] + own
    return source, learn.to_integers(learn.train(rest, learn.shared_tokens(rest)))


def combine(level, model_of):
    """Rules that know words, the model, rules that know codes, the code."""
    def answer(r):
        strong, weak = r.answers[level], r.answers[3 + level]
        if strong:
            return strong[0]
        if model_of:
            cls, margin, words = learn.ask(model_of(r), r.tokens)
            if margin >= learn.MARGIN and words >= learn.WORDS:
                return cls
        return weak[0] if weak else "other"
    return answer


def main():
    args = sys.argv[1:]
    strict = []
    if "--without" in args:
        at = args.index("--without")
        strict = learn.read_table(args[at + 1])[0]
        del args[at:at + 2]
    paths = [a for a in args if not a.startswith("--")]
    rows, memorised = learn.read_table(paths[0])
    own = learn.own_rows(paths[1:])
    verbose, misses = "--verbose" in sys.argv, "--misses" in sys.argv
    sources = sorted({r.source for r in rows})
    whole = learn.to_integers(learn.train(rows + own, learn.shared_tokens(rows + own)))
    with ProcessPoolExecutor(2) as pool:
        without = dict(pool.map(trained_without, [(rows, own, s) for s in sources]))
    print(f"{'':58} {'macro-F1':>8} {'strict':>8} {'all':>8}   costly errors")
    report("in sample: rules", rows, combine(0, None))
    report("in sample: rules and model", rows, combine(0, lambda r: whole))
    report("held out by source: rules", rows, combine(1, None))
    report("held out by source: rules by pattern", rows, combine(2, None))
    report("held out by source: model alone", rows, lambda r: learn.ask(without[r.source], r.tokens)[0])
    report("held out by source: rules and model", rows, combine(1, lambda r: without[r.source]), verbose, misses)
    report("held out by source: rules by pattern, and model", rows, combine(2, lambda r: without[r.source]))
    for name, level, model in (("rules", 1, False), ("rules and model", 1, True), ("rules by pattern, and model", 2, True)):
        if strict:
            report(f"held out, published or not: {name}", strict, combine(level, (lambda r: without[r.source]) if model else None))
    print("costly errors: reputation or content read as user unknown, rate limit as block, block as rate limit")
    for name, where in memorised:
        print(f"{where}: rule {name} matches a single reply of the table, and cites nobody: memorised")
    return 1 if memorised else 0


if __name__ == "__main__":
    sys.exit(main())
