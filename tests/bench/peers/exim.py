"""Exim 4.96 with its own DKIM. Settings and reasons: exim/."""

import os

from . import Rooted

USER = 64210
SIGNED = "From:To:Subject:Date:Message-ID:MIME-Version:Content-Type:Content-Transfer-Encoding:List-Unsubscribe:List-Unsubscribe-Post"


class Exim(Rooted):
    name, package, users = "Exim", "exim", {"Debian-exim": USER}

    def launch(self):
        routes = self.work.write(f"{self.dir}/routes", "".join(f"{d}: {at}::{port}\n" for d, (at, port) in self.routes.items()))
        smtp = ""
        if self.key:
            smtp = (f"  dkim_domain = {self.key.domain}\n  dkim_selector = {self.key.selector}\n  dkim_canon = relaxed\n"
                    f"  dkim_private_key = {self.pem((USER, USER))}\n  dkim_sign_headers = {SIGNED}\n")
        for part in ("spool", "spool/log", "spool/db", "spool/input"):
            os.chown(self.work.mkdir(self.dir, part, mode=0o750), USER, USER)
        conf = self.fill("exim/exim.conf", "layer/etc/exim4/exim4.conf", routes=routes, smtp=smtp)
        os.chmod(conf, 0o644)
        # without queue runs there would be no retries; none is needed here, and one a minute costs nothing
        self.run([*self.rooted({}), "exim4", "-bdf", "-q1m"])
