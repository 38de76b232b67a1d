"""Remuda itself as children: a coordinator, its nodes, the `remuda` command; and a world of receivers to send to.

    with Work() as work:
        world = World(work, {"google": {"domains": {"gmail.com": ["mx.l.google.com"]}}}, senders=["news.example"])
        cluster = Cluster(work, world, nodes=["n1"]).start()
        cluster.source("127.1.0.1", "n1")
        cluster.stream("bulk", world.keys["news.example"])
        campaign = cluster.send(TEMPLATE, [{"email": "ann@gmail.com", "name": "Ann"}])
        cluster.settled(campaign["id"])

Every program is the production binary, with a configuration file, keys and a data folder below the work directory.
Waiting is done by asking the API until a condition holds, with a deadline; nothing sleeps for a fixed time."""

import contextlib
import csv
import http.client
import io
import json
import os
import random
import re
import shutil
import socket
import subprocess
import time
import urllib.parse

from .dkim import Key
from .net import free_port
from .proc import Failed, Missing, wait_until
from .servers import Dns, Receivers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
SLOWER = {"asan": 4, "tsan": 8}.get(os.environ.get("REMUDA_SANITIZER", ""), 1)


def patience(seconds):
    """A deadline, longer when the programs run under a sanitizer."""
    return seconds * SLOWER


def built(name, build=None):
    """Path of a built program: below build, $REMUDA_BUILD, $BUILD or build/."""
    build = build or os.environ.get("REMUDA_BUILD") or os.environ.get("BUILD") or "build"
    path = os.path.join(ROOT, build, name)
    if not os.access(path, os.X_OK):
        raise Missing(f"{path}: not built")
    return path


def shared_port(addresses):
    """A port that is free on all of the addresses: what MX hosts have in common."""
    for _ in range(200):
        port = random.randrange(10240, 32000)  # below the ports that connections get
        with contextlib.ExitStack() as stack:
            try:
                for a in addresses:
                    s = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in a else socket.AF_INET))
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind((a, port))
            except OSError:
                continue
            return port
    raise Failed(f"no port is free on all of {', '.join(addresses)}")


