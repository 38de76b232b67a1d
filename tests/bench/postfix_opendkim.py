"""The system beside which Remuda is measured: Postfix 3.7 with OpenDKIM as milter, both private, tuned, and fed by a fast
injector.

Tuned as Postfix's TUNING_README, MILTER_README and postconf(5) advise, and where they leave a choice by measurement:
no input delay, no address rewriting, no lookups of any kind (neither DNS nor clients' names; destinations come from a
table in memory, so Postfix is spared the DNS work that Remuda does), no chroot, OpenDKIM over a Unix socket, connections
cached and reused, one hashed queue directory less, a process limit that suits the cores, and no log at all, which is
less than anybody runs. fsync stays on: a queue that isn't durable would be other work."""

import os
import socket
import threading

from remudatest import Failed, Postfix, wait_until
from remudatest.proc import find_program

BATCH_RCVBUF = 65536


class OpenDkim:
    """OpenDKIM in the foreground on a Unix socket, signing like Remuda: relaxed/relaxed, From oversigned."""

    def __init__(self, work, key, name="opendkim"):
        self.work, self.key, self.name = work, key, name
        self.program = find_program("opendkim")
        self.child = None
        self.socket = work.path(name, "milter.sock")

    def start(self):
        self.work.mkdir(self.name)
        pem = self.work.write(f"{self.name}/key.pem", self.key.pem)
        os.chmod(pem, 0o600)
        conf = self.work.write(f"{self.name}/opendkim.conf", "".join(f"{k} {v}\n" for k, v in {
            "Mode": "s", "Domain": self.key.domain, "Selector": self.key.selector, "KeyFile": pem, "Background": "no",
            "Canonicalization": "relaxed/relaxed", "SignatureAlgorithm": "rsa-sha256", "Syslog": "no", "UMask": "000",
            "SignHeaders": "From,To,Subject,Date,Message-ID,MIME-Version,Content-Type,Content-Transfer-Encoding,"
                           "List-Unsubscribe,List-Unsubscribe-Post",
            "OversignHeaders": "From", "RequireSafeKeys": "no", "InternalHosts": "127.0.0.0/8", "RemoveOldSignatures": "no"}.items()))
        self.child = self.work.start(self.name, [self.program, "-f", "-x", conf, "-p", f"local:{self.socket}"])
        wait_until(lambda: os.path.exists(self.socket), 10, "OpenDKIM listens", self.child)
        return self


class TunedPostfix(Postfix):
    """A relay to `routes` {domain: (address, port)} that lets OpenDKIM sign."""

    def __init__(self, work, addr, routes, milter, processes=20, concurrency=20):
        super().__init__(work, addr, domains=("relay.test",), tls=False, name="postfix-relay")
        self.routes, self.milter, self.processes, self.concurrency = routes, milter, processes, concurrency

    def _main_cf(self):
        routes = self.work.write(f"{self.name}/conf/routes", "".join(
            f"{domain} smtp:[{at}]:{port}\n" for domain, (at, port) in self.routes.items()))
        s = {"compatibility_level": "3.6", "queue_directory": self.work.path(self.name, "queue"),
             "data_directory": self.work.path(self.name, "data"), "mail_owner": "postfix", "setgid_group": "postdrop",
             "command_directory": "/usr/sbin", "daemon_directory": "/usr/lib/postfix/sbin",
             "meta_directory": "/etc/postfix", "shlib_directory": "/usr/lib/postfix", "myhostname": "relay.test",
             "inet_interfaces": "loopback-only", "inet_protocols": "ipv4", "mynetworks": "127.0.0.0/8",
             # nothing that this work doesn't need
             "mydestination": "", "local_recipient_maps": "", "alias_maps": "", "relay_domains": "", "fast_flush_domains": "",
             "virtual_alias_maps": "", "canonical_maps": "", "local_header_rewrite_clients": "", "append_dot_mydomain": "no",
             "header_checks": "", "smtpd_relay_restrictions": "permit_mynetworks, reject", "smtpd_peername_lookup": "no",
             "smtpd_delay_reject": "no", "disable_dns_lookups": "yes", "smtp_tls_security_level": "none",
             "smtpd_tls_security_level": "none", "smtpd_client_connection_count_limit": "0",
             "maximal_backoff_time": "60s", "minimal_backoff_time": "10s", "queue_run_delay": "10s",
             # the milter
             "smtpd_milters": f"unix:{self.milter.socket}", "milter_default_action": "tempfail", "milter_protocol": "6",
             # speed
             "in_flow_delay": "0", "default_process_limit": str(self.processes),
             "default_destination_concurrency_limit": str(self.concurrency),
             "initial_destination_concurrency": str(self.concurrency), "hash_queue_names": "deferred",
             "smtp_connection_cache_on_demand": "yes", "smtp_connection_cache_destinations": " ".join(sorted({f"[{at}]:{port}" for at, port in self.routes.values()})),
             "smtp_connection_reuse_time_limit": "300s", "max_use": "100000", "max_idle": "300s",
             "transport_maps": f"texthash:{routes}", "syslog_name": "remuda-bench", "syslog_facility": "local7",
             "qmgr_message_active_limit": "20000", "qmgr_message_recipient_limit": "20000"}
        return "".join(f"{k} = {v}\n" for k, v in s.items())


def _session(addr, port, messages, errors):
    """Sends its messages in one connection, envelope pipelined."""
    try:
        with socket.create_connection((addr, port), 60) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            f = s.makefile("rb", BATCH_RCVBUF)

            def expect(code):
                while True:
                    line = f.readline()
                    if not line.startswith(code):
                        raise Failed(f"Postfix said {line!r}, {code.decode()} was expected")
                    if line[3:4] != b"-":
                        return

            expect(b"220")
            s.sendall(b"EHLO injector.test\r\n")
            expect(b"250")
            for sender, recipient, data in messages:
                s.sendall(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode())
                expect(b"250")
                expect(b"250")
                expect(b"354")
                s.sendall(data)
                expect(b"250")
            s.sendall(b"QUIT\r\n")
            expect(b"221")
    except (OSError, Failed) as e:
        errors.append(e)


def inject(addr, port, messages, sessions):
    """Hands the messages over in so many connections at once; raises the first trouble."""
    errors = []
    threads = [threading.Thread(target=_session, args=(addr, port, messages[i::sessions], errors)) for i in range(sessions)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
