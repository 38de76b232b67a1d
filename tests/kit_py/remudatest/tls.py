"""Certificates of a test authority, signed zones with a validating resolver before them, policy hosts of MTA-STS, and
posttls-finger as a second opinion."""

import hashlib
import http.server
import os
import ssl
import subprocess
import threading

from .net import dns_query
from .proc import find_program, wait_until

CA_CONF = """[ca]
default_ca = own
[own]
database = {dir}/index.txt
serial = {dir}/serial
new_certs_dir = {dir}
certificate = {dir}/ca.pem
private_key = {dir}/ca.key
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


class Authority:
    """Issues certificates. A certificate is the path of a PEM file with its key, itself and the authority's: what Postfix calls
    chain files."""

    def __init__(self, work, name="authority"):
        self.work, self.dir = work, work.mkdir(name)
        self.ca = f"{self.dir}/ca.pem"
        work.write(f"{name}/index.txt", "")
        work.write(f"{name}/serial", "1000\n")
        self.conf = work.write(f"{name}/ca.cnf", CA_CONF.format(dir=self.dir))
        self._key(f"{self.dir}/ca.key")
        work.run(["openssl", "req", "-x509", "-new", "-key", f"{self.dir}/ca.key", "-subj", f"/CN=Test {name}", "-days", "30",
                  "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", self.ca])

    def _key(self, path):
        self.work.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path])

    def issue(self, name, names, expired=False, self_signed=False):
        base = f"{self.dir}/{name}"
        san = "subjectAltName=" + ",".join(f"DNS:{n}" for n in names)
        self._key(f"{base}.key")
        subject = f"/CN={name}"
        if self_signed:
            self.work.run(["openssl", "req", "-x509", "-new", "-key", f"{base}.key", "-subj", subject, "-addext", san, "-days", "30",
                           "-out", f"{base}.crt"])
        else:
            self.work.run(["openssl", "req", "-new", "-key", f"{base}.key", "-subj", subject, "-addext", san, "-out", f"{base}.csr"])
            when = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"] if expired else ["-days", "30"]
            self.work.run(["openssl", "ca", "-batch", "-notext", "-config", self.conf, *when, "-in", f"{base}.csr", "-out", f"{base}.crt"])
        parts = [f"{base}.key", f"{base}.crt"] + ([] if self_signed else [self.ca])
        with open(f"{base}.pem", "w") as out:
            for part in parts:
                with open(part) as f:
                    out.write(f.read())
        return f"{base}.pem"


def _der(argv):
    return subprocess.run(argv, check=True, capture_output=True).stdout


def tlsa(usage, selector, matching, certificate):
    """The value of a TLSA record for the first certificate in a PEM file."""
    der = _der(["openssl", "x509", "-in", certificate, "-outform", "DER"])
    if selector:
        pem = _der(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"])
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, check=True, capture_output=True).stdout
    data = {0: der.hex, 1: hashlib.sha256(der).hexdigest, 2: hashlib.sha512(der).hexdigest}[matching]()
    return f"{usage} {selector} {matching} {data}"


class Validator:
    """Knot with signed and unsigned zones, and unbound before it, which validates: at addr, port 53, because libresolv knows
    no other. It needs root.

    zones: {domain: [(owner, type, value)]}; unsigned: those that are not signed; bogus: those that are signed by keys that the
    validator doesn't trust."""

    def __init__(self, work, addr, zones, unsigned=(), bogus=(), name="validator"):
        self.work, self.addr, self.name = work, addr, name
        self.zones, self.unsigned, self.bogus = zones, set(unsigned), set(bogus)
        self.dir = work.mkdir(name)
        self.knot, self.unbound = find_program("knotd"), find_program("unbound")
        self.keymgr = find_program("keymgr")
        self.port = 5353

    @property
    def server(self):
        return self.addr

    def _zone(self, domain):
        rows = [f"$ORIGIN {domain}.", "$TTL 5", f"@ SOA ns hostmaster 1 3600 600 86400 5", "@ NS ns", f"ns A {self.addr}"]
        return "\n".join(rows + [f"{o} {t} {v}" for o, t, v in self.zones[domain]]) + "\n"

    def _knot_conf(self):
        conf = [f'server:\n    rundir: "{self.dir}"\n    listen: {self.addr}@{self.port}\n    udp-workers: 1\n    tcp-workers: 1\n'
                '    background-workers: 1', "log:\n  - target: stderr\n    any: warning", f'database:\n    storage: "{self.dir}"',
                f'template:\n  - id: default\n    storage: "{self.dir}"\n    file: "%s.zone"\n    zonefile-load: whole\n'
                '    zonefile-sync: -1\n    journal-content: none', "zone:"]
        for domain in self.zones:
            self.work.write(f"{self.name}/{domain}.zone", self._zone(domain))
            conf.append(f"  - domain: {domain}\n    dnssec-signing: {'off' if domain in self.unsigned else 'on'}")
        return self.work.write(f"{self.name}/knot.conf", "\n".join(conf) + "\n")

    def _anchors(self, conf):
        out = []
        for domain in self.zones:
            if domain in self.unsigned:
                continue
            text = subprocess.run([self.keymgr, "-c", conf, f"{domain}.", "ds"], check=True, capture_output=True, text=True).stdout
            tag, algorithm, kind, digest = next(line.split()[2:6] for line in text.splitlines() if line.split()[4] == "2")
            if domain in self.bogus:
                digest = digest[::-1]
            out.append(f'    trust-anchor: "{domain}. DS {tag} {algorithm} {kind} {digest}"')
        return out

    def start(self):
        conf = self._knot_conf()
        knot = self.work.start(f"{self.name}-knot", [self.knot, "-c", conf])
        wait_until(lambda: all(dns_query(self.addr, self.port, d, "SOA", 0.3)[1] for d in self.zones), 20, "Knot serves", knot)
        lines = ["server:", f"    interface: {self.addr}", "    port: 53", "    do-daemonize: no", '    username: ""', '    chroot: ""',
                 f'    directory: "{self.dir}"', '    pidfile: ""', "    use-syslog: no", "    access-control: 127.0.0.0/8 allow",
                 "    do-not-query-localhost: no", '    module-config: "validator iterator"', "    num-threads: 1",
                 "    val-log-level: 2", *self._anchors(conf)]
        for domain in self.zones:
            lines += ["stub-zone:", f'    name: "{domain}."', f"    stub-addr: {self.addr}@{self.port}"]
        lines += ["remote-control:", "    control-enable: no"]
        path = self.work.write(f"{self.name}/unbound.conf", "\n".join(lines) + "\n")
        child = self.work.start(f"{self.name}-unbound", [self.unbound, "-d", "-c", path])
        good = [d for d in self.zones if d not in self.bogus]
        wait_until(lambda: dns_query(self.addr, 53, good[0], "SOA", 0.5)[1], 20, "unbound answers", child)
        return self


