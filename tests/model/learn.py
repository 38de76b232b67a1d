"""The learned model's arithmetic: a linear classifier (multinomial logistic regression) over the tokens that proto/model.c makes.
Deterministic: rows in a fixed order, no randomness. Standard library only."""
import math

CLASSES = ["user_unknown", "mailbox_disabled", "mailbox_full", "no_such_domain", "rate_limited", "ip_blocklisted", "domain_blocklisted",
           "spam_content", "bad_message", "virus", "auth_failed", "no_rdns", "sender_invalid", "greylisted", "policy", "relay_denied",
           "tls_required", "message_too_big", "protocol_error", "server_busy", "network", "expired"]
NUMBER = {c: i for i, c in enumerate(CLASSES)}
ROUNDS = 40
RATE = 0.5
DECAY = 0.0004          # of each weight and step: keeps rare tokens modest
PRUNE = 15              # hundredths: smaller weights say nothing
WEIGHT_MAX = 600
MARGIN = 30             # hundredths by which an answer must lead the second one
WORDS = 2               # known words that an answer needs


class Row:
    __slots__ = ("id", "source", "cls", "accept", "strict", "answers", "tokens", "reply")

    def __init__(self, line):
        f = line.rstrip("\n").split("\t")
        self.id, self.source, self.cls, self.accept = f[0], f[1], f[2], set(f[3].split("|"))
        self.strict = f[4] == "1"
        self.answers = [None if a == "-" else tuple(a.split("/", 1)) for a in f[5:11]]
        self.tokens = sorted(set(f[11].split("|")))
        self.reply = f[12] if len(f) > 12 else ""


def read_rows(lines):
    """Rows, and the memorised rules that the table named."""
    rows, memorised = [], []
    for line in lines:
        if line.startswith("#memorised\t"):
            memorised.append(line.rstrip("\n").split("\t")[1:])
        elif "\t" in line:
            rows.append(Row(line))
    return rows, memorised


def read_table(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return read_rows(f)


def own_rows(paths):
    """Our own wording: each table counts as two sources, odd and even rows apart."""
    all_rows = []
    for n, path in enumerate(paths):
        rows = read_table(path)[0]
        for k, r in enumerate(rows):
            r.id, r.source = f"{n}-{r.id}", f"own{n}-{k % 2}"
        all_rows += rows
    return all_rows


def shared_tokens(rows, at_least=2):
    """Tokens that occur in at least so many source projects: what one project alone says is its wording, not a meaning."""
    seen = {}
    for r in rows:
        for t in r.tokens:
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
    """(class, margin, words), as proto/model.c answers."""
    total = [0] * len(CLASSES)
    words = 0
    for t in tokens:
        q = model.get(t)
        if q:
            words += t[0] in "wb"
            for c, x in q.items():
                total[c] += x
    order = sorted(range(len(CLASSES)), key=lambda c: (-total[c], c))
    return CLASSES[order[0]], total[order[0]] - total[order[1]], words