def ucl(settings, indent=""):
    """A configuration text out of {"bus.listen": [...]} or nested dicts."""
    out = []
    for key, value in settings.items():
        section, _, rest = key.partition(".")
        if rest:
            out.append(f"{indent}{section} {{\n{ucl({rest: value}, indent + '    ')}{indent}}}\n")
        elif isinstance(value, dict):
            out.append(f"{indent}{key} {{\n{ucl(value, indent + '    ')}{indent}}}\n")
        else:
            out.append(f"{indent}{key} = {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(out)


def zone_of(name):
    """The zone in which a name lives here: its last two labels."""
    return ".".join(name.rstrip(".").split(".")[-2:])


class World:
    """Receivers of several providers, and the name server that leads to them.

    providers: {name: settings of remuda-receivers, with `domains` as {domain: [MX hosts]} (or a list; the host is then
    mx.DOMAIN)}. Every provider listens on an address of its own at the shared port; settings may bring `address`.
    senders: sending domains; each gets RSA-2048 and, with ed25519, Ed25519 keys: keys[domain] is a list of Key.
    hosts: {MX host: address} of receivers that somebody else runs, with domains in `foreign` {domain: [MX hosts]}."""

    def __init__(self, work, providers, senders=("news.example",), addresses=None, foreign=None, hosts=None, ed25519=False,
                 port=None, build=None, dns_kind=None, defaults=None, **options):
        self.work = work
        at = addresses or (lambda i, base=64 + os.getpid() % 128: f"127.{base}.200.{i}")
        self.address = {n: s.get("address") or at(i + 1) for i, (n, s) in enumerate(providers.items())}
        self.dns_address = at(250)
        self.spare = [at(200 + i) for i in range(20)]
        own = set(self.address.values()) | set((hosts or {}).values())
        self.port = port or shared_port(sorted(own))
        self.zones = {}
        self.provider_of = {}
        self.keys = {}
        config = {}
        for name, settings in providers.items():
            settings = {k: v for k, v in settings.items() if k != "address"}
            domains = settings["domains"]
            if not isinstance(domains, dict):
                domains = {d: [f"mx.{d}"] for d in domains}
            for domain, mx in domains.items():
                self.provider_of[domain] = name
                self.domain(domain, mx)
                for host in mx:
                    self.host(host, self.address[name])
            where = self.address[name]
            config[name] = settings | {"domains": list(domains), "host": next(iter(domains.values()))[0],
                                       "listen": f"[{where}]:{self.port}" if ":" in where else f"{where}:{self.port}"}
        for domain, mx in (foreign or {}).items():
            self.domain(domain, mx)
        for host, where in (hosts or {}).items():
            self.host(host, where)
        for domain in senders:
            self.keys[domain] = [Key(domain, "r1")] + ([Key(domain, "e1", "ed25519")] if ed25519 else [])
            for key in self.keys[domain]:
                self.record(key.name, "TXT", key.record)
        self.dns = Dns(work, self.dns_address, zones=self.zones, tops=(), kind=dns_kind)
        self.receivers = Receivers(work, config, defaults, dkim_dns=self.dns.server, dkim_verify=True,
                                   program=built("tests/receivers/remuda-receivers", build), **options)

    def record(self, name, kind, value):
        rows = self.zones.setdefault(zone_of(name), [])
        if (f"{name}.", kind, value) not in rows:
            rows.append((f"{name}.", kind, value))

    def host(self, host, address):
        self.record(host, "AAAA" if ":" in address else "A", address)

    def domain(self, domain, mx):
        for i, host in enumerate(mx):
            self.record(domain, "MX", f"{10 + 10 * i} {host}.")

    def start(self):
        self.dns.start()
        self.receivers.start()
        return self


class Program:
    """A production binary that can be started again after it ended or was killed; its log goes on."""

    def __init__(self, work, name, argv):
        self.work, self.name, self.argv = work, name, argv
        self.child = None

    def start(self, env=None):
        self.child = self.work.start(self.name, self.argv, env=dict(os.environ, **(env or {})))
        return self

    @property
    def running(self):
        return self.child is not None and self.child.poll() is None

    def kill(self):
        """SIGKILL, at whatever instruction."""
        self.child.kill_all()

    def stop(self, timeout_s=30):
        """SIGTERM; returns the exit status."""
        return self.child.end(patience(timeout_s))

    def rss_kib(self):
        with open(f"/proc/{self.child.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def log(self):
        with open(self.work.path(f"{self.name}.log"), errors="replace") as f:
            return f.read()


class Answer:
    """What a run of the `remuda` command gave."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout.decode(), done.stderr.decode()

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def text(self):
        return self.out + self.err


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("remuda", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Cluster:
    """One coordinator and its nodes.

    settings, node_settings: over the configuration that is made here, keys as in the files. rules: text of an operator's
    verdict rules."""

    def __init__(self, work, world, nodes=("n1",), settings=None, node_settings=None, rules=None, name="", build=None):
        self.work, self.world, self.name, self.build = work, world, name, build
        self.command = built("remuda", build)
        self.dir = work.mkdir(name) if name else work.dir
        self.socket = self.path("api.sock")
        self.bus = f"tcp://127.0.0.1:{free_port()}"
        self.keygen("coordinator")
        conf = {"data": self.path("coordinator.data"), "bus": {"listen": [self.bus], "secret_key": self.path("coordinator.key")},
                "api": {"socket": self.socket}, "dns": {"servers": world.dns.server, "timeout": "2s", "tries": 2, "ttl_min": "1s"},
                "lease": {"valid": "60s", "transaction_deadline": "30s", "heartbeat_lost": "3s"},
                "failover": {"canary": "2s", "growth_percent": 0},  # what takes half an hour and more otherwise
                "smtp": {"port": world.port, "allow_special": ["127.0.0.0/8", "::1/128"]}, "limits": {"disk_reserve": "64MiB"}}
        if rules:
            conf["rules"] = work.write(self._name("verdicts.conf"), rules)
        self.conf = self.write_conf("coordinator", conf, settings)
        self.coordinator = Program(work, self._name("coordinator"), [built("remuda-coordinator", build), "--config", self.conf])
        self.nodes = {n: self.node(n, node_settings) for n in nodes}

    def _name(self, name):
        return f"{self.name}/{name}" if self.name else name

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write_conf(self, name, conf, over=None):
        for key, value in (over or {}).items():
            *outer, last = key.split(".")
            at = conf
            for word in outer:
                at = at.setdefault(word, {})
            at[last] = value
        return self.work.write(self._name(f"{name}.conf"), ucl(conf))

    def keygen(self, name):
        """Makes NAME.key and NAME.pub."""
        self.work.run([self.command, "keygen", self.path(name)])

    def node(self, name, settings=None, coordinator_key=None):
        """Writes what a node needs and returns its Program; it is neither enrolled nor started."""
        self.keygen(name)
        conf = {"data": self.path(f"{name}.data"),
                "bus": {"coordinator": self.bus, "coordinator_key": coordinator_key or self.path("coordinator.pub"),
                        "secret_key": self.path(f"{name}.key")},
                "workers": 1, "dns": {"servers": self.world.dns.server, "timeout": "2s", "tries": 2, "ttl_min": "1s"}}
        path = self.write_conf(name, conf, settings)
        return Program(self.work, self._name(name), [built("remuda-node", self.build), "--config", path])

    # ---- life

    def start_coordinator(self, env=None):
        self.coordinator.start(env)
        wait_until(lambda: self.answers() or None, patience(20), "the coordinator answers", self.coordinator.child)

    def answers(self):
        try:
            return self.api("GET", "health", timeout_s=5)[0] == 200
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def start(self, env=None):
        """Starts the coordinator, enrols and starts the nodes, and waits until they are connected."""
        self.start_coordinator(env)
        for name, node in self.nodes.items():
            self.remuda("node", "add", name, "--key", self.path(f"{name}.pub"))
            node.start(env)
        for name in self.nodes:
            self.connected(name)
        return self

    def connected(self, name, wanted=True, timeout_s=20):
        wait_until(lambda: self.node_view(name)["connected"] == wanted, patience(timeout_s),
                   f"node {name} is {'connected' if wanted else 'gone'}", self.nodes[name].child if wanted else None)

    def stop(self):
        """Nodes first, so that what is open is finished and reported; returns all exit statuses."""
        programs = [*self.nodes.values(), self.coordinator]
        return {p.name: p.stop() for p in programs if p.running}

    # ---- the command and the API

    def remuda(self, *args, check=True, api=None, as_json=True, timeout_s=120, **kw):
        """Runs the command; with check, anything but exit status 0 is a failure."""
        argv = [self.command, "--api", api or self.socket, *(["--json"] if as_json else []), *map(str, args)]
        done = subprocess.run(argv, capture_output=True, check=False, timeout=patience(timeout_s), stdin=subprocess.DEVNULL, **kw)
        answer = Answer(done)
        if check and answer.code:
            raise Failed(f"remuda {' '.join(map(str, args))}: exit {answer.code}\n{answer.text}")
        return answer

    def api(self, method, path, body=None, timeout_s=60, headers=None):
        """(status, answer) of a call below /v1/; lines of JSON come as a list."""
        c = _UnixConnection(self.socket, patience(timeout_s))
        try:
            raw = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            c.request(method, f"/v1/{path}", raw, headers or {})
            r = c.getresponse()
            text = r.read()
            if (r.getheader("Content-Type") or "").startswith("application/x-ndjson"):
                return r.status, [json.loads(line) for line in text.split(b"\n") if line]
            return r.status, json.loads(text) if text else None
        finally:
            c.close()

    def get(self, path):
        status, answer = self.api("GET", path)
        if status != 200:
            raise Failed(f"GET {path}: {status} {answer}")
        return answer

    def status(self):
        return self.get("status")

    def campaign(self, ident):
        return self.get(f"campaigns/{ident}")

    def node_view(self, name):
        return next(n for n in self.get("nodes")["nodes"] if n["name"] == name)

    def source_view(self, address):
        return self.get(f"sources/{urllib.parse.quote(address, safe='')}")

    def lane(self, address, provider):
        return next((lane for lane in self.source_view(address)["lanes"] if lane["provider"] == provider), None)

    def incidents(self, every=True):
        return self.get(f"incidents{'?all=1' if every else ''}")["incidents"]

    def events(self, **query):
        query = {k: v for k, v in query.items() if v is not None}
        return self.get(f"events?{urllib.parse.urlencode(query)}")

    def explain(self, address):
        return self.get(f"explain?{urllib.parse.urlencode({'address': address})}")

    # ---- what operators set

    def source(self, address, node="n1", pool="main", helo=None, **options):
        args = [a for k, v in options.items() for a in (f"--{k.replace('_', '-')}", v)]
        self.remuda("source", "add", address, "--node", node, "--pool", pool, "--helo", helo or
                    f"mail-{re.sub('[^0-9a-f]', '-', address)}.{next(iter(self.world.keys), 'news.example')}", *args)

    def stream(self, name, keys, pool="main", sending_domain=None, return_domain=None, **options):
        """keys: list of Key; their files are written here."""
        domain = sending_domain or keys[0].domain
        args, paths = [], []
        for key in keys:
            path = self.work.write(self._name(f"dkim-{key.domain}-{key.selector}.pem"), key.pem)
            os.chmod(path, 0o600)
            paths.append(f"{key.selector}={path}")
        if paths:
            args += ["--key", ",".join(paths)]
        for k, v in ({"retry_min": "1s", "retry_max": "4s", "node_return_wait": "30s",
                      "unsubscribe_url": f"https://u.{domain}/r/{{token}}",
                      "unsubscribe_mailto": f"unsubscribe+{{token}}@bounce.{domain}"} | options).items():
            if v is not None:
                args += [f"--{k.replace('_', '-')}", v]
        self.remuda("stream", "set", name, "--pool", pool, "--sending-domain", domain,
                    "--return-domain", return_domain or f"bounce.{domain}", *args)

    def send(self, template, rows, *args, stream="bulk", check=True, name="submission"):
        """Submits; rows: list of dicts, or the path of a CSV. Returns the API's answer, or with check=False the Answer."""
        eml = self.work.write(self._name(f"{name}.eml"), template)
        path = rows if isinstance(rows, str) else self.write_csv(f"{name}.csv", rows)
        answer = self.remuda("send", "--template", eml, "--recipients", path, "--stream", stream, *args, check=check)
        return answer if not check else answer.json["campaign"]

    def write_csv(self, name, rows):
        text = io.StringIO(newline="")
        out = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n")
        out.writeheader()
        out.writerows(rows)
        return self.work.write(self._name(name), text.getvalue())

    # ---- waiting

    def settled(self, ident, timeout_s=60):
        """Waits until nothing of the campaign waits any more; returns its last view. Counts are told at once and events when they are durable:
        for those it waits, too, as long as that may take."""
        def done():
            c = self.campaign(ident)
            return c if c["finished"] else None
        try:
            view = wait_until(done, patience(timeout_s), f"campaign {ident} is settled", self.coordinator.child, every_s=0.05)
        except Failed as e:
            raise Failed(f"{e}\n{self.picture(ident)}") from None
        if view["state"] == "done":
            with contextlib.suppress(Failed):  # a history that was taken away is another test's matter
                wait_until(lambda: self.events(campaign=ident, type="campaign.done"), patience(2), "its events are there", every_s=0.01)
        return view

    def until(self, condition, what, timeout_s=30):
        try:
            return wait_until(condition, patience(timeout_s), what, self.coordinator.child, every_s=0.05)
        except Failed as e:
            raise Failed(f"{e}\n{self.picture()}") from None

    def picture(self, ident=None):
        """What an operator would look at, for failures."""
        out = []
        for path in ([f"campaigns/{ident}"] if ident else []) + ["status", "queue", "nodes", "incidents?all=1", "events?after=-15"]:
            try:
                out.append(f"{path}: {json.dumps(self.api('GET', path)[1])}")
            except (OSError, ValueError, http.client.HTTPException) as e:
                out.append(f"{path}: {e}")
        out += [f"--- {n.name}\n{n.child.log_tail(10)}" for n in self.nodes.values() if n.child]
        return "\n".join(out)

    def wipe(self):
        """Forgets everything on disk; nothing may be running."""
        for entry in ["coordinator.data", *(f"{n}.data" for n in self.nodes)]:
            shutil.rmtree(self.path(entry), ignore_errors=True)


def wall_ms(rfc3339):
    """Milliseconds since 1970 of the API's times."""
    from datetime import datetime
    return datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).timestamp() * 1000


def now_ms():
    return time.time() * 1000
