"""Postfix 3.7, as Debian configures it or tuned, alone or with OpenDKIM as milter. Settings and reasons: postfix/."""

import os

from remudatest import Postfix, wait_until
from remudatest.proc import find_program

from . import Peer


class OpenDkim:
    """OpenDKIM as a child of a peer, in its group."""

    def __init__(self, peer):
        self.peer, self.socket = peer, peer.path("milter.sock")

    def start(self):
        p = self.peer
        conf = p.fill("postfix/opendkim.conf", "opendkim.conf", domain=p.key.domain, selector=p.key.selector, pem=p.pem())
        self.child = p.work.start(f"{p.dir}-opendkim", [*p.group.enter, find_program("opendkim"), "-f", "-x", conf, "-p", f"local:{self.socket}"])
        wait_until(lambda: os.path.exists(self.socket), 10, "OpenDKIM listens", self.child)


class _Private(Postfix):
    """The kit's Postfix with a configuration of ours, started into a group."""

    def __init__(self, peer, main_cf):
        super().__init__(peer.work, peer.addr, peer.port, tls=False, name=peer.dir)
        self.main_cf, self.enter = main_cf, peer.group.enter

    def _main_cf(self):
        return self.main_cf


class StockPostfix(Peer):
    name, config = "Postfix, stock", "postfix/stock.cf"

    def launch(self):
        routes = self.work.write(f"{self.dir}/routes", "".join(f"{d} smtp:[{at}]:{port}\n" for d, (at, port) in self.routes.items()))
        parts = ["postfix/private.cf", self.config] + (["postfix/milter.cf"] if self.key else [])
        if self.key:
            self.milter = OpenDkim(self)
            self.milter.start()
        values = {"routes": routes, "destinations": " ".join(sorted({f"[{at}]:{port}" for at, port in self.routes.values()})),
                  "socket": self.milter.socket if self.key else ""}
        text = ""
        for part in parts:
            with open(self.fill(part, "part.cf", **values)) as f:
                text += f.read()
        self.child = _Private(self, text).start().child


class TunedPostfix(StockPostfix):
    name, config = "Postfix, tuned", "postfix/tuned.cf"
