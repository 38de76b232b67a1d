"""The receiving side: remuda-receivers, authoritative DNS (Knot, else NSD), rbldnsd, smtp-sink."""

import concurrent.futures
import ipaddress
import os
import signal
import socket
import threading
import time

from .jsonl import Follower, read_jsonl
from .net import dns_query, free_port, port_open
from .proc import Failed, Missing, as_user, find_program, wait_until


def find_receivers():
    """The built program: $REMUDA_RECEIVERS, or $BUILD or build below the root of the tree."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    build = os.path.join(root, os.environ.get("BUILD", "build"))
    path = os.environ.get("REMUDA_RECEIVERS", os.path.join(build, "tests/receivers/remuda-receivers"))
    if not os.access(path, os.X_OK):
        raise Missing(f"{path}: not built")
    return path


def _value(v):
    if isinstance(v, bool):
        return "on" if v else "off"
    if isinstance(v, (list, tuple)):
        return ", ".join(map(str, v))
    return str(v).replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n") if isinstance(v, str) and (
        "\n" in v or "\r" in v) else str(v)


def receivers_config(providers, defaults=None, **options):
    """The configuration text. providers: {name: {setting: value}}; lists become comma-separated; `block` is a list of
    (net, stages, text)."""
    out = [f"{k} = {_value(v)}" for k, v in options.items()]
    if defaults:
        out += ["defaults {"] + [f"    {k} = {_value(v)}" for k, v in defaults.items()] + ["}"]
    for name, settings in providers.items():
        out.append(f"provider {name} {{")
        for k, v in settings.items():
            if k == "block":
                out += [f"    block = {net} {stages} {text}" for net, stages, text in v]
            else:
                out.append(f"    {k} = {_value(v)}")
        out.append("}")
    return "\n".join(out) + "\n"


class Receivers:
    """remuda-receivers. providers and options as in receivers_config(); the transcript survives restarts."""

    def __init__(self, work, providers, defaults=None, name="receivers", program=None, **options):
        self.work, self.name = work, name
        self.program = program or find_receivers()
        self.config = work.write(f"{name}.conf", receivers_config(providers, defaults, **options))
        self.log = work.path(f"{name}.jsonl")
        self.socket = work.path(f"{name}.ctl")
        self.child = None

    def start(self):
        ready, write = os.pipe()
        os.set_inheritable(write, True)
        try:
            self.child = self.work.start(self.name, [self.program, "--config", self.config, "--log", self.log,
                                                     "--control", self.socket, "--ready-fd", str(write)],
                                         pass_fds=[write])
        finally:
            os.close(write)
        with os.fdopen(ready, "rb") as f:
            if f.read(6) != b"ready\n":
                self.child.wait(10)
                raise Failed(f"{self.name} did not start\n{self.child.log_tail()}")
        return self

    def stop(self):
        """Ends it after what it accepted is verified; returns the exit status."""
        return self.child.end(120)

    def control(self, command):
        """One command; returns what follows "ok". Raises Failed with the program's words."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(self.socket)
            s.sendall(command.encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                part = s.recv(65536)
                if not part:
                    raise Failed(f"{self.name}: no answer to {command!r}")
                answer += part
        text = answer.decode().rstrip("\n")
        if not text.startswith("ok"):
            raise Failed(f"{self.name}: {command!r}: {text}")
        return text[2:].strip()

    def block(self, provider, ip, stage, text):
        self.control(f"block {provider} {ip} {stage} {text}")

    def unblock(self, provider, ip):
        self.control(f"unblock {provider} {ip}")

    def stats(self, provider=""):
        import json
        return json.loads(self.control(f"stats {provider}".strip()))

    def verified(self, timeout_s=60):
        """Waits until every accepted message was verified."""
        wait_until(lambda: self.stats()["verify_pending"] == 0, timeout_s, "every signature is verified", self.child)

    def transcript(self, event=None, **match):
        """All lines, or those of an event whose members equal the given values."""
        return [e for e in read_jsonl(self.log) if (event is None or e["event"] == event)
                and all(e.get(k) == v for k, v in match.items())]

    def follow(self):
        return Follower(self.log)


class Dns:
    """An authoritative server. zones: {domain: [(owner, type, value)]}, owner "@" or relative or absolute with a dot.

    TXT values are given unquoted and split as needed. Every top in `tops` is served too, empty unless given, so that an
    unknown name is NXDOMAIN instead of REFUSED."""

    def __init__(self, work, addr, port=None, zones=None, kind=None, tops=("test",), name="dns", ttl=2):
        self.work, self.addr, self.name, self.ttl = work, addr, name, ttl
        self.port = port or free_port(addr)
        self.zones = {top: [] for top in tops} | dict(zones or {})
        self.kind = kind or ("knot" if _installed("knotd") else "nsd")
        self.program = find_program("knotd" if self.kind == "knot" else "nsd")
        self.serial = 0
        self.child = None
        self.dir = work.mkdir(name)

    @property
    def server(self):
        return f"[{self.addr}]:{self.port}" if ":" in self.addr else f"{self.addr}:{self.port}"

    def _zone_text(self, domain, records):
        out = [f"$ORIGIN {domain}.", f"$TTL {self.ttl}",
               f"@ SOA ns.{domain}. hostmaster.{domain}. {self.serial} 3600 600 86400 {self.ttl}", f"@ NS ns.{domain}."]
        if not any(owner == "ns" for owner, _, _ in records):
            out.append(f"ns {'AAAA' if ':' in self.addr else 'A'} {self.addr}")
        for owner, kind, value in records:
            if kind == "TXT" and not value.startswith('"'):
                value = " ".join('"%s"' % value[i:i + 250].replace("\\", "\\\\").replace('"', '\\"')
                                 for i in range(0, max(1, len(value)), 250))
            out.append(f"{owner} {kind} {value}")
        return "\n".join(out) + "\n"

    def _write(self):
        self.serial += 1
        for domain, records in self.zones.items():
            self.work.write(f"{self.name}/{domain}.zone", self._zone_text(domain, records))
        knot = [f'server:\n    rundir: "{self.dir}"\n    listen: {self.addr}@{self.port}\n    udp-workers: 1\n'
                f'    tcp-workers: 1\n    background-workers: 1\n    automatic-acl: off',
                'log:\n  - target: stderr\n    any: info', f'database:\n    storage: "{self.dir}"',
                f'template:\n  - id: default\n    storage: "{self.dir}"\n    file: "%s.zone"\n    zonefile-load: whole\n'
                '    zonefile-sync: -1\n    journal-content: none', "zone:"]
        nsd = [f'server:\n    ip-address: {self.addr}@{self.port}\n    zonesdir: "{self.dir}"\n    username: ""\n'
               f'    pidfile: ""\n    database: ""\n    zonelistfile: "{self.dir}/zone.list"\n    server-count: 1\n'
               f'    xfrdfile: "{self.dir}/xfrd.state"\n    xfrdir: "{self.dir}"\n    chroot: ""\n    rrl-ratelimit: 0',
               "remote-control:\n    control-enable: no"]
        for domain in self.zones:
            knot.append(f"  - domain: {domain}")
            nsd.append(f'zone:\n    name: "{domain}"\n    zonefile: "{domain}.zone"')
        return self.work.write(f"{self.name}.conf", "\n".join(knot if self.kind == "knot" else nsd) + "\n")

    def _loaded(self):
        return all(dns_query(self.addr, self.port, d, "SOA", 0.3)[1] == [self.serial] for d in self.zones)

    def start(self):
        conf = self._write()
        argv = [self.program, "-c", conf] if self.kind == "knot" else [self.program, "-d", "-c", conf]
        self.child = self.work.start(self.name, argv)
        wait_until(self._loaded, 15, f"{self.kind} serves {len(self.zones)} zones", self.child)
        return self

    def reload(self):
        """Writes the zones again and waits until they are served. NSD reads new zones only at a start."""
        self._write()
        self.child.send_signal(signal.SIGHUP)
        wait_until(self._loaded, 15, "the changed zones are served", self.child)

    def set(self, domain, records):
        self.zones[domain] = list(records)

    def pause(self):
        self.child.pause()

    def resume(self):
        self.child.resume()

    def kill(self):
        self.child.kill_all()

    def stop(self):
        return self.child.end()


def _installed(program):
    try:
        return bool(find_program(program))
    except Missing:
        return False


class Rbldnsd:
    """Blocklists. zones: names; names: zones of domains. Every one has the RFC 5782 test entries. add() and remove() wait until
    they are served."""

    def __init__(self, work, addr, zones, port=None, name="rbldnsd", ttl=1, names=()):
        self.work, self.addr, self.name, self.ttl = work, addr, name, ttl
        self.port = port or free_port(addr)
        self.program = find_program("rbldnsd")
        self.entries = {z: {"127.0.0.2": ("127.0.0.2", "test entry"), "::ffff:7f00:2": ("127.0.0.2", "test entry")}
                        for z in zones} | {z: {"test": ("127.0.0.2", "test entry")} for z in names}
        self.names = set(names)
        self.child = None
        self.dir = work.mkdir(name)
        self.stamp = time.time() - 3600

    @property
    def server(self):
        return f"{self.addr}:{self.port}"

    def _write(self, zone):
        soa = f"$SOA {self.ttl} ns.{zone} hostmaster.{zone} 0 600 300 86400 {self.ttl}\n$TTL {self.ttl}\n"
        four, six = soa, f"$TTL {self.ttl}\n"
        for ip, (value, text) in self.entries[zone].items():
            line = f"{ip} :{value}:{text}\n"
            if zone in self.names or ipaddress.ip_network(ip, strict=False).version == 4:
                four += line
            else:
                six += line
        self.stamp += 2  # it looks at the second of the file's time, so two changes need two of them
        for suffix, text in (("4", four), ("6", six)):
            path = self.work.write(f"{self.name}/{zone}.{suffix}", text)
            os.utime(path, (self.stamp, self.stamp))

    def start(self):
        argv = [*as_user("nobody"), self.program, "-n", "-f", "-b", f"{self.addr}/{self.port}", "-w", self.dir,
                "-c", "1s", "-t", f"{self.ttl}"]
        for zone in self.entries:
            self._write(zone)
            argv += [f"{zone}:dnset:{zone}.4"] if zone in self.names else [f"{zone}:ip4set:{zone}.4", f"{zone}:ip6trie:{zone}.6"]
        self.child = self.work.start(self.name, argv)
        for zone in self.entries:
            self._served(zone, "test" if zone in self.names else "127.0.0.2", True)
        return self

    @staticmethod
    def query_name(ip, zone):
        try:
            a = ipaddress.ip_address(ip)
        except ValueError:
            return f"{ip}.{zone}"
        parts = str(a).split(".") if a.version == 4 else list(a.exploded.replace(":", ""))
        return ".".join(reversed(parts)) + "." + zone

    def listed(self, zone, ip):
        """The addresses that the list answers with, [] when not listed; None when it doesn't answer."""
        rcode, values = dns_query(self.addr, self.port, self.query_name(ip, zone), "A", 0.5)
        return values if rcode in ("NOERROR", "NXDOMAIN") else None

    def _served(self, zone, ip, wanted):
        def as_wanted():
            answer = self.listed(zone, ip)
            return answer is not None and bool(answer) == wanted
        wait_until(as_wanted, 10, f"{zone} {'lists' if wanted else 'does not list'} {ip}", self.child)

    def add(self, zone, ip, value="127.0.0.2", text="listed for a test"):
        self.entries[zone][ip] = (value, text)
        self._reload(zone, ip, True)

    def remove(self, zone, ip):
        self.entries[zone].pop(ip)
        self._reload(zone, ip, False)

    def _reload(self, zone, ip, wanted):
        self._write(zone)
        self.child.send_signal(signal.SIGHUP)
        self._served(zone, ip.split("/")[0], wanted)

    def pause(self):
        self.child.pause()

    def resume(self):
        self.child.resume()

    def kill(self):
        self.child.kill_all()


class Resolver:
    """A resolver of the cluster: hands each query to the server whose zones it belongs to, or misbehaves.

    routes: {suffix: (address, port)}, the longest suffix wins; fallback: a function that gives (address, port) of all else.
    silent: suffixes that get no answer; canned: {suffix: address}; rewrite: what doesn't exist becomes this address."""

    def __init__(self, addr, routes, fallback):
        self.addr, self.routes, self.fallback = addr, dict(routes), fallback
        self.silent, self.canned, self.rewrite = set(), {}, None
        self.asked = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((addr, 0))
        self.port = self.sock.getsockname()[1]
        self.pool = concurrent.futures.ThreadPoolExecutor(16)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def server(self):
        return f"{self.addr}:{self.port}"

    def _serve(self):
        while True:
            try:
                packet, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            self.pool.submit(self._answer, packet, peer)

    @staticmethod
    def _question(packet):
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1").lower())
            at += 1 + packet[at]
        return ".".join(labels), int.from_bytes(packet[at + 1:at + 3], "big"), at + 5

    @staticmethod
    def _within(name, suffixes):
        found = [s for s in suffixes if name == s or name.endswith("." + s)]
        return max(found, key=len) if found else None

    def _made_up(self, query, end, kind, address):
        answers = 1 if kind == 1 else 0
        head = query[:2] + b"\x81\x80\0\1" + answers.to_bytes(2, "big") + b"\0\0\0\0" + query[12:end]
        return head + (b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address) if answers else b"")

    def _answer(self, query, peer):
        name, kind, end = self._question(query)
        self.asked.append((time.monotonic(), name))
        if self._within(name, self.silent):
            return
        canned = self._within(name, self.canned)
        if canned:
            self.sock.sendto(self._made_up(query, end, kind, self.canned[canned]), peer)
            return
        route = self._within(name, self.routes)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(2)
            try:
                s.connect(self.routes[route] if route else self.fallback())
                s.send(query)
                reply = s.recv(65535)
            except OSError:
                return
        if self.rewrite and reply[3] & 15 == 3:
            reply = self._made_up(query, end, kind, self.rewrite)
        self.sock.sendto(reply, peer)

    def close(self):
        self.sock.close()
        self.pool.shutdown(wait=False)


class SmtpSink:
    """Postfix's smtp-sink: takes everything, keeps nothing. It costs least, so the bench uses it."""

    def __init__(self, work, addr, port=None, name="smtp-sink", args=()):
        self.work, self.addr, self.name, self.args = work, addr, name, list(args)
        self.port = port or free_port(addr)
        self.program = find_program("smtp-sink")
        self.child = None

    def start(self):
        host = f"[{self.addr}]" if ":" in self.addr else self.addr
        self.child = self.work.start(self.name, [*as_user("nobody"), self.program, *self.args, f"{host}:{self.port}", "512"])
        wait_until(lambda: port_open(self.addr, self.port), 10, "smtp-sink listens", self.child)
        return self
