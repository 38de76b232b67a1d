"""The picture of the evidence: how much is seen by people, a panel a scenario; addresses lost, deferrals, and what each feature is worth.

Plain SVG on its own light background, so that it reads on dark pages too. No library.
"""
import math
from html import escape

WIDTH, MARGIN, GAP, COLUMNS = 960, 28, 22, 4
PANEL_H, BAR_H = 118, 20
INK, GREY, GRID, PAPER = "#1f2328", "#59636e", "#e4e7eb", "#ffffff"
COLOUR = {"remuda": "#0b6e4f", "round-robin": "#b42318", "fixed-rate": "#b7791f", "time-warmup": "#3b5bdb", "suspension": "#8a4fbe",
          "remuda, tuned": "#5fb08f"}
DAYS = [("seen_1d", "1"), ("seen_3d", "3"), ("seen_7d", "7"), ("seen_30d", "30")]


def text(x, y, s, size=11, colour=INK, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escape(s)}</text>')


def line(x1, y1, x2, y2, colour=GRID, width=1.0):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def legend(variants, y):
    out, x = [], MARGIN
    for v in variants:
        out.append(line(x, y - 4, x + 20, y - 4, COLOUR.get(v, GREY), 3.5 if v == "remuda" else 2))
        out.append(text(x + 25, y, v, 12, weight="bold" if v == "remuda" else "normal"))
        x += 42 + 7.0 * len(v)
    return out


def floor_of(series):
    low = min((m for s in series for m in s if not math.isnan(m)), default=0.0)
    return max(0.0, math.floor(low * 10 - 0.5) / 10)


def panel(results, scenario, variants, x, y, w, h, interval):
    """Lines over four points in time; the axis begins where the lowest sender needs it, and says so."""
    series = {v: [interval(results.values(scenario, v, key))[0] for key, _ in DAYS] for v in variants}
    low, left, top, bottom = floor_of(series.values()), x + 30, y + 20, y + h - 16
    out = [text(x, y + 10, scenario, 12, weight="bold")]

    def at(value):
        return bottom - (value - low) / (1.0 - low) * (bottom - top)

    for tick in (low, (1.0 + low) / 2, 1.0):
        out.append(line(left, at(tick), x + w, at(tick)))
        out.append(text(left - 4, at(tick) + 3.5, f"{tick * 100:.0f} %" if tick == 1.0 else f"{tick * 100:.0f}", 9, GREY, "end"))
    xs = [left + 10 + i * (w - 50) / 3 for i in range(4)]
    for i, (_, label) in enumerate(DAYS):
        out.append(text(xs[i], y + h - 3, label + (" d" if i in (0, 3) else ""), 9, GREY, "middle"))
    for v in sorted(variants, key=lambda v: v == "remuda"):  # ours on top
        points = [(xs[i], at(m)) for i, m in enumerate(series[v]) if not math.isnan(m)]
        if not points:
            continue
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        width = 3 if v == "remuda" else 1.6
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOUR.get(v, GREY)}" stroke-width="{width}" stroke-linejoin="round"/>')
        out += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{width:.1f}" fill="{COLOUR.get(v, GREY)}"/>' for px, py in points]
    return out


def bars(title, rows, x, y, w, label_w, digits=1, colour=None):
    """Rows of (label, mean, half): bars from 0 with whiskers. With a colour of their own they may be negative; counts never are."""
    rows = [r for r in rows if not math.isnan(r[1])]
    signed = colour is not None
    out = [text(x, y + 10, title, 12, weight="bold")]
    low = min([0.0] + [m - h for _, m, h in rows]) if signed else 0.0
    high = max([0.0] + [m + h for _, m, h in rows])
    span = (high - low) or 1.0
    left, right = x + label_w, x + w - 48

    def at(value):
        return left + (value - low) / span * (right - left)

    for i, (label, mean, half) in enumerate(rows):
        mid = y + 28 + i * BAR_H
        fill = colour(label, mean, half) if colour else COLOUR.get(label, GREY)
        a, b = sorted((at(0.0), at(mean)))
        out.append(text(x + label_w - 8, mid + 4, label, 11, anchor="end", weight="bold" if label == "remuda" else "normal"))
        out.append(f'<rect x="{a:.1f}" y="{mid - 6:.1f}" width="{max(b - a, 0.5):.1f}" height="12" fill="{fill}" fill-opacity="0.8"/>')
        out.append(line(at(max(low, mean - half)), mid, at(mean + half), mid, INK, 1.2))
        out.append(text(x + w, mid + 4, f"{mean:+.{digits}f}" if signed else f"{mean:.{digits}f}", 10, GREY, "end"))
    out.append(line(at(0.0), y + 18, at(0.0), y + 22 + len(rows) * BAR_H, GREY, 1))
    return out


def worth_colour(_, mean, half):
    return GREY if abs(mean) <= half else COLOUR["remuda"] if mean > 0 else COLOUR["round-robin"]


def panels(results, variants, y, interval):
    """(elements, the y below them)"""
    w, out = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS, []
    for i, s in enumerate(results.scenarios()):
        out += panel(results, s, variants, MARGIN + i % COLUMNS * (w + GAP), y + i // COLUMNS * (PANEL_H + GAP), w, PANEL_H, interval)
    return out, y + -(-len(results.scenarios()) // COLUMNS) * (PANEL_H + GAP)


def picture(results, held, variants, features, note, interval):
    """The whole SVG, as text. held: of worlds that nobody tuned for, or None; features: [] leaves the ablations out."""
    out = [text(MARGIN, 34, "Seen by people, per cent of those who could see it, 1 to 30 days after it was submitted", 15, weight="bold")]
    out += legend(variants, 58)
    more, y = panels(results, variants, 78, interval)
    out += more
    if held:
        out.append(text(MARGIN, y + 14, "Likewise, in worlds that nobody tuned for", 13, weight="bold"))
        more, y = panels(held, variants, y + 28, interval)
        out += more
    y += 10
    half = (WIDTH - 2 * MARGIN - GAP) / 2
    groups = [("IP-days lost, mean of the scenarios", "ip_days_lost", 1), ("Listings", "listings", 2), ("Deferrals a message", "deferrals_per_message", 2)]
    left = right = y
    for i, (title, key, digits) in enumerate(groups):
        rows = [(v, *interval(results.overall(v, key))) for v in variants]
        beside = i == 2 and not features
        out += bars(title, rows, MARGIN + half + GAP if beside else MARGIN, right if beside else left, half, 110, digits)
        left += 0 if beside else 36 + len(rows) * BAR_H
    if features:
        rows = sorted(((f, *results.worth(f)) for f in features), key=lambda r: -r[1])
        out += bars("What each feature is worth, in points of the score", rows, MARGIN + half + GAP, y, half, 110, 2, worth_colour)
        right += 36 + len(rows) * BAR_H
        out.append(text(MARGIN + half + GAP, right, "grey: can't be told from nothing; red: it does harm", 10, GREY))
        right += 16
    bottom = max(left, right) + 8
    for i, words in enumerate(note.split("\n")):
        out.append(text(MARGIN, bottom + 8 + 15 * i, words, 10.5, GREY))
    height = bottom + 15 * (note.count("\n") + 1) + 14
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}" '
            f'font-family="Helvetica, Arial, sans-serif" role="img" aria-label="Evidence: senders compared in simulated worlds">')
    paper = f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8" fill="{PAPER}" stroke="{GRID}"/>'
    return "\n".join([head, paper] + out + ["</svg>", ""])
