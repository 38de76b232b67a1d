"""The work that all systems do: a newsletter of 10 KiB with fields of its own for every recipient, over 20 domains; the
same ten times as long; and one in which nothing but To is a recipient's own.

The template is what `remuda send` takes. For the others, which render nothing, the same message is rendered here, before
the clock starts: that work is in Remuda's figure and not in theirs."""

import csv
import hashlib

BODY_BYTES = 10240
LARGE_BYTES = 102400
SENDER = "news.example"
DOMAINS = [f"box{i:02}.example{i % 5}.test" for i in range(20)]
FIELDS = ("email", "name", "city", "order", "points", "link")

WORDS = ("the river carries what the hills let go and every harbour keeps a little of it while boats wait for wind or news "
         "from towns upstream where bread is baked before light and doors stand open until the first bell of the day").split()


def _paragraph(n):
    words = [WORDS[(n * 7 + i * (n % 5 + 1)) % len(WORDS)] for i in range(64)]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 70:
            lines.append(line)
            line = ""
        line += (" " if line else "") + word
    return "\n".join(lines + [line])


def body(body_bytes=BODY_BYTES):
    """The body's text with {{fields}}, LF; body_bytes when the fields are filled and lines end with CRLF."""
    parts = ["Dear {{name}},", "your order {{order}} from {{city}} has brought you {{points}} points.",
             "See it at {{link}}", ""]
    text, n = "\n\n".join(parts), 0
    end = "\n\nUntil next time, {{name}}. Your address is {{email}}.\n"

    def size(t):
        return len(fill(t + end, row(0)).replace("\n", "\r\n"))

    while size(text + _paragraph(n) + "\n\n") < body_bytes:
        text += _paragraph(n) + "\n\n"
        n += 1
    while size(text) < body_bytes:
        text += "." if text[-1] != "\n" else "and so on "
        if len(text) - text.rfind("\n") > 72:
            text += "\n"
    return text + end


def row(i, domain=None):
    """Fields of recipient i. The values' lengths are the same for all, so that every body has the same size."""
    token = hashlib.sha256(str(i).encode()).hexdigest()
    return {"email": f"user{i:07}@{domain or DOMAINS[i % len(DOMAINS)]}", "name": f"Recipient {token[:10]}",
            "city": f"Town {token[10:16]}", "order": f"{i:09}", "points": f"{int(token[16:20], 16):05}",
            "link": f"https://{SENDER}/o/{token[20:52]}"}


def fill(text, fields):
    for key, value in fields.items():
        text = text.replace("{{" + key + "}}", value)
    return text


def template(body_bytes=BODY_BYTES):
    return (f'From: "The News" <news@{SENDER}>\nTo: "{{{{name}}}}" <{{{{email}}}}>\n'
            "Subject: News for {{name}} on order {{order}}\nMIME-Version: 1.0\n"
            "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\n" + body(body_bytes))


def equal_template():
    """The same for all but To: with one_signature, one signature serves every recipient."""
    head, _, text = template().partition("\n\n")
    head = head.replace("Subject: News for {{name}} on order {{order}}", "Subject: News")
    return head + "\n\n" + fill(text, row(0))


def write_csv(path, count, domain=None):
    with open(path, "w", newline="") as f:
        out = csv.DictWriter(f, FIELDS, lineterminator="\r\n")
        out.writeheader()
        out.writerows(row(i, domain) for i in range(count))


class Rendered:
    """Messages as Remuda would send them, but for the signature: (envelope sender, recipient, bytes with the dot)."""

    def __init__(self):
        self.head, _, text = template().partition("\n\n")
        self.text = text

    def message(self, i, domain=None):
        fields = row(i, domain)
        token = hashlib.sha256(fields["email"].encode()).hexdigest()[:32]
        head = fill(self.head, fields).split("\n")
        head += ["Date: Mon, 24 Nov 2025 10:00:00 +0000", f"Message-ID: <{token}@{SENDER}>",
                 f"List-Unsubscribe: <https://u.{SENDER}/r/{token}>,\n <mailto:unsubscribe+{token}@bounce.{SENDER}>",
                 "List-Unsubscribe-Post: List-Unsubscribe=One-Click"]
        text = "\n".join(head) + "\n\n" + fill(self.text, fields)
        data = ("\n" + text).replace("\n.", "\n..")[1:].replace("\n", "\r\n").encode() + b".\r\n"
        return f"b+{token}@bounce.{SENDER}", fields["email"], data
