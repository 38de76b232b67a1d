"""A DKIM signer for tests, slow and plain: openssl's command line does the arithmetic (RFC 6376, 8463)."""

import base64
import hashlib
import os
import re
import subprocess
import tempfile


def _openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


class Key:
    """A key pair. kind: "rsa" or "ed25519"; pem: the private key; record: the TXT content for DNS."""

    def __init__(self, domain, selector, kind="rsa", bits=2048):
        self.domain, self.selector, self.kind = domain, selector, kind
        if kind == "rsa":
            self.pem = _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}").decode()
        else:
            self.pem = _openssl("genpkey", "-algorithm", "ED25519").decode()
        der = _openssl("pkey", "-pubout", "-outform", "DER", data=self.pem.encode())
        public = der if kind == "rsa" else der[-32:]
        self.record = f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode()}"
        self.name = f"{selector}._domainkey.{domain}"

    def sign(self, data):
        fd, path = tempfile.mkstemp()
        try:
            os.write(fd, self.pem.encode())
            os.close(fd)
            if self.kind == "rsa":
                return _openssl("dgst", "-sha256", "-sign", path, data=data)
            with tempfile.NamedTemporaryFile() as digest:
                digest.write(hashlib.sha256(data).digest())
                digest.flush()
                return _openssl("pkeyutl", "-sign", "-rawin", "-inkey", path, "-in", digest.name)
        finally:
            os.unlink(path)


def _relaxed_header(name, value):
    value = re.sub(r"[ \t]+", " ", value.replace("\r\n", "")).strip()
    return f"{name.lower()}:{value}"


def _relaxed_body(body):
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def sign(message, key, headers=("From", "From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe",
                                "List-Unsubscribe-Post")):
    """The message (bytes, CRLF) with a DKIM-Signature in front. A name that stands once more than the message has the
    field is oversigned."""
    head, _, body = message.partition(b"\r\n\r\n")
    fields = [f.split(":", 1) for f in re.split(r"\r\n(?![ \t])", head.decode())]
    left, signed, names = list(fields), [], []
    for wanted in headers:
        match = [f for f in left if f[0].lower() == wanted.lower()]
        if match:
            left.remove(match[-1])
            signed.append(_relaxed_header(*match[-1]))
        elif wanted not in names:
            continue
        names.append(wanted)
    bh = base64.b64encode(hashlib.sha256(_relaxed_body(body)).digest()).decode()
    tags = (f"v=1; a={key.kind}-sha256; c=relaxed/relaxed; d={key.domain}; s={key.selector}; "
            f"h={':'.join(names)}; bh={bh}; b=")
    data = "".join(s + "\r\n" for s in signed) + _relaxed_header("DKIM-Signature", tags)
    b = base64.b64encode(key.sign(data.encode())).decode()
    return f"DKIM-Signature: {tags}{b}\r\n".encode() + message
