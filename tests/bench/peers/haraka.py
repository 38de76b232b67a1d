"""Haraka 3 with haraka-plugin-dkim. Settings and reasons: haraka/."""

import json
import os
import re
import shutil
import subprocess

from remudatest import Missing, Unavailable
from remudatest.proc import find_program

from . import HERE, Peer

CONCURRENCY = 20  # deliveries at once, of a process


class Haraka(Peer):
    name = "Haraka"

    def launch(self):
        node = find_program("node", "nodejs")
        with open(os.path.join(HERE, "haraka", "package.json")) as f:
            wanted = int(re.search(r"\d+", json.load(f)["engines"]["node"]).group())
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        if int(re.search(r"\d+", version).group()) < wanted:
            raise Unavailable(f"Haraka wants Node {wanted}, here is {version}")
        modules = os.path.join(self.unpacked("haraka"), "node_modules")
        if not os.path.isdir(os.path.join(modules, "Haraka")):
            raise Missing(f"{modules}/Haraka: isn't there; `make deps-peers` makes it")
        values = {"nodes": os.cpu_count(), "concurrency": CONCURRENCY}
        shutil.copytree(os.path.join(modules, "Haraka", "config"), self.path("config"), dirs_exist_ok=True)  # as `haraka -i` does
        for part in ("smtp.ini", "outbound.ini", "log.ini"):
            self.fill(f"haraka/config/{part}", f"config/{part}", **values)
        if self.key:
            self.fill("haraka/config/dkim.ini", "config/dkim.ini", domain=self.key.domain, selector=self.key.selector)
            self.pem(where="config/dkim.private.key")
        self.work.write(f"{self.dir}/config/plugins", "bench_relay\n" + ("dkim\n" if self.key else ""))
        self.work.write(f"{self.dir}/config/routes", "".join(f"{d} {at} {port}\n" for d, (at, port) in self.routes.items()))
        self.work.write(f"{self.dir}/config/nameserver", f"{self.nameserver}\n")
        self.work.write(f"{self.dir}/config/me", "relay.test\n")
        self.work.mkdir(self.dir, "queue")
        shutil.copytree(os.path.join(HERE, "haraka", "plugins"), self.path("plugins"), dirs_exist_ok=True)
        link = self.path("node_modules")
        if not os.path.lexists(link):
            os.symlink(modules, link)
        self.run([node, os.path.join(modules, "Haraka", "haraka.js")], cwd=self.path(),
                 env=dict(os.environ, HARAKA=self.path(), HOME=self.path()))
