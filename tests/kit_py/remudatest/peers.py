"""Bigger peers: a private Postfix, a private PostgreSQL. System instances are neither used nor touched."""

import glob
import os
import pwd

from .net import free_port, port_open
from .proc import Missing, Unavailable, as_user, find_program, wait_until


def _user(name):
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise Missing(f"there is no user {name}: is its package installed?") from None


class Postfix:
    """A Postfix with configuration, queue, data and log of its own, as a receiving peer.

    deliver: "discard", or "maildir" (all into one, read with mails()). It needs root, as Postfix does. listeners: more
    addresses at the same port, each with settings of its own for smtpd."""

    def __init__(self, work, addr, port=None, domains=("postfix.test",), deliver="discard", tls=True, name="postfix",
                 settings=None, listeners=None):
        self.listeners = dict(listeners or {})
        if os.geteuid() != 0:
            raise Unavailable("Postfix needs root")
        self.work, self.addr, self.name, self.domains = work, addr, name, list(domains)
        self.port = port or free_port(addr)
        self.program = find_program("postfix")
        self.deliver, self.tls, self.settings = deliver, tls, dict(settings or {})
        self.enter = []  # words in front of master
        self.child = None
        self.owner = _user("postfix")

    def _main_cf(self):
        s = {"compatibility_level": "3.6", "queue_directory": self.work.path(self.name, "queue"),
             "data_directory": self.work.path(self.name, "data"), "mail_owner": "postfix", "setgid_group": "postdrop",
             "command_directory": "/usr/sbin", "daemon_directory": "/usr/lib/postfix/sbin",
             "meta_directory": "/etc/postfix", "shlib_directory": "/usr/lib/postfix", "myhostname": f"mx.{self.domains[0]}",
             "inet_interfaces": "loopback-only", "inet_protocols": "all", "mydestination": "", "alias_maps": "",
             "local_recipient_maps": "", "mynetworks": "127.0.0.0/8", "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
             "smtpd_client_connection_count_limit": "0", "maillog_file": self.work.path(f"{self.name}.maillog"),
             "maillog_file_prefixes": self.work.dir, "smtpd_peername_lookup": "no", "disable_dns_lookups": "yes",
             "fast_flush_domains": ""}
        if self.deliver == "discard":
            s |= {"default_transport": "discard:", "relay_domains": " ".join(self.domains), "relay_transport": "discard:"}
        else:
            s |= {"virtual_mailbox_domains": " ".join(self.domains), "virtual_mailbox_base": self.work.path(self.name, "mail"),
                  "virtual_mailbox_maps": "static:all/",
                  "virtual_uid_maps": f"static:{self.owner.pw_uid}", "virtual_gid_maps": f"static:{self.owner.pw_gid}",
                  "virtual_minimum_uid": "1", "default_transport": "discard:"}
        if self.tls:
            s |= {"smtpd_tls_security_level": "may", "smtpd_tls_cert_file": self.work.path(self.name, "conf", "cert.pem"),
                  "smtpd_tls_key_file": self.work.path(self.name, "conf", "key.pem")}
        return "".join(f"{k} = {v}\n" for k, v in (s | self.settings).items())

    def _master_cf(self):
        rows = [f"{self.addr}:{self.port} inet n - n - - smtpd", "pickup unix n - n 60 1 pickup",
                "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "tlsmgr unix - - n 1000? 1 tlsmgr",
                "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce",
                "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify", "flush unix n - n 1000? 0 flush",
                "proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp", "relay unix - - n - - smtp",
                "showq unix n - n - - showq", "error unix - - n - - error", "retry unix - - n - - error",
                "discard unix - - n - - discard", "local unix - n n - - local", "virtual unix - n n - - virtual",
                "anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache", "postlog unix-dgram n - n - 1 postlogd"]
        for addr, over in self.listeners.items():
            rows.append(f"{addr}:{self.port} inet n - n - - smtpd " + " ".join(f"-o {k}={v}" for k, v in over.items()))
        return "\n".join(rows) + "\n"

    def start(self):
        conf = self.work.mkdir(self.name, "conf")
        self.work.mkdir(self.name, "queue")
        self.work.mkdir(self.name, "data", owner="postfix")
        self.work.mkdir(self.name, "mail", owner="postfix")
        self.work.write(f"{self.name}/conf/main.cf", self._main_cf())
        self.work.write(f"{self.name}/conf/master.cf", self._master_cf())
        if self.tls:
            self.work.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                           "-days", "30", "-subj", f"/CN=mx.{self.domains[0]}", "-keyout", f"{conf}/key.pem",
                           "-out", f"{conf}/cert.pem"])
        self.work.run([self.program, "-c", conf, "check"])
        # the master itself, so that the child is the process to end; `postfix start-fg` would leave a shell between
        self.child = self.work.start(self.name, [*self.enter, "/usr/lib/postfix/sbin/master", "-c", conf, "-s"],
                                     env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MAIL_CONFIG": conf})
        wait_until(lambda: port_open(self.addr.strip("[]"), self.port), 20, "Postfix listens", self.child)
        return self

    def mails(self, address=None):
        """The delivered mails (bytes), of one address or of all."""
        found = []
        for path in sorted(glob.glob(self.work.path(self.name, "mail", "all", "new", "*"))):
            with open(path, "rb") as f:
                found.append(f.read())
        return [m for m in found if address is None or f"\nX-Original-To: {address}\n".encode() in b"\n" + m]

    def maillog(self):
        try:
            with open(self.work.path(f"{self.name}.maillog"), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""


class Postgres:
    """A private PostgreSQL on a loopback address. url is for libpq."""

    def __init__(self, work, addr="127.0.0.1", port=None, name="postgres"):
        self.work, self.addr, self.name = work, addr, name
        self.port = port or free_port(addr)
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not found:
            raise Missing("PostgreSQL is not installed; `make deps-test` installs it")
        self.bin = found[-1]
        self.prefix = as_user("postgres")
        self.user = "postgres" if self.prefix else pwd.getpwuid(os.geteuid()).pw_name
        self.child = None

    @property
    def url(self):
        return f"host={self.addr} port={self.port} user={self.user} dbname=postgres"

    def start(self):
        base = self.work.mkdir(self.name, owner="postgres", mode=0o700)
        data = os.path.join(base, "data")
        if not os.path.exists(os.path.join(data, "PG_VERSION")):
            self.work.run([*self.prefix, f"{self.bin}/initdb", "-D", data, "-A", "trust", "-U", self.user, "-E", "UTF8",
                           "--locale=C"], timeout_s=120, cwd="/")
        self.child = self.work.start(self.name, [*self.prefix, f"{self.bin}/postgres", "-D", data, "-h", self.addr,
                                                 "-p", str(self.port), "-k", base], cwd="/")
        wait_until(self._answers, 30, "PostgreSQL answers", self.child, every_s=0.1)
        return self

    def _answers(self):
        import subprocess
        return subprocess.run([f"{self.bin}/pg_isready", "-q", "-h", self.addr, "-p", str(self.port)],
                              check=False).returncode == 0

    def kill(self):
        self.child.kill_all()
