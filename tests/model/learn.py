"""The learned model's arithmetic: a linear classifier (multinomial logistic regression) over the tokens that proto/model.c makes.
Deterministic: rows in a fixed order, no randomness. Standard library only."""
import math

CLASSES = ["user_unknown", "mailbox_disabled", "mailbox_full", "no_such_domain", "rate_limited", "ip_blocklisted", "domain_blocklisted",
           "spam_content", "bad_message", "virus", "auth_failed", "no_rdns", "sender_invalid", "greylisted", "policy", "relay_denied",
           "tls_required", "message_too_big", "protocol_error", "server_busy", "network", "expired"]
# as in proto/model.c: answer, instead of
MISTAKES = [("ip_blocklisted", "rate_limited"), ("rate_limited", "ip_blocklisted")] + \
    [("user_unknown", c) for c in ("ip_blocklisted", "domain_blocklisted", "spam_content", "auth_failed")]
NUMBER = {c: i for i, c in enumerate(CLASSES)}
ROUNDS = 40
RATE = 0.5
DECAY = 0.0004          # of each weight and step: keeps rare tokens modest
PRUNE = 15              # hundredths: smaller weights say nothing
WEIGHT_MAX = 600
MARGIN = 30             # hundredths by which an answer must lead the second one
COSTLY = 200            # and an answer that could cost, any class for which it mustn't be taken
KNOWN = 5               # words, pairs and parts of words that an answer needs
ALIKE = 0.8             # of all words that two replies have: that many in common make them the same wording


class Row:
    __slots__ = ("id", "source", "cls", "accept", "strict", "matches", "tokens", "words", "reply")

    def __init__(self, line):
        f = line.rstrip("\n").split("\t")
        self.id, self.source, self.cls, self.accept = f[0], f[1], f[2], set(f[3].split("|"))
        self.strict = f[4] == "1"
        self.matches = [Match(m) for m in f[5].split("|") if m]
        self.tokens = sorted(set(f[6].split("|")))
        self.words = frozenset(t for t in self.tokens if t.startswith("w:") and t[2] not in "<#")
        self.reply = f[7] if len(f) > 7 else ""


class Match:
    """A pattern that matches, as RULE/NUMBER/CLASS/strong or weak."""
    __slots__ = ("pattern", "rule", "cls", "strong")

    def __init__(self, text):
        self.rule, number, self.cls, strength = text.split("/")
        self.pattern = f"{self.rule}/{number}"
        self.strong = strength == "strong"


def read_table(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return [Row(line) for line in f if "\t" in line]


def own_rows(paths):
    """What no project collected: each table counts as two sources, odd and even rows apart."""
    all_rows = []
    for n, path in enumerate(paths):
        for k, r in enumerate(read_table(path)):
            r.id, r.source = f"{n}-{r.id}", f"own{n}-{k % 2}"
            all_rows.append(r)
    return all_rows


def resemble(a, b):
    """Nearly the same words, whatever addresses, hosts, numbers and codes are in between."""
    common = len(a.words & b.words)
    return common >= ALIKE * (len(a.words) + len(b.words) - common)


def shared_tokens(rows, at_least=2):
    """Tokens that occur in at least so many source projects: what one project alone says is its wording, not a meaning."""
    seen = {}
    for r in rows:
        for t in r.tokens:
            if "\ufffd" in t:  # bytes that were no text
                continue
            seen.setdefault(t, set()).add(r.source)
    return {t for t, s in seen.items() if len(s) >= at_least}


def train(rows, tokens):
    """token -> list of weights, one a class. Adagrad: each token has its own step."""
    n = len(CLASSES)
    data = []
    for r in sorted(rows, key=lambda r: r.id):
        known = [t for t in r.tokens if t in tokens]
        accept = [NUMBER[c] for c in r.accept if c in NUMBER]
        if r.cls not in NUMBER or not known:
            continue
        want = [0.0] * n
        want[NUMBER[r.cls]] += 0.7 if len(accept) > 1 else 1.0
        if len(accept) > 1:
            for c in accept:
                want[c] += 0.3 / len(accept)
        data.append((known, want, 1.0 if r.strict else 0.6))
    weights = {t: [0.0] * n for t in tokens}
    grads = {t: [1e-4] * n for t in tokens}
    for _ in range(ROUNDS):
        for known, want, importance in data:
            z = [sum(col) for col in zip(*[weights[t] for t in known])]
            top = max(z)
            e = [math.exp(x - top) for x in z]
            total = sum(e)
            d = [(x / total - w) * importance for x, w in zip(e, want)]
            scale = 1.0 / math.sqrt(len(known))
            for t in known:
                w, g = weights[t], grads[t]
                for c in range(n):
                    dc = d[c] * scale + DECAY * w[c]
                    if dc > 1e-4 or dc < -1e-4:
                        g[c] += dc * dc
                        w[c] -= RATE * 0.3 * dc / math.sqrt(g[c])
    return weights


def to_integers(weights):
    """Hundredths, pruned; tokens without any weight left go."""
    out = {}
    for t, w in weights.items():
        mean = sum(w) / len(w)  # the same for every class tells nothing
        q = {c: max(-WEIGHT_MAX, min(WEIGHT_MAX, round(100 * (x - mean)))) for c, x in enumerate(w)}
        q = {c: x for c, x in q.items() if abs(x) >= PRUNE}
        if q:
            out[t] = q
    return out


def ask(model, tokens):
    """(class, whether it is sure), as proto/model.c answers."""
    total = [0] * len(CLASSES)
    known = 0
    for t in tokens:
        q = model.get(t)
        if q:
            known += t[0] in "wbg"
            for c, x in q.items():
                total[c] += x
    order = sorted(range(len(CLASSES)), key=lambda c: (-total[c], c))
    best, second = order[:2]
    costs = any(CLASSES[best] == answer and total[best] - total[NUMBER[other]] < COSTLY for answer, other in MISTAKES)
    return CLASSES[best], known >= KNOWN and total[best] - total[second] >= MARGIN and not costs