class PolicyHosts:
    """HTTPS on addr:port for MTA-STS: by the name that a client asks for (SNI), a certificate; by path and Host, an answer.

    answers: {policy host: (certificate, status, headers, body)}."""

    def __init__(self, addr, port, answers):
        self.asked, self.answers = [], answers
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                host = self.headers["Host"].split(":")[0]
                outer.asked.append(host + self.path)
                _, status, headers, body = outer.answers.get(host, (None, 404, {}, ""))
                self.send_response(status)
                for k, v in ({"Content-Type": "text/plain"} | headers).items():
                    self.send_header(k, v)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((addr, port), Handler)
        contexts = {}
        for host, (certificate, *_) in answers.items():
            contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            contexts[host].load_cert_chain(certificate)
        first = next(iter(contexts.values()))

        def choose(sock, name, _):
            if name in contexts:
                sock.context = contexts[name]
        first.sni_callback = choose
        self.server.socket = first.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def finger(work, config, resolver, port, domain, level, ca, *match, timeout_s=60):
    """What posttls-finger says of a domain: "verified", "encrypted", "plain" or "refused", and its words. It runs in a mount
    namespace of its own with the resolver in /etc/resolv.conf."""
    resolv = work.write("finger.resolv.conf", f"nameserver {resolver}\noptions trust-ad\n")
    argv = [find_program("posttls-finger"), "-c", "-l", level, "-F", ca, "-t", "10", "-T", "10", "-L", "summary", "-o", "inet_protocols=ipv4",
            f"{domain}:{port}", *match]
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, resolv, *argv], capture_output=True, text=True, timeout=timeout_s,
                          check=False, env=dict(os.environ, MAIL_CONFIG=config, LC_ALL="C"))
    words = done.stdout + done.stderr
    if "Verified TLS connection established" in words:
        return "verified", words
    if "TLS connection established" in words:
        return ("encrypted" if level in ("may", "encrypt") or "unusable" in words else "refused"), words
    return "refused", words
