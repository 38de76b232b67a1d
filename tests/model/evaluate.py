"""How well the verdict rules and the model behind them read replies, in sample and held out. Reads the output of `accuracy TABLE --rows`.

    evaluate.py ROWS [OWN_ROWS...] FACTS_ROWS [--verbose] [--misses]

OWN_ROWS and FACTS_ROWS train the model, too; they are no part of the measurement. In sample: all patterns; the model trained on all
replies. Held out: a reply of one project is judged by a model trained without that project, and by those patterns alone that match a reply
of another project which doesn't resemble it; "with facts" also by those that match, and read rightly, a reply of FACTS_ROWS which doesn't
resemble it. Nothing of whatever table that resembles a reply of the project is in its model's training."""
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
                print(f"    {r.id} {'|'.join(sorted(r.accept))} got {g} {[m.rule for m in r.matches][:3]}: {r.reply[:240]}")


def trained_without(args):
    rows, own, source = args
    held_out = [r for r in rows if r.source == source]
    rest = [r for r in rows + own if r.source != source and not any(learn.resemble(r, h) for h in held_out)]
    return source, learn.to_integers(learn.train(rest, learn.shared_tokens(rest)))


def known_elsewhere(rows, facts):
    """(row id, pattern) -> "project" when a reply of another project shows the pattern, "fact" when only a fact does."""
    by_pattern, named = {}, {}
    for r in rows:
        for m in r.matches:
            by_pattern.setdefault(m.pattern, []).append(r)
    for r in facts:
        for m in r.matches:
            if m.cls == r.cls:
                named.setdefault(m.pattern, []).append(r)
    known = {}
    for r in rows:
        for m in r.matches:
            if any(o.source != r.source and not learn.resemble(o, r) for o in by_pattern[m.pattern]):
                known[r.id, m.pattern] = "project"
            elif any(not learn.resemble(o, r) for o in named.get(m.pattern, ())):
                known[r.id, m.pattern] = "fact"
    return known


def combine(usable, model_of):
    """Rules that know words, the model, rules that know codes, the code."""
    def answer(r):
        matches = [m for m in r.matches if usable(r, m)]
        strong = [m for m in matches if m.strong]
        if strong:
            return strong[0].cls
        if model_of:
            cls, sure = learn.ask(model_of(r), r.tokens)
            if sure:
                return cls
        return matches[0].cls if matches else "other"
    return answer


def main():
    paths = [a for a in sys.argv[1:] if not a.startswith("--")]
    verbose, misses = "--verbose" in sys.argv, "--misses" in sys.argv
    rows, facts, own = learn.read_table(paths[0]), learn.read_table(paths[-1]), learn.own_rows(paths[1:])
    sources = sorted({r.source for r in rows})
    whole = learn.to_integers(learn.train(rows + own, learn.shared_tokens(rows + own)))
    with ProcessPoolExecutor(2) as pool:
        without = dict(pool.map(trained_without, [(rows, own, s) for s in sources]))
    known = known_elsewhere(rows, facts)

    def everything(r, m):
        return True

    def with_facts(r, m):
        return (r.id, m.pattern) in known

    def without_facts(r, m):
        return known.get((r.id, m.pattern)) == "project"

    def held_out(r):
        return without[r.source]

    print(f"{'':58} {'macro-F1':>8} {'strict':>8} {'all':>8}   costly errors")
    report("in sample: rules", rows, combine(everything, None))
    report("in sample: rules and model", rows, combine(everything, lambda r: whole))
    report("held out: model alone", rows, lambda r: learn.ask(held_out(r), r.tokens)[0])
    report("held out: rules", rows, combine(without_facts, None))
    report("held out: rules with facts", rows, combine(with_facts, None))
    report("held out: rules and model", rows, combine(without_facts, held_out), verbose, misses)
    report("held out: rules with facts, and model", rows, combine(with_facts, held_out))
    print("costly errors: reputation or content read as user unknown, rate limit as block, block as rate limit")


if __name__ == "__main__":
    main()
