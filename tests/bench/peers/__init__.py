"""The systems beside which Remuda is measured, each private: its own directories, its own port on a loopback address, its own
control group, and no word to any other host. A folder has a system's configuration, with its reasons; `@name@` in it is filled in
at the start.

A peer relays whatever it gets to `routes`, {domain: (address, port)}, and is fed by SMTP: pipelined where it offers that, over a
few connections at once (inject.py)."""

import glob
import os
import re

from group import Group, private_root
from remudatest import Missing, free_port, port_open, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))


class Peer:
    """name: in tables. key: a Key to sign with, or None. sessions: connections that the injector opens. nameserver: "ADDRESS:PORT" of one that
    knows the receivers, for programs that can't be told not to ask."""

    name, program, sessions, notes = "", "", 4, ""

    def __init__(self, work, addr, routes, key, build, nameserver):
        self.work, self.addr, self.routes, self.key, self.build, self.nameserver = work, addr, routes, key, build, nameserver
        self.dir = re.sub(r"\W+", "-", self.name.lower()) + ("-signed" if key else "")
        self.port = free_port(addr)
        self.group = self.child = None

    def path(self, *parts):
        return self.work.path(self.dir, *parts)

    def fill(self, source, into, **values):
        """Copies a configuration of this folder into the work directory; returns its path."""
        with open(os.path.join(HERE, source)) as f:
            text = f.read()
        values = {"addr": self.addr, "port": self.port, "dir": self.path()} | values
        return self.work.write(os.path.join(self.dir, into), re.sub(r"@(\w+)@", lambda m: str(values[m.group(1)]), text))

    def pem(self, owner=None, where="key.pem"):
        path = self.work.write(os.path.join(self.dir, where), self.key.pem)
        os.chmod(path, 0o600)
        if owner is not None:
            os.chown(path, *owner)
        return path

    def unpacked(self, what):
        """A directory that `make deps-peers` filled."""
        path = os.path.join(self.build, "peers", what)
        if not glob.glob(os.path.join(path, "*")):
            raise Missing(f"{path}: isn't there; `make deps-peers` makes it")
        return path

    def start(self):
        """Starts it, and returns when it listens."""
        self.work.mkdir(self.dir)
        self.group = Group(self.dir)
        self.launch()
        wait_until(lambda: port_open(self.addr, self.port), 30, f"{self.name} listens", self.child)
        return self

    def run(self, argv, **kw):
        self.child = self.work.start(self.dir, [*self.group.enter, *argv], **kw)

    def stop(self):
        if self.group:
            self.group.stop()
            self.group = None


class Rooted(Peer):
    """One whose packages exclude the mail server that is installed: its files lie in a directory below the build's, and it sees
    them through a root of its own. users: {name: id} it wants, with groups of the same numbers."""

    package, users = "", {}

    def rooted(self, writable):
        etc = self.work.mkdir(self.dir, "layer", "etc")
        self.work.write(f"{self.dir}/layer/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        for name, line in (("passwd", "{0}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin\n"), ("group", "{0}:x:{1}:\n"),
                           ("shadow", "{0}:!:20000::::::\n")):
            with open(f"/etc/{name}") as f:
                rows = [r for r in f if r.split(":")[0] not in self.users]
            with open(os.path.join(etc, name), "w") as f:
                f.writelines(rows + [line.format(*u) for u in self.users.items()])
        return private_root(self.work, self.dir, [self.unpacked(self.package), self.path("layer")], writable)
