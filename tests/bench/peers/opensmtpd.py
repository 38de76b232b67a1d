"""OpenSMTPD 6.8, alone or with filter-dkimsign, the filter of its authors. Settings: opensmtpd/."""

import os

from . import Rooted

USER = 64201  # any number that the machine doesn't use: the names are known only in its own root


class OpenSmtpd(Rooted):
    name, package, users = "OpenSMTPD", "opensmtpd", {"opensmtpd": USER, "opensmtpq": USER + 1, "dkimsign": USER + 2}

    def launch(self):
        routes = self.work.write(f"{self.dir}/routes", "".join(f"{d} smtp+notls://{at}:{port}\n" for d, (at, port) in self.routes.items()))
        filter_line = ""
        if self.key:
            filter_line = (f'filter "sign" proc-exec "filter-dkimsign -a rsa-sha256 -c relaxed/relaxed -d {self.key.domain} -s {self.key.selector} '
                           f'-h from:to:subject:date:message-id:mime-version:content-type:content-transfer-encoding:list-unsubscribe:'
                           f'list-unsubscribe-post -k {self.pem((USER + 2, USER + 2))}" user dkimsign group dkimsign')
        conf = self.fill("opensmtpd/smtpd.conf", "smtpd.conf", routes=routes, filter=filter_line, sign='filter "sign"' if self.key else "")
        os.chmod(conf, 0o644)
        spool = self.work.mkdir(self.dir, "spool", mode=0o711)
        self.run([*self.rooted({"/var/spool/smtpd": spool}), "smtpd", "-d", "-f", conf])
